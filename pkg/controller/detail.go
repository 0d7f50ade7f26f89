package controller

import (
	"slices"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/replay"
)

// Detail is all that is shown of one Service's rollout; false where it has none.
func (c *Controller) Detail(namespace, service string) (canary.Detail, bool) {
	k := cluster.Key{Namespace: namespace, Name: service}
	c.mu.Lock()
	v, known := c.views[k]
	c.mu.Unlock()
	if !known {
		return canary.Detail{}, false
	}
	d := canary.Detail{View: v, Points: c.bench.points(k, v.Rollout), Timeline: c.told.timeline(k)}
	// What can't be read of the history is in nobody's way here.
	kept, _ := history.Releases(c.cache.Revisions(k))
	for _, r := range kept[:min(len(kept), canary.MaxPast)] {
		d.History = append(d.History, canary.PastOf(r))
	}
	return d, true
}

// points are what was measured of a rollout under way.
func (b *bench) points(k cluster.Key, rollout string) []canary.Point {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.trials[k]
	if t == nil || t.state.Rollout != rollout {
		return nil
	}
	return slices.Clone(t.points)
}

// record keeps blocks of a stretch that are read for the first time. Those before
// the release, and those without data, are no points: a gap is shown as one.
func (t *trial) record(s replay.Stretch, blocks []judge.Block) {
	if s.Before {
		return
	}
	for _, b := range blocks {
		if n := len(t.points); b.Missing != "" || n > 0 && !b.End().After(t.points[n-1].At) {
			continue
		}
		t.points = append(t.points, canary.Point{
			At: b.End(), Width: canary.Span(b.Width), Weight: s.Weight, Stable: sampleView(b.Stable), Canary: sampleView(b.Canary),
		})
	}
	if over := len(t.points) - canary.MaxPoints; over > 0 {
		t.points = slices.Delete(t.points, 0, over)
	}
}

func sampleView(s judge.Sample) canary.SampleView {
	return canary.SampleView{Requests: s.Requests, Errors: s.Errors, P99: s.Latency.Quantile(0.99)}
}

// timeline is what was told of the present rollout of a Service, or the last one.
func (t *teller) timeline(k cluster.Key) []canary.Told {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.kept[k].told)
}

// keeping is what was told of one rollout.
type keeping struct {
	rollout string
	told    []canary.Told
}

// keep adds what is told to the Service's timeline; with another rollout a new one
// begins.
func (t *teller) keep(k cluster.Key, rollout string, e canary.Event, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := t.kept[k]
	if kept.rollout != rollout {
		kept = keeping{rollout: rollout}
	}
	if len(kept.told) == canary.MaxTold {
		kept.told = slices.Delete(kept.told, 0, 1)
	}
	kept.told = append(kept.told, canary.Told{At: now, Reason: e.Reason, Sentence: e.Sentence, Warning: e.Warning})
	t.kept[k] = kept
}
