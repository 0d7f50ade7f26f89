package route

import (
	"fmt"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// KeyOf is the key of a document, as its metadata has it.
func KeyOf(doc map[string]any) canary.ObjectKey {
	meta := object(doc["metadata"])
	return canary.ObjectKey{Kind: "VirtualService", Namespace: text(meta["namespace"]), Name: text(meta["name"])}
}

// Repeated finds the routes that name a subset of the Service more than once:
// which of the destinations a share would be of is unclear.
func Repeated(doc map[string]any, svc Service) []canary.Finding {
	var out []canary.Finding
	for _, r := range Find(doc, svc, "", "") {
		seen := map[string]bool{}
		for _, d := range r.Destinations {
			if d.ToService && d.Subset != "" && seen[d.Subset] {
				out = append(out, canary.Finding{
					Reason: canary.SubsetAmbiguous, Blocking: true, Object: KeyOf(doc),
					Field:   fmt.Sprintf("%s.route[%d]", r.Path, d.Index),
					Problem: fmt.Sprintf("the route names subset %s of %s more than once", d.Subset, svc),
					Mend:    "Make the destinations of one subset a single one.",
				})
			}
			seen[d.Subset] = seen[d.Subset] || d.ToService
		}
	}
	return out
}

// Pinnable finds the routes that cannot be pinned and carry a weight: they lead
// to the Service by several destinations, two subsets of one Deployment say, and
// which of them a share would be of is unclear. It blocks. Routes that are pinned
// already are read as what they are.
func Pinnable(doc map[string]any, svc Service, t canary.Traffic) []canary.Finding {
	var out []canary.Finding
	for _, r := range Find(doc, svc, t.Stable, t.Canary) {
		users := r.besides(t.Canary)
		if len(users) < 2 {
			continue
		}
		out = append(out, canary.Finding{
			Reason: canary.SubsetAmbiguous, Blocking: true, Object: KeyOf(doc),
			Field:   fmt.Sprintf("%s.route[%d]", r.Path, users[1]),
			Problem: fmt.Sprintf("the route leads to %s by %d destinations; a release in place shares out the requests of one", svc, len(users)),
			Mend:    "Lead the route to the Service by a single destination: until a release all its pods are of one version.",
		})
	}
	return out
}

// Coarse finds the routes whose weights cannot express some of the shares, in
// percent. It blocks where Apply would refuse; it warns where the canary would
// get another share than ordered by a percentage point or more. With t.Pin it is
// of the routes as they would be pinned.
func Coarse(doc map[string]any, svc Service, t canary.Traffic, shares []int) []canary.Finding {
	var out []canary.Finding
	for _, r := range Find(planned(doc, svc, t), svc, t.Stable, t.Canary) {
		if !r.Serves() {
			continue
		}
		for _, w := range shares {
			c, ok := part(r.Sum, w)
			off := c*100 - w*r.Sum
			if ok && max(off, -off) < r.Sum {
				continue
			}
			problem := coarse(r, svc, t, w)
			if ok {
				problem += fmt.Sprintf("; the nearest is %d of %d", c, r.Sum)
			}
			mend := finer(svc, t)
			out = append(out, canary.Finding{
				Reason: canary.WeightsTooCoarse, Blocking: !ok, Object: KeyOf(doc),
				Field: r.Path + ".route", Problem: problem,
				Mend: strings.ToUpper(mend[:1]) + mend[1:] + ".",
			})
			break
		}
	}
	return out
}

// coarse says that a route cannot carry a weight.
func coarse(r Route, svc Service, t canary.Traffic, weight int) string {
	if t.Pin {
		return fmt.Sprintf("a weight of %d for %s cannot be shared out at %d%%", r.Sum, svc, weight)
	}
	return fmt.Sprintf("weights that sum to %d cannot express %d%%", r.Sum, weight)
}

// finer is the mend of it.
func finer(svc Service, t canary.Traffic) string {
	if t.Pin {
		return fmt.Sprintf("multiply all weights of the route, so that %s has 100 or more", svc)
	}
	return fmt.Sprintf("write weights of %s and %s that sum to 100", t.Stable, t.Canary)
}

// Unreachable finds the routes on which the header cannot lead to the canary,
// because their own condition on the same header and ours cannot both be said
// in one. It never blocks: users are not concerned. With t.Pin it is of the
// routes as they would be pinned.
func Unreachable(doc map[string]any, svc Service, t canary.Traffic) []canary.Finding {
	if t.Header == nil || checkHeader(*t.Header) != nil {
		return nil
	}
	var out []canary.Finding
	for _, r := range Find(planned(doc, svc, t), svc, t.Stable, t.Canary) {
		for i, m := range r.Matches {
			if _, clear := withHeader(m, *t.Header); clear || !r.Serves() {
				continue
			}
			name, _ := matcherOf(*t.Header)
			out = append(out, canary.Finding{
				Reason: canary.HeaderUnreachable, Object: KeyOf(doc),
				Field:   fmt.Sprintf("%s.match[%d].headers.%s", r.Path, i, name),
				Problem: fmt.Sprintf("the route has its own condition on the header %s, which cannot be combined with the one that leads to the canary", name),
				Mend:    "Choose another header in serin.dev/header.",
			})
		}
	}
	return out
}
