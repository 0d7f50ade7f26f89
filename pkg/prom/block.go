package prom

import (
	"fmt"
	"time"

	"serin.dev/serin/pkg/judge"
)

// block is what both tracks did between borders i-1 and i.
func (v *view) block(a Ask, i int) judge.Block {
	b := judge.Block{Start: v.grid.border(i - 1), Width: v.grid.width, Step: a.Step, Weight: a.Weight, Mirror: a.Mirror}
	around := between{i - 1, i}
	r := v.reporter(a, around)
	s := v.sides[r]
	stable, canary := s.requests.change(a.stable(), around), s.requests.change(a.canary(), around)
	live, why := v.live(a, r, canary, around)
	if b.Missing = v.unusable(a, r, stable, canary, around); b.Missing == "" {
		b.Missing = why
	}
	if b.Missing != "" {
		return b
	}
	nowhere := v.charge(a, around)
	b.Stable = v.sample(a.stable(), r, stable, around, nowhere.stable)
	b.Stable.Live = len(s.samples.sampled(a.stable(), i)) > 0
	b.Canary = v.sample(a.canary(), r, canary, around, nowhere.canary)
	b.Canary.Live = live
	b.Stable.Seen, b.Canary.Seen = v.seen(a, r, i, v.lost(a, around))
	if !stable.steady {
		b.Stable.Seen = time.Time{} // what the proxy that went did last is not known
	}
	return b
}

// sample sums a version's increments, with the failures that only the clients'
// side saw where the servers' side counts, and those that nobody answered.
func (v *view) sample(t track, r Reporter, c change, b between, nowhere int64) judge.Sample {
	s := judge.Sample{Counts: count(c)}
	if r == Destination {
		lost := count(v.flags.change(t, b))
		s.Requests += lost.Requests
		s.Errors += lost.Errors
	}
	s.Requests += nowhere
	s.Errors += nowhere
	if c.steady {
		s.Latency = histogram(v.sides[r].latency[t], b)
	}
	return s
}

// charged are failures without a workload, as charged to the tracks.
type charged struct{ stable, canary int64 }

// charge splits failures for which no host was chosen, so that nobody knows
// whose they are, as the route splits requests. The canary's part is the change
// of floor(counter x weight / 100): rounding neither drifts nor depends on how
// time is cut into blocks.
//
// It may blame the wrong one: if only the canary has no host, stable is charged
// with most of what the canary did, and the other way round. Yet such an error
// stays on the safe side. Both get the same number per request sent to them, so
// that alone it makes neither look worse than the other; a canary without hosts
// has no good answers beside its part and still fails all it is known for; and
// a stable without hosts breaks the limit far more than the canary does, which
// is an incident of both and not the canary's.
func (v *view) charge(a Ask, b between) charged {
	c := v.unknown.change(a.service(), b)
	all := count(c).Errors
	w := int64(a.Weight)
	canary := c.total*w/100 - (c.total-all)*w/100
	return charged{stable: all - canary, canary: canary}
}

func count(c change) (n judge.Counts) {
	for what, more := range c.counts {
		switch {
		case what.left():
			n.Disconnects += more
			continue
		case what.failed():
			n.Errors += more
		case what.refused():
			n.ClientErrors += more
		}
		n.Requests += more
	}
	return n
}

// unusable says why the block's counters can't be trusted; empty if they can.
func (v *view) unusable(a Ask, r Reporter, stable, canary change, b between) string {
	s := v.sides[r]
	for _, t := range []track{a.stable(), a.canary()} {
		if why := twice(s.samples.sampled(t, b.to)); why != "" {
			return why
		}
	}
	for _, c := range append(v.beside(a, r, b), stable, canary) {
		if c.problem != "" {
			return c.problem
		}
	}
	switch {
	case !stable.present && !canary.present:
		return fmt.Sprintf("no %s of %s or %s in namespace %s: no proxy of the mesh that serves or calls them is scraped, or none had a request yet",
			requestsMetric, a.StableWorkload, a.CanaryWorkload, a.Namespace)
	case !stable.was && !canary.was:
		return "the metrics begin here: what their counters held before is not of this block"
	}
	return ""
}

// beside are the changes that count beside those of the tracks' own counters.
func (v *view) beside(a Ask, r Reporter, b between) []change {
	beside := []change{v.unknown.change(a.service(), b)}
	if r == Destination {
		beside = append(beside, v.flags.change(a.stable(), b), v.flags.change(a.canary(), b))
	}
	return beside
}

// live tells whether the canary's count of requests is known, also when it is
// zero, or why it isn't. A proxy shows a counter only after its first request,
// so a canary without any is live if the clients' side is, and sees no answer.
func (v *view) live(a Ask, r Reporter, canary change, b between) (bool, string) {
	if canary.present && len(v.sides[r].samples.sampled(a.canary(), b.to)) > 0 {
		return true, ""
	}
	silent := fmt.Sprintf("no fresh sample from the proxies that report on %s", a.CanaryWorkload)
	if canary.present || canary.was {
		return false, silent
	}
	clients := v.sides[Source]
	if clients.requests.change(a.canary(), b).answered() > 0 {
		return false, fmt.Sprintf("the clients' proxies saw answers of %s and its own reported none: scrape the proxies of its pods", a.CanaryWorkload)
	}
	if len(clients.samples.sampled(a.stable(), b.to)) == 0 {
		return false, silent
	}
	return true, ""
}

// answered counts what the version's own proxies must have seen too.
func (c change) answered() (n int64) {
	for what, more := range c.counts {
		if !what.left() && !flagged.MatchString(what.flags) {
			n += more
		}
	}
	return n
}
