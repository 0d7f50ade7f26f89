package load

import (
	"slices"
	"time"
)

// Summary is what users saw.
type Summary struct {
	Count
	ByVersion map[string]Count // by who answered; "" is nobody, such as a proxy without a server
}

// Count sums up requests.
type Count struct {
	Requests  int
	Bad       int           // see Record.Bad
	P99       time.Duration // 99 of 100 requests took at most this long; 0 without requests
	FirstBad  time.Time     // when the first bad request was sent; zero without one
	LastBad   time.Time
	latencies []time.Duration
}

// Summarize sums up the records that were sent from since to before until; a
// zero time is no bound.
func Summarize(records []Record, since, until time.Time) Summary {
	s := Summary{ByVersion: map[string]Count{}}
	for _, r := range records {
		if r.Start.Before(since) || !until.IsZero() && !r.Start.Before(until) {
			continue
		}
		s.Count.add(r)
		c := s.ByVersion[r.Version]
		c.add(r)
		s.ByVersion[r.Version] = c
	}
	s.Count.finish()
	for version, c := range s.ByVersion {
		c.finish()
		s.ByVersion[version] = c
	}
	return s
}

func (c *Count) add(r Record) {
	c.Requests++
	c.latencies = append(c.latencies, r.Latency)
	if !r.Bad() {
		return
	}
	c.Bad++
	if c.FirstBad.IsZero() || r.Start.Before(c.FirstBad) {
		c.FirstBad = r.Start
	}
	if r.Start.After(c.LastBad) {
		c.LastBad = r.Start
	}
}

// finish works out the percentile: the smallest latency that at least 99% of
// the requests do not exceed.
func (c *Count) finish() {
	if len(c.latencies) == 0 {
		return
	}
	slices.Sort(c.latencies)
	rank := (len(c.latencies)*99 + 99) / 100
	c.P99 = c.latencies[rank-1]
	c.latencies = nil
}

// ErrorRate is the share of bad requests, 0..1; 0 without requests.
func (c Count) ErrorRate() float64 {
	if c.Requests == 0 {
		return 0
	}
	return float64(c.Bad) / float64(c.Requests)
}
