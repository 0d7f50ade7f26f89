package scenarios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/e2e/sandbox"
	"serin.dev/serin/e2e/scenarios/invariant"
)

// rolloutStatus is a pipeline: it sets the image and waits.
func rolloutStatus(t *testing.T, name string) {
	st := openShop(t, name, shop{})
	st.setImage("v2")
	out := st.kubectl("rollout", "status", "deployment/web", "--timeout=4m")
	if !strings.Contains(out, `deployment "web" successfully rolled out`) {
		t.Errorf("it says %s", out)
	}
	if err := complete(st.deployed("web")); err != nil {
		t.Error(err)
	}
	if !st.was("Promoting") {
		t.Errorf("it did not wait for the promotion: %+v", st.versions.state())
	}
	st.ends(1, "Succeeded")
	st.closeShop("v2", false)
}

func scaledInPlace(t *testing.T, name string) {
	st := openShop(t, name, shop{jumps: true, steps: "50%/20m, 100%/2s"})
	st.setImage("v2")
	st.reachesWeight(50)
	st.arrives("v2")
	st.kubectl("scale", "deployment/web", "--replicas=6")
	st.hasReady("web", 6)
	st.until("the canary follows", func() error {
		if d := st.deployed("web-canary"); d == nil || d.Status.ReadyReplicas < 3 {
			return errNotYet
		}
		return nil
	})
	st.kubectl("scale", "deployment/web", "--replicas=1")
	st.hasReady("web", 1)
	st.command("promote #1")
	st.ends(1, "Succeeded")
	st.hasReady("web", 1)
	st.closeShop("v2", false)
}

func restartAndUndo(t *testing.T, name string) {
	st := openShop(t, name, shop{})
	st.kubectl("rollout", "restart", "deployment/web")
	st.ends(1, "Succeeded")
	if d := st.deployed("web"); d.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] == "" {
		t.Errorf("the template is not of the restart: %v", d.Spec.Template.Annotations)
	}
	st.promotes(2, "v2")
	st.kubectl("rollout", "undo", "deployment/web")
	st.ends(3, "Succeeded")
	st.closeShop("v1", false)
}

// undoWhilePaused is somebody who wants to go back in mid-release: kubectl
// refuses, and the Event of the beginning says what to do.
func undoWhilePaused(t *testing.T, name string) {
	st := openShop(t, name, shop{})
	st.promotes(1, "v2")
	st.kubectl("annotate", "deployment/web", "--overwrite", "serin.dev/steps="+long)
	st.setImage("v3")
	st.reachesWeight(25)
	st.arrives("v3")
	if said := st.refused("rollout", "undo", "deployment/web"); !strings.Contains(said, "paused") {
		t.Errorf("undo: %s", said)
	}
	if said := st.refused("rollout", "restart", "deployment/web"); !strings.Contains(said, "paused") {
		t.Errorf("restart: %s", said)
	}
	notes, err := st.notes("ReleaseStarted")
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(notes, "\n"); !strings.Contains(all, "rollout undo") || !strings.Contains(all, "abort") {
		t.Errorf("nobody is told the way: %s", all)
	}
	if held := st.deployed("web").Annotations["serin.dev/held"]; !strings.Contains(held, "kubectl rollout resume") {
		t.Errorf("the mark says %q", held)
	}
	st.command("abort")
	st.ends(2, "RolledBack")
	if said := st.told("AbortedByCommand"); !strings.Contains(said, "by command of admin") {
		t.Errorf("who gave the command is not told: %s", said)
	}
	st.command("none")
	st.setImage("v2") // what undo would have done
	st.told("LetGo")
	st.closeShop("v2", false)
}

// resumedByHand has to be the plain update at any time.
func resumedByHand(t *testing.T, name string) {
	st := openShop(t, name, shop{steps: long})
	st.setImage("v2")
	st.reachesWeight(25)
	st.arrives("v2")
	st.kubectl("rollout", "resume", "deployment/web")
	st.kubectl("rollout", "status", "deployment/web", "--timeout=2m")
	st.told("ResumedByPerson")
	st.ends(1, "Succeeded")
	st.closeShop("v2", false)
}

func setImageAgain(t *testing.T, name string) {
	st := openShop(t, name, shop{steps: "25%/2s, 50%/15s, 100%/2s"})
	st.setImage("v2")
	st.reachesWeight(50)
	st.arrives("v2")
	st.setImage("v3")
	st.told("TemplateChanged")
	st.ends(2, "Succeeded")
	st.closeShop("v3", false)
}

// appliedInPlace is client-side apply, which knows what was applied last.
func appliedInPlace(t *testing.T, name string) {
	st := openShop(t, name, shop{steps: "25%/2s, 50%/15s, 100%/2s"})
	st.applyFile(st.manifest("v2"))
	first := st.reachesWeight(50)
	st.arrives("v2")
	if said := st.applyFile(st.manifest("v2")); !strings.Contains(said, "unchanged") {
		t.Errorf("the same again: %s", said)
	}
	if now := st.versions.state(); now.Rollout != first.Rollout || now.Weight < first.Weight || !st.deployed("web").Spec.Paused {
		t.Errorf("the same again moved it to %+v", now)
	}
	st.applyFile(st.manifest("v3"))
	st.told("TemplateChanged")
	st.ends(2, "Succeeded")
	if said := st.applyFile(st.manifest("v3")); !strings.Contains(said, "unchanged") {
		t.Errorf("at rest: %s", said)
	}
	st.closeShop("v3", false)
}

// chart writes a chart of the Deployment, whose image's tag is a value.
func (st *stage) chart() string {
	st.Helper()
	dir := filepath.Join(st.folder(), "chart")
	for file, text := range map[string]string{
		"Chart.yaml":                "apiVersion: v2\nname: web\nversion: 1.0.0\n",
		"values.yaml":               "tag: v1\n",
		"templates/deployment.yaml": st.manifest("{{.Values.tag}}"),
	} {
		path := filepath.Join(dir, filepath.FromSlash(file))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			st.Fatal(err)
		}
	}
	return dir
}

func (st *stage) helm(args ...string) {
	st.Helper()
	if out, _, err := st.box.Helm(st.Context(), append(args, "--namespace", st.name, "--timeout=4m")...); err != nil {
		st.Fatalf("%v: %s", err, out)
	}
}

// helmInPlace upgrades by both waiters, Helm 4's own and that of Helm 3. Both
// take a Deployment that is paused for one that nobody has to wait for, and come
// back at once: kubectl rollout status is the way to wait.
func helmInPlace(t *testing.T, name string) {
	dir := ""
	st := openShop(t, name, shop{jumps: true, steps: "50%/20m, 100%/2s", deploy: func(st *stage, _ string) {
		dir = st.chart()
		st.helm("install", "web", dir, "--wait=watcher")
	}})
	for i, upgrade := range [][]string{
		{"upgrade", "web", dir, "--set=tag=v2", "--wait=watcher"},
		{"upgrade", "web", dir, "--set=tag=v3", "--wait=legacy"},
		{"rollback", "web", "--wait=watcher"},
	} {
		st.helm(upgrade...)
		if n := len(st.outcomes()); n != i {
			t.Errorf("helm %v: %d releases are over, want %d: no step can be", upgrade, n, i)
		}
		st.reachesWeight(50)
		st.command(fmt.Sprintf("promote #%d", i+1))
		st.kubectl("rollout", "status", "deployment/web", "--timeout=4m")
		st.ends(i+1, "Succeeded")
	}
	st.closeShop("v2", false)
}

// gitOpsInPlace is a GitOps tool that takes over whatever it applies, every
// 2 s: it neither ends a release nor begins one, but by what is committed.
func gitOpsInPlace(t *testing.T, name string) {
	var tool *sandbox.GitOps
	st := openShop(t, name, shop{tolerates: by("v3"), deploy: func(st *stage, manifest string) {
		var err error
		tool, err = st.box.StartGitOps(st.Context(), manifest, sandbox.GitOpsOptions{Every: 2 * time.Second, Force: true})
		if err != nil {
			st.Fatal(err)
		}
		st.Cleanup(tool.Stop)
	}})
	commit := func(manifest string) {
		t.Helper()
		if err := tool.Commit(manifest); err != nil {
			t.Fatal(err)
		}
	}
	commit(st.manifest("v2"))
	st.ends(1, "Succeeded")
	commit(st.manifest("v3", settings{"ERROR_RATE": "1"}))
	st.ends(2, "RolledBack")
	// What went back is not tried again though it is applied again and again.
	rounds := tool.Counts().Rounds
	st.until("it was applied three times more", func() error {
		if tool.Counts().Rounds < rounds+3 {
			return errNotYet
		}
		return nil
	})
	if err := st.plain(true); err != nil {
		t.Error(err)
	}
	if n := len(st.outcomes()); n != 2 {
		t.Errorf("%d releases, want 2", n)
	}
	commit(st.manifest("v2"))
	st.told("LetGo")
	st.closeShop("v2", false)
	if c := tool.Counts(); c.Conflicts > 0 || c.Refused > 0 {
		t.Errorf("the tool met trouble: %+v", c)
	}
}

// autoscaler wants a pod for each 200 thousandths of a core.
const autoscaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: NAMESPACE}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 6
  metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 200m}}}]
`

// busy has users use so much CPU, in thousandths of a core.
func (st *stage) busy(millicores int64) {
	st.Helper()
	if err := st.box.SetCPU(st.name, millicores); err != nil {
		st.Fatal(err)
	}
}

// autoscaledInPlace scales up and down in mid-release. The autoscaler counts the
// canary's pods too: its users use the same CPU, on more pods.
func autoscaledInPlace(t *testing.T, name string) {
	st := openShop(t, name, shop{jumps: true, steps: "50%/20m, 100%/2s", more: autoscaler})
	st.busy(300)
	st.hasReady("web", 2)
	st.setImage("v2")
	st.reachesWeight(50)
	st.arrives("v2")
	st.busy(900)
	st.hasReady("web", 5)
	st.until("the canary follows", func() error {
		d := st.deployed("web-canary")
		if d == nil || d.Status.ReadyReplicas < 3 {
			return errNotYet
		}
		return nil
	})
	st.command("promote #1")
	st.reaches("promoting", func(s invariant.State) bool { return s.Phase == "Promoting" })
	st.busy(500)
	st.ends(1, "Succeeded")
	st.until("three pods are left", func() error {
		if n := *st.deployed("web").Spec.Replicas; n != 3 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	st.closeShop("v2", false)
}
