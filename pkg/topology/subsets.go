package topology

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// rules finds what is wrong with the subsets of the two sides.
func (p preflight) rules() []canary.Finding {
	if len(p.m.Rules) == 0 {
		return []canary.Finding{{
			Reason: canary.RuleMissing, Blocking: true, Object: p.service(),
			Problem: "no DestinationRule has subsets for this host, so no route can tell the versions apart",
			Mend:    "Create one with a subset for each version" + p.distinctHint(),
			YAML:    p.ruleYAML(),
		}}
	}
	canaryHint, stableHint := p.m.Hints.CanarySubset, p.m.Hints.StableSubset
	found := p.side("the canary", p.q.Canary, canaryHint, canarySubsetKey)
	if p.q.Stable.Deployment != "" {
		found = append(found, p.side("stable", p.q.Stable, stableHint, stableSubsetKey)...)
	}
	if p.q.Canary.Subset != "" && p.q.Canary.Subset == p.q.Stable.Subset {
		found = append(found, canary.Finding{
			Reason: canary.SubsetAmbiguous, Blocking: true, Object: p.m.Rules[0].Key, Field: p.field(p.q.Canary.Subset),
			Problem: fmt.Sprintf("subset %s is the canary's and stable's", p.q.Canary.Subset),
			Mend:    "Give each version a subset of its own" + p.distinctHint(),
		})
	}
	return found
}

// side checks the subset of one side.
func (p preflight) side(who string, r Role, hint, key string) []canary.Finding {
	if hint != "" && !p.q.Active {
		return p.hinted(who, r, hint, key)
	}
	if r.Subset != "" {
		return p.selectsOnly(who, r)
	}
	var selecting []string
	for _, s := range p.m.Subsets {
		if slices.Contains(selectedBy(s, p.o), r.Deployment) {
			selecting = append(selecting, s.Name)
		}
	}
	f := canary.Finding{Blocking: true, Object: p.m.Rules[0].Key, Field: "spec.subsets"}
	switch own := p.m.exclusive(p.o, r.Deployment); {
	case len(own) > 1:
		f.Reason = canary.SubsetAmbiguous
		f.Problem = fmt.Sprintf("subsets %s all select the pods of Deployment %s", strings.Join(own, ", "), r.Deployment)
		f.Mend = fmt.Sprintf("Say which one is %s's with the annotation %s", who, key)
		f.YAML = annotationYAML(key, own[0])
	case len(selecting) > 0:
		f.Reason = canary.SubsetAmbiguous
		f.Field = p.field(selecting[0])
		f.Problem = fmt.Sprintf("subset %s selects the pods of several Deployments: %s", selecting[0], strings.Join(p.selected(selecting[0]), ", "))
		f.Mend = "Give each version a subset of its own" + p.distinctHint()
		f.YAML = p.subsetsYAML()
	default:
		f.Reason = canary.SubsetMissing
		f.Problem = fmt.Sprintf("no subset selects the pods of Deployment %s, which is %s", r.Deployment, who)
		f.Mend = "Add one" + p.distinctHint()
		f.YAML = p.subsetYAML(r.Deployment)
	}
	return []canary.Finding{f}
}

// hinted checks the subset that an annotation names.
func (p preflight) hinted(who string, r Role, hint, key string) []canary.Finding {
	if _, found := p.m.subset(hint); !found {
		other := p.q.Stable.Subset
		if key == stableSubsetKey {
			other = p.q.Canary.Subset
		}
		known := slices.DeleteFunc(p.subsetNames(), func(name string) bool { return name == other })
		return []canary.Finding{{
			Reason: canary.SubsetMissing, Blocking: true,
			Object: p.deployment(p.q.Canary.Deployment), Field: annotationField(key),
			Problem: fmt.Sprintf("no DestinationRule of Service %s has a subset %s", p.o.Service, hint),
			Mend:    "Name one that exists, or leave the annotation out" + didYouMean(hint, known),
		}}
	}
	return p.selectsOnly(who, Role{r.Deployment, hint})
}

// selectsOnly checks that a side's subset exists, and selects that side alone.
func (p preflight) selectsOnly(who string, r Role) []canary.Finding {
	f := canary.Finding{Blocking: true, Object: p.m.Rules[0].Key, Field: p.field(r.Subset)}
	by := p.selected(r.Subset)
	switch _, known := p.m.subset(r.Subset); {
	case !known:
		f.Reason, f.Field = canary.SubsetMissing, "spec.subsets"
		f.Problem = fmt.Sprintf("subset %s, which is %s's, does not exist: requests to it fail with 503", r.Subset, who)
		f.Mend = "Add it" + didYouMean(r.Subset, p.subsetNames())
		f.YAML = p.subsetYAML(r.Deployment)
	case r.Deployment == "":
		return nil
	case !slices.Contains(by, r.Deployment):
		if _, there := ByName(p.o, r.Deployment); !there {
			return nil // a deleted Deployment is no fault of the subset's
		}
		f.Reason = canary.SubsetMissing
		f.Problem = fmt.Sprintf("subset %s does not select the pods of Deployment %s, which is %s", r.Subset, r.Deployment, who)
		f.Mend = "Make its labels those of the pod template" + p.distinctHint()
	case len(by) > 1:
		f.Reason = canary.SubsetAmbiguous
		f.Problem = fmt.Sprintf("subset %s selects the pods of several Deployments: %s", r.Subset, strings.Join(by, ", "))
		f.Mend = "Give each version a subset of its own" + p.distinctHint()
		f.YAML = p.subsetsYAML()
	default:
		return nil
	}
	return []canary.Finding{f}
}

// routedSubsets finds destinations that name a subset nobody has.
func (p preflight) routedSubsets() []canary.Finding {
	if len(p.m.Rules) == 0 {
		return nil
	}
	var found []canary.Finding
	for _, vs := range p.m.VirtualServices {
		for _, r := range p.routes(vs) {
			for _, d := range r.Destinations {
				_, known := p.m.subset(d.Subset)
				if !d.ToService || d.Subset == "" || known || d.Subset == p.q.Canary.Subset || d.Subset == p.q.Stable.Subset {
					continue
				}
				found = append(found, canary.Finding{
					Reason: canary.SubsetMissing, Blocking: true, Object: vs.Key,
					Field:   fmt.Sprintf("%s.route[%d].destination.subset", r.Path, d.Index),
					Problem: fmt.Sprintf("no DestinationRule has a subset %s: requests to it fail with 503", d.Subset),
					Mend:    "Add the subset, or name one that exists" + didYouMean(d.Subset, p.subsetNames()),
				})
			}
		}
	}
	return found
}

// hidden finds rules by which some clients don't know the subsets, or know others
// of the same names.
func (p preflight) hidden() []canary.Finding {
	var found []canary.Finding
	for _, r := range hiding(p.o, p.m.Service) {
		var lacks []string
		for _, name := range []string{p.q.Stable.Subset, p.q.Canary.Subset} {
			ours, known := p.m.subset(name)
			i := slices.IndexFunc(r.Subsets, func(s Subset) bool { return s.Name == name })
			if known && (i < 0 || !maps.Equal(r.Subsets[i].Labels, ours.Labels)) {
				lacks = append(lacks, name)
			}
		}
		if len(lacks) == 0 {
			continue
		}
		found = append(found, canary.Finding{
			Reason: canary.RuleHidden, Blocking: true, Object: r.Key, Field: "spec.host",
			Problem: fmt.Sprintf("for %s this rule (host %s) hides %s, so that subset %s is not there or another one",
				goingBy(r), r.Host, p.m.Rules[0].Key, strings.Join(lacks, " and ")),
			Mend: "Take the host out of this rule, or give it the same subsets",
			YAML: p.subsetsYAML(),
		})
	}
	return found
}

// goingBy says which clients a rule that hides others is for.
func goingBy(r DestinationRule) string {
	clients := "clients in namespace " + r.Key.Namespace
	if r.Selected {
		clients += " that its workloadSelector picks"
	}
	return clients
}

func (p preflight) selected(subset string) []string {
	s, found := p.m.subset(subset)
	if !found {
		return nil
	}
	return selectedBy(s, p.o)
}

// field is the path of a subset in the rule that has it; rules are unioned, so
// it is exact only for the first.
func (p preflight) field(subset string) string {
	for i, s := range p.m.Rules[0].Subsets {
		if s.Name == subset {
			return fmt.Sprintf("spec.subsets[%d]", i)
		}
	}
	return "spec.subsets"
}

func (p preflight) subsetNames() []string {
	names := make([]string, len(p.m.Subsets))
	for i, s := range p.m.Subsets {
		names[i] = s.Name
	}
	return names
}
