package mode

import (
	"strings"
	"testing"

	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology/topologytest"
)

const split = `
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - name: main
    timeout: 3s
    route:
    - destination: {host: web, subset: v1}
      weight: 60
    - destination: {host: web, subset: v2}
      weight: 20
    - destination: {host: cart}
      weight: 20
  - match: [{uri: {prefix: /pay}}]
    route:
    - destination: {host: pay}
`

// The last look must catch what an error in the editing of routes would do.
func TestVerifyRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		changes []change
		share   int
		says    string
	}{
		"nothing that was ordered":                  {[]change{{"weight: 60", "weight: 40"}, {"weight: 20\n    - destination: {host: cart", "weight: 40\n    - destination: {host: cart"}}, 50, ""},
		"a sum that is not kept":                    {[]change{{"weight: 60", "weight: 61"}}, 25, "summed to 80, now to 81"},
		"a negative weight":                         {[]change{{"weight: 60", "weight: 80"}, {"weight: 20\n    - destination: {host: cart", "weight: -20\n    - destination: {host: cart"}}, 0, "negative"},
		"users left on the canary":                  {nil, 0, "ordered to be 0% and is 25%"},
		"users left on stable":                      {nil, 100, "ordered to be 100% and is 25%"},
		"a share nobody ordered":                    {[]change{{"weight: 60", "weight: 80"}, {"weight: 20\n    - destination: {host: cart", "weight: 0\n    - destination: {host: cart"}}, -1, "was 25%, now 0%"},
		"another Service's weight moved":            {[]change{{"{host: cart}\n      weight: 20", "{host: cart}\n      weight: 21"}}, 25, "neither stable nor canary"},
		"another Service's route changed":           {[]change{{"host: pay", "host: pays"}}, 25, "not ours to move"},
		"a timeout changed":                         {[]change{{"timeout: 3s", "timeout: 4s"}}, 25, "besides the destinations"},
		"a host changed":                            {[]change{{"hosts: [web]", "hosts: [web, www]"}}, 25, "besides spec.http"},
		"a route lost":                              {[]change{{"  - match: [{uri: {prefix: /pay}}]\n    route:\n    - destination: {host: pay}\n", ""}}, 25, "of 2 routes 1 are left"},
		"the canary left as the only destination":   {[]change{{"    - destination: {host: web, subset: v1}\n      weight: 60\n", ""}, {"    - destination: {host: cart}\n      weight: 20\n", ""}}, 100, "changed"},
		"a whole section of the document taken off": {[]change{{"metadata: {name: web, namespace: shop}", "metadata: {name: web, namespace: shop}\nstatus: {}"}}, 25, "besides spec.http"},
	} {
		t.Run(name, func(t *testing.T) {
			svc := route.Service{Namespace: "shop", Name: "web", ClusterDomain: "cluster.local"}
			err := verify(decode(t, split), decode(t, split, c.changes...), svc, Sides{Stable: "v1", Canary: "v2"}, c.share)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error %v does not say %q", err, c.says)
			}
		})
	}
}

// Envoy sends a lone destination everything, so that the way back would be a route
// that can't be read as one of two versions.
func TestVerifyRefusesTheCanaryAlone(t *testing.T) {
	both := strings.Replace(split, "    - destination: {host: cart}\n      weight: 20\n", "", 1)
	both = strings.Replace(strings.Replace(both, "weight: 60", "weight: 0", 1), "weight: 20", "weight: 100", 1)
	svc, sides := route.Service{Namespace: "shop", Name: "web", ClusterDomain: "cluster.local"}, Sides{Stable: "v1", Canary: "v2"}
	if err := verify(decode(t, both), decode(t, both), svc, sides, 100); err != nil {
		t.Errorf("with stable at 0%%: %v", err)
	}
	alone := change{"    - destination: {host: web, subset: v1}\n      weight: 0\n", ""}
	if err := verify(decode(t, both), decode(t, both, alone), svc, sides, 100); err == nil || !strings.Contains(err.Error(), "the canary is the only destination") {
		t.Errorf("without stable: %v", err)
	}
}

const pinned = `
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - name: main
    route:
    - destination: {host: web, subset: serin-stable}
      weight: 60
    - destination: {host: web, subset: serin-canary}
      weight: 20
    - destination: {host: cart}
      weight: 20
  - match: [{uri: {prefix: /pay}}]
    route:
    - destination: {host: pay}
`

const unpinned = `
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - name: main
    route:
    - destination: {host: web, subset: v1}
      weight: 80
    - destination: {host: cart}
      weight: 20
  - match: [{uri: {prefix: /pay}}]
    route:
    - destination: {host: pay}
`

func TestVerifyPinsRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		before, after string
		changes       []change // of what is after
		share         int
		rest          bool
		says          string
	}{
		"nothing when routes are pinned":        {unpinned, pinned, nil, 25, false, ""},
		"nothing when weights move":             {pinned, pinned, []change{{"weight: 60", "weight: 40"}, {"weight: 20\n    - destination: {host: cart", "weight: 40\n    - destination: {host: cart"}}, 50, false, ""},
		"nothing when the pins go":              {pinned, unpinned, nil, 0, true, ""},
		"a destination that is left out":        {unpinned, pinned, []change{{", subset: serin-stable", ""}}, 25, false, "spec.http[0].route[0]: it leads past serin-stable and serin-canary"},
		"one that nobody gets requests by":      {unpinned, pinned, []change{{"{host: pay}", "{host: pay}\n      weight: 1\n    - destination: {host: web}"}}, 25, false, "spec.http[1].route[1]: it leads past"},
		"a pin that stays":                      {pinned, unpinned, []change{{"subset: v1", "subset: serin-stable"}}, 0, true, "still leads to serin-stable"},
		"a canary that stays":                   {pinned, unpinned, []change{{"subset: v1", "subset: serin-canary"}}, 0, true, "still leads to serin-canary"},
		"a sum that is not kept when pinned":    {unpinned, pinned, []change{{"weight: 60", "weight: 61"}}, 25, false, "summed to 80, now to 81"},
		"a sum that is not kept at the end":     {pinned, unpinned, []change{{"weight: 80", "weight: 79"}}, 0, true, "summed to 80, now to 79"},
		"a share nobody ordered":                {unpinned, pinned, nil, 0, false, "ordered to be 0% and is 25%"},
		"another Service that was pinned":       {unpinned, pinned, []change{{"{host: pay}", "{host: pay, subset: serin-stable}"}}, 25, false, "not ours to move"},
		"a destination that is lost":            {pinned, unpinned, []change{{"    - destination: {host: web, subset: v1}\n      weight: 80\n", ""}}, 0, true, "changed"},
		"nothing where a hand led QA by itself": {qa(unpinned, "serin-canary"), qa(unpinned, "v1"), nil, 0, true, ""},
		"nothing where it still does":           {qa(unpinned, "serin-canary"), qa(pinned, "serin-canary"), nil, 25, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			svc := route.Service{Namespace: "shop", Name: "web", ClusterDomain: "cluster.local"}
			err := verifyPins(decode(t, c.before), decode(t, c.after, c.changes...), svc, Sides{Stable: "serin-stable", Canary: "serin-canary"}, c.share, c.rest)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error %v does not say %q", err, c.says)
			}
		})
	}
}

// qa has a header route of a hand's before the others.
func qa(routes, subset string) string {
	return strings.Replace(routes, "  http:\n", "  http:\n  - match: [{headers: {end-user: {exact: jason}}}]\n    route:\n    - destination: {host: web, subset: "+subset+"}\n", 1)
}

func decode(t *testing.T, text string, changes ...change) map[string]any {
	t.Helper()
	for _, c := range changes {
		if !strings.Contains(text, c[0]) {
			t.Fatalf("%q is not there", c[0])
		}
		text = strings.Replace(text, c[0], c[1], 1)
	}
	doc, err := topologytest.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// change is one edit of a manifest: old text, new text.
type change [2]string

func TestWhatIsComparedAsPinnedLeavesTheDocument(t *testing.T) {
	doc := map[string]any{"metadata": map[string]any{"namespace": "shop"}, "spec": map[string]any{"hosts": []any{"web"}, "http": []any{
		map[string]any{"route": []any{map[string]any{"destination": map[string]any{"host": "web"}}}},
		map[string]any{"route": []any{map[string]any{"destination": map[string]any{"host": "other"}}}},
	}}}
	before := route.Clone(doc)
	svc := route.Service{Name: "web", Namespace: "shop", ClusterDomain: "cluster.local"}
	out := asPinned(doc, svc, Sides{Stable: "serin-stable", Canary: "serin-canary"}, false)
	if !route.Equal(doc, before) {
		t.Errorf("the document became %v", doc)
	}
	if route.Equal(out, before) {
		t.Error("nothing was pinned")
	}
}
