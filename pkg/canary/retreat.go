package canary

import (
	"fmt"
	"slices"
	"time"

	"serin.dev/serin/pkg/judge"
)

// This file holds the rules that take traffic away from the canary.

// cleanWhenOptedOut puts the users back on stable in one write, which ends the
// release. Our marks go in the next one, when the release is in the history: a
// crash between the two forgets nothing.
func cleanWhenOptedOut(m moment) (Plan, bool) {
	if m.o.OptedIn && !m.o.Gone {
		return Plan{}, false
	}
	r, what := OptedOut, "was opted out"
	if m.o.Gone {
		r, what = DeploymentDeleted, "was deleted"
	}
	if m.state.InPlace && !m.o.Gone {
		return m.optedOutInPlace()
	}
	if m.state.Weight > 0 && !m.stableServes() && !m.o.Gone {
		return m.hold(StableUnavailable,
			"Deployment %s %s, but stable has no ready pod: its traffic stays until stable can serve", m.state.subject(), what).told(true), true
	}
	p := m.rest(RolledBack, true, r,
		"Deployment %s %s in mid-release: all traffic goes back to %s", m.state.subject(), what, m.state.Stable.Deployment)
	p.Next.Weight = 0
	p.Traffic.Weight = 0
	p.View.Weight = 0
	p.Clean = false
	return p, true
}

// optedOutInPlace goes back like any rollback: canary pods may only go when no
// route leads to them. What is beyond the way back is finished.
func (m moment) optedOutInPlace() (Plan, bool) {
	if m.state.Phase == RollingBack || m.state.Phase == Promoting || m.state.Phase == Finishing {
		return Plan{}, false
	}
	return m.rollBack(OptedOut, "Deployment %s was opted out in mid-release: all traffic goes back to the version that runs", m.state.subject()), true
}

// finishRollback asserts stable until the canary's traffic is seen to be gone.
func finishRollback(m moment) (Plan, bool) {
	if m.state.Phase != RollingBack {
		return Plan{}, false
	}
	if m.state.Weight > 0 {
		if !m.stableServes() {
			return m.awaitStable(), true
		}
		return m.move(func(s *State) { s.Weight, s.Since = 0, m.now }, true, m.state.Reason,
			"Stable is ready again: all traffic goes back to %s", m.state.Stable.Deployment), true
	}
	if !m.routesMet() {
		return m.hold(m.state.Reason, "%s", m.state.Message), true
	}
	if m.state.InPlace && m.drained() && m.unsettled(m.written()) <= 0 {
		if p, busy := m.clear(); busy {
			return p, true
		}
	}
	switch {
	case m.state.InPlace && m.unsettled(m.written()) > 0:
		p := m.hold(m.state.Reason, "%s", m.state.Message)
		p.Recheck = m.unsettled(m.written())
		return p, true
	case m.state.Peak == 0:
		return m.rolledBack(RollbackVerified, "The release ended before any user was on %s. The reason was: %s", m.state.Canary.Deployment, m.state.Message), true
	case m.o.Verdict.Quiet >= quietBlocks, m.now.Sub(m.state.Since) >= m.verifyTime():
		return m.goneBack(m.o.Verdict.Quiet >= quietBlocks), true
	}
	p := m.hold(m.state.Reason, "%s", m.state.Message)
	return m.verification().shown(p), true // asked meanwhile: it takes no time of its own
}

// verifyTime is how long the canary's traffic is waited for to be seen at zero.
func (m moment) verifyTime() time.Duration { return max(verifyLimit, verifyBlocks*m.state.Width) }

// awaitStable keeps the users where they are, but never takes back what somebody
// else took off the canary.
func (m moment) awaitStable() Plan {
	if key, seen, found := m.strayed(func(s Seen) bool { return s.Lowered }); found {
		return m.move(func(s *State) { s.Weight, s.Since, s.Message = min(seen.Min, s.Weight), m.now, m.state.Message }, true, m.state.Reason,
			"%s lowered the canary to %d%% in %s while the rollback waits for a ready pod of %s: it stays there", seen.Writer, seen.Min, key, m.state.Stable.Deployment)
	}
	return m.hold(StableUnavailable, "%s; waiting for a ready pod of %s to send traffic to", m.state.Message, m.state.Stable.Deployment).told(true)
}

// rolledBack ends the release for the reason it went back for. Told is that it
// is over, with the reason once more: a crash may have kept people from hearing
// it when the routes went.
func (m moment) rolledBack(r Reason, format string, args ...any) Plan {
	p := m.rest(RolledBack, false, m.state.Reason, "%s", m.state.Message)
	sentence := fmt.Sprintf(format, args...)
	if m.state.InPlace && !slices.Contains(superseded, m.state.Reason) && m.spec.OnRollback != RestoreTemplate {
		sentence += ". " + goBack(m.state.Stable.Deployment)
	}
	p.Tell = []Event{{Reason: r, Sentence: sentence, Warning: r == RollbackUnverified}}
	return p
}

// residual says why a rollback could not be verified.
func (m moment) residual() string {
	if m.o.Verdict.Kind == judge.NoData || m.o.Verdict.At.IsZero() {
		return "no data from Prometheus"
	}
	for _, seen := range m.o.Traffic {
		if seen.Adopted {
			return "your own header route still leads to it"
		}
	}
	return "it still answers requests (open streams, or clients that bypass the routes)"
}

func abortByCommand(m moment) (Plan, bool) {
	if m.level(CommandAbort) {
		return m.rollBack(AbortedByCommand, "Aborted %s", m.o.Command.given()), true
	}
	if verb, new := m.verb(); !new || verb != CommandRollback {
		return Plan{}, false
	}
	switch refused, waits := m.orderedBack(); {
	case refused != "":
		return m.ignore("%s", refused), true
	case waits != "":
		return Plan{}, false // a breach goes back all the same
	}
	return m.rollBack(RolledBackByPerson, "Rolled back %s", m.o.Command.given()).handling(m.o.Command), true
}

func rollBackChangedTemplate(m moment) (Plan, bool) {
	now := m.o.Tracks.Canary.Template
	if now == "" || now == m.state.Canary.Template {
		return Plan{}, false
	}
	return m.rollBack(TemplateChanged, "Deployment %s got another pod template in mid-release: back to stable, then the new one is released", m.state.subject()), true
}

func rollBackUnhealthy(m moment) (Plan, bool) {
	c := m.o.Tracks.Canary
	if c.Crashing {
		return m.rollBack(CanaryCrashing, "The pods of %s crash again and again%s", m.state.Canary.Deployment, restarts(c.Restarts)), true
	}
	if m.exposed() && c.Ready == 0 {
		return m.rollBack(CanaryUnavailable, "%s has no ready pod left for its %d%% of the traffic%s", m.state.Canary.Deployment, max(m.state.Weight, m.state.mirror()), because(c.Problem)), true
	}
	return Plan{}, false
}

func restarts(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return " (1 restart)"
	}
	return fmt.Sprintf(" (%d restarts)", n)
}

func because(problem string) string {
	if problem == "" {
		return ""
	}
	return " (" + problem + ")"
}

func rollBackOnVerdict(m moment) (Plan, bool) {
	v := m.o.Verdict
	if !m.exposed() {
		return Plan{}, false
	}
	switch {
	case v.Kind == judge.Rollback:
		return m.rollBack(Reason(v.Reason), "%s", v.Sentence), true
	case v.Kind == judge.Starved && v.At.Sub(v.Since) >= starvedGrace && v.Abandoned:
		return m.rollBack(CanaryStarved, "%s, and clients leave without an answer", v.Sentence), true
	case v.Kind == judge.Starved && v.At.Sub(v.Since) >= starvedGrace && !m.shareUnknown():
		return m.rollBack(CanaryStarved, "%s", v.Sentence), true
	}
	return Plan{}, false
}

// rollBackOnAlert goes back for an alert that began after the release did. One that
// was there before says nothing of the canary.
func rollBackOnAlert(m moment) (Plan, bool) {
	if !m.heedsAlerts() {
		return Plan{}, false
	}
	for _, a := range m.o.Answers[m.alerts()].Alerts {
		if a.RollsBack && a.Began.After(m.state.Started) {
			return m.rollBack(AlertBegan, "The alert %s%s began after the release did%s", a.Name, severity(a), summary(a)), true
		}
	}
	return Plan{}, false
}

func severity(a Alert) string {
	if a.Severity == "" {
		return ""
	}
	return " (" + a.Severity + ")"
}

func summary(a Alert) string {
	if a.Summary == "" {
		return ""
	}
	return ": " + a.Summary
}

// exposed tells that the canary is sent requests, or copies of them.
func (m moment) exposed() bool { return m.state.Weight > 0 || m.state.mirror() > 0 }

// shareUnknown tells that clients reach the pods by ways that no route of ours
// rules: nobody can say then how many answers the canary owes, unless they leave
// it without one.
func (m moment) shareUnknown() bool {
	return slices.ContainsFunc(m.o.Findings, func(f Finding) bool { return f.Reason == UnmanagedClients })
}
