package topology

import (
	"slices"
	"strings"

	"serin.dev/serin/pkg/route"
)

// rulesInForce are the DestinationRules that proxies without a rule of their own
// namespace go by: those of the Service's namespace, or else those of Istio's
// root namespace; of these the ones with the most specific host. One with a
// workloadSelector is for some proxies of its own namespace alone.
func rulesInForce(o Objects, s route.Service) []DestinationRule {
	if rules := mostSpecific(o, s, func(r DestinationRule) bool { return r.Key.Namespace == o.Namespace }); len(rules) > 0 {
		return rules
	}
	return mostSpecific(o, s, func(r DestinationRule) bool {
		return r.Key.Namespace == o.RootNamespace && !private(r)
	})
}

func mostSpecific(o Objects, s route.Service, in func(DestinationRule) bool) []DestinationRule {
	var found []DestinationRule
	best := 0
	for _, r := range o.DestinationRules {
		n := specificity(r, s)
		if r.Selected || n == 0 || n < best || !in(r) {
			continue
		}
		if n > best {
			found, best = nil, n
		}
		found = append(found, r)
	}
	slices.SortFunc(found, func(a, b DestinationRule) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	return found
}

// specificity is 0 for a rule of another host, and grows with how exactly its
// host names the Service.
func specificity(r DestinationRule, s route.Service) int {
	full := s.Name + "." + s.Namespace + ".svc." + s.ClusterDomain
	if exact(r, s) {
		return len(full) + 1
	}
	if tail, found := strings.CutPrefix(r.Host, "*"); found && strings.HasSuffix(full, tail) {
		return len(tail) + 1
	}
	return 0
}

// exact tells that a rule's host is the Service and no pattern.
func exact(r DestinationRule, s route.Service) bool { return s.Matches(r.Host, r.Key.Namespace) }

func private(r DestinationRule) bool { return len(r.ExportTo) == 1 && r.ExportTo[0] == "." }

// hiding are the rules that some clients go by instead of those in force: a proxy
// takes its own namespace's rule, whole, and before it one whose workloadSelector
// picks it. In the root namespace only a private one does so; the others are
// everybody's fallback.
func hiding(o Objects, s route.Service) []DestinationRule {
	var found []DestinationRule
	for _, r := range o.DestinationRules {
		fallback := r.Key.Namespace == o.Namespace || r.Key.Namespace == o.RootNamespace && !private(r)
		if specificity(r, s) > 0 && (r.Selected || !fallback) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b DestinationRule) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	return found
}

// union is the subsets of all rules of one host, as Istio merges them: the
// first of a name wins.
func union(rules []DestinationRule) []Subset {
	var all []Subset
	for _, r := range rules {
		for _, s := range r.Subsets {
			if !slices.ContainsFunc(all, func(have Subset) bool { return have.Name == s.Name }) {
				all = append(all, s)
			}
		}
	}
	return all
}
