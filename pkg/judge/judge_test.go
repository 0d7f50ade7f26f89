package judge

import (
	"math"
	"time"
)

var epoch = time.Unix(1_800_000_000, 0).UTC()

// istio's own bounds around the usual limits
var bounds = []float64{100, 250, 500, 1000, 2500, 5000, math.Inf(1)}

func settings() Settings {
	return Settings{
		Limits: Limits{ErrorRate: 0.01, ErrorRatio: 2, P99: time.Second},
		Rules:  Rules{Mode: ModeThreshold, Threshold: Threshold{Checks: 3, Requests: 100}},
	}
}

// hist is a histogram of requests that took the given milliseconds.
func hist(counts map[float64]int64) Histogram {
	h := make(Histogram, len(bounds))
	for i, le := range bounds {
		h[i].Le = le
		for ms, n := range counts {
			if ms <= le {
				h[i].Count += n
			}
		}
	}
	return h
}

// did is a track that answered n requests, of which some failed, in the given time.
func did(n, errors int64, ms float64) Sample {
	return Sample{Live: true, Counts: Counts{Requests: n, Errors: errors, Latency: hist(map[float64]int64{ms: n})}}
}

func slow(n, slow int64, ms float64) Sample {
	return Sample{Live: true, Counts: Counts{Requests: n, Latency: hist(map[float64]int64{50: n - slow, ms: slow})}}
}

func refused(n, refused int64) Sample {
	s := did(n, 0, 50)
	s.ClientErrors = refused
	return s
}

// story is blocks of 15 s one after the other at a weight of 50%.
type story []Block

func (s story) then(times int, stable, canary Sample) story {
	for range times {
		s = append(s, Block{Stable: stable, Canary: canary})
	}
	return s
}

func (s story) silence(why string) story { return append(s, Block{Missing: why}) }

func (s story) blocks(weight int) []Block {
	out := make([]Block, len(s))
	for i, b := range s {
		b.Start, b.Width = epoch.Add(time.Duration(i)*15*time.Second), 15*time.Second
		if b.Weight == 0 {
			b.Weight = weight
		}
		out[i] = b
	}
	return out
}

func foldAll(blocks []Block, s Settings) (*Case, time.Time) {
	c, now := Open(s), epoch
	for _, b := range blocks {
		c.Fold(b)
		now = b.End()
	}
	return c, now
}
