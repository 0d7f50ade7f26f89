package promql

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/util/teststorage"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/metrics"
	"serin.dev/serin/pkg/mode"
)

const (
	scraped = 5 * time.Second
	lasting = 5 * time.Minute
)

// act is one scrape of a release: what Serin shows then.
func act(n int) canary.View {
	v := canary.View{
		Namespace: "shop", Service: "web", Rollout: "r1", Reason: canary.Baking, Moved: canary.StepStarted, Since: time.Unix(5, 0),
		Canary: canary.Track{Deployment: "web-v2"}, Stable: canary.Track{Deployment: "web-v1"},
		Phase: canary.Progressing, Step: 1, Steps: 2, Weight: 25,
		Path:     []canary.StepView{{Weight: 25, Bake: canary.Span(time.Minute)}, {Weight: 100}},
		Shares:   []canary.ShareView{{VirtualService: "web", Least: 25, Most: 25}},
		Limits:   canary.LimitsView{ErrorRate: .01, P99: canary.Span(2 * time.Second)},
		Next:     canary.NextView{Deadline: time.Unix(1800, 0)},
		Findings: []canary.Finding{{Reason: canary.HeaderAdopted}},
		Verdict: canary.VerdictView{
			Kind: "Hold", Reason: "NotEnoughRequests", StableRequests: 300 * int64(n), CanaryRequests: 100 * int64(n), CanaryErrors: int64(n),
			StableRate: 60, CanaryRate: 20, StableP99: canary.Bounds{100, 250}, CanaryP99: canary.Bounds{100, 250}, More: 50,
			Against: .5, For: 1, RollbackAt: 4.6, PromoteAt: 3, Metrics: []canary.MetricView{{Name: "errors", Against: .5, For: 1}},
		},
	}
	switch {
	case n < 2:
		v.Awaits = []canary.Awaited{{Kind: canary.AwaitApproval, Step: 1}, {Kind: string(canary.AskGate), Name: "hours", Step: 1}}
		fallthrough
	case n < 4:
		v.Mirror = 10
		v.Phase, v.Step, v.Weight, v.Moved, v.Verdict = canary.Testing, 0, 0, canary.ReleaseStarted, canary.VerdictView{}
	case n > 50:
		return canary.View{Namespace: "shop", Service: "web", Rollout: "r1", Phase: canary.RolledBack, Moved: canary.ErrorRateTooHigh, Since: time.Unix(255, 0),
			Unverified: "412 orders have no invoice", Residual: .4, ResidualOf: "web-v2"}
	}
	return v
}

// played is a Prometheus that has scraped Serin and Istio's proxies through a
// release that is rolled back.
func played(t *testing.T) *teststorage.TestStorage {
	t.Helper()
	db := teststorage.New(t)
	t.Cleanup(func() { _ = db.Close() })
	now := 0
	yes := func() bool { return true }
	m := metrics.New(metrics.Source{Views: func() []canary.View { return []canary.View{act(now)} }, Leading: yes, Ready: yes}, metrics.Build{})
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	for ; now <= int(lasting/scraped); now++ {
		work(m, now)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		at := (time.Duration(now) * scraped).Milliseconds()
		app := db.Appender(t.Context())
		add := func(value float64, pairs ...string) {
			if _, err := app.Append(0, labels.FromStrings(append(pairs, "instance", "serin:8080")...), at, value); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range families {
			scrape(f, add)
		}
		for _, workload := range []string{"web-v1", "web-v2"} {
			of := []string{"reporter", "source", "destination_workload_namespace", "shop", "destination_workload", workload}
			for _, code := range []string{"200", "503"} {
				add(float64(100*now), append(of, "__name__", "istio_requests_total", "response_code", code)...)
			}
			for _, le := range []string{"100", "250", "+Inf"} {
				add(float64(200*now), append(of, "__name__", "istio_request_duration_milliseconds_bucket", "le", le)...)
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// work is what Serin does between two scrapes.
func work(m *metrics.Metrics, n int) {
	m.Wrote(mode.Update, "VirtualService", 20*time.Millisecond, nil)
	m.Asked(nil)
	m.Answered(canary.Question{Kind: canary.AskGate, Name: "hours"}, canary.Answer{Said: canary.Wait}, time.Second)
	if r, err := m.Queries(answers{}).RoundTrip(&http.Request{}); err == nil {
		_ = r.Body.Close()
	}
	m.Served(100, 1)
	m.Told(nil)
	m.Renewed(nil)
	m.Reconciled(time.Millisecond)
	m.Decided(canary.StepPassed)
	m.Moved(canary.Progressing, canary.Progressing, canary.StepPassed)
	m.Queue().NewLatencyMetric("").Observe(.001)
	if n == 50 {
		m.Snapped(200 * time.Millisecond)
	}
}

// answers is a Prometheus that answers.
type answers struct{}

func (answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// scrape hands out the samples of a family.
func scrape(f *dto.MetricFamily, add func(float64, ...string)) {
	for _, one := range f.GetMetric() {
		var pairs []string
		for _, l := range one.GetLabel() {
			pairs = append(pairs, l.GetName(), l.GetValue())
		}
		named := func(suffix string, more ...string) []string {
			return append(append([]string{"__name__", f.GetName() + suffix}, more...), pairs...)
		}
		switch f.GetType() {
		case dto.MetricType_HISTOGRAM:
			h := one.GetHistogram()
			for _, b := range h.GetBucket() {
				add(float64(b.GetCumulativeCount()), named("_bucket", "le", fmt.Sprint(b.GetUpperBound()))...)
			}
			add(float64(h.GetSampleCount()), named("_bucket", "le", "+Inf")...)
			add(float64(h.GetSampleCount()), named("_count")...)
		case dto.MetricType_COUNTER:
			add(one.GetCounter().GetValue(), named("")...)
		default:
			add(one.GetGauge().GetValue(), named("")...)
		}
	}
}

// numbers counts what a query gives over the release that is no NaN.
func numbers(t *testing.T, engine *promql.Engine, db *teststorage.TestStorage, expr string) (n int) {
	t.Helper()
	q, err := engine.NewRangeQuery(t.Context(), db, nil, expr, time.Unix(0, 0), time.Unix(0, 0).Add(lasting), scraped)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer q.Close()
	matrix, err := q.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	for _, s := range matrix {
		for _, p := range s.Floats {
			if !math.IsNaN(p.F) {
				n++
			}
		}
	}
	return n
}

// What is drawn of a release by each panel, out of what Serin itself shows.
func TestEveryPanelHasData(t *testing.T) {
	db := played(t)
	engine := promqltest.NewTestEngine(t, false, 0, 1e6)
	values := strings.NewReplacer("$__rate_interval", "30s", "$__range", "5m", "$namespace", "shop", "$service", "web", "$reporter", "source")
	for name, d := range readDashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if numbers(t, engine, db, values.Replace(q.Expr)) == 0 {
					t.Errorf("%s, %s: %s gives nothing", name, p.Title, q.Expr)
				}
			}
		}
		for _, a := range d.Annotations.List {
			if numbers(t, engine, db, values.Replace(a.Target.Expr)) == 0 {
				t.Errorf("%s, annotations %s: nothing", name, a.Name)
			}
		}
	}
	if n := numbers(t, engine, db, values.Replace(`serin_rollout_phase{namespace="$namespace", phase="Nowhere"}`)); n != 0 {
		t.Errorf("a phase that there is not gives %d numbers", n)
	}
	for _, r := range readRules(t) {
		if r.Record != "" && numbers(t, engine, db, r.Expr) == 0 {
			t.Errorf("%s records nothing", r.Record)
		}
	}
}
