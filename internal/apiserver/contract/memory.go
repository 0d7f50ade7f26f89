package contract

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"serin.dev/serin/internal/apiserver"
	_ "serin.dev/serin/internal/bubble" // for its one processor
)

// InMemory is the API server in memory, in virtual time: each case has one of its
// own. All requests go through way, if one is given.
func InMemory(way func(http.RoundTripper) http.RoundTripper) Backend {
	return Backend{Around: synctest.Test, Start: func(t *testing.T) Server {
		s := apiserver.New()
		led := s.Manage(t.Context())
		led.Guarded = false
		transport := s.People()
		if way != nil {
			transport = way(transport)
		}
		return Server{
			Transport: transport, URL: "http://api.test", Image: "web:v1",
			Deny: func(_ *testing.T, namespace string) {
				s.Deny = func(o map[string]any) string {
					if _, denied := apiserver.StringMap(apiserver.Meta(o)["labels"])[DeniedLabel]; denied && apiserver.Meta(o)["namespace"] == namespace {
						return DeniedMessage
					}
					return ""
				}
			},
			Guard:  func(*testing.T, string) { led.Guarded = true },
			Forget: s.Compact,
			Busy:   func(*testing.T) http.RoundTripper { return busy{} },
		}
	}}
}

// busy turns every request away, as the server in memory is never busy itself.
type busy struct{}

func (busy) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		Status: "429 Too Many Requests", StatusCode: http.StatusTooManyRequests, Request: r,
		Header: http.Header{"Retry-After": {"1"}, "Content-Type": {"text/plain; charset=utf-8"}},
		Body:   io.NopCloser(strings.NewReader("Too many requests, please try again later.\n")),
	}, nil
}
