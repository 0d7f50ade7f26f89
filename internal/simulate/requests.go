package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"serin.dev/serin/pkg/judge"
)

// peeks is how many requests are looked at one by one.
const peeks = 2000

// single is a canary that is judged after each of its requests, of which share
// fail, beside 19 of stable's, of which none fails; with at most limit failures.
type single struct{ limit, share float64 }

func (s single) String() string { return fmt.Sprintf("%g of %g by single requests", s.share, s.limit) }

// until is how many requests a verdict takes; 0 if it needs more than most.
func (s single) until(draw *source, seed uint64, run int, kind judge.Kind, most int) int {
	draw.begin(seed, s.String(), run)
	c := judge.Open(limited(s.limit, 0))
	latency := judge.Histogram{{Le: 500, Count: 1}, {Le: math.Inf(1), Count: 1}}
	stable := judge.Histogram{{Le: 500, Count: 19}, {Le: math.Inf(1), Count: 19}}
	for i := range most {
		b := judge.Block{Start: epoch.Add(time.Duration(i) * time.Second), Width: time.Second, Weight: 5}
		b.Canary = judge.Sample{Live: true, Seen: b.End(), Counts: judge.Counts{Requests: 1, Latency: latency}}
		b.Stable = judge.Sample{Live: true, Seen: b.End(), Counts: judge.Counts{Requests: 19, Latency: stable}}
		if draw.Float64() < s.share {
			b.Canary.Errors = 1
		}
		c.Fold(b)
		if said, _ := c.Ruling(b.End()); said == kind {
			return i + 1
		}
	}
	return 0
}

// requests is the median of the requests that a verdict takes.
func (l *lab) requests(s single, kind judge.Kind) int {
	numbers := make([]int, l.runs(1000))
	spread(len(numbers), func(draw *source, run int) {
		numbers[run] = s.until(draw, l.seed, run, kind, 20_000)
		if numbers[run] == 0 {
			numbers[run] = math.MaxInt
		}
	})
	fmt.Fprintf(l.progress, "%6.0fs  %s\n", time.Since(l.begun).Seconds(), s)
	slices.Sort(numbers)
	return numbers[len(numbers)/2]
}

// peeking is the share of canaries that fail exactly as often as they may and
// are rolled back when they are looked at after every request.
func (l *lab) peeking() float64 {
	rolledBack := make([]bool, l.runs(full))
	s := single{0.01, 0.01}
	spread(len(rolledBack), func(draw *source, run int) {
		rolledBack[run] = s.until(draw, l.seed, run, judge.Rollback, peeks) > 0
	})
	fmt.Fprintf(l.progress, "%6.0fs  %s\n", time.Since(l.begun).Seconds(), s)
	n := 0
	for _, r := range rolledBack {
		if r {
			n++
		}
	}
	return float64(n) / float64(len(rolledBack))
}

// requestsNeeded says how many requests a verdict takes.
func requestsNeeded(l *lab) string {
	t := newTable("canary's requests until", "limit", "failing", "goal", "median")
	for _, row := range []struct {
		kind judge.Kind
		what string
		s    single
		goal int
	}{
		{judge.Promote, "promotion", single{0.01, 0}, 190},
		{judge.Promote, "promotion", single{0.01, 0.005}, 335},
		{judge.Rollback, "rollback", single{0.01, 0.02}, 1566},
		{judge.Rollback, "rollback", single{0.01, 0.05}, 148},
		{judge.Rollback, "rollback", single{0.01, 0.1}, 45},
		{judge.Rollback, "rollback", single{0.001, 1}, 3},
	} {
		n := l.requests(row.s, row.kind)
		t.row(row.what, percent(row.s.limit), percent(row.s.share), fmt.Sprint(row.goal), fmt.Sprint(n))
	}
	return "Judged after each request by the limit alone, beside 19 of stable's that are good. Medians of 1,000 releases.\n\n" + t.String()
}
