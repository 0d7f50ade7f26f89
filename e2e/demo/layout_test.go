package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"serin.dev/serin/e2e/demo/shop"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func aFrame() frame {
	return frame{
		rows: []row{
			{"v2", "green stable", false, 95, figures{190.2, 0, 4 * time.Millisecond}},
			{"v3", "blue canary", true, 5, figures{9.8, 0.051, 3200 * time.Millisecond}},
		},
		testers: "v3",
		judge:   "Hold: 4 of 72 failed; odds: bad 45:1 of 100:1, good 1.5:1 of 20:1",
	}
}

func TestThePanel(t *testing.T) {
	var all []string
	for _, width := range []int{minWidth, 79, maxWidth} {
		all = append(all, aFrame().panel(width, "1:07", paint{})...)
	}
	alone := frame{rows: aFrame().rows[:1]}
	all = append(all, alone.panel(79, "0:15", paint{})...)
	inPlace := aFrame()
	inPlace.rows[0].part, inPlace.rows[1].part = "web, 12 pods", "canary, 1 pod"
	all = append(all, inPlace.panel(79, "0:15", paint{})...)
	golden(t, "panel.golden", strings.Join(all, "\n")+"\n")
}

func TestEveryLineOfThePanelFitsAndItsHeightIsAlwaysTheSame(t *testing.T) {
	long := aFrame()
	long.judge = strings.Repeat("a long verdict ", 20)
	for width := minWidth; width <= maxWidth; width++ {
		for _, f := range []frame{aFrame(), long, {rows: aFrame().rows[:1]}} {
			lines := f.panel(width, "10:07", paint{})
			if len(lines) != 6 {
				t.Errorf("width %d: %d lines", width, len(lines))
			}
			for _, l := range lines {
				if n := utf8.RuneCountInString(l); n > width {
					t.Errorf("width %d: %d characters in %q", width, n, l)
				}
			}
		}
	}
}

func TestColoursAddNothingButSequences(t *testing.T) {
	plain := strings.Join(aFrame().panel(79, "1:07", paint{}), "\n")
	coloured := strings.Join(aFrame().panel(79, "1:07", paint{colours: true}), "\n")
	var stripped strings.Builder
	for i, part := range strings.Split(coloured, "\x1b[") {
		if i > 0 {
			_, part, _ = strings.Cut(part, "m")
		}
		stripped.WriteString(part)
	}
	if coloured == plain || stripped.String() != plain {
		t.Errorf("got\n%s\nwant\n%s", stripped.String(), plain)
	}
}

func TestALineWhereThereIsNoTerminal(t *testing.T) {
	want := "v2 95% 190.2/s failed 0.0% P99 4 ms | v3 5% 9.8/s failed 5.1% P99 3.2 s | testers to v3 | judge Hold: 4 of 72 failed; odds: bad 45:1 of 100:1, good 1.5:1 of 20:1"
	if got := aFrame().line(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	idle := frame{rows: []row{{version: "v2", weight: 100}}}
	if got := idle.line(); got != "v2 100% 0.0/s" {
		t.Errorf("got %s", got)
	}
}

func TestTheTable(t *testing.T) {
	outcomes := []outcome{
		{
			version: single2, chapter: "one Deployment", reached: 100, after: 41 * time.Second, requests: 12093,
			state: shop.State{Phase: shop.Succeeded, Message: "web is promoted: it runs the new version, and nothing of the release is left"},
		},
		{
			version: single3, chapter: "one Deployment", reached: 5, after: 15400 * time.Millisecond, requests: 1234567, bad: 7, slow: 1000,
			state: shop.State{Phase: shop.RolledBack, Message: "4.9% of 122 canary requests failed, above the limit of 1%, in 3 checks in a row (stable 0% of 2278)"},
		},
	}
	outcomes = append(outcomes, outcome{
		version: pair2, chapter: "two Deployments", reached: 100, after: 21 * time.Second, requests: 5093,
		state: shop.State{Phase: shop.Succeeded, Message: "web-green is promoted: it has all the traffic"},
	})
	golden(t, "table.golden", strings.Join(table(outcomes, 79, paint{}), "\n")+"\n")
}

func TestWrap(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		width int
		want  string
	}{
		"a short text is one line":                    {"one two", 10, "one two"},
		"a width of 0 breaks nothing":                 {"one two three", 0, "one two three"},
		"lines end before the width":                  {"one two three", 8, "one two/three"},
		"a long word has a line of its own":           {"a incomprehensibilities b", 5, "a/incomprehensibilities/b"},
		"an indent at the beginning stays":            {"  one two", 6, "  one/two"},
		"the width counts characters and not bytes":   {"äöü äöü", 7, "äöü äöü"},
		"two spaces between words stay within a line": {"one  two", 10, "one  two"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(wrap(c.text, c.width), "/"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}
