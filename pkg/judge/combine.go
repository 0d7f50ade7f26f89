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
// that are excused.
func (e *evidence) total(excused which) float64 {
	sum := e.compared()
	for i := range e.limits() {
		if excused&(1<<i) == 0 {
			sum += e.limitAt(i).odds()
		}
	}
	return sum
}

// compared is the part of it that lies in comparisons with stable.
func (e *evidence) compared() float64 {
	return weighed(e.errorsVs.part, e.errorsVs.odds()) + weighed(e.latencyVs.part, e.latencyVs.odds())
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
	e.thin = false
	if e.total(0) < e.enough {
		e.due, e.shared = false, false
		return false
	}
	if e.compared() >= e.enough {
		return e.prove(b, 0)
	}
	if k == later && !e.due {
		e.due = true
		return false
	}
	excused, void := e.excused(b, k)
	if e.total(excused|void) >= e.enough {
		return e.prove(b, excused|void)
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
// was exceeded or, where no limit has much to do with it, the comparison. It
// tells whether the breach stands.
func (e *evidence) prove(b *Block, excused which) bool {
	p := breach{proven: true, leg: e.leg, at: [2]int{b.Step, b.Weight}, against: logOf(e.total(excused))}
	top := 0.0
	for i := range e.limits() {
		m := e.limitAt(i)
		if excused&(1<<i) != 0 || m.odds() <= top || m.against.release.wealth() < stepOdds {
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
		if w := &e.latencyVs; weighed(w.part, w.odds()) > weighed(v.part, v.odds()) {
			v, reason = w, ReasonSlower
		}
		p.reason, p.name, p.limit, p.seen, p.bound = reason, v.name, v.test.rho, v.since, e.bound
	}
	if p.seen.canary.Hits < leastBad {
		e.thin = true
		return false
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
	if e.due || e.thin || e.ofStep() >= stepOdds {
		return ReasonSuspicious
	}
	return ""
}

// muchMore tells that the canary refuses, or loses, many more requests than
// stable. Clients cause that, too, so it is no limit; but whoever answers 404 to
// everything must not be promoted.
func (e *evidence) muchMore(v *versus) bool {
	return v.stepOdds() >= e.enough && v.step.canary.muchAbove(v.step.stable)
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

// lacking says what a promotion lacks; empty if it lacks nothing.
func (e *evidence) lacking(l *ledger) Reason {
	for i := range e.custom {
		if e.custom[i].missing != "" {
			return ReasonNoData
		}
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
