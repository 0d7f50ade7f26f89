package judge

import "math"

func (t Tally) share() float64 {
	if t.N <= 0 {
		return 0
	}
	return min(float64(t.Hits)/float64(t.N), 1)
}

// above tells that more than limit of the requests were hits, counted as if
// there had been at least least requests: then no later good request can mend it.
func (t Tally) above(limit float64, least int64) bool {
	return float64(t.Hits) > limit*float64(max(t.N, least))
}

// clearlyWorse tells that t's share exceeds o's by more than errors standard
// errors of their difference (the pooled two-proportion statistic), which two
// equal versions seldom do: at 2 in one of 40 looks, at 4 in one of 30,000. A
// standard error is no measure of a few hits, so for them the exact chance that
// so many of all hits are t's must be as small, too.
func (t Tally) clearlyWorse(o Tally, errors float64) bool {
	if t.N <= 0 || o.N <= 0 {
		return false
	}
	n, m := float64(t.N), float64(o.N)
	pooled := min(float64(t.Hits+o.Hits)/(n+m), 1)
	if t.share()-o.share() <= errors*math.Sqrt(pooled*(1-pooled)*(1/n+1/m)) {
		return false
	}
	hits := t.Hits + o.Hits
	return hits > fewHits || chanceOf(t.Hits, hits, hits, n/(n+m)) < math.Erfc(errors/math.Sqrt2)/2
}

// clearlyAbove tells that t's share exceeds a limit by more than errors standard
// errors, and that so many hits are as seldom by chance where they are few.
func (t Tally) clearlyAbove(limit, errors float64) bool {
	if t.N <= 0 || t.share()-limit <= errors*math.Sqrt(limit*(1-limit)/float64(t.N)) {
		return false
	}
	return t.Hits > fewHits || 1-chanceOf(0, t.Hits-1, t.N, limit) < math.Erfc(errors/math.Sqrt2)/2
}

// fewHits is up to how many hits their number is no normal variable.
const fewHits = 100

// chanceOf is the chance that of n trials, each of which hits with probability p,
// 0 < p < 1, from least to most do (the binomial distribution).
func chanceOf(least, most, n int64, p float64) (sum float64) {
	all, _ := math.Lgamma(float64(n + 1))
	for k := least; k <= most; k++ {
		in, _ := math.Lgamma(float64(k + 1))
		out, _ := math.Lgamma(float64(n - k + 1))
		sum += math.Exp(all - in - out + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
	}
	return sum
}

// tooFew tells that t, hits among n requests of which share should have been
// hits, has less than half of them, and by more than chance explains once in
// a thousand times (Chernoff 1952: P <= exp(-n KL(hits/n || share))).
func (t Tally) tooFew(share float64) bool {
	got := t.share()
	expected := share / (1 - share) * float64(t.N-t.Hits)
	if float64(t.Hits) >= expected/2 || got >= share {
		return false
	}
	return float64(t.N)*divergence(got, share) >= math.Log(1000)
}

// divergence is the Kullback-Leibler divergence of two coins, 0 <= p < q < 1.
func divergence(p, q float64) float64 {
	d := (1 - p) * math.Log((1-p)/(1-q))
	if p > 0 {
		d += p * math.Log(p/q)
	}
	return d
}

// How much more often than stable's clients the canary's clients must be
// refused (4xx), or leave, before that is no accident: twice, and by a
// twentieth of all.
const (
	refusedFactor = 2.0
	refusedMargin = 0.05
)

// muchAbove tells that t's share exceeds o's by a twentieth of all requests.
func (t Tally) muchAbove(o Tally) bool { return t.share() > o.share()+refusedMargin }

func (t *Tally) add(o Tally) { t.Hits, t.N = t.Hits+o.Hits, t.N+o.N }
