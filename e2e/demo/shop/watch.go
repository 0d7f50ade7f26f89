package shop

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

var (
	virtualServices  = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}
	destinationRules = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "destinationrules"}
	deployments      = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	revisions        = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "controllerrevisions"}
	pods             = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	events           = schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}
)

// Decision is one of the controller's Events.
type Decision struct {
	At       time.Time
	About    string // kind and name of the object it is told of
	Reason   string
	Sentence string
	Warning  bool
}

// Watcher follows one shop.
type Watcher struct {
	shop   Shop
	client dynamic.Interface

	mu      sync.Mutex
	world   *world
	state   State
	changed chan struct{} // closed when the state changes
	onState func(State)
}

// Watch follows the shop until ctx ends. Decisions are handed on in their
// order; onState, which may be nil, is given every state, one after the other.
func (s Shop) Watch(ctx context.Context, config *rest.Config, onState func(State), onDecision func(Decision)) (*Watcher, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", s.Namespace, err)
	}
	w := &Watcher{shop: s, client: client, world: newWorld(), changed: make(chan struct{}), onState: onState}
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, 0, s.Namespace, nil)
	handlers := map[schema.GroupVersionResource]cache.ResourceEventHandler{events: tell(onDecision)}
	for _, resource := range []schema.GroupVersionResource{virtualServices, destinationRules, deployments, revisions, pods} {
		handlers[resource] = w.follow(resource)
	}
	for resource, h := range handlers {
		if _, err := factory.ForResource(resource).Informer().AddEventHandler(h); err != nil {
			return nil, fmt.Errorf("watch %s: %w", resource.Resource, err)
		}
	}
	factory.Start(ctx.Done())
	for resource, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return nil, fmt.Errorf("watch %s: %w", resource.Resource, context.Cause(ctx))
		}
	}
	return w, nil
}

func tell(onDecision func(Decision)) cache.ResourceEventHandler {
	see := func(o any) {
		if d, ok := readDecision(o.(*unstructured.Unstructured)); ok && onDecision != nil {
			onDecision(d)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, o any) { see(o) }}
}

// follow keeps the world up to date with the objects of a kind.
func (w *Watcher) follow(resource schema.GroupVersionResource) cache.ResourceEventHandler {
	see := func(o any) {
		w.change(func(all *world) { all.put(resource, o.(*unstructured.Unstructured)) })
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    see,
		UpdateFunc: func(_, o any) { see(o) },
		DeleteFunc: func(o any) {
			if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = unknown.Obj
			}
			w.change(func(all *world) { all.drop(resource, o.(*unstructured.Unstructured)) })
		},
	}
}

func (w *Watcher) change(f func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.world)
	w.state = w.world.state()
	if w.onState != nil {
		w.onState(w.state)
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

// State is the newest one.
func (w *Watcher) State() State {
	s, _ := w.now()
	return s
}

func (w *Watcher) now() (State, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, w.changed
}

// Wait waits until the state is as wanted. What for is named in the error.
func (w *Watcher) Wait(ctx context.Context, limit time.Duration, what string, wanted func(State) bool) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		s, changed := w.now()
		if wanted(s) {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s, fmt.Errorf("wait for %s: %w; it is %s since %s", what, context.Cause(ctx), s.Phase, s.Reason)
		}
	}
}

// readDecision reads an Event, if it is the controller's.
func readDecision(e *unstructured.Unstructured) (Decision, bool) {
	text := func(path ...string) string {
		v, _, _ := unstructured.NestedString(e.Object, path...)
		return v
	}
	if text("reportingController") != "serin.dev/controller" {
		return Decision{}, false
	}
	at, err := time.Parse(metav1.RFC3339Micro, text("eventTime"))
	if err != nil {
		at = e.GetCreationTimestamp().Time
	}
	return Decision{At: at, About: text("regarding", "kind") + " " + text("regarding", "name"), Reason: text("reason"), Sentence: text("note"), Warning: text("type") == "Warning"}, true
}
