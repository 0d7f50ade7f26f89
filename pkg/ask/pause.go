package ask

import (
	"time"

	"serin.dev/serin/pkg/canary"
)

// How long until a question is asked again.
const (
	firstRetry = 2 * time.Second // of one that nobody answered; twice as long each time
	lastRetry  = time.Minute
	soon       = 3 * time.Second  // what turns out well in a moment, if at all
	often      = 10 * time.Second // a gate that says wait, alerts
	seldom     = time.Minute      // to know that an answer still is what it was
	atLength   = 10 * time.Minute // the same where asking is work for somebody
)

// pause is how long a question rests after an answer; final: it is not asked again.
// Answers that let a release go on are asked for again while it needs them, for they
// stand for some time only.
func pause(q canary.Question, a canary.Answer, failures int) (again time.Duration, final bool) {
	if a.Unreached {
		return min(lastRetry, firstRetry<<min(failures-1, 10)), false
	}
	switch q.Kind {
	case canary.AskSmoke:
		return pauseOfSmoke(a), false
	case canary.AskAlerts:
		return often, false
	case canary.AskEndpoints, canary.AskSeries:
		return soon, a.Said == canary.Allow
	case canary.AskResidual:
		return often, a.Said == canary.Allow
	case canary.AskImages, canary.AskScaling:
		return lastRetry, a.Said == canary.Allow
	case canary.AskGate:
	}
	if a.Said == canary.Wait {
		if a.RetryAfter == 0 {
			return often, false
		}
		// No longer than that, for answers stand for some minutes only.
		return min(max(a.RetryAfter, soon), seldom), false
	}
	return seldom, false
}

func pauseOfSmoke(a canary.Answer) time.Duration {
	if a.Said == canary.Allow {
		return atLength
	}
	return soon
}
