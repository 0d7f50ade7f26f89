package canary

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

// What registries know of images is asked in a release, shown and kept with it, and
// nothing waits for it.
func TestRegistriesDescribeImages(t *testing.T) {
	const digest, other = "sha256:aa", "sha256:bb"
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	written := []Image{
		{Container: "web", Reference: "registry.example.com/web:v2", Digest: digest, Version: "2.0.0"},
		{Container: "proxy", Reference: "registry.example.com/proxy:v1", Digest: other},
	}
	w := newWorld()
	w.o.Tracks.Canary.Images = written
	w.o.Askable = map[QuestionKind]bool{AskImages: true}
	w.state = State{Rollout: "r1", Phase: Progressing, Step: 1, Weight: 5, Canary: w.o.Tracks.Canary.side(), Stable: w.o.Tracks.Stable.side(), Since: now, Started: now, Spec: w.spec}
	question := Question{Kind: AskImages, Stage: Always, Rollout: "r1"}
	plan := func(o Observation) Plan { return Decide(w.spec, w.state, o, now) }
	asks := func(o Observation) bool { return slices.Contains(plan(o).Ask, question) }

	if !asks(w.o) {
		t.Errorf("asked is %+v", plan(w.o).Ask)
	}
	unasked := w.o
	unasked.Askable = nil
	early := w.o
	early.Tracks.Canary.Images = []Image{written[0], {Container: "proxy", Reference: "registry.example.com/proxy:v1"}}
	if asks(unasked) || asks(early) {
		t.Error("asked though nobody answers, or before digests are known")
	}

	before := plan(w.o)
	w.answer(question, Answer{Said: Allow, Images: []Image{
		{Container: "web", Digest: digest, Version: "1.9.9", Revision: "8d3f1c", Source: "https://git.example.com/web", Created: "2026-03-01T10:00:00Z"},
		{Container: "proxy", Digest: "sha256:cc", Version: "of another digest"},
	}})
	p := plan(w.o)
	want := []Image{
		{Container: "web", Reference: "registry.example.com/web:v2", Digest: digest, Version: "2.0.0", Revision: "8d3f1c", Source: "https://git.example.com/web", Created: "2026-03-01T10:00:00Z"},
		written[1],
	}
	if !reflect.DeepEqual(p.View.Canary.Images, want) {
		t.Errorf("shown are %+v", p.View.Canary.Images)
	}
	if w.o.Tracks.Canary.Images[0].Revision != "" {
		t.Error("the observation was changed")
	}
	w.answer(question, Answer{Said: Wait, Unreached: true, Sentence: "no answer"})
	away := plan(w.o)
	for name, got := range map[string]Plan{"answered": p, "unreached": away} {
		if got.Next.Phase != before.Next.Phase || got.View.Reason != before.View.Reason || len(got.View.Awaits) != len(before.View.Awaits) {
			t.Errorf("%s: %s %s, and before %s %s", name, got.Next.Phase, got.View.Reason, before.Next.Phase, before.View.Reason)
		}
	}
}
