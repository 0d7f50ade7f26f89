package canary

// Reason names why something was decided or found: one word for machines, the
// same in Events, metrics, logs and messages.
type Reason string

// The reasons, in the order of a rollout's life.
const (
	// Starting, or not.
	ReleaseStarted   Reason = "ReleaseStarted"
	WaitingForPods   Reason = "WaitingForPods"
	AlreadyTried     Reason = "AlreadyTried"
	OlderThanStable  Reason = "OlderThanStable"
	CarriesTraffic   Reason = "CarriesTraffic"
	NothingToRelease Reason = "NothingToRelease"
	TestingReady     Reason = "TestingReady"
	Watching         Reason = "Observing"
	Preparing        Reason = "Preparing"  // in place: subsets are made before any route names them
	NotACanary       Reason = "NotACanary" // an update that Kubernetes does plainly
	LetGo            Reason = "LetGo"      // the guard's pause was taken off, nothing is to be released
	Restored         Reason = "TemplateRestored"
	ImageUnnamed     Reason = "ImageWithoutName" // no tag that stays, and no digest
	ImagesDiffer     Reason = "ImagesDiffer"     // pods of one template run different ones
	SameVersion      Reason = "SameVersion"

	// Moving.
	StepStarted   Reason = "StepStarted"
	StepPassed    Reason = "StepPassed"
	Promoted      Reason = "Promoted"
	SpecChanged   Reason = "SpecChanged"
	ProceedOnTime Reason = "ProceedOnTime"
	ScalingCanary Reason = "ScalingCanary" // in place: pods come before the traffic
	Updating      Reason = "UpdatingDeployment"
	Finished      Reason = "TrafficReturned" // in place: users are on the updated Deployment
	Clearing      Reason = "Clearing"        // in place: what was added goes
	Approved      Reason = "Approved"

	// Holding.
	Baking            Reason = "Baking"
	NotEnoughRequests Reason = "NotEnoughRequests"
	NoData            Reason = "NoData"
	LimitExceeded     Reason = "LimitExceeded"
	Unresolved        Reason = "HistogramCannotResolve"
	ClientErrors      Reason = "ClientErrorsWorseThanStable"
	SharedIncident    Reason = "SharedIncident"
	Drifting          Reason = "DriftingToLimit"
	StableOverLimit   Reason = "StableOverLimit"
	StableUnavailable Reason = "StableUnavailable"
	StableChanged     Reason = "StableChanged"
	PausedByCommand   Reason = "PausedByCommand"
	PausedByPerson    Reason = "PausedByPerson"
	RaiseUndone       Reason = "RaiseUndone"
	Resumed           Reason = "Resumed"
	DeadlinePassed    Reason = "DeadlinePassed"
	InvalidAnnotation Reason = "InvalidAnnotation"
	StateOfNewer      Reason = "StateOfNewerVersion"
	StateLost         Reason = "StateLost"
	CommandIgnored    Reason = "CommandIgnored"
	RoutesPending     Reason = "RoutesPending"
	ResumedByPerson   Reason = "ResumedByPerson" // the Deployment, in mid-release
	AwaitingApproval  Reason = "AwaitingApproval"
	AwaitingGate      Reason = "AwaitingGate"
	GateUnreached     Reason = "GateUnreachable"
	SmokeChecking     Reason = "SmokeChecking"
	AlertActive       Reason = "AlertActive"
	AlertsUnknown     Reason = "AlertsUnknown"
	CapacityShort     Reason = "CapacityShort"
	StableShrunk      Reason = "StableShrunk"

	// Going back.
	ErrorRateTooHigh    Reason = "ErrorRateTooHigh"
	ErrorRatioTooHigh   Reason = "ErrorRateWorseThanStable"
	LatencyTooHigh      Reason = "LatencyTooHigh"
	LatencyRatioTooHigh Reason = "LatencyWorseThanStable"
	MetricOutOfBounds   Reason = "MetricOutOfBounds"
	CanaryStarved       Reason = "CanaryStarved"
	CanaryCrashing      Reason = "CanaryCrashing"
	CanaryUnavailable   Reason = "CanaryUnavailable"
	AbortedByCommand    Reason = "AbortedByCommand"
	TemplateChanged     Reason = "TemplateChanged"
	OptedOut            Reason = "OptedOut"
	DeploymentDeleted   Reason = "DeploymentDeleted"
	RevertedByGitOps    Reason = "RevertedByGitOps"
	RolledBackOnTime    Reason = "InconclusiveRolledBack"
	RolledBackByPerson  Reason = "RolledBackByCommand"
	GateDenied          Reason = "GateDenied"
	SmokeFailed         Reason = "SmokeFailed"
	AlertBegan          Reason = "AlertBegan"
	CanaryRestarting    Reason = "CanaryRestarting"
	CanaryOutOfMemory   Reason = "CanaryOutOfMemory"
	Verifying           Reason = "Verifying"
	RollbackVerified    Reason = "RollbackVerified"
	RollbackUnverified  Reason = "RollbackUnverified"

	// At rest.
	ReturnedHome    Reason = "ReturnedHome"
	GitOpsReapplied Reason = "GitOpsRevertReapplied"
	GitOpsLeft      Reason = "GitOpsRevertLeft"
	MovedByPerson   Reason = "MovedByPerson"
	ResidualTraffic Reason = "ResidualTraffic"
	TrafficGone     Reason = "TrafficGone"
	ScaledTooSoon   Reason = "ScaledTooSoon"

	// What preflight finds.
	ServiceMissing         Reason = "ServiceMissing"
	ServiceAmbiguous       Reason = "ServiceAmbiguous"
	VirtualServiceMissing  Reason = "VirtualServiceMissing"
	RuleMissing            Reason = "DestinationRuleMissing"
	RuleHidden             Reason = "DestinationRuleHidden"
	SubsetMissing          Reason = "SubsetMissing"
	SubsetAmbiguous        Reason = "SubsetAmbiguous"
	NoSubset               Reason = "DestinationWithoutSubset"
	LoneDestination        Reason = "CanaryIsLoneDestination"
	HandMadeSplit          Reason = "WeightsSplitByHand"
	WeightsTooCoarse       Reason = "WeightsTooCoarse"
	TCPRoute               Reason = "TCPRouteUnsupported"
	AmbientNamespace       Reason = "AmbientUnsupported"
	VirtualServiceConflict Reason = "VirtualServiceConflict"
	RouteClaimed           Reason = "RouteClaimed"
	ForeignVirtualService  Reason = "ForeignVirtualService"
	UnmanagedClients       Reason = "ClientsBypassRoutes"
	StableMissing          Reason = "StableDeploymentMissing"
	HeaderAdopted          Reason = "HeaderRouteAdopted"
	HeaderUnreachable      Reason = "HeaderCannotReachCanary"
	MirrorTaken            Reason = "RouteMirrorsAlready"
	StickyImpossible       Reason = "UsersCannotBeKept"
	InPlaceOff             Reason = "InPlaceSwitchedOff"
	GuardMissing           Reason = "GuardMissing"
	GuardUnneeded          Reason = "GuardUnneeded" // pair mode, and nobody told the guard
	NameTaken              Reason = "NameTaken"
	OtherDeployment        Reason = "OtherDeploymentBehindService"
	HeadlessService        Reason = "HeadlessService"
	RulePrivate            Reason = "DestinationRulePrivate"
	ClientsOutsideMesh     Reason = "ClientsOutsideMesh"
	AutoscalerCounts       Reason = "AutoscalerCountsCanary"
	BudgetCounts           Reason = "DisruptionBudgetCountsCanary"
	QuotaTooSmall          Reason = "QuotaTooSmall"
	StreamPorts            Reason = "PortsWithoutWeights" // in place: connections, not requests
	PauseSet               Reason = "ManifestSetsPaused"  // somebody's apply would undo the guard
	AutoscalerShrinks      Reason = "AutoscalerShrinksStable"
)
