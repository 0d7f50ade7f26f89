package canary

import (
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
)

// TestDecideKeepsItsPromises walks at random through everything that can
// happen to a rollout and checks after every pass what must hold at any time.
func TestDecideKeepsItsPromises(t *testing.T) {
	for seed := range uint64(400) {
		w := newWorld()
		w.o.Traffic[virtualService("web-mesh")] = Seen{}
		r := rand.New(rand.NewPCG(seed, 7))
		var before State
		for i := range 120 {
			w.happen(r, i)
			p := Decide(w.spec, w.state, w.o, w.now)
			if again := Decide(w.spec, w.state, w.o, w.now); !reflect.DeepEqual(p, again) {
				t.Fatalf("seed %d: the same arguments gave two plans", seed)
			}
			check(t, seed, w, p)
			before = w.state
			w.act(p)
			if w.state.Rollout == before.Rollout && w.state.Sequence < before.Sequence {
				t.Fatalf("seed %d: the sequence fell from %d to %d", seed, before.Sequence, w.state.Sequence)
			}
		}
	}
}

func check(t *testing.T, seed uint64, w *world, p Plan) {
	t.Helper()
	s, next := w.state, p.Next
	if p.View.Reason == "" || p.View.Sentence == "" {
		t.Fatalf("seed %d: a plan without a reason in %s", seed, s.Phase)
	}
	if p.Traffic != nil && p.Traffic.Weight != next.Weight {
		t.Fatalf("seed %d: routes at %d%%, state at %d%%", seed, p.Traffic.Weight, next.Weight)
	}
	if s.Rollout != next.Rollout {
		if next.Weight != 0 {
			t.Fatalf("seed %d: a release begins at %d%%", seed, next.Weight)
		}
		return
	}
	checkLegs(t, seed, w, p)
	raised := next.Weight > s.Weight
	if raised && (s.Phase == RollingBack || (s.Phase == RolledBack && next.Reason != MovedByPerson)) {
		t.Fatalf("seed %d: the weight rises from %d%% to %d%% in %s (%s)", seed, s.Weight, next.Weight, s.Phase, next.Reason)
	}
	v := w.o.Verdict
	breached := v.Kind == judge.Rollback && v.Step == s.Step && v.Weight == s.Weight && s.Weight > 0
	if s.Phase.Active() && s.Phase != RollingBack && breached && !w.o.Newer && next.Phase != RollingBack && !p.Clean && next.Weight > 0 && w.o.OptedIn {
		t.Fatalf("seed %d: a breach at %d%% in %s is answered with %s (%s)", seed, s.Weight, s.Phase, next.Phase, p.View.Reason)
	}
	if raised && s.Phase.Active() && !commanded(w) && next.Step > s.Step+1 {
		t.Fatalf("seed %d: from step %d to step %d at once", seed, s.Step, next.Step)
	}
	if next.Weight > 0 && next.Width == 0 || s.Width > 0 && next.Width != s.Width {
		t.Fatalf("seed %d: at %d%% the width of blocks goes from %s to %s", seed, next.Weight, s.Width, next.Width)
	}
	if b := w.o.Baseline; raised && s.Phase.Active() && s.Step == 0 && (!b.Known || w.o.Unanswered != "" || len(b.Over) > 0 && b.Over[0].Written) {
		t.Fatalf("seed %d: the first users come though nobody can judge (%s)", seed, next.Reason)
	}
	incident := v.Kind == judge.SharedIncident && v.Step == s.Step && v.Weight == s.Weight
	if incident && s.Phase == Progressing && next.Phase != s.Phase && (next.Reason == DeadlinePassed || next.Reason == ProceedOnTime || next.Reason == RolledBackOnTime) {
		t.Fatalf("seed %d: in an incident of both versions the deadline ends the step (%s)", seed, next.Reason)
	}
	if raised && s.Phase == Progressing && w.o.Verdict.Kind == judge.NoData && !commanded(w) {
		t.Fatalf("seed %d: the weight rises without data (%s)", seed, next.Reason)
	}
}

// checkLegs demands that every stretch with weight can be replayed: what an
// order ends is kept, and the state that holds it can be written.
func checkLegs(t *testing.T, seed uint64, w *world, p Plan) {
	t.Helper()
	s, next := w.state, p.Next
	if next.Rollout == "" {
		return
	}
	if next.Sequence != s.Sequence {
		if _, err := EncodeState(next); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	ended := s.Phase.Active() && s.Weight > 0 && next.Sequence > s.Sequence
	if !ended {
		if !reflect.DeepEqual(s.Legs, next.Legs) {
			t.Fatalf("seed %d: %s at %d%%: the legs changed from %v to %v", seed, s.Phase, s.Weight, s.Legs, next.Legs)
		}
		return
	}
	var from time.Time // of the copy that was written last
	for _, seen := range w.o.Traffic {
		if seen.Rollout == s.Rollout && seen.Sequence == s.Sequence && seen.At.After(from) {
			from = seen.At
		}
	}
	if from.IsZero() || !from.Before(w.now) {
		return
	}
	want := Leg{Step: s.Step, Weight: s.Weight, From: from, To: w.now}
	if n := len(next.Legs); n == 0 || next.Legs[n-1] != want {
		t.Fatalf("seed %d: %s at %d%%: want the leg %v at the end of %v", seed, s.Phase, s.Weight, want, next.Legs)
	}
}

func commanded(w *world) bool { return w.o.Command != nil }

// happen lets one thing happen, most of them harmless.
func (w *world) happen(r *rand.Rand, i int) {
	w.now = w.now.Add(time.Duration(r.IntN(90)) * time.Second)
	name := []string{"web", "web-mesh"}[r.IntN(2)]
	id := strconv.Itoa(i)
	things := [][]string{
		{"verdict", "Promote", "WithinLimits", "covered=2m", "good"},
		{"verdict", "Promote", "WithinLimits", "covered=2m", "good"},
		{"verdict", "Promote", "WithinLimits", "covered=2m", "good"},
		{"verdict", "Hold", "NotEnoughRequests", "covered=2m", "quiet=3", "no-worse", "few"},
		{"verdict", "NoData", "NoData", "away"},
		{"verdict", "Rollback", "ErrorRateTooHigh", "bad"},
		{"verdict", "Starved", "CanaryStarved", "hangs"},
		{"verdict", "SharedIncident", "SharedIncident", "both"}, {"verdict", "Hold", "DriftingToLimit", "covered=3m", "worse"},
		{"prometheus", "away", "refused"}, {"prometheus", "silent"}, {"prometheus", "scraped"}, {"prometheus", "fails", "slow"},
		{"prometheus", "back"}, {"prometheus", "back"}, {"prometheus", "back"}, {"prometheus", "back"},
		{"stable-over", "errors", "1%", "2% failed", "3%"}, {"stable-over", "latency", "2s", "2% slow", "3s", "default"}, {"stable-over", "no"}, {"stable-over", "no"},
		{"on-shared-incident", "1m", RollBack}, {"on-shared-incident", "3m", HoldInconclusive},
		{"warning", string(UnmanagedClients), "some", "mend"}, {"judge", "threshold"}, {"judge", "evidence"},
		{"command", "pause"}, {"command", "none"}, {"command", "none"}, {"command", "none"},
		{"command", "abort"}, {"command", "retry#" + id}, {"command", "skip#" + id}, {"command", "promote#" + id},
		{"command", "resume#" + id}, {"command", "rollback#" + id},
		{"canary", "template=t" + id}, {"canary", "ready=0"}, {"canary", "ready=2", "healthy="}, {"canary", "crashing=3"},
		{"stable", "ready=0"}, {"stable", "ready=2"}, {"stable", "ready=2"}, {"stable", "template=s" + id},
		{"routes", name, "writer=kubectl", "weight=" + strconv.Itoa(r.IntN(101))},
		{"routes", name, "writer=argocd-controller", "gitops", "weight=0", "no-header"},
		{"deaf", name}, {"hears", "web"}, {"hears", "web-mesh"}, {"hears", "web"}, {"hears", "web-mesh"},
		{"opt-out"}, {"opt-in"}, {"opt-in"}, {"invalid", "bad"}, {"mended"}, {"mended"},
		{"steps", "5", "25", "100"}, {"steps", "1", "10", "50", "100"}, {"on-inconclusive", RollBack}, {"on-inconclusive", Proceed},
	}
	if r.IntN(20) == 0 {
		w.o.Width = 2 * time.Second // scraped more seldom from now on
	}
	if err := w.do(things[r.IntN(len(things))]); err != nil {
		panic(err)
	}
}

func TestNewerPicksTheCopyThatLeadsOn(t *testing.T) {
	at := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		a, b State
		want bool
	}{
		"the higher sequence of one rollout":          {State{Rollout: "r", Sequence: 3}, State{Rollout: "r", Sequence: 2}, true},
		"a copy that rolls back, whatever the others": {State{Rollout: "r", Sequence: 3, Phase: Progressing}, State{Rollout: "r", Sequence: 2, Phase: RollingBack}, false},
		"the rollout that began later":                {State{Rollout: "b", Started: at.Add(1)}, State{Rollout: "a", Started: at, Sequence: 9}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Newer(c.a, c.b); got != c.want {
				t.Errorf("Newer = %v, want %v", got, c.want)
			}
		})
	}
}

func TestATemplateThatIsNotReleasedAgainIsToldToPeople(t *testing.T) {
	w := newWorld()
	w.o.History = []Release{{Rollout: "r1", Canary: Side{Template: "t2"}, Outcome: RolledBack}}
	p := Decide(w.spec, w.state, w.o, w.now)
	if len(p.Tell) != 1 || p.Tell[0].Reason != AlreadyTried {
		t.Errorf("told %v", p.Tell)
	}
}

func TestARolloutThatWaitsForPodsTooLongIsToldToPeople(t *testing.T) {
	w := newWorld()
	w.spec.Test = time.Minute
	w.pass()
	w.o.Tracks.Canary.Complete, w.o.Tracks.Canary.Ready = false, 0
	for _, c := range []struct {
		after time.Duration
		told  int
	}{{0, 0}, {w.spec.StepDeadline, 1}} {
		if p := Decide(w.spec, w.state, w.o, w.state.Since.Add(c.after)); p.View.Reason != WaitingForPods || len(p.Tell) != c.told {
			t.Errorf("after %s: %s, told %v", c.after, p.View.Reason, p.Tell)
		}
	}
}

func TestADeadlineWaitsForTheVerdictThatIsReadAgain(t *testing.T) {
	w := newWorld()
	w.state = State{
		Version: pairVersion, Rollout: "r", Sequence: 1, Phase: Progressing, Step: 1, Weight: 5, Peak: 5, Width: time.Second,
		Canary:  Side{Deployment: w.o.Tracks.Canary.Deployment, Subset: w.o.Tracks.Canary.Subset, Template: w.o.Tracks.Canary.Template},
		Stable:  Side{Deployment: w.o.Tracks.Stable.Deployment, Subset: w.o.Tracks.Stable.Subset, Template: w.o.Tracks.Stable.Template},
		Started: w.now.Add(-time.Hour), Since: w.now.Add(-time.Hour), Spec: w.spec,
	}
	w.spec.OnInconclusive, w.state.Spec.OnInconclusive = RollBack, RollBack
	w.o.Traffic = map[ObjectKey]Seen{virtualService("web"): {Min: 5, Max: 5, Split: true, Header: true, Rollout: "r", Sequence: 1, At: w.now.Add(-time.Hour)}}
	for replaying, want := range map[bool]Phase{true: Progressing, false: RollingBack} {
		w.o.Replaying = replaying
		if p := Decide(w.spec, w.state, w.o, w.now); p.Next.Phase != want {
			t.Errorf("replaying %v: it is %s (%s), want %s", replaying, p.Next.Phase, p.View.Sentence, want)
		}
	}
}

func TestARecordHoldsWhatAReplayNeeds(t *testing.T) {
	w := newWorld()
	w.pass()
	for range 3 {
		if err := w.do(words("verdict Promote WithinLimits covered=1m good")); err != nil {
			t.Fatal(err)
		}
		w.pass()
	}
	at := func(seconds int) time.Time { return w.state.Started.Add(time.Duration(seconds) * time.Second) }
	want := []Leg{{Step: 1, Weight: 5, From: at(0), To: at(60)}, {Step: 2, Weight: 25, From: at(60), To: at(120)}, {Step: 3, Weight: 100, From: at(120), To: at(180)}}
	r := w.o.History[0]
	if r.Outcome != Succeeded || r.Width != time.Second || !reflect.DeepEqual(r.Legs, want) {
		t.Errorf("got %s, blocks of %s, legs %v", r.Outcome, r.Width, r.Legs)
	}
}

func TestOnlyTheNewestLegsAreKept(t *testing.T) {
	w := newWorld()
	w.pass()
	for i := range 2 * MaxLegs {
		w.o.Command = &Command{Verb: []string{CommandPause, ""}[i%2]}
		w.now = w.now.Add(time.Minute)
		w.pass()
	}
	legs := w.state.Legs
	if len(legs) != MaxLegs || !legs[MaxLegs-1].To.Equal(w.now) || !legs[0].To.Equal(w.now.Add(-(MaxLegs-1)*time.Minute)) {
		t.Errorf("%d legs, %v to %v", len(legs), legs[0], legs[len(legs)-1])
	}
}
