// Package promql checks what is sent to Prometheus with Prometheus's own parser:
// whatever a name is, a query reads back as what it was meant to be.
package promql

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"serin.dev/serin/pkg/prom"
)

// hostile are names that no Kubernetes object has, and each of which means
// something in a string, in a regular expression or in PromQL.
var hostile = []string{
	"web", "web-v1", "a.b", "*", ".*", ".+", "a|b", "|", "(", ")", "[", "]", "{", "}", "^web$", "a{2}", `\`, `\\`, `\d`, `\Q`, `\E`, `\Qa\E`,
	`"`, `'`, "`", `"} or up{a="`, `"}) or vector(1) #`, "#", "a\nb", "\x00", "\r", "\t", " ", "é", "日本", "\u2028", "\ufffd", "𝔘",
	"(?i)web", "(?s:.)", "$1", "${x}", "{{pods}}", "{{.}}", "%s", "web)|(.*", "=~", "!~\".*\"", "[5m]", "offset 5m", "@ 0", "-1", "1e9", "NaN",
}

// letters make random names: most of them mean something somewhere.
var letters = []rune("ab1-._|()[]{}^$*+?\\\"'`#%,=~!@:; \t\n\x00é日𝔘\ufffd")

func randomName(random *rand.Rand) string {
	name := make([]rune, 1+random.IntN(12))
	for i := range name {
		name[i] = letters[random.IntN(len(letters))]
	}
	return string(name)
}

// server is a Prometheus of a few series: each version's own proxy and a
// gateway begin to report it after the first border, so that everything there
// is to ask is asked, and count a request each second.
type server struct {
	mu      sync.Mutex
	series  []labels.Labels
	queries []string
}

func newServer(asks []prom.Ask) *server {
	s := &server{}
	known := map[string]bool{}
	add := func(pairs ...string) {
		l := labels.FromStrings(append(pairs, "job", "envoy", "grpc_response_status", "")...)
		if key := string(l.Bytes(nil)); !known[key] {
			known[key] = true
			s.series = append(s.series, l)
		}
	}
	for _, a := range asks {
		host := a.Service + "." + a.Namespace + ".svc.cluster.local"
		for _, workload := range []string{a.StableWorkload, a.CanaryWorkload} {
			for _, reporter := range []string{"destination", "source"} {
				pod := map[string]string{"destination": workload + "-0", "source": "gateway"}[reporter]
				of := []string{
					"destination_workload_namespace", a.Namespace, "destination_workload", workload,
					"reporter", reporter, "pod", pod, "instance", pod, "response_code", "200", "response_flags", "-",
				}
				add(append(of, "__name__", "istio_requests_total")...)
				add(append(of, "__name__", "istio_request_duration_milliseconds_bucket", "le", "+Inf")...)
			}
		}
		add("__name__", "istio_requests_total", "destination_workload_namespace", "unknown", "destination_workload", "unknown", "destination_service", host,
			"reporter", "source", "pod", "gateway", "instance", "gateway", "response_code", "503", "response_flags", "UH")
	}
	return s
}

// query answers what the parser understood.
func (s *server) query(_ context.Context, promql string, start, end time.Time, step time.Duration) (prom.Matrix, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, promql)
	expr, err := parse(promql)
	if err != nil {
		return prom.Matrix{}, fmt.Errorf("parse %q: %w", promql, err)
	}
	var by []string
	var selector *parser.VectorSelector
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.AggregateExpr:
			by = n.Grouping
		case *parser.VectorSelector:
			selector = n
		}
		return nil
	})
	var m prom.Matrix
	known := map[string]bool{}
	for _, l := range s.series {
		one := prom.Series{Labels: aggregated(l, by)}
		key := fmt.Sprintf("%q", one.Labels)
		if known[key] || !selects(selector, l) {
			continue
		}
		known[key] = true
		for at := start.Add(step); !at.After(end); at = at.Add(step) {
			one.Points = append(one.Points, prom.Point{At: at.UnixMilli(), Value: float64(at.Unix())})
		}
		m.Series = append(m.Series, one)
	}
	return m, nil
}

func selects(s *parser.VectorSelector, l labels.Labels) bool {
	return !slices.ContainsFunc(s.LabelMatchers, func(m *labels.Matcher) bool { return !m.Matches(l.Get(m.Name)) })
}

func aggregated(l labels.Labels, by []string) (out prom.Labels) {
	for _, name := range by {
		if l.Has(name) {
			out = append(out, prom.Label{Name: name, Value: l.Get(name)})
		}
	}
	return out
}

func parse(promql string) (parser.Expr, error) {
	return parser.NewParser(parser.Options{}).ParseExpr(promql)
}

// selectors are the vector selectors of a query.
func selectors(t *testing.T, promql string) (out []*parser.VectorSelector) {
	t.Helper()
	expr, err := parse(promql)
	if err != nil {
		t.Fatalf("%q doesn't parse: %v", promql, err)
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			out = append(out, s)
		}
		return nil
	})
	return out
}

// names are those of the asks that the matcher of a label may select. Others
// are constants of the package.
func names(asks []prom.Ask) map[string][]string {
	out := map[string][]string{}
	for _, a := range asks {
		for label, more := range map[string][]string{
			"destination_workload_namespace": {a.Namespace},
			"destination_workload":           {a.StableWorkload, a.CanaryWorkload},
			"destination_service":            {a.Service + "." + a.Namespace},
		} {
			out[label] = append(out[label], more...)
		}
	}
	return out
}

// probes are values that a matcher of the names might wrongly select or miss.
func probes(asks []prom.Ask) (out []string) {
	add := func(name string) {
		out = append(out, name, name+"x", "x"+name, name+"\n", "\n"+name, strings.ToUpper(name), strings.ReplaceAll(name, ".", "x"),
			strings.ReplaceAll(name, `\`, ""), strings.TrimSpace(name), name+"."+name)
		if n := utf8.RuneCountInString(name); n > 1 {
			out = append(out, string([]rune(name)[1:]), string([]rune(name)[:n-1]))
		}
		out = append(out, strings.Split(name, "|")...)
	}
	for _, a := range asks {
		for _, name := range []string{a.Namespace, a.StableWorkload, a.CanaryWorkload, a.Service + "." + a.Namespace, a.Service + "." + a.Namespace + ".svc.cluster.local"} {
			add(name)
		}
	}
	return append(out, "", "a", "unknown", "web", "other")
}

var constants = map[string][]string{
	"reporter":             {"destination", "source"},
	"destination_workload": {"unknown"},
}

// check says what is wrong with a query about some of the asks.
func check(t *testing.T, promql string, asks []prom.Ask, about []string) {
	t.Helper()
	known := names(asks)
	for _, s := range selectors(t, promql) {
		if s.Name != "istio_requests_total" && s.Name != "istio_request_duration_milliseconds_bucket" {
			t.Errorf("%q selects %q", promql, s.Name)
		}
		seen := map[string]bool{}
		for _, m := range s.LabelMatchers {
			if seen[m.Name] {
				t.Errorf("%q matches %s twice", promql, m.Name)
			}
			seen[m.Name] = true
			checkMatcher(t, promql, m, known[m.Name], about)
		}
		if !seen["destination_service"] && (!seen["destination_workload"] || !seen["destination_workload_namespace"]) {
			t.Errorf("%q selects the series of others", promql)
		}
	}
}

// checkMatcher: a matcher selects some of the names, and nothing that isn't one
// of these; of a service's host also what is below it.
func checkMatcher(t *testing.T, promql string, m *labels.Matcher, known, about []string) {
	t.Helper()
	switch {
	case m.Type == labels.MatchEqual && slices.Contains(constants[m.Name], m.Value):
		return
	case slices.Contains([]string{"__name__", "response_code", "response_flags"}, m.Name):
		return
	case known == nil || m.Type != labels.MatchRegexp:
		t.Errorf("%q has a matcher %s that nobody meant", promql, m)
		return
	}
	var meant []string
	for _, name := range known {
		if m.Matches(name) {
			meant = append(meant, name)
		}
	}
	for _, value := range about {
		want := slices.ContainsFunc(meant, func(name string) bool {
			return value == name || m.Name == "destination_service" && strings.HasPrefix(value, name+".")
		})
		if m.Matches(value) != want {
			t.Errorf("%q: the matcher of %s selects %q: %v", promql, m.Name, value, !want)
		}
	}
}

var epoch = time.Unix(1_800_000_000, 0).UTC()

// everyQuery asks all that can be asked about the names and checks it.
func everyQuery(t *testing.T, asks []prom.Ask) {
	about := probes(asks)
	kinds := map[string]bool{}
	for _, reporter := range []prom.Reporter{prom.Auto, prom.Destination, prom.Source} {
		for i := range asks {
			asks[i].Reporter = reporter
		}
		s := newServer(asks)
		for key, answer := range prom.Blocks(t.Context(), s.query, asks, epoch.Add(60*time.Second)) {
			if answer.Err != nil || len(answer.Blocks) != 4 {
				t.Fatalf("%s: %d blocks, %v", key, len(answer.Blocks), answer.Err)
			}
			for _, b := range answer.Blocks[1:] {
				if b.Missing != "" || b.Stable.Requests < 10 || b.Canary.Requests < 10 {
					t.Errorf("%s: the series that are there weren't found: %+v", key, b)
				}
			}
		}
		for _, promql := range s.queries {
			check(t, promql, asks, about)
			kinds[kind(t, promql)] = true
		}
	}
	for _, needed := range []string{
		"sum istio_requests_total", "sum last_over_time istio_requests_total",
		"max count_over_time istio_requests_total", "sum istio_request_duration_milliseconds_bucket",
	} {
		if !kinds[needed] {
			t.Errorf("no query of the kind %q was sent, only %v", needed, kinds)
		}
	}
}

// kind is what a query does to what.
func kind(t *testing.T, promql string) string {
	t.Helper()
	expr, err := parse(promql)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.AggregateExpr:
			words = append(words, n.Op.String())
		case *parser.Call:
			words = append(words, n.Func.Name)
		case *parser.VectorSelector:
			words = append(words, n.Name)
		}
		return nil
	})
	return strings.Join(words, " ")
}

// askAbout asks about any names, but for dots in those of which Kubernetes makes
// host names: by them a host is told apart again.
func askAbout(key, namespace, service, stable, canary string, weight int) prom.Ask {
	namespace, service = strings.ReplaceAll(namespace, ".", "-"), strings.ReplaceAll(service, ".", "-")
	return prom.Ask{
		Key: key, Namespace: namespace, Service: service, StableWorkload: stable, CanaryWorkload: canary,
		From: epoch, Width: 10 * time.Second, Step: 1, Weight: weight,
	}
}

func TestHostileNamesMeanThemselves(t *testing.T) {
	for i, name := range hostile {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			everyQuery(t, []prom.Ask{
				askAbout("one", "shop", "web", "base", name, 100),
				askAbout("two", name, name, name, name+"-canary", 5),
				askAbout("three", "shop", name, name, hostile[(i+1)%len(hostile)]+"z", 100),
			})
		})
	}
}

func TestRandomNamesMeanThemselves(t *testing.T) {
	const seed = 20261121
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range 30 {
		var asks []prom.Ask
		for j := range 1 + random.IntN(4) {
			stable := randomName(random)
			asks = append(asks, askAbout(fmt.Sprint(j), randomName(random), randomName(random), stable, stable+randomName(random), []int{5, 100}[random.IntN(2)]))
		}
		if everyQuery(t, asks); t.Failed() {
			t.Fatalf("run %d of seed %d: %+v", i, seed, asks)
		}
	}
}

// FuzzNames: no name but itself is selected, and none becomes a part of a query.
func FuzzNames(f *testing.F) {
	for i, name := range hostile {
		f.Add(name, hostile[(i+7)%len(hostile)])
	}
	f.Fuzz(func(t *testing.T, one, other string) {
		if one == "" || other == "" || one == other || !utf8.ValidString(one) || !utf8.ValidString(other) {
			return
		}
		everyQuery(t, []prom.Ask{askAbout("one", other, one, one, other, 100)})
	})
}
