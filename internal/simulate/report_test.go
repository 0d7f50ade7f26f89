package main

import (
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what came out; if it shall change, run go test ./internal/simulate -update. Now:\n%s", path, got)
	}
}

// The goldens of simulated releases change with every change of the judge's
// power: whoever makes one sees it here, and runs make simulate.
func TestAFewReleasesEndAsTheyDid(t *testing.T) {
	l := newLab(1, 500, io.Discard)
	golden(t, "goals.golden", goals(l))
	golden(t, "rollouts.golden", rollouts(l))
}

func TestTheNumberOfCoresChangesNothing(t *testing.T) {
	s := bad(5, 0.05)
	together := newLab(1, 200, io.Discard).play(s, judge.ModeEvidence, full)
	draw := newSource()
	for run := len(together) - 1; run >= 0; run-- {
		if alone := s.play(draw, 1, run, judge.ModeEvidence); alone != together[run] {
			t.Fatalf("run %d: %+v together, %+v alone", run, together[run], alone)
		}
	}
}

func TestAFateIsWhatCameFirst(t *testing.T) {
	for _, c := range []struct {
		name string
		fate fate
		want string
	}{
		{"rolled back, never promoted", fate{rolledBack: 1, promoted: never}, "rolled back"},
		{"rolled back before it could be promoted", fate{rolledBack: 1, promoted: 2}, "rolled back"},
		{"promoted before it would have been rolled back", fate{rolledBack: 3, promoted: 2}, "on evidence"},
		{"nothing said, but no worse at the deadline", fate{rolledBack: never, promoted: never, onTime: true}, "on time"},
		{"nothing said, and worse", fate{rolledBack: never, promoted: never}, "held"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.fate.is(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestMediansCountTheRunsThatCameToNothing(t *testing.T) {
	c := cell{{rolledBack: 3}, {rolledBack: never}, {rolledBack: 1}, {rolledBack: never}, {rolledBack: 2}}
	when := whenRolledBack(0)
	if got := c.quantile(0.5, when); got != 3 {
		t.Errorf("the median is %d, want 3", got)
	}
	if got := c.quantile(0.9, when); got != never {
		t.Errorf("nine of ten were rolled back after %d, but two of five never were", got)
	}
	if got := c.rolledBack(); got != 0.6 {
		t.Errorf("%g were rolled back, want 0.6", got)
	}
}

func TestTimesAndSharesAreWrittenForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"15 s": span(15 * time.Second), "2.25 min": span(135 * time.Second), "10.5 h": span(630 * time.Minute), "–": span(never),
		"0": percent(0), "0.05%": percent(0.0005), "1.2%": percent(0.012), "35%": percent(0.35), "99.9%": percent(0.9999), "100%": percent(1),
		"0/s": perSecond(0), "0.05/s": perSecond(0.05),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestOnlyThePartBetweenItsLinesIsWrittenAnew(t *testing.T) {
	const document = "a\n<!-- simulated: x -->\nold\n<!-- end of x -->\nb\n"
	got, err := withPart(document, "x", "new\n")
	if want := "a\n<!-- simulated: x -->\nnew\n<!-- end of x -->\nb\n"; err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := withPart(document, "y", "new"); err == nil || !strings.Contains(err.Error(), "simulated: y") {
		t.Errorf("a document without the part: %v", err)
	}
}

func TestAChartHasItsLinesWithinItsFrame(t *testing.T) {
	c := chart{
		title: "Time & traffic", about: "two lines and a mark", x: rateAxis, y: timeAxis,
		marks: []mark{{at: 2, text: "bake"}, {at: 5, text: "now", x: true}},
		lines: []line{
			{name: "seldom", colour: 0, dots: true, points: []point{{0.05, 600}, {0.5, math.NaN()}, {5, 2}}},
			{name: "often", colour: 1, dashed: true, points: []point{{0.05, 2}, {500, 2}}},
		},
	}
	golden(t, "chart.svg", c.svg())
}

func TestAnUnknownSectionIsRefused(t *testing.T) {
	err := run([]string{"-only", "nonsense"}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "goals") {
		t.Errorf("got %v", err)
	}
}
