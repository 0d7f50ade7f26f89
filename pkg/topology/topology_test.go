package topology_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/topology/topologytest"
)

func deployment(name string, labels, annotations map[string]string) topology.Deployment {
	return topology.Deployment{Name: name, TemplateLabels: labels, Annotations: annotations}
}

func TestServicesOf(t *testing.T) {
	services := []topology.Service{
		{Name: "web", Selector: map[string]string{"app": "web"}},
		{Name: "all", Selector: map[string]string{"team": "shop"}},
		{Name: "external"}, // without a selector
	}
	opted := func(more ...string) map[string]string {
		m := map[string]string{"serin.dev/canary": "true"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	web := map[string]string{"app": "web", "version": "v2"}
	for name, c := range map[string]struct {
		d    topology.Deployment
		want string
	}{
		"the one that selects its pods":                                    {deployment("web-v2", web, opted()), "web"},
		"all that select its pods":                                         {deployment("web-v2", map[string]string{"app": "web", "team": "shop"}, opted()), "all web"},
		"the named one alone":                                              {deployment("web-v2", web, opted("serin.dev/service", " all ")), "all"},
		"the named one though it does not exist":                           {deployment("web-v2", web, opted("serin.dev/service", "wbe")), "wbe"},
		"the one that selects its pods, where the named one is a host":     {deployment("web-v2", web, opted("serin.dev/service", "web.pay")), "web"},
		"the one that selects its pods, where the name is a path":          {deployment("web-v2", web, opted("serin.dev/service", "../../pay/services/web")), "web"},
		"the one that selects its pods, where the name is longer than any": {deployment("web-v2", web, opted("serin.dev/service", strings.Repeat("a", 64))), "web"},
		"its own name when none selects it":                                {deployment("cart", map[string]string{"app": "cart"}, opted()), "cart"},
		"none when none selects it and it is not opted in":                 {deployment("cart", map[string]string{"app": "cart"}, nil), ""},
		"a name on one that is not opted in means nothing":                 {deployment("web-v1", web, map[string]string{"serin.dev/service": "all"}), "web"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(topology.ServicesOf(c.d, services), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestCandidates(t *testing.T) {
	web := topology.Service{Name: "web", Selector: map[string]string{"app": "web"}}
	twin := topology.Service{Name: "web-pods", Selector: web.Selector, Headless: true}
	second := topology.Service{Name: "internal", Selector: web.Selector}
	labels, opted := map[string]string{"app": "web"}, map[string]string{"serin.dev/canary": "true"}
	one := deployment("web", labels, opted)
	clone := deployment("web-canary", labels, opted)
	clone.CloneOf = "web"
	for _, c := range []struct {
		name, service string
		services      []topology.Service
		deployments   []topology.Deployment
		want          string
	}{
		{"of its Service", "web", []topology.Service{web}, []topology.Deployment{one}, "web"},
		{"of its Service beside a headless twin", "web", []topology.Service{web, twin}, []topology.Deployment{one}, "web"},
		{"not of the headless twin", "web-pods", []topology.Service{web, twin}, []topology.Deployment{one}, ""},
		{"of a headless Service that is the only one", "web-pods", []topology.Service{twin}, []topology.Deployment{one}, "web"},
		{"of each of two Services, where nothing tells them apart", "internal", []topology.Service{web, second}, []topology.Deployment{one}, "web"},
		{"a canary of ours is none, whatever it says", "web", []topology.Service{web}, []topology.Deployment{one, clone}, "web"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := topology.Objects{Namespace: "shop", Service: c.service, Services: c.services, Deployments: c.deployments, ClusterDomain: "cluster.local"}
			var names []string
			for _, d := range topology.Candidates(o) {
				names = append(names, d.Name)
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDeploymentsOfKeepsStableThoughItNamesAnotherService(t *testing.T) {
	services := []topology.Service{{Name: "web", Selector: map[string]string{"app": "web"}}}
	all := []topology.Deployment{
		deployment("stable", map[string]string{"app": "web"}, map[string]string{"serin.dev/canary": "true", "serin.dev/service": "web-2"}),
		deployment("other", map[string]string{"app": "cart"}, nil),
		deployment("believes", map[string]string{"app": "cart"}, map[string]string{"serin.dev/canary": "true", "serin.dev/service": "web"}),
	}
	var names []string
	for _, d := range topology.DeploymentsOf("web", all, services) {
		names = append(names, d.Name)
	}
	if got := strings.Join(names, " "); got != "stable believes" {
		t.Error(got)
	}
}

func TestHintsOf(t *testing.T) {
	h := topology.HintsOf(deployment("web", nil, map[string]string{
		"serin.dev/virtual-service": " web, edge ,,web", "serin.dev/stable-subset": " v1 ",
	}))
	if !slices.Equal(h.VirtualServices, []string{"web", "edge"}) || h.StableSubset != "v1" || h.CanarySubset != "" || h.Service != "" {
		t.Errorf("%+v", h)
	}
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	doc, err := topologytest.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestRoutesTo(t *testing.T) {
	doc := decode(t, `
spec:
  http:
  - route:
    - destination: {host: web}
    - destination: {host: cart.other}
  - route:
    - destination: {host: web.shop.svc.cluster.local}
    - destination: {host: pay.bank.svc}
  - redirect: {uri: /}
  - route: [1, {destination: nonsense}]
  tcp:
  - route:
    - destination: {host: db}
  tls:
  - route:
    - destination: {host: "*.wild"}
    - destination: {host: www.api.example.com}
`)
	want := "[{bank pay} {other cart} {shop db} {shop web}]"
	if got := fmt.Sprint(topology.RoutesTo(doc, "shop", "cluster.local")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := topology.RoutesTo(decode(t, "spec: {http: 7}"), "shop", "cluster.local"); got != nil {
		t.Error(got)
	}
}

func TestHostService(t *testing.T) {
	for host, want := range map[string]string{
		"web": "shop/web", "web.other": "other/web", "web.other.svc.cluster.local": "other/web", "*.local": "", "": "", "a.b.c": "",
	} {
		ref, ok := topology.HostService(host, "shop", "cluster.local")
		got := ref.Namespace + "/" + ref.Name
		if !ok {
			got = ""
		}
		if got != want {
			t.Errorf("%q is %q, want %q", host, got, want)
		}
	}
}

func TestStateServices(t *testing.T) {
	doc := decode(t, `metadata: {annotations: {serin.dev/state.web: "{}", serin.dev/state.cart: "{}", serin.dev/state.: "{}", other: x}}`)
	if got := strings.Join(topology.StateServices(doc), " "); got != "cart web" {
		t.Error(got)
	}
}

const shop = `
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}}
---
kind: Deployment
metadata: {name: web-v1, namespace: shop}
spec: {template: {metadata: {labels: {app: web, version: v1}}}}
---
kind: Deployment
metadata: {name: web-v2, namespace: shop}
spec: {template: {metadata: {labels: {app: web, version: v2}}}}
---
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
  - {name: next, labels: {version: v2}}
  - {name: all}
---
kind: DestinationRule
metadata: {name: everything, namespace: shop}
spec: {host: "*.local", subsets: [{name: v9, labels: {version: v9}}]}
---
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    route:
    - destination: {host: web, subset: next}
  - route:
    - destination: {host: web, subset: v1}
      weight: 30
    - destination: {host: web, subset: v2}
      weight: 10
    - destination: {host: cart}
      weight: 60
---
kind: VirtualService
metadata: {name: marked, namespace: shop, annotations: {serin.dev/state.web: "{}"}}
spec: {hosts: [x]}
---
kind: VirtualService
metadata: {name: edge, namespace: front}
spec: {hosts: [y], http: [{route: [{destination: {host: web.shop}}]}]}
`

func TestFind(t *testing.T) {
	o := topologytest.Load(t, "shop", "web", shop)
	m := topology.Find(o, topology.Hints{})
	names := func(all []topology.VirtualService) string {
		var n []string
		for _, vs := range all {
			n = append(n, vs.Key.Namespace+"/"+vs.Key.Name)
		}
		return strings.Join(n, " ")
	}
	if got := names(m.VirtualServices); got != "shop/marked shop/web" {
		t.Errorf("take part: %s", got)
	}
	if got := names(m.Others); got != "front/edge" {
		t.Errorf("others: %s", got)
	}
	if got := fmt.Sprint(m.Shares); got != "map[v1:75 v2:25]" {
		t.Errorf("shares: %s", got)
	}
	if len(m.Rules) != 1 || len(m.Subsets) != 4 {
		t.Errorf("the wildcard rule is in force too: %v", m.Rules)
	}
	if got := m.Holder(); got != "v1" {
		t.Errorf("holder: %s", got)
	}
	if got := m.SubsetOf(o, "web-v1"); got != "v1" {
		t.Errorf("web-v1 is in %q", got)
	}
	if got := m.SubsetOf(o, "web-v2"); got != "" {
		t.Errorf("web-v2 is in %q, but routes lead to two of its subsets", got)
	}
	if got := m.DeploymentOf(o, "all"); got != "" {
		t.Errorf("%s is all", got)
	}
	t.Run("with only what is named", func(t *testing.T) {
		m := topology.Find(o, topology.Hints{VirtualServices: []string{"edge"}})
		if got := names(m.VirtualServices) + " | " + names(m.Others) + " | " + strings.Join(m.Unknown, " "); got != "shop/marked | front/edge shop/web | edge" {
			t.Error(got)
		}
	})
}

func TestHolderOfEqualShares(t *testing.T) {
	m := topology.Map{Shares: map[string]int{"a": 50, "b": 50, "c": 0, "": 100}}
	if got := m.Holder(); got != "a" {
		t.Error(got)
	}
	if got := m.Holder("a"); got != "b" {
		t.Errorf("%s, though the other was to be preferred", got)
	}
	if got := (topology.Map{}).Holder(); got != "" {
		t.Error(got)
	}
}
