package main

import (
	"io"
	"strings"
	"testing"
	"time"
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
		var all []breach
		for _, n := range bad {
			all = append(all, breach{bad: n})
		}
		return spread(all, count, func(b breach) float64 { return float64(b.bad) })
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

func TestAllMistakesInTheFlagsAreTold(t *testing.T) {
	_, err := parse([]string{"--only", "idle,speed", "--runs", "0", "--idle-time", "1s"}, io.Discard)
	for _, want := range []string{`"speed" is none of`, "--runs is 0", "--idle-time is 1s"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %s", err, want)
		}
	}
}
