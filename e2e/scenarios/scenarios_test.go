package scenarios

import "testing"

// scenario is one story. Its name says what happens, and is told by `go test`.
type scenario struct {
	name      string
	namespace string
	play      func(*testing.T, string)
	kind      kind
}

// kind says when a scenario is played.
type kind int

const (
	core    kind = iota // always: no change may break it
	further             // unless only the core is asked for
	alone               // likewise, when the others are over: it disturbs what they share
)

var scenarios = []scenario{
	// Releases.
	{"a good version goes all the way", "promotion", promotion, core},
	// What the judge sees.
	{"a version that fails always goes back", "all-errors", allErrors, core},
	{"a version with 20% errors goes back", "errors-20", someErrors, further},
	{"a version with 5% errors goes back", "errors-5", errorsOfFivePercent, core},
	{"a version with 2% errors goes back", "errors-2", errorsOfTwoPercent, further},
	{"a version with 20% errors goes back by thresholds", "threshold", errorsByThreshold, core},
	{"a version that is slow goes back", "slow", slow, core},
	{"a version slower than a multiple of stable goes back", "slower", slowerThanStable, further},
	{"a version that fails after half a minute goes back", "late-errors", lateErrors, further},
	{"a version that fails at 100% goes back at once", "dead", deadAtOnce, further},
	{"a version slower than the route's timeout goes back", "timeout", beyondTheTimeout, core},
	{"a version that finds nothing is held", "not-found", notFound, further},
	{"an incident of both versions holds the release until it is over", "incident", sharedIncident, core},
	{"an incident that lasts ends the release as configured", "long-incident", sharedIncidentTooLong, further},
	{"half a request per second is judged on time", "little-traffic", littleTraffic, further},
	{"a metric of the operator's takes a version back", "custom", customMetric, core},
	{"limits that stable breaks are told before the release", "stable-over", stableOverLimit, further},
	{"a release that people lead is only judged", "observe", observed, further},
	// What its pods do.
	{"a version that crashes again and again goes back", "crashing", crashing, further},
	{"a version that crashes at 0% never gets a user", "crashing-at-zero", crashingAtZero, further},
	{"a version that hangs goes back", "hanging", hanging, further},
	{"a version that hangs behind a gateway goes back", "hanging-behind", hangingBehindGateway, further},
	// What makes a release safe besides its metrics.
	{"a rollback is verified by endpoints, smoke checks, series and a gate", "verified", verifiedRollback, core},
	{"a rollback that can't be verified says which check failed", "unverified", unverifiedRollback, further},
	{"a version that its smoke checks refuse never gets a user", "smoke", smokeRefuses, core},
	{"a person approves before the first user and before everybody", "approval", approvals, further},
	{"gates hold, deny, and are asked before a rollback is ordered", "gates", gates, core},
	{"a release waits for Harbor, and for the end of its scan", "harbor-scan", harborScans, further},
	{"a critical vulnerability in what runs keeps a release from starting, until there is none", "harbor-denies", harborDenies, further},
	{"a person decides about vulnerabilities between two limits", "harbor-approval", harborLeavesItToPeople, further},
	{"nothing is released outside of the hours for it", "hours", releaseHours, further},
	{"an alert that begins after the release ends it", "alerts", alertEnds, further},
	{"the weight goes as far as the pods carry it", "capacity", capacity, further},
	{"a version that restarts again and again goes back", "restarts", restarting, further},
	{"an image without a name that stays is not released", "unnamed", unnamedImage, further},
	{"a tag that moves between the starts of pods keeps their version from every raise", "moved-tag", movedTag, core},
	{"a tag that moves between two steps in place holds the release", "moved-tag-in-place", movedTagInPlace, further},
	{"what already runs is no release, and another setting is", "same", sameVersion, further},
	{"an autoscaler that would shrink stable is told", "shrinks", stableShrinks, further},
	{"what still reaches a version after a rollback is told", "residual", residualTraffic, further},
	{"the old version is called removable when nobody reaches it", "removable", removable, further},
	// Testers.
	{"testers reach the canary at 0% and nobody else does", "qa-at-zero", testersAtZero, core},
	{"testers reach the canary at 25% always", "qa-at-25", testersAtTwentyFive, further},
	{"a cookie leads testers to the canary", "cookie", cookie, further},
	{"a header route of the user's own is adopted", "adopted", adopted, further},
	// Copies, and users who stay.
	{"a version that fails its copies goes back before any user meets it", "shadow-fails", shadowFails, core},
	{"a version that is sent copies first goes all the way", "shadow", shadowPasses, further},
	{"a route that mirrors already keeps a release with copies from starting", "shadow-taken", shadowTaken, further},
	{"users stay on their version over a raise, and come back", "sticky", sticky, core},
	{"users of one Deployment stay on their version, and nothing is left", "sticky-in-place", stickyInPlace, further},
	// People.
	{"dashboards and alerts have their data", "monitoring", monitored, further},
	{"commands pause, resume, promote and abort", "commands", commands, core},
	{"kubectl canary shows, orders and waits", "cli", commandLine, further},
	{"a person lowers the canary, and raises it", "person", person, core},
	{"annotations with mistakes move nothing", "mistakes", mistakes, core},
	{"opting out in mid-release takes everything back", "opt-out", optOut, core},
	{"the user's server-side apply works after the last write", "apply", applyAfterwards, core},
	// Going back.
	{"a promotion in place is taken back by digest", "back-digest", goesBackByDigest, core},
	{"a plain update is undone by kubectl, to compare", "back-undo", undoneByKubectl, further},
	{"a promotion is taken back at once while the old pods run", "back-at-once", goesBackAtOnce, further},
	{"a promotion is taken back by digest when the old pods are gone", "back-no-pods", goesBackFromNoPods, further},
	// Routes.
	{"two routes in two VirtualServices move together", "two-routes", twoVirtualServices, core},
	// Pipelines.
	{"a pipeline deploys, waits, looks, and takes back", "ci", pipelines, further},
	{"pipelines deploy charts and pairs", "ci-others", pipelinesOfOthers, further},
	// GitOps.
	{"Argo CD and Flux leave the routes of a pair alone by the examples", "gitops-pair", gitOpsPair, further},
	{"Argo CD applies, forces and replaces through a release in place", "gitops-every-way", gitOpsEveryWay, further},
	{"a GitOps tool that writes the old weights back is answered", "gitops", gitOps, core},
	{"a GitOps tool that does not stop ends the release", "gitops-stubborn", gitOpsStubborn, further},
	{"a GitOps tool can undo a promotion only twice", "gitops-at-rest", gitOpsAtRest, further},
	// Rights.
	{"with rights in one namespace alone a version goes all the way", "narrow", narrow, further},
	// What happens to the Deployments.
	{"the canary's Deployment is deleted in mid-release", "deleted", deleted, further},
	{"stable is scaled to zero in mid-release", "stable-gone", stableGone, further},
	{"another template in mid-release begins anew", "template", templateChanged, further},
	{"traffic returns home when home runs what was promoted", "home", home, further},
	{"two Deployments take turns", "turns", takingTurns, further},
	// One Deployment, released in place.
	{"one Deployment without any route goes all the way", "in-place-bare", inPlaceBare, core},
	{"one Deployment behind a gateway goes all the way, and back", "in-place-gateway", inPlaceGateway, core},
	{"one Deployment behind routes of gateway and mesh", "in-place-both", inPlaceBoth, further},
	{"one Deployment with its own rule and subset", "in-place-rule", inPlaceRule, further},
	{"kubectl rollout status waits for the promotion", "rollout-status", rolloutStatus, core},
	{"kubectl scale in mid-release is followed", "in-place-scale", scaledInPlace, further},
	{"kubectl rollout restart and undo at rest are releases", "restart-undo", restartAndUndo, further},
	{"kubectl rollout undo in mid-release is refused, and people are told the way", "undo-paused", undoWhilePaused, core},
	{"kubectl rollout resume in mid-release updates at once", "in-place-resume", resumedByHand, further},
	{"kubectl set image in mid-release begins anew", "set-image-again", setImageAgain, further},
	{"kubectl apply in mid-release, of the same and of another", "in-place-apply", appliedInPlace, further},
	{"helm upgrade comes back, and kubectl rollout status waits", "helm", helmInPlace, further},
	{"a GitOps tool applies every 2 s through releases", "in-place-gitops", gitOpsInPlace, core},
	{"an autoscaler scales in mid-release", "autoscaler", autoscaledInPlace, further},
	{"opting out in mid-release gives the plain update", "in-place-opt-out", optOutInPlace, further},
	// Faults.
	{"the controller is killed at each step", "killed", killedAtEachStep, core},
	{"the controller is killed as it goes back", "killed-going-back", killedGoingBack, further},
	{"a restart in mid-step changes no verdict", "replay", replayed, core},
	{"Prometheus is away for a while", "prometheus-away", prometheusAway, alone},
	{"Prometheus hangs for a while", "prometheus-hangs", prometheusHangs, alone},
	{"metrics grow old", "stale", staleMetrics, alone},
	{"there are no metrics yet", "no-metrics", noMetrics, alone},
	{"istiod is away for a while", "istiod-away", istiodAway, alone},
}

func TestScenarios(t *testing.T) {
	t.Run("together", func(t *testing.T) {
		for _, s := range scenarios {
			if s.kind == core || s.kind == further && !*coreOnly {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					s.play(t, s.namespace)
				})
			}
		}
	})
	for _, s := range scenarios {
		if s.kind == alone && !*coreOnly {
			t.Run(s.name, func(t *testing.T) { s.play(t, s.namespace) })
		}
	}
	t.Run("the controller kept to its rights", keptToItsRights)
}
