package canary

import (
	"strings"
	"testing"
	"time"
)

// After a promotion people go back to the version before as long as that runs: its pod
// template, or the same images by another name.
func TestGoingBackTakesTheVersionBefore(t *testing.T) {
	digest := func(of string) string { return "sha256:" + strings.Repeat(of, 64) }
	ran := []Image{{Container: "web", Reference: "web:1", Digest: digest("a")}, {Container: "proxy", Reference: "proxy:1", Digest: digest("b")}}
	byDigest := []Image{{Container: "web", Reference: "web:1@" + digest("a"), Digest: digest("a")}, {Container: "proxy", Reference: "proxy@" + digest("b"), Digest: digest("b")}}
	moved := []Image{{Container: "web", Reference: "web:1", Digest: digest("c")}, ran[1]}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name     string
		template string
		images   []Image
		known    []Image // of stable, in the record
		partial  bool    // an update of its pods is under way
		goes     bool
	}{
		{"its template still runs", "t1", ran, ran, false, true},
		{"another template names the same images by digest", "t9", byDigest, ran, false, true},
		{"another template has another image by the same tag", "t9", moved, ran, false, false},
		{"not all of its pods are of it yet", "t9", byDigest, ran, true, false},
		{"no digest was recorded", "t9", byDigest, []Image{{Container: "web", Reference: "web:1"}, {Container: "proxy", Reference: "proxy:1"}}, false, false},
		{"no image was recorded", "t9", nil, nil, false, false},
		{"it has one container less", "t9", byDigest[:1], ran, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := State{
				Version: 1, Rollout: "r1", Phase: Succeeded, Weight: 100, Sequence: 9,
				Canary: Side{Deployment: "web-v2", Subset: "v2", Template: "t2"}, Stable: Side{Deployment: "web-v1", Subset: "v1", Template: "t1"},
			}
			o := Observation{
				OptedIn: true, Command: &Command{Verb: CommandRollback, ID: "rollback#1"},
				Traffic: map[ObjectKey]Seen{{Kind: "VirtualService", Name: "web"}: {Min: 100, Max: 100, Rollout: "r1", Sequence: 9}},
				History: []Release{{Rollout: "r1", Canary: s.Canary, Stable: s.Stable, StableImages: c.known, Outcome: Succeeded}},
				Tracks: Tracks{
					Canary: Track{Deployment: "web-v2", Subset: "v2", Template: "t2", Complete: true, Wanted: 2, Ready: 2},
					Stable: Track{Deployment: "web-v1", Subset: "v1", Template: c.template, Complete: !c.partial, Wanted: 2, Ready: 2, Images: c.images},
				},
			}
			p := Decide(Spec{Steps: []Step{{Weight: 100, Bake: time.Minute}}}, s, o, now)
			if goes := p.Next.Phase == RollingBack; goes != c.goes {
				t.Fatalf("the plan is %s: %s, %+v", p.View.Reason, p.View.Sentence, p.Tell)
			}
			if c.goes && p.Next.Stable.Template != c.template {
				t.Errorf("stable is %s then", p.Next.Stable.Template)
			}
		})
	}
}
