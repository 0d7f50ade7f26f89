package metrics_test

import (
	"errors"
	"flag"
	"fmt"
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
	"k8s.io/client-go/util/workqueue"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/metrics"
	"serin.dev/serin/pkg/mode"
)

var build = metrics.Build{Version: "v1.2.3", Revision: "abc", GoVersion: "go1.26"}

func running() canary.View {
	return canary.View{
		Namespace: "shop", Service: "web",
		Canary: canary.Track{Deployment: "web-v2"}, Stable: canary.Track{Deployment: "web-v1"},
		Phase: canary.Progressing, Step: 2, Steps: 3, Weight: 25, Reason: canary.Baking, Moved: canary.StepPassed,
		Since: time.UnixMilli(1_700_000_000_500), Rollout: "r1",
		Path:   []canary.StepView{{Weight: 5}, {Weight: 25}, {Weight: 100}},
		Shares: []canary.ShareView{{VirtualService: "web", Least: 5, Most: 25}},
		Next:   canary.NextView{Deadline: time.UnixMilli(1_700_001_800_500)},
		Limits: canary.LimitsView{ErrorRate: 0.01, P99: canary.Span(2 * time.Second)},
		Verdict: canary.VerdictView{
			Bake: canary.Span(2 * time.Minute), Covered: canary.Span(time.Minute),
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
	return metrics.New(source(func() []canary.View { return views }), build)
}

func source(views func() []canary.View) metrics.Source {
	yes := func() bool { return true }
	return metrics.Source{Views: views, Leading: yes, Ready: yes}
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

// safe is what is told of a release beside its metrics.
func safe() canary.View {
	v := running()
	v.Mirror, v.Residual, v.ResidualOf, v.Unverified = 10, 0.4, "web-v1", "412 orders have no invoice"
	v.Awaits = []canary.Awaited{
		{Kind: string(canary.AskGate), Name: "hours", Step: 3}, {Kind: canary.AwaitApproval, Step: 3},
		{Kind: string(canary.AskGate), Name: "hours"},
	}
	return v
}

func TestWhatIsAwaitedAndWhatIsLeftIsShownWhileItIs(t *testing.T) {
	names := []string{"serin_rollout_awaiting", "serin_rollout_mirror_percent", "serin_rollout_unverified", "serin_rollout_residual_requests_per_second"}
	expect(t, showing(safe()), `
# HELP serin_rollout_awaiting 1 for each thing that the rollout waits for from outside: its kind (approval, gate, smoke, alerts, endpoints, series) and, of a gate, its name. Each stands at most once.
# TYPE serin_rollout_awaiting gauge
serin_rollout_awaiting{kind="approval",name="",namespace="shop",service="web"} 1
serin_rollout_awaiting{kind="gate",name="hours",namespace="shop",service="web"} 1
# HELP serin_rollout_mirror_percent The share of requests, 0 to 100, of which the canary is sent a copy; missing while it is sent none.
# TYPE serin_rollout_mirror_percent gauge
serin_rollout_mirror_percent{namespace="shop",service="web"} 10
# HELP serin_rollout_residual_requests_per_second Requests per second that still reach a Deployment to which no route leads any more; missing when it gets none.
# TYPE serin_rollout_residual_requests_per_second gauge
serin_rollout_residual_requests_per_second{deployment="web-v1",namespace="shop",service="web"} 0.4
# HELP serin_rollout_unverified 1 while the last release of the Service was rolled back and it could not be verified that stable serves as before.
# TYPE serin_rollout_unverified gauge
serin_rollout_unverified{namespace="shop",service="web"} 1
`, names...)
	if n := testutil.CollectAndCount(showing(running()), names...); n != 0 {
		t.Errorf("%d series of a release that waits for nobody", n)
	}
}

// rolloutNames are the metrics that have series of their own for each Service.
var rolloutNames = func() (names []string) {
	for _, f := range metrics.Families() {
		if strings.HasPrefix(f.Name, "serin_rollout_") {
			names = append(names, f.Name)
		}
	}
	return names
}()

func TestWhatWasNotMeasuredIsNotShown(t *testing.T) {
	idle := canary.View{Namespace: "shop", Service: "web", Canary: canary.Track{Deployment: "web-v2"}, Phase: canary.Idle}
	expect(t, showing(idle), `
# HELP serin_rollout_phase 1 for the phase in which the Service's rollout is; Idle when none is under way or remembered.
# TYPE serin_rollout_phase gauge
serin_rollout_phase{deployment="web-v2",namespace="shop",phase="Idle",service="web"} 1
`, rolloutNames...)
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
	m := metrics.New(source(func() []canary.View { return views }), build)
	if n := testutil.CollectAndCount(m, rolloutNames...); n == 0 {
		t.Error("a rollout has no series")
	}
	views = nil
	if n := testutil.CollectAndCount(m, rolloutNames...); n != 0 {
		t.Errorf("%d series are left", n)
	}
}

// What a Service costs Prometheus, as docs/metrics.md has it.
func TestHowManySeriesAServiceHas(t *testing.T) {
	resting := canary.View{
		Namespace: "shop", Service: "web", Rollout: "r1", Phase: canary.Succeeded, Reason: canary.Promoted, Moved: canary.Promoted,
		Since: time.UnixMilli(1), Weight: 100, Steps: 3,
		Canary: canary.Track{Deployment: "web-v2"}, Stable: canary.Track{Deployment: "web-v1"},
	}
	idle := canary.View{Namespace: "shop", Service: "web", Phase: canary.Idle, Canary: canary.Track{Deployment: "web"}}
	blocked := idle
	blocked.Phase, blocked.Reason = canary.Blocked, canary.SubsetMissing
	docs, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for what, v := range map[string]canary.View{
		"never released":                         idle,
		"blocked before its first release":       blocked,
		"at rest after a release":                resting,
		"under way, with two metrics that judge": running(),
	} {
		n := testutil.CollectAndCount(showing(v), rolloutNames...)
		if line := fmt.Sprintf("| %s | %d |\n", what, n); !strings.Contains(string(docs), line) {
			t.Errorf("docs/metrics.md lacks the line %q", line)
		}
	}
}

func TestFindingsAreCountedByService(t *testing.T) {
	one, other := running(), running()
	other.Service = "api"
	one.Findings = []canary.Finding{{Reason: canary.NoSubset, Blocking: true}, {Reason: canary.NoSubset, Blocking: true}, {Reason: canary.HeaderAdopted}}
	other.Findings = one.Findings[:1]
	expect(t, showing(one, other), `
# HELP serin_findings How many Services preflight finds something about, by reason, and whether it keeps releases from starting.
# TYPE serin_findings gauge
serin_findings{blocking="false",reason="HeaderRouteAdopted"} 1
serin_findings{blocking="true",reason="DestinationWithoutSubset"} 2
`, "serin_findings")
}

func TestEveryPhaseIsCountedAlsoThoseNobodyIsIn(t *testing.T) {
	other := running()
	other.Service = "api"
	m := showing(running(), other)
	text, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, "serin_rollouts")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`serin_rollouts{phase="Progressing"} 2`, `serin_rollouts{phase="RollingBack"} 0`, `serin_rollouts{phase="Blocked"} 0`} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("%s is missing in\n%s", line, text)
		}
	}
}

func TestTheQueueIsMeasured(t *testing.T) {
	m := showing()
	q := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[string]{Name: "any", MetricsProvider: m.Queue()})
	defer q.ShutDown()
	q.Add("web")
	q.Add("api")
	k, _ := q.Get()
	q.Done(k)
	expect(t, m, `
# HELP serin_queue_depth How many Services wait to be looked at.
# TYPE serin_queue_depth gauge
serin_queue_depth 1
`, "serin_queue_depth")
	text, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, "serin_queue_wait_seconds")
	if err != nil || !strings.Contains(string(text), "serin_queue_wait_seconds_count 1\n") {
		t.Errorf("got %s (%v), want one wait", text, err)
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
		m.Wrote(mode.Update, "VirtualService", 20*time.Millisecond, err)
	}
	m.Moved(canary.Testing, canary.Progressing, canary.StepStarted)
	m.Served(100, 3)
	m.Told(nil)
	m.Told(errors.New("refused"))
	m.Renewed(nil)
	m.Snapped(120 * time.Millisecond)
	m.Asked(nil)
	m.Asked(errors.New("timeout"))
	m.Reconciled(30 * time.Millisecond)
	expect(t, m, `
# HELP serin_canary_answers_total Answers that all canaries gave, by result: ok or bad. Counted from closed blocks of evidence, each once, and only those since this replica leads; what proved a breach before its block was closed is not among them.
# TYPE serin_canary_answers_total counter
serin_canary_answers_total{result="bad"} 3
serin_canary_answers_total{result="ok"} 97
# HELP serin_decisions_total Decisions told, by reason.
# TYPE serin_decisions_total counter
serin_decisions_total{reason="GitOpsRevertLeft"} 0
serin_decisions_total{reason="GitOpsRevertReapplied"} 0
serin_decisions_total{reason="RevertedByGitOps"} 0
serin_decisions_total{reason="StepPassed"} 2
# HELP serin_events_total Events for people, by result: ok, or error when one was refused or too many waited. What is lost here is in the log.
# TYPE serin_events_total counter
serin_events_total{result="error"} 1
serin_events_total{result="ok"} 1
# HELP serin_lease_renewals_total Attempts to take or renew the lease, by result: ok or error.
# TYPE serin_lease_renewals_total counter
serin_lease_renewals_total{result="error"} 0
serin_lease_renewals_total{result="ok"} 1
# HELP serin_prometheus_answers_total Times a rollout's judge was served with data, by result: ok or error. One query serves many rollouts.
# TYPE serin_prometheus_answers_total counter
serin_prometheus_answers_total{result="error"} 1
serin_prometheus_answers_total{result="ok"} 1
# HELP serin_transitions_total Rollouts that came from one phase to another, or from one step to the next, by reason.
# TYPE serin_transitions_total counter
serin_transitions_total{from="Testing",reason="StepStarted",to="Progressing"} 1
# HELP serin_writes_total Writes to the API server, by result: ok, conflict (read and decided again) or error.
# TYPE serin_writes_total counter
serin_writes_total{result="conflict"} 1
serin_writes_total{result="error"} 1
serin_writes_total{result="ok"} 2
# HELP serin_build_info Always 1; the labels tell what was built.
# TYPE serin_build_info gauge
serin_build_info{goversion="go1.26",revision="abc",version="v1.2.3"} 1
`, "serin_decisions_total", "serin_writes_total", "serin_prometheus_answers_total", "serin_build_info", "serin_transitions_total",
		"serin_canary_answers_total", "serin_events_total", "serin_lease_renewals_total")
	for name, want := range map[string]int{
		"serin_reconcile_duration_seconds": 1, "serin_snap_duration_seconds": 1, "serin_write_duration_seconds": 3,
		"serin_prometheus_last_answer_timestamp_seconds": 1,
	} {
		if n := testutil.CollectAndCount(m, name); n != want {
			t.Errorf("%s has %d series, want %d", name, n, want)
		}
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

func TestMessagesAreCountedByChannel(t *testing.T) {
	m := showing()
	for _, result := range []string{"retried", "retried", "sent"} {
		m.Notified("ops", result)
	}
	expect(t, m, `
# HELP serin_notifications_total Messages to people and programs, by channel and result: sent, retried (and then sent or dropped) or dropped.
# TYPE serin_notifications_total counter
serin_notifications_total{channel="ops",result="retried"} 2
serin_notifications_total{channel="ops",result="sent"} 1
`, "serin_notifications_total")
}

func TestScrapesAndCountsMayMeet(t *testing.T) {
	m := showing(running())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			m.Decided(canary.StepPassed)
			m.Wrote(mode.Update, "VirtualService", time.Millisecond, nil)
			m.Asked(nil)
			m.Reconciled(time.Second)
			testutil.CollectAndCount(m)
		})
	}
	wg.Wait()
}

func TestNamesFollowTheConventions(t *testing.T) {
	found := safe()
	found.Findings = []canary.Finding{{Reason: canary.NoSubset}}
	m := showing(found)
	m.Moved(canary.Testing, canary.Progressing, canary.StepStarted)
	m.Wrote(mode.Update, "VirtualService", time.Millisecond, nil)
	m.Asked(nil)
	m.Answered(canary.Question{Kind: canary.AskGate, Name: "hours"}, canary.Answer{Said: canary.Allow}, time.Second)
	m.Notified("ops", "sent")
	for _, f := range metrics.Families() {
		// Of what has no series nothing would be checked.
		if testutil.CollectAndCount(m, f.Name) == 0 {
			t.Errorf("%s has no series", f.Name)
		}
	}
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
