// Package window is a gate of release hours: it is open at some hours of the week, by
// the clocks of one time zone. It is pure; who asks brings the time.
package window

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // time zones, for images and machines that have none

	"serin.dev/serin/pkg/canary"
)

// Options are release hours as an operator writes them.
type Options struct {
	Name string // of the gate
	// Open are days and hours: Mon-Thu 09:00-16:00, Fri 09:00-12:00. Hours that end
	// before they begin end on the next day, 24:00 is the day's end.
	Open string
	Zone string // a name like Europe/Berlin, or UTC
	// Closed are dates without release hours: 2026-12-24, or both ends of several
	// with ".." between them.
	Closed []string
}

// Window is release hours. It is made by New and never changes.
type Window struct {
	name   string
	zone   *time.Location
	hours  []hours
	closed []dates
}

// hours are minutes of some days: from the first on, up to the last without it. Where
// the last is not behind the first it is of the day after.
type hours struct {
	days        [7]bool // by time.Weekday
	first, last int     // minutes since midnight, 0..1440
}

// dates are days with both ends.
type dates struct{ first, last date }

// date is a day as 20261224, so that days are compared as numbers.
type date int

func dateOf(t time.Time) date {
	year, month, day := t.Date()
	return date(year*10000 + int(month)*100 + day)
}

const midnight = 24 * 60

// isOpen tells by what the clocks show: an hour that they show twice counts twice, and
// one that they leave out never comes.
func (w *Window) isOpen(t time.Time) bool {
	local := t.In(w.zone)
	today, minute := local.Weekday(), local.Hour()*60+local.Minute()
	for _, d := range w.closed {
		if here := dateOf(local); d.first <= here && here <= d.last {
			return false
		}
	}
	yesterday := (today + 6) % 7
	return slices.ContainsFunc(w.hours, func(h hours) bool {
		over := h.last <= h.first
		return h.days[today] && minute >= h.first && (over || minute < h.last) ||
			over && h.days[yesterday] && minute < h.last
	})
}

// horizon is how far ahead a change is looked for.
const horizon = 2 * 366 * 24 * time.Hour

// At tells whether the window is open, and when that changes; zero: not within two
// years.
func (w *Window) At(now time.Time) (open bool, changes time.Time) {
	open = w.isOpen(now)
	for t := now; t.Sub(now) < horizon; {
		t = w.border(t)
		if w.isOpen(t) != open {
			return open, t.In(w.zone)
		}
	}
	return open, time.Time{}
}

// border is the next time at which something could change: a minute of some hours, the
// day's end, or the clocks being put forward or back.
func (w *Window) border(t time.Time) time.Time {
	local := t.In(w.zone)
	// Up to where the clocks are changed, minutes of the day are minutes of time.
	into := local.Hour()*60 + local.Minute()
	minute := t.Add(-time.Duration(local.Second())*time.Second - time.Duration(local.Nanosecond()))
	next := midnight
	for _, h := range w.hours {
		for _, m := range []int{h.first, h.last} {
			if m > into {
				next = min(next, m)
			}
		}
	}
	border := minute.Add(time.Duration(next-into) * time.Minute)
	if _, end := local.ZoneBounds(); !end.IsZero() && end.Before(border) {
		return end
	}
	return border
}

// when is a time as people read it, with the zone that it is of.
func (w *Window) when(t time.Time) string {
	text := t.Format("Mon 2 Jan 2006 15:04 MST")
	if name := w.zone.String(); name != "UTC" {
		text += " (" + name + ")"
	}
	return text
}

// Answer is what the gate says at a time. It never holds what takes users from a
// canary.
func (w *Window) Answer(q canary.Question, now time.Time) canary.Answer {
	a := canary.Answer{Said: canary.Allow, At: now}
	if q.Stage == canary.BeforeRollback || q.Stage == canary.AfterRollback {
		a.Sentence = "The gate " + w.name + " never holds a rollback"
		return a
	}
	open, changes := w.At(now)
	switch {
	case open && changes.IsZero():
		a.Sentence = "The gate " + w.name + " is open all the time"
	case open:
		a.Sentence = "The gate " + w.name + " is open until " + w.when(changes)
	case changes.IsZero():
		a.Said, a.Sentence = canary.Wait, "The gate "+w.name+" has no release hours in the next two years"
	default:
		a.Said, a.Sentence = canary.Wait, "The gate "+w.name+" opens "+w.when(changes)
	}
	return a
}

// Asker answers questions by a clock.
func (w *Window) Asker(clock func() time.Time) func(context.Context, canary.Question, canary.Subject) canary.Answer {
	return func(_ context.Context, q canary.Question, _ canary.Subject) canary.Answer {
		return w.Answer(q, clock())
	}
}

// Fault is what is wrong with a field, as the rest of a sentence with the mend.
type Fault struct {
	Field   string // open, zone or closed
	Problem string
}

// New reads release hours, and finds all that is wrong with them.
func New(o Options) (*Window, []Fault) {
	w := &Window{name: o.Name}
	var faults []Fault
	note := func(field string, err error) {
		if err != nil {
			faults = append(faults, Fault{field, err.Error()})
		}
	}
	for part := range strings.SplitSeq(o.Open, ",") {
		h, err := readHours(strings.TrimSpace(part))
		w.hours = append(w.hours, h)
		note("open", err)
	}
	for _, text := range o.Closed {
		d, err := readDates(text)
		w.closed = append(w.closed, d)
		note("closed", err)
	}
	var err error
	w.zone, err = readZone(o.Zone)
	note("zone", err)
	if faults != nil {
		return nil, faults
	}
	return w, nil
}

func readZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, fmt.Errorf("is no time zone; write for example Europe/Berlin, or UTC")
	}
	return zone, nil
}
