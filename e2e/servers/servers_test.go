// Package servers tries pkg/prom against real servers that speak Prometheus's
// API: a script of requests, pods that come and go, restarts and slow scrapes
// is scraped by each, and asked for while it happens and once more afterwards.
package servers

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// server is one to try.
type server struct {
	name  string
	start func(t *testing.T, dir string, w *world) (url string)
	width time.Duration // the scrape interval
	lag   time.Duration // how long after a block is closed everything of it can be seen
}

var servers = []server{
	{"Prometheus 2.48", startPrometheus(prometheus248), time.Second, 0},
	{"Prometheus 2.55", startPrometheus(prometheus255), time.Second, 0},
	{"Prometheus 3.11", startPrometheus(prometheus311), time.Second, 0},
	{"Prometheus 3.15", startPrometheus(prometheus315), time.Second, 0},
	{"Thanos 0.42", startThanos, time.Second, 0},
	// It shows samples after two seconds, and new series after up to ten.
	{"VictoriaMetrics 1.130 each second", startVictoria(), time.Second, 15 * time.Second},
	{"VictoriaMetrics 1.130 each second, staleness as in Prometheus", startVictoria("-search.minStalenessInterval=5m"), time.Second, 15 * time.Second},
	{"VictoriaMetrics 1.130 each 10 seconds", startVictoria(), 10 * time.Second, 0},
}

// lags are those with which every server is watched.
var lags = []time.Duration{0, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second}

// look is how often the viewers look, as long as there is something to see.
const look = 200 * time.Millisecond

// viewer asks block by block, a lag after each is closed.
type viewer struct {
	lag    time.Duration
	ask    prom.Ask
	blocks []judge.Block
	open   []judge.Block // what was known before they were closed
	err    error
	looks  int
}

func (v *viewer) look(ctx context.Context, q prom.Query) {
	answer := prom.Blocks(ctx, q, []prom.Ask{v.ask}, time.Now().Add(-v.lag))[v.ask.Key]
	v.fails(answer.Err)
	for _, b := range answer.Blocks {
		v.ask.From = b.End()
	}
	if len(answer.Blocks) > 0 {
		v.looks++
	}
	v.blocks = append(v.blocks, answer.Blocks...)
}

// lookAhead asks for what isn't closed yet.
func (v *viewer) lookAhead(ctx context.Context, q prom.Query) {
	if len(v.blocks) == 0 {
		return
	}
	answer := prom.Open(ctx, q, []prom.Ask{v.ask}, time.Now())[v.ask.Key]
	v.fails(answer.Err)
	v.open = append(v.open, answer.Blocks...)
}

func (v *viewer) fails(err error) {
	if err != nil && v.err == nil {
		v.err = err
	}
}

func TestServers(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			dir := t.TempDir()
			w := newWorld(t, dir, s.width)
			try(t, s, w, s.start(t, dir, w))
		})
	}
}

func try(t *testing.T, s server, w *world, url string) {
	closed, open := &counter{}, &counter{}
	every := time.Tick(look)
	started := time.Now()
	for w.pods["a"].scraped() < 3 || w.pods["b"].scraped() < 3 || w.pods["gateway"].scraped() < 3 {
		if <-every; time.Since(started) > time.Minute+10*s.width {
			t.Fatal("the server doesn't scrape its targets")
		}
	}
	begin := time.Now()
	ask := prom.Ask{
		Key: "web", Namespace: "shop", Service: "web", StableWorkload: "web-v1", CanaryWorkload: "web-v2",
		From: begin.Add(-s.width), Width: s.width, Step: 1, Weight: 25,
	}
	q := closed.query(t, url)
	viewers := watch(t, w, s.lag, q, open.query(t, url), ask, begin)
	looks := 0
	for _, v := range viewers {
		looks += v.looks
	}
	t.Logf("%d looks at closed blocks: %s", looks, closed)
	if got := prom.Intervals(t.Context(), q, []prom.Ask{ask}, time.Now())["web"]; got.Err != nil || got.Width != s.width {
		t.Errorf("the scrape interval: %+v, and it is %s", got, s.width)
	}
	replayed := prom.Blocks(t.Context(), q, []prom.Ask{ask}, time.Now())["web"]
	if replayed.Err != nil {
		t.Fatal(replayed.Err)
	}
	for _, v := range viewers {
		difference := compare(v, replayed.Blocks)
		t.Logf("asked %s after a block is closed: %s", v.lag, difference)
		if v.lag >= s.lag && !strings.HasPrefix(difference, "the same") {
			t.Errorf("live isn't replay, %s after a block is closed", v.lag)
		}
		if v.lag == s.lag {
			t.Logf("%d looks ahead: %s", len(v.open), open)
			ahead(t, v.open, replayed.Blocks)
		}
	}
	truth(t, w, ask.Weight, replayed.Blocks)
}

// watch lets the script happen, and the viewers look at it, until all that
// happened has been seen. The one with the server's lag also looks ahead.
func watch(t *testing.T, w *world, lag time.Duration, q, open prom.Query, ask prom.Ask, begin time.Time) []*viewer {
	t.Helper()
	var viewers []*viewer
	for _, l := range lags {
		viewers = append(viewers, &viewer{lag: l, ask: ask})
	}
	looks := 0
	for every := time.Tick(look); time.Since(begin) < (scriptEnds+4)*w.width+lags[len(lags)-1]; <-every {
		w.happens(time.Since(begin))
		looks++
		var all sync.WaitGroup
		for _, v := range viewers {
			all.Go(func() {
				v.look(t.Context(), q)
				if v.lag == lag && looks%3 == 0 {
					v.lookAhead(t.Context(), open)
				}
			})
		}
		all.Wait()
	}
	return viewers
}

// ahead checks that everything that was told before the blocks were closed is
// in the closed ones too.
func ahead(t *testing.T, open, closed []judge.Block) {
	t.Helper()
	told := 0
	for _, o := range open {
		var stable, canary judge.Counts
		known := true
		for _, b := range closed {
			if !b.Start.Before(o.Start) && b.Start.Before(o.End()) {
				add(&stable, b.Stable.Counts)
				add(&canary, b.Canary.Counts)
				known = known && b.Missing == ""
			}
		}
		if o.Canary.Requests > 0 {
			told++
		}
		if known && (more(o.Canary.Counts, canary) || more(o.Stable.Counts, stable)) {
			t.Errorf("the open block of %s says more than the closed ones\nopen   %s\nclosed %+v %+v", o.Start.Format(time.TimeOnly), line(o), stable, canary)
		}
	}
	t.Logf("%d of them know of the canary", told)
	if told == 0 {
		t.Error("no open block knows of the canary")
	}
}

func more(a, b judge.Counts) bool { return a.Requests > b.Requests || a.Errors > b.Errors }

// compare tells how the viewer's blocks differ from the replayed ones.
func compare(v *viewer, replayed []judge.Block) string {
	if v.err != nil {
		return v.err.Error()
	}
	if len(v.blocks) > len(replayed) {
		return fmt.Sprintf("%d blocks, of which %d could be replayed", len(v.blocks), len(replayed))
	}
	differ, first := 0, ""
	for i, b := range v.blocks {
		if !reflect.DeepEqual(b, replayed[i]) {
			if differ++; first == "" {
				first = fmt.Sprintf("%d\nlive     %s\nreplayed %s", i, line(b), line(replayed[i]))
			}
		}
	}
	if differ == 0 {
		return fmt.Sprintf("the same %d blocks", len(v.blocks))
	}
	return fmt.Sprintf("%d of %d blocks differ, first block %s", differ, len(v.blocks), first)
}

// line is a block in one line.
func line(b judge.Block) string {
	if b.Missing != "" {
		return b.Missing
	}
	return fmt.Sprintf("stable %+v canary %+v", b.Stable, b.Canary)
}

// truth compares the sum of all blocks with what happened.
func truth(t *testing.T, w *world, weight int, blocks []judge.Block) {
	t.Helper()
	lost := w.unknown * int64(weight) / 100
	w.canary.Requests, w.canary.Errors = w.canary.Requests+lost, w.canary.Errors+lost
	w.stable.Requests, w.stable.Errors = w.stable.Requests+w.unknown-lost, w.stable.Errors+w.unknown-lost
	var stable, canary judge.Counts
	missing, untimed := 0, 0
	for i, b := range blocks {
		if b.Missing != "" {
			missing++
			t.Logf("block %d: %s", i, b.Missing)
		}
		if b.Missing == "" && (b.Stable.Latency == nil || b.Canary.Latency == nil) {
			untimed++
		}
		add(&stable, b.Stable.Counts)
		add(&canary, b.Canary.Counts)
	}
	t.Logf("of %d blocks %d are missing, %d untimed", len(blocks), missing, untimed)
	for _, c := range []struct {
		track     string
		got, want judge.Counts
	}{{"stable", stable, w.stable}, {"canary", canary, w.canary}} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: blocks say %+v, and %+v happened", c.track, c.got, c.want)
		} else {
			t.Logf("%s: %+v", c.track, c.got)
		}
	}
}

func add(sum *judge.Counts, more judge.Counts) {
	sum.Requests += more.Requests
	sum.Errors += more.Errors
	sum.ClientErrors += more.ClientErrors
	sum.Disconnects += more.Disconnects
}

// counter counts queries and how long they took.
type counter struct {
	mu   sync.Mutex
	n    int
	took time.Duration
}

func (c *counter) query(t *testing.T, url string) prom.Query {
	t.Helper()
	q, err := prom.HTTP(&http.Client{Timeout: 10 * time.Second, Transport: c}, url)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	response, err := http.DefaultTransport.RoundTrip(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.took += time.Since(began)
	return response, err
}

func (c *counter) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%d queries, %s each", c.n, (c.took / time.Duration(max(c.n, 1))).Round(10*time.Microsecond))
}
