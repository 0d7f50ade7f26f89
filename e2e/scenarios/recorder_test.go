package scenarios

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"serin.dev/serin/e2e/scenarios/invariant"
)

var virtualServices = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}

// recorder keeps every version of the VirtualServices of a namespace.
type recorder struct {
	service string
	carrier string // the VirtualService whose state is looked at
	watcher *watchtools.RetryWatcher

	mu       sync.Mutex
	versions []invariant.Version
	hands    map[string]bool // resource versions that the scenario wrote
	trouble  error           // what kept versions from being seen
	changed  chan struct{}   // closed and replaced with every version
}

// record begins with what is there, and sees everything from then on.
func record(t *testing.T, trees dynamic.Interface, namespace, service, carrier string) *recorder {
	t.Helper()
	client := trees.Resource(virtualServices).Namespace(namespace)
	there, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{service: service, carrier: carrier, hands: map[string]bool{}, changed: make(chan struct{})}
	for i := range there.Items {
		r.add(&there.Items[i])
		r.hands[there.Items[i].GetResourceVersion()] = true
	}
	r.watcher, err = watchtools.NewRetryWatcherWithContext(t.Context(), there.GetResourceVersion(), &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return client.Watch(ctx, o) },
	})
	if err != nil {
		t.Fatal(err)
	}
	go r.run()
	return r
}

func (r *recorder) run() {
	for event := range r.watcher.ResultChan() {
		switch o := event.Object.(type) {
		case *unstructured.Unstructured:
			if event.Type == watch.Deleted {
				r.keep(invariant.Version{Name: o.GetName()})
				continue
			}
			r.add(o)
		default:
			r.mu.Lock()
			r.trouble = errors.Join(r.trouble, fmt.Errorf("the watch shows %s: %v", event.Type, event.Object))
			r.mu.Unlock()
		}
	}
}

func (r *recorder) add(o *unstructured.Unstructured) {
	r.keep(invariant.Version{Name: o.GetName(), Doc: o.Object})
}

func (r *recorder) keep(v invariant.Version) {
	v.Seen = time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.versions = append(r.versions, v)
	close(r.changed)
	r.changed = make(chan struct{})
}

// byHand tells that the scenario wrote this version.
func (r *recorder) byHand(resourceVersion string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hands[resourceVersion] = true
}

// all are the versions so far, and a channel that is closed when there is
// another one.
func (r *recorder) all() ([]invariant.Version, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]invariant.Version, len(r.versions))
	for i, v := range r.versions {
		version, _, _ := unstructured.NestedString(v.Doc, "metadata", "resourceVersion")
		v.ByHand = r.hands[version]
		out[i] = v
	}
	return out, r.changed
}

// last is the newest version of a VirtualService.
func (r *recorder) last(name string) invariant.Version {
	versions, _ := r.all()
	for i := len(versions) - 1; i >= 0; i-- {
		if versions[i].Name == name {
			return versions[i]
		}
	}
	return invariant.Version{}
}

// state is what the newest version of the VirtualService that is looked at says.
func (r *recorder) state() invariant.State {
	s, _ := invariant.StateOf(r.last(r.carrier).Doc, r.service)
	return s
}

// trace tells all versions in a line each, with the canary's shares.
func (r *recorder) trace(subsets invariant.Subsets) string {
	var b strings.Builder
	versions, _ := r.all()
	for i, v := range versions {
		by := "serin"
		if v.ByHand {
			by = "a hand"
		}
		if v.Doc == nil {
			fmt.Fprintf(&b, "%3d %s %s is deleted\n", i+1, v.Seen.Format("15:04:05.000"), v.Name)
			continue
		}
		s, ok := invariant.StateOf(v.Doc, r.service)
		shares := ""
		for _, share := range invariant.Shares(v.Doc, r.service, subsets, s.Canary.Subset) {
			shares += fmt.Sprintf(" %g%%", share.Percent)
		}
		fmt.Fprintf(&b, "%3d %s %s by %s:%s, %d header routes", i+1, v.Seen.Format("15:04:05.000"), v.Name, by, shares, invariant.HeaderRoutes(v.Doc))
		if ok {
			fmt.Fprintf(&b, "; %s#%d %s step %d %d%% %s: %s", s.Rollout, s.Sequence, s.Phase, s.Step, s.Weight, s.Reason, s.Message)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
