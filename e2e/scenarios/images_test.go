package scenarios

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/e2e/load"
	"serin.dev/serin/pkg/canary"
)

// One pod of the new version was started before its tag moved, and one after it; then
// the same in mid-release, and then all of them after it. Nobody is sent there, but
// testers, until all pods run what the release began with.
func movedTag(t *testing.T, name string) {
	const pods = "version=v2"
	st := open(t, name, script{})
	d := deployment{subset: "v2", image: name + "/web", pull: "Always"}
	st.movesTag("v2", "v2_build-1")
	st.deploy(d)
	early := st.reports(pods, 1)
	st.movesTag("v2", "v2_build-2")
	d.replicas = 2
	st.deploy(d)
	late := st.reports(pods, 2, early)
	d.annotations = settings{"canary": "true", "steps": "25%/2s, 100%/2s", "approval": "promotion"}
	st.deploy(d)
	st.heldByImages("run container web with different images (by digest) under one name: nobody is sent to them")
	testers := st.load(load.Options{Headers: testersHeader})
	st.settles(testers, "v2")
	st.command("skip #1")
	st.toldOf("CommandIgnored", "can't have it now", "different images")
	st.answered(st.users, 100)
	st.onlyBy("v1", st.users.Records())
	st.restarts(pods, early)
	st.reports(pods, 2)

	st.reachesWeight(25)
	st.toldOf("AwaitingApproval", "Step 2 (100%) waits for approval")
	st.movesTag("v2", "v2_build-1")
	st.restartsOne(pods)
	st.reports(pods, 2, early)
	st.heldByImages("run container web with different images (by digest) under one name: no more users are sent to them")
	st.command("approve #2")
	st.restarts(pods, late)
	st.reports(pods, 2)
	st.heldByImages("run other images (by digest) than the release began with, under the same names: no more users are sent to them")
	st.onlyBy("v2", st.answered(testers, 20))
	st.between(st.answered(st.users, 400), "v2", 0.1, 0.4)
	if s := st.versions.state(); s.Weight != 25 {
		t.Errorf("it was raised to %d%%", s.Weight)
	}
	st.movesTag("v2", "v2_build-2")
	st.restartsOne(pods)
	st.reports(pods, 2, late)
	st.restarts(pods, early)
	st.reachesPhase("Succeeded")
	st.toldOf("Approved", "Step 2 (100%) was approved")
	st.close("v2", "v2")
}

// In place the second pod of the canary is made for the second step: by then the tag
// names another image. And so it does once more when Kubernetes updates the Deployment
// to what was judged: users stay on the canary until that is mended.
func movedTagInPlace(t *testing.T, name string) {
	const pods = "serin.dev/track"
	always := func(manifest string) string {
		return strings.Replace(manifest, `image: "shop/`, `imagePullPolicy: Always, image: "`+name+`/`, 1)
	}
	st := openShop(t, name, shop{
		settings: settings{"approval": "test"},
		deploy:   func(st *stage, manifest string) { st.applyFile(always(manifest)) },
	})
	st.movesTag("v2", "v2_build-1")
	st.applyFile(always(st.manifest("v2")))
	st.toldOf("AwaitingApproval", "Step 1 (50%) waits for approval")
	judged := st.reports(pods, 1)
	st.movesTag("v2", "v2_build-2")
	st.command("approve #1")
	st.reachesWeight(50)
	moved := st.reports(pods, 2, judged)
	st.heldByImages("run container web with different images (by digest) under one name: no more users are sent to them")
	testers := st.load(load.Options{Headers: testersHeader})
	st.settles(testers, "v2")
	st.between(st.answered(st.users, 400), "v2", 0.3, 0.7)
	if s := st.versions.state(); s.Weight != 50 {
		t.Errorf("it was raised to %d%%", s.Weight)
	}
	st.movesTag("v2", "v2_build-1")
	st.restarts(pods, moved)

	st.reachesWeight(100)
	st.movesTag("v2", "v2_build-2") // before Kubernetes updates web
	st.heldByImages("not all of its pods run the images (by digest) that were judged under these names")
	st.onlyBy("v2", st.answered(st.users, 100))
	if s := st.versions.state(); s.Phase != "Promoting" || s.Weight != 100 {
		t.Errorf("it is %s, and the canary that was judged has %d%%", s.Phase, s.Weight)
	}
	st.movesTag("v2", "v2_build-1")
	st.restarts("app=web", moved)
	st.ends(1, "Succeeded")
	if users := st.reports("app=web", 2); users != judged {
		t.Errorf("users have %s, and %s was judged", users, judged)
	}
	st.closeShop("v2", false)
}

// movesTag has a tag of the scenario's own image name from now on what another names.
func (st *stage) movesTag(tag, as string) {
	st.Helper()
	if err := st.box.MoveTag(st.name+"/web:"+tag, as); err != nil {
		st.Fatal(err)
	}
}

// running are the pods that a selector finds, but for those that are going.
func (st *stage) running(selector string) ([]corev1.Pod, error) {
	list, err := st.kube.CoreV1().Pods(st.name).List(st.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil }), nil
}

// reported is the digest of the image that a pod reports, if it is ready.
func reported(p corev1.Pod) string {
	if len(p.Status.ContainerStatuses) == 0 || !p.Status.ContainerStatuses[0].Ready {
		return ""
	}
	_, digest, _ := strings.Cut(p.Status.ContainerStatuses[0].ImageID, "@")
	return digest
}

// reports waits until so many pods are ready and report one digest, which it returns;
// or, beside those that are named, exactly one other.
func (st *stage) reports(selector string, pods int, beside ...string) (digest string) {
	st.Helper()
	st.until(fmt.Sprintf("%d pods of %s report one digest beside %q", pods, selector, beside), func() error {
		running, err := st.running(selector)
		if err != nil {
			return err
		}
		all := map[string]bool{}
		for _, p := range running {
			all[reported(p)] = true
		}
		found := slices.Sorted(maps.Keys(all))
		others := slices.DeleteFunc(slices.Clone(found), func(d string) bool { return slices.Contains(beside, d) })
		if len(running) != pods || len(found) != len(beside)+1 || len(others) != 1 || all[""] {
			return fmt.Errorf("%d report %q", len(running), found)
		}
		digest = others[0]
		return nil
	})
	return digest
}

// restarts deletes the pods that report a digest: others are made in their place.
func (st *stage) restarts(selector, digest string) {
	st.Helper()
	running, err := st.running(selector)
	if err != nil {
		st.Fatal(err)
	}
	for _, p := range running {
		if reported(p) == digest {
			st.kubectl("delete", "pod", p.Name, "--wait=false")
		}
	}
}

// restartsOne deletes one pod.
func (st *stage) restartsOne(selector string) {
	st.Helper()
	running, err := st.running(selector)
	if err != nil || len(running) == 0 {
		st.Fatalf("%d pods run: %v", len(running), err)
	}
	st.kubectl("delete", "pod", running[0].Name, "--wait=false")
}

// heldByImages waits until people see, wherever they look, what is wrong with the
// images that pods run, and what that means for users.
func (st *stage) heldByImages(words string) {
	st.Helper()
	v := st.seen(canary.Blocked, canary.ImagesDiffer, words)
	st.toldOf("ImagesDiffer", v.Sentence)
	st.shows("1", "serin_rollout_phase", `phase="Blocked"`)
	st.shows("1", "serin_rollout_reason", `reason="ImagesDiffer"`)
}

// seen waits until the controller shows the release in a phase, for a reason, with a
// sentence that has the words, and returns what it shows.
func (st *stage) seen(phase canary.Phase, reason canary.Reason, words ...string) canary.View {
	st.Helper()
	var d canary.Detail
	st.until(fmt.Sprintf("it is seen %s for %s, with %q", phase, reason, words), func() error {
		text, err := get(st.Context(), st.controller.PageURL+"/api/v1/rollouts/"+st.name+"/web")
		if err != nil {
			return err
		}
		d = canary.Detail{}
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			return err
		}
		if v := d.View; v.Phase != phase || v.Reason != reason || !containsAll(v.Sentence, words) {
			return fmt.Errorf("it is %s for %s: %s", v.Phase, v.Reason, v.Sentence)
		}
		return nil
	})
	return d.View
}
