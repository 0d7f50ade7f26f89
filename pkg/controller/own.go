package controller

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// ownWrites remembers VirtualServices newer than the informer has them: what
// our own writes made of them, and what a conflict showed. Decisions rest on
// these until the informer has caught up, so that no pass undoes or repeats
// what the one before it wrote.
type ownWrites struct {
	mu      sync.Mutex
	objects map[canary.ObjectKey]topology.VirtualService
}

func newOwnWrites() *ownWrites {
	return &ownWrites{objects: map[canary.ObjectKey]topology.VirtualService{}}
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
	w.objects[k] = topology.VirtualService{
		Key: k, ResourceVersion: u.GetResourceVersion(), Created: u.GetCreationTimestamp().Time, Doc: doc,
	}
	return nil
}

// overlay puts the newer copies in the place of the informer's, and forgets
// those it has caught up with. An object the informer no longer has is gone.
func (w *ownWrites) overlay(read []topology.VirtualService) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, v := range read {
		newer, ok := w.objects[v.Key]
		if !ok {
			continue
		}
		// Versions that can't be compared are of a server that gives no order:
		// the informer's is then the only one to go by.
		if order, err := resourceversion.CompareResourceVersion(v.ResourceVersion, newer.ResourceVersion); err != nil || order >= 0 {
			delete(w.objects, v.Key)
			continue
		}
		read[i] = newer
	}
}
