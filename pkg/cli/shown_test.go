package cli

import (
	"testing"
	"time"

	"serin.dev/serin/internal/golden"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/explain"
)

// shownAt is when all of it is looked at.
var shownAt = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

func image(container, reference, digest string) canary.Image {
	return canary.Image{Container: container, Reference: reference, Digest: "sha256:" + digest + "8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c"}
}

// releasing is a release at its second step, of two Deployments.
func releasing(phase canary.Phase, reason canary.Reason, sentence string) canary.View {
	web, old := image("web", "shop/web:1.4.2", "9f2b6c1d0e4a"), image("web", "shop/web:1.4.1", "1a2b3c4d5e6f")
	web.Version, web.Revision = "1.4.2", "ab12cd34ab12cd34ab12cd34ab12cd34ab12cd34"
	side := image("helper", "shop/helper:3", "77aa6c1d0e4a")
	return canary.View{
		Namespace: "shop", Service: "web", Rollout: "r1", Phase: phase, Reason: reason, Sentence: sentence,
		Canary: canary.Track{Deployment: "web-v2", Images: []canary.Image{web, side}},
		Stable: canary.Track{Deployment: "web-v1", Images: []canary.Image{old, side}},
		Path:   []canary.StepView{{Mirror: 10}, {Weight: 5}, {Weight: 25}, {Weight: 100}}, Step: 2, Steps: 4, Weight: 5,
		Shares: []canary.ShareView{{VirtualService: "web", Least: 5, Most: 5}},
		Since:  shownAt.Add(-4 * time.Minute), Started: shownAt.Add(-20 * time.Minute), Header: "x-app-version: canary",
	}
}

// What a release waits for, what was looked at, which images run, who said yes, and
// what is left of it.
func TestWhatMakesAReleaseSafeIsShown(t *testing.T) {
	const yes = "Step 3 (25%) waits for approval: kubectl canary approve web-v2, or the command approve#id"
	approval := releasing(canary.Progressing, canary.AwaitingApproval, yes)
	approval.Awaits = []canary.Awaited{{Kind: canary.AwaitApproval, Step: 3, Sentence: yes}}
	approval.Approvals = []canary.Approval{{Step: 1, By: "jane@example.com", At: shownAt.Add(-12 * time.Minute)}, {Step: 2, At: shownAt.Add(-4 * time.Minute)}}
	approval.Next = canary.NextView{Sentence: "25% of the traffic goes to the canary when all that it waits for is there"}

	const hours = "Release hours begin on Mon at 09:00 (Europe/Berlin)"
	gates := releasing(canary.Progressing, canary.AwaitingGate, hours+"; and 1 thing more")
	gates.Awaits = []canary.Awaited{
		{Kind: string(canary.AskGate), Name: "hours", Step: 3, Sentence: hours, At: shownAt.Add(-40 * time.Second)},
		{Kind: string(canary.AskGate), Name: "security", Step: 3, Sentence: "The gate security can't be reached: connection refused", At: shownAt.Add(-9 * time.Second)},
	}
	gates.Checks = []canary.Check{{Name: "shop/web:1.4.2 is scanned", Passed: true, Sentence: "shop/web:1.4.2 was scanned at 2026-03-14 14:40 UTC"}}

	mirrored := releasing(canary.Progressing, canary.Baking, "At 0%, 40s of 5m covered")
	mirrored.Step, mirrored.Weight, mirrored.Mirror, mirrored.Shares = 1, 0, 10, nil

	smoke := releasing(canary.RollingBack, canary.SmokeFailed, "GET /api/items on web-v2-1: 503 in 12ms, wanted 200")
	smoke.Weight, smoke.Step, smoke.Shares = 0, 0, nil
	for range 12 {
		smoke.Checks = append(smoke.Checks, canary.Check{Name: "GET /healthz on web-v2-1", Passed: true, Sentence: "200 in 3ms"})
	}
	smoke.Checks = append(smoke.Checks, canary.Check{Name: "GET /api/items on web-v2-1", Sentence: "503 in 12ms, wanted 200"})

	unverified := releasing(canary.RolledBack, canary.ErrorRateTooHigh, "16 of 312 requests failed (5.1%), more than 1%")
	unverified.Path, unverified.Weight, unverified.Unverified = nil, 0, "412 orders have no invoice; The last three scrapes of web-v1 are not all there, and that was not answered in time"
	unverified.Residual, unverified.ResidualOf = 0.42, "web-v2"
	promoted := releasing(canary.Succeeded, canary.Promoted, "web-v2 is promoted: it has all the traffic")
	promoted.Path, promoted.Weight, promoted.Removable = nil, 100, "web-v1"

	for name, v := range map[string]canary.View{
		"approval": approval, "gates": gates, "mirror": mirrored, "smoke": smoke, "unverified": unverified, "promoted": promoted,
	} {
		t.Run(name, func(t *testing.T) {
			frame := &screen{style: explain.Style{Width: 100}}
			frame.status(canary.Detail{View: v}, shownAt)
			golden.Check(t, "status/"+name+".txt", frame.b.String())
		})
	}
	t.Run("list", func(t *testing.T) {
		frame := &screen{style: explain.Style{Width: 100}}
		o := &listOptions{tool: &tool{program: Program{Now: func() time.Time { return shownAt }}}}
		o.draw(frame, []canary.View{approval, gates, mirrored, unverified, promoted})
		golden.Check(t, "status/list.txt", frame.b.String())
	})
}

// What a gate wants a person to approve of is known to the controller alone: whoever
// asked it is not refused here, neither in a release nor before it.
func TestAYesIsWrittenAlsoWhereTheGateIsNotKnownHere(t *testing.T) {
	for name, s := range map[string]sight{
		"before a release": {subject: "web-v2"},
		"in a release":     {subject: "web-v2", state: canary.State{Rollout: "r1", Phase: canary.Progressing}},
	} {
		if w, already, err := s.prepare(canary.CommandApprove); err != nil || already != "" || w.deployment != "web-v2" || w.value != "approve #"+w.id {
			t.Errorf("%s: %+v, %q, %v", name, w, already, err)
		}
	}
}

// A terminal that knows only ASCII is shown the same without signs, and without what
// would steer it.
func TestWhatOthersWroteIsSafeToShow(t *testing.T) {
	v := releasing(canary.Progressing, canary.AwaitingGate, "x")
	const evil = "a\x1b[2Jb\u202ec"
	v.Canary.Images[0].Version, v.Canary.Images[0].Container = evil, evil
	v.Awaits = []canary.Awaited{{Kind: string(canary.AskGate), Name: evil, Sentence: evil}}
	v.Checks = []canary.Check{{Name: evil, Sentence: evil}, {Name: evil, Passed: true}}
	v.Approvals = []canary.Approval{{By: evil}}
	v.Unverified, v.Removable = evil, evil
	frame := &screen{style: explain.Style{Width: 100, Plain: true}}
	frame.status(canary.Detail{View: v}, shownAt)
	for _, r := range frame.b.String() {
		if r > '~' || r < ' ' && r != '\n' {
			t.Fatalf("%q is shown in\n%s", r, frame.b.String())
		}
	}
}
