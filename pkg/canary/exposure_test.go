package canary_test

import (
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
)

// Within a step the weight rises with the canary's pods, and falls with them. If each
// change dealt stable's users anew, they would come to the canary a bit each time, also
// when it is to have fewer.
func TestStablesUsersAreDealtAnewOnceAStep(t *testing.T) {
	value := func(step, weight int) string {
		s := canary.State{
			Phase: canary.Progressing, Rollout: "r1", Step: step, Weight: weight,
			Canary: canary.Side{Deployment: "web"},
			Spec: canary.Spec{Sticky: canary.StickyCookie, StepDeadline: time.Minute,
				Steps: []canary.Step{{Weight: 25}, {Weight: 50}, {Weight: 100}}},
		}
		return canary.TrafficOf(s).Sticky.Stable
	}
	if rising, risen, fallen := value(2, 30), value(2, 50), value(2, 40); rising != risen || risen != fallen {
		t.Errorf("within a step stable's cookies are %s, %s and %s", rising, risen, fallen)
	}
	if before, after := value(1, 25), value(2, 30); before == after {
		t.Errorf("two steps have the same cookie, %s", before)
	}
}
