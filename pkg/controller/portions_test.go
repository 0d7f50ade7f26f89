package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/prom"
)

// crowd is a bench of many rollouts at a step, and what it asks about closed blocks.
type crowd struct {
	*bench
	mu     sync.Mutex
	asked  []int           // how many rollouts each question is about
	begun  []time.Duration // when, since the first
	atOnce int             // questions under way now, and at most
	most   int
	first  time.Time
}

func newCrowd(n int, takes time.Duration) *crowd {
	c := &crowd{}
	c.bench = newBench(benchOptions{
		blocks: func(ctx context.Context, asks []prom.Ask, _ time.Time) map[string]prom.Answer {
			c.enter(len(asks))
			defer c.leave()
			select {
			case <-time.After(takes):
			case <-ctx.Done():
			}
			return map[string]prom.Answer{}
		},
		assumed: interval, wake: func(cluster.Key, time.Duration) {}, meter: unmetered{}, log: zap.NewNop(),
	})
	for i := range n {
		r := atStep(1, 5)
		c.follow(cluster.Key{Namespace: "shop", Name: fmt.Sprint("web", i)}, r.state, map[canary.ObjectKey]canary.Seen{
			one: {Rollout: r.state.Rollout, Sequence: r.state.Sequence, At: r.written},
		})
	}
	for _, t := range c.trials {
		t.behind = false // as after a while
	}
	return c
}

func (c *crowd) enter(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first.IsZero() {
		c.first = time.Now()
	}
	c.asked, c.begun = append(c.asked, n), append(c.begun, time.Since(c.first))
	c.atOnce++
	c.most = max(c.most, c.atOnce)
}

func (c *crowd) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.atOnce--
}

func TestManyRolloutsAreAskedAboutAPortionAfterTheOther(t *testing.T) {
	for name, c := range map[string]struct {
		rollouts int
		takes    time.Duration
		asked    []int
		begun    []time.Duration
		most     int
	}{
		"a few together": {100, time.Second, []int{100}, []time.Duration{0}, 1},
		"the next ones after the answer about those before": {
			250, 300 * time.Millisecond, []int{100, 100, 50}, []time.Duration{0, 300 * time.Millisecond, 600 * time.Millisecond}, 1,
		},
		"several at once where Prometheus is slow, but never many": {
			600, 2200 * time.Millisecond, []int{100, 100, 100, 100, 100, 100},
			[]time.Duration{0, 500 * time.Millisecond, time.Second, 1500 * time.Millisecond, 2200 * time.Millisecond, 2700 * time.Millisecond}, portionsAtOnce,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCrowd(c.rollouts, c.takes)
				pass(2*interval + 5*time.Second) // the first block is closed
				b.keepUp(t.Context())
				if !slices.Equal(b.asked, c.asked) || !slices.Equal(b.begun, c.begun) || b.most != c.most {
					t.Errorf("asked about %v at %v, %d at once; want %v at %v, %d", b.asked, b.begun, b.most, c.asked, c.begun, c.most)
				}
			})
		})
	}
}

func TestWhatMayBreakALimitIsAskedAboutFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCrowd(300, time.Second)
		for i := range 3 {
			b.trials[cluster.Key{Namespace: "shop", Name: fmt.Sprint("web", 200+i)}].suspect = true
		}
		pass(2*interval + 5*time.Second)
		b.keepUp(t.Context())
		if want := []int{3, 100, 100, 97}; !slices.Equal(b.asked, want) {
			t.Errorf("asked about %v, want %v", b.asked, want)
		}
	})
}

func TestNothingIsAskedOnceTheReplicaStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCrowd(1000, time.Hour)
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		pass(2*interval + 5*time.Second)
		began := time.Now()
		b.keepUp(ctx)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it went on for %s", took)
		}
	})
}

func TestNumbersAreShownTheSoonerTheFewerThereAre(t *testing.T) {
	width := 15 * time.Second
	for among, most := range map[int]time.Duration{1: 10 * time.Millisecond, 100: time.Second, 1000: 10 * time.Second, 10_000: 10 * time.Second} {
		longest := time.Duration(0)
		for i := range 10_000 {
			longest = max(longest, spread(cluster.Key{Namespace: "shop", Name: fmt.Sprint("web", i)}, among, width))
		}
		if longest > most || longest < most*9/10 {
			t.Errorf("among %d one waits for %s, want at most %s and no less than nine tenths of it", among, longest, most)
		}
	}
}

func TestThoseThatFailMostAreAskedAboutFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCrowd(250, time.Second)
		var asked []string
		b.options.blocks = func(_ context.Context, asks []prom.Ask, _ time.Time) map[string]prom.Answer {
			for _, a := range asks {
				asked = append(asked, a.Service)
			}
			return map[string]prom.Answer{}
		}
		for name, failures := range map[string]int64{"web0": 1, "web99": 2, "web249": 3} {
			b.trials[cluster.Key{Namespace: "shop", Name: name}].failures = failures
		}
		pass(2*interval + 5*time.Second)
		b.keepUp(t.Context())
		if want := []string{"web249", "web99", "web0"}; len(asked) != 250 || !slices.Equal(asked[:3], want) {
			t.Errorf("of %d asked about the first are %v, want %v", len(asked), asked[:min(3, len(asked))], want)
		}
	})
}

func TestPortionsGiveWayToWhatMayBeABreach(t *testing.T) {
	for name, c := range map[string]struct {
		looks time.Duration // from the middle of the first portion on
		begun []time.Duration
	}{
		"until it was looked at": {200 * time.Millisecond, []time.Duration{0, 350 * time.Millisecond, 650 * time.Millisecond}},
		"but not for ever":       {time.Hour, []time.Duration{0, 800 * time.Millisecond, 1100 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCrowd(250, 300*time.Millisecond)
				pass(2*interval + 5*time.Second)
				go func() {
					pass(150 * time.Millisecond)
					defer b.hurry()()
					pass(c.looks)
				}()
				b.keepUp(t.Context())
				if !slices.Equal(b.begun, c.begun) {
					t.Errorf("asked at %v, want %v", b.begun, c.begun)
				}
				pass(c.looks)
			})
		})
	}
}
