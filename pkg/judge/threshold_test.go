package judge

import (
	"strings"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	good := did(100, 0, 50)
	for _, c := range []struct {
		name     string
		story    story
		weight   int // 50 if zero
		settings func(*Settings)
		later    time.Duration
		kind     Kind
		reason   Reason
		sentence string
	}{
		{
			name: "without any block nobody knows", kind: NoData, reason: ReasonNoData,
			sentence: "no data: no block of this step is closed yet",
		},
		{
			name:  "one good check promotes",
			story: story{}.then(1, good, good),
			kind:  Promote, reason: ReasonGood,
			sentence: "last check within limits: 0% of 100 canary requests failed, 0% took longer than 1s (this step 0% of 100, stable 0% of 100)",
		},
		{
			name:  "too few requests hold and say how many more",
			story: story{}.then(3, good, did(10, 0, 50)), weight: 5,
			kind: Hold, reason: ReasonFewRequests,
			sentence: "30 canary requests so far, 0 failed: about 70 more requests complete the first check",
		},
		{
			name:  "a single check over the limit is only suspicious",
			story: story{}.then(1, good, did(100, 5, 50)),
			kind:  Hold, reason: ReasonSuspicious,
			sentence: "5% of 100 canary requests failed, above the limit of 1%, in 1 of the 3 checks in a row that make a breach: about 100 more requests decide the next",
		},
		{
			name:  "three checks over the limit in a row roll back",
			story: story{}.then(3, good, did(100, 5, 50)),
			kind:  Rollback, reason: ReasonErrorRate,
			sentence: "5% of 300 canary requests failed, above the limit of 1%, in 3 checks in a row (stable 0% of 300)",
		},
		{
			name:  "a good check between bad ones begins the count anew",
			story: story{}.then(2, good, did(100, 5, 50)).then(1, good, good).then(2, good, did(100, 5, 50)),
			kind:  Hold, reason: ReasonSuspicious,
			sentence: "5% of 200 canary requests failed, above the limit of 1%, in 2 of the 3 checks in a row that make a breach: about 100 more requests decide the next",
		},
		{
			name:  "after bad checks a good one promotes again",
			story: story{}.then(2, good, did(100, 5, 50)).then(1, good, good),
			kind:  Promote, reason: ReasonGood,
			sentence: "last check within limits: 0% of 100 canary requests failed, 0% took longer than 1s (this step 3.3% of 300, stable 0% of 300)",
		},
		{
			name:  "exactly the limit is within it",
			story: story{}.then(5, good, did(100, 1, 50)),
			settings: func(s *Settings) {
				s.Limits.ErrorRatio = 0
			},
			kind: Promote, reason: ReasonGood,
			sentence: "last check within limits: 1% of 100 canary requests failed, 0% took longer than 1s (this step 1% of 500, stable 0% of 500)",
		},
		{
			name:  "a check whose breach is certain needs no more requests",
			story: story{}.then(3, good, did(4, 2, 50)), weight: 5,
			kind: Rollback, reason: ReasonErrorRate,
			sentence: "50% of 12 canary requests failed, above the limit of 1%, in 3 checks in a row (stable 0% of 300)",
		},
		{
			name:  "one failure in a few requests is not certain yet",
			story: story{}.then(1, good, did(4, 1, 50)), weight: 5,
			kind: Hold, reason: ReasonFewRequests,
			sentence: "4 canary requests so far, 1 failed: about 96 more requests complete the first check",
		},
		{
			name:  "a breach once proven stays, whatever comes after",
			story: story{}.then(3, good, did(100, 5, 50)).then(9, good, good).silence("the query failed"),
			kind:  Rollback, reason: ReasonErrorRate,
			sentence: "5% of 300 canary requests failed, above the limit of 1%, in 3 checks in a row (stable 0% of 300)",
		},
		{
			name:  "within the limit but three times as bad as stable rolls back",
			story: story{}.then(3, did(1000, 10, 50), did(1000, 30, 50)),
			settings: func(s *Settings) {
				s.Limits.ErrorRate = 0.05
			},
			kind: Rollback, reason: ReasonErrorRatio,
			sentence: "3% of 3000 canary requests failed, more than 2 times stable's 1%, in 3 checks in a row (stable 1% of 3000)",
		},
		{
			name:  "a bare limit compares with nothing",
			story: story{}.then(3, did(1000, 10, 50), did(1000, 30, 50)),
			settings: func(s *Settings) {
				s.Limits.ErrorRate, s.Limits.ErrorRatio = 0.05, 0
			},
			kind: Promote, reason: ReasonGood,
			sentence: "last check within limits: 3% of 1000 canary requests failed, 0% took longer than 1s (this step 3% of 3000, stable 1% of 3000)",
		},
		{
			name:  "much worse than stable but negligible is no breach",
			story: story{}.then(3, did(1000, 0, 50), did(1000, 4, 50)),
			kind:  Promote, reason: ReasonGood,
			sentence: "last check within limits: 0.4% of 1000 canary requests failed, 0% took longer than 1s (this step 0.4% of 3000, stable 0% of 3000)",
		},
		{
			name:  "two failures are no ratio",
			story: story{}.then(3, good, did(100, 2, 50)),
			settings: func(s *Settings) {
				s.Limits.ErrorRate = 0.03
			},
			kind: Promote, reason: ReasonGood,
			sentence: "last check within limits: 2% of 100 canary requests failed, 0% took longer than 1s (this step 2% of 300, stable 0% of 300)",
		},
		{
			name:  "when both versions break the limit it is not the canary",
			story: story{}.then(3, did(100, 40, 50), did(100, 50, 50)),
			kind:  SharedIncident, reason: ReasonSharedIncident,
			sentence: "both versions are over the limit: 50% of the canary's and 40% of stable's requests failed at this step, 0% and 0% took longer than 1s",
		},
		{
			name:  "when stable recovers and the canary doesn't it is rolled back",
			story: story{}.then(3, did(100, 40, 50), did(100, 50, 50)).then(3, good, did(100, 50, 50)),
			kind:  Rollback, reason: ReasonErrorRate,
			sentence: "50% of 300 canary requests failed, above the limit of 1%, in 3 checks in a row (stable 0% of 300)",
		},
		{
			name:  "when both recover the canary goes on",
			story: story{}.then(3, did(100, 40, 50), did(100, 50, 50)).then(1, good, good),
			kind:  Promote, reason: ReasonGood,
			sentence: "last check within limits: 0% of 100 canary requests failed, 0% took longer than 1s (this step 38% of 400, stable 30% of 400)",
		},
		{
			name:  "a canary that is far worse than a bad stable is rolled back",
			story: story{}.then(3, did(100, 2, 50), did(100, 100, 50)),
			kind:  Rollback, reason: ReasonErrorRate,
			sentence: "100% of 300 canary requests failed, above the limit of 1%, in 3 checks in a row (stable 2% of 300)",
		},
		{
			name:  "too few of stable's requests excuse nothing",
			story: story{}.then(3, did(10, 10, 50), did(100, 100, 50)), weight: 90,
			kind: Rollback, reason: ReasonErrorRate,
			sentence: "100% of 300 canary requests failed, above the limit of 1%, in 3 checks in a row (stable 100% of 30)",
		},
		{
			name:  "surely too slow rolls back",
			story: story{}.then(3, good, slow(100, 5, 4000)),
			kind:  Rollback, reason: ReasonLatency,
			sentence: "5% of 300 canary requests surely took longer than 1s, above 1%, in 3 checks in a row (stable 0% of 300)",
		},
		{
			name:  "both slow is a shared incident",
			story: story{}.then(3, slow(100, 9, 4000), slow(100, 9, 4000)),
			kind:  SharedIncident, reason: ReasonSharedIncident,
			sentence: "both versions are over the limit: 0% of the canary's and 0% of stable's requests failed at this step, 9% and 9% took longer than 1s",
		},
		{
			name:  "a limit between two bounds holds when the canary fills that bucket and stable does not",
			story: story{}.then(3, good, slow(100, 5, 2400)),
			settings: func(s *Settings) {
				s.Limits.P99 = 2 * time.Second
			},
			kind: Hold, reason: ReasonUnresolved,
			sentence: "the histogram can't tell whether P99 is within 2s: its bounds are 1s and 2.5s, and 5% of the canary's requests lie above the first (stable 0%)",
		},
		{
			name:  "a limit between two bounds is no obstacle when stable fills that bucket as well",
			story: story{}.then(3, slow(100, 5, 1200), slow(100, 6, 1200)),
			settings: func(s *Settings) {
				s.Limits.P99 = 2 * time.Second
			},
			kind: Promote, reason: ReasonGood,
			sentence: "last check within limits: 0% of 100 canary requests failed, between 0% and 6% took longer than 2s (this step 0% of 300, stable 0% of 300)",
		},
		{
			name:  "without a histogram latency is unknown and not good",
			story: story{}.then(1, good, Sample{Live: true, Counts: Counts{Requests: 100}}),
			kind:  Hold, reason: ReasonUnresolved,
			sentence: "the canary's latency is unknown: no histogram came with its 100 requests",
		},
		{
			name:  "errors and slowness in turns are a breach that names both",
			story: story{}.then(1, good, did(100, 5, 50)).then(1, good, slow(100, 5, 4000)).then(1, good, did(100, 5, 50)),
			kind:  Rollback, reason: ReasonErrorRate,
			sentence: "3.3% of 300 canary requests failed (limit 1%) and 1.7% of 300 canary requests surely took longer than 1s (limit 1%), one or the other too much, in 3 checks in a row (stable 0% of 300)",
		},
		{
			name:  "a canary that answers nothing of its share is starved",
			story: story{}.then(5, did(50, 0, 50), did(0, 0, 50)), weight: 50,
			kind: Starved, reason: ReasonStarved,
			sentence: "the canary answered 0 requests where its share of 50% makes 250: requests hang",
		},
		{
			name:  "at a small weight starvation takes as many of stable's requests as chance demands",
			story: story{}.then(5, did(50, 0, 50), did(0, 0, 50)), weight: 5,
			kind: Hold, reason: ReasonFewRequests,
			sentence: "0 canary requests so far, 0 failed: about 100 more requests complete the first check",
		},
		{
			name:  "a canary that answers again is starved no more",
			story: story{}.then(5, did(50, 0, 50), did(0, 0, 50)).then(5, did(50, 0, 50), did(50, 0, 50)),
			kind:  Promote, reason: ReasonGood,
			sentence: "last check within limits: 0% of 100 canary requests failed, 0% took longer than 1s (this step 0% of 250, stable 0% of 500)",
		},
		{
			name:  "at 100% nobody is starved",
			story: story{}.then(9, did(0, 0, 50), did(0, 0, 50)), weight: 100,
			kind: Hold, reason: ReasonFewRequests,
			sentence: "0 canary requests so far, 0 failed: about 100 more requests complete the first check",
		},
		{
			name:  "at 100% the limits alone are the judge",
			story: story{}.then(3, Sample{}, did(100, 5, 50)), weight: 100,
			kind: Rollback, reason: ReasonErrorRate,
			sentence: "5% of 300 canary requests failed, above the limit of 1%, in 3 checks in a row (stable 0% of 0)",
		},
		{
			name:  "a canary that answers 404 to everything is not promoted",
			story: story{}.then(3, refused(100, 3), refused(100, 100)),
			kind:  Hold, reason: ReasonClientErrors,
			sentence: "100% of 300 canary requests were refused with 4xx, much more than stable's 3% of 300",
		},
		{
			name:  "404 to both versions alike is the clients' doing",
			story: story{}.then(3, refused(100, 60), refused(100, 65)),
			kind:  Promote, reason: ReasonGood,
			sentence: "last check within limits: 0% of 100 canary requests failed, 0% took longer than 1s (this step 0% of 300, stable 0% of 300)",
		},
		{
			name:  "a missing block is no data and says why",
			story: story{}.then(3, good, good).silence("the query failed"),
			kind:  NoData, reason: ReasonNoData, sentence: "no data: the query failed",
		},
		{
			name:  "a canary whose proxies are silent is no data",
			story: story{}.then(3, good, good).then(1, good, Sample{}),
			kind:  NoData, reason: ReasonNoData, sentence: "no data: the canary's proxies did not report",
		},
		{
			name:  "after a gap it goes on where it was",
			story: story{}.then(2, good, did(100, 5, 50)).silence("the query failed").then(1, good, did(100, 5, 50)),
			kind:  Rollback, reason: ReasonErrorRate,
			sentence: "5% of 300 canary requests failed, above the limit of 1%, in 3 checks in a row (stable 0% of 300)",
		},
		{
			name:  "four widths and five seconds are not yet stale",
			story: story{}.then(1, good, good), later: 65 * time.Second,
			kind: Promote, reason: ReasonGood,
			sentence: "last check within limits: 0% of 100 canary requests failed, 0% took longer than 1s (this step 0% of 100, stable 0% of 100)",
		},
		{
			name:  "a moment more is stale",
			story: story{}.then(1, good, good), later: 65*time.Second + 1,
			kind: NoData, reason: ReasonNoData, sentence: "no data since 2027-01-15T08:00:15Z",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settings()
			if c.settings != nil {
				c.settings(&s)
			}
			if c.weight == 0 {
				c.weight = 50
			}
			e, now := foldAll(c.story.blocks(c.weight), s)
			v := e.Verdict(now.Add(c.later))
			if v.Kind != c.kind || v.Reason != c.reason {
				t.Errorf("got %s (%s), want %s (%s)", v.Kind, v.Reason, c.kind, c.reason)
			}
			if v.Sentence != c.sentence {
				t.Errorf("sentence\n got %s\nwant %s", v.Sentence, c.sentence)
			}
		})
	}
}

func TestVerdictNumbers(t *testing.T) {
	s := settings()
	good := did(150, 0, 50)
	blocks := story{}.then(12, did(300, 3, 80), good).then(2, did(300, 3, 80), did(0, 0, 50)).silence("the query failed").blocks(33)
	e, now := foldAll(blocks, s)
	v := e.Verdict(now)
	if v.Kind != NoData || v.Covered != 14*15*time.Second || v.Quiet != 2 || v.Weight != 33 {
		t.Errorf("kind %s, covered %s, quiet %d, weight %d", v.Kind, v.Covered, v.Quiet, v.Weight)
	}
	if want := blocks[13].End(); !v.At.Equal(want) || !v.Since.Equal(want) {
		t.Errorf("at %s since %s, want %s", v.At, v.Since, want)
	}
	if v.Stable.Rate != 20 || v.Canary.Rate != 8 {
		t.Errorf("rates %v and %v, want 20 and 8 over the last ten blocks", v.Stable.Rate, v.Canary.Rate)
	}
	if v.Stable.Requests != 4200 || v.Stable.Errors != 42 || v.Canary.Requests != 1800 || !v.NoWorse {
		t.Errorf("sums %+v %+v, no worse %v", v.Stable.Counts, v.Canary.Counts, v.NoWorse)
	}
	if v.Canary.P99 != [2]float64{0, 100} {
		t.Errorf("p99 %v", v.Canary.P99)
	}
}

func TestSinceIsWhenTheKindBeganWithoutABreak(t *testing.T) {
	s := settings()
	good, none := did(50, 0, 50), did(0, 0, 50)
	blocks := story{}.then(5, good, good).then(5, good, none).silence("the query failed").then(7, good, none).blocks(50)
	e, now := foldAll(blocks, s)
	v := e.Verdict(now)
	if want := blocks[9].End(); v.Kind != Starved || !v.Since.Equal(want) {
		t.Errorf("%s since %s, want Starved since %s", v.Kind, v.Since, want)
	}
}

func TestAnotherStepOrWeightBeginsAnew(t *testing.T) {
	s := settings()
	bad := story{}.then(2, did(100, 0, 50), did(100, 9, 50)).blocks(5)
	for name, change := range map[string]func(*Block){
		"another step":   func(b *Block) { b.Step = 1 },
		"another weight": func(b *Block) { b.Weight = 25 },
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := foldAll(bad, s)
			next := story{}.then(3, did(100, 0, 50), did(10, 0, 50)).blocks(5)[2]
			change(&next)
			e.Fold(next)
			v := e.Verdict(next.End())
			if v.Reason != ReasonFewRequests || v.Covered != 15*time.Second || v.Canary.Requests != 10 || v.More != 90 {
				t.Errorf("%s, covered %s, %d requests, %d more", v.Reason, v.Covered, v.Canary.Requests, v.More)
			}
			if v.Step != next.Step || v.Weight != next.Weight {
				t.Errorf("step %d weight %d", v.Step, v.Weight)
			}
		})
	}
}

func TestNoWorse(t *testing.T) {
	for _, c := range []struct {
		name           string
		stable, canary Sample
		want           bool
	}{
		{"eighteen requests without an error are no worse", did(300, 1, 50), did(18, 0, 50), true},
		{"one error in eighteen is worse than one in a thousand", did(6000, 6, 50), did(18, 1, 50), false},
		{"the same rate with chance on top is no worse", did(1000, 10, 50), did(1000, 14, 50), true},
		{"clearly slower is worse", did(1000, 0, 50), slow(1000, 30, 2400), false},
		{"without stable's traffic the limits count", did(0, 0, 50), did(150, 1, 50), true},
		{"without stable's traffic a limit exceeded counts", did(0, 0, 50), did(50, 1, 50), false},
		{"no request is no worse where one or two are due", did(30, 0, 50), did(0, 0, 50), true},
		{"no request is worse where five are due", did(100, 0, 50), did(0, 0, 50), false},
		{"no request to either version is no worse", did(0, 0, 50), did(0, 0, 50), true},
		{"clearly over the limit is worse, however little stable has to show", did(60, 0, 50), did(60, 3, 50), false},
		{"clearly over the limit is no worse if stable is, too", did(60, 1, 50), did(60, 3, 50), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settings()
			e, now := foldAll(story{}.then(1, c.stable, c.canary).blocks(5), s)
			if got := e.Verdict(now).NoWorse; got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestSentencesEndWithoutAPeriod(t *testing.T) {
	s := settings()
	for _, b := range [][]Block{
		story{}.then(1, did(100, 0, 50), did(100, 0, 50)).blocks(50),
		story{}.then(3, did(100, 0, 50), did(100, 9, 50)).blocks(50),
	} {
		e, now := foldAll(b, s)
		if v := e.Verdict(now); strings.HasSuffix(v.Sentence, ".") || v.Sentence == "" {
			t.Errorf("sentence %q", v.Sentence)
		}
	}
}
