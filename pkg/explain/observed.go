package explain

import (
	"context"
	"fmt"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/replay"
)

// Watched is what was read of a Service whose releases people lead and Serin
// only judges: what its Deployment asks for, and what the routes do.
type Watched struct {
	Spec canary.Spec
	// Observation has Observe set, and no Verdict: those come from the replay.
	Observation canary.Observation
}

// Release is the release as it would be watched from now on by somebody who
// knows nothing of before: since its weights, or a version, changed last. It
// fails with the reason and the mend when it can't be judged at all.
func (w Watched) Release(namespace, service string, now time.Time) (Release, error) {
	w.Observation.Replaying = true // no deadline passes before there is a verdict
	p := canary.Decide(w.Spec, canary.State{}, w.Observation, now)
	if p.Next.Phase != canary.Watched {
		return Release{}, fmt.Errorf("explain %s/%s: %s", namespace, service, p.View.Sentence)
	}
	// The routes say nothing of the state: they carry it since they are as they are.
	p.Next.At = p.Next.Since
	return Release{Namespace: namespace, Service: service, State: p.Next, Watched: &w}, nil
}

// present is the only step of a release that is only observed.
func (r Release) present() string {
	if r.State.Step == 0 {
		return "before step 1"
	}
	return fmt.Sprintf("judged as step %d of %d", r.State.Step, len(r.State.Spec.Steps))
}

// width is how long the release's blocks are. Where its state does not say it,
// for nobody led it, it is found out as for a release that begins now.
func (q Query) width(ctx context.Context, r Release, now time.Time) (time.Duration, error) {
	if !r.Observed() || r.State.Width > 0 || r.State.Weight == 0 {
		return r.State.Width, nil
	}
	ask := replay.Stretch{}.Ask(r.Namespace, r.Service, r.State, now)
	ask.Key, ask.Reporter = r.State.Rollout, q.Reporter
	found := q.Intervals(ctx, []prom.Ask{ask}, now)[ask.Key]
	if found.Err != nil {
		return 0, fmt.Errorf("explain %s/%s: find out how often is scraped: %w", r.Namespace, r.Service, found.Err)
	}
	return replay.WidthOf(found.Width, q.Assumed), nil
}

// lookOn lets a release that is only observed meet each verdict of its replay,
// and so comes to what would have been done. Without any it says what is
// waited for.
func (s *Story) lookOn() {
	if s.Watched == nil {
		return
	}
	o := s.Watched.Observation
	p := canary.Decide(s.Watched.Spec, s.State, o, s.Asked)
	o.Replaying = false
	for _, l := range s.Looks {
		o.Verdict = l.Verdict
		p = canary.Decide(s.Watched.Spec, p.Next, o, l.Block.End())
	}
	s.State = p.Next
	if s.State.Reason == "" {
		s.State.Reason, s.State.Message = p.View.Reason, p.View.Sentence
	}
	if s.State.Weight > 0 && !s.State.Since.Before(s.Asked) {
		s.note("the routes do not say when their weights were written")
	}
}
