package telemetry

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// The metrics that the proxies show, as Istio names them.
const (
	requests = "istio_requests_total"
	duration = "istio_request_duration_milliseconds_bucket"
)

// bounds are those of Istio's histogram, and which share of the fast and of the
// slow answers is below each.
var bounds = []struct {
	le         string
	fast, slow float64
}{
	{"0.5", 0, 0}, {"1.0", 0, 0}, {"5.0", .1, 0}, {"10.0", .4, 0}, {"25.0", .8, 0}, {"50.0", .97, 0}, {"100.0", 1, 0}, {"250.0", 1, 0}, {"500.0", 1, 0},
	{"1000.0", 1, 0}, {"2500.0", 1, 0}, {"5000.0", 1, 1}, {"10000.0", 1, 1}, {"30000.0", 1, 1}, {"60000.0", 1, 1}, {"300000.0", 1, 1}, {"600000.0", 1, 1},
	{"1.8e+06", 1, 1}, {"3.6e+06", 1, 1}, {"+Inf", 1, 1},
}

// all is the bound of a series that has none.
const all = -1

// series is one of a meter's: the answers of one code, up to one bound or all.
type series struct {
	meter *meter
	bad   bool
	bound int // index in bounds, or all
}

// get is a label's value, empty if there is none.
func (s series) get(name string) string {
	switch name {
	case "__name__":
		if s.bound == all {
			return requests
		}
		return duration
	case "response_code":
		if s.bad {
			return s.meter.bad
		}
		return "200"
	case "le":
		if s.bound == all {
			return ""
		}
		return bounds[s.bound].le
	}
	return s.meter.get(name)
}

// value is the series' counter, where its meter counted so many fast and slow answers.
func (s series) value(fast, slow float64) float64 {
	if s.bound == all {
		return fast + slow
	}
	b := bounds[s.bound]
	return math.Floor(fast*b.fast) + slow*b.slow
}

// allSeries are all that the meter may ever show.
func (m *meter) allSeries() (out []series) {
	for _, bad := range []bool{false, true} {
		for bound := all; bound < len(bounds); bound++ {
			out = append(out, series{m, bad, bound})
		}
	}
	return out
}

// slotAt is the last time at or before at when the target would be scraped.
func (t *Town) slotAt(p *target, at int64) int64 {
	rest := (at - p.offset) % t.interval
	if rest < 0 {
		rest += t.interval
	}
	return at - rest
}

// slotFrom is the first time at or after at when the target would be scraped.
func (t *Town) slotFrom(p *target, at int64) int64 {
	slot := t.slotAt(p, at)
	if slot < at {
		slot += t.interval
	}
	return slot
}

// fresh is the target's last scrape at or before at, as known at now; false where
// there is none, or a failure or the target's end is marked after it.
func (t *Town) fresh(p *target, at, now int64) (int64, bool) {
	for i := len(p.presence) - 1; i >= 0; i-- {
		slot, ok := t.slotWithin(p, i, min(at, now-took))
		if !ok {
			continue
		}
		if t.failedAfter(p, i, slot, at, now) {
			return 0, false
		}
		marker, seen := t.ended(p, i)
		return slot, seen > now || marker > at
	}
	return 0, false
}

// slotWithin is the last scrape in the target's presence i at or before at.
func (t *Town) slotWithin(p *target, i int, at int64) (int64, bool) {
	s := p.presence[i]
	if s.to != 0 {
		at = min(at, s.to-1)
	}
	slot := t.slotAt(p, at)
	for g := len(t.gaps) - 1; g >= 0; g-- {
		if t.gaps[g].has(slot) {
			slot = t.slotAt(p, t.gaps[g].from-1)
		}
	}
	return slot, slot >= s.from
}

// failedAfter tells that a scrape failed between slot and at.
func (t *Town) failedAfter(p *target, i int, slot, at, now int64) bool {
	for _, g := range t.gaps {
		first := t.slotFrom(p, max(g.from, slot+1))
		if g.marked && g.has(first) && p.presence[i].has(first) && first <= min(at, now-took) {
			return true
		}
	}
	return false
}

// never is after all times.
const never = math.MaxInt64

// ended is where the end of the target's presence i is marked, and when that is
// seen: Prometheus waits for the scrape that would have been next, and then for
// 1.1 intervals. It is left out where the target is back by then, and scraped, and
// where nothing is stored.
func (t *Town) ended(p *target, i int) (marker, seen int64) {
	to := p.presence[i].to
	if to == 0 {
		return never, never
	}
	marker = t.slotFrom(p, to)
	seen = marker + t.interval*11/10
	if slices.ContainsFunc(t.gaps, func(g gap) bool { return !g.marked && g.has(seen) }) {
		return never, never
	}
	for next := i + 1; next < len(p.presence); next++ {
		if slot, ok := t.slotWithin(p, next, seen-took); ok && slot > marker-t.interval {
			return never, never
		}
	}
	return marker, seen
}

// stored is the target's last scrape after from and at or before at, as known at
// now, whatever is marked.
func (t *Town) stored(p *target, from, at, now int64) (int64, bool) {
	for i := len(p.presence) - 1; i >= 0; i-- {
		if slot, ok := t.slotWithin(p, i, min(at, now-took)); ok {
			return slot, slot > from
		}
	}
	return 0, false
}

// Sample is one that Prometheus stored.
type Sample struct {
	Labels []Label   // in the order of their names
	At     time.Time // the time it carries
	Seen   time.Time // since when it can be asked for
	Value  float64
	Stale  bool // it marks that the series ended
}

// Label is a name and its value.
type Label struct{ Name, Value string }

// Samples are all samples that can be seen after from and at or before to, in that
// order: what a real Prometheus would have stored. They are made scrape by scrape,
// in another way than queries are answered, so that each can prove the other.
func (t *Town) Samples(from, to time.Time) (out []Sample) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.targets {
		for _, s := range t.history(p, to.UnixMilli()) {
			if s.Seen.After(from) && !s.Seen.After(to) {
				out = append(out, s)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Sample) int { return a.Seen.Compare(b.Seen) })
	return out
}

// history is what was stored of a target, scrape by scrape.
func (t *Town) history(p *target, to int64) (out []Sample) {
	known := map[series]bool{} // by the scrape before
	put := func(s series, at, seen int64, value float64, stale bool) {
		out = append(out, Sample{Labels: s.labels(), At: time.UnixMilli(at), Seen: time.UnixMilli(seen), Value: value, Stale: stale})
	}
	for i, there := range p.presence {
		scraped := false
		for slot := t.slotFrom(p, there.from); slot+took <= to && there.has(slot); slot += t.interval {
			in := slices.IndexFunc(t.gaps, func(g gap) bool { return g.has(slot) })
			scraped = scraped || in < 0
			if !scraped || in >= 0 && !t.gaps[in].marked {
				continue
			}
			for s, value := range p.shown(slot) {
				there := in < 0 && value >= 0
				if there {
					put(s, slot, slot+took, value, false)
				} else if known[s] {
					put(s, slot, slot+took, 0, true)
				}
				known[s] = there
			}
		}
		marker, seen := t.ended(p, i)
		if !scraped || seen > to {
			continue
		}
		for s, there := range known {
			if there {
				put(s, marker, seen, 0, true)
			}
		}
		clear(known)
	}
	return out
}

// shown are the values of all series of the target at a time; -1 of those that its
// proxy doesn't show, as they counted nothing yet.
func (p *target) shown(at int64) map[series]float64 {
	out := map[series]float64{}
	for _, m := range p.meters {
		n := m.counts(at)
		for _, s := range m.allSeries() {
			fast, slow := n[goodFast], n[goodSlow]
			if s.bad {
				fast, slow = n[badFast], n[badSlow]
			}
			if out[s] = -1; fast+slow > 0 {
				out[s] = s.value(fast, slow)
			}
		}
	}
	return out
}

// labels are the series' labels in the order of their names.
func (s series) labels() []Label {
	out := []Label{{"__name__", s.get("__name__")}, {"response_code", s.get("response_code")}}
	if s.bound != all {
		out = append(out, Label{"le", s.get("le")})
	}
	out = append(out, s.meter.fixed...)
	slices.SortFunc(out, func(a, b Label) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
