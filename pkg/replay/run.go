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
	// Open asks for what came after the last closed block; prom.Open behind a
	// client. Nil: only closed blocks are judged.
	Open Source
}

// Run reads all stretches of a rollout as far as they are closed now, and shows
// each block after it was added to the case, with the stretch it is of. Of a
// rollout that was rolled back the open block at the end of its last leg is
// looked at too, and shown if it proves the breach: it never closed within its
// leg. Warnings are Prometheus's, each once. Run fails when an ask isn't
// answered: what comes after it can't be judged without it.
func Run(ctx context.Context, source Source, of Subject, now time.Time, seen func(Stretch, judge.Block, *judge.Case)) (warnings []string, err error) {
	var r Reading
	r.Follow(of.State, of.From)
	leg, had := lastLeg(of.State), time.Time{}
	for {
		s, some := r.Stretch()
		if !leg.To.IsZero() && (!some || !s.Before && !s.From.Before(leg.To)) {
			leg.peek(ctx, of, had, r.Case(), seen)
			leg = Stretch{}
		}
		if !some {
			return warnings, nil
		}
		answer := of.ask(ctx, source, s, r.Had(), now)
		if answer.Err != nil {
			return warnings, fmt.Errorf("replay %s to %s: %w", s.From.Format(time.RFC3339), s.until(now).Format(time.RFC3339), answer.Err)
		}
		for _, w := range answer.Warnings {
			if !slices.Contains(warnings, w) {
				warnings = append(warnings, w)
			}
		}
		read := len(answer.Blocks) == 0 && r.Add(nil)
		for _, b := range answer.Blocks {
			if r.Add([]judge.Block{b}) {
				seen(s, b, r.Case())
				read, had = true, b.End()
			}
		}
		if !read {
			return warnings, nil // no more of it is closed
		}
	}
}

// lastLeg is the stretch in which a rollout was rolled back; the zero value for
// others.
func lastLeg(s canary.State) Stretch {
	if s.Phase != canary.RollingBack && s.Phase != canary.RolledBack {
		return Stretch{}
	}
	for _, stretch := range slices.Backward(Stretches(s, time.Time{})) {
		if !stretch.Before {
			return stretch
		}
	}
	return Stretch{}
}

// peek looks at the open block as it was when the leg ended; had is up to when
// blocks were added. Without an answer nothing is proven.
func (s Stretch) peek(ctx context.Context, of Subject, had time.Time, c *judge.Case, seen func(Stretch, judge.Block, *judge.Case)) {
	if of.Open == nil || c.Verdict(had).Kind == judge.Rollback {
		return
	}
	if had.Before(s.From) {
		had = s.From
	}
	for _, b := range of.ask(ctx, of.Open, s, borderFrom(had, s.Width), s.To).Blocks {
		c.Peek(b)
		if v := c.Verdict(b.End()); v.Kind == judge.Rollback {
			seen(s, b, c)
		}
	}
}

// ask asks for the rest of a stretch from the given time on.
func (of Subject) ask(ctx context.Context, source Source, s Stretch, from, now time.Time) prom.Answer {
	ask := s.Ask(of.Namespace, of.Service, of.State, from)
	ask.Key, ask.Reporter, ask.Custom = of.State.Rollout, of.Reporter, of.Custom
	return source(ctx, []prom.Ask{ask}, now)[ask.Key]
}

func (s Stretch) until(now time.Time) time.Time {
	if s.To.IsZero() {
		return now.UTC().Truncate(time.Second)
	}
	return s.To
}
