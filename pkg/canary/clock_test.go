package canary

import (
	"testing"
	"time"
)

// A clock that was an hour ahead when the state was written, and is right now.
func TestTimesThatLieAheadAreReplaced(t *testing.T) {
	for name, c := range map[string]struct {
		phase Phase
		ahead time.Duration
		want  bool
	}{
		"an hour ahead at a step":          {Progressing, time.Hour, true},
		"an hour ahead while testing":      {Testing, time.Hour, true},
		"an hour ahead on the way back":    {RollingBack, time.Hour, true},
		"an hour ahead while it is paused": {Paused, time.Hour, true},
		"as clocks of two replicas differ": {Progressing, 3 * time.Second, false},
		"an hour ago":                      {Progressing, -time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.pass() // begins and goes to 5%
			now := w.now.Add(-c.ahead)
			w.state.Phase = c.phase
			if c.phase == Testing || c.phase == RollingBack {
				w.state.Step, w.state.Weight = 0, 0
			}
			w.state.Legs = []Leg{{Step: 1, Weight: 5, From: now.Add(-2 * time.Hour), To: now.Add(-time.Hour - time.Minute)}, {Step: 1, Weight: 5, From: now, To: w.now}}
			w.state.Reason, w.state.Message = PausedByPerson, "held"
			for key := range w.o.Traffic {
				w.o.Traffic[key] = Seen{Rollout: w.state.Rollout, Sequence: w.state.Sequence, At: w.now, Min: w.state.Weight, Max: w.state.Weight}
			}
			p := Decide(w.spec, w.state, w.o, now)
			if mended := p.Next.Sequence > w.state.Sequence && p.Next.Since.Equal(now); mended != c.want {
				t.Fatalf("mended: %v, want %v (%s: %s)", mended, c.want, p.View.Reason, p.View.Sentence)
			}
			if !c.want {
				return
			}
			if p.Next.Started.After(now) || len(p.Next.Legs) != 1 || p.Next.Phase != c.phase || p.Next.Weight != w.state.Weight || p.Next.Message != "held" || len(p.Tell) > 0 {
				t.Errorf("it becomes %+v, told %v", p.Next, p.Tell)
			}
		})
	}
}

func TestWhatTakesTrafficAwayDoesNotWaitForTheClock(t *testing.T) {
	w := newWorld()
	w.pass()
	w.o.Command = &Command{Verb: CommandAbort}
	if p := Decide(w.spec, w.state, w.o, w.now.Add(-time.Hour)); p.Next.Phase != RollingBack || p.Next.Weight != 0 {
		t.Errorf("an abort gives %s at %d%%", p.Next.Phase, p.Next.Weight)
	}
}
