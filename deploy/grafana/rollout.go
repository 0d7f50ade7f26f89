package main

// of selects the chosen Service.
const of = `namespace="$namespace", service="$service"`

// rollout is about one Service's release.
func rollout() board {
	return board{
		uid: "serin-rollout", title: "Serin / Rollout",
		description: "One canary release: how far it is and why, what users get from both versions, and the evidence.",
		links:       []object{toDashboards},
		variables: []object{
			variable("namespace", "Namespace", `label_values(serin_rollout_phase, namespace)`),
			variable("service", "Service", `label_values(serin_rollout_phase{namespace="$namespace"}, service)`),
			variable("reporter", "Reported by", `label_values(istio_requests_total{destination_workload_namespace="$namespace"}, reporter)`),
		},
		// A transition's own time is its value, so that it is marked once and exactly.
		annotations: []object{{
			"name": "Transitions", "enable": true, "hide": false, "iconColor": "purple", "datasource": source,
			"target": object{
				"refId": "Transitions", "expr": `max by (reason) (serin_rollout_last_transition_timestamp_seconds{` + of + `}) * 1000`, "interval": "",
			},
			"titleFormat": "{{reason}}", "textFormat": "", "tagKeys": "", "useValueForTime": true,
		}},
		rows: []row{
			{"Now", 4, state()},
			{"What users get", 9, users()},
			{"Where it stands", 8, stands()},
			{"Evidence", 9, evidence()},
		},
	}
}

func state() []panel {
	word := func(title, about, expr, legend string, width int) panel {
		return panel{
			title: title, kind: stat, unit: "none", about: about, width: width,
			queries: []query{{expr: expr, legend: legend, instant: true}},
			options: object{"textMode": "name", "colorMode": "none"},
			field:   object{"noValue": "none"},
		}
	}
	share := func(title, about, unit, expr string, most float64) panel {
		return panel{
			title: title, kind: bar, unit: unit, about: about, width: 4,
			queries: []query{{expr: expr, legend: title, instant: true}},
			field:   object{"min": 0, "max": most, "color": object{"mode": "fixed", "fixedColor": canaryColor}, "noValue": "none"},
		}
	}
	return []panel{
		word("Phase", "Where the rollout is in its life.", `max by (phase) (serin_rollout_phase{`+of+`})`, "{{phase}}", 4),
		word("Why", "The reason, the same as in Events and in the log.", `max by (reason) (serin_rollout_reason{`+of+`})`, "{{reason}}", 5),
		word("Verdict", "What the judge says of the canary.", `max by (kind, reason) (serin_rollout_verdict{`+of+`})`, "{{kind}}: {{reason}}", 7),
		share("Weight", "The share of the traffic that the canary is ordered to have.", percent, `max(serin_rollout_weight_percent{`+of+`})`, 100),
		share("Progress", "How much of the way to the promotion is done.", ratio, `max(serin_rollout_progress_ratio{`+of+`})`, 1),
	}
}

// byTrack sums up what Istio counted of each track, at any time of the workloads
// that were the tracks then.
func byTrack(by, rate string) string {
	return `sum by (` + by + `) (` + rate + ` * on (destination_workload) group_left (track) label_replace(max by (track, workload) (serin_rollout_track_info{` +
		of + `}), "destination_workload", "$1", "workload", "(.*)"))`
}

func counted(metric, more string) string {
	return `rate(` + metric + `{destination_workload_namespace="$namespace", reporter="$reporter"` + more + `}[$__rate_interval])`
}

func users() []panel {
	const requests = "istio_requests_total"
	all := byTrack("track", counted(requests, ""))
	failed := byTrack("track", counted(requests, `, response_code=~"5.."`))
	return []panel{
		{
			title: "Requests", kind: graph, unit: perSecond, width: 12, overrides: tracks(),
			about:   "What both versions answer, as Istio's proxies count it, while a release is under way.",
			queries: []query{{expr: all, legend: "{{track}}"}},
		},
		{
			title: "The canary's share", kind: graph, unit: percent, width: 12,
			field: merge(steps, object{"max": 100}), overrides: []object{colored("served", canaryColor), colored("ordered", "purple"), likeColored("^found", "text"), colored("copies", "yellow")},
			about: "What Serin ordered, what is found in each VirtualService (the least and the most of its routes), and what Istio's proxies really sent to the canary, testers included. Copies are the share of requests of which it is sent one; no user gets their answers.",
			queries: []query{
				{expr: `max(serin_rollout_weight_percent{` + of + `} and on (namespace, service) serin_rollout_step)`, legend: "ordered"},
				{expr: `max by (virtual_service, bound) (serin_rollout_virtual_service_weight_percent{` + of + `})`, legend: "found in {{virtual_service}}, {{bound}}"},
				{expr: `max(serin_rollout_mirror_percent{` + of + `})`, legend: "copies"},
				{expr: `100 * sum(` + all + ` and on (track) label_replace(vector(1), "track", "canary", "", "")) / sum(` + all + `)`, legend: "served"},
			},
		},
		{
			title: "Share of failures", kind: graph, unit: ratio, width: 12, overrides: tracks(),
			about: "Answers with a status of 5xx among all. The line is the limit in force.",
			queries: []query{
				{expr: `(` + failed + ` or 0 * ` + all + `) / ` + all, legend: "{{track}}"},
				{expr: `max(serin_rollout_max_error_ratio{` + of + `})`, legend: "limit"},
			},
		},
		{
			title: "99th percentile of latency", kind: graph, unit: duration, width: 12, overrides: tracks(),
			about: "1% of the requests take longer; interpolated within the bucket of Istio's histogram. The line is the limit in force.",
			queries: []query{
				{expr: `histogram_quantile(0.99, ` + byTrack("track, le", counted("istio_request_duration_milliseconds_bucket", "")) + `) / 1000`, legend: "{{track}}"},
				{expr: `max(serin_rollout_max_p99_seconds{` + of + `})`, legend: "limit"},
			},
		},
	}
}

func stands() []panel {
	inForce := object{"custom": object{"fillOpacity": 80, "lineWidth": 0}, "mappings": []object{
		{"type": "value", "options": object{"1": object{"text": "yes", "index": 0, "color": canaryColor}}},
	}}
	colors := func(pairs ...string) (all []object) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, likeColored(pairs[i], pairs[i+1], object{"id": "mappings", "value": []object{
				{"type": "value", "options": object{"1": object{"text": "yes", "index": 0, "color": pairs[i+1]}}},
			}}))
		}
		return all
	}
	return []panel{
		{
			title: "Verdicts", kind: timeline, unit: "none", width: 12, field: inForce,
			about:     "What the judge said, and why, at each time.",
			overrides: colors("^Promote", goodColor, "^Rollback", badColor, "^NoData", "text", "^Hold", "yellow"),
			queries:   []query{{expr: `max by (kind, reason) (serin_rollout_verdict{` + of + `})`, legend: "{{kind}}: {{reason}}"}},
		},
		{
			title: "Phases", kind: timeline, unit: "none", width: 12, field: inForce,
			about:     "The phase of the rollout at each time.",
			overrides: colors("^(Succeeded|Finishing|Promoting)", goodColor, "^(RollingBack|RolledBack|Blocked)", badColor, "^(Paused|Inconclusive|Waiting)", "yellow", "^Idle", "text"),
			queries:   []query{{expr: `max by (phase) (serin_rollout_phase{` + of + `})`, legend: "{{phase}}"}},
		},
		{
			title: "Waiting for", kind: timeline, unit: "none", width: 12, field: inForce,
			about:     "What the rollout waited for from outside: a person's approval, a gate, smoke checks, alerts, or checks after a rollback; and whether the last rollback is not verified.",
			overrides: colors("^rollback not verified", badColor),
			queries: []query{
				{expr: `max by (kind, name) (serin_rollout_awaiting{` + of + `})`, legend: "{{kind}} {{name}}"},
				{expr: `max(serin_rollout_unverified{` + of + `})`, legend: "rollback not verified"},
			},
		},
		{
			title: "Requests to a version that was left", kind: graph, unit: perSecond, width: 12,
			about:   "What still reaches a Deployment to which no route leads any more: open streams, connections that are kept, clients that bypass the routes. It may be scaled down when there is nothing.",
			queries: []query{{expr: `max by (deployment) (serin_rollout_residual_requests_per_second{` + of + `})`, legend: "{{deployment}}"}},
		},
		{
			title: "Step", kind: graph, unit: count, width: 8, field: steps,
			about: "The step in force, and how many there are.", overrides: []object{colored("step", canaryColor), colored("of", "text", dashed...)},
			queries: []query{
				{expr: `max(serin_rollout_step{` + of + `})`, legend: "step"},
				{expr: `max(serin_rollout_steps{` + of + `})`, legend: "of"},
			},
		},
		{
			title: "Until the step's deadline", kind: graph, unit: duration, width: 8,
			about:   "How long the step may still take; then on-inconclusive decides.",
			field:   object{"custom": object{"lineWidth": 2, "fillOpacity": 8, "showPoints": "never"}},
			queries: []query{{expr: `max(serin_rollout_deadline_timestamp_seconds{` + of + `}) - time()`, legend: "left"}},
		},
		{
			title: "Requests still needed", kind: graph, unit: count, width: 8,
			about:   "About how many more of the canary's requests a promotion takes. Missing when unknown, and when enough were seen.",
			queries: []query{{expr: `max(serin_rollout_requests_needed{` + of + `})`, legend: "needed"}},
		},
	}
}

func evidence() []panel {
	towards := func(title, where, about string) panel {
		return panel{
			title: title, kind: graph, unit: "none", width: 9, about: about, overrides: tracks(),
			field: object{"custom": object{"lineWidth": 2, "fillOpacity": 0, "showPoints": "never"}},
			queries: []query{
				{expr: `max by (metric) (serin_rollout_evidence{` + of + `, towards="` + where + `"})`, legend: "{{metric}}"},
				{expr: `max(serin_rollout_evidence_together{` + of + `, towards="` + where + `"})`, legend: "together"},
				{expr: `max(serin_rollout_evidence_needed{` + of + `, towards="` + where + `"})`, legend: "needed"},
			},
		}
	}
	return []panel{
		{
			title: "How near a verdict is", kind: bar, unit: ratio, width: 6,
			about:   "The evidence of all metrics as a part of what suffices: at 100% the verdict falls. It may be below 0, where it speaks for the opposite.",
			queries: []query{{expr: `clamp(max by (towards) (serin_rollout_evidence_together{` + of + `}) / max by (towards) (serin_rollout_evidence_needed{` + of + `}), -1, 1)`, legend: "{{towards}}", instant: true}},
			field:   object{"min": 0, "max": 1, "noValue": "none"}, overrides: []object{colored("rollback", badColor), colored("promotion", goodColor)},
		},
		towards("Evidence towards a rollback", "rollback", "On a scale where each unit is ten times more: 2 is 100 to 1. Where the line of what is needed is reached, the canary is rolled back."),
		towards("Evidence towards a promotion", "promotion", "As the other, of the metric that is farthest from it. Where the line is reached, and the bake is over, the step is passed."),
		{
			title: "Judged requests", kind: graph, unit: count, width: 12, overrides: tracks(),
			about:   "Requests of both versions that were judged at the present step.",
			queries: []query{{expr: `max by (track) (serin_rollout_requests{` + of + `})`, legend: "{{track}}"}},
		},
		{
			title: "Judged failures", kind: graph, unit: count, width: 12, overrides: tracks(),
			about:   "Those among them that failed.",
			queries: []query{{expr: `max by (track) (serin_rollout_errors{` + of + `})`, legend: "{{track}}"}},
		},
		{
			title: "Rate as judged", kind: graph, unit: perSecond, width: 12, overrides: tracks(),
			about:   "Requests per second over the last blocks.",
			queries: []query{{expr: `max by (track) (serin_rollout_request_rate{` + of + `})`, legend: "{{track}}"}},
		},
		{
			title: "99th percentile as judged", kind: graph, unit: duration, width: 12, overrides: tracks(),
			about:   "The two bounds between which it lies for sure: those of a bucket of Istio's histogram.",
			queries: []query{{expr: `max by (track, bound) (serin_rollout_p99_seconds{` + of + `})`, legend: "{{track}}, {{bound}} bound"}},
		},
	}
}
