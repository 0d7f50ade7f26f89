package canary

import (
	"testing"
	"time"
)

// A rollback is verified by blocks, which come as often as metrics are scraped:
// where that is seldom, they are waited for longer.
func TestHowLongARollbackWaitsToBeVerified(t *testing.T) {
	for _, c := range []struct {
		name   string
		width  time.Duration
		within time.Duration // the longest time that is waited
	}{
		{"scraped each second, a minute", time.Second, time.Minute},
		{"scraped each 15 seconds, two minutes", 15 * time.Second, 2 * time.Minute},
		{"scraped each minute, eight", time.Minute, 8 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			w.state = State{
				Version: pairVersion, Rollout: "r1", Phase: RollingBack, Step: 1, Peak: 5, Width: c.width,
				Started: w.now, Since: w.now, Spec: w.spec,
				Canary: Side{Deployment: "web-v2", Subset: "v2", Template: "t2"}, Stable: Side{Deployment: "web-v1", Subset: "v1", Template: "t1"},
			}
			w.o.Traffic = map[ObjectKey]Seen{virtualService("web"): {Rollout: "r1", At: w.now}}
			if p := Decide(w.spec, w.state, w.o, w.now.Add(c.within-time.Second)); p.Next.Phase != RollingBack {
				t.Errorf("a second before it is %s: %s", p.Next.Phase, p.View.Sentence)
			}
			p := Decide(w.spec, w.state, w.o, w.now.Add(c.within))
			if p.Next.Phase != RolledBack || len(p.Tell) != 1 || p.Tell[0].Reason != RollbackUnverified {
				t.Errorf("then it is %s: %s", p.Next.Phase, p.View.Sentence)
			}
		})
	}
}
