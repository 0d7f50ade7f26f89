package controller

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// TestAQuickRolloutShortensNobodyElsesPatience has a Prometheus that takes four
// seconds: too long for blocks of a second, and soon enough for longer ones, also
// where much is to be read again.
func TestAQuickRolloutShortensNobodyElsesPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		b := newTestBench(m, zap.NewNop())
		b.options.blocks = func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			select {
			case <-time.After(4 * time.Second):
				return m.blocks(ctx, asks, now)
			case <-ctx.Done():
				out := map[string]prom.Answer{}
				for _, a := range asks {
					out[a.Key] = prom.Answer{Err: ctx.Err()}
				}
				return out
			}
		}
		quick, slow := cluster.Key{Namespace: "shop", Name: "quick"}, cluster.Key{Namespace: "shop", Name: "slow"}
		r := atStep(1, 5)
		pass(20 * time.Minute) // and then Serin is started
		for key, width := range map[cluster.Key]time.Duration{quick: time.Second, slow: 15 * time.Second} {
			s := r.state
			s.Width = width
			b.follow(key, s, carried(s, r.written, one, two))
		}
		defer start(t, b)()
		pass(10 * time.Minute)
		for range 60 {
			if v := b.verdict(slow, r.state, time.Now()); v.Kind == judge.NoData || v.Kind == "" {
				t.Fatalf("of blocks of 15s there is %q: %s", v.Kind, v.Sentence)
			}
			pass(time.Second)
		}
	})
}
