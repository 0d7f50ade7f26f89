package prom

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"serin.dev/serin/pkg/judge"
)

// carryFor is how long counters of a proxy that went silent are remembered: one
// that is back within it goes on from there, after it a proxy is taken as new.
const carryFor = time.Hour

var flagged = regexp.MustCompile("^(?:" + sourceOnly + ")$")

// view is what Prometheus said about some asks over one stretch of time.
type view struct {
	grid     grid
	query    func(promql string) (Matrix, error)
	warnings []string

	sides   map[Reporter]*side
	flags   *counted // what only the clients' side saw, where the servers' side counts
	unknown *counted // failures without a workload, by Service
}

// side is one reporter's telemetry.
type side struct {
	requests *counted
	samples  family
	latency  map[track]map[string]values // by the bound as written
}

// counted are counters, and what was known of them before.
type counted struct{ now, carried family }

func (c *counted) change(t track, i int) change {
	if c == nil {
		return change{steady: true}
	}
	return c.now.change(t, i, c.carried)
}

// read asks for what the asks need: the servers' side of all; the clients' side
// of those who have none, or no canary in it; and of the others what only the
// clients' side sees.
func (v *view) read(asks []Ask) error {
	v.sides = map[Reporter]*side{Destination: {}, Source: {}}
	steps := []func() error{
		func() error {
			return v.readSide(Destination, pick(asks, func(a Ask) bool { return a.Reporter != Source }))
		},
		func() error { return v.readSide(Source, pick(asks, v.needsSource)) },
		func() error { return v.readLatency(Destination, pick(asks, v.uses(Destination))) },
		func() error { return v.readLatency(Source, pick(asks, v.uses(Source))) },
		func() error { return v.readFlags(pick(asks, v.uses(Destination))) },
		func() error { return v.readUnknown(pick(asks, func(a Ask) bool { return a.Weight == 100 })) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func pick(asks []Ask, wanted func(Ask) bool) []Ask {
	var out []Ask
	for _, a := range asks {
		if wanted(a) {
			out = append(out, a)
		}
	}
	return out
}

// reporter is whose telemetry counts for the block that ends at border i.
func (v *view) reporter(a Ask, i int) Reporter {
	if a.Reporter == Source || a.Reporter == Destination {
		return a.Reporter
	}
	d := v.sides[Destination].requests
	if d.now.presentAround(a.stable(), i) || d.now.presentAround(a.canary(), i) {
		return Destination
	}
	return Source
}

func (v *view) uses(r Reporter) func(Ask) bool {
	return func(a Ask) bool {
		for i := 1; i < v.grid.borders; i++ {
			if v.reporter(a, i) == r {
				return true
			}
		}
		return false
	}
}

// needsSource also holds where only the clients' side can tell whether the
// canary's proxies are silent or just were asked nothing yet.
func (v *view) needsSource(a Ask) bool {
	for i := 1; i < v.grid.borders; i++ {
		if v.reporter(a, i) == Source || !v.sides[Destination].requests.now.presentAround(a.canary(), i) {
			return true
		}
	}
	return false
}

func (v *view) readSide(r Reporter, asks []Ask) (err error) {
	s := v.sides[r]
	by := byAnswer
	if r == Source {
		by = byFailure
	}
	if s.requests, err = v.counters(asks, by, workloads, equal(labelReporter, string(r))); err != nil {
		return err
	}
	s.samples = family{}
	if len(asks) == 0 {
		return nil
	}
	window := v.grid.width + v.grid.width/2
	promql := selector{requestsMetric, append(workloads.of(asks), equal(labelReporter, string(r)))}.samples(byTarget, window)
	return v.into(s.samples, promql, workloads.track)
}

func (v *view) readFlags(asks []Ask) (err error) {
	v.flags, err = v.counters(asks, byFailure, workloads, equal(labelReporter, string(Source)), matches(labelFlags, sourceOnly))
	return err
}

// readUnknown reads failures for which no host was chosen, so that no workload
// is known. At 100% they are the canary's; below, nobody knows whose they are.
func (v *view) readUnknown(asks []Ask) (err error) {
	v.unknown, err = v.counters(asks, byService, services,
		equal(labelReporter, string(Source)), equal(labelWorkload, unknownWorkload), matches(labelFlags, sourceOnly))
	return err
}

// subject says by which labels series are about asks.
type subject struct {
	of      func([]Ask) []string // matchers
	track   func(Labels) track
	changed func(Ask) []track
}

var workloads = subject{
	of: func(asks []Ask) []string {
		var namespaces, names []string
		for _, a := range asks {
			namespaces = append(namespaces, a.Namespace)
			names = append(names, a.StableWorkload, a.CanaryWorkload)
		}
		return []string{oneOf(labelNamespace, namespaces), oneOf(labelWorkload, names)}
	},
	track:   func(l Labels) track { return track{l.Get(labelNamespace), l.Get(labelWorkload)} },
	changed: func(a Ask) []track { return []track{a.stable(), a.canary()} },
}

var services = subject{
	of: func(asks []Ask) []string {
		var hosts []string
		for _, a := range asks {
			hosts = append(hosts, a.Service+"."+a.Namespace)
		}
		return []string{matches(labelService, "("+alternatives(hosts)+`)(\..*)?`)}
	},
	track: func(l Labels) track {
		name, rest, _ := strings.Cut(l.Get(labelService), ".")
		namespace, _, _ := strings.Cut(rest, ".")
		return track{namespace, name}
	},
	changed: func(a Ask) []track { return []track{a.service()} },
}

func (a Ask) service() track { return track{a.Namespace, a.Service} }

// counters reads raw counters and, where a proxy came in between, what was
// known of it before.
func (v *view) counters(asks []Ask, by []string, about subject, also ...string) (*counted, error) {
	c := &counted{now: family{}, carried: family{}}
	if len(asks) == 0 {
		return c, nil
	}
	promql := selector{requestsMetric, append(about.of(asks), also...)}.counters(by)
	if err := v.into(c.now, promql, about.track); err != nil {
		return nil, err
	}
	back := pick(asks, func(a Ask) bool { return slices.ContainsFunc(about.changed(a), c.now.returning) })
	if len(back) == 0 {
		return c, nil
	}
	promql = selector{requestsMetric, append(about.of(back), also...)}.carried(by, carryFor)
	return c, v.into(c.carried, promql, about.track)
}

func (v *view) ask(promql string) (Matrix, error) {
	m, err := v.query(promql)
	for _, w := range m.Warnings {
		if !slices.Contains(v.warnings, w) {
			v.warnings = append(v.warnings, w)
		}
	}
	return m, err
}

func (v *view) into(f family, promql string, of func(Labels) track) error {
	m, err := v.ask(promql)
	if err != nil {
		return err
	}
	return f.read(m, v.grid, of)
}

// readLatency reads histograms, summed over the proxies: twenty buckets of
// every pod of a thousand rollouts are too many, and the requests' counters,
// which come from the same scrapes, tell when such a sum is no good.
func (v *view) readLatency(r Reporter, asks []Ask) error {
	v.sides[r].latency = map[track]map[string]values{}
	if len(asks) == 0 {
		return nil
	}
	m, err := v.ask(selector{latencyMetric, append(workloads.of(asks),
		equal(labelReporter, string(r)), differs(labelCode, "0|101"))}.counters(byBound))
	if err != nil {
		return err
	}
	into := v.sides[r].latency
	for _, s := range m.Series {
		t, bound := workloads.track(s.Labels), s.Labels.Get(labelBound)
		if into[t] == nil {
			into[t] = map[string]values{}
		}
		if into[t][bound] == nil {
			into[t][bound] = absent(v.grid.borders)
		}
		if err := into[t][bound].fill(s.Points, v.grid); err != nil {
			return fmt.Errorf("histogram of %s: %w", t.workload, err)
		}
	}
	return nil
}

// histogram is the increments between borders i-1 and i. Nil when the bounds or
// the counts don't fit together: then this block says nothing of latency.
func histogram(bounds map[string]values, i int) judge.Histogram {
	var h judge.Histogram
	for text, v := range bounds {
		if !v.has(i) {
			if v.has(i - 1) {
				return nil
			}
			continue
		}
		le, err := strconv.ParseFloat(text, 64)
		before := 0.0
		if v.has(i - 1) {
			before = v[i-1]
		}
		if err != nil || math.IsNaN(le) || v[i] < before {
			return nil
		}
		h = append(h, judge.Bucket{Le: le, Count: int64(math.Round(v[i] - before))})
	}
	slices.SortFunc(h, func(a, b judge.Bucket) int { return cmp.Compare(a.Le, b.Le) })
	if len(h) == 0 || !math.IsInf(h[len(h)-1].Le, 1) {
		return nil
	}
	for j := 1; j < len(h); j++ {
		// The same bound twice is Prometheus's two spellings of it, old and new.
		if h[j].Le == h[j-1].Le || h[j].Count < h[j-1].Count {
			return nil
		}
	}
	return h
}
