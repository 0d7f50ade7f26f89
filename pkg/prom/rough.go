package prom

import (
	"context"
	"errors"
	"time"

	"serin.dev/serin/pkg/judge"
)

// Rough tells, for a few short answers, which canaries are worth a call of Open:
// those of whose requests any failed since From. Of these it gives a block that
// holds what both tracks did since From as far as it is known at all, and what
// nobody knows whose it is as the canary's. So it may look worse than what Open
// tells, and by it alone nothing is proven; where counters fell it is missing, and
// only Open knows. All other asks are answered without a block: whatever Open said
// of them, it could prove nothing. Asks and errors are as those of Open.
//
// Asks with the same From and Width share their queries: one, and where some
// canary failed three or four more.
func Rough(ctx context.Context, q Query, asks []Ask, now time.Time) map[string]Answer {
	return inGroups(asks,
		func(a Ask) (grid, bool, error) {
			since, err := a.since(now)
			since = since.Truncate(time.Millisecond)
			return grid{start: a.From.UnixMilli(), width: since, borders: 2}, since > 0, err
		},
		func(g grid, some []Ask) map[string]Answer { return rough(newView(ctx, q, g), some) },
		func(err error) Answer { return Answer{Err: err} })
}

// overall are the two borders of a rough block.
var overall = between{0, 1}

func rough(v *view, asks []Ask) map[string]Answer {
	failures, err := v.readFailures(asks)
	suspects := pick(asks, failures.any)
	if err == nil {
		err = v.readSums(suspects)
	}
	return v.answers(asks, err, func(a Ask) []judge.Block {
		if !failures.any(a) {
			return nil
		}
		return v.rough(a)
	})
}

// failures are the counters of what fails, by canary and the Service that was
// called, and of what nobody knows whose it is, by Service.
type failures struct{ canaries, services family }

// byCalled tells the Services apart through which a workload was called, as
// counters of the same track.
var byCalled = []string{labelNamespace, labelWorkload, labelService}

// readFailures reads all that may be an error, and more: clients that left, too.
func (v *view) readFailures(asks []Ask) (failures, error) {
	f := failures{family{}, family{}}
	var namespaces, names []string
	for _, a := range asks {
		namespaces, names = append(namespaces, a.Namespace), append(names, a.CanaryWorkload)
	}
	of := func(also string) selector {
		return selector{requestsMetric, []string{oneOf(labelNamespace, namespaces), oneOf(labelWorkload, names), also}}
	}
	m, err := v.ask(either(byCalled,
		of(differs(labelCode, "[1-4].*")),
		of(matches(labelGRPC, alternatives(failingStatuses()))),
		of(matches(labelFlags, sourceOnly)),
		selector{requestsMetric, append(services.of(asks), equal(labelReporter, string(Source)), equal(labelWorkload, unknownWorkload), matches(labelFlags, sourceOnly))},
	))
	if err != nil {
		return f, err
	}
	for i := range m.Series {
		s := &m.Series[i]
		into, about := f.canaries, workloads.track
		if s.Labels.Get(labelWorkload) == unknownWorkload {
			into, about = f.services, services.track
		}
		called := proxy{instance: s.Labels.Get(labelService)}
		if err := into.at(about(s.Labels), called, group{}, v.grid).fill(s.Points, v.grid); err != nil && !errors.Is(err, errOdd) {
			return f, err
		}
	}
	return f, nil
}

// any tells that something of a canary's failed, or that its counters of
// failures are not those that they were.
func (f failures) any(a Ask) bool {
	return f.canaries.moved(a.canary()) || f.services.moved(a.service())
}

// moved tells that a track's counters are others at the second border.
func (f family) moved(t track) bool {
	for _, counters := range f[t] {
		for _, one := range counters.list {
			v := one.values
			if v.has(overall.from) != v.has(overall.to) || v.has(overall.to) && v[overall.from] != v[overall.to] {
				return true
			}
		}
	}
	return false
}

// byKind are the tracks' counters where nobody need know whose they are.
var byKind = []string{labelNamespace, labelWorkload, labelCode, labelGRPC, labelFlags}

// readSums reads what the tracks did in all, as the servers' side tells it, or
// else the clients', and what beside it only the clients' side knows.
func (v *view) readSums(asks []Ask) error {
	if len(asks) == 0 {
		return nil
	}
	read := func(into **counted, asks []Ask, by []string, about subject, also ...string) error {
		*into = &counted{now: family{}}
		if len(asks) == 0 {
			return nil
		}
		return v.into((*into).now, selector{requestsMetric, append(about.of(asks), also...)}.counters(by), about.track)
	}
	side := func(r Reporter, asks []Ask) error {
		return read(&v.sides[r].requests, asks, byKind, workloads, equal(labelReporter, string(r)))
	}
	lost := []string{equal(labelReporter, string(Source)), matches(labelFlags, sourceOnly)}
	return inTurn(
		func() error { return side(Destination, pick(asks, reportedBy(Destination))) },
		func() error {
			return side(Source, pick(asks, func(a Ask) bool { return v.reporter(a, overall) == Source }))
		},
		func() error {
			some := pick(asks, func(a Ask) bool { return v.reporter(a, overall) == Destination })
			return read(&v.flags, some, byKind, workloads, lost...)
		},
		func() error {
			by := []string{labelService, labelCode, labelGRPC, labelFlags}
			return read(&v.unknown, asks, by, services, append(lost, equal(labelWorkload, unknownWorkload))...)
		},
	)
}

// rough is a block of everything; a missing one where counters fell, for some
// of what was before may be clear to Open.
func (v *view) rough(a Ask) []judge.Block {
	b := judge.Block{Start: v.grid.border(0), Width: v.grid.width, Step: a.Step, Weight: a.Weight, Mirror: a.Mirror}
	r := v.reporter(a, overall)
	side := v.sides[r].requests
	stable, canary := side.change(a.stable(), overall), side.change(a.canary(), overall)
	for _, c := range []change{stable, canary} {
		if c.problem != "" || !c.steady {
			b.Missing = "counters fell"
			return []judge.Block{b}
		}
	}
	lost := count(v.unknown.change(a.service(), overall)).Errors
	if r == Destination {
		lost += count(v.flags.change(a.canary(), overall)).Errors
	}
	b.Stable = judge.Sample{Counts: count(stable), Live: true, Seen: b.End()}
	b.Canary = judge.Sample{Counts: count(canary), Live: true, Seen: b.End().Add(-time.Millisecond)}
	b.Canary.Requests += lost
	b.Canary.Errors += lost
	return []judge.Block{b}
}
