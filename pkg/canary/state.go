package canary

import (
	"time"

	"serin.dev/serin/pkg/judge"
)

// StateVersion is the newest version of State this build knows. A state of a
// newer version is never acted on. Releases in place came with version 2, what is
// asked outside with version 3. A state is written in the oldest version that says
// all of it, so that an older Serin can take it over, or knows to leave it alone.
const StateVersion = 3

// The versions before.
const (
	pairVersion    = 1 // of two Deployments
	inPlaceVersion = 2
)

// MaxStateBytes bounds the state's JSON on a VirtualService.
const MaxStateBytes = 4096

// State is where a rollout stands. It is written in the same request as the
// weights, on every VirtualService of the Service, so that a crash anywhere
// simply continues.
type State struct {
	Version  int    `json:"v"`
	Rollout  string `json:"rollout"` // id of this rollout, unique per Service
	Sequence int64  `json:"seq"`     // grows with every change of the state
	Phase    Phase  `json:"phase"`
	Step     int    `json:"step"`   // 1 is the first of Spec.Steps, 0 before it
	Weight   int    `json:"weight"` // the canary's ordered share in percent, 0..100

	Canary Side `json:"canary"`
	Stable Side `json:"stable"`

	// InPlace tells that one Deployment is updated in place: the canary's pods
	// are made and scaled by Serin for this release, and gone after it.
	InPlace bool `json:"inPlace,omitempty"`
	// Plain tells that somebody resumed the Deployment by hand in mid-release: its
	// update goes on as Kubernetes does it, and stable is all of its pods.
	Plain bool `json:"plain,omitempty"`

	Started time.Time `json:"started"` // when the rollout began
	Since   time.Time `json:"since"`   // when this phase or step was ordered

	Reason  Reason `json:"reason"`  // of the last transition
	Message string `json:"message"` // the same in a sentence

	Spec  Spec          `json:"spec"`  // what is in force; a valid change of the annotations replaces it
	Width time.Duration `json:"width"` // the grid of the blocks, so that a replay uses the same; 0 before the first step

	// Legs are the stretches with weight or copies before the present one, oldest first, at
	// most MaxLegs, so that a replay knows them. One after another may be of the
	// same step and weight: every order that is written ends one.
	Legs []Leg `json:"legs,omitempty"`

	Handled string `json:"handled,omitempty"` // id of the last verb acted on
	// HandledOn is a mark of the Deployment on which that verb stands, and Beside one of
	// the verb acted on last that stands on the other Deployment of a pair: it is none
	// that is new, however much was ordered since.
	HandledOn string `json:"handledOn,omitempty"`
	Beside    string `json:"beside,omitempty"`
	Reverts   int    `json:"reverts,omitempty"` // how often a GitOps tool wrote old weights back
	// Peak is the highest share the canary was ever ordered, percent.
	Peak int `json:"peak,omitempty"`
	// Ordered tells that a person answers for Weight: it was given by a command.
	Ordered bool `json:"ordered,omitempty"`
	// Lowered tells that a person took weight away; the rollout stays at Weight until resumed.
	Lowered bool `json:"lowered,omitempty"`
	// Digests are the image digests that were promoted, sorted; at rest.
	Digests []string `json:"digests,omitempty"`

	Approvals []Approval `json:"approvals,omitempty"` // newest last, at most MaxApprovals
	Base      Base       `json:"base,omitzero"`       // zero: nobody noted it
	// Unverified says which checks of a rollback failed; empty: none did. At rest.
	Unverified string `json:"unverified,omitempty"`

	// Own to the copy on each VirtualService:

	// At is when this copy was written. Bake counts from the latest At.
	At time.Time `json:"at"`
	// Marks are the routes we edited in this VirtualService, for the inverse edit.
	Marks []string `json:"marks,omitempty"`
}

// Leg is a stretch of a rollout at one step and weight, or one share of copies.
type Leg struct {
	Step, Weight int
	Mirror       int // share of requests of which the canary was sent a copy, percent; then Weight is 0
	// From is when the last VirtualService was given the order, To when another
	// was given. From is before To. Whole milliseconds, UTC.
	From, To time.Time
}

// SettingsOf are the settings by which a rollout is judged: all of them stand in
// its state, so that anybody who can read it can judge it again.
func SettingsOf(s State) judge.Settings {
	rules := s.Spec.Rules
	if rules.Mode == "" { // of a Serin that knew nothing else
		rules = judge.DefaultRules()
		rules.Mode = judge.ModeThreshold
	}
	return judge.Settings{
		Rules: rules, Limits: s.Spec.Limits, Custom: s.Spec.Custom,
		Steps: len(s.Spec.Steps), Deadline: s.Spec.StepDeadline, Sticky: s.Spec.Sticky != "",
	}
}

// Side is one track's identity.
type Side struct {
	Deployment string `json:"d"`
	Subset     string `json:"s"`
	Template   string `json:"t"` // hash of the pod template
	// Pods is the pod-template-hash of its pods; only stable's, in place.
	Pods string `json:"p,omitempty"`
}

// Phase is where a rollout is in its life.
type Phase string

// The phases. Blocked is only shown, never stored: a rollout keeps its phase
// while something has to be mended.
const (
	Idle         Phase = "Idle"         // no release under way or remembered; only shown
	Waiting      Phase = "Waiting"      // for pods and preflight; only shown
	Testing      Phase = "Testing"      // 0%, header route only
	Progressing  Phase = "Progressing"  // step i, weight w
	Paused       Phase = "Paused"       // a person or a changed stable holds it
	Inconclusive Phase = "Inconclusive" // a deadline passed without a verdict
	Promoting    Phase = "Promoting"    // in place: the Deployment is updated while it has no users
	Finishing    Phase = "Finishing"    // in place: users are on the updated Deployment, the canary goes
	Succeeded    Phase = "Succeeded"
	RollingBack  Phase = "RollingBack"
	RolledBack   Phase = "RolledBack"
	Blocked      Phase = "Blocked"
	Watched      Phase = "Observing" // people move the weights, Serin only judges; never on an object
)

// Active tells whether a rollout is under way: from its first write to its last.
func (p Phase) Active() bool {
	switch p {
	case Testing, Progressing, Paused, Inconclusive, Promoting, Finishing, RollingBack:
		return true
	}
	return false
}

// Drains tells that the canary has no users any more, and is watched until it
// gets no request.
func (p Phase) Drains() bool { return p == RollingBack || p == Finishing }

// Newer orders copies of a state found on several VirtualServices: of one
// rollout a copy that rolls back wins, then the higher sequence; of two
// rollouts the one that began later.
func Newer(a, b State) bool {
	if a.Rollout != b.Rollout {
		return a.Started.After(b.Started)
	}
	if ra, rb := a.retreats(), b.retreats(); ra != rb {
		return ra
	}
	return a.Sequence > b.Sequence
}

func (s State) retreats() bool { return s.Phase == RollingBack || s.Phase == RolledBack }
