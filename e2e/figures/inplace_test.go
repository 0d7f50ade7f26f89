package main

import (
	"strings"
	"testing"
	"time"

	"serin.dev/serin/e2e/load"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

// aPromotion lasts from second 0 to 60, aRollback from 100 to 130.
func aPromotion() change {
	return change{end: promoted, bad: -1, ended: at(60), extra: 5, bounds: []bound{{preparing, at(0)}, {steps, at(12)}, {promoting, at(40)}, {finishing, at(48)}}}
}

func aRollback() change {
	return change{end: rolledBack, bad: 0, ended: at(130), extra: 1, bounds: []bound{{preparing, at(100)}, {steps, at(112)}, {finishing, at(115)}}}
}

func aPlainUpdate(end string, bad int, from, to float64) change {
	return change{end: end, bad: bad, ended: at(to), extra: 2, bounds: []bound{{plain, at(from)}}}
}

func TestAChangeIsParted(t *testing.T) {
	p, r := aPromotion(), aRollback()
	for _, c := range []struct {
		what string
		got  time.Duration
		want time.Duration
	}{
		{"a promotion", p.length(""), time.Minute},
		{"its preparation", p.length(preparing), 12 * time.Second},
		{"its steps", p.length(steps), 28 * time.Second},
		{"the update", p.length(promoting), 8 * time.Second},
		{"its end", p.length(finishing), 12 * time.Second},
		{"a rollback's steps", r.length(steps), 3 * time.Second},
		{"a rollback's update, which it has not", r.length(promoting), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s takes %s, want %s", c.what, c.got, c.want)
		}
	}
	for when, want := range map[float64]string{-1: "", 0: preparing, 39: steps, 40: promoting, 60: finishing, 61: ""} {
		if got := p.partAt(at(when)); got != want {
			t.Errorf("second %g is in %q, want %q", when, got, want)
		}
	}
}

func TestWhatABadVersionAnswersIsNotOurDoing(t *testing.T) {
	changes := []change{aPromotion(), aRollback(), aPlainUpdate(plain, -1, 200, 210)}
	for name, c := range map[string]struct {
		record load.Record
		want   string // counted as ours; empty: not at all
	}{
		"a good answer":                      {load.Record{Start: at(50), Status: 200, Version: "g1"}, ""},
		"an error of a bad version":          {load.Record{Start: at(113), Status: 500, Version: "b1"}, ""},
		"an error of a good version":         {load.Record{Start: at(113), Status: 500, Version: "g1"}, "1 while steps (rolled back)"},
		"an answer of a proxy":               {load.Record{Start: at(50), Status: 503}, "1 while finishing (promoted)"},
		"a route that is not there":          {load.Record{Start: at(41), Status: 404}, "1 while promoting (promoted)"},
		"no answer":                          {load.Record{Start: at(5), Error: "EOF"}, "1 while preparing (promoted)"},
		"half an answer of a bad version":    {load.Record{Start: at(120), Status: 200, Version: "b1", Error: "unexpected EOF"}, "1 while finishing (rolled back)"},
		"an answer of a proxy between them":  {load.Record{Start: at(80), Status: 503}, "1 at rest"},
		"what fails in a plain update isn't": {load.Record{Start: at(205), Status: 503}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ours(failures([]load.Record{c.record}, changes)).String()
			if got == "none" {
				got = ""
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if all := failures([]load.Record{{Start: at(205), Status: 503}}, changes); len(all) != 1 {
		t.Errorf("what fails in a plain update is told: got %+v", all)
	}
}

func TestTheBadAnswersOfAChange(t *testing.T) {
	r := aRollback()
	r.sawBad([]load.Record{
		{Start: at(50), Status: 500, Version: "b0"}, // of another change
		{Start: at(114), Status: 500, Version: "b1"},
		{Start: at(112.5), Status: 500, Version: "b1"},
		{Start: at(113), Status: 200, Version: "b1"},
		{Start: at(113), Status: 503},
	})
	if r.answers != 2 || r.exposed != 1500*time.Millisecond {
		t.Errorf("%d bad answers in %s", r.answers, r.exposed)
	}
}

func TestWhatIsToldOfReleasesInPlace(t *testing.T) {
	bad := aPlainUpdate(undone, 0, 300, 370)
	bad.answers, bad.exposed = 11000, 63*time.Second
	back := aRollback()
	back.answers, back.exposed = 7, 1300*time.Millisecond
	changes := []change{aPromotion(), back, aPlainUpdate(plain, -1, 200, 210), bad}
	got := inPlaceText(settings{settle: 5 * time.Second}, changes, 80000, []failure{{part: plain, end: plain}}, stalled([]load.Record{
		{Start: at(50), Latency: 2 * time.Second, Status: 200}, {Start: at(50), Latency: stallLimit, Status: 200}, {Start: at(80), Latency: time.Second, Status: 200},
	}, changes))
	want := `
| one Deployment of 4 pods, 200 requests/s without a pause, settle 5s | |
|---|---|
| promotions, rollbacks, plain updates, one after the other | 1, 1, 2 |
| requests | 80000 |
| failed by Serin's doing | 0: none |
| failed in plain updates, but for the bad version's answers | 1 |
| answers after more than 500ms | 2: 1 at rest, 1 while finishing (promoted) |
| the guard held; the user's bytes at rest; nothing left | each time |

| least / median / greatest | promotions | rollbacks | plain rolling updates |
|---|---|---|---|
| from the new image to the end | 60.0 s / 60.0 s / 60.0 s | 30.0 s / 30.0 s / 30.0 s | 10.0 s / 10.0 s / 10.0 s |
| of it preparing | 12.0 s / 12.0 s / 12.0 s | 12.0 s / 12.0 s / 12.0 s |  |
| of it steps | 28.0 s / 28.0 s / 28.0 s | 3.0 s / 3.0 s / 3.0 s |  |
| of it promoting | 8.0 s / 8.0 s / 8.0 s |  |  |
| of it finishing | 12.0 s / 12.0 s / 12.0 s | 15.0 s / 15.0 s / 15.0 s |  |
| extra pods at the peak, with those that are ending | 5 / 5 / 5 | 1 / 1 / 1 | 2 / 2 / 2 |

| a bad image | bad answers users saw | the first to the last |
|---|---|---|
| answers nothing but errors: released by Serin (1) | 7 / 7 / 7 | 1.3 s / 1.3 s / 1.3 s |
| answers nothing but errors: plain rolling update, undone by hand after 1m0s (1) | 11000 / 11000 / 11000 | 63.0 s / 63.0 s / 63.0 s |
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	failed := inPlaceText(settings{}, changes, 1, []failure{{part: steps, end: promoted}}, nil)
	if !strings.Contains(failed, "| failed by Serin's doing | 1: 1 while steps (promoted) |") {
		t.Errorf("a failure goes untold:\n%s", failed)
	}
}

func TestTheVersionsThatAreBad(t *testing.T) {
	for version, want := range map[string]bool{"v1": false, "g1": false, "p1": false, "b12": true, "u1": true, "": false} {
		if got := bad(version); got != want {
			t.Errorf("%q is bad: %v", version, got)
		}
	}
}
