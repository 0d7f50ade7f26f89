package controller

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"serin.dev/serin/internal/apiserver"
	"serin.dev/serin/pkg/mode"
)

func (w *world) annotate(deployment, key, value string) {
	w.api.Edit("Deployment", "shop", deployment, func(o map[string]any) {
		notes := apiserver.Meta(o)["annotations"].(map[string]any)
		if value == "" {
			delete(notes, key)
			return
		}
		notes[key] = value
	})
}

func TestAnAbortTakesTheTrafficAwayAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(5*time.Minute, "at 25%", func() bool { return w.weight("web") == 25 })
		w.annotate("web-v2", "serin.dev/command", "abort")
		synctest.Wait()
		if got := w.weight("web"); got != 0 {
			t.Errorf("after an abort the canary has %d%% at the next instant, want 0%%", got)
		}
		w.until(5*time.Minute, "rolled back", func() bool { return phase(c) == "RolledBack" })
	})
}

func TestMistakesInTheAnnotationsAreToldAtOnceAndMoveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", map[string]any{
			"serin.dev/canary": "true", "serin.dev/stepps": "5%", "serin.dev/bake": "soon"})
		pass(10 * time.Minute)
		if got := phase(c); got != "Blocked" {
			t.Errorf("the release is %s, want Blocked", got)
		}
		events := w.api.All("Event")
		if len(events) != 1 {
			t.Fatalf("told %v, want one Event", w.reasons())
		}
		note, _ := events[0]["note"].(string)
		for _, part := range []string{`did you mean "steps"`, "serin.dev/bake"} {
			if !strings.Contains(note, part) {
				t.Errorf("the Event does not speak of %s: %s", part, note)
			}
		}
		if name, _, _ := unstructured.NestedString(events[0], "regarding", "name"); name != "web-v2" {
			t.Errorf("the Event is on %q, want the Deployment", name)
		}
	})
}

func TestADeletedDeploymentGivesTheTrafficBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(5*time.Minute, "at 25%", func() bool { return w.weight("web") == 25 })
		w.api.Delete("Deployment", "shop", "web-v2")
		synctest.Wait()
		if got := w.weight("web"); got != 0 {
			t.Errorf("the canary that is gone has %d%%", got)
		}
	})
}

func TestAnAPIServerThatIsAwayForTenMinutesSkipsNoStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		way := &link{api: w.api}
		c, end := w.runOver(way, nil)
		w.deploy("web-v2", "v2", "two", opted)
		w.until(5*time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
		way.cut.Store(true)
		pass(10 * time.Minute)
		if got := w.weight("web"); got != 5 {
			t.Fatalf("the canary has %d%% though no write could come through", got)
		}
		way.cut.Store(false)
		w.until(30*time.Second, "going on", func() bool { return w.weight("web") > 5 })
		if got := w.weight("web"); got != 25 {
			t.Errorf("it went on at %d%%, want 25%%", got)
		}
		w.until(5*time.Minute, "promoted", func() bool { return phase(c) == "Succeeded" })
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// The bake is taken from Prometheus again after a restart: nothing is passed
// early, and nothing begins anew.
func TestARestartNeitherShortensNorRepeatsTheBake(t *testing.T) {
	took := func(restarts int) (d time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			notes := map[string]any{"serin.dev/canary": "true", "serin.dev/steps": "5%, 100%", "serin.dev/bake": "5m"}
			_, stop := w.run()
			w.deploy("web-v2", "v2", "two", notes)
			w.until(time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
			began := time.Now()
			for range restarts {
				pass(50 * time.Second)
				stop()
				_, stop = w.run()
			}
			w.until(20*time.Minute, "at 100%", func() bool { return w.weight("web") == 100 })
			d = time.Since(began)
			stop()
		})
		return d
	}
	undisturbed := took(0)
	if undisturbed < 5*time.Minute {
		t.Errorf("the step took %s, less than its bake of 5m", undisturbed)
	}
	if disturbed := took(4); disturbed < undisturbed-interval || disturbed > undisturbed+2*interval {
		t.Errorf("with four restarts the step took %s, without %s", disturbed, undisturbed)
	}
}

func TestRaisesGoOneAfterTheOtherAndSnapsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.virtualService("gate", []any{"shop.example"}, []any{"istio-system/gateway"})
		var together gauge
		w.api.Fault = func(r *http.Request) error {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/virtualservices/") {
				together.add(1)
				pass(100 * time.Millisecond)
				together.add(-1)
			}
			return nil
		}
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(5*time.Minute, "both at 25%", func() bool { return w.weight("web") == 25 && w.weight("gate") == 25 })
		raises := together.reset()
		w.mesh.setErrors(0.5)
		w.until(time.Minute, "rolled back", func() bool { return w.weight("web") == 0 && w.weight("gate") == 0 })
		w.until(5*time.Minute, "at rest", func() bool { return phase(c) == "RolledBack" })
		if snaps := together.reset(); raises != 1 || snaps != 2 {
			t.Errorf("at most %d raises and %d snaps were under way together, want 1 and 2", raises, snaps)
		}
	})
}

// gauge knows the most there ever was of something at once.
type gauge struct {
	mu        sync.Mutex
	now, most int
}

func (g *gauge) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += n
	g.most = max(g.most, g.now)
}

func (g *gauge) reset() (most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	most, g.most = g.most, 0
	return most
}

// The watch of VirtualServices stands still, so that an abort by hand of
// another process (a state that rolls back on the second VirtualService) is
// not seen: a raise asks the server first and does not happen.
func TestARaiseIsNotDecidedOnWhatTheInformersMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(5*time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
		w.api.Hold("virtualservices", true)
		w.api.Edit("VirtualService", "shop", "web", func(o map[string]any) { apiserver.Meta(o)["labels"] = map[string]any{"seen": "no"} })
		pass(10 * time.Minute)
		if got := w.weight("web"); got != 5 {
			t.Errorf("it raised to %d%% over a version it had not seen", got)
		}
		w.api.Hold("virtualservices", false)
		w.until(10*time.Minute, "promoted", func() bool { return w.weight("web") == 100 })
	})
}

func TestAWebhookThatRefusesIsTriedForeverAndPassesNoStepOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var refused atomic.Int64
		var down atomic.Bool
		down.Store(true)
		w.api.Fault = func(r *http.Request) error {
			if down.Load() && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/virtualservices/") {
				refused.Add(1)
				return errors.New("failed calling webhook")
			}
			return nil
		}
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		pass(time.Hour)
		if n := refused.Load(); n < 60*60/25 || n > 2000 {
			t.Errorf("in an hour it tried %d times", n)
		}
		if reasons := w.reasons(); slices.Contains(reasons, "ReleaseStarted") {
			t.Errorf("told %v though nothing was written", reasons)
		}
		down.Store(false)
		w.until(10*time.Minute, "promoted", func() bool { return phase(c) == "Succeeded" })
	})
}

func TestWhatCanNotBeWrittenIsToldToPeopleOnce(t *testing.T) {
	t.Run("a raise that the API server refuses", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			_, end := w.runOver(refusing{w.api}, nil)
			w.deploy("web-v2", "v2", "two", opted)
			pass(10 * time.Minute)
			if got := w.reasons(); !slices.Equal(got, []string{"RoutesPending"}) {
				t.Errorf("told %v", got)
			}
			if err := end(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("a VirtualService that comes in mid-release and can't be split", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			_, stop := w.run()
			defer stop()
			w.deploy("web-v2", "v2", "two", opted)
			w.until(2*time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
			w.virtualService("late", []any{"shop.example"}, []any{"istio-system/gateway"})
			w.api.Edit("VirtualService", "shop", "late", func(o map[string]any) {
				_ = unstructured.SetNestedSlice(o, []any{map[string]any{"route": []any{
					map[string]any{"destination": map[string]any{"host": "web"}},
				}}}, "spec", "http")
			})
			pass(10 * time.Minute)
			if got := w.reasons(); !slices.Equal(got, []string{"ReleaseStarted", "StepStarted", "RoutesPending"}) {
				t.Errorf("told %v", got)
			}
			w.mesh.setErrors(0.5)
			w.until(time.Minute, "snapped all the same", func() bool { return w.weight("web") == 0 })
		})
	})
}

// refusing is an API server whose admission refuses every change of routes.
type refusing struct{ http.RoundTripper }

func (r refusing) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/virtualservices/") {
		return apiserver.Refuse(http.StatusForbidden, "Forbidden", "admission webhook denied the request")
	}
	return r.RoundTripper.RoundTrip(q)
}

func TestAFaultInAPassDoesNotEndTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		fault := &poisoned{}
		w.meter = fault
		fault.on.Store(true)
		_, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		pass(time.Minute)
		fault.on.Store(false)
		w.until(10*time.Minute, "promoted", func() bool { return w.weight("web") == 100 })
	})
}

// poisoned panics in the middle of a pass.
type poisoned struct {
	unmetered
	on atomic.Bool
}

func (p *poisoned) Wrote(mode.Verb, string, time.Duration, error) {
	if p.on.Load() {
		panic("a fault")
	}
}

func TestAPromotionThatIsRolledBackLaterIsKeptAsRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(10*time.Minute, "promoted", func() bool { return phase(c) == "Succeeded" })
		pass(time.Hour)
		w.annotate("web-v2", "serin.dev/command", "rollback#1")
		w.until(2*time.Minute, "rolled back", func() bool { return phase(c) == "RolledBack" })
		synctest.Wait()
		kept := w.api.All("ControllerRevision")
		if len(kept) != 1 {
			t.Fatalf("%d releases are kept, want 1", len(kept))
		}
		annotations, _ := apiserver.Meta(kept[0])["annotations"].(map[string]any)
		if got := annotations["serin.dev/outcome"]; got != "RolledBack" {
			t.Errorf("the release is kept as %v", got)
		}
		if w.weight("web") != 0 {
			t.Errorf("the canary still has %d percent", w.weight("web"))
		}
	})
}

func TestAQuarrelOverTheRoutesIsNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(time.Minute, "testing", func() bool { return w.weight("web") == 5 })
		before := len(w.api.Writes())
		for range 1500 { // a minute of somebody who takes the header route away at once
			w.api.Edit("VirtualService", "shop", "web", func(o map[string]any) {
				spec, _ := o["spec"].(map[string]any)
				http, _ := spec["http"].([]any)
				spec["http"] = slices.DeleteFunc(http, func(r any) bool {
					name, _ := r.(map[string]any)["name"].(string)
					return strings.HasPrefix(name, "serin-canary")
				})
			})
			pass(40 * time.Millisecond)
		}
		puts := 0
		for _, call := range w.api.Writes()[before:] {
			if strings.HasPrefix(call, "PUT") && strings.Contains(call, "virtualservices") {
				puts++
			}
		}
		if most := writesAtOnce + 60*writesPerSecond + 5; puts > most || puts < writesPerSecond*30 {
			t.Errorf("in a minute of quarrel it wrote %d times, want at most %d and not to give up", puts, most)
		}
	})
}
