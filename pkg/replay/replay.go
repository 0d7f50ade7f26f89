// Package replay knows what is asked of Prometheus about a rollout, in which
// order, and how the answers become the judge's case. The controller goes this
// way block by block while the release is under way; anybody else goes it again
// in one run, and comes to the same verdicts.
package replay

import (
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// What stable did before the release is asked for in blocks of a minute, over
// an hour that ended early enough for all of them to be closed when the rollout
// begins, so that nobody has to wait for them.
const (
	BeforeWidth = time.Minute
	beforeTime  = time.Hour
	beforeGap   = 2 * time.Minute
)

// WidthOf is how long the blocks of a release are: the scrape interval as it was
// found out, or the assumed one where there are no series to tell it from (0).
func WidthOf(interval, assumed time.Duration) time.Duration {
	if interval == 0 {
		interval = assumed
	}
	return min(max(interval.Round(time.Millisecond), canary.LeastWidth), canary.MostWidth)
}

// Stretch is a stretch of time about which is asked at once: the hour before
// the release, or one at a step and weight.
type Stretch struct {
	Before       bool          // stable's hour before the release
	Step, Weight int           // of the canary; 0 and 0 before the release
	Mirror       int           // share of requests of which it is sent a copy, percent
	From, To     time.Time     // whole milliseconds, UTC; To is zero while the stretch goes on
	Width        time.Duration // of its blocks
}

// Stretches are all stretches of a rollout, in the order of time: stable's hour
// before it, its legs, and the present one. from is when the last VirtualService
// was given the present state; zero if that is not known yet. A stretch without
// weight and copies has nothing to judge, but for one in which the canary's traffic
// is watched going to zero. Until the width of the blocks is known
// (Testing) there is only the hour before.
func Stretches(s canary.State, from time.Time) []Stretch {
	began := whole(s.Started).Add(-beforeGap)
	all := []Stretch{{Before: true, From: began.Add(-beforeTime), To: began, Width: BeforeWidth}}
	if s.Width <= 0 {
		return all
	}
	for _, l := range s.Legs {
		if l.Weight > 0 || l.Mirror > 0 {
			all = append(all, Stretch{Step: l.Step, Weight: l.Weight, Mirror: l.Mirror, From: whole(l.From), To: whole(l.To), Width: s.Width})
		}
	}
	moves := s.Phase.Active() || s.Phase == canary.Watched
	drains := s.Phase.Drains() && s.Peak > 0
	if mirror := canary.TrafficOf(s).Mirror; moves && (s.Weight > 0 || mirror > 0 || drains) && !from.IsZero() {
		all = append(all, Stretch{Step: s.Step, Weight: s.Weight, Mirror: mirror, From: whole(from), Width: s.Width})
	}
	return all
}

// whole drops what a leg doesn't keep, so that a present stretch begins at the
// same border of the grid as it will once it is a leg.
func whole(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }

// Ask is the question for the rest of the stretch from the given time on, about
// the rollout of a Service. Key, Reporter and Custom are left to the asker.
func (s Stretch) Ask(namespace, service string, of canary.State, from time.Time) prom.Ask {
	return prom.Ask{
		Namespace: namespace, Service: service,
		StableWorkload: of.Stable.Deployment, CanaryWorkload: of.Canary.Deployment,
		From: from, To: s.To, Width: s.Width, Step: s.Step, Weight: s.Weight, Mirror: s.Mirror,
	}
}

// Add adds a block of the stretch to the case.
func (s Stretch) Add(c *judge.Case, b judge.Block) {
	if s.Before {
		c.Before(b)
		return
	}
	c.Fold(b)
}

// Over tells that the stretch has ended and that no block of it can come after
// the given time, up to which its blocks are had.
func (s Stretch) Over(had time.Time) bool {
	return !s.To.IsZero() && borderFrom(had, s.Width).Add(s.Width).After(s.To)
}

// borderFrom is the first border of the grid at or after t.
func borderFrom(t time.Time, width time.Duration) time.Time {
	ms, w := t.UnixMilli(), width.Milliseconds()
	border := time.UnixMilli(ms - ((ms%w)+w)%w).UTC()
	if border.Before(t) {
		border = border.Add(width)
	}
	return border
}
