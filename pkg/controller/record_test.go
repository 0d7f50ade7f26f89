package controller

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"serin.dev/serin/internal/apiserver"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/history"
)

// The watches stand still just when a release ends: each pass finds that the end
// was not recorded, as far as it can see, and must not write it again and again.
func TestAnEndThatTheInformersMissedIsRecordedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, opted)
		c, stop := w.run()
		defer stop()
		w.setImage("two")
		w.until(10*time.Minute, "on its way to the end", func() bool { return phase(c) == "Finishing" })
		w.api.Hold("controllerrevisions", true)
		pass(2 * time.Minute)
		w.api.Hold("controllerrevisions", false)
		w.until(time.Minute, "at rest", w.atRest)
		writes := 0
		for _, call := range w.api.Writes() {
			if strings.Contains(call, "controllerrevisions") {
				writes++
			}
		}
		if writes != 3 {
			t.Errorf("the beginning, the images and the end were written by %d requests", writes)
		}
	})
}

// The one write that ends a release by opting out may be the last of its process:
// the release is kept all the same.
func TestAReleaseThatIsOptedOutIsKeptThoughTheProcessEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		way := &mortal{api: w.api, last: 1 << 30}
		_, end := w.runOver(way, nil)
		w.deploy("web-v2", "v2", "two", opted)
		w.until(2*time.Minute, "at 25%", func() bool { return w.weight("web") == 25 })
		way.mu.Lock()
		way.last, way.done = way.count+1, true
		way.mu.Unlock()
		w.annotate("web-v2", "serin.dev/canary", "")
		pass(time.Minute)
		if err := end(); err != nil {
			t.Error(err)
		}
		_, stop := w.run()
		defer stop()
		w.until(time.Minute, "kept, and nothing of it is left on the routes", func() bool {
			vs := w.api.Read("VirtualService", "shop", "web")
			notes, _ := vs["metadata"].(map[string]any)["annotations"].(map[string]any)
			return len(w.api.All("ControllerRevision")) == 1 && len(notes) == 0 && w.weight("web") == 0
		})
	})
}

// held is the record of the only release, as the API server has it.
func held(t *testing.T, w *world) *appsv1.ControllerRevision {
	t.Helper()
	all := w.api.All("ControllerRevision")
	if len(all) != 1 {
		t.Fatalf("there are %d records", len(all))
	}
	text, err := json.Marshal(all[0])
	if err != nil {
		t.Fatal(err)
	}
	var r appsv1.ControllerRevision
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func (w *world) config(value string) {
	w.api.Put(map[string]any{
		"kind": "ConfigMap", "apiVersion": "v1", "metadata": map[string]any{"namespace": "shop", "name": "settings"}, "data": map[string]any{"greeting": value},
	})
}

// refer has the pods of a Deployment take their environment from a ConfigMap, a
// second one that is not there, and a Secret.
func (w *world) refer(name string) {
	w.api.Edit("Deployment", "shop", name, func(o map[string]any) {
		pod := o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
		pod["containers"].([]any)[0].(map[string]any)["envFrom"] = []any{
			map[string]any{"configMapRef": map[string]any{"name": "settings"}}, map[string]any{"configMapRef": map[string]any{"name": "missing", "optional": true}},
			map[string]any{"secretRef": map[string]any{"name": "key"}},
		}
	})
}

func TestABeginningIsRecordedWithWhatWasThereBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		w.config("hello")
		w.deploy("web-v2", "v2", "two", opted)
		w.refer("web-v2")
		untouched, _ := json.Marshal(w.api.Read("VirtualService", "shop", "web")["spec"])
		w.until(2*time.Minute, "recorded", func() bool { return len(w.api.All("ControllerRevision")) == 1 })
		r := held(t, w)
		before, stable, err := history.Snapshot(r)
		if err != nil || !history.UnderWay(r) || phase(c) == "Succeeded" {
			t.Fatalf("%v: %s", err, r.Annotations)
		}
		if len(before.Routes) != 1 || string(before.Routes[0].Spec) != string(untouched) {
			t.Errorf("the route is kept as %s, and was %s", before.Routes, untouched)
		}
		if len(before.Rules) != 1 || !strings.Contains(string(before.Rules[0].Spec), `"v2"`) || stable.Deployment != "web-v1" {
			t.Errorf("kept are the rules %s, and stable %+v", before.Rules, stable)
		}
		if !strings.Contains(string(before.Template), `two"`) || !strings.Contains(string(before.StableTemplate), `one"`) {
			t.Errorf("kept are the templates %s, %s", before.Template, before.StableTemplate)
		}
		want := []history.Config{{Name: "missing", Absent: true}, {Name: "settings", Hash: history.HashConfig(&corev1.ConfigMap{Data: map[string]string{"greeting": "hello"}})}}
		if !slices.Equal(before.Config, want) || !slices.Equal(before.Secrets, []string{"key"}) || len(before.Lacks) != 0 {
			t.Errorf("kept are %+v, %v; lacking is %q", before.Config, before.Secrets, before.Lacks)
		}
		w.until(10*time.Minute, "promoted", func() bool { return phase(c) == "Succeeded" })
		end, err := history.Release(held(t, w))
		if err != nil || end.Outcome != "Succeeded" || len(end.Legs) == 0 {
			t.Errorf("the end is %+v, %v", end, err)
		}
	})
}

func TestABeginningInPlaceIsRecordedWithBothTemplates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, opted)
		c, stop := w.run()
		defer stop()
		w.setImage("two")
		w.until(10*time.Minute, "promoted", func() bool { return phase(c) == "Succeeded" && w.updated() })
		r := held(t, w)
		before, stable, err := history.Snapshot(r)
		if err != nil || len(before.Lacks) != 0 || len(before.Rules) != 0 || len(before.Routes) != 1 {
			t.Fatalf("%v, %+v", err, before)
		}
		_, now, _ := cluster.TemplateHash(before.Template)
		_, then, _ := cluster.TemplateHash(before.StableTemplate)
		end, err := history.Release(r)
		if err != nil || now != end.Canary.Template || then != stable.Template || now == then {
			t.Errorf("kept are the templates %s and %s of %+v, %+v, %v", now, then, end.Canary, stable, err)
		}
	})
}

// What can't be recorded at the beginning fails and delays nothing, and is told once
// there is an end.
func TestAReleaseGoesOnThoughItsBeginningIsNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.api.Fault = func(r *http.Request) error {
			if r.Method == http.MethodPost && strings.Contains(r.URL.Path, "controllerrevisions") && w.weight("web") < 100 {
				return errors.New("the API server is busy")
			}
			return nil
		}
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(10*time.Minute, "promoted", func() bool { return phase(c) == "Succeeded" })
		r := held(t, w)
		if end, err := history.Release(r); err != nil || end.Outcome != "Succeeded" {
			t.Errorf("%+v, %v", end, err)
		}
		if before, _, err := history.Snapshot(r); err != nil || len(before.Routes) != 1 {
			t.Errorf("it was tried again, and what was there before is kept as %+v, %v", before, err)
		}
	})
}

// The first write was the last of its process: the next one records what it knows.
func TestABeginningThatACrashCutOffIsRecordedWithoutRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, end := w.runOver(&mortal{api: w.api, last: 1, done: true}, nil)
		w.deploy("web-v2", "v2", "two", opted)
		pass(time.Minute)
		if err := end(); err != nil {
			t.Error(err)
		}
		_, stop := w.run()
		defer stop()
		w.until(time.Minute, "recorded", func() bool { return len(w.api.All("ControllerRevision")) == 1 })
		before, _, err := history.Snapshot(held(t, w))
		if err != nil || len(before.Routes) != 0 || len(before.Template) == 0 || len(before.Lacks) != 1 || !strings.Contains(before.Lacks[0], "restarted") {
			t.Errorf("kept is %+v, %v", before, err)
		}
	})
}

func TestWithoutTheRightToReadConfigMapsTheirNamesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		asked := 0
		way := transport(func(r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, "configmaps") {
				asked++
				return apiserver.Refuse(403, "Forbidden", "configmaps is forbidden")
			}
			return w.api.RoundTrip(r)
		})
		_, end := w.runOver(way, nil)
		w.deploy("web-v2", "v2", "two", opted)
		w.refer("web-v2")
		w.until(2*time.Minute, "recorded", func() bool { return len(w.api.All("ControllerRevision")) == 1 })
		before, _, err := history.Snapshot(held(t, w))
		if err != nil || !slices.Equal(before.Config, []history.Config{{Name: "missing"}, {Name: "settings"}}) || asked != 1 {
			t.Errorf("%+v, %v, after %d questions", before.Config, err, asked)
		}
		if len(before.Lacks) != 1 || !strings.HasPrefix(before.Lacks[0], "of ConfigMaps only the names are kept: ") {
			t.Errorf("lacking is %q", before.Lacks)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// A replica that comes to lead has read the record of a release, and not yet the
// VirtualService that was made, or written, for it.
func TestAReleaseIsNotLostForAnInformerThatIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(5*time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
		stop()
		nothing, asked := apiserver.New(), atomic.Bool{}
		_, end := w.runOver(transport(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/apis/networking.istio.io/v1/virtualservices" {
				return nothing.RoundTrip(r)
			}
			if r.URL.Path == "/apis/networking.istio.io/v1/namespaces/shop/virtualservices" {
				asked.Store(true)
			}
			return w.api.RoundTrip(r)
		}), nil)
		pass(2 * time.Minute)
		if !history.UnderWay(held(t, w)) || !asked.Load() || slices.Contains(w.reasons(), "StateLost") {
			t.Errorf("under way: %v, asked: %v, told %v", history.UnderWay(held(t, w)), asked.Load(), w.reasons())
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// Somebody replaces the only VirtualService in mid-release, and with it the state: the
// template was tried, and does not begin anew.
func TestAReleaseWhoseRouteIsReplacedDoesNotBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(5*time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
		w.api.Delete("VirtualService", "shop", "web")
		w.virtualService("web", []any{"web"}, nil)
		w.until(time.Minute, "told", func() bool { return slices.Contains(w.reasons(), "StateLost") })
		pass(10 * time.Minute)
		end, err := history.Release(held(t, w))
		if err != nil || end.Outcome != "RolledBack" || end.Reason != "StateLost" {
			t.Errorf("it is recorded as %+v, %v", end, err)
		}
		if w.weight("web") != 0 || phase(c) != "Idle" {
			t.Errorf("the canary has %d%%, and the release is %s", w.weight("web"), phase(c))
		}
		w.annotate("web-v2", "serin.dev/command", "retry#1")
		w.until(5*time.Minute, "at 5% again", func() bool { return w.weight("web") == 5 })
	})
}

// A record is an object that others can write too: one that somebody spoilt must not
// keep the next release from beginning.
func TestARecordThatSomebodySpoiltIsWrittenAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(10*time.Minute, "it has users", func() bool { return w.weight("web") > 0 })
		w.mesh.setErrors(1)
		w.until(10*time.Minute, "rolled back", func() bool { return phase(c) == "RolledBack" })
		w.mesh.setErrors(0)
		w.api.Edit("ControllerRevision", "shop", held(t, w).Name, func(o map[string]any) {
			notes := o["metadata"].(map[string]any)["annotations"].(map[string]any)
			notes["serin.dev/weight"], notes["serin.dev/handled"], notes["serin.dev/approvals"] = "many", "no id", "{"
		})
		pass(time.Minute)
		w.deploy("web-v2", "v2", "three", opted)
		w.until(10*time.Minute, "the next release has users", func() bool { return w.weight("web") > 0 })
	})
}
