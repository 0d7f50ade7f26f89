package canary

import (
	"strconv"
	"time"
)

// This file holds what of the traffic a state orders beside the weight.

// mirror is the share of requests of which the canary is sent a copy, in percent.
func (s State) mirror() int {
	if s.Step < 1 || s.Step > len(s.Spec.Steps) {
		return 0
	}
	switch s.Phase {
	case Progressing, Paused, Inconclusive:
		return s.Spec.Steps[s.Step-1].Mirror
	}
	return 0
}

// longestSticky bounds how long a browser keeps the cookie of a release that nobody
// ends.
const longestSticky = 24 * time.Hour

// sticky is what keeps users on their version; nil where nothing does, or all users
// are on one.
func (s State) sticky() *Sticky {
	if s.Spec.Sticky != StickyCookie || s.Weight == 0 || s.Weight == 100 {
		return nil
	}
	switch s.Phase {
	case Progressing, Paused, Inconclusive:
	default:
		return nil
	}
	return &Sticky{
		Cookie: "serin-" + s.subject(),
		Canary: "canary." + s.Rollout,
		// The step and not the weight: where the weight follows the canary's pods, users
		// would be dealt with each of them, and with each that goes.
		Stable: "stable." + s.Rollout + "." + strconv.Itoa(s.Step),
		MaxAge: min(longestSticky, time.Duration(len(s.Spec.Steps))*s.Spec.StepDeadline),
	}
}
