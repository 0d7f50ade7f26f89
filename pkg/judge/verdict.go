package judge

import "time"

// Limits are what a canary may at most do.
type Limits struct {
	ErrorRate  float64       `json:"errorRate"`            // highest share of failed requests, 0 < ErrorRate < 1
	ErrorRatio float64       `json:"errorRatio,omitempty"` // highest multiple of stable's share; 0: not compared
	P99        time.Duration `json:"p99"`                  // the 99th percentile's limit, > 0: at most 1% of requests may take longer
}

// Settings are how the judge works: the limits and the mode's parameters.
type Settings struct {
	Limits    Limits
	Threshold Threshold
}

// Threshold is the classic mode: a limit exceeded in Checks consecutive checks
// of at least Requests requests each.
type Threshold struct {
	Checks   int   // consecutive checks over a limit that make a breach, >= 1
	Requests int64 // the canary's requests that complete a check, >= 1
}

// Kind is what a verdict orders.
type Kind string

// The kinds of verdict, in the order in which they are looked for. Only a
// Rollback that was proven before the data ceased comes before NoData.
const (
	NoData         Kind = "NoData"         // nobody knows how the canary does; the weight is frozen
	Starved        Kind = "Starved"        // the canary answers far less than its share: requests hang
	Rollback       Kind = "Rollback"       // the canary broke a limit
	SharedIncident Kind = "SharedIncident" // both tracks break the limit: it is not the canary
	Promote        Kind = "Promote"        // enough was seen, and it was good
	Hold           Kind = "Hold"           // not enough was seen yet
)

// Reason names the cause of a verdict, for machines.
type Reason string

// The reasons a verdict may have.
const (
	ReasonNoData         Reason = "NoData"
	ReasonStarved        Reason = "CanaryStarved"
	ReasonErrorRate      Reason = "ErrorRateTooHigh"
	ReasonErrorRatio     Reason = "ErrorRateWorseThanStable"
	ReasonLatency        Reason = "LatencyTooHigh"
	ReasonSharedIncident Reason = "SharedIncident"
	ReasonGood           Reason = "WithinLimits"
	ReasonFewRequests    Reason = "NotEnoughRequests"
	ReasonUnresolved     Reason = "HistogramCannotResolve"
	ReasonClientErrors   Reason = "ClientErrorsWorseThanStable" // 4xx; holds, never rolls back
	ReasonSuspicious     Reason = "LimitExceeded"               // over the limit, not yet often enough to be a breach
)

// Verdict is the judge's answer, with the evidence it rests on.
type Verdict struct {
	Kind     Kind
	Reason   Reason
	Sentence string // the same in words, with the numbers, for people; no trailing period

	// Step and Weight tell which step the verdict is about: that of the newest
	// block. Right after a raise it may still be the step before.
	Step, Weight int

	// Covered is the time covered by accepted blocks at the current step: the
	// bake. It only grows with data, whatever the wall clock does.
	Covered time.Duration
	// Quiet counts the newest accepted blocks in a row in which the canary
	// answered nothing.
	Quiet int
	// Since is when this Kind was first reached without a break (the end of
	// that block); for NoData the end of the last accepted block.
	Since time.Time
	// At is the end of the last accepted block; zero if there was none.
	At time.Time
	// More is about how many more canary requests complete the next check; for Hold.
	More int64
	// NoWorse tells that the canary's own estimates of this step are no worse
	// than stable's (or within the limits where stable has no traffic): what
	// "proceed at the deadline" demands.
	NoWorse bool

	Stable, Canary Measure // of the current step so far
}

// Measure is what was measured of one track over a step, for people.
type Measure struct {
	Counts            // sums over the accepted blocks of the step
	Rate   float64    // answered requests per second, over the last blocks
	P99    [2]float64 // bounds in ms between which the 99th percentile lies; 0,0 when unknown; the upper may be +Inf
}
