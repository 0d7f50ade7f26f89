package controller

import (
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
)

func TestAStepOfWhichNothingIsKnownIsNoData(t *testing.T) {
	began := time.Unix(1_800_000_000, 0).UTC()
	s := canary.State{
		Rollout: "r1", Phase: canary.Progressing, Step: 1, Weight: 50, Width: time.Second, Started: began,
		Canary: canary.Side{Deployment: "web-v2"}, Stable: canary.Side{Deployment: "web-v1"},
	}
	read := trial{state: s}
	read.reading.Follow(s, began)
	read.reading.Add(nil) // stable's hour before the release
	if v := read.verdict(s, began); v.Kind != "" {
		t.Errorf("before the first block is closed the verdict is %s: %s", v.Kind, v.Sentence)
	}
	read.reading.Add([]judge.Block{{Start: began, Width: time.Second, Step: 1, Weight: 50, Missing: "no series"}})
	if v := read.verdict(s, began.Add(3*time.Second)); v.Kind != judge.NoData || v.Step != 1 || v.Weight != 50 {
		t.Errorf("after a block without data the verdict is %q at step %d: %s", v.Kind, v.Step, v.Sentence)
	}
}
