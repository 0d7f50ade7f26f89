package controller

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/pkg/route"
)

// spec is a VirtualService's as it is written.
func (w *world) spec(name string) any {
	return w.api.Read("VirtualService", "shop", name)["spec"]
}

// mirrored is the share of requests of which the canary is sent a copy, percent.
func (w *world) mirrored(name string) int {
	svc := route.Service{Namespace: "shop", Name: "web", ClusterDomain: "cluster.local"}
	return route.Read(w.api.Read("VirtualService", "shop", name), svc, "v1", "v2").Mirror
}

var copied = map[string]any{"serin.dev/canary": "true", "serin.dev/steps": "mirror 10%/2m, mirror 50%/2m, 25%/2m, 100%/2m"}

// TestACanaryThatFailsItsCopiesNeverGetsAUser has it rolled back while it is sent copies,
// after which the routes are what they were.
func TestACanaryThatFailsItsCopiesNeverGetsAUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		before := w.spec("web")
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", copied)
		w.until(5*time.Minute, "copies of 10%", func() bool { return w.mirrored("web") == 10 })
		w.mesh.setErrors(0.5)
		w.until(time.Minute, "the copies are off", func() bool {
			if got := w.weight("web"); got != 0 {
				t.Fatalf("the canary has %d%%", got)
			}
			return w.mirrored("web") == 0
		})
		w.until(5*time.Minute, "rolled back", func() bool { return phase(c) == "RolledBack" })
		if after := w.spec("web"); !route.Equal(after, before) {
			t.Errorf("the routes were\n%v\nand are\n%v", before, after)
		}
	})
}

// TestCopiesComeBeforeUsers has a good version go all the way, and its stretches of
// copies asked about as such.
func TestCopiesComeBeforeUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", copied)
		var seen []string
		w.until(time.Hour, "promoted", func() bool {
			if now := fmt.Sprintf("%d/%d", w.mirrored("web"), w.weight("web")); len(seen) == 0 || seen[len(seen)-1] != now {
				seen = append(seen, now)
			}
			return phase(c) == "Succeeded"
		})
		if got, want := strings.Join(seen, " "), "0/0 10/0 50/0 0/25 0/100"; got != want {
			t.Errorf("copies and users were %s, want %s", got, want)
		}
		asked := map[int]bool{}
		for _, a := range w.mesh.questions() {
			asked[a.Mirror] = true
			if a.Mirror > 0 && a.Weight > 0 {
				t.Errorf("it was asked about copies of %d%% at %d%%", a.Mirror, a.Weight)
			}
		}
		if !asked[10] || !asked[50] {
			t.Errorf("it was asked about copies %v", asked)
		}
	})
}
