package inplace

import (
	"testing"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/topology/topologytest"
)

// FuzzRender gives Observe and Render a VirtualService, a rule and a Deployment
// that no API server would accept: they never panic, and what Render writes of
// the routes it does not want to write again.
func FuzzRender(f *testing.F) {
	f.Add("spec: {http: [{route: [{destination: {host: web}}]}]}", "spec: {host: web, subsets: [{name: prod, trafficPolicy: 7}]}", "spec: {template: {metadata: {labels: {app: web}}}}", 5)
	f.Add("spec: {http: [{route: [{destination: {host: web, subset: serin-stable}, weight: 60}, {destination: {host: web, subset: serin-canary}, weight: 40}]}]}", "spec: {host: '*', exportTo: [.]}", "spec: {selector: 3, template: []}", 0)
	f.Add("spec: {http: [1, {route: 7}, {route: [null, {weight: -1}]}], tls: [{route: [{}]}], gateways: 3}", "metadata: {labels: {app.kubernetes.io/managed-by: serin, serin.dev/service: web}, annotations: 4}\nspec: 9", "metadata: {annotations: {serin.dev/canary: x}}", 100)
	f.Fuzz(func(t *testing.T, routes, rule, deployment string, weight int) {
		o := topology.Objects{ClusterDomain: "cluster.local", RootNamespace: "istio-system", Namespace: "shop", Service: "web"}
		o.Services = []topology.Service{{Name: "web", UID: "uid", Selector: map[string]string{"app": "web"}}}
		o.ServiceFound = &o.Services[0]
		docs := make([]map[string]any, 3)
		for i, text := range []string{routes, rule, deployment} {
			doc, err := topologytest.Decode(text)
			if err != nil || doc == nil {
				return
			}
			metadata := made(doc, "metadata")
			metadata["name"], metadata["namespace"], metadata["resourceVersion"] = "web", "shop", "1"
			delete(metadata, "creationTimestamp")
			docs[i] = doc
		}
		docs[0]["kind"], docs[1]["kind"], docs[2]["kind"] = "VirtualService", "DestinationRule", "Deployment"
		key := canary.ObjectKey{Kind: "VirtualService", Namespace: "shop", Name: "web"}
		o.VirtualServices = []topology.VirtualService{{Key: key, ResourceVersion: "1", Doc: docs[0]}}
		o.DestinationRules = []topology.DestinationRule{topologytest.Rule(docs[1])}
		d := topologytest.Deployment(t, docs[2])
		d.Annotations, d.UID, d.Doc = map[string]string{"serin.dev/canary": "true"}, "uid", docs[2]
		d.Sets = []topology.ReplicaSet{{Hash: "h", TemplateHash: "t", Replicas: 1, Ready: 1}}
		o.Deployments = []topology.Deployment{d}
		s := canary.State{
			Version: canary.StateVersion, InPlace: true, Rollout: "r1", Phase: canary.Progressing, Step: 1, Weight: min(max(weight, 0), 100),
			Canary: canary.Side{Deployment: "web-canary", Subset: CanarySubset, Template: d.TemplateHash}, Stable: canary.Side{Deployment: "web", Subset: StableSubset, Pods: "h"},
			Spec: wholeSpec,
		}
		found, _, _ := mode.FindState(o)
		Observe(o, found)
		Observe(o, s)
		traffic := canary.TrafficOf(s)
		place := canary.Place{Subsets: &canary.Subsets{Pods: "h"}, Pods: &canary.Pods{Least: 5, Most: 50, Template: d.TemplateHash}, Deployment: canary.Resume}
		for _, p := range []canary.Plan{
			{Next: s, Traffic: &traffic, Place: &place},
			{Next: s, Place: &canary.Place{Deployment: canary.Restore}, Last: true, Clean: true},
		} {
			writes, err := Render(p, o, start)
			if err != nil {
				continue
			}
			for _, w := range writes {
				if w.Key != key || w.Verb != mode.Update {
					continue
				}
				again, err := topologytest.DecodeJSON(w.Body)
				if err != nil {
					t.Fatalf("what is written can't be read: %v", err)
				}
				after := o
				after.VirtualServices = []topology.VirtualService{{Key: key, ResourceVersion: "1", Doc: again}}
				if writes, _ := Render(p, after, start); len(writes) > 0 && writes[0].Key == key && !p.Clean {
					t.Fatalf("written again: %s", writes[0].Body)
				}
			}
		}
	})
}
