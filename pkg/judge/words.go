package judge

import (
	"math"
	"strconv"
	"strings"
	"time"
)

func about(more int64) string { return "about " + plural(more, "more request", "more requests") }

func requests(n int64, kind ...string) string {
	k := strings.Join(kind, "")
	return plural(n, k+"request", k+"requests")
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

func percent(t Tally) string { return share(t.share()) }

// share writes a share as percent with two significant digits or more of it, or
// of what is missing to the whole: 0.12%, 5.2%, 38%, 99.95%, 100%.
func share(p float64) string {
	digits := 0
	p *= 100
	switch rest := min(p, 100-p); {
	case p > 0 && p < .005:
		digits = min(int(math.Ceil(-math.Log10(p))), 12) // short, but not 0%
	case p < 1 || rest > 0 && rest < 1:
		digits = 2
	case rest < 10:
		digits = 1
	}
	scale := math.Pow(10, float64(digits))
	return number(math.Round(p*scale)/scale) + "%"
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func bound(ms float64) string {
	if math.IsInf(ms, 1) {
		return "infinity"
	}
	return time.Duration(ms * float64(time.Millisecond)).String()
}

// timeFor is how long n more requests take at a rate per second; 0 when unknown.
func timeFor(n, rate float64) time.Duration {
	if n <= 0 || rate <= 0 {
		return 0
	}
	return time.Duration(min(n/rate, 365*24*3600) * float64(time.Second))
}

// Duration writes a duration as people do, without its zero parts: 500ms, 2s, 1m.
func Duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// roughly writes a time as people say it: 40 seconds, 3 minutes, 2 hours.
func roughly(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return plural(int64(max(math.Ceil(d.Seconds()), 1)), "second", "seconds")
	case d < 90*time.Minute:
		return plural(int64(math.Round(d.Minutes())), "minute", "minutes")
	case d < 48*time.Hour:
		return plural(int64(math.Round(d.Hours())), "hour", "hours")
	}
	return plural(int64(math.Round(d.Hours()/24)), "day", "days")
}

// oddsOf writes evidence as odds with two digits, from its logarithm.
func oddsOf(log float64) string {
	switch e := math.Exp(min(log, 20)); {
	case e > 1e6:
		return "more than a million to 1"
	case e < 0.1:
		return "less than 0.1 to 1"
	case e < 9.95:
		return number(math.Round(e*10)/10) + " to 1"
	default:
		ten := math.Pow(10, math.Floor(math.Log10(e))-1)
		return number(math.Round(e/ten)*ten) + " to 1"
	}
}
