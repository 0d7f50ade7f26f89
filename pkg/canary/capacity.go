package canary

import "fmt"

// This file holds what keeps a weight within what the canary's pods can carry, and
// what of a pod's life counts as a breach.

// Base is how the tracks were when a release began.
type Base struct {
	Ready    int `json:"r"`           // Ready pods of stable, > 0
	Restarts int `json:"x,omitempty"` // container restarts of the canary's pods
	Killed   int `json:"k,omitempty"` // containers of them that were last ended for want of memory
	// Images is a mark of what the canary's pods ran, by digest: from the start of a pair,
	// in place from when its pods first report it. Empty where it was not known.
	Images string `json:"i,omitempty"`
}

// Carries is the share of the traffic, in percent, that pods can carry: as much each as
// base pods carried of all of it, times a factor. 100 where factor or base is 0.
func Carries(ready, base int, factor float64) int {
	if factor <= 0 || base <= 0 {
		return 100
	}
	return int(min(100, 100*factor*float64(ready)/float64(base)))
}

// carries is the share that the canary's Ready pods can carry now, percent.
func (m moment) carries() int {
	return Carries(m.o.Tracks.Canary.Ready, m.base(), m.capacity())
}

// capacity is how many times a stable pod's traffic a canary pod may have. In place the
// canary gets as many pods for a weight as stable had, and never more.
func (m moment) capacity() float64 {
	if m.state.InPlace && m.spec.Capacity > 0 {
		return max(1, m.spec.Capacity)
	}
	return m.spec.Capacity
}

// base is how many pods carried all the traffic. Somebody who scales a Deployment that
// is released in place scales both versions: then as few suffice as they want.
func (m moment) base() int {
	if wanted := m.o.Tracks.Stable.Wanted; m.state.InPlace && wanted > 0 {
		return min(m.state.Base.Ready, wanted)
	}
	return m.state.Base.Ready
}

// within is a weight, as far as the pods carry it.
func (m moment) within(weight int) int { return min(weight, m.carries()) }

// needs says how many pods a weight takes, and how many there are.
func (m moment) needs(weight int) string {
	c := m.o.Tracks.Canary
	need := 1
	for need < mostPods && Carries(need, m.base(), m.capacity()) < weight {
		need++
	}
	return fmt.Sprintf("%d%% takes %s of %s, it has %d%s (stable carried everything with %d; a pod is given at most %s times what one of those had)",
		weight, howMany(need, "ready pod"), c.Deployment, c.Ready, because(c.Problem), m.base(), decimal(m.capacity()))
}

// lowerToCapacity takes away what the pods that are left can't carry.
func lowerToCapacity(m moment) (Plan, bool) {
	most := m.carries()
	if m.state.Weight <= most || m.state.Phase == RollingBack || m.o.Tracks.Canary.Ready == 0 || !m.stableServes() {
		return Plan{}, false
	}
	return m.aside(func(s *State) { s.Weight = most }, true, CapacityShort,
		"Lowered to %d%%, as far as the pods that are left carry it: %s", most, m.needs(m.state.Weight)), true
}

// growWithinStep raises to the step's weight as pods become ready, and waits for them.
// A canary's autoscaler needs the traffic to add pods, so that one does not wait for
// the other.
func growWithinStep(m moment) (Plan, bool) {
	if m.state.Phase != Progressing || m.state.Weight >= m.step().Weight || m.state.Lowered {
		return Plan{}, false
	}
	weight := m.within(m.step().Weight)
	if p, differ := m.holdDiffering(); differ && weight > m.state.Weight {
		if back, gives := m.givesUp(); gives {
			return back, true
		}
		return p, true
	}
	if weight > m.state.Weight && m.unjudged() && !m.byOrder() {
		return m.awaitingGrowth(weight), true
	}
	if weight > m.state.Weight {
		return m.move(func(s *State) { s.Weight = weight }, false, StepStarted,
			"Step %d of %d: %s", m.state.Step, len(m.spec.Steps), m.gives(m.state.Step)), true
	}
	late := m.now.Sub(m.state.Since) >= m.spec.StepDeadline
	if late && m.spec.OnInconclusive == RollBack {
		return m.rollBack(RolledBackOnTime, "Not enough pods within the step's deadline of %s: %s", short(m.spec.StepDeadline), m.needs(m.step().Weight)), true
	}
	if p, back := m.givesUp(); back {
		return p, true
	}
	p := m.hold(CapacityShort, "At %d%%, as far as the pods carry it: %s", m.state.Weight, m.needs(m.step().Weight))
	if late {
		p.Tell = append(p.Tell, Event{Reason: CapacityShort, Warning: true,
			Sentence: "Held below the step's weight for want of ready pods. Give " + m.state.Canary.Deployment + " more replicas, or serin.dev/capacity another value"})
	}
	return p, true
}

// awaitingGrowth waits for data before the canary gets what its pods carry by now.
func (m moment) awaitingGrowth(weight int) Plan {
	for _, rule := range []rule{bearIncident, meetDeadline} {
		if p, decided := rule(m); decided {
			return p
		}
	}
	p := m.hold(NoData, "At %d%%, until there is data again: the pods carry %d%%, and nobody could judge the canary with that", m.state.Weight, weight)
	if !m.o.Replaying && m.now.Sub(latest(m.written(), m.o.Verdict.At)) >= noDataAlert {
		p = p.told(true)
	}
	return p
}

// holdForPods keeps a raise until the pods carry at least a part of it.
func (m moment) holdForPods(step int) (Plan, bool) {
	weight := m.spec.Steps[step-1].Weight
	if weight == 0 || m.within(weight) > m.state.Weight {
		return Plan{}, false
	}
	p := m.hold(CapacityShort, "%s", m.needs(weight))
	if m.now.Sub(m.state.Since) >= m.spec.StepDeadline {
		p.Tell = append(p.Tell, Event{Reason: CapacityShort, Warning: true,
			Sentence: "Held for want of ready pods. Give " + m.state.Canary.Deployment + " more replicas, or serin.dev/capacity another value"})
	}
	return p, true
}

// stableShrank warns that a snap would land on fewer pods than stable had for all the
// traffic; its autoscaler does that when the traffic goes.
func (m moment) stableShrank() []Event {
	had, has := m.state.Base.Ready, m.o.Tracks.Stable.Ready
	if had == 0 || 2*has >= had {
		return nil
	}
	return []Event{{Reason: StableShrunk, Warning: true, Sentence: fmt.Sprintf(
		"%s has %d ready of the %s with which the release began: a rollback would send all users to these. Give its autoscaler a minReplicas of %d",
		m.state.Stable.Deployment, has, howMany(had, "pod"), had)}}
}

// rollBackRestarting goes back when containers of the canary end again and again, or
// for want of memory.
func rollBackRestarting(m moment) (Plan, bool) {
	c, base := m.o.Tracks.Canary, m.state.Base
	if m.spec.MaxRestarts == 0 || base.Ready == 0 {
		return Plan{}, false
	}
	if killed := c.Killed - base.Killed; killed > 0 {
		return m.rollBack(CanaryOutOfMemory, "%s of %s ended for want of memory since the release began", howMany(killed, "container"), m.state.Canary.Deployment), true
	}
	if n := c.Restarts - base.Restarts; n > m.spec.MaxRestarts {
		return m.rollBack(CanaryRestarting, "The containers of %s restarted %d times since the release began, at most %d are allowed", m.state.Canary.Deployment, n, m.spec.MaxRestarts), true
	}
	return Plan{}, false
}
