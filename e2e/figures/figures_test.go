package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/load"
)

const auditLog = `{"auditID":"1","verb":"watch","user":{"username":"serin"},"objectRef":{"resource":"services"},"requestReceivedTimestamp":"2026-01-01T00:00:10.5Z","stage":"ResponseStarted"}
{"auditID":"1","verb":"watch","user":{"username":"serin"},"objectRef":{"resource":"services"},"requestReceivedTimestamp":"2026-01-01T00:00:10.5Z","stage":"ResponseComplete"}
{"auditID":"2","verb":"update","user":{"username":"serin"},"objectRef":{"resource":"leases"},"requestReceivedTimestamp":"2026-01-01T00:00:11Z"}
{"auditID":"3","verb":"update","user":{"username":"serin"},"objectRef":{"resource":"leases"},"requestReceivedTimestamp":"2026-01-01T00:00:13Z"}
{"auditID":"4","verb":"get","user":{"username":"serin"},"requestURI":"/api","requestReceivedTimestamp":"2026-01-01T00:00:12Z"}
{"auditID":"5","verb":"get","user":{"username":"admin"},"objectRef":{"resource":"pods"},"requestReceivedTimestamp":"2026-01-01T00:00:12Z"}
{"auditID":"6","verb":"get","user":{"username":"serin"},"objectRef":{"resource":"pods"},"requestReceivedTimestamp":"2026-01-01T00:00:09Z"}
{"auditID":"7","verb":"get","user":{"username":"serin"},"objectRef":{"resource":"pods"},"requestReceivedTimestamp":"2026-01-01T00:00:20Z"}
`

func TestRequestsOfOneUserAreCountedOnceEach(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)
	got, err := apiRequests(strings.NewReader(auditLog), "serin", begin, begin.Add(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if want := "2 update leases, 1 get /api, 1 watch services"; got.String() != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if lease, others := got.split(); lease != 2 || others != 2 {
		t.Errorf("%d for the Lease and %d others", lease, others)
	}
}

func TestNoRequestsAreSaidToBeNone(t *testing.T) {
	if got := (tally{}).String(); got != "none" {
		t.Errorf("got %q", got)
	}
}

func TestAMetricIsSummedOverItsSeries(t *testing.T) {
	const text = `# HELP serin_prometheus_queries_total Queries
serin_prometheus_queries_total{result="error"} 2
serin_prometheus_queries_total{result="ok"} 40
serin_prometheus_queries_total_other{result="ok"} 1000
`
	if got, err := sum(strings.NewReader(text), "serin_prometheus_queries_total"); err != nil || got != 42 {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestTheSpreadIsLeastMedianAndGreatest(t *testing.T) {
	of := func(bad ...int) string {
		var all []outcome
		for _, n := range bad {
			all = append(all, outcome{bad: n})
		}
		return spread(all, count, func(o outcome) float64 { return float64(o.bad) })
	}
	for got, want := range map[string]string{
		of(5, 1, 3):    "1 / 3 / 5",
		of(4, 1, 3, 7): "1 / 4 / 7",
		of(2):          "2 / 2 / 2",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestWhatUsersSawOfTheCanary(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	records := []load.Record{
		{Start: at(0), Status: 500, Version: "v1"},
		{Start: at(4), Status: 500, Version: "v2"}, // remembered when it ended, out of order
		{Start: at(1), Status: 200, Version: "v2"},
		{Start: at(2), Status: 200, Version: "v2", Latency: 3 * time.Second},
		{Start: at(9), Status: 404, Version: "v2"},
	}
	decided := shop.State{Phase: shop.RolledBack, Since: at(7)}
	want := outcome{phase: shop.RolledBack, exposed: 2 * time.Second, decided: 5 * time.Second, bad: 2, seen: 4}
	if got := measured(records, decided, false); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := measured(records, decided, true).decided; got != 6*time.Second {
		t.Errorf("a healthy one was decided on after %s, want 6s after its first answer", got)
	}
}

func TestReleasesInARow(t *testing.T) {
	back := outcome{phase: shop.RolledBack, exposed: 2 * time.Second, decided: time.Second, bad: 3, seen: 60}
	held := outcome{decided: time.Minute, seen: 100}
	promoted := outcome{phase: shop.Succeeded, decided: 30 * time.Second, bad: 1, seen: 200}
	for _, tt := range []struct{ name, got, want string }{
		{"rolled back as it should be", badRow([]outcome{back}), "2.0 s / 2.0 s / 2.0 s | 1.0 s / 1.0 s / 1.0 s | 3 / 3 / 3 | 60 / 60 / 60"},
		{"some were missed", badRow([]outcome{back, held}), "2.0 s / 2.0 s / 2.0 s | 1.0 s / 1.0 s / 1.0 s | 3 / 3 / 3 | 60 / 60 / 60; 1 of 2 were not rolled back within 15m0s"},
		{"all were missed", badRow([]outcome{held}), "never rolled back (1 runs, 15m0s each) | | |"},
		{"promoted as it should be", healthyRow([]outcome{promoted}), "1 of 1 | 30.0 s / 30.0 s / 30.0 s | 0.50% / 0.50% / 0.50%"},
		{"some were not", healthyRow([]outcome{back, promoted, held}), "1 of 3, one RolledBack after 1.0 s, one held after 60.0 s | 30.0 s / 30.0 s / 30.0 s | 0.50% / 0.50% / 0.50%"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, tt.got, tt.want)
		}
	}
}

func TestAllMistakesInTheFlagsAreTold(t *testing.T) {
	_, err := parse([]string{"--only", "idle,speed", "--releases", "slow,quick", "--runs", "0", "--idle-time", "1s", "--scrape-interval", "1h", "--in-place-runs", "0", "--settle", "1ms", "now"}, io.Discard)
	for _, want := range []string{`"speed" is none of`, `"quick" is none of`, "--runs is 0", "--idle-time is 1s", "--scrape-interval is 1h", "--in-place-runs is 0", "--settle is 1ms", `"now"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %s", err, want)
		}
	}
}

func TestTheEndOfTheControllerIsAlwaysAReason(t *testing.T) {
	crash := errors.New("exit status 1")
	if got := gone(crash); !errors.Is(got, crash) {
		t.Errorf("got %v", got)
	}
	if gone(nil) == nil {
		t.Error("a controller that ends by itself is gone, too")
	}
}
