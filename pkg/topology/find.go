package topology

import (
	"slices"
	"sort"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
)

// Map is who routes to whom around one Service, whatever the roles of the
// Deployments may be.
type Map struct {
	Service route.Service
	Hints   Hints

	VirtualServices []VirtualService // that take part: their routes are edited; by key
	Others          []VirtualService // that lead to the Service too, and are left alone; by key
	Unknown         []string         // hinted VirtualServices that don't exist or don't lead to the Service

	Rules   []DestinationRule // that are in force for the Service in its own namespace
	Subsets []Subset          // of Rules, each name once, in the order they are written

	// Shares are each subset's percents, summed over the routes that count: a
	// route that only requests with a certain header reach does not.
	Shares map[string]int
}

// Role is one side of a release.
type Role struct{ Deployment, Subset string }

// RouteService is the Service as package route knows it.
func RouteService(o Objects) route.Service {
	return route.Service{Namespace: o.Namespace, Name: o.Service, ClusterDomain: o.ClusterDomain}
}

// Find draws the map. Only VirtualServices of the Service's own namespace take
// part: those that lead to it (of these only the hinted, if any are hinted) and
// those that carry its state.
func Find(o Objects, h Hints) Map {
	m := Map{Service: RouteService(o), Hints: h, Shares: map[string]int{}}
	for _, vs := range o.VirtualServices {
		own := vs.Key.Namespace == o.Namespace
		leads := leads(vs, m.Service)
		hinted := len(h.VirtualServices) == 0 || slices.Contains(h.VirtualServices, vs.Key.Name)
		switch {
		case own && (leads && hinted || CarriesState(vs, o.Service)):
			m.VirtualServices = append(m.VirtualServices, vs)
		case leads:
			m.Others = append(m.Others, vs)
		}
	}
	byKey(m.VirtualServices)
	byKey(m.Others)
	for _, name := range h.VirtualServices {
		if !slices.ContainsFunc(m.VirtualServices, func(vs VirtualService) bool { return vs.Key.Name == name }) {
			m.Unknown = append(m.Unknown, name)
		}
	}
	m.Rules = rulesInForce(o, m.Service)
	m.Subsets = union(m.Rules)
	for _, vs := range m.VirtualServices {
		m.count(vs)
	}
	return m
}

func byKey(all []VirtualService) {
	sort.Slice(all, func(i, j int) bool { return all[i].Key.String() < all[j].Key.String() })
}

// count adds up how the VirtualService's routes share their requests out.
func (m *Map) count(vs VirtualService) {
	for _, r := range m.routes(vs, "", "") {
		if r.Own() || headerOnly(vs.Doc, r) {
			continue
		}
		sum := 0
		for _, d := range r.Destinations {
			if d.ToService {
				sum += d.Weight
			}
		}
		for _, d := range r.Destinations {
			if d.ToService && sum > 0 {
				m.Shares[d.Subset] += 100 * d.Weight / sum
			}
		}
	}
}

// routes are the HTTP routes of a VirtualService that lead to the Service.
func (m Map) routes(vs VirtualService, stable, canary string) []route.Route {
	return route.Find(vs.Doc, m.Service, stable, canary)
}

// headerOnly tells that a route sends all it gets to one destination and gets
// only requests with a certain header: somebody's way to test a version.
func headerOnly(doc map[string]any, r route.Route) bool {
	if len(r.Destinations) != 1 {
		return false
	}
	routes := list(child(doc, "spec"), "http")
	if r.Index >= len(routes) {
		return false
	}
	matches := list(routes[r.Index], "match")
	for _, match := range matches {
		if len(child(match, "headers")) == 0 {
			return false
		}
	}
	return len(matches) > 0
}

// Holder is the subset that has the users: the one with the largest share.
// Of equals it is the one that is not in rather, then the first by name; empty
// when no route names a subset.
func (m Map) Holder(rather ...string) string {
	names := make([]string, 0, len(m.Shares))
	for name, share := range m.Shares {
		if name != "" && share > 0 {
			names = append(names, name)
		}
	}
	sort.Slice(names, func(i, j int) bool {
		a, b := names[i], names[j]
		if m.Shares[a] != m.Shares[b] {
			return m.Shares[a] > m.Shares[b]
		}
		if inA, inB := slices.Contains(rather, a), slices.Contains(rather, b); inA != inB {
			return inB
		}
		return a < b
	})
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// SubsetOf is the subset that selects a Deployment's pods and no other
// Deployment's; of several the one to which routes lead. Empty when there is
// none, or no way to tell.
func (m Map) SubsetOf(o Objects, deployment string) string {
	own := m.exclusive(o, deployment)
	if len(own) > 1 {
		own = slices.DeleteFunc(own, func(name string) bool { return !m.named(name) })
	}
	if len(own) != 1 {
		return ""
	}
	return own[0]
}

// exclusive names the subsets that select this Deployment's pods alone.
func (m Map) exclusive(o Objects, deployment string) []string {
	var names []string
	for _, s := range m.Subsets {
		if by := selectedBy(s, o); len(by) == 1 && by[0] == deployment {
			names = append(names, s.Name)
		}
	}
	return names
}

// named tells whether a route that takes part leads to a subset.
func (m Map) named(subset string) bool {
	for _, vs := range m.VirtualServices {
		for _, r := range m.routes(vs, "", "") {
			for _, d := range r.Destinations {
				if d.ToService && d.Subset == subset {
					return true
				}
			}
		}
	}
	return false
}

// DeploymentOf is the Deployment that a subset selects; empty unless it is
// exactly one.
func (m Map) DeploymentOf(o Objects, subset string) string {
	if s, found := m.subset(subset); found {
		if by := selectedBy(s, o); len(by) == 1 {
			return by[0]
		}
	}
	return ""
}

func (m Map) subset(name string) (Subset, bool) {
	for _, s := range m.Subsets {
		if s.Name == name {
			return s, true
		}
	}
	return Subset{}, false
}

// selectedBy names the Deployments whose pods a subset selects. A subset
// without labels selects all.
func selectedBy(s Subset, o Objects) []string {
	var names []string
	for _, d := range o.Deployments {
		if len(s.Labels) == 0 || selects(s.Labels, d.TemplateLabels) {
			names = append(names, d.Name)
		}
	}
	return names
}

// ByName finds a Deployment among the Service's.
func ByName(o Objects, name string) (Deployment, bool) {
	for _, d := range o.Deployments {
		if d.Name == name {
			return d, true
		}
	}
	return Deployment{}, false
}

func (m Map) key(o Objects, kind, name string) canary.ObjectKey {
	return canary.ObjectKey{Kind: kind, Namespace: o.Namespace, Name: name}
}
