package canary

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

func blockLostState(m moment) (Plan, bool) {
	if !m.o.Lost {
		return Plan{}, false
	}
	if m.o.Unreadable != "" {
		return m.leave(Blocked, StateLost,
			"The rollout's state can be read nowhere: nothing is moved. %s. Set the weights by hand, then take that annotation off, and the header route named serin-canary", m.o.Unreadable).told(true), true
	}
	return m.leave(Blocked, StateLost,
		"Our marks are on the routes, but the rollout's state can be read nowhere: nothing is moved. Set the weights by hand and take the header route named serin-canary away").told(true), true
}

// cleanAtRest takes our state off when nobody asks for canary releases any
// more; the weights stay where the last release left them.
func cleanAtRest(m moment) (Plan, bool) {
	if m.o.OptedIn {
		return Plan{}, false
	}
	p := m.leave(Idle, OptedOut, "Not opted in")
	p.Clean = m.state.Rollout != "" && !m.state.InPlace // of which nothing is left but what tidy takes away
	p.Last = p.Clean
	if p.Clean {
		p.Record = m.unkept()
	}
	return p, true
}

// unkept is the record of the release that ended last, where the history has none.
func (m moment) unkept() *Release {
	if m.state.Rollout == "" || slices.ContainsFunc(m.o.History, func(r Release) bool { return r.Rollout == m.state.Rollout }) {
		return nil
	}
	return m.record(m.state)
}

// keepRecord writes down a finished release that a crash kept from the history,
// before anything new may start: "already tried" is read from there.
func keepRecord(m moment) (Plan, bool) {
	unkept := m.unkept()
	if unkept == nil {
		return Plan{}, false
	}
	p := m.leave(m.state.Phase, m.state.Reason, "%s", m.state.Message)
	p.Record = unkept
	p.Recheck = time.Second
	return p, true
}

// finishPendingAtRest gives the last write to the VirtualServices that a crash
// kept from it, and those on which we still own the routes: an entry in
// managedFields only goes in a write of its own, after the routes'.
func finishPendingAtRest(m moment) (Plan, bool) {
	for _, seen := range m.o.Traffic {
		behind := seen.Rollout == m.state.Rollout && (seen.Sequence < m.state.Sequence || seen.Owned)
		if m.state.Rollout != "" && behind {
			p := m.leave(m.state.Phase, m.state.Reason, "%s", m.state.Message)
			traffic := TrafficOf(m.state)
			p.Traffic, p.Last, p.Recheck = &traffic, true, time.Second
			return p, true
		}
	}
	return Plan{}, false
}

func explainInvalid(m moment) (Plan, bool) {
	if len(m.o.Invalid) == 0 {
		return Plan{}, false
	}
	return m.leave(Blocked, InvalidAnnotation, "The annotations are not valid, nothing is moved: %s", strings.Join(m.o.Invalid, "; ")).told(true), true
}

// promotedShare is the share, in percent, that the subset of the last release
// has in a VirtualService; false when it can't be told (split, or other subsets).
func (m moment) promotedShare(seen Seen) (int, bool) {
	if seen.Idle || seen.Min != seen.Max || (seen.Max != 0 && seen.Max != 100) {
		return 0, false
	}
	switch m.state.Canary.Subset {
	case m.o.Tracks.Canary.Subset:
		return seen.Max, true
	case m.o.Tracks.Stable.Subset:
		return 100 - seen.Max, true
	}
	return 0, false
}

// serving is the traffic of the VirtualServices by which users come.
func (m moment) serving() []Seen {
	var found []Seen
	for _, seen := range m.o.Traffic {
		if !seen.Idle {
			found = append(found, seen)
		}
	}
	return found
}

// undoPromotion goes back to the version before while its pods still run.
func undoPromotion(m moment) (Plan, bool) {
	verb, new := m.verb()
	if !new || verb != CommandRollback || m.state.Phase != Succeeded || m.state.Weight != 100 {
		return Plan{}, false
	}
	before := m.track(m.state.Stable.Deployment)
	if before.Ready == 0 || before.Template != m.state.Stable.Template && !m.runsAgain(before) {
		p := m.ignore("The version before (%s) no longer runs as it did: deploy it anew to go back", m.state.Stable.Deployment)
		p.Last = true
		return p, true
	}
	switch refused, waits := m.orderedBack(); {
	case refused != "":
		p := m.ignore("%s", refused)
		p.Last = true
		return p, true
	case waits != "":
		p := m.leave(m.state.Phase, AwaitingGate, "%s", waits)
		p.Recheck = recheckMoving
		return m.rollbackAsks().shown(p), true
	}
	return m.move(func(s *State) {
		s.Phase, s.Weight, s.Since, s.Stable.Template = RollingBack, 0, m.now, before.Template
	}, true, RolledBackByPerson,
		"Rolled back %s: all traffic goes back to %s", m.o.Command.given(), m.state.Stable.Deployment).handling(m.o.Command), true
}

// runsAgain tells that a track runs what stable did when the last release began, by the
// digests of all containers, though its pod template names the images otherwise.
func (m moment) runsAgain(t Track) bool {
	i := slices.IndexFunc(m.o.History, func(r Release) bool { return r.Rollout == m.state.Rollout })
	if i < 0 {
		return false
	}
	then := m.o.History[i].StableImages
	return t.Complete && len(then) > 0 && slices.EqualFunc(then, t.Images, func(a, b Image) bool {
		return a.Container == b.Container && a.Digest != "" && a.Digest == b.Digest
	})
}

func (m moment) track(deployment string) Track {
	for _, t := range []Track{m.o.Tracks.Canary, m.o.Tracks.Stable} {
		if t.Deployment == deployment {
			return t
		}
	}
	return Track{}
}

// restAt writes a changed resting state with its routes.
func (m moment) restAt(change func(*State), warning bool, r Reason, format string, args ...any) Plan {
	p := m.move(change, warning, r, format, args...)
	p.Last = true
	return p
}

// answerGitOpsAtRest protects a promotion from a GitOps tool that still knows
// the old weights: once. A second time the tool is left its way, loudly; and at
// once where what was promoted no longer runs, for nobody judged what runs now.
func answerGitOpsAtRest(m moment) (Plan, bool) {
	if m.state.Phase != Succeeded || m.state.Weight != 100 {
		return Plan{}, false
	}
	key, seen, found := m.strayed(func(s Seen) bool {
		share, known := m.promotedShare(s)
		return s.GitOps && known && share == 0
	})
	if !found {
		return Plan{}, false
	}
	if promoted := m.track(m.state.Canary.Deployment); promoted.Ready == 0 || promoted.Template != m.state.Canary.Template {
		return m.restAt(func(s *State) { s.Weight = 0 }, true, GitOpsLeft,
			"%s gave all traffic of %s to %s: left so, for %s no longer runs what was promoted",
			seen.Writer, key, m.state.Stable.Deployment, m.state.Canary.Deployment), true
	}
	if m.state.Reverts == 0 || m.now.Sub(m.state.Since) > revertWindow {
		return m.restAt(func(s *State) { s.Reverts, s.Since = 1, m.now }, true, GitOpsReapplied,
			"%s undid the promotion of %s in %s: set again, once. %s", seen.Writer, m.state.Canary.Deployment, key, gitOpsMend), true
	}
	return m.restAt(func(s *State) { s.Reverts++; s.Weight = 0 }, true, GitOpsLeft,
		"%s undid the promotion of %s in %s again: left as it is, users are on %s. Write the promoted weights in Git. %s",
		seen.Writer, m.state.Canary.Deployment, key, m.state.Stable.Deployment, gitOpsMend), true
}

// acceptPersonAtRest follows a hand that moved all the traffic at rest.
func acceptPersonAtRest(m moment) (Plan, bool) {
	serving := m.serving()
	if m.state.Rollout == "" || len(serving) == 0 {
		return Plan{}, false
	}
	for _, seen := range serving {
		if share, known := m.promotedShare(seen); !known || share == m.state.Weight || (seen.GitOps && m.state.Reverts < 2) {
			return Plan{}, false
		}
	}
	weight := 100 - m.state.Weight
	return m.restAt(func(s *State) { s.Weight = weight }, false, MovedByPerson,
		"All traffic was moved by hand: %s has %d%% now", m.state.Canary.Deployment, weight), true
}

// returnHome gives the traffic back to the Deployment that always had it, once
// it runs what was promoted; the canary is then free for the next release.
func returnHome(m moment) (Plan, bool) {
	home := m.o.Tracks.Stable
	if m.state.Phase != Succeeded || m.state.Weight != 100 || m.o.Tracks.Both || home.Deployment != m.state.Stable.Deployment {
		return Plan{}, false
	}
	if home.Template == m.state.Stable.Template || !home.Complete || len(home.Digests) == 0 || !slices.Equal(home.Digests, m.state.Digests) {
		return Plan{}, false
	}
	return m.restAt(func(s *State) { s.Weight, s.Stable.Template, s.Since = 0, home.Template, m.now }, false, ReturnedHome,
		"%s runs what was promoted: traffic returns to it, %s is free for the next release", home.Deployment, m.state.Canary.Deployment), true
}

// explainCarriesTraffic is for an annotated Deployment that has the users
// already: its next change can't be a canary.
func explainCarriesTraffic(m moment) (Plan, bool) {
	serving := m.serving()
	if len(serving) == 0 {
		return Plan{}, false
	}
	for _, seen := range serving {
		if seen.Min != 100 {
			return Plan{}, false
		}
	}
	c := m.o.Tracks.Canary
	if m.state.Phase == Succeeded && c.Template == m.state.Canary.Template {
		return m.leave(Succeeded, m.state.Reason, "%s", m.state.Message), true
	}
	return m.leave(Idle, CarriesTraffic,
		"%s has all the traffic: a change of it is a plain rolling update, not a canary release. Deploy the next version to the other Deployment, annotated, or bring the promoted images to the other one first", c.Deployment).told(true), true
}

// retries tells whether a person asks for this template in spite of its past.
func (m moment) retries() bool {
	verb, new := m.verb()
	return new && verb == CommandRetry
}

func explainAlreadyTried(m moment) (Plan, bool) {
	template := m.o.Tracks.Canary.Template
	if template == "" || m.o.InPlace || m.retries() {
		return Plan{}, false
	}
	if m.state.Rollout != "" && (template == m.state.Canary.Template || template == m.state.Stable.Template) {
		return m.leave(m.state.Phase, m.state.Reason, "%s", m.state.Message), true
	}
	for _, r := range m.o.History {
		if template == r.Canary.Template || template == r.Stable.Template {
			return m.leave(restPhase(m.state), AlreadyTried,
				"This pod template of %s was released before (%s, %s); change it, or give the command retry#id", m.o.Tracks.Canary.Deployment, r.Rollout, r.Outcome).told(false), true
		}
	}
	return Plan{}, false
}

func restPhase(s State) Phase {
	if s.Phase == "" {
		return Idle
	}
	return s.Phase
}

func explainOlder(m moment) (Plan, bool) {
	if !m.o.Tracks.Older || m.retries() {
		return Plan{}, false
	}
	return m.leave(restPhase(m.state), OlderThanStable,
		"%s is older than %s, which has the traffic: left alone. Change it to release it, or give the command retry#id", m.o.Tracks.Canary.Deployment, m.o.Tracks.Stable.Deployment).told(false), true
}

func blockOnFindings(m moment) (Plan, bool) {
	found := m.blocking()
	if len(found) == 0 {
		return Plan{}, false
	}
	p := m.leave(Blocked, found[0].Reason, "%s", found[0].Sentence())
	for _, f := range found {
		p.Tell = append(p.Tell, Event{Reason: f.Reason, Sentence: f.Sentence(), Warning: true})
	}
	return p, true
}

func waitForAbortToGo(m moment) (Plan, bool) {
	if !m.level(CommandAbort) {
		return Plan{}, false
	}
	return m.leave(Waiting, AbortedByCommand, "The command abort stands: nothing is released until it is taken away").told(false), true
}

func waitForPods(m moment) (Plan, bool) {
	c, s := m.o.Tracks.Canary, m.o.Tracks.Stable
	if !c.Complete && !m.o.InPlace {
		return m.leave(Waiting, WaitingForPods, "Waiting until the rollout of %s is complete (%d of %d pods ready)%s", c.Deployment, c.Ready, c.Wanted, because(c.Problem)), true
	}
	if s.Ready == 0 && m.o.InPlace {
		p := m.leave(Waiting, StableUnavailable, "Waiting, %s has no ready pod of the version that runs: a release needs one to go back to%s. If this change is the mend, kubectl rollout resume updates it at once, without a canary", s.Deployment, because(s.Problem))
		p.Tell = []Event{{Reason: StableUnavailable, Warning: true,
			Sentence: s.Deployment + " waits with its new template, for no pod of the version that runs is ready to go back to. If this change is the mend, kubectl rollout resume updates it at once, without a canary"}}
		return p, true
	}
	if s.Ready == 0 {
		return m.leave(Waiting, StableUnavailable, "Waiting, %s has no ready pod: a release needs a version to go back to%s", s.Deployment, because(s.Problem)), true
	}
	return Plan{}, false
}

// start begins a release at 0%: only QA's header leads to the canary.
func start(m moment) (Plan, bool) {
	c, s := m.o.Tracks.Canary, m.o.Tracks.Stable
	p := m.move(func(next *State) {
		*next = State{
			Rollout: rolloutID(c.Template, m.now), Sequence: next.Sequence,
			Phase: Testing, Started: m.now, Since: m.now, Reason: next.Reason, Message: next.Message,
			Canary: c.side(), Stable: s.side(),
			Spec: m.stored(m.o.InPlace), Handled: next.Handled, HandledOn: next.HandledOn, Beside: next.Beside, InPlace: m.o.InPlace,
			Base: Base{Ready: s.Ready, Restarts: c.Restarts, Killed: c.Killed, Images: c.identity()},
		}
		next.Version = next.version()
	}, false, ReleaseStarted, "%s%s", m.beginning(), qa(m.spec.Header))
	for _, f := range m.o.Findings {
		p.Tell = append(p.Tell, Event{Reason: f.Reason, Sentence: f.Sentence(), Warning: true})
	}
	if m.o.InPlace {
		p.Tell = append(p.Tell, Event{Reason: ReleaseStarted, Sentence: "While it is released " + s.Deployment + " is paused: kubectl rollout status waits for the end. To go back write the template before it again, or give the command abort; kubectl rollout undo refuses a paused Deployment, and kubectl rollout resume updates it without a canary"})
	}
	if verb, new := m.verb(); new {
		if p = p.handling(m.o.Command); (verb == CommandApprove || verb == CommandRetry) && m.asksPerson() {
			p = p.approve(m.o.Command, 0, "The release", m.now)
		} else if verb != CommandRetry {
			p.Tell = append(p.Tell, Event{Reason: CommandIgnored, Warning: true,
				Sentence: "The command " + verb + "#" + m.o.Command.ID + " is older than this release: ignored"})
		}
	}
	return p, true
}

func (m moment) beginning() string {
	c, s := m.o.Tracks.Canary.Deployment, m.o.Tracks.Stable.Deployment
	if m.o.InPlace {
		return "Release of " + s + " begins at 0%, in pods of " + c
	}
	return "Release of " + c + " begins at 0%, stable is " + s
}

// qa says how QA reaches the canary.
func qa(h Header) string {
	switch {
	case h.Name == "":
		return ""
	case h.Match == MatchCookie:
		return "; the cookie " + h.String() + " reaches the canary"
	}
	return "; the header " + h.String() + " reaches the canary"
}

// rolloutID names a rollout: unique per Service, fit for an object's name, and
// without a hyphen, so that Service and rollout can be told apart in one.
func rolloutID(template string, now time.Time) string {
	return strings.ToLower(template[:min(5, len(template))]) + strconv.FormatInt(now.Unix(), 36)
}
