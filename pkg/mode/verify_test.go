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
		"a header route to something else":          {[]change{{"  - name: main", "  - name: serin-canary.web\n    match: [{headers: {x: {exact: y}}}]\n    route:\n    - destination: {host: web}\n  - name: main"}}, 25, "leads to something else"},
		"the canary left as the only destination":   {[]change{{"    - destination: {host: web, subset: v1}\n      weight: 60\n", ""}, {"    - destination: {host: cart}\n      weight: 20\n", ""}}, 100, "changed"},
		"a whole section of the document taken off": {[]change{{"metadata: {name: web, namespace: shop}", "metadata: {name: web, namespace: shop}\nstatus: {}"}}, 25, "besides spec.http"},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := split, split
			for _, c := range c.changes {
				if !strings.Contains(after, c[0]) {
					t.Fatalf("%q is not there", c[0])
				}
				after = strings.Replace(after, c[0], c[1], 1)
			}
			old, err := topologytest.Decode(before)
			if err != nil {
				t.Fatal(err)
			}
			now, err := topologytest.Decode(after)
			if err != nil {
				t.Fatal(err)
			}
			svc := route.Service{Namespace: "shop", Name: "web", ClusterDomain: "cluster.local"}
			err = verify(old, now, svc, Sides{Stable: "v1", Canary: "v2"}, c.share)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error %v does not say %q", err, c.says)
			}
		})
	}
}

// change is one edit of a manifest: old text, new text.
type change [2]string
