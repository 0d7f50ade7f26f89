package scenarios

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// These versions are good while they are released, and fail always a minute later: what
// no canary finds. How soon users are rid of them is what is measured.
var badLater = settings{"ERROR_RATE": "1", "ERROR_AFTER": "75s"}

// withSettings has the pods of a manifest name a ConfigMap, which nothing mounts.
func withSettings(manifest string) string {
	return strings.Replace(manifest, "      containers: [", "      volumes: [{name: settings, configMap: {name: settings}}]\n      containers: [", 1)
}

const settingsOfShop = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NAMESPACE}
data: {greeting: hello}
`

// fails waits until users get errors of a version.
func (st *stage) fails(version string) {
	st.Helper()
	since := time.Now()
	st.until("users get errors of "+version, func() error {
		if s := st.users.Summary(since, time.Time{}).ByVersion[version]; s.Bad < 20 {
			return fmt.Errorf("%d of %d answers are", s.Bad, s.Requests)
		}
		return nil
	})
}

// rid tells how long users got bad answers after a time, and how many.
func (st *stage) rid(how string, since time.Time) {
	st.Helper()
	seen := st.users.Summary(since, time.Time{})
	if seen.Bad == 0 {
		st.Errorf("%s: users got no bad answer, so that nothing was measured", how)
	}
	st.Logf("%s: the last bad answer came %.1f s after the command, and %d came in all", how, seen.LastBad.Sub(since).Seconds(), seen.Bad)
}

// goesBackByDigest takes a promotion in place back: what ran before runs again, by the
// digests that its pods reported.
func goesBackByDigest(t *testing.T, name string) {
	st := openShop(t, name, shop{tolerates: by("v2"), more: settingsOfShop, deploy: func(st *stage, manifest string) { st.applyFile(withSettings(manifest)) }})
	p := st.plugin()
	st.applyFile(withSettings(st.manifest("v2", badLater)))
	st.ends(1, "Succeeded")
	st.settles(st.users, "v2")
	p.says(0, []string{"history", "web"}, `^web +1 .* Succeeded +100% +Promoted +web:v2@[0-9a-f]{12} +no: users run it$`)
	p.says(0, []string{"history", "web", "1"}, `^ConfigMap +settings +is what it was$`, `^Before +web +shop/web:v1 @ sha256:[0-9a-f]{64}$`)
	st.apply(strings.ReplaceAll(strings.ReplaceAll(settingsOfShop, "hello", "bye"), "NAMESPACE", name))
	p.says(0, []string{"rollback", "web", "--dry-run"}, `^-web  web:v2@`, `^\+web  web:v1@`, "ConfigMap settings has changed since")
	st.fails("v2")
	since := time.Now()
	p.says(0, []string{"rollback", "web", "--yes"}, `All pods of web \(2\) are ready and report the digests of the version before release 1`)
	took := time.Since(since)
	st.settles(st.users, "v1")
	st.rid("kubectl canary rollback, in place, by digest", since)
	st.Logf("it returned after %.1f s, with the digests verified", took.Seconds())
	if image := st.deployed("web").Spec.Template.Spec.Containers[0].Image; !strings.HasPrefix(image, "shop/web:v1@sha256:") {
		t.Errorf("the image is named %s", image)
	}
	// What runs now is no change that waits: the next one is released as always.
	st.closeShop("v1", false)
}

// undoneByKubectl is the same without Serin: a Deployment that does not ask for releases.
func undoneByKubectl(t *testing.T, name string) {
	st := openShop(t, name, shop{tolerates: by("v2"), settings: settings{"canary": "false"}})
	st.applyFile(st.manifest("v2", badLater))
	st.kubectl("rollout", "status", "deployment/web", "--timeout=2m")
	st.settles(st.users, "v2")
	st.fails("v2")
	since := time.Now()
	st.kubectl("rollout", "undo", "deployment/web")
	st.kubectl("rollout", "status", "deployment/web", "--timeout=2m")
	took := time.Since(since)
	st.settles(st.users, "v1")
	st.rid("kubectl rollout undo, without Serin", since)
	st.Logf("it returned after %.1f s", took.Seconds())
	if all := st.outcomes(); len(all) > 0 {
		t.Errorf("releases were recorded: %v", all)
	}
}

// goesBackAtOnce takes the promotion of one of two Deployments back while the pods of
// the other run, and then again when they were scaled away.
func goesBackAtOnce(t *testing.T, name string) {
	st := open(t, name, script{jumps: true, tolerates: by("v2")})
	p := st.plugin()
	st.release("50%/2s, 100%/2s", badLater)
	st.reachesPhase("Succeeded")
	st.fails("v2")
	since := time.Now()
	p.says(0, []string{"rollback", "web"}, "all traffic goes back to web-v1")
	took := time.Since(since)
	st.settles(st.users, "v1")
	st.rid("kubectl canary rollback, of a pair whose old pods run", since)
	st.Logf("it returned after %.1f s", took.Seconds())
	st.reachesPhase("RolledBack")
	st.close("v1", "v1")
}

// goesBackFromNoPods takes the promotion of one of two Deployments back when the pods of
// the other were scaled away.
func goesBackFromNoPods(t *testing.T, name string) {
	st := open(t, name, script{jumps: true, tolerates: by("v2")})
	p := st.plugin()
	st.release("50%/2s, 100%/2s", badLater)
	st.reachesPhase("Succeeded")
	st.kubectl("scale", "deployment/web-v1", "--replicas=0")
	st.until("web-v1 has no pods", func() error {
		pods, err := st.kube.CoreV1().Pods(st.name).List(st.Context(), metav1.ListOptions{LabelSelector: "version=v1"})
		if err == nil && len(pods.Items) > 0 {
			err = errors.New("it has some")
		}
		return err
	})
	st.fails("v2")
	since := time.Now()
	p.says(0, []string{"rollback", "web", "--yes"}, `All pods of web-v1 \(\d\) are ready and report the digests`, "all traffic goes back to web-v1")
	st.settles(st.users, "v1")
	st.rid("kubectl canary rollback, of a pair whose old pods are gone, by digest", since)
	st.reachesPhase("RolledBack")
	st.close("v1", "v1")
}
