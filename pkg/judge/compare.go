package judge

import "math"

// tally is a number of hits among n requests.
type tally struct{ hits, n int64 }

func (t tally) share() float64 {
	if t.n <= 0 {
		return 0
	}
	return min(float64(t.hits)/float64(t.n), 1)
}

// above tells that more than limit of the requests were hits, counted as if
// there had been at least least requests: then no later good request can mend it.
func (t tally) above(limit float64, least int64) bool {
	return float64(t.hits) > limit*float64(max(t.n, least))
}

// clearlyWorse tells that t's share exceeds o's by more than errors standard
// errors of their difference (the pooled two-proportion statistic), which two
// equal versions seldom do: at 2 in one of 40 looks, at 4 in one of 30,000.
func (t tally) clearlyWorse(o tally, errors float64) bool {
	if t.n <= 0 || o.n <= 0 {
		return false
	}
	n, m := float64(t.n), float64(o.n)
	pooled := min(float64(t.hits+o.hits)/(n+m), 1)
	return t.share()-o.share() > errors*math.Sqrt(pooled*(1-pooled)*(1/n+1/m))
}

// tooFew tells that t, hits among n requests of which share should have been
// hits, has less than half of them, and by more than chance explains once in
// a thousand times (Chernoff 1952: P <= exp(-n KL(hits/n || share))).
func (t tally) tooFew(share float64) bool {
	got := t.share()
	expected := share / (1 - share) * float64(t.n-t.hits)
	if float64(t.hits) >= expected/2 || got >= share {
		return false
	}
	return float64(t.n)*divergence(got, share) >= math.Log(1000)
}

// divergence is the Kullback-Leibler divergence of two coins, 0 <= p < q < 1.
func divergence(p, q float64) float64 {
	d := (1 - p) * math.Log((1-p)/(1-q))
	if p > 0 {
		d += p * math.Log(p/q)
	}
	return d
}
