package main

import (
	"math"
	"strconv"
	"time"

	"serin.dev/serin/pkg/judge"
)

// plots are the pictures of docs/judging.md, by the names of their files.
var plots = []struct {
	file string
	draw func(*lab) chart
}{
	{"odds.svg", drawOdds},
	{"looking.svg", drawLooking},
	{"false-rollbacks.svg", drawFalseRollbacks},
	{"rollback.svg", drawRollback},
	{"promotion.svg", drawPromotion},
	{"warning.svg", drawWarning},
}

var rateAxis = func() axis {
	a := axis{label: "the canary's requests per second", from: 0.05, to: 500, log: true}
	for _, r := range rates {
		a.ticks = append(a.ticks, tick{r, strconv.FormatFloat(r, 'g', -1, 64)})
	}
	return a
}()

// timeAxis is time in minutes on a logarithmic scale.
var timeAxis = axis{from: 0.25, to: 60, log: true, ticks: []tick{
	{0.25, "15 s"}, {0.5, "30 s"}, {1, "1 min"}, {2, "2 min"}, {5, "5 min"}, {10, "10 min"}, {30, "30 min"}, {60, "1 h"},
}}

func minutes(label string, to float64, each int) axis {
	a := axis{label: label, to: to}
	for m := 0; m <= int(to); m += each {
		a.ticks = append(a.ticks, tick{float64(m), strconv.Itoa(m)})
	}
	return a
}

func shares(label string, to float64, each float64) axis {
	a := axis{label: label, to: to}
	for i := 0; float64(i)*each <= to*1.001; i++ {
		a.ticks = append(a.ticks, tick{float64(i) * each, percent(float64(i) * each)})
	}
	return a
}

// whole is what a median of this share of the runs needs to be drawn.
const whole = 0.5

// medians is a line of medians, broken where most runs came to nothing.
func medians(l *lab, name string, colour int, dashed bool, mode judge.Mode, when func(fate) time.Duration, make func(rate float64) scene) line {
	out := line{name: name, colour: colour, dashed: dashed, dots: true}
	for _, rate := range rates {
		s := make(rate)
		at := l.play(s, mode, full).quantile(whole, when)
		y := math.NaN()
		if at < never {
			y = at.Minutes()
		}
		out.points = append(out.points, point{rate, y})
	}
	return out
}

// curve is the share of runs that came to something over the time, in minutes.
func (c cell) curve(to time.Duration, when func(fate) time.Duration) []point {
	var points []point
	for at := time.Duration(0); at <= to; at += width {
		points = append(points, point{at.Minutes(), c.share(func(f fate) bool { return when(f) <= at })})
	}
	return points
}

func drawOdds(l *lab) chart {
	c := chart{
		title: "The odds against a canary at 5 requests per second, limit 1%",
		about: "Evidence over 30 minutes of three releases each of a bad canary of which 5% fail, of one of which 2% fail, and of a healthy one of which 0.5% fail. The bad ones cross the line at 100 to 1, the healthy ones fall.",
		x:     minutes("minutes at the step", 30, 5),
		y:     axis{label: "odds that it breaks the limit", from: 0.01, to: 1e6, log: true},
		marks: []mark{{at: 100, text: "100 to 1: rollback"}},
	}
	c.y.ticks = []tick{{0.01, "1 to 100"}, {1, "even"}, {100, "100"}, {1e4, "10,000"}, {1e6, "a million"}}
	for i, s := range []struct {
		name  string
		scene scene
	}{{"5% fail", bad(5, 0.05)}, {"2% fail", bad(5, 0.02)}, {"healthy, 0.5%", healthy(5, 0.005)}} {
		for run := range 3 {
			name := ""
			if run == 0 {
				name = s.name
			}
			c.lines = append(c.lines, line{name: name, colour: []int{1, 3, 2}[i], points: l.trace(s.scene, run, 30*time.Minute)})
		}
	}
	return c
}

// trace is the odds over the time of a single run, also after its verdict.
func (l *lab) trace(s scene, run int, to time.Duration) []point {
	draw := newSource()
	draw.begin(l.seed, s.name, run)
	f := &flow{world: s.world, draw: draw}
	c := judge.Open(s.settings)
	for i := range beforeBlocks {
		c.Before(f.before(i))
	}
	points := []point{{0, 1}}
	for at := time.Duration(0); at < to; at += width {
		b := f.block(at, 0, s.steps[0])
		c.Fold(b)
		against, _ := c.Odds()
		points = append(points, point{(at + width).Minutes(), math.Exp(against)})
	}
	return points
}

func drawLooking(l *lab) chart {
	cell := l.play(atLimit(5, alone()), judge.ModeEvidence, full)
	return chart{
		title: "Chance alone: a canary exactly at its limit, looked at every 15 s",
		about: "Share of releases rolled back by chance over an hour. Evidence stays below 1%. A usual test at 1%, looked at as often, grows to many times that.",
		x:     minutes("minutes at the step", 60, 10),
		y:     shares("rolled back so far", 0.25, 0.05),
		marks: []mark{{at: 0.01, text: "1% was promised"}},
		lines: []line{
			{name: "usual test at 1%", colour: 1, points: cell.curve(time.Hour, func(f fate) time.Duration { return f.test })},
			{name: "evidence", colour: 0, points: cell.curve(time.Hour, whenRolledBack(0))},
		},
	}
}

func drawFalseRollbacks(l *lab) chart {
	c := chart{
		title: "Healthy releases rolled back within an hour, limit 1%",
		about: "Share of healthy releases rolled back, over the canary's requests per second, of canaries at half and at nine tenths of the limit. Evidence stays near 0, thresholds roll many of them back.",
		x:     rateAxis, y: shares("rolled back", 1, 0.25),
	}
	for _, s := range []struct {
		mode  judge.Mode
		share float64
		line
	}{
		{judge.ModeThreshold, 0.009, line{name: "threshold, 0.9% fail", colour: 1}},
		{judge.ModeThreshold, 0.005, line{name: "threshold, 0.5% fail", colour: 1, dashed: true}},
		{judge.ModeEvidence, 0.009, line{name: "evidence, 0.9% fail", colour: 0}},
		{judge.ModeEvidence, 0.005, line{name: "evidence, 0.5% fail", colour: 0, dashed: true}},
	} {
		s.dots = true
		for _, rate := range rates {
			s.points = append(s.points, point{rate, l.play(healthy(rate, s.share), s.mode, full).rolledBack()})
		}
		c.lines = append(c.lines, s.line)
	}
	return c
}

func drawRollback(l *lab) chart {
	c := chart{
		title: "Time until a bad canary is rolled back, limit 1%",
		about: "Median time to a rollback over the canary's requests per second, for canaries of which 2%, 5%, 20% and all requests fail. The more requests and the worse, the sooner.",
		x:     rateAxis, y: timeAxis,
	}
	for i, share := range []float64{0.02, 0.05, 0.2, 1} {
		make := func(rate float64) scene { return bad(rate, share) }
		name := percent(share) + " fail"
		c.lines = append(c.lines, medians(l, name, i, false, judge.ModeEvidence, whenRolledBack(0), make))
	}
	return c
}

func drawPromotion(l *lab) chart {
	c := chart{
		title: "Time until a healthy canary is promoted on evidence, limit 1%",
		about: "Median time to a promotion over the canary's requests per second, for canaries at a tenth, at half and at nine tenths of the limit. It is never less than the bake of 2 minutes.",
		x:     rateAxis, y: timeAxis,
		marks: []mark{{at: bake.Minutes(), text: "bake"}},
	}
	for i, share := range []float64{0.001, 0.005, 0.009} {
		make := func(rate float64) scene { return healthy(rate, share) }
		c.lines = append(c.lines, medians(l, percent(share)+" fail", i, false, judge.ModeEvidence, whenPromoted, make))
	}
	return c
}

func drawWarning(l *lab) chart {
	const over = 20 * time.Minute
	cell := l.play(ramp(50, over), judge.ModeEvidence, full)
	flat := l.play(healthy(50, 0.005), judge.ModeEvidence, full)
	return chart{
		title: "Errors that rise from 0.1% to 3% in 20 minutes, 50 requests per second",
		about: "Share of releases over time: warned of drift, rolled back, and, for a healthy canary of which 0.5% fail all the time, warned for nothing by the drift and by a glance at the last minute.",
		x:     minutes("minutes at the step", 20, 5),
		y:     shares("of all releases", 1, 0.25),
		marks: []mark{{at: crossing(over).Minutes(), text: "the limit is crossed", x: true}},
		lines: []line{
			{name: "warned", colour: 2, points: cell.curve(over, func(f fate) time.Duration { return f.warned })},
			{name: "rolled back", colour: 1, points: cell.curve(over, whenRolledBack(0))},
			{name: "healthy, a minute >1%", colour: 4, dashed: true, points: flat.curve(over, func(f fate) time.Duration { return f.glance })},
			{name: "healthy, warned", colour: 2, dashed: true, points: flat.curve(over, func(f fate) time.Duration { return f.warned })},
		},
	}
}
