package inplace

import (
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

// Room is this mode.
var Room = mode.Room{Observe: Observe, CheckSpec: CheckSpec, Render: Render}

// Observe reads tracks, traffic and what stands of a release off the objects.
// state is what mode.FindState found: while a release is under way it says which
// Deployment it is of.
func Observe(o topology.Objects, state canary.State) mode.Observed {
	s := look(o, state)
	out := mode.Observed{InPlace: true, OptedIn: s.optedIn, Traffic: map[canary.ObjectKey]canary.Seen{}}
	out.Gone = state.Phase.Active() && !s.there
	out.Tracks = canary.Tracks{Canary: s.canary(), Stable: s.stable()}
	out.Place = s.standing()
	for _, vs := range s.taking() {
		out.Traffic[vs.Key] = mode.See(o, vs, mode.Sides{Stable: StableSubset, Canary: CanarySubset}, state)
	}
	if s.optedIn {
		out.Subject = s.name
		out.Findings = topology.Preflight(o, s.where, topology.Question{
			Canary:  topology.Role{Deployment: topology.CanaryName(s.name), Subset: CanarySubset},
			Stable:  topology.Role{Deployment: s.name, Subset: StableSubset},
			Active:  state.Phase.Active(),
			InPlace: true,
		})
	}
	return out
}

// CheckSpec finds the routes that can't carry the steps or the header once they
// are pinned.
func CheckSpec(o topology.Objects, tracks canary.Tracks, spec canary.Spec) []canary.Finding {
	return mode.CheckSpec(o, canary.Traffic{Stable: tracks.Stable.Subset, Canary: tracks.Canary.Subset, Pin: true}, spec)
}

// canary is the track of the template that the user's Deployment asks for: its
// pods are those of the canary Deployment that was made of it.
func (s scene) canary() canary.Track {
	if s.name == "" {
		return canary.Track{}
	}
	t := canary.Track{Deployment: topology.CanaryName(s.name), Subset: CanarySubset, Template: s.user.TemplateHash, Images: s.user.Images}
	d, found := s.clone()
	if !found || d.CloneTemplate != t.Template {
		return t
	}
	t.Began, t.Complete, t.Wanted, t.Ready = d.ReplicaSetAt, d.Complete, d.Replicas, d.Ready
	mode.AddPods(&t, d.Pods)
	return t
}

// stable is the track of the template that runs.
func (s scene) stable() canary.Track {
	if s.name == "" {
		return canary.Track{}
	}
	t := canary.Track{Deployment: s.name, Subset: StableSubset, Wanted: s.user.Replicas}
	set, mixed := s.running()
	if set == nil {
		return t
	}
	t.Template, t.Pods, t.Began, t.Ready = set.TemplateHash, set.Hash, set.Created, set.Ready
	t.Images = topology.TemplateImages(set.Template)
	t.Complete = !mixed && t.Wanted > 0 && set.Replicas == t.Wanted && set.Ready == t.Wanted
	mode.AddPods(&t, set.Pods)
	return t
}

func (s scene) standing() canary.Standing {
	set, mixed := s.running()
	always := s.o.Around.Guard == topology.GuardPause
	// Whoever paused it: in mid-release nothing of it is updated then.
	paused := s.user.Paused && (always || s.state.Phase.Active())
	out := canary.Standing{
		Held:       s.user.Held || paused,
		Always:     always,
		Mixed:      mixed,
		Updated:    s.there && s.user.Complete && !mixed && set != nil && set.TemplateHash == s.user.TemplateHash,
		CanaryPods: s.o.CanaryPods,
		Left:       len(s.clones) > 0 || len(s.rules) > 0 || len(s.routes) > 0,
		Carried:    len(s.carriers()) > 0,
	}
	_, out.Canary = s.clone()
	if r, found := s.rule(); found {
		out.Subsets, out.SubsetsAt = subsetsOf(r), writtenAt(r)
	}
	return out
}
