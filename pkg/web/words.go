package web

import (
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/words"
)

// odds says the odds of evidence.
func odds(ln canary.Odds) string { return words.Odds(float64(ln)) }

// share is how many of all, as a percentage; a dash where there are none.
func share(part, all int64) string {
	if all <= 0 {
		return "–"
	}
	return words.Percent(float64(part) / float64(all))
}

// quantile is where the 99th percentile lies, by the histogram's bounds in ms.
func quantile(b canary.Bounds) string {
	if !b.Known() || math.IsNaN(b[0]) || math.IsNaN(b[1]) {
		return "–"
	}
	return strings.TrimPrefix(words.Quantile(b), "P99 ")
}

// capital begins a sentence.
func capital(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if first == utf8.RuneError {
		return text
	}
	return string(unicode.ToUpper(first)) + text[size:]
}

// plural is a number with its word.
func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return words.Count(n) + " " + many
}

// moment is when something is or was. People read the time of day; the script
// says how long ago that is.
type moment struct {
	At   time.Time
	Text string
}

// ISO is the time for machines.
func (m moment) ISO() string { return m.At.UTC().Format(time.RFC3339) }

// when writes a time as seen from now, with the day where it is another one.
func when(t, now time.Time) moment {
	layout := "15:04:05"
	if t.UTC().Format(time.DateOnly) != now.UTC().Format(time.DateOnly) {
		layout = "2 Jan 2006 15:04"
	}
	return moment{At: t, Text: t.UTC().Format(layout) + " UTC"}
}
