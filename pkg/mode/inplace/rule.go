package inplace

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
)

// writtenKey is the annotation of our DestinationRule that says when its subsets
// were last written, for proxies take a while to learn of them.
const writtenKey = "serin.dev/written"

const writtenFormat = "2006-01-02T15:04:05.000Z07:00"

// istioVersion is what our objects are of where the user has none to go by.
const istioVersion = "networking.istio.io/v1"

// subsetsOf are the subsets of our rule; a name is empty where it has no such
// subset, or one of other pods.
func subsetsOf(r topology.DestinationRule) (out canary.Subsets) {
	for _, s := range r.Subsets {
		hash, hashed := s.Labels[podHash]
		switch {
		case s.Name == CanarySubset && maps.Equal(s.Labels, canaryLabels()):
			out.Canary = s.Name
		case s.Name == StableSubset && (len(s.Labels) == 0 || hashed && len(s.Labels) == 1):
			out.Stable, out.Pods = s.Name, hash
		}
	}
	return out
}

func canaryLabels() map[string]string {
	return map[string]string{topology.TrackKey: topology.TrackCanary}
}

func writtenAt(r topology.DestinationRule) time.Time {
	text, _ := child(child(r.Doc, "metadata"), "annotations")[writtenKey].(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// base is the user's rule that ours stands beside or, where it is a less
// specific one or Istio's root namespace has it, instead of.
type base struct {
	rules []topology.DestinationRule // of one host, as Istio merges them; empty: the user has none
	hides bool                       // ours hides them, so that it has to say all they say
}

// beside is the base of our rule. Rules for some clients only are none.
func (s scene) beside() base {
	o := s.o
	o.DestinationRules = slices.DeleteFunc(slices.Clone(o.DestinationRules), func(r topology.DestinationRule) bool {
		return r.Selected || r.Key.Namespace == o.Namespace && topology.Ours(r.Doc, o.Service)
	})
	b := base{rules: topology.Find(o, topology.Hints{}).Rules}
	if len(b.rules) > 0 {
		first := b.rules[0]
		b.hides = first.Key.Namespace != o.Namespace || !s.service.Matches(first.Host, first.Key.Namespace)
	}
	return b
}

// exportTo is who may see our rule and our routes: Istio merges rules of one host
// only where that is the same, and a route must not name a subset that its client
// can't see.
func (b base) exportTo() []any {
	var out []any
	if len(b.rules) > 0 {
		for _, to := range b.rules[0].ExportTo {
			out = append(out, to)
		}
	}
	return out
}

// policy is the trafficPolicy of the host, or of a subset of it.
func (b base) policy(subset string) any {
	for _, r := range b.rules {
		spec := child(r.Doc, "spec")
		if subset == "" {
			if policy := spec["trafficPolicy"]; policy != nil {
				return policy
			}
			continue
		}
		for _, item := range list(spec, "subsets") {
			if object(item)["name"] == subset {
				return object(item)["trafficPolicy"]
			}
		}
	}
	return nil
}

// tells that some subset of the user's has a policy of its own.
func (b base) tells() bool {
	return slices.ContainsFunc(b.subsets(), func(item any) bool { return object(item)["trafficPolicy"] != nil })
}

// subsets are all of the user's, each name once, as Istio merges them.
func (b base) subsets() (out []any) {
	var seen []string
	for _, r := range b.rules {
		for _, item := range list(child(r.Doc, "spec"), "subsets") {
			if name, _ := object(item)["name"].(string); !slices.Contains(seen, name) {
				seen, out = append(seen, name), append(out, item)
			}
		}
	}
	return out
}

// shadowed is the first of the user's subsets with a policy of its own to which a
// pinned destination led.
func (s scene) shadowed(b base) string {
	if !b.tells() {
		return ""
	}
	for _, vs := range s.taking() {
		doc := vs.Doc
		if own, found, err := mode.CopyOn(vs, s.o.Service); found && err == nil {
			doc = route.Unpin(doc, s.service, StableSubset, CanarySubset, own.Marks)
		}
		for _, r := range route.Find(doc, s.service, StableSubset, CanarySubset) {
			for _, d := range r.Destinations {
				if d.ToService && d.Subset != "" && b.policy(d.Subset) != nil {
					return d.Subset
				}
			}
		}
	}
	return ""
}

// ruleSpec is the spec of our DestinationRule.
func (s scene) ruleSpec(want canary.Subsets) (map[string]any, error) {
	b := s.beside()
	spec := map[string]any{"host": s.host()}
	if len(b.rules) > 0 && !b.hides {
		spec["host"] = b.rules[0].Host
	}
	if to := b.exportTo(); len(to) > 0 {
		spec["exportTo"] = to
	}
	stable := map[string]any{"name": StableSubset}
	if want.Pods != "" {
		stable["labels"] = map[string]any{podHash: want.Pods}
	}
	labels := map[string]any{}
	for key, value := range canaryLabels() {
		labels[key] = value
	}
	track := map[string]any{"name": CanarySubset, "labels": labels}
	if name := s.shadowed(b); name != "" {
		stable["trafficPolicy"], track["trafficPolicy"] = b.policy(name), b.policy(name)
	}
	subsets := []any{stable, track}
	if b.hides {
		for _, r := range b.rules {
			if r.Doc == nil {
				return nil, fmt.Errorf("%s is not known whole, and ours would hide it", r.Key)
			}
		}
		subsets = append(b.subsets(), subsets...)
		if policy := b.policy(""); policy != nil {
			spec["trafficPolicy"] = policy
		}
	}
	spec["subsets"] = subsets
	return spec, nil
}

// host is the Service's name in full.
func (s scene) host() string {
	return s.o.Service + "." + s.o.Namespace + ".svc." + s.o.ClusterDomain
}

// renderRule gives the write by which our DestinationRule has the wanted subsets;
// none when it has.
func (s scene) renderRule(want canary.Subsets, now time.Time, why canary.Reason) ([]mode.Write, error) {
	key := s.key("DestinationRule", topology.AddedName(s.name))
	have, found := s.rule()
	if !found && slices.ContainsFunc(s.o.DestinationRules, func(r topology.DestinationRule) bool { return r.Key == key }) {
		return nil, taken(key)
	}
	spec, err := s.ruleSpec(want)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", key, err)
	}
	w := mode.Write{Verb: mode.Update, Key: key, ResourceVersion: have.ResourceVersion, Why: why}
	doc := route.Clone(have.Doc)
	if !found {
		w.Verb = mode.Create
		if doc, err = s.fresh(key); err != nil {
			return nil, fmt.Errorf("render %s: %w", key, err)
		}
	}
	metadata := child(doc, "metadata")
	doc["spec"] = spec
	before := subsetsOf(have)
	want.Stable, want.Canary = StableSubset, CanarySubset
	ahead := writtenAt(have).After(now.Add(canary.ClockTolerance)) // of a clock that was wrong
	if !found || before != want || ahead || writtenAt(have).IsZero() || child(have.Doc, "spec")["host"] != spec["host"] {
		put(metadata, "annotations", writtenKey, now.UTC().Format(writtenFormat))
	}
	if found && route.Equal(doc, have.Doc) {
		return nil, nil
	}
	if found {
		metadata["resourceVersion"] = have.ResourceVersion
	}
	if w.Body, err = mode.Body(doc); err != nil {
		return nil, fmt.Errorf("render %s: %w", key, err)
	}
	return []mode.Write{w}, nil
}

// fresh is an object of ours without a spec. It goes with the Service that it is
// for.
func (s scene) fresh(key canary.ObjectKey) (map[string]any, error) {
	if s.o.ServiceFound == nil || s.o.ServiceFound.UID == "" {
		return nil, errors.New("there is no Service that could own it: create the Service")
	}
	return map[string]any{
		"apiVersion": istioVersion,
		"kind":       key.Kind,
		"metadata": map[string]any{
			"name": key.Name, "namespace": key.Namespace,
			"labels": map[string]any{topology.ManagedByKey: topology.ManagedBy, topology.ServiceLabel: s.o.Service},
			"ownerReferences": []any{map[string]any{
				"apiVersion": "v1", "kind": "Service", "name": s.o.Service, "uid": s.o.ServiceFound.UID,
			}},
		},
	}, nil
}

func (s scene) key(kind, name string) canary.ObjectKey {
	return canary.ObjectKey{Kind: kind, Namespace: s.o.Namespace, Name: name}
}

func taken(key canary.ObjectKey) error {
	return fmt.Errorf("%s exists and is not one of ours: rename or delete it", key)
}
