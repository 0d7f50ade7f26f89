package topology

import (
	"regexp"
	"slices"
	"sort"
	"strings"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
)

// The annotations of a Deployment that say where it belongs. They are read
// here, before everything else is parsed, because they decide which Service a
// Deployment's release is about.
const (
	optInKey          = OptInKey
	serviceKey        = "serin.dev/service"
	virtualServiceKey = "serin.dev/virtual-service"
	stableSubsetKey   = "serin.dev/stable-subset"
	canarySubsetKey   = "serin.dev/canary-subset"
)

// OptInKey is the annotation by which a Deployment asks for canary releases.
const OptInKey = "serin.dev/canary"

// Hints are what a team said instead of leaving it to be discovered. Each may
// be empty. A Service's name that no Service can have is as good as none: the
// mistake is told where the annotations are parsed, and must not end a release or
// become the name of anything.
type Hints struct {
	Service         string
	VirtualServices []string
	StableSubset    string
	CanarySubset    string
}

// HintsOf reads a Deployment's hints.
func HintsOf(d Deployment) Hints {
	h := Hints{
		Service:      serviceName(d.Annotations[serviceKey]),
		StableSubset: strings.TrimSpace(d.Annotations[stableSubsetKey]),
		CanarySubset: strings.TrimSpace(d.Annotations[canarySubsetKey]),
	}
	for name := range strings.SplitSeq(d.Annotations[virtualServiceKey], ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(h.VirtualServices, name) {
			h.VirtualServices = append(h.VirtualServices, name)
		}
	}
	return h
}

// serviceForm is the name of a Service, at most 63 bytes long.
var serviceForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

func serviceName(text string) string {
	const most = 63
	if text = strings.TrimSpace(text); len(text) > most || !serviceForm.MatchString(text) {
		return ""
	}
	return text
}

// OptedIn tells that a Deployment asks for canary releases. A value that is
// neither true nor false counts as asking, so that a slip of the pen in the
// middle of a release is told as a mistake and not taken for opting out.
func OptedIn(d Deployment) bool {
	value, found := d.Annotations[optInKey]
	return found && strings.TrimSpace(value) != "false"
}

// ServicesOf names the Services that a release of d may be about, sorted: the
// one it names, whether that exists or not, or else all that select its pods.
// For an opted-in Deployment without any it is the Deployment's own name, so
// that the missing Service has a place where it is told; likewise for one that
// still has the guard's mark, so that it is let go.
func ServicesOf(d Deployment, services []Service) []string {
	if name := HintsOf(d).Service; name != "" && OptedIn(d) {
		return []string{name}
	}
	names := selecting(d, services)
	if _, held := d.Annotations[HeldKey]; len(names) == 0 && (held || OptedIn(d)) {
		return []string{d.Name}
	}
	return names
}

// DeploymentsOf picks those of a namespace's Deployments that Objects.Deployments
// holds for a Service: whose pods it selects, and those that are released
// through it or believe to be.
func DeploymentsOf(service string, deployments []Deployment, services []Service) []Deployment {
	var picked []Deployment
	for _, d := range deployments {
		if slices.Contains(selecting(d, services), service) || slices.Contains(ServicesOf(d, services), service) {
			picked = append(picked, d)
		}
	}
	return picked
}

func selecting(d Deployment, services []Service) []string {
	var names []string
	for _, s := range services {
		if selects(s.Selector, d.TemplateLabels) {
			names = append(names, s.Name)
		}
	}
	sort.Strings(names)
	return names
}

// selects tells whether labels carry all of a selector. An empty selector
// selects nothing, as for a Service.
func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if have, found := labels[key]; !found || have != value {
			return false
		}
	}
	return len(selector) > 0
}

// Candidates are the opted-in Deployments whose releases are about this
// Service, sorted by age, then name. One that names another Service is none.
// One that several Services select belongs to those to which routes lead.
func Candidates(o Objects) []Deployment {
	var found []Deployment
	for _, d := range o.Deployments {
		if OptedIn(d) && d.CloneOf == "" && slices.Contains(ServicesOf(d, o.Services), o.Service) && !elsewhere(o, d) {
			found = append(found, d)
		}
	}
	sort.Slice(found, func(i, j int) bool {
		if !found[i].Created.Equal(found[j].Created) {
			return found[i].Created.Before(found[j].Created)
		}
		return found[i].Name < found[j].Name
	})
	return found
}

// elsewhere tells that d is selected by another Service to which routes lead,
// and that none lead here: the usual headless twin of a Service. Where none lead
// anywhere yet, it is the headless one that has no releases.
func elsewhere(o Objects, d Deployment) bool {
	if HintsOf(d).Service != "" || routed(o, o.Service) {
		return false
	}
	return slices.ContainsFunc(selecting(d, o.Services), func(name string) bool {
		return name != o.Service && (routed(o, name) || headless(o, o.Service) && !headless(o, name))
	})
}

// headless tells that a Service has no address of its own.
func headless(o Objects, service string) bool {
	return slices.ContainsFunc(o.Services, func(s Service) bool { return s.Name == service && s.Headless })
}

// routed tells whether a VirtualService of the namespace leads to a Service.
func routed(o Objects, service string) bool {
	s := route.Service{Namespace: o.Namespace, Name: service, ClusterDomain: o.ClusterDomain}
	return slices.ContainsFunc(o.VirtualServices, func(vs VirtualService) bool {
		return vs.Key.Namespace == o.Namespace && (leads(vs, s) || CarriesState(vs, service))
	})
}

// CarriesState tells whether a VirtualService has a state of the Service on it.
func CarriesState(vs VirtualService, service string) bool {
	_, found := annotations(vs.Doc)[canary.StatePrefix+service]
	return found
}
