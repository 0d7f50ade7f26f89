package route_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/route/routetest"
)

// virtualService is shop/web with routes given in YAML.
func virtualService(t *testing.T, routes string) map[string]any {
	t.Helper()
	return parse(t, "metadata: {name: web, namespace: shop}\nspec:\n  hosts: [web]\n  http:\n"+routes)
}

const lone = "  - route: [{destination: {host: web, subset: v1}}]\n"

func pair(v1, v2 int) string {
	return fmt.Sprintf("  - route: [{destination: {host: web, subset: v1}, weight: %d}, {destination: {host: web, subset: v2}, weight: %d}]\n", v1, v2)
}

func http(doc map[string]any) []any { return doc["spec"].(map[string]any)["http"].([]any) }

func TestHostsOfAService(t *testing.T) {
	for _, c := range []struct {
		host, namespace string
		want            bool
	}{
		{"web", "shop", true},
		{"web", "edge", false},
		{"web.shop", "edge", true},
		{"web.edge", "edge", false},
		{"web.shop.svc", "edge", true},
		{"web.shop.svc.cluster.local", "edge", true},
		{"web.shop.svc.example.org", "shop", false},
		{"web.shop.", "shop", false},
		{"", "shop", false},
	} {
		if got := web.Matches(c.host, c.namespace); got != c.want {
			t.Errorf("%q in %s is %s: %v, want %v", c.host, c.namespace, web, got, c.want)
		}
	}
	if (route.Service{Namespace: "shop", Name: "web"}).Matches("web.shop.svc.", "shop") {
		t.Error("an unknown cluster domain matches")
	}
}

func TestApplyRefusesWhatNoRouteCanCarry(t *testing.T) {
	leak := "  - route: [{destination: {host: web}}]\n"
	twice := "  - route: [{destination: {host: web, subset: v1}, weight: 50}, {destination: {host: web, subset: v1, port: {number: 1}}, weight: 50}]\n"
	for _, c := range []struct {
		name, routes string
		weight       int
		want         []string
	}{
		{"a destination without a subset", leak, 5, []string{
			"split VirtualService shop/web: spec.http[0].route[0] sends to web.shop without a subset, past any weight: add subset: v1"}},
		{"a subset named twice", twice, 5, []string{
			"spec.http[0] names subset v1 2 times, and which of them a share is of is unclear: make them one"}},
		{"weights with a sum of 1", pair(1, 0), 50, []string{
			"spec.http[0]: weights that sum to 1 cannot express 50%: write weights of v1 and v2 that sum to 100"}},
		{"weights by which the canary would get more than twice the share", pair(9, 0), 5, []string{"sum to 9 cannot express 5%"}},
		{"all of them at once", leak + twice + pair(1, 0), 5, []string{"spec.http[0]", "spec.http[1]", "spec.http[2]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := virtualService(t, c.routes)
			out, marks, err := route.Apply(doc, web, traffic(c.weight, nil), nil)
			if err == nil || out != nil || marks != nil {
				t.Fatalf("got %v, %v, %v; want only an error", out, marks, err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func TestTakingUsersOffTheCanaryNeverFails(t *testing.T) {
	doc := virtualService(t, "  - route: [{destination: {host: web}}]\n"+
		"  - route: [{destination: {host: web, subset: v1}, weight: 50}, {destination: {host: web, subset: v2}, weight: 20}, {destination: {host: web, subset: v2, port: {number: 1}}, weight: 30}]\n"+
		pair(0, 1))
	out, _ := apply(t, doc, traffic(0, nil), nil)
	want := virtualService(t, "  - route: [{destination: {host: web}}]\n"+
		"  - route: [{destination: {host: web, subset: v1}, weight: 100}, {destination: {host: web, subset: v2}, weight: 0}, {destination: {host: web, subset: v2, port: {number: 1}}, weight: 0}]\n"+
		pair(1, 0))
	same(t, "at 0", out, want)
}

func TestApplyRefusesTrafficThatIsNone(t *testing.T) {
	for name, tr := range map[string]canary.Traffic{
		`"v1" and canary subset "v1" must be two`: {Stable: "v1", Canary: "v1"},
		`stable subset ""`:                        {Canary: "v2"},
		"weight 101 is outside":                   {Stable: "v1", Canary: "v2", Weight: 101},
		"weight -1 is outside":                    {Stable: "v1", Canary: "v2", Weight: -1},
		"header without a name":                   traffic(0, &canary.Header{Match: canary.MatchExact, Values: []string{"a"}}),
		`x: unknown match "glob"`:                 traffic(0, &canary.Header{Name: "x", Match: "glob", Values: []string{"a"}}),
		"x: no value":                             traffic(0, &canary.Header{Name: "x", Match: canary.MatchExact}),
		"prefix takes one value, not 2":           traffic(0, &canary.Header{Name: "x", Match: canary.MatchPrefix, Values: []string{"a", "b"}}),
	} {
		if _, _, err := route.Apply(virtualService(t, lone), web, tr, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}

func TestRoundingGivesTheNearestShareButNeverNoneOrAll(t *testing.T) {
	for _, c := range []struct{ sum, weight, want int }{
		{100, 5, 5}, {1000, 5, 50}, {30, 5, 2}, {130, 25, 33}, {20, 1, -1}, {50, 1, 1}, {10, 5, 1}, {10, 99, 9}, {2, 50, 1}, {3, 99, 2}, {1, 0, 0}, {1, 100, 1}, {1, 50, -1}, {7, 100, 7},
	} {
		out, _, err := route.Apply(virtualService(t, pair(c.sum, 0)), web, traffic(c.weight, nil), nil)
		got := -1
		if err == nil {
			got = route.Find(out, web, "v1", "v2")[0].Canary
		}
		if got != c.want {
			t.Errorf("%d%% of %d: %d, want %d", c.weight, c.sum, got, c.want)
		}
	}
}

func TestALostHeaderRouteIsMadeAgain(t *testing.T) {
	doc := virtualService(t, "  - name: a\n    match: [{uri: {prefix: /a}}]\n    route: [{destination: {host: web, subset: v1}}]\n"+lone)
	placed, marks := apply(t, doc, traffic(5, &exact), nil)
	lost := parse(t, dump(placed))
	lost["spec"].(map[string]any)["http"] = http(lost)[1:]
	if seen := route.Read(lost, web, "v1", "v2"); seen.Header {
		t.Error("a route without its header route goes unseen")
	}
	again, _ := apply(t, lost, traffic(5, &exact), marks)
	same(t, "made again", again, placed)
}

func TestAHeaderRouteThatAHandChangedOrMovedIsMadeAgain(t *testing.T) {
	placed, marks := apply(t, virtualService(t, lone), traffic(5, &exact), nil)
	for name, change := range map[string]func([]any) []any{
		"moved behind":  func(r []any) []any { return []any{r[1], r[0]} },
		"doubled":       func(r []any) []any { return []any{r[0], r[0], r[1]} },
		"other match":   func(r []any) []any { r[0].(map[string]any)["match"] = []any{}; return r },
		"to stable":     func(r []any) []any { r[0].(map[string]any)["route"] = r[1].(map[string]any)["route"]; return r },
		"other timeout": func(r []any) []any { r[0].(map[string]any)["timeout"] = "1s"; return r },
	} {
		doc := parse(t, dump(placed))
		doc["spec"].(map[string]any)["http"] = change(http(doc))
		if !route.ReadAgainst(doc, web, traffic(5, &exact)).HeaderLost {
			t.Error(name, "goes unseen")
		}
		again, _ := apply(t, doc, traffic(5, &exact), marks)
		same(t, name, again, placed)
	}
}

func TestWhatUsersEditInMidReleaseIsKept(t *testing.T) {
	doc := virtualService(t, "  - match: [{uri: {prefix: /a}}]\n    route: [{destination: {host: web, subset: v1}}]\n"+lone)
	mid, marks := apply(t, doc, traffic(25, &exact), nil)
	routes := http(mid)
	routes[1].(map[string]any)["timeout"] = "9s"
	fresh := virtualService(t, "  - match: [{uri: {prefix: /new}}]\n    route: [{destination: {host: api}}]\n")
	mid["spec"].(map[string]any)["http"] = append(http(fresh), routes...)

	next, marks := apply(t, mid, traffic(100, &exact), marks)
	if header := http(next)[1].(map[string]any); header["timeout"] != "9s" {
		t.Errorf("the header route did not follow the route behind it: %s", dump(header))
	}
	want := virtualService(t, "  - match: [{uri: {prefix: /new}}]\n    route: [{destination: {host: api}}]\n"+
		"  - match: [{uri: {prefix: /a}}]\n    timeout: 9s\n    route: [{destination: {host: web, subset: v1}}]\n"+lone)
	same(t, "cleaned", route.Clean(next, web, "v1", "v2", marks), want)
}

func TestAnEarlierDocumentAppliedOverOursIsEditedAnew(t *testing.T) {
	doc := virtualService(t, lone)
	mid, marks := apply(t, doc, traffic(25, &exact), nil)
	again, againMarks := apply(t, doc, traffic(25, &exact), marks)
	same(t, "document", again, mid)
	same(t, "marks", againMarks, marks)
}

func TestMarksOfRoutesThatAreGoneAreForgotten(t *testing.T) {
	_, marks := apply(t, virtualService(t, "  - name: gone\n    route: [{destination: {host: web, subset: v1}}]\n"+lone), traffic(25, nil), nil)
	_, marks = apply(t, virtualService(t, pair(75, 25)), traffic(50, nil), append(marks, "nonsense", "+v2", "", "?v2:abcdef"))
	want := []string{"+v2:kOXo8P"}
	same(t, "marks", marks, want)
}

func TestSidesMaySwapBetweenReleases(t *testing.T) {
	first, marks := apply(t, virtualService(t, lone), traffic(100, nil), nil)
	back := canary.Traffic{Stable: "v2", Canary: "v1", Weight: 25}
	second, marks := apply(t, first, back, marks)
	same(t, "second release", second, virtualService(t, pair(25, 75)))
	same(t, "cleaned while v2 is stable", route.Clean(second, web, "v2", "v1", marks), virtualService(t, pair(0, 100)))
	same(t, "cleaned while v1 is stable", route.Clean(second, web, "v1", "v2", marks), virtualService(t, lone))
}

func TestTwoServicesOnOneRouteAgreeOnTheOrder(t *testing.T) {
	doc := virtualService(t, "  - route: [{destination: {host: web, subset: v1}, weight: 50}, {destination: {host: api, subset: v1}, weight: 50}]\n")
	api := route.Service{Namespace: "shop", Name: "api", ClusterDomain: "cluster.local"}
	var results []map[string]any
	for _, order := range [][]route.Service{{web, api, web, api}, {api, web, api, web}} {
		current, marks := doc, map[string][]string{}
		for _, s := range order {
			out, m, err := route.Apply(current, s, traffic(10, &exact), marks[s.Name])
			if err != nil {
				t.Fatal(err)
			}
			current, marks[s.Name] = out, m
			if !route.ReadAgainst(out, s, traffic(10, &exact)).Header {
				t.Errorf("header route of %s not seen in\n%s", s, dump(out))
			}
		}
		names := []any{}
		for _, r := range http(current) {
			names = append(names, r.(map[string]any)["name"])
		}
		same(t, "order", names, []any{"serin-canary.api", "serin-canary.web", nil})
		results = append(results, current)
		for name, s := range map[string]route.Service{"web": web, "api": api} {
			again, _, err := route.Apply(current, s, traffic(10, &exact), marks[name])
			if err != nil {
				t.Fatal(err)
			}
			same(t, "settled for "+name, again, current)
		}
	}
	same(t, "whoever came first", results[0], results[1])
}

func TestServicesOfOneNameInTwoNamespacesStayApart(t *testing.T) {
	doc := virtualService(t, "  - route: [{destination: {host: web, subset: v1}, weight: 50}, {destination: {host: web.pay, subset: v1}, weight: 50}]\n")
	pay := route.Service{Namespace: "pay", Name: "web", ClusterDomain: "cluster.local"}
	first, marks := apply(t, doc, traffic(10, &exact), nil)
	both, payMarks, err := route.Apply(first, pay, traffic(10, &exact), nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "theirs cleaned", route.Clean(both, pay, "v1", "v2", payMarks), first)
	same(t, "both cleaned", route.Clean(route.Clean(both, web, "v1", "v2", marks), pay, "v1", "v2", payMarks), doc)
}

func TestReadTellsTheShares(t *testing.T) {
	header := "  - match: [{headers: {end-user: {exact: jason}}}]\n    route: [{destination: {host: web, subset: v2}}]\n"
	for _, c := range []struct {
		name, routes string
		want         canary.Seen
	}{
		{"all on stable", lone, canary.Seen{}},
		{"split", pair(75, 25), canary.Seen{Min: 25, Max: 25, Split: true}},
		{"two shares", pair(75, 25) + pair(0, 10), canary.Seen{Min: 25, Max: 100, Split: true}},
		{"a trace is never nothing", pair(999, 1), canary.Seen{Min: 1, Max: 1, Split: true}},
		{"almost all is never all", pair(1, 999), canary.Seen{Min: 99, Max: 99, Split: true}},
		{"the canary alone has all, whatever its weight", "  - route: [{destination: {host: web, subset: v2}, weight: 0}]\n", canary.Seen{Min: 100, Max: 100}},
		{"the user's header route does not count", header + lone, canary.Seen{Adopted: true, Header: true}},
		{"one behind everything is no way in", lone + header, canary.Seen{}},
		{"a header route whose condition is optional counts", "  - match: [{headers: {a: {exact: b}}}, {uri: {exact: /}}]\n    route: [{destination: {host: web, subset: v2}}]\n", canary.Seen{Min: 100, Max: 100}},
		{"other subsets do not count", "  - route: [{destination: {host: web, subset: v1}, weight: 50}, {destination: {host: web, subset: v3}, weight: 50}]\n", canary.Seen{}},
		{"no route to the Service", "  - route: [{destination: {host: api}}]\n", canary.Seen{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := route.Read(virtualService(t, c.routes), web, "v1", "v2"); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestRoundingIsNoHandInTheRoutes(t *testing.T) {
	doc := virtualService(t, pair(28, 2))
	got := route.ReadAgainst(doc, web, traffic(5, nil))
	if want := (canary.Seen{Min: 5, Max: 5, Split: true}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := route.ReadAgainst(doc, web, traffic(10, nil)); got.Max != 7 || !got.Lowered || got.Raised {
		t.Errorf("a lowered canary reads as %+v", got)
	}
	if got := route.ReadAgainst(doc, web, traffic(1, nil)); got.Max != 7 || got.Lowered || !got.Raised {
		t.Errorf("a raised canary reads as %+v", got)
	}
}

func TestStateHasRoomForTheMarksOf150Routes(t *testing.T) {
	var routes strings.Builder
	for i := range 150 {
		fmt.Fprintf(&routes, "  - match: [{uri: {prefix: /%d}}]\n    route: [{destination: {host: web, subset: v1}}]\n", i)
	}
	_, marks := apply(t, virtualService(t, routes.String()), traffic(5, &exact), nil)
	b, err := json.Marshal(marks)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 1000 {
		t.Errorf("marks take %d bytes", len(b))
	}
}

func TestDocumentsOfAnyDecoderAreRead(t *testing.T) {
	for name, weight := range map[string]any{"int64": int64(75), "float64": 75.0, "json.Number": json.Number("75"), "int": 75} {
		doc := virtualService(t, pair(0, 25))
		destination := http(doc)[0].(map[string]any)["route"].([]any)[0].(map[string]any)
		destination["weight"] = weight
		out, _ := apply(t, doc, traffic(25, nil), nil)
		same(t, "a right weight as "+name, out, doc)
	}
}

func TestCookieMatchesThatCookieOnly(t *testing.T) {
	out, _ := apply(t, virtualService(t, lone), traffic(0, &cookie), nil)
	for value, want := range map[string]bool{
		"group=grey": true, "a=b; group=qa": true, "a=b;group=qa ; c=d": true, "group=grey; group=x": true,
		"group=greyish": false, "xgroup=grey": false, "group=gre": false, "a=group=grey": false, "": false, "Group=grey": false,
	} {
		q := routetest.Request{Path: "/", Headers: map[string]string{"cookie": value}}
		_, got := answer(t, out, q)[routetest.Target{Host: "web", Subset: "v2"}]
		if got != want {
			t.Errorf("cookie %q reaches the canary: %v, want %v", value, got, want)
		}
	}
}

func TestACookiesNameAndValueAreNoPatterns(t *testing.T) {
	dotted := canary.Header{Name: "app.version", Match: canary.MatchCookie, Values: []string{"v1.2"}}
	out, _ := apply(t, virtualService(t, lone), traffic(0, &dotted), nil)
	for value, want := range map[string]bool{
		"app.version=v1.2": true, "a=b; app.version=v1.2": true,
		"app-version=v1.2": false, "app.version=v1-2": false,
	} {
		q := routetest.Request{Path: "/", Headers: map[string]string{"cookie": value}}
		_, got := answer(t, out, q)[routetest.Target{Host: "web", Subset: "v2"}]
		if got != want {
			t.Errorf("cookie %q reaches the canary: %v, want %v", value, got, want)
		}
	}
}

func TestConditionsOnTheSameHeader(t *testing.T) {
	for _, c := range []struct {
		name, theirs string
		header       canary.Header
		want         map[string]any // of the header route; nil: there is none
		clear        bool           // the lack is as it should be
	}{
		{"theirs accepts ours", "{prefix: can}", exact, map[string]any{"exact": "canary"}, true},
		{"presence only", "{}", exact, map[string]any{"exact": "canary"}, true},
		{"the same", "{exact: canary}", exact, map[string]any{"exact": "canary"}, true},
		{"they exclude each other", "{exact: stable}", exact, nil, true},
		{"some of several values", "{regex: 'a.*'}", canary.Header{Name: "x-app-version", Match: canary.MatchExact, Values: []string{"a1", "b", "a2"}}, map[string]any{"regex": "a1|a2"}, true},
		{"their one value passes our prefix", "{exact: canary-7}", prefix, map[string]any{"exact": "canary-7"}, true},
		{"their one value does not", "{exact: stable}", regex, nil, true},
		{"the longer of two prefixes, theirs", "{prefix: canary-x}", prefix, map[string]any{"prefix": "canary-x"}, true},
		{"the longer of two prefixes, ours", "{prefix: c}", prefix, map[string]any{"prefix": "canary-"}, true},
		{"two prefixes apart", "{prefix: s}", prefix, nil, true},
		{"two regular expressions", "{regex: 's.*'}", regex, nil, false},
		{"a kind from the future", "{suffix: y}", exact, nil, false},
		{"an expression that is none", "{regex: '('}", exact, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := virtualService(t, "  - match: [{headers: {X-App-Version: "+c.theirs+"}}]\n    route: [{destination: {host: web, subset: v1}}]\n")
			out, _ := apply(t, doc, traffic(0, &c.header), nil)
			var got map[string]any
			if routes := http(out); len(routes) == 2 {
				match := routes[0].(map[string]any)["match"].([]any)[0].(map[string]any)
				got = match["headers"].(map[string]any)["x-app-version"].(map[string]any)
			}
			same(t, "matcher", got, c.want)
			if findings := route.Unreachable(doc, web, traffic(0, &c.header)); (len(findings) == 0) != c.clear {
				t.Errorf("findings: %+v", findings)
			}
			if route.ReadAgainst(out, web, traffic(0, &c.header)).HeaderLost {
				t.Error("what was written reads as lost")
			}
		})
	}
}

func TestARouteThatNamesASubsetTwice(t *testing.T) {
	doc := parse(t, `
metadata: {name: web, namespace: shop}
spec:
  http: [{route: [{destination: {host: web, subset: v1}, weight: 50}, {destination: {host: web, subset: v1}, weight: 50}, {destination: {host: api, subset: v1}}]}]
`)
	var got []string
	for _, f := range route.Repeated(doc, web) {
		if !f.Blocking || f.Mend == "" || f.Problem == "" || f.Object.String() != "VirtualService shop/web" {
			t.Errorf("finding %+v", f)
		}
		got = append(got, string(f.Reason)+" "+f.Field)
	}
	same(t, "problems", got, []string{"SubsetAmbiguous spec.http[0].route[1]"})
}

func TestCoarseWeights(t *testing.T) {
	steps := []int{5, 25, 100}
	for _, c := range []struct {
		sum      int
		problem  string
		blocking bool
	}{
		{100, "", false},
		{30, "weights that sum to 30 cannot express 5%; the nearest is 2 of 30", false},
		{130, "", false},
		{1, "weights that sum to 1 cannot express 5%", true},
		{9, "weights that sum to 9 cannot express 5%", true},
	} {
		var problem string
		var blocking bool
		for _, f := range route.Coarse(virtualService(t, pair(c.sum, 0)), web, traffic(0, nil), steps) {
			problem, blocking = problem+f.Problem, f.Blocking
		}
		if !strings.HasPrefix(problem, c.problem) || (problem == "") != (c.problem == "") || blocking != c.blocking {
			t.Errorf("sum %d: %q, blocking %v; want %q, %v", c.sum, problem, blocking, c.problem, c.blocking)
		}
	}
}

func TestFindTellsWhatARouteIs(t *testing.T) {
	doc := load(t, filepath.Join("testdata", "extra-destinations-and-mirror", "in.yaml"))
	out, _ := apply(t, doc, traffic(25, &exact), nil)
	routes := route.Find(out, web, "v1", "v2")
	if len(routes) != 2 || !routes[0].Header || routes[0].Serves() || routes[1].Header || !routes[1].Serves() {
		t.Fatalf("got %+v", routes)
	}
	r := routes[1]
	if r.Index != 1 || r.Path != "spec.http[1]" || r.Sum != 60 || r.Canary != 15 || r.Share() != 25 {
		t.Errorf("got %+v", r)
	}
	same(t, "destination of another Service", r.Destinations[3], route.Destination{Index: 3, Host: "legacy", Weight: 10, HasWeight: true})
}
