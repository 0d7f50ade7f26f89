package main

import (
	"math"
	"time"

	"serin.dev/serin/pkg/judge"
)

// scene is what is played many times: a world, and the settings it is judged by.
type scene struct {
	name     string // the random numbers hang on it, too
	world    world
	settings judge.Settings
	steps    []int         // weights, ascending
	length   time.Duration // how long a step is looked at, at most
	onset    time.Duration // when the canary begins to fail; times to a rollback count from there
	stay     bool          // a step goes on after it could have been passed, so that nothing is missed
}

// bake is how long a step takes at least.
const bake = 2 * time.Minute

// never is the time of what didn't happen.
const never = time.Duration(math.MaxInt64)

// fate is how a run ended. Times are since the release's begin, at the end of
// the block that decided.
type fate struct {
	rolledBack time.Duration // never: it was not
	promoted   time.Duration // when its last step could first be passed on evidence
	onTime     bool          // at the deadline all would have been well enough to go on
	incident   time.Duration // when both tracks' trouble was first told
	warned     time.Duration // when drift was first told
	glance     time.Duration // when a minute's failures were first above the limit: the naive warning
	test       time.Duration // when a one-sided z-test at 1%, looked at after every block, first said so
	failed     int64         // the canary's failed answers until the rollback, the promotion of the last step, or the end
}

// is tells how a run went for those who watch only until it is decided.
func (f fate) is() string {
	switch {
	case f.rolledBack < f.promoted:
		return "rolled back"
	case f.promoted < never:
		return "on evidence"
	case f.onTime:
		return "on time"
	}
	return "held"
}

// play plays one run. The same seed, scene and run give the same blocks in every mode.
func (s scene) play(draw *source, seed uint64, run int, mode judge.Mode) fate {
	draw.begin(seed, s.name, run)
	f := &flow{world: s.world, draw: draw}
	settings := s.settings
	settings.Mode = mode
	c := judge.Open(settings)
	for i := range beforeBlocks {
		c.Before(f.before(i))
	}
	p := player{scene: s, fate: fate{rolledBack: never, promoted: never, incident: never, warned: never, glance: never, test: never}}
	step, begun, covered := 0, time.Duration(0), time.Duration(0)
	for at := time.Duration(0); at < begun+s.length; at += width {
		b := f.block(at, step, s.steps[step])
		c.Fold(b)
		if b.Missing == "" {
			covered += width
		}
		kind, reason := c.Ruling(b.End())
		passed := kind == judge.Promote && covered >= bake
		p.note(at+width, b, kind, reason)
		if kind == judge.Rollback {
			return p.fate
		}
		if passed && step == len(s.steps)-1 {
			p.fate.promoted = min(p.fate.promoted, at+width)
		}
		if !passed || s.stay {
			continue
		}
		if step++; step == len(s.steps) {
			return p.fate
		}
		begun, covered = at+width, 0
	}
	v := c.Verdict(epoch.Add(begun + s.length))
	p.fate.onTime = v.Kind == judge.Hold && v.NoWorse
	return p.fate
}

// player notes what happens in a run.
type player struct {
	scene scene
	fate  fate
	total judge.Tally
	last  [int(time.Minute / width)]judge.Tally // a minute's blocks
	seen  int
}

func (p *player) note(at time.Duration, b judge.Block, kind judge.Kind, reason judge.Reason) {
	f := &p.fate
	f.failed += b.Canary.Errors
	switch {
	case kind == judge.Rollback:
		f.rolledBack = at
	case kind == judge.SharedIncident:
		f.incident = min(f.incident, at)
	case reason == judge.ReasonDrifting:
		f.warned = min(f.warned, at)
	}
	if b.Missing == "" {
		p.naively(at, judge.Tally{Hits: b.Canary.Errors, N: b.Canary.Requests})
	}
}

// naively keeps what a glance at the last minute and a test looked at too
// often would have said.
func (p *player) naively(at time.Duration, t judge.Tally) {
	limit := p.scene.settings.Limits.ErrorRate
	p.last[p.seen%len(p.last)] = t
	p.seen++
	var minute judge.Tally
	for _, l := range p.last {
		minute.Hits, minute.N = minute.Hits+l.Hits, minute.N+l.N
	}
	if float64(minute.Hits) > limit*float64(minute.N) {
		p.fate.glance = min(p.fate.glance, at)
	}
	p.total.Hits, p.total.N = p.total.Hits+t.Hits, p.total.N+t.N
	n := float64(p.total.N)
	const once = 2.3263 // one in a hundred normal numbers is above it
	if p.total.N >= 30 && float64(p.total.Hits)-limit*n > once*math.Sqrt(n*limit*(1-limit)) {
		p.fate.test = min(p.fate.test, at)
	}
}
