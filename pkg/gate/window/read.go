package window

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var weekdays = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

const hoursMend = "write days and hours like Mon-Thu 09:00-16:00, with a comma between several"

// readHours reads days and hours.
func readHours(text string) (hours, error) {
	var h hours
	days, times, _ := strings.Cut(text, " ")
	from, to, several := strings.Cut(days, "-")
	if !several {
		to = from
	}
	first, last := slices.Index(weekdays, from), slices.Index(weekdays, to)
	if first < 0 || last < 0 {
		return h, fmt.Errorf("has %q, whose days are none of %s; %s", text, strings.Join(weekdays, ", "), hoursMend)
	}
	for day := first; ; day = (day + 1) % 7 {
		if h.days[day] = true; day == last {
			break
		}
	}
	from, to, several = strings.Cut(strings.TrimSpace(times), "-")
	var ok, also bool
	h.first, ok = readMinute(from)
	h.last, also = readMinute(to)
	switch {
	case !ok || !also || !several:
		return h, fmt.Errorf("has %q, which has no two times of day; %s", text, hoursMend)
	case h.first == midnight || h.first == h.last:
		return h, fmt.Errorf("has %q, which is no time at all; write 00:00-24:00 for a whole day", text)
	}
	return h, nil
}

var minuteForm = regexp.MustCompile(`^([01][0-9]|2[0-4]):([0-5][0-9])$`)

// readMinute reads 09:30 as minutes since midnight, up to 24:00.
func readMinute(text string) (int, bool) {
	m := minuteForm.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return 0, false
	}
	hour, _ := strconv.Atoi(m[1])
	minute, _ := strconv.Atoi(m[2])
	return hour*60 + minute, hour*60+minute <= midnight
}

// readDates reads a date, or two with ".." between them.
func readDates(text string) (dates, error) {
	const mend = "write for example \"2026-12-24\", or \"2026-12-24..2027-01-02\""
	from, to, several := strings.Cut(text, "..")
	if !several {
		to = from
	}
	first, err := time.Parse(time.DateOnly, strings.TrimSpace(from))
	last, wrong := time.Parse(time.DateOnly, strings.TrimSpace(to))
	switch {
	case err != nil || wrong != nil:
		return dates{}, fmt.Errorf("holds %q, which is no date; %s", text, mend)
	case last.Before(first):
		return dates{}, fmt.Errorf("holds %q, which ends before it begins; %s", text, mend)
	}
	return dates{dateOf(first), dateOf(last)}, nil
}
