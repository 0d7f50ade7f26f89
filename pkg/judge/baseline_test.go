package judge

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// hourBefore is an hour of stable alone, in blocks of a minute.
func hourBefore(stable Sample, pairs ...Pair) []Block {
	blocks := make([]Block, 60)
	for i := range blocks {
		blocks[i] = Block{Start: epoch.Add(time.Duration(i-60) * time.Minute), Width: time.Minute, Stable: stable, Custom: pairs}
	}
	return blocks
}

func opener(s Settings, before []Block) *Case {
	c := Open(s)
	for _, b := range before {
		c.Before(b)
	}
	return c
}

func TestBaseline(t *testing.T) {
	for _, c := range []struct {
		name     string
		before   []Block
		settings func(*Settings)
		known    bool
		over     []Excess
	}{
		{name: "unasked nothing is known"},
		{name: "an empty answer is an answer", before: []Block{{Start: epoch, Width: time.Minute}}, known: true},
		{name: "a missing block says nothing but that there was an answer", before: []Block{{Missing: "the query failed", Stable: did(1000, 1000, 50)}}, known: true},
		{name: "a stable that keeps its limits is over none", before: hourBefore(did(1000, 5, 50)), known: true},
		{name: "a few bad requests by chance are no habit", before: hourBefore(did(1, 0, 50))[:50], known: true},
		{
			name: "a stable that fails more often than allowed", before: hourBefore(did(200, 5, 50)), known: true,
			over: []Excess{{Metric: "errors", Limit: "1%", Seen: "2.5% of 12000 requests failed", Suggest: "5%", Written: true}},
		},
		{
			name: "where nobody wrote the limit it is said", before: hourBefore(did(200, 5, 50)), known: true,
			settings: func(s *Settings) { s.Limits.DefaultErrorRate = true },
			over:     []Excess{{Metric: "errors", Limit: "1%", Seen: "2.5% of 12000 requests failed", Suggest: "5%"}},
		},
		{
			name: "a stable that is slower than allowed", before: hourBefore(slow(200, 8, 2000)), known: true,
			over: []Excess{{Metric: "latency", Limit: "1s", Seen: "4% of 12000 requests took longer than 1s", Suggest: "2.5s", Written: true}},
		},
		{
			name: "where no bound is kept none is suggested", before: hourBefore(slow(200, 8, 60000)), known: true,
			over: []Excess{{Metric: "latency", Limit: "1s", Seen: "4% of 12000 requests took longer than 1s", Written: true}},
		},
		{
			name: "the operator's metrics have limits, too", known: true,
			before: hourBefore(did(10, 0, 50), Pair{Stable: Tally{3, 100}}, Pair{Stable: Tally{60, 100}}, Pair{Stable: Tally{1, 1}}, Pair{Missing: "no series"}),
			settings: func(s *Settings) {
				s.Custom = []Custom{
					{Name: "checkout", AtLeast: true, Bound: .99}, {Name: "cache-miss", Bound: .5},
					{Name: "queue", Bound: 100, Gauge: true}, {Name: "gone", Bound: .01},
				}
			},
			over: []Excess{
				{Metric: "checkout", Limit: ">= 99%", Seen: "checkout was 97% of 6000", Suggest: ">= 94%", Written: true},
				{Metric: "cache-miss", Limit: "<= 50%", Seen: "cache-miss was 60% of 6000", Suggest: "<= 80%", Written: true},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := evidenceSettings()
			if c.settings != nil {
				c.settings(&s)
			}
			got := opener(s, c.before).Baseline()
			if got.Known != c.known || !reflect.DeepEqual(got.Over, c.over) {
				t.Errorf("known %v\n got %+v\nwant %+v", got.Known, got.Over, c.over)
			}
		})
	}
}

func TestBaselineMeasures(t *testing.T) {
	m := opener(evidenceSettings(), hourBefore(slow(120, 3, 2000))).Baseline().Stable
	if m.Requests != 7200 || m.Rate != 2 || m.P99 != [2]float64{1000, 2500} || m.Latency.Total() != 7200 {
		t.Errorf("%+v", m)
	}
}

func TestWhatComesTooLateIsNotBefore(t *testing.T) {
	c := opener(evidenceSettings(), hourBefore(did(100, 0, 50)))
	c.Fold(story{}.then(1, did(10, 0, 50), did(10, 0, 50)).blocks(5)[0])
	was := c.Baseline()
	c.Before(hourBefore(did(100, 100, 50))[0])
	if !reflect.DeepEqual(was, c.Baseline()) {
		t.Error("the baseline is not closed")
	}
}

// TestALimitThatStableBreaks: as a default it is no limit for this service. The
// canary is compared with stable, and beyond what stable keeps it falls in any case.
func TestALimitThatStableBreaks(t *testing.T) {
	stable := did(1000, 25, 50)
	for _, c := range []struct {
		name   string
		story  story
		weight int
		kind   Kind
		words  string
	}{
		{"as bad as stable is promoted", story{}.then(20, did(950, 24, 50), did(250, 6, 50)), 20, Promote, "evidence"},
		{"far worse than stable is rolled back", story{}.then(4, did(950, 24, 50), did(250, 40, 50)), 20, Rollback, "above 5%, which stable keeps though not the default"},
		{"a dead one is rolled back at 100%, too", story{}.then(1, Sample{}, did(50, 50, 50)), 100, Rollback, "above 5%, which stable keeps though not the default"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := evidenceSettings()
			s.Limits.DefaultErrorRate = true
			e := opener(s, hourBefore(stable))
			blocks := c.story.seenAlike().blocks(c.weight)
			for _, b := range blocks {
				e.Fold(b)
			}
			v := e.Verdict(blocks[len(blocks)-1].End())
			if v.Kind != c.kind || !strings.Contains(v.Sentence, c.words) {
				t.Errorf("%s: %s", v.Kind, v.Sentence)
			}
		})
	}
}

func TestPleasantNumbers(t *testing.T) {
	for p, want := range map[float64]string{0: "0%", 0.00301: "0.4%", 0.012: "1.5%", 0.02: "2%", 0.0201: "2.5%", 0.035: "4%", 0.085: "10%", 0.7: "80%", 0.99: "100%"} {
		if got := share(pleasant(p)); got != want {
			t.Errorf("%v becomes %s, want %s", p, got, want)
		}
	}
}

// TestWhatAlwaysFailsHasNoLimitToSuggest: 100% is no limit that anybody may write.
func TestWhatAlwaysFailsHasNoLimitToSuggest(t *testing.T) {
	s := evidenceSettings()
	s.Custom = []Custom{{Name: "checkout", AtLeast: true, Bound: .99}}
	c := Open(s)
	b := Block{Start: epoch, Width: time.Minute, Stable: did(1000, 1000, 50)}
	b.Custom = []Pair{{Stable: Tally{1000, 1000}}}
	c.Before(b)
	over := c.Baseline().Over
	if len(over) != 2 || over[0].Suggest != "" || over[1].Suggest != "" {
		t.Errorf("%+v", over)
	}
}
