package judge

import (
	"math"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	h := hist(map[float64]int64{50: 90, 700: 6, 1800: 3, 9000: 1})
	for _, c := range []struct {
		name             string
		limit            time.Duration
		possibly, surely int64
		low, high        float64
	}{
		{"a limit on a bound is exact", time.Second, 4, 4, 1000, 1000},
		{"a limit between bounds gives both ends", 2 * time.Second, 4, 1, 1000, 2500},
		{"a limit below every bound leaves everything possible", 10 * time.Millisecond, 100, 10, 0, 100},
		{"a limit above every bound is never surely exceeded", time.Minute, 1, 0, 5000, math.Inf(1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			possibly, surely := h.Slow(c.limit)
			low, high := h.Around(c.limit)
			if possibly != c.possibly || surely != c.surely || low != c.low || high != c.high {
				t.Errorf("slow %d..%d around %v..%v", possibly, surely, low, high)
			}
		})
	}
	for q, want := range map[float64][2]float64{
		0.5: {0, 100}, 0.95: {500, 1000}, 0.99: {1000, 2500}, 1: {5000, math.Inf(1)},
	} {
		if got := h.Quantile(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := Histogram(nil).Quantile(0.99); got != [2]float64{} {
		t.Errorf("quantile of nothing is %v", got)
	}
}

func TestHistogramAddKeepsTheBoundsBothHave(t *testing.T) {
	inf := math.Inf(1)
	a := Histogram{{100, 1}, {500, 2}, {inf, 3}}
	b := Histogram{{100, 10}, {250, 20}, {inf, 40}}
	want := Histogram{{100, 11}, {inf, 43}}
	got := a.Add(b)
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
	if a[0].Count != 1 || b[0].Count != 10 {
		t.Errorf("operands changed: %v %v", a, b)
	}
	alone := a.Add(nil)
	alone[0].Count = 99
	if a[0].Count != 1 {
		t.Error("the sum with nothing shares memory with its operand")
	}
}
