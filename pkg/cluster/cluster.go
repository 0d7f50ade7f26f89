// Package cluster reads the API server: it keeps reduced copies of the objects
// around canary releases and hands them out, per Service, as plain structs.
// It never writes.
package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Key names a Service: the unit of everything.
type Key = types.NamespacedName

// Group is where Istio's routes live, in the version all its releases since
// 1.22 serve.
const (
	Group   = "networking.istio.io"
	Version = "v1"
)

// Options say what to read.
type Options struct {
	Kube    kubernetes.Interface
	Dynamic dynamic.Interface
	// Namespaces to watch; empty: all.
	Namespaces []string
	// ClusterDomain is the DNS domain of Services, like "cluster.local".
	ClusterDomain string
	// RootNamespace is Istio's, like "istio-system".
	RootNamespace string
	// InPlace tells that single Deployments may be updated in place. Without it
	// nothing is read or kept for that.
	InPlace bool
	// Guard is what holds their changed templates back: GuardPolicy, GuardWebhook
	// or GuardPause; empty means GuardPolicy. It counts only with InPlace.
	Guard string
	// ByName reads the Namespaces by their names, once: all that somebody may do who
	// has rights in them alone. One that may not be read has no labels.
	ByName bool
	// Asking is a Deployment, as namespace/name, that is read as if it asked for
	// releases; empty: none is.
	Asking string
	// Logger is told what may not be read; nil: nobody is.
	Logger *zap.Logger
}

// The guards there are.
const (
	GuardPolicy  = "policy"  // a MutatingAdmissionPolicy
	GuardWebhook = "webhook" // a mutating webhook, served by Serin
	GuardPause   = "pause"   // the Deployments are always paused
)

// Cache holds the reduced copies. Create one with New, register with OnChange,
// then Run it.
type Cache struct {
	options Options
	changed func(Key)

	deployments, services, namespaces, revisions set
	routes, rules                                set

	pods   podCache
	around surroundings
}

// set is one kind of object: one informer per watched namespace.
type set []cache.SharedIndexInformer

// New makes a Cache. It asks the server for nothing before Run.
func New(o Options) (*Cache, error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	c := &Cache{options: o, changed: func(Key) {}}
	c.pods.init(o)
	c.around.init()
	watched := o.Namespaces
	if len(watched) == 0 {
		watched = []string{metav1.NamespaceAll}
	}
	for _, ns := range watched {
		if err := c.watchNamespace(ns); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// OnChange registers what is called with the Service concerned whenever one of
// its objects changed. It must be called before Run, and f must not block.
func (c *Cache) OnChange(f func(Key)) {
	c.changed = f
	c.pods.changed = f
}

// watchNamespace sets up the informers of one namespace, or of all.
func (c *Cache) watchNamespace(ns string) error {
	deployments, example := c.deploymentsIn(ns)
	apps, core := c.options.Kube.AppsV1().RESTClient(), c.options.Kube.CoreV1().RESTClient()
	only := func(o *metav1.ListOptions) {
		if ns != metav1.NamespaceAll {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, ns).String()
		}
	}
	ours := func(o *metav1.ListOptions) { o.LabelSelector = ServiceLabel }
	all := func(*metav1.ListOptions) {}
	none := cache.Indexers{}
	byNamespace := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	for _, w := range []struct {
		into     *set
		from     cache.ListerWatcher
		example  runtime.Object
		reduce   cache.TransformFunc
		index    cache.Indexers
		services func(any) []Key
	}{
		{&c.deployments, deployments, example, c.reduceDeployment, deploymentIndexers, c.servicesOfDeployment},
		{&c.services, cache.NewFilteredListWatchFromClient(core, "services", ns, all), &corev1.Service{}, reduceService, byNamespace, itself},
		{&c.namespaces, c.namespacesIn(ns, only), &corev1.Namespace{}, reduceNamespace, none, c.servicesOfNamespace},
		{&c.revisions, cache.NewFilteredListWatchFromClient(apps, "controllerrevisions", ns, ours), &appsv1.ControllerRevision{}, reduceRevision, cache.Indexers{byService: indexRevision}, serviceOfRevision},
		{&c.routes, c.trees(istioKind("virtualservices"), ns), &unstructured.Unstructured{}, c.reduceRoutes, routeIndexers, servicesOfRoutes},
		{&c.rules, c.trees(istioKind("destinationrules"), ns), &unstructured.Unstructured{}, c.reduceRule, ruleIndexers, c.servicesOfRule},
	} {
		informer := cache.NewSharedIndexInformer(w.from, w.example, 0, w.index)
		if err := informer.SetTransform(w.reduce); err != nil {
			return fmt.Errorf("reduce %T: %w", w.example, err)
		}
		if _, err := informer.AddEventHandler(c.tell(w.services)); err != nil {
			return fmt.Errorf("watch %T: %w", w.example, err)
		}
		*w.into = append(*w.into, informer)
	}
	return nil
}

// namespacesIn lists and watches one namespace, or all.
func (c *Cache) namespacesIn(ns string, only func(*metav1.ListOptions)) cache.ListerWatcher {
	if c.options.ByName && ns != metav1.NamespaceAll {
		return byName(c.options.Kube, ns)
	}
	return cache.NewFilteredListWatchFromClient(c.options.Kube.CoreV1().RESTClient(), "namespaces", metav1.NamespaceAll, only)
}

// deploymentsIn lists and watches Deployments: as plain trees where some are to
// be copied whole, for a client's type knows only the fields of its own time.
func (c *Cache) deploymentsIn(ns string) (cache.ListerWatcher, runtime.Object) {
	if c.options.InPlace {
		return c.trees(appsv1.SchemeGroupVersion.WithResource("deployments"), ns), &unstructured.Unstructured{}
	}
	apps := c.options.Kube.AppsV1().RESTClient()
	return cache.NewFilteredListWatchFromClient(apps, "deployments", ns, func(*metav1.ListOptions) {}), &appsv1.Deployment{}
}

func istioKind(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: Group, Version: Version, Resource: resource}
}

// trees lists and watches a kind as plain trees.
func (c *Cache) trees(kind schema.GroupVersionResource, ns string) cache.ListerWatcher {
	client := c.options.Dynamic.Resource(kind).Namespace(ns)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, o)
		},
	}
	return cache.ToListWatcherWithWatchListSemantics(lw, c.options.Dynamic)
}

// tell makes the handler that calls changed for the Services an object
// concerns, before and after its change.
func (c *Cache) tell(services func(any) []Key) cache.ResourceEventHandler {
	send := func(objects ...any) {
		told := map[Key]bool{}
		for _, o := range objects {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			for _, k := range services(o) {
				if !told[k] {
					told[k] = true
					c.changed(k)
				}
			}
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { send(o) },
		UpdateFunc: func(before, after any) {
			if !same(before, after) {
				send(before, after)
			}
		},
		DeleteFunc: func(o any) {
			if d, ok := o.(*deployment); ok {
				c.pods.forget(d.UID)
			}
			send(o)
		},
	}
}

// sets are all kinds together.
func (c *Cache) sets() []set {
	return []set{c.deployments, c.services, c.namespaces, c.revisions, c.routes, c.rules}
}

// Run reads and watches until ctx ends, then waits for all its goroutines.
func (c *Cache) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range c.sets() {
		for _, informer := range s {
			wg.Go(func() { informer.RunWithContext(ctx) })
		}
	}
	wg.Go(func() { c.pods.run(ctx) })
	wg.Wait()
}

// Synced tells whether every kind was read once in full.
func (c *Cache) Synced() bool {
	for _, s := range c.sets() {
		for _, informer := range s {
			if !informer.HasSynced() {
				return false
			}
		}
	}
	return true
}

// WaitForSync waits until Synced, or until ctx ends; false then.
func (c *Cache) WaitForSync(ctx context.Context) bool {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !c.Synced() {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
	return true
}

// list gives the objects of an index entry.
func list[T any](s set, index, value string) []T {
	var out []T
	for _, informer := range s {
		// The index exists by construction: no error can come.
		objects, _ := informer.GetIndexer().ByIndex(index, value)
		for _, o := range objects {
			if t, ok := o.(T); ok {
				out = append(out, t)
			}
		}
	}
	return out
}

// get gives the object of a name.
func get[T any](s set, ns, name string) (T, bool) {
	var none T
	key := name
	if ns != "" {
		key = ns + "/" + name
	}
	for _, informer := range s {
		if o, ok, _ := informer.GetIndexer().GetByKey(key); ok {
			t, ok := o.(T)
			return t, ok
		}
	}
	return none, false
}
