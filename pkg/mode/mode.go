// Package mode says what every mode of release has in common: it observes
// objects and renders a plan as writes. The modes differ in where the tracks
// come from and who scales them, nowhere else.
package mode

import (
	"slices"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// Write is one request to the API server that brings what is nearer to what
// shall be.
type Write struct {
	Verb            Verb
	Key             canary.ObjectKey
	ResourceVersion string // of the object that was read; the server refuses the write if it is older
	Body            []byte // the whole object as JSON
	// Urgent writes take traffic away from the canary. They go out at once,
	// all of them; of the others only the first, then everything is read again.
	Urgent bool
	Why    canary.Reason
}

// Room is one mode of release: how it reads what is around a Service, and how it
// writes what is ordered.
type Room struct {
	// Observe reads tracks, traffic and findings off the objects; the state is what
	// FindState found.
	Observe func(o topology.Objects, s canary.State) Observed
	// CheckSpec finds the routes that can't carry the steps or the header.
	CheckSpec func(o topology.Objects, t canary.Tracks, s canary.Spec) []canary.Finding
	// Render gives the writes that bring what is to what p orders, in the order in
	// which they have to be done; now is noted on what is written. With an error
	// only those are given that take users off the canary.
	Render func(p canary.Plan, o topology.Objects, now time.Time) ([]Write, error)
}

// Verb is what a Write does.
type Verb string

// The verbs.
const (
	Update Verb = "update" // PUT; Body is the whole object
	Create Verb = "create" // POST; Body is the whole object, ResourceVersion is empty
	Patch  Verb = "patch"  // JSON patch (RFC 6902); Body tests the resourceVersion first
	Delete Verb = "delete" // in the background; refused if the object is no longer the one that was read
)

// FieldManager is the name under which Serin writes; requests carry it as the
// fieldManager parameter, so that managedFields tell its writes from others'.
const FieldManager = "serin"

// InPlace tells whether a release of the Service is, or would be, one of a single
// Deployment: as the state says while one is under way, else as the annotation
// serin.dev/mode says, else when no other Deployment of the user's is behind the
// Service. One that is only observed is never updated in place. As long as
// something of such a release is left it is one; where nobody asks for releases, it
// is as the last one was.
func InPlace(o topology.Objects, state canary.State) bool {
	if state.Phase.Active() {
		return state.InPlace
	}
	candidates := topology.Candidates(o)
	if len(candidates) == 0 {
		held := slices.ContainsFunc(topology.UsersOwn(o), func(d topology.Deployment) bool { return d.Held })
		return state.InPlace || held || topology.HasOurs(o)
	}
	switch {
	case topology.HasOurs(o):
		return true // what is left of one goes before anything else
	case topology.Observed(candidates[0]):
		return false // a release in place is led or is none
	}
	switch topology.ModeOf(candidates[0]) {
	case canary.ModePair:
		return false
	case canary.ModeInPlace:
		return true
	}
	return len(topology.UsersOwn(o)) == 1
}
