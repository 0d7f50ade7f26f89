// Package hostile tries what people with some rights, and none more, may try
// against others: bad input, and everything that reaches from one namespace into
// another. It holds tests only, which go through the same functions as the
// controller.
package hostile

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/mode/inplace"
	"serin.dev/serin/pkg/mode/pair"
	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/topology/topologytest"
)

var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// change replaces a text of the manifests, or, with nothing to replace, adds a
// document.
type change [2]string

func manifests(t testing.TB, file string, changes ...change) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, c := range changes {
		if c[0] == "" {
			text += "\n---\n" + c[1]
			continue
		}
		if !strings.Contains(text, c[0]) {
			t.Fatalf("%q is not in %s", c[0], file)
		}
		text = strings.Replace(text, c[0], c[1], 1)
	}
	return text
}

// tenant is the namespace shop, whose release is followed for some passes.
type tenant struct {
	o       topology.Objects
	now     time.Time
	state   canary.State
	history []canary.Release
	writes  []mode.Write
	plan    canary.Plan
	err     error // of the last rendering
	told    []canary.Event
	seen    []string // phases and weights, each change once
	highest int
	// verdict is what the judge says where the release has users.
	verdict judge.Kind
}

func newTenant(t testing.TB, file string, changes ...change) *tenant {
	t.Helper()
	return &tenant{
		o:   topologytest.Load(t, "shop", "web", manifests(t, file, changes...)),
		now: start, verdict: judge.Promote,
	}
}

// pass is one pass of the controller: it observes, decides, renders, and does all
// that is rendered. It tells whether anything was written.
func (w *tenant) pass() bool {
	w.o.History = w.history
	observation := canary.Observation{History: w.history, Width: time.Second, Baseline: judge.Baseline{Known: true}}
	w.state, observation.Newer, observation.Lost = mode.FindState(w.o)
	if observation.Lost {
		observation.Unreadable = mode.Unreadable(w.o)
	}
	room := pair.Room
	if mode.InPlace(w.o, w.state) {
		room = inplace.Room
	}
	seen := room.Observe(w.o, w.state)
	observation.InPlace, observation.Place = seen.InPlace, seen.Place
	observation.OptedIn, observation.Gone = seen.OptedIn, seen.Gone
	observation.Tracks, observation.Traffic, observation.Findings = seen.Tracks, seen.Traffic, seen.Findings
	d, _ := topology.ByName(w.o, seen.Subject)
	parsed, mistakes := annotation.Parse(d.Annotations, annotation.Vocabulary{Defaults: annotation.Defaults()})
	observation.Command, observation.Invalid = parsed.Command, annotation.Mistakes(mistakes)
	observation.OptedIn, observation.Observe = seen.OptedIn && !parsed.Observe, parsed.Observe
	if mistakes == nil {
		observation.Findings = append(observation.Findings, room.CheckSpec(w.o, observation.Tracks, parsed.Spec)...)
	}
	observation.Verdict = w.judged()
	w.plan = canary.Decide(parsed.Spec, w.state, observation, w.now)
	w.told = append(w.told, w.plan.Tell...)
	if r := w.plan.Record; r != nil {
		w.history = append([]canary.Release{*r}, w.history...)
	}
	var writes []mode.Write
	writes, w.err = room.Render(w.plan, w.o, w.now)
	for _, write := range writes {
		w.do(write)
	}
	w.note()
	w.now = w.now.Add(3 * time.Minute)
	return len(writes) > 0
}

func (w *tenant) judged() judge.Verdict {
	v := judge.Verdict{Kind: w.verdict, Step: w.state.Step, Weight: w.state.Weight, At: w.now, Covered: time.Hour}
	if w.state.Phase.Drains() {
		v.Quiet = 9
	}
	return v
}

// note keeps what the release shows, and the highest weight that is ordered.
func (w *tenant) note() {
	shown := fmt.Sprintf("%s %d%%", w.plan.View.Phase, w.plan.Next.Weight)
	if n := len(w.seen); n == 0 || w.seen[n-1] != shown {
		w.seen = append(w.seen, shown)
	}
	if w.plan.Traffic != nil {
		w.highest = max(w.highest, w.plan.Traffic.Weight)
	}
}

// do does a write as the API server would, to VirtualServices: what becomes of
// others no attempt here depends on.
func (w *tenant) do(write mode.Write) {
	w.writes = append(w.writes, write)
	if write.Key.Kind != "VirtualService" || write.Verb != mode.Update {
		return
	}
	doc, err := topologytest.DecodeJSON(write.Body)
	for i, vs := range w.o.VirtualServices {
		if vs.Key == write.Key && err == nil {
			w.o.VirtualServices[i].Doc = doc
			return
		}
	}
	w.err = errors.Join(w.err, err, fmt.Errorf("%s is written and not there", write.Key))
}

// play makes passes until the release is over or does not get further.
func (w *tenant) play() {
	quiet := 0
	for i := 0; i < 60 && quiet < 6; i++ {
		if w.pass() {
			quiet = 0
			continue
		}
		quiet++
	}
}

// abroad are the writes to anything outside the tenant's namespace.
func (w *tenant) abroad() (keys []string) {
	for _, write := range w.writes {
		if write.Key.Namespace != "shop" {
			keys = append(keys, fmt.Sprint(write.Verb, " ", write.Key))
		}
	}
	return keys
}

// reasons are the blocking findings and the shown reason, each once.
func (w *tenant) reasons() map[canary.Reason]bool {
	out := map[canary.Reason]bool{w.plan.View.Reason: true}
	for _, f := range w.plan.View.Findings {
		out[f.Reason] = true
	}
	for _, e := range w.told {
		out[e.Reason] = true
	}
	return out
}
