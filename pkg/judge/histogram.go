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

// onSharedBounds gives both on the bounds they share, so that versions whose
// proxies have different buckets are compared by the same yardstick.
func onSharedBounds(a, b Histogram) (Histogram, Histogram) {
	var x, y Histogram
	eachShared(a, b, func(p, q Bucket) { x, y = append(x, p), append(y, q) })
	return x, y
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
