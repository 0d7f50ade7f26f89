package telemetry

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/pkg/prom"
)

// aged is a town as if it had been there for a while, outside of a bubble.
func aged(town *Town, by time.Duration) *Town {
	for _, p := range town.targets {
		p.presence[0].from -= by.Milliseconds()
		for _, m := range p.meters {
			m.segments[len(m.segments)-1].from -= by.Milliseconds()
		}
	}
	return town
}

// BenchmarkBlock is what the questions for one closed block cost, pkg/prom's part
// included, of three pods beside two.
func BenchmarkBlock(b *testing.B) {
	town := New(time.Second)
	split(town, 20, .01)
	aged(town, 3*time.Minute)
	at := time.Now()
	q, asks := queryOf(b, town), []prom.Ask{theAsk(prom.Closed(at, 5*time.Second).Add(-5 * time.Second))}
	b.ReportAllocs()
	for b.Loop() {
		if a := prom.Blocks(b.Context(), q, asks, at)["web"]; a.Err != nil || len(a.Blocks) != 1 {
			b.Fatalf("%d blocks, %v", len(a.Blocks), a.Err)
		}
	}
	b.ReportMetric(float64(town.Asked())/float64(b.N), "queries/op")
}

// BenchmarkQuery is one query without pkg/prom: what the simulation itself costs.
func BenchmarkQuery(b *testing.B) {
	town := New(time.Second)
	split(town, 20, .01)
	aged(town, 3*time.Minute)
	at := time.Now()
	for name, promql := range map[string]string{
		"requests":  `sum by (destination_workload_namespace, destination_workload, job, instance, pod, response_code, grpc_response_status) (istio_requests_total{destination_workload_namespace=~"shop", destination_workload=~"web-v1|web-v2", reporter="destination"})`,
		"histogram": `sum by (destination_workload_namespace, destination_workload, le) (istio_request_duration_milliseconds_bucket{destination_workload_namespace=~"shop", destination_workload=~"web-v1|web-v2", reporter="destination", response_code!~"0|101"})`,
	} {
		b.Run(name, func(b *testing.B) {
			q, _ := understand(promql)
			end := at.UnixMilli()
			b.ReportAllocs()
			for b.Loop() {
				bound, g := town.bind(q), grid{end - 10000, end, 5000}
				town.matrix(bound, g, town.answer(q, bound, g, end))
			}
		})
	}
}

// BenchmarkRelease is a release of three minutes: intervals once a minute, and at
// each scrape the closed blocks and the open one.
func BenchmarkRelease(b *testing.B) {
	for _, scrape := range []time.Duration{time.Second, 5 * time.Second} {
		b.Run(scrape.String(), func(b *testing.B) {
			b.ReportAllocs()
			asked := 0
			for b.Loop() {
				synctest.Test(&testing.T{}, func(*testing.T) {
					town := New(scrape)
					release(b, town, town, scrape)
					asked = town.Asked()
				})
			}
			b.ReportMetric(float64(asked), "queries/op")
		})
	}
}

// BenchmarkReleaseQueries is the simulation's part of it: all the requests of such
// a release, answered, but not what pkg/prom makes of them.
func BenchmarkReleaseQueries(b *testing.B) {
	for _, scrape := range []time.Duration{time.Second, 5 * time.Second} {
		b.Run(scrape.String(), func(b *testing.B) {
			synctest.Test(&testing.T{}, func(*testing.T) {
				r := &requested{Town: New(scrape)}
				release(b, r.Town, r, scrape)
				b.ReportAllocs()
				for range b.N { // b.Loop asks for the time, which stands still here
					for _, body := range r.bodies {
						request, _ := http.NewRequest(http.MethodPost, "http://prometheus"+rangePath, strings.NewReader(body))
						if _, err := r.Town.RoundTrip(request); err != nil {
							b.Error(err)
						}
					}
				}
				b.ReportMetric(float64(len(r.bodies)), "queries/op")
			})
		})
	}
}

// requested keeps what is asked.
type requested struct {
	*Town
	bodies []string
}

func (r *requested) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	r.bodies = append(r.bodies, string(body))
	request.Body = io.NopCloser(strings.NewReader(string(body)))
	return r.Town.RoundTrip(request)
}

// release asks as the controller does.
func release(t testing.TB, town *Town, transport http.RoundTripper, scrape time.Duration) {
	split(town, 0, 0)
	pass(time.Minute)
	query, _ := prom.HTTP(&http.Client{Transport: transport}, "http://prometheus")
	had := time.Now().Truncate(scrape)
	ask := theAsk(had)
	ask.Width = scrape
	for i := range int(3 * time.Minute / scrape) {
		if i%int(time.Minute/scrape) == 0 {
			split(town, []float64{5, 25, 100}[i/int(time.Minute/scrape)], .001)
			prom.Intervals(context.Background(), query, []prom.Ask{ask}, time.Now())
		}
		pass(scrape)
		ask.From = had
		got := prom.Blocks(context.Background(), query, []prom.Ask{ask}, time.Now())["web"]
		if got.Err != nil {
			t.Error(got.Err)
		}
		if n := len(got.Blocks); n > 0 {
			had = got.Blocks[n-1].End()
		}
		ask.From = had
		prom.Open(context.Background(), query, []prom.Ask{ask}, time.Now())
	}
}
