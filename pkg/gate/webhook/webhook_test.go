package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/internal/golden"
	"serin.dev/serin/internal/signature"
	"serin.dev/serin/pkg/canary"
)

const key = "a key that signs"

// roundTrip is the way to a program that answers.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func says(status int, body string) roundTrip {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func secret(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func gate(t *testing.T, world http.RoundTripper) *Gate {
	t.Helper()
	g, err := New(Options{Name: "board", URL: "https://board.example.com/ask?team=shop", Credentials: secret(t, key+"\n"), Timeout: 5 * time.Second, Transport: world})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// release is one of a shop, in mid-release.
func release() (canary.Question, canary.Subject) {
	began := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	party := func(name, digit string) canary.Party {
		digest := "sha256:" + strings.Repeat(digit, 64)
		return canary.Party{
			Deployment: name, Template: "7d9f", Digests: []string{digest}, Ready: 2,
			Images:    []canary.Image{{Container: "web", Reference: "registry.example.com/web:1." + digit, Digest: digest, Version: "1." + digit}},
			Addresses: []string{"10.0.0.1:80"}, Pods: []string{"web-1"},
		}
	}
	return canary.Question{Kind: canary.AskGate, Name: "board", Stage: canary.BeforeStep, Rollout: "7d9f-1", Step: 2, About: "25%"},
		canary.Subject{
			Namespace: "shop", Service: "web", Rollout: "7d9f-1", Canary: party("web-canary", "2"), Stable: party("web", "1"),
			Step: 1, Steps: 3, Weight: 5, Next: 25, Started: began, Smoke: "GET /secret", Alerts: "none",
		}
}

func TestDecisions(t *testing.T) {
	cases := []struct {
		name, body string
		said       canary.AnswerKind
		sentence   string
		again      time.Duration
	}{
		{"allow", `{"decision": "allow"}`, canary.Allow, "The gate board says allow", 0},
		{"allow, with a reason", `{"decision": "allow", "reason": "Change 17 is approved."}`, canary.Allow, "The gate board says allow: Change 17 is approved", 0},
		{"deny", `{"decision": "deny", "reason": "freeze"}`, canary.Deny, "The gate board says deny: freeze", 0},
		{"wait", `{"decision": "wait", "reason": "the board meets", "retryAfter": 1.5}`, canary.Wait, "The gate board says wait: the board meets", 1500 * time.Millisecond},
		{"approve", `{"decision": "approve"}`, canary.Approve, "The gate board says approve", 0},
		{"only who waits is asked again", `{"decision": "deny", "retryAfter": 60}`, canary.Deny, "The gate board says deny", 0},
		{"what else is there is of no interest", `{"decision": "allow", "ticket": {"id": 17}}`, canary.Allow, "The gate board says allow", 0},
		{"a reason on many lines, and with what steers a terminal", "{\"decision\": \"deny\", \"reason\": \"no\\n\\n  and\\u001b[31m no\"}", canary.Deny, `The gate board says deny: no and\x1b[31m no`, 0},
		{"a long reason", `{"decision": "deny", "reason": "` + strings.Repeat("ä", 300) + `"}`, canary.Deny, "The gate board says deny: " + strings.Repeat("ä", 200) + "...", 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			q, s := release()
			a := gate(t, says(http.StatusOK, c.body)).Ask(t.Context(), q, s)
			if a.Said != c.said || a.Unreached || a.Sentence != c.sentence || a.RetryAfter != c.again || a.At.IsZero() {
				t.Errorf("got  %s: %s (again in %s, unreached: %v)\nwant %s: %s", a.Said, a.Sentence, a.RetryAfter, a.Unreached, c.said, c.sentence)
			}
		})
	}
}

func TestWhatIsNoDecisionHolds(t *testing.T) {
	cases := []struct {
		name  string
		world roundTrip
		want  string
	}{
		{"another status", says(http.StatusAccepted, `{"decision": "allow"}`), `it answers 202 Accepted: {"decision": "allow"}`},
		{"a fault", says(http.StatusInternalServerError, "oh\x1b[31m"), `it answers 500 Internal Server Error: oh\x1b[31m`},
		{"a fault that repeats the key", says(http.StatusForbidden, "bad key "+key), `it answers 403 Forbidden: bad key (secret)`},
		{"a redirect", says(http.StatusTemporaryRedirect, ""), `it answers 307 Temporary Redirect: redirects are not followed; write the address it has now`},
		{"no JSON", says(http.StatusOK, "<html>allow</html>"), `read the answer: it is not the JSON that was expected: invalid character '<'`},
		{"half of it", says(http.StatusOK, `{"decision": "allow"`), `read the answer: it is not the JSON that was expected: unexpected end of JSON input`},
		{"two of it", says(http.StatusOK, `{"decision": "allow"} {"decision": "deny"}`), `read the answer: it is not the JSON that was expected`},
		{"nothing", says(http.StatusOK, ""), `read the answer: it is not the JSON that was expected`},
		{"a list", says(http.StatusOK, `["allow"]`), `read the answer: it is not the JSON that was expected`},
		{"no decision", says(http.StatusOK, `{"allow": true}`), `its answer has no decision; answer {"decision": "allow"}, or deny, wait or approve`},
		{"null", says(http.StatusOK, `null`), `its answer has no decision`},
		{"another decision", says(http.StatusOK, `{"decision": "ALLOW"}`), `its decision "ALLOW" is none; answer allow, deny, wait or approve`},
		{"asked again before", says(http.StatusOK, `{"decision": "wait", "retryAfter": -1}`), `its retryAfter is not between 0 and 86400 seconds`},
		{"asked again too late", says(http.StatusOK, `{"decision": "wait", "retryAfter": 1e300}`), `its retryAfter is not between 0 and 86400 seconds`},
		{"more than anybody has to say", says(http.StatusOK, `{"decision": "allow", "reason": "`+strings.Repeat("x", 64<<10)+`"}`), `read the answer: the answer is too long`},
		{"no connection", func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("dial tcp: refused") }, `dial tcp: refused`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			q, s := release()
			a := gate(t, c.world).Ask(t.Context(), q, s)
			if a.Said != canary.Wait || !a.Unreached || !strings.HasPrefix(a.Sentence, "The gate board gave no decision: "+c.want) {
				t.Errorf("got  %s: %s (unreached: %v)\nwant %s", a.Said, a.Sentence, a.Unreached, c.want)
			}
			if strings.Contains(a.Sentence, key) || strings.Contains(a.Sentence, "board.example.com") {
				t.Errorf("it tells too much: %s", a.Sentence)
			}
		})
	}
}

func TestAProgramThatHangsHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		began := time.Now()
		q, s := release()
		a := g.Ask(t.Context(), q, s)
		if a.Said != canary.Wait || !a.Unreached || a.Sentence != "The gate board gave no decision: no answer within 5s" || time.Since(began) != 5*time.Second {
			t.Errorf("after %s: %s: %s", time.Since(began), a.Said, a.Sentence)
		}
	})
}

// What is sent is a contract: fields may be added, not changed.
func TestWhatIsAsked(t *testing.T) {
	var sent *http.Request
	var body []byte
	g := gate(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		sent = r
		body, _ = io.ReadAll(r.Body)
		return says(http.StatusOK, `{"decision": "allow"}`)(r)
	}))
	q, s := release()
	g.Ask(t.Context(), q, s)
	if err := signature.Verify(sent.Header, body, key, time.Now()); err != nil {
		t.Error(err)
	}
	if sent.Method != http.MethodPost || sent.URL.String() != "https://board.example.com/ask?team=shop" || sent.Header.Get("Content-Type") != "application/json; charset=utf-8" || sent.Header.Get("Authorization") != "" {
		t.Errorf("sent %s %s with %v", sent.Method, sent.URL, sent.Header)
	}
	var shown bytes.Buffer
	if err := json.Indent(&shown, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	shown.WriteByte('\n')
	golden.Section(t, "../../../docs/gates.md", "request", "./pkg/gate/webhook", "```json\n"+shown.String()+"```\n")
}

func TestTheSameQuestionHasTheSameID(t *testing.T) {
	var ids []string
	g := gate(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		ids = append(ids, r.Header.Get(signature.HeaderID))
		return says(http.StatusOK, `{"decision": "wait"}`)(r)
	}))
	q, s := release()
	g.Ask(t.Context(), q, s)
	s.Weight, s.Canary.Ready = 7, 9 // of the release, not of what is asked
	g.Ask(t.Context(), q, s)
	if ids[0] != ids[1] || !strings.HasPrefix(ids[0], "serin_") {
		t.Errorf("the same question goes as %q", ids)
	}
	other := s
	other.Service = "blog"
	for name, ask := range map[string]func(){
		"another share":   func() { q := q; q.About = "50%"; g.Ask(t.Context(), q, s) },
		"another step":    func() { q := q; q.Step = 3; g.Ask(t.Context(), q, s) },
		"another stage":   func() { q := q; q.Stage = canary.BeforePromotion; g.Ask(t.Context(), q, s) },
		"another release": func() { q := q; q.Rollout = "7d9f-2"; g.Ask(t.Context(), q, s) },
		"another order":   func() { q := q; q.Attempt = "2"; g.Ask(t.Context(), q, s) },
		"another Service": func() { g.Ask(t.Context(), q, other) },
	} {
		if ask(); slices.Contains(ids[:len(ids)-1], ids[len(ids)-1]) {
			t.Errorf("%s goes under an id that was used", name)
		}
	}
}

func TestAChangedKeySignsAtOnce(t *testing.T) {
	var headers []http.Header
	var bodies [][]byte
	g := gate(t, roundTrip(func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		headers, bodies = append(headers, r.Header), append(bodies, body)
		return says(http.StatusOK, `{"decision": "allow"}`)(r)
	}))
	q, s := release()
	g.Ask(t.Context(), q, s)
	if err := os.WriteFile(g.o.Credentials, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Ask(t.Context(), q, s)
	for i, k := range []string{key, "another"} {
		if err := signature.Verify(headers[i], bodies[i], k, time.Now()); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
	for name, text := range map[string]string{"an empty key": " \n", "a key that is no base64": "whsec_!"} {
		if err := os.WriteFile(g.o.Credentials, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if a := g.Ask(t.Context(), q, s); a.Said != canary.Wait || !a.Unreached || len(bodies) != 2 {
			t.Errorf("%s: %s: %s", name, a.Said, a.Sentence)
		}
	}
}

// A redirect would take the question, with its signature, elsewhere.
func TestRedirectsAreNotFollowed(t *testing.T) {
	reached := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	g, err := New(Options{Name: "board", URL: server.URL, Credentials: secret(t, key)})
	if err != nil {
		t.Fatal(err)
	}
	q, s := release()
	if a := g.Ask(t.Context(), q, s); !a.Unreached || reached {
		t.Errorf("%s: %s, elsewhere was asked: %v", a.Said, a.Sentence, reached)
	}
}

func TestAuthoritiesOfItsOwn(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"decision": "allow"}`) }))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pemOf(server), 0o600); err != nil {
		t.Fatal(err)
	}
	q, s := release()
	for name, c := range map[string]struct {
		ca   string
		said canary.AnswerKind
	}{"known": {ca, canary.Allow}, "unknown": {"", canary.Wait}} {
		g, err := New(Options{Name: "board", URL: server.URL, Credentials: secret(t, key), CA: c.ca})
		if err != nil {
			t.Fatal(err)
		}
		if a := g.Ask(t.Context(), q, s); a.Said != c.said || a.Unreached != (c.said == canary.Wait) {
			t.Errorf("%s: %s: %s", name, a.Said, a.Sentence)
		}
	}
	if _, err := New(Options{Name: "board", CA: "/nonexistent/ca.crt"}); err == nil || !strings.HasPrefix(err.Error(), "make the gate board: read the authorities: ") {
		t.Errorf("a file that isn't there: %v", err)
	}
}

func TestOneGateIsNotAskedAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Duration
		began := time.Now()
		g := gate(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			at = append(at, time.Since(began))
			mu.Unlock()
			return says(http.StatusOK, `{"decision": "allow"}`)(r)
		}))
		q, s := release()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { g.Ask(t.Context(), q, s) })
		}
		wg.Wait()
		if want := []time.Duration{0, pace, 2 * pace, 3 * pace, 4 * pace}; !slices.Equal(at, want) {
			t.Errorf("asked after %s", at)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for range 2 { // the first may still find a turn that is free
			if a := g.Ask(gone, q, s); a.Said != canary.Wait || !a.Unreached {
				t.Errorf("cut short: %s: %s", a.Said, a.Sentence)
			}
		}
	})
}
