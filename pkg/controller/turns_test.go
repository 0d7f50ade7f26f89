package controller

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/internal/apiserver"
	"serin.dev/serin/pkg/canary"
)

// TestObserveModeOfOneLeavesNothingOfTheOthersRelease has Serin lead web-v2 and
// only observe web-v1, which is looked at once web-v2 has the users.
func TestObserveModeOfOneLeavesNothingOfTheOthersRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.annotate("web-v1", "serin.dev/canary", "observe")
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(30*time.Minute, "promoted", func() bool { return slices.Contains(w.reasons(), string(canary.Promoted)) })
		w.until(time.Minute, "watched", func() bool { return phase(c) == string(canary.Watched) })
		pass(time.Minute)

		left := text(t, apiserver.Meta(w.api.Read("VirtualService", "shop", "web")))
		if strings.Contains(left, "serin") {
			t.Errorf("of the release is left: %s", left)
		}
		if got := w.weight("web"); got != 100 {
			t.Errorf("the version that was promoted has %d%%", got)
		}
	})
}

func TestObserveModeOfBothKeepsApartWhoIsWho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.annotate("web-v1", "serin.dev/canary", "observe")
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", watchOnly)
		w.until(time.Minute, "watched", func() bool { return phase(c) == string(canary.Watched) })
		for _, weight := range []float64{5, 60} {
			w.byHand(weight)
			pass(time.Minute)
			if v := c.Views()[0]; v.Canary.Deployment != "web-v2" || v.Weight != int(weight) {
				t.Errorf("at %v%% of web-v2 it shows %s with %d%%", weight, v.Canary.Deployment, v.Weight)
			}
		}
	})
}

func TestAPromotionIsUndoneByACommandOnWhatWasPromotedAlsoWhileTheOtherWaitsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(30*time.Minute, "the first is promoted", func() bool { return w.weight("web") == 100 && phase(c) == string(canary.Succeeded) })
		w.deploy("web-v1", "v1", "three", opted)
		w.until(30*time.Minute, "the second is promoted", func() bool { return w.weight("web") == 0 && phase(c) == string(canary.Succeeded) })
		pass(time.Hour)
		w.annotate("web-v1", "serin.dev/command", "rollback#1")
		w.until(time.Minute, "users are back", func() bool { return w.weight("web") == 100 })
		w.until(5*time.Minute, "at rest", func() bool { return phase(c) == string(canary.RolledBack) })
		writes := len(w.api.Writes())
		pass(time.Hour)
		if more := w.api.Writes()[writes:]; len(more) > 0 || w.weight("web") != 100 {
			t.Errorf("the command that stands acts again: %v", more)
		}
	})
}
