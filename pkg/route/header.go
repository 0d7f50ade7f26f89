package route

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// headerPrefix begins the names of our header routes. What follows is the
// Service's name, which has no dots, and then the name of the route behind.
const headerPrefix = "serin-canary."

// marked tells that a route has the name of a header route of ours, for any Service.
func marked(entry map[string]any) bool {
	return strings.HasPrefix(text(entry["name"]), headerPrefix)
}

// ours tells that a route is our header route for the Service. The destinations
// are compared too, for a Service of another namespace may have the same name.
func ours(entry map[string]any, svc Service, namespace string) bool {
	name := text(entry["name"])
	if name != headerPrefix+svc.Name && !strings.HasPrefix(name, headerPrefix+svc.Name+".") {
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

// stripHeaders takes all our header routes for the Service out of a document.
func stripHeaders(doc map[string]any, svc Service) {
	all := httpOf(doc)
	kept := slices.DeleteFunc(slices.Clone(all), func(entry any) bool {
		return ours(object(entry), svc, namespaceOf(doc))
	})
	if len(kept) < len(all) {
		setHTTP(doc, kept)
	}
}

// placeHeaders puts a header route right before each route that serves the
// Service, since a header match anywhere else would take over other paths and,
// on gateways, other Services. It is for documents without our header routes.
// If the user has one, that is the way in and nothing is placed. It reports
// whether each serving route has what it needs.
func placeHeaders(doc map[string]any, svc Service, t canary.Traffic) bool {
	routes := Find(doc, svc, t.Stable, t.Canary)
	if adopted(routes) {
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
		if len(r.at(t.Canary)) == 0 {
			complete = false // the weights have not been written yet
		} else if h := headerRoute(object(all[r.Index]), r, svc, t); h != nil {
			h["name"] = unique(text(h["name"]), taken)
			out = insertOrdered(out, h)
		}
	}
	setHTTP(doc, append(out, all[next:]...))
	return complete
}

// headerRoute clones a route for those of its requests that carry the header,
// and leads them to the canary alone. It is nil if there can be none.
func headerRoute(shadowed map[string]any, r Route, svc Service, t canary.Traffic) map[string]any {
	matches := headerMatches(r, *t.Header)
	if len(matches) == 0 {
		return nil
	}
	out := cloneObject(shadowed)
	out["name"] = headerPrefix + svc.Name
	if r.Name != "" {
		out["name"] = headerPrefix + svc.Name + "." + r.Name
	}
	out["match"] = matches
	destination := object(list(out["route"])[r.at(t.Canary)[0]])
	delete(destination, "weight")
	out["route"] = []any{destination}
	return out
}

// unique appends a number to a name that is taken, and takes it.
func unique(name string, taken map[string]bool) string {
	out := name
	for n := 2; taken[out]; n++ {
		out = name + "." + strconv.Itoa(n)
	}
	taken[out] = true
	return out
}

// insertOrdered appends a header route, but before those of other Services with
// later names that stand at the end: two rollouts that share a route must agree
// on one order, or each would undo the other's for ever.
func insertOrdered(routes []any, header map[string]any) []any {
	i := len(routes)
	for i > 0 {
		before := object(routes[i-1])
		if !marked(before) || text(before["name"]) < text(header["name"]) {
			break
		}
		i--
	}
	return slices.Insert(routes, i, any(header))
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
