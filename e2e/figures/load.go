package main

import (
	"context"
	"fmt"
	"time"

	"serin.dev/serin/e2e/demo/shop"
)

// many is how many Deployments are opted in at most.
const many = 10

// ticks measures what rollouts under way cost the API server and Prometheus, per
// second.
func ticks(ctx context.Context, b *bench) (string, error) {
	stages, err := b.openAll(ctx, numbered("tick", many), 10)
	defer closeAll(stages)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("\n| rollouts under way, counted for %s | Prometheus queries per second | API requests per second, without the Lease | which in all |\n|---|---|---|---|\n", b.tick)
	started := 0
	for _, active := range []int{0, 1, many} {
		for ; started < active; started++ {
			if err := stages[started].begin(ctx); err != nil {
				return "", err
			}
		}
		// The writes and Events of the beginning are over by then.
		if err := pause(ctx, 5*time.Second); err != nil {
			return "", err
		}
		row, err := b.perTick(ctx, active)
		if err != nil {
			return "", err
		}
		say("%s", row)
		text += row
	}
	return text, nil
}

// begin starts a release that stays at its first step.
func (g *stage) begin(ctx context.Context) error {
	err := g.deploy(ctx, shop.Release{
		Slot: shop.Green, Version: "v2", Annotations: map[string]string{"canary": "true", "steps": "5%/1h, 100%/1h", "step-deadline": "2h"},
	})
	if err != nil {
		return err
	}
	_, err = g.watcher.Wait(ctx, settleLimit, "the release in "+g.shop.Namespace, func(s shop.State) bool { return s.Shares[shop.Green] == 5 })
	return err
}

func (b *bench) perTick(ctx context.Context, active int) (string, error) {
	before, err := queries(ctx, b.controller)
	if err != nil {
		return "", err
	}
	since := time.Now()
	if err := pause(ctx, b.tick); err != nil {
		return "", err
	}
	until := time.Now()
	after, err := queries(ctx, b.controller)
	if err != nil {
		return "", err
	}
	requests, err := b.apiRequests(since, until)
	if err != nil {
		return "", err
	}
	_, others := requests.split()
	n := until.Sub(since).Seconds()
	return fmt.Sprintf("| %d | %.2f | %.2f | %s |\n", active, float64(after-before)/n, float64(others)/n, requests), nil
}

// idle measures what Deployments at rest cost the API server, after each has
// had a release.
func idle(ctx context.Context, b *bench) (string, error) {
	stages, err := b.openAll(ctx, numbered("idle", many), 20)
	if err == nil {
		err = promoteAll(ctx, stages)
	}
	closeAll(stages)
	if err != nil {
		return "", err
	}
	if err := pause(ctx, 10*time.Second); err != nil {
		return "", err
	}
	say("%d Deployments are at rest; their requests are counted for %s", many, b.idle)
	since := time.Now()
	if err := pause(ctx, b.idle); err != nil {
		return "", err
	}
	requests, err := b.apiRequests(since, time.Now())
	if err != nil {
		return "", err
	}
	lease, others := requests.split()
	return fmt.Sprintf("\n| %d opted-in Deployments at rest for %s | API requests |\n|---|---|\n| for the Lease | %d |\n| all others | %d |\n| which | %s |\n",
		many, b.idle, lease, others, requests), nil
}

// promoteAll gives each shop a release and waits until all are promoted.
func promoteAll(ctx context.Context, stages []*stage) error {
	for _, g := range stages {
		err := g.deploy(ctx, shop.Release{
			Slot: shop.Green, Version: "v2", Annotations: map[string]string{"canary": "true", "steps": "100%/1s"},
		})
		if err != nil {
			return err
		}
	}
	for _, g := range stages {
		if _, err := g.until(ctx, shop.Succeeded); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) openAll(ctx context.Context, namespaces []string, rate float64) ([]*stage, error) {
	var stages []*stage
	for _, namespace := range namespaces {
		g, err := b.open(ctx, namespace, rate)
		if err != nil {
			return stages, err
		}
		stages = append(stages, g)
	}
	return stages, nil
}

func closeAll(stages []*stage) {
	for _, g := range stages {
		g.close()
	}
}
