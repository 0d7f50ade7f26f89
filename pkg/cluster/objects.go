package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// Concerns tells whether a Service has anything to do with canary releases: a
// Deployment of its asks for them or carries the guard's mark, a VirtualService
// carries its state, or something that Serin made for it is left.
func (c *Cache) Concerns(k Key) bool {
	if len(list[*routes](c.routes, byState, k.String())) > 0 || c.left(k) {
		return true
	}
	for _, d := range c.deploymentsOf(k) {
		if topology.OptedIn(d.reduced) || marked(d.reduced) {
			return true
		}
	}
	return false
}

// Active tells whether a rollout of a Service is under way, as far as its
// VirtualServices say.
func (c *Cache) Active(k Key) bool { return len(list[*routes](c.routes, byActive, k.String())) > 0 }

// left tells that something exists that Serin made for a Service.
func (c *Cache) left(k Key) bool {
	for _, s := range []set{c.deployments, c.rules, c.routes} {
		if len(list[any](s, byPurpose, k.String())) > 0 {
			return true
		}
	}
	return false
}

// Objects gives everything around a Service, without its History. Where pods
// or ReplicaSets could not be read they are missing and the error says why: what
// takes traffic away from a canary must not wait for them, all else should.
func (c *Cache) Objects(ctx context.Context, k Key) (topology.Objects, error) {
	var err error
	o := topology.Objects{
		ClusterDomain: c.options.ClusterDomain,
		RootNamespace: c.options.RootNamespace,
		Namespace:     k.Namespace,
		Service:       k.Name,
		Services:      c.servicesReduced(k.Namespace),
	}
	slices.SortFunc(o.Services, func(a, b topology.Service) int { return strings.Compare(a.Name, b.Name) })
	if s, ok := get[*service](c.services, k.Namespace, k.Name); ok {
		o.ServiceFound = &s.reduced
	}
	if n, ok := get[*namespace](c.namespaces, "", k.Namespace); ok {
		o.NamespaceLabels = n.Labels
	}
	deployments, errs := c.handOut(ctx, k)
	o.Deployments = deployments
	o.DestinationRules, err = c.rulesOf(k)
	errs = append(errs, err)
	o.CanaryPods, err = c.canaryPods(ctx, k, o.ServiceFound)
	errs = append(errs, err)
	o.Around, err = c.aroundOf(ctx, k.Namespace, o.Deployments)
	errs = append(errs, err)
	o.VirtualServices, err = c.routesOf(k, siblings(k, o))
	return o, errors.Join(append(errs, err)...)
}

// handOut are the Service's Deployments with their ReplicaSets and pods. Where
// one Deployment is alone, and no release is remembered, there is nothing to
// compare it with, and its pods are not read.
func (c *Cache) handOut(ctx context.Context, k Key) (out []topology.Deployment, errs []error) {
	found := c.deploymentsOf(k)
	updated := c.updatedInPlace(found)
	alone := len(found) == 1 && !updated[found[0].Name] && len(list[*routes](c.routes, byState, k.String())) == 0
	for _, d := range found {
		reduced, err := d.handOut()
		if !alone {
			err = errors.Join(err, c.pods.fill(ctx, k, d, updated[d.Name], &reduced))
		}
		errs = append(errs, err)
		out = append(out, reduced)
	}
	return out, errs
}

// deploymentsOf are the Deployments a Service selects, or that believe to be
// released through it, and canaries made for it, by name.
func (c *Cache) deploymentsOf(k Key) []*deployment {
	selector := labels.Nothing()
	if s, ok := get[*service](c.services, k.Namespace, k.Name); ok && len(s.reduced.Selector) > 0 {
		selector = labels.SelectorFromSet(s.reduced.Selector)
	}
	var services []topology.Service // read only when some Deployment comes into question
	var out []*deployment
	for _, d := range list[*deployment](c.deployments, cache.NamespaceIndex, k.Namespace) {
		if d.reduced.CloneOf != "" && d.madeFor() == k.String() {
			out = append(out, d)
			continue
		}
		if !mayBelong(d, k.Name, selector) {
			continue
		}
		if services == nil {
			services = c.servicesReduced(k.Namespace)
		}
		if len(topology.DeploymentsOf(k.Name, []topology.Deployment{d.reduced}, services)) > 0 {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b *deployment) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// mayBelong is a quick look before the thorough one, which goes through all
// Services of the namespace: a Deployment belongs to a Service that selects it,
// that it names, or whose name it has.
func mayBelong(d *deployment, name string, selector labels.Selector) bool {
	return d.Name == name || strings.TrimSpace(d.reduced.Annotations[ServiceLabel]) == name ||
		selector.Matches(labels.Set(d.reduced.TemplateLabels))
}

// rulesOf are the DestinationRules whose host may mean the Service, and those
// made for it.
func (c *Cache) rulesOf(k Key) (out []topology.DestinationRule, err error) {
	found := list[*rule](c.rules, byPurpose, k.String())
	for _, target := range []string{k.String(), anyService} {
		for _, r := range list[*rule](c.rules, byService, target) {
			if r.madeFor() != k.String() {
				found = append(found, r)
			}
		}
	}
	var errs []error
	for _, r := range found {
		reduced, err := r.handOut()
		errs = append(errs, err)
		out = append(out, reduced)
	}
	slices.SortFunc(out, func(a, b topology.DestinationRule) int { return compareKeys(a.Key, b.Key) })
	return out, errors.Join(errs...)
}

// siblings are the Service and all others that select its Deployments, like a
// headless twin: which of them a release is about is told by the routes.
func siblings(k Key, o topology.Objects) []Key {
	names := []string{k.Name}
	for _, d := range o.Deployments {
		names = append(names, topology.ServicesOf(d, o.Services)...)
	}
	var keys []Key
	for _, name := range unique(names) {
		keys = append(keys, Key{Namespace: k.Namespace, Name: name})
	}
	return keys
}

// routesOf are the VirtualServices that lead to the Services or carry their
// state, those made for k, and those that bear on them: of the same hosts, or
// delegating to them.
func (c *Cache) routesOf(k Key, services []Key) ([]topology.VirtualService, error) {
	found := map[string]*routes{}
	add := func(all []*routes) {
		for _, r := range all {
			found[r.Namespace+"/"+r.Name] = r
		}
	}
	add(list[*routes](c.routes, byPurpose, k.String()))
	for _, k := range services {
		add(list[*routes](c.routes, byService, k.String()))
	}
	for _, r := range slices.Collect(maps.Values(found)) {
		add(list[*routes](c.routes, byDelegate, r.Namespace+"/"+r.Name))
		for _, h := range r.hosts {
			add(list[*routes](c.routes, byHost, h))
		}
	}
	var out []topology.VirtualService
	var errs []error
	for _, r := range found {
		v, err := r.decode()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b topology.VirtualService) int { return compareKeys(a.Key, b.Key) })
	return out, errors.Join(errs...)
}

func compareKeys(a, b canary.ObjectKey) int { return strings.Compare(a.String(), b.String()) }

// Revisions are the kept releases of a Service, oldest first. They are shared:
// copy before a change.
func (c *Cache) Revisions(k Key) []*appsv1.ControllerRevision {
	var out []*appsv1.ControllerRevision
	for _, r := range list[*revision](c.revisions, byService, k.String()) {
		out = append(out, r.full)
	}
	slices.SortFunc(out, func(a, b *appsv1.ControllerRevision) int {
		if n := int(a.Revision - b.Revision); n != 0 {
			return n
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

// DeploymentUID names a Deployment for an Event; empty if it is not there.
func (c *Cache) DeploymentUID(ns, name string) string {
	if d, ok := get[*deployment](c.deployments, ns, name); ok {
		return string(d.UID)
	}
	return ""
}

// Stale asks the API server for the objects as they are now and names one that has
// another version there than was read of it; nil when none has. What the caches hold
// by now does not count: it may have come after the decision.
// Kinds other than VirtualService, DestinationRule and Deployment are an error.
func (c *Cache) Stale(ctx context.Context, read map[canary.ObjectKey]string) (*canary.ObjectKey, error) {
	for k, version := range read {
		live, err := c.liveVersion(ctx, k)
		if err != nil {
			return nil, fmt.Errorf("read %s as it is now: %w", k, err)
		}
		if live != version {
			return &k, nil
		}
	}
	return nil, nil
}

// Carrier asks the API server itself for a VirtualService in a Service's namespace that
// carries the state of one of its rollouts; nil when there is none. One that was just
// made may be in no cache yet.
func (c *Cache) Carrier(ctx context.Context, k Key, rollout string) (*canary.ObjectKey, error) {
	all, err := c.options.Dynamic.Resource(istioKind("virtualservices")).Namespace(k.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the VirtualServices of namespace %s: %w", k.Namespace, err)
	}
	for i := range all.Items {
		v := &all.Items[i]
		// What can't be read is nobody's state.
		if s, err := canary.DecodeState(v.GetAnnotations()[canary.StatePrefix+k.Name]); err == nil && s.Rollout == rollout {
			return &canary.ObjectKey{Kind: "VirtualService", Namespace: v.GetNamespace(), Name: v.GetName()}, nil
		}
	}
	return nil, nil
}

// liveVersion is the version that an object has at the API server. Nothing else is
// read of the answer: of a large object the rest would cost more than the question.
func (c *Cache) liveVersion(ctx context.Context, k canary.ObjectKey) (string, error) {
	group := istioKind("").GroupVersion()
	switch k.Kind {
	case "VirtualService", "DestinationRule":
	case "Deployment":
		group = appsv1.SchemeGroupVersion
	default:
		return "", fmt.Errorf("no such kind is read here: %s", k.Kind)
	}
	result := c.options.Kube.CoreV1().RESTClient().Get().
		AbsPath("/apis", group.Group, group.Version, "namespaces", k.Namespace, strings.ToLower(k.Kind)+"s", k.Name).
		SetHeader("Accept", "application/json").Do(ctx)
	if err := result.Error(); err != nil {
		return "", err
	}
	body, err := result.Raw()
	if err != nil {
		return "", err
	}
	var o struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	err = json.Unmarshal(body, &o)
	return o.Metadata.ResourceVersion, err
}
