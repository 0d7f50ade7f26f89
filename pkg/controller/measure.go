package controller

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/mode"
)

// Meter counts what the controller does, for its own metrics. Its methods must be
// safe for concurrent use and must not block.
type Meter interface {
	// Decided counts an Event that was told.
	Decided(reason canary.Reason)
	// Moved counts that a rollout came from one phase, or one step, to another.
	Moved(from, to canary.Phase, reason canary.Reason)
	// Wrote counts a write of a route or a workload, with the time until the API
	// server answered; err is what it answered.
	Wrote(verb mode.Verb, kind string, took time.Duration, err error)
	// Snapped counts that a canary lost all its users: took is from when the judge
	// reached its verdict, or for any other cause from the beginning of the pass that
	// saw it, until the API server had acknowledged the last route's write.
	Snapped(took time.Duration)
	// Asked counts an answer of Prometheus about one rollout; err is why there was none.
	Asked(err error)
	// Answered counts what somebody outside said to a question, with the time it took.
	Answered(q canary.Question, a canary.Answer, took time.Duration)
	// Served counts answers that canaries gave, and how many of them were bad, in
	// blocks that were closed since this replica leads.
	Served(requests, bad int64)
	// Told counts an Event that was sent; err is why it was not.
	Told(err error)
	// Renewed counts an attempt to renew the lease.
	Renewed(err error)
	// Reconciled counts a pass over one Service.
	Reconciled(took time.Duration)
}

type unmetered struct{}

func (unmetered) Decided(canary.Reason)                         {}
func (unmetered) Moved(_, _ canary.Phase, _ canary.Reason)      {}
func (unmetered) Wrote(mode.Verb, string, time.Duration, error) {}
func (unmetered) Snapped(time.Duration)                         {}
func (unmetered) Asked(error)                                   {}
func (unmetered) Served(_, _ int64)                             {}
func (unmetered) Answered(canary.Question, canary.Answer, time.Duration) {
}
func (unmetered) Told(error)               {}
func (unmetered) Renewed(error)            {}
func (unmetered) Reconciled(time.Duration) {}

// progress measures rollouts over several passes: how they move, and how long it
// takes until a canary that goes back has no users.
type progress struct {
	meter Meter

	mu     sync.Mutex
	at     map[cluster.Key]whereabouts
	causes map[cluster.Key]time.Time // of those whose routes aren't all back yet
}

// whereabouts is where a rollout was after its last pass.
type whereabouts struct {
	rollout string
	phase   canary.Phase
	step    int
}

func newProgress(m Meter) *progress {
	return &progress{meter: m, at: map[cluster.Key]whereabouts{}, causes: map[cluster.Key]time.Time{}}
}

// reached notes where a rollout is. What happened before this replica led was
// counted by the one that led then.
func (p *progress) reached(k cluster.Key, s canary.State) {
	now := whereabouts{rollout: s.Rollout, phase: s.Phase, step: s.Step}
	if now.phase == "" {
		now.phase = canary.Idle
	}
	p.mu.Lock()
	before, known := p.at[k]
	p.at[k] = now
	p.mu.Unlock()
	if known && before != now {
		p.meter.Moved(before.phase, now.phase, s.Reason)
	}
}

// retreating notes since when there is a cause to take all users off a canary: the
// earliest that was given counts.
func (p *progress) retreating(k cluster.Key, since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.causes[k]; !known {
		p.causes[k] = since
	}
}

// settled notes that no route has to lose anything any more.
func (p *progress) settled(k cluster.Key) {
	p.mu.Lock()
	since, known := p.causes[k]
	delete(p.causes, k)
	p.mu.Unlock()
	if known {
		p.meter.Snapped(time.Since(since))
	}
}

func (p *progress) forget(k cluster.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.at, k)
	delete(p.causes, k)
}

// causeOf is since when there has been a cause for the retreat that a pass
// which began at began has decided.
func (c *Controller) causeOf(s situation, began time.Time) time.Time {
	if s.state.Phase == canary.RollingBack {
		return began // not for the first time: something is to be taken back again
	}
	if at := c.bench.ruled(s.key); !at.IsZero() {
		return at
	}
	return began
}

// renewals is a lock of which the renewals are counted.
type renewals struct {
	resourcelock.Interface
	meter Meter
}

// Update is resourcelock.Interface's: the leader's renewal, or a takeover.
func (r renewals) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	err := r.Interface.Update(ctx, record)
	r.meter.Renewed(err)
	return err
}
