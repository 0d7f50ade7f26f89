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
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/topology"
)

const minute = time.Minute

// given parses one key of an opted-in Deployment over the built-in defaults.
func given(key, value string) (annotation.Parsed, error) {
	return parse(map[string]string{"serin.dev/canary": "true", "serin.dev/" + key: value})
}

// parse is with the built-in defaults and some metrics of the operator's.
func parse(annotations map[string]string) (annotation.Parsed, error) {
	return annotation.Parse(annotations, annotation.Vocabulary{Defaults: annotation.Defaults(), Metrics: []annotation.Metric{
		{Name: "checkout-success"}, {Name: "checkout-errors", Bad: true}, {Name: "queue-depth", Gauge: true},
	}})
}

func TestOneAnnotationIsAllThatIsNeeded(t *testing.T) {
	p, err := parse(map[string]string{"serin.dev/canary": "true"})
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
		{"observing is not opting in", map[string]string{"serin.dev/canary": "observe "}, false, 0},
		{"mistakes are told before opting in, too", map[string]string{"serin.dev/canry": "true"}, false, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := parse(c.annotations)
			if observes := strings.HasPrefix(c.annotations["serin.dev/canary"], "observe"); p.Observe != observes {
				t.Errorf("observes %v", p.Observe)
			}
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
		{"copies first", map[string]string{"steps": "mirror 10%/5m, mirror  50%, 5%, 100%"}, "mirror10/5m0s mirror50/2m0s 5/2m0s 100/2m0s"},
		{"testers, then copies", map[string]string{"steps": "0%/5m, mirror 100%, 100%", "bake": "3m"}, "test 5m0s mirror100/3m0s 100/3m0s"},
		{"days are understood", map[string]string{"steps": "5%/1d12h, 100%", "step-deadline": "3d"}, "5/36h0m0s 100/2m0s"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := parse(prefixed(c.annotations))
			if err != nil {
				t.Fatal(err)
			}
			if got := outline(p.Spec); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestStickyUsers(t *testing.T) {
	defaults, err := annotation.ParseDefaults(map[string]string{"sticky": "cookie"}, "defaults.", nil)
	if err != nil {
		t.Fatal(err)
	}
	for written, want := range map[string]string{"": canary.StickyCookie, "cookie": canary.StickyCookie, "none": ""} {
		annotations := map[string]string{"serin.dev/canary": "true", "serin.dev/sticky": written}
		if written == "" {
			delete(annotations, "serin.dev/sticky")
		}
		p, err := annotation.Parse(annotations, annotation.Vocabulary{Defaults: defaults})
		if err != nil || p.Spec.Sticky != want {
			t.Errorf("%q: sticky %q, error %v, want %q", written, p.Spec.Sticky, err, want)
		}
	}
	if annotation.Defaults().Sticky != "" {
		t.Error("users are kept where nobody asked for it")
	}
}

func TestTheConfiguredDefaultsAreKept(t *testing.T) {
	defaults, err := annotation.ParseDefaults(map[string]string{
		"steps": "0%/5m, mirror 10%, 1%/10m, 50%, 100%", "bake": "4m", "header": "none", "on-inconclusive": "hold",
	}, "defaults.", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := annotation.Parse(map[string]string{"serin.dev/canary": "true", "serin.dev/bake": "6m"}, annotation.Vocabulary{Defaults: defaults})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := outline(p.Spec), "test 5m0s mirror10/6m0s 1/10m0s 50/6m0s 100/6m0s"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if p.Spec.OnInconclusive != canary.HoldInconclusive || p.Spec.Header.Name != "" {
		t.Errorf("got %+v", p.Spec)
	}
	if got := outline(defaults); got != "test 5m0s mirror10/4m0s 1/10m0s 50/4m0s 100/4m0s" {
		t.Errorf("the defaults were changed: %s", got)
	}
}

func TestDefaultsAreCheckedLikeAnnotations(t *testing.T) {
	_, err := annotation.ParseDefaults(map[string]string{"steps": "5%", "command": "abort", "bak": "2m"}, "defaults.", nil)
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
	usual := annotation.Defaults().Limits
	errors := func(rate, ratio float64) judge.Limits {
		l := usual
		l.ErrorRate, l.ErrorRatio, l.DefaultErrorRate = rate, ratio, false
		return l
	}
	latency := func(p99 time.Duration, ratio float64) judge.Limits {
		l := usual
		l.P99, l.P99Ratio, l.DefaultP99 = p99, ratio, false
		return l
	}
	cases := []struct {
		name, key, value string
		want             judge.Limits
	}{
		{"a limit alone takes the comparison away", "max-error-rate", "5%", errors(0.05, 0)},
		{"a limit and a comparison", "max-error-rate", "0.5 % ,1.5x", errors(0.005, 1.5)},
		{"the default, written, counts as written", "max-error-rate", "1%, 2x", errors(0.01, 2)},
		{"a limit of latency", "max-p99", "750ms", latency(750*time.Millisecond, 0)},
		{"a limit of latency and a comparison", "max-p99", "500ms, 1.5x", latency(500*time.Millisecond, 1.5)},
		{"no slower than stable at all", "max-p99", "1s,1x", latency(time.Second, 1)},
		{"the default latency, written, counts as written", "max-p99", "2s", latency(2*time.Second, 0)},
		{"another key leaves the limits unwritten", "bake", "1m", usual},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := given(c.key, c.value)
			if err != nil || p.Spec.Limits != c.want {
				t.Errorf("got  %+v, %v\nwant %+v", p.Spec.Limits, err, c.want)
			}
		})
	}
}

func TestLimitsOfTheConfigurationCountAsWritten(t *testing.T) {
	defaults, err := annotation.ParseDefaults(map[string]string{"max-p99": "2s"}, "defaults.", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := annotation.Parse(prefixed(nil), annotation.Vocabulary{Defaults: defaults})
	if l := p.Spec.Limits; err != nil || l.DefaultP99 || !l.DefaultErrorRate {
		t.Errorf("got %+v, %v", l, err)
	}
}

func TestHowVerdictsAreReached(t *testing.T) {
	rules := judge.DefaultRules()
	rules.Levels.Alpha, rules.Threshold.Checks = 0.05, 7
	defaults := annotation.Defaults()
	defaults.Rules = rules
	for value, want := range map[string]judge.Mode{"threshold": judge.ModeThreshold, "evidence": judge.ModeEvidence} {
		p, err := annotation.Parse(prefixed(map[string]string{"judge": value}), annotation.Vocabulary{Defaults: defaults})
		rules.Mode = want
		if err != nil || p.Spec.Rules != rules {
			t.Errorf("%s: got %+v, %v", value, p.Spec.Rules, err)
		}
	}
}

func TestWhatTheThresholdModeCannotJudgeIsRefused(t *testing.T) {
	cases := []struct {
		name        string
		annotations map[string]string
		want        string
	}{
		{"metrics", map[string]string{"judge": "threshold", "metrics": "queue-depth <= 9"}, `serin.dev/metrics: "queue-depth <= 9" goes without metrics: the threshold mode can't judge by it; write judge: "evidence", or take metrics away`},
		{"latency beside stable's", map[string]string{"judge": "threshold", "max-p99": "1s, 2x"}, `serin.dev/max-p99: "1s, 2x" goes without the multiple in max-p99`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(prefixed(c.annotations))
			if got := annotation.Mistakes(err); len(got) != 1 || !strings.HasPrefix(got[0], c.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestSharedIncidents(t *testing.T) {
	usual := annotation.Defaults().SharedIncident
	cases := map[string]canary.Patience{
		"hold":          {Wait: usual.Wait, Then: canary.HoldInconclusive},
		"rollback":      {Wait: usual.Wait, Then: canary.RollBack},
		"10m, rollback": {Wait: 10 * time.Minute, Then: canary.RollBack},
		"1d ,hold":      {Wait: 24 * time.Hour, Then: canary.HoldInconclusive},
	}
	for value, want := range cases {
		if p, err := given("on-shared-incident", value); err != nil || p.Spec.SharedIncident != want {
			t.Errorf("%q: got %+v, %v", value, p.Spec.SharedIncident, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	cases := []struct {
		name, value string
		want        []judge.Custom
	}{
		{"a share of what went well", "checkout-success >= 99.5%", []judge.Custom{{Name: "checkout-success", AtLeast: true, Bound: 0.995}}},
		{"a share of what went wrong", "checkout-errors<=1%", []judge.Custom{{Name: "checkout-errors", Bound: 0.01}}},
		{"a plain number from above", "queue-depth <= 100", []judge.Custom{{Name: "queue-depth", Gauge: true, Bound: 100}}},
		{"a plain number from below", "queue-depth >= -0.5", []judge.Custom{{Name: "queue-depth", Gauge: true, AtLeast: true, Bound: -0.5}}},
		{"several, in their order", "queue-depth <= 7,checkout-errors <= 2 %", []judge.Custom{{Name: "queue-depth", Gauge: true, Bound: 7}, {Name: "checkout-errors", Bound: 0.02}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := given("metrics", c.value)
			if err != nil || !reflect.DeepEqual(p.Spec.Custom, c.want) {
				t.Errorf("got %+v, %v", p.Spec.Custom, err)
			}
		})
	}
}

func TestMetricsNobodyDefined(t *testing.T) {
	_, err := annotation.Parse(prefixed(map[string]string{"metrics": "nps >= 9"}), annotation.Vocabulary{Defaults: annotation.Defaults()})
	want := `serin.dev/metrics: "nps >= 9" names the metric "nps", which is not defined; define it under metrics in the configuration of Serin first`
	if got := annotation.Mistakes(err); !slices.Equal(got, []string{want}) {
		t.Errorf("got %q", got)
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
	p, err := parse(prefixed(map[string]string{
		"service": "web", "virtual-service": "web, web.gateway", "stable-subset": "v1", "canary-subset": "v2",
	}))
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
		"approve #cab": {Verb: "approve", ID: "cab"},
	}
	for value, want := range cases {
		p, err := given("command", value)
		if err != nil || p.Command == nil || *p.Command != want {
			t.Errorf("%q: got %+v, %v", value, p.Command, err)
		}
	}
}

// It stands beside a command by whoever wrote it; without one it says nothing.
func TestWhoGaveACommand(t *testing.T) {
	for noted, want := range map[string]string{
		"jane":                             "jane",
		" system:serviceaccount:ci:robot ": "system:serviceaccount:ci:robot",
		"":                                 "",
		"a\nb\x1b[31m\u202ec\xff":          "ab[31mc",
		strings.Repeat("x", 1000):          strings.Repeat("x", 100) + "...",
	} {
		p, err := parse(map[string]string{"serin.dev/canary": "true", "serin.dev/command": "abort", "serin.dev/command-by": noted})
		if err != nil || *p.Command != (canary.Command{Verb: "abort", By: want}) {
			t.Errorf("%.20q: got %+v, %v, want %q", noted, p.Command, err, want)
		}
		if p, err := parse(map[string]string{"serin.dev/canary": "true", "serin.dev/command-by": noted}); err != nil || p.Command != nil {
			t.Errorf("%.20q without a command: got %+v, %v", noted, p.Command, err)
		}
	}
	_, err := annotation.ParseDefaults(map[string]string{"command-by": "jane"}, "defaults.", nil)
	if got := annotation.Mistakes(err); len(got) != 1 || !strings.Contains(got[0], "is not a key of this release") {
		t.Errorf("as a default: %q", got)
	}
}

func TestAnAbortWorksBesideMistakes(t *testing.T) {
	p, err := parse(map[string]string{
		"serin.dev/canary": "true", "serin.dev/command": "abort", "serin.dev/bake": "2", "serin.dev/service": "web",
	})
	if err == nil || p.Command == nil || p.Command.Verb != canary.CommandAbort {
		t.Errorf("got %+v, %v", p, err)
	}
	if p.Spec.Service != "web" || p.Spec.Steps != nil {
		t.Errorf("got %+v: want the valid names and nothing to release by", p.Spec)
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	_, err := parse(prefixed(map[string]string{
		"steps": "5, 3%, 120%", "bake": "2", "max-p99": "1.5x", "metrics": "nps >= 9, checkout-success >= 99, queue-depth <= 5s", "stpes": "5%", "comand": "abort", "state.web": "{}",
	}))
	want := []string{
		`serin.dev/steps: "5, 3%, 120%" has the step "5", which is no whole percent; write ascending shares, like "5%, 25%, 100%" or "5%/10m, 100%"`,
		`serin.dev/steps: "5, 3%, 120%" has the step "120%" above 100%; write ascending shares, like "5%, 25%, 100%" or "5%/10m, 100%"`,
		`serin.dev/bake: "2" has no unit (ms, s, m, h or d); write for example "10m"`,
		`serin.dev/max-p99: "1.5x" compares with stable and has no limit; write a limit like "500ms", or one that also compares with stable, like "500ms, 1.5x"`,
		`serin.dev/metrics: "nps >= 9, checkout-success >= 99, queue-depth <= 5s" names the metric "nps", which is not defined; known are checkout-success, checkout-errors, queue-depth; others have to be defined in the configuration of Serin first`,
		`serin.dev/metrics: "nps >= 9, checkout-success >= 99, queue-depth <= 5s" has the limit "99" for checkout-success, which is no percentage; write a percentage, like "checkout-success >= 99%"`,
		`serin.dev/metrics: "nps >= 9, checkout-success >= 99, queue-depth <= 5s" has the limit "5s" for queue-depth, which is no plain number; write for example "queue-depth <= 100"`,
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
		{"true in capitals", "canary", "True", `"True" is none of the choices; write "true" to opt in, "observe" to only have releases judged, or "false" to opt out`},
		{"an empty value", "bake", " ", `" " is empty; write for example "10m", or take the key away`},
		{"an endless value", "header", "x: " + strings.Repeat("a", 600), `is 603 bytes long, at most 512 are allowed; write for example "x-group: beta, staff"`},
		{"steps that fall", "steps", "50%, 25%, 100%", `goes from 50% to 25%`},
		{"steps that stay", "steps", "5%, 5%, 100%", `goes from 5% to 5%`},
		{"steps that end early", "steps", "5%, 50%", `ends at 50%; add "100%" as the last step`},
		{"only testers", "steps", "0%", `ends at 0%`},
		{"testers later", "steps", "5%, 0%, 100%", `goes from 5% to 0%`},
		{"copies once users are there", "steps", "5%, mirror 10%, 100%", `goes from 5% to mirror 10%; write at most 3 ascending shares of copies before all users' shares, like "mirror 10%/5m, 5%, 100%"`},
		{"fewer copies", "steps", "mirror 10%, mirror 5%, 100%", `goes from mirror 10% to mirror 5%`},
		{"as many copies", "steps", "mirror 10%, mirror 10%, 100%", `goes from mirror 10% to mirror 10%`},
		{"too many steps of copies", "steps", "mirror 1%, mirror 2%, mirror 3%, mirror 4%, 100%", `has 4 steps of copies`},
		{"copies of nothing", "steps", "mirror 0%, 100%", `has the step "mirror 0%", which copies nothing`},
		{"copies of more than there is", "steps", "mirror 101%, 100%", `has the step "mirror 101%" above 100%`},
		{"copies of no whole percent", "steps", "mirror 10, 100%", `has the step "mirror 10", which is no whole percent; write at most 3`},
		{"testers after copies", "steps", "mirror 10%, 0%/5m, 100%", `goes from mirror 10% to 0%`},
		{"only copies", "steps", "mirror 10%", `ends at mirror 10%; add "100%" as the last step`},
		{"a near way to keep users", "sticky", "cookies", `"cookies" is none of the choices; did you mean "cookie"?`},
		{"no way to keep users", "sticky", "ip-hash", `"ip-hash" is none of the choices; write cookie or none`},
		{"broken percents", "steps", "2.5%, 100%", `has the step "2.5%", which is no whole percent`},
		{"a negative percent", "steps", "-5%, 100%", `has the step "-5%", which is no whole percent`},
		{"a trailing comma", "steps", "5%, 100%,", `has the step "", which is no whole percent`},
		{"a slash without a bake", "steps", "5%/, 100%", `has the step "5%/", whose bake is not between 1s and 7d`},
		{"a step's bake without a unit", "steps", "5%/10, 100%", `has the step "5%/10", whose bake has no unit`},
		{"too many steps", "steps", many(21), `has 21 steps, at most 20 are allowed`},
		{"a bake above the deadline", "bake", "45m", `the step 5% bakes 45m, which its deadline of 30m cuts off; write a step-deadline above every bake, like "1h30m"`},
		{"a step's bake above the deadline", "steps", "5%/2h, 100%", `the step 5% bakes 2h, which its deadline of 30m cuts off`},
		{"a bake of copies above the deadline", "steps", "mirror 10%/2h, 100%", `the step mirror 10% bakes 2h, which its deadline of 30m cuts off`},
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
		{"a multiple of latency without x", "max-p99", "1s, 2", `has the multiple "2", which is no number of times`},
		{"faster than stable", "max-p99", "1s, 0.5x", `has the multiple 0.5x, which is not between 1x and 100x`},
		{"three limits of latency", "max-p99", "1s, 2s, 3x", `has more than a limit and a multiple`},
		{"latency compared without a limit", "max-p99", "2x", `compares with stable and has no limit; write a limit like "500ms", or`},
		{"latency without a unit", "max-p99", "500, 2x", `has no unit (ms, s, m, h or d); write a limit like "500ms", or`},
		{"a near mode", "judge", "treshold", `is none of the choices; did you mean "threshold"?`},
		{"no mode", "judge", "oracle", `is none of the choices; write evidence or threshold`},
		{"an incident that goes on", "on-shared-incident", "proceed", `ends with "proceed", which is none of the choices; write hold or rollback`},
		{"an incident with a near choice", "on-shared-incident", "5m, rolback", `ends with "rolback", which is none of the choices; did you mean "rollback"?`},
		{"an incident without an end", "on-shared-incident", "30m", `ends with "30m", which is none of the choices; write hold or rollback, with a time before it`},
		{"an incident turned round", "on-shared-incident", "5, hold", `has the time "5", which has no unit`},
		{"an incident without patience", "on-shared-incident", "0s, rollback", `has the time "0s", which is not between 1s and 30d`},
		{"an incident with too much", "on-shared-incident", "1m, hold, rollback", `has more than a time and what happens then`},
		{"a metric without a limit", "metrics", "queue-depth", `has "queue-depth", which is no metric with >= or <= and a limit; write limits like`},
		{"a metric with one sign", "metrics", "queue-depth < 5", `has "queue-depth < 5", which is no metric with >= or <=`},
		{"a metric with a trailing comma", "metrics", "queue-depth <= 5,", `has "", which is no metric`},
		{"a near metric", "metrics", "queue-dept <= 5", `names the metric "queue-dept", which is not defined; did you mean "queue-depth"?`},
		{"a metric twice", "metrics", "queue-depth <= 5, queue-depth >= 1", `has "queue-depth" twice; write each metric once`},
		{"success bounded from above", "metrics", "checkout-success <= 99%", `bounds checkout-success by <=, but it is the share of what went well; write "checkout-success >= 99%"`},
		{"failures bounded from below", "metrics", "checkout-errors >= 1%", `bounds checkout-errors by >=, but it is the share of what went wrong; write "checkout-errors <= 1%"`},
		{"a share without percent", "metrics", "checkout-errors <= 0.01", `has the limit "0.01" for checkout-errors, which is no percentage; write a percentage, like "checkout-errors <= 1%"`},
		{"nothing may fail", "metrics", "checkout-success >= 100%", `has the limit 100% for checkout-success, which is not between 0% and 100%`},
		{"a plain number with a unit", "metrics", "queue-depth <= 5%", `has the limit "5%" for queue-depth, which is no plain number; write for example "queue-depth <= 100"`},
		{"a plain number with an exponent", "metrics", "queue-depth <= 1e3", `has the limit "1e3" for queue-depth, which is no plain number`},
		{"too many metrics", "metrics", strings.Repeat("queue-depth <= 5,", 8) + "x", `has 9 limits, at most 8 are allowed`},
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
		{"a verb of no release", "command", "deploy #1", `is no command of this release; write abort, pause, or one of`},
		{"a near mode of release", "mode", "inplace", `is none of the choices; did you mean "in-place"?`},
		{"no mode of release", "mode", "blue-green", `is none of the choices; write pair or in-place, or take the key away to have it discovered`},
		{"a near end of a release", "on-rollback", "restored", `is none of the choices; did you mean "restore"?`},
		{"no end of a release", "on-rollback", "delete", `is none of the choices; write keep or restore`},
		{"a function that doesn't exist", "blue-green", "none", `is not a key of this release; take it away`},
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
	_, err := parse(prefixed(map[string]string{"stable-subset": "v1", "canary-subset": "v1"}))
	if got := annotation.Mistakes(err); len(got) != 1 || !strings.Contains(got[0], "names the same subset for stable and canary") {
		t.Errorf("got %q", got)
	}
}

func TestReleasesInPlace(t *testing.T) {
	cases := []struct {
		name             string
		annotations      map[string]string
		mode, onRollback string
	}{
		{"the mode is discovered, and a template is kept", nil, "", canary.KeepTemplate},
		{"one Deployment", map[string]string{"mode": "in-place"}, canary.ModeInPlace, canary.KeepTemplate},
		{"two Deployments", map[string]string{"mode": " pair "}, canary.ModePair, canary.KeepTemplate},
		{"a template is put back", map[string]string{"on-rollback": "restore"}, "", canary.RestoreTemplate},
		{"both", map[string]string{"mode": "in-place", "on-rollback": "keep"}, canary.ModeInPlace, canary.KeepTemplate},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := parse(prefixed(c.annotations))
			if err != nil || p.Spec.Mode != c.mode || p.Spec.OnRollback != c.onRollback {
				t.Errorf("got mode %q, on rollback %q, %v", p.Spec.Mode, p.Spec.OnRollback, err)
			}
		})
	}
}

func TestWhatTheModeHasNoUseFor(t *testing.T) {
	cases := []struct {
		annotations map[string]string
		want        []string
	}{
		{map[string]string{"mode": "in-place", "canary-subset": "v2"}, []string{`serin.dev/canary-subset: "v2" says nothing to releases of the mode in-place; take it away, or mode`}},
		{map[string]string{"mode": "pair", "on-rollback": "keep"}, []string{`serin.dev/on-rollback: "keep" says nothing to releases of the mode pair; take it away, or mode`}},
		{map[string]string{"mode": "pair", "canary-subset": "v2"}, nil},
		{map[string]string{"canary-subset": "v2", "on-rollback": "keep"}, nil},
	}
	for _, c := range cases {
		_, err := parse(prefixed(c.annotations))
		if got := annotation.Mistakes(err); !slices.Equal(got, c.want) {
			t.Errorf("%v: got %q", c.annotations, got)
		}
	}
}

func TestTheModeIsKnownBesideMistakes(t *testing.T) {
	p, err := parse(prefixed(map[string]string{"mode": "in-place", "bake": "2"}))
	if err == nil || p.Spec.Mode != canary.ModeInPlace {
		t.Errorf("got %+v, %v", p.Spec, err)
	}
}

// The mark is no order of a person's: nothing in it can be a mistake.
func TestTheGuardsMarkIsNoMistake(t *testing.T) {
	for _, value := range []string{topology.HeldValue, topology.PromotingValue, "", strings.Repeat("x", 1000)} {
		if _, err := parse(map[string]string{"serin.dev/canary": "true", topology.HeldKey: value}); err != nil {
			t.Errorf("%.20q: %v", value, err)
		}
	}
	_, err := annotation.ParseDefaults(map[string]string{"held": "true"}, "defaults.", nil)
	if got := annotation.Mistakes(err); len(got) != 1 || !strings.Contains(got[0], "is not a key of this release") {
		t.Errorf("as a default: %q", got)
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
			got, err := annotation.ParseDefaults(map[string]string{key.Name: key.Default}, "", nil)
			l, usual := &got.Limits, annotation.Defaults().Limits
			if binds := *l != usual; binds != key.Binding {
				t.Errorf("written it binds: %v", binds)
			}
			l.DefaultErrorRate, l.DefaultP99 = true, true
			if err != nil || !reflect.DeepEqual(got, annotation.Defaults()) {
				t.Errorf("the default is not what a missing key means: %+v, %v", got, err)
			}
		})
	}
}

func TestSpecsFitIntoTheState(t *testing.T) {
	p, err := parse(prefixed(map[string]string{
		"steps":  many(20),
		"header": "x-" + strings.Repeat("h", 62) + ": regex:" + strings.Repeat(`\`+`\`, 100),
	}))
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
		if step.Mirror > 0 {
			parts = append(parts, fmt.Sprintf("mirror%d/%s", step.Mirror, step.Bake))
			continue
		}
		parts = append(parts, fmt.Sprintf("%d/%s", step.Weight, step.Bake))
	}
	return strings.Join(parts, " ")
}

func TestParseLeavesItsInputAlone(t *testing.T) {
	in := prefixed(map[string]string{"bake": "7m", "header": "x: y"})
	before := maps.Clone(in)
	defaults := annotation.Defaults()
	p, err := annotation.Parse(in, annotation.Vocabulary{Defaults: defaults})
	if err != nil {
		t.Fatal(err)
	}
	p.Spec.Steps[0].Bake = minute
	if !maps.Equal(in, before) || !reflect.DeepEqual(defaults, annotation.Defaults()) {
		t.Error("the input was changed")
	}
}
