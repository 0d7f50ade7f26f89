package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/e2e/scale/town"
	"serin.dev/serin/pkg/canary"
)

// measure goes through everything that is measured, in order.
func (b *bench) measure(ctx context.Context) error {
	for _, phase := range []func(context.Context) error{
		b.start, b.idle, b.release, b.work, b.breakSome, b.restart, b.breakAll,
	} {
		if err := phase(ctx); err != nil {
			return err
		}
		if err := b.serin.there(); err != nil {
			return err
		}
	}
	return b.end()
}

// start starts the controller where everything is at rest.
func (b *bench) start(ctx context.Context) (err error) {
	if b.serin, err = b.startSerin(ctx); err != nil {
		return err
	}
	s := b.serin
	if err := s.until(ctx, 5*time.Minute, 50*time.Millisecond, "the controller is ready", s.ready); err != nil {
		return err
	}
	b.report.add("start at rest, until it has read the cluster", "%.1f s", time.Since(s.began).Seconds())
	if err := b.untilShown(ctx, "all Services were looked at", func(m shown) bool { return m.services() >= len(b.units) }); err != nil {
		return err
	}
	b.report.add("start at rest, until every Service was looked at", "%.1f s", time.Since(s.began).Seconds())
	now := time.Now()
	all, err := b.requests(s.began, now)
	if err != nil {
		return err
	}
	b.report.add("API requests until then", "%d: %s; %.0f MiB read", len(all), told(tally(all)), mib(float64(b.pipe.down.Load())))
	return nil
}

func (b *bench) untilShown(ctx context.Context, what string, enough func(shown) bool) error {
	return b.serin.until(ctx, 10*time.Minute, 5*time.Second, what, func(ctx context.Context) bool {
		m, err := b.serin.look(ctx)
		return err == nil && enough(m)
	})
}

// window is what happened in a stretch of time.
type window struct {
	from, to time.Time
	up, down int64
	before   shown
	after    shown
	requests []entry
	asked    []town.Asked
	heap     float64 // MiB in use, at its highest
}

// watch measures for some time. The controller's metrics are read every 15
// seconds, as they would be.
func (b *bench) watch(ctx context.Context, long time.Duration) (w window, err error) {
	if w.before, err = b.serin.look(ctx); err != nil {
		return w, err
	}
	b.town.Asked()
	w.up, w.down, w.from = b.pipe.up.Load(), b.pipe.down.Load(), time.Now()
	for end := w.from.Add(long); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return w, ctx.Err()
		case <-time.After(min(15*time.Second, time.Until(end))):
		}
		if w.after, err = b.serin.look(ctx); err != nil {
			return w, err
		}
		w.heap = max(w.heap, mib(w.after.heap))
	}
	w.to = time.Now()
	w.up, w.down = b.pipe.up.Load()-w.up, b.pipe.down.Load()-w.down
	w.asked = b.town.Asked()
	w.requests, err = b.requests(w.from, w.to)
	return w, err
}

func (w window) seconds() float64 { return w.to.Sub(w.from).Seconds() }

// describe adds what a window tells about the controller.
func (b *bench) describe(when string, w window) {
	lease := 0
	for what, n := range tally(w.requests) {
		if what == "get leases" || what == "update leases" {
			lease += n
		}
	}
	others := len(w.requests) - lease
	b.report.add("API requests, "+when, "%.2f/s and %.1f KiB/s; but for the Lease %.2f/s: %s", float64(len(w.requests))/w.seconds(),
		float64(w.up+w.down)/1024/w.seconds(), float64(others)/w.seconds(), told(tally(w.requests)))
	passes := w.after.reconciles.since(w.before.reconciles)
	if n := passes.quantile(.5); n == n { // some
		b.report.add("passes, "+when, "%.1f/s, p50 %.1f ms", passes.all()/w.seconds(), 1000*n)
		b.report.most("reconcile p99, "+when, passes.quantile(.99), 1, "s")
	}
	now, most := b.serin.memory()
	b.report.add("memory, "+when, "resident %.0f MiB, heap in use %.0f MiB (highest of the scrapes)", now, w.heap)
	b.report.most("resident memory at its highest, until then", most, 512, "MiB")
	b.report.add("processor time, "+when, "%.1f%% of a core", 100*(w.after.cpu-w.before.cpu)/w.seconds())
}

// idle measures rest.
func (b *bench) idle(ctx context.Context) error {
	w, err := b.watch(ctx, b.rest)
	if err != nil {
		return err
	}
	b.describe("at rest", w)
	b.report.add("Prometheus queries at rest", "%d", len(w.asked))
	b.report.add("the controller's metrics, one scrape", "%.1f MiB", mib(float64(w.after.bytes)))
	return nil
}

// deploy brings second versions of some units, all at once.
func (b *bench) deploy(ctx context.Context, some []unit) error {
	born := time.Now().Truncate(time.Second)
	records := make(chan record, 1000)
	go func() {
		defer close(records)
		for _, u := range some {
			b.town.Add(town.Traffic{Namespace: u.namespace, Workload: u.canary(), Pods: podNames(u, "green"), Rate: 1, Errors: b.errors, Since: born})
			b.maker.version(u, "green", born, func(r record) { records <- r })
		}
	}()
	return b.put(ctx, "canaries", 1, records)
}

// release begins all rollouts, and waits until each has users.
func (b *bench) release(ctx context.Context) error {
	began := time.Now()
	if err := b.deploy(ctx, b.units[:b.active]); err != nil {
		return err
	}
	b.report.add("canaries brought at once", "%d within %.1f s", b.active, time.Since(began).Seconds())
	if err := b.untilActive(ctx); err != nil {
		return err
	}
	b.report.add("from there until every rollout has users and verdicts", "%.1f s", time.Since(began).Seconds())
	return nil
}

func (b *bench) untilActive(ctx context.Context) error {
	return b.untilShown(ctx, "all rollouts are judged", func(m shown) bool {
		say("rollouts with users %d, with a verdict %d", m.phases[string(canary.Progressing)], m.judged)
		return m.phases[string(canary.Progressing)] >= b.active && m.judged >= b.active
	})
}

// work measures rollouts under way.
func (b *bench) work(ctx context.Context) error {
	w, err := b.watch(ctx, b.steady)
	if err != nil {
		return err
	}
	b.describe(fmt.Sprintf("with %d active", b.active), w)
	b.queries(w)
	return nil
}

// sum is what queries of one kind come to.
type sum struct {
	n, bytes, series int
	took             []time.Duration
}

func byKind(asked []town.Asked) map[string]*sum {
	kinds := map[string]*sum{}
	for _, a := range asked {
		if kinds[a.Kind] == nil {
			kinds[a.Kind] = &sum{}
		}
		k := kinds[a.Kind]
		k.n, k.bytes, k.series, k.took = k.n+1, k.bytes+a.Bytes, k.series+a.Series, append(k.took, a.Took)
	}
	return kinds
}

// each is what one of the queries comes to.
func (s *sum) each() string {
	return fmt.Sprintf("%.0f series and %.1f KiB each, answered in %s (p50) and %s (p99)", float64(s.series)/float64(s.n), float64(s.bytes)/1024/float64(s.n),
		quantile(s.took, .5).Round(time.Millisecond/10), quantile(s.took, .99).Round(time.Millisecond/10))
}

// queries tells what was asked of Prometheus.
func (b *bench) queries(w window) {
	kinds, total := byKind(w.asked), 0
	for _, k := range kinds {
		total += k.bytes
	}
	b.report.add("Prometheus queries", "%.1f/s, %.2f MiB/s; %.1f and %.1f MiB a scrape interval", float64(len(w.asked))/w.seconds(), mib(float64(total))/w.seconds(),
		float64(len(w.asked))/w.seconds()*b.scrape.Seconds(), mib(float64(total))/w.seconds()*b.scrape.Seconds())
	for _, name := range sortedKeys(kinds) {
		b.report.add("of them "+name, "%.1f/s, %s", float64(kinds[name].n)/w.seconds(), kinds[name].each())
	}
}

// verifications tells what was asked of Prometheus after rollbacks, since the rollouts
// under way were measured.
func (b *bench) verifications() {
	kinds := byKind(b.town.Asked())
	for _, name := range []string{town.Verification, town.Residual} {
		if k := kinds[name]; k != nil {
			b.report.add("Prometheus queries after rollbacks: "+name, "%d, %s", k.n, k.each())
		}
	}
}

// broken is a canary that breaks.
type broken struct {
	unit
	state canary.State
	at    time.Time
}

// share is how many of a broken canary's answers are errors.
const share = 0.5

// breaches breaks canaries at times within a stretch, and measures how long
// after the data showed it their traffic was taken away.
func (b *bench) breaches(ctx context.Context, some []unit, within time.Duration) (latencies, blind []time.Duration, err error) {
	all := make([]broken, 0, len(some))
	for _, u := range some {
		s, err := b.stateOf(ctx, u)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, broken{unit: u, state: s})
	}
	began := time.Now()
	for i := range all {
		all[i].at = began.Add(time.Second)
		if within > 0 {
			all[i].at = all[i].at.Add(time.Duration(b.random.Int64N(int64(within))))
		}
		b.town.Break(all[i].namespace, all[i].canary(), share, all[i].at)
	}
	writes, err := b.untilWritten(ctx, all, began, within+2*time.Minute)
	if err != nil {
		return nil, nil, err
	}
	list := "Service,broken,shown,written\n"
	for _, u := range all {
		written := writes[u.key()]
		blind = append(blind, written.Sub(u.at))
		shown, err := shownAt(ctx, b.town, u.unit, u.state, u.at, written.Add(heard))
		if errors.Is(err, errNeverShown) {
			b.report.add("rolled back before the data show it", "%s, broken at %s, written at %s", u.key(), u.at.Format(time.TimeOnly), written.Format(time.TimeOnly))
			list += row(u.key(), u.at, time.Time{}, written)
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("find out when the breach of %s was shown: %w", u.key(), err)
		}
		latencies = append(latencies, written.Sub(shown))
		list += row(u.key(), u.at, shown, written)
	}
	return latencies, blind, b.keep(fmt.Sprintf("breaches-%d.csv", len(some)), list)
}

// stamp is a time as it is kept: as serin.log has them, to find a breach in it.
const stamp = "2006-01-02T15:04:05.000000Z07:00"

// row is a line of times about a Service; what never was is empty.
func row(key string, times ...time.Time) string {
	cells := []string{key}
	for _, at := range times {
		cell := ""
		if !at.IsZero() {
			cell = at.Format(stamp)
		}
		cells = append(cells, cell)
	}
	return strings.Join(cells, ",") + "\n"
}

// keep writes a file beside the others of this run, for whoever looks for the reason
// of a figure.
func (b *bench) keep(name, text string) error {
	return os.WriteFile(b.plane.file(name), []byte(text), 0o600)
}

// heard is how long after the write of a route all proxies go by it.
const heard = time.Second

// untilWritten waits until each broken canary's routes were written, by which its users
// leave it.
func (b *bench) untilWritten(ctx context.Context, all []broken, since time.Time, limit time.Duration) (writes map[string]time.Time, err error) {
	what := fmt.Sprintf("%d broken canaries have lost their users", len(all))
	waited := b.serin.until(ctx, limit, 3*time.Second, what, func(context.Context) bool {
		var requests []entry
		if requests, err = b.requests(since, time.Now()); err != nil {
			return true
		}
		writes = firstWrites(requests, since)
		for _, u := range all {
			if written := writes[u.key()]; !written.IsZero() {
				b.town.Leave(u.namespace, u.canary(), written.Add(heard))
			}
		}
		return !slices.ContainsFunc(all, func(u broken) bool { return writes[u.key()].IsZero() })
	})
	if waited != nil {
		return nil, waited
	}
	return writes, err
}

// breakSome breaks canaries at different times.
func (b *bench) breakSome(ctx context.Context) error {
	within := max(b.scrape, time.Duration(b.settings.breaches)*b.steady/200)
	latencies, blind, err := b.breaches(ctx, b.units[:b.settings.breaches], within)
	if err != nil {
		return err
	}
	b.tellBreaches(fmt.Sprintf("%d canaries that break within %s", len(latencies), within.Round(time.Second)), latencies, blind)
	b.report.most(fmt.Sprintf("data show the breach to write acknowledged, p99, with %d active", b.active), quantile(latencies, .99).Seconds(), 1, "s")
	return nil
}

func (b *bench) tellBreaches(who string, latencies, blind []time.Duration) {
	b.report.add(who+": data show it to write acknowledged", "%s", spread(latencies))
	b.report.add(who+": first error to write acknowledged", "%s", spread(blind))
}

// restart ends the controller, breaks some canaries, and starts it again.
func (b *bench) restart(ctx context.Context) error {
	if err := b.deploy(ctx, b.units[b.active:b.active+b.settings.breaches]); err != nil {
		return err
	}
	if err := b.untilActive(ctx); err != nil {
		return err
	}
	if err := b.serin.stop(); err != nil {
		return err
	}
	last := b.active + b.settings.breaches
	some := b.units[last-min(20, b.settings.breaches) : last]
	all := make([]broken, 0, len(some))
	now := time.Now()
	for _, u := range some {
		all = append(all, broken{unit: u, at: now})
		b.town.Break(u.namespace, u.canary(), share, now)
	}
	if err := sleep(ctx, 4*b.scrape); err != nil { // until the data of all of them show it
		return err
	}
	var err error
	if b.serin, err = b.startSerin(ctx); err != nil {
		return err
	}
	s := b.serin
	if err := s.until(ctx, 5*time.Minute, 50*time.Millisecond, "the controller is ready", s.ready); err != nil {
		return err
	}
	b.report.add(fmt.Sprintf("restart with %d active, until it has read the cluster", b.active), "%.1f s", time.Since(s.began).Seconds())
	writes, err := b.untilWritten(ctx, all, s.began, 5*time.Minute)
	if err != nil {
		return err
	}
	var took []time.Duration
	for _, u := range all {
		took = append(took, writes[u.key()].Sub(s.began))
	}
	b.report.add("process start to first decision: the first write, of canaries that broke while it was away", "%.1f s", quantile(took, 0).Seconds())
	b.report.add("to the write of each of them", "%s", spread(took))
	if err := b.untilShown(ctx, "all rollouts are judged again", func(m shown) bool { return m.judged >= b.active-len(some) }); err != nil {
		return err
	}
	b.report.add("until every rollout is judged again", "%.1f s", time.Since(s.began).Seconds())
	if err := b.untilShown(ctx, "all Services were looked at", func(m shown) bool { return m.services() >= len(b.units) }); err != nil {
		return err
	}
	b.report.add("until every Service was looked at", "%.1f s", time.Since(s.began).Seconds())
	return nil
}

func sleep(ctx context.Context, long time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(long):
		return nil
	}
}

// breakAll breaks all canaries that are left in one moment.
func (b *bench) breakAll(ctx context.Context) error {
	last := b.active + b.settings.breaches
	some := b.units[b.settings.breaches : last-min(20, b.settings.breaches)]
	latencies, blind, err := b.breaches(ctx, some, 0)
	if err != nil {
		return err
	}
	b.tellBreaches(fmt.Sprintf("%d canaries that break in one moment", len(latencies)), latencies, blind)
	return nil
}

// end stops the controller and tells what is true of the whole.
func (b *bench) end() error {
	b.verifications()
	_, most := b.serin.memory()
	b.report.most("resident memory at its highest, after the restart", most, 512, "MiB")
	if err := b.serin.stop(); err != nil {
		return err
	}
	b.report.most("restarts that were not asked for", 0, 0, "times")
	return nil
}
