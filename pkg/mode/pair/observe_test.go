package pair

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
)

const (
	stableMeta = `kind: Deployment
metadata: {name: web-v1, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"}`
	stableOptedIn = `kind: Deployment
metadata: {name: web-v1, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z", annotations: {serin.dev/canary: "true"}}`
)

func TestTracks(t *testing.T) {
	optedOut := change{"  annotations: " + optIn + "\n", ""}
	both := change{stableMeta, stableOptedIn}
	onV2 := change{theRoute, "    - destination: {host: web, subset: v1}\n      weight: 0\n    - destination: {host: web, subset: v2}\n      weight: 100\n"}
	rest := func(phase canary.Phase, weight int) canary.State {
		s := release()
		s.Phase, s.Weight = phase, weight
		return s
	}
	swapped := rest(canary.Progressing, 5)
	swapped.Canary, swapped.Stable = swapped.Stable, swapped.Canary

	for name, c := range map[string]struct {
		changes []change
		state   canary.State
		want    string
	}{
		"the opted-in one without users is the canary": {
			nil, canary.State{}, "web-v2 in: web-v2/v2 beside web-v1/v1"},
		"of two opted in the idle one is the canary": {
			[]change{both}, canary.State{}, "web-v2 in: web-v2/v2 beside web-v1/v1, both"},
		"after a promotion they take turns": {
			[]change{both, onV2}, rest(canary.Succeeded, 100), "web-v1 in: web-v1/v1 beside web-v2/v2, both, older"},
		"after a promotion the only one opted in stays the canary, the other is its home": {
			[]change{onV2}, rest(canary.Succeeded, 100), "web-v2 in: web-v2/v2 beside web-v1/v1"},
		"the only one opted in may have all the users from the start": {
			[]change{onV2}, canary.State{}, "web-v2 in: web-v2/v2 beside web-v1/v1"},
		"in mid-release the state says who is who, whatever the weights": {
			[]change{onV2}, rest(canary.Progressing, 100), "web-v2 in: web-v2/v2 beside web-v1/v1"},
		"in mid-release the state says who is who, whatever the annotations": {
			[]change{both}, swapped, "web-v1 in: web-v1/v1 beside web-v2/v2, both, older"},
		"opted out in mid-release": {
			[]change{optedOut}, rest(canary.Progressing, 5), "nobody in: web-v2/v2 beside web-v1/v1"},
		"opted out in mid-release while the other is opted in": {
			[]change{optedOut, both}, rest(canary.Progressing, 5), "nobody in: web-v2/v2 beside web-v1/v1"},
		"deleted in mid-release": {
			[]change{{"  name: web-v2\n  namespace: shop", "  name: web-v2\n  namespace: other"}}, rest(canary.Progressing, 5),
			"nobody in: web-v2/v2 beside web-v1/v1, gone"},
		"a slip of the pen is no opting out": {
			[]change{{optIn, `{serin.dev/canary: "ture"}`}}, rest(canary.Progressing, 5), "web-v2 in: web-v2/v2 beside web-v1/v1"},
		"false is not opted in": {
			[]change{{optIn, `{serin.dev/canary: "false"}`}}, canary.State{}, "nobody in: / beside /"},
		"one that names another Service is not this one's": {
			[]change{hint("serin.dev/service", "cart")}, canary.State{}, "nobody in: / beside /"},
		"the annotations name the subsets": {
			[]change{{theRule, theRule + "  - {name: old, labels: {version: v1}}\n  - {name: new, labels: {version: v2}}\n"},
				{optIn, `{serin.dev/canary: "true", serin.dev/stable-subset: old, serin.dev/canary-subset: new}`}},
			canary.State{}, "web-v2 in: web-v2/new beside web-v1/old"},
		"a route that only a header reaches makes nobody the holder": {
			[]change{{"  http:\n", "  http:\n  - match: [{headers: {end-user: {exact: jason}}}]\n    route:\n    - destination: {host: web, subset: v2}\n" +
				"  - match: [{headers: {end-user: {exact: tom}}}]\n    route:\n    - destination: {host: web, subset: v2}\n"}},
			canary.State{}, "web-v2 in: web-v2/v2 beside web-v1/v1"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Observe(shop(t, c.changes...), c.state)
			who := orElse(got.Subject, "nobody")
			if got.OptedIn != (got.Subject != "") {
				t.Errorf("opted in %v, subject %q", got.OptedIn, got.Subject)
			}
			s := fmt.Sprintf("%s in: %s/%s beside %s/%s", who, got.Tracks.Canary.Deployment, got.Tracks.Canary.Subset, got.Tracks.Stable.Deployment, got.Tracks.Stable.Subset)
			for _, flag := range []struct {
				set  bool
				name string
			}{{got.Tracks.Both, "both"}, {got.Tracks.Older, "older"}, {got.Gone, "gone"}} {
				if flag.set {
					s += ", " + flag.name
				}
			}
			if s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

func TestTrackTellsHowThePodsAre(t *testing.T) {
	for name, c := range map[string]struct {
		pods []topology.Pod
		want canary.Track
	}{
		"running well": {
			[]topology.Pod{{Name: "b", Ready: true, Digests: []string{"sha256:b", "sha256:a"}}, {Name: "a", Ready: true, Digests: []string{"sha256:a"}}},
			canary.Track{Digests: []string{"sha256:a", "sha256:b"}}},
		"in a crash loop": {
			[]topology.Pod{{Name: "a", Waiting: "CrashLoopBackOff", Restarts: 1, Message: "back-off 10s"}},
			canary.Track{Crashing: true, Restarts: 1, Problem: "CrashLoopBackOff: back-off 10s"}},
		"failing again and again between back-offs": {
			[]topology.Pod{{Name: "a", Restarts: 3}}, canary.Track{Crashing: true, Restarts: 3}},
		"restarted, long ago, and ready": {
			[]topology.Pod{{Name: "a", Ready: true, Restarts: 9}}, canary.Track{Restarts: 9}},
		"without an image": {
			[]topology.Pod{{Name: "a", Ready: true, Message: "left over"}, {Name: "b", Waiting: "ImagePullBackOff", Message: "not found"}},
			canary.Track{Problem: "ImagePullBackOff: not found"}},
		"waiting for a node": {
			[]topology.Pod{{Name: "a", Message: "0/3 nodes are available"}}, canary.Track{Problem: "0/3 nodes are available"}},
		"just being created": {
			[]topology.Pod{{Name: "a", Waiting: "ContainerCreating"}}, canary.Track{}},
	} {
		t.Run(name, func(t *testing.T) {
			o := shop(t)
			o.Deployments[1].Pods = c.pods
			got := Observe(o, canary.State{}).Tracks.Canary
			want := c.want
			want.Deployment, want.Subset, want.Template = "web-v2", "v2", o.Deployments[1].TemplateHash
			want.Began = o.Deployments[1].ReplicaSetAt
			want.Complete, want.Wanted, want.Ready = true, 1, 1
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestSeen(t *testing.T) {
	at5 := order(release(), canary.Progressing, 5, canary.StepStarted)
	begin := func(t *testing.T) *world {
		w := newWorld(t, withGateway())
		w.do("5%", at5)
		return w
	}
	for name, c := range map[string]struct {
		edit func(w *world)
		want string
	}{
		"as it was written":               {func(*world) {}, "5..5 header split"},
		"lowered by a person":             {func(w *world) { w.edit("weight: 5}", "weight: 1}"); w.edit("weight: 95", "weight: 99") }, "1..1 header split lowered by kubectl-edit"},
		"raised by a person":              {func(w *world) { w.edit("weight: 5}", "weight: 50}"); w.edit("weight: 95", "weight: 50") }, "50..50 header split raised by kubectl-edit"},
		"the header route lost":           {func(w *world) { w.edit(`{"exact":"canary"}`, `{"exact":"x"}`) }, "5..5 split headerlost by kubectl-edit"},
		"another field changed":           {func(w *world) { w.edit(`"hosts":["web"]`, `"hosts":["web","www"]`) }, "5..5 header split by kubectl-edit"},
		"replaced, and the state with it": {func(w *world) { w.replace("argocd-controller") }, "0..0 lowered by argocd-controller gitops no copy"},
	} {
		t.Run(name, func(t *testing.T) {
			w := begin(t)
			c.edit(w)
			all := Observe(w.o, at5.Next).Traffic
			if len(all) != 2 {
				t.Fatalf("%d VirtualServices", len(all))
			}
			if got := describe(all[w.o.VirtualServices[0].Key]); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if got := describe(all[w.o.VirtualServices[1].Key]); got != "5..5 header split" {
				t.Errorf("the other: %s", got)
			}
		})
	}
	t.Run("a copy that is behind is pending, not interfered with", func(t *testing.T) {
		w := begin(t)
		next := order(at5.Next, canary.Progressing, 100, canary.StepPassed)
		writes, err := Render(next, w.o, w.now)
		if err != nil {
			t.Fatal(err)
		}
		w.apply(writes[0])
		s, _, _ := mode.FindState(w.o)
		all := Observe(w.o, s).Traffic
		if got := all[w.o.VirtualServices[1].Key]; got.Lowered || got.Sequence != 2 || all[w.o.VirtualServices[0].Key].Sequence != 3 {
			t.Errorf("%+v", all)
		}
	})
	t.Run("one that only testers come by is idle", func(t *testing.T) {
		o := shop(t, another("web-qa", "shop", "2026-01-02T00:00:00Z", "  hosts: [qa.example.com]\n  gateways: [public]\n  http:\n"+
			"  - match: [{headers: {end-user: {exact: jason}}}]\n    route:\n    - destination: {host: web, subset: v2}\n"))
		all := Observe(o, canary.State{}).Traffic
		if web, qa := all[o.VirtualServices[0].Key], all[o.VirtualServices[1].Key]; web.Idle || !qa.Idle {
			t.Errorf("%+v", all)
		}
	})
	t.Run("one not yet written has lost no header route", func(t *testing.T) {
		o := shop(t)
		s := release()
		if got := describe(Observe(o, s).Traffic[o.VirtualServices[0].Key]); got != "0..0 by kubectl no copy" {
			t.Error(got)
		}
	})
}

// replace writes the VirtualService as it was before us.
func (w *world) replace(manager string) {
	doc := route.Clone(shop(w.t).VirtualServices[0].Doc)
	object(doc, "metadata")["managedFields"] = []any{}
	own(w.o.VirtualServices[0].Doc, doc, manager)
	w.o.VirtualServices[0].Doc = doc
}

func describe(s canary.Seen) string {
	words := []string{fmt.Sprintf("%d..%d", s.Min, s.Max)}
	for _, w := range []struct {
		set  bool
		name string
	}{{s.Header, "header"}, {s.Split, "split"}, {s.Lowered, "lowered"}, {s.Raised, "raised"}, {s.HeaderLost, "headerlost"}, {s.Writer != "", "by " + s.Writer}, {s.GitOps, "gitops"}, {s.Rollout == "", "no copy"}} {
		if w.set {
			words = append(words, w.name)
		}
	}
	return strings.Join(words, " ")
}

func TestWriter(t *testing.T) {
	entry := func(manager, at, fields string) string {
		return fmt.Sprintf("{manager: %s, time: %q, fieldsV1: {f:spec: %s}}", manager, at, fields)
	}
	const http, hosts = "{f:http: {}}", "{f:hosts: {}}"
	early, late := "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
	for name, c := range map[string]struct {
		entries []string
		writer  string
		gitOps  bool
		owned   bool
		changed string // when the routes were written last
	}{
		"nobody":                             {nil, "", false, false, ""},
		"a person with kubectl edit":         {[]string{entry("kubectl-edit", early, http)}, "kubectl-edit", false, false, early},
		"who owns other fields only":         {[]string{entry("kubectl", early, hosts)}, "", false, false, ""},
		"the later of two":                   {[]string{entry("argocd-controller", late, http), entry("kubectl", early, http)}, "argocd-controller", true, false, late},
		"we, whoever applied the same":       {[]string{entry("serin", early, http), entry("helm", late, http)}, "", false, true, late},
		"Argo CD before server-side apply":   {[]string{entry("argocd-application-controller", early, http)}, "argocd-application-controller", true, false, early},
		"Flux":                               {[]string{entry("kustomize-controller", early, http)}, "kustomize-controller", true, false, early},
		"Flux with Helm":                     {[]string{entry("helm-controller", early, http)}, "helm-controller", true, false, early},
		"Helm":                               {[]string{entry("Helm", early, http)}, "Helm", true, false, early},
		"flux's own client":                  {[]string{entry("flux", early, http)}, "flux", true, false, early},
		"kubectl apply is in doubt a person": {[]string{entry("kubectl-client-side-apply", early, http)}, "kubectl-client-side-apply", false, false, early},
	} {
		t.Run(name, func(t *testing.T) {
			base := manifests(t)
			from := strings.Index(base, "  - manager: kubectl\n")
			to := strings.Index(base[from:], "spec:\n  hosts") + from
			text := ""
			for _, e := range c.entries {
				text += "  - " + e + "\n"
			}
			o := shop(t, change{base[from:to], text})
			got := Observe(o, canary.State{}).Traffic[o.VirtualServices[0].Key]
			if got.Writer != c.writer || got.GitOps != c.gitOps || got.Owned != c.owned {
				t.Errorf("writer %q, gitops %v, owned %v", got.Writer, got.GitOps, got.Owned)
			}
			if at := got.Changed.Format(time.RFC3339); at != c.changed && !(got.Changed.IsZero() && c.changed == "") {
				t.Errorf("changed at %s, want %s", at, c.changed)
			}
		})
	}
}

func TestFindState(t *testing.T) {
	copyOf := func(change func(*canary.State)) string {
		s := release()
		change(&s)
		text, err := canary.EncodeState(s)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	plain := copyOf(func(*canary.State) {})
	later := copyOf(func(s *canary.State) { s.Sequence, s.Step, s.Weight, s.Phase = 5, 1, 100, canary.Progressing })
	snapped := copyOf(func(s *canary.State) { s.Sequence, s.Phase, s.Reason = 4, canary.RollingBack, canary.NoData })
	reread := copyOf(func(s *canary.State) { s.At, s.Marks = start.Add(time.Hour), []string{"m"} })
	next := copyOf(func(s *canary.State) { s.Rollout, s.Started, s.Sequence = "r2", start.Add(time.Minute), 1 })

	for name, c := range map[string]struct {
		copies      []string
		want        string
		newer, lost bool
	}{
		"there is none":                              {nil, "", false, false},
		"there is one":                               {[]string{plain}, "r1 1 Testing", false, false},
		"the higher sequence wins":                   {[]string{plain, later}, "r1 5 Progressing", false, false},
		"a rollback wins over a higher sequence":     {[]string{later, snapped}, "r1 4 RollingBack", false, false},
		"the later rollout wins":                     {[]string{snapped, next}, "r2 1 Testing", false, false},
		"one unreadable copy is no loss":             {[]string{"{", plain}, "r1 1 Testing", false, false},
		"all are unreadable":                         {[]string{"{", "nonsense"}, "", false, true},
		"one is a newer version's":                   {[]string{plain, `{"v":9}`}, "r1 1 Testing", true, false},
		"the only one is a newer version's":          {[]string{`{"v":9}`}, "", true, false},
		"of the same moment the latest writing says": {[]string{plain, reread}, "r1 1 Testing at +1h0m0s", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := shop(t)
			vs := o.VirtualServices[0]
			o.VirtualServices = nil
			for i, text := range c.copies {
				v := vs
				v.Key.Name, v.Doc = fmt.Sprint("web-", i), route.Clone(vs.Doc)
				object(object(v.Doc, "metadata"), "annotations")["serin.dev/state.web"] = text
				o.VirtualServices = append(o.VirtualServices, v)
			}
			s, newer, lost := mode.FindState(o)
			got := ""
			if s.Rollout != "" {
				got = fmt.Sprintf("%s %d %s", s.Rollout, s.Sequence, s.Phase)
			}
			if s.At.After(start) {
				got += fmt.Sprintf(" at +%s", s.At.Sub(start))
			}
			if got != c.want || newer != c.newer || lost != c.lost || s.Marks != nil {
				t.Errorf("got %q newer %v lost %v marks %v", got, newer, lost, s.Marks)
			}
		})
	}
	t.Run("a copy in another namespace is none", func(t *testing.T) {
		o := shop(t, change{"", "kind: VirtualService\nmetadata: {name: web, namespace: evil, annotations: {serin.dev/state.web: '" + plain + "'}}\nspec:\n  hosts: [x]"})
		if s, newer, lost := mode.FindState(o); s.Rollout != "" || newer || lost {
			t.Error(s, newer, lost)
		}
	})
	t.Run("our header route without any state is a loss", func(t *testing.T) {
		w := newWorld(t)
		w.do("begin", order(release(), canary.Testing, 0, canary.ReleaseStarted))
		delete(object(object(w.o.VirtualServices[0].Doc, "metadata"), "annotations"), "serin.dev/state.web")
		if _, _, lost := mode.FindState(w.o); !lost {
			t.Error("not told")
		}
	})
}

func TestCheckSpec(t *testing.T) {
	tracks := canary.Tracks{Canary: canary.Track{Subset: "v2"}, Stable: canary.Track{Subset: "v1"}}
	spec := canary.Spec{
		Steps:  []canary.Step{{Weight: 5}, {Weight: 100}},
		Header: canary.Header{Name: "x-app-version", Match: canary.MatchExact, Values: []string{"canary"}},
	}
	if found := CheckSpec(shop(t), tracks, spec); len(found) != 0 {
		t.Error(found)
	}
	coarse := shop(t, change{theRoute, "    - destination: {host: web, subset: v1}\n      weight: 4\n    - destination: {host: web, subset: v2}\n      weight: 0\n"})
	found := CheckSpec(coarse, tracks, spec)
	if len(found) != 1 || found[0].Reason != canary.WeightsTooCoarse || !strings.Contains(found[0].Problem, "5%") {
		t.Error(found)
	}
	leaky := shop(t, change{theRoute, "    - destination: {host: web}\n"})
	if found := CheckSpec(leaky, tracks, spec); len(found) != 0 {
		t.Errorf("told twice: %v", found)
	}
	twice := shop(t, change{theRoute, "    - destination: {host: web, subset: v1}\n      weight: 50\n    - destination: {host: web, subset: v1}\n      weight: 50\n"})
	if found := CheckSpec(twice, tracks, spec); len(found) != 1 || found[0].Reason != canary.SubsetAmbiguous || !found[0].Blocking {
		t.Errorf("a subset named twice: %v", found)
	}
	spec.Header.Name, spec.Header.Match, spec.Header.Values = "x-team", canary.MatchRegex, []string{"b.*"}
	asked := shop(t, change{theRoute, "    - destination: {host: web, subset: v1}\n    match:\n    - headers: {x-team: {regex: a.*}}\n"})
	if found := CheckSpec(asked, tracks, spec); len(found) != 1 || found[0].Reason != canary.HeaderUnreachable || found[0].Blocking {
		t.Errorf("a condition on the same header: %v", found)
	}
}

// stepOrder is order for any step.
func stepOrder(s canary.State, step int, why canary.Reason) canary.Plan {
	p := order(s, canary.Progressing, s.Spec.Steps[step-1].Weight, why)
	p.Next.Step = step
	t := canary.TrafficOf(p.Next)
	p.Traffic = &t
	return p
}

func TestCheckSpecOfCopiesAndCookies(t *testing.T) {
	tracks := canary.Tracks{Canary: canary.Track{Subset: "v2"}, Stable: canary.Track{Subset: "v1"}}
	spec := canary.Spec{Steps: []canary.Step{{Mirror: 10}, {Weight: 5}, {Weight: 100}}, Sticky: canary.StickyCookie}
	if found := CheckSpec(shop(t), tracks, spec); len(found) != 0 {
		t.Error(found)
	}
	taken := shop(t, change{theRoute, "    - destination: {host: web, subset: v1}\n      headers: {response: {add: {set-cookie: a=b}}}\n    mirror: {host: audit}\n"})
	found := CheckSpec(taken, tracks, spec)
	if len(found) != 2 || found[0].Reason != canary.MirrorTaken || found[1].Reason != canary.StickyImpossible || !found[0].Blocking || !found[1].Blocking {
		t.Errorf("a mirror and a cookie of the user's: %v", found)
	}
	spec.Steps, spec.Sticky = spec.Steps[1:], ""
	if found := CheckSpec(taken, tracks, spec); len(found) != 0 {
		t.Errorf("nothing of it is asked for: %v", found)
	}
}

// TestCheckSpecOfCopiesAndCookiesAbove has another VirtualService hand over to the one
// that is edited: Istio gives the routes there what its own say.
func TestCheckSpecOfCopiesAndCookiesAbove(t *testing.T) {
	tracks := canary.Tracks{Canary: canary.Track{Subset: "v2"}, Stable: canary.Track{Subset: "v1"}}
	spec := canary.Spec{Steps: []canary.Step{{Mirror: 10}, {Weight: 5}, {Weight: 100}}, Sticky: canary.StickyCookie}
	root := func(namespace, to, more string) change {
		return another("root", namespace, "2026-01-02T00:00:00Z", "  hosts: [shop.example.com]\n  gateways: [public]\n  http:\n  - {delegate: "+to+more+"}\n")
	}
	const (
		web     = "{name: web}"
		copies  = ", mirrors: [{destination: {host: audit}}]"
		beta    = ", match: [{headers: {cookie: {regex: beta=.*}}}]"
		removes = ", headers: {response: {remove: [set-cookie]}}"
	)
	for name, c := range map[string]struct {
		root   change
		fields []string
	}{
		"nothing of it":                {root("shop", web, ", timeout: 3s"), nil},
		"copies":                       {root("shop", web, copies), []string{"spec.http[0].mirrors"}},
		"copies, from another one":     {root("edge", "{name: web, namespace: shop}", copies), []string{"spec.http[0].mirrors"}},
		"of another one with its name": {root("edge", web, copies+beta), nil},
		"a condition on cookies":       {root("shop", web, beta), []string{"spec.http[0].match[0].headers.cookie"}},
		"cookies that are taken away":  {root("shop", web, removes), []string{"spec.http[0].headers.response.remove"}},
	} {
		t.Run(name, func(t *testing.T) {
			var fields []string
			for _, f := range CheckSpec(shop(t, c.root), tracks, spec) {
				if fields = append(fields, f.Field); !f.Blocking || f.Object.Name != "root" {
					t.Errorf("found %+v", f)
				}
			}
			if !slices.Equal(fields, c.fields) {
				t.Errorf("found %q, want %q", fields, c.fields)
			}
		})
	}
}

// TestCopiesOfOthersAreNoFindingOnceOursAreOver has a person add a mirror at a step
// with users: there is nothing left that it is in the way of.
func TestCopiesOfOthersAreNoFindingOnceOursAreOver(t *testing.T) {
	tracks := canary.Tracks{Canary: canary.Track{Subset: "v2"}, Stable: canary.Track{Subset: "v1"}}
	spec := canary.Spec{Steps: []canary.Step{{Mirror: 10, Bake: time.Minute}, {Weight: 5, Bake: time.Minute}, {Weight: 100, Bake: time.Minute}}}
	for step, want := range map[int]int{1: 1, 2: 0} {
		w := newWorld(t)
		s := release()
		s.Spec = spec
		w.do("step", stepOrder(s, step, canary.StepStarted))
		if found := CheckSpec(w.o, tracks, spec); len(found) != 0 {
			t.Errorf("step %d: of our own copies: %v", step, found)
		}
		http := w.o.VirtualServices[0].Doc["spec"].(map[string]any)["http"].([]any)
		http[len(http)-1].(map[string]any)["mirror"] = map[string]any{"host": "audit"}
		if found := CheckSpec(w.o, tracks, spec); len(found) != want {
			t.Errorf("step %d: found %v, want %d", step, found, want)
		}
	}
}

// TestCopiesAreTakenOffAtOnce tells what is urgent: an end to copies, and not the step
// with users that comes after them.
func TestCopiesAreTakenOffAtOnce(t *testing.T) {
	w := newWorld(t)
	rest := route.Clone(w.o.VirtualServices[0].Doc)
	s := release()
	s.Spec.Steps = []canary.Step{{Mirror: 50, Bake: time.Minute}, {Weight: 5, Bake: time.Minute}, {Weight: 100, Bake: time.Minute}}
	copies := stepOrder(s, 1, canary.StepStarted)
	w.do("copies", copies)
	if seen := Observe(w.o, copies.Next).Traffic[w.o.VirtualServices[0].Key]; seen.Mirror != 50 || seen.MirrorLost || seen.Max != 0 {
		t.Errorf("copies read as %+v", seen)
	}
	s = copies.Next
	raise, err := Render(stepOrder(s, 2, canary.StepPassed), w.o, w.now)
	if err != nil || len(raise) != 1 || raise[0].Urgent {
		t.Errorf("a raise: %+v, %v", raise, err)
	}
	back, err := Render(order(s, canary.RollingBack, 0, canary.ErrorRateTooHigh), w.o, w.now)
	if err != nil || len(back) != 1 || !back[0].Urgent {
		t.Errorf("the way back: %+v, %v", back, err)
	}
	w.do("back", order(s, canary.RollingBack, 0, canary.ErrorRateTooHigh))
	done := order(s, canary.RolledBack, 0, canary.RollbackVerified)
	done.Last = true
	w.do("done", done)
	if got := w.o.VirtualServices[0].Doc["spec"]; !route.Equal(got, rest["spec"]) {
		t.Errorf("at rest the routes are %v", got)
	}
}
