package canary

import (
	"slices"
	"sort"
	"time"

	"serin.dev/serin/pkg/judge"
)

// This file holds the answers to whoever else writes the routes.

// strayed returns the VirtualService, first by name, that somebody else wrote
// and that f picks.
func (m moment) strayed(f func(Seen) bool) (ObjectKey, Seen, bool) {
	return m.firstSeen(func(s Seen) bool { return s.Writer != "" && f(s) })
}

// firstSeen is the VirtualService, first by name, that f picks.
func (m moment) firstSeen(f func(Seen) bool) (ObjectKey, Seen, bool) {
	keys := make([]ObjectKey, 0, len(m.o.Traffic))
	for key := range m.o.Traffic {
		keys = append(keys, key)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
	for _, key := range keys {
		if seen := m.o.Traffic[key]; f(seen) {
			return key, seen, true
		}
	}
	return ObjectKey{}, Seen{}, false
}

// answerGitOps re-applies what a GitOps tool reverted, and gives way when it
// does not stop: traffic that flaps is worse than a release that waits.
func answerGitOps(m moment) (Plan, bool) {
	key, seen, found := m.strayed(func(s Seen) bool {
		return s.GitOps && (s.Lowered || s.Raised || s.HeaderLost || s.MirrorLost || s.StickyLost)
	})
	if !found {
		return Plan{}, false
	}
	if seen.Lowered && m.awaitsData() && m.state.Reverts < MaxReverts {
		return m.awaitData(), true
	}
	if m.state.Reverts >= MaxReverts {
		return m.rollBack(RevertedByGitOps, "%s wrote the routes of %s back %d times: the release stays at stable. %s",
			seen.Writer, key, m.state.Reverts+1, gitOpsMend), true
	}
	return m.aside(func(s *State) { s.Reverts++ }, true, GitOpsReapplied,
		"%s wrote the routes of %s back; they are set again (%d of %d). %s", seen.Writer, key, m.state.Reverts+1, MaxReverts, gitOpsMend), true
}

const gitOpsMend = "Let it ignore the routes: Argo CD with ignoreDifferences on .spec.http and RespectIgnoreDifferences=true, Flux with kustomize.toolkit.fluxcd.io/ssa: IfNotPresent"

// pauseForPerson honours at once a hand that took weight away.
func pauseForPerson(m moment) (Plan, bool) {
	key, seen, found := m.strayed(func(s Seen) bool {
		return s.Lowered && (s.Rollout == m.state.Rollout || s.Rollout == "") // without our state it was replaced
	})
	if !found {
		return Plan{}, false
	}
	weight := min(seen.Min, m.state.Weight)
	for _, other := range m.o.Traffic {
		if other.Writer != "" && other.Lowered {
			weight = min(weight, other.Min)
		}
	}
	return m.move(func(s *State) {
		s.Phase, s.Weight, s.Lowered = Paused, weight, true
	}, true, PausedByPerson, "%s lowered the canary to %d%% in %s: paused there until the command resume#id", seen.Writer, weight, key), true
}

// undoRaise takes back what was given too early. Each time the bake and the
// blocks begin anew, so where it does not stop nobody could judge the canary.
func undoRaise(m moment) (Plan, bool) {
	key, seen, found := m.strayed(func(s Seen) bool { return s.Raised })
	if !found {
		return Plan{}, false
	}
	if m.interruptions() >= maxInterruptions {
		return m.rollBack(RaiseUndone, "%s raises the canary in %s again and again, so that nobody can judge it: the release goes back to stable. Only one may lead a release: stop the other, or take the annotation off %s",
			seen.Writer, key, m.state.subject()), true
	}
	if seen.Unpinned != "" {
		return m.aside(func(*State) {}, true, RaiseUndone,
			"%s took the subset out of %s %s, so that the canary's pods get a part of its requests: pinned again", seen.Writer, key, seen.Unpinned), true
	}
	return m.aside(func(*State) {}, true, RaiseUndone,
		"%s raised the canary to %d%% in %s: set back to %d%%; use the command promote#id or skip#id to go faster", seen.Writer, seen.Max, key, m.state.Weight), true
}

// interruptions counts how often the present step was begun anew at its weight.
func (m moment) interruptions() (n int) {
	for _, leg := range slices.Backward(m.state.Legs) {
		if leg.Step != m.state.Step || leg.Weight != m.state.Weight {
			break
		}
		n++
	}
	return n
}

// asOrdered tells that the routes are as the state on them orders.
func (s Seen) asOrdered() bool {
	return !s.Lowered && !s.Raised && !s.HeaderLost && !s.MirrorLost && !s.StickyLost
}

// routesMet tells whether every VirtualService carries this state and its weights.
func (m moment) routesMet() bool {
	for _, seen := range m.o.Traffic {
		if seen.Rollout != m.state.Rollout || seen.Sequence != m.state.Sequence || !seen.asOrdered() {
			return false
		}
	}
	return len(m.o.Traffic) > 0
}

func holdForPendingRoutes(m moment) (Plan, bool) {
	if m.routesMet() {
		return Plan{}, false
	}
	if m.awaitsData() {
		return m.awaitData(), true
	}
	p := m.hold(RoutesPending, "%s", m.state.Message)
	p.Recheck = time.Second
	return p, true
}

// awaitData waits with a rollout that would give users to a canary nobody can judge:
// what ends the waiting, or makes it less, comes first. Where no VirtualService is as
// ordered, there is none that another order could be written on but the end.
func (m moment) awaitData() Plan {
	policy := []rule{bearIncident, meetDeadline, adoptSpec, holdStableChanged, enterPause, leavePause, holdUnjudged}
	_, _, carried := m.firstSeen(func(s Seen) bool {
		return s.Rollout == m.state.Rollout && s.Sequence == m.state.Sequence && !s.Lowered
	})
	if !carried {
		policy = []rule{bearIncident, meetDeadline, holdUnjudged}
	}
	return m.first(policy)
}

// awaitsData tells that a VirtualService gives the canary less than is ordered, as an
// outage in the middle of a step or a GitOps tool has left it, and that nobody could
// judge a canary with more: that it was decided once, on data of then, says nothing of
// now.
func (m moment) awaitsData() bool {
	_, _, found := m.below()
	return found && m.unjudged() && !m.byOrder()
}

func holdUnjudged(m moment) (Plan, bool) {
	key, seen, _ := m.below()
	p := m.hold(NoData, "%s gives the canary %d%%, and gets %d%% when there is data again: nobody could judge it now", key, seen.Min, m.state.Weight)
	if !m.o.Replaying && m.now.Sub(latest(m.written(), m.o.Verdict.At)) >= noDataAlert {
		p = p.told(true)
	}
	return p, true
}

// steady tells that a plan that raises nothing by itself must not complete a raise
// either: nobody could judge the canary, or it goes back and only waits for stable.
func (m moment) steady(p Plan) bool {
	next := p.Next
	switch {
	case p.Traffic == nil || p.Clean || p.Last || next.Phase == Promoting || next.Phase == Finishing:
		return false
	case next.Phase == RollingBack:
		return next.Weight > 0
	}
	return next.Weight <= m.state.Weight && m.unjudged() && !m.byOrder()
}

// below is the VirtualService, first by name, that is yet to give the canary as much
// as the state orders.
func (m moment) below() (ObjectKey, Seen, bool) {
	return m.firstSeen(func(s Seen) bool {
		pending := s.Rollout != m.state.Rollout || s.Sequence != m.state.Sequence || s.Lowered
		return pending && !s.Idle && s.Min < m.state.Weight
	})
}

// unjudged tells that nothing that is known of a canary with users is of now: neither
// a verdict nor, while there is none yet, the order by which it came to its weight.
func (m moment) unjudged() bool {
	v, known := m.o.Verdict, m.state.Since
	if m.state.Reason == StepStarted { // more pods for the same step, too, were given it on data
		known = latest(known, m.written())
	}
	switch {
	case m.state.Weight == 0:
		return false
	case v.Kind == judge.NoData, m.o.Replaying:
		return true
	case !v.At.IsZero():
		known = v.At
	}
	return m.now.Sub(known) > Freshness(m.state.Width)
}

// byOrder tells that a person asks for more, or answers for the weight there is.
func (m moment) byOrder() bool {
	verb, new := m.verb()
	return m.state.Ordered || new && slices.Contains([]string{CommandSkip, CommandPromote, CommandResume}, verb)
}
