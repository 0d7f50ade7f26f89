package contract

import "time"

// resource is a kind of objects with paths, and one object of it.
type resource struct {
	kind, version, plural string
	spec                  func() tree // what an object has beside its metadata
}

var (
	virtualServices = resource{"VirtualService", "networking.istio.io/v1", "virtualservices", func() tree {
		return tree{"spec": tree{"hosts": []any{"web"}, "http": routes("v1")}}
	}}
	destinationRules = resource{"DestinationRule", "networking.istio.io/v1", "destinationrules", func() tree {
		return tree{"spec": tree{"host": "web", "subsets": []any{tree{"name": "v1", "labels": tree{"version": "v1"}}}}}
	}}
	deployments = resource{"Deployment", "apps/v1", "deployments", func() tree {
		return tree{"spec": deploymentSpec(0, "missing/web:v1")}
	}}
	replicaSets = resource{"ReplicaSet", "apps/v1", "replicasets", func() tree {
		return tree{"spec": tree{"replicas": 0, "selector": tree{"matchLabels": tree{"app": "web"}}, "template": template("missing/web:v1")}}
	}}
	controllerRevisions = resource{"ControllerRevision", "apps/v1", "controllerrevisions", func() tree {
		return tree{"revision": 1, "data": tree{"version": 1, "rollout": "abc"}}
	}}
	services = resource{"Service", "v1", "services", func() tree {
		return tree{"spec": tree{"selector": tree{"app": "web"}, "ports": []any{tree{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}}}}
	}}
	pods = resource{"Pod", "v1", "pods", func() tree {
		return tree{"spec": tree{"serviceAccountName": "default", "automountServiceAccountToken": false, "containers": []any{tree{"name": "web", "image": "missing/web:v1"}}}}
	}}
	leases = resource{"Lease", "coordination.k8s.io/v1", "leases", func() tree {
		return tree{"spec": tree{"holderIdentity": "first", "leaseDurationSeconds": 15}}
	}}
	namespaceKind = resource{"Namespace", "v1", "namespaces", func() tree { return nil }}
	events        = resource{"Event", "events.k8s.io/v1", "events", func() tree {
		return tree{
			"eventTime": time.Now().UTC().Format("2006-01-02T15:04:05.000000Z07:00"), "reportingController": "serin.dev/controller",
			"reportingInstance": "here", "action": "Release", "reason": "Started", "type": "Normal", "note": "begins",
		}
	}}
	autoscalers = resource{"HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers", func() tree {
		return tree{"spec": tree{"maxReplicas": 3, "scaleTargetRef": tree{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}
	}}
	budgets = resource{"PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", func() tree {
		return tree{"spec": tree{"maxUnavailable": 1, "selector": tree{"matchLabels": tree{"app": "web"}}}}
	}}
	quotas = resource{"ResourceQuota", "v1", "resourcequotas", func() tree {
		return tree{"spec": tree{"hard": tree{"configmaps": "9"}}}
	}}
	configMaps = resource{"ConfigMap", "v1", "configmaps", func() tree {
		return tree{"data": tree{"key": "value"}}
	}}
)

// written are the kinds that Serin replaces over a version that it has read.
var written = []resource{virtualServices, destinationRules, deployments}

// made are the kinds that it makes objects of.
var made = []resource{virtualServices, destinationRules, deployments, controllerRevisions, events, leases}

func routes(subset string) []any {
	return []any{tree{"route": []any{tree{"destination": tree{"host": "web", "subset": subset}, "weight": 100}}}}
}

func template(image string) tree {
	return tree{
		"metadata": tree{"labels": tree{"app": "web"}},
		"spec": tree{"containers": []any{tree{
			"name": "web", "image": image, "ports": []any{tree{"containerPort": 8080}}, "env": []any{tree{"name": "VERSION", "value": "v1"}},
		}}},
	}
}

func deploymentSpec(replicas int, image string) tree {
	return tree{"replicas": replicas, "selector": tree{"matchLabels": tree{"app": "web"}}, "template": template(image)}
}

// everywhere is the path of all objects of the kind.
func (r resource) everywhere() string { return r.base() + "/" + r.plural }

func (r resource) base() string {
	if r.version == "v1" {
		return "/api/v1"
	}
	return "/apis/" + r.version
}

// all is the path of the kind's objects in the client's namespace.
func (c *client) all(r resource) string { return r.base() + "/namespaces/" + c.ns + "/" + r.plural }

// one is the path of one of them.
func (c *client) one(r resource, name string) string { return c.all(r) + "/" + name }

// new is an object that is not there yet.
func (c *client) new(r resource, name string, metadata tree) tree {
	m := tree{"name": name, "namespace": c.ns}
	for k, v := range metadata {
		m[k] = v
	}
	o := tree{"kind": r.kind, "apiVersion": r.version, "metadata": m}
	for k, v := range r.spec() {
		o[k] = v
	}
	if r.kind == events.kind {
		o["regarding"] = tree{"kind": "Service", "apiVersion": "v1", "namespace": c.ns, "name": "web"}
	}
	return o
}

// make makes an object, and gives it as the server has it.
func (c *client) make(r resource, name string, metadata tree) tree {
	c.Helper()
	return c.settled(r, name, c.must(201, c.post(c.all(r), c.new(r, name, metadata))))
}

// settled is an object after the controllers of its kind are done with it: the
// deployment controller writes into each Deployment.
func (c *client) settled(r resource, name string, o tree) tree {
	c.Helper()
	if r.kind != deployments.kind {
		return o
	}
	c.until("the Deployment is at rest", func() string {
		before := version(o)
		o = c.must(200, c.get(c.one(r, name)))
		if seen, is := at(o, "status", "observedGeneration"), at(o, "metadata", "generation"); seen != is || version(o) != before || at(o, "spec", "paused") == nil && at(o, "metadata", "annotations", revisionKey) == nil {
			return text(o)
		}
		return ""
	})
	return o
}

const revisionKey = "deployment.kubernetes.io/revision"

// with is a copy of an object in which one thing is another.
func with(o tree, value any, path ...string) tree {
	out := tree{}
	for k, v := range o {
		out[k] = v
	}
	if len(path) == 1 {
		out[path[0]] = value
		if value == nil {
			delete(out, path[0])
		}
		return out
	}
	inner, _ := out[path[0]].(tree)
	out[path[0]] = with(inner, value, path[1:]...)
	return out
}

// noted is an object with an annotation.
func noted(o tree, value string) tree {
	return with(o, value, "metadata", "annotations", "contract.serin.dev/note")
}
