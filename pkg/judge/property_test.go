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
	if v.Sentence == "" || v.Reason == "" || v.Kind == "" {
		t.Errorf("a verdict without words: %+v", v)
	}
	if v.Covered < 0 || v.Quiet < 0 || (v.Kind == Hold) != (v.More > 0) {
		t.Errorf("covered %s, quiet %d, more %d at %s", v.Covered, v.Quiet, v.More, v.Kind)
	}
}

func FuzzFold(f *testing.F) {
	f.Add([]byte{}, int64(100), 3)
	f.Add([]byte("the canary's first blocks, and then some more of them"), int64(1), 1)
	f.Fuzz(func(t *testing.T, data []byte, least int64, checks int) {
		s := settings()
		s.Threshold = Threshold{Checks: 1 + abs(checks)%9, Requests: 1 + int64(abs(int(least%10000)))}
		var e, before Evidence
		var breach bool
		for _, b := range scribble(data) {
			before = e
			was := evaluate(before, s, b.End())
			e = fold(e, b, s)
			if again := evaluate(before, s, b.End()); !reflect.DeepEqual(was, again) {
				t.Fatalf("folding changed the evidence it was given:\n%+v\n%+v", was, again)
			}
			if twice := fold(e, b, s); !reflect.DeepEqual(e, twice) {
				t.Fatal("folding a block twice is not the same as once")
			}
			v := evaluate(e, s, b.End())
			sound(t, v)
			if anew := b.Step != before.step || b.Weight != before.weight; breach && !anew && v.Kind != Rollback {
				t.Fatalf("a proven breach was forgotten: %+v", v)
			}
			breach = v.Kind == Rollback
		}
	})
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
		var whole, holed Evidence
		at := epoch
		for range 40 {
			errors := random.Int64N(4)
			b := Block{Start: at, Width: time.Second, Weight: 30, Stable: did(200, 1, 50), Canary: did(80, errors, 50)}
			for random.IntN(3) == 0 {
				gap := b
				gap.Missing = "the query failed"
				holed = fold(holed, gap, s)
				if v := evaluate(holed, s, gap.End()); v.Kind != NoData && v.Kind != Rollback {
					t.Fatalf("%s in a gap", v.Kind)
				}
				at = at.Add(time.Second)
				b.Start = at
			}
			whole, holed = fold(whole, b, s), fold(holed, b, s)
			at = at.Add(time.Second)
			v, w := evaluate(whole, s, at), evaluate(holed, s, at)
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
	var e Evidence
	var v Verdict
	for at := time.Duration(0); at < long; at += width {
		n := binomial(random, total, float64(weight)/100)
		canary := did(n, binomial(random, n, errorRate), 50)
		stable := did(total-n, binomial(random, total-n, 0.001), 50)
		b := Block{Start: epoch.Add(at), Width: width, Weight: weight, Stable: stable, Canary: canary}
		e = fold(e, b, s)
		if v = evaluate(e, s, b.End()); v.Kind == Rollback || v.Kind == Starved {
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

func BenchmarkFoldAndEvaluate(b *testing.B) {
	s := settings()
	blocks := story{}.then(10, did(1000, 1, 50), did(50, 0, 50)).blocks(5)
	b.ReportAllocs()
	var e Evidence
	at := epoch
	for i := 0; b.Loop(); i++ {
		block := blocks[i%len(blocks)]
		block.Start = at
		at = block.End()
		e = fold(e, block, s)
		evaluate(e, s, at)
	}
}
