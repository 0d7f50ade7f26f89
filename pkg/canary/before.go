package canary

import (
	"strconv"
	"strings"

	"serin.dev/serin/pkg/judge"
)

// This file holds what has to be known before the first user is on the canary:
// how to judge it, and whether a limit can be kept at all.

// The judge's names of what every release is judged by.
const (
	errorsMetric  = "errors"
	latencyMetric = "latency"
)

// blind says why nobody could judge a canary that has users; empty once the
// first step was reached, for then the judge itself says what is missing.
func (m moment) blind() string {
	switch {
	case m.state.Step > 0:
		return ""
	case m.o.Unanswered != "":
		return "Prometheus does not answer: " + m.o.Unanswered + "; no user is sent to a canary nobody can judge"
	case m.o.Width == 0 && m.state.Width == 0:
		return "Finding out how often metrics are scraped"
	case !m.o.Baseline.Known:
		return "Finding out what " + m.state.Stable.Deployment + " did in the hour before the release"
	}
	return ""
}

// holdBlind waits for Prometheus, and tells people when that takes long.
func (m moment) holdBlind(why string) Plan {
	p := m.hold(NoData, "%s", why)
	if m.now.Sub(m.state.Since)-m.spec.Test >= noDataAlert {
		p.Tell = append(p.Tell, Event{Reason: NoData, Warning: true, Sentence: "Held at 0% for more than " + short(noDataAlert) +
			", for Prometheus does not tell what is needed: no user is sent to a canary nobody can judge"})
	}
	return p
}

// brokenByStable is the first limit that somebody wrote and stable itself breaks.
func (m moment) brokenByStable() (judge.Excess, bool) {
	for _, over := range m.o.Baseline.Over {
		if over.Written {
			return over, true
		}
	}
	return judge.Excess{}, false
}

// unkeepable says that a limit can't be kept, and which could.
func (m moment) unkeepable(over judge.Excess) string {
	mend := "Raise the limit"
	if over.Suggest != "" {
		mend = "Write " + m.looser(over)
	}
	return m.excess(over) + ", so that no canary could keep it. " + mend + ", or mend " + m.state.Stable.Deployment + " first"
}

// comparedOnly says that a default limit isn't applied, and which could be.
func (m moment) comparedOnly(over judge.Excess) string {
	sentence := m.excess(over) + ". Nobody wrote that limit, so it isn't applied: the canary is only compared with stable"
	if over.Suggest != "" {
		sentence += ". To have one, write " + m.looser(over)
	}
	return sentence
}

func (m moment) excess(over judge.Excess) string {
	return m.state.Stable.Deployment + " itself breaks the limit of " + over.Limit + " for " + over.Metric + ": " + over.Seen
}

// looser is an annotation with a limit that stable keeps.
func (m moment) looser(over judge.Excess) string {
	key, value, ratio := "metrics", m.bounds(over), 0.0
	switch over.Metric {
	case errorsMetric:
		key, value, ratio = "max-error-rate", over.Suggest, m.spec.Limits.ErrorRatio
	case latencyMetric:
		key, value, ratio = "max-p99", over.Suggest, m.spec.Limits.P99Ratio
	}
	if ratio > 0 {
		value += ", " + decimal(ratio) + "x"
	}
	return "serin.dev/" + key + ": " + strconv.Quote(value)
}

// bounds are the limits on the operator's metrics, one of them made looser.
func (m moment) bounds(over judge.Excess) string {
	var limits []string
	for _, c := range m.spec.Custom {
		sign, limit := "<=", decimal(c.Bound)
		if c.AtLeast {
			sign = ">="
		}
		if !c.Gauge {
			limit = decimal(100*c.Bound) + "%"
		}
		if c.Name == over.Metric {
			limit = over.Suggest
		}
		limits = append(limits, c.Name+" "+sign+" "+limit)
	}
	return strings.Join(limits, ", ")
}

// decimal is a number as people write it, to nine digits.
func decimal(n float64) string {
	s := strconv.FormatFloat(n, 'g', 9, 64)
	if strings.Contains(s, "e") {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return s
}
