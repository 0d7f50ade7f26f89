package replay

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

var began = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

func at(d time.Duration) time.Time { return began.Add(d) }

func rollout(change func(*canary.State)) canary.State {
	s := canary.State{
		Rollout: "r1", Phase: canary.Progressing, Step: 2, Weight: 25, Peak: 25, Width: 5 * time.Second, Started: began,
		Canary: canary.Side{Deployment: "web-v2"}, Stable: canary.Side{Deployment: "web-v1"},
		Legs: []canary.Leg{{Step: 1, Weight: 5, From: at(time.Minute), To: at(4 * time.Minute)}},
	}
	change(&s)
	return s
}

func TestStretchesAreAskedForInTheOrderOfTime(t *testing.T) {
	before := Stretch{Before: true, From: at(-62 * time.Minute), To: at(-2 * time.Minute), Width: time.Minute}
	first := Stretch{Step: 1, Weight: 5, From: at(time.Minute), To: at(4 * time.Minute), Width: 5 * time.Second}
	present := Stretch{Step: 2, Weight: 25, From: at(5 * time.Minute), Width: 5 * time.Second}
	for name, c := range map[string]struct {
		change func(*canary.State)
		from   time.Time
		want   []Stretch
	}{
		"under way": {func(*canary.State) {}, at(5 * time.Minute), []Stretch{before, first, present}},
		"the present weight is written nowhere yet": {func(*canary.State) {}, time.Time{}, []Stretch{before, first}},
		"what a leg doesn't keep of a time is not kept of the present one": {
			func(*canary.State) {}, at(5*time.Minute + 400*time.Microsecond), []Stretch{before, first, present},
		},
		"testing, the width of blocks is not known": {
			func(s *canary.State) { s.Phase, s.Step, s.Weight, s.Width, s.Legs = canary.Testing, 0, 0, 0, nil }, at(0), []Stretch{before},
		},
		"a leg without weight has nothing to judge": {
			func(s *canary.State) {
				s.Legs = append(s.Legs, canary.Leg{Step: 1, From: at(4 * time.Minute), To: at(5 * time.Minute)})
			},
			at(5 * time.Minute), []Stretch{before, first, present},
		},
		"copies, now and before": {
			func(s *canary.State) {
				s.Spec.Steps = []canary.Step{{Mirror: 10}, {Mirror: 50}, {Weight: 100}}
				s.Weight, s.Legs = 0, []canary.Leg{{Step: 1, Mirror: 10, From: at(time.Minute), To: at(4 * time.Minute)}}
			},
			at(5 * time.Minute), []Stretch{before, {Step: 1, Mirror: 10, From: at(time.Minute), To: at(4 * time.Minute), Width: 5 * time.Second}, {Step: 2, Mirror: 50, From: at(5 * time.Minute), Width: 5 * time.Second}},
		},
		"weight taken away by a person": {func(s *canary.State) { s.Phase, s.Weight = canary.Paused, 0 }, at(5 * time.Minute), []Stretch{before, first}},
		"a rollback is watched going to zero": {
			func(s *canary.State) { s.Phase, s.Weight = canary.RollingBack, 0 }, at(5 * time.Minute),
			[]Stretch{before, first, {Step: 2, From: at(5 * time.Minute), Width: 5 * time.Second}},
		},
		"a rollback of a canary that had no users": {
			func(s *canary.State) { s.Phase, s.Step, s.Weight, s.Peak, s.Legs = canary.RollingBack, 0, 0, 0, nil }, at(5 * time.Minute), []Stretch{before},
		},
		"people move the weights": {func(s *canary.State) { s.Phase = canary.Watched }, at(5 * time.Minute), []Stretch{before, first, present}},
		"at rest nothing goes on": {func(s *canary.State) { s.Phase = canary.Succeeded }, at(5 * time.Minute), []Stretch{before, first}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Stretches(rollout(c.change), c.from); !slices.Equal(got, c.want) {
				t.Errorf("got\n%+v\nwant\n%+v", got, c.want)
			}
		})
	}
}

func TestAStretchIsOverWhenNoWholeBlockIsLeftOfIt(t *testing.T) {
	grid := time.Unix(1_800_000_000, 0).UTC() // a border of blocks of 5 s
	s := Stretch{Step: 1, Weight: 5, From: grid.Add(time.Second), To: grid.Add(19 * time.Second), Width: 5 * time.Second}
	for name, c := range map[string]struct {
		had  time.Duration
		over bool
	}{
		"nothing had":                   {time.Second, false},
		"a block is left":               {10 * time.Second, false},
		"what is left is less than one": {15 * time.Second, true},
		"begins too late for a block":   {11 * time.Second, true},
		"all had":                       {20 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.Over(grid.Add(c.had)); got != c.over {
				t.Errorf("over: %v, want %v", got, c.over)
			}
		})
	}
	s.To = time.Time{}
	if s.Over(grid.Add(time.Hour)) {
		t.Error("a stretch that goes on is over")
	}
}

func TestAnAskNamesTheRolloutsWorkloadsAndTheRestOfTheStretch(t *testing.T) {
	s := rollout(func(*canary.State) {})
	got := Stretches(s, time.Time{})[1].Ask("shop", "web", s, at(2*time.Minute))
	if got.Namespace != "shop" || got.Service != "web" || got.StableWorkload != "web-v1" || got.CanaryWorkload != "web-v2" {
		t.Errorf("asks about %+v", got)
	}
	if !got.From.Equal(at(2*time.Minute)) || !got.To.Equal(at(4*time.Minute)) || got.Width != 5*time.Second || got.Step != 1 || got.Weight != 5 {
		t.Errorf("asks for %+v", got)
	}
}

// answering is a Prometheus that knows the closed blocks of all time and gives
// at most three of them at once.
func answering(t *testing.T, asked *[]prom.Ask) Source {
	return func(_ context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
		if len(asks) != 1 {
			t.Fatalf("%d asks at once", len(asks))
		}
		a := asks[0]
		*asked = append(*asked, a)
		var blocks []judge.Block
		for from := borderFrom(a.From, a.Width); len(blocks) < 3; from = from.Add(a.Width) {
			b := judge.Block{Start: from, Width: a.Width, Step: a.Step, Weight: a.Weight, Canary: judge.Sample{Live: true}}
			if b.End().After(prom.Closed(now, a.Width)) || !a.To.IsZero() && b.End().After(a.To) {
				break
			}
			blocks = append(blocks, b)
		}
		return map[string]prom.Answer{a.Key: {Blocks: blocks, Warnings: []string{"partial"}}}
	}
}

func TestARunAsksUntilAllThatIsClosedWasFolded(t *testing.T) {
	s := rollout(func(*canary.State) {})
	var asked []prom.Ask
	var before, steps []judge.Block
	warnings, err := Run(t.Context(), answering(t, &asked), Subject{Namespace: "shop", Service: "web", State: s, From: at(5 * time.Minute), Reporter: prom.Source},
		at(6*time.Minute), func(of Stretch, b judge.Block, c *judge.Case) {
			if of.Before {
				before = append(before, b)
				return
			}
			steps = append(steps, b)
			if v := c.Verdict(b.End()); !v.At.Equal(b.End()) {
				t.Errorf("shown before it was folded: the verdict is of %s, the block ends %s", v.At, b.End())
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != 59 && len(before) != 60 {
		t.Errorf("%d blocks of the hour before", len(before))
	}
	for i, b := range steps[1:] {
		if b.Start.Before(steps[i].End()) {
			t.Errorf("block %s comes after that which ends %s", b.Start, steps[i].End())
		}
	}
	if last := steps[len(steps)-1]; last.Weight != 25 || !last.End().Equal(prom.Closed(at(6*time.Minute), 5*time.Second)) {
		t.Errorf("the last block is of %d%% and ends %s", last.Weight, last.End())
	}
	if n := len(steps); n < 40 || steps[0].Weight != 5 {
		t.Errorf("%d blocks, the first of %d%%", n, steps[0].Weight)
	}
	if !slices.Equal(warnings, []string{"partial"}) {
		t.Errorf("warnings %q: each is wanted once", warnings)
	}
	for _, a := range asked {
		if a.Reporter != prom.Source || a.Service != "web" {
			t.Errorf("asked %+v", a)
		}
	}
}

func TestARunEndsWherePrometheusDoesNotAnswer(t *testing.T) {
	away := errors.New("away")
	var asked []prom.Ask
	good := answering(t, &asked)
	source := func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
		if asks[0].Weight == 25 {
			return map[string]prom.Answer{asks[0].Key: {Err: away}}
		}
		return good(ctx, asks, now)
	}
	folded := 0
	_, err := Run(t.Context(), source, Subject{Namespace: "shop", Service: "web", State: rollout(func(*canary.State) {}), From: at(5 * time.Minute)},
		at(6*time.Minute), func(Stretch, judge.Block, *judge.Case) { folded++ })
	if !errors.Is(err, away) || folded == 0 {
		t.Errorf("got %v after %d blocks", err, folded)
	}
}

func TestTheOpenBlockAtTheEndIsAskedForWhereARolloutWasRolledBack(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*canary.State)
		want   int
	}{
		"rolled back": {func(s *canary.State) { s.Phase, s.Weight = canary.RolledBack, 0 }, 1},
		"under way":   {func(*canary.State) {}, 0},
		"promoted":    {func(s *canary.State) { s.Phase = canary.Succeeded }, 0},
		"too short for a block": {func(s *canary.State) {
			s.Phase, s.Weight = canary.RolledBack, 0
			s.Legs = append(s.Legs, canary.Leg{Step: 2, Weight: 25, From: at(5 * time.Minute), To: at(5*time.Minute + time.Second)})
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := rollout(c.change)
			var asked, peeked []prom.Ask
			open := func(_ context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
				peeked = append(peeked, asks...)
				last := s.Legs[len(s.Legs)-1]
				if a := asks[0]; !now.Equal(last.To) || a.From.Before(last.From) || !a.From.Equal(borderFrom(a.From, a.Width)) || a.Weight != last.Weight {
					t.Errorf("asked as of %s for %+v, the last leg is %+v", now, a, last)
				}
				return nil
			}
			_, err := Run(t.Context(), answering(t, &asked), Subject{Namespace: "shop", Service: "web", State: s, Open: open}, at(time.Hour), func(Stretch, judge.Block, *judge.Case) {})
			if err != nil || len(peeked) != c.want {
				t.Errorf("asked %d times, want %d; %v", len(peeked), c.want, err)
			}
		})
	}
}

func TestABreachProvenByTheOpenBlockIsShown(t *testing.T) {
	s := rollout(func(s *canary.State) {
		s.Phase, s.Weight = canary.RolledBack, 0
		s.Spec = canary.Spec{Steps: []canary.Step{{Weight: 5}, {Weight: 25}}, StepDeadline: time.Hour, Limits: judge.Limits{ErrorRate: 0.01, P99: time.Second}, Rules: judge.DefaultRules()}
	})
	did := func(n, failed int64) judge.Sample {
		return judge.Sample{Live: true, Seen: s.Legs[0].To, Counts: judge.Counts{Requests: n, Errors: failed}}
	}
	source := func(_ context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
		blocks := closedBlocks(asks[0], now)
		return map[string]prom.Answer{asks[0].Key: {Blocks: blocks[:min(len(blocks), 100)]}}
	}
	for name, c := range map[string]struct {
		failed int64
		shown  bool
	}{
		"all failed":  {40, true},
		"none failed": {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			open := func(_ context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
				a := asks[0]
				return map[string]prom.Answer{a.Key: {Blocks: []judge.Block{{
					Start: a.From, Width: now.Sub(a.From), Step: a.Step, Weight: a.Weight, Stable: did(800, 0), Canary: did(40, c.failed),
				}}}}
			}
			var last judge.Verdict
			_, err := Run(t.Context(), source, Subject{Namespace: "shop", Service: "web", State: s, Open: open}, at(time.Hour),
				func(_ Stretch, b judge.Block, held *judge.Case) { last = held.Verdict(b.End()) })
			if err != nil {
				t.Fatal(err)
			}
			if shown := last.Kind == judge.Rollback && last.Open; shown != c.shown {
				t.Errorf("the last verdict is %s, open: %v: %s", last.Kind, last.Open, last.Sentence)
			}
		})
	}
}

func TestOnlyBlocksOfTheReleaseAreFolded(t *testing.T) {
	b := judge.Block{Start: began, Width: time.Second, Step: 1, Weight: 5, Canary: judge.Sample{Live: true}}
	before, after := judge.Open(judge.Settings{Rules: judge.DefaultRules()}), judge.Open(judge.Settings{Rules: judge.DefaultRules()})
	Stretch{Before: true}.Add(before, b)
	Stretch{}.Add(after, b)
	if at := before.Verdict(b.End()).At; !at.IsZero() {
		t.Errorf("a block from before the release is evidence of it, at %s", at)
	}
	if at := after.Verdict(b.End()).At; !at.Equal(b.End()) {
		t.Errorf("the evidence goes to %s, want %s", at, b.End())
	}
}
