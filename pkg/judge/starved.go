package judge

import (
	"math"
	"time"
)

const (
	starvedOdds = 1000 // that make a finding
	// mostStarved bounds each bet, so that a canary that answers again is found
	// starved no longer soon after.
	mostStarved = 1e5
	// Answers of a step that hasn't begun to answer yet are not awaited: at
	// least this long, since proxies learn of new weights one after the other.
	leastAwaited, mostAwaited = 5 * time.Second, 5 * time.Minute
)

// starvation tests whether the canary answers less than half of its share of
// the requests (H0: its share among all answers is half the weight at least):
// its requests hang. It is limitTest turned round, with the onset's bets.
type starvation struct {
	awaited  time.Duration // of the step
	covered  time.Duration // after that
	wealth   onset
	canary   int64 // answers since the evidence last was 1 at most
	expected float64
}

// fold adds a block. usual is how long stable's slow requests take: for so long
// no answer is due.
func (w *starvation) fold(b *Block, plan schedule, usual time.Duration) {
	if b.Weight <= 0 || b.Weight >= 100 {
		return
	}
	if w.awaited < min(max(usual, leastAwaited), mostAwaited) {
		w.awaited += b.Width
		return
	}
	c, s := float64(b.Canary.Requests), float64(b.Stable.Requests)
	weight := float64(b.Weight) / 100
	half := weight / 2
	start, ratio := factors{1. / 3, 1. / 3, 1. / 3}, factors{}
	for j, part := range []float64{.5, .1, .01} {
		share := half * part
		ratio[j] = likely(c*math.Log(part) + s*(math.Log1p(-share)-math.Log1p(-half)))
	}
	w.wealth.fold(plan.at(0, w.covered, b.Width).step, &start, &ratio)
	for j, a := range w.wealth.bets {
		w.wealth.bets[j] = min(a, mostStarved)
	}
	w.covered += b.Width
	w.canary += b.Canary.Requests
	w.expected += s * weight / (1 - weight)
	if !w.wealth.speaks() {
		w.canary, w.expected = 0, 0
	}
}

func (w *starvation) found() bool { return w.wealth.wealth() >= starvedOdds }
