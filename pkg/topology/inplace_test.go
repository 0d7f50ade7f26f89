package topology_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"serin.dev/serin/internal/golden"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/topology/topologytest"
)

// change is one edit of the manifests of testdata/inplace.yaml: old text, new
// text. Every old text must be there; without one, a manifest is added.
type change [2]string

const (
	optIn   = `{serin.dev/canary: "true"}`
	labels  = "{app: web, version: v1}"
	request = "resources: {requests: {cpu: 100m, memory: 64Mi}}"
	// ofOurs is the metadata of what a release of Service web made.
	ofOurs = "namespace: shop, labels: {app.kubernetes.io/managed-by: serin, serin.dev/service: web, serin.dev/track: canary}"
)

func annotated(key, value string) change {
	return change{optIn, fmt.Sprintf(`{serin.dev/canary: "true", %s: %s}`, key, value)}
}

// add is one more object; spec is written on one line.
func add(kind, name, namespace, spec string) change {
	return change{"", fmt.Sprintf("kind: %s\nmetadata: {name: %s, namespace: %s, creationTimestamp: \"2026-02-01T00:00:00Z\"}\nspec: %s", kind, name, namespace, spec)}
}

func addService(name, spec string) change   { return add("Service", name, "shop", spec) }
func addRule(namespace, spec string) change { return add("DestinationRule", "theirs", namespace, spec) }

func addRoutes(name, namespace, spec string) change {
	return add("VirtualService", name, namespace, spec)
}

func addDeployment(name, labels string, replicas int) change {
	return add("Deployment", name, "shop", fmt.Sprintf("{replicas: %d, template: {metadata: {labels: %s}}}", replicas, labels))
}

func ours(kind, name, spec string) change {
	return change{"", fmt.Sprintf("kind: %s\nmetadata: {name: %s, %s}\nspec: %s", kind, name, ofOurs, spec)}
}

// clone is our canary Deployment.
func clone(ready int) change {
	return change{"", fmt.Sprintf(`kind: Deployment
metadata:
  name: web-canary
  namespace: shop
  labels: {app.kubernetes.io/managed-by: serin, serin.dev/service: web, serin.dev/track: canary}
  ownerReferences: [{kind: Deployment, name: web, controller: true}]
spec: {replicas: %d, template: {metadata: {labels: {app: web, version: v2, serin.dev/track: canary}}}}`, ready)}
}

// with are facts that no manifest tells.
type with func(*topology.Objects, *topology.Question)

func guard(state string) with {
	return func(o *topology.Objects, _ *topology.Question) { o.Around.Guard = state }
}

func active(o *topology.Objects, q *topology.Question) { q.Active = true }

// left is what a ResourceQuota leaves.
func left(name string, amounts map[string]int64) with {
	return func(o *topology.Objects, _ *topology.Question) {
		key := canary.ObjectKey{Kind: "ResourceQuota", Namespace: "shop", Name: name}
		o.Around.Quotas = append(o.Around.Quotas, topology.Quota{Key: key, Left: amounts})
	}
}

func pods(n int) with {
	return func(o *topology.Objects, _ *topology.Question) { o.CanaryPods = n }
}

func all(facts ...with) with {
	return func(o *topology.Objects, q *topology.Question) {
		for _, f := range facts {
			f(o, q)
		}
	}
}

// A blocking finding is written with a "!".
var inPlaceTraps = []struct {
	name    string
	changes []change
	with    with
	want    string
}{
	{"one Deployment and its Service have nothing to find, without any route or rule", nil, guard(topology.GuardThere), ""},
	{"with routes that name no subset there is nothing to find either", []change{
		addRoutes("web", "shop", "{hosts: [web], http: [{route: [{destination: {host: web}}]}]}"),
		addRoutes("edge", "shop", "{hosts: [shop.example.com], gateways: [public], http: [{route: [{destination: {host: web}}]}]}")}, nil, ""},
	{"nor with a rule and a subset of the user's", []change{
		addRule("shop", "{host: web, subsets: [{name: v1, labels: {version: v1}}]}"),
		addRoutes("web", "shop", "{hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}")}, nil, ""},
	{"nor while a release is under way", []change{clone(1),
		ours("DestinationRule", "web-serin", "{host: web, subsets: [{name: serin-stable, labels: {pod-template-hash: abc}}, {name: serin-canary, labels: {serin.dev/track: canary}}]}"),
		ours("VirtualService", "web-serin", "{hosts: [web], http: [{route: [{destination: {host: web, subset: serin-stable}, weight: 90}, {destination: {host: web, subset: serin-canary}, weight: 10}]}]}")},
		all(active, guard(topology.GuardThere), pods(1)), ""},

	{"the operator has switched in-place mode off", nil, guard(topology.GuardOff), "!InPlaceSwitchedOff"},
	{"the guard is gone", nil, guard(topology.GuardAbsent), "!GuardMissing"},
	{"the guard is gone, but what it held can be released", []change{annotated(topology.HeldKey, "why"), {"  replicas: 3\n", "  replicas: 3\n  paused: true\n"}}, guard(topology.GuardAbsent), "GuardMissing"},
	{"the guard is gone in mid-release", nil, all(active, guard(topology.GuardAbsent)), "GuardMissing"},
	{"a standing pause needs no guard", nil, guard(topology.GuardPause), ""},
	{"a server-side apply names spec.paused", []change{{"  annotations: " + optIn,
		"  annotations: " + optIn + "\n  managedFields:\n  - {manager: argocd-controller, operation: Apply, fieldsV1: {\"f:spec\": {\"f:paused\": {}, \"f:template\": {}}}}"}}, nil,
		"ManifestSetsPaused"},
	{"somebody paused it once, which no manifest does", []change{{"  annotations: " + optIn,
		"  annotations: " + optIn + "\n  managedFields:\n  - {manager: kubectl-rollout, operation: Update, fieldsV1: {\"f:spec\": {\"f:paused\": {}}}}\n  - {manager: argocd-controller, operation: Apply, fieldsV1: {\"f:spec\": {\"f:template\": {}}}}"}}, nil, ""},
	{"the manifest of the last kubectl apply names spec.paused", []change{annotated("kubectl.kubernetes.io/last-applied-configuration", `'{"spec": {"paused": false, "replicas": 3}}'`)}, nil,
		"ManifestSetsPaused"},
	{"the manifest of the last kubectl apply does not", []change{annotated("kubectl.kubernetes.io/last-applied-configuration", `'{"spec": {"replicas": 3}}'`)}, nil, ""},

	{"no Service selects the pods", []change{{"selector: {app: web}", "selector: {app: shop}"}, annotated("serin.dev/service", "web")}, nil, "!ServiceMissing"},
	{"the named Service does not exist", []change{{"kind: Service\nmetadata: {name: web,", "kind: Service\nmetadata: {name: webs,"}, annotated("serin.dev/service", "web")}, nil, "!ServiceMissing"},
	{"two Services select the pods and no route says which is meant", []change{addService("internal", "{selector: {app: web}}")}, nil,
		"!ServiceAmbiguous ClientsBypassRoutes"},
	{"two Services select the pods and one is named", []change{addService("internal", "{selector: {app: web}}"), annotated("serin.dev/service", "web")}, nil,
		"ClientsBypassRoutes"},
	{"two Services select the pods and routes lead to one", []change{addService("internal", "{selector: {app: web}}"),
		addRoutes("edge", "shop", "{hosts: [shop.example.com], gateways: [public], http: [{route: [{destination: {host: web}}]}]}")}, nil,
		"ClientsBypassRoutes"},
	{"a headless twin is no second Service", []change{addService("web-pods", "{clusterIP: None, selector: {app: web}}")}, nil, ""},
	{"the Service is headless", []change{{"  type: ClusterIP\n", "  clusterIP: None\n"}}, nil, "!HeadlessService"},
	{"the Service is a name for something outside", []change{{"type: ClusterIP", "type: ExternalName"}}, nil, "!HeadlessService"},
	{"the namespace is in ambient mode", []change{{"", "kind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}"}}, nil, "!AmbientUnsupported"},

	{"another Deployment is behind the Service", []change{annotated("serin.dev/mode", "in-place"), addDeployment("legacy", "{app: web, version: v0}", 2)}, nil, "!OtherDeploymentBehindService"},
	{"another Deployment is behind the Service, scaled to none", []change{annotated("serin.dev/mode", "in-place"), addDeployment("legacy", "{app: web, version: v0}", 0)}, nil, ""},
	{"another Deployment asks to be released through the Service", []change{
		{"", "kind: Deployment\nmetadata: {name: cart, namespace: shop, annotations: {serin.dev/canary: \"true\", serin.dev/service: web}}\nspec: {replicas: 1, template: {metadata: {labels: {app: cart}}}}"}}, nil,
		"!OtherDeploymentBehindService"},
	{"our own canary is no other Deployment", []change{clone(1)}, active, ""},
	{"the canary of another Service of the same pods is not ours", []change{clone(1), {"serin.dev/service: web,", "serin.dev/service: internal,"}}, nil, "!NameTaken"},

	{"the named VirtualService is misspelt", []change{annotated("serin.dev/virtual-service", "wbe"),
		addRoutes("web", "shop", "{hosts: [web], http: [{route: [{destination: {host: web}}]}]}")}, nil,
		"!VirtualServiceMissing !ForeignVirtualService"},
	{"a TCP route leads to the Service", []change{addRoutes("web", "shop", "{hosts: [web], tcp: [{route: [{destination: {host: web}}]}]}")}, nil, "!TCPRouteUnsupported"},
	{"one of the ports is TCP", []change{{"  - {name: http, port: 80}\n", "  - {name: http, port: 80}\n  - {name: tcp-admin, port: 81}\n"}}, nil, "PortsWithoutWeights"},
	{"all ports are TCP", []change{{"  - {name: http, port: 80}\n", "  - {name: tcp, port: 80}\n"}}, nil, "!PortsWithoutWeights"},

	{"a Deployment has the canary's name", []change{addDeployment("web-canary", "{app: web, version: v9}", 0)}, nil, "!NameTaken"},
	{"a DestinationRule has our rule's name", []change{add("DestinationRule", "web-serin", "shop", "{host: web}")}, nil, "!NameTaken"},
	{"a VirtualService has our VirtualService's name", []change{addRoutes("web-serin", "shop", "{hosts: [web], http: [{route: [{destination: {host: web}}]}]}")}, nil, "!NameTaken"},
	{"objects of these names in other namespaces are nobody's business", []change{add("VirtualService", "web-serin", "front", "{hosts: [cart]}")}, nil, ""},
	{"a rule of the user's has a subset of our name", []change{addRule("shop", "{host: web, subsets: [{name: v1}, {name: serin-stable, labels: {version: v1}}]}")}, nil, "!NameTaken"},

	{"a rule of a client's namespace hides ours", []change{addRule("front", "{host: web.shop.svc.cluster.local}")}, nil, "!DestinationRuleHidden"},
	{"a wildcard rule of a client's namespace hides ours", []change{addRule("front", `{host: "*.local"}`)}, nil, "!DestinationRuleHidden"},
	{"a rule of the root namespace is only a fallback", []change{addRule("istio-system", `{host: "*.local"}`)}, nil, ""},
	{"a private rule of the root namespace hides ours from gateways there", []change{addRule("istio-system", `{host: "*.local", exportTo: ["."]}`)}, nil, "!DestinationRuleHidden"},
	{"a rule with a workloadSelector hides ours from some clients", []change{addRule("shop", "{host: web, workloadSelector: {matchLabels: {app: cart}}}")}, nil, "!DestinationRuleHidden"},
	{"a rule of another Service hides nothing", []change{addRule("front", "{host: cart.shop}")}, nil, ""},

	{"the user's rule is private, the routes of the gateway are not", []change{addRule("shop", `{host: web, exportTo: ["."]}`),
		addRoutes("edge", "shop", "{hosts: [shop.example.com], gateways: [public], http: [{route: [{destination: {host: web}}]}]}")}, nil, "!DestinationRulePrivate"},
	{"rule and routes are both private", []change{addRule("shop", `{host: web, exportTo: ["."]}`),
		addRoutes("web", "shop", "{hosts: [web], exportTo: [shop], http: [{route: [{destination: {host: web}}]}]}")}, nil, ""},
	{"the rule is exported to all that see the routes", []change{addRule("shop", `{host: web, exportTo: [".", front]}`),
		addRoutes("web", "shop", "{hosts: [web], exportTo: [shop, front], http: [{route: [{destination: {host: web}}]}]}")}, nil, ""},
	{"in mid-release a gateway's VirtualService comes, that sees more than the private rule", []change{addRule("shop", `{host: web, exportTo: ["."]}`),
		ours("DestinationRule", "web-serin", `{host: web, exportTo: ["."], subsets: [{name: serin-stable}]}`),
		addRoutes("edge", "shop", "{hosts: [shop.example.com], gateways: [public], http: [{route: [{destination: {host: web}}]}]}")}, active, "!DestinationRulePrivate"},
	{"who sees a delegate is said by the one that delegates, so that only clients in the mesh are told of", []change{addRule("shop", `{host: web, exportTo: [".", front]}`),
		addRoutes("web", "shop", "{http: [{route: [{destination: {host: web}}]}]}"),
		addRoutes("edge", "front", `{hosts: [shop.example.com], gateways: [public], exportTo: ["."], http: [{delegate: {name: web, namespace: shop}}]}`)}, nil, "DestinationRulePrivate"},
	{"the rule is private and the routes will be ours", []change{addRule("shop", `{host: web, exportTo: ["."]}`)}, nil, "DestinationRulePrivate"},
	{"a private wildcard rule is in the way just the same", []change{addRule("shop", `{host: "*.local", exportTo: ["."]}`),
		addRoutes("edge", "shop", "{hosts: [shop.example.com], gateways: [public], http: [{route: [{destination: {host: web}}]}]}")}, nil, "!DestinationRulePrivate"},

	{"an older VirtualService has the same mesh host", []change{
		addRoutes("web", "shop", "{hosts: [web], http: [{route: [{destination: {host: web}}]}]}"),
		{"", "kind: VirtualService\nmetadata: {name: old, namespace: shop, creationTimestamp: \"2025-01-01T00:00:00Z\"}\nspec: {hosts: [web.shop.svc.cluster.local], http: [{route: [{destination: {host: cart}}]}]}"}}, nil,
		"!VirtualServiceConflict"},
	{"in mid-release the user makes a VirtualService of the host that ours has", []change{
		ours("VirtualService", "web-serin", "{hosts: [web], http: [{route: [{destination: {host: web, subset: serin-stable}}]}]}"),
		addRoutes("web", "shop", "{hosts: [web], http: [{route: [{destination: {host: web}}]}]}")}, active,
		"VirtualServiceConflict"},

	{"a VirtualService of another namespace leads to the Service", []change{
		addRoutes("edge", "front", "{hosts: [shop.example.com], gateways: [public], http: [{route: [{destination: {host: web.shop}}]}]}")}, nil, "ForeignVirtualService"},
	{"so it does in mid-release, and the pods are counted", []change{clone(1),
		addRoutes("edge", "front", "{hosts: [shop.example.com], gateways: [public], http: [{route: [{destination: {host: web.shop}}]}]}")}, active, "ForeignVirtualService"},
	{"a VirtualService of another namespace names a subset that selects the canary's pods too", []change{
		addRule("shop", "{host: web, subsets: [{name: v1, labels: {version: v1}}]}"),
		addRoutes("edge", "front", "{hosts: [shop.example.com], gateways: [public], http: [{route: [{destination: {host: web.shop, subset: v1}}]}]}")}, nil, "ForeignVirtualService"},
	{"a VirtualService of another namespace names a subset that does not", []change{
		addRule("shop", "{host: web, subsets: [{name: v0, labels: {version: v0}}]}"),
		addRoutes("edge", "front", "{hosts: [shop.example.com], gateways: [public], http: [{route: [{destination: {host: web.shop, subset: v0}}]}]}")}, nil, "ForeignVirtualService"},
	{"a VirtualService of the namespace is not named", []change{annotated("serin.dev/virtual-service", "web"),
		addRoutes("web", "shop", "{hosts: [web], http: [{route: [{destination: {host: web}}]}]}"),
		addRoutes("edge", "shop", "{hosts: [shop.example.com], gateways: [public], http: [{route: [{destination: {host: web}}]}]}")}, nil, "!ForeignVirtualService"},

	{"the Service is of type NodePort", []change{{"type: ClusterIP", "type: NodePort"}}, nil, "ClientsOutsideMesh"},
	{"the Service is of type LoadBalancer, with one pod behind it", []change{{"type: ClusterIP", "type: LoadBalancer"}, {"replicas: 3", "replicas: 1"}}, nil, "ClientsOutsideMesh"},

	{"an autoscaler sizes the Deployment", []change{add("HorizontalPodAutoscaler", "web", "shop", "{scaleTargetRef: {kind: Deployment, name: web}}")}, nil, "AutoscalerCountsCanary"},
	{"an autoscaler sizes another one", []change{add("HorizontalPodAutoscaler", "cart", "shop", "{scaleTargetRef: {kind: Deployment, name: cart}}")}, nil, ""},
	{"a disruption budget counts the pods", []change{add("PodDisruptionBudget", "web", "shop", "{minAvailable: 2, selector: {matchLabels: {app: web}}}")}, nil, "DisruptionBudgetCountsCanary"},
	{"a disruption budget with a number for maxUnavailable holds for all pods together", []change{add("PodDisruptionBudget", "web", "shop", "{maxUnavailable: 1, selector: {matchLabels: {app: web}}}")}, nil, ""},
	{"a disruption budget with a part for maxUnavailable does not", []change{add("PodDisruptionBudget", "web", "shop", "{maxUnavailable: 50%, selector: {matchLabels: {app: web}}}")}, nil, "DisruptionBudgetCountsCanary"},
	{"a disruption budget counts other pods", []change{add("PodDisruptionBudget", "cart", "shop", "{minAvailable: 2, selector: {matchLabels: {app: cart}}}")}, nil, ""},

	{"the quota has room for some of the pods", nil, left("team", map[string]int64{"requests.cpu": 250, "pods": 10}), "QuotaTooSmall"},
	{"the quota has room for no pod", nil, left("team", map[string]int64{"requests.memory": 63 << 20}), "!QuotaTooSmall"},
	{"the quota is short of several resources", nil, left("team", map[string]int64{"requests.cpu": 350, "requests.memory": 130 << 20, "pods": 1}), "QuotaTooSmall"},
	{"the quota has room for all and not one more", nil, left("team", map[string]int64{"requests.cpu": 400, "requests.memory": 256 << 20, "pods": 4, "limits.cpu": -1}), ""},
	{"the quota is of what the pods don't ask for", nil, left("team", map[string]int64{"limits.cpu": 0, "services": 0}), ""},
	{"canary pods that are there need no room", nil, all(active, pods(3), left("team", map[string]int64{"pods": 1})), ""},
	{"a quota that is full in mid-release is told", nil, all(active, pods(1), left("team", map[string]int64{"pods": 0})), "QuotaTooSmall"},
	{"a Deployment that is recreated has no pods beside its size", []change{{"  replicas: 3\n", "  replicas: 3\n  strategy: {type: Recreate}\n"}}, left("team", map[string]int64{"pods": 3}), ""},
	{"a Deployment without pods needs none", []change{{"  replicas: 3\n", "  replicas: 0\n"}}, left("team", map[string]int64{"pods": 0}), ""},
	{"the sidecar's annotations count", []change{{"metadata: {labels: " + labels + "}",
		"metadata: {labels: " + labels + ", annotations: {sidecar.istio.io/proxyCPU: 50m}}"}}, left("team", map[string]int64{"requests.cpu": 400}), "QuotaTooSmall"},
}

func TestFindingsInPlace(t *testing.T) {
	var text strings.Builder
	for _, c := range inPlaceTraps {
		t.Run(c.name, func(t *testing.T) {
			o := topologytest.Load(t, "shop", "web", inPlace(t, c.changes...))
			q := topology.Question{
				Stable:  topology.Role{Deployment: "web", Subset: "serin-stable"},
				Canary:  topology.Role{Deployment: "web-canary", Subset: "serin-canary"},
				InPlace: true,
			}
			if c.with != nil {
				c.with(&o, &q)
			}
			subject, _ := topology.ByName(o, "web")
			found := topology.Preflight(o, topology.Find(o, topology.HintsOf(subject)), q)
			fmt.Fprintf(&text, "== %s\n", c.name)
			if got := tell(&text, found); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
	golden.Check(t, "inplace.golden", text.String())
}

// tell writes findings as people see them, and returns their reasons.
func tell(to *strings.Builder, found []canary.Finding) string {
	var reasons []string
	for _, f := range found {
		sign := ""
		if f.Blocking {
			sign = "!"
		}
		reasons = append(reasons, sign+string(f.Reason))
		fmt.Fprintf(to, "%s%s: %s\n", sign, f.Reason, f.Sentence())
		for line := range strings.Lines(f.YAML) {
			to.WriteString("    | " + line)
		}
	}
	return strings.Join(reasons, " ")
}

func inPlace(t *testing.T, changes ...change) string {
	t.Helper()
	b, err := os.ReadFile("testdata/inplace.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, c := range changes {
		switch {
		case c[0] == "":
			text += "\n---\n" + c[1]
		case !strings.Contains(text, c[0]):
			t.Fatalf("%q is not in the manifests", c[0])
		default:
			text = strings.Replace(text, c[0], c[1], 1)
		}
	}
	return text
}

func TestGuardUnneeded(t *testing.T) {
	pairOf := func(annotations string) string {
		return fmt.Sprintf(`
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}}
---
kind: Deployment
metadata: {name: web-v1, namespace: shop}
spec: {template: {metadata: {labels: {app: web, version: v1}}}}
---
kind: Deployment
metadata: {name: web-v2, namespace: shop, annotations: {%s}}
spec: {template: {metadata: {labels: {app: web, version: v2}}}}`, annotations)
	}
	for _, c := range []struct{ name, annotations, guard, want string }{
		{"one of a pair that does not say so is held by the guard", `serin.dev/canary: "true"`, topology.GuardThere,
			"Deployment shop/web-v2 metadata.annotations[serin.dev/mode]: it is one of a pair, but the guard of in-place mode can't know: each change of its template is paused until Serin lets it go. Say that it is one of a pair"},
		{"one that says so is not", `serin.dev/canary: "true", serin.dev/mode: pair`, topology.GuardThere, ""},
		{"nor one that is only observed", `serin.dev/canary: observe`, topology.GuardThere, ""},
		{"without a guard nothing is held", `serin.dev/canary: "true"`, topology.GuardOff, ""},
		{"a standing pause is of those alone that are updated in place", `serin.dev/canary: "true"`, topology.GuardPause, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := topologytest.Load(t, "shop", "web", pairOf(c.annotations))
			o.Around.Guard = c.guard
			q := topology.Question{Canary: topology.Role{Deployment: "web-v2"}, Stable: topology.Role{Deployment: "web-v1"}}
			got := ""
			for _, f := range topology.Preflight(o, topology.Find(o, topology.Hints{}), q) {
				if f.Reason == canary.GuardUnneeded {
					got += f.Sentence()
				}
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
