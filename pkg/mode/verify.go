package mode

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"serin.dev/serin/pkg/route"
)

// verify is the last look at our own work before it is written: whatever went
// wrong before, a bad split never leaves this room. Weights keep their sums, the
// canary is never the only destination by our doing, its share is the ordered
// one (-1: the one it had), and nothing else changed but what stands there for a
// while: verifyBeside looks at that.
func verify(before, after map[string]any, svc route.Service, s Sides, share int) error {
	if !route.Equal(withoutHTTP(before), withoutHTTP(after)) {
		return errors.New("something besides spec.http changed")
	}
	old := userRoutes(before, svc, s)
	now := userRoutes(after, svc, s)
	if len(old) != len(now) {
		return fmt.Errorf("of %d routes %d are left", len(old), len(now))
	}
	var errs []error
	for i := range old {
		if err := verifyRoute(old[i], now[i], s, share); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", old[i].path, err))
		}
	}
	return errors.Join(errs...)
}

// verifyPins is verify for the routes of a release in place, as if all of them
// had been pinned always. While it lasts nothing that is the Service is left out;
// back at rest nothing names a subset of ours.
func verifyPins(before, after map[string]any, svc route.Service, s Sides, share int, rest bool) error {
	var errs []error
	for _, r := range route.Find(after, svc, s.Stable, s.Canary) {
		for _, d := range r.Destinations {
			pinned := d.Subset == s.Stable || d.Subset == s.Canary
			switch {
			case !d.ToService || pinned != rest:
			case rest:
				errs = append(errs, fmt.Errorf("%s.route[%d]: it still leads to %s", r.Path, d.Index, d.Subset))
			default:
				errs = append(errs, fmt.Errorf("%s.route[%d]: it leads past %s and %s", r.Path, d.Index, s.Stable, s.Canary))
			}
		}
	}
	errs = append(errs, verify(asPinned(before, svc, s, rest), asPinned(after, svc, s, rest), svc, s, share))
	return errors.Join(errs...)
}

// asPinned is the document with everything that is the Service leading to stable,
// if not to the canary. At rest a route that a hand led to the canary alone does
// too, for it has to go back to the Service. What it changes is copied, the rest is
// shared with the document given.
func asPinned(doc map[string]any, svc route.Service, s Sides, rest bool) map[string]any {
	spec, _ := doc["spec"].(map[string]any)
	all, _ := spec["http"].([]any)
	pinned := slices.Clone(all)
	for _, r := range route.Find(doc, svc, s.Stable, s.Canary) {
		alone := rest && !slices.ContainsFunc(r.Destinations, func(d route.Destination) bool {
			return d.ToService && d.Subset != s.Canary
		})
		entry, _ := all[r.Index].(map[string]any)
		items, _ := entry["route"].([]any)
		led := slices.Clone(items)
		for _, d := range r.Destinations {
			if d.ToService && (d.Subset != s.Canary || alone) {
				item, _ := items[d.Index].(map[string]any)
				to, _ := item["destination"].(map[string]any)
				led[d.Index] = with(item, "destination", with(to, "subset", s.Stable))
			}
		}
		pinned[r.Index] = with(entry, "route", led)
	}
	if pinned == nil {
		return doc
	}
	return with(doc, "spec", with(spec, "http", pinned))
}

// with is a copy of a map, its members shared, with one of them another.
func with(m map[string]any, key string, value any) map[string]any {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]any{}
	}
	out[key] = value
	return out
}

// userRoute is a route that isn't one of our own.
type userRoute struct {
	path  string
	entry map[string]any // but for what stands there for a while:

	copies  []any    // the entries of its mirrors that are the canary's
	cookies []string // that its destinations add; empty where one adds none

	ours  bool // leads to the Service, so that its weights are ours to move
	route route.Route
}

func userRoutes(doc map[string]any, svc route.Service, s Sides) []userRoute {
	found := map[int]route.Route{}
	for _, r := range route.Find(doc, svc, s.Stable, s.Canary) {
		found[r.Index] = r
	}
	spec, _ := doc["spec"].(map[string]any)
	items, _ := spec["http"].([]any)
	var all []userRoute
	for i, item := range items {
		r, ours := found[i]
		if r.Own() {
			continue
		}
		entry, _ := item.(map[string]any)
		u := userRoute{path: fmt.Sprintf("spec.http[%d]", i), entry: entry, ours: ours, route: r}
		if ours {
			u.entry = plain(entry, r, svc, namespaceOf(doc), s)
			mirrors, _ := entry["mirrors"].([]any)
			u.copies = slices.DeleteFunc(slices.Clone(mirrors), func(m any) bool { return !toCanary(m, svc, namespaceOf(doc), s) })
			items, _ := entry["route"].([]any)
			for _, to := range items {
				destination, _ := to.(map[string]any)
				u.cookies = append(u.cookies, cookieOf(destination))
			}
		}
		all = append(all, u)
	}
	return all
}

func verifyRoute(old, now userRoute, s Sides, share int) error {
	if route.Equal(old.entry, now.entry) && (!old.route.Serves() || share < 0) {
		return nil
	}
	switch {
	case !old.ours || !old.route.Serves():
		return errors.New("a route that is not ours to move changed")
	case !route.Equal(without(old.entry, "route"), without(now.entry, "route")):
		return errors.New("something besides the destinations changed")
	case !comes(now, old, s) || !comes(old, now, s):
		return errors.New("a destination was changed besides its subset and its weight")
	case !route.Equal(extras(old, s), extras(now, s)):
		return errors.New("a destination that is neither stable nor canary changed")
	case old.route.Sum != now.route.Sum:
		return fmt.Errorf("the weights of %s and %s summed to %d, now to %d", s.Stable, s.Canary, old.route.Sum, now.route.Sum)
	case negative(now):
		return errors.New("a weight is negative")
	}
	got := now.route.Share()
	switch {
	case share < 0 && got != old.route.Share():
		return fmt.Errorf("the canary's share was %d%%, now %d%%", old.route.Share(), got)
	case share == 0 && got != 0, share == 100 && got != 100, share > 0 && share < 100 && (got == 0 || got == 100):
		return fmt.Errorf("the canary's share is ordered to be %d%% and is %d%%", share, got)
	case share >= 0 && len(now.route.Destinations) == 1 && now.route.Destinations[0].Subset == s.Canary:
		return errors.New("the canary is the only destination")
	}
	return nil
}

// comes tells that each version's destination of a route is, but for its subset and its
// weight, one of another.
func comes(now, old userRoute, s Sides) bool {
	from, to := versions(old, s), versions(now, s)
	for _, d := range to {
		if !slices.ContainsFunc(from, func(o map[string]any) bool { return route.Equal(d, o) }) {
			return false
		}
	}
	return true
}

// versions are a route's destinations of either side, without subset and weight.
func versions(r userRoute, s Sides) (out []map[string]any) {
	items, _ := r.entry["route"].([]any)
	for _, d := range r.route.Destinations {
		if item, _ := items[d.Index].(map[string]any); d.ToService && (d.Subset == s.Stable || d.Subset == s.Canary) {
			to, _ := item["destination"].(map[string]any)
			out = append(out, without(with(item, "destination", without(to, "subset")), "weight"))
		}
	}
	return out
}

// extras are the destinations that belong to neither side.
func extras(r userRoute, s Sides) []any {
	items, _ := r.entry["route"].([]any)
	kept := []any{}
	for _, d := range r.route.Destinations {
		if !d.ToService || d.Subset != s.Stable && d.Subset != s.Canary {
			kept = append(kept, items[d.Index])
		}
	}
	return kept
}

func negative(r userRoute) bool {
	items, _ := r.entry["route"].([]any)
	for _, item := range items {
		d, _ := item.(map[string]any)
		switch w := d["weight"].(type) {
		case int64:
			if w < 0 {
				return true
			}
		case float64:
			if w < 0 {
				return true
			}
		}
	}
	return false
}

// withoutHTTP is the document but for its HTTP routes; a shallow copy.
func withoutHTTP(doc map[string]any) map[string]any {
	out := without(doc, "spec")
	if spec, ok := doc["spec"].(map[string]any); ok {
		out["spec"] = without(spec, "http")
	}
	return out
}

func without(m map[string]any, key string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if k != key {
			out[k] = v
		}
	}
	return out
}

// object is the map under a key, made if there is none.
func object(node map[string]any, key string) map[string]any {
	if m, ok := node[key].(map[string]any); ok {
		return m
	}
	m := map[string]any{}
	node[key] = m
	return m
}
