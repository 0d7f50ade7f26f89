package apiserver

import (
	"maps"
	"slices"
	"strings"
)

// kind is a kind of objects, and what the real server does with them that another
// kind may not know.
type kind struct {
	name, version, resource string
	// counted objects have a generation, which goes up with every change of more
	// than metadata and status.
	counted bool
	// status is written by controllers only; what anybody else sends of it is
	// ignored.
	status bool
	// guarded objects are not replaced by somebody who doesn't say which version of
	// them was read.
	guarded bool
	// managed objects tell by managedFields who wrote what. The real server does so
	// with all; here it is done where somebody goes by it.
	managed bool
}

var kinds = []kind{
	{name: "Deployment", version: "apps/v1", resource: "deployments", counted: true, status: true},
	{name: "ReplicaSet", version: "apps/v1", resource: "replicasets", counted: true, status: true},
	{name: "ControllerRevision", version: "apps/v1", resource: "controllerrevisions"},
	{name: "Pod", version: "v1", resource: "pods", status: true},
	{name: "Service", version: "v1", resource: "services", status: true},
	{name: "Namespace", version: "v1", resource: "namespaces", status: true},
	{name: "ConfigMap", version: "v1", resource: "configmaps"},
	{name: "ResourceQuota", version: "v1", resource: "resourcequotas", status: true},
	{name: "Event", version: "events.k8s.io/v1", resource: "events"},
	{name: "Lease", version: "coordination.k8s.io/v1", resource: "leases", guarded: true},
	{name: "VirtualService", version: "networking.istio.io/v1", resource: "virtualservices", counted: true, status: true, guarded: true, managed: true},
	{name: "DestinationRule", version: "networking.istio.io/v1", resource: "destinationrules", counted: true, status: true, guarded: true, managed: true},
	{name: "HorizontalPodAutoscaler", version: "autoscaling/v2", resource: "horizontalpodautoscalers", status: true},
	{name: "PodDisruptionBudget", version: "policy/v1", resource: "poddisruptionbudgets", counted: true, status: true, guarded: true},
	{name: "MutatingAdmissionPolicy", version: "admissionregistration.k8s.io/v1", resource: "mutatingadmissionpolicies", counted: true},
	{name: "MutatingAdmissionPolicyBinding", version: "admissionregistration.k8s.io/v1", resource: "mutatingadmissionpolicybindings", counted: true},
}

// APIVersions are those of the kinds it knows.
var APIVersions = func() map[string]string {
	out := map[string]string{}
	for _, k := range kinds {
		out[k.name] = k.version
	}
	return out
}()

var (
	byCollection = indexed(kind.collection)
	byName       = indexed(func(k kind) string { return k.name })
)

func indexed(by func(kind) string) map[string]*kind {
	out := map[string]*kind{}
	for i := range kinds {
		out[by(kinds[i])] = &kinds[i]
	}
	return out
}

// collection is the path of all objects of the kind, in all namespaces.
func (k kind) collection() string {
	if !strings.Contains(k.version, "/") {
		return "/api/" + k.version + "/" + k.resource
	}
	return "/apis/" + k.version + "/" + k.resource
}

func (k kind) group() string {
	group, _, grouped := strings.Cut(k.version, "/")
	if !grouped {
		return ""
	}
	return group
}

// target is what a request's path names.
type target struct {
	*kind                        // nil: a kind that nobody knows
	namespace, name, subresource string
}

// parseTarget reads a path such as /apis/apps/v1/namespaces/shop/deployments/web.
func parseTarget(path string) target {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	n := 2 // api/v1
	if parts[0] == "apis" {
		n = 3
	}
	if len(parts) <= n {
		return target{}
	}
	base, rest := "/"+strings.Join(parts[:n], "/"), parts[n:]
	var t target
	if rest[0] == "namespaces" && len(rest) > 2 {
		t.namespace, rest = rest[1], rest[2:]
	}
	t.kind = byCollection[base+"/"+rest[0]]
	if len(rest) > 1 {
		t.name = rest[1]
	}
	t.subresource = strings.Join(rest[min(2, len(rest)):], "/")
	return t
}

func (t target) path() string { return t.collection() + "/" + t.namespace + "/" + t.name }

func named(kind, ns, name string) target {
	return target{kind: byName[kind], namespace: ns, name: name}
}

func targetOf(o map[string]any) target {
	m := Meta(o)
	kind, _ := o["kind"].(string)
	ns, _ := m["namespace"].(string)
	name, _ := m["name"].(string)
	return named(kind, ns, name)
}

// sortedPaths are the paths of objects, in the order in which lists have them.
func sortedPaths(objects map[string]*object) []string { return slices.Sorted(maps.Keys(objects)) }
