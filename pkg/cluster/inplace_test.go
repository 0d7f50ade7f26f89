package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// shelf answers requests with what lies there by path and label selector; 404 to
// all others.
type shelf struct {
	mu      sync.Mutex
	objects map[string]any
	refused map[string]int // by path: the code
	asked   []string
}

func (s *shelf) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := r.URL.Path
	if selector := r.URL.Query().Get("labelSelector"); selector != "" {
		path += "?" + selector
	}
	s.asked = append(s.asked, path)
	code, body := http.StatusOK, s.objects[path]
	if refused := s.refused[r.URL.Path]; refused != 0 {
		code, body = refused, nil
	}
	if body == nil {
		if code == http.StatusOK {
			code = http.StatusNotFound
		}
		body = metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: int32(code), Reason: map[int]metav1.StatusReason{
			403: metav1.StatusReasonForbidden, 404: metav1.StatusReasonNotFound, 500: metav1.StatusReasonInternalError}[code]}
	}
	text, err := json.Marshal(body)
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(text))}, err
}

// since gives what was asked since it was called last.
func (s *shelf) since() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	return out
}

var shopWeb = Key{Namespace: "shop", Name: "web"}

// inPlaceCache has Service web, over what lies on a shelf.
func inPlaceCache(t *testing.T, o Options) (*Cache, *shelf) {
	t.Helper()
	s := &shelf{objects: map[string]any{}, refused: map[string]int{}}
	config := &rest.Config{Host: "http://api.test", Transport: s, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	o.Kube, o.Dynamic = kubernetes.NewForConfigOrDie(config), dynamic.NewForConfigOrDie(config)
	o.ClusterDomain, o.RootNamespace = "cluster.local", "istio-system"
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, c.services, reduceService, shopService("web", map[string]string{"app": "web"}))
	return c, s
}

var switchedOn = Options{InPlace: true}

// single is a Deployment alone behind Service web, as its informer gets it.
func single(t *testing.T, change func(*appsv1.Deployment)) *unstructured.Unstructured {
	t.Helper()
	d := shopDeployment("web", map[string]string{"serin.dev/canary": "true", revisionAnnotation: "1"})
	d.UID, d.ResourceVersion = "uid-of-web", "10"
	labels := map[string]string{"app": "web"}
	d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = labels, labels
	if change != nil {
		change(d)
	}
	return tree(t, "apps/v1", "Deployment", d)
}

func tree(t *testing.T, version, kind string, o any) *unstructured.Unstructured {
	t.Helper()
	out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	out["apiVersion"], out["kind"] = version, kind
	return &unstructured.Unstructured{Object: out}
}

var madeByUs = map[string]string{"app.kubernetes.io/managed-by": "serin", "serin.dev/service": "web", "serin.dev/track": "canary"}

func canaryOf(name string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		yes := true
		d.Name, d.UID, d.Labels = name+"-canary", "uid-of-canary", madeByUs
		d.Annotations = map[string]string{"serin.dev/template": "0123456789"}
		d.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: name, UID: "uid-of-web", Controller: &yes}}
		d.Spec.Template.Labels = map[string]string{"app": "web", "serin.dev/track": "canary"}
	}
}

func withImage(image string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = image }
}

func paused(d *appsv1.Deployment) { d.Spec.Paused = true }

func annotated(key, value string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Annotations[key] = value }
}

func all(changes ...func(*appsv1.Deployment)) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		for _, f := range changes {
			f(d)
		}
	}
}

func TestAPauseIsTheGuardsByItsMark(t *testing.T) {
	mark := annotated(topology.HeldKey, topology.HeldValue)
	optedOut := func(d *appsv1.Deployment) { delete(d.Annotations, "serin.dev/canary") }
	for name, c := range map[string]struct {
		options Options
		change  func(*appsv1.Deployment)
		want    bool
	}{
		"paused, and marked":                                     {switchedOn, all(paused, mark), true},
		"paused by somebody else":                                {switchedOn, paused, false},
		"marked, and resumed":                                    {switchedOn, mark, false},
		"paused and marked, and opted out since":                 {switchedOn, all(paused, mark, optedOut), true},
		"any pause is a standing one, where those are the guard": {Options{InPlace: true, Guard: GuardPause}, paused, true},
		"but not of a Deployment that asks for nothing":          {Options{InPlace: true, Guard: GuardPause}, all(paused, optedOut), false},
		"nor where in-place mode is switched off":                {Options{Guard: GuardPause}, paused, false},
	} {
		t.Run(name, func(t *testing.T) {
			c2, _ := inPlaceCache(t, c.options)
			o, err := c2.reduceDeployment(single(t, c.change))
			if err != nil {
				t.Fatal(err)
			}
			if got := o.(*deployment).reduced.Held; got != c.want {
				t.Errorf("held is %v, want %v", got, c.want)
			}
		})
	}
}

func TestACanaryIsKnownByItsOwnerAndItsLabels(t *testing.T) {
	without := func(label string) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) {
			canaryOf("web")(d)
			d.Labels = map[string]string{"app.kubernetes.io/managed-by": "serin", "serin.dev/service": "web", "serin.dev/track": "canary"}
			delete(d.Labels, label)
		}
	}
	for name, c := range map[string]struct {
		change func(*appsv1.Deployment)
		want   string
	}{
		"as Serin makes it":                         {canaryOf("web"), "web"},
		"without the manager":                       {without("app.kubernetes.io/managed-by"), ""},
		"without the track":                         {without("serin.dev/track"), ""},
		"with an owner of another kind":             {all(canaryOf("web"), func(d *appsv1.Deployment) { d.OwnerReferences[0].Kind = "Rollout" }), ""},
		"with an owner that is only one of several": {all(canaryOf("web"), func(d *appsv1.Deployment) { d.OwnerReferences[0].Controller = nil }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			cache, _ := inPlaceCache(t, switchedOn)
			o, err := cache.reduceDeployment(single(t, c.change))
			if err != nil {
				t.Fatal(err)
			}
			got := o.(*deployment).reduced
			if got.CloneOf != c.want || (got.CloneTemplate != "") != (c.want != "") {
				t.Errorf("it is the canary of %q, of template %q, want of %q", got.CloneOf, got.CloneTemplate, c.want)
			}
		})
	}
}

func TestADeploymentIsKeptWholeWhereItMayBeCopied(t *testing.T) {
	plain := func(d *appsv1.Deployment) { d.Annotations = nil }
	for name, c := range map[string]struct {
		options Options
		change  func(*appsv1.Deployment)
		want    bool
	}{
		"it asks for releases":                       {switchedOn, nil, true},
		"it is a canary":                             {switchedOn, canaryOf("web"), true},
		"nobody will copy it":                        {switchedOn, plain, false},
		"in-place mode is switched off":              {Options{}, nil, false},
		"switched off, a canary is left from before": {Options{}, canaryOf("web"), true},
	} {
		t.Run(name, func(t *testing.T) {
			cache, _ := inPlaceCache(t, c.options)
			var read any = single(t, c.change)
			if !c.options.InPlace {
				var typed appsv1.Deployment
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(read.(*unstructured.Unstructured).Object, &typed); err != nil {
					t.Fatal(err)
				}
				read = &typed
			}
			o, err := cache.reduceDeployment(read)
			if err != nil {
				t.Fatal(err)
			}
			got, err := o.(*deployment).handOut()
			if err != nil || (got.Doc != nil) != c.want || got.ResourceVersion != "10" {
				t.Errorf("got %v, %v", got.Doc, err)
			}
		})
	}
}

func TestFieldsThatThisSerinDoesNotKnowAreKept(t *testing.T) {
	cache, _ := inPlaceCache(t, switchedOn)
	u := single(t, nil)
	if err := unstructured.SetNestedField(u.Object, "later", "spec", "template", "spec", "fieldOfALaterKubernetes"); err != nil {
		t.Fatal(err)
	}
	o, err := cache.reduceDeployment(u)
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.(*deployment).handOut()
	if err != nil {
		t.Fatal(err)
	}
	if later, _, _ := unstructured.NestedString(got.Doc, "spec", "template", "spec", "fieldOfALaterKubernetes"); later != "later" {
		t.Errorf("it is lost: %v", got.Doc["spec"])
	}
	if _, owned := got.Doc["metadata"].(map[string]any)["managedFields"]; owned {
		t.Error("managedFields are kept")
	}
	if replicas, _, _ := unstructured.NestedInt64(got.Doc, "spec", "replicas"); replicas != 2 {
		t.Errorf("an integer came back as %T", got.Doc["spec"].(map[string]any)["replicas"])
	}
	if len(u.GetManagedFields()) == 0 {
		t.Error("the informer's object was changed")
	}
}

func TestWhichPortsAreStreams(t *testing.T) {
	port := func(name, appProtocol string, number int32, protocol corev1.Protocol) corev1.ServicePort {
		p := corev1.ServicePort{Name: name, Port: number, Protocol: protocol}
		if appProtocol != "" {
			p.AppProtocol = &appProtocol
		}
		return p
	}
	for name, c := range map[string]struct {
		port corev1.ServicePort
		want bool
	}{
		"http":                                    {port("http", "", 80, "TCP"), false},
		"http with a suffix":                      {port("http-web", "", 80, "TCP"), false},
		"upper case":                              {port("HTTP2-web", "", 80, "TCP"), false},
		"grpc-web":                                {port("grpc-web", "", 80, "TCP"), false},
		"no name is looked at":                    {port("", "", 80, "TCP"), false},
		"a name that says nothing is looked at":   {port("web", "", 8080, "TCP"), false},
		"httpbin is no name of a protocol":        {port("httpbin", "", 8080, "TCP"), false},
		"tcp":                                     {port("tcp-web", "", 80, "TCP"), true},
		"https, which is not opened":              {port("https", "", 443, "TCP"), true},
		"tls":                                     {port("tls-web", "", 443, "TCP"), true},
		"mongo":                                   {port("mongo", "", 80, "TCP"), true},
		"appProtocol counts more than the name":   {port("tcp", "http", 80, "TCP"), false},
		"appProtocol tcp":                         {port("http", "tcp", 80, "TCP"), true},
		"HTTP/2 over cleartext":                   {port("web", "kubernetes.io/h2c", 80, "TCP"), false},
		"WebSocket":                               {port("web", "kubernetes.io/ws", 80, "TCP"), false},
		"WebSocket over TLS":                      {port("web", "kubernetes.io/wss", 443, "TCP"), true},
		"an unnamed port of MySQL":                {port("", "", 3306, "TCP"), true},
		"a port of MySQL that is named http":      {port("http", "", 3306, "TCP"), false},
		"UDP, whatever its name":                  {port("http", "", 80, "UDP"), true},
		"the protocol may be left out: it is TCP": {port("http", "", 80, ""), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := streams(c.port); got != c.want {
				t.Errorf("a stream: %v, want %v", got, c.want)
			}
		})
	}
	o, err := reduceService(&corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{
		port("http", "", 80, "TCP"), port("tcp", "", 81, "TCP"), port("", "tls", 82, "TCP")}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := o.(*service).reduced; !slices.Equal(got.Streams, []string{"tcp", "82/TCP"}) || got.Type != "NodePort" {
		t.Errorf("got %+v", got)
	}
}

func TestWhatIsLeftOfAReleaseInPlaceConcernsUs(t *testing.T) {
	rule := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"namespace": "shop", "name": "web-serin", "labels": anyMap(madeByUs)}, "spec": map[string]any{"host": "elsewhere"}}}
	vs := virtualService("web-serin", leadingTo("elsewhere"), nil)
	vs.SetLabels(madeByUs)
	for name, f := range map[string]func(t *testing.T, c *Cache) []Key{
		"a canary whose pods no Service selects": func(t *testing.T, c *Cache) []Key {
			o := single(t, all(canaryOf("web"), func(d *appsv1.Deployment) { d.Spec.Template.Labels = nil }))
			return c.servicesOfDeployment(fill(t, c.deployments, c.reduceDeployment, o))
		},
		"a rule that somebody gave another host": func(t *testing.T, c *Cache) []Key {
			return c.servicesOfRule(fill(t, c.rules, c.reduceRule, rule))
		},
		"a VirtualService that leads elsewhere": func(t *testing.T, c *Cache) []Key {
			return servicesOfRoutes(fill(t, c.routes, c.reduceRoutes, vs))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := inPlaceCache(t, Options{})
			s.objects["/api/v1/namespaces/shop/pods?app=web,serin.dev/track=canary"] = corev1.PodList{}
			s.objects["/apis/apps/v1/namespaces/shop/replicasets?app=web"] = appsv1.ReplicaSetList{}
			if c.Concerns(shopWeb) {
				t.Fatal("before, the Service concerned us")
			}
			if woken := f(t, c); !slices.Contains(woken, shopWeb) {
				t.Errorf("its change wakes %v", woken)
			}
			if !c.Concerns(shopWeb) {
				t.Error("the Service does not concern us")
			}
			got, err := c.Objects(t.Context(), shopWeb)
			if err != nil || len(got.Deployments)+len(got.DestinationRules)+len(got.VirtualServices) != 1 || !topology.HasOurs(got) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	t.Run("a mark that nobody took off", func(t *testing.T) {
		c, _ := inPlaceCache(t, Options{})
		fill(t, c.deployments, c.reduceDeployment, single(t, func(d *appsv1.Deployment) {
			d.Annotations = map[string]string{topology.HeldKey: topology.HeldValue}
		}))
		if !c.Concerns(shopWeb) {
			t.Error("the Service does not concern us")
		}
	})
}

func anyMap(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

const (
	setsPath  = "/apis/apps/v1/namespaces/shop/replicasets"
	podsPath  = "/api/v1/namespaces/shop/pods"
	ofWeb     = "?app=web"
	ofCanarys = "?app=web,serin.dev/track=canary"
)

// setOf is a ReplicaSet of Deployment web as the deployment controller makes it.
func setOf(hash, image, revision string, wanted, pods int32, age time.Duration) appsv1.ReplicaSet {
	yes := true
	s := appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "web-" + hash, UID: types.UID("uid-of-web-" + hash), Annotations: map[string]string{revisionAnnotation: revision},
		CreationTimestamp: metav1.NewTime(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC).Add(-age)),
		OwnerReferences:   []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: "uid-of-web", Controller: &yes}},
	}}
	s.Spec.Replicas, s.Status.Replicas, s.Status.ReadyReplicas = &wanted, pods, pods
	s.Spec.Template.Labels = map[string]string{"app": "web", hashLabel: hash}
	s.Spec.Template.Spec.Containers = []corev1.Container{{Name: "web", Image: image}}
	return s
}

func podOf(name, set string, labels map[string]string) corev1.Pod {
	yes := true
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: labels,
		OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", UID: types.UID("uid-of-" + set), Controller: &yes, Name: set}}}}
}

// lay puts ReplicaSets, each with its pods, on the shelf.
func (s *shelf) lay(t *testing.T, sets ...appsv1.ReplicaSet) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var pods corev1.PodList
	for _, set := range sets {
		whole := tree(t, "apps/v1", "ReplicaSet", &set)
		if err := unstructured.SetNestedField(whole.Object, set.Name, "spec", "template", "spec", "fieldOfALaterKubernetes"); err != nil {
			t.Fatal(err)
		}
		s.objects[setsPath+"/"+set.Name] = whole.Object
		for i := range set.Status.Replicas {
			pods.Items = append(pods.Items, podOf(fmt.Sprintf("%s-%d", set.Name, i), set.Name, map[string]string{"app": "web"}))
		}
	}
	s.objects[setsPath+ofWeb] = appsv1.ReplicaSetList{Items: sets}
	s.objects[podsPath+ofWeb] = pods
}

// describe says which ReplicaSets a Deployment has, and what is of its template.
func describeDeployment(d topology.Deployment) string {
	var out []string
	for _, s := range d.Sets {
		kept, _, _ := unstructured.NestedString(s.Template, "spec", "fieldOfALaterKubernetes")
		line := fmt.Sprintf("%s %d/%d, %d pods", s.Hash, s.Ready, s.Replicas, len(s.Pods))
		if s.TemplateHash == d.TemplateHash {
			line += ", asked for"
		}
		if kept != "" {
			line += ", whole"
		}
		out = append(out, line)
	}
	if !d.ReplicaSetAt.IsZero() {
		out = append(out, fmt.Sprintf("present has %d pods", len(d.Pods)))
	}
	return strings.Join(out, "; ")
}

// What runs is told by pods, and not by the revision: that is of the template the
// Deployment asks for, even where a pause keeps it from running.
func TestTheReplicaSetsThatRun(t *testing.T) {
	mark := annotated(topology.HeldKey, topology.HeldValue)
	revision := func(n string) func(*appsv1.Deployment) { return annotated(revisionAnnotation, n) }
	aaa := setOf("aaa", "web:1", "1", 2, 2, time.Hour)
	for name, c := range map[string]struct {
		change func(*appsv1.Deployment)
		sets   []appsv1.ReplicaSet
		want   string
	}{
		"at rest there is one": {nil, []appsv1.ReplicaSet{aaa},
			"aaa 2/2, 2 pods, asked for; present has 2 pods"},
		"with old ones that run no more": {revision("2"), []appsv1.ReplicaSet{setOf("old", "web:0", "1", 0, 0, 2*time.Hour), setOf("aaa", "web:1", "2", 2, 2, time.Hour)},
			"aaa 2/2, 2 pods, asked for; present has 2 pods"},
		"held with a new template the old one runs": {all(paused, mark, withImage("web:2")), []appsv1.ReplicaSet{aaa},
			"aaa 2/2, 2 pods, whole"},
		"held with a template of before, whose revision is the newest now": {all(paused, mark, withImage("web:0"), revision("3")),
			[]appsv1.ReplicaSet{setOf("old", "web:0", "3", 0, 0, 2*time.Hour), setOf("aaa", "web:1", "2", 2, 2, time.Hour)},
			"aaa 2/2, 2 pods, whole; present has 0 pods"},
		"held before the deployment controller has seen it": {all(paused, mark, withImage("web:2"), func(d *appsv1.Deployment) { d.Generation = 4 }), []appsv1.ReplicaSet{aaa},
			"aaa 2/2, 2 pods, whole"},
		"while it is updated there are two": {all(withImage("web:2"), revision("2")),
			[]appsv1.ReplicaSet{setOf("aaa", "web:1", "1", 1, 2, time.Hour), setOf("bbb", "web:2", "2", 1, 1, 0)},
			"bbb 1/1, 1 pods, asked for; aaa 2/1, 2 pods, whole; present has 1 pods"},
		"one that shall run and has no pod yet": {nil, []appsv1.ReplicaSet{setOf("aaa", "web:1", "1", 2, 0, time.Hour)},
			"aaa 0/2, 0 pods, asked for; present has 0 pods"},
		"without pods none does": {scaleToZero, []appsv1.ReplicaSet{setOf("aaa", "web:1", "1", 0, 0, time.Hour)},
			"present has 0 pods"},
		"of a Deployment in pair mode none is told": {annotated("serin.dev/mode", "pair"), []appsv1.ReplicaSet{aaa}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cache, s := inPlaceCache(t, switchedOn)
			s.lay(t, c.sets...)
			s.objects["/api/v1/namespaces/shop/resourcequotas"] = corev1.ResourceQuotaList{}
			fill(t, cache.deployments, cache.reduceDeployment, single(t, c.change))
			o, err := cache.Objects(t.Context(), shopWeb)
			if err != nil {
				t.Fatal(err)
			}
			if got := describeDeployment(o.Deployments[0]); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// An annotation, as an order is one, makes another generation of a Deployment, which the
// deployment controller has to see before its status is of that one. Its pods are the
// same all the while, and an order must not find a version of whose pods nothing is known.
func TestPodsAreKnownWhileTheDeploymentControllerLooks(t *testing.T) {
	unseen := func(d *appsv1.Deployment) { d.Generation = 4 }
	for name, c := range map[string]struct {
		change func(*appsv1.Deployment)
		want   string
	}{
		"it has seen all":                          {nil, "present has 2 pods"},
		"it has not seen an order":                 {all(unseen, annotated("serin.dev/command", "skip #1")), "present has 2 pods"},
		"it has not seen another template":         {all(unseen, withImage("web:2")), ""},
		"it has not seen the Deployment at all":    {all(unseen, func(d *appsv1.Deployment) { delete(d.Annotations, revisionAnnotation) }), ""},
		"it has seen another template, unmade yet": {all(withImage("web:2"), annotated(revisionAnnotation, "2")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			cache, s := inPlaceCache(t, Options{})
			s.lay(t, setOf("aaa", "web:1", "1", 2, 2, time.Hour))
			fill(t, cache.routes, cache.reduceRoutes, virtualService("web", leadingTo("web", "web"), map[string]any{canary.StatePrefix + "web": "{}"}))
			var d appsv1.Deployment
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(single(t, c.change).Object, &d); err != nil {
				t.Fatal(err)
			}
			fill(t, cache.deployments, cache.reduceDeployment, &d)
			o, err := cache.Objects(t.Context(), shopWeb)
			if err != nil {
				t.Fatal(err)
			}
			if got := describeDeployment(o.Deployments[0]); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestReplicaSetsAreReadWhenTheDeploymentChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := inPlaceCache(t, switchedOn)
		s.lay(t, setOf("aaa", "web:1", "1", 2, 2, time.Hour))
		version := 10
		change := func(f func(*appsv1.Deployment)) {
			version++
			fill(t, c.deployments, c.reduceDeployment, single(t, all(f, func(d *appsv1.Deployment) { d.ResourceVersion = fmt.Sprint(version) })))
		}
		var asked []string
		look := func() topology.Deployment {
			t.Helper()
			s.since()
			o, err := c.Objects(t.Context(), shopWeb)
			if err != nil {
				t.Fatal(err)
			}
			asked = slices.DeleteFunc(s.since(), func(path string) bool { return !strings.HasPrefix(path, setsPath) })
			return o.Deployments[0]
		}
		nothing := func(*appsv1.Deployment) {}
		scaled := func(d *appsv1.Deployment) {
			three := int32(3)
			d.Spec.Replicas = &three
			d.Status.Replicas, d.Status.UpdatedReplicas, d.Status.AvailableReplicas, d.Status.ReadyReplicas = 3, 3, 3, 3
		}
		held := all(scaled, paused, annotated(topology.HeldKey, topology.HeldValue), withImage("web:2"), func(d *appsv1.Deployment) { d.Status.UpdatedReplicas = 0 })

		change(nothing)
		if look(); !slices.Equal(asked, []string{setsPath + ofWeb}) {
			t.Errorf("at first it asks for %v", asked)
		}
		if look(); len(asked) > 0 {
			t.Errorf("of the same Deployment it asks again: %v", asked)
		}
		change(scaled)
		if got := look().Sets[0]; len(asked) > 0 || got.Replicas != 3 || got.Ready != 3 {
			t.Errorf("a scaling at rest asks for %v, and gives %d/%d", asked, got.Ready, got.Replicas)
		}
		s.lay(t, setOf("aaa", "web:1", "1", 3, 3, time.Hour))
		change(held)
		if got := look(); !slices.Equal(asked, []string{setsPath + ofWeb, setsPath + "/web-aaa"}) || got.Sets[0].TemplateHash == got.TemplateHash {
			t.Errorf("a new template asks for %v, and gives %+v", asked, got.Sets)
		}
		change(all(held, annotated("serin.dev/command", "pause")))
		if look(); !slices.Equal(asked, []string{setsPath + ofWeb}) {
			t.Errorf("a change while it is held asks for %v", asked)
		}
	})
}

func TestTheCanarysPodsAreCountedToTheLast(t *testing.T) {
	going := podOf("web-canary-0", "web-canary", map[string]string{"app": "web", "serin.dev/track": "canary"})
	going.DeletionTimestamp = new(metav1.Now())
	ours := corev1.PodList{Items: []corev1.Pod{going}}
	rule := func(t *testing.T, c *Cache) {
		u := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"namespace": "shop", "name": "web-serin"}, "spec": map[string]any{"host": "web"}}}
		u.SetLabels(madeByUs)
		fill(t, c.rules, c.reduceRule, u)
	}
	state := func(inPlace bool) func(t *testing.T, c *Cache) {
		return func(t *testing.T, c *Cache) {
			s := canary.State{Rollout: "r1", Phase: canary.RollingBack, InPlace: inPlace, Started: time.Now(), Since: time.Now()}
			s.Canary = canary.Side{Deployment: "web-canary", Subset: "serin-canary", Template: "2"}
			s.Stable = canary.Side{Deployment: "web", Subset: "serin-stable", Template: "1"}
			s.Spec.Steps = []canary.Step{{Weight: 100, Bake: time.Minute}}
			text, err := canary.EncodeState(s)
			if err != nil {
				t.Fatal(err)
			}
			fill(t, c.routes, c.reduceRoutes, virtualService("web", leadingTo("web", "web"), map[string]any{canary.StatePrefix + "web": text}))
		}
	}
	for name, c := range map[string]struct {
		around func(t *testing.T, c *Cache)
		want   int
		asks   bool
	}{
		"while the state is one in place, the Deployment gone": {state(true), 1, true},
		"while something of ours is left":                      {rule, 1, true},
		"in pair mode nobody is asked":                         {state(false), 0, false},
		"and at rest neither":                                  {func(*testing.T, *Cache) {}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			cache, s := inPlaceCache(t, switchedOn)
			s.objects[podsPath+ofCanarys] = ours
			c.around(t, cache)
			o, err := cache.Objects(t.Context(), shopWeb)
			if err != nil || o.CanaryPods != c.want || (len(s.since()) > 0) != c.asks {
				t.Errorf("there are %d, %v, want %d", o.CanaryPods, err, c.want)
			}
			if s.refused[podsPath] = http.StatusInternalServerError; !c.asks {
				return
			}
			if _, err := cache.Objects(t.Context(), shopWeb); err == nil || !strings.Contains(err.Error(), "count the canary's pods of Service shop/web") {
				t.Errorf("when they can't be read the error is %v", err)
			}
		})
	}
	t.Run("from the watch, where there is one", func(t *testing.T) {
		cache, s := inPlaceCache(t, switchedOn)
		rule(t, cache)
		w := cache.pods.watch(shopWeb, "app=web")
		w.informer = synced{w.informer}
		for _, p := range []corev1.Pod{going, podOf("web-0", "web-aaa", map[string]string{"app": "web"})} {
			reduced, err := reducePod(&p)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.store.Add(reduced); err != nil {
				t.Fatal(err)
			}
		}
		cache.pods.watches[shopWeb] = w
		o, err := cache.Objects(t.Context(), shopWeb)
		if err != nil || o.CanaryPods != 1 || len(s.since()) > 0 {
			t.Errorf("there are %d, %v", o.CanaryPods, err)
		}
	})
}

// synced is an informer that has read all.
type synced struct{ cache.Controller }

func (synced) HasSynced() bool { return true }

var (
	held        = all(paused, annotated(topology.HeldKey, topology.HeldValue), withImage("web:2"))
	hpasPath    = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
	budgetsPath = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets"
	quotasPath  = "/api/v1/namespaces/shop/resourcequotas"
	admission   = "/apis/admissionregistration.k8s.io/"
)

// about keeps of what was asked what is about the surroundings.
func about(asked []string) []string {
	return slices.DeleteFunc(asked, func(path string) bool {
		return strings.HasPrefix(path, setsPath) || strings.HasPrefix(path, podsPath)
	})
}

func TestWhatCountsPodsIsReadWhereAReleaseMayBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := inPlaceCache(t, Options{InPlace: true, Guard: GuardPause})
		s.lay(t, setOf("aaa", "web:1", "1", 2, 2, time.Hour))
		hpa := autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
		hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "web"}
		budget := policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
		budget.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"},
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: metav1.LabelSelectorOpIn, Values: []string{"front"}}}}
		s.objects[hpasPath] = autoscalingv2.HorizontalPodAutoscalerList{Items: []autoscalingv2.HorizontalPodAutoscaler{hpa}}
		s.objects[budgetsPath] = policyv1.PodDisruptionBudgetList{Items: []policyv1.PodDisruptionBudget{budget}}
		s.refused[quotasPath] = http.StatusForbidden

		fill(t, c.deployments, c.reduceDeployment, single(t, nil))
		look := func() topology.Around {
			t.Helper()
			o, err := c.Objects(t.Context(), shopWeb)
			if err != nil {
				t.Fatal(err)
			}
			return o.Around
		}
		if got := look(); len(about(s.since())) > 0 || got.Guard != topology.GuardPause {
			t.Errorf("at rest it asks, and knows %+v", got)
		}
		fill(t, c.deployments, c.reduceDeployment, single(t, held))
		got := look()
		if want := []string{hpasPath, budgetsPath, quotasPath}; !slices.Equal(about(s.since()), want) {
			t.Errorf("held, it does not ask for %v", want)
		}
		if len(got.Autoscalers) != 1 || got.Autoscalers[0].Target != "web" || got.Autoscalers[0].Key.String() != "HorizontalPodAutoscaler shop/web" || len(got.Quotas) != 0 {
			t.Errorf("got %+v", got)
		}
		if want := map[string]string{"app": "web", "tier": "front"}; len(got.Budgets) != 1 || !maps.Equal(got.Budgets[0].Selector, want) {
			t.Errorf("got %+v", got.Budgets)
		}
		time.Sleep(aroundFor - time.Second) //nolint:forbidigo // in a bubble of testing/synctest nobody waits
		if again := look(); len(about(s.since())) > 0 || !reflect.DeepEqual(again, got) {
			t.Errorf("within %s it asks again", aroundFor)
		}
		time.Sleep(time.Second) //nolint:forbidigo // as above
		s.refused[hpasPath] = http.StatusInternalServerError
		if _, err := c.Objects(t.Context(), shopWeb); err == nil || !strings.Contains(err.Error(), "list the HorizontalPodAutoscalers of namespace shop") {
			t.Errorf("when the server fails the error is %v", err)
		}
	})
}

func TestWhatAQuotaLeaves(t *testing.T) {
	list := func(pairs ...string) corev1.ResourceList {
		out := corev1.ResourceList{}
		for i := 0; i < len(pairs); i += 2 {
			out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
		}
		return out
	}
	none := map[string]int64{"pods": -1, "requests.cpu": -1, "requests.memory": -1, "limits.cpu": -1, "limits.memory": -1}
	for name, c := range map[string]struct {
		hard, used corev1.ResourceList
		want       map[string]int64
	}{
		"no limit":                            {list(), list(), nil},
		"pods":                                {list("pods", "10"), list("pods", "7"), map[string]int64{"pods": 3}},
		"cpu in thousandths, memory in bytes": {list("requests.cpu", "2", "limits.memory", "1Gi"), list("requests.cpu", "1500m", "limits.memory", "512Mi"), map[string]int64{"requests.cpu": 500, "limits.memory": 512 << 20}},
		"of two names of the same the lower":  {list("cpu", "2", "requests.cpu", "4", "count/pods", "5", "pods", "4"), list(), map[string]int64{"requests.cpu": 2000, "pods": 4}},
		"more is used than there may be":      {list("memory", "1Gi"), list("memory", "2Gi"), map[string]int64{"requests.memory": 0}},
		"what is none of a pod's business":    {list("services", "1"), list("services", "1"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			want := maps.Clone(none)
			maps.Copy(want, c.want)
			if got := leftBy(&corev1.ResourceQuota{Status: corev1.ResourceQuotaStatus{Hard: c.hard, Used: c.used}}); !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestWhetherTheGuardIsThere(t *testing.T) {
	policy := func(version string) string { return admission + version + "/mutatingadmissionpolicies/serin-in-place" }
	binding := func(version string) string {
		return admission + version + "/mutatingadmissionpolicybindings/serin-in-place"
	}
	webhook := admission + "v1/mutatingwebhookconfigurations/serin-in-place"
	bound := func(to string) map[string]any {
		return map[string]any{"kind": "Guard", "apiVersion": "v1", "spec": map[string]any{"policyName": to}}
	}
	for name, c := range map[string]struct {
		options Options
		lie     map[string]any
		refused string
		want    string
		asks    int
	}{
		"installed and bound":               {switchedOn, map[string]any{policy("v1"): bound(""), binding("v1"): bound("serin-in-place")}, "", topology.GuardThere, 2},
		"on an older server":                {switchedOn, map[string]any{policy("v1beta1"): bound(""), binding("v1beta1"): bound("serin-in-place")}, "", topology.GuardThere, 3},
		"without a binding it does nothing": {switchedOn, map[string]any{policy("v1"): bound("")}, "", topology.GuardAbsent, 2},
		"with a binding of something else":  {switchedOn, map[string]any{policy("v1"): bound(""), binding("v1"): bound("other")}, "", topology.GuardAbsent, 2},
		"not installed":                     {switchedOn, nil, "", topology.GuardAbsent, 2},
		"may not be read":                   {switchedOn, nil, policy("v1"), topology.GuardUnknown, 1},
		"the webhook":                       {Options{InPlace: true, Guard: GuardWebhook}, map[string]any{webhook: bound("")}, "", topology.GuardThere, 1},
		"no webhook":                        {Options{InPlace: true, Guard: GuardWebhook}, map[string]any{policy("v1"): bound("")}, "", topology.GuardAbsent, 1},
		"a standing pause needs none":       {Options{InPlace: true, Guard: GuardPause}, nil, "", topology.GuardPause, 0},
		"in-place mode is switched off":     {Options{}, nil, "", topology.GuardOff, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache, s := inPlaceCache(t, c.options)
				maps.Copy(s.objects, c.lie)
				if c.refused != "" {
					s.refused[c.refused] = http.StatusForbidden
				}
				look := func() int {
					t.Helper()
					around, err := cache.aroundOf(t.Context(), "shop", []topology.Deployment{{Annotations: map[string]string{"serin.dev/canary": "true"}}})
					if err != nil || around.Guard != c.want {
						t.Errorf("got %q, %v, want %q", around.Guard, err, c.want)
					}
					return len(s.since())
				}
				if n := look(); n != c.asks {
					t.Errorf("it asked %d times, want %d", n, c.asks)
				}
				if n := look(); n != 0 {
					t.Errorf("at once it asked %d times again", n)
				}
				time.Sleep(guardFor - time.Second) //nolint:forbidigo // in a bubble of testing/synctest nobody waits
				if n := look(); c.want == topology.GuardThere && n != 0 {
					t.Error("a guard that is there is asked for within five minutes")
				}
			})
		})
	}
	t.Run("nobody asks for releases", func(t *testing.T) {
		cache, s := inPlaceCache(t, switchedOn)
		around, err := cache.aroundOf(t.Context(), "shop", []topology.Deployment{{}})
		if err != nil || around.Guard != topology.GuardUnknown || len(s.since()) > 0 {
			t.Errorf("got %+v, %v", around, err)
		}
	})
}

func TestSwitchedOffNothingIsReadOrKeptForIt(t *testing.T) {
	c, s := inPlaceCache(t, Options{})
	s.lay(t, setOf("aaa", "web:1", "1", 2, 2, time.Hour))
	d := shopDeployment("web", map[string]string{"serin.dev/canary": "true", revisionAnnotation: "1"})
	d.UID, d.Spec.Selector.MatchLabels = "uid-of-web", map[string]string{"app": "web"}
	d.Spec.Paused, d.Annotations[topology.HeldKey] = true, topology.HeldValue
	fill(t, c.deployments, c.reduceDeployment, d)
	fill(t, c.rules, c.reduceRule, &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"namespace": "shop", "name": "web"}, "spec": map[string]any{"host": "web"}}})
	o, err := c.Objects(context.Background(), shopWeb)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.since(); len(got) > 0 {
		t.Errorf("it asked for %v", got)
	}
	if o.Deployments[0].Doc != nil || o.Deployments[0].Sets != nil || o.DestinationRules[0].Doc != nil || o.Around.Guard != topology.GuardOff {
		t.Errorf("it knows %+v", o)
	}
	if !o.Deployments[0].Held {
		t.Error("a mark from before it was switched off is not seen")
	}
}
