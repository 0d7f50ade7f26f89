package mode

import (
	"testing"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology/topologytest"
)

// What a release in place left is read off the history, unless releases are only
// looked at by now: then how it ended is nobody's state.
func TestTheStateAtRestOfAReleaseInPlace(t *testing.T) {
	for name, c := range map[string]struct {
		annotations, more string
		want              string
	}{
		"asked for":                    {opted, "", "r1"},
		"opted out":                    {"", "", "r1"},
		"only observed":                {"serin.dev/canary: observe", "", ""},
		"observed, and something left": {"serin.dev/canary: observe", theCanary("web"), "r1"},
	} {
		t.Run(name, func(t *testing.T) {
			o := topologytest.Load(t, "shop", "web", (aService("web", "type: ClusterIP") + aDeployment("web", c.annotations) + c.more)[len("\n---\n"):])
			o.History = []canary.Release{{Rollout: "r1", InPlace: true, Outcome: canary.RolledBack}}
			if s, newer, lost := FindState(o); s.Rollout != c.want || newer || lost {
				t.Errorf("%+v, newer %v, lost %v", s, newer, lost)
			}
		})
	}
}
