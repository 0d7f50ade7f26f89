package controller

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/internal/apiserver"
)

// The tests in place stand on what the in-memory server does with Deployments.

func TestADeploymentOfTheTestsRollsWithinItsLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld(t)
		w.api.Manage(w.t.Context()).Broken["bad"] = true
		w.single(4, nil)
		w.setImage("two")
		least, most := 4, 0
		w.until(time.Minute, "updated", func() bool {
			s := w.status("web")
			least, most = min(least, int(s.AvailableReplicas)), max(most, int(s.Replicas))
			return w.updated()
		})
		if least < 3 || most != 5 {
			t.Errorf("there were %d to %d pods, want 3 to 5", least, most)
		}
		pass(5 * time.Second)
		if got := w.images(); !maps.Equal(got, map[string]int{"two": 4}) {
			t.Errorf("at the end run %v", got)
		}
		w.setImage("bad")
		pass(time.Minute)
		if s := w.status("web"); s.AvailableReplicas != 3 || s.UpdatedReplicas != 2 || s.UnavailableReplicas != 1 {
			t.Errorf("an image that never becomes ready leaves %+v", s)
		}
	})
}

func TestADeploymentOfTheTestsIsHeldByTheGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld(t)
		w.api.Manage(w.t.Context())
		w.single(4, map[string]any{"serin.dev/canary": "true"})
		w.setImage("two")
		w.set("replicas", 6)
		w.until(time.Minute, "scaled", func() bool { return w.status("web").ReadyReplicas == 6 })
		if s := w.status("web"); s.UpdatedReplicas != 0 || s.ObservedGeneration != 4 { // the revision that its controller writes counts, too
			t.Errorf("while it is held its status is %+v", s)
		}
		w.setImage("one")
		pass(3 * time.Second)
		if s := w.status("web"); s.UpdatedReplicas != 6 {
			t.Errorf("held with what runs its status is %+v", s)
		}
		w.setImage("two")
		w.set("paused", false)
		w.until(time.Minute, "resumed by hand", w.updated)
		if notes := apiserver.StringMap(apiserver.Meta(w.api.Read("Deployment", "shop", "web"))["annotations"]); notes["serin.dev/held"] == "" || notes[apiserver.RevisionKey] != "2" {
			t.Errorf("its annotations are %v", notes)
		}
		w.setImage("one")
		pass(3 * time.Second)
		if notes := apiserver.StringMap(apiserver.Meta(w.api.Read("Deployment", "shop", "web"))["annotations"]); notes[apiserver.RevisionKey] != "3" || w.images()["two"] != 6 {
			t.Errorf("held with an old template it has %v, and runs %v", notes, w.images())
		}
	})
}

func TestPodsOfTheTestsGoAfterTheirOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := emptyWorld(t)
		w.api.Manage(w.t.Context())
		w.single(2, nil)
		w.api.Delete("Deployment", "shop", "web")
		pass(2 * time.Second)
		if n := len(w.api.All("ReplicaSet")); n != 0 || len(w.api.All("Pod")) != 2 {
			t.Errorf("2 s later there are %d ReplicaSets and %d pods, want none and 2 that are going", n, len(w.api.All("Pod")))
		}
		pass(5 * time.Second)
		if pods := w.api.All("Pod"); len(pods) != 0 {
			t.Errorf("7 s later there still are %d pods", len(pods))
		}
		if got := strings.Join(w.api.Writes(), " "); got != "" {
			t.Errorf("what the server does itself counts as writes: %s", got)
		}
	})
}
