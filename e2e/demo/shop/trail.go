package shop

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Mark is something that happens once in a release in place.
type Mark string

// The marks.
const (
	Asked      Mark = "the new image"
	Subsets    Mark = "the subsets"
	Pinned     Mark = "the pinned routes"
	CanaryMade Mark = "the canary"
	Served     Mark = "the first users on the canary"
	Full       Mark = "all users on the canary"
	Updating   Mark = "the update of the Deployment"
	Returned   Mark = "the users' return"
	PodsGone   Mark = "the end of the canary's pods"
	RoutesBack Mark = "the user's routes"
	RuleGone   Mark = "the end of the subsets"
)

// The marks of a release in their order: what serves users is there before a
// route names it, and stays until none does.
var (
	Promotion = []Mark{Asked, Subsets, Pinned, CanaryMade, Served, Full, Updating, Returned, PodsGone, RoutesBack, RuleGone}
	Rollback  = []Mark{Asked, Subsets, Pinned, CanaryMade, Served, Returned, PodsGone, RoutesBack, RuleGone}
)

// Trail remembers which write each mark of a release was, in the API server's
// order of writes, and when it was seen. Its zero value is ready; its methods
// may be called concurrently.
type Trail struct {
	mu    sync.Mutex
	image string // that is released
	held  bool   // it came paused and marked
	peak  int
	marks map[Mark]passage
	last  State // in force
	// What was deleted before this release.
	podsBefore, ruleBefore Version
}

// passage is the write by which a mark was passed.
type passage struct {
	write Version
	seen  time.Time
}

// Begin starts the trail of the release of an image.
func (t *Trail) Begin(image string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.image, t.held, t.peak, t.marks = image, false, 0, map[Mark]passage{}
	t.podsBefore, t.ruleBefore = t.last.Beside.PodsGone, t.last.Beside.RuleGone
}

// See looks at a state of the shop; it wants all of them.
func (t *Trail) See(s State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = s
	if t.marks == nil {
		return
	}
	t.peak = max(t.peak, len(s.Beside.Pods))
	web, canary := s.Beside.Web, s.Beside.Canary
	if t.set(Asked, web.Image == t.image, web.Version) {
		t.held = web.Paused && web.Held != ""
	}
	if !t.has(Asked) {
		return
	}
	share := s.Shares[CanarySubset]
	_, pins := s.Shares[StableSubset]
	t.set(Subsets, s.Beside.Rule != 0, s.Beside.Rule)
	t.set(Pinned, pins, s.Routes)
	t.set(CanaryMade, canary.Version != 0, canary.Version)
	t.set(Served, share > 0, s.Routes)
	t.set(Full, share == 100, s.Routes)
	t.set(Updating, t.has(Full) && !web.Paused, web.Version)
	t.set(Returned, t.has(Served) && share == 0, s.Routes)
	t.set(PodsGone, canary.Version == 0 && s.Beside.CanaryPods == 0 && s.Beside.PodsGone > t.podsBefore, s.Beside.PodsGone)
	t.set(RoutesBack, t.has(Returned) && s.Shares[""] == 100, s.Routes)
	t.set(RuleGone, s.Beside.RuleGone > t.ruleBefore, s.Beside.RuleGone)
}

// set notes a mark the first time it is so.
func (t *Trail) set(m Mark, so bool, write Version) bool {
	if !so || t.has(m) {
		return false
	}
	t.marks[m] = passage{write, time.Now()}
	return true
}

func (t *Trail) has(m Mark) bool { return t.marks[m].write != 0 }

// Image is what is released.
func (t *Trail) Image() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.image
}

// Passed tells whether the release has passed a mark.
func (t *Trail) Passed(m Mark) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.has(m)
}

// At is when a mark was seen to be passed; zero if it was not.
func (t *Trail) At(m Mark) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.marks[m].seen
}

// Peak is the greatest number of pods there were at a time since the beginning,
// those that were ending included.
func (t *Trail) Peak() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peak
}

// Guarded tells whether the Deployment was paused and marked in the very write
// that brought the image.
func (t *Trail) Guarded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held
}

// Order is an error unless exactly these marks were passed, in this order.
func (t *Trail) Order(course []Mark) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for m := range t.marks {
		if !slices.Contains(course, m) {
			return fmt.Errorf("%s is no part of this release", m)
		}
	}
	for i, m := range course {
		switch {
		case !t.has(m):
			return fmt.Errorf("%s was not seen", m)
		case i > 0 && t.marks[m].write <= t.marks[course[i-1]].write:
			return fmt.Errorf("%s came before %s", m, course[i-1])
		}
	}
	return nil
}
