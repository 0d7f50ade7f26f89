package contract

import (
	"context"
	"fmt"
	"sync"
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
func (c *client) libraries() (kubernetes.Interface, dynamic.Interface) {
	c.Helper()
	config := &rest.Config{Host: c.server.URL, Transport: c.server.Transport, QPS: -1}
	kube, err := kubernetes.NewForConfig(config)
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
	{"a typed client keeps a record: makes it, is refused a second one, adds to it, deletes it", func(c *client) {
		kube, _ := c.libraries()
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
	{"a typed client tells an Event", func(c *client) {
		kube, _ := c.libraries()
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
		kube, _ := c.libraries()
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
		kube, _ := c.libraries()
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
		kube, trees := c.libraries()
		for _, r := range []resource{services, replicaSets, deployments, virtualServices, destinationRules, autoscalers, budgets, quotas, pods} {
			c.make(r, "web", tree{"labels": tree{"app": "web"}})
		}
		ctx, all := c.Context(), metav1.ListOptions{}
		web, got := metav1.ListOptions{LabelSelector: "app=web"}, []string{}
		count := func(what string, n int, err error) { got = append(got, fmt.Sprint(what, " ", n, " ", err)) }
		sets, err := kube.AppsV1().ReplicaSets(c.ns).List(ctx, web)
		count("ReplicaSets", len(sets.Items), err)
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
			"ReplicaSets 2 <nil>", "Pods 0 <nil>", "HorizontalPodAutoscalers 1 <nil>", "PodDisruptionBudgets 1 <nil>", "ResourceQuotas 1 <nil>",
			"web 1 <nil>", "VirtualService 3 <nil>", "DestinationRule 3 <nil>", "ReplicaSet 3 <nil>",
		})
	}},
	{"client-go's informers know all that is there, and follow it", func(c *client) {
		kube, trees := c.libraries()
		apps, core := kube.AppsV1().RESTClient(), kube.CoreV1().RESTClient()
		all := func(*metav1.ListOptions) {}
		for _, one := range []struct {
			resource
			from    cache.ListerWatcher
			example runtime.Object
		}{
			{deployments, cache.NewFilteredListWatchFromClient(apps, "deployments", "", all), &appsv1.Deployment{}},
			{services, cache.NewFilteredListWatchFromClient(core, "services", "", all), &corev1.Service{}},
			{controllerRevisions, cache.NewFilteredListWatchFromClient(apps, "controllerrevisions", "", func(o *metav1.ListOptions) { o.LabelSelector = "serin.dev/service" }), &appsv1.ControllerRevision{}},
			{pods, cache.NewFilteredListWatchFromClient(core, "pods", c.ns, func(o *metav1.ListOptions) { o.LabelSelector = "app=api" }), &corev1.Pod{}},
			{deployments, c.listWatch(trees, deployments), &unstructured.Unstructured{}},
			{virtualServices, c.listWatch(trees, virtualServices), &unstructured.Unstructured{}},
			{destinationRules, c.listWatch(trees, destinationRules), &unstructured.Unstructured{}},
		} {
			c.follows(one.resource, one.from, one.example)
			if c.Failed() {
				c.Fatalf("it was an informer of %T, %s", one.example, one.kind)
			}
		}
	}},
	{"client-go's informer of the namespaces knows this one", func(c *client) {
		kube, _ := c.libraries()
		for _, selector := range []string{"", fields.OneTermEqualSelector(metav1.ObjectNameField, c.ns).String()} {
			from := cache.NewFilteredListWatchFromClient(kube.CoreV1().RESTClient(), "namespaces", "", func(o *metav1.ListOptions) { o.FieldSelector = selector })
			informer := cache.NewSharedIndexInformer(from, &corev1.Namespace{}, 0, cache.Indexers{})
			stop := c.runs(informer)
			c.until("it knows the namespace", func() string { return knows(informer, c.ns, true) })
			stop()
		}
	}},
}

// listWatch lists and watches a kind as plain trees.
func (c *client) listWatch(trees dynamic.Interface, r resource) cache.ListerWatcher {
	client := trees.Resource(r.kindOf())
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, o)
		},
	}, trees)
}

// runs has an informer run until the function that it gives is called.
func (c *client) runs(informer cache.SharedIndexInformer) (stop func()) {
	ctx, cancel := context.WithCancel(c.Context())
	var done sync.WaitGroup
	done.Go(func() { informer.RunWithContext(ctx) })
	return func() {
		cancel()
		done.Wait()
	}
}

// knows says what is amiss with what an informer knows of an object.
func knows(informer cache.SharedIndexInformer, key string, wanted bool) string {
	_, known, err := informer.GetStore().GetByKey(key)
	if err != nil || known != wanted || !informer.HasSynced() {
		return fmt.Sprintf("it is known: %v; all are: %v, %v", known, informer.HasSynced(), err)
	}
	return ""
}

// follows checks that an informer knows what was there before it began, what is
// changed, what comes and what goes.
func (c *client) follows(r resource, from cache.ListerWatcher, example runtime.Object) {
	c.Helper()
	own := newClient(c.T, c.server)
	if r.kind == pods.kind {
		own = c // its watch is of this namespace
	}
	labels := tree{"labels": tree{"serin.dev/service": "web", "app": "api"}}
	own.make(r, "one", labels)
	informer := cache.NewSharedIndexInformer(from, example, 0, cache.Indexers{})
	defer own.runs(informer)()
	own.until("the first is known", func() string { return knows(informer, own.ns+"/one", true) })
	own.make(r, "two", labels)
	own.until("the second is known", func() string { return knows(informer, own.ns+"/two", true) })
	own.must(200, own.patch(mergePatch, own.one(r, "two"), `{"metadata":{"annotations":{"a":"b"}}}`))
	own.until("its change is known", func() string {
		o, _, _ := informer.GetStore().GetByKey(own.ns + "/two")
		if object, ok := o.(metav1.Object); !ok || object.GetAnnotations()["a"] != "b" {
			return fmt.Sprintf("it is %v", o)
		}
		return ""
	})
	if r.kind != pods.kind { // a pod takes its time
		own.must(200, own.delete(own.one(r, "one"), nil))
		own.until("that the first is gone is known", func() string { return knows(informer, own.ns+"/one", false) })
	}
}
