package route_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	web = route.Service{Namespace: "shop", Name: "web", ClusterDomain: "cluster.local"}

	exact   = canary.Header{Name: "X-App-Version", Match: canary.MatchExact, Values: []string{"canary"}}
	prefix  = canary.Header{Name: "x-app-version", Match: canary.MatchPrefix, Values: []string{"canary-"}}
	regex   = canary.Header{Name: "x-app-version", Match: canary.MatchRegex, Values: []string{"canary-[0-9]+"}}
	several = canary.Header{Name: "x-group", Match: canary.MatchExact, Values: []string{"qa", "a.b"}}
	cookie  = canary.Header{Name: "group", Match: canary.MatchCookie, Values: []string{"grey", "qa"}}
)

func traffic(weight int, h *canary.Header) canary.Traffic {
	return canary.Traffic{Stable: "v1", Canary: "v2", Weight: weight, Header: h}
}

func pins(weight int, h *canary.Header) canary.Traffic {
	return canary.Traffic{Stable: "serin-stable", Canary: "serin-canary", Weight: weight, Header: h, Pin: true}
}

var cookies = canary.Sticky{Cookie: "serin-web", Canary: "canary.r1", Stable: "stable.r1.2.25", MaxAge: time.Hour}

func mirror(t canary.Traffic, share int) canary.Traffic {
	t.Mirror = share
	return t
}

func sticky(t canary.Traffic) canary.Traffic {
	t.Sticky = &cookies
	return t
}

// undo takes off what Apply put on.
func undo(doc map[string]any, t canary.Traffic, marks []string) map[string]any {
	if t.Pin {
		return route.Unpin(doc, web, t.Stable, t.Canary, marks)
	}
	return route.Clean(doc, web, t.Stable, t.Canary, marks)
}

// The operations are named as their golden files.
var operations = map[string]canary.Traffic{
	"0":          traffic(0, nil),
	"0-header":   traffic(0, &exact),
	"0-prefix":   traffic(0, &prefix),
	"0-regex":    traffic(0, &regex),
	"0-several":  traffic(0, &several),
	"0-cookie":   traffic(0, &cookie),
	"5-header":   traffic(5, &exact),
	"25":         traffic(25, nil),
	"25-header":  traffic(25, &exact),
	"25-cookie":  traffic(25, &cookie),
	"100":        traffic(100, nil),
	"100-header": traffic(100, &exact),

	"mirror-10":     mirror(traffic(0, nil), 10),
	"mirror-header": mirror(traffic(0, &exact), 50),
	"0-sticky":      sticky(traffic(0, nil)),
	"25-sticky":     sticky(traffic(25, nil)),
	"sticky-header": sticky(traffic(5, &exact)),
	"100-sticky":    sticky(traffic(100, nil)),

	"pin-0":         pins(0, nil),
	"pin-0-header":  pins(0, &exact),
	"pin-5-header":  pins(5, &exact),
	"pin-25":        pins(25, nil),
	"pin-25-cookie": pins(25, &cookie),
	"pin-100":       pins(100, nil),
	"pin-mirror":    mirror(pins(0, &exact), 10),
	"pin-sticky":    sticky(pins(25, &exact)),
}

var golden = map[string][]string{
	"one-route-with-two-destinations":                       {"0-header", "0-prefix", "0-regex", "0-several", "0-cookie", "mirror-10", "0-sticky", "5-header", "25", "25-sticky", "sticky-header", "100", "100-sticky"},
	"lone-destination":                                      {"0", "0-header", "mirror-10", "25-header", "25-sticky", "100"},
	"lone-destination-with-a-weight":                        {"0", "25"},
	"lone-canary-destination":                               {"0", "25-header"},
	"several-routes":                                        {"mirror-header", "25", "25-header", "25-cookie", "sticky-header"},
	"gateways":                                              {"mirror-header", "25-header", "sticky-header", "pin-mirror", "pin-5-header", "pin-sticky"},
	"delegate-without-hosts":                                {"25-header", "pin-25"},
	"destinations-with-headers-of-the-user":                 {"mirror-header", "sticky-header", "pin-mirror", "pin-sticky"},
	"extra-destinations-and-mirror":                         {"25-header", "100"},
	"stable-beside-another-service":                         {"mirror-10", "25-header", "100"},
	"weights-that-sum-to-30":                                {"5-header", "100-header"},
	"canary-without-a-weight":                               {"0", "25"},
	"everything-else-on-a-route-is-kept":                    {"5-header", "pin-5-header"},
	"unknown-fields-of-a-newer-istio":                       {"5-header"},
	"full-and-namespaced-host-names":                        {"25", "pin-25"},
	"adopted-header-route-of-istios-documentation":          {"25-header", "sticky-header", "pin-5-header"},
	"adopted-cookie-route":                                  {"25-cookie"},
	"header-route-behind-all-is-nobodys-way-in":             {"25-header"},
	"match-that-has-the-same-header-already":                {"0-header", "0-prefix", "0-cookie"},
	"route-names-stay-unique":                               {"0-header", "sticky-header"},
	"header-route-of-another-service-before-a-shared-route": {"25-header"},
	"routes-without-users-are-left":                         {"mirror-10", "25-header"},
	"no-route-to-the-service":                               {"25-header", "pin-25"},

	"pin-destination-without-a-subset":          {"pin-0", "pin-0-header", "pin-5-header", "pin-25", "pin-100"},
	"pin-destination-with-a-subset-of-the-user": {"pin-0", "pin-25-cookie", "pin-100"},
	"pin-lone-destination-with-a-weight":        {"pin-0", "pin-25"},
	"pin-destination-with-a-port":               {"pin-mirror", "pin-5-header", "pin-sticky"},
	"pin-beside-another-service":                {"pin-0", "pin-5-header", "pin-100"},
	"pin-several-routes":                        {"pin-0-header", "pin-25-cookie"},
	"pin-routes-without-users":                  {"pin-0-header"},
	"pin-several-destinations":                  {"pin-0-header"},
	"pin-subsets-of-no-common-name":             {"pin-25"},
}

func TestApplyWritesTheGoldenFiles(t *testing.T) {
	for name, ops := range golden {
		in := load(t, filepath.Join("testdata", name, "in.yaml"))
		for _, op := range ops {
			t.Run(name+"/"+op, func(t *testing.T) {
				before := load(t, filepath.Join("testdata", name, "in.yaml"))
				out, marks, err := route.Apply(in, web, operations[op], nil)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(in, before) {
					t.Fatal("the document given was changed")
				}
				compare(t, filepath.Join("testdata", name, op+".golden"), render(t, out, marks))
			})
		}
	}
}

func TestEveryCaseIsTested(t *testing.T) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := golden[e.Name()]; !ok && e.Name() != "fuzz" {
			t.Errorf("testdata/%s is of no test", e.Name())
		}
	}
}

func TestApplyTwiceIsAsOnceAndCleanTakesItAllOff(t *testing.T) {
	for name, ops := range golden {
		for _, pinned := range []bool{false, true} {
			ops := slices.DeleteFunc(slices.Clone(ops), func(op string) bool { return operations[op].Pin != pinned })
			if len(ops) > 0 {
				t.Run(fmt.Sprintf("%s, pinned %v", name, pinned), func(t *testing.T) { applyInTurn(t, name, ops) })
			}
		}
	}
}

// applyInTurn applies the operations one after the other, twice, and takes the
// last one off.
func applyInTurn(t *testing.T, name string, ops []string) {
	in := load(t, filepath.Join("testdata", name, "in.yaml"))
	doc, marks := in, []string(nil)
	for _, op := range append(ops, ops...) {
		once, onceMarks := apply(t, doc, operations[op], marks)
		for range 3 {
			doc, marks = apply(t, once, operations[op], onceMarks)
			same(t, "applied again at "+op, doc, once)
			same(t, "marks applied again at "+op, marks, onceMarks)
		}
		if direct, _ := apply(t, in, operations[op], nil); name != "lone-canary-destination" {
			same(t, "absolute at "+op, doc, direct)
		}
	}
	if name != "lone-canary-destination" { // a hand's, which we don't restore
		same(t, "cleaned", undo(doc, operations[ops[0]], marks), in)
	}
}

func apply(t *testing.T, doc map[string]any, tr canary.Traffic, marks []string) (map[string]any, []string) {
	t.Helper()
	out, newMarks, err := route.Apply(doc, web, tr, marks)
	if err != nil {
		t.Fatal(err)
	}
	return out, newMarks
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", what, dump(got), dump(want))
	}
}

func dump(v any) string {
	b, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func render(t *testing.T, doc map[string]any, marks []string) []byte {
	t.Helper()
	b, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range marks {
		b = append(b, "# mark "+m+"\n"...)
	}
	return b
}

func compare(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run with -update if that is meant): got\n%s", path, got)
	}
}

func load(t testing.TB, path string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(b))
}

// parse decodes numbers as the controller does: whole ones as int64.
func parse(t testing.TB, doc string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(doc, "\t", "  ")), &out); err != nil {
		t.Fatal(err)
	}
	return integers(out).(map[string]any)
}

func integers(v any) any {
	switch n := v.(type) {
	case map[string]any:
		for k := range n {
			n[k] = integers(n[k])
		}
	case []any:
		for i := range n {
			n[i] = integers(n[i])
		}
	case float64:
		if n == float64(int64(n)) {
			return int64(n)
		}
	}
	return v
}
