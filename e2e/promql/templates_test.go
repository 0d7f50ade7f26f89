package promql

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// written is a query as an operator may write it, and what each of its matchers
// has to select at a place.
type written struct {
	promql string
	means  map[string]func(prom.Place) match // by label
}

// match are values that a matcher must and must not select.
type match struct{ selects, leaves []string }

// same means a value and no other.
func same(of func(prom.Place) string) func(prom.Place) match {
	return func(p prom.Place) match {
		v := of(p)
		return match{[]string{v}, slices.DeleteFunc(twisted(v), func(s string) bool { return s == v })}
	}
}

// twisted are values that a mistake in the escaping might let in.
func twisted(v string) []string {
	out := []string{"", "x", v + "x", "x" + v, v + "\n", strings.ReplaceAll(v, ".", "x"), strings.ReplaceAll(v, `\`, ""), strconv.Quote(v)}
	if r := []rune(v); len(r) > 1 {
		out = append(out, string(r[1:]), string(r[:len(r)-1]))
	}
	return append(out, strings.Split(v, "|")...)
}

var (
	namespace = same(func(p prom.Place) string { return p.Namespace })
	workload  = same(func(p prom.Place) string { return p.Workload })
	service   = same(func(p prom.Place) string { return p.Service })
	track     = same(func(p prom.Place) string { return p.Track })
)

// pods are the names of the workload's pods.
func pods(p prom.Place) match {
	return match{
		[]string{p.Workload + "-5d4b7c9f6-x2x9z", p.Workload + "-0-a"},
		[]string{p.Workload, p.Workload + "-5d4b7c9f6", "x" + p.Workload + "-5d4b7c9f6-x2x9z", p.Workload + "-5d4b7c9f6-x2x9z-more", p.Workload + "x-5d4b7c9f6-x2x9z", ""},
	}
}

// around is a name within a longer pattern.
func around(p prom.Place) match {
	return match{[]string{"all", "a-" + p.Workload + "-", "a-" + p.Workload + "-b"}, []string{p.Workload, "a" + p.Workload + "-b", ""}}
}

type means = map[string]func(prom.Place) match

var templates = []written{
	{`orders_total{namespace="{{namespace}}", pod=~"{{pods}}"}`, means{"namespace": namespace, "pod": pods}},
	{`sum by (pod) (orders_total{namespace='{{namespace}}', pod=~'{{pods}}', app='it\'s "so"'})`, means{"namespace": namespace, "pod": pods, "app": same(func(prom.Place) string { return `it's "so"` })}},
	{"orders_total{namespace=`{{namespace}}`, pod=~`{{pods}}`}", means{"namespace": namespace, "pod": pods}},
	{`orders_total{deployment=~"{{workload}}",service=~"{{ service }}"}`, means{"deployment": workload, "service": service}},
	{`orders_total{deployment=~'{{workload}}',track=~'{{track}}'}`, means{"deployment": workload, "track": track}},
	{"orders_total{deployment=~`{{workload}}`}", means{"deployment": workload}},
	{`orders_total{queue=~"all|a-{{workload}}-.*"}`, means{"queue": around}},
	{"sum(orders_total{deployment=\"{{workload}}\"}) # 'them' \"all\n+ 0 * sum(orders_total{deployment='{{workload}}'})", means{"deployment": workload}},
	{`label_replace(orders_total{track="{{track}}"}, "to", "$1-\"#", "from", "(.*)")`, means{"track": track}},
}

// shape is the query without its matchers' values.
func shape(t *testing.T, promql string) (string, []*labels.Matcher) {
	t.Helper()
	expr, err := parse(promql)
	if err != nil {
		t.Fatalf("%q doesn't parse: %v", promql, err)
	}
	var matchers []*labels.Matcher
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			for i, m := range s.LabelMatchers {
				if m.Name == "__name__" {
					continue
				}
				matchers = append(matchers, m)
				s.LabelMatchers[i] = labels.MustNewMatcher(labels.MatchEqual, m.Name, m.Type.String())
			}
		}
		return nil
	})
	return expr.String(), matchers
}

// everyTemplate writes all templates for a place and checks what they became.
func everyTemplate(t *testing.T, p prom.Place) {
	plain := prom.Place{Namespace: "shop", Workload: "web", Service: "front", Track: "stable"}
	for _, w := range templates {
		want, _ := shape(t, queryOf(t, w.promql, plain))
		template := prom.Template{Name: "orders", Gauge: w.promql}
		queries, err := template.Queries(p)
		if err != nil {
			if !strings.Contains(w.promql, "`") || !strings.ContainsAny(p.Namespace+p.Workload, "`\r\ufffd") {
				t.Errorf("%q for %q: %v", w.promql, p, err)
			}
			continue
		}
		got, matchers := shape(t, queries["gauge"])
		if got != want {
			t.Errorf("%q for %q has become\n%s\nof the shape\n%s\nnot\n%s", w.promql, p, queries["gauge"], got, want)
			continue
		}
		for _, m := range matchers {
			meant := w.means[m.Name](p)
			for _, v := range meant.selects {
				if !m.Matches(v) {
					t.Errorf("%q: %s doesn't select %q", queries["gauge"], m, v)
				}
			}
			for _, v := range meant.leaves {
				if m.Matches(v) {
					t.Errorf("%q: %s selects %q", queries["gauge"], m, v)
				}
			}
		}
	}
}

func queryOf(t *testing.T, promql string, p prom.Place) string {
	t.Helper()
	template := prom.Template{Name: "orders", Gauge: promql}
	queries, err := template.Queries(p)
	if err != nil {
		t.Fatal(err)
	}
	return queries["gauge"]
}

func TestTemplatesMeanHostileNames(t *testing.T) {
	for i, name := range hostile {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			everyTemplate(t, prom.Place{Namespace: name, Workload: name, Service: hostile[(i+5)%len(hostile)], Track: "canary"})
		})
	}
}

func TestTemplatesMeanRandomNames(t *testing.T) {
	const seed = 20261122
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range 200 {
		p := prom.Place{Namespace: randomName(random), Workload: randomName(random), Service: randomName(random), Track: randomName(random)}
		if everyTemplate(t, p); t.Failed() {
			t.Fatalf("run %d of seed %d", i, seed)
		}
	}
}

// TestWhatIsSentForTemplatesParses: around the operator's text stands more, also
// where it ends with a comment.
func TestWhatIsSentForTemplatesParses(t *testing.T) {
	a := askAbout("one", "shop", "web", "web-v1", `web "v2"`, 25)
	a.Custom = []prom.Custom{
		{Limit: judge.Custom{Name: "orders", Bound: 0.01}, Template: prom.Template{Name: "orders", Bad: "orders_total{pod=~'{{pods}}', ok='no'} # the \"bad", Total: "sum by (pod) (orders_total{pod=~`{{pods}}`})#"}},
		{Limit: judge.Custom{Name: "queue", Bound: 1e12, Gauge: true}, Template: prom.Template{Name: "queue", Gauge: "max(queue{app='{{workload}}'}) # length"}},
	}
	s := newServer([]prom.Ask{a})
	for _, workload := range []string{a.StableWorkload, a.CanaryWorkload} {
		for _, ok := range []string{"yes", "no"} {
			s.series = append(s.series, labels.FromStrings("__name__", "orders_total", "pod", workload+"-5d4b7c9f6-x2x9z", "ok", ok))
		}
		s.series = append(s.series, labels.FromStrings("__name__", "queue", "app", workload))
	}
	blocks := prom.Blocks(t.Context(), s.query, []prom.Ask{a}, epoch.Add(60*time.Second))["one"].Blocks
	last := blocks[len(blocks)-1].Custom
	if len(last) != 2 || last[0].Missing != "" || last[1].Missing != "" || last[0].Canary.N == 0 || last[1].Stable.N != 1 {
		t.Errorf("the metrics say %+v", last)
	}
	carried := 0
	for _, promql := range s.queries {
		if _, err := parse(promql); err != nil {
			t.Errorf("%q doesn't parse: %v", promql, err)
		}
		if strings.Contains(promql, "orders_total") && strings.Contains(promql, "last_over_time") {
			carried++
		}
	}
	if carried == 0 {
		t.Error("nobody asked what the pods had counted before")
	}
}

// FuzzTemplates: a name never leaves the string it was put into.
func FuzzTemplates(f *testing.F) {
	for i, name := range hostile {
		f.Add(name, hostile[(i+7)%len(hostile)])
	}
	f.Fuzz(func(t *testing.T, one, other string) {
		if one == "" || other == "" || !utf8.ValidString(one) || !utf8.ValidString(other) {
			return
		}
		everyTemplate(t, prom.Place{Namespace: one, Workload: other, Service: one, Track: other})
	})
}
