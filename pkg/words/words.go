// Package words says numbers, shares, odds and limits as people do, on every surface
// alike. It is pure.
package words

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"serin.dev/serin/pkg/judge"
)

// Odds says a natural logarithm of odds as people do: 340 to 1. Odds below even
// are none.
func Odds(ln float64) string {
	switch {
	case !(ln > 0):
		return "none"
	case ln > math.Log(1e6):
		return "over a million to 1"
	}
	return Number(math.Exp(ln)) + " to 1"
}

// Ratio says odds in a table, as a logarithm of them.
func Ratio(ln float64) string {
	switch {
	case !(ln > 0):
		return "-"
	case ln > math.Log(1e6):
		return "over 10^6"
	}
	return Number(math.Exp(ln)) + ":1"
}

// Number writes two significant digits, all of those before the point.
func Number(x float64) string {
	if x >= 10 {
		return strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 2, 64)
}

// Percent writes a share, 0 to 1, with two significant digits.
func Percent(share float64) string {
	p := share * 100
	switch {
	case math.IsNaN(p) || math.IsInf(p, 0):
		return "unknown"
	case p >= 99.95:
		return "100%"
	case p >= 10:
		return strconv.FormatFloat(p, 'f', 0, 64) + "%"
	case p < 0.005:
		return "0%"
	}
	return strconv.FormatFloat(p, 'g', 2, 64) + "%"
}

// Tally is how often something happened: 3.1% of 412.
func Tally(t judge.Tally) string {
	if t.N == 0 {
		return "no request"
	}
	return fmt.Sprintf("%s of %s", Percent(float64(t.Hits)/float64(t.N)), Count(t.N))
}

// ShareOf is a tally without its number.
func ShareOf(t judge.Tally) string {
	if t.N == 0 {
		return "-"
	}
	return Percent(float64(t.Hits) / float64(t.N))
}

// Between is an interval of shares: 0.4-6.1%.
func Between(low, high float64) string {
	return strings.TrimSuffix(Percent(low), "%") + "-" + Percent(high)
}

// Count writes a whole number with its thousands apart.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// Quantile is where the 99th percentile lies, by the histogram's bounds.
func Quantile(ms [2]float64) string {
	switch {
	case ms[1] == 0:
		return "P99 unknown"
	case math.IsInf(ms[1], 1):
		return "P99 above " + Milliseconds(ms[0])
	case ms[0] == 0:
		return "P99 within " + Milliseconds(ms[1])
	}
	return "P99 " + Milliseconds(ms[0]) + " to " + Milliseconds(ms[1])
}

// Milliseconds writes a time in ms as people do: 25ms, 1.5s.
func Milliseconds(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Microsecond * 100).String()
}

// Limits are the limits as people write them.
func Limits(l judge.Limits, custom []judge.Custom) string {
	errors := "errors within " + Percent(l.ErrorRate)
	if l.ErrorRatio > 0 {
		errors += " and " + Number(l.ErrorRatio) + "x stable's"
	}
	latency := "P99 within " + judge.Duration(l.P99)
	if l.P99Ratio > 0 {
		latency += " and " + Number(l.P99Ratio) + "x stable's"
	}
	all := []string{errors, latency}
	for _, c := range custom {
		all = append(all, CustomLimit(c))
	}
	return strings.Join(all, ", ")
}

// CustomLimit is the limit of a metric of the operator's.
func CustomLimit(c judge.Custom) string {
	sign := "<="
	if c.AtLeast {
		sign = ">="
	}
	return c.Name + " " + sign + " " + CustomBound(c)
}

// CustomBound is its bound alone: 99%, or a plain number.
func CustomBound(c judge.Custom) string {
	if c.Gauge {
		return strconv.FormatFloat(c.Bound, 'g', -1, 64)
	}
	return strconv.FormatFloat(c.Bound*100, 'g', 6, 64) + "%"
}
