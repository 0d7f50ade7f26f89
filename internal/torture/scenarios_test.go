package torture

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"serin.dev/serin/internal/apiserver"
)

// scenario is a release, and what people do about it.
type scenario struct {
	name     string
	inPlace  bool
	replicas int  // of the controller; 0 is 1, without a lease
	jumps    bool // commands pass over steps, or end bakes
	restores bool // the template that runs is put back
	notes    map[string]any
	mesh     bool // a second VirtualService, of the mesh
	asks     bool // what is asked outside is answered, the first time of each process with wait
	play     func(w *world)
	// ends are how the releases ended, as they are kept, in order.
	ends []string
}

const (
	bakes  = 10 * time.Second
	oneWay = 10 * time.Minute // for a release to get anywhere, undisturbed
)

func (s *scenario) bake() time.Duration { return bakes }

// opted are the annotations of what is released.
func (s *scenario) opted() map[string]any {
	notes := map[string]any{"serin.dev/canary": "true", "serin.dev/steps": "5%, 25%, 100%", "serin.dev/bake": "10s"}
	maps.Copy(notes, s.notes)
	return notes
}

// scenarios are all of them.
var scenarios = slices.Concat(pairs(), inPlace(), leaders())

func scenarioOf(name string) *scenario {
	i := slices.IndexFunc(scenarios, func(s *scenario) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return scenarios[i]
}

var testersFirst = map[string]any{"serin.dev/steps": "0%/10s, 25%, 100%"}

// askingAll asks everybody whom a release can ask, wherever it can.
var askingAll = map[string]any{
	"serin.dev/gates": "team@before-start+before-step+before-promotion+after-rollback", "serin.dev/smoke": "GET /healthz", "serin.dev/approval": "promotion",
}

const (
	promoted   = "Succeeded"
	rolledBack = "RolledBack"
)

func pairs() []*scenario {
	return []*scenario{
		{name: "pair-promotion", ends: []string{promoted}, play: releaseOnce},
		{name: "pair-rollback", ends: []string{rolledBack}, play: badRelease},
		{name: "pair-late-breach", ends: []string{rolledBack}, play: lateBreach},
		{name: "pair-two-routes", mesh: true, ends: []string{promoted}, play: releaseOnce},
		{name: "pair-two-routes-breach", mesh: true, ends: []string{rolledBack}, play: lateBreach},
		{name: "pair-testers-first", notes: testersFirst, ends: []string{promoted}, play: releaseOnce},
		{name: "pair-abort", ends: []string{rolledBack}, play: abort},
		{name: "pair-pause", jumps: true, ends: []string{promoted}, play: pauseAndResume},
		{name: "pair-promote", jumps: true, ends: []string{promoted}, play: commandAt5("promote#1")},
		{name: "pair-skip", jumps: true, ends: []string{promoted}, play: commandAt5("skip#1")},
		{name: "pair-superseded", ends: []string{rolledBack, promoted}, play: supersede},
		{name: "pair-deleted", ends: []string{rolledBack}, play: deleteCanary},
		{name: "pair-opted-out", ends: []string{rolledBack}, play: optOut},
		{name: "pair-gitops", jumps: true, ends: []string{promoted}, play: gitOps},
		{name: "pair-hand-lowers", jumps: true, ends: []string{promoted}, play: handLowers},
		{name: "pair-retry", ends: []string{rolledBack, promoted}, play: retry},
		{name: "pair-undo", ends: []string{rolledBack}, play: undo},
		{name: "pair-scaled", ends: []string{promoted}, play: scale("web-v2")},
		{name: "pair-asked", asks: true, notes: askingAll, ends: []string{promoted}, play: approved},
		{name: "pair-asked-breach", asks: true, notes: askingAll, ends: []string{rolledBack}, play: lateBreach},
	}
}

func inPlace() []*scenario {
	all := []*scenario{
		{name: "inplace-promotion", ends: []string{promoted}, play: releaseOnce},
		{name: "inplace-rollback", ends: []string{rolledBack}, play: badRelease},
		{name: "inplace-late-breach", ends: []string{rolledBack}, play: lateBreach},
		{name: "inplace-two-routes", mesh: true, ends: []string{promoted}, play: releaseOnce},
		{name: "inplace-two-routes-breach", mesh: true, ends: []string{rolledBack}, play: lateBreach},
		{name: "inplace-testers-first", notes: testersFirst, ends: []string{promoted}, play: releaseOnce},
		{name: "inplace-abort", ends: []string{rolledBack}, play: abort},
		{name: "inplace-pause", jumps: true, ends: []string{promoted}, play: pauseAndResume},
		{name: "inplace-promote", jumps: true, ends: []string{promoted}, play: commandAt5("promote#1")},
		{name: "inplace-superseded", ends: []string{rolledBack, promoted}, play: supersede},
		{name: "inplace-deleted", ends: []string{rolledBack}, play: deleteCanary},
		{name: "inplace-opted-out", ends: []string{rolledBack}, play: optOut},
		{name: "inplace-gitops", jumps: true, ends: []string{promoted}, play: gitOps},
		{name: "inplace-restored", restores: true, notes: map[string]any{"serin.dev/on-rollback": "restore"}, ends: []string{rolledBack}, play: badRelease},
		{name: "inplace-retry", ends: []string{rolledBack, promoted}, play: retry},
		{name: "inplace-scaled", ends: []string{promoted}, play: scale("web")},
		{name: "inplace-asked", asks: true, notes: askingAll, ends: []string{promoted}, play: approved},
		{name: "inplace-resumed", jumps: true, ends: []string{promoted}, play: resumeByHand},
	}
	for _, s := range all {
		s.inPlace = true
	}
	return all
}

func leaders() []*scenario {
	return []*scenario{
		{name: "leaders-pair-promotion", replicas: 2, ends: []string{promoted}, play: releaseOnce},
		{name: "leaders-pair-breach", replicas: 2, mesh: true, ends: []string{rolledBack}, play: lateBreach},
		{name: "leaders-inplace-promotion", replicas: 2, inPlace: true, ends: []string{promoted}, play: releaseOnce},
		{name: "leaders-inplace-breach", replicas: 2, inPlace: true, ends: []string{rolledBack}, play: lateBreach},
	}
}

// build is the shop before the release: one version runs, and has all the users.
func (w *world) build() {
	w.routes("web", []any{"shop.example"}, []any{"istio-system/gateway"})
	if w.s.mesh {
		w.routes("mesh", []any{"web"}, nil)
	}
	if w.s.inPlace {
		for _, kind := range []string{"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"} {
			w.put(apiserver.APIVersions[kind], kind, "", map[string]any{"metadata": map[string]any{"name": "serin-in-place"}, "spec": map[string]any{"policyName": "serin-in-place"}})
		}
		w.deployment("web", "", "one", w.s.opted())
	} else {
		w.put("networking.istio.io/v1", "DestinationRule", "web", map[string]any{"spec": map[string]any{"host": "web", "subsets": []any{
			map[string]any{"name": "v1", "labels": map[string]any{"version": "v1"}},
			map[string]any{"name": "v2", "labels": map[string]any{"version": "v2"}},
		}}})
		w.deployment("web-v1", "v1", "one", nil)
	}
	w.until(time.Minute, "the first version runs", func() bool { return w.runs("one", 4) })
	w.watch.open()
}

func (w *world) routes(name string, hosts, gateways []any) {
	place := map[string]any{"host": "web"}
	if !w.s.inPlace {
		place["subset"] = "v1"
	}
	spec := map[string]any{"hosts": hosts, "http": []any{map[string]any{"timeout": "10s", "route": []any{map[string]any{"destination": place}}}}}
	if gateways != nil {
		spec["gateways"] = gateways
	}
	w.put("networking.istio.io/v1", "VirtualService", name, map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{"team": "shop"}}, "spec": spec})
}

func (w *world) deployment(name, version, image string, notes map[string]any) {
	labels := map[string]any{"app": "web"}
	if version != "" {
		labels["version"] = version
	}
	metadata := map[string]any{}
	if notes != nil {
		metadata["annotations"] = notes
	}
	w.put("apps/v1", "Deployment", name, map[string]any{"metadata": metadata, "spec": map[string]any{
		"replicas": 4.0, "selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": []any{container(image)}}},
	}})
}

// repository is what the name of every image begins with. Scenarios name the tag.
const repository = "web:"

func container(tag string) map[string]any {
	return map[string]any{"name": "web", "image": repository + tag}
}

// runs tells that so many pods of an image are ready.
func (w *world) runs(image string, wanted int) bool {
	n := 0
	w.watch.tell(func(o *observer) {
		for at, doc := range o.docs {
			if at.kind == "Pod" && readyPod(doc) && imageOf(doc) == image {
				n++
			}
		}
	})
	return n == wanted
}

// subject is the Deployment that people deploy to.
func (w *world) subject() string {
	if w.s.inPlace {
		return "web"
	}
	return "web-v2"
}

// ship deploys an image as the scenario's mode has it.
func (w *world) ship(image string) {
	if !w.s.inPlace && w.api.Read("Deployment", namespace, "web-v2") == nil {
		w.deployment("web-v2", "v2", image, w.s.opted())
		return
	}
	w.api.Edit("Deployment", namespace, w.subject(), func(o map[string]any) {
		tree(in(o, "spec", "template", "spec"))["containers"] = []any{container(image)}
	})
}

// note writes an annotation of the Deployment that is released; empty takes it away.
func (w *world) note(key, value string) {
	w.api.Edit("Deployment", namespace, w.subject(), func(o map[string]any) {
		notes := tree(in(o, "metadata", "annotations"))
		if value == "" {
			delete(notes, key)
			return
		}
		notes[key] = value
	})
}

const commandKey = "serin.dev/command"

// over tells that the releases ended as they should, and nothing is left of them.
func (w *world) over(ends ...string) func() bool {
	return func() bool {
		kept := w.watch.outcomes()
		same := slices.Equal(kept, ends) || w.isLoose() && len(kept) > 0 && kept[len(kept)-1] == ends[len(ends)-1]
		return same && len(w.watch.leftovers()) == 0
	}
}

// to waits until the canary has a share everywhere, or more: a step that was
// written to one VirtualService before an outage may be over when the other has it.
func (w *world) to(percent float64) {
	w.until(oneWay, fmt.Sprintf("the canary has %g%% everywhere", percent), func() bool { return w.watch.share() >= percent && w.watch.least() >= percent })
}

func releaseOnce(w *world) {
	w.ship("two")
	w.until(oneWay, "promoted", w.over(w.s.ends...))
}

func approved(w *world) {
	w.ship("two")
	w.to(25)
	w.note(commandKey, "approve#1")
	w.until(oneWay, "promoted", w.over(w.s.ends...))
}

func badRelease(w *world) {
	w.watch.turn("two", true)
	w.ship("two")
	w.until(oneWay, "rolled back", w.over(w.s.ends...))
}

func lateBreach(w *world) {
	w.ship("two")
	w.to(25)
	w.watch.turn("two", true)
	w.until(oneWay, "rolled back", w.over(w.s.ends...))
}

func abort(w *world) {
	w.ship("two")
	w.to(25)
	w.note(commandKey, "abort")
	w.until(oneWay, "rolled back", w.over(w.s.ends...))
	w.note(commandKey, "")
}

func pauseAndResume(w *world) {
	w.ship("two")
	w.to(5)
	w.note(commandKey, "pause")
	w.until(oneWay, "paused", func() bool { return w.watch.phase() == "Paused" })
	pass(time.Minute)
	w.note(commandKey, "")
	w.until(oneWay, "promoted", w.over(w.s.ends...))
}

func commandAt5(command string) func(*world) {
	return func(w *world) {
		w.ship("two")
		w.to(5)
		w.note(commandKey, command)
		w.until(oneWay, "promoted", w.over(w.s.ends...))
	}
}

func supersede(w *world) {
	w.ship("two")
	w.to(25)
	w.ship("three")
	w.until(2*oneWay, "the newer one promoted", w.over(w.s.ends...))
}

func deleteCanary(w *world) {
	w.ship("two")
	w.to(25)
	w.watch.excuse()
	w.api.Delete("Deployment", namespace, w.subject())
	w.until(oneWay, "all is gone", w.over(w.s.ends...))
}

func optOut(w *world) {
	w.ship("two")
	w.to(25)
	w.note("serin.dev/canary", "")
	w.until(oneWay, "back at stable", w.over(w.s.ends...))
}

func gitOps(w *world) {
	w.ship("two")
	w.to(5)
	w.revert(false)
	w.until(oneWay, "promoted", w.over(w.s.ends...))
}

func handLowers(w *world) {
	w.ship("two")
	w.to(25)
	w.people("kubectl-edit", ref{"VirtualService", "web"}, func(o map[string]any) {
		for _, r := range list(in(o, "spec", "http")) {
			if isHeaderRoute(tree(r)) {
				continue
			}
			for i, p := range list(tree(r)["route"]) {
				tree(p)["weight"] = []float64{90, 10}[i]
			}
		}
	})
	w.until(oneWay, "paused", func() bool { return w.watch.phase() == "Paused" })
	w.note(commandKey, "resume#1")
	w.until(oneWay, "promoted", w.over(w.s.ends...))
}

func retry(w *world) {
	w.watch.turn("two", true)
	w.ship("two")
	w.until(oneWay, "rolled back", w.over(rolledBack))
	w.watch.turn("two", false)
	w.note(commandKey, "retry#1")
	w.until(oneWay, "promoted", w.over(w.s.ends...))
}

func undo(w *world) {
	w.ship("two")
	w.until(oneWay, "promoted", w.over(promoted))
	pass(time.Minute)
	w.note(commandKey, "rollback#1")
	w.until(oneWay, "rolled back", w.over(w.s.ends...))
}

func scale(name string) func(*world) {
	return func(w *world) {
		w.ship("two")
		w.to(5)
		w.api.Edit("Deployment", namespace, name, func(o map[string]any) { tree(o["spec"])["replicas"] = 8.0 })
		w.to(25)
		w.api.Edit("Deployment", namespace, name, func(o map[string]any) { tree(o["spec"])["replicas"] = 6.0 })
		w.until(oneWay, "promoted", w.over(w.s.ends...))
	}
}

// resumeByHand has Kubernetes replace stable's pods, in a few seconds and unasked:
// a Serin that is away or sees nothing in these cannot keep users from where they
// were.
func resumeByHand(w *world) {
	w.ship("two")
	w.to(25)
	if slices.ContainsFunc(w.faulty, func(i injection) bool { return i.fault.lasts >= time.Minute }) {
		w.watch.excuse()
	}
	w.api.Edit("Deployment", namespace, "web", func(o map[string]any) { tree(o["spec"])["paused"] = false })
	w.until(oneWay, "updated plainly", w.over(w.s.ends...))
}
