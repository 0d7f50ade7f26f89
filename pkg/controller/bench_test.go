package controller

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

var (
	shopWeb = cluster.Key{Namespace: "shop", Name: "web"}
	one     = canary.ObjectKey{Kind: "VirtualService", Namespace: "shop", Name: "one"}
	two     = canary.ObjectKey{Kind: "VirtualService", Namespace: "shop", Name: "two"}
)

// oracle answers with good blocks from where it was asked, at most limit at once.
type oracle struct {
	asked []prom.Ask
	limit int
	err   error
}

func (o *oracle) blocks(_ context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
	out := map[string]prom.Answer{}
	for _, a := range asks {
		o.asked = append(o.asked, a)
		answer := prom.Answer{Err: o.err}
		for start := a.From.Truncate(a.Width).Add(a.Width); o.err == nil && start.Before(prom.Closed(now, a.Width)) && len(answer.Blocks) < o.limit; start = start.Add(a.Width) {
			answer.Blocks = append(answer.Blocks, judge.Block{
				Start: start, Width: a.Width, Step: a.Step, Weight: a.Weight, Stable: sample(1000, 0), Canary: sample(100, 0),
			})
		}
		out[a.Key] = answer
	}
	return out
}

func newTestBench(o *oracle, log *zap.Logger) *bench {
	if o.limit == 0 {
		o.limit = 1000
	}
	return newBench(benchOptions{
		blocks: o.blocks, interval: interval,
		wake: func(cluster.Key) {}, meter: unmetered{}, log: log,
	})
}

func atStep(step, weight int, sequence int64) canary.State {
	return canary.State{
		Rollout: "r", Sequence: sequence, Phase: canary.Progressing, Step: step, Weight: weight, Peak: weight, Width: interval,
		Canary: canary.Side{Deployment: "web-v2"}, Stable: canary.Side{Deployment: "web-v1"},
		Spec: canary.Spec{Limits: judge.Limits{ErrorRate: 0.01, P99: time.Second}, Rules: judge.DefaultRules()},
	}
}

func carried(s canary.State, at time.Time, keys ...canary.ObjectKey) map[canary.ObjectKey]canary.Seen {
	seen := map[canary.ObjectKey]canary.Seen{one: {}, two: {}}
	for _, k := range keys {
		seen[k] = canary.Seen{Rollout: s.Rollout, Sequence: s.Sequence, At: at}
	}
	return seen
}

func TestAStepIsJudgedByItsOwnEvidenceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{}
		b := newTestBench(o, zap.NewNop())
		first := atStep(1, 5, 1)
		b.follow(shopWeb, first, carried(first, time.Now(), one, two))
		pass(time.Minute)
		b.round(t.Context())
		if v := b.verdict(shopWeb, first, time.Now()); v.Kind != judge.Promote || v.Covered < 40*time.Second {
			t.Fatalf("after a good minute the verdict is %s over %s, want Promote", v.Kind, v.Covered)
		}
		second := atStep(2, 25, 2)
		if v := b.verdict(shopWeb, second, time.Now()); v.Kind != "" {
			t.Errorf("the next step begins with the verdict %s of the step before", v.Kind)
		}
		b.follow(shopWeb, second, carried(second, time.Now(), one, two))
		if v := b.verdict(shopWeb, second, time.Now()); v.Kind == judge.Promote || v.Covered != 0 {
			t.Errorf("the next step begins with %s over %s", v.Kind, v.Covered)
		}
	})
}

func TestWhatHappensIsJudgedFromTheFirstRouteAndTheBakeFromTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{}
		b := newTestBench(o, zap.NewNop())
		s := atStep(1, 5, 1)
		if b.follow(shopWeb, s, carried(s, time.Time{})); len(b.asks()) != 0 {
			t.Error("a step that is written nowhere is asked about")
		}
		b.follow(shopWeb, s, carried(s, time.Now(), one))
		pass(time.Minute)
		b.round(t.Context())
		if v := b.verdict(shopWeb, s, time.Now()); v.Covered == 0 {
			t.Error("with one of two routes written nobody judges")
		}
		last := time.Now()
		seen := carried(s, last, one, two)
		seen[one] = canary.Seen{Rollout: s.Rollout, Sequence: s.Sequence, At: last.Add(-time.Minute)}
		b.follow(shopWeb, s, seen)
		if v := b.verdict(shopWeb, s, time.Now()); v.Covered != 0 {
			t.Errorf("the bake of %s counts what came before the last route", v.Covered)
		}
		if from := b.asks()[shopWeb].From; !from.Equal(last) {
			t.Errorf("it asks from %s, want %s", from, last)
		}
	})
}

func TestALongReplayComesInPartsWithoutWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{limit: 100}
		b := newTestBench(o, zap.NewNop())
		s := atStep(1, 5, 1)
		b.follow(shopWeb, s, carried(s, time.Now().Add(-time.Hour), one, two))
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), interval/2)
		defer cancel()
		b.run(ctx)
		if v := b.verdict(shopWeb, s, time.Now()); v.Covered < 55*time.Minute {
			t.Errorf("after %s it knows %s of the hour, in %d questions", time.Since(began), v.Covered, len(o.asked))
		}
	})
}

func TestAnAnswerThatComesTooLateIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{}
		b := newTestBench(o, zap.NewNop())
		s := atStep(1, 5, 1)
		b.follow(shopWeb, s, carried(s, time.Now(), one, two))
		pass(time.Minute)
		asked := b.asks()[shopWeb]
		answer := o.blocks(t.Context(), []prom.Ask{asked}, time.Now())[asked.Key]
		next := atStep(2, 25, 2)
		b.follow(shopWeb, next, carried(next, time.Now(), one, two))
		b.fold(shopWeb, asked, answer.Blocks, time.Now())
		if v := b.verdict(shopWeb, next, time.Now()); v.Covered != 0 {
			t.Errorf("the step before gave the next one %s", v.Covered)
		}
	})
}

func TestWhoIsAskedAbout(t *testing.T) {
	rollingBack := func(weight, peak int) canary.State {
		s := atStep(1, weight, 3)
		s.Phase, s.Peak = canary.RollingBack, peak
		return s
	}
	testing0, atRest := atStep(0, 0, 1), atStep(3, 100, 9)
	testing0.Phase, atRest.Phase = canary.Testing, canary.Succeeded
	for name, c := range map[string]struct {
		state canary.State
		want  bool
	}{
		"a canary with weight":                                 {atStep(1, 5, 1), true},
		"none at 0%, where only QA goes":                       {testing0, false},
		"what is left of the traffic in a rollback":            {rollingBack(0, 5), true},
		"no rollback of a canary that never had any":           {rollingBack(0, 0), false},
		"a rollback whose stable can't serve keeps its weight": {rollingBack(5, 5), true},
		"nothing at rest":                                      {atRest, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestBench(&oracle{}, zap.NewNop())
			b.follow(shopWeb, c.state, carried(c.state, time.Now(), one, two))
			if got := len(b.asks()) == 1; got != c.want {
				t.Errorf("asked: %v, want %v", got, c.want)
			}
		})
	}
}

func TestAnOutageOfPrometheusIsLoggedOnceAndItsEndToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zap.InfoLevel)
		o := &oracle{err: errors.New("connection refused")}
		b := newTestBench(o, zap.New(core))
		s := atStep(1, 5, 1)
		b.follow(shopWeb, s, carried(s, time.Now(), one, two))
		for range 3 {
			b.round(t.Context())
		}
		o.err = nil
		for range 3 {
			b.round(t.Context())
		}
		if n := logged.Len(); n != 2 {
			t.Errorf("logged %d lines, want 2: %v", n, logged.All())
		}
	})
}

func TestAStepThatBeginsWithoutPrometheusIsOneWithoutData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{err: errors.New("connection refused")}
		b := newTestBench(o, zap.NewNop())
		s := atStep(1, 5, 1)
		b.follow(shopWeb, s, carried(s, time.Now(), one, two))
		pass(time.Minute)
		b.round(t.Context())
		v := b.verdict(shopWeb, s, time.Now())
		if v.Kind != judge.NoData || v.Step != 1 || v.Weight != 5 {
			t.Errorf("the verdict is %q of step %d at %d%%, want NoData of step 1 at 5%%", v.Kind, v.Step, v.Weight)
		}
		o.err = nil
		b.round(t.Context())
		if v := b.verdict(shopWeb, s, time.Now()); v.Kind != judge.Promote {
			t.Errorf("with answers again the verdict is %s, want Promote", v.Kind)
		}
	})
}
