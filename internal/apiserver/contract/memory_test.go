package contract_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"serin.dev/serin/internal/apiserver"
	"serin.dev/serin/internal/apiserver/contract"
)

// inMemory is the API server in memory, in virtual time: each case has its own.
var inMemory = contract.Backend{
	Around: synctest.Test,
	Start: func(t *testing.T) contract.Server {
		s := apiserver.New()
		led := s.Manage(t.Context())
		led.Guarded = false
		return contract.Server{
			Transport: s.People(), URL: "http://api.test", Image: "web:v1",
			Deny: func(_ *testing.T, namespace string) {
				s.Deny = func(o map[string]any) string {
					if _, denied := apiserver.StringMap(apiserver.Meta(o)["labels"])[contract.DeniedLabel]; denied && apiserver.Meta(o)["namespace"] == namespace {
						return contract.DeniedMessage
					}
					return ""
				}
			},
			Guard:  func(*testing.T, string) { led.Guarded = true },
			Forget: s.Compact,
			Busy:   func(*testing.T) http.RoundTripper { return busy{} },
		}
	},
}

// busy turns every request away.
type busy struct{}

func (busy) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"1"}}, Body: io.NopCloser(bytes.NewReader(nil))}, nil
}

func TestTheServerInMemoryKeepsTheContract(t *testing.T) { contract.Run(t, inMemory) }
