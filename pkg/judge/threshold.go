package judge

const (
	// slowShare is what P99 means: at most this share may be slower.
	slowShare = 0.01
	// leastRatioErrors keeps one or two unlucky requests from making a ratio.
	leastRatioErrors = 3
	// sharedFactor bounds how much worse than stable a canary may be for a
	// breach of both to be one incident and not the canary's own.
	sharedFactor = 2.0
	// starvedBlocks and starvedRequests are the least a finding of starvation rests on.
	starvedBlocks   = 5
	starvedRequests = 10
)

// checks is the classic mode: what is known of one step, in checks of so many
// requests each, of which several in a row over a limit make a breach.
type checks struct {
	settings Settings

	check  tracks  // the check under way
	last   outcome // of the check that ended last
	ended  tracks  // that check, if it passed
	passed int     // checks passed at this step
	run    overRun // checks over a limit in a row
	shared bool    // the last full run of them was stable's trouble too
	proven overRun // the run that broke a limit; it stays, whatever comes after
	starve thinning
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

func (e *checks) begin(Block) { *e = checks{settings: e.settings} }

func (e *checks) peek(Block, *ledger) bool { return false }

func (e *checks) would(Block, *ledger) bool { return false }

func (e *checks) odds() (against, forth float64) { return 0, 0 }

func (e *checks) accept(b Block, l *ledger) {
	e.check.add(tracks{b.Stable.Counts, b.Canary.Counts})
	e.closeCheck(l)
	if !e.settings.Sticky {
		e.starve = e.starve.fold(b, e.settings)
	}
}

// ruling is a list read from top to bottom.
func (e *checks) ruling(l *ledger) (Kind, Reason) {
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
	case e.refusedMore(&l.total):
		return Hold, ReasonClientErrors
	case e.passed == 0:
		return Hold, ReasonFewRequests
	}
	return Promote, ReasonGood
}

func (e *checks) describe(v *Verdict, l *ledger) {
	if e.proven.checks > 0 || e.starve.found || e.refusedMore(&l.total) {
		v.NoWorse = false
	}
	if v.Kind == Hold {
		v.More = max(e.settings.Threshold.Requests-e.check.canary.Requests, 1)
		v.MoreTime = timeFor(float64(v.More), v.Canary.Rate)
	}
	v.Sentence = e.sentence(v, l)
}

// closeCheck ends the check under way if it is decided, and says what follows.
func (e *checks) closeCheck(l *ledger) {
	what, which := e.judge(l)
	if what == open {
		return
	}
	e.last = what
	if what == over {
		e.overOnceMore(which)
	} else {
		if what == passed {
			e.passed++
			e.ended.set(e.check)
		}
		e.run.reset()
		e.shared = false
	}
	e.check.reset()
}

func (e *checks) overOnceMore(which broken) {
	e.run.add(e.check, which)
	switch {
	case e.run.checks < e.settings.Threshold.Checks:
	case e.run.isShared(e.settings):
		// The next run is judged by itself, so that stable's recovery shows.
		e.shared = true
		e.run.reset()
	case e.proven.checks == 0:
		e.proven = e.run
		e.proven.sum = tracks{}
		e.proven.sum.set(e.run.sum)
	}
}

// judge says how the check under way stands. It ends early as soon as it can't
// end well: waiting would only serve more bad answers.
func (e *checks) judge(l *ledger) (outcome, broken) {
	s := e.settings
	c, need := &e.check.canary, s.Threshold.Requests
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
	case !l.total.resolved(s):
		return unresolved, which
	}
	return passed, which
}

// refusedMore tells that the canary refuses requests (4xx) that stable answers.
// Clients cause them too, so this is no limit; but whoever answers 404 to
// everything must not be promoted.
func (e *checks) refusedMore(t *tracks) bool {
	c, st := t.canary.refused(), t.stable.refused()
	return c.N >= e.settings.Threshold.Requests && st.N >= e.settings.Threshold.Requests &&
		c.share() > refusedFactor*st.share() && c.muchAbove(st) && c.clearlyWorse(st, 4)
}

// ratioBroken compares with stable in the same blocks. It needs as many of
// stable's requests as make a check, and a share that is not negligible.
func (t *tracks) ratioBroken(s Settings) bool {
	c, st := t.canary.failed(), t.stable.failed()
	return s.Limits.ErrorRatio > 0 && st.N >= s.Threshold.Requests && st.N > 0 &&
		c.Hits >= leastRatioErrors &&
		c.share() > s.Limits.ErrorRate/2 &&
		c.share() > s.Limits.ErrorRatio*st.share()
}

// resolved tells that the step's latency is known to be good: at most 1% are
// possibly too slow or, where the limit lies between two bounds, no more than
// of stable's requests. Whoever sent no histogram at all isn't known to be good.
func (t *tracks) resolved(s Settings) bool {
	if t.canary.Latency.Total() == 0 {
		return false
	}
	if !t.canary.possiblySlow(s.Limits).above(slowShare, 0) {
		return true
	}
	n := t.stable.Latency.Total()
	return n > 0 && n >= s.Threshold.Requests && !t.possiblySlowerThanStable(s.Limits)
}

// reason names the limit that was broken throughout, else one that was broken.
func (r *overRun) reason() Reason {
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

func (r *overRun) reset() {
	r.sum.reset()
	*r = overRun{sum: r.sum}
}

func (r *overRun) add(t tracks, which broken) {
	if r.checks == 0 {
		r.each = which
	}
	r.checks++
	r.sum.add(t)
	r.each = broken{r.each.errors && which.errors, r.each.ratio && which.ratio, r.each.latency && which.latency}
	r.any = broken{r.any.errors || which.errors, r.any.ratio || which.ratio, r.any.latency || which.latency}
}

// isShared tells that stable, with requests enough, broke every limit the
// canary broke, and about as badly.
func (r *overRun) isShared(s Settings) bool {
	need, c, st := s.Threshold.Requests, &r.sum.canary, &r.sum.stable
	same := func(c, st Tally, limit float64) bool {
		return st.N > 0 && st.N >= need && st.above(limit, 0) && c.share() <= sharedFactor*st.share()
	}
	if r.any.errors && !same(c.failed(), st.failed(), s.Limits.ErrorRate) {
		return false
	}
	if r.any.latency && !same(c.surelySlow(s.Limits), st.surelySlow(s.Limits), slowShare) {
		return false
	}
	return r.any.errors || r.any.latency // a ratio alone is worse than stable by definition
}

// thinning compares the canary's answers with its share of the traffic, in
// windows of so many requests.
type thinning struct {
	blocks         int
	stable, canary int64
	found          bool  // as of the last window that could tell
	got, expected  int64 // in that window
}

// fold adds a block to the window under way, and ends the window when it can
// tell: at least five blocks, and enough requests due to the canary.
func (w thinning) fold(b Block, s Settings) thinning {
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
	found := Tally{w.canary, w.canary + w.stable}.tooFew(float64(b.Weight) / 100)
	if !found && w.canary < expected/2 {
		return w // few, but it may be chance: look longer
	}
	return thinning{found: found, got: w.canary, expected: expected}
}
