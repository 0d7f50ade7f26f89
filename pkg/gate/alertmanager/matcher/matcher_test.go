package matcher_test

import (
	"reflect"
	"strings"
	"testing"

	"serin.dev/serin/pkg/gate/alertmanager/matcher"
)

var names = map[string]string{"namespace": "shop", "service": "web", "canary": "web-v2", "stable": "web.v1"}

func TestARuleMatches(t *testing.T) {
	alert := map[string]string{"alertname": "CheckoutSlow", "namespace": "shop", "service": "web", "pod": "web-v2-7f9c-abcde", "note": `a "b", c; d`}
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"one label":                               {`namespace=shop`, true},
		"one label in quotes":                     {`namespace="shop"`, true},
		"spaces anywhere":                         {"  namespace =  \"shop\" \n,\talertname=~Checkout.+", true},
		"a comma at the end":                      {`namespace=shop,`, true},
		"braces":                                  {`{namespace="shop",service="web"}`, true},
		"all of a set have to hold":               {`namespace=shop, service=other`, false},
		"one of the sets has to hold":             {`service=other; namespace=shop`, true},
		"sets in braces":                          {`{service=other}; {namespace=shop}`, true},
		"none of the sets holds":                  {`service=other; namespace=bank`, false},
		"another value":                           {`namespace=shop, service!=other`, true},
		"not another value":                       {`namespace=shop, service!=web`, false},
		"an expression for the whole value":       {`alertname=~"Checkout"`, false},
		"an expression":                           {`alertname=~"Checkout.*"`, true},
		"an expression with alternatives":         {`alertname=~"Paid|CheckoutSlow"`, true},
		"not an expression":                       {`namespace=shop, alertname!~"Checkout.*"`, false},
		"a label that is missing is empty":        {`namespace=shop, team=""`, true},
		"a label that is missing is no other":     {`namespace=shop, team!=""`, false},
		"separators in quotes separate nothing":   {`note="a \"b\", c; d"`, true},
		"the release's own namespace":             {`namespace="{namespace}"`, true},
		"a placeholder in an expression":          {`pod=~"{canary}-.+"`, true},
		"a placeholder stands for itself":         {`pod=~"{stable}.+"`, false},
		"a placeholder in a class of characters":  {`alertname=CheckoutSlow, service=~"[{canary}]+"`, true},
		"counts in braces are no placeholder":     {`pod=~"web-v2-[0-9a-f]{4}-[a-z]{1,5}"`, true},
		"a label called default":                  {`"default"="", namespace=shop`, true},
		"names that are no classic label's":       {`"my label"="", namespace=shop`, true},
		"letters of other alphabets":              {`größe="", namespace=shop`, true},
		"an expression that may match other ends": {`alertname=~"X|Y"; alertname=~"Slow$|CheckoutSlow"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			rule, mistakes := matcher.Parse(c.text)
			if mistakes != nil {
				t.Fatal(mistakes)
			}
			if got := rule.For(names)(alert); got != c.want {
				t.Errorf("%s matches: %t", c.text, got)
			}
			again, mistakes := matcher.Parse(rule.String())
			if mistakes != nil || !reflect.DeepEqual(rule, again) {
				t.Errorf("%s is written as %s, which is read as %#v %v", c.text, rule, again, mistakes)
			}
		})
	}
}

func TestTheWordDefaultIsASetOfItsOwn(t *testing.T) {
	for text, want := range map[string]string{
		"default":                  "default",
		" default ;alertname=Slow": `default; alertname="Slow"`,
		"alertname=Slow; default":  `default; alertname="Slow"`,
		"default=x":                `"default"="x"`,
	} {
		rule, mistakes := matcher.Parse(text)
		if mistakes != nil || rule.String() != want {
			t.Errorf("%q is read as %s, %v", text, rule, mistakes)
		}
	}
}

func TestARuleKnowsWhichLabelsItNames(t *testing.T) {
	rule, _ := matcher.Parse(`namespace=shop; severity=~"page|ticket", team=a`)
	if !rule.Names("severity") || !rule.Names("namespace") || rule.Names("page") {
		t.Error(rule)
	}
}

func TestMistakesAreToldAllAtOnceWithTheirMend(t *testing.T) {
	for text, want := range map[string][]string{
		"":                       {`has no matcher at the end; write for example`},
		"{}":                     {`has no matcher at character 1; write`},
		"namespace":              {`has nothing at the end where one of = != =~ !~ is due; write`},
		"namespace=":             {`has nothing at the end where a value is due`},
		"=shop":                  {`has "=" at character 1 where the name of a label is due`},
		`""=shop`:                {`has a label without a name at character 4`},
		`namespace="shop`:        {`has a quote at character 11 that is not closed; write " at the end`},
		`pod=~"web\.x"`:          {`has a value at character 6 with an escape that is none; write \\ for one backslash`},
		`pod=~"web("`:            {"has a regular expression at character 6 that doesn't compile: missing closing ): `^(?:web()$`; write it"},
		`pod=~".*"`:              {`has a set that every alert matches, at character 1; name at least one label`},
		`pod!=x`:                 {`has a set that every alert matches`},
		`a=b; pod=""`:            {`has a set that every alert matches, at character 6`},
		`service="{deployment}"`: {`has the placeholder {deployment} at character 9, which is none; known are {namespace}, {service}, {canary}, {stable}`},
		`{a=b`:                   {`has nothing at the end where "}" or a comma is due`},
		`a=b}`:                   {`has "}" at character 4 where a comma, a semicolon or the end is due`},
		`a=b c=d`:                {`has "c" at character 5 where a comma`},
		"größe==x":               {`has "=" at character 7 where a value is due`},
		"default; default":       {"has the word default twice"},
		`a=b, pod=~"(", c=~")"; service="{x}"; default`: {
			"at character 11 that doesn't compile", "at character 19 that doesn't compile", "the placeholder {x} at character 32",
		},
		"a=b\xff":                             {"is no UTF-8 text"},
		strings.Repeat("a=b; ", 9) + "a=b":    {"has 10 sets with 10 matchers, at most 8 and 16 are allowed"},
		strings.Repeat("a", 401):              {"is 401 bytes long, at most 400 are allowed"},
		"'a'=b, c=d, =e, f=~[":                {`has "'" at character 1`, `has "=" at character 13`, "doesn't compile: missing closing ]"},
		`a="\xff"`:                            {"has a value at character 3 with an escape"},
		`namespace=shop, alertname=="Slow"`:   {`has "=" at character 27 where a value is due`},
		`namespace=shop alertname=~"[0-9"`:    {`has "a" at character 16 where a comma`},
		`severity=critical;`:                  {"has no matcher at the end"},
		`severity=critical;;namespace="shop"`: {"has no matcher at character 19"},
	} {
		_, mistakes := matcher.Parse(text)
		if len(mistakes) != len(want) {
			t.Errorf("%q: %v, wanted %d", text, mistakes, len(want))
			continue
		}
		for i, m := range mistakes {
			if !strings.Contains(m.Error(), want[i]) {
				t.Errorf("%q: %q, wanted %q", text, m.Error(), want[i])
			}
		}
	}
}

// FuzzParse: whatever comes, it is refused in sentences, or what was read is written
// and read again as the same, and can be used.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`namespace="shop", alertname=~"Checkout.*"; team="payments"`, `default; {a=b,}`, `a=~"[{service}]+",b!~"{canary}{2}"`, `"\""="\\"`, `a="\u00e9\n"`, `größe!=x,a=b`, "default=1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rule, mistakes := matcher.Parse(text)
		if len(mistakes) > 0 {
			for _, m := range mistakes {
				if m.Problem == "" || m.Mend == "" {
					t.Errorf("mistake %+v", m)
				}
			}
			return
		}
		if !rule.Default && len(rule.Sets) == 0 {
			t.Errorf("%q means nothing", text)
		}
		if rule.For(names)(nil) {
			t.Errorf("%q matches an alert without labels", text)
		}
		if len(rule.String()) > matcher.MaxBytes {
			return // quotes made it longer
		}
		again, mistakes := matcher.Parse(rule.String())
		if len(mistakes) > 0 || !reflect.DeepEqual(rule, again) {
			t.Errorf("%q is written as %q, which is read as %#v, %v", text, rule, again, mistakes)
		}
	})
}
