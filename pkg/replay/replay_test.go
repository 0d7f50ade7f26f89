package replay

import (
	"slices"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
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
		"weight taken away by a person": {func(s *canary.State) { s.Phase, s.Weight = canary.Paused, 0 }, at(5 * time.Minute), []Stretch{before, first}},
		"a rollback is watched going to zero": {
			func(s *canary.State) { s.Phase, s.Weight = canary.RollingBack, 0 }, at(5 * time.Minute),
			[]Stretch{before, first, {Step: 2, From: at(5 * time.Minute), Width: 5 * time.Second}},
		},
		"a rollback of a canary that had no users": {
			func(s *canary.State) { s.Phase, s.Step, s.Weight, s.Peak, s.Legs = canary.RollingBack, 0, 0, 0, nil }, at(5 * time.Minute), []Stretch{before},
		},
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
