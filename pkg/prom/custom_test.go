package prom

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
)

const (
	allCheckouts = `sum by (pod) (checkouts_total{namespace="{{namespace}}", pod=~"{{pods}}"})`
	badCheckouts = `sum by (pod) (checkouts_total{pod=~"{{pods}}", result="failed"})`
	okCheckouts  = `sum by (pod) (checkouts_total{pod=~"{{pods}}", result="ok"})`
)

var (
	checkouts = Custom{
		Template: Template{Name: "checkout-success", Bad: badCheckouts, Total: allCheckouts},
		Limit:    judge.Custom{Name: "checkout-success", AtLeast: true, Bound: .99},
	}
	queue = Custom{
		Template: Template{Name: "queue", Gauge: `max by (pod) (queue_length{pod=~"{{pods}}"})`},
		Limit:    judge.Custom{Name: "queue", Bound: 10, Gauge: true},
	}
)

func with(c Custom, change func(*Custom)) Custom {
	change(&c)
	return c
}

// shop is an application's process with counters of its own.
type shop struct {
	db  *tsdb
	pod string
}

// counts stores the counter's values at 5, 15, 25 ... seconds; NaN: stale, -1: none.
func (s shop) counts(result string, values ...float64) {
	for i, v := range values {
		if v >= 0 || math.IsNaN(v) {
			s.db.put(float64(i)*10+5, v, "__name__", "checkouts_total", "namespace", "shop", "pod", s.pod, "result", result)
		}
	}
}

func (s shop) queue(values ...float64) {
	for i, v := range values {
		s.db.put(float64(i)*10+5, v, "__name__", "queue_length", "pod", s.pod)
	}
}

func pair(p judge.Pair) string {
	if p.Missing != "" {
		return "missing: " + p.Missing
	}
	return fmt.Sprintf("stable %d of %d, canary %d of %d", p.Stable.Hits, p.Stable.N, p.Canary.Hits, p.Canary.N)
}

// TestCustom: two blocks, of 10 to 20 s and to 30 s; their borders see the
// values 0, 1 and 2.
func TestCustom(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name  string
		asked Custom
		world func(stable, canary, other shop)
		want  [2]string
	}{
		{
			name: "the bad among all", asked: checkouts,
			world: func(stable, canary, other shop) {
				stable.counts("ok", 100, 190, 290)
				stable.counts("failed", 1, 2, 2)
				canary.counts("ok", 10, 18, 28)
				canary.counts("failed", -1, 2, 7)
				other.counts("ok", 5, 5, 6)
			},
			want: [2]string{"stable 1 of 91, canary 2 of 10", "stable 0 of 100, canary 5 of 16"},
		},
		{
			name: "the rest of the good", asked: with(checkouts, func(c *Custom) { c.Template.Bad, c.Template.Good = "", okCheckouts }),
			world: func(stable, canary, _ shop) {
				stable.counts("ok", 100, 190, 290)
				stable.counts("failed", 1, 2, 2)
				canary.counts("failed", 0, 3, 4)
			},
			want: [2]string{"stable 1 of 91, canary 3 of 3", "stable 0 of 100, canary 1 of 1"},
		},
		{
			name: "a counter of the good that nobody has", asked: with(checkouts, func(c *Custom) { c.Template.Bad, c.Template.Good = "", strings.ReplaceAll(okCheckouts, "ok", "fine") }),
			world: func(stable, canary, _ shop) {
				stable.counts("ok", 100, 190, 290)
				canary.counts("ok", 10, 20, 30)
			},
			want: [2]string{
				"missing: metric checkout-success of the canary: good has no series of either track",
				"missing: metric checkout-success of the canary: good has no series of either track",
			},
		},
		{
			name: "good from a process that restarted and all from one that didn't", asked: with(checkouts, func(c *Custom) {
				c.Template.Bad, c.Template.Good = "", okCheckouts
				c.Template.Total = strings.ReplaceAll(okCheckouts, "ok", "any")
			}),
			world: func(_, canary, _ shop) {
				canary.counts("ok", 100, 110, 3)
				canary.counts("any", 100, 111, 122)
			},
			want: [2]string{
				"stable 0 of 0, canary 1 of 11",
				"missing: metric checkout-success of the canary: good and total don't come from the same processes",
			},
		},
		{
			name: "a restart counts from nothing", asked: checkouts,
			world: func(stable, canary, _ shop) {
				stable.counts("ok", 100, 190, 290)
				canary.counts("ok", 100, 120, 3)
				canary.counts("failed", 10, 12, 2)
			},
			want: [2]string{"stable 0 of 90, canary 2 of 22", "stable 0 of 100, canary 2 of 5"},
		},
		{
			name: "a process that is back is no new one, and a new one is", asked: checkouts,
			world: func(stable, canary, other shop) {
				stable.counts("ok", 100, 190, 290)
				canary.counts("ok", 100, nan, 130)
				canary.counts("failed", 50, nan, 51)
				other.counts("ok", -1, 7, 9)
				other.counts("failed", -1, -1, 1)
			},
			want: [2]string{"stable 0 of 90, canary 0 of 7", "stable 0 of 100, canary 2 of 34"},
		},
		{
			name: "a sum that fell", asked: with(checkouts, func(c *Custom) {
				c.Template.Bad = strings.ReplaceAll(badCheckouts, "by (pod)", "by (namespace)")
				c.Template.Total = strings.ReplaceAll(allCheckouts, "by (pod)", "by (namespace)")
			}),
			world: func(stable, canary, other shop) {
				stable.counts("ok", 100, 190, 290)
				canary.counts("ok", 100, 110, 120)
				other.counts("ok", 90, nan, 95)
			},
			want: [2]string{
				"missing: metric checkout-success of the canary: a sum fell, as when a pod goes, and what comes back with it is not new: keep the pods apart, as in sum by (pod) (...)",
				"missing: metric checkout-success of the canary: a sum fell, as when a pod goes, and what comes back with it is not new: keep the pods apart, as in sum by (pod) (...)",
			},
		},
		{
			name: "no series of the canary", asked: checkouts,
			world: func(stable, _, _ shop) { stable.counts("ok", 100, 190, 290) },
			want:  [2]string{"missing: metric checkout-success of the canary: it has no series", "missing: metric checkout-success of the canary: it has no series"},
		},
		{
			name: "no series of stable", asked: checkouts,
			world: func(_, canary, _ shop) { canary.counts("ok", 100, 190, 290) },
			want:  [2]string{"stable 0 of 0, canary 0 of 90", "stable 0 of 0, canary 0 of 100"},
		},
		{
			name: "metrics that begin here", asked: checkouts,
			world: func(stable, canary, _ shop) {
				stable.counts("ok", -1, 190, 290)
				canary.counts("failed", -1, 19, 29)
			},
			want: [2]string{"missing: metric checkout-success of the canary: it begins here: what its counters held before is not of this block", "stable 0 of 100, canary 10 of 10"},
		},
		{
			name: "more bad than all", asked: with(checkouts, func(c *Custom) { c.Template.Total = okCheckouts }),
			world: func(_, canary, _ shop) {
				canary.counts("ok", 0, 1, 21)
				canary.counts("failed", 0, 2, 3)
			},
			want: [2]string{
				"missing: metric checkout-success of the canary: it counted 2 among 1: total must count good and bad, in the same processes",
				"stable 0 of 0, canary 1 of 20",
			},
		},
		{
			name: "a value that no counter has spoils its blocks only", asked: checkouts,
			world: func(_, canary, _ shop) { canary.counts("ok", math.Inf(1), 10, 20) },
			want: [2]string{
				"missing: metric checkout-success of the canary: it has the value +Inf, which no counter has",
				"stable 0 of 0, canary 0 of 10",
			},
		},
		{
			name: "the worst of a gauge's values", asked: queue,
			world: func(stable, canary, other shop) {
				stable.queue(1, 1, 10)
				canary.queue(1, 11, 2)
				other.queue(0, 0, 0)
			},
			want: [2]string{"stable 0 of 1, canary 1 of 1", "stable 0 of 1, canary 0 of 1"},
		},
		{
			name: "a gauge with a lower limit", asked: with(queue, func(c *Custom) { c.Limit.AtLeast = true }),
			world: func(stable, canary, other shop) {
				stable.queue(1, 1, 10)
				canary.queue(1, 11, 12)
				other.queue(0, 12, 9.9)
			},
			want: [2]string{"stable 1 of 1, canary 0 of 1", "stable 0 of 1, canary 1 of 1"},
		},
		{
			name: "a gauge without a value", asked: queue,
			world: func(_, canary, _ shop) { canary.queue(1, 1, nan) },
			want:  [2]string{"stable 0 of 0, canary 0 of 1", "missing: metric queue of the canary: it has no series"},
		},
		{
			name: "a template with a mistake", asked: with(queue, func(c *Custom) { c.Template.Gauge = "{{x}}" }),
			world: func(_, _, _ shop) {},
			want: [2]string{
				`missing: read metric queue of stable: metric "queue": gauge: the placeholder at "{{x}}" is outside of a string literal: placeholders stand in the strings of label matchers, as in namespace="{{namespace}}"`,
				`missing: read metric queue of stable: metric "queue": gauge: the placeholder at "{{x}}" is outside of a string literal: placeholders stand in the strings of label matchers, as in namespace="{{namespace}}"`,
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := newTSDB()
			c.world(shop{db, "web-v1-5d9f-aaaaa"}, shop{db, "web-v2-6c8b-bbbbb"}, shop{db, "web-v2-6c8b-ccccc"})
			a := theAsk()
			a.From, a.Custom = after(10), []Custom{c.asked}
			blocks := mustBlocks(t, db, a, after(43)).Blocks
			if len(blocks) != 2 {
				t.Fatalf("%d blocks", len(blocks))
			}
			for i, b := range blocks {
				if got := pair(b.Custom[0]); got != c.want[i] {
					t.Errorf("block %d: got  %s\nwant %s", i, got, c.want[i])
				}
			}
		})
	}
}

func TestASumThatFellIsBelievedAgainLater(t *testing.T) {
	db := newTSDB()
	var values []float64
	for i := range 40 {
		values = append(values, float64(100+i*10))
	}
	values[5] = 20
	shop{db, "web-v2-6c8b-bbbbb"}.counts("ok", values...)
	a := theAsk()
	a.Custom = []Custom{with(checkouts, func(c *Custom) {
		c.Template.Bad = strings.ReplaceAll(badCheckouts, "by (pod)", "by (namespace)")
		c.Template.Total = strings.ReplaceAll(allCheckouts, "by (pod)", "by (namespace)")
	})}
	missing := 0
	blocks := mustBlocks(t, db, a, after(400)).Blocks
	for _, b := range blocks[2:] {
		if b.Custom[0].Missing != "" {
			missing++
		}
	}
	if last := pair(blocks[len(blocks)-1].Custom[0]); missing != lookBack || last != "stable 0 of 0, canary 0 of 10" {
		t.Errorf("%d blocks are missing, and the last is %s", missing, last)
	}
}

func TestAMetricsFailedQueryLeavesTheRestOfTheBlock(t *testing.T) {
	db, p := newTSDB(), twoServers()
	for i := range 4 {
		ordinary(i, p)
		for _, e := range p {
			e.scrape(db, after(float64(i)*10+5), 0)
		}
		shop{db, "web-v2-6c8b-bbbbb"}.queue(1, 1, 1, 1)
	}
	db.now = after(43)
	failing := func(ctx context.Context, promql string, start, end time.Time, step time.Duration) (Matrix, error) {
		if strings.Contains(promql, "checkouts_total") {
			return Matrix{}, errors.New("parse error")
		}
		return db.query(ctx, promql, start, end, step)
	}
	a := theAsk()
	a.From, a.Custom = after(20), []Custom{checkouts, queue}
	got := Blocks(context.Background(), failing, []Ask{a}, db.now)["web"]
	if got.Err != nil || tell(got.Blocks) != " 20s stable 30; canary 10\n" {
		t.Fatalf("%v\n%s", got.Err, tell(got.Blocks))
	}
	custom := got.Blocks[0].Custom
	if one, other := pair(custom[0]), pair(custom[1]); one != "missing: read metric checkout-success of stable: parse error" || other != "stable 0 of 0, canary 0 of 1" {
		t.Errorf("%s; %s", one, other)
	}
}

// TestCustomLiveIsReplay: processes that restart, come, go and fail to be
// scraped give the same, asked block by block and at once.
func TestCustomLiveIsReplay(t *testing.T) {
	for seed := range uint64(4) {
		db, random := newTSDB(), chance(seed)
		type process struct{ ok, failed float64 }
		processes := make([]process, 6)
		a := theAsk()
		a.From = after(30)
		a.Custom = []Custom{checkouts, queue, with(checkouts, func(c *Custom) { c.Template.Bad, c.Template.Good = "", okCheckouts })}
		live := a
		var seen []judge.Block
		for at := 0.0; at < 600; at += 10 {
			for i := range processes {
				p := &processes[i]
				pod := fmt.Sprintf("web-v%d-6c8b-%d", i%2+1, i)
				ok, failed := p.ok, p.failed
				switch random.IntN(12) {
				case 0:
					*p = process{}
					continue
				case 1:
					ok, failed = math.NaN(), math.NaN()
				}
				db.put(at+5, ok, "__name__", "checkouts_total", "namespace", "shop", "pod", pod, "result", "ok")
				db.put(at+5, failed, "__name__", "checkouts_total", "namespace", "shop", "pod", pod, "result", "failed")
				db.put(at+5, float64(random.IntN(14)), "__name__", "queue_length", "pod", pod)
				p.ok += float64(random.IntN(20))
				p.failed += float64(random.IntN(2))
			}
			answer := mustBlocks(t, db, live, after(at+9))
			for _, b := range answer.Blocks {
				live.From = b.End()
			}
			seen = append(seen, answer.Blocks...)
		}
		replayed := mustBlocks(t, db, a, after(599)).Blocks
		if len(seen) < 50 || !reflect.DeepEqual(seen, replayed) {
			t.Errorf("seed %d: live\n%+v\nreplayed\n%+v", seed, seen, replayed)
		}
		known := 0
		for _, b := range seen {
			for _, p := range b.Custom {
				if p.Missing == "" {
					known++
				}
				if p.Canary.N > 200 || p.Stable.N > 200 {
					t.Errorf("%+v: old ones were counted again", p)
				}
			}
		}
		if known < 60 {
			t.Errorf("seed %d: only %d are known", seed, known)
		}
	}
}
