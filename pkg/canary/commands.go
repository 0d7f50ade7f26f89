package canary

import (
	"fmt"
)

// This file holds what people order of a rollout under way.

// resume goes back to the step, at its weight.
func (m moment) resume(change func(*State)) Plan {
	whose := ""
	if m.level(CommandResume) && m.o.Command.By != "" {
		whose = " " + m.o.Command.given()
	}
	return m.move(func(s *State) {
		s.Phase, s.Weight, s.Lowered, s.Since = Testing, 0, false, m.now
		if s.Step > 0 {
			s.Phase, s.Weight = Progressing, m.weightOfStep()
		}
		change(s)
	}, false, Resumed, "Resumed at %d%%%s", m.weightOfStep(), whose)
}

// goOn ends a pause without an order to go on: while nobody could judge the canary it
// gets no more than it has.
func (m moment) goOn() Plan {
	if !m.unjudged() || m.weightOfStep() <= m.state.Weight {
		return m.resume(func(*State) {})
	}
	return m.move(func(s *State) { s.Phase, s.Lowered = Progressing, false }, false, Resumed, "Resumed at %d%%, and no more until there is data", m.state.Weight)
}

func (m moment) weightOfStep() int {
	if m.state.Step == 0 {
		return 0
	}
	if _, differ := m.holdDiffering(); differ {
		return min(m.state.Weight, m.within(m.step().Weight))
	}
	return m.within(m.step().Weight)
}

// obeyVerb carries out an order that acts once; one that does not fit is told
// and never acted on later. One that waits holds no rollback up.
func obeyVerb(m moment) (Plan, bool) {
	p, decided := m.obey()
	if decided && p.Next.Handled == m.state.Handled && p.Next.Phase == m.state.Phase {
		if back, gives := m.givesUp(); gives {
			return back, true
		}
	}
	return p, decided
}

func (m moment) obey() (Plan, bool) {
	verb, new := m.verb()
	if !new {
		return Plan{}, false
	}
	switch verb {
	case CommandApprove:
		return m.heedApproval()
	case CommandRollback:
		_, waits := m.orderedBack()
		p := m.hold(AwaitingGate, "%s", waits)
		return m.rollbackAsks().shown(p), true
	}
	held := m.state.Phase == Paused || m.state.Phase == Inconclusive
	if why := m.unfit(); why != "" && (verb == CommandPromote || verb == CommandSkip || verb == CommandResume && m.weightOfStep() > m.state.Weight) {
		return m.ignore("The command %s#%s would give the canary more traffic, and it can't have it now: %s", verb, m.o.Command.ID, why), true
	}
	if p, busy := m.scaleFor(verb); busy {
		return p, true
	}
	if p, busy := m.enterFor(verb); busy {
		return p, true
	}
	switch {
	case verb == CommandResume && held:
		return m.resume(func(*State) {}).handling(m.o.Command).ordered(), true
	case verb == CommandPromote && m.state.Weight < 100:
		return m.raise(len(m.spec.Steps), StepStarted, "Promoted %s: all traffic goes to %s, the last step still bakes", m.o.Command.given(), m.state.Canary.Deployment).handling(m.o.Command).ordered(), true
	case verb == CommandSkip && m.state.Step < len(m.spec.Steps):
		return m.raise(m.state.Step+1, StepStarted, "Step skipped %s: step %d of %d, %s", m.o.Command.given(), m.state.Step+1, len(m.spec.Steps), m.gives(m.state.Step+1)).handling(m.o.Command).ordered(), true
	}
	return m.ignore("The command %s#%s does not fit a release that is %s at %d%%: ignored", verb, m.o.Command.ID, m.state.Phase, m.state.Weight), true
}

// scaleFor makes the pods that an order takes; it is carried out once they are ready.
func (m moment) scaleFor(verb string) (Plan, bool) {
	switch {
	case verb == CommandPromote && m.state.Weight < 100:
		return m.scale(100)
	case verb == CommandSkip && m.state.Step < len(m.spec.Steps):
		return m.scale(m.spec.Steps[m.state.Step].Weight)
	case verb == CommandResume && m.weightOfStep() > m.state.Weight:
		return m.scale(m.weightOfStep())
	}
	return Plan{}, false
}

// enterFor asks what an order to raise asks, but for the approval that it is itself.
func (m moment) enterFor(verb string) (Plan, bool) {
	switch {
	case verb == CommandPromote && m.state.Weight < 100:
		return m.enter(len(m.spec.Steps), true)
	case verb == CommandSkip && m.state.Step < len(m.spec.Steps):
		return m.enter(m.state.Step+1, true)
	}
	return Plan{}, false
}

// unfit says why the canary can't have more traffic, whoever orders it.
func (m moment) unfit() string {
	if found := m.blocking(); len(found) > 0 {
		return found[0].Sentence()
	}
	if c := m.o.Tracks.Canary; c.Ready == 0 {
		return c.Deployment + " has no ready pod" + because(c.Problem)
	}
	if why := m.differing(); why != "" {
		return why
	}
	if over, found := m.brokenByStable(); found && m.state.Step == 0 {
		return m.unkeepable(over)
	}
	return m.blind()
}

// ignore remembers an order as handled without doing it; the release stays as it was.
func (m moment) ignore(format string, args ...any) Plan {
	p := m.move(func(s *State) { s.Reason, s.Message = m.state.Reason, m.state.Message }, true, CommandIgnored, format, args...)
	p.Tell = []Event{{Reason: CommandIgnored, Sentence: fmt.Sprintf(format, args...), Warning: true}}
	return p.handling(m.o.Command)
}
