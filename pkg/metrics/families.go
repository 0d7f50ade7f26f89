package metrics

import (
	"math"

	"serin.dev/serin/pkg/canary"
)

// family is one metric: all that is known about it stands here.
type family struct {
	name, kind, help string
	labels           []string
	// read makes the samples of one rollout; nil for what isn't about rollouts.
	// The labels namespace and service, which come first, are added to each.
	read func(canary.View) []sample
}

type sample struct {
	labels []string
	value  float64
}

const (
	rolloutsName      = "serin_rollouts"
	findingsName      = "serin_findings"
	decisionsName     = "serin_decisions_total"
	transitionsName   = "serin_transitions_total"
	servedName        = "serin_canary_answers_total"
	snapsName         = "serin_snap_duration_seconds"
	writesName        = "serin_writes_total"
	writeTimesName    = "serin_write_duration_seconds"
	eventsName        = "serin_events_total"
	answersName       = "serin_prometheus_answers_total"
	queriesName       = "serin_prometheus_queries_total"
	questionsName     = "serin_questions_total"
	questionTimesName = "serin_question_duration_seconds"
	messagesName      = "serin_notifications_total"
	lastAnswerName    = "serin_prometheus_last_answer_timestamp_seconds"
	reconcilesName    = "serin_reconcile_duration_seconds"
	depthName         = "serin_queue_depth"
	waitsName         = "serin_queue_wait_seconds"
	leadingName       = "serin_leading"
	renewalsName      = "serin_lease_renewals_total"
	syncedName        = "serin_cluster_read"
	buildName         = "serin_build_info"
)

const (
	gauge     = "gauge"
	counter   = "counter"
	histogram = "histogram"

	stableTrack = "stable"
	canaryTrack = "canary"

	rollback  = "rollback"
	promotion = "promotion"
)

// families are all metrics, in the order of the documentation.
var families = []family{
	{"serin_rollout_phase", gauge, "1 for the phase in which the Service's rollout is; Idle when none is under way or remembered.",
		rollout("deployment", "phase"), phase},
	{"serin_rollout_weight_percent", gauge, "The canary's ordered share of the traffic, 0 to 100; missing where no release was ever seen.",
		rollout(), func(v canary.View) []sample {
			if v.Rollout == "" && !live(v) {
				return nil
			}
			return []sample{number(int64(v.Weight))}
		}},
	{"serin_rollout_last_transition_timestamp_seconds", gauge, "When the present phase or step was ordered, in seconds since 1970, with its reason.",
		rollout("reason"), lastTransition},
	{"serin_rollout_reason", gauge, "1 for why the rollout is where it is: the reason that Events, the log and all displays give. Only while there is something to be told: under way, waiting or blocked.",
		rollout("reason"), func(v canary.View) []sample {
			if v.Reason == "" || !live(v) && v.Phase != canary.Blocked && v.Phase != canary.Waiting {
				return nil
			}
			return []sample{number(1, string(v.Reason))}
		}},
	{"serin_rollout_track_info", gauge, "1 for the workload of each track while a rollout is under way: what Istio calls destination_workload.",
		rollout("track", "workload"), underWay(tracks)},
	{"serin_rollout_virtual_service_weight_percent", gauge, "The canary's share as it is found in each VirtualService, 0 to 100: the least and the most of its routes.",
		rollout("virtual_service", "bound"), underWay(shares)},
	{"serin_rollout_mirror_percent", gauge, "The share of requests, 0 to 100, of which the canary is sent a copy; missing while it is sent none.",
		rollout(), underWay(func(v canary.View) []sample { return above0(float64(v.Mirror)) })},
	{"serin_rollout_awaiting", gauge, "1 for each thing that the rollout waits for from outside: its kind (approval, gate, smoke, alerts, endpoints, series) and, of a gate, its name. Each stands at most once.",
		rollout("kind", "name"), awaiting},
	{"serin_rollout_unverified", gauge, "1 while the last release of the Service was rolled back and it could not be verified that stable serves as before.",
		rollout(), func(v canary.View) []sample {
			if v.Unverified == "" {
				return nil
			}
			return []sample{number(1)}
		}},
	{"serin_rollout_residual_requests_per_second", gauge, "Requests per second that still reach a Deployment to which no route leads any more; missing when it gets none.",
		rollout("deployment"), func(v canary.View) []sample {
			if v.Residual <= 0 {
				return nil
			}
			return []sample{{[]string{v.ResidualOf}, v.Residual}}
		}},
	{"serin_rollout_step", gauge, "The step in force, counted from 1; 0 before the first.",
		rollout(), underWay(func(v canary.View) []sample { return []sample{number(int64(v.Step))} })},
	{"serin_rollout_steps", gauge, "How many steps the rollout has.",
		rollout(), underWay(func(v canary.View) []sample { return []sample{number(int64(v.Steps))} })},
	{"serin_rollout_progress_ratio", gauge, "How much of the way to the promotion is done, 0 to 1; missing while it goes back.",
		rollout(), underWay(func(v canary.View) []sample {
			if done, known := v.Progress(); known {
				return []sample{{nil, done}}
			}
			return nil
		})},
	{"serin_rollout_deadline_timestamp_seconds", gauge, "When the step's time is over, in seconds since 1970; missing where it has none.",
		rollout(), underWay(func(v canary.View) []sample {
			if v.Next.Deadline.IsZero() {
				return nil
			}
			return []sample{{nil, seconds(v.Next.Deadline)}}
		})},
	{"serin_rollout_max_error_ratio", gauge, "The limit in force on the share of failed requests, 0 to 1.",
		rollout(), underWay(func(v canary.View) []sample { return above0(v.Limits.ErrorRate) })},
	{"serin_rollout_max_p99_seconds", gauge, "The limit in force on the 99th percentile of latency.",
		rollout(), underWay(func(v canary.View) []sample { return above0(v.Limits.P99.Seconds()) })},
	{"serin_rollout_verdict", gauge, "1 for the judge's latest verdict and its reason.",
		rollout("kind", "reason"), judged(func(v canary.VerdictView) []sample {
			return []sample{number(1, v.Kind, v.Reason)}
		})},
	{"serin_rollout_requests", gauge, "Requests answered by each track and judged at the present step.",
		rollout("track"), judged(func(v canary.VerdictView) []sample {
			return []sample{number(v.StableRequests, stableTrack), number(v.CanaryRequests, canaryTrack)}
		})},
	{"serin_rollout_errors", gauge, "Failures among the judged requests.",
		rollout("track"), judged(func(v canary.VerdictView) []sample {
			return []sample{number(v.StableErrors, stableTrack), number(v.CanaryErrors, canaryTrack)}
		})},
	{"serin_rollout_request_rate", gauge, "Requests per second answered by each track, over the last blocks.",
		rollout("track"), judged(func(v canary.VerdictView) []sample {
			return []sample{{[]string{stableTrack}, v.StableRate}, {[]string{canaryTrack}, v.CanaryRate}}
		})},
	{"serin_rollout_p99_seconds", gauge, "The lower and upper bound between which the 99th percentile of each track's latency lies; missing when unknown.",
		rollout("track", "bound"), judged(func(v canary.VerdictView) []sample {
			return append(bounds(stableTrack, v.StableP99), bounds(canaryTrack, v.CanaryP99)...)
		})},
	{"serin_rollout_evidence", gauge, "The evidence of each metric towards a rollback and towards a promotion, over the release so far, as the common logarithm of odds: 2 is 100 to 1, 0 is none. Only in evidence mode.",
		rollout("metric", "towards"), judged(evidence)},
	{"serin_rollout_evidence_together", gauge, "The evidence of all metrics together towards a rollback, and that of the metric farthest from it towards a promotion; common logarithm of odds.",
		rollout("towards"), judged(weighed(func(v canary.VerdictView) []sample {
			return []sample{odds(v.Against, rollback), odds(v.For, promotion)}
		}))},
	{"serin_rollout_evidence_needed", gauge, "The evidence that suffices for a rollback and for a promotion; common logarithm of odds.",
		rollout("towards"), judged(weighed(func(v canary.VerdictView) []sample {
			return []sample{odds(v.RollbackAt, rollback), odds(v.PromoteAt, promotion)}
		}))},
	{"serin_rollout_requests_needed", gauge, "About how many more of the canary's requests a promotion takes; missing when unknown, and when enough were seen.",
		rollout(), judged(func(v canary.VerdictView) []sample {
			if v.More == 0 {
				return nil
			}
			return []sample{number(v.More)}
		})},

	{rolloutsName, gauge, "How many Services have their rollout in each phase.", []string{"phase"}, nil},
	{findingsName, gauge, "How many Services preflight finds something about, by reason, and whether it keeps releases from starting.",
		[]string{"reason", "blocking"}, nil},
	{decisionsName, counter, "Decisions told, by reason.", []string{"reason"}, nil},
	{transitionsName, counter, "Rollouts that came from one phase to another, or from one step to the next, by reason.", []string{"from", "to", "reason"}, nil},
	{servedName, counter, "Answers that all canaries gave, by result: ok or bad. Counted from closed blocks of evidence, each once, and only those since this replica leads; what proved a breach before its block was closed is not among them.",
		[]string{"result"}, nil},
	{snapsName, histogram, "How long it takes to take all users off a canary: from when the judge reached its verdict (for any other cause: from the beginning of the pass that saw it) until the API server has acknowledged the last route's write.", nil, nil},
	{writesName, counter, "Writes to the API server, by result: ok, conflict (read and decided again) or error.", []string{"result"}, nil},
	{writeTimesName, histogram, "How long the API server takes to answer a write of a route or a workload.", []string{"verb", "kind", "result"}, nil},
	{eventsName, counter, "Events for people, by result: ok, or error when one was refused or too many waited. What is lost here is in the log.", []string{"result"}, nil},
	{queriesName, counter, "Queries sent to Prometheus, by result: ok or error.", []string{"result"}, nil},
	{questionsName, counter, "Answers to what is asked outside of releases, by kind (gate, smoke, alerts, endpoints, series, residual, images), the gate's name, and what was said: allow, deny, wait, approve, or unreached.", []string{"kind", "name", "said"}, nil},
	{questionTimesName, histogram, "How long those who are asked outside of releases took to answer, by kind of question, in seconds.", []string{"kind"}, nil},
	{messagesName, counter, "Messages to people and programs, by channel and result: sent, retried (and then sent or dropped) or dropped.", []string{"channel", "result"}, nil},
	{answersName, counter, "Times a rollout's judge was served with data, by result: ok or error. One query serves many rollouts.", []string{"result"}, nil},
	{lastAnswerName, gauge, "When Prometheus last served a judge with data, in seconds since 1970; missing until it did.", nil, nil},
	{reconcilesName, histogram, "How long passes over one Service take: read, decide, write.", nil, nil},
	{depthName, gauge, "How many Services wait to be looked at.", nil, nil},
	{waitsName, histogram, "How long a Service waited to be looked at.", nil, nil},
	{leadingName, gauge, "1 for the replica that works, 0 for those that stand by.", nil, nil},
	{renewalsName, counter, "Attempts to take or renew the lease, by result: ok or error.", []string{"result"}, nil},
	{syncedName, gauge, "1 when the cluster was read in full, 0 before.", nil, nil},
	{buildName, gauge, "Always 1; the labels tell what was built.", []string{"version", "revision", "goversion"}, nil},
}

func rollout(more ...string) []string { return append([]string{"namespace", "service"}, more...) }

func find(name string) family {
	for _, f := range families {
		if f.name == name {
			return f
		}
	}
	panic("no metric " + name)
}

func phase(v canary.View) []sample {
	return []sample{number(1, v.Canary.Deployment, string(v.Phase))}
}

func lastTransition(v canary.View) []sample {
	if v.Since.IsZero() {
		return nil
	}
	return []sample{{[]string{string(v.Moved)}, seconds(v.Since)}}
}

// phases are all that are shown.
var phases = []canary.Phase{
	canary.Idle, canary.Waiting, canary.Blocked, canary.Watched, canary.Testing, canary.Progressing, canary.Paused,
	canary.Inconclusive, canary.Promoting, canary.Finishing, canary.RollingBack, canary.Succeeded, canary.RolledBack,
}

// live tells that a rollout is under way, or watched. One that is blocked in the
// middle still knows its steps.
func live(v canary.View) bool {
	return v.Phase.Active() || v.Phase == canary.Watched || len(v.Path) > 0
}

// underWay leaves out Services at rest: there may be thousands, of which there is
// nothing else to tell.
func underWay(read func(canary.View) []sample) func(canary.View) []sample {
	return func(v canary.View) []sample {
		if !live(v) {
			return nil
		}
		return read(v)
	}
}

// tracks are the workloads whose names are known; one that serves both is no
// track of its own.
func tracks(v canary.View) []sample {
	var samples []sample
	if v.Stable.Deployment != "" {
		samples = append(samples, number(1, stableTrack, v.Stable.Deployment))
	}
	if v.Canary.Deployment != "" && v.Canary.Deployment != v.Stable.Deployment {
		samples = append(samples, number(1, canaryTrack, v.Canary.Deployment))
	}
	return samples
}

func shares(v canary.View) []sample {
	var samples []sample
	for _, s := range v.Shares {
		samples = append(samples, number(int64(s.Least), s.VirtualService, "least"), number(int64(s.Most), s.VirtualService, "most"))
	}
	return samples
}

// awaiting are what is waited for, each once: the same may be awaited for several steps.
func awaiting(v canary.View) []sample {
	type thing struct{ kind, name string }
	var samples []sample
	seen := map[thing]bool{}
	for _, a := range v.Awaits {
		if what := (thing{a.Kind, a.Name}); !seen[what] {
			seen[what] = true
			samples = append(samples, number(1, a.Kind, a.Name))
		}
	}
	return samples
}

// above0 is a limit, where there is one.
func above0(limit float64) []sample {
	if limit <= 0 {
		return nil
	}
	return []sample{{nil, limit}}
}

// judged leaves out what no judge has looked at: a 0 would look measured.
func judged(read func(canary.VerdictView) []sample) func(canary.View) []sample {
	return func(v canary.View) []sample {
		if v.Verdict.Kind == "" {
			return nil
		}
		return read(v.Verdict)
	}
}

// weighed leaves out what is judged without evidence.
func weighed(read func(canary.VerdictView) []sample) func(canary.VerdictView) []sample {
	return func(v canary.VerdictView) []sample {
		if v.RollbackAt == 0 {
			return nil
		}
		return read(v)
	}
}

// evidence is that of each metric which has data.
func evidence(v canary.VerdictView) []sample {
	var samples []sample
	for _, m := range v.Metrics {
		if m.Missing == "" {
			samples = append(samples, odds(m.Against, m.Name, rollback), odds(m.For, m.Name, promotion))
		}
	}
	return samples
}

// odds turns a natural logarithm of odds into the one people can read.
func odds(log canary.Odds, labels ...string) sample { return sample{labels, float64(log) / math.Ln10} }
