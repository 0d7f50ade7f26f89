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
	decisionsName  = "serin_decisions_total"
	writesName     = "serin_writes_total"
	answersName    = "serin_prometheus_answers_total"
	queriesName    = "serin_prometheus_queries_total"
	reconcilesName = "serin_reconcile_duration_seconds"
	buildName      = "serin_build_info"
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
	{"serin_rollout_weight_percent", gauge, "The canary's ordered share of the traffic, 0 to 100.",
		rollout(), func(v canary.View) []sample { return []sample{number(int64(v.Weight))} }},
	{"serin_rollout_step", gauge, "The step in force, counted from 1; 0 before the first.",
		rollout(), func(v canary.View) []sample { return []sample{number(int64(v.Step))} }},
	{"serin_rollout_steps", gauge, "How many steps the rollout has.",
		rollout(), func(v canary.View) []sample { return []sample{number(int64(v.Steps))} }},
	{"serin_rollout_last_transition_timestamp_seconds", gauge, "When the present phase or step was ordered, in seconds since 1970, with its reason.",
		rollout("reason"), lastTransition},
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

	{decisionsName, counter, "Decisions told, by reason.", []string{"reason"}, nil},
	{writesName, counter, "Writes to the API server, by result: ok, conflict (read and decided again) or error.", []string{"result"}, nil},
	{queriesName, counter, "Queries sent to Prometheus, by result: ok or error.", []string{"result"}, nil},
	{answersName, counter, "Times a rollout's judge was served with data, by result: ok or error. One query serves many rollouts.", []string{"result"}, nil},
	{reconcilesName, histogram, "How long passes over one Service take: read, decide, write.", nil, nil},
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
