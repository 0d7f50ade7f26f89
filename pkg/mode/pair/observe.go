// Package pair is the mode of release with two Deployments behind one Service,
// stable and canary, told apart by the subsets of a DestinationRule. It reads
// the tracks and the traffic off the cluster's objects, and renders what shall
// be as writes of whole VirtualServices. It is pure, and writes nothing but
// VirtualServices of the Service's own namespace; only where the operator has
// switched in-place mode on, and its guard has paused a Deployment of a pair, that
// pause is taken off.
package pair

import (
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

// Room is this mode.
var Room = mode.Room{Observe: Observe, CheckSpec: CheckSpec, Render: Render}

// Observe reads tracks, traffic and findings off the objects. state is what
// FindState found: while a rollout is under way the tracks are the state's,
// whatever the annotations say.
func Observe(o topology.Objects, state canary.State) mode.Observed {
	r := assign(o, state)
	out := mode.Observed{Subject: r.subject, OptedIn: r.subject != "", Traffic: map[canary.ObjectKey]canary.Seen{}}
	if state.Phase.Active() {
		_, there := topology.ByName(o, state.Canary.Deployment)
		out.Gone = !there
	}
	out.Tracks = canary.Tracks{
		Canary: mode.TrackOf(o, r.canary), Stable: mode.TrackOf(o, r.stable),
		Older: older(o, r.canary, r.stable),
		Both:  r.both,
	}
	out.Place.Held = len(heldBack(o)) > 0
	for _, vs := range r.taking(o, state.Rollout) {
		out.Traffic[vs.Key] = mode.See(o, vs, mode.Sides{Stable: r.stable.Subset, Canary: r.canary.Subset}, state)
	}
	if out.OptedIn {
		q := topology.Question{Canary: r.canary, Stable: r.stable, Active: state.Phase.Active()}
		out.Findings = append(topology.Preflight(o, r.where, q), r.claimed...)
	}
	return out
}

// CheckSpec finds what Preflight can't, which knows no steps and no header: the
// routes that can't carry them.
func CheckSpec(o topology.Objects, tracks canary.Tracks, spec canary.Spec) []canary.Finding {
	t := canary.Traffic{Stable: tracks.Stable.Subset, Canary: tracks.Canary.Subset}
	if t.Stable == "" || t.Canary == "" || t.Stable == t.Canary {
		return nil // found by Preflight
	}
	return mode.CheckSpec(o, t, spec)
}

func older(o topology.Objects, a, b topology.Role) bool {
	x, _ := topology.ByName(o, a.Deployment)
	y, _ := topology.ByName(o, b.Deployment)
	return !x.ReplicaSetAt.IsZero() && !y.ReplicaSetAt.IsZero() && x.ReplicaSetAt.Before(y.ReplicaSetAt)
}
