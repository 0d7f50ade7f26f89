package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/load"
)

// change is one change of the image, from the request to the moment when nothing
// of it is left.
type change struct {
	end     string // how it ended
	bad     int    // index of badImages; -1 for a good one
	bounds  []bound
	ended   time.Time
	extra   int // pods above the replicas at the peak
	answers int // bad ones of the bad version
	exposed time.Duration
}

// bound is where a part of a change begins.
type bound struct {
	part string
	at   time.Time
}

// The ways a change ends.
const (
	promoted   = "promoted"
	rolledBack = "rolled back"
	plain      = "plain"
	undone     = "undone by hand"
)

// The parts of a release.
const (
	preparing = "preparing"
	steps     = "steps"
	promoting = "promoting"
	finishing = "finishing"
)

// parts are where a release in place is parted.
var parts = []struct {
	mark shop.Mark
	name string
}{{shop.Asked, preparing}, {shop.Served, steps}, {shop.Updating, promoting}, {shop.Returned, finishing}}

// length is how long the change took as a whole, or one part of it.
func (r change) length(part string) time.Duration {
	if part == "" {
		return r.ended.Sub(r.bounds[0].at)
	}
	for i, b := range r.bounds {
		if b.part != part {
			continue
		}
		if i+1 < len(r.bounds) {
			return r.bounds[i+1].at.Sub(b.at)
		}
		return r.ended.Sub(b.at)
	}
	return 0
}

// partAt is the part in which something happened; empty if it wasn't in this change.
func (r change) partAt(at time.Time) string {
	if at.After(r.ended) {
		return ""
	}
	part := ""
	for _, b := range r.bounds {
		if !at.Before(b.at) {
			part = b.part
		}
	}
	return part
}

// sawBad counts the bad answers of the bad version that users saw.
func (r *change) sawBad(records []load.Record) {
	if r.bad < 0 {
		return
	}
	var first, last time.Time
	for _, one := range records {
		if one.Bad() && bad(one.Version) && r.partAt(one.Start) != "" {
			r.answers++
			first, last = earliest(first, one.Start), latest(last, one.Start)
		}
	}
	r.exposed = last.Sub(first)
}

// bad tells the versions that answer with errors: those of the rollbacks and of
// the updates that are undone.
func bad(version string) bool {
	return strings.HasPrefix(version, "b") || strings.HasPrefix(version, "u")
}

// stallLimit is how long no answer should take.
const stallLimit = 500 * time.Millisecond

// failure is a request that failed, or took long, and not because the version
// that answered it is bad.
type failure struct {
	load.Record
	part, end string // of the change; empty: at rest
}

// failures are all requests that failed though no bad version answered them: no
// answer, or anything but a success, such as a proxy's own 404 and 503.
func failures(records []load.Record, changes []change) []failure {
	all := placed(records, changes, func(r load.Record) bool {
		return r.Error != "" || r.Status/100 != 2 && !bad(r.Version)
	})
	for _, f := range all {
		say("failed at %s, %s %s: status %d by %q: %s", f.Start.Format("15:04:05.000"), f.part, f.end, f.Status, f.Version, f.Error)
	}
	return all
}

// stalled are the requests that took much longer than the application, which
// answers at once: none should, but on a machine that is short of CPU.
func stalled(records []load.Record, changes []change) []failure {
	return placed(records, changes, func(r load.Record) bool { return r.Latency > stallLimit })
}

// placed says where those requests were sent that are wanted.
func placed(records []load.Record, changes []change, wanted func(load.Record) bool) []failure {
	var all []failure
	for _, r := range records {
		if !wanted(r) {
			continue
		}
		f := failure{Record: r}
		for _, one := range changes {
			if part := one.partAt(r.Start); part != "" {
				f.part, f.end = part, one.end
			}
		}
		all = append(all, f)
	}
	return all
}

// where counts requests by where they were sent.
func where(all []failure) tally {
	counts := tally{}
	for _, f := range all {
		place := "at rest"
		if f.end != "" {
			place = "while " + f.part + " (" + f.end + ")"
		}
		counts[place]++
	}
	return counts
}

// ours are those that Serin would have to answer for: all but those of plain
// updates.
func ours(all []failure) tally {
	return where(slices.DeleteFunc(slices.Clone(all), func(f failure) bool { return f.end == plain || f.end == undone }))
}

// inPlaceText is all that was measured, as Markdown.
func inPlaceText(c settings, changes []change, requests int, failed, slow []failure) string {
	of := func(end string) []change {
		return slices.DeleteFunc(slices.Clone(changes), func(r change) bool { return r.end != end })
	}
	byUs := ours(failed)
	ofUs := 0
	for _, n := range byUs {
		ofUs += n
	}
	text := fmt.Sprintf("\n| one Deployment of %d pods, %d requests/s without a pause, settle %s | |\n|---|---|\n", singleReplicas, singleRate, c.settle)
	text += fmt.Sprintf("| promotions, rollbacks, plain updates, one after the other | %d, %d, %d |\n", len(of(promoted)), len(of(rolledBack)), len(of(plain))+len(of(undone)))
	text += fmt.Sprintf("| requests | %d |\n| failed by Serin's doing | %d: %s |\n", requests, ofUs, byUs)
	text += fmt.Sprintf("| failed in plain updates, but for the bad version's answers | %d |\n", len(failed)-ofUs)
	text += fmt.Sprintf("| answers after more than %s | %d: %s |\n", stallLimit, len(slow), where(slow))
	text += "| the guard held; the user's bytes at rest; nothing left | each time |\n"
	text += "\n| least / median / greatest | promotions | rollbacks | plain rolling updates |\n|---|---|---|---|\n"
	for _, part := range []string{"", preparing, steps, promoting, finishing} {
		row := "from the new image to the end"
		if part != "" {
			row = "of it " + part
		}
		for _, end := range []string{promoted, rolledBack, plain} {
			row += " | " + lengths(of(end), part)
		}
		text += "| " + row + " |\n"
	}
	text += "| extra pods at the peak, with those that are ending"
	for _, end := range []string{promoted, rolledBack, plain} {
		text += " | " + spread(of(end), count, func(r change) float64 { return float64(r.extra) })
	}
	text += " |\n\n| a bad image | bad answers users saw | the first to the last |\n|---|---|---|\n"
	for i, kind := range badImages {
		text += badImageRow("answers "+kind.name+": released by Serin", of(rolledBack), i)
	}
	return text + badImageRow(fmt.Sprintf("answers %s: plain rolling update, undone by hand after %s", badImages[0].name, byHand), of(undone), 0)
}

// lengths is how long changes took, or a part of them; empty if none has that part.
func lengths(changes []change, part string) string {
	if len(changes) == 0 || changes[0].length(part) == 0 {
		return ""
	}
	return spread(changes, seconds, func(r change) float64 { return r.length(part).Seconds() })
}

// badImageRow is a row about the changes to one of the bad images.
func badImageRow(name string, changes []change, kind int) string {
	changes = slices.DeleteFunc(changes, func(r change) bool { return r.bad != kind })
	if len(changes) == 0 {
		return ""
	}
	return fmt.Sprintf("| %s (%d) | %s | %s |\n", name, len(changes),
		spread(changes, count, func(r change) float64 { return float64(r.answers) }),
		spread(changes, seconds, func(r change) float64 { return r.exposed.Seconds() }))
}
