package invariant

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var rules = Rules{Service: "web", Subsets: Subsets{"v1", "v2"}}

// version is a VirtualService with one route: the user's own, or with a state
// and weights.
func version(t *testing.T, hand bool, state string, stable, canary int, edits ...string) Version {
	t.Helper()
	annotations, header := "{}", ""
	if state != "" {
		annotations = fmt.Sprintf("{serin.dev/state.web: '{%s, \"canary\":{\"s\":\"v2\"},\"spec\":{\"steps\":[{\"w\":5},{\"w\":25},{\"w\":100}]}}'}", state)
	}
	if tested(state) {
		header = "  - {name: serin-canary.web, match: [{headers: {x-app-version: {exact: canary}}}], timeout: 3s, route: [{destination: {host: web, subset: v2}}]}\n"
	}
	text := fmt.Sprintf(`
metadata: {name: web, resourceVersion: %q, annotations: %s}
spec:
  hosts: [shop.example.com]
  http:
%s  - timeout: 3s
    route:
    - {destination: {host: web, subset: v1}, weight: %d}
    - {destination: {host: web, subset: v2}, weight: %d}
    - {destination: {host: other}, weight: 10}
`, t.Name()+state, annotations, header, stable, canary)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("there is no %q in\n%s", edits[i], text)
		}
		text = strings.ReplaceAll(text, edits[i], edits[i+1])
	}
	v := Version{Name: "web", ByHand: hand}
	if err := yaml.Unmarshal([]byte(text), &v.Doc); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return v
}

// tested tells whether testers reach the canary by a header route.
func tested(state string) bool {
	return strings.Contains(state, "Testing") || strings.Contains(state, "Progressing") || strings.Contains(state, "Promoting")
}

func state(phase string, step, weight int) string {
	return fmt.Sprintf(`"rollout":"r","phase":%q,"step":%d,"weight":%d`, phase, step, weight)
}

func TestCheck(t *testing.T) {
	user := version(t, true, "", 90, 0)
	at := func(phase string, step, weight, stable, canary int, edits ...string) Version {
		return version(t, false, state(phase, step, weight), stable, canary, edits...)
	}
	for name, c := range map[string]struct {
		versions []Version
		want     string // part of the only error; empty for none
	}{
		"a promotion": {[]Version{
			user, at("Progressing", 1, 5, 86, 4), at("Progressing", 2, 25, 67, 23), at("Progressing", 3, 100, 0, 90), at("Succeeded", 3, 100, 0, 90),
		}, ""},
		"a rollback": {[]Version{user, at("Progressing", 1, 5, 85, 5), at("RollingBack", 1, 0, 90, 0), at("RolledBack", 1, 0, 90, 0)}, ""},
		"an opt-out": {[]Version{user, at("Progressing", 1, 5, 85, 5), version(t, false, "", 90, 0)}, ""},
		"the sum of the weights changes": {
			[]Version{user, at("Progressing", 1, 5, 95, 5)}, "not Serin's",
		},
		"another destination's weight changes": {
			[]Version{user, at("Progressing", 1, 5, 85, 5, "weight: 10", "weight: 11")}, "not Serin's",
		},
		"a field of the user's is lost": {
			[]Version{user, at("Progressing", 1, 5, 85, 5, "timeout: 3s", "timeout: 4s")}, "not Serin's",
		},
		"a field of the user's is changed by a hand": {
			[]Version{user, version(t, true, "", 90, 0, "timeout: 3s", "timeout: 4s"), at("Progressing", 1, 5, 85, 5, "timeout: 3s", "timeout: 4s")}, "",
		},
		"weights change without the state": {
			[]Version{user, at("Progressing", 1, 5, 60, 30)}, "the state says 5%",
		},
		"a state above its step": {
			[]Version{user, at("Progressing", 1, 6, 84, 6)}, "whose weight is 5%",
		},
		"a step is passed over": {
			[]Version{user, at("Progressing", 1, 5, 85, 5), at("Progressing", 3, 100, 0, 90)}, "step 3 comes after step 1",
		},
		"no header route": {
			[]Version{user, at("Progressing", 1, 5, 85, 5, "name: serin-canary.web, match: [{headers: {x-app-version: {exact: canary}}}]", "match: [{headers: {x: {exact: y}}}]")},
			"not Serin's",
		},
		"a header route at rest": {
			[]Version{user, at("Progressing", 1, 5, 85, 5, "Progressing", "RolledBack", `"weight":5`, `"weight":0`, "weight: 85", "weight: 90", "weight: 5}", "weight: 0}")},
			"1 header routes in phase RolledBack",
		},
		"a rollout that went back goes on": {
			[]Version{user, at("Progressing", 1, 5, 85, 5), at("RollingBack", 1, 0, 90, 0), at("Progressing", 1, 0, 90, 0)}, "is Progressing now",
		},
		"weight rises in a rollback": {
			[]Version{user, at("RollingBack", 1, 0, 90, 0), at("RollingBack", 1, 5, 85, 5)}, "rises from 0% to 5",
		},
		"an opt-out that leaves weight": {
			[]Version{user, at("Progressing", 1, 5, 85, 5), version(t, false, "", 85, 5)}, "no state, but 5",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := errors.Join(Check(c.versions, rules)...)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want nothing", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestCheckOfCopiesAndCookies(t *testing.T) {
	user := version(t, true, "", 90, 0)
	at := func(phase string, step, weight, stable, canary int, edits ...string) Version {
		return version(t, false, state(phase, step, weight), stable, canary, edits...)
	}
	mirrors := []string{`{"w":5}`, `{"w":0,"m":10}`, "  - timeout: 3s\n", "  - timeout: 3s\n    mirrors: [{destination: {host: web, subset: v2}, percentage: {value: 10}}]\n"}
	sticky := []string{
		`]}}'`, `],"sticky":"cookie"}}'`,
		"  - timeout: 3s\n", "  - {name: serin-cookie.canary.web, timeout: 3s, match: [{headers: {cookie: {regex: a}}}], route: [{destination: {host: web, subset: v2}}]}\n" +
			"  - {name: serin-cookie.stable.web, timeout: 3s, match: [{headers: {cookie: {regex: b}}}], route: [{destination: {host: web, subset: v1}}]}\n  - timeout: 3s\n",
		"subset: v1}, weight: 85", "subset: v1}, headers: {response: {add: {set-cookie: serin-web=b}}}, weight: 85",
		"subset: v2}, weight: 5", "subset: v2}, headers: {response: {add: {set-cookie: serin-web=a}}}, weight: 5",
	}
	for name, c := range map[string]struct {
		versions []Version
		want     string // part of an error; empty for none
	}{
		"copies, and none at rest":       {[]Version{user, at("Progressing", 1, 0, 90, 0, mirrors...), at("RollingBack", 1, 0, 90, 0, mirrors[:2]...), at("RolledBack", 1, 0, 90, 0, mirrors[:2]...)}, ""},
		"no copies where some are due":   {[]Version{user, at("Progressing", 1, 0, 90, 0, mirrors[:2]...)}, "0 routes send copies in phase Progressing at step 1, want 1"},
		"more copies":                    {[]Version{user, at("Progressing", 1, 0, 90, 0, append(mirrors, "value: 10", "value: 20")...)}, "the state says copies of 10%, a route sends 20% to v2"},
		"copies to stable":               {[]Version{user, at("Progressing", 1, 0, 90, 0, append(mirrors, "subset: v2}, percentage", "subset: v1}, percentage")...)}, "a route sends 10% to v1"},
		"copies to somebody else":        {[]Version{user, at("Progressing", 1, 0, 90, 0, append(mirrors, "web, subset: v2}, percentage", "evil}, percentage")...)}, "not Serin's"},
		"copies after the rollback":      {[]Version{user, at("Progressing", 1, 0, 90, 0, mirrors...), at("RolledBack", 1, 0, 90, 0, mirrors...)}, "1 routes send copies in phase RolledBack"},
		"copies that an opt-out leaves":  {[]Version{user, at("Progressing", 1, 0, 90, 0, mirrors...), version(t, false, "", 90, 0, mirrors[2:]...)}, "1 copies, cookies and routes for them are left"},
		"cookies, and none at rest":      {[]Version{user, at("Progressing", 1, 5, 85, 5, sticky...), at("RolledBack", 1, 0, 90, 0)}, ""},
		"no cookies where they are due":  {[]Version{user, at("Progressing", 1, 5, 85, 5, sticky[:2]...)}, "0 routes for cookies in phase Progressing at 5%, want 2"},
		"one version without its cookie": {[]Version{user, at("Progressing", 1, 5, 85, 5, sticky[:6]...)}, "1 destinations set cookies in phase Progressing at 5%, want 2"},
		"cookies that nobody asked for":  {[]Version{user, at("Progressing", 1, 5, 85, 5, sticky[2:]...)}, "2 routes for cookies in phase Progressing at 5%, want 0"},
		"another header comes with them": {[]Version{user, at("Progressing", 1, 5, 85, 5, append(sticky, "set-cookie: serin-web=b", "x-evil: c, set-cookie: serin-web=b")...)}, "not Serin's"},
		"a cookie of the application's":  {[]Version{user, at("Progressing", 1, 5, 85, 5, append(sticky, "set-cookie: serin-web=b", "set-cookie: session=b")...)}, "not Serin's"},
		"cookies that an opt-out leaves": {[]Version{user, at("Progressing", 1, 5, 85, 5, sticky...), version(t, false, "", 85, 5, sticky[2:]...)}, "4 copies, cookies and routes for them are left"},
	} {
		t.Run(name, func(t *testing.T) {
			err := errors.Join(Check(c.versions, rules)...)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if errs := AtRest(version(t, false, state("RolledBack", 1, 0), 90, 0, mirrors...).Doc, rules, "v1", 100); len(errs) != 1 {
		t.Errorf("copies at rest: %v", errs)
	}
}

func TestALoneDestinationMayBecomeTwoAndOneAgain(t *testing.T) {
	lone := []string{
		"- {destination: {host: web, subset: v1}, weight: 100}\n", "- {destination: {host: web, subset: v1}}\n",
		"    - {destination: {host: web, subset: v2}, weight: 0}\n", "",
		"    - {destination: {host: other}, weight: 10}\n", "",
	}
	two := []string{"    - {destination: {host: other}, weight: 10}\n", ""}
	errs := Check([]Version{
		version(t, true, "", 100, 0, lone...),
		version(t, false, state("Progressing", 1, 5), 95, 5, two...),
		version(t, false, state("RolledBack", 1, 0), 100, 0, lone...),
	}, rules)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func TestAtRest(t *testing.T) {
	owner := "resourceVersion"
	owned := `managedFields: [{manager: serin, fieldsV1: {"f:spec": {}}}], resourceVersion`
	for name, c := range map[string]struct {
		v    Version
		want string
	}{
		"as it has to be":         {version(t, false, state("Succeeded", 3, 100), 0, 90), ""},
		"the weight is elsewhere": {version(t, false, state("Succeeded", 3, 100), 90, 0), "subset v2 has 0%"},
		"a header route is left":  {version(t, false, state("Progressing", 3, 100), 0, 90), "1 header routes"},
		"the spec is owned":       {version(t, false, state("Succeeded", 3, 100), 0, 90, owner, owned), "serin owns"},
	} {
		t.Run(name, func(t *testing.T) {
			err := errors.Join(AtRest(c.v.Doc, rules, "v2", 100)...)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want nothing", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// inPlace is a VirtualService of somebody who knows nothing of subsets, or what
// a release makes of it.
func inPlace(t *testing.T, state string, destinations ...string) Version {
	t.Helper()
	edits := []string{
		"    - {destination: {host: web, subset: v1}, weight: 100}\n    - {destination: {host: web, subset: v2}, weight: 0}\n    - {destination: {host: other}, weight: 10}\n",
		"    - {destination: {host: web, " + strings.Join(destinations, "}\n    - {destination: {host: web, ") + "}\n",
	}
	if tested(state) {
		edits = append(edits, "[{destination: {host: web, subset: v2}}]}", "[{destination: {host: web, subset: serin-canary}}]}")
	}
	if state != "" {
		edits = append(edits, `"s":"v2"`, `"s":"serin-canary"`)
	}
	return version(t, state == "", state, 100, 0, edits...)
}

func TestInPlace(t *testing.T) {
	rules := Rules{Service: "web", Subsets: Subsets{"serin-stable", "serin-canary"}, InPlace: true}
	user := inPlace(t, "", "subset: all}")
	back := user
	back.ByHand = false
	pinned := func(phase string, stable, canary int) Version {
		step := map[int]int{0: 1, 25: 2, 100: 3}[canary]
		return inPlace(t, state(phase, step, canary), fmt.Sprintf("subset: serin-stable}, weight: %d", stable), fmt.Sprintf("subset: serin-canary}, weight: %d", canary))
	}
	own := func(v Version) Version { v.Name = "web-serin"; return v }
	for name, c := range map[string]struct {
		versions []Version
		want     string
	}{
		"a release": {[]Version{
			user, pinned("Testing", 100, 0), pinned("Progressing", 75, 25), pinned("Progressing", 0, 100), pinned("Promoting", 0, 100), pinned("Finishing", 100, 0),
			inPlace(t, state("Succeeded", 3, 0), "subset: all}"), back,
		}, ""},
		"our own VirtualService comes, goes and comes again": {[]Version{
			own(pinned("Finishing", 100, 0)), {Name: "web-serin"}, own(inPlace(t, state("Finishing", 1, 0), "subset: serin-stable}, weight: 50", "subset: serin-canary}, weight: 0")),
		}, ""},
		"a route that is not pinned": {
			[]Version{user, inPlace(t, state("Finishing", 1, 0), "subset: all}")}, "1 of 1 destinations are not pinned",
		},
		"a subset of ours that is left": {
			[]Version{user, pinned("Finishing", 100, 0), {Name: "web", Doc: inPlace(t, "", "subset: serin-stable}").Doc}}, "routes lead to subsets of Serin's",
		},
		"another field is lost on the way back": {
			[]Version{user, pinned("Finishing", 100, 0), {Name: "web", Doc: version(t, false, "", 100, 0).Doc}}, "not Serin's",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := errors.Join(Check(c.versions, rules)...)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want nothing", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if AsWritten(user.Doc) != AsWritten(back.Doc) || AsWritten(user.Doc) == AsWritten(pinned("Finishing", 100, 0).Doc) {
		t.Error("what was written is not told from what was not")
	}
}
