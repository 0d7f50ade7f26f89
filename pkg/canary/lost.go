package canary

import "time"

// endLost ends a release that is recorded as begun and of which no route carries the
// state any more, as when somebody replaces the only VirtualService: without its
// record the same template would begin anew from the first step.
func endLost(m moment) (Plan, bool) {
	for _, begun := range m.o.Begun {
		if begun.Rollout == m.state.Rollout {
			continue // it ended, and its record is behind
		}
		lost := begun
		lost.Outcome, lost.Reason, lost.Ended = RolledBack, StateLost, m.now
		lost.Message = "No route carries the state of this release of " + State{Canary: begun.Canary, Stable: begun.Stable, InPlace: begun.InPlace}.subject() +
			" any more, as when its VirtualService is deleted or replaced: it ended there, at a weight that nobody knows"
		p := m.leave(restPhase(m.state), StateLost, "%s", lost.Message).told(true)
		p.Record, p.Recheck = &lost, time.Second
		return p, true
	}
	return Plan{}, false
}

// BegunRelease is the record of a release that has just begun.
func BegunRelease(s State, t Tracks) Release {
	return Release{
		Rollout: s.Rollout, Canary: s.Canary, Stable: s.Stable, Spec: s.Spec, Started: s.Started, InPlace: s.InPlace, Handled: s.Handled,
		Images: ranAs(t.Canary, s.Canary), StableImages: ranAs(t.Stable, s.Stable),
	}
}

// ranAs are the images of a track, as long as it still is of the version that was
// released.
func ranAs(t Track, side Side) []Image {
	if t.Template != side.Template {
		return nil
	}
	return t.Images
}
