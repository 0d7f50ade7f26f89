package controller

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/internal/apiserver/contract"
)

// TestNothingIsAskedThatTheContractDoesNotCover plays whole releases of both modes and
// holds the shapes of all requests against those of the suite that the API server in
// memory and a real one both keep. What is asked in a new way needs a sentence there.
func TestNothingIsAskedThatTheContractDoesNotCover(t *testing.T) {
	recorder := &contract.Recorder{}
	synctest.Test(t, func(t *testing.T) { playPair(t, recorder) })
	synctest.Test(t, func(t *testing.T) { playInPlace(t, recorder) })
	for _, shape := range contract.Uncovered(recorder.Shapes()) {
		t.Errorf("no sentence of the contract makes such a request: %s", shape)
	}
	for _, verb := range []string{
		"PUT /apis/networking.istio.io/v1/namespaces/{namespace}/virtualservices/", "PATCH /apis/apps/v1/namespaces/{namespace}/deployments/",
		"POST /apis/apps/v1/namespaces/{namespace}/deployments ", "DELETE /apis/apps/v1/namespaces/{namespace}/deployments/",
		"POST /apis/apps/v1/namespaces/{namespace}/controllerrevisions ", "PATCH /apis/apps/v1/namespaces/{namespace}/controllerrevisions/",
		"DELETE /apis/apps/v1/namespaces/{namespace}/controllerrevisions/", "POST /apis/events.k8s.io/", "PUT /apis/coordination.k8s.io/",
	} {
		if !slices.ContainsFunc(recorder.Shapes(), func(s string) bool { return strings.HasPrefix(s, verb) }) {
			t.Errorf("the releases made no request like %s, so that little is said about such", verb)
		}
	}
}

// asksOtherwise makes one request more than the controller does.
type asksOtherwise struct{ http.RoundTripper }

func (a asksOtherwise) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		other := r.Clone(r.Context())
		other.Method, other.Body, other.URL.Path = http.MethodGet, nil, "/api/v1/namespaces/shop/secrets"
		if answer, err := a.RoundTripper.RoundTrip(other); err == nil {
			answer.Body.Close()
		}
	}
	return a.RoundTripper.RoundTrip(r)
}

// The check would notice: a request of another kind is told.
func TestARequestThatTheContractDoesNotCoverIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := &contract.Recorder{}
		w := newWorld(t)
		_, end := w.runOver(asksOtherwise{recorder.Through(w.api)}, nil)
		w.deploy("web-v2", "v2", "two", opted)
		w.until(5*time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
		if err := end(); err != nil {
			t.Error(err)
		}
		if got := contract.Uncovered(recorder.Shapes()); len(got) == 0 || slices.ContainsFunc(got, func(s string) bool { return !strings.Contains(s, "secrets") }) {
			t.Errorf("told are %q, want those for Secrets", got)
		}
	})
}

// playPair promotes a release of two Deployments and rolls the next one back, over
// a lease, a restart, and connections that are cut.
func playPair(t *testing.T, recorder *contract.Recorder) {
	w := newWorld(t)
	way := &link{api: w.api}
	c, end := w.runOver(recorder.Through(way), testLease("first"))
	w.deploy("web-v2", "v2", "two", opted)
	w.until(5*time.Minute, "at 25%", func() bool { return w.weight("web") == 25 })
	w.api.Compact() // watches have to begin anew
	way.cut.Store(true)
	pass(3 * time.Second)
	way.cut.Store(false)
	w.until(10*time.Minute, "promoted", func() bool { return phase(c) == "Succeeded" })
	pass(30 * time.Minute) // watches have come to their ends
	if err := end(); err != nil {
		t.Error(err)
	}
	c, end = w.runOver(recorder.Through(w.api), testLease("second"))
	w.until(time.Minute, "the second leads", c.Leading)
	w.annotate("web-v2", "serin.dev/command", "rollback#1") // so that its record changes
	w.until(10*time.Minute, "the promotion is taken back", func() bool { return phase(c) == "RolledBack" })
	w.deploy("web-v2", "v2", "three", opted)
	w.until(10*time.Minute, "the next one began", func() bool { return w.weight("web") == 5 })
	w.annotate("web-v2", "serin.dev/command", "abort")
	w.until(10*time.Minute, "it is rolled back", func() bool { return phase(c) == "RolledBack" })
	if err := end(); err != nil {
		t.Error(err)
	}
}

// playInPlace promotes and rolls back releases of one Deployment, until the oldest
// records go.
func playInPlace(t *testing.T, recorder *contract.Recorder) {
	w := newShop(t, map[string]any{"serin.dev/canary": "true", "serin.dev/steps": "5%/10s, 100%/10s"})
	c, end := w.runOver(recorder.Through(w.api), testLease("first"))
	for i, image := range []string{"two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"} {
		w.setImage(image)
		w.until(10*time.Minute, image+" has users", func() bool { return w.share() > 0 })
		if i%4 == 3 {
			w.annotate("web", "serin.dev/command", "abort")
			w.until(10*time.Minute, image+" is rolled back", func() bool { return phase(c) == "RolledBack" })
			w.annotate("web", "serin.dev/command", "")
			continue
		}
		w.until(10*time.Minute, image+" is promoted", func() bool { return phase(c) == "Succeeded" && w.updated() })
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}
