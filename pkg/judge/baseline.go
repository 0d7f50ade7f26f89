package judge

import (
	"fmt"
	"math"
	"time"
)

const (
	// overOdds say that stable itself breaks a limit, and overRequests are the
	// least they rest on.
	overOdds, overRequests = 100, 100
	// roomAbove is how much room a suggested limit leaves.
	roomAbove = 1.5
)

// baseline is what stable did before the release.
type baseline struct {
	settings Settings
	known    bool
	covered  time.Duration
	total    Counts
	failed   dispersion
	slow     dispersion // surely slower than the limit
	custom   []dispersion
}

// Baseline is what stable did before the release, over about an hour.
type Baseline struct {
	Known  bool // it was asked for, and answered, if only with no request
	Stable Measure
	// Over lists the limits that stable itself breaks, surely and not by chance.
	Over []Excess
}

// Excess is a limit that stable itself breaks.
type Excess struct {
	Metric  string // as in Metric.Name
	Limit   string // as people write it: 1%, 500ms
	Seen    string // what stable did: "2.3% of 12000 requests failed"
	Suggest string // a limit that stable keeps, as people write it; empty if none is known
	Written bool   // somebody wrote the limit; else it was the default, and only the comparison with stable counts
}

func newBaseline(s Settings) baseline {
	return baseline{settings: s, custom: make([]dispersion, len(s.Custom))}
}

func (f *baseline) add(b Block) {
	f.known = true
	if b.Missing != "" {
		return
	}
	st := b.Stable
	f.covered += b.Width
	f.total.add(&st.Counts)
	f.failed.add(st.failed())
	f.slow.add(st.surelySlow(f.settings.Limits))
	for i := range f.custom {
		if p, ok := pairOf(&b, i); ok {
			f.custom[i].add(p.Stable)
		}
	}
}

func (f *baseline) tell() Baseline {
	m := Measure{Counts: f.total, P99: f.total.Latency.Quantile(1 - slowShare)}
	m.Latency = append(Histogram(nil), f.total.Latency...)
	if f.covered > 0 {
		m.Rate = float64(f.total.Requests) / f.covered.Seconds()
	}
	return Baseline{Known: f.known, Stable: m, Over: f.over()}
}

// breaks tells that the share surely exceeds the limit. Here nothing has an
// onset: it is the whole hour that counts.
func (d *dispersion) breaks(limit float64) bool {
	if d.sum.N < overRequests {
		return false
	}
	t := newLimitTest(limit, bursts{phi: d.phi()})
	var ratio factors
	t.ratios(d.sum, &ratio)
	e := 0.0
	for j, r := range ratio {
		e += t.start[j] * r
	}
	return e >= overOdds
}

func (f *baseline) over() []Excess {
	var found []Excess
	l := f.settings.Limits
	if f.failed.breaks(l.ErrorRate) {
		found = append(found, Excess{
			Metric: nameErrors, Limit: share(l.ErrorRate), Written: !l.DefaultErrorRate,
			Seen:    fmt.Sprintf("%s of %s failed", percent(f.failed.sum), requests(f.failed.sum.N)),
			Suggest: suggested(f.failed.kept()),
		})
	}
	if f.slow.breaks(slowShare) {
		found = append(found, Excess{
			Metric: nameLatency, Limit: Duration(l.P99), Written: !l.DefaultP99,
			Seen:    fmt.Sprintf("%s of %s took longer than %s", percent(f.slow.sum), requests(f.slow.sum.N), Duration(l.P99)),
			Suggest: f.keptBound(),
		})
	}
	for i := range f.custom {
		d, c := &f.custom[i], f.settings.Custom[i]
		if !d.breaks(c.share()) {
			continue
		}
		found = append(found, Excess{
			Metric: c.Name, Limit: c.limit(c.Bound), Written: true,
			Seen:    c.Name + " was " + c.seen(d.sum),
			Suggest: c.suggest(d.kept()),
		})
	}
	return found
}

// kept is a share that stable keeps, with room, rounded up: half as many bad
// requests again, or for large shares a third fewer good ones.
func (d *dispersion) kept() float64 {
	_, high := confidence(d.sum, d.phi())
	return pleasant(min(high*roomAbove, 1-(1-high)/roomAbove))
}

// suggested writes a limit; one that nothing breaks is none.
func suggested(limit float64) string {
	if limit >= 1 {
		return ""
	}
	return share(limit)
}

// keptBound is the lowest bound of the histogram that 99% keep.
func (f *baseline) keptBound() string {
	total := f.total.Latency.Total()
	for _, b := range f.total.Latency {
		if _, high := confidence(Tally{total - b.Count, total}, f.slow.phi()); high <= slowShare && !math.IsInf(b.Le, 1) {
			return bound(b.Le)
		}
	}
	return ""
}

// pleasant rounds a share up to a number that people like.
func pleasant(p float64) float64 {
	if p <= 0 {
		return 0
	}
	ten := math.Pow(10, math.Floor(math.Log10(p)))
	for _, step := range []float64{1, 1.5, 2, 2.5, 3, 4, 5, 6, 8} {
		if step*ten >= p*(1-1e-9) {
			return min(step*ten, 1)
		}
	}
	return min(10*ten, 1)
}

// pairOf is a custom metric of a block, if there is data.
func pairOf(b *Block, i int) (Pair, bool) {
	if i >= len(b.Custom) {
		return Pair{Missing: "it was not asked for"}, false
	}
	return b.Custom[i], b.Custom[i].Missing == ""
}
