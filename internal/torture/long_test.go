package torture

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/pkg/history"
)

// TestTwoDaysOfReleases plays a release every two hours for two days, promoted ones
// and ones that are rolled back: memory and goroutines stay what they were.
func TestTwoDaysOfReleases(t *testing.T) {
	if !*long {
		t.Skip("only with -long")
	}
	for _, name := range []string{"pair-promotion", "inplace-promotion"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { twoDays(t, name) })
		})
	}
}

func twoDays(t *testing.T, name string) {
	w := newWorld(t, scenarioOf(name), Case{Scenario: name}, record{})
	ctx, stop := context.WithCancel(t.Context())
	var replicas sync.WaitGroup
	w.script(func() {
		w.build()
		replicas.Go(func() { w.serve(ctx, "a", false) })
		began := time.Now()
		var heaps []uint64
		var routines []int
		for n := 1; time.Since(began) < 48*time.Hour; n++ {
			image := fmt.Sprintf("v%d", n)
			w.watch.turn(image, n%3 == 0)
			w.another(n, image)
			w.until(oneWay, "the release is over", func() bool {
				return len(w.watch.outcomes()) == min(n, history.Keep) && len(w.watch.leftovers()) == 0 && w.lastRollout() == n
			})
			pass(2*time.Hour - time.Since(began)%(2*time.Hour))
			w.tidy()
			w.api.Compact() // what the API server remembers is not the controller's
			pass(time.Minute)
			synctest.Wait()
			heap, alive := measure()
			heaps, routines = append(heaps, heap), append(routines, alive)
		}
		t.Logf("heap in KiB: %v", kib(heaps))
		t.Logf("goroutines: %v", routines)
		half := len(heaps) / 2
		flat(t, "heap", mean(heaps[half-4:half]), mean(heaps[len(heaps)-4:]))
		flat(t, "goroutines", float64(routines[half]), float64(routines[len(routines)-1]))
	})
	stop()
	replicas.Wait()
	for _, wrong := range w.wrongs {
		t.Error(wrong)
	}
}

// another is the n-th release: in pair mode the Deployments take turns, and who has
// no users is changed.
func (w *world) another(n int, image string) {
	if w.s.inPlace || n == 1 {
		w.ship(image)
		return
	}
	name := "web-v1"
	w.watch.tell(func(o *observer) {
		for _, v := range o.ways {
			if v.percent == 100 && v.workload == "web-v1" {
				name = "web-v2"
			}
		}
	})
	w.api.Edit("Deployment", namespace, name, func(o map[string]any) {
		tree(o["metadata"])["annotations"] = w.s.opted()
		tree(in(o, "spec", "template", "spec"))["containers"] = []any{container(image)}
	})
}

// tidy removes ReplicaSets without pods, of which Kubernetes keeps only a few.
func (w *world) tidy() {
	for _, set := range w.api.All("ReplicaSet") {
		if num(in(set, "spec", "replicas")) == 0 {
			w.api.Delete("ReplicaSet", namespace, str(in(set, "metadata", "name")))
		}
	}
}

// lastRollout counts the releases that were seen so far.
func (w *world) lastRollout() (n int) {
	w.watch.tell(func(o *observer) { n = len(o.releases) })
	return n
}

func measure() (heap uint64, routines int) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, runtime.NumGoroutine()
}

func mean(all []uint64) (m float64) {
	for _, n := range all {
		m += float64(n) / float64(len(all))
	}
	return m
}

func kib(all []uint64) (out []uint64) {
	for _, n := range all {
		out = append(out, n/1024)
	}
	return out
}

// flat tells when something is not within 5% of what it was.
func flat(t *testing.T, what string, before, after float64) {
	t.Helper()
	if after > before*1.05 || after < before*0.95 {
		t.Errorf("%s went from %.0f to %.0f", what, before, after)
	}
}

// Nobody reaches the API server for ten minutes, and then every watch is told for a
// minute that it is too old: the release goes on within 30 seconds, at the next step.
func TestAfterTenMinutesWithoutAnAPIServerAReleaseGoesOn(t *testing.T) {
	for _, name := range []string{"pair-two-routes", "inplace-two-routes"} {
		t.Run(name, func(t *testing.T) {
			r := record{}
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, scenarioOf(name), Case{Scenario: name}, record{})
				w.s = &scenario{name: name, inPlace: w.s.inPlace, mesh: true, ends: w.s.ends, play: away}
				r = w.run(record{})
			})
			for _, wrong := range r.Wrong {
				t.Error(wrong)
			}
		})
	}
}

func away(w *world) {
	w.ship("two")
	w.to(5)
	w.beAway(1)
	for _, one := range w.wires() {
		one.each(func(t *tap) { t.end(nil) })
	}
	pass(10 * time.Minute)
	w.beAway(-1)
	for i := range 60 {
		w.later(time.Duration(i)*time.Second, func() {
			for _, one := range w.wires() {
				one.each(func(t *tap) { t.end(gone) })
			}
		})
	}
	w.until(30*time.Second, "at the next step", func() bool { return w.watch.share() == 25 })
	w.until(oneWay, "promoted", w.over(w.s.ends...))
}
