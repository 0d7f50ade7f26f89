package annotation_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
)

// operators are the gates of an operator, by name.
var operators = []annotation.Gate{
	{Name: "hours", Stages: []canary.Stage{canary.BeforeStart, canary.BeforeStep, canary.BeforePromotion}},
	{Name: "security", Stages: []canary.Stage{canary.BeforeStart}},
}

func TestGates(t *testing.T) {
	start := []canary.Stage{canary.BeforeStart}
	cases := []struct {
		name, value string
		known       []annotation.Gate
		want        []canary.GateUse
	}{
		{"none", "none", operators, nil},
		{"asked when the operator said", "security, hours", operators, []canary.GateUse{{Name: "security", Stages: start}, {Name: "hours", Stages: operators[0].Stages}}},
		{"asked when the team says, in the order of a release", "hours@ after-rollback + before-start", operators, []canary.GateUse{{Name: "hours", Stages: []canary.Stage{canary.BeforeStart, canary.AfterRollback}}}},
		{"which there are isn't known", "any, other@before-step", nil, []canary.GateUse{{Name: "any", Stages: start}, {Name: "other", Stages: []canary.Stage{canary.BeforeStep}}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := annotation.Parse(prefixed(map[string]string{"gates": c.value}), annotation.Vocabulary{Defaults: annotation.Defaults(), Gates: c.known})
			if err != nil || !reflect.DeepEqual(p.Spec.Gates, c.want) {
				t.Errorf("got %+v, %v", p.Spec.Gates, err)
			}
		})
	}
}

func TestMistakesInGates(t *testing.T) {
	cases := []struct {
		name, value string
		known       []annotation.Gate
		want        string
	}{
		{"all that are known are named", "hour", operators, `names the gate "hour", which is not defined; known are hours, security; others have to be defined in the configuration of Serin first`},
		{"none is defined", "hours", []annotation.Gate{}, `names the gate "hours", which is not defined; there is none: define it under gates`},
		{"a name that none can have", "Hours!", nil, `has "Hours!", which is no name of a gate; write names of gates`},
		{"an empty name", "hours,", operators, `has "", which is no name of a gate`},
		{"a gate twice", "hours, hours@before-step", operators, `has "hours" twice; write each gate once, with all its stages`},
		{"a gate and none", "none, hours", operators, `has "none" beside others`},
		{"a near stage", "hours@before-steps", operators, `has the stage "before-steps", which is none of the choices; did you mean "before-step"?`},
		{"no stage", "hours@", operators, `has the stage "", which is none of the choices; write before-start, before-step, before-promotion, before-rollback, after-rollback, with a + between several`},
		{"a stage twice", "hours@before-step+before-step", operators, `has the stage "before-step" twice for one gate`},
		{"a stage of no gate", "hours@always", operators, `has the stage "always", which is none of the choices`},
		{"too many", "a,b,c,d,e,f,g,h,i", nil, `has 9 gates, at most 8 are allowed`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := annotation.Parse(prefixed(map[string]string{"gates": c.value}), annotation.Vocabulary{Defaults: annotation.Defaults(), Gates: c.known})
			if got := annotation.Mistakes(err); len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("got  %q\nwant %s", got, c.want)
			}
		})
	}
}

func TestGatesMayBeADefault(t *testing.T) {
	d, err := annotation.ParseDefaults(map[string]string{"gates": "hours"}, "defaults.", operators)
	if err != nil || len(d.Gates) != 1 || !slices.Equal(d.Gates[0].Stages, operators[0].Stages) {
		t.Fatalf("got %+v, %v", d.Gates, err)
	}
	_, err = annotation.ParseDefaults(map[string]string{"gates": "hour"}, "defaults.", operators)
	if got := annotation.Mistakes(err); len(got) != 1 || !strings.HasPrefix(got[0], `defaults.gates: "hour" names the gate "hour"`) {
		t.Errorf("got %q", got)
	}
	for value, want := range map[string]int{"none": 0, "security": 1} {
		p, err := annotation.Parse(prefixed(map[string]string{"gates": value}), annotation.Vocabulary{Defaults: d, Gates: operators})
		if err != nil || len(p.Spec.Gates) != want || want == 1 && p.Spec.Gates[0].Name != value {
			t.Errorf("a team's %s in place of the default: %+v, %v", value, p.Spec.Gates, err)
		}
	}
}

func TestSmokeChecksAreKeptAsWritten(t *testing.T) {
	const text = `GET /healthz ;  POST /items {"a": "x;y"} 201 take id=.id then GET /items/{id}`
	p, err := given("smoke", "  "+text)
	if err != nil || p.Spec.Smoke != text {
		t.Errorf("got %q, %v", p.Spec.Smoke, err)
	}
	if p, err := given("smoke", "none"); err != nil || p.Spec.Smoke != "" {
		t.Errorf("none: got %q, %v", p.Spec.Smoke, err)
	}
	long := "GET /" + strings.Repeat("a", canary.MaxSmokeBytes-5)
	if p, err := given("smoke", long); err != nil || p.Spec.Smoke != long {
		t.Errorf("as long as it may be: %v", err)
	}
}

func TestMistakesInSmokeChecks(t *testing.T) {
	const text = "GET healthz; DELETE /items 200; GET /x 2000"
	_, err := given("smoke", text)
	want := []string{
		`serin.dev/smoke: "` + text + `" has "healthz" at character 5, which is no path; write one that begins with a slash, like "/healthz"`,
		`serin.dev/smoke: "` + text + `" has "DELETE" at character 14, which is neither GET nor POST; begin each check with one of them, like "GET /healthz"`,
		`serin.dev/smoke: "` + text + `" has "2000" at character 40, which is nothing that can be wanted; write a status like 200 or 2xx, a time like <300ms, "contains" and a text, or "take" and a value`,
	}
	if got := annotation.Mistakes(err); !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	_, err = given("smoke", "GET /"+strings.Repeat("a", canary.MaxSmokeBytes))
	if got := annotation.Mistakes(err); len(got) != 1 || !strings.Contains(got[0], "is 605 bytes long, at most 600 are allowed") {
		t.Errorf("got %q", got)
	}
}
