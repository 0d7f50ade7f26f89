package judge

import "time"

const (
	// slowShare is what P99 means: at most this share may be slower.
	slowShare = 0.01
	// leastRatioErrors keeps one or two unlucky requests from making a ratio.
	leastRatioErrors = 3
	// sharedFactor bounds how much worse than stable a canary may be for a
	// breach of both to be one incident and not the canary's own.
	sharedFactor = 2.0
	// recentBlocks is over how many blocks rates are shown.
	recentBlocks = 10
	// starvedBlocks and starvedRequests are the least a finding of starvation rests on.
	starvedBlocks   = 5
	starvedRequests = 10
)

// Evidence is what is known of one step of a rollout: a fold over its blocks.
// The zero value knows nothing. It is a value: fold leaves its argument as it is.
type Evidence struct {
	begun        bool
	step, weight int
	end          time.Time // of the newest block folded, usable or not
	at           time.Time // end of the newest accepted block, also of a step before
	width        time.Duration
	missing      string // why the newest block was no data; empty if it was accepted

	covered time.Duration
	quiet   int
	total   tracks // of the step
	recent  [recentBlocks]recent
	seen    int // accepted blocks of the step

	check  tracks  // the check under way
	last   outcome // of the check that ended last
	ended  tracks  // that check, if it passed
	passed int     // checks passed at this step
	run    overRun // checks over a limit in a row
	shared bool    // the last full run of them was stable's trouble too
	proven overRun // the run that broke a limit; it stays, whatever comes after
	starve starvation

	kind  Kind // what the accepted blocks say, and since when without a break
	since time.Time
}

// tracks are sums of both tracks over the same blocks.
type tracks struct{ stable, canary Counts }

// recent is what rates are made of.
type recent struct {
	stable, canary int64
	width          time.Duration
}

// overRun sums the checks in a row that were over a limit.
type overRun struct {
	checks    int
	sum       tracks
	each, any broken // limits broken by every check, and by one of them at least
}

// broken is the set of limits that are broken.
type broken struct{ errors, ratio, latency bool }

func (b broken) some() bool { return b.errors || b.ratio || b.latency }

// outcome is how a check ended.
type outcome int

const (
	open       outcome = iota // not ended
	passed                    // within every limit
	over                      // over a limit
	unresolved                // the histogram's bounds can't tell
)

// fold adds a block to the evidence. Blocks come in the order of time; one that
// begins before the end of a block already folded changes nothing, so that
// folding twice is harmless. Another step or another weight begins anew. A
// block that is missing, or in which the canary's proxies didn't report, is no
// data: nothing is added, and nothing that was proven is taken away.
func fold(e Evidence, b Block, s Settings) Evidence {
	if b.Start.Before(e.end) {
		return e
	}
	if !e.begun || b.Step != e.step || b.Weight != e.weight {
		e = Evidence{begun: true, step: b.Step, weight: b.Weight, at: e.at}
	}
	e.end, e.width = b.End(), b.Width
	if e.missing = unusable(b); e.missing != "" {
		return e
	}
	e = e.accept(b).closeCheck(s)
	e.starve = e.starve.fold(b, s)
	if kind, _ := e.ruling(s); kind != e.kind {
		e.kind, e.since = kind, b.End()
	}
	return e
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

func (e Evidence) accept(b Block) Evidence {
	e.at = b.End()
	e.covered += b.Width
	e.recent[e.seen%recentBlocks] = recent{b.Stable.Requests, b.Canary.Requests, b.Width}
	e.seen++
	e.quiet++
	if b.Canary.Requests > 0 {
		e.quiet = 0
	}
	in := tracks{b.Stable.Counts, b.Canary.Counts}
	e.total, e.check = e.total.add(in), e.check.add(in)
	return e
}

// closeCheck ends the check under way if it is decided, and says what follows.
func (e Evidence) closeCheck(s Settings) Evidence {
	what, which := e.judge(s)
	if what == open {
		return e
	}
	ended := e.check
	e.check, e.last = tracks{}, what
	if what != over {
		if what == passed {
			e.passed, e.ended = e.passed+1, ended
		}
		e.run, e.shared = overRun{}, false
		return e
	}
	e.run = e.run.add(ended, which)
	if e.run.checks < s.Threshold.Checks {
		return e
	}
	if e.run.isShared(s) {
		// The next run is judged by itself, so that stable's recovery shows.
		e.shared, e.run = true, overRun{}
		return e
	}
	if e.proven.checks == 0 {
		e.proven = e.run
	}
	return e
}

// judge says how the check under way stands. It ends early as soon as it can't
// end well: waiting would only serve more bad answers.
func (e Evidence) judge(s Settings) (outcome, broken) {
	c, need := e.check.canary, s.Threshold.Requests
	full := c.Requests > 0 && c.Requests >= need
	which := broken{
		errors:  c.failed().above(s.Limits.ErrorRate, need),
		latency: c.surelySlow(s.Limits).above(slowShare, need),
		ratio:   full && e.check.ratioBroken(s),
	}
	switch {
	case which.some():
		return over, which
	case !full:
		return open, which
	case !e.total.resolved(s):
		return unresolved, which
	}
	return passed, which
}

// ratioBroken compares with stable in the same blocks. It needs as many of
// stable's requests as make a check, and a share that is not negligible.
func (t tracks) ratioBroken(s Settings) bool {
	c, st := t.canary.failed(), t.stable.failed()
	return s.Limits.ErrorRatio > 0 && st.n >= s.Threshold.Requests && st.n > 0 &&
		c.hits >= leastRatioErrors &&
		c.share() > s.Limits.ErrorRate/2 &&
		c.share() > s.Limits.ErrorRatio*st.share()
}

// resolved tells that the step's latency is known to be good: at most 1% are
// possibly too slow or, where the limit lies between two bounds, no more than
// of stable's requests. Whoever sent no histogram at all isn't known to be good.
func (t tracks) resolved(s Settings) bool {
	if t.canary.Latency.Total() == 0 {
		return false
	}
	if !t.canary.possiblySlow(s.Limits).above(slowShare, 0) {
		return true
	}
	return t.comparable(s) && !t.slowerThanStable(s.Limits)
}

func (t tracks) comparable(s Settings) bool {
	n := t.stable.Latency.Total()
	return n > 0 && n >= s.Threshold.Requests
}

func (t tracks) slowerThanStable(l Limits) bool {
	c, st := onSharedBounds(t.canary.Latency, t.stable.Latency)
	slow, _ := c.Slow(l.P99)
	stable, _ := st.Slow(l.P99)
	return tally{slow, c.Total()}.clearlyWorse(tally{stable, st.Total()}, 2)
}

func (r overRun) add(t tracks, which broken) overRun {
	if r.checks == 0 {
		r.each = which
	}
	r.checks++
	r.sum = r.sum.add(t)
	r.each = broken{r.each.errors && which.errors, r.each.ratio && which.ratio, r.each.latency && which.latency}
	r.any = broken{r.any.errors || which.errors, r.any.ratio || which.ratio, r.any.latency || which.latency}
	return r
}

// isShared tells that stable, with requests enough, broke every limit the
// canary broke, and about as badly.
func (r overRun) isShared(s Settings) bool {
	need, c, st := s.Threshold.Requests, r.sum.canary, r.sum.stable
	same := func(c, st tally, limit float64) bool {
		return st.n > 0 && st.n >= need && st.above(limit, 0) && c.share() <= sharedFactor*st.share()
	}
	if r.any.errors && !same(c.failed(), st.failed(), s.Limits.ErrorRate) {
		return false
	}
	if r.any.latency && !same(c.surelySlow(s.Limits), st.surelySlow(s.Limits), slowShare) {
		return false
	}
	return r.any.errors || r.any.latency // a ratio alone is worse than stable by definition
}

// starvation compares the canary's answers with its share of the traffic.
type starvation struct {
	blocks         int
	stable, canary int64
	found          bool  // as of the last window that could tell
	got, expected  int64 // in that window
}

// fold adds a block to the window under way, and ends the window when it can
// tell: at least five blocks, and enough requests due to the canary.
func (w starvation) fold(b Block, s Settings) starvation {
	if b.Weight <= 0 || b.Weight >= 100 {
		return w
	}
	w.blocks++
	w.stable += b.Stable.Requests
	w.canary += b.Canary.Requests
	expected := w.stable * int64(b.Weight) / int64(100-b.Weight)
	if w.blocks < starvedBlocks || expected < max(s.Threshold.Requests/4, starvedRequests) {
		return w
	}
	found := tally{w.canary, w.canary + w.stable}.tooFew(float64(b.Weight) / 100)
	if !found && w.canary < expected/2 {
		return w // few, but it may be chance: look longer
	}
	return starvation{found: found, got: w.canary, expected: expected}
}

func (t tracks) add(o tracks) tracks {
	return tracks{t.stable.add(o.stable), t.canary.add(o.canary)}
}

func (c Counts) add(o Counts) Counts {
	return Counts{
		Requests:     c.Requests + o.Requests,
		Errors:       c.Errors + o.Errors,
		ClientErrors: c.ClientErrors + o.ClientErrors,
		Disconnects:  c.Disconnects + o.Disconnects,
		Latency:      c.Latency.Add(o.Latency),
	}
}

func (c Counts) failed() tally  { return tally{c.Errors, c.Requests} }
func (c Counts) refused() tally { return tally{c.ClientErrors, c.Requests} }

func (c Counts) surelySlow(l Limits) tally {
	_, slow := c.Latency.Slow(l.P99)
	return tally{slow, c.Latency.Total()}
}

func (c Counts) possiblySlow(l Limits) tally {
	slow, _ := c.Latency.Slow(l.P99)
	return tally{slow, c.Latency.Total()}
}
