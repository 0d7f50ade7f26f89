package topology

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
)

// ServiceRef names a Service.
type ServiceRef struct{ Namespace, Name string }

// RoutesTo lists the Services to which a VirtualService's routes may lead, by
// its destinations' hosts, sorted, each once. Hosts that are no Service's are
// listed too where they could be one (example.com might be name.namespace):
// it is an index for finding whom a change concerns, not a judgement.
func RoutesTo(doc map[string]any, namespace, clusterDomain string) []ServiceRef {
	var refs []ServiceRef
	for _, d := range destinations(doc) {
		if ref, ok := refOf(d.host, namespace, clusterDomain); ok && !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	sort.Slice(refs, func(i, j int) bool {
		if refs[i].Namespace != refs[j].Namespace {
			return refs[i].Namespace < refs[j].Namespace
		}
		return refs[i].Name < refs[j].Name
	})
	return refs
}

// HostService is the Service that a DestinationRule's host may name; false for
// a wildcard and for a host that can't be a Service's.
func HostService(host, namespace, clusterDomain string) (ServiceRef, bool) {
	return refOf(host, namespace, clusterDomain)
}

// StateServices lists the Services whose state a VirtualService carries, sorted.
func StateServices(doc map[string]any) []string {
	var names []string
	for key := range annotations(doc) {
		if name, found := strings.CutPrefix(key, canary.StatePrefix); found && name != "" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

func refOf(host, namespace, clusterDomain string) (ServiceRef, bool) {
	host = strings.TrimSuffix(host, ".svc."+clusterDomain)
	host = strings.TrimSuffix(host, ".svc")
	name, rest, dotted := strings.Cut(host, ".")
	if !dotted {
		rest = namespace
	}
	if name == "" || rest == "" || strings.Contains(name, "*") || strings.Contains(rest, ".") {
		return ServiceRef{}, false
	}
	return ServiceRef{Namespace: rest, Name: name}, true
}

// destination is one place in a document that names a host to send requests to.
type destination struct {
	protocol string // http, tcp or tls
	path     string // spec.http[0].route[1]
	host     string
}

func destinations(doc map[string]any) []destination {
	var found []destination
	for _, protocol := range []string{"http", "tcp", "tls"} {
		for i, r := range list(child(doc, "spec"), protocol) {
			for j, d := range list(r, "route") {
				host, _ := child(d, "destination")["host"].(string)
				found = append(found, destination{protocol, fmt.Sprintf("spec.%s[%d].route[%d]", protocol, i, j), host})
			}
		}
	}
	return found
}

// leads tells whether any destination of a VirtualService is the Service.
func leads(vs VirtualService, s route.Service) bool {
	return slices.ContainsFunc(destinations(vs.Doc), func(d destination) bool {
		return s.Matches(d.host, vs.Key.Namespace)
	})
}

func annotations(doc map[string]any) map[string]any {
	return child(child(doc, "metadata"), "annotations")
}

// child, list and text read a JSON tree whose shape nobody has checked: what is
// not there or of another type is simply empty.
func child(node map[string]any, key string) map[string]any {
	c, _ := node[key].(map[string]any)
	return c
}

func list(node map[string]any, key string) []map[string]any {
	items, _ := node[key].([]any)
	maps := make([]map[string]any, len(items)) // an item of another type stays nil: indices are kept
	for i, item := range items {
		maps[i], _ = item.(map[string]any)
	}
	return maps
}

func texts(node map[string]any, key string) []string {
	items, _ := node[key].([]any)
	var found []string
	for _, item := range items {
		if s, ok := item.(string); ok {
			found = append(found, s)
		}
	}
	return found
}
