package hostile

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/guard"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/safetext"
	"serin.dev/serin/pkg/topology"
)

// input is something malformed or hostile.
type input struct{ name, text string }

// room is where inputs come in. says is what people are told of one; empty: it
// passed, which none may.
type room struct {
	name   string
	object string // what every error names
	inputs []input
	says   func(t *testing.T, text string) string
}

var annotations = []input{
	{"steps that fall", "steps=25%, 5%, 100%"},
	{"steps that never reach everybody", "steps=5%, 50%"},
	{"a step beyond everybody", "steps=5%, 150%"},
	{"a step of nothing in the middle", "steps=5%, 0%, 100%"},
	{"steps without percent", "steps=5, 25, 100"},
	{"a negative step", "steps=-5%, 100%"},
	{"a bake that is no time", "bake=soon"},
	{"a bake without end", "bake=99999d"},
	{"a deadline before the bake's end", "step-deadline=1s"},
	{"an error rate above all", "max-error-rate=101%"},
	{"an error rate that is not a number", "max-error-rate=NaN"},
	{"a latency that is negative", "max-p99=-1s"},
	{"a metric nobody defined", "metrics=sales >= 1"},
	{"a metric that closes the selector", `metrics=x"} or up{a=" >= 1`},
	{"a header that decides about the connection", "header=host: pay"},
	{"a header of two lines", "header=x-app: a\nx-admin: true"},
	{"a cookie with a separator in it", "header=cookie: a=b;c=d"},
	{"an expression that doesn't compile", "header=x-app: regex:(["},
	{"a Service of another namespace", "service=web.pay"},
	{"a VirtualService of another namespace", "virtual-service=pay/web"},
	{"a subset that is a label", "canary-subset=version=v2"},
	{"one subset for both", "canary-subset=v1\nstable-subset=v1"},
	{"an order without an id", "command=promote"},
	{"an order nobody knows", "command=deploy #1"},
	{"a mode nobody knows", "mode=blue-green"},
	{"a smoke check of another host", "smoke=GET http://metadata.internal/token"},
	{"a smoke check of another host without a scheme", "smoke=GET //metadata.internal/token"},
	{"a smoke check that climbs", "smoke=GET /a/%2e%2e/admin"},
	{"a smoke check of two requests", "smoke=GET /a%0d%0aHost:%20pay"},
	{"a smoke check that deletes", "smoke=DELETE /items"},
	{"a smoke check whose path was answered", "smoke=GET /a take to=.to then GET {to}"},
	{"JSON without an end", `smoke=POST /items {"a": ["b"`},
	{"a gate that is an address", "gates=https://gate.example.com"},
	{"a gate at a moment that nobody knows", "gates=hours@midnight"},
	{"an approval by a person", "approval=jane"},
	{"tags that don't compile", "tags=regex:v([0-9]"},
	{"pods that carry nothing", "capacity=0x"},
	{"restarts without end", "max-restarts=1e9"},
	{"nothing", "steps="},
	{"a misspelt key", "stpes=5%, 100%"},
	{"a key with a letter that only looks right", "st\u0435ps=5%, 100%"},
	{"bytes that are no text", "header=x-app: \xff"},
	{"a value longer than any", "header=x-app: " + strings.Repeat("a", 600)},
}

func parsed(t *testing.T, text string) string {
	values := map[string]string{annotation.Prefix + "canary": "true"}
	for pair := range strings.SplitSeq(text, "\n") {
		key, value, found := strings.Cut(pair, "=")
		if !found || strings.HasPrefix(pair, "x-admin") { // the second line of a value
			values[annotation.Prefix+"header"] += "\n" + pair
			continue
		}
		values[annotation.Prefix+key] = value
	}
	p, err := annotation.Parse(values, annotation.Vocabulary{Defaults: annotation.Defaults()})
	if err != nil && (p.Spec.Steps != nil || !p.OptedIn) {
		t.Errorf("what is refused is used: %+v", p)
	}
	return textOf(err)
}

var configs = []input{
	{"no mapping", "- a"},
	{"a field nobody knows", "prometheus: {uri: http://p:9090}"},
	{"a field twice", "listen: a:1\nlisten: a:2"},
	{"two documents", "listen: a:1\n---\nlisten: a:2"},
	{"text for a number", "prometheus: {interval: often}"},
	{"an address that is none", "prometheus: {url: 'file:///etc/passwd'}"},
	{"an interval below all", "prometheus: {interval: 1ns}"},
	{"a lease that two hold", "leaderElection: {leaseDuration: 5s, renewDeadline: 9s}"},
	{"a namespace that is a path", "namespaces: [../kube-system]"},
	{"a default that belongs to one Deployment", "defaults: {service: web}"},
	{"a metric whose query is a rate", "metrics: {errors: {bad: 'rate(x{w=\"{{workload}}\"}[1m])', total: 'y{w=\"{{workload}}\"}'}}"},
	{"a guard nobody knows", "inPlace: {enabled: true, guard: hope}"},
	{"a gate that nobody could verify", "gates: {board: {type: webhook, url: 'https://gate.example.com', at: [before-start]}}"},
	{"a gate with its password in the address", "gates: {board: {type: webhook, url: 'https://serin:hunter2@gate.example.com', at: [before-start], credentials: /run/key}}"},
	{"hours by nobody's clocks", "gates: {hours: {type: window, open: Mon 09:00-10:00, zone: ../../etc/localtime}}"},
	{"a receiver that believes everybody", "alertmanager: {urls: ['http://a:9093'], receiver: {listen: ':9095'}}"},
	{"half of a file", "prometheus: {url: 'http"},
	{"a tab for spaces", "prometheus:\n\turl: x"},
}

func configured(_ *testing.T, text string) string {
	_, err := config.Load(strings.NewReader(text))
	return textOf(err)
}

func states(t *testing.T) []input {
	good := stateAnd(t, func(*canary.State) {})
	swap := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	return []input{
		{"no JSON", "weight=100"},
		{"half of it", good[:len(good)/2]},
		{"something behind it", good + "{}"},
		{"a field nobody knows", swap(`{"v":`, `{"namespace":"pay","v":`)},
		{"a weight above all", swap(`"weight":5`, `"weight":250`)},
		{"a step that is none", swap(`"step":1`, `"step":9`)},
		{"a phase that is not stored", swap(`"Progressing"`, `"Waiting"`)},
		{"blocks of a nanosecond", swap(`"width":1000000000`, `"width":1`)},
		{"a Deployment that is a path", swap(`"d":"web-v2"`, `"d":"../../pay/deployments/api"`)},
		{"a subset that closes a query", swap(`"s":"v2"`, `"s":"v2\"} or up{a=\""`)},
		{"a reason that clears the screen", swap(`"reason":"StepStarted"`, `"reason":"\u001b[2J"`)},
		{"the same subset for both", swap(`"s":"v2"`, `"s":"v1"`)},
	}
}

func stated(t *testing.T, text string) string {
	o := newTenant(t, "pair.yaml", carrying(text)).o
	if _, _, lost := mode.FindState(o); !lost {
		return ""
	}
	return (&tenantOf{o}).blocked(t)
}

// routes are shapes of the objects around a Service, as changes of the manifests.
var routes = []input{
	{"a TCP route", "  http:\n=>  tcp:\n  - route:\n    - destination: {host: web}\n  http:\n"},
	{"a destination without a subset", "{host: web, subset: v1}=>{host: web}"},
	{"a subset that is not there", "subset: v1}=>subset: v7}"},
	{"weights that can't carry a step", "    - destination: {host: web, subset: v1}=>    - destination: {host: web, subset: v1}\n      weight: 3\n    - destination: {host: other}\n      weight: 97"},
	{"weights that are split by hand", "    - destination: {host: web, subset: v1}=>    - destination: {host: web, subset: v1}\n      weight: 70\n    - destination: {host: web, subset: v2}\n      weight: 30"},
	{"no route to the Service", "{host: web, subset: v1}=>{host: cart, subset: v1}"},
	{"routes that are no list", "  http:\n  - route:\n    - destination: {host: web, subset: v1}=>  http: {route: web}"},
	{"destinations that are numbers", "    - destination: {host: web, subset: v1}=>    - 7"},
	{"a rule without subsets", "  subsets:\n  - {name: v1, labels: {version: v1}}\n  - {name: v2, labels: {version: v2}}\n=>"},
	{"a rule for another host", "  host: web\n=>  host: cart\n"},
	{"a subset that selects both versions", "{name: v1, labels: {version: v1}}=>{name: v1, labels: {app: web}}"},
	{"a rule for some clients alone", "  host: web\n=>  workloadSelector: {matchLabels: {app: cart}}\n  host: web\n"},
	{"subsets that are text", "  subsets:\n  - {name: v1, labels: {version: v1}}\n  - {name: v2, labels: {version: v2}}\n=>  subsets: v1\n"},
	{"a Service that selects nothing of it", "selector: {app: web}=>selector: {app: shop}"},
	{"a Deployment alone that asks for a pair", "name: web-v1, namespace: shop=>name: web-v1, namespace: other"},
}

func routed(t *testing.T, text string) string {
	old, new, _ := strings.Cut(text, "=>")
	extra := []change{{old, new}}
	if strings.Contains(old, "selector: {app: web}") {
		extra = append(extra, change{optIn, `{serin.dev/canary: "true", serin.dev/service: web, serin.dev/mode: pair}`})
	}
	if strings.Contains(old, "web-v1, namespace") {
		extra = append(extra, annotated("serin.dev/mode", "pair"))
	}
	w := newTenant(t, "pair.yaml", extra...)
	return (&tenantOf{w.o}).blocked(t)
}

// tenantOf is a tenant of given objects.
type tenantOf struct{ o topology.Objects }

// blocked is what is told where no release starts; empty where one does.
func (x *tenantOf) blocked(t *testing.T) string {
	w := &tenant{o: x.o, now: start, verdict: "Promote"}
	w.play()
	if len(w.writes) > 0 || w.plan.View.Phase != canary.Blocked {
		t.Errorf("it is %s and %d writes were made: %s", w.plan.View.Phase, len(w.writes), w.plan.View.Sentence)
		return ""
	}
	if w.plan.View.Reason != canary.StateLost && len(w.plan.View.Findings) > 0 {
		f := w.plan.View.Findings[0]
		if f.Object.Name == "" || f.Mend == "" {
			t.Errorf("%+v names no object or no mend", f)
		}
	}
	return w.plan.View.Sentence
}

func revisions(t *testing.T) []input {
	good := string(record(t).Data.Raw)
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	return []input{
		{"no JSON", "revision"},
		{"of a newer version", swap(`{"v":2`, newer)},
		{"blocks of a nanosecond", swap(`"width":1000000000`, `"width":1`)},
		{"a negative bake", swap(`"b":60000000000`, `"b":-60000000000`)},
		{"a Deployment that is a path", swap(`"d":"web-v2"`, `"d":"../web-v2"`)},
		{"a stretch of time that ends before it begins", swap(`"started"`, `"legs":["1/5/2000/1000"],"started"`)},
	}
}

const (
	courseKey = "serin.dev/course"
	newer     = `{"v":9` // how data of a newer version begins
)

func record(t testing.TB) *appsv1.ControllerRevision {
	s, err := canary.DecodeState(stateAnd(t, func(*canary.State) {}))
	if err != nil {
		t.Fatal(err)
	}
	r, err := history.Revision(canary.Release{
		Rollout: s.Rollout, Canary: s.Canary, Stable: s.Stable, Spec: s.Spec, Started: s.Started, Ended: start,
		Outcome: canary.Succeeded, Reason: canary.Promoted, Width: s.Width,
	}, history.Owner{Namespace: "shop", Name: "web", UID: "web-uid"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func kept(t *testing.T, text string) string {
	r := record(t)
	r.Data = runtime.RawExtension{Raw: []byte(text)}
	r.ObjectMeta = metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name, Annotations: r.Annotations}
	// What changed until the end stands in an annotation beside the data, and in its place.
	delete(r.Annotations, courseKey)
	changed := record(t)
	changed.Annotations[courseKey] = text
	if later, err := history.Releases([]*appsv1.ControllerRevision{changed}); (len(later) > 0 || err == nil) && !strings.Contains(text, newer) {
		t.Error("as what changed it counts as a release")
	}
	releases, err := history.Releases([]*appsv1.ControllerRevision{r})
	if len(releases) > 0 {
		t.Error("it counts as a release")
	}
	return textOf(err)
}

const good = `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"destination_workload":"web-v2"},"values":[[1,"2"]]}]}}`

// answers of a Prometheus: status, a space, body.
var promAnswers = []input{
	{"a page of a proxy", "502 <html>bad gateway</html>"},
	{"nothing", "200 "},
	{"half of an answer", "200 " + good[:len(good)-20]},
	{"no JSON", "200 up 1"},
	{"a vector", "200 " + strings.Replace(good, "matrix", "vector", 1)},
	{"a status nobody knows", "200 " + strings.Replace(good, `"success"`, `"fine"`, 1)},
	{"a value that is no number", "200 " + strings.Replace(good, `"2"`, `"many"`, 1)},
	{"a value without its quotes", "200 " + strings.Replace(good, `"2"`, `[]`, 1)},
	{"a refusal that steers the terminal", `400 {"status":"error","errorType":"bad_data","error":"\u001b[2Jdrop\u202e"}`},
	{"a refusal of 100 KiB", `422 {"status":"error","errorType":"execution","error":"` + strings.Repeat("no ", 100<<10/3) + `"}`},
	{"a time that was not asked for", "200 " + strings.Replace(good, "[1,", "[99999999999,", 1)},
	{"metrics nested without end", "200 " + strings.Repeat(`{"data":`, 100_000)},
}

func answered(t *testing.T, text string) string {
	status, body, _ := strings.Cut(text, " ")
	code := 0
	fmt.Sscan(status, &code)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}))
	defer server.Close()
	query, err := prom.HTTP(server.Client(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	now := start
	answer := prom.Blocks(context.Background(), query, []prom.Ask{{
		Key: "web", Namespace: "shop", Service: "web", StableWorkload: "web-v1", CanaryWorkload: "web-v2",
		From: now.Add(-time.Minute), Width: 5 * time.Second, Step: 1, Weight: 5,
	}}, now)["web"]
	if answer.Err != nil && len(answer.Blocks) > 0 {
		t.Error("there are blocks beside an error")
	}
	return strings.ReplaceAll(textOf(answer.Err), server.URL, "http://prometheus:9090")
}

var reviews = []input{
	{"no JSON", "review"},
	{"no review", `{"apiVersion":"v1","kind":"Pod"}`},
	{"a review of a version to come", `{"apiVersion":"admission.k8s.io/v9","kind":"AdmissionReview","request":{"uid":"1"}}`},
	{"a review without a request", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`},
	{"a request without an id", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}`},
	{"a Deployment that is a list", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","object":[]}}`},
	{"a review above all sizes", strings.Repeat(" ", guard.MaxBytes+1)},
}

func reviewed(t *testing.T, text string) string {
	r := httptest.NewRequest(http.MethodPost, "/guard", strings.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	guard.Handler("system:serviceaccount:serin-system:serin").ServeHTTP(w, r)
	if w.Code < 400 || w.Code >= 500 {
		t.Errorf("answered %d", w.Code)
	}
	return fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String()))
}

var commandLines = []input{
	{"a word that is no flag", "serin now"},
	{"a flag nobody knows", "serin --namespace shop"},
	{"a level nobody knows", "serin --log-level loud"},
	{"an interval of nothing", "serin --interval 1ms"},
	{"a guard nobody knows", "serin --in-place hope"},
	{"a file that is not there", "serin --config /nowhere/serin.yaml"},
	{"no name", "kubectl-canary explain"},
	{"two names", "kubectl-canary explain web api"},
	{"a step before the first", "kubectl-canary explain web --step -1"},
	{"a step that is a word", "kubectl-canary explain web --step last"},
	{"a verb nobody knows", "kubectl-canary destroy web"},
	{"a verb that steers the terminal", "kubectl-canary \x1b[2J"},
}

// commanded runs a command that was built before, and refuses its input.
func commanded(programs string) func(t *testing.T, line string) string {
	return func(t *testing.T, line string) string {
		words := strings.Fields(line)
		c := exec.CommandContext(t.Context(), filepath.Join(programs, words[0]), words[1:]...)
		c.Env = []string{"HOME=" + t.TempDir(), "KUBECONFIG=/nowhere/kubeconfig"}
		out, err := c.CombinedOutput()
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			t.Errorf("ended with %v", err)
			return ""
		}
		first, _, _ := strings.Cut(string(out), "\nUsage of")
		return strings.TrimSpace(first)
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestBadInput gives each input where it comes in: it is refused with an error that
// is printable, bounded, and names what it is about. None is silently replaced by a
// default.
func TestBadInput(t *testing.T) {
	programs := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", programs, "serin.dev/serin/cmd/serin", "serin.dev/serin/cmd/kubectl-canary").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var rows strings.Builder
	tried := 0
	for _, r := range []room{
		{"Annotations of a Deployment", annotation.Prefix, annotations, parsed},
		{"The configuration file", "configuration", configs, configured},
		{"The state on a VirtualService", "VirtualService shop/web metadata.annotations[serin.dev/state.web]", states(t), stated},
		{"VirtualServices, DestinationRules, Services, Deployments", "shop/web", routes, routed},
		{"Records of finished releases", "ControllerRevision shop/serin-web-r1", revisions(t), kept},
		{"Answers of Prometheus", "shop/web", promAnswers, answered},
		{"Admission reviews", "review", reviews, reviewed},
		{"Command lines", "", commandLines, commanded(programs)},
	} {
		fmt.Fprintf(&rows, "\n### %s\n\n| what is given | what is answered |\n|---|---|\n", r.name)
		for _, in := range r.inputs {
			tried++
			t.Run(r.name+"/"+in.name, func(t *testing.T) {
				said := r.says(t, in.text)
				switch {
				case said == "":
					t.Error("it passed")
				case !strings.Contains(said, r.object):
					t.Errorf("%q does not name %s", said, r.object)
				case len(said) > 2000:
					t.Errorf("%d bytes are told: %.300s...", len(said), said)
				}
				fmt.Fprintf(&rows, "| %s | %s |\n", in.name, cell(said))
			})
		}
	}
	if tried < 60 {
		t.Errorf("only %d inputs", tried)
	}
	document(t, "../../docs/security.md", "bad input", rows.String()+"\n")
}

// cell is a text as it stands in a table of Markdown.
func cell(text string) string {
	text = strings.ReplaceAll(text, "\n", "; ")
	return "`" + strings.NewReplacer("|", `\|`, "`", "'").Replace(safetext.Line(text)) + "`"
}

// document compares a generated part of a document, which -update writes.
func document(t *testing.T, file, part, want string) {
	t.Helper()
	begin, end := fmt.Sprintf("<!-- %s: begin, generated by go test ./internal/hostile -update -->\n", part), fmt.Sprintf("<!-- %s: end -->\n", part)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, opened := strings.Cut(string(text), begin)
	have, after, closed := strings.Cut(rest, end)
	switch {
	case !opened || !closed:
		t.Fatalf("%s has no place for: %s", file, part)
	case have == want:
	case flag.Lookup("update").Value.String() == "true":
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not current: run go test ./internal/hostile -update", file)
	}
}
