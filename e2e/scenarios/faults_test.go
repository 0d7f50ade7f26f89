package scenarios

import (
	"sync"
	"testing"

	"serin.dev/serin/e2e/scenarios/invariant"
)

// lease is short, so that a new leader soon follows a dead one.
const lease = "6s"

// crash kills the controller without a word, and starts it again.
func (st *stage) crash() {
	st.Helper()
	if err := st.controller.Kill(); err != nil {
		st.Fatal(err)
	}
	if err := st.controller.Restart(); err != nil {
		st.Fatal(err)
	}
}

func killedAtEachStep(t *testing.T, name string) {
	st := open(t, name, script{lease: lease})
	st.release(quick, nil)
	for _, weight := range []int{10, 50, 100} {
		st.reachesWeight(weight)
		st.crash()
	}
	st.reachesPhase("Succeeded")
	st.crash()
	st.leads()
	st.unowned()
	st.close("v2", "v2")
}

func killedGoingBack(t *testing.T, name string) {
	st := open(t, name, script{lease: lease, tolerates: by("v2")})
	st.release("25%/10m, 100%", settings{"ERROR_RATE": "0.5"})
	st.reachesPhase("RollingBack")
	st.crash()
	st.leads()
	// The Event of the reason may have died with the controller; the state has it.
	st.rolledBack("ErrorRateTooHigh", "ErrorRateWorseThanStable")
	st.told("RollbackVerified")
	st.close("v1", "v1")
}

// takeAway kills a process of the stack, and returns what brings it back. It
// comes back in any case, for the scenarios that follow.
func (st *stage) takeAway(process string) (back func()) {
	st.Helper()
	if err := st.box.Kill(process); err != nil {
		st.Fatal(err)
	}
	back = sync.OnceFunc(func() {
		if err := st.box.Restart(process); err != nil {
			st.Error(err)
		}
	})
	st.Cleanup(back)
	return back
}

// prometheusAway takes all data away: the weight is held until it comes back.
func prometheusAway(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("25%/2s, 50%/10s, 100%/2s", nil)
	before := st.reachesWeight(50)
	back := st.takeAway("prometheus")
	st.heldWithoutData(before)
	back()
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// prometheusHangs takes all answers away: who asks isn't even refused.
func prometheusHangs(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("25%/2s, 50%/10s, 100%/2s", nil)
	before := st.reachesWeight(50)
	if err := st.box.Pause("prometheus"); err != nil {
		t.Fatal(err)
	}
	back := sync.OnceFunc(func() {
		if err := st.box.Resume("prometheus"); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(back)
	st.heldWithoutData(before)
	back()
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// heldWithoutData waits for longer than the bake, which counts only the time
// covered by data, and looks whether anything moved.
func (st *stage) heldWithoutData(before invariant.State) {
	st.Helper()
	st.shows("1", "serin_rollout_verdict", `kind="NoData"`)
	st.answered(st.users, 15*int(st.script.rate))
	if now := st.versions.state(); now.Sequence != before.Sequence {
		st.Errorf("without data it moved to %+v", now)
	}
}

// unscraped has Prometheus scrape nothing, and returns what ends that.
func (st *stage) unscraped() (back func()) {
	st.Helper()
	if err := st.box.Scrape(false); err != nil {
		st.Fatal(err)
	}
	back = sync.OnceFunc(func() {
		if err := st.box.Scrape(true); err != nil {
			st.Error(err)
		}
	})
	st.Cleanup(back)
	return back
}

// staleMetrics has Prometheus answer with what was: that is no data, neither
// good nor bad.
func staleMetrics(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("25%/2s, 50%/10s, 100%/2s", nil)
	before := st.reachesWeight(50)
	back := st.unscraped()
	st.heldWithoutData(before)
	back()
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// noMetrics releases where Prometheus knows nothing of the application.
func noMetrics(t *testing.T, name string) {
	back := (&stage{T: t, world: shared}).unscraped()
	st := open(t, name, script{})
	st.release("50%/2s, 100%/2s", nil)
	st.reachesPhase("Testing")
	st.shows("1", "serin_rollout_verdict", `kind="NoData"`)
	st.answered(st.users, 5*int(st.script.rate))
	if s := st.versions.state(); s.Weight == 100 {
		t.Error("without data it got all users")
	}
	back()
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// istiodAway keeps the proxies from hearing of new routes: they keep those
// they have, and follow when it is back.
func istiodAway(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(long, nil)
	st.reachesWeight(25)
	st.arrives("v2")
	back := st.takeAway("istiod")
	st.command("abort")
	st.reachesPhase("RollingBack")
	st.arrives("v2")
	back()
	st.reachesPhase("RolledBack")
	st.told("RollbackVerified")
	st.close("v1", "v1")
}
