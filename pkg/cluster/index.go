package cluster

import (
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
)

// anyService marks a DestinationRule whose host is a pattern.
const anyService = "*"

var routeIndexers = cache.Indexers{
	byService:  indexRoutes(func(r *routes) []string { return r.leads }),
	byState:    indexRoutes(func(r *routes) []string { return r.states }),
	byHost:     indexRoutes(func(r *routes) []string { return r.hosts }),
	byDelegate: indexRoutes(func(r *routes) []string { return r.delegates }),
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
	return keysOf(r.leads)
}

func (c *Cache) servicesOfRule(o any) []Key {
	r, ok := o.(*rule)
	if !ok || r.target == "" {
		return nil
	}
	if r.target != anyService {
		return keysOf([]string{r.target})
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
	var keys []Key
	for _, name := range topology.ServicesOf(d.reduced, c.servicesReduced(d.Namespace)) {
		keys = append(keys, Key{Namespace: d.Namespace, Name: name})
	}
	return keys
}

func (c *Cache) servicesReduced(ns string) []topology.Service {
	var out []topology.Service
	for _, s := range list[*service](c.services, cache.NamespaceIndex, ns) {
		out = append(out, s.reduced)
	}
	return out
}
