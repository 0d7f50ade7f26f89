package alertmanager

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/alertmanager/matcher"
)

// place is a release's Service.
type place struct{ namespace, service string }

// asker is a release that asked, with what it was told.
type asker struct {
	at      time.Time
	subject canary.Subject
	rule    matcher.Rule
	told    []canary.Alert
}

const (
	// forgotten is how long after its last question a release is no longer woken.
	forgotten = 10 * time.Minute
	// apart is the least time between two requests that hints are the cause of.
	apart = time.Second
	// maxAskers bounds how many releases are remembered; the others are not woken, and
	// learn of alerts when they ask.
	maxAskers = 10_000
)

func (p *Poller) remember(s canary.Subject, rule matcher.Rule, told []canary.Alert) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := place{s.Namespace, s.Service}
	if _, known := p.asked[key]; !known && len(p.asked) >= maxAskers {
		p.forget()
		if len(p.asked) >= maxAskers {
			return
		}
	}
	p.asked[key] = &asker{at: time.Now(), subject: s, rule: rule, told: told}
}

// forget drops those that asked long ago. The lock is held.
func (p *Poller) forget() {
	for key, a := range p.asked {
		if time.Since(a.at) > forgotten {
			delete(p.asked, key)
		}
	}
}

// Poke has Alertmanager asked at once, by Run, and is the most that a hint from outside
// can do. It doesn't wait, and many at once are one.
func (p *Poller) Poke() {
	select {
	case p.hints <- struct{}{}:
	default:
	}
}

// Run follows hints until the context ends: it asks Alertmanager, at most once a second,
// and wakes the releases for which the answer is another. While no release asks, it
// asks nobody either.
func (p *Poller) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.hints:
		}
		if !p.settle(ctx) {
			return
		}
		p.follow(ctx)
	}
}

// settle waits until no request is under way, which may have begun before the hint,
// and the last one is long enough ago.
func (p *Poller) settle(ctx context.Context) bool {
	p.mu.Lock()
	under := p.flight
	p.mu.Unlock()
	if under != nil {
		select {
		case <-ctx.Done():
			return false
		case <-under.done:
		}
	}
	p.mu.Lock()
	wait := apart - time.Since(p.last.at)
	p.mu.Unlock()
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// follow asks anew, and wakes whom it concerns.
func (p *Poller) follow(ctx context.Context) {
	p.mu.Lock()
	p.forget()
	idle := len(p.asked) == 0
	p.last.at = time.Time{} // what is known is no longer new
	p.mu.Unlock()
	if idle {
		return
	}
	seen := p.look(ctx)
	if seen.err != nil {
		return
	}
	for _, concerned := range p.concerned(seen) {
		if p.wake != nil {
			p.wake(concerned.namespace, concerned.service)
		}
	}
}

// concerned are the releases that would now be told something else.
func (p *Poller) concerned(seen sight) []place {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []place
	for key, a := range p.asked {
		if now := p.about(a.rule, a.subject, seen.alerts, false); !slices.Equal(now, a.told) {
			a.told = now
			out = append(out, key)
		}
	}
	return out
}

const (
	// maxBody bounds what a sender may say, in bytes; Alertmanager's own messages are of
	// one group of alerts.
	maxBody = 1 << 20
	// Each sender may say so much a second, all together.
	hintsPerSecond, hintsAtOnce = 5, 20
)

// Handler takes what Alertmanager sends to a webhook receiver, and calls poke. What is
// said in it is not believed: it only is the reason to look at once. It takes POST with
// the bearer token that the function gives at that time, and JSON of version 4. Where
// poke says that nobody here follows hints, as in a replica that does not lead, the
// sender is told to come again, by another connection.
func Handler(token func() (string, error), poke func() bool) http.Handler {
	limit := rate.NewLimiter(hintsPerSecond, hintsAtOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, why := take(limit, token, w, r); status != http.StatusNoContent {
			http.Error(w, why, status)
			return
		}
		if !poke() {
			w.Header().Set("Connection", "close")
			http.Error(w, "another replica leads", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

func take(limit *rate.Limiter, token func() (string, error), w http.ResponseWriter, r *http.Request) (status int, why string) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return http.StatusMethodNotAllowed, "POST is due"
	}
	wanted, err := token()
	if err != nil || wanted == "" {
		return http.StatusServiceUnavailable, "the token of this receiver can't be read"
	}
	given, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !is || !same(given, wanted) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return http.StatusUnauthorized, "the receiver's bearer token is due"
	}
	if !limit.Allow() {
		w.Header().Set("Retry-After", "1")
		return http.StatusTooManyRequests, fmt.Sprintf("more than %d messages a second", hintsPerSecond)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return http.StatusRequestEntityTooLarge, "the message can't be read, or is too long"
	}
	var message struct {
		Version string            `json:"version"`
		Alerts  []json.RawMessage `json:"alerts"`
	}
	if json.Unmarshal(body, &message) != nil || message.Version != "4" || len(message.Alerts) == 0 {
		return http.StatusBadRequest, "no message of Alertmanager's webhook of version 4 with alerts"
	}
	return http.StatusNoContent, ""
}

// same compares in a time that tells nothing of the texts.
func same(given, wanted string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(wanted))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
