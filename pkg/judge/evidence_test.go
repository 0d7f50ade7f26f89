package judge

import (
	"testing"
	"time"
)

// seenAlike sets that both tracks are known as far as the block goes.
func (s story) seenAlike() story {
	for i := range s {
		end := epoch.Add(time.Duration(i+1) * 15 * time.Second)
		s[i].Stable.Seen, s[i].Canary.Seen = end, end
	}
	return s
}

// left is a track of which some clients left before the answer.
func left(n, gone int64) Sample {
	s := did(n, 0, 50)
	s.Disconnects = gone
	return s
}

func TestEvidence(t *testing.T) {
	good, some := did(1900, 2, 50), did(100, 0, 50)
	for _, c := range []struct {
		name     string
		story    story
		weight   int // 5 if zero
		settings func(*Settings)
		kind     Kind
		reason   Reason
		sentence string
	}{
		{
			name:  "few good requests hold, and say how many more",
			story: story{}.then(1, good, some),
			kind:  Hold, reason: ReasonFewRequests,
			sentence: "100 canary requests so far, 0 failed, 0% took longer than 1s: evidence 5.3 to 1 that it keeps the limits, 20 to 1 suffices; about 77 more requests, about 12 seconds at this rate",
		},
		{
			name:  "two hundred good requests promote",
			story: story{}.then(2, good, some),
			kind:  Promote, reason: ReasonGood,
			sentence: "0% of 200 canary requests failed, 0% took longer than 1s, stable 0.11% of 3800: evidence 30 to 1 that it keeps the limits, 20 to 1 suffices",
		},
		{
			name:  "no request yet is no reason to promote",
			story: story{}.then(8, did(19, 0, 50), did(0, 0, 50)),
			kind:  Hold, reason: ReasonFewRequests,
			sentence: "0 canary requests so far, 0 failed, 0% took longer than 1s: evidence 1 to 1 that it keeps the limits, 20 to 1 suffices; about 177 more requests at this share",
		},
		{
			name:  "three failures in a row roll back at once",
			story: story{}.then(1, did(57, 0, 50), did(3, 3, 50)).seenAlike(),
			kind:  Rollback, reason: ReasonErrorRate,
			sentence: "3 of the last 3 canary requests failed (100%), above the limit of 1%: evidence 31000 to 1, 100 to 1 suffices (stable 0% of 57)",
		},
		{
			name:  "two failures may have one cause",
			story: story{}.then(1, did(38, 0, 50), did(2, 2, 50)).seenAlike(),
			kind:  Hold, reason: ReasonSuspicious,
			sentence: "the evidence against the canary suffices, 360 to 1, but rests on fewer than 3 bad requests, which may have one cause",
		},
		{
			name:  "where stable's numbers may lag, the next block is awaited",
			story: story{}.then(1, did(57, 0, 50), did(3, 3, 50)),
			kind:  Hold, reason: ReasonSuspicious,
			sentence: "the evidence against the canary suffices, 31000 to 1: stable's numbers of the same time are awaited, in case it is not the canary alone",
		},
		{
			name:  "and then it is rolled back",
			story: story{}.then(1, did(57, 0, 50), did(3, 3, 50)).then(1, did(57, 0, 50), did(0, 0, 50)),
			kind:  Rollback, reason: ReasonErrorRate,
			sentence: "3 of the last 3 canary requests failed (100%), above the limit of 1%: evidence 31000 to 1, 100 to 1 suffices (stable 0% of 114)",
		},
		{
			name:  "if stable's next block fails, too, it was the scrape's moment and not the canary",
			story: story{}.then(1, did(190, 0, 50), did(10, 10, 50)).then(1, did(190, 190, 50), did(10, 10, 50)),
			kind:  SharedIncident, reason: ReasonSharedIncident,
			sentence: "both versions are over the limit of 1%: 100% of 20 canary requests and 50% of 380 stable requests failed, so it is not the canary alone",
		},
		{
			name:  "five percent at a limit of one roll back",
			story: story{}.then(2, good, did(100, 5, 50)).seenAlike(),
			kind:  Rollback, reason: ReasonErrorRate,
			sentence: "10 of the last 200 canary requests failed (5%), above the limit of 1%: evidence 33000 to 1, 100 to 1 suffices (stable 0.11% of 3800)",
		},
		{
			name:  "within the limit but far worse than stable rolls back",
			story: story{}.then(8, did(19000, 20, 50), did(1000, 9, 50)).seenAlike(),
			kind:  Rollback, reason: ReasonErrorRatio,
			sentence: "63 of the last 7000 canary requests failed (0.9%), more than 2 times stable's share: evidence 220 to 1, 100 to 1 suffices (stable 0.11% of 133000)",
		},
		{
			name:     "with a bare limit it only holds",
			story:    story{}.then(8, did(19000, 20, 50), did(1000, 9, 50)).seenAlike(),
			settings: func(s *Settings) { s.Limits.ErrorRatio = 0 },
			kind:     Hold, reason: ReasonErrorRatio,
			sentence: "0.9% of 8000 canary requests failed, within the limit but more than 2 times stable's 0.11% of 152000: evidence 2500 to 1",
		},
		{
			name:  "far worse than stable but negligible promotes",
			story: story{}.then(8, did(19000, 2, 50), did(1000, 2, 50)).seenAlike(),
			kind:  Promote, reason: ReasonGood,
			sentence: "0.2% of 8000 canary requests failed, 0% took longer than 1s, stable 0.01% of 152000: evidence more than a million to 1 that it keeps the limits, 20 to 1 suffices",
		},
		{
			name:  "when both fail it is not the canary",
			story: story{}.then(2, good, some).then(2, did(1900, 380, 50), did(100, 22, 50)).seenAlike(),
			kind:  SharedIncident, reason: ReasonSharedIncident,
			sentence: "both versions are over the limit of 1%: 22% of 200 canary requests and 20% of 3800 stable requests failed, so it is not the canary alone",
		},
		{
			name:  "a canary that answers nothing right while stable fails sometimes is rolled back",
			story: story{}.then(2, did(1900, 95, 50), did(100, 100, 50)).seenAlike(),
			kind:  Rollback, reason: ReasonErrorRate,
			sentence: "100 of the last 100 canary requests failed (100%), above the limit of 1%: evidence more than a million to 1, 100 to 1 suffices (stable 5% of 1900)",
		},
		{
			name:  "after an incident of both the canary goes on as before",
			story: story{}.then(2, good, some).then(4, did(1900, 380, 50), did(100, 22, 50)).then(4, good, some).seenAlike(),
			kind:  Promote, reason: ReasonGood,
			sentence: "8.8% of 1000 canary requests failed, 0% took longer than 1s, stable 8.1% of 19000, and what failed while stable did, too, is not counted: evidence 1200 to 1 that it keeps the limits, 20 to 1 suffices",
		},
		{
			name:     "in strict mode as well an incident of both ends with stable's recovery",
			story:    story{}.then(2, good, some).then(8, did(1900, 380, 50), did(100, 22, 50)).then(4, good, some).seenAlike(),
			settings: func(s *Settings) { s.Levels.Strict = true },
			kind:     Hold, reason: ReasonFewRequests,
			sentence: "1400 canary requests so far, 176 failed, 0% took longer than 1s, and what failed while stable did, too, is not counted: evidence 1 to 1 that it keeps the limits, 20 to 1 suffices; about 22900 more requests, about 57 minutes at this rate",
		},
		{
			name:  "a canary that goes on failing after stable recovered is rolled back",
			story: story{}.then(2, good, some).then(4, did(1900, 380, 50), did(100, 22, 50)).then(4, good, did(100, 20, 50)).seenAlike(),
			kind:  Rollback, reason: ReasonErrorRate,
			sentence: "108 of the last 500 canary requests failed (22%), above the limit of 1%: evidence more than a million to 1, 100 to 1 suffices (stable 16% of 9500)",
		},
		{
			name:  "at 100% there is nobody to compare with",
			story: story{}.then(1, Sample{}, did(50, 10, 50)), weight: 100,
			kind: Rollback, reason: ReasonErrorRate,
			sentence: "10 of the last 50 canary requests failed (20%), above the limit of 1%: evidence more than a million to 1, 100 to 1 suffices",
		},
		{
			name:  "when stable is idle there is nobody, either",
			story: story{}.then(1, did(0, 0, 50), did(50, 10, 50)),
			kind:  Rollback, reason: ReasonErrorRate,
			sentence: "10 of the last 50 canary requests failed (20%), above the limit of 1%: evidence more than a million to 1, 100 to 1 suffices",
		},
		{
			name:  "surely too slow rolls back",
			story: story{}.then(1, good, slow(100, 12, 4000)).seenAlike(),
			kind:  Rollback, reason: ReasonLatency,
			sentence: "12 of the last 100 canary requests surely took longer than 1s (12%), above 1%: evidence more than a million to 1, 100 to 1 suffices (stable 0% of 1900)",
		},
		{
			name:     "slower than a multiple of stable's 99th percentile rolls back",
			story:    story{}.then(2, good, some).then(3, good, slow(100, 12, 900)).seenAlike(),
			settings: func(s *Settings) { s.Limits.P99Ratio = 1.5 },
			kind:     Rollback, reason: ReasonSlower,
			sentence: "12 of the last 100 canary requests took longer than 250ms (12%), which 1% may, as it lies beyond 1.5 times stable's 99th percentile: evidence 66000 to 1, 100 to 1 suffices (stable 0% of 1900)",
		},
		{
			name:  "a limit inside a bucket that the canary fills holds",
			story: story{}.then(4, good, slow(100, 5, 2400)).seenAlike(),
			settings: func(s *Settings) {
				s.Limits.P99 = 2 * time.Second
			},
			kind: Hold, reason: ReasonUnresolved,
			sentence: "the histogram can't tell whether P99 is within 2s: its bounds are 1s and 2.5s, and 5% of the canary's requests lie above the first (stable 0%); a bucket at 2000 in the annotation sidecar.istio.io/statsHistogramBuckets of both versions' pods would tell",
		},
		{
			name:  "a limit inside a bucket is no obstacle when stable fills it as well",
			story: story{}.then(8, slow(1900, 95, 2400), slow(100, 5, 2400)).seenAlike(),
			settings: func(s *Settings) {
				s.Limits.P99 = 2 * time.Second
			},
			kind: Promote, reason: ReasonGood,
			sentence: "0% of 800 canary requests failed, between 0% and 5% took longer than 2s, stable 0% of 15200: evidence 34000 to 1 that it keeps the limits, 20 to 1 suffices",
		},
		{
			name:  "without a histogram latency is unknown and not good",
			story: story{}.then(4, good, Sample{Live: true, Counts: Counts{Requests: 100}}),
			kind:  Hold, reason: ReasonUnresolved,
			sentence: "the canary's latency is unknown: no histogram came with its 400 requests",
		},
		{
			name:  "much slower than stable, within the limit, holds",
			story: story{}.then(8, slow(1900, 1, 4000), slow(1000, 9, 4000)).seenAlike(),
			kind:  Hold, reason: ReasonSlower,
			sentence: "0.9% of 8000 canary requests took longer than 1s, within the limit but more than 2 times stable's 0.05% of 15200: evidence 2500 to 1",
		},
		{
			name:  "requests that hang are found by their absence",
			story: story{}.then(8, did(95, 0, 50), did(0, 0, 50)),
			kind:  Starved, reason: ReasonStarved,
			sentence: "the canary answered 0 requests where its share of 5% makes about 35: requests hang",
		},
		{
			name:  "a canary that answers again is starved no more",
			story: story{}.then(8, did(95, 0, 50), did(0, 0, 50)).then(40, did(95, 0, 50), did(5, 0, 50)),
			kind:  Promote, reason: ReasonGood,
			sentence: "0% of 200 canary requests failed, 0% took longer than 1s, stable 0% of 4560: evidence 30 to 1 that it keeps the limits, 20 to 1 suffices",
		},
		{
			name:  "answers of the first moments of a step are not awaited",
			story: story{}.then(1, did(1900, 0, 50), did(0, 0, 50)),
			kind:  Hold, reason: ReasonFewRequests,
			sentence: "0 canary requests so far, 0 failed, 0% took longer than 1s: evidence 1 to 1 that it keeps the limits, 20 to 1 suffices; about 177 more requests at this share",
		},
		{
			name:  "404 to everything is not promoted",
			story: story{}.then(4, refused(1900, 30), refused(100, 100)).seenAlike(),
			kind:  Hold, reason: ReasonClientErrors,
			sentence: "100% of 400 canary requests were refused with 4xx, much more than stable's 1.6% of 7600",
		},
		{
			name:  "404 to both alike is the clients' doing",
			story: story{}.then(4, refused(1900, 1200), refused(100, 65)).seenAlike(),
			kind:  Promote, reason: ReasonGood,
			sentence: "0% of 400 canary requests failed, 0% took longer than 1s, stable 0% of 7600: evidence 1200 to 1 that it keeps the limits, 20 to 1 suffices",
		},
		{
			name:  "clients that leave the canary hold it",
			story: story{}.then(4, left(1900, 3), left(100, 30)).seenAlike(),
			kind:  Hold, reason: ReasonClientErrors,
			sentence: "23% of the canary's clients left before the answer (120), much more than stable's 0.16% of 7612",
		},
		{
			name:  "errors that grow are told before they reach the limit",
			story: rising(24, 20000, 0.0005, 0.006).seenAlike(),
			settings: func(s *Settings) {
				s.Limits.ErrorRatio = 0
			},
			kind: Hold, reason: ReasonDrifting,
			sentence: "errors grow: 0.04% at the step's start, 0.61% now; at this pace above 1% in about 4 minutes",
		},
		{
			name:  "cold caches that warm up are no drift",
			story: rising(24, 20000, 0.006, 0.0005).seenAlike(),
			kind:  Promote, reason: ReasonGood,
			sentence: "0.33% of 480000 canary requests failed, 0% took longer than 1s, stable 0.6% of 480000: evidence more than a million to 1 that it keeps the limits, 20 to 1 suffices",
		},
		{
			name:  "a growth that ended is told no longer",
			story: append(rising(24, 20000, 0.0005, 0.006), story{}.then(300, did(20000, 110, 50), did(20000, 110, 50))...).seenAlike(),
			settings: func(s *Settings) {
				s.Limits.ErrorRatio = 0
			},
			kind: Promote, reason: ReasonGood,
			sentence: "0.53% of 6480000 canary requests failed, 0% took longer than 1s, stable 0.51% of 6480000: evidence more than a million to 1 that it keeps the limits, 20 to 1 suffices",
		},
		{
			name:  "a missing block is no data and says why",
			story: story{}.then(3, good, some).silence("the query failed"),
			kind:  NoData, reason: ReasonNoData, sentence: "no data: the query failed",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := evidenceSettings()
			if c.settings != nil {
				c.settings(&s)
			}
			if c.weight == 0 {
				c.weight = 5
			}
			e, now := foldAll(c.story.blocks(c.weight), s)
			v := e.Verdict(now)
			if v.Kind != c.kind || v.Reason != c.reason {
				t.Errorf("got %s (%s), want %s (%s)", v.Kind, v.Reason, c.kind, c.reason)
			}
			if v.Sentence != c.sentence {
				t.Errorf("sentence\n got %s\nwant %s", v.Sentence, c.sentence)
			}
			sound(t, v)
		})
	}
}

// rising is a canary whose share of failures goes from one value to another.
func rising(blocks int, n int64, from, to float64) story {
	var s story
	for i := range blocks {
		p := from + (to-from)*float64(i)/float64(blocks-1)
		s = s.then(1, did(n, int64(float64(n)*from), 50), did(n, int64(float64(n)*p+.5), 50))
	}
	return s
}

func TestTimeDoesNotMakeUpForALatencyNobodyKnows(t *testing.T) {
	blind := did(1000, 0, 50)
	blind.Latency = nil
	for name, written := range map[string]bool{"a limit that somebody wrote": true, "the default limit": false} {
		t.Run(name, func(t *testing.T) {
			s := settings()
			s.Mode, s.Limits.DefaultP99 = ModeEvidence, !written
			c, now := foldAll(story{}.then(20, did(19000, 0, 50), blind).blocks(5), s)
			if v := c.Verdict(now); v.Reason != ReasonUnresolved || v.NoWorse == written {
				t.Errorf("%s, no worse %v: %s", v.Reason, v.NoWorse, v.Sentence)
			}
		})
	}
}

func TestClientsThatLeaveBearWitnessOfAHang(t *testing.T) {
	s := settings()
	s.Mode = ModeEvidence
	for name, c := range map[string]struct {
		canary Sample
		want   bool
	}{
		"who leave the canary":           {left(0, 50), true},
		"who leave no more than stable":  {left(50, 0), false},
		"who ask for nothing in silence": {left(0, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			held, now := foldAll(story{}.then(20, left(950, 0), c.canary).blocks(5), s)
			if v := held.Verdict(now); v.Abandoned != c.want {
				t.Errorf("abandoned %v: %s %s", v.Abandoned, v.Kind, v.Sentence)
			}
		})
	}
}
