package topology_test

import (
	"strings"
	"testing"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/topology/topologytest"
)

// FuzzPreflight draws the map of any VirtualServices and rules, ours and of another
// namespace: nothing panics, only what is of the Service's own namespace takes
// part, and each finding says where, what, and of a blocking one how to mend it.
func FuzzPreflight(f *testing.F) {
	f.Add("spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}", "spec: {hosts: [web.shop.svc.cluster.local], http: [{delegate: {name: web, namespace: shop}}]}", "spec: {host: web, subsets: [{name: v1, labels: {version: v1}}]}", "web", "v1")
	f.Add("spec: {hosts: 3, gateways: [mesh], exportTo: [~], tcp: [{route: [{destination: {host: web}}]}]}", "metadata: {annotations: {serin.dev/state.web: '{'}}\nspec: {hosts: ['*']}", "spec: {host: '*', workloadSelector: {}, exportTo: [.]}", "web.other", "")
	f.Add("spec: [1]", "spec: {http: [null, 4, {route: {}}]}", "spec: {subsets: {}, host: 4}", "wéb", "\x00")
	f.Fuzz(func(t *testing.T, own, foreign, rule, service, subset string) {
		o := topology.Objects{ClusterDomain: "cluster.local", RootNamespace: "istio-system", Namespace: "shop", Service: "web"}
		o.Services = []topology.Service{{Name: "web", Selector: map[string]string{"app": "web"}, Ports: []string{"http"}}}
		o.ServiceFound = &o.Services[0]
		for i, version := range []string{"v1", "v2"} {
			d := deployment("web-"+version, map[string]string{"app": "web", "version": version}, nil)
			if i == 1 {
				d.Annotations = map[string]string{"serin.dev/canary": "true", "serin.dev/service": service, "serin.dev/canary-subset": subset, "serin.dev/virtual-service": "web, web.other"}
			}
			o.Deployments = append(o.Deployments, d)
		}
		for namespace, text := range map[string]string{"shop": own, "other": foreign} {
			doc, err := topologytest.Decode(text)
			if err != nil || doc == nil {
				return
			}
			o.VirtualServices = append(o.VirtualServices, topology.VirtualService{Key: canary.ObjectKey{Kind: "VirtualService", Namespace: namespace, Name: "web"}, Doc: doc})
		}
		doc, err := topologytest.Decode(rule)
		if err != nil || doc == nil {
			return
		}
		for _, namespace := range []string{"shop", "other", "istio-system"} {
			r := topologytest.Rule(doc)
			r.Key = canary.ObjectKey{Kind: "DestinationRule", Namespace: namespace, Name: "web"}
			o.DestinationRules = append(o.DestinationRules, r)
		}
		m := topology.Find(o, topology.HintsOf(o.Deployments[1]))
		for _, vs := range m.VirtualServices {
			if vs.Key.Namespace != "shop" {
				t.Fatalf("%s takes part", vs.Key)
			}
		}
		for _, inPlace := range []bool{false, true} {
			q := topology.Question{Canary: topology.Role{Deployment: "web-v2", Subset: subset}, Stable: topology.Role{Deployment: "web-v1", Subset: m.Holder()}, InPlace: inPlace}
			for _, found := range topology.Preflight(o, m, q) {
				if found.Reason == "" || found.Problem == "" || found.Object.Kind == "" || found.Blocking && found.Mend == "" {
					t.Fatalf("found %+v", found)
				}
			}
		}
	})
}

// FuzzHost resolves hosts as others write them: a Service is only ever meant by its
// own name and namespace.
func FuzzHost(f *testing.F) {
	for _, host := range []string{"web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "web.shop.svc.cluster.local.", "Web.shop", "*.shop", "web.shop.evil.svc", "wеb.shop", "web.shop\x00", ".web", "web..shop"} {
		f.Add(host, "other", "cluster.local")
	}
	f.Fuzz(func(t *testing.T, host, from, domain string) {
		s := topology.RouteService(topology.Objects{Namespace: "shop", Service: "web", ClusterDomain: domain})
		full := "web.shop.svc." + domain
		means := from == "shop" && host == "web" || host == "web.shop" || host == "web.shop.svc" || domain != "" && host == full
		if s.Matches(host, from) != means {
			t.Fatalf("%q of namespace %q is taken for web.shop: %v", host, from, !means)
		}
		ref, ok := topology.HostService(host, from, domain)
		if means && (!ok || ref.Name != "web" || ref.Namespace != "shop") {
			t.Fatalf("%q is not indexed: %+v", host, ref)
		}
		if ok && (ref.Name == "" || ref.Namespace == "" || strings.Contains(ref.Name, ".")) {
			t.Fatalf("%q is indexed as %+v", host, ref)
		}
	})
}
