package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/internal/apiserver"
	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/internal/telemetry"
)

const (
	// scrape is how often Prometheus scrapes the proxies.
	scrape = 5 * time.Second
	// rate is how many requests a second come by each VirtualService: enough for
	// evidence within a few blocks at 5%.
	rate = 1000.0
)

// world is a cluster in memory with one shop, its traffic, its Prometheus, and the
// unmodified controllers over it, in virtual time. It lives in a bubble.
type world struct {
	t     *testing.T
	s     *scenario
	ctx   context.Context
	api   *apiserver.Server
	kube  *apiserver.Deployments
	town  *telemetry.Town
	watch *observer
	dice  *rand.Rand

	mu      sync.Mutex
	wrongs  []string
	faulty  []injection        // the faults of this run
	pending []injection        // those that have not come yet
	tried   int                // writes so far, but for Events and leases
	extra   time.Duration      // by how long the faults so far disturb at most
	allowed int                // writes more than in a clean run, for the faults so far
	loose   bool               // a fault so far was a hand's, so that the end may be another
	away    int                // outages under way
	down    int                // replicas that don't run
	under   int                // things that faults still do later
	logs    bool               // all changes are kept, for lists that are behind
	log     []apiserver.Change // of all objects
	restart restart
	running []*process

	manifests map[ref]map[string]any // as users keep them in Git
}

// restart says how the next process begins after a crash.
type restart struct {
	after time.Duration
	stale int // versions by which what it lists is behind; 0: none
}

// gaveUp ends a script: what has to hold does not.
type gaveUp struct{}

// wrong takes note of what does not hold; the script ends at its next wait.
func (w *world) wrong(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrongs) < 5 {
		w.wrongs = append(w.wrongs, time.Now().Format("15:04:05")+" "+fmt.Sprintf(format, args...))
	}
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wrongs) > 0
}

func newWorld(t *testing.T, s *scenario, c Case, clean record) *world {
	w := &world{
		t: t, s: s, ctx: t.Context(), api: apiserver.New(), town: telemetry.New(scrape),
		dice: rand.New(rand.NewPCG(c.Seed, 1)), faulty: c.Faults, pending: c.Faults, manifests: map[ref]map[string]any{},
		restart: restart{after: 5 * time.Second},
	}
	// A state of an hour ago has the judge ask for an hour in which the canary had no
	// users yet: with another fault beside, or a bad release of the same workload within
	// that hour, a good release may go back for that.
	retried := len(s.ends) > 1 && s.ends[0] == rolledBack
	w.loose = (len(c.Faults) > 1 || retried) && slices.ContainsFunc(c.Faults, func(i injection) bool { return strings.HasPrefix(i.fault.name, "clock-") })
	w.logs = slices.ContainsFunc(c.Faults, func(i injection) bool { return i.fault.name == "crash-stale" })
	w.watch = newObserver(rules{
		InPlace: s.inPlace, Jumps: s.jumps, Restores: s.restores, Bake: s.bake(), Writes: clean.Writes, Bad: map[string]bool{},
	}, w.wrong, w.flow)
	w.api.Seen = func(c apiserver.Change) {
		w.mu.Lock()
		if w.logs {
			w.log = append(w.log, c)
		}
		w.mu.Unlock()
		w.watch.see(c)
	}
	w.kube = w.api.Manage(w.ctx)
	w.kube.Guarded = s.inPlace
	w.put("v1", "Namespace", "", map[string]any{"metadata": map[string]any{"name": namespace}})
	w.put("v1", "Service", service, map[string]any{"spec": map[string]any{
		"selector": map[string]any{"app": "web"}, "ports": []any{map[string]any{"name": "http", "port": 80.0}}}})
	return w
}

// put is a user's kubectl apply of an object of the shop.
func (w *world) put(version, kind, name string, o map[string]any) {
	o["apiVersion"], o["kind"] = version, kind
	if name != "" {
		o = with(o, "metadata", with(with(tree(o["metadata"]), "name", name), "namespace", namespace))
		w.manifests[ref{kind, name}] = clone(o)
	}
	w.api.Put(o)
}

// flow has the traffic follow the routes.
func (w *world) flow(ways []way) {
	byPods := map[string]*telemetry.Flow{}
	var names []string
	for _, v := range ways {
		if v.lost != "" {
			continue
		}
		f := byPods[v.workload]
		if f == nil {
			f = &telemetry.Flow{Workload: v.workload}
			byPods[v.workload] = f
			names = append(names, v.workload)
		}
		f.Rate += rate * v.percent / 100
		for _, p := range v.pods {
			if !slices.Contains(f.Pods, p) {
				f.Pods = append(f.Pods, p)
			}
		}
		if w.watch.rules.Bad[v.image] {
			f.Errors += rate * v.percent / 100 * 0.5
		}
	}
	var flows []telemetry.Flow
	for _, name := range names {
		f := byPods[name]
		if f.Rate > 0 {
			f.Errors /= f.Rate
		}
		flows = append(flows, *f)
	}
	w.town.Flow(namespace, service, flows...)
}

// until lets virtual time pass, a second at a time, until f holds. Disturbances
// lengthen what it may take.
func (w *world) until(limit time.Duration, what string, f func() bool) {
	for began := time.Now(); ; pass(time.Second) {
		synctest.Wait()
		if w.failed() {
			panic(gaveUp{})
		}
		if f() {
			return
		}
		w.mu.Lock()
		most := limit + w.extra
		w.mu.Unlock()
		if time.Since(began) > most && w.isLoose() {
			panic(gaveUp{}) // what people wait for may never come after what people did
		}
		if time.Since(began) > most {
			w.wrong("after %s still not: %s (%s, %g%%, kept %v, left %v)", time.Since(began), what, w.watch.phase(), w.watch.share(), w.watch.outcomes(), w.watch.leftovers())
			panic(gaveUp{})
		}
	}
}

func (w *world) isLoose() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.loose
}

// later does something after a while, should the world still be there.
func (w *world) later(d time.Duration, f func()) {
	w.mu.Lock()
	w.under++
	w.mu.Unlock()
	go func() {
		select {
		case <-time.After(d):
			f()
		case <-w.ctx.Done():
		}
		w.mu.Lock()
		w.under--
		w.mu.Unlock()
	}()
}

// pass lets virtual time pass; it takes none.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble of testing/synctest nobody waits
}

// isWrite tells the writes that faults are counted by: Events and leases come and
// go by the clock.
func isWrite(r *http.Request) bool {
	return r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events") && !strings.Contains(r.URL.Path, "/leases")
}
