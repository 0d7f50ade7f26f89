package canary

import (
	"time"

	"serin.dev/serin/pkg/judge"
)

// ObjectKey names an object of the cluster.
type ObjectKey struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String is the key as people write it: VirtualService shop/web.
func (k ObjectKey) String() string {
	if k.Namespace == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.Namespace + "/" + k.Name
}

// Observation is everything Decide may know. Everything in it was read;
// nothing in it was decided.
type Observation struct {
	// OptedIn tells that an annotated Deployment asks for canary releases of
	// this Service. False with an active State: opted out, or deleted.
	OptedIn bool
	// Observe tells that the Deployment asks to be judged only: nothing is written.
	Observe bool
	// Gone tells that the rollout's canary Deployment no longer exists.
	Gone bool

	Tracks Tracks
	// InPlace tells that a release would be, or is, one of a single Deployment.
	InPlace bool
	Place   Standing
	Traffic map[ObjectKey]Seen // per VirtualService that routes to the Service
	Verdict judge.Verdict      // zero when nothing was asked yet
	// Baseline is what stable did before the release; not Known until Prometheus answered.
	Baseline judge.Baseline
	// Unanswered says why Prometheus does not answer; empty when it does, or was not asked.
	Unanswered string
	// Unseen tells that Prometheus has no fresh sample of stable's requests, though it
	// had some; known before the first step only.
	Unseen bool
	// Replaying tells that what was seen of the rollout is still being read from
	// Prometheus again, as after a restart: no verdict is of now, but soon will be.
	Replaying bool

	Findings []Finding
	// Invalid lists what is wrong in the annotations; empty when Spec is valid.
	// With any, nothing is moved and a running rollout is judged by State.Spec.
	Invalid []string
	Command *Command
	Answers map[Question]Answer // to what was asked; a question without an answer is not in it
	// Askable are the kinds of questions that somebody answers here; gates and smoke
	// checks always are asked.
	Askable map[QuestionKind]bool
	History []Release // of this Service, newest first
	// Begun are releases that are recorded as begun and not as ended, newest first.
	Begun []Release

	// Newer tells that a state was found which a newer version of Serin wrote.
	Newer bool
	// Lost tells that no VirtualService carries a readable state though the
	// weights are split by something that was ours or a hand.
	Lost bool
	// Unreadable says of a state that can't be read on which object, in which field,
	// and why; empty when Lost is for another reason.
	Unreadable string
	// Width is the width of blocks to use for a new rollout: the scrape
	// interval as it was found out. Zero while it is not known.
	Width time.Duration
}

// Tracks are the two versions of the Service.
type Tracks struct {
	Canary, Stable Track
	// Older tells that the canary's ReplicaSet is older than stable's.
	Older bool
	// Both tells that both Deployments are annotated and take turns.
	Both bool
}

// Standing is what stands in the cluster of a release in place, at rest too. It
// is zero in pair mode.
type Standing struct {
	// Held tells that the guard has paused the Deployment: its pods are of the
	// template that Tracks.Stable names, whatever the Deployment asks for. In
	// pair mode too it may be held, by a guard that knows no better.
	Held bool
	// Mixed tells that pods of several templates run: an update is under way, or
	// was paused half-way.
	Mixed bool
	// Updated tells that the Deployment's update to the template it asks for is
	// complete, with all pods ready and no other left.
	Updated bool

	Subsets   Subsets   // as our DestinationRule has them; zero without one
	SubsetsAt time.Time // when they were written so; zero without

	// Written is when routes of the Service were last written by us, or since when
	// that would be known.
	Written time.Time
	// Always tells that the guard is a standing pause: the Deployment is paused at
	// rest too, and any pause counts as Held.
	Always bool

	Canary     bool // the canary Deployment exists
	CanaryPods int  // its pods, with those that are going
	// Left tells that something of ours exists: canary, DestinationRule or VirtualService.
	Left bool
	// Carried tells that some VirtualService carries our state, or is ours.
	Carried bool
}

// Track is one version as it runs.
type Track struct {
	Deployment string `json:"deployment"`
	Subset     string `json:"subset,omitempty"`
	// Template is the hash of the pod template: of the canary's the one that is
	// asked for, of stable's in place the one that runs.
	Template string    `json:"template,omitempty"`
	Pods     string    `json:"pods,omitempty"`     // pod-template-hash of its pods; only in place, and of stable
	Began    time.Time `json:"began,omitzero"`     // when its ReplicaSet was made; zero when unknown
	Complete bool      `json:"complete"`           // the Deployment's rollout is complete, with at least one replica
	Wanted   int       `json:"wanted"`             // replicas
	Ready    int       `json:"ready"`              // Ready pods
	Since    time.Time `json:"since,omitzero"`     // when the last of them became ready, to the second; zero when unknown
	Restarts int       `json:"restarts,omitempty"` // container restarts of the pods of this template
	Crashing bool      `json:"crashing,omitempty"` // a container waits in CrashLoopBackOff, or pods fail again and again
	Problem  string    `json:"problem,omitempty"`  // what keeps pods from starting (image pull, quota, unschedulable), for people
	Digests  []string  `json:"digests,omitempty"`  // image digests of the running pods, sorted, each once
	// Content is the hash of the pod template without its labels: what two Deployments
	// have in common that run the same.
	Content string `json:"content,omitempty"`
	// Images are the template's, by container; with digests where a Ready pod reports them.
	Images []Image `json:"images,omitempty"`
	// Killed is how many containers of the pods were last ended for want of memory.
	Killed int `json:"killed,omitempty"`
	// Differing is a container whose image has another digest in one Ready pod than in
	// another; empty: none.
	Differing string `json:"differing,omitempty"`
}

func (t Track) side() Side {
	return Side{Deployment: t.Deployment, Subset: t.Subset, Template: t.Template, Pods: t.Pods}
}

// Seen is a VirtualService's traffic as it is written now, and whose writing it is.
type Seen struct {
	Min, Max int  // lowest and highest canary share in percent over the routes that serve stable too
	Header   bool // every such route has our header route (or the user's own) before it
	Split    bool // some route gives both subsets weight
	Idle     bool // no route of it serves users by either subset: its share says nothing
	Adopted  bool // the user's own header route reaches the canary; it is used and never changed

	// Lowered, Raised and HeaderLost compare what is written with what the
	// state orders for this VirtualService.
	Lowered, Raised, HeaderLost bool
	// Mirror is the share of users' requests, in percent, of which the canary is sent
	// a copy: the greatest of all routes; 0: none is. It is no share of Min and Max.
	Mirror int
	// MirrorLost and StickyLost tell that copies, or what keeps users on a version, are
	// not as the state orders for this VirtualService.
	MirrorLost, StickyLost bool
	// Unpinned is the path of a destination by which users reach pods of both
	// versions though Traffic.Pin is ordered, and then Raised holds; empty: none.
	Unpinned string

	// Rollout and Sequence are of the state copy it carries; zero without one.
	Rollout  string
	Sequence int64
	At       time.Time

	// Changed is when the routes were last written by anybody, to the second;
	// zero when unknown.
	Changed time.Time
	// Writer is the field manager that owns the routes now; empty when it is Serin.
	Writer string
	// GitOps tells that Writer is a known GitOps tool. In doubt it is a person.
	GitOps bool
	// Owned tells that our entry in managedFields owns the routes. At rest it
	// must not: it would stand in the way of the user's own server-side apply.
	Owned bool
}

// Finding is something preflight found: what, where, and how to mend it.
type Finding struct {
	Reason   Reason    `json:"reason"`
	Blocking bool      `json:"blocking"`        // no release may start or advance; otherwise a warning
	Object   ObjectKey `json:"object"`          // where
	Field    string    `json:"field,omitempty"` // path in the object, like spec.http[0].route[1]
	Problem  string    `json:"problem"`         // a sentence without trailing period
	Mend     string    `json:"mend,omitempty"`  // what to do, a sentence
	YAML     string    `json:"yaml,omitempty"`  // what to add, where it helps
}

// Resting is the state in which a release in place left the Service: it stands
// on no object.
func (r Release) Resting() State {
	s := State{
		InPlace: true, Rollout: r.Rollout, Phase: r.Outcome, Peak: r.Weight,
		Canary: r.Canary, Stable: r.Stable, Started: r.Started, Since: r.Ended, At: r.Ended,
		Reason: r.Reason, Message: r.Message, Spec: r.Spec, Width: r.Width, Legs: r.Legs, Digests: r.Digests,
		Handled: r.Handled, Approvals: r.Approvals, Unverified: r.Unverified,
	}
	s.Version = s.version()
	return s
}

// Release is one finished rollout, as kept in the Service's history.
type Release struct {
	Rollout  string    `json:"rollout"`
	Canary   Side      `json:"canary"`
	Stable   Side      `json:"stable"`
	Spec     Spec      `json:"spec"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	Outcome  Phase     `json:"outcome"` // Succeeded or RolledBack
	Reason   Reason    `json:"reason"`
	Message  string    `json:"message"`
	Weight   int       `json:"weight"` // the highest share the canary reached, percent
	Digests  []string  `json:"digests,omitempty"`
	InPlace  bool      `json:"inPlace,omitempty"`
	Handled  string    `json:"handled,omitempty"` // id of the last verb acted on
	Requests int64     `json:"requests"`          // the canary's, judged at the last step
	Errors   int64     `json:"errors"`
	// Legs are all stretches with weight, the last one closed, and Width is the
	// grid of their blocks: what a replay needs. Empty and 0 where none had weight.
	Legs  []Leg         `json:"legs,omitempty"`
	Width time.Duration `json:"width,omitempty"`
	// Images are what the canary ran, and StableImages what stable did; with digests
	// where Ready pods reported them.
	Images       []Image `json:"images,omitempty"`
	StableImages []Image `json:"stableImages,omitempty"`
	// Approvals are who said yes to which step; Unverified says which checks of the
	// rollback failed, empty: none.
	Approvals  []Approval `json:"approvals,omitempty"`
	Unverified string     `json:"unverified,omitempty"`
}
