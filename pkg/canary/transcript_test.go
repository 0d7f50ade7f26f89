package canary

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/internal/golden"
	"serin.dev/serin/pkg/judge"
)

// TestTranscripts plays the scripts in testdata/transcripts. Lines that begin
// with "> " are what happens in the world; the lines after them are what Decide
// makes of it.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if golden.Updating() {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got != string(want) && !golden.Updating() {
				t.Errorf("%s differs; got:\n%s", file, got)
			}
		})
	}
}

func play(t *testing.T, script string) string {
	w := newWorld()
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			out.WriteString(line + "\n")
			continue
		}
		if command, ok := strings.CutPrefix(line, "> "); ok {
			out.WriteString(line + "\n")
			if err := w.do(words(command)); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			out.WriteString(w.pass())
		}
	}
	return out.String()
}

// words splits a command; double quotes keep blanks together.
func words(s string) []string {
	quoted, list := false, []string{""}
	for _, r := range s {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			list = append(list, "")
		default:
			list[len(list)-1] += string(r)
		}
	}
	return list
}

// world is a cluster that does what a plan orders, at once, except where a
// script makes it deaf.
type world struct {
	now   time.Time
	spec  Spec
	state State
	o     Observation
	deaf  map[string]bool
	said  string
}

func newWorld() *world {
	return &world{
		now:  time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		deaf: map[string]bool{},
		spec: Spec{
			Steps:        []Step{{Weight: 5, Bake: time.Minute}, {Weight: 25, Bake: time.Minute}, {Weight: 100, Bake: time.Minute}},
			StepDeadline: 10 * time.Minute, OnInconclusive: Proceed,
			Limits:         judge.Limits{ErrorRate: .01, ErrorRatio: 2, P99: 2 * time.Second},
			Rules:          judge.DefaultRules(),
			SharedIncident: Patience{Wait: 30 * time.Minute, Then: HoldInconclusive},
			Header:         Header{Name: "x-app-version", Match: MatchExact, Values: []string{"canary"}},
		},
		o: Observation{
			OptedIn: true, Width: time.Second, Baseline: judge.Baseline{Known: true},
			Traffic: map[ObjectKey]Seen{virtualService("web"): {}},
			Tracks: Tracks{
				Canary: Track{Deployment: "web-v2", Subset: "v2", Template: "t2", Complete: true, Wanted: 2, Ready: 2, Digests: []string{"sha256:b"}},
				Stable: Track{Deployment: "web-v1", Subset: "v1", Template: "t1", Complete: true, Wanted: 2, Ready: 2, Digests: []string{"sha256:a"}},
			},
		},
	}
}

func virtualService(name string) ObjectKey { return ObjectKey{"VirtualService", "shop", name} }

// pass decides until nothing changes any more, and prints what was decided.
func (w *world) pass() string {
	var out strings.Builder
	for range 20 {
		p := Decide(w.spec, w.state, w.o, w.now)
		line := describe(p)
		if line != w.said {
			out.WriteString(line)
			w.said = line
		}
		if !w.act(p) {
			return out.String()
		}
	}
	return out.String() + "  never comes to rest\n"
}

func describe(p Plan) string {
	var out strings.Builder
	fmt.Fprintf(&out, "  %s %d%% %s: %s\n", p.View.Phase, p.View.Weight, p.View.Reason, p.View.Sentence)
	for _, e := range p.Tell {
		if e.Reason == p.View.Reason && e.Sentence == p.View.Sentence {
			continue
		}
		fmt.Fprintf(&out, "    tells %s: %s\n", e.Reason, e.Sentence)
	}
	if p.Clean {
		out.WriteString("    takes all marks off\n")
	}
	out.WriteString(describeAsks(p))
	out.WriteString(describePlace(p))
	if p.Record != nil {
		fmt.Fprintf(&out, "    records %s at most %d%%\n", p.Record.Outcome, p.Record.Weight)
	}
	return out.String()
}

// act makes the world as the plan wants it; it tells whether anything changed.
func (w *world) act(p Plan) (changed bool) {
	defer func() { changed = w.actPlace(p) || changed }()
	if p.Record != nil {
		w.o.History = append([]Release{*p.Record}, w.o.History...)
		changed = true
	}
	if p.Clean {
		if w.state = (State{}); len(w.o.History) > 0 && w.o.History[0].InPlace {
			w.state = w.o.History[0].Resting()
			w.o.Place.Carried, w.o.Place.Written = false, w.now
		}
		for key, seen := range w.o.Traffic {
			seen.Rollout, seen.Sequence, seen.Header = "", 0, false
			if p.Traffic != nil {
				seen.Min, seen.Max = p.Traffic.Weight, p.Traffic.Weight
			}
			w.o.Traffic[key] = seen
		}
		return changed
	}
	if p.Traffic == nil {
		return changed
	}
	for key, seen := range w.o.Traffic {
		if w.deaf[key.Name] || (seen.Rollout == p.Next.Rollout && seen.Sequence == p.Next.Sequence && !seen.Lowered && !seen.Raised && !seen.HeaderLost) {
			continue
		}
		share := p.Traffic.Weight
		if p.Steady && !seen.Idle && share > seen.Min {
			continue
		}
		if p.Traffic.Canary != w.o.Tracks.Canary.Subset {
			share = 100 - share
		}
		if seen.Idle {
			share = 0
		}
		w.o.Traffic[key] = Seen{Min: share, Max: share, Header: p.Traffic.Header != nil, Idle: seen.Idle, Rollout: p.Next.Rollout, Sequence: p.Next.Sequence, At: w.now}
		w.o.Place.Carried = w.o.InPlace
		if w.state.Rollout != p.Next.Rollout {
			w.o.Verdict = judge.Verdict{}
		}
		w.state = p.Next
		changed = true
	}
	return changed
}

func (w *world) do(args []string) error {
	verb, args := args[0], args[1:]
	switch verb {
	case "look":
	case "wait":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		w.now = w.now.Add(d)
		if !w.o.Verdict.At.IsZero() && w.o.Verdict.Kind != judge.NoData {
			w.o.Verdict.At = w.now
		}
	case "command":
		v, id, _ := strings.Cut(args[0], "#")
		w.o.Command = &Command{Verb: v, ID: id}
		if len(args) > 1 {
			w.o.Command.By = strings.TrimPrefix(args[1], "by=")
		}
		if v == "none" {
			w.o.Command = nil
		}
	case "canary":
		return change(&w.o.Tracks.Canary, args)
	case "stable":
		return change(&w.o.Tracks.Stable, args)
	case "turn": // both annotated: who has no users is the canary
		w.o.Tracks.Canary, w.o.Tracks.Stable = w.o.Tracks.Stable, w.o.Tracks.Canary
		w.o.Tracks.Both = true
		for key, seen := range w.o.Traffic {
			seen.Min, seen.Max = 100-seen.Max, 100-seen.Min
			w.o.Traffic[key] = seen
		}
	case "older":
		w.o.Tracks.Older = true
	case "verdict":
		return w.verdict(args)
	case "routes":
		return w.routes(args)
	case "deaf":
		w.deaf[args[0]] = true
	case "hears":
		delete(w.deaf, args[0])
	case "also":
		w.o.Traffic[virtualService(args[0])] = Seen{}
	case "opt-out":
		w.o.OptedIn = false
	case "opt-in":
		w.o.OptedIn = true
	case "deleted":
		w.o.Gone, w.o.OptedIn = true, false
	case "invalid":
		w.o.Invalid = args
	case "finding":
		w.o.Findings = []Finding{{Reason: Reason(args[0]), Blocking: true, Object: virtualService("web"), Field: "spec.http[0]", Problem: args[1], Mend: args[2]}}
	case "warning":
		w.o.Findings = []Finding{{Reason: Reason(args[0]), Object: virtualService("web"), Problem: args[1], Mend: args[2]}}
	case "prometheus":
		return w.prometheus(args)
	case "stable-over":
		return w.stableOver(args)
	case "limits":
		return w.limits(args)
	case "on-shared-incident":
		w.spec.SharedIncident = Patience{duration(args[0]), args[1]}
	case "judge":
		w.spec.Rules.Mode = judge.Mode(args[0])
	case "mended":
		w.o.Findings, w.o.Invalid = nil, nil
	case "newer":
		w.o.Newer = true
	case "lost":
		w.o.Lost = true
	case "forget-history":
		w.o.History = nil
	case "on-inconclusive":
		w.spec.OnInconclusive = args[0]
	case "test":
		w.spec.Test = duration(args[0])
	case "steps":
		w.spec.Steps = nil
		for _, arg := range args {
			share, mirror := strings.CutPrefix(arg, "mirror:")
			percent, err := strconv.Atoi(share)
			if err != nil {
				return err
			}
			step := Step{Weight: percent, Bake: time.Minute}
			if mirror {
				step = Step{Mirror: percent, Bake: time.Minute}
			}
			w.spec.Steps = append(w.spec.Steps, step)
		}
	default:
		if handled, err := w.doOutside(verb, args); handled {
			return err
		}
		return w.doPlace(verb, args)
	}
	return nil
}

// prometheus back | silent | scraped | away WHY | fails WHY: what is known before the first step.
func (w *world) prometheus(args []string) error {
	w.o.Width, w.o.Baseline, w.o.Unanswered, w.o.Unseen = 0, judge.Baseline{}, "", false
	switch args[0] {
	case "back":
		w.o.Width, w.o.Baseline.Known = time.Second, true
	case "scraped":
		w.o.Width = time.Second
	case "fails": // it answered before
		w.o.Width, w.o.Baseline.Known, w.o.Unanswered = time.Second, true, args[1]
	case "away":
		w.o.Unanswered = args[1]
	case "blind": // it answers, and scrapes nobody any more
		w.o.Width, w.o.Baseline.Known, w.o.Unseen = time.Second, true, true
	case "silent":
	default:
		return fmt.Errorf("unknown %q", args[0])
	}
	return nil
}

// stable-over METRIC LIMIT SEEN SUGGEST [default] | no
func (w *world) stableOver(args []string) error {
	w.o.Baseline.Over = nil
	if args[0] == "no" {
		return nil
	}
	w.o.Baseline.Over = []judge.Excess{{Metric: args[0], Limit: args[1], Seen: args[2], Suggest: args[3], Written: len(args) == 4}}
	return nil
}

// limits [error-rate=F] [p99-ratio=F] [METRIC>=F] [METRIC=F]; from 1 on it is a gauge
func (w *world) limits(args []string) error {
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return err
		}
		switch name {
		case "error-rate":
			w.spec.Limits.ErrorRate = n
		case "p99-ratio":
			w.spec.Limits.P99Ratio = n
		default:
			w.spec.Custom = append(slices.Clone(w.spec.Custom), judge.Custom{
				Name: strings.TrimSuffix(name, ">"), AtLeast: strings.HasSuffix(name, ">"), Bound: n, Gauge: n >= 1,
			})
		}
	}
	return nil
}

func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

func change(t *Track, args []string) error {
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		n, _ := strconv.Atoi(value)
		switch key {
		case "ready":
			t.Ready = n
		case "wanted":
			t.Wanted = n
		case "template":
			t.Template = value
		case "complete":
			t.Complete = value == "true"
		case "crashing":
			t.Crashing, t.Restarts = true, n
		case "healthy":
			t.Crashing, t.Problem = false, ""
		case "problem":
			t.Problem = value
		case "restarts":
			t.Restarts = n
		case "killed":
			t.Killed = n
		case "digest":
			t.Digests = []string{value}
		default:
			return fmt.Errorf("unknown %q", key)
		}
	}
	return nil
}

// verdict KIND REASON [age=D] [covered=D] [quiet=N] [stable-quiet=N] [no-worse] [abandoned] SENTENCE
func (w *world) verdict(args []string) error {
	v := judge.Verdict{Kind: judge.Kind(args[0]), Reason: judge.Reason(args[1]), Since: w.now, Step: w.state.Step, Weight: w.state.Weight, StableQuiet: quietBlocks}
	if v.Kind == w.o.Verdict.Kind {
		v.Since = w.o.Verdict.Since
	}
	var age time.Duration
	for _, arg := range args[2:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "age":
			age = duration(value)
		case "covered":
			v.Covered = duration(value)
			w.now = latest(w.now, w.state.Since.Add(v.Covered)) // data takes its time
		case "quiet":
			v.Quiet, _ = strconv.Atoi(value)
		case "stable-quiet":
			v.StableQuiet, _ = strconv.Atoi(value)
		case "no-worse":
			v.NoWorse = true
		case "abandoned":
			v.Abandoned = true
		default:
			v.Sentence = arg
		}
	}
	if v.At = w.now.Add(-age); v.Kind == judge.NoData {
		v.At = w.o.Verdict.At
	}
	w.o.Verdict = v
	return nil
}

// routes NAME writer=W weight=N [gitops] [idle] [no-state] [no-header]: somebody writes the VirtualService.
func (w *world) routes(args []string) error {
	key := virtualService(args[0])
	seen := w.o.Traffic[key]
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "writer":
			seen.Writer = value
		case "weight":
			seen.Min, seen.Max = n, n
			seen.Lowered, seen.Raised = n < w.state.Weight, n > w.state.Weight
		case "idle":
			seen.Idle, seen.Min, seen.Max = true, 0, 0
		case "gitops":
			seen.GitOps = true
		case "no-state":
			seen.Rollout, seen.Sequence = "", 0
		case "no-header":
			seen.HeaderLost, seen.Header = true, false
		default:
			return fmt.Errorf("unknown %q", name)
		}
	}
	w.o.Traffic[key] = seen
	return nil
}
