package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
)

// This file shows what makes a release safe beside its metrics: what it waits for,
// what was looked at, which images run, and what is left of it.

// awaited is what is waited for, each on a line of its own, with what people can do.
// What the sentence above says already is not said again.
func (s *screen) awaited(v canary.View, now time.Time) {
	head := "Waits for "
	for _, a := range v.Awaits {
		if a.Sentence == v.Sentence && a.At.IsZero() {
			continue
		}
		if strings.HasPrefix(head, "W") {
			s.line("")
		}
		text := v.AwaitedWords(a)
		if why := v.AwaitedWhy(a); why != "" {
			text += ": " + why
		} else if a.Kind == canary.AwaitApproval {
			text += fmt.Sprintf(": kubectl canary approve %s -n %s", v.Service, v.Namespace)
		}
		if !a.At.IsZero() {
			text += ", asked " + age(now.Sub(a.At)) + " ago"
		}
		s.wrapped(s.paint(yellow, head), text)
		head = strings.Repeat(" ", wide(head))
	}
}

// runs are the images of both versions; what both run alike takes one line.
func (s *screen) runs(v canary.View) {
	type row struct{ track, container, words string }
	var rows []row
	same := func(i canary.Image, in []canary.Image) bool {
		return slices.ContainsFunc(in, func(o canary.Image) bool { return o.Container == i.Container && o.Words() == i.Words() })
	}
	for _, i := range v.Canary.Images {
		track := "canary"
		if same(i, v.Stable.Images) {
			track = "both"
		}
		rows = append(rows, row{track, i.Container, i.Words()})
	}
	for _, i := range v.Stable.Images {
		if !same(i, v.Canary.Images) {
			rows = append(rows, row{"stable", i.Container, i.Words()})
		}
	}
	if len(rows) == 0 {
		return
	}
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(a.container, b.container) })
	s.line("")
	table := [][]string{}
	for i, r := range rows {
		head := "          "
		if i == 0 {
			head = "Images    "
		}
		table = append(table, []string{head + r.track, s.text(r.container), s.text(r.words)})
	}
	s.table(table)
}

// mostPassed is how many checks are shown that passed, so that those which failed are
// seen: smoke checks are as many as there are checks and pods.
const mostPassed = 10

// checks are what was looked at one by one, first what failed.
func (s *screen) checks(v canary.View) {
	if len(v.Checks) == 0 {
		return
	}
	s.line("")
	head, left := "Checks    ", 0
	show := func(c canary.Check, mark string) {
		text := c.Name
		if c.Sentence != "" {
			text += ": " + c.Sentence
		}
		s.wrapped(head+mark+" ", text)
		head = strings.Repeat(" ", wide(head))
	}
	for _, c := range v.Checks {
		if !c.Passed {
			show(c, s.paint(red, s.glyph("✗", "x")))
		}
	}
	passed := 0
	for _, c := range v.Checks {
		switch {
		case c.Passed && passed < mostPassed:
			passed++
			show(c, s.paint(green, s.glyph("✓", "+")))
		case c.Passed:
			left++
		}
	}
	if left > 0 {
		s.line(fmt.Sprintf("%s%d more passed", head, left))
	}
}

// approved is who said yes to what, and when.
func (s *screen) approved(v canary.View, now time.Time) {
	if len(v.Approvals) == 0 {
		return
	}
	s.line("")
	head := "Approved  "
	for _, a := range v.Approvals {
		by := "by command"
		if a.By != "" {
			by = "by " + a.By
		}
		s.wrapped(head, fmt.Sprintf("%s %s, %s ago", v.StepWords(a.Step), by, age(now.Sub(a.At))))
		head = strings.Repeat(" ", wide(head))
	}
}

// aftermath is what is not well after a release, or may go now.
func (s *screen) aftermath(v canary.View) {
	if v.Unverified != "" {
		s.line("")
		s.wrapped(s.paint(red, "Unverified")+" ", v.Unverified)
	}
	if left := v.LeftWords(); left != "" {
		colour := green
		if v.Residual > 0 {
			colour = yellow
		}
		s.line("")
		s.wrapped(s.paint(colour, "Left      "), left)
	}
}
