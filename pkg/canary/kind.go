package canary

import "slices"

// Kind is what a message is about, in the words in which people choose what they
// are told.
type Kind string

// The kinds, in the order of a rollout's life.
const (
	KindStarted     Kind = "started"
	KindTesting     Kind = "testing" // testers can look
	KindStep        Kind = "step"
	KindPaused      Kind = "paused" // by a person
	KindHeld        Kind = "held"   // blocked, without a verdict or without data: somebody may have to act
	KindRollingBack Kind = "rolling-back"
	KindRolledBack  Kind = "rolled-back"
	KindPromoted    Kind = "promoted"
	KindOptedOut    Kind = "opted-out"
	KindAttention   Kind = "attention" // somebody should know, nothing is held
)

// quiet are reasons of which no message is sent, unless they come as a warning.
const quiet Kind = ""

// Kinds are all kinds, in the order of a rollout's life.
func Kinds() []Kind {
	return []Kind{KindStarted, KindTesting, KindStep, KindPaused, KindHeld, KindRollingBack, KindRolledBack, KindPromoted, KindOptedOut, KindAttention}
}

// kinds has every reason, with the kind of message it makes. What preflight finds is
// in findings.
var kinds = map[Reason]Kind{
	ReleaseStarted: KindStarted, TestingReady: KindTesting, CarriesTraffic: KindAttention,
	WaitingForPods: quiet, AlreadyTried: quiet, OlderThanStable: quiet, NothingToRelease: quiet,
	Watching: quiet, Preparing: quiet, NotACanary: quiet, LetGo: quiet, Restored: quiet,

	StepStarted: KindStep, StepPassed: KindStep, ProceedOnTime: KindStep, Updating: KindStep, Resumed: KindStep,
	Promoted: KindPromoted, SpecChanged: quiet, ScalingCanary: quiet, Finished: quiet, Clearing: quiet,

	ImageUnnamed: KindHeld, ImagesDiffer: KindHeld, SameVersion: quiet, Approved: quiet,
	AwaitingApproval: KindHeld, AwaitingGate: quiet, GateUnreached: KindHeld, SmokeChecking: quiet, AlertActive: KindHeld,
	AlertsUnknown: KindHeld, CapacityShort: KindAttention, StableShrunk: KindAttention, Verifying: quiet,
	GateDenied: KindRollingBack, SmokeFailed: KindRollingBack, AlertBegan: KindRollingBack,
	CanaryRestarting: KindRollingBack, CanaryOutOfMemory: KindRollingBack,
	ResidualTraffic: KindAttention, TrafficGone: KindAttention, ScaledTooSoon: KindAttention,

	PausedByCommand: KindPaused, PausedByPerson: KindPaused,
	Baking: quiet, NotEnoughRequests: quiet,
	NoData: KindHeld, LimitExceeded: KindHeld, ClientErrors: KindHeld, SharedIncident: KindHeld, Drifting: KindHeld,
	StableOverLimit: KindHeld, StableUnavailable: KindHeld, StableChanged: KindHeld, DeadlinePassed: KindHeld,
	InvalidAnnotation: KindHeld, StateOfNewer: KindHeld, StateLost: KindHeld, RoutesPending: KindHeld,
	Unresolved: KindAttention, RaiseUndone: KindAttention, CommandIgnored: KindAttention, ResumedByPerson: KindAttention,

	ErrorRateTooHigh: KindRollingBack, ErrorRatioTooHigh: KindRollingBack, LatencyTooHigh: KindRollingBack,
	LatencyRatioTooHigh: KindRollingBack, MetricOutOfBounds: KindRollingBack, CanaryStarved: KindRollingBack,
	CanaryCrashing: KindRollingBack, CanaryUnavailable: KindRollingBack, AbortedByCommand: KindRollingBack,
	TemplateChanged: KindRollingBack, DeploymentDeleted: KindRollingBack, RevertedByGitOps: KindRollingBack,
	RolledBackOnTime: KindRollingBack, RolledBackByPerson: KindRollingBack,
	OptedOut: KindOptedOut, RollbackVerified: KindRolledBack, RollbackUnverified: KindRolledBack,

	ReturnedHome: quiet, GitOpsReapplied: KindAttention, GitOpsLeft: KindAttention, MovedByPerson: KindAttention,
}

// findings are what preflight finds: they hold a release, or go with its start.
var findings = []Reason{
	ServiceMissing, ServiceAmbiguous, VirtualServiceMissing, RuleMissing, RuleHidden, SubsetMissing, SubsetAmbiguous,
	NoSubset, LoneDestination, HandMadeSplit, WeightsTooCoarse, TCPRoute, AmbientNamespace, VirtualServiceConflict,
	RouteClaimed, ForeignVirtualService, UnmanagedClients, StableMissing, HeaderAdopted, HeaderUnreachable, MirrorTaken, StickyImpossible, InPlaceOff,
	GuardMissing, GuardUnneeded, NameTaken, OtherDeployment, HeadlessService, RulePrivate, ClientsOutsideMesh,
	AutoscalerCounts, BudgetCounts, QuotaTooSmall, StreamPorts, PauseSet, AutoscalerShrinks,
}

// unmoved are reasons that say nothing of where a rollout goes, whatever its phase.
var unmoved = []Reason{StableUnavailable, CommandIgnored, RoutesPending}

// KindOf is the kind of message that an Event makes, told when the rollout was as
// shown; empty when it makes none. One reason may mean several things: an incident
// of both versions holds a release, and ends it when it lasts.
func KindOf(v View, e Event) Kind {
	kind, own := kinds[e.Reason], e.Reason == v.Reason
	if slices.Contains(findings, e.Reason) {
		kind = KindHeld
	}
	switch {
	case own && !slices.Contains(unmoved, e.Reason) && kind != KindOptedOut && v.Phase == RollingBack:
		kind = KindRollingBack
	case own && v.Phase == RolledBack && (kind == KindRollingBack || e.Reason == ResumedByPerson):
		kind = KindRolledBack
	case own && v.Phase == Succeeded && e.Reason == ResumedByPerson:
		kind = KindPromoted
	case v.Phase == Watched && kind == KindRollingBack:
		kind = KindHeld // people set the weights: it would have been rolled back
	case e.Reason == GateDenied && own && v.Phase == Blocked:
		kind = KindHeld
	case kind == KindRollingBack && v.Phase != RollingBack, kind == KindHeld && !own && v.Phase != Blocked:
		kind = quiet
	case kind == KindStarted && e.Sentence != v.Sentence:
		kind = quiet // what else there is to know of the start is told by Events
	}
	if kind == quiet && e.Warning {
		return KindAttention
	}
	return kind
}
