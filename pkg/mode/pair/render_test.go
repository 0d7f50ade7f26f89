package pair

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"serin.dev/serin/internal/golden"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/topology/topologytest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is an API server that knows as much of managedFields as matters here:
// a write that changes the routes takes them from all others, whatever entries
// it carries.
type world struct {
	t   *testing.T
	o   topology.Objects
	now time.Time
	log strings.Builder
}

func newWorld(t *testing.T, changes ...change) *world {
	return &world{t: t, o: shop(t, changes...), now: start}
}

// do renders p until nothing is left to write, and logs every write.
func (w *world) do(title string, p canary.Plan) {
	w.t.Helper()
	fmt.Fprintf(&w.log, "# %s\n", title)
	for range 5 {
		w.now = w.now.Add(time.Second)
		writes, err := Render(p, w.o, w.now)
		if err != nil {
			w.t.Fatalf("%s: %v", title, err)
		}
		if len(writes) == 0 {
			return
		}
		for _, write := range writes {
			w.apply(write)
		}
	}
	w.t.Fatalf("%s: there is always something to write", title)
}

func (w *world) apply(write mode.Write) {
	w.t.Helper()
	i := slices.IndexFunc(w.o.VirtualServices, func(vs topology.VirtualService) bool { return vs.Key == write.Key })
	vs := &w.o.VirtualServices[i]
	if write.ResourceVersion != vs.ResourceVersion {
		w.t.Fatalf("%s: conflict: %s is not %s", write.Key, write.ResourceVersion, vs.ResourceVersion)
	}
	doc, err := topologytest.DecodeJSON(write.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	w.note(write, doc)
	own(vs.Doc, doc, mode.FieldManager)
	version, _ := strconv.Atoi(vs.ResourceVersion)
	vs.ResourceVersion = strconv.Itoa(version + 1)
	doc["metadata"].(map[string]any)["resourceVersion"] = vs.ResourceVersion
	vs.Doc = doc
}

// own does what the API server does to managedFields.
func own(before, after map[string]any, manager string) {
	metadata := object(after, "metadata")
	if !equal(before["spec"], after["spec"]) {
		kept := []any{}
		for _, e := range mode.ManagedFields(after) {
			e = route.Clone(e)
			if spec, ok := object(e, "fieldsV1")["f:spec"].(map[string]any); ok {
				delete(spec, "f:http")
			}
			if e["manager"] != manager {
				kept = append(kept, e)
			}
		}
		metadata["managedFields"] = append(kept, map[string]any{
			"manager": manager, "operation": "Update", "fieldsV1": map[string]any{"f:spec": map[string]any{"f:http": map[string]any{}}},
		})
	}
	if items, ok := metadata["managedFields"].([]any); ok && len(items) == 1 && len(items[0].(map[string]any)) == 0 {
		delete(metadata, "managedFields")
	}
}

// note logs a write as a person would look at it.
func (w *world) note(write mode.Write, doc map[string]any) {
	urgent := ""
	if write.Urgent {
		urgent = ", urgent"
	}
	fmt.Fprintf(&w.log, "%s %s %s%s\n", write.Verb, write.Key, write.Why, urgent)
	s, found, err := mode.CopyOn(topology.VirtualService{Doc: doc}, w.o.Service)
	switch {
	case err != nil:
		w.t.Fatal(err)
	case found:
		fmt.Fprintf(&w.log, "  state %s seq %d %s weight %d at +%s marks %v\n", s.Rollout, s.Sequence, s.Phase, s.Weight, s.At.Sub(start), s.Marks)
	default:
		w.log.WriteString("  no state\n")
	}
	var managers []string
	for _, e := range mode.ManagedFields(doc) {
		managers = append(managers, fmt.Sprint(e["manager"]))
	}
	fmt.Fprintf(&w.log, "  managers %v\n", managers)
	text, err := yaml.Marshal(doc["spec"])
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		w.log.WriteString("  | " + line)
	}
}

func release() canary.State {
	return canary.State{
		Version: canary.StateVersion, Rollout: "r1", Sequence: 1, Phase: canary.Testing, Reason: canary.ReleaseStarted,
		Canary: canary.Side{Deployment: "web-v2", Subset: "v2", Template: "t2"}, Stable: canary.Side{Deployment: "web-v1", Subset: "v1", Template: "t1"},
		Started: start, Since: start,
		Spec: canary.Spec{
			Steps:  []canary.Step{{Weight: 5, Bake: time.Minute}, {Weight: 100, Bake: time.Minute}},
			Header: canary.Header{Name: "x-app-version", Match: canary.MatchExact, Values: []string{"canary"}},
		},
	}
}

// order makes a plan of a state: what Decide would order with it.
func order(s canary.State, phase canary.Phase, weight int, why canary.Reason) canary.Plan {
	s.Sequence++
	s.Phase, s.Weight, s.Reason = phase, weight, why
	if phase == canary.Progressing {
		s.Step = 1
	}
	t := canary.TrafficOf(s)
	return canary.Plan{Next: s, Traffic: &t, Last: !phase.Active()}
}

const gateway = "  hosts: [shop.example.com]\n  gateways: [public]\n  http:\n  - match: [{uri: {prefix: /}}]\n    timeout: 3s\n    route:\n    - destination: {host: web.shop.svc.cluster.local, subset: v1}\n      weight: 100\n"

func withGateway() change { return another("web-gateway", "shop", "2026-01-02T00:00:00Z", gateway) }

func TestRenderWritesARelease(t *testing.T) {
	t.Run("that ends well", func(t *testing.T) {
		w := newWorld(t, withGateway())
		s := release()
		p := order(s, canary.Testing, 0, canary.ReleaseStarted)
		w.do("the header route at 0%", p)
		p = order(p.Next, canary.Progressing, 5, canary.StepStarted)
		w.do("5%", p)
		p = order(p.Next, canary.Progressing, 100, canary.StepPassed)
		w.do("100%", p)
		p = order(p.Next, canary.Succeeded, 100, canary.Promoted)
		w.do("the last write, then our entry goes", p)
		golden.Check(t, "promotion.golden", w.log.String())
	})
	t.Run("that is rolled back", func(t *testing.T) {
		w := newWorld(t, withGateway())
		p := order(release(), canary.Progressing, 5, canary.StepStarted)
		w.do("5%", p)
		p = order(p.Next, canary.RollingBack, 0, canary.ErrorRateTooHigh)
		w.do("back to stable", p)
		p = order(p.Next, canary.RolledBack, 0, canary.ErrorRateTooHigh)
		w.do("the last write", p)
		golden.Check(t, "rollback.golden", w.log.String())
	})
	t.Run("that is opted out of", func(t *testing.T) {
		w := newWorld(t)
		before := route.Clone(w.o.VirtualServices[0].Doc)
		p := order(release(), canary.Progressing, 5, canary.StepStarted)
		w.do("5%", p)
		w.o.Deployments[1].Annotations = nil
		p = order(p.Next, canary.RolledBack, 0, canary.OptedOut)
		p.Clean = true
		w.do("all marks go", p)
		golden.Check(t, "optout.golden", w.log.String())
		for _, doc := range []map[string]any{before, w.o.VirtualServices[0].Doc} {
			delete(object(doc, "metadata"), "resourceVersion")
			delete(object(doc, "metadata"), "managedFields")
		}
		if !equal(before, w.o.VirtualServices[0].Doc) {
			t.Error("something of ours is left")
		}
	})
	t.Run("and is opted out of after a promotion", func(t *testing.T) {
		w := newWorld(t)
		p := order(release(), canary.Succeeded, 100, canary.Promoted)
		w.do("promoted", p)
		w.o.Deployments[1].Annotations = nil
		w.do("all marks go, the users stay", canary.Plan{Next: p.Next, Clean: true, Last: true})
		golden.Check(t, "optout-promoted.golden", w.log.String())
	})
}

func TestRender(t *testing.T) {
	t.Run("writes nothing where nothing is ordered", func(t *testing.T) {
		if writes, err := Render(canary.Plan{Next: release()}, shop(t), start); err != nil || len(writes) != 0 {
			t.Errorf("%v %v", writes, err)
		}
	})
	t.Run("keeps the time of a copy that is written again", func(t *testing.T) {
		w := newWorld(t)
		p := order(release(), canary.Progressing, 5, canary.StepStarted)
		w.do("5%", p)
		first, _, _ := mode.CopyOn(w.o.VirtualServices[0], "web")
		w.edit("weight: 5", "weight: 50")
		w.edit("weight: 95", "weight: 50")
		w.do("again", p)
		if again, _, _ := mode.CopyOn(w.o.VirtualServices[0], "web"); !again.At.Equal(first.At) {
			t.Errorf("written at %s, then %s", first.At, again.At)
		}
		if seen := Observe(w.o, p.Next).Traffic[w.o.VirtualServices[0].Key]; seen.Raised || seen.Max != 5 {
			t.Errorf("%+v", seen)
		}
	})
	t.Run("puts urgent writes before the others", func(t *testing.T) {
		w := newWorld(t, withGateway())
		p := order(release(), canary.Progressing, 5, canary.StepStarted)
		writes, err := Render(p, w.o, start)
		if err != nil || len(writes) != 2 {
			t.Fatal(writes, err)
		}
		w.apply(writes[1])
		p = order(p.Next, canary.RollingBack, 0, canary.AbortedByCommand)
		writes, err = Render(p, w.o, start)
		if err != nil || len(writes) != 2 || !writes[0].Urgent || writes[1].Urgent || writes[0].Key.Name != "web-gateway" {
			t.Errorf("%+v %v", writes, err)
		}
	})
	t.Run("is urgent though a route that came since has no canary", func(t *testing.T) {
		w := newWorld(t)
		p := order(release(), canary.Progressing, 5, canary.StepStarted)
		w.do("5%", p)
		spec := object(w.o.VirtualServices[0].Doc, "spec")
		spec["http"] = append([]any{map[string]any{
			"match": []any{map[string]any{"uri": map[string]any{"prefix": "/new"}}},
			"route": []any{map[string]any{"destination": map[string]any{"host": "web", "subset": "v1"}}},
		}}, spec["http"].([]any)...)
		writes, err := Render(order(p.Next, canary.RollingBack, 0, canary.AbortedByCommand), w.o, start)
		if err != nil || len(writes) != 1 || !writes[0].Urgent {
			t.Errorf("%+v %v", writes, err)
		}
	})
	t.Run("leaves the half of a step that is missing to when there is data", func(t *testing.T) {
		w := newWorld(t, withGateway())
		p := order(release(), canary.Progressing, 5, canary.StepStarted)
		w.do("5%", p)
		p = order(p.Next, canary.Progressing, 100, canary.StepPassed)
		writes, err := Render(p, w.o, start)
		if err != nil || len(writes) != 2 {
			t.Fatal(writes, err)
		}
		w.apply(writes[0])
		p.Steady = true
		if writes, err := Render(p, w.o, start); err != nil || len(writes) != 0 {
			t.Errorf("%+v %v", writes, err)
		}
		p = order(p.Next, canary.Progressing, 50, canary.CapacityShort)
		p.Steady = true
		if writes, err := Render(p, w.o, start); err != nil || len(writes) != 1 || !writes[0].Urgent {
			t.Errorf("what takes users away waits for nothing, and it alone is written: %+v %v", writes, err)
		}
	})
	t.Run("raises nothing when one VirtualService can't carry the weight", func(t *testing.T) {
		o := shop(t, another("web-bare", "shop", "2026-01-02T00:00:00Z", "  hosts: [shop.example.com]\n  gateways: [public]\n  http:\n  - route:\n    - destination: {host: web}\n"))
		writes, err := Render(order(release(), canary.Progressing, 5, canary.StepStarted), o, start)
		if err == nil || !strings.Contains(err.Error(), "VirtualService shop/web-bare") || len(writes) != 0 {
			t.Errorf("%v %v", writes, err)
		}
	})
	t.Run("takes users off the canary though another VirtualService is amiss", func(t *testing.T) {
		w := newWorld(t, withGateway())
		p := order(release(), canary.Progressing, 5, canary.StepStarted)
		w.do("5%", p)
		w.edit(`"v":1`, `"v":9`)
		writes, err := Render(order(p.Next, canary.RollingBack, 0, canary.AbortedByCommand), w.o, start)
		if err == nil || !strings.Contains(err.Error(), "newer version") || len(writes) != 1 || !writes[0].Urgent || writes[0].Key.Name != "web-gateway" {
			t.Errorf("%v %v", writes, err)
		}
	})
	t.Run("touches only what carries our state when nobody is opted in", func(t *testing.T) {
		w := newWorld(t)
		p := order(release(), canary.Progressing, 5, canary.StepStarted)
		w.do("5%", p)
		w.o.VirtualServices = append(w.o.VirtualServices, shop(t, withGateway()).VirtualServices[1])
		w.o.Deployments = w.o.Deployments[:1]
		p = order(p.Next, canary.RolledBack, 0, canary.DeploymentDeleted)
		p.Clean = true
		w.do("clean", p)
		if strings.Contains(w.log.String(), "web-gateway") {
			t.Error(w.log.String())
		}
	})
	t.Run("leaves alone one that is no longer named, though it has the state of a release before", func(t *testing.T) {
		w := newWorld(t, withGateway())
		p := order(release(), canary.RolledBack, 0, canary.AbortedByCommand)
		w.do("over", p)
		w.o.Deployments[1].Annotations["serin.dev/virtual-service"] = "web"
		if got := len(Observe(w.o, p.Next).Traffic); got != 2 {
			t.Errorf("%d VirtualServices take part in what they began, want 2", got)
		}
		p.Next.Rollout = "r2"
		p = order(p.Next, canary.Progressing, 5, canary.StepStarted)
		w.do("the next one", p)
		if s, _, _ := mode.CopyOn(w.o.VirtualServices[1], "web"); s.Rollout != "r1" {
			t.Errorf("it carries %s, %d%%", s.Rollout, s.Weight)
		}
		if got := len(Observe(w.o, p.Next).Traffic); got != 1 {
			t.Errorf("%d VirtualServices take part in the next one, want 1", got)
		}
	})
	t.Run("gives all users back to stable though a hand left the canary alone", func(t *testing.T) {
		w := newWorld(t)
		p := order(release(), canary.Progressing, 5, canary.StepStarted)
		w.do("5%", p)
		spec := object(w.o.VirtualServices[0].Doc, "spec")
		spec["http"] = []any{map[string]any{"route": []any{
			map[string]any{"destination": map[string]any{"host": "web", "subset": "v2"}},
		}}}
		p = order(p.Next, canary.RolledBack, 0, canary.OptedOut)
		p.Clean = true
		w.do("opted out", p)
		if seen := route.Read(w.o.VirtualServices[0].Doc, topology.RouteService(w.o), "v1", "v2"); seen.Max != 0 {
			t.Errorf("the canary keeps %d%%", seen.Max)
		}
	})
	t.Run("edits a VirtualService it does not share with the reader", func(t *testing.T) {
		o := shop(t)
		before, err := json.Marshal(o.VirtualServices)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Render(order(release(), canary.Progressing, 5, canary.StepStarted), o, start); err != nil {
			t.Fatal(err)
		}
		if after, _ := json.Marshal(o.VirtualServices); string(after) != string(before) {
			t.Error("the reader's object was modified")
		}
	})
	t.Run("resets managedFields when only our entry is there", func(t *testing.T) {
		w := newWorld(t, change{"manager: kubectl", "manager: serin"})
		w.do("last", order(release(), canary.Succeeded, 100, canary.Promoted))
		if _, found := object(w.o.VirtualServices[0].Doc, "metadata")["managedFields"]; found {
			t.Error("an entry is left")
		}
	})
}

// edit changes the first VirtualService as its JSON text, in somebody's hand.
func (w *world) edit(old, new string) {
	w.t.Helper()
	vs := &w.o.VirtualServices[0]
	b, err := json.Marshal(vs.Doc)
	if err != nil {
		w.t.Fatal(err)
	}
	text := string(b)
	for _, c := range []string{old, strings.ReplaceAll(old, `"`, `\"`), strings.ReplaceAll(old, ": ", `":`)} {
		if strings.Contains(text, c) {
			n := new
			if c != old {
				n = strings.ReplaceAll(strings.ReplaceAll(new, `"`, `\"`), ": ", `":`)
			}
			doc, err := topologytest.Decode(strings.Replace(text, c, n, 1))
			if err != nil {
				w.t.Fatal(err)
			}
			own(vs.Doc, doc, "kubectl-edit")
			vs.Doc = doc
			return
		}
	}
	w.t.Fatalf("%q is not in %s", old, text)
}
