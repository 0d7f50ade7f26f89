package town

import (
	"maps"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/prom"
)

// back is when users went back to the blue version: on no scrape's second.
var back = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// rolledBack is a town in which 2 pods of stable answer 18 requests a second and 2 of
// the canary 2, and what is asked about its rollback.
func rolledBack(errors float64) (*Town, canary.Subject) {
	fast := New(scrape)
	add := func(workload string, rate, errors float64, since time.Time) {
		fast.Add(Traffic{Namespace: "shop", Workload: workload, Pods: []string{workload + "-1", workload + "-2"}, Rate: rate, Errors: errors, Since: since})
	}
	add("web-blue", 9, errors, back.Add(-time.Hour))
	add("web-green", 1, .5, back.Add(-5*time.Minute))
	return fast, canary.Subject{
		Namespace: "shop", Service: "web", Stable: canary.Party{Deployment: "web-blue"}, Canary: canary.Party{Deployment: "web-green"},
		Started: back.Add(-5 * time.Minute), Since: back, Width: scrape, MaxErrorRate: .01,
	}
}

func clock(at time.Time) func() time.Time { return func() time.Time { return at } }

func TestWhetherStablesSeriesGoOnIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		errors float64
		known  time.Duration // after the rollback, until when anything was scraped
		about  string
		said   canary.AnswerKind
		words  string
	}{
		"a healthy stable is well":                          {.001, time.Hour, "web-blue", canary.Allow, "The series of web-blue go on"},
		"a stable that is scraped no more has a gap":        {.001, time.Minute, "web-blue", canary.Deny, "the last three scrapes of web-blue are not all there"},
		"a stable whose last scrape is missing has a gap":   {.001, 95 * time.Second, "web-blue", canary.Deny, "not all there"},
		"a stable of which nothing is scraped has one":      {.001, time.Hour, "web-red", canary.Deny, "not all there"},
		"a stable that is long gone has lost all its names": {.001, -4 * time.Minute, "web-blue", canary.Deny, "istio_request_duration_milliseconds_bucket, istio_requests_total, label "},
		"a stable that fails is told":                       {.1, time.Hour, "web-blue", canary.Deny, "of its requests since the rollback, its limit is 1%"},
	} {
		t.Run(name, func(t *testing.T) {
			fast, s := rolledBack(c.errors)
			s.Stable.Deployment = c.about
			ask := prom.AskSeries(fast.At(back.Add(c.known)), time.Minute, clock(back.Add(2*time.Minute)))
			if a := ask(t.Context(), canary.Question{Kind: canary.AskSeries}, s); a.Said != c.said || a.Unreached || !strings.Contains(a.Sentence, c.words) {
				t.Errorf("it says %+v", a)
			}
		})
	}
}

func TestWhatStillReachesACanaryIsTold(t *testing.T) {
	const never = 24 * time.Hour
	for name, c := range map[string]struct {
		left, known, after time.Duration // after the rollback
		said               canary.AnswerKind
		rate               float64
		unreached          bool
	}{
		"users who have gone are seen to have gone": {time.Second, time.Hour, 70 * time.Second, canary.Allow, 0, false},
		"not before a minute of it is known":        {time.Second, time.Hour, 55 * time.Second, canary.Wait, 0, false},
		"users who stay are counted once":           {never, time.Hour, 70 * time.Second, canary.Wait, 2, false},
		"without data nothing is known":             {time.Second, -time.Minute, 70 * time.Second, canary.Wait, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			fast, s := rolledBack(.001)
			fast.Leave("shop", "web-green", back.Add(c.left))
			ask := prom.AskResidual(fast.At(back.Add(c.known)), time.Minute, clock(back.Add(c.after)))
			a := ask(t.Context(), canary.Question{Kind: canary.AskResidual, Name: "web-green"}, s)
			if a.Said != c.said || a.Unreached != c.unreached || math.Abs(a.Rate-c.rate) > .02*c.rate {
				t.Errorf("it says %+v", a)
			}
		})
	}
}

// TestAnIncreaseIsThatOfTheWholeWindow, wherever in it the scrapes are: of a new
// counter no more than it counted.
func TestAnIncreaseIsThatOfTheWholeWindow(t *testing.T) {
	fast, _ := rolledBack(.1)
	for n := range 15 {
		now := back.Add(2*time.Minute + time.Duration(n)*time.Second)
		long := now.Sub(back).Seconds()
		c, err := prom.Continues(t.Context(), fast.At(now), prom.After{Namespace: "shop", Workload: "web-blue", Interval: scrape}, back.Add(-time.Minute), back, now)
		if err != nil || math.Abs(c.Requests-18*long) > 8 || math.Abs(c.Failed-1.8*long) > 8 {
			t.Errorf("%.0f s after: %+v, %v", long, c, err)
		}
		began := back.Add(-5 * time.Minute)
		c, err = prom.Continues(t.Context(), fast.At(now), prom.After{Namespace: "shop", Workload: "web-green", Interval: scrape}, began, began.Add(-time.Hour), now)
		if counted := 2 * now.Sub(began).Seconds(); err != nil || c.Requests > counted+8 || c.Requests < counted-2*2*scrape.Seconds() {
			t.Errorf("of a new version %+v, it counted %.0f: %v", c, counted, err)
		}
	}
}

func TestAnIncreaseIsExtendedAsPrometheusDoes(t *testing.T) {
	for name, c := range map[string]struct {
		stretch
		want float64
	}{
		"to both borders":                       {stretch{first: 100, last: 145, samples: 4, sampled: 45, before: 5, after: 10}, 60},
		"not to before a new counter was zero":  {stretch{first: 3, last: 48, samples: 4, sampled: 45, before: 5, after: 10}, 58},
		"by half a scrape to borders far away":  {stretch{first: 100, last: 145, samples: 4, sampled: 45, before: 30, after: 17}, 60},
		"over a restart of the counter":         {stretch{first: 100, last: 20, lost: 125, samples: 4, sampled: 45, before: 5, after: 10}, 60},
		"and what stands still has not grown":   {stretch{first: 100, last: 100, samples: 4, sampled: 45, before: 5, after: 10}, 0},
		"one sample has no increase, nor a sum": {stretch{first: 100, last: 100, samples: 1}, math.NaN()},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.increase(); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
				t.Errorf("it is %v, want %v", got, c.want)
			}
		})
	}
}

// TestRawSeriesHaveTheirLabels: all that the simulation has that is compared with
// Prometheus itself, and those of a real mesh beside them.
func TestRawSeriesHaveTheirLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faithful, fast := released()
		<-time.After(time.Minute)
		m, err := fast.At(time.Now())(t.Context(), `istio_requests_total{destination_workload="web-green", destination_workload_namespace="shop"}`, time.Now(), time.Now(), time.Second)
		if err != nil || len(m.Series) != 24 { // 10 pods and 2 gateways, 2 codes
			t.Fatalf("%d series, %v", len(m.Series), err)
		}
		for _, s := range faithful.Samples(time.Now().Add(-time.Minute), time.Now()) {
			for _, l := range s.Labels {
				if l.Name != "le" && m.Series[0].Labels.Get(l.Name) == "" {
					t.Fatalf("there is no %s in %v", l.Name, m.Series[0].Labels)
				}
			}
		}
	})
}

// TestWhatAVerificationTakesIsNoted: queries and series of their own kind.
func TestWhatAVerificationTakesIsNoted(t *testing.T) {
	fast, s := rolledBack(.001)
	fast.Leave("shop", "web-green", back)
	server := httptest.NewServer(fast)
	defer server.Close()
	ask, err := prom.HTTP(server.Client(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	at := clock(back.Add(2 * time.Minute))
	for _, a := range []canary.Answer{
		prom.AskSeries(ask, scrape, at)(t.Context(), canary.Question{}, s),
		prom.AskResidual(ask, scrape, at)(t.Context(), canary.Question{Name: "web-green"}, s),
	} {
		if a.Said != canary.Allow {
			t.Errorf("it says %+v", a)
		}
	}
	server.Close() // waits until all is noted, which is after it was answered
	queries, found := map[string]int{}, map[string]int{}
	for _, a := range fast.Asked() {
		queries[a.Kind]++
		found[a.Kind] += a.Series
	}
	// Names before and after, of Istio's and of others; labels before and after; the
	// three scrapes, requests, and failures.
	if want := map[string]int{Verification: 9, Residual: 2}; !maps.Equal(queries, want) {
		t.Errorf("%v queries, want %v", queries, want)
	}
	if want := map[string]int{Verification: 2*2 + 2*8 + 3, Residual: 2}; !maps.Equal(found, want) {
		t.Errorf("%v series, want %v", found, want)
	}
	if refused := fast.Refused(); len(refused) > 0 {
		t.Errorf("refused: %v", refused)
	}
}
