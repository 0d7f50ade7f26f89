package pair

import (
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

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

	Tracks   canary.Tracks
	Traffic  map[canary.ObjectKey]canary.Seen
	Findings []canary.Finding
}

// Observe reads tracks, traffic and findings off the objects. state is what
// FindState found: while a rollout is under way the tracks are the state's,
// whatever the annotations say.
func Observe(o topology.Objects, state canary.State) Observed {
	r := assign(o, state)
	out := Observed{Subject: r.subject, OptedIn: r.subject != "", Traffic: map[canary.ObjectKey]canary.Seen{}}
	if state.Phase.Active() {
		_, there := topology.ByName(o, state.Canary.Deployment)
		out.Gone = !there
	}
	out.Tracks = canary.Tracks{
		Canary: track(o, r.canary), Stable: track(o, r.stable),
		Older: older(o, r.canary, r.stable),
		Both:  r.both,
	}
	for _, vs := range r.taking(o, state.Rollout) {
		out.Traffic[vs.Key] = seen(o, vs, r, state)
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
	if spec.Header.Name != "" {
		t.Header = &spec.Header
	}
	var weights []int
	for _, step := range spec.Steps {
		weights = append(weights, step.Weight)
	}
	svc := topology.RouteService(o)
	var found []canary.Finding
	for _, vs := range topology.Find(o, hints(o)).VirtualServices {
		found = append(found, route.Repeated(vs.Doc, svc)...)
		found = append(found, route.Coarse(vs.Doc, svc, t.Stable, t.Canary, weights)...)
		found = append(found, route.Unreachable(vs.Doc, svc, t)...)
	}
	return found
}

// track is a Deployment as it runs. What is not there stays zero, but its names.
func track(o topology.Objects, r topology.Role) canary.Track {
	t := canary.Track{Deployment: r.Deployment, Subset: r.Subset}
	d, found := topology.ByName(o, r.Deployment)
	if !found {
		return t
	}
	t.Template, t.Complete, t.Wanted, t.Ready = d.TemplateHash, d.Complete, d.Replicas, d.Ready
	t.Began = d.ReplicaSetAt
	digests := map[string]bool{}
	pods := slices.Clone(d.Pods)
	sort.Slice(pods, func(i, j int) bool { return pods[i].Name < pods[j].Name })
	for _, p := range pods {
		t.Restarts += p.Restarts
		t.Crashing = t.Crashing || crashing(p)
		if t.Problem == "" && !p.Ready {
			t.Problem = problem(p)
		}
		for _, digest := range p.Digests {
			digests[digest] = true
		}
	}
	t.Digests = slices.Sorted(maps.Keys(digests))
	return t
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

func older(o topology.Objects, a, b topology.Role) bool {
	x, _ := topology.ByName(o, a.Deployment)
	y, _ := topology.ByName(o, b.Deployment)
	return !x.ReplicaSetAt.IsZero() && !y.ReplicaSetAt.IsZero() && x.ReplicaSetAt.Before(y.ReplicaSetAt)
}

// seen is one VirtualService's traffic, compared with what its own copy of the
// state orders: a copy that is behind the others is pending, not interfered with.
func seen(o topology.Objects, vs topology.VirtualService, r roles, state canary.State) canary.Seen {
	svc := topology.RouteService(o)
	var out canary.Seen
	if r.canary.Subset != "" && r.stable.Subset != "" {
		out = route.Read(vs.Doc, svc, r.stable.Subset, r.canary.Subset)
	}
	s, found, err := copyOn(vs, o.Service)
	switch {
	case !found && state.Phase.Active() && !vs.Created.After(state.Started):
		// Either not yet written, then its header route is no loss, or replaced
		// by somebody, who may have taken weight away with it.
		whole := route.ReadAgainst(vs.Doc, svc, canary.TrafficOf(state))
		out.Lowered, out.Raised = whole.Lowered, whole.Raised
	case found && err == nil:
		if s.Canary.Subset == r.canary.Subset && s.Stable.Subset == r.stable.Subset {
			out = route.ReadAgainst(vs.Doc, svc, canary.TrafficOf(s))
		}
		out.Rollout, out.Sequence, out.At = s.Rollout, s.Sequence, s.At
	}
	out.Idle = !serves(vs, svc, canary.Traffic{Stable: r.stable.Subset, Canary: r.canary.Subset})
	out.Writer, out.Owned = writer(vs.Doc)
	out.Changed = changed(vs.Doc)
	out.GitOps = gitOps(out.Writer)
	return out
}

// serves tells that some route of the VirtualService has traffic to share out.
func serves(vs topology.VirtualService, svc route.Service, t canary.Traffic) bool {
	return slices.ContainsFunc(route.Find(vs.Doc, svc, t.Stable, t.Canary), route.Route.Serves)
}

func hasHeaderRoute(vs topology.VirtualService, o topology.Objects) bool {
	return slices.ContainsFunc(route.Find(vs.Doc, topology.RouteService(o), "", ""), func(r route.Route) bool { return r.Header })
}

// writer is the field manager that owns the routes; of several the one that
// wrote last. Where we are one of them it is nobody else: whoever changes the
// routes takes them from us, so that what is written is what we wrote.
func writer(doc map[string]any) (name string, owned bool) {
	latest := ""
	for _, e := range managedFields(doc) {
		if !owns(e, "f:http") {
			continue
		}
		manager, _ := e["manager"].(string)
		if manager == fieldManager {
			return "", true
		}
		// RFC 3339 in UTC, as the API server writes it, sorts as text.
		if at, _ := e["time"].(string); name == "" || at >= latest {
			name, latest = manager, at
		}
	}
	return name, false
}

// changed is when the routes were last written, as far as managedFields tell.
func changed(doc map[string]any) (last time.Time) {
	for _, e := range managedFields(doc) {
		text, _ := e["time"].(string)
		at, err := time.Parse(time.RFC3339, text)
		if err == nil && owns(e, "f:http") && at.After(last) {
			last = at
		}
	}
	return last
}

// gitOps tells whether a field manager is a tool that writes what Git holds.
func gitOps(manager string) bool {
	m := strings.ToLower(manager)
	for _, prefix := range []string{"argocd", "argo-cd", "kustomize-controller", "helm", "flux", "gotk"} {
		if strings.HasPrefix(m, prefix) {
			return true
		}
	}
	return false
}
