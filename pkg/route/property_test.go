package route_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/route/routetest"
)

// generator makes valid VirtualServices around web.shop, all of whose users are
// on v1, and requests that meet their conditions now and then.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 7))} }

func (g generator) one(of ...string) string { return of[g.IntN(len(of))] }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g generator) document() map[string]any {
	routes := []any{}
	for range 1 + g.IntN(6) {
		routes = append(routes, g.route())
	}
	return map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
		"metadata": map[string]any{"name": "web", "namespace": "shop"},
		"spec":     map[string]any{"hosts": []any{"web"}, "http": routes},
	}
}

func (g generator) route() map[string]any {
	r := map[string]any{}
	if g.chance(40) {
		r["name"] = g.one("a", "b", "serin-canary.other", "2")
	}
	if g.chance(30) {
		r["timeout"] = g.one("1s", "2s")
	}
	if g.chance(85) {
		r["match"] = g.conditions()
	}
	switch {
	case g.chance(8):
		r["redirect"] = map[string]any{"uri": "/"}
	case g.chance(8): // the user's own way in for QA
		r["match"] = []any{map[string]any{"headers": map[string]any{"end-user": map[string]any{"exact": "jason"}}}}
		r["route"] = []any{g.destination(g.host(), "v2")}
	case g.chance(10):
		r["route"] = []any{g.destination("api", "v1")}
	default:
		r["route"] = g.destinations()
	}
	return r
}

func (g generator) host() string {
	return g.one("web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local")
}

func (g generator) destination(host, subset string) map[string]any {
	d := map[string]any{"host": host, "subset": subset}
	if g.chance(20) {
		d["port"] = map[string]any{"number": int64(8080)}
	}
	return map[string]any{"destination": d}
}

func weighted(d map[string]any, weight int) map[string]any {
	d["weight"] = int64(weight)
	return d
}

func (g generator) destinations() []any {
	host := g.host()
	if g.chance(40) {
		d := g.destination(host, "v1")
		if g.chance(50) {
			d = weighted(d, g.IntN(200))
		}
		return []any{d}
	}
	out := []any{weighted(g.destination(host, "v1"), []int{0, 20, 100, 400}[g.IntN(4)])}
	if g.chance(60) {
		d := g.destination(host, "v2")
		if g.chance(70) {
			d = weighted(d, 0)
		}
		out = append(out, d)
	}
	if g.chance(40) {
		out = append(out, weighted(g.destination(host, "v3"), g.IntN(50)))
	}
	out = append(out, weighted(g.destination("api", "v1"), 1+g.IntN(50)))
	g.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func (g generator) conditions() []any {
	var out []any
	for range 1 + g.IntN(2) {
		c := map[string]any{}
		if g.chance(70) {
			c["uri"] = map[string]any{g.one("exact", "prefix"): g.one("/", "/a", "/a/b", "/c")}
		}
		if g.chance(20) {
			c["method"] = map[string]any{"exact": g.one("GET", "POST")}
		}
		if g.chance(15) {
			c["gateways"] = []any{g.one("mesh", "public")}
		}
		headers := map[string]any{}
		if g.chance(15) {
			headers["x-group"] = map[string]any{"prefix": "q"}
		}
		if g.chance(15) {
			headers[g.one("x-app-version", "X-App-Version")] = map[string]any{g.one("exact", "prefix", "regex"): g.one("canary", "can", "can.*", "stable")}
		}
		if len(headers) > 0 {
			c["headers"] = headers
		}
		out = append(out, c)
	}
	return out
}

// request makes one without the header of QA, whatever its form.
func (g generator) request() routetest.Request {
	q := routetest.Request{
		Path: g.one("/", "/a", "/a/b", "/a/b/c", "/c", "/d"), Method: g.one("GET", "POST"),
		Gateway: g.one("mesh", "public"), Headers: map[string]string{},
	}
	for name, values := range map[string][]string{
		"x-group": {"qq", "x"}, "x-app-version": {"can", "stable", "xcanary"}, "end-user": {"jason", "eve"}, "cookie": {"group=blue", "xgroup=grey; group=greyish"},
	} {
		if g.chance(35) {
			q.Headers[name] = g.one(values...)
		}
	}
	return q
}

var shares = []int{0, 5, 10, 25, 50, 95, 100}

func TestRequestsGoWhereTheyShall(t *testing.T) {
	for seed := range uint64(300) {
		if checkMeaning(t, seed); t.Failed() {
			return
		}
	}
}

func FuzzMeaning(f *testing.F) {
	f.Add(uint64(1 << 40))
	f.Fuzz(func(t *testing.T, seed uint64) { checkMeaning(t, seed) })
}

// checkMeaning tells that users are split exactly at the weight, that QA
// reaches the canary wherever users reach the Service, and that nothing else
// goes elsewhere than before.
func checkMeaning(t *testing.T, seed uint64) {
	g := newGenerator(seed)
	in := g.document()
	forms := []struct {
		header canary.Header
		name   string
		value  string
	}{
		{exact, "x-app-version", "canary"},
		{cookie, "cookie", "a=b; group=qa;c=d"},
		{several, "x-group", "qa"},
	}
	form := forms[g.IntN(len(forms))]
	adopted := route.Read(in, web, "v1", "v2").Adopted
	var marks []string
	doc := in
	for range 4 {
		w := shares[g.IntN(len(shares))]
		doc, marks = apply(t, doc, traffic(w, &form.header), marks)
		for range 20 {
			q := g.request()
			if form.name == "x-group" {
				delete(q.Headers, "x-group")
			}
			before := answer(t, in, q)
			expect(t, seed, doc, q, split(before, w))
			q.Headers[form.name] = form.value
			before = answer(t, in, q)
			if want := all(before); want != nil && !adopted {
				expect(t, seed, doc, q, want)
			} else {
				expect(t, seed, doc, q, split(before, w))
			}
		}
	}
	if got := route.Clean(doc, web, "v1", "v2", marks); !reflect.DeepEqual(got, in) {
		t.Errorf("seed %d: cleaned\n%s\nwant\n%s", seed, dump(got), dump(in))
	}
}

func answer(t *testing.T, doc map[string]any, q routetest.Request) routetest.Distribution {
	t.Helper()
	d, err := routetest.Answer(doc, q)
	if err != nil {
		t.Fatal(err, dump(doc))
	}
	return d
}

func expect(t *testing.T, seed uint64, doc map[string]any, q routetest.Request, want routetest.Distribution) {
	t.Helper()
	if got := answer(t, doc, q); !alike(got, want) {
		t.Errorf("seed %d: %+v goes to %v, want %v, by\n%s", seed, q, got, want, dump(doc))
	}
}

// alike compares but for rounding.
func alike(a, b routetest.Distribution) bool {
	equal := len(a) == len(b)
	for k := range b {
		equal = equal && math.Abs(a[k]-b[k]) < 1e-9
	}
	return equal
}

// split is a distribution with the users of v1 split at a weight.
func split(d routetest.Distribution, weight int) routetest.Distribution {
	out := routetest.Distribution{}
	for k, p := range d {
		if !web.Matches(k.Host, "shop") || k.Subset != "v1" {
			out[k] += p
			continue
		}
		if weight < 100 {
			out[k] += p * float64(100-weight) / 100
		}
		if weight > 0 {
			out[routetest.Target{Host: k.Host, Subset: "v2"}] += p * float64(weight) / 100
		}
	}
	return out
}

// all is a distribution with everything on the canary, if users reach v1.
func all(d routetest.Distribution) routetest.Distribution {
	for k := range d {
		if web.Matches(k.Host, "shop") && k.Subset == "v1" {
			return routetest.Distribution{{Host: k.Host, Subset: "v2"}: 1}
		}
	}
	return nil
}

func TestEditsAreAbsoluteAndIdempotent(t *testing.T) {
	for seed := range uint64(150) {
		g := newGenerator(seed)
		in := g.document()
		doc, marks := in, []string(nil)
		for range 5 {
			tr := traffic(shares[g.IntN(len(shares))], nil)
			if g.chance(60) {
				tr.Header = []*canary.Header{&exact, &prefix, &regex, &several, &cookie}[g.IntN(5)]
			}
			doc, marks = apply(t, doc, tr, marks)
			again, againMarks := apply(t, doc, tr, marks)
			direct, directMarks := apply(t, in, tr, nil)
			same(t, "again", again, doc)
			same(t, "marks again", againMarks, marks)
			same(t, "from the beginning", direct, doc)
			same(t, "marks from the beginning", directMarks, marks)
			seen := route.ReadAgainst(doc, web, tr)
			if seen.Lowered || seen.Raised || seen.HeaderLost {
				t.Errorf("what was written reads as %+v by\n%s", seen, dump(doc))
			}
			invariants(t, in, doc)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}

// invariants: the sums stay, and where the canary is alone only a header leads.
func invariants(t *testing.T, in, doc map[string]any) {
	t.Helper()
	sums := func(doc map[string]any) (out []int) {
		for _, r := range route.Find(doc, web, "v1", "v2") {
			if r.Serves() {
				out = append(out, r.Sum)
			}
			for _, d := range r.Destinations {
				if len(r.Destinations) == 1 && d.Subset == "v2" && !r.Adopted && !r.Header {
					t.Errorf("%s leads to the canary alone", r.Path)
				}
			}
		}
		return out
	}
	same(t, "sums", sums(doc), sums(in))
}

// FuzzAnyDocument feeds documents that no server would let pass.
func FuzzAnyDocument(f *testing.F) {
	paths, err := filepath.Glob("testdata/*/in.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if b, err = yaml.YAMLToJSON(b); err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(25), true, false)
		f.Add(b, uint8(0), true, true)
	}
	f.Add([]byte(`{"spec":{"http":[null,{"route":[{"weight":-1}]},{"route":{},"match":[1]}]}}`), uint8(5), false, true)
	f.Fuzz(func(t *testing.T, data []byte, weight uint8, header, pin bool) {
		var in map[string]any
		if json.Unmarshal(data, &in) != nil {
			return
		}
		tr := traffic(int(weight%101), nil)
		if pin {
			tr = pins(tr.Weight, nil)
		}
		if header {
			tr.Header = &exact
		}
		once, marks, err := route.Apply(in, web, tr, nil)
		if err != nil {
			if tr.Weight == 0 {
				t.Fatalf("taking users off the canary failed: %v", err)
			}
			return
		}
		again, againMarks, err := route.Apply(once, web, tr, marks)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "again", again, once)
		same(t, "marks again", againMarks, marks)
		cleaned := undo(once, tr, marks)
		same(t, "cleaned again", undo(cleaned, tr, nil), cleaned)
		for _, r := range route.Find(cleaned, web, tr.Stable, tr.Canary) {
			if r.Header {
				t.Error("a header route stays", r.Path)
			}
			for _, d := range r.Destinations {
				if pin && d.ToService && (d.Subset == tr.Stable || d.Subset == tr.Canary) {
					t.Errorf("%s.route[%d] still leads to %s", r.Path, d.Index, d.Subset)
				}
			}
		}
		if seen := route.ReadAgainst(once, web, tr); seen.Unpinned != "" {
			t.Error("not pinned:", seen.Unpinned)
		}
		_ = fmt.Sprint(route.Repeated(in, web), route.Coarse(in, web, tr, shares), route.Unreachable(in, web, tr), route.Pinnable(in, web, tr), route.Read(in, web, "v1", "v2"))
	})
}
