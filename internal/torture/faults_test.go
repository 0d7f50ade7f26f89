package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/internal/apiserver"
	"serin.dev/serin/internal/telemetry"
)

// injection is a fault at one write, counted from 1.
type injection struct {
	at    int
	fault *fault
}

// fault is a disturbance that begins at a write.
type fault struct {
	name string
	// strike is what happens instead of the write being sent.
	strike func(x *wire, r *http.Request) (*http.Response, error)
	lasts  time.Duration // by how much a release may take longer
	writes int           // that may be done more than without it
	loose  bool          // the end may be another than without it: a hand was at work
	two    bool          // only where two replicas run
}

// fault takes the fault that comes at the next write, if there is one, and notes
// what it may cost.
func (w *world) fault() *fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tried++
	i := slices.IndexFunc(w.pending, func(p injection) bool { return p.at == w.tried })
	if i < 0 {
		return nil
	}
	f := w.pending[i].fault
	w.pending = slices.Delete(slices.Clone(w.pending), i, i+1)
	w.extra += f.lasts
	w.allowed += f.writes
	w.loose = w.loose || f.loose
	return f
}

// faults are all of them.
var faults = func() []*fault {
	all := slices.Concat(ofRequests(), ofProcesses(), ofWatches(), ofHands())
	for _, f := range telemetry.Faults() {
		all = append(all, ofPrometheus(f, "metrics-"+strings.ToLower(strings.ReplaceAll(string(f), " ", "-"))))
	}
	return all
}()

func faultOf(name string) *fault {
	i := slices.IndexFunc(faults, func(f *fault) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return faults[i]
}

// ofRequests are the faults of a single request, and of all for some time.
func ofRequests() []*fault {
	return []*fault{
		{name: "error", lasts: 30 * time.Second, strike: func(*wire, *http.Request) (*http.Response, error) { return nil, errRefused }},
		{name: "lost", lasts: 30 * time.Second, writes: 1, strike: lost},
		{name: "conflict", lasts: 30 * time.Second, strike: refused(http.StatusConflict, "Conflict", 0)},
		{name: "throttled", lasts: 30 * time.Second, strike: refused(http.StatusTooManyRequests, "TooManyRequests", 2)},
		{name: "unavailable", lasts: 30 * time.Second, strike: refused(http.StatusServiceUnavailable, "ServiceUnavailable", 1)},
		{name: "internal", lasts: 30 * time.Second, strike: refused(http.StatusInternalServerError, "InternalError", 0)},
		{name: "denied", lasts: 30 * time.Second, strike: refused(http.StatusForbidden, "Forbidden", 0)},
		{name: "hanging", lasts: time.Minute, strike: hanging},
		{name: "late", lasts: 2 * time.Minute, writes: 2, strike: late},
		{name: "outage-1s", lasts: time.Minute, strike: outage(time.Second)},
		{name: "outage-40s", lasts: 2 * time.Minute, strike: outage(40 * time.Second)},
		{name: "outage-10m", lasts: 12 * time.Minute, strike: outage(10 * time.Minute)},
	}
}

// lost is a write that is done and whose answer never comes.
func lost(x *wire, r *http.Request) (*http.Response, error) {
	if response, err := x.send(r); err == nil {
		_ = response.Body.Close()
	}
	return nil, io.ErrUnexpectedEOF
}

// refused is an answer of the API server's, or of what is in front of it.
func refused(code int, reason string, retryAfter int) func(*wire, *http.Request) (*http.Response, error) {
	return func(*wire, *http.Request) (*http.Response, error) {
		response, err := apiserver.Refuse(code, reason, "refused for once")
		if err == nil && retryAfter > 0 {
			response.Header.Set("Retry-After", string(rune('0'+retryAfter)))
		}
		return response, err
	}
}

// hanging is a request that is never answered, nor done.
func hanging(_ *wire, r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// late is a write that is done only when its sender has given it up long ago.
func late(x *wire, r *http.Request) (*http.Response, error) {
	return belated(x, r, 12*time.Second, func() {})
}

// belated is a request that hangs, and is done after a while all the same.
func belated(x *wire, r *http.Request, by time.Duration, after func()) (*http.Response, error) {
	copied := r.Clone(context.WithoutCancel(r.Context()))
	copied.Body = io.NopCloser(bytes.NewReader(body(r)))
	x.w.later(by, func() {
		x.w.watch.delay(by)
		if response, err := x.w.api.RoundTrip(copied); err == nil {
			_ = response.Body.Close()
		}
		x.w.watch.delay(0)
		after()
	})
	return hanging(x, r)
}

// released ends a standstill of the process.
func (x *wire) released() {
	x.stall(false)
	x.hold(false)
}

// outage is an API server that nobody reaches for a time.
func outage(d time.Duration) func(*wire, *http.Request) (*http.Response, error) {
	return func(x *wire, _ *http.Request) (*http.Response, error) {
		x.w.beAway(1)
		for _, one := range x.w.wires() {
			one.each(func(t *tap) { t.end(nil) })
		}
		x.w.later(d, func() { x.w.beAway(-1) })
		return nil, errBroken
	}
}

func (w *world) beAway(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away += n
}

func (w *world) isAway() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away > 0
}

// ofProcesses are the faults of a controller.
func ofProcesses() []*fault {
	return []*fault{
		{name: "crash-before", lasts: 90 * time.Second, writes: 3, strike: crash(false, restart{after: 5 * time.Second})},
		{name: "crash-after", lasts: 90 * time.Second, writes: 3, strike: crash(true, restart{after: 5 * time.Second})},
		{name: "crash-long", lasts: 7 * time.Minute, writes: 3, strike: crash(true, restart{after: 5 * time.Minute})},
		{name: "crash-stale", lasts: 2 * time.Minute, writes: 3, strike: crash(true, restart{after: time.Second, stale: 6})},
		{name: "clock-ahead", lasts: 3 * time.Minute, writes: 3, strike: skewed(time.Hour)},
		{name: "clock-behind", lasts: 3 * time.Minute, writes: 3, strike: skewed(-time.Hour)},
		{name: "frozen", lasts: 2 * time.Minute, writes: 2, strike: frozen},
		{name: "two-leaders", lasts: 3 * time.Minute, writes: 4, two: true, strike: twoLeaders(false)},
		{name: "two-leaders-late", lasts: 3 * time.Minute, writes: 4, two: true, strike: twoLeaders(true)},
	}
}

// crash ends the process at the write, which may still be done.
func crash(done bool, next restart) func(*wire, *http.Request) (*http.Response, error) {
	return func(x *wire, r *http.Request) (*http.Response, error) {
		if done {
			if response, err := x.send(r); err == nil {
				_ = response.Body.Close()
			}
		}
		x.w.mu.Lock()
		x.w.restart = next
		x.w.mu.Unlock()
		x.crash()
		return nil, errGone
	}
}

// skewed is a crash, after which the next process's clock is ahead of the one
// before, or behind. In a bubble nobody can set a clock: instead all that was
// stored by the clock before is moved the other way.
func skewed(by time.Duration) func(*wire, *http.Request) (*http.Response, error) {
	return func(x *wire, r *http.Request) (*http.Response, error) {
		answer, err := crash(true, restart{after: 5 * time.Second})(x, r)
		x.w.shift(-by)
		// Blocks around the write may count now that were before it: two at most.
		x.w.watch.tell(func(o *observer) { o.rules.Bake -= 2 * scrape })
		return answer, err
	}
}

// frozen is a process of which nothing comes through for a while, though it runs:
// its write is done at the end, whatever became of its patience.
func frozen(x *wire, r *http.Request) (*http.Response, error) {
	x.stall(true)
	x.hold(true)
	return belated(x, r, 20*time.Second, x.released)
}

// twoLeaders holds the leader's write, and everything else of it, until another
// leads; then the write is delivered: at once, or after the other has written.
func twoLeaders(afterwards bool) func(*wire, *http.Request) (*http.Response, error) {
	return func(x *wire, r *http.Request) (*http.Response, error) {
		x.stall(true)
		x.hold(true)
		wait := leaseFor + 3*time.Second
		if afterwards {
			wait += 20 * time.Second
		}
		return belated(x, r, wait, x.released)
	}
}

// ofWatches are the faults of what a controller is told.
func ofWatches() []*fault {
	return []*fault{
		{name: "watch-held", lasts: 2 * time.Minute, writes: 2, strike: around(func(x *wire) {
			x.hold(true)
			x.w.later(30*time.Second, func() { x.hold(false) })
		})},
		{name: "watch-collapsed", lasts: 2 * time.Minute, writes: 2, strike: around(func(x *wire) {
			x.hold(true)
			x.w.later(30*time.Second, func() {
				x.each(func(t *tap) { t.end(gone) })
				x.hold(false)
			})
		})},
		{name: "watch-doubled", lasts: time.Minute, writes: 1, strike: around(func(x *wire) {
			x.double(true)
			x.w.later(time.Minute, func() { x.double(false) })
		})},
		{name: "watch-cut", lasts: time.Minute, writes: 1, strike: around(func(x *wire) { x.each(func(t *tap) { t.end(nil) }) })},
		{name: "watch-gone", lasts: time.Minute, writes: 1, strike: around(func(x *wire) { x.each(func(t *tap) { t.end(gone) }) })},
		{name: "watch-storm", lasts: 2 * time.Minute, writes: 2, strike: around(func(x *wire) {
			for i := range 30 {
				x.w.later(time.Duration(i)*time.Second, func() { x.each(func(t *tap) { t.end(gone) }) })
			}
		})},
	}
}

var gone = []byte(`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}` + "\n")

// around disturbs just before the write is done, as if nothing had happened to it.
func around(disturb func(x *wire)) func(*wire, *http.Request) (*http.Response, error) {
	return func(x *wire, r *http.Request) (*http.Response, error) {
		disturb(x)
		return x.send(r)
	}
}

// ofHands are the faults of those that write too, just before the write is done.
func ofHands() []*fault {
	return []*fault{
		{name: "hand-touches", lasts: time.Minute, writes: 2, strike: hand(func(w *world, path string) { w.touch(path) })},
		{name: "hand-edits", lasts: time.Minute, writes: 2, loose: true, strike: hand(func(w *world, _ string) {
			w.people("kubectl-edit", ref{"VirtualService", service}, func(o map[string]any) {
				for _, r := range list(in(o, "spec", "http")) {
					if !isHeaderRoute(tree(r)) {
						tree(r)["timeout"] = "7s"
					}
				}
			})
		})},
		{name: "hand-reverts", lasts: 5 * time.Minute, writes: 12, loose: true, strike: hand(func(w *world, _ string) { w.revert(false) })},
		{name: "hand-replaces", lasts: 5 * time.Minute, writes: 12, loose: true, strike: hand(func(w *world, _ string) { w.revert(true) })},
		{name: "hand-deletes", lasts: 5 * time.Minute, writes: 12, loose: true, strike: hand(func(w *world, _ string) {
			w.api.Delete("VirtualService", namespace, service)
			w.later(3*time.Second, func() { w.api.Put(clone(w.manifests[ref{"VirtualService", service}])) })
		})},
	}
}

func hand(do func(w *world, path string)) func(*wire, *http.Request) (*http.Response, error) {
	return func(x *wire, r *http.Request) (*http.Response, error) {
		do(x.w, r.URL.Path)
		return x.send(r)
	}
}

// touch is somebody's change of the object that is about to be written.
func (w *world) touch(path string) {
	w.api.EditAt(path, func(o map[string]any) {
		metadata := tree(o["metadata"])
		notes := tree(metadata["annotations"])
		if notes == nil {
			notes = map[string]any{}
			metadata["annotations"] = notes
		}
		notes[touched] = "yes"
	})
}

// people write an object under a manager's name.
func (w *world) people(manager string, at ref, edit func(map[string]any)) {
	o := w.api.Read(at.kind, namespace, at.name)
	if o == nil {
		return
	}
	edit(o)
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // it was JSON
	}
	r, err := http.NewRequestWithContext(w.ctx, http.MethodPut, "http://api.test"+pathOf(at)+"?fieldManager="+manager, bytes.NewReader(b))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if response, err := w.api.People().RoundTrip(r); err == nil {
		_ = response.Body.Close()
	}
}

func pathOf(at ref) string {
	base := map[string]string{
		"VirtualService": "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/", "DestinationRule": "/apis/networking.istio.io/v1/namespaces/shop/destinationrules/",
		"Deployment": "/apis/apps/v1/namespaces/shop/deployments/",
	}[at.kind]
	return base + at.name
}

// revert is a GitOps tool that writes the routes as Git has them; replaced tells
// that it leaves nothing of what others wrote.
func (w *world) revert(replaced bool) {
	at := ref{"VirtualService", service}
	w.people("argocd-controller", at, func(o map[string]any) {
		o["spec"] = clone(tree(w.manifests[at]["spec"]))
		if replaced {
			metadata := tree(o["metadata"])
			metadata["annotations"] = in(clone(w.manifests[at]), "metadata", "annotations")
		}
	})
}

// ofPrometheus is a fault of the metrics for two minutes, in which nobody can judge
// a canary.
func ofPrometheus(f telemetry.Fault, name string) *fault {
	return &fault{name: name, lasts: 10 * time.Minute, writes: 2, strike: around(func(x *wire) {
		w := x.w
		w.town.Break(f) // in place of another that may still last
		var blind time.Time
		if blinding(f) {
			blind = time.Now()
		}
		w.watch.forbid(blind)
		w.later(2*time.Minute, func() {
			w.town.Mend()
			w.watch.forbid(time.Time{})
		})
	})}
}

// blinding tells the faults with which no canary can be judged at all. With the
// others answers are right: late by little, again at once, or of every second pod.
func blinding(f telemetry.Fault) bool {
	return f != telemetry.Slow && f != telemetry.Restarted && f != telemetry.Partial
}
