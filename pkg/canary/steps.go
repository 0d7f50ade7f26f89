package canary

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"serin.dev/serin/pkg/judge"
)

// This file holds the rules by which a rollout goes on.

// adoptSpec takes over annotations that were changed in mid-release. The weight
// never rises by it.
func adoptSpec(m moment) (Plan, bool) {
	if sameSpec(m.spec, m.state.Spec) {
		return Plan{}, false
	}
	return m.aside(func(s *State) {
		s.Spec = m.stored(s.InPlace)
		if !m.unjudged() { // else another setting would pass for something known
			s.Since = m.now
		}
		if s.Step == 0 {
			return
		}
		s.Step = stepsUpTo(m.spec.Steps, m.step())
		if s.Step > 0 {
			s.Weight = min(s.Weight, m.spec.Steps[s.Step-1].Weight)
			return
		}
		s.Weight = 0
		if s.Phase != Paused {
			s.Phase = Testing
		}
	}, false, SpecChanged, "The annotations of %s changed: the release goes on by the new ones", m.state.subject()), true
}

// stored is the spec as a state keeps it: what only concerns releases in place is
// left out of others, which an older Serin has to be able to read.
func (m moment) stored(inPlace bool) Spec {
	s := m.spec
	if !inPlace {
		s.OnRollback, s.Settle = "", 0
	}
	return s
}

// stepsUpTo counts the steps that give the canary at most what the step passed last
// did.
func stepsUpTo(steps []Step, last Step) int {
	n := 0
	for n < len(steps) && steps[n].Weight <= last.Weight && (last.Weight > 0 || steps[n].Mirror <= last.Mirror) {
		n++
	}
	return n
}

// sameSpec compares what a state keeps of a spec.
func sameSpec(a, b Spec) bool {
	return slices.Equal(a.Steps, b.Steps) && a.Test == b.Test && a.StepDeadline == b.StepDeadline &&
		a.OnInconclusive == b.OnInconclusive && a.SharedIncident == b.SharedIncident &&
		a.Limits == b.Limits && a.Rules == b.Rules && slices.Equal(a.Custom, b.Custom) &&
		slices.Equal(a.Approval, b.Approval) && slices.EqualFunc(a.Gates, b.Gates, sameGate) &&
		a.Smoke == b.Smoke && a.Alerts == b.Alerts && a.Tags == b.Tags &&
		a.Capacity == b.Capacity && a.MaxRestarts == b.MaxRestarts && a.Sticky == b.Sticky &&
		a.Header.Name == b.Header.Name && a.Header.Match == b.Header.Match && slices.Equal(a.Header.Values, b.Header.Values)
}

func sameGate(a, b GateUse) bool { return a.Name == b.Name && slices.Equal(a.Stages, b.Stages) }

// raise goes to a step, 1-based, as far as the pods carry it. The first one settles the grid of the blocks,
// and tells what of stable is known by then.
func (m moment) raise(step int, r Reason, format string, args ...any) Plan {
	p := m.move(func(s *State) {
		s.Phase, s.Step, s.Since, s.Lowered = Progressing, step, m.now, false
		s.Weight = m.within(m.spec.Steps[step-1].Weight)
		if s.Width == 0 {
			s.Width = m.o.Width
		}
		if s.Base.Images == "" {
			s.Base.Images = m.o.Tracks.Canary.identity()
		}
	}, false, r, format, args...)
	if m.approves() {
		p = p.approve(m.o.Command, step, "Step "+strconv.Itoa(step)+" ("+m.spec.Steps[step-1].share()+")", m.now)
	}
	p.Tell = append(p.Tell, m.stableShrank()...)
	if m.state.Step == 0 {
		for _, over := range m.o.Baseline.Over {
			p.Tell = append(p.Tell, Event{Reason: StableOverLimit, Warning: true, Sentence: m.comparedOnly(over)})
		}
		if sentence, found := m.blurred(); found {
			p.Tell = append(p.Tell, Event{Reason: Unresolved, Warning: true, Sentence: sentence})
		}
	}
	return p
}

func leaveTesting(m moment) (Plan, bool) {
	if m.state.Phase != Testing {
		return Plan{}, false
	}
	c := m.o.Tracks.Canary
	if m.state.InPlace && !m.o.Place.Canary {
		p := m.hold(Preparing, "All routes are pinned to %s; the pods of %s are made when all proxies go by that", m.state.Stable.Deployment, c.Deployment)
		p.Recheck = max(time.Second, m.unsettled(m.written()))
		return p, true
	}
	if !c.Complete {
		p := m.hold(WaitingForPods, "Waiting until all pods of %s are ready (%d of %d)%s", c.Deployment, c.Ready, c.Wanted, because(c.Problem))
		if m.now.Sub(m.state.Since) >= m.spec.StepDeadline {
			p = p.told(true)
		}
		return p, true
	}
	if left := m.unknownToProxies(); left > 0 {
		p := m.hold(WaitingForPods, "The pods of %s are ready; the proxies learn of them", c.Deployment)
		p.Recheck = left
		return p, true
	}
	if p, differ := m.holdDiffering(); differ {
		return p, true
	}
	if p, noted := m.noteImages(); noted {
		return p, true
	}
	if over, found := m.brokenByStable(); found {
		p := m.hold(StableOverLimit, "%s", m.unkeepable(over)).told(true)
		p.View.Phase = Blocked
		return p, true
	}
	if left := m.spec.Test - m.now.Sub(m.state.Since); left > 0 {
		p := m.hold(TestingReady, "%s", m.state.Message)
		p.Recheck = left
		return p, true
	}
	if why := m.blind(); why != "" {
		return m.holdBlind(why), true
	}
	if p, busy := m.scale(m.spec.Steps[0].takes()); busy {
		return p, true
	}
	if p, held := m.enter(1, false); held {
		return p, true
	}
	return m.raise(1, StepStarted, "Step 1 of %d: %s", len(m.spec.Steps), m.gives(1)), true
}

// enter is whatever has to be so before a raise to a step, last of all: its pods, that
// they are of one version, and what others say.
func (m moment) enter(step int, ordered bool) (Plan, bool) {
	if p, held := m.holdDiffering(); held {
		return p, true
	}
	if p, held := m.holdForPods(step); held {
		return p, true
	}
	return m.permit(step, ordered)
}

// gives says what a step gives the canary.
func (m moment) gives(step int) string {
	s, of := m.spec.Steps[step-1], m.state.Canary.Deployment
	if s.Mirror > 0 {
		return fmt.Sprintf("%s is sent a copy of %d%% of the traffic, and no user", of, s.Mirror)
	}
	if weight := m.within(s.Weight); weight < s.Weight {
		return fmt.Sprintf("%d%% of the traffic goes to %s, as far as its pods carry %d%%", weight, of, s.Weight)
	}
	return fmt.Sprintf("%d%% of the traffic goes to %s", s.Weight, of)
}

// takes is the share of the traffic, in percent, that a step's pods have to carry.
func (s Step) takes() int { return max(s.Weight, s.Mirror) }

// unknownToProxies is how long proxies may not know yet of the canary's pods; not
// above 0 when they do. A pod says to the second when it became ready.
func (m moment) unknownToProxies() time.Duration {
	since := m.o.Tracks.Canary.Since
	if since.IsZero() || since.After(m.now.Add(ClockTolerance)) {
		return 0 // the clock of their node is wrong: nobody knows since when
	}
	return m.unsettled(since.Add(time.Second))
}

// passStep goes on when the bake is done and the verdict is good.
func passStep(m moment) (Plan, bool) {
	v := m.o.Verdict
	bake := m.step().Bake
	if v.Kind != judge.Promote || v.Covered < bake || m.now.Sub(m.state.Since) < bake {
		return Plan{}, false
	}
	if age := m.now.Sub(v.At); age > Freshness(m.state.Width) {
		p := m.hold(NoData, "The verdict is good, and %s old: held until there is data again. %s", short(age), v.Sentence)
		if age >= noDataAlert {
			p = p.told(true)
			p.Tell[0].Sentence = "Held: no data from Prometheus for more than " + short(noDataAlert)
		}
		return p, true
	}
	if m.state.Weight < m.step().Weight {
		return m.unhold(), true
	}
	return m.advance(StepPassed, v.Sentence), true
}

// unhold goes on with a step that is below its weight, as when a deadline held it and
// pods went meanwhile: a step is passed, and a release promoted, at its whole weight.
func (m moment) unhold() Plan {
	return m.move(func(s *State) { s.Phase, s.Since = Progressing, m.now }, false, Resumed,
		"There is a good verdict at %d%%: step %d of %d goes on to %d%% as its pods carry it", m.state.Weight, m.state.Step, len(m.spec.Steps), m.step().Weight)
}

// advance goes to the next step, or ends the release well after the last.
func (m moment) advance(r Reason, why string) Plan {
	n, steps := m.state.Step, len(m.spec.Steps)
	if p, held := m.holdDiffering(); held && n == steps {
		return p // whatever they are, they are not what was judged
	}
	if n == steps && m.state.InPlace {
		return m.move(func(s *State) { s.Phase, s.Since = Promoting, m.now }, false, Updating,
			"All users are on %s, which kept its limits: Kubernetes updates %s while it has none. %s", m.state.Canary.Deployment, m.state.Stable.Deployment, why)
	}
	if n == steps {
		return m.rest(Succeeded, false, Promoted, "%s is promoted: it has all the traffic. %s", m.state.Canary.Deployment, why)
	}
	if p, busy := m.scale(m.spec.Steps[n].takes()); busy {
		return p
	}
	if p, held := m.enter(n+1, false); held {
		return p
	}
	return m.raise(n+1, r, "Step %d of %d: %s. %s", n+1, steps, m.gives(n+1), why)
}

// bearIncident ends the patience with an incident of both versions as the team
// has set it. Until then the weight is held, whatever the step's deadline says.
func bearIncident(m moment) (Plan, bool) {
	v, patience := m.o.Verdict, m.spec.SharedIncident
	if v.Kind != judge.SharedIncident || m.now.Sub(latest(v.Since, m.state.Since)) < patience.Wait {
		return Plan{}, false
	}
	if patience.Then == RollBack {
		return m.rollBack(SharedIncident, "Both versions break a limit for %s: back to stable. %s", short(patience.Wait), v.Sentence), true
	}
	if m.state.Phase != Progressing {
		return Plan{}, false
	}
	return m.move(func(s *State) { s.Phase = Inconclusive }, true, SharedIncident,
		"Both versions break a limit for %s: held at %d%% until the verdict is good, or the command resume#id, skip#id or abort (%s)", short(patience.Wait), m.state.Weight, v.Sentence), true
}

// meetDeadline ends the waiting for a verdict as the team has set it. An
// incident of both versions has a patience of its own. A metric without data is
// no few requests: nobody goes on over what isn't known.
func meetDeadline(m moment) (Plan, bool) {
	if m.state.Phase != Progressing || m.now.Sub(m.state.Since) < m.spec.StepDeadline || m.o.Verdict.Kind == judge.SharedIncident || m.o.Replaying {
		return Plan{}, false
	}
	v, seen := m.o.Verdict, m.o.Verdict.Sentence
	if v.Kind == judge.NoData && m.now.Sub(v.At) < noDataAlert {
		return Plan{}, false // a gap of a scrape or two ends no release: what comes after it tells more
	}
	if seen == "" {
		seen = "no data yet"
	}
	onTime := v.Kind == judge.Hold && v.Reason != judge.ReasonNoData && v.NoWorse && v.Covered >= m.step().Bake && !m.unjudged()
	switch {
	case m.spec.OnInconclusive == Proceed && onTime:
		return m.advance(ProceedOnTime, "On time, not on evidence: "+v.Sentence), true
	case m.spec.OnInconclusive == RollBack && !m.mayHaveWaited():
		return m.rollBack(RolledBackOnTime, "No verdict within the step's deadline of %s: %s", short(m.spec.StepDeadline), seen), true
	}
	return m.move(func(s *State) { s.Phase = Inconclusive }, true, DeadlinePassed,
		"No verdict within the step's deadline of %s: held at %d%% until there is one, or the command resume#id, skip#id or abort (%s)", short(m.spec.StepDeadline), m.state.Weight, seen), true
}

// mayHaveWaited tells that the next raise asks people or gates. A release that has its
// verdict waits for them over night, when there is too little traffic for another one;
// having waited is no reason to go back.
func (m moment) mayHaveWaited() bool {
	next := m.state.Step + 1
	return next <= len(m.spec.Steps) && (m.approvalFor(next, asks{}) != "" || m.gated(m.stageOf(next)))
}

// givesUp is what a release goes back for while it waits for something else than a
// verdict: an order that can't be carried out yet, or pods, hold no rollback up.
func (m moment) givesUp() (Plan, bool) {
	if m.state.Phase != Progressing && m.state.Phase != Inconclusive {
		return Plan{}, false
	}
	for _, rule := range []rule{bearIncident, meetDeadline} {
		if p, decided := rule(m); decided && p.Next.Phase == RollingBack {
			return p, true
		}
	}
	return Plan{}, false
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// short is a duration as people write it, to the second: 5m, 1m30s.
func short(d time.Duration) string { return judge.Duration(d.Round(time.Second)) }
