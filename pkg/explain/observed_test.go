package explain

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// watched is a release that people lead: a quarter of the traffic since began.
func watched(change func(*Watched)) Watched {
	r := release(func(*Release) {})
	w := Watched{Spec: r.State.Spec, Observation: canary.Observation{
		Observe: true,
		Tracks: canary.Tracks{
			Stable: canary.Track{Deployment: "web-v1", Subset: "v1", Template: "a1", Ready: 2, Wanted: 2, Complete: true},
			Canary: canary.Track{Deployment: "web-v2", Subset: "v2", Template: "b2", Ready: 2, Wanted: 2, Complete: true},
		},
		Traffic: map[canary.ObjectKey]canary.Seen{
			{Kind: "VirtualService", Namespace: "shop", Name: "web"}: {Min: 25, Max: 25, Writer: "kubectl-edit", Changed: began},
		},
	}}
	w.Spec.Custom = nil
	change(&w)
	return w
}

// scrapes are a Prometheus that scraped every 5 s; of the requests of the
// canary in each block so many failed, since the given time.
func scrapes(requests, failed int64, since time.Time) Query {
	return Query{
		Assumed: 15 * time.Second,
		Intervals: func(_ context.Context, asks []prom.Ask, _ time.Time) map[string]prom.Interval {
			return map[string]prom.Interval{asks[0].Key: {Width: 5 * time.Second}}
		},
		Blocks: func(_ context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			a, end := asks[0], prom.Closed(now, asks[0].Width)
			if !a.To.IsZero() && a.To.Before(end) {
				end = a.To
			}
			var blocks []judge.Block
			for from := a.From.Truncate(a.Width); !from.Add(a.Width).After(end); from = from.Add(a.Width) {
				if from.Before(a.From) {
					continue
				}
				b := judge.Block{Start: from, Width: a.Width, Step: a.Step, Weight: a.Weight}
				b.Stable, b.Canary = answering(b.End(), 3*requests), answering(b.End(), requests)
				if !from.Before(since) {
					b.Canary.Errors = failed
				}
				blocks = append(blocks, b)
			}
			return map[string]prom.Answer{a.Key: {Blocks: blocks}}
		},
	}
}

// answering is a track that answered n requests, all of them quickly.
func answering(at time.Time, n int64) judge.Sample {
	return judge.Sample{Live: true, Seen: at, Counts: judge.Counts{
		Requests: n, Latency: []judge.Bucket{{Le: 500, Count: n}, {Le: math.Inf(1), Count: n}},
	}}
}

func tell(t *testing.T, w Watched, q Query, now time.Time) Story {
	t.Helper()
	r, err := w.Release("shop", "web", now)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Tell(t.Context(), q, r, 0, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatWouldHaveBeenDoneWithAnObservedRelease(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Watched)
		query  Query
		after  time.Duration
		reason canary.Reason
		says   string
	}{
		"nothing while there is little evidence":            {query: scrapes(10, 0, began), after: 30 * time.Second, reason: canary.NotEnoughRequests},
		"the next step when bake and evidence are there":    {query: scrapes(10, 0, began), after: 6 * time.Minute, reason: canary.StepPassed, says: "If Serin led this release: Step 3 of 3"},
		"a rollback when half of the requests fail":         {query: scrapes(10, 5, began), after: time.Minute, reason: canary.ErrorRateTooHigh, says: "If Serin led this release: "},
		"a rollback though the step had passed long before": {query: scrapes(10, 5, began.Add(5*time.Minute)), after: 6 * time.Minute, reason: canary.ErrorRateTooHigh, says: "If Serin led this release: "},
		"what comes of a deadline, in the words of then":    {query: scrapes(0, 0, began), after: 2 * time.Hour, reason: canary.DeadlinePassed, says: "25% until there is one, or the command resume#id, skip#id or abort (0 canary requests"},
		"nothing can be done without weight": {
			change: func(w *Watched) { give(w, canary.Seen{Changed: began}) }, query: scrapes(10, 0, began), after: time.Hour,
			reason: canary.Watching, says: "give it weight by hand",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.change == nil {
				c.change = func(*Watched) {}
			}
			s := tell(t, watched(c.change), c.query, began.Add(c.after))
			if s.State.Reason != c.reason || !strings.Contains(s.State.Message, c.says) {
				t.Errorf("it says %s: %s", s.State.Reason, s.State.Message)
			}
			if s.Partial {
				t.Errorf("data is said to be missing: %v, %q", s.Gaps, s.Unknown)
			}
		})
	}
}

func give(w *Watched, seen canary.Seen) {
	for k := range w.Observation.Traffic {
		w.Observation.Traffic[k] = seen
	}
}

func TestAnObservedReleaseIsToldSinceItsWeightsWereWritten(t *testing.T) {
	s := tell(t, watched(func(*Watched) {}), scrapes(10, 0, began), began.Add(time.Minute))
	if first := s.Looks[0].Block; first.Start.Before(began) || first.Start.After(began.Add(5*time.Second)) || first.Width != 5*time.Second || first.Step != 2 || first.Weight != 25 {
		t.Errorf("it begins with %s of %s at step %d, %d%%", first.Start, first.Width, first.Step, first.Weight)
	}
	var out bytes.Buffer
	if err := s.Text(&out, Style{Width: 140}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "Observing 25%, judged as step 2 of 3, since 2026-03-14 09:26:50 UTC, for 1m0s\n") ||
		!strings.Contains(out.String(), "since the weights, or a version, changed last") {
		t.Errorf("it is headed\n%s", out.String())
	}
}

func TestRoutesThatDoNotSayWhenTheyWereWritten(t *testing.T) {
	w := watched(func(w *Watched) { give(w, canary.Seen{Min: 25, Max: 25}) })
	s := tell(t, w, scrapes(10, 0, began), began.Add(time.Hour))
	if len(s.Looks) != 0 || !strings.Contains(strings.Join(s.Unknown, "\n"), "do not say when their weights were written") {
		t.Errorf("%d blocks are shown, and not known is %q", len(s.Looks), s.Unknown)
	}
}

func TestAnObservedReleaseThatCanNotBeJudgedSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Watched)
		want   string
	}{
		"a mistake in the annotations": {func(w *Watched) { w.Observation.Invalid = []string{"serin.dev/bake: no duration"} }, "serin.dev/bake: no duration"},
		"versions that look the same":  {func(w *Watched) { w.Observation.Tracks.Stable.Subset = "" }, "each needs a subset of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := watched(c.change).Release("shop", "web", began); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestAnObservedReleaseNeedsToKnowHowOftenIsScraped(t *testing.T) {
	now := began.Add(time.Minute)
	r, err := watched(func(*Watched) {}).Release("shop", "web", now)
	if err != nil {
		t.Fatal(err)
	}
	q, away := scrapes(10, 0, began), errors.New("away")
	q.Intervals = func(_ context.Context, asks []prom.Ask, _ time.Time) map[string]prom.Interval {
		return map[string]prom.Interval{asks[0].Key: {Err: away}}
	}
	if _, err := Tell(t.Context(), q, r, 0, now); !errors.Is(err, away) {
		t.Errorf("the error is %v", err)
	}
	q.Intervals = func(context.Context, []prom.Ask, time.Time) map[string]prom.Interval { return nil }
	s, err := Tell(t.Context(), q, r, 0, now)
	if err != nil || s.State.Width != 15*time.Second {
		t.Errorf("without series blocks are %s long, %v", s.State.Width, err)
	}
}

func TestAReleaseThatSerinLeadsComesBeforeAnObservedOne(t *testing.T) {
	led := release(func(*Release) {}).State
	over := canary.Release{Rollout: "77aa", Outcome: canary.RolledBack, Canary: led.Canary, Stable: led.Stable}
	for name, c := range map[string]struct {
		known   Known
		rollout string
		want    canary.Phase
	}{
		"under way":                        {Known{State: led}, "", canary.Progressing},
		"over, and older than the watched": {Known{History: []canary.Release{over}}, "", canary.Watched},
		"over, and asked for":              {Known{History: []canary.Release{over}}, "77", canary.RolledBack},
		"none at all":                      {Known{}, "", canary.Watched},
	} {
		t.Run(name, func(t *testing.T) {
			c.known.Namespace, c.known.Service, c.known.Observed = "shop", "web", []string{"web-v1", "web-v2"}
			r, err := Find("deployment/web-v2", c.rollout, []Known{c.known})
			if err != nil || r.State.Phase != c.want {
				t.Errorf("it is %s, %v", r.State.Phase, err)
			}
		})
	}
}
