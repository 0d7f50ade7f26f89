package prom

import (
	"context"
	"fmt"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
)

// settled is how long before a release began its stable version is looked at, for what
// its series were then.
const settled = 15 * time.Second

// enough is how many requests it takes to hold a version's errors against it.
const enough = 50

// AskResidual answers what still reaches a track after a release: Allow when nothing
// does any more. interval is assumed where the release did not find out its own.
func AskResidual(ask Query, interval time.Duration, clock func() time.Time) func(context.Context, canary.Question, canary.Subject) canary.Answer {
	return func(ctx context.Context, q canary.Question, s canary.Subject) canary.Answer {
		serving := s.Stable.Deployment
		if q.Name == serving {
			serving = s.Canary.Deployment
		}
		found, err := Residual(ctx, ask, After{Namespace: s.Namespace, Workload: q.Name, Serving: serving, Interval: widthOf(s, interval), Since: s.Since}, clock())
		switch {
		case err != nil:
			return unreached("What still reaches "+q.Name+" isn't known", err)
		case found.Rate > 0:
			return canary.Answer{Said: canary.Wait, Rate: found.Rate, Sentence: fmt.Sprintf("%s gets %.1f requests/s", q.Name, found.Rate)}
		case !found.Drained:
			return canary.Answer{Said: canary.Wait, Sentence: q.Name + " is watched until no request has reached it for a minute"}
		}
		return canary.Answer{Said: canary.Allow, Sentence: q.Name + " gets no requests"}
	}
}

// AskSeries answers whether stable's series went on over a rollback, within the limit
// that stable is expected to keep.
func AskSeries(ask Query, interval time.Duration, clock func() time.Time) func(context.Context, canary.Question, canary.Subject) canary.Answer {
	return func(ctx context.Context, _ canary.Question, s canary.Subject) canary.Answer {
		now, of := clock(), s.Stable.Deployment
		after := After{Namespace: s.Namespace, Workload: of, Interval: widthOf(s, interval)}
		if least := s.Since.Add(drainScrapes * after.Interval); now.Before(least) {
			return canary.Answer{Said: canary.Wait, Sentence: "The series of " + of + " are looked at for three scrapes"}
		}
		c, err := Continues(ctx, ask, after, s.Started.Add(-settled), s.Since, now)
		if err != nil {
			return unreached("Whether the series of "+of+" go on isn't known", err)
		}
		return c.answer(of, s.MaxErrorRate)
	}
}

// answer is what is found wrong with a version's series; Allow where nothing is.
func (c Continuity) answer(of string, most float64) canary.Answer {
	var wrong []string
	if c.Gap {
		wrong = append(wrong, "the last three scrapes of "+of+" are not all there")
	}
	if n := len(c.Gone); n > 0 {
		const shown = 5
		names := strings.Join(c.Gone[:min(n, shown)], ", ")
		if n > shown {
			names += fmt.Sprintf(" and %d more", n-shown)
		}
		wrong = append(wrong, of+" had metrics before the release that it has no more: "+names)
	}
	if most > 0 && c.Requests >= enough && c.Failed/c.Requests > most {
		wrong = append(wrong, fmt.Sprintf("%s fails %.3g%% of its requests since the rollback, its limit is %.3g%%", of, 100*c.Failed/c.Requests, 100*most))
	}
	checks := []canary.Check{
		{Name: "series of " + of, Passed: !c.Gap && len(c.Gone) == 0},
		{Name: "limits of " + of, Passed: most == 0 || c.Requests < enough || c.Failed/c.Requests <= most, Sentence: fmt.Sprintf("%.0f of %.0f requests failed since the rollback", c.Failed, c.Requests)},
	}
	if len(wrong) == 0 {
		return canary.Answer{Said: canary.Allow, Sentence: "The series of " + of + " go on", Checks: checks}
	}
	sentence := strings.Join(wrong, "; ")
	return canary.Answer{Said: canary.Deny, Sentence: sentence, Checks: checks}
}

func widthOf(s canary.Subject, assumed time.Duration) time.Duration {
	if s.Width > 0 {
		return s.Width
	}
	return assumed
}

func unreached(what string, err error) canary.Answer {
	return canary.Answer{Said: canary.Wait, Unreached: true, Sentence: what + ": " + strings.ReplaceAll(err.Error(), "\n", "; ")}
}
