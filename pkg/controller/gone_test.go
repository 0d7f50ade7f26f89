package controller

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/internal/apiserver"
)

// Without its Service a release has nowhere to be recorded and nobody to serve: it
// ends all the same, and gives back what it has taken.
func TestAReleaseEndsWithoutItsService(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"opted out": func(w *world) { w.annotate("web", "serin.dev/canary", "false") },
		"aborted":   func(w *world) { w.annotate("web", "serin.dev/command", "abort") },
		"the Deployment is deleted too": func(w *world) {
			w.api.Delete("Deployment", "shop", "web")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newShop(t, map[string]any{"serin.dev/canary": "true", "serin.dev/steps": "5%/1m, 100%/1m"})
				_, stop := w.run()
				defer stop()
				before := fmt.Sprint(w.api.Read("VirtualService", "shop", "web")["spec"])
				w.setImage("two")
				w.play(5*time.Minute, "at 5%", func() bool { return w.share() == 5 })
				w.api.Delete("Service", "shop", "web")
				pass(5 * time.Second)
				end(w)
				w.until(5*time.Minute, "the routes are the user's again", func() bool {
					routes := w.api.All("VirtualService")
					return len(routes) == 1 && fmt.Sprint(routes[0]["spec"]) == before && len(apiserver.StringMap(apiserver.Meta(routes[0])["annotations"])) == 1
				})
				held := name == "aborted"
				w.until(time.Minute, "nothing is left", func() bool {
					if d := w.api.Read("Deployment", "shop", "web"); d != nil && (d["spec"].(map[string]any)["paused"] == true) != held {
						return false
					}
					return len(w.api.All("Deployment")) <= 1 && len(w.api.All("DestinationRule")) == 0
				})
			})
		})
	}
}
