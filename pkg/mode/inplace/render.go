package inplace

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

// Render gives the writes that bring what is to what p orders, in the order in
// which they have to happen; none when all is as ordered. now is the time noted
// on what is written. Of an error only what takes users off the canary is spared.
//
// The order is the design. What serves users is there before a route leads to
// it, and stays until none does: subsets come before the routes that name them,
// pinned routes before pods that an unpinned one would lead to, pods that go
// before routes that are given back, routes that are given back before subsets
// that go, and what becomes of the user's Deployment after all of it.
func Render(p canary.Plan, o topology.Objects, now time.Time) ([]mode.Write, error) {
	r := renderer{scene: look(o, p.Next), plan: p, now: now}
	switch {
	case p.Last || p.Clean:
		r.giveBack()
	case p.Traffic != nil:
		traffic := mode.Reachable(o, true, *p.Traffic)
		r.plan.Traffic = &traffic
	}
	routes, err := r.renderRoutes()
	urgent := slices.IndexFunc(routes, func(w mode.Write) bool { return !w.Urgent })
	if urgent < 0 {
		urgent = len(routes)
	}
	writes := slices.Clone(routes[:urgent])
	errs := []error{err}
	for _, step := range []func() ([]mode.Write, error){
		r.subsets, r.ownRoutesGo,
		func() ([]mode.Write, error) { return routes[urgent:], nil },
		r.relief, r.pods, r.surplusSubsets, r.deployment,
	} {
		more, err := step()
		writes, errs = append(writes, more...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return writes[:urgent], err
	}
	return writes, nil
}

// renderer is a scene on its way to what a plan orders.
type renderer struct {
	scene
	plan canary.Plan
	now  time.Time
	// going tells that all routes are to be given back, but pods of the canary are
	// left, to which unpinned ones would lead: the pods go first.
	going bool
}

// giveBack makes of the end of a release what it is in place: nothing is left on
// the routes, and everybody is on the user's Deployment, whatever was ordered.
func (r *renderer) giveBack() {
	r.plan.Last, r.plan.Clean = true, true
	r.plan.Traffic = &canary.Traffic{Stable: StableSubset, Canary: CanarySubset, Pin: true}
	if r.going = r.podsLeft(); r.going {
		r.plan.Last, r.plan.Clean = false, false
	}
}

func (r *renderer) why() canary.Reason { return r.plan.View.Reason }

// renderRoutes gives the writes of the VirtualServices, urgent ones first. Where
// not all can be done there are only the urgent ones.
func (r *renderer) renderRoutes() ([]mode.Write, error) {
	if r.plan.Traffic == nil {
		return nil, nil
	}
	all, spared := r.taking(), r.going
	var amiss error
	switch {
	case r.going:
		all = r.carriers()
	case r.plan.Clean:
		all = slices.DeleteFunc(r.carriers(), r.ours)
	default:
		fresh, needed, err := r.meshRoutes()
		if needed {
			all = slices.Insert(all, 0, fresh)
		}
		amiss, spared = err, err != nil
	}
	writes, err := mode.RenderRoutes(r.plan, r.service, all, r.now)
	if spared {
		writes = slices.DeleteFunc(writes, func(w mode.Write) bool { return !w.Urgent })
	}
	return writes, errors.Join(amiss, err)
}

// meshRoutes is a VirtualService for the mesh, to be made where sidecars that
// call the Service go by none: they would reach every pod of it.
func (r *renderer) meshRoutes() (vs topology.VirtualService, needed bool, err error) {
	if !r.optedIn || len(r.routes) > 0 || r.covered() || r.o.ServiceFound == nil {
		return vs, false, nil
	}
	vs.Key = r.key("VirtualService", topology.AddedName(r.name))
	if slices.ContainsFunc(r.o.VirtualServices, func(have topology.VirtualService) bool { return have.Key == vs.Key }) {
		return vs, false, taken(vs.Key)
	}
	if vs.Doc, err = r.fresh(vs.Key); err != nil {
		return vs, false, fmt.Errorf("render %s: %w", vs.Key, err)
	}
	spec := map[string]any{
		"hosts": []any{r.host()},
		"http":  []any{map[string]any{"route": []any{map[string]any{"destination": map[string]any{"host": r.host()}}}}},
	}
	if to := r.beside().exportTo(); len(to) > 0 {
		spec["exportTo"] = to
	}
	vs.Doc["spec"] = spec
	return vs, true, nil
}

// covered tells that sidecars go by a VirtualService of the user's, of whichever
// namespace: ours would not be heard beside it.
func (r *renderer) covered() bool {
	return slices.ContainsFunc(r.o.VirtualServices, func(vs topology.VirtualService) bool {
		return !r.ours(vs) && topology.CoversMesh(r.o, vs)
	})
}

// ownRoutesGo takes our VirtualServices away at the end. It is first, for the
// states that they carry end with the others'.
func (r *renderer) ownRoutesGo() ([]mode.Write, error) {
	if !r.plan.Clean {
		return nil, nil
	}
	return r.deleteRoutes(), nil
}

// relief takes our VirtualServices away where one of the user's came to do their
// work, once it is pinned.
func (r *renderer) relief() ([]mode.Write, error) {
	if r.plan.Traffic == nil || r.plan.Clean || r.going {
		return nil, nil
	}
	for _, vs := range r.taking() {
		if !r.ours(vs) && topology.CoversMesh(r.o, vs) {
			return r.deleteRoutes(), nil
		}
	}
	return nil, nil
}

func (r *renderer) deleteRoutes() (writes []mode.Write) {
	for _, vs := range r.routes {
		writes = append(writes, mode.Write{Verb: mode.Delete, Key: vs.Key, ResourceVersion: vs.ResourceVersion, Why: r.why()})
	}
	return writes
}

func (r *renderer) subsets() ([]mode.Write, error) {
	if r.plan.Place == nil || r.plan.Place.Subsets == nil || r.name == "" {
		return nil, nil
	}
	if r.o.ServiceFound == nil {
		return nil, nil // nobody calls it, and nothing could own what is made: a release may end
	}
	return r.renderRule(*r.plan.Place.Subsets, r.now, r.why())
}

// surplusSubsets takes our rules away once no route leads to their subsets.
func (r *renderer) surplusSubsets() (writes []mode.Write, err error) {
	if r.plan.Place == nil || r.plan.Traffic != nil && !r.plan.Clean || slices.ContainsFunc(r.o.VirtualServices, r.names) {
		return nil, nil
	}
	for _, rule := range r.rules {
		if r.plan.Place.Subsets == nil || rule.Key.Name != topology.AddedName(r.name) {
			writes = append(writes, mode.Write{Verb: mode.Delete, Key: rule.Key, ResourceVersion: rule.ResourceVersion, Why: r.why()})
		}
	}
	return writes, nil
}

func (r *renderer) pods() ([]mode.Write, error) {
	switch {
	case r.going:
		return r.renderPods(nil, r.why())
	case r.plan.Place == nil:
		return nil, nil
	}
	return r.renderPods(r.plan.Place.Pods, r.why())
}

func (r *renderer) deployment() ([]mode.Write, error) {
	if !r.there || r.going {
		return nil, nil
	}
	running, mixed := r.running()
	if mixed {
		running = nil
	}
	return mode.RenderDeployment(r.plan, r.o.Namespace, r.user, running)
}
