package pair

import (
	"fmt"
	"slices"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

// roles is who is who behind a Service.
type roles struct {
	subject        string // opted in; empty: nobody is
	canary, stable topology.Role
	both           bool // both sides are opted in and take turns
	where          topology.Map
	claimed        []canary.Finding // about Deployments that must wait their turn
}

// assign says who is who: by the state while a rollout is under way, led or only
// watched, else by who is opted in and who has the traffic.
func assign(o topology.Objects, state canary.State) roles {
	candidates := names(topology.Candidates(o))
	r := roles{where: topology.Find(o, mode.Hints(o))}
	switch {
	case state.Phase.Active(), len(candidates) == 0, r.split(state) && slices.Contains(candidates, state.Canary.Deployment):
		r.canary = topology.Role{Deployment: state.Canary.Deployment, Subset: state.Canary.Subset}
		r.stable = topology.Role{Deployment: state.Stable.Deployment, Subset: state.Stable.Subset}
		if slices.Contains(candidates, r.canary.Deployment) {
			r.subject = r.canary.Deployment
		}
	default:
		r.atRest(o, state, candidates)
		r.subject = r.canary.Deployment
	}
	r.both = slices.Contains(candidates, r.canary.Deployment) && slices.Contains(candidates, r.stable.Deployment)
	r.claim(o, candidates)
	return r
}

// split tells that a release which people lead is under way: both versions have
// users. Whoever has more of them, the canary stays the canary.
func (r *roles) split(state canary.State) bool {
	return state.Phase == canary.Watched && r.where.Shares[state.Canary.Subset] > 0 && r.where.Shares[state.Stable.Subset] > 0
}

// atRest assigns the roles among candidates when no rollout is under way.
func (r *roles) atRest(o topology.Objects, state canary.State, candidates []string) {
	subsets := map[string]string{}
	for _, d := range o.Deployments {
		subsets[d.Name] = r.where.SubsetOf(o, d.Name)
	}
	own := make([]string, len(candidates))
	for i, name := range candidates {
		own[i] = subsets[name]
	}
	holder := r.where.Holder(slices.Concat(own, r.shared(o))...)
	r.canary.Deployment = pick(candidates, func(name string) bool { return holder == "" || subsets[name] != holder }, state.Canary.Deployment)
	d, _ := topology.ByName(o, r.canary.Deployment)
	hint := topology.HintsOf(d)
	r.where.Hints = hint
	r.canary.Subset = orElse(hint.CanarySubset, subsets[d.Name])
	if holder == r.canary.Subset {
		holder = "" // the canary has the users: stable is whoever is beside it
	}
	r.stable.Subset = orElse(hint.StableSubset, holder)
	r.stable.Deployment = r.where.DeploymentOf(o, r.stable.Subset)
	if r.stable.Deployment == "" || r.stable.Deployment == r.canary.Deployment {
		// Where the subset is amiss too, Preflight says so of this Deployment.
		r.stable.Deployment = beside(o, r.canary.Deployment, subsets, state)
		r.stable.Subset = orElse(r.stable.Subset, subsets[r.stable.Deployment])
	}
}

// shared names the subsets that select no Deployment or several.
func (r *roles) shared(o topology.Objects) []string {
	var found []string
	for _, s := range r.where.Subsets {
		if r.where.DeploymentOf(o, s.Name) == "" {
			found = append(found, s.Name)
		}
	}
	return found
}

// pick is the first candidate for which idle holds, but the one of the last
// release where that is idle too; the first of all when none is idle.
func pick(candidates []string, idle func(string) bool, last string) string {
	if slices.Contains(candidates, last) && idle(last) {
		return last
	}
	if i := slices.IndexFunc(candidates, idle); i >= 0 {
		return candidates[i]
	}
	return candidates[0]
}

// beside is the other Deployment of the pair: of the last release, or else the
// only other one, or the only other one that has a subset of its own.
func beside(o topology.Objects, one string, subsets map[string]string, state canary.State) string {
	var all, withSubset []string
	for _, d := range o.Deployments {
		if d.Name == one {
			continue
		}
		if d.Name == state.Canary.Deployment || d.Name == state.Stable.Deployment {
			return d.Name
		}
		all = append(all, d.Name)
		if subsets[d.Name] != "" {
			withSubset = append(withSubset, d.Name)
		}
	}
	switch {
	case len(all) == 1:
		return all[0]
	case len(withSubset) == 1:
		return withSubset[0]
	}
	return ""
}

// claim tells those that are opted in but neither side of the pair who holds it.
func (r *roles) claim(o topology.Objects, candidates []string) {
	for _, name := range candidates {
		if name == r.canary.Deployment || name == r.stable.Deployment {
			continue
		}
		r.claimed = append(r.claimed, canary.Finding{
			Reason: canary.RouteClaimed,
			Object: canary.ObjectKey{Kind: "Deployment", Namespace: o.Namespace, Name: name},
			Field:  "metadata.annotations[serin.dev/canary]",
			Problem: fmt.Sprintf("the routes of Service %s are held by Deployment %s, which releases against %s",
				o.Service, r.canary.Deployment, orElse(r.stable.Deployment, "stable")),
			Mend: "Take the annotation off one of them, or give this Deployment a Service of its own",
		})
	}
}

// taking are the VirtualServices that take part. When nobody is opted in those
// are only the ones that carry our state: what is not ours is not touched. One
// that is no longer named ends the rollout it began, and has no part in the next.
func (r roles) taking(o topology.Objects, rollout string) []topology.VirtualService {
	if r.subject == "" {
		return mode.Carriers(o, r.where)
	}
	named := mode.Hints(o).VirtualServices
	return slices.DeleteFunc(slices.Clone(r.where.VirtualServices), func(vs topology.VirtualService) bool {
		if len(named) == 0 || slices.Contains(named, vs.Key.Name) {
			return false
		}
		s, found, err := mode.CopyOn(vs, o.Service)
		return found && err == nil && s.Rollout != rollout
	})
}

func names(deployments []topology.Deployment) []string {
	all := make([]string, len(deployments))
	for i, d := range deployments {
		all[i] = d.Name
	}
	return all
}

func orElse(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
