package canary

import (
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
)

// looker watches a release that people lead: what Decide returns is kept in
// memory, as the controller does.
type looker struct {
	*world
	told []string
}

func newLooker() *looker {
	w := newWorld()
	w.o.OptedIn, w.o.Observe = false, true
	return &looker{world: w}
}

// set is a hand on the routes.
func (l *looker) set(weight int) {
	l.now = l.now.Add(10 * time.Second)
	l.o.Traffic[virtualService("web")] = Seen{Min: weight, Max: weight, Writer: "kubectl", Changed: l.now}
}

// sees lets a verdict of the weight that is there come in.
func (l *looker) sees(kind judge.Kind, r judge.Reason, covered time.Duration, sentence string) {
	l.look()
	l.now = l.now.Add(covered)
	l.o.Verdict = judge.Verdict{Kind: kind, Reason: r, Sentence: sentence, Step: l.state.Step, Weight: l.state.Weight, Covered: covered, At: l.now, Since: l.now}
}

func (l *looker) look() Plan {
	p := Decide(l.spec, l.state, l.o, l.now)
	l.state = p.Next
	for _, e := range p.Tell {
		l.told = append(l.told, string(e.Reason)+": "+e.Sentence)
	}
	return p
}

func TestObserveModeOrdersNothing(t *testing.T) {
	l := newLooker()
	for _, weight := range []int{0, 5, 30, 100, 10} {
		l.set(weight)
		for _, kind := range []judge.Kind{judge.NoData, judge.Starved, judge.Rollback, judge.SharedIncident, judge.Promote, judge.Hold} {
			l.sees(kind, judge.ReasonErrorRate, time.Hour, "why")
			if p := l.look(); p.Traffic != nil || p.Clean || p.Record != nil || p.View.Phase != Watched || p.View.Weight != weight {
				t.Errorf("at %d%% with %s: traffic %v, clean %v, record %v, shows %s at %d%%", weight, kind, p.Traffic, p.Clean, p.Record, p.View.Phase, p.View.Weight)
			}
		}
	}
}

func TestObserveModeSaysWhatItWouldHaveDone(t *testing.T) {
	l := newLooker()
	if p := l.look(); p.View.Reason != Watching || !strings.Contains(p.View.Sentence, "give it weight by hand") {
		t.Errorf("without weight it shows %s: %s", p.View.Reason, p.View.Sentence)
	}
	l.set(7)
	l.sees(judge.Hold, judge.ReasonFewRequests, 10*time.Second, "10 canary requests so far")
	if p := l.look(); p.View.Reason != NotEnoughRequests || p.View.Step != 1 {
		t.Errorf("at 7%% it shows step %d, %s: %s", p.View.Step, p.View.Reason, p.View.Sentence)
	}
	l.sees(judge.Promote, judge.ReasonGood, 2*time.Minute, "0 of 200 failed")
	l.look()
	l.sees(judge.Promote, judge.ReasonGood, 2*time.Minute, "0 of 300 failed")
	l.look()
	l.sees(judge.Rollback, judge.ReasonErrorRate, 3*time.Minute, "9 of 320 failed")
	l.look()
	l.set(0)
	l.look()
	want := []string{
		"StepPassed: If Serin led this release: Step 2 of 3: 25% of the traffic goes to web-v2. 0 of 200 failed",
		"ErrorRateTooHigh: If Serin led this release: 9 of 320 failed",
	}
	if strings.Join(l.told, "\n") != strings.Join(want, "\n") {
		t.Errorf("it told\n%s\nwant\n%s", strings.Join(l.told, "\n"), strings.Join(want, "\n"))
	}
}

func TestObserveModeKeepsTheLegsThatPeopleMade(t *testing.T) {
	l := newLooker()
	for _, weight := range []int{5, 50, 0, 20} {
		l.set(weight)
		l.look()
	}
	var legs []int
	for _, leg := range l.state.Legs {
		legs = append(legs, leg.Weight)
		if leg.To.Sub(leg.From) != 10*time.Second {
			t.Errorf("the leg of %d%% lasts %s, want 10s", leg.Weight, leg.To.Sub(leg.From))
		}
	}
	if len(legs) != 2 || legs[0] != 5 || legs[1] != 50 || l.state.Weight != 20 || l.state.Step != 1 {
		t.Errorf("legs %v, then %d%% of step %d", legs, l.state.Weight, l.state.Step)
	}
	before := l.state.Rollout
	l.o.Tracks.Canary.Template = "t3"
	if l.look(); l.state.Rollout == before || len(l.state.Legs) != 0 {
		t.Errorf("another version goes on as %s with %d legs", l.state.Rollout, len(l.state.Legs))
	}
}

func TestARouteThatSharesLessCounts(t *testing.T) {
	l := newLooker()
	l.o.Traffic[virtualService("more")] = Seen{Min: 40, Max: 40, Changed: l.now}
	l.o.Traffic[virtualService("idle")] = Seen{Idle: true}
	l.set(10)
	if p := l.look(); p.View.Weight != 10 {
		t.Errorf("with routes of 10%% and 40%% it judges %d%%", p.View.Weight)
	}
}

func TestObserveModeEndsAReleaseOfSerinsFirst(t *testing.T) {
	w := newWorld()
	w.pass() // begins and goes to 5%
	w.o.OptedIn, w.o.Observe = false, true
	p := Decide(w.spec, w.state, w.o, w.now)
	if p.Next.Phase != RolledBack || p.Traffic == nil || p.Traffic.Weight != 0 {
		t.Errorf("a release under way goes to %s", p.Next.Phase)
	}
	if p = Decide(w.spec, p.Next, w.o, w.now); !p.Clean {
		t.Error("its marks stay")
	}
}

func TestObserveModeNeedsToTellTheVersionsApart(t *testing.T) {
	l := newLooker()
	l.o.Tracks.Stable.Subset = ""
	if p := l.look(); p.View.Phase != Blocked || p.View.Reason != SubsetMissing {
		t.Errorf("without a subset it shows %s, %s", p.View.Phase, p.View.Reason)
	}
	l.o.Findings = []Finding{{Reason: StableMissing, Blocking: true, Problem: "there is no other Deployment"}}
	if p := l.look(); p.View.Reason != StableMissing {
		t.Errorf("with a finding it shows %s", p.View.Reason)
	}
	l.o.Invalid = []string{"serin.dev/bake: no"}
	if p := l.look(); p.View.Reason != InvalidAnnotation {
		t.Errorf("with a mistake it shows %s", p.View.Reason)
	}
}
