package judge

import (
	"math"
	"time"
)

// Total is the number of requests in the histogram.
func (h Histogram) Total() int64 {
	if len(h) == 0 {
		return 0
	}
	return h[len(h)-1].Count
}

// Slow counts the requests that took longer than limit. A histogram only knows
// its bounds, so there are two answers: possibly is counted from the highest
// bound at or below limit, surely from the lowest one at or above it. They are
// equal when limit is a bound.
func (h Histogram) Slow(limit time.Duration) (possibly, surely int64) {
	low, high, total := int64(0), h.Total(), h.Total()
	t := milliseconds(limit)
	for _, b := range h {
		if b.Le <= t {
			low = b.Count
		}
		if b.Le >= t {
			high = b.Count
			break
		}
	}
	return max(total-low, 0), max(total-high, 0)
}

// Around gives the bounds in ms between which limit lies: the highest at or
// below it (0 if there is none) and the lowest at or above it (+Inf if none).
func (h Histogram) Around(limit time.Duration) (low, high float64) {
	t := milliseconds(limit)
	high = math.Inf(1)
	for _, b := range h {
		if b.Le <= t {
			low = b.Le
		}
		if b.Le >= t {
			return low, b.Le
		}
	}
	return low, high
}

// Quantile gives the bounds in ms between which the q-th quantile lies,
// 0 < q <= 1; 0,0 for an empty histogram. The upper bound may be +Inf.
func (h Histogram) Quantile(q float64) [2]float64 {
	total := h.Total()
	if total <= 0 {
		return [2]float64{}
	}
	rank := max(int64(math.Ceil(q*float64(total))), 1)
	low := 0.0
	for _, b := range h {
		if b.Count >= rank {
			return [2]float64{low, b.Le}
		}
		low = b.Le
	}
	return [2]float64{low, math.Inf(1)}
}

// Add gives the sum of both on the bounds they share, since nothing can be said
// of a bound that only one of them has. Neither operand is changed.
func (h Histogram) Add(o Histogram) Histogram {
	if len(h) == 0 {
		return append(Histogram(nil), o...)
	}
	if len(o) == 0 {
		return append(Histogram(nil), h...)
	}
	sum := make(Histogram, 0, min(len(h), len(o)))
	eachShared(h, o, func(a, b Bucket) {
		sum = append(sum, Bucket{Le: a.Le, Count: a.Count + b.Count})
	})
	return sum
}

// gather adds o in its place, as Add does, and reuses the memory.
func (h *Histogram) gather(o Histogram) {
	if len(*h) == 0 {
		*h = append((*h)[:0], o...)
		return
	}
	if len(o) == 0 {
		return
	}
	kept := 0
	eachShared(*h, o, func(a, b Bucket) {
		(*h)[kept] = Bucket{Le: a.Le, Count: a.Count + b.Count}
		kept++
	})
	*h = (*h)[:kept]
}

// slowOfBoth counts the requests that surely took longer than limit by the same
// yardstick, the lowest bound at or above the limit that both histograms have,
// also where the versions' proxies have different buckets. Without a histogram
// of the other track its own bounds count. It tells the bound in ms, +Inf if
// nothing can be said.
func slowOfBoth(canary, stable Histogram, limit time.Duration) (c, s Tally, bound float64) {
	c.N, s.N = canary.Total(), stable.Total()
	t := milliseconds(limit)
	bound = math.Inf(1)
	for i, j := 0, 0; i < len(canary); i++ {
		for j < len(stable) && stable[j].Le < canary[i].Le {
			j++
		}
		shared := len(stable) == 0 || j < len(stable) && stable[j].Le == canary[i].Le
		if canary[i].Le < t || !shared {
			continue
		}
		bound = canary[i].Le
		c.Hits = max(c.N-canary[i].Count, 0)
		if len(stable) > 0 {
			s.Hits = max(s.N-stable[j].Count, 0)
		}
		break
	}
	return c, s, bound
}

// possiblySlowOfBoth counts the requests that possibly took longer than limit,
// above the highest bound at or below it that both have.
func possiblySlowOfBoth(canary, stable Histogram, limit time.Duration) (c, s Tally) {
	c.N, s.N = canary.Total(), stable.Total()
	c.Hits, s.Hits = c.N, s.N
	t := milliseconds(limit)
	for i, j := 0, 0; i < len(canary) && canary[i].Le <= t; i++ {
		for j < len(stable) && stable[j].Le < canary[i].Le {
			j++
		}
		if len(stable) > 0 && (j == len(stable) || stable[j].Le != canary[i].Le) {
			continue
		}
		c.Hits = max(c.N-canary[i].Count, 0)
		if len(stable) > 0 {
			s.Hits = max(s.N-stable[j].Count, 0)
		}
	}
	return c, s
}

func eachShared(h, o Histogram, do func(a, b Bucket)) {
	for i, j := 0, 0; i < len(h) && j < len(o); {
		switch {
		case h[i].Le < o[j].Le:
			i++
		case h[i].Le > o[j].Le:
			j++
		default:
			do(h[i], o[j])
			i, j = i+1, j+1
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// resolves tells that limit is one of the bounds.
func (h Histogram) resolves(limit time.Duration) bool {
	low, high := h.Around(limit)
	return low == high
}
