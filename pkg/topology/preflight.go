package topology

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
)

// Question is what Preflight is asked: whether a release between two sides may
// start or go on.
type Question struct {
	Canary, Stable Role // a part that could not be found is empty
	// Active tells that a release is under way: then weights are split because
	// we split them.
	Active bool
	// InPlace tells that the release is one of a single Deployment: Stable is the
	// user's, Canary the one that is ours or will be.
	InPlace bool
}

// preflight is one question with all that is known to answer it.
type preflight struct {
	o Objects
	m Map
	q Question
}

// Preflight finds what stands in the way of a release and what takes traffic
// past it. Blocking findings come first; of each kind they come in the order in
// which they are to be mended.
func Preflight(o Objects, m Map, q Question) []canary.Finding {
	p := preflight{o, m, q}
	if o.ServiceFound == nil {
		return p.serviceMissing()
	}
	if found := p.serviceSelects(); len(found) > 0 {
		return found // all else would be said of the wrong Service
	}
	checks := p.pair()
	if q.InPlace {
		checks = p.inPlace()
	}
	var found []canary.Finding
	for _, check := range checks {
		for _, f := range check() {
			if !slices.Contains(found, f) { // both sides may have the same fault
				found = append(found, f)
			}
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].Blocking && !found[j].Blocking })
	return found
}

type check = func() []canary.Finding

// pair are the checks of a release between two Deployments.
func (p preflight) pair() []check {
	return []check{
		p.serviceAmbiguous, p.ambient,
		p.unknownVirtualServices, p.virtualServiceMissing, p.otherProtocols,
		p.stableMissing, p.rules, p.routedSubsets, p.hidden,
		p.leaks, p.alone, p.splitByHand, p.conflicts,
		p.others, p.unmanaged, p.adopted, p.guardUnneeded,
	}
}

// inPlace are the checks of a release of one Deployment. Subsets and routes that
// tell the versions apart are none of the team's business then: they are made.
func (p preflight) inPlace() []check {
	return []check{
		p.inPlaceOff, p.serviceAmbiguous, p.noVirtualAddress, p.ambient,
		p.otherDeployments, p.unknownVirtualServices, p.otherProtocols, p.streams,
		p.nameTaken, p.subsetTaken, p.hidesSubsets, p.rulePrivate, p.conflicts,
		p.guardMissing, p.pauseSet,
		p.others, p.otherServices, p.outsideMesh,
		p.autoscalers, p.budgets, p.quotas,
	}
}

func (p preflight) service() canary.ObjectKey { return p.m.key(p.o, "Service", p.o.Service) }

func (p preflight) deployment(name string) canary.ObjectKey {
	return p.m.key(p.o, "Deployment", name)
}

// asking names the Deployment that asks for the release.
func (p preflight) asking() string {
	if p.q.InPlace {
		return p.q.Stable.Deployment
	}
	return p.q.Canary.Deployment
}

// subject is the Deployment whose annotations mend what is ambiguous.
func (p preflight) subject() Deployment {
	d, _ := ByName(p.o, p.asking())
	return d
}

func (p preflight) serviceMissing() []canary.Finding {
	f := canary.Finding{
		Reason: canary.ServiceMissing, Blocking: true, Object: p.deployment(p.asking()),
		Problem: "no Service selects its pods",
		Mend:    "Create a Service whose selector matches the pod template's labels",
	}
	if p.m.Hints.Service != "" {
		f.Field = annotationField(serviceKey)
		f.Problem = fmt.Sprintf("there is no Service %s in namespace %s", p.o.Service, p.o.Namespace)
		f.Mend = "Name a Service that exists" + didYouMean(p.o.Service, serviceNames(p.o))
	}
	return []canary.Finding{f}
}

func (p preflight) serviceSelects() []canary.Finding {
	d := p.subject()
	if d.Name == "" || selects(p.o.ServiceFound.Selector, d.TemplateLabels) {
		return nil
	}
	return []canary.Finding{{
		Reason: canary.ServiceMissing, Blocking: true, Object: p.service(), Field: "spec.selector",
		Problem: fmt.Sprintf("it does not select the pods of Deployment %s", d.Name),
		Mend:    fmt.Sprintf("Give the pod template of %s the labels %s, or name another Service in %s", d.Name, labelList(p.o.ServiceFound.Selector), serviceKey),
	}}
}

func (p preflight) serviceAmbiguous() []canary.Finding {
	d := p.subject()
	names := slices.DeleteFunc(selecting(d, p.o.Services), func(n string) bool {
		return n != p.o.Service && headless(p.o, n) // a twin, by which pods are looked up one by one
	})
	if p.q.Active || len(names) < 2 || HintsOf(d).Service != "" {
		return nil
	}
	rivals := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == p.o.Service || !routed(p.o, n) })
	if len(p.m.VirtualServices) > 0 && len(rivals) == 0 {
		return nil // the others are only looked up, no route leads to them
	}
	return []canary.Finding{{
		Reason: canary.ServiceAmbiguous, Blocking: true, Object: p.deployment(d.Name),
		Problem: fmt.Sprintf("its pods are selected by %d Services: %s", len(names), strings.Join(names, ", ")),
		Mend:    "Say which one is released with the annotation " + serviceKey,
		YAML:    annotationYAML(serviceKey, p.o.Service),
	}}
}

func (p preflight) ambient() []canary.Finding {
	if p.o.NamespaceLabels["istio.io/dataplane-mode"] != "ambient" {
		return nil
	}
	return []canary.Finding{{
		Reason: canary.AmbientNamespace, Blocking: true,
		Object: canary.ObjectKey{Kind: "Namespace", Name: p.o.Namespace}, Field: "metadata.labels[istio.io/dataplane-mode]",
		Problem: "the namespace is in Istio's ambient mode, where VirtualServices are not stable",
		Mend:    "Use sidecars: replace the label by istio-injection: enabled and restart the pods",
	}}
}

func (p preflight) unknownVirtualServices() []canary.Finding {
	var found []canary.Finding
	for _, name := range p.m.Unknown {
		found = append(found, p.unknownVirtualService(name))
	}
	return found
}

func (p preflight) virtualServiceMissing() []canary.Finding {
	if len(p.m.VirtualServices) > 0 || len(p.m.Unknown) > 0 {
		return nil
	}
	return []canary.Finding{{
		Reason: canary.VirtualServiceMissing, Blocking: true, Object: p.service(),
		Problem: fmt.Sprintf("no VirtualService of namespace %s has a destination that is this Service", p.o.Namespace),
		Mend:    "Create one that sends its requests to stable's subset",
		YAML:    p.virtualServiceYAML(),
	}}
}

func (p preflight) unknownVirtualService(name string) canary.Finding {
	var own []string
	for _, vs := range p.o.VirtualServices {
		if vs.Key.Namespace == p.o.Namespace && leads(vs, p.m.Service) {
			own = append(own, vs.Key.Name)
		}
	}
	return canary.Finding{
		Reason: canary.VirtualServiceMissing, Blocking: true,
		Object: p.deployment(p.asking()), Field: annotationField(virtualServiceKey),
		Problem: fmt.Sprintf("no VirtualService %s of namespace %s leads to Service %s", shortName(name), p.o.Namespace, p.o.Service),
		Mend:    "Name one that does, or leave the annotation out" + didYouMean(name, own),
	}
}

// shortName cuts what no object can be called: it only stands in a sentence.
func shortName(name string) string {
	const most = 253
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "..."
}

func (p preflight) otherProtocols() []canary.Finding {
	var found []canary.Finding
	for _, vs := range p.m.VirtualServices {
		for _, d := range destinations(vs.Doc) {
			if d.protocol == "http" || !p.m.Service.Matches(d.host, vs.Key.Namespace) {
				continue
			}
			found = append(found, canary.Finding{
				Reason: canary.TCPRoute, Blocking: true, Object: vs.Key, Field: d.path,
				Problem: fmt.Sprintf("a %s route leads to the Service: it knows no headers, and moving its weight breaks connections", strings.ToUpper(d.protocol)),
				Mend:    "Route the Service as HTTP, or give the port a Service of its own",
			})
		}
	}
	return found
}

func (p preflight) stableMissing() []canary.Finding {
	if p.q.Stable.Deployment != "" {
		return nil
	}
	f := canary.Finding{
		Reason: canary.StableMissing, Blocking: true, Object: p.service(),
		Problem: fmt.Sprintf("there is no Deployment beside %s to be the stable version", p.q.Canary.Deployment),
		Mend:    "Let a second Deployment with another version label run the stable version behind the Service",
	}
	if len(p.o.Deployments) < 2 {
		if !Observed(p.subject()) {
			f.Mend += ", or have this one released in place"
			f.YAML = annotationYAML(modeKey, canary.ModeInPlace)
		}
		return []canary.Finding{f}
	}
	if p.q.Stable.Subset != "" {
		f.Problem = fmt.Sprintf("subset %s has the traffic, but selects no Deployment of its own beside %s", p.q.Stable.Subset, p.q.Canary.Deployment)
		f.Mend = "Make the subset's labels select the stable Deployment's pods and no others" + p.distinctHint()
		return []canary.Finding{f}
	}
	f.Problem = fmt.Sprintf("of the %d Deployments behind it none can be told to be the stable one", len(p.o.Deployments))
	f.Mend = fmt.Sprintf("Name stable's subset in the annotation %s of %s, and let the routes lead to it", stableSubsetKey, p.q.Canary.Deployment)
	return []canary.Finding{f}
}

func (p preflight) leaks() []canary.Finding {
	var found []canary.Finding
	for _, vs := range p.m.VirtualServices {
		for _, r := range p.routes(vs) {
			for _, d := range r.Destinations {
				if !d.ToService {
					continue
				}
				field := fmt.Sprintf("%s.route[%d].destination", r.Path, d.Index)
				if f, leaks := p.leak(vs.Key, field, d); leaks {
					found = append(found, f)
				}
			}
		}
	}
	return found
}

func (p preflight) leak(vs canary.ObjectKey, field string, d route.Destination) (canary.Finding, bool) {
	stable := orElse(p.q.Stable.Subset, "STABLE")
	f := canary.Finding{Blocking: true, Object: vs, Field: field}
	if d.Subset == "" {
		f.Reason = canary.NoSubset
		f.Problem = fmt.Sprintf("it names no subset: ready canary pods get their part of its requests at once, %s", p.share())
		f.Mend = "Pin it to stable's subset"
		f.YAML = fmt.Sprintf("destination:\n  host: %s\n  subset: %s\n", d.Host, stable)
		return f, true
	}
	s, known := p.m.subset(d.Subset)
	if !known || d.Subset == p.q.Canary.Subset || !slices.Contains(selectedBy(s, p.o), p.q.Canary.Deployment) {
		return f, false
	}
	f.Reason = canary.SubsetAmbiguous
	f.Problem = fmt.Sprintf("subset %s selects the pods of %s too: canary pods get its requests whatever the weights", d.Subset, p.q.Canary.Deployment)
	f.Mend = "Let the route lead to a subset that selects stable's pods alone" + p.distinctHint()
	return f, true
}

// alone finds routes that lead to the canary alone, for everyone.
func (p preflight) alone() []canary.Finding {
	if p.q.Active || p.q.Canary.Subset == "" || p.holds() {
		return nil
	}
	var found []canary.Finding
	for _, vs := range p.m.VirtualServices {
		for _, r := range p.routes(vs) {
			if r.Own() || r.Adopted || len(r.Destinations) != 1 || r.Destinations[0].Subset != p.q.Canary.Subset {
				continue
			}
			found = append(found, canary.Finding{
				Reason: canary.LoneDestination, Blocking: true, Object: vs.Key, Field: r.Path + ".route[0]",
				Problem: fmt.Sprintf("the canary's subset %s is the route's only destination: it gets all its requests, whatever weight is written", p.q.Canary.Subset),
				Mend:    "Send the route to stable's subset; for testing give it a match on a header",
				YAML:    fmt.Sprintf("route:\n- destination:\n    host: %s\n    subset: %s\n", r.Destinations[0].Host, orElse(p.q.Stable.Subset, "STABLE")),
			})
		}
	}
	return found
}

// holds tells that the canary's Deployment has all the users: it was promoted,
// or never was a canary. That is for Decide to explain.
func (p preflight) holds() bool {
	for _, vs := range p.m.VirtualServices {
		for _, r := range p.routes(vs) {
			if r.Serves() && r.Share() != 100 {
				return false
			}
		}
	}
	return true
}

func (p preflight) splitByHand() []canary.Finding {
	if p.q.Active || p.q.Canary.Subset == "" || p.holds() {
		return nil
	}
	var found []canary.Finding
	for _, vs := range p.m.VirtualServices {
		for _, r := range p.routes(vs) {
			if !r.Serves() || r.Share() == 0 || len(r.Destinations) == 1 {
				continue
			}
			found = append(found, canary.Finding{
				Reason: canary.HandMadeSplit, Blocking: true, Object: vs.Key, Field: r.Path,
				Problem: fmt.Sprintf("the canary's subset %s has %d%% of the requests already, and no release gave it that", p.q.Canary.Subset, r.Share()),
				Mend:    fmt.Sprintf("Give subset %s weight 0 and %s the rest; the release then begins from there", p.q.Canary.Subset, orElse(p.q.Stable.Subset, "stable's")),
			})
		}
	}
	return found
}

func (p preflight) adopted() []canary.Finding {
	var found []canary.Finding
	for _, vs := range p.m.VirtualServices {
		for _, r := range p.routes(vs) {
			if r.Adopted {
				found = append(found, canary.Finding{
					Reason: canary.HeaderAdopted, Object: vs.Key, Field: r.Path,
					Problem: "this route of yours leads to the canary alone: it is QA's route, is never changed, and no other is added",
				})
			}
		}
	}
	return found
}

func (p preflight) routes(vs VirtualService) []route.Route {
	return p.m.routes(vs, p.q.Stable.Subset, p.q.Canary.Subset)
}
