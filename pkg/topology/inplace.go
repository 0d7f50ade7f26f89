package topology

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"serin.dev/serin/pkg/canary"
)

const (
	install = "kubectl apply -k deploy/in-place"
	pinned  = "past any weight, "
)

func (p preflight) inPlaceOff() []canary.Finding {
	if p.o.Around.Guard != GuardOff {
		return nil
	}
	return []canary.Finding{{
		Reason: canary.InPlaceOff, Blocking: true, Object: p.deployment(p.asking()),
		Problem: "it is the only Deployment behind the Service, or asks for mode in-place, and this cluster's Serin has in-place mode switched off",
		Mend:    "Let the operator of the cluster switch it on (" + install + "), or run the stable version in a second Deployment and say " + modeKey + ": " + canary.ModePair,
	}}
}

// guardMissing blocks while nothing is held: then each change is updated plainly,
// and no release would ever start. What is held already can be released.
func (p preflight) guardMissing() []canary.Finding {
	if p.o.Around.Guard != GuardAbsent {
		return nil
	}
	return []canary.Finding{{
		Reason: canary.GuardMissing, Blocking: !p.q.Active && !p.subject().Held, Object: p.deployment(p.asking()),
		Problem: "nothing in the cluster holds back a change of its template: Kubernetes would update it at once, without a canary",
		Mend:    "Let the operator of the cluster install the guard again (" + install + ")",
	}}
}

// guardUnneeded warns of a guard that does not know better: it holds what no
// release in place will take up.
func (p preflight) guardUnneeded() []canary.Finding {
	if p.o.Around.Guard != GuardThere {
		return nil
	}
	var found []canary.Finding
	for _, d := range Candidates(p.o) {
		if ModeOf(d) != "" || Observed(d) {
			continue
		}
		found = append(found, canary.Finding{
			Reason: canary.GuardUnneeded, Object: p.deployment(d.Name), Field: annotationField(modeKey),
			Problem: "it is one of a pair, but the guard of in-place mode can't know: each change of its template is paused until Serin lets it go",
			Mend:    "Say that it is one of a pair",
			YAML:    annotationYAML(modeKey, canary.ModePair),
		})
	}
	return found
}

// pauseSet finds manifests that name spec.paused. The guard sets it in the request
// that changes the template; an apply that follows would set it back.
func (p preflight) pauseSet() []canary.Finding {
	d := p.subject()
	f := canary.Finding{
		Reason: canary.PauseSet, Object: p.deployment(d.Name), Field: "spec.paused",
		Mend: "Take spec.paused out of the manifest: what it does not name an apply leaves alone",
	}
	switch {
	case d.PauseOwner != "":
		f.Problem = fmt.Sprintf("the manifest that %s applies names it: each apply ends the guard's pause or Serin's update", d.PauseOwner)
	case lastApplied(d.Doc)["paused"] != nil:
		f.Problem = "the manifest of the last kubectl apply names it: each apply ends the guard's pause or Serin's update"
	default:
		return nil
	}
	return []canary.Finding{f}
}

// lastApplied is the spec of the manifest that kubectl applied last from its side.
func lastApplied(doc map[string]any) map[string]any {
	text, _ := annotations(doc)["kubectl.kubernetes.io/last-applied-configuration"].(string)
	var manifest map[string]any
	if json.Unmarshal([]byte(text), &manifest) != nil {
		return nil // not written by kubectl: nobody will go by it
	}
	return child(manifest, "spec")
}

// PauseOwner is the field manager whose server-side apply names spec.paused of an
// object, by the object's managedFields; empty when none does. What the guard adds
// to a request it adds after these were counted, so that it is nobody's.
func PauseOwner(doc map[string]any) string {
	for _, entry := range list(child(doc, "metadata"), "managedFields") {
		_, names := child(child(entry, "fieldsV1"), "f:spec")["f:paused"]
		if manager, _ := entry["manager"].(string); names && entry["operation"] == "Apply" {
			return manager
		}
	}
	return ""
}

func (p preflight) noVirtualAddress() []canary.Finding {
	f := canary.Finding{
		Reason: canary.HeadlessService, Blocking: true, Object: p.service(),
		Mend: "Have clients call a Service of type ClusterIP",
	}
	switch s := p.o.ServiceFound; {
	case s.Headless:
		f.Field = "spec.clusterIP"
		f.Problem = "it is headless: its clients choose pods themselves, canary pods too, and no route can keep them off"
	case s.Type == "ExternalName":
		f.Field = "spec.type"
		f.Problem = "it is a name for something outside the cluster: it leads to no pods"
	default:
		return nil
	}
	return []canary.Finding{f}
}

// otherDeployments finds those whose requests would be taken from them when the
// routes are pinned to the pods of the one that asks.
func (p preflight) otherDeployments() []canary.Finding {
	var found []canary.Finding
	for _, d := range UsersOwn(p.o) {
		rival := OptedIn(d) && slices.Contains(ServicesOf(d, p.o.Services), p.o.Service)
		serves := d.Replicas+d.Ready > 0 && selects(p.o.ServiceFound.Selector, d.TemplateLabels)
		if d.Name == p.asking() || !rival && !serves {
			continue
		}
		f := canary.Finding{
			Reason: canary.OtherDeployment, Blocking: true, Object: p.deployment(d.Name),
			Problem: fmt.Sprintf("the Service selects its pods too: a release of %s in place would take all their requests from them", p.asking()),
			Mend:    fmt.Sprintf("Give it a Service of its own, or release the two as a pair, with the annotation %s of %s", modeKey, p.asking()),
			YAML:    annotationYAML(modeKey, canary.ModePair),
		}
		if !serves {
			f.Problem = fmt.Sprintf("it asks to be released through the Service too, which releases %s in place", p.asking())
		}
		found = append(found, f)
	}
	return found
}

// streams tells of ports that have no requests to share out.
func (p preflight) streams() []canary.Finding {
	s := p.o.ServiceFound
	if len(s.Streams) == 0 {
		return nil
	}
	f := canary.Finding{
		Reason: canary.StreamPorts, Object: p.service(), Field: "spec.ports",
		Problem: fmt.Sprintf("Istio takes port %s for TCP: its connections reach ready canary pods %s%s", strings.Join(s.Streams, ", "), pinned, p.share()),
		Mend:    "If it speaks HTTP or gRPC, say so in the port's name or appProtocol; else know that clients of it meet the canary",
	}
	if len(s.Streams) == len(s.Ports) {
		f.Blocking = true
		f.Problem = "Istio takes all its ports for TCP: there are no requests to share out"
		f.Mend = "If it speaks HTTP or gRPC, say so in the ports' names or appProtocol"
	}
	return []canary.Finding{f}
}

// nameTaken finds objects of the names that we would make.
func (p preflight) nameTaken() []canary.Finding {
	var taken []canary.ObjectKey
	for _, d := range p.o.Deployments {
		if d.Name == CanaryName(p.asking()) && (d.CloneOf != p.asking() || !Ours(d.Doc, p.o.Service)) {
			taken = append(taken, p.deployment(d.Name))
		}
	}
	added := func(kind string) canary.ObjectKey { return p.m.key(p.o, kind, AddedName(p.asking())) }
	for _, r := range p.o.DestinationRules {
		if r.Key == added("DestinationRule") && !Ours(r.Doc, p.o.Service) {
			taken = append(taken, r.Key)
		}
	}
	for _, vs := range p.o.VirtualServices {
		if vs.Key == added("VirtualService") && !Ours(vs.Doc, p.o.Service) {
			taken = append(taken, vs.Key)
		}
	}
	found := make([]canary.Finding, len(taken))
	for i, key := range taken {
		found[i] = canary.Finding{
			Reason: canary.NameTaken, Blocking: true, Object: key, Field: "metadata.name",
			Problem: fmt.Sprintf("a release of %s in place makes a %s of this name, and this one is not of its making", p.asking(), key.Kind),
			Mend:    "Give it another name",
		}
	}
	return found
}

// subsetTaken finds subsets of the user's with the names of ours. Istio takes the
// first of a name, so that it might be theirs.
func (p preflight) subsetTaken() []canary.Finding {
	var found []canary.Finding
	for _, r := range p.base() {
		for i, s := range r.Subsets {
			if s.Name != p.q.Stable.Subset && s.Name != p.q.Canary.Subset {
				continue
			}
			found = append(found, canary.Finding{
				Reason: canary.NameTaken, Blocking: true, Object: r.Key, Field: fmt.Sprintf("spec.subsets[%d].name", i),
				Problem: fmt.Sprintf("a release in place makes a subset %s of its own for this host", s.Name),
				Mend:    "Give the subset another name",
			})
		}
	}
	return found
}

// hidesSubsets finds rules by which some clients would not know the subsets of a
// release.
func (p preflight) hidesSubsets() []canary.Finding {
	var found []canary.Finding
	for _, r := range hiding(p.o, p.m.Service) {
		f := canary.Finding{
			Reason: canary.RuleHidden, Blocking: true, Object: r.Key, Field: "spec.host",
			Problem: fmt.Sprintf("%s go by this rule (host %s) alone: the subsets of a release would not be there for them, and their requests fail with 503", goingBy(r), r.Host),
			Mend:    "Take the host out of this rule, and write what it says into a rule of namespace " + p.o.Namespace,
		}
		if r.Selected && r.Key.Namespace == p.o.Namespace {
			f.Field = "spec.workloadSelector"
			f.Mend = "Take the workloadSelector off, or the host out of this rule"
		}
		found = append(found, f)
	}
	return found
}

// rulePrivate finds rules of the user's that not all see who see the routes. The
// rule of a release is exported as they are: else Istio would not join the two, or
// others would come under a policy that was not meant for them.
func (p preflight) rulePrivate() []canary.Finding {
	var found []canary.Finding
	for _, r := range p.base() {
		to := exported(r.ExportTo, p.o.Namespace)
		f := canary.Finding{
			Reason: canary.RulePrivate, Object: r.Key, Field: "spec.exportTo",
			Mend: "Export it to all that see the routes, gateways too",
			YAML: "spec:\n  exportTo: [\"*\"]\n",
		}
		switch i := slices.IndexFunc(p.m.VirtualServices, func(vs VirtualService) bool { return p.seenBeyond(vs, to) }); {
		case slices.Contains(to, "*"):
			continue
		case i >= 0:
			f.Blocking = true
			f.Problem = fmt.Sprintf("it is exported to %s alone, and %s to others too: for these the subsets of a release would not be there, and their requests fail with 503",
				strings.Join(to, ", "), p.m.VirtualServices[i].Key)
		case !p.meshCovered():
			f.Problem = fmt.Sprintf("it is exported to %s alone, and so are the routes that a release makes for the mesh: clients in other namespaces reach ready canary pods %s%s",
				strings.Join(to, ", "), pinned, p.share())
		default:
			continue
		}
		found = append(found, f)
	}
	return found
}

// base are the rules of the user's in force, by which ours has to go.
func (p preflight) base() []DestinationRule {
	o := p.o
	o.DestinationRules = slices.DeleteFunc(slices.Clone(o.DestinationRules), func(r DestinationRule) bool { return Ours(r.Doc, o.Service) })
	return rulesInForce(o, p.m.Service)
}

// meshCovered tells that sidecars that call the Service go by routes of the user's.
func (p preflight) meshCovered() bool {
	return slices.ContainsFunc(p.o.VirtualServices, func(vs VirtualService) bool {
		return !Ours(vs.Doc, p.o.Service) && CoversMesh(p.o, vs)
	})
}

// seenBeyond tells that a VirtualService is seen in other namespaces than these,
// too. A delegate is seen by those who see one that delegates to it.
func (p preflight) seenBeyond(vs VirtualService, namespaces []string) bool {
	seen := []VirtualService{vs}
	if len(texts(child(vs.Doc, "spec"), "hosts")) == 0 {
		seen = slices.DeleteFunc(slices.Clone(p.o.VirtualServices), func(parent VirtualService) bool { return !delegates(parent, vs.Key) })
	}
	return slices.ContainsFunc(seen, func(vs VirtualService) bool {
		return slices.ContainsFunc(exported(texts(child(vs.Doc, "spec"), "exportTo"), vs.Key.Namespace), func(to string) bool {
			return to != "~" && !slices.Contains(namespaces, to)
		})
	})
}

// exported are the namespaces in which an object of Istio's is seen; "*" is all,
// "~" none.
func exported(to []string, own string) []string {
	if len(to) == 0 {
		return []string{"*"}
	}
	out := slices.Clone(to)
	for i := range out {
		if out[i] == "." {
			out[i] = own
		}
	}
	return out
}

// otherServices warns of those through which canary pods are reached too.
func (p preflight) otherServices() []canary.Finding {
	var found []canary.Finding
	for _, s := range p.o.Services {
		if s.Name == p.o.Service || s.Headless || !selects(s.Selector, p.canaryLabels()) {
			continue
		}
		found = append(found, canary.Finding{
			Reason: canary.UnmanagedClients, Object: p.m.key(p.o, "Service", s.Name), Field: "spec.selector",
			Problem: fmt.Sprintf("it selects the pods of %s too, and no release is about it: what is sent to it reaches ready canary pods %s%s", p.asking(), pinned, p.share()),
			Mend:    fmt.Sprintf("Let its clients call Service %s", p.o.Service),
		})
	}
	return found
}

func (p preflight) outsideMesh() []canary.Finding {
	s := p.o.ServiceFound
	if s.Type != "NodePort" && s.Type != "LoadBalancer" {
		return nil
	}
	return []canary.Finding{{
		Reason: canary.ClientsOutsideMesh, Object: p.service(), Field: "spec.type",
		Problem: fmt.Sprintf("it is of type %s: who calls it from outside the mesh goes by no route and reaches ready canary pods %s%s", s.Type, pinned, p.share()),
		Mend:    "Let them come by a gateway of Istio's, with a Service of type ClusterIP behind it",
	}}
}

// autoscalers warns of those that size the Deployment. What all pods of its
// selector use, divided by what one shall use, is how many it is given (Kubernetes,
// "Horizontal Pod Autoscaling"): a load that is shared out counts once, what each
// pod uses by itself counts for each.
func (p preflight) autoscalers() []canary.Finding {
	var found []canary.Finding
	for _, a := range p.o.Around.Autoscalers {
		if a.Target != p.asking() {
			continue
		}
		found = append(found, canary.Finding{
			Reason: canary.AutoscalerCounts, Object: a.Key, Field: "spec.metrics",
			Problem: fmt.Sprintf("it counts canary pods as pods of %s: what pods use without any load, like memory, is counted for both, so that it may add pods up to its maximum while a release lasts", a.Target),
			Mend:    "Let it go by what grows with the load, like CPU or requests; the canary follows the size that it gives",
		})
	}
	return found
}

// budgets warns of those that canary pods help to keep. Eviction compares the
// healthy pods of all controllers together with a number, or a part of all.
func (p preflight) budgets() []canary.Finding {
	var found []canary.Finding
	for _, b := range p.o.Around.Budgets {
		if b.Fixed || !selects(b.Selector, p.canaryLabels()) {
			continue
		}
		found = append(found, canary.Finding{
			Reason: canary.BudgetCounts, Object: b.Key, Field: "spec.selector",
			Problem: fmt.Sprintf("it counts canary pods too: so many more pods of %s may be evicted while a release lasts", p.asking()),
			Mend:    "Write it with maxUnavailable as a number, which holds for both together",
		})
	}
	return found
}
