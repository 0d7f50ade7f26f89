package torture

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"serin.dev/serin/e2e/scenarios/invariant"
)

var (
	virtualServices  = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}
	destinationRules = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "destinationrules"}
	deployments      = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

// version is one version of an object. Revisions of all objects are of one order.
type version struct {
	Resource, Namespace, Name string
	Revision                  int64
	Doc                       map[string]any // nil: it was deleted
	Seen                      time.Time
}

// chronicle keeps every version of the VirtualServices and DestinationRules of
// all namespaces, whatever becomes of the API server meanwhile.
type chronicle struct {
	trees dynamic.Interface

	mu       sync.Mutex
	versions map[string][]version // by namespace, in the order of revisions of each resource
	seen     int
	filled   int      // versions that no watch showed, read from the history
	gaps     []string // where the history did not reach back
	changed  chan struct{}
}

// chronicleOf begins with what there is, and sees everything from then on.
func chronicleOf(ctx context.Context, trees dynamic.Interface) (*chronicle, error) {
	c := &chronicle{trees: trees, versions: map[string][]version{}, changed: make(chan struct{})}
	for _, resource := range []schema.GroupVersionResource{virtualServices, destinationRules} {
		there, revision, err := c.list(ctx, resource, 0)
		if err != nil {
			return nil, err
		}
		for _, v := range there {
			c.keep(v)
		}
		go c.follow(ctx, resource, there, revision)
	}
	return c, nil
}

// snapshot is all objects of a resource at a time, by namespace and name.
type snapshot map[string]version

// list reads all objects at a revision, 0 for now, and says which one it is.
func (c *chronicle) list(ctx context.Context, resource schema.GroupVersionResource, at int64) (snapshot, int64, error) {
	var o metav1.ListOptions
	if at > 0 {
		o.ResourceVersion, o.ResourceVersionMatch = strconv.FormatInt(at, 10), metav1.ResourceVersionMatchExact
	}
	items, err := c.trees.Resource(resource).List(ctx, o)
	if err != nil {
		return nil, 0, err
	}
	out := snapshot{}
	for i := range items.Items {
		v, err := versionOf(resource, &items.Items[i])
		if err != nil {
			return nil, 0, err
		}
		out[v.Namespace+"/"+v.Name] = v
	}
	revision, err := strconv.ParseInt(items.GetResourceVersion(), 10, 64)
	return out, revision, err
}

// revision is that of a version that was parsed before.
func revision(doc map[string]any) int64 {
	text, _, _ := unstructured.NestedString(doc, "metadata", "resourceVersion")
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

func versionOf(resource schema.GroupVersionResource, o *unstructured.Unstructured) (version, error) {
	revision, err := strconv.ParseInt(o.GetResourceVersion(), 10, 64)
	return version{resource.Resource, o.GetNamespace(), o.GetName(), revision, o.Object, time.Now()}, err
}

// pause is the time between tries to reach the API server.
const pause = 100 * time.Millisecond

// follow watches a resource. Where the watch can't be continued, as after a
// restart of the API server, it reads what it has missed from the history.
func (c *chronicle) follow(ctx context.Context, resource schema.GroupVersionResource, now snapshot, revision int64) {
	for ctx.Err() == nil {
		var gone bool
		gone, revision = c.watch(ctx, resource, now, revision)
		if gone {
			latest, at, err := c.list(ctx, resource, 0)
			if err == nil {
				c.fill(ctx, resource, now, latest, revision, at)
				now, revision = latest, at
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// watch keeps what a watch shows until it ends; gone tells that none can begin
// where this one ended.
func (c *chronicle) watch(ctx context.Context, resource schema.GroupVersionResource, now snapshot, revision int64) (gone bool, at int64) {
	w, err := c.trees.Resource(resource).Watch(ctx, metav1.ListOptions{ResourceVersion: strconv.FormatInt(revision, 10), AllowWatchBookmarks: true})
	if err != nil {
		return apierrors.IsGone(err) || apierrors.IsResourceExpired(err), revision
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		o, is := event.Object.(*unstructured.Unstructured)
		if event.Type == watch.Error || !is {
			err := apierrors.FromObject(event.Object)
			return apierrors.IsGone(err) || apierrors.IsResourceExpired(err), revision
		}
		v, err := versionOf(resource, o)
		if err != nil {
			continue // of a bookmark that names none
		}
		revision = v.Revision
		switch event.Type {
		case watch.Bookmark:
			continue
		case watch.Deleted:
			v.Doc = nil
			delete(now, v.Namespace+"/"+v.Name)
		default:
			now[v.Namespace+"/"+v.Name] = v
		}
		c.keep(v)
	}
	return false, revision
}

// fill keeps all versions between two revisions, of which both ends are known.
func (c *chronicle) fill(ctx context.Context, resource schema.GroupVersionResource, before, after snapshot, from, to int64) {
	missed, err := between(func(at int64) (snapshot, error) {
		var s snapshot
		var err error
		for range 300 { // the API server may go away again
			s, _, err = c.list(ctx, resource, at)
			if err == nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || ctx.Err() != nil {
				break
			}
			time.Sleep(pause) //nolint:forbidigo // it is asked again
		}
		return s, err
	}, before, after, from, to)
	if err != nil {
		missed = changes(before, after, to)
		c.mu.Lock()
		c.gaps = append(c.gaps, fmt.Sprintf("%s from revision %d to %d: %v", resource.Resource, from, to, err))
		c.mu.Unlock()
	}
	for _, v := range missed {
		c.keep(v)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filled += len(missed)
}

// between finds all versions after a revision up to another by what there was
// at revisions between them.
func between(at func(int64) (snapshot, error), before, after snapshot, from, to int64) ([]version, error) {
	if same(before, after) {
		return nil, nil
	}
	if to-from <= 1 {
		return changes(before, after, to), nil
	}
	half := from + (to-from)/2
	middle, err := at(half)
	if err != nil {
		return nil, err
	}
	first, err := between(at, before, middle, from, half)
	second, err2 := between(at, middle, after, half, to)
	return append(first, second...), errors.Join(err, err2)
}

// same tells that nothing was written in between: what is written has another
// revision, and a new object too.
func same(a, b snapshot) bool {
	if len(a) != len(b) {
		return false
	}
	for key, v := range a {
		if b[key].Revision != v.Revision {
			return false
		}
	}
	return true
}

// changes are the versions that lead from one snapshot to the next.
func changes(before, after snapshot, at int64) []version {
	var out []version
	for key, v := range before {
		if _, is := after[key]; !is {
			v.Doc, v.Revision, v.Seen = nil, at, time.Now()
			out = append(out, v)
		}
	}
	for key, v := range after {
		if before[key].Revision != v.Revision {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b version) int { return int(a.Revision - b.Revision) })
	return out
}

func (c *chronicle) keep(v version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.versions[v.Namespace] = append(c.versions[v.Namespace], v)
	c.seen++
	close(c.changed)
	c.changed = make(chan struct{})
}

// of are the versions of a namespace so far, in the order in which they were
// written, and a channel that is closed when there is another one anywhere.
func (c *chronicle) of(namespace string) ([]version, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Clone(c.versions[namespace])
	slices.SortStableFunc(out, func(a, b version) int { return int(a.Revision - b.Revision) })
	return out, c.changed
}

// forget drops the versions of a namespace that were written before a revision,
// but for the last ones of each object.
func (c *chronicle) forget(namespace string, before int64) {
	all, _ := c.of(namespace)
	last := map[string]int64{}
	for _, v := range all {
		if v.Revision < before {
			last[v.Resource+"/"+v.Name] = v.Revision
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.versions[namespace] = slices.DeleteFunc(c.versions[namespace], func(v version) bool {
		old := v.Revision < last[v.Resource+"/"+v.Name]
		return old || v.Doc == nil && v.Revision < before
	})
}

// counts are how many versions were seen, how many of them were read from the
// history, and where it did not reach back.
func (c *chronicle) counts() (seen, filled int, gaps []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen, c.filled, slices.Clone(c.gaps)
}

// routesOf are the versions of VirtualServices as the invariants are checked on.
func routesOf(all []version) []invariant.Version {
	var out []invariant.Version
	for _, v := range all {
		if v.Resource == virtualServices.Resource {
			out = append(out, invariant.Version{Name: v.Name, Doc: v.Doc, Seen: v.Seen})
		}
	}
	return out
}

// latest is the newest version of an object; nil if there is none.
func latest(all []version, resource schema.GroupVersionResource, name string) map[string]any {
	for _, v := range slices.Backward(all) {
		if v.Resource == resource.Resource && v.Name == name {
			return v.Doc
		}
	}
	return nil
}

// undefined are the places in routes that at some time led to a subset of the
// Service that no DestinationRule defined.
func undefined(all []version, service string) (errs []error) {
	now := map[string]version{}
	for _, v := range all {
		now[v.Resource+"/"+v.Name] = v
		defined := map[string]bool{}
		for _, o := range now {
			if o.Resource == destinationRules.Resource {
				for _, name := range subsetsOf(o.Doc, service) {
					defined[name] = true
				}
			}
		}
		for _, o := range now {
			if o.Resource != virtualServices.Resource {
				continue
			}
			for _, name := range namedBy(o.Doc, service) {
				if !defined[name] {
					errs = append(errs, fmt.Errorf("after revision %d (%s %s) the VirtualService %s leads to the subset %s, which no rule defines", v.Revision, v.Resource, v.Name, o.Name, name))
				}
			}
		}
	}
	return errs
}

// subsetsOf are the subsets that a DestinationRule of the Service defines.
func subsetsOf(rule map[string]any, service string) []string {
	if host, _, _ := unstructured.NestedString(rule, "spec", "host"); !isHost(host, service) {
		return nil
	}
	var out []string
	subsets, _, _ := unstructured.NestedSlice(rule, "spec", "subsets")
	for _, s := range subsets {
		if name, is, _ := unstructured.NestedString(s.(map[string]any), "name"); is {
			out = append(out, name)
		}
	}
	return out
}

// namedBy are the subsets of the Service to which a VirtualService leads.
func namedBy(routes map[string]any, service string) []string {
	var out []string
	rules, _, _ := unstructured.NestedSlice(routes, "spec", "http")
	for _, rule := range rules {
		destinations, _, _ := unstructured.NestedSlice(rule.(map[string]any), "route")
		for _, d := range destinations {
			host, _, _ := unstructured.NestedString(d.(map[string]any), "destination", "host")
			subset, given, _ := unstructured.NestedString(d.(map[string]any), "destination", "subset")
			if given && isHost(host, service) {
				out = append(out, subset)
			}
		}
	}
	return out
}

func isHost(host, service string) bool {
	return host == service || len(host) > len(service) && host[:len(service)+1] == service+"."
}
