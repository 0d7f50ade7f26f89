package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// unreachable answers no request: what is tested here comes from the caches.
type unreachable struct{ requests []string }

func (u *unreachable) RoundTrip(r *http.Request) (*http.Response, error) {
	u.requests = append(u.requests, r.URL.Path)
	return nil, fmt.Errorf("%s: the API server is away", r.URL.Path)
}

func newCache(t *testing.T) (*Cache, *unreachable) {
	t.Helper()
	away := &unreachable{}
	config := &rest.Config{Host: "http://api.test", Transport: away}
	c, err := New(Options{
		Kube: kubernetes.NewForConfigOrDie(config), Dynamic: dynamic.NewForConfigOrDie(config),
		ClusterDomain: "cluster.local", RootNamespace: "istio-system",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, away
}

// fill puts an object into a cache the way its informer does.
func fill(t *testing.T, into set, reduce func(any) (any, error), o any) (reduced any) {
	t.Helper()
	reduced, err := reduce(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := into[0].GetIndexer().Add(reduced); err != nil {
		t.Fatal(err)
	}
	return reduced
}

func shopService(name string, selector map[string]string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       corev1.ServiceSpec{Selector: selector, Ports: []corev1.ServicePort{{Name: "http", Port: 80}, {Port: 81, Protocol: "TCP"}}},
	}
}

func shopDeployment(name string, annotations map[string]string) *appsv1.Deployment {
	labels := map[string]string{"app": "web", "version": name}
	two := int32(2)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "uid-of-" + "x", Generation: 3, Annotations: annotations,
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:1"}}}},
		},
		Status: appsv1.DeploymentStatus{ObservedGeneration: 3, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2, ReadyReplicas: 2},
	}
}

func virtualService(name string, spec map[string]any, annotations map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
		"metadata": map[string]any{"namespace": "shop", "name": name, "resourceVersion": "7", "annotations": annotations},
		"spec":     spec,
	}}
}

func leadingTo(host string, hosts ...any) map[string]any {
	return map[string]any{"hosts": hosts, "http": []any{map[string]any{"route": []any{
		map[string]any{"destination": map[string]any{"host": host, "subset": "v1"}, "weight": int64(100)},
	}}}}
}

func TestADeploymentIsCompleteOnlyWhenItsRolloutIs(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*appsv1.Deployment)
		want   bool
	}{
		"all pods are new and available":         {func(*appsv1.Deployment) {}, true},
		"the status is of an older generation":   {func(d *appsv1.Deployment) { d.Generation = 4 }, false},
		"an old pod is still there":              {func(d *appsv1.Deployment) { d.Status.Replicas = 3 }, false},
		"a pod is not available yet":             {func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 1 }, false},
		"a pod has the old template":             {func(d *appsv1.Deployment) { d.Status.UpdatedReplicas = 1 }, false},
		"it is scaled to zero":                   {scaleToZero, false},
		"replicas is absent, which means one":    {func(d *appsv1.Deployment) { d.Spec.Replicas = nil }, false},
		"the status is of a generation to come ": {func(d *appsv1.Deployment) { d.Status.ObservedGeneration = 9 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := shopDeployment("web-v1", nil)
			c.change(d)
			o, err := new(Cache).reduceDeployment(d)
			if err != nil {
				t.Fatal(err)
			}
			if got := o.(*deployment).reduced.Complete; got != c.want {
				t.Errorf("complete is %v, want %v", got, c.want)
			}
		})
	}
}

func scaleToZero(d *appsv1.Deployment) {
	zero := int32(0)
	d.Spec.Replicas = &zero
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: 3}
}

func TestATemplateHashTellsTemplatesApartAndNothingElse(t *testing.T) {
	hash := func(change func(*appsv1.Deployment)) string {
		d := shopDeployment("web-v1", nil)
		change(d)
		o, err := new(Cache).reduceDeployment(d)
		if err != nil {
			t.Fatal(err)
		}
		return o.(*deployment).reduced.TemplateHash
	}
	plain := hash(func(*appsv1.Deployment) {})
	if len(plain) != 10 {
		t.Errorf("the hash %q has not ten digits", plain)
	}
	if scaled := hash(scaleToZero); scaled != plain {
		t.Errorf("scaling changed the hash from %s to %s", plain, scaled)
	}
	if other := hash(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "web:2" }); other == plain {
		t.Error("another image has the same hash")
	}
}

func TestOnlyWhatIsUsedIsKept(t *testing.T) {
	d := shopDeployment("web-v1", map[string]string{"serin.dev/canary": "true", "other.example/key": "x"})
	o, err := new(Cache).reduceDeployment(d)
	if err != nil {
		t.Fatal(err)
	}
	got := o.(*deployment)
	if len(got.ManagedFields) != 0 || len(got.Annotations) != 0 {
		t.Errorf("metadata is kept: %v %v", got.ManagedFields, got.Annotations)
	}
	if len(got.reduced.Annotations) != 1 || got.reduced.Annotations["serin.dev/canary"] != "true" {
		t.Errorf("annotations are %v, want ours only", got.reduced.Annotations)
	}
	again, err := new(Cache).reduceDeployment(o)
	if err != nil || again != o {
		t.Errorf("reducing twice gave %v, %v", again, err)
	}
}

func TestAPodSaysWhatKeepsIt(t *testing.T) {
	ready := corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		ContainerStatuses: []corev1.ContainerStatus{{ImageID: "sha256:b"}, {ImageID: "sha256:a", RestartCount: 2}}}
	crashing := corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
		{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}}},
		{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 40s"}}},
	}}
	unplaced := corev1.PodStatus{Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no node has 4 CPUs"}}}
	now := metav1.Now()
	for name, c := range map[string]struct {
		pod  corev1.Pod
		want topology.Pod
	}{
		"a ready one has digests, each once and sorted": {corev1.Pod{Status: ready}, topology.Pod{Ready: true, Restarts: 2, Digests: []string{"sha256:a", "sha256:b"}}},
		"one that is being deleted is not ready":        {corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}, Status: ready}, topology.Pod{Restarts: 2, Digests: []string{"sha256:a", "sha256:b"}}},
		"a crash loop is told before all else":          {corev1.Pod{Status: crashing}, topology.Pod{Waiting: "CrashLoopBackOff", Message: "back-off 40s"}},
		"one without a node says why":                   {corev1.Pod{Status: unplaced}, topology.Pod{Waiting: "Unschedulable", Message: "no node has 4 CPUs"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := describe(&c.pod); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestAChangeIsToldToTheServicesItConcerns(t *testing.T) {
	c, _ := newCache(t)
	fill(t, c.services, reduceService, shopService("web", map[string]string{"app": "web"}))
	fill(t, c.services, reduceService, shopService("api", map[string]string{"app": "api"}))
	reduce := func(f func(any) (any, error), o any) any {
		t.Helper()
		out, err := f(o)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	rule := func(host string) any {
		return reduce(c.reduceRule, &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"namespace": "shop", "name": "r"}, "spec": map[string]any{"host": host}}})
	}
	opted := map[string]string{"serin.dev/canary": "true"}
	lone := shopDeployment("lone", opted)
	lone.Spec.Template.Labels = nil
	for name, got := range map[string][]Key{
		"a Deployment the Service selects: shop/web":            c.servicesOfDeployment(reduce(c.reduceDeployment, shopDeployment("web-v1", nil))),
		"an opted-in one without a Service: shop/lone":          c.servicesOfDeployment(reduce(c.reduceDeployment, lone)),
		"a route by full name: other/web":                       servicesOfRoutes(reduce(c.reduceRoutes, virtualService("v", leadingTo("web.other.svc.cluster.local"), nil))),
		"a state without a route: shop/old":                     servicesOfRoutes(reduce(c.reduceRoutes, virtualService("v", nil, map[string]any{"serin.dev/state.old": "{}"}))),
		"a rule by short name: shop/web":                        c.servicesOfRule(rule("web")),
		"a rule for a pattern, all Services: shop/api shop/web": c.servicesOfRule(rule("*.cluster.local")),
		"a rule for a foreign host:":                            c.servicesOfRule(rule("a.b.example.com")),
	} {
		_, want, _ := strings.Cut(name, ":")
		keys := []string{}
		for _, k := range got {
			keys = append(keys, k.String())
		}
		slices.Sort(keys)
		if !slices.Equal(keys, strings.Fields(want)) {
			t.Errorf("%s: got %v", name, keys)
		}
	}
}

func TestTheObjectsAroundAServiceAreThoseThatBearOnIt(t *testing.T) {
	c, _ := newCache(t)
	fill(t, c.services, reduceService, shopService("web", map[string]string{"app": "web"}))
	fill(t, c.services, reduceService, shopService("web-headless", map[string]string{"app": "web"}))
	fill(t, c.routes, c.reduceRoutes, virtualService("direct", leadingTo("web", "web"), nil))
	fill(t, c.routes, c.reduceRoutes, virtualService("twin", leadingTo("web-headless"), nil))
	fill(t, c.routes, c.reduceRoutes, virtualService("same-host", leadingTo("api", "web"), nil))
	fill(t, c.routes, c.reduceRoutes, virtualService("root", map[string]any{"hosts": []any{"x.example"}, "http": []any{
		map[string]any{"delegate": map[string]any{"name": "direct"}}}}, nil))
	fill(t, c.routes, c.reduceRoutes, virtualService("unrelated", leadingTo("api", "api"), nil))
	d := shopDeployment("web-v1", nil)
	d.Status.ObservedGeneration = 0 // its pods need no request then
	fill(t, c.deployments, c.reduceDeployment, d)

	o, err := c.Objects(context.Background(), Key{Namespace: "shop", Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range o.VirtualServices {
		names = append(names, v.Key.Name)
	}
	if want := []string{"direct", "root", "same-host", "twin"}; !slices.Equal(names, want) {
		t.Errorf("VirtualServices are %v, want %v", names, want)
	}
	if len(o.Deployments) != 1 || o.ServiceFound == nil || len(o.Services) != 2 {
		t.Errorf("got %d Deployments, Service %v, %d Services", len(o.Deployments), o.ServiceFound, len(o.Services))
	}
	weight, _, err := unstructured.NestedInt64(o.VirtualServices[0].Doc["spec"].(map[string]any)["http"].([]any)[0].(map[string]any)["route"].([]any)[0].(map[string]any), "weight")
	if err != nil || weight != 100 {
		t.Errorf("an integer came back as %v, %v", weight, err)
	}
}

func TestWhenPodsCannotBeReadAllElseStillIs(t *testing.T) {
	c, away := newCache(t)
	fill(t, c.services, reduceService, shopService("web", map[string]string{"app": "web"}))
	fill(t, c.routes, c.reduceRoutes, virtualService("direct", leadingTo("web", "web"), nil))
	fill(t, c.deployments, c.reduceDeployment, shopDeployment("web-v1", nil))
	fill(t, c.deployments, c.reduceDeployment, shopDeployment("web-v2", nil))
	o, err := c.Objects(context.Background(), Key{Namespace: "shop", Name: "web"})
	if err == nil || !strings.Contains(err.Error(), "list the ReplicaSets of Deployment shop/web-v1") {
		t.Errorf("the error is %v, want the list that failed named", err)
	}
	if len(o.VirtualServices) != 1 || len(o.Deployments) != 2 || len(away.requests) == 0 {
		t.Errorf("got %d VirtualServices, %d Deployments after %v", len(o.VirtualServices), len(o.Deployments), away.requests)
	}
}

// TestADeploymentAloneCostsNoRequest: a cluster may have ten thousand that ask for
// releases, and are looked at after every start.
func TestADeploymentAloneCostsNoRequest(t *testing.T) {
	for name, c := range map[string]struct {
		deployments []string
		state       bool
		asks        bool
	}{
		"one alone":                               {[]string{"web-v1"}, false, false},
		"one alone of which a release is known":   {[]string{"web-v1"}, true, true},
		"two, of which one may be to be released": {[]string{"web-v1", "web-v2"}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			cache, away := newCache(t)
			fill(t, cache.services, reduceService, shopService("web", map[string]string{"app": "web"}))
			annotations := map[string]any{}
			if c.state {
				annotations[canary.StatePrefix+"web"] = "{}"
			}
			fill(t, cache.routes, cache.reduceRoutes, virtualService("direct", leadingTo("web", "web"), annotations))
			for _, d := range c.deployments {
				fill(t, cache.deployments, cache.reduceDeployment, shopDeployment(d, map[string]string{"serin.dev/canary": "true"}))
			}
			_, err := cache.Objects(t.Context(), Key{Namespace: "shop", Name: "web"})
			if asks := len(away.requests) > 0; asks != c.asks || (err != nil) != c.asks {
				t.Errorf("it asked for %v: %v", away.requests, err)
			}
		})
	}
}

func TestARolloutUnderWayIsKnownByTheState(t *testing.T) {
	c, _ := newCache(t)
	for name, phase := range map[string]canary.Phase{"under-way": canary.Progressing, "over": canary.RolledBack} {
		text, err := canary.EncodeState(canary.State{
			Version: 1, Rollout: "r1", Sequence: 1, Phase: phase, Step: 1, Spec: canary.Spec{Steps: []canary.Step{{Weight: 100}}}, Started: time.Unix(1e9, 0), Since: time.Unix(1e9, 0), At: time.Unix(1e9, 0),
			Canary: canary.Side{Deployment: "v2", Subset: "two"}, Stable: canary.Side{Deployment: "v1", Subset: "one"},
		})
		if err != nil {
			t.Fatal(err)
		}
		fill(t, c.routes, c.reduceRoutes, virtualService(name, leadingTo(name, name), map[string]any{canary.StatePrefix + name: text}))
	}
	for name, want := range map[string]bool{"under-way": true, "over": false, "nobody": false} {
		if got := c.Active(Key{Namespace: "shop", Name: name}); got != want {
			t.Errorf("%s is active: %v", name, got)
		}
	}
}

func TestOnlyServicesWithReleasesConcernUs(t *testing.T) {
	c, _ := newCache(t)
	fill(t, c.services, reduceService, shopService("web", map[string]string{"app": "web"}))
	key := Key{Namespace: "shop", Name: "web"}
	fill(t, c.deployments, c.reduceDeployment, shopDeployment("web-v1", nil))
	if c.Concerns(key) {
		t.Error("a Service that nobody opted in concerns us")
	}
	fill(t, c.routes, c.reduceRoutes, virtualService("v", leadingTo("web"), map[string]any{canary.StatePrefix + "web": "{}"}))
	if !c.Concerns(key) {
		t.Error("a Service whose state stands on a VirtualService does not concern us")
	}
	fill(t, c.routes, c.reduceRoutes, virtualService("v", leadingTo("web"), nil))
	fill(t, c.deployments, c.reduceDeployment, shopDeployment("web-v2", map[string]string{"serin.dev/canary": "true"}))
	if !c.Concerns(key) {
		t.Error("a Service with an opted-in Deployment does not concern us")
	}
}
