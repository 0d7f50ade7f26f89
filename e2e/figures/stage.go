package main

import (
	"context"
	"fmt"
	"time"

	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/load"
)

// settleLimit is the longest time anything may take that isn't measured.
const settleLimit = 3 * time.Minute

// stage is one shop, with users and a watcher.
type stage struct {
	b       *bench
	shop    shop.Shop
	users   *load.Generator
	watcher *shop.Watcher
}

// open deploys version v1 of a pair in the namespace, and sends users to it. The
// caller has to close it.
func (b *bench) open(ctx context.Context, namespace string, rate float64) (*stage, error) {
	g := &stage{b: b, shop: shop.Shop{Namespace: namespace, Replicas: 1}}
	routes, err := g.shop.Routes()
	if err != nil {
		return nil, err
	}
	if err := b.Apply(ctx, routes); err != nil {
		return nil, err
	}
	if g.watcher, err = g.shop.Watch(ctx, b.REST(), nil, nil); err != nil {
		return nil, err
	}
	if err := g.deploy(ctx, shop.Release{Slot: shop.Blue, Version: "v1"}); err != nil {
		return nil, err
	}
	if err := g.welcome(ctx, rate); err != nil {
		return nil, err
	}
	return g, nil
}

// welcome sends users, and waits until v1 answers them and that has been
// scraped.
func (g *stage) welcome(ctx context.Context, rate float64) (err error) {
	g.users, err = load.Start(ctx, load.Options{URL: g.b.GatewayURL(), Host: g.shop.Host(), Rate: rate, Duration: load.MaxDuration})
	if err != nil {
		return err
	}
	err = g.answered(ctx)
	if err == nil {
		// Then v1 is no news to Prometheus: no release begins with a new service.
		err = pause(ctx, 3*g.b.scrape)
	}
	if err != nil {
		g.close()
	}
	return err
}

func (g *stage) close() { g.users.Stop() }

func (g *stage) deploy(ctx context.Context, r shop.Release) error {
	manifest, err := g.shop.Manifest(r)
	if err != nil {
		return err
	}
	return g.b.Apply(ctx, manifest)
}

// answered waits until v1 has answered everything for a second.
func (g *stage) answered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	for {
		last := g.users.Summary(time.Now().Add(-time.Second), time.Time{})
		if last.Requests > 0 && last.ByVersion["v1"].Requests == last.Requests && last.Bad == 0 {
			return nil
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("wait until v1 answers in %s: %w", g.shop.Namespace, err)
		}
	}
}

// until waits for a phase of the release that is under way.
func (g *stage) until(ctx context.Context, phase string) (shop.State, error) {
	return g.watcher.Wait(ctx, settleLimit, fmt.Sprintf("phase %s in %s", phase, g.shop.Namespace), func(s shop.State) bool {
		return s.Phase == phase
	})
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// numbered are n names.
func numbered(prefix string, n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("%s-%d", prefix, i+1))
	}
	return names
}
