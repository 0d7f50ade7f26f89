package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// queryOf asks a town as the controller does, without sockets.
func queryOf(t testing.TB, town *Town) prom.Query {
	t.Helper()
	q, err := prom.HTTP(&http.Client{Transport: town, Timeout: 10 * time.Second}, "http://prometheus")
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble of testing/synctest nobody waits
}

func pods(workload string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s-%d", workload, i))
	}
	return names
}

// split sets stable's and the canary's flows, of 100 requests per second.
func split(town *Town, weight, errors float64) {
	town.Flow("shop", "web",
		Flow{Workload: "web-v1", Pods: pods("web-v1", 3), Rate: 100 - weight, Slow: .01},
		Flow{Workload: "web-v2", Pods: pods("web-v2", 2), Rate: weight, Errors: errors, Slow: .01},
	)
}

func theAsk(from time.Time) prom.Ask {
	return prom.Ask{
		Key: "web", Namespace: "shop", Service: "web", StableWorkload: "web-v1", CanaryWorkload: "web-v2",
		From: from, Width: 5 * time.Second, Step: 1, Weight: 20,
	}
}

// blocks are the closed blocks since from.
func blocks(t testing.TB, town *Town, from time.Time) []judge.Block {
	t.Helper()
	a := prom.Blocks(context.Background(), queryOf(t, town), []prom.Ask{theAsk(from)}, time.Now())["web"]
	if a.Err != nil {
		t.Fatal(a.Err)
	}
	return a.Blocks
}

func TestBlocksTellWhatFlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := New(time.Second)
		split(town, 0, 0)
		pass(time.Minute)
		split(town, 20, .5)
		from := time.Now()
		pass(time.Minute)
		var stable, canary judge.Counts
		all := blocks(t, town, from)
		if len(all) != 10 {
			t.Fatalf("%d blocks of a minute, want 10", len(all))
		}
		for _, b := range all[1:] {
			if b.Missing != "" || !b.Stable.Live || !b.Canary.Live || len(b.Canary.Latency) == 0 {
				t.Errorf("a block can't be used: %+v", b)
			}
			stable.Requests, stable.Errors = stable.Requests+b.Stable.Requests, stable.Errors+b.Stable.Errors
			canary.Requests, canary.Errors = canary.Requests+b.Canary.Requests, canary.Errors+b.Canary.Errors
		}
		for what, c := range map[string]struct{ got, want int64 }{
			"stable's requests":     {stable.Requests, 9 * 5 * 80},
			"stable's errors":       {stable.Errors, 0},
			"the canary's requests": {canary.Requests, 9 * 5 * 20},
			"the canary's errors":   {canary.Errors, 9 * 5 * 10},
		} {
			if c.got < c.want-15 || c.got > c.want+15 {
				t.Errorf("%s are %d, want %d", what, c.got, c.want)
			}
		}
	})
}

func TestOpenBlocksAndIntervalsAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := New(2 * time.Second)
		split(town, 20, .5)
		pass(5 * time.Minute)
		from := time.Now().Truncate(5 * time.Second)
		pass(9 * time.Second)
		q := queryOf(t, town)
		open := prom.Open(t.Context(), q, []prom.Ask{theAsk(from)}, time.Now())["web"]
		if open.Err != nil || len(open.Blocks) != 1 || open.Blocks[0].Canary.Errors < 50 {
			t.Errorf("the open block is %+v", open)
		}
		i := prom.Intervals(t.Context(), q, []prom.Ask{theAsk(from)}, time.Now())["web"]
		if i.Err != nil || i.Width != 2*time.Second {
			t.Errorf("the interval is %v, %v", i.Width, i.Err)
		}
	})
}

func TestAQueryOfAnotherFormIsRefused(t *testing.T) {
	for _, promql := range []string{
		"up", "sum(rate(istio_requests_total[1m]))", `sum by (pod) (rate(istio_requests_total{}[60000ms]))`,
		`sum by (pod) (istio_requests_total{a="b)`, `sum by (pod) (istio_requests_total{a="b"x})`, `sum by (pod) (istio_requests_total{a=~"("})`,
		`sum by (pod) (other_total{a="b"})`, `avg by (pod) (istio_requests_total{a="b"})`, `sum by (pod) (istio_requests_total{a="b"}[5000ms])`,
		"last_over_time((up\n)[5000ms:1000ms])", "",
	} {
		town := New(time.Second)
		_, err := queryOf(t, town)(t.Context(), promql, time.Unix(0, 0), time.Unix(10, 0), time.Second)
		if err == nil || !strings.Contains(err.Error(), "status 400") || !strings.Contains(err.Error(), strings.TrimSpace(promql[:min(len(promql), 10)])) {
			t.Errorf("%q is answered with %v", promql, err)
		}
		if town.Asked() != 1 {
			t.Errorf("%d queries were counted", town.Asked())
		}
	}
}

func TestOverAConnectionItAnswersTheSame(t *testing.T) {
	town := New(time.Second)
	split(town, 20, .5)
	aged(town, time.Minute)
	server := httptest.NewServer(town)
	defer server.Close()
	remote, err := prom.HTTP(server.Client(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	const promql = `sum by (pod) (istio_requests_total{reporter="source"})`
	at := time.Now()
	ask := func(q prom.Query) string {
		m, err := q(t.Context(), promql, at, at.Add(time.Second), time.Second)
		return fmt.Sprint(m, err)
	}
	if a, b := ask(queryOf(t, town)), ask(remote); a != b || !strings.Contains(a, Gateway) {
		t.Errorf("without a connection the answer is\n%s\nover one\n%s", a, b)
	}
	town.Break(Unreachable)
	if got := ask(remote); !strings.Contains(got, "EOF") {
		t.Errorf("unreachable is %s", got)
	}
}
