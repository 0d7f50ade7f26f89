package route

import (
	"net/url"
	"slices"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// This file takes the user's destinations for stable's, and gives them back. A
// release in place has to: its canary's pods are pods of the same Service, and
// of whatever subset the user made, so that a route to either would give them
// users as soon as they are ready.

// Pinned is the document with every destination that is the Service, whatever
// subset it names, leading to t.Stable. Those that lead to t.Canary and
// everything else stay. It is what routes are before Apply shares them out, for
// those who check them.
func Pinned(doc map[string]any, svc Service, t canary.Traffic) map[string]any {
	out := withRoutes(doc)
	pin(out, svc, t, nil, identities(httpOf(out)))
	return out
}

// planned is the document as t will find it.
func planned(doc map[string]any, svc Service, t canary.Traffic) map[string]any {
	if t.Pin {
		return Pinned(doc, svc, t)
	}
	return doc
}

// Unpin takes off what Apply put on with Pin: routes of our own, copies, cookies,
// everything that leads to the canary, and stable's subset, for which each destination gets back
// the one it had. All weight goes to stable, and a lone destination gets back the
// weight that was written. Where the marks are lost, or a route is no longer the
// one that was marked, a destination is left without a subset and a lone one
// without a weight. A route that a hand led to the canary alone leads to the
// Service then.
func Unpin(doc map[string]any, svc Service, stable, canarySubset string, marks []string) map[string]any {
	out := cloneObject(doc)
	strip(out, svc, marks)
	stripMirrorsTo(out, svc, canarySubset)
	for _, r := range Find(out, svc, stable, canarySubset) {
		if len(r.besides(canarySubset)) == 0 {
			name(object(httpOf(out)[r.Index]), r.at(canarySubset)[0], stable)
		}
	}
	pins := pin(out, svc, canary.Traffic{Stable: stable, Canary: canarySubset}, parseMarks(marks), identities(httpOf(out)))
	for _, r := range Find(out, svc, stable, canarySubset) {
		entry, m := object(httpOf(out)[r.Index]), pins[r.Index]
		unsplit(entry, r, stable, canarySubset, m)
		had := strings.Split(m.subset, ",")
		left, _ := read(entry, svc, namespaceOf(out))
		for i, at := range left.besides(canarySubset) {
			restore(entry, at, nth(had, i))
		}
	}
	return out
}

// pin names stable's subset in every destination that is the Service, and gives
// the marks by the routes' indexes. Of destinations that are pinned already, and
// of a weight that we wrote, the old mark knows what they were.
func pin(doc map[string]any, svc Service, t canary.Traffic, old map[string]mark, ids []string) map[int]mark {
	pins := map[int]mark{}
	for _, r := range Find(doc, svc, t.Stable, t.Canary) {
		users, before := r.besides(t.Canary), old[ids[r.Index]]
		if before.kind != pinned {
			before = mark{}
		}
		switch {
		case r.Own():
			continue
		case len(users) == 0: // a hand led it to the canary alone
			if before.kind == pinned {
				pins[r.Index] = before
			}
			continue
		}
		entry, fresh := object(httpOf(doc)[r.Index]), false
		had := strings.Split(before.subset, ",")
		var names []string
		for i, at := range users {
			subset := nth(had, i)
			if r.Destinations[at].Subset != t.Stable {
				subset, fresh = written(entry, at), true
				name(entry, at, t.Stable)
			}
			names = append(names, subset)
		}
		m := mark{kind: pinned, subset: joined(names), origin: before.origin}
		if before.kind == 0 || fresh && len(r.at(t.Canary)) == 0 {
			m.origin = weightOf(entry, r, t.Canary)
		}
		pins[r.Index] = m
	}
	return pins
}

// weightOf is the origin of a pinned route's weight, as a mark has it. Beside a
// canary the weight of a lone destination is one that we wrote, and the user's
// is not known any more.
func weightOf(entry map[string]any, r Route, canarySubset string) string {
	canaries := len(r.at(canarySubset))
	switch {
	case len(r.Destinations)-canaries > 1:
		return "*"
	case canaries > 0:
		return ""
	}
	return addition(entry, 0, "").origin
}

// A subset in a mark is written so that no name is taken for two: escaped, with
// nothing for none, and a sign of its own for a name that is written and empty.
const emptyName = "!"

// written is the subset of a destination, as marks have it.
func written(entry map[string]any, at int) string {
	subset, found := object(object(list(entry["route"])[at])["destination"])["subset"]
	if found && text(subset) == "" {
		return emptyName
	}
	return url.QueryEscape(text(subset))
}

// restore gives a destination the subset that written told of.
func restore(entry map[string]any, at int, subset string) {
	destination := object(object(list(entry["route"])[at])["destination"])
	switch name, err := url.QueryUnescape(subset); {
	case subset == "" || err != nil:
		delete(destination, "subset")
	case subset == emptyName:
		destination["subset"] = ""
	default:
		destination["subset"] = name
	}
}

func name(entry map[string]any, at int, subset string) {
	object(object(list(entry["route"])[at])["destination"])["subset"] = subset
}

// joined are the subsets of a route's destinations in one; only the first of
// them if all are the same.
func joined(subsets []string) string {
	if len(slices.Compact(slices.Clone(subsets))) == 1 {
		return subsets[0]
	}
	return strings.Join(subsets, ",")
}

// nth is the subset of a route's nth destination, of what was joined.
func nth(subsets []string, n int) string {
	switch {
	case len(subsets) == 1:
		return subsets[0]
	case n < len(subsets):
		return subsets[n]
	}
	return ""
}
