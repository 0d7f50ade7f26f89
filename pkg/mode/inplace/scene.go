// Package inplace is the mode of release with the one Deployment that people
// have. The guard holds its new template back; beside it, while the release
// lasts, stand a canary Deployment, a DestinationRule with two subsets and, where
// no VirtualService rules the mesh, one of those, all made here and all gone when
// it is over. The user's VirtualServices are pinned to stable's subset meanwhile
// and are what they were after it. It is pure.
package inplace

import (
	"slices"
	"strings"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
)

// The subsets of a release in place.
const (
	StableSubset = "serin-stable" // pods of the user's Deployment of the template that runs
	CanarySubset = "serin-canary" // pods of the canary Deployment
)

// podHash is the label by which Kubernetes tells the pods of one ReplicaSet from
// another's.
const podHash = "pod-template-hash"

// scene is who is who around a Service whose one Deployment is updated in place.
type scene struct {
	o       topology.Objects
	service route.Service
	state   canary.State
	where   topology.Map

	name    string              // the user's Deployment; empty: nobody is known
	user    topology.Deployment // that one; zero when it is not there
	there   bool
	optedIn bool

	// What is ours of this Service, under whatever name.
	clones []topology.Deployment
	rules  []topology.DestinationRule
	routes []topology.VirtualService
}

func look(o topology.Objects, state canary.State) scene {
	s := scene{o: o, service: topology.RouteService(o), state: state, where: topology.Find(o, mode.Hints(o))}
	for _, d := range o.Deployments {
		if d.CloneOf != "" && topology.Ours(d.Doc, o.Service) {
			s.clones = append(s.clones, d)
		}
	}
	for _, r := range o.DestinationRules {
		if r.Key.Namespace == o.Namespace && topology.Ours(r.Doc, o.Service) {
			s.rules = append(s.rules, r)
		}
	}
	for _, vs := range o.VirtualServices {
		if s.ours(vs) {
			s.routes = append(s.routes, vs)
		}
	}
	s.name, s.optedIn = s.subject()
	s.user, s.there = topology.ByName(o, s.name)
	return s
}

// ours tells that a VirtualService is one that we made for the Service.
func (s scene) ours(vs topology.VirtualService) bool {
	return vs.Key.Namespace == s.o.Namespace && topology.Ours(vs.Doc, s.o.Service)
}

// subject is the user's Deployment: of a release under way the state's, at rest
// the one that is opted in, or else the one of which something is left to do. One
// that is, or would be, released through another Service is that one's matter.
func (s scene) subject() (name string, optedIn bool) {
	candidates := slices.DeleteFunc(topology.Candidates(s.o), func(d topology.Deployment) bool { return d.CloneOf != "" })
	name = s.state.Stable.Deployment
	switch {
	case s.state.Phase.Active():
		return name, slices.ContainsFunc(candidates, func(d topology.Deployment) bool { return d.Name == name })
	case len(candidates) > 0:
		return candidates[0].Name, true
	case s.state.InPlace:
		if d, there := topology.ByName(s.o, name); !there || topology.About(s.o, d) {
			return name, false
		}
	}
	for _, d := range topology.UsersOwn(s.o) {
		if _, marked := d.Annotations[topology.HeldKey]; marked && topology.About(s.o, d) {
			return d.Name, false
		}
	}
	for _, d := range s.clones {
		return d.CloneOf, false
	}
	for _, r := range s.rules {
		return strings.TrimSuffix(r.Key.Name, topology.AddedName("")), false
	}
	return "", false
}

// running is the ReplicaSet whose pods have the users: the state's while it has
// pods, else the one that has most ready ones. mixed tells that others have pods
// too. Nil when none has.
func (s scene) running() (set *topology.ReplicaSet, mixed bool) {
	var all []topology.ReplicaSet
	for _, r := range s.user.Sets {
		if r.Replicas > 0 || r.Ready > 0 || len(r.Pods) > 0 {
			all = append(all, r)
		}
	}
	for i, r := range all {
		if s.state.Phase.Active() && r.Hash == s.state.Stable.Pods {
			return &all[i], len(all) > 1
		}
		if set == nil || r.Ready > set.Ready {
			set = &all[i]
		}
	}
	return set, len(all) > 1
}

// clone is the canary Deployment of the user's.
func (s scene) clone() (topology.Deployment, bool) {
	i := slices.IndexFunc(s.clones, func(d topology.Deployment) bool { return d.Name == topology.CanaryName(s.name) })
	if i < 0 {
		return topology.Deployment{}, false
	}
	return s.clones[i], true
}

// rule is our DestinationRule.
func (s scene) rule() (topology.DestinationRule, bool) {
	i := slices.IndexFunc(s.rules, func(r topology.DestinationRule) bool { return r.Key.Name == topology.AddedName(s.name) })
	if i < 0 {
		return topology.DestinationRule{}, false
	}
	return s.rules[i], true
}

// taking are the VirtualServices that take part. Where nobody asks for a release
// those are only the ones that have something of ours.
func (s scene) taking() []topology.VirtualService {
	if !s.optedIn {
		return s.carriers()
	}
	all := slices.Clone(s.where.VirtualServices)
	for _, vs := range s.routes {
		if !slices.ContainsFunc(all, func(have topology.VirtualService) bool { return have.Key == vs.Key }) {
			all = append(all, vs) // not among those that are named
		}
	}
	return all
}

// carriers are the VirtualServices that have something of ours: a state, a route
// to one of our subsets, or all of it.
func (s scene) carriers() []topology.VirtualService {
	var found []topology.VirtualService
	for _, vs := range s.o.VirtualServices {
		if vs.Key.Namespace == s.o.Namespace && (s.ours(vs) || topology.CarriesState(vs, s.o.Service) || s.names(vs)) {
			found = append(found, vs)
		}
	}
	return found
}

// names tells that a VirtualService leads to one of our subsets.
func (s scene) names(vs topology.VirtualService) bool {
	for _, r := range route.Find(vs.Doc, s.service, StableSubset, CanarySubset) {
		for _, d := range r.Destinations {
			if d.ToService && (d.Subset == StableSubset || d.Subset == CanarySubset) {
				return true
			}
		}
	}
	return false
}

// podsLeft tells that pods of a canary are there, or will be: routes that are not
// pinned would lead to them.
func (s scene) podsLeft() bool { return len(s.clones) > 0 || s.o.CanaryPods > 0 }
