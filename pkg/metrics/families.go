package metrics

import "serin.dev/serin/pkg/canary"

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
