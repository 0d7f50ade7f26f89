package controller

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/internal/apiserver"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

// What a raise rests on is more than the one object that it writes.
func TestARaiseAsksForEverythingItWasDecidedUpon(t *testing.T) {
	for name, c := range map[string]struct{ watch, kind, object string }{
		"another VirtualService": {"virtualservices", "VirtualService", "gate"},
		"the canary":             {"deployments", "Deployment", "web-v2"},
		"stable":                 {"deployments", "Deployment", "web-v1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.virtualService("gate", []any{"shop.example"}, []any{"istio-system/gateway"})
				_, stop := w.run()
				defer stop()
				w.deploy("web-v2", "v2", "two", opted)
				w.until(5*time.Minute, "both at 5%", func() bool { return w.weight("web") == 5 && w.weight("gate") == 5 })
				w.api.Hold(c.watch, true)
				w.api.Edit(c.kind, "shop", c.object, func(o map[string]any) { apiserver.Meta(o)["labels"] = map[string]any{"seen": "no"} })
				pass(10 * time.Minute)
				if web, gate := w.weight("web"), w.weight("gate"); web != 5 || gate != 5 {
					t.Errorf("it raised to %d%% and %d%% though it had not seen what %s is now", web, gate, c.object)
				}
				w.api.Hold(c.watch, false)
				w.until(10*time.Minute, "promoted", func() bool { return w.weight("web") == 100 && w.weight("gate") == 100 })
			})
		})
	}
}

func TestNobodyIsToldOfASnapThatDidNotComeThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var down atomic.Bool
		w.api.Fault = func(r *http.Request) error {
			if down.Load() && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/virtualservices/") {
				return errors.New("failed calling webhook")
			}
			return nil
		}
		_, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(5*time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
		down.Store(true)
		w.annotate("web-v2", "serin.dev/command", "abort")
		pass(5 * time.Minute)
		if got := w.reasons(); slices.Contains(got, "AbortedByCommand") {
			t.Errorf("told %v though the canary has its users still", got)
		}
		down.Store(false)
		w.until(time.Minute, "told", func() bool { return slices.Contains(w.reasons(), "AbortedByCommand") })
		if got := w.weight("web"); got != 0 {
			t.Errorf("told though the canary has %d%%", got)
		}
	})
}

// Whether a template was tried before is read from the history alone.
func TestAReleaseDoesNotEndBeforeItIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var down atomic.Bool
		down.Store(true)
		w.api.Fault = func(r *http.Request) error {
			if down.Load() && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/controllerrevisions") {
				return errors.New("the quota is exhausted")
			}
			return nil
		}
		_, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(10*time.Minute, "at 100%", func() bool { return w.weight("web") == 100 })
		pass(time.Hour)
		vs := w.api.Read("VirtualService", "shop", "web")
		if state := apiserver.StringMap(apiserver.Meta(vs)["annotations"])["serin.dev/state.web"]; !strings.Contains(state, `"phase":"Progressing"`) {
			t.Errorf("it has ended, and nobody will know: %s", state)
		}
		down.Store(false)
		w.until(time.Minute, "kept", func() bool { return len(w.api.All("ControllerRevision")) == 1 })
	})
}

func TestEveryWriteCarriesOurName(t *testing.T) {
	for _, verb := range []mode.Verb{mode.Create, mode.Update, mode.Patch} {
		t.Run(string(verb), func(t *testing.T) {
			var manager string
			way := answering(func(r *http.Request) (*http.Response, error) {
				manager = r.URL.Query().Get("fieldManager")
				return apiserver.Answer(http.StatusOK, map[string]any{})
			})
			w := emptyWorld(t)
			if err := w.controller(way, nil).write(t.Context(), mode.Write{Verb: verb, Key: objectKey("VirtualService", "web"), Body: []byte(`{}`)}); err != nil {
				t.Fatal(err)
			}
			if manager != mode.FieldManager {
				t.Errorf("its manager is %q", manager)
			}
		})
	}
}

// The informer here never sees anything: what the next pass knows is what the
// writes taught.
func TestEachWriteTeachesTheNextPass(t *testing.T) {
	web, key := cluster.Key{Namespace: "shop", Name: "web"}, objectKey("VirtualService", "web-serin")
	w := emptyWorld(t)
	c := w.controller(w.api, nil)
	read := func(version string) []topology.VirtualService {
		if version == "" {
			return nil
		}
		return []topology.VirtualService{{Key: key, ResourceVersion: version}}
	}
	known := func(version string) string {
		all := c.own.overlay(web, read(version))
		if len(all) == 0 {
			return ""
		}
		return all[0].ResourceVersion
	}
	body := ofOurs(t, "VirtualService", key.Name, map[string]any{"hosts": []any{"web"}})
	if err := c.write(t.Context(), mode.Write{Verb: mode.Create, Key: key, Body: body}); err != nil {
		t.Fatal(err)
	}
	first := w.version("VirtualService", key.Name)
	if got := known(""); got != first {
		t.Errorf("after it was made it is %q, want %q", got, first)
	}
	w.api.Edit("VirtualService", "shop", key.Name, func(o map[string]any) { apiserver.Meta(o)["labels"].(map[string]any)["by"] = "hand" })
	stale := mode.Write{Verb: mode.Delete, Key: key, ResourceVersion: first}
	if err := c.write(t.Context(), stale); err == nil {
		t.Fatal("what a hand had changed was removed")
	}
	second := w.version("VirtualService", key.Name)
	if got := known(first); got != second {
		t.Errorf("after a conflict it is %q, want %q", got, second)
	}
	if err := c.write(t.Context(), mode.Write{Verb: mode.Delete, Key: key, ResourceVersion: second}); err != nil {
		t.Fatal(err)
	}
	if got := known(second); got != "" {
		t.Errorf("after it was removed it is %q", got)
	}
}
