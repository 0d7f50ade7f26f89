package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"serin.dev/serin/e2e/load"
)

// blame is whose doing an answer is.
type blame int

const (
	good       blame = iota
	version5xx       // a version that was deployed to be bad
	cutOff           // a pod went while the proxies could not be told, for something of the cluster was away
	ourDoing         // nothing explains it but the routes
)

func (b blame) String() string {
	return [...]string{"good", "by a bad version", "a pod went while the cluster could not tell the proxies", "by a route"}[b]
}

// outage is a time in which a process was away, and the time in which what it
// knows comes back to the others.
type outage struct {
	process  string
	from, to time.Time // zero: it lasts
}

// outages are those of the processes through which proxies learn of pods.
type outages struct {
	mu  sync.Mutex
	all []outage
}

// begin keeps that a process goes away now, and returns what ends that.
func (o *outages) begin(process string) (end func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := len(o.all)
	o.all = append(o.all, outage{process: process, from: time.Now()})
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.all[i].to = time.Now()
	}
}

// recovery is how long after an outage proxies may still go by what was before:
// istiod tells them at once when it is back, and takes its time to reach the API
// server again when that is.
func recovery(process string) time.Duration {
	if process == istiod {
		return 5 * time.Second
	}
	return 15 * time.Second
}

// during names what was away at a time; empty if nothing was.
func (o *outages) during(from, to time.Time) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.all {
		if one.from.Before(to) && (one.to.IsZero() || one.to.Add(recovery(one.process)).After(from)) {
			return one.process
		}
	}
	return ""
}

// judge says whose doing an answer is. A proxy that has no route (404 and nobody
// who answered), no cluster (503 without a word) or no pod in a subset ("no
// healthy upstream") was led wrongly, whatever was away.
func judge(r load.Record, bad map[string]bool, away func(from, to time.Time) string) blame {
	switch {
	case bad[r.Version]:
		return version5xx
	case !r.Bad() && r.Version != "":
		return good
	case r.Version != "": // a good version says 5xx only where it is asked to
		return ourDoing
	case strings.Contains(r.Said, "upstream connect error") && away(r.Start, r.Start.Add(r.Latency)) != "":
		return cutOff
	}
	return ourDoing
}

// answeredBy checks that the last answers to all users were good, and by the
// version.
func (s *shop) answeredBy(version string) func(context.Context) error {
	return func(ctx context.Context) error {
		since := time.Now()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		for _, g := range s.users {
			sum := g.Summary(since, time.Time{})
			if sum.Requests < rate/4 || sum.ByVersion[version].Requests != sum.Requests || sum.Bad > 0 {
				return fmt.Errorf("of %d answers %d are by %s, %d bad", sum.Requests, sum.ByVersion[version].Requests, version, sum.Bad)
			}
		}
		return nil
	}
}

// see keeps whose doing an answer is.
func (s *shop) see(r load.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() || r.Start.Before(s.began) {
		return // the shop was not open yet
	}
	if ended := r.Start.Add(r.Latency); s.first[r.Version].IsZero() || ended.Before(s.first[r.Version]) {
		s.first[r.Version] = ended
	}
	b := judge(r, s.bad, s.away.during)
	s.answers[b]++
	if b != ourDoing && b != cutOff {
		return
	}
	told := fmt.Errorf("%s: a user got status %d by %q at %s after %s: %s %s", s.name, r.Status, r.Version, r.Start.Format(clock), r.Latency.Round(time.Millisecond), r.Said, r.Error)
	if b == ourDoing {
		s.wrong = append(s.wrong, told)
	}
	if s.answers[b] <= 20 { // one that fails is seldom alone
		s.say("%s: %v", b, told)
	}
}

// ledWrongly is what the proxies counted of requests for which they had no
// route, no cluster or no pod, by Envoy's flag for it.
func (st *stage) ledWrongly(ctx context.Context) (map[string]int, error) {
	const query = `sum by (response_flags) (istio_requests_total{reporter="source", response_flags=~".*(NR|NC|UH|NFCF|DI|FI).*"})`
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, st.PrometheusURL()+"/api/v1/query?query="+url.QueryEscape(query), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return readCounts(body)
}

func readCounts(body []byte) (map[string]int, error) {
	var a struct {
		Status string
		Data   struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal(body, &a); err != nil || a.Status != "success" {
		return nil, errors.Join(fmt.Errorf("Prometheus says %.200s", body), err)
	}
	out := map[string]int{}
	for _, r := range a.Data.Result {
		text, _ := r.Value[1].(string)
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		out[r.Metric["response_flags"]] = int(n)
	}
	return out, nil
}
