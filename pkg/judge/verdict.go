package judge

import "time"

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
	ReasonSlower         Reason = "LatencyWorseThanStable"
	ReasonCustom         Reason = "MetricOutOfBounds" // one of the operator's metrics; the sentence names it
	ReasonDrifting       Reason = "DriftingToLimit"   // within the limit, and on the way out of it; holds, never rolls back
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
	// StableQuiet counts likewise those in which stable answered nothing.
	StableQuiet int
	// Since is when this Kind was first reached without a break (the end of
	// that block); for NoData the end of the last accepted block.
	Since time.Time
	// At is the end of the last accepted block; zero if there was none.
	At time.Time
	// More is about how many more canary requests are needed, for Hold, and
	// MoreTime how long they take to come at the present rate; 0 when unknown.
	More     int64
	MoreTime time.Duration
	// NoWorse tells that the canary's own estimates of this step are no worse
	// than stable's (or within the limits where stable has no traffic), and that
	// it answers if the service has traffic: what "proceed at the deadline"
	// demands.
	NoWorse bool

	// Abandoned tells that clients leave the canary without an answer far more
	// often than stable. They cause that, too; beside Starved it says that
	// requests hang indeed. False in threshold mode.
	Abandoned bool

	Stable, Canary Measure // of the current step so far

	// RollbackAt and PromoteAt are the odds (E) at which the evidence suffices,
	// 1/alpha and 1/beta, as natural logarithms; 0 in threshold mode. Against
	// and For are where it stands: of the whole release, all metrics together,
	// and of the metric that is the farthest from promotion.
	RollbackAt, PromoteAt float64
	Against, For          float64
	Metrics               []Metric // the evidence of each metric; nil in threshold mode
	// Open tells that the verdict rests on what came after the last closed
	// block, too; only a Rollback may. A replay sees it a little later.
	Open bool
}

// Metric is the evidence of one metric over this release so far.
type Metric struct {
	Name  string  // "errors", "latency", "errors-vs-stable", "latency-vs-stable", or an operator's name
	Limit float64 // the highest share of bad requests, 0..1; for a comparison the highest multiple of stable's
	// Canary and Stable are the bad among all requests of the step; of latency
	// the surely slow ones.
	Canary, Stable Tally
	// Low and High bound the canary's true share: a 95% confidence sequence,
	// which may be looked at after every block.
	Low, High float64
	// Against and For are the evidence towards rollback and towards promotion:
	// natural logarithms of odds (E), 0 for none. For is 0 where the metric has
	// no part in a promotion.
	Against, For float64
	// Judged tells that this metric may roll the canary back. One that may not
	// still holds it.
	Judged bool
	// Missing says why there is no data; empty if there is.
	Missing string
}

// Measure is what was measured of one track over a step, for people.
type Measure struct {
	Counts            // sums over the accepted blocks of the step
	Rate   float64    // answered requests per second, over the last blocks
	P99    [2]float64 // bounds in ms between which the 99th percentile lies; 0,0 when unknown; the upper may be +Inf
}
