package route_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/route/routetest"
)

const bare = "  - route: [{destination: {host: web}}]\n"

func ours(stable, canary int) string {
	return fmt.Sprintf("  - route: [{destination: {host: web, subset: serin-stable}, weight: %d}, {destination: {host: web, subset: serin-canary}, weight: %d}]\n", stable, canary)
}

func unpin(doc map[string]any, marks []string) map[string]any {
	return route.Unpin(doc, web, "serin-stable", "serin-canary", marks)
}

// inPlace makes a VirtualService as people have them around one Deployment: of
// any subset or none. With several, some routes lead to the Service by more than
// one destination.
func (g generator) inPlace(several bool) map[string]any {
	doc := g.document()
	for _, entry := range http(doc) {
		entry := entry.(map[string]any)
		if _, ok := entry["route"]; ok {
			entry["route"] = g.anySubsets(several)
		}
	}
	return doc
}

func (g generator) anySubsets(several bool) []any {
	d := g.destination(g.host(), g.one("v1", "v2"))
	if g.chance(50) {
		delete(d["destination"].(map[string]any), "subset")
	}
	out := []any{d}
	if g.chance(50) {
		d["weight"] = int64([]int{0, 20, 40, 100, 400}[g.IntN(5)])
	}
	if several && g.chance(30) {
		more := g.destination(g.host(), g.one("v1", "v2", "v3"))
		if g.chance(70) {
			more["weight"] = int64(g.IntN(100))
		}
		out = append(out, more)
	}
	if g.chance(40) || len(out) > 1 {
		out = append(out, weighted(g.destination("api", "v1"), 1+g.IntN(50)))
	}
	g.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// byHost is a distribution with all of a host's subsets in one.
func byHost(d routetest.Distribution) routetest.Distribution {
	out := routetest.Distribution{}
	for k, p := range d {
		out[routetest.Target{Host: k.Host}] += p
	}
	return out
}

// shared is where the users of a VirtualService go while it is pinned.
func shared(d routetest.Distribution, weight int) routetest.Distribution {
	out := routetest.Distribution{}
	for k, p := range d {
		if !web.Matches(k.Host, "shop") {
			out[k] += p
			continue
		}
		if weight < 100 {
			out[routetest.Target{Host: k.Host, Subset: "serin-stable"}] += p * float64(100-weight) / 100
		}
		if weight > 0 {
			out[routetest.Target{Host: k.Host, Subset: "serin-canary"}] += p * float64(weight) / 100
		}
	}
	return out
}

func TestPinnedRequestsReachTheServiceTheyReachedBefore(t *testing.T) {
	for seed := range uint64(150) {
		if checkPins(t, seed); t.Failed() {
			return
		}
	}
}

func FuzzPins(f *testing.F) {
	f.Add(uint64(1 << 40))
	f.Fuzz(func(t *testing.T, seed uint64) { checkPins(t, seed) })
}

// checkPins tells that a release in place, of any weights and to the end, moves
// requests between its two versions only and exactly, that QA reaches the canary
// wherever users reach the Service, that every edit is absolute and idempotent,
// and that the user's document comes back to the byte.
func checkPins(t *testing.T, seed uint64) {
	g := newGenerator(seed)
	several := g.chance(30) // then the canary gets no users
	in := g.inPlace(several)
	before, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	doc, marks := in, []string(nil)
	for range 4 {
		tr := pins(0, &exact)
		if !several {
			tr.Weight = shares[g.IntN(len(shares))]
		}
		doc, marks = apply(t, doc, tr, marks)
		for range 20 {
			q := g.request()
			was := answer(t, in, q)
			expect(t, seed, doc, q, shared(was, tr.Weight))
			q.Headers["x-app-version"] = "canary"
			if was = answer(t, in, q); served(was) {
				now := answer(t, doc, q)
				for k := range now {
					if len(now) != 1 || k.Subset != "serin-canary" {
						t.Errorf("seed %d: QA goes to %v", seed, now)
					}
				}
			} else {
				expect(t, seed, doc, q, was)
			}
		}
		checkEdit(t, in, doc, tr, marks)
	}
	if after, err := json.Marshal(unpin(doc, marks)); err != nil || string(after) != string(before) {
		t.Errorf("seed %d: taken off (%v)\n%s\nwant\n%s", seed, err, after, before)
	}
}

func served(d routetest.Distribution) bool {
	for k := range d {
		if web.Matches(k.Host, "shop") {
			return true
		}
	}
	return false
}

// checkEdit tells that doc is the one result of tr, and reads as such.
func checkEdit(t *testing.T, in, doc map[string]any, tr canary.Traffic, marks []string) {
	t.Helper()
	again, againMarks := apply(t, doc, tr, marks)
	direct, directMarks := apply(t, in, tr, nil)
	same(t, "again", again, doc)
	same(t, "marks again", againMarks, marks)
	same(t, "from the beginning", direct, doc)
	same(t, "marks from the beginning", directMarks, marks)
	if seen := route.ReadAgainst(doc, web, tr); seen.Lowered || seen.Raised || seen.HeaderLost || seen.Unpinned != "" {
		t.Errorf("what was written reads as %+v by\n%s", seen, dump(doc))
	}
	sums := func(doc map[string]any) (out []int) {
		for _, r := range route.Find(route.Pinned(doc, web, tr), web, tr.Stable, tr.Canary) {
			if !r.Header {
				out = append(out, r.Sum)
			}
		}
		return out
	}
	same(t, "sums", sums(doc), sums(in))
}

func TestPinningAtNothingMovesNobody(t *testing.T) {
	for seed := range uint64(150) {
		g := newGenerator(seed)
		in := g.inPlace(true)
		out, _ := apply(t, in, pins(0, nil), nil)
		for range 20 {
			q := g.request()
			was, now := answer(t, in, q), answer(t, out, q)
			if !alike(byHost(now), byHost(was)) {
				t.Errorf("%+v goes to %v, before to %v", q, now, was)
			}
			for k := range now {
				if web.Matches(k.Host, "shop") && k.Subset != "serin-stable" {
					t.Errorf("%+v goes to %+v", q, k)
				}
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestWhatUsersEditWhileRoutesArePinned(t *testing.T) {
	in := "  - name: a\n    match: [{uri: {prefix: /a}}]\n    route: [{destination: {host: web, subset: v1}, weight: 30}]\n" + bare
	at := func(weight int) string {
		return fmt.Sprintf("  - name: a\n    match: [{uri: {prefix: /a}}]\n    route: [{destination: {host: web, subset: serin-stable}, weight: %d}, {destination: {host: web, subset: serin-canary}, weight: %d}]\n", 100-weight, weight) + ours(100-weight, weight)
	}
	for name, c := range map[string]struct {
		edit [2]string
		then string // when applied again; empty: it is refused
		end  string // when taken off, applied again or not
	}{
		"nothing": {[2]string{"", ""}, at(50), in},
		"a timeout": {[2]string{"  - name: a\n", "  - name: a\n    timeout: 9s\n"},
			strings.Replace(at(50), "  - name: a\n", "  - name: a\n    timeout: 9s\n", 1),
			strings.Replace(in, "  - name: a\n", "  - name: a\n    timeout: 9s\n", 1)},
		"another route, unpinned": {[2]string{"  - name: a\n", "  - name: new\n    route: [{destination: {host: web, subset: v3}}]\n  - name: a\n"},
			"  - name: new\n    " + strings.TrimPrefix(ours(50, 50), "  - ") + at(50),
			"  - name: new\n    route: [{destination: {host: web, subset: v3}}]\n" + in},
		"a route back to what it was": {[2]string{ours(75, 25), bare}, at(50), in},
		"a route to another subset and weight": {[2]string{ours(75, 25), "  - route: [{destination: {host: web, subset: v4}, weight: 7}]\n"}, at(50),
			strings.Replace(in, bare, "  - route: [{destination: {host: web, subset: v4}, weight: 7}]\n", 1)},
		"the subset only, with the canary still beside it": {[2]string{"subset: serin-stable}, weight: 75}, {destination: {host: web, subset: serin-canary}, weight: 25}]\n  - route", "subset: v2}, weight: 75}, {destination: {host: web, subset: serin-canary}, weight: 25}]\n  - route"},
			at(50), strings.Replace(in, "v1", "v2", 1)},
		"the canary taken out":                  {[2]string{", {destination: {host: web, subset: serin-canary}, weight: 25}]\n  - route", "]\n  - route"}, at(50), in},
		"the canary taken out beside no weight": {[2]string{ours(75, 25), "  - route: [{destination: {host: web, subset: serin-stable}, weight: 75}]\n"}, at(50), in},
		"the canary doubled":                    {[2]string{ours(75, 25), strings.Replace(ours(75, 20), "}]", "}, {destination: {host: web, subset: serin-canary}, weight: 5}]", 1)}, "", in},
		"stable taken out":                      {[2]string{"{destination: {host: web, subset: serin-stable}, weight: 75}, {destination: {host: web, subset: serin-canary}, weight: 25}]\n  - route", "{destination: {host: web, subset: serin-canary}, weight: 25}]\n  - route"}, at(50), in},
		"the weights":                           {[2]string{ours(75, 25), ours(10, 90)}, at(50), in},
		"a route taken out":                     {[2]string{ours(75, 25), ""}, strings.Replace(at(50), ours(50, 50), "", 1), strings.Replace(in, bare, "", 1)},
		"another Service beside the lone one": {[2]string{"weight: 25}]\n  - route", "weight: 25}, {destination: {host: api}, weight: 10}]\n  - route"},
			strings.Replace(at(50), "weight: 50}]\n  - route", "weight: 50}, {destination: {host: api}, weight: 10}]\n  - route", 1),
			strings.Replace(in, "weight: 30}]", "weight: 100}, {destination: {host: api}, weight: 10}]", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			mid, marks := apply(t, virtualService(t, in), pins(25, nil), nil)
			same(t, "before", mid, virtualService(t, at(25)))
			if !strings.Contains(at(25), c.edit[0]) {
				t.Fatalf("%q is not there", c.edit[0])
			}
			edited := virtualService(t, strings.Replace(at(25), c.edit[0], c.edit[1], 1))
			same(t, "taken off", unpin(edited, marks), virtualService(t, c.end))
			if c.then == "" {
				if _, _, err := route.Apply(edited, web, pins(50, nil), marks); err == nil {
					t.Error("applied")
				}
				return
			}
			next, marks := apply(t, edited, pins(50, nil), marks)
			same(t, "applied", next, virtualService(t, c.then))
			same(t, "applied and taken off", unpin(next, marks), virtualService(t, c.end))
		})
	}
}

func TestWithoutMarksThePinsGoByTheirNames(t *testing.T) {
	in := "  - name: a\n    route: [{destination: {host: web, subset: v1}, weight: 30}]\n" +
		"  - name: b\n    route: [{destination: {host: web, subset: v1}, weight: 30}, {destination: {host: api}, weight: 70}]\n"
	want := virtualService(t, "  - name: a\n    route: [{destination: {host: web}}]\n"+
		"  - name: b\n    route: [{destination: {host: web}, weight: 30}, {destination: {host: api}, weight: 70}]\n")
	mid, _ := apply(t, virtualService(t, in), pins(50, &exact), nil)
	same(t, "marks lost", unpin(mid, nil), want)
	again, marks := apply(t, mid, pins(100, &exact), []string{"nonsense", "^", "^v1", ""})
	same(t, "marks lost in mid-release", unpin(again, marks), want)
	_, pairs := apply(t, virtualService(t, strings.ReplaceAll(in, "30}, {", "30}, {destination: {host: web, subset: v2}}, {")), traffic(5, nil), nil)
	same(t, "marks of pair mode", unpin(mid, pairs), want)
}

func TestPairModeReadsNoMarksOfPins(t *testing.T) {
	_, marks := apply(t, virtualService(t, lone), pins(5, nil), nil)
	_, marks = apply(t, virtualService(t, pair(95, 5)), traffic(5, nil), marks)
	same(t, "marks", marks, []string(nil))
}

func TestWhatIsNotPinnedIsNotTakenOff(t *testing.T) {
	for _, routes := range []string{bare, lone, pair(75, 25), "  - route: [{destination: {host: web}, weight: 7}]\n", "  - redirect: {uri: /}\n"} {
		doc := virtualService(t, routes)
		same(t, routes, unpin(doc, nil), doc)
	}
}

func TestWhatAHandLedToTheCanaryAloneLeadsToTheServiceAtTheEnd(t *testing.T) {
	way := "  - match: [{headers: {end-user: {exact: jason}}}]\n    route: [{destination: {host: web, subset: %s}}]\n"
	mid, marks := apply(t, virtualService(t, bare), pins(50, nil), nil)
	mid["spec"].(map[string]any)["http"] = append(http(virtualService(t, fmt.Sprintf(way, "serin-canary"))), http(mid)...)
	next, marks := apply(t, mid, pins(50, &exact), marks)
	same(t, "the way in", http(next)[0], http(mid)[0])
	want := virtualService(t, strings.Replace(fmt.Sprintf(way, "v1"), ", subset: v1", "", 1)+bare)
	same(t, "taken off", unpin(next, marks), want)
}

func TestPinsThatNoRouteCanCarry(t *testing.T) {
	twice := "  - route: [{destination: {host: web, subset: v1}, weight: 60}, {destination: {host: web, subset: v2}, weight: 40}]\n"
	grain := "  - route: [{destination: {host: web}, weight: 1}, {destination: {host: api}, weight: 99}]\n"
	doc := virtualService(t, twice+grain)
	_, _, err := route.Apply(doc, web, pins(5, nil), nil)
	for _, want := range []string{
		"spec.http[0] leads to web.shop by 2 destinations, and which of them a share is of is unclear: make them one",
		"spec.http[1]: a weight of 1 for web.shop cannot be shared out at 5%: multiply all weights of the route, so that web.shop has 100 or more",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}

	pinned, marks := apply(t, doc, pins(0, nil), nil)
	if seen := route.ReadAgainst(pinned, web, pins(0, nil)); seen.Raised || seen.Max != 0 {
		t.Errorf("pinned at 0 it reads as %+v", seen)
	}
	for when, doc := range map[string]map[string]any{"before": doc, "while pinned": pinned} {
		var got []string
		for _, f := range route.Pinnable(doc, web, pins(0, nil)) {
			if !f.Blocking || f.Mend == "" || f.Object.String() != "VirtualService shop/web" {
				t.Errorf("finding %+v", f)
			}
			got = append(got, fmt.Sprintf("%s %s: %s", f.Reason, f.Field[:len("spec.http[0].route")], f.Problem))
		}
		same(t, "found "+when, got, []string{"SubsetAmbiguous spec.http[0].route: the route leads to web.shop by 2 destinations; a release in place shares out the requests of one"})
	}
	same(t, "taken off", unpin(pinned, marks), doc)
}

func TestFindingsOfRoutesThatAreNotPinnedYet(t *testing.T) {
	grain := virtualService(t, "  - route: [{destination: {host: web}, weight: 30}, {destination: {host: api}, weight: 2}]\n")
	found := route.Coarse(grain, web, pins(0, nil), []int{5, 50})
	if len(found) != 1 || found[0].Blocking || found[0].Problem != "a weight of 30 for web.shop cannot be shared out at 5%; the nearest is 2 of 30" || !strings.HasPrefix(found[0].Mend, "Multiply") {
		t.Errorf("coarse: %+v", found)
	}
	if found := route.Coarse(virtualService(t, bare+lone), web, pins(0, nil), []int{1, 50, 99}); len(found) > 0 {
		t.Errorf("coarse: %+v", found)
	}
	header := virtualService(t, "  - match: [{headers: {x-app-version: {regex: s.*}}}]\n    route: [{destination: {host: web}}]\n")
	if found := route.Unreachable(header, web, pins(0, &regex)); len(found) != 1 || found[0].Field != "spec.http[0].match[0].headers.x-app-version" {
		t.Errorf("unreachable: %+v", found)
	}
}

func TestAnUnpinnedDestinationReadsAsARaise(t *testing.T) {
	half := pins(50, nil)
	for _, c := range []struct {
		name, routes string
		want         canary.Seen
	}{
		{"pinned", ours(50, 50), canary.Seen{Min: 50, Max: 50, Split: true}},
		{"none is", bare, canary.Seen{Raised: true, Unpinned: "spec.http[0].route[0]"}},
		{"a subset of the user's is no pin", lone, canary.Seen{Raised: true, Unpinned: "spec.http[0].route[0]"}},
		{"one of two", ours(50, 50) + bare, canary.Seen{Min: 50, Max: 50, Split: true, Raised: true, Unpinned: "spec.http[1].route[0]"}},
		{"beside the pinned one", "  - route: [{destination: {host: web, subset: serin-stable}, weight: 50}, {destination: {host: web, subset: serin-canary}, weight: 50}, {destination: {host: web}, weight: 1}]\n",
			canary.Seen{Min: 50, Max: 50, Split: true, Raised: true, Unpinned: "spec.http[0].route[2]"}},
		{"without requests", ours(50, 50) + "  - route: [{destination: {host: web}, weight: 0}, {destination: {host: api}, weight: 1}]\n", canary.Seen{Min: 50, Max: 50, Split: true}},
		{"lowered too", ours(75, 25) + bare, canary.Seen{Min: 25, Max: 25, Split: true, Lowered: true, Raised: true, Unpinned: "spec.http[1].route[0]"}},
		{"another Service's", ours(50, 50) + "  - route: [{destination: {host: api}}]\n", canary.Seen{Min: 50, Max: 50, Split: true}},
		{"the canary alone", "  - route: [{destination: {host: web, subset: serin-canary}}]\n", canary.Seen{Min: 100, Max: 100, Raised: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := route.ReadAgainst(virtualService(t, c.routes), web, half)
			got.Header = false // nothing is asked of it
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	if seen := route.ReadAgainst(virtualService(t, bare), web, traffic(50, nil)); seen.Raised || seen.Unpinned != "" {
		t.Errorf("unasked: %+v", seen)
	}
}

func TestAtRestNoRouteServesByOurSubsets(t *testing.T) {
	doc := virtualService(t, bare+lone+pair(75, 25))
	for _, r := range route.Find(doc, web, "serin-stable", "serin-canary") {
		if r.Serves() {
			t.Errorf("%s serves", r.Path)
		}
	}
	if seen := route.Read(doc, web, "serin-stable", "serin-canary"); !reflect.DeepEqual(seen, canary.Seen{}) {
		t.Errorf("it reads as %+v", seen)
	}
}

func TestStateHasRoomForThePinsOf150Routes(t *testing.T) {
	var routes strings.Builder
	for i := range 150 {
		fmt.Fprintf(&routes, "  - match: [{uri: {prefix: /%d}}]\n    route: [{destination: {host: web, subset: v%d}}]\n", i, i%2)
	}
	_, marks := apply(t, virtualService(t, routes.String()), pins(5, &exact), nil)
	b, err := json.Marshal(marks)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 1000 {
		t.Errorf("marks take %d bytes", len(b))
	}
}
