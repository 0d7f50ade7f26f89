package mode

import (
	"maps"
	"slices"
	"sort"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
)

// Observed is what the objects around a Service say.
type Observed struct {
	// Subject is the Deployment whose annotations ask for the release; it is
	// they that are to be parsed. Empty when none asks.
	Subject string
	OptedIn bool // see canary.Observation
	Gone    bool // see canary.Observation

	InPlace  bool            // see canary.Observation
	Place    canary.Standing // see canary.Observation
	Tracks   canary.Tracks
	Traffic  map[canary.ObjectKey]canary.Seen
	Findings []canary.Finding
}

// TrackOf is a Deployment as it runs. What is not there stays zero, but its names.
func TrackOf(o topology.Objects, r topology.Role) canary.Track {
	t := canary.Track{Deployment: r.Deployment, Subset: r.Subset}
	d, found := topology.ByName(o, r.Deployment)
	if !found {
		return t
	}
	t.Template, t.Complete, t.Wanted, t.Ready = d.TemplateHash, d.Complete, d.Replicas, d.Ready
	t.Began, t.Content, t.Images = d.ReplicaSetAt, d.Content, d.Images
	AddPods(&t, d.Pods)
	return t
}

// AddPods tells of a track how its pods are.
func AddPods(t *canary.Track, all []topology.Pod) {
	digests := map[string]bool{}
	pods := slices.Clone(all)
	sort.Slice(pods, func(i, j int) bool { return pods[i].Name < pods[j].Name })
	for _, p := range pods {
		t.Restarts += p.Restarts
		t.Killed += p.Killed
		if p.Since.After(t.Since) {
			t.Since = p.Since
		}
		t.Crashing = t.Crashing || crashing(p)
		if t.Problem == "" && !p.Ready {
			t.Problem = problem(p)
		}
		for _, digest := range p.Digests {
			digests[digest] = true
		}
	}
	t.Digests = slices.Sorted(maps.Keys(digests))
	t.Images, t.Differing = digestsOf(t.Images, pods)
}

// digestsOf are a template's images with the digests that its Ready pods report,
// and the first container of which they report different ones. Containers that were
// put into the pods besides, like a proxy, are no part of a version.
func digestsOf(images []canary.Image, pods []topology.Pod) (known []canary.Image, differing string) {
	known = slices.Clone(images) // the template's are shared
	for i := range known {
		for _, p := range pods {
			digest := p.Images[known[i].Container]
			switch {
			case !p.Ready || digest == "":
			case known[i].Digest == "":
				known[i].Digest = digest
			case known[i].Digest != digest && differing == "":
				differing = known[i].Container
			}
		}
	}
	return known, differing
}

// crashLoop is how many restarts make a pod that is not ready one that fails
// again and again: the kubelet says so itself only while it waits.
const crashLoop = 3

func crashing(p topology.Pod) bool {
	return p.Waiting == "CrashLoopBackOff" || !p.Ready && p.Restarts >= crashLoop
}

// problem says what keeps a pod from starting, if anything but time does.
func problem(p topology.Pod) string {
	switch p.Waiting {
	case "", "ContainerCreating", "PodInitializing":
		return p.Message
	}
	if p.Message == "" {
		return p.Waiting
	}
	return p.Waiting + ": " + p.Message
}

// See is one VirtualService's traffic, compared with what its own copy of the
// state orders: a copy that is behind the others is pending, not interfered with.
func See(o topology.Objects, vs topology.VirtualService, s Sides, state canary.State) canary.Seen {
	svc := topology.RouteService(o)
	var out canary.Seen
	if s.Canary != "" && s.Stable != "" {
		out = route.Read(vs.Doc, svc, s.Stable, s.Canary)
	}
	own, found, err := CopyOn(vs, o.Service)
	switch {
	case !found && state.Phase.Active() && !vs.Created.After(state.Started):
		// Either not yet written, then its header route is no loss, or replaced
		// by somebody, who may have taken weight away with it.
		whole := route.ReadAgainst(vs.Doc, svc, Reachable(o, state.InPlace, canary.TrafficOf(state)))
		out.Lowered, out.Raised, out.Unpinned = whole.Lowered, whole.Raised, whole.Unpinned
		if state.InPlace && untouched(vs, o.Service, state) {
			out.Raised, out.Unpinned = false, ""
		}
	case found && err == nil:
		if own.Canary.Subset == s.Canary && own.Stable.Subset == s.Stable {
			out = route.ReadAgainst(vs.Doc, svc, Reachable(o, own.InPlace, canary.TrafficOf(own)))
		}
		out.Rollout, out.Sequence, out.At = own.Rollout, own.Sequence, own.At
	}
	out.Idle = !serves(vs, svc, canary.Traffic{Stable: s.Stable, Canary: s.Canary})
	out.Writer, out.Owned = writer(vs.Doc)
	out.Changed = changed(vs.Doc)
	out.GitOps = GitOps(out.Writer)
	return out
}

// Reachable is the routing that t orders, as it can be now. In place the routes
// are pinned before the canary has a pod, and QA's requests reach the version that
// runs until it has one that is ready.
func Reachable(o topology.Objects, inPlace bool, t canary.Traffic) canary.Traffic {
	ready := func(d topology.Deployment) bool { return d.CloneOf != "" && d.Ready > 0 }
	if inPlace && !slices.ContainsFunc(o.Deployments, ready) {
		t.Header = nil
	}
	return t
}

// untouched tells that a VirtualService waits to be given its first copy of the
// state: nobody wrote its routes since the release began.
func untouched(vs topology.VirtualService, service string, state canary.State) bool {
	_, found, _ := CopyOn(vs, service)
	return !found && !vs.Created.After(state.Started) && !changed(vs.Doc).After(state.Started)
}

// serves tells that some route of the VirtualService has traffic to share out.
func serves(vs topology.VirtualService, svc route.Service, t canary.Traffic) bool {
	return slices.ContainsFunc(route.Find(vs.Doc, svc, t.Stable, t.Canary), route.Route.Serves)
}

func hasHeaderRoute(vs topology.VirtualService, o topology.Objects) bool {
	return slices.ContainsFunc(route.Find(vs.Doc, topology.RouteService(o), "", ""), func(r route.Route) bool { return r.Header })
}

// Hints are what all opted-in Deployments name together. One that names no
// VirtualService means all of them.
func Hints(o topology.Objects) topology.Hints {
	var all topology.Hints
	for _, d := range topology.Candidates(o) {
		h := topology.HintsOf(d)
		if len(h.VirtualServices) == 0 {
			return topology.Hints{}
		}
		for _, name := range h.VirtualServices {
			if !slices.Contains(all.VirtualServices, name) {
				all.VirtualServices = append(all.VirtualServices, name)
			}
		}
	}
	return all
}

// Carriers are the VirtualServices that carry our state.
func Carriers(o topology.Objects, m topology.Map) []topology.VirtualService {
	var found []topology.VirtualService
	for _, vs := range m.VirtualServices {
		if topology.CarriesState(vs, o.Service) {
			found = append(found, vs)
		}
	}
	return found
}
