package mode

import (
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
)

// CheckSpec finds what Preflight can't, which knows no steps, no header and no
// cookies: the routes that can't carry them. t is between which subsets traffic would move,
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
		own, _, err := CopyOn(vs, o.Service)
		if mirrors(spec) && (err != nil || !pastMirrors(own)) {
			found = append(found, route.Mirroring(vs.Doc, svc, t, own.Marks)...)
			found = append(found, above(o, vs.Key, route.MirroringAbove)...)
		}
		if spec.Sticky == canary.StickyCookie {
			t.Sticky = &anySticky
			found = append(found, route.Unsticky(vs.Doc, svc, t, own.Marks)...)
			found = append(found, above(o, vs.Key, route.UnstickyAbove)...)
		}
	}
	return found
}

// above looks at all that hand over to a VirtualService: what their routes say counts
// for its routes.
func above(o topology.Objects, to canary.ObjectKey, look func(map[string]any, canary.ObjectKey) []canary.Finding) (found []canary.Finding) {
	for _, parent := range o.VirtualServices {
		found = append(found, look(parent.Doc, to)...)
	}
	return found
}

// anySticky stands for the cookies of whichever release: routes that can't carry them
// can't for any.
var anySticky = canary.Sticky{Cookie: "serin", Canary: "canary", Stable: "stable", MaxAge: time.Second}

// mirrors tells that the steps begin with copies.
func mirrors(spec canary.Spec) bool {
	return len(spec.Steps) > 0 && spec.Steps[0].Mirror > 0
}

// pastMirrors tells that a release is under way and sends no copies any more.
func pastMirrors(s canary.State) bool {
	return s.Phase.Active() && s.Step > 0 && s.Step <= len(s.Spec.Steps) && s.Spec.Steps[s.Step-1].Mirror == 0
}
