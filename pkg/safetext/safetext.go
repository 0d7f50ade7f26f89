// Package safetext is the one place where text that others wrote is made safe to
// show to people: in a terminal, in an Event, in a log. What would steer the
// terminal, or show something else than what is there, is shown as an escape. It
// is pure.
package safetext

import (
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line is text as one line of printable characters: control characters, line
// breaks, marks that turn the direction of writing, invisible characters, spaces
// other than the plain one, and bytes that are no UTF-8 are shown as Go escapes,
// like \x1b or \u202e. A backslash stays as it is: the result is for reading, and
// is never read back.
func Line(text string) string { return escape(text, printable) }

// Text is Line for several lines: line feeds and tabs stay.
func Text(text string) string {
	return escape(text, func(r rune) bool { return printable(r) || r == '\n' || r == '\t' })
}

// ASCII is Line with everything else than ASCII as an escape too, so that no letter
// passes for another.
func ASCII(text string) string {
	return escape(text, func(r rune) bool { return printable(r) && r <= unicode.MaxASCII })
}

// printable holds for all that unicode.IsPrint does: letters, marks, numbers,
// punctuation, symbols, and the plain space.
func printable(r rune) bool { return unicode.IsPrint(r) }

func escape(text string, stays func(rune) bool) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			b.WriteString(unquoted(strconv.Quote(text[i : i+1])))
		case stays(r):
			b.WriteRune(r)
		default:
			b.WriteString(unquoted(strconv.QuoteRuneToASCII(r)))
		}
	}
	return b.String()
}

func unquoted(q string) string { return q[1 : len(q)-1] }

// JSON makes JSON that is written through it safe to look at: what Line would
// escape, and encoders leave as it is, becomes an escape of JSON, which reads back
// as the same. Each Write has to hold whole characters, as those of encoding/json
// and of zap do.
func JSON(out io.Writer) io.Writer { return jsonWriter{out} }

type jsonWriter struct{ out io.Writer }

// Write writes p escaped. It tells all of p written, or none.
func (w jsonWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.out, jsonEscape(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// jsonEscape leaves ASCII as the encoder wrote it, but for DEL: what is below the
// space stands between values only.
func jsonEscape(text string) string {
	const hex = "0123456789abcdef"
	unit := func(b *strings.Builder, u rune) {
		b.WriteString(`\u`)
		for shift := 12; shift >= 0; shift -= 4 {
			b.WriteByte(hex[u>>shift&0xf])
		}
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < 0x7f || printable(r):
			b.WriteRune(r)
		case r <= 0xffff:
			unit(&b, r)
		default: // a pair of surrogates
			unit(&b, 0xd800+(r-0x10000)>>10)
			unit(&b, 0xdc00+(r-0x10000)&0x3ff)
		}
	}
	return b.String()
}
