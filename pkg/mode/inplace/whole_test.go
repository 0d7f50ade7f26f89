package inplace

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/topology/topologytest"
)

// lag is how long a proxy may still go by what was written before.
const lag = 2 * time.Second

var wholeSpec = canary.Spec{
	Steps:  []canary.Step{{Weight: 5, Bake: 10 * time.Second}, {Weight: 50, Bake: 10 * time.Second}, {Weight: 100, Bake: 10 * time.Second}},
	Header: canary.Header{Name: "x-app-version", Match: canary.MatchExact, Values: []string{"canary"}},
	Settle: 4 * time.Second, StepDeadline: time.Hour, OnInconclusive: canary.HoldInconclusive,
}

// view is what a proxy knows: the routes and the subsets of a moment.
type view struct {
	until   time.Time // from when on nobody goes by it
	changes int       // of the world before it
	routes  []map[string]any
	rule    map[string]any // nil: none
}

// play is a world with a controller and proxies in it.
type play struct {
	*world
	spec    canary.Spec
	verdict judge.Verdict
	command *canary.Command
	views   []view // of the proxies, the latest last
	plain   bool   // somebody updates it plainly: pods of both versions have users
	blind   bool   // somebody took away what routes need: nobody looks
	told    []canary.Reason
	last    canary.Plan
}

func newPlay(t *testing.T, changes ...change) *play {
	return &play{world: newWorld(t, changes...), spec: wholeSpec}
}

// pass is one turn of the controller, and one second of the cluster.
func (p *play) pass() (wrote bool) {
	p.t.Helper()
	o := p.objects()
	state, newer, lost := mode.FindState(o)
	seen := Observe(o, state)
	place := seen.Place
	place.Written = p.written
	verdict := p.verdict
	verdict.Step, verdict.Weight, verdict.At = state.Step, state.Weight, p.now
	if state.Weight == 100 {
		verdict.StableQuiet = 3 // the proxies here go by the routes at once
	}
	if verdict.Kind == judge.Promote {
		verdict.Covered = p.now.Sub(state.Since)
	}
	if state.Phase.Drains() {
		verdict = judge.Verdict{Step: state.Step, Weight: state.Weight, At: p.now, Quiet: 3}
	}
	plan := canary.Decide(p.spec, state, canary.Observation{
		OptedIn: seen.OptedIn, Gone: seen.Gone, InPlace: true, Place: place, Tracks: seen.Tracks, Traffic: seen.Traffic,
		Findings: append(seen.Findings, CheckSpec(o, seen.Tracks, p.spec)...), Command: p.command,
		Verdict: verdict, History: p.history, Newer: newer, Lost: lost, Width: time.Second, Baseline: judge.Baseline{Known: true},
	}, p.now)
	for _, e := range plan.Tell {
		if !slices.Contains(p.told, e.Reason) {
			p.told = append(p.told, e.Reason)
		}
	}
	if plan.Record != nil && !slices.ContainsFunc(p.history, func(r canary.Release) bool { return r.Rollout == plan.Record.Rollout }) {
		p.history = slices.Insert(p.history, 0, *plan.Record)
	}
	p.last = plan
	wrote = p.turn(plan)
	p.look()
	p.now = p.now.Add(time.Second)
	p.tick()
	p.look()
	return wrote
}

// look tells what is wrong for a proxy that goes by any of what it may know now.
func (p *play) look() {
	p.t.Helper()
	if p.blind {
		p.views = nil
		return
	}
	if n := len(p.views); n == 0 || p.views[n-1].changes != p.changes {
		if n > 0 {
			p.views[n-1].until = p.now.Add(lag)
		}
		p.views = append(p.views, p.present())
	}
	p.views = slices.DeleteFunc(p.views, func(v view) bool { return !v.until.IsZero() && v.until.Before(p.now) })
	for _, by := range p.views {
		for _, rules := range p.views {
			p.walk(by.routes, rules.rule)
		}
	}
}

// present is what a proxy knows once all that was written has reached it.
func (p *play) present() view {
	now := view{changes: p.changes}
	for _, key := range p.keys() {
		switch {
		case key.Kind == "VirtualService" && key.Namespace == "shop":
			now.routes = append(now.routes, p.docs[key])
		case key == ourRule:
			now.rule = p.docs[key]
		}
	}
	return now
}

// walk follows every route to pods.
func (p *play) walk(routes []map[string]any, rule map[string]any) {
	p.t.Helper()
	svc := route.Service{Namespace: "shop", Name: "web", ClusterDomain: "cluster.local"}
	for _, doc := range routes {
		for _, r := range route.Find(doc, svc, StableSubset, CanarySubset) {
			for _, d := range r.Destinations {
				if !d.ToService || d.Weight == 0 {
					continue
				}
				stable, canaries := p.reached(rule, d.Subset)
				if stable+canaries == 0 {
					p.t.Fatalf("%s: %s %s leads to no ready pod by subset %q\n%s", p.clock(), keyOf(doc), r.Path, d.Subset, p.log.String())
				}
				if canaries > 0 && d.Subset != CanarySubset && !p.plain {
					p.t.Fatalf("%s: %s %s leads to %d canary pods by subset %q\n%s", p.clock(), keyOf(doc), r.Path, canaries, d.Subset, p.log.String())
				}
			}
		}
	}
}

func (p *play) clock() string { return fmt.Sprint("+", p.now.Sub(start)) }

// reached counts the ready pods that a subset selects, the user's and the canary's.
func (p *play) reached(rule map[string]any, subset string) (stable, canaries int) {
	var labels map[string]string
	if subset == StableSubset || subset == CanarySubset {
		found := false
		if rule != nil {
			for _, s := range topologytest.Rule(rule).Subsets {
				if s.Name == subset {
					labels, found = s.Labels, true
				}
			}
		}
		if !found {
			return 0, 0
		}
	}
	for _, s := range p.sets {
		have := map[string]any{podHash: s.hash}
		for key, value := range child(child(s.template, "metadata"), "labels") {
			have[key] = value
		}
		fits := true
		for key, value := range labels {
			fits = fits && have[key] == value
		}
		switch {
		case fits && s.of == theCanary.Name:
			canaries += s.ready
		case fits:
			stable += s.ready
		}
	}
	return stable, canaries
}

// until passes until f holds.
func (p *play) until(what string, f func() bool) {
	p.t.Helper()
	for range 300 {
		if f() {
			return
		}
		p.pass()
	}
	p.t.Fatalf("never: %s; the last word is %s: %s\n%s", what, p.last.View.Reason, p.last.View.Sentence, p.log.String())
}

// rest passes until nothing is written for longer than anything is waited for.
func (p *play) rest() {
	p.t.Helper()
	quiet := 0
	p.until("rest", func() bool {
		if quiet++; p.pass() {
			quiet = 0
		}
		return quiet > 12 && !p.last.Next.Phase.Active()
	})
}

func (p *play) state() canary.State {
	s, _, _ := mode.FindState(p.objects())
	return s
}

// at passes until the canary has a weight.
func (p *play) at(weight int) {
	p.t.Helper()
	p.until(fmt.Sprint(weight, "%"), func() bool { return p.state().Phase == canary.Progressing && p.state().Weight == weight })
}

// nothingIsLeft compares with what was there before; the Deployment may have changed.
func (p *play) nothingIsLeft(before map[canary.ObjectKey]string) {
	p.t.Helper()
	after := p.users()
	for key, text := range after {
		if key != theDeployment && before[key] != text {
			p.t.Errorf("%s was\n%s\nand is\n%s", key, before[key], text)
		}
	}
	if len(after) != len(before) {
		p.t.Errorf("%d objects before, %d after\n%s", len(before), len(after), p.log.String())
	}
}

// pods tells which versions run, and how the Deployment is.
func (p *play) pods() string {
	var all []string
	for _, s := range p.sets {
		image := object(list(child(s.template, "spec"), "containers")[0])["image"]
		all = append(all, fmt.Sprintf("%s %s %d", s.of, image, s.ready))
	}
	d := p.docs[theDeployment]
	if child(d, "spec")["paused"] == true {
		all = append(all, "paused")
	}
	if child(child(d, "metadata"), "annotations")[topology.HeldKey] != nil {
		all = append(all, "marked")
	}
	return strings.Join(all, ", ")
}

var (
	good = judge.Verdict{Kind: judge.Promote, Reason: judge.ReasonGood, Sentence: "good"}
	bad  = judge.Verdict{Kind: judge.Rollback, Reason: judge.ReasonErrorRate, Sentence: "bad"}
)

// Whole releases, decided and rendered, against the controllers of a cluster and
// proxies that lag behind. No request is ever led to no pod, and no user past the
// weights.
func TestAWholeRelease(t *testing.T) {
	for _, v := range variants {
		t.Run("ends well: "+v.name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, v.changes...)
			before := p.users()
			p.rest()
			p.verdict = good
			p.deploy("web:2")
			p.at(100)
			p.rest()
			p.nothingIsLeft(before)
			if got := p.pods(); got != "web web:2 3" || len(p.history) != 1 || p.history[0].Outcome != canary.Succeeded {
				t.Errorf("%s, %+v", got, p.history)
			}
		})
		t.Run("is rolled back: "+v.name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, v.changes...)
			before := p.users()
			p.deploy("web:2")
			p.at(5)
			p.verdict = bad
			p.rest()
			p.nothingIsLeft(before)
			if got := p.pods(); got != "web web:1 3, paused, marked" || len(p.history) != 1 || p.history[0].Reason != canary.ErrorRateTooHigh {
				t.Errorf("%s, %+v", got, p.history)
			}
		})
	}
}

// TestAWholeReleaseWithCopiesAndCookies plays what stands on routes for a while: the
// canary has pods before it is sent a copy, and all of it goes.
func TestAWholeReleaseWithCopiesAndCookies(t *testing.T) {
	exposed := func(p *play) {
		p.spec.Steps = append([]canary.Step{{Mirror: 10, Bake: 2 * time.Second}, {Mirror: 50, Bake: 2 * time.Second}}, p.spec.Steps...)
		p.spec.Sticky = canary.StickyCookie
	}
	copies := func(p *play, share int) {
		p.t.Helper()
		p.until(fmt.Sprintf("copies of %d%%", share), func() bool {
			seen := Observe(p.objects(), p.state()).Traffic[theRoutes]
			return seen.Mirror == share && !seen.MirrorLost
		})
		if _, canaries := p.reached(p.docs[ourRule], CanarySubset); canaries == 0 {
			p.t.Error("copies are sent to no pod")
		}
	}
	for _, v := range variants {
		t.Run("ends well: "+v.name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, v.changes...)
			exposed(p)
			before := p.users()
			p.deploy("web:2")
			if _, found := p.docs[theRoutes]; found {
				copies(p, 10)
			}
			p.verdict = good
			p.at(5)
			p.until("cookies", func() bool { return strings.Contains(p.allRoutes(), "serin-cookie.stable.web") })
			p.at(100)
			p.until("none of it at 100%", func() bool {
				text := p.allRoutes()
				return p.state().Weight == 100 && !strings.Contains(text, "serin-cookie") && !strings.Contains(text, "set-cookie") && !strings.Contains(text, "mirrors")
			})
			p.rest()
			p.nothingIsLeft(before)
		})
		t.Run("fails its copies: "+v.name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, v.changes...)
			exposed(p)
			before := p.users()
			p.deploy("web:2")
			p.until("copies", func() bool { return p.state().Step == 1 })
			p.verdict = bad
			p.rest()
			p.nothingIsLeft(before)
			if len(p.history) != 1 || p.history[0].Outcome != canary.RolledBack || p.history[0].Weight != 0 {
				t.Errorf("the history is %+v", p.history)
			}
		})
	}
}

// allRoutes is what all VirtualServices say.
func (p *play) allRoutes() string {
	all := ""
	for _, key := range p.keys() {
		if key.Kind == "VirtualService" {
			all += fmt.Sprint(p.docs[key]["spec"])
		}
	}
	return all
}

func resumeByHand(p *play) {
	p.plain = true
	p.change(theDeployment, func(doc map[string]any) { delete(child(doc, "spec"), "paused") })
}

func optOut(p *play) {
	p.change(theDeployment, func(doc map[string]any) {
		delete(child(child(doc, "metadata"), "annotations"), "serin.dev/canary")
	})
}

func setImage(image string) func(p *play) { return func(p *play) { p.deploy(image) } }

func scaleTo(n int64) func(p *play) {
	return func(p *play) {
		p.change(theDeployment, func(doc map[string]any) { child(doc, "spec")["replicas"] = n })
	}
}

func remove(key canary.ObjectKey) func(p *play) {
	return func(p *play) {
		p.blind = true // what a hand takes away is missed at once
		delete(p.docs, key)
	}
}

// lateRoutes are a VirtualService for the mesh, made when ours did its work.
func lateRoutes(p *play) {
	doc, err := topologytest.Decode(another("late", p.now.Format(time.RFC3339), "  hosts: [web]\n  http:\n  - route:\n    - destination: {host: web}\n")[1])
	if err != nil {
		p.t.Fatal(err)
	}
	p.blind = true // it is not pinned yet
	p.docs[keyOf(doc)] = doc
}

// unpin is a hand that takes the pins out of the routes.
func unpin(p *play) {
	p.blind = true
	p.change(theRoutes, func(doc map[string]any) {
		child(doc, "spec")["http"] = []any{map[string]any{"route": []any{map[string]any{"destination": map[string]any{"host": "web"}}}}}
	})
}

func TestWhatPeopleDoInMidRelease(t *testing.T) {
	for name, c := range map[string]struct {
		changes []change
		at      int
		do      func(p *play)
		want    string
		end     canary.Phase
		told    canary.Reason
	}{
		"another template is released after this one is taken back":     {nil, 5, setImage("web:3"), "web web:3 3", canary.Succeeded, canary.TemplateChanged},
		"the template that runs is put back: nothing is to be released": {nil, 50, setImage("web:1"), "web web:1 3", canary.RolledBack, canary.LetGo},
		"resumed by hand: Kubernetes updates it":                        {nil, 5, resumeByHand, "web web:2 3", canary.Succeeded, canary.ResumedByPerson},
		"opted out: routes, then pods, then the pause go":               {nil, 50, optOut, "web web:2 3", canary.RolledBack, canary.OptedOut},
		"opted out when all users are on the canary":                    {nil, 100, optOut, "web web:2 3", canary.RolledBack, canary.OptedOut},
		"scaled: the canary follows":                                    {nil, 50, scaleTo(6), "web web:2 6", canary.Succeeded, canary.Promoted},
		"scaled down to one":                                            {nil, 50, scaleTo(1), "web web:2 1", canary.Succeeded, canary.Promoted},
		"our DestinationRule is deleted: it is made again":              {nil, 50, remove(ourRule), "web web:2 3", canary.Succeeded, canary.Promoted},
		"our VirtualService is deleted: it is made again":               {[]change{onGateway}, 50, remove(ourRoutes), "web web:2 3", canary.Succeeded, canary.Promoted},
		"the canary Deployment is deleted: back to stable":              {nil, 50, remove(theCanary), "web web:1 3, paused, marked", canary.RolledBack, canary.CanaryUnavailable},
		"a VirtualService for the mesh comes beside ours, which goes":   {[]change{onGateway}, 5, lateRoutes, "web web:2 3", canary.Succeeded, canary.Promoted},
		"the pins are taken out: they are put back":                     {nil, 50, unpin, "web web:2 3", canary.Succeeded, canary.RaiseUndone},
		"a command to abort": {nil, 50, func(p *play) { p.command = &canary.Command{Verb: canary.CommandAbort} },
			"web web:1 3, paused, marked", canary.RolledBack, canary.AbortedByCommand},
		"pods that never become ready end it": {nil, 5, func(p *play) {
			p.verdict, p.broken, p.spec.StepDeadline, p.spec.OnInconclusive = judge.Verdict{}, true, time.Minute, canary.RollBack
		}, "web web:1 3, paused, marked", canary.RolledBack, canary.RolledBackOnTime},
		"rolled back, and the template that runs is put back": {nil, 5, func(p *play) { p.verdict, p.spec.OnRollback = bad, canary.RestoreTemplate },
			"web web:1 3", canary.RolledBack, canary.Restored},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, c.changes...)
			p.verdict = good
			p.deploy("web:2")
			p.at(c.at)
			c.do(p)
			for range 4 {
				p.pass()
			}
			p.blind = false
			p.views = nil
			p.rest()
			for key, text := range p.users() {
				if strings.Contains(text, "serin-") || key == theCanary {
					t.Errorf("%s is left: %s", key, text)
				}
			}
			if got := p.pods(); got != c.want || p.state().Phase != c.end || !slices.Contains(p.told, c.told) {
				t.Errorf("%s, %s, told %s\n%s", got, p.state().Phase, p.told, p.log.String())
			}
		})
	}
}

func TestTheDeploymentIsDeletedInMidRelease(t *testing.T) {
	p := newPlay(t)
	before := p.users()
	p.verdict = good
	p.deploy("web:2")
	p.at(50)
	p.blind = true // nobody serves any more
	delete(p.docs, theDeployment)
	delete(before, theDeployment)
	p.rest()
	p.nothingIsLeft(before)
}

// With a standing pause the Deployment is paused before its template can change,
// and paused again after the release.
func TestAStandingPauseInsteadOfAGuard(t *testing.T) {
	p := newPlay(t)
	before := p.users()
	p.guard, p.verdict = topology.GuardPause, good
	p.rest()
	if got := p.pods(); got != "web web:1 3, paused, marked" {
		t.Fatal(got)
	}
	p.deploy("web:2")
	p.at(100)
	p.rest()
	p.nothingIsLeft(before)
	if got := p.pods(); got != "web web:2 3, paused, marked" || p.state().Phase != canary.Succeeded {
		t.Errorf("%s, %s", got, p.state().Phase)
	}
}

// Routes of an earlier release that somebody kept and applies again are given
// back, and lead nowhere in between.
func TestRoutesThatSomebodyKeptAreGivenBack(t *testing.T) {
	p := newPlay(t)
	before := p.users()
	p.verdict = good
	p.deploy("web:2")
	p.at(50)
	kept := route.Clone(p.docs[theRoutes])
	p.rest()
	p.blind = true
	p.change(theRoutes, func(doc map[string]any) { doc["spec"] = kept["spec"] })
	p.rest()
	p.nothingIsLeft(before)
}

// A controller that dies after any of its writes, and forgets when it wrote, is
// followed by one that ends the release well, or takes it back.
func TestAnotherControllerTakesOverAfterEveryWrite(t *testing.T) {
	for _, end := range []struct {
		name    string
		verdict judge.Verdict
		want    string
	}{{"promoted", good, "web web:2 3"}, {"rolled back", bad, "web web:1 3, paused, marked"}} {
		for _, v := range slices.Concat(variants[1:2], variants[3:4]) {
			t.Run(v.name+", "+end.name, func(t *testing.T) {
				t.Parallel()
				for after, more := 1, true; more; after++ {
					p := newPlay(t, v.changes...)
					before := p.users()
					p.verdict = end.verdict
					p.deploy("web:2")
					writes := 0
					p.until("the end", func() bool {
						if p.pass() {
							writes++
						}
						if writes == after {
							p.written = p.now // nobody knows more than that
							for range after % 7 {
								p.now = p.now.Add(time.Second)
								p.tick()
								p.look()
							}
							writes++
						}
						return len(p.history) > 0
					})
					p.rest()
					p.nothingIsLeft(before)
					if got := p.pods(); got != end.want || len(p.history) != 1 {
						t.Fatalf("after write %d: %s, %d releases", after, got, len(p.history))
					}
					more = writes > after
				}
			})
		}
	}
}
