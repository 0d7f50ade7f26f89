package explain

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"serin.dev/serin/pkg/judge"
)

// odds says a natural logarithm of odds as people do: 340 to 1. Odds below even
// are none.
func odds(ln float64) string {
	switch {
	case !(ln > 0):
		return "none"
	case ln > math.Log(1e6):
		return "over a million to 1"
	}
	return number(math.Exp(ln)) + " to 1"
}

// ratio says odds in a table, as a logarithm of them.
func ratio(ln float64) string {
	switch {
	case !(ln > 0):
		return "-"
	case ln > math.Log(1e6):
		return "over 10^6"
	}
	return number(math.Exp(ln)) + ":1"
}

// number writes two significant digits, all of those before the point.
func number(x float64) string {
	if x >= 10 {
		return strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 2, 64)
}

// percent writes a share, 0 to 1, with two significant digits.
func percent(share float64) string {
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

// tally is how often something happened: 3.1% of 412.
func tally(t judge.Tally) string {
	if t.N == 0 {
		return "no request"
	}
	return fmt.Sprintf("%s of %s", percent(float64(t.Hits)/float64(t.N)), count(t.N))
}

// shareOf is a tally without its number.
func shareOf(t judge.Tally) string {
	if t.N == 0 {
		return "-"
	}
	return percent(float64(t.Hits) / float64(t.N))
}

// between is an interval of shares: 0.4-6.1%.
func between(low, high float64) string {
	return strings.TrimSuffix(percent(low), "%") + "-" + percent(high)
}

// count writes a whole number with its thousands apart.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// quantile is where the 99th percentile lies, by the histogram's bounds.
func quantile(ms [2]float64) string {
	switch {
	case ms[1] == 0:
		return "P99 unknown"
	case math.IsInf(ms[1], 1):
		return "P99 above " + milliseconds(ms[0])
	case ms[0] == 0:
		return "P99 within " + milliseconds(ms[1])
	}
	return "P99 " + milliseconds(ms[0]) + " to " + milliseconds(ms[1])
}

func milliseconds(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Microsecond * 100).String()
}

// limits are the limits as people write them.
func limits(l judge.Limits, custom []judge.Custom) string {
	errors := "errors within " + percent(l.ErrorRate)
	if l.ErrorRatio > 0 {
		errors += " and " + number(l.ErrorRatio) + "x stable's"
	}
	latency := "P99 within " + judge.Duration(l.P99)
	if l.P99Ratio > 0 {
		latency += " and " + number(l.P99Ratio) + "x stable's"
	}
	all := []string{errors, latency}
	for _, c := range custom {
		all = append(all, customLimit(c))
	}
	return strings.Join(all, ", ")
}

func customLimit(c judge.Custom) string {
	sign := "<="
	if c.AtLeast {
		sign = ">="
	}
	return c.Name + " " + sign + " " + customBound(c)
}

func customBound(c judge.Custom) string {
	if c.Gauge {
		return strconv.FormatFloat(c.Bound, 'g', -1, 64)
	}
	return strconv.FormatFloat(c.Bound*100, 'g', 6, 64) + "%"
}
