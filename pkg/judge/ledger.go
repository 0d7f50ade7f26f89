package judge

import "time"

// recentBlocks is over how many blocks rates are shown.
const recentBlocks = 10

// ledger says which blocks were accepted at the present step, what they sum up
// to, and how long they cover. Every way to judge stands on it. The zero value
// knows nothing.
type ledger struct {
	begun        bool
	step, weight int
	mirror       int
	sticky       bool
	end          time.Time // of the newest block folded, usable or not
	at           time.Time // end of the newest accepted block, also of a step before
	width        time.Duration
	missing      string // why the newest block was no data; empty if it was accepted

	covered  time.Duration
	quiet    int    // accepted blocks in a row, up to the newest, without an answer of the canary
	still    int    // likewise, of stable
	answered bool   // the canary answered a request at this step or before
	total    tracks // of the step
	recent   [recentBlocks]recent
	seen     int // accepted blocks of the step

	kind  Kind // what the accepted blocks say, and since when without a break
	since time.Time
}

// recent is what rates are made of.
type recent struct {
	stable, canary int64
	width          time.Duration
}

// another tells that the block belongs to another step or weight.
func (l *ledger) another(b Block) bool {
	return !l.begun || b.Step != l.step || b.Weight != l.weight || b.Mirror != l.mirror
}

// begin begins the bake anew.
func (l *ledger) begin(b Block) {
	total := l.total
	total.reset()
	kind, since := Kind(""), time.Time{}
	if l.kind == Rollback && l.since.After(b.Start) { // what the open look proved of this step
		kind, since = l.kind, l.since
	}
	*l = ledger{begun: true, step: b.Step, weight: b.Weight, mirror: b.Mirror, sticky: l.sticky, end: l.end, at: l.at, answered: l.answered, total: total, kind: kind, since: since}
}

// fold enters the block, and tells whether it was accepted.
func (l *ledger) fold(b Block) bool {
	l.end, l.width = b.End(), b.Width
	if l.missing = unusable(b); l.missing != "" {
		return false
	}
	l.at = b.End()
	l.covered += b.Width
	l.recent[l.seen%recentBlocks] = recent{b.Stable.Requests, b.Canary.Requests, b.Width}
	l.seen++
	l.quiet++
	if b.Canary.Requests > 0 {
		l.quiet, l.answered = 0, true
	}
	l.still++
	if b.Stable.Requests > 0 {
		l.still = 0
	}
	l.total.add(tracks{b.Stable.Counts, b.Canary.Counts})
	return true
}

func unusable(b Block) string {
	switch {
	case b.Missing != "":
		return b.Missing
	case !b.Canary.Live:
		return "the canary's proxies did not report"
	}
	return ""
}

// note keeps since when the accepted blocks say the same.
func (l *ledger) note(kind Kind, _ Reason) {
	if kind != l.kind {
		l.kind, l.since = kind, l.at
	}
}

// peeked notes a breach that the open look proved.
func (l *ledger) peeked(b Block) {
	if l.kind != Rollback {
		l.kind, l.since = Rollback, b.End()
	}
}

// staleAfter is how long after the end of the last accepted block its evidence
// is still current.
func staleAfter(width time.Duration) time.Duration { return 4*width + 5*time.Second }

// current tells that it is known how the canary does.
func (l *ledger) current(now time.Time) bool {
	return l.missing == "" && l.covered > 0 && now.Sub(l.at) <= staleAfter(l.width)
}

// noData says why nobody knows how the canary does.
func (l *ledger) noData(now time.Time) string {
	switch {
	case l.current(now):
		return ""
	case l.missing != "":
		return "no data: " + l.missing
	case l.covered == 0:
		return "no data: no block of this step is closed yet"
	}
	return "no data since " + l.at.UTC().Format(time.RFC3339)
}

// noWorse compares the step's estimates with stable's or, where stable has no
// traffic, with the limits. Beside a stable with little traffic a canary may be
// clearly over a limit and yet not clearly worse: that is worse than stable
// unless stable is over the limit as well. A canary that answers nothing though
// requests are due is no better. traffic tells that the service had some before
// the release.
func (l *ledger) noWorse(limits Limits, traffic bool) bool {
	c, st := &l.total.canary, &l.total.stable
	if c.Requests == 0 && l.due(traffic || l.answered) {
		return false
	}
	if st.Requests == 0 {
		return !c.failed().above(limits.ErrorRate, 0) && !c.surelySlow(limits).above(slowShare, 0)
	}
	alone := func(c, st Tally, limit float64) bool {
		return c.clearlyAbove(limit, 2) && !st.above(limit, 0)
	}
	return !c.failed().clearlyWorse(st.failed(), 2) && !l.total.possiblySlowerThanStable(limits) &&
		!alone(c.failed(), st.failed(), limits.ErrorRate) && !alone(c.surelySlow(limits), st.surelySlow(limits), slowShare)
}

// dueRequests is how many requests are due to a canary that got none only by
// chance once in fifty times.
const dueRequests = 4

// due tells that some requests should have come to the canary. With all the
// traffic, whatever the service gets should have; of users who stay on a version
// nobody knows how many came to it.
func (l *ledger) due(traffic bool) bool {
	switch {
	case l.weight >= 100:
		return traffic
	case l.mirror > 0:
		return l.total.stable.Requests*int64(l.mirror) >= dueRequests*100
	case l.sticky:
		return false
	}
	return l.total.stable.Requests*int64(l.weight) >= dueRequests*int64(100-l.weight)
}

func (l *ledger) measure(c *Counts, requests func(recent) int64) Measure {
	m := Measure{Counts: *c, P99: c.Latency.Quantile(1 - slowShare)}
	m.Latency = append(Histogram(nil), c.Latency...)
	m.Rate = l.rate(requests)
	return m
}

// rate is per second, over the last blocks.
func (l *ledger) rate(requests func(recent) int64) float64 {
	var n int64
	var width time.Duration
	for _, r := range l.recent {
		n, width = n+requests(r), width+r.width
	}
	if width <= 0 {
		return 0
	}
	return float64(n) / width.Seconds()
}

// idle tells that stable answered nothing in the last blocks of the step.
func (l *ledger) idle() bool {
	for _, r := range l.recent {
		if r.stable > 0 {
			return false
		}
	}
	return true
}

// tracks are sums of both tracks over the same blocks. add and set reuse the
// histograms' memory, so a copy of a tracks shares it.
type tracks struct{ stable, canary Counts }

func (t *tracks) add(o tracks) {
	t.stable.add(&o.stable)
	t.canary.add(&o.canary)
}

func (t *tracks) reset() {
	t.stable = Counts{Latency: t.stable.Latency[:0]}
	t.canary = Counts{Latency: t.canary.Latency[:0]}
}

func (t *tracks) set(o tracks) {
	t.reset()
	t.add(o)
}

func (c *Counts) add(o *Counts) {
	c.Requests += o.Requests
	c.Errors += o.Errors
	c.ClientErrors += o.ClientErrors
	c.Disconnects += o.Disconnects
	c.Latency.gather(o.Latency)
}

func (c *Counts) failed() Tally  { return Tally{c.Errors, c.Requests} }
func (c *Counts) refused() Tally { return Tally{c.ClientErrors, c.Requests} }
func (c *Counts) left() Tally    { return Tally{c.Disconnects, c.Requests + c.Disconnects} }

func (c *Counts) surelySlow(l Limits) Tally {
	_, slow := c.Latency.Slow(l.P99)
	return Tally{slow, c.Latency.Total()}
}

func (c *Counts) possiblySlow(l Limits) Tally {
	slow, _ := c.Latency.Slow(l.P99)
	return Tally{slow, c.Latency.Total()}
}

// possiblySlowerThanStable compares the possibly slow requests, on the bounds
// both tracks have.
func (t *tracks) possiblySlowerThanStable(l Limits) bool {
	c, st := possiblySlowOfBoth(t.canary.Latency, t.stable.Latency, l.P99)
	return c.clearlyWorse(st, 2)
}
