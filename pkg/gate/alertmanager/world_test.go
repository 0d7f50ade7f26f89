package alertmanager_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/alertmanager"
)

// world stands for the replicas of Alertmanager, by the host of their URL.
type world struct {
	mu       sync.Mutex
	answers  map[string]string // JSON by host; one that is missing refuses connections
	status   int               // 0: 200
	takes    time.Duration
	requests []*http.Request
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.requests = append(w.requests, r)
	answer, is := w.answers[r.URL.Host]
	status, takes := max(w.status, http.StatusOK), w.takes
	w.mu.Unlock()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(takes):
	}
	if !is {
		return nil, errors.New("dial tcp: connection refused")
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

// says changes what a replica answers.
func (w *world) says(host string, alerts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answers == nil {
		w.answers = map[string]string{}
	}
	w.answers[host] = "[" + strings.Join(alerts, ",") + "]"
}

func (w *world) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests)
}

// firing is an active alert as API v2 writes it; labels are "name=value" between
// commas.
func firing(began time.Time, summary, labels string) string {
	var all []string
	for pair := range strings.SplitSeq(labels, ",") {
		name, value, _ := strings.Cut(pair, "=")
		all = append(all, `"`+name+`":"`+value+`"`)
	}
	return `{"annotations":{"summary":"` + summary + `"},"endsAt":"2026-03-01T13:00:00.000Z","fingerprint":"0123456789abcdef","receivers":[{"name":"all"}],"startsAt":"` +
		began.Format(time.RFC3339Nano) + `","status":{"inhibitedBy":[],"mutedBy":[],"silencedBy":[],"state":"active"},"updatedAt":"2026-03-01T12:00:00.000Z","labels":{` + strings.Join(all, ",") + `}}`
}

var (
	started = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	before  = started.Add(-time.Minute)
	since   = started.Add(time.Minute)
)

func subject() canary.Subject {
	return canary.Subject{
		Namespace: "shop", Service: "web", Rollout: "abc", Started: started,
		Canary: canary.Party{Deployment: "web-v2", Pods: []string{"odd-name"}},
		Stable: canary.Party{Deployment: "web"},
	}
}

var question = canary.Question{Kind: canary.AskAlerts, Stage: canary.Always, Rollout: "abc"}

func poller(t *testing.T, w *world, change ...func(*alertmanager.Options)) *alertmanager.Poller {
	t.Helper()
	o := alertmanager.Options{URLs: []string{"http://a:9093"}, Transport: w}
	for _, c := range change {
		c(&o)
	}
	p, err := alertmanager.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ask(p *alertmanager.Poller, s canary.Subject) canary.Answer {
	return p.Ask(context.Background(), question, s)
}

// pass lets time go by in a bubble.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble of testing/synctest nobody waits
}
