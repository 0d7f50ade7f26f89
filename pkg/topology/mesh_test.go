package topology_test

import (
	"strings"
	"testing"

	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/topology/topologytest"
)

func TestCoversMesh(t *testing.T) {
	for name, c := range map[string]struct {
		namespace, spec string
		want            bool
	}{
		"the Service's name":                    {"shop", "{hosts: [web]}", true},
		"in full, from another namespace":       {"front", "{hosts: [web.shop.svc.cluster.local]}", true},
		"a wildcard":                            {"shop", `{hosts: ["*.shop.svc.cluster.local"]}`, true},
		"the same name in another namespace":    {"front", "{hosts: [web]}", false},
		"a gateway's":                           {"shop", "{hosts: [web], gateways: [public]}", false},
		"a gateway's and the mesh's":            {"shop", "{hosts: [web], gateways: [public, mesh]}", true},
		"another host":                          {"shop", "{hosts: [cart]}", false},
		"one that only its own namespace sees":  {"front", `{hosts: [web.shop.svc.cluster.local], exportTo: ["."]}`, false},
		"one that the Service's namespace sees": {"front", "{hosts: [web.shop.svc.cluster.local], exportTo: [shop]}", true},
	} {
		t.Run(name, func(t *testing.T) {
			o := topologytest.Load(t, "shop", "web", "kind: VirtualService\nmetadata: {name: v, namespace: "+c.namespace+"}\nspec: "+c.spec+"\n")
			if got := topology.CoversMesh(o, o.VirtualServices[0]); got != c.want {
				t.Error(got)
			}
		})
	}
}

func TestAbout(t *testing.T) {
	const twins = "kind: Service\nmetadata: {name: web, namespace: shop}\nspec: {selector: {app: web}}\n---\n" +
		"kind: Service\nmetadata: {name: web-headless, namespace: shop}\nspec: {selector: {app: web}}\n"
	const toWeb = "---\nkind: VirtualService\nmetadata: {name: web, namespace: shop}\nspec: {http: [{route: [{destination: {host: web}}]}]}\n"
	for name, c := range map[string]struct {
		manifests, annotations string
		web, headless          bool
	}{
		"no route leads to either": {twins, "{}", true, true},
		"a route leads to one":     {twins + toWeb, "{}", true, false},
		"one is named":             {twins + toWeb, "{serin.dev/service: web-headless}", false, true},
		"opted in":                 {twins + toWeb, `{serin.dev/canary: "true"}`, true, false},
		"opted out":                {twins + toWeb, `{serin.dev/canary: "false"}`, true, false},
		"opted out, and one is named all the same": {twins, `{serin.dev/canary: "false", serin.dev/service: web}`, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			for service, want := range map[string]bool{"web": c.web, "web-headless": c.headless} {
				o := topologytest.Load(t, "shop", service, c.manifests+"---\nkind: Deployment\nmetadata: {name: web, namespace: shop, annotations: "+c.annotations+"}\nspec: {template: {metadata: {labels: {app: web}}}}\n")
				d, _ := topology.ByName(o, "web")
				if got := topology.About(o, d); got != want {
					t.Errorf("%s: %v", service, got)
				}
				if _, found := d.Annotations["serin.dev/canary"]; found != strings.Contains(c.annotations, "serin.dev/canary") {
					t.Error("the Deployment was modified")
				}
			}
		})
	}
}
