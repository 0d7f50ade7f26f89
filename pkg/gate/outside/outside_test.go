package outside_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/pkg/gate/outside"
)

func client(t *testing.T, o outside.Options) *outside.Client {
	t.Helper()
	c, err := outside.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAnAnswerIsBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"text":"%s"}`, strings.Repeat("x", 89))
	}))
	defer server.Close()
	var got struct{ Text string }
	c := client(t, outside.Options{})
	if err := c.Get(t.Context(), server.URL, nil, 100, &got); err != nil || len(got.Text) != 89 {
		t.Errorf("100 bytes: %v", err)
	}
	if err := c.Get(t.Context(), server.URL, nil, 99, &got); err == nil || !strings.Contains(err.Error(), "the answer is too long") {
		t.Errorf("one more than is allowed: %v", err)
	}
}

// The credentials of one server must not reach another, nor another path.
func TestARedirectIsNotFollowed(t *testing.T) {
	led := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { led++ }))
	defer elsewhere.Close()
	for _, to := range []string{elsewhere.URL, "/other"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/other" {
				led++
			}
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		}))
		err := client(t, outside.Options{Credentials: file(t, "user:password"), Plaintext: true}).Get(t.Context(), server.URL, nil, 100, nil)
		server.Close()
		var refused outside.Refusal
		if !errors.As(err, &refused) || refused.Status != 307 || !strings.Contains(err.Error(), "redirects are not followed") {
			t.Errorf("got %v", err)
		}
	}
	if led != 0 {
		t.Errorf("followed %d times", led)
	}
}

func TestCredentialsAreNotSentInTheClear(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++; fmt.Fprint(w, "{}") }))
	defer server.Close()
	o := outside.Options{Credentials: file(t, "user:password")}
	if err := client(t, o).Get(t.Context(), server.URL, nil, 100, &struct{}{}); err == nil || !strings.Contains(err.Error(), "plaintext: true") || asked != 0 {
		t.Errorf("got %v after %d requests", err, asked)
	}
	o.Plaintext = true
	if err := client(t, o).Get(t.Context(), server.URL, nil, 100, &struct{}{}); err != nil || asked != 1 {
		t.Errorf("got %v after %d requests", err, asked)
	}
}

// Some servers show in their errors how they were asked. What they say stands in Events.
func TestNoErrorShowsCredentials(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "denied to %s: %s %s", r.Header.Get("Authorization"), user, password)
	}))
	defer server.Close()
	for secret, want := range map[string]string{
		"robot:s3cret": "denied to Basic (secret): robot (secret)",
		"t0ken":        "denied to Bearer (secret):",
	} {
		err := client(t, outside.Options{Credentials: file(t, secret), Plaintext: true}).Get(t.Context(), server.URL, nil, 100, &struct{}{})
		if err == nil || err.Error() != "it answers 403 Forbidden: "+want {
			t.Errorf("got %v", err)
		}
	}
}

func TestAuthoritiesOfAFile(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "{}") }))
	defer server.Close()
	server.Config.ErrorLog = nil
	ca := file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	if err := client(t, outside.Options{CA: ca}).Get(t.Context(), server.URL, nil, 100, &struct{}{}); err != nil {
		t.Errorf("with its authority: %v", err)
	}
	if err := client(t, outside.Options{}).Get(t.Context(), server.URL, nil, 100, &struct{}{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without its authority: %v", err)
	}
	for _, wrong := range []string{file(t, "no certificate"), "/nowhere/ca.pem"} {
		if _, err := outside.New(outside.Options{CA: wrong}); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("got %v", err)
		}
	}
}

// hangs is a server that never answers.
type hangs struct{}

func (hangs) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestNobodyIsWaitedForLongerThanWasSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := client(t, outside.Options{Timeout: 3 * time.Second, Transport: hangs{}}).Get(t.Context(), "http://a", nil, 100, nil)
		if took := time.Since(began); err == nil || err.Error() != "no answer within 3s" || took != 3*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

// What a server says stands in a sentence for people: one line, short, and no page.
func TestWhatARefusalSays(t *testing.T) {
	for body, want := range map[string]string{
		"":                            "it answers 503 Service Unavailable",
		"  busy\n":                    "it answers 503 Service Unavailable: busy",
		"<html><body>Sorry</body>":    "it answers 503 Service Unavailable",
		"a\x1b[31mb\nc":               `it answers 503 Service Unavailable: a\x1b[31mb\nc`,
		strings.Repeat("long ", 1000): "it answers 503 Service Unavailable: " + strings.Repeat("long ", 40) + "...",
	} {
		if got := (outside.Refusal{Status: 503, Body: []byte(body)}).Error(); got != want {
			t.Errorf("got %q", got)
		}
	}
}

func TestBase(t *testing.T) {
	for address, want := range map[string]string{
		"https://harbor.example.com":     "https://harbor.example.com",
		"http://a:9093/prefix/":          "http://a:9093/prefix",
		"a:9093":                         "",
		"ftp://a":                        "",
		"https://":                       "",
		"https://user:secret@a":          "",
		"https://a?token=secret":         "",
		"https://a#x":                    "",
		"https://user:secret@a\x7f/%zz ": "",
	} {
		got, err := outside.Base("the url", address)
		if got != want || (err == nil) != (want != "") || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q is %q, %v", address, got, err)
		}
	}
}

func TestASecretIsOneLine(t *testing.T) {
	for text, want := range map[string]string{"s3cret": "s3cret", " user:password \r\n": "user:password", "": "", "\n": "", "two\nlines": ""} {
		got, err := outside.Secret(file(t, text))
		if got != want || (err == nil) != (want != "") || err != nil && strings.Contains(err.Error(), "lines\n") {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
	if _, err := outside.Secret("/nowhere/secret"); err == nil || !strings.Contains(err.Error(), "/nowhere/secret") {
		t.Errorf("got %v", err)
	}
}
