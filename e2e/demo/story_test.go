package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/load"
	_ "serin.dev/serin/internal/bubble"
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

func TestWhatIsToldIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c scene
		time.AfterFunc(time.Second, func() {
			c.hear(shop.Decision{About: "Deployment web", Reason: "RollbackVerified", Sentence: "Rolled back. web stays paused with it"})
		})
		if err := c.tells(t.Context(), "Deployment web", "RollbackVerified", "stays paused"); err != nil {
			t.Error(err)
		}
		for _, other := range [][3]string{{"Deployment web-canary", "RollbackVerified", "paused"}, {"Deployment web", "Promoted", "paused"}, {"Deployment web", "RollbackVerified", "goes on"}} {
			if err := c.tells(t.Context(), other[0], other[1], other[2]); err == nil {
				t.Errorf("nobody has told %q", other)
			}
		}
	})
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
