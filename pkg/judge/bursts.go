package judge

// bursts say how much more failures hang together than chance would have it.
type bursts struct {
	// phi is by how much the variance of counts exceeds that of independent
	// requests, >= 1. Log evidence is divided by it (quasi-likelihood,
	// Wedderburn 1974; McCullagh, Nelder 1989).
	phi    float64
	strict bool // every block is one bet, whatever phi
}

const (
	// burstErrors and burstBlocks are the least that a finding of bursts rests on.
	burstErrors, burstBlocks = 10, 20
	// mostBursts bounds phi: beyond it lies not a habit but an outage of the
	// last hour, which must not blind the judge to the next.
	mostBursts = 25
)

// stakes are the parts of what may be staked at most, in strict mode.
var stakes = factors{.01, .02, .05, .1, .2, .35, .5, .7, .9}

// dispersion gathers what phi is made of, from blocks of one track:
//
//	phi = [sum x^2/n - X^2/N] / (p (1-p)) / (blocks - 1)
//
// is Pearson's chi-squared statistic per degree of freedom (Pearson 1900) of
// the blocks' shares around the common one.
type dispersion struct {
	squares float64 // sum of x^2/n
	sum     Tally
	blocks  int
}

func (d *dispersion) add(x Tally) {
	if x.N <= 0 {
		return
	}
	d.squares += float64(x.Hits) * float64(x.Hits) / float64(x.N)
	d.sum.add(x)
	d.blocks++
}

func (d *dispersion) phi() float64 {
	p := d.sum.share()
	if d.sum.Hits < burstErrors || d.blocks < burstBlocks || p >= 1 {
		return 1
	}
	chi := (d.squares - float64(d.sum.Hits)*p) / (p * (1 - p))
	return min(max(chi/float64(d.blocks-1), 1), mostBursts)
}
