package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/words"
)

// rolloutPage is what is shown of one rollout.
type rolloutPage struct {
	frame
	View      canary.View
	Look      look
	Verdict   look
	Since     moment
	Next      *next
	Steps     []step
	Share     shareBar
	Tracks    []trackRow
	Limits    string
	Evidence  evidence
	Charts    []chart
	Timeline  []told
	History   []past
	Commands  []command
	Waits     []waits
	Checks    checked
	Approvals []approved
	Service   string // as in addresses
	Namespace string
}

// next is what comes of itself.
type next struct {
	Sentence string
	At       *moment
	Deadline *moment
}

// waits is something that is waited for.
type waits struct {
	What     string  // who or what
	Sentence string  // what was said; empty where the page's own sentence says it
	Asked    *moment // when it was asked last; nil: never
}

// checked are checks: those that failed, those that passed, and how many of each.
type checked struct {
	Failed, Passed []canary.Check
	Title          string
}

// approved is a person's yes.
type approved struct {
	What, By string
	At       moment
}

// step of the track.
type step struct {
	Number, Weight int
	Share          string // as people write it
	Bake           string
	State          string // done, now or ahead
	Word           string // the same for those who don't see it
}

// shareBar is the canary's share: ordered, and as it is found in the routes.
type shareBar struct {
	Ordered int
	Found   string // empty: as ordered, everywhere
}

// trackRow is one line of the comparison: what it is, of both tracks.
type trackRow struct {
	Title          string
	Canary, Stable string
	Code           bool // the values are names, each on a line of its own
}

// told is a line of the timeline.
type told struct {
	canary.Told
	At moment
}

// past is a release before.
type past struct {
	canary.Past
	Look         look
	Began, Ended moment
	Took         string
}

// rolloutOf makes what is shown of a Service.
func (s *site) rolloutOf(ctx context.Context, namespace, service string) (rolloutPage, error) {
	d, err := s.Source.Detail(ctx, namespace, service)
	if err != nil {
		return rolloutPage{}, err
	}
	commands := s.commandsFor(ctx, d.View)
	clean(&d)
	now, v := s.Now(), d.View
	p := rolloutPage{
		frame: frame{Heading: v.Namespace + "/" + v.Service, Root: "../../", Events: service + "/events", At: when(now, now), Standby: s.standby()},
		View:  v, Look: lookOf(v.Phase), Verdict: verdictLook(v.Verdict.Kind), Since: when(v.Since, now),
		Steps: stepsOf(v), Share: shareOf(v), Tracks: tracksOf(v), Limits: limitsOf(v.Limits), Evidence: evidenceOf(v),
		Charts: chartsOf(d, now), Commands: commands, Service: service, Namespace: namespace,
		Waits: waitsOf(v, now), Checks: checkedOf(v), Approvals: approvedOf(v, now),
	}
	if v.Next.Sentence != "" {
		p.Next = &next{Sentence: v.Next.Sentence}
		if !v.Next.At.IsZero() && v.Next.At.After(now) {
			at := when(v.Next.At, now)
			p.Next.At = &at
		}
		if !v.Next.Deadline.IsZero() {
			deadline := when(v.Next.Deadline, now)
			p.Next.Deadline = &deadline
		}
	}
	for _, t := range slices.Backward(d.Timeline) {
		p.Timeline = append(p.Timeline, told{Told: t, At: when(t.At, now)})
	}
	for _, h := range d.History {
		p.History = append(p.History, past{
			Past: h, Look: lookOf(h.Outcome), Began: when(h.Started, now), Ended: when(h.Ended, now), Took: canary.Span(h.Ended.Sub(h.Started).Round(1e9)).String(),
		})
	}
	return p, nil
}

func waitsOf(v canary.View, now time.Time) []waits {
	var all []waits
	for _, a := range v.Awaits {
		w := waits{What: v.AwaitedWords(a), Sentence: v.AwaitedWhy(a)}
		if !a.At.IsZero() {
			at := when(a.At, now)
			w.Asked = &at
		}
		all = append(all, w)
	}
	return all
}

func checkedOf(v canary.View) (c checked) {
	for _, one := range v.Checks {
		if one.Passed {
			c.Passed = append(c.Passed, one)
		} else {
			c.Failed = append(c.Failed, one)
		}
	}
	c.Title = plural(int64(len(c.Passed)), "check passed", "checks passed")
	if len(c.Failed) > 0 {
		c.Title = plural(int64(len(c.Failed)), "check failed", "checks failed") + ", " + words.Count(int64(len(c.Passed))) + " passed"
	}
	return c
}

func approvedOf(v canary.View, now time.Time) []approved {
	var all []approved
	for _, a := range v.Approvals {
		one := approved{What: capital(v.StepWords(a.Step)), By: a.By, At: when(a.At, now)}
		if one.By == "" {
			one.By = "a command, whose it was is not known"
		}
		all = append(all, one)
	}
	return all
}

func stepsOf(v canary.View) []step {
	var all []step
	for i, p := range v.Path {
		s := step{Number: i + 1, Weight: p.Weight, Share: p.Share(), Bake: p.Bake.String(), State: "ahead", Word: "to come"}
		switch {
		case i+1 < v.Step:
			s.State, s.Word = "done", "done"
		case i+1 == v.Step && v.Phase.Drains():
			s.State, s.Word = "left", "left"
		case i+1 == v.Step:
			s.State, s.Word = "now", "now"
		}
		all = append(all, s)
	}
	return all
}

// shareOf compares what is ordered with what the routes are found to carry.
func shareOf(v canary.View) shareBar {
	b := shareBar{Ordered: max(0, min(100, v.Weight))}
	var others []string
	for _, s := range v.Shares {
		switch {
		case s.Least == v.Weight && s.Most == v.Weight:
		case s.Least == s.Most:
			others = append(others, fmt.Sprintf("%s carries %d%%", s.VirtualService, s.Most))
		default:
			others = append(others, fmt.Sprintf("%s carries %d%% to %d%%", s.VirtualService, s.Least, s.Most))
		}
	}
	b.Found = strings.Join(others, ", ")
	return b
}

// tracksOf compares the two versions line by line.
func tracksOf(v canary.View) []trackRow {
	c, s, judged := v.Canary, v.Stable, v.Verdict
	rows := []trackRow{{Title: "Deployment", Canary: dash(c.Deployment), Stable: dash(s.Deployment), Code: true}}
	if judged.Kind != "" {
		rows = append(rows,
			trackRow{Title: "Requests per second", Canary: words.Number(judged.CanaryRate), Stable: words.Number(judged.StableRate)},
			trackRow{Title: "Failed requests", Canary: failed(judged.CanaryErrors, judged.CanaryRequests), Stable: failed(judged.StableErrors, judged.StableRequests)},
			trackRow{Title: "P99 latency", Canary: quantile(judged.CanaryP99), Stable: quantile(judged.StableP99)})
	}
	rows = append(rows, trackRow{Title: "Pods ready", Canary: pods(c), Stable: pods(s)})
	if c.Restarts+s.Restarts > 0 {
		rows = append(rows, trackRow{Title: "Restarts", Canary: words.Count(int64(c.Restarts)), Stable: words.Count(int64(s.Restarts))})
	}
	if c.Problem+s.Problem != "" {
		rows = append(rows, trackRow{Title: "In the way of pods", Canary: dash(c.Problem), Stable: dash(s.Problem)})
	}
	if len(c.Images)+len(s.Images) > 0 {
		rows = append(rows, trackRow{Title: "Images", Canary: imagesOf(c), Stable: imagesOf(s), Code: true})
	} else if len(c.Digests)+len(s.Digests) > 0 {
		rows = append(rows, trackRow{Title: "Image digests", Canary: dash(strings.Join(c.Digests, "\n")), Stable: dash(strings.Join(s.Digests, "\n")), Code: true})
	}
	return rows
}

// imagesOf are a version's images, each with its container where there are several.
func imagesOf(t canary.Track) string {
	var all []string
	for _, i := range t.Images {
		text := i.Words()
		if len(t.Images) > 1 {
			text = i.Container + ": " + text
		}
		all = append(all, text)
	}
	return dash(strings.Join(all, "\n"))
}

func dash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

func failed(errors, requests int64) string {
	if requests == 0 {
		return "no request yet"
	}
	return share(errors, requests) + " (" + words.Count(errors) + " of " + words.Count(requests) + ")"
}

func pods(t canary.Track) string {
	if t.Deployment == "" {
		return "–"
	}
	text := fmt.Sprintf("%d of %d", t.Ready, t.Wanted)
	if t.Crashing {
		text += ", crashing"
	}
	return text
}

// limitsOf says the limits as people write them; empty where none are in force.
func limitsOf(l canary.LimitsView) string {
	if l == (canary.LimitsView{}) {
		return ""
	}
	errors := "at most " + words.Percent(l.ErrorRate) + " of the requests may fail"
	if l.ErrorRatio > 0 {
		errors += ", " + words.Number(l.ErrorRatio) + " times stable's share"
	}
	latency := "P99 within " + l.P99.String()
	if l.P99Ratio > 0 {
		latency += ", " + words.Number(l.P99Ratio) + " times stable's"
	}
	return errors + "; " + latency
}

// partNames are the templates of a rollout's parts.
var partNames = []string{"head", "actions", "findings", "steps", "checks", "evidence", "charts", "tracks", "timeline", "history"}

func (s *site) rollout(w http.ResponseWriter, r *http.Request) {
	p, err := s.rolloutOf(r.Context(), r.PathValue("namespace"), r.PathValue("service"))
	if err != nil {
		code, sentence := answerFor(err)
		s.fail(w, r, code, sentence)
		return
	}
	parts, err := s.parts(p, partNames...)
	if err != nil {
		s.fail(w, r, http.StatusInternalServerError, err.Error())
		return
	}
	p.State, p.Note = stateOf(parts), s.notes.take(r.URL.Query().Get("note"))
	s.page(w, http.StatusOK, "rollout", p)
}

func (s *site) rolloutEvents(w http.ResponseWriter, r *http.Request) {
	namespace, service := r.PathValue("namespace"), r.PathValue("service")
	s.stream(w, r, func(ctx context.Context) ([]part, error) {
		p, err := s.rolloutOf(ctx, namespace, service)
		if err != nil {
			return nil, err
		}
		return s.parts(p, partNames...)
	})
}
