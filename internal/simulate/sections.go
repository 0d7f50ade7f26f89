package main

import (
	"fmt"
	"strings"
	"time"

	"serin.dev/serin/pkg/judge"
)

// section is a part of the report.
type section struct {
	name string
	text func(*lab) string
}

// sections are the parts of docs/figures.md, in order.
var sections = []section{
	{"goals", goals},
	{"healthy", healthyReleases},
	{"fates", fates},
	{"bad", badReleases},
	{"looking", looking},
	{"promotions", falsePromotions},
	{"requests", requestsNeeded},
	{"trouble", trouble},
	{"bursts", bursts},
	{"rollouts", rollouts},
	{"warning", warnings},
}

// both plays a scene in both modes.
func (l *lab) both(s scene, n int) (evidence, threshold cell) {
	return l.play(s, judge.ModeEvidence, n), l.play(s, judge.ModeThreshold, n)
}

// caught says how soon a bad release is rolled back, and how many were if not all.
func caught(c cell, onset time.Duration) string {
	s := span(c.quantile(0.5, whenRolledBack(onset)))
	if share := c.rolledBack(); share < 1 {
		s += " (" + percent(share) + " caught)"
	}
	return s
}

// goals is the table of what was promised when the judge was designed.
func goals(l *lab) string {
	t := newTable("canary's requests, case", "goal", "evidence", "threshold")
	for _, g := range []struct {
		what  string
		goal  float64
		scene scene
	}{
		// Nothing is 0 for sure: one in a thousand is what the design's few runs could tell.
		{"0.5/s, healthy at 0.5%", 0.001, healthy(0.5, 0.005)},
		{"5/s, healthy at 0.9%", 0.001, healthy(5, 0.009)},
		{"5/s, both fail by 20% for 10 minutes", 0.001, incident(5, 0.2, usual())},
		{"5/s, both fail by 5% for 10 minutes", 0.001, incident(5, 0.05, usual())},
	} {
		e, th := l.both(g.scene, full)
		t.row(g.what, "at most "+percent(g.goal)+" rolled back", percent(e.rolledBack())+missed(e.rolledBack() > g.goal), percent(th.rolledBack()))
	}
	for _, g := range []struct {
		what  string
		goal  time.Duration
		scene scene
	}{
		{"0.05/s, bad 20%", 375 * time.Second, bad(0.05, 0.2)},
		{"5/s, bad 2%", 135 * time.Second, bad(5, 0.02)},
		{"5/s, bad 5%", 30 * time.Second, bad(5, 0.05)},
		{"5/s, all fail", 15 * time.Second, bad(5, 1)},
		{"5/s, bad 5% after 10 minutes", 45 * time.Second, lateBad(5)},
	} {
		e, th := l.both(g.scene, full)
		late := e.quantile(0.5, whenRolledBack(g.scene.onset)) > g.goal*6/5
		t.row(g.what, span(g.goal), caught(e, g.scene.onset)+missed(late), caught(th, g.scene.onset))
	}
	return "Medians of the time to a rollback, or the share rolled back within an hour. A goal is missed where it takes more than 20% longer.\n\n" + t.String()
}

// missed marks what is not as good as it was meant to be.
func missed(it bool) string {
	if it {
		return " **missed**"
	}
	return ""
}

// columns are the headings of a table with a column for each rate.
func columns(first string) *table {
	names := []string{first}
	for _, r := range rates {
		names = append(names, perSecond(r))
	}
	return newTable(names...)
}

// healthyReleases says how many healthy releases are rolled back.
func healthyReleases(l *lab) string {
	t := columns("evidence / threshold")
	for _, row := range []struct {
		what string
		make func(rate float64) scene
	}{
		{"both at 0.1 of the limit", func(r float64) scene { return healthy(r, 0.001) }},
		{"both at 0.5 of the limit", func(r float64) scene { return healthy(r, 0.005) }},
		{"both at 0.9 of the limit", func(r float64) scene { return healthy(r, 0.009) }},
		{"0.9% of both are slow", healthySlow},
		{"canary at 0.9, stable at 0.05 of the limit, which is `1%` alone", unlikeStable},
	} {
		cells := []string{row.what}
		for _, rate := range rates {
			e, th := l.both(row.make(rate), full)
			cells = append(cells, percent(e.rolledBack())+" / "+percent(th.rolledBack()))
		}
		t.row(cells...)
	}
	return "Healthy releases rolled back within an hour at a step, though they could have been promoted long before.\n\n" + t.String()
}

// fates says what becomes of healthy releases.
func fates(l *lab) string {
	t := columns("")
	for _, row := range []struct {
		what string
		make func(rate float64) scene
	}{
		{"0.1% fail", func(r float64) scene { return healthy(r, 0.001) }},
		{"0.5% fail", func(r float64) scene { return healthy(r, 0.005) }},
		{"0.9% fail", func(r float64) scene { return healthy(r, 0.009) }},
		{"0.9%, of stable 0.05%, limit `1%` alone", unlikeStable},
	} {
		for _, what := range []string{"on evidence", "on time", "held", "rolled back"} {
			cells := []string{row.what + ": " + what}
			for _, rate := range rates {
				cells = append(cells, l.fate(row.make(rate), what))
			}
			t.row(cells...)
		}
	}
	return "What becomes of healthy releases at a step of an hour with a bake of 2 minutes: promoted on evidence (and the median time of those), promoted on time at the deadline, held, rolled back.\n\n" + t.String()
}

// fate is the share of a scene's runs that ended so and, on evidence, their median time.
func (l *lab) fate(s scene, what string) string {
	c := l.play(s, judge.ModeEvidence, full)
	is := c.only(func(f fate) bool { return f.is() == what })
	cell := percent(float64(len(is)) / float64(len(c)))
	if what == "on evidence" && len(is) > 0 {
		cell += ", " + span(is.quantile(0.5, whenPromoted))
	}
	return cell
}

// badReleases says how soon bad releases are rolled back, and how many bad answers that takes.
func badReleases(l *lab) string {
	t := columns("evidence / threshold")
	answers := columns("bad answers, evidence / threshold")
	const runs = 2000
	for _, row := range []struct {
		what string
		make func(rate float64) scene
	}{
		{"2%", func(r float64) scene { return bad(r, 0.02) }},
		{"5%", func(r float64) scene { return bad(r, 0.05) }},
		{"20%", func(r float64) scene { return bad(r, 0.2) }},
		{"all fail", func(r float64) scene { return bad(r, 1) }},
		{"5% after 10 minutes", lateBad},
		{"5% are slow", slow},
	} {
		times, failed, fails := []string{row.what}, []string{row.what}, true
		for _, rate := range rates {
			s := row.make(rate)
			n := runs
			if rate == 0.05 || rate == 5 {
				n = full // some of them stand in the table of goals, too
			}
			e, th := l.both(s, n)
			times = append(times, caught(e, s.onset)+" / "+caught(th, s.onset))
			failed = append(failed, count(e.failed())+" / "+count(th.failed()))
			fails = s.world.slow[canary] == 0
		}
		t.row(times...)
		if fails {
			answers.row(failed...)
		}
	}
	return "Median time until a bad release is rolled back; 2,000 releases per cell, at 0.05/s and 5/s 10,000.\n\n" + t.String() +
		"\nThe failed answers that users saw until then, on average. The judge looks every 15 s.\n\n" + answers.String() + "\n" + badOnes(l)
}

// badOnes says what becomes of bad releases that there is too little traffic to find.
func badOnes(l *lab) string {
	t := columns("")
	for _, share := range []float64{0.02, 0.05, 0.2} {
		for _, what := range []string{"rolled back", "held", "on time", "on evidence"} {
			cells := []string{percent(share) + " fail: " + what}
			for _, rate := range rates {
				cells = append(cells, l.fate(bad(rate, share), what))
			}
			t.row(cells...)
		}
	}
	return "What becomes of bad releases at a step of an hour.\n\n" + t.String()
}

// looking says how often chance alone brings a canary down that fails exactly as often as it may.
func looking(l *lab) string {
	t := columns("rolled back")
	for _, row := range []struct {
		what string
		make func(rate float64) scene
	}{
		{"limit `1%` alone", func(r float64) scene { return atLimit(r, alone()) }},
		{"limit `1%, 2x`", func(r float64) scene { return atLimit(r, usual()) }},
		{"limit `1%, 2x`, and 1% of the answers slow", atBothLimits},
	} {
		cells := []string{row.what}
		for _, rate := range rates {
			cells = append(cells, percent(l.play(row.make(rate), judge.ModeEvidence, full).rolledBack()))
		}
		t.row(cells...)
	}
	cells := []string{"a z-test at 1%, looked at as often"}
	for _, rate := range rates {
		c := l.play(atLimit(rate, alone()), judge.ModeEvidence, full)
		cells = append(cells, percent(c.share(func(f fate) bool { return f.test < never })))
	}
	t.row(cells...)
	return "A canary that fails exactly as often as it may, looked at every 15 s for an hour: at most 1% may be rolled back.\n\n" +
		t.String() + fmt.Sprintf("\nLooked at after every single one of %d requests, beside the limit `1%%` alone: %s.\n", peeks, percent(l.peeking()))
}

// falsePromotions says how often a canary is promoted that fails twice as often as it may.
func falsePromotions(l *lab) string {
	t := columns("promoted")
	for _, row := range []struct {
		what string
		s    judge.Settings
	}{
		{"limit `1%` alone", alone()},
		{"limit `1%, 2x`", usual()},
	} {
		cells := []string{row.what}
		for _, rate := range rates {
			c := l.play(clearlyBad(rate, row.s), judge.ModeEvidence, full)
			cells = append(cells, percent(c.share(func(f fate) bool { return f.is() == "on evidence" })))
		}
		t.row(cells...)
	}
	return "A canary that fails twice as often as it may (kappa 2), promoted on evidence before it is rolled back, within an hour: at most 5% may be.\n\n" + t.String()
}

// trouble says what happens where failures don't come each by themselves, or data are bad.
func trouble(l *lab) string {
	t := newTable("healthy canary, rolled back within an hour", "0.5/s", "5/s", "50/s", "threshold, 5/s")
	healthyAt := func(what string, make func(rate float64) scene) {
		cells := []string{what}
		for _, rate := range []float64{0.5, 5, 50} {
			cells = append(cells, percent(l.play(make(rate), judge.ModeEvidence, full).rolledBack()))
		}
		t.row(append(cells, percent(l.play(make(5), judge.ModeThreshold, full).rolledBack()))...)
	}
	for _, share := range []float64{0.03, 0.05, 0.2, 1} {
		healthyAt("both fail by "+percent(share)+" for 10 minutes", func(r float64) scene { return incident(r, share, usual()) })
	}
	healthyAt("the same by 20%, limit `1%` alone", func(r float64) scene { return incident(r, 0.2, alone()) })
	for _, known := range []bool{true, false} {
		what := map[bool]string{true: "known", false: "unknown"}[known]
		healthyAt("all of both fail for 10 minutes, stable's scrapes 13 s later, which is "+what, func(r float64) scene { return skewed(incident(r, 1, usual()), known) })
	}
	healthyAt("both at 0.9%, a tenth of the blocks without data", func(r float64) scene { return losing(healthy(r, 0.009)) })
	healthyAt("both at 0.9%, a pod restarts every 2 minutes", func(r float64) scene { return restarting(healthy(r, 0.009)) })
	return t.String() + "\n" + troubleWhenBad(l)
}

// bursts says what happens where failures don't come each by themselves.
func bursts(l *lab) string {
	t := newTable("healthy canary and stable, 0.5% fail", "0.5/s", "5/s", "50/s", "strict, 0.5/s", "strict, 5/s", "strict, 50/s", "threshold, 5/s")
	for _, row := range []struct {
		what string
		make func(rate float64, strict bool) scene
	}{
		{"in waves that both feel (a factor from a gamma distribution, variance 1, new every 15 s)", waves},
		{"in clumps of 10 at once", clumps},
		{"all of them in outages of both, of 2 s", outages},
	} {
		cells := []string{row.what}
		for _, strict := range []bool{false, true} {
			for _, rate := range []float64{0.5, 5, 50} {
				cells = append(cells, percent(l.play(row.make(rate, strict), judge.ModeEvidence, full).rolledBack()))
			}
		}
		t.row(append(cells, percent(l.play(row.make(5, false), judge.ModeThreshold, full).rolledBack()))...)
	}
	return "Rolled back within an hour.\n\n" + t.String()
}

func troubleWhenBad(l *lab) string {
	t := newTable("2,000 releases per cell of a bad canary (5%), time to a rollback", "0.5/s", "5/s", "50/s", "threshold, 5/s")
	strict := func(s scene) scene {
		s.name += ", strict"
		s.settings.Levels.Strict = true
		return s
	}
	for _, row := range []struct {
		what string
		with func(scene) scene
	}{
		{"stable's scrapes 13 s after the canary's, known", func(s scene) scene { return skewed(s, true) }},
		{"the same, unknown", func(s scene) scene { return skewed(s, false) }},
		{"a tenth of the blocks without data", losing},
		{"a pod restarts every 2 minutes", restarting},
		{"strict mode", strict},
	} {
		cells := []string{row.what}
		for _, rate := range []float64{0.5, 5, 50} {
			cells = append(cells, caught(l.play(row.with(bad(rate, 0.05)), judge.ModeEvidence, 2000), 0))
		}
		t.row(append(cells, caught(l.play(row.with(bad(5, 0.05)), judge.ModeThreshold, 2000), 0))...)
	}
	return t.String()
}

// rollouts says how whole releases go.
func rollouts(l *lab) string {
	t := newTable("5-25-100% at 100 requests/s, bakes of 2 min", "", "evidence", "threshold")
	good := rollout("healthy", always(0.001), 0.004)
	e, th := l.both(good, 2000)
	promoted := func(c cell) string {
		return percent(c.share(func(f fate) bool { return f.is() == "on evidence" })) + ", " + span(c.quantile(0.5, whenPromoted))
	}
	t.row("healthy: 0.1% fail, 0.4% are slow", "promoted", promoted(e), promoted(th))
	for _, share := range []float64{0.05, 1} {
		e, th := l.both(rollout("bad "+percent(share), always(share), 0.004), 2000)
		t.row(percent(share)+" fail", "rolled back", caught(e, 0), caught(th, 0))
		t.row("", "bad answers", count(e.failed()), count(th.failed()))
	}
	return "2,000 releases per cell.\n\n" + t.String()
}

// warnings says how early drift is told, and how often for nothing.
func warnings(l *lab) string {
	const runs = 2000
	warned := func(f fate) time.Duration { return f.warned }
	glanced := func(f fate) time.Duration { return f.glance }
	t := newTable("failures rise from 0.1% to 3% over", "canary's requests", "limit crossed after", "warned before", "median", "a minute above the limit before", "median", "rolled back")
	for _, over := range []time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute} {
		at := crossing(over)
		for _, rate := range []float64{5, 50, 500} {
			c := l.play(ramp(rate, over), judge.ModeEvidence, runs)
			t.row(span(over), perSecond(rate), span(at.Round(time.Second)),
				percent(c.share(func(f fate) bool { return f.warned < at })), span(c.quantile(0.5, warned)),
				percent(c.share(func(f fate) bool { return f.glance < at })), span(c.quantile(0.5, glanced)),
				caught(c, 0))
		}
	}
	flat := newTable("no drift for an hour", "canary's requests", "warned of drift", "a minute above the limit")
	for _, share := range []float64{0.001, 0.005, 0.009} {
		for _, rate := range []float64{5, 50, 500} {
			c := l.play(healthy(rate, share), judge.ModeEvidence, full)
			flat.row(percent(share), perSecond(rate),
				percent(c.share(func(f fate) bool { return f.warned < never })),
				percent(c.share(func(f fate) bool { return f.glance < never })))
		}
	}
	return "Warned of drift, beside the naive warning: a minute of which more requests failed than the limit allows. 2,000 releases per ramp.\n\n" + t.String() + "\n" + flat.String()
}

// trafficTable says how long a verdict takes, for docs/judging.md.
func trafficTable(l *lab) string {
	t := newTable("canary's requests", "limit", "all fail", "5 times the limit fails", "promoted, a tenth of the limit fails", "promoted, half of the limit fails")
	for _, rate := range rates {
		runs := 1000
		if rate < 1 {
			runs = 200
		}
		for _, limit := range []float64{0.001, 0.01, 0.05} {
			play := func(share float64) cell { return l.play(traffic(rate, limit, share), judge.ModeEvidence, runs) }
			promoted := func(share float64) string { return span(play(share).quantile(0.5, whenPromoted)) }
			t.row(perSecond(rate), percent(limit), caught(play(1), 0), caught(play(5*limit), 0), promoted(limit/10), promoted(limit/2))
		}
	}
	return "1,000 releases per cell, under one request per second 200.\n\n" + strings.ReplaceAll(t.String(), "–", "over a day")
}
