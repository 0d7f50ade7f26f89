package canary

import (
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
)

// FuzzDecide decides on any state that can be read from an object, whatever is
// seen: a plan is in order, is written and read back, and gives the canary no more
// than its state says.
func FuzzDecide(f *testing.F) {
	good, err := EncodeState(stored())
	if err != nil {
		f.Fatal(err)
	}
	for _, phase := range storedPhases {
		f.Add(strings.Replace(good, `"phase":"Progressing"`, `"phase":"`+string(phase)+`"`, 1), uint64(0), int64(3600))
		f.Add(strings.Replace(strings.Replace(good, `"phase":"Progressing"`, `"inPlace":true,"phase":"`+string(phase)+`"`, 1), `"v":1`, `"v":2`, 1), uint64(1<<20-1), int64(7200))
	}
	f.Add(strings.Replace(good, `"weight":25`, `"weight":100`, 1), uint64(5), int64(-3600))
	f.Fuzz(func(t *testing.T, text string, what uint64, seconds int64) {
		s, err := DecodeState(text)
		if err != nil {
			return
		}
		now := stored().Started.Add(time.Duration(seconds%(1<<30)) * time.Second)
		o := seenBy(s, what, now)
		p := Decide(stored().Spec, s, o, now)
		if p.Next.Weight < 0 || p.Next.Weight > 100 || p.Recheck < 0 {
			t.Fatalf("ordered %+v", p)
		}
		if p.Traffic != nil && (p.Traffic.Weight < 0 || p.Traffic.Weight > 100) {
			t.Fatalf("ordered %+v", *p.Traffic)
		}
		if p.Traffic == nil || p.Next.Rollout == "" {
			return
		}
		if s.Phase.Drains() && p.Next.Rollout == s.Rollout && p.Traffic.Weight > s.Weight {
			t.Fatalf("%s raises the canary from %d%% to %d%%", s.Phase, s.Weight, p.Traffic.Weight)
		}
		if written, err := EncodeState(p.Next); err == nil {
			if _, err := DecodeState(written); err != nil {
				t.Fatalf("written but not read: %v", err)
			}
		} else if len(text) < MaxStateBytes/2 && !strings.Contains(err.Error(), "at most") {
			t.Fatalf("ordered but not written: %v", err)
		}
	})
}

// seenBy is an observation whose answers to yes-or-no questions are bits.
func seenBy(s State, what uint64, now time.Time) Observation {
	bit := func() bool {
		b := what&1 == 1
		what >>= 1
		return b
	}
	o := Observation{
		OptedIn: bit(), Observe: bit(), Gone: bit(), InPlace: s.InPlace, Newer: bit(), Lost: bit(),
		Width: time.Second, Baseline: judge.Baseline{Known: bit()}, Replaying: bit(),
		Tracks: Tracks{
			Canary: Track{Deployment: s.Canary.Deployment, Subset: s.Canary.Subset, Template: s.Canary.Template, Complete: bit(), Wanted: 1, Ready: 1, Crashing: bit()},
			Stable: Track{Deployment: s.Stable.Deployment, Subset: s.Stable.Subset, Template: s.Stable.Template, Pods: s.Stable.Pods, Complete: bit(), Wanted: 1},
			Both:   bit(), Older: bit(),
		},
		Place: Standing{Held: bit(), Mixed: bit(), Updated: bit(), Canary: bit(), Left: bit(), Carried: bit(), Written: s.At},
		Verdict: judge.Verdict{
			Kind: []judge.Kind{judge.Hold, judge.Promote, judge.Rollback, judge.NoData}[what&3], Step: s.Step, Weight: s.Weight, At: now,
		},
	}
	what >>= 2
	if bit() {
		o.Tracks.Stable.Ready = 1
	}
	if bit() {
		o.Invalid = []string{"mode: is wrong"}
	}
	if bit() {
		o.Command = &Command{Verb: []string{CommandAbort, CommandPromote, CommandRollback, CommandSkip}[what&3], ID: "9"}
	}
	what >>= 2
	o.Traffic = map[ObjectKey]Seen{{"VirtualService", "shop", "web"}: {
		Min: s.Weight, Max: s.Weight, Header: bit(), Split: bit(), Lowered: bit(), Raised: bit(), HeaderLost: bit(),
		Rollout: s.Rollout, Sequence: s.Sequence, At: s.At, GitOps: bit(), Owned: bit(),
	}}
	return o
}
