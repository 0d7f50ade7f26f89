// Package session draws what was said in a terminal as an SVG: text alone, in the
// colours of the terminal.
package session

import (
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

// Command is a line that was typed, and what came of it, with the escapes of a
// terminal for colours.
type Command struct{ Line, Output string }

// The sizes, in pixels.
const (
	lineHeight = 18
	charWidth  = 8.4
	margin     = 16
)

const style = `<style>.t{font:14px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre;fill:#d6d6d6}` +
	`.b{font-weight:700}.d{fill:#8a8f98}.r{fill:#ff7b72}.g{fill:#7ee787}.y{fill:#e3b341}.u{fill:#79c0ff}.c{fill:#76e3ea}</style>`

// classes are the colours by their escape.
var classes = map[string]string{"1": "b", "2": "d", "31": "r", "32": "g", "33": "y", "34": "u", "36": "c"}

// SVG draws commands one below the other.
func SVG(title string, commands []Command) string {
	var lines []string
	for i, c := range commands {
		if i > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, "\x1b[32m$\x1b[0m \x1b[1m"+c.Line+"\x1b[0m")
		lines = append(lines, strings.Split(strings.TrimRight(c.Output, "\n"), "\n")...)
	}
	widest := 0
	for _, line := range lines {
		widest = max(widest, columns(line))
	}
	width, height := int(float64(widest)*charWidth)+2*margin, len(lines)*lineHeight+2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img"><title>%s</title>%s`, width, height, html.EscapeString(title), style)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#161b22"/>`+"\n", width, height)
	for i, line := range lines {
		if line != "" {
			fmt.Fprintf(&b, `<text class="t" xml:space="preserve" x="%d" y="%d">%s</text>`+"\n", margin, margin+(i+1)*lineHeight-4, spans(line))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// spans is a line with its colours.
func spans(line string) string {
	var b strings.Builder
	class := ""
	for {
		before, after, found := strings.Cut(line, "\x1b[")
		switch text := html.EscapeString(before); {
		case text == "":
		case class == "":
			b.WriteString(text)
		default:
			fmt.Fprintf(&b, `<tspan class="%s">%s</tspan>`, class, text)
		}
		if !found {
			return b.String()
		}
		var code string
		code, line, _ = strings.Cut(after, "m")
		class = classes[code]
	}
}

// columns is how wide a line is.
func columns(line string) int {
	n := 0
	for {
		before, after, found := strings.Cut(line, "\x1b[")
		n += utf8.RuneCountInString(before)
		if !found {
			return n
		}
		_, line, _ = strings.Cut(after, "m")
	}
}
