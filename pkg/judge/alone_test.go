package judge

import (
	"testing"
	"time"
)

// TestWithNobodyToCompareWith: at 100% stable gets nothing, and the hour before
// the release takes its place for what is no error.
func TestWithNobodyToCompareWith(t *testing.T) {
	nobody, hour := did(0, 0, 50), did(600, 0, 50)
	refusing := refused(600, 590)
	for _, c := range []struct {
		name     string
		hour     Sample
		canary   Sample
		reason   Reason
		noWorse  bool
		sentence string
	}{
		{
			"a canary that answers as stable did is promoted", hour, did(100, 0, 50), ReasonGood, true,
			"0% of 800 canary requests failed, 0% took longer than 1s: evidence more than a million to 1 that it keeps the limits, 20 to 1 suffices",
		},
		{
			"404 to everything is not promoted", hour, refused(100, 100), ReasonClientErrors, false,
			"100% of 800 canary requests were refused with 4xx, much more than stable's 0% of 36000 before the release",
		},
		{
			"404 to most, as before, is promoted", refusing, refused(100, 98), ReasonGood, true,
			"0% of 800 canary requests failed, 0% took longer than 1s: evidence more than a million to 1 that it keeps the limits, 20 to 1 suffices",
		},
		{
			"when all clients leave it is not promoted", hour, left(10, 90), ReasonClientErrors, false,
			"90% of the canary's clients left before the answer (720), much more than stable's 0% of 36000 before the release",
		},
		{
			"a canary that answers nothing any more is not promoted for what it did before", hour, did(0, 0, 50), ReasonFewRequests, false,
			"no canary request at this step yet; evidence of the steps before is more than a million to 1 that it keeps the limits",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, now := opener(evidenceSettings(), hourBefore(c.hour)), epoch
			s := story{}.then(10, did(1900, 0, 50), did(100, 0, 50)).then(8, nobody, c.canary).blocks(5)
			for i, b := range s {
				if i >= 10 {
					b.Step, b.Weight = 1, 100
				}
				e.Fold(b)
				now = b.End()
			}
			v := e.Verdict(now)
			if v.Reason != c.reason || v.NoWorse != c.noWorse || v.Sentence != c.sentence {
				t.Errorf("%s, no worse %v: %s", v.Reason, v.NoWorse, v.Sentence)
			}
		})
	}
}

// TestAQuietCanaryKeepsNoWindowOpen: what stable answered while the canary was
// asked nothing doesn't dilute what stable does in an incident of both.
func TestAQuietCanaryKeepsNoWindowOpen(t *testing.T) {
	for _, width := range []time.Duration{time.Second, 5 * time.Second, time.Minute} {
		c, b := Open(evidenceSettings()), Block{Width: width, Weight: 5}
		fold := func(stable, canary Sample) Kind {
			b.Stable, b.Canary = stable, canary
			b.Start = epoch.Add(c.ledger.covered)
			c.Fold(b)
			kind, _ := c.Ruling(b.End())
			return kind
		}
		for range 200 {
			fold(did(1000, 0, 50), did(0, 0, 50))
		}
		shared := false
		for i := range 40 {
			bad := int64(0)
			if i%5 == 0 {
				bad = 1
			}
			switch fold(did(10, 2, 50), did(1, bad, 50)) {
			case Rollback:
				t.Fatalf("%s: rolled back in block %d", width, i)
			case SharedIncident:
				shared = true
			}
		}
		if !shared {
			t.Errorf("%s: no incident of both was found", width)
		}
	}
}

// TestTheQuietIsCountedOfEachVersion: who answers nothing any more, and since when.
func TestTheQuietIsCountedOfEachVersion(t *testing.T) {
	c, end := Open(evidenceSettings()), epoch
	for _, answered := range []struct{ stable, canary int64 }{{10, 0}, {0, 5}, {0, 0}, {0, 3}, {0, 0}} {
		b := Block{Start: end, Width: time.Second, Step: 1, Weight: 100, Stable: did(answered.stable, 0, 50), Canary: did(answered.canary, 0, 50)}
		c.Fold(b)
		end = b.End()
	}
	if v := c.Verdict(end); v.Quiet != 1 || v.StableQuiet != 4 {
		t.Errorf("the canary was quiet for %d blocks, want 1; stable for %d, want 4", v.Quiet, v.StableQuiet)
	}
}

// TestAQuietWeekendIsNoEvidence: a canary that nobody asks anything for days
// stands as it did, and one failure afterwards proves nothing.
func TestAQuietWeekendIsNoEvidence(t *testing.T) {
	s := evidenceSettings()
	s.Deadline = 10 * time.Minute
	quiet := func(n int) *Case {
		c := Open(s)
		for i := range n {
			c.Fold(Block{Start: epoch.Add(time.Duration(i) * time.Minute), Width: time.Minute, Weight: 5, Stable: did(0, 0, 50), Canary: did(0, 0, 50)})
		}
		return c
	}
	short, long := quiet(20), quiet(60*60)
	a, _ := short.Odds()
	b, _ := long.Odds()
	if a != b {
		t.Errorf("evidence %v after twenty minutes of nothing, %v after a weekend", a, b)
	}
	if kind, reason := long.Ruling(long.ledger.at); reason != ReasonFewRequests {
		t.Errorf("%s (%s)", kind, reason)
	}
}

// TestThinEvidenceHidesNothing: two failures are too few for a breach, however
// high their odds; slow requests that break a limit by themselves are enough.
func TestThinEvidenceHidesNothing(t *testing.T) {
	s := evidenceSettings()
	s.Limits.ErrorRate, s.Limits.ErrorRatio = 1e-6, 0
	canary := slow(100, 10, 4000)
	canary.Errors = 2
	c, now := foldAll(story{}.then(1, did(1900, 0, 50), canary).seenAlike().blocks(5), s)
	m := c.method.(*evidence)
	if m.errors.odds() < m.latency.odds() || m.latency.odds() < m.enough {
		t.Fatalf("odds of errors %v and latency %v: no such case", m.errors.odds(), m.latency.odds())
	}
	v := c.Verdict(now)
	if want := "10 of the last 100 canary requests surely took longer than 1s (10%), above 1%: evidence 55000 to 1, 100 to 1 suffices (stable 0% of 1900)"; v.Kind != Rollback || v.Sentence != want {
		t.Errorf("%s (%s): %s", v.Kind, v.Reason, v.Sentence)
	}
}

// TestTheOutlookPromisesNothing: where no number of requests would do at the
// present share, none is told, whatever the other limits lack.
func TestTheOutlookPromisesNothing(t *testing.T) {
	c, now := foldAll(story{}.then(1, did(60, 0, 50), did(60, 3, 50)).blocks(50), evidenceSettings())
	v := c.Verdict(now)
	want := "60 canary requests so far, 3 failed, 0% took longer than 1s: evidence less than 0.1 to 1 that it keeps the limits, 20 to 1 suffices"
	if v.More != 0 || v.MoreTime != 0 || v.Sentence != want {
		t.Errorf("%d more, %s: %s", v.More, v.MoreTime, v.Sentence)
	}
}

// TestWithinTheLimitIsSaidOnlyWhereItIs: much worse than stable holds, also
// before it is sure that the limit is broken.
func TestWithinTheLimitIsSaidOnlyWhereItIs(t *testing.T) {
	s := evidenceSettings()
	s.Limits.ErrorRatio = 0
	c, now := foldAll(story{}.then(3, did(9500, 1, 50), did(500, 7, 50)).blocks(5), s)
	v := c.Verdict(now)
	want := "1.4% of 1000 canary requests failed, not surely over the limit but more than 2 times stable's 0.01% of 19000: evidence 320 to 1"
	if v.Reason != ReasonErrorRatio || v.Sentence != want {
		t.Errorf("%s (%s): %s", v.Kind, v.Reason, v.Sentence)
	}
}

// TestAGoodPastPromotesNobodyWhoBeginsToFail: the odds of an onset need a
// moment to grow, and in it nobody is promoted.
func TestAGoodPastPromotesNobodyWhoBeginsToFail(t *testing.T) {
	good, bad := did(100, 0, 50), did(100, 5, 50)
	slower := did(100, 0, 50)
	slower.Latency = slow(100, 5, 4000).Latency
	for _, c := range []struct {
		name     string
		canary   Sample
		sentence string
	}{
		{"failures", bad, "10 of the last 200 canary requests failed (5%), above the limit of 1%: not promoted until it is clear whether that goes on"},
		{"slow requests", slower, "10 of the last 200 canary requests surely took longer than 1s (5%), above 1%: not promoted until it is clear whether that goes on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := evidenceSettings()
			s.Limits.ErrorRatio = 0
			e, now := foldAll(story{}.then(20, did(100, 0, 50), good).then(2, did(100, 0, 50), c.canary).blocks(50), s)
			v := e.Verdict(now)
			if v.Kind != Hold || v.NoWorse || v.Sentence != c.sentence {
				t.Errorf("%s (%s): %s", v.Kind, v.Reason, v.Sentence)
			}
		})
	}
	e, now := foldAll(story{}.then(20, did(100, 0, 50), good).then(2, did(100, 0, 50), bad).then(8, did(100, 0, 50), good).blocks(50), evidenceSettings())
	if v := e.Verdict(now); v.Kind != Promote {
		t.Errorf("what ended holds nobody: %s (%s): %s", v.Kind, v.Reason, v.Sentence)
	}
}

// TestNobodyKnowsWhenAMetricWithoutATrialSuffices: the other limits' need for
// requests says nothing of it.
func TestNobodyKnowsWhenAMetricWithoutATrialSuffices(t *testing.T) {
	s := evidenceSettings()
	s.Custom = []Custom{{Name: "checkout", AtLeast: true, Bound: .99}}
	blocks := story{}.then(1, did(190, 0, 50), did(10, 0, 50)).blocks(5)
	blocks[0].Custom = []Pair{{}}
	c, now := foldAll(blocks, s)
	if v := c.Verdict(now); v.Reason != ReasonFewRequests || v.More != 0 || v.MoreTime != 0 {
		t.Errorf("%s: %d more, %s", v.Reason, v.More, v.MoreTime)
	}
}
