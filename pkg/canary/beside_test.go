package canary

import (
	"testing"
	"time"
)

// Orders stay as annotations on both Deployments of a pair that take turns. However much
// was ordered on the one since, what stands on the other is none that is new.
func TestAnOrderThatStandsOnTheOtherDeploymentIsNotObeyedAgain(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	state := State{Rollout: "r1", Phase: Succeeded, Weight: 100}
	obey := func(on, id string) {
		m := moment{state: state, o: Observation{Command: &Command{Verb: CommandRetry, ID: id, On: on}}, now: now}
		if _, new := m.verb(); !new {
			t.Fatalf("%s on %s is not new", id, on)
		}
		state = Plan{Next: state}.handling(m.o.Command).Next
	}
	isNew := func(on, id string) bool {
		_, new := moment{state: state, o: Observation{Command: &Command{Verb: CommandRollback, ID: id, On: on}}}.verb()
		return new
	}
	obey("web-v2", "rollback#1")
	obey("web-v1", "retry#2")
	obey("web-v1", "promote#3")
	obey("web-v1", "skip#4")
	if isNew("web-v2", "rollback#1") || isNew("web-v1", "skip#4") {
		t.Error("what stands on both is obeyed again")
	}
	if !isNew("web-v2", "rollback#5") {
		t.Error("what is ordered now is not obeyed")
	}
	if !isNew("web-v1", "rollback#1") {
		t.Error("the id of an order on the other Deployment is none of this one's")
	}
	text, err := EncodeState(state)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := DecodeState(text); err != nil || back.Beside != state.Beside || back.HandledOn != state.HandledOn || back.Version != StateVersion {
		t.Errorf("%s is read as %+v, %v", text, back, err)
	}
}
