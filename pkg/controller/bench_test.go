package controller

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/replay"
)

var (
	shopWeb = cluster.Key{Namespace: "shop", Name: "web"}
	one     = canary.ObjectKey{Kind: "VirtualService", Namespace: "shop", Name: "one"}
	two     = canary.ObjectKey{Kind: "VirtualService", Namespace: "shop", Name: "two"}
)

func newTestBench(m *mesh, log *zap.Logger) *bench {
	return newBench(benchOptions{
		blocks: m.blocks, rough: m.rough, open: m.open, intervals: m.intervals, assumed: 15 * time.Second,
		wake: func(cluster.Key, time.Duration) {}, meter: unmetered{}, log: log,
	})
}

// start runs a bench until the function it returns is called.
func start(t *testing.T, b *bench) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		b.run(ctx)
		close(done)
	}()
	return func() {
		cancel()
		<-done
	}
}

// release is a rollout that goes on, as its VirtualServices carry it.
type release struct {
	state   canary.State
	written time.Time
}

// begin is a release in its test, an hour after the bubble's time began.
func begin() *release {
	spec := canary.Spec{
		Steps:        []canary.Step{{Weight: 5, Bake: time.Minute}, {Weight: 25, Bake: time.Minute}, {Weight: 100, Bake: time.Minute}},
		StepDeadline: 30 * time.Minute,
		Limits:       judge.Limits{ErrorRate: 0.01, P99: time.Second}, Rules: judge.DefaultRules(),
	}
	now := time.Now()
	return &release{written: now, state: canary.State{
		Rollout: "r", Sequence: 1, Phase: canary.Testing, Spec: spec, Started: now, Since: now,
		Canary: canary.Side{Deployment: "web-v2"}, Stable: canary.Side{Deployment: "web-v1"},
	}}
}

// order gives the release another phase, step and weight, now.
func (r *release) order(phase canary.Phase, step, weight int) {
	now := time.Now()
	if r.state.Weight > 0 {
		r.state.Legs = append(slices.Clone(r.state.Legs), canary.Leg{Step: r.state.Step, Weight: r.state.Weight,
			From: time.UnixMilli(r.written.UnixMilli()).UTC(), To: time.UnixMilli(now.UnixMilli()).UTC()})
	}
	r.state.Sequence++
	r.state.Phase, r.state.Step, r.state.Weight = phase, step, weight
	r.state.Peak, r.state.Width, r.state.Since = max(r.state.Peak, weight), interval, now
	r.written = now
}

// show is a pass over the Service: the bench learns where it stands.
func (r *release) show(b *bench) {
	b.follow(shopWeb, r.state, carried(r.state, r.written, one, two))
}

func atStep(step, weight int) *release {
	r := begin()
	r.order(canary.Progressing, step, weight)
	return r
}

func carried(s canary.State, at time.Time, keys ...canary.ObjectKey) map[canary.ObjectKey]canary.Seen {
	seen := map[canary.ObjectKey]canary.Seen{one: {}, two: {}}
	for _, k := range keys {
		seen[k] = canary.Seen{Rollout: s.Rollout, Sequence: s.Sequence, At: at}
	}
	return seen
}

// theCase is what the judge knows of the release, whatever it is shown for.
func (b *bench) theCase() *judge.Case {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.trials[shopWeb].reading.Case()
}

// story plays a release with all that may happen to its weight, and tells the
// moments at which something was ordered.
func story(r *release, show func()) {
	for _, part := range []struct {
		phase        canary.Phase
		step, weight int
		lasts        time.Duration
	}{
		{canary.Testing, 0, 0, time.Minute},
		{canary.Progressing, 1, 5, 97 * time.Second},
		{canary.Paused, 1, 5, 3*time.Minute + 300*time.Millisecond},
		{canary.Progressing, 1, 5, 41 * time.Second},
		{canary.Progressing, 2, 25, 2 * time.Minute},
		{canary.Paused, 2, 10, 90 * time.Second}, // a person took some of it away
		{canary.Paused, 2, 0, time.Minute},       // and then all
		{canary.Progressing, 2, 25, 4 * time.Second},
		{canary.Progressing, 3, 100, 3 * time.Minute},
	} {
		if part.phase != canary.Testing {
			r.order(part.phase, part.step, part.weight)
		}
		show()
		pass(part.lasts)
		synctest.Wait()
	}
}

func TestAReplayComesToTheSameVerdictsBlockByBlock(t *testing.T) {
	for name, errors := range map[string]float64{"a good version": 0.002, "a bad one that nobody rolls back": 0.04} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { liveAndReplayed(t, errors) }) })
	}
}

// liveAndReplayed compares a bench that was there all the time with a replay by
// anybody, after each block, and with another bench that was just started.
func liveAndReplayed(t *testing.T, errors float64) {
	m := &mesh{scrape: interval}
	b := newTestBench(m, zap.NewNop())
	b.options.rough = (&mesh{away: true}).rough // what it sees, a replay sees a little later
	live := map[time.Time]judge.Verdict{}       // by the end of the newest block
	var mu sync.Mutex
	b.options.wake = func(cluster.Key, time.Duration) {
		v := b.theCase().Verdict(time.Now())
		mu.Lock()
		defer mu.Unlock()
		live[v.At] = v
	}
	m.setErrors(errors)
	stop := start(t, b)
	r := begin()
	story(r, func() { r.show(b) })
	stop()
	now := time.Now()

	of := replay.Subject{Namespace: "shop", Service: "web", State: r.state, From: r.written}
	var last judge.Verdict
	blocks, compared := 0, 0
	_, err := replay.Run(t.Context(), m.blocks, of, now, func(s replay.Stretch, block judge.Block, c *judge.Case) {
		if s.Before {
			return
		}
		blocks++
		last = c.Verdict(now)
		v := c.Verdict(block.End().Add(interval))
		if was, some := live[v.At]; some && v.At.Equal(block.End()) {
			compared++
			if !reflect.DeepEqual(was, v) {
				t.Errorf("at %s the live verdict was\n%+v\nreplayed it is\n%+v", v.At, was, v)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if blocks < 120 || compared < blocks*9/10 {
		t.Errorf("compared %d of %d blocks", compared, blocks)
	}
	again := newTestBench(m, zap.NewNop())
	again.options.rough = b.options.rough
	r.show(again)
	stop = start(t, again)
	synctest.Wait()
	stop()
	if got := again.theCase().Verdict(now); !reflect.DeepEqual(got, last) {
		t.Errorf("after a restart the verdict is\n%+v\nwant\n%+v", got, last)
	}
	if was := b.theCase().Verdict(now); !reflect.DeepEqual(was, last) {
		t.Errorf("live the last verdict was\n%+v\nreplayed it is\n%+v", was, last)
	}
}

func TestAStepIsShownNoVerdictOfTheStepBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		b := newTestBench(m, zap.NewNop())
		defer start(t, b)()
		r := atStep(1, 5)
		r.show(b)
		pass(2 * time.Minute)
		synctest.Wait()
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Kind != judge.Promote || v.Covered < 100*time.Second {
			t.Fatalf("after two good minutes the verdict is %s over %s, want Promote: %s", v.Kind, v.Covered, v.Sentence)
		}
		r.order(canary.Progressing, 2, 25)
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Kind != "" {
			t.Errorf("the next step begins with the verdict %s of the step before", v.Kind)
		}
		r.show(b)
		pass(20 * time.Second)
		synctest.Wait()
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Weight != 25 || v.Covered == 0 || v.Covered > 15*time.Second {
			t.Errorf("the next step's verdict is of %d%% over %s", v.Weight, v.Covered)
		}
	})
}

func TestTheBakeCountsFromTheLastRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		b := newTestBench(m, zap.NewNop())
		defer start(t, b)()
		r := atStep(1, 5)
		b.follow(shopWeb, r.state, carried(r.state, time.Time{}))
		pass(time.Minute)
		for _, a := range m.questions() {
			if a.Weight > 0 {
				t.Error("a step that is written nowhere is asked about")
			}
		}
		b.follow(shopWeb, r.state, carried(r.state, time.Now(), one))
		pass(time.Minute)
		synctest.Wait()
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Covered == 0 {
			t.Error("with one of two routes written nobody judges")
		}
		last := time.Now()
		seen := carried(r.state, last, one, two)
		seen[one] = canary.Seen{Rollout: "r", Sequence: r.state.Sequence, At: last.Add(-time.Minute)}
		b.follow(shopWeb, r.state, seen)
		pass(30 * time.Second)
		synctest.Wait()
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Covered == 0 || v.Covered > 30*time.Second {
			t.Errorf("the bake of %s counts what came before the last route", v.Covered)
		}
	})
}

func TestALongReplayComesInPartsWithoutWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{most: 100}
		b := newTestBench(m, zap.NewNop())
		r := atStep(1, 5)
		pass(time.Hour)
		r.show(b)
		began := time.Now()
		stop := start(t, b)
		synctest.Wait()
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Covered < 55*time.Minute || time.Since(began) > 0 {
			t.Errorf("after %s it knows %s of the hour, in %d questions", time.Since(began), v.Covered, len(m.questions()))
		}
		stop()
	})
}

func TestAnAnswerThatComesTooLateIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		b := newTestBench(m, zap.NewNop())
		r := atStep(1, 5)
		r.show(b)
		pass(time.Minute)
		all := func(*trial) bool { return true }
		before := b.pick(all)[0]
		answer := m.blocks(t.Context(), asksOf([]question{before}), time.Now())[before.ask.Key]
		r.state.Spec.Limits.ErrorRate = 0.02
		r.show(b)
		b.take(before, answer, time.Now())
		if after := b.pick(all)[0]; !after.had.Equal(before.had) {
			t.Errorf("an answer to a question under other limits was read up to %s", after.had)
		}
	})
}

func TestWhoIsAskedAbout(t *testing.T) {
	rollingBack := func(weight, peak int) *release {
		r := begin()
		r.order(canary.RollingBack, 1, weight)
		r.state.Peak = peak
		return r
	}
	rest := func() *release {
		r := atStep(3, 100)
		r.state.Phase = canary.Succeeded
		return r
	}
	for name, c := range map[string]struct {
		release             func() *release
		before, now, peeked bool
	}{
		"a canary with weight":                                 {func() *release { return atStep(1, 5) }, true, true, true},
		"of one at 0% only what stable did before":             {begin, true, false, false},
		"what is left of the traffic in a rollback":            {func() *release { return rollingBack(0, 5) }, true, true, false},
		"no rollback of a canary that never had any":           {func() *release { return rollingBack(0, 0) }, false, false, false},
		"a rollback whose stable can't serve keeps its weight": {func() *release { return rollingBack(5, 5) }, true, true, false},
		"nothing at rest":                                      {rest, false, false, false},
		"by the threshold nobody looks before a block is closed": {func() *release {
			r := atStep(1, 5)
			r.state.Spec.Rules.Mode = judge.ModeThreshold
			return r
		}, true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &mesh{}
				b := newTestBench(m, zap.NewNop())
				c.release().show(b)
				stop := start(t, b)
				pass(time.Minute)
				stop()
				asked := map[bool]bool{}
				for _, a := range m.questions() {
					asked[a.Width == time.Minute] = true
				}
				if asked[true] != c.before || asked[false] != c.now {
					t.Errorf("asked about before %v and now %v, want %v and %v", asked[true], asked[false], c.before, c.now)
				}
				if peeked := len(m.peeks()) > 0; peeked != c.peeked {
					t.Errorf("the open block is looked at: %v, want %v", peeked, c.peeked)
				}
			})
		})
	}
}

func TestAnOutageOfPrometheusIsLoggedOnceAndItsEndToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zap.InfoLevel)
		m := &mesh{away: true}
		b := newTestBench(m, zap.New(core))
		defer start(t, b)()
		atStep(1, 5).show(b)
		pass(20 * time.Minute)
		asked := len(m.questions())
		m.setAway(false)
		pass(2 * time.Minute)
		n := logged.FilterMessageSnippet("Prometheus").Len()
		if n != 2 {
			t.Errorf("logged %d lines, want 2: %v", n, logged.All())
		}
		if asked < 100 || asked > 20*60 {
			t.Errorf("in 20 minutes of silence it asked %d times", asked)
		}
	})
}

func TestAStepThatBeginsWithoutPrometheusIsOneWithoutData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{away: true}
		b := newTestBench(m, zap.NewNop())
		defer start(t, b)()
		r := atStep(1, 5)
		r.show(b)
		pass(2 * time.Minute)
		v := b.verdict(shopWeb, r.state, time.Now())
		if v.Kind != judge.NoData || v.Step != 1 || v.Weight != 5 {
			t.Errorf("the verdict is %q of step %d at %d%%, want NoData of step 1 at 5%%", v.Kind, v.Step, v.Weight)
		}
		m.setAway(false)
		pass(15 * time.Second)
		synctest.Wait()
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Kind != judge.Promote {
			t.Errorf("with answers again the verdict is %s, want Promote: %s", v.Kind, v.Sentence)
		}
	})
}

func TestWhatIsLearnedBeforeTheFirstStep(t *testing.T) {
	for name, c := range map[string]struct {
		scrape, want time.Duration
	}{
		"the scrape interval":                {7 * time.Second, 7 * time.Second},
		"none to be found out":               {0, 15 * time.Second},
		"one that is no width of blocks":     {time.Hour, 10 * time.Minute},
		"one of less than a whole width":     {time.Millisecond, time.Second},
		"one that is no whole of anything":   {1234567890 * time.Nanosecond, 1235 * time.Millisecond},
		"the longest that is waited for yet": {10 * time.Minute, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &mesh{away: true, scrape: c.scrape}
				b := newTestBench(m, zap.NewNop())
				defer start(t, b)()
				r := begin()
				r.show(b)
				pass(time.Minute)
				synctest.Wait()
				var o canary.Observation
				if b.learn(shopWeb, r.state, &o); o.Width != 0 || o.Baseline.Known || !strings.Contains(o.Unanswered, "refused") {
					t.Errorf("without an answer it learned %+v", o)
				}
				m.setAway(false)
				pass(11 * time.Second)
				synctest.Wait()
				if b.learn(shopWeb, r.state, &o); o.Width != c.want || !o.Baseline.Known || o.Unanswered != "" {
					t.Errorf("it learned %+v, want a width of %s", o, c.want)
				}
				blocks, intervals := m.asks()
				pass(time.Hour)
				if b, i := m.asks(); b > blocks || i > intervals+int(time.Hour/lastRepeat) {
					t.Errorf("it asks %d times more for blocks and %d times for the interval, though all is known", b-blocks, i-intervals)
				}
			})
		})
	}
}

func TestAnAssumedWidthIsCorrectedUntilTheFirstUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		b := newTestBench(m, zap.NewNop())
		defer start(t, b)()
		r := begin()
		r.show(b)
		width := func() time.Duration {
			pass(time.Minute)
			synctest.Wait()
			var o canary.Observation
			b.learn(shopWeb, r.state, &o)
			return o.Width
		}
		if got := width(); got != 15*time.Second {
			t.Errorf("with nothing to tell it from the width is %s, want the assumed 15s", got)
		}
		m.setScrape(time.Minute)
		if got := width(); got != time.Minute {
			t.Errorf("once there are series the width is %s, want 1m", got)
		}
		_, before := m.asks()
		width()
		if _, after := m.asks(); after > before+int(time.Minute/lastRepeat) {
			t.Errorf("it is asked for %d times more, though it was found out", after-before)
		}
	})
}

func TestNothingIsLearnedForLimitsThatWereWrittenSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		b := newTestBench(m, zap.NewNop())
		defer start(t, b)()
		r := begin()
		r.show(b)
		pass(time.Minute)
		learned := func() (o canary.Observation) {
			b.learn(shopWeb, r.state, &o)
			return o
		}
		if !learned().Baseline.Known {
			t.Fatal("what stable did before isn't known after a minute")
		}
		r.state.Spec.Limits.ErrorRate = 0.0001
		if learned().Baseline.Known {
			t.Error("what was learned for other limits passes for these")
		}
		r.show(b)
		pass(time.Minute)
		if !learned().Baseline.Known {
			t.Error("what stable did before isn't known for the new limits")
		}
	})
}

func TestARestartIsToldUntilAllIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{away: true}
		b := newTestBench(m, zap.NewNop())
		replaying := func(s canary.State) bool {
			var o canary.Observation
			b.learn(shopWeb, s, &o)
			return o.Replaying
		}
		if replaying(begin().state) {
			t.Error("a release that just begins has nothing to be read again")
		}
		r := atStep(1, 5)
		pass(time.Hour)
		if !replaying(r.state) {
			t.Error("nothing was read of it, and it is not told")
		}
		r.show(b)
		if !replaying(r.state) {
			t.Error("nothing was asked yet, and it is not told")
		}
		defer start(t, b)()
		pass(time.Second)
		synctest.Wait()
		if replaying(r.state) {
			t.Error("Prometheus does not answer, which is no reason to wait for a verdict")
		}
		m.setAway(false)
		pass(time.Minute)
		synctest.Wait()
		if replaying(r.state) {
			t.Error("all was read, and it is still told")
		}
	})
}

func TestOtherLimitsJudgeTheWholeReleaseAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		b := newTestBench(m, zap.NewNop())
		defer start(t, b)()
		m.setErrors(0.05)
		r := atStep(1, 5)
		r.show(b)
		pass(3 * time.Minute)
		synctest.Wait()
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Kind != judge.Rollback {
			t.Fatalf("5%% of errors at a limit of 1%% are %s: %s", v.Kind, v.Sentence)
		}
		r.order(canary.Progressing, 1, 5)
		r.state.Spec.Limits.ErrorRate = 0.2
		r.show(b)
		pass(time.Minute)
		synctest.Wait()
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Kind != judge.Promote || v.Covered < 3*time.Minute {
			t.Errorf("at a limit of 20%% they are %s over %s: %s", v.Kind, v.Covered, v.Sentence)
		}
	})
}

func TestEachRolloutIsAskedAboutAtThePaceOfItsOwnBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		b := newTestBench(m, zap.NewNop())
		defer start(t, b)()
		for name, width := range map[string]time.Duration{"quick": time.Second, "slow": time.Minute} {
			r := atStep(1, 5)
			r.state.Width = width
			b.follow(cluster.Key{Namespace: "shop", Name: name}, r.state, carried(r.state, r.written, one, two))
		}
		pass(5 * time.Minute)
		asked := len(m.questions())
		pass(10 * time.Minute)
		times := map[string]int{}
		for _, a := range m.questions()[asked:] {
			times[a.Service]++
		}
		if times["quick"] != 600 || times["slow"] != 10 {
			t.Errorf("in ten minutes it asked %v times", times)
		}
		peeks := map[string]int{}
		for _, a := range m.peeks() {
			peeks[a.Service]++
			if border(a.From, a.Width) != a.From.Local() {
				t.Fatalf("the open block of %s begins at %s, which is no border", a.Service, a.From)
			}
		}
		if peeks["quick"] > 2*15*60+1 || peeks["quick"] < 15*60 || peeks["slow"] > 30*15+1 || peeks["slow"] < 15*15 {
			t.Errorf("in a quarter of an hour it looked at open blocks %v times", peeks)
		}
	})
}

func TestABreachIsProvenByTheOpenBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		b := newTestBench(m, zap.NewNop())
		var woken atomic.Int64
		b.options.wake = func(cluster.Key, time.Duration) { woken.Add(1) }
		defer start(t, b)()
		r := atStep(1, 5)
		r.state.Width = time.Minute
		r.show(b)
		pass(9*time.Minute + 59*time.Second)
		synctest.Wait()
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Kind != judge.Promote {
			t.Fatalf("after ten good minutes the verdict is %s: %s", v.Kind, v.Sentence)
		}
		m.setErrors(1)
		before := woken.Load()
		pass(16 * time.Second)
		synctest.Wait()
		v := b.verdict(shopWeb, r.state, time.Now())
		if v.Kind != judge.Rollback || !v.Open || v.Step != 1 || v.Weight != 5 || woken.Load() == before {
			t.Errorf("a quarter of a block later it is %s (open: %v) of step %d at %d%%, woken %d times: %s", v.Kind, v.Open, v.Step, v.Weight, woken.Load()-before, v.Sentence)
		}
		r.order(canary.RollingBack, 1, 0)
		r.show(b)
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Kind != "" {
			t.Errorf("the rollback begins with %s and %d quiet blocks", v.Kind, v.Quiet)
		}
	})
}

// What proves a breach may lie in the closed block and in the open one behind it.
func TestTheBlockBehindTheOneJustClosedIsLookedAtAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		b := newTestBench(m, zap.NewNop())
		b.options.blocks = func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			pass(100 * time.Millisecond)
			return m.blocks(ctx, asks, now)
		}
		var behind time.Time // of the open blocks only this one proves something
		var looked []time.Duration
		b.options.open = func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			if !asks[0].From.Equal(behind) {
				return map[string]prom.Answer{}
			}
			looked = append(looked, now.Sub(behind))
			return m.open(ctx, asks, now)
		}
		defer start(t, b)()
		r := atStep(1, 5)
		r.state.Width = 15 * time.Second
		r.show(b)
		pass(10 * time.Minute)
		behind = border(time.Now(), r.state.Width)
		closed := prom.NextClosed(behind.Add(r.state.Width), r.state.Width)
		pass(time.Until(behind.Add(-time.Second)))
		m.setErrors(1) // in the last second of the block before
		pass(time.Until(closed.Add(100 * time.Millisecond)))
		synctest.Wait()
		want := closed.Sub(behind) + 100*time.Millisecond
		if len(looked) != 1 || looked[0] != want {
			t.Errorf("the open block is looked at after %v, want %s", looked, want)
		}
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Kind != judge.Rollback {
			t.Errorf("the verdict is %s: %s", v.Kind, v.Sentence)
		}
	})
}

func TestOnlyWhatCouldBeABreachIsLookedAtClosely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		b := newTestBench(m, zap.NewNop())
		defer start(t, b)()
		r := atStep(1, 5)
		r.state.Width = time.Minute
		r.show(b)
		pass(10 * time.Minute)
		m.setErrors(0.005)
		pass(10 * time.Minute)
		synctest.Wait()
		if n := m.looks(); n != 0 || len(m.peeks()) < 100 {
			t.Errorf("of half the limit %d of %d looks were close", n, len(m.peeks()))
		}
		m.setErrors(1)
		pass(16 * time.Second)
		synctest.Wait()
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Kind != judge.Rollback || m.looks() == 0 {
			t.Errorf("of a breach %d looks were close: %s", m.looks(), v.Sentence)
		}
	})
}

func TestASuspectDoesNotWaitForTheLookAtAllOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{}
		b := newTestBench(m, zap.NewNop())
		stop := start(t, b)
		r := atStep(1, 5)
		r.show(b)
		pass(5 * time.Minute)
		stop()
		m.setErrors(1)
		pass(2 * time.Second)
		b.trials[shopWeb].suspect = true // by the look before
		b.options.rough = func(ctx context.Context, asks []prom.Ask, _ time.Time) map[string]prom.Answer {
			<-ctx.Done()
			return map[string]prom.Answer{asks[0].Key: {Err: ctx.Err()}}
		}
		defer start(t, b)()
		pass(2 * reviewBeat)
		synctest.Wait()
		if v := b.verdict(shopWeb, r.state, time.Now()); v.Kind != judge.Rollback || m.looks() == 0 {
			t.Errorf("%d looks later the verdict is %s: %s", m.looks(), v.Kind, v.Sentence)
		}
	})
}

func TestAVerdictIsLoggedOnceUntilItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zap.InfoLevel)
		m := &mesh{}
		b := newTestBench(m, zap.New(core))
		defer start(t, b)()
		atStep(1, 5).show(b)
		pass(10 * time.Minute)
		m.setErrors(0.5)
		pass(10 * time.Minute)
		var kinds []string
		for _, line := range logged.FilterMessageSnippet("Verdict").All() {
			kinds = append(kinds, fmt.Sprint(line.ContextMap()["kind"]))
		}
		if n := len(kinds); n < 3 || n > 5 || kinds[0] != "Hold" || kinds[1] != "Promote" || kinds[n-1] != "Rollback" {
			t.Errorf("logged the verdicts %v", kinds)
		}
	})
}

// TestAThousandRolloutsAreReplayedInFewQueries counts the queries themselves,
// of a Prometheus that knows nothing.
func TestAThousandRolloutsAreReplayedInFewQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var queries, points atomic.Int64
		query := func(_ context.Context, _ string, start, end time.Time, step time.Duration) (prom.Matrix, error) {
			queries.Add(1)
			for most := end.Sub(start).Nanoseconds() / step.Nanoseconds(); ; {
				if was := points.Load(); was >= most || points.CompareAndSwap(was, most) {
					return prom.Matrix{}, nil
				}
			}
		}
		var mu sync.Mutex
		var weights []int
		b := newTestBench(&mesh{}, zap.NewNop())
		b.options.blocks = func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			mu.Lock()
			defer mu.Unlock()
			for _, a := range asks {
				if a.Width != time.Minute {
					weights = append(weights, a.Weight)
				}
			}
			return prom.Blocks(ctx, query, asks, now)
		}
		b.options.rough = func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			return prom.Rough(ctx, query, asks, now)
		}
		b.options.open = func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			return prom.Open(ctx, query, asks, now)
		}
		for i := range 1000 {
			r := begin()
			pass(434 * time.Millisecond)
			r.order(canary.Progressing, 1, 5)
			pass(589 * time.Millisecond)
			if i%2 == 0 {
				r.order(canary.Progressing, 2, 25)
			}
			b.follow(cluster.Key{Namespace: fmt.Sprint("team-", i%50), Name: fmt.Sprint("web-", i)}, r.state, carried(r.state, r.written, one, two))
		}
		pass(time.Minute)
		stop := start(t, b)
		synctest.Wait()
		replayed := queries.Load()
		t.Logf("%d queries for the replay of 1000 rollouts, at most %d points of a series", replayed, points.Load())
		if replayed > 1000 {
			t.Errorf("the replay took %d queries", replayed)
		}
		if points.Load() > 1000 {
			t.Errorf("a query asked for %d points of each series", points.Load())
		}
		pass(time.Minute)
		synctest.Wait()
		before := queries.Load()
		pass(time.Minute)
		synctest.Wait()
		perBlock := float64(queries.Load()-before) / (60 / interval.Seconds())
		t.Logf("%.1f queries in each %s then", perBlock, interval)
		if perBlock > 120 {
			t.Errorf("once it is up to date it asks %.1f queries in each block", perBlock)
		}
		stop()
		if first := slices.Index(weights, 5); first >= 0 && slices.Contains(weights[:first], 5) {
			t.Error("rollouts of less weight are asked about first")
		}
	})
}
