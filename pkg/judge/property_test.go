package judge

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// scribble makes blocks out of any bytes: every count, step and gap is possible.
func scribble(data []byte) []Block {
	var blocks []Block
	next := func() int64 {
		if len(data) < 2 {
			data = nil
			return 0
		}
		n := int64(binary.LittleEndian.Uint16(data))
		data = data[2:]
		return n
	}
	sample := func() Sample {
		n, slow := next(), next()
		errors := next() % (n + 1)
		return Sample{Live: n%7 != 3, Counts: Counts{
			Requests: n, Errors: errors, ClientErrors: next() % (n - errors + 1), Disconnects: slow % 5,
			Latency: hist(map[float64]int64{50: n - n/3, 3000: slow % 50}),
		}}
	}
	at := epoch
	for len(data) > 0 {
		head := next()
		b := Block{Start: at, Width: time.Second, Step: int(head % 3), Weight: int(head % 101), Stable: sample(), Canary: sample()}
		if head%11 == 5 {
			b.Missing = "the query failed"
		}
		blocks = append(blocks, b)
		at = b.End().Add(time.Duration(head%4/3) * time.Minute)
	}
	return blocks
}

func sound(t *testing.T, v Verdict) {
	t.Helper()
	for name, f := range map[string]float64{
		"stable rate": v.Stable.Rate, "canary rate": v.Canary.Rate, "stable p99": v.Stable.P99[0], "canary p99": v.Canary.P99[0],
	} {
		if math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
			t.Errorf("%s is %v", name, f)
		}
	}
	for _, m := range append(v.Metrics, Metric{Name: "all", Against: v.Against, For: v.For}) {
		for _, f := range []float64{m.Against, m.For, m.Low, m.High} {
			if math.IsNaN(f) || math.IsInf(f, 0) {
				t.Errorf("%s has %v: %+v", m.Name, f, m)
			}
		}
		if share := m.Canary.share(); m.Name != "all" && (m.Low > share || m.High < share || m.Low < 0 || m.High > 1) {
			t.Errorf("%s: share %v is not within %v and %v", m.Name, share, m.Low, m.High)
		}
	}
	if v.Sentence == "" || v.Reason == "" || v.Kind == "" {
		t.Errorf("a verdict without words: %+v", v)
	}
	if v.Covered < 0 || v.Quiet < 0 || v.More < 0 || v.Kind != Hold && v.More > 0 {
		t.Errorf("covered %s, quiet %d, more %d at %s", v.Covered, v.Quiet, v.More, v.Kind)
	}
}

func FuzzFold(f *testing.F) {
	f.Add([]byte{}, int64(100), 3)
	f.Add([]byte("the canary's first blocks, and then some more of them"), int64(1), 1)
	f.Fuzz(func(t *testing.T, data []byte, least int64, checks int) {
		s := settings()
		s.Threshold = Threshold{Checks: 1 + abs(checks)%9, Requests: 1 + int64(abs(int(least%10000)))}
		foldSoundly(t, s, scribble(data))
	})
}

func FuzzEvidence(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add([]byte("the canary's first blocks, and then some more of them"), true)
	f.Fuzz(func(t *testing.T, data []byte, strict bool) {
		s := evidenceSettings()
		s.Steps, s.Levels.Strict = 3, strict
		s.Limits.P99, s.Limits.P99Ratio = 2*time.Second, 1.5
		s.Custom = []Custom{{Name: "checkout", AtLeast: true, Bound: .99}, {Name: "queue", Bound: 100, Gauge: true}}
		blocks := scribble(data)
		for i := range blocks {
			k := int64(i)
			blocks[i].Custom = []Pair{{Canary: Tally{k % 3, 3 + k%50}, Stable: Tally{1, 500}}, {Canary: Tally{k % 2, 1}, Stable: Tally{0, 1}}}
			if i%3 > 0 {
				blocks[i].Canary.Seen, blocks[i].Stable.Seen = blocks[i].End(), blocks[i].End().Add(time.Duration(i%3-1)*time.Second)
			}
			if i%5 == 4 {
				blocks[i].Custom[0].Missing = "no such series"
			}
		}
		foldSoundly(t, s, blocks)
	})
}

// foldSoundly folds the blocks and demands what holds of any blocks.
func foldSoundly(t *testing.T, s Settings, blocks []Block) {
	t.Helper()
	c := Open(s)
	var last Block
	var breach bool
	for _, b := range blocks {
		c.Peek(b)
		c.Fold(b)
		v := c.Verdict(b.End())
		c.Fold(b)
		c.Peek(b)
		if again := c.Verdict(b.End()); !reflect.DeepEqual(v, again) {
			t.Fatalf("folding a block twice is not the same as once:\n%+v\n%+v", v, again)
		}
		sound(t, v)
		if anew := b.Step != last.Step || b.Weight != last.Weight; breach && !anew && v.Kind != Rollback {
			t.Fatalf("a proven breach was forgotten: %+v", v)
		}
		breach, last = v.Kind == Rollback, b
	}
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}

// TestMissingBlocksNeitherPassNorFail: whatever gaps are strewn in, the verdict
// after the next good block is the one without them.
func TestMissingBlocksNeitherPassNorFail(t *testing.T) {
	s := settings()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		whole, holed := Open(s), Open(s)
		at := epoch
		for range 40 {
			errors := random.Int64N(4)
			b := Block{Start: at, Width: time.Second, Weight: 30, Stable: did(200, 1, 50), Canary: did(80, errors, 50)}
			for random.IntN(3) == 0 {
				gap := b
				gap.Missing = "the query failed"
				holed.Fold(gap)
				if v := holed.Verdict(gap.End()); v.Kind != NoData && v.Kind != Rollback {
					t.Fatalf("%s in a gap", v.Kind)
				}
				at = at.Add(time.Second)
				b.Start = at
			}
			whole.Fold(b)
			holed.Fold(b)
			at = at.Add(time.Second)
			v, w := whole.Verdict(at), holed.Verdict(at)
			if v.Kind != w.Kind || v.Sentence != w.Sentence || v.Covered != w.Covered {
				t.Fatalf("%s %q %s\n%s %q %s", v.Kind, v.Sentence, v.Covered, w.Kind, w.Sentence, w.Covered)
			}
		}
	}
}

// binomial draws how many of n requests were hits at probability p, leaping
// from hit to hit.
func binomial(random *rand.Rand, n int64, p float64) int64 {
	if p >= 1 {
		return n
	}
	if p <= 0 {
		return 0
	}
	hits, miss := int64(-1), math.Log1p(-p)
	for at := int64(0); at <= n; hits++ {
		at += 1 + int64(math.Log(1-random.Float64())/miss)
	}
	return hits
}

// simulate runs a canary for the given time in blocks of 15 s and tells when it
// was rolled back or starved; 0 if it never was.
func simulate(seed uint64, rps, errorRate float64, weight int, long time.Duration) (time.Duration, Verdict) {
	random := rand.New(rand.NewPCG(seed, 7))
	s := settings()
	const width = 15 * time.Second
	total := int64(rps * width.Seconds() * 100 / float64(weight))
	e := Open(s)
	var v Verdict
	for at := time.Duration(0); at < long; at += width {
		n := binomial(random, total, float64(weight)/100)
		canary := did(n, binomial(random, n, errorRate), 50)
		stable := did(total-n, binomial(random, total-n, 0.001), 50)
		b := Block{Start: epoch.Add(at), Width: width, Weight: weight, Stable: stable, Canary: canary}
		e.Fold(b)
		if v = e.Verdict(b.End()); v.Kind == Rollback || v.Kind == Starved {
			return at + width, v
		}
	}
	return 0, v
}

// TestHowOftenAHealthyCanaryIsRolledBack tells honestly what the classic mode
// costs: three checks in a row forgive a good version nearly always, and one
// close to its limit seldom.
func TestHowOftenAHealthyCanaryIsRolledBack(t *testing.T) {
	for _, c := range []struct {
		name      string
		errorRate float64
		atMost    int // of 50 simulated runs of 2 hours at 10 requests per second
		atLeast   int
	}{
		{"a tenth of a percent of errors at a limit of one percent", 0.001, 0, 0},
		{"nine tenths of a percent is what this mode can't tell from too much", 0.009, 50, 45},
	} {
		t.Run(c.name, func(t *testing.T) {
			gone := 0
			for seed := range uint64(50) {
				if at, _ := simulate(seed, 10, c.errorRate, 20, 2*time.Hour); at > 0 {
					gone++
				}
			}
			t.Logf("%d of 50 rolled back", gone)
			if gone > c.atMost || gone < c.atLeast {
				t.Errorf("%d of 50 rolled back, want %d to %d", gone, c.atLeast, c.atMost)
			}
		})
	}
}

func TestHowSoonABadCanaryIsRolledBack(t *testing.T) {
	for _, c := range []struct {
		name      string
		rps       float64
		errorRate float64
		within    time.Duration // in 100 of 100 simulated runs
	}{
		{"every answer an error at 5 requests per second", 5, 1, 45 * time.Second},
		{"five percent at 5 requests per second", 5, 0.05, 12 * time.Minute},
		{"twenty percent at one request in five seconds", 0.2, 0.2, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			var worst time.Duration
			for seed := range uint64(100) {
				at, v := simulate(seed, c.rps, c.errorRate, 5, 4*time.Hour)
				if v.Kind != Rollback {
					t.Fatalf("seed %d: %s %s", seed, v.Kind, v.Sentence)
				}
				worst = max(worst, at)
			}
			t.Logf("at most %s", worst)
			if worst > c.within {
				t.Errorf("took up to %s", worst)
			}
		})
	}
}

func BenchmarkFold(b *testing.B) {
	for name, levels := range map[string]func(*Settings){
		"evidence":  func(*Settings) {},
		"strict":    func(s *Settings) { s.Levels.Strict = true },
		"threshold": func(s *Settings) { s.Mode = ModeThreshold },
		"evidence, 4 metrics": func(s *Settings) {
			s.Custom = []Custom{{Name: "a", Bound: .1}, {Name: "b", Bound: .1}, {Name: "c", Bound: .1}, {Name: "d", Gauge: true}}
		},
	} {
		b.Run(name, func(b *testing.B) {
			s := evidenceSettings()
			levels(&s)
			blocks := story{}.then(10, did(1000, 1, 50), did(50, 0, 50)).blocks(5)
			for i := range blocks {
				for range s.Custom {
					blocks[i].Custom = append(blocks[i].Custom, Pair{Stable: Tally{1, 100}, Canary: Tally{0, 5}})
				}
			}
			c := Open(s)
			at := epoch
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				block := blocks[i%len(blocks)]
				block.Start = at
				at = block.End()
				c.Fold(block)
				c.Ruling(at)
			}
		})
	}
}

// history is a release of random blocks over three steps, with custom metrics.
func history(random *rand.Rand, s Settings) []Block {
	var blocks []Block
	for i := range 30 {
		n, m := random.Int64N(80), 400+random.Int64N(400)
		b := Block{Start: epoch.Add(time.Duration(i) * 15 * time.Second), Width: 15 * time.Second, Step: i / 10, Weight: 5 + i/10*20}
		b.Canary, b.Stable = did(n, min(n, random.Int64N(3)*random.Int64N(2)), 50), did(m, random.Int64N(4), 50)
		if random.IntN(2) == 0 {
			b.Canary.Seen, b.Stable.Seen = b.End(), b.End()
		}
		for range s.Custom {
			b.Custom = append(b.Custom, Pair{Canary: Tally{random.Int64N(2), 20}, Stable: Tally{1, 400}})
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func oddsAfter(s Settings, blocks []Block) (against, forth float64) {
	c, _ := foldAll(blocks, s)
	return c.Odds()
}

// TestMoreErrorsAreNeverBetter: one more failed request of the canary's never
// lowers the evidence against it nor raises that for it; one more good answer of
// its own, or one more failure of stable's, never raises the evidence against it.
func TestMoreErrorsAreNeverBetter(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for run := range 400 {
		s := evidenceSettings()
		s.Steps, s.Levels.Strict = 3, run%2 == 1
		s.Custom = []Custom{{Name: "checkout", AtLeast: true, Bound: .98}}
		blocks := history(random, s)
		k := random.IntN(len(blocks))
		was := blocks[k]
		against, forth := oddsAfter(s, blocks)
		try := func(what string, change func(*Block), rises, falls bool) {
			blocks[k] = was
			blocks[k].Custom = append([]Pair(nil), was.Custom...)
			change(&blocks[k])
			a, f := oddsAfter(s, blocks)
			if rises && a > against+1e-9 || falls && (a < against-1e-9 || f > forth+1e-9) {
				t.Fatalf("run %d, block %d: %s: against %v, then %v; for %v, then %v", run, k, what, against, a, forth, f)
			}
			blocks[k] = was
		}
		if was.Canary.Errors < was.Canary.Requests {
			try("one more error", func(b *Block) { b.Canary.Errors++ }, false, true)
		}
		try("one more error of a metric", func(b *Block) { b.Custom[0].Canary.Hits++ }, false, true)
		try("one more good answer", func(b *Block) { b.Canary.Requests++ }, true, false)
		try("one more error of stable", func(b *Block) { b.Stable.Errors++ }, true, false)
	}
}

// TestManyAndNone: neither 0 nor a billion requests in a block bring forth what
// is no number, and what is clear stays clear.
func TestManyAndNone(t *testing.T) {
	const many = 1_000_000_000
	for _, c := range []struct {
		name           string
		stable, canary Sample
		kind           Kind
	}{
		{"nothing at all", did(0, 0, 50), did(0, 0, 50), Hold},
		{"a billion good ones", did(many, many/1000, 50), did(many, many/1000, 50), Promote},
		{"a billion failures", did(many, 0, 50), did(many, many, 50), Rollback},
		{"a billion failures of both", did(many, many, 50), did(many, many, 50), SharedIncident},
		{"a billion slow ones", did(many, 0, 50), slow(many, many, 4000), Rollback},
		{"single failures beside a billion", did(many, many/1000, 50), did(1, 1, 50), Rollback},
		{"a billion beside one", did(1, 1, 50), did(many, many/1000, 50), Promote},
	} {
		for _, strict := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				s := evidenceSettings()
				s.Levels.Strict = strict
				e := Open(s)
				blocks := story{}.then(300, c.stable, c.canary).seenAlike().blocks(50)
				for i, b := range blocks {
					e.Fold(b)
					v := e.Verdict(b.End())
					sound(t, v)
					if i == 299 && v.Kind != c.kind && (!strict || c.kind != SharedIncident) && (v.Kind != Starved) {
						t.Errorf("%s: %s", v.Kind, v.Sentence)
					}
				}
			})
		}
	}
}

// TestGapsAreNoEvidence: whatever gaps are strewn in, the evidence is the same.
func TestGapsAreNoEvidence(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 50 {
		s := evidenceSettings()
		s.Steps = 3
		whole, holed := Open(s), Open(s)
		for i, b := range history(random, s) {
			b.Start = epoch.Add(time.Duration(i) * time.Minute)
			gap := b
			gap.Start, gap.Missing = b.Start.Add(-30*time.Second), "the query failed"
			holed.Fold(gap)
			if v := holed.Verdict(gap.End()); v.Kind != NoData && v.Kind != Rollback {
				t.Fatalf("%s in a gap", v.Kind)
			}
			whole.Fold(b)
			holed.Fold(b)
			if v, w := whole.Verdict(b.End()), holed.Verdict(b.End()); !reflect.DeepEqual(v, w) {
				t.Fatalf("%+v\n%+v", v, w)
			}
		}
	}
}

// TestAReplayIsWhatWasSeenLive: a case opened anew and given all blocks at once
// ends as the one that saw them one by one and was asked all the time, even when
// the memory of the blocks is used again.
func TestAReplayIsWhatWasSeenLive(t *testing.T) {
	random := rand.New(rand.NewPCG(12, 8))
	for _, mode := range []Mode{ModeEvidence, ModeThreshold} {
		for range 30 {
			s := evidenceSettings()
			s.Mode, s.Steps = mode, 3
			before, blocks := hourBefore(did(300, 1, 50)), history(random, s)
			live, replayed := opener(s, before), opener(s, before)
			for _, b := range blocks {
				b.Canary.Latency = append(Histogram(nil), b.Canary.Latency...)
				b.Stable.Latency = append(Histogram(nil), b.Stable.Latency...)
				live.Fold(b)
				clear(b.Canary.Latency)
				clear(b.Stable.Latency)
				live.Verdict(b.End())
				live.Ruling(b.End())
			}
			for _, b := range blocks {
				replayed.Fold(b)
			}
			end := blocks[len(blocks)-1].End()
			if l, r := live.Verdict(end), replayed.Verdict(end); !reflect.DeepEqual(l, r) {
				t.Fatalf("%+v\n%+v", l, r)
			}
		}
	}
}

// TestAVerdictIsNotChangedByWhatComesLater: it shares no memory with the case.
func TestAVerdictIsNotChangedByWhatComesLater(t *testing.T) {
	s := evidenceSettings()
	blocks := story{}.then(2, did(190, 0, 50), did(10, 0, 50)).blocks(5)
	e := Open(s)
	e.Fold(blocks[0])
	v := e.Verdict(blocks[0].End())
	e.Fold(blocks[1])
	if v.Canary.Latency.Total() != 10 || v.Canary.Requests != 10 {
		t.Errorf("%+v", v.Canary)
	}
}

func TestFoldingAndAskingAllocateNothing(t *testing.T) {
	for _, mode := range []Mode{ModeEvidence, ModeThreshold} {
		s := evidenceSettings()
		s.Mode = mode
		e, at := Open(s), epoch
		b := story{}.then(1, did(1000, 1, 50), did(50, 1, 50)).blocks(5)[0]
		if n := testing.AllocsPerRun(100, func() {
			b.Start = at
			at = b.End()
			e.Peek(b)
			e.Fold(b)
			e.Ruling(at)
			e.Odds()
		}); n > 0 {
			t.Errorf("%s: %v allocations", mode, n)
		}
	}
}
