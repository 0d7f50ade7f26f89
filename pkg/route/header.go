package route

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// headerPrefix and cookiePrefix begin the names of our own routes. What follows is
// for cookies the version, then the Service's name, which has no dots, and then the
// name of the route behind.
const (
	headerPrefix = "serin-canary."
	cookiePrefix = "serin-cookie."
	canaryCookie = cookiePrefix + "canary."
	stableCookie = cookiePrefix + "stable."
)

// ownName is what follows the prefix in the name of a route of our own, for any Service.
func ownName(entry map[string]any) (name string, own bool) {
	for _, prefix := range []string{headerPrefix, canaryCookie, stableCookie} {
		if name, own = strings.CutPrefix(text(entry["name"]), prefix); own {
			return name, true
		}
	}
	return "", false
}

// marked tells that a route has the name of a route of our own, for any Service.
func marked(entry map[string]any) bool {
	_, own := ownName(entry)
	return own
}

// ours tells that a route is our own for the Service. The destinations are compared
// too, for a Service of another namespace may have the same name.
func ours(entry map[string]any, svc Service, namespace string) bool {
	name, own := ownName(entry)
	if !own || name != svc.Name && !strings.HasPrefix(name, svc.Name+".") {
		return false
	}
	all := list(entry["route"])
	for _, item := range all {
		if !svc.Matches(text(object(object(item)["destination"])["host"]), namespace) {
			return false
		}
	}
	return len(all) > 0
}

// stripOwn takes all our own routes for the Service out of a document.
func stripOwn(doc map[string]any, svc Service) { stripRoutes(doc, svc, Route.Own) }

func stripRoutes(doc map[string]any, svc Service, which func(Route) bool) {
	gone := map[int]bool{}
	for _, r := range Find(doc, svc, "", "") {
		gone[r.Index] = which(r)
	}
	all := httpOf(doc)
	kept := make([]any, 0, len(all))
	for i, entry := range all {
		if !gone[i] {
			kept = append(kept, entry)
		}
	}
	if len(kept) < len(all) {
		setHTTP(doc, kept)
	}
}

// placeOwn puts our own routes right before each route that serves the Service, since
// their matches anywhere else would take over other paths and, on gateways, other
// Services. Testers come first, whatever cookie they bring. It is for documents
// without our own routes. If the user has a header route, that is the way in and none
// is placed. It reports whether each serving route has what it needs.
func placeOwn(doc map[string]any, svc Service, t canary.Traffic) bool {
	routes := Find(doc, svc, t.Stable, t.Canary)
	if adopted(routes) {
		t.Header = nil
	}
	if t.Sticky = wanted(t); t.Header == nil && t.Sticky == nil {
		return true
	}
	all := httpOf(doc)
	taken := map[string]bool{}
	for _, entry := range all {
		taken[text(object(entry)["name"])] = true
	}
	var out []any
	next, complete := 0, true
	for _, r := range routes {
		if !r.Serves() {
			continue
		}
		out = append(out, all[next:r.Index]...)
		next = r.Index
		if len(r.at(t.Canary)) == 0 || t.Sticky != nil && len(r.at(t.Stable)) == 0 {
			complete = false // the weights have not been written yet
			continue
		}
		if own := ownRoutes(object(all[r.Index]), r, t); len(own) > 0 {
			out = insertOrdered(out, named(own, r, svc, taken))
		}
	}
	setHTTP(doc, append(out, all[next:]...))
	return complete
}

// ownRoutes are those that stand before a route, their names being prefixes only.
func ownRoutes(behind map[string]any, r Route, t canary.Traffic) (own []map[string]any) {
	add := func(prefix string, matches []any, subset string) {
		if len(matches) > 0 {
			own = append(own, ownRoute(behind, prefix, matches, r.at(subset)[0]))
		}
	}
	if t.Header != nil {
		add(headerPrefix, headerMatches(r, *t.Header), t.Canary)
	}
	if t.Sticky != nil {
		add(canaryCookie, headerMatches(r, byCookie(*t.Sticky, t.Sticky.Canary)), t.Canary)
		add(stableCookie, headerMatches(r, byCookie(*t.Sticky, t.Sticky.Stable)), t.Stable)
	}
	return own
}

// ownRoute clones a route for those of its requests that meet other conditions, and
// leads them to one of its destinations alone. The copies of another Service's release
// are no part of it.
func ownRoute(behind map[string]any, prefix string, matches []any, at int) map[string]any {
	out := cloneObject(behind)
	withoutCopies(out)
	out["name"], out["match"] = prefix, matches
	destination := object(list(out["route"])[at])
	delete(destination, "weight")
	out["route"] = []any{destination}
	return out
}

// named gives the routes before one their names, which are taken then. All of them end
// alike: with a number, where one of the names is taken.
func named(own []map[string]any, r Route, svc Service, taken map[string]bool) []map[string]any {
	name := svc.Name
	if r.Name != "" {
		name += "." + r.Name
	}
	free := func(name string) bool {
		return !slices.ContainsFunc(own, func(route map[string]any) bool { return taken[text(route["name"])+name] })
	}
	full := name
	for n := 2; !free(full); n++ {
		full = name + "." + strconv.Itoa(n)
	}
	for _, route := range own {
		route["name"] = text(route["name"]) + full
		taken[text(route["name"])] = true
	}
	return own
}

// insertOrdered appends routes of our own, but before those of other Services with
// later names that stand at the end: two rollouts that share a route must agree
// on one order, or each would undo the other's for ever.
func insertOrdered(routes []any, own []map[string]any) []any {
	i := len(routes)
	for i > 0 {
		before := object(routes[i-1])
		if !marked(before) || earlier(before, own[0]) {
			break
		}
		i--
	}
	fresh := make([]any, len(own))
	for j, route := range own {
		fresh[j] = route
	}
	return slices.Insert(routes, i, fresh...)
}

// earlier tells that one Service's own routes stand before another's: by the name of
// the Service, and then by the rest, which is the same for all that it has before one
// route.
func earlier(a, b map[string]any) bool {
	x, _ := ownName(a)
	y, _ := ownName(b)
	xService, xRest, _ := strings.Cut(x, ".")
	yService, yRest, _ := strings.Cut(y, ".")
	return cmp.Or(cmp.Compare(xService, yService), cmp.Compare(xRest, yRest)) < 0
}

// headerMatches adds the header to each of a route's conditions. Conditions that
// no request with the header meets are left out.
func headerMatches(r Route, h canary.Header) []any {
	conditions := r.Matches
	if len(conditions) == 0 {
		conditions = []map[string]any{{}}
	}
	var out []any
	for _, c := range conditions {
		if m, _ := withHeader(c, h); m != nil {
			out = append(out, m)
		}
	}
	return out
}

// withHeader is a condition and the header too. It is nil if no request meets
// both, and not clear if Istio has no way to say both.
func withHeader(condition map[string]any, h canary.Header) (out map[string]any, clear bool) {
	key, matcher := matcherOf(h)
	out = cloneObject(condition)
	if out == nil {
		out = map[string]any{}
	}
	headers := object(out["headers"])
	if headers == nil {
		headers = map[string]any{}
		out["headers"] = headers
	}
	for theirs, m := range headers {
		if strings.EqualFold(theirs, key) {
			if matcher, clear = both(object(m), matcher, h); matcher == nil {
				return nil, clear
			}
			delete(headers, theirs)
		}
	}
	headers[key] = matcher
	return out, true
}

// both is the matcher that accepts what the user's and ours accept. Only one
// matcher fits a header, so that there is none for some pairs; those are not clear.
func both(theirs, matcher map[string]any, h canary.Header) (out map[string]any, clear bool) {
	theirPrefix, prefix := text(theirs["prefix"]), text(matcher["prefix"])
	switch {
	case len(theirs) == 0 || reflect.DeepEqual(theirs, matcher):
		return matcher, true
	case h.Match == canary.MatchExact:
		return narrowed(theirs, h)
	case theirs["exact"] != nil:
		accepted, clear := accepts(matcher, text(theirs["exact"]))
		if !accepted {
			return nil, clear
		}
		return cloneObject(theirs), true
	case theirPrefix != "" && prefix != "":
		if strings.HasPrefix(theirPrefix, prefix) {
			return cloneObject(theirs), true
		}
		if !strings.HasPrefix(prefix, theirPrefix) {
			return nil, true
		}
		return matcher, true
	}
	return nil, false
}

// narrowed keeps of our exact values those that the user's matcher accepts.
func narrowed(theirs map[string]any, h canary.Header) (out map[string]any, clear bool) {
	var kept []string
	for _, v := range h.Values {
		accepted, clear := accepts(theirs, v)
		if !clear {
			return nil, false
		}
		if accepted {
			kept = append(kept, v)
		}
	}
	if len(kept) == 0 {
		return nil, true
	}
	h.Values = kept
	_, out = matcherOf(h)
	return out, true
}

// accepts tells whether a header's value passes a matcher, if that is clear.
func accepts(matcher map[string]any, value string) (accepted, clear bool) {
	if len(matcher) != 1 {
		return false, false
	}
	for kind, v := range matcher {
		switch kind {
		case "exact":
			return value == text(v), true
		case "prefix":
			return strings.HasPrefix(value, text(v)), true
		case "regex":
			re, err := regexp.Compile("^(?:" + text(v) + ")$")
			return err == nil && re.MatchString(value), err == nil
		}
	}
	return false, false
}

// matcherOf is the header's name and Istio's matcher for it.
func matcherOf(h canary.Header) (name string, matcher map[string]any) {
	name = strings.ToLower(h.Name)
	if h.Match == canary.MatchCookie {
		// The header holds all cookies: name=value; name=value.
		return "cookie", map[string]any{"regex": "(?:.*; *)?" + regexp.QuoteMeta(h.Name) + "=(?:" + alternatives(h.Values) + ")(?: *;.*)?"}
	}
	if h.Match == canary.MatchExact && len(h.Values) > 1 {
		return name, map[string]any{"regex": alternatives(h.Values)}
	}
	return name, map[string]any{h.Match: h.Values[0]}
}

// alternatives is a regular expression for any of the values, literally.
func alternatives(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return strings.Join(quoted, "|")
}

func checkHeader(h canary.Header) error {
	several := h.Match == canary.MatchExact || h.Match == canary.MatchCookie
	switch {
	case h.Name == "":
		return fmt.Errorf("traffic: header without a name: give one")
	case !slices.Contains([]string{canary.MatchExact, canary.MatchPrefix, canary.MatchRegex, canary.MatchCookie}, h.Match):
		return fmt.Errorf("traffic: header %s: unknown match %q: use exact, prefix, regex or cookie", h.Name, h.Match)
	case len(h.Values) == 0 || h.Values[0] == "":
		return fmt.Errorf("traffic: header %s: no value to match: give one", h.Name)
	case len(h.Values) > 1 && !several:
		return fmt.Errorf("traffic: header %s: %s takes one value, not %d", h.Name, h.Match, len(h.Values))
	}
	return nil
}
