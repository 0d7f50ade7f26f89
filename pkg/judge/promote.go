package judge

import "math"

// cases is the number of alternatives of a promotion.
const cases = 4

// goodness gathers evidence that the canary is good, over the whole release. It
// keeps the logarithm of what each alternative's bet became. There is no onset
// here: a promotion has to rest on all that was seen.
type goodness [cases]float64

// log is the logarithm of the evidence (E), the mean of the bets.
func (g *goodness) log(start *[cases]float64) float64 {
	top := g[0]
	for _, l := range g {
		top = max(top, l)
	}
	sum := 0.0
	for j, l := range g {
		sum += start[j] * math.Exp(l-top)
	}
	return top + math.Log(sum)
}

// goodTest tests whether the share of bad requests is below what would be
// clearly bad (H0: p >= bad): limitTest turned round, with alternatives below.
type goodTest struct {
	bad       float64 // kappa theta
	hit, miss [cases]float64
	start     [cases]float64
	stake     [cases]float64
	strict    bool
}

// The alternatives: multiples of the odds of what is clearly bad.
var (
	timesBetter   = [cases]float64{.02, .12, .25, .5}
	betterWeights = [cases]float64{.30, .20, .30, .20}
	goodStakes    = [cases]float64{.1, .3, .6, .9}
)

// clearlyBad is kappa times the limit, or for large limits the share at which
// the good requests are kappa times fewer.
func clearlyBad(theta, kappa float64) float64 {
	return min(theta*kappa, 1-(1-theta)/kappa)
}

func newGoodTest(bad float64, b bursts) goodTest {
	bad = min(max(bad, 1e-9), 1-1e-9)
	t := goodTest{bad: bad, start: betterWeights, strict: b.strict}
	for j, m := range timesBetter {
		odds := m * bad / (1 - bad)
		p := odds / (1 + odds)
		t.hit[j] = math.Log(p/bad) / b.phi
		t.miss[j] = (math.Log1p(-p) - math.Log1p(-bad)) / b.phi
		t.stake[j] = goodStakes[j] / (1 - bad)
	}
	return t
}

func (t *goodTest) fold(g *goodness, x Tally) {
	if x.N <= 0 {
		return
	}
	for j := range g {
		g[j] += t.step(j, float64(x.Hits), float64(max(x.N-x.Hits, 0)))
	}
}

// step is what one block, in strict mode one bet on it, adds.
func (t *goodTest) step(j int, bad, good float64) float64 {
	if t.strict {
		return math.Log1p(t.stake[j] * (t.bad - bad/(bad+good)))
	}
	return t.count(j, bad, good)
}

// count is what so many bad and good requests add, as if each were independent
// but for the bursts.
func (t *goodTest) count(j int, bad, good float64) float64 { return bad*t.hit[j] + good*t.miss[j] }

func (t *goodTest) log(g *goodness) float64 { return g.log(&t.start) }

// more is about how many more requests of which the share p is bad bring the
// evidence to enough; 0 if it is there, infinite if they would never do. In
// strict mode it is the number of blocks.
func (t *goodTest) more(g goodness, p, enough float64) float64 {
	if t.log(&g) >= enough {
		return 0
	}
	after := func(n float64) float64 {
		later := g
		for j := range later {
			if t.strict {
				later[j] += n * t.step(j, p, 1-p)
			} else {
				later[j] += t.step(j, n*p, n*(1-p))
			}
		}
		return t.log(&later)
	}
	high := 1.0
	for after(high) < enough {
		if high *= 2; high > 1e12 {
			return math.Inf(1)
		}
	}
	low := high / 2
	for range 40 {
		if middle := (low + high) / 2; after(middle) < enough {
			low = middle
		} else {
			high = middle
		}
	}
	return math.Ceil(high)
}

// noWorseTest tests whether the canary's share of bad requests is clearly less
// than a multiple of stable's (H0: p_c >= rho p_s): relativeTest turned round.
// It speaks where the limit can't: where the histogram doesn't resolve it, and
// where stable itself breaks it.
type noWorseTest struct {
	rho   float64
	ratio [cases]float64
	gain  [cases]float64
	start [cases]float64
	phi   float64
	bets  bool
}

func newNoWorseTest(rho float64, b bursts) noWorseTest {
	t := noWorseTest{rho: rho, phi: b.phi, bets: b.strict,
		start: [cases]float64{.15, .25, .4, .2}}
	for j, m := range [cases]float64{.1, .25, .5, .7} {
		t.ratio[j], t.gain[j] = rho*m, math.Log(m)
	}
	return t
}

func (t *noWorseTest) fold(g *goodness, c, s Tally) {
	if c.N <= 0 || s.N <= 0 {
		return
	}
	nc, ns := float64(c.N), float64(s.N)
	for j := range g {
		if t.bets {
			g[j] += math.Log1p(goodStakes[j] * (t.rho*s.share() - c.share()))
			continue
		}
		d := math.Log1p((t.ratio[j] - t.rho) * nc / (t.rho*nc + ns))
		g[j] += (float64(c.Hits)*(t.gain[j]-d) - float64(s.Hits)*d) / t.phi
	}
}

func (t *noWorseTest) log(g *goodness) float64 { return g.log(&t.start) }
