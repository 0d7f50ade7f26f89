// Package controller runs canary releases: it observes a Service, lets the core
// decide, renders what shall be, and does the first step of the difference.
// It opens no listener and takes its clients from its caller, so that all of it
// runs in simulation too.
package controller

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/ask"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/prom"
)

const (
	// workers is how many Services are worked on at once; one that waits for
	// the API server must not hold up another's snap.
	workers = 8
	// firstRetry and lastRetry bound the waits between failing passes. A key is
	// never given up.
	firstRetry = 200 * time.Millisecond
	lastRetry  = 20 * time.Second
)

// Options say how to run. What may be nil or empty says so; the rest must be given.
type Options struct {
	Kube    kubernetes.Interface
	Dynamic dynamic.Interface
	// Query asks Prometheus.
	Query  prom.Query
	Logger *zap.Logger

	Namespaces    []string // to watch; empty: all
	ClusterDomain string   // "cluster.local"
	RootNamespace string   // Istio's, "istio-system"

	// InPlace tells that single Deployments may be updated in place, and Guard what
	// holds their changed templates back: see cluster.Options.
	InPlace bool
	Guard   string

	Defaults canary.Spec   // where annotations say nothing
	Interval time.Duration // assumed where the scrape interval can't be found out, 1 s to 10 min
	Reporter prom.Reporter // whose telemetry counts
	// Templates are the operator's own metrics, checked, each name once.
	Templates []prom.Template
	// Channels are the names of the operator's channels that annotations may name; nil:
	// any.
	Channels []string
	// Listener is told what people are told; nil: nobody is.
	Listener Listener

	// Elect makes this one of several replicas, of which one works; nil: alone.
	Elect *Lease
	// Gates are the operator's, which annotations may name; nil: any.
	Gates []annotation.Gate
	// Askers answer what is asked outside, by the kind of question. A kind that nobody
	// answers is asked in vain where a team asks for it, and left out elsewhere.
	Askers map[canary.QuestionKind]ask.Asker
	// Meter counts what is done; nil: nobody counts.
	Meter Meter
	// Queue measures how many Services wait to be looked at and for how long; nil:
	// nobody does.
	Queue workqueue.MetricsProvider
}

// Listener takes each Event that is told, with the rollout as it was shown then. It
// must not block: it is called within a pass.
type Listener interface {
	Told(view canary.View, event canary.Event)
}

// Controller is made by New and runs once.
type Controller struct {
	options    Options
	vocabulary annotation.Vocabulary
	log        *zap.Logger
	cache      *cluster.Cache
	queue      workqueue.TypedRateLimitingInterface[cluster.Key]
	bench      *bench
	desk       *ask.Desk[cluster.Key]
	askable    map[canary.QuestionKind]bool
	told       *teller
	own        *ownWrites
	pace       *pace
	progress   *progress
	begun      *beginnings

	mu      sync.Mutex
	views   map[cluster.Key]canary.View
	watched map[cluster.Key]canary.State
	leading bool
}

// New registers what has to be watched. It asks the server for nothing.
func New(o Options) (*Controller, error) {
	if o.Interval < canary.LeastWidth || o.Interval > canary.MostWidth {
		return nil, fmt.Errorf("make a controller: the interval is %s, it must be from %s to %s", o.Interval, canary.LeastWidth, canary.MostWidth)
	}
	if o.Meter == nil {
		o.Meter = unmetered{}
	}
	watched, err := cluster.New(cluster.Options{
		Kube: o.Kube, Dynamic: o.Dynamic, Namespaces: o.Namespaces,
		ClusterDomain: o.ClusterDomain, RootNamespace: o.RootNamespace,
		InPlace: o.InPlace, Guard: o.Guard, Logger: o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("make a controller: %w", err)
	}
	c := &Controller{
		options:    o,
		vocabulary: vocabulary(o),
		log:        o.Logger,
		cache:      watched,
		own:        newOwnWrites(),
		pace:       newPace(),
		progress:   newProgress(o.Meter),
		begun:      newBeginnings(),
		views:      map[cluster.Key]canary.View{}, watched: map[cluster.Key]canary.State{},
	}
	c.queue = newQueue(c.rank, o.Queue)
	c.told = newTeller(o.Kube, o.Logger, o.Meter, o.Listener)
	c.bench = newBench(c.benchOptions())
	c.desk = newDesk(o, c.queue.Add)
	c.askable = c.desk.Askable()
	watched.OnChange(c.queue.Add)
	return c, nil
}

// rank is how urgent a Service is.
func (c *Controller) rank(k cluster.Key) rank {
	switch {
	case c.bench.proven(k):
		return breaking
	case c.cache.Active(k):
		return moving
	}
	return resting
}

// newQueue lets the urgent go first, and those that fail wait.
func newQueue(rank func(cluster.Key) rank, measured workqueue.MetricsProvider) workqueue.TypedRateLimitingInterface[cluster.Key] {
	failing := workqueue.NewTypedItemExponentialFailureRateLimiter[cluster.Key](firstRetry, lastRetry)
	config := workqueue.TypedQueueConfig[cluster.Key]{Queue: newLine(rank)}
	if measured != nil { // an unnamed queue is not measured
		config.Name, config.MetricsProvider = "services", measured
	}
	ordered := workqueue.NewTypedWithConfig(config)
	delaying := workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[cluster.Key]{Queue: ordered})
	return workqueue.NewTypedRateLimitingQueueWithConfig(failing, workqueue.TypedRateLimitingQueueConfig[cluster.Key]{DelayingQueue: delaying})
}

// vocabulary is what annotations build on: the defaults, the channels, and the metrics
// there are templates of.
func vocabulary(o Options) annotation.Vocabulary {
	v := annotation.Vocabulary{Defaults: o.Defaults, Channels: o.Channels, Gates: o.Gates}
	for _, t := range o.Templates {
		v.Metrics = append(v.Metrics, annotation.Metric{Name: t.Name, Gauge: t.Gauge != "", Bad: t.Bad != ""})
	}
	return v
}

func (c *Controller) benchOptions() benchOptions {
	o := c.options
	templates := make(map[string]prom.Template, len(o.Templates))
	for _, t := range o.Templates {
		templates[t.Name] = t
	}
	return benchOptions{
		blocks: func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			return prom.Blocks(ctx, o.Query, asks, now)
		},
		rough: func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			return prom.Rough(ctx, o.Query, asks, now)
		},
		open: func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			return prom.Open(ctx, o.Query, asks, now)
		},
		intervals: func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Interval {
			return prom.Intervals(ctx, o.Query, asks, now)
		},
		assumed: o.Interval, reporter: o.Reporter, templates: templates,
		wake: c.queue.AddAfter, meter: o.Meter, log: o.Logger,
	}
}

// Run works until ctx ends, then stops cleanly: the workers first, the lease
// after them. It returns ErrLeaseLost when another replica took over; the
// process must end then, for its view of the cluster may be old.
func (c *Controller) Run(ctx context.Context) error {
	// The watches outlive the workers, which read from them to their end.
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopWatching()
	wg.Go(func() { c.cache.Run(watching) })
	defer c.queue.ShutDown()

	if !c.cache.WaitForSync(ctx) {
		return nil
	}
	if c.options.Elect == nil {
		c.work(ctx)
		return nil
	}
	return c.options.Elect.hold(ctx, c.log, c.options.Meter, c.work)
}

// work runs the workers and the judge until ctx ends, and waits for them.
func (c *Controller) work(ctx context.Context) {
	c.log.Info("Releases are led from here")
	c.own.lead()
	c.setLeading(true)
	defer c.setLeading(false)
	stopTelling := c.told.start(ctx)
	defer stopTelling()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for c.next(ctx) {
			}
		})
	}
	wg.Go(func() { c.bench.run(ctx) })
	wg.Go(func() { c.desk.Run(ctx) })
	<-ctx.Done()
	c.queue.ShutDown()
	wg.Wait()
}

// next takes one Service from the queue and says whether there may be more.
func (c *Controller) next(ctx context.Context) bool {
	k, closed := c.queue.Get()
	if closed || ctx.Err() != nil {
		return false
	}
	defer c.queue.Done(k)
	began := time.Now()
	again, err := c.survive(ctx, k)
	c.options.Meter.Reconciled(time.Since(began))
	switch {
	case ctx.Err() != nil:
		return false
	case errors.Is(err, errBehind):
		c.log.Debug("A pass waits", zap.Stringer("service", k), zap.Error(err))
	case err != nil:
		c.log.Warn("A pass failed and is repeated", zap.Stringer("service", k), zap.Error(err))
		c.queue.AddRateLimited(k)
		return true
	}
	c.queue.Forget(k)
	if again > 0 {
		c.queue.AddAfter(k, again)
	}
	return true
}

// survive keeps a fault that one team's objects provoke from ending the
// releases of all others.
func (c *Controller) survive(ctx context.Context, k cluster.Key) (again time.Duration, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("a fault of Serin, please report it: %v\n%s", fault, debug.Stack())
		}
	}()
	return c.sync(ctx, k)
}

// sync brings one Service a step nearer to what it shall be: it observes,
// decides, renders and acts, and returns when to come back at the latest; zero
// when only a change brings it back.
func (c *Controller) sync(ctx context.Context, k cluster.Key) (time.Duration, error) {
	if !c.cache.Concerns(k) {
		c.forget(k) //nolint:contextcheck // see Follow below
		return 0, nil
	}
	s, observed := c.observe(ctx, k)
	if observed != nil && !s.state.Phase.Active() {
		return 0, observed
	}
	now := time.Now()
	s.observation.Verdict = c.bench.verdict(k, s.state, now)
	s.observation.Answers, s.observation.Askable = c.desk.Answers(k), c.askable
	plan := canary.Decide(s.spec, s.state, s.observation, now)
	c.ask(s, plan, now)
	if plan.Next.Phase == canary.Watched {
		c.keepWatched(k, s, plan.Next)
	} else {
		c.forgetWatched(k)
		c.bench.follow(k, s.state, s.observation.Traffic)
	}
	c.cache.Follow(k, s.state.Phase.Active() || plan.Next.Phase.Active() || plan.Next.Phase == canary.Watched) //nolint:contextcheck // a watch of pods outlives the pass that asks for it
	writes, err := s.room.Render(plan, s.objects, now)
	if err != nil {
		err = fmt.Errorf("%w of %s: %w", errUnwritable, k, err)
	}
	if err = errors.Join(observed, err); err != nil {
		// Half of what is to be known, or to be done: only taking traffic away
		// is right in any case.
		if writes = only(writes, true); len(writes) == 0 {
			c.complain(s, plan, err)
			return 0, err
		}
	}
	again, acted := c.act(ctx, s, plan, writes)
	if failed := errors.Join(err, acted); failed != nil {
		c.complain(s, plan, failed)
		return again, failed
	}
	c.show(k, plan.View)
	c.progress.reached(k, plan.Next)
	return again, nil
}

// forget drops everything known of a Service that has no releases any more.
func (c *Controller) forget(k cluster.Key) {
	c.cache.Follow(k, false)
	c.bench.drop(k)
	c.desk.Forget(k)
	c.told.forget(k)
	c.pace.forget(k)
	c.progress.forget(k)
	c.own.forget(k)
	c.begun.forget(k)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.views, k)
	delete(c.watched, k)
}

func (c *Controller) show(k cluster.Key, v canary.View) {
	v.Namespace, v.Service = k.Namespace, k.Name
	c.mu.Lock()
	defer c.mu.Unlock()
	c.views[k] = v
}

// Views is what people are shown of every Service, in no order.
func (c *Controller) Views() []canary.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]canary.View, 0, len(c.views))
	for _, v := range c.views {
		out = append(out, v)
	}
	return out
}

// Ready tells whether the cluster was read in full once.
func (c *Controller) Ready() bool { return c.cache.Synced() }

// Leading tells whether this replica works.
func (c *Controller) Leading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leading
}

func (c *Controller) setLeading(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leading = on
	if !on {
		clear(c.views)
		clear(c.watched)
	}
}
