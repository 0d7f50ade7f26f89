package judge

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// opened is what came since the last closed block: errors only, up to a moment
// that both tracks are known to.
func opened(after []Block, n, errors, stable, stableErrors int64) Block {
	b := after[len(after)-1]
	b.Start, b.Width = b.End(), 3*time.Second
	b.Canary = Sample{Live: true, Seen: b.End(), Counts: Counts{Requests: n, Errors: errors}}
	b.Stable = Sample{Live: true, Seen: b.End(), Counts: Counts{Requests: stable, Errors: stableErrors}}
	return b
}

func TestPeek(t *testing.T) {
	before := story{}.then(2, did(190, 0, 50), did(10, 0, 50)).seenAlike().blocks(5)
	for _, c := range []struct {
		name   string
		open   Block
		change func(*Block)
		proven bool
		idle   bool // stable answered nothing before, either
		of     int  // step of the verdict
	}{
		{name: "failures since the last closed block prove a breach", open: opened(before, 4, 4, 57, 0), proven: true},
		{name: "one failure proves nothing", open: opened(before, 4, 1, 57, 0)},
		{name: "if stable fails as well, nothing is proven", open: opened(before, 40, 40, 570, 560)},
		{
			name: "if stable isn't known as far as the canary, nothing is proven", open: opened(before, 4, 4, 57, 0),
			change: func(b *Block) { b.Stable.Seen = b.Stable.Seen.Add(-time.Second) },
		},
		{
			name: "if nobody knows how far stable is known, nothing is proven", open: opened(before, 4, 4, 57, 0),
			change: func(b *Block) { b.Stable.Seen = time.Time{} },
		},
		{
			name: "a moment without requests is not idle", open: opened(before, 4, 4, 0, 0),
			change: func(b *Block) { b.Stable.Seen = time.Time{} },
		},
		{
			name: "an idle stable needs no comparison", open: opened(before, 4, 4, 0, 0), proven: true, idle: true,
			change: func(b *Block) { b.Stable.Seen = time.Time{} },
		},
		{
			name: "the first failures of a new step count for it", open: opened(before, 40, 40, 57, 0), proven: true, of: 1,
			change: func(b *Block) { b.Step, b.Weight = 1, 40 },
		},
		{
			name: "without weight it is no evidence", open: opened(before, 4, 4, 57, 0),
			change: func(b *Block) { b.Weight = 0 },
		},
		{
			name: "a missing block proves nothing", open: opened(before, 4, 4, 57, 0),
			change: func(b *Block) { b.Missing = "the query failed" },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := slices.Clone(before)
			for i := range before {
				if c.idle {
					before[i].Stable = did(0, 0, 50)
				}
			}
			e, now := foldAll(before, evidenceSettings())
			if c.change != nil {
				c.change(&c.open)
			}
			was := e.Verdict(now)
			e.Peek(c.open)
			v := e.Verdict(now)
			if (v.Kind == Rollback) != c.proven || v.Open != c.proven {
				t.Fatalf("%s (open %v): %s", v.Kind, v.Open, v.Sentence)
			}
			if !c.proven {
				if !reflect.DeepEqual(was, v) {
					t.Errorf("a look that proves nothing changed the verdict:\n%+v\n%+v", was, v)
				}
				return
			}
			if v.Step != c.of || v.Weight != c.open.Weight || !v.Since.Equal(c.open.End()) {
				t.Errorf("step %d, weight %d, since %s", v.Step, v.Weight, v.Since)
			}
			c.open.Missing = "the query failed"
			e.Fold(c.open)
			if v := e.Verdict(c.open.End()); v.Kind != Rollback {
				t.Errorf("what was proven is forgotten: %s", v.Sentence)
			}
		})
	}
}

// TestLookingNeverChangesWhatIsFolded: with and without looks between them, the
// blocks give the same evidence, until a look proves a breach.
func TestLookingNeverChangesWhatIsFolded(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		s := evidenceSettings()
		s.Steps = 3
		s.Custom = []Custom{{Name: "checkout", AtLeast: true, Bound: .99}}
		w := newWorld(random.Uint64(), 5, .01, .008)
		w.unseen = random.IntN(2) == 0
		plain, looked := Open(s), Open(s)
		for w.at < 15*time.Minute {
			w.step = int(w.at / (5 * time.Minute))
			b := w.next()
			b.Custom = []Pair{{Canary: Tally{random.Int64N(2), 10}, Stable: Tally{0, 100}}}
			part := b
			part.Width = b.Width / 2
			part.Canary.Counts = Counts{Requests: b.Canary.Requests / 2, Errors: b.Canary.Errors / 2}
			part.Stable.Counts = Counts{Requests: b.Stable.Requests / 2, Errors: b.Stable.Errors / 2}
			looked.Peek(part)
			if v := looked.Verdict(b.End()); v.Open {
				break
			}
			plain.Fold(b)
			looked.Fold(b)
			if p, l := plain.Verdict(b.End()), looked.Verdict(b.End()); !reflect.DeepEqual(p, l) {
				t.Fatalf("%+v\n%+v", p, l)
			}
		}
	}
}

func TestALookIntoTheClassicModeProvesNothing(t *testing.T) {
	before := story{}.then(1, did(190, 0, 50), did(100, 0, 50)).blocks(5)
	e, now := foldAll(before, settings())
	e.Peek(opened(before, 1000, 1000, 5, 0))
	if v := e.Verdict(now); v.Kind != Promote {
		t.Errorf("%s", v.Sentence)
	}
}
