package judge

import (
	"math"
	"time"
)

const (
	// driftErrors is at how many standard errors a slope is no chance, though
	// it is looked at all the time, and driftHits the least it rests on.
	driftErrors, driftHits = 3.5, 5
	// leastDrift is the least time whose growth is looked at.
	leastDrift = 5 * time.Minute
)

// trend holds the streaming sums of a line through the share of bad requests.
// Times are in seconds since the trend began.
type trend struct {
	span          time.Duration
	n, nt, ntt    float64
	hits, hitTime float64
}

func (t *trend) add(x Tally, width time.Duration) {
	at := (t.span + width/2).Seconds()
	t.span += width
	n, hits := float64(x.N), float64(x.Hits)
	t.n, t.nt, t.ntt = t.n+n, t.nt+n*at, t.ntt+n*at*at
	t.hits, t.hitTime = t.hits+hits, t.hitTime+hits*at
}

// grows fits the line, and tells whether it surely rises: the score test for a
// slope of a binomial rate (Rao 1948; Cochran 1954, Armitage 1955),
//
//	z = sum (x - p n) t / sqrt(phi p (1-p) sum n (t - mean t)^2)
func (t *trend) grows(phi float64) (first, last, slope float64, surely bool) {
	if t.n <= 0 || t.hits < driftHits {
		return 0, 0, 0, false
	}
	p, mean := t.hits/t.n, t.nt/t.n
	spread := t.ntt - t.nt*mean
	if spread <= 0 || p >= 1 {
		return 0, 0, 0, false
	}
	score := t.hitTime - p*t.nt
	slope = score / spread
	first = max(p-slope*mean, 0)
	last = p + slope*(t.span.Seconds()-mean)
	return first, last, slope, score >= driftErrors*math.Sqrt(phi*p*(1-p)*spread)
}

// drift looks at the growth of one kind of bad request within a step. Two
// trends overlap, so that what lies long back is forgotten: a growth that came
// to its end ends the warning.
type drift struct{ older, newer trend }

func (d *drift) add(x Tally, width time.Duration, plan schedule) {
	half := max(plan.deadline/4, leastDrift)
	d.older.add(x, width)
	if d.older.span > half {
		d.newer.add(x, width)
	}
	if d.older.span >= 2*half {
		d.older, d.newer = d.newer, trend{}
	}
}

// warning is a share that grows, and when it will be at the limit.
type warning struct {
	first, last float64
	limit       float64
	over        time.Duration // from first to last
	breach      time.Duration // from now until the limit, at this pace
}

// warns tells that the share is within the limit and surely grows so that it
// will be beyond it before the step's deadline.
func (d *drift) warns(limit, phi float64, covered time.Duration, plan schedule) (warning, bool) {
	first, last, slope, surely := d.older.grows(phi)
	if !surely || last >= limit || covered >= plan.deadline {
		return warning{}, false
	}
	seconds := (limit - last) / slope
	if seconds > (plan.deadline - covered).Seconds() {
		return warning{}, false
	}
	return warning{first, last, limit, d.older.span, time.Duration(seconds * float64(time.Second))}, true
}
