package controller

import (
	"context"
	"maps"
	"slices"
	"strings"
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
// Nothing of it is kept outside memory: after a restart the same question is
// asked from where the step began.
type bench struct {
	options benchOptions

	mu     sync.Mutex
	trials map[cluster.Key]*trial
	wake   chan struct{} // something is to be replayed now
}

type benchOptions struct {
	// blocks asks for what closed since; prom.Blocks behind a client.
	blocks   func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer
	interval time.Duration
	reporter prom.Reporter
	wake     func(cluster.Key)
	meter    Meter
	log      *zap.Logger
}

// matter is what a trial is about. Another matter is another trial.
type matter struct {
	rollout      string
	step, weight int
}

// trial is what the judge knows of one rollout at one step and weight.
type trial struct {
	matter
	stable, canary string // Deployments
	width          time.Duration
	// from is when the last of the VirtualServices was written: what came
	// before is not this weight. It moves until all have been (whole).
	from  time.Time
	whole bool

	end  time.Time // of the last block folded
	held *judge.Case

	unanswered bool   // the last question was
	warnings   string // that came with the last answer
}

func newBench(o benchOptions) *bench {
	return &bench{options: o, trials: map[cluster.Key]*trial{}, wake: make(chan struct{}, 1)}
}

// concerns tells whether there is traffic to be judged: the canary has weight,
// or what is left of it is watched going to zero.
func concerns(s canary.State) bool {
	return s.Phase.Active() && (s.Weight > 0 || s.Phase == canary.RollingBack && s.Peak > 0)
}

func matterOf(s canary.State) matter {
	return matter{rollout: s.Rollout, step: s.Step, weight: s.Weight}
}

// follow takes note of where a rollout stands, so that its blocks are asked
// for; of one that has no traffic to judge everything is dropped.
func (b *bench) follow(k cluster.Key, s canary.State, seen map[canary.ObjectKey]canary.Seen) {
	from, whole := written(s, seen)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !concerns(s) {
		delete(b.trials, k)
		return
	}
	t := b.trials[k]
	if t == nil || t.matter != matterOf(s) || !t.whole && from.After(t.from) {
		if from.IsZero() {
			delete(b.trials, k) // ordered, and written nowhere yet
			return
		}
		t = &trial{matter: matterOf(s), from: from, end: from}
		b.trials[k] = t
		if time.Since(from) > 2*b.options.interval {
			b.hurry()
		}
	}
	t.whole = t.whole || whole
	t.stable, t.canary, t.width = s.Stable.Deployment, s.Canary.Deployment, s.Width
	if t.held == nil {
		t.held = judge.Open(canary.SettingsOf(s))
	}
}

// written is when the latest of the VirtualServices was given the present
// state, and whether all of them were.
func written(s canary.State, seen map[canary.ObjectKey]canary.Seen) (at time.Time, all bool) {
	all = true
	for _, v := range seen {
		if v.Rollout != s.Rollout || v.Sequence != s.Sequence {
			all = false
			continue
		}
		if v.At.After(at) {
			at = v.At
		}
	}
	return at, all
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
	if t == nil || t.matter != matterOf(s) {
		return judge.Verdict{}
	}
	v := t.held.Verdict(now)
	if v.Step == t.step && v.Weight == t.weight {
		return v
	}
	if !t.unanswered {
		return judge.Verdict{} // no block has come yet
	}
	// Evidence without a block does not know of which step it is, and the
	// missing answer would pass for a step that has just begun.
	v.Step, v.Weight, v.Sentence = t.step, t.weight, "no data: Prometheus does not answer"
	return v
}

func (b *bench) hurry() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run asks, once an interval, until ctx ends. A slow Prometheus delays the
// next question; it never holds up a worker.
func (b *bench) run(ctx context.Context) {
	for {
		// Asking just when the next block of the grid is closed costs no delay.
		timer := time.NewTimer(time.Until(prom.NextClosed(time.Now(), b.options.interval)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-b.wake:
			timer.Stop()
		}
		b.round(ctx)
	}
}

// round asks for the blocks of all trials, folds them, and wakes the Services:
// also where there was no answer, for no data has consequences too.
func (b *bench) round(ctx context.Context) {
	asks := b.asks()
	if len(asks) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*b.options.interval)
	defer cancel()
	now := time.Now()
	answers := b.options.blocks(ctx, slices.Collect(maps.Values(asks)), now)
	for k, ask := range asks {
		answer := answers[ask.Key]
		b.options.meter.Asked(answer.Err)
		b.note(k, answer)
		b.fold(k, ask, answer.Blocks, now)
		b.options.wake(k)
	}
}

// note logs what changed about Prometheus's answers, and not each of them.
func (b *bench) note(k cluster.Key, answer prom.Answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.trials[k]
	if t == nil {
		return
	}
	log := b.options.log.With(zap.Stringer("service", k))
	switch failed := answer.Err != nil; {
	case failed && !t.unanswered:
		log.Warn("Prometheus does not answer", zap.Error(answer.Err))
	case !failed && t.unanswered:
		log.Info("Prometheus answers again")
	}
	t.unanswered = answer.Err != nil
	if warnings := strings.Join(answer.Warnings, "; "); warnings != t.warnings {
		t.warnings = warnings
		if warnings != "" {
			log.Warn("Prometheus warns", zap.String("warnings", warnings))
		}
	}
}

// asks is what is to be asked, for each Service.
func (b *bench) asks() map[cluster.Key]prom.Ask {
	b.mu.Lock()
	defer b.mu.Unlock()
	asks := make(map[cluster.Key]prom.Ask, len(b.trials))
	for k, t := range b.trials {
		asks[k] = prom.Ask{
			Key: k.String() + " " + t.rollout, Namespace: k.Namespace, Service: k.Name,
			StableWorkload: t.stable, CanaryWorkload: t.canary,
			From: t.end, Width: t.width, Step: t.step, Weight: t.weight,
			Reporter: b.options.reporter,
		}
	}
	return asks
}

// fold adds the blocks to what they were asked for, unless that is over.
func (b *bench) fold(k cluster.Key, asked prom.Ask, blocks []judge.Block, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.trials[k]
	if t == nil || !t.end.Equal(asked.From) || t.step != asked.Step || t.weight != asked.Weight {
		return
	}
	for _, block := range blocks {
		t.held.Fold(block)
		t.end = block.End()
	}
	if len(blocks) > 0 && prom.Closed(now, t.width).After(t.end) {
		b.hurry() // a long replay comes in parts
	}
}
