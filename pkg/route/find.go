package route

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// Route is one entry of spec.http that leads to the Service.
type Route struct {
	Index        int              // in spec.http
	Path         string           // in the document, like spec.http[2]
	Name         string           // as the user named it; may be empty
	Matches      []map[string]any // the conditions, any of which suffices; none: every request. Not to be modified
	Destinations []Destination    // all of the route's, of other Services too

	Header  bool // our own header route
	Cookie  bool // our own route for users who bring the cookie of a version
	Adopted bool // the user's own header or cookie route to the canary alone; never changed

	Sum    int // weights of the stable and the canary subset together; 0 if neither gets requests
	Canary int // of it the canary's
}

// Destination is one entry of a route's list.
type Destination struct {
	Index     int // in the route's list
	Host      string
	Subset    string // empty: all pods of the host, the canary's too
	Weight    int    // in effect: 100 if it is the only destination, 0 if none is written; >= 0
	HasWeight bool   // a weight is written
	ToService bool   // the host is the Service
}

// Serves tells that users reach the Service by this route through one of its
// two subsets, so that their share is ours to move.
func (r Route) Serves() bool { return !r.Own() && !r.Adopted && r.Sum > 0 }

// Own tells that the route was added by us, as a whole.
func (r Route) Own() bool { return r.Header || r.Cookie }

// Share is the canary's share in percent of what the two subsets get. A share
// that is neither nothing nor everything is 1 to 99 however it rounds.
func (r Route) Share() int {
	switch {
	case r.Sum == 0 || r.Canary == 0:
		return 0
	case r.Canary == r.Sum:
		return 100
	}
	return min(max((200*r.Canary+r.Sum)/(2*r.Sum), 1), 99)
}

// at lists the places of the Service's destinations with a subset.
func (r Route) at(subset string) []int {
	var out []int
	for _, d := range r.Destinations {
		if d.ToService && d.Subset == subset {
			out = append(out, d.Index)
		}
	}
	return out
}

// besides lists the places of the Service's destinations with any other subset,
// or none.
func (r Route) besides(subset string) []int {
	var out []int
	for _, d := range r.Destinations {
		if d.ToService && d.Subset != subset {
			out = append(out, d.Index)
		}
	}
	return out
}

// Find lists the entries of spec.http with a destination to the Service, in
// order. The subsets may be empty as long as they are unknown; then no route is
// Adopted and no Sum is known.
func Find(doc map[string]any, svc Service, stable, canary string) []Route {
	var out []Route
	for i, entry := range httpOf(doc) {
		r, found := read(object(entry), svc, namespaceOf(doc))
		if !found {
			continue
		}
		r.Index, r.Path = i, fmt.Sprintf("spec.http[%d]", i)
		r.weigh(stable, canary)
		if own := ours(object(entry), svc, namespaceOf(doc)); own {
			r.Cookie = strings.HasPrefix(r.Name, cookiePrefix)
			r.Header = !r.Cookie
		}
		r.Adopted = !r.Own() && canary != "" && r.headerOnly() && r.alone(canary)
		out = append(out, r)
	}
	return out
}

func read(entry map[string]any, svc Service, namespace string) (r Route, found bool) {
	r.Name = text(entry["name"])
	for _, m := range list(entry["match"]) {
		r.Matches = append(r.Matches, object(m))
	}
	all := list(entry["route"])
	for i, item := range all {
		destination := object(object(item)["destination"])
		d := Destination{Index: i, Host: text(destination["host"]), Subset: text(destination["subset"])}
		d.Weight, d.HasWeight = number(object(item)["weight"])
		d.Weight = max(d.Weight, 0)
		if len(all) == 1 {
			d.Weight = 100 // Envoy sends everything to a lone destination, even at weight 0
		}
		d.ToService = svc.Matches(d.Host, namespace)
		found = found || d.ToService
		r.Destinations = append(r.Destinations, d)
	}
	return r, found
}

func (r *Route) weigh(stable, canary string) {
	for _, d := range r.Destinations {
		if !d.ToService || d.Subset == "" {
			continue
		}
		if d.Subset == canary {
			r.Canary += d.Weight
		}
		if d.Subset == canary || d.Subset == stable {
			r.Sum += d.Weight
		}
	}
}

// headerOnly tells that no request without some header takes the route.
func (r Route) headerOnly() bool {
	for _, m := range r.Matches {
		if len(object(m["headers"])) == 0 {
			return false
		}
	}
	return len(r.Matches) > 0
}

// alone tells that the route leads to one subset of the Service and nowhere else.
func (r Route) alone(subset string) bool {
	return len(r.Destinations) == len(r.at(subset))
}

// adopted tells that a header route of the user's stands before a route that
// serves users. One behind them all is never reached and is nobody's way in.
func adopted(routes []Route) bool {
	seen := false
	for _, r := range routes {
		seen = seen || r.Adopted
		if seen && r.Serves() {
			return true
		}
	}
	return false
}

// Read tells what a VirtualService does with the Service's traffic. It fills
// Min, Max, Header, Split, Adopted and Mirror; the rest is not the routes' to know.
//
// A route to the canary alone without a header match counts as a share of 100:
// users are there.
func Read(doc map[string]any, svc Service, stable, canaryName string) canary.Seen {
	routes := Find(doc, svc, stable, canaryName)
	seen := shares(routes, Route.Share)
	seen.Adopted = adopted(routes)
	seen.Header = seen.Adopted || shadowed(doc, routes, canaryName)
	seen.Mirror = mirrored(doc, routes, svc, canaryName)
	return seen
}

// ReadAgainst is Read for routes that were ordered to carry t. Where the weights
// cannot express the ordered share exactly and are the nearest that can be
// written, the share reads as the ordered one, so that rounding never looks like
// a hand in the routes. Header tells that the header routes are exactly those
// that t asks for. Lowered, Raised, HeaderLost, MirrorLost and StickyLost tell how
// the routes differ from t. Copies that somebody else sends to the canary beside the
// ordered ones are not lost ones.
//
// With t.Pin a destination with requests that is the Service and names neither
// subset is Unpinned: the canary's pods get their part of it whatever the
// weights, so that it reads as Raised. How much that is no route says: Min and
// Max are of those that are pinned.
func ReadAgainst(doc map[string]any, svc Service, t canary.Traffic) canary.Seen {
	seen := Read(doc, svc, t.Stable, t.Canary)
	routes := Find(doc, svc, t.Stable, t.Canary)
	served := slices.ContainsFunc(routes, Route.Serves)
	s := shares(routes, func(r Route) int {
		if c, ok := part(r.Sum, t.Weight); ok && c == r.Canary {
			return t.Weight
		}
		return r.Share()
	})
	seen.Min, seen.Max = s.Min, s.Max
	c := comparison{doc: doc, svc: svc, t: t}
	if t.Header != nil && !seen.Adopted {
		seen.Header = c.holds(Route.ofCookie, false)
	}
	if sticky := wanted(t); sticky != nil {
		seen.StickyLost = served && !c.holds(Route.ofHeader, true)
	}
	if t.Mirror > 0 {
		seen.MirrorLost = served && !c.mirrors()
	}
	if t.Pin {
		seen.Unpinned = unpinned(routes, t)
	}
	seen.Lowered, seen.Raised = seen.Min < t.Weight && served, seen.Max > t.Weight || seen.Unpinned != ""
	seen.HeaderLost = t.Header != nil && !seen.Header && served
	return seen
}

// comparison tells how routes differ from what they were ordered to carry.
type comparison struct {
	doc map[string]any
	svc Service
	t   canary.Traffic
}

func (r Route) ofHeader() bool { return r.Header }
func (r Route) ofCookie() bool { return r.Cookie }

// holds tells whether the routes are as ordered, but for routes of our own that are
// aside, for copies and, where they don't count, for cookies.
func (c comparison) holds(aside func(Route) bool, cookies bool) bool {
	t := c.t
	t.Mirror = 0
	want, have := c.bare(), withRoutes(c.doc)
	stripMirrors(have, c.svc, c.mirrorMarks())
	if sticky := wanted(t); sticky != nil && !cookies {
		stripCookies(have, c.svc, []string{sticky.Cookie})
	}
	complete := placeOwn(want, c.svc, t)
	if cookies {
		_, all := placeCookies(want, c.svc, t)
		complete = complete && all
	}
	stripRoutes(want, c.svc, aside)
	stripRoutes(have, c.svc, aside)
	return complete && reflect.DeepEqual(httpOf(want), httpOf(have))
}

// mirrors tells whether each serving route sends the canary the ordered copies. Copies
// besides are not looked at.
func (c comparison) mirrors() bool {
	for _, r := range Find(c.doc, c.svc, c.t.Stable, c.t.Canary) {
		if !r.Serves() {
			continue
		}
		found := false
		to, shares := mirrorsTo(object(httpOf(c.doc)[r.Index]))
		for _, at := range r.at(c.t.Canary) {
			want := object(object(list(object(httpOf(c.doc)[r.Index])["route"])[at])["destination"])
			for i := range to {
				found = found || shares[i] == float64(c.t.Mirror) && reflect.DeepEqual(to[i], want)
			}
		}
		if !found {
			return false
		}
	}
	return true
}

func (c comparison) mirrorMarks() []mirrorMark {
	if c.t.Mirror == 0 {
		return nil
	}
	return []mirrorMark{{c.t.Canary, c.t.Mirror}}
}

// bare is the document without what is ours for a while.
func (c comparison) bare() map[string]any {
	out := withRoutes(c.doc)
	stripOwn(out, c.svc)
	stripMirrors(out, c.svc, c.mirrorMarks())
	if sticky := wanted(c.t); sticky != nil {
		stripCookies(out, c.svc, []string{sticky.Cookie})
	}
	return out
}

// unpinned is the path of the first destination that leads users to the Service
// past both subsets.
func unpinned(routes []Route, t canary.Traffic) string {
	for _, r := range routes {
		for _, d := range r.Destinations {
			if d.ToService && d.Weight > 0 && d.Subset != t.Stable && d.Subset != t.Canary {
				return fmt.Sprintf("%s.route[%d]", r.Path, d.Index)
			}
		}
	}
	return ""
}

func shares(routes []Route, share func(Route) int) (seen canary.Seen) {
	first := true
	for _, r := range routes {
		if !r.Serves() {
			continue
		}
		s := share(r)
		if first {
			seen.Min, seen.Max, first = s, s, false
		}
		seen.Min, seen.Max = min(seen.Min, s), max(seen.Max, s)
		seen.Split = seen.Split || r.Canary > 0 && r.Canary < r.Sum
	}
	return seen
}

// shadowed tells that each serving route has a header route of ours to the
// canary right before it. Those of other Services may stand between, and those for
// cookies.
func shadowed(doc map[string]any, routes []Route, canaryName string) bool {
	all, byIndex := httpOf(doc), map[int]Route{}
	for _, r := range routes {
		byIndex[r.Index] = r
	}
	some := false
	for _, r := range routes {
		if !r.Serves() {
			continue
		}
		i := r.Index - 1
		for i >= 0 && !byIndex[i].Header && (byIndex[i].Cookie || marked(object(all[i]))) {
			i--
		}
		if i < 0 || !byIndex[i].Header || !byIndex[i].alone(canaryName) {
			return false
		}
		some = true
	}
	return some
}
