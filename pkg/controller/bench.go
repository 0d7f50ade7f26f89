package controller

import (
	"context"
	"reflect"
	"sync"
	"time"

	"go.uber.org/zap"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// bench is where the judge sits: it keeps the evidence of every rollout under
// way, asks Prometheus for all of them at once, and wakes their Services.
// Nothing of it is kept outside memory: after a restart the same questions are
// asked from stable's hour before the release on, and come to the same verdict.
type bench struct {
	options benchOptions

	mu     sync.Mutex
	trials map[cluster.Key]*trial
	began  time.Time // when this replica began to judge
	// changed tells each of the loops that there may be something else to do.
	changed [loops]chan struct{}
	hurried []<-chan struct{} // each closed when a look at suspects is over
}

// The loops of a bench, each with a pace of its own, so that none holds up
// another: what is to be read again may take long, and what happened since the
// last closed block is asked for often.
const (
	keepingUp = iota
	catchingUp
	peeking
	reviewing
	loops
)

type benchOptions struct {
	// What is asked of Prometheus, each for many rollouts at once.
	blocks    func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer
	rough     func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer
	open      func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer
	intervals func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Interval

	assumed   time.Duration // the width of blocks where the scrape interval can't be found out
	reporter  prom.Reporter
	templates map[string]prom.Template // the operator's metrics, by name
	wake      func(k cluster.Key, after time.Duration)
	meter     Meter
	log       *zap.Logger
}

func newBench(o benchOptions) *bench {
	b := &bench{options: o, trials: map[cluster.Key]*trial{}}
	for i := range b.changed {
		b.changed[i] = make(chan struct{}, 1)
	}
	return b
}

// concerns tells whether there is something to be judged: a rollout is under
// way, led or only watched, and not one that only takes back a canary no user
// ever reached.
func concerns(s canary.State) bool {
	return s.Phase == canary.Watched || s.Phase.Active() && (!s.Phase.Drains() || s.Peak > 0)
}

// follow takes note of where a rollout stands, so that what happens to it is
// asked for; of one that is over everything is dropped.
func (b *bench) follow(k cluster.Key, s canary.State, seen map[canary.ObjectKey]canary.Seen) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.trials[k]
	if t != nil && (t.state.Rollout != s.Rollout || !concerns(s)) {
		delete(b.trials, k)
		t = nil
	}
	if !concerns(s) {
		return
	}
	if t == nil {
		t = &trial{key: k}
		b.trials[k] = t
	}
	t.state = s
	if t.reading.Follow(s, written(s, seen)) {
		t.see(time.Now())
		b.tellLoops()
	}
}

// written is when the latest of the VirtualServices was given the present
// state; zero when none was. What came before is not this weight.
func written(s canary.State, seen map[canary.ObjectKey]canary.Seen) (at time.Time) {
	for _, v := range seen {
		if v.Rollout == s.Rollout && v.Sequence == s.Sequence && v.At.After(at) {
			at = v.At
		}
	}
	return at
}

func (b *bench) drop(k cluster.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.trials, k)
}

// verdict is the judge's answer for a rollout where it stands now; zero when
// there is no block yet of this step and weight, though Prometheus answers.
func (b *bench) verdict(k cluster.Key, s canary.State, now time.Time) judge.Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.trials[k]
	if t == nil || t.state.Rollout != s.Rollout {
		return judge.Verdict{}
	}
	return t.verdict(s, now)
}

// proven tells that a breach of a rollout is proven of which it still has traffic
// to lose.
func (b *bench) proven(k cluster.Key) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.trials[k]
	return t != nil && t.kind == judge.Rollback && exposed(t.state)
}

// ruled is when the judge came to roll a rollout back; zero when it has not.
func (b *bench) ruled(k cluster.Key) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.trials[k]; t != nil {
		return t.ruled
	}
	return time.Time{}
}

// count counts what canaries answered after a time, as far as this replica saw it
// happen: what is read again after a start was counted by another.
func (b *bench) count(points []canary.Point, after time.Time) {
	var requests, bad int64
	for _, p := range points {
		if p.At.After(after) && p.At.After(b.began) {
			requests, bad = requests+p.Canary.Requests, bad+p.Canary.Errors
		}
	}
	b.options.meter.Served(requests, bad)
}

// learn completes an observation by what Prometheus said of the rollout.
func (b *bench) learn(k cluster.Key, s canary.State, o *canary.Observation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.trials[k]
	// What was learned for other limits says nothing about those that were
	// written since, of which the trial isn't told yet.
	if t == nil || t.state.Rollout != s.Rollout || !reflect.DeepEqual(canary.SettingsOf(t.state), canary.SettingsOf(s)) {
		o.Replaying = s.Width > 0 && concerns(s)
		return
	}
	o.Replaying = t.behind && t.unanswered == ""
	o.Width, o.Baseline, o.Unanswered = t.blockWidth(), t.reading.Case().Baseline(), t.unanswered
	o.Unseen = t.unseen(time.Now())
}

// tellLoops has every loop look again at what it has to do.
func (b *bench) tellLoops() {
	for _, c := range b.changed {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// run asks until ctx ends. A slow Prometheus delays the next question; it never
// holds up a worker.
func (b *bench) run(ctx context.Context) {
	b.mu.Lock()
	b.began = time.Now()
	b.mu.Unlock()
	var wg sync.WaitGroup
	for i, loop := range [loops]struct {
		next func(now time.Time) time.Time
		do   func(context.Context)
	}{
		keepingUp:  {b.nextClosed, b.keepUp},
		catchingUp: {b.nextBehind, b.catchUp},
		peeking:    {b.nextPeek, b.peek},
		reviewing:  {b.nextReview, b.review},
	} {
		wg.Go(func() {
			for due(ctx, loop.next, b.changed[i]) {
				loop.do(ctx)
			}
		})
	}
	wg.Wait()
}

// due waits until next says that it is time; false when ctx has ended. The time
// is asked for anew whenever something changed.
func due(ctx context.Context, next func(now time.Time) time.Time, changed <-chan struct{}) bool {
	for {
		var ring <-chan time.Time // nil, and never rings, when there is nothing to do
		if at := next(time.Now()); !at.IsZero() {
			ring = time.After(time.Until(at))
		}
		select {
		case <-ctx.Done():
			return false
		case <-ring:
			return true
		case <-changed:
		}
	}
}
