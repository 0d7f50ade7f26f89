package promql

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/prom"
)

// loaded asks Prometheus's own engine over series in its test language, a sample every
// 15 s from 1970 on.
func loaded(t *testing.T, series string) prom.Query {
	t.Helper()
	storage := promqltest.LoadedStorage(t, "load 15s\n"+series)
	t.Cleanup(func() { _ = storage.Close() })
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	return func(ctx context.Context, text string, start, end time.Time, step time.Duration) (prom.Matrix, error) {
		q, err := engine.NewRangeQuery(ctx, storage, nil, text, start, end, step)
		if err != nil {
			return prom.Matrix{}, err
		}
		defer q.Close()
		result := q.Exec(ctx)
		if result.Err != nil {
			return prom.Matrix{}, result.Err
		}
		return read(result), nil
	}
}

func read(result *promql.Result) (out prom.Matrix) {
	for _, s := range result.Value.(promql.Matrix) {
		one := prom.Series{}
		for name, value := range s.Metric.Map() {
			one.Labels = append(one.Labels, prom.Label{Name: name, Value: value})
		}
		for _, p := range s.Floats {
			one.Points = append(one.Points, prom.Point{At: p.T, Value: p.F})
		}
		out.Series = append(out.Series, one)
	}
	return out
}

func at(minutes float64) time.Time { return time.UnixMilli(int64(minutes * 60_000)) }

const (
	stable = `destination_workload="web-v1",destination_workload_namespace="shop",pod="web-v1-a-b",namespace="shop"`
	left   = `destination_workload="web-v2",destination_workload_namespace="shop",pod="web-v2-a-b",namespace="shop"`
)

func TestWhatStillReachesAVersionIsSeen(t *testing.T) {
	serving := `istio_requests_total{reporter="destination",response_code="200",` + stable + "} 0+30x40\n"
	for name, c := range map[string]struct {
		series  string
		minutes float64
		rate    float64
		err     error
	}{
		"too early to say": {serving + `istio_requests_total{reporter="destination",` + left + "} 0+30x12 360x28\n", 3.5, 0, nil},
		"what came before the users left is not residual":            {serving + `istio_requests_total{reporter="destination",` + left + "} 0+30x13 390x27\n", 4.2, 0, nil},
		"nothing any more, its counters stand still":                 {serving + `istio_requests_total{reporter="destination",` + left + "} 0+30x12 360x28\n", 9, 0, nil},
		"its pods are gone":                                          {serving, 9, 0, nil},
		"two requests a second":                                      {serving + `istio_requests_total{reporter="destination",` + left + "} 0+30x40\n", 9, 2, nil},
		"counted once, though both proxies count":                    {serving + `istio_requests_total{reporter="destination",` + left + "} 0+30x40\n" + `istio_requests_total{reporter="source",` + left + "} 0+30x40\n", 9, 2, nil},
		"seen by clients only":                                       {serving + `istio_requests_total{reporter="source",response_flags="UF",` + left + "} 0+15x40\n", 9, 1, nil},
		"messages of an open stream":                                 {serving + `istio_response_messages_total{reporter="destination",` + left + "} 0+15x40\n", 9, 1, nil},
		"no data at all: not known":                                  {`up{job="x"} 1x40` + "\n", 9, 0, prom.ErrNoFresh},
		"no fresh data of who serves: not known, whatever the other": {serving + `istio_requests_total{reporter="destination",` + left + "} 0+30x40\n", 30, 0, prom.ErrNoFresh},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := prom.Residual(t.Context(), loaded(t, c.series), prom.After{Namespace: "shop", Workload: "web-v2", Serving: "web-v1", Interval: 15 * time.Second, Since: at(3.2)}, at(c.minutes))
			if !errors.Is(err, c.err) || math.Abs(got.Rate-c.rate) > 0.01 || err == nil && got.Drained != (c.minutes > 4.3) {
				t.Errorf("%+v, error %v; want %.3f, %v", got, err, c.rate, c.err)
			}
		})
	}
}

func TestWhetherSeriesGoOnIsSeen(t *testing.T) {
	goes := `istio_requests_total{reporter="destination",response_code="200",` + stable + "} 0+30x40\n"
	app := `orders_total{namespace="shop",pod="web-v1-a-b"} 0+1x40` + "\n"
	for name, c := range map[string]struct {
		series string
		said   canary.AnswerKind
		words  string
	}{
		"they do":                               {goes + app, canary.Allow, "go on"},
		"a gap in the last three scrapes":       {`istio_requests_total{reporter="destination",response_code="200",` + stable + "} 0+30x33 _x4 990+30x3\n", canary.Deny, "not all there"},
		"a metric of the application is gone":   {goes + `orders_total{namespace="shop",pod="web-v1-a-b"} 0+1x10 _x30` + "\n", canary.Deny, "orders_total"},
		"a metric of Istio's is gone":           {goes + `istio_response_bytes_sum{` + stable + "} 0+1x10 _x30\n", canary.Deny, "istio_response_bytes_sum"},
		"another pod's metrics are none of it":  {goes + app + `jobs_total{namespace="shop",pod="batch-a-b"} 0+1x10 _x30` + "\n", canary.Allow, "go on"},
		"it fails more than its limit":          {goes + `istio_requests_total{reporter="destination",response_code="503",` + stable + "} 0+3x40\n", canary.Deny, "9.09%"},
		"gRPC's failures are failures":          {goes + `istio_requests_total{reporter="destination",response_code="200",grpc_response_status="14",` + stable + "} 0+3x40\n", canary.Deny, "9.09%"},
		"what clients alone see is not counted": {goes + `istio_requests_total{reporter="source",response_code="503",` + stable + "} 0+30x40\n", canary.Allow, "go on"},
	} {
		t.Run(name, func(t *testing.T) {
			ask := prom.AskSeries(loaded(t, c.series), 15*time.Second, func() time.Time { return at(9) })
			a := ask(t.Context(), canary.Question{Kind: canary.AskSeries}, canary.Subject{
				Namespace: "shop", Stable: canary.Party{Deployment: "web-v1"}, Started: at(2), Since: at(6), MaxErrorRate: 0.01,
			})
			if a.Said != c.said || !strings.Contains(a.Sentence, c.words) || a.Unreached {
				t.Errorf("it says %+v", a)
			}
			if all := slices.ContainsFunc(a.Checks, func(c canary.Check) bool { return !c.Passed }); all == (a.Said == canary.Allow) {
				t.Errorf("its checks are %+v", a.Checks)
			}
		})
	}
	t.Run("too early to say", func(t *testing.T) {
		ask := prom.AskSeries(loaded(t, goes), 15*time.Second, func() time.Time { return at(6.5) })
		a := ask(t.Context(), canary.Question{Kind: canary.AskSeries}, canary.Subject{Namespace: "shop", Stable: canary.Party{Deployment: "web-v1"}, Started: at(2), Since: at(6)})
		if a.Said != canary.Wait || a.Unreached {
			t.Errorf("it says %+v", a)
		}
	})
}
