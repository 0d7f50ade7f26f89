package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"serin.dev/serin/e2e/demo/shop"
)

// Control sequences of terminals (ECMA-48 and DEC's).
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	reset      = "\x1b[0m"
)

// erase is the sequence that takes away the lines just above the cursor, which
// may be anywhere in its line: a terminal shows Ctrl-C as two characters.
func erase(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return fmt.Sprintf("\r\x1b[%dA\x1b[J", len(lines))
}

// paint colours text, where colours are wanted.
type paint struct{ colours bool }

func (p paint) with(code, text string) string {
	if !p.colours {
		return text
	}
	return "\x1b[" + code + "m" + text + reset
}

func (p paint) bold(t string) string   { return p.with("1", t) }
func (p paint) dim(t string) string    { return p.with("2", t) }
func (p paint) good(t string) string   { return p.with("1;32", t) }
func (p paint) bad(t string) string    { return p.with("1;31", t) }
func (p paint) accent(t string) string { return p.with("1;36", t) }

// wrap breaks text at spaces into lines of at most width characters, where
// words allow; a width of 0 breaks nothing. Spaces within a line stay.
func wrap(text string, width int) []string {
	if width == 0 {
		return []string{text}
	}
	words := strings.Split(text, " ")
	line := words[0]
	var lines []string
	for _, word := range words[1:] {
		if strings.TrimSpace(line) != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), word
			continue
		}
		line += " " + word
	}
	return append(lines, line)
}

// indented wraps text into lines that begin with the indent; a width of 0
// breaks nothing.
func indented(text, indent string, width int) []string {
	if width > 0 {
		width -= len(indent)
	}
	lines := wrap(text, width)
	for i := range lines {
		lines[i] = indent + lines[i]
	}
	return lines
}

// panel is the frame on a terminal, always of the same height.
func (f frame) panel(width int, elapsed string, p paint) []string {
	lines := []string{
		p.dim(ruler(width, elapsed)),
		p.dim(fmt.Sprintf("  %-17s %6s %*s %10s %9s %9s", "", "weight", barWidth(width), "", "requests/s", "failed", "P99")),
	}
	for _, r := range f.rows {
		lines = append(lines, r.panel(width, p))
	}
	for len(lines) < 4 {
		lines = append(lines, "")
	}
	return append(lines,
		clip("  "+p.dim("testers  ")+f.testersGo(), width, p),
		clip("  "+p.dim("judge    ")+f.judge, width, p))
}

func ruler(width int, elapsed string) string {
	left, right := "── live, over the last 5 s ", " "+elapsed+" ──"
	return left + strings.Repeat("─", max(width-utf8.RuneCountInString(left+right), 0)) + right
}

// barWidth is what a row leaves for the bar of the weight.
func barWidth(width int) int { return max(width-58, 8) }

func (r row) panel(width int, p paint) string {
	full := barWidth(width)
	filled := int(math.Round(float64(r.weight*full) / 100))
	if r.weight > 0 {
		filled = max(filled, 1)
	}
	bar, colour := strings.Repeat("█", filled), p.good
	if r.canary {
		colour = p.accent
	}
	failed, p99 := fmt.Sprintf("%9s", share(r.failed)), fmt.Sprintf("%9s", latency(r.p99))
	if r.failed > 0 {
		failed = p.bad(failed)
	}
	if r.p99 > p99Limit {
		p99 = p.bad(p99)
	}
	if r.rate == 0 {
		failed, p99 = fmt.Sprintf("%9s", "-"), fmt.Sprintf("%9s", "-")
	}
	return fmt.Sprintf("  %s %-14s %5d%% %s%s %10.1f %s %s", p.bold(r.version), r.part, r.weight,
		colour(bar), p.dim(strings.Repeat("·", full-filled)), r.rate, failed, p99)
}

func (f frame) testersGo() string {
	if f.testers == "" {
		return "no header route"
	}
	return fmt.Sprintf("%s: %s leads to %s", qaHeader, qaValue, f.testers)
}

// line is the frame where there is no terminal.
func (f frame) line() string {
	var parts []string
	for _, r := range f.rows {
		part := fmt.Sprintf("%s %d%% %.1f/s", r.version, r.weight, r.rate)
		if r.rate > 0 {
			part += fmt.Sprintf(" failed %s P99 %s", share(r.failed), latency(r.p99))
		}
		parts = append(parts, part)
	}
	if f.testers != "" {
		parts = append(parts, "testers to "+f.testers)
	}
	if f.judge != "" {
		parts = append(parts, "judge "+f.judge)
	}
	return strings.Join(parts, " | ")
}

// clip shortens an uncoloured text to the width. Coloured text is as long as
// it looks, plus its sequences.
func clip(text string, width int, p paint) string {
	extra := len(p.dim(""))
	runes := []rune(text)
	if len(runes) <= width+extra {
		return text
	}
	return string(runes[:width+extra-1]) + "…"
}

// share writes a share as percent with one digit after the point.
func share(s float64) string { return strconv.FormatFloat(100*s, 'f', 1, 64) + "%" }

func latency(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", max(d.Seconds()*1000, 1))
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// table is how the releases went, with the reasons below each.
func table(outcomes []outcome, width int, p paint) []string {
	const format = "  %-17s %-21s %7s %9s %9s %9s"
	lines := []string{p.dim(fmt.Sprintf(format, "release", "decided", "after", "failed", "over 2 s", "requests"))}
	chapter := ""
	for _, o := range outcomes {
		if o.chapter != chapter {
			chapter = o.chapter
			lines = append(lines, "  "+p.bold(chapter))
		}
		decided, colour := "promoted", p.good
		if o.state.Phase != shop.Succeeded {
			decided, colour = fmt.Sprintf("rolled back from %d%%", o.reached), p.bad
		}
		line := fmt.Sprintf(format, o.Version+", "+o.short, decided, fmt.Sprintf("%.0f s", o.after.Seconds()),
			thousands(o.bad), thousands(o.slow), thousands(o.requests))
		lines = append(lines, strings.Replace(line, decided, colour(decided), 1))
		for _, l := range indented(o.state.Message, "      ", width) {
			lines = append(lines, p.dim(l))
		}
	}
	return lines
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
