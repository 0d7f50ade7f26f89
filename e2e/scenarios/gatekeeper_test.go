package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// gatekeeper is a team's program behind a webhook gate, an Alertmanager's API, and a
// Harbor's (harbor_test.go), inside the sandbox's network: this very test binary. What
// it says stands in files of a folder, by their names; what has no file is answered
// 503, as by a program that just starts.
type gatekeeper struct{ process, address, folder string }

// gateAt and gateFolder tell the test binary to be a gatekeeper.
const (
	gateAt     = "SERIN_TEST_GATE"
	gateFolder = "SERIN_TEST_GATE_FOLDER"
)

const alertsFile = "alerts"

// keepGate serves as a gatekeeper until the process is ended.
func keepGate(address, folder string) error {
	say := func(w http.ResponseWriter, file string) {
		text, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{gate}", func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Question struct{ Stage string } `json:"question"`
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || r.Header.Get("Webhook-Signature") == "" {
			http.Error(w, "not signed, or no JSON", http.StatusBadRequest)
			return
		}
		say(w, r.PathValue("gate")+"@"+asked.Question.Stage)
	})
	mux.HandleFunc("GET /api/v2/alerts", func(w http.ResponseWriter, _ *http.Request) { say(w, alertsFile) })
	mux.Handle("GET /api/v2.0/projects/{project}/repositories/{repository}/artifacts/{reference}", harbor{folder})
	server := &http.Server{Addr: address, ReadHeaderTimeout: time.Minute, Handler: mux}
	return server.ListenAndServe()
}

// gatekeeping starts a gatekeeper, and returns the configuration of a gate of its.
func gatekeeping(t *testing.T, name, address string) (g *gatekeeper, config string) {
	t.Helper()
	g = &gatekeeper{process: "gate-" + name, address: address, folder: t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.box.StartProgram(g.process, self, []string{gateAt + "=" + address, gateFolder + "=" + g.folder}); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(g.folder, "key")
	if err := os.WriteFile(key, []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), 0o600); err != nil {
		t.Fatal(err)
	}
	return g, fmt.Sprintf("gates: {data: {type: webhook, url: %q, plaintext: true, credentials: %q, at: [before-start]}}\n", "http://"+address+"/data", key)
}

// says lets a gate answer at a stage from now on.
func (g *gatekeeper) says(t *testing.T, stage, decision, reason string) {
	t.Helper()
	g.write(t, "data@"+stage, fmt.Sprintf(`{"decision": %q, "reason": %q}`, decision, reason))
}

// alerts lets Alertmanager have these active alerts about a namespace.
func (g *gatekeeper) alerts(t *testing.T, namespace string, active ...string) {
	t.Helper()
	all := []map[string]any{}
	for _, name := range active {
		all = append(all, map[string]any{
			"labels":      map[string]string{"alertname": name, "severity": "critical", "namespace": namespace, "service": "web"},
			"annotations": map[string]string{"summary": "Orders fail"}, "fingerprint": name,
			"startsAt": time.Now().UTC().Format(time.RFC3339Nano), "updatedAt": time.Now().UTC().Format(time.RFC3339Nano),
			"endsAt": time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano),
			"status": map[string]any{"state": "active", "silencedBy": []string{}, "inhibitedBy": []string{}}, "receivers": []any{},
		})
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	g.write(t, alertsFile, string(text))
}

// write replaces what is said in one step.
func (g *gatekeeper) write(t *testing.T, file, text string) {
	t.Helper()
	path := filepath.Join(g.folder, file)
	if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// leaves ends the gatekeeper, so that nobody listens at its address any more.
func (g *gatekeeper) leaves(t *testing.T) {
	t.Helper()
	if err := shared.box.Kill(g.process); err != nil {
		t.Fatal(err)
	}
}

// returns starts it again.
func (g *gatekeeper) returns(t *testing.T) {
	t.Helper()
	if err := shared.box.Restart(g.process); err != nil {
		t.Fatal(err)
	}
}

// toldOf waits for an Event with the reason whose sentence has the words.
func (st *stage) toldOf(reason string, words ...string) {
	st.Helper()
	st.until(fmt.Sprintf("an Event %s says %q", reason, words), func() error {
		found, err := st.notes(reason)
		for _, note := range found {
			if containsAll(note, words) {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("they say %q", strings.Join(found, "; ")))
	})
}
