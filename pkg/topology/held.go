package topology

// HeldKey is the annotation by which the guard marks a Deployment that it has
// paused, because its template shall be released in place. What it says is for
// people, and is one of the values below. The guard knows them too: they stand in
// deploy/in-place.
const (
	HeldKey = "serin.dev/held"
	// HeldValue is what the guard writes.
	HeldValue = "Serin releases this template; kubectl rollout resume updates it at once, without a canary"
	// PausedValue stands at rest where the guard is a standing pause, so that it can
	// be told from a person's.
	PausedValue = "Serin keeps this Deployment paused, so that a change of its template waits to be released"
	// PromotingValue stands while Serin lets Kubernetes update the Deployment: its
	// template is refused to change then.
	PromotingValue = "Serin promotes this template; it can be changed again when that is done"
)
