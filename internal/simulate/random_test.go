package main

import (
	"math"
	"testing"
)

// moments are the mean and the variance of n draws.
func moments(n int, draw func() float64) (mean, variance float64) {
	var sum, squares float64
	for range n {
		x := draw()
		sum += x
		squares += x * x
	}
	mean = sum / float64(n)
	return mean, squares/float64(n) - mean*mean
}

func TestPoissonNumbersHaveTheMeanAndTheVarianceAskedFor(t *testing.T) {
	s := newSource()
	s.begin(1, "poisson", 0)
	const n = 200_000
	for _, want := range []float64{0, 0.01, 0.7, 5, 11.9, 12, 30, 1000, 1.5e5} {
		mean, variance := moments(n, func() float64 { return float64(s.poisson(want)) })
		// Five standard errors; a Poisson number's fourth central moment is m + 3m².
		if far := 5 * math.Sqrt(want/n); math.Abs(mean-want) > far {
			t.Errorf("mean %g: got %g, off by more than %g", want, mean, far)
		}
		if far := 5 * math.Sqrt((want+2*want*want)/n); math.Abs(variance-want) > far {
			t.Errorf("variance %g: got %g, off by more than %g", want, variance, far)
		}
	}
}

func TestSmallPoissonNumbersHaveTheirProbabilities(t *testing.T) {
	s := newSource()
	s.begin(1, "probabilities", 0)
	const n = 200_000
	for _, mean := range []float64{3, 14} {
		counts := make([]float64, 60)
		for range n {
			counts[min(s.poisson(mean), 59)]++
		}
		for k := range 40 {
			factorial, _ := math.Lgamma(float64(k + 1))
			p := math.Exp(float64(k)*math.Log(mean) - mean - factorial)
			if far := 5*math.Sqrt(n*p) + 1; math.Abs(counts[k]-n*p) > far {
				t.Errorf("mean %g: %d drawn %g times, expected %.0f", mean, k, counts[k], n*p)
			}
		}
	}
}

func TestGammaNumbersHaveMeanOneAndTheVarianceAskedFor(t *testing.T) {
	s := newSource()
	s.begin(1, "gamma", 0)
	const n = 200_000
	for _, want := range []float64{0.1, 0.5, 1, 2} {
		mean, variance := moments(n, func() float64 { return s.gamma(want) })
		if far := 5 * math.Sqrt(want/n); math.Abs(mean-1) > far {
			t.Errorf("variance %g: the mean is %g", want, mean)
		}
		// Of shape k: fourth central moment (3 + 6/k) / k², variance 1/k.
		if far := 5 * want * math.Sqrt((2+6*want)/n); math.Abs(variance-want) > far {
			t.Errorf("variance %g: got %g", want, variance)
		}
	}
}

func TestARunsNumbersDependOnSeedSceneAndRunAlone(t *testing.T) {
	first := func(seed uint64, scene string, run int) uint64 {
		s := newSource()
		s.begin(7, "another", 3)
		s.Float64()
		s.begin(seed, scene, run)
		return s.Uint64()
	}
	want := first(1, "a", 0)
	if got := first(1, "a", 0); got != want {
		t.Errorf("the same run drew %d, then %d", want, got)
	}
	for _, got := range []uint64{first(2, "a", 0), first(1, "b", 0), first(1, "a", 1)} {
		if got == want {
			t.Errorf("another run drew the same number %d", got)
		}
	}
}
