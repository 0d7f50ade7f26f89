package judge

import "time"

// Limits are what a canary may at most do.
type Limits struct {
	ErrorRate  float64       `json:"errorRate"`            // highest share of failed requests, 0 < ErrorRate < 1
	ErrorRatio float64       `json:"errorRatio,omitempty"` // highest multiple of stable's share, >= 1; 0: not compared
	P99        time.Duration `json:"p99"`                  // the 99th percentile's limit, > 0: at most 1% of requests may take longer
	P99Ratio   float64       `json:"p99Ratio,omitempty"`   // highest multiple of stable's 99th percentile, >= 1; 0: not compared
	// DefaultErrorRate and DefaultP99 tell that nobody wrote this limit: where
	// stable itself breaks it, the canary is only compared with stable.
	DefaultErrorRate bool `json:"errorRateDefault,omitempty"`
	DefaultP99       bool `json:"p99Default,omitempty"`
}

// Custom is a limit on a metric that the operator defined.
type Custom struct {
	Name    string  `json:"name"`
	AtLeast bool    `json:"atLeast,omitempty"` // the value must be at least Bound; else at most
	Bound   float64 `json:"bound"`             // a share, 0 to 1, for a ratio; any number for a gauge
	Gauge   bool    `json:"gauge,omitempty"`   // each block's value is within Bound or not; else a ratio of two counters
}

// Mode is how verdicts are reached.
type Mode string

// The modes.
const (
	ModeEvidence  Mode = "evidence"  // odds that may be looked at at any time
	ModeThreshold Mode = "threshold" // a limit exceeded in several checks in a row
)

// Rules are how the judge works, whatever the service.
type Rules struct {
	Mode      Mode      `json:"mode"`
	Levels    Levels    `json:"levels"`
	Threshold Threshold `json:"threshold"`
}

// Levels say how sure the evidence must be.
type Levels struct {
	Alpha float64 `json:"alpha"` // highest share of healthy releases rolled back, 0 < Alpha <= .2
	Beta  float64 `json:"beta"`  // highest share of clearly bad releases promoted, 0 < Beta <= .2
	// Rho is the multiple of stable's share that is worse than stable where the
	// limits name none, >= 1. Without a multiple in the limits it only holds.
	Rho   float64 `json:"rho"`
	Floor float64 `json:"floor"` // share of the limit below which being worse than stable is negligible, 0 < Floor <= 1
	Kappa float64 `json:"kappa"` // multiple of the limit that is clearly bad, which a promotion rules out, > 1
	// Strict takes each block as one bet, so that failures which come in bursts
	// don't count as many; slower.
	Strict bool `json:"strict,omitempty"`
}

// Threshold is the classic mode: a limit exceeded in Checks consecutive checks
// of at least Requests requests each.
type Threshold struct {
	Checks   int   `json:"checks"`   // consecutive checks over a limit that make a breach, >= 1
	Requests int64 `json:"requests"` // the canary's requests that complete a check, >= 1
}

// DefaultRules are the rules in force where nobody set others.
func DefaultRules() Rules {
	return Rules{
		Mode:      ModeEvidence,
		Levels:    Levels{Alpha: 0.01, Beta: 0.05, Rho: 2, Floor: 0.5, Kappa: 2},
		Threshold: Threshold{Checks: 3, Requests: 100},
	}
}

// Settings are what a case is judged by. They don't change while it is open.
type Settings struct {
	Rules
	Limits Limits
	Custom []Custom
	// Sticky tells that users stay on a version, so that the canary's share of the
	// requests is not its weight: a smaller one is no sign of requests that hang.
	Sticky bool
	// Steps is how many steps with weight or copies the release has, >= 1, and Deadline
	// how long each may take: over them the odds are spread.
	Steps    int
	Deadline time.Duration
}
