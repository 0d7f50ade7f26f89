// Package explain tells why a release went as it went: it replays the release
// from Prometheus through the judge, and shows the evidence over time, the
// moments at which the verdict changed, and what is not known any more. It is
// given what was read of the cluster, and writes text or JSON.
package explain

import (
	"context"
	"fmt"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/replay"
)

// Release is a release to be explained, under way or over.
type Release struct {
	Namespace, Service string
	// State is the one on the VirtualServices or, of a release that is over,
	// what its record says of it.
	State canary.State
	// Ended is when the release was over; zero while it is under way.
	Ended time.Time
	// Watched is what was read of a release that is only observed; nil for others.
	Watched *Watched
}

// Observed tells that people lead the release and Serin only judges it, so that
// its state stands on no object.
func (r Release) Observed() bool { return r.State.Phase == canary.Watched }

// Look is a block of the release, and the verdict after it. With Verdict.Open
// the block is the open one that proved the breach.
type Look struct {
	Block   judge.Block
	Verdict judge.Verdict
}

// Story is a release as its replay tells it.
type Story struct {
	Release
	Step     int // the only one to be shown; 0: all
	Settings judge.Settings
	Asked    time.Time // when it was replayed
	Baseline judge.Baseline
	Before   []judge.Block // stable's hour before the release
	Looks    []Look        // in the order of time
	Warnings []string      // Prometheus's
	Gaps     []Gap         // stretches of time without data, in order
	Unknown  []string      // what else the replay can't know, sentences without trailing period
	// Partial tells that data is missing, so that the release's own verdicts may
	// have been others.
	Partial bool
}

// Gap is a stretch of a step of which there is no data.
type Gap struct {
	From, To time.Time
	Step     int
	Why      string
}

// Query is how a release is replayed.
type Query struct {
	Blocks   replay.Source
	Open     replay.Source // nil: only closed blocks are judged
	Reporter prom.Reporter
	Custom   []prom.Custom // in the order of the release's own metrics
	// Intervals finds out how often is scraped, for releases whose state does
	// not say how long their blocks are; Assumed is for where nothing tells it.
	Intervals func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Interval
	Assumed   time.Duration
}

// Tell replays a release as far as it is known now. step limits what is shown,
// not what is replayed: evidence gathers over the steps. It fails when
// Prometheus doesn't answer or the release has no such step.
func Tell(ctx context.Context, q Query, r Release, step int, now time.Time) (Story, error) {
	s := Story{Release: r, Step: step, Settings: canary.SettingsOf(r.State), Asked: now}
	if err := r.has(step); err != nil {
		return s, err
	}
	var err error
	if r.State.Width, err = q.width(ctx, r, now); err != nil {
		return s, err
	}
	s.State = r.State
	subject := replay.Subject{
		Namespace: r.Namespace, Service: r.Service, State: r.State,
		Reporter: q.Reporter, Custom: q.Custom, Open: q.Open,
	}
	if r.Ended.IsZero() {
		subject.From = r.State.At
	}
	s.Warnings, err = replay.Run(ctx, q.Blocks, subject, now, func(of replay.Stretch, b judge.Block, c *judge.Case) {
		s.Baseline = c.Baseline()
		if of.Before {
			s.Before = append(s.Before, b)
			return
		}
		// As of its end a block is never stale: the replay tells what was known
		// then, had Prometheus answered.
		s.Looks = append(s.Looks, Look{Block: b, Verdict: c.Verdict(b.End())})
	})
	if err != nil {
		return s, fmt.Errorf("explain %s/%s: %w", r.Namespace, r.Service, err)
	}
	s.lookOn()
	s.findUnknown()
	return s, nil
}

// has fails when a step is asked for that the release has not.
func (r Release) has(step int) error {
	n := len(r.State.Spec.Steps)
	switch {
	case step < 0 || step > n:
		return fmt.Errorf("explain step %d of %s/%s: rollout %s has the steps 1 to %d", step, r.Namespace, r.Service, r.State.Rollout, n)
	case r.Observed() && step > 0 && step != r.State.Step:
		return fmt.Errorf("explain step %d of %s/%s: it is only observed, at %d%%, %s; leave --step out", step, r.Namespace, r.Service, r.State.Weight, r.present())
	}
	return nil
}

// Shown are the looks at the step that is to be shown, or at all.
func (s Story) Shown() []Look {
	if s.Step == 0 {
		return s.Looks
	}
	var shown []Look
	for _, l := range s.Looks {
		if l.Block.Step == s.Step {
			shown = append(shown, l)
		}
	}
	return shown
}

// Turns are the looks at which the verdict changed, or the step.
func Turns(looks []Look) []Look {
	var turns []Look
	for i, l := range looks {
		if i == 0 || turned(looks[i-1].Verdict, l.Verdict) {
			turns = append(turns, l)
		}
	}
	return turns
}

func turned(a, b judge.Verdict) bool {
	return a.Kind != b.Kind || a.Reason != b.Reason || a.Step != b.Step || a.Weight != b.Weight
}

// Fell is the look at which the verdict fell that stood at the end of the last
// stretch with weight: to roll back or to promote. False while none had.
func Fell(looks []Look) (Look, bool) {
	looks = judged(looks)
	last := len(looks) - 1
	if last < 0 || looks[last].Verdict.Kind != judge.Rollback && looks[last].Verdict.Kind != judge.Promote {
		return Look{}, false
	}
	first := last
	for first > 0 && !turned(looks[first-1].Verdict, looks[last].Verdict) {
		first--
	}
	return looks[first], true
}

// findUnknown says what no replay can know.
func (s *Story) findUnknown() {
	if n := len(s.State.Legs); n >= canary.MaxLegs {
		s.lack("only the last %d stretches of the release are kept: what came before them is not judged again", n)
	}
	had := accepted(s.Looks)
	switch {
	case s.Observed() && s.State.Weight == 0:
		s.note("a canary without weight can't be judged")
	case len(s.Looks) == 0 && s.Ended.IsZero():
		s.note("no block of a step with weight is closed yet")
	case len(s.Looks) == 0:
		s.lack("its record names no stretch with weight, so there is nothing to judge again")
	case had == 0:
		s.lack("Prometheus knows nothing of the release%s (%s)", s.retention(), absent(s.Looks[0]))
	default:
		s.findGaps()
	}
	if len(s.Before) > 0 && !anyOf(s.Before) {
		s.lack("Prometheus knows nothing of the hour before the release, by which stable is known%s", s.retention())
	}
	s.findUnlike()
}

func (s *Story) note(format string, args ...any) {
	s.Unknown = append(s.Unknown, fmt.Sprintf(format, args...))
}

func (s *Story) lack(format string, args ...any) {
	s.note(format, args...)
	s.Partial = true
}

// keepsAtLeast is for how long most Prometheus servers keep what they scraped.
const keepsAtLeast = 24 * time.Hour

// judged are the looks at a weight or at copies: a rollback being watched proves nothing.
func judged(looks []Look) []Look {
	var out []Look
	for _, l := range looks {
		if l.Block.Weight > 0 || l.Block.Mirror > 0 {
			out = append(out, l)
		}
	}
	return out
}

// retention is the likely cause where nothing is known of a time long ago.
func (s *Story) retention() string {
	age := s.Asked.Sub(s.State.Started)
	if age < keepsAtLeast {
		return ""
	}
	return fmt.Sprintf(": it was %s ago, its retention may be shorter", span(age))
}

// findGaps names the stretches of time without data, each with its cause, and
// the metrics without any.
func (s *Story) findGaps() {
	for _, l := range judged(s.Looks) {
		why := absent(l)
		if why == "" {
			continue
		}
		s.Partial = true
		gap := Gap{From: l.Block.Start, To: l.Block.End(), Step: l.Block.Step, Why: why}
		if n := len(s.Gaps); n > 0 && s.Gaps[n-1].goesOn(gap) {
			s.Gaps[n-1].To = gap.To
			continue
		}
		s.Gaps = append(s.Gaps, gap)
	}
	for _, m := range s.Looks[len(s.Looks)-1].Verdict.Metrics {
		if m.Missing != "" {
			s.lack("metric %s: %s", m.Name, m.Missing)
		}
	}
}

func (g Gap) goesOn(next Gap) bool {
	return g.To.Equal(next.From) && g.Step == next.Step && g.Why == next.Why
}

// findUnlike tells when the release was rolled back by the judge, and the replay
// does not come to it.
func (s *Story) findUnlike() {
	if !s.rolledBack() || len(s.Looks) == 0 || s.Partial {
		return
	}
	for _, l := range s.Looks {
		if l.Verdict.Kind == judge.Rollback {
			return
		}
	}
	s.note("the closed blocks alone do not prove what the release was rolled back for (%s): it may have been seen within the last, open block, or as Prometheus answered then", s.State.Reason)
}

// rolledBack tells that it was a verdict of the judge by which the release ended.
func (s *Story) rolledBack() bool {
	if s.State.Phase != canary.RollingBack && s.State.Phase != canary.RolledBack {
		return false
	}
	switch judge.Reason(s.State.Reason) {
	case judge.ReasonErrorRate, judge.ReasonErrorRatio, judge.ReasonLatency, judge.ReasonSlower, judge.ReasonCustom:
		return true
	}
	return false
}

// absent is why a look adds nothing; empty if it does.
func absent(l Look) string {
	switch {
	case l.Block.Missing != "":
		return l.Block.Missing
	case !l.Block.Canary.Live:
		return "the canary's proxies did not report"
	}
	return ""
}

func accepted(looks []Look) int {
	n := 0
	for _, l := range looks {
		if absent(l) == "" {
			n++
		}
	}
	return n
}

// anyOf tells whether stable was heard in any of the blocks.
func anyOf(blocks []judge.Block) bool {
	for _, b := range blocks {
		if b.Missing == "" && b.Stable.Live {
			return true
		}
	}
	return false
}

// OfRecord is a finished release as its record in the history has it.
func OfRecord(namespace, service string, r canary.Release) Release {
	return Release{
		Namespace: namespace, Service: service, Ended: r.Ended,
		State: canary.State{
			Version: 1, Rollout: r.Rollout, Phase: r.Outcome, Step: lastStep(r), Weight: r.Weight, Peak: r.Weight,
			Canary: r.Canary, Stable: r.Stable, Started: r.Started, Since: r.Ended, At: r.Ended,
			Reason: r.Reason, Message: r.Message, Spec: r.Spec, Width: r.Width, Legs: r.Legs, Digests: r.Digests,
		},
	}
}

func lastStep(r canary.Release) int {
	if n := len(r.Legs); n > 0 {
		return r.Legs[n-1].Step
	}
	return 0
}

// span is a time as people say it: 4m12s, 3h20m, 12 days.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return d.Round(time.Second).String()
}
