package judge

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestAHealthyCanaryIsSeldomRolledBack runs an hour of a canary whose share of
// failures is the limit itself, and asks after every block: alpha is 1%. What
// the bounds allow beyond it is chance among so many runs.
func TestAHealthyCanaryIsSeldomRolledBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world, *Settings)
	}{
		{"at the limit, and stable as well", func(*world, *Settings) {}},
		{"at the limit beside a far better stable, without a comparison", func(w *world, s *Settings) {
			w.stable, s.Limits.ErrorRatio = constant(.0005), 0
		}},
		{"twice as bad as stable", func(w *world, s *Settings) { w.stable, w.canary = constant(.004), constant(.008) }},
		{"over three steps", func(_ *world, s *Settings) { s.Steps = 3 }},
		{"in strict mode", func(_ *world, s *Settings) { s.Levels.Strict = true }},
		{"with a lot of traffic", func(w *world, _ *Settings) { w.rps = 100 }},
		{"with little traffic", func(w *world, _ *Settings) { w.rps = .1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			const runs = 300
			got := times(runs, func(seed uint64) time.Duration {
				w, s := newWorld(seed, 2, .01, .01), evidenceSettings()
				c.change(w, &s)
				return w.until(s, time.Hour, Rollback)
			})
			if len(got) > 8 { // 3 expected at most; 9 or more: one in 260 times
				t.Errorf("%d of %d rolled back", len(got), runs)
			}
		})
	}
}

func TestABadCanaryIsRolledBackSoon(t *testing.T) {
	for _, c := range []struct {
		name    string
		rps     float64
		canary  float64
		onset   time.Duration
		strict  bool
		atMost  time.Duration // of the median, from the onset
		without int           // of 100 runs of an hour, those that may find nothing
	}{
		{name: "everything fails", rps: 5, canary: 1, atMost: 15 * time.Second},
		{name: "five percent", rps: 5, canary: .05, atMost: 30 * time.Second},
		{name: "two percent", rps: 5, canary: .02, atMost: 3 * time.Minute},
		{name: "five percent after ten minutes", rps: 5, canary: .05, onset: 10 * time.Minute, atMost: 60 * time.Second},
		{name: "a fifth of three requests per minute", rps: .05, canary: .2, atMost: 450 * time.Second, without: 2},
		{name: "five percent in strict mode", rps: 5, canary: .05, strict: true, atMost: 4 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := times(100, func(seed uint64) time.Duration {
				w, s := newWorld(seed, c.rps, .001, .001), evidenceSettings()
				s.Levels.Strict = c.strict
				w.canary = func(at time.Duration) float64 {
					if at < c.onset {
						return .001
					}
					return c.canary
				}
				return w.until(s, time.Hour, Rollback)
			})
			if m := median(got) - c.onset; m > c.atMost || len(got) < 100-c.without {
				t.Errorf("median %s, found in %d of 100", m, len(got))
			}
		})
	}
}

func TestAGoodCanaryIsPromotedAndABadOneIsNot(t *testing.T) {
	for _, c := range []struct {
		name     string
		share    float64
		promoted [2]int        // of 200, at least and at most
		within   time.Duration // the median
	}{
		{"without a failure", 0, [2]int{200, 200}, 45 * time.Second},
		{"half a percent", .005, [2]int{200, 200}, 2 * time.Minute},
		{"nine tenths of the limit", .009, [2]int{198, 200}, 4 * time.Minute},
		{"twice the limit, which is clearly bad", .02, [2]int{0, 18}, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := times(200, func(seed uint64) time.Duration {
				w := newWorld(seed, 5, c.share, c.share)
				return w.until(evidenceSettings(), time.Hour, Promote)
			})
			if len(got) < c.promoted[0] || len(got) > c.promoted[1] || median(got) > c.within {
				t.Errorf("%d of 200 promoted, median %s", len(got), median(got))
			}
		})
	}
}

// TestAnIncidentOfBothRollsNobodyBack: both fail for ten minutes, scraped at
// whatever moments, and are well again. Nobody is rolled back, then or later,
// and the canary is promoted in the end.
func TestAnIncidentOfBothRollsNobodyBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
	}{
		{"scraped at the same moment", func(*world) {}},
		{"the canary is scraped first", func(w *world) { w.canaryLag = 7 * time.Second }},
		{"stable is scraped first", func(w *world) { w.stableLag = 7 * time.Second }},
		{"nobody knows who is scraped first", func(w *world) { w.stableLag, w.unseen = 7*time.Second, true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			back, promoted := 0, 0
			for seed := range uint64(60) {
				w := newWorld(seed, 5, 0, 0)
				share := []float64{.05, .2, 1}[seed%3]
				w.canary = func(at time.Duration) float64 {
					if at >= 307*time.Second && at < 907*time.Second {
						return share
					}
					return .002
				}
				w.stable = w.canary
				c.change(w)
				e := Open(evidenceSettings())
				for w.at < 40*time.Minute {
					b := w.next()
					e.Fold(b)
					switch kind, _ := e.Ruling(b.End()); {
					case kind == Rollback:
						back++
						w.at = time.Hour
					case kind == Promote && w.at > 30*time.Minute:
						promoted++
						w.at = time.Hour
					}
				}
			}
			if back > 0 || promoted < 60 {
				t.Errorf("%d rolled back, %d of 60 promoted afterwards", back, promoted)
			}
		})
	}
}

// TestBurstsOfFailures: failures that come five at a time, in stable's last hour
// as now, don't count as if each were independent.
func TestBurstsOfFailures(t *testing.T) {
	for name, strict := range map[string]bool{"as stable's last hour had them": false, "in strict mode": true} {
		t.Run(name, func(t *testing.T) {
			back := 0
			for seed := range uint64(200) {
				random := rand.New(rand.NewPCG(seed, 3))
				burst := func(n int64) Sample {
					s := did(n, 0, 50)
					if random.Float64() < .12 {
						s.Errors = n / 15 // 0.8% over all
					}
					return s
				}
				s := evidenceSettings()
				s.Levels.Strict = strict
				e := Open(s)
				for _, b := range hourBefore(Sample{}) {
					b.Stable = burst(75)
					e.Before(b)
				}
				for i := range 240 {
					b := Block{Start: epoch.Add(time.Duration(i) * 15 * time.Second), Width: 15 * time.Second, Weight: 50}
					b.Canary, b.Stable = burst(75), burst(75)
					e.Fold(b)
					if kind, _ := e.Ruling(b.End()); kind == Rollback {
						back++
						break
					}
				}
			}
			if limit := map[bool]int{false: 12, true: 6}[strict]; back > limit {
				t.Errorf("%d of 200 rolled back", back)
			}
		})
	}
}

// TestConfidenceHoldsAllTheTime: the true share leaves the interval, at any of
// many looks, in at most 5% of the runs.
func TestConfidenceHoldsAllTheTime(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	const runs, p = 400, .03
	left := 0
	for range runs {
		var x Tally
		for range 100 {
			x.add(Tally{binomial(random, 40, p), 40})
			if low, high := confidence(x, 1); p < low || p > high {
				left++
				break
			}
		}
	}
	if left > runs*8/100 {
		t.Errorf("left the interval in %d of %d runs", left, runs)
	}
}

func TestConfidence(t *testing.T) {
	for _, c := range []struct {
		x         Tally
		low, high float64
	}{
		{Tally{0, 0}, 0, 1},
		{Tally{0, 1000}, 0, .0072},
		{Tally{1000, 1000}, .9928, 1},
		{Tally{10, 1000}, .0024, .0262},
	} {
		low, high := confidence(c.x, 1)
		if math.Abs(low-c.low) > 5e-4 || math.Abs(high-c.high) > 5e-4 {
			t.Errorf("%+v: %v to %v, want %v to %v", c.x, low, high, c.low, c.high)
		}
	}
	narrow, _ := confidence(Tally{100, 10000}, 1)
	wide, _ := confidence(Tally{100, 10000}, 5)
	if wide >= narrow {
		t.Error("bursts must widen the interval")
	}
}

// TestTheMassIsOneInAll: what is bet over all steps until their deadlines is the
// wealth there was; and after a deadline it goes on at the pace reached.
func TestTheMassIsOneInAll(t *testing.T) {
	for _, steps := range []int{1, 3, 20} {
		plan := schedule{steps, 30 * time.Minute}
		release := 0.0
		for leg := range steps {
			step := 0.0
			for at := time.Duration(0); at < plan.deadline; at += 15 * time.Second {
				m := plan.at(leg, at, 15*time.Second)
				release, step = release+m.release, step+m.step
			}
			if math.Abs(step-1) > 1e-9 {
				t.Errorf("%d steps: step %d has a mass of %v", steps, leg, step)
			}
		}
		if math.Abs(release-1) > 1e-9 {
			t.Errorf("%d steps: the release has a mass of %v", steps, release)
		}
		before := plan.at(0, 29*time.Minute, time.Minute).release
		after, later, more := plan.at(0, 30*time.Minute, time.Minute).release, plan.at(0, 300*time.Minute, time.Minute).release, plan.at(steps, 0, time.Minute).release
		if after > before || after < before*.9 || math.Abs(after-later) > 1e-12 || math.Abs(after-more) > 1e-12 {
			t.Errorf("%d steps: %v before the deadline, %v, %v after it, %v in a step too many", steps, before, after, later, more)
		}
	}
	if a, b := (schedule{3, time.Hour}).start(0), (schedule{3, time.Hour}).start(2); math.Abs(a-2./7) > 1e-12 || math.Abs(b-.5/7) > 1e-12 {
		t.Errorf("starts %v and %v", a, b)
	}
}

// TestEveryBetIsFair computes the mean of each likelihood ratio exactly: at the
// limit it is 1 at most, or the promise wouldn't hold.
func TestEveryBetIsFair(t *testing.T) {
	const n = 12
	chances := func(p float64) []float64 {
		out := make([]float64, n+1)
		for x := range out {
			a, _ := math.Lgamma(n + 1)
			b, _ := math.Lgamma(float64(x) + 1)
			c, _ := math.Lgamma(float64(n-x) + 1)
			out[x] = math.Exp(a - b - c + float64(x)*math.Log(p) + float64(n-x)*math.Log1p(-p))
		}
		return out
	}
	for i := range 18 {
		theta, strict := []float64{1e-6, 1e-4, .01, .03, .2, .5, .9, .99, 1 - 1e-6}[i/2], i%2 == 1
		b := bursts{phi: 1, strict: strict}
		bad := clearlyBad(theta, 2)
		limit, good := newLimitTest(theta, b), newGoodTest(bad, b)
		versus, noWorse := newRelativeTest(2, b), newNoWorseTest(2, b)
		var means, compared factors
		var goods, beside [cases]float64
		for x, px := range chances(theta) {
			var ratio, start factors
			limit.ratios(Tally{int64(x), n}, &ratio)
			for j := range ratio {
				means[j] += px * ratio[j]
			}
			for y, py := range chances(theta / 2) {
				versus.ratios(comparison{canary: Tally{int64(x), n}, stable: Tally{int64(y), n}}, &ratio, &start)
				var g goodness
				noWorse.fold(&g, Tally{int64(x), n}, Tally{int64(y), n})
				for j := range ratio {
					compared[j] += px * py * ratio[j]
				}
				for j := range g {
					beside[j] += px * py * math.Exp(g[j])
				}
			}
		}
		for x, px := range chances(bad) {
			var g goodness
			good.fold(&g, Tally{int64(x), n})
			for j := range g {
				goods[j] += px * math.Exp(g[j])
			}
		}
		for name, list := range map[string][]float64{"limit": means[:], "relative": compared[:], "good": goods[:], "no worse": beside[:]} {
			for j, mean := range list {
				if mean > 1+1e-9 {
					t.Errorf("limit %v, strict %v: bet %d of %s has a mean of %v", theta, strict, j, name, mean)
				}
			}
		}
	}
}
