package judge

import "testing"

func TestCustomMetrics(t *testing.T) {
	ratio := Custom{Name: "checkout", AtLeast: true, Bound: .99}
	gauge := Custom{Name: "queue", Bound: 100, Gauge: true}
	clean := Pair{Stable: Tally{0, 190}, Canary: Tally{0, 100}}
	within, beyond := Pair{Stable: Tally{0, 1}, Canary: Tally{0, 1}}, Pair{Stable: Tally{0, 1}, Canary: Tally{1, 1}}
	for _, c := range []struct {
		name     string
		custom   Custom
		pair     Pair
		blocks   int
		last     *Pair // of the newest block
		kind     Kind
		reason   Reason
		sentence string
	}{
		{
			name: "a ratio that is kept promotes", custom: ratio, pair: clean, blocks: 4, kind: Promote, reason: ReasonGood,
			sentence: "0% of 400 canary requests failed, 0% took longer than 1s, stable 0% of 7600: evidence 1200 to 1 that it keeps the limits, 20 to 1 suffices",
		},
		{
			name: "a ratio that is missed rolls back", custom: ratio, pair: Pair{Stable: Tally{0, 190}, Canary: Tally{12, 100}}, blocks: 2, kind: Rollback, reason: ReasonCustom,
			sentence: "the canary's checkout was 88% of 100, and the limit is >= 99%: evidence more than a million to 1, 100 to 1 suffices (stable 100% of 190)",
		},
		{
			name: "a ratio that both miss is an incident of both", custom: ratio, pair: Pair{Stable: Tally{24, 190}, Canary: Tally{12, 100}}, blocks: 2, kind: SharedIncident, reason: ReasonSharedIncident,
			sentence: "of both versions checkout is not >= 99%: the canary's was 88% of 200, stable's 87% of 380, so it is not the canary alone",
		},
		{
			name: "a ratio without requests is not promoted", custom: ratio, pair: Pair{}, blocks: 4, kind: Hold, reason: ReasonFewRequests,
			sentence: "400 canary requests so far, 0 failed, 0% took longer than 1s: evidence 1 to 1 that checkout is >= 99%, 20 to 1 suffices",
		},
		{
			name: "a metric without data holds and says why", custom: ratio, pair: Pair{Missing: "no series matches"}, blocks: 4, kind: Hold, reason: ReasonNoData,
			sentence: "no data of checkout: no series matches",
		},
		{
			name: "nor is a metric promoted on a block that lacks it", custom: ratio, pair: clean, last: &Pair{Missing: "the query timed out"}, blocks: 4, kind: Hold, reason: ReasonNoData,
			sentence: "no data of checkout: the query timed out",
		},
		{
			name: "a gauge within its bound promotes after some blocks", custom: gauge, pair: within, blocks: 20, kind: Promote, reason: ReasonGood,
			sentence: "0% of 2000 canary requests failed, 0% took longer than 1s, stable 0% of 38000: evidence 43 to 1 that it keeps the limits, 20 to 1 suffices",
		},
		{
			name: "a gauge takes time, whatever the traffic", custom: gauge, pair: within, blocks: 8, kind: Hold, reason: ReasonFewRequests,
			sentence: "800 canary requests so far, 0 failed, 0% took longer than 1s: evidence 4.2 to 1 that queue is <= 100, 20 to 1 suffices; about 900 more requests, about 2 minutes at this rate",
		},
		{
			name: "a gauge beyond its bound rolls back", custom: gauge, pair: beyond, blocks: 6, kind: Rollback, reason: ReasonCustom,
			sentence: "the canary's queue was not <= 100 in 4 of 4 blocks, and the limit is <= 100: evidence 280 to 1, 100 to 1 suffices (stable not <= 100 in 0 of 4 blocks)",
		},
		{
			name: "a gauge that is beyond it for both is an incident of both", custom: gauge, pair: Pair{Stable: Tally{1, 1}, Canary: Tally{1, 1}}, blocks: 6, kind: SharedIncident, reason: ReasonSharedIncident,
			sentence: "of both versions queue is not <= 100: the canary's was not <= 100 in 6 of 6 blocks, stable's not <= 100 in 6 of 6 blocks, so it is not the canary alone",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := evidenceSettings()
			s.Custom = []Custom{c.custom}
			blocks := story{}.then(c.blocks, did(1900, 0, 50), did(100, 0, 50)).seenAlike().blocks(5)
			for i := range blocks {
				blocks[i].Custom = []Pair{c.pair}
			}
			if c.last != nil {
				blocks[len(blocks)-1].Custom = []Pair{*c.last}
			}
			e, now := foldAll(blocks, s)
			v := e.Verdict(now)
			if v.Kind != c.kind || v.Reason != c.reason {
				t.Errorf("got %s (%s)", v.Kind, v.Reason)
			}
			if v.Sentence != c.sentence {
				t.Errorf("sentence\n got %s\nwant %s", v.Sentence, c.sentence)
			}
			if m := v.Metrics[4]; m.Name != c.custom.Name || !m.Judged {
				t.Errorf("metric %+v", m)
			}
			sound(t, v)
		})
	}
}
