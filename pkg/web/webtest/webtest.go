// Package webtest has rollouts to show, for tests and pictures of the page.
package webtest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/web"
)

// Now is when all of it is looked at.
var Now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// Source answers with what it holds.
type Source []canary.Detail

// Views are those of all.
func (s Source) Views(context.Context) ([]canary.View, error) {
	var all []canary.View
	for _, d := range s {
		all = append(all, d.View)
	}
	return all, nil
}

// Detail finds one by its name.
func (s Source) Detail(_ context.Context, namespace, service string) (canary.Detail, error) {
	i := slices.IndexFunc(s, func(d canary.Detail) bool { return d.View.Namespace == namespace && d.View.Service == service })
	if i < 0 {
		return canary.Detail{}, web.ErrUnknown
	}
	return s[i], nil
}

// Moving is a good release at 25%, with so many points.
func Moving(points int) canary.Detail {
	v := view("shop", "checkout", canary.Progressing)
	v.Reason, v.Moved, v.Step, v.Weight = canary.Baking, canary.StepStarted, 2, 25
	v.Sentence = "Step 2 of 3, 25%: 48 of 120 seconds are covered by metrics, and nothing speaks against the canary"
	v.Next = canary.NextView{Sentence: "The canary's share rises to 100% when the step has baked and the evidence suffices", At: Now.Add(72 * time.Second), Deadline: Now.Add(29 * time.Minute)}
	v.Shares = []canary.ShareView{{VirtualService: "checkout", Least: 25, Most: 25}}
	v.Verdict = verdict("Hold", "NotEnoughRequests", "0.31% of 1 290 canary requests failed, at most 1% may; about 410 more requests are needed")
	v.Verdict.For, v.Verdict.Against, v.Verdict.More, v.Verdict.MoreTime = 2.1, 0.4, 410, canary.Span(16*time.Second)
	d := canary.Detail{View: v, History: history()}
	d.Points = measured(points, func(i int) (weight int, stable, tested canary.SampleView) {
		weight = 5
		if i > points/3 {
			weight = 25
		}
		wave := 8 * math.Sin(float64(i)/7)
		stable = sample(int64(float64(100-weight)*5+wave), int64(i%11/10), 25, 50)
		tested = sample(int64(float64(weight)*5+wave/3), int64(i%37/36), 25, 50)
		if i%23 > 19 {
			stable.P99 = canary.Bounds{50, 100}
		}
		if i%19 > 15 {
			tested.P99 = canary.Bounds{50, 100}
		}
		return weight, stable, tested
	})
	d.Timeline = []canary.Told{
		{At: Now.Add(-9 * time.Minute), Reason: canary.ReleaseStarted, Sentence: "A release of checkout-v2 begins: 5%, 25%, 100%"},
		{At: Now.Add(-8 * time.Minute), Reason: canary.StepStarted, Sentence: "The canary gets 5% of the traffic"},
		{At: Now.Add(-5 * time.Minute), Reason: canary.PausedByCommand, Sentence: "Paused by command of jane"},
		{At: Now.Add(-4 * time.Minute), Reason: canary.Resumed, Sentence: "Resumed by command of jane"},
		{At: Now.Add(-48 * time.Second), Reason: canary.StepStarted, Sentence: "The canary gets 25% of the traffic"},
	}
	return d
}

// RolledBack is a release that broke the limit of errors.
func RolledBack() canary.Detail {
	v := view("shop", "cart", canary.RolledBack)
	v.Reason, v.Moved, v.Path = canary.ErrorRateTooHigh, canary.ErrorRateTooHigh, nil
	v.Sentence = "Rolled back at 5%: 38 of 52 canary requests failed (73%), at most 1% may; stable had 0.2%"
	v.Verdict = verdict("Rollback", "ErrorRateTooHigh", "38 of 52 canary requests failed (73%), at most 1% may")
	v.Verdict.Against, v.Verdict.CanaryErrors, v.Verdict.CanaryRequests = 46, 38, 52
	v.Verdict.CanaryP99 = canary.Bounds{2500, math.Inf(1)}
	d := canary.Detail{View: v, History: history()}
	d.Points = measured(60, func(i int) (weight int, stable, tested canary.SampleView) {
		switch {
		case i < 40:
			return 0, sample(500, int64(i%3/2), 10, 25), canary.SampleView{}
		case i < 48:
			return 5, sample(475, 1, 10, 25), canary.SampleView{Requests: 25, Errors: 18, P99: canary.Bounds{2500, math.Inf(1)}}
		}
		return 0, sample(500, 0, 10, 25), canary.SampleView{}
	})
	d.Timeline = []canary.Told{
		{At: Now.Add(-4 * time.Minute), Reason: canary.StepStarted, Sentence: "The canary gets 5% of the traffic"},
		{At: Now.Add(-3 * time.Minute), Reason: canary.ErrorRateTooHigh, Sentence: v.Sentence, Warning: true},
		{At: Now.Add(-170 * time.Second), Reason: canary.RollbackVerified, Sentence: "No request reaches the canary any more"},
	}
	return d
}

// Blocked can't start until two things are mended.
func Blocked() canary.Detail {
	v := view("billing", "invoices", canary.Blocked)
	v.Reason, v.Sentence, v.Rollout = canary.SubsetMissing, "No release starts: DestinationRule billing/invoices has no subset that selects the pods of invoices-v2", ""
	v.Step, v.Weight, v.Path = 0, 0, nil
	v.Next = canary.NextView{Sentence: "It goes on when what blocks it is mended"}
	v.Findings = []canary.Finding{
		{
			Reason: canary.SubsetMissing, Blocking: true, Object: canary.ObjectKey{Kind: "DestinationRule", Namespace: "billing", Name: "invoices"}, Field: "spec.subsets",
			Problem: "no subset selects the pods of invoices-v2", Mend: "Add a subset with their labels.", YAML: "subsets:\n- name: v2\n  labels:\n    version: v2\n",
		},
		{Reason: canary.UnmanagedClients, Object: canary.ObjectKey{Kind: "Service", Namespace: "billing", Name: "invoices"}, Problem: "two workloads have no proxy, and reach all versions alike", Mend: "Give them a sidecar, or count on their requests not being routed."},
	}
	return canary.Detail{View: v}
}

// Inconclusive waits for somebody, judged by thresholds.
func Inconclusive() canary.Detail {
	v := view("shop", "search", canary.Inconclusive)
	v.Reason, v.Step, v.Weight = canary.DeadlinePassed, 1, 5
	v.Sentence = "The deadline of step 1 passed without a verdict: 41 of 100 requests came in 30m; say resume, promote or abort"
	v.Shares = []canary.ShareView{{VirtualService: "search", Least: 0, Most: 5}, {VirtualService: "search-eu", Least: 3, Most: 3}}
	v.Next = canary.NextView{Sentence: "Nothing until somebody decides; a breach is rolled back all the same"}
	v.Verdict = canary.VerdictView{Kind: "Hold", Reason: "NotEnoughRequests", Sentence: "41 of 100 requests were seen", CanaryRequests: 41, StableRequests: 790, StableRate: 0.44, CanaryRate: 0.023, Covered: canary.Span(30 * time.Minute)}
	return canary.Detail{View: v}
}

// Approval waits for a person and for a gate, after a step of copies.
func Approval() canary.Detail {
	v := view("shop", "orders", canary.Progressing)
	v.Reason, v.Moved, v.Step, v.Steps, v.Weight = canary.AwaitingGate, canary.StepStarted, 2, 4, 5
	v.Path = append([]canary.StepView{{Mirror: 10, Bake: canary.Span(5 * time.Minute)}}, v.Path...)
	const hours, yes = "Release hours begin on Mon at 09:00 (Europe/Berlin)", "Step 3 (25%) waits for approval: kubectl canary approve orders-v2, or the command approve#id"
	v.Sentence = hours + "; and 1 thing more"
	v.Next = canary.NextView{Sentence: "25% of the traffic goes to the canary when all that it waits for is there"}
	v.Shares = []canary.ShareView{{VirtualService: "orders", Least: 5, Most: 5}}
	v.Verdict = verdict("Promote", "WithinLimits", "0.31% of 1 290 canary requests failed, at most 1% may")
	v.Verdict.For = 3.2
	v.Awaits = []canary.Awaited{
		{Kind: string(canary.AskGate), Name: "hours", Step: 3, Sentence: hours, At: Now.Add(-40 * time.Second)},
		{Kind: canary.AwaitApproval, Step: 3, Sentence: yes},
	}
	v.Checks = []canary.Check{
		{Name: "shop/orders:1.4.2 is scanned", Passed: true, Sentence: "shop/orders:1.4.2 was scanned at 2026-03-14 14:40 UTC"},
		{Name: "shop/orders:1.4.2 is signed", Passed: true, Sentence: "shop/orders:1.4.2 is signed by cosign"},
	}
	v.Approvals = []canary.Approval{{Step: 2, By: "jane@example.com", At: Now.Add(-12 * time.Minute)}}
	images(&v)
	return canary.Detail{View: v, History: history()}
}

// Mirrored is sent copies, and has no user yet.
func Mirrored() canary.Detail {
	d := Approval()
	v := &d.View
	v.Service, v.Reason, v.Sentence, v.Step, v.Weight, v.Mirror = "basket", canary.Baking, "At 0%, 40s of 5m covered", 1, 0, 10
	v.Next = canary.NextView{Sentence: "The canary's share rises to 5% when the step has baked and the evidence suffices", At: Now.Add(260 * time.Second)}
	v.Awaits, v.Checks, v.Approvals, v.Shares = nil, nil, nil, nil
	return d
}

// Unverified was rolled back, and of stable not all is well; requests still come.
func Unverified() canary.Detail {
	d := RolledBack()
	v := &d.View
	v.Service, v.Unverified = "payments", "GET /healthz on payments-v1-1: 503 in 12ms, wanted 2xx"
	v.Checks = []canary.Check{
		{Name: "endpoints of payments", Passed: true, Sentence: "4 of 4 ready pods of payments-v1 are ready endpoints"},
		{Name: "GET /healthz on payments-v1-1", Sentence: "503 in 12ms, wanted 2xx"},
	}
	v.Residual, v.ResidualOf = 0.42, "payments-v2"
	images(v)
	return d
}

// images are what both versions run.
func images(v *canary.View) {
	of := func(t *canary.Track, version, revision string) {
		t.Images = []canary.Image{
			{Container: "web", Reference: "registry.example.com/shop/" + v.Service + ":" + version, Digest: t.Digests[0], Version: version, Revision: revision},
			{Container: "helper", Reference: "registry.example.com/shop/helper:3"},
		}
	}
	of(&v.Canary, "1.4.2", "ab12cd34ab12cd34ab12cd34ab12cd34ab12cd34")
	of(&v.Stable, "1.4.1", "")
}

// Nothing is a Service that never had a release.
func Nothing() canary.Detail {
	return canary.Detail{View: canary.View{Namespace: "shop", Service: "web", Phase: canary.Idle, Reason: canary.NothingToRelease, Sentence: "The template of web runs already"}}
}

// Hostile has the text in every field that others write.
func Hostile(text string) canary.Detail {
	d := Blocked()
	m := Moving(3)
	d.View.Verdict, d.View.Path, d.Timeline, d.History, d.Points = m.View.Verdict, m.View.Path, m.Timeline, m.History, m.Points
	v := &d.View
	v.Namespace, v.Service, v.Rollout, v.Sentence, v.Header = text, text, text, text, text
	v.Phase, v.Reason, v.Moved = canary.Phase(text), canary.Reason(text), canary.Reason(text)
	v.Next.Sentence = text
	for _, t := range []*canary.Track{&v.Canary, &v.Stable} {
		t.Images = []canary.Image{{Container: text, Reference: text, Version: text, Revision: text}, {Container: text}}
		t.Deployment, t.Subset, t.Template, t.Pods, t.Problem, t.Digests = text, text, text, text, text, []string{text}
	}
	v.Awaits = []canary.Awaited{{Kind: text, Name: text, Sentence: text + "."}, {Kind: string(canary.AskGate), Name: text, Sentence: text}, {Kind: canary.AwaitApproval, Step: 1, Sentence: text}}
	v.Checks = []canary.Check{{Name: text, Sentence: text}, {Name: text, Passed: true, Sentence: text}}
	v.Approvals = []canary.Approval{{Step: 1, By: text}}
	v.Unverified, v.Removable, v.Residual, v.ResidualOf = text, text, 1, text
	v.Shares = []canary.ShareView{{VirtualService: text, Least: 1, Most: 2}}
	v.Verdict.Kind, v.Verdict.Reason, v.Verdict.Sentence = text, text, text
	v.Verdict.Metrics = []canary.MetricView{{Name: text, Missing: text}}
	for i := range v.Findings {
		v.Findings[i] = canary.Finding{Reason: canary.Reason(text), Blocking: i == 0, Object: canary.ObjectKey{Kind: text, Namespace: text, Name: text}, Field: text, Problem: text, Mend: text, YAML: text}
	}
	for i := range d.Timeline {
		d.Timeline[i].Reason, d.Timeline[i].Sentence = canary.Reason(text), text
	}
	for i := range d.History {
		h := &d.History[i]
		h.Rollout, h.Canary, h.Outcome, h.Reason, h.Sentence, h.Digests = text, text, canary.Phase(text), canary.Reason(text), text, []string{text}
	}
	return d
}

// Fleet is so many rollouts: every fourth moves.
func Fleet(n int) Source {
	kinds := []canary.Detail{Moving(2), Nothing(), RolledBack(), Inconclusive(), Blocked()}
	var all Source
	for i := range n {
		d := kinds[i%len(kinds)]
		d.View.Service = fmt.Sprintf("%s-%d", d.View.Service, i)
		all = append(all, d)
	}
	return all
}

func view(namespace, service string, phase canary.Phase) canary.View {
	track := func(version string, pods int, digest string) canary.Track {
		return canary.Track{Deployment: service + "-" + version, Subset: version, Complete: true, Wanted: pods, Ready: pods, Digests: []string{"sha256:" + digest}}
	}
	return canary.View{
		Namespace: namespace, Service: service, Rollout: "20260314-150000", Phase: phase,
		Canary:  track("v2", 2, "9f2b6c1d0e4a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c"),
		Stable:  track("v1", 4, "1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b"),
		Started: Now.Add(-9 * time.Minute), Since: Now.Add(-48 * time.Second), Steps: 3,
		Path:   []canary.StepView{{Weight: 5, Bake: canary.Span(2 * time.Minute)}, {Weight: 25, Bake: canary.Span(2 * time.Minute)}, {Weight: 100, Bake: canary.Span(2 * time.Minute)}},
		Limits: canary.LimitsView{ErrorRate: 0.01, ErrorRatio: 2, P99: canary.Span(2 * time.Second)},
	}
}

func verdict(kind, reason, sentence string) canary.VerdictView {
	return canary.VerdictView{
		Kind: kind, Reason: reason, Sentence: sentence,
		StableRequests: 3870, CanaryRequests: 1290, StableErrors: 9, CanaryErrors: 4, StableRate: 75, CanaryRate: 25,
		StableP99: canary.Bounds{25, 50}, CanaryP99: canary.Bounds{25, 50}, Covered: canary.Span(48 * time.Second), Bake: canary.Span(2 * time.Minute),
		RollbackAt: 4.605, PromoteAt: 2.996,
		Metrics: []canary.MetricView{
			{Name: "errors", Limit: 0.01, Canary: judge.Tally{Hits: 4, N: 1290}, Stable: judge.Tally{Hits: 9, N: 3870}, Share: canary.Bounds{0.0007, 0.0095}, Against: 0.1, For: 2.1, Judged: true},
			{Name: "errors-vs-stable", Limit: 2, Canary: judge.Tally{Hits: 4, N: 1290}, Stable: judge.Tally{Hits: 9, N: 3870}, Against: 0.4, Judged: true},
			{Name: "latency", Limit: 0.01, Canary: judge.Tally{N: 1290}, Stable: judge.Tally{N: 3870}, Share: canary.Bounds{0, 0.004}, For: 3.4, Judged: true},
			{Name: "unpaid", Limit: 0.05, Missing: "no such series"},
		},
	}
}

func sample(requests, errors int64, low, high float64) canary.SampleView {
	return canary.SampleView{Requests: requests, Errors: errors, P99: canary.Bounds{low, high}}
}

// measured are points of five seconds each, with a gap of three after the half.
func measured(n int, of func(i int) (weight int, stable, tested canary.SampleView)) []canary.Point {
	const width = 5 * time.Second
	var all []canary.Point
	for i := range n {
		at := Now.Add(-time.Duration(n-1-i) * width)
		if i <= n/2 {
			at = at.Add(-3 * width)
		}
		weight, stable, tested := of(i)
		all = append(all, canary.Point{At: at, Width: canary.Span(width), Weight: weight, Stable: stable, Canary: tested})
	}
	return all
}

func history() []canary.Past {
	past := func(days int, outcome canary.Phase, reason canary.Reason, sentence string, weight int, errors int64) canary.Past {
		end := Now.AddDate(0, 0, -days)
		return canary.Past{
			Rollout: end.Format("20060102-150405"), Canary: "checkout-v2", Outcome: outcome, Reason: reason, Sentence: sentence,
			Started: end.Add(-17 * time.Minute), Ended: end, Weight: weight, Requests: 5120, Errors: errors, Digests: []string{"sha256:77aa6c1d0e4a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c"},
		}
	}
	return []canary.Past{
		past(1, canary.Succeeded, canary.Promoted, "Promoted after 3 steps: 0.1% of the canary's requests failed", 100, 5),
		past(3, canary.RolledBack, canary.LatencyTooHigh, "Rolled back at 25%: P99 was 2.5s to 5s, at most 2s may be", 25, 12),
	}
}
