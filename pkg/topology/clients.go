package topology

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// conflicts finds VirtualServices that take part but that the mesh ignores: of
// several for one host the oldest wins whole.
func (p preflight) conflicts() []canary.Finding {
	var found []canary.Finding
	claims := p.claims()
	for _, vs := range p.m.VirtualServices {
		older, host, loses := p.loses(vs, claims)
		if !loses {
			continue
		}
		f := canary.Finding{
			Reason: canary.VirtualServiceConflict, Blocking: true, Object: vs.Key, Field: "spec.hosts",
			Problem: fmt.Sprintf("%s is older and has the mesh's host %s too: the mesh goes by that one alone and ignores this one", older.Key, host),
			Mend:    "Make the two one VirtualService",
		}
		if Ours(older.Doc, p.o.Service) {
			f.Blocking = false
			f.Problem = fmt.Sprintf("%s, which the release made for host %s, is older: the mesh goes by that one until the release ends, then by this one", older.Key, host)
			f.Mend = ""
		}
		found = append(found, f)
	}
	return found
}

// claims are the VirtualServices by the mesh's hosts that they have, oldest first:
// anybody may make many of them, for many hosts.
func (p preflight) claims() map[string][]VirtualService {
	all := map[string][]VirtualService{}
	for _, vs := range p.o.VirtualServices {
		for _, host := range p.meshHosts(vs) {
			all[host] = append(all[host], vs)
		}
	}
	for _, some := range all {
		sort.SliceStable(some, func(i, j int) bool { return before(some[i], some[j]) })
	}
	return all
}

// loses finds the VirtualService by which the mesh goes instead of this one.
func (p preflight) loses(vs VirtualService, claims map[string][]VirtualService) (older VirtualService, host string, loses bool) {
	for _, host := range p.meshHosts(vs) {
		for _, other := range claims[host] {
			if !before(other, vs) {
				break
			}
			if other.Key != vs.Key && visible(other, vs.Key.Namespace) {
				return other, host, true
			}
		}
	}
	return VirtualService{}, "", false
}

// before is Istio's order: by age, then by name.
func before(a, b VirtualService) bool {
	if c := a.Created.Compare(b.Created); c != 0 {
		return c < 0
	}
	return cmp.Less(a.Key.Name+"."+a.Key.Namespace, b.Key.Name+"."+b.Key.Namespace)
}

// visible tells whether proxies of a namespace see a VirtualService at all.
func visible(vs VirtualService, namespace string) bool {
	to := texts(child(vs.Doc, "spec"), "exportTo")
	if len(to) == 0 || vs.Key.Namespace == namespace && slices.Contains(to, ".") {
		return true
	}
	return slices.Contains(to, "*") || slices.Contains(to, namespace)
}

// meshHosts are the hosts, in full, for which sidecars go by a VirtualService.
func (p preflight) meshHosts(vs VirtualService) []string {
	spec := child(vs.Doc, "spec")
	gateways := texts(spec, "gateways")
	if len(gateways) > 0 && !slices.Contains(gateways, "mesh") {
		return nil
	}
	hosts := texts(spec, "hosts")
	for i, host := range hosts {
		hosts[i] = p.full(host, vs.Key.Namespace)
	}
	return hosts
}

func (p preflight) full(host, namespace string) string {
	switch {
	case p.m.Service.Matches(host, namespace):
		host = p.m.Service.Name + "." + p.m.Service.Namespace
	case !strings.Contains(host, "."):
		host += "." + namespace
	default:
		return strings.ToLower(host)
	}
	return host + ".svc." + p.o.ClusterDomain
}

// unmanaged warns about clients in the mesh that call the Service itself while
// only gateways go by our routes.
func (p preflight) unmanaged() []canary.Finding {
	if len(p.m.VirtualServices) == 0 || slices.ContainsFunc(p.m.VirtualServices, p.coversMesh) {
		return nil
	}
	return []canary.Finding{{
		Reason: canary.UnmanagedClients, Object: p.service(),
		Problem: fmt.Sprintf("no route of the mesh leads to it, only gateways' do: other clients in the mesh reach canary pods past any weight, %s", p.share()),
		Mend:    "Add a VirtualService for the mesh",
		YAML:    p.virtualServiceYAML(),
	}}
}

// coversMesh tells that sidecars calling the Service go by this VirtualService,
// or by one that delegates to it.
func (p preflight) coversMesh(vs VirtualService) bool {
	full := p.m.Service.Name + "." + p.m.Service.Namespace + ".svc." + p.o.ClusterDomain
	covers := func(vs VirtualService) bool {
		return slices.ContainsFunc(p.meshHosts(vs), func(host string) bool {
			tail, wild := strings.CutPrefix(host, "*")
			return host == full || wild && strings.HasSuffix(full, tail)
		})
	}
	return covers(vs) || slices.ContainsFunc(p.o.VirtualServices, func(parent VirtualService) bool {
		return delegates(parent, vs.Key) && covers(parent)
	})
}

func delegates(parent VirtualService, to canary.ObjectKey) bool {
	for _, r := range list(child(parent.Doc, "spec"), "http") {
		d := child(r, "delegate")
		name, _ := d["name"].(string)
		namespace, _ := d["namespace"].(string)
		if name == to.Name && orElse(namespace, parent.Key.Namespace) == to.Namespace {
			return true
		}
	}
	return false
}

// others warns about VirtualServices that lead to the Service and that we
// leave alone. In the Service's own namespace, where the team can mend it, one
// that leads users to the canary is in the way.
func (p preflight) others() []canary.Finding {
	var found []canary.Finding
	for _, vs := range p.m.Others {
		foreign := vs.Key.Namespace != p.o.Namespace
		f := canary.Finding{
			Reason: canary.ForeignVirtualService, Object: vs.Key,
			Problem: "it leads to the Service but is not among the VirtualServices of " + virtualServiceKey + ": its routes are left as they are",
			Mend:    "Add it to the annotation " + virtualServiceKey,
		}
		if foreign {
			f.Problem = "it leads to the Service from another namespace: its routes are left as they are"
			f.Mend = "Move the routes into namespace " + p.o.Namespace + ", or delegate to a VirtualService there"
		}
		if field, why, leaks := p.leaksTo(vs); leaks {
			f.Field, f.Blocking = field, !foreign
			f.Problem += ", and " + why
		}
		found = append(found, f)
	}
	return found
}

// leaksTo tells where a VirtualService that we leave alone gives users to the canary.
func (p preflight) leaksTo(vs VirtualService) (field, why string, leaks bool) {
	for _, r := range p.routes(vs) {
		for _, d := range r.Destinations {
			field := fmt.Sprintf("%s.route[%d].destination", r.Path, d.Index)
			switch {
			case !d.ToService || d.Weight == 0 && len(r.Destinations) > 1:
			case d.Subset == "":
				return field, "a destination without subset reaches ready canary pods past any weight, " + p.share(), true
			case d.Subset != p.q.Canary.Subset && p.reaches(d.Subset):
				return field, fmt.Sprintf("a destination to subset %s reaches ready canary pods past any weight, %s", d.Subset, p.share()), true
			case d.Subset == p.q.Canary.Subset && r.Serves():
				return field, fmt.Sprintf("it gives the canary %d%% of its requests", r.Share()), true
			}
		}
	}
	return "", "", false
}

// reaches tells that a subset of the user's selects canary pods.
func (p preflight) reaches(subset string) bool {
	s, known := p.m.subset(subset)
	return known && (len(s.Labels) == 0 || selects(s.Labels, p.canaryLabels()))
}

// canaryLabels are the labels of the canary's pods, which may not be there yet.
func (p preflight) canaryLabels() map[string]string {
	if !p.q.InPlace {
		return p.subject().TemplateLabels
	}
	labels := map[string]string{TrackKey: TrackCanary}
	maps.Copy(labels, p.subject().TemplateLabels)
	return labels
}

// share says how many of the requests that name no subset reach the canary.
func (p preflight) share() string {
	if _, made := ByName(p.o, p.q.Canary.Deployment); p.q.InPlace && !made {
		return p.shareToBe()
	}
	part, all := 0, 0
	for _, d := range p.o.Deployments {
		ready := d.Ready
		if d.Name == p.q.Canary.Deployment {
			ready = cmp.Or(d.Ready, d.Replicas) // before it is ready: what it will be
			part = ready
		}
		all += ready
	}
	if all == 0 {
		return inProportion
	}
	return "about " + percent(part, all)
}

// shareToBe is share for a canary that grows with its weight, from one pod to as
// many as the Deployment has.
func (p preflight) shareToBe() string {
	switch n := p.subject().Replicas; n {
	case 0:
		return inProportion
	case 1:
		return "about 50%"
	default:
		return fmt.Sprintf("about %s with one canary pod, 50%% at the last step", percent(1, n+1))
	}
}

const inProportion = "in proportion to the pods"

func percent(part, all int) string { return fmt.Sprintf("%d%%", (200*part+all)/(2*all)) }
