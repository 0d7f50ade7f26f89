package judge

import "math"

// relativeTest tests whether the canary's share of bad requests exceeds a
// multiple of stable's (H0: p_c <= rho p_s). Given the bad requests of a block
// in all, it asks how they split over the tracks, so that a rate that drifts for
// both, and a split of traffic that changes, do no harm (conditional test of two
// Poisson rates, Przyborowski, Wilenski 1940; as an e-process Turner, Grunwald
// 2023):
//
//	d_j = ln((r_j n_c + n_s) / (rho n_c + n_s))
//	ln LR_j = [x_c (ln(r_j/rho) - d_j) - x_s d_j] / phi
//
// Counts of requests scatter less than Poisson's, which only helps.
type relativeTest struct {
	rho    float64
	ratio  factors // r_j
	gain   factors // ln(r_j/rho)
	start  factors
	phi    float64
	strict bool
}

// How many times worse than what is allowed the canary may be, as bets.
var (
	timesWorse   = factors{1.25, 1.5, 2, 3, 5, 10, 30, 100, 1000}
	worseWeights = factors{.06, .08, .12, .12, .14, .14, .12, .10, .12}
)

func newRelativeTest(rho float64, b bursts) relativeTest {
	t := relativeTest{rho: rho, start: worseWeights, phi: b.phi, strict: b.strict}
	for j, m := range timesWorse {
		t.ratio[j], t.gain[j] = rho*m, math.Log(m)
	}
	return t
}

// comparison is what both tracks did in a block, and what stable did in the
// blocks beside it.
//
// The two tracks are not scraped at the same moment, so failures that begin for
// both at once are known of one of them first. Stable's bad requests of the
// block after count against the evidence of this one, too, and those of the
// block before against what is newly bet on this one. Both are factors
// exp(-x_s d_j) <= 1, so at every block the wealth is at most what it would be
// without them: the promise stays. Stable's requests of those blocks are not
// counted, for that could be a factor above 1.
type comparison struct{ canary, stable, before, after Tally }

// ratios are the likelihood ratios, and how newly bet mass is split.
func (t *relativeTest) ratios(c comparison, ratio, start *factors) {
	if t.strict {
		t.bet(c, ratio, start)
		return
	}
	nc, ns := float64(c.canary.N), float64(c.stable.N)
	against := t.rho*nc + ns
	bad, after, before := float64(c.canary.Hits), float64(c.stable.Hits+c.after.Hits), float64(c.before.Hits)
	if nc == 0 || ns == 0 || bad+after+before == 0 {
		*ratio, *start = noChange, t.start // nothing to compare
		return
	}
	for j := range ratio {
		d := math.Log1p((t.ratio[j] - t.rho) * nc / against)
		ratio[j] = likely((bad*(t.gain[j]-d) - after*d) / t.phi)
		start[j] = t.start[j] * likely(-before*d/t.phi)
	}
}

// bet takes the block as one bet on the difference of the shares,
//
//	D = f_c - rho f_s,   LR_j = 1 + lambda_j D,   0 < lambda_j < 1/rho
//
// with the worst of stable's adjacent blocks (Waudby-Smith, Ramdas 2024).
func (t *relativeTest) bet(c comparison, ratio, start *factors) {
	worst := max(c.stable.share(), c.before.share(), c.after.share())
	*ratio, *start = noChange, t.start
	if c.canary.N == 0 || c.stable.N == 0 {
		return
	}
	for j := range ratio {
		ratio[j] = 1 + stakes[j]/t.rho*(c.canary.share()-t.rho*worst)
	}
}

// relative is the evidence of a comparison, block by block. A block counts once
// it is known how stable did as far as the canary's numbers go.
type relative struct {
	wealth
	pending comparison
	owed    mass
	waits   bool  // pending is to be counted with the next block
	past    bool  // it is of the step before: for the release only
	last    Tally // stable's newest block
}

// begin begins another step: what waits counts for the release only.
func (r *relative) begin() {
	r.step, r.past = onset{}, r.waits
}

// fold counts the block that waits, and this one, too, if stable is known as
// far as the canary.
func (r *relative) fold(t *relativeTest, canary, stable Tally, m mass, k known) {
	r.settle(t, stable)
	now := comparison{canary: canary, stable: stable, before: r.last}
	if k == together {
		now.before = Tally{}
	}
	r.last = stable
	if k == later {
		r.pending, r.owed, r.waits = now, m, true
		return
	}
	r.count(t, &now, m)
}

func (r *relative) settle(t *relativeTest, after Tally) {
	if !r.waits {
		return
	}
	r.pending.after = after
	step := r.step
	r.count(t, &r.pending, r.owed)
	if r.past {
		r.step = step
	}
	r.waits, r.past = false, false
}

func (r *relative) count(t *relativeTest, c *comparison, m mass) {
	var ratio, start factors
	t.ratios(*c, &ratio, &start)
	r.wealth.fold(m, &start, &ratio)
}

// known is how far stable's numbers of a block go.
type known int

const (
	later    known = iota // maybe not as far as the canary's: the next block tells
	further               // at least as far as the canary's
	together              // just as far
)

// knownOf tells how far stable is known beside the canary. An idle stable, one
// that got no request of late, is not waited for.
func knownOf(b *Block, idle bool) known {
	s, c := b.Stable.Seen, b.Canary.Seen
	switch {
	case b.Weight >= 100 || idle && b.Stable.Requests == 0 && b.Stable.Live:
		return further
	case s.IsZero() || c.IsZero() || s.Before(c):
		return later
	case s.Equal(c):
		return together
	}
	return further
}
