package telemetry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/pkg/prom"
)

const allRequests = `sum by (pod, response_code) (istio_requests_total{destination_workload="web-v2"})`

// readingOf asks for what is known now.
func readingOf(t *testing.T, town *Town, promql string) (prom.Matrix, error) {
	t.Helper()
	return queryOf(t, town)(t.Context(), promql, time.Now(), time.Now(), time.Second)
}

// told is an answer as text, each series in short: its labels' values and about
// its last value.
func told(m prom.Matrix, err error) string {
	var out []string
	if err != nil {
		return err.Error()
	}
	for _, s := range m.Series {
		var values []string
		for _, l := range s.Labels {
			values = append(values, l.Value)
		}
		out = append(out, fmt.Sprint(strings.Join(values, " "), " ", 10*math.Round(s.Points[len(s.Points)-1].Value/10)))
	}
	return strings.Join(append(out, m.Warnings...), "; ")
}

func TestFaultsOfTheAnswerLastUntilMended(t *testing.T) {
	for fault, want := range map[Fault]string{
		"":             "gateway-0 200 300; gateway-0 500 300; web-v2-0 200 150; web-v2-0 500 150; web-v2-1 200 150; web-v2-1 500 150",
		Unreachable:    "connection refused",
		Error500:       "status 500: internal: ",
		Unavailable503: "status 503 Service Unavailable",
		BadJSON:        "read the answer: ",
		Truncated:      "unexpected EOF",
		NaN:            "gateway-0 200 NaN; gateway-0 500 NaN; web-v2-0 200 NaN; web-v2-0 500 NaN; web-v2-1 200 NaN; web-v2-1 500 NaN",
		Empty:          "",
		Duplicates:     "gateway-0 200 300; gateway-0 200 300; gateway-0 500 300; gateway-0 500 300; web-v2-0 200 150; web-v2-0 200 150",
		Partial:        "gateway-0 200 300; gateway-0 500 300; web-v2-0 200 150; web-v2-0 500 150; a store could not be reached",
		Slow:           "gateway-0 200 300; ",
		Stall:          "context deadline exceeded",
	} {
		t.Run(string(fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				town := New(time.Second)
				split(town, 20, .5)
				pass(31 * time.Second)
				good := told(readingOf(t, town, allRequests))
				town.Break(fault)
				got := told(readingOf(t, town, allRequests))
				if !strings.Contains(got, want) || fault == Empty && got != "" {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				if fault == Unreachable {
					if _, err := readingOf(t, town, allRequests); !errors.Is(err, syscall.ECONNREFUSED) {
						t.Errorf("unreachable is %v", err)
					}
				}
				before := time.Now()
				town.Mend()
				if after := told(readingOf(t, town, allRequests)); fault != Stall && fault != Slow && after != good || time.Now() != before {
					t.Errorf("before it was\n%s\nafter it is\n%s, %s later", good, after, time.Since(before))
				}
			})
		})
	}
}

func TestSlowAnswersComeLateAndEndWithTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := New(time.Second)
		for fault, want := range map[Fault]time.Duration{Slow: 3 * time.Second, Stall: 30 * time.Second} {
			town.Break(fault)
			for _, patience := range []time.Duration{time.Second, time.Minute} {
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				q, _ := prom.HTTP(&http.Client{Transport: town}, "http://prometheus")
				_, err := q(ctx, allRequests, began, began, time.Second)
				cancel()
				if took := time.Since(began); took != min(want, patience) || (err == nil) != (want < patience) {
					t.Errorf("%s took %s, %v", fault, took, err)
				}
			}
		}
	})
}

func TestWhatIsNotStoredStaysMissing(t *testing.T) {
	for name, c := range map[string]struct {
		fault        Fault
		soon, late   bool   // there is a value 2 s and 6 min after the fault
		afterwards   bool   // and 2 s after it was mended
		counted      string // samples within the 10 s after it began
		startedAgain bool
	}{
		"nothing happens":           {"", true, true, true, "10", false},
		"Prometheus stores nothing": {Stale, true, false, true, "", false},
		"scrapes fail":              {Unscraped, false, false, true, "", false},
		"proxies restart":           {Restarted, true, true, true, "10", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const promql = `sum by (pod) (istio_requests_total{pod="web-v2-0"})`
				town := New(time.Second)
				split(town, 20, 0)
				pass(time.Minute)
				town.Break(c.fault)
				broken := time.Now()
				there := func(what string, want bool) {
					if got := told(readingOf(t, town, promql)); (got != "") != want {
						t.Errorf("%s it is %q", what, got)
					}
				}
				pass(2 * time.Second)
				there("after 2 s", c.soon)
				if got := told(readingOf(t, town, promql)); got != "" && c.startedAgain != (got == "web-v2-0 10" || got == "web-v2-0 20") {
					t.Errorf("after 2 s its counter is %s", got)
				}
				pass(6 * time.Minute)
				there("after 6 min", c.late)
				town.Mend()
				pass(2 * time.Second)
				there("mended", c.afterwards)
				at := broken.Add(10*time.Second - time.Millisecond)
				m, err := queryOf(t, town)(t.Context(), `max by (job) (count_over_time(istio_requests_total{pod="web-v2-0"}[10000ms]))`, at, at, time.Second)
				if got := strings.TrimPrefix(told(m, err), "envoy "); got != c.counted {
					t.Errorf("%q samples were stored, want %q", got, c.counted)
				}
			})
		})
	}
}

func TestAnAnswerAboutThePastIsAlwaysTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := New(5 * time.Second)
		split(town, 20, .1)
		began := time.Now()
		pass(time.Minute)
		past := func() string {
			m, err := queryOf(t, town)(t.Context(), allRequests, began, began.Add(time.Minute-time.Second), time.Second)
			return fmt.Sprint(m, err)
		}
		known := past()
		for _, c := range []struct {
			what   string
			change func()
		}{
			{"another flow", func() { split(town, 50, .9) }},
			{"a pod less", func() { town.Flow("shop", "web", Flow{Workload: "web-v2", Pods: pods("web-v2", 1), Rate: 1}) }},
			{"a restart", func() { town.Break(Restarted) }},
			{"nothing stored", func() { town.Break(Stale) }},
			{"mended", func() { town.Mend() }},
			{"another service", func() { town.Flow("shop", "cart", Flow{Workload: "cart", Pods: pods("cart", 2), Rate: 1}) }},
		} {
			c.change()
			pass(20 * time.Second)
			if got := past(); got != known {
				t.Errorf("after %s it is\n%s\nwhen it was\n%s", c.what, got, known)
			}
		}
	})
}

func TestOfTwoDaysLittleIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := New(5 * time.Second)
		most := 0
		for i := range 48 * 60 {
			town.Flow("shop", "web", Flow{Workload: "web", Pods: []string{fmt.Sprintf("web-%d", i/10)}, Rate: float64(i % 7)})
			if i%50 == 0 {
				town.Break(Stale)
				town.Mend()
			}
			pass(time.Minute)
			kept := len(town.gaps)
			for _, p := range town.targets {
				kept += 1 + len(p.presence)
				for _, m := range p.meters {
					kept += len(m.segments)
				}
			}
			most = max(most, kept)
			if i == 24*60 {
				t.Logf("after a day %d things are kept", kept)
				most = kept + kept/20
			} else if i > 24*60 && kept > most {
				t.Fatalf("after %d minutes %d things are kept", i, kept)
			}
		}
		if got := told(readingOf(t, town, `sum by (pod) (istio_requests_total{reporter="destination"})`)); !strings.HasPrefix(got, "web-287 ") {
			t.Errorf("what is present is %s", got)
		}
	})
}

func TestWithoutPodsRequestsFailAtTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := New(time.Second)
		town.Flow("shop", "web", Flow{Workload: "web-v2", Rate: 10})
		pass(10*time.Second + 500*time.Millisecond)
		got := told(readingOf(t, town, `sum by (destination_service, destination_workload, response_code, response_flags) (istio_requests_total{reporter=~".+"})`))
		if !strings.HasPrefix(got, "web.shop.svc.cluster.local unknown 503 UH ") {
			t.Error(got)
		}
	})
}
