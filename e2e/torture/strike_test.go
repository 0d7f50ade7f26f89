package torture

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// driver strikes until it has done so often enough.
type driver struct {
	*stage
	most int

	mu     sync.Mutex
	struck int
	counts map[string]int // by what and at which moment
	late   map[string]int // what became of writes that came after their leader's time
}

// strike is one way in which something ends, or stands still.
type strike struct {
	weight int // how often, of all
	do     func(context.Context, *hand) error
	// unwatches tells that all watches of the API server break. Who watches waits
	// ever longer, up to half a minute, where that happens again within two: no
	// proxy can be told by then what is written meanwhile.
	unwatches bool
}

// unwatched is the least time from one strike that breaks all watches to the next.
const unwatched = 130 * time.Second

// hand strikes one thing after another.
type hand struct {
	*driver
	name string
	team *team // nil: the hand of what the teams stand on
	dice *rand.Rand
	deck []strike
	last time.Time // that watches were broken
}

// take counts a strike; false if there were enough.
func (d *driver) take() (n int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.struck >= d.most {
		return 0, false
	}
	d.struck++
	return d.struck, true
}

// left tells whether there are strikes to come.
func (d *driver) left() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.struck < d.most
}

// count keeps and tells a strike as it happens; false if there were enough.
func (h *hand) count(what, moment string) bool {
	n, ok := h.take()
	if !ok {
		return false
	}
	h.mu.Lock()
	target := h.name
	if h.team != nil {
		target = "controller"
	}
	h.counts[target+": "+what]++
	h.mu.Unlock()
	if moment != "" {
		moment = " (" + moment + ")"
	}
	h.say("#%d %s: %s%s; %s", n, h.name, what, moment, h.doing(h.team))
	return true
}

// came keeps what became of a late write.
func (d *driver) came(a answer) {
	what := fmt.Sprintf("answered %d", a.status)
	if a.status == 0 {
		what = "not answered"
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.late[what]++
}

// wait waits, or until the context ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// span is a random time.
func (h *hand) span(least, most time.Duration) time.Duration {
	return least + time.Duration(h.dice.Int64N(int64(most-least)))
}

// waitFor waits until something is so, for a while.
func waitFor(ctx context.Context, most time.Duration, is func() bool) bool {
	for end := time.Now().Add(most); time.Now().Before(end) && ctx.Err() == nil; wait(ctx, 20*time.Millisecond) {
		if is() {
			return true
		}
	}
	return false
}

// deal is the next strike: all come by their weights before any comes again.
func (h *hand) deal(all []strike) strike {
	if len(h.deck) == 0 {
		for _, s := range all {
			for range s.weight {
				h.deck = append(h.deck, s)
			}
		}
		h.dice.Shuffle(len(h.deck), func(i, j int) { h.deck[i], h.deck[j] = h.deck[j], h.deck[i] })
	}
	next := max(0, slices.IndexFunc(h.deck, func(s strike) bool { return !s.unwatches || time.Since(h.last) > unwatched }))
	s := h.deck[next]
	if s.unwatches && time.Since(h.last) <= unwatched { // no other is left
		h.deck = nil
		return h.deal(all)
	}
	h.deck = slices.Delete(h.deck, next, next+1)
	if s.unwatches {
		h.last = time.Now()
	}
	return s
}

// strikes goes on until there were enough.
func (h *hand) strikes(ctx context.Context, all []strike, rest func(context.Context)) error {
	for h.left() && ctx.Err() == nil {
		rest(ctx)
		if err := h.deal(all).do(ctx, h); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
	}
	return nil
}

// soon is how long a write is waited for before the strike comes without one.
const soon = 8 * time.Second

// onControllers are the strikes at a team.
var onControllers = []strike{
	{weight: 3, do: func(_ context.Context, h *hand) error { return h.crash() }},
	{weight: 3, do: func(ctx context.Context, h *hand) error {
		return h.around(ctx, "kill -9 before a write", func(w *held) error {
			defer w.drop()
			return w.gate.replica.kill()
		})
	}},
	{weight: 2, do: func(ctx context.Context, h *hand) error {
		return h.around(ctx, "kill -9 with a write under way", func(w *held) error {
			defer w.tell()
			err := w.gate.replica.kill()
			w.send()
			return err
		})
	}},
	{weight: 3, do: func(ctx context.Context, h *hand) error {
		return h.around(ctx, "kill -9 after a write, before its answer", func(w *held) error {
			defer w.tell()
			w.send()
			return w.gate.replica.kill()
		})
	}},
	{weight: 2, do: func(ctx context.Context, h *hand) error {
		return h.around(ctx, "kill -9, and its last write comes after its successor's", func(w *held) error {
			defer w.tell()
			err := w.gate.replica.kill()
			h.succeeded(ctx, time.Now())
			h.came(w.send())
			return err
		})
	}},
	{weight: 1, do: func(ctx context.Context, h *hand) error { return h.stall(ctx, h.span(time.Second, 2*time.Second)) }},
	{weight: 2, do: func(ctx context.Context, h *hand) error { return h.stall(ctx, h.span(4*time.Second, 8*time.Second)) }},
	{weight: 3, do: func(ctx context.Context, h *hand) error {
		return h.around(ctx, "SIGSTOP past the lease with a write under way", func(w *held) error {
			defer w.tell()
			resume, err := w.gate.replica.pause()
			if err != nil {
				return err
			}
			h.succeeded(ctx, time.Now())
			if h.dice.IntN(2) == 0 { // the write comes before its leader is awake, or after
				h.came(w.send())
				return resume()
			}
			err = resume()
			wait(ctx, h.span(0, 100*time.Millisecond))
			h.came(w.send())
			return err
		})
	}},
}

func (h *hand) crash() error {
	if !h.count("kill -9 at any time", "") {
		return nil
	}
	return h.team.leader().kill()
}

// around strikes when the team writes; at any time if it does not.
func (h *hand) around(ctx context.Context, what string, do func(*held) error) error {
	w := h.team.catch(ctx, soon)
	if w == nil {
		return h.crash()
	}
	if !h.count(what, w.gate.replica.name+" "+w.String()) {
		defer w.tell()
		w.send()
		return nil
	}
	return do(w)
}

// stall stops the leader for a time.
func (h *hand) stall(ctx context.Context, d time.Duration) error {
	what := "SIGSTOP for less than the lease"
	if d > 3*time.Second {
		what = "SIGSTOP for longer than the lease"
	}
	if !h.count(what, d.Round(100*time.Millisecond).String()) {
		return nil
	}
	resume, err := h.team.leader().pause()
	if err != nil {
		return err
	}
	wait(ctx, d)
	return resume()
}

// succeeded waits until somebody else has written since, which is soon after the
// lease is over.
func (h *hand) succeeded(ctx context.Context, since time.Time) {
	waitFor(ctx, 10*time.Second, func() bool {
		for _, r := range h.team.replicas {
			if last, _ := r.gate.wrote(); last.After(since) {
				return true
			}
		}
		return false
	})
}

// works waits until the team has a leader, and a while longer.
func (h *hand) works(ctx context.Context) {
	if h.team.elects {
		waitFor(ctx, 30*time.Second, func() bool { return time.Since(h.team.leader().gate.leads()) < 700*time.Millisecond })
		wait(ctx, h.span(500*time.Millisecond, 3*time.Second))
		return
	}
	wait(ctx, h.span(time.Second, 4*time.Second))
}

// What the teams stand on. Proxies learn of pods and routes by way of all but
// Prometheus.
const (
	apiServer         = "kube-apiserver"
	etcd              = "etcd"
	istiod            = "istiod"
	prometheus        = "prometheus"
	controllerManager = "kube-controller-manager"
)

// onCluster are the strikes at all else.
var onCluster = []strike{
	{3, kills(apiServer), true},
	{2, killsAtWrite, true},
	{2, stops(apiServer), true},
	{1, stopsAtWrite, true},
	{1, kills(etcd), true},
	{1, stops(etcd), true},
	{2, kills(prometheus), false},
	{2, stops(prometheus), false},
	{2, kills(istiod), false},
	{2, stops(istiod), false},
	{3, stopsAtRoute, false},
	{1, kills(controllerManager), false},
}

// kills kills a process, and starts it again after a moment.
func kills(process string) func(context.Context, *hand) error {
	return func(ctx context.Context, h *hand) error {
		if !h.countAt(process, "kill -9", "") {
			return nil
		}
		defer h.gone(process)()
		if err := h.Kill(process); err != nil {
			return err
		}
		wait(ctx, h.span(0, 2*time.Second))
		return h.Restart(process)
	}
}

// stops has a process stand still for a while.
func stops(process string) func(context.Context, *hand) error {
	return func(ctx context.Context, h *hand) error {
		d := h.span(time.Second, 8*time.Second)
		if !h.countAt(process, "SIGSTOP", d.Round(100*time.Millisecond).String()) {
			return nil
		}
		defer h.gone(process)()
		if err := h.Pause(process); err != nil {
			return err
		}
		wait(ctx, d)
		return h.Resume(process)
	}
}

// killsAtWrite kills the API server while it handles a write of Serin's.
func killsAtWrite(ctx context.Context, h *hand) error {
	w := h.teams[h.dice.IntN(len(h.teams))].catch(ctx, soon)
	if w == nil {
		return kills(apiServer)(ctx, h)
	}
	defer w.tell()
	if !h.countAt(apiServer, "kill -9 with a write under way", w.gate.replica.name+" "+w.String()) {
		w.send()
		return nil
	}
	defer h.gone(apiServer)()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		w.send()
	}()
	wait(ctx, h.span(0, 5*time.Millisecond))
	err := h.Kill(apiServer)
	<-sent
	if err != nil {
		return err
	}
	return h.Restart(apiServer)
}

// stopsAtWrite has the API server stand still when a write of Serin's comes, so
// long that Serin gives up: it is done when nobody waits for it.
func stopsAtWrite(ctx context.Context, h *hand) error {
	w := h.teams[h.dice.IntN(len(h.teams))].catch(ctx, soon)
	if w == nil {
		return stops(apiServer)(ctx, h)
	}
	defer w.tell()
	if !h.countAt(apiServer, "SIGSTOP with a write under way", w.gate.replica.name+" "+w.String()) {
		w.send()
		return nil
	}
	defer h.gone(apiServer)()
	if err := h.Pause(apiServer); err != nil {
		w.drop()
		return err
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		w.send()
	}()
	wait(ctx, h.span(5*time.Second, 8*time.Second))
	err := h.Resume(apiServer)
	<-sent
	return err
}

// stopsAtRoute has istiod stand still before a route is written, so that no proxy
// learns of it and what follows for a while.
func stopsAtRoute(ctx context.Context, h *hand) error {
	t := h.teams[h.dice.IntN(len(h.teams))]
	w := t.catch(ctx, soon)
	if w == nil || w.Resource != virtualServices.Resource {
		if w != nil {
			w.send()
			w.tell()
		}
		return stops(istiod)(ctx, h)
	}
	defer w.tell()
	d := h.span(5*time.Second, 15*time.Second)
	if !h.countAt(istiod, "SIGSTOP before a route is written", d.Round(100*time.Millisecond).String()+", "+w.gate.replica.name+" "+w.String()) {
		w.send()
		return nil
	}
	defer h.gone(istiod)()
	err := h.Pause(istiod)
	w.send()
	w.tell()
	if err != nil {
		return err
	}
	wait(ctx, d)
	return h.Resume(istiod)
}

// countAt is count, of a process of the cluster.
func (h *hand) countAt(process, what, moment string) bool {
	other := *h
	other.name = process
	return other.count(what, moment)
}

// gone keeps that a process is away by which proxies learn of pods and routes.
func (h *hand) gone(process string) (back func()) {
	if process == prometheus {
		return func() {}
	}
	return h.away.begin(process)
}

// run strikes with one hand at each team and one at all else.
func (d *driver) run(ctx context.Context, seed uint64) error {
	hands := []*hand{{driver: d, name: "cluster"}}
	for _, t := range d.teams {
		hands = append(hands, &hand{driver: d, name: "team " + t.name, team: t})
	}
	for i, h := range hands {
		h.dice = rand.New(rand.NewPCG(seed, 1000+uint64(i)))
	}
	return together(hands, func(h *hand) error {
		if h.team == nil {
			return h.strikes(ctx, onCluster, func(ctx context.Context) { wait(ctx, h.span(3*time.Second, 8*time.Second)) })
		}
		return h.strikes(ctx, onControllers, h.works)
	})
}

// table writes counts in lines.
func table(counts map[string]int) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "\n  %6d  %s", counts[key], key)
	}
	return b.String()
}
