package pair

import (
	"fmt"
	"strings"
	"testing"

	"serin.dev/serin/internal/golden"
	"serin.dev/serin/pkg/canary"
)

const (
	theRoute  = "    - destination: {host: web, subset: v1}\n"
	bothAlive = "    - destination: {host: web, subset: v1}\n      weight: 80\n    - destination: {host: web, subset: v2}\n      weight: 20\n"
	theRule   = "  - {name: v1, labels: {version: v1}}\n  - {name: v2, labels: {version: v2}}\n"
	optIn     = `{serin.dev/canary: "true"}`
)

func hint(key, value string) change {
	return change{optIn, fmt.Sprintf(`{serin.dev/canary: "true", %s: %s}`, key, value)}
}

// another is one more VirtualService.
func another(name, namespace, created, spec string) change {
	return change{"", fmt.Sprintf("kind: VirtualService\nmetadata: {name: %s, namespace: %s, resourceVersion: \"1\", creationTimestamp: %q}\nspec:\n%s", name, namespace, created, spec)}
}

func anotherRule(name, namespace, spec string) change {
	return change{"", fmt.Sprintf("kind: DestinationRule\nmetadata: {name: %s, namespace: %s}\nspec: %s\n", name, namespace, spec)}
}

// A blocking finding is written with a "!".
var traps = []struct {
	name    string
	changes []change
	want    string
}{
	{"the plain case has nothing to find", nil, ""},

	{"no Service selects the pods", []change{{"selector: {app: web}", "selector: {app: shop}"}, hint("serin.dev/service", "web")},
		"!ServiceMissing"},
	{"the named Service does not exist", []change{{"kind: Service\nmetadata: {name: web,", "kind: Service\nmetadata: {name: webs,"}, hint("serin.dev/service", "web")},
		"!ServiceMissing"},
	{"two Services select the pods and routes lead to both", []change{
		{"", "kind: Service\nmetadata: {name: web-2, namespace: shop}\nspec: {selector: {app: web}}"},
		another("web-2", "shop", "2026-01-01T00:00:00Z", "  hosts: [web-2]\n  http:\n  - route:\n    - destination: {host: web-2, subset: v1}\n")},
		"!ServiceAmbiguous"},
	{"a headless twin to which no route leads is no second Service", []change{
		{"", "kind: Service\nmetadata: {name: web-headless, namespace: shop}\nspec: {selector: {app: web}}"}}, ""},
	{"two Services select the pods but one is named", []change{
		{"", "kind: Service\nmetadata: {name: web-2, namespace: shop}\nspec: {selector: {app: web}}"},
		another("web-2", "shop", "2026-01-01T00:00:00Z", "  hosts: [web-2]\n  http:\n  - route:\n    - destination: {host: web-2, subset: v1}\n"),
		hint("serin.dev/service", "web")}, ""},
	{"the namespace is in ambient mode", []change{
		{"", "kind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}"}},
		"!AmbientUnsupported"},

	{"the route leads to a subset without labels, which is every pod", []change{
		{theRoute, "    - destination: {host: web, subset: every}\n"}, {theRule, theRule + "  - {name: every}\n"}},
		"!SubsetAmbiguous !SubsetAmbiguous"},

	{"no VirtualService leads to the Service", []change{{theRoute, "    - destination: {host: cart, subset: v1}\n"}},
		"!VirtualServiceMissing"},
	{"the named VirtualService is misspelt", []change{hint("serin.dev/virtual-service", "wbe")},
		"!VirtualServiceMissing ForeignVirtualService"},
	{"the named VirtualService leads elsewhere", []change{
		another("cart", "shop", "2026-01-01T00:00:00Z", "  hosts: [cart]\n  http:\n  - route:\n    - destination: {host: cart}\n"),
		hint("serin.dev/virtual-service", `"web, cart"`)},
		"!VirtualServiceMissing"},
	{"a TCP route leads to the Service", []change{{"  http:\n", "  tcp:\n  - route:\n    - destination: {host: web.shop, subset: v1}\n  http:\n"}},
		"!TCPRouteUnsupported"},
	{"a TLS route leads to the Service", []change{{"  http:\n", "  tls:\n  - route:\n    - destination: {host: web.shop.svc.cluster.local}\n  http:\n"}},
		"!TCPRouteUnsupported"},

	{"there is no DestinationRule", []change{{"  host: web\n", "  host: cart\n"}},
		"!DestinationRuleMissing"},
	{"the canary has no subset", []change{{"  - {name: v2, labels: {version: v2}}\n", ""}},
		"!SubsetMissing"},
	{"the subset in the route does not exist", []change{{"subset: v1}", "subset: v11}"}},
		"!SubsetMissing"},
	{"two subsets select the canary's pods", []change{{theRule, theRule + "  - {name: next, labels: {version: v2}}\n"}},
		"!SubsetAmbiguous"},
	{"of two subsets that select the canary's pods one is named", []change{{theRule, theRule + "  - {name: next, labels: {version: v2}}\n"}, hint("serin.dev/canary-subset", "next")},
		""},
	{"one subset selects both Deployments", []change{{theRule, "  - {name: v1, labels: {app: web}}\n  - {name: v2, labels: {version: v2}}\n"}},
		"!SubsetAmbiguous !SubsetAmbiguous"},
	{"a third subset selects both but no route leads to it", []change{{theRule, theRule + "  - {name: all, labels: {app: web}}\n"}}, ""},
	{"the pods differ in no label", []change{{"{app: web, version: v2}", "{app: web, version: v1}"}},
		"!SubsetAmbiguous !SubsetAmbiguous"},
	{"the named canary subset is misspelt", []change{hint("serin.dev/canary-subset", "v3")},
		"!SubsetMissing"},
	{"the named canary subset selects other pods", []change{{theRule, theRule + "  - {name: v9, labels: {version: v9}}\n"}, hint("serin.dev/canary-subset", "v9")},
		"!SubsetMissing"},
	{"two DestinationRules of one host are one", []change{{"  - {name: v2, labels: {version: v2}}\n", ""},
		anotherRule("web-more", "shop", "{host: web.shop.svc.cluster.local, subsets: [{name: v2, labels: {version: v2}}]}")}, ""},
	{"the DestinationRule is in Istio's root namespace", []change{{"metadata: {name: web, namespace: shop}\nspec:\n  host: web\n", "metadata: {name: web, namespace: istio-system}\nspec:\n  host: web.shop\n"}}, ""},
	{"a rule of a client's namespace hides ours", []change{
		anotherRule("web", "front", "{host: web.shop.svc.cluster.local, subsets: [{name: v1, labels: {version: v1}}]}")},
		"!DestinationRuleHidden"},
	{"a wildcard rule of a client's namespace hides ours", []change{anotherRule("mtls", "front", `{host: "*.local"}`)},
		"!DestinationRuleHidden"},
	{"the same wildcard in the root namespace is only a fallback", []change{anotherRule("mtls", "istio-system", `{host: "*.local"}`)}, ""},
	{"a rule of a client's namespace with the same subsets hides nothing", []change{
		anotherRule("web", "front", "{host: web.shop, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}")}, ""},
	{"a rule for some clients alone hides ours from them", []change{
		anotherRule("cart", "shop", "{host: web, workloadSelector: {matchLabels: {app: cart}}, subsets: [{name: v1, labels: {version: v1}}]}")},
		"!DestinationRuleHidden"},
	{"a rule for some clients alone tells the versions apart for no others", []change{{"  host: web\n", "  workloadSelector: {matchLabels: {app: cart}}\n  host: web\n"}},
		"!DestinationRuleMissing"},

	{"a destination names no subset", []change{{theRoute, "    - destination: {host: web}\n"}},
		"!DestinationWithoutSubset"},
	{"a destination leads to a subset that selects both", []change{
		{theRule, theRule + "  - {name: all, labels: {app: web}}\n"},
		{theRoute, theRoute + "  - match: [{uri: {prefix: /all}}]\n    route:\n    - destination: {host: web, subset: all}\n"}},
		"!SubsetAmbiguous"},
	{"the canary is alone with weight 0", []change{
		{theRoute, theRoute + "  - match: [{uri: {prefix: /new}}]\n    route:\n    - destination: {host: web, subset: v2}\n      weight: 0\n"}},
		"!CanaryIsLoneDestination"},
	{"the weights are split by hand", []change{{theRoute, bothAlive}},
		"!WeightsSplitByHand"},
	{"the user's own header route to the canary is adopted", []change{{"  http:\n", "  http:\n  - match: [{headers: {end-user: {exact: jason}}}]\n    route:\n    - destination: {host: web, subset: v2}\n"}},
		"HeaderRouteAdopted"},
	{"a Deployment that has all the traffic is no split", []change{{theRoute, "    - destination: {host: web, subset: v2}\n"}}, ""},

	{"an older VirtualService has the same mesh host", []change{
		another("web-old", "shop", "2025-01-01T00:00:00Z", "  hosts: [web.shop.svc.cluster.local]\n  http:\n  - route:\n    - destination: {host: cart}\n")},
		"!VirtualServiceConflict"},
	{"a younger VirtualService with the same mesh host is ignored itself", []change{
		another("web-new", "shop", "2027-01-01T00:00:00Z", "  hosts: [web]\n  http:\n  - route:\n    - destination: {host: cart}\n")}, ""},
	{"an older VirtualService of the same host on a gateway is no conflict", []change{
		another("web-gw", "shop", "2025-01-01T00:00:00Z", "  hosts: [web]\n  gateways: [public]\n  http:\n  - route:\n    - destination: {host: web, subset: v1}\n")}, ""},
	{"an older private VirtualService of another namespace is not seen", []change{
		another("web", "front", "2025-01-01T00:00:00Z", "  hosts: [web.shop.svc.cluster.local]\n  exportTo: [\".\"]\n  http:\n  - route:\n    - destination: {host: cart}\n")}, ""},
	{"a VirtualService of another namespace leads to the Service", []change{
		another("edge", "front", "2026-01-01T00:00:00Z", "  hosts: [shop.example.com]\n  gateways: [public]\n  http:\n  - route:\n    - destination: {host: web.shop, subset: v1}\n")},
		"ForeignVirtualService"},
	{"a VirtualService of another namespace leaks to the canary", []change{
		another("edge", "front", "2026-01-01T00:00:00Z", "  hosts: [shop.example.com]\n  gateways: [public]\n  http:\n  - route:\n    - destination: {host: web.shop.svc.cluster.local}\n")},
		"ForeignVirtualService"},
	{"a VirtualService that is not named leads to the Service", []change{hint("serin.dev/virtual-service", "web"),
		another("edge", "shop", "2026-01-01T00:00:00Z", "  hosts: [shop.example.com]\n  gateways: [public]\n  http:\n  - route:\n    - destination: {host: web, subset: v1}\n")},
		"ForeignVirtualService"},
	{"a VirtualService that is not named leaks to the canary", []change{hint("serin.dev/virtual-service", "web"),
		another("edge", "shop", "2026-01-01T00:00:00Z", "  hosts: [shop.example.com]\n  gateways: [public]\n  http:\n  - route:\n    - destination: {host: web}\n")},
		"!ForeignVirtualService"},
	{"a VirtualService that is not named leads to a subset that selects both", []change{hint("serin.dev/virtual-service", "web"),
		{theRule, theRule + "  - {name: all, labels: {app: web}}\n"},
		another("edge", "shop", "2026-01-01T00:00:00Z", "  hosts: [shop.example.com]\n  gateways: [public]\n  http:\n  - route:\n    - destination: {host: web, subset: all}\n")},
		"!ForeignVirtualService"},
	{"only a gateway goes by the routes", []change{{"  hosts: [web]\n", "  hosts: [shop.example.com]\n  gateways: [public]\n"}},
		"ClientsBypassRoutes"},
	{"a delegate of the mesh's VirtualService covers its clients", []change{{"  hosts: [web]\n", ""},
		another("root", "front", "2026-01-01T00:00:00Z", "  hosts: [web.shop.svc.cluster.local]\n  http:\n  - delegate: {name: web, namespace: shop}\n")}, ""},

	{"there is no stable Deployment", []change{{"kind: Deployment\nmetadata: {name: web-v1, namespace: shop,", "kind: Deployment\nmetadata: {name: web-v1, namespace: other,"}},
		"!StableDeploymentMissing"},
	{"a third Deployment asks for the same routes", []change{{theRule, theRule + "  - {name: v3, labels: {version: v3}}\n"},
		{"", "kind: Deployment\nmetadata: {name: web-v3, namespace: shop, creationTimestamp: \"2026-03-01T00:00:00Z\", annotations: {serin.dev/canary: \"true\"}}\nspec: {replicas: 1, template: {metadata: {labels: {app: web, version: v3}}}}"}},
		"RouteClaimed"},
}

func TestFindings(t *testing.T) {
	var all strings.Builder
	for _, c := range traps {
		t.Run(c.name, func(t *testing.T) {
			o := shop(t, c.changes...)
			got := Observe(o, canary.State{})
			if got.Subject != "web-v2" || !got.OptedIn {
				t.Errorf("the subject is %q", got.Subject)
			}
			var reasons []string
			fmt.Fprintf(&all, "== %s\n", c.name)
			for _, f := range got.Findings {
				sign := ""
				if f.Blocking {
					sign = "!"
				}
				reasons = append(reasons, sign+string(f.Reason))
				fmt.Fprintf(&all, "%s%s: %s\n", sign, f.Reason, f.Sentence())
				for line := range strings.Lines(f.YAML) {
					all.WriteString("    | " + line)
				}
			}
			if s := strings.Join(reasons, " "); s != c.want {
				t.Errorf("found %q, want %q", s, c.want)
			}
		})
	}
	golden.Check(t, "findings.golden", all.String())
}
