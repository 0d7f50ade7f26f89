package main

import (
	"math"
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
)

func TestAProfilesMeanIsTheAreaUnderIt(t *testing.T) {
	const m = time.Minute
	for _, c := range []struct {
		name     string
		profile  profile
		from, to time.Duration
		want     float64
	}{
		{"a constant share", always(0.2), 3 * m, 4 * m, 0.2},
		{"a constant share before the release", always(0.2), -m, 0, 0.2},
		{"before a jump", from(0.1, 0.5, forever), 9 * m, 10 * m, 0.1},
		{"over a jump", from(0.1, 0.5, forever), 9 * m, 11 * m, 0.3},
		{"after a jump", from(0.1, 0.5, forever), 10 * m, 11 * m, 0.5},
		{"within an incident", from(0, 1, 10*m), 12 * m, 13 * m, 1},
		{"over the whole of an incident", from(0, 1, 10*m), 0, 40 * m, 0.25},
		{"on a ramp", rising(0, 10*m, 1), 2 * m, 4 * m, 0.3},
		{"over a ramp's end", rising(0, 10*m, 1), 8 * m, 12 * m, 0.95},
		{"after a ramp", rising(0, 10*m, 1), 20 * m, 21 * m, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.profile.mean(c.from, c.to); math.Abs(got-c.want) > 1e-9 {
				t.Errorf("got %g, want %g", got, c.want)
			}
		})
	}
}

// sums plays a world for blocks and sums what both tracks did.
func sums(w world, blocks int) (canaries, stables judge.Tally, flow *flow) {
	flow = newFlow(w)
	for i := range blocks {
		b := flow.block(time.Duration(i)*width, 0, 5)
		canaries.N += b.Canary.Requests
		canaries.Hits += b.Canary.Errors
		stables.N += b.Stable.Requests
		stables.Hits += b.Stable.Errors
	}
	return canaries, stables, flow
}

func newFlow(w world) *flow {
	draw := newSource()
	draw.begin(1, "world", 0)
	return &flow{world: w, draw: draw}
}

func TestWorldsFailAsOftenAsTheyShall(t *testing.T) {
	const rate, blocks = 100.0, 20_000
	plain := func(w world) world {
		w.rate, w.canary, w.stable = rate, always(0.02), always(0.02)
		return w
	}
	for _, c := range []struct {
		name  string
		world world
		near  float64 // relative
	}{
		{"each by itself", plain(world{}), 0.03},
		{"in waves", plain(world{waves: 1}), 0.05},
		{"in clumps", plain(world{clump: 10}), 0.08},
		{"all in outages", plain(world{outage: 2 * time.Second}), 0.1},
		{"slow besides", plain(world{slow: [2]float64{0.1, 0.1}}), 0.03},
	} {
		t.Run(c.name, func(t *testing.T) {
			canaries, stables, _ := sums(c.world, blocks)
			for _, track := range []struct {
				name  string
				tally judge.Tally
				n     float64
			}{{"canary", canaries, rate * 0.05}, {"stable", stables, rate * 0.95}} {
				if n, want := float64(track.tally.N), track.n*blocks*width.Seconds(); math.Abs(n/want-1) > 0.01 {
					t.Errorf("the %s answered %g requests, not about %g", track.name, n, want)
				}
				share := float64(track.tally.Hits) / float64(track.tally.N)
				if math.Abs(share/0.02-1) > c.near {
					t.Errorf("of the %s %g failed, not about 0.02", track.name, share)
				}
			}
		})
	}
}

func TestBurstsVaryMoreThanChance(t *testing.T) {
	dispersion := func(w world) float64 {
		w.rate, w.canary, w.stable = 100, always(0.02), always(0.02)
		f := newFlow(w)
		at := time.Duration(0)
		mean, variance := moments(5000, func() float64 {
			at += width
			return float64(f.block(at, 0, 5).Stable.Errors)
		})
		return variance / mean
	}
	if d := dispersion(world{}); math.Abs(d-1) > 0.15 {
		t.Errorf("single failures vary %g times as much as chance", d)
	}
	for name, w := range map[string]world{"waves": {waves: 1}, "clumps": {clump: 10}, "outages": {outage: 2 * time.Second}} {
		if d := dispersion(w); d < 5 {
			t.Errorf("%s vary only %g times as much as chance", name, d)
		}
	}
}

func TestLateScrapesShowAnIncidentLater(t *testing.T) {
	all := from(0, 1, forever)
	f := newFlow(world{rate: 1000, canary: all, stable: all, late: [2]time.Duration{time.Second, 14 * time.Second}, seen: true})
	b := f.block(10*time.Minute, 0, 5)
	if c, s := share(b.Canary.Counts), share(b.Stable.Counts); c < 0.85 || s > 0.15 {
		t.Errorf("in the incident's first block %g of the canary's and %g of stable's requests are known to have failed", c, s)
	}
	if !b.Stable.Seen.Equal(b.End().Add(-14*time.Second)) || !b.Canary.Seen.Equal(b.End().Add(-time.Second)) {
		t.Errorf("known until %s and %s, the block ends %s", b.Canary.Seen, b.Stable.Seen, b.End())
	}
	f.seen = false
	if b := f.block(11*time.Minute, 0, 5); !b.Stable.Seen.IsZero() || !b.Canary.Seen.IsZero() {
		t.Error("nobody told until when the tracks are known, but the block says it")
	}
}

func share(c judge.Counts) float64 { return float64(c.Errors) / float64(c.Requests) }

func TestRestartsLoseCountsOfTheCanaryAlone(t *testing.T) {
	w := world{rate: 100, canary: always(0), stable: always(0), restart: 1}
	canaries, stables, _ := sums(w, 5000)
	if part := float64(canaries.N) / (5 * 5000 * width.Seconds()); math.Abs(part-0.75) > 0.02 {
		t.Errorf("%g of the canary's requests are known, not about three quarters", part)
	}
	if part := float64(stables.N) / (95 * 5000 * width.Seconds()); math.Abs(part-1) > 0.02 {
		t.Errorf("%g of stable's requests are known", part)
	}
}

func TestSlowAnswersLieBetweenTheLimitAndTheNextBound(t *testing.T) {
	f := newFlow(world{rate: 10_000, canary: always(0.01), stable: always(0.01), slow: [2]float64{0.1, 0.1}})
	b := f.block(0, 0, 5)
	for name, c := range map[string]judge.Counts{"canary": b.Canary.Counts, "stable": b.Stable.Counts} {
		possibly, surely := c.Latency.Slow(500 * time.Millisecond)
		if possibly != surely || math.Abs(float64(surely)/float64(c.Requests)-0.1) > 0.02 {
			t.Errorf("%s: between %d and %d of %d are slow", name, surely, possibly, c.Requests)
		}
		if later, _ := c.Latency.Slow(time.Second); later != 0 {
			t.Errorf("%s: %d took longer than a second", name, later)
		}
	}
}
