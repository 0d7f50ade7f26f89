package judge

import "math"

// confidenceLevel is how surely the interval holds the true share at all times.
const confidenceLevel = 0.95

// confidence is a confidence sequence for a share: an interval which, looked at
// after every block, holds the true share all the time with 95%. It keeps the
// shares p that the mixture of likelihood ratios over a Beta(1/2, 1/2) prior
// does not reject (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon 2021):
//
//	M(p) = B(x+1/2, n-x+1/2) / B(1/2, 1/2) / (p^x (1-p)^(n-x)) < 1/(1-level)
func confidence(x Tally, phi float64) (low, high float64) {
	n := float64(max(x.N, 0)) / phi
	if n == 0 {
		return 0, 1
	}
	bad := min(float64(max(x.Hits, 0))/phi, n)
	good := n - bad
	mixture := logBeta(bad+.5, good+.5) - logBeta(.5, .5) + math.Log1p(-confidenceLevel)
	inside := func(p float64) bool {
		l := 0.0
		if bad > 0 {
			l += bad * math.Log(p)
		}
		if good > 0 {
			l += good * math.Log1p(-p)
		}
		return mixture < l
	}
	center := bad / n
	if bad > 0 {
		low = bisect(center, 0, inside)
	}
	if high = 1; good > 0 {
		high = bisect(center, 1, inside)
	}
	return low, high
}

// bisect is the last point from inside towards outside that is inside.
func bisect(in, out float64, inside func(float64) bool) float64 {
	for range 60 {
		if middle := (in + out) / 2; inside(middle) {
			in = middle
		} else {
			out = middle
		}
	}
	return in
}

func logBeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}
