package canary

import "time"

// Plan is what Decide orders: absolute, complete, and free of side effects.
type Plan struct {
	Next State
	// Traffic is what every VirtualService of the Service shall carry; nil
	// leaves the routes, and the states on them, as they are.
	Traffic *Traffic
	// Steady tells that a VirtualService that would give the canary more users is left
	// as it is: nobody could judge it, or it goes back.
	Steady bool
	// Place orders what a release in place adds to the cluster and what becomes of
	// the user's Deployment; nil leaves both as they are. Pair mode has none.
	Place *Place
	// Last tells that this is the last write of a release: our entry in
	// managedFields goes, so that the user's own apply works again.
	Last bool
	// Clean takes all our marks and the state off (opting out).
	Clean bool
	// Ask is all that is to be found out now, each question once. What is not in it any
	// longer is not asked any longer.
	Ask    []Question
	Record *Release // to be kept in the history before Traffic's last write
	Tell   []Event
	// Recheck is when to look again at the latest; zero: only when something changes.
	Recheck time.Duration
	View    View
}

// Traffic is the routing a Service shall have. One for all its VirtualServices.
type Traffic struct {
	Stable, Canary string  // subsets
	Weight         int     // the canary's share in percent, 0..100
	Header         *Header // QA's route to the canary; nil: none
	// Mirror is the share of requests, in percent, of which the canary is sent a copy;
	// 0: none.
	Mirror int
	Sticky *Sticky // keeps users on the version they met first; nil: nothing does
	// Pin takes every destination that is the Service, whatever subset it names,
	// for one of Stable's, and remembers what it was (in place).
	Pin bool
}

// Sticky is what the cookies say by which users stay on a version. A cookie that says
// anything else counts for nothing.
type Sticky struct {
	Cookie string // its name
	Canary string // its value for users of the canary, the same all through the release
	Stable string // its value for users of stable, another at each step
	MaxAge time.Duration
}

// Place is what stands beside a Deployment that is updated in place, absolutely.
type Place struct {
	Subsets    *Subsets   // that tell the versions apart; nil: there shall be none
	Pods       *Pods      // the canary's; nil: there shall be none
	Deployment Deployment // what becomes of the user's
}

// Subsets are the two subsets of a DestinationRule of our own.
type Subsets struct {
	Stable, Canary string // names
	// Pods is the pod-template-hash of stable's; empty: all pods of the Service.
	Pods string
}

// Pods bounds how many pods the canary has: each bound is the share of the
// traffic, in percent, that they must be able to carry. Between the two they are
// left as they are, so that pods made for the next step are not taken away by a
// hold.
type Pods struct {
	Least, Most int
	Template    string // hash of the pod template they are of; empty: of whichever they are
}

// Deployment is what becomes of the user's Deployment.
type Deployment string

// The orders.
const (
	KeepAsIs Deployment = ""        // not written
	Resume   Deployment = "resume"  // the guard's pause is taken off: Kubernetes updates it
	Restore  Deployment = "restore" // the template that runs is put back, then Resume
	Pause    Deployment = "pause"   // paused at rest, where the guard is a standing pause
)

// Event is one thing to tell people, everywhere in the same words.
type Event struct {
	Reason   Reason
	Sentence string
	Warning  bool
}
