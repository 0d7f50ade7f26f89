package route_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/route/routetest"
)

func serve(t *testing.T, doc map[string]any, q routetest.Request) routetest.Reply {
	t.Helper()
	reply, err := routetest.Serve(doc, q)
	if err != nil {
		t.Fatal(err, dump(doc))
	}
	return reply
}

// orders are what a release asks of routes, from its first copy to its last cookie.
func (g generator) orders() []canary.Traffic {
	header := []*canary.Header{nil, &exact, &several, &cookie}[g.IntN(4)]
	return []canary.Traffic{
		traffic(0, header), mirror(traffic(0, header), 1+g.IntN(100)), mirror(traffic(0, header), 1+g.IntN(100)),
		sticky(traffic(5, header)), traffic(5, header), sticky(traffic(50, header)), sticky(traffic(100, header)),
		sticky(traffic(0, nil)),
	}
}

// users tells what part of a distribution are users of the Service.
func users(d routetest.Distribution) (part float64) {
	for to, p := range d {
		if web.Matches(to.Host, "shop") && (to.Subset == "v1" || to.Subset == "v2") {
			part += p
		}
	}
	return part
}

func TestCopiesAndCookiesMeanWhatTheyShall(t *testing.T) {
	kept := 0
	for seed := range uint64(120) {
		g := newGenerator(seed)
		in := g.document()
		doc, marks := in, []string(nil)
		for _, tr := range g.orders() {
			out, fresh, err := route.Apply(doc, web, tr, marks)
			if obstacles := route.Unsticky(doc, web, tr, marks); (err == nil) != (len(obstacles) == 0 || tr.Weight == 0 || tr.Weight == 100) {
				t.Fatalf("seed %d: the error %v and %d findings by\n%s", seed, err, len(obstacles), dump(doc))
			}
			if err != nil {
				continue
			}
			doc, marks = out, fresh
			if direct, directMarks := apply(t, in, tr, nil); !reflect.DeepEqual(direct, doc) || !reflect.DeepEqual(directMarks, marks) {
				t.Fatalf("seed %d: %+v applied to the routes at rest is\n%s\n%v, and in turn\n%s\n%v", seed, tr, dump(direct), directMarks, dump(doc), marks)
			}
			seen := route.ReadAgainst(doc, web, tr)
			if seen.MirrorLost || seen.StickyLost || seen.HeaderLost || seen.Lowered || seen.Raised {
				t.Fatalf("seed %d: %+v reads as %+v by\n%s", seed, tr, seen, dump(doc))
			}
			for range 15 {
				kept += g.checkCopies(t, in, doc, tr)
				if t.Failed() {
					t.Fatalf("seed %d: %+v by\n%s", seed, tr, dump(doc))
				}
			}
		}
		if got := route.Clean(doc, web, "v1", "v2", marks); !reflect.DeepEqual(got, in) {
			t.Fatalf("seed %d: cleaned\n%s\nwant\n%s", seed, dump(got), dump(in))
		}
	}
	if kept < 1000 {
		t.Errorf("only %d requests brought a cookie that counts", kept)
	}
}

// checkCopies sends a request without a cookie, and ones with the cookie of each version
// and of an older step. It counts those that are led by it.
func (g generator) checkCopies(t *testing.T, in, doc map[string]any, tr canary.Traffic) (kept int) {
	t.Helper()
	q := g.request()
	delete(q.Headers, "cookie")
	delete(q.Headers, "x-group")
	before := answer(t, in, q)
	want := split(before, tr.Weight)
	reply := serve(t, doc, q)
	if !alike(reply.To, want) {
		t.Errorf("%+v goes to %v, want %v", q, reply.To, want)
	}
	copied := 0.0
	for to, p := range reply.Copies {
		if to.Subset != "v2" || !web.Matches(to.Host, "shop") {
			t.Errorf("copies go to %v", to)
		}
		copied += p
	}
	if want := float64(tr.Mirror) / 100; users(split(before, 0)) > 0 && !onlyCanary(before) && copied != want || users(before) == 0 && copied > 0 {
		t.Errorf("%v of the requests %+v are copied, want %v", copied, q, want)
	}
	if tr.Sticky == nil || tr.Weight == 0 || tr.Weight == 100 || users(before) == 0 || onlyCanary(before) {
		if len(reply.Cookies) > 0 {
			t.Errorf("%+v is told %v", q, reply.Cookies)
		}
		return 0
	}
	for to, said := range reply.Cookies {
		value := map[string]string{"v1": cookies.Stable, "v2": cookies.Canary}[to.Subset]
		if said != "serin-web="+value+"; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax" {
			t.Errorf("%v tells %q", to, said)
		}
	}
	for value, want := range map[string]routetest.Distribution{
		cookies.Canary: split(before, 100), cookies.Stable: split(before, 0), "stable.r1.1.5": split(before, tr.Weight),
		"canary.r0": split(before, tr.Weight), "x" + cookies.Canary: split(before, tr.Weight), "canaryxr1": split(before, tr.Weight),
	} {
		for _, form := range []string{"serin-web=%s", "a=b; serin-web=%s; c=d", "a=b;serin-web=%s;c=d", "xserin-web=" + cookies.Stable + "; serin-web=%s"} {
			q.Headers["cookie"] = fmt.Sprintf(form, value)
			if got := answer(t, doc, q); !alike(got, want) {
				t.Errorf("with the cookies %q requests go to %v, want %v", q.Headers["cookie"], got, want)
			}
			kept++
		}
	}
	return kept
}

// onlyCanary tells that a request went to the canary before any release: by the user's
// own route for testers.
func onlyCanary(d routetest.Distribution) bool {
	for to := range d {
		if to.Subset != "v2" {
			return false
		}
	}
	return true
}

func TestTestersAreNeitherCopiedNorKept(t *testing.T) {
	doc := virtualService(t, lone)
	q := routetest.Request{Path: "/", Headers: map[string]string{"x-app-version": "canary", "cookie": "serin-web=" + cookies.Stable}}
	for _, tr := range []canary.Traffic{mirror(traffic(0, &exact), 100), sticky(traffic(50, &exact))} {
		out, _ := apply(t, doc, tr, nil)
		reply := serve(t, out, q)
		if !alike(reply.To, routetest.Distribution{{Host: "web", Subset: "v2"}: 1}) || len(reply.Copies) > 0 || len(reply.Cookies) > 0 {
			t.Errorf("with %+v testers have %+v", tr, reply)
		}
	}
}

func TestApplyRefusesRoutesThatCannotMirrorOrKeepUsers(t *testing.T) {
	route1 := func(more string) string {
		return "  - route: [{destination: {host: web, subset: v1}" + more + "}]\n"
	}
	const whole = "    %s\n"
	for name, c := range map[string]struct {
		routes string
		tr     canary.Traffic
		want   []string
	}{
		"a mirror": {lone + fmt.Sprintf(whole, "mirror: {host: audit}"), mirror(traffic(0, nil), 10), []string{
			"split VirtualService shop/web: spec.http[0].mirror: the route sends copies of its requests already, and those to the canary would stand in their place: take the mirror steps out of serin.dev/steps, or the mirror out of the route while there is a release"}},
		"a list of mirrors":      {lone + fmt.Sprintf(whole, "mirrors: [{destination: {host: audit}}]"), mirror(traffic(0, nil), 10), []string{"spec.http[0].mirrors: "}},
		"an empty list of them":  {lone + fmt.Sprintf(whole, "mirrors: []"), mirror(traffic(0, nil), 10), []string{"spec.http[0].mirrors: "}},
		"all routes that mirror": {pair(100, 0) + fmt.Sprintf(whole, "mirror: {host: audit}") + lone + fmt.Sprintf(whole, "mirror: {host: audit}"), mirror(traffic(0, nil), 10), []string{"spec.http[0].mirror", "spec.http[1].mirror"}},
		"a cookie of the user's": {route1(", headers: {response: {add: {Set-Cookie: a=b}}}"), sticky(traffic(5, nil)), []string{
			"spec.http[0].route[0].headers.response.add.Set-Cookie: the route says itself which cookies its answers set, and leaves no room for the cookie of a version: take serin.dev/sticky away, or let the application set its cookies"}},
		"a cookie that is set in place of all":      {route1(", headers: {response: {set: {set-cookie: a=b}}}"), sticky(traffic(5, nil)), []string{"route[0].headers.response.set.set-cookie"}},
		"cookies that the whole route sets":         {lone + fmt.Sprintf(whole, "headers: {response: {set: {set-cookie: a=b}}}"), sticky(traffic(5, nil)), []string{"spec.http[0].headers.response.set.set-cookie"}},
		"cookies that the whole route takes away":   {lone + fmt.Sprintf(whole, "headers: {response: {remove: [x, Set-Cookie]}}"), sticky(traffic(5, nil)), []string{"spec.http[0].headers.response.remove: "}},
		"empty headers, whose place nobody knows":   {route1(", headers: {}"), sticky(traffic(5, nil)), []string{"spec.http[0].route[0].headers: it is empty"}},
		"empty headers of answers":                  {route1(", headers: {request: {set: {a: b}}, response: {}}"), sticky(traffic(5, nil)), []string{"route[0].headers.response: it is empty"}},
		"empty headers to add":                      {route1(", headers: {response: {remove: [a], add: {}}}"), sticky(traffic(5, nil)), []string{"route[0].headers.response.add: it is empty"}},
		"a condition on cookies":                    {lone + fmt.Sprintf(whole, `match: [{headers: {cookie: {regex: ".*beta.*"}}}]`), sticky(traffic(5, nil)), []string{"spec.http[0].match[0].headers.cookie: the route has its own condition on cookies"}},
		"another Service":                           {"  - route: [{destination: {host: web, subset: v1}, weight: 50}, {destination: {host: static}, weight: 50}]\n", sticky(traffic(5, nil)), []string{"spec.http[0].route[1]: the route shares its requests with a destination that is no version of web.shop"}},
		"everything at once":                        {route1(", headers: {response: {add: {set-cookie: a=b}}}") + lone + fmt.Sprintf(whole, "headers: {response: {remove: [set-cookie]}}"), sticky(traffic(5, nil)), []string{"spec.http[0]", "spec.http[1]"}},
		"a cookie beside weights that are too few":  {pair(1, 0) + fmt.Sprintf(whole, "headers: {response: {remove: [set-cookie]}}"), sticky(traffic(50, nil)), []string{"sum to 1", "headers.response.remove"}},
		"a mirror after the first user was sent on": {lone, mirror(traffic(5, nil), 10), []string{"copies of 10% at a weight of 5: a mirror is of 0 to 100, and before any weight"}},
		"copies of more than there is":              {lone, mirror(traffic(0, nil), 101), []string{"copies of 101%"}},
	} {
		t.Run(name, func(t *testing.T) {
			doc := virtualService(t, c.routes)
			out, _, err := route.Apply(doc, web, c.tr, nil)
			if err == nil || out != nil {
				t.Fatalf("got %v, %v; want only an error", dump(out), err)
			}
			findings := append(route.Mirroring(doc, web, c.tr, nil), route.Unsticky(doc, web, c.tr, nil)...)
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			for _, f := range findings {
				if !f.Blocking || f.Mend == "" || !strings.Contains(err.Error(), f.Field) && c.tr.Mirror == 0 {
					t.Errorf("found %+v, and the error is %v", f, err)
				}
			}
			c.tr.Mirror, c.tr.Weight = 0, 0
			if _, _, err := route.Apply(doc, web, c.tr, nil); err != nil {
				t.Errorf("back to stable: %v", err)
			}
		})
	}
}

func TestApplyRefusesCookiesThatAreNone(t *testing.T) {
	for want, change := range map[string]func(*canary.Sticky){
		`the name, "a=b", has to be letters`:                   func(s *canary.Sticky) { s.Cookie = "a=b" },
		`the value of the canary's, "a;b"`:                     func(s *canary.Sticky) { s.Canary = "a;b" },
		`the value of stable's, "%DOWNSTREAM_REMOTE_ADDRESS%"`: func(s *canary.Sticky) { s.Stable = "%DOWNSTREAM_REMOTE_ADDRESS%" },
		`the value of stable's, ""`:                            func(s *canary.Sticky) { s.Stable = "" },
		`both versions have the value "same"`:                  func(s *canary.Sticky) { s.Canary, s.Stable = "same", "same" },
		"an age of 0s is less than 1s":                         func(s *canary.Sticky) { s.MaxAge = 0 },
	} {
		s := cookies
		change(&s)
		tr := traffic(5, nil)
		tr.Sticky = &s
		if _, _, err := route.Apply(virtualService(t, lone), web, tr, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestHandsOnCopiesAndCookies tells what ReadAgainst sees of them, and that the next
// write leaves what is not ours.
func TestHandsOnCopiesAndCookies(t *testing.T) {
	type entry = map[string]any
	at := func(doc entry, i int) entry { return http(doc)[i].(entry) }
	copies, kept := mirror(traffic(0, &exact), 10), sticky(traffic(25, &exact))
	theirs := entry{"destination": entry{"host": "audit"}, "percentage": entry{"value": int64(3)}}
	for name, c := range map[string]struct {
		tr                   canary.Traffic
		change               func(doc entry)
		mirror               int
		mirrorLost, lost, qa bool
	}{
		"nothing at copies":               {copies, func(entry) {}, 10, false, false, true},
		"nothing at cookies":              {kept, func(entry) {}, 0, false, false, true},
		"the copies are taken off":        {copies, func(d entry) { delete(at(d, 1), "mirrors") }, 0, true, false, true},
		"more is copied":                  {copies, func(d entry) { at(d, 1)["mirrors"].([]any)[0].(entry)["percentage"] = entry{"value": 50.5} }, 51, true, false, true},
		"copies go elsewhere":             {copies, func(d entry) { at(d, 1)["mirrors"] = []any{theirs} }, 0, true, false, false},
		"somebody has copies besides":     {copies, func(d entry) { at(d, 1)["mirrors"] = append(at(d, 1)["mirrors"].([]any), theirs) }, 10, false, false, false},
		"testers are copied":              {copies, func(d entry) { at(d, 0)["mirrors"] = at(d, 1)["mirrors"] }, 10, false, false, true},
		"the testers' route goes":         {copies, func(d entry) { d["spec"].(entry)["http"] = http(d)[1:] }, 10, false, false, false},
		"a copy comes to the canary":      {kept, func(d entry) { at(d, 3)["mirror"] = entry{"host": "web", "subset": "v2"} }, 100, false, true, false},
		"a cookie's route goes":           {kept, func(d entry) { h := http(d); d["spec"].(entry)["http"] = []any{h[0], h[2], h[3]} }, 0, false, true, true},
		"the testers' route goes beside":  {kept, func(d entry) { d["spec"].(entry)["http"] = http(d)[1:] }, 0, false, false, false},
		"a version's cookie goes":         {kept, func(d entry) { delete(at(d, 3)["route"].([]any)[0].(entry), "headers") }, 0, false, true, true},
		"cookies change places":           {kept, func(d entry) { h := http(d); h[1], h[2] = h[2], h[1] }, 0, false, true, true},
		"a cookie leads somewhere else":   {kept, func(d entry) { at(d, 1)["route"] = at(d, 2)["route"] }, 0, false, true, true},
		"all of it is written as it was":  {kept, func(d entry) { d["spec"] = virtualService(t, lone)["spec"] }, 0, false, true, false},
		"the copies are as they were not": {copies, func(d entry) { d["spec"] = virtualService(t, lone)["spec"] }, 0, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			doc, marks := apply(t, virtualService(t, lone), c.tr, nil)
			c.change(doc)
			seen := route.ReadAgainst(doc, web, c.tr)
			if seen.Mirror != c.mirror || seen.MirrorLost != c.mirrorLost || seen.StickyLost != c.lost || seen.HeaderLost == c.qa {
				t.Errorf("reads as %+v by\n%s", seen, dump(doc))
			}
			cleaned := route.Clean(doc, web, "v1", "v2", marks)
			for _, own := range []string{"serin-", "v2=", "set-cookie"} {
				if strings.Contains(dump(cleaned), own) {
					t.Errorf("%s is left by\n%s", own, dump(cleaned))
				}
			}
			if strings.Contains(dump(doc), "audit") != strings.Contains(dump(cleaned), "audit") {
				t.Errorf("what is not ours went by\n%s", dump(cleaned))
			}
		})
	}
}

// TestCopiesOfAnybodyElseStay has a person add copies to the same canary in the middle
// of a release: they are not ours, at whatever share.
func TestCopiesOfAnybodyElseStay(t *testing.T) {
	doc, marks := apply(t, virtualService(t, lone), traffic(25, nil), nil)
	mine := []any{map[string]any{"destination": map[string]any{"host": "web", "subset": "v2"}, "percentage": map[string]any{"value": int64(10)}}}
	http(doc)[0].(map[string]any)["mirrors"] = mine
	for _, weight := range []int{50, 0} {
		doc, marks = apply(t, doc, traffic(weight, nil), marks)
		same(t, "their copies", http(doc)[0].(map[string]any)["mirrors"], any(mine))
	}
	same(t, "their copies at rest", http(route.Clean(doc, web, "v1", "v2", marks))[0].(map[string]any)["mirrors"], any(mine))
	if found := route.Mirroring(doc, web, mirror(traffic(0, nil), 10), marks); len(found) != 1 || found[0].Reason != canary.MirrorTaken || found[0].Field != "spec.http[0].mirrors" {
		t.Errorf("found %+v", found)
	}
}

// TestCopiesOfAnybodyElseStayBesideOurs has a person add copies to stable's subset of
// the same Service while ours are there.
func TestCopiesOfAnybodyElseStayBesideOurs(t *testing.T) {
	doc, marks := apply(t, virtualService(t, lone), mirror(traffic(0, nil), 10), nil)
	theirs := map[string]any{"destination": map[string]any{"host": "web", "subset": "v1"}, "percentage": map[string]any{"value": int64(5)}}
	first := http(doc)[0].(map[string]any)
	first["mirrors"] = append([]any{theirs}, first["mirrors"].([]any)...)
	left := route.Clean(doc, web, "v1", "v2", marks)
	same(t, "what is left", http(left)[0].(map[string]any)["mirrors"], any([]any{theirs}))
}

func TestOwnRoutesOfServicesThatShareARouteStandStill(t *testing.T) {
	shared := "  - name: shared\n    route: [{destination: {host: web, subset: v1}}]\n"
	one := virtualService(t, shared)
	http(one)[0].(map[string]any)["route"] = append(http(one)[0].(map[string]any)["route"].([]any),
		map[string]any{"destination": map[string]any{"host": "web-api", "subset": "v1"}, "weight": int64(50)})
	http(one)[0].(map[string]any)["route"].([]any)[0].(map[string]any)["weight"] = int64(50)
	api := route.Service{Namespace: "shop", Name: "web-api", ClusterDomain: "cluster.local"}
	doc, marks := apply(t, one, traffic(5, &exact), nil)
	doc, apiMarks, err := route.Apply(doc, api, traffic(5, &cookie), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		again, _ := apply(t, doc, traffic(5, &exact), marks)
		same(t, "as web has it", again, doc)
		again, _, err := route.Apply(doc, api, traffic(5, &cookie), apiMarks)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "as web-api has it", again, doc)
	}
}

// TestCopiesOfAServiceAreNotOnRoutesOfAnother has two Services share a route, one of
// which sends copies of it. What the other puts before it carries none of them: nobody
// would take them off there, and the other's routes would change with each mirror.
func TestCopiesOfAServiceAreNotOnRoutesOfAnother(t *testing.T) {
	in := virtualService(t, "  - name: shared\n    route: [{destination: {host: web, subset: v1}, weight: 50}, {destination: {host: web-api, subset: v1}, weight: 50}]\n")
	api := route.Service{Namespace: "shop", Name: "web-api", ClusterDomain: "cluster.local"}
	ordered := traffic(5, &cookie)
	copied, marks := apply(t, in, mirror(traffic(0, &exact), 10), nil)
	doc, apiMarks, err := route.Apply(copied, api, ordered, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, entry := range http(doc)[:2] {
		if _, found := entry.(map[string]any)["mirrors"]; found {
			t.Errorf("spec.http[%d] sends copies:\n%s", i, dump(doc))
		}
	}
	doc, marks = apply(t, doc, traffic(5, &exact), marks)
	if seen := route.ReadAgainst(doc, api, ordered); seen.HeaderLost {
		t.Errorf("with the mirror the other's route went:\n%s", dump(doc))
	}
	doc = route.Clean(doc, web, "v1", "v2", marks)
	same(t, "both at rest", route.Clean(doc, api, "v1", "v2", apiMarks), in)
}

// TestCookiesGoWithoutMarks has somebody take the state away, with which the marks go:
// the cookies are nobody else's.
func TestCookiesGoWithoutMarks(t *testing.T) {
	theirs := "  - route: [{destination: {host: web, subset: v1}, headers: {response: {add: {set-cookie: serin-theme=dark}}}}]\n"
	doc, _ := apply(t, virtualService(t, lone), sticky(traffic(25, &exact)), nil)
	back, _ := apply(t, doc, traffic(0, &exact), nil)
	if strings.Contains(dump(back), "set-cookie") {
		t.Errorf("cookies are left:\n%s", dump(back))
	}
	kept, _ := apply(t, virtualService(t, theirs), traffic(0, nil), nil)
	if !strings.Contains(dump(kept), "serin-theme=dark") {
		t.Errorf("a cookie of the user's went:\n%s", dump(kept))
	}
}

// TestCopiesGoThoughAHandChangedTheirShare, and in place, where nobody else knows the
// canary's subset, also without marks.
func TestCopiesGoThoughAHandChangedTheirShare(t *testing.T) {
	in := virtualService(t, lone)
	for name, tr := range map[string]canary.Traffic{"a pair": traffic(0, nil), "in place": pins(0, nil)} {
		doc, marks := apply(t, in, mirror(tr, 10), nil)
		http(doc)[0].(map[string]any)["mirrors"].([]any)[0].(map[string]any)["percentage"] = map[string]any{"value": int64(50)}
		again, _ := apply(t, doc, mirror(tr, 10), marks)
		if seen := route.ReadAgainst(again, web, mirror(tr, 10)); seen.Mirror != 10 || seen.MirrorLost {
			t.Errorf("%s: the ordered share is not put back: %+v\n%s", name, seen, dump(again))
		}
		same(t, name, undo(doc, tr, marks), in)
		if tr.Pin {
			if out := undo(doc, tr, nil); strings.Contains(dump(out), "mirrors") {
				t.Errorf("%s, without marks:\n%s", name, dump(out))
			}
		}
	}
}

func TestACookieLastsAsLongAsItSays(t *testing.T) {
	s := cookies
	s.MaxAge = 90*time.Minute + 900*time.Millisecond
	tr := traffic(5, nil)
	tr.Sticky = &s
	doc, _ := apply(t, virtualService(t, lone), tr, nil)
	if !strings.Contains(dump(doc), "Max-Age=5400;") {
		t.Error(dump(doc))
	}
}
