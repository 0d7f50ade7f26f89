package prom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"serin.dev/serin/pkg/judge"
)

// lookBack is for how many blocks a sum over processes is distrusted after it
// fell: the process whose part it lost may come back with all it had counted.
const lookBack = 20

// measure adds what the operator's metrics say to the blocks of the answers.
func measure(ctx context.Context, q Query, asks []Ask, answers map[string]Answer) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for _, a := range asks {
		blocks := answers[a.Key].Blocks
		for i := range blocks {
			if len(a.Custom) > 0 {
				blocks[i].Custom = make([]judge.Pair, len(a.Custom))
			}
		}
		if len(blocks) == 0 {
			continue
		}
		g := grid{start: blocks[0].Start.UnixMilli(), width: a.Width, borders: len(blocks) + 1}
		for n, c := range a.Custom {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				pairs := c.pairs(ctx, q, g, a)
				for i := range blocks {
					blocks[i].Custom[n] = pairs[i]
				}
			})
		}
	}
	wg.Wait()
}

// pairs are the metric of both tracks, a pair for each block.
func (c Custom) pairs(ctx context.Context, q Query, g grid, a Ask) []judge.Pair {
	pairs := make([]judge.Pair, g.borders-1)
	var tracks [2]measured
	for i, t := range [2]struct{ name, workload string }{{"stable", a.StableWorkload}, {"canary", a.CanaryWorkload}} {
		queries, err := c.Template.Queries(Place{Namespace: a.Namespace, Workload: t.workload, Service: a.Service, Track: t.name})
		switch {
		case err != nil:
		case c.Limit.Gauge != (c.Template.Gauge != ""):
			err = errors.New("its limit is for a metric of another kind: a gauge has a limit for its value, a ratio for a share")
		default:
			tracks[i], err = c.read(ctx, q, g, queries)
		}
		if err != nil {
			for j := range pairs {
				pairs[j].Missing = fmt.Sprintf("read metric %s of %s: %v", c.Limit.Name, t.name, err)
			}
			return pairs
		}
	}
	for i := range pairs {
		pairs[i] = c.pair(tracks[0], tracks[1], i+1)
	}
	return pairs
}

// pair is the metric in the block that ends at border i.
func (c Custom) pair(stable, canary measured, i int) judge.Pair {
	tally := func(m measured, other measured) (judge.Tally, string) {
		if c.Template.Gauge != "" {
			return c.gauge(m.levels, i)
		}
		b := between{lookBack + i - 1, lookBack + i}
		return c.ratio(m.tallies(b), other.tallies(b))
	}
	s, whyStable := tally(stable, canary)
	n, whyCanary := tally(canary, stable)
	if n.N == 0 && whyCanary == "" && !canary.has(c, i) {
		whyCanary = "it has no series"
	}
	switch {
	case whyCanary != "":
		return judge.Pair{Missing: fmt.Sprintf("metric %s of the canary: %s", c.Limit.Name, whyCanary)}
	case whyStable != "":
		return judge.Pair{Missing: fmt.Sprintf("metric %s of stable: %s", c.Limit.Name, whyStable)}
	}
	return judge.Pair{Stable: s, Canary: n}
}

// measured is what Prometheus said about one track: levels of a gauge, or the
// counters of a ratio. The counters begin lookBack blocks earlier.
type measured struct {
	levels []values
	hits   *countedBy // good or bad
	total  *countedBy
}

// has tells that there is some value at border i.
func (m measured) has(c Custom, i int) bool {
	if c.Template.Gauge != "" {
		return slices.ContainsFunc(m.levels, func(v values) bool { return v.has(i) })
	}
	return m.total.change(between{lookBack + i - 1, lookBack + i}).present
}

func (c Custom) read(ctx context.Context, q Query, g grid, queries map[string]string) (m measured, err error) {
	if promql := queries[partGauge]; promql != "" {
		m.levels, err = readLevels(ctx, q, g, promql)
		return m, err
	}
	g.start -= lookBack * g.width.Milliseconds()
	g.borders += lookBack
	if m.hits, err = readCounted(ctx, q, g, cmp.Or(queries[partGood], queries[partBad])); err != nil {
		return m, err
	}
	m.total, err = readCounted(ctx, q, g, queries[partTotal])
	return m, err
}

// tallies are the changes of a ratio's two counters.
func (m measured) tallies(b between) [2]change {
	return [2]change{m.hits.change(b), m.total.change(b)}
}

// ratio tallies the bad among all. other is what the other track did: without
// any series of it neither, nobody knows what a missing counter means.
func (c Custom) ratio(mine, other [2]change) (judge.Tally, string) {
	hits, total := mine[0], mine[1]
	if why := first(hits.problem, total.problem); why != "" {
		return judge.Tally{}, why
	}
	if !total.was && !other[1].was {
		return judge.Tally{}, "it begins here: what its counters held before is not of this block"
	}
	n, bad := total.sum(), hits.sum()
	if c.Template.Good != "" {
		switch {
		case total.present && !hits.present && !other[0].present:
			return judge.Tally{}, "good has no series of either track"
		case total.present && hits.present && hits.steady != total.steady:
			return judge.Tally{}, "good and total don't come from the same processes"
		}
		bad = n - bad
	}
	if bad < 0 || bad > n {
		return judge.Tally{}, fmt.Sprintf("it counted %d among %d: total must count good and bad, in the same processes", hits.sum(), n)
	}
	return judge.Tally{Hits: bad, N: n}, ""
}

// sum is the sum of the counters' increments.
func (c change) sum() (n int64) {
	for _, more := range c.counts {
		n += more
	}
	return n
}

// gauge tells whether the worst of the values at border i is beyond the limit.
func (c Custom) gauge(levels []values, i int) (t judge.Tally, why string) {
	for _, v := range levels {
		if !v.has(i) {
			continue
		}
		t.N = 1
		if c.Limit.AtLeast && v[i] < c.Limit.Bound || !c.Limit.AtLeast && v[i] > c.Limit.Bound {
			t.Hits = 1
		}
	}
	return t, ""
}

// readLevels reads a gauge. A NaN, as of a share of nothing, is no value.
func readLevels(ctx context.Context, q Query, g grid, promql string) (levels []values, err error) {
	m, err := q(ctx, promql, g.border(0), g.border(g.borders-1), g.width)
	if err != nil {
		return nil, err
	}
	for _, s := range m.Series {
		v := absent(g.borders)
		for _, p := range s.Points {
			i, err := g.index(p.At)
			if err != nil {
				return nil, err
			}
			v[i] = p.Value
		}
		levels = append(levels, v)
	}
	return levels, nil
}

// countedBy are an operator's counters, by the process they live in as far as
// their labels tell it.
type countedBy struct {
	counted
	odd map[int]string // borders with values that no counter has
}

func readCounted(ctx context.Context, q Query, g grid, promql string) (*countedBy, error) {
	c := &countedBy{counted: counted{now: family{}, carried: family{}}, odd: map[int]string{}}
	read := func(into family, promql string) error {
		m, err := q(ctx, promql, g.border(0), g.border(g.borders-1), g.width)
		if err != nil {
			return err
		}
		return c.read(into, m, g)
	}
	if err := read(c.now, promql); err != nil {
		return nil, err
	}
	if !c.now.returning(track{}) {
		return c, nil
	}
	return c, read(c.carried, carriedOf(promql, g.width))
}

// carriedOf is a query as it was last answered within carryFor. Its points lie
// on the same grid, which begins with the Unix epoch. The line's end keeps a
// comment from hiding the rest.
func carriedOf(promql string, width time.Duration) string {
	return fmt.Sprintf("last_over_time((%s\n)[%s:%s])", promql, duration(carryFor), duration(width))
}

func (c *countedBy) read(into family, m Matrix, g grid) error {
	for _, s := range m.Series {
		var sane []Point
		for _, p := range s.Points {
			if countable(p.Value) {
				sane = append(sane, p)
				continue
			}
			if i, err := g.index(p.At); err == nil {
				c.odd[i] = first(c.odd[i], fmt.Sprintf("it has the value %v, which no counter has", p.Value))
			}
		}
		if err := into.at(track{}, livesIn(s.Labels), group{others: others(s.Labels)}, g).fill(sane, g); err != nil {
			return err
		}
	}
	return nil
}

// others are the labels beside those of the process and the metric's name.
func others(l Labels) string {
	var all []string
	for _, label := range l {
		switch label.Name {
		case labelJob, labelInstance, labelPod, "__name__":
		default:
			all = append(all, label.Name+"="+label.Value)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// change tells the increments, or why they can't be told.
func (c *countedBy) change(b between) change {
	out := c.counted.change(track{}, b)
	out.problem = first(out.problem, first(c.odd[b.from], c.odd[b.to]))
	for p, counters := range c.now[track{}] {
		if p.instance != "" || p.pod != "" {
			continue
		}
		for _, one := range counters.list {
			if one.values.fell(b.to) {
				out.problem = "a sum fell, as when a pod goes, and what comes back with it is not new: " +
					"keep the pods apart, as in sum by (pod) (...)"
			}
		}
	}
	return out
}

// fell tells that the values fell lately, at border i or up to lookBack before.
func (v values) fell(i int) bool {
	last := math.Inf(-1)
	for _, n := range v[max(i-lookBack, 0) : i+1] {
		if n < last {
			return true
		}
		if !math.IsNaN(n) {
			last = n
		}
	}
	return false
}
