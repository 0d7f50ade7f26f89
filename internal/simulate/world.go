package main

import (
	"math"
	"time"

	"serin.dev/serin/pkg/judge"
)

// width is the time between two looks of the judge, and that of a block.
const width = 15 * time.Second

// beforeBlocks is how many minutes of stable the judge knows from before.
const beforeBlocks = 60

// epoch is when every release begins.
var epoch = time.Unix(1_800_000_000, 0).UTC()

// bounds are the histogram's, in milliseconds.
var bounds = [...]float64{250, 500, 1000, math.Inf(1)}

// profile is a share of failing requests over time, linear between its corners
// and constant outside; two corners at the same time make a jump.
type profile []corner

type corner struct {
	at    time.Duration // since the release's begin, ascending
	share float64       // 0..1
}

// forever is after the end of every release.
const forever = 1000 * time.Hour

func always(share float64) profile { return profile{{0, share}} }

// onset is when what begins in the midst of a step begins.
const onset = 10 * time.Minute

// from is one share until onset, then another for so long.
func from(share, then float64, lasting time.Duration) profile {
	return profile{{onset, share}, {onset, then}, {onset + lasting, then}, {onset + lasting, share}}
}

// rising goes from one share to another in the given time from the release's begin.
func rising(share float64, over time.Duration, then float64) profile {
	return profile{{0, share}, {over, then}}
}

// mean is the mean share between two times, begin < end.
func (p profile) mean(begin, end time.Duration) float64 {
	first, last := p[0], p[len(p)-1]
	sum := first.share*float64(max(min(end, first.at)-begin, 0)) +
		last.share*float64(max(end-max(begin, last.at), 0))
	for i, b := range p[1:] {
		a := p[i]
		lo, hi := max(begin, a.at), min(end, b.at)
		if lo >= hi {
			continue
		}
		// Linear between the corners, so that the middle is the mean.
		middle := float64(lo+hi)/2 - float64(a.at)
		sum += (a.share + (b.share-a.share)*middle/float64(b.at-a.at)) * float64(hi-lo)
	}
	return sum / float64(end-begin)
}

// world is what happens to a service while its canary is judged. Requests come
// as a Poisson process, and each fails by itself unless bursts say otherwise.
type world struct {
	rate           float64    // requests per second of both tracks together
	canary, stable profile    // shares of failing requests
	slow           [2]float64 // each track's share of requests that are answered well, but after the limit

	waves   float64       // variance of a factor (gamma, mean 1, new in each block) on both tracks' failures
	clump   int64         // failures come in clumps of so many; 0 and 1: each by itself
	outage  time.Duration // both tracks fail in all for so long, at random, as often as makes their share of failures
	late    [2]time.Duration
	seen    bool    // late is known to the judge; else Seen is unknown
	missing float64 // share of blocks without data
	restart float64 // share of blocks in which one of two canary pods restarts and its counts since the last scrape are lost
}

// flow makes a run's blocks. A block's memory is used again for the next one.
type flow struct {
	world
	draw    *source
	buckets [2][len(bounds)]judge.Bucket
}

// The tracks, as indices.
const (
	canary = iota
	stable
)

// before is the i-th minute of stable before the release.
func (f *flow) before(i int) judge.Block {
	b := judge.Block{Start: epoch.Add(time.Duration(i-beforeBlocks) * time.Minute), Width: time.Minute}
	share := f.stable.mean(-time.Minute, 0)
	b.Stable = f.sample(stable, f.rate, share*f.wave(), f.away(share, b.Width), b.Width)
	b.Stable.Seen = b.End()
	return b
}

// block is what both tracks did between at and at+width, as it is known.
func (f *flow) block(at time.Duration, step, weight int) judge.Block {
	b := judge.Block{Start: epoch.Add(at), Width: width, Step: step, Weight: weight}
	shares := [2]float64{
		f.canary.mean(at-f.late[canary], at+width-f.late[canary]),
		f.stable.mean(at-f.late[stable], at+width-f.late[stable]),
	}
	wave, away := f.wave(), f.away(shares[stable], width)
	part := float64(weight) / 100
	known := 1.0 // share of the canary's counts that are not lost
	if f.restart > 0 && f.draw.Float64() < f.restart {
		known -= f.draw.Float64() / 2
	}
	b.Canary = f.sample(canary, f.rate*part*known, shares[canary]*wave, away, width)
	b.Stable = f.sample(stable, f.rate*(1-part), shares[stable]*wave, away, width)
	if f.seen || f.late[canary] == f.late[stable] {
		b.Canary.Seen, b.Stable.Seen = b.End().Add(-f.late[canary]), b.End().Add(-f.late[stable])
	}
	if f.missing > 0 && f.draw.Float64() < f.missing {
		b.Missing = "a scrape is missing"
	}
	return b
}

// wave is the factor on both tracks' failures in a block.
func (f *flow) wave() float64 {
	if f.waves == 0 {
		return 1
	}
	return f.draw.gamma(f.waves)
}

// away is the share of a block's time in which everything fails, so that over
// many blocks it is the given share of failures.
func (f *flow) away(share float64, during time.Duration) float64 {
	if f.outage == 0 {
		return 0
	}
	part := float64(f.outage) / float64(during)
	if f.draw.Float64() >= share/part {
		return 0
	}
	return part
}

// sample draws what a track did: failing is the share of its requests that
// fail by themselves, away the share of time in which all fail. Parts of a
// Poisson process are Poisson processes, so that each kind of answer is drawn
// by itself.
func (f *flow) sample(track int, rate, failing, away float64, during time.Duration) judge.Sample {
	if f.outage > 0 {
		failing = 0
	}
	failing = min(failing, 1)
	gone := rate * during.Seconds() * away
	here := rate*during.Seconds() - gone
	bad := f.draw.poisson(gone)
	if f.clump > 1 {
		bad += f.clump * f.draw.poisson(here*failing/float64(f.clump))
	} else {
		bad += f.draw.poisson(here * failing)
	}
	slow := f.draw.poisson(here * min(f.slow[track], 1-failing))
	n := bad + slow + f.draw.poisson(here*max(1-failing-f.slow[track], 0))
	h := f.buckets[track][:]
	for i, le := range bounds {
		h[i] = judge.Bucket{Le: le, Count: n}
		if le <= 500 {
			h[i].Count -= slow
		}
	}
	return judge.Sample{Live: true, Counts: judge.Counts{Requests: n, Errors: bad, Latency: h}}
}
