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

func mustRough(t *testing.T, db *tsdb, a Ask, now time.Time) []judge.Block {
	t.Helper()
	db.now = now
	answer := Rough(context.Background(), db.query, []Ask{a}, now)[a.Key]
	if answer.Err != nil {
		t.Fatal(answer.Err)
	}
	return answer.Blocks
}

// TestRough: two blocks of 10 s are closed at 33 s, and this is what is roughly
// known of the time since 20 s at 36 s.
func TestRough(t *testing.T) {
	for _, c := range []struct {
		name    string
		proxies []*envoy
		ask     func(*Ask)
		last    func(p []*envoy, db *tsdb) // what happens after 20 s
		want    string                     // empty: no block
	}{
		{
			name: "nothing failed", proxies: twoServers(),
			last: func(p []*envoy, db *tsdb) {
				p[1].answers(9, "200", "0", "-", 5)
				p[1].answers(9, "404", "", "-", 5)
				p[1].scrape(db, after(22), 0)
			},
		},
		{
			name: "only stable failed", proxies: twoServers(),
			last: func(p []*envoy, db *tsdb) {
				p[0].answers(9, "500", "", "-", 5)
				p[0].scrape(db, after(22), 0)
			},
		},
		{
			name: "the canary failed: all of both tracks, however far stable is known", proxies: twoServers(),
			last: func(p []*envoy, db *tsdb) {
				p[1].answers(3, "500", "", "-", 5)
				p[1].answers(4, "200", "0", "-", 5)
				p[1].scrape(db, after(35), 0)
				p[0].answers(30, "200", "0", "-", 5)
				p[0].scrape(db, after(22), 0)
			},
			want: "stable 30 untimed; canary 7 errors 3 untimed",
		},
		{
			name: "a failure by gRPC status", proxies: twoServers(),
			last: func(p []*envoy, db *tsdb) {
				p[1].answers(2, "200", "14", "-", 5)
				p[1].scrape(db, after(22), 0)
			},
			want: "stable 0 untimed; canary 2 errors 2 untimed",
		},
		{
			name: "failures that only the gateway saw", proxies: append(twoServers(), oneGateway()...),
			last: func(p []*envoy, db *tsdb) {
				p[3].answers(6, "503", "", "UF", 5)
				p[3].scrape(db, after(27), 0)
			},
			want: "stable 0 untimed; canary 6 errors 6 untimed",
		},
		{
			name: "the gateway alone reports", proxies: oneGateway(),
			last: func(p []*envoy, db *tsdb) {
				p[0].answers(9, "200", "", "-", 5)
				p[1].answers(5, "500", "", "-", 5)
				p[0].scrape(db, after(33), 0)
				p[1].scrape(db, after(33), 0)
			},
			want: "stable 9 untimed; canary 5 errors 5 untimed",
		},
		{
			name: "counters that fell need a closer look", proxies: twoServers(),
			last: func(p []*envoy, db *tsdb) {
				p[1].answers(3, "500", "", "-", 5)
				p[1].scrape(db, after(21), 0)
				p[1].restart()
				p[1].answers(2, "500", "", "-", 5)
				p[1].answers(1, "200", "0", "-", 5)
				p[1].scrape(db, after(25), 0)
			},
			want: "missing: counters fell",
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
			got := ""
			for _, b := range mustRough(t, db, a, after(36)) {
				got = strings.TrimSpace(strings.TrimPrefix(tell([]judge.Block{b}), " 20s "))
				if !b.Start.Equal(after(20)) || !b.End().Equal(after(36)) || b.Step != 1 || b.Weight != a.Weight || b.Missing == "" && !b.Stable.Seen.After(b.Canary.Seen) {
					t.Errorf("block %+v", b)
				}
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestOfCanariesThatDoNotFailOneShortAnswerTells(t *testing.T) {
	db, p := newTSDB(), twoServers()
	for i := range 3 {
		ordinary(i, p)
		for _, e := range p {
			e.scrape(db, after(float64(i)*10+5), 0)
		}
	}
	db.now = after(33)
	var asks []Ask
	for i := range 100 {
		a := theAsk()
		a.Key, a.Service, a.From = fmt.Sprint(i), fmt.Sprintf("web%d", i), after(20)
		asks = append(asks, a)
	}
	if got := Rough(context.Background(), db.query, asks, db.now); len(got) != 100 || len(got["7"].Blocks) != 0 || got["7"].Err != nil {
		t.Errorf("%d answers, %+v", len(got), got["7"])
	}
	if len(db.queries) != 1 {
		t.Errorf("%d queries:\n%s", len(db.queries), strings.Join(db.queries, "\n"))
	}
}

// TestWhatIsOpenIsNoWorseThanItIsRoughly: whatever happens to pods and scrapes,
// no failure that Open tells of is missed by the look before.
func TestWhatIsOpenIsNoWorseThanItIsRoughly(t *testing.T) {
	failing := 0
	for seed := range uint64(4) {
		db, town := newTSDB(), newTown(seed)
		a := theAsk()
		a.Reporter = []Reporter{Auto, Source}[seed%2]
		for at := 0.0; at < 300; at += 0.5 {
			town.live(db, at)
			if at < 30 || math.Mod(at, 3) != 0 {
				continue
			}
			live := a
			live.From = Closed(after(at), a.Width)
			open, rough := mustOpen(t, db, live, after(at)), mustRough(t, db, live, after(at))
			if len(open) == 0 || open[0].Canary.Errors == 0 {
				continue
			}
			failing++
			if len(rough) == 0 || rough[0].Missing == "" && rough[0].Canary.Errors < open[0].Canary.Errors {
				t.Errorf("seed %d at %v s: open %+v, roughly %+v", seed, at, open[0].Canary, rough)
			}
		}
	}
	if failing < 30 {
		t.Errorf("only %d open blocks with failures", failing)
	}
}
