package smoke_test

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"serin.dev/serin/pkg/smoke"
)

// FuzzParse gives any text, and any value to all places of what is read: what comes out
// is read back as the same, and asks for a path of the pod that was given, and nothing
// else.
func FuzzParse(f *testing.F) {
	f.Add("GET /healthz; GET /api/items 200 <300ms contains ok", "7")
	f.Add(`POST /api/items {"name": "x;{id}"} 201 take id=.id take loc=header:location then GET /api/items/{id}?x={id} then GET {loc}/y`, "../..")
	f.Add(`POST /a "{" then GET`, "//host/\r\n")
	f.Add(`GET /a take v=[0].b then POST /{v}/{v} ["\u007bv}", "{v}"] contains "{v}\n"`, "%2e%2e\u2028")
	f.Fuzz(func(t *testing.T, text, value string) {
		checks, mistakes := smoke.Parse(text)
		if (checks == nil) == (mistakes == nil) {
			t.Fatalf("%v and %v", checks, mistakes)
		}
		for _, m := range mistakes {
			if m.Problem == "" || m.Mend == "" || m.At < 1 || m.At > len(text)+1 {
				t.Errorf("mistake %+v", m)
			}
		}
		if again, wrong := smoke.Parse(checks.String()); checks != nil && (wrong != nil || !reflect.DeepEqual(again, checks)) {
			t.Fatalf("%s is read back as %s, %v", checks, again, wrong)
		}
		if n := checks.Count(); n > smoke.MaxChecks {
			t.Errorf("%d checks", n)
		}
		for _, sequence := range checks {
			values := map[string]string{}
			for _, c := range sequence {
				sent(t, c, values)
				for _, take := range c.Take {
					values[take.Name] = value
					if path, err := take.From(answered(200, 0, value, "Location", value), "/a"); err == nil && take.Header == "location" {
						values[take.Name] = path
					}
				}
			}
		}
	})
}

func sent(t *testing.T, c smoke.Check, values map[string]string) {
	t.Helper()
	r, err := c.Fill(values)
	if err != nil {
		return
	}
	bad := func(r rune) bool { return r <= ' ' || r > unicode.MaxASCII || r == 0x7f || r == '#' || r == '\\' }
	if !strings.HasPrefix(r.Target, "/") || strings.HasPrefix(r.Target, "//") || strings.ContainsFunc(r.Target, bad) {
		t.Fatalf("%s asks for %q", c, r.Target)
	}
	if u, err := url.ParseRequestURI(r.Target); err != nil || u.Host != "" || u.Scheme != "" {
		t.Fatalf("%s asks for %q: %+v, %v", c, r.Target, u, err)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost || r.Method == http.MethodGet && r.Body != "" {
		t.Fatalf("%s sends %+v", c, r)
	}
}
