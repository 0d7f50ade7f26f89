package scenarios

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
)

// harbor answers as Harbor does, of the API that a gate uses, with the artifacts that
// stand in files of a folder. A file tells the account that it knows.
type harbor struct{ folder string }

const accountFile = "harbor-account"

// artifactFile is where an artifact stands, by repository and digest or tag.
func artifactFile(repository, reference string) string {
	return strings.ReplaceAll("harbor "+repository+" "+reference, "/", "_")
}

// reportKind is of the reports that Harbor gives to those who say that they take it.
const reportKind = "application/vnd.security.vulnerability.report; version=1.1"

func (h harbor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fail := func(status int, code, message string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors": [{"code": %q, "message": %q}]}`, code, message)
	}
	known, err := os.ReadFile(filepath.Join(h.folder, accountFile))
	if err != nil {
		fail(http.StatusServiceUnavailable, "UNKNOWN", "not ready")
		return
	}
	if user, password, _ := r.BasicAuth(); user+":"+password != string(known) {
		fail(http.StatusUnauthorized, "UNAUTHORIZED", "unauthorized")
		return
	}
	// The name of a repository may have slashes, and is encoded twice.
	repository, err := url.PathUnescape(r.PathValue("repository"))
	if err != nil || strings.Contains(r.PathValue("repository"), "/") {
		fail(http.StatusBadRequest, "BAD_REQUEST", "the repository is not encoded twice")
		return
	}
	text, err := os.ReadFile(filepath.Join(h.folder, artifactFile(r.PathValue("project")+"/"+repository, r.PathValue("reference"))))
	if err != nil {
		fail(http.StatusNotFound, "NOT_FOUND", "artifact not found")
		return
	}
	_, _ = w.Write(asAsked(text, r))
}

// asAsked is an artifact with what was asked for, and nothing else.
func asAsked(artifact []byte, r *http.Request) []byte {
	var all map[string]any
	if err := json.Unmarshal(artifact, &all); err != nil {
		return artifact
	}
	if r.FormValue("with_scan_overview") != "true" || !strings.Contains(r.Header.Get("X-Accept-Vulnerabilities"), reportKind) {
		delete(all, "scan_overview")
	}
	if r.FormValue("with_accessory") != "true" {
		delete(all, "accessories")
	}
	text, err := json.Marshal(all)
	if err != nil {
		return artifact
	}
	return text
}

// The image of a release that Harbor is asked about, and how sentences call it.
const (
	registryHost = "harbor.example.com"
	repository   = "shop/orders/web"
)

const robot = "robot$shop+serin"

// harbor gives it an account, and returns the configuration of a gate that asks it.
func (g *gatekeeper) harbor(t *testing.T) (config string) {
	t.Helper()
	g.write(t, accountFile, robot+":secret")
	g.credentials(t, robot+":secret")
	return fmt.Sprintf("gates: {security: {type: harbor, url: %q, plaintext: true, credentials: %q, registries: [%s], critical: 0, high: 3 else approval}}\n",
		"http://"+g.address, filepath.Join(g.folder, "credentials"), registryHost)
}

// credentials are what the file holds that is mounted for Serin.
func (g *gatekeeper) credentials(t *testing.T, text string) {
	t.Helper()
	g.write(t, "credentials", text)
}

// has lets Harbor have an artifact under a reference, its digest or a tag: how its scan
// stands, and how many vulnerabilities of which severity it found.
func (g *gatekeeper) has(t *testing.T, reference, digest, scan string, found map[string]int) {
	t.Helper()
	report := map[string]any{"report_id": "1", "scan_status": scan, "start_time": time.Now().Add(-time.Minute).UTC(), "complete_percent": 100}
	if scan == "Success" {
		total := 0
		for _, n := range found {
			total += n
		}
		report["end_time"] = time.Now().UTC()
		report["summary"] = map[string]any{"total": total, "fixable": 0, "summary": found}
	}
	text, err := json.Marshal(map[string]any{
		"id": 1, "type": "IMAGE", "digest": digest, "repository_name": repository, "references": nil, "accessories": nil,
		"scan_overview": map[string]any{reportKind: report},
	})
	if err != nil {
		t.Fatal(err)
	}
	g.write(t, artifactFile(repository, reference), string(text))
}

// fromHarbor deploys web-v2 with an image of Harbor's, before anybody asks for a
// release of it, and returns the digest that its pod reports, and how sentences call it.
func (st *stage) fromHarbor() (d deployment, digest, called string) {
	st.Helper()
	d = deployment{subset: "v2", image: registryHost + "/" + repository}
	st.deploy(d)
	digest = st.reports("version=v2", 1)
	d.annotations = settings{"canary": "true", "steps": quick, "gates": "security"}
	return d, digest, repository + "@" + strings.TrimPrefix(digest, "sha256:")[:12]
}

// A release waits for Harbor, then for its scan, and begins when nothing forbids it.
func harborScans(t *testing.T, name string) {
	gate, _ := gatekeeping(t, name, "127.0.0.1:19815")
	st := open(t, name, script{config: gate.harbor(t)})
	d, digest, called := st.fromHarbor()
	gate.leaves(t)
	st.deploy(d)
	st.toldOf("GateUnreachable", "the gate security can't be reached")
	st.seen(canary.Waiting, canary.GateUnreached, "Harbor can't be asked for "+called, "connection refused")
	gate.has(t, digest, digest, "Running", nil)
	gate.returns(t)
	st.toldOf("AwaitingGate", "the gate security does not let the release go on yet")
	st.seen(canary.Waiting, canary.AwaitingGate, "Harbor is still scanning "+called+" (Running)")
	st.onlyBy("v1", st.answered(st.users, 50))
	gate.has(t, digest, digest, "Success", map[string]int{"High": 3, "Low": 12})
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// What Harbor finds in what runs counts, and not what the tag names by now. The account
// is read for each request, and a release that was denied begins by itself once
// nothing is found any more.
func harborDenies(t *testing.T, name string) {
	gate, _ := gatekeeping(t, name, "127.0.0.1:19816")
	st := open(t, name, script{config: gate.harbor(t)})
	d, digest, called := st.fromHarbor()
	gate.has(t, digest, digest, "Success", map[string]int{"Critical": 2, "High": 9})
	gate.has(t, "v2", "sha256:"+strings.Repeat("ab", 32), "Success", nil)
	gate.credentials(t, robot+":another")
	st.deploy(d)
	st.seen(canary.Waiting, canary.GateUnreached, "Harbor can't be asked for "+called, "401 Unauthorized", "write the credentials of an account that Harbor knows")
	gate.credentials(t, robot+":secret")
	v := st.seen(canary.Blocked, canary.GateDenied, called+" has 2 critical vulnerabilities, at most 0 are allowed")
	st.toldOf("GateDenied", v.Sentence)
	st.onlyBy("v1", st.answered(st.users, 50))
	gate.has(t, digest, digest, "Success", map[string]int{"Low": 1})
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// Between the limits a person decides.
func harborLeavesItToPeople(t *testing.T, name string) {
	gate, _ := gatekeeping(t, name, "127.0.0.1:19817")
	st := open(t, name, script{config: gate.harbor(t)})
	p := st.plugin()
	d, digest, called := st.fromHarbor()
	gate.has(t, digest, digest, "Success", map[string]int{"High": 4})
	st.deploy(d)
	why := called + " has 4 high vulnerabilities, at most 3 are allowed without approval"
	v := st.seen(canary.Waiting, canary.AwaitingApproval, why, "kubectl canary approve")
	st.toldOf("AwaitingApproval", v.Sentence)
	st.onlyBy("v1", st.answered(st.users, 50))
	p.says(0, []string{"approve", "web", "--yes", "--controller", st.controller.PageURL}, "has 4 high vulnerabilities")
	st.reachesPhase("Succeeded")
	st.toldOf("Approved", "The release was approved")
	st.close("v2", "v2")
}
