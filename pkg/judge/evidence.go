package judge

import "time"

// Names of metrics.
const (
	nameErrors    = "errors"
	nameErrorsVs  = "errors-vs-stable"
	nameLatency   = "latency"
	nameLatencyVs = "latency-vs-stable"
	nameRefusedVs = "client-errors-vs-stable"
	nameLeftVs    = "disconnects-vs-stable"
)

// evidence is the mode that may be asked at any time: wealth of bets against
// the canary being healthy, folded block by block.
type evidence struct {
	settings Settings
	plan     schedule
	enough   float64 // odds that roll back, 1/alpha
	proof    float64 // evidence that promotes, ln 1/beta
	leg      int     // how many steps and weights came before

	errors, latency     metric
	errorsVs, latencyVs versus
	custom              []metric
	refused, left       versus // 4xx, and clients that left: they only hold

	starving starvation
	drifts   [3]drift   // errors, slow at the limit, slow at half of it
	phis     [3]float64 // of the drifts
	stable   Histogram  // stable's latency, before and during the release

	resolved bool    // the limit is a bound of the canary's histogram
	due      bool    // the evidence suffices, and stable's numbers of the same time are awaited
	thin     bool    // the evidence suffices, but rests on too few bad requests
	shared   bool    // stable breaks the limit, too
	voided   bool    // what the canary did in an incident of both counts no more
	bound    float64 // in ms, beyond which requests of the newest block were slow beside stable's
	proven   breach
}

// newEvidence closes the baseline: what stable did before says how much
// failures hang together, and which limits are no limits for this service.
func newEvidence(s Settings, before *baseline) *evidence {
	l, levels := s.Limits, s.Levels
	errors := bursts{phi: before.failed.phi(), strict: levels.Strict}
	slow := bursts{phi: before.slow.phi(), strict: levels.Strict}
	rho := levels.Rho
	if l.ErrorRatio > 0 {
		rho = l.ErrorRatio
	}
	floor := slowShare
	if l.P99Ratio == 0 {
		floor = levels.Floor * slowShare
	}
	e := &evidence{
		settings: s, plan: schedule{s.Steps, s.Deadline}, leg: -1,
		enough: 1 / levels.Alpha, proof: -logOf(levels.Beta),
		errors:    newMetric(nameErrors, l.ErrorRate, levels, errors),
		latency:   newMetric(nameLatency, slowShare, levels, slow),
		errorsVs:  newVersus(nameErrorsVs, rho, levels.Floor*l.ErrorRate, errors),
		latencyVs: newVersus(nameLatencyVs, levels.Rho, floor, slow),
		refused:   newVersus(nameRefusedVs, refusedFactor, 0, errors),
		left:      newVersus(nameLeftVs, refusedFactor, 0, errors),
		phis:      [3]float64{errors.phi, slow.phi, slow.phi},
		resolved:  true,
	}
	e.stable.gather(before.total.Latency)
	e.refused.usual, e.left.usual = before.total.refused(), before.total.left()
	e.errorsVs.judged, e.latencyVs.judged = l.ErrorRatio > 0, l.P99Ratio > 0
	if l.DefaultErrorRate && before.failed.breaks(l.ErrorRate) {
		e.errors.raise(before.failed.kept(), rho, levels, errors)
		e.errorsVs.judged = true
	}
	if l.DefaultP99 && before.slow.breaks(slowShare) {
		e.latency.raise(before.slow.kept(), levels.Rho, levels, slow)
		e.latencyVs.judged = true
	}
	for i, c := range s.Custom {
		m := newMetric(c.Name, c.share(), levels, bursts{phi: before.custom[i].phi(), strict: levels.Strict})
		if c.Gauge {
			m.least = witnessBlocks
		}
		e.custom = append(e.custom, m)
	}
	e.weigh()
	return e
}

func (e *evidence) begin(b Block) {
	e.beginLeg(&b)
	for i := range e.custom {
		e.custom[i].begin()
	}
}

// beginLeg begins another step or weight. What the open look proved of it stays.
// Without weight and copies there is nothing to judge, and no leg is used up.
func (e *evidence) beginLeg(b *Block) {
	if b.judged() {
		e.leg++
	}
	if !b.judged() || e.proven.leg != e.leg {
		e.proven = breach{}
	}
	e.errors.begin()
	e.latency.begin()
	for _, v := range []*versus{&e.errorsVs, &e.latencyVs, &e.refused, &e.left} {
		v.begin()
	}
	e.starving, e.drifts, e.voided = starvation{}, [3]drift{}, false
}

func (e *evidence) accept(b Block, l *ledger) {
	if !b.judged() {
		return
	}
	bet, start, k := e.bet(&b, l.covered-b.Width), e.plan.at(0, 0, 0), knownOf(&b, l.idle())
	e.foldErrors(&b, bet, start, k)
	e.foldLatency(&b, bet, start, k)
	e.foldCustom(&b, bet, start)
	e.refused.fold(b.Canary.refused(), b.Stable.refused(), bet, start, k)
	e.left.fold(b.Canary.left(), b.Stable.left(), bet, start, k)
	if !e.settings.Sticky {
		e.starving.fold(&b, e.plan, e.usual())
	}
	e.stable.gather(b.Stable.Latency)
	e.conclude(&b, k)
}

// bet is the mass for a block that begins at a time of the leg. Past the
// deadline nothing is bet on a block in which the canary answered nothing: the
// bets of a quiet weekend would add up, and one unlucky request win them all.
func (e *evidence) bet(b *Block, from time.Duration) mass {
	if b.Canary.Requests == 0 && from >= e.plan.deadline {
		return mass{}
	}
	return e.plan.at(e.leg, from, b.Width)
}

func (e *evidence) foldErrors(b *Block, bet, start mass, k known) {
	c, s := b.Canary.failed(), b.Stable.failed()
	e.errors.fold(plain(c, s), bet, start)
	e.errorsVs.fold(c, s, bet, start, k)
	e.drifts[0].add(c, b.Width, e.plan)
}

// foldLatency counts slow requests. A limit that lies inside a bucket is
// exceeded surely by those above the bucket, and possibly by those in it.
func (e *evidence) foldLatency(b *Block, bet, start mass, k known) {
	c, s, limit := b.Canary.Latency, b.Stable.Latency, e.settings.Limits.P99
	var t trial
	t.surely = seen{b.Canary.surelySlow(e.settings.Limits), b.Stable.surelySlow(e.settings.Limits)}
	t.possibly = seen{b.Canary.possiblySlow(e.settings.Limits), b.Stable.possiblySlow(e.settings.Limits)}
	t.shared.canary, t.shared.stable = possiblySlowOfBoth(c, s, limit)
	if len(c) > 0 {
		e.resolved = c.resolves(limit)
	}
	if !e.resolved {
		e.latency.compares = true
	}
	e.latency.fold(t, bet, start)
	var worse seen
	if at, ok := e.comparedAt(); ok {
		worse.canary, worse.stable, e.bound = slowOfBoth(c, s, at)
	}
	e.latencyVs.fold(worse.canary, worse.stable, bet, start, k)
	e.drifts[1].add(t.surely.canary, b.Width, e.plan)
	if low, _ := c.Around(limit / 2); low > 0 {
		half, _ := c.Slow(limit / 2)
		e.drifts[2].add(Tally{half, c.Total()}, b.Width, e.plan)
	}
}

// leastKnown is how many of stable's requests make its 99th percentile known.
const leastKnown = 100

// comparedAt is the time beyond which slow requests are compared with stable's:
// a multiple of stable's 99th percentile as it was known before this block, or
// the limit itself where no multiple is asked for.
func (e *evidence) comparedAt() (time.Duration, bool) {
	l := e.settings.Limits
	if l.P99Ratio <= 0 {
		return l.P99, true
	}
	if e.stable.Total() < leastKnown {
		return 0, false
	}
	upper := e.stable.Quantile(1 - slowShare)[1] * l.P99Ratio
	if upper > float64(time.Hour/time.Millisecond) {
		return 0, false // no bound says how slow stable is
	}
	return time.Duration(upper * float64(time.Millisecond)), true
}

// usual is how long stable's slow requests take.
func (e *evidence) usual() time.Duration {
	if e.stable.Total() == 0 {
		return e.settings.Limits.P99
	}
	upper := e.stable.Quantile(1 - slowShare)[1]
	return time.Duration(min(upper, float64(mostAwaited/time.Millisecond)) * float64(time.Millisecond))
}

func (e *evidence) foldCustom(b *Block, bet, start mass) {
	for i := range e.custom {
		p, ok := pairOf(b, i)
		e.custom[i].missing = p.Missing
		if ok {
			e.custom[i].fold(plain(p.Canary, p.Stable), bet, start)
		}
	}
}

// peek keeps of the open block only whether its errors prove a breach. Stable
// must be known as far as the canary, for there is no next block to wait for.
func (e *evidence) peek(b Block, l *ledger) bool {
	proven, does := e.proves(b, l)
	if does {
		e.proven = proven
		e.proven.open = true
	}
	return does
}

func (e *evidence) would(b Block, l *ledger) bool {
	_, does := e.proves(b, l)
	return does
}

// proves folds the errors of a block into a copy, and tells what they prove
// there.
func (e *evidence) proves(b Block, l *ledger) (breach, bool) {
	k := knownOf(&b, l.idle())
	if !b.judged() || e.proven.proven || k == later {
		return breach{}, false
	}
	trial, from := *e, l.covered
	if l.another(b) {
		trial.beginLeg(&b)
		from = 0
	}
	trial.foldErrors(&b, trial.bet(&b, from), trial.plan.at(0, 0, 0), k)
	if !trial.look(&b, k, false) {
		return breach{}, false
	}
	return trial.proven, true
}

func (e *evidence) odds() (against, forth float64) {
	forth = e.errors.forth()
	if m := e.latency.forth(); m < forth {
		forth = m
	}
	for i := range e.custom {
		forth = min(forth, e.custom[i].forth())
	}
	return logOf(e.total(0, 0)), forth
}
