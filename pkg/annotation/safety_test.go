package annotation_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
)

func TestWhatKeepsAReleaseSafe(t *testing.T) {
	usual := annotation.Defaults()
	usual.Bake = 0
	with := func(change func(*canary.Spec)) canary.Spec {
		s := usual
		change(&s)
		return s
	}
	cases := []struct {
		name, key, value string
		want             canary.Spec
	}{
		{"nobody approves", "approval", "none", usual},
		{"one approval", "approval", "promotion", with(func(s *canary.Spec) { s.Approval = []string{"promotion"} })},
		{"two approvals, in the order of a release", "approval", "promotion ,test", with(func(s *canary.Spec) { s.Approval = []string{"test", "promotion"} })},
		{"every step says all of it", "approval", "test, every-step, promotion", with(func(s *canary.Spec) { s.Approval = []string{"every-step"} })},
		{"any tag but latest", "tags", "named", usual},
		{"semantic versions", "tags", "semver", with(func(s *canary.Spec) { s.Tags = canary.TagsSemVer })},
		{"a pattern keeps its commas", "tags", "regex: v[0-9]{1,3}", with(func(s *canary.Spec) { s.Tags = "regex:v[0-9]{1,3}" })},
		{"images named anyhow", "tags", "any", with(func(s *canary.Spec) { s.Tags = "" })},
		{"no more than a stable pod has", "capacity", "1x", with(func(s *canary.Spec) { s.Capacity = 1 })},
		{"half of it", "capacity", "0.5 x", with(func(s *canary.Spec) { s.Capacity = 0.5 })},
		{"as much as comes", "capacity", "none", with(func(s *canary.Spec) { s.Capacity = 0 })},
		{"the first restart ends it", "max-restarts", "1", with(func(s *canary.Spec) { s.MaxRestarts = 1 })},
		{"restarts don't count", "max-restarts", "none", with(func(s *canary.Spec) { s.MaxRestarts = 0 })},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := given(c.key, c.value)
			if err != nil || !reflect.DeepEqual(p.Spec, c.want) {
				t.Errorf("got %+v, %v", p.Spec, err)
			}
			defaults, err := annotation.ParseDefaults(map[string]string{c.key: c.value}, "defaults.", nil)
			if defaults.Bake = 0; err != nil || !reflect.DeepEqual(defaults, c.want) {
				t.Errorf("as a default: got %+v, %v", defaults, err)
			}
		})
	}
}

func TestMistakesInWhatKeepsAReleaseSafe(t *testing.T) {
	cases := []struct{ name, key, value, want string }{
		{"a near approval", "approval", "every-steps", `has "every-steps", which is none of the choices; did you mean "every-step"?`},
		{"an approval by whom", "approval", "boss", `has "boss", which is none of the choices; write none, every-step, or one or both of "test, promotion"`},
		{"an approval twice", "approval", "test, test", `has "test" twice; write each once`},
		{"no approval and one", "approval", "none, test", `has "none" beside others; write it alone, or take it away`},
		{"near tags", "tags", "semvar", `is none of the choices; did you mean "semver"?`},
		{"a pattern without its prefix", "tags", "v[0-9]+", `is none of the choices; write named, semver, any, or a regular expression for the whole tag, like "regex:v[0-9]+"`},
		{"an open bracket", "tags", "regex:(v", "has a regular expression that doesn't compile: missing closing ): `(v`; write an RE2 expression for the whole tag"},
		{"an empty expression", "tags", "regex:", `has an empty regular expression`},
		{"an endless expression", "tags", "regex:" + strings.Repeat("a", 201), `has a regular expression of 201 bytes, at most 200 are allowed`},
		{"capacity without x", "capacity", "2", `is no number of times; write how many times a stable pod's traffic, like "2x", or none`},
		{"capacity for nothing", "capacity", "0x", `is not between 0.1x and 100x`},
		{"capacity in percent", "capacity", "200%", `is no number of times`},
		{"no restart at all", "max-restarts", "0", `is no whole number from 1 to 1000; write the count of restarts that ends a release, like "3", or none`},
		{"half a restart", "max-restarts", "1.5", `is no whole number from 1 to 1000`},
		{"a signed number", "max-restarts", "+3", `is no whole number from 1 to 1000`},
		{"restarts without end", "max-restarts", "99999999999999999999", `is no whole number from 1 to 1000`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := given(c.key, c.value)
			got := annotation.Mistakes(err)
			if len(got) != 1 || !strings.HasPrefix(got[0], "serin.dev/"+c.key+": ") || !strings.Contains(got[0], c.want) {
				t.Errorf("got  %q\nwant %s", got, c.want)
			}
		})
	}
}

func TestSeveralMistakesInOneApproval(t *testing.T) {
	_, err := given("approval", "tst, none, promotion, promotion")
	want := []string{`did you mean "test"?`, `"none" beside others`, `"promotion" twice`}
	got := annotation.Mistakes(err)
	if len(got) != len(want) || !slices.EqualFunc(got, want, strings.Contains) {
		t.Errorf("got %q", got)
	}
}
