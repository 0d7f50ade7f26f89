package prom

import (
	"context"
	"fmt"
	"time"

	"serin.dev/serin/pkg/judge"
)

const (
	// finestPart is the shortest of the parts into which Open cuts the time since
	// the last closed block, to find the moment up to which both tracks are known.
	finestPart = 250 * time.Millisecond
	// mostParts is how many of them a block has at most, leastParts how many there
	// are of the time since the last one at least, whoever else asks.
	mostParts, leastParts = 60, 12
)

// Open tells what happened since From, the end of the last closed block, as far
// as it is known at now: at most one block for each ask. Its canary's part ends
// where everything of stable is known, so that what struck both tracks at once
// never looks like the canary's fault for being scraped first; at a weight of
// 100%, or where the same scrapes tell of both, it ends at now, or up to 250 ms or a
// sixtieth of the width before; of many asks, up to a twelfth of the time since
// From. It has no latencies and no metrics of the operator's.
//
// All of it comes once more in closed blocks, and it may only prove a breach.
// So wherever something is unclear (a proxy that went, came back or restarted,
// one scraped twice, a track that isn't known) there is no block. An ask that
// is wrong, or whose query failed, is answered with an error.
//
// Asks with the same From and Width share their queries: four, and a few more
// where proxies came, or only the clients' side reports, or saw failures.
func Open(ctx context.Context, q Query, asks []Ask, now time.Time) map[string]Answer {
	return inGroups(asks,
		func(a Ask) (grid, bool, error) { return openGrid(a, now, len(asks)) },
		func(g grid, some []Ask) map[string]Answer { return open(ctx, q, g, some) },
		func(err error) Answer { return Answer{Err: err} })
}

// openGrid cuts the time since From into parts, coarser ones for many asks, that the
// groups which are asked for at once may bear them: of a coarser part less is known, and
// a breach proved later. They begin at From and don't depend on now, so that a later
// look knows no less than this one.
func openGrid(a Ask, now time.Time, asks int) (grid, bool, error) {
	since, err := a.since(now)
	part := max(finestPart, (a.Width / mostParts).Truncate(time.Millisecond))
	for asks*int(since/part) >= parallel*maxCells && since/part >= 2*leastParts {
		part *= 2
	}
	borders := int(since/part) + 1
	return grid{start: a.From.UnixMilli(), width: part, borders: borders}, borders > 1, err
}

// since is how long ago the open block began, up to now or To; an error where it
// can't begin.
func (a Ask) since(now time.Time) (time.Duration, error) {
	if !a.From.Equal(floor(a.From, a.Width)) {
		return 0, fmt.Errorf("ask for the open block of %q: it can't begin at %s, which is no end of a block of %s",
			a.Key, a.From.Format(time.RFC3339Nano), a.Width)
	}
	if !a.To.IsZero() && a.To.Before(now) {
		now = a.To
	}
	return max(0, now.Sub(a.From)), nil
}

func open(ctx context.Context, q Query, g grid, asks []Ask) map[string]Answer {
	v := newView(ctx, q, g)
	v.past = func(promql string) (Matrix, error) { return q(ctx, promql, g.border(0), g.border(0), g.width) }
	return v.answers(asks, v.readOpen(asks), func(a Ask) (blocks []judge.Block) {
		if b, ok := v.open(a); ok {
			blocks = append(blocks, b)
		}
		return blocks
	})
}

// readOpen asks when proxies were scraped before it asks what they counted: a
// scrape that arrives in between must not be taken as seen.
func (v *view) readOpen(asks []Ask) error {
	all := between{0, v.grid.borders - 1}
	readSide := func(r Reporter, asks []Ask) error {
		return inTurn(
			func() error { return v.readStamps(r, asks) },
			func() error { return v.readRequests(r, asks) },
		)
	}
	readBeside := func(asks []Ask) error {
		return inTurn(
			func() error {
				return v.readFlags(pick(asks, func(a Ask) bool { return v.reporter(a, all) == Destination }))
			},
			func() error { return v.readUnknown(asks) },
		)
	}
	err := inTurn(
		func() error { return readSide(Destination, pick(asks, reportedBy(Destination))) },
		func() error {
			return readSide(Source, pick(asks, func(a Ask) bool { return v.reporter(a, all) == Source }))
		},
		func() error { return readBeside(asks) },
	)
	if err != nil {
		return err
	}
	lost := pick(asks, func(a Ask) bool { return v.lost(a, all) })
	if len(lost) == 0 {
		return nil
	}
	// The clients' side counts, so its scrapes do; and as above they come first.
	stamps := pick(asks, func(a Ask) bool { return v.reporter(a, all) == Source || v.lost(a, all) })
	return inTurn(
		func() error { return v.readStamps(Source, stamps) },
		func() error { return readBeside(asks) },
	)
}

// open is the block since the first border, and whether all of it is clear.
func (v *view) open(a Ask) (judge.Block, bool) {
	end := v.grid.borders - 1
	all := between{0, end}
	r := v.reporter(a, all)
	canaries := all
	// A scrape of both tracks counts as a whole: what of it came while asking
	// came of both.
	if a.Weight < 100 && !v.sides[r].together(a, end) {
		stable, _ := v.seen(a, r, end, v.lost(a, all))
		canaries.to = v.grid.before(stable)
	}
	if canaries.to <= 0 || !v.clear(a, r, canaries) {
		return judge.Block{}, false
	}
	b := judge.Block{Start: v.grid.border(0), Width: v.grid.border(end).Sub(v.grid.border(0)), Step: a.Step, Weight: a.Weight, Mirror: a.Mirror}
	s := v.sides[r].requests
	b.Canary = v.sample(a.canary(), r, s.change(a.canary(), canaries), canaries, v.charge(a, canaries).canary)
	b.Canary.Live = true
	_, b.Canary.Seen = v.seen(a, r, canaries.to, v.lost(a, canaries))
	if a.Weight < 100 {
		b.Stable = v.sample(a.stable(), r, s.change(a.stable(), all), all, v.charge(a, all).stable)
		b.Stable.Seen, _ = v.seen(a, r, end, v.lost(a, all))
		b.Stable.Live = true
	}
	return b, true
}

// clear tells that nothing about the open block is in doubt. At 100% only the
// canary counts.
func (v *view) clear(a Ask, r Reporter, canaries between) bool {
	end := between{0, v.grid.borders - 1}
	s := v.sides[r]
	canary := s.requests.change(a.canary(), canaries)
	tracks := []track{a.canary()}
	changes := append(v.beside(a, r, end), canary)
	known := canary.was
	if a.Weight < 100 {
		stable := s.requests.change(a.stable(), end)
		known = known || stable.was
		tracks, changes = append(tracks, a.stable()), append(changes, stable)
	}
	for _, c := range changes {
		if c.problem != "" || !c.steady {
			return false
		}
	}
	for _, t := range tracks {
		if twice(s.stamps.sampled(t, end.to)) != "" {
			return false
		}
	}
	return known && canary.present
}

// before is the newest border at or before t; negative when there is none.
func (g grid) before(t time.Time) int {
	ms := t.UnixMilli() - g.start
	if t.IsZero() || ms < 0 {
		return -1
	}
	return min(int(ms/g.width.Milliseconds()), g.borders-1)
}
