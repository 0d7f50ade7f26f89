package harbor_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/harbor"
)

const (
	index    = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	platform = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	other    = "sha256:3333333333333333333333333333333333333333333333333333333333333333"
)

// world is a Harbor, after the description of its API: artifacts by project,
// repository and reference.
type world struct {
	*httptest.Server
	mu        sync.Mutex
	artifacts map[string]string // JSON
	status    int               // of every answer, with body; 0: as Harbor answers
	body      string
	user      string // user:password that is known; empty: anybody
	requests  []*http.Request
}

func serve(t *testing.T) *world {
	w := &world{artifacts: map[string]string{}}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests = append(w.requests, r)
	fail := func(status int, code, message string) {
		out.WriteHeader(status)
		fmt.Fprintf(out, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
	}
	if w.status != 0 {
		out.WriteHeader(w.status)
		fmt.Fprint(out, w.body)
		return
	}
	if user, password, _ := r.BasicAuth(); w.user != "" && user+":"+password != w.user {
		fail(401, "UNAUTHORIZED", "unauthorized: unauthorized")
		return
	}
	// The path as it was sent: a repository with slashes is one element, encoded twice.
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/api/v2.0/projects/"), "/")
	if len(parts) != 5 || parts[1] != "repositories" || parts[3] != "artifacts" {
		fail(404, "NOT_FOUND", "path not found")
		return
	}
	key := parts[0] + "/" + strings.ReplaceAll(parts[2], "%252F", "/") + " " + parts[4]
	text, is := w.artifacts[key]
	if !is {
		fail(404, "NOT_FOUND", "artifact "+key+" not found")
		return
	}
	out.Header().Set("Content-Type", "application/json")
	fmt.Fprint(out, text)
}

// artifact is one of Harbor's answers, in the order of its description.
type artifact struct {
	digest   string
	children []string
	status   string // of the scan; empty: never scanned
	ended    time.Time
	counts   map[string]int
	total    int // 0: the sum of the counts
	signed   []string
	inherits []string
	report   string // kind; empty: the newer one
	complete int    // percent of an index's platforms that were scanned; 0: 100
}

func (a artifact) JSON() string {
	type m = map[string]any
	out := m{"id": 7, "type": "IMAGE", "media_type": "application/vnd.oci.image.config.v1+json", "digest": a.digest, "repository_name": "shop/web", "size": 12345, "push_time": "2026-03-01T10:00:00.000Z", "accessories": nil, "labels": nil, "references": nil, "tags": nil}
	accessories := func(types []string) []m {
		var all []m
		for _, t := range types {
			all = append(all, m{"id": 1, "artifact_id": 9, "subject_artifact_digest": a.digest, "digest": other, "type": t, "size": 1})
		}
		return all
	}
	if a.signed != nil {
		out["accessories"] = accessories(a.signed)
	}
	if a.inherits != nil {
		out["inherited_accessories"] = accessories(a.inherits)
	}
	var children []m
	for _, c := range a.children {
		children = append(children, m{"parent_id": 7, "child_id": 8, "child_digest": c, "platform": m{"architecture": "amd64", "os": "linux"}})
	}
	if children != nil {
		out["references"] = children
	}
	if a.status != "" {
		kind := a.report
		if kind == "" {
			kind = "application/vnd.security.vulnerability.report; version=1.1"
		}
		total := a.total
		for _, n := range a.counts {
			if a.total == 0 {
				total += n
			}
		}
		one := m{"report_id": "5f62c830", "scan_status": a.status, "severity": "High", "duration": 3, "complete_percent": cmp.Or(a.complete, 100), "scanner": m{"name": "Trivy", "vendor": "Aqua Security", "version": "v0.60"}}
		if !a.ended.IsZero() {
			one["start_time"], one["end_time"] = a.ended.Add(-3*time.Second), a.ended
		}
		if a.status == "Success" {
			one["summary"] = m{"total": total, "fixable": 1, "summary": a.counts}
		}
		out["scan_overview"] = m{kind: one}
	}
	text, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	return string(text)
}

var yesterday = time.Now().Add(-24 * time.Hour).UTC().Truncate(time.Second)

// scanned is an artifact whose scan ended a day ago.
func scanned(digest string, counts map[string]int, signed ...string) artifact {
	return artifact{digest: digest, status: "Success", ended: yesterday, counts: counts, signed: signed}
}

func gate(t *testing.T, w *world, o harbor.Options) *harbor.Gate {
	t.Helper()
	o.URL = w.URL
	o.Registries = []string{"harbor.example.com"}
	g, err := harbor.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func subject(images ...canary.Image) canary.Subject {
	return canary.Subject{Namespace: "shop", Service: "web", Canary: canary.Party{Deployment: "web-v2", Images: images}}
}

func image(reference, digest string) canary.Image {
	return canary.Image{Container: "web", Reference: reference, Digest: digest}
}

func ask(g *harbor.Gate, s canary.Subject) canary.Answer {
	return g.Ask(context.Background(), canary.Question{Kind: canary.AskGate, Name: "security", Stage: canary.BeforeStart}, s)
}

// tiers are the rule that the documentation begins with.
var tiers = harbor.Options{Limits: []harbor.Limit{{Severity: harbor.Critical}, {Severity: harbor.High, Most: 3, Beyond: canary.Approve}}}

func TestWhatAReportComesTo(t *testing.T) {
	at := yesterday.Format("2006-01-02 15:04 UTC")
	for name, c := range map[string]struct {
		artifact artifact
		options  harbor.Options
		said     canary.AnswerKind
		sentence string
	}{
		"nothing found": {
			scanned(platform, nil), tiers, canary.Allow, "Harbor has nothing against the images of this release",
		},
		"as many as are allowed": {
			scanned(platform, map[string]int{"High": 3, "Medium": 40, "Unknown": 9}), tiers, canary.Allow, "Harbor has nothing against",
		},
		"a critical one": {
			scanned(platform, map[string]int{"Critical": 1}), tiers, canary.Deny, "shop/web@222222222222 has 1 critical vulnerability, at most 0 are allowed",
		},
		"more high ones than a person needn't be asked about": {
			scanned(platform, map[string]int{"High": 4}), tiers, canary.Approve, "shop/web@222222222222 has 4 high vulnerabilities, at most 3 are allowed without approval",
		},
		"what is forbidden stands above what a person may decide": {
			scanned(platform, map[string]int{"High": 4, "Critical": 2}), tiers, canary.Deny, "has 2 critical vulnerabilities",
		},
		"never scanned": {
			artifact{digest: platform}, tiers, canary.Wait, "Harbor has not scanned shop/web@222222222222; start a scan, or let the project scan what is pushed",
		},
		"waiting for the scanner": {
			artifact{digest: platform, status: "Pending"}, tiers, canary.Wait, "Harbor is still scanning shop/web@222222222222 (Pending)",
		},
		"being scanned": {
			artifact{digest: platform, status: "Running"}, tiers, canary.Wait, "(Running)",
		},
		"a scan that failed": {
			artifact{digest: platform, status: "Error"}, tiers, canary.Wait, "The scan of shop/web@222222222222 ended without a report (Error); start another in Harbor",
		},
		"a scan that was stopped": {
			artifact{digest: platform, status: "Stopped"}, tiers, canary.Wait, "(Stopped)",
		},
		"a report of the older kind": {
			artifact{digest: platform, status: "Success", ended: yesterday, counts: map[string]int{"Critical": 1}, report: "application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0"}, tiers, canary.Deny, "1 critical",
		},
		"a report of a kind that nobody knows": {
			artifact{digest: platform, status: "Success", ended: yesterday, report: "application/vnd.example; version=9"}, tiers, canary.Wait, "Harbor has not scanned",
		},
		"a report that counts fewer than there are": {
			artifact{digest: platform, status: "Success", ended: yesterday, counts: map[string]int{"Low": 1}, total: 5}, tiers, canary.Wait, "does not tell how severe all vulnerabilities are; scan it again",
		},
		"an index of which one platform's scan failed, which Harbor calls a success": {
			artifact{digest: platform, status: "Success", ended: yesterday, counts: map[string]int{}, complete: 50}, tiers, canary.Wait, "Harbor has scanned 50% of shop/web@222222222222 alone; the scan of one of its platforms failed, start another",
		},
		"a report without a time": {
			artifact{digest: platform, status: "Success"}, tiers, canary.Wait, "does not tell when it scanned",
		},
		"a scan is enough": {
			scanned(platform, map[string]int{"Critical": 99}), harbor.Options{Scanned: true}, canary.Allow, "Harbor has nothing against",
		},
		"an old scan": {
			scanned(platform, nil), harbor.Options{MaxAge: 23 * time.Hour}, canary.Wait, "ended at " + at + ", longer than 23h0m0s ago; scan it again",
		},
		"a scan of a day before yesterday at most": {
			scanned(platform, nil), harbor.Options{MaxAge: 48 * time.Hour}, canary.Allow, "",
		},
		"not signed": {
			scanned(platform, nil, "sbom.harbor"), harbor.Options{Signed: harbor.SignedAny}, canary.Deny, "shop/web@222222222222 is not signed; sign it, with the signature beside it in Harbor",
		},
		"signed by cosign":                      {scanned(platform, nil, "sbom.harbor", "signature.cosign"), harbor.Options{Signed: harbor.SignedAny}, canary.Allow, ""},
		"signed by Notation":                    {scanned(platform, nil, "signature.notation"), harbor.Options{Signed: harbor.SignedAny}, canary.Allow, ""},
		"signed by Notation, but not by cosign": {scanned(platform, nil, "signature.notation"), harbor.Options{Signed: harbor.SignedCosign}, canary.Deny, "is not signed by cosign"},
		"signed by cosign, but not by Notation": {scanned(platform, nil, "signature.cosign"), harbor.Options{Signed: harbor.SignedNotary}, canary.Deny, "is not signed by notation"},
		"signed with its index, which newer versions tell": {
			artifact{digest: platform, inherits: []string{"signature.cosign"}}, harbor.Options{Signed: harbor.SignedCosign}, canary.Allow, "",
		},
		"a scan that lasts, and no signature": {
			artifact{digest: platform, status: "Running"}, harbor.Options{Scanned: true, Signed: harbor.SignedAny}, canary.Deny, "is not signed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t)
			w.artifacts["shop/web "+platform] = c.artifact.JSON()
			a := ask(gate(t, w, c.options), subject(image("harbor.example.com/shop/web:v2", platform)))
			if a.Said != c.said || !strings.Contains(a.Sentence, c.sentence) || a.Unreached || len(a.Checks) == 0 {
				t.Errorf("got %+v", a)
			}
			for _, check := range a.Checks {
				if check.Passed && c.said != canary.Allow && check.Sentence == a.Sentence {
					t.Errorf("a check that passed is the reason: %+v", check)
				}
			}
		})
	}
}

// What is no answer of Harbor holds; only Harbor's own word that there is no such
// artifact denies.
func TestWhatIsNoAnswerHolds(t *testing.T) {
	for name, c := range map[string]struct {
		status   int
		body     string
		said     canary.AnswerKind
		sentence string
	}{
		"Harbor does not know it":         {404, `{"errors":[{"code":"NOT_FOUND","message":"artifact not found"}]}`, canary.Deny, "Harbor has no shop/web@222222222222; push it there, and deploy what was pushed"},
		"something else is there":         {404, `404 page not found`, canary.Wait, "it answers 404 Not Found: 404 page not found; write the address of Harbor itself"},
		"another reason of a 404":         {404, `{"errors":[{"code":"PROJECT_HIDDEN"}]}`, canary.Wait, "write the address of Harbor itself"},
		"JSON of something else":          {404, `{"errors":[]}`, canary.Wait, "write the address of Harbor itself"},
		"wrong credentials":               {401, `{"errors":[{"code":"UNAUTHORIZED","message":"unauthorized"}]}`, canary.Wait, "write the credentials of an account that Harbor knows, like a robot account, into the file"},
		"too few rights":                  {403, `{"errors":[{"code":"FORBIDDEN","message":"forbidden"}]}`, canary.Wait, "give the account the permission to read artifacts of this project"},
		"broken":                          {500, `{"errors":[{"code":"UNKNOWN","message":"internal server error"}]}`, canary.Wait, "it answers 500 Internal Server Error"},
		"away":                            {503, `<html>`, canary.Wait, "it answers 503 Service Unavailable"},
		"too many requests":               {429, ``, canary.Wait, "it answers 429 Too Many Requests"},
		"led elsewhere":                   {302, ``, canary.Wait, "redirects are not followed"},
		"JSON that is cut off":            {200, `{"digest":"sha256:2`, canary.Wait, "it is not the JSON that was expected"},
		"another artifact than asked for": {200, `{"digest":"` + other + `"}`, canary.Wait, "read the answer: it tells of the artifact sha256:333333333333"},
		"JSON of no artifact":             {200, `{}`, canary.Wait, "it tells no digest"},
		"a page instead":                  {200, `<html>log in</html>`, canary.Wait, "it is not the JSON that was expected"},
		"an answer without an end":        {200, `{"digest":"` + strings.Repeat("x", 5<<20) + `"}`, canary.Wait, "the answer is too long"},
		"counts that are no whole ones":   {200, `{"digest":"x","scan_overview":{"application/vnd.security.vulnerability.report; version=1.1":{"scan_status":"Success","summary":{"total":1,"summary":{"Critical":"one"}}}}}`, canary.Wait, "it is not the JSON that was expected"},
		"a report without its numbers":    {200, `{"digest":"` + platform + `","scan_overview":{"application/vnd.security.vulnerability.report; version=1.1":{"scan_status":"Success","end_time":"2026-03-01T10:00:00Z"}}}`, canary.Wait, "does not tell how severe"},
		"an overview of another shape":    {200, `{"digest":"x","scan_overview":[]}`, canary.Wait, "it is not the JSON that was expected"},
		"control characters in the word":  {400, "no\x1b[2Jthing", canary.Wait, `it answers 400 Bad Request: no\x1b[2Jthing`},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t)
			w.status, w.body = c.status, c.body
			a := ask(gate(t, w, tiers), subject(image("harbor.example.com/shop/web:v2", platform)))
			if a.Said != c.said || !strings.Contains(a.Sentence, c.sentence) {
				t.Errorf("got %+v", a)
			}
			if told := c.status != 200 || !strings.Contains(c.body, "vulnerability.report") || strings.Contains(c.body, `"one"`); a.Unreached != (told && a.Said == canary.Wait) {
				t.Errorf("unreached is %t: %+v", a.Unreached, a)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		w := serve(t)
		w.Close()
		a := ask(gate(t, w, tiers), subject(image("harbor.example.com/shop/web:v2", platform)))
		if a.Said != canary.Wait || !a.Unreached || !strings.Contains(a.Sentence, "connection refused") {
			t.Errorf("got %+v", a)
		}
	})
}

func TestWhichImagesAreLookedAt(t *testing.T) {
	ours := image("harbor.example.com/shop/web:v2", platform)
	bad := image("harbor.example.com/shop/bad:v2", other)
	foreign := image("registry.example.org/proxy:1", index)
	for name, c := range map[string]struct {
		images   []canary.Image
		said     canary.AnswerKind
		sentence string
		checks   int
	}{
		"one of this Harbor, one of another registry": {[]canary.Image{foreign, ours}, canary.Allow, "Harbor has nothing against", 4},
		"only one of another registry":                {[]canary.Image{foreign}, canary.Deny, "No image of this release is in harbor.example.com; deploy from there", 2},
		"one without a registry":                      {[]canary.Image{image("nginx:1", platform)}, canary.Deny, "No image of this release is in harbor.example.com", 2},
		"one whose registry only begins so":           {[]canary.Image{image("harbor.example.com.evil.example/shop/web", platform)}, canary.Deny, "No image of this release", 2},
		"none known yet":                              {nil, canary.Wait, "The images of this release are not known yet", 1},
		"the same twice":                              {[]canary.Image{ours, ours}, canary.Allow, "", 3},
		"a good one and a bad one":                    {[]canary.Image{ours, bad}, canary.Deny, "shop/bad@333333333333 has 7 critical vulnerabilities", 6},
		"one that names no project":                   {[]canary.Image{image("harbor.example.com/web:v2", platform)}, canary.Deny, "is no project and repository of Harbor", 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t)
			w.artifacts["shop/web "+platform] = scanned(platform, nil).JSON()
			w.artifacts["shop/bad "+other] = scanned(other, map[string]int{"Critical": 7}).JSON()
			a := ask(gate(t, w, tiers), subject(c.images...))
			if a.Said != c.said || !strings.Contains(a.Sentence, c.sentence) || len(a.Checks) != c.checks {
				t.Errorf("got %+v", a)
			}
		})
	}
}

// A pod may report the digest of the index or of the platform's manifest, and before
// pods run there is what the template names.
func TestWhichArtifactIsAskedFor(t *testing.T) {
	signed := harbor.Options{Limits: tiers.Limits, Signed: harbor.SignedCosign}
	for name, c := range map[string]struct {
		artifacts map[string]artifact
		image     canary.Image
		said      canary.AnswerKind
		sentence  string
	}{
		"pods report the index": {
			map[string]artifact{index: scanned(index, nil, "signature.cosign")}, image("harbor.example.com/team/a/b:v2", index), canary.Allow, "",
		},
		"pods report the platform, the tag names the signed index": {
			map[string]artifact{platform: scanned(platform, nil), "v2": {digest: index, children: []string{other, platform}, signed: []string{"signature.cosign"}}},
			image("harbor.example.com/team/a/b:v2", platform), canary.Allow, "",
		},
		"pods report the platform, the template names the index by digest": {
			map[string]artifact{platform: scanned(platform, nil), index: {digest: index, children: []string{platform}, signed: []string{"signature.cosign"}}},
			image("harbor.example.com/team/a/b@"+index, platform), canary.Allow, "",
		},
		"the tag was moved to an index without that platform": {
			map[string]artifact{platform: scanned(platform, nil), "v2": {digest: index, children: []string{other}, signed: []string{"signature.cosign"}}},
			image("harbor.example.com/team/a/b:v2", platform), canary.Deny, "team/a/b@222222222222 is not signed by cosign",
		},
		"the tag was deleted": {
			map[string]artifact{platform: scanned(platform, nil)}, image("harbor.example.com/team/a/b:v2", platform), canary.Deny, "is not signed by cosign",
		},
		"pods report what Harbor doesn't have": {
			map[string]artifact{"v2": scanned(index, nil, "signature.cosign")}, image("harbor.example.com/team/a/b:v2", platform), canary.Deny, "Harbor has no team/a/b@222222222222",
		},
		"before pods run, by digest": {
			map[string]artifact{index: scanned(index, nil, "signature.cosign")}, image("harbor.example.com/team/a/b:v2@"+index, ""), canary.Allow, "",
		},
		"before pods run, by tag": {
			map[string]artifact{"v2": scanned(index, map[string]int{"Critical": 1}, "signature.cosign")}, image("harbor.example.com/team/a/b:v2", ""),
			canary.Deny, "team/a/b:v2 has 1 critical vulnerability, at most 0 are allowed (team/a/b:v2 is sha256:111111111111 now; a tag can move, a digest can't)",
		},
		"before pods run, by nothing": {
			map[string]artifact{"latest": scanned(index, nil, "signature.cosign")}, image("harbor.example.com/team/a/b", ""), canary.Allow, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t)
			for reference, a := range c.artifacts {
				w.artifacts["team/a/b "+reference] = a.JSON()
			}
			a := ask(gate(t, w, signed), subject(c.image))
			if a.Said != c.said || !strings.Contains(a.Sentence, c.sentence) {
				t.Errorf("got %+v", a)
			}
			for _, r := range w.requests {
				q := r.URL.Query()
				if q.Get("with_scan_overview") != "true" || q.Get("with_accessory") != "true" || !strings.HasPrefix(r.Header.Get("X-Accept-Vulnerabilities"), "application/vnd.security.vulnerability.report; version=1.1, ") {
					t.Errorf("asked %s with %v", r.URL, r.Header)
				}
			}
		})
	}
}

// What a template names is written by tenants: it must lead nowhere but to artifacts.
func TestNamesLeadNowhereElse(t *testing.T) {
	for _, reference := range []string{
		"harbor.example.com/../../../users/current", "harbor.example.com/shop/../../users:v1", "harbor.example.com/shop/web?x=/y:v2",
		"harbor.example.com/shop/web:v2/../../../../../../users", "harbor.example.com/shop/web:v2#x", "harbor.example.com/shop/%2e%2e:v2", "harbor.example.com/shop/web:..",
		"harbor.example.com/shop/web:v2\r\nX-Evil: 1", "harbor.example.com/shop/web@sha256:../../x", "harbor.example.com/./web:v2", "harbor.example.com/shop//web:v2",
	} {
		w := serve(t)
		a := ask(gate(t, w, tiers), subject(image(reference, "")))
		if a.Said == canary.Allow || strings.ContainsAny(a.Sentence, "\r\n") {
			t.Errorf("%q: %+v", reference, a)
		}
		if len(w.requests) > 0 {
			t.Errorf("%q asks for %s", reference, w.requests[0].RequestURI)
		}
	}
}

// What a pod reports comes from a container runtime, and is checked all the same.
func TestADigestThatIsNoneLeadsNowhereElse(t *testing.T) {
	w := serve(t)
	if a := ask(gate(t, w, tiers), subject(image("harbor.example.com/shop/web:v2", "sha256:../../../users"))); a.Said != canary.Deny || len(w.requests) > 0 {
		t.Errorf("got %+v after %d requests", a, len(w.requests))
	}
}

func TestCredentialsOfARobotAccount(t *testing.T) {
	file := filepath.Join(t.TempDir(), "harbor")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := serve(t)
	w.user = "robot$shop+serin:new"
	w.artifacts["shop/web "+platform] = scanned(platform, nil).JSON()
	o := tiers
	o.Credentials, o.Plaintext = file, true
	g := gate(t, w, o)
	s := subject(image("harbor.example.com/shop/web:v2", platform))
	write("robot$shop+serin:old")
	if a := ask(g, s); !a.Unreached || !strings.Contains(a.Sentence, "it answers 401") || strings.Contains(a.Sentence, "old") {
		t.Errorf("with old credentials: %+v", a)
	}
	write("robot$shop+serin:new\n")
	if a := ask(g, s); a.Said != canary.Allow {
		t.Errorf("with new ones: %+v", a)
	}
}

func TestOptionsAreRefusedWhole(t *testing.T) {
	for name, c := range map[string]struct {
		o    harbor.Options
		want []string
	}{
		"everything is wrong": {harbor.Options{
			URL: "harbor", Signed: "pgp", MaxAge: -1, CA: "/nowhere/ca.pem",
			Limits: []harbor.Limit{{Severity: "critical"}, {Severity: harbor.High}, {Severity: harbor.High}, {Severity: harbor.Low, Most: -1}, {Severity: harbor.Medium, Beyond: canary.Wait}},
		}, []string{
			"the URL of Harbor is no http or https URL", "/nowhere/ca.pem", `no severity "critical"; known are Critical, High, Medium, Low`, "the severity High has two limits",
			"the limit of the severity Low is below 0", `deny or approve, not "wait"`, `no signature "pgp"; write none, any, cosign or notation`, "the greatest age of a scan is below 0",
		}},
		"nothing is asked": {harbor.Options{URL: "https://harbor.example.com"}, []string{"nothing is asked of images"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := harbor.New(c.o)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
		})
	}
}

func TestTheHostOfTheURLIsTheRegistryWhereNobodySays(t *testing.T) {
	w := serve(t)
	g, err := harbor.New(harbor.Options{URL: w.URL, Scanned: true})
	if err != nil {
		t.Fatal(err)
	}
	w.artifacts["shop/web "+platform] = scanned(platform, nil).JSON()
	host := strings.TrimPrefix(w.URL, "http://")
	if a := ask(g, subject(image(host+"/shop/web:v2", platform))); a.Said != canary.Allow {
		t.Errorf("got %+v", a)
	}
}
