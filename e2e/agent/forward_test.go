package agent

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestPortsAreForwardedToPodsThatRunHere(t *testing.T) {
	a := &Agent{pods: map[types.UID]*pod{}}
	withPod(a, "shop", "one", containerState{ready: true})
	for path, want := range map[string]int{
		"/portForward/shop/one":  http.StatusBadRequest, // of a client that speaks no such protocol
		"/portForward/shop/two":  http.StatusNotFound,
		"/portForward/other/one": http.StatusNotFound,
	} {
		w := httptest.NewRecorder()
		a.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, http.NoBody))
		if w.Code != want {
			t.Errorf("%s is answered %d, want %d: %s", path, w.Code, want, w.Body)
		}
	}
}
