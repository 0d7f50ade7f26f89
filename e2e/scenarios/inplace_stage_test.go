package scenarios

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"serin.dev/serin/e2e/load"
	"serin.dev/serin/e2e/scenarios/invariant"
)

// ownSubsets are those that Serin makes for a release in place.
var ownSubsets = invariant.Subsets{"serin-stable", "serin-canary"}

// What leads users to the Service, as people have it who know nothing of
// canaries. NAMESPACE stands for the scenario's.
const (
	// atGateway leads the users who come in at the gateway, and nobody else.
	atGateway = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: NAMESPACE}
spec:
  hosts: [NAMESPACE.example.com]
  gateways: [istio-system/gateway]
  http:
  - timeout: 9s
    route: [{destination: {host: web}}]
`
	// inMesh leads clients in the mesh.
	inMesh = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web-mesh, namespace: NAMESPACE}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /api}}]
    retries: {attempts: 2}
    route: [{destination: {host: web.NAMESPACE.svc.cluster.local, port: {number: 80}}}]
  - route: [{destination: {host: web}, weight: 100}]
`
	// ownRule is a rule with policies, one of its subset, which the route uses.
	ownRule = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: NAMESPACE}
spec:
  host: web
  trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}
  subsets:
  - name: all
    labels: {app: web}
    trafficPolicy: {connectionPool: {http: {http1MaxPendingRequests: 500}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: NAMESPACE}
spec:
  hosts: [NAMESPACE.example.com]
  gateways: [istio-system/gateway]
  http:
  - route: [{destination: {host: web, subset: all}}]
`
)

// shop is an application of one Deployment behind one Service, and what there
// is around it.
type shop struct {
	routes    string   // default: atGateway; none where bare
	bare      bool     // no VirtualService and no DestinationRule: users are in the mesh
	more      string   // further manifests
	steps     string   // default: soon over
	settings  settings // further annotations
	replicas  int      // default 2
	jumps     bool     // commands pass over steps
	tolerates func(load.Record) bool
	deploy    func(st *stage, manifest string) // default: kubectl apply
}

// soon are steps that are over soon.
const soon = "50%/2s, 100%/2s"

// openShop sets the stage of a release in place: version v1 serves, users come,
// the controller runs.
func openShop(t *testing.T, name string, s shop) *stage {
	t.Helper()
	if s.routes == "" && !s.bare {
		s.routes = atGateway
	}
	if s.deploy == nil {
		s.deploy = func(st *stage, manifest string) { st.applyFile(manifest) }
	}
	if err := withGuard(); err != nil {
		t.Fatal(err)
	}
	played.Add(1)
	st := &stage{T: t, world: shared, name: name, script: script{inPlace: true, mesh: s.bare, rate: 100, jumps: s.jumps, tolerates: s.tolerates}}
	st.shop = s
	st.apply(strings.ReplaceAll(shopfront, "NAMESPACE", name))
	s.deploy(st, st.manifest("v1"))
	st.apply(strings.ReplaceAll(s.routes+"\n---\n"+s.more, "NAMESPACE", name))
	carrier := "web"
	if s.bare {
		carrier = "web-serin"
	}
	st.versions = record(t, st.trees, name, "web", carrier)
	st.until("v1 serves", func() error { return st.served("v1") })
	st.startController()
	st.users, st.began = st.load(load.Options{Rate: st.script.rate}), time.Now()
	st.explain()
	return st
}

// shopfront is the namespace, in which Serin's guard stands, and the Service.
const shopfront = `
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE, labels: {` + guardedLabel + `: "true"}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
`

// manifest is the Deployment of a version, as its owners keep it.
func (st *stage) manifest(version string, env ...settings) string {
	annotations := settings{"canary": "true", "steps": soon}.plus(st.shop.settings)
	if st.shop.steps != "" {
		annotations["steps"] = st.shop.steps
	}
	var lines, container strings.Builder
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		fmt.Fprintf(&lines, "serin.dev/%s: %q, ", key, annotations[key])
	}
	fmt.Fprintf(&container, `name: web, image: "shop/web:%s", ports: [{containerPort: 8080}]`, version)
	for _, e := range env {
		container.WriteString(", env: [")
		for _, key := range slices.Sorted(maps.Keys(e)) {
			fmt.Fprintf(&container, "{name: %s, value: %q}, ", key, e[key])
		}
		container.WriteString("]")
	}
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: %s, annotations: {%s}}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{%s}]
`, st.name, lines.String(), max(2, st.shop.replicas), container.String())
}

// applyFile is `kubectl apply -f`, which remembers on the object what was
// applied, and returns what it says.
func (st *stage) applyFile(manifest string, flags ...string) string {
	st.Helper()
	file := filepath.Join(st.folder(), "web.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o644); err != nil {
		st.Fatal(err)
	}
	return st.kubectl(append([]string{"apply", "--filename=" + file}, flags...)...)
}

// folder is a new one. Its name has no comma, by which kubectl would tell two.
func (st *stage) folder() string {
	st.Helper()
	dir, err := os.MkdirTemp("", "serin-")
	if err != nil {
		st.Fatal(err)
	}
	st.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// setImage is how most people release.
func (st *stage) setImage(version string) {
	st.Helper()
	st.kubectl("set", "image", "deployment/web", "web=shop/web:"+version)
}

// refused runs a kubectl that has to fail, and returns why it does.
func (st *stage) refused(args ...string) string {
	st.Helper()
	out, said, err := st.box.Kubectl(st.Context(), append([]string{"--namespace", st.name}, args...)...)
	if err == nil {
		st.Errorf("kubectl %s is not refused: %s", strings.Join(args, " "), out)
	}
	return said
}

// deployed is a Deployment as it is; nil if there is none.
func (st *stage) deployed(name string) *appsv1.Deployment {
	st.Helper()
	d, err := st.kube.AppsV1().Deployments(st.name).Get(st.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		st.Fatal(err)
	}
	return d
}

// hasReady waits until a Deployment wants this many pods, and all are ready.
func (st *stage) hasReady(name string, pods int32) {
	st.Helper()
	st.until(fmt.Sprintf("%s has %d pods", name, pods), func() error {
		d := st.deployed(name)
		if d == nil {
			return errNotYet
		}
		if *d.Spec.Replicas != pods || d.Status.ReadyReplicas != pods {
			return fmt.Errorf("it wants %d, and %d are ready", *d.Spec.Replicas, d.Status.ReadyReplicas)
		}
		return nil
	})
}

// outcomes are those of the releases in the history, the oldest first.
func (st *stage) outcomes() []string {
	st.Helper()
	list, err := st.kube.AppsV1().ControllerRevisions(st.name).List(st.Context(), metav1.ListOptions{LabelSelector: "serin.dev/service=web"})
	if err != nil {
		st.Fatal(err)
	}
	slices.SortFunc(list.Items, func(a, b appsv1.ControllerRevision) int { return int(a.Revision - b.Revision) })
	var out []string
	for _, r := range list.Items {
		if o := r.Annotations["serin.dev/outcome"]; o != "" && o != "UnderWay" { // that one has begun
			out = append(out, o)
		}
	}
	return out
}

// ends waits until so many releases are over, and what was added for them is
// gone. The last one has to have this outcome.
func (st *stage) ends(releases int, outcome string) {
	st.Helper()
	var all []string
	st.until(fmt.Sprintf("%d releases are over", releases), func() error {
		if all = st.outcomes(); len(all) < releases {
			return fmt.Errorf("%v, %+v", all, st.versions.state())
		}
		return nil
	})
	if all[len(all)-1] != outcome || len(all) > releases {
		st.Fatalf("the releases ended %v, want %d, the last one %s", all, releases, outcome)
	}
	st.clean()
}

// clean waits until nothing is left of a release but its record.
func (st *stage) clean() {
	st.Helper()
	st.until("nothing is left of the release", func() error { return errors.Join(st.leftObjects(), st.leftInRoutes()) })
}

// leftObjects is an error that names the objects of Serin's.
func (st *stage) leftObjects() error {
	st.Helper()
	var errs []error
	if st.deployed("web-canary") != nil {
		errs = append(errs, errors.New("the Deployment web-canary is left"))
	}
	pods, err := st.kube.CoreV1().Pods(st.name).List(st.Context(), metav1.ListOptions{LabelSelector: "serin.dev/track"})
	if err != nil {
		return err
	}
	for _, p := range pods.Items {
		errs = append(errs, fmt.Errorf("the pod %s is left", p.Name))
	}
	for _, kind := range []schema.GroupVersionResource{virtualServices, destinationRules} {
		_, err := st.trees.Resource(kind).Namespace(st.name).Get(st.Context(), "web-serin", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("one of the %s is left", kind.Resource), err)
		}
	}
	return errors.Join(errs...)
}

// leftInRoutes is an error that says what differs, in the user's routes, from
// what the user wrote.
func (st *stage) leftInRoutes() error {
	users := map[string]string{}
	versions, _ := st.versions.all()
	for _, v := range versions {
		if v.ByHand {
			users[v.Name] = invariant.AsWritten(v.Doc)
		}
	}
	var errs []error
	for name, want := range users {
		doc := st.versions.last(name).Doc
		if got := invariant.AsWritten(doc); got != want {
			errs = append(errs, fmt.Errorf("the VirtualService %s is\n%s\nthe user wrote\n%s", name, got, want))
		}
		errs = append(errs, invariant.AtRest(doc, st.rules(), ownSubsets[1], 0)...)
	}
	return errors.Join(errs...)
}

// closeShop ends the scenario: all users are answered by the version, nothing
// is left of any release, and the Deployment is a plain one; or, after a
// rollback, is held with the template that went back.
func (st *stage) closeShop(version string, held bool) {
	st.Helper()
	st.settles(st.users, version)
	st.clean()
	st.until("the Deployment is as it has to be", func() error { return st.plain(held) })
	st.conclude()
	st.judgeUsers()
	versions, _ := st.versions.all()
	st.Logf("%d versions; users: %s", len(versions), told(st.users.Records()))
}

// plain is an error unless the user's Deployment is held or not, and carries
// nothing of Serin's otherwise.
func (st *stage) plain(held bool) error {
	st.Helper()
	d := st.deployed("web")
	_, marked := d.Annotations["serin.dev/held"]
	if d.Spec.Paused != held || marked != held {
		return fmt.Errorf("paused is %v and marked is %v, want both %v", d.Spec.Paused, marked, held)
	}
	for key := range d.Annotations {
		name, ours := strings.CutPrefix(key, "serin.dev/")
		if _, given := st.shop.settings[name]; ours && !given && !slices.Contains([]string{"canary", "steps", "held", "command", "command-by"}, name) {
			return fmt.Errorf("the annotation %s is left", key)
		}
	}
	if done := complete(d); !held && done != nil {
		return done
	}
	return nil
}

// complete is an error unless all of the Deployment's pods are new and ready.
func complete(d *appsv1.Deployment) error {
	s, want := d.Status, *d.Spec.Replicas
	if s.ObservedGeneration != d.Generation || s.UpdatedReplicas != want || s.ReadyReplicas != want || s.Replicas != want {
		return fmt.Errorf("the Deployment is not complete: %+v", s)
	}
	return nil
}

// was tells whether a state in this phase was ever written.
func (st *stage) was(phase string) bool {
	versions, _ := st.versions.all()
	for _, v := range versions {
		if s, ok := invariant.StateOf(v.Doc, "web"); ok && s.Phase == phase {
			return true
		}
	}
	return false
}

// inPlaceNamespaces are the namespaces of releases in place.
func (w world) inPlaceNamespaces(t *testing.T) map[string]bool {
	t.Helper()
	list, err := w.kube.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{LabelSelector: guardedLabel})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, n := range list.Items {
		names[n.Name] = true
	}
	return names
}
