package inplace

import (
	"slices"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/internal/golden"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/topology/topologytest"
)

const (
	bareRoute = "    - destination: {host: web}\n"
	meshHost  = "  hosts: [web]\n"
)

// onGateway makes the VirtualService one of a gateway alone.
var onGateway = change{meshHost, "  hosts: [shop.example.com]\n  gateways: [public]\n"}

// noRoutes takes the VirtualService away.
var noRoutes = change{"---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: web\n  namespace: shop", "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: web\n  namespace: elsewhere"}

func another(name, created, spec string) change {
	return change{"", "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: " + name + ", namespace: shop, resourceVersion: \"1\", creationTimestamp: \"" + created + "\"}\nspec:\n" + spec}
}

func userRule(namespace, spec string) change {
	return change{"", "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: theirs, namespace: " + namespace + ", resourceVersion: \"1\"}\nspec: " + spec + "\n"}
}

var withGateway = another("web-gateway", "2026-01-02T00:00:00Z",
	"  hosts: [shop.example.com]\n  gateways: [public]\n  http:\n  - match: [{uri: {prefix: /}}]\n    timeout: 3s\n    route:\n    - destination: {host: web.shop.svc.cluster.local}\n      weight: 100\n")

// begun is the state of a release of what the Deployment asks for.
func (w *world) begun() canary.State {
	tracks := Observe(w.objects(), canary.State{}).Tracks
	return canary.State{
		Version: canary.StateVersion, InPlace: true, Rollout: "r1", Sequence: 1, Phase: canary.Testing, Reason: canary.ReleaseStarted,
		Canary:  canary.Side{Deployment: tracks.Canary.Deployment, Subset: tracks.Canary.Subset, Template: tracks.Canary.Template},
		Stable:  canary.Side{Deployment: tracks.Stable.Deployment, Subset: tracks.Stable.Subset, Template: tracks.Stable.Template, Pods: tracks.Stable.Pods},
		Started: w.now, Since: w.now,
		Spec: canary.Spec{
			Steps:  []canary.Step{{Weight: 5, Bake: time.Minute}, {Weight: 100, Bake: time.Minute}},
			Header: canary.Header{Name: "x-app-version", Match: canary.MatchExact, Values: []string{"canary"}},
		},
	}
}

// order makes a plan of a state: what Decide would order with it.
func order(s canary.State, phase canary.Phase, weight int, why canary.Reason, place canary.Place) canary.Plan {
	s.Sequence++
	s.Phase, s.Weight, s.Reason, s.Step = phase, weight, why, 1
	t := canary.TrafficOf(s)
	return canary.Plan{Next: s, Traffic: &t, Place: &place, Last: !phase.Active(), View: canary.View{Reason: why}}
}

func resting(s canary.State, place canary.Place, why canary.Reason) canary.Plan {
	return canary.Plan{Next: s, Place: &place, View: canary.View{Reason: why}}
}

// script plays the plans of a whole release, up to its end or until it is rolled back.
func (w *world) script(bad bool) canary.Plan {
	w.deploy("web:2")
	s := w.begun()
	subsets := &canary.Subsets{Stable: StableSubset, Canary: CanarySubset, Pods: s.Stable.Pods}
	pods := func(least, most int) *canary.Pods {
		return &canary.Pods{Least: least, Most: most, Template: s.Canary.Template}
	}
	w.do("the subsets", resting(canary.State{}, canary.Place{Subsets: subsets}, canary.Preparing))
	p := order(s, canary.Testing, 0, canary.ReleaseStarted, canary.Place{Subsets: subsets})
	w.do("the routes are pinned", p)
	p.Place.Pods = pods(0, 5)
	w.do("a pod of the canary", p)
	w.tick()
	w.do("QA's way to it, once it is ready", p)
	p = order(p.Next, canary.Progressing, 5, canary.StepStarted, canary.Place{Subsets: subsets, Pods: pods(5, 100)})
	w.do("5%", p)
	if !bad {
		p.Place.Pods = pods(100, 100)
		w.do("pods for all users", p)
		p = order(p.Next, canary.Progressing, 100, canary.StepPassed, canary.Place{Subsets: subsets, Pods: pods(100, 100)})
		w.do("100%", p)
		p = order(p.Next, canary.Promoting, 100, canary.Updating, canary.Place{Subsets: subsets, Pods: &canary.Pods{Least: 100, Most: 100}, Deployment: canary.Resume})
		w.do("the Deployment is updated", p)
		for range 20 {
			w.tick()
		}
		stable := Observe(w.objects(), p.Next).Tracks.Stable
		subsets = &canary.Subsets{Stable: StableSubset, Canary: CanarySubset, Pods: stable.Pods}
		p.Place.Subsets = subsets
		w.do("stable's subset is of the new pods", p)
		p.Next.Stable.Template, p.Next.Stable.Pods = stable.Template, stable.Pods
		p = order(p.Next, canary.Finishing, 0, canary.Finished, canary.Place{Subsets: subsets, Pods: &canary.Pods{Most: 100}})
		w.do("the users return", p)
	} else {
		p = order(p.Next, canary.RollingBack, 0, canary.ErrorRateTooHigh, canary.Place{Subsets: subsets, Pods: &canary.Pods{Most: 100}})
		w.do("back to stable", p)
	}
	p.Place.Pods = nil
	w.do("the pods of the canary go", p)
	w.tick()
	phase, why := canary.Succeeded, canary.Promoted
	if bad {
		phase, why = canary.RolledBack, canary.ErrorRateTooHigh
	}
	p = order(p.Next, phase, 0, why, canary.Place{Subsets: subsets})
	p.Place = nil
	w.do("the routes are given back", p)
	w.do("the rest goes", resting(p.Next, canary.Place{}, why))
	return p
}

// variants are the ways in which users route to the Service.
var variants = []struct {
	name    string
	changes []change
}{
	{"a mesh VirtualService", nil},
	{"nothing at all", []change{noRoutes}},
	{"a gateway's VirtualService only", []change{onGateway}},
	{"a mesh and a gateway's VirtualService", []change{withGateway}},
	{"a rule with policies, and a subset that the route names", []change{
		{bareRoute, "    - destination: {host: web, subset: prod}\n"},
		userRule("shop", "{host: web, trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}, subsets: [{name: prod, labels: {app: web}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 77}}}}]}")}},
	{"a rule for this namespace alone and nothing else", []change{noRoutes, userRule("shop", `{host: web.shop.svc.cluster.local, exportTo: ["."], trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}`)}},
	{"a wildcard rule of the namespace", []change{
		userRule("shop", `{host: "*.shop.svc.cluster.local", trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}, subsets: [{name: prod, labels: {app: web}}]}`)}},
	{"a rule of the root namespace", []change{userRule("istio-system", `{host: "*.local", trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}`)}},
}

// Each variant's whole release and rollback are golden files; in the end nothing
// is left and everything is as its owner wrote it.
func TestRenderWritesAReleaseAndLeavesNothing(t *testing.T) {
	for _, v := range variants {
		for _, bad := range []bool{false, true} {
			end := map[bool]string{false: "promoted", true: "rolled back"}[bad]
			t.Run(v.name+", "+end, func(t *testing.T) {
				w := newWorld(t, v.changes...)
				before := w.users()
				w.script(bad)
				after := w.users()
				if !bad {
					w.change(theDeployment, func(doc map[string]any) {
						object(list(child(child(child(doc, "spec"), "template"), "spec"), "containers")[0])["image"] = "web:1"
					})
					after = w.users()
				} else if !strings.Contains(after[theDeployment], `"paused":true`) || !strings.Contains(after[theDeployment], "web:2") {
					t.Error("the Deployment is not left as its owner wrote it, and held:", after[theDeployment])
				}
				for key, text := range after {
					if before[key] != text && (key != theDeployment || !bad) {
						t.Errorf("%s was\n%s\nand is\n%s", key, before[key], text)
					}
				}
				if len(after) != len(before) {
					t.Errorf("%d objects before, %d after", len(before), len(after))
				}
				golden.Check(t, strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(v.name+" "+end)+".golden", w.log.String())
			})
		}
	}
}

// lines are the writes of a plan as one line each.
func (w *world) lines(p canary.Plan) string {
	writes, err := Render(p, w.objects(), w.now)
	var all []string
	for _, write := range writes {
		text := string(write.Verb) + " " + write.Key.Kind + " " + write.Key.Name
		if write.Urgent {
			text += "!"
		}
		all = append(all, text)
	}
	if err != nil {
		all = append(all, "error: "+err.Error())
	}
	return strings.Join(all, ", ")
}

// What Decide would order only by mistake, or people bring about.
func TestRenderGuards(t *testing.T) {
	gone := func(w *world, key canary.ObjectKey) { delete(w.docs, key) }
	relabelled := func(w *world, key canary.ObjectKey) {
		w.change(key, func(doc map[string]any) { delete(child(doc, "metadata"), "labels") })
	}
	ended := func(p canary.Plan) canary.Plan {
		p = order(p.Next, canary.RolledBack, 0, canary.OptedOut, canary.Place{})
		p.Place, p.Clean = nil, true
		return p
	}
	for name, c := range map[string]struct {
		changes []change
		make    func(w *world) canary.Plan
		want    string
	}{
		"nothing ordered, nothing written": {nil, func(w *world) canary.Plan { return canary.Plan{Next: w.half().Next} }, ""},
		"as ordered, nothing written":      {nil, func(w *world) canary.Plan { return w.half() }, ""},
		"given back with users on the canary: they go first, pinned, then its pods": {nil,
			func(w *world) canary.Plan { return ended(w.half()) }, "update VirtualService web!, delete Deployment web-canary"},
		"given back while pods are going: waits": {nil,
			func(w *world) canary.Plan { p := w.tested(); gone(w, theCanary); w.tick(); return ended(p) }, ""},
		"given back when they are gone": {nil,
			func(w *world) canary.Plan { p := w.tested(); gone(w, theCanary); w.tick(); w.tick(); return ended(p) }, "update VirtualService web"},
		"given back is all there is, the last state goes with our routes": {[]change{onGateway},
			func(w *world) canary.Plan { p := w.tested(); gone(w, theCanary); w.tick(); w.tick(); return ended(p) }, "delete VirtualService web-serin, update VirtualService web"},
		"subsets come before the routes that name them": {nil,
			func(w *world) canary.Plan {
				s := w.held().begun()
				return order(s, canary.Testing, 0, canary.ReleaseStarted, canary.Place{Subsets: &canary.Subsets{Stable: StableSubset, Canary: CanarySubset, Pods: s.Stable.Pods}})
			}, "create DestinationRule web-serin, update VirtualService web"},
		"our route goes where one of the user's came to do its work, once that is pinned": {[]change{onGateway},
			func(w *world) canary.Plan { p := w.half(); lateRoutes(&play{world: w}); return p },
			"update VirtualService late!, delete VirtualService web-serin"},
		"routes of another namespace are left, whatever they carry": {nil,
			func(w *world) canary.Plan {
				p := w.tested()
				doc := route.Clone(w.docs[theRoutes])
				child(doc, "metadata")["namespace"] = "front"
				w.docs[keyOf(doc)] = doc
				gone(w, theCanary)
				w.tick()
				w.tick()
				return ended(p)
			}, "update VirtualService web"},
		"subsets stay as long as a route leads to them": {nil,
			func(w *world) canary.Plan { return resting(w.half().Next, canary.Place{}, canary.Clearing) }, "delete Deployment web-canary"},
		"an unpinned route is urgent as soon as it was pinned once": {nil,
			func(w *world) canary.Plan { p := w.half(); unpin(&play{world: w}); return p }, "update VirtualService web!"},
		"a canary of another template goes": {nil,
			func(w *world) canary.Plan { p := w.half(); p.Place.Pods.Template = "another"; return p }, "delete Deployment web-canary"},
		"and another is made when its pods are gone": {nil,
			func(w *world) canary.Plan { p := w.tested(); gone(w, theCanary); w.tick(); w.tick(); return p }, "create Deployment web-canary"},
		"not before": {nil,
			func(w *world) canary.Plan { p := w.tested(); gone(w, theCanary); w.tick(); return p }, ""},
		"a canary is not made of a template that came since": {nil,
			func(w *world) canary.Plan {
				p := w.tested()
				gone(w, theCanary)
				w.tick()
				w.tick()
				w.deploy("web:3")
				return p
			}, ""},
		"a canary with users is made again of the template it was of, QA's way to it goes": {nil,
			func(w *world) canary.Plan {
				p := w.half()
				gone(w, theCanary)
				w.tick()
				w.tick()
				p.Place.Pods.Template = ""
				return p
			}, "update VirtualService web, create Deployment web-canary"},
		"more pods than the most are too many": {nil,
			func(w *world) canary.Plan { p := w.half(); p.Place.Pods = &canary.Pods{Most: 5}; return p }, "patch Deployment web-canary"},
		"between the bounds they are left": {nil,
			func(w *world) canary.Plan { p := w.half(); p.Place.Pods = &canary.Pods{Least: 5, Most: 100}; return p }, ""},
		"a rule of that name that is not ours": {nil,
			func(w *world) canary.Plan { p := w.half(); relabelled(w, ourRule); return p },
			"error: DestinationRule shop/web-serin exists and is not one of ours: rename or delete it"},
		"a rule of that name that is of somebody who names the Service as we do": {nil,
			func(w *world) canary.Plan {
				p := w.half()
				w.change(ourRule, func(doc map[string]any) {
					child(child(doc, "metadata"), "labels")[topology.ManagedByKey] = "helm"
				})
				return p
			},
			"error: DestinationRule shop/web-serin exists and is not one of ours: rename or delete it"},
		"but users are taken off the canary all the same": {nil,
			func(w *world) canary.Plan {
				p := w.half()
				relabelled(w, ourRule)
				return order(p.Next, canary.RollingBack, 0, canary.ErrorRateTooHigh, *p.Place)
			},
			"update VirtualService web!, error: DestinationRule shop/web-serin exists and is not one of ours: rename or delete it"},
		"a VirtualService of that name that is not ours": {[]change{onGateway, another("web-serin", "2026-01-01T00:00:00Z", "  hosts: [other]\n  http: []\n")},
			func(w *world) canary.Plan {
				return order(w.prepared(), canary.Testing, 0, canary.ReleaseStarted, canary.Place{})
			},
			"error: VirtualService shop/web-serin exists and is not one of ours: rename or delete it"},
		"a Deployment of that name that is not ours": {nil,
			func(w *world) canary.Plan {
				p := w.tested()
				w.change(theCanary, func(doc map[string]any) {
					child(child(doc, "metadata"), "labels")[topology.ServiceLabel] = "another"
				})
				return p
			},
			"error: Deployment shop/web-canary exists and is not one of ours: rename or delete it"},
		"what is ours of another Service is left": {nil,
			func(w *world) canary.Plan {
				p := w.tested()
				for _, key := range []canary.ObjectKey{theCanary, ourRule} {
					w.change(key, func(doc map[string]any) {
						child(child(doc, "metadata"), "labels")[topology.ServiceLabel] = "another"
					})
				}
				return resting(p.Next, canary.Place{}, canary.Clearing)
			}, ""},
		"a rule of an earlier Deployment's name goes": {nil,
			func(w *world) canary.Plan {
				s := w.prepared()
				doc := route.Clone(w.docs[ourRule])
				child(doc, "metadata")["name"] = "old-serin"
				w.docs[canary.ObjectKey{Kind: "DestinationRule", Namespace: "shop", Name: "old-serin"}] = doc
				return resting(canary.State{}, canary.Place{Subsets: &canary.Subsets{Pods: s.Stable.Pods}}, canary.Preparing)
			}, "delete DestinationRule old-serin"},
		"a VirtualService of another namespace that rules the mesh is not shadowed": {[]change{onGateway, {"", "kind: VirtualService\nmetadata: {name: front, namespace: front, creationTimestamp: \"2026-01-01T00:00:00Z\"}\nspec:\n  hosts: [web.shop.svc.cluster.local]\n  http:\n  - route:\n    - destination: {host: web.shop.svc.cluster.local}\n"}},
			func(w *world) canary.Plan {
				return order(w.prepared(), canary.Testing, 0, canary.ReleaseStarted, canary.Place{})
			}, "update VirtualService web"},
		"a private one of another namespace is": {[]change{onGateway, {"", "kind: VirtualService\nmetadata: {name: front, namespace: front, creationTimestamp: \"2026-01-01T00:00:00Z\"}\nspec:\n  exportTo: [.]\n  hosts: [web.shop.svc.cluster.local]\n  http:\n  - route:\n    - destination: {host: web.shop.svc.cluster.local}\n"}},
			func(w *world) canary.Plan {
				return order(w.prepared(), canary.Testing, 0, canary.ReleaseStarted, canary.Place{})
			}, "create VirtualService web-serin, update VirtualService web"},
		"a template is not restored that nobody knows": {nil,
			func(w *world) canary.Plan {
				w.sets = nil
				return resting(canary.State{}, canary.Place{Deployment: canary.Restore}, canary.Restored)
			},
			"error: restore the template: no ReplicaSet is known that runs alone; write the old template by hand"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.changes...)
			if got := w.lines(c.make(w)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestOurRule(t *testing.T) {
	renew := func(t *testing.T, changes []change, edit func(w *world), want canary.Subsets) (before, after topology.DestinationRule) {
		t.Helper()
		w := newWorld(t, changes...)
		w.prepared()
		before = topologytest.Rule(w.docs[ourRule])
		edit(w)
		w.now = w.now.Add(time.Minute)
		w.do("again", resting(canary.State{}, canary.Place{Subsets: &want}, canary.Preparing))
		return before, topologytest.Rule(w.docs[ourRule])
	}
	stable := canary.Subsets{Pods: newWorld(t).held().begun().Stable.Pods}
	wild := []change{userRule("shop", `{host: "*.shop.svc.cluster.local", trafficPolicy: {tls: {mode: DISABLE}}}`)}
	theirs := canary.ObjectKey{Kind: "DestinationRule", Namespace: "shop", Name: "theirs"}
	for name, c := range map[string]struct {
		changes []change
		edit    func(w *world)
		want    canary.Subsets
		fresh   bool
	}{
		"other pods of stable: proxies have to learn of them": {nil, func(*world) {}, canary.Subsets{Pods: "x"}, true},
		"all pods": {nil, func(*world) {}, canary.Subsets{}, true},
		"subsets that a hand changed are written again": {nil, func(w *world) {
			w.change(ourRule, func(doc map[string]any) { child(doc, "spec")["subsets"] = []any{} })
		}, stable, true},
		"a host that a hand changed": {nil, func(w *world) {
			w.change(ourRule, func(doc map[string]any) { child(doc, "spec")["host"] = "cart" })
		}, stable, true},
		"a time that can't be read": {nil, func(w *world) {
			w.change(ourRule, func(doc map[string]any) { put(child(doc, "metadata"), "annotations", writtenKey, "soon") })
		}, stable, true},
		"another policy of the user's is followed, which proxies need not wait for": {wild, func(w *world) {
			w.change(theirs, func(doc map[string]any) {
				child(doc, "spec")["trafficPolicy"] = map[string]any{"tls": map[string]any{"mode": "ISTIO_MUTUAL"}}
			})
		}, stable, false},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := renew(t, c.changes, c.edit, c.want)
			if fresh := !writtenAt(after).Equal(writtenAt(before)); fresh != c.fresh {
				t.Errorf("written at %s, then at %s", writtenAt(before), writtenAt(after))
			}
			if route.Equal(before.Doc, after.Doc) {
				t.Error("nothing was written")
			}
			if got := subsetsOf(after); got != (canary.Subsets{Stable: StableSubset, Canary: CanarySubset, Pods: c.want.Pods}) {
				t.Errorf("%+v", got)
			}
			if len(c.changes) > 0 && !strings.Contains(newWorld(t).text(after.Doc), "ISTIO_MUTUAL") {
				t.Error("the policy is lost")
			}
		})
	}
	t.Run("is not made over one that is not known whole", func(t *testing.T) {
		w := newWorld(t, wild...)
		s := w.held().begun()
		o := w.objects()
		o.DestinationRules[0].Doc = nil
		_, err := Render(resting(s, canary.Place{Subsets: &canary.Subsets{}}, canary.Preparing), o, w.now)
		if err == nil || !strings.Contains(err.Error(), "DestinationRule shop/theirs is not known whole") {
			t.Error(err)
		}
	})
	t.Run("is not made for a Service that is gone", func(t *testing.T) {
		w := newWorld(t)
		s := w.held().begun()
		o := w.objects()
		o.ServiceFound = nil
		writes, err := Render(resting(s, canary.Place{Subsets: &canary.Subsets{}}, canary.Preparing), o, w.now)
		if err != nil || slices.ContainsFunc(writes, func(w mode.Write) bool { return w.Verb == mode.Create }) {
			t.Errorf("%+v %v", writes, err)
		}
	})
}

func TestRenderLeavesTheReadersObjectsAlone(t *testing.T) {
	w := newWorld(t, variants[4].changes...)
	p := w.half()
	p = order(p.Next, canary.RollingBack, 0, canary.ErrorRateTooHigh, canary.Place{})
	o := w.objects()
	var before []string
	texts := func() (all []string) {
		for _, key := range w.keys() {
			all = append(all, w.text(w.docs[key]))
		}
		return all
	}
	before = texts()
	if _, err := Render(p, o, w.now); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, texts()) {
		t.Error("a document was modified")
	}
}

// What is to give the canary no more users for now is pinned all the same: past the
// pins they reach its pods already.
func TestPinsDoNotWaitForData(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world)
		want string
	}{
		"taken out by a hand":       {func(w *world) { unpin(&play{world: w}) }, "update VirtualService web!"},
		"of routes that came since": {func(w *world) { lateRoutes(&play{world: w}) }, "update VirtualService late!, delete VirtualService web-serin"},
		"of routes of ours that went": {func(w *world) {
			for k := range w.docs {
				if k.Kind == "VirtualService" && k.Name == "web-serin" {
					delete(w.docs, k)
				}
			}
		}, "create VirtualService web-serin"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if name != "taken out by a hand" {
				w = newWorld(t, onGateway)
			}
			p := w.half()
			c.do(w)
			p.Steady = true
			if got := w.lines(p); got != c.want {
				t.Errorf("it writes %q, want %q", got, c.want)
			}
		})
	}
}
