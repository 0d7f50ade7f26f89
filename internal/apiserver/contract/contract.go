// Package contract says what Serin leans on an API server for: one suite of
// sentences, each of which is tried on the API server in memory and on a real one.
// What holds for both may be believed of a simulation.
package contract

import (
	"net/http"
	"testing"
)

// Server is an API server under test.
type Server struct {
	// Transport and URL are the way to it, for somebody with all rights.
	Transport http.RoundTripper
	URL       string
	// Deny makes the server refuse VirtualServices of a namespace that carry the
	// label DeniedLabel, with DeniedMessage, by its admission.
	Deny func(t *testing.T, namespace string)
	// Guard makes the server hold changed templates of opted-in Deployments of a
	// namespace.
	Guard func(t *testing.T, namespace string)
	// Busy is a way to the server on which it turns every request away, 429.
	Busy func(t *testing.T) http.RoundTripper
	// Forget makes the server forget what happened so far to VirtualServices; nil if
	// it can't be made to, and has forgotten version 1.
	Forget func()
	// Image is one that pods become ready with.
	Image string
}

// What Server.Deny has refused.
const (
	DeniedLabel   = "contract.serin.dev/denied"
	DeniedMessage = "such routes are not written here"
)

// Backend is where the suite runs.
type Backend struct {
	// Start gives each case its server; it may be the same one for all.
	Start func(t *testing.T) Server
	// Around runs a case, such as in virtual time; nil: it just runs.
	Around func(t *testing.T, play func(*testing.T))
	// Parallel tells that cases may run side by side.
	Parallel bool
}

// A sentence is one thing that is leaned on, and the proof of it.
type sentence struct {
	says  string
	prove func(c *client)
}

// Run plays the whole suite.
func Run(t *testing.T, b Backend) {
	for _, group := range []struct {
		name      string
		sentences []sentence
	}{
		{"writes", writes}, {"versions", versions}, {"owners of fields", owners}, {"admission", admission}, {"lists", lists},
		{"watches", watches}, {"clients", clients}, {"informers", informers()}, {"Deployments", workloads},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, s := range group.sentences {
				t.Run(s.says, func(t *testing.T) {
					if b.Parallel {
						t.Parallel()
					}
					play := func(t *testing.T) { s.prove(newClient(t, b.Start(t))) }
					if b.Around != nil {
						b.Around(t, play)
						return
					}
					play(t)
				})
			}
		})
	}
}
