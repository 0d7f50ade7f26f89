package shop

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/yaml"
)

func TestTheManifestOfARelease(t *testing.T) {
	s := Shop{Namespace: "shop", Replicas: 2}
	text, err := s.Manifest(Release{
		Slot: Blue, Version: "v3", Env: map[string]string{"ERROR_RATE": "0.05"}, Annotations: map[string]string{"canary": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var o unstructured.Unstructured
	if err := yaml.UnmarshalStrict([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	if o.GetName() != "web-blue" || o.GetAnnotations()["serin.dev/canary"] != "true" {
		t.Errorf("got %s", text)
	}
	containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers[0].(map[string]any)["env"].([]any)) != 2 {
		t.Errorf("want VERSION and ERROR_RATE in the environment (%v):\n%s", err, text)
	}
}

func TestAManifestThatCannotBe(t *testing.T) {
	if _, err := (Shop{Namespace: "shop", Replicas: 1}).Manifest(Release{Slot: "red"}); err == nil {
		t.Error("red is neither blue nor green, and there is no error")
	}
}

func TestTheRoutesAreYAML(t *testing.T) {
	text, err := Shop{Namespace: "shop"}.Routes()
	if err != nil {
		t.Fatal(err)
	}
	documents := strings.Split(text, "\n---\n")
	if len(documents) != 4 {
		t.Errorf("%d documents, want 4", len(documents))
	}
	for _, d := range documents {
		var o map[string]any
		if err := yaml.UnmarshalStrict([]byte(d), &o); err != nil {
			t.Errorf("%v in\n%s", err, d)
		}
	}
}

const split = `
metadata:
  name: web
  annotations:
    serin.dev/state.web: '{"rollout":"r1","phase":"Progressing","step":2,"canary":{"d":"web-green","s":"green"}}'
spec:
  http:
  - match: [{headers: {x-app-version: {exact: canary}}}]
    route: [{destination: {host: web, subset: green}}]
  - route:
    - {destination: {host: web, subset: blue}, weight: 75}
    - {destination: {host: web, subset: green}, weight: 25}
`

func TestTheStateIsReadFromTheVirtualService(t *testing.T) {
	w := newWorld()
	w.put(virtualServices, tree(t, split))
	s := w.state()
	if !s.Carried || s.Rollout != "r1" || s.Phase != "Progressing" || s.Canary.Subset != "green" {
		t.Errorf("got %+v", s)
	}
	if s.Shares["blue"] != 75 || s.Shares["green"] != 25 || s.HeaderTo != "green" {
		t.Errorf("shares %v, header to %q", s.Shares, s.HeaderTo)
	}
}

func TestAShopOfOneDeploymentKnowsNoSubsets(t *testing.T) {
	text, err := Shop{Namespace: "shop", Replicas: 4}.Single("v1", map[string]string{"canary": "true"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	for document := range strings.SplitSeq(text, "\n---\n") {
		o := tree(t, document)
		switch o.GetKind() {
		case "Deployment":
			w.put(deployments, o)
			if o.GetAnnotations()["serin.dev/canary"] != "true" {
				t.Errorf("it is not opted in:\n%s", document)
			}
		case "VirtualService":
			w.put(virtualServices, o)
		}
	}
	s := w.state()
	if s.Shares[""] != 100 || len(s.Shares) != 1 || s.Carried || s.Beside.Web.Image != "shop/web:v1" {
		t.Errorf("got %+v", s)
	}
	if _, err := (Shop{Namespace: "shop"}).Single("v1", nil); err == nil {
		t.Error("a shop without replicas is no shop, and there is no error")
	}
}

func TestAnImagesTagSaysItsVersion(t *testing.T) {
	for tag, want := range map[string]string{"v2": "v2", "v3_error-rate-0.05": "v3"} {
		if got := VersionOf(tag); got != want {
			t.Errorf("%s: got %s, want %s", tag, got, want)
		}
	}
}

// tree reads YAML as the API server does: whole numbers are int64.
func tree(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	document, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = json.Unmarshal(document, &o.Object)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

const records = `
apiVersion: apps/v1
kind: ControllerRevision
metadata:
  name: serin-web-r1
  annotations: {serin.dev/outcome: Succeeded, serin.dev/reason: Promoted, serin.dev/ended: "2026-01-02T03:05:00.5Z"}
data: {v: 1, rollout: r1, inPlace: true, started: "2026-01-02T03:04:00Z"}
revision: 1
---
apiVersion: apps/v1
kind: ControllerRevision
metadata:
  name: serin-web-r2
  annotations: {serin.dev/outcome: RolledBack, serin.dev/reason: ErrorRateTooHigh, serin.dev/message: too many, serin.dev/ended: "2026-01-02T03:15:00.5Z"}
data: {v: 1, rollout: r2, inPlace: true, started: "2026-01-02T03:14:00Z"}
revision: 2
`

const whole = `
metadata: {name: web, resourceVersion: "40"}
spec:
  http:
  - route:
    - destination: {host: web}
`

func TestAtRestTheStateIsTheHistorys(t *testing.T) {
	w := newWorld()
	w.put(virtualServices, tree(t, whole))
	if s := w.state(); s.Phase != "" || !s.AtRest(0) {
		t.Errorf("before any release: got %+v", s)
	}
	for document := range strings.SplitSeq(records, "---") {
		w.put(revisions, tree(t, document))
	}
	s := w.state()
	if s.Rollout != "r2" || s.Phase != RolledBack || s.Reason != "ErrorRateTooHigh" || s.Message != "too many" || !s.InPlace || s.Carried {
		t.Errorf("got %+v", s)
	}
	if s.Since.Sub(s.Started) != time.Minute+500*time.Millisecond {
		t.Errorf("from %s to %s", s.Started, s.Since)
	}
	if s.Shares[""] != 100 || s.Routes != 40 || !s.AtRest(0) {
		t.Errorf("got %+v", s)
	}
}

const pinned = `
metadata:
  name: web
  resourceVersion: "41"
  annotations:
    serin.dev/state.web: '{"rollout":"r3","phase":"Promoting","inPlace":true}'
spec:
  http:
  - route:
    - {destination: {host: web, subset: serin-stable}, weight: 0}
    - {destination: {host: web, subset: serin-canary}, weight: 100}
`

const canary = `
metadata: {name: web-canary, resourceVersion: "43"}
spec: {template: {spec: {containers: [{image: "shop/web:v3"}]}}}
status: {readyReplicas: 2}
`

const held = `
metadata: {name: web, resourceVersion: "44", annotations: {serin.dev/held: by Serin}}
spec: {paused: true, template: {spec: {containers: [{image: "shop/web:v3"}]}}}
status: {readyReplicas: 4}
`

func TestWhatStandsBesideTheRoutes(t *testing.T) {
	w := newWorld()
	w.put(virtualServices, tree(t, pinned))
	w.put(destinationRules, tree(t, "metadata: {name: web-serin, resourceVersion: '42'}"))
	w.put(deployments, tree(t, canary))
	w.put(deployments, tree(t, held))
	w.put(pods, tree(t, "metadata: {name: b}"))
	w.put(pods, tree(t, "metadata: {name: a, labels: {serin.dev/track: canary}}"))
	s := w.state()
	if s.Phase != Promoting || !s.Carried || s.Shares[CanarySubset] != 100 || s.Shares[StableSubset] != 0 {
		t.Errorf("got %+v", s)
	}
	want := Beside{
		Web:    Deployment{Version: 44, Image: "shop/web:v3", Paused: true, Held: "by Serin", Ready: 4},
		Canary: Deployment{Version: 43, Image: "shop/web:v3", Ready: 2},
		Rule:   42, Pods: []string{"a", "b"}, CanaryPods: 1,
	}
	if !reflect.DeepEqual(s.Beside, want) {
		t.Errorf("got %+v, want %+v", s.Beside, want)
	}
	w.drop(pods, tree(t, "metadata: {name: a, resourceVersion: '47', labels: {serin.dev/track: canary}}"))
	w.drop(pods, tree(t, "metadata: {name: b, resourceVersion: '48'}"))
	w.drop(deployments, tree(t, canary))
	w.drop(destinationRules, tree(t, "metadata: {name: web-serin, resourceVersion: '49'}"))
	if b := w.state().Beside; b.PodsGone != 47 || b.CanaryPods != 0 || b.RuleGone != 49 || b.Rule != 0 || b.Canary.Version != 0 {
		t.Errorf("after its end: got %+v", b)
	}
}

func TestARestLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world)
		want   bool
	}{
		"the routes are the user's and nothing is beside them": {func(*world) {}, true},
		"the routes carry the state":                           {func(w *world) { w.put(virtualServices, tree(t, pinned)) }, false},
		"there is a rule":                                      {func(w *world) { w.put(destinationRules, tree(t, "metadata: {name: web-serin, resourceVersion: '42'}")) }, false},
		"there is a rule of the user's":                        {func(w *world) { w.put(destinationRules, tree(t, "metadata: {name: web, resourceVersion: '42'}")) }, true},
		"there is a canary":                                    {func(w *world) { w.put(deployments, tree(t, canary)) }, false},
		"a pod is left":                                        {func(w *world) { w.put(pods, tree(t, "metadata: {name: b}")) }, false},
		"a pod has come and gone": {func(w *world) {
			w.put(pods, tree(t, "metadata: {name: b}"))
			w.drop(pods, tree(t, "metadata: {name: b}"))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.put(virtualServices, tree(t, whole))
			w.put(pods, tree(t, "metadata: {name: a}"))
			c.change(w)
			if got := w.state().AtRest(1); got != c.want {
				t.Errorf("at rest is %v: %+v", got, w.state())
			}
		})
	}
}

const rendered = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: serin}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: serin-abc}
data: {serin.yaml: "listen: :8080\n"}
---
apiVersion: v1
kind: Service
metadata: {name: serin}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: serin}
spec: {template: {spec: {containers: [{name: serin, args: ["--config=/etc/serin/serin.yaml", "--in-place=policy"]}]}}}
`

func TestAnInstallationWithoutItsPod(t *testing.T) {
	i, err := readInstallation(rendered)
	if err != nil {
		t.Fatal(err)
	}
	if len(i.manifests) != 1 || !strings.Contains(i.manifests[0], "ServiceAccount") {
		t.Errorf("applied: %q", i.manifests)
	}
	if i.Config != "listen: :8080\n" || !slices.Equal(i.Flags, []string{"--in-place=policy"}) {
		t.Errorf("got %+v", i)
	}
	for _, text := range []string{"", "kind: ConfigMap", "kind: ["} {
		if _, err := readInstallation(text); err == nil {
			t.Errorf("%q is no installation, and there is no error", text)
		}
	}
}

const managed = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: web
  namespace: shop
  generation: 7
  managedFields: [{manager: kubectl, operation: Apply}]
spec: {hosts: [web]}
`

const updated = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, annotations: {deployment.kubernetes.io/revision: "3", serin.dev/canary: "true"}}
spec: {replicas: 1}
status: {replicas: 1}
`

func fakeWatcher(t *testing.T, objects ...string) *Watcher {
	t.Helper()
	kinds := map[schema.GroupVersionResource]string{
		virtualServices: "VirtualServiceList", destinationRules: "DestinationRuleList", deployments: "DeploymentList", pods: "PodList",
	}
	var all []runtime.Object
	for _, o := range objects {
		all = append(all, tree(t, o))
	}
	return &Watcher{shop: Shop{Namespace: "shop"}, client: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, all...)}
}

func TestTheUsersTextIsWithoutWhatIsCounted(t *testing.T) {
	got, err := fakeWatcher(t, managed, updated).Text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := Text{
		VirtualService: "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: web\n  namespace: shop\nspec:\n  hosts:\n  - web\n",
		Deployment:     "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  annotations:\n    serin.dev/canary: \"true\"\n  name: web\n  namespace: shop\nspec:\n  replicas: 1\n",
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWhatIsLeftIsNamed(t *testing.T) {
	ours := `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web-serin, namespace: shop, labels: {app.kubernetes.io/managed-by: serin}}
`
	if left, err := fakeWatcher(t, managed).Left(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("nothing is left: got %q, %v", left, err)
	}
	left, err := fakeWatcher(t, strings.Replace(managed, "manager: kubectl", "manager: serin", 1), ours).Left(t.Context())
	slices.Sort(left)
	if want := []string{"DestinationRule web-serin", "an entry in the VirtualService's managedFields"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("got %q, %v; want %q", left, err, want)
	}
}

func TestOnlyTheControllersEventsAreDecisions(t *testing.T) {
	event := map[string]any{
		"reportingController": "serin.dev/controller", "eventTime": "2026-01-02T03:04:05.678901Z",
		"reason": "StepPassed", "note": "Step 2 of 3", "type": "Warning",
		"regarding": map[string]any{"kind": "Deployment", "name": "web"},
	}
	d, ok := readDecision(&unstructured.Unstructured{Object: event})
	want := Decision{At: time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC), About: "Deployment web", Reason: "StepPassed", Sentence: "Step 2 of 3", Warning: true}
	if !ok || d != want {
		t.Errorf("got %+v, want %+v", d, want)
	}
	event["reportingController"] = "deployment-controller"
	if _, ok := readDecision(&unstructured.Unstructured{Object: event}); ok {
		t.Error("another controller's Event is taken for a decision")
	}
}
