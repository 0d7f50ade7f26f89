package pair

import (
	"testing"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology/topologytest"
)

// FuzzRender gives Render VirtualServices that no API server would accept: it
// never panics, and what it writes it does not want to write again.
func FuzzRender(f *testing.F) {
	f.Add("metadata: {name: web}\nspec: {http: [{name: main, route: [{destination: {host: web, subset: v1}, weight: 60}, {destination: {host: web, subset: v2}, weight: 20}, {destination: {host: cart}, weight: 20}]}]}", "", 5)
	f.Add("spec: {http: [{route: [{destination: {host: web, subset: v1}}]}]}", `{"v":9}`, 100)
	f.Add("spec: {http: [{route: [{destination: {host: web, subset: v1}}]}]}", "{", 0)
	f.Add("spec: {http: [1, {route: 7}, {route: [null, {weight: -1}]}], tls: [{route: [{}]}], gateways: 3}", "x", 50)
	f.Add("metadata: 7\nspec: {http: [{match: [{headers: {a: {exact: b}}}], route: [{destination: {host: web, subset: v2}}]}]}", "", 1)
	f.Fuzz(func(t *testing.T, manifest, state string, weight int) {
		doc, err := topologytest.Decode(manifest)
		if err != nil || doc == nil {
			return
		}
		metadata := object(doc, "metadata")
		metadata["name"], metadata["namespace"] = "web", "shop"
		if state != "" {
			object(metadata, "annotations")["serin.dev/state.web"] = state
		}
		o := shopObjects(t)
		o.VirtualServices[0].Doc = doc
		weight = min(max(weight, 0), 100)
		p := order(release(), canary.Progressing, weight, canary.StepStarted)
		found, _, _ := mode.FindState(o)
		Observe(o, found)
		writes, err := Render(p, o, start)
		if err != nil || len(writes) == 0 {
			return
		}
		again, err := topologytest.DecodeJSON(writes[0].Body)
		if err != nil {
			t.Fatalf("what is written can't be read: %v", err)
		}
		o.VirtualServices[0].Doc = again
		if writes, err := Render(p, o, start); err != nil || len(writes) != 0 {
			t.Fatalf("written again: %v %v", err, writes)
		}
	})
}
