package judge

import "math"

// metric is the evidence on one kind of bad request: against a limit, and for a
// promotion.
type metric struct {
	name    string
	limit   float64 // theta, the share that may be bad
	judged  bool    // it may roll back
	raised  bool    // stable itself breaks the limit; this one it keeps
	part    float64 // its part of all evidence towards rollback
	least   int64   // of stable's trials, that make it a witness of an incident
	missing string  // why the newest block has no data of it

	test    limitTest
	against wealth
	fresh   bool // the evidence was found void: a new start is bet on

	good     goodTest
	passing  goodness
	beside   noWorseTest
	besides  goodness // the promotion that compares with stable
	compares bool     // besides is kept

	window window
	heat   heat
	same   relativeTest // whether the canary is worse than stable at all
	step   seen         // the present step
	all    Tally        // the canary's of the release, but for what is void
}

// seen is what both tracks did in the same blocks.
type seen struct{ canary, stable Tally }

func (s *seen) add(c, st Tally) {
	s.canary.add(c)
	s.stable.add(st)
}

func newMetric(name string, theta float64, levels Levels, b bursts) metric {
	return metric{
		name: name, limit: theta, judged: true, least: witnessRequests,
		test:   newLimitTest(theta, b),
		good:   newGoodTest(clearlyBad(theta, levels.Kappa), b),
		beside: newNoWorseTest(levels.Kappa, b),
		same:   newRelativeTest(1, bursts{phi: b.phi}), // over a window, never as one bet
	}
}

// raise puts a share that stable keeps in the place of a limit that it breaks:
// beyond that the canary is rolled back even where there is nothing to compare
// with. A promotion compares it with stable, rho times as bad being too much.
func (m *metric) raise(limit, rho float64, levels Levels, b bursts) {
	m.raised, m.compares, m.limit = true, true, limit
	m.test = newLimitTest(limit, b)
	m.beside = newNoWorseTest(max(rho, levels.Kappa), b)
}

func (m *metric) begin() {
	m.against.step, m.step = onset{}, seen{}
}

// heat is whether the canary exceeds the limit of late: the evidence for three
// times its odds, never below zero (CUSUM, Page 1954). It keeps from a promotion
// and does nothing else, for between two false ones lie heatOdds blocks only.
type heat struct {
	level float64
	seen  Tally // since it was zero
}

const (
	heatOdds = 100
	mostHeat = 1e4 // bounds it, so that it ends soon after what caused it
)

func (h *heat) fold(t *limitTest, x Tally) {
	const alternative = 3 // of multiples
	h.seen.add(x)
	h.level += float64(x.Hits)*t.hit[alternative] + float64(max(x.N-x.Hits, 0))*t.miss[alternative]
	if h.level = min(h.level, logOf(mostHeat)); h.level <= 0 {
		*h = heat{}
	}
}

// trial is what a block says of a metric: what surely is bad, against the
// canary, and what is possibly bad, for a promotion. They differ where the
// limit lies inside a bucket of the histogram.
type trial struct{ surely, possibly, shared seen }

func plain(c, s Tally) trial { return trial{seen{c, s}, seen{c, s}, seen{c, s}} }

// fold adds a block. Without requests the mass is bet all the same, for the
// canary may fail from now on.
func (m *metric) fold(t trial, bet, start mass) {
	if m.fresh {
		bet.release, bet.step = bet.release+start.release, bet.step+start.step
		m.fresh = false
	}
	var ratio factors
	m.test.ratios(t.surely.canary, &ratio)
	m.against.fold(bet, &m.test.start, &ratio)
	m.good.fold(&m.passing, t.possibly.canary)
	if m.compares {
		m.beside.fold(&m.besides, t.shared.canary, t.shared.stable)
	}
	m.step.add(t.surely.canary, t.surely.stable)
	m.all.add(t.possibly.canary)
	m.heat.fold(&m.test, t.surely.canary)
	m.window.fold(m, t.surely)
}

// forth is the logarithm of the evidence that the metric is good. Inside a
// bucket the comparison with stable does, too.
func (m *metric) forth() float64 {
	switch {
	case m.raised:
		return m.beside.log(&m.besides)
	case m.compares:
		return max(m.good.log(&m.passing), m.beside.log(&m.besides))
	}
	return m.good.log(&m.passing)
}

// versus is the evidence that the canary is worse than stable, and not
// negligibly: the lesser of the two counts, which is an e-process, too, because
// it never exceeds either.
type versus struct {
	name   string
	judged bool // it may roll back; else it only holds
	part   float64

	test     relativeTest
	relative relative
	floor    limitTest
	above    wealth // floor's evidence
	floored  bool   // else there is no floor
	fresh    bool   // of the floor, as in metric

	usual Tally // stable's before the release; of what only holds
	since seen  // since the evidence last was 1 at most
	step  seen
}

func newVersus(name string, rho, floor float64, b bursts) versus {
	return versus{name: name, test: newRelativeTest(rho, b), floor: newLimitTest(floor, b), floored: floor > 0}
}

func (v *versus) begin() {
	v.relative.begin()
	v.above.step, v.step = onset{}, seen{}
}

func (v *versus) fold(c, s Tally, bet, start mass, k known) {
	v.relative.fold(&v.test, c, s, bet, k)
	if v.floored {
		if v.fresh {
			bet.release, bet.step = bet.release+start.release, bet.step+start.step
			v.fresh = false
		}
		var ratio factors
		v.floor.ratios(c, &ratio)
		v.above.fold(bet, &v.floor.start, &ratio)
	}
	v.step.add(c, s)
	v.since.add(c, s)
	if !v.speaks() {
		v.since = seen{}
	}
}

// odds are the evidence of the release.
func (v *versus) odds() float64 {
	e := v.relative.release.wealth()
	if v.floored {
		e = min(e, v.above.release.wealth())
	}
	return e
}

// speaks tells that both parts of the evidence say something.
func (v *versus) speaks() bool {
	return v.relative.release.speaks() && (!v.floored || v.above.release.speaks())
}

// stepOdds are the evidence of the present step alone.
func (v *versus) stepOdds() float64 {
	e := v.relative.step.wealth()
	if v.floored {
		e = min(e, v.above.step.wealth())
	}
	return e
}

// void forgets what the canary did while stable was over the limit as well.
func (v *versus) void() { v.above, v.fresh, v.since = wealth{}, true, seen{} }

// logOf is the logarithm of odds, never infinite.
func logOf(e float64) float64 { return math.Log(max(e, 1e-250)) }
