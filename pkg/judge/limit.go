package judge

import "math"

// limitTest tests whether a share of bad requests exceeds a limit
// (H0: p <= theta), by the likelihood ratio of counts (Wald 1945; Lindon, Malek
// 2022):
//
//	ln LR_j = [x ln(p_j/theta) + (n-x) ln((1-p_j)/(1-theta))] / phi
//
// for x bad among n requests. Under any p <= theta its mean is 1 at most, since
// p_j > theta.
type limitTest struct {
	theta     float64
	hit, miss factors // of one bad and one good request
	start     factors // how the mass is split over the alternatives, 1 in all
	bets      factors // strict mode: the stakes
	strict    bool
}

// The alternatives: multiples of the limit's odds, and last that nearly
// everything fails. Dead releases and those a few times over the limit are what
// there is to catch; the small multiples are there for a lot of traffic.
var (
	multiples    = factors{1.3, 1.6, 2, 3, 5, 10, 30, 100, 1e4}
	limitWeights = factors{.06, .08, .14, .12, .16, .12, .10, .08, .14}
)

// allFail is the share of bad requests of a dead canary, as a bet: short of 1,
// for now and then one of them answers.
const allFail = 0.98

func newLimitTest(theta float64, b bursts) limitTest {
	theta = min(max(theta, 1e-9), 1-1e-9)
	t := limitTest{theta: theta, start: limitWeights, strict: b.strict}
	last := max(allFail, 1-(1-theta)/50)
	for j, m := range multiples {
		odds := m * theta / (1 - theta)
		p := min(odds/(1+odds), last)
		t.hit[j] = math.Log(p/theta) / b.phi
		t.miss[j] = (math.Log1p(-p) - math.Log1p(-theta)) / b.phi
		t.bets[j] = stakes[j] / theta
	}
	return t
}

// ratios are the likelihood ratios of what was seen.
func (t *limitTest) ratios(x Tally, ratio *factors) {
	if t.strict {
		t.bet(x, ratio)
		return
	}
	bad, good := float64(x.Hits), float64(max(x.N-x.Hits, 0))
	for j := range ratio {
		ratio[j] = likely(bad*t.hit[j] + good*t.miss[j])
	}
}

// bet takes the whole block as one bet on its share f of bad requests,
//
//	LR_j = 1 + lambda_j (f - theta),   0 < lambda_j < 1/theta
//
// whose mean is 1 at most whenever the mean of f is theta at most, however much
// the requests of a block hang together (Waudby-Smith, Ramdas 2024).
func (t *limitTest) bet(x Tally, ratio *factors) {
	for j := range ratio {
		ratio[j] = 1
		if x.N > 0 {
			ratio[j] = 1 + t.bets[j]*(x.share()-t.theta)
		}
	}
}
