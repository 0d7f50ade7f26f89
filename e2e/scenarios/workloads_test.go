package scenarios

import (
	"errors"
	"testing"

	"serin.dev/serin/e2e/scenarios/invariant"
)

var errNotYet = errors.New("not yet")

func gitOps(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("25%/2s, 50%/10s, 100%/2s", nil)
	st.reachesWeight(50)
	st.revert()
	st.reaches("set again", func(s invariant.State) bool { return s.Reason == "GitOpsRevertReapplied" && s.Weight == 50 })
	st.told("GitOpsRevertReapplied")
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// revert writes the routes as they are in Git, as Argo CD does.
func (st *stage) revert() {
	st.Helper()
	st.until("the revert is accepted", func() error {
		return st.applyAs("argocd-controller", gateway(st.name, st.script.routes), true)
	})
}

func gitOpsStubborn(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(long, nil)
	st.reachesWeight(25)
	st.arrives("v2")
	for range 3 {
		before := st.versions.state()
		st.revert()
		st.reaches("set again", func(s invariant.State) bool {
			return s.Reason == "GitOpsRevertReapplied" && s.Weight == 25 && s.Sequence > before.Sequence
		})
	}
	st.revert()
	st.reachesPhase("RolledBack")
	st.told("RevertedByGitOps")
	st.close("v1", "v1")
}

func gitOpsAtRest(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("100%/2s", nil)
	st.reachesPhase("Succeeded")
	st.unowned()
	st.revert()
	st.told("GitOpsRevertReapplied")
	st.settles(st.users, "v2")
	st.unowned()
	st.revert()
	st.told("GitOpsRevertLeft")
	st.close("v1", "v1")
}

func deleted(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v2", "")})
	st.release(long, nil)
	st.reachesWeight(25)
	st.arrives("v2")
	st.kubectl("delete", "deployment", "web-v2", "--wait=false")
	st.until("nothing of Serin's is left", func() error {
		if s := st.versions.state(); s.Active() && s.Rollout != "" {
			return errNotYet
		}
		return nil
	})
	st.told("DeploymentDeleted")
	st.close("v1", "v1")
}

// stableGone takes the way back away: the weight is held, and an order to go
// back waits until stable can serve.
func stableGone(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v1", "")})
	st.release(long, nil)
	st.reachesWeight(25)
	st.arrives("v2")
	st.kubectl("scale", "deployment", "web-v1", "--replicas=0")
	st.told("StableUnavailable")
	st.command("abort")
	held := st.reachesPhase("RollingBack")
	if held.Weight != 25 {
		t.Errorf("it went to %d%% though stable serves nobody", held.Weight)
	}
	st.kubectl("scale", "deployment", "web-v1", "--replicas=1")
	st.reachesPhase("RolledBack")
	st.close("v1", "v1")
}

func templateChanged(t *testing.T, name string) {
	st := open(t, name, script{})
	steps := "25%/2s, 50%/10s, 100%/2s"
	st.release(steps, nil)
	first := st.reachesWeight(50)
	st.release(steps, settings{"VERSION": "v3"})
	st.told("TemplateChanged")
	st.another(first, "Succeeded")
	st.close("v2", "v3")
}

func home(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("25%/2s, 100%/2s", nil)
	first := st.reachesPhase("Succeeded")
	st.settles(st.users, "v2")
	// The pipeline brings the promoted image home.
	st.deploy(deployment{subset: "v1", env: settings{"VERSION": "v2"}})
	st.told("ReturnedHome")
	st.reaches("traffic is at home", func(s invariant.State) bool { return s.Phase == "Succeeded" && s.Weight == 0 })
	st.release("25%/2s, 100%/2s", settings{"VERSION": "v3"})
	st.another(first, "Succeeded")
	st.close("v2", "v3")
}

func takingTurns(t *testing.T, name string) {
	annotations := settings{"canary": "true", "steps": "25%/2s, 100%/2s"}
	st := open(t, name, script{stable: annotations})
	st.release(annotations["steps"], nil)
	first := st.reachesPhase("Succeeded")
	st.settles(st.users, "v2")
	st.deploy(deployment{subset: "v1", env: settings{"VERSION": "v3"}, annotations: annotations})
	st.another(first, "Succeeded")
	st.close("v1", "v3")
}
