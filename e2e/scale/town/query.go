package town

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// kind is what a query asks for.
type kind string

// The shapes that pkg/prom has.
const (
	counters kind = "counters" // sum by (...) (metric{...})
	carried  kind = "carried"  // sum by (...) (last_over_time(metric{...}[...]))
	samples  kind = "samples"  // max by (...) (count_over_time(metric{...}[...]))
	stamps   kind = "stamps"   // max by (...) (timestamp(metric{...}))
	latency  kind = "latency"  // sum by (..., le) (metric_bucket{...})
)

// query is one that was understood.
type query struct {
	kind       kind
	by         map[string]bool
	namespaces map[string]bool // nil: any
	workloads  []string
	reporter   string // empty: both
	failures   bool   // only 5xx
	none       bool   // selects what never happens here
	window     int64  // ms
	start, end int64  // ms
	step       int64  // ms
}

// codes are those that the query is about.
func (q query) codes() []string {
	if q.failures {
		return answers[1:]
	}
	return answers
}

func (q query) borders() int { return int((q.end-q.start)/q.step) + 1 }

var (
	shape = regexp.MustCompile(`^(sum|max) by \(([a-z_, ]+)\) \((?:(last_over_time|count_over_time|timestamp)\()?([a-z_]+)\{(.*)\}(?:\[(\d+)ms\])?\)?\)$`)
	label = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"(?:, |$)`)
)

// kinds are the shapes by aggregation, function and metric.
var kinds = map[string]kind{
	"sum istio_requests_total":                       counters,
	"sum last_over_time istio_requests_total":        carried,
	"max count_over_time istio_requests_total":       samples,
	"max timestamp istio_requests_total":             stamps,
	"sum istio_request_duration_milliseconds_bucket": latency,
}

// parse reads a query; an error when it has none of the known shapes.
func parse(promql string, start, end time.Time, step time.Duration) (query, error) {
	q := query{by: map[string]bool{}, start: start.UnixMilli(), end: end.UnixMilli(), step: max(1, step.Milliseconds())}
	parts := shape.FindStringSubmatch(promql)
	if parts == nil {
		return parseAfter(promql, q)
	}
	for _, name := range strings.Split(parts[2], ", ") {
		q.by[name] = true
	}
	q.kind = kinds[strings.Join(strings.Fields(parts[1]+" "+parts[3]+" "+parts[4]), " ")]
	if q.kind == "" {
		return query{}, fmt.Errorf("no query of a known shape: %.300s", promql)
	}
	if parts[6] != "" {
		q.window, _ = strconv.ParseInt(parts[6], 10, 64) // digits, by the pattern
	}
	// Of several selectors the first is of the canaries' answers by code, which
	// are all the failures there are here.
	first, _, _ := strings.Cut(parts[5], "} or ")
	err := q.match(first)
	return q, err
}

// match reads the matchers, all of which must be understood.
func (q *query) match(text string) error {
	for text != "" {
		m := label.FindStringSubmatchIndex(text)
		if len(m) == 0 || m[0] != 0 {
			return fmt.Errorf("no matcher of a known shape: %.100s", text)
		}
		name, operator, quoted := text[m[2]:m[3]], text[m[4]:m[5]], text[m[6]:m[7]]
		value, err := strconv.Unquote(`"` + quoted + `"`)
		if err != nil {
			return fmt.Errorf("read the matcher of %s: %w", name, err)
		}
		if !q.take(name, operator, value) {
			return fmt.Errorf("no matcher of a known shape: %s%s%q", name, operator, value)
		}
		text = text[m[1]:]
	}
	return nil
}

func (q *query) take(name, operator, value string) bool {
	switch name + operator {
	case "destination_workload_namespace=~":
		q.namespaces = map[string]bool{}
		for _, one := range strings.Split(value, "|") {
			q.namespaces[one] = true
		}
	case "destination_workload=~":
		q.workloads = strings.Split(value, "|")
	case "destination_workload=":
		q.workloads = []string{value}
		q.none = q.none || value == "unknown" // a host was chosen for every request
	case "destination_workload_namespace=":
		q.namespaces = map[string]bool{value: true}
	case "namespace=":
		q.none = true // the application's own metrics have this label, and none is here
	case "pod=~":
		return q.none // beside it alone
	case "grpc_response_status=~":
		q.none = true // no request is of gRPC
	case "response_code=~":
		q.failures = true
		return value == "5.."
	case "reporter=":
		q.reporter = value
	case "response_flags=~":
		q.none = true // none of the failures that only the clients' side sees
	case "response_code!~": // or 0 and 101, which nobody answers here
		q.failures = value == "[1-4].*"
	case "destination_service=~":
	default:
		return false
	}
	return true
}

// series is one of an answer.
type series struct {
	*target
	code   string // empty: all
	bound  string // le; empty: no histogram
	metric string // of what is told apart by it; empty: nothing is
}

// each gives every series of the answer, with its values at the borders; NaN
// where there is none. The values are good until the next call.
func (t *Town) each(q query, now int64, give func(series, []float64)) {
	if q.none {
		return
	}
	values := make([]float64, q.borders())
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, name := range q.workloads {
		for _, one := range t.tracks[name] {
			if q.namespaces != nil && !q.namespaces[one.Namespace] {
				continue
			}
			t.of(one, q, now, values, give)
		}
	}
}

func (t *Town) of(one *track, q query, now int64, values []float64, give func(series, []float64)) {
	var targets []*target
	if q.reporter != "source" {
		targets = append(targets, one.servers...)
	}
	if q.reporter != "destination" {
		targets = append(targets, one.clients...)
	}
	switch {
	case q.purpose() != "":
		t.after(targets, q, now, values, give)
	case q.kind == latency:
		t.histogram(targets, q, now, values, give)
	case q.by["pod"]:
		for _, p := range targets {
			t.single(p, q, now, values, give)
		}
	case q.by["response_code"]:
		for _, code := range answers {
			t.whole(targets, []string{code}, q, now, values, give)
		}
	default:
		t.whole(targets, q.codes(), q, now, values, give)
	}
}

// single gives the series of one target.
func (t *Town) single(p *target, q query, now int64, values []float64, give func(series, []float64)) {
	if q.kind == samples || q.kind == stamps {
		if t.fill(q, values, func(border int64) float64 { return t.scrapes(p, q, border, now) }) {
			give(series{target: p}, values)
		}
		return
	}
	for _, code := range q.codes() {
		if t.fill(q, values, func(border int64) float64 { return t.count(p, code, border, now) }) {
			give(series{target: p, code: code}, values)
		}
	}
}

// whole gives the sum of some codes over targets of a track.
func (t *Town) whole(targets []*target, codes []string, q query, now int64, values []float64, give func(series, []float64)) {
	sum := func(border int64) float64 {
		return total(targets, codes, border, func(p *target, code string, border int64) float64 { return t.count(p, code, border, now) })
	}
	if t.fill(q, values, sum) {
		give(series{target: targets[0], code: codes[0]}, values)
	}
}

func (t *Town) count(p *target, code string, border, now int64) float64 {
	if at := t.seen(p, border, now); at > 0 {
		return p.counter(code, at)
	}
	return math.NaN()
}

// scrapes is, at a border, how often a target was scraped within the window, or
// when it was scraped last, in seconds.
func (t *Town) scrapes(p *target, q query, border, now int64) float64 {
	at := t.seen(p, border, now)
	if q.kind == stamps {
		if at == 0 {
			return math.NaN()
		}
		return float64(at) / 1000
	}
	n := 0
	for at = t.latest(p, min(border, now-arrival.Milliseconds())); at > border-q.window && at >= p.track.since; at -= t.scrape {
		n++
	}
	if n == 0 {
		return math.NaN()
	}
	return float64(n)
}

// bounds are Istio's, with the share of requests at or below each.
var bounds = []struct {
	le    string
	share float64
}{
	{"0.5", 0}, {"1", .02}, {"5", .2}, {"10", .4}, {"25", .7}, {"50", .85}, {"100", .95}, {"250", .985}, {"500", .995},
	{"1000", .9995}, {"2500", 1}, {"5000", 1}, {"10000", 1}, {"30000", 1}, {"60000", 1}, {"300000", 1}, {"600000", 1},
	{"1.8e+06", 1}, {"3.6e+06", 1}, {"+Inf", 1},
}

func (t *Town) histogram(targets []*target, q query, now int64, values []float64, give func(series, []float64)) {
	for _, b := range bounds {
		sum := func(border int64) float64 {
			n := math.NaN()
			for _, p := range targets {
				at := t.seen(p, border, now)
				if at == 0 {
					continue
				}
				if math.IsNaN(n) {
					n = 0
				}
				n += math.Floor(b.share * p.all(at))
			}
			return n
		}
		if t.fill(q, values, sum) {
			give(series{target: targets[0], bound: b.le}, values)
		}
	}
}

// all is how many answers a target had seen at a time.
func (p *target) all(at int64) float64 {
	return math.Floor(p.track.counters * float64(len(p.track.Pods)) * p.part * float64(max(0, p.track.used(at)-p.track.since)))
}

// fill computes the values at all borders and tells whether there is any.
func (t *Town) fill(q query, values []float64, at func(border int64) float64) (some bool) {
	for i := range values {
		values[i] = at(q.start + int64(i)*q.step)
		some = some || !math.IsNaN(values[i])
	}
	return some
}
