package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	appsv1 "k8s.io/api/apps/v1"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/explain"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/mode/inplace"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/safetext"
	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/topology/topologytest"
)

// hostileTexts are what others may write where text is free: a message, a reason
// why a pod waits, what Prometheus answers.
var hostileTexts = map[string]string{
	"colours":                "\x1b[31mall is well\x1b[0m",
	"a cleared screen":       "\x1b[2J\x1b[H",
	"the terminal's title":   "\x1b]0;owned\a",
	"8-bit escapes":          "\u009b2J\u009d0;owned\u009c",
	"a line of its own":      "fails\n{\"level\":\"info\",\"msg\":\"Promoted\"}",
	"a line over another":    "fails\rworks",
	"text written backwards": "\u202eetomorp",
	"letters nobody sees":    "pro\u200bmote\ufeff\U000e0041",
	"NUL":                    "fails\x00works",
	"markup":                 `<script>alert(1)</script><a href="javascript:alert(1)">`,
	"bytes that are no text": "a\xff\xfe",
	"a format":               "%s%n%!d(MISSING)",
}

func steers(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' })
}

// Whatever others write, neither the text nor the JSON of an explanation steers a
// terminal, in whichever field it comes.
func TestExplanationsSteerNoTerminal(t *testing.T) {
	for name, text := range hostileTexts {
		t.Run(name, func(t *testing.T) {
			s, err := canary.DecodeState(stateAnd(t, func(s *canary.State) {
				s.Message = text
				s.Spec.Custom = []judge.Custom{{Name: text, Bound: 1, Gauge: true}}
				s.Spec.Limits = judge.Limits{ErrorRate: .01, P99: time.Second}
			}))
			if err != nil {
				t.Fatal(err)
			}
			source := func(_ context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
				out := map[string]prom.Answer{}
				for _, a := range asks {
					if a.From.After(now.Add(-time.Minute)) {
						continue // no more of it is closed
					}
					b := judge.Block{Start: a.From.Truncate(a.Width).Add(a.Width), Width: a.Width, Step: a.Step, Weight: a.Weight, Canary: judge.Sample{Live: true, Counts: judge.Counts{Requests: 9}}, Stable: judge.Sample{Live: true, Counts: judge.Counts{Requests: 90}}}
					other := b
					other.Start, other.Missing = b.End(), text
					b.Custom = []judge.Pair{{Missing: text}}
					out[a.Key] = prom.Answer{Blocks: []judge.Block{b, other}, Warnings: []string{text}}
				}
				return out
			}
			story, err := explain.Tell(context.Background(), explain.Query{Blocks: source, Custom: []prom.Custom{{}}}, explain.Release{Namespace: "shop", Service: "web", State: s}, 0, start.Add(-50*time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			var out, asJSON bytes.Buffer
			if err := story.Text(&out, explain.Style{Width: 100}); err != nil || steers(out.String()) {
				t.Errorf("%v: %q", err, out.String())
			}
			if err := story.JSON(safetext.JSON(&asJSON)); err != nil || steers(asJSON.String()) || !json.Valid(asJSON.Bytes()) {
				t.Errorf("%v: %q", err, asJSON.String())
			}
		})
	}
}

// What a plan tells goes to Events and the log through one function; what it makes
// of the worst there is is one printable line that still says it.
func TestWhatIsToldIsOneLine(t *testing.T) {
	for name, text := range hostileTexts {
		t.Run(name, func(t *testing.T) {
			w := newTenant(t, "pair.yaml")
			for i := range w.o.Deployments {
				w.o.Deployments[i].Complete = false
				w.o.Deployments[i].Pods = []topology.Pod{{Name: "p", Waiting: "ImagePullBackOff", Message: text}}
			}
			w.play()
			line := safetext.Line(w.plan.View.Sentence)
			if steers(line) || strings.Contains(line, "\n") || !strings.Contains(line, "ImagePullBackOff") {
				t.Errorf("told %q", line)
			}
		})
	}
}

// A name from an annotation or a state never becomes a part of a query.
func TestNamesNeverBecomePromQL(t *testing.T) {
	const template = `sum(errors{namespace="{{namespace}}", workload=~"{{workload}}|x", track="{{track}}", pod=~"{{pods}}"})`
	for name, text := range map[string]string{
		"a closed selector": `web"} or up{a="`, "an expression": ".*", "a backslash": `web\`, "a back quote": "web`} or up{a=`",
		"a placeholder": "{{namespace}}", "a line": "web\nor up", "NUL": "web\x00", "a comment": "web # ", "alternatives": "web|pay",
	} {
		t.Run(name, func(t *testing.T) {
			queries, err := prom.Template{Name: "errors", Gauge: template}.Queries(prom.Place{Namespace: "shop", Workload: text, Service: "web", Track: "canary"})
			if err != nil {
				return // refused
			}
			if got := strings.Count(queries["gauge"], `"`) - strings.Count(queries["gauge"], `\"`); got != strings.Count(template, `"`) {
				t.Errorf("quotes are opened or closed: %s", queries["gauge"])
			}
			var asked []string
			q := func(_ context.Context, promql string, _, _ time.Time, _ time.Duration) (prom.Matrix, error) {
				asked = append(asked, promql)
				return prom.Matrix{}, nil
			}
			prom.Blocks(context.Background(), q, []prom.Ask{{Key: "k", Namespace: "shop", Service: "web", StableWorkload: text, CanaryWorkload: "web-v2", From: start.Add(-time.Minute), Width: 5 * time.Second, Weight: 5, Step: 1}}, start)
			for _, promql := range asked {
				bare := literals.Replace(promql)
				if strings.Contains(bare, "up{") || strings.Contains(bare, "\n") || strings.Contains(bare, "\x00") {
					t.Errorf("asked %s", promql)
				}
			}
			if len(asked) == 0 {
				t.Error("nothing was asked")
			}
		})
	}
}

// literals takes escaped quotes away, between which a name stands.
var literals = strings.NewReplacer(`\"} or up{a=\"`, "", "`} or up\\\\{a=`", "", "\\`\\} or up\\{a=\\`", "")

// In place Serin makes, scales and removes objects. Of names that others have, or
// that a state made up, it takes none.
func TestInPlaceTakesNothingOfOthers(t *testing.T) {
	forgedState := func(name string) change {
		text := stateAnd(t, func(s *canary.State) {
			s.Version, s.InPlace, s.Phase, s.Weight = 2, true, canary.RollingBack, 0
			s.Canary = canary.Side{Deployment: name + "-canary", Subset: inplace.CanarySubset}
			s.Stable = canary.Side{Deployment: name, Subset: inplace.StableSubset, Pods: "h"}
		})
		return carrying(text)
	}
	other := func(name, labels string) change {
		return change{"", "kind: Deployment\nmetadata: {name: " + name + ", namespace: shop, uid: u, resourceVersion: \"1\", creationTimestamp: \"2026-01-01T00:00:00Z\"" + labels + "}\nspec: {replicas: 1, template: {metadata: {labels: {app: web, version: v9}}}}"}
	}
	for name, changes := range map[string][]change{
		"a state is of another Deployment":                          {forgedState("ledger"), other("ledger", "")},
		"a Deployment has the canary's name":                        {forgedState("web-v2"), other("web-v2-canary", "")},
		"a Deployment has the canary's name and labels":             {forgedState("web-v2"), other("web-v2-canary", ", labels: {app.kubernetes.io/managed-by: serin, serin.dev/service: web, serin.dev/track: canary}")},
		"a rule has the name of Serin's":                            {forgedState("web-v2"), {"", "kind: DestinationRule\nmetadata: {name: web-v2-serin, namespace: shop, resourceVersion: \"1\"}\nspec: {host: web}"}},
		"a rule of another namespace has name and labels":           {forgedState("web-v2"), {"", "kind: DestinationRule\nmetadata: {name: web-v2-serin, namespace: pay, resourceVersion: \"1\", labels: {app.kubernetes.io/managed-by: serin, serin.dev/service: web}}\nspec: {host: web.shop.svc.cluster.local}"}},
		"a VirtualService of another namespace has name and labels": {forgedState("web-v2"), {"", "kind: VirtualService\nmetadata: {name: web-v2-serin, namespace: pay, resourceVersion: \"1\", labels: {app.kubernetes.io/managed-by: serin, serin.dev/service: web}}\nspec: {hosts: [x], " + toUs + "}"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTenant(t, "pair.yaml", changes...)
			there := map[canary.ObjectKey]bool{}
			for _, d := range w.o.Deployments {
				there[canary.ObjectKey{Kind: "Deployment", Namespace: "shop", Name: d.Name}] = true
			}
			for _, r := range w.o.DestinationRules {
				there[r.Key] = true
			}
			w.play()
			for _, write := range w.writes {
				if there[write.Key] && write.Verb != mode.Patch || write.Key.Namespace != "shop" || write.Verb == mode.Delete {
					t.Errorf("%s %s (%s)", write.Verb, write.Key, write.Why)
				}
			}
		})
	}
}

// A thousand VirtualServices of another namespace for one host hold nothing up for
// longer than they take to be looked at: the work grows with their number and not
// with its square.
func TestAThousandClaimsOfAHost(t *testing.T) {
	hosts := make([]string, 50)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("h%d.example.com", i)
	}
	crowd := func(n int) topology.Objects {
		w := newTenant(t, "pair.yaml")
		for _, namespace := range []string{"evil", "shop"} {
			doc, err := topologytest.Decode("spec: {hosts: [" + strings.Join(hosts, ", ") + "], " + toUs + "}")
			if err != nil {
				t.Fatal(err)
			}
			for i := range n / 2 {
				w.o.VirtualServices = append(w.o.VirtualServices, topology.VirtualService{
					Key: canary.ObjectKey{Kind: "VirtualService", Namespace: namespace, Name: fmt.Sprint("v", i)}, Created: start, Doc: doc,
				})
			}
		}
		return w.o
	}
	allocations := func(n int) float64 {
		o := crowd(n)
		m := topology.Find(o, topology.Hints{})
		q := topology.Question{Canary: topology.Role{Deployment: "web-v2", Subset: "v2"}, Stable: topology.Role{Deployment: "web-v1", Subset: "v1"}}
		return testing.AllocsPerRun(1, func() { topology.Preflight(o, m, q) })
	}
	few, many := allocations(100), allocations(1000)
	if many > 15*few {
		t.Errorf("a hundred take %.0f allocations, a thousand %.0f", few, many)
	}
	o := crowd(1000)
	found := topology.Preflight(o, topology.Find(o, topology.Hints{}), topology.Question{})
	if len(found) == 0 {
		t.Error("nothing is told of them")
	}
}

// A record that somebody else made is no history, and what it says is shown safely.
func TestForgedHistory(t *testing.T) {
	r := record(t)
	r.OwnerReferences[0].UID = "of another Service"
	if kept := history.Of("web-uid", []*appsv1.ControllerRevision{r}); len(kept) != 0 {
		t.Error("a record of another owner is history")
	}
	r = record(t)
	r.Annotations["serin.dev/message"] = strings.Repeat("\x1b[2J", 50_000)
	r.Annotations["serin.dev/handled"] = "promote#\x1b[2J"
	if releases, err := history.Releases([]*appsv1.ControllerRevision{r}); err == nil {
		t.Errorf("read %+v", releases)
	} else if steers(safetext.Text(err.Error())) || len(err.Error()) > 1000 {
		t.Errorf("told %q", err)
	}
}
