package topology

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"serin.dev/serin/pkg/canary"
)

func orElse(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func annotationField(key string) string { return "metadata.annotations[" + key + "]" }

func annotationYAML(key, value string) string {
	return fmt.Sprintf("metadata:\n  annotations:\n    %s: %s\n", key, value)
}

// didYouMean ends a mend: the name that was meant, or those there are.
func didYouMean(name string, known []string) string {
	if meant := canary.Suggest(name, known); meant != "" {
		return fmt.Sprintf("; did you mean %s?", meant)
	}
	if len(known) == 0 {
		return "; there is none"
	}
	known = slices.Sorted(slices.Values(known))
	if len(known) > 5 {
		known = append(known[:5:5], "...")
	}
	return "; there are: " + strings.Join(known, ", ")
}

func serviceNames(o Objects) []string {
	names := make([]string, len(o.Services))
	for i, s := range o.Services {
		names[i] = s.Name
	}
	return names
}

func labelList(labels map[string]string) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return strings.Join(pairs, ", ")
}

// distinct is the pod label by which the two sides differ, as people choose it:
// version before all others. Empty when no label does.
func (p preflight) distinct() string {
	a := p.subject().TemplateLabels
	var rest []string
	for _, d := range p.o.Deployments {
		if d.Name == p.q.Canary.Deployment {
			continue
		}
		for _, key := range append([]string{"version", "app.kubernetes.io/version"}, slices.Sorted(maps.Keys(a))...) {
			if a[key] != "" && d.TemplateLabels[key] != "" && a[key] != d.TemplateLabels[key] {
				rest = append(rest, key)
			}
		}
	}
	if len(rest) == 0 {
		return ""
	}
	return rest[0]
}

// distinctHint ends a mend with what stands before it: labels that differ.
func (p preflight) distinctHint() string {
	if len(p.o.Deployments) > 1 && p.distinct() == "" {
		return "; first give the pod templates a label in which they differ, like version"
	}
	return ""
}

// subsetYAML is a subset for one Deployment, as an entry of spec.subsets.
func (p preflight) subsetYAML(deployment string) string {
	d, _ := ByName(p.o, deployment)
	key := p.distinct()
	if key == "" {
		key = "version"
	}
	value := d.TemplateLabels[key]
	if value == "" {
		return ""
	}
	name := value
	switch deployment {
	case p.q.Stable.Deployment:
		name = orElse(p.q.Stable.Subset, value)
	case p.q.Canary.Deployment:
		name = orElse(p.q.Canary.Subset, value)
	}
	return fmt.Sprintf("- name: %s\n  labels:\n    %s: %s\n", name, key, value)
}

// subsetsYAML is the subsets of both sides.
func (p preflight) subsetsYAML() string {
	if p.distinct() == "" {
		return ""
	}
	yaml := p.subsetYAML(p.q.Stable.Deployment) + p.subsetYAML(p.q.Canary.Deployment)
	return "subsets:\n" + yaml
}

func (p preflight) ruleYAML() string {
	subsets := p.subsetsYAML()
	if subsets == "" {
		return ""
	}
	return fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: %[1]s\n  namespace: %[2]s\nspec:\n  host: %[1]s\n  %[3]s",
		p.o.Service, p.o.Namespace, strings.ReplaceAll(strings.TrimSuffix(subsets, "\n"), "\n", "\n  ")+"\n")
}

func (p preflight) virtualServiceYAML() string {
	subset := p.q.Stable.Subset
	if subset == "" {
		if d, found := ByName(p.o, p.q.Stable.Deployment); found && p.distinct() != "" {
			subset = d.TemplateLabels[p.distinct()]
		}
	}
	return fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: %[1]s\n  namespace: %[2]s\nspec:\n  hosts: [%[1]s]\n  http:\n  - route:\n    - destination:\n        host: %[1]s\n        subset: %[3]s\n",
		p.o.Service, p.o.Namespace, orElse(subset, "STABLE"))
}
