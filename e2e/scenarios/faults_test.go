package scenarios

import (
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
	for _, weight := range []int{5, 25, 100} {
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
	st.goesBack("ErrorRateTooHigh")
}

// prometheusAway takes all data away: the weight is held until it comes back.
func prometheusAway(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("5%/5s, 25%/20s, 100%/5s", nil)
	before := st.reachesWeight(25)
	if err := st.box.Kill("prometheus"); err != nil {
		t.Fatal(err)
	}
	st.shows("1", "serin_rollout_verdict", `kind="NoData"`)
	// Longer than the bake without data: it is counted in data.
	st.answered(st.users, 25*int(st.script.rate))
	if now := st.versions.state(); now.Sequence != before.Sequence {
		t.Errorf("without data it moved to %+v", now)
	}
	if err := st.box.Restart("prometheus"); err != nil {
		t.Fatal(err)
	}
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// istiodAway keeps routes from being written: proxies keep what they have.
func istiodAway(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(long, nil)
	st.reachesWeight(25)
	if err := st.box.Kill("istiod"); err != nil {
		t.Fatal(err)
	}
	st.command("abort")
	st.answered(st.users, 300) // judged with all others at the end
	if err := st.box.Restart("istiod"); err != nil {
		t.Fatal(err)
	}
	st.reaches("it went back", func(s invariant.State) bool { return s.Phase == "RolledBack" })
	st.close("v1", "v1")
}
