package main

import (
	"fmt"
	"slices"
	"sync"

	"serin.dev/serin/e2e/demo/shop"
)

// mark is something that happens once in a release in place.
type mark string

const (
	asked      mark = "the new image"
	subsets    mark = "the subsets"
	pinned     mark = "the pinned routes"
	canaryMade mark = "the canary"
	served     mark = "the first users on the canary"
	full       mark = "all users on the canary"
	updated    mark = "the update of the Deployment"
	returned   mark = "the users' return"
	podsGone   mark = "the end of the canary's pods"
	routesBack mark = "the user's routes"
	ruleGone   mark = "the end of the subsets"
)

// The marks of a release in their order: what serves users is there before a
// route names it, and stays until none does.
var (
	promotion = []mark{asked, subsets, pinned, canaryMade, served, full, updated, returned, podsGone, routesBack, ruleGone}
	rollback  = []mark{asked, subsets, pinned, canaryMade, served, returned, podsGone, routesBack, ruleGone}
)

// trail remembers which write each mark of a release was, in the API server's
// order of writes.
type trail struct {
	mu    sync.Mutex
	image string // that is released
	held  bool   // it came paused and marked
	marks map[mark]shop.Version
	// What was deleted before this release.
	podsBefore, ruleBefore shop.Version
	last                   shop.State
}

// begin starts the trail of a release.
func (t *trail) begin(image string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.image, t.held, t.marks = image, false, map[mark]shop.Version{}
	t.podsBefore, t.ruleBefore = t.last.Beside.PodsGone, t.last.Beside.RuleGone
}

// see looks at every state of the shop.
func (t *trail) see(s shop.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = s
	if t.marks == nil {
		return
	}
	web, canary := s.Beside.Web, s.Beside.Canary
	if t.set(asked, web.Image == t.image, web.Version) {
		t.held = web.Paused && web.Held != ""
	}
	if t.marks[asked] == 0 {
		return
	}
	share := s.Shares[shop.CanarySubset]
	_, pins := s.Shares[shop.StableSubset]
	t.set(subsets, s.Beside.Rule != 0, s.Beside.Rule)
	t.set(pinned, pins, s.Routes)
	t.set(canaryMade, canary.Version != 0, canary.Version)
	t.set(served, share > 0, s.Routes)
	t.set(full, share == 100, s.Routes)
	t.set(updated, t.marks[full] != 0 && !web.Paused, web.Version)
	t.set(returned, t.marks[served] != 0 && share == 0, s.Routes)
	t.set(podsGone, canary.Version == 0 && s.Beside.CanaryPods == 0 && s.Beside.PodsGone > t.podsBefore, s.Beside.PodsGone)
	t.set(routesBack, t.marks[returned] != 0 && s.Shares[""] == 100, s.Routes)
	t.set(ruleGone, s.Beside.RuleGone > t.ruleBefore, s.Beside.RuleGone)
}

// set notes a mark the first time it is so.
func (t *trail) set(m mark, so bool, at shop.Version) bool {
	if !so || t.marks[m] != 0 {
		return false
	}
	t.marks[m] = at
	return true
}

func (t *trail) passed(m mark) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.marks[m] != 0
}

// guarded tells whether the Deployment was paused in the very write that
// brought the image.
func (t *trail) guarded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held
}

// order is an error unless exactly these marks were passed, in this order.
func (t *trail) order(course []mark) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for m := range t.marks {
		if !slices.Contains(course, m) {
			return fmt.Errorf("%s is no part of this release", m)
		}
	}
	for i, m := range course {
		switch {
		case t.marks[m] == 0:
			return fmt.Errorf("%s was not seen", m)
		case i > 0 && t.marks[m] <= t.marks[course[i-1]]:
			return fmt.Errorf("%s came before %s", m, course[i-1])
		}
	}
	return nil
}
