package judge

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// world makes blocks of a release whose canary gets rps requests per second at
// a weight, from independent requests.
type world struct {
	random *rand.Rand
	rps    float64
	weight int
	width  time.Duration
	canary func(t time.Duration) float64 // share of failures
	stable func(t time.Duration) float64
	at     time.Duration
	step   int
	// by how much the tracks' scrapes lie before the block's borders
	canaryLag, stableLag time.Duration
	unseen               bool // nobody knows
}

func constant(p float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return p }
}

func newWorld(seed uint64, rps, canary, stable float64) *world {
	return &world{
		random: rand.New(rand.NewPCG(seed, 11)), rps: rps, weight: 5, width: 15 * time.Second,
		canary: constant(canary), stable: constant(stable),
	}
}

// poisson draws how many requests came, from gaps between them.
func poisson(random *rand.Rand, mean float64) int64 {
	if mean > 200 {
		return max(int64(mean+random.NormFloat64()*math.Sqrt(mean)+.5), 0)
	}
	n := int64(-1)
	for at := 0.0; at <= mean; n++ {
		at += random.ExpFloat64()
	}
	return n
}

func (w *world) next() Block {
	total := w.rps * w.width.Seconds()
	n := poisson(w.random, total)
	m := int64(0)
	if w.weight < 100 {
		m = poisson(w.random, total*float64(100-w.weight)/float64(w.weight))
	}
	// in three slices, so that what changes within a block does so at its time
	failing := func(n int64, p func(time.Duration) float64, lag time.Duration) Sample {
		s := did(n, 0, 50)
		for i := range int64(3) {
			slice := w.width / 3
			if part := (n + i) / 3; part > 0 {
				s.Errors += binomial(w.random, part, p(w.at-lag+time.Duration(i)*slice+slice/2))
			}
		}
		if !w.unseen {
			s.Seen = epoch.Add(w.at + w.width - lag)
		}
		return s
	}
	b := Block{
		Start: epoch.Add(w.at), Width: w.width, Weight: w.weight, Step: w.step,
		Canary: failing(n, w.canary, w.canaryLag), Stable: failing(m, w.stable, w.stableLag),
	}
	w.at += w.width
	return b
}

func evidenceSettings() Settings {
	return Settings{
		Rules:  DefaultRules(),
		Limits: Limits{ErrorRate: 0.01, ErrorRatio: 2, P99: time.Second},
		Steps:  1, Deadline: time.Hour,
	}
}

// until runs the world until the case rules a kind; 0 if it doesn't for so long.
func (w *world) until(s Settings, long time.Duration, kind Kind) time.Duration {
	c := Open(s)
	for w.at < long {
		b := w.next()
		c.Fold(b)
		if k, _ := c.Ruling(b.End()); k == kind {
			return w.at
		}
	}
	return 0
}

// times of many runs, sorted; those that never came are left out.
func times(runs int, run func(seed uint64) time.Duration) []time.Duration {
	var all []time.Duration
	for seed := range uint64(runs) {
		if t := run(seed); t > 0 {
			all = append(all, t)
		}
	}
	slices.Sort(all)
	return all
}

func median(t []time.Duration) time.Duration {
	if len(t) == 0 {
		return 0
	}
	return t[len(t)/2]
}
