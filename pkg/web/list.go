package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// MostRows are shown of the list; a filter leads to the others.
const MostRows = 200

// listPage is what the list shows.
type listPage struct {
	frame
	Query  string
	Groups []group
	Rows   []row
	Shown  int
	Found  int // by the filter
	All    int
}

// group is how many there are of a kind.
type group struct {
	Word, Tone, Shape string
	Count             int
}

// row is one rollout in the list.
type row struct {
	View    canary.View
	Look    look
	Verdict look
	Hint    look // beside the phase
	Moving  bool // it has steps and a share to show
	Since   moment
	Link    string
	ID      string
	Root    string
}

// rank orders the list: what moves, then what needs somebody, then the rest.
func rank(v canary.View) int {
	switch p := v.Phase; {
	case p == canary.Blocked || p == canary.Inconclusive || v.AwaitsApproval():
		return 1
	case p.Active() || p == canary.Waiting || p == canary.Watched:
		return 0
	}
	return 2
}

// hintOf is what the list says beside a phase; no word: nothing.
func hintOf(v canary.View) look {
	switch {
	case v.AwaitsApproval():
		return look{"hold", "ask", "awaits approval"}
	case v.Unverified != "" && v.Phase == canary.RolledBack:
		return look{"bad", "ask", "not verified"}
	case v.Mirror > 0 && v.Phase == canary.Progressing:
		return look{"go", "copies", fmt.Sprintf("copies of %d%%", v.Mirror)}
	}
	return look{}
}

// listOf makes the list of those that match the query.
func (s *site) listOf(ctx context.Context, query string) (listPage, error) {
	views, err := s.Source.Views(ctx)
	if err != nil {
		return listPage{}, err
	}
	now := s.Now()
	p := listPage{frame: frame{Heading: "Rollouts", At: when(now, now), Standby: s.standby()}, Query: query, All: len(views)}
	p.Events = "events" + queryString(query)
	p.Groups = []group{{"moving", "go", "moving", 0}, {"waiting for somebody", "hold", "ask", 0}, {"at rest", "rest", "ring", 0}}
	found := make([]canary.View, 0, min(len(views), MostRows))
	for _, v := range views {
		p.Groups[rank(v)].Count++
		if matches(v, query) {
			found = append(found, v)
		}
	}
	slices.SortFunc(found, func(a, b canary.View) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Service, b.Service))
	})
	p.Found, p.Shown = len(found), min(len(found), MostRows)
	for _, v := range found[:p.Shown] {
		clean(&v)
		p.Rows = append(p.Rows, row{
			View: v, Look: lookOf(v.Phase), Verdict: verdictLook(v.Verdict.Kind), Hint: hintOf(v), Moving: v.Phase.Active() || v.Phase == canary.Watched,
			Since: when(v.Since, now), ID: "row-" + v.Namespace + "-" + v.Service,
			Link: "rollouts/" + url.PathEscape(v.Namespace) + "/" + url.PathEscape(v.Service),
		})
	}
	return p, nil
}

// matches holds where every word of the query is part of a name, the phase or the
// reason.
func matches(v canary.View, query string) bool {
	all := strings.ToLower(strings.Join([]string{v.Key(), v.Canary.Deployment, v.Stable.Deployment, string(v.Phase), string(v.Reason), hintOf(v).Word}, " "))
	for word := range strings.FieldsSeq(strings.ToLower(query)) {
		if !strings.Contains(all, word) {
			return false
		}
	}
	return true
}

func queryString(query string) string {
	if query == "" {
		return ""
	}
	return "?" + url.Values{"q": {query}}.Encode()
}

// listParts are the list's parts. Its rows are sent one by one as long as they are
// the same ones.
func (s *site) listParts(p listPage) ([]part, error) {
	parts, err := s.parts(p, "counts", "rows")
	if err != nil {
		return nil, err
	}
	for _, r := range p.Rows {
		html, err := s.render("row", r)
		if err != nil {
			return nil, err
		}
		parts[1].within = append(parts[1].within, part{id: r.ID, html: html})
	}
	return parts, nil
}

const longestQuery = 200

func queryOf(r *http.Request) string {
	q := strings.TrimSpace(strings.ToValidUTF8(r.URL.Query().Get("q"), ""))
	return q[:min(len(q), longestQuery)]
}

func (s *site) list(w http.ResponseWriter, r *http.Request) {
	p, err := s.listOf(r.Context(), queryOf(r))
	if err != nil {
		code, sentence := answerFor(err)
		s.fail(w, r, code, sentence)
		return
	}
	parts, err := s.listParts(p)
	if err != nil {
		s.fail(w, r, http.StatusInternalServerError, err.Error())
		return
	}
	p.State = stateOf(parts)
	s.page(w, http.StatusOK, "list", p)
}

func (s *site) listEvents(w http.ResponseWriter, r *http.Request) {
	query := queryOf(r)
	s.stream(w, r, func(ctx context.Context) ([]part, error) {
		p, err := s.listOf(ctx, query)
		if err != nil {
			return nil, err
		}
		return s.listParts(p)
	})
}
