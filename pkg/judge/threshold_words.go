package judge

import "fmt"

// sentence says a verdict in words, with the numbers it rests on.
func (e *checks) sentence(v *Verdict, l *ledger) string {
	s, c, st := e.settings, &l.total.canary, &l.total.stable
	switch v.Kind {
	case Rollback:
		return e.proven.sentence(s)
	case Starved:
		return fmt.Sprintf("the canary answered %s where its share of %d%% makes %d: requests hang",
			requests(e.starve.got), l.weight, e.starve.expected)
	case SharedIncident:
		return fmt.Sprintf("both versions are over the limit: %s of the canary's and %s of stable's requests failed at this step, %s and %s took longer than %s",
			percent(c.failed()), percent(st.failed()), percent(c.surelySlow(s.Limits)), percent(st.surelySlow(s.Limits)), s.Limits.P99)
	case Promote:
		last := &e.ended.canary
		return fmt.Sprintf("last check within limits: %s of %s failed, %s took longer than %s (this step %s of %d%s)",
			percent(last.failed()), requests(last.Requests, "canary "), slowRange(last, s), s.Limits.P99,
			percent(c.failed()), c.Requests, besideStable(st))
	}
	return e.holding(v, l)
}

// besideStable is stable's part of a comparison; nothing where it has no traffic.
func besideStable(st *Counts) string {
	if st.Requests == 0 {
		return ""
	}
	return fmt.Sprintf(", stable %s of %d", percent(st.failed()), st.Requests)
}

func (e *checks) holding(v *Verdict, l *ledger) string {
	s, c, st := e.settings, &l.total.canary, &l.total.stable
	switch v.Reason {
	case ReasonSuspicious:
		return fmt.Sprintf("%s, in %d of the %d checks in a row that make a breach: %s decide the next", e.run.broken(s), e.run.checks, s.Threshold.Checks, about(v.More))
	case ReasonUnresolved:
		if c.Latency.Total() == 0 {
			return fmt.Sprintf("the canary's latency is unknown: no histogram came with its %s", requests(c.Requests))
		}
		low, high := c.Latency.Around(s.Limits.P99)
		return fmt.Sprintf("the histogram can't tell whether P99 is within %s: its bounds are %s and %s, and %s of the canary's requests lie above the first (stable %s)",
			s.Limits.P99, bound(low), bound(high), percent(c.possiblySlow(s.Limits)), percent(st.possiblySlow(s.Limits)))
	case ReasonClientErrors:
		return fmt.Sprintf("%s of %s were refused with 4xx, much more than stable's %s of %d",
			percent(c.refused()), requests(c.Requests, "canary "), percent(st.refused()), st.Requests)
	}
	return fmt.Sprintf("%s so far, %d failed: %s complete the first check", requests(c.Requests, "canary "), c.Errors, about(v.More))
}

// sentence of a breach: what was broken, how often, and how stable did.
func (r *overRun) sentence(s Settings) string {
	return fmt.Sprintf("%s, in %s in a row (%s)", r.broken(s), plural(int64(r.checks), "check", "checks"), r.besides(s))
}

// broken says which limit the run's checks broke. When they broke different
// ones, the sum may be within each, so both numbers are told.
func (r *overRun) broken(s Settings) string {
	c, st := &r.sum.canary, &r.sum.stable
	failed := fmt.Sprintf("%s of %s failed", percent(c.failed()), requests(c.Requests, "canary "))
	slow := fmt.Sprintf("%s of %s surely took longer than %s", percent(c.surelySlow(s.Limits)), requests(c.Latency.Total(), "canary "), s.Limits.P99)
	switch {
	case r.each.errors:
		return fmt.Sprintf("%s, above the limit of %s", failed, share(s.Limits.ErrorRate))
	case r.each.latency:
		return slow + ", above 1%"
	case r.each.ratio:
		return fmt.Sprintf("%s, more than %s times stable's %s", failed, number(s.Limits.ErrorRatio), percent(st.failed()))
	}
	return fmt.Sprintf("%s (limit %s) and %s (limit 1%%), one or the other too much", failed, share(s.Limits.ErrorRate), slow)
}

func (r *overRun) besides(s Settings) string {
	st := &r.sum.stable
	if r.each.latency && !r.each.errors {
		return fmt.Sprintf("stable %s of %d", percent(st.surelySlow(s.Limits)), st.Latency.Total())
	}
	return fmt.Sprintf("stable %s of %d", percent(st.failed()), st.Requests)
}

// slowRange is the share of slow requests, or both its ends if the bounds leave it open.
func slowRange(c *Counts, s Settings) string {
	surely, possibly := percent(c.surelySlow(s.Limits)), percent(c.possiblySlow(s.Limits))
	if surely == possibly {
		return surely
	}
	return "between " + surely + " and " + possibly
}
