package judge

// Parts of the evidence towards rollback, normalised over those that may roll
// back. A mean of e-processes with fixed weights is one, whatever hangs together
// among them (Vovk, Wang 2021).
const (
	partErrors    = .35
	partErrorsVs  = .25
	partLatency   = .25
	partLatencyVs = .15
	partCustom    = .25
)

// leastBad is how many bad requests a breach rests on at least: two may have one
// cause, whatever their odds.
const leastBad = 3

// stepOdds is the evidence of a step alone below which it may be promoted.
const stepOdds = 10

func (e *evidence) weigh() {
	all := 0.0
	set := func(part *float64, judged bool, value float64) {
		if judged {
			*part = value
			all += value
		}
	}
	set(&e.errors.part, e.errors.judged, partErrors)
	set(&e.errorsVs.part, e.errorsVs.judged, partErrorsVs)
	set(&e.latency.part, e.latency.judged, partLatency)
	set(&e.latencyVs.part, e.latencyVs.judged, partLatencyVs)
	for i := range e.custom {
		set(&e.custom[i].part, true, partCustom)
	}
	e.errors.part /= all
	e.errorsVs.part /= all
	e.latency.part /= all
	e.latencyVs.part /= all
	for i := range e.custom {
		e.custom[i].part /= all
	}
}

// which is a set of limits: errors, latency, and the operator's metrics.
type which uint64

const maxLimits = 64

func (e *evidence) limits() int { return min(2+len(e.custom), maxLimits) }

func (e *evidence) limitAt(i int) *metric {
	switch i {
	case 0:
		return &e.errors
	case 1:
		return &e.latency
	}
	return &e.custom[i-2]
}

// total is the evidence of the release towards rollback, without the limits
// that are excused, and without all that is thin.
func (e *evidence) total(excused, thin which) float64 {
	sum := e.compared(thin)
	for i := range e.limits() {
		if (excused|thin)&(1<<i) == 0 {
			sum += e.limitAt(i).odds()
		}
	}
	return sum
}

// compared is the part of it that lies in comparisons with stable.
func (e *evidence) compared(thin which) (sum float64) {
	if thin&1 == 0 {
		sum += weighed(e.errorsVs.part, e.errorsVs.odds())
	}
	if thin&2 == 0 {
		sum += weighed(e.latencyVs.part, e.latencyVs.odds())
	}
	return sum
}

// thinOnes are the limits, and the comparisons with them, that rest on too few
// bad requests for a breach.
func (e *evidence) thinOnes() (thin which) {
	for i := range e.limits() {
		hits := e.limitAt(i).window.now.canary.Hits
		switch i {
		case 0:
			hits = max(hits, e.errorsVs.since.canary.Hits)
		case 1:
			hits = max(hits, e.latencyVs.since.canary.Hits)
		}
		if hits < leastBad {
			thin |= 1 << i
		}
	}
	return thin
}

// ofStep is the evidence of the present step alone.
func (e *evidence) ofStep() float64 {
	sum := weighed(e.errorsVs.part, e.errorsVs.stepOdds()) + weighed(e.latencyVs.part, e.latencyVs.stepOdds())
	for i := range e.limits() {
		m := e.limitAt(i)
		sum += weighed(m.part, m.against.step.wealth())
	}
	return sum
}

// odds are the metric's part of the evidence of the release.
func (m *metric) odds() float64 { return weighed(m.part, m.against.release.wealth()) }

func weighed(part, odds float64) float64 {
	if part == 0 {
		return 0
	}
	return part * odds
}

// breach is what was proven, as it stood then.
type breach struct {
	proven, open bool
	leg          int
	at           [2]int // step and weight
	reason       Reason
	name         string
	limit        float64 // share, or multiple of stable's
	seen         seen    // since the evidence last was 1 at most
	against      float64 // logarithm
	custom       int     // which of the operator's metrics
	bound        float64 // in ms, beyond which requests are slow beside stable's
}

// conclude looks whether the evidence suffices, and what stable says to it.
func (e *evidence) conclude(b *Block, k known) {
	if !e.proven.proven {
		e.look(b, k, true)
	}
}

// look finds a breach in the evidence as it stands. If limits alone carry it,
// stable is asked whether it is an incident of both; where stable's numbers may
// lag, one block later. Without settle nothing but a breach is noted.
func (e *evidence) look(b *Block, k known, settle bool) bool {
	thin := e.thinOnes()
	if e.total(0, thin) < e.enough {
		e.thin, e.due, e.shared = e.total(0, 0) >= e.enough, false, false
		return false
	}
	e.thin = false
	if e.compared(thin) >= e.enough {
		return e.prove(b, 0, thin)
	}
	if k == later && !e.due {
		e.due = true
		return false
	}
	excused, void := e.excused(b, k)
	if e.total(excused|void, thin) >= e.enough {
		return e.prove(b, excused|void, thin)
	}
	if settle && void != 0 {
		e.void(void)
		e.voided = true
	}
	e.shared = excused != 0
	return false
}

// excused are the limits that stable breaks as well; void are those that it
// broke, and keeps again.
func (e *evidence) excused(b *Block, k known) (excused, void which) {
	if b.Weight >= 100 {
		return 0, 0 // nobody to compare with
	}
	for i := range e.limits() {
		m := e.limitAt(i)
		switch {
		case m.part == 0 || !m.window.shared(m, k, e.enough):
		case m.window.over():
			void |= 1 << i
		default:
			excused |= 1 << i
		}
	}
	return excused, void
}

func (e *evidence) void(limits which) {
	for i := range e.limits() {
		if limits&(1<<i) == 0 {
			continue
		}
		e.limitAt(i).void()
		switch i {
		case 0:
			e.errorsVs.void()
			e.drifts[0] = drift{}
		case 1:
			e.latencyVs.void()
			e.drifts[1], e.drifts[2] = drift{}, drift{}
		}
	}
}

// prove notes the breach, and names what people can act on best: the limit that
// was exceeded or, where no limit has much to do with it, the comparison.
func (e *evidence) prove(b *Block, excused, thin which) bool {
	p := breach{proven: true, leg: e.leg, at: [2]int{b.Step, b.Weight}, against: logOf(e.total(excused, thin))}
	top := 0.0
	for i := range e.limits() {
		m := e.limitAt(i)
		if (excused|thin)&(1<<i) != 0 || m.odds() <= top || m.against.release.wealth() < stepOdds {
			continue
		}
		top, p.name, p.limit, p.seen = m.odds(), m.name, m.limit, m.window.now
		switch p.reason = ReasonCustom; i {
		case 0:
			p.reason = ReasonErrorRate
		case 1:
			p.reason = ReasonLatency
		default:
			p.custom = i - 2
		}
	}
	if top == 0 {
		v, reason := &e.errorsVs, ReasonErrorRatio
		if w := &e.latencyVs; thin&1 != 0 || thin&2 == 0 && weighed(w.part, w.odds()) > weighed(v.part, v.odds()) {
			v, reason = w, ReasonSlower
		}
		p.reason, p.name, p.limit, p.seen, p.bound = reason, v.name, v.test.rho, v.since, e.bound
	}
	e.proven, e.due, e.shared = p, false, false
	return true
}

// ruling is a list read from top to bottom.
func (e *evidence) ruling(l *ledger) (Kind, Reason) {
	switch {
	case e.proven.proven:
		return Rollback, e.proven.reason
	case e.starving.found():
		return Starved, ReasonStarved
	case e.shared:
		return SharedIncident, ReasonSharedIncident
	}
	if reason := e.held(l); reason != "" {
		return Hold, reason
	}
	if reason := e.lacking(l); reason != "" {
		return Hold, reason
	}
	return Promote, ReasonGood
}

// held says what keeps the canary from being promoted, however good it is else.
func (e *evidence) held(l *ledger) Reason {
	switch {
	case !e.errorsVs.judged && e.errorsVs.odds() >= e.enough:
		return ReasonErrorRatio
	case !e.latencyVs.judged && e.latencyVs.odds() >= e.enough:
		return ReasonSlower
	case e.muchMore(&e.refused), e.muchMore(&e.left):
		return ReasonClientErrors
	}
	if _, _, ok := e.warning(l); ok {
		return ReasonDrifting
	}
	if e.due || e.thin || e.ofStep() >= stepOdds || e.lately() >= 0 {
		return ReasonSuspicious
	}
	return ""
}

// lately is the limit that the canary has begun to exceed; -1 if there is none.
// A bet on an onset begins small, so the odds need a moment in which a canary
// that was good so far, and has just begun to fail, would be promoted for its past.
func (e *evidence) lately() int {
	for i := range e.limits() {
		if h := &e.limitAt(i).heat; h.level >= logOf(heatOdds) && h.seen.Hits >= leastBad {
			return i
		}
	}
	return -1
}

// muchMore tells that the canary refuses, or loses, many more requests than
// stable. Clients cause that, too, so it is no limit; but whoever answers 404 to
// everything must not be promoted.
func (e *evidence) muchMore(v *versus) bool {
	c, beside, now := v.step.canary, v.beside(), v.step.stable
	if !c.muchAbove(beside) {
		return false
	}
	if beside == now {
		return v.stepOdds() >= e.enough
	}
	return c.Hits >= leastBad && c.share() > v.test.rho*beside.share() && c.clearlyWorse(beside, usualErrors)
}

// usualErrors is by how many standard errors more than before the release is
// more than by chance.
const usualErrors = 4

// beside is what the canary is compared with: stable at the same step or, where
// that has next to no requests, as at 100%, what it did before the release.
func (v *versus) beside() Tally {
	if v.step.stable.N < witnessRequests && v.usual.N >= overRequests {
		return v.usual
	}
	return v.step.stable
}

// warning is the drift that leads to a limit, and of which kind it is.
func (e *evidence) warning(l *ledger) (warning, int, bool) {
	for i := range e.drifts {
		m := &e.errors
		if i > 0 {
			m = &e.latency
		}
		if w, ok := e.drifts[i].warns(m.limit, e.phis[i], l.covered, e.plan); ok {
			return w, i, true
		}
	}
	return warning{}, 0, false
}

// lacking says what a promotion lacks; empty if it lacks nothing. Whatever the
// steps before were like, a canary has to answer at this one.
func (e *evidence) lacking(l *ledger) Reason {
	for i := range e.custom {
		if e.custom[i].missing != "" {
			return ReasonNoData
		}
	}
	if l.total.canary.Requests == 0 {
		return ReasonFewRequests
	}
	for i := range e.limits() {
		m := e.limitAt(i)
		if i != 1 && m.forth() < e.proof {
			return ReasonFewRequests
		}
	}
	if e.latency.forth() >= e.proof {
		return ""
	}
	if e.unresolved(l) {
		return ReasonUnresolved
	}
	return ReasonFewRequests
}

// unresolved tells that no number of requests would show the latency to be
// good: there is no histogram, or the limit lies inside a bucket that is full.
func (e *evidence) unresolved(l *ledger) bool {
	c := &l.total.canary
	if c.Latency.Total() == 0 {
		return c.Requests > 0
	}
	limits := e.settings.Limits
	return !e.resolved && !e.latency.raised &&
		!c.surelySlow(limits).above(slowShare, 0) && c.possiblySlow(limits).above(slowShare, 0)
}
