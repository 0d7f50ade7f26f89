package main

import (
	"context"
	"fmt"
	"time"

	"serin.dev/serin/e2e/demo/shop"
)

// The versions of the pair. Blue and green take turns: v3 is deployed where v1
// was, once v2 has the traffic.
var (
	pair1 = version{Release: shop.Release{Slot: shop.Blue, Version: "v1"}}
	pair2 = version{
		Release: shop.Release{Slot: shop.Green, Version: "v2", Annotations: annotations("0%/3s, 10%/5s, 100%/5s")},
		what:    "is good", short: "good",
		steps: []int{10, 100},
		ends:  shop.Succeeded, because: []string{"Promoted"},
	}
	pair3 = version{
		Release: shop.Release{
			Slot: shop.Blue, Version: "v3", Annotations: annotations("10%/8s, 100%/8s"),
			Env: map[string]string{"SLOW_RATE": "0.1", "SLOW_LATENCY": "3s"},
		},
		what: "10% of its answers take 3 s", short: "10% slow",
		ends: shop.RolledBack, because: []string{"LatencyTooHigh"},
	}
)

func annotations(steps string) map[string]string {
	return map[string]string{"canary": "true", "mode": "pair", "steps": steps}
}

// twoDeployments is the scene of teams who keep the version before running.
func (s *story) twoDeployments(ctx context.Context) error {
	c := &scene{shop: shop.Shop{Namespace: "pair", Replicas: 2}}
	s.screen.chapter("The same with two Deployments, which take turns",
		"web-blue runs v1 and has all users; web-green is to be v2, which is good. The VirtualService names a subset for each.")
	defer s.leave(c)
	err := s.open(ctx, c, pair1, func(ctx context.Context) error {
		routes, err := c.shop.Routes()
		if err != nil {
			return err
		}
		if err := s.sandbox.Apply(ctx, routes); err != nil {
			return err
		}
		return s.deploy(ctx, c, pair1)
	})
	if err != nil {
		return err
	}
	if err := s.releasePair(ctx, c, pair2); err != nil {
		return err
	}
	s.screen.chapter(fmt.Sprintf("v3 is bad: %s", pair3.what),
		fmt.Sprintf("It is deployed as %s, which has no users since v2 took over.", pair3.Deployment()))
	return s.releasePair(ctx, c, pair3)
}

func (s *story) deploy(ctx context.Context, c *scene, v version) error {
	manifest, err := c.shop.Manifest(v.Release)
	if err != nil {
		return err
	}
	return s.sandbox.Apply(ctx, manifest)
}

// releasePair deploys a version to the idle Deployment and waits for the end of
// its release.
func (s *story) releasePair(ctx context.Context, c *scene, v version) error {
	last, began := c.watcher.State().Rollout, time.Now()
	c.cast.enter(v)
	if err := s.deploy(ctx, c, v); err != nil {
		return err
	}
	rollout, err := c.begins(ctx, v, last)
	if err != nil {
		return err
	}
	o, err := c.follow(ctx, v, rollout)
	if err != nil {
		return err
	}
	o.chapter = "two Deployments"
	return s.ended(ctx, c, o, began)
}
