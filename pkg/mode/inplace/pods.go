package inplace

import (
	"errors"
	"fmt"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
)

// renderPods gives the write by which the canary has the pods that are ordered;
// none when it has them, or when they have to wait for others to go.
func (s scene) renderPods(want *canary.Pods, why canary.Reason) ([]mode.Write, error) {
	var writes []mode.Write
	have, found := s.clone()
	fits := want != nil && (want.Template == "" || want.Template == have.CloneTemplate)
	for _, d := range s.clones {
		if d.Name != have.Name || !fits {
			writes = append(writes, mode.Write{
				Verb: mode.Delete, Key: s.key("Deployment", d.Name), ResourceVersion: d.ResourceVersion, Why: why,
			})
		}
	}
	switch {
	case len(writes) > 0 || want == nil:
		return writes, nil
	case found:
		return mode.RenderScale(s.o.Namespace, have, between(have.Replicas, *want, s.user.Replicas), why)
	}
	return s.renderClone(*want, why)
}

// between is the number of replicas nearest to the present one that carries at
// least and at most what is wanted, of a Deployment of so many.
func between(present int, want canary.Pods, all int) int {
	least := canary.PodsFor(want.Least, all)
	most := max(least, canary.PodsFor(want.Most, all))
	return min(max(present, least), most)
}

// renderClone makes the canary Deployment. It waits until no pod of one before is
// left, and is not made of another template than the ordered one.
func (s scene) renderClone(want canary.Pods, why canary.Reason) ([]mode.Write, error) {
	key := s.key("Deployment", topology.CanaryName(s.name))
	template := want.Template
	if template == "" && want.Least > 0 {
		template = s.state.Canary.Template // made anew for those who are on it
	}
	if _, exists := topology.ByName(s.o, key.Name); exists {
		return nil, taken(key)
	}
	if !s.there || s.o.CanaryPods > 0 || template == "" || template != s.user.TemplateHash {
		return nil, nil
	}
	doc, err := s.cloneOf(key, between(0, want, s.user.Replicas))
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", key, err)
	}
	body, err := mode.Body(doc)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", key, err)
	}
	return []mode.Write{{Verb: mode.Create, Key: key, Body: body, Why: why}}, nil
}

// cloneOf is the canary Deployment: the spec of the user's, with one label more
// on the pods, by which the canary's subset and its own selector know them.
// Nothing of the user's metadata is copied, which would make tools take it for
// theirs.
func (s scene) cloneOf(key canary.ObjectKey, replicas int) (map[string]any, error) {
	spec := route.Clone(child(s.user.Doc, "spec"))
	if child(spec, "template") == nil || s.user.UID == "" {
		return nil, errors.New("the Deployment it is a copy of is not known whole")
	}
	delete(spec, "paused")
	spec["replicas"] = int64(replicas)
	put(made(spec, "selector"), "matchLabels", topology.TrackKey, topology.TrackCanary)
	put(made(child(spec, "template"), "metadata"), "labels", topology.TrackKey, topology.TrackCanary)
	return map[string]any{
		"apiVersion": "apps/v1",
		"kind":       key.Kind,
		"metadata": map[string]any{
			"name": key.Name, "namespace": key.Namespace,
			"labels": map[string]any{
				topology.ManagedByKey: topology.ManagedBy,
				topology.ServiceLabel: s.o.Service,
				topology.TrackKey:     topology.TrackCanary,
			},
			"annotations": map[string]any{topology.TemplateKey: s.user.TemplateHash},
			"ownerReferences": []any{map[string]any{
				"apiVersion": "apps/v1", "kind": "Deployment", "name": s.user.Name, "uid": s.user.UID, "controller": true,
			}},
		},
		"spec": spec,
	}, nil
}
