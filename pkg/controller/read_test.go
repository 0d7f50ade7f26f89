package controller

import (
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
)

// halfWay is a trial at the first step, of which no block was closed yet.
func halfWay(began time.Time) *trial {
	s := canary.State{
		Rollout: "r1", Sequence: 3, Phase: canary.Progressing, Step: 1, Weight: 50, Width: time.Second, Started: began,
		Spec: canary.Spec{
			Steps: []canary.Step{{Weight: 50, Bake: time.Minute}, {Weight: 100, Bake: time.Minute}}, StepDeadline: time.Hour,
			Limits: judge.Limits{ErrorRate: .01, P99: time.Second}, Rules: judge.DefaultRules(),
		},
		Canary: canary.Side{Deployment: "web-v2"}, Stable: canary.Side{Deployment: "web-v1"},
	}
	t := &trial{state: s}
	t.reading.Follow(s, began)
	t.reading.Add(nil) // stable's hour before the release
	return t
}

func TestNoVerdictIsOfNowWhileThereIsMuchMoreToRead(t *testing.T) {
	began := time.Unix(1_800_000_000, 0).UTC()
	read := halfWay(began)
	block := judge.Block{Start: began, Width: time.Second, Step: 1, Weight: 50, Missing: "no series"}
	read.reading.Add([]judge.Block{block})
	soon, late := began.Add(3*time.Second), began.Add(time.Hour)
	if read.see(soon); read.verdict(read.state, soon).Kind != judge.NoData {
		t.Errorf("after the first block the verdict is %q", read.verdict(read.state, soon).Kind)
	}
	if read.see(late); read.verdict(read.state, late).Kind != "" {
		t.Errorf("with an hour still to be read the verdict is %q", read.verdict(read.state, late).Kind)
	}
	read.unanswered = "connection refused" // then what is known is all that can be
	if v := read.verdict(read.state, late); v.Kind != judge.NoData {
		t.Errorf("without an answer the verdict is %q", v.Kind)
	}
}

// A breach that comes before the first block of a step is closed is one of that
// step, and of the next one where that was ordered meanwhile.
func TestABreachInAnOpenBlockIsOfTheStepWhereTheReleaseIs(t *testing.T) {
	began := time.Unix(1_800_000_000, 0).UTC()
	read := halfWay(began)
	seen := began.Add(time.Second)
	fails := judge.Sample{Live: true, Seen: seen, Counts: judge.Counts{Requests: 1000, Errors: 1000}}
	well := judge.Sample{Live: true, Seen: seen, Counts: judge.Counts{Requests: 1000}}
	read.reading.Case().Peek(judge.Block{Start: began, Width: time.Second, Step: 1, Weight: 50, Stable: well, Canary: fails})
	raised := read.state
	raised.Step, raised.Weight = 2, 100
	for _, s := range []canary.State{read.state, raised} {
		if v := read.verdict(s, seen); v.Kind != judge.Rollback || !v.Open || v.Step != s.Step || v.Weight != s.Weight {
			t.Errorf("at %d%% the verdict is %s (open: %v) of step %d at %d%%: %s", s.Weight, v.Kind, v.Open, v.Step, v.Weight, v.Sentence)
		}
	}
}

// Clocks of two replicas may differ: which order a copy carries says whether it
// counts, not when it was written.
func TestOnlyCopiesOfThePresentOrderSayWhenItWasWritten(t *testing.T) {
	now := time.Unix(1_800_000_000, 0).UTC()
	s := canary.State{Rollout: "r1", Sequence: 3}
	for name, c := range map[string]struct {
		seen []canary.Seen
		want time.Time
	}{
		"nowhere":                        {nil, time.Time{}},
		"on one":                         {[]canary.Seen{{Rollout: "r1", Sequence: 3, At: now}}, now},
		"on two, the later":              {[]canary.Seen{{Rollout: "r1", Sequence: 3, At: now.Add(-time.Second)}, {Rollout: "r1", Sequence: 3, At: now}}, now},
		"not by an order before":         {[]canary.Seen{{Rollout: "r1", Sequence: 2, At: now.Add(time.Hour)}, {Rollout: "r1", Sequence: 3, At: now}}, now},
		"not by another release":         {[]canary.Seen{{Rollout: "r0", Sequence: 3, At: now.Add(time.Hour)}, {Rollout: "r1", Sequence: 3, At: now}}, now},
		"nowhere, only the order before": {[]canary.Seen{{Rollout: "r1", Sequence: 2, At: now}}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[canary.ObjectKey]canary.Seen{}
			for i, one := range c.seen {
				seen[objectKey("VirtualService", string(rune('a'+i)))] = one
			}
			if got := written(s, seen); !got.Equal(c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
