package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/e2e/demo/shop"
)

// breachRate is how many requests per second users send.
const breachRate = 100

// breach is one bad release at a step of 5%.
type breach struct {
	exposed time.Duration // from the first bad answer by weight to the last
	bad     int           // bad answers
	decided time.Duration // from the first bad answer to the decision
	seen    int           // answers of the canary
}

var breachKinds = []struct{ name, rate, namespace string }{
	{"all answers are errors", "1", "all-errors"},
	{"5% of the answers are errors", "0.05", "some-errors"},
}

// breaches measures how long users meet a bad version.
func breaches(ctx context.Context, b *bench) (string, error) {
	text := fmt.Sprintf("\n| the canary at 5%% of %d requests/s, %d runs: min / median / max | first bad answer to the last | first bad answer to the decision | bad answers | of the canary's |\n|---|---|---|---|---|\n", breachRate, b.runs)
	for _, kind := range breachKinds {
		var all []breach
		for _, namespace := range numbered(kind.namespace, b.runs) {
			one, err := b.breach(ctx, namespace, kind.rate)
			if err != nil {
				return "", err
			}
			say("%s: %+v", namespace, one)
			all = append(all, one)
		}
		text += fmt.Sprintf("| %s | %s | %s | %s | %s |\n", kind.name,
			spread(all, seconds, func(o breach) float64 { return o.exposed.Seconds() }),
			spread(all, seconds, func(o breach) float64 { return o.decided.Seconds() }),
			spread(all, count, func(o breach) float64 { return float64(o.bad) }),
			spread(all, count, func(o breach) float64 { return float64(o.seen) }))
	}
	return text, nil
}

// breach releases a version that answers with errors at this rate. No tester
// is at work: all bad answers are users', by weight.
func (b *bench) breach(ctx context.Context, namespace, rate string) (breach, error) {
	g, err := b.open(ctx, namespace, breachRate)
	if err != nil {
		return breach{}, err
	}
	defer g.close()
	err = g.deploy(ctx, shop.Release{
		Slot: shop.Green, Version: "v2", Env: map[string]string{"ERROR_RATE": rate},
		Annotations: map[string]string{"canary": "true", "steps": "5%/5m, 100%/5m"},
	})
	if err != nil {
		return breach{}, err
	}
	decided, err := g.until(ctx, shop.RollingBack)
	if err != nil {
		return breach{}, err
	}
	if _, err := g.until(ctx, shop.RolledBack); err != nil {
		return breach{}, err
	}
	if err := pause(ctx, time.Second); err != nil {
		return breach{}, err
	}
	canary := g.users.Summary(time.Time{}, time.Time{}).ByVersion["v2"]
	return breach{
		exposed: canary.LastBad.Sub(canary.FirstBad), bad: canary.Bad,
		decided: decided.Since.Sub(canary.FirstBad), seen: canary.Requests,
	}, nil
}

// spread is the least, the median and the greatest of what value says.
func spread(all []breach, write func(float64) string, value func(breach) float64) string {
	values := make([]float64, len(all))
	for i, one := range all {
		values[i] = value(one)
	}
	slices.Sort(values)
	n := len(values)
	median := (values[(n-1)/2] + values[n/2]) / 2
	return strings.Join([]string{write(values[0]), write(median), write(values[n-1])}, " / ")
}

func seconds(v float64) string { return fmt.Sprintf("%.1f s", v) }
func count(v float64) string   { return fmt.Sprintf("%.0f", v) }
