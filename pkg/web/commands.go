package web

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/safetext"
)

// command is a button.
type command struct {
	Verb, Label string
	Means       string // what it does, a sentence
	Confirm     bool   // asked back first
	Danger      bool
	Action      string // relative address that it is posted to
	Step        int    // to which the reader says yes, by approve; else 0
}

// verbs are all buttons, in the order in which they stand.
var verbs = []command{
	{Verb: canary.CommandApprove, Label: "Approve", Means: "You say yes to it, for this step alone. The release goes on if nothing else is waited for.", Confirm: true},
	{Verb: canary.CommandResume, Label: "Resume", Means: "It goes on from where it is held."},
	{Verb: canary.CommandPause, Label: "Pause", Means: "The share stays where it is; a breach is rolled back all the same."},
	{Verb: canary.CommandSkip, Label: "Skip this step", Means: "The next step begins without waiting for the rest of this one.", Confirm: true},
	{Verb: canary.CommandPromote, Label: "Promote", Means: "The canary gets all the traffic now, without the steps between. The last step still bakes.", Confirm: true},
	{Verb: canary.CommandAbort, Label: "Abort", Means: "All traffic goes back to the stable version at once. This version is not tried again until you say retry.", Confirm: true, Danger: true},
	{Verb: canary.CommandRetry, Label: "Retry", Means: "This version, which was tried before, is released again from the first step.", Confirm: true},
	{Verb: canary.CommandRollback, Label: "Roll back", Means: "All traffic goes back to the version before, if its pods still run.", Confirm: true, Danger: true},
}

// fits tells whether a verb means anything in the phase that is shown.
func fits(v canary.View, verb string) bool {
	held := v.Phase == canary.Paused || v.Phase == canary.Inconclusive
	rising := v.Phase == canary.Testing || v.Phase == canary.Progressing
	switch verb {
	case canary.CommandApprove:
		return v.AwaitsApproval()
	case canary.CommandPause:
		return rising
	case canary.CommandSkip:
		return (rising || held) && v.Step < v.Steps
	case canary.CommandPromote:
		return (rising || held) && v.Weight < 100
	case canary.CommandResume:
		return held
	case canary.CommandAbort:
		return rising || held || v.Phase == canary.Blocked && v.Weight > 0
	case canary.CommandRetry:
		return v.Phase == canary.RolledBack
	case canary.CommandRollback:
		return v.Phase == canary.Succeeded && v.Weight == 100 && !v.InPlace
	}
	return false
}

func (s *site) commandsFor(ctx context.Context, v canary.View) []command {
	if s.Commands == nil {
		return nil
	}
	var all []command
	for _, c := range verbs {
		if fits(v, c.Verb) && s.Commands.May(ctx, v, c.Verb) {
			c.Action = url.PathEscape(v.Service) + "/" + c.Verb
			if c.Verb == canary.CommandApprove {
				c.Step = stepAwaited(v)
				c.Label, c.Means = "Approve "+v.StepWords(c.Step), approvalMeans(v)
			}
			all = append(all, c)
		}
	}
	return all
}

// stepAwaited is the step that waits for approval, 1-based; 0: the start, or none.
func stepAwaited(v canary.View) int {
	for _, a := range v.Awaits {
		if a.Kind == canary.AwaitApproval {
			return a.Step
		}
	}
	return 0
}

// sawIt tells that the step of the release that waits for approval is the one of the
// page that was answered.
func sawIt(r *http.Request, v canary.View) bool {
	return r.PostFormValue("step") == strconv.Itoa(stepAwaited(v)) && r.PostFormValue("rollout") == v.Rollout
}

// approvalMeans says what a yes leads to.
func approvalMeans(v canary.View) string {
	others := 0
	for _, a := range v.Awaits {
		if a.Kind != canary.AwaitApproval {
			others++
		}
	}
	if others > 0 {
		return "You say yes to this step alone. The release goes on when the rest that it waits for is there too."
	}
	return "You say yes to this step alone, and the release goes on."
}

// mostForm is how much a form of ours may have, in bytes.
const mostForm = 1 << 10

// command carries out what a button says, and shows the rollout again with what came
// of it.
func (s *site) command(w http.ResponseWriter, r *http.Request) {
	namespace, service, verb := r.PathValue("namespace"), r.PathValue("service"), r.PathValue("verb")
	if s.Commands == nil || !slices.ContainsFunc(verbs, func(c command) bool { return c.Verb == verb }) {
		s.fail(w, r, http.StatusNotFound, "No such command is given here.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	d, err := s.Source.Detail(r.Context(), namespace, service)
	if err != nil {
		code, sentence := answerFor(err)
		s.fail(w, r, code, sentence)
		return
	}
	var n note
	switch {
	case !s.Commands.May(r.Context(), d.View, verb):
		s.fail(w, r, http.StatusForbidden, "You may not "+verb+" this rollout.")
		return
	case !fits(d.View, verb):
		n = note{Text: "It is " + string(d.View.Phase) + " by now, so that there is nothing to " + verb, Bad: true}
	case verb == canary.CommandApprove && !sawIt(r, d.View):
		n = note{Text: "What waits for approval is another step or release by now, so that nothing was approved", Bad: true}
	default:
		told, err := s.Commands.Do(r.Context(), namespace, service, verb)
		n = note{Text: told}
		if err != nil {
			n = note{Text: "The command " + verb + " was not given: " + err.Error(), Bad: true}
		}
	}
	n.Text = strings.TrimSuffix(safetext.Line(n.Text), ".") + "."
	// Relative to the address that was posted to, so that a prefix before the page stays.
	w.Header().Set("Location", "../"+url.PathEscape(service)+"?note="+s.notes.put(n))
	w.WriteHeader(http.StatusSeeOther)
}

// note is what came of a command: shown once, on the page that follows.
type note struct {
	Text string
	Bad  bool
}

// mostNotes wait to be shown; then the oldest goes.
const mostNotes = 100

// notes are those that nobody has seen yet.
type notes struct {
	mu    sync.Mutex
	byID  map[string]note
	order []string
}

func (n *notes) put(said note) (id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byID == nil {
		n.byID = map[string]note{}
	}
	if len(n.order) == mostNotes {
		delete(n.byID, n.order[0])
		n.order = n.order[1:]
	}
	id = rand.Text()
	n.byID[id], n.order = said, append(n.order, id)
	return id
}

func (n *notes) take(id string) *note {
	n.mu.Lock()
	defer n.mu.Unlock()
	said, known := n.byID[id]
	if !known {
		return nil
	}
	delete(n.byID, id)
	n.order = slices.DeleteFunc(n.order, func(o string) bool { return o == id })
	return &said
}
