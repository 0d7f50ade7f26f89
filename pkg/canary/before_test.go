package canary

import (
	"math"
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
)

func TestALimitInsideABucketIsToldBeforeTheFirstUser(t *testing.T) {
	hour := judge.Histogram{{Le: 100, Count: 900}, {Le: 1000, Count: 980}, {Le: 2500, Count: 999}, {Le: math.Inf(1), Count: 1000}}
	quick := judge.Histogram{{Le: 100, Count: 999}, {Le: 1000, Count: 1000}, {Le: 2500, Count: 1000}, {Le: math.Inf(1), Count: 1000}}
	const between = "The limit of 2s for P99 lies inside a bucket of the latency histogram, above 1000 ms and up to 2500 ms, where 1.9% of the requests of web-v1 were in the last hour. Such requests may hold the release. Give the pods of both versions the annotation sidecar.istio.io/statsHistogramBuckets: '{\"istiocustom.istio_request_duration_milliseconds\":[100,1000,2000,2500]}', or take one of the bounds as the limit"
	const beyond = "The limit of 5s for P99 lies inside a bucket of the latency histogram, above 2500 ms, where 0.1% of the requests of web-v1 were in the last hour. Such requests may hold the release. Give the pods of both versions the annotation sidecar.istio.io/statsHistogramBuckets: '{\"istiocustom.istio_request_duration_milliseconds\":[100,1000,2500,5000]}', or take one of the bounds as the limit"
	for name, c := range map[string]struct {
		limit   time.Duration
		written bool
		hour    judge.Histogram
		want    string
	}{
		"one that is written":                         {2 * time.Second, true, hour, between},
		"the default, where stable's requests are":    {2 * time.Second, false, hour, between},
		"the default, where none of them is":          {2 * time.Second, false, quick, ""},
		"one above all bounds":                        {5 * time.Second, true, hour, beyond},
		"one that is a bound":                         {time.Second, true, hour, ""},
		"one where nobody knows stable's latency yet": {2 * time.Second, true, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.spec.Limits.P99, w.spec.Limits.DefaultP99 = c.limit, !c.written
			w.o.Baseline = judge.Baseline{Known: true, Stable: judge.Measure{Counts: judge.Counts{Latency: c.hour}}}
			w.state = Decide(w.spec, w.state, w.o, w.now).Next
			for k := range w.o.Traffic {
				w.o.Traffic[k] = Seen{Header: true, Rollout: w.state.Rollout, Sequence: w.state.Sequence, At: w.now}
			}
			p := Decide(w.spec, w.state, w.o, w.now)
			if p.Next.Weight != 5 {
				t.Fatalf("the release is at %d%%: %s", p.Next.Weight, p.View.Sentence)
			}
			got := ""
			for _, e := range p.Tell {
				if e.Reason == Unresolved {
					got = e.Sentence
				}
			}
			if got != c.want {
				t.Errorf("it tells\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
