package canary

import (
	"strings"

	"serin.dev/serin/pkg/judge"
)

// This file holds the rules by which a rollout stays where it is, and says why.

func holdStateOfNewer(m moment) (Plan, bool) {
	if !m.o.Newer {
		return Plan{}, false
	}
	return m.leave(Blocked, StateOfNewer,
		"The rollout's state was written by a newer version of Serin; nothing is moved until that version runs again").told(true), true
}

func holdInvalid(m moment) (Plan, bool) {
	if len(m.o.Invalid) == 0 {
		return Plan{}, false
	}
	return m.hold(InvalidAnnotation, "Held, the annotations of %s are not valid: %s", m.state.subject(), strings.Join(m.o.Invalid, "; ")).told(true), true
}

func holdStableUnavailable(m moment) (Plan, bool) {
	none := m.state.InPlace && m.o.Tracks.Stable.Wanted == 0 // nothing of it could be updated
	if m.stableServes() || m.state.Weight == 100 && !none {
		return Plan{}, false
	}
	return m.hold(StableUnavailable, "Held, %s has no ready pod: a rollback would have nowhere to go%s", m.state.Stable.Deployment, because(m.o.Tracks.Stable.Problem)).told(true), true
}

// holdStableChanged stops a comparison whose yardstick moved.
func holdStableChanged(m moment) (Plan, bool) {
	live := m.o.Tracks.Stable.Template
	if live == "" || live == m.state.Stable.Template {
		return Plan{}, false
	}
	if verb, new := m.verb(); new && verb == CommandResume {
		return m.resume(func(s *State) { s.Stable.Template = live }).handling(m.o.Command).ordered(), true
	}
	if m.state.Phase == Paused && m.state.Reason == StableChanged {
		return m.hold(StableChanged, "%s", m.state.Message), true
	}
	return m.move(func(s *State) { s.Phase = Paused }, true, StableChanged,
		"%s got another pod template in mid-release: held at %d%%; the command resume#id goes on against the new one, abort ends the release", m.state.Stable.Deployment, m.state.Weight), true
}

// enterPause obeys a standing command to pause.
func enterPause(m moment) (Plan, bool) {
	if m.state.Phase == Paused || !m.level(CommandPause) {
		return Plan{}, false
	}
	return m.move(func(s *State) { s.Phase = Paused }, false, PausedByCommand,
		"Paused %s at %d%%; take the command away to go on", m.o.Command.given(), m.state.Weight), true
}

// leavePause ends the pause of a rollout that waits for data, and gives nobody more.
func leavePause(m moment) (Plan, bool) {
	if m.state.Phase != Paused || m.state.Reason != PausedByCommand || m.level(CommandPause) {
		return Plan{}, false
	}
	return m.move(func(s *State) { s.Phase = Progressing }, false, Resumed, "Resumed at %d%%", m.state.Weight), true
}

// holdPaused enters, keeps and leaves the pause that a standing command makes.
func holdPaused(m moment) (Plan, bool) {
	if p, entered := enterPause(m); entered {
		return p, true
	}
	switch {
	case m.state.Phase == Paused && m.state.Reason == PausedByCommand && !m.level(CommandPause):
		return m.goOn(), true
	case m.state.Phase == Paused && m.state.Reason == StableChanged && !m.state.Lowered:
		return m.goOn(), true // stable went back to the template it had
	case m.state.Phase == Paused:
		return m.hold(m.state.Reason, "%s", m.state.Message), true
	}
	return Plan{}, false
}

func holdFindings(m moment) (Plan, bool) {
	found := m.blocking()
	if len(found) == 0 {
		return Plan{}, false
	}
	p := m.hold(found[0].Reason, "Held: %s", found[0].Sentence()).told(true)
	p.View.Phase = Blocked
	return p, true
}

// suspects are the holds of which people are told, once: without their numbers,
// which change from look to look.
var suspects = map[Reason]string{
	SharedIncident:      "Held: both versions are over the limit, so it is not the canary alone",
	CanaryStarved:       "Held: the canary answers far less than its share of the traffic; it is rolled back if that goes on",
	Drifting:            "Held: the canary keeps its limits, but gets worse and is on its way to break one",
	ErrorRatioTooHigh:   "Held: the canary keeps its limits, but fails more often than stable; with a multiple in max-error-rate it would be rolled back",
	LatencyRatioTooHigh: "Held: the canary keeps its limits, but is slower than stable; with a multiple in max-p99 it would be rolled back",
	ClientErrors:        "Held: the canary refuses requests (4xx) that stable answers",
}

const starvedUnknown = "Held: the canary answers far less than its share of the traffic. Clients bypass the routes, so its share isn't known for sure, and it isn't rolled back for that"

// suspect tells people why a step is held, where they should know.
func (m moment) suspect(p Plan) Plan {
	sentence := suspects[p.View.Reason]
	if p.View.Reason == CanaryStarved && m.shareUnknown() {
		sentence = starvedUnknown
	}
	if sentence != "" {
		p.Tell = append(p.Tell, Event{Reason: p.View.Reason, Warning: true, Sentence: sentence})
	}
	return p
}

// holdStep says what the step still waits for.
func holdStep(m moment) (Plan, bool) {
	v, bake := m.o.Verdict, m.step().Bake
	switch {
	case v.At.IsZero() && v.Kind != judge.NoData:
		return m.hold(Baking, "At %d%%, no data of this step yet", m.state.Weight), true
	case v.Kind == judge.NoData:
		p := m.hold(NoData, "%s", v.Sentence)
		if last := latest(v.At, m.state.Since); m.now.Sub(last) >= noDataAlert {
			p.View.Sentence = "Held: no data from Prometheus for more than " + short(noDataAlert)
			p = p.told(true)
		}
		return p, true
	case v.Kind == judge.Promote:
		return m.hold(Baking, "Baking, %s of %s. %s", short(v.Covered), short(bake), v.Sentence), true
	}
	return m.suspect(m.hold(Reason(v.Reason), "%s", v.Sentence)), true
}
