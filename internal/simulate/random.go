package main

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
)

// source draws the random numbers of one run. Each run of each scene has its
// own stream, so that the order in which runs are played changes nothing.
type source struct {
	pcg *rand.PCG
	*rand.Rand
}

func newSource() *source {
	pcg := rand.NewPCG(0, 0)
	return &source{pcg: pcg, Rand: rand.New(pcg)}
}

// begin starts the stream of a run: PCG with the seed and the FNV-1a hash of
// the scene's name as its first word, and the run's number as its second.
func (s *source) begin(seed uint64, scene string, run int) {
	h := fnv.New64a()
	h.Write([]byte(scene))
	s.pcg.Seed(h.Sum64()^seed, uint64(run)) //nolint:gosec // a run's number is never negative
}

// poisson draws a number of events of which mean are expected, mean >= 0.
// Below 12 by multiplying uniform numbers (Knuth 1969), above by the transformed
// rejection PTRS (Hörmann 1993).
func (s *source) poisson(mean float64) int64 {
	if mean <= 0 {
		return 0
	}
	if mean >= 12 {
		return s.manyPoisson(mean)
	}
	var n int64
	limit := math.Exp(-mean)
	for product := s.Float64(); product > limit; product *= s.Float64() {
		n++
	}
	return n
}

func (s *source) manyPoisson(mean float64) int64 {
	b := 0.931 + 2.53*math.Sqrt(mean)
	a := -0.059 + 0.02483*b
	alpha := 1.1239 + 1.1328/(b-3.4)
	sure := 0.9277 - 3.6224/(b-2)
	logMean := math.Log(mean)
	for {
		u, v := s.Float64()-0.5, s.Float64()
		us := 0.5 - math.Abs(u)
		k := math.Floor((2*a/us+b)*u + mean + 0.43)
		if us >= 0.07 && v <= sure {
			return int64(k)
		}
		if k < 0 || us < 0.013 && v > us {
			continue
		}
		factorial, _ := math.Lgamma(k + 1)
		if math.Log(v*alpha/(a/(us*us)+b)) <= k*logMean-mean-factorial {
			return int64(k)
		}
	}
}

// gamma draws from the gamma distribution with mean 1 and the given variance,
// which is above 0 (Marsaglia and Tsang 2000).
func (s *source) gamma(variance float64) float64 {
	shape := 1 / variance
	boost := 1.0
	if shape < 1 {
		boost = math.Pow(s.Float64(), 1/shape)
		shape++
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := s.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if math.Log(s.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return boost * d * v * variance
		}
	}
}
