package replay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// Source answers asks, by key; prom.Blocks behind a client.
type Source func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer

// Subject is the rollout whose way is gone.
type Subject struct {
	Namespace, Service string
	State              canary.State
	// From is when the last VirtualService was given the present state; zero
	// for a rollout that is over, of which all stretches are legs.
	From     time.Time
	Reporter prom.Reporter
	Custom   []prom.Custom // in the order of State.Spec.Custom
}

// Run goes through all stretches of a rollout as far as they are closed now, and
// shows each block after it was added to the case, with the stretch it is of.
// Warnings are Prometheus's, each once. It fails when an ask isn't answered:
// what comes after it can't be judged without it.
func Run(ctx context.Context, source Source, of Subject, now time.Time, seen func(Stretch, judge.Block, *judge.Case)) (warnings []string, err error) {
	c := judge.Open(canary.SettingsOf(of.State))
	for _, s := range Stretches(of.State, of.From) {
		told, err := s.run(ctx, source, of, now, func(b judge.Block) {
			s.Add(c, b)
			seen(s, b, c)
		})
		for _, w := range told {
			if !slices.Contains(warnings, w) {
				warnings = append(warnings, w)
			}
		}
		if err != nil {
			return warnings, err
		}
	}
	return warnings, nil
}

// run asks for the blocks of a stretch, in as many parts as it takes.
func (s Stretch) run(ctx context.Context, source Source, of Subject, now time.Time, add func(judge.Block)) (warnings []string, err error) {
	for from := s.From; !s.Over(from); {
		ask := s.Ask(of.Namespace, of.Service, of.State, from)
		ask.Key, ask.Reporter, ask.Custom = of.State.Rollout, of.Reporter, of.Custom
		answer := source(ctx, []prom.Ask{ask}, now)[ask.Key]
		if answer.Err != nil {
			return warnings, fmt.Errorf("replay %s to %s: %w", s.From.Format(time.RFC3339), s.until(now).Format(time.RFC3339), answer.Err)
		}
		warnings = append(warnings, answer.Warnings...)
		if len(answer.Blocks) == 0 {
			return warnings, nil // no more of it is closed
		}
		for _, b := range answer.Blocks {
			add(b)
			from = b.End()
		}
	}
	return warnings, nil
}

func (s Stretch) until(now time.Time) time.Time {
	if s.To.IsZero() {
		return now.UTC().Truncate(time.Second)
	}
	return s.To
}
