package canary

import (
	"fmt"
	"slices"
	"time"

	"serin.dev/serin/pkg/judge"
)

// This file holds the rules of a release in place: one Deployment, which the
// guard has paused with its new template, and a canary Deployment of ours beside
// it while the release lasts.

// leastSettle is waited for where nobody said how long proxies take.
const leastSettle = 5 * time.Second

// settle is how long proxies take to go by what was written.
func (m moment) settle() time.Duration {
	if m.spec.Settle > 0 {
		return m.spec.Settle
	}
	return leastSettle
}

// unsettled is what is left of settling since a time; not above 0 when it is over.
func (m moment) unsettled(since time.Time) time.Duration {
	return m.settle() - m.now.Sub(since)
}

// place is what a release has beside the Deployment where it stands; nil in pair
// mode, whose pods are not ours to make.
func (m moment) place(s State) *Place {
	if !s.InPlace {
		return nil
	}
	p := &Place{Subsets: m.subsets(s), Pods: m.pods(s)}
	if s.Phase == Promoting && (s.Plain || !m.o.Place.Held || m.opened()) {
		p.Deployment = Resume
	}
	return p
}

// opened tells that the proxies take all pods for stable's, so that these may be
// replaced.
func (m moment) opened() bool {
	there := m.o.Place
	return there.Subsets.Stable != "" && there.Subsets.Pods == "" && m.unsettled(there.SubsetsAt) <= 0
}

// subsets are the versions' in a state. While Kubernetes replaces the pods of
// stable, these are whatever pods there are: proxies hear of routes and of subsets
// one by one, and a subset of pods that are gone would leave users with nobody.
func (m moment) subsets(s State) *Subsets {
	subsets := &Subsets{Stable: s.Stable.Subset, Canary: s.Canary.Subset, Pods: s.Stable.Pods}
	replaced := s.Phase == Finishing && !m.o.Place.Held && m.o.Tracks.Canary.Template != s.Stable.Template
	if s.Phase == Promoting || replaced {
		subsets.Pods = ""
	}
	return subsets
}

// pods are the canary's: none until the routes are pinned to stable, for the
// Service selects them too; then as many as the weight takes, and at most as many
// as the next step will.
func (m moment) pods(s State) *Pods {
	switch {
	case !m.o.Place.Canary && (s.Sequence != m.state.Sequence || !m.routesMet() || m.unsettled(m.written()) > 0):
		return nil
	case s.Phase == Promoting && !s.Plain:
		return &Pods{Least: s.Weight, Most: 100}
	case s.Phase == Promoting, s.Phase.Drains():
		return &Pods{Most: 100}
	}
	return &Pods{Least: s.Weight, Most: max(s.Weight, nextWeight(s)), Template: s.Canary.Template}
}

func nextWeight(s State) int {
	if s.Step < len(s.Spec.Steps) {
		return s.Spec.Steps[s.Step].Weight
	}
	return 100
}

// PodsFor is how many pods carry a share of the traffic, in percent, where
// wanted carry all of it: at least one.
func PodsFor(share, wanted int) int { return max(1, (share*wanted+99)/100) }

// scale makes pods for a weight before the weight goes up; false when there are
// enough, or they are not ours to make.
func (m moment) scale(weight int) (Plan, bool) {
	c := m.o.Tracks.Canary
	need := PodsFor(weight, m.o.Tracks.Stable.Wanted)
	left := m.unknownToProxies()
	switch {
	case !m.state.InPlace, c.Ready >= need && (m.state.Weight > 0 || left <= 0):
		return Plan{}, false
	case c.Ready >= need:
		p := m.hold(WaitingForPods, "The pods of %s are ready; the proxies learn of them", c.Deployment)
		p.Recheck = left
		return p, true
	}
	p := m.hold(ScalingCanary, "%s gets %d pods for %d%% of the traffic, %d are ready%s", c.Deployment, need, weight, c.Ready, because(c.Problem))
	p.Place.Pods = &Pods{Least: weight, Most: weight, Template: m.state.Canary.Template}
	if m.now.Sub(m.state.Since) >= m.spec.StepDeadline {
		p.Tell = append(p.Tell, Event{Reason: ScalingCanary, Warning: true,
			Sentence: "Held: the pods of " + c.Deployment + " for the next step don't become ready" + because(c.Problem)})
	}
	return p, true
}

// yieldToResume leaves the update to Kubernetes when somebody resumed the
// Deployment by hand. Stable's pods go away by it, so stable is all pods from now
// on, and nobody is sent to the canary alone.
func yieldToResume(m moment) (Plan, bool) {
	asked := m.o.Tracks.Canary.Template
	if !m.state.InPlace || m.o.Place.Held || asked == "" || asked == m.state.Stable.Template {
		return Plan{}, false
	}
	return m.move(func(s *State) {
		s.Phase, s.Plain, s.Weight, s.Since = Promoting, true, 0, m.now
	}, true, ResumedByPerson, "Deployment %s was resumed by hand: Kubernetes updates it, which can't be judged; its users go to whatever pods are ready", m.state.Stable.Deployment), true
}

// followStable ends a release when the pods of the version that ran are gone and
// others came: scaled to none and up again, a paused Deployment gets pods of the
// ReplicaSet that Kubernetes finds first, whatever template that is of. The subset
// is pointed at them before anybody is sent back.
func followStable(m moment) (Plan, bool) {
	live := m.o.Tracks.Stable
	if !m.state.InPlace || live.Pods == "" || live.Pods == m.state.Stable.Pods {
		return Plan{}, false
	}
	if m.o.Place.Subsets.Pods != live.Pods || m.unsettled(m.o.Place.SubsetsAt) > 0 {
		p := m.hold(StableChanged, "The pods of %s that were stable are gone, and others came: its subset is pointed at them", live.Deployment)
		p.Place.Subsets.Pods = live.Pods
		p.Recheck = max(time.Second, m.unsettled(m.o.Place.SubsetsAt))
		return p, true
	}
	follow := func(s *State) { s.Stable.Template, s.Stable.Pods = live.Template, live.Pods }
	if m.state.Phase == RollingBack {
		return m.move(follow, false, m.state.Reason, "%s", m.state.Message), true
	}
	p := m.rollBack(StableChanged, "The pods of %s that were stable are gone, and others came, as when it is scaled to none and up again: all traffic goes to them", live.Deployment)
	follow(&p.Next)
	p.Place = m.place(p.Next)
	return p, true
}

// finishPromotion updates the user's Deployment while all its users are on the
// canary. There is no way back from here: the pods of the version before go.
func finishPromotion(m moment) (Plan, bool) {
	if m.state.Phase != Promoting {
		return Plan{}, false
	}
	stable := m.o.Tracks.Stable
	switch {
	case !m.state.Plain && m.o.Tracks.Canary.Ready == 0 && stable.Ready > 0 && m.o.Tracks.Canary.Template == m.state.Canary.Template:
		return m.move(func(s *State) { s.Plain, s.Weight, s.Since = true, 0, m.now }, true, CanaryUnavailable,
			"%s has no ready pod left while %s is updated: its users go to whatever pods are ready", m.state.Canary.Deployment, stable.Deployment), true
	case !m.state.Plain && m.o.Tracks.Canary.Template != m.state.Canary.Template && !m.o.OptedIn:
		return m.leaveToKubernetes(), true
	case !m.state.Plain && m.o.Tracks.Canary.Template != m.state.Canary.Template:
		return m.replaceWhilePromoting(), true
	case !m.o.Place.Updated:
		return m.updating(), true
	case m.o.Place.Subsets.Pods != stable.Pods:
		p := m.hold(Updating, "%s is updated: its subset is pointed at the new pods", stable.Deployment)
		p.Place.Subsets.Pods = stable.Pods
		return p, true
	case m.unsettled(m.o.Place.SubsetsAt) > 0:
		p := m.hold(Updating, "%s is updated: the proxies learn of its new pods", stable.Deployment)
		p.Place.Subsets.Pods, p.Recheck = stable.Pods, m.unsettled(m.o.Place.SubsetsAt)
		return p, true
	}
	if p, held := m.holdUnjudgedImages(); held {
		return p, true
	}
	return m.move(func(s *State) {
		s.Phase, s.Weight, s.Since = Finishing, 0, m.now
		s.Stable.Template, s.Stable.Pods = stable.Template, stable.Pods
	}, false, Finished, "%s runs the new version: its users return to it from %s", stable.Deployment, m.state.Canary.Deployment), true
}

// updating waits for Kubernetes to update the Deployment, and tells people when
// that takes long, or when the canary breaks a limit too late to go back.
func (m moment) updating() Plan {
	stable := m.o.Tracks.Stable
	if verb, new := m.verb(); new && verb == CommandPromote && !m.state.Plain {
		return m.ignore("The command promote#%s does not fit a release that is %s at %d%%: ignored", m.o.Command.ID, m.state.Phase, m.state.Weight)
	}
	p := m.hold(Updating, "Kubernetes updates %s, which has no users meanwhile: %d of %d pods are new and ready%s", stable.Deployment, m.renewed(), stable.Wanted, because(stable.Problem))
	switch {
	case m.state.Plain:
		p.View.Sentence = m.state.Message
	case m.o.Place.Held && !m.opened():
		p.View.Sentence = stable.Deployment + " has no users: its subset is opened to all pods, and the proxies learn of that before its own are replaced"
		p.Recheck = max(time.Second, m.unsettled(m.o.Place.SubsetsAt))
	}
	if m.now.Sub(m.state.Since) >= m.spec.StepDeadline {
		p.Tell = append(p.Tell, Event{Reason: Updating, Warning: true,
			Sentence: "The update of " + stable.Deployment + " is not complete after " + short(m.spec.StepDeadline) + because(stable.Problem)})
	}
	return m.tooLate(p)
}

// tooLate tells of what can't be undone any more.
func (m moment) tooLate(p Plan) Plan {
	stable := m.o.Tracks.Stable
	if verb, _ := m.verb(); m.level(CommandAbort) || verb == CommandRollback {
		p.Tell = append(p.Tell, Event{Reason: CommandIgnored, Warning: true,
			Sentence: "The command to go back comes too late: the pods of the version before are going. Release that version anew when " + stable.Deployment + " is updated"})
	}
	if v := m.o.Verdict; v.Kind == judge.Rollback {
		p.Tell = append(p.Tell, Event{Reason: Reason(v.Reason), Warning: true,
			Sentence: "The canary breaks a limit while " + stable.Deployment + " is updated to it: the pods of the version before are going, so there is no way back but to release it anew"})
	}
	return p
}

// renewed is how many pods of the new template are ready in the user's Deployment.
func (m moment) renewed() int {
	if s := m.o.Tracks.Stable; s.Template == m.o.Tracks.Canary.Template {
		return s.Ready
	}
	return 0
}

// replaceWhilePromoting answers a template that came while another was being
// promoted, past the policy that refuses it: users stay on the canary, which was
// judged, until a person decides.
func (m moment) replaceWhilePromoting() Plan {
	stable := m.state.Stable.Deployment
	if verb, new := m.verb(); new && verb == CommandPromote {
		return m.move(func(s *State) { s.Canary.Template = m.o.Tracks.Canary.Template }, true, TemplateChanged,
			"%s is updated %s to the template that came last, which nobody judged", stable, m.o.Command.given()).handling(m.o.Command)
	}
	p := m.hold(TemplateChanged,
		"Held: %s got another pod template while it was being updated. All users stay on %s, which was judged. Write the template before it again, or give the command promote#id to take the new one without a canary", stable, m.state.Canary.Deployment).told(true)
	p.Place.Deployment = KeepAsIs
	return p
}

// leaveToKubernetes answers a template that came, while another was being
// promoted, with the opting out: it is updated plainly, and the users go to
// whatever pods are ready once the proxies know these.
func (m moment) leaveToKubernetes() Plan {
	stable := m.state.Stable.Deployment
	if there := m.o.Place; there.Subsets.Pods != "" || m.unsettled(there.SubsetsAt) > 0 {
		p := m.hold(OptedOut, "%s was opted out and got another pod template while it was being updated: its users go to whatever pods are ready", stable)
		p.Place.Subsets.Pods, p.Place.Deployment = "", KeepAsIs
		p.Recheck = max(time.Second, m.unsettled(there.SubsetsAt))
		return p
	}
	return m.move(func(s *State) { s.Plain, s.Weight, s.Since = true, 0, m.now }, true, OptedOut,
		"%s was opted out and got another pod template while it was being updated: its users go to whatever pods are ready", stable)
}

// finishRelease waits until the canary has no traffic left, and takes everything
// away that the release added.
func finishRelease(m moment) (Plan, bool) {
	if m.state.Phase != Finishing {
		return Plan{}, false
	}
	if !m.routesMet() || m.unsettled(m.written()) > 0 || !m.drained() {
		return m.hold(Finished, "%s", m.state.Message), true
	}
	if p, busy := m.clear(); busy {
		return p, true
	}
	s := m.state
	switch changed := s.Plain && m.o.Tracks.Stable.Template != s.Canary.Template; {
	case changed && !m.o.OptedIn:
		return m.rest(RolledBack, true, OptedOut, "%s was opted out and given another template: the release of it ended", s.Stable.Deployment), true
	case changed:
		return m.rest(RolledBack, true, ResumedByPerson, "%s was resumed by hand and then given another template: the release of it ended", s.Stable.Deployment), true
	case s.Plain && s.Step < len(s.Spec.Steps):
		return m.rest(Succeeded, true, ResumedByPerson, "%s was resumed by hand: it runs the new version, which was judged for %d of %d steps", s.Stable.Deployment, s.Step, len(s.Spec.Steps)), true
	}
	return m.rest(Succeeded, false, Promoted, "%s is promoted: it runs the new version, and nothing of the release is left", s.Stable.Deployment), true
}

// drained tells that the canary was seen without traffic, or that this was waited
// for long enough. A promoted canary that still answers requests is what proxies
// know that have not heard of the routes, as when istiod is away: it is taken from
// them only at the step's deadline.
func (m moment) drained() bool {
	limit := m.verifyTime()
	if v := m.o.Verdict; m.state.Phase == Finishing && v.Quiet == 0 && v.At.Sub(m.state.Since) > m.settle() && m.now.Sub(v.At) < limit {
		limit = max(limit, m.state.Spec.StepDeadline)
	}
	return m.state.Peak == 0 || m.o.Verdict.Quiet >= quietBlocks || m.now.Sub(m.state.Since) >= limit
}

// awaitProxies keeps stable's pods while they still answer requests though no
// route leads to them: proxies that have not heard of the routes would have
// nobody left. A client that goes by no route would be waited for as well, so
// this ends with the step's deadline.
func awaitProxies(m moment) (Plan, bool) {
	waited := m.now.Sub(m.state.Since)
	last := m.state.InPlace && m.state.Step == len(m.spec.Steps) && m.state.Weight == 100
	if v := m.o.Verdict; !last || v.Kind != judge.Promote || v.StableQuiet >= quietBlocks || waited >= m.spec.StepDeadline {
		return Plan{}, false
	}
	p := m.hold(Baking, "At 100%%, and %s was not seen without requests yet: its pods stay until all proxies go by the routes", m.state.Stable.Deployment)
	if waited >= m.verifyTime() {
		p.Tell = append(p.Tell, Event{Reason: Baking, Warning: true, Sentence: fmt.Sprintf(
			"Held at 100%%: %s still answers requests, %s after all routes lead to %s. Look whether the proxies hear of istiod; or clients outside the mesh go by no route. It goes on at the step's deadline",
			m.state.Stable.Deployment, short(m.verifyTime()), m.state.Canary.Deployment)})
	}
	return p, true
}

// clear takes the canary's pods away once nobody needs them, and waits until they
// are gone: a route that is put back leads to all pods of the Service.
func (m moment) clear() (Plan, bool) {
	if !m.o.Place.Canary && m.o.Place.CanaryPods == 0 {
		return Plan{}, false
	}
	p := m.hold(Clearing, "The users are on %s; the pods of %s go", m.state.Stable.Deployment, m.state.Canary.Deployment)
	p.Place.Pods = nil
	p.Recheck = time.Second
	return p, true
}

// What follows is for in place at rest.

// letGo takes the guard's pause off a Deployment of which nothing is to be released.
func letGo(m moment) (Plan, bool) {
	if !m.o.Place.Held {
		return Plan{}, false
	}
	why := m.nothingHeld()
	if m.ours() && m.o.Place.Carried {
		return Plan{}, false // some route is still pinned to pods that an update would take away
	}
	if why == "" || m.o.Place.Always && m.o.InPlace && m.o.OptedIn {
		return Plan{}, false
	}
	if left := m.unsettled(m.o.Place.Written); left > 0 && m.ours() {
		p := m.leave(restPhase(m.state), LetGo, "The proxies learn of the routes; then the guard's pause is taken off: %s", why)
		p.Recheck = left
		return p, true
	}
	p := m.leave(restPhase(m.state), LetGo, "The guard's pause of the Deployment is taken off: %s", why).told(false)
	p.Place = &Place{Deployment: Resume}
	return p, true
}

// ours tells that the last release was, or the next would be, one in place.
func (m moment) ours() bool { return m.o.InPlace || m.state.InPlace || m.o.Place.Left }

// nothingHeld says why a pause by the guard is in vain.
func (m moment) nothingHeld() string {
	stable := m.o.Tracks.Stable
	_, rejected := m.rejected()
	switch {
	case m.o.Observe:
		return "it is only observed now"
	case !m.o.OptedIn:
		return "it is not opted in any more"
	case !m.o.InPlace && rejected && m.spec.Mode != ModePair:
		return "" // another Deployment came beside it: that makes what was rolled back no better
	case !m.o.InPlace:
		return "it is released in pair mode. Write serin.dev/mode: pair, so that the guard lets it alone"
	case m.o.Place.Mixed:
		return "an update was under way when it was changed. This change is no canary release"
	case stable.Wanted == 0 && !rejected:
		return "it has no replicas, so there is no version to go back to"
	case m.o.Tracks.Canary.Template == stable.Template:
		return "it asks for the template that runs"
	}
	return ""
}

// keepPaused is for clusters without a guard in the API server: the Deployment is
// paused before its template can change.
func keepPaused(m moment) (Plan, bool) {
	if !m.o.InPlace || !m.o.Place.Always || m.o.Place.Held || !m.o.Place.Updated {
		return Plan{}, false
	}
	p := m.leave(restPhase(m.state), NothingToRelease, "%s is kept paused, so that a change of it waits to be released", m.o.Tracks.Stable.Deployment)
	p.Place = &Place{Deployment: Pause}
	return p, true
}

// awaitOtherMode lets what is left of a release in place go before a release in
// the other mode, or one that is only looked at, begins.
func awaitOtherMode(m moment) (Plan, bool) {
	if !m.o.InPlace || m.spec.Mode != ModePair && !m.o.Observe {
		return Plan{}, false
	}
	return m.leave(restPhase(m.state), Clearing, "What the last release in place has left goes first"), true
}

// explainPlain tells of an update that is none of ours.
func explainPlain(m moment) (Plan, bool) {
	stable := m.o.Tracks.Stable
	if !m.o.InPlace || m.o.Place.Held || !m.o.Place.Mixed && m.o.Tracks.Canary.Template == stable.Template {
		return Plan{}, false
	}
	if stable.Template == "" { // the first pods of a Deployment take the place of none
		return m.leave(Idle, NothingToRelease, "%s has no pods yet", stable.Deployment), true
	}
	return m.leave(Idle, NotACanary, "Kubernetes updates %s: this change is no canary release, for nothing held it back", stable.Deployment).told(false), true
}

// explainSame is for a Deployment that asks for what runs.
func explainSame(m moment) (Plan, bool) {
	if !m.o.InPlace || m.o.Tracks.Canary.Template != m.o.Tracks.Stable.Template {
		return Plan{}, false
	}
	if m.state.Phase == Succeeded && m.state.Canary.Template == m.o.Tracks.Canary.Template {
		return m.leave(Succeeded, m.state.Reason, "%s", m.state.Message), true
	}
	return m.leave(Idle, NothingToRelease, "%s runs what it asks for", m.o.Tracks.Stable.Deployment), true
}

// superseded are the ends of a release that say nothing against its version.
var superseded = []Reason{TemplateChanged, OptedOut, DeploymentDeleted, ResumedByPerson, StableChanged}

// rejected is the release in which the template that is asked for was rolled
// back, if that is how it was tried last.
func (m moment) rejected() (Release, bool) {
	for _, r := range m.o.History {
		if r.Canary.Template != m.o.Tracks.Canary.Template {
			continue
		}
		return r, r.Outcome == RolledBack && !slices.Contains(superseded, r.Reason)
	}
	return Release{}, false
}

// explainRejected leaves a version alone that was rolled back, or puts the one
// that runs back in its place.
func explainRejected(m moment) (Plan, bool) {
	r, found := m.rejected()
	if !m.o.InPlace || !found || m.retries() {
		return Plan{}, false
	}
	stable := m.o.Tracks.Stable.Deployment
	if m.spec.OnRollback == RestoreTemplate {
		p := m.leave(RolledBack, Restored, "The template of %s that runs is put back, for the one it asks for was rolled back (%s)", stable, r.Reason).told(false)
		p.Place = &Place{Deployment: Restore}
		return p, true
	}
	if m.state.Rollout == r.Rollout {
		return m.leave(RolledBack, m.state.Reason, "%s", m.state.Message), true
	}
	return m.leave(RolledBack, AlreadyTried,
		"This pod template of %s was rolled back before (%s, %s). %s; or give the command retry#id", stable, r.Rollout, r.Reason, goBack(stable)).told(false), true
}

// goBack says how people take a version back that waits, paused, in the Deployment.
func goBack(deployment string) string {
	return deployment + " stays paused with it. To take it back write the old template (Git, kubectl apply, kubectl set image), or serin.dev/on-rollback: restore; kubectl rollout undo refuses a paused Deployment, and kubectl rollout resume would update it without a canary"
}

// prepare has the versions' subsets made, and known to the proxies, before any
// route names them.
func prepare(m moment) (Plan, bool) {
	if !m.o.InPlace {
		return Plan{}, false
	}
	c, s := m.o.Tracks.Canary, m.o.Tracks.Stable
	if m.o.Place.Canary || m.o.Place.CanaryPods > 0 {
		p := m.leave(Waiting, Clearing, "Waiting until the pods of the canary before are gone")
		p.Recheck = time.Second
		return p, true
	}
	want := Subsets{Stable: s.Subset, Canary: c.Subset, Pods: s.Pods}
	left := m.unsettled(m.o.Place.SubsetsAt)
	if m.o.Place.Subsets == want && left <= 0 {
		return Plan{}, false
	}
	p := m.leave(Waiting, Preparing, "The subsets of %s and its canary are made known to the proxies before any route names them", s.Deployment)
	p.Place, p.Recheck = &Place{Subsets: &want}, max(left, time.Millisecond)
	return p, true
}

// tidy adds to a plan at rest what takes everything of ours away: the states on
// the VirtualServices, then the subsets once no proxy goes by a route that names
// them.
func (m moment) tidy(p Plan) Plan {
	if !m.ours() || p.Next.Phase.Active() || m.o.Newer || m.o.Lost {
		return p
	}
	place := Place{}
	if p.Place != nil {
		place = *p.Place
	}
	carried := m.o.Place.Carried && (m.state.InPlace || m.state.Rollout == "")
	left := m.unsettled(m.o.Place.Written)
	if there := m.o.Place.Subsets; place.Subsets == nil && there != (Subsets{}) && (m.o.Place.Carried || left > 0) {
		place.Subsets = &there
		p.Recheck = soonest(p.Recheck, max(left, time.Second))
	}
	p.Place = &place
	if carried && p.Traffic == nil {
		traffic := Traffic{Stable: m.o.Tracks.Stable.Subset, Canary: m.o.Tracks.Canary.Subset, Pin: true}
		if m.state.InPlace {
			traffic = TrafficOf(m.state)
		}
		p.Traffic = &traffic
		p.Clean, p.Last = true, true
		if p.Record == nil {
			p.Record = m.unkept()
		}
		p.Recheck = soonest(p.Recheck, time.Second)
	}
	return p
}

// soonest is the shorter of two times to look again, of which 0 is never.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b < a && b > 0 {
		return b
	}
	return a
}
