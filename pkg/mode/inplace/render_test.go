package inplace

import (
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
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
	{"a rule for this namespace alone", []change{noRoutes, userRule("shop", `{host: web.shop.svc.cluster.local, exportTo: ["."], trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}`)}},
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
				golden(t, strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(v.name+" "+end)+".golden", w.log.String())
			})
		}
	}
}
