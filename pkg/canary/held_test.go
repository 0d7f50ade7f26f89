package canary

import (
	"testing"
	"time"
)

// What the guard held is let go when the Deployment is only to be looked at, and a
// change that waits for a version to go back to says how to do without.
func TestWhatIsHeldDoesNotStayForNothing(t *testing.T) {
	held := Observation{Place: Standing{Held: true}, Tracks: Tracks{
		Canary: Track{Deployment: "web-canary", Subset: "serin-canary", Template: "t2"},
		Stable: Track{Deployment: "web", Subset: "serin-stable", Template: "t1", Pods: "h1", Wanted: 4},
	}}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	t.Run("only observed", func(t *testing.T) {
		o := held
		o.Observe = true
		if p := Decide(Spec{}, State{}, o, now); p.Place == nil || p.Place.Deployment != Resume || p.View.Reason != LetGo {
			t.Errorf("%+v", p)
		}
		o.Place.Held = false
		if p := Decide(Spec{}, State{}, o, now); p.Place != nil || p.View.Reason == LetGo {
			t.Errorf("%+v", p)
		}
	})
	t.Run("too late to abort", func(t *testing.T) {
		o := held
		o.InPlace, o.OptedIn, o.Command = true, true, &Command{Verb: CommandAbort}
		o.Tracks.Canary.Ready, o.Tracks.Stable.Ready = 4, 2
		s := State{Rollout: "r1", Phase: Promoting, InPlace: true, Weight: 100, Canary: o.Tracks.Canary.side(), Stable: o.Tracks.Stable.side(), Since: now}
		p := Decide(Spec{StepDeadline: time.Hour}, s, o, now)
		if p.Next.Phase != Promoting || len(p.Tell) != 1 || p.Tell[0].Reason != CommandIgnored {
			t.Errorf("%+v", p)
		}
	})
	t.Run("nothing to go back to", func(t *testing.T) {
		o := held
		o.InPlace, o.OptedIn = true, true
		p := Decide(Spec{}, State{}, o, now)
		if p.Place.Deployment != KeepAsIs || p.View.Reason != StableUnavailable || len(p.Tell) != 1 || !p.Tell[0].Warning {
			t.Errorf("%+v", p)
		}
	})
}
