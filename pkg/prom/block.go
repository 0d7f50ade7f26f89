package prom

import (
	"fmt"

	"serin.dev/serin/pkg/judge"
)

// block is what both tracks did between borders i-1 and i.
func (v *view) block(a Ask, i int) judge.Block {
	b := judge.Block{Start: v.grid.border(i - 1), Width: v.grid.width, Step: a.Step, Weight: a.Weight}
	r := v.reporter(a, i)
	s := v.sides[r]
	stable, canary := s.requests.change(a.stable(), i), s.requests.change(a.canary(), i)
	live, why := v.live(a, r, canary, i)
	if b.Missing = v.unusable(a, r, stable, canary, i); b.Missing == "" {
		b.Missing = why
	}
	if b.Missing != "" {
		return b
	}
	b.Stable = v.sample(a.stable(), r, stable, i)
	b.Stable.Live = len(s.samples.sampled(a.stable(), i)) > 0
	b.Canary = v.sample(a.canary(), r, canary, i)
	b.Canary.Live = live
	if a.Weight == 100 {
		lost := count(v.unknown.change(a.service(), i))
		b.Canary.Requests += lost.Requests
		b.Canary.Errors += lost.Errors
	}
	return b
}

// sample sums a version's increments, with the failures that only the clients'
// side saw where the servers' side counts.
func (v *view) sample(t track, r Reporter, c change, i int) judge.Sample {
	s := judge.Sample{Counts: count(c)}
	if r == Destination {
		lost := count(v.flags.change(t, i))
		s.Requests += lost.Requests
		s.Errors += lost.Errors
	}
	if c.steady {
		s.Latency = histogram(v.sides[r].latency[t], i)
	}
	return s
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
func (v *view) unusable(a Ask, r Reporter, stable, canary change, i int) string {
	s := v.sides[r]
	for _, t := range []track{a.stable(), a.canary()} {
		if why := twice(s.samples.sampled(t, i)); why != "" {
			return why
		}
	}
	also := []change{stable, canary, {}, {}, {}}
	if r == Destination {
		also[2], also[3] = v.flags.change(a.stable(), i), v.flags.change(a.canary(), i)
	}
	if a.Weight == 100 {
		also[4] = v.unknown.change(a.service(), i)
	}
	for _, c := range also {
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

// live tells whether the canary's count of requests is known, also when it is
// zero, or why it isn't. A proxy shows a counter only after its first request,
// so a canary without any is live if the clients' side is, and sees no answer.
func (v *view) live(a Ask, r Reporter, canary change, i int) (bool, string) {
	if canary.present && len(v.sides[r].samples.sampled(a.canary(), i)) > 0 {
		return true, ""
	}
	silent := fmt.Sprintf("no fresh sample from the proxies that report on %s", a.CanaryWorkload)
	if canary.present || canary.was {
		return false, silent
	}
	clients := v.sides[Source]
	if clients.requests.change(a.canary(), i).answered() > 0 {
		return false, fmt.Sprintf("the clients' proxies saw answers of %s and its own reported none: scrape the proxies of its pods", a.CanaryWorkload)
	}
	if len(clients.samples.sampled(a.stable(), i)) == 0 {
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
