package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/load"
)

const (
	releaseRate  = 100              // users' requests per second
	slowLimit    = 2 * time.Second  // the limit for the 99th percentile, by default
	verdictLimit = 15 * time.Minute // the longest a release may take
)

// judges are the two ways in which a release is judged.
var judges = []string{"evidence", "threshold"}

// kind is a version that is released at a step of 5%.
type kind struct {
	name, namespace string
	env             map[string]string
	healthy         bool
	together        int // how many releases at a time; long ones don't disturb each other
}

var kinds = []kind{
	{"answers nothing but errors", "all-errors", map[string]string{"ERROR_RATE": "1"}, false, 1},
	{"answers 20% with errors", "errors-20", map[string]string{"ERROR_RATE": "0.2"}, false, 1},
	{"answers 5% with errors", "errors-5", map[string]string{"ERROR_RATE": "0.05"}, false, 2},
	{"answers 2% with errors", "errors-2", map[string]string{"ERROR_RATE": "0.02"}, false, 5},
	{"takes 3 s for 20% of the answers", "slow", map[string]string{"SLOW_RATE": "0.2", "SLOW_LATENCY": "3s"}, false, 2},
	{"answers 0.5% with errors, half the limit", "healthy", map[string]string{"ERROR_RATE": "0.005"}, true, 5},
}

// outcome is one release.
type outcome struct {
	phase   string        // how it ended; empty: not within the limit
	reason  string        // why
	exposed time.Duration // from the first bad answer by weight to the last
	decided time.Duration // from the first bad answer, or of a healthy version the first answer, to the decision
	bad     int           // bad answers
	seen    int           // answers of the canary
}

// releases measures how long users meet a bad version, and how a healthy one
// fares.
func releases(ctx context.Context, b *bench) (string, error) {
	bad := fmt.Sprintf("\n| the canary at 5%% of %d requests/s, %d runs: least / median / greatest | judge | first bad answer to the last | first bad answer to the decision | bad answers | of the canary's |\n|---|---|---|---|---|---|\n", releaseRate, b.runs)
	good := "\n| the canary | judge | promoted | first answer to the promotion | of the canary's answers, failed |\n|---|---|---|---|---|\n"
	for _, k := range kinds {
		if !slices.Contains(b.kinds, k.namespace) {
			continue
		}
		for _, judge := range judges {
			all, err := b.releases(ctx, k, judge)
			if err != nil {
				return "", err
			}
			if k.healthy {
				good += fmt.Sprintf("| %s | %s | %s |\n", k.name, judge, healthyRow(all))
			} else {
				bad += fmt.Sprintf("| %s | %s | %s |\n", k.name, judge, badRow(all))
			}
		}
	}
	return bad + good, nil
}

// badRow is about releases that should have been rolled back.
func badRow(all []outcome) string {
	back := ended(all, shop.RolledBack)
	if len(back) == 0 {
		return fmt.Sprintf("never rolled back (%d runs, %s each) | | |", len(all), verdictLimit)
	}
	row := strings.Join([]string{
		spread(back, seconds, func(o outcome) float64 { return o.exposed.Seconds() }),
		spread(back, seconds, func(o outcome) float64 { return o.decided.Seconds() }),
		spread(back, count, func(o outcome) float64 { return float64(o.bad) }),
		spread(back, count, func(o outcome) float64 { return float64(o.seen) }),
	}, " | ")
	if missed := len(all) - len(back); missed > 0 {
		row += fmt.Sprintf("; %d of %d were not rolled back within %s", missed, len(all), verdictLimit)
	}
	return row
}

// healthyRow is about releases that should have been promoted.
func healthyRow(all []outcome) string {
	promoted := ended(all, shop.Succeeded)
	row := fmt.Sprintf("%d of %d", len(promoted), len(all))
	for _, o := range all {
		if o.phase != shop.Succeeded {
			row += ", one " + firstOf(o.phase, "held") + " after " + seconds(o.decided.Seconds())
		}
	}
	if len(promoted) == 0 {
		return row + " | | "
	}
	return row + " | " + spread(promoted, seconds, func(o outcome) float64 { return o.decided.Seconds() }) +
		" | " + spread(promoted, percent, func(o outcome) float64 { return float64(o.bad) / float64(o.seen) })
}

func firstOf(text, missing string) string {
	if text == "" {
		return missing
	}
	return text
}

func ended(all []outcome, phase string) []outcome {
	return slices.DeleteFunc(slices.Clone(all), func(o outcome) bool { return o.phase != phase })
}

// releases releases a kind as often as is wanted.
func (b *bench) releases(ctx context.Context, k kind, judge string) ([]outcome, error) {
	var (
		mu    sync.Mutex
		all   []outcome
		errs  []error
		wg    sync.WaitGroup
		slots = make(chan struct{}, k.together)
	)
	for _, namespace := range numbered(k.namespace+"-"+judge, b.runs) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			one, err := b.release(ctx, namespace, k, judge)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			say("%s: %+v", namespace, one)
			all = append(all, one)
		})
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

// release releases a version. No tester is at work: all its answers are users',
// by weight.
func (b *bench) release(ctx context.Context, namespace string, k kind, judge string) (outcome, error) {
	g, err := b.open(ctx, namespace, releaseRate)
	if err != nil {
		return outcome{}, err
	}
	defer g.close()
	steps := "5%/20m, 100%/20m"
	if k.healthy {
		steps = "5%/10s, 100%/10s"
	}
	err = g.deploy(ctx, shop.Release{
		Slot: shop.Green, Version: "v2", Env: k.env,
		Annotations: map[string]string{"canary": "true", "steps": steps, "judge": judge},
	})
	if err != nil {
		return outcome{}, err
	}
	decided, err := g.decision(ctx)
	if err != nil {
		return outcome{}, err
	}
	if err := pause(ctx, time.Second); err != nil { // the last answers are on their way
		return outcome{}, err
	}
	return measured(g.users.Records(), decided, k.healthy), nil
}

// decision waits until a release is rolled back or promoted, and says when that
// was decided. The phase is empty when neither was within the limit.
func (g *stage) decision(ctx context.Context) (shop.State, error) {
	ctx, cancel := context.WithTimeout(ctx, verdictLimit)
	defer cancel()
	what := "a decision in " + g.shop.Namespace
	s, err := g.watcher.Wait(ctx, verdictLimit, what, func(s shop.State) bool { return s.Phase == shop.RollingBack || s.Phase == shop.Succeeded })
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return shop.State{Since: time.Now(), Reason: s.Reason}, nil
	case err != nil || s.Phase == shop.Succeeded:
		return s, err
	}
	end, err := g.until(ctx, shop.RolledBack)
	end.Since = s.Since
	return end, err
}

// measured is what users saw of the canary.
func measured(records []load.Record, decided shop.State, healthy bool) outcome {
	o := outcome{phase: decided.Phase, reason: decided.Reason}
	var first, firstBad, lastBad time.Time
	for _, r := range records {
		if r.Version != "v2" {
			continue
		}
		o.seen++
		first = earliest(first, r.Start)
		if r.Bad() || r.Latency > slowLimit {
			o.bad++
			firstBad = earliest(firstBad, r.Start)
			lastBad = latest(lastBad, r.Start)
		}
	}
	o.exposed = lastBad.Sub(firstBad)
	o.decided = decided.Since.Sub(firstBad)
	if healthy {
		o.decided = decided.Since.Sub(first)
	}
	return o
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// spread is the least, the median and the greatest of what value says.
func spread[T any](all []T, write func(float64) string, value func(T) float64) string {
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
func percent(v float64) string { return fmt.Sprintf("%.2f%%", 100*v) }
