package cli

import (
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
)

// A release that has not begun waits since nobody knows when.
func TestWhatIsToBeApproved(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for want, since := range map[string]time.Time{"shop/web  Waiting at 0%\n": {}, "shop/web  Waiting at 0%, for 4m\n": now.Add(-4 * time.Minute)} {
		frame := &screen{}
		frame.approval(canary.View{Namespace: "shop", Service: "web", Phase: canary.Waiting, Since: since}, now)
		if got := frame.b.String(); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A person may think about a yes for long: it counts for what was shown, or not at all.
func TestAYesIsForWhatWasShown(t *testing.T) {
	awaiting := func(rollout, template string, step int) canary.View {
		v := canary.View{Rollout: rollout, Awaits: []canary.Awaited{{Kind: string(canary.AskGate)}, {Kind: canary.AwaitApproval, Step: step}}}
		v.Canary.Template = template
		return v
	}
	shown := awaiting("r1", "t1", 2)
	for name, c := range map[string]struct {
		now  canary.View
		want bool
	}{
		"it still waits for it":             {awaiting("r1", "t1", 2), true},
		"another step waits by now":         {awaiting("r1", "t1", 3), false},
		"another release waits by now":      {awaiting("r2", "t1", 2), false},
		"another template is to be begun":   {awaiting("r1", "t2", 2), false},
		"nothing waits for a person by now": {canary.View{Rollout: "r1", Awaits: []canary.Awaited{{Kind: string(canary.AskGate)}}}, false},
	} {
		if got := sameYes(shown, c.now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
