package canary

import (
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
)

// atStep is a world whose release is at its second step, at 25% for an hour.
func atStep(t *testing.T) *world {
	t.Helper()
	w := newWorld()
	w.spec.StepDeadline = 24 * time.Hour
	w.pass()
	w.now = w.now.Add(time.Minute)
	w.o.Verdict = judge.Verdict{Kind: judge.Promote, Step: 1, Weight: 5, Covered: time.Minute, At: w.now, Sentence: "good"}
	w.pass()
	if w.state.Phase != Progressing || w.state.Step != 2 || w.state.Weight != 25 {
		t.Fatalf("it is %s at step %d, %d%%", w.state.Phase, w.state.Step, w.state.Weight)
	}
	w.now = w.now.Add(time.Hour)
	return w
}

func TestWhatEachVerdictDoesToAStepThatHasBakedLongEnough(t *testing.T) {
	now := atStep(t).now
	good := judge.Verdict{Kind: judge.Promote, Reason: judge.ReasonGood, Step: 2, Weight: 25, Covered: time.Hour, Since: now, At: now, Sentence: "as it is"}
	of := func(change func(*judge.Verdict)) judge.Verdict {
		v := good
		change(&v)
		return v
	}
	for name, c := range map[string]struct {
		verdict judge.Verdict
		phase   Phase
		weight  int
	}{
		"good":                         {good, Progressing, 100},
		"good, and less than the bake": {of(func(v *judge.Verdict) { v.Covered = 59 * time.Second }), Progressing, 25},
		"good, of the step before":     {of(func(v *judge.Verdict) { v.Step = 1 }), Progressing, 25},
		"good, at another weight":      {of(func(v *judge.Verdict) { v.Weight = 5 }), Progressing, 25},
		"held":                         {of(func(v *judge.Verdict) { v.Kind, v.Reason = judge.Hold, judge.ReasonFewRequests }), Progressing, 25},
		"no data":                      {of(func(v *judge.Verdict) { v.Kind, v.Reason = judge.NoData, judge.ReasonNoData }), Progressing, 25},
		"nothing yet":                  {judge.Verdict{}, Progressing, 25},
		"an incident of both":          {of(func(v *judge.Verdict) { v.Kind, v.Reason = judge.SharedIncident, judge.ReasonSharedIncident }), Progressing, 25},
		"starved just now":             {of(func(v *judge.Verdict) { v.Kind, v.Reason = judge.Starved, judge.ReasonStarved }), Progressing, 25},
		"starved for long": {of(func(v *judge.Verdict) {
			v.Kind, v.Reason, v.Since = judge.Starved, judge.ReasonStarved, now.Add(-time.Minute)
		}), RollingBack, 0},
		"a breach":                   {of(func(v *judge.Verdict) { v.Kind, v.Reason = judge.Rollback, judge.ReasonErrorRate }), RollingBack, 0},
		"a breach in an open block":  {of(func(v *judge.Verdict) { v.Kind, v.Reason, v.Open = judge.Rollback, judge.ReasonErrorRate, true }), RollingBack, 0},
		"a breach at another weight": {of(func(v *judge.Verdict) { v.Kind, v.Reason, v.Weight = judge.Rollback, judge.ReasonErrorRate, 5 }), Progressing, 25},
	} {
		t.Run(name, func(t *testing.T) {
			w := atStep(t)
			w.o.Verdict = c.verdict
			if p := Decide(w.spec, w.state, w.o, w.now); p.Next.Phase != c.phase || p.Next.Weight != c.weight {
				t.Errorf("got %s at %d%% (%s), want %s at %d%%", p.Next.Phase, p.Next.Weight, p.View.Sentence, c.phase, c.weight)
			}
		})
	}
}

// The last write of a release is the one in which the routes become the user's
// again: whatever a release ends by, and in no write before it.
func TestOnlyTheWriteThatEndsAReleaseIsItsLast(t *testing.T) {
	for name, end := range map[string]func(*world){
		"promoted": func(w *world) {
			for w.state.Phase == Progressing && w.state.Step < 3 {
				w.o.Verdict = judge.Verdict{Kind: judge.Promote, Step: w.state.Step, Weight: w.state.Weight, Covered: time.Hour, At: w.now}
				w.act(Decide(w.spec, w.state, w.o, w.now))
				w.now = w.now.Add(time.Hour) // longer than any bake
			}
			w.o.Verdict = judge.Verdict{Kind: judge.Promote, Step: w.state.Step, Weight: w.state.Weight, Covered: time.Hour, At: w.now}
		},
		"rolled back": func(w *world) {
			w.o.Command = &Command{Verb: CommandAbort}
			w.act(Decide(w.spec, w.state, w.o, w.now))
			w.now = w.now.Add(time.Hour)
		},
		"opted out": func(w *world) { w.o.OptedIn = false },
		"deleted":   func(w *world) { w.o.Gone = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := atStep(t)
			if p := Decide(w.spec, w.state, w.o, w.now); p.Last || p.Record != nil {
				t.Errorf("a step of it is the last: %s", p.View.Sentence)
			}
			end(w)
			if p := Decide(w.spec, w.state, w.o, w.now); p.Next.Phase.Active() || !p.Last || p.Record == nil {
				t.Errorf("it is %s, last %v, recorded %v: %s", p.Next.Phase, p.Last, p.Record != nil, p.View.Sentence)
			}
		})
	}
}
