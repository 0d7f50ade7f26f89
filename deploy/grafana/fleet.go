package main

// underWay are the phases of a rollout that is under way.
const underWay = `phase=~"Testing|Progressing|Paused|Inconclusive|Promoting|Finishing|RollingBack"`

// fleet is about all rollouts, and about Serin itself.
func fleet() board {
	return board{
		uid: "serin-fleet", title: "Serin / Fleet",
		description: "All canary releases at a glance, and how Serin itself does.",
		links:       []object{toDashboards},
		annotations: []object{},
		rows: []row{
			{"Now", 4, now()},
			{"Releases", 9, releases()},
			{"What happened", 8, happened()},
			{"Serin itself", 8, itself()},
		},
	}
}

var toDashboards = object{
	"title": "Serin", "type": "dashboards", "tags": []string{"serin"}, "asDropdown": false, "includeVars": false, "keepTime": true,
	"targetBlank": false, "icon": "external link", "tooltip": "", "url": "",
}

func now() []panel {
	number := func(title, about, expr string, color string) panel {
		return panel{
			title: title, kind: stat, unit: count, about: about, width: 4,
			queries: []query{{expr: expr, legend: title, instant: true}},
			field:   object{"thresholds": turning("text", color, 1), "color": object{"mode": "thresholds"}, "decimals": 0, "noValue": "0"},
		}
	}
	return []panel{
		number("Under way", "Releases between their first and their last write.", `sum(serin_rollouts{`+underWay+`})`, canaryColor),
		number("Blocked", "Releases that wait until somebody mends what preflight found.", `sum(serin_rollouts{phase="Blocked"})`, badColor),
		number("Want a decision", "Paused by somebody, at a deadline without a verdict, or waiting for approval.",
			`sum(serin_rollouts{phase=~"Paused|Inconclusive"}) + (count(max by (namespace, service) (serin_rollout_awaiting{kind="approval"})) or vector(0))`, "yellow"),
		number("Taken back", "How often all users were taken off a canary within the time shown.", `sum(increase(serin_snap_duration_seconds_count[$__range]))`, badColor),
		number("Bad answers of canaries", "How many bad answers users had from canaries within the time shown, as far as they were in closed blocks of evidence.",
			`sum(increase(serin_canary_answers_total{result="bad"}[$__range]))`, badColor),
		{
			title: "Leaders", kind: stat, unit: count, about: "Replicas of Serin that work: one for each Lease. At 0 nothing moves and nothing is rolled back.", width: 4,
			queries: []query{{expr: `sum(serin_leading)`, legend: "Leaders", instant: true}},
			field:   object{"thresholds": turning(badColor, goodColor, 1), "color": object{"mode": "thresholds"}, "decimals": 0, "noValue": "0"},
		},
	}
}

func releases() []panel {
	return []panel{
		{
			title: "Under way and blocked", kind: table, unit: count, width: 14,
			about: "Each release that is not at rest: why it is where it is, and how far it has come. Its name leads to its own dashboard.",
			queries: []query{
				{expr: `max by (namespace, service, reason) (serin_rollout_reason)`, legend: "reason", instant: true, table: true},
				{expr: `max by (namespace, service) (serin_rollout_weight_percent and on (namespace, service) serin_rollout_step)`, legend: "weight", instant: true, table: true},
				{expr: `max by (namespace, service) (serin_rollout_progress_ratio)`, legend: "progress", instant: true, table: true},
			},
			transformations: []object{
				{"id": "merge", "options": object{}},
				{"id": "organize", "options": object{
					"excludeByName": object{"Time": true, "Value #A": true},
					"indexByName":   object{"namespace": 0, "service": 1, "reason": 2, "Value #B": 3, "Value #C": 4},
					"renameByName":  object{"namespace": "Namespace", "service": "Service", "reason": "Reason", "Value #B": "Weight", "Value #C": "Progress"},
				}},
			},
			overrides: []object{
				override(object{"id": "byName", "options": "Weight"}, object{"id": "unit", "value": percent}),
				override(object{"id": "byName", "options": "Progress"}, object{"id": "unit", "value": ratio}, object{"id": "min", "value": 0},
					object{"id": "max", "value": 1}, object{"id": "custom.cellOptions", "value": object{"type": "gauge", "mode": "basic"}}),
				override(object{"id": "byName", "options": "Service"}, object{"id": "links", "value": []object{{
					"title": "Its rollout", "targetBlank": false,
					"url": "/d/serin-rollout?var-datasource=${datasource}&var-namespace=${__data.fields.Namespace}&var-service=${__data.fields.Service}&${__url_time_range}",
				}}}),
			},
		},
		{
			title: "The canaries' shares", kind: graph, unit: percent, width: 10, field: merge(steps, object{"max": 100}),
			about:   "The share of the traffic that each canary is ordered to have.",
			queries: []query{{expr: `max by (namespace, service) (serin_rollout_weight_percent and on (namespace, service) serin_rollout_step)`, legend: "{{namespace}}/{{service}}"}},
		},
	}
}

// newly is by how much a counter has grown within each interval. Unlike increase it
// also sees the first of a kind, before which there is no series; where a counter
// begins anew it gives nothing.
func newly(counter, by string) string {
	now := `sum by (` + by + `) (` + counter + `)`
	before := `sum by (` + by + `) (` + counter + ` offset $__rate_interval)`
	return now + ` - (` + before + ` or 0 * ` + now + `) > 0`
}

func happened() []panel {
	return []panel{
		{
			title: "Rollouts by phase", kind: graph, unit: count, width: 8, field: stacked,
			about:   "Services by the phase of their rollout. Those at rest are left out.",
			queries: []query{{expr: `sum by (phase) (serin_rollouts{phase!~"Idle|Succeeded|RolledBack"})`, legend: "{{phase}}"}},
		},
		{
			title: "Transitions", kind: graph, unit: count, width: 8, field: bars,
			about:   "Rollouts that came to another phase or step, and why.",
			queries: []query{{expr: newly("serin_transitions_total", "to, reason"), legend: "{{to}}: {{reason}}"}},
		},
		{
			title: "Decisions told", kind: graph, unit: count, width: 8, field: bars,
			about:   "Events by reason, warnings of preflight included.",
			queries: []query{{expr: newly("serin_decisions_total", "reason"), legend: "{{reason}}"}},
		},
		{
			title: "Answers of all canaries", kind: graph, unit: perSecond, width: 8,
			about:     "What users got from canaries, as far as it was in closed blocks of evidence.",
			queries:   []query{{expr: `sum by (result) (rate(serin_canary_answers_total[$__rate_interval]))`, legend: "{{result}}"}},
			overrides: []object{colored("ok", goodColor), colored("bad", badColor)},
		},
		{
			title: "Time to take all users off a canary", kind: graph, unit: duration, width: 8,
			about: "From the judge's verdict until the API server has acknowledged the last route. Each point looks back an hour; without a rollback there is none.",
			queries: []query{
				{expr: `histogram_quantile(0.5, sum by (le) (increase(serin_snap_duration_seconds_bucket[1h])))`, legend: "half of them within"},
				{expr: `histogram_quantile(0.99, sum by (le) (increase(serin_snap_duration_seconds_bucket[1h])))`, legend: "99% within"},
				{expr: `vector(1)`, legend: "limit"},
			},
			overrides: tracks(),
		},
		{
			title: "Asked outside", kind: graph, unit: count, width: 8, field: bars,
			about:     "What gates, smoke checks, Alertmanager and others said to what releases ask. What is unreached holds a release, and neither passes nor fails it.",
			queries:   []query{{expr: newly("serin_questions_total", "kind, name, said"), legend: "{{kind}} {{name}}: {{said}}"}},
			overrides: []object{likeColored("unreached$", badColor)},
		},
		{
			title: "Awaited", kind: bar, unit: count, width: 8,
			about:   "How many releases wait for a person's approval, for each gate, and for what else is asked outside.",
			queries: []query{{expr: `count by (kind, name) (max by (namespace, service, kind, name) (serin_rollout_awaiting))`, legend: "{{kind}} {{name}}", instant: true}},
			field:   object{"min": 0, "decimals": 0, "noValue": "nothing"},
		},
		{
			title: "After a rollback or a release", kind: bar, unit: count, width: 8,
			about: "Services whose last rollback could not be verified, and those of which requests still reach a version that users have left.",
			queries: []query{
				{expr: `count(max by (namespace, service) (serin_rollout_unverified)) or vector(0)`, legend: "not verified", instant: true},
				{expr: `count(max by (namespace, service) (serin_rollout_residual_requests_per_second)) or vector(0)`, legend: "requests to a version left", instant: true},
			},
			field: object{"min": 0, "decimals": 0}, overrides: []object{colored("not verified", badColor), colored("requests to a version left", "yellow")},
		},
		{
			title: "What preflight finds", kind: bar, unit: count, width: 8,
			about:   "How many Services each finding is about. The blocking ones keep releases from starting.",
			queries: []query{{expr: `sum by (reason, blocking) (serin_findings) > 0`, legend: "{{reason}}, blocking: {{blocking}}", instant: true}},
			field:   object{"min": 0, "decimals": 0, "noValue": "nothing"},
		},
	}
}

func itself() []panel {
	p99 := func(name, by string) string {
		return `histogram_quantile(0.99, sum by (` + by + `) (rate(` + name + `_bucket[$__rate_interval])))`
	}
	return []panel{
		{
			title: "Who leads", kind: graph, unit: count, width: 8, field: stacked,
			about:   "1 for the replica that works. More than one for each Lease should never be.",
			queries: []query{{expr: `max by (instance) (serin_leading)`, legend: "{{instance}}"}},
		},
		{
			title: "Lease and Events", kind: graph, unit: eachSec, width: 8,
			about: "Renewals of the Lease, and Events sent. Errors of the Lease cost the lead when they last; lost Events are in the log.",
			queries: []query{
				{expr: `sum by (result) (rate(serin_lease_renewals_total[$__rate_interval]))`, legend: "renewals {{result}}"},
				{expr: `sum by (result) (rate(serin_events_total[$__rate_interval]))`, legend: "Events {{result}}"},
			},
			overrides: []object{likeColored("error$", badColor)},
		},
		{
			title: "Queries to Prometheus", kind: graph, unit: eachSec, width: 8,
			about:     "How often Prometheus is asked, and with what result.",
			queries:   []query{{expr: `sum by (result) (rate(serin_prometheus_queries_total[$__rate_interval]))`, legend: "{{result}}"}},
			overrides: []object{colored("ok", goodColor), colored("error", badColor)},
		},
		{
			title: "Since Prometheus last served a judge", kind: graph, unit: duration, width: 8,
			about:   "How old the newest answer is. It grows while nothing is under way, for then nothing is asked.",
			queries: []query{{expr: `time() - max(serin_prometheus_last_answer_timestamp_seconds)`, legend: "newest answer"}},
		},
		{
			title: "Writes", kind: graph, unit: eachSec, width: 8,
			about:     "Writes of routes and workloads. A conflict is read and decided again; errors need somebody to look.",
			queries:   []query{{expr: `sum by (result) (rate(serin_writes_total[$__rate_interval]))`, legend: "{{result}}"}},
			overrides: []object{colored("ok", goodColor), colored("conflict", "yellow"), colored("error", badColor)},
		},
		{
			title: "How long the API server takes", kind: graph, unit: duration, width: 8,
			about:   "The 99th percentile of writes by kind.",
			queries: []query{{expr: p99("serin_write_duration_seconds", "le, kind"), legend: "{{kind}}"}},
		},
		{
			title: "Services that wait", kind: graph, unit: count, width: 8,
			about:   "How many wait to be looked at. Those with a proven breach go first, whatever waits.",
			queries: []query{{expr: `max(serin_queue_depth)`, legend: "waiting"}},
		},
		{
			title: "Waits and passes", kind: graph, unit: duration, width: 8,
			about: "The 99th percentile of how long a Service waits to be looked at, and of how long a look takes.",
			queries: []query{
				{expr: p99("serin_queue_wait_seconds", "le"), legend: "waiting"},
				{expr: p99("serin_reconcile_duration_seconds", "le"), legend: "a pass"},
			},
		},
		{
			title: "The cluster is read", kind: graph, unit: count, width: 8, field: merge(steps, object{"max": 1}),
			about:   "1 for each replica that has read the cluster in full. A replica that stays at 0 may lack a right.",
			queries: []query{{expr: `max by (instance) (serin_cluster_read)`, legend: "{{instance}}"}},
		},
	}
}
