package route

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"serin.dev/serin/pkg/canary"
)

// Apply gives the document in which every route that serves the Service carries
// t, and the marks of what was added to do so. It is absolute: it may be applied
// to any earlier result, and applied twice it is as applied once. The document
// given is not changed, and nothing of it is shared with the result.
//
// In each route the weights of the two subsets keep their sum; other
// destinations keep their weights. Both subsets are always written, at 0 and at
// 100 too, since a lone destination gets everything whatever its weight.
//
// With t.Pin every destination that is the Service becomes one of t.Stable
// first, also where nobody gets requests by it; see Pinned.
//
// With t.Mirror each of these routes sends the canary's subset copies, in the field
// mirrors. With t.Sticky, at weights between 0 and 100, the destinations set the
// cookie of their version, and routes before it lead who brings the cookie to that
// version alone; both have to be without fault on each route.
//
// It is refused whole, with all errors at once, if t is invalid, or if some
// route cannot carry t.Weight: it names no subset, leads to one twice, or its
// weights are too coarse; or if one cannot carry t.Mirror or t.Sticky. At weight 0
// without a mirror a route never is a reason to refuse:
// taking users off the canary must not fail where another route is amiss. A
// route that leads to stable twice then keeps all its weights, and the canary
// stands beside the first at weight 0.
func Apply(doc map[string]any, svc Service, t canary.Traffic, marks []string) (out map[string]any, newMarks []string, err error) {
	if err := check(t); err != nil {
		return nil, nil, err
	}
	out = cloneObject(doc)
	strip(out, svc, marks)
	if t.Pin {
		stripMirrorsTo(out, svc, t.Canary)
	}
	old, now, ids := parseMarks(marks), map[string]mark{}, identities(httpOf(out))
	var pins map[int]mark
	if t.Pin {
		pins = pin(out, svc, t, old, ids)
	}
	var errs []error
	for _, r := range Find(out, svc, t.Stable, t.Canary) {
		if err := fits(object(httpOf(out)[r.Index]), r, svc, t); err != nil {
			errs = append(errs, fmt.Errorf("split %s: %w", KeyOf(doc), err))
			continue
		}
		m, ok := split(object(httpOf(out)[r.Index]), r, t, old[ids[r.Index]])
		if p, isPinned := pins[r.Index]; isPinned {
			m, ok = p, true
		}
		if ok {
			now[ids[r.Index]] = m
		}
	}
	if len(errs) > 0 {
		return nil, nil, errors.Join(errs...)
	}
	added, _ := place(out, svc, t)
	return out, append(formatMarks(now), added...), nil
}

// strip takes off all that stands on routes for a while: routes of our own, copies
// and cookies. What is left of ours are destinations, subsets and weights.
func strip(doc map[string]any, svc Service, marks []string) {
	stripOwn(doc, svc)
	stripMirrors(doc, svc, parseMirrorMarks(marks))
	stripCookies(doc, svc, parseCookieMarks(marks))
}

// place is the inverse of strip. It gives the marks, and reports whether each
// serving route has what t orders. Our own routes come first, for they are made of
// the routes behind them, without copies and cookies.
func place(doc map[string]any, svc Service, t canary.Traffic) (marks []string, complete bool) {
	complete = placeOwn(doc, svc, t)
	note := func(mark string, all bool) {
		complete = complete && all
		if mark != "" {
			marks = append(marks, mark)
		}
	}
	if t.Mirror > 0 {
		note(placeMirrors(doc, svc, t))
	}
	if t.Sticky = wanted(t); t.Sticky != nil {
		note(placeCookies(doc, svc, t))
	}
	return marks, complete
}

// Clean takes off what Apply put on: routes of our own, copies, cookies, the
// destinations and the weights it added. All weight goes to the stable subset; a destination we
// added is kept if it is the stable one now. Weights the user wrote for both
// subsets stay written. For what was applied with Pin there is Unpin.
func Clean(doc map[string]any, svc Service, stable, canary string, marks []string) map[string]any {
	out := cloneObject(doc)
	strip(out, svc, marks)
	old, ids := parseMarks(marks), identities(httpOf(out))
	for _, r := range Find(out, svc, stable, canary) {
		if r.Serves() && len(r.at(stable)) > 0 && len(r.at(canary)) > 0 {
			unsplit(object(httpOf(out)[r.Index]), r, stable, canary, old[ids[r.Index]])
		}
	}
	return out
}

func check(t canary.Traffic) error {
	var errs []error
	if t.Stable == "" || t.Canary == "" || t.Stable == t.Canary {
		errs = append(errs, fmt.Errorf("traffic: stable subset %q and canary subset %q must be two names", t.Stable, t.Canary))
	}
	if t.Weight < 0 || t.Weight > 100 {
		errs = append(errs, fmt.Errorf("traffic: weight %d is outside 0..100", t.Weight))
	}
	if t.Header != nil {
		errs = append(errs, checkHeader(*t.Header))
	}
	if t.Mirror < 0 || t.Mirror > 100 || t.Mirror > 0 && t.Weight > 0 {
		errs = append(errs, fmt.Errorf("traffic: copies of %d%% at a weight of %d: a mirror is of 0 to 100, and before any weight", t.Mirror, t.Weight))
	}
	if t.Sticky != nil {
		errs = append(errs, checkSticky(*t.Sticky))
	}
	return errors.Join(errs...)
}

// fits tells why a route cannot carry what is ordered, and the mend.
func fits(entry map[string]any, r Route, svc Service, t canary.Traffic) error {
	var errs []error
	if t.Weight > 0 && !r.Own() && !r.Adopted {
		errs = append(errs, fitsWeight(r, svc, t))
	}
	if t.Mirror > 0 {
		errs = append(errs, fitsMirror(entry, r))
	}
	if t.Sticky = wanted(t); t.Sticky != nil {
		errs = append(errs, fitsSticky(entry, r, svc, t))
	}
	return errors.Join(errs...)
}

// fitsWeight tells why a route cannot carry a weight, and the mend.
func fitsWeight(r Route, svc Service, t canary.Traffic) error {
	for _, d := range r.Destinations {
		if d.ToService && d.Subset == "" {
			return fmt.Errorf("%s.route[%d] sends to %s without a subset, past any weight: add subset: %s", r.Path, d.Index, svc, t.Stable)
		}
	}
	for _, subset := range []string{t.Stable, t.Canary} {
		if n := len(r.at(subset)); n > 1 && t.Pin {
			return fmt.Errorf("%s leads to %s by %d destinations, and which of them a share is of is unclear: make them one", r.Path, svc, n)
		} else if n > 1 {
			return fmt.Errorf("%s names subset %s %d times, and which of them a share is of is unclear: make them one", r.Path, subset, n)
		}
	}
	if !r.Serves() {
		return nil
	}
	if _, ok := part(r.Sum, t.Weight); !ok {
		return fmt.Errorf("%s: %s: %s", r.Path, coarse(r, svc, t, t.Weight), finer(svc, t))
	}
	return nil
}

// part is the canary's part of a sum of weights: the nearest whole number to
// the share, but some and not all for a share that is neither 0 nor 100. It is
// not ok if the canary would get more than twice what was ordered.
func part(sum, percent int) (canary int, ok bool) {
	switch {
	case percent == 0:
		return 0, true
	case percent == 100:
		return sum, true
	case sum < 2:
		return 0, false
	}
	canary = min(max((sum*percent+50)/100, 1), sum-1)
	return canary, canary*100 <= 2*percent*sum
}

// split writes a route's weights. It reports the route's mark: the old one if
// what we added is still there, else what had to be added now.
func split(entry map[string]any, r Route, t canary.Traffic, old mark) (m mark, marked bool) {
	if !r.Serves() {
		return mark{}, false
	}
	stableAt, canaryAt := r.at(t.Stable), r.at(t.Canary)
	switch {
	case len(canaryAt) == 0:
		m, marked = addition(entry, stableAt[0], t.Canary), true
		add(entry, stableAt[0], stableAt[0]+1, t.Canary)
		canaryAt = []int{stableAt[0] + 1}
		shift(stableAt[1:], 1)
	case len(stableAt) == 0:
		m, marked = addition(entry, canaryAt[0], t.Stable), true
		add(entry, canaryAt[0], canaryAt[0], t.Stable)
		stableAt = []int{canaryAt[0]}
		shift(canaryAt, 1)
	case old.kind != pinned && (old.subset == t.Stable || old.subset == t.Canary):
		m, marked = old, true
	case !r.Destinations[canaryAt[0]].HasWeight:
		m, marked = mark{kind: unweighted, subset: t.Canary}, true
	}
	c, _ := part(r.Sum, t.Weight)
	weigh(entry, stableAt, canaryAt, r.Sum, c)
	return m, marked
}

func shift(indexes []int, by int) {
	for i := range indexes {
		indexes[i] += by
	}
}

// addition is the mark of a destination added beside the one at index.
func addition(entry map[string]any, index int, subset string) mark {
	m, all := mark{kind: added, subset: subset}, list(entry["route"])
	if len(all) > 1 {
		m.origin = "*"
	} else if w, ok := number(object(all[index])["weight"]); ok {
		m.origin = strconv.Itoa(w)
	}
	return m
}

// add inserts at a place a copy of the destination at from, with another subset.
func add(entry map[string]any, from, place int, subset string) {
	all := list(entry["route"])
	fresh := cloneObject(object(all[from]))
	delete(fresh, "weight")
	object(fresh["destination"])["subset"] = subset
	entry["route"] = slices.Insert(all, place, any(fresh))
}

// weigh gives the canary its part and stable the rest of the sum. Of a subset
// named twice the first takes what the others leave; the canary's others get 0.
// Nothing is written where several are stable's and the first had and has none.
func weigh(entry map[string]any, stableAt, canaryAt []int, sum, part int) {
	all := list(entry["route"])
	rest := sum - part
	for _, i := range stableAt[1:] {
		w, _ := number(object(all[i])["weight"])
		rest -= max(w, 0)
	}
	if _, written := object(all[stableAt[0]])["weight"]; written || rest != 0 || len(stableAt) == 1 {
		setWeight(all, stableAt[0], rest)
	}
	setWeight(all, canaryAt[0], part)
	for _, i := range canaryAt[1:] {
		setWeight(all, i, 0)
	}
}

// setWeight leaves a number that is right already as it is decoded.
func setWeight(all []any, i, weight int) {
	item := object(all[i])
	if w, ok := number(item["weight"]); !ok || w != weight {
		item["weight"] = int64(weight)
	}
}

// unsplit gives everything to stable and takes off what the mark says is ours:
// of a pinned route every destination of the canary, for nobody else names it.
func unsplit(entry map[string]any, r Route, stable, canary string, m mark) {
	stableAt, canaryAt := r.at(stable), r.at(canary)
	if r.Canary > 0 {
		weigh(entry, stableAt, canaryAt, r.Sum, 0)
	}
	all := list(entry["route"])
	switch {
	case m.kind == pinned:
	case m.subset != canary:
		return
	case m.kind == unweighted:
		delete(object(all[canaryAt[0]]), "weight")
		return
	default:
		canaryAt = canaryAt[:1]
	}
	for _, i := range slices.Backward(canaryAt) {
		all = slices.Delete(all, i, i+1)
	}
	entry["route"] = all
	if len(all) > 1 || m.origin == "*" {
		return
	}
	if w, ok := m.weight(); ok {
		setWeight(all, 0, w)
	} else {
		delete(object(all[0]), "weight")
	}
}
