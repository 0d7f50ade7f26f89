// Package canary is the core: what a rollout is and the one function, Decide,
// in which it moves. It is pure: no I/O, no clock, only the standard library
// and the judge.
package canary

import (
	"strings"
	"time"

	"serin.dev/serin/pkg/judge"
)

// Spec is what a team asked for: its annotations over the controller's defaults.
type Spec struct {
	Steps           []Step         `json:"steps"`        // ascending weights, the last is 100
	Test            time.Duration  `json:"test"`         // least time at 0% with only the header route; >= 0
	Bake            time.Duration  `json:"-"`            // of steps that name none; only in defaults, zero in a rollout's Spec
	StepDeadline    time.Duration  `json:"stepDeadline"` // longest time at a step without a verdict, > 0
	OnInconclusive  string         `json:"onInconclusive"`
	Limits          judge.Limits   `json:"limits"`
	Rules           judge.Rules    `json:"rules"`
	Custom          []judge.Custom `json:"custom,omitempty"`
	SharedIncident  Patience       `json:"sharedIncident"`
	Header          Header         `json:"header"`
	OnRollback      string         `json:"onRollback,omitempty"` // KeepTemplate or RestoreTemplate; in place
	Settle          time.Duration  `json:"settle,omitempty"`     // until proxies go by what was written; in place, > 0
	Approval        []string       `json:"approval,omitempty"`   // ApproveTest, ApproveSteps, ApprovePromotion, each once
	Gates           []GateUse      `json:"gates,omitempty"`      // of the operator's, each once
	Smoke           string         `json:"smoke,omitempty"`      // smoke checks, as written; at most MaxSmokeBytes
	Alerts          string         `json:"alerts,omitempty"`     // matchers of alerts, as written; empty: the operator's, "none": no alert counts
	Tags            string         `json:"tags,omitempty"`       // how images must be named; empty: anyhow
	Capacity        float64        `json:"capacity,omitempty"`   // how many times a stable pod's traffic a canary pod may have, > 0; 0: as much as comes
	MaxRestarts     int            `json:"restarts,omitempty"`   // container restarts of the canary that a release may have; 0: any number
	Sticky          string         `json:"sticky,omitempty"`     // StickyCookie; empty: users are sent anew with each request
	Mode            string         `json:"-"`                    // ModePair or ModeInPlace; empty: discovered
	Service         string         `json:"-"`                    // name; empty: discovered
	VirtualServices []string       `json:"-"`                    // names; empty: discovered
	StableSubset    string         `json:"-"`                    // empty: discovered
	CanarySubset    string         `json:"-"`                    // empty: discovered
	Notify          []string       `json:"-"`                    // names of the operator's channels on which people are told
}

// What happens when a step's deadline comes without a verdict.
const (
	Proceed          = "proceed"  // go on if nothing speaks against it
	HoldInconclusive = "hold"     // stay at the weight and ask for a decision
	RollBack         = "rollback" // back to stable
)

// What becomes of the template of a Deployment whose release in place was rolled back.
const (
	KeepTemplate    = "keep"    // it stays as the user wrote it, paused
	RestoreTemplate = "restore" // the one that runs is put back
)

// The modes of release.
const (
	ModePair    = "pair"     // two Deployments, told apart by subsets of the user's
	ModeInPlace = "in-place" // one Deployment
)

// Patience is how long something is waited for, and what happens then.
type Patience struct {
	Wait time.Duration `json:"wait"` // > 0
	Then string        `json:"then"` // HoldInconclusive or RollBack
}

// Whose approval a release waits for.
const (
	ApproveTest      = "test"       // before the first user
	ApproveSteps     = "every-step" // before each raise
	ApprovePromotion = "promotion"  // before the raise to 100%
)

// How the images of a release must be named (Spec.Tags).
const (
	TagsNamed  = "named"  // by a digest, or any tag but latest
	TagsSemVer = "semver" // by a tag that is a semantic version, with or without a v before it
	TagsRegex  = "regex:" // before an RE2 expression, which the whole tag matches
)

// StickyCookie keeps users on the version that they met first, by cookies.
const StickyCookie = "cookie"

// MaxSmokeBytes bounds Spec.Smoke.
const MaxSmokeBytes = 600

// NoAlerts is the Spec.Alerts of a release for which no alert counts.
const NoAlerts = "none"

// GateUse is one of the operator's gates, and when it is asked.
type GateUse struct {
	Name   string  `json:"n"`
	Stages []Stage `json:"s"` // at least one, in the order of GateStages
}

// Step is one weight and the least time spent at it.
type Step struct {
	Weight int           `json:"w"` // the canary's share in percent, 1..100; 0 with Mirror
	Bake   time.Duration `json:"b"` // covered by data, > 0
	// Mirror is the share of requests, in percent, of which the canary is sent a copy
	// that nobody waits for: 1..100, 0 for none. Such steps come before all others.
	Mirror int `json:"m,omitempty"`
}

// Header tells which requests are QA's: they reach the canary at any weight.
type Header struct {
	Name   string   `json:"name"`             // lower-case header name; for a cookie the cookie's name
	Match  string   `json:"match"`            // MatchExact, MatchPrefix, MatchRegex or MatchCookie
	Values []string `json:"values,omitempty"` // at least one; several mean any of them (exact and cookie only)
}

// String is what reaches the canary, as people write it: x-app-version: canary.
func (h Header) String() string {
	values := strings.Join(h.Values, "|")
	switch h.Match {
	case MatchCookie:
		return h.Name + "=" + values
	case MatchExact:
		return h.Name + ": " + values
	}
	return h.Name + " (" + h.Match + " " + values + ")"
}

// How a header's value is compared.
const (
	MatchExact  = "exact"
	MatchPrefix = "prefix"
	MatchRegex  = "regex"  // RE2, the whole value
	MatchCookie = "cookie" // a cookie of that name with exactly that value
)

// Command is a person's order, given as an annotation.
type Command struct {
	Verb string // one of the verbs below
	ID   string // what follows "#"; empty for the levels abort and pause
	By   string // who gave it, for people to read; empty if nobody noted it
	On   string // the Deployment on which it stands
}

// given is how an order is told: by command, and whose where that is known.
func (c *Command) given() string {
	if c == nil || c.By == "" {
		return "by command"
	}
	return "by command of " + c.By
}

// Abort and Pause are levels: in force while they stand. The others advance,
// carry an id and act once.
const (
	CommandAbort    = "abort"
	CommandPause    = "pause"
	CommandPromote  = "promote"  // to 100% now; the last step still bakes
	CommandResume   = "resume"   // out of Paused or Inconclusive
	CommandRetry    = "retry"    // release a template that was tried before
	CommandSkip     = "skip"     // end this step now, go to the next
	CommandRollback = "rollback" // back to stable; after a promotion to the version before
	CommandApprove  = "approve"  // what a release waits for, where it waits for a person
)
