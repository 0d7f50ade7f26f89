package replay

import (
	"reflect"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// Reading is the case of a rollout under way and how far it was read: one
// cursor that walks the stretches. The last blocks of a leg that ended come
// before the first of the next, as they do for whoever reads all of it later.
// The zero value has read nothing. It is not safe for concurrent use.
type Reading struct {
	settings  judge.Settings
	held      *judge.Case
	stretches []Stretch
	at        int       // index of the stretch being read; their number when all are read
	had       time.Time // up to when its blocks are had
}

// Follow takes note of where the rollout stands; from is as in Stretches. Where
// that is no continuation of what was read (other limits, a leg that began or
// ended elsewhere), a new case is opened and everything read again. It tells
// whether anything changed.
func (r *Reading) Follow(s canary.State, from time.Time) (changed bool) {
	settings, stretches := canary.SettingsOf(s), Stretches(s, from)
	changed = !reflect.DeepEqual(r.stretches, stretches)
	if r.held == nil || !reflect.DeepEqual(r.settings, settings) || !r.continues(stretches) {
		changed = true
		r.settings, r.held, r.at, r.had = settings, judge.Open(settings), 0, time.Time{}
	}
	r.stretches = stretches
	r.settle()
	return changed
}

// continues tells whether all that was read stands in the stretches, too.
func (r *Reading) continues(stretches []Stretch) bool {
	if r.at > len(stretches) {
		return false
	}
	for i := range r.at {
		if r.stretches[i] != stretches[i] {
			return false
		}
	}
	if r.had.IsZero() {
		return true
	}
	if r.at == len(stretches) {
		return false
	}
	was, is := r.stretches[r.at], stretches[r.at]
	was.To = is.To
	return was == is && (is.To.IsZero() || !r.had.After(is.To))
}

// settle goes on to the stretch of which blocks are still to come.
func (r *Reading) settle() {
	for r.at < len(r.stretches) && r.stretches[r.at].Over(r.Had()) {
		r.at, r.had = r.at+1, time.Time{}
	}
}

// Case is what was read so far; nil before the first Follow.
func (r *Reading) Case() *judge.Case { return r.held }

// Stretch is the one being read; false when there is nothing to read.
func (r *Reading) Stretch() (Stretch, bool) {
	if r.at >= len(r.stretches) {
		return Stretch{}, false
	}
	return r.stretches[r.at], true
}

// Present tells that the stretch being read goes on.
func (r *Reading) Present() bool {
	s, some := r.Stretch()
	return some && s.To.IsZero()
}

// Had is up to when the blocks of the stretch being read are had: the end of
// the last one, or where the stretch begins. Zero when there is nothing to read.
func (r *Reading) Had() time.Time {
	s, _ := r.Stretch()
	if r.had.IsZero() {
		return s.From
	}
	return r.had
}

// Left counts the blocks that are closed now and were not read yet.
func (r *Reading) Left(now time.Time) int {
	n, had := 0, r.Had()
	for i := r.at; i < len(r.stretches); i++ {
		s := r.stretches[i]
		if i > r.at {
			had = s.From
		}
		end := prom.Closed(now, s.Width)
		if !s.To.IsZero() && s.To.Before(end) {
			end = s.To
		}
		n += max(0, int(end.Sub(borderFrom(had, s.Width))/s.Width))
	}
	return n
}

// Due is when the next block is closed; zero when none is to come.
func (r *Reading) Due() time.Time {
	s, some := r.Stretch()
	if !some {
		return time.Time{}
	}
	end := r.Next().Add(s.Width)
	// Closed is a multiple of the width, so at the end itself it tells how long
	// after its end a block is closed.
	return end.Add(prom.NextClosed(end, s.Width).Sub(prom.Closed(end, s.Width).Add(s.Width)))
}

// Add adds the blocks of the stretch being read that come next, and leaves out
// those that are had already or not of it. Of the hour before the release no
// blocks at all are an answer, too. It tells whether anything was read.
func (r *Reading) Add(blocks []judge.Block) (read bool) {
	s, some := r.Stretch()
	if !some {
		return false
	}
	for _, b := range blocks {
		if b.Start.Before(r.Had()) || !s.To.IsZero() && b.End().After(s.To) {
			continue
		}
		s.Add(r.held, b)
		r.had, read = b.End(), true
	}
	if s.Before && len(blocks) == 0 {
		s.Add(r.held, judge.Block{Start: s.From, Width: s.Width})
		r.had, read = s.To, true
	}
	r.settle()
	return read
}

// Next is where the next block begins; zero when there is nothing to read.
func (r *Reading) Next() time.Time {
	s, some := r.Stretch()
	if !some {
		return time.Time{}
	}
	return borderFrom(r.Had(), s.Width)
}

// Window is a question for blocks around the cursor, of which more may be
// answered than are wanted: all rollouts with blocks of the same width have the
// same windows, so that those about the same time are asked for together.
func (r *Reading) Window(a prom.Ask) prom.Ask {
	size := windowBlocks * a.Width
	a.To = borderFrom(r.Next().Add(1), size)
	a.From = a.To.Add(-size)
	return a
}

// windowBlocks is how many blocks one window has.
const windowBlocks = 64
