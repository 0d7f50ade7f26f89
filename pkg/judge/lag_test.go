package judge

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestWaitingForStableNeverAddsEvidence: counting stable's failures of the
// adjacent blocks, and a block late, leaves the wealth at most where it would be
// without, which is what the promise rests on.
func TestWaitingForStableNeverAddsEvidence(t *testing.T) {
	random := rand.New(rand.NewPCG(21, 1))
	for _, strict := range []bool{false, true} {
		test := newRelativeTest(2, bursts{phi: 1, strict: strict})
		plan := schedule{1, 30 * time.Minute}
		for range 300 {
			var late, sure relative
			before := math.NaN() // what the sure one had a block ago
			for i := range 60 {
				c := Tally{N: random.Int64N(50)}
				s := Tally{N: random.Int64N(500)}
				c.Hits, s.Hits = min(c.N, random.Int64N(4)), min(s.N, random.Int64N(4))
				m := plan.at(0, time.Duration(i)*15*time.Second, 15*time.Second)
				sure.fold(&test, c, s, m, together)
				late.fold(&test, c, s, m, later)
				if w := late.release.wealth(); w > before*(1+1e-9) {
					t.Fatalf("strict %v, block %d: %v, without waiting %v", strict, i, w, before)
				}
				before = sure.release.wealth()
			}
		}
	}
}

func TestHowFarStableIsKnown(t *testing.T) {
	at := epoch
	for _, c := range []struct {
		name           string
		stable, canary time.Time
		weight         int
		requests       int64
		idle           bool
		want           known
	}{
		{"at the same moment", at, at, 5, 9, false, together},
		{"stable is known further", at.Add(time.Second), at, 5, 9, false, further},
		{"stable is known less far", at, at.Add(time.Second), 5, 9, false, later},
		{"nobody knows of stable", time.Time{}, at, 5, 9, false, later},
		{"nobody knows of the canary", at, time.Time{}, 5, 9, false, later},
		{"without a comparator there is nothing to wait for", time.Time{}, at, 100, 0, false, further},
		{"nor with an idle one", time.Time{}, at, 5, 0, true, further},
		{"one block without a request is not idle", time.Time{}, at, 5, 0, false, later},
	} {
		b := Block{Weight: c.weight, Stable: did(c.requests, 0, 50), Canary: did(1, 0, 50)}
		b.Stable.Seen, b.Canary.Seen = c.stable, c.canary
		if got := knownOf(&b, c.idle); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestStepsShareTheEvidenceOfARelease: what was good at the first step counts at
// the next, which needs its own bake and none against it.
func TestStepsShareTheEvidenceOfARelease(t *testing.T) {
	s := evidenceSettings()
	s.Steps = 2
	first := story{}.then(3, did(1900, 2, 50), did(100, 0, 50)).seenAlike().blocks(5)
	next := func(canary Sample) (Verdict, *Case) {
		e, _ := foldAll(first, s)
		b := first[2]
		b.Start, b.Step, b.Weight, b.Canary = first[2].End(), 1, 50, canary
		b.Canary.Seen, b.Stable.Seen = b.End(), b.End()
		e.Fold(b)
		return e.Verdict(b.End()), e
	}
	if v, _ := next(did(10, 0, 50)); v.Kind != Promote || v.Covered != 15*time.Second || v.Canary.Requests != 10 || v.Metrics[0].Canary.N != 10 {
		t.Errorf("%s after %s: %s", v.Kind, v.Covered, v.Sentence)
	}
	if v, _ := next(did(10, 2, 50)); v.Kind != Hold || v.Reason != ReasonSuspicious || v.NoWorse {
		t.Errorf("%s, no worse %v: %s", v.Kind, v.NoWorse, v.Sentence)
	}
	if v, _ := next(did(10, 6, 50)); v.Kind != Rollback {
		t.Errorf("%s: %s", v.Kind, v.Sentence)
	}
}

// TestALongReleaseStaysWatched: a canary that begins to fail a day after its
// step's deadline is rolled back nearly as soon as at first.
func TestALongReleaseStaysWatched(t *testing.T) {
	s := evidenceSettings()
	s.Deadline = 30 * time.Minute
	got := times(20, func(seed uint64) time.Duration {
		w := newWorld(seed, 5, .001, .001)
		const onset = 24 * time.Hour
		w.canary = func(at time.Duration) float64 {
			if at < onset {
				return .001
			}
			return .2
		}
		return max(w.until(s, 25*time.Hour, Rollback)-onset, 0)
	})
	if len(got) < 20 || median(got) > time.Minute {
		t.Errorf("found in %d of 20, median %s", len(got), median(got))
	}
}

func TestWhatAVerdictTells(t *testing.T) {
	s := evidenceSettings()
	s.Custom = []Custom{{Name: "queue", Bound: 100, Gauge: true}}
	blocks := story{}.then(4, did(380, 1, 50), did(20, 0, 50)).seenAlike().blocks(5)
	for i := range blocks {
		blocks[i].Custom = []Pair{{Canary: Tally{0, 1}, Stable: Tally{0, 1}}}
	}
	e, now := foldAll(blocks, s)
	v := e.Verdict(now)
	if v.Kind != Hold || !v.NoWorse || v.Open || v.Covered != time.Minute {
		t.Errorf("%+v", v)
	}
	if math.Abs(v.RollbackAt-math.Log(100)) > 1e-9 || math.Abs(v.PromoteAt-math.Log(20)) > 1e-9 || v.Against > 0 || v.For <= 0 {
		t.Errorf("against %v of %v, for %v of %v", v.Against, v.RollbackAt, v.For, v.PromoteAt)
	}
	// 97 of 177 requests are lacking, and 12 or so blocks of the gauge: the longer counts
	if v.MoreTime < 2*time.Minute || v.MoreTime > 4*time.Minute || v.More < 160 || v.More > 320 {
		t.Errorf("%d more, %s", v.More, v.MoreTime)
	}
	var names []string
	for _, m := range v.Metrics {
		names = append(names, m.Name)
		if m.For < v.For && m.For != 0 {
			t.Errorf("%s has less evidence than the least: %v, %v", m.Name, m.For, v.For)
		}
	}
	if got := strings.Join(names, " "); got != "errors errors-vs-stable latency latency-vs-stable queue client-errors-vs-stable disconnects-vs-stable" {
		t.Errorf("metrics %s", got)
	}
	if m := v.Metrics[0]; m.Limit != .01 || m.Canary != (Tally{0, 80}) || m.Stable != (Tally{4, 1520}) || m.Low != 0 || m.High < .01 || m.High > .1 || !m.Judged {
		t.Errorf("%+v", m)
	}
	if m := v.Metrics[1]; m.Limit != 2 || !m.Judged || v.Metrics[3].Judged || v.Metrics[5].Judged {
		t.Errorf("%+v", m)
	}
}

// TestTheOutlookIsRight: after as many more good requests as were said to be
// lacking the canary is promoted, and not long before.
func TestTheOutlookIsRight(t *testing.T) {
	s := evidenceSettings()
	b := Block{Start: epoch, Width: 15 * time.Second, Weight: 5, Stable: did(1900, 0, 50), Canary: did(37, 0, 50)}
	run := func(n int64) Verdict {
		e := Open(s)
		e.Fold(b)
		next := b
		next.Start, next.Canary = b.End(), did(n, 0, 50)
		e.Fold(next)
		return e.Verdict(next.End())
	}
	e := Open(s)
	e.Fold(b)
	more := e.Verdict(b.End()).More
	if v := run(more); v.Kind != Promote {
		t.Errorf("after %d more: %s", more, v.Sentence)
	}
	if v := run(more - 2); v.Kind != Hold || v.More < 1 || v.More > 3 {
		t.Errorf("two fewer: %s, %d more", v.Kind, v.More)
	}
}

// TestSlowBesideStable: the multiple of stable's 99th percentile counts once that
// is known, by what came before.
func TestSlowBesideStable(t *testing.T) {
	s := evidenceSettings()
	s.Limits.P99Ratio = 2
	tardy := story{}.then(4, did(1900, 0, 400), slow(100, 20, 900)).seenAlike().blocks(5)
	run := func(before []Block, blocks []Block) Verdict {
		e := opener(s, before)
		for _, b := range blocks {
			e.Fold(b)
		}
		return e.Verdict(blocks[len(blocks)-1].End())
	}
	// stable's 99th percentile lies within 500 ms, twice that is 1 s: all are within
	if v := run(hourBefore(did(100, 0, 400)), tardy); v.Kind != Promote {
		t.Errorf("%s: %s", v.Kind, v.Sentence)
	}
	// stable's lies within 100 ms, so beyond 250 ms is slow
	quick := story{}.then(4, did(1900, 0, 50), slow(100, 20, 900)).seenAlike().blocks(5)
	if v := run(hourBefore(did(100, 0, 50)), quick); v.Reason != ReasonSlower || v.Kind != Rollback || !strings.Contains(v.Sentence, "took longer than 250ms") {
		t.Errorf("%s: %s", v.Kind, v.Sentence)
	}
	// nobody knows stable yet: the first block is no evidence
	if v := run(nil, quick[:1]); v.Kind == Rollback {
		t.Errorf("%s: %s", v.Kind, v.Sentence)
	}
}

// TestWithoutWeightNothingIsJudged: whoever tries the canary out by a header
// gives no evidence, and the odds of the first step stay whole.
func TestWithoutWeightNothingIsJudged(t *testing.T) {
	s := evidenceSettings()
	e, at := Open(s), epoch
	for range 5 {
		b := Block{Start: at, Width: 15 * time.Second, Stable: did(100, 0, 50), Canary: did(100, 100, 50)}
		e.Fold(b)
		at = b.End()
		if v := e.Verdict(at); v.Kind != Hold {
			t.Fatalf("%s: %s", v.Kind, v.Sentence)
		}
	}
	b := Block{Start: at, Width: 15 * time.Second, Weight: 5, Stable: did(57, 0, 50), Canary: did(3, 3, 50)}
	b.Stable.Seen, b.Canary.Seen = b.End(), b.End()
	fresh := Open(s)
	e.Fold(b)
	fresh.Fold(b)
	against, _ := e.Odds()
	if want, _ := fresh.Odds(); math.Abs(against-want) > 1e-9 || e.Verdict(b.End()).Kind != Rollback {
		t.Errorf("against %v, without the blocks before %v", against, want)
	}
}
