package judge

import (
	"fmt"
	"math"
	"time"
)

// describe adds evidence, outlook and words to a verdict.
func (e *evidence) describe(v *Verdict, l *ledger) {
	v.RollbackAt, v.PromoteAt = logOf(e.enough), e.proof
	v.Against, v.For = e.odds()
	v.Open, v.Abandoned = e.proven.open, e.muchMore(&e.left)
	if e.proven.proven && e.proven.leg == e.leg+1 {
		v.Step, v.Weight = e.proven.at[0], e.proven.at[1]
	}
	v.Metrics = e.metrics()
	if v.Kind == Rollback || v.Kind == Starved || e.held(l) != "" || e.mute(l) {
		v.NoWorse = false
	}
	if v.Kind == Hold {
		v.More, v.MoreTime = e.outlook(v, l)
	}
	v.Sentence = e.sentence(v, l)
}

// mute tells that nothing is known of the canary's latency though somebody wrote
// a limit for it: then no time that passes makes up for it.
func (e *evidence) mute(l *ledger) bool {
	c := &l.total.canary
	return !e.settings.Limits.DefaultP99 && c.Requests > 0 && c.Latency.Total() == 0
}

func (e *evidence) metrics() []Metric {
	list := make([]Metric, 0, 6+len(e.custom))
	list = append(list, e.errors.tell(e.phis[0]), e.errorsVs.tell(e.phis[0]),
		e.latency.tell(e.phis[1]), e.latencyVs.tell(e.phis[1]))
	for i := range e.custom {
		list = append(list, e.custom[i].tell(1))
	}
	return append(list, e.refused.tell(e.phis[0]), e.left.tell(e.phis[0]))
}

func (m *metric) tell(phi float64) Metric {
	t := Metric{
		Name: m.name, Limit: m.limit, Canary: m.step.canary, Stable: m.step.stable,
		Against: logOf(m.against.release.wealth()), For: m.forth(), Judged: m.judged, Missing: m.missing,
	}
	t.Low, t.High = confidence(m.step.canary, phi)
	return t
}

func (v *versus) tell(phi float64) Metric {
	t := Metric{
		Name: v.name, Limit: v.test.rho, Canary: v.step.canary, Stable: v.step.stable,
		Against: logOf(v.odds()), Judged: v.judged,
	}
	t.Low, t.High = confidence(v.step.canary, phi)
	return t
}

// outlook is about how many more requests a promotion takes at the canary's
// present share of bad ones, and how long that is at its present rate. Where
// no number of requests would do, or nobody knows it, it is unknown (0).
func (e *evidence) outlook(v *Verdict, l *ledger) (int64, time.Duration) {
	var requests float64
	var longest time.Duration
	if l.total.canary.Requests == 0 {
		requests = 1
	}
	for i := range e.limits() {
		m := e.limitAt(i)
		if m.forth() >= e.proof {
			continue
		}
		n := m.good.more(m.passing, m.all.share(), e.proof)
		if m.raised || math.IsInf(n, 1) || i == 1 && e.unresolved(l) {
			return 0, 0 // raised: it depends on stable
		}
		if i < 2 && !m.good.strict {
			requests = max(requests, n)
			longest = max(longest, timeFor(n, v.Canary.Rate))
			continue
		}
		if m.step.canary.N == 0 && i >= 2 {
			return 0, 0
		}
		longest = max(longest, e.blocksFor(n, m, l))
	}
	if needed := longest.Seconds() * v.Canary.Rate; needed > requests {
		requests = needed
	}
	return int64(math.Ceil(min(requests, 1e15))), longest
}

// blocksFor is how long n more trials of a metric take that doesn't count requests.
func (e *evidence) blocksFor(n float64, m *metric, l *ledger) time.Duration {
	if m.good.strict {
		return timeFor(n, 1/l.width.Seconds())
	}
	return timeFor(n, float64(m.step.canary.N)/l.covered.Seconds())
}

// sentence says a verdict in words, with the numbers it rests on.
func (e *evidence) sentence(v *Verdict, l *ledger) string {
	c, st := &l.total.canary, &l.total.stable
	switch v.Kind {
	case Rollback:
		return e.broken()
	case Starved:
		return fmt.Sprintf("the canary answered %s where its share of %d%% makes about %.0f: requests hang",
			requests(e.starving.canary), l.weight, e.starving.expected)
	case SharedIncident:
		return e.incident()
	case Promote:
		return fmt.Sprintf("%s of %s failed, %s took longer than %s%s: evidence %s that %s, %s suffices",
			percent(c.failed()), requests(c.Requests, "canary "), slowRange(c, e.settings), Duration(e.settings.Limits.P99),
			besideStable(st)+e.uncounted(), oddsOf(v.For), e.keeps(), oddsOf(v.PromoteAt))
	}
	return e.holding(v, l)
}

// broken says what the breach rests on.
func (e *evidence) broken() string {
	p := &e.proven
	c, st := p.seen.canary, p.seen.stable
	odds := fmt.Sprintf("evidence %s, %s suffices", oddsOf(p.against), oddsOf(logOf(e.enough)))
	beside := ""
	if st.N > 0 {
		beside = fmt.Sprintf(" (stable %s of %d)", percent(st), st.N)
	}
	limit := Duration(e.settings.Limits.P99)
	switch p.reason {
	case ReasonErrorRatio:
		return fmt.Sprintf("%s failed (%s), more than %s times stable's share: %s%s", ofLast(c), percent(c), number(p.limit), odds, beside)
	case ReasonLatency:
		return fmt.Sprintf("%s surely took longer than %s (%s), above %s: %s%s", ofLast(c), limit, percent(c), e.allowed(&e.latency), odds, beside)
	case ReasonSlower:
		return fmt.Sprintf("%s took longer than %s (%s), %s: %s%s", ofLast(c), bound(p.bound), percent(c), e.slower(p), odds, beside)
	case ReasonCustom:
		custom := e.settings.Custom[p.custom]
		return fmt.Sprintf("the canary's %s was %s, and the limit is %s: %s (stable %s)", p.name, custom.seen(c), custom.limit(custom.Bound), odds, custom.seen(st))
	}
	return fmt.Sprintf("%s failed (%s), above %s: %s%s", ofLast(c), percent(c), e.allowed(&e.errors), odds, beside)
}

// slower says what makes requests slow beside stable's.
func (e *evidence) slower(p *breach) string {
	if ratio := e.settings.Limits.P99Ratio; ratio > 0 {
		return fmt.Sprintf("which 1%% may, as it lies beyond %s times stable's 99th percentile", number(ratio))
	}
	return fmt.Sprintf("more than %s times stable's share", number(p.limit))
}

// allowed names a limit.
func (e *evidence) allowed(m *metric) string {
	if m.raised {
		return share(m.limit) + ", which stable keeps though not the default"
	}
	if m == &e.latency {
		return share(m.limit)
	}
	return "the limit of " + share(m.limit)
}

// ofAll writes a tally: 12 of 230 canary requests.
// ofLast says how many of the requests since the evidence began were bad.
func ofLast(x Tally) string {
	return fmt.Sprintf("%d of the last %s", x.Hits, requests(x.N, "canary "))
}

// incident says which limit both versions break.
func (e *evidence) incident() string {
	top, custom := &e.errors, -1
	for i := range e.limits() {
		if m := e.limitAt(i); m.odds() > top.odds() {
			top, custom = m, i-2
		}
	}
	const so = "so it is not the canary alone"
	w := top.window.now
	if custom >= 0 {
		c := e.settings.Custom[custom]
		return fmt.Sprintf("of both versions %s is not %s: the canary's was %s, stable's %s, %s", c.Name, c.limit(c.Bound), c.seen(w.canary), c.seen(w.stable), so)
	}
	did := "failed"
	if top == &e.latency {
		did = "took longer than " + Duration(e.settings.Limits.P99)
	}
	return fmt.Sprintf("both versions are over the limit of %s: %s of %s and %s of %s %s, %s",
		share(top.limit), percent(w.canary), requests(w.canary.N, "canary "), percent(w.stable), requests(w.stable.N, "stable "), did, so)
}

func (e *evidence) holding(v *Verdict, l *ledger) string {
	c, st := &l.total.canary, &l.total.stable
	switch v.Reason {
	case ReasonErrorRatio:
		return worse(&e.errorsVs, &e.errors, "failed")
	case ReasonSlower:
		return worse(&e.latencyVs, &e.latency, "took longer than "+Duration(e.settings.Limits.P99))
	case ReasonClientErrors:
		if e.muchMore(&e.refused) {
			return fmt.Sprintf("%s of %s were refused with 4xx, much more than stable's %s",
				percent(c.refused()), requests(c.Requests, "canary "), besides(&e.refused))
		}
		return fmt.Sprintf("%s of the canary's clients left before the answer (%d), much more than stable's %s",
			percent(c.left()), c.Disconnects, besides(&e.left))
	case ReasonDrifting:
		return e.drifting(l)
	case ReasonSuspicious:
		if e.due {
			return fmt.Sprintf("the evidence against the canary suffices, %s: stable's numbers of the same time are awaited, in case it is not the canary alone", oddsOf(v.Against))
		}
		if e.thin {
			return fmt.Sprintf("the evidence against the canary suffices, %s, but rests on fewer than %d bad requests, which may have one cause", oddsOf(v.Against), leastBad)
		}
		if i := e.lately(); i >= 0 && e.ofStep() < stepOdds {
			return e.begun(i)
		}
		return fmt.Sprintf("%s of %s failed and %s surely took longer than %s: evidence %s against the canary at this step, too much to promote it, %s suffices to roll it back",
			percent(c.failed()), requests(c.Requests, "canary "), percent(c.surelySlow(e.settings.Limits)), Duration(e.settings.Limits.P99),
			oddsOf(logOf(e.ofStep())), oddsOf(v.RollbackAt))
	case ReasonNoData:
		for i := range e.custom {
			if m := &e.custom[i]; m.missing != "" {
				return fmt.Sprintf("no data of %s: %s", m.name, m.missing)
			}
		}
	case ReasonUnresolved:
		return e.unknown(c, st)
	}
	return e.few(v, c)
}

// besides says what a comparison's canary is held against: 0.1% of 1900.
func besides(v *versus) string {
	x, when := v.beside(), ""
	if x != v.step.stable {
		when = " before the release"
	}
	return fmt.Sprintf("%s of %d%s", percent(x), x.N, when)
}

func worse(v *versus, m *metric, did string) string {
	within := "within the limit"
	if v.since.canary.above(m.limit, 0) {
		within = "not surely over the limit"
	}
	return fmt.Sprintf("%s of %s %s, %s but more than %s times stable's %s of %d: evidence %s",
		percent(v.since.canary), requests(v.since.canary.N, "canary "), did, within, number(v.test.rho),
		percent(v.since.stable), v.since.stable.N, oddsOf(logOf(v.odds())))
}

// begun says which limit the canary has begun to exceed.
func (e *evidence) begun(i int) string {
	m := e.limitAt(i)
	c := m.heat.seen
	const until = "not promoted until it is clear whether that goes on"
	switch i {
	case 0:
		return fmt.Sprintf("%s failed (%s), above %s: %s", ofLast(c), percent(c), e.allowed(m), until)
	case 1:
		return fmt.Sprintf("%s surely took longer than %s (%s), above %s: %s", ofLast(c), Duration(e.settings.Limits.P99), percent(c), e.allowed(m), until)
	}
	custom := e.settings.Custom[i-2]
	return fmt.Sprintf("of late the canary's %s was %s, and the limit is %s: %s", m.name, custom.seen(c), custom.limit(custom.Bound), until)
}

func (e *evidence) drifting(l *ledger) string {
	w, i, _ := e.warning(l)
	what := "errors grow"
	if i > 0 {
		limit := e.settings.Limits.P99
		if i == 2 {
			low, _ := l.total.canary.Latency.Around(limit / 2)
			limit = time.Duration(low * float64(time.Millisecond))
		}
		what = "requests slower than " + Duration(limit) + " grow more"
	}
	when := "at the step's start"
	if w.over < l.covered {
		when = roughly(w.over) + " ago"
	}
	return fmt.Sprintf("%s: %s %s, %s now; at this pace above %s in about %s",
		what, share(w.first), when, share(w.last), share(w.limit), roughly(w.breach))
}

func (e *evidence) unknown(c, st *Counts) string {
	limits := e.settings.Limits
	if c.Latency.Total() == 0 {
		return fmt.Sprintf("the canary's latency is unknown: no histogram came with its %s", requests(c.Requests))
	}
	low, high := c.Latency.Around(limits.P99)
	return fmt.Sprintf("the histogram can't tell whether P99 is within %s: its bounds are %s and %s, and %s of the canary's requests lie above the first (stable %s); a bucket at %s in the annotation sidecar.istio.io/statsHistogramBuckets of both versions' pods would tell",
		Duration(limits.P99), bound(low), bound(high), percent(c.possiblySlow(limits)), percent(st.possiblySlow(limits)), number(milliseconds(limits.P99)))
}

// kept names what there is the least evidence for.
func (e *evidence) kept(least float64) string {
	for i := range e.custom {
		if c := e.settings.Custom[i]; e.custom[i].forth() == least && e.errors.forth() > least {
			return c.Name + " is " + c.limit(c.Bound)
		}
	}
	return e.keeps()
}

// keeps says what a promotion shows: where stable itself breaks a limit, only
// that the canary is no worse.
func (e *evidence) keeps() string {
	switch {
	case e.errors.raised:
		return "it fails no more than stable"
	case e.latency.raised:
		return "it is no slower than stable"
	}
	return "it keeps the limits"
}

// uncounted tells that the numbers of a step hold what is no evidence.
func (e *evidence) uncounted() string {
	if e.voided {
		return ", and what failed while stable did, too, is not counted"
	}
	return ""
}

// few says what a promotion still takes.
func (e *evidence) few(v *Verdict, c *Counts) string {
	if c.Requests == 0 && v.For >= v.PromoteAt {
		return fmt.Sprintf("no canary request at this step yet; evidence of the steps before is %s that %s", oddsOf(v.For), e.keeps())
	}
	took := fmt.Sprintf("%s took longer than %s", slowRange(c, e.settings), Duration(e.settings.Limits.P99))
	if c.Requests > 0 && c.Latency.Total() == 0 {
		took = "no histogram came with them"
	}
	so := fmt.Sprintf("%s so far, %d failed, %s%s", requests(c.Requests, "canary "), c.Errors, took, e.uncounted())
	odds := fmt.Sprintf("evidence %s that %s, %s suffices", oddsOf(v.For), e.kept(v.For), oddsOf(v.PromoteAt))
	switch {
	case v.More == 0:
		return so + ": " + odds
	case v.MoreTime == 0:
		return fmt.Sprintf("%s: %s; %s at this share", so, odds, about(v.More))
	}
	return fmt.Sprintf("%s: %s; %s, about %s at this rate", so, odds, about(v.More), roughly(v.MoreTime))
}
