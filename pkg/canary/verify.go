package canary

import (
	"slices"
	"strings"
	"time"
)

// This file holds what is looked at before a rollback is called verified.

// verification is what was found out about a rollback, beside the canary's traffic.
type verification struct {
	asks
	passed []string // what was seen to be well, in words
	failed []string // what was not, in words
}

// verification asks whether stable serves: its endpoints, the team's smoke checks, its
// series, and the team's gates.
func (m moment) verification() verification {
	var v verification
	parts := []struct {
		kind QuestionKind
		well string
		put  func(*asks)
	}{
		{AskEndpoints, "its ready pods are the Service's endpoints", func(to *asks) { m.verify(to, AskEndpoints, "The Service's endpoints are looked at") }},
		{AskSmoke, "its smoke checks pass", func(to *asks) { m.smoke(to, AfterRollback) }},
		{AskSeries, "its series go on, within its own limits", func(to *asks) { m.verify(to, AskSeries, "The series of stable are looked at") }},
		{AskGate, "the gates after a rollback allow", func(to *asks) { m.gates(to, AfterRollback, 0) }},
	}
	for _, part := range parts {
		var to asks
		part.put(&to)
		if len(to.questions) == 0 {
			continue
		}
		v.add(to)
		if len(to.awaits)+len(to.denied)+len(to.approve) == 0 {
			v.passed = append(v.passed, part.well)
		}
	}
	return v
}

func (m moment) verify(to *asks, kind QuestionKind, while string) {
	if m.o.Askable[kind] {
		m.put(to, m.question(kind, "", AfterRollback, 0), residualWatch, while)
	}
}

func (v *verification) add(to asks) {
	v.questions = append(v.questions, to.questions...)
	v.awaits = append(v.awaits, to.awaits...)
	v.checks = append(v.checks, to.checks...)
	for _, a := range slices.Concat(to.denied, to.approve) {
		v.failed = append(v.failed, a.Sentence)
	}
}

// pending tells that something may still turn out well: gates have until the step's
// deadline, everything else as long as the canary's traffic has.
func (m moment) pending(v verification) bool {
	waited := m.now.Sub(m.state.Since)
	return (len(v.awaits) > 0 || len(v.failed) > 0) && waited < m.verifyTime() ||
		waited < m.spec.StepDeadline && slices.ContainsFunc(v.awaits, func(a Awaited) bool { return a.Kind == string(AskGate) })
}

// unverified says which checks failed; empty: none did.
func (v verification) unverified() string {
	what := slices.Clone(v.failed)
	for _, a := range v.awaits {
		what = append(what, a.Sentence+", and that was not answered in time")
	}
	return strings.Join(what, "; ")
}

// goneBack ends a rollback whose canary was seen without traffic, or not seen so for
// too long: verified, or with what could not be verified.
func (m moment) goneBack(seen bool) Plan {
	v := m.verification()
	if m.pending(v) {
		return v.shown(m.hold(m.state.Reason, "%s", m.state.Message))
	}
	stable, canary, wrong := m.state.Stable.Deployment, m.state.Canary.Deployment, v.unverified()
	if !seen {
		traffic := canary + " could not be seen without traffic: " + m.residual()
		wrong = strings.TrimPrefix(strings.Join([]string{wrong, traffic}, "; "), "; ")
	}
	if wrong != "" {
		p := m.rolledBack(RollbackUnverified, "The routes are at %s, but %s. The reason of the rollback was: %s", stable, wrong, m.state.Message)
		p.Next.Unverified = shorten(wrong, MaxMessageBytes)
		return m.ended(p, v)
	}
	well := ""
	if len(v.passed) > 0 {
		well = "; of " + stable + ": " + strings.Join(v.passed, ", ")
	}
	return m.ended(m.rolledBack(RollbackVerified, "Rolled back: all users are on %s, %s gets no requests any more%s. The reason was: %s", stable, canary, well, m.state.Message), v)
}

// ended keeps what was checked with the end of a rollback.
func (m moment) ended(p Plan, v verification) Plan {
	p.View.Checks = v.checks
	p.Record = m.record(p.Next)
	p.View.Unverified = p.Next.Unverified
	return p
}

// residualWatch is how long after a release it is looked at whether requests still
// reach the track that shall have none.
const residualWatch = 24 * time.Hour

// goneTold is how long after a release people are told that no request reaches that
// track any more; later they see it where they look.
const goneTold = time.Hour

// left is the track that has no traffic after a release; zero before one.
func (m moment) left() Track {
	switch {
	case m.state.InPlace || m.state.Peak == 0 || m.ledToLeft():
		return Track{}
	case m.state.Phase == RolledBack && m.state.Weight == 0: // else a hand gave it the users since
		return m.track(m.state.Canary.Deployment)
	case m.state.Phase == Succeeded && m.state.Weight == 100:
		return m.track(m.state.Stable.Deployment)
	}
	return Track{}
}

// ledToLeft tells that some route leads to the track that has no traffic by what is
// ordered: one that a hand wrote at rest, or the user's own for a header.
func (m moment) ledToLeft() bool {
	for _, seen := range m.serving() {
		least, most := seen.Min, seen.Max
		if m.state.Canary.Subset == m.o.Tracks.Stable.Subset {
			least, most = 100-seen.Max, 100-seen.Min
		}
		if seen.Adopted || m.state.Weight == 0 && most > 0 || m.state.Weight == 100 && least < 100 {
			return true
		}
	}
	return false
}

// watchResidual adds to what is decided at rest what still reaches the version that
// users have left: streams, connections that are kept, clients outside the mesh. It is
// told until there is nothing more.
func (m moment) watchResidual(p Plan) Plan {
	left := m.left()
	if left.Deployment == "" || p.Next.Rollout != m.state.Rollout || p.Next.Weight != m.state.Weight || p.Next.Phase.Active() || !m.o.Askable[AskResidual] || m.now.Sub(m.state.Since) > residualWatch {
		return p
	}
	q := m.question(AskResidual, left.Deployment, AfterRelease, 0)
	p.Ask = append(p.Ask, q)
	a, found := m.o.Answers[q]
	switch {
	case !found || a.Unreached || a.Said != Allow && a.Rate == 0: // not known yet
		return p
	case a.Said == Allow:
		p.View.Removable = left.Deployment
		if m.now.Sub(m.state.Since) < goneTold {
			p.Tell = append(p.Tell, Event{Reason: TrafficGone, Sentence: left.Deployment + " gets no requests any more: it may be scaled down or removed"})
		}
		return p
	}
	p.View.Residual, p.View.ResidualOf = a.Rate, left.Deployment
	p.Tell = append(p.Tell, Event{Reason: ResidualTraffic, Warning: true, Sentence: left.Deployment +
		" still gets requests though no route leads to it (open streams, connections that are kept, or clients that bypass the routes): it must not be scaled down yet"})
	if left.Wanted == 0 || left.Ready == 0 {
		p.Tell = append(p.Tell, Event{Reason: ScaledTooSoon, Warning: true, Sentence: left.Deployment + " was scaled down while requests still reached it: these fail"})
	}
	return p
}
