package promql

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/metrics"
)

const rulesFile = "../../deploy/prometheus/rules.yaml"

var update = flag.Bool("update", false, "write what is made from other files")

// rule is one as the file has it.
type rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

func readRules(t *testing.T) (all []rule) {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("there are no rules")
	}
	return all
}

// known are all metrics that may be asked for, with their labels; nil where any is
// allowed.
func known(t *testing.T) map[string][]string {
	t.Helper()
	istio := []string{"reporter", "destination_workload", "destination_workload_namespace", "response_code", "destination_service_name", "le"}
	all := map[string][]string{"istio_requests_total": istio, "istio_request_duration_milliseconds_bucket": istio}
	// What is given to whatever is scraped.
	target := []string{"instance", "job", "pod"}
	for _, f := range metrics.Families() {
		own := slices.Concat(f.Labels, target)
		if f.Kind != "histogram" {
			all[f.Name] = own
			continue
		}
		all[f.Name+"_bucket"], all[f.Name+"_count"], all[f.Name+"_sum"] = append(own, "le"), own, own
	}
	for _, r := range readRules(t) {
		if r.Record != "" {
			all[r.Record] = nil
		}
	}
	return all
}

// mistakes are what is wrong with a query: it doesn't parse, or it asks for what
// nobody has.
func mistakes(query string, known map[string][]string) (out []string) {
	expr, err := parse(query)
	if err != nil {
		return []string{err.Error()}
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		allowed, found := known[s.Name]
		if !found {
			out = append(out, fmt.Sprintf("there is no metric %q", s.Name))
		}
		for _, m := range s.LabelMatchers {
			if m.Name != "__name__" && allowed != nil && !slices.Contains(allowed, m.Name) {
				out = append(out, fmt.Sprintf("%s has no label %q", s.Name, m.Name))
			}
		}
		return nil
	})
	return out
}

func TestAMistakeInAQueryIsFound(t *testing.T) {
	for query, want := range map[string]string{
		"sum(serin_rollout_phase":                "parse error",
		"serin_rollout_fase == 1":                `there is no metric "serin_rollout_fase"`,
		`serin_rollout_phase{pase="Idle"}`:       `serin_rollout_phase has no label "pase"`,
		`rate(serin_write_duration_seconds[5m])`: "there is no metric",
	} {
		if got := strings.Join(mistakes(query, known(t)), "; "); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	if got := mistakes(`histogram_quantile(0.9, rate(serin_write_duration_seconds_bucket{verb="update", le="1"}[5m]))`, known(t)); got != nil {
		t.Errorf("got %q about a query without mistakes", got)
	}
}

func TestRulesAskForWhatThereIs(t *testing.T) {
	all := known(t)
	for _, r := range readRules(t) {
		for _, m := range mistakes(r.Expr, all) {
			t.Errorf("%s%s: %s", r.Record, r.Alert, m)
		}
	}
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	book, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range readRules(t) {
		if r.Alert == "" {
			continue
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || !slices.Contains([]string{"info", "warning", "critical"}, r.Labels["severity"]) {
			t.Errorf("%s lacks its summary, description or severity", r.Alert)
		}
		if want := "docs/monitoring.md#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want {
			t.Errorf("%s leads to %q, want %q", r.Alert, r.Annotations["runbook"], want)
		}
		if !strings.Contains(string(book), "\n### "+r.Alert+"\n") {
			t.Errorf("docs/monitoring.md has no heading %s", r.Alert)
		}
	}
}

// The Operator's resource holds the same rules.
func TestTheResourceOfTheOperatorIsCurrent(t *testing.T) {
	const file = "../../deploy/prometheus/prometheusrule.yaml"
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	_, groups, found := strings.Cut(string(text), "\ngroups:\n")
	if !found {
		t.Fatal("the file of rules has no groups")
	}
	want := `# Written from rules.yaml by: cd e2e/promql && go test . -run Operator -update
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: serin
  namespace: serin-system
  labels:
    app.kubernetes.io/name: serin
spec:
  groups:
`
	for line := range strings.Lines(groups) {
		if line != "\n" {
			line = "  " + line
		}
		want += line
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Fatalf("%s is not current (%v): run cd e2e/promql && go test . -run Operator -update", file, err)
	}
	var parsed struct{ Spec struct{ Groups []any } }
	if err := yaml.Unmarshal(got, &parsed); err != nil || len(parsed.Spec.Groups) == 0 {
		t.Errorf("it holds %d groups (%v)", len(parsed.Spec.Groups), err)
	}
}

// firing evaluates all rules once a minute over the series, and returns what fires
// at the end: each alert with its labels, summary and description.
func firing(t *testing.T, series string, until time.Duration) (all []string) {
	t.Helper()
	suite, err := promqltest.NewLazyLoader("load 1m\n"+series, promqltest.LazyLoaderOpts{EnableAtModifier: true, EnableNegativeOffset: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = suite.Close() })
	m := rules.NewManager(&rules.ManagerOptions{
		QueryFunc:  rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()),
		Appendable: suite.Storage(), Queryable: suite.Storage(),
		Context: t.Context(), Logger: promslog.NewNopLogger(), Parser: parser.NewParser(parser.Options{}),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {},
	})
	groups, errs := m.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, rulesFile)
	if errs != nil {
		t.Fatal(errs)
	}
	var order []string
	for name, g := range groups {
		order = append(order, name)
		for _, r := range g.Rules() {
			if alert, ok := r.(*rules.AlertingRule); ok {
				alert.SetRestored(true) // else no state is kept from one evaluation to the next
			}
		}
	}
	slices.Sort(order) // what is recorded stands first in its file and in the alphabet
	for at := time.Duration(0); at <= until; at += time.Minute {
		now := time.Unix(0, 0).UTC().Add(at)
		suite.WithSamplesTill(now, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range order {
				groups[name].Eval(t.Context(), now)
			}
		})
	}
	for _, name := range order {
		for _, r := range groups[name].Rules() {
			if err := r.LastError(); err != nil {
				t.Errorf("%s: %v", r.Name(), err)
			}
			alert, ok := r.(*rules.AlertingRule)
			if !ok {
				continue
			}
			for _, a := range alert.ActiveAlerts() {
				if a.State == rules.StateFiring {
					all = append(all, fmt.Sprintf("%s %s: %s. %s", r.Name(), a.Labels, a.Annotations.Get("summary"), a.Annotations.Get("description")))
				}
			}
		}
	}
	return all
}

// up is a Serin of which one replica leads and one stands by, with a release that
// moves: nothing of it is worth an alert.
const up = `
  serin_leading{instance="a"} 1x120
  serin_leading{instance="b"} 0x120
  serin_rollouts{instance="a",phase="Progressing"} 1x120
  serin_rollouts{instance="b",phase="Progressing"} 0x120
  serin_rollout_phase{namespace="shop",service="api",phase="Progressing"} 1x120
  serin_rollout_weight_percent{namespace="shop",service="api"} 25x120
  serin_rollout_verdict{namespace="shop",service="api",kind="Hold",reason="NotEnoughRequests"} 1x120
  serin_rollout_reason{namespace="shop",service="api",reason="Baking"} 1x120
  serin_rollout_deadline_timestamp_seconds{namespace="shop",service="api"} 9000x120
  serin_rollout_last_transition_timestamp_seconds{namespace="shop",service="api",reason="StepPassed"} 0x120
  serin_writes_total{result="error"} 1x120
  serin_prometheus_queries_total{result="ok"} 0+10x120
  serin_prometheus_queries_total{result="error"} 0+1x120
  serin_decisions_total{reason="GitOpsRevertReapplied"} 0x120
  serin_snap_duration_seconds_bucket{le="1"} 0x120
  serin_snap_duration_seconds_bucket{le="+Inf"} 0x120
  serin_snap_duration_seconds_count 0x120
`

func TestAlerts(t *testing.T) {
	for name, c := range map[string]struct {
		series string // instead of up, or on top of it where it begins with +
		until  time.Duration
		want   []string // what each alert contains, in order
	}{
		"a release that moves is worth no alert": {"+", time.Hour, nil},
		"a blocked release, with what blocks it": {
			`+
  serin_rollout_phase{namespace="shop",service="web",phase="Blocked"} 1x120
  serin_rollout_reason{namespace="shop",service="web",reason="SubsetMissing"} 1x120`, 10 * time.Minute,
			[]string{"SerinRolloutBlocked|shop/web|SubsetMissing"},
		},
		"one that is blocked for a moment is worth none": {
			`+
  serin_rollout_phase{namespace="shop",service="web",phase="Blocked"} 1x3 stale _x100
  serin_rollout_reason{namespace="shop",service="web",reason="SubsetMissing"} 1x3 stale _x100`, 5 * time.Minute, nil,
		},
		"a deadline without a verdict": {
			`+
  serin_rollout_phase{namespace="shop",service="web",phase="Inconclusive"} 1x120`, time.Minute,
			[]string{"SerinRolloutInconclusive|shop/web"},
		},
		"a step that is over its deadline": {
			`+
  serin_rollout_deadline_timestamp_seconds{namespace="shop",service="web"} 600x120`, 26 * time.Minute,
			[]string{"SerinRolloutStuck|shop/web"},
		},
		"one that is not yet over it for long": {
			`+
  serin_rollout_deadline_timestamp_seconds{namespace="shop",service="web"} 600x120`, 20 * time.Minute, nil,
		},
		"an update that hangs": {
			`+
  serin_rollout_phase{namespace="shop",service="web",phase="Promoting"} 1x120
  serin_rollout_last_transition_timestamp_seconds{namespace="shop",service="web",reason="UpdatingDeployment"} 0x120`, 70 * time.Minute,
			[]string{"SerinRolloutStuck|shop/web"},
		},
		"a rollback is told for an hour": {
			`+
  serin_rollout_phase{namespace="shop",service="web",phase="RolledBack"} 1x120
  serin_rollout_last_transition_timestamp_seconds{namespace="shop",service="web",reason="RollbackVerified"} 0x120`, 30 * time.Minute,
			[]string{"SerinRolledBack|shop/web|explain"},
		},
		"and not for ever": {
			`+
  serin_rollout_phase{namespace="shop",service="web",phase="RolledBack"} 1x120
  serin_rollout_last_transition_timestamp_seconds{namespace="shop",service="web",reason="RollbackVerified"} 0x120`, 61 * time.Minute, nil,
		},
		"a rollback that does not end": {
			`+
  serin_rollout_phase{namespace="shop",service="web",phase="RollingBack"} 1x120
  serin_rollout_last_transition_timestamp_seconds{namespace="shop",service="web",reason="ErrorRateTooHigh"} 0x120`, 12 * time.Minute,
			[]string{"SerinRolledBack|shop/web", "SerinRollbackStuck|critical|shop/web"},
		},
		"a step over its deadline, for somebody has to approve": {
			`+
  serin_rollout_deadline_timestamp_seconds{namespace="shop",service="web"} 600x120
  serin_rollout_awaiting{namespace="shop",service="web",kind="approval",name=""} 1x120`, 50 * time.Minute, nil,
		},
		"one that waits for approval for long": {
			`+
  serin_rollout_deadline_timestamp_seconds{namespace="shop",service="web"} 600x120
  serin_rollout_awaiting{namespace="shop",service="web",kind="approval",name=""} 1x120`, 62 * time.Minute,
			[]string{"SerinAwaitingApproval|info|shop/web"},
		},
		"a gate that says wait": {
			`+
  serin_rollout_awaiting{namespace="shop",service="web",kind="gate",name="hours"} 1x120
  serin_questions_total{kind="gate",name="hours",said="wait"} 0+2x120`, 62 * time.Minute, nil,
		},
		"a gate that nobody answers": {
			`+
  serin_rollout_awaiting{namespace="shop",service="web",kind="gate",name="scan"} 1x120
  serin_rollout_awaiting{namespace="shop",service="api",kind="gate",name="hours"} 1x120
  serin_questions_total{kind="gate",name="scan",said="unreached"} 0+2x120
  serin_questions_total{kind="gate",name="hours",said="wait"} 0+2x120`, 12 * time.Minute,
			[]string{"SerinGateUnreachable|shop/web waits for the gate scan, which"},
		},
		"an Alertmanager that nobody reaches": {
			`+
  serin_rollout_awaiting{namespace="shop",service="web",kind="alerts",name=""} 1x120
  serin_questions_total{kind="alerts",name="",said="unreached"} 0+2x120`, 12 * time.Minute,
			[]string{"SerinGateUnreachable|shop/web waits for alerts, which"},
		},
		"one that nobody reached once, while nothing waits for it": {
			`+
  serin_questions_total{kind="gate",name="scan",said="unreached"} 0+2x120`, 12 * time.Minute, nil,
		},
		"a rollback that could not be verified": {
			`+
  serin_rollout_unverified{namespace="shop",service="web"} 1x120
  serin_rollout_last_transition_timestamp_seconds{namespace="shop",service="web",reason="ErrorRateTooHigh"} 0x120`, 5 * time.Minute,
			[]string{"SerinRollbackUnverified|critical|shop/web"},
		},
		"is told of for a day": {
			`+
  serin_rollout_unverified{namespace="shop",service="web"} 1x120
  serin_rollout_last_transition_timestamp_seconds{namespace="shop",service="web",reason="ErrorRateTooHigh"} -86000x120`, 10 * time.Minute, nil,
		},
		"users on a canary of which there is no data": {
			`+
  serin_rollout_verdict{namespace="shop",service="web",kind="NoData",reason="NoData"} 1x120
  serin_rollout_weight_percent{namespace="shop",service="web"} 5x120`, 6 * time.Minute,
			[]string{"SerinMetricsMissing|shop/web"},
		},
		"testers on a canary of which there is no data": {
			`+
  serin_rollout_verdict{namespace="shop",service="web",kind="NoData",reason="NoData"} 1x120
  serin_rollout_weight_percent{namespace="shop",service="web"} 0x120`, 6 * time.Minute, nil,
		},
		"both replicas gone, with releases under way": {
			`
  serin_leading{instance="a"} 1x30 stale _x60
  serin_rollouts{instance="a",phase="Progressing"} 3x30 stale _x60
  serin_rollouts{instance="b",phase="Progressing"} 0x33 stale _x60
  serin_leading{instance="b"} 0x33 stale _x60`, 40 * time.Minute,
			[]string{"SerinAway|critical|3 releases were under way"},
		},
		"gone, with nothing under way": {
			`
  serin_leading{instance="a"} 1x30 stale _x60
  serin_rollouts{instance="a",phase="Progressing"} 3x20 0x10 stale _x60`, 40 * time.Minute, nil,
		},
		"a restart": {
			`
  serin_leading{instance="a"} 1x30 stale 1x60
  serin_rollouts{instance="a",phase="Progressing"} 3x30 stale 3x60`, 40 * time.Minute, nil,
		},
		"nobody leads": {
			`
  serin_leading{instance="a"} 0x60
  serin_leading{instance="b"} 0x60`, 5 * time.Minute,
			[]string{"SerinNobodyLeads|critical"},
		},
		"writes that are refused again and again": {
			`+
  serin_writes_total{result="error",instance="a"} 0x10 0+2x60`, 18 * time.Minute,
			[]string{"SerinWritesRefused|critical|RoutesPending"},
		},
		"queries that fail": {
			`
  serin_leading 1x60
  serin_prometheus_queries_total{result="ok"} 0+1x60
  serin_prometheus_queries_total{result="error"} 0+3x60`, 12 * time.Minute,
			[]string{"SerinQueriesFailing|75% of Serin's queries"},
		},
		"a GitOps tool that writes old weights back": {
			`+
  serin_decisions_total{reason="GitOpsRevertLeft"} 0x10 1x100`, 12 * time.Minute,
			[]string{"SerinRevertedByGitOps|GitOpsRevertLeft"},
		},
		"a snap that took long": {
			`
  serin_leading 1x60
  serin_snap_duration_seconds_bucket{le="1"} 0x60
  serin_snap_duration_seconds_bucket{le="5"} 0x10 1x60
  serin_snap_duration_seconds_bucket{le="+Inf"} 0x10 1x60
  serin_snap_duration_seconds_count 0x10 1x60`, 15 * time.Minute,
			[]string{"SerinSnapSlow|4.96s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			series := c.series
			if more, on := strings.CutPrefix(series, "+"); on {
				series = up + strings.TrimPrefix(more, "\n")
			}
			got := firing(t, strings.Trim(series, "\n"), c.until)
			if len(got) != len(c.want) {
				t.Fatalf("firing are\n%s\nwant %q", strings.Join(got, "\n"), c.want)
			}
			for i, want := range c.want {
				for part := range strings.SplitSeq(want, "|") {
					if !strings.Contains(got[i], part) {
						t.Errorf("got %q, want %q in it", got[i], part)
					}
				}
			}
		})
	}
}

// Each alert is seen to fire above: one of which nobody has proved that it can is
// worth nothing.
func TestEveryAlertIsSeenToFire(t *testing.T) {
	text, err := os.ReadFile("rules_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range readRules(t) {
		if r.Alert != "" && !strings.Contains(string(text), `"`+r.Alert+"|") {
			t.Errorf("no case lets %s fire", r.Alert)
		}
	}
}
