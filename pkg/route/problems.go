package route

import (
	"fmt"

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

// Coarse finds the routes whose weights cannot express some of the shares, in
// percent. It blocks where Apply would refuse; it warns where the canary would
// get another share than ordered by a percentage point or more.
func Coarse(doc map[string]any, svc Service, stable, canarySubset string, shares []int) []canary.Finding {
	var out []canary.Finding
	for _, r := range Find(doc, svc, stable, canarySubset) {
		if !r.Serves() {
			continue
		}
		for _, w := range shares {
			c, ok := part(r.Sum, w)
			off := c*100 - w*r.Sum
			if ok && max(off, -off) < r.Sum {
				continue
			}
			problem := fmt.Sprintf("weights that sum to %d cannot express %d%%", r.Sum, w)
			if ok {
				problem += fmt.Sprintf("; the nearest is %d of %d", c, r.Sum)
			}
			out = append(out, canary.Finding{
				Reason: canary.WeightsTooCoarse, Blocking: !ok, Object: KeyOf(doc),
				Field: r.Path + ".route", Problem: problem,
				Mend: fmt.Sprintf("Write weights of %s and %s that sum to 100.", stable, canarySubset),
			})
			break
		}
	}
	return out
}

// Unreachable finds the routes on which the header cannot lead to the canary,
// because their own condition on the same header and ours cannot both be said
// in one. It never blocks: users are not concerned.
func Unreachable(doc map[string]any, svc Service, t canary.Traffic) []canary.Finding {
	if t.Header == nil || checkHeader(*t.Header) != nil {
		return nil
	}
	var out []canary.Finding
	for _, r := range Find(doc, svc, t.Stable, t.Canary) {
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
