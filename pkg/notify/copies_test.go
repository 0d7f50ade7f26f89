package notify

import (
	"testing"

	"serin.dev/serin/pkg/canary"
)

// TestAStepOfCopiesIsToldAsOne has no message speak of 0% of the traffic, of which
// nobody could tell what it is for.
func TestAStepOfCopiesIsToldAsOne(t *testing.T) {
	for kind, want := range map[canary.Kind]string{
		canary.KindStep:   "step 1 of 4, copies of 10% of the traffic",
		canary.KindPaused: "paused at copies of 10%",
	} {
		m := messageOf(kind)
		m.View.Step, m.View.Steps, m.View.Weight, m.View.Mirror = 1, 4, 0, 10
		if got := title(m); got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
}
