package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
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

// The versions of the shop. Blue and green take turns: v3 is deployed where v1
// was, once v2 has the traffic.
var (
	v1 = version{
		Release: shop.Release{Slot: shop.Blue, Version: "v1"},
		what:    "serves everybody",
	}
	v2 = version{
		Release: shop.Release{Slot: shop.Green, Version: "v2", Annotations: annotations("0%/8s, 5%/8s, 25%/8s, 100%/8s")},
		what:    "is good",
		short:   "good",
		steps:   []int{0, 5, 25, 100},
		ends:    shop.Succeeded, because: []string{"Promoted"},
	}
	v3 = version{
		Release: shop.Release{
			Slot: shop.Blue, Version: "v3", Annotations: annotations(shortSteps),
			Env: map[string]string{"ERROR_RATE": "0.05"},
		},
		what: "5% of its answers are errors", short: "5% errors",
		ends: shop.RolledBack, because: []string{"ErrorRateTooHigh", "ErrorRateWorseThanStable"},
	}
	v4 = version{
		Release: shop.Release{
			Slot: shop.Blue, Version: "v4", Annotations: annotations(shortSteps),
			Env: map[string]string{"SLOW_RATE": "0.1", "SLOW_LATENCY": "3s"},
		},
		what: "10% of its answers take 3 s", short: "10% slow",
		ends: shop.RolledBack, because: []string{"LatencyTooHigh"},
	}
)

const shortSteps = "5%/8s, 25%/8s, 100%/8s"

func annotations(steps string) map[string]string {
	return map[string]string{"canary": "true", "steps": steps}
}

// version is a version of the shop, and how its release is to end.
type version struct {
	shop.Release
	what    string   // is special about it
	short   string   // the same in the table
	steps   []int    // weights it has to go through; nil: not told
	ends    string   // the phase
	because []string // one of these reasons
}

// outcome is how a release went.
type outcome struct {
	version
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
	shop    shop.Shop
	rate    float64
	window  *window
	watcher *shop.Watcher
	users   *load.Generator

	cast     cast
	outcomes []outcome
}

func newStory(s *sandbox.Sandbox, screen *screen, rate float64) *story {
	return &story{
		sandbox: s, screen: screen, rate: rate, window: newWindow(),
		shop: shop.Shop{Namespace: "shop", Replicas: 2},
	}
}

// tell is the whole story, chapter after chapter.
func (s *story) tell(ctx context.Context) error {
	chapters := []func(context.Context) error{
		s.firstVersion,
		func(ctx context.Context) error { return s.release(ctx, v2, s.testersFirst) },
		func(ctx context.Context) error { return s.release(ctx, v3, nil) },
		func(ctx context.Context) error { return s.release(ctx, v4, nil) },
	}
	for _, chapter := range chapters {
		if err := chapter(ctx); err != nil {
			return fmt.Errorf("the story did not go as told: %w", err)
		}
	}
	return nil
}

func (s *story) deploy(ctx context.Context, v version) error {
	if v.Version == v1.Version {
		routes, err := s.shop.Routes()
		if err != nil {
			return err
		}
		if err := s.sandbox.Apply(ctx, routes); err != nil {
			return err
		}
	}
	manifest, err := s.shop.Manifest(v.Release)
	if err != nil {
		return err
	}
	s.cast.enter(v)
	return s.sandbox.Apply(ctx, manifest)
}

// firstVersion waits until v1 answers all users, and leaves a moment to look.
func (s *story) firstVersion(ctx context.Context) error {
	s.screen.chapter("v1 serves everybody",
		fmt.Sprintf("Deployment %s runs v1. Users send %g requests per second through the gateway.", v1.Deployment(), s.rate))
	err := waitUntil(ctx, serveLimit, "v1 answers all users", func() bool {
		now := s.window.figures(time.Now())
		return now[v1.Version].rate > 0.9*s.rate && len(now) == 1
	})
	if err != nil {
		return err
	}
	return pause(ctx, 2*time.Second)
}

// release deploys a version and waits for the end of its release.
func (s *story) release(ctx context.Context, v version, before func(context.Context) error) error {
	s.announce(v)
	last := s.watcher.State().Rollout
	began := time.Now()
	if err := s.deploy(ctx, v); err != nil {
		return err
	}
	_, err := s.watcher.Wait(ctx, startLimit, "the release of "+v.Version+" to begin", func(now shop.State) bool {
		return now.Rollout != last
	})
	if err != nil {
		return err
	}
	if before != nil {
		if err := before(ctx); err != nil {
			return err
		}
	}
	o, err := s.follow(ctx, v)
	if err != nil {
		return err
	}
	// Let the last answers come in and the numbers settle.
	if err := pause(ctx, 4*time.Second); err != nil {
		return err
	}
	o.count(s.users.Records(), began)
	s.outcomes = append(s.outcomes, o)
	return o.check()
}

func (s *story) announce(v version) {
	switch v.Version {
	case v2.Version:
		s.screen.chapter("v2 is good",
			fmt.Sprintf("It is deployed as %s, with two annotations:", v.Deployment()),
			`  serin.dev/canary: "true"`,
			fmt.Sprintf("  serin.dev/steps: %q", v.Annotations["steps"]))
	default:
		s.screen.chapter(fmt.Sprintf("%s is bad: %s", v.Version, v.what),
			fmt.Sprintf("It is deployed as %s, which has no users since v2 took over: blue and green take turns.", v.Deployment()))
	}
}

// testersFirst sends real requests at 0%: those with the header reach the new
// version, those without don't.
func (s *story) testersFirst(ctx context.Context) error {
	testers, users := map[string]string{qaHeader: qaValue}, map[string]string(nil)
	// The proxies hear of a new route some milliseconds after its writing.
	err := waitUntil(ctx, startLimit, "a tester's request to reach v2", func() bool {
		by, err := s.ask(ctx, 1, testers)
		return err == nil && by[v2.Version] == 1
	})
	if err != nil {
		return err
	}
	const asTester, asUser = 20, 200
	with, err := s.ask(ctx, asTester, testers)
	if err != nil {
		return err
	}
	without, err := s.ask(ctx, asUser, users)
	if err != nil {
		return err
	}
	if s.watcher.State().Step > 0 {
		return errors.New("the time at 0% was over before all testers had been served")
	}
	s.screen.happened("Testers", fmt.Sprintf("%d requests with %s: %s were answered by %s", asTester, qaHeader, qaValue, versions(with)))
	s.screen.happened("Users", fmt.Sprintf("%d requests without it were answered by %s", asUser, versions(without)))
	if with[v2.Version] != asTester || without[v1.Version] != asUser {
		return fmt.Errorf("at 0%% testers were answered by %s and users by %s", versions(with), versions(without))
	}
	return nil
}

// ask sends n requests, one after the other, and counts who answers.
func (s *story) ask(ctx context.Context, n int, headers map[string]string) (map[string]int, error) {
	by := map[string]int{}
	for range n {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.sandbox.GatewayURL(), nil)
		if err != nil {
			return nil, err
		}
		request.Host = s.shop.Host()
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

// follow waits for the end of a release, and notes the weights on the way.
func (s *story) follow(ctx context.Context, v version) (outcome, error) {
	o := outcome{version: v}
	var weights []int
	state, err := s.watcher.Wait(ctx, releaseLimit, "the end of the release of "+v.Version, func(now shop.State) bool {
		w := now.Shares[v.Slot]
		if len(weights) == 0 || weights[len(weights)-1] != w {
			weights = append(weights, w)
		}
		o.reached = max(o.reached, w)
		if now.Phase == shop.RollingBack || now.Phase == shop.Succeeded {
			o.after = now.Since.Sub(now.Started)
		}
		return now.Phase == shop.Succeeded || now.Phase == shop.RolledBack
	})
	o.state = state
	if err != nil {
		return o, err
	}
	s.cast.leave(v, state.Phase == shop.Succeeded)
	if v.steps != nil && !slices.Equal(weights, v.steps) {
		return o, fmt.Errorf("%s went through the weights %v: want %v", v.Version, weights, v.steps)
	}
	return o, nil
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

// check compares how it went with how it had to go.
func (o outcome) check() error {
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
	if got := o.state.Shares[o.Slot]; got != want {
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
