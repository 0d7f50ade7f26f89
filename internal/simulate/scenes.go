package main

import (
	"fmt"
	"time"

	"serin.dev/serin/pkg/judge"
)

// full is how many runs a figure about false rollbacks or false promotions rests on.
const full = 10_000

// rates are the canary's requests per second at a step of 5%.
var rates = []float64{0.05, 0.5, 5, 50, 500}

// limited are settings with a limit on errors, and on a latency that no answer
// of most scenes exceeds. A ratio of 0 means that stable is no limit.
func limited(errorRate, ratio float64) judge.Settings {
	return judge.Settings{
		Rules:  judge.DefaultRules(),
		Limits: judge.Limits{ErrorRate: errorRate, ErrorRatio: ratio, P99: 500 * time.Millisecond},
		Steps:  1, Deadline: time.Hour,
	}
}

// usual is `max-error-rate: "1%, 2x"`, alone is `max-error-rate: "1%"`.
func usual() judge.Settings { return limited(0.01, 2) }
func alone() judge.Settings { return limited(0.01, 0) }

// step is a scene of one step of 5% over an hour.
func step(name string, rate float64, w world, s judge.Settings) scene {
	w.rate = rate * 20
	return scene{
		name: fmt.Sprintf("%s at %g/s", name, rate), world: w, settings: s,
		steps: []int{5}, length: time.Hour, stay: true,
	}
}

// alike is a canary that is as stable is.
func alike(share float64) world { return world{canary: always(share), stable: always(share)} }

// beside is a canary beside a stable of which one in a thousand requests fails.
func beside(canary profile) world { return world{canary: canary, stable: always(0.001)} }

func healthy(rate, share float64) scene {
	return step("healthy "+percent(share), rate, alike(share), usual())
}

// unlikeStable is a canary within the limit beside a much better stable, where only the limit counts.
func unlikeStable(rate float64) scene {
	return step("healthy 0.9% beside 0.05%", rate, world{canary: always(0.009), stable: always(0.0005)}, alone())
}

// atLimit is a canary, and a stable, of which as many requests fail as may.
func atLimit(rate float64, s judge.Settings) scene {
	return step(fmt.Sprintf("at the limit, ratio %g", s.Limits.ErrorRatio), rate, alike(0.01), s)
}

// atBothLimits has as many slow requests as may be, too.
func atBothLimits(rate float64) scene {
	w := alike(0.01)
	w.slow = [2]float64{0.01, 0.01}
	return step("at both limits", rate, w, usual())
}

// healthySlow is as slow as stable, a little within the limit.
func healthySlow(rate float64) scene {
	w := alike(0.001)
	w.slow = [2]float64{0.009, 0.009}
	return step("healthy 0.9% slow", rate, w, usual())
}

func bad(rate, share float64) scene {
	return step("bad "+percent(share), rate, beside(always(share)), usual())
}

// slow is a canary of which a twentieth of the answers are slow.
func slow(rate float64) scene {
	w := alike(0.001)
	w.slow = [2]float64{0.05, 0.001}
	return step("bad 5% slow", rate, w, usual())
}

func lateBad(rate float64) scene {
	s := step("bad 5% after 10 minutes", rate, beside(from(0.001, 0.05, forever)), usual())
	s.onset = onset
	return s
}

// clearlyBad fails twice as often as it may, which a promotion has to rule out.
func clearlyBad(rate float64, s judge.Settings) scene {
	return step(fmt.Sprintf("twice the limit, ratio %g", s.Limits.ErrorRatio), rate, beside(always(0.02)), s)
}

// waves, clumps and outages are failures that don't come each by themselves, of a healthy canary.
func waves(rate float64, strict bool) scene {
	w := alike(0.005)
	w.waves = 1
	return bursty("waves", rate, w, strict)
}

func clumps(rate float64, strict bool) scene {
	w := alike(0.005)
	w.clump = 10
	return bursty("clumps", rate, w, strict)
}

func outages(rate float64, strict bool) scene {
	w := alike(0.005)
	w.outage = 2 * time.Second
	return bursty("outages", rate, w, strict)
}

func bursty(name string, rate float64, w world, strict bool) scene {
	s := usual()
	if strict {
		s.Levels.Strict = true
		name += ", strict"
	}
	return step(name, rate, w, s)
}

// incident is a trouble of both tracks for ten minutes, with a healthy canary before and after.
func incident(rate, share float64, s judge.Settings) scene {
	p := from(0.001, share, 10*time.Minute)
	return step(fmt.Sprintf("incident %s, ratio %g", percent(share), s.Limits.ErrorRatio), rate, world{canary: p, stable: p}, s)
}

// skewed lets stable's scrapes come 13 s after the canary's.
func skewed(s scene, known bool) scene {
	s.world.late = [2]time.Duration{time.Second, 14 * time.Second}
	s.world.seen = known
	s.name += fmt.Sprintf(", skewed, %t", known)
	return s
}

// losing loses a tenth of the blocks.
func losing(s scene) scene {
	s.world.missing = 0.1
	s.name += ", scrapes missing"
	return s
}

// restarting loses part of the canary's counts every two minutes.
func restarting(s scene) scene {
	s.world.restart = 1.0 / 8
	s.name += ", pods restarting"
	return s
}

// rollout is a whole release of 100 requests per second over three steps.
func rollout(name string, canary profile, slow float64) scene {
	w := beside(canary)
	w.rate, w.slow = 100, [2]float64{slow, slow}
	s := usual()
	s.Steps, s.Deadline = 3, 30*time.Minute
	return scene{name: "rollout " + name, world: w, settings: s, steps: []int{5, 25, 100}, length: 30 * time.Minute}
}

// ramp is a canary whose failures rise from 0.1% to three times the limit.
func ramp(rate float64, over time.Duration) scene {
	return step(fmt.Sprintf("ramp over %s", over), rate, beside(rising(0.001, over, 0.03)), usual())
}

// crossing is when a ramp crosses the limit.
func crossing(over time.Duration) time.Duration {
	return time.Duration(float64(over) * (0.01 - 0.001) / (0.03 - 0.001))
}

// traffic is a step judged for a day by another limit.
func traffic(rate, limit, share float64) scene {
	s := step(fmt.Sprintf("%s of a limit of %s", percent(share), percent(limit)), rate,
		world{canary: always(share), stable: always(limit / 10)}, limited(limit, 2))
	s.length, s.stay = 24*time.Hour, false
	return s
}
