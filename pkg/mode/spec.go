package mode

import (
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
)

// CheckSpec finds what Preflight can't, which knows no steps and no header: the
// routes that can't carry them. t is between which subsets traffic would move,
// and how.
func CheckSpec(o topology.Objects, t canary.Traffic, spec canary.Spec) []canary.Finding {
	if spec.Header.Name != "" {
		t.Header = &spec.Header
	}
	weights := make([]int, len(spec.Steps))
	for i, step := range spec.Steps {
		weights[i] = step.Weight
	}
	svc := topology.RouteService(o)
	var found []canary.Finding
	for _, vs := range topology.Find(o, Hints(o)).VirtualServices {
		if t.Pin {
			found = append(found, route.Pinnable(vs.Doc, svc, t)...)
		} else {
			found = append(found, route.Repeated(vs.Doc, svc)...)
		}
		found = append(found, route.Coarse(vs.Doc, svc, t, weights)...)
		found = append(found, route.Unreachable(vs.Doc, svc, t)...)
	}
	return found
}
