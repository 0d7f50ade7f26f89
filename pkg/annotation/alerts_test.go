package annotation_test

import (
	"slices"
	"strings"
	"testing"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/alertmanager/matcher"
)

func TestAlertsThatCount(t *testing.T) {
	for name, c := range map[string]struct{ value, want string }{
		"the operator's":              {"default", ""},
		"the operator's, with spaces": {" default ", ""},
		"none":                        {"none", canary.NoAlerts},
		"the team's":                  {` team="shop" `, `team="shop"`},
		"the operator's and others":   {`default; alertname=~"Checkout.*"`, `default; alertname=~"Checkout.*"`},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := given("alerts", c.value)
			if err != nil || p.Spec.Alerts != c.want {
				t.Errorf("got %q, %v", p.Spec.Alerts, err)
			}
		})
	}
}

func TestMistakesInAlerts(t *testing.T) {
	_, err := given("alerts", `severity=~"(", service="{svc}"`)
	want := []string{
		`serin.dev/alerts: "severity=~\"(\", service=\"{svc}\"" has a regular expression at character 11 that doesn't compile`,
		"has the placeholder {svc} at character 24, which is none; known are {namespace}, {service}, {canary}, {stable}",
	}
	if got := annotation.Mistakes(err); !slices.EqualFunc(got, want, strings.Contains) {
		t.Errorf("got %q", got)
	}
}

// What a Deployment says stands above the default of the configuration, in both ways.
func TestAlertsByDefault(t *testing.T) {
	defaults, err := annotation.ParseDefaults(map[string]string{"alerts": "none"}, "defaults.", nil)
	if err != nil || defaults.Alerts != canary.NoAlerts {
		t.Fatalf("got %q, %v", defaults.Alerts, err)
	}
	for value, want := range map[string]string{"default": "", "team=a": "team=a"} {
		p, err := annotation.Parse(map[string]string{"serin.dev/canary": "true", "serin.dev/alerts": value}, annotation.Vocabulary{Defaults: defaults})
		if err != nil || p.Spec.Alerts != want {
			t.Errorf("%s: got %q, %v", value, p.Spec.Alerts, err)
		}
	}
}

func FuzzAlerts(f *testing.F) {
	fuzz(f, "alerts", `{a=b};c=~"[{service}]"`, "a=b;", strings.Repeat("a=b,", matcher.MaxMatchers))
}
