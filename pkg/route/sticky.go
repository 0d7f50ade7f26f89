package route

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
)

// This file keeps users on the version that they met first. Each destination of a
// route tells the browser, by a cookie, which version it is, and routes before it lead
// whoever brings the cookie there again.
//
// The cookie is added, and not set: set would take the application's own cookies out
// of the answer. A route's map of headers to add has one value for each name, so that
// a cookie of the user's on the same destination leaves no room for ours.

const cookieHeader = "set-cookie"

// wanted is the stickiness in force: at 0% and at 100% all users are sent to one
// version anyhow, and cookies would only be left behind.
func wanted(t canary.Traffic) *canary.Sticky {
	if t.Weight == 0 || t.Weight == 100 {
		return nil
	}
	return t.Sticky
}

// plainWord is what neither a cookie, nor a regular expression, nor Envoy's formats of
// header values understand as anything but itself; but for the dot, which is escaped.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9._-]{1,300}$`)

func checkSticky(s canary.Sticky) error {
	var errs []error
	for what, word := range map[string]string{"name": s.Cookie, "value of the canary's": s.Canary, "value of stable's": s.Stable} {
		if !plainWord.MatchString(word) {
			errs = append(errs, fmt.Errorf("traffic: cookie %s: the %s, %q, has to be letters, digits, dots, dashes and underscores", s.Cookie, what, word))
		}
	}
	if s.Canary == s.Stable {
		errs = append(errs, fmt.Errorf("traffic: cookie %s: both versions have the value %q: give them two", s.Cookie, s.Canary))
	}
	if s.MaxAge < time.Second {
		errs = append(errs, fmt.Errorf("traffic: cookie %s: an age of %s is less than 1s", s.Cookie, s.MaxAge))
	}
	return errors.Join(errs...)
}

// cookie is what a version tells the browser. No script has to read it. It goes with
// links from other sites, and not with what they send. It is not bound to HTTPS, for
// the same route may serve both, and who reads the cookie learns a version and nothing
// else.
func cookie(s canary.Sticky, value string) string {
	return fmt.Sprintf("%s=%s; Max-Age=%d; Path=/; HttpOnly; SameSite=Lax", s.Cookie, value, int(s.MaxAge/time.Second))
}

// cookieMark remembers that destinations set a cookie of ours: @serin-web: for the
// one named serin-web.
func cookieMark(name string) string { return "@" + name + ":" }

func parseCookieMarks(marks []string) []string {
	var names []string
	for _, s := range marks {
		if name, found := strings.CutPrefix(strings.TrimSuffix(s, ":"), "@"); found && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// ourCookie is a whole cookie of ours, as each release writes it. Nobody else's looks
// like that, so that it is known without a mark, too: who takes the state away takes
// the marks with it.
var ourCookie = regexp.MustCompile(`^serin-[a-z0-9.-]+=(?:canary|stable)[.][A-Za-z0-9._-]+; Max-Age=[0-9]+; Path=/; HttpOnly; SameSite=Lax$`)

// stripCookies takes out what has destinations of the Service set cookies of ours.
func stripCookies(doc map[string]any, svc Service, names []string) {
	for _, r := range Find(doc, svc, "", "") {
		all := list(object(httpOf(doc)[r.Index])["route"])
		for _, d := range r.Destinations {
			item := object(all[d.Index])
			headers := object(item["headers"])
			response := object(headers["response"])
			add := object(response["add"])
			value := text(add[cookieHeader])
			named := slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(value, name+"=") })
			if !d.ToService || !named && !ourCookie.MatchString(value) {
				continue
			}
			delete(add, cookieHeader)
			prune(response, "add")
			prune(headers, "response")
			prune(item, "headers")
		}
	}
}

// prune takes an empty map out. Empty ones of the user's there never are: they are
// refused, as nothing would tell them from ours.
func prune(in map[string]any, key string) {
	if len(object(in[key])) == 0 {
		delete(in, key)
	}
}

// placeCookies has each version's destination in each serving route set its cookie. It
// gives the mark, and reports whether all do. It is for documents without our cookies.
func placeCookies(doc map[string]any, svc Service, t canary.Traffic) (mark string, complete bool) {
	complete = true
	for _, r := range Find(doc, svc, t.Stable, t.Canary) {
		if !r.Serves() {
			continue
		}
		entry := object(httpOf(doc)[r.Index])
		if len(r.at(t.Canary)) == 0 || len(r.at(t.Stable)) == 0 || fitsSticky(entry, r, svc, t) != nil {
			complete = false
			continue
		}
		for subset, value := range map[string]string{t.Stable: t.Sticky.Stable, t.Canary: t.Sticky.Canary} {
			item := object(list(entry["route"])[r.at(subset)[0]])
			at := item
			for _, key := range []string{"headers", "response", "add"} {
				if object(at[key]) == nil {
					at[key] = map[string]any{}
				}
				at = object(at[key])
			}
			at[cookieHeader] = cookie(*t.Sticky, value)
		}
		mark = cookieMark(t.Sticky.Cookie)
	}
	return mark, complete
}

// obstacle is what keeps users of a route from being kept on a version.
type obstacle struct{ field, problem, mend string }

const (
	stickyOff       = "take serin.dev/sticky away"
	cookieCondition = "the route has its own condition on cookies, which cannot be combined with that on the cookie of a version"
)

func (o obstacle) String() string { return fmt.Sprintf("%s: %s: %s", o.field, o.problem, o.mend) }

// fitsSticky tells why a route cannot keep users on a version, and the mend. It is for
// routes without our cookies, of stable alone too.
func fitsSticky(entry map[string]any, r Route, svc Service, t canary.Traffic) error {
	if !r.Serves() {
		return nil
	}
	var errs []error
	for _, o := range obstacles(entry, r, svc, t) {
		errs = append(errs, errors.New(o.String()))
	}
	return errors.Join(errs...)
}

func obstacles(entry map[string]any, r Route, svc Service, t canary.Traffic) (out []obstacle) {
	for i, m := range r.Matches {
		if with, _ := withHeader(m, byCookie(*t.Sticky, t.Sticky.Canary)); with == nil {
			out = append(out, obstacle{
				field:   fmt.Sprintf("%s.match[%d].headers.cookie", r.Path, i),
				problem: cookieCondition,
				mend:    stickyOff + ", or the condition",
			})
		}
	}
	out = append(out, wholeObstacles(entry, r.Path)...)
	all := list(entry["route"])
	for _, d := range r.Destinations {
		path := fmt.Sprintf("%s.route[%d]", r.Path, d.Index)
		switch {
		case !d.ToService || d.Subset != t.Stable && d.Subset != t.Canary:
			out = append(out, obstacle{
				field:   path,
				problem: fmt.Sprintf("the route shares its requests with a destination that is no version of %s, past which a cookie would lead", svc),
				mend:    stickyOff + ", or give that destination a route of its own",
			})
		default:
			out = append(out, cookieObstacles(object(all[d.Index]), path)...)
		}
	}
	return out
}

// wholeObstacles are what a route does with the cookies of all its answers.
func wholeObstacles(entry map[string]any, path string) (out []obstacle) {
	response := object(object(entry["headers"])["response"])
	for name := range object(response["set"]) {
		if strings.EqualFold(name, cookieHeader) {
			out = append(out, cookieTaken(path+".headers.response.set."+name))
		}
	}
	for _, name := range list(response["remove"]) {
		if strings.EqualFold(text(name), cookieHeader) {
			out = append(out, cookieTaken(path+".headers.response.remove"))
		}
	}
	return out
}

// UnstickyAbove finds the routes of a VirtualService that hand over to another one, and
// in whose way cookies of versions would be: Istio adds their conditions and headers to
// those of the routes behind, and leaves those out that have another condition on the
// same header. It blocks.
func UnstickyAbove(doc map[string]any, to canary.ObjectKey) []canary.Finding {
	var out []canary.Finding
	for path, entry := range handedOver(doc, to) {
		obstacles := wholeObstacles(entry, path)
		for i, match := range list(entry["match"]) {
			for name := range object(object(match)["headers"]) {
				if strings.EqualFold(name, "cookie") {
					obstacles = append(obstacles, obstacle{fmt.Sprintf("%s.match[%d].headers.%s", path, i, name), cookieCondition, stickyOff + ", or the condition"})
				}
			}
		}
		for _, o := range obstacles {
			out = append(out, canary.Finding{
				Reason: canary.StickyImpossible, Blocking: true, Object: KeyOf(doc),
				Field: o.field, Problem: o.problem, Mend: sentence(o.mend),
			})
		}
	}
	return out
}

// cookieObstacles are what is on a destination where its cookie would be.
func cookieObstacles(item map[string]any, path string) (out []obstacle) {
	at := item
	for _, key := range []string{"headers", "response", "add"} {
		inner, found := at[key]
		path += "." + key
		if found && len(object(inner)) == 0 {
			out = append(out, obstacle{path, "it is empty, and nobody would know that it was there when a cookie beside it is taken off", "take it out"})
		}
		if key == "add" {
			break
		}
		at = object(inner)
		for name := range object(at["set"]) {
			if key == "response" && strings.EqualFold(name, cookieHeader) {
				out = append(out, cookieTaken(path+".set."+name))
			}
		}
	}
	for name := range object(at["add"]) {
		if strings.EqualFold(name, cookieHeader) {
			out = append(out, cookieTaken(path+"."+name))
		}
	}
	return out
}

func cookieTaken(field string) obstacle {
	return obstacle{field, "the route says itself which cookies its answers set, and leaves no room for the cookie of a version", stickyOff + ", or let the application set its cookies"}
}

// byCookie are the requests with one value of the cookie.
func byCookie(s canary.Sticky, value string) canary.Header {
	return canary.Header{Name: s.Cookie, Match: canary.MatchCookie, Values: []string{value}}
}

// Unsticky finds the routes that cannot keep users on a version by t.Sticky. It
// blocks. What is ours, as the marks tell, doesn't count. With t.Pin it is of the
// routes as they would be pinned.
func Unsticky(doc map[string]any, svc Service, t canary.Traffic, marks []string) []canary.Finding {
	if t.Sticky == nil || checkSticky(*t.Sticky) != nil {
		return nil
	}
	bare := withRoutes(doc)
	stripCookies(bare, svc, parseCookieMarks(marks))
	bare = planned(bare, svc, t)
	var out []canary.Finding
	for _, r := range Find(bare, svc, t.Stable, t.Canary) {
		if !r.Serves() {
			continue
		}
		for _, o := range obstacles(object(httpOf(bare)[r.Index]), r, svc, t) {
			out = append(out, canary.Finding{
				Reason: canary.StickyImpossible, Blocking: true, Object: KeyOf(doc),
				Field: o.field, Problem: o.problem, Mend: sentence(o.mend),
			})
		}
	}
	return out
}
