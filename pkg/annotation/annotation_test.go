package annotation_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
)

const minute = time.Minute

// given parses one key of an opted-in Deployment over the built-in defaults.
func given(key, value string) (annotation.Parsed, error) {
	return annotation.Parse(map[string]string{"serin.dev/canary": "true", "serin.dev/" + key: value}, annotation.Defaults())
}

func TestOneAnnotationIsAllThatIsNeeded(t *testing.T) {
	p, err := annotation.Parse(map[string]string{"serin.dev/canary": "true"}, annotation.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	want := annotation.Defaults()
	want.Bake = 0
	if !p.OptedIn || p.Command != nil || !reflect.DeepEqual(p.Spec, want) {
		t.Errorf("got %+v", p)
	}
}

func TestOptingIn(t *testing.T) {
	cases := []struct {
		name        string
		annotations map[string]string
		optedIn     bool
		mistakes    int
	}{
		{"without annotations a Deployment is not opted in", nil, false, 0},
		{"others' annotations are none of ours", map[string]string{"serin.example/canary": "yes", "canary": "true"}, false, 0},
		{"true opts in", map[string]string{"serin.dev/canary": " true\n"}, true, 0},
		{"false opts out", map[string]string{"serin.dev/canary": "false"}, false, 0},
		{"false opts out whatever else is wrong", map[string]string{"serin.dev/canary": "false", "serin.dev/bake": "soon"}, false, 1},
		{"a malformed value holds and doesn't opt out", map[string]string{"serin.dev/canary": "yes"}, true, 1},
		{"an empty value holds and doesn't opt out", map[string]string{"serin.dev/canary": ""}, true, 1},
		{"an endless value holds and doesn't opt out", map[string]string{"serin.dev/canary": strings.Repeat("true", 200)}, true, 1},
		{"mistakes are told before opting in, too", map[string]string{"serin.dev/canry": "true"}, false, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := annotation.Parse(c.annotations, annotation.Defaults())
			if p.OptedIn != c.optedIn || len(annotation.Mistakes(err)) != c.mistakes {
				t.Errorf("opted in %v, error %v", p.OptedIn, err)
			}
		})
	}
}

func TestStepsAndBakes(t *testing.T) {
	cases := []struct {
		name        string
		annotations map[string]string
		want        string
	}{
		{"default steps with the default bake", nil, "5/2m0s 25/2m0s 100/2m0s"},
		{"steps take the default bake", map[string]string{"steps": "10%, 100%"}, "10/2m0s 100/2m0s"},
		{"a step may carry its own bake", map[string]string{"steps": "5%/10m,25% / 90s , 100%"}, "5/10m0s 25/1m30s 100/2m0s"},
		{"bake is for steps that name none", map[string]string{"steps": "5%/10m, 100%", "bake": "7m"}, "5/10m0s 100/7m0s"},
		{"bake without steps is for the default steps", map[string]string{"bake": "7m"}, "5/7m0s 25/7m0s 100/7m0s"},
		{"a single step is a release at once", map[string]string{"steps": "100%"}, "100/2m0s"},
		{"testers first, for a time", map[string]string{"steps": "0%/5m, 100%"}, "test 5m0s 100/2m0s"},
		{"testers first, for the bake", map[string]string{"steps": "0%, 100%", "bake": "3m"}, "test 3m0s 100/3m0s"},
		{"days are understood", map[string]string{"steps": "5%/1d12h, 100%", "step-deadline": "3d"}, "5/36h0m0s 100/2m0s"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := annotation.Parse(prefixed(c.annotations), annotation.Defaults())
			if err != nil {
				t.Fatal(err)
			}
			if got := outline(p.Spec); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestTheConfiguredDefaultsAreKept(t *testing.T) {
	defaults, err := annotation.ParseDefaults(map[string]string{
		"steps": "0%/5m, 1%/10m, 50%, 100%", "bake": "4m", "header": "none", "on-inconclusive": "hold",
	}, "defaults.")
	if err != nil {
		t.Fatal(err)
	}
	p, err := annotation.Parse(map[string]string{"serin.dev/canary": "true", "serin.dev/bake": "6m"}, defaults)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := outline(p.Spec), "test 5m0s 1/10m0s 50/6m0s 100/6m0s"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if p.Spec.OnInconclusive != canary.HoldInconclusive || p.Spec.Header.Name != "" {
		t.Errorf("got %+v", p.Spec)
	}
	if got := outline(defaults); got != "test 5m0s 1/10m0s 50/4m0s 100/4m0s" {
		t.Errorf("the defaults were changed: %s", got)
	}
}

func TestDefaultsAreCheckedLikeAnnotations(t *testing.T) {
	_, err := annotation.ParseDefaults(map[string]string{"steps": "5%", "command": "abort", "bak": "2m"}, "defaults.")
	want := []string{
		`defaults.steps: "5%" ends at 5%; add "100%" as the last step`,
		`defaults.command: "abort" belongs to one Deployment and has no default; write it as the annotation serin.dev/command there`,
		`defaults.bak: "2m" is not a key of this release; did you mean "bake"?`,
	}
	if got := annotation.Mistakes(err); !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestLimits(t *testing.T) {
	cases := []struct {
		key, value  string
		rate, ratio float64
		p99         time.Duration
	}{
		{"max-error-rate", "5%", 0.05, 0, 2 * time.Second},
		{"max-error-rate", "0.5 % ,1.5x", 0.005, 1.5, 2 * time.Second},
		{"max-p99", "750ms", 0.01, 2, 750 * time.Millisecond},
	}
	for _, c := range cases {
		p, err := given(c.key, c.value)
		l := p.Spec.Limits
		if err != nil || l.ErrorRate != c.rate || l.ErrorRatio != c.ratio || l.P99 != c.p99 {
			t.Errorf("%s %q: got %+v, %v", c.key, c.value, l, err)
		}
	}
}

func TestHeader(t *testing.T) {
	cases := []struct {
		name, value string
		want        canary.Header
	}{
		{"a header with a value", "X-App-Version: canary", canary.Header{Name: "x-app-version", Match: "exact", Values: []string{"canary"}}},
		{"user groups", "x-group:beta,staff", canary.Header{Name: "x-group", Match: "exact", Values: []string{"beta", "staff"}}},
		{"values keep their case and inner signs", "x-agent: Team A:1", canary.Header{Name: "x-agent", Match: "exact", Values: []string{"Team A:1"}}},
		{"a prefix", "x-group: prefix:beta-", canary.Header{Name: "x-group", Match: "prefix", Values: []string{"beta-"}}},
		{"a regular expression keeps its commas", "x-id: regex: [0-9]{1,3}7", canary.Header{Name: "x-id", Match: "regex", Values: []string{"[0-9]{1,3}7"}}},
		{"a cookie", "Cookie: Track=canary, beta", canary.Header{Name: "Track", Match: "cookie", Values: []string{"canary", "beta"}}},
		{"none", "none", canary.Header{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := given("header", c.value)
			if err != nil || !reflect.DeepEqual(p.Spec.Header, c.want) {
				t.Errorf("got %+v, %v", p.Spec.Header, err)
			}
		})
	}
}

func TestNames(t *testing.T) {
	p, err := annotation.Parse(prefixed(map[string]string{
		"service": "web", "virtual-service": "web, web.gateway", "stable-subset": "v1", "canary-subset": "v2",
	}), annotation.Defaults())
	s := p.Spec
	if err != nil || s.Service != "web" || !slices.Equal(s.VirtualServices, []string{"web", "web.gateway"}) || s.StableSubset != "v1" || s.CanarySubset != "v2" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestCommand(t *testing.T) {
	cases := map[string]canary.Command{
		"abort":        {Verb: "abort"},
		" pause ":      {Verb: "pause"},
		"promote #42":  {Verb: "promote", ID: "42"},
		"retry#a.b-c_": {Verb: "retry", ID: "a.b-c_"},
		"rollback #1":  {Verb: "rollback", ID: "1"},
	}
	for value, want := range cases {
		p, err := given("command", value)
		if err != nil || p.Command == nil || *p.Command != want {
			t.Errorf("%q: got %+v, %v", value, p.Command, err)
		}
	}
}

func TestAnAbortWorksBesideMistakes(t *testing.T) {
	p, err := annotation.Parse(map[string]string{
		"serin.dev/canary": "true", "serin.dev/command": "abort", "serin.dev/bake": "2", "serin.dev/service": "web",
	}, annotation.Defaults())
	if err == nil || p.Command == nil || p.Command.Verb != canary.CommandAbort {
		t.Errorf("got %+v, %v", p, err)
	}
	if p.Spec.Service != "web" || p.Spec.Steps != nil {
		t.Errorf("got %+v: want the valid names and nothing to release by", p.Spec)
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	_, err := annotation.Parse(prefixed(map[string]string{
		"steps": "5, 3%, 120%", "bake": "2", "max-p99": "1.5x", "stpes": "5%", "comand": "abort", "state.web": "{}",
	}), annotation.Defaults())
	want := []string{
		`serin.dev/steps: "5, 3%, 120%" has the step "5", which is no whole percent; write ascending shares, like "5%, 25%, 100%" or "5%/10m, 100%"`,
		`serin.dev/steps: "5, 3%, 120%" has the step "120%" above 100%; write ascending shares, like "5%, 25%, 100%" or "5%/10m, 100%"`,
		`serin.dev/bake: "2" has no unit (ms, s, m, h or d); write for example "10m"`,
		`serin.dev/max-p99: "1.5x" compares with stable, which this release can't do for latency; write a limit like "2s"`,
		`serin.dev/comand: "abort" is not a key of this release; did you mean "command"?`,
		`serin.dev/state.web: "{}" is Serin's own record and stands on VirtualServices only; take it off the Deployment`,
		`serin.dev/stpes: "5%" is not a key of this release; did you mean "steps"?`,
	}
	if got := annotation.Mistakes(err); !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestMistakes(t *testing.T) {
	cases := []struct{ name, key, value, want string }{
		{"true in capitals", "canary", "True", `"True" is neither true nor false; write "true" to opt in or "false" to opt out`},
		{"an empty value", "bake", " ", `" " is empty; write for example "10m", or take the key away`},
		{"an endless value", "header", "x: " + strings.Repeat("a", 600), `is 603 bytes long, at most 512 are allowed; write for example "x-group: beta, staff"`},
		{"steps that fall", "steps", "50%, 25%, 100%", `goes from 50% to 25%`},
		{"steps that stay", "steps", "5%, 5%, 100%", `goes from 5% to 5%`},
		{"steps that end early", "steps", "5%, 50%", `ends at 50%; add "100%" as the last step`},
		{"only testers", "steps", "0%", `ends at 0%`},
		{"testers later", "steps", "5%, 0%, 100%", `goes from 5% to 0%`},
		{"broken percents", "steps", "2.5%, 100%", `has the step "2.5%", which is no whole percent`},
		{"a negative percent", "steps", "-5%, 100%", `has the step "-5%", which is no whole percent`},
		{"a trailing comma", "steps", "5%, 100%,", `has the step "", which is no whole percent`},
		{"a slash without a bake", "steps", "5%/, 100%", `has the step "5%/", whose bake is not between 1s and 7d`},
		{"a step's bake without a unit", "steps", "5%/10, 100%", `has the step "5%/10", whose bake has no unit`},
		{"too many steps", "steps", many(21), `has 21 steps, at most 20 are allowed`},
		{"a bake above the deadline", "bake", "45m", `the step 5% bakes 45m, which its deadline of 30m cuts off; write a step-deadline above every bake, like "1h30m"`},
		{"a step's bake above the deadline", "steps", "5%/2h, 100%", `the step 5% bakes 2h, which its deadline of 30m cuts off`},
		{"a deadline below the bake", "step-deadline", "1m", `"1m" the step 5% bakes 2m, which its deadline of 1m cuts off`},
		{"a bake too short", "bake", "10ms", `is not between 1s and 7d`},
		{"a bake too long", "bake", "8d", `is not between 1s and 7d`},
		{"a negative bake", "bake", "-2m", `is not between 1s and 7d`},
		{"a bake in words", "bake", "two minutes", `is no duration`},
		{"days taken back", "bake", "2d-1h", `is no duration`},
		{"a bake beyond counting", "bake", "99999d", `is not between 1s and 7d`},
		{"an error rate without percent", "max-error-rate", "0.01", `has the limit "0.01", which is no percentage`},
		{"no error at all", "max-error-rate", "0%", `has the limit 0%, which is not between 0% and 100%`},
		{"every error", "max-error-rate", "100%", `has the limit 100%, which is not between 0% and 100%`},
		{"a percentage no number", "max-error-rate", "NaN%", `has the limit "NaN%", which is no percentage`},
		{"better than stable", "max-error-rate", "1%, 0.5x", `has the multiple 0.5x, which is not between 1x and 100x`},
		{"a multiple without x", "max-error-rate", "1%, 2", `has the multiple "2", which is no number of times`},
		{"three limits", "max-error-rate", "1%, 2x, 3x", `has more than a limit and a multiple`},
		{"P99 too small", "max-p99", "100us", `is not between 1ms and 1h`},
		{"a near choice", "on-inconclusive", "proceeed", `is none of the choices; did you mean "proceed"?`},
		{"no choice", "on-inconclusive", "maybe", `is none of the choices; write proceed, hold or rollback`},
		{"a header without a value", "header", "x-app-version", `is no header with a value`},
		{"a header with an empty value", "header", "x-app-version: ", `is no header with a value`},
		{"a list with a hole", "header", "x-group: a,,b", `has an empty value`},
		{"a value twice", "header", "x-group: a, a", `has the value "a" twice`},
		{"no header name", "header", "x app: v", `has the name "x app", which no header can have`},
		{"the host", "header", "Host: canary.example.com", `uses the header host, which doesn't tell users apart`},
		{"a pseudo-header", "header", ":authority: x", `names a pseudo-header, which can't be matched`},
		{"a control character in a value", "header", "x-a: b\x00c", `has the value "b\x00c" with characters that can't stand there`},
		{"several prefixes", "header", "x-a: prefix:a, b", `has several prefixes`},
		{"an empty prefix", "header", "x-a: prefix:", `has an empty value`},
		{"an open bracket", "header", "x-a: regex:(beta", "has a regular expression that doesn't compile: missing closing ): `(beta`"},
		{"a look-ahead", "header", "x-a: regex:(?=b)", `doesn't compile`},
		{"an empty expression", "header", "x-a: regex:", `has an empty regular expression`},
		{"an endless expression", "header", "x-a: regex:" + strings.Repeat("a", 201), `has a regular expression of 201 bytes, at most 200 are allowed`},
		{"a cookie without a value", "header", "cookie: track", `names no cookie with a value; write for example "cookie: track=canary"`},
		{"a cookie with a semicolon", "header", "cookie: track=a;b", `has the value "a;b" with characters that can't stand there`},
		{"a host name as Service", "service", "web.shop.svc.cluster.local", `is a host name; write the Service's name alone, "web"`},
		{"no Service's name", "service", "Web", `is no name of a Service`},
		{"no VirtualService's name", "virtual-service", "web, shop/web", `has "shop/web", which is no name of a VirtualService`},
		{"a VirtualService twice", "virtual-service", "web, web", `has "web" twice`},
		{"no subset's name", "canary-subset", "v_2", `is no name of a subset`},
		{"a verb without an id", "command", "promote", `has no id, so nobody could tell it from an order already carried out; write "promote #1", with a new id each time`},
		{"a level with an id", "command", "abort #1", `has an id, though it is in force as long as it stands; write "abort"`},
		{"an id with a space", "command", "promote # 7", `has an id that is not 1 to 64 letters`},
		{"a near verb", "command", "promot #1", `is no command of this release; did you mean "promote"?`},
		{"a verb of no release", "command", "approve #1", `is no command of this release; write abort, pause, or one of`},
		{"a function that doesn't exist yet", "approval", "none", `is not a key of this release; take it away`},
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

func TestSubsetsMustDiffer(t *testing.T) {
	_, err := annotation.Parse(prefixed(map[string]string{"stable-subset": "v1", "canary-subset": "v1"}), annotation.Defaults())
	if got := annotation.Mistakes(err); len(got) != 1 || !strings.Contains(got[0], "names the same subset for stable and canary") {
		t.Errorf("got %q", got)
	}
}

func TestTheTableTellsTheTruth(t *testing.T) {
	for _, key := range annotation.Keys() {
		t.Run(key.Name, func(t *testing.T) {
			if _, err := given(key.Name, key.Example); err != nil {
				t.Errorf("the example is refused: %v", err)
			}
			if !key.Defaultable || key.Default == annotation.Discovered {
				return
			}
			got, err := annotation.ParseDefaults(map[string]string{key.Name: key.Default}, "")
			if err != nil || !reflect.DeepEqual(got, annotation.Defaults()) {
				t.Errorf("the default is not what a missing key means: %+v, %v", got, err)
			}
		})
	}
}

func TestSpecsFitIntoTheState(t *testing.T) {
	p, err := annotation.Parse(prefixed(map[string]string{
		"steps":  many(20),
		"header": "x-" + strings.Repeat("h", 62) + ": regex:" + strings.Repeat(`\`+`\`, 100),
	}), annotation.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	text, err := canary.EncodeState(canary.State{Phase: canary.Succeeded, Spec: p.Spec, Message: strings.Repeat("m", 500)})
	if err != nil || len(text) > canary.MaxStateBytes/2 {
		t.Errorf("the state takes %d bytes, too much beside its marks: %v", len(text), err)
	}
}

// many is n ascending steps.
func many(n int) string {
	var steps []string
	for i := 1; i < n; i++ {
		steps = append(steps, fmt.Sprintf("%d%%/%dm", i, i))
	}
	return strings.Join(append(steps, "100%"), ", ")
}

func prefixed(values map[string]string) map[string]string {
	annotations := map[string]string{"serin.dev/canary": "true"}
	for name, value := range values {
		annotations["serin.dev/"+name] = value
	}
	return annotations
}

// outline shows steps and the testers' time.
func outline(s canary.Spec) string {
	var parts []string
	if s.Test > 0 {
		parts = append(parts, "test "+s.Test.String())
	}
	for _, step := range s.Steps {
		parts = append(parts, fmt.Sprintf("%d/%s", step.Weight, step.Bake))
	}
	return strings.Join(parts, " ")
}

func TestParseLeavesItsInputAlone(t *testing.T) {
	in := prefixed(map[string]string{"bake": "7m", "header": "x: y"})
	before := maps.Clone(in)
	defaults := annotation.Defaults()
	p, err := annotation.Parse(in, defaults)
	if err != nil {
		t.Fatal(err)
	}
	p.Spec.Steps[0].Bake = minute
	if !maps.Equal(in, before) || !reflect.DeepEqual(defaults, annotation.Defaults()) {
		t.Error("the input was changed")
	}
}
