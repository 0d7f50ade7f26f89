package judge

import "time"

// How much more often than stable's clients the canary's clients must be
// refused (4xx) before that is no accident: twice, and by a twentieth of all.
const (
	refusedFactor = 2.0
	refusedMargin = 0.05
)

// staleAfter is how long after the end of the last accepted block its evidence
// is still current.
func staleAfter(width time.Duration) time.Duration { return 4*width + 5*time.Second }

// evaluate gives the verdict on the evidence as of now. It may be asked at any
// time; only now decides whether the evidence is stale.
//
// A limit that was proven broken stays broken for the step, so that a replay
// over many blocks at once decides as the live judge did. After that, no data
// comes before everything else.
func evaluate(e Evidence, s Settings, now time.Time) Verdict {
	v := Verdict{
		Covered: e.covered, Quiet: e.quiet, Since: e.since, At: e.at,
		Step: e.step, Weight: e.weight,
		NoWorse: e.noWorse(s),
		Stable:  e.measure(e.total.stable, func(r recent) int64 { return r.stable }),
		Canary:  e.measure(e.total.canary, func(r recent) int64 { return r.canary }),
	}
	v.Kind, v.Reason = e.ruling(s)
	if why := e.noData(now); why != "" && v.Kind != Rollback {
		v.Kind, v.Reason, v.Sentence, v.Since = NoData, ReasonNoData, why, e.at
		return v
	}
	if v.Kind == Hold {
		v.More = max(s.Threshold.Requests-e.check.canary.Requests, 1)
	}
	v.Sentence = e.sentence(v, s)
	return v
}

// noData says why nobody knows how the canary does; empty if it is known.
func (e Evidence) noData(now time.Time) string {
	switch {
	case e.missing != "":
		return "no data: " + e.missing
	case e.covered == 0:
		return "no data: no block of this step is closed yet"
	case now.Sub(e.at) > staleAfter(e.width):
		return "no data since " + e.at.UTC().Format(time.RFC3339)
	}
	return ""
}

// ruling is what the accepted blocks say, whatever the time: a list read from
// top to bottom.
func (e Evidence) ruling(s Settings) (Kind, Reason) {
	switch {
	case e.proven.checks > 0:
		return Rollback, e.proven.reason()
	case e.starve.found:
		return Starved, ReasonStarved
	case e.shared:
		return SharedIncident, ReasonSharedIncident
	case e.run.checks > 0:
		return Hold, ReasonSuspicious
	case e.last == unresolved:
		return Hold, ReasonUnresolved
	case e.total.refusedMore(s):
		return Hold, ReasonClientErrors
	case e.passed == 0:
		return Hold, ReasonFewRequests
	}
	return Promote, ReasonGood
}

// reason names the limit that was broken throughout, else one that was broken.
func (r overRun) reason() Reason {
	for _, b := range []broken{r.each, r.any} {
		switch {
		case b.errors:
			return ReasonErrorRate
		case b.latency:
			return ReasonLatency
		case b.ratio:
			return ReasonErrorRatio
		}
	}
	return ReasonSuspicious
}

// refusedMore tells that the canary refuses requests (4xx) that stable answers.
// Clients cause them too, so this is no limit; but whoever answers 404 to
// everything must not be promoted.
func (t tracks) refusedMore(s Settings) bool {
	c, st := t.canary.refused(), t.stable.refused()
	return c.n >= s.Threshold.Requests && st.n >= s.Threshold.Requests &&
		c.share() > refusedFactor*st.share() &&
		c.share() > st.share()+refusedMargin &&
		c.clearlyWorse(st, 4)
}

// noWorse compares the step's estimates with stable's or, where stable has no
// traffic, with the limits.
func (e Evidence) noWorse(s Settings) bool {
	c, st := e.total.canary, e.total.stable
	if e.proven.checks > 0 || e.starve.found || e.total.refusedMore(s) {
		return false
	}
	if st.Requests == 0 {
		return !c.failed().above(s.Limits.ErrorRate, 0) && !c.surelySlow(s.Limits).above(slowShare, 0)
	}
	return !c.failed().clearlyWorse(st.failed(), 2) && !e.total.slowerThanStable(s.Limits)
}

func (e Evidence) measure(c Counts, requests func(recent) int64) Measure {
	m := Measure{Counts: c, P99: c.Latency.Quantile(1 - slowShare)}
	var n int64
	var width time.Duration
	for _, r := range e.recent {
		n, width = n+requests(r), width+r.width
	}
	if width > 0 {
		m.Rate = float64(n) / width.Seconds()
	}
	return m
}
