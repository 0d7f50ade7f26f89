package scenarios

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
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
	"time"

	"serin.dev/serin/pkg/canary"
)

// event is a CloudEvent, as far as it is looked at.
type event struct {
	Version string    `json:"specversion"`
	ID      string    `json:"id"`
	Source  string    `json:"source"`
	Type    string    `json:"type"`
	Subject string    `json:"subject"`
	Time    time.Time `json:"time"`
	Data    struct {
		Kind     string        `json:"kind"`
		Reason   canary.Reason `json:"reason"`
		Sentence string        `json:"sentence"`
		View     canary.View   `json:"view"`
	} `json:"data"`
}

// verified reads an event after its signature, as the documentation says.
func verified(h http.Header, body []byte, key string) (e event, err error) {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
	if err != nil {
		return e, err
	}
	m := hmac.New(sha256.New, secret)
	fmt.Fprintf(m, "%s.%s.%s", h.Get("Webhook-Id"), h.Get("Webhook-Timestamp"), body)
	if want := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)); h.Get("Webhook-Signature") != want {
		return e, fmt.Errorf("the signature is %q, want %q", h.Get("Webhook-Signature"), want)
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return e, err
	}
	if e.Version != "1.0" || e.ID != h.Get("Webhook-Id") {
		return e, fmt.Errorf("version %q, id %q sent as %q", e.Version, e.ID, h.Get("Webhook-Id"))
	}
	return e, nil
}

// receiver is a webhook that verifies what it gets. The first message it refuses, as
// when it is just starting.
type receiver struct {
	key    string
	mu     sync.Mutex
	events []event
	tries  []string // ids
	wrong  []error
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	var e event
	if err == nil {
		e, err = verified(q.Header, body, r.key)
	}
	if err == nil && !strings.HasPrefix(q.Header.Get("Content-Type"), "application/cloudevents+json") {
		err = fmt.Errorf("the content is of the type %s", q.Header.Get("Content-Type"))
	}
	if err != nil {
		r.wrong = append(r.wrong, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.tries = append(r.tries, e.ID); len(r.tries) == 1 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.events = append(r.events, e)
}

// got are the events so far.
func (r *receiver) got() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// listen starts a receiver, and returns the configuration that leads messages to it.
func listen(t *testing.T) (r *receiver, config string) {
	t.Helper()
	r = &receiver{key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(r.key), 0o600); err != nil {
		t.Fatal(err)
	}
	return r, fmt.Sprintf("notify: {channels: {ci: {type: webhook, url: %q, plaintext: true, credentials: %q}}}\n", server.URL, key)
}

// reported waits for an event of the last kind, and checks that all came in order, each
// with the release that it is about. It returns those that say how the release went;
// what else is worth knowing, as that clients may bypass the routes, may come between.
func (st *stage) reported(r *receiver, kinds ...string) []event {
	st.Helper()
	last := kinds[len(kinds)-1]
	st.until("the receiver is told: "+last, func() error {
		if got := r.got(); len(got) == 0 || got[len(got)-1].Data.Kind != last {
			return fmt.Errorf("it has %d events", len(got))
		}
		return nil
	})
	events := r.got()
	var moves []event
	var told []string
	for i, e := range events {
		if e.Data.Kind != "held" && e.Data.Kind != "attention" {
			moves, told = append(moves, e), append(told, e.Data.Kind)
		}
		if e.Subject == "" || e.Subject != events[0].Subject || e.Source != "/namespaces/"+st.name+"/services/web" || e.Type != "dev.serin.rollout."+e.Data.Kind+".v1" {
			st.Errorf("an event is of %s, release %q, type %s", e.Source, e.Subject, e.Type)
		}
		if i > 0 && e.Time.Before(events[i-1].Time) {
			st.Errorf("%s at %s came after %s at %s", e.Type, e.Time, events[i-1].Type, events[i-1].Time)
		}
	}
	if !slices.Equal(told, kinds) {
		st.Errorf("told were %v, want %v", told, kinds)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wrong) > 0 {
		st.Errorf("not verified were %v", r.wrong)
	}
	if len(r.tries) != len(events)+1 || r.tries[0] != r.tries[1] || r.tries[1] != events[0].ID {
		st.Errorf("the first event was to come twice, with its id: %v", r.tries)
	}
	return moves
}

func TestMessages(t *testing.T) {
	t.Run("a promotion", func(t *testing.T) {
		t.Parallel()
		r, config := listen(t)
		st := open(t, "told-promotion", script{config: config})
		st.release(quick, nil, settings{"notify": "ci"})
		st.reachesPhase("Succeeded")
		events := st.reported(r, "started", "step", "step", "step", "promoted")
		if w := events[2].Data.View; w.Weight != 50 || w.Step != 2 || events[2].Data.Sentence == "" {
			t.Errorf("at the second step the event shows step %d at %d%%: %s", w.Step, w.Weight, events[2].Data.Sentence)
		}
		st.close("v2", "v2")
	})
	t.Run("a rollback", func(t *testing.T) {
		t.Parallel()
		r, config := listen(t)
		st := open(t, "told-rollback", script{config: config, tolerates: by("v2")})
		st.release("25%/10m, 100%", settings{"ERROR_RATE": "1"}, settings{"notify": "ci"})
		s := st.rolledBack("ErrorRateTooHigh")
		events := st.reported(r, "started", "step", "rolling-back", "rolled-back")
		if told := events[2].Data; string(told.Reason) != s.Reason || told.Sentence != s.Message || told.View.Verdict.CanaryErrors == 0 {
			t.Errorf("the event says %s (%s) with %d errors, the routes %s (%s)", told.Reason, told.Sentence, told.View.Verdict.CanaryErrors, s.Reason, s.Message)
		}
		st.close("v1", "v1")
	})
}
