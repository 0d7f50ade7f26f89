package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/load"
)

func TestTheWindowForgetsWhatIsOld(t *testing.T) {
	now := time.Now()
	w := newWindow()
	w.start = now.Add(-time.Minute)
	w.add(load.Record{Start: now.Add(-windowWidth - time.Second), Status: 500, Version: "v1"})
	w.add(load.Record{Start: now.Add(-windowWidth - time.Second), Latency: 3 * time.Second, Status: 200, Version: "v2"})
	for range 9 {
		w.add(load.Record{Start: now.Add(-time.Second), Status: 200, Version: "v1"})
	}
	w.add(load.Record{Start: now.Add(-time.Second), Status: 0, Version: "v1"})
	got := w.figures(now)
	if f := got["v1"]; f.rate != 2 || f.failed != 0.1 {
		t.Errorf("v1: got %+v, want 2 answers per second of which 10%% failed", f)
	}
	if f := got["v2"]; f.rate != 0.2 || f.p99 != 3*time.Second {
		t.Errorf("a slow answer counts when it comes: got %+v", f)
	}
}

func TestAnOutcomeIsCheckedAgainstTheStory(t *testing.T) {
	promoted := shop.State{Phase: shop.Succeeded, Reason: "Promoted", Shares: map[string]int{"green": 100}}
	slow := shop.State{Phase: shop.RolledBack, Reason: "LatencyTooHigh", Shares: map[string]int{"green": 100}}
	errors := shop.State{Phase: shop.RolledBack, Reason: "ErrorRateTooHigh", Shares: map[string]int{"": 100}}
	for name, c := range map[string]struct {
		o    outcome
		want string // part of the error; empty: none
	}{
		"a good version is promoted":                       {outcome{version: pair2, state: promoted}, ""},
		"a good version must not cost anybody an answer":   {outcome{version: pair2, state: promoted, bad: 1, requests: 9}, "1 of 9 requests failed"},
		"a good version must not be rolled back":           {outcome{version: pair2, state: slow}, "v2 is RolledBack"},
		"a bad version is rolled back":                     {outcome{version: pair3, state: slow, bad: 7}, ""},
		"a bad version must not be rolled back for nought": {outcome{version: pair3, state: errors}, "v3 is RolledBack (ErrorRateTooHigh"},
		"after a rollback no traffic is left": {
			outcome{version: pair3, state: shop.State{Phase: shop.RolledBack, Reason: "LatencyTooHigh", Shares: map[string]int{"blue": 5}}}, "v3 has 5% of the traffic",
		},
		"in place all routes are whole again": {outcome{version: single3, state: errors}, ""},
		"in place no route may stay pinned": {
			outcome{version: single3, state: shop.State{Phase: shop.RolledBack, Reason: "ErrorRateTooHigh", Shares: map[string]int{"serin-stable": 100}}}, "v3 has 0% of the traffic",
		},
	} {
		t.Run(name, func(t *testing.T) {
			stage := scene{inPlace: c.o.tag != ""}
			err := c.o.check(stage.subset(c.o.version))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAnOutcomeCountsWhatUsersSawSinceItBegan(t *testing.T) {
	began := time.Now()
	var o outcome
	o.count([]load.Record{
		{Start: began.Add(-time.Second), Status: 500},
		{Start: began, Status: 200},
		{Start: began, Status: 503},
		{Start: began, Status: 200, Latency: 3 * time.Second},
	}, began)
	if o.requests != 3 || o.bad != 1 || o.slow != 1 {
		t.Errorf("got %d requests, %d bad, %d slow", o.requests, o.bad, o.slow)
	}
}

func TestTheCastTakesTurns(t *testing.T) {
	var c cast
	c.enter(pair1)
	c.enter(pair2)
	c.leave(pair2, true)
	c.enter(pair3)
	c.leave(pair3, false)
	if stable, canary := c.both(); stable.Version != "v2" || canary.Version != "v3" {
		t.Errorf("got %s and %s: a canary that was rolled back stays in view", stable.Version, canary.Version)
	}
	c.alone()
	if stable, canary := c.both(); stable.Version != "v2" || canary.Version != "" {
		t.Errorf("got %s and %q: a canary whose pods are gone does not", stable.Version, canary.Version)
	}
}

func TestTheRowsSayWhoServesWhere(t *testing.T) {
	v1, v2 := version{Release: shop.Release{Version: "v1", Slot: shop.Blue}}, version{Release: shop.Release{Version: "v2", Slot: shop.Green}}
	pods := shop.Beside{Web: shop.Deployment{Ready: 4}, Canary: shop.Deployment{Ready: 1}}
	for name, c := range map[string]struct {
		inPlace bool
		state   shop.State
		stable  row
		canary  row
	}{
		"a pair": {
			false, shop.State{Shares: map[string]int{"blue": 95, "green": 5}},
			row{version: "v1", part: "blue stable", weight: 95}, row{version: "v2", part: "green canary", canary: true, weight: 5},
		},
		"in place, under way": {
			true, shop.State{Shares: map[string]int{"serin-stable": 95, "serin-canary": 5}, Beside: pods},
			row{version: "v1", part: "web, 4 pods", weight: 95}, row{version: "v2", part: "canary, 1 pod", canary: true, weight: 5},
		},
		"in place, before the routes are pinned": {
			true, shop.State{Shares: map[string]int{"": 100}, Beside: shop.Beside{Web: shop.Deployment{Ready: 1}}},
			row{version: "v1", part: "web, 1 pod", weight: 100}, row{version: "v2", part: "canary, 0 pods", canary: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			stage := scene{inPlace: c.inPlace}
			if got := stage.row(v1, false, c.state, nil); got != c.stable {
				t.Errorf("stable: got %+v, want %+v", got, c.stable)
			}
			if got := stage.row(v2, true, c.state, nil); got != c.canary {
				t.Errorf("canary: got %+v, want %+v", got, c.canary)
			}
		})
	}
}

// inPlace is a release in place as it should be, write by write.
func inPlace() []shop.State {
	whole, pins := map[string]int{"": 100}, func(canary int) map[string]int {
		return map[string]int{"serin-stable": 100 - canary, "serin-canary": canary}
	}
	web := func(at shop.Version, paused bool) shop.Deployment {
		held := ""
		if paused {
			held = "by the guard"
		}
		return shop.Deployment{Version: at, Image: "shop/web:v2", Paused: paused, Held: held}
	}
	canary := shop.Deployment{Version: 14}
	return []shop.State{
		{Routes: 10, Shares: whole, Beside: shop.Beside{Web: shop.Deployment{Version: 9, Image: "shop/web:v1"}}},
		{Routes: 10, Shares: whole, Beside: shop.Beside{Web: web(11, true)}},
		{Routes: 10, Shares: whole, Beside: shop.Beside{Web: web(11, true), Rule: 12}},
		{Routes: 13, Shares: pins(0), Beside: shop.Beside{Web: web(11, true), Rule: 12}},
		{Routes: 13, Shares: pins(0), Beside: shop.Beside{Web: web(11, true), Rule: 12, Canary: canary, CanaryPods: 1}},
		{Routes: 15, Shares: pins(5), Beside: shop.Beside{Web: web(11, true), Rule: 12, Canary: canary, CanaryPods: 1}},
		{Routes: 16, Shares: pins(100), Beside: shop.Beside{Web: web(11, true), Rule: 12, Canary: canary, CanaryPods: 1}},
		{Routes: 16, Shares: pins(100), Beside: shop.Beside{Web: web(17, false), Rule: 12, Canary: canary, CanaryPods: 1}},
		{Routes: 18, Shares: pins(0), Beside: shop.Beside{Web: web(17, false), Rule: 12, Canary: canary, CanaryPods: 1}},
		{Routes: 18, Shares: pins(0), Beside: shop.Beside{Web: web(17, false), Rule: 12, PodsGone: 20}},
		{Routes: 21, Shares: whole, Beside: shop.Beside{Web: web(17, false), Rule: 12, PodsGone: 20}},
		{Routes: 21, Shares: whole, Beside: shop.Beside{Web: web(17, false), PodsGone: 20, RuleGone: 22}},
	}
}

func TestTheTrailOfAReleaseInPlace(t *testing.T) {
	unguarded := func(all []shop.State) { all[1].Beside.Web.Paused = false }
	for name, c := range map[string]struct {
		change func([]shop.State)
		course []mark
		want   string // part of the error; empty: none
	}{
		"as it should be": {func([]shop.State) {}, promotion, ""},
		"a canary before the routes are pinned": {func(all []shop.State) {
			for i := range all {
				if all[i].Beside.Canary.Version != 0 {
					all[i].Beside.Canary.Version = 12
				}
			}
		}, promotion, "the canary came before the pinned routes"},
		"routes that lead to pods which are gone": {func(all []shop.State) {
			for i := range all[9:] {
				all[9+i].Beside.PodsGone = 30
			}
		}, promotion, "the user's routes came before the end of the canary's pods"},
		"an update while users are on web": {func(all []shop.State) { all[7].Beside.Web.Version = 11 }, promotion, "the update of the Deployment came before all users on the canary"},
		"a rollback that updates":          {func([]shop.State) {}, rollback, "is no part of this release"},
		"a rule that stays":                {func(all []shop.State) { all[11].Beside.RuleGone = 0 }, promotion, "the end of the subsets was not seen"},
		"a guard that was late":            {unguarded, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			states := inPlace()
			c.change(states)
			var trail trail
			trail.see(states[0])
			trail.begin("shop/web:v2")
			for _, s := range states {
				trail.see(s)
			}
			if c.course == nil {
				if trail.guarded() {
					t.Error("the guard was late, and it goes unseen")
				}
				return
			}
			if !trail.guarded() {
				t.Error("the guard goes unseen")
			}
			err := trail.order(c.course)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTheTrailOfARollbackAfterAPromotion(t *testing.T) {
	var trail trail
	states := inPlace()
	trail.see(states[len(states)-1])
	trail.begin("shop/web:v2")
	for i, s := range append(states[1:6:6], states[8:]...) {
		s.Beside.Web = shop.Deployment{Version: 11, Image: "shop/web:v2", Paused: true, Held: "by the guard"}
		if i < 6 { // what was deleted last time
			s.Beside.PodsGone, s.Beside.RuleGone = 20, 22
		} else {
			s.Beside.PodsGone, s.Routes = 40, 41
		}
		if s.Beside.Rule == 0 && i > 6 {
			s.Beside.RuleGone = 42
		} else {
			s.Beside.RuleGone = 22
		}
		trail.see(s)
	}
	if err := trail.order(rollback); err != nil {
		t.Error(err)
	}
}

func TestDifferencesFromWhatTheUserWroteAreShown(t *testing.T) {
	was := shop.Text{VirtualService: "weight: 100\n", Deployment: "paused: true\n"}
	if err := differences(was, was); err != nil {
		t.Errorf("nothing differs: got %v", err)
	}
	err := differences(was, shop.Text{})
	for _, want := range []string{"weight: 100", "paused: true"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to show %s", err, want)
		}
	}
}

func TestTheJudgeIsReadFromTheMetrics(t *testing.T) {
	const metrics = `# TYPE serin_rollout_requests gauge
serin_rollout_requests{namespace="shop",service="web",track="stable"} 2278
serin_rollout_requests{namespace="shop",service="web",track="canary"} 122
serin_rollout_errors{namespace="shop",service="web",track="canary"} 6
serin_rollout_verdict{kind="Hold",namespace="pair",reason="NoData",service="web"} 1
serin_rollout_verdict{kind="Rollback",namespace="shop",reason="ErrorRateTooHigh",service="web"} 1
`
	const evidence = `serin_rollout_evidence{metric="errors",namespace="shop",service="web",towards="rollback"} 5
serin_rollout_evidence_together{namespace="shop",service="web",towards="promotion"} -0.3
serin_rollout_evidence_together{namespace="shop",service="web",towards="rollback"} 2.1
serin_rollout_evidence_needed{namespace="shop",service="web",towards="promotion"} 1.30103
serin_rollout_evidence_needed{namespace="shop",service="web",towards="rollback"} 2
`
	for text, want := range map[string]string{
		metrics:                  "Rollback: 6 of 122 failed",
		metrics + evidence:       "Rollback: 6 of 122 failed; odds: bad 126:1 of 100:1, good below 1:1 of 20:1",
		"serin_build_info{} 1\n": "",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }))
		if got := newJudge(server.URL).sentence(t.Context(), "shop"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		server.Close()
	}
}

func TestOddsAreWrittenToOne(t *testing.T) {
	for logarithm, want := range map[string]string{"0": "1.0:1", "0.3": "2.0:1", "1.30103": "20:1", "2": "100:1", "7": "over 1000000:1", "-1": "below 1:1", "x": "?"} {
		if got := toOne(logarithm); got != want {
			t.Errorf("%s: got %s, want %s", logarithm, got, want)
		}
	}
}

func TestWhatIsWrittenStaysAboveThePanel(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, live: true, width: func() int { return 79 }, start: time.Now()}
	s.show(aFrame())
	out.Reset()
	s.decision(shop.Decision{Reason: "StepPassed", Sentence: "Step 2 of 3: 25% of the traffic goes to web-green"})
	got := out.String()
	if !strings.HasPrefix(got, "\r\x1b[6A\x1b[J") || strings.Index(got, "StepPassed") > strings.Index(got, "live, over") {
		t.Errorf("got %q", got)
	}
}
