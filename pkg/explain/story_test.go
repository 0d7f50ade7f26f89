package explain

import (
	"bytes"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
)

var update = flag.Bool("update", false, "write the golden files")

var began = time.Date(2026, 3, 14, 9, 26, 50, 0, time.UTC)

// release is one of web-v2 over web-v1 in three steps.
func release(change func(*Release)) Release {
	spec := canary.Spec{
		Steps:  []canary.Step{{Weight: 5, Bake: 2 * time.Minute}, {Weight: 25, Bake: 2 * time.Minute}, {Weight: 100, Bake: 2 * time.Minute}},
		Limits: judge.Limits{ErrorRate: 0.01, ErrorRatio: 2, P99: 500 * time.Millisecond}, StepDeadline: 30 * time.Minute,
		Rules: judge.DefaultRules(), Custom: []judge.Custom{{Name: "checkout-success", AtLeast: true, Bound: 0.99}},
	}
	r := Release{Namespace: "shop", Service: "web", State: canary.State{
		Version: 1, Rollout: "4f2a9c", Phase: canary.Progressing, Step: 2, Weight: 25, Peak: 25, Started: began, Width: 5 * time.Second, Spec: spec,
		Stable: canary.Side{Deployment: "web-v1", Subset: "v1", Template: "a1"}, Canary: canary.Side{Deployment: "web-v2", Subset: "v2", Template: "b2"},
	}}
	change(&r)
	return r
}

// script is what a canary does at a step, for some blocks.
type script struct {
	step, weight, blocks int
	failing              float64 // the share of its requests that fail
	missing              string
}

// play makes looks of scripts: requests are drawn by a fixed seed, 40 a second
// over both tracks, and the evidence is the plainest there is, the odds of 5%
// against 1% failing, and of 1% against 2%.
func play(scripts ...script) []Look {
	random := rand.New(rand.NewPCG(7, 11))
	start, against, towards := began.Add(30*time.Second), 0.0, 0.0
	var looks []Look
	var stable, canaries judge.Counts
	step := 0
	for _, s := range scripts {
		if s.step != step {
			step, stable, canaries = s.step, judge.Counts{}, judge.Counts{}
		}
		for range s.blocks {
			b := judge.Block{Start: start, Width: 5 * time.Second, Step: s.step, Weight: s.weight, Missing: s.missing}
			start = b.End()
			if s.missing == "" {
				n := int64(2*s.weight) + random.Int64N(5)
				b.Canary, b.Stable = did(random, n, s.failing), did(random, 200-n+random.Int64N(9), 0.001)
				good := float64(b.Canary.Requests - b.Canary.Errors)
				bad := float64(b.Canary.Errors)
				against = max(0, against+bad*math.Log(5)+good*math.Log(.95/.99))
				towards = max(0, towards+bad*math.Log(.5)+good*math.Log(.99/.98))
				canaries, stable = add(canaries, b.Canary.Counts), add(stable, b.Stable.Counts)
			}
			looks = append(looks, Look{Block: b, Verdict: verdict(b, canaries, stable, against, towards)})
		}
	}
	return looks
}

func did(random *rand.Rand, n int64, failing float64) judge.Sample {
	c := judge.Counts{Requests: n, Latency: judge.Histogram{{Le: 100, Count: n - 1}, {Le: 500, Count: n}, {Le: math.Inf(1), Count: n}}}
	for range n {
		if random.Float64() < failing {
			c.Errors++
		}
	}
	return judge.Sample{Live: true, Counts: c}
}

func add(a, b judge.Counts) judge.Counts {
	return judge.Counts{Requests: a.Requests + b.Requests, Errors: a.Errors + b.Errors, Latency: a.Latency.Add(b.Latency)}
}

func verdict(b judge.Block, c, s judge.Counts, against, towards float64) judge.Verdict {
	v := judge.Verdict{
		Kind: judge.Hold, Reason: judge.ReasonFewRequests, Step: b.Step, Weight: b.Weight, At: b.End(),
		Sentence:   "nothing speaks against the canary, and too little was seen to promote it",
		RollbackAt: math.Log(100), PromoteAt: math.Log(20), Against: against, For: towards,
		Canary: judge.Measure{Counts: c, Rate: float64(b.Canary.Requests) / 5, P99: c.Latency.Quantile(.99)},
		Stable: judge.Measure{Counts: s, Rate: float64(b.Stable.Requests) / 5, P99: s.Latency.Quantile(.99)},
		More:   120, MoreTime: 40 * time.Second,
		Metrics: []judge.Metric{
			{Name: "errors", Limit: .01, Canary: judge.Tally{Hits: c.Errors, N: c.Requests}, Stable: judge.Tally{Hits: s.Errors, N: s.Requests}, Low: .004, High: .061, Against: against, For: towards, Judged: true},
			{Name: "errors-vs-stable", Limit: 2, Canary: judge.Tally{Hits: c.Errors, N: c.Requests}, Stable: judge.Tally{Hits: s.Errors, N: s.Requests}, Low: .004, High: .061, Against: against / 2, Judged: true},
			{Name: "latency", Limit: .01, Canary: judge.Tally{N: c.Requests}, Stable: judge.Tally{N: s.Requests}, High: .02, For: towards, Judged: true},
			{Name: "checkout-success", Limit: .01, Missing: "no template of this name"},
		},
	}
	switch {
	case b.Missing != "":
		v.Kind, v.Reason, v.Sentence = judge.NoData, judge.ReasonNoData, "no data: "+b.Missing
	case against >= v.RollbackAt:
		v.Kind, v.Reason, v.Sentence = judge.Rollback, judge.ReasonErrorRate, "5% of the canary's requests failed, above the limit of 1%: evidence 340 to 1, 100 to 1 suffices (stable 0.1% of 4370)"
	case towards >= v.PromoteAt:
		v.Kind, v.Reason, v.Sentence = judge.Promote, judge.ReasonGood, "within every limit"
	}
	return v
}

func rolledBack(r *Release) {
	s := &r.State
	s.Phase, s.Reason, s.Message = canary.RolledBack, canary.Reason(judge.ReasonErrorRate), "5% of the canary's requests failed, above the limit of 1%: all traffic went back to web-v1"
	s.Legs = []canary.Leg{{Step: 1, Weight: 5, From: began, To: began.Add(time.Minute)}}
	r.Ended = began.Add(7 * time.Minute)
}

// stories are what the golden files show.
func stories() map[string]Story {
	bad := play(script{1, 5, 40, .002, ""}, script{2, 25, 4, .002, ""}, script{2, 25, 3, 0, "no answer from Prometheus"}, script{2, 25, 9, .06, ""})
	whole := func(r Release, step int, looks []Look) Story {
		s := Story{Release: r, Step: step, Settings: canary.SettingsOf(r.State), Asked: began.Add(8 * time.Minute), Looks: looks}
		s.findUnknown()
		return s
	}
	threshold := whole(release(func(r *Release) { r.State.Spec.Rules.Mode = judge.ModeThreshold }), 0, play(script{1, 5, 20, .02, ""}))
	for i := range threshold.Looks {
		v := &threshold.Looks[i].Verdict
		v.RollbackAt, v.PromoteAt, v.Against, v.For, v.Metrics = 0, 0, 0, 0, nil
	}
	broken := whole(release(func(*Release) {}), 0, play(script{1, 5, 6, 0, ""}))
	broken.Baseline = judge.Baseline{Known: true, Over: []judge.Excess{{Metric: "latency", Limit: "500ms", Seen: "3% of 12000 requests took longer", Suggest: "1s", Written: true}}}
	broken.Warnings = []string{"partial answer \x1b[31mred"}
	forgotten := whole(release(rolledBack), 0, play(script{1, 5, 20, 0, "no istio_requests_total of web-v1 or web-v2"}))
	open := whole(release(rolledBack), 2, append(play(script{1, 5, 40, .001, ""}, script{2, 25, 1, .001, ""}), play(script{2, 25, 1, 1, ""})...))
	last := &open.Looks[len(open.Looks)-1]
	last.Block.Start, last.Block.Width, last.Verdict.Open = open.Looks[40].Block.End(), 2300*time.Millisecond, true
	days := play(script{1, 5, 20, .001, ""})
	for i := 10; i < len(days); i++ {
		days[i].Block.Start = days[i].Block.Start.Add(48 * time.Hour)
	}
	copied := play(script{1, 20, 12, .1, ""})
	for i := range copied {
		copied[i].Block.Weight, copied[i].Block.Mirror, copied[i].Verdict.Weight = 0, 20, 0
	}
	copies := release(rolledBack)
	copies.State.Step, copies.State.Weight, copies.State.Peak = 1, 0, 0
	copies.State.Spec.Steps = append([]canary.Step{{Mirror: 20, Bake: time.Minute}}, copies.State.Spec.Steps...)
	copies.State.Legs = []canary.Leg{{Step: 1, Mirror: 20, From: began, To: began.Add(time.Minute)}}
	return map[string]Story{
		"copies":           whole(copies, 0, copied),
		"rolled-back":      whole(release(rolledBack), 0, bad),
		"rolled-back-step": whole(release(rolledBack), 1, bad),
		"under-way":        broken,
		"threshold":        threshold,
		"forgotten":        forgotten,
		"nothing-yet":      whole(release(func(r *Release) { r.State.Phase, r.State.Step = canary.Testing, 0 }), 0, nil),
		"open":             open,
		"days":             whole(release(func(*Release) {}), 0, days),
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what is written now:\n%s", file, got)
	}
}

func TestTheTextIsAsItWas(t *testing.T) {
	for name, s := range stories() {
		for suffix, style := range map[string]Style{"": {Width: 80}, "-plain": {Width: 72, Plain: true}, "-colours": {Width: 120, Colours: true}} {
			t.Run(name+suffix, func(t *testing.T) {
				var b bytes.Buffer
				if err := s.Text(&b, style); err != nil {
					t.Fatal(err)
				}
				golden(t, name+suffix+".txt", b.Bytes())
				for line := range strings.Lines(b.String()) {
					if suffix != "-colours" && wide(strings.TrimRight(line, "\n")) > style.Width {
						t.Errorf("wider than %d: %s", style.Width, line)
					}
				}
			})
		}
	}
}

func TestTheJSONIsAsItWas(t *testing.T) {
	s := stories()["rolled-back"]
	s.Looks = s.Looks[38:50]
	s.Baseline = judge.Baseline{Known: true, Stable: judge.Measure{Counts: judge.Counts{Requests: 9000, Errors: 3}, P99: [2]float64{500, math.Inf(1)}}}
	var b bytes.Buffer
	if err := s.JSON(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "rolled-back.json", b.Bytes())
}

func TestNoNumberBreaksTheJSON(t *testing.T) {
	s := stories()["under-way"]
	v := &s.Looks[0].Verdict
	v.Against, v.For, v.Metrics[0].High = math.Inf(1), math.Inf(-1), math.NaN()
	if err := s.JSON(&bytes.Buffer{}); err != nil {
		t.Error(err)
	}
	if err := s.Text(&bytes.Buffer{}, Style{Width: 80}); err != nil {
		t.Error(err)
	}
}

func TestTheMomentTheVerdictFell(t *testing.T) {
	at := func(kinds ...judge.Kind) []Look {
		var looks []Look
		for i, k := range kinds {
			looks = append(looks, Look{
				Block:   judge.Block{Start: began.Add(time.Duration(i) * time.Second), Width: time.Second, Step: 1, Weight: 5},
				Verdict: judge.Verdict{Kind: k, Step: 1, Weight: 5},
			})
		}
		return looks
	}
	watched := at(judge.Hold, judge.Rollback, judge.Rollback, judge.Rollback)
	watched[3].Block.Weight = 0
	for name, c := range map[string]struct {
		looks []Look
		want  int // the look; -1: none
	}{
		"nothing judged":                        {nil, -1},
		"not fallen":                            {at(judge.Promote, judge.Hold), -1},
		"the last run of the same counts":       {at(judge.Promote, judge.Hold, judge.Promote, judge.Promote), 2},
		"at once":                               {at(judge.Rollback), 0},
		"a rollback being watched adds nothing": {watched, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l, ok := Fell(c.looks)
			switch {
			case c.want < 0 && ok:
				t.Errorf("it fell at %s", l.Block.End())
			case c.want >= 0 && (!ok || !l.Block.Start.Equal(c.looks[c.want].Block.Start)):
				t.Errorf("it fell at %s: %v, want look %d", l.Block.End(), ok, c.want)
			}
		})
	}
}

func TestARollbackThatTheReplayDoesNotReachIsTold(t *testing.T) {
	s := Story{Release: release(rolledBack), Looks: play(script{1, 5, 10, 0, ""})}
	for i := range s.Looks {
		s.Looks[i].Verdict.Metrics = nil
	}
	s.findUnknown()
	if len(s.Unknown) != 1 || !strings.Contains(s.Unknown[0], "ErrorRateTooHigh") || s.Partial {
		t.Errorf("told %q, partial: %v", s.Unknown, s.Partial)
	}
	s.Unknown, s.State.Reason = nil, canary.RolledBackByPerson
	if s.findUnknown(); len(s.Unknown) != 0 {
		t.Errorf("of a person's rollback it told %q", s.Unknown)
	}
}

func TestWhichReleaseIsMeant(t *testing.T) {
	record := func(rollout, canaryName string) canary.Release {
		return canary.Release{Rollout: rollout, Canary: canary.Side{Deployment: canaryName}, Stable: canary.Side{Deployment: "web-v1"}, Outcome: canary.RolledBack, Ended: began}
	}
	active := release(func(*Release) {}).State
	rest := active
	rest.Phase, rest.Rollout, rest.Canary.Deployment, rest.Stable.Deployment = canary.RolledBack, "r2", "web-v3", "old"
	all := []Known{
		{Namespace: "shop", Service: "api", History: []canary.Release{record("r7", "both")}},
		{Namespace: "shop", Service: "pay", History: []canary.Release{record("r8", "both")}},
		{Namespace: "shop", Service: "rest", State: rest, History: []canary.Release{record("r2", "web-v3"), record("r1", "older")}},
		{Namespace: "shop", Service: "web", State: active},
		{Namespace: "shop", Service: "new", Newer: true},
	}
	for name, c := range map[string]struct {
		name, rollout string
		want, fails   string
	}{
		"a Service with a release under way":    {"web", "", "4f2a9c", ""},
		"a Deployment":                          {"web-v2", "", "4f2a9c", ""},
		"a Deployment of an earlier release":    {"deploy/older", "", "r2", ""},
		"a record comes before a state at rest": {"svc/rest", "", "r2", ""},
		"an earlier release":                    {"rest", "r1", "r1", ""},
		"the beginning of an id":                {"web", "4f", "4f2a9c", ""},
		"no such Service":                       {"svc/wbe", "", "", "did you mean web?"},
		"no such id":                            {"rest", "r9", "", "there are r2, r1"},
		"of two Services":                       {"both", "", "", "(api, pay): name one of them, like service/api"},
		"another kind":                          {"job/web", "", "", "no kind that is released"},
		"of a newer Serin":                      {"new", "", "", "update Serin"},
		"unlike all":                            {"zzzzzz", "", "", "there are releases of api, new, pay, rest, web"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Find(c.name, c.rollout, all)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("got %v, want an error with %q", err, c.fails)
				}
				return
			}
			if err != nil || got.State.Rollout != c.want {
				t.Errorf("got %s, %v, want %s", got.State.Rollout, err, c.want)
			}
		})
	}
	if got, _ := Find("rest", "", all); !got.Ended.Equal(began) {
		t.Error("the state at rest was taken, not the record")
	}
}
