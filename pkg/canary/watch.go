package canary

import (
	"time"

	"serin.dev/serin/pkg/judge"
)

// This file holds observe mode: people set the weights, Serin looks on, judges,
// and says what it would have done. It orders nothing: its plans have no
// Traffic, so nothing is written. Next is what the caller keeps in memory, for
// the state stands on no object; after a restart the watching begins anew with
// the weight that is there.

// asIfLed are the rules that would have moved a release that Serin leads.
var asIfLed = []rule{
	rollBackUnhealthy,
	rollBackOnVerdict,
	passStep,
	bearIncident,
	meetDeadline,
}

// watch is the whole policy of observe mode.
func watch(m moment) Plan {
	switch {
	case len(m.o.Invalid) > 0:
		p, _ := explainInvalid(m)
		return p
	case m.o.Tracks.Canary.Subset == "" || m.o.Tracks.Stable.Subset == "":
		return m.unclear()
	}
	m = m.atSeenWeight()
	if m.state.Weight == 0 {
		return m.watching(Watching, "%s has no share of the traffic: give it weight by hand, and it is judged", m.state.Canary.Deployment)
	}
	led := m
	led.state.Phase = Progressing
	for _, rule := range asIfLed {
		if p, decided := rule(led); decided {
			return m.wouldHave(p)
		}
	}
	p, _ := holdStep(led)
	return m.watching(p.View.Reason, "%s", p.View.Sentence)
}

// wouldHave says what would have been done: once at a weight, in the words of
// that moment, however the numbers go on.
func (m moment) wouldHave(p Plan) Plan {
	if m.state.Reason == p.View.Reason {
		return m.watching(m.state.Reason, "%s", m.state.Message)
	}
	m.state.Reason, m.state.Message = p.View.Reason, "If Serin led this release: "+p.View.Sentence
	return m.watching(m.state.Reason, "%s", m.state.Message).told(p.Next.Phase == RollingBack || p.Next.Phase == Inconclusive)
}

// unclear says why nobody can tell the versions apart.
func (m moment) unclear() Plan {
	if found := m.blocking(); len(found) > 0 {
		return m.leave(Blocked, found[0].Reason, "%s", found[0].Sentence()).told(true)
	}
	return m.leave(Blocked, SubsetMissing, "The two versions can't be told apart: each needs a subset of its own in a DestinationRule").told(true)
}

func (m moment) watching(r Reason, format string, args ...any) Plan {
	p := m.leave(Watched, r, format, args...)
	p.Recheck = recheckMoving
	return p
}

// atSeenWeight follows what the routes say: another weight ends a leg, another
// template begins a release. What is followed is the least share of all routes
// by which users come, for which the canary surely has requests.
func (m moment) atSeenWeight() moment {
	weight, since := m.seenWeight()
	t := m.o.Tracks
	same := m.state.Phase == Watched &&
		m.state.Canary == t.Canary.side() &&
		m.state.Stable == t.Stable.side()
	switch {
	case !same:
		since = latest(since, latest(t.Canary.Began, t.Stable.Began))
		m.o.Verdict = judge.Verdict{}
		m.state = State{
			Version: pairVersion, Rollout: rolloutID(t.Canary.Template, since), Phase: Watched, Started: since, Since: since,
			Canary: t.Canary.side(),
			Stable: t.Stable.side(),
			Weight: weight,
		}
	case weight != m.state.Weight:
		ended := m
		ended.now = since
		m.state.Legs = ended.legs()
		m.state.Weight, m.state.Since, m.state.Reason, m.state.Message = weight, since, "", ""
		m.o.Verdict = judge.Verdict{}
	}
	m.state.Sequence = int64(len(m.state.Legs)) + 1
	m.state.Spec, m.state.Peak = m.spec, max(m.state.Peak, weight)
	if m.state.Width == 0 {
		m.state.Width = m.o.Width
	}
	m.state.Step = 0
	if weight > 0 {
		m.state.Step = stepFor(m.spec.Steps, weight)
	}
	return m
}

// seenWeight is the least share in percent that the routes of users give the
// canary, and since when at the latest.
func (m moment) seenWeight() (weight int, since time.Time) {
	weight, since = 100, m.state.Since
	serving := m.serving()
	for _, seen := range serving {
		weight, since = min(weight, seen.Min), latest(since, seen.Changed)
	}
	if len(serving) == 0 {
		weight = 0
	}
	if since.IsZero() {
		since = m.now
	}
	return weight, since
}

// stepFor is the step, counted from 1, whose weight a share comes nearest to
// from below; the first for any that is smaller.
func stepFor(steps []Step, weight int) int { return max(1, stepsUpTo(steps, Step{Weight: weight})) }
