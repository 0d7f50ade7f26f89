package scenarios

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// receiver is a webhook inside the sandbox's network: this very test binary, which
// keeps what it gets in a file. The first message it refuses, as when it is just
// starting.
type receiver struct{ key, file string }

// receiverAt and receiverFile tell the test binary to be a receiver.
const (
	receiverAt   = "SERIN_TEST_RECEIVER"
	receiverFile = "SERIN_TEST_RECEIVER_FILE"
)

// delivery is a request as it came.
type delivery struct {
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// receive serves as a receiver until the process is ended.
func receive(address, file string) error {
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	refused := false
	server := &http.Server{Addr: address, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if err := json.NewEncoder(out).Encode(delivery{q.Header, body}); err != nil || !refused {
			refused = true
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	return server.ListenAndServe()
}

// got are the events so far, the ids of all tries, and what could not be verified.
func (r *receiver) got() (events []event, tries []string, wrong error) {
	text, err := os.ReadFile(r.file)
	if err != nil {
		return nil, nil, err
	}
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines[:len(lines)-1] {
		var d delivery
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			return nil, nil, err
		}
		e, err := verified(d.Header, d.Body, r.key)
		if err == nil && !strings.HasPrefix(d.Header.Get("Content-Type"), "application/cloudevents+json") {
			err = fmt.Errorf("the content is of the type %s", d.Header.Get("Content-Type"))
		}
		if err != nil {
			wrong = errors.Join(wrong, err)
			continue
		}
		if tries = append(tries, e.ID); i > 0 {
			events = append(events, e)
		}
	}
	return events, tries, wrong
}

// listen starts a receiver, and returns the configuration that leads messages to it.
func listen(t *testing.T, name, address string) (r *receiver, config string) {
	t.Helper()
	folder := t.TempDir()
	r = &receiver{key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", file: filepath.Join(folder, "deliveries")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.box.StartProgram("receiver-"+name, self, []string{receiverAt + "=" + address, receiverFile + "=" + r.file}); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(folder, "key")
	if err := os.WriteFile(key, []byte(r.key), 0o600); err != nil {
		t.Fatal(err)
	}
	return r, fmt.Sprintf("notify: {channels: {ci: {type: webhook, url: %q, plaintext: true, credentials: %q}}}\n", "http://"+address, key)
}

// reported waits for an event of the last kind, and checks that all came in order, each
// with the release that it is about. It returns those that say how the release went;
// what else is worth knowing, as that clients may bypass the routes, may come between.
func (st *stage) reported(r *receiver, kinds ...string) []event {
	st.Helper()
	last := kinds[len(kinds)-1]
	st.until("the receiver is told: "+last, func() error {
		if got, tries, wrong := r.got(); len(got) == 0 || got[len(got)-1].Data.Kind != last {
			return fmt.Errorf("it has %d events of %d tries (%w)", len(got), len(tries), wrong)
		}
		return nil
	})
	events, tries, wrong := r.got()
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
	if wrong != nil {
		st.Errorf("not verified were %v", wrong)
	}
	if len(tries) != len(events)+1 || tries[0] != tries[1] || tries[1] != events[0].ID {
		st.Errorf("the first event was to come twice, with its id: %v", tries)
	}
	return moves
}

func TestMessages(t *testing.T) {
	if *coreOnly {
		t.Skip("no scenario of the core")
	}
	t.Run("a promotion", func(t *testing.T) {
		t.Parallel()
		r, config := listen(t, "promotion", "127.0.0.1:19801")
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
		r, config := listen(t, "rollback", "127.0.0.1:19802")
		st := open(t, "told-rollback", script{config: config, tolerates: by("v2")})
		st.release("25%/10m, 100%", settings{"ERROR_RATE": "1"}, settings{"notify": "ci"})
		s := st.rolledBack("ErrorRateTooHigh")
		events := st.reported(r, "started", "step", "rolling-back", "rolled-back")
		if told := events[2].Data; string(told.Reason) != s.Reason || told.Sentence != s.Message || told.View.Verdict.Kind != "Rollback" {
			t.Errorf("the event says %s (%s) and the verdict %q, the routes %s (%s)", told.Reason, told.Sentence, told.View.Verdict.Kind, s.Reason, s.Message)
		}
		st.close("v1", "v1")
	})
}
