package controller

import (
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/internal/apiserver"
)

// A replica that takes over right after the routes were given back doesn't know
// when that was: the subsets stay until proxies surely go by the routes.
func TestTheSubsetsStayWhenAnotherReplicaTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, opted)
		first, endFirst := w.runOver(w.api, testLease("first"))
		w.until(time.Minute, "the first leads", first.Leading)
		second, endSecond := w.runOver(w.api, testLease("second"))
		w.setImage("two")
		w.play(5*time.Minute, "at 5%", func() bool { return w.share() == 5 })
		w.annotate("web", "serin.dev/command", "abort")
		routes := func() bool {
			return len(w.api.All("VirtualService")) == 1 && len(apiserver.StringMap(apiserver.Meta(w.api.Read("VirtualService", "shop", "web"))["annotations"])) == 1
		}
		w.play(5*time.Minute, "the routes are given back", routes)
		given := time.Now()
		if err := endFirst(); err != nil {
			t.Fatal(err)
		}
		w.until(5*time.Second, "the second leads", second.Leading)
		w.until(time.Minute, "the subsets are gone", func() bool { return len(w.api.All("DestinationRule")) == 0 })
		if after := time.Since(given); after < 5*time.Second {
			t.Errorf("the subsets went %s after the routes", after)
		}
		if err := endSecond(); err != nil {
			t.Error(err)
		}
	})
}
