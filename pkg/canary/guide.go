package canary

import (
	"fmt"
	"slices"
	"strings"
)

// Guide says what a reason is about, to people who meet it for the first time.
type Guide struct {
	Meaning   string // what happened or was found
	Meanwhile string // what Serin does until it is mended; empty: it simply goes on
	Mend      string // what a person can do; empty: nothing is to be done
}

// Guide is what there is to know about the reason; empty for a word that is none.
func (r Reason) Guide() Guide {
	for _, c := range chapters {
		for _, p := range c.pages {
			if p.reason == r {
				return p.guide
			}
		}
	}
	return Guide{}
}

// GuideMarkdown is all of it for the documentation: a section for each part of a
// rollout's life, in which each reason has a heading that links can name.
func GuideMarkdown() string {
	var b strings.Builder
	for _, c := range chapters {
		fmt.Fprintf(&b, "## %s\n\n%s\n", c.title, c.intro)
		for _, p := range c.pages {
			fmt.Fprintf(&b, "\n### %s\n\n%s\n", p.reason, p.guide.Meaning)
			if p.guide.Meanwhile != "" {
				fmt.Fprintf(&b, "\n**Meanwhile:** %s\n", p.guide.Meanwhile)
			}
			if p.guide.Mend != "" {
				fmt.Fprintf(&b, "\n**Mend:** %s\n", p.guide.Mend)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// GuideIndex is a list of all reasons with links to their headings, by the alphabet.
func GuideIndex() string {
	var all []string
	for _, c := range chapters {
		for _, p := range c.pages {
			all = append(all, "[`"+string(p.reason)+"`](#"+strings.ToLower(string(p.reason))+")")
		}
	}
	slices.Sort(all)
	return strings.Join(all, " · ") + "\n"
}

// chapter is a part of a rollout's life.
type chapter struct {
	title, intro string
	pages        []page
}

type page struct {
	reason Reason
	guide  Guide
}

// chapters have every reason once; where the text names annotations without their
// prefix, serin.dev/ is meant.
var chapters = []chapter{
	{"Starting, or not", "Why a release begins, or why nothing does.", starting},
	{"Moving", "What a release that goes well says. Nothing is to be mended.", movingOn},
	{"Holding", "The weight stays where it is. A canary that breaks a limit is rolled back all the same.", holding},
	{"Going back", "All routes go to stable at once; only then is it told.", goingBack},
	{"Between releases", "With two Deployments, after a promotion.", between},
	{"What preflight finds", "Found before a release, by `kubectl canary lint NAME` too. The message names the object, the field and the mend, often with the YAML to add. " +
		"What is marked *blocks* keeps a release from starting, and holds one that runs; the others are told and nothing more.", preflightFinds},
}

var starting = []page{
	{ReleaseStarted, Guide{"A release began. Users still have stable; testers reach the canary by the header as soon as its pods are ready.", "", ""}},
	{WaitingForPods, Guide{"The new version's pods are not all ready, or the proxies don't know them yet.",
		"It waits at 0%. After the step's deadline it says so as a warning.",
		"Look why the pods are not ready: `kubectl describe pod`. An image that can't be pulled or a failing readiness probe stand in the sentence too."}},
	{AlreadyTried, Guide{"This very pod template was released before, and was rolled back or is the one that users have.",
		"Nothing is released.",
		"Change the template, or try it again with `kubectl canary retry NAME`."}},
	{OlderThanStable, Guide{"The annotated Deployment is an old version: its ReplicaSet is older than that of the version with the traffic.",
		"It is left alone.",
		"Deploy a new version to it, or release the old one with `kubectl canary retry NAME`."}},
	{CarriesTraffic, Guide{"With two Deployments: the one that is annotated has all the traffic already, so a change of it is a plain rolling update.",
		"Serin releases nothing.",
		"Deploy the next version to the idle Deployment; `kubectl canary target NAME` prints which one that is."}},
	{NothingToRelease, Guide{"All is at rest: no new version is there.", "", ""}},
	{TestingReady, Guide{"The canary's pods are ready, and the first step is 0%: testers reach it by the header, users don't.",
		"It waits for the bake of that step.", ""}},
	{Watching, Guide{"`canary: observe`: the canary has no share of the traffic, so there is nothing to judge.",
		"It looks on and writes nothing.",
		"Give the canary weight by hand, or write `serin.dev/canary: \"true\"` to let Serin do it."}},
	{Preparing, Guide{"In place: subsets are made known to all proxies before any route names them, and routes are pinned before any pod is made.", "It takes some seconds.", ""}},
	{NotACanary, Guide{"In place: Kubernetes updates the Deployment plainly, because nothing held the change back.",
		"Serin looks on.",
		"If the change should have been held: is the guard installed ([GuardMissing](#guardmissing)), and was the Deployment opted in before the change?"}},
	{LetGo, Guide{"In place: the guard held a change, but there is nothing to release, for example because the template that runs was written again.",
		"The pause is taken off.", ""}},
	{Restored, Guide{"In place, with `on-rollback: restore`: the template that runs was put back into the Deployment after a rollback.", "",
		"Put the old version back into Git too, or the next sync writes the new one again."}},
	{ImageUnnamed, Guide{"An image of the new version has no tag, the tag latest, or one that `tags` does not allow: nobody could tell later what ran.",
		"*Blocks.* Nothing is released.",
		"Name the image by a tag that is never moved, or by digest: `image: shop/web:1.4.2@sha256:...`. [Images](images.md)."}},
	{ImagesDiffer, Guide{"Pods of one template run a container with different images, though under one name: the tag was moved between their starts. Or all of them run another image than the release began with, since they were made anew after it was moved: that is not what gates were asked about, and what was judged. Or, in place, Kubernetes updated the Deployment to another image than was judged.",
		"*Blocks.* The weight stays, and no order raises it. It goes on when all pods report the digest again with which the release began. A Deployment that was updated to another image has no users meanwhile: they stay on the canary.",
		"Name the image by digest, or by a tag that is never moved, and deploy again: a release of its own. Where Kubernetes has updated the Deployment already, move the tag back and delete its other pods; the command `promote#id` takes them as they are."}},
	{SameVersion, Guide{"The new Deployment runs the same images, by digest, and the same template as stable: there is nothing to release. Another setting, or a restart, is another template and would be a release.",
		"Nothing is released.",
		"If it shall be released all the same: `kubectl canary retry NAME`."}},
}

var movingOn = []page{
	{StepStarted, Guide{"A step began: the canary got its share.", "", ""}},
	{StepPassed, Guide{"The step has baked, the judge has no objection, and the next one began.", "", ""}},
	{Promoted, Guide{"The canary is the version that users have.", "", ""}},
	{SpecChanged, Guide{"Annotations changed in mid-release: it goes on by the new ones.", "", ""}},
	{ProceedOnTime, Guide{"The step's deadline passed without a verdict, nothing spoke against the canary, and `on-inconclusive: proceed` let it go on.", "",
		"If that is too lenient, write `on-inconclusive: hold` or `rollback`. More traffic or a higher first step gives verdicts ([how long they take](judging.md#how-long-a-verdict-takes-at-your-traffic))."}},
	{ScalingCanary, Guide{"In place: pods are added before the traffic comes.", "It waits until they are ready.",
		"If that lasts: is there room on the nodes and in the quota? `kubectl describe pod`."}},
	{Updating, Guide{"In place: the canary has all users and has proved itself; Kubernetes now updates the Deployment. There is no way back from here but the next release.",
		"Changes of the template are refused until it is done.", ""}},
	{Finished, Guide{"In place: the Deployment runs the new version, and its users return to it.", "", ""}},
	{Clearing, Guide{"In place: what the release added is taken away.", "", ""}},
	{Approved, Guide{"Somebody approved the next step; who it was stands beside it, as the API server knows them.", "", ""}},
}

var holding = []page{
	{Baking, Guide{"The step lasts at least so long, counted in time that is covered by metrics. At 100% in place it may also be that the canary was not seen without requests yet.", "", ""}},
	{NotEnoughRequests, Guide{"Too few requests for a verdict. The sentence says about how many more are needed.",
		"It waits; at the step's deadline `on-inconclusive` decides.",
		"Wait; or give the canary more: a higher first step, or traffic made by a load generator. [How long verdicts take](judging.md#how-long-a-verdict-takes-at-your-traffic)."}},
	{NoData, Guide{"Prometheus doesn't answer, or has no metrics of the two versions. That is neither a pass nor a failure.",
		"The weight stays; at 0% no user comes. Crashing pods and `abort` still end the release.",
		"A version without any request has no metrics either: send it one. `kubectl canary check` says what is missing. Is Prometheus up, does it scrape the proxies (port 15090), and are Istio's labels kept? [Prometheus](prometheus.md#what-is-needed)."}},
	{LimitExceeded, Guide{"The canary is beyond a limit, but not surely enough to say that it is not chance.",
		"It is watched; a little more of the same rolls it back.", "None yet. `kubectl canary status NAME` shows the odds."}},
	{Unresolved, Guide{"The latency limit lies between two borders of Istio's histogram, so that it can only be told roughly.", "It judges as well as the buckets allow.",
		"Choose a limit on a border that the sentence names, or have Istio export finer buckets."}},
	{ClientErrors, Guide{"The canary answers requests with 4xx that stable answers well.",
		"The weight is held; it isn't rolled back for that.",
		"Look at what it refuses: a route that is gone, a stricter check, a lost permission. `kubectl canary abort NAME` ends it, `kubectl canary skip NAME` goes on if that is meant."}},
	{SharedIncident, Guide{"Both versions break a limit, so it is not the canary alone: a database, the network, a caller.",
		"The weight is held for the time in `on-shared-incident` (30m); then a person is asked, or it is rolled back if you wrote so.",
		"Mend the incident. The release goes on by itself when the limits are kept again."}},
	{Drifting, Guide{"The canary keeps its limits, but gets worse and is on its way to break one: a leak, a filling queue.",
		"The weight is held.", "Look at its memory, connections and queues. `kubectl canary abort NAME` if it is no good."}},
	{StableOverLimit, Guide{"Stable itself breaks the limit, so no canary could keep it.",
		"If you wrote the limit, the release stays at 0%. The default limit isn't applied then: the canary is only compared with stable.",
		"Mend stable, or write a limit that it keeps; the sentence says which."}},
	{StableUnavailable, Guide{"Stable has no ready pod: a rollback would have nowhere to go, and would be the outage.",
		"No release begins; one that runs holds, also if the canary is bad.",
		"Get stable's pods ready: `kubectl describe` its Deployment. If the held change *is* the mend, `kubectl rollout resume deployment/NAME` updates it at once, without a canary."}},
	{StableChanged, Guide{"The stable version got another pod template in mid-release, or (in place) its pods were replaced by others.",
		"With two Deployments it holds. In place all traffic goes to the pods that are there.",
		"`kubectl canary resume NAME` goes on against the new stable version, `abort` ends the release. Deploy to one side at a time."}},
	{PausedByCommand, Guide{"Somebody gave the command `pause`.", "The weight stays until it is taken away.", "`kubectl canary resume NAME`."}},
	{PausedByPerson, Guide{"Somebody lowered the canary's weight by hand. Serin never raises it over a person's hand.",
		"It stays where they put it.", "`kubectl canary resume NAME` goes on, `abort` goes back to stable."}},
	{RaiseUndone, Guide{"Somebody raised the canary's weight, or took the subset out of a route, by hand.",
		"It is set back; if that happens again and again the release goes back to stable.",
		"To go faster use `kubectl canary skip NAME` or `promote`. If another tool leads releases of this Service, stop one of the two."}},
	{Resumed, Guide{"The release goes on by somebody's command.", "", ""}},
	{DeadlinePassed, Guide{"The step's deadline passed without a verdict, and nobody has said what is to happen then (or something speaks against the canary).",
		"The weight stays. It goes on by itself when there is a verdict.",
		"Decide: `kubectl canary resume NAME`, `skip`, `promote` or `abort`. For the next time: a longer `step-deadline`, or more traffic at the first step."}},
	{InvalidAnnotation, Guide{"An annotation is misspelt or has a value that can't be read. It is never replaced by a default.",
		"No release starts, and one that runs holds its weight. `abort` and `pause` are obeyed.",
		"Write what the sentence says; `kubectl canary lint -f FILE` checks a manifest beforehand. [Annotations](annotations.md)."}},
	{StateOfNewer, Guide{"The release was begun by a newer version of Serin.", "Nothing is moved.",
		"Run that version again until the release is over, or at once: `kubectl canary abort NAME` with the newer version, then go back."}},
	{StateLost, Guide{"The routes carry Serin's marks, but where the release stands can be read nowhere: somebody took the annotation off, or wrote over it.",
		"Nothing is moved.",
		"Set the weights by hand as they should be, then take off what the sentence names: the annotation, and the route `serin-canary`."}},
	{CommandIgnored, Guide{"A command does not fit: it is older than the release, its id was used before, or there is nothing to do it with.",
		"It is as if it had not been given.", "Give it again by `kubectl canary`, which makes a new id and says at once whether it fits."}},
	{RoutesPending, Guide{"The routes are not yet as ordered: a write failed and is tried again, or the API server refuses it.",
		"Nothing further is raised until all VirtualServices are as ordered.",
		"If the sentence says that it is refused: which webhook, policy or missing right does it? [Least privilege](least-privilege.md)."}},
	{ResumedByPerson, Guide{"In place: somebody ran `kubectl rollout resume`, or wrote `paused: false`. Kubernetes updates the Deployment, and nobody judges it.",
		"Serin takes its own things away.", "If nobody meant it: is `spec.paused` in the manifest ([ManifestSetsPaused](#manifestsetspaused))?"}},
	{AwaitingApproval, Guide{"The release asks for a person's approval before its next step (`approval`, or a gate that asks for one).",
		"The weight stays, however long; a breach is rolled back all the same.",
		"Look, then `kubectl canary approve NAME`; `kubectl canary abort NAME` if it is no good."}},
	{AwaitingGate, Guide{"A gate of the operator's says: not now. The sentence says why, and when it may.",
		"The weight stays, and the gate is asked again. A breach is rolled back all the same.",
		"Wait, or do what the gate asks for. [Gates](gates.md)."}},
	{GateUnreached, Guide{"A gate does not answer, or not in a way that can be understood. That neither passes nor fails.",
		"The weight stays, and it is asked again.",
		"Is what it asks up, are the credentials right, does a network policy let Serin out? The sentence has the error. [Gates](gates.md)."}},
	{SmokeChecking, Guide{"The team's smoke checks run, or can't be made because no pod can be asked yet.",
		"Nobody is sent to the canary before they pass.", "[Smoke checks](smoke.md)."}},
	{AlertActive, Guide{"An alert is active that is about this release. One that was there before the release does no more than hold it.",
		"The weight stays until it is over.",
		"Mend what it is about, or silence it: silenced alerts don't count. [Alerts](alerts.md)."}},
	{AlertsUnknown, Guide{"Alertmanager does not answer, so that nobody knows whether an alert is active.",
		"The weight stays.", "Is Alertmanager up, and is its address in the configuration right? [Alerts](alerts.md)."}},
	{CapacityShort, Guide{"The canary has too few ready pods for the step's share of the traffic.",
		"It gets as much as its pods carry, and more as pods become ready. Pods that go take their share with them.",
		"Give its Deployment more replicas, or an autoscaler; or `capacity` another value."}},
	{StableShrunk, Guide{"Stable has less than half of the ready pods with which the release began; its autoscaler does that when the traffic goes.",
		"The release goes on: going back would land on fewer pods.",
		"Give stable's autoscaler a `minReplicas` of what it needs for all users, while a release lasts."}},
}

var goingBack = []page{
	{ErrorRateTooHigh, Guide{"More requests fail than `max-error-rate` allows.", "", "`kubectl canary explain NAME` shows when and by how much. Mend the version and deploy again; the same template isn't tried twice."}},
	{ErrorRatioTooHigh, Guide{"The canary fails more often than stable. With a multiple in `max-error-rate` that rolls back; without one it only holds.", "", "As [ErrorRateTooHigh](#errorratetoohigh). If the difference is meant, write a higher multiple: `\"1%, 5x\"`."}},
	{LatencyTooHigh, Guide{"More than 1% of the requests take longer than `max-p99`.", "", "Look for cold caches and connections first: a longer first step or `0%/5m` warms it. `kubectl canary explain NAME`."}},
	{LatencyRatioTooHigh, Guide{"The canary is slower than stable. With a multiple in `max-p99` that rolls back; without one it only holds.", "", "As [LatencyTooHigh](#latencytoohigh)."}},
	{MetricOutOfBounds, Guide{"A metric of your own is beyond its limit in `metrics`; the sentence names it.", "", "Look at that metric for the canary's pods. If the limit is wrong, change it: [Metrics of your own](config.md#metrics-of-your-own)."}},
	{CanaryStarved, Guide{"The canary answers far less than its share of the traffic: it hangs, or clients leave without an answer.", "",
		"Look for exhausted pools, locks, or a listener that doesn't accept. If clients are served past the routes ([ClientsBypassRoutes](#clientsbypassroutes)) it is only held."}},
	{CanaryCrashing, Guide{"The canary's containers crash again and again. This needs no Prometheus.", "", "`kubectl logs --previous`."}},
	{CanaryUnavailable, Guide{"The canary has no ready pod left for the traffic that it has.", "", "`kubectl describe pod`: probes, memory, eviction."}},
	{AbortedByCommand, Guide{"Somebody gave the command `abort`. It stands: nothing is released until it is taken away.", "All routes are at stable.", "`kubectl canary retry NAME` tries the same version again; `kubectl canary resume NAME` waits for the next one."}},
	{TemplateChanged, Guide{"The canary's template changed in mid-release: what was judged so far is not what would be promoted.", "Back to stable; then the newest template is released from the first step. While a promotion updates the Deployment (in place), it holds instead.", "Deploy once per release. In the middle of a promotion: write the template before it again, or `kubectl canary promote NAME` to take the new one without a canary."}},
	{OptedOut, Guide{"The annotation `serin.dev/canary` was taken away. Where no release ran, it just says so.", "Traffic goes to stable, and all that Serin added is removed.", ""}},
	{DeploymentDeleted, Guide{"The canary's Deployment was deleted in mid-release.", "All traffic goes to stable.", "To try again, make it anew."}},
	{RevertedByGitOps, Guide{"A GitOps tool wrote the old routes back more than three times.", "The release stays at stable.", "Let it leave the routes alone: [GitOps](gitops.md). Then `kubectl canary retry NAME`."}},
	{RolledBackOnTime, Guide{"No verdict within the step's deadline, and `on-inconclusive: rollback`.", "", "A longer `step-deadline`, more traffic for the first step, or `on-inconclusive: hold`."}},
	{RolledBackByPerson, Guide{"Somebody gave the command `rollback`.", "", ""}},
	{GateDenied, Guide{"A gate of the operator's says that this version may not. Before a release it keeps it from starting; under way it ends it; asked about a rollback that somebody ordered, it refuses the order.",
		"", "The sentence says what the gate found. [Gates](gates.md)."}},
	{SmokeFailed, Guide{"The team's smoke checks failed on the canary's own pods, before any user came.", "", "`kubectl canary status NAME` lists them one by one. [Smoke checks](smoke.md)."}},
	{AlertBegan, Guide{"An alert that ends releases began after this one did.", "", "Mend what it is about. If it has nothing to do with the version, say which alerts count: `alerts`. [Alerts](alerts.md)."}},
	{CanaryRestarting, Guide{"The canary's containers restarted more often than `max-restarts` allows, since the release began.", "", "`kubectl logs --previous`; `kubectl describe pod` for probes that end them."}},
	{CanaryOutOfMemory, Guide{"A container of the canary was ended for want of memory since the release began.", "", "Give it a higher memory limit, or look for what grew. `max-restarts: none` doesn't count it."}},
	{Verifying, Guide{"The routes are at stable; it is looked at whether stable serves.", "", ""}},
	{RollbackVerified, Guide{"Verified: all users are on stable, the canary was seen without requests, and all that was asked about stable is well: its endpoints, its series, its smoke checks, the gates after a rollback.", "", ""}},
	{RollbackUnverified, Guide{"The routes are at stable, but a check of the rollback failed, or the canary could not be seen without requests.", "The routes stay.", "The sentence says why: open streams, clients that bypass the routes, a header route of your own, or no data from Prometheus."}},
}

var between = []page{
	{ReturnedHome, Guide{"The Deployment without the annotation runs what was promoted; traffic returned to it, and the annotated one is free for the next release.", "", ""}},
	{GitOpsReapplied, Guide{"A GitOps tool wrote the old routes back.", "They are set again: three times in a release, once after a promotion.", "Let it leave the routes alone: [GitOps](gitops.md)."}},
	{GitOpsLeft, Guide{"A GitOps tool undid a promotion again, or wrote weights that no longer fit.", "Left as it is: traffic that flaps is worse. Users are on what Git says.", "Write the promoted weights in Git, and let the tool leave the routes alone: [GitOps](gitops.md)."}},
	{MovedByPerson, Guide{"Somebody moved all the traffic by hand.", "Serin goes by it.", ""}},
	{ResidualTraffic, Guide{"Requests still reach a version to which no route leads any more: open streams, websockets, connections that are kept, or clients that bypass the routes.",
		"It is measured until there are none.",
		"Don't scale that version down yet. Which clients those are: `source_workload` of its `istio_requests_total`."}},
	{TrafficGone, Guide{"No request reaches the version that users have left: it may be scaled down or removed.", "", ""}},
	{ScaledTooSoon, Guide{"A version was scaled down while requests still reached it. These fail.", "", "Scale it up again until [TrafficGone](#trafficgone) is told, if the clients matter."}},
}

var preflightFinds = []page{
	{ServiceMissing, Guide{"*Blocks.* No Service selects the Deployment's pods, or the named one doesn't exist.", "", "Make the Service's selector match the pod template's labels, or name another in `serin.dev/service`."}},
	{ServiceAmbiguous, Guide{"*Blocks.* Several Services select the pods.", "", "Say which one by `serin.dev/service`."}},
	{VirtualServiceMissing, Guide{"*Blocks.* No VirtualService leads to the Service (two Deployments), or the named one doesn't.", "", "Write one that sends its requests to stable's subset; or leave out `serin.dev/virtual-service`."}},
	{RuleMissing, Guide{"*Blocks.* No DestinationRule has subsets for the Service.", "", "Write one with a subset for each version; the message has the YAML."}},
	{RuleHidden, Guide{"*Blocks.* For some clients another DestinationRule for the host wins, and hides the subsets: their requests would fail with 503.", "", "Take the host out of that rule, or give it the same subsets."}},
	{SubsetMissing, Guide{"*Blocks.* A subset that a route or an annotation names does not exist, or none selects the Deployment's pods.", "", "Add it to the DestinationRule."}},
	{SubsetAmbiguous, Guide{"*Blocks.* The versions' subsets can't be told apart: one selects both, or several select one.", "", "Give each version a subset of its own, or name it by `serin.dev/stable-subset` and `serin.dev/canary-subset`."}},
	{NoSubset, Guide{"*Blocks.* A route names no subset, so canary pods get users as soon as they are ready, whatever the weights.", "", "Pin it to stable's subset."}},
	{LoneDestination, Guide{"*Blocks.* The canary's subset is a route's only destination: it has all its requests, whatever weight is written.", "", "Send the route to stable's subset. For testers, give it a match on a header."}},
	{HandMadeSplit, Guide{"*Blocks.* The canary has a share already, which no release gave it.", "", "Give the canary weight 0. To go on setting weights by hand, use `serin.dev/canary: observe`."}},
	{WeightsTooCoarse, Guide{"The route's weights can't express a step: weights that sum to 10 know no 5%. *Blocks* where a step can't be expressed at all.", "The nearest weight is taken where there is one.", "Write weights that sum to 100."}},
	{TCPRoute, Guide{"*Blocks.* A TCP or TLS route leads to the Service; weights move connections there, not requests.", "", "Route it as HTTP, or give that port a Service of its own."}},
	{AmbientNamespace, Guide{"*Blocks.* The namespace is in Istio's ambient mode.", "", "Use sidecars for this namespace: `istio-injection: enabled`."}},
	{VirtualServiceConflict, Guide{"*Blocks.* Two VirtualServices have the same host in the mesh; Istio goes by the older one alone.", "", "Make the two one VirtualService."}},
	{RouteClaimed, Guide{"Another opted-in Deployment holds the routes of this Service.", "This one waits.", "Take the annotation off one of them, or give this one a Service of its own."}},
	{ForeignVirtualService, Guide{"A VirtualService leads to the Service but takes no part: it is in another namespace, or not among those that the annotation names.", "Its routes are left as they are.", "Name it in `serin.dev/virtual-service`, or move its routes into the Service's namespace."}},
	{UnmanagedClients, Guide{"Clients reach the pods past the routes: no route of the mesh leads to the Service, or another Service selects the same pods.", "They meet canary pods as soon as these are ready.", "Add a VirtualService for the mesh; the message has the YAML."}},
	{StableMissing, Guide{"*Blocks.* With two Deployments: there is none beside this one to be the stable version.", "", "Let a second Deployment run the stable version, or have this one released [in place](in-place.md)."}},
	{HeaderAdopted, Guide{"A route of yours leads to the canary by a header: it is taken for the testers' route, is never changed, and no other is added.", "", ""}},
	{HeaderUnreachable, Guide{"A route has a condition of its own on the testers' header, which can't be combined with Serin's.", "Testers don't reach the canary by this route; users are not concerned.", "Choose another header in `serin.dev/header`."}},
	{MirrorTaken, Guide{"The steps begin with shadow traffic, and a route sends copies of its requests elsewhere already. *Blocks.*", "", "Take the mirror steps out of `serin.dev/steps`, or the mirror out of the route while there is a release."}},
	{StickyImpossible, Guide{"`serin.dev/sticky: cookie` is asked for, and a route can't keep its users on a version: it sets cookies itself, has a condition on cookies, or shares its requests with another Service. *Blocks.*", "", "The message names the field. Take `serin.dev/sticky` away, or change that field."}},
	{InPlaceOff, Guide{"*Blocks.* The Deployment is alone behind its Service, and in-place mode is switched off in this cluster.", "", "The operator switches it on: `kubectl apply -k deploy/in-place`. Or run the stable version in a second Deployment."}},
	{GuardMissing, Guide{"*Blocks.* In place: nothing in the cluster holds back a change, so that Kubernetes would update at once, without a canary.", "", "The operator installs the guard again: `kubectl apply -k deploy/in-place`."}},
	{GuardUnneeded, Guide{"With two Deployments: the guard of in-place mode can't know that this is one of a pair, and pauses each change until Serin lets it go.", "", "Write `serin.dev/mode: pair` on both."}},
	{NameTaken, Guide{"*Blocks.* In place: an object or subset of the name that a release makes is there, and isn't of its making.", "", "Give yours another name."}},
	{OtherDeployment, Guide{"*Blocks.* In place: another Deployment is behind the same Service, and would lose its requests.", "", "Give it a Service of its own, or release the two as a pair: `serin.dev/mode: pair`."}},
	{HeadlessService, Guide{"*Blocks.* In place: the Service is headless or external, so clients choose pods themselves.", "", "Have clients call a Service of type ClusterIP."}},
	{RulePrivate, Guide{"In place: your DestinationRule is exported to some namespaces only, and routes to more. Subsets would be missing there.", "", "Export it to all that see the routes: `exportTo: [\"*\"]`."}},
	{ClientsOutsideMesh, Guide{"In place: the Service is a NodePort or LoadBalancer; who comes that way goes by no route.", "They meet ready canary pods.", "Let them come by a gateway of Istio's."}},
	{AutoscalerCounts, Guide{"In place: an autoscaler counts canary pods too, by something that doesn't grow with the load, like memory.", "It may add pods during a release.", "Let it go by CPU or requests."}},
	{BudgetCounts, Guide{"In place: a PodDisruptionBudget counts canary pods too, so that more of yours may be evicted during a release.", "", "Write it with `maxUnavailable` as a number."}},
	{QuotaTooSmall, Guide{"In place: the namespace's quota has too little room for the canary's pods. *Blocks* where there is room for none.", "A release waits for pods that are not made.", "Raise the quota by what the message says."}},
	{StreamPorts, Guide{"In place: Istio takes a port for TCP; its connections reach canary pods past any weight. *Blocks* where all ports are like that.", "", "If it speaks HTTP or gRPC, say so in the port's name or `appProtocol`."}},
	{PauseSet, Guide{"In place: the manifest names `spec.paused`, so each apply ends the guard's pause: a plain update.", "", "Take `spec.paused` out of the manifest."}},
	{AutoscalerShrinks, Guide{"With two Deployments: stable's autoscaler may take pods away while the canary has the traffic, and a rollback would land on what is left.", "", "Give it a `minReplicas` of as many pods as all users need."}},
}
