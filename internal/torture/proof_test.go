package torture

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// wrongdoer writes like a controller that has lost its mind, at 25% of a release.
type wrongdoer func(w *world)

// write is a write in the name of a controller, over whatever there is.
func (w *world) asController(at ref, edit func(map[string]any)) {
	synctest.Wait() // whatever is about to be written is
	o := w.api.Read(at.kind, namespace, at.name)
	edit(o)
	r, err := http.NewRequestWithContext(w.ctx, http.MethodPut, "http://api.test"+pathOf(at)+"?fieldManager=serin", strings.NewReader(text(o)))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(processHeader, "wrongdoer")
	response, err := w.api.RoundTrip(r)
	if err != nil || response.StatusCode != http.StatusOK {
		w.t.Fatalf("the wrong write is refused: %v %v", response, err)
	}
}

var web = ref{"VirtualService", service}

// eachRoute changes the users' routes of a VirtualService.
func eachRoute(o map[string]any, f func(map[string]any)) {
	for _, r := range list(in(o, "spec", "http")) {
		if !isHeaderRoute(tree(r)) {
			f(tree(r))
		}
	}
}

func weights(o map[string]any, stable, canary float64) {
	eachRoute(o, func(r map[string]any) {
		for i, p := range list(r["route"]) {
			tree(p)["weight"] = []float64{stable, canary}[i]
		}
	})
}

// edited changes the state that a VirtualService carries, old text to new.
func edited(o map[string]any, changes ...string) {
	notes := tree(in(o, "metadata", "annotations"))
	state := str(notes[statePrefix+service])
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(state, changes[i]) {
			panic("there is no " + changes[i] + " in " + state)
		}
		state = strings.Replace(state, changes[i], changes[i+1], 1)
	}
	notes[statePrefix+service] = state
}

// Each check of the harness is tried with a controller that does what it forbids.
func TestEveryInvariantFires(t *testing.T) {
	const progressing, at25 = `"phase":"Progressing"`, `"weight":25`
	for name, c := range map[string]struct {
		scenario string
		do       wrongdoer
		want     string
	}{
		"the weights' sum changes": {"pair-promotion", func(w *world) {
			w.asController(web, func(o map[string]any) { weights(o, 60, 20) })
		}, "not Serin's"},
		"a field of the user's is lost": {"pair-promotion", func(w *world) {
			w.asController(web, func(o map[string]any) { eachRoute(o, func(r map[string]any) { delete(r, "timeout") }) })
		}, "not Serin's"},
		"the canary gets more than the state says": {"pair-promotion", func(w *world) {
			w.asController(web, func(o map[string]any) { weights(o, 50, 50) })
		}, "the state says 25%"},
		"the canary gets more than the step allows": {"pair-promotion", func(w *world) {
			w.asController(web, func(o map[string]any) { weights(o, 50, 50); edited(o, at25, `"weight":50`) })
		}, "whose weight is 25%"},
		"a step comes before its bake": {"pair-promotion", func(w *world) {
			w.asController(web, func(o map[string]any) { weights(o, 0, 100); edited(o, at25, `"weight":100`, `"step":2`, `"step":3`) })
		}, "whose bake is"},
		"a step is passed over": {"pair-promotion", func(w *world) {
			w.watch.tell(func(o *observer) { o.latest.step = 1 })
			w.asController(web, func(o map[string]any) { weights(o, 0, 100); edited(o, at25, `"weight":100`, `"step":2`, `"step":3`) })
		}, "comes after step 1"},
		"a release that went back goes on": {"pair-promotion", func(w *world) {
			w.asController(web, func(o map[string]any) {
				weights(o, 100, 0)
				edited(o, at25, `"weight":0`, progressing, `"phase":"RollingBack"`)
			})
			w.asController(web, func(o map[string]any) { edited(o, `"phase":"RollingBack"`, progressing) })
		}, "the release went back, and is Progressing now"},
		"the weight rises after a breach": {"pair-promotion", func(w *world) {
			w.asController(web, func(o map[string]any) {
				weights(o, 100, 0)
				edited(o, at25, `"weight":0`, progressing, `"phase":"RollingBack"`)
			})
			w.asController(web, func(o map[string]any) { weights(o, 95, 5); edited(o, `"weight":0`, `"weight":5`) })
		}, "the canary rises from 0% to 5%"},
		"a raise while nobody can judge": {"pair-promotion", func(w *world) {
			w.watch.forbid(time.Now().Add(-time.Hour))
			w.asController(web, func(o map[string]any) { weights(o, 0, 100); edited(o, at25, `"weight":100`, `"step":2`, `"step":3`) })
		}, "while nobody can judge it"},
		"marks stay when the state goes": {"pair-promotion", func(w *world) {
			w.asController(web, func(o map[string]any) { delete(tree(in(o, "metadata", "annotations")), statePrefix+service) })
		}, "has no state, but 1 header routes"},
		"users are sent to a subset that nobody defines": {"inplace-promotion", func(w *world) {
			w.api.Delete("DestinationRule", namespace, "web-serin")
		}, "which no rule defines"},
		"users are sent to a subset without a pod": {"pair-promotion", func(w *world) {
			w.asController(web, func(o map[string]any) {
				eachRoute(o, func(r map[string]any) { tree(tree(list(r["route"])[0])["destination"])["subset"] = "v2" })
			})
			for _, p := range w.api.All("Pod") {
				if imageOf(p) == "two" {
					w.api.Delete("Pod", namespace, str(in(p, "metadata", "name")))
				}
			}
		}, "which has no ready pod"},
		"the user's Deployment is changed": {"inplace-promotion", func(w *world) {
			w.asController(ref{"Deployment", "web"}, func(o map[string]any) { tree(o["spec"])["replicas"] = 9.0 })
		}, "of Deployment web was changed what is not Serin's"},
		"a storm of writes": {"pair-promotion", func(w *world) {
			w.watch.tell(func(o *observer) { o.rules.Writes = 1 })
			for i := range 40 {
				w.asController(web, func(o map[string]any) { edited(o, `"seq":`, `"seq":1`); _ = i })
			}
		}, "a storm"},
	} {
		t.Run(name, func(t *testing.T) {
			var wrongs []string
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scenarioOf(c.scenario), Case{Scenario: c.scenario}, record{})
				w.s = &scenario{name: w.s.name, inPlace: w.s.inPlace, play: func(w *world) {
					w.ship("two")
					w.to(25)
					c.do(w)
					w.until(time.Minute, "nothing", func() bool { return false })
				}}
				wrongs = w.run(record{}).Wrong
			})
			if !strings.Contains(strings.Join(wrongs, "; "), c.want) {
				t.Errorf("found %q, want %q", wrongs, c.want)
			}
		})
	}
}

// What is checked after a run is tried with a clean run that was another.
func TestTheEndOfARunIsCompared(t *testing.T) {
	c := Case{Scenario: "pair-promotion"}
	clean := run(t, c, record{})
	if len(clean.Wrong) > 0 {
		t.Fatal(clean.Wrong)
	}
	for name, change := range map[string]struct {
		of   func(*record)
		want string
	}{
		"the end is another":     {func(r *record) { r.End = "another\n" }, "the end is"},
		"it wrote more":          {func(r *record) { r.Writes -= spare + 1 }, "writes, without a fault"},
		"it took longer":         {func(r *record) { r.Took -= 3 * scrape }, "it took"},
		"nothing of it changed ": {func(*record) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			other := clean
			change.of(&other)
			got := run(t, c, other).Wrong
			if found := strings.Join(got, " "); (found != "") != (change.want != "") || !strings.Contains(found, change.want) {
				t.Errorf("found %q, want %q", got, change.want)
			}
		})
	}
}

func TestWritesInAnIdleHourAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scenarioOf("pair-promotion"), Case{Scenario: "pair-promotion"}, record{})
		w.script(w.build)
		w.later(30*time.Minute, func() {
			w.asController(web, func(o map[string]any) { tree(o["metadata"])["labels"] = map[string]any{"a": "b"} })
		})
		w.script(w.idle)
		if got := strings.Join(w.wrongs, " "); !strings.Contains(got, "1 writes in an idle hour") {
			t.Errorf("found %q", got)
		}
	})
}

func TestUsersWhoStayOnAVersionThatFailsAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scenarioOf("pair-promotion"), Case{Scenario: "pair-promotion"}, record{})
		w.script(w.build)
		w.watch.turn("one", true)
		pass(backWithin + time.Second)
		w.watch.turn("one", false)
		w.judge(record{End: w.watch.snapshot()}, 0)
		if got := strings.Join(w.wrongs, " "); !strings.Contains(got, "users were on a version that fails for 31s") {
			t.Errorf("found %q", got)
		}
	})
}
