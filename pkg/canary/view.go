package canary

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"serin.dev/serin/pkg/judge"
)

// View is what people are shown of a Service's rollout, wherever they look: in
// metrics, on the command line, on the page and in messages. It is also what the
// controller answers in JSON.
type View struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Rollout   string `json:"rollout,omitempty"` // its id; empty when none is remembered
	InPlace   bool   `json:"inPlace,omitempty"` // one Deployment is updated in place
	Canary    Track  `json:"canary"`
	Stable    Track  `json:"stable"`

	Phase    Phase  `json:"phase"` // may be Waiting or Blocked, which are never stored
	Reason   Reason `json:"reason"`
	Sentence string `json:"sentence"`
	// Moved is the reason of the last transition, which was at Since; Reason may
	// be that of a hold after it.
	Moved   Reason    `json:"moved,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Started time.Time `json:"started,omitzero"`

	Step   int         `json:"step"`           // 1-based; 0 before the first
	Steps  int         `json:"steps"`          // how many there are
	Path   []StepView  `json:"path,omitempty"` // all steps in order, while a rollout is under way
	Weight int         `json:"weight"`         // the canary's ordered share in percent
	Shares []ShareView `json:"shares,omitempty"`
	Next   NextView    `json:"next,omitzero"`
	Limits LimitsView  `json:"limits,omitzero"`
	// Header says how testers reach the canary, as "x-app-version: canary"; empty
	// while they can't.
	Header string `json:"header,omitempty"`

	Verdict  VerdictView `json:"verdict,omitzero"`
	Findings []Finding   `json:"findings,omitempty"`
	// Mirror is the share of requests, in percent, of which the canary is sent a copy.
	Mirror int `json:"mirror,omitempty"`
	// Awaits is what it waits for, from people or from outside.
	Awaits []Awaited `json:"awaits,omitempty"`
	// Checks are what was looked at one by one: smoke checks, what a gate listed, what a
	// rollback was verified by.
	Checks    []Check    `json:"checks,omitempty"`
	Approvals []Approval `json:"approvals,omitempty"`
	// Unverified says which checks of the rollback failed; empty: none.
	Unverified string `json:"unverified,omitempty"`
	// Residual is how many requests a second still reach ResidualOf, a Deployment that
	// no route leads to any more. Removable is such a one that gets none any more.
	Residual   float64 `json:"residual,omitempty"`
	ResidualOf string  `json:"residualOf,omitempty"`
	Removable  string  `json:"removable,omitempty"`
	// Notify are the channels on which people are told of it, by the names that the
	// operator gave them.
	Notify []string `json:"notify,omitempty"`
}

// Key is the Service's, as people write it: shop/web.
func (v View) Key() string { return v.Namespace + "/" + v.Service }

// Progress is how much of the way to the promotion is done, from 0 to 1: each step is
// an equal part of it, of which as much is done as has baked. False while nothing
// moves towards a promotion.
func (v View) Progress() (float64, bool) {
	switch v.Phase {
	case Promoting, Finishing, Succeeded:
		return 1, true
	case Testing:
		return 0, true
	}
	if v.Steps == 0 || v.Path == nil || v.Phase == RollingBack || v.Phase == Watched {
		return 0, false
	}
	if v.Step == 0 {
		return 0, true
	}
	baked := 0.0
	if v.Verdict.Bake > 0 {
		baked = min(1, v.Verdict.Covered.Seconds()/v.Verdict.Bake.Seconds())
	}
	return (float64(v.Step-1) + baked) / float64(v.Steps), true
}

// StepView is a step as shown.
type StepView struct {
	Weight int  `json:"weight"` // percent
	Bake   Span `json:"bake"`
	Mirror int  `json:"mirror,omitempty"` // percent of which it is sent a copy
}

// ShareView is the canary's share as a VirtualService is found: the least and the
// most of its routes, in percent.
type ShareView struct {
	VirtualService string `json:"virtualService"`
	Least          int    `json:"least"`
	Most           int    `json:"most"`
}

// LimitsView are the limits in force as shown: see judge.Limits.
type LimitsView struct {
	ErrorRate  float64 `json:"errorRate"`
	ErrorRatio float64 `json:"errorRatio,omitempty"`
	P99        Span    `json:"p99"`
	P99Ratio   float64 `json:"p99Ratio,omitempty"`
}

func limitsView(l judge.Limits) LimitsView {
	return LimitsView{ErrorRate: l.ErrorRate, ErrorRatio: l.ErrorRatio, P99: Span(l.P99), P99Ratio: l.P99Ratio}
}

// NextView is what comes next of itself.
type NextView struct {
	Sentence string    `json:"sentence"`          // no trailing period; empty: nothing does
	At       time.Time `json:"at,omitzero"`       // not before; zero: unknown
	Deadline time.Time `json:"deadline,omitzero"` // of the step; zero: none
}

// VerdictView is the judge's latest answer as shown.
type VerdictView struct {
	Kind           string `json:"kind"`
	Reason         string `json:"reason"`
	Sentence       string `json:"sentence"`
	StableRequests int64  `json:"stableRequests"`
	CanaryRequests int64  `json:"canaryRequests"`
	StableErrors   int64  `json:"stableErrors"`
	CanaryErrors   int64  `json:"canaryErrors"`
	// StableRate and CanaryRate are requests per second.
	StableRate float64 `json:"stableRate"`
	CanaryRate float64 `json:"canaryRate"`
	StableP99  Bounds  `json:"stableP99"` // ms
	CanaryP99  Bounds  `json:"canaryP99"`
	Covered    Span    `json:"covered"`
	Bake       Span    `json:"bake"` // that has to be covered; 0: no step is under way

	// The evidence, as in judge.Verdict: natural logarithms of odds.
	Metrics    []MetricView `json:"metrics,omitempty"`
	Against    Odds         `json:"against"`
	For        Odds         `json:"for"`
	RollbackAt Odds         `json:"rollbackAt"`
	PromoteAt  Odds         `json:"promoteAt"`
	More       int64        `json:"more,omitempty"` // canary requests that are still needed, about; 0: unknown
	MoreTime   Span         `json:"moreTime,omitempty"`
	Open       bool         `json:"open,omitempty"`
}

// MetricView is the evidence of one metric as shown: see judge.Metric.
type MetricView struct {
	Name    string      `json:"name"`
	Limit   float64     `json:"limit"`
	Canary  judge.Tally `json:"canary"`
	Stable  judge.Tally `json:"stable"`
	Share   Bounds      `json:"share"` // of bad requests among the canary's, with 95% confidence
	Against Odds        `json:"against"`
	For     Odds        `json:"for"`
	Judged  bool        `json:"judged"`
	Missing string      `json:"missing,omitempty"`
}

// Detail is a View with what happened before it: what is shown of one rollout.
type Detail struct {
	View View `json:"view"`
	// Points are what was measured block by block, oldest first, at most MaxPoints.
	Points []Point `json:"points,omitempty"`
	// Timeline is what was told of this rollout, oldest first, at most MaxTold,
	// since this controller leads.
	Timeline []Told `json:"timeline,omitempty"`
	// History are the releases before, newest first, at most MaxPast.
	History []Past `json:"history,omitempty"`
}

// How much of the past is shown of one rollout.
const (
	MaxPoints = 240
	MaxTold   = 100
	MaxPast   = 5
)

// Point is what was measured of both tracks in one block.
type Point struct {
	At     time.Time  `json:"at"` // its end
	Width  Span       `json:"width"`
	Weight int        `json:"weight"` // percent
	Stable SampleView `json:"stable"`
	Canary SampleView `json:"canary"`
}

// SampleView is one track's part of a Point.
type SampleView struct {
	Requests int64  `json:"requests"`
	Errors   int64  `json:"errors"`
	P99      Bounds `json:"p99"` // ms; of this block alone
}

// Told is an Event, and when it was told.
type Told struct {
	At       time.Time `json:"at"`
	Reason   Reason    `json:"reason"`
	Sentence string    `json:"sentence"`
	Warning  bool      `json:"warning,omitempty"`
}

// Past is a release that is over, as shown.
type Past struct {
	Rollout  string    `json:"rollout"`
	Canary   string    `json:"canary"` // the Deployment
	Outcome  Phase     `json:"outcome"`
	Reason   Reason    `json:"reason"`
	Sentence string    `json:"sentence"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	Weight   int       `json:"weight"` // the highest share it reached, percent
	Digests  []string  `json:"digests,omitempty"`
	Requests int64     `json:"requests"`
	Errors   int64     `json:"errors"`
	// Images are what it ran, and StableImages what ran before it, with digests where
	// pods reported them.
	Images       []Image    `json:"images,omitempty"`
	StableImages []Image    `json:"stableImages,omitempty"`
	Approvals    []Approval `json:"approvals,omitempty"`
	Unverified   string     `json:"unverified,omitempty"` // which checks of its rollback failed
}

// PastOf is a kept release as shown.
func PastOf(r Release) Past {
	return Past{
		Rollout: r.Rollout, Canary: r.Canary.Deployment, Outcome: r.Outcome, Reason: r.Reason, Sentence: r.Message,
		Started: r.Started, Ended: r.Ended, Weight: r.Weight, Digests: r.Digests, Requests: r.Requests, Errors: r.Errors,
		Images: r.Images, StableImages: r.StableImages, Approvals: r.Approvals, Unverified: r.Unverified,
	}
}

// Span is a duration that JSON has in seconds.
type Span time.Duration

// String is the duration as people write it: 1m30s.
func (s Span) String() string { return judge.Duration(time.Duration(s)) }

// Seconds is the duration in seconds.
func (s Span) Seconds() float64 { return time.Duration(s).Seconds() }

// MarshalJSON writes it.
func (s Span) MarshalJSON() ([]byte, error) { return json.Marshal(s.Seconds()) }

// UnmarshalJSON reads it.
func (s *Span) UnmarshalJSON(text []byte) error {
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return fmt.Errorf("read a duration in seconds: %w", err)
	}
	*s = Span(math.Round(seconds * float64(time.Second)))
	return nil
}

// Bounds are two numbers between which one lies; both 0: unknown. The upper one may
// be +Inf, which JSON has as null.
type Bounds [2]float64

// Known tells whether anything is known.
func (b Bounds) Known() bool { return b != Bounds{} }

// MarshalJSON writes them.
func (b Bounds) MarshalJSON() ([]byte, error) {
	out := [2]*float64{&b[0], &b[1]}
	for i, v := range b {
		if math.IsInf(v, 0) || math.IsNaN(v) {
			out[i] = nil
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads them.
func (b *Bounds) UnmarshalJSON(text []byte) error {
	var in [2]*float64
	if err := json.Unmarshal(text, &in); err != nil {
		return fmt.Errorf("read bounds: %w", err)
	}
	*b = Bounds{0, math.Inf(1)}
	for i, v := range in {
		if v != nil {
			b[i] = *v
		}
	}
	return nil
}

// Odds is a natural logarithm of odds; 0 is none. JSON has it within a million.
type Odds float64

// mostOdds is far more than any word or scale for them has.
const mostOdds = 1e6

// MarshalJSON writes it.
func (o Odds) MarshalJSON() ([]byte, error) {
	v := float64(o)
	if math.IsNaN(v) {
		v = 0
	}
	return json.Marshal(max(-mostOdds, min(mostOdds, v)))
}

// view shows a state with the reason of the moment.
func (m moment) view(s State, shown Phase, r Reason, sentence string) View {
	v := View{
		Canary: m.o.Tracks.Canary, Stable: m.o.Tracks.Stable, InPlace: m.o.InPlace || s.InPlace,
		Phase: shown, Step: s.Step, Steps: len(m.spec.Steps), Weight: s.Weight,
		Reason: r, Sentence: sentence, Since: s.Since, Moved: s.Reason, Started: s.Started, Rollout: s.Rollout,
		Findings: m.o.Findings, Verdict: verdictView(m.o.Verdict), Notify: m.spec.Notify,
		Mirror: s.mirror(), Approvals: s.Approvals, Unverified: s.Unverified,
	}
	if s.Phase.Active() || s.Phase == Watched {
		v.Limits, v.Shares = limitsView(m.spec.Limits), m.shares()
		for _, step := range m.spec.Steps {
			v.Path = append(v.Path, StepView{Weight: step.Weight, Bake: Span(step.Bake), Mirror: step.Mirror})
		}
		if s.Phase == Progressing || s.Phase == Paused || s.Phase == Inconclusive {
			v.Verdict.Bake = Span(m.stepOf(s).Bake)
		}
		if h := TrafficOf(s).Header; h != nil {
			v.Header = h.String()
		}
		v.Next = m.next(s, shown)
	}
	return v
}

func verdictView(v judge.Verdict) VerdictView {
	out := VerdictView{
		Kind: string(v.Kind), Reason: string(v.Reason), Sentence: v.Sentence,
		StableRequests: v.Stable.Requests, CanaryRequests: v.Canary.Requests,
		StableErrors: v.Stable.Errors, CanaryErrors: v.Canary.Errors,
		StableRate: v.Stable.Rate, CanaryRate: v.Canary.Rate,
		StableP99: v.Stable.P99, CanaryP99: v.Canary.P99,
		Covered: Span(v.Covered),
		Against: Odds(v.Against), For: Odds(v.For), RollbackAt: Odds(v.RollbackAt), PromoteAt: Odds(v.PromoteAt),
		More: v.More, MoreTime: Span(v.MoreTime), Open: v.Open,
	}
	for _, x := range v.Metrics {
		out.Metrics = append(out.Metrics, MetricView{
			Name: x.Name, Limit: x.Limit, Canary: x.Canary, Stable: x.Stable, Share: Bounds{x.Low, x.High},
			Against: Odds(x.Against), For: Odds(x.For), Judged: x.Judged, Missing: x.Missing,
		})
	}
	return out
}

// shares are what the VirtualServices carry that serve users.
func (m moment) shares() (all []ShareView) {
	for key, seen := range m.o.Traffic {
		if !seen.Idle {
			all = append(all, ShareView{VirtualService: key.Name, Least: seen.Min, Most: seen.Max})
		}
	}
	slices.SortFunc(all, func(a, b ShareView) int { return cmp.Compare(a.VirtualService, b.VirtualService) })
	return all
}

// stepOf is the step in which a state is; zero before the first.
func (m moment) stepOf(s State) Step {
	if s.Step < 1 || s.Step > len(m.spec.Steps) {
		return Step{}
	}
	return m.spec.Steps[s.Step-1]
}

// next says what comes next of itself, should all go well.
func (m moment) next(s State, shown Phase) NextView {
	switch {
	case shown == Blocked:
		return NextView{Sentence: "It goes on when what blocks it is mended"}
	case s.Phase == Testing:
		return m.firstStep(s)
	case s.Phase == Progressing:
		return m.nextStep(s)
	case s.Phase == Paused || s.Phase == Inconclusive:
		return NextView{Sentence: "Nothing until somebody decides; a breach is rolled back all the same"}
	case s.Phase == Promoting:
		return NextView{Sentence: "Users return to the Deployment when it is updated"}
	case s.Phase.Drains():
		return NextView{Sentence: "It ends when no request reaches the canary any more"}
	}
	return NextView{}
}

// firstStep is what comes after the test.
func (m moment) firstStep(s State) NextView {
	n := NextView{At: s.Since.Add(m.spec.Test)}
	if len(m.spec.Steps) > 0 {
		n.Sentence = m.spec.Steps[0].coming() + " when its pods are ready and the test time is over"
	}
	return n
}

// coming says what a step will bring, before anybody knows of the pods.
func (s Step) coming() string {
	if s.Mirror > 0 {
		return fmt.Sprintf("The canary is sent a copy of %d%% of the traffic", s.Mirror)
	}
	return fmt.Sprintf("%d%% of the traffic goes to the canary", s.Weight)
}

// nextStep is what comes after a step: not before its bake is over.
func (m moment) nextStep(s State) NextView {
	n := NextView{Sentence: "The canary is promoted", Deadline: s.Since.Add(m.spec.StepDeadline)}
	if s.Step < len(m.spec.Steps) {
		n.Sentence = fmt.Sprintf("The canary's share rises to %d%%", m.spec.Steps[s.Step].Weight)
		if m.spec.Steps[s.Step].Mirror > 0 {
			n.Sentence = m.spec.Steps[s.Step].coming()
		}
	}
	n.Sentence += " when the step has baked and the evidence suffices"
	covered := time.Duration(0)
	if m.o.Verdict.Step == s.Step && m.o.Verdict.Weight == s.Weight {
		covered = m.o.Verdict.Covered
	}
	n.At = m.now.Add(max(0, m.stepOf(s).Bake-covered, m.o.Verdict.MoreTime))
	return n
}
