package shop

import (
	"context"
	"encoding/json"
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
	virtualServices = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}
	events          = schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}
)

// The phases the controller's state goes through at a release's end.
const (
	Succeeded   = "Succeeded"
	RollingBack = "RollingBack"
	RolledBack  = "RolledBack"
)

// State is what the VirtualService carries: the routes, and where the rollout
// stands.
type State struct {
	Rollout string    `json:"rollout"` // empty: none is known
	Phase   string    `json:"phase"`
	Step    int       `json:"step"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Started time.Time `json:"started"`
	Since   time.Time `json:"since"`
	Canary  struct {
		Subset string `json:"s"`
	} `json:"canary"`

	// Shares are the subsets' shares of the users' requests, in percent.
	Shares map[string]int `json:"-"`
	// HeaderTo is the subset the header route leads to; empty without one.
	HeaderTo string `json:"-"`
}

// Decision is one of the controller's Events.
type Decision struct {
	At       time.Time
	Reason   string
	Sentence string
	Warning  bool
}

// Watcher follows one shop.
type Watcher struct {
	mu      sync.Mutex
	state   State
	changed chan struct{} // closed when the state changes
}

// Watch follows the shop until ctx ends. Decisions are handed on in their
// order; onState, which may be nil, is given every state.
func (s Shop) Watch(ctx context.Context, config *rest.Config, onState func(State), onDecision func(Decision)) (*Watcher, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", s.Namespace, err)
	}
	w := &Watcher{changed: make(chan struct{})}
	routes := handler(func(o *unstructured.Unstructured) {
		state := readState(o)
		w.set(state)
		if onState != nil {
			onState(state)
		}
	})
	told := handler(func(o *unstructured.Unstructured) {
		if d, ok := readDecision(o); ok && onDecision != nil {
			onDecision(d)
		}
	})
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, 0, s.Namespace, nil)
	for resource, h := range map[schema.GroupVersionResource]cache.ResourceEventHandler{virtualServices: routes, events: told} {
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

func handler(f func(*unstructured.Unstructured)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f(o.(*unstructured.Unstructured)) },
		UpdateFunc: func(_, o any) { f(o.(*unstructured.Unstructured)) },
	}
}

func (w *Watcher) set(s State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
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

// readState reads a VirtualService of a shop, which has one route for the
// users. What can't be read is left empty, for others may write it too.
func readState(vs *unstructured.Unstructured) State {
	s := State{Shares: map[string]int{}}
	if text := vs.GetAnnotations()["serin.dev/state.web"]; text != "" {
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			s.Message = fmt.Sprintf("the state is unreadable: %v", err)
		}
	}
	routes, _, _ := unstructured.NestedSlice(vs.Object, "spec", "http")
	for _, r := range routes {
		route, _ := r.(map[string]any)
		destinations, _, _ := unstructured.NestedSlice(route, "route")
		for _, d := range destinations {
			destination, _ := d.(map[string]any)
			subset, _, _ := unstructured.NestedString(destination, "destination", "subset")
			if _, matches := route["match"]; matches {
				s.HeaderTo = subset
				continue
			}
			weight, _, _ := unstructured.NestedInt64(destination, "weight")
			s.Shares[subset] = int(weight)
		}
	}
	return s
}

// readDecision reads an Event, if it is the controller's.
func readDecision(e *unstructured.Unstructured) (Decision, bool) {
	text := func(key string) string {
		v, _, _ := unstructured.NestedString(e.Object, key)
		return v
	}
	if text("reportingController") != "serin.dev/controller" {
		return Decision{}, false
	}
	at, err := time.Parse(metav1.RFC3339Micro, text("eventTime"))
	if err != nil {
		at = e.GetCreationTimestamp().Time
	}
	return Decision{At: at, Reason: text("reason"), Sentence: text("note"), Warning: text("type") == "Warning"}, true
}
