package canary

import (
	"cmp"
	"time"
)

// Question is something to be found out outside about a release: what a gate says,
// whether smoke checks pass, which alerts are active. Decide asks (Plan.Ask), the
// answers come with a later Observation. Two questions with the same fields are the
// same question, which is asked again only where its answer does not stand.
type Question struct {
	Kind  QuestionKind `json:"kind"`
	Name  string       `json:"name,omitempty"` // of the gate
	Stage Stage        `json:"stage"`
	// Rollout is the release's id; before it began, the hash of the pod template
	// that would be released.
	Rollout string `json:"rollout"`
	Step    int    `json:"step,omitempty"`    // to which the release wants to go, 1-based; 0 where it goes to none
	Attempt string `json:"attempt,omitempty"` // id of the command that asks; empty: the release itself asks
	// About tells apart what a team may write otherwise in mid-release: a mark of its smoke
	// checks or matchers, or the share of the step. What was said of one is not said of another.
	About string `json:"about,omitempty"`
}

// compare orders questions, in no way that means anything.
func (q Question) compare(other Question) int {
	return cmp.Or(cmp.Compare(q.Kind, other.Kind), cmp.Compare(q.Name, other.Name), cmp.Compare(q.Stage, other.Stage),
		cmp.Compare(q.Rollout, other.Rollout), cmp.Compare(q.Step, other.Step), cmp.Compare(q.Attempt, other.Attempt), cmp.Compare(q.About, other.About))
}

// QuestionKind is what sort of thing is asked.
type QuestionKind string

// The kinds.
const (
	AskGate      QuestionKind = "gate"      // one of the operator's gates, by name
	AskSmoke     QuestionKind = "smoke"     // the team's smoke checks, on the pods of a track
	AskAlerts    QuestionKind = "alerts"    // active alerts that are about this release
	AskEndpoints QuestionKind = "endpoints" // whether the Service's endpoints are stable's ready pods
	AskSeries    QuestionKind = "series"    // whether stable's series went on over a rollback
	AskResidual  QuestionKind = "residual"  // what still reaches a track that shall have no traffic
	AskImages    QuestionKind = "images"    // what the registry knows of the images, by digest
	AskScaling   QuestionKind = "scaling"   // whether stable may shrink while the canary has the traffic
)

// Stage is a moment of a release at which gates are asked.
type Stage string

// The stages, in the order of a release's life.
const (
	BeforeStart     Stage = "before-start"     // before the first write
	BeforeStep      Stage = "before-step"      // before each raise but that to 100%
	BeforePromotion Stage = "before-promotion" // before the raise to 100%
	BeforeRollback  Stage = "before-rollback"  // of a rollback that a person ordered; never of one for a breach
	AfterRollback   Stage = "after-rollback"   // when the routes are back at stable
	Always          Stage = "always"           // from the first write to the last; no gate's
	AfterRelease    Stage = "after-release"    // at rest; no gate's
)

// GateStages are the stages at which gates may be asked, in order.
var GateStages = []Stage{BeforeStart, BeforeStep, BeforePromotion, BeforeRollback, AfterRollback}

// Answer is what was said to a Question.
type Answer struct {
	Said AnswerKind `json:"said"`
	// Sentence says who said it and why, without trailing period, for people.
	Sentence string `json:"sentence"`
	// Unreached tells that nobody answered; Said is Wait then, never anything else.
	Unreached bool      `json:"unreached,omitempty"`
	At        time.Time `json:"at"` // when it was said
	// RetryAfter is in what time whoever says wait wants to be asked again; 0: as usual.
	RetryAfter time.Duration `json:"-"`
	Checks     []Check       `json:"checks,omitempty"` // one by one, where there are several
	Alerts     []Alert       `json:"alerts,omitempty"` // of AskAlerts
	Rate       float64       `json:"rate,omitempty"`   // of AskResidual: requests per second, >= 0
	Images     []Image       `json:"images,omitempty"` // of AskImages
}

// AnswerKind is what an answer comes to.
type AnswerKind string

// The answers. No answer is no answer: it never passes, and never fails.
const (
	Wait    AnswerKind = "wait"    // not now; asked again
	Allow   AnswerKind = "allow"   // go on
	Deny    AnswerKind = "deny"    // this release may not
	Approve AnswerKind = "approve" // go on if a person approves
)

// Check is one of several things that were looked at.
type Check struct {
	Name     string        `json:"name"` // like GET /healthz on web-1
	Passed   bool          `json:"passed"`
	Sentence string        `json:"sentence,omitempty"` // what was seen
	Took     time.Duration `json:"took,omitempty"`
}

// Alert is an active alert that is about a release.
type Alert struct {
	Name     string    `json:"name"`
	Severity string    `json:"severity,omitempty"`
	Summary  string    `json:"summary,omitempty"`
	Began    time.Time `json:"began"`
	// RollsBack tells that it is of those that end a release which began before it;
	// the others only hold it.
	RollsBack bool `json:"rollsBack,omitempty"`
}

// Image is a container's image.
type Image struct {
	Container string `json:"container"`
	Reference string `json:"reference"`        // as the pod template names it
	Digest    string `json:"digest,omitempty"` // sha256:..., as Ready pods report it
	// What is known beside it: from the pod template's annotations and labels, or from
	// the registry. Empty where unknown.
	Version  string `json:"version,omitempty"`
	Revision string `json:"revision,omitempty"` // of the source
	Source   string `json:"source,omitempty"`   // where the source is
	Created  string `json:"created,omitempty"`  // RFC 3339, as it was written
}

// Subject is what a question is about: what somebody outside may be told of a release.
type Subject struct {
	Namespace string    `json:"namespace"`
	Service   string    `json:"service"`
	Rollout   string    `json:"rollout,omitempty"` // empty before it began
	InPlace   bool      `json:"inPlace,omitempty"`
	Canary    Party     `json:"canary"`
	Stable    Party     `json:"stable"`
	Step      int       `json:"step"`  // in force, 1-based; 0 before the first
	Steps     int       `json:"steps"` // how many there are
	Weight    int       `json:"weight"`
	Next      int       `json:"next,omitempty"` // the weight that it wants to go to, percent
	Started   time.Time `json:"started,omitzero"`
	Reason    Reason    `json:"reason,omitempty"` // of a rollback
	Message   string    `json:"message,omitempty"`
	By        string    `json:"by,omitempty"`   // who ordered it, where a person did
	Since     time.Time `json:"since,omitzero"` // when its phase or step was ordered

	Smoke  string `json:"-"` // the team's smoke checks, as written
	Alerts string `json:"-"` // the team's matchers of alerts, as written

	Width        time.Duration `json:"-"` // of the blocks by which it is judged; 0: unknown
	MaxErrorRate float64       `json:"-"` // the limit that stable is expected to keep, 0..1; 0: none
}

// Party is one track, as somebody outside is told of it.
type Party struct {
	Deployment string   `json:"deployment"`
	Template   string   `json:"template,omitempty"`
	Digests    []string `json:"digests,omitempty"`
	Images     []Image  `json:"images,omitempty"`
	Ready      int      `json:"ready"`
	Addresses  []string `json:"-"` // host:port of each Ready pod, for smoke checks
	Pods       []string `json:"-"` // names of the Ready pods
}
