package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// libraries are client-go's clients, as Serin has them: typed ones speak protobuf
// where the server does.
func (c *client) libraries(way http.RoundTripper) (kubernetes.Interface, dynamic.Interface) {
	c.Helper()
	config := &rest.Config{Host: c.server.URL, Transport: way, QPS: -1}
	typed := rest.CopyConfig(config)
	typed.ContentType = runtime.ContentTypeProtobuf
	typed.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	kube, err := kubernetes.NewForConfig(typed)
	if err != nil {
		c.Fatal(err)
	}
	trees, err := dynamic.NewForConfig(config)
	if err != nil {
		c.Fatal(err)
	}
	return kube, trees
}

func (r resource) kindOf() schema.GroupVersionResource {
	gv, err := schema.ParseGroupVersion(r.version)
	if err != nil {
		panic(err)
	}
	return gv.WithResource(r.plural)
}

var clients = []sentence{
	{"a typed client keeps a record: makes it, is refused a second one, reads it, adds to it, deletes it", func(c *client) {
		kube, _ := c.libraries(c.server.Transport)
		client := kube.AppsV1().ControllerRevisions(c.ns)
		record := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: "serin-web-abc", Labels: map[string]string{"serin.dev/service": "web"}}, Data: runtime.RawExtension{Raw: []byte(`{"version":1}`)}, Revision: 1}
		options := metav1.CreateOptions{FieldManager: manager}
		made, err := client.Create(c.Context(), record, options)
		if err != nil {
			c.Fatal(err)
		}
		c.same("the data", string(made.Data.Raw), `{"version":1}`)
		if _, err = client.Create(c.Context(), record, options); !apierrors.IsAlreadyExists(err) {
			c.Errorf("a second one: %v", err)
		}
		read, err := client.Get(c.Context(), record.Name, metav1.GetOptions{})
		if err != nil {
			c.Fatal(err)
		}
		c.same("the uid that a read gives", read.UID, made.UID)
		made, err = client.Patch(c.Context(), record.Name, types.MergePatchType, []byte(`{"metadata":{"annotations":{"a":"b"}}}`), metav1.PatchOptions{FieldManager: manager})
		if err != nil {
			c.Fatal(err)
		}
		c.same("the annotations", made.Annotations, map[string]string{"a": "b"})
		if err := client.Delete(c.Context(), record.Name, metav1.DeleteOptions{}); err != nil {
			c.Error(err)
		}
		if err := client.Delete(c.Context(), record.Name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
			c.Errorf("a second time: %v", err)
		}
	}},
	{"what a release is recorded with is read by name", func(c *client) {
		kube, trees := c.libraries(c.server.Transport)
		if _, err := kube.CoreV1().ConfigMaps(c.ns).Get(c.Context(), "settings", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			c.Errorf("a ConfigMap that is not there: %v", err)
		}
		c.make(configMaps, "settings", nil)
		read, err := kube.CoreV1().ConfigMaps(c.ns).Get(c.Context(), "settings", metav1.GetOptions{})
		if err != nil {
			c.Fatal(err)
		}
		c.same("its data", read.Data, map[string]string{"key": "value"})
		c.make(destinationRules, "web", nil)
		c.make(destinationRules, "other", nil)
		list, err := trees.Resource(destinationRules.kindOf()).Namespace(c.ns).List(c.Context(), metav1.ListOptions{FieldSelector: "metadata.name=web"})
		if err != nil || len(list.Items) != 1 {
			c.Fatalf("of two DestinationRules that named web: %v, %v", list, err)
		}
		c.same("the host", at(list.Items[0].Object, "spec", "host"), "web")
		c.make(virtualServices, "web", nil)
		list, err = trees.Resource(virtualServices.kindOf()).Namespace(c.ns).List(c.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) != 1 {
			c.Fatalf("of one VirtualService: %v, %v", list, err)
		}
	}},
	{"a typed client tells an Event", func(c *client) {
		kube, _ := c.libraries(c.server.Transport)
		told, err := kube.EventsV1().Events(c.ns).Create(c.Context(), &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: c.ns, Name: "web.1"}, EventTime: metav1.NewMicroTime(time.Now()),
			ReportingController: "serin.dev/controller", ReportingInstance: "here", Action: "Release", Reason: "Started", Type: "Normal", Note: "begins",
			Regarding: corev1.ObjectReference{Kind: "Service", APIVersion: "v1", Namespace: c.ns, Name: "web"},
		}, metav1.CreateOptions{})
		if err != nil {
			c.Fatal(err)
		}
		c.same("the note", told.Note, "begins")
		c.same("the note that a read gives", at(c.must(200, c.get(c.one(events, "web.1"))), "note"), "begins")
	}},
	{"a typed client holds a lease, and notices when it is another's", func(c *client) {
		kube, _ := c.libraries(c.server.Transport)
		client := kube.CoordinationV1().Leases(c.ns)
		if _, err := client.Get(c.Context(), "serin", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			c.Errorf("before there is one: %v", err)
		}
		who := func(name string) coordinationv1.LeaseSpec {
			now := metav1.NewMicroTime(time.Now())
			return coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: new(int32(3)), RenewTime: &now}
		}
		lease, err := client.Create(c.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "serin"}, Spec: who("first")}, metav1.CreateOptions{})
		if err != nil {
			c.Fatal(err)
		}
		mine, theirs := lease.DeepCopy(), lease.DeepCopy()
		theirs.Spec = who("second")
		if _, err := client.Update(c.Context(), theirs, metav1.UpdateOptions{}); err != nil {
			c.Fatal(err)
		}
		if _, err := client.Update(c.Context(), mine, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			c.Errorf("over another's: %v", err)
		}
		read, err := client.Get(c.Context(), "serin", metav1.GetOptions{})
		if err != nil {
			c.Fatal(err)
		}
		c.same("who has it", *read.Spec.HolderIdentity, "second")
		c.same("when it was renewed", read.Spec.RenewTime.UnixMicro(), theirs.Spec.RenewTime.UnixMicro())
	}},
	{"a lease that is gone is not renewed", func(c *client) {
		kube, _ := c.libraries(c.server.Transport)
		client := kube.CoordinationV1().Leases(c.ns)
		lease, err := client.Create(c.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "serin"}}, metav1.CreateOptions{})
		if err != nil {
			c.Fatal(err)
		}
		c.must(200, c.delete(c.one(leases, "serin"), nil))
		if _, err := client.Update(c.Context(), lease, metav1.UpdateOptions{}); !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			c.Errorf("the renewal of what is gone: %v", err)
		}
	}},
	{"client-go's clients list and read all that Serin reads now and then", func(c *client) {
		kube, trees := c.libraries(c.server.Transport)
		for _, r := range []resource{services, replicaSets, deployments, virtualServices, destinationRules, autoscalers, budgets, quotas, pods} {
			c.make(r, "web", tree{"labels": tree{"app": "web"}})
		}
		ctx, all := c.Context(), metav1.ListOptions{}
		web, got := metav1.ListOptions{LabelSelector: "app=web"}, []string{}
		count := func(what string, n int, err error) { got = append(got, fmt.Sprint(what, " ", n, " ", err)) }
		sets, err := kube.AppsV1().ReplicaSets(c.ns).List(ctx, web)
		count("ReplicaSets", min(1, len(sets.Items)), err) // the Deployment may have taken the other one for its own
		_, err = kube.CoreV1().Pods(c.ns).List(ctx, web)
		count("Pods", 0, err) // the ReplicaSets may have taken any
		scalers, err := kube.AutoscalingV2().HorizontalPodAutoscalers(c.ns).List(ctx, all)
		count("HorizontalPodAutoscalers", len(scalers.Items), err)
		limits, err := kube.PolicyV1().PodDisruptionBudgets(c.ns).List(ctx, all)
		count("PodDisruptionBudgets", len(limits.Items), err)
		amounts, err := kube.CoreV1().ResourceQuotas(c.ns).List(ctx, all)
		count("ResourceQuotas", len(amounts.Items), err)
		d, err := kube.AppsV1().Deployments(c.ns).Get(ctx, "web", metav1.GetOptions{})
		count(d.Name, len(d.Spec.Template.Spec.Containers), err)
		for _, r := range []resource{virtualServices, destinationRules, replicaSets} {
			o, err := trees.Resource(r.kindOf()).Namespace(c.ns).Get(ctx, "web", metav1.GetOptions{})
			count(o.GetKind(), len(o.GetName()), err)
		}
		_, err = trees.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingadmissionpolicies"}).Get(ctx, "contract-none", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			c.Errorf("a policy that is not there: %v", err)
		}
		c.same("what was read", got, []string{
			"ReplicaSets 1 <nil>", "Pods 0 <nil>", "HorizontalPodAutoscalers 1 <nil>", "PodDisruptionBudgets 1 <nil>", "ResourceQuotas 1 <nil>",
			"web 1 <nil>", "VirtualService 3 <nil>", "DestinationRule 3 <nil>", "ReplicaSet 3 <nil>",
		})
	}},
}

// informed are the kinds that Serin has informers of; trees are its plain ones.
var informed = []struct {
	says string
	resource
	trees bool
}{
	{"Services", services, false}, {"ControllerRevisions", controllerRevisions, false}, {"pods", pods, false}, {"namespaces", namespaceKind, false},
	{"Deployments", deployments, false}, {"Deployments as trees", deployments, true}, {"VirtualServices", virtualServices, true}, {"DestinationRules", destinationRules, true},
}

// informers are the sentences about each of them.
func informers() (all []sentence) {
	for _, kind := range informed {
		all = append(all,
			sentence{"an informer of " + kind.says + " knows all that is there, and follows it", func(c *client) { c.follows(kind.resource, kind.trees) }},
			sentence{"an informer of " + kind.says + " loses nothing when it is cut off", func(c *client) { c.survives(kind.resource, kind.trees) }},
		)
	}
	return append(all, sentence{"an informer of one namespace knows it", func(c *client) {
		informer, _, stop := c.informer(namespaceKind, false, func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, c.ns).String()
		})
		defer stop()
		c.until("it knows the namespace", func() string { return knows(informer, c.ns, true) })
	}})
}

// narrow is how Serin narrows what an informer reads of a kind.
func narrow(r resource) func(*metav1.ListOptions) {
	return func(o *metav1.ListOptions) {
		switch r.kind {
		case pods.kind:
			o.LabelSelector = "app=api"
			if o.ResourceVersion == "0" {
				o.ResourceVersion = ""
			}
		case controllerRevisions.kind:
			o.LabelSelector = "serin.dev/service"
		}
	}
}

// informer runs an informer of a kind, over a connection that can be cut, until
// the function that it gives is called.
func (c *client) informer(r resource, trees bool, narrow func(*metav1.ListOptions)) (cache.SharedIndexInformer, *wire, func()) {
	c.Helper()
	way := &wire{to: c.server.Transport}
	kube, dynamics := c.libraries(way)
	ns := ""
	if r.kind == pods.kind {
		ns = c.ns
	}
	var from cache.ListerWatcher
	var example runtime.Object = &unstructured.Unstructured{}
	if trees {
		client := dynamics.Resource(r.kindOf())
		from = cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				return client.List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return client.Watch(ctx, o)
			},
		}, dynamics)
	} else {
		getter := kube.CoreV1().RESTClient()
		if r.version == "apps/v1" {
			getter = kube.AppsV1().RESTClient()
		}
		lw := cache.NewFilteredListWatchFromClient(getter, r.plural, ns, narrow)
		if from = lw; r.kind == pods.kind {
			from = listedFirst{lw}
		}
		example = map[string]runtime.Object{
			services.kind: &corev1.Service{}, controllerRevisions.kind: &appsv1.ControllerRevision{}, pods.kind: &corev1.Pod{},
			namespaceKind.kind: &corev1.Namespace{}, deployments.kind: &appsv1.Deployment{},
		}[r.kind]
	}
	informer := cache.NewSharedIndexInformer(from, example, 0, cache.Indexers{})
	ctx, cancel := context.WithCancel(c.Context())
	var done sync.WaitGroup
	done.Go(func() { informer.RunWithContext(ctx) })
	return informer, way, func() {
		cancel()
		done.Wait()
	}
}

// listedFirst are what an informer lists first and then watches, as Serin does with pods.
type listedFirst struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is how a reflector finds that out.
func (listedFirst) IsWatchListSemanticsUnSupported() bool { return true }

// knows says what is amiss with what an informer knows of an object.
func knows(informer cache.SharedIndexInformer, key string, wanted bool) string {
	_, known, err := informer.GetStore().GetByKey(key)
	if err != nil || known != wanted || !informer.HasSynced() {
		return fmt.Sprintf("it is known: %v; all are: %v, %v", known, informer.HasSynced(), err)
	}
	return ""
}

// informs makes an object that an informer is interested in, and gives its key.
func (c *client) informs(r resource, name string) (key string) {
	c.Helper()
	if r.kind == namespaceKind.kind {
		return newClient(c.T, c.server).ns
	}
	c.make(r, name, tree{"labels": tree{"serin.dev/service": "web", "app": "api"}})
	return c.ns + "/" + name
}

// follows checks that an informer knows what was there before it began, what
// comes, what is changed, and what goes.
func (c *client) follows(r resource, trees bool) {
	c.Helper()
	one := c.informs(r, "one")
	informer, _, stop := c.informer(r, trees, narrow(r))
	defer stop()
	c.until("the first is known", func() string { return knows(informer, one, true) })
	two := c.informs(r, "two")
	c.until("the second is known", func() string { return knows(informer, two, true) })
	if r.kind == namespaceKind.kind || r.kind == pods.kind {
		return // these take their time to go
	}
	c.must(200, c.patch(mergePatch, c.one(r, "two"), `{"metadata":{"annotations":{"a":"b"}}}`))
	c.until("its change is known", func() string {
		o, _, _ := informer.GetStore().GetByKey(two)
		if object, ok := o.(metav1.Object); !ok || object.GetAnnotations()["a"] != "b" {
			return fmt.Sprintf("it is %v", o)
		}
		return ""
	})
	c.must(200, c.delete(c.one(r, "one"), nil))
	c.until("that the first is gone is known", func() string { return knows(informer, one, false) })
}

// survives checks that an informer goes on: when its watch breaks off; when it can't
// go on with it either, and begins anew; and when that is not to be had, and it lists.
func (c *client) survives(r resource, trees bool) {
	c.Helper()
	informer, way, stop := c.informer(r, trees, narrow(r))
	defer stop()
	first := c.informs(r, "first")
	c.until("it knows all", func() string { return knows(informer, first, true) })
	for i, refuse := range []func(url.Values) bool{
		func(url.Values) bool { return false },
		func(q url.Values) bool { return q.Has("watch") && !q.Has("sendInitialEvents") },
		func(q url.Values) bool { return q.Has("watch") },
	} {
		c.until("it watches", way.watches)
		// A watch that ends within a second, without an event, is no success to client-go.
		<-time.After(1500 * time.Millisecond)
		asked := way.cut(refuse)
		key := c.informs(r, fmt.Sprintf("after-cut-%d", i))
		c.until("it goes on", func() string { return knows(informer, key, true) })
		want := i
		if r.kind == pods.kind {
			want = min(want, 1) // they are listed in any case
		}
		c.same("how many kinds of requests were refused", asked(), want)
	}
}

// wire is a way to the server that can be cut.
type wire struct {
	to http.RoundTripper

	mu      sync.Mutex
	open    []*ending
	refuse  func(url.Values) bool // each kind of request once
	refused map[bool]bool
}

// cut ends all that is open, and refuses the first request of either kind, with and
// without initial events, that refuse tells. What it gives counts these.
func (w *wire) cut(refuse func(url.Values) bool) (refused func() int) {
	w.mu.Lock()
	open := w.open
	w.open, w.refuse, w.refused = nil, refuse, map[bool]bool{}
	w.mu.Unlock()
	for _, body := range open {
		body.end()
	}
	return func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.refused)
	}
}

// watches says what is amiss when nothing is watched.
func (w *wire) watches() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.open) == 0 {
		return "no watch is open"
	}
	return ""
}

// RoundTrip passes a request on.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	w.mu.Lock()
	refused := w.refuse != nil && !w.refused[q.Has("sendInitialEvents")] && w.refuse(q)
	if refused {
		w.refused[q.Has("sendInitialEvents")] = true
	}
	w.mu.Unlock()
	if refused {
		return nil, errors.New("the wire is cut")
	}
	answer, err := w.to.RoundTrip(r)
	if err == nil && q.Has("watch") {
		end := &ending{ReadCloser: answer.Body}
		answer.Body = end
		w.mu.Lock()
		w.open = append(w.open, end)
		w.mu.Unlock()
	}
	return answer, err
}

// ending is an answer that ends when it is cut, as when the server has ended it.
type ending struct {
	io.ReadCloser
	over atomic.Bool
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	if e.over.Load() {
		return 0, io.EOF
	}
	return n, err
}

func (e *ending) end() {
	e.over.Store(true)
	e.Close()
}
