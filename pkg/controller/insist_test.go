package controller

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
)

// rewriting is a write of a VirtualService as it is.
func rewriting(t *testing.T, w *world) mode.Write {
	t.Helper()
	body, err := json.Marshal(w.api.Read("VirtualService", "shop", "web"))
	if err != nil {
		t.Fatal(err)
	}
	return mode.Write{Verb: mode.Update, Key: canary.ObjectKey{Kind: virtualService, Namespace: "shop", Name: "web"}, Body: body, Urgent: true}
}

func TestASnapInsistsOnAWriteThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		failing := 3
		w.api.Fault = func(r *http.Request) error {
			if r.Method == http.MethodPut && failing > 0 {
				failing--
				return errors.New("the network is down")
			}
			return nil
		}
		c := w.controller(w.api, nil)
		defer c.queue.ShutDown()
		began := time.Now()
		if err := c.insist(t.Context(), rewriting(t, w)); err != nil || failing > 0 {
			t.Errorf("the write was given up with %v, %d failures before it would have been done", err, failing)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestASnapDoesNotInsistOnWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		write := rewriting(t, w)
		w.api.Delete("VirtualService", "shop", "web")
		c := w.controller(w.api, nil)
		defer c.queue.ShutDown()
		began := time.Now()
		err := c.insist(t.Context(), write)
		if !apierrors.IsNotFound(err) || time.Since(began) > 0 {
			t.Errorf("after %s the answer is %v, want at once that it is not found", time.Since(began), err)
		}
	})
}
