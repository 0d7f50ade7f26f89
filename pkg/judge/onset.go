package judge

import (
	"math"
	"time"
)

// grid is the number of alternatives that each test bets on at once. An e-process
// may be mixed over alternatives, since a mean of them is one, too (Vovk, Wang
// 2021): nobody has to know beforehand how bad a bad canary will be.
const grid = 9

// factors are one number for each alternative.
type factors [grid]float64

// noChange is what a block without anything to say does to a bet.
var noChange = factors{1, 1, 1, 1, 1, 1, 1, 1, 1}

// most is what a bet can grow to. Whatever is lost above it only makes the
// wealth smaller, so the promise stays; it keeps every sum finite.
const most = 1e250

// onset is the wealth of bets on a change that may have come at any time: each
// block, a part of the mass is newly bet on "it begins now",
//
//	A_j <- (A_j + w pi_j) LR_j,   E = sum_j A_j + the mass not yet bet
//
// (Shin, Ramdas, Rinaldo 2023, e-detectors). While the mass is not used up, E is
// an e-process: a healthy canary brings it to 1/alpha at any time of the release
// with probability alpha at most (Ville 1939). Past the deadline of a step the
// mass goes on to be bet at the pace reached there, beyond 1 in all, so that a
// canary paused for a day is still caught; what is promised then is the average
// run length: between two false alarms lies, on average, at least the time in
// which a mass of 1/alpha is bet.
type onset struct {
	bets  factors
	spent float64
}

// fold bets the mass, split as start says, and lets every bet win or lose.
func (o *onset) fold(mass float64, start, ratio *factors) {
	for j, r := range ratio {
		o.bets[j] = min((o.bets[j]+mass*start[j])*r, most)
	}
	o.spent += mass
}

func (o *onset) wealth() float64 {
	e := max(1-o.spent, 0)
	for _, a := range o.bets {
		e += a
	}
	return e
}

// speaks tells that the wealth is more than it would be had nothing been seen:
// 1, or past the deadline all that was bet. What rounding adds says nothing.
func (o *onset) speaks() bool { return o.wealth() > max(1, o.spent)*(1+1e-9) }

// likely makes a likelihood ratio of its logarithm, finite in any case.
func likely(log float64) float64 { return math.Exp(min(log, 575)) }

// wealth is the evidence of a test, gathered over the release and anew over
// the present step. Both bet on the same, only since when differs.
type wealth struct{ release, step onset }

func (w *wealth) fold(m mass, start, ratio *factors) {
	w.release.fold(m.release, start, ratio)
	w.step.fold(m.step, start, ratio)
}

// mass is what is newly bet on an onset in a block.
type mass struct{ release, step float64 }

// schedule spreads the mass of 1 over a release: one half over the starts of the
// steps, since that is when a bad canary begins to show, the first the most;
// the other half over time, the same for each step, the more the younger it is.
type schedule struct {
	steps    int
	deadline time.Duration
}

// early is how fast the mass over time thins out: its density t after the
// start of a step is in proportion to 1/(t + early).
const early = time.Minute

// at is the mass for the block that covers the time from t to t+width of the
// leg (a step with one weight, counted from 0).
func (s schedule) at(leg int, t, width time.Duration) mass {
	return mass{release: s.part(leg, t, width), step: schedule{1, s.deadline}.part(0, t, width)}
}

func (s schedule) part(leg int, t, width time.Duration) float64 {
	start := 0.0
	if t == 0 {
		start = s.start(leg)
	}
	since := t
	if leg >= s.steps { // more legs than were announced: as after a deadline
		since = s.deadline
	}
	return start + (s.until(since+width)-s.until(since))/2/float64(s.steps)
}

// start is halved from step to step: 4/7, 2/7 and 1/7 of one half for three.
func (s schedule) start(leg int) float64 {
	if leg >= s.steps {
		return 0
	}
	n := float64(s.steps)
	return math.Exp2(n-1-float64(leg)) / (math.Exp2(n) - 1) / 2
}

// until is the part of a step's mass over time that is bet until t: 1 at the
// deadline, and after it on at the same pace.
func (s schedule) until(t time.Duration) float64 {
	all := math.Log1p(float64(s.deadline) / float64(early))
	if t <= s.deadline {
		return math.Log1p(float64(t)/float64(early)) / all
	}
	return 1 + float64(t-s.deadline)/float64(s.deadline+early)/all
}
