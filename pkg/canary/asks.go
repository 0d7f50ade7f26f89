package canary

import (
	"slices"
	"time"
)

// This file holds what the rules ask outside, and what they make of the answers.

// How long an answer stands: a gate that allowed long ago has not allowed now. What
// smoke checks found stands longer, for asking anew is work for the canary.
const (
	gateStands  = 2 * time.Minute
	smokeStands = 15 * time.Minute
)

// Awaited is something that a release waits for.
type Awaited struct {
	Kind     string    `json:"kind"`           // AwaitApproval, or a QuestionKind
	Name     string    `json:"name,omitempty"` // of the gate
	Step     int       `json:"step,omitempty"` // to which the release wants to go; 0: none
	Sentence string    `json:"sentence"`
	At       time.Time `json:"at,omitzero"` // when it was answered last; zero: never
}

// AwaitApproval is the Awaited.Kind of a person's approval.
const AwaitApproval = "approval"

// question is about the rollout under way, or about the template that would be
// released next.
func (m moment) question(kind QuestionKind, name string, stage Stage, step int) Question {
	q := Question{Kind: kind, Name: name, Stage: stage, Step: step, Rollout: m.state.Rollout}
	if stage == BeforeStart {
		q.Rollout = m.o.Tracks.Canary.Template
	}
	return q
}

// asks is what several questions come to, together.
type asks struct {
	questions []Question
	awaits    []Awaited // unanswered, or told to wait
	denied    []Answer
	approve   []Answer // go on if a person approves
	checks    []Check
	// unreached are those nobody answers: they hold, but pass and fail nothing.
	unreached []Awaited
	reason    Reason // of the first that is awaited; of the first that denied, if any
}

// heldFor are the reasons by which answers to a kind of question hold and deny.
func heldFor(kind QuestionKind) (waiting, unreached, denied Reason) {
	switch kind {
	case AskSmoke:
		return SmokeChecking, SmokeChecking, SmokeFailed
	case AskAlerts:
		return AlertActive, AlertsUnknown, AlertBegan
	case AskEndpoints, AskSeries:
		return Verifying, Verifying, RollbackUnverified
	}
	return AwaitingGate, GateUnreached, GateDenied
}

// put asks one more question; while is what is waited for until somebody answers.
func (m moment) put(to *asks, q Question, stands time.Duration, while string) {
	to.questions = append(to.questions, q)
	waiting, unreached, denied := heldFor(q.Kind)
	a, found := m.o.Answers[q]
	switch {
	case !found, !a.Unreached && (a.Said == Allow || a.Said == Approve) && m.now.Sub(a.At) > stands:
		to.await(waiting, q, while, a)
	case a.Unreached:
		to.await(unreached, q, a.Sentence, a)
		to.unreached = append(to.unreached, to.awaits[len(to.awaits)-1])
	case a.Said == Deny:
		if len(to.denied) == 0 {
			to.reason = denied
		}
		to.denied, to.checks = append(to.denied, a), append(to.checks, a.Checks...)
	case a.Said == Approve:
		to.approve, to.checks = append(to.approve, a), append(to.checks, a.Checks...)
	case a.Said == Allow:
		to.checks = append(to.checks, a.Checks...)
	default:
		to.await(waiting, q, a.Sentence, a)
		to.checks = append(to.checks, a.Checks...)
	}
}

func (a *asks) await(r Reason, q Question, sentence string, last Answer) {
	if len(a.awaits) == 0 && len(a.denied) == 0 {
		a.reason = r
	}
	a.awaits = append(a.awaits, Awaited{Kind: string(q.Kind), Name: q.Name, Step: q.Step, Sentence: sentence, At: last.At})
}

// gates asks the team's gates of a stage.
func (m moment) gates(to *asks, stage Stage, step int) {
	for _, g := range m.spec.Gates {
		if slices.Contains(g.Stages, stage) {
			q := m.question(AskGate, g.Name, stage, step)
			if step > 0 {
				q.About = m.spec.Steps[step-1].share()
			}
			m.put(to, q, gateStands, "The gate "+g.Name+" is asked")
		}
	}
}

// smoke asks for the team's smoke checks, on the canary before anybody is sent there,
// on stable after a rollback.
func (m moment) smoke(to *asks, stage Stage) {
	if m.spec.Smoke == "" {
		return
	}
	step, of := 1, m.state.Canary.Deployment
	if stage == AfterRollback {
		step, of = 0, m.state.Stable.Deployment
	}
	q := m.question(AskSmoke, "", stage, step)
	q.About = mark(m.spec.Smoke)
	m.put(to, q, smokeStands, "The smoke checks run on the pods of "+of)
}

// gated tells that some gate is asked at a stage.
func (m moment) gated(stage Stage) bool {
	return slices.ContainsFunc(m.spec.Gates, func(g GateUse) bool { return slices.Contains(g.Stages, stage) })
}

// alerts is the question that stands all through a release.
func (m moment) alerts() Question {
	q := m.question(AskAlerts, "", Always, 0)
	if m.spec.Alerts != "" {
		q.About = mark(m.spec.Alerts)
	}
	return q
}

// heedsAlerts tells that alerts count for this release: where the team says which,
// also if nobody can tell them.
func (m moment) heedsAlerts() bool {
	return m.spec.Alerts != NoAlerts && (m.spec.Alerts != "" || m.o.Askable[AskAlerts])
}

// waiting is the sentence of what is awaited: the first, and how many there are.
func (a asks) waiting() string {
	sentence := a.awaits[0].Sentence
	if n := len(a.awaits) - 1; n > 0 {
		sentence += "; and " + howMany(n, "thing") + " more"
	}
	return sentence
}

// shown gives a plan what was asked, and people what is waited for.
func (a asks) shown(p Plan) Plan {
	p.Ask = append(p.Ask, a.questions...)
	p.View.Awaits, p.View.Checks = a.awaits, a.checks
	return p
}

// standing adds what is asked whatever rule decided: alerts and images from the first
// write to the last, and gates about a rollback that a person ordered.
func (m moment) standing(p Plan) Plan {
	if m.state.Phase.Active() && m.heedsAlerts() && !m.state.Phase.Drains() {
		p.Ask = append(p.Ask, m.alerts())
	}
	if m.wantsImages() {
		p.Ask = append(p.Ask, m.images())
	}
	p = m.lookAside(p)
	if verb, new := m.verb(); new && verb == CommandRollback && m.goesBack() {
		to := m.rollbackAsks()
		p.Ask = append(p.Ask, to.questions...)
	}
	slices.SortFunc(p.Ask, Question.compare)
	p.Ask = slices.Compact(p.Ask)
	return p
}

// lookAside adds what is asked in a release and only told: whether stable's autoscaler
// may shrink it.
func (m moment) lookAside(p Plan) Plan {
	// In place the autoscaler scales all pods.
	if !m.state.Phase.Active() || m.state.Phase.Drains() || m.state.InPlace || !m.o.Askable[AskScaling] {
		return p
	}
	q := m.question(AskScaling, "", Always, 0)
	p.Ask = append(p.Ask, q)
	if a, found := m.o.Answers[q]; found && a.Said == Deny {
		p.Tell = append(p.Tell, Event{Reason: AutoscalerShrinks, Sentence: a.Sentence, Warning: true})
	}
	return p
}
