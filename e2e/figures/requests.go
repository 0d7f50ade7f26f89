package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/sandbox"
)

// tally counts requests by what they do, such as "update virtualservices".
type tally map[string]int

// apiRequests counts what the user asked of the API server from since to
// before until. A watch has two lines in the audit log and counts once, when
// it begins.
func apiRequests(log io.Reader, user string, since, until time.Time) (tally, error) {
	counts, seen := tally{}, map[string]bool{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			AuditID, Verb            string
			User                     struct{ Username string }
			ObjectRef                struct{ Resource string }
			RequestURI               string
			RequestReceivedTimestamp time.Time
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		at := e.RequestReceivedTimestamp
		if e.User.Username != user || seen[e.AuditID] || at.Before(since) || !at.Before(until) {
			continue
		}
		seen[e.AuditID] = true
		what := e.ObjectRef.Resource
		if what == "" {
			what = e.RequestURI
		}
		counts[e.Verb+" "+what]++
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return counts, nil
}

func (b *bench) apiRequests(since, until time.Time) (tally, error) {
	f, err := os.Open(b.AuditLog())
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer f.Close()
	return apiRequests(f, shop.ControllerUser, since, until)
}

// split parts the requests that keep the Lease from all others.
func (t tally) split() (lease, others int) {
	for what, n := range t {
		if strings.HasSuffix(what, " leases") {
			lease += n
		} else {
			others += n
		}
	}
	return lease, others
}

// String lists what was counted, most first.
func (t tally) String() string {
	keys := slices.SortedFunc(maps.Keys(t), func(a, b string) int {
		if t[a] != t[b] {
			return t[b] - t[a]
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%d %s", t[k], k))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// queries is how many queries the controller has sent to Prometheus.
func queries(ctx context.Context, c *sandbox.Controller) (int, error) {
	text, err := fetch(ctx, c.MetricsURL+"/metrics")
	if err != nil {
		return 0, err
	}
	return sum(strings.NewReader(text), "serin_prometheus_queries_total")
}

// fetch reads the controller's metrics.
func fetch(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("read the controller's metrics: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

// sum adds up all series of a metric in the text format.
func sum(metrics io.Reader, name string) (int, error) {
	total := 0.0
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name+"{")
		if !ok {
			continue
		}
		_, value, _ := strings.Cut(rest, "} ")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("read the metric %s: %w", name, err)
		}
		total += v
	}
	return int(total), lines.Err()
}
