package replay

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// closedBlocks are those of an ask that are closed at now.
func closedBlocks(a prom.Ask, now time.Time) (out []judge.Block) {
	end := prom.Closed(now, a.Width)
	if !a.To.IsZero() && a.To.Before(end) {
		end = a.To
	}
	for start := borderFrom(a.From, a.Width); !start.Add(a.Width).After(end); start = start.Add(a.Width) {
		out = append(out, judge.Block{
			Start: start, Width: a.Width, Step: a.Step, Weight: a.Weight,
			Stable: judge.Sample{Live: true, Counts: judge.Counts{Requests: 100}},
			Canary: judge.Sample{Live: true, Counts: judge.Counts{Requests: 10}},
		})
	}
	return out
}

// readAll reads on until nothing closed is left, and tells what was read.
func readAll(t *testing.T, r *Reading, of canary.State, now time.Time, window bool) (read []string) {
	t.Helper()
	for range 1000 {
		if r.Left(now) == 0 {
			return read
		}
		s, _ := r.Stretch()
		ask := s.Ask("shop", "web", of, r.Had())
		if window {
			ask = r.Window(ask)
		}
		blocks := closedBlocks(ask, now)
		for _, b := range blocks {
			if !b.Start.Before(r.Had()) && (s.To.IsZero() || !b.End().After(s.To)) {
				read = append(read, fmt.Sprintf("%d%% %s +%s", b.Weight, b.Start.Format(time.TimeOnly), b.Width))
			}
		}
		if !r.Add(blocks) {
			t.Fatalf("of %d blocks asked for from %s none is read", len(blocks), ask.From)
		}
	}
	t.Fatal("it never ends")
	return nil
}

func TestBlocksAreReadInTheSameOrderHoweverTheyAreAskedFor(t *testing.T) {
	s, now := rollout(func(*canary.State) {}), at(30*time.Minute)
	var atOnce, inWindows Reading
	atOnce.Follow(s, at(5*time.Minute))
	inWindows.Follow(s, at(5*time.Minute))
	a, b := readAll(t, &atOnce, s, now, false), readAll(t, &inWindows, s, now, true)
	if !slices.Equal(a, b) {
		t.Errorf("at once it read\n%v\nin windows\n%v", a, b)
	}
	if va, vb := fmt.Sprintf("%+v", atOnce.Case().Verdict(now)), fmt.Sprintf("%+v", inWindows.Case().Verdict(now)); va != vb {
		t.Errorf("at once the verdict is %s, in windows %s", va, vb)
	}

	var growing Reading
	var c []string
	growing.Follow(s, at(5*time.Minute))
	for d := 5 * time.Minute; d <= 30*time.Minute; d += 3 * time.Second {
		c = append(c, readAll(t, &growing, s, at(d), false)...)
	}
	if !slices.Equal(a, c) {
		t.Errorf("at once it read\n%v\nas it grew\n%v", a, c)
	}
}

func TestTheLastBlocksOfALegComeBeforeTheNextOne(t *testing.T) {
	s := rollout(func(s *canary.State) { s.Step, s.Weight, s.Legs = 1, 5, nil })
	var r Reading
	r.Follow(s, at(time.Minute))
	readAll(t, &r, s, at(4*time.Minute), false)
	known := r.Case()
	s.Step, s.Weight = 2, 25
	s.Legs = []canary.Leg{{Step: 1, Weight: 5, From: at(time.Minute), To: at(4 * time.Minute)}}
	if !r.Follow(s, at(4*time.Minute+time.Second)) || r.Case() != known {
		t.Fatal("another step is nothing new, or another case")
	}
	if got, _ := r.Stretch(); got.Weight != 5 || !got.To.Equal(at(4*time.Minute)) {
		t.Errorf("it goes on at %d%% to %s, want the rest of the leg at 5%%", got.Weight, got.To)
	}
	readAll(t, &r, s, at(5*time.Minute), false)
	if !r.Present() {
		t.Error("it did not come to the present step")
	}
	if due, end := r.Due(), r.Next().Add(s.Width); !due.After(end) || r.Left(due) != 1 || r.Left(due.Add(-time.Millisecond)) != 0 {
		t.Errorf("the next block ends at %s and is due at %s, when it is not just closed", end, due)
	}
}

func TestWhenEverythingIsReadAgain(t *testing.T) {
	leg := canary.Leg{Step: 1, Weight: 5, From: at(time.Minute), To: at(4 * time.Minute)}
	for name, c := range map[string]struct {
		change func(*canary.State)
		from   time.Duration
		again  bool
	}{
		"nothing changed": {func(*canary.State) {}, 5 * time.Minute, false},
		"another limit":   {func(s *canary.State) { s.Spec.Limits.ErrorRate = .02 }, 5 * time.Minute, true},
		"another VirtualService was written late": {func(*canary.State) {}, 6 * time.Minute, true},
		"a leg that is not as it was read":        {func(s *canary.State) { s.Legs[0].To = at(3 * time.Minute) }, 5 * time.Minute, true},
		"the oldest leg is kept no more":          {func(s *canary.State) { s.Legs = nil }, 5 * time.Minute, true},
		"the present leg ended where it was read to, or later": {func(s *canary.State) {
			s.Legs = []canary.Leg{leg, {Step: 2, Weight: 25, From: at(5 * time.Minute), To: at(10 * time.Minute)}}
			s.Step, s.Weight = 3, 100
		}, 10 * time.Minute, false},
		"the present leg ended before what was read": {func(s *canary.State) {
			s.Legs = []canary.Leg{leg, {Step: 2, Weight: 25, From: at(5 * time.Minute), To: at(7 * time.Minute)}}
			s.Step, s.Weight = 3, 100
		}, 10 * time.Minute, true},
		"a person took the weight away": {func(s *canary.State) {
			s.Legs = []canary.Leg{leg, {Step: 2, Weight: 25, From: at(5 * time.Minute), To: at(10 * time.Minute)}}
			s.Phase, s.Weight = canary.Paused, 0
		}, 10 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			var r Reading
			before := rollout(func(s *canary.State) { s.Legs = []canary.Leg{leg} })
			r.Follow(before, at(5*time.Minute))
			readAll(t, &r, before, at(9*time.Minute), false)
			known := r.Case()
			after := rollout(func(s *canary.State) { s.Legs = []canary.Leg{leg} })
			c.change(&after)
			r.Follow(after, at(c.from))
			if again := r.Case() != known; again != c.again {
				t.Errorf("read again: %v, want %v", again, c.again)
			}
			if got, _ := r.Stretch(); c.again != got.Before {
				t.Errorf("it goes on with %+v", got)
			}
		})
	}
}

func TestAFirstWriteThatMovesBeforeAnythingWasReadCostsNothing(t *testing.T) {
	s := rollout(func(*canary.State) {})
	var r Reading
	r.Follow(s, at(5*time.Minute))
	readAll(t, &r, s, at(5*time.Minute+time.Second), false)
	known := r.Case()
	if r.Follow(s, at(5*time.Minute+500*time.Millisecond)); r.Case() != known {
		t.Error("everything is read again")
	}
	if !r.Had().Equal(at(5*time.Minute + 500*time.Millisecond)) {
		t.Errorf("it reads from %s", r.Had())
	}
}

func TestAnEmptyAnswerAboutTheHourBeforeIsOne(t *testing.T) {
	var r Reading
	r.Follow(rollout(func(*canary.State) {}), at(5*time.Minute))
	if !r.Add(nil) {
		t.Fatal("it is asked for again and again")
	}
	if s, _ := r.Stretch(); s.Before {
		t.Error("it still reads the hour before")
	}
	if r.Add(nil) {
		t.Error("no block of a leg is one")
	}
}
