package hostile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/internal/golden"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/safetext"
	"serin.dev/serin/pkg/topology"
)

// released is the end of an attempt that changes nothing: the release goes its way.
const released canary.Reason = ""

const optIn = `{serin.dev/canary: "true"}`

func annotated(key, value string) change {
	return change{optIn, fmt.Sprintf(`{serin.dev/canary: "true", %s: %q}`, key, value)}
}

// foreign is a VirtualService of a namespace that others rule.
func foreign(namespace, name, created, spec string) change {
	return change{"", fmt.Sprintf("kind: VirtualService\nmetadata: {name: %s, namespace: %s, resourceVersion: \"1\", creationTimestamp: %q}\nspec: %s", name, namespace, created, spec)}
}

func foreignRule(namespace, name, spec string) change {
	return change{"", fmt.Sprintf("kind: DestinationRule\nmetadata: {name: %s, namespace: %s}\nspec: %s", name, namespace, spec)}
}

const (
	older, younger = "2025-01-01T00:00:00Z", "2026-05-01T00:00:00Z"
	full           = "web.shop.svc.cluster.local"
	toEvil         = "http: [{route: [{destination: {host: evil}}]}]"
	toUs           = "http: [{route: [{destination: {host: web.shop.svc.cluster.local, subset: v2}}]}]"
)

// stateAnd is a state as Serin writes it, changed.
func stateAnd(t testing.TB, change func(*canary.State)) string {
	t.Helper()
	s := canary.State{
		Version: 1, Rollout: "r1", Sequence: 7, Phase: canary.Progressing, Step: 1, Weight: 5, Peak: 5, Width: time.Second,
		Canary: canary.Side{Deployment: "web-v2", Subset: "v2", Template: "t2"}, Stable: canary.Side{Deployment: "web-v1", Subset: "v1", Template: "t1"},
		Started: start.Add(-time.Hour), Since: start.Add(-time.Hour), At: start.Add(-time.Hour), Reason: canary.StepStarted,
		Spec: canary.Spec{Steps: []canary.Step{{Weight: 5, Bake: time.Minute}, {Weight: 100, Bake: time.Minute}}, StepDeadline: time.Hour},
	}
	change(&s)
	text, err := canary.EncodeState(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// carrying puts a state of the Service web on its VirtualService.
func carrying(text string) change {
	return change{"  name: web\n  namespace: shop\n  resourceVersion", "  name: web\n  namespace: shop\n  annotations: {serin.dev/state.web: '" + strings.ReplaceAll(text, "'", "''") + "'}\n  resourceVersion"}
}

// attempt is something tried, and what comes of it.
type attempt struct {
	name    string
	changes []change
	want    canary.Reason // what people are told; released: nothing came of it
}

// elsewhere are attempts of other namespaces against the release of this one, and of
// this one against others.
var elsewhere = []attempt{
	{"the plain release, with which all others compare", nil, released},

	{"another namespace's Service is named as a host", []change{annotated("serin.dev/service", "web.pay")}, canary.InvalidAnnotation},
	{"another namespace's Service is named in full", []change{annotated("serin.dev/service", "web.pay.svc.cluster.local")}, canary.InvalidAnnotation},
	{"another namespace's Service is named by a path", []change{annotated("serin.dev/service", "../../pay/services/web")}, canary.InvalidAnnotation},
	{"another namespace's VirtualService is named by namespace", []change{annotated("serin.dev/virtual-service", "pay/web")}, canary.VirtualServiceMissing},
	{"another namespace's VirtualService is named as a host", []change{annotated("serin.dev/virtual-service", "web.pay"), foreign("pay", "web", older, "{hosts: [web], "+toUs+"}")}, canary.VirtualServiceMissing},
	{"a VirtualService is named that only another namespace has", []change{annotated("serin.dev/virtual-service", "edge"), foreign("pay", "edge", older, "{hosts: [a.example.com], gateways: [g], "+toUs+"}")}, canary.VirtualServiceMissing},

	{"a short host in another namespace is a Service there", []change{foreign("pay", "web", older, "{hosts: [web], http: [{route: [{destination: {host: web}}]}]}")}, released},
	{"another namespace routes to the Service by its full name", []change{foreign("pay", "web", younger, "{hosts: [pay.example.com], gateways: [g], "+toUs+"}")}, released},
	{"another namespace routes to the Service by name.namespace", []change{foreign("pay", "web", younger, "{hosts: [pay.example.com], gateways: [g], http: [{route: [{destination: {host: web.shop}}]}]}")}, released},
	{"another namespace claims the Service's host in the mesh, and is older", []change{foreign("evil", "web", older, "{hosts: ["+full+"], "+toEvil+"}")}, canary.VirtualServiceConflict},
	{"another namespace claims it as name.namespace", []change{foreign("evil", "web", older, "{hosts: [web.shop], "+toEvil+"}")}, canary.VirtualServiceConflict},
	{"another namespace claims it and names the mesh", []change{foreign("evil", "web", older, "{hosts: ["+full+"], gateways: [g, mesh], "+toEvil+"}")}, canary.VirtualServiceConflict},
	{"another namespace claims it and leads to the Service too", []change{foreign("evil", "web", older, "{hosts: ["+full+"], "+toUs+"}")}, canary.VirtualServiceConflict},
	{"another namespace claims it and is younger", []change{foreign("evil", "web", younger, "{hosts: ["+full+"], "+toEvil+"}")}, released},
	{"another namespace claims it for itself alone", []change{foreign("evil", "web", older, "{hosts: ["+full+"], exportTo: [.], "+toEvil+"}")}, released},
	{"another namespace claims it at a gateway", []change{foreign("evil", "web", older, "{hosts: ["+full+"], gateways: [g], "+toEvil+"}")}, released},
	{"another namespace claims its short name", []change{foreign("evil", "web", older, "{hosts: [web], "+toEvil+"}")}, released},
	{"another namespace claims it by a wildcard", []change{foreign("evil", "web", older, "{hosts: ['*.shop.svc.cluster.local'], "+toEvil+"}")}, released},
	{"another namespace claims everything", []change{foreign("evil", "web", older, "{hosts: ['*'], "+toEvil+"}")}, released},
	{"another namespace claims it in capitals", []change{foreign("evil", "web", older, "{hosts: [WEB.shop.svc.cluster.local], "+toEvil+"}")}, canary.VirtualServiceConflict},
	{"another namespace claims it with a letter that looks like it", []change{foreign("evil", "web", older, "{hosts: [\"w\u0435b.shop.svc.cluster.local\"], "+toEvil+"}")}, released},
	{"another namespace claims it with a dot behind it", []change{foreign("evil", "web", older, "{hosts: [web.shop.svc.cluster.local.], "+toEvil+"}")}, released},

	{"another namespace delegates to the VirtualService", []change{foreign("evil", "root", older, "{hosts: [e.example.com], gateways: [g], http: [{delegate: {name: web, namespace: shop}}]}")}, released},
	{"the routes are delegated to another namespace", []change{
		{"  hosts: [web]\n  http:\n  - route:\n    - destination: {host: web, subset: v1}", "  hosts: [web]\n  http:\n  - delegate: {name: web, namespace: pay}"},
		foreign("pay", "web", older, "{"+toUs+"}")}, canary.VirtualServiceMissing},
	{"another namespace carries a state of the Service", []change{{"", "kind: VirtualService\nmetadata: {name: web, namespace: evil, annotations: {serin.dev/state.web: '{\"v\":1}'}, labels: {app.kubernetes.io/managed-by: serin, serin.dev/service: web}}\nspec: {hosts: [x], " + toUs + "}"}}, released},
	{"another namespace carries a state of a newer Serin", []change{{"", "kind: VirtualService\nmetadata: {name: web, namespace: evil, annotations: {serin.dev/state.web: '{\"v\":9}'}}\nspec: {hosts: [x], " + toUs + "}"}}, released},

	{"a rule of another namespace hides the subsets", []change{foreignRule("evil", "web", "{host: "+full+"}")}, canary.RuleHidden},
	{"a rule of another namespace hides them by a wildcard", []change{foreignRule("evil", "web", "{host: '*.local'}")}, canary.RuleHidden},
	{"a rule of another namespace names a Service of its own", []change{foreignRule("evil", "web", "{host: web}")}, released},
	{"a rule of another namespace has the same subsets with other labels", []change{foreignRule("evil", "web", "{host: "+full+", subsets: [{name: v1, labels: {version: v2}}, {name: v2, labels: {version: v1}}]}")}, canary.RuleHidden},
	{"a private rule of the root namespace", []change{foreignRule("istio-system", "web", "{host: "+full+", exportTo: [.]}")}, canary.RuleHidden},
	{"a rule of the root namespace, while the Service's own is there", []change{foreignRule("istio-system", "web", "{host: "+full+", subsets: [{name: v2, labels: {version: v1}}]}")}, released},

	{"the route leads to another namespace's Service", []change{{"{host: web, subset: v1}", "{host: web.pay, subset: v1}"}}, canary.VirtualServiceMissing},
	{"the route leads to a ServiceEntry's host that looks like it", []change{{"{host: web, subset: v1}", "{host: web.shop.example.com, subset: v1}"}}, canary.VirtualServiceMissing},
	{"the route leads to the Service in capitals", []change{{"{host: web, subset: v1}", "{host: Web.Shop, subset: v1}"}}, canary.VirtualServiceMissing},
	{"the route leads to it with a dot behind it", []change{{"{host: web, subset: v1}", "{host: web.shop.svc.cluster.local., subset: v1}"}}, canary.VirtualServiceMissing},
	{"the route leads to a part of another Service's name", []change{{"{host: web, subset: v1}", "{host: web.shop.svc.cluster, subset: v1}"}}, canary.VirtualServiceMissing},
}

// within are attempts of people of the namespace who may not do everything in it.
var within = []attempt{
	{"a second Deployment claims the Service", []change{{"", "kind: Deployment\nmetadata: {name: web-v3, namespace: shop, creationTimestamp: \"2026-03-01T00:00:00Z\", annotations: {serin.dev/canary: \"true\"}}\nspec: {replicas: 1, template: {metadata: {labels: {app: web, version: v3}}}}"}}, canary.RouteClaimed},
	{"a Deployment that the Service does not select names it", []change{{"", "kind: Deployment\nmetadata: {name: api, namespace: shop, creationTimestamp: \"2026-03-01T00:00:00Z\", annotations: {serin.dev/canary: \"true\", serin.dev/service: web}}\nspec: {replicas: 1, template: {metadata: {labels: {app: api}}}}"}}, canary.RouteClaimed},
	{"the mark of the guard is forged", []change{annotated("serin.dev/held", "held by me")}, released},
	{"Serin's state is written on the Deployment", []change{annotated("serin.dev/state.web", "{}")}, canary.InvalidAnnotation},
	{"a key that looks like one of Serin's", []change{annotated("serin.dev/st\u0435ps", "100%")}, canary.InvalidAnnotation},
	{"a PromQL expression is given as a metric", []change{annotated("serin.dev/metrics", `up{job=~".*"} >= 1`)}, canary.InvalidAnnotation},
	{"a metric is named that closes the selector", []change{annotated("serin.dev/metrics", `x"} or up{a=" >= 99%`)}, canary.InvalidAnnotation},
	{"a URL is given as a metric", []change{annotated("serin.dev/metrics", `http://evil.example/metrics <= 1`)}, canary.InvalidAnnotation},
	{"a subset's name closes the document", []change{annotated("serin.dev/canary-subset", "v2}]}\n---")}, canary.InvalidAnnotation},
	{"a header of a second line", []change{annotated("serin.dev/header", "x-app: a\r\nx-admin: true")}, canary.InvalidAnnotation},
	{"the header by which hosts are told", []change{annotated("serin.dev/header", ":authority: pay")}, canary.InvalidAnnotation},
	{"an order with an id of two lines", []change{annotated("serin.dev/command", "promote #1\npromote #2")}, canary.InvalidAnnotation},
	{"an order with an id written backwards", []change{annotated("serin.dev/command", "promote #\u202e1")}, canary.InvalidAnnotation},
	{"an order of its own making", []change{annotated("serin.dev/command", "exec #1")}, canary.InvalidAnnotation},
	{"steps with NUL among them", []change{annotated("serin.dev/steps", "5%\x00, 100%")}, canary.InvalidAnnotation},
	{"ten thousand steps", []change{annotated("serin.dev/steps", strings.Repeat("1%,", 10_000)+"100%")}, canary.InvalidAnnotation},
	{"an annotation of 200 KiB", []change{annotated("serin.dev/service", strings.Repeat("a", 200<<10))}, canary.InvalidAnnotation},
	{"a header of 100 KiB", []change{annotated("serin.dev/header", "x-app: "+strings.Repeat("a", 100<<10))}, canary.InvalidAnnotation},
}

// forged are states that somebody who may edit the VirtualService put there.
func forged(t testing.TB) []attempt {
	changed := func(f func(*canary.State)) []change { return []change{carrying(stateAnd(t, f))} }
	swapped := func(old, new string) []change {
		good := stateAnd(t, func(*canary.State) {})
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return []change{carrying(strings.Replace(good, old, new, 1))}
	}
	return []attempt{
		{"a state names a Deployment by a path", swapped(`"d":"web-v2"`, `"d":"../../../pay/deployments/api"`), canary.StateLost},
		{"a state names a subset that closes a query", swapped(`"s":"v2"`, `"s":"v2\"} or up{a=\""`), canary.StateLost},
		{"a state's blocks are a nanosecond long", swapped(`"width":1000000000`, `"width":1`), canary.StateLost},
		{"a state's blocks are longer than all time", swapped(`"width":1000000000`, `"width":288230376151711744`), canary.StateLost},
		{"a state's reason is an escape sequence", swapped(`"reason":"StepStarted"`, `"reason":"\u001b[2J"`), canary.StateLost},
		{"a state's weight is above all", swapped(`"weight":5`, `"weight":250`), canary.StateLost},
		{"a state's phase is not one that is stored", swapped(`"phase":"Progressing"`, `"phase":"Waiting"`), canary.StateLost},
		{"a state has a field more", swapped(`"v":1`, `"v":1,"namespace":"pay"`), canary.StateLost},
		{"a state is 300 KiB long", swapped(`"message":"`, `"message":"`+strings.Repeat("m", 300<<10)), canary.StateLost},
		{"a state is no JSON", []change{carrying("weight=100")}, canary.StateLost},
		{"a state is of a version to come", swapped(`"v":1`, `"v":9`), canary.StateOfNewer},
		{"a state names Deployments of another namespace", changed(func(s *canary.State) { s.Canary.Deployment, s.Stable.Deployment = "api", "ledger" }), canary.DeploymentDeleted},
		{"a state says that a release never seen is at 100%", changed(func(s *canary.State) { s.Rollout, s.Step, s.Weight, s.Peak = "forged", 2, 100, 100 }), canary.TemplateChanged},
		{"a state says that a Deployment is promoted in place", changed(func(s *canary.State) { s.Version, s.InPlace, s.Phase, s.Weight = 2, true, canary.Promoting, 0 }), canary.OptedOut},
		{"a state has the highest sequence there is", swapped(`"seq":7`, `"seq":9223372036854775807`), canary.StateLost},
	}
}

// TestTenancy tries all of it, in pair mode: nothing outside the namespace is
// written, a release that is held up says why, and nothing raises the canary that
// was not there.
func TestTenancy(t *testing.T) {
	var story strings.Builder
	tried := 0
	for _, group := range []struct {
		name     string
		attempts []attempt
	}{{"Other namespaces", elsewhere}, {"People of the namespace", within}, {"Forged states", forged(t)}} {
		fmt.Fprintf(&story, "%s\n", group.name)
		for _, a := range group.attempts {
			tried++
			t.Run(a.name, func(t *testing.T) { fmt.Fprintf(&story, "\n  %s\n%s", a.name, try(t, a)) })
		}
		story.WriteString("\n")
	}
	golden.Check(t, "tenancy.golden", story.String())
	if tried < 60 {
		t.Errorf("only %d attempts", tried)
	}
}

func try(t *testing.T, a attempt) string {
	w := newTenant(t, "pair.yaml", a.changes...)
	before := foreignDocuments(w.o)
	w.play()
	if keys := w.abroad(); len(keys) > 0 {
		t.Errorf("written outside the namespace: %v", keys)
	}
	if after := foreignDocuments(w.o); !maps.Equal(before, after) {
		t.Error("something outside the namespace changed")
	}
	reasons := w.reasons()
	whole := slices.Contains(w.seen, "Succeeded 100%")
	switch {
	case a.want == released && !whole:
		t.Errorf("the release was held up: %s, %v", w.plan.View.Sentence, w.seen)
	case a.want != released && !reasons[a.want]:
		t.Errorf("told %v, not %s: %s", slices.Sorted(maps.Keys(reasons)), a.want, w.plan.View.Sentence)
	case w.plan.View.Reason == "" || w.plan.View.Sentence == "":
		t.Error("nothing is told")
	}
	blocked := w.plan.View.Phase == canary.Blocked
	if blocked && w.highest > 0 && !whole && !strings.Contains(a.name, "state") {
		t.Errorf("it was at %d%% and is blocked", w.highest)
	}
	return told(w)
}

// foreignDocuments is what stands outside the namespace, as text.
func foreignDocuments(o topology.Objects) map[string]string {
	out := map[string]string{}
	for _, vs := range o.VirtualServices {
		if vs.Key.Namespace != o.Namespace {
			out[vs.Key.String()] = fmt.Sprint(vs.Doc)
		}
	}
	return out
}

// told is what people see of an attempt.
func told(w *tenant) string {
	var b strings.Builder
	shown := w.seen
	if len(shown) > 6 {
		shown = append(slices.Clone(shown[:5]), "...", shown[len(shown)-1])
	}
	fmt.Fprintf(&b, "    %s\n", strings.Join(shown, ", "))
	if w.plan.View.Phase != canary.Succeeded {
		fmt.Fprintf(&b, "    %s: %s\n", w.plan.View.Reason, safetext.Line(w.plan.View.Sentence))
	}
	for _, f := range w.plan.View.Findings {
		if f.Sentence() != w.plan.View.Sentence {
			fmt.Fprintf(&b, "    %s: %s\n", f.Reason, safetext.Line(f.Sentence()))
		}
	}
	if w.err != nil {
		fmt.Fprintf(&b, "    not written: %v\n", w.err)
	}
	return b.String()
}

// TestTheChecksFire does what no pass may do, and is caught.
func TestTheChecksFire(t *testing.T) {
	w := newTenant(t, "pair.yaml", foreign("pay", "web", younger, "{hosts: [pay.example.com], gateways: [g], "+toUs+"}"))
	before := foreignDocuments(w.o)
	w.play()
	if len(w.abroad()) > 0 || !maps.Equal(before, foreignDocuments(w.o)) {
		t.Fatal("the plain release writes abroad")
	}
	for _, write := range w.writes {
		write.Key.Namespace = "pay"
		w.do(write)
	}
	if len(w.abroad()) == 0 || maps.Equal(before, foreignDocuments(w.o)) {
		t.Error("a write into another namespace is not noticed")
	}
}
