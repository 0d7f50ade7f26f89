package topology

import (
	"maps"
	"slices"
	"strings"
)

const modeKey = "serin.dev/mode"

// ModeOf is the mode of release that a Deployment's annotation names; empty when
// it names none. What it names is not checked here.
func ModeOf(d Deployment) string { return strings.TrimSpace(d.Annotations[modeKey]) }

// Observed tells that a Deployment asks to be judged only.
func Observed(d Deployment) bool { return strings.TrimSpace(d.Annotations[optInKey]) == "observe" }

// UsersOwn are the Deployments that are not canaries of ours.
func UsersOwn(o Objects) []Deployment {
	var found []Deployment
	for _, d := range o.Deployments {
		if d.CloneOf == "" {
			found = append(found, d)
		}
	}
	return found
}

// HasOurs tells that something is there that a release in place of this Service
// made: a canary Deployment, a DestinationRule or a VirtualService. What another
// Service that selects the same pods has made is not ours.
func HasOurs(o Objects) bool {
	return slices.ContainsFunc(o.Deployments, func(d Deployment) bool { return Ours(d.Doc, o.Service) }) ||
		slices.ContainsFunc(o.DestinationRules, func(r DestinationRule) bool { return Ours(r.Doc, o.Service) }) ||
		slices.ContainsFunc(o.VirtualServices, func(vs VirtualService) bool {
			return vs.Key.Namespace == o.Namespace && Ours(vs.Doc, o.Service)
		})
}

// About tells that a release of d is about this Service, or would be if d asked
// for one.
func About(o Objects, d Deployment) bool {
	asking := maps.Clone(d.Annotations)
	if asking == nil {
		asking = map[string]string{}
	}
	asking[optInKey] = "true"
	d.Annotations = asking
	return slices.Contains(ServicesOf(d, o.Services), o.Service) && !elsewhere(o, d)
}
