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

// tell writes blocks as lines, one each, so that a test shows what was counted.
func tell(blocks []judge.Block) string {
	var out strings.Builder
	for _, b := range blocks {
		fmt.Fprintf(&out, "%3.0fs ", b.Start.Sub(epoch).Seconds())
		if b.Missing != "" {
			fmt.Fprintf(&out, "missing: %s\n", b.Missing)
			continue
		}
		for _, s := range []struct {
			name string
			judge.Sample
		}{{"stable", b.Stable}, {"canary", b.Canary}} {
			fmt.Fprintf(&out, "%s %d", s.name, s.Requests)
			for _, n := range []struct {
				name  string
				count int64
			}{{"errors", s.Errors}, {"4xx", s.ClientErrors}, {"left", s.Disconnects}} {
				if n.count != 0 {
					fmt.Fprintf(&out, " %s %d", n.name, n.count)
				}
			}
			if !s.Live {
				out.WriteString(" silent")
			}
			if s.Latency == nil {
				out.WriteString(" untimed")
			} else if slow, _ := s.Latency.Slow(time.Second); slow != 0 {
				fmt.Fprintf(&out, " slow %d", slow)
			}
			out.WriteString("; ")
		}
		out.WriteString("\n")
	}
	return strings.ReplaceAll(out.String(), "; \n", "\n")
}

// scene is five blocks of 10 s: in each the proxies do something and are
// scraped in its middle.
type scene struct {
	name    string
	ask     func(*Ask)
	proxies func() []*envoy
	does    func(block int, p []*envoy)
	// scrapes tells how a scrape goes; nil: all go well.
	scrapes func(block int, p []*envoy, at time.Time, db *tsdb)
	want    string
}

func twoServers() []*envoy {
	return []*envoy{proxyOf("destination", "web-v1", "v1-a"), proxyOf("destination", "web-v2", "v2-a")}
}

func oneGateway() []*envoy {
	return []*envoy{proxyOf("source", "web-v1", "gw"), proxyOf("source", "web-v2", "gw")}
}

func ordinary(_ int, p []*envoy) {
	p[0].answers(30, "200", "0", "-", 50)
	p[1].answers(10, "200", "0", "-", 50)
}

func withSlowOnes(i int, p []*envoy) {
	ordinary(i, p)
	p[1].answers(4, "200", "0", "-", 2000)
}

func TestBlocks(t *testing.T) {
	for _, s := range []scene{
		{
			name: "increments of both versions", proxies: twoServers, does: ordinary,
			want: `
 10s stable 30; canary 10
 20s stable 30; canary 10
 30s stable 30; canary 10
`,
		},
		{
			name: "the source's view where there is no other", proxies: oneGateway, does: ordinary,
			want: `
 10s stable 30; canary 10
 20s stable 30; canary 10
 30s stable 30; canary 10
`,
		},
		{
			name:    "copies are counted by the servers alone, whoever is asked",
			ask:     func(a *Ask) { a.Weight, a.Mirror, a.Reporter = 0, 10, Source },
			proxies: func() []*envoy { return append(twoServers(), oneGateway()...) },
			does:    func(i int, p []*envoy) { ordinary(i, p); p[2].answers(30, "200", "0", "-", 50) },
			want: `
 10s stable 30; canary 10
 20s stable 30; canary 10
 30s stable 30; canary 10
`,
		},
		{
			name: "the two views are never summed", proxies: func() []*envoy { return append(twoServers(), oneGateway()...) },
			does: func(i int, p []*envoy) { ordinary(i, p); ordinary(i, p[2:]) },
			want: `
 10s stable 30; canary 10
 20s stable 30; canary 10
 30s stable 30; canary 10
`,
		},
		{
			name: "what is a failure, a refusal and a client that left",
			proxies: func() []*envoy {
				return twoServers()
			},
			does: func(i int, p []*envoy) {
				ordinary(i, p)
				if i == 2 {
					p[1].answers(1, "500", "", "-", 50)
					p[1].answers(2, "503", "", "-", 50)
					p[1].answers(4, "404", "", "-", 50)
					p[1].answers(8, "0", "", "DC", 50)
					p[1].answers(16, "200", "14", "-", 50)
					p[1].answers(32, "200", "5", "-", 50)
					p[1].answers(64, "200", "0", "-", 2000)
					p[1].answers(128, "101", "", "-", 9000)
				}
			},
			want: `
 10s stable 30; canary 10
 20s stable 30; canary 257 errors 19 4xx 4 left 8 slow 64
 30s stable 30; canary 10
`,
		},
		{
			name: "failures that only the clients' side saw are the workload's",
			proxies: func() []*envoy {
				return append(twoServers(), oneGateway()...)
			},
			does: func(i int, p []*envoy) {
				ordinary(i, p)
				ordinary(i, p[2:])
				if i == 2 {
					p[1].answers(3, "0", "", "DC", 50)    // what the server saw of timeouts
					p[3].answers(3, "504", "", "UT", 900) // and the client
					p[3].answers(5, "503", "", "UF,URX", 5)
					p[3].answers(7, "503", "", "-", 5)     // the server has these itself
					p[3].answers(9, "503", "", "URX", 5)   // and these, with each retry
					p[3].answers(2, "200", "14", "URX", 5) // also of gRPC
				}
			},
			want: `
 10s stable 30; canary 10
 20s stable 30; canary 18 errors 8 left 3
 30s stable 30; canary 10
`,
		},
		{
			name: "failures without a workload are the canary's at 100%",
			ask:  func(a *Ask) { a.Weight = 100 },
			proxies: func() []*envoy {
				return append(oneGateway(), proxyOf("source", "unknown", "gw"))
			},
			does: func(i int, p []*envoy) {
				p[1].answers(10, "200", "0", "-", 50)
				if i == 2 {
					p[2].answers(6, "503", "", "UH", 0)
				}
			},
			want: `
 10s stable 0 silent untimed; canary 10
 20s stable 0 silent untimed; canary 16 errors 6
 30s stable 0 silent untimed; canary 10
`,
		},
		{
			name: "failures without a workload are charged as the route splits, without drift",
			proxies: func() []*envoy {
				return append(oneGateway(), proxyOf("source", "unknown", "gw"))
			},
			does: func(i int, p []*envoy) {
				ordinary(i, p)
				p[2].answers(6, "503", "", "UH", 0) // 25% of 6, 12, 18, 24: 1, 3, 4, 6
			},
			want: `
 10s stable 34 errors 4; canary 12 errors 2
 20s stable 35 errors 5; canary 11 errors 1
 30s stable 34 errors 4; canary 12 errors 2
`,
		},
		{
			name: "failures without a workload are charged too where the servers' side counts",
			ask:  func(a *Ask) { a.Weight = 50 },
			proxies: func() []*envoy {
				return append(twoServers(), proxyOf("source", "unknown", "gw"))
			},
			does: func(i int, p []*envoy) {
				ordinary(i, p)
				if i == 2 {
					p[2].answers(8, "503", "", "UH", 0)
				}
			},
			want: `
 10s stable 30; canary 10
 20s stable 34 errors 4; canary 14 errors 4
 30s stable 30; canary 10
`,
		},
		{
			name: "at 0% none of them is the canary's",
			ask:  func(a *Ask) { a.Weight = 0 },
			proxies: func() []*envoy {
				return append(oneGateway(), proxyOf("source", "unknown", "gw"))
			},
			does: func(i int, p []*envoy) {
				ordinary(i, p)
				p[2].answers(6, "503", "", "UH", 0)
			},
			want: `
 10s stable 36 errors 6; canary 10
 20s stable 36 errors 6; canary 10
 30s stable 36 errors 6; canary 10
`,
		},
		{
			name: "a new canary's first errors are not lost", proxies: twoServers,
			does: func(i int, p []*envoy) {
				p[0].answers(30, "200", "0", "-", 50)
				if i == 2 {
					p[1].answers(7, "500", "", "-", 50)
				}
			},
			scrapes: func(i int, p []*envoy, at time.Time, db *tsdb) {
				p[0].scrape(db, at, 0)
				p[1].scrape(db, at, 0)
			},
			want: `
 10s missing: no fresh sample from the proxies that report on web-v2
 20s stable 30; canary 7 errors 7
 30s stable 30; canary 0
`,
		},
		{
			name: "a canary that was asked nothing yet is live if the clients' side is",
			proxies: func() []*envoy {
				return append(twoServers(), oneGateway()...)
			},
			does: func(i int, p []*envoy) {
				p[0].answers(30, "200", "0", "-", 50)
				p[2].answers(30, "200", "0", "-", 50)
			},
			want: `
 10s stable 30; canary 0 untimed
 20s stable 30; canary 0 untimed
 30s stable 30; canary 0 untimed
`,
		},
		{
			name: "a canary whose own proxies are not scraped is told apart from one that hangs",
			proxies: func() []*envoy {
				return append(twoServers(), oneGateway()...)
			},
			does: func(i int, p []*envoy) {
				p[0].answers(30, "200", "0", "-", 50)
				ordinary(i, p[2:])
			},
			want: `
 10s missing: the clients' proxies saw answers of web-v2 and its own reported none: scrape the proxies of its pods
 20s missing: the clients' proxies saw answers of web-v2 and its own reported none: scrape the proxies of its pods
 30s missing: the clients' proxies saw answers of web-v2 and its own reported none: scrape the proxies of its pods
`,
		},
		{
			name: "a canary that a gateway sees get nothing is live", proxies: oneGateway,
			does: func(_ int, p []*envoy) { p[0].answers(30, "200", "0", "-", 50) },
			want: `
 10s stable 30; canary 0 untimed
 20s stable 30; canary 0 untimed
 30s stable 30; canary 0 untimed
`,
		},
		{
			name: "a restart counts from nothing", proxies: twoServers,
			does: func(i int, p []*envoy) {
				if i == 2 {
					p[1].restart()
				}
				ordinary(i, p)
				if i < 2 {
					p[1].answers(9, "500", "", "-", 50)
				}
			},
			want: `
 10s stable 30; canary 19 errors 9
 20s stable 30; canary 10 untimed
 30s stable 30; canary 10
`,
		},
		{
			name: "a counter that falls alone spoils the block", proxies: twoServers,
			does: func(i int, p []*envoy) {
				ordinary(i, p)
				p[1].answersTo("a", 5, "500", "", "-", 50)
				p[1].answersTo("b", 5, "500", "", "-", 50)
				if i == 2 { // the series of caller b was idle, and is thrown away
					for key := range p[1].counts {
						if strings.HasSuffix(key, "|b") {
							delete(p[1].counts, key)
						}
					}
				}
			},
			want: `
 10s stable 30; canary 20 errors 10
 20s missing: a counter of v2-a (response_code=500) fell while others went on
 30s stable 30; canary 20 errors 10
`,
		},
		{
			name: "all counters losing a part is no restart", proxies: twoServers,
			does: func(i int, p []*envoy) {
				p[0].answers(30, "200", "0", "-", 50)
				p[1].answersTo("a", 50, "500", "", "-", 50)
				if i < 2 {
					p[1].answersTo("b", 40, "500", "", "-", 50)
				}
				if i == 2 {
					for key := range p[1].counts {
						if strings.HasSuffix(key, "|b") {
							delete(p[1].counts, key)
						}
					}
				}
			},
			want: `
 10s stable 30; canary 90 errors 90
 20s missing: a counter of v2-a (response_code=500) fell while others went on
 30s stable 30; canary 50 errors 50
`,
		},
		{
			name: "a scrape that failed is made good by the next", proxies: func() []*envoy {
				return append(twoServers(), proxyOf("destination", "web-v2", "v2-b"))
			},
			does: func(i int, p []*envoy) {
				ordinary(i, p)
				p[2].answers(10, "500", "", "-", 50)
			},
			scrapes: func(i int, p []*envoy, at time.Time, db *tsdb) {
				p[0].scrape(db, at, 0)
				p[1].scrape(db, at, 0)
				if i == 2 {
					p[2].fail(db, at, at)
					return
				}
				p[2].scrape(db, at, 0)
			},
			want: `
 10s stable 30; canary 20 errors 10
 20s stable 30; canary 10 untimed
 30s stable 30; canary 30 errors 20 untimed
`,
		},
		{
			name: "a pod that goes keeps what it had", proxies: func() []*envoy {
				return append(twoServers(), proxyOf("destination", "web-v2", "v2-b"))
			},
			does: func(i int, p []*envoy) {
				ordinary(i, p)
				p[2].answers(10, "200", "0", "-", 50)
			},
			scrapes: func(i int, p []*envoy, at time.Time, db *tsdb) {
				p[0].scrape(db, at, 0)
				p[1].scrape(db, at, 0)
				if i < 2 {
					p[2].scrape(db, at, 0)
				} else {
					p[2].fail(db, at, at)
				}
			},
			want: `
 10s stable 30; canary 20
 20s stable 30; canary 10 untimed
 30s stable 30; canary 10
`,
		},
		{
			name: "old values that nobody scrapes are not live", proxies: twoServers, does: ordinary,
			scrapes: func(i int, p []*envoy, at time.Time, db *tsdb) {
				p[0].scrape(db, at, 0)
				if i < 2 {
					p[1].scrape(db, at, 0)
				}
			},
			want: `
 10s stable 30; canary 10
 20s missing: no fresh sample from the proxies that report on web-v2
 30s missing: no fresh sample from the proxies that report on web-v2
`,
		},
		{
			name: "a pod that is scraped twice is refused", proxies: func() []*envoy {
				double := proxyOf("destination", "web-v2", "v2-a")
				double.job, double.instance = "kubernetes-pods", "v2-a:15020"
				return append(twoServers(), double)
			},
			does: func(i int, p []*envoy) { ordinary(i, p); p[2].answers(10, "200", "0", "-", 50) },
			want: `
 10s missing: pod v2-a is scraped twice, as job="envoy" instance="v2-a:15090" and as job="kubernetes-pods" instance="v2-a:15020": scrape it once
 20s missing: pod v2-a is scraped twice, as job="envoy" instance="v2-a:15090" and as job="kubernetes-pods" instance="v2-a:15020": scrape it once
 30s missing: pod v2-a is scraped twice, as job="envoy" instance="v2-a:15090" and as job="kubernetes-pods" instance="v2-a:15020": scrape it once
`,
		},
		{
			name: "without any series it says what to look for", proxies: twoServers, does: func(int, []*envoy) {},
			want: strings.Repeat(`
 00s missing: no istio_requests_total of web-v1 or web-v2 in namespace shop: no proxy of the mesh that serves or calls them is scraped, or none had a request yet`, 3) + "\n",
		},
		{
			name: "where all metrics begin the first block is unknown", proxies: twoServers,
			does: func(i int, p []*envoy) { ordinary(i, p) },
			scrapes: func(i int, p []*envoy, at time.Time, db *tsdb) {
				if i >= 2 {
					p[0].scrape(db, at, 0)
					p[1].scrape(db, at, 0)
				}
			},
			want: `
 10s missing: no istio_requests_total of web-v1 or web-v2 in namespace shop: no proxy of the mesh that serves or calls them is scraped, or none had a request yet
 20s missing: the metrics begin here: what their counters held before is not of this block
 30s stable 30; canary 10
`,
		},
		{
			name:    "a restarted Prometheus 3 that spells bounds anew loses the latencies of one block",
			proxies: twoServers, does: withSlowOnes,
			scrapes: func(i int, p []*envoy, at time.Time, db *tsdb) {
				for _, e := range p {
					if i == 2 {
						e.respell("1000", "1000.0")
						e.known = map[string]bool{} // it knew nothing to mark as stale
					}
					e.scrape(db, at, 0)
				}
			},
			want: `
 10s stable 30; canary 14 slow 4
 20s stable 30 untimed; canary 14 untimed
 30s stable 30; canary 14 slow 4
`,
		},
		{
			name:    "a Prometheus that spells bounds anew and marks the old ones as stale loses nothing",
			proxies: twoServers, does: withSlowOnes,
			scrapes: func(i int, p []*envoy, at time.Time, db *tsdb) {
				for _, e := range p {
					if i == 2 {
						e.respell("1000", "1000.0")
					}
					e.scrape(db, at, 0)
				}
			},
			want: `
 10s stable 30; canary 14 slow 4
 20s stable 30; canary 14 slow 4
 30s stable 30; canary 14 slow 4
`,
		},
		{
			name: "servers of both spellings behind one API add up",
			proxies: func() []*envoy {
				other := proxyOf("destination", "web-v2", "v2-b")
				other.spells = map[string]string{"1000": "1000.0"}
				return append(twoServers(), other)
			},
			does: func(i int, p []*envoy) { withSlowOnes(i, p); p[2].answers(5, "200", "0", "-", 2000) },
			want: `
 10s stable 30; canary 19 slow 9
 20s stable 30; canary 19 slow 9
 30s stable 30; canary 19 slow 9
`,
		},
	} {
		t.Run(s.name, func(t *testing.T) {
			db, p := newTSDB(), s.proxies()
			for i := range 5 {
				at := after(float64(i)*10 + 5)
				s.does(i, p)
				if s.scrapes != nil {
					s.scrapes(i, p, at, db)
					continue
				}
				for _, e := range p {
					e.scrape(db, at, 0)
				}
			}
			a := theAsk()
			a.From = after(10)
			if s.ask != nil {
				s.ask(&a)
			}
			want := strings.TrimPrefix(s.want, "\n")
			for i := range 3 {
				want = strings.Replace(want, " 00s", fmt.Sprintf(" %d0s", i+1), 1)
			}
			want = strings.ReplaceAll(want, "\n\n", "\n")
			if got := tell(mustBlocks(t, db, a, after(53)).Blocks); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestABlockIsClosedWhenNoSampleCanArriveAnyMore(t *testing.T) {
	for _, c := range []struct {
		now, width, closed float64
	}{
		{32.4, 10, 10}, // 20 + 12 + 1 is not reached
		{33, 10, 20},
		{42.9, 10, 20},
		{43, 10, 30},
		{11.69, 1, 9},
		{11.7, 1, 10},
	} {
		if got := Closed(after(c.now), time.Duration(c.width)*time.Second); !got.Equal(after(c.closed)) {
			t.Errorf("at %vs of width %vs closed is %s", c.now, c.width, got.Sub(epoch))
		}
		width := time.Duration(c.width) * time.Second
		next := NextClosed(after(c.now), width)
		if before := Closed(next.Add(-time.Millisecond), width); !before.Equal(after(c.closed)) {
			t.Errorf("closed is %s before the next is", before.Sub(epoch))
		}
		if then := Closed(next, width); !then.Equal(after(c.closed + c.width)) {
			t.Errorf("next closed is %s", then.Sub(epoch))
		}
	}
}

func TestBlocksBeginAtOrAfterFrom(t *testing.T) {
	db, p := newTSDB(), twoServers()
	for i := range 10 {
		ordinary(i, p)
		p[0].scrape(db, after(float64(i)*10+5), 0)
		p[1].scrape(db, after(float64(i)*10+5), 0)
	}
	a := theAsk()
	a.From = after(20.001)
	blocks := mustBlocks(t, db, a, after(63)).Blocks
	if len(blocks) != 2 || !blocks[0].Start.Equal(after(30)) || blocks[0].Step != 1 || blocks[0].Weight != 25 {
		t.Errorf("blocks %+v", blocks)
	}
	a.From = blocks[1].End()
	if more := mustBlocks(t, db, a, after(63)).Blocks; len(more) != 0 {
		t.Errorf("no more are closed, yet there are %+v", more)
	}
}

func TestBlocksEndAtOrBeforeTo(t *testing.T) {
	db, p := newTSDB(), twoServers()
	for i := range 10 {
		ordinary(i, p)
		p[0].scrape(db, after(float64(i)*10+5), 0)
		p[1].scrape(db, after(float64(i)*10+5), 0)
	}
	a := theAsk()
	a.From, a.To = after(20), after(49.999)
	if blocks := mustBlocks(t, db, a, after(83)).Blocks; len(blocks) != 2 || !blocks[1].End().Equal(after(40)) {
		t.Errorf("blocks %+v", blocks)
	}
	a.To = after(10)
	if blocks := mustBlocks(t, db, a, after(83)).Blocks; len(blocks) != 0 {
		t.Errorf("an end before the beginning gives %+v", blocks)
	}
}

func TestALongStretchIsAnsweredInParts(t *testing.T) {
	db := newTSDB()
	a := theAsk()
	a.Width = time.Second
	got := mustBlocks(t, db, a, after(5000)).Blocks
	if len(got) != maxBlocks {
		t.Fatalf("%d blocks", len(got))
	}
	a.From = got[len(got)-1].End()
	if next := mustBlocks(t, db, a, after(5000)).Blocks; !next[0].Start.Equal(a.From) {
		t.Errorf("the next part begins at %s", next[0].Start)
	}
}

func TestManyAsksAreFewQueries(t *testing.T) {
	db, p := newTSDB(), twoServers()
	for i := range 4 {
		ordinary(i, p)
		p[0].scrape(db, after(float64(i)*10+5), 0)
		p[1].scrape(db, after(float64(i)*10+5), 0)
	}
	db.now = after(43)
	asks := []Ask{theAsk()}
	asks[0].From = after(20)
	for i := range 99 {
		other := asks[0]
		other.Key = fmt.Sprint("other", i)
		other.Namespace = fmt.Sprintf("ns%d", i%7)
		other.StableWorkload, other.CanaryWorkload = fmt.Sprintf("app%d", i), fmt.Sprintf("app%d-canary", i)
		asks = append(asks, other)
	}
	got := Blocks(context.Background(), db.query, asks, db.now)
	if len(got) != 100 || tell(got["web"].Blocks) != " 20s stable 30; canary 10\n" {
		t.Errorf("%d answers; web:\n%s", len(got), tell(got["web"].Blocks))
	}
	if len(db.queries) != 10 {
		t.Errorf("%d queries:\n%s", len(db.queries), strings.Join(db.queries, "\n"))
	}
}

func TestAWrongAskIsRefusedAndTheOthersAnswered(t *testing.T) {
	wrong := Ask{Key: "wrong", Namespace: "shop", StableWorkload: "web", CanaryWorkload: "web", Reporter: "waypoint"}
	got := Blocks(context.Background(), newTSDB().query, []Ask{theAsk(), wrong}, after(60))
	if got["web"].Err != nil || len(got["web"].Blocks) == 0 {
		t.Errorf("web: %+v", got["web"])
	}
	for _, part := range []string{`"wrong"`, "Service is", "both \"web\"", "Width is 0s", `Reporter is "waypoint"`} {
		if err := got["wrong"].Err; err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v doesn't say %s", err, part)
		}
	}
}

func TestAFailedQueryIsAnErrorAndNoBlocks(t *testing.T) {
	down := errors.New("connection refused")
	for name, m := range map[string]struct {
		matrix Matrix
		err    error
		says   string
	}{
		"Prometheus is down":                {err: down, says: "connection refused"},
		"a value is not a number":           {matrix: one(Point{after(10).UnixMilli(), math.NaN()}), says: "the value NaN"},
		"a value is infinite":               {matrix: one(Point{after(10).UnixMilli(), math.Inf(1)}), says: "the value +Inf"},
		"a value is negative":               {matrix: one(Point{after(10).UnixMilli(), -1}), says: "the value -1"},
		"a point lies where none was asked": {matrix: one(Point{after(10).UnixMilli() + 1, 1}), says: "not asked for"},
		"a series is answered twice":        {matrix: one(Point{after(10).UnixMilli(), 1}, Point{after(10).UnixMilli(), 1}), says: "answered twice"},
	} {
		t.Run(name, func(t *testing.T) {
			q := func(context.Context, string, time.Time, time.Time, time.Duration) (Matrix, error) {
				return m.matrix, m.err
			}
			got := Blocks(context.Background(), q, []Ask{theAsk()}, after(60))["web"]
			if got.Err == nil || !strings.Contains(got.Err.Error(), m.says) || !strings.Contains(got.Err.Error(), "shop/web") || got.Blocks != nil {
				t.Errorf("%v, %d blocks", got.Err, len(got.Blocks))
			}
			if m.err != nil && !errors.Is(got.Err, m.err) {
				t.Error("the cause can't be found in the error")
			}
		})
	}
}

func TestOddValuesOfOneServiceHarmNoOther(t *testing.T) {
	odd := theAsk()
	odd.Key, odd.Service, odd.StableWorkload, odd.CanaryWorkload = "cart", "cart", "cart-v1", "cart-v2"
	q := func(ctx context.Context, promql string, start, end time.Time, step time.Duration) (Matrix, error) {
		m, err := newTSDB().query(ctx, promql, start, end, step)
		m.Series = append(m.Series, Series{Labels: Labels{{labelNamespace, "shop"}, {labelWorkload, "cart-v2"}, {labelBound, "+Inf"}},
			Points: []Point{{end.UnixMilli(), math.NaN()}}})
		return m, err
	}
	for name, ask := range map[string]func([]Ask) map[string]Answer{
		"closed blocks": func(asks []Ask) map[string]Answer { return Blocks(t.Context(), q, asks, after(60)) },
		"the open block": func(asks []Ask) map[string]Answer {
			for i := range asks {
				asks[i].From = floor(after(40), asks[i].Width)
			}
			return Open(t.Context(), q, asks, after(60))
		},
		"scrape intervals": func(asks []Ask) map[string]Answer {
			out := map[string]Answer{}
			for key, i := range Intervals(t.Context(), q, asks, after(60)) {
				out[key] = Answer{Err: i.Err}
			}
			return out
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask([]Ask{theAsk(), odd})
			if got["web"].Err != nil {
				t.Errorf("web: %v", got["web"].Err)
			}
			if err := got["cart"].Err; err == nil || !strings.Contains(err.Error(), "cart-v2: the value NaN") {
				t.Errorf("cart: %v", err)
			}
		})
	}
}

func one(points ...Point) Matrix {
	return Matrix{Series: []Series{{Labels: Labels{{labelNamespace, "shop"}, {labelWorkload, "web-v1"}}, Points: points}}}
}

func TestWarningsAreKept(t *testing.T) {
	q := func(context.Context, string, time.Time, time.Time, time.Duration) (Matrix, error) {
		return Matrix{Warnings: []string{"a store was not reached"}}, nil
	}
	got := Blocks(context.Background(), q, []Ask{theAsk()}, after(60))["web"]
	if !reflect.DeepEqual(got.Warnings, []string{"a store was not reached"}) {
		t.Errorf("warnings %q", got.Warnings)
	}
}

// TestLiveIsReplay: asking whenever a second has passed gives the same blocks as
// asking once at the end, whatever happens to pods and scrapes in between.
func TestLiveIsReplay(t *testing.T) {
	ordered := 0 // blocks in which stable is known as far as the canary
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			db := newTSDB()
			a := theAsk()
			a.From = after(17)
			a.Reporter = []Reporter{Auto, Auto, Source, Destination}[seed%4]
			live := a
			var seen []judge.Block
			town := newTown(seed)
			for at := 0.0; at < 400; at += 0.5 {
				town.live(db, at)
				if at == 200 && seed%2 == 1 {
					town.upgrade()
				}
				if math.Trunc(at) != at {
					continue
				}
				answer := mustBlocks(t, db, live, after(at))
				for _, b := range answer.Blocks {
					live.From = b.End()
				}
				seen = append(seen, answer.Blocks...)
			}
			replayed := mustBlocks(t, db, a, after(400)).Blocks
			if len(seen) < 30 || !reflect.DeepEqual(seen, replayed) {
				t.Errorf("live\n%sreplayed\n%s", tell(seen), tell(replayed))
			}
			usable := 0
			for _, b := range seen {
				if b.Missing == "" {
					usable++
				}
				if s := b.Stable.Seen; !s.IsZero() && !s.Before(b.Canary.Seen) {
					ordered++
				}
				for _, c := range []judge.Counts{b.Stable.Counts, b.Canary.Counts} {
					if c.Requests < 0 || c.Errors < 0 || c.Errors > c.Requests || c.ClientErrors < 0 || c.Disconnects < 0 {
						t.Errorf("impossible counts %+v", c)
					}
					if s, c := b.Stable.Seen, b.Canary.Seen; s.After(b.End()) || c.After(b.End()) || b.Missing != "" && !(s.IsZero() && c.IsZero()) {
						t.Errorf("seen until %s and %s, in the block that ends at %s", s, c, b.End())
					}
					if c.Requests > 2000 {
						t.Errorf("%d requests in a block of at most some hundreds: old ones were counted again", c.Requests)
					}
				}
			}
			if usable < 10 {
				t.Errorf("only %d usable blocks:\n%s", usable, tell(seen))
			}
		})
	}
	if ordered < 20 {
		t.Errorf("stable is known as far as the canary in %d blocks only", ordered)
	}
}
