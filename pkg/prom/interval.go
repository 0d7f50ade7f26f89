package prom

import (
	"context"
	"math"
	"slices"
	"time"
)

const (
	// intervalBack is how far back scrapes are looked at, in parts of intervalPart.
	intervalBack  = 5 * time.Minute
	intervalPart  = 15 * time.Second
	shortestWidth = time.Second // and the shortest that an Ask may have
)

// Interval is how often the proxies that report on a rollout are scraped.
type Interval struct {
	Width time.Duration // a pleasant value, >= 1 s; zero with a nil Err: there are no series to tell from
	// Newest is when a proxy that reports on the tracks was scraped last; zero: none
	// was in the last minutes.
	Newest time.Time
	Err    error
}

// Intervals finds out, by key, how often the proxies that report on the tracks
// of each ask are scraped: those whose telemetry counts, the servers' where there
// are any, else the clients'. Of several jobs the longest interval counts: of
// shorter blocks one would know nothing. From and Width of the asks mean nothing.
func Intervals(ctx context.Context, q Query, asks []Ask, now time.Time) map[string]Interval {
	asks = slices.Clone(asks)
	for i := range asks {
		asks[i].Width = shortestWidth
	}
	g := grid{start: now.Add(-intervalBack).UnixMilli(), width: intervalPart, borders: int(intervalBack/intervalPart) + 1}
	return inGroups(asks,
		func(Ask) (grid, bool, error) { return g, true, nil },
		func(g grid, some []Ask) map[string]Interval { return intervals(newView(ctx, q, g), some) },
		func(err error) Interval { return Interval{Err: err} })
}

func intervals(v *view, asks []Ask) map[string]Interval {
	out := make(map[string]Interval, len(asks))
	unknown := asks
	for _, r := range []Reporter{Destination, Source} {
		some := pick(unknown, reportedBy(r))
		if len(some) == 0 {
			continue
		}
		err := v.readScrapes(r, some)
		for _, a := range some {
			if err != nil {
				out[a.Key] = Interval{Err: a.unread(err)}
				continue
			}
			if odd := v.unreadable(a); odd != nil {
				out[a.Key] = Interval{Err: odd}
				continue
			}
			out[a.Key] = Interval{Width: v.sides[r].interval(a), Newest: v.sides[r].lastScraped(a)}
		}
		unknown = pick(unknown, func(a Ask) bool { return out[a.Key] == Interval{} })
	}
	return out
}

// readScrapes counts the scrapes before it asks for their times: one that
// arrives in between makes an interval look longer, never shorter.
func (v *view) readScrapes(r Reporter, asks []Ask) error {
	s := v.sides[r]
	s.samples = family{}
	promql := selector{requestsMetric, append(workloads.of(asks), equal(labelReporter, string(r)))}.samples(byTarget, intervalPart)
	return inTurn(
		func() error { return v.into(s.samples, promql, workloads.track) },
		func() error { return v.readStamps(r, asks) },
	)
}

// interval is the longest of the jobs' intervals, of each job that of most of
// its targets; zero when none is known.
func (s *side) interval(a Ask) time.Duration {
	jobs := map[string][]float64{}
	for _, t := range []track{a.stable(), a.canary()} {
		for p, stamps := range s.stamps[t] {
			if ms := scraped(stamps.of(group{}), s.samples[t][p].of(group{})); ms > 0 {
				jobs[p.job] = append(jobs[p.job], ms)
			}
		}
	}
	longest := 0.0
	for _, all := range jobs {
		slices.Sort(all)
		longest = max(longest, all[(len(all)-1)/2])
	}
	return pleasant(longest)
}

// lastScraped is when any target was scraped last.
func (s *side) lastScraped(a Ask) (at time.Time) {
	for _, t := range []track{a.stable(), a.canary()} {
		for _, stamps := range s.stamps[t] {
			times := stamps.of(group{})
			for i, ms := range times {
				if stamped := time.UnixMilli(int64(ms)); times.has(i) && stamped.After(at) {
					at = stamped
				}
			}
		}
	}
	return at
}

// scraped is a target's interval in ms: the time between the newest samples at
// two borders, through the number of samples between them. That is exact in each
// part, whatever the phase, unless a scrape failed; then it is too long. The
// lower quartile of the parts bears failures in most of them, and in a few parts
// scrapes of another pace, as after a change of the configuration.
func scraped(stamps, counts values) float64 {
	var all []float64
	for i := 1; i < min(len(stamps), len(counts)); i++ {
		if stamps.has(i-1) && stamps.has(i) && counts.has(i) && counts[i] > 0 && stamps[i] > stamps[i-1] {
			all = append(all, (stamps[i]-stamps[i-1])/counts[i])
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/4]
}

// pleasant rounds to whole seconds what is within 5% of them, and the rest up to
// tenths.
func pleasant(ms float64) time.Duration {
	if ms == 0 {
		return 0
	}
	s := ms / 1000
	rounded := math.Round(s)
	if math.Abs(s-rounded) > s/20 {
		rounded = math.Ceil(s*10) / 10
	}
	return max(time.Duration(math.Round(rounded*1000))*time.Millisecond, shortestWidth)
}
