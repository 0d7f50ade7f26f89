package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/e2e/load"
	"serin.dev/serin/e2e/sandbox"
	"serin.dev/serin/e2e/scenarios/invariant"
)

// patience is how long something may take that has to happen. It judges
// nothing: it ends a scenario in which nothing happens any more.
const patience = 2 * time.Minute

// script says what a scenario needs before it begins.
type script struct {
	routes    string   // of the VirtualService web; default: all to v1, explicitly
	more      string   // further manifests
	stable    settings // annotations of web-v1
	home      settings // environment of web-v1
	sidecars  bool     // in front of all pods: they report, not only the gateway
	path      string   // that the users ask for, with its slash; default: none
	rate      float64  // of the users' requests per second; default 100
	jumps     bool     // commands pass over steps
	adopts    bool     // the user has a header route of their own
	inPlace   bool     // there is one Deployment, web, and Serin releases it in place
	mesh      bool     // the users are in the mesh
	account   string   // of the controller; default: the one that all share
	config    string   // further fields of the controller's configuration
	page      string   // where the controller listens for its page; default: anywhere
	lease     string   // how long the lease outlives a dead leader; default: the controller's
	tolerates func(load.Record) bool
}

// stage is a scenario's own namespace with an application of which v1 serves
// users, and a controller of its own.
type stage struct {
	*testing.T
	world
	script     script
	shop       shop   // of a release in place
	name       string // of the namespace
	controller *sandbox.Controller
	stopped    bool // the controller
	versions   *recorder
	users      *load.Generator
	began      time.Time // of the users' requests
}

// open sets the stage: v1 serves, users come, the controller runs.
func open(t *testing.T, name string, s script) *stage {
	t.Helper()
	if s.routes == "" {
		s.routes = split(100, 0)
	}
	if s.rate == 0 {
		s.rate = 100
	}
	played.Add(1)
	st := &stage{T: t, world: shared, script: s, name: name}
	if s.account != "" {
		var err error
		if st.kubeconfig, err = st.box.KubeconfigFor(s.account); err != nil {
			t.Fatal(err)
		}
	}
	st.apply(strings.ReplaceAll(platform, "NAMESPACE", name))
	st.deploy(deployment{subset: "v1", annotations: s.stable, env: s.home})
	st.apply(gateway(name, s.routes))
	if s.more != "" {
		st.apply(s.more)
	}
	st.versions = record(t, st.trees, name, "web", "web")
	st.until("the gateway serves v1", func() error { return st.served("v1") })
	st.startController()
	st.users, st.began = st.load(load.Options{Rate: s.rate}), time.Now()
	st.explain()
	return st
}

// explain shows, when the scenario has failed, all that was written and why.
func (st *stage) explain() {
	st.Cleanup(func() {
		if st.Failed() {
			st.Logf("all versions:\n%s\n%s", st.versions.trace(st.rules().Subsets), st.logged())
		}
	})
}

// rules say what has to hold over all versions of the routes.
func (st *stage) rules() invariant.Rules {
	r := invariant.Rules{Service: "web", Subsets: subsets, Jumps: st.script.jumps, Adopts: st.script.adopts, InPlace: st.script.inPlace}
	if r.InPlace {
		r.Subsets = ownSubsets
	}
	return r
}

// operator is the part of the controller's configuration that is no default: a
// metric of the operator's own, and checks that are soon complete for the
// releases that are judged by thresholds.
const operator = `
judge: {threshold: {checks: 2, requests: 20}}
metrics:
  unpaid:
    description: Requests that ended with "payment required"
    bad: istio_requests_total{reporter="source", destination_workload_namespace="{{namespace}}", destination_workload="{{workload}}", response_code="402"}
    total: istio_requests_total{reporter="source", destination_workload_namespace="{{namespace}}", destination_workload="{{workload}}"}
`

// startController starts a controller for this namespace alone.
func (st *stage) startController() {
	st.Helper()
	lease := ""
	if st.script.lease != "" {
		lease = fmt.Sprintf(", leaseDuration: %s, renewDeadline: 4s, retryPeriod: 500ms", st.script.lease)
	}
	config := filepath.Join(st.TempDir(), "serin.yaml")
	text := fmt.Sprintf("leaderElection: {namespace: serin-system, name: serin-%s%s}\n%s", st.name, lease, operator)
	text += st.script.config
	if st.script.inPlace {
		text += "inPlace: {enabled: true, settle: 1s}\n"
	}
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		st.Fatal(err)
	}
	args := []string{"--kubeconfig=" + st.kubeconfig, "--config=" + config, "--namespaces=" + st.name}
	if st.script.page != "" {
		args = append(args, "--page-listen="+st.script.page)
	}
	var err error
	st.controller, err = st.box.StartController(args...)
	if err != nil {
		st.Fatal(err)
	}
	st.leads()
}

// leads waits until the controller works.
func (st *stage) leads() {
	st.Helper()
	st.until("the controller leads", func() error {
		body, err := get(st.Context(), st.controller.MetricsURL+"/readyz")
		if err == nil && !strings.Contains(body, "leading") {
			err = fmt.Errorf("it says %q", body)
		}
		return err
	})
}

// load sends requests to the gateway, unless the options say otherwise, until
// the scenario ends.
func (st *stage) load(o load.Options) *load.Generator {
	st.Helper()
	if o.URL == "" {
		o.URL, o.Host = st.entry()
	}
	if o.Rate == 0 {
		o.Rate = 10
	}
	o.Duration, o.Concurrency = 10*time.Minute, 400
	g, err := load.Start(context.WithoutCancel(st.Context()), o)
	if err != nil {
		st.Fatal(err)
	}
	st.Cleanup(g.Stop)
	return g
}

// entry is where the users come in, and the host they ask for.
func (st *stage) entry() (url, host string) {
	if st.script.mesh {
		return st.box.MeshURL() + st.script.path, "web." + st.name
	}
	return st.box.GatewayURL() + st.script.path, st.name + ".example.com"
}

// served asks once, as users do.
func (st *stage) served(version string) error {
	ctx, cancel := context.WithTimeout(st.Context(), 5*time.Second)
	defer cancel()
	address, host := st.entry()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("X-Served-By"); got != version {
		return fmt.Errorf("%s by %q, want %q", resp.Status, got, version)
	}
	return nil
}

// get returns what a URL answers.
func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// until waits until check succeeds.
func (st *stage) until(what string, check func() error) {
	st.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err = check(); err == nil {
			return
		}
		select {
		case <-st.Context().Done():
			st.Fatalf("%s: %v", what, context.Cause(st.Context()))
		case <-time.After(100 * time.Millisecond):
		}
	}
	st.Fatalf("%s: %v", what, err)
}

// reaches waits until the state on the VirtualService web, or on Serin's own
// where the user has none, is as said, and returns it. Each version is looked at, even if the next one follows at once.
func (st *stage) reaches(what string, is func(invariant.State) bool) invariant.State {
	st.Helper()
	versions, _ := st.versions.all()
	return st.reachesFrom(max(0, len(versions)-1), what, is)
}

func (st *stage) reachesFrom(next int, what string, is func(invariant.State) bool) invariant.State {
	st.Helper()
	deadline := time.After(patience)
	for {
		versions, changed := st.versions.all()
		for ; next < len(versions); next++ {
			s, _ := invariant.StateOf(versions[next].Doc, "web")
			if versions[next].Name == st.versions.carrier && is(s) {
				return s
			}
		}
		select {
		case <-changed:
		case <-deadline:
			st.Fatalf("%s: it stays %+v", what, st.versions.state())
		}
	}
}

// reachesWeight waits for a share of the canary, in percent.
func (st *stage) reachesWeight(weight int) invariant.State {
	st.Helper()
	return st.reaches(fmt.Sprintf("the canary has %d%%", weight), func(s invariant.State) bool {
		return s.Active() && s.Phase != "Testing" && s.Weight == weight
	})
}

// arrives waits until users are served by the version: the weights have come
// to the proxies.
func (st *stage) arrives(version string) {
	st.Helper()
	since := time.Now()
	st.until("users are served by "+version, func() error {
		if st.users.Summary(since, time.Time{}).ByVersion[version].Requests == 0 {
			return errors.New("none is")
		}
		return nil
	})
}

// reachesPhase waits for a phase.
func (st *stage) reachesPhase(phase string) invariant.State {
	st.Helper()
	return st.reaches("the phase is "+phase, func(s invariant.State) bool { return s.Phase == phase })
}

// apply server-side applies manifests, as users do.
func (st *stage) apply(manifests string) {
	st.Helper()
	if err := st.box.Apply(st.Context(), manifests); err != nil {
		st.Fatal(err)
	}
}

// deploy applies a Deployment.
func (st *stage) deploy(d deployment) {
	st.Helper()
	d.sidecar = st.script.sidecars
	st.apply(d.manifest(st.name))
}

// release deploys web-v2 with annotations: steps, and further ones.
func (st *stage) release(steps string, env settings, more ...settings) {
	st.Helper()
	annotations := settings{"canary": "true", "steps": steps}
	for _, m := range more {
		annotations = annotations.plus(m)
	}
	st.deploy(deployment{subset: "v2", env: env, annotations: annotations})
}

// kubectl runs the real thing in the namespace and returns what it says.
func (st *stage) kubectl(args ...string) string {
	st.Helper()
	out, _, err := st.box.Kubectl(st.Context(), append([]string{"--namespace", st.name}, args...)...)
	if err != nil {
		st.Fatal(err)
	}
	return out
}

// command gives an order as people do; none takes it away.
func (st *stage) command(order string) {
	st.Helper()
	deployment := "web-v2"
	if st.script.inPlace {
		deployment = "web"
	}
	if order == "none" {
		st.kubectl("annotate", "deployment", deployment, "serin.dev/command-")
		return
	}
	st.kubectl("annotate", "deployment", deployment, "--overwrite", "serin.dev/command="+order)
}

// edit changes the VirtualService web as `kubectl edit` does.
func (st *stage) edit(change func(doc map[string]any)) {
	st.Helper()
	client := st.trees.Resource(virtualServices).Namespace(st.name)
	st.until("the edit is accepted", func() error {
		o, err := client.Get(st.Context(), "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(o.Object)
		written, err := client.Update(st.Context(), o, metav1.UpdateOptions{FieldManager: "kubectl-edit"})
		if err != nil {
			return err
		}
		st.versions.byHand(written.GetResourceVersion())
		return nil
	})
}

// applyAs server-side applies a VirtualService as another field manager.
func (st *stage) applyAs(manager, manifest string, force bool) error {
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		return err
	}
	client := st.trees.Resource(virtualServices).Namespace(st.name)
	written, err := client.Apply(st.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: manager, Force: force})
	if err != nil {
		return err
	}
	st.versions.byHand(written.GetResourceVersion())
	return nil
}

// told waits for an Event with the reason about the scenario's application and
// returns its sentence.
func (st *stage) told(reason string) string {
	st.Helper()
	note := ""
	st.until("an Event says "+reason, func() error {
		found, err := st.notes(reason)
		if err == nil && len(found) == 0 {
			err = errors.New("none does")
		}
		if err == nil {
			note = found[0]
		}
		return err
	})
	return note
}

// notes are the sentences of all Events with the reason.
func (st *stage) notes(reason string) ([]string, error) {
	events, err := st.kube.EventsV1().Events(st.name).List(st.Context(), metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range events.Items {
		if e.Reason == reason && e.ReportingController == "serin.dev/controller" {
			out = append(out, e.Note)
		}
	}
	return out, nil
}

// shows waits until a metric of the controller has a sample like this: a name
// and labels, each label as `key="value"`, with a value.
func (st *stage) shows(value, metric string, labels ...string) {
	st.Helper()
	st.until(fmt.Sprintf("%s%v is %s", metric, labels, value), func() error {
		body, err := get(st.Context(), st.controller.MetricsURL+"/metrics")
		if err != nil {
			return err
		}
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, metric+"{") && strings.HasSuffix(strings.TrimSpace(line), " "+value) && containsAll(line, labels) {
				return nil
			}
		}
		return errors.New("no such sample")
	})
}

func containsAll(line string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(line, p) {
			return false
		}
	}
	return true
}

// answered waits until n more requests of a generator were answered, and
// returns those that were sent since.
func (st *stage) answered(g *load.Generator, n int) []load.Record {
	st.Helper()
	since := time.Now()
	var out []load.Record
	st.until(fmt.Sprintf("%d more requests are answered", n), func() error {
		out = out[:0]
		for _, r := range g.Records() {
			if r.Start.After(since) {
				out = append(out, r)
			}
		}
		if len(out) < n {
			return fmt.Errorf("%d are", len(out))
		}
		return nil
	})
	return out
}

// untilAnswered waits until users had so many answers in all.
func (st *stage) untilAnswered(n int) {
	st.Helper()
	for deadline := time.After(2 * patience); len(st.users.Records()) < n; {
		select {
		case <-deadline:
			st.Fatalf("%d requests are answered, want %d", len(st.users.Records()), n)
		case <-time.After(time.Second):
		}
	}
}

// settles waits until every one of n requests in a row is well answered by the
// version: the routes have arrived.
func (st *stage) settles(g *load.Generator, version string) {
	st.Helper()
	st.until("all is answered by "+version, func() error {
		for _, r := range st.answered(g, min(20, 2+int(4*st.script.rate))) {
			if r.Version != version || r.Bad() {
				return fmt.Errorf("status %d by %q", r.Status, r.Version)
			}
		}
		return nil
	})
}

// onlyBy fails unless all requests were well answered by the version.
func (st *stage) onlyBy(version string, records []load.Record) {
	st.Helper()
	for _, r := range records {
		if r.Version != version || r.Bad() {
			st.Fatalf("a request was answered %d by %q %s, want all by %q", r.Status, r.Version, r.Error, version)
		}
	}
}

// close ends the scenario and checks what has to hold in all of them: the
// invariants of the routes, what users saw, and the end: all users are on the
// subset, answered by the version.
func (st *stage) close(subset, version string) {
	st.Helper()
	if subset != "" {
		st.settles(st.users, version)
	}
	st.conclude()
	if subset != "" {
		st.atRest(subset)
	}
	st.judgeUsers()
	versions, _ := st.versions.all()
	st.Logf("%d versions, last: %s", len(versions), lastLine(st.versions.trace(st.rules().Subsets)))
	st.Logf("users: %s", told(st.users.Records()))
}

// conclude ends the users' requests and the controller, and checks all versions
// of the routes.
func (st *stage) conclude() {
	st.Helper()
	st.users.Stop()
	if !st.stopped {
		if err := st.controller.Stop(); err != nil {
			st.Errorf("the controller does not stop cleanly: %v", err)
		}
	}
	versions, _ := st.versions.all()
	for _, err := range append(invariant.Check(versions, st.rules()), st.versions.trouble) {
		if err != nil {
			st.Error(err)
		}
	}
}

func (st *stage) atRest(subset string) {
	st.Helper()
	seen := map[string]bool{}
	versions, _ := st.versions.all()
	for _, v := range versions {
		if seen[v.Name] {
			continue
		}
		seen[v.Name] = true
		for _, err := range invariant.AtRest(st.versions.last(v.Name).Doc, st.rules(), subset, 100) {
			st.Errorf("VirtualService %s at rest: %v", v.Name, err)
		}
	}
}

// judgeUsers checks what users without the header saw: nobody reached a canary
// that had no weight yet, and nobody got a bad answer but by a bad version.
func (st *stage) judgeUsers() {
	st.Helper()
	first := st.firstWeight()
	var bad []string
	for _, r := range st.users.Records() {
		if !st.script.adopts && r.Version != "v1" && r.Version != "" && (first.IsZero() || r.Start.Add(r.Latency).Before(first)) {
			st.Fatalf("a user was served by %s at %s, before it had weight (%s)", r.Version, r.Start, first)
		}
		if r.Bad() && (st.script.tolerates == nil || !st.script.tolerates(r)) {
			bad = append(bad, fmt.Sprintf("%s status %d by %q after %s: %s", r.Start.Format("15:04:05.000"), r.Status, r.Version, r.Latency, r.Error))
		}
	}
	if len(bad) > 0 {
		st.Errorf("%d users got bad answers:\n%s\nThe gateway's failures so far, of all scenarios: %s", len(bad), strings.Join(bad[:min(len(bad), 10)], "\n"), st.failures())
	}
}

// failures are what the gateway counted, by Envoy's reason: where a proxy itself
// answered, it says why.
func (st *stage) failures() string {
	const query = `sum by (response_code, response_flags, destination_workload) (istio_requests_total{pod="istio-ingressgateway", response_code!="200"}) > 0`
	answer, err := get(context.WithoutCancel(st.Context()), st.box.PrometheusURL()+"/api/v1/query?query="+url.QueryEscape(query))
	if err != nil {
		return err.Error()
	}
	return answer
}

// firstWeight is when the canary's first weight was ordered; zero if never.
func (st *stage) firstWeight() time.Time {
	versions, _ := st.versions.all()
	for _, v := range versions {
		if s, ok := invariant.StateOf(v.Doc, "web"); ok && s.Weight > 0 {
			return s.At.Add(-time.Second) // as it may be written in whole seconds
		}
	}
	return time.Time{}
}

// logged is the end of the controller's log.
func (st *stage) logged() string {
	if st.controller == nil {
		return ""
	}
	text, err := os.ReadFile(st.controller.LogPath)
	if err != nil {
		return err.Error()
	}
	const most = 16 << 10
	return "the controller's log:\n" + string(text[max(0, len(text)-most):])
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// told says what users saw.
func told(records []load.Record) string {
	s := load.Summarize(records, time.Time{}, time.Time{})
	text := fmt.Sprintf("%d requests, %d bad", s.Requests, s.Bad)
	for version, c := range s.ByVersion {
		text += fmt.Sprintf("; by %q %d, %d bad", version, c.Requests, c.Bad)
	}
	return text
}

// by returns a tolerance for bad answers of these versions; "" stands for
// answers of a proxy, where no pod answered.
func by(versions ...string) func(load.Record) bool {
	return func(r load.Record) bool {
		for _, v := range versions {
			if r.Version == v {
				return true
			}
		}
		return false
	}
}
