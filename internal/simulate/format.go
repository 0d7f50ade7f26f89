package main

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// percent is a share with two digits: 0.05%, 1.2%, 35%.
func percent(share float64) string {
	switch p := share * 100; {
	case p == 0:
		return "0"
	case p < 10:
		return strconv.FormatFloat(p, 'g', 2, 64) + "%"
	case p > 99 && p < 100:
		return strconv.FormatFloat(math.Floor(p*10)/10, 'f', -1, 64) + "%"
	default:
		return strconv.FormatFloat(p, 'f', 0, 64) + "%"
	}
}

// span is a time as people say it: 45 s, 2.25 min, 10.5 h; a dash for never.
func span(d time.Duration) string {
	number := func(f float64) string {
		return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
	}
	switch {
	case d == never:
		return "–"
	case d < time.Minute:
		return number(d.Seconds()) + " s"
	case d < 100*time.Minute:
		return number(d.Minutes()) + " min"
	}
	return strconv.FormatFloat(d.Hours(), 'f', 1, 64) + " h"
}

// count is a number of things, rounded.
func count(f float64) string {
	if f > 0 && f < 10 {
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

// perSecond is a rate of requests.
func perSecond(rate float64) string { return strconv.FormatFloat(rate, 'g', -1, 64) + "/s" }

// table is a Markdown table.
type table struct{ lines []string }

func newTable(columns ...string) *table {
	t := &table{}
	t.row(columns...)
	t.row(strings.Split(strings.Repeat("---,", len(columns)-1)+"---", ",")...)
	return t
}

func (t *table) row(cells ...string) {
	t.lines = append(t.lines, "| "+strings.Join(cells, " | ")+" |")
}

func (t *table) String() string { return strings.Join(t.lines, "\n") + "\n" }
