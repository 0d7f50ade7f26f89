package canary

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// This file holds what must be said yes to before users are sent to a canary, or a
// release begins at all.

// Approval is a person's yes to a raise.
type Approval struct {
	Step int       `json:"n"`            // to which, 1-based; 0: to the start
	By   string    `json:"by,omitempty"` // as the API server noted it; empty: nobody did
	At   time.Time `json:"at"`
}

// MaxApprovals is how many approvals a state keeps, the newest.
const MaxApprovals = 8

// maxApprover bounds an approver's name in the state, in bytes.
const maxApprover = 64

// permit asks whatever must be asked before a raise to a step, 1-based. Its plan
// holds, or rolls back; there is none when the release may go there. A person who
// orders the raise approves of it.
func (m moment) permit(step int, ordered bool) (Plan, bool) {
	to := m.beforeRaise(step)
	if len(to.denied) > 0 {
		p := m.rollBack(to.reason, "%s", to.denied[0].Sentence)
		p.View.Checks = to.checks
		return p, true
	}
	if why := m.approvalFor(step, to); why != "" && !ordered && !m.approves() {
		if len(to.awaits) == 0 {
			to.reason = AwaitingApproval
		}
		to.awaits = append(to.awaits, Awaited{Kind: AwaitApproval, Step: step, Sentence: why})
	}
	if len(to.awaits) == 0 {
		return Plan{}, false
	}
	p := to.shown(m.hold(to.reason, "%s", to.waiting()))
	p.View.Next = NextView{Sentence: m.spec.Steps[step-1].coming() + " when all that it waits for is there"}
	return m.tellWaiting(p, to), true
}

// beforeRaise is what is asked before a raise to a step.
func (m moment) beforeRaise(step int) asks {
	var to asks
	if m.state.Step == 0 {
		m.smoke(&to, BeforeStep)
	}
	m.gates(&to, m.stageOf(step), step)
	if m.heedsAlerts() {
		m.put(&to, m.alerts(), gateStands, "Finding out which alerts are active")
	}
	return to
}

// stageOf is the stage of a raise to a step.
func (m moment) stageOf(step int) Stage {
	if m.spec.Steps[step-1].Weight == 100 {
		return BeforePromotion
	}
	return BeforeStep
}

// approvalFor says what a person has to approve before a step; empty: nothing.
func (m moment) approvalFor(step int, to asks) string {
	asked := func(whose string) bool { return slices.Contains(m.spec.Approval, whose) }
	how := ": kubectl canary approve " + m.subjectName() + ", or the command approve#id"
	switch {
	case len(to.approve) > 0:
		return to.approve[0].Sentence + ". It goes on when somebody approves" + how
	case asked(ApproveSteps), step == 1 && asked(ApproveTest), m.stageOf(step) == BeforePromotion && asked(ApprovePromotion):
		return fmt.Sprintf("Step %d (%s) waits for approval%s", step, m.spec.Steps[step-1].share(), how)
	}
	return ""
}

// approves tells that a person's yes to the next raise stands. It is taken with the
// raise itself: a write of its own would begin the bake anew.
func (m moment) approves() bool {
	verb, new := m.verb()
	return new && verb == CommandApprove
}

// heedApproval leaves a yes for the raise that it is about, and tells of one that is
// about none.
func (m moment) heedApproval() (Plan, bool) {
	step := m.state.Step + 1
	if !m.state.Phase.Drains() && step <= len(m.spec.Steps) && m.approvalFor(step, m.beforeRaise(step)) != "" {
		return Plan{}, false
	}
	return m.ignore("The command approve#%s approves of nothing that the release waits for, or will before its next step: ignored", m.o.Command.ID), true
}

// approve notes a person's yes with the raise that it is about; step 0 is the start.
func (p Plan) approve(c *Command, step int, what string, now time.Time) Plan {
	by := shorten(c.By, maxApprover)
	all := append(slices.Clone(p.Next.Approvals), Approval{Step: step, By: by, At: now.UTC().Truncate(time.Second)})
	p.Next.Approvals = all[max(0, len(all)-MaxApprovals):]
	p.View.Approvals = p.Next.Approvals
	p.Tell = append(p.Tell, Event{Reason: Approved, Sentence: what + " was approved " + c.given()})
	return p.handling(c)
}

// tellWaiting tells people, each once and without what changes from look to look, that
// a release waits for somebody.
func (m moment) tellWaiting(p Plan, to asks) Plan {
	tell := func(r Reason, warning bool, sentence string) {
		p.Tell = append(p.Tell, Event{Reason: r, Sentence: sentence, Warning: warning})
	}
	for _, a := range to.awaits {
		switch {
		case a.Kind == AwaitApproval:
			tell(AwaitingApproval, true, a.Sentence)
		case a.Kind == string(AskGate) && !a.At.IsZero() && !slices.Contains(to.unreached, a):
			tell(AwaitingGate, false, "Held: the gate "+a.Name+" does not let the release go on yet")
		case a.Kind == string(AskAlerts) && !a.At.IsZero() && !slices.Contains(to.unreached, a):
			tell(AlertActive, true, "Held: alerts are active that are about this release")
		}
	}
	if m.now.Sub(m.state.Since) >= noDataAlert {
		for _, a := range to.unreached {
			tell(GateUnreached, true, "Held: "+awaitedName(a)+" can't be reached. It neither passes nor fails until it answers")
		}
	}
	return p
}

func awaitedName(a Awaited) string {
	switch a.Kind {
	case string(AskGate):
		return "the gate " + a.Name
	case string(AskAlerts):
		return "Alertmanager"
	}
	return "what the smoke checks ask"
}

// askBeforeStart asks the gates before anything is written.
func askBeforeStart(m moment) (Plan, bool) {
	if !m.gated(BeforeStart) {
		return Plan{}, false
	}
	if why := m.differing(); why != "" { // of which of them would they be asked?
		return m.leave(Blocked, ImagesDiffer, "%s", why).told(true), true
	}
	var to asks
	m.gates(&to, BeforeStart, 0)
	var p Plan
	switch {
	case len(to.denied) > 0:
		p = m.leave(Blocked, to.reason, "%s", to.denied[0].Sentence).told(true)
	case len(to.approve) > 0 && !m.approves() && !m.retries(): // who insists says yes
		p = m.leave(Waiting, AwaitingApproval, "%s. The release begins when somebody approves: kubectl canary approve %s, or the command approve#id", to.approve[0].Sentence, m.subjectName()).told(true)
		to.awaits = append(to.awaits, Awaited{Kind: AwaitApproval, Sentence: p.View.Sentence})
	case len(to.awaits) > 0:
		p = m.tellWaiting(m.leave(Waiting, to.reason, "%s", to.waiting()), to)
	default:
		return Plan{}, false
	}
	p.Recheck = recheckMoving
	return to.shown(p), true
}

// asksPerson tells that a gate leaves it to a person whether the release may begin.
func (m moment) asksPerson() bool {
	var to asks
	m.gates(&to, BeforeStart, 0)
	return len(to.approve) > 0
}

// goesBack tells that a rollback can be ordered now.
func (m moment) goesBack() bool {
	return m.state.Phase.Active() && !m.state.Phase.Drains() && m.state.Phase != Promoting ||
		m.state.Phase == Succeeded && m.state.Weight == 100
}

// rollbackAsks is what is asked before a rollback that a person ordered. Attempts are
// told apart by the order's id: a gate may allow the second one.
func (m moment) rollbackAsks() asks {
	var to asks
	for _, g := range m.spec.Gates {
		if slices.Contains(g.Stages, BeforeRollback) {
			q := m.question(AskGate, g.Name, BeforeRollback, 0)
			q.Attempt = m.o.Command.ID
			m.put(&to, q, gateStands, "The gate "+g.Name+" is asked whether to go back")
		}
	}
	return to
}

// orderedBack answers the order to go back: what its gates say. While they have not
// said anything, the release is held, and judged.
func (m moment) orderedBack() (refused, waits string) {
	to := m.rollbackAsks()
	switch {
	case len(to.denied) > 0:
		return "The rollback ordered by rollback#" + m.o.Command.ID + " is refused: " + to.denied[0].Sentence + ". The command abort goes back without asking", ""
	case len(to.approve) > 0:
		return "", to.approve[0].Sentence + ". The command abort goes back without asking"
	case len(to.awaits) > 0:
		return "", "The rollback ordered waits: " + to.waiting() + ". The command abort goes back without asking"
	}
	return "", ""
}

// subjectName is the Deployment that people deploy to, also before a release.
func (m moment) subjectName() string {
	switch {
	case m.state.Phase.Active():
		return m.state.subject()
	case m.o.InPlace:
		return m.o.Tracks.Stable.Deployment
	}
	return m.o.Tracks.Canary.Deployment
}

// share is what a step gives the canary, as people write it.
func (s Step) share() string {
	if s.Mirror > 0 {
		return "copies of " + strconv.Itoa(s.Mirror) + "%"
	}
	return strconv.Itoa(s.Weight) + "%"
}

// howMany is a number of things in words: 1 thing, 2 things.
func howMany(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
