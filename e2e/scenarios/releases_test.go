package scenarios

import (
	"slices"
	"testing"

	"serin.dev/serin/e2e/scenarios/invariant"
)

// Steps that are over soon: two hundred good requests of the canary suffice for
// all of them together. And steps that last as long as the scenario.
const (
	quick = "10%/2s, 50%/2s, 100%/2s"
	long  = "25%/20m, 100%/20m"
)

func promotion(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(quick, nil)
	st.reachesPhase("Succeeded")
	st.told("Promoted")
	st.shows("1", "serin_rollout_phase", `phase="Succeeded"`)
	st.shows("100", "serin_rollout_weight_percent")
	st.close("v2", "v2")
}

// A pod that is gone in the middle of a request is nobody's answer.
func crashing(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v2", "")})
	st.release("25%/10m, 100%", settings{"CRASH_AFTER": "8s"})
	st.goesBack("CanaryCrashing", "CanaryUnavailable", "ErrorRateTooHigh", "CanaryStarved")
}

// A crash loop is seen without Prometheus, before any user is on the version.
func crashingAtZero(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("0%/20m, 100%", settings{"CRASH_AFTER": "3s"})
	st.goesBack("CanaryCrashing")
	st.onlyBy("v1", st.users.Records())
}

// A share can be missed only where no client bypasses the routes.
func hanging(t *testing.T, name string) {
	st := open(t, name, script{more: mesh(name, split(100, 0)), tolerates: by("v2", "")})
	st.release("10%/10m, 100%", settings{"HANG": "true"})
	st.goesBack("CanaryStarved")
}

// Clients in the mesh may bypass a gateway's routes, so that nobody knows what
// the canary owes; that its users leave without an answer is known.
func hangingBehindGateway(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v2", "")})
	st.release("10%/10m, 100%", settings{"HANG": "true"})
	st.goesBack("CanaryStarved")
}

// goesBack waits for a rollback for one of the reasons, which is told, and ends
// the scenario.
func (st *stage) goesBack(reasons ...string) {
	st.Helper()
	s := st.rolledBack(reasons...)
	st.told(s.Reason)
	st.close("v1", "v1")
}

// rolledBack waits for the end of a rollback for one of the reasons.
func (st *stage) rolledBack(reasons ...string) invariant.State {
	st.Helper()
	s := st.reachesPhase("RolledBack")
	if !slices.Contains(reasons, s.Reason) {
		st.Errorf("it went back because of %s (%s), want one of %v", s.Reason, s.Message, reasons)
	}
	st.shows("1", "serin_rollout_phase", `phase="RolledBack"`)
	return s
}

// another waits for a state of another rollout than this one.
func (st *stage) another(than invariant.State, phase string) invariant.State {
	st.Helper()
	return st.reaches("another release is "+phase, func(s invariant.State) bool {
		return s.Rollout != than.Rollout && s.Phase == phase
	})
}
