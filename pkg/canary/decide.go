package canary

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"serin.dev/serin/pkg/judge"
)

// MaxReverts is how often a GitOps tool may write old weights back in one
// rollout before the rollout gives way and stays at stable.
const MaxReverts = 3

// maxInterruptions is how often a step may be begun anew until a further raise by
// somebody else ends the release.
const maxInterruptions = 10

// How long things may take before somebody is told, or something gives way.
const (
	noDataAlert   = 5 * time.Minute  // without data until it is told as a warning
	starvedGrace  = 30 * time.Second // from a starved verdict to the rollback
	verifyLimit   = time.Minute      // for the canary's traffic to be seen at zero after a rollback, at least
	verifyBlocks  = 8                // likewise, in blocks: the quiet ones, one before, and the time until they are closed
	quietBlocks   = 3                // blocks without canary traffic that verify a rollback
	revertWindow  = 24 * time.Hour   // a second GitOps revert at rest within it is left alone
	recheckMoving = 30 * time.Second // while a rollout is active, should no event come
)

// Decide is the only place where a rollout moves. It looks at what was asked
// (spec), where the rollout stands (state) and what was seen (o), and returns
// what shall be, absolutely. It is pure: the same arguments give the same plan.
//
// spec is ignored while o.Invalid names mistakes in it: a running rollout is
// then judged, and held, by the spec it was working with.
func Decide(spec Spec, state State, o Observation, now time.Time) Plan {
	if state.Phase.Active() && len(o.Invalid) > 0 {
		told := spec.Notify // who is told, by nothing that a state keeps
		spec = state.Spec
		spec.Notify = told
	}
	if o.Verdict.Step != state.Step || o.Verdict.Weight != state.Weight {
		o.Verdict = judge.Verdict{} // of another step: no evidence for this one
	}
	m := moment{spec: spec, state: state, o: o, now: now}.described()
	if o.Observe && !o.InPlace && (state.Rollout == "" || state.Phase == Watched) {
		// What a release of Serin's left on the routes is taken off first, and what
		// the guard held before only looking was asked for is let go.
		if p, held := letGo(m); held {
			return p
		}
		return watch(m)
	}
	if state.Phase.Active() {
		p := m.standing(m.mendClock(m.first(moving)))
		p.Steady = m.steady(p)
		return p
	}
	return m.standing(m.watchResidual(m.tidy(m.first(resting))))
}

// first is what the first rule that decides makes of the moment.
func (m moment) first(policy []rule) Plan {
	for _, rule := range policy {
		if plan, decided := rule(m); decided {
			return plan
		}
	}
	return m.leave(Idle, NothingToRelease, "Nothing to release")
}

// rule is one policy: it decides, or leaves the decision to those after it.
type rule func(moment) (Plan, bool)

// moving is the policy of a rollout under way, read top to bottom: what takes
// traffic away comes before whatever waits, and whatever waits before a raise.
var moving = []rule{
	holdStateOfNewer,
	cleanWhenOptedOut,
	finishPromotion,
	finishRelease,
	yieldToResume,
	followStable,
	finishRollback,
	abortByCommand,
	rollBackChangedTemplate,
	rollBackUnhealthy,
	rollBackRestarting,
	rollBackOnVerdict,
	rollBackOnAlert,
	lowerToCapacity,
	answerGitOps,
	pauseForPerson,
	undoRaise,
	holdForPendingRoutes,
	holdInvalid,
	adoptSpec,
	holdStableUnavailable,
	holdStableChanged,
	obeyVerb,
	holdPaused,
	holdFindings,
	leaveTesting,
	growWithinStep,
	awaitProxies,
	passStep,
	bearIncident,
	meetDeadline,
	holdStep,
}

// resting is the policy while no rollout is under way.
var resting = []rule{
	holdStateOfNewer,
	blockLostState,
	letGo,
	endLost,
	cleanAtRest,
	keepRecord,
	finishPendingAtRest,
	explainInvalid,
	undoPromotion,
	answerGitOpsAtRest,
	acceptPersonAtRest,
	returnHome,
	explainCarriesTraffic,
	awaitOtherMode,
	keepPaused,
	explainPlain,
	explainSame,
	explainRejected,
	explainAlreadyTried,
	explainOlder,
	blockOnFindings,
	explainSameVersion,
	blockUnnamedImage,
	waitForAbortToGo,
	waitForPods,
	askBeforeStart,
	prepare,
	start,
}

// moment is everything a rule may look at.
type moment struct {
	spec  Spec
	state State
	o     Observation
	now   time.Time
}

// TrafficOf is the routing that a state orders.
func TrafficOf(s State) Traffic {
	t := Traffic{Stable: s.Stable.Subset, Canary: s.Canary.Subset, Weight: s.Weight, Pin: s.InPlace, Mirror: s.mirror(), Sticky: s.sticky()}
	if s.Phase.Active() && !s.Phase.Drains() && s.Spec.Header.Name != "" {
		header := s.Spec.Header
		t.Header = &header
	}
	return t
}

// leave keeps everything as it is and says why.
func (m moment) leave(shown Phase, r Reason, format string, args ...any) Plan {
	sentence := fmt.Sprintf(format, args...)
	return Plan{Next: m.state, View: m.view(m.state, shown, r, sentence)}
}

// hold keeps an active rollout where it is, its routes asserted, and says why.
func (m moment) hold(r Reason, format string, args ...any) Plan {
	p := m.leave(m.state.Phase, r, format, args...)
	traffic := TrafficOf(m.state)
	p.Traffic = &traffic
	p.Place = m.place(m.state)
	p.Recheck = recheckMoving
	return p
}

// told adds the plan's own reason and sentence to what people are told.
func (p Plan) told(warning bool) Plan {
	p.Tell = append(p.Tell, Event{Reason: p.View.Reason, Sentence: p.View.Sentence, Warning: warning})
	return p
}

// handling remembers an order that acts once, so that a replay does nothing.
func (p Plan) handling(c *Command) Plan {
	if on := mark(c.On); !p.Next.InPlace && c.On != "" {
		if p.Next.HandledOn != on && p.Next.HandledOn != "" {
			p.Next.Beside = mark(p.Next.Handled)
		}
		p.Next.HandledOn = on
	}
	p.Next.Handled = c.ID
	return p
}

// ordered notes that a person answers for the weight.
func (p Plan) ordered() Plan {
	p.Next.Ordered = true
	return p
}

// move changes the state, orders its routes and tells why.
func (m moment) move(change func(*State), warning bool, r Reason, format string, args ...any) Plan {
	next := m.state
	next.Sequence++
	next.Reason, next.Message = r, fmt.Sprintf(format, args...)
	if m.state.Phase.Active() {
		next.Legs = m.legs()
	}
	change(&next)
	if next.Weight > m.state.Weight || next.Step != m.state.Step {
		next.Ordered = false
	}
	next.Peak = max(next.Peak, next.Weight)
	traffic := TrafficOf(next)
	p := Plan{Next: next, Traffic: &traffic, Place: m.place(next), Recheck: recheckMoving}
	p.View = m.view(next, next.Phase, r, next.Message)
	return p.told(warning)
}

// aside is a move that leaves a pause what it is: how it ends depends on who made it.
func (m moment) aside(change func(*State), warning bool, r Reason, format string, args ...any) Plan {
	p := m.move(change, warning, r, format, args...)
	if m.state.Phase == Paused && p.Next.Phase == Paused {
		p.Next.Reason, p.Next.Message = m.state.Reason, m.state.Message
	}
	return p
}

// rollBack snaps the routes to stable. Where stable can serve nobody the weight
// stays until it can: the snap would be the outage.
func (m moment) rollBack(r Reason, format string, args ...any) Plan {
	sentence := fmt.Sprintf(format, args...)
	if m.state.Weight > 0 && !m.stableServes() {
		sentence += "; stable has no ready pod, so its traffic stays where it is until it has"
	}
	return m.move(func(s *State) {
		s.Phase, s.Since = RollingBack, m.now
		if m.stableServes() {
			s.Weight = 0
		}
	}, true, r, "%s", sentence)
}

// rest ends a rollout: its last write, its record.
func (m moment) rest(phase Phase, warning bool, r Reason, format string, args ...any) Plan {
	p := m.move(func(s *State) {
		s.Phase, s.Since = phase, m.now
		s.Lowered, s.Ordered, s.Reverts = false, false, 0
		s.Digests = nil
		switch {
		case phase == Succeeded && s.InPlace:
			s.Digests = m.o.Tracks.Stable.Digests
		case phase == Succeeded:
			s.Digests = m.o.Tracks.Canary.Digests
		}
	}, warning, r, format, args...)
	if m.approves() {
		p = p.handling(m.o.Command) // a yes to this release is none to the next
	}
	p.Last, p.Clean, p.Place = true, m.state.InPlace, nil
	p.Record = m.record(p.Next)
	p.Recheck = time.Second
	return p
}

func (m moment) record(s State) *Release {
	before := ranAs(m.o.Tracks.Stable, s.Stable)
	if s.InPlace && s.Stable.Template == s.Canary.Template {
		before = nil // stable is the version that was promoted by now
	}
	return &Release{
		Rollout: s.Rollout, Canary: s.Canary, Stable: s.Stable, Spec: s.Spec,
		Started: s.Started, Ended: s.Since, Outcome: s.Phase,
		Reason: s.Reason, Message: s.Message, Weight: s.Peak, Digests: s.Digests,
		Requests: m.o.Verdict.Canary.Requests, Errors: m.o.Verdict.Canary.Errors,
		Legs: s.Legs, Width: s.Width, InPlace: s.InPlace, Handled: s.Handled,
		Approvals: s.Approvals, Unverified: s.Unverified,
		Images: ranAs(m.o.Tracks.Canary, s.Canary), StableImages: before,
	}
}

// subject is the Deployment that people deploy to and annotate.
func (s State) subject() string {
	if s.InPlace {
		return s.Stable.Deployment
	}
	return s.Canary.Deployment
}

func (m moment) stableServes() bool { return m.o.Tracks.Stable.Ready > 0 }

// step is the step in force; only called in a phase that has one.
func (m moment) step() Step { return m.state.Spec.Steps[m.state.Step-1] }

// verb is an unhandled order that acts once.
func (m moment) verb() (string, bool) {
	c := m.o.Command
	if c == nil || c.ID == "" || c.ID == m.state.Handled || m.state.HandledOn != mark(c.On) && m.state.Beside == mark(c.ID) {
		return "", false
	}
	return c.Verb, true
}

// mark is what a name is told by where there is little room: 8 hex digits of FNV-1a.
func mark(name string) string {
	h := fnv.New32a()
	h.Write([]byte(name))
	return fmt.Sprintf("%08x", h.Sum32())
}

// level tells whether an order stands that is in force while it stands.
func (m moment) level(verb string) bool { return m.o.Command != nil && m.o.Command.Verb == verb }

// blocking are the findings that forbid to start or to advance.
func (m moment) blocking() []Finding {
	var found []Finding
	for _, f := range m.o.Findings {
		if f.Blocking {
			found = append(found, f)
		}
	}
	return found
}

// Sentence is the finding in words: where, what, and the mend.
func (f Finding) Sentence() string {
	var b strings.Builder
	if f.Object.Name != "" {
		b.WriteString(f.Object.String())
		if f.Field != "" {
			b.WriteString(" " + f.Field)
		}
		b.WriteString(": ")
	}
	b.WriteString(f.Problem)
	if f.Mend != "" {
		b.WriteString(". " + f.Mend)
	}
	return b.String()
}
