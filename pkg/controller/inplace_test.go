package controller

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"serin.dev/serin/internal/apiserver"
)

// A shop with one Deployment, four pods, a VirtualService of a gateway that names
// no subset, and the guard.
func newShop(t *testing.T, notes map[string]any) *world {
	w := emptyWorld(t)
	w.inPlace = true
	for _, kind := range []string{"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"} {
		w.api.Put(map[string]any{"kind": kind, "apiVersion": apiserver.APIVersions[kind], "metadata": map[string]any{"name": "serin-in-place"}, "spec": map[string]any{"policyName": "serin-in-place"}})
	}
	w.api.Put(map[string]any{
		"kind": "VirtualService", "apiVersion": apiserver.APIVersions["VirtualService"], "metadata": map[string]any{"namespace": "shop", "name": "web", "annotations": map[string]any{"team": "shop"}},
		"spec": map[string]any{"hosts": []any{"shop.example"}, "gateways": []any{"istio-system/gateway"}, "http": []any{map[string]any{
			"timeout": "10s", "route": []any{map[string]any{"destination": map[string]any{"host": "web"}}}}}},
	})
	w.api.Manage(w.t.Context())
	w.single(4, notes)
	return w
}

// theirs is what belongs to users, as they would see it: a pause of false is none.
func (w *world) theirs() string {
	d := w.api.Read("Deployment", "shop", "web")
	spec, _ := d["spec"].(map[string]any)
	if spec["paused"] == false {
		delete(spec, "paused")
	}
	notes := apiserver.StringMap(apiserver.Meta(d)["annotations"])
	delete(notes, apiserver.RevisionKey)
	all := map[string]any{"spec": spec, "annotations": notes, "labels": apiserver.Meta(d)["labels"]}
	for _, v := range w.api.All("VirtualService") {
		name, _ := apiserver.Meta(v)["name"].(string)
		all["VirtualService "+name] = map[string]any{"spec": v["spec"], "annotations": apiserver.Meta(v)["annotations"], "labels": apiserver.Meta(v)["labels"]}
	}
	for _, r := range w.api.All("DestinationRule") {
		name, _ := apiserver.Meta(r)["name"].(string)
		all["DestinationRule "+name] = r["spec"]
	}
	return text(w.t, all)
}

// destinations are where users are sent: each place of a route with a weight.
func (w *world) destinations() (all []map[string]any) {
	for _, v := range w.api.All("VirtualService") {
		http, _, _ := unstructured.NestedSlice(v, "spec", "http")
		for _, r := range http {
			route, _ := r.(map[string]any)["route"].([]any)
			for _, d := range route {
				tree, _ := d.(map[string]any)
				if weight, weighted := tree["weight"].(float64); weight > 0 || !weighted {
					all = append(all, tree)
				}
			}
		}
	}
	return all
}

// share is the highest one that some route gives the canary.
func (w *world) share() (most int) {
	for _, d := range w.destinations() {
		if subset, _, _ := unstructured.NestedString(d, "destination", "subset"); subset == "serin-canary" {
			weight, weighted := d["weight"].(float64)
			if !weighted { // the header route, which is QA's
				continue
			}
			most = max(most, int(weight))
		}
	}
	return most
}

// readyPods are how many pods there are that labels select, ready and not going.
func (w *world) readyPods(selector map[string]string) (n int) {
	w.api.Each("Pod", func(o map[string]any) {
		if apiserver.Meta(o)["deletionTimestamp"] != nil || !labels.SelectorFromSet(selector).Matches(labels.Set(apiserver.StringMap(apiserver.Meta(o)["labels"]))) {
			return
		}
		conditions, _, _ := unstructured.NestedSlice(o, "status", "conditions")
		if slices.ContainsFunc(conditions, func(c any) bool { return c.(map[string]any)["status"] == "True" }) {
			n++
		}
	})
	return n
}

// check finds users that are sent where nobody answers, or unseen to the canary.
func (w *world) check() {
	w.t.Helper()
	rule := w.api.Read("DestinationRule", "shop", "web-serin")
	subsets, _, _ := unstructured.NestedSlice(rule, "spec", "subsets")
	for _, d := range w.destinations() {
		weight, weighted := d["weight"].(float64)
		name, _, _ := unstructured.NestedString(d, "destination", "subset")
		if name == "" {
			if n := w.readyPods(map[string]string{"app": "web", "serin.dev/track": "canary"}); n > 0 {
				w.t.Errorf("%s: users are sent to any pod, and %d of them are the canary's", time.Now().Format(time.TimeOnly), n)
			}
			continue
		}
		if !weighted && name == "serin-canary" {
			continue
		}
		i := slices.IndexFunc(subsets, func(s any) bool { return s.(map[string]any)["name"] == name })
		if i < 0 {
			w.t.Errorf("%s: %v%% of the users are sent to subset %s, which does not exist", time.Now().Format(time.TimeOnly), weight, name)
			continue
		}
		selector := apiserver.StringMap(subsets[i].(map[string]any)["labels"])
		selector["app"] = "web"
		if w.readyPods(selector) == 0 {
			w.t.Errorf("%s: %v%% of the users are sent to subset %s, which has no ready pod", time.Now().Format(time.TimeOnly), weight, name)
		}
	}
}

// checked looks at the routes after every write.
type checked struct {
	http.RoundTripper
	w *world
}

func (c checked) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.RoundTripper.RoundTrip(r)
	if isWrite(r) {
		c.w.check()
	}
	return response, err
}

// play lets a release go on until f holds, looks at the routes every second, and
// gives the shares the canary had.
func (w *world) play(limit time.Duration, what string, f func() bool) (shares []int) {
	w.t.Helper()
	w.until(limit, what, func() bool {
		w.check()
		if n := w.share(); len(shares) == 0 || shares[len(shares)-1] != n {
			shares = append(shares, n)
		}
		return f()
	})
	return shares
}

// atRest tells that nothing of a release is left.
func (w *world) atRest() bool {
	return len(w.api.All("Deployment")) == 1 && len(w.api.All("DestinationRule")) == 0 && len(w.api.All("VirtualService")) == 1 &&
		w.readyPods(map[string]string{"serin.dev/track": "canary"}) == 0 &&
		len(apiserver.StringMap(apiserver.Meta(w.api.Read("VirtualService", "shop", "web"))["annotations"])) == 1
}

func TestAReleaseInPlaceGivesEverythingBackAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, opted)
		c, end := w.runOver(checked{w.api, w}, nil)
		pass(time.Minute)
		if len(w.api.Writes()) > 0 {
			t.Errorf("at rest it wrote %v", w.api.Writes())
		}
		before := strings.ReplaceAll(w.theirs(), `"one"`, `"two"`)
		w.setImage("two")
		shares := w.play(15*time.Minute, "promoted and at rest", func() bool { return phase(c) == "Succeeded" && w.atRest() })
		if want := []int{0, 5, 25, 100, 0}; !slices.Equal(shares, want) {
			t.Errorf("the canary had %v percent, want %v", shares, want)
		}
		if got := w.theirs(); got != before {
			t.Errorf("users find\n%s\nwant\n%s", got, before)
		}
		if got := w.images(); len(got) != 1 || got["two"] != 4 {
			t.Errorf("at the end run %v", got)
		}
		if n := len(w.api.All("ControllerRevision")); n != 1 {
			t.Errorf("%d releases are kept, want 1", n)
		}
		w.quiet()
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// quiet finds writes in an idle hour.
func (w *world) quiet() {
	w.t.Helper()
	synctest.Wait()
	writes := len(w.api.Writes())
	pass(time.Hour)
	if more := w.api.Writes()[writes:]; len(more) > 0 {
		w.t.Errorf("in an idle hour it wrote %v", more)
	}
}

func TestARollbackInPlaceLeavesTheTemplateAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, opted)
		c, end := w.runOver(checked{w.api, w}, nil)
		pass(time.Minute)
		before := w.theirs()
		w.mesh.setErrors(0.5)
		w.setImage("two")
		shares := w.play(15*time.Minute, "rolled back and at rest", func() bool { return phase(c) == "RolledBack" && w.atRest() })
		if want := []int{0, 5, 0}; !slices.Equal(shares, want) {
			t.Errorf("the canary had %v percent, want %v", shares, want)
		}
		if got := w.images(); len(got) != 1 || got["one"] != 4 {
			t.Errorf("at the end run %v", got)
		}
		w.mesh.setErrors(0)
		w.quiet()
		w.setImage("one")
		w.play(time.Minute, "let go", func() bool { return w.theirs() == before })
		w.quiet()
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// slow is by how much the race detector slows the tests down, and by how much
// fewer cases are tried under it: those without it try all.
var slow = 1

// A crash at any write of a release in place, with or without that write done:
// whoever comes next ends it, and users were always sent to pods that answer.
func TestACrashAtAnyWriteInPlaceOnlyContinues(t *testing.T) {
	for _, rate := range []float64{0, 0.5} {
		writes := cleanRun(t, rate)
		for k := 1; k <= writes; k += slow {
			for _, done := range []bool{true, false} {
				t.Run(fmt.Sprintf("%v errors, write %d, done %v", rate, k, done), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { crashInPlace(t, rate, k, done) })
				})
			}
		}
	}
}

// ends is the phase in which a release ends by its rate of errors.
func ends(rate float64) (string, string) {
	if rate > 0 {
		return "RolledBack", "one"
	}
	return "Succeeded", "two"
}

// cleanRun counts the writes of a release that nothing disturbs.
func cleanRun(t *testing.T, rate float64) (writes int) {
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, opted)
		way := &mortal{api: w.api, last: 1 << 30}
		c, end := w.runOver(way, nil)
		w.mesh.setErrors(rate)
		w.setImage("two")
		want, _ := ends(rate)
		w.play(15*time.Minute, "at rest", func() bool { return phase(c) == want && w.atRest() })
		if err := end(); err != nil {
			t.Error(err)
		}
		writes = way.count
	})
	t.Logf("with %v errors a release in place is %d writes", rate, writes)
	return writes
}

func crashInPlace(t *testing.T, rate float64, k int, done bool) {
	w := newShop(t, opted)
	way := &mortal{api: w.api, last: k, done: done}
	first, end := w.runOver(way, nil)
	w.mesh.setErrors(rate)
	w.setImage("two")
	want, image := ends(rate)
	w.play(15*time.Minute, "crashed, or at its end by fewer writes", func() bool {
		way.mu.Lock()
		defer way.mu.Unlock()
		return way.count >= k || phase(first) == want && w.atRest()
	})
	pass(20 * time.Second)
	w.check()
	if err := end(); err != nil {
		t.Error(err)
	}
	c, stop := w.run()
	defer stop()
	w.play(15*time.Minute, "at rest after a crash", func() bool { return phase(c) == want && w.atRest() })
	if got := w.images(); len(got) != 1 || got[image] != 4 {
		t.Errorf("at the end run %v", got)
	}
	if n := len(w.api.All("ControllerRevision")); n != 1 {
		t.Errorf("%d releases are kept, want 1", n)
	}
}

// A write whose answer is lost, or that finds the object changed by somebody else,
// neither ends a release nor repeats any of it.
func TestAFaultAtAnyWriteInPlaceChangesNothing(t *testing.T) {
	for _, rate := range []float64{0, 0.5} {
		writes := cleanRun(t, rate)
		for k := 1; k <= writes; k += slow {
			for name, fault := range map[string]func(*faulty, *http.Request) (*http.Response, error){"lost": lost, "conflict": conflict} {
				t.Run(fmt.Sprintf("%v errors, write %d, %s", rate, k, name), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newShop(t, opted)
						way := &faulty{api: w.api, at: k, fault: fault}
						c, end := w.runOver(way, nil)
						w.mesh.setErrors(rate)
						w.setImage("two")
						want, image := ends(rate)
						shares := w.play(15*time.Minute, "at rest", func() bool { return phase(c) == want && w.atRest() })
						if most := slices.Max(shares); rate > 0 && most != 5 || rate == 0 && !slices.Equal(shares, []int{0, 5, 25, 100, 0}) {
							t.Errorf("the canary had %v percent", shares)
						}
						if got := w.images(); len(got) != 1 || got[image] != 4 {
							t.Errorf("at the end run %v", got)
						}
						if err := end(); err != nil {
							t.Error(err)
						}
					})
				})
			}
		}
	}
}

// faulty is the way to the API server on which one write meets a fault.
type faulty struct {
	api   *apiserver.Server
	at    int
	fault func(*faulty, *http.Request) (*http.Response, error)

	mu    sync.Mutex
	count int
}

func (f *faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	if isWrite(r) {
		f.count++
	}
	now := isWrite(r) && f.count == f.at
	f.mu.Unlock()
	if now {
		return f.fault(f, r)
	}
	return f.api.RoundTrip(r)
}

// lost is a write that is done and whose answer never comes.
func lost(f *faulty, r *http.Request) (*http.Response, error) {
	response, err := f.api.RoundTrip(r)
	if err == nil {
		err = response.Body.Close()
	}
	return nil, errors.Join(err, io.ErrUnexpectedEOF)
}

// conflict is a write just before which somebody else changes the object.
func conflict(f *faulty, r *http.Request) (*http.Response, error) {
	f.api.EditAt(r.URL.Path, func(o map[string]any) {
		labels := map[string]any{}
		for k, v := range apiserver.StringMap(apiserver.Meta(o)["labels"]) {
			labels[k] = v
		}
		labels["touched"] = "yes"
		apiserver.Meta(o)["labels"] = labels
	})
	return f.api.RoundTrip(r)
}

func TestWhatPeopleDoInMidReleaseEndsCleanly(t *testing.T) {
	for name, c := range map[string]struct {
		do     func(w *world)
		image  string // of all pods at the end
		paused bool
	}{
		"opted out: a plain update":                {func(w *world) { w.annotate("web", "serin.dev/canary", "") }, "two", false},
		"resumed by hand: a plain update":          {func(w *world) { w.set("paused", false) }, "two", false},
		"the old template again: nothing to do":    {func(w *world) { w.setImage("one") }, "one", false},
		"another template: that one is released":   {func(w *world) { w.setImage("three") }, "three", false},
		"aborted: it waits with its template":      {func(w *world) { w.annotate("web", "serin.dev/command", "abort") }, "one", true},
		"scaled: the release goes on":              {func(w *world) { w.set("replicas", 8) }, "two", false},
		"Serin's rule deleted: it comes back":      {func(w *world) { w.api.Delete("DestinationRule", "shop", "web-serin") }, "two", false},
		"Serin's canary deleted: users go back":    {func(w *world) { w.api.Delete("Deployment", "shop", "web-canary") }, "one", true},
		"Serin's mesh routes deleted: they do too": {func(w *world) { w.api.Delete("VirtualService", "shop", "web-serin") }, "two", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newShop(t, opted)
				_, stop := w.run()
				defer stop()
				w.setImage("two")
				w.play(5*time.Minute, "at 25%", func() bool { return w.share() == 25 })
				c.do(w)
				w.until(20*time.Minute, "at rest", func() bool { return w.atRest() && (w.images()[c.image] > 0 && len(w.images()) == 1) })
				pass(time.Minute)
				d := w.api.Read("Deployment", "shop", "web")
				if paused := d["spec"].(map[string]any)["paused"] == true; paused != c.paused || !w.atRest() {
					t.Errorf("at the end it is paused: %v, %v", paused, w.reasons())
				}
				w.quiet()
			})
		})
	}
}

func TestADeletedDeploymentLeavesNothingOfItsReleaseBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, opted)
		_, stop := w.run()
		defer stop()
		before := text(t, w.api.Read("VirtualService", "shop", "web")["spec"])
		w.setImage("two")
		w.play(5*time.Minute, "at 25%", func() bool { return w.share() == 25 })
		w.api.Delete("Deployment", "shop", "web")
		w.until(15*time.Minute, "cleaned", func() bool {
			return len(w.api.All("Deployment"))+len(w.api.All("DestinationRule"))+len(w.api.All("Pod")) == 0 && len(w.api.All("VirtualService")) == 1
		})
		pass(time.Minute)
		after := w.api.Read("VirtualService", "shop", "web")
		if got := text(t, after["spec"]); got != before || len(apiserver.StringMap(apiserver.Meta(after)["annotations"])) != 1 {
			t.Errorf("users find\n%s %v\nwant\n%s", got, apiserver.Meta(after)["annotations"], before)
		}
		w.quiet()
	})
}
