package canary

import (
	"testing"
	"time"
)

// A release whose state is gone from the routes has ended: its template is not
// released again from the beginning.
func TestAReleaseWhoseStateIsGoneHasEnded(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	begun := Release{
		Rollout: "t2abc", Started: now.Add(-time.Minute),
		Canary: Side{Deployment: "web-v2", Subset: "v2", Template: "t2"}, Stable: Side{Deployment: "web-v1", Subset: "v1", Template: "t1"},
	}
	o := Observation{
		OptedIn: true, Begun: []Release{begun}, Traffic: map[ObjectKey]Seen{{Kind: "VirtualService", Name: "web"}: {}},
		Tracks: Tracks{
			Canary: Track{Deployment: "web-v2", Subset: "v2", Template: "t2", Complete: true, Wanted: 1, Ready: 1},
			Stable: Track{Deployment: "web-v1", Subset: "v1", Template: "t1", Complete: true, Wanted: 1, Ready: 1},
		},
	}
	spec := Spec{Steps: []Step{{Weight: 100, Bake: time.Minute}}, StepDeadline: time.Hour}

	t.Run("it is recorded as lost, and nothing begins", func(t *testing.T) {
		p := Decide(spec, State{}, o, now)
		if p.Record == nil || p.Record.Rollout != "t2abc" || p.Record.Outcome != RolledBack || p.Record.Reason != StateLost || !p.Record.Ended.Equal(now) {
			t.Fatalf("recorded is %+v", p.Record)
		}
		if p.Traffic != nil || p.Next.Rollout != "" || len(p.Tell) != 1 || !p.Tell[0].Warning {
			t.Errorf("the plan is %+v", p)
		}
	})
	t.Run("once it is recorded its template was tried", func(t *testing.T) {
		after := o
		after.History, after.Begun = []Release{*Decide(spec, State{}, o, now).Record}, nil
		if p := Decide(spec, State{}, after, now); p.View.Reason != AlreadyTried || p.Traffic != nil {
			t.Errorf("it is %s: %s", p.View.Reason, p.View.Sentence)
		}
	})
	t.Run("without a record it would begin anew", func(t *testing.T) {
		unrecorded := o
		unrecorded.Begun = nil
		if p := Decide(spec, State{}, unrecorded, now); p.View.Reason != ReleaseStarted {
			t.Errorf("it is %s: %s", p.View.Reason, p.View.Sentence)
		}
	})
	t.Run("one that ended, whose record is behind, is not lost", func(t *testing.T) {
		over := State{Version: 1, Rollout: "t2abc", Phase: RolledBack, Canary: begun.Canary, Stable: begun.Stable, Reason: ErrorRateTooHigh, Since: now}
		p := Decide(spec, over, o, now)
		if p.Record == nil || p.Record.Reason != ErrorRateTooHigh {
			t.Errorf("recorded is %+v", p.Record)
		}
	})
	t.Run("one that is under way goes on", func(t *testing.T) {
		active := State{Version: 1, Rollout: "t2abc", Phase: Testing, Canary: begun.Canary, Stable: begun.Stable, Since: now, Spec: spec}
		if p := Decide(spec, active, o, now); p.Record != nil || p.Next.Phase != Testing {
			t.Errorf("the plan is %+v", p)
		}
	})
}

// What stable ran is known from the beginning on; at the end of a release in place it
// runs what was promoted.
func TestARecordHasTheImagesOfItsOwnVersions(t *testing.T) {
	one, two := []Image{{Container: "web", Reference: "web:1"}}, []Image{{Container: "web", Reference: "web:2"}}
	side := func(template string) Side { return Side{Deployment: "web", Template: template} }
	track := func(template string, images []Image) Track {
		return Track{Deployment: "web", Template: template, Images: images}
	}
	for _, c := range []struct {
		name           string
		state          State
		tracks         Tracks
		canary, stable []Image
	}{
		{"a pair", State{Canary: side("t2"), Stable: side("t1")}, Tracks{Canary: track("t2", two), Stable: track("t1", one)}, two, one},
		{"in place, promoted", State{InPlace: true, Canary: side("t2"), Stable: side("t2")}, Tracks{Canary: track("t2", two), Stable: track("t2", two)}, two, nil},
		{"the canary's template changed", State{Canary: side("t2"), Stable: side("t1")}, Tracks{Canary: track("t3", two), Stable: track("t1", one)}, nil, one},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := moment{state: c.state, o: Observation{Tracks: c.tracks}}.record(c.state)
			if len(r.Images) != len(c.canary) || len(r.StableImages) != len(c.stable) {
				t.Errorf("the canary's are %v, stable's %v", r.Images, r.StableImages)
			}
			begun := BegunRelease(c.state, c.tracks)
			if len(begun.Images) != len(c.canary) || begun.Outcome != "" {
				t.Errorf("begun is %+v", begun)
			}
		})
	}
}
