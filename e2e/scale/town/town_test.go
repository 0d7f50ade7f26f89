package town

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/internal/telemetry"
	"serin.dev/serin/pkg/prom"
)

const scrape = 15 * time.Second

// likeness is what an answer is like: which labels its series have, of which
// workloads, how many series of each kind there are and how many points.
func likeness(m prom.Matrix) map[string]string {
	series, points := map[string]int{}, map[string]int{}
	for _, s := range m.Series {
		var names []string
		for _, l := range s.Labels {
			if l.Name == "destination_workload" || l.Name == "response_code" {
				names = append(names, l.Name+"="+l.Value)
			} else {
				names = append(names, l.Name)
			}
		}
		slices.Sort(names)
		series[strings.Join(names, ",")]++
		points[strings.Join(names, ",")] += len(s.Points)
	}
	out := map[string]string{}
	for key, n := range series {
		out[key] = fmt.Sprintf("%d series, %d points", n, points[key])
	}
	return out
}

// released is a release as the faithful simulation and the fast town know it.
func released() (*telemetry.Town, *Town) {
	faithful, fast := telemetry.New(scrape), New(scrape)
	pods := map[string][]string{}
	for _, workload := range []string{"web-blue", "web-green"} {
		for n := range 10 {
			pods[workload] = append(pods[workload], fmt.Sprintf("%s-%d", workload, n))
		}
	}
	faithful.Flow("shop", "web",
		telemetry.Flow{Workload: "web-blue", Pods: pods["web-blue"], Rate: 90, Errors: .1},
		telemetry.Flow{Workload: "web-green", Pods: pods["web-green"], Rate: 10, Errors: .1})
	for workload, rate := range map[string]float64{"web-blue": 9, "web-green": 1} {
		fast.Add(Traffic{Namespace: "shop", Workload: workload, Pods: pods[workload], Rate: rate, Errors: .1, Since: time.Now()})
	}
	return faithful, fast
}

// TestAnswersAreOfTheTrueShape: what is asked during a release has the same
// series, labels and points as in a simulation that is compared with Prometheus
// itself. But for two things, both of the gateways: there are two of them, and
// they have a job of their own.
func TestAnswersAreOfTheTrueShape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faithful, fast := released()
		<-time.After(20 * time.Minute)
		ask, err := prom.HTTP(&http.Client{Transport: faithful}, "http://prometheus.test")
		if err != nil {
			t.Fatal(err)
		}
		now, kinds := time.Now(), map[string]bool{}
		both := func(ctx context.Context, promql string, start, end time.Time, step time.Duration) (prom.Matrix, error) {
			want, err := ask(ctx, promql, start, end, step)
			if err != nil {
				return want, err
			}
			got, err := fast.At(now)(ctx, promql, start, end, step)
			if err != nil {
				return want, err
			}
			q, _ := parse(promql, start, end, step)
			kinds[q.name()] = true
			if a, b := likeness(got), likeness(want); q.reporter == "destination" && !maps.Equal(a, b) || !slices.Equal(sortedKeys(a), sortedKeys(b)) {
				t.Errorf("%s\ngot  %v\nwant %v", promql, a, b)
			}
			return want, nil
		}
		one := prom.Ask{
			Key: "web", Namespace: "shop", Service: "web", StableWorkload: "web-blue", CanaryWorkload: "web-green",
			From: now.Add(-10 * time.Minute), Width: scrape, Step: 1, Weight: 10,
		}
		open := one
		open.From = prom.Closed(now, scrape)
		for _, reporter := range []prom.Reporter{prom.Auto, prom.Source} {
			one.Reporter, open.Reporter = reporter, reporter
			answers := []prom.Answer{
				prom.Blocks(t.Context(), both, []prom.Ask{one}, now)["web"],
				prom.Open(t.Context(), both, []prom.Ask{open}, now)["web"],
				prom.Rough(t.Context(), both, []prom.Ask{open}, now)["web"],
			}
			for i, a := range answers {
				if a.Err != nil || len(a.Blocks) == 0 {
					t.Fatalf("answer %d: %+v", i, a)
				}
			}
			if found := prom.Intervals(t.Context(), both, []prom.Ask{one}, now)["web"]; found.Err != nil || found.Width != scrape {
				t.Errorf("%+v", found)
			}
		}
		want := []string{"counters", "failures", "latency", "lost requests", "samples", "stamps"}
		if got := slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, want) {
			t.Errorf("asked for %v, want %v", got, want)
		}
	})
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func TestAnUnknownQueryIsRefusedAndRemembered(t *testing.T) {
	fast := New(scrape)
	unknown := []string{
		`up`, `max by (pod) (istio_requests_total{reporter="source"})`, `sum by (pod) (istio_requests_total{zone="a"})`,
		`sum by (pod) (istio_requests_total{reporter=~"source"})`, `sum by (pod) (istio_requests_total{response_code=~"4.."})`,
		`count by (pod) ({destination_workload="a"})`, `count by (__name__) ({zone="a"})`, `count by (__name__) ({pod=~"a"})`,
		`istio_request_bytes_sum{destination_workload="a"}`, `sum(rate(istio_requests_total{destination_workload="a"}[1000ms]))`,
		`sum(increase(istio_requests_total{destination_workload="a"}[1000ms]) or increase(istio_requests_total{destination_workload="b"}[1000ms]))`,
	}
	for _, promql := range unknown {
		form := url.Values{"query": {promql}, "start": {"100"}, "end": {"200"}, "step": {"10"}}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/query_range", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		fast.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", promql, w.Code, w.Body)
		}
	}
	if n := len(fast.Refused()); n != len(unknown) {
		t.Errorf("%d refusals are remembered, of %d", n, len(unknown))
	}
}

// TestWhatIsServedIsWhatIsToldLater: over HTTP and from memory the same, which is
// what lets a breach be dated afterwards.
func TestWhatIsServedIsWhatIsToldLater(t *testing.T) {
	fast := New(scrape)
	fast.Add(Traffic{Namespace: "shop", Workload: "web-green", Pods: []string{"a", "b"}, Rate: 3, Errors: .1, Since: time.Now().Add(-time.Hour)})
	server := httptest.NewServer(fast)
	defer server.Close()
	ask, err := prom.HTTP(server.Client(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(-time.Minute).Truncate(time.Second) // nothing of then is still to come
	promql := `sum by (destination_workload_namespace, destination_workload, job, instance, pod, response_code) ` +
		`(istio_requests_total{destination_workload_namespace=~"shop", destination_workload=~"web-green", reporter="destination"})`
	got, err := ask(t.Context(), promql, end.Add(-time.Minute), end, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want, err := fast.At(end.Add(time.Minute))(t.Context(), promql, end.Add(-time.Minute), end, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got.Series) != fmt.Sprint(want.Series) || len(got.Series) != 4 || len(got.Series[0].Points) != 7 {
		t.Errorf("served %v\ntold %v", got.Series, want.Series)
	}
	if asked := fast.Asked(); len(asked) != 1 || asked[0].Series != 4 || asked[0].Bytes == 0 {
		t.Errorf("noted %+v", asked)
	}
}
