package canary

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"serin.dev/serin/pkg/judge"
)

// This file holds what has to be known before the first user is on the canary:
// how to judge it, and whether a limit can be kept at all.

// Freshness is the age up to which data is of now, where blocks have a width: one
// block, the time until it is closed, the same for a scrape that was missed, and
// the time that an answer takes.
func Freshness(width time.Duration) time.Duration { return 4*width + 3*time.Second }

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
	case m.o.Unseen:
		return "Prometheus has no fresh sample of the requests to " + m.state.Stable.Deployment + "; no user is sent to a canary nobody can judge"
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

// fewBetween is the share of stable's requests inside the bucket of a default
// limit that isn't worth a word.
const fewBetween = 0.002

// blurred says that the limit for latency lies inside a bucket of stable's
// histogram, so that requests in it are neither surely within it nor beyond.
func (m moment) blurred() (sentence string, found bool) {
	h, limit := m.o.Baseline.Stable.Latency, m.spec.Limits.P99
	low, high := h.Around(limit)
	if h.Total() == 0 || low == high {
		return "", false
	}
	possibly, surely := h.Slow(limit)
	between := float64(possibly-surely) / float64(h.Total())
	if m.spec.Limits.DefaultP99 && between <= fewBetween {
		return "", false
	}
	upTo := ""
	if !math.IsInf(high, 1) {
		upTo = " and up to " + milliseconds(high) + " ms"
	}
	return fmt.Sprintf("The limit of %s for P99 lies inside a bucket of the latency histogram, above %s ms%s, where %.2g%% of the requests of %s were in the last hour. Such requests may hold the release. Give the pods of both versions the annotation sidecar.istio.io/statsHistogramBuckets: '{\"istiocustom.istio_request_duration_milliseconds\":[%s]}', or take one of the bounds as the limit",
		limit, milliseconds(low), upTo, 100*between, m.state.Stable.Deployment, strings.Join(boundsWith(h, limit), ",")), true
}

// boundsWith are the histogram's finite bounds in milliseconds, with the limit
// among them.
func boundsWith(h judge.Histogram, limit time.Duration) []string {
	all := []float64{float64(limit) / float64(time.Millisecond)}
	for _, b := range h {
		if !math.IsInf(b.Le, 1) {
			all = append(all, b.Le)
		}
	}
	slices.Sort(all)
	texts := make([]string, len(all))
	for i, ms := range all {
		texts[i] = milliseconds(ms)
	}
	return texts
}

func milliseconds(ms float64) string { return strconv.FormatFloat(ms, 'f', -1, 64) }

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
