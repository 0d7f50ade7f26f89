package prom

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"
)

// carryFor is how long counters of a proxy that went silent are remembered: one
// that is back within it goes on from there, after it a proxy is taken as new.
const carryFor = time.Hour

var flagged = regexp.MustCompile("^(?:" + sourceOnly + ")$")

// view is what Prometheus said about some asks over one stretch of time.
type view struct {
	grid  grid
	query func(promql string) (Matrix, error) // at all borders
	// past asks for what was known of proxies before they came back.
	past     func(promql string) (Matrix, error)
	warnings []string
	odd      map[track]error // versions, and Services, with values that can't be

	sides   map[Reporter]*side
	flags   *counted // what only the clients' side saw, where the servers' side counts
	unknown *counted // failures without a workload, by Service
}

// side is one reporter's telemetry.
type side struct {
	requests *counted
	samples  family                      // scrapes within a width and a half
	stamps   family                      // when the proxies were scraped last, in ms
	latency  map[track]map[string]values // by the bound as written
}

func newView(ctx context.Context, q Query, g grid) *view {
	ask := func(promql string) (Matrix, error) {
		return q(ctx, promql, g.border(0), g.border(g.borders-1), g.width)
	}
	return &view{grid: g, query: ask, past: ask, odd: map[track]error{}, sides: map[Reporter]*side{Destination: {}, Source: {}}}
}

// counted are counters, and what was known of them before.
type counted struct{ now, carried family }

func (c *counted) change(t track, b between) change {
	if c == nil {
		return change{steady: true}
	}
	return c.now.change(t, b, c.carried)
}

// read asks for what the asks need: the servers' side of all; the clients' side
// of those who have none, or no canary in it; and of the others what only the
// clients' side sees.
func (v *view) read(asks []Ask) error {
	return inTurn(
		func() error { return v.readSide(Destination, pick(asks, reportedBy(Destination))) },
		func() error { return v.readSide(Source, pick(asks, v.needsSource)) },
		func() error { return v.readLatency(Destination, pick(asks, v.uses(Destination))) },
		func() error { return v.readLatency(Source, pick(asks, v.uses(Source))) },
		func() error { return v.readFlags(pick(asks, v.uses(Destination))) },
		func() error { return v.readUnknown(asks) },
		func() error { return v.readStamps(Destination, pick(asks, v.uses(Destination))) },
		func() error {
			return v.readStamps(Source, pick(asks, v.anyBlock(func(a Ask, b between) bool {
				return v.reporter(a, b) == Source || v.lost(a, b)
			})))
		},
	)
}

func inTurn(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// reportedBy picks the asks that may be answered by the reporter's telemetry.
func reportedBy(r Reporter) func(Ask) bool {
	return func(a Ask) bool {
		return a.asked() != Source && r == Destination || a.asked() != Destination && r == Source
	}
}

// pick are the asks that are wanted; they themselves, where all are.
func pick(asks []Ask, wanted func(Ask) bool) []Ask {
	for i, a := range asks {
		if wanted(a) {
			continue
		}
		out := slices.Clone(asks[:i])
		for _, a := range asks[i+1:] {
			if wanted(a) {
				out = append(out, a)
			}
		}
		return out
	}
	return asks
}

// reporter is whose telemetry counts for what happened between two borders.
func (v *view) reporter(a Ask, b between) Reporter {
	if asked := a.asked(); asked == Source || asked == Destination {
		return asked
	}
	d := v.sides[Destination].requests
	if d.now.presentAround(a.stable(), b) || d.now.presentAround(a.canary(), b) {
		return Destination
	}
	return Source
}

// unreadable says why nothing can be told of an ask; nil if something can.
func (v *view) unreadable(a Ask) error {
	for _, t := range []track{a.canary(), a.stable(), a.service()} {
		if err := v.odd[t]; err != nil {
			return a.unread(err)
		}
	}
	return nil
}

// anyBlock picks the asks for which something holds in one of the blocks.
func (v *view) anyBlock(holds func(Ask, between) bool) func(Ask) bool {
	return func(a Ask) bool {
		for i := 1; i < v.grid.borders; i++ {
			if holds(a, between{i - 1, i}) {
				return true
			}
		}
		return false
	}
}

func (v *view) uses(r Reporter) func(Ask) bool {
	return v.anyBlock(func(a Ask, b between) bool { return v.reporter(a, b) == r })
}

// needsSource also holds where only the clients' side can tell whether the
// canary's proxies are silent or just were asked nothing yet.
func (v *view) needsSource(a Ask) bool {
	return v.anyBlock(func(a Ask, b between) bool {
		return v.reporter(a, b) == Source || !v.sides[Destination].requests.now.presentAround(a.canary(), b)
	})(a)
}

func (v *view) readSide(r Reporter, asks []Ask) error {
	if err := v.readRequests(r, asks); err != nil || len(asks) == 0 {
		return err
	}
	window := v.grid.width + v.grid.width/2
	promql := selector{requestsMetric, append(workloads.of(asks), equal(labelReporter, string(r)))}.samples(byTarget, window)
	v.sides[r].samples = family{}
	return v.into(v.sides[r].samples, promql, workloads.track)
}

func (v *view) readRequests(r Reporter, asks []Ask) (err error) {
	by := byAnswer
	if r == Source {
		by = byFailure
	}
	v.sides[r].requests, err = v.counters(asks, by, workloads, equal(labelReporter, string(r)))
	return err
}

func (v *view) readFlags(asks []Ask) (err error) {
	v.flags, err = v.counters(asks, byFailure, workloads, equal(labelReporter, string(Source)), matches(labelFlags, sourceOnly))
	return err
}

// readUnknown reads failures for which no host was chosen, so that no workload
// is known.
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
	m, err := v.noted(v.past(selector{requestsMetric, append(about.of(back), also...)}.carried(by, carryFor)))
	if err != nil {
		return nil, err
	}
	return c, c.carried.read(m, v.grid, about.track, v.odd)
}

func (v *view) ask(promql string) (Matrix, error) { return v.noted(v.query(promql)) }

// noted keeps the warnings of an answer, each once.
func (v *view) noted(m Matrix, err error) (Matrix, error) {
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
	return f.read(m, v.grid, of, v.odd)
}
