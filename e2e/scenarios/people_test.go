package scenarios

import (
	"strings"
	"testing"

	"serin.dev/serin/e2e/load"
	"serin.dev/serin/e2e/scenarios/invariant"
)

func commands(t *testing.T, name string) {
	st := open(t, name, script{jumps: true})
	st.release("5%/20m, 25%/20m, 100%/2s", nil)
	st.reachesWeight(5)
	st.command("pause")
	st.reachesPhase("Paused")
	st.command("none")
	st.reachesPhase("Progressing")
	st.command("skip #1")
	st.reachesWeight(25)
	st.command("abort")
	first := st.reachesPhase("RolledBack")
	st.told("AbortedByCommand")
	st.settles(st.users, "v1")
	st.command("retry #2")
	st.another(first, "Progressing")
	st.command("promote #3")
	st.reachesPhase("Succeeded")
	st.settles(st.users, "v2")
	st.command("rollback #4")
	st.reachesPhase("RolledBack")
	st.close("v1", "v1")
}

// weigh sets the weights of the route that leads users to the Service.
func weigh(v1, v2 int64) func(map[string]any) {
	return func(doc map[string]any) {
		for _, r := range doc["spec"].(map[string]any)["http"].([]any) {
			destinations := r.(map[string]any)["route"].([]any)
			if len(destinations) == 2 {
				destinations[0].(map[string]any)["weight"] = v1
				destinations[1].(map[string]any)["weight"] = v2
			}
		}
	}
}

func person(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(long, nil)
	st.reachesWeight(25)
	st.arrives("v2")
	st.edit(weigh(97, 3))
	st.reaches("paused where the hand has put it", func(s invariant.State) bool { return s.Phase == "Paused" && s.Weight == 3 })
	st.told("PausedByPerson")
	st.command("resume #1")
	st.reachesWeight(25)
	st.edit(weigh(40, 60))
	st.reaches("set back", func(s invariant.State) bool {
		return s.Phase == "Progressing" && s.Weight == 25 && s.Reason == "RaiseUndone"
	})
	st.told("RaiseUndone")
	// Out of the emergency: all users to stable, and it stays so.
	st.edit(weigh(100, 0))
	st.reaches("paused at 0%", func(s invariant.State) bool { return s.Phase == "Paused" && s.Weight == 0 })
	st.settles(st.users, "v1")
	st.command("abort")
	st.reachesPhase("RolledBack")
	st.close("v1", "v1")
}

func mistakes(t *testing.T, name string) {
	st := open(t, name, script{jumps: true})
	st.release("5%, 50%", nil, settings{"bake": "soon", "max-eror-rate": "1%"})
	note := st.told("InvalidAnnotation")
	for _, part := range []string{"serin.dev/steps", "serin.dev/bake", "serin.dev/max-eror-rate", "max-error-rate"} {
		if !strings.Contains(note, part) {
			t.Errorf("the Event does not speak of %s: %s", part, note)
		}
	}
	if versions, _ := st.versions.all(); len(versions) != 1 {
		t.Errorf("the routes were written %d times", len(versions)-1)
	}
	st.onlyBy("v1", st.users.Records())
	// Mended, it is a release; and new mistakes hold it.
	st.deploy(deployment{subset: "v2", annotations: settings{"canary": "true", "steps": long}})
	st.reachesWeight(25)
	st.deploy(deployment{subset: "v2", annotations: settings{"canary": "true", "steps": long, "header": ":"}})
	st.shows("25", "serin_rollout_weight_percent")
	st.until("the second mistake is told", func() error {
		notes, err := st.notes("InvalidAnnotation")
		if err == nil && len(notes) < 2 {
			err = errNotYet
		}
		return err
	})
	st.command("abort")
	st.reachesPhase("RolledBack")
	st.close("v1", "v1")
}

func optOut(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(long, nil)
	st.reachesWeight(25)
	st.arrives("v2")
	st.kubectl("annotate", "deployment", "web-v2", "serin.dev/canary-")
	st.until("nothing of Serin's is left", func() error {
		doc := st.versions.last("web").Doc
		if _, ok := invariant.StateOf(doc, "web"); ok {
			return errNotYet
		}
		return nil
	})
	st.told("OptedOut")
	st.close("v1", "v1")
}

// The routes of a user who keeps them in files, before and after a promotion.
const (
	plain    = "\n  - timeout: 7s\n    route: [{destination: {host: web, subset: v1}}]\n"
	promoted = "\n  - timeout: 7s\n    route: [{destination: {host: web, subset: v2}}]\n"
)

// applyAfterwards is a user who keeps the routes in files: after a release
// their own apply works as before it, without a conflict.
func applyAfterwards(t *testing.T, name string) {
	st := open(t, name, script{jumps: true, routes: plain})
	own := gateway(name, st.script.routes)
	st.release("25%/20m, 100%/2s", nil)
	st.reachesWeight(25)
	st.arrives("v2")
	if err := st.applyAs("kubectl", own, false); err == nil {
		t.Error("in mid-release the weights are ours, yet the user's apply had no conflict")
	}
	st.command("abort")
	st.goneBackAndClean()
	if err := st.applyAs("kubectl", own, false); err != nil {
		t.Errorf("after a rollback: %v", err)
	}
	first := st.versions.state()
	st.command("retry #1")
	st.another(first, "Progressing")
	st.command("promote #2")
	st.another(first, "Succeeded")
	st.unowned()
	if err := st.applyAs("kubectl", gateway(name, promoted), false); err != nil {
		t.Errorf("after a promotion: %v", err)
	}
	st.close("v2", "v2")
}

// goneBackAndClean waits for the end of a rollback, and its last write.
func (st *stage) goneBackAndClean() {
	st.Helper()
	st.reachesPhase("RolledBack")
	st.unowned()
}

// unowned waits until Serin owns nothing of the user's routes.
func (st *stage) unowned() {
	st.Helper()
	st.until("Serin's ownership has ended", func() error {
		v := st.versions.last("web")
		s, _ := invariant.StateOf(v.Doc, "web")
		for _, share := range invariant.Shares(v.Doc, "web", subsets, "v2") {
			for _, err := range invariant.AtRest(v.Doc, invariant.Rules{Service: "web", Subsets: subsets}, "v2", share.Percent) {
				return err
			}
		}
		if s.Active() {
			return errNotYet
		}
		return nil
	})
}

func twoVirtualServices(t *testing.T, name string) {
	routes := `
  - match: [{uri: {prefix: /api}}]
    timeout: 9s
    headers: {response: {set: {x-route: api}}}
    route:
    - {destination: {host: web, subset: v1}, weight: 100}
    - {destination: {host: web, subset: v2}, weight: 0}
  - route: [{destination: {host: web.` + name + `.svc.cluster.local, subset: v1, port: {number: 80}}}]
`
	st := open(t, name, script{jumps: true, routes: routes, more: mesh(name, "\n  - route: [{destination: {host: web, subset: v1}}]\n"), path: "/api/cart"})
	inside := st.load(load.Options{URL: st.box.MeshURL(), Host: "web." + name})
	st.settles(inside, "v1")
	st.release("25%/20m, 100%/2s", nil)
	first := st.reachesWeight(25)
	st.until("both sides have canary traffic", func() error {
		for _, g := range []*load.Generator{st.users, inside} {
			if g.Summary(first.At, st.began.AddDate(1, 0, 0)).ByVersion["v2"].Requests == 0 {
				return errNotYet
			}
		}
		return nil
	})
	testers := st.load(load.Options{Headers: testersHeader})
	st.settles(testers, "v2")
	testersInside := st.load(load.Options{URL: st.box.MeshURL(), Host: "web." + name, Headers: testersHeader})
	st.settles(testersInside, "v2")
	st.command("abort")
	st.reachesPhase("RolledBack")
	st.settles(st.users, "v1")
	st.settles(inside, "v1")
	st.command("retry #1")
	st.another(first, "Progressing")
	st.command("promote #2")
	st.another(first, "Succeeded")
	st.settles(inside, "v2")
	st.close("v2", "v2")
}
