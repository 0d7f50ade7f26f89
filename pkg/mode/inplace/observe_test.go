package inplace

import (
	"fmt"
	"strings"
	"testing"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

// seen tells what was observed in a line; templates and hashes by their versions.
func (w *world) seen(s canary.State) string {
	w.t.Helper()
	o := Observe(w.objects(), s)
	names := strings.NewReplacer(w.named()...)
	track := func(t canary.Track) string {
		if t.Deployment == "" {
			return "nobody"
		}
		text := fmt.Sprintf("%s of %s %d/%d", t.Deployment, names.Replace(t.Template+" "+t.Pods), t.Ready, t.Wanted)
		if t.Complete {
			text += " complete"
		}
		return text
	}
	words := []string{track(o.Tracks.Stable) + " | " + track(o.Tracks.Canary) + " |"}
	for _, word := range []struct {
		set  bool
		name string
	}{
		{o.OptedIn, "in"}, {o.Gone, "gone"}, {o.Place.Held, "held"}, {o.Place.Always, "always"}, {o.Place.Mixed, "mixed"}, {o.Place.Updated, "updated"},
		{o.Place.Canary, "canary"}, {o.Place.CanaryPods > 0, fmt.Sprint(o.Place.CanaryPods, " pods")}, {o.Place.Left, "left"}, {o.Place.Carried, "carried"},
		{o.Place.Subsets != canary.Subsets{}, "subsets of " + names.Replace(o.Place.Subsets.Pods)},
	} {
		if word.set {
			words = append(words, word.name)
		}
	}
	if o.OptedIn != (o.Subject == "web") || !o.InPlace {
		w.t.Errorf("subject %q, opted in %v, in place %v", o.Subject, o.OptedIn, o.InPlace)
	}
	return strings.Join(words, " ")
}

// named are the versions of all templates that there are, by their hashes.
func (w *world) named() (pairs []string) {
	for _, d := range w.objects().Deployments {
		image := object(list(child(child(child(d.Doc, "spec"), "template"), "spec"), "containers")[0])["image"].(string)
		pairs = append(pairs, d.TemplateHash, strings.TrimPrefix(image, "web:"))
		for _, s := range d.Sets {
			image := object(list(child(s.Template, "spec"), "containers")[0])["image"].(string)
			pairs = append(pairs, s.TemplateHash, strings.TrimPrefix(image, "web:"), s.Hash, "pods"+strings.TrimPrefix(image, "web:"))
		}
	}
	return pairs
}

func TestObserve(t *testing.T) {
	active := func(w *world, phase canary.Phase) canary.State {
		s := w.begun()
		s.Phase = phase
		return s
	}
	for name, c := range map[string]struct {
		make func(w *world) canary.State
		want string
	}{
		"at rest what runs is what is asked for": {
			func(*world) canary.State { return canary.State{} },
			"web of 1 pods1 3/3 complete | web-canary of 1  0/0 | in updated"},
		"held back: what is asked for does not run": {
			func(w *world) canary.State { w.deploy("web:2"); return canary.State{} },
			"web of 1 pods1 3/3 complete | web-canary of 2  0/0 | in held"},
		"an update under way at rest: of the one with most pods": {
			func(w *world) canary.State {
				w.guard = topology.GuardPause
				w.deploy("web:2")
				w.tick()
				w.tick()
				return canary.State{}
			},
			"web of 1 pods1 2/3 | web-canary of 2  0/0 | in always mixed"},
		"a plain update that is complete": {
			func(w *world) canary.State {
				w.guard = topology.GuardPause
				w.deploy("web:2")
				for range 9 {
					w.tick()
				}
				return canary.State{}
			},
			"web of 2 pods2 3/3 complete | web-canary of 2  0/0 | in always updated"},
		"with a standing pause any pause is the guard's": {
			func(w *world) canary.State {
				w.guard = topology.GuardPause
				w.change(theDeployment, func(doc map[string]any) { child(doc, "spec")["paused"] = true })
				return canary.State{}
			},
			"web of 1 pods1 3/3 complete | web-canary of 1  0/0 | in held always updated"},
		"a pause that is not the guard's is nobody's matter": {
			func(w *world) canary.State {
				w.change(theDeployment, func(doc map[string]any) { child(doc, "spec")["paused"] = true })
				return canary.State{}
			},
			"web of 1 pods1 3/3 complete | web-canary of 1  0/0 | in updated"},
		"no replicas: nothing runs": {
			func(w *world) canary.State {
				w.change(theDeployment, func(doc map[string]any) { child(doc, "spec")["replicas"] = int64(0) })
				w.tick()
				w.tick()
				return canary.State{}
			},
			"web of   0/0 | web-canary of 1  0/0 | in"},
		"prepared: subsets, and nothing more": {
			func(w *world) canary.State { w.prepared(); return canary.State{} },
			"web of 1 pods1 3/3 complete | web-canary of 2  0/0 | in held left subsets of pods1"},
		"the canary's pods are those of the canary Deployment": {
			func(w *world) canary.State { return w.tested().Next },
			"web of 1 pods1 3/3 complete | web-canary of 2  1/1 complete | in held canary 1 pods left carried subsets of pods1"},
		"a canary of another template is not the track's": {
			func(w *world) canary.State { s := w.tested().Next; w.deploy("web:3"); return s },
			"web of 1 pods1 3/3 complete | web-canary of 3  0/0 | in held canary 1 pods left carried subsets of pods1"},
		"pods that are going count": {
			func(w *world) canary.State { s := w.tested().Next; delete(w.docs, theCanary); w.tick(); return s },
			"web of 1 pods1 3/3 complete | web-canary of 2  0/0 | in held 1 pods left carried subsets of pods1"},
		"while it is promoted stable is the state's set as long as it has pods": {
			func(w *world) canary.State {
				s := active(w.held(), canary.Promoting)
				w.change(theDeployment, func(doc map[string]any) { delete(child(doc, "spec"), "paused") })
				for range 3 {
					w.tick()
				}
				return s
			},
			"web of 1 pods1 1/3 | web-canary of 2  0/0 | in mixed"},
		"and then the one that is left": {
			func(w *world) canary.State {
				s := active(w.held(), canary.Promoting)
				w.change(theDeployment, func(doc map[string]any) { delete(child(doc, "spec"), "paused") })
				for range 12 {
					w.tick()
				}
				return s
			},
			"web of 2 pods2 3/3 complete | web-canary of 2  0/0 | in updated"},
		"opted out in mid-release": {
			func(w *world) canary.State {
				s := w.tested().Next
				optOut(&play{world: w})
				return s
			},
			"web of 1 pods1 3/3 complete | web-canary of 2  1/1 complete | held canary 1 pods left carried subsets of pods1"},
		"opted out at rest with something left, and no state": {
			func(w *world) canary.State { w.prepared(); optOut(&play{world: w}); return canary.State{} },
			"web of 1 pods1 3/3 complete | web-canary of 2  0/0 | held left subsets of pods1"},
		"deleted in mid-release": {
			func(w *world) canary.State { s := w.tested().Next; delete(w.docs, theDeployment); return s },
			"web of   0/0 | web-canary of   0/0 | gone canary 1 pods left carried subsets of 999d2"},
		"a hand took a label off our subset": {
			func(w *world) canary.State {
				w.prepared()
				w.change(ourRule, func(doc map[string]any) {
					object(list(child(doc, "spec"), "subsets")[0])["labels"] = map[string]any{"app": "web"}
				})
				return canary.State{}
			},
			"web of 1 pods1 3/3 complete | web-canary of 2  0/0 | in held left subsets of "},
		"routes that lead to our subsets are told, state or not": {
			func(w *world) canary.State {
				w.change(theRoutes, func(doc map[string]any) {
					object(object(list(object(list(child(doc, "spec"), "http")[0]), "route")[0])["destination"])["subset"] = StableSubset
				})
				return canary.State{}
			},
			"web of 1 pods1 3/3 complete | web-canary of 1  0/0 | in updated carried"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if got := w.seen(c.make(w)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// Another Service selects the same pods: what is held for the release through one
// is not let go by the other.
func TestWhatIsHeldForAnotherServiceIsLeftAlone(t *testing.T) {
	twin := change{"", "kind: Service\nmetadata: {name: web-headless, namespace: shop, uid: twin-uid}\nspec: {selector: {app: web}}"}
	for name, do := range map[string]func(w *world) canary.State{
		"at rest":        func(w *world) canary.State { w.held(); return canary.State{} },
		"in mid-release": func(w *world) canary.State { w.half(); return canary.State{} },
		"opted out in mid-release": func(w *world) canary.State {
			w.half()
			optOut(&play{world: w})
			return canary.State{}
		},
		"that was once released through this one": func(w *world) canary.State {
			s := w.half().Next
			s.Phase = canary.RolledBack
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, twin)
			s := do(w)
			o := w.objects()
			o.Service, o.ServiceFound = "web-headless", &o.Services[1]
			got := Observe(o, s)
			if got.Place.Held || got.Place.Canary || got.Place.Left || got.OptedIn {
				t.Errorf("%+v", got)
			}
			p := resting(s, canary.Place{Deployment: canary.Resume}, canary.LetGo)
			p.Clean = true
			if writes, err := Render(p, o, w.now); err != nil || len(writes) > 0 {
				t.Errorf("%v %v", writes, err)
			}
		})
	}
}

// held is a world in which a new template waits.
func (w *world) held() *world {
	w.deploy("web:2")
	return w
}

// prepared is a world in which the subsets of a release are there, and the state
// that it will have.
func (w *world) prepared() canary.State {
	s := w.held().begun()
	w.do("the subsets", resting(canary.State{}, canary.Place{Subsets: &canary.Subsets{Stable: StableSubset, Canary: CanarySubset, Pods: s.Stable.Pods}}, canary.Preparing))
	return s
}

// tested is a world in which the canary is there and has no users, and its plan.
func (w *world) tested() canary.Plan {
	s := w.prepared()
	p := order(s, canary.Testing, 0, canary.ReleaseStarted, canary.Place{
		Subsets: &canary.Subsets{Stable: StableSubset, Canary: CanarySubset, Pods: s.Stable.Pods},
		Pods:    &canary.Pods{Most: 5, Template: s.Canary.Template},
	})
	w.do("the canary", p)
	w.tick()
	return p
}

// half is a world in which the canary has half of the users, and its plan.
func (w *world) half() canary.Plan {
	p := w.tested()
	p = order(p.Next, canary.Progressing, 50, canary.StepStarted, *p.Place)
	p.Place.Pods = &canary.Pods{Least: 50, Most: 100, Template: p.Next.Canary.Template}
	w.do("half", p)
	w.tick()
	return p
}

func TestSeenInPlace(t *testing.T) {
	bare := func(doc map[string]any) {
		child(doc, "spec")["http"] = []any{map[string]any{"route": []any{map[string]any{"destination": map[string]any{"host": "web"}}}}}
	}
	for name, c := range map[string]struct {
		do   func(w *world)
		want canary.Seen
	}{
		"as it was written": {func(*world) {}, canary.Seen{Min: 50, Max: 50, Split: true, Header: true}},
		"unpinned by a hand": {func(w *world) { w.change(theRoutes, bare) },
			canary.Seen{Raised: true, Unpinned: "spec.http[0].route[0]", Header: true, Idle: true, Writer: "kubectl-edit"}},
		"replaced, and the state with it": {func(w *world) {
			w.change(theRoutes, func(doc map[string]any) { bare(doc); delete(child(doc, "metadata"), "annotations") })
		}, canary.Seen{Raised: true, Unpinned: "spec.http[0].route[0]", Idle: true, Writer: "kubectl-edit"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.half()
			c.do(w)
			got := Observe(w.objects(), p.Next).Traffic[theRoutes]
			got.Rollout, got.Sequence, got.At, got.Changed, got.Owned = c.want.Rollout, c.want.Sequence, c.want.At, c.want.Changed, c.want.Owned
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
	t.Run("QA's way to the canary is missed as soon as there is a ready pod", func(t *testing.T) {
		w := newWorld(t)
		w.broken = true
		p := w.tested()
		if seen := Observe(w.objects(), p.Next).Traffic[theRoutes]; seen.Header || seen.HeaderLost {
			t.Errorf("before: %+v", seen)
		}
		w.broken = false
		w.tick()
		if seen := Observe(w.objects(), p.Next).Traffic[theRoutes]; !seen.HeaderLost {
			t.Errorf("after: %+v", seen)
		}
		w.do("the header route", p)
		if seen := Observe(w.objects(), p.Next).Traffic[theRoutes]; !seen.Header || seen.HeaderLost {
			t.Errorf("in the end: %+v", seen)
		}
	})
	t.Run("one that waits for its first state is not raised", func(t *testing.T) {
		w := newWorld(t, withGateway)
		p := order(w.prepared(), canary.Testing, 0, canary.ReleaseStarted, canary.Place{})
		w.turn(p)
		state, _, _ := mode.FindState(w.objects())
		waiting := 0
		for key, seen := range Observe(w.objects(), state).Traffic {
			if seen.Raised || seen.Unpinned != "" {
				t.Errorf("%s: %+v", key, seen)
			}
			if seen.Rollout == "" {
				waiting++
			}
		}
		if state.Rollout != "r1" || waiting != 1 {
			t.Errorf("%d wait for state %+v", waiting, state)
		}
	})
}

// A state that is lost while there are pods of the canary leaves nobody to say
// what was ordered; without them everything can be given back.
func TestALostState(t *testing.T) {
	w := newWorld(t)
	s := w.half().Next
	w.history = []canary.Release{{Rollout: "r0", InPlace: true, Outcome: canary.Succeeded, Stable: s.Stable, Canary: s.Canary}}
	w.change(theRoutes, func(doc map[string]any) { delete(child(doc, "metadata"), "annotations") })
	if _, _, lost := mode.FindState(w.objects()); !lost {
		t.Error("not told while the canary is there")
	}
	delete(w.docs, theCanary)
	w.tick()
	if _, _, lost := mode.FindState(w.objects()); !lost {
		t.Error("not told while its pods are there")
	}
	w.tick()
	if got, _, lost := mode.FindState(w.objects()); lost || got.Rollout != "r0" {
		t.Errorf("lost %v, state %+v", lost, got)
	}
}

func TestCheckSpec(t *testing.T) {
	tracks := canary.Tracks{Canary: canary.Track{Subset: CanarySubset}, Stable: canary.Track{Subset: StableSubset}}
	for name, c := range map[string]struct {
		routes string
		want   canary.Reason
	}{
		"a plain route":                      {bareRoute, ""},
		"two destinations to the Service":    {"    - destination: {host: web, subset: a}\n      weight: 50\n    - destination: {host: web, subset: b}\n      weight: 50\n", canary.SubsetAmbiguous},
		"a weight that can't be shared out":  {"    - destination: {host: web}\n      weight: 2\n    - destination: {host: cart}\n      weight: 98\n", canary.WeightsTooCoarse},
		"a weight that can be, besides cart": {"    - destination: {host: web}\n      weight: 400\n    - destination: {host: cart}\n      weight: 1\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := newWorld(t, change{bareRoute, c.routes}).objects()
			var got canary.Reason
			for _, f := range CheckSpec(o, tracks, wholeSpec) {
				got = f.Reason
			}
			if got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
