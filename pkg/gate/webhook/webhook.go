// Package webhook is a gate that asks a program of the operator's: by a signed request
// with JSON, answered with a decision. Whatever else comes than a decision is no answer,
// and holds a release.
package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"serin.dev/serin/internal/signature"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/outside"
	"serin.dev/serin/pkg/safetext"
)

// Options say who is asked.
type Options struct {
	Name        string        // of the gate
	URL         string        // where it answers
	Credentials string        // file with the key that signs, read for each request
	CA          string        // file with certificates in PEM; empty: the system's
	Timeout     time.Duration // of one request; 0 is outside.DefaultTimeout
	// Transport sends the requests; nil makes one.
	Transport http.RoundTripper
}

// Request is the JSON that is sent. The same question is sent again until it is
// decided, under the same webhook-id.
type Request struct {
	Version  int             `json:"version"` // of this form: Version
	Question canary.Question `json:"question"`
	Subject  canary.Subject  `json:"subject"`
}

// Version is the form of Request. Fields may be added in one version, not changed.
const Version = 1

// Decision is the JSON that is answered, with the status 200.
type Decision struct {
	// Decision is allow, deny, wait, or approve: allow if a person approves.
	Decision canary.AnswerKind `json:"decision"`
	Reason   string            `json:"reason"` // why, for people, in a sentence
	// RetryAfter is in how many seconds a gate that says wait shall be asked again; 0:
	// as usual.
	RetryAfter float64 `json:"retryAfter"`
}

const (
	// maxAnswer is how long an answer may be, in bytes.
	maxAnswer = 64 << 10
	// maxReason is how much of a reason is shown, in characters.
	maxReason = 200
	// pace is the least time between two requests to one gate: what a whole cluster
	// asks at once comes one by one.
	pace = 50 * time.Millisecond
)

// Gate asks one program. It is safe for concurrent use.
type Gate struct {
	o      Options
	client *outside.Client

	mu   sync.Mutex
	next time.Time // when the next request may be sent
}

// New makes a gate; it asks nobody yet. It fails where the file of authorities can't
// be read.
func New(o Options) (*Gate, error) {
	client, err := outside.New(outside.Options{CA: o.CA, Timeout: o.Timeout, Transport: o.Transport})
	if err != nil {
		return nil, fmt.Errorf("make the gate %s: %w", o.Name, err)
	}
	return &Gate{o: o, client: client}, nil
}

// Ask sends the question and reads the decision.
func (g *Gate) Ask(ctx context.Context, q canary.Question, s canary.Subject) canary.Answer {
	d, err := g.ask(ctx, Request{Version: Version, Question: q, Subject: s})
	if err != nil {
		return canary.Answer{Said: canary.Wait, Unreached: true, At: time.Now(), Sentence: "The gate " + g.o.Name + " gave no decision: " + err.Error()}
	}
	a := canary.Answer{Said: d.Decision, At: time.Now(), Sentence: "The gate " + g.o.Name + " says " + string(d.Decision)}
	if reason := shown(d.Reason); reason != "" {
		a.Sentence += ": " + reason
	}
	if d.Decision == canary.Wait {
		a.RetryAfter = time.Duration(d.RetryAfter * float64(time.Second))
	}
	return a
}

func (g *Gate) ask(ctx context.Context, r Request) (Decision, error) {
	if err := g.turn(ctx); err != nil {
		return Decision{}, err
	}
	key, err := outside.Secret(g.o.Credentials)
	if err != nil {
		return Decision{}, err
	}
	body, err := encode(r)
	if err != nil {
		return Decision{}, fmt.Errorf("write the question as JSON: %w", err)
	}
	headers, err := signature.Headers(key, id(g.o.Name, r), body, time.Now())
	if err != nil {
		return Decision{}, err
	}
	var d Decision
	if err := g.client.Post(ctx, g.o.URL, headers, body, maxAnswer, &d); err != nil {
		return Decision{}, errors.New(safetext.Line(strings.ReplaceAll(err.Error(), key, "(secret)")))
	}
	return d, d.check()
}

// turn waits until the next request may be sent.
func (g *Gate) turn(ctx context.Context) error {
	g.mu.Lock()
	now := time.Now()
	at := now
	if g.next.After(now) {
		at = g.next
	}
	g.next = at.Add(pace)
	g.mu.Unlock()
	timer := time.NewTimer(at.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.New("it is asked too much at once, and will be asked again")
	}
}

// id is the same for the same question about the same release.
func id(gate string, r Request) string {
	q := r.Question
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %q %d %q %q",
		gate, r.Subject.Namespace, r.Subject.Service, q.Rollout, q.Kind, q.Stage, q.Step, q.Attempt, q.About))
	return "serin_" + hex.EncodeToString(sum[:16])
}

// encode writes JSON without the escapes that are for HTML.
func encode(r Request) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(r)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// maxRetryAfter is as far as a gate may put off being asked again, in seconds.
const maxRetryAfter = 24 * 60 * 60

func (d Decision) check() error {
	switch d.Decision {
	case canary.Allow, canary.Deny, canary.Wait, canary.Approve:
	case "":
		return errors.New(`its answer has no decision; answer {"decision": "allow"}, or deny, wait or approve`)
	default:
		return fmt.Errorf("its decision %q is none; answer allow, deny, wait or approve", shown(string(d.Decision)))
	}
	if !(d.RetryAfter >= 0 && d.RetryAfter <= maxRetryAfter) {
		return fmt.Errorf("its retryAfter is not between 0 and %d seconds", maxRetryAfter)
	}
	return nil
}

// shown is what a program said, as one line of limited length without a period at its
// end.
func shown(text string) string {
	safe := []rune(safetext.Line(strings.TrimSuffix(strings.Join(strings.Fields(text), " "), ".")))
	if len(safe) > maxReason {
		return string(safe[:maxReason]) + "..."
	}
	return string(safe)
}
