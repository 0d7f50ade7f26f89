package window_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/window"
)

func made(t testing.TB, open, zone string, closed ...string) *window.Window {
	t.Helper()
	w, faults := window.New(window.Options{Name: "hours", Open: open, Zone: zone, Closed: closed})
	if faults != nil {
		t.Fatal(faults)
	}
	return w
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

const office = "Mon-Thu 09:00-16:00, Fri 09:00-12:00"

func TestReleaseHours(t *testing.T) {
	cases := []struct {
		name, open, zone string
		closed           []string
		now              string
		said             canary.AnswerKind
		sentence         string
	}{
		{"within", office, "Europe/Berlin", nil, "2026-11-23T10:00:00+01:00", canary.Allow, "The gate hours is open until Mon 23 Nov 2026 16:00 CET (Europe/Berlin)"},
		{"the first minute counts", office, "Europe/Berlin", nil, "2026-11-23T09:00:00+01:00", canary.Allow, "The gate hours is open until Mon 23 Nov 2026 16:00 CET (Europe/Berlin)"},
		{"a second before it", office, "Europe/Berlin", nil, "2026-11-23T08:59:59+01:00", canary.Wait, "The gate hours opens Mon 23 Nov 2026 09:00 CET (Europe/Berlin)"},
		{"the last minute's end doesn't count", office, "Europe/Berlin", nil, "2026-11-23T16:00:00+01:00", canary.Wait, "The gate hours opens Tue 24 Nov 2026 09:00 CET (Europe/Berlin)"},
		{"the time is the zone's, wherever it is told", office, "Europe/Berlin", nil, "2026-11-23T08:00:00Z", canary.Allow, "The gate hours is open until Mon 23 Nov 2026 16:00 CET (Europe/Berlin)"},
		{"over the weekend", office, "Europe/Berlin", nil, "2026-11-27T12:30:00+01:00", canary.Wait, "The gate hours opens Mon 30 Nov 2026 09:00 CET (Europe/Berlin)"},
		{"UTC needs no other name", "Wed 00:00-24:00", "UTC", nil, "2026-11-23T08:00:00Z", canary.Wait, "The gate hours opens Wed 25 Nov 2026 00:00 UTC"},
		{"days go over the week's end", "Fri-Mon 10:00-11:00", "UTC", nil, "2026-11-22T10:30:00Z", canary.Allow, "The gate hours is open until Sun 22 Nov 2026 11:00 UTC"},
		{"hours go over midnight", "Mon 22:00-04:00", "UTC", nil, "2026-11-24T03:59:00Z", canary.Allow, "The gate hours is open until Tue 24 Nov 2026 04:00 UTC"},
		{"but not on the night before", "Mon 22:00-04:00", "UTC", nil, "2026-11-23T03:59:00Z", canary.Wait, "The gate hours opens Mon 23 Nov 2026 22:00 UTC"},
		{"hours that touch are one stretch", "Mon-Tue 20:00-24:00, Tue 00:00-06:00", "UTC", nil, "2026-11-23T21:00:00Z", canary.Allow, "The gate hours is open until Tue 24 Nov 2026 06:00 UTC"},
		{"all the time", "Mon-Sun 00:00-24:00", "UTC", nil, "2026-11-23T21:00:00Z", canary.Allow, "The gate hours is open all the time"},
		{"closed over the holidays, with both ends", office, "Europe/Berlin", []string{"2026-12-24..2027-01-03"}, "2026-12-24T10:00:00+01:00", canary.Wait, "The gate hours opens Mon 4 Jan 2027 09:00 CET (Europe/Berlin)"},
		{"open up to the holidays", office, "Europe/Berlin", []string{"2026-12-24..2027-01-03"}, "2026-12-23T10:00:00+01:00", canary.Allow, "The gate hours is open until Wed 23 Dec 2026 16:00 CET (Europe/Berlin)"},
		{"a day that is closed ends a night", "Mon-Sun 22:00-04:00", "UTC", []string{"2026-11-24"}, "2026-11-23T23:00:00Z", canary.Allow, "The gate hours is open until Tue 24 Nov 2026 00:00 UTC"},
		{"closed for years", "Mon 09:00-10:00", "UTC", []string{"2026-01-01..2036-01-01"}, "2026-11-23T09:30:00Z", canary.Wait, "The gate hours has no release hours in the next two years"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			now := at(t, c.now)
			a := made(t, c.open, c.zone, c.closed...).Answer(canary.Question{Stage: canary.BeforeStep}, now)
			if a.Said != c.said || a.Sentence != c.sentence || !a.At.Equal(now) || a.Unreached {
				t.Errorf("got  %s: %s\nwant %s: %s", a.Said, a.Sentence, c.said, c.sentence)
			}
		})
	}
}

// On 29 March 2026 clocks in Berlin go from 02:00 to 03:00, on 25 October from 03:00
// back to 02:00. In Lord Howe it is half an hour, on 4 October at 02:00.
func TestWhenClocksAreChanged(t *testing.T) {
	const berlin, howe = "Europe/Berlin", "Australia/Lord_Howe"
	cases := []struct {
		name, open, zone, now string
		is                    bool
		changes               string
	}{
		{"an opening after the clocks went forward is an hour sooner", "Sun 09:00-10:00", berlin, "2026-03-29T00:00:00+01:00", false, "2026-03-29T09:00:00+02:00"},
		{"an opening after they went back is an hour later", "Sun 09:00-10:00", berlin, "2026-10-25T00:00:00+02:00", false, "2026-10-25T09:00:00+01:00"},
		{"a week is as long as its days are", "Mon 09:00-10:00", berlin, "2026-03-23T10:00:00+01:00", false, "2026-03-30T09:00:00+02:00"},
		{"an hour that is left out never comes", "Sun 02:00-03:00", berlin, "2026-03-29T01:30:00+01:00", false, "2026-04-05T02:00:00+02:00"},
		{"what begins in it begins with the next hour", "Sun 02:30-04:00", berlin, "2026-03-29T01:30:00+01:00", false, "2026-03-29T03:00:00+02:00"},
		{"what ends in it ends where it is left out", "Sun 01:00-02:30", berlin, "2026-03-29T01:30:00+01:00", true, "2026-03-29T03:00:00+02:00"},
		{"an hour that comes twice is open the first time", "Sun 02:00-03:00", berlin, "2026-10-25T02:30:00+02:00", true, "2026-10-25T03:00:00+01:00"},
		{"and the second time", "Sun 02:00-03:00", berlin, "2026-10-25T02:30:00+01:00", true, "2026-10-25T03:00:00+01:00"},
		{"half of it closes in between", "Sun 01:00-02:30", berlin, "2026-10-25T02:00:00+02:00", true, "2026-10-25T02:30:00+02:00"},
		{"and is open again", "Sun 01:00-02:30", berlin, "2026-10-25T02:40:00+02:00", false, "2026-10-25T02:00:00+01:00"},
		{"half an hour forward", "Sun 02:15-03:00", howe, "2026-10-04T01:00:00+10:30", false, "2026-10-04T02:30:00+11:00"},
		{"half an hour back closes in between", "Sun 01:45-02:15", howe, "2026-04-05T01:50:00+11:00", true, "2026-04-05T01:30:00+10:30"},
		{"and opens again", "Sun 01:45-02:15", howe, "2026-04-05T01:30:00+10:30", false, "2026-04-05T01:45:00+10:30"},
		{"a day without midnight", "Sat 00:00-12:00", "Africa/Cairo", "2026-04-23T12:00:00+02:00", false, "2026-04-25T00:00:00+03:00"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			open, changes := made(t, c.open, c.zone).At(at(t, c.now))
			if open != c.is || !changes.Equal(at(t, c.changes)) {
				t.Errorf("open %v until %s", open, changes.Format(time.RFC3339))
			}
		})
	}
}

// What At says is what one finds by looking at the clock each minute.
func TestEveryMinuteOfTheDaysAroundAChange(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu", "UTC"} {
		for _, open := range []string{office, "Sat-Sun 01:30-02:30, Fri 23:00-03:15", "Sun-Mon 22:00-02:00", "Sun 02:10-02:20"} {
			w := made(t, open, zone, "2026-03-30", "2026-10-26..2026-10-27")
			for _, from := range []string{"2026-03-07T12:00:00Z", "2026-03-28T12:00:00Z", "2026-04-04T12:00:00Z", "2026-04-23T12:00:00Z", "2026-10-03T12:00:00Z", "2026-10-24T12:00:00Z", "2026-10-29T12:00:00Z", "2026-10-31T12:00:00Z"} {
				now := at(t, from)
				is, changes := w.At(now)
				for m := now; m.Before(now.Add(60 * time.Hour)); m = m.Add(time.Minute) {
					if !m.Before(changes) {
						is, changes = !is, time.Time{}
					}
					if got, next := w.At(m); got != is || !changes.IsZero() && !next.Equal(changes) {
						t.Fatalf("%s in %s at %s: open %v until %s, before it was %v until %s", open, zone, m, got, next, is, changes)
					} else {
						changes = next
					}
				}
			}
		}
	}
}

func TestARollbackIsNeverHeld(t *testing.T) {
	w, night := made(t, office, "UTC"), at(t, "2026-11-23T03:00:00Z")
	for _, stage := range canary.GateStages {
		back := stage == canary.BeforeRollback || stage == canary.AfterRollback
		a := w.Asker(func() time.Time { return night })(t.Context(), canary.Question{Stage: stage}, canary.Subject{})
		if (a.Said == canary.Allow) != back {
			t.Errorf("%s: %s: %s", stage, a.Said, a.Sentence)
		}
	}
}

func TestMistakes(t *testing.T) {
	cases := []struct {
		name    string
		options window.Options
		want    []window.Fault
	}{
		{"a long name of a day", window.Options{Open: "Monday 09:00-10:00", Zone: "UTC"}, []window.Fault{{"open", `has "Monday 09:00-10:00", whose days are none of Sun, Mon, Tue, Wed, Thu, Fri, Sat; write days and hours like Mon-Thu 09:00-16:00, with a comma between several`}}},
		{"no days", window.Options{Open: "09:00-10:00", Zone: "UTC"}, []window.Fault{{"open", `has "09:00-10:00", whose days are none of Sun, Mon, Tue, Wed, Thu, Fri, Sat; write days and hours like Mon-Thu 09:00-16:00, with a comma between several`}}},
		{"nothing", window.Options{Zone: "UTC"}, []window.Fault{{"open", `has "", whose days are none of Sun, Mon, Tue, Wed, Thu, Fri, Sat; write days and hours like Mon-Thu 09:00-16:00, with a comma between several`}}},
		{"no hours", window.Options{Open: "Mon", Zone: "UTC"}, []window.Fault{{"open", `has "Mon", which has no two times of day; write days and hours like Mon-Thu 09:00-16:00, with a comma between several`}}},
		{"an hour that isn't", window.Options{Open: "Mon 09:00-24:01", Zone: "UTC"}, []window.Fault{{"open", `has "Mon 09:00-24:01", which has no two times of day; write days and hours like Mon-Thu 09:00-16:00, with a comma between several`}}},
		{"twelve hours a day", window.Options{Open: "Mon 9am-5pm", Zone: "UTC"}, []window.Fault{{"open", `has "Mon 9am-5pm", which has no two times of day; write days and hours like Mon-Thu 09:00-16:00, with a comma between several`}}},
		{"no time at all", window.Options{Open: "Mon 09:00-09:00", Zone: "UTC"}, []window.Fault{{"open", `has "Mon 09:00-09:00", which is no time at all; write 00:00-24:00 for a whole day`}}},
		{"from midnight on", window.Options{Open: "Mon 24:00-02:00", Zone: "UTC"}, []window.Fault{{"open", `has "Mon 24:00-02:00", which is no time at all; write 00:00-24:00 for a whole day`}}},
		{"no zone", window.Options{Open: office}, []window.Fault{{"zone", "is no time zone; write for example Europe/Berlin, or UTC"}}},
		{"the machine's zone", window.Options{Open: office, Zone: "Local"}, []window.Fault{{"zone", "is no time zone; write for example Europe/Berlin, or UTC"}}},
		{"a file as a zone", window.Options{Open: office, Zone: "../../etc/passwd"}, []window.Fault{{"zone", "is no time zone; write for example Europe/Berlin, or UTC"}}},
		{"all at once", window.Options{Open: "Mo 1-2, Fri", Zone: "Berlin", Closed: []string{"24.12.2026", "2026-02-30", "2026-12-24..2026-12-23", "2026-12-24"}}, []window.Fault{
			{"open", `has "Mo 1-2", whose days are none of Sun, Mon, Tue, Wed, Thu, Fri, Sat; write days and hours like Mon-Thu 09:00-16:00, with a comma between several`},
			{"open", `has "Fri", which has no two times of day; write days and hours like Mon-Thu 09:00-16:00, with a comma between several`},
			{"closed", `holds "24.12.2026", which is no date; write for example "2026-12-24", or "2026-12-24..2027-01-02"`},
			{"closed", `holds "2026-02-30", which is no date; write for example "2026-12-24", or "2026-12-24..2027-01-02"`},
			{"closed", `holds "2026-12-24..2026-12-23", which ends before it begins; write for example "2026-12-24", or "2026-12-24..2027-01-02"`},
			{"zone", "is no time zone; write for example Europe/Berlin, or UTC"},
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if w, got := window.New(c.options); w != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// FuzzNew: whatever is written is refused with sentences, or opens and closes by turns.
func FuzzNew(f *testing.F) {
	f.Add(office, "Europe/Berlin", "2026-12-24..2027-01-02", int64(1_774_746_000))
	f.Add("Sun 23:59-00:01, Sat-Sun 00:00-24:00", "America/St_Johns", "2026-01-01", int64(-1))
	f.Fuzz(func(t *testing.T, open, zone, closed string, seconds int64) {
		w, faults := window.New(window.Options{Name: "hours", Open: open, Zone: zone, Closed: []string{closed}})
		if (w == nil) == (faults == nil) || slices.ContainsFunc(faults, func(f window.Fault) bool { return f.Problem == "" || f.Field == "" }) {
			t.Fatalf("%v, %v", w, faults)
		}
		if w == nil {
			return
		}
		now := time.Unix(seconds%(1<<33), 0)
		is, changes := w.At(now)
		if changes.IsZero() {
			return
		}
		before, same := w.At(changes.Add(-time.Second))
		after, _ := w.At(changes)
		if !changes.After(now) || before != is || !same.Equal(changes) || after == is {
			t.Errorf("%v at %s changes at %s: %v before, %v after", is, now, changes, before, after)
		}
	})
}
