package controller

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/topology"
)

// ownWrites remembers VirtualServices newer than the informer has them: what
// our own writes made of them, what a conflict showed, and those that we made or
// removed. Decisions rest on these until the informer has caught up, so that no
// pass undoes or repeats what the one before it wrote.
type ownWrites struct {
	mu      sync.Mutex
	objects map[canary.ObjectKey]ownWrite
	began   time.Time
	written map[cluster.Key]time.Time
}

type ownWrite struct {
	topology.VirtualService
	gone bool // we removed it; of it only the version is known
	at   time.Time
}

// unseenFor is how long an object that we made is believed to exist while the
// informer has none: somebody may have removed it before the informer saw it.
const unseenFor = 10 * time.Second

func newOwnWrites() *ownWrites {
	return &ownWrites{objects: map[canary.ObjectKey]ownWrite{}, began: time.Now(), written: map[cluster.Key]time.Time{}}
}

// wrote notes that routes of a Service were written, or tried to be: a write
// without an answer may have been done.
func (w *ownWrites) wrote(k cluster.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written[k] = time.Now()
}

// lead notes that this replica leads from now on: until now another may have
// written.
func (w *ownWrites) lead() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began = time.Now()
}

// routesWritten is when routes of a Service were last written; of what was before
// this replica led nobody knows more than that it was before.
func (w *ownWrites) routesWritten(k cluster.Key) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at, found := w.written[k]; found {
		return at
	}
	return w.began
}

func (w *ownWrites) forget(k cluster.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.written, k)
}

// remember keeps an object as the API server returned it.
func (w *ownWrites) remember(k canary.ObjectKey, body []byte) error {
	var doc map[string]any
	if err := utiljson.Unmarshal(body, &doc); err != nil {
		return fmt.Errorf("read the server's answer about %s: %w", k, err)
	}
	u := unstructured.Unstructured{Object: doc}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.objects[k] = ownWrite{at: time.Now(), VirtualService: topology.VirtualService{
		Key: k, ResourceVersion: u.GetResourceVersion(), Created: u.GetCreationTimestamp().Time, Doc: doc,
	}}
	return nil
}

// removed keeps that we removed an object of a version.
func (w *ownWrites) removed(k canary.ObjectKey, version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.objects[k] = ownWrite{at: time.Now(), gone: true, VirtualService: topology.VirtualService{Key: k, ResourceVersion: version}}
}

// overlay gives the VirtualServices of a Service as they are, where the informer
// is behind, and forgets where it has caught up: the newer copies, without those
// that we removed, and with those that we made for it. Any other that the informer
// no longer has is gone.
func (w *ownWrites) overlay(k cluster.Key, read []topology.VirtualService) []topology.VirtualService {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []topology.VirtualService
	seen := map[canary.ObjectKey]bool{}
	for _, v := range read {
		seen[v.Key] = true
		newer, ok := w.objects[v.Key]
		switch {
		case !ok:
		case newer.caughtUp(v):
			delete(w.objects, v.Key)
		case newer.gone:
			continue
		default:
			v = newer.VirtualService
		}
		out = append(out, v)
	}
	for key, made := range w.objects {
		if seen[key] || key.Namespace != k.Namespace {
			continue
		}
		ours := topology.Ours(made.Doc, k.Name)
		switch unseen := time.Since(made.at) >= unseenFor; {
		case unseen && (ours || made.gone):
			delete(w.objects, key)
		case ours:
			out = append(out, made.VirtualService)
		}
	}
	slices.SortFunc(out, func(a, b topology.VirtualService) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	return out
}

// caughtUp tells that what the informer has is no older. Versions that can't be
// compared are of a server that gives no order: the informer's is then the only
// one to go by.
func (w ownWrite) caughtUp(read topology.VirtualService) bool {
	order, err := resourceversion.CompareResourceVersion(read.ResourceVersion, w.ResourceVersion)
	return err != nil || order > 0 || order == 0 && !w.gone
}
