package controller

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// mesh is what a Prometheus knows of a shop with 100 requests a second, of
// which the canary gets what its weight says, or copies of a share of them. What it answers about a time is
// always the same, whenever and however it is asked.
type mesh struct {
	mu     sync.Mutex
	rates  []failing // ascending
	away   bool      // it does not answer
	most   int       // blocks in one answer; 0: any number
	scrape time.Duration
	frozen time.Time // since when nothing is scraped; zero: it is

	asked, opened []prom.Ask
	closer        int // how often an open block was looked at closely
	measured      int // questions for the scrape interval
}

// failing is the share of the canary's requests that fail from a time on.
type failing struct {
	from  time.Time
	share float64
}

var errAway = errors.New("connection refused")

func (m *mesh) blocks(_ context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, asks...)
	out := map[string]prom.Answer{}
	for _, a := range asks {
		if m.away {
			out[a.Key] = prom.Answer{Err: errAway}
			continue
		}
		end := prom.Closed(now, a.Width)
		if !a.To.IsZero() && a.To.Before(end) {
			end = a.To
		}
		var blocks []judge.Block
		for start := border(a.From, a.Width); !start.Add(a.Width).After(end) && (m.most == 0 || len(blocks) < m.most); start = start.Add(a.Width) {
			blocks = append(blocks, m.block(a, start, a.Width, true))
		}
		out[a.Key] = prom.Answer{Blocks: blocks}
	}
	return out
}

// rough is asked first, and tells the same.
func (m *mesh) rough(_ context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened = append(m.opened, asks...)
	out := map[string]prom.Answer{}
	for _, a := range asks {
		if m.away {
			out[a.Key] = prom.Answer{Err: errAway}
			continue
		}
		out[a.Key] = prom.Answer{Blocks: []judge.Block{m.block(a, a.From, now.Sub(a.From), false)}}
	}
	return out
}

// open is asked by those only whose rough look proves a breach.
func (m *mesh) open(_ context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closer += len(asks)
	out := map[string]prom.Answer{}
	for _, a := range asks {
		if m.away {
			out[a.Key] = prom.Answer{Err: errAway}
			continue
		}
		out[a.Key] = prom.Answer{Blocks: []judge.Block{m.block(a, a.From, now.Sub(a.From), false)}}
	}
	return out
}

func (m *mesh) intervals(_ context.Context, asks []prom.Ask, _ time.Time) map[string]prom.Interval {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.measured += len(asks)
	out := map[string]prom.Interval{}
	for _, a := range asks {
		out[a.Key] = prom.Interval{Width: m.scrape, Newest: time.Now()}
		if !m.frozen.IsZero() {
			out[a.Key] = prom.Interval{Width: m.scrape, Newest: m.frozen}
		}
		if m.away {
			out[a.Key] = prom.Interval{Err: errAway}
		}
	}
	return out
}

// border is the first border of the grid at or after t.
func border(t time.Time, width time.Duration) time.Time {
	ms, w := t.UnixMilli(), width.Milliseconds()
	if at := time.UnixMilli(ms / w * w); !at.Before(t) {
		return at
	}
	return time.UnixMilli(ms/w*w + w)
}

func (m *mesh) block(a prom.Ask, start time.Time, width time.Duration, closed bool) judge.Block {
	n := int64(100 * width.Seconds())
	users, share := n*int64(a.Weight)/100, a.Weight+a.Mirror // of which one is 0
	canary := n * int64(share) / 100
	b := judge.Block{Start: start, Width: width, Step: a.Step, Weight: a.Weight, Mirror: a.Mirror, Stable: sample(n - users), Canary: sample(canary)}
	b.Canary.Errors = min(canary, int64(math.Floor(m.failed(start.Add(width), share))-math.Floor(m.failed(start, share))))
	b.Stable.Seen, b.Canary.Seen = b.End(), b.End()
	if !closed {
		b.Stable.Latency, b.Canary.Latency = nil, nil
	}
	return b
}

// failed is how many of the canary's requests had failed by a time.
func (m *mesh) failed(at time.Time, share int) (n float64) {
	for i, r := range m.rates {
		end := at
		if i+1 < len(m.rates) && m.rates[i+1].from.Before(at) {
			end = m.rates[i+1].from
		}
		if end.After(r.from) {
			n += end.Sub(r.from).Seconds() * float64(share) * r.share
		}
	}
	return n
}

func sample(n int64) judge.Sample {
	return judge.Sample{Live: true, Counts: judge.Counts{
		Requests: n,
		Latency:  judge.Histogram{{Le: 100, Count: n}, {Le: 1000, Count: n}, {Le: 5000, Count: n}, {Le: math.Inf(1), Count: n}},
	}}
}

func (m *mesh) setErrors(share float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rates = append(m.rates, failing{time.Now(), share})
}

// asks counts all questions but those for open blocks.
func (m *mesh) asks() (blocks, intervals int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.asked), m.measured
}

func (m *mesh) setScrape(every time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.scrape = every
}

func (m *mesh) setAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

// questions are those about closed blocks so far.
func (m *mesh) questions() []prom.Ask {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.asked)
}

// peeks are the questions about open blocks so far.
func (m *mesh) peeks() []prom.Ask {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.opened)
}

// looks are how often an open block was looked at closely.
func (m *mesh) looks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closer
}
