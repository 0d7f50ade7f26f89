package main

import (
	"bytes"
	"context"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"serin.dev/serin/e2e/scale/town"
	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
)

func TestAllThatIsWrongWithTheFlagsIsToldAtOnce(t *testing.T) {
	_, err := parse([]string{"--deployments", "5", "--namespaces", "0", "--scrape-interval", "1ms", "--errors", "1", "more"}, io.Discard)
	for _, want := range []string{`unexpected arguments ["more"]`, "--deployments is 5", "--namespaces is 0", "--scrape-interval is 1ms", "--errors is 1", "together"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
	if _, err := parse(nil, io.Discard); err != nil {
		t.Error(err)
	}
}

func TestQuantilesAreThoseOfPrometheus(t *testing.T) {
	before := histogram{.1: 10, .5: 10, 1: 10, math.Inf(1): 10}
	after := histogram{.1: 60, .5: 100, 1: 109, math.Inf(1): 110}
	h := after.since(before)
	for q, want := range map[float64]float64{.5: .1, .9: .5, .7: .3, .99: 1, 1: 1} {
		if got := h.quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if !math.IsNaN(before.since(before).quantile(.5)) {
		t.Error("nothing has a median")
	}
	times := []time.Duration{4, 1, 3, 2}
	for q, want := range map[float64]time.Duration{.5: 2, .99: 4, 0: 1} {
		if got := quantile(times, q); got != want {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
}

func TestTheControllersMetricsAreRead(t *testing.T) {
	m := shown{phases: map[string]int{}, reconciles: histogram{}}
	for line := range strings.SplitSeq(`# HELP serin_rollout_phase 1 for the phase
serin_rollout_phase{deployment="a",namespace="n",phase="Idle",service="s"} 1
serin_rollout_phase{deployment="b",namespace="n",phase="Progressing",service="t"} 1
serin_rollout_verdict{kind="Hold",namespace="n",reason="FewRequests",service="t"} 1
serin_reconcile_duration_seconds_bucket{le="0.001"} 3
serin_reconcile_duration_seconds_bucket{le="+Inf"} 5
go_memstats_heap_inuse_bytes 1.048576e+06
process_cpu_seconds_total 2.5`, "\n") {
		m.take(line)
	}
	if m.services() != 2 || m.phases["Progressing"] != 1 || m.judged != 1 || m.reconciles[.001] != 3 || m.reconciles.all() != 5 || mib(m.heap) != 1 || m.cpu != 2.5 {
		t.Errorf("read %+v", m)
	}
}

func TestGoalsThatAreMissedAreTold(t *testing.T) {
	var r report
	r.most("fast", .5, 1, "s")
	r.most("big", 600, 512, "MiB")
	r.most("nothing measured", math.NaN(), 1, "s")
	if got := strings.Join(r.missed(), ", "); got != "big, nothing measured" {
		t.Errorf("missed: %s", got)
	}
	var out bytes.Buffer
	if err := r.write(&out, false); err != nil || !strings.Contains(out.String(), "| big | 600 MiB | at most 512 MiB, missed |") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestTheFirstWriteOfEachIsTheOneThatCounts(t *testing.T) {
	p := &plane{dir: t.TempDir()}
	line := func(id, verb, name, received, done, code string) string {
		return `{"auditID":"` + id + `","verb":"` + verb + `","objectRef":{"resource":"virtualservices","namespace":"n","name":"` + name +
			`"},"responseStatus":{"code":` + code + `},"requestReceivedTimestamp":"2026-01-01T00:00:` + received + `Z","stageTimestamp":"2026-01-01T00:00:` + done + `Z"}` + "\n"
	}
	log := line("1", "update", "a", "01", "02", "200") + line("2", "update", "a", "11", "12", "409") + line("3", "update", "a", "13", "14", "200") +
		line("4", "update", "a", "15", "16", "200") + line("5", "watch", "a", "10", "10", "200") + line("5", "watch", "a", "10", "17", "200") + `{"auditID":`
	if err := os.WriteFile(filepath.Join(p.dir, "audit.log"), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(s int) time.Time { return time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC) }
	all, err := p.requests(at(10), at(20))
	if err != nil || told(tally(all)) != "3 update virtualservices, 1 watch virtualservices" {
		t.Errorf("%s, %v", told(tally(all)), err)
	}
	if got := firstWrites(all, at(10)); len(got) != 1 || !got["n/a"].Equal(at(14)) {
		t.Errorf("first writes are %v", got)
	}
}

// TestWhatIsPutIntoEtcdIsWhatTheAPIServerReads: every object decodes to itself,
// and no two have one key.
func TestWhatIsPutIntoEtcdIsWhatTheAPIServerReads(t *testing.T) {
	m, keys := newMaker("5%/10h, 100%"), map[string]bool{}
	pods, ready, endpoints := 0, 0, 0
	for _, u := range units(300, 7) {
		give := func(r record) {
			if keys[string(r.Key)] {
				t.Fatalf("%s is there twice", r.Key)
			}
			keys[string(r.Key)] = true
			if bytes.HasPrefix(r.Value, []byte("{")) {
				return
			}
			o, _, err := scheme.Codecs.UniversalDeserializer().Decode(r.Value, nil, nil)
			if err != nil {
				t.Fatalf("%s: %v", r.Key, err)
			}
			switch o := o.(type) {
			case *corev1.Pod:
				pods++
			case *discoveryv1.EndpointSlice:
				endpoints += len(o.Endpoints)
			case *appsv1.Deployment:
				ready += int(o.Status.ReadyReplicas)
			}
		}
		m.around(u, give)
		m.version(u, "blue", m.born, give)
		m.version(u, "green", m.born, give)
	}
	if pods != 6000 || ready != 6000 || endpoints != 6000 {
		t.Errorf("%d pods, %d ready, %d endpoints", pods, ready, endpoints)
	}
}

// TestABreachIsDatedByTheDataAlone: with the first errors of a canary that only
// fails, it is shown once all of stable is known as far, and never before there is one.
func TestABreachIsDatedByTheDataAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, scrape := unit{namespace: "team-000", name: "app-00000"}, 5*time.Second
		began := time.Now()
		world := town.New(scrape)
		world.Add(town.Traffic{Namespace: u.namespace, Workload: u.stable(), Pods: podNames(u, "blue"), Rate: 9, Since: began.Add(-2 * time.Hour)})
		world.Add(town.Traffic{Namespace: u.namespace, Workload: u.canary(), Pods: podNames(u, "green"), Rate: 1, Since: began.Add(-time.Minute)})
		s := canary.State{
			Rollout: "r", Sequence: 2, Phase: canary.Progressing, Step: 1, Weight: 5, Started: began.Add(-time.Minute), Since: began, At: began, Width: scrape,
			Stable: canary.Side{Deployment: u.stable(), Subset: "blue"}, Canary: canary.Side{Deployment: u.canary(), Subset: "green"},
			Spec: canary.Spec{Steps: []canary.Step{{Weight: 5, Bake: time.Hour}}, StepDeadline: 2 * time.Hour, Rules: judge.DefaultRules(), Limits: judge.Limits{ErrorRate: .01, ErrorRatio: 2, P99: 2 * time.Second}},
		}
		broken, end := began.Add(2*time.Minute), began.Add(4*time.Minute)
		if at, err := shownAt(context.Background(), world, u, s, broken, end); err == nil {
			t.Fatalf("of a good canary a breach was shown at %s", at.Sub(began))
		}
		world.Break(u.namespace, u.canary(), .9, broken)
		at, err := shownAt(context.Background(), world, u, s, broken, end)
		if err != nil || at.Before(broken.Add(scrape/2)) || at.After(broken.Add(4*scrape)) {
			t.Errorf("broken at %s, it was shown at %s: %v", broken.Sub(began), at.Sub(began), err)
		}
	})
}
