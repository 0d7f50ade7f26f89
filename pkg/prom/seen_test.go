package prom

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
)

// told writes up to when both tracks are known.
func told(b judge.Block) string {
	show := func(t time.Time) string {
		if t.IsZero() {
			return "nothing"
		}
		return fmt.Sprint(t.Sub(epoch))
	}
	return fmt.Sprintf("stable %s, canary %s", show(b.Stable.Seen), show(b.Canary.Seen))
}

func twoGateways() []*envoy {
	return []*envoy{
		proxyOf("source", "web-v1", "gw-a"), proxyOf("source", "web-v2", "gw-a"),
		proxyOf("source", "web-v1", "gw-b"), proxyOf("source", "web-v2", "gw-b"),
	}
}

func TestSeenIsAllOfStableAndAnyOfTheCanary(t *testing.T) {
	crew := func(reporter string) []*envoy {
		return []*envoy{
			proxyOf(reporter, "web-v1", "a"), proxyOf(reporter, "web-v1", "b"),
			proxyOf(reporter, "web-v2", "c"), proxyOf(reporter, "web-v2", "d"),
		}
	}
	for _, c := range []struct {
		name    string
		proxies []*envoy
		lost    float64      // failures of the canary that only the gateway sees
		gone    int          // who goes before the second scrape, 1 is the first; 0: nobody
		at      [2][]float64 // seconds at which the proxies are scraped
		ask     func(*Ask)
		want    string
	}{
		{
			name: "several servers of each", proxies: crew("destination"),
			at: [2][]float64{{1, 4, 3, 6}, {11, 14, 13, 16}}, want: "stable 11s, canary 16s",
		},
		{
			name: "one gateway that reports on both", proxies: oneGateway(),
			at: [2][]float64{{5, 5}, {15, 15}}, want: "stable 15s, canary 15s",
		},
		{
			name: "several gateways that report on both are known equally far of both", proxies: twoGateways(),
			at: [2][]float64{{5, 5, 8, 8}, {15, 15, 18, 18}}, want: "stable 18s, canary 18s",
		},
		{
			name: "one of several gateways that no canary request came through", proxies: twoGateways()[:3],
			at: [2][]float64{{5, 5, 2}, {15, 15, 12}}, want: "stable 12s, canary 15s",
		},
		{
			name: "a failed scrape of stable's leaves it unknown", proxies: crew("destination"), gone: 1,
			at: [2][]float64{{1, 4, 3, 6}, {11, 14, 13, 16}}, want: "stable nothing, canary 16s",
		},
		{
			name: "a failed scrape of the canary's is no harm", proxies: crew("destination"), gone: 4,
			at: [2][]float64{{1, 4, 3, 6}, {11, 14, 13, 16}}, want: "stable 11s, canary 13s",
		},
		{
			name: "the gateways' time counts where their failures do", proxies: append(twoServers(), oneGateway()...), lost: 2,
			at: [2][]float64{{6, 7, 2, 2}, {16, 17, 12, 12}}, want: "stable 12s, canary 17s",
		},
		{
			name: "and else does not", proxies: append(twoServers(), oneGateway()...),
			at: [2][]float64{{6, 7, 2, 2}, {16, 17, 12, 12}}, want: "stable 16s, canary 17s",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := newTSDB()
			for round, times := range c.at {
				for i, at := range times {
					c.proxies[i].answers(5, "200", "0", "-", 5)
					if round == 1 && i == len(times)-1 && c.lost > 0 {
						c.proxies[i].answers(c.lost, "503", "", "UF", 5)
					}
					if round == 1 && i+1 == c.gone {
						c.proxies[i].fail(db, after(at), after(at))
						continue
					}
					c.proxies[i].scrape(db, after(at), 0)
				}
			}
			a := theAsk()
			a.From = after(10)
			blocks := mustBlocks(t, db, a, after(33)).Blocks
			if got := told(blocks[0]); got != c.want {
				t.Errorf("got %s, want %s: %+v", got, c.want, blocks[0])
			}
		})
	}
}

func mustOpen(t *testing.T, db *tsdb, a Ask, now time.Time) []judge.Block {
	t.Helper()
	db.now = now
	answer := Open(context.Background(), db.query, []Ask{a}, now)[a.Key]
	if answer.Err != nil {
		t.Fatal(answer.Err)
	}
	return answer.Blocks
}

// TestOpen: two blocks of 10 s are closed at 33 s, and this is what is known of
// the time since 20 s at 36 s.
func TestTimesOfCountersThatWentAreNotSeen(t *testing.T) {
	db, p := newTSDB(), append(twoServers(), proxyOf("destination", "web-v1", "v1-b"))
	for i := range 4 {
		ordinary(i, p)
		p[2].answers(30, "200", "0", "-", 50)
		for n, e := range p {
			if at := after(float64(10*i + 3 + n)); n == 2 && i >= 2 {
				e.fail(db, at, at)
			} else {
				e.scrape(db, at, 0)
			}
		}
	}
	db.now = after(53)
	// lasting answers with times for longer than the counters are there.
	lasting := func(ctx context.Context, promql string, start, end time.Time, step time.Duration) (Matrix, error) {
		m, err := db.query(ctx, promql, start, end, step)
		for i, s := range m.Series {
			last := s.Points[len(s.Points)-1]
			for at := last.At + step.Milliseconds(); strings.Contains(promql, "timestamp(") && at <= end.UnixMilli(); at += step.Milliseconds() {
				m.Series[i].Points = append(m.Series[i].Points, Point{at, last.Value})
			}
		}
		return m, err
	}
	a := theAsk()
	a.From = after(20)
	blocks := Blocks(context.Background(), lasting, []Ask{a}, db.now)["web"].Blocks
	if got := told(blocks[1]); got != "stable 33s, canary 34s" {
		t.Errorf("%s is known", got)
	}
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		name    string
		proxies []*envoy
		ask     func(*Ask)
		last    func(p []*envoy, db *tsdb) // what happens after 20 s
		want    string                     // empty: no block
	}{
		{
			name: "both tracks, the canary up to where all of stable is known", proxies: twoServers(),
			last: func(p []*envoy, db *tsdb) {
				p[1].answers(3, "500", "", "-", 5)
				p[1].scrape(db, after(22), 0)
				p[0].answers(30, "200", "", "-", 5)
				p[0].scrape(db, after(29), 0)
				p[1].answers(5, "500", "", "-", 5) // stable may fail as well by now
				p[1].scrape(db, after(32), 0)
			},
			want: "stable 30 untimed; canary 3 errors 3 untimed; stable 29s, canary 22s",
		},
		{
			name: "at 100% the canary up to now", proxies: twoServers(), ask: func(a *Ask) { a.Weight = 100 },
			last: func(p []*envoy, db *tsdb) {
				p[1].answers(5, "500", "", "-", 5)
				p[1].scrape(db, after(35.9), 0)
			},
			want: "stable 0 silent untimed; canary 5 errors 5 untimed; stable nothing, canary 35.9s",
		},
		{
			name: "of the one gateway all at once", proxies: oneGateway(),
			last: func(p []*envoy, db *tsdb) {
				p[0].answers(9, "500", "", "-", 5)
				p[1].answers(5, "500", "", "-", 5)
				p[0].scrape(db, after(33), 0)
				p[1].scrape(db, after(33), 0)
			},
			want: "stable 9 errors 9 untimed; canary 5 errors 5 untimed; stable 33s, canary 33s",
		},
		{
			name: "of several gateways what each of them tells of both", proxies: twoGateways(),
			last: func(p []*envoy, db *tsdb) {
				p[0].answers(9, "500", "", "-", 5)
				p[1].answers(5, "500", "", "-", 5)
				p[0].scrape(db, after(33), 0)
				p[1].scrape(db, after(33), 0)
			},
			want: "stable 9 errors 9 untimed; canary 5 errors 5 untimed; stable 33s, canary 33s",
		},
		{
			name: "a new canary's first errors", proxies: twoServers()[:1],
			last: func(p []*envoy, db *tsdb) {
				canary := proxyOf("destination", "web-v2", "v2-a")
				canary.answers(4, "500", "", "-", 5)
				canary.scrape(db, after(23), 0)
				p[0].scrape(db, after(25), 0)
			},
			want: "stable 0 untimed; canary 4 errors 4 untimed; stable 25s, canary 23s",
		},
		{
			name: "failures that only the gateway saw, up to where it knows stable", proxies: append(twoServers(), oneGateway()...),
			last: func(p []*envoy, db *tsdb) {
				p[3].answers(6, "503", "", "UF", 5)
				p[2].scrape(db, after(27), 0)
				p[3].scrape(db, after(27), 0)
				p[1].answers(2, "200", "", "-", 5)
				p[1].scrape(db, after(22), 0)
				p[0].scrape(db, after(29), 0)
			},
			want: "stable 0 untimed; canary 8 errors 6 untimed; stable 27s, canary 27s",
		},
		{
			name: "a scrape that isn't in yet", proxies: twoServers(),
			last: func(p []*envoy, db *tsdb) { p[1].scrape(db, after(32), 0) },
		},
		{
			name: "a proxy of the canary's that restarted is unclear", proxies: twoServers(),
			last: func(p []*envoy, db *tsdb) {
				p[1].restart()
				p[1].answers(2, "200", "0", "-", 5)
				p[1].answers(3, "500", "", "-", 5)
				p[1].scrape(db, after(25), 0)
				p[0].scrape(db, after(32), 0)
			},
		},
		{
			name: "a proxy of stable's that went is unclear", proxies: append(twoServers(), proxyOf("destination", "web-v1", "v1-b")),
			last: func(p []*envoy, db *tsdb) {
				p[1].answers(3, "500", "", "-", 5)
				p[1].scrape(db, after(25), 0)
				p[0].scrape(db, after(32), 0)
				p[2].fail(db, after(32), after(32))
			},
		},
		{
			name: "a proxy that is scraped twice is unclear", proxies: twoServers(),
			last: func(p []*envoy, db *tsdb) {
				double := proxyOf("destination", "web-v2", "v2-a")
				double.instance = "v2-a:15020"
				double.answers(3, "500", "", "-", 5)
				for _, e := range append(p, double) {
					e.scrape(db, after(25), 0)
				}
			},
		},
		{
			name: "a canary whose failures only the clients' side knows is unclear", proxies: append(twoServers()[:1], oneGateway()...),
			last: func(p []*envoy, db *tsdb) {
				p[2].answers(3, "503", "", "UF", 5)
				for _, e := range p {
					e.scrape(db, after(25), 0)
				}
			},
		},
		{
			name: "metrics that begin here are unclear",
			last: func(_ []*envoy, db *tsdb) {
				for i, e := range twoServers() {
					e.answers(9, "500", "", "-", 5)
					e.scrape(db, after(float64(32-i*5)), 0)
				}
			},
		},
		{name: "nobody reports", proxies: nil, last: func([]*envoy, *tsdb) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := newTSDB()
			for _, at := range []float64{5, 15} {
				for _, e := range c.proxies {
					e.answers(10, "200", "0", "-", 5)
					e.scrape(db, after(at), 0)
				}
			}
			c.last(c.proxies, db)
			a := theAsk()
			a.From = after(20)
			if c.ask != nil {
				c.ask(&a)
			}
			got := ""
			for _, b := range mustOpen(t, db, a, after(36)) {
				got = strings.TrimSpace(strings.TrimPrefix(tell([]judge.Block{b}), " 20s ")) + "; " + told(b)
				if !b.Start.Equal(after(20)) || b.End().After(after(36)) || b.End().Before(after(35.988)) || b.Step != 1 || b.Weight != a.Weight {
					t.Errorf("block %+v", b)
				}
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestAProxyThatIsBackIsNoNewOneInTheOpenBlock(t *testing.T) {
	db, p := newTSDB(), append(twoServers(), proxyOf("destination", "web-v2", "v2-b"))
	for _, e := range p {
		e.answers(100, "500", "0", "-", 5)
		e.scrape(db, after(5), 0)
	}
	p[2].fail(db, after(15), after(15))
	for i, e := range p {
		e.scrape(db, after(28-float64(i)), 0)
	}
	a := theAsk()
	a.From = after(20)
	if got := mustOpen(t, db, a, after(30)); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestOpenBeginsAtTheEndOfABlock(t *testing.T) {
	a := theAsk()
	a.From = after(20.5)
	if err := Open(context.Background(), newTSDB().query, []Ask{a}, after(36))["web"].Err; err == nil || !strings.Contains(err.Error(), "no end of a block of 10s") {
		t.Errorf("%v", err)
	}
	a.From = after(20)
	for _, now := range []float64{19, 20, 20.005} {
		if got := Open(context.Background(), newTSDB().query, []Ask{a}, after(now))["web"]; got.Err != nil || got.Blocks != nil {
			t.Errorf("at %vs: %+v", now, got)
		}
	}
}

func TestOpenAsksFewQueriesForAll(t *testing.T) {
	db, p := newTSDB(), twoServers()
	for i := range 3 {
		ordinary(i, p)
		for _, e := range p {
			e.scrape(db, after(float64(i)*10+5), 0)
		}
	}
	db.now = after(33)
	for rollouts, queries := range map[int]int{
		60:   4,
		100:  8,  // as closely as the few, in two groups
		1000: 16, // less closely: never more groups than are asked for at once
	} {
		var asks []Ask
		for i := range rollouts {
			a := theAsk()
			a.Key, a.Service, a.From = fmt.Sprint(i), fmt.Sprintf("web%d", i), after(20)
			asks = append(asks, a)
		}
		db.queries = nil
		if got := Open(context.Background(), db.query, asks, db.now); len(got) != rollouts || len(got["7"].Blocks) != 1 {
			t.Errorf("%d answers for %d, %+v", len(got), rollouts, got["7"])
		}
		if len(db.queries) != queries {
			t.Errorf("%d queries for %d rollouts, want %d", len(db.queries), rollouts, queries)
		}
	}
}

// TestWhatIsOpenComesOnceMoreClosed: whatever happens to pods and scrapes, the
// failures of an open block are among those of the closed blocks later.
func TestWhatIsOpenComesOnceMoreClosed(t *testing.T) {
	given := 0
	for seed := range uint64(4) {
		db, town := newTSDB(), newTown(seed)
		a := theAsk()
		a.Reporter = []Reporter{Auto, Source}[seed%2]
		var opened []judge.Block
		for at := 0.0; at < 300; at += 0.5 {
			town.live(db, at)
			if at < 30 || at != math.Trunc(at) {
				continue
			}
			live := a
			live.From = Closed(after(at), a.Width)
			opened = append(opened, mustOpen(t, db, live, after(at))...)
		}
		closed := mustBlocks(t, db, a, after(330)).Blocks
		for _, o := range opened {
			var all judge.Counts
			known := true
			for _, b := range closed {
				if !b.Start.Before(o.Start) && b.Start.Before(o.End()) {
					known = known && b.Missing == ""
					all.Requests += b.Canary.Requests
					all.Errors += b.Canary.Errors
				}
			}
			if o.Canary.Seen.After(o.Stable.Seen) {
				t.Errorf("seed %d: the canary is known until %s, stable until %s", seed, o.Canary.Seen, o.Stable.Seen)
			}
			if !known {
				continue
			}
			given++
			if o.Canary.Errors > all.Errors || o.Canary.Requests > all.Requests {
				t.Errorf("seed %d: open %+v, closed %+v", seed, o.Canary, all)
			}
		}
	}
	if given < 150 {
		t.Errorf("only %d open blocks", given)
	}
}

func TestIntervals(t *testing.T) {
	// scraped stores samples of a proxy for some minutes before 600 s.
	scraped := func(db *tsdb, e *envoy, from, every float64, failing func(n int) bool) {
		e.answers(1, "200", "0", "-", 5)
		n := 0
		for at := from; at <= 600; at += every {
			jitter := 0.001 * math.Sin(at)
			if n++; failing != nil && failing(n) {
				e.fail(db, after(at+jitter), after(at+jitter))
				continue
			}
			e.scrape(db, after(at+jitter), 100*time.Millisecond)
		}
	}
	web := func(pod string) *envoy { return proxyOf("destination", "web-v1", pod) }
	for _, c := range []struct {
		name  string
		world func(db *tsdb)
		ask   func(*Ask)
		want  time.Duration
	}{
		{name: "no series", world: func(*tsdb) {}},
		{name: "each second", world: func(db *tsdb) { scraped(db, web("a"), 3.3, 1, nil) }, want: time.Second},
		{name: "each 15 seconds", world: func(db *tsdb) { scraped(db, web("a"), 3.3, 15, nil) }, want: 15 * time.Second},
		{name: "each minute", world: func(db *tsdb) { scraped(db, web("a"), 3.3, 60, nil) }, want: time.Minute},
		{name: "each two minutes", world: func(db *tsdb) { scraped(db, web("a"), 3.3, 120, nil) }, want: 2 * time.Minute},
		{name: "a second and a half", world: func(db *tsdb) { scraped(db, web("a"), 3.3, 1.5, nil) }, want: 1500 * time.Millisecond},
		{name: "more than once in a second is a second", world: func(db *tsdb) { scraped(db, web("a"), 3.3, .5, nil) }, want: time.Second},
		{name: "a target that began a minute ago", world: func(db *tsdb) { scraped(db, web("a"), 541, 15, nil) }, want: 15 * time.Second},
		{name: "a target of one sample tells nothing", world: func(db *tsdb) { scraped(db, web("a"), 599, 15, nil) }},
		{
			name:  "every sixth scrape fails",
			world: func(db *tsdb) { scraped(db, web("a"), 3.3, 10, func(n int) bool { return n%6 == 0 }) },
			want:  10 * time.Second,
		},
		{
			name: "one of three targets fails every other scrape",
			world: func(db *tsdb) {
				scraped(db, web("a"), 3, 5, nil)
				scraped(db, web("b"), 4, 5, nil)
				scraped(db, web("c"), 5, 5, func(n int) bool { return n%2 == 0 })
			},
			want: 5 * time.Second,
		},
		{
			name: "of one job that of most of its targets",
			world: func(db *tsdb) {
				scraped(db, web("a"), 3, 5, nil)
				scraped(db, web("b"), 4, 20, nil)
				scraped(db, web("c"), 5, 5, nil)
			},
			want: 5 * time.Second,
		},
		{
			name: "of two jobs the longer one",
			world: func(db *tsdb) {
				slow := web("b")
				slow.job = "agents"
				scraped(db, web("a"), 3, 5, nil)
				scraped(db, slow, 4, 30, nil)
			},
			want: 30 * time.Second,
		},
		{
			name: "the servers' proxies count, not the clients'",
			world: func(db *tsdb) {
				scraped(db, web("a"), 3, 5, nil)
				scraped(db, proxyOf("source", "web-v1", "gw"), 4, 30, nil)
			},
			want: 5 * time.Second,
		},
		{
			name: "unless they are asked for",
			world: func(db *tsdb) {
				scraped(db, web("a"), 3, 5, nil)
				scraped(db, proxyOf("source", "web-v1", "gw"), 4, 30, nil)
			},
			ask:  func(a *Ask) { a.Reporter = Source },
			want: 30 * time.Second,
		},
		{
			name:  "the clients' where there are no others",
			world: func(db *tsdb) { scraped(db, proxyOf("source", "web-v1", "gw"), 4, 30, nil) },
			want:  30 * time.Second,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := newTSDB()
			c.world(db)
			db.now = after(600)
			a := theAsk()
			a.Width = 0 // not known yet
			if c.ask != nil {
				c.ask(&a)
			}
			got := Intervals(context.Background(), db.query, []Ask{a}, db.now)["web"]
			if got.Err != nil || got.Width != c.want {
				t.Errorf("got %+v, want %s", got, c.want)
			}
			if len(db.queries) > 4 {
				t.Errorf("%d queries", len(db.queries))
			}
		})
	}
}

func TestIntervalsTellOfFailedQueriesAndWrongAsks(t *testing.T) {
	q := func(context.Context, string, time.Time, time.Time, time.Duration) (Matrix, error) {
		return Matrix{}, context.DeadlineExceeded
	}
	got := Intervals(context.Background(), q, []Ask{theAsk(), {Key: "wrong"}}, epoch)
	if err := got["web"].Err; err == nil || !strings.Contains(err.Error(), "shop/web") {
		t.Errorf("%v", err)
	}
	if err := got["wrong"].Err; err == nil || !strings.Contains(err.Error(), "Namespace") {
		t.Errorf("%v", err)
	}
}
