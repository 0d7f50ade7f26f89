package town

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"serin.dev/serin/pkg/prom"
)

// This file holds what pkg/prom asks after a release: whether the series of the version
// that users are back on go on, and what still reaches the other.

// The shapes that pkg/prom has for it.
const (
	names    kind = "names"    // count by (__name__) ({...})
	raw      kind = "raw"      // metric{...}
	scraped  kind = "scraped"  // count(count_over_time(metric{...}[...]))
	increase kind = "increase" // sum(increase(metric{...}[...]) or ...)
	reaching kind = "reaching" // label_replace(max(sum by (reporter) (rate(metric{...}[...]))), ...) or ...
)

// Under these names what is asked after a release is in the log.
const (
	Verification = "verification"
	Residual     = "residual traffic"
)

const (
	requestsMetric = "istio_requests_total"
	latencyMetric  = "istio_request_duration_milliseconds_bucket"
)

// frames are the queries without what their selectors hold.
var frames = map[string]kind{
	"count by (__name__) ({})":                                                              names,
	"istio_requests_total{}":                                                                raw,
	"count(count_over_time(istio_requests_total{}[]))":                                      scraped,
	"sum(increase(istio_requests_total{}[]))":                                               increase,
	"sum(increase(istio_requests_total{}[]) or increase(istio_requests_total{}[]))":         increase,
	left(requestsMetric) + " or " + left(requestMessages) + " or " + left(responseMessages): reaching,
}

// The counters of gRPC's messages, which don't exist here.
const (
	requestMessages  = "istio_request_messages_total"
	responseMessages = "istio_response_messages_total"
)

func left(metric string) string {
	return "label_replace(max(sum by (reporter) (rate(" + metric + `{}[]))), "counter", "` + metric + `", "", "")`
}

var selection = regexp.MustCompile(`([a-z_]*)\{([^{}]*)\}(?:\[(\d+)ms\])?`)

// parseAfter reads what is asked after a release, of which one selector at most selects
// anything here.
func parseAfter(promql string, q query) (query, error) {
	found := selection.FindAllStringSubmatch(promql, -1)
	frame := selection.ReplaceAllStringFunc(promql, func(s string) string {
		metric, _, _ := strings.Cut(s, "{")
		if strings.HasSuffix(s, "]") {
			return metric + "{}[]"
		}
		return metric + "{}"
	})
	if q.kind = frames[frame]; q.kind == "" {
		return query{}, fmt.Errorf("no query of a known shape: %.300s", promql)
	}
	q.by = map[string]bool{"__name__": q.kind == names, "counter": q.kind == reaching}
	whole := q
	whole.none = true
	for _, s := range found {
		one := q
		one.none = s[1] == requestMessages || s[1] == responseMessages
		one.window, _ = strconv.ParseInt(s[3], 10, 64) // digits, by the pattern
		if err := one.match(s[2]); err != nil {
			return query{}, err
		}
		switch {
		case one.none:
		case !whole.none:
			return query{}, fmt.Errorf("no query of a known shape: two selectors that both select: %.300s", promql)
		default:
			whole = one
		}
	}
	return whole, nil
}

// purpose is for what a query is asked after a release; empty: it is asked during one.
// What was scraped is asked of one moment before residual traffic is, and of three
// scrapes in a row to find a gap.
func (q query) purpose() string {
	switch q.kind {
	case names, raw, increase:
		return Verification
	case reaching:
		return Residual
	case scraped:
		if q.start == q.end {
			return Residual
		}
		return Verification
	}
	return ""
}

// after gives the answer about one track.
func (t *Town) after(targets []*target, q query, now int64, values []float64, give func(series, []float64)) {
	one := func(metric string, at func(border int64) float64) {
		if t.fill(q, values, at) {
			give(series{target: targets[0], metric: metric}, values)
		}
	}
	shown := func(p *target, code string, border int64) float64 { return unit(t.count(p, code, border, now)) }
	switch q.kind {
	case raw:
		for _, p := range targets {
			t.single(p, q, now, values, give)
		}
	case names:
		one(requestsMetric, func(border int64) float64 { return total(targets, q.codes(), border, shown) })
		one(latencyMetric, func(border int64) float64 { return float64(len(bounds)) * total(targets, q.codes(), border, shown) })
	case scraped:
		one("", func(border int64) float64 {
			return total(targets, q.codes(), border, func(p *target, code string, border int64) float64 {
				return unit(t.within(p, code, q, border, now).last)
			})
		})
	case increase:
		one("", func(border int64) float64 {
			return total(targets, q.codes(), border, func(p *target, code string, border int64) float64 {
				return t.within(p, code, q, border, now).increase()
			})
		})
	case reaching:
		one(requestsMetric, func(border int64) float64 { return t.rate(targets, q, border, now) })
	}
}

// total is the sum over the series of some codes that have a value; NaN where none has.
func total(targets []*target, codes []string, border int64, value func(*target, string, int64) float64) float64 {
	n := math.NaN()
	for _, p := range targets {
		for _, code := range codes {
			switch v := value(p, code, border); {
			case math.IsNaN(v):
			case math.IsNaN(n):
				n = v
			default:
				n += v
			}
		}
	}
	return n
}

// unit counts a value: 1, or NaN where there is none.
func unit(v float64) float64 {
	if math.IsNaN(v) {
		return v
	}
	return 1
}

// rate is that of the reporter that saw more, in requests per second.
func (t *Town) rate(targets []*target, q query, border, now int64) float64 {
	most := math.NaN()
	for _, reporter := range []string{"destination", "source"} {
		var some []*target
		for _, p := range targets {
			if p.reporter() == reporter {
				some = append(some, p)
			}
		}
		n := total(some, q.codes(), border, func(p *target, code string, border int64) float64 {
			return t.within(p, code, q, border, now).increase()
		}) / float64(q.window) * 1000
		if !math.IsNaN(n) && !(n <= most) {
			most = n
		}
	}
	return most
}

// stretch is what a window holds of a counter.
type stretch struct {
	first, last   float64 // values; NaN where there is no sample
	lost          float64 // what the counter had each time it began anew
	samples       int
	sampled       float64 // ms between the first and the last sample
	before, after float64 // ms from the window's borders to them
}

// within is what the window before a border holds of a counter.
func (t *Town) within(p *target, code string, q query, border, now int64) stretch {
	s := stretch{first: math.NaN(), last: math.NaN()}
	newest := t.latest(p, min(border, now-arrival.Milliseconds()))
	for at := newest; at > border-q.window && at >= p.track.since; at -= t.scrape {
		v := p.counter(code, at)
		if math.IsNaN(v) {
			break // its first answer of that code came later
		}
		switch {
		case s.samples == 0:
			s.last, s.after = v, float64(border-at)
		case v > s.first:
			s.lost += v
		}
		s.first, s.before, s.sampled = v, float64(at-(border-q.window)), float64(newest-at)
		s.samples++
	}
	return s
}

// increase is Prometheus's: the growth between the samples, extended to the borders of
// the window, where the samples come close to them, or else by half a scrape; and
// never back beyond where the counter would have been zero.
func (s stretch) increase() float64 {
	if s.samples < 2 {
		return math.NaN()
	}
	every := s.sampled / float64(s.samples-1)
	const near = 1.1 // scrapes
	extended := func(by float64) float64 {
		if by >= near*every {
			return every / 2
		}
		return by
	}
	grown, before := s.last-s.first+s.lost, extended(s.before)
	if grown > 0 {
		before = min(before, s.sampled*s.first/grown)
	}
	return grown * (s.sampled + before + extended(s.after)) / s.sampled
}

// all are the labels that Istio and the scrape of its proxies give a counter.
func (s series) all() []prom.Label {
	host := s.track.service()
	app, _, _ := strings.Cut(host, ".")
	const gateway = "istio-ingressgateway"
	policy := "mutual_tls"
	if s.reporter() == "source" {
		policy = "unknown" // which only the server's proxy tells
	}
	return []prom.Label{
		{Name: "__name__", Value: requestsMetric},
		{Name: "connection_security_policy", Value: policy},
		{Name: "destination_app", Value: app},
		{Name: "destination_canonical_revision", Value: "latest"},
		{Name: "destination_canonical_service", Value: app},
		{Name: "destination_cluster", Value: "Kubernetes"},
		{Name: "destination_principal", Value: "spiffe://cluster.local/ns/" + s.track.Namespace + "/sa/default"},
		{Name: "destination_service", Value: host},
		{Name: "destination_service_name", Value: app},
		{Name: "destination_service_namespace", Value: s.track.Namespace},
		{Name: "destination_version", Value: "unknown"},
		{Name: "destination_workload", Value: s.track.Workload},
		{Name: "destination_workload_namespace", Value: s.track.Namespace},
		{Name: "instance", Value: s.where},
		{Name: "job", Value: s.job},
		{Name: "pod", Value: s.pod},
		{Name: "reporter", Value: s.reporter()},
		{Name: "request_protocol", Value: "http"},
		{Name: "response_code", Value: s.code},
		{Name: "response_flags", Value: "-"},
		{Name: "source_app", Value: gateway},
		{Name: "source_canonical_revision", Value: "latest"},
		{Name: "source_canonical_service", Value: gateway},
		{Name: "source_cluster", Value: "Kubernetes"},
		{Name: "source_principal", Value: "spiffe://cluster.local/ns/istio-system/sa/" + gateway + "-service-account"},
		{Name: "source_version", Value: "unknown"},
		{Name: "source_workload", Value: gateway},
		{Name: "source_workload_namespace", Value: "istio-system"},
	}
}
