package cluster

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"

	"serin.dev/serin/pkg/topology"
)

// The indexes of the caches, so that one Service is found without walking all.
const (
	byService  = "service"  // objects that concern a Service, as ns/name
	byState    = "state"    // VirtualServices that carry a Service's state
	byHost     = "host"     // VirtualServices by their hosts
	byDelegate = "delegate" // VirtualServices by those they delegate to
	byPurpose  = "purpose"  // objects of ours by the Service they were made for
	byActive   = "active"   // VirtualServices that carry a Service's state of a rollout under way
	byInPlace  = "in-place" // VirtualServices that carry a Service's state of a release in place
)

// anyService marks a DestinationRule whose host is a pattern.
const anyService = "*"

var routeIndexers = cache.Indexers{
	byService:  indexRoutes(func(r *routes) []string { return r.leads }),
	byState:    indexRoutes(func(r *routes) []string { return r.states }),
	byHost:     indexRoutes(func(r *routes) []string { return r.hosts }),
	byDelegate: indexRoutes(func(r *routes) []string { return r.delegates }),
	byPurpose:  indexPurpose,
	byActive:   indexRoutes(func(r *routes) []string { return r.active }),
	byInPlace:  indexRoutes(func(r *routes) []string { return r.inPlace }),
}

var (
	deploymentIndexers = cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc, byPurpose: indexPurpose}
	ruleIndexers       = cache.Indexers{byService: indexRule, byPurpose: indexPurpose}
)

// indexPurpose indexes what Serin made beside a release in place.
func indexPurpose(o any) ([]string, error) {
	if made, ok := o.(interface{ madeFor() string }); ok && made.madeFor() != "" {
		return []string{made.madeFor()}, nil
	}
	return nil, nil
}

func indexRoutes(values func(*routes) []string) cache.IndexFunc {
	return func(o any) ([]string, error) {
		if r, ok := o.(*routes); ok {
			return values(r), nil
		}
		return nil, nil
	}
}

func indexRule(o any) ([]string, error) {
	if r, ok := o.(*rule); ok && r.target != "" {
		return []string{r.target}, nil
	}
	return nil, nil
}

func indexRevision(o any) ([]string, error) {
	if r, ok := o.(*revision); ok {
		return []string{r.Namespace + "/" + r.Labels[ServiceLabel]}, nil
	}
	return nil, nil
}

// serviceOf resolves a host to the Service it may mean, as ns/name, seen from a
// namespace; anyService for a pattern, empty for what can be no Service.
func serviceOf(host, ns, domain string) string {
	if strings.Contains(host, "*") {
		return anyService
	}
	if ref, ok := topology.HostService(host, ns, domain); ok {
		return ref.Namespace + "/" + ref.Name
	}
	return ""
}

// hostsOf are the hosts of a VirtualService as written.
func hostsOf(doc map[string]any) []string {
	hosts, _, _ := unstructured.NestedStringSlice(doc, "spec", "hosts")
	return hosts
}

// delegatesOf names the VirtualServices a root delegates to, as ns/name.
func delegatesOf(doc map[string]any, ns string) []string {
	var out []string
	http, _, _ := unstructured.NestedFieldNoCopy(doc, "spec", "http")
	routes, _ := http.([]any)
	for _, r := range routes {
		tree, _ := r.(map[string]any)
		name, found, _ := unstructured.NestedString(tree, "delegate", "name")
		if !found {
			continue
		}
		in, _, _ := unstructured.NestedString(tree, "delegate", "namespace")
		if in == "" {
			in = ns
		}
		out = append(out, in+"/"+name)
	}
	return unique(out)
}

func keyOf(s string) Key {
	ns, name, _ := strings.Cut(s, "/")
	return Key{Namespace: ns, Name: name}
}

func keysOf(all []string) []Key {
	keys := make([]Key, 0, len(all))
	for _, s := range all {
		keys = append(keys, keyOf(s))
	}
	return keys
}

// What follows maps a changed object to the Services it concerns.

func itself(o any) []Key {
	s, ok := o.(*service)
	if !ok {
		return nil
	}
	return []Key{{Namespace: s.Namespace, Name: s.Name}}
}

func serviceOfRevision(o any) []Key {
	keys, _ := indexRevision(o)
	return keysOf(keys)
}

func servicesOfRoutes(o any) []Key {
	r, ok := o.(*routes)
	if !ok {
		return nil
	}
	return keysOf(withPurpose(r.leads, r.purpose))
}

// withPurpose adds the Service that an object of ours was made for, wherever it
// may lead by now.
func withPurpose(services []string, p purpose) []string {
	if p == "" || slices.Contains(services, string(p)) {
		return services
	}
	return append(slices.Clone(services), string(p))
}

func (c *Cache) servicesOfRule(o any) []Key {
	r, ok := o.(*rule)
	switch {
	case !ok:
		return nil
	case r.target == "":
		return keysOf(withPurpose(nil, r.purpose))
	}
	if r.target != anyService {
		return keysOf(withPurpose([]string{r.target}, r.purpose))
	}
	return c.servicesIn(r.Namespace)
}

func (c *Cache) servicesOfNamespace(o any) []Key {
	n, ok := o.(*namespace)
	if !ok {
		return nil
	}
	return c.servicesIn(n.Name)
}

func (c *Cache) servicesIn(ns string) []Key {
	var keys []Key
	for _, s := range list[*service](c.services, cache.NamespaceIndex, ns) {
		keys = append(keys, Key{Namespace: ns, Name: s.Name})
	}
	return keys
}

func (c *Cache) servicesOfDeployment(o any) []Key {
	d, ok := o.(*deployment)
	if !ok {
		return nil
	}
	var all []string
	for _, name := range topology.ServicesOf(d.reduced, c.servicesReduced(d.Namespace)) {
		all = append(all, d.Namespace+"/"+name)
	}
	return keysOf(withPurpose(all, d.purpose))
}

func (c *Cache) servicesReduced(ns string) []topology.Service {
	found := list[*service](c.services, cache.NamespaceIndex, ns)
	out := make([]topology.Service, 0, len(found))
	for _, s := range found {
		out = append(out, s.reduced)
	}
	return out
}
