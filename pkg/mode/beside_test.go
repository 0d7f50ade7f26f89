package mode

import (
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
)

// kept is what Apply makes of routes whose users are kept on a version.
const kept = `
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - name: serin-canary.web
    timeout: 3s
    match: [{headers: {x-app-version: {exact: canary}}}]
    route: [{destination: {host: web, subset: v2}}]
  - name: serin-cookie.canary.web
    timeout: 3s
    match: [{headers: {cookie: {regex: "serin-web=canary"}}}]
    route: [{destination: {host: web, subset: v2}}]
  - timeout: 3s
    route:
    - destination: {host: web, subset: v1}
      weight: 75
      headers: {response: {add: {set-cookie: "serin-web=stable.1; Path=/"}}}
    - destination: {host: web, subset: v2}
      weight: 25
      headers: {response: {add: {set-cookie: "serin-web=canary; Path=/"}}}
  - match: [{uri: {prefix: /pay}}]
    route: [{destination: {host: pay}}]
`

// copied is what it makes of routes that send copies.
const copied = `
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - timeout: 3s
    mirrors:
    - destination: {host: web, subset: v2}
      percentage: {value: 10}
    route:
    - destination: {host: web, subset: v1}
      weight: 100
    - destination: {host: web, subset: v2}
      weight: 0
  - match: [{uri: {prefix: /pay}}]
    route: [{destination: {host: pay}}]
`

const bare = `
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - timeout: 3s
    route: [{destination: {host: web, subset: v1}}]
  - match: [{uri: {prefix: /pay}}]
    route: [{destination: {host: pay}}]
`

// The last look must catch what an error in the making of copies and cookies would do.
func TestVerifyBesideRefuses(t *testing.T) {
	cookies := canary.Traffic{Stable: "v1", Canary: "v2", Weight: 25, Sticky: &canary.Sticky{Cookie: "serin-web", Canary: "canary", Stable: "stable.1", MaxAge: time.Hour}}
	copies := canary.Traffic{Stable: "v1", Canary: "v2", Mirror: 10}
	none := canary.Traffic{}
	const pay = "route: [{destination: {host: pay}}]"
	for name, c := range map[string]struct {
		before, after string
		t             canary.Traffic
		changes       []change // of what is after
		says          string
	}{
		"nothing when users are kept":          {bare, kept, cookies, nil, ""},
		"nothing when they are kept no longer": {kept, bare, none, nil, ""},
		"nothing when copies are sent":         {bare, copied, copies, nil, ""},
		"nothing when none are any longer":     {copied, bare, none, nil, ""},
		"nothing of a hand's work":             {copied, copied, none, nil, ""},
		"nothing when a name of the user's is like ours": {
			strings.Replace(bare, "  - timeout: 3s", "  - name: serin-web\n    timeout: 3s", 1),
			strings.Replace(kept, "  - timeout: 3s", "  - name: serin-web\n    timeout: 3s", 1), cookies, nil, "",
		},
		"nothing when another Service's release sends copies": {
			strings.Replace(bare, "timeout: 3s", "timeout: 3s\n    mirrors: [{destination: {host: api, subset: v2}}]", 1),
			strings.Replace(kept, "  - timeout: 3s", "  - timeout: 3s\n    mirrors: [{destination: {host: api, subset: v2}}]", 1), cookies, nil, "",
		},
		"copies that nobody ordered":                  {bare, copied, none, nil, "spec.http[0]: it sends copies to the canary that nobody ordered"},
		"too many copies":                             {bare, copied, copies, []change{{"value: 10", "value: 100"}}, "other copies to the canary than the ordered ones of 10%"},
		"copies without a share, which are all":       {bare, copied, copies, []change{{"      percentage: {value: 10}\n", ""}}, "other copies"},
		"copies sent twice":                           {bare, copied, copies, []change{{"    mirrors:\n", "    mirrors:\n    - {destination: {host: web, subset: v2}, percentage: {value: 10}}\n"}}, "other copies"},
		"no copies":                                   {bare, copied, copies, []change{{"subset: v2}\n      percentage", "subset: v1}\n      percentage"}}, "other copies"},
		"copies elsewhere":                            {bare, copied, copies, []change{{"    mirrors:\n", "    mirrors:\n    - {destination: {host: evil}}\n"}}, "besides the destinations"},
		"copies that become others":                   {copied, copied, copies, []change{{"value: 10", "value: 20"}}, "other copies"},
		"copies of another Service's requests":        {bare, copied, copies, []change{{pay, pay + "\n    mirrors: [{destination: {host: web, subset: v2}, percentage: {value: 10}}]"}}, "not ours to move"},
		"a mirror of the user's that goes":            {strings.Replace(bare, "timeout: 3s", "timeout: 3s\n    mirrors: [{destination: {host: audit}}]", 1), bare, none, nil, "besides the destinations"},
		"cookies that nobody ordered":                 {bare, kept, none, nil, `route[0] sets the cookie "serin-web=stable.1; Path=/", which nobody ordered`},
		"a version without its cookie":                {bare, kept, cookies, []change{{"      headers: {response: {add: {set-cookie: \"serin-web=canary; Path=/\"}}}\n", ""}}, `route[1] sets the cookie "" and not that of its version`},
		"the other version's cookie":                  {bare, kept, cookies, []change{{"\"serin-web=canary; Path=/\"", "\"serin-web=stable.1; Path=/\""}}, "not that of its version"},
		"another header beside a cookie":              {bare, kept, cookies, []change{{"{add: {set-cookie: \"serin-web=canary", "{add: {x-evil: b, set-cookie: \"serin-web=canary"}}, "a destination was changed"},
		"a cookie of the user's that goes":            {strings.Replace(bare, "subset: v1}", "subset: v1}, headers: {response: {add: {set-cookie: a=b}}}", 1), bare, none, nil, "a destination was changed"},
		"a route of our own to something else":        {bare, kept, cookies, []change{{"match: [{headers: {x-app-version: {exact: canary}}}]\n    route: [{destination: {host: web, subset: v2}}]", "match: [{headers: {x-app-version: {exact: canary}}}]\n    route: [{destination: {host: web}}]"}}, "spec.http[0]: our own route leads to something else than a version"},
		"a route of our own for everybody":            {bare, kept, cookies, []change{{"match: [{headers: {x-app-version: {exact: canary}}}]", "match: [{uri: {prefix: /}}]"}}, "our own route takes everybody"},
		"a route of our own without conditions":       {bare, kept, cookies, []change{{"    match: [{headers: {x-app-version: {exact: canary}}}]\n", ""}}, "our own route takes everybody"},
		"a route of our own that gives cookies":       {bare, kept, cookies, []change{{"match: [{headers: {x-app-version: {exact: canary}}}]\n    route: [{destination: {host: web, subset: v2}}]", "match: [{headers: {x-app-version: {exact: canary}}}]\n    route: [{destination: {host: web, subset: v2}, headers: {response: {add: {set-cookie: \"serin-web=canary\"}}}}]"}}, "our own route sets a cookie"},
		"a route of our own by another cookie":        {bare, kept, cookies, []change{{"regex: \"serin-web=canary\"", "regex: \"session=.*\""}}, "by a cookie that nobody ordered"},
		"a route of our own with another timeout":     {bare, kept, cookies, []change{{"name: serin-canary.web\n    timeout: 3s", "name: serin-canary.web\n    timeout: 9s"}}, "not as the one behind it"},
		"a route of our own that sends copies":        {bare, kept, cookies, []change{{"name: serin-canary.web\n", "name: serin-canary.web\n    mirrors: [{destination: {host: web, subset: v2}}]\n"}}, "not as the one behind it"},
		"a route of our own before another Service's": {bare, kept, cookies, []change{{"  - match: [{uri: {prefix: /pay}}]", "  - {name: serin-canary.web.2, match: [{headers: {a: {exact: b}}}], route: [{destination: {host: web, subset: v2}}]}\n  - match: [{uri: {prefix: /pay}}]"}}, "stands before none that serves users"},
	} {
		t.Run(name, func(t *testing.T) {
			svc, sides := route.Service{Namespace: "shop", Name: "web", ClusterDomain: "cluster.local"}, Sides{Stable: "v1", Canary: "v2"}
			before, after := decode(t, c.before), decode(t, c.after, c.changes...)
			err := verifyBeside(before, after, svc, sides, c.t)
			if err == nil {
				err = verify(before, after, svc, sides, c.t.Weight)
			}
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error %v does not say %q", err, c.says)
			}
		})
	}
}
