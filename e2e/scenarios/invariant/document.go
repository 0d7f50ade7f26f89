package invariant

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Subsets are the names of the Service's two subsets, in any order.
type Subsets [2]string

// State is what a scenario has to know of the state that Serin keeps on a
// VirtualService.
type State struct {
	Rollout  string    `json:"rollout"`
	Sequence int64     `json:"seq"`
	Phase    string    `json:"phase"`
	Step     int       `json:"step"`   // from 1; 0 before the first
	Weight   int       `json:"weight"` // percent
	Reason   string    `json:"reason"`
	Message  string    `json:"message"`
	At       time.Time `json:"at"` // when it was written
	Canary   struct {
		Subset string `json:"s"`
	} `json:"canary"`
	Spec struct {
		Steps []struct {
			Weight int `json:"w"`
			Mirror int `json:"m"` // percent
		} `json:"steps"`
		Sticky string `json:"sticky"`
	} `json:"spec"`
}

// Active tells whether a release is under way.
func (s State) Active() bool { return s.Phase != "Succeeded" && s.Phase != "RolledBack" }

func (s State) retreats() bool { return s.Phase == "RollingBack" || s.Phase == "RolledBack" }

// drains tells that the canary has no users any more.
func (s State) drains() bool { return s.retreats() || s.Phase == "Finishing" }

// limit is the weight of the step in force, in percent.
func (s State) limit() int {
	if s.Step < 1 || s.Step > len(s.Spec.Steps) {
		return 0
	}
	return s.Spec.Steps[s.Step-1].Weight
}

// exposes tells that the step in force is in force on the routes.
func (s State) exposes() bool {
	return (s.Phase == "Progressing" || s.Phase == "Paused" || s.Phase == "Inconclusive") && s.Step >= 1 && s.Step <= len(s.Spec.Steps)
}

// mirror is the share of requests of which the canary shall be sent a copy, percent.
func (s State) mirror() int {
	if !s.exposes() {
		return 0
	}
	return s.Spec.Steps[s.Step-1].Mirror
}

// keeps tells that users are kept on their version.
func (s State) keeps() bool {
	return s.exposes() && s.Spec.Sticky == "cookie" && s.Weight > 0 && s.Weight < 100
}

const (
	statePrefix  = "serin.dev/state."
	headerPrefix = "serin-canary."
	cookiePrefix = "serin-cookie."
	ourCookies   = "serin-"
)

// StateOf reads the state that a VirtualService carries for a Service; false
// if there is none, or it can't be read.
func StateOf(doc map[string]any, service string) (State, bool) {
	annotations := tree(tree(doc["metadata"])["annotations"])
	state, ok := annotations[statePrefix+service].(string)
	if !ok {
		return State{}, false
	}
	var s State
	err := json.Unmarshal([]byte(state), &s)
	return s, err == nil
}

// Share is the canary's share in one route that serves both versions.
type Share struct {
	Route   string // such as spec.http[1]
	Percent float64
	Total   int64 // the two weights together
}

// Shares are those of all routes that lead users to the Service. Header routes
// to one version alone, ours or the user's, are not among them.
func Shares(doc map[string]any, service string, subsets Subsets, canary string) []Share {
	var shares []Share
	for i, r := range routes(doc) {
		total, canarys, ok := weigh(r, service, subsets, canary)
		if !ok || total == 0 || ours(r) || forTesters(r) {
			continue
		}
		shares = append(shares, Share{Route: fmt.Sprintf("spec.http[%d]", i), Percent: float64(canarys) * 100 / float64(total), Total: total})
	}
	return shares
}

// HeaderRoutes counts Serin's header routes.
func HeaderRoutes(doc map[string]any) int { return named(doc, headerPrefix) }

// CookieRoutes counts Serin's routes for those who bring the cookie of a version.
func CookieRoutes(doc map[string]any) int { return named(doc, cookiePrefix) }

func named(doc map[string]any, prefix string) (n int) {
	for _, r := range routes(doc) {
		if name, _ := r["name"].(string); strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

// Cookies counts the destinations of the Service that set a cookie of Serin's.
func Cookies(doc map[string]any, service string) (n int) {
	for _, r := range routes(doc) {
		for _, item := range list(r["route"]) {
			if isHost(tree(tree(item)["destination"]), service) && strings.HasPrefix(cookieOf(item), ourCookies) {
				n++
			}
		}
	}
	return n
}

func cookieOf(item any) string {
	value, _ := tree(tree(tree(tree(item)["headers"])["response"])["add"])["set-cookie"].(string)
	return value
}

// Copies are the shares, in percent, of which routes send copies to one of the two
// subsets, and to which.
func Copies(doc map[string]any, service string, subsets Subsets) (shares []float64, to []string) {
	for _, r := range routes(doc) {
		for _, m := range list(r["mirrors"]) {
			subset, is := subsetOf(m, service, subsets)
			if !is {
				continue
			}
			share, whole := 100.0, tree(tree(m)["percentage"])
			if n, ok := number(whole["value"]); ok {
				share = float64(n)
			}
			shares, to = append(shares, share), append(to, subset)
		}
	}
	return shares, to
}

// weigh adds up the weights of a route's destinations that are one of the
// Service's two subsets; false if it has none.
func weigh(route map[string]any, service string, subsets Subsets, canary string) (total, canarys int64, ok bool) {
	all := list(route["route"])
	for _, d := range all {
		subset, is := subsetOf(d, service, subsets)
		if !is {
			continue
		}
		ok = true
		weight, given := number(tree(d)["weight"])
		if !given && len(all) == 1 {
			weight = 100
		}
		total += weight
		if subset == canary {
			canarys += weight
		}
	}
	return total, canarys, ok
}

// subsetOf is the subset a destination names, if it is one of the Service's two.
func subsetOf(item any, service string, subsets Subsets) (string, bool) {
	d := tree(tree(item)["destination"])
	subset, _ := d["subset"].(string)
	if !isHost(d, service) {
		return "", false
	}
	return subset, slices.Contains(subsets[:], subset)
}

func ours(route map[string]any) bool {
	name, _ := route["name"].(string)
	return strings.HasPrefix(name, headerPrefix) || strings.HasPrefix(name, cookiePrefix)
}

// uncover takes copies to the two subsets, and cookies of Serin's, off a route.
func uncover(r map[string]any, service string, subsets Subsets) {
	mirrors := list(r["mirrors"])
	kept := slices.DeleteFunc(slices.Clone(mirrors), func(m any) bool { _, is := subsetOf(m, service, subsets); return is })
	if len(kept) > 0 {
		r["mirrors"] = kept
	} else if len(mirrors) > 0 {
		delete(r, "mirrors")
	}
	for _, item := range list(r["route"]) {
		if !isHost(tree(tree(item)["destination"]), service) || !strings.HasPrefix(cookieOf(item), ourCookies) {
			continue
		}
		headers := tree(tree(item)["headers"])
		response := tree(headers["response"])
		delete(tree(response["add"]), "set-cookie")
		for _, at := range []struct {
			in  map[string]any
			key string
		}{{response, "add"}, {headers, "response"}, {tree(item), "headers"}} {
			if len(tree(at.in[at.key])) == 0 {
				delete(at.in, at.key)
			}
		}
	}
}

// forTesters tells that only requests with some header take the route, and
// that it leads to one place.
func forTesters(route map[string]any) bool {
	matches := list(route["match"])
	for _, m := range matches {
		if len(tree(tree(m)["headers"])) == 0 {
			return false
		}
	}
	return len(matches) > 0 && len(list(route["route"])) == 1
}

// foreign is the document without what is Serin's to change: routes of its own,
// copies, cookies, its annotations, how the weights are shared between the two subsets,
// and what the API server keeps about every write. The weights' sum stays.
func foreign(doc map[string]any, rules Rules) string {
	service, subsets := rules.Service, rules.Subsets
	c := bare(doc)
	metadata := tree(c["metadata"])
	annotations := tree(metadata["annotations"])
	for key := range annotations {
		if strings.HasPrefix(key, statePrefix) {
			delete(annotations, key)
		}
	}
	if len(annotations) == 0 {
		delete(metadata, "annotations")
	}
	var kept []any
	for _, r := range routes(c) {
		if ours(r) {
			continue
		}
		uncover(r, service, subsets)
		if rules.InPlace {
			unpin(r, service, subsets)
		}
		if total, _, ok := weigh(r, service, subsets, ""); ok && (rules.InPlace || !forTesters(r)) {
			r["route"] = merged(r, service, subsets, total)
		}
		kept = append(kept, r)
	}
	tree(c["spec"])["http"] = kept
	return text(c)
}

// AsWritten is the document, as JSON, without what the API server keeps about
// every write.
func AsWritten(doc map[string]any) string { return text(bare(doc)) }

func bare(doc map[string]any) map[string]any {
	c := clone(doc)
	for _, key := range []string{"resourceVersion", "generation", "managedFields"} {
		delete(tree(c["metadata"]), key)
	}
	return c
}

func text(c map[string]any) string {
	b, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		panic(err) // a JSON tree has nothing that can't be written
	}
	return string(b)
}

// unpin has all destinations of a route that are the Service, whatever subset
// they name, name the first of the two.
func unpin(route map[string]any, service string, subsets Subsets) {
	for _, item := range list(route["route"]) {
		if d := tree(tree(item)["destination"]); isHost(d, service) {
			d["subset"] = subsets[0]
		}
	}
}

// leadsTo counts the destinations that are the Service, with one of the subsets
// if any are given.
func leadsTo(doc map[string]any, service string, subsets ...string) (n int) {
	for _, r := range routes(doc) {
		for _, item := range list(r["route"]) {
			d := tree(tree(item)["destination"])
			subset, _ := d["subset"].(string)
			if isHost(d, service) && (len(subsets) == 0 || slices.Contains(subsets, subset)) {
				n++
			}
		}
	}
	return n
}

// isHost tells whether a destination is the Service.
func isHost(destination map[string]any, service string) bool {
	host, _ := destination["host"].(string)
	return host == service || strings.HasPrefix(host, service+".")
}

// merged makes one destination of those of the two subsets.
func merged(route map[string]any, service string, subsets Subsets, total int64) []any {
	var out []any
	done := false
	for _, item := range list(route["route"]) {
		if _, is := subsetOf(item, service, subsets); !is {
			out = append(out, item)
			continue
		}
		if !done {
			both := clone(tree(item))
			delete(tree(both["destination"]), "subset")
			both["weight"] = total
			out = append(out, both)
			done = true
		}
	}
	return out
}

func routes(doc map[string]any) []map[string]any {
	var out []map[string]any
	for _, r := range list(tree(doc["spec"])["http"]) {
		out = append(out, tree(r))
	}
	return out
}

func tree(v any) map[string]any {
	t, _ := v.(map[string]any)
	return t
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func number(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case float64:
		return int64(n), true
	}
	return 0, false
}

func clone(t map[string]any) map[string]any {
	var out map[string]any
	if err := json.Unmarshal([]byte(text(t)), &out); err != nil {
		panic(err) // it was just written
	}
	return out
}
