package annotation

import (
	"fmt"
	"strings"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/alertmanager/matcher"
)

// Key is one annotation of this release.
type Key struct {
	Name    string // without Prefix
	Example string // a valid value
	Default string // a value with the meaning of a missing key, or what is done instead
	Meaning string // a sentence or two, Markdown
	// Defaultable keys may stand in the controller's configuration too.
	Defaultable bool
	// Binding keys mean more when they are written, even with their default: a
	// limit that stable itself breaks then stops a release.
	Binding bool

	most  int // bytes of a value; 0: as many as of most keys
	parse func(value string, into *draft) []fault
}

// The names that code must know.
const (
	keyCanary       = "canary"
	keySteps        = "steps"
	keyBake         = "bake"
	keyStepDeadline = "step-deadline"
	keyStableSubset = "stable-subset"
	keyCanarySubset = "canary-subset"
	keyJudge        = "judge"
	keyMetrics      = "metrics"
	keyMaxP99       = "max-p99"
	keyMode         = "mode"
	keySticky       = "sticky"
	keyOnRollback   = "on-rollback"
	keyGates        = "gates"
)

// keyHeld is the mark of Serin's own guard. It is no order, and so not in the table.
const keyHeld = "held"

// keyCommandBy is who gave the command, as the API server notes it beside it. It is
// no setting, and so not in the table; without a command it says nothing.
const keyCommandBy = "command-by"

// Discovered is the Default of keys whose value is found in the cluster.
const Discovered = "discovered"

// configured is the Default of keys that the configuration decides outside of its defaults.
const configured = "as configured"

// table holds every key, in the order in which people are shown them.
var table = []Key{
	{
		Name: keyCanary, Example: "true", Default: "false", parse: parseCanary,
		Meaning: "`true` asks for canary releases of this Deployment; it is all that is needed. `observe`: people set the weights by hand, and Serin only tells what it sees and what it would have done. `false`, or taking the key away, ends it: traffic goes back to stable and what Serin added to the routes is removed.",
	}, {
		Name: keySteps, Example: "5%/10m, 25%, 100%", Default: "5%, 25%, 100%", Defaultable: true, parse: parseSteps,
		Meaning: "The canary's shares in whole percent, ascending, the last one 100%, at most 20. A step may carry its own bake: `5%/10m`. A first step of `0%/5m` gives testers at least 5 minutes with the header route before any user comes. `mirror 10%/5m` before the first share, at most 3 such steps, sends the canary [copies of 10% of the requests](shadow.md) for 5 minutes, and no user.",
	}, {
		Name: keyBake, Example: "10m", Default: "2m", Defaultable: true, parse: parseBake,
		Meaning: "The least time at each step that names none of its own, counted in time covered by metrics. 1s to 7d.",
	}, {
		Name: keyStepDeadline, Example: "1h", Default: "30m", Defaultable: true, parse: parseStepDeadline,
		Meaning: "The longest time at a step without a verdict; then `on-inconclusive` decides. Above every bake, at most 30d.",
	}, {
		Name: "max-error-rate", Example: "0.5%, 2x", Default: "1%, 2x", Defaultable: true, Binding: true, parse: parseMaxErrorRate,
		Meaning: "The highest share of failed requests and, after the comma, the highest multiple of stable's share. Without the multiple a canary that is worse than stable, and within the limit, is held and not rolled back. Where stable itself fails more often than the limit, a limit that is written keeps a release from starting; the default isn't applied then, and the canary is only compared with stable.",
	}, {
		Name: keyMaxP99, Example: "500ms, 1.5x", Default: "2s", Defaultable: true, Binding: true, parse: parseMaxP99,
		Meaning: "The limit for the 99th percentile of latency: at most 1% of the requests may take longer. After the comma, the highest multiple of stable's 99th percentile. 1ms to 1h, 1x to 100x. Where stable itself is slower it is as with `max-error-rate`.",
	}, {
		Name: keyMetrics, Example: "checkout-success >= 99%, queue-depth <= 100", Default: "none given", parse: parseMetrics,
		Meaning: "Limits on metrics that the operator defined in [the configuration](config.md#metrics-of-your-own): a share of good events is bounded by `>=`, one of bad events by `<=`, a plain number by either. At most 8.",
	}, {
		Name: keyJudge, Example: "threshold", Default: "evidence", Defaultable: true, parse: parseJudge,
		Meaning: "How verdicts are reached. `evidence` looks after every scrape, and promotes or rolls back as soon as chance is ruled out. `threshold` is the classic: a limit exceeded in several checks in a row.",
	}, {
		Name: "on-inconclusive", Example: "rollback", Default: "proceed", Defaultable: true, parse: parseOnInconclusive,
		Meaning: "What happens at a step's deadline without a verdict: `proceed` if nothing speaks against the canary, `hold` the weight and ask for a decision, or `rollback`. Before a step that asks people or gates a `rollback` is a `hold`.",
	}, {
		Name: "on-shared-incident", Example: "10m, rollback", Default: "30m, hold", Defaultable: true, parse: parseOnSharedIncident,
		Meaning: "While both versions break a limit it is not the canary, and its weight is held. How long at most, and what happens then: `hold` the weight and ask for a decision, or `rollback`. Without a time it is the default's. 1s to 30d.",
	}, {
		Name: "header", Example: "x-group: beta, staff", Default: "x-app-version: canary", Defaultable: true, parse: parseHeader,
		Meaning: "Requests that reach the canary at any weight: a header with one of some values, `x-group: prefix:beta-`, `x-group: regex:(beta|staff)-[0-9]+` (RE2, the whole value), a cookie `cookie: track=canary, beta`, or `none`.",
	}, {
		Name: "approval", Example: "test, promotion", Default: none, Defaultable: true, parse: parseApproval,
		Meaning: "Where a release waits for a person, who lets it go on with the command `approve`: `test`, before the first user; `every-step`, before each raise; `promotion`, before 100%. `none` is nowhere. A canary that breaks its limits meanwhile is still rolled back.",
	}, {
		Name: keyGates, Example: "hours, security, migration@before-start+before-rollback", Default: none, Defaultable: true, parse: parseGates,
		Meaning: "Which [gates](gates.md) of [the configuration](config.md#gates) are asked, at most 8, and behind an `@` when: `before-start`, `before-step`, `before-promotion`, `before-rollback` (of a rollback that a person orders), `after-rollback`; otherwise when the operator said. Whoever doesn't answer holds a release, and never passes nor fails it.",
	}, {
		Name: "smoke", Example: `GET /healthz; POST /api/items {"name": "x"} 201 take id=.id then GET /api/items/{id} <300ms contains x`, Default: none, Defaultable: true, most: canary.MaxSmokeBytes, parse: parseSmoke,
		Meaning: "[Smoke checks](smoke.md), at most 10: what the canary's pods are asked before any user comes, and stable's after a rollback. One that fails keeps users away.",
	}, {
		Name: "tags", Example: "semver", Default: canary.TagsNamed, Defaultable: true, parse: parseTags,
		Meaning: "How the images of a release must be named; one that isn't keeps it from starting. `named`: by a digest, or any tag but `latest`. `semver`: by a tag like `1.4.2` or `v1.4.2-rc.1`. `regex:v[0-9]+`: by a tag that matches as a whole (RE2). `any`: anyhow.",
	}, {
		Name: "capacity", Example: "1.5x", Default: "2x", Defaultable: true, parse: parseCapacity,
		Meaning: "How much a canary pod may carry, in what a stable pod carried at the start: the weight waits for as many ready pods, and within a step it rises as they come. 0.1x to 100x; `none`: the weight asks for no pods. In place less than 1x counts as 1x. Going back never waits.",
	}, {
		Name: "max-restarts", Example: "1", Default: "3", Defaultable: true, parse: parseMaxRestarts,
		Meaning: "How many restarts of the canary's containers a release may have: one more takes it back, and so does the first that is killed for want of memory. 1 to 1000; `none`: only a pod that crashes again and again does.",
	}, {
		Name: "alerts", Example: "default; alertname=~\"Checkout.*\"", Default: matcher.Default, Defaultable: true, parse: parseAlerts,
		Meaning: "Which active [alerts](alerts.md) hold a release or take it back, where the operator named an Alertmanager: its matchers between commas, alternatives between semicolons. `default`: those about the namespace together with the Service, its Deployments or their pods. `none`: no alert.",
	}, {
		Name: keySticky, Example: "cookie", Default: "none", Defaultable: true, parse: parseSticky,
		Meaning: "`cookie`: [users stay on the version](sticky.md) that they met first while the release goes on, by a cookie that the routes set. `none`: each request is sent anew by the weights.",
	}, {
		Name: keyMode, Example: "in-place", Default: Discovered, parse: parseMode,
		Meaning: "`in-place`: this one Deployment is released, [and updated as always](in-place.md). `pair`: two Deployments, told apart by subsets, take turns. Discovered as `in-place` where the Deployment is the only one behind its Service.",
	}, {
		Name: keyOnRollback, Example: "restore", Default: "keep", Defaultable: true, parse: parseOnRollback,
		Meaning: "In place, what becomes of the pod template of a release that was rolled back. `keep`: it stays as it was written, and paused, until somebody changes it. `restore`: the template that runs is put back.",
	}, {
		Name: "service", Example: "web", Default: Discovered, parse: parseService,
		Meaning: "The Service whose traffic is shifted, where several select the pods.",
	}, {
		Name: "virtual-service", Example: "web, web-gateway", Default: Discovered, parse: parseVirtualServices,
		Meaning: "The VirtualServices to edit, comma-separated, where not all that lead to the Service shall take part.",
	}, {
		Name: keyStableSubset, Example: "v1", Default: Discovered, Defaultable: true, parse: parseStableSubset,
		Meaning: "The DestinationRule's subset of the stable version; discovered as the one that has the traffic.",
	}, {
		Name: keyCanarySubset, Example: "v2", Default: Discovered, Defaultable: true, parse: parseCanarySubset,
		Meaning: "The DestinationRule's subset of this Deployment; discovered by its labels.",
	}, {
		Name: "notify", Example: "team-shop, ops", Default: configured, parse: parseNotify,
		Meaning: "The [channels](messages.md) on which people are told of releases, by the names that the operator gave them in [the configuration](config.md), at most 8; `none` is nobody. They take the place of the configuration's default.",
	}, {
		Name: "command", Example: "promote #42", Default: "none given", parse: parseCommand,
		Meaning: "An order. `abort` and `pause` are in force while they stand. `promote`, `resume`, `retry`, `skip`, `approve` and `rollback` act once and carry an id of your choice, `promote #42`; a new id gives a new order.",
	},
}

// Keys are all keys of this release, in the order in which people are shown them.
func Keys() []Key { return append([]Key(nil), table...) }

// Markdown is the table of keys for the documentation. Its links lead to other
// pages by way of folder, like "docs/".
func Markdown(folder string) string {
	var b strings.Builder
	pages := strings.NewReplacer("(config.md", "("+folder+"config.md", "(in-place.md", "("+folder+"in-place.md",
		"(messages.md", "("+folder+"messages.md", "(shadow.md", "("+folder+"shadow.md", "(sticky.md", "("+folder+"sticky.md", "(alerts.md", "("+folder+"alerts.md",
		"(gates.md", "("+folder+"gates.md", "(smoke.md", "("+folder+"smoke.md")
	b.WriteString("| Annotation | Example | Default | Meaning |\n|---|---|---|---|\n")
	for _, k := range table {
		value := "`" + k.Default + "`"
		if k.Default == Discovered || k.Default == configured || strings.Contains(k.Default, " given") {
			value = k.Default
		}
		meaning := strings.ReplaceAll(k.Meaning, "|", `\|`)
		fmt.Fprintf(&b, "| `%s%s` | `%s` | %s | %s |\n", Prefix, k.Name, k.Example, value, pages.Replace(meaning))
	}
	return b.String()
}

// like is the mend that shows the key's example.
func (k Key) like() string { return fmt.Sprintf("write for example %q", k.Example) }

// position is a key's place in the table, and past its end for a stranger.
func position(name string) int {
	for i, k := range table {
		if k.Name == name {
			return i
		}
	}
	return len(table)
}

func names(at place) []string {
	var known []string
	for _, k := range table {
		if at == onDeployment || k.Defaultable {
			known = append(known, k.Name)
		}
	}
	return known
}
