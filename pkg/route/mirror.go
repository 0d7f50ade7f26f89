package route

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// This file sends the canary copies of requests, and ends it. Istio's list of
// mirrors is used, and never the single mirror beside it, so that what is ours is
// one field of a route: there is none of the user's, or the order is refused.

// mirrorFields are all fields of a route by which Istio sends copies. Of the single
// mirror and the list it takes one only, and each share is of one of them.
var mirrorFields = []string{"mirror", "mirrors", "mirrorPercentage", "mirrorPercent", "mirror_percent"}

// mirrorField is the field that is ours.
const mirrorField = "mirrors"

// mirrorsTo lists whom a route sends copies of its requests, with the share in
// percent: 100 where none is written.
func mirrorsTo(entry map[string]any) (to []map[string]any, shares []float64) {
	if single := object(entry["mirror"]); single != nil {
		to, shares = append(to, single), append(shares, percentage(entry["mirrorPercentage"]))
	}
	for _, item := range list(entry[mirrorField]) {
		policy := object(item)
		to, shares = append(to, object(policy["destination"])), append(shares, percentage(policy["percentage"]))
	}
	return to, shares
}

func percentage(field any) float64 {
	written := object(field)
	if written == nil {
		return 100
	}
	if whole, ok := number(written["value"]); ok {
		return float64(whole)
	}
	share, _ := written["value"].(float64)
	return share
}

// mirrored is the greatest share, in percent, of the users' requests of which a
// subset is sent a copy. One that is not nothing is 1 at least.
func mirrored(doc map[string]any, routes []Route, svc Service, subset string) int {
	most := 0.0
	for _, r := range routes {
		if !r.Serves() {
			continue
		}
		to, shares := mirrorsTo(object(httpOf(doc)[r.Index]))
		for i, destination := range to {
			if svc.Matches(text(destination["host"]), namespaceOf(doc)) && text(destination["subset"]) == subset {
				most = max(most, shares[i])
			}
		}
	}
	return int(math.Ceil(most))
}

// mirrorMark remembers a mirror of ours: >v2=10: for one to v2 of 10%. It is of no
// route: what it says is on each that is edited, and an entry that says the same is
// ours.
type mirrorMark struct {
	subset string
	share  int
}

func (m mirrorMark) String() string { return fmt.Sprintf(">%s=%d:", m.subset, m.share) }

func parseMirrorMarks(marks []string) []mirrorMark {
	var out []mirrorMark
	for _, s := range marks {
		rest, found := strings.CutPrefix(strings.TrimSuffix(s, ":"), ">")
		subset, share, _ := strings.Cut(rest, "=")
		if n, err := strconv.Atoi(share); found && err == nil {
			out = append(out, mirrorMark{subset, n})
		}
	}
	return out
}

// stripMirrors takes the mirrors out that the marks tell of. Those of anybody else,
// who may have added one beside ours, stay. Where a route has none of the marked share,
// those of any share to the same subset are taken for ours, changed by a hand: there
// were none when ours came, and the canary's copies must have an end.
func stripMirrors(doc map[string]any, svc Service, marks []mirrorMark) {
	if len(marks) == 0 {
		return
	}
	for _, r := range Find(doc, svc, "", "") {
		entry := object(httpOf(doc)[r.Index])
		exact := func(to map[string]any, share float64) bool {
			return svc.Matches(text(to["host"]), namespaceOf(doc)) && slices.ContainsFunc(marks, func(m mirrorMark) bool {
				return text(to["subset"]) == m.subset && share == float64(m.share)
			})
		}
		if !dropMirrors(entry, exact) {
			dropMirrors(entry, func(to map[string]any, _ float64) bool {
				return svc.Matches(text(to["host"]), namespaceOf(doc)) && slices.ContainsFunc(marks, func(m mirrorMark) bool { return text(to["subset"]) == m.subset })
			})
		}
	}
}

// stripMirrorsTo takes out whatever sends copies to a subset that is there by us alone.
func stripMirrorsTo(doc map[string]any, svc Service, subset string) {
	for _, r := range Find(doc, svc, "", "") {
		dropMirrors(object(httpOf(doc)[r.Index]), func(to map[string]any, _ float64) bool {
			return svc.Matches(text(to["host"]), namespaceOf(doc)) && text(to["subset"]) == subset
		})
	}
}

// dropMirrors takes some entries out of a route's list, and tells whether there were any.
func dropMirrors(entry map[string]any, which func(to map[string]any, share float64) bool) (some bool) {
	all := list(entry[mirrorField])
	kept := slices.DeleteFunc(slices.Clone(all), func(item any) bool {
		policy := object(item)
		return which(object(policy["destination"]), percentage(policy["percentage"]))
	})
	switch {
	case len(kept) == len(all):
		return false
	case len(kept) == 0:
		delete(entry, mirrorField)
	default:
		entry[mirrorField] = kept
	}
	return true
}

// withoutCopies takes out of a route what sends copies to one of its own destinations
// that has no users: that is how another Service's release sends them, and on a route
// of ours it would stay when that release has taken them off.
func withoutCopies(entry map[string]any) {
	all := list(entry["route"])
	dropMirrors(entry, func(to map[string]any, _ float64) bool {
		return len(all) > 1 && slices.ContainsFunc(all, func(item any) bool {
			weight, _ := number(object(item)["weight"])
			return weight == 0 && reflect.DeepEqual(object(object(item)["destination"]), to)
		})
	})
}

// placeMirrors has each serving route send copies to the canary's destination. It
// gives the mark, and reports whether each has one. It is for documents without
// mirrors of ours.
func placeMirrors(doc map[string]any, svc Service, t canary.Traffic) (mark string, complete bool) {
	complete = true
	for _, r := range Find(doc, svc, t.Stable, t.Canary) {
		if !r.Serves() {
			continue
		}
		entry := object(httpOf(doc)[r.Index])
		if len(r.at(t.Canary)) == 0 || takenMirror(entry) != "" {
			complete = false
			continue
		}
		to := object(object(list(entry["route"])[r.at(t.Canary)[0]])["destination"])
		entry[mirrorField] = []any{map[string]any{
			"destination": cloneObject(to),
			"percentage":  map[string]any{"value": int64(t.Mirror)},
		}}
		mark = mirrorMark{t.Canary, t.Mirror}.String()
	}
	return mark, complete
}

// takenMirror is a field by which a route sends copies already; empty: none. An empty
// one counts, for nothing would tell that it had been there.
func takenMirror(entry map[string]any) string {
	for _, field := range mirrorFields {
		if _, found := entry[field]; found {
			return field
		}
	}
	return ""
}

const (
	mirrorTaken = "the route sends copies of its requests already, and those to the canary would stand in their place"
	mirrorMend  = "take the mirror steps out of serin.dev/steps, or the %s out of the route while there is a release"
)

// fitsMirror tells why a route cannot send copies to the canary, and the mend.
func fitsMirror(entry map[string]any, r Route) error {
	field := takenMirror(entry)
	if field == "" || !r.Serves() {
		return nil
	}
	return fmt.Errorf("%s.%s: %s: "+mirrorMend, r.Path, field, mirrorTaken, field)
}

// Mirroring finds the routes that cannot send copies of their requests to the canary,
// since they send copies already. It blocks. Mirrors of ours, as the marks tell, don't
// count. With t.Pin it is of the routes as they would be pinned.
func Mirroring(doc map[string]any, svc Service, t canary.Traffic, marks []string) []canary.Finding {
	bare := withRoutes(doc)
	stripMirrors(bare, svc, parseMirrorMarks(marks))
	var out []canary.Finding
	for _, r := range Find(planned(bare, svc, t), svc, t.Stable, t.Canary) {
		field := takenMirror(object(httpOf(bare)[r.Index]))
		if field == "" || !r.Serves() {
			continue
		}
		out = append(out, canary.Finding{
			Reason: canary.MirrorTaken, Blocking: true, Object: KeyOf(doc),
			Field: r.Path + "." + field, Problem: mirrorTaken, Mend: sentence(fmt.Sprintf(mirrorMend, field)),
		})
	}
	return out
}

// MirroringAbove finds the routes of a VirtualService that hand over to another one and
// send copies themselves. Istio takes these for routes behind that send none, so that
// with ours they would end. It blocks.
func MirroringAbove(doc map[string]any, to canary.ObjectKey) []canary.Finding {
	var out []canary.Finding
	for path, entry := range handedOver(doc, to) {
		if field := takenMirror(entry); field != "" {
			out = append(out, canary.Finding{
				Reason: canary.MirrorTaken, Blocking: true, Object: KeyOf(doc),
				Field: path + "." + field, Problem: mirrorTaken, Mend: sentence(fmt.Sprintf(mirrorMend, field)),
			})
		}
	}
	return out
}

// handedOver are the routes that delegate to a VirtualService, by their paths.
func handedOver(doc map[string]any, to canary.ObjectKey) iter.Seq2[string, map[string]any] {
	return func(yield func(string, map[string]any) bool) {
		for i, item := range httpOf(doc) {
			delegate := object(object(item)["delegate"])
			namespace := cmp.Or(text(delegate["namespace"]), namespaceOf(doc))
			if text(delegate["name"]) == to.Name && namespace == to.Namespace && !yield(fmt.Sprintf("spec.http[%d]", i), object(item)) {
				return
			}
		}
	}
}

// sentence is a mend as a sentence of its own.
func sentence(mend string) string { return strings.ToUpper(mend[:1]) + mend[1:] + "." }
