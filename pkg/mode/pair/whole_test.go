package pair

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/route"
)

// pass is one turn of the controller: observe, decide, and the first write, or
// all urgent ones. It tells whether anything was written.
func (w *world) pass(spec canary.Spec, verdict judge.Verdict, history *[]canary.Release) (canary.Plan, bool) {
	w.t.Helper()
	w.now = w.now.Add(30 * time.Second)
	state, newer, lost := mode.FindState(w.o)
	verdict.Step, verdict.Weight, verdict.At = state.Step, state.Weight, w.now
	seen := Observe(w.o, state)
	plan := canary.Decide(spec, state, canary.Observation{
		OptedIn: seen.OptedIn, Gone: seen.Gone, Tracks: seen.Tracks, Traffic: seen.Traffic, Findings: seen.Findings,
		Verdict: verdict, History: *history, Newer: newer, Lost: lost, Width: 15 * time.Second, Baseline: judge.Baseline{Known: true},
	}, w.now)
	writes, err := Render(plan, w.o, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	if plan.Record != nil {
		*history = append([]canary.Release{*plan.Record}, *history...)
	}
	for i, write := range writes {
		if write.Urgent || i == 0 {
			w.apply(write)
		}
	}
	return plan, len(writes) > 0
}

// settle runs until nothing is written any more, for longer than a bake.
func (w *world) settle(spec canary.Spec, verdict judge.Verdict, history *[]canary.Release) canary.Plan {
	w.t.Helper()
	quiet := 0
	for range 100 {
		plan, wrote := w.pass(spec, verdict, history)
		if quiet++; wrote {
			quiet = 0
		}
		if quiet == 5 {
			return plan
		}
	}
	w.t.Fatalf("it never comes to rest:\n%s", w.log.String())
	return canary.Plan{}
}

// shares are the canary's percents by VirtualService, and what is ours on them.
func (w *world) shares() string {
	var all []string
	state, _, _ := mode.FindState(w.o)
	for _, vs := range w.o.VirtualServices {
		s := Observe(w.o, state).Traffic[vs.Key]
		text := fmt.Sprintf("%s %d%%", vs.Key.Name, s.Max)
		if s.Header {
			text += " header"
		}
		if s.Owned {
			text += " owned"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func TestTheWayOfTheData(t *testing.T) {
	spec := release().Spec
	spec.StepDeadline, spec.OnInconclusive = time.Hour, canary.HoldInconclusive
	good := judge.Verdict{Kind: judge.Promote, Reason: judge.ReasonGood, Covered: time.Minute, At: start, Sentence: "good"}
	bad := judge.Verdict{Kind: judge.Rollback, Reason: judge.ReasonErrorRate, At: start, Quiet: 3, Sentence: "bad"}
	begun := func(t *testing.T) (*world, *[]canary.Release) {
		w := newWorld(t, withGateway())
		history := &[]canary.Release{}
		w.settle(spec, judge.Verdict{}, history)
		if got := w.shares(); got != "web 5% header owned, web-gateway 5% header owned" {
			t.Fatalf("after the start: %s", got)
		}
		return w, history
	}
	end := func(t *testing.T, w *world, history *[]canary.Release, phase canary.Phase, shares string) {
		t.Helper()
		state, _, _ := mode.FindState(w.o)
		if state.Phase != phase || w.shares() != shares || len(*history) != 1 {
			t.Errorf("%s, %s, %d releases in the history", state.Phase, w.shares(), len(*history))
		}
	}
	t.Run("a good release comes to rest at 100% and gives the routes back", func(t *testing.T) {
		w, history := begun(t)
		w.settle(spec, good, history)
		end(t, w, history, canary.Succeeded, "web 100%, web-gateway 100%")
	})
	t.Run("a bad release comes to rest at 0% and gives the routes back", func(t *testing.T) {
		w, history := begun(t)
		w.settle(spec, bad, history)
		end(t, w, history, canary.RolledBack, "web 0%, web-gateway 0%")
	})
	t.Run("opting out leaves nothing", func(t *testing.T) {
		w, history := begun(t)
		w.o.Deployments[1].Annotations = nil
		w.settle(spec, judge.Verdict{}, history)
		w.nothingIsLeft()
	})
	t.Run("a deleted Deployment leaves nothing", func(t *testing.T) {
		w, history := begun(t)
		w.o.Deployments = w.o.Deployments[:1]
		w.settle(spec, judge.Verdict{}, history)
		w.nothingIsLeft()
	})
	t.Run("a person's lowering is honoured", func(t *testing.T) {
		w, history := begun(t)
		w.edit("weight: 5}", "weight: 0}")
		w.edit("weight: 95", "weight: 100")
		plan := w.settle(spec, judge.Verdict{}, history)
		if plan.View.Phase != canary.Paused || w.shares() != "web 0% header, web-gateway 0% header owned" {
			t.Errorf("%s, %s", plan.View.Phase, w.shares())
		}
	})
	t.Run("a person's raise is undone", func(t *testing.T) {
		w, history := begun(t)
		w.edit("weight: 5}", "weight: 50}")
		w.edit("weight: 95", "weight: 50")
		w.settle(spec, judge.Verdict{}, history)
		if w.shares() != "web 5% header owned, web-gateway 5% header owned" {
			t.Error(w.shares())
		}
	})
	t.Run("taking turns goes the other way round", func(t *testing.T) {
		w, history := begun(t)
		w.settle(spec, good, history)
		w.o.Deployments[0].Annotations = map[string]string{"serin.dev/canary": "true"}
		w.o.Deployments[0].TemplateHash = "new"
		w.o.Deployments[0].ReplicaSetAt = w.now
		w.settle(spec, judge.Verdict{}, history)
		if got := w.shares(); got != "web 5% header owned, web-gateway 5% header owned" {
			t.Fatal(got)
		}
		w.settle(spec, good, history)
		state, _, _ := mode.FindState(w.o)
		if state.Canary.Deployment != "web-v1" || state.Phase != canary.Succeeded || len(*history) != 2 {
			t.Errorf("%+v", state)
		}
	})
}

func (w *world) nothingIsLeft() {
	w.t.Helper()
	was := shop(w.t, withGateway()).VirtualServices
	for i, vs := range w.o.VirtualServices {
		metadata := object(vs.Doc, "metadata")
		if !equal(was[i].Doc["spec"], vs.Doc["spec"]) || metadata["annotations"] != nil {
			w.t.Errorf("%s: something of ours is left: %v", vs.Key, vs.Doc)
		}
		for _, e := range mode.ManagedFields(vs.Doc) {
			if e["manager"] == mode.FieldManager {
				w.t.Errorf("%s: still ours", vs.Key)
			}
		}
	}
}

// BenchmarkPass is what one pass costs for a VirtualService of 150 routes.
func BenchmarkPass(b *testing.B) {
	o := shopObjects(b)
	spec := object(o.VirtualServices[0].Doc, "spec")
	one := spec["http"].([]any)[0].(map[string]any)
	var many []any
	for i := range 150 {
		r := route.Clone(one)
		r["match"] = []any{map[string]any{"uri": map[string]any{"prefix": fmt.Sprint("/", i)}}}
		many = append(many, r)
	}
	spec["http"] = many
	p := order(release(), canary.Progressing, 5, canary.StepStarted)
	writes, err := Render(p, o, start)
	if err != nil || len(writes) != 1 || len(writes[0].Body) == 0 {
		b.Fatal(writes, err)
	}
	for b.Loop() {
		state, _, _ := mode.FindState(o)
		Observe(o, state)
		if _, err := Render(p, o, start); err != nil {
			b.Fatal(err)
		}
	}
}
