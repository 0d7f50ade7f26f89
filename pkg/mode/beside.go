package mode

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
)

// This file is the last look at what stands on routes for a while: copies, cookies,
// and routes of our own. It knows nothing of how they are made, and looks at what they
// would do.

// ourCookies begins the value of each cookie of ours, and setCookie is where it stands.
const (
	ourCookies = "serin-"
	setCookie  = "set-cookie"
)

// plain is a route without what may stand on it for a while. It shares what it has
// with the route given.
func plain(entry map[string]any, r route.Route, svc route.Service, namespace string, s Sides) map[string]any {
	out := entry
	if all, found := entry["mirrors"].([]any); found {
		kept := slices.DeleteFunc(slices.Clone(all), func(m any) bool { return toCanary(m, svc, namespace, s) })
		if len(kept) < len(all) {
			out = with(out, "mirrors", kept)
		}
		if len(kept) == 0 && len(all) > 0 {
			out = without(out, "mirrors")
		}
	}
	items, _ := entry["route"].([]any)
	led := slices.Clone(items)
	for _, d := range r.Destinations {
		if item, _ := items[d.Index].(map[string]any); d.ToService && strings.HasPrefix(cookieOf(item), ourCookies) {
			led[d.Index] = withoutCookie(item)
		}
	}
	if led != nil {
		out = with(out, "route", led)
	}
	return out
}

// toCanary tells that an entry of a route's mirrors sends copies to the canary.
func toCanary(mirror any, svc route.Service, namespace string, s Sides) bool {
	policy, _ := mirror.(map[string]any)
	to, _ := policy["destination"].(map[string]any)
	host, _ := to["host"].(string)
	return svc.Matches(host, namespace) && to["subset"] == s.Canary
}

// cookieOf is the cookie that a destination adds to answers; empty: none.
func cookieOf(item map[string]any) string {
	headers, _ := item["headers"].(map[string]any)
	response, _ := headers["response"].(map[string]any)
	add, _ := response["add"].(map[string]any)
	value, _ := add[setCookie].(string)
	return value
}

// withoutCookie is a destination without it, and without the maps that it leaves empty.
func withoutCookie(item map[string]any) map[string]any {
	headers, _ := item["headers"].(map[string]any)
	response, _ := headers["response"].(map[string]any)
	add, _ := response["add"].(map[string]any)
	return replaced(item, "headers", replaced(headers, "response", replaced(response, "add", without(add, setCookie))))
}

func replaced(m map[string]any, key string, inner map[string]any) map[string]any {
	if len(inner) == 0 {
		return without(m, key)
	}
	return with(m, key, inner)
}

// verifyBeside looks at copies, cookies and routes of our own after an edit that
// orders t: nothing of it may be there that is not ordered or was not there before.
func verifyBeside(before, after map[string]any, svc route.Service, s Sides, t canary.Traffic) error {
	if route.Equal(before["spec"], after["spec"]) {
		return nil // whatever a hand did there, it is not written by us
	}
	old, now := userRoutes(before, svc, s), userRoutes(after, svc, s)
	var errs []error
	for i := range min(len(old), len(now)) {
		if err := errors.Join(verifyCopies(old[i], now[i], t.Mirror), verifyCookies(old[i], now[i], s, t)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", now[i].path, err))
		}
	}
	return errors.Join(append(errs, verifyOwn(after, svc, s, t))...)
}

func verifyCopies(old, now userRoute, share int) error {
	fresh := slices.DeleteFunc(slices.Clone(now.copies), func(m any) bool {
		return slices.ContainsFunc(old.copies, func(o any) bool { return route.Equal(m, o) })
	})
	ordered := func(m any) bool {
		policy, _ := m.(map[string]any)
		return len(policy) == 2 && route.Equal(policy["percentage"], map[string]any{"value": int64(share)})
	}
	switch {
	case !now.route.Serves() && len(fresh) > 0:
		return errors.New("a route that serves no users sends copies")
	case share == 0 && len(fresh) > 0:
		return errors.New("it sends copies to the canary that nobody ordered")
	case share > 0 && now.route.Serves() && (len(now.copies) != 1 || !ordered(now.copies[0])):
		return fmt.Errorf("it sends other copies to the canary than the ordered ones of %d%%", share)
	}
	return nil
}

func verifyCookies(old, now userRoute, s Sides, t canary.Traffic) error {
	wanted := t.Sticky != nil && t.Weight > 0 && t.Weight < 100 && now.route.Serves()
	for _, d := range now.route.Destinations {
		value, ordered := now.cookies[d.Index], ""
		if wanted && d.ToService && d.Subset == s.Stable {
			ordered = t.Sticky.Cookie + "=" + t.Sticky.Stable + ";"
		}
		if wanted && d.ToService && d.Subset == s.Canary {
			ordered = t.Sticky.Cookie + "=" + t.Sticky.Canary + ";"
		}
		switch {
		case ordered != "" && !strings.HasPrefix(value, ordered):
			return fmt.Errorf("route[%d] sets the cookie %q and not that of its version", d.Index, value)
		case ordered == "" && strings.HasPrefix(value, ourCookies) && !slices.Contains(old.cookies, value):
			return fmt.Errorf("route[%d] sets the cookie %q, which nobody ordered", d.Index, value)
		}
	}
	return nil
}

// verifyOwn looks at routes of our own: each is the user's behind it for some of its
// requests, leads to one version, and sends no copies of its own.
func verifyOwn(doc map[string]any, svc route.Service, s Sides, t canary.Traffic) error {
	spec, _ := doc["spec"].(map[string]any)
	all, _ := spec["http"].([]any)
	namespace := namespaceOf(doc)
	var errs []error
	behind := map[int]route.Route{}
	for _, r := range route.Find(doc, svc, s.Stable, s.Canary) {
		behind[r.Index] = r
	}
	for i := range all {
		r, found := behind[i]
		if !found || !r.Own() {
			continue
		}
		own, _ := all[i].(map[string]any)
		next := i + 1
		for next < len(all) && ownName(nameOf(all[next])) {
			next++
		}
		if err := verifyOneOwn(own, r, t); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.Path, err))
			continue
		}
		user, found := behind[next]
		if !found || !user.Serves() {
			errs = append(errs, fmt.Errorf("%s: our own route stands before none that serves users", r.Path))
			continue
		}
		entry, _ := all[next].(map[string]any)
		rest := func(m map[string]any) map[string]any {
			return without(without(without(without(m, "name"), "match"), "route"), "mirrors")
		}
		users := plain(entry, user, svc, namespace, s)
		if !route.Equal(rest(own), rest(users)) || !copiesLike(own, users) {
			errs = append(errs, fmt.Errorf("%s: our own route is not as the one behind it", r.Path))
		}
	}
	return errors.Join(errs...)
}

func verifyOneOwn(own map[string]any, r route.Route, t canary.Traffic) error {
	items, _ := own["route"].([]any)
	if len(items) != 1 || !r.Destinations[0].ToService || r.Destinations[0].Subset == "" {
		return errors.New("our own route leads to something else than a version")
	}
	if item, _ := items[0].(map[string]any); strings.HasPrefix(cookieOf(item), ourCookies) {
		return errors.New("our own route sets a cookie")
	}
	if len(r.Matches) == 0 {
		return errors.New("our own route takes everybody")
	}
	for _, m := range r.Matches {
		headers, _ := m["headers"].(map[string]any)
		cookies, _ := headers["cookie"].(map[string]any)
		pattern, _ := cookies["regex"].(string)
		switch {
		case len(headers) == 0:
			return errors.New("our own route takes everybody")
		case r.Cookie && (t.Sticky == nil || !strings.Contains(pattern, t.Sticky.Cookie)):
			return errors.New("our own route goes by a cookie that nobody ordered")
		}
	}
	return nil
}

// ownName tells that a route has a name like ours, of whichever Service. Others may
// begin alike, as those of an application called serin-something.
func ownName(name string) bool {
	return strings.HasPrefix(name, "serin-canary.") || strings.HasPrefix(name, "serin-cookie.")
}

// copiesLike tells that a route sends no copies but those of the one behind it. Some it
// leaves out: those of another Service's release.
func copiesLike(own, behind map[string]any) bool {
	mine, _ := own["mirrors"].([]any)
	theirs, _ := behind["mirrors"].([]any)
	for _, m := range mine {
		if !slices.ContainsFunc(theirs, func(o any) bool { return route.Equal(m, o) }) {
			return false
		}
	}
	return true
}

func nameOf(entry any) string {
	r, _ := entry.(map[string]any)
	name, _ := r["name"].(string)
	return name
}

func namespaceOf(doc map[string]any) string {
	metadata, _ := doc["metadata"].(map[string]any)
	namespace, _ := metadata["namespace"].(string)
	return namespace
}
