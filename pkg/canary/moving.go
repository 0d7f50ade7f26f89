package canary

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"serin.dev/serin/pkg/judge"
)

func holdStateOfNewer(m moment) (Plan, bool) {
	if !m.o.Newer {
		return Plan{}, false
	}
	return m.leave(Blocked, StateOfNewer,
		"The rollout's state was written by a newer version of Serin; nothing is moved until that version runs again").told(true), true
}

// cleanWhenOptedOut needs no phase of its own: one write puts the users back
// on stable and takes all our marks off.
func cleanWhenOptedOut(m moment) (Plan, bool) {
	if m.o.OptedIn && !m.o.Gone {
		return Plan{}, false
	}
	r, what := OptedOut, "was opted out"
	if m.o.Gone {
		r, what = DeploymentDeleted, "was deleted"
	}
	if m.state.Weight > 0 && !m.stableServes() && !m.o.Gone {
		return m.hold(StableUnavailable,
			"Deployment %s %s, but stable has no ready pod: its traffic stays until stable can serve", m.state.Canary.Deployment, what).told(true), true
	}
	p := m.rest(RolledBack, true, r,
		"Deployment %s %s in mid-release: all traffic goes back to %s", m.state.Canary.Deployment, what, m.state.Stable.Deployment)
	p.Next.Weight = 0
	p.Traffic.Weight = 0
	p.View.Weight = 0
	p.Clean = true
	return p, true
}

// finishRollback asserts stable until the canary's traffic is seen to be gone.
func finishRollback(m moment) (Plan, bool) {
	if m.state.Phase != RollingBack {
		return Plan{}, false
	}
	if m.state.Weight > 0 {
		if !m.stableServes() {
			return m.hold(StableUnavailable, "%s; waiting for a ready pod of %s to send traffic to", m.state.Message, m.state.Stable.Deployment).told(true), true
		}
		return m.move(func(s *State) { s.Weight, s.Since = 0, m.now }, true, m.state.Reason,
			"Stable is ready again: all traffic goes back to %s", m.state.Stable.Deployment), true
	}
	if !m.routesMet() {
		return m.hold(m.state.Reason, "%s", m.state.Message), true
	}
	switch {
	case m.state.Peak == 0:
		return m.rolledBack(RollbackVerified, "The release ended before any user was on %s", m.state.Canary.Deployment), true
	case m.o.Verdict.Quiet >= quietBlocks:
		return m.rolledBack(RollbackVerified, "Rolled back: all users are on %s, %s gets no requests any more", m.state.Stable.Deployment, m.state.Canary.Deployment), true
	case m.now.Sub(m.state.Since) >= verifyLimit:
		return m.rolledBack(RollbackUnverified, "The routes are at %s, but %s could not be seen without traffic: %s", m.state.Stable.Deployment, m.state.Canary.Deployment, m.residual()), true
	}
	return m.hold(m.state.Reason, "%s", m.state.Message), true
}

// rolledBack ends the release for the reason it went back for; told is only
// that it is over, for the reason was told when the routes went.
func (m moment) rolledBack(r Reason, format string, args ...any) Plan {
	p := m.rest(RolledBack, false, m.state.Reason, "%s", m.state.Message)
	p.Tell = []Event{{Reason: r, Sentence: fmt.Sprintf(format, args...), Warning: r == RollbackUnverified}}
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
		return m.rollBack(AbortedByCommand, "Aborted by command"), true
	}
	if verb, new := m.verb(); new && verb == CommandRollback {
		return m.rollBack(RolledBackByPerson, "Rolled back by command").handling(m.o.Command), true
	}
	return Plan{}, false
}

func rollBackChangedTemplate(m moment) (Plan, bool) {
	now := m.o.Tracks.Canary.Template
	if now == "" || now == m.state.Canary.Template {
		return Plan{}, false
	}
	return m.rollBack(TemplateChanged, "Deployment %s got another pod template in mid-release: back to stable, then the new one is released", m.state.Canary.Deployment), true
}

func rollBackUnhealthy(m moment) (Plan, bool) {
	c := m.o.Tracks.Canary
	if c.Crashing {
		return m.rollBack(CanaryCrashing, "The pods of %s crash again and again (%d restarts)", m.state.Canary.Deployment, c.Restarts), true
	}
	if m.state.Weight > 0 && c.Ready == 0 {
		return m.rollBack(CanaryUnavailable, "%s has no ready pod left for its %d%% of the traffic%s", m.state.Canary.Deployment, m.state.Weight, because(c.Problem)), true
	}
	return Plan{}, false
}

func because(problem string) string {
	if problem == "" {
		return ""
	}
	return " (" + problem + ")"
}

func rollBackOnVerdict(m moment) (Plan, bool) {
	v := m.o.Verdict
	if m.state.Weight == 0 {
		return Plan{}, false
	}
	switch {
	case v.Kind == judge.Rollback:
		return m.rollBack(Reason(v.Reason), "%s", v.Sentence), true
	case v.Kind == judge.Starved && v.At.Sub(v.Since) >= starvedGrace:
		return m.rollBack(CanaryStarved, "%s", v.Sentence), true
	}
	return Plan{}, false
}

// strayed returns the VirtualService, first by name, that somebody else wrote
// and that f picks.
func (m moment) strayed(f func(Seen) bool) (ObjectKey, Seen, bool) {
	keys := make([]ObjectKey, 0, len(m.o.Traffic))
	for key := range m.o.Traffic {
		keys = append(keys, key)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
	for _, key := range keys {
		if seen := m.o.Traffic[key]; seen.Writer != "" && f(seen) {
			return key, seen, true
		}
	}
	return ObjectKey{}, Seen{}, false
}

// answerGitOps re-applies what a GitOps tool reverted, and gives way when it
// does not stop: traffic that flaps is worse than a release that waits.
func answerGitOps(m moment) (Plan, bool) {
	key, seen, found := m.strayed(func(s Seen) bool {
		return s.GitOps && (s.Lowered || s.Raised || s.HeaderLost)
	})
	if !found {
		return Plan{}, false
	}
	if m.state.Reverts >= MaxReverts {
		return m.rollBack(RevertedByGitOps, "%s wrote the routes of %s back %d times: the release stays at stable. %s",
			seen.Writer, key, m.state.Reverts+1, gitOpsMend), true
	}
	return m.move(func(s *State) { s.Reverts++ }, true, GitOpsReapplied,
		"%s wrote the routes of %s back; they are set again (%d of %d). %s", seen.Writer, key, m.state.Reverts+1, MaxReverts, gitOpsMend), true
}

const gitOpsMend = "Let it ignore the routes: Argo CD with ignoreDifferences on .spec.http and RespectIgnoreDifferences=true, Flux with kustomize.toolkit.fluxcd.io/ssa: IfNotPresent"

// pauseForPerson honours at once a hand that took weight away.
func pauseForPerson(m moment) (Plan, bool) {
	key, seen, found := m.strayed(func(s Seen) bool { return s.Lowered && s.Rollout == m.state.Rollout })
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

func undoRaise(m moment) (Plan, bool) {
	key, seen, found := m.strayed(func(s Seen) bool { return s.Raised })
	if !found {
		return Plan{}, false
	}
	return m.move(func(*State) {}, true, RaiseUndone,
		"%s raised the canary to %d%% in %s: set back to %d%%; use the command promote#id or skip#id to go faster", seen.Writer, seen.Max, key, m.state.Weight), true
}

// routesMet tells whether every VirtualService carries this state and its weights.
func (m moment) routesMet() bool {
	for _, seen := range m.o.Traffic {
		if seen.Rollout != m.state.Rollout || seen.Sequence != m.state.Sequence || seen.Lowered || seen.Raised || seen.HeaderLost {
			return false
		}
	}
	return len(m.o.Traffic) > 0
}

func holdForPendingRoutes(m moment) (Plan, bool) {
	if m.routesMet() {
		return Plan{}, false
	}
	p := m.hold(RoutesPending, "%s", m.state.Message)
	p.Recheck = time.Second
	return p, true
}

func holdInvalid(m moment) (Plan, bool) {
	if len(m.o.Invalid) == 0 {
		return Plan{}, false
	}
	return m.hold(InvalidAnnotation, "Held, the annotations of %s are not valid: %s", m.state.Canary.Deployment, strings.Join(m.o.Invalid, "; ")).told(true), true
}

// adoptSpec takes over annotations that were changed in mid-release. The weight
// never rises by it.
func adoptSpec(m moment) (Plan, bool) {
	if sameSpec(m.spec, m.state.Spec) {
		return Plan{}, false
	}
	return m.move(func(s *State) {
		s.Spec, s.Since = m.spec, m.now
		if s.Step == 0 {
			return
		}
		s.Step = stepsUpTo(m.spec.Steps, m.step().Weight)
		if s.Step > 0 {
			s.Weight = min(s.Weight, m.spec.Steps[s.Step-1].Weight)
			return
		}
		s.Weight = 0
		if s.Phase != Paused {
			s.Phase = Testing
		}
	}, false, SpecChanged, "The annotations of %s changed: the release goes on by the new ones", m.state.Canary.Deployment), true
}

// stepsUpTo counts the steps whose weight is at most that of the step passed last.
func stepsUpTo(steps []Step, weight int) int {
	n := 0
	for n < len(steps) && steps[n].Weight <= weight {
		n++
	}
	return n
}

func sameSpec(a, b Spec) bool {
	if len(a.Steps) != len(b.Steps) || len(a.Header.Values) != len(b.Header.Values) {
		return false
	}
	for i := range a.Steps {
		if a.Steps[i] != b.Steps[i] {
			return false
		}
	}
	for i := range a.Header.Values {
		if a.Header.Values[i] != b.Header.Values[i] {
			return false
		}
	}
	return a.Test == b.Test && a.StepDeadline == b.StepDeadline && a.OnInconclusive == b.OnInconclusive &&
		a.Limits == b.Limits && a.Header.Name == b.Header.Name && a.Header.Match == b.Header.Match
}

func holdStableUnavailable(m moment) (Plan, bool) {
	if m.stableServes() || m.state.Weight == 100 {
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
		return m.resume(func(s *State) { s.Stable.Template = live }).handling(m.o.Command), true
	}
	if m.state.Phase == Paused && m.state.Reason == StableChanged {
		return m.hold(StableChanged, "%s", m.state.Message), true
	}
	return m.move(func(s *State) { s.Phase = Paused }, true, StableChanged,
		"%s got another pod template in mid-release: held at %d%%; the command resume#id goes on against the new one, abort ends the release", m.state.Stable.Deployment, m.state.Weight), true
}

// resume goes back to the step, at its weight.
func (m moment) resume(change func(*State)) Plan {
	return m.move(func(s *State) {
		s.Phase, s.Weight, s.Lowered, s.Since = Testing, 0, false, m.now
		if s.Step > 0 {
			s.Phase, s.Weight = Progressing, s.Spec.Steps[s.Step-1].Weight
		}
		change(s)
	}, false, Resumed, "Resumed at %d%%", m.weightOfStep())
}

func (m moment) weightOfStep() int {
	if m.state.Step == 0 {
		return 0
	}
	return m.step().Weight
}

// obeyVerb carries out an order that acts once; one that does not fit is told
// and never acted on later.
func obeyVerb(m moment) (Plan, bool) {
	verb, new := m.verb()
	if !new {
		return Plan{}, false
	}
	held := m.state.Phase == Paused || m.state.Phase == Inconclusive
	switch {
	case verb == CommandResume && held:
		return m.resume(func(*State) {}).handling(m.o.Command), true
	case verb == CommandPromote && m.state.Weight < 100:
		return m.raise(len(m.spec.Steps), StepStarted, "Promoted by command: all traffic goes to %s, the last step still bakes", m.state.Canary.Deployment).handling(m.o.Command), true
	case verb == CommandSkip && m.state.Step < len(m.spec.Steps):
		return m.raise(m.state.Step+1, StepStarted, "Step skipped by command: step %d of %d, %d%%", m.state.Step+1, len(m.spec.Steps), m.spec.Steps[m.state.Step].Weight).handling(m.o.Command), true
	}
	return m.ignore("The command %s#%s does not fit a release that is %s at %d%%: ignored", verb, m.o.Command.ID, m.state.Phase, m.state.Weight), true
}

// ignore remembers an order as handled without doing it; the release stays as it was.
func (m moment) ignore(format string, args ...any) Plan {
	p := m.move(func(s *State) { s.Reason, s.Message = m.state.Reason, m.state.Message }, true, CommandIgnored, format, args...)
	p.Tell = []Event{{Reason: CommandIgnored, Sentence: fmt.Sprintf(format, args...), Warning: true}}
	return p.handling(m.o.Command)
}

// raise goes to a step, 1-based.
func (m moment) raise(step int, r Reason, format string, args ...any) Plan {
	return m.move(func(s *State) {
		s.Phase, s.Step, s.Since, s.Lowered = Progressing, step, m.now, false
		s.Weight = m.spec.Steps[step-1].Weight
	}, false, r, format, args...)
}

// holdPaused enters, keeps and leaves the pause that a standing command makes.
func holdPaused(m moment) (Plan, bool) {
	standing := m.level(CommandPause)
	switch {
	case m.state.Phase != Paused && standing:
		return m.move(func(s *State) { s.Phase = Paused }, false, PausedByCommand,
			"Paused by command at %d%%; take the command away to go on", m.state.Weight), true
	case m.state.Phase == Paused && m.state.Reason == PausedByCommand && !standing:
		return m.resume(func(*State) {}), true
	case m.state.Phase == Paused && m.state.Reason == StableChanged:
		return m.resume(func(*State) {}), true // stable went back to the template it had
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

func leaveTesting(m moment) (Plan, bool) {
	if m.state.Phase != Testing {
		return Plan{}, false
	}
	c := m.o.Tracks.Canary
	if !c.Complete {
		return m.hold(WaitingForPods, "Waiting until all pods of %s are ready (%d of %d)%s", c.Deployment, c.Ready, c.Wanted, because(c.Problem)), true
	}
	if left := m.spec.Test - m.now.Sub(m.state.Since); left > 0 {
		p := m.hold(TestingReady, "%s", m.state.Message)
		p.Recheck = left
		return p, true
	}
	return m.raise(1, StepStarted, "Step 1 of %d: %d%% of the traffic goes to %s", len(m.spec.Steps), m.spec.Steps[0].Weight, c.Deployment), true
}

// passStep goes on when the bake is done and the verdict is good.
func passStep(m moment) (Plan, bool) {
	v := m.o.Verdict
	bake := m.step().Bake
	if v.Kind != judge.Promote || v.Covered < bake || m.now.Sub(m.state.Since) < bake {
		return Plan{}, false
	}
	return m.advance(StepPassed, v.Sentence), true
}

// advance goes to the next step, or ends the release well after the last.
func (m moment) advance(r Reason, why string) Plan {
	n, steps := m.state.Step, len(m.spec.Steps)
	if n == steps {
		return m.rest(Succeeded, false, Promoted, "%s is promoted: it has all the traffic. %s", m.state.Canary.Deployment, why)
	}
	return m.raise(n+1, r, "Step %d of %d: %d%% of the traffic goes to %s. %s", n+1, steps, m.spec.Steps[n].Weight, m.state.Canary.Deployment, why)
}

// meetDeadline ends the waiting for a verdict as the team has set it.
func meetDeadline(m moment) (Plan, bool) {
	if m.state.Phase != Progressing || m.now.Sub(m.state.Since) < m.spec.StepDeadline {
		return Plan{}, false
	}
	v, seen := m.o.Verdict, m.o.Verdict.Sentence
	if seen == "" {
		seen = "no data yet"
	}
	onTime := v.Kind == judge.Hold && v.NoWorse && v.Covered >= m.step().Bake
	switch {
	case m.spec.OnInconclusive == Proceed && onTime:
		return m.advance(ProceedOnTime, "On time, not on evidence: "+v.Sentence), true
	case m.spec.OnInconclusive == RollBack:
		return m.rollBack(RolledBackOnTime, "No verdict within the step's deadline of %s: %s", short(m.spec.StepDeadline), seen), true
	}
	return m.move(func(s *State) { s.Phase = Inconclusive }, true, DeadlinePassed,
		"No verdict within the step's deadline of %s: held at %d%% until there is one, or the command resume#id, skip#id or abort (%s)", short(m.spec.StepDeadline), m.state.Weight, seen), true
}

var suspended = map[judge.Kind]string{
	judge.SharedIncident: "Held: both versions are over the limit, so it is not the canary alone",
	judge.Starved:        "Held: the canary answers far less than its share of the traffic; it is rolled back if that goes on",
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
	case v.Kind == judge.SharedIncident || v.Kind == judge.Starved:
		// Told without its numbers, which change from look to look: once.
		p := m.hold(Reason(v.Reason), "%s", v.Sentence)
		p.Tell = append(p.Tell, Event{Reason: Reason(v.Reason), Warning: true, Sentence: suspended[v.Kind]})
		return p, true
	}
	return m.hold(Reason(v.Reason), "%s", v.Sentence), true
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// short is a duration as people write it: 5m, 1m30s.
func short(d time.Duration) string {
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
