package promql

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"

	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/internal/telemetry"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// exchange is a query as the controller sent it, and the simulation's answer.
type exchange struct {
	now, start, end time.Time
	step            time.Duration
	promql          string
	got             []string // a line for each series, sorted
}

// recorder notes what is asked of a town.
type recorder struct {
	mu    sync.Mutex
	query prom.Query
	all   []exchange
}

func (r *recorder) ask(ctx context.Context, promql string, start, end time.Time, step time.Duration) (prom.Matrix, error) {
	m, err := r.query(ctx, promql, start, end, step)
	var lines []string
	for _, series := range m.Series {
		lines = append(lines, line(series.Labels, series.Points))
	}
	slices.Sort(lines)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, exchange{time.Now(), start, end, step, promql, lines})
	return m, err
}

// customs are metrics of an operator's, in the forms that the simulation knows.
func customs() []prom.Custom {
	const of = `istio_requests_total{reporter="source", destination_workload="{{workload}}", destination_workload_namespace="{{namespace}}"`
	const pods = `istio_requests_total{reporter="destination", pod=~"{{workload}}-.*"`
	return []prom.Custom{
		{
			Template: prom.Template{Name: "by the gateway", Bad: "sum by (response_code) (" + of + `, response_code!~"2.."})`, Total: "sum by (response_code) (" + of + "})"},
			Limit:    judge.Custom{Name: "by the gateway", Bound: .1},
		},
		{
			Template: prom.Template{Name: "by pod", Good: "sum by (pod) (" + pods + `, response_code="200"})`, Total: "sum by (pod) (" + pods + "})"},
			Limit:    judge.Custom{Name: "by pod", Bound: .1},
		},
		{
			Template: prom.Template{Name: "pods", Gauge: `max by (destination_workload) (count_over_time(istio_requests_total{reporter!="source", destination_workload="{{workload}}"}[20000ms]))`},
			Limit:    judge.Custom{Name: "pods", Gauge: true, Bound: 100},
		},
	}
}

// world is a release of which anything may become.
type world struct {
	*telemetry.Town
	random *rand.Rand
	pods   map[string][]string
	flows  map[string]telemetry.Flow
	born   int
}

func (w *world) pod(workload string) {
	w.born++
	w.pods[workload] = append(w.pods[workload], fmt.Sprintf("%s-%d", workload, w.born))
}

// happen lets one thing happen of those that change what is scraped.
func (w *world) happen() {
	workload := []string{"web-v1", "web-v2"}[w.random.IntN(2)]
	f := w.flows[workload]
	f.Workload = workload
	switch w.random.IntN(8) {
	case 0:
		w.pod(workload)
	case 1, 2: // a pod goes, soon after its last scrape or long after, and may be back
		if n := len(w.pods[workload]); n > 0 {
			gone := w.random.IntN(n)
			name := w.pods[workload][gone]
			w.pods[workload] = slices.Delete(slices.Clone(w.pods[workload]), gone, gone+1)
			w.flow()
			if w.random.IntN(2) == 0 {
				pass(time.Duration(w.random.IntN(15000)) * time.Millisecond)
				w.pods[workload] = append(w.pods[workload], name)
			}
		}
	case 3, 4:
		f.Rate = []float64{0, .1, 3, 97.3}[w.random.IntN(4)]
	case 5:
		f.Errors, f.Slow = []float64{0, .01, .5, 1}[w.random.IntN(4)], w.random.Float64()
	case 6:
		w.Break([]telemetry.Fault{telemetry.Restarted, telemetry.Stale, telemetry.Unscraped}[w.random.IntN(3)])
	case 7:
		w.Mend()
	}
	w.flows[workload] = f
	w.flow()
}

func (w *world) flow() {
	var all []telemetry.Flow
	for _, workload := range slices.Sorted(maps.Keys(w.flows)) {
		f := w.flows[workload]
		f.Pods = w.pods[workload]
		all = append(all, f)
	}
	w.Flow("shop", "web", all...)
}

// play is what was asked during a simulated release, and what was stored.
func play(t *testing.T, seed uint64, scrape time.Duration) (asked []exchange, stored []telemetry.Sample) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := &world{
			Town: telemetry.New(scrape), random: rand.New(rand.NewPCG(seed, 6)), pods: map[string][]string{},
			flows: map[string]telemetry.Flow{"web-v1": {Workload: "web-v1", Rate: 50, Slow: .02}},
		}
		query, err := prom.HTTP(&http.Client{Transport: w}, "http://prometheus")
		if err != nil {
			t.Fatal(err)
		}
		r := &recorder{query: query}
		w.pod("web-v1")
		w.pod("web-v1")
		w.flow()
		pass(40 * time.Second)
		w.pod("web-v2")
		w.flows["web-v2"] = telemetry.Flow{Workload: "web-v2", Rate: .2, Errors: .2} // its series come late
		w.flow()
		from := time.Now()
		idle := min(int(scrape/time.Second)*80, 400) // beyond which a value is no longer shown, if scrapes are few
		for range 40 {
			pass(time.Duration(w.random.IntN([]int{12, 12, 12, 12, 12, 12, 12, 40, idle}[w.random.IntN(9)])*1000+w.random.IntN(1000)) * time.Millisecond)
			if w.random.IntN(3) == 0 {
				w.happen()
			}
			askAll(t, r.ask, from, []prom.Reporter{prom.Auto, prom.Source, prom.Destination}[w.random.IntN(3)])
		}
		asked, stored = r.all, w.Samples(began.Add(-time.Second), time.Now())
	})
	return asked, stored
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble of testing/synctest nobody waits
}

// askAll asks all that the controller may ask during a release.
func askAll(t *testing.T, q prom.Query, from time.Time, reporter prom.Reporter) {
	t.Helper()
	asks := func(from time.Time, width time.Duration) []prom.Ask {
		return []prom.Ask{{
			Key: "web", Namespace: "shop", Service: "web", StableWorkload: "web-v1", CanaryWorkload: "web-v2",
			From: from, Width: width, Step: 1, Weight: 25, Reporter: reporter, Custom: customs(),
		}}
	}
	now := time.Now()
	recent := from
	if now.Sub(from) > time.Minute {
		recent = now.Add(-time.Minute)
	}
	for _, a := range []prom.Answer{
		prom.Blocks(t.Context(), q, asks(recent, 5*time.Second), now)["web"],
		prom.Rough(t.Context(), q, asks(prom.Closed(now, 5*time.Second), 5*time.Second), now)["web"],
		prom.Open(t.Context(), q, asks(prom.Closed(now, 5*time.Second), 5*time.Second), now)["web"],
	} {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	if i := prom.Intervals(t.Context(), q, asks(from, 5*time.Second), now)["web"]; i.Err != nil {
		t.Fatal(i.Err)
	}
}

// storage is a real Prometheus's, and its engine.
type storage struct {
	db     *tsdb.DB
	engine *promql.Engine
}

func newStorage(t *testing.T) storage {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1 << 26, Timeout: time.Minute, NoStepSubqueryIntervalFn: func(int64) int64 { return 60000 }})
	t.Cleanup(func() { _ = db.Close(); _ = engine.Close() })
	return storage{db, engine}
}

func (s storage) store(t *testing.T, samples []telemetry.Sample) {
	t.Helper()
	if len(samples) == 0 {
		return
	}
	app := s.db.Appender(t.Context())
	for _, x := range samples {
		all := make([]string, 0, 2*len(x.Labels))
		for _, l := range x.Labels {
			all = append(all, l.Name, l.Value)
		}
		v := x.Value
		if x.Stale {
			v = math.Float64frombits(value.StaleNaN)
		}
		if _, err := app.Append(0, labels.FromStrings(all...), x.At.UnixMilli(), v); err != nil {
			t.Fatalf("store %v: %v", x, err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

// answer is the real answer to a query, a line for each series.
func (s storage) answer(t *testing.T, x exchange) []string {
	t.Helper()
	q, err := s.engine.NewRangeQuery(t.Context(), s.db, nil, x.promql, x.start, x.end, x.step)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	m, err := q.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, series := range m {
		var all prom.Labels
		series.Metric.Range(func(l labels.Label) { all = append(all, prom.Label{Name: l.Name, Value: l.Value}) })
		var points []prom.Point
		for _, p := range series.Floats {
			points = append(points, prom.Point{At: p.T, Value: p.F})
		}
		out = append(out, line(all, points))
	}
	slices.Sort(out)
	return out
}

func line(all prom.Labels, points []prom.Point) string {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b prom.Label) int { return strings.Compare(a.Name, b.Name) })
	return fmt.Sprint(all, points)
}

// differences tells where the real Prometheus answers otherwise, having stored what
// it could have seen when it was asked.
func differences(t *testing.T, asked []exchange, stored []telemetry.Sample) (out []string) {
	t.Helper()
	s := newStorage(t)
	for _, x := range asked {
		n, _ := slices.BinarySearchFunc(stored, x.now, func(s telemetry.Sample, now time.Time) int {
			if s.Seen.After(now) {
				return 1
			}
			return -1
		})
		s.store(t, stored[:n])
		stored = stored[n:]
		if want := s.answer(t, x); !slices.Equal(x.got, want) {
			out = append(out, fmt.Sprintf("%s\nfrom %s to %s every %s, at %s:\nsimulated %s\nreal      %s", x.promql,
				x.start.Format(time.StampMilli), x.end.Format(time.StampMilli), x.step, x.now.Format(time.StampMilli),
				strings.Join(x.got, "\n"), strings.Join(want, "\n")))
		}
	}
	return out
}

// forms are the forms of the queries that had an answer; those of failures for
// which no host was there have a form of their own.
func forms(t *testing.T, asked []exchange) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, x := range asked {
		if len(x.got) == 0 {
			continue
		}
		form := kind(t, x.promql)
		if strings.Contains(x.promql, `"unknown"`) {
			form += " unknown"
		}
		out[form]++
	}
	return out
}

func TestTheSimulatedPrometheusAnswersAsTheRealOne(t *testing.T) {
	answered := map[string]int{}
	for seed := range uint64(6) {
		asked, stored := play(t, seed, []time.Duration{time.Second, 5 * time.Second, 15 * time.Second}[seed%3])
		for form, n := range forms(t, asked) {
			answered[form] += n
		}
		wrong := differences(t, asked, stored)
		if len(wrong) > 0 {
			t.Errorf("seed %d: %d of %d answers differ, the first: %s", seed, len(wrong), len(asked), wrong[0])
		}
		t.Logf("seed %d: %d answers about %d samples", seed, len(asked), len(stored))
	}
	t.Logf("answers with series: %v", answered)
	for _, form := range []string{
		"sum istio_requests_total", "sum last_over_time istio_requests_total", "last_over_time sum istio_requests_total",
		"max count_over_time istio_requests_total", "max timestamp istio_requests_total",
		"sum istio_request_duration_milliseconds_bucket", "sum istio_requests_total unknown", "sum last_over_time istio_requests_total unknown",
	} {
		if answered[form] < 10 {
			t.Errorf("only %d answers to queries of the form %q had series", answered[form], form)
		}
	}
}

// TestADifferenceIsNoticed: a comparison that finds nothing proves nothing unless
// it finds what is wrong.
func TestADifferenceIsNoticed(t *testing.T) {
	asked, stored := play(t, 1, 5*time.Second)
	if wrong := differences(t, asked, stored); len(wrong) > 0 {
		t.Fatalf("it isn't the same to begin with: %s", wrong[0])
	}
	for name, spoil := range map[string]func(s *telemetry.Sample) (keep bool){
		"ends aren't marked": func(s *telemetry.Sample) bool { return !s.Stale },
		"one counter of many is 1 too high": func(s *telemetry.Sample) bool {
			of := fmt.Sprint(s.Labels)
			if strings.Contains(of, "istio_requests_total") && strings.Contains(of, telemetry.Gateway) && strings.Contains(of, "web-v1") && strings.Contains(of, "200") {
				s.Value++
			}
			return true
		},
		"a scrape carries a time 1 ms later": func(s *telemetry.Sample) bool {
			s.At = s.At.Add(time.Millisecond)
			return true
		},
		"a scrape is seen a second later": func(s *telemetry.Sample) bool {
			s.Seen = s.Seen.Add(time.Second)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			var spoilt []telemetry.Sample
			for _, s := range stored {
				if spoil(&s) {
					spoilt = append(spoilt, s)
				}
			}
			if len(differences(t, asked, spoilt)) == 0 {
				t.Error("nobody noticed")
			}
		})
	}
}
