package controller

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The watches stand still just when a release ends: each pass finds that the end
// was not recorded, as far as it can see, and must not write it again and again.
func TestAnEndThatTheInformersMissedIsRecordedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, opted)
		c, stop := w.run()
		defer stop()
		w.setImage("two")
		w.until(10*time.Minute, "on its way to the end", func() bool { return phase(c) == "Finishing" })
		w.api.Hold("controllerrevisions", true)
		pass(2 * time.Minute)
		w.api.Hold("controllerrevisions", false)
		w.until(time.Minute, "at rest", w.atRest)
		writes := 0
		for _, call := range w.api.Writes() {
			if strings.Contains(call, "controllerrevisions") {
				writes++
			}
		}
		if writes != 1 {
			t.Errorf("the end was written %d times", writes)
		}
	})
}

// The one write that ends a release by opting out may be the last of its process:
// the release is kept all the same.
func TestAReleaseThatIsOptedOutIsKeptThoughTheProcessEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		way := &mortal{api: w.api, last: 1 << 30}
		_, end := w.runOver(way, nil)
		w.deploy("web-v2", "v2", "two", opted)
		w.until(2*time.Minute, "at 25%", func() bool { return w.weight("web") == 25 })
		way.mu.Lock()
		way.last, way.done = way.count+1, true
		way.mu.Unlock()
		w.annotate("web-v2", "serin.dev/canary", "")
		pass(time.Minute)
		if err := end(); err != nil {
			t.Error(err)
		}
		_, stop := w.run()
		defer stop()
		w.until(time.Minute, "kept, and nothing of it is left on the routes", func() bool {
			vs := w.api.Read("VirtualService", "shop", "web")
			notes, _ := vs["metadata"].(map[string]any)["annotations"].(map[string]any)
			return len(w.api.All("ControllerRevision")) == 1 && len(notes) == 0 && w.weight("web") == 0
		})
	})
}
