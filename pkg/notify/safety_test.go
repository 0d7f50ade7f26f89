package notify

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
)

// occasion is something that is told beside what the judge says.
type occasion struct {
	kind   canary.Kind
	phase  canary.Phase
	reason canary.Reason // that is shown; that of the event where it has none
	event  canary.Event
	change func(*canary.View)
}

func tells(r canary.Reason, warning bool, sentence string) canary.Event {
	return canary.Event{Reason: r, Sentence: sentence, Warning: warning}
}

func waitsFor(all ...canary.Awaited) func(*canary.View) {
	return func(v *canary.View) { v.Awaits = all }
}

const broke = "16 of 312 requests failed (5.1%), more than 1%: the odds are 180 to 1"

// occasions are told in the words of the core: see its transcripts.
var occasions = map[string]occasion{
	"approval": {kind: canary.KindHeld, phase: canary.Progressing,
		event: tells(canary.AwaitingApproval, true, "Step 3 (100%) waits for approval: kubectl canary approve web-v2, or the command approve#id"),
		change: func(v *canary.View) {
			v.Awaits = []canary.Awaited{{Kind: canary.AwaitApproval, Step: 3}, {Kind: string(canary.AskGate), Name: "hours", Step: 3}}
			v.Canary.Images = []canary.Image{{Container: "web", Reference: "shop/web:1.4.2", Digest: "sha256:9f2b6c1d0e4a8b7c"}}
			v.Stable.Images = []canary.Image{{Container: "web", Reference: "shop/web:1.4.1", Digest: "sha256:1a2b3c4d5e6f7a8b"}}
		}},
	"gate-denied": {kind: canary.KindHeld, phase: canary.Blocked, event: tells(canary.GateDenied, true, "The gate scan says deny: shop/web:1.4.2 has 2 critical vulnerabilities, at most 0 are allowed")},
	"gate-denied-in-mid-release": {kind: canary.KindRollingBack, phase: canary.RollingBack,
		event: tells(canary.GateDenied, true, "The gate orders says deny: too many orders are cancelled")},
	"gate-unreachable": {kind: canary.KindHeld, phase: canary.Progressing, change: waitsFor(canary.Awaited{Kind: string(canary.AskGate), Name: "scan"}),
		event: tells(canary.GateUnreached, true, "Held: the gate scan can't be reached. It neither passes nor fails until it answers")},
	"smoke-failed": {kind: canary.KindRollingBack, phase: canary.RollingBack, event: tells(canary.SmokeFailed, true, "GET /healthz on web-v2-1: 503 in 12ms, wanted 2xx"),
		change: func(v *canary.View) {
			v.Checks = []canary.Check{
				{Name: "GET /healthz on web-v2-1", Sentence: "503 in 12ms, wanted 2xx"},
				{Name: "GET /api/items on web-v2-1", Sentence: "it took 812ms, at most 300ms may be"},
				{Name: "GET /healthz on web-v2-2", Passed: true, Sentence: "200 in 3ms"},
			}
		}},
	"alert-began": {kind: canary.KindRollingBack, phase: canary.RollingBack, event: tells(canary.AlertBegan, true, "The alert CheckoutErrors (critical) began after the release did")},
	"image-without-name": {kind: canary.KindHeld, phase: canary.Blocked, event: tells(canary.ImageUnnamed, true,
		"The image shop/web:latest of container web has the tag latest, so that nobody can tell what it is tomorrow. Name it by a tag that stays, or by digest; serin.dev/tags says which tags may be")},
	"capacity-short": {kind: canary.KindAttention, phase: canary.Progressing, event: tells(canary.CapacityShort, true,
		"Held for want of ready pods. Give web-v2 more replicas, or serin.dev/capacity another value")},
	"verified": {kind: canary.KindRolledBack, phase: canary.RolledBack, reason: canary.ErrorRateTooHigh, event: tells(canary.RollbackVerified, false,
		"Rolled back: all users are on web-v1, web-v2 gets no requests any more; of web-v1: its ready pods are the Service's endpoints, its series go on, within its own limits. The reason was: "+broke)},
	"unverified": {kind: canary.KindRolledBack, phase: canary.RolledBack, reason: canary.ErrorRateTooHigh,
		event:  tells(canary.RollbackUnverified, true, "The routes are at web-v1, but 412 orders have no invoice. The reason of the rollback was: "+broke),
		change: func(v *canary.View) { v.Unverified = "412 orders have no invoice" }},
	"residual-traffic": {kind: canary.KindAttention, phase: canary.RolledBack, reason: canary.ErrorRateTooHigh,
		event: tells(canary.ResidualTraffic, true, "web-v2 still gets requests though no route leads to it (open streams, connections that are kept, or clients that bypass the routes): it must not be scaled down yet")},
	"traffic-gone": {kind: canary.KindAttention, phase: canary.RolledBack, reason: canary.ErrorRateTooHigh,
		event: tells(canary.TrafficGone, false, "web-v2 gets no requests any more: it may be scaled down or removed")},
	"scaled-too-soon": {kind: canary.KindAttention, phase: canary.RolledBack, reason: canary.ErrorRateTooHigh,
		event: tells(canary.ScaledTooSoon, true, "web-v2 was scaled down while requests still reached it: these fail")},
}

func (o occasion) message() Message {
	v := view()
	v.Phase, v.Reason, v.Sentence = o.phase, o.reason, broke
	if o.reason == "" {
		v.Reason, v.Sentence = o.event.Reason, o.event.Sentence
	}
	v.Next = canary.NextView{}
	switch {
	case o.phase == canary.Blocked:
		v.Rollout, v.Step, v.Weight, v.Verdict, v.Limits = "", 0, 0, canary.VerdictView{}, canary.LimitsView{}
	case o.event.Reason == canary.SmokeFailed:
		v.Step, v.Weight, v.Verdict = 0, 0, canary.VerdictView{}
	case o.phase != canary.Progressing:
		v.Weight = 0
	}
	if o.change != nil {
		o.change(&v)
	}
	return newMessage(canary.KindOf(v, o.event), v, o.event, pages, time.Date(2026, 3, 1, 14, 4, 0, 0, time.UTC))
}

// What every service is told of what makes a release safe beside its metrics: a file
// for each occasion, with the forms of all.
func TestWhatEveryServiceIsToldOfSafety(t *testing.T) {
	for name, o := range occasions {
		t.Run(name, func(t *testing.T) {
			m := o.message()
			if m.Kind != o.kind {
				t.Fatalf("it is of the kind %q", m.Kind)
			}
			got := m.text.plain()
			for _, service := range Types() {
				var form string
				if service == typeEmail {
					form = strings.ReplaceAll(string(email{ch: channelOf(t, service)}.letter(m)), "\r\n", "\n")
				} else {
					form = said(t, service, m)
				}
				got += "\n======== " + service + "\n" + form
			}
			golden(t, filepath.Join("testdata", "safety", name+".golden"), got)
		})
	}
}

// Good news wakes nobody.
func TestThatAVersionMayBeRemovedIsNoWarning(t *testing.T) {
	if m := occasions["traffic-gone"].message(); m.Warning || m.loud() {
		t.Error("it is one")
	}
	if m := occasions["residual-traffic"].message(); !m.Warning || !m.loud() {
		t.Error("that it may not is none")
	}
}
