package metrics_test

import (
	"errors"
	"flag"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/metrics"
)

var build = metrics.Build{Version: "v1.2.3", Revision: "abc", GoVersion: "go1.26"}

func running() canary.View {
	return canary.View{
		Namespace: "shop", Service: "web",
		Canary: canary.Track{Deployment: "web-v2"}, Stable: canary.Track{Deployment: "web-v1"},
		Phase: canary.Progressing, Step: 2, Steps: 3, Weight: 25, Reason: canary.Baking, Moved: canary.StepPassed,
		Since: time.UnixMilli(1_700_000_000_500),
		Verdict: canary.VerdictView{
			Kind: "Hold", Reason: "NotEnoughRequests", StableRequests: 5930, CanaryRequests: 312, StableErrors: 6, CanaryErrors: 16,
			StableRate: 95, CanaryRate: 5.5, StableP99: [2]float64{250, 500}, CanaryP99: [2]float64{2500, math.Inf(1)},
			RollbackAt: canary.Odds(math.Log(100)), PromoteAt: canary.Odds(math.Log(20)), Against: 3 * math.Ln10, For: -math.Ln10 / 2, More: 190,
			Metrics: []canary.MetricView{
				{Name: "errors", Against: 3.5 * math.Ln10, For: -2 * math.Ln10},
				{Name: "checkout-success", For: math.Ln10},
				{Name: "queue-depth", Missing: "no series"},
			},
		},
	}
}

func showing(views ...canary.View) *metrics.Metrics {
	return metrics.New(func() []canary.View { return views }, build)
}

func expect(t *testing.T, c prometheus.Collector, text string, names ...string) {
	t.Helper()
	if err := testutil.CollectAndCompare(c, strings.NewReader(text), names...); err != nil {
		t.Error(err)
	}
}

func TestARollout(t *testing.T) {
	text, err := os.ReadFile("testdata/rollout.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, err := testutil.CollectAndFormat(showing(running()), expfmt.TypeTextPlain, rolloutNames...)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/rollout.txt", got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(got) != string(text) {
		t.Errorf("got\n%s", got)
	}
}

var rolloutNames = []string{
	"serin_rollout_phase", "serin_rollout_weight_percent", "serin_rollout_step", "serin_rollout_steps",
	"serin_rollout_last_transition_timestamp_seconds", "serin_rollout_verdict", "serin_rollout_requests",
	"serin_rollout_errors", "serin_rollout_request_rate", "serin_rollout_p99_seconds",
	"serin_rollout_evidence", "serin_rollout_evidence_together", "serin_rollout_evidence_needed", "serin_rollout_requests_needed",
}

func TestWhatWasNotMeasuredIsNotShown(t *testing.T) {
	idle := canary.View{Namespace: "shop", Service: "web", Canary: canary.Track{Deployment: "web-v2"}, Phase: canary.Idle}
	expect(t, showing(idle), `
# HELP serin_rollout_phase 1 for the phase in which the Service's rollout is; Idle when none is under way or remembered.
# TYPE serin_rollout_phase gauge
serin_rollout_phase{deployment="web-v2",namespace="shop",phase="Idle",service="web"} 1
`, "serin_rollout_phase", "serin_rollout_requests", "serin_rollout_p99_seconds", "serin_rollout_verdict", "serin_rollout_last_transition_timestamp_seconds")
}

func TestWithoutEvidenceNoneIsShown(t *testing.T) {
	threshold := running()
	threshold.Verdict.Metrics, threshold.Verdict.RollbackAt, threshold.Verdict.PromoteAt, threshold.Verdict.More = nil, 0, 0, 0
	m := showing(threshold)
	if n := testutil.CollectAndCount(m, "serin_rollout_evidence", "serin_rollout_evidence_together", "serin_rollout_evidence_needed", "serin_rollout_requests_needed"); n != 0 {
		t.Errorf("%d series of a release that is judged by thresholds", n)
	}
	if n := testutil.CollectAndCount(m, "serin_rollout_verdict"); n != 1 {
		t.Errorf("%d verdicts", n)
	}
}

func TestNoSeriesOutlivesItsRollout(t *testing.T) {
	views := []canary.View{running()}
	m := metrics.New(func() []canary.View { return views }, build)
	if n := testutil.CollectAndCount(m, rolloutNames...); n != 25 {
		t.Errorf("a rollout has %d series", n)
	}
	views = nil
	if n := testutil.CollectAndCount(m, rolloutNames...); n != 0 {
		t.Errorf("%d series are left", n)
	}
}

func TestOneServiceShownTwiceDoesNotFailTheScrape(t *testing.T) {
	other := running()
	other.Service = "api"
	if n := testutil.CollectAndCount(showing(running(), running(), other), "serin_rollout_weight_percent"); n != 2 {
		t.Errorf("got %d series, want 2", n)
	}
}

func TestCounters(t *testing.T) {
	m := showing()
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "virtualservices"}, "web", errors.New("changed"))
	m.Decided(canary.StepPassed)
	m.Decided(canary.StepPassed)
	for _, err := range []error{nil, nil, conflict, errors.New("down")} {
		m.Wrote(err)
	}
	m.Asked(nil)
	m.Asked(errors.New("timeout"))
	m.Reconciled(30 * time.Millisecond)
	expect(t, m, `
# HELP serin_decisions_total Decisions told, by reason.
# TYPE serin_decisions_total counter
serin_decisions_total{reason="StepPassed"} 2
# HELP serin_prometheus_answers_total Times a rollout's judge was served with data, by result: ok or error. One query serves many rollouts.
# TYPE serin_prometheus_answers_total counter
serin_prometheus_answers_total{result="error"} 1
serin_prometheus_answers_total{result="ok"} 1
# HELP serin_writes_total Writes to the API server, by result: ok, conflict (read and decided again) or error.
# TYPE serin_writes_total counter
serin_writes_total{result="conflict"} 1
serin_writes_total{result="error"} 1
serin_writes_total{result="ok"} 2
# HELP serin_build_info Always 1; the labels tell what was built.
# TYPE serin_build_info gauge
serin_build_info{goversion="go1.26",revision="abc",version="v1.2.3"} 1
`, "serin_decisions_total", "serin_writes_total", "serin_prometheus_answers_total", "serin_build_info")
	if n := testutil.CollectAndCount(m, "serin_reconcile_duration_seconds"); n != 1 {
		t.Errorf("got %d histograms", n)
	}
}

func TestQueriesAreCountedWhereTheyLeave(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	m := showing()
	client := &http.Client{Transport: m.Queries(http.DefaultTransport)}
	ask := func() {
		if response, err := client.Get(server.URL); err == nil {
			_ = response.Body.Close()
		}
	}
	ask()
	status = http.StatusServiceUnavailable
	ask()
	server.Close()
	ask()
	expect(t, m, `
# HELP serin_prometheus_queries_total Queries sent to Prometheus, by result: ok or error.
# TYPE serin_prometheus_queries_total counter
serin_prometheus_queries_total{result="error"} 2
serin_prometheus_queries_total{result="ok"} 1
`, "serin_prometheus_queries_total")
}

func TestScrapesAndCountsMayMeet(t *testing.T) {
	m := showing(running())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			m.Decided(canary.StepPassed)
			m.Wrote(nil)
			m.Asked(nil)
			m.Reconciled(time.Second)
			testutil.CollectAndCount(m)
		})
	}
	wg.Wait()
}

func TestNamesFollowTheConventions(t *testing.T) {
	m := showing(running())
	m.Decided(canary.StepPassed)
	problems, err := testutil.CollectAndLint(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if err := prometheus.NewPedanticRegistry().Register(m); err != nil {
		t.Error(err)
	}
}

var update = flag.Bool("update", false, "write the golden file and the table in the documentation")

func TestTheDocumentationIsCurrent(t *testing.T) {
	const (
		file  = "../../docs/metrics.md"
		begin = "<!-- metrics: begin, generated by go test ./pkg/metrics -update -->\n"
		end   = "<!-- metrics: end -->\n"
	)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, opened := strings.Cut(string(text), begin)
	table, after, closed := strings.Cut(rest, end)
	switch {
	case !opened || !closed:
		t.Fatalf("%s has no place for the table of metrics", file)
	case table == metrics.Markdown():
		return
	case !*update:
		t.Fatalf("%s is not current: run go test ./pkg/metrics -update", file)
	}
	if err := os.WriteFile(file, []byte(before+begin+metrics.Markdown()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
