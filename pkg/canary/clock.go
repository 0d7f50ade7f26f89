package canary

import (
	"slices"
	"time"
)

// ClockTolerance is how far ahead of the present clock a stored time may be. Clocks
// of two replicas differ by less, and what waits for such a time waits a little
// longer; a time further ahead is of a clock that was wrong, or is.
const ClockTolerance = 10 * time.Second

// mendClock replaces times of a rollout that lie ahead, as a clock leaves them that
// was put right since: bake and every wait would else stand still until that time
// comes, and no block since then could be asked for. It is done when nothing else
// has to be: what takes traffic away does not wait for it.
func (m moment) mendClock(p Plan) Plan {
	if !m.state.Phase.Active() || p.Next.Sequence != m.state.Sequence || !m.ahead() || !m.routesMet() {
		return p
	}
	mended := m.aside(func(s *State) {
		s.Since = m.now
		if s.Started.After(m.now) {
			s.Started = m.now
		}
		s.Legs = slices.DeleteFunc(s.Legs, func(l Leg) bool { return l.To.After(m.now) })
		s.Reason, s.Message = m.state.Reason, m.state.Message
	}, false, m.state.Reason, "%s", m.state.Message)
	mended.Tell = nil
	return mended
}

// ahead tells that the rollout's times can't be of the present clock.
func (m moment) ahead() bool {
	limit := m.now.Add(ClockTolerance)
	return m.state.Since.After(limit) || m.state.Started.After(limit) || m.written().After(limit)
}
