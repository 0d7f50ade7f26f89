package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/load"
	"serin.dev/serin/e2e/sandbox"
)

// qaHeader is the controller's default for serin.dev/header.
const (
	qaHeader = "X-App-Version"
	qaValue  = "canary"
)

// p99Limit is the controller's default for serin.dev/max-p99.
const p99Limit = 2 * time.Second

// version is a version of the shop, and how its release is to end.
type version struct {
	// Release is what is deployed. In place only its Version matters, for the
	// image says all.
	shop.Release
	tag     string   // of the image, in place
	what    string   // is special about it
	short   string   // the same in the table
	steps   []int    // weights above 0 that it has to go through; nil: not told
	ends    string   // the phase
	because []string // one of these reasons
}

// outcome is how a release went.
type outcome struct {
	version
	chapter             string        // of the table
	state               shop.State    // at its end
	reached             int           // the canary's highest share, percent
	after               time.Duration // from the first write to the decision
	requests, bad, slow int           // of all users, while it lasted
}

// The longest time each thing may take, on a machine that has other things to
// do. Together they are far longer than the story.
const (
	serveLimit   = time.Minute
	startLimit   = time.Minute
	releaseLimit = 3 * time.Minute
)

type story struct {
	sandbox *sandbox.Sandbox
	screen  *screen
	rate    float64

	mu       sync.Mutex
	now      *scene // on stage
	outcomes []outcome
}

func newStory(s *sandbox.Sandbox, screen *screen, rate float64) *story {
	return &story{sandbox: s, screen: screen, rate: rate}
}

// tell is the whole story, scene after scene.
func (s *story) tell(ctx context.Context) error {
	for _, scene := range []func(context.Context) error{s.oneDeployment, s.twoDeployments} {
		if err := scene(ctx); err != nil {
			return fmt.Errorf("the story did not go as told: %w", err)
		}
	}
	return nil
}

// scene is one shop with its users.
type scene struct {
	shop    shop.Shop
	inPlace bool
	window  *window
	watcher *shop.Watcher
	trail   *shop.Trail // in place
	users   *load.Generator
	cast    cast
	text    shop.Text // in place: what the user had written before the last release

	mu   sync.Mutex
	told []shop.Decision
}

// hear keeps what the controller tells.
func (c *scene) hear(d shop.Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, d)
}

// tells waits until an object's Events have one of the reason with these words.
func (c *scene) tells(ctx context.Context, about, reason, words string) error {
	return waitUntil(ctx, startLimit, fmt.Sprintf("an Event of %s, %s, says %q", about, reason, words), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.ContainsFunc(c.told, func(d shop.Decision) bool {
			return d.About == about && d.Reason == reason && strings.Contains(d.Sentence, words)
		})
	})
}

// onStage is the scene that is played, or nil.
func (s *story) onStage() *scene {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// open has the first version deployed and users come, and puts the scene on
// stage. The caller has to leave it.
func (s *story) open(ctx context.Context, c *scene, first version, deploy func(context.Context) error) error {
	c.window, c.trail = newWindow(), &shop.Trail{}
	var err error
	if c.watcher, err = c.shop.Watch(ctx, s.sandbox.REST(), c.trail.See, func(d shop.Decision) {
		c.hear(d)
		s.screen.decision(d)
	}); err != nil {
		return err
	}
	c.cast.enter(first)
	if err := deploy(ctx); err != nil {
		return err
	}
	c.users, err = load.Start(ctx, load.Options{
		URL: s.sandbox.GatewayURL(), Host: c.shop.Host(), Rate: s.rate, Duration: load.MaxDuration, OnRecord: c.window.add,
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.now = c
	s.mu.Unlock()
	return c.serves(ctx, first.Version, s.rate)
}

// leave sends the users away.
func (s *story) leave(c *scene) {
	s.mu.Lock()
	s.now = nil
	s.mu.Unlock()
	if c.users != nil {
		c.users.Stop()
	}
}

// serves waits until a version answers all users, and leaves a moment to look.
func (c *scene) serves(ctx context.Context, version string, rate float64) error {
	err := waitUntil(ctx, serveLimit, version+" answers all users", func() bool {
		now := c.window.figures(time.Now())
		return now[version].rate > 0.9*rate && len(now) == 1
	})
	if err != nil {
		return err
	}
	return pause(ctx, 2*time.Second)
}

// begins waits for a release that is not the last one, and returns its id.
func (c *scene) begins(ctx context.Context, v version, last string) (string, error) {
	state, err := c.watcher.Wait(ctx, startLimit, "the release of "+v.Version+" to begin", func(now shop.State) bool {
		return now.Carried && now.Rollout != last
	})
	return state.Rollout, err
}

// follow waits for the end of a release, and notes the weights on the way.
func (c *scene) follow(ctx context.Context, v version, rollout string) (outcome, error) {
	o := outcome{version: v}
	var weights []int
	state, err := c.watcher.Wait(ctx, releaseLimit, "the end of the release of "+v.Version, func(now shop.State) bool {
		if now.Rollout != rollout {
			return false // its record is on its way
		}
		w := now.Shares[c.subset(v)]
		if w > 0 && (len(weights) == 0 || weights[len(weights)-1] != w) {
			weights = append(weights, w)
		}
		o.reached = max(o.reached, w)
		switch now.Phase {
		case shop.RollingBack, shop.Promoting:
			o.after = now.Since.Sub(now.Started)
		case shop.Succeeded:
			if !now.InPlace {
				o.after = now.Since.Sub(now.Started)
			}
		case shop.Finishing:
			c.cast.leave(v, true)
		}
		return now.Phase == shop.Succeeded || now.Phase == shop.RolledBack
	})
	o.state = state
	if err != nil {
		return o, err
	}
	c.cast.leave(v, state.Phase == shop.Succeeded)
	if v.steps != nil && !slices.Equal(weights, v.steps) {
		return o, fmt.Errorf("%s went through the weights %v: want %v", v.Version, weights, v.steps)
	}
	return o, nil
}

// ended counts what users saw of a release, compares it with the story, and
// keeps it for the table.
func (s *story) ended(ctx context.Context, c *scene, o outcome, began time.Time) error {
	// Let the last answers come in and the numbers settle.
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	o.count(c.users.Records(), began)
	s.outcomes = append(s.outcomes, o)
	return o.check(c.subset(o.version))
}

// subset is where users of the version are routed while it is the canary.
func (c *scene) subset(v version) string {
	if c.inPlace {
		return shop.CanarySubset
	}
	return v.Slot
}

// testersFirst sends real requests at 0%: those with the header reach the new
// version, those without don't.
func (s *story) testersFirst(ctx context.Context, c *scene, before, v version) error {
	testers, users := map[string]string{qaHeader: qaValue}, map[string]string(nil)
	// The proxies hear of a new route some milliseconds after its writing.
	err := waitUntil(ctx, startLimit, "a tester's request to reach "+v.Version, func() bool {
		by, err := s.ask(ctx, c, 1, testers)
		return err == nil && by[v.Version] == 1
	})
	if err != nil {
		return err
	}
	const asTester, asUser = 20, 200
	with, err := s.ask(ctx, c, asTester, testers)
	if err != nil {
		return err
	}
	without, err := s.ask(ctx, c, asUser, users)
	if err != nil {
		return err
	}
	if c.watcher.State().Shares[c.subset(v)] > 0 {
		return errors.New("the time at 0% was over before all testers had been served")
	}
	s.screen.happened("Testers", fmt.Sprintf("%d requests with %s: %s were answered by %s", asTester, qaHeader, qaValue, versions(with)))
	s.screen.happened("Users", fmt.Sprintf("%d requests without it were answered by %s", asUser, versions(without)))
	if with[v.Version] != asTester || without[before.Version] != asUser {
		return fmt.Errorf("at 0%% testers were answered by %s and users by %s", versions(with), versions(without))
	}
	return nil
}

// ask sends n requests, one after the other, and counts who answers.
func (s *story) ask(ctx context.Context, c *scene, n int, headers map[string]string) (map[string]int, error) {
	by := map[string]int{}
	for range n {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.sandbox.GatewayURL(), nil)
		if err != nil {
			return nil, err
		}
		request.Host = c.shop.Host()
		for key, value := range headers {
			request.Header.Set(key, value)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return nil, fmt.Errorf("send a request to the shop: %w", err)
		}
		answer.Body.Close()
		by[answer.Header.Get("X-Served-By")]++
	}
	return by, nil
}

// count sums up what users saw since the release began.
func (o *outcome) count(records []load.Record, since time.Time) {
	for _, r := range records {
		switch {
		case r.Start.Before(since):
			continue
		case r.Bad():
			o.bad++
		case r.Latency > p99Limit:
			o.slow++
		}
		o.requests++
	}
}

// check compares how it went with how it had to go. The subset is where the
// version had its users.
func (o outcome) check(subset string) error {
	var errs []error
	if o.state.Phase != o.ends || !slices.Contains(o.because, o.state.Reason) {
		errs = append(errs, fmt.Errorf("%s is %s (%s: %s): want %s", o.Version, o.state.Phase, o.state.Reason, o.state.Message, o.ends))
	}
	want := 0
	if o.ends == shop.Succeeded {
		want = 100
		if o.bad > 0 {
			errs = append(errs, fmt.Errorf("%d of %d requests failed while the good version was released", o.bad, o.requests))
		}
	}
	if subset == shop.CanarySubset {
		want, subset = 100, "" // whoever was released, all is the Deployment's again
	}
	if got := o.state.Shares[subset]; got != want {
		errs = append(errs, fmt.Errorf("%s has %d%% of the traffic at the end: want %d%%", o.Version, got, want))
	}
	return errors.Join(errs...)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// waitUntil looks ten times a second whether it is so.
func waitUntil(ctx context.Context, limit time.Duration, what string, so func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !so() {
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
	}
	return nil
}
