package controller

import (
	"context"
	"encoding/json"
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
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

func TestAGoodVersionIsPromotedStepByStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		pass(time.Minute)
		w.deploy("web-v2", "v2", "two", opted)
		var weights []int
		w.until(10*time.Minute, "promoted", func() bool {
			if n := len(weights); n == 0 || weights[n-1] != w.weight("web") {
				weights = append(weights, w.weight("web"))
			}
			return phase(c) == "Succeeded"
		})
		if want := []int{5, 25, 100}; !slices.Equal(weights, want) {
			t.Errorf("the canary had %v percent, want %v", weights, want)
		}
		if n := len(w.api.All("ControllerRevision")); n != 1 {
			t.Errorf("%d releases are kept, want 1", n)
		}
		want := []string{"ReleaseStarted", "StepStarted", "StepPassed", "StepPassed", "Promoted"}
		if got := w.reasons(); !slices.Equal(without(got, "ClientsBypassRoutes"), want) {
			t.Errorf("told %v, want %v", got, want)
		}
		synctest.Wait()
		writes := len(w.api.Writes())
		pass(time.Hour)
		if more := w.api.Writes()[writes:]; len(more) > 0 {
			t.Errorf("in an idle hour it wrote %v", more)
		}
	})
}

func without(all []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == one })
}

func TestABadVersionIsSnappedBackAndNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		w.mesh.setErrors(0.05)
		w.deploy("web-v2", "v2", "two", opted)
		most := 0
		w.until(10*time.Minute, "rolled back", func() bool {
			most = max(most, w.weight("web"))
			return phase(c) == "RolledBack"
		})
		if most != 5 {
			t.Errorf("the bad version had up to %d%%, want 5%%", most)
		}
		w.mesh.setErrors(0)
		pass(time.Hour)
		if got := w.weight("web"); got != 0 {
			t.Errorf("an hour later the canary has %d%%, want 0%%", got)
		}
		// The default is 1%, and twice what stable has: either is broken.
		if !slices.ContainsFunc(w.reasons(), func(r string) bool { return strings.HasPrefix(r, "ErrorRate") }) {
			t.Errorf("told %v, want that its error rate is too high", w.reasons())
		}
	})
}

func TestADeadVersionIsSnappedBackBeforeABlockIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(2*time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
		pass(20 * time.Second)
		w.mesh.setErrors(1)
		w.until(3*time.Second, "snapped back", func() bool { return w.weight("web") == 0 })
		w.until(5*time.Minute, "verified", func() bool { return slices.Contains(w.reasons(), "RollbackVerified") })
	})
}

func TestATeamMayKeepTheThreshold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		notes := map[string]any{"serin.dev/judge": "threshold"}
		for k, v := range opted {
			notes[k] = v
		}
		w.deploy("web-v2", "v2", "two", notes)
		w.until(2*time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
		w.mesh.setErrors(0.05)
		w.until(5*time.Minute, "rolled back", func() bool { return phase(c) == "RolledBack" })
		if len(w.mesh.peeks()) > 0 {
			t.Error("open blocks are looked at, though no threshold is judged by them")
		}
	})
}

func TestLimitsOnTheOperatorsMetricsAreAskedForByTheirTemplates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.templates = []prom.Template{{Name: "queue-depth", Gauge: `max(queue_depth{deployment="{{workload}}"})`}}
		_, stop := w.run()
		defer stop()
		notes := map[string]any{"serin.dev/metrics": "queue-depth <= 100"}
		for k, v := range opted {
			notes[k] = v
		}
		w.deploy("web-v2", "v2", "two", notes)
		w.until(2*time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
		pass(time.Minute)
		want := []prom.Custom{{Template: w.templates[0], Limit: judge.Custom{Name: "queue-depth", Bound: 100, Gauge: true}}}
		for _, a := range w.mesh.questions() {
			if !slices.Equal(a.Custom, want) {
				t.Fatalf("asked for %+v, want %+v", a.Custom, want)
			}
		}
		if got := w.weight("web"); got != 5 {
			t.Errorf("without a word about the queue the canary has %d%%, want 5%% still", got)
		}
	})
}

func TestNoUserIsSentToACanaryWhilePrometheusDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		w.mesh.setAway(true)
		w.deploy("web-v2", "v2", "two", opted)
		w.until(time.Minute, "testing", func() bool { return phase(c) == "Testing" })
		pass(15 * time.Minute)
		if got := w.weight("web"); got != 0 {
			t.Errorf("nobody can judge the canary, and it has %d%%", got)
		}
		if told := w.reasons(); !slices.Equal(told, []string{"ReleaseStarted", "NoData"}) {
			t.Errorf("told %v", told)
		}
		w.mesh.setAway(false)
		w.until(10*time.Minute, "promoted", func() bool { return w.weight("web") == 100 })
	})
}

func TestAPrometheusThatKnowsNothingIsNoReasonToGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var asked atomic.Int64
		w.query = func(context.Context, string, time.Time, time.Time, time.Duration) (prom.Matrix, error) {
			asked.Add(1)
			return prom.Matrix{}, nil
		}
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(time.Minute, "begun", func() bool { return slices.Equal(w.seen(c), []canary.Reason{canary.NoData}) })
		pass(5 * time.Minute)
		before := asked.Load()
		pass(15 * time.Minute)
		synctest.Wait()
		if got := w.weight("web"); got != 0 {
			t.Errorf("of a mesh nobody scrapes the canary has %d%%, want 0%% still", got)
		}
		if sentence := c.Views()[0].Sentence; !strings.Contains(sentence, "no fresh sample of the requests to web-v1") {
			t.Errorf("it says %q", sentence)
		}
		// Four queries every ten seconds find out whether proxies are scraped.
		perLook := float64(asked.Load()-before) / (15 * 6)
		if perLook < 2 || perLook > 4 {
			t.Errorf("it asks %.1f queries every ten seconds", perLook)
		}
	})
}

func TestNothingMovesWithoutAnAnswerFromPrometheus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(time.Minute, "at the first step", func() bool { return w.weight("web") == 5 })
		w.mesh.setAway(true)
		pass(15 * time.Minute)
		if got := w.weight("web"); got != 5 {
			t.Errorf("without data the canary has %d%%, want 5%% still", got)
		}
		w.mesh.setAway(false)
		w.until(10*time.Minute, "promoted", func() bool { return w.weight("web") == 100 })
	})
}

// A crash is a controller whose every request fails from some write on, with
// or without that write done; another one then starts with an empty memory.
func TestACrashAtAnyWriteOnlyContinues(t *testing.T) {
	for _, done := range []bool{true, false} {
		for k := 1; k <= 8; k++ {
			synctest.Test(t, func(t *testing.T) { crashAt(t, k, done) })
		}
	}
}

func crashAt(t *testing.T, k int, done bool) {
	w := newWorld(t)
	way := &mortal{api: w.api, last: k, done: done}
	_, end := w.runOver(way, nil)
	w.deploy("web-v2", "v2", "two", opted)
	pass(3 * time.Minute)
	if err := end(); err != nil {
		t.Error(err)
	}

	c, stop := w.run()
	defer stop()
	before := w.weight("web")
	w.until(10*time.Minute, "promoted after a crash", func() bool {
		now := w.weight("web")
		if now < before {
			t.Errorf("crash at write %d (done: %v): the weight fell from %d%% to %d%%", k, done, before, now)
		}
		before = now
		return phase(c) == "Succeeded" && now == 100
	})
	if n := len(w.api.All("ControllerRevision")); n != 1 {
		t.Errorf("crash at write %d (done: %v): %d releases are kept, want 1", k, done, n)
	}
}

// mortal is the way to the API server of a process that dies at its k-th write.
type mortal struct {
	api  *apiserver.Server
	last int
	done bool // the last write is still done

	mu    sync.Mutex
	count int
}

func (m *mortal) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	if isWrite(r) {
		m.count++
	}
	alive := m.count < m.last
	if isWrite(r) && m.count == m.last && m.done {
		// The answer of the last write never arrives.
		if response, err := m.api.RoundTrip(r); err == nil {
			_ = response.Body.Close()
		}
	}
	m.mu.Unlock()
	if !alive {
		return nil, errors.New("the process is gone")
	}
	return m.api.RoundTrip(r)
}

func isWrite(r *http.Request) bool {
	return r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events")
}

func TestTakingTheAnnotationAwayPutsAllBackAndTakesOurMarksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		before := w.api.Read("VirtualService", "shop", "web")["spec"]
		_, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(2*time.Minute, "at 25%", func() bool { return w.weight("web") == 25 })
		w.api.Edit("Deployment", "shop", "web-v2", func(o map[string]any) {
			delete(apiserver.Meta(o)["annotations"].(map[string]any), "serin.dev/canary")
		})
		w.until(time.Minute, "back to what it was", func() bool { return w.weight("web") == 0 })
		synctest.Wait()
		after := w.api.Read("VirtualService", "shop", "web")
		if got, want := text(t, after["spec"]), text(t, before); got != want {
			t.Errorf("the routes are\n%s\nwant\n%s", got, want)
		}
		if notes := apiserver.StringMap(apiserver.Meta(after)["annotations"]); len(notes) != 0 {
			t.Errorf("annotations are left: %v", notes)
		}
	})
}

func text(t *testing.T, tree any) string {
	t.Helper()
	out, err := json.MarshalIndent(tree, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestASnapDoesNotWaitForAVirtualServiceThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.virtualService("gate", []any{"shop.example"}, []any{"istio-system/gateway"})
		var hanging atomic.Bool
		w.api.Fault = func(r *http.Request) error {
			if hanging.Load() && r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/gate") {
				<-r.Context().Done()
				return r.Context().Err()
			}
			return nil
		}
		_, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(2*time.Minute, "both at 5%", func() bool { return w.weight("web") == 5 && w.weight("gate") == 5 })
		hanging.Store(true)
		w.mesh.setErrors(0.5)
		w.until(time.Minute, "snapped where it can be", func() bool { return w.weight("web") == 0 })
		if got := w.weight("gate"); got != 5 {
			t.Errorf("the hanging one has %d%%, want 5%% still", got)
		}
		hanging.Store(false)
		w.until(time.Minute, "snapped everywhere", func() bool { return w.weight("gate") == 0 })
	})
}

func TestAHandThatRaisesBetweenReadAndWriteIsNotOverwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var once atomic.Bool
		w.api.Fault = func(r *http.Request) error {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/web") && once.CompareAndSwap(false, true) {
				w.api.Edit("VirtualService", "shop", "web", func(o map[string]any) {
					route, _, _ := unstructured.NestedSlice(o, "spec", "http")
					route[0].(map[string]any)["timeout"] = "7s"
					_ = unstructured.SetNestedSlice(o, route, "spec", "http")
				})
			}
			return nil
		}
		_, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(10*time.Minute, "promoted", func() bool { return w.weight("web") == 100 })
		route, _, _ := unstructured.NestedSlice(w.api.Read("VirtualService", "shop", "web"), "spec", "http")
		last := route[len(route)-1].(map[string]any)
		if last["timeout"] != "7s" {
			t.Errorf("the user's edit is lost: %v", last)
		}
	})
}
