package prom

import (
	"math"
	"time"
)

// readStamps reads when the proxies that report on the asks' tracks were
// scraped last, in ms since the Unix epoch.
func (v *view) readStamps(r Reporter, asks []Ask) error {
	stamps := family{}
	v.sides[r].stamps = stamps
	if len(asks) == 0 {
		return nil
	}
	m, err := v.ask(selector{requestsMetric, append(workloads.of(asks), equal(labelReporter, string(r)))}.stamps(byTarget))
	if err != nil {
		return err
	}
	for _, s := range m.Series {
		for i := range s.Points {
			s.Points[i].Value = math.Round(s.Points[i].Value * 1000)
		}
	}
	return stamps.read(m, v.grid, workloads.track, v.odd)
}

// known gives the times up to which all and up to which some of a track's proxies
// are known at border i; zero when none is there.
func (s *side) known(t track, i int) (all, some time.Time) {
	for p, stamps := range s.stamps[t] {
		for _, one := range stamps.list {
			if !one.values.has(i) || s.gone(t, p, i) {
				continue
			}
			at := time.UnixMilli(int64(one.values[i])).UTC()
			if all.IsZero() || at.Before(all) {
				all = at
			}
			if at.After(some) {
				some = at
			}
		}
	}
	return all, some
}

// gone tells that the proxy has no counters at border i, where those of its track
// were read: VictoriaMetrics shows times for longer than counters, and for how
// long depends on the stretch that is asked for.
func (s *side) gone(t track, p proxy, i int) bool {
	return s.requests != nil && s.requests.now[t] != nil && !s.requests.now[t][p].at(i)
}

// seen gives up to when everything of stable and anything of the canary is known
// at border i: where stable's time is not the earlier one, nothing counts for the
// canary that stable had no time to show. Failures that only the clients' side
// saw are known as far as that side is.
func (v *view) seen(a Ask, r Reporter, i int, lost bool) (stable, canary time.Time) {
	stable, _ = v.sides[r].known(a.stable(), i)
	_, canary = v.sides[r].known(a.canary(), i)
	switch {
	case v.sides[r].together(a, i):
		return canary, canary
	case r == Source || !lost:
		return stable, canary
	}
	all, _ := v.sides[Source].known(a.stable(), i)
	_, some := v.sides[Source].known(a.canary(), i)
	if all.Before(stable) { // zero as well: nobody knows
		stable = all
	}
	if some.After(canary) {
		canary = some
	}
	return stable, canary
}

// together tells that the same proxies report on both tracks, each by the same
// scrape, as gateways do. Then both are always known equally far, however long
// ago some of the proxies were scraped: what struck both tracks at once shows in
// both, or in neither.
func (s *side) together(a Ask, i int) bool {
	canaries, stables := 0, 0
	for p := range s.stamps[a.canary()] {
		canary, there := s.newest(a.canary(), p, i)
		if !there {
			continue
		}
		canaries++
		if stable, both := s.newest(a.stable(), p, i); !both || stable != canary {
			return false
		}
	}
	for p := range s.stamps[a.stable()] {
		if _, there := s.newest(a.stable(), p, i); there {
			stables++
		}
	}
	return canaries > 0 && canaries == stables
}

// newest is when a track's proxy was scraped last, at border i; false when it is
// not there.
func (s *side) newest(t track, p proxy, i int) (at float64, there bool) {
	stamps := s.stamps[t][p]
	if !stamps.at(i) || s.gone(t, p, i) {
		return 0, false
	}
	for _, one := range stamps.list {
		if one.values.has(i) {
			at = max(at, one.values[i])
		}
	}
	return at, true
}

// lost tells that failures are charged to the canary which its own proxies
// didn't see.
func (v *view) lost(a Ask, b between) bool {
	return v.reporter(a, b) == Destination &&
		(count(v.flags.change(a.canary(), b)).Requests > 0 || v.charge(a, b).canary > 0)
}
