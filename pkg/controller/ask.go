package controller

import (
	"slices"
	"time"

	"serin.dev/serin/pkg/ask"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/topology"
)

// newDesk is where what is asked outside is asked, so that no worker waits for it.
func newDesk(o Options, wake func(cluster.Key)) *ask.Desk[cluster.Key] {
	return ask.New(ask.Options[cluster.Key]{
		Askers: o.Askers, Wake: wake, Told: o.Meter.Answered,
	})
}

// Hurry asks at once what is asked of a kind, as when somebody says that the answer
// changed.
func (c *Controller) Hurry(kind canary.QuestionKind) { c.desk.Hurry(kind) }

// ask has what a plan asks found out. Most plans ask nothing, and are about nothing then.
func (c *Controller) ask(s situation, p canary.Plan, now time.Time) {
	var about canary.Subject
	if len(p.Ask) > 0 {
		about = subjectOf(s, p)
	}
	c.desk.Put(s.key, p.Ask, about, now)
}

// subjectOf is what somebody outside is told of a release.
func subjectOf(s situation, p canary.Plan) canary.Subject {
	state, tracks, spec := s.state, s.observation.Tracks, s.spec
	about := canary.Subject{
		Namespace: s.key.Namespace, Service: s.key.Name, Rollout: state.Rollout, InPlace: p.View.InPlace,
		Canary: partyOf(s.objects, tracks.Canary), Stable: partyOf(s.objects, tracks.Stable),
		Step: state.Step, Steps: len(spec.Steps), Weight: state.Weight,
		Started: state.Started, Reason: state.Reason, Message: state.Message, Since: state.Since,
		Smoke: spec.Smoke, Alerts: spec.Alerts, Width: state.Width,
	}
	begins := slices.ContainsFunc(p.Ask, func(q canary.Question) bool { return q.Stage == canary.BeforeStart })
	if begins || !state.Phase.Active() && state.Phase != canary.Succeeded && state.Phase != canary.RolledBack {
		about.Rollout, about.Started, about.Step, about.Weight = "", time.Time{}, 0, 0 // it has not begun
	}
	if about.Step < len(spec.Steps) {
		about.Next = spec.Steps[about.Step].Weight
	}
	if !spec.Limits.DefaultErrorRate || len(s.observation.Baseline.Over) == 0 {
		about.MaxErrorRate = spec.Limits.ErrorRate
	}
	if order := s.observation.Command; order != nil {
		about.By = order.By
	}
	return about
}

func partyOf(o topology.Objects, t canary.Track) canary.Party {
	p := canary.Party{Deployment: t.Deployment, Template: t.Template, Digests: t.Digests, Images: t.Images, Ready: t.Ready}
	d, found := topology.ByName(o, t.Deployment)
	if !found {
		return p
	}
	pods := podsOf(d, t)
	if p.Addresses, p.Pods = topology.Addresses(o, d, pods); p.Addresses != nil {
		return p
	}
	for _, one := range pods { // of a Service without HTTP
		if one.Ready {
			p.Pods = append(p.Pods, one.Name)
		}
	}
	return p
}

// podsOf are the pods of a track: of one that is updated in place those of the version
// that runs.
func podsOf(d topology.Deployment, t canary.Track) []topology.Pod {
	for _, set := range d.Sets {
		if t.Pods != "" && set.Hash == t.Pods {
			return set.Pods
		}
	}
	return d.Pods
}
