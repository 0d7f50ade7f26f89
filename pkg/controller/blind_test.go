package controller

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"serin.dev/serin/pkg/canary"
)

func TestBeforeTheFirstStepPrometheusIsLookedAtAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{scrape: 5 * time.Second}
		b := newTestBench(m, zap.NewNop())
		defer start(t, b)()
		r := begin()
		r.show(b)
		learned := func(after time.Duration) (o canary.Observation) {
			pass(after)
			synctest.Wait()
			b.learn(shopWeb, r.state, &o)
			return o
		}
		if o := learned(time.Minute); o.Unseen || o.Unanswered != "" {
			t.Errorf("with answers it learned %+v", o)
		}
		m.setAway(true)
		if o := learned(time.Minute); !strings.Contains(o.Unanswered, "refused") {
			t.Errorf("without an answer it learned %+v", o)
		}
		m.setAway(false)
		if o := learned(time.Minute); o.Unseen || o.Unanswered != "" {
			t.Errorf("with answers again it learned %+v", o)
		}
		m.mu.Lock()
		m.frozen = time.Now()
		m.mu.Unlock()
		if o := learned(time.Minute); !o.Unseen {
			t.Errorf("with samples that came to an end it learned %+v", o)
		}
	})
}
