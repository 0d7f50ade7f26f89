package annotation_test

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/smoke"
)

// fuzz feeds values to one key: whatever comes, the result is an error with
// sentences or a spec that keeps every promise of its type.
func fuzz(f *testing.F, key string, seeds ...string) {
	for _, k := range annotation.Keys() {
		if k.Name == key {
			seeds = append(seeds, k.Example, k.Default)
		}
	}
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		p, err := given(key, value)
		if err != nil {
			for _, sentence := range annotation.Mistakes(err) {
				if sentence == "" || !utf8.ValidString(sentence) {
					t.Errorf("mistake %q", sentence)
				}
			}
			return
		}
		valid(t, p)
	})
}

func valid(t *testing.T, p annotation.Parsed) {
	t.Helper()
	s := p.Spec
	last, copied := 0, 0
	for _, step := range s.Steps {
		if step.Mirror > 0 && step.Weight == 0 && last == 0 && step.Mirror > copied && step.Mirror <= 100 {
			copied = step.Mirror
			continue
		}
		if step.Mirror > 0 || step.Weight <= last || step.Bake < time.Second || step.Bake >= s.StepDeadline {
			t.Errorf("step %+v after %d%%, deadline %s", step, last, s.StepDeadline)
		}
		last = step.Weight
	}
	if last != 100 || s.Test < 0 || s.Bake != 0 {
		t.Errorf("steps %+v, test %s", s.Steps, s.Test)
	}
	if l := s.Limits; !(l.ErrorRate > 0 && l.ErrorRate < 1) || !(l.ErrorRatio >= 0) || l.P99 <= 0 || !(l.P99Ratio == 0 || l.P99Ratio >= 1 && l.P99Ratio <= 100) {
		t.Errorf("limits %+v", l)
	}
	for _, c := range s.Custom {
		if c.Name == "" || math.IsNaN(c.Bound) || math.IsInf(c.Bound, 0) || !c.Gauge && !(c.Bound > 0 && c.Bound < 1) {
			t.Errorf("metric %+v", c)
		}
	}
	if i := s.SharedIncident; i.Wait < time.Second || i.Then != canary.HoldInconclusive && i.Then != canary.RollBack {
		t.Errorf("shared incident %+v", i)
	}
	if s.Mode != "" && s.Mode != canary.ModePair && s.Mode != canary.ModeInPlace || s.OnRollback != canary.KeepTemplate && s.OnRollback != canary.RestoreTemplate || s.Settle <= 0 {
		t.Errorf("mode %q, on rollback %q, settle %s", s.Mode, s.OnRollback, s.Settle)
	}
	for i, a := range s.Approval {
		if !slices.Contains([]string{canary.ApproveTest, canary.ApproveSteps, canary.ApprovePromotion}, a) || slices.Contains(s.Approval[:i], a) || a == canary.ApproveSteps && len(s.Approval) > 1 {
			t.Errorf("approval %q", s.Approval)
		}
	}
	for i, g := range s.Gates {
		twice := slices.ContainsFunc(s.Gates[:i], func(other canary.GateUse) bool { return other.Name == g.Name })
		if g.Name == "" || twice || len(g.Stages) == 0 || !slices.IsSortedFunc(g.Stages, func(a, b canary.Stage) int {
			return slices.Index(canary.GateStages, a) - slices.Index(canary.GateStages, b)
		}) {
			t.Errorf("gates %+v", s.Gates)
		}
	}
	if _, mistakes := smoke.Parse(s.Smoke); s.Smoke != "" && mistakes != nil {
		t.Errorf("smoke %q: %v", s.Smoke, mistakes)
	}
	pattern, matched := strings.CutPrefix(s.Tags, canary.TagsRegex)
	if matched && regexp.MustCompile(pattern) == nil || !matched && !slices.Contains([]string{"", canary.TagsNamed, canary.TagsSemVer}, s.Tags) {
		t.Errorf("tags %q", s.Tags)
	}
	if s.Capacity != 0 && !(s.Capacity >= 0.1 && s.Capacity <= 100) || s.MaxRestarts < 0 || s.MaxRestarts > 1000 {
		t.Errorf("capacity %v, restarts %d", s.Capacity, s.MaxRestarts)
	}
	if h := s.Header; h.Name != "" && len(h.Values) == 0 || h.Match == canary.MatchRegex && regexp.MustCompile(h.Values[0]) == nil {
		t.Errorf("header %+v", h)
	}
	if c := p.Command; c != nil {
		level := c.Verb == canary.CommandAbort || c.Verb == canary.CommandPause
		if level != (c.ID == "") {
			t.Errorf("command %+v", c)
		}
	}
	if _, err := canary.EncodeState(canary.State{Phase: canary.Succeeded, Spec: s}); err != nil {
		t.Error(err)
	}
}

func FuzzSteps(f *testing.F) {
	fuzz(f, "steps", "0%/5m, 1%/1d, 100%", "5, 25", "mirror 10%/5m, mirror 20%, 5%, 100%")
}
func FuzzBake(f *testing.F)         { fuzz(f, "bake", "1d2h", "1e9h", "99999d", "2562047h48m") }
func FuzzStepDeadline(f *testing.F) { fuzz(f, "step-deadline", "30d", "1d-1h") }
func FuzzMaxErrorRate(f *testing.F) { fuzz(f, "max-error-rate", "1%, 2x", "0.0001%", "1e-3%") }
func FuzzMaxP99(f *testing.F)       { fuzz(f, "max-p99", "1.5x", "1h", "1s, 1.5x") }
func FuzzMetrics(f *testing.F) {
	fuzz(f, "metrics", "queue-depth >= -1.5", "checkout-errors <= 1%, queue-depth <= 1", "a <= >= b")
}
func FuzzJudge(f *testing.F) { fuzz(f, "judge", "evidence") }
func FuzzOnSharedIncident(f *testing.F) {
	fuzz(f, "on-shared-incident", "hold", "1d2h,rollback", ", hold")
}
func FuzzOnInconclusive(f *testing.F) { fuzz(f, "on-inconclusive", "hold") }
func FuzzHeader(f *testing.F) {
	fuzz(f, "header", "cookie: a=b, c", "x: prefix:y", "x: regex:(a|b){1,3}", "none", ": x", "x: regex:\xa9")
}
func FuzzMode(f *testing.F)           { fuzz(f, "mode", "pair", "In-Place") }
func FuzzOnRollback(f *testing.F)     { fuzz(f, "on-rollback", "restored") }
func FuzzHeld(f *testing.F)           { fuzz(f, "held", "", "true") }
func FuzzApproval(f *testing.F)       { fuzz(f, "approval", "every-step, test", "none, none", ",") }
func FuzzTags(f *testing.F)           { fuzz(f, "tags", "regex:v[0-9]+", "any", "regex:(") }
func FuzzCapacity(f *testing.F)       { fuzz(f, "capacity", "none", "0.1x", "0x", "1e9x") }
func FuzzMaxRestarts(f *testing.F)    { fuzz(f, "max-restarts", "none", "0", "-1", "1000", "0x3") }
func FuzzService(f *testing.F)        { fuzz(f, "service", "web.shop") }
func FuzzVirtualService(f *testing.F) { fuzz(f, "virtual-service", "a.b, c") }
func FuzzStableSubset(f *testing.F)   { fuzz(f, "stable-subset") }
func FuzzCanarySubset(f *testing.F)   { fuzz(f, "canary-subset") }
func FuzzCommand(f *testing.F)        { fuzz(f, "command", "abort", "promote#", "retry #a") }
func FuzzCanary(f *testing.F)         { fuzz(f, "canary", "false", "observe") }

func FuzzUnknownKey(f *testing.F) {
	f.Add("stesp", "5%")
	f.Add("state.web", "{}")
	f.Fuzz(func(t *testing.T, name, value string) {
		p, err := parse(map[string]string{"serin.dev/canary": "true", "serin.dev/" + name: value})
		if err == nil {
			valid(t, p)
		}
	})
}

// FuzzTogether gives several keys at once, as a Deployment has them: nothing of a
// refused annotation gets into the settings, and each mistake is one printable line.
func FuzzTogether(f *testing.F) {
	f.Add("true", "5%, 25%, 100%", "10m", "x-app-version: canary", "abort", "web", "stepz", "1")
	f.Add("ture", "5%,4%", "30d", "cookie: a=\x1b[31m", "promote #\u202e", "web.other", "st\u0435ps", "\n")
	f.Fuzz(func(t *testing.T, asked, steps, deadline, header, command, service, key, value string) {
		p, err := annotation.Parse(map[string]string{
			annotation.Prefix + "canary": asked, annotation.Prefix + "steps": steps, annotation.Prefix + "step-deadline": deadline, annotation.Prefix + "header": header,
			annotation.Prefix + "command": command, annotation.Prefix + "service": service, annotation.Prefix + key: value,
		}, annotation.Vocabulary{Defaults: annotation.Defaults()})
		if err != nil && (p.Spec.Steps != nil || p.Spec.Header.Name != "") {
			t.Fatalf("refused, and yet %+v", p.Spec)
		}
		for _, sentence := range annotation.Mistakes(err) {
			if strings.ContainsFunc(sentence, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) {
				t.Fatalf("not one printable line: %q", sentence)
			}
		}
	})
}

func FuzzGates(f *testing.F) {
	f.Add("hours, migration@before-start+after-rollback")
	f.Add("a@b+c, a, none")
	f.Add("hours@, @before-step, x@before-step+before-step")
	known := []annotation.Gate{{Name: "hours", Stages: canary.GateStages[:3]}, {Name: "migration", Stages: canary.GateStages[:1]}}
	f.Fuzz(func(t *testing.T, value string) {
		for _, gates := range [][]annotation.Gate{nil, {}, known} {
			p, err := annotation.Parse(prefixed(map[string]string{"gates": value}), annotation.Vocabulary{Defaults: annotation.Defaults(), Gates: gates})
			if err == nil {
				valid(t, p)
			}
		}
	})
}
func FuzzSmoke(f *testing.F) { fuzz(f, "smoke", "GET /a; POST /b {} then GET /c", "GET", "none") }
