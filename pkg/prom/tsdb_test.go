package prom

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// tsdb is a small Prometheus: samples with the time they carry and the time
// they became visible, and just the queries this package sends.
type tsdb struct {
	mu      sync.Mutex
	series  map[string]*stored
	queries []string
	now     time.Time // what became visible later is not seen
}

type stored struct {
	labels  map[string]string
	samples []sample
}

type sample struct {
	at, visible int64
	value       float64
	stale       bool
}

const lookback = 5 * 60 * 1000

func newTSDB() *tsdb { return &tsdb{series: map[string]*stored{}} }

// put stores a sample of a series of any labels; NaN is a stale marker.
func (db *tsdb) put(at float64, value float64, labels ...string) {
	id := strings.Join(labels, "|")
	s := db.series[id]
	if s == nil {
		s = &stored{labels: map[string]string{}}
		for i := 0; i < len(labels); i += 2 {
			s.labels[labels[i]] = labels[i+1]
		}
		db.series[id] = s
	}
	ms := after(at).UnixMilli()
	s.samples = append(s.samples, sample{ms, ms, value, math.IsNaN(value)})
}

// add stores a sample of a proxy's counter; NaN is a stale marker.
func (db *tsdb) add(e *envoy, key string, at, visible time.Time, value float64) {
	id := e.reporter + "|" + e.workload + "|" + e.job + "|" + e.instance + "|" + key
	s := db.series[id]
	if s == nil {
		s = &stored{labels: e.labels(key)}
		db.series[id] = s
	}
	s.samples = append(s.samples, sample{at.UnixMilli(), visible.UnixMilli(), value, math.IsNaN(value)})
	for i := len(s.samples) - 1; i > 0 && s.samples[i].at < s.samples[i-1].at; i-- {
		s.samples[i], s.samples[i-1] = s.samples[i-1], s.samples[i]
	}
}

var (
	queryForm = regexp.MustCompile(`^(sum|max) by \(([^)]*)\) \((?:(\w+)\()?(\w+)\{(.*)\}(?:\[(\d+)ms\])?\)+$`)
	subForm   = regexp.MustCompile(`(?s)^last_over_time\(\((.*)\n\)\[(\d+)ms:(\d+)ms\]\)$`)
	matchForm = regexp.MustCompile(`^(\w+)(=~|!~|=)("(?:[^"\\]|\\.)*")(?:, )?`)
)

func (db *tsdb) query(ctx context.Context, promql string, start, end time.Time, step time.Duration) (Matrix, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.queries = append(db.queries, promql)
	if sub := subForm.FindStringSubmatch(promql); sub != nil {
		return db.subquery(ctx, sub, start, end, step)
	}
	return db.plain(ctx, promql, start, end, step)
}

// subquery is the last answer within a window to a query asked again and again.
func (db *tsdb) subquery(ctx context.Context, form []string, start, end time.Time, step time.Duration) (Matrix, error) {
	window, _ := strconv.ParseInt(form[2], 10, 64)
	every, _ := strconv.ParseInt(form[3], 10, 64)
	first := (start.UnixMilli()-window)/every*every + every
	inner, err := db.plain(ctx, form[1], time.UnixMilli(first), end, time.Duration(every)*time.Millisecond)
	var out Matrix
	for _, s := range inner.Series {
		last := Series{Labels: s.Labels}
		for at := start.UnixMilli(); at <= end.UnixMilli(); at += step.Milliseconds() {
			for i := len(s.Points) - 1; i >= 0; i-- {
				if p := s.Points[i]; p.At <= at && p.At > at-window {
					last.Points = append(last.Points, Point{at, p.Value})
					break
				}
			}
		}
		out.Series = append(out.Series, last)
	}
	return out, err
}

func (db *tsdb) plain(ctx context.Context, promql string, start, end time.Time, step time.Duration) (Matrix, error) {
	form := queryForm.FindStringSubmatch(promql)
	if form == nil {
		return Matrix{}, fmt.Errorf("a query of another form: %s", promql)
	}
	selected, err := db.selects(form[4], form[5])
	if err != nil {
		return Matrix{}, err
	}
	window, _ := strconv.ParseInt(form[6], 10, 64)
	out := map[string]*Series{}
	into := make([]*Series, len(selected))
	for i, s := range selected {
		into[i] = aggregated(out, s.labels, strings.Split(form[2], ", "))
	}
	for at := start.UnixMilli(); at <= end.UnixMilli(); at += step.Milliseconds() {
		for i, s := range selected {
			if v, ok := s.value(form[3], at, window, db.now.UnixMilli()); ok {
				into[i].put(form[1], at, v)
			}
		}
	}
	var m Matrix
	for _, s := range out {
		if len(s.Points) > 0 {
			m.Series = append(m.Series, *s)
		}
	}
	return m, ctx.Err()
}

// selects gives the series that one of several selectors selects, each once.
func (db *tsdb) selects(metric, selectors string) (out []*stored, err error) {
	for matchers := range strings.SplitSeq(selectors, "} or "+metric+"{") {
		some, err := db.selectsAll(metric, matchers)
		if err != nil {
			return nil, err
		}
		for _, s := range some {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

func (db *tsdb) selectsAll(metric, matchers string) (out []*stored, err error) {
	type matcher struct {
		name string
		ok   func(string) bool
	}
	all := []matcher{{"__name__", func(s string) bool { return s == metric }}}
	for matchers != "" {
		m := matchForm.FindStringSubmatch(matchers)
		if m == nil {
			return nil, fmt.Errorf("no matcher: %s", matchers)
		}
		matchers = matchers[len(m[0]):]
		value, err := strconv.Unquote(m[3])
		if err != nil {
			return nil, err
		}
		if m[2] == "=" {
			value = regexp.QuoteMeta(value)
		}
		pattern, err := regexp.Compile("^(?s:" + value + ")$")
		if err != nil {
			return nil, err
		}
		all = append(all, matcher{m[1], func(s string) bool { return pattern.MatchString(s) != (m[2] == "!~") }})
	}
	for _, s := range db.series {
		if !slices.ContainsFunc(all, func(m matcher) bool { return !m.ok(s.labels[m.name]) }) {
			out = append(out, s)
		}
	}
	return out, nil
}

// value is a series' value at a time, as an instant or over a window that is
// open on the left.
func (s *stored) value(over string, at, window, now int64) (v float64, ok bool) {
	end, _ := slices.BinarySearchFunc(s.samples, at+1, func(x sample, t int64) int { return int(x.at - t) })
	begin, _ := slices.BinarySearchFunc(s.samples, at-max(window, lookback), func(x sample, t int64) int { return int(x.at - t) })
	for _, x := range s.samples[begin:end] {
		if x.visible > now {
			continue
		}
		switch over {
		case "":
			v, ok = x.value, !x.stale && x.at > at-lookback
		case "timestamp":
			v, ok = float64(x.at)/1000, !x.stale && x.at > at-lookback
		case "last_over_time":
			if !x.stale && x.at > at-window {
				v, ok = x.value, true
			}
		case "count_over_time":
			if !x.stale && x.at > at-window {
				v, ok = v+1, true
			}
		}
	}
	return v, ok
}

// aggregated is the series of an answer into which a stored one is aggregated.
func aggregated(out map[string]*Series, labels map[string]string, by []string) *Series {
	var kept Labels
	for _, name := range by {
		if labels[name] != "" {
			kept = append(kept, Label{name, labels[name]})
		}
	}
	key := fmt.Sprint(kept)
	if out[key] == nil {
		out[key] = &Series{Labels: kept}
	}
	return out[key]
}

func (s *Series) put(aggregate string, at int64, v float64) {
	last := len(s.Points) - 1
	switch {
	case last < 0 || s.Points[last].At != at:
		s.Points = append(s.Points, Point{at, v})
	case aggregate == "sum":
		s.Points[last].Value += v
	default:
		s.Points[last].Value = max(s.Points[last].Value, v)
	}
}

// envoy is a proxy whose counters are scraped.
type envoy struct {
	reporter, workload, pod, job, instance string

	counts map[string]float64 // by "metric|code|grpc|flags|le|caller"
	known  map[string]bool    // what is stored and not marked stale
	spells map[string]string  // bounds that are spelled otherwise
}

// respell renames a bound, counters and all.
func (e *envoy) respell(from, to string) {
	for key, v := range e.counts {
		if s, ok := strings.CutSuffix(key, "|"+from+"|a"); ok {
			delete(e.counts, key)
			e.counts[s+"|"+to+"|a"] = v
		}
	}
	e.spells = map[string]string{from: to}
}

func proxyOf(reporter, workload, pod string) *envoy {
	return &envoy{reporter: reporter, workload: workload, pod: pod, job: "envoy", instance: pod + ":15090",
		counts: map[string]float64{}, known: map[string]bool{}}
}

var les = []string{"100", "1000", "2500", "+Inf"}

// answers counts n answers that took the given milliseconds.
func (e *envoy) answers(n float64, code, grpc, flags string, ms float64) {
	e.answersTo("a", n, code, grpc, flags, ms)
}

func (e *envoy) answersTo(caller string, n float64, code, grpc, flags string, ms float64) {
	e.counts[strings.Join([]string{requestsMetric, code, grpc, flags, "", caller}, "|")] += n
	for _, le := range les {
		bound, _ := strconv.ParseFloat(le, 64)
		hit := 0.0
		if ms <= bound {
			hit = n
		}
		e.counts[strings.Join([]string{latencyMetric, code, grpc, flags, cmp.Or(e.spells[le], le), caller}, "|")] += hit
	}
}

func (e *envoy) labels(key string) map[string]string {
	k := strings.Split(key, "|")
	l := map[string]string{
		"__name__": k[0], labelReporter: e.reporter, labelNamespace: "shop", labelWorkload: e.workload,
		labelJob: e.job, labelInstance: e.instance, labelPod: e.pod,
		labelCode: k[1], labelGRPC: k[2], labelFlags: k[3], labelBound: k[4], "source_workload": k[5],
		labelService: "web.shop.svc.cluster.local",
	}
	for name, v := range l {
		if v == "" {
			delete(l, name)
		}
	}
	return l
}

// scrape stores all counters, visible when the scrape has ended, and marks
// those stale that are no longer there.
func (e *envoy) scrape(db *tsdb, at time.Time, took time.Duration) {
	for key, v := range e.counts {
		db.add(e, key, at, at.Add(took), v)
		e.known[key] = true
	}
	for key := range e.known {
		if _, there := e.counts[key]; !there {
			db.add(e, key, at, at.Add(took), math.NaN())
			delete(e.known, key)
		}
	}
}

// fail is a scrape that failed: everything is marked stale.
func (e *envoy) fail(db *tsdb, at, visible time.Time) {
	for key := range e.known {
		db.add(e, key, at, visible, math.NaN())
		delete(e.known, key)
	}
}

func (e *envoy) restart() { e.counts = map[string]float64{} }

// epoch lies on every grid of these tests.
var epoch = time.Unix(1_800_000_000, 0).UTC()

func after(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

func theAsk() Ask {
	return Ask{
		Key: "web", Namespace: "shop", Service: "web", StableWorkload: "web-v1", CanaryWorkload: "web-v2",
		From: epoch, Width: 10 * time.Second, Step: 1, Weight: 25,
	}
}

func mustBlocks(t *testing.T, db *tsdb, a Ask, now time.Time) Answer {
	t.Helper()
	db.now = now
	answer := Blocks(context.Background(), db.query, []Ask{a}, now)[a.Key]
	if answer.Err != nil {
		t.Fatal(answer.Err)
	}
	return answer
}

// chance is a fixed sequence of chances.
func chance(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 11)) }
