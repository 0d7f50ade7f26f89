package annotation

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
)

var (
	bound = regexp.MustCompile(`^([^<>=]*)(<=|>=)([^<>=]*)$`)
	plain = regexp.MustCompile(`^-?[0-9]{1,15}(\.[0-9]{1,9})?$`)
)

const metricsMend = `write limits like "checkout-success >= 99%, queue-depth <= 100"`

func parseMetrics(value string, d *draft) []fault {
	parts := list(value)
	if len(parts) > canary.MaxMetrics {
		return one(fmt.Sprintf("has %d limits, at most %d are allowed", len(parts), canary.MaxMetrics), metricsMend)
	}
	var faults []fault
	var limits []judge.Custom
	for _, part := range parts {
		c, wrong := parseMetric(part, d.metrics)
		if wrong == nil && slices.ContainsFunc(limits, func(other judge.Custom) bool { return other.Name == c.Name }) {
			wrong = one(fmt.Sprintf("has %q twice", c.Name), "write each metric once")
		}
		faults = append(faults, wrong...)
		limits = append(limits, c)
	}
	if faults == nil {
		d.spec.Custom = limits
	}
	return faults
}

// parseMetric reads one limit on a metric that the operator defined.
func parseMetric(part string, known []Metric) (judge.Custom, []fault) {
	m := bound.FindStringSubmatch(part)
	if m == nil {
		return judge.Custom{}, one(fmt.Sprintf("has %q, which is no metric with >= or <= and a limit", shorten(part)), metricsMend)
	}
	name, sign, limit := strings.TrimSpace(m[1]), m[2], strings.TrimSpace(m[3])
	i := slices.IndexFunc(known, func(k Metric) bool { return k.Name == name })
	if i < 0 {
		return judge.Custom{}, unknownMetric(name, known)
	}
	c := judge.Custom{Name: name, AtLeast: sign == ">=", Gauge: known[i].Gauge}
	if !c.Gauge && c.AtLeast == known[i].Bad {
		return c, wrongSide(known[i], sign, limit)
	}
	n, faults := limitOf(c, limit)
	c.Bound = n
	return c, faults
}

func unknownMetric(name string, known []Metric) []fault {
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = k.Name
	}
	mend := "define it under metrics in the configuration of Serin first"
	if len(names) > 0 {
		mend = meant(name, names, "known are "+strings.Join(names, ", ")+"; others have to be defined in the configuration of Serin first")
	}
	return one(fmt.Sprintf("names the metric %q, which is not defined", shorten(name)), mend)
}

// wrongSide refuses a limit that every good value breaks.
func wrongSide(k Metric, sign, limit string) []fault {
	what, other := "went well", ">="
	if k.Bad {
		what, other = "went wrong", "<="
	}
	return one(fmt.Sprintf("bounds %s by %s, but it is the share of what %s", k.Name, sign, what),
		fmt.Sprintf("write %q", shorten(k.Name+" "+other+" "+limit)))
}

// limitOf reads a limit as it fits the kind of metric.
func limitOf(c judge.Custom, limit string) (float64, []fault) {
	if c.Gauge {
		n, err := strconv.ParseFloat(limit, 64)
		if err != nil || !plain.MatchString(limit) {
			return 0, one(fmt.Sprintf("has the limit %q for %s, which is no plain number", shorten(limit), c.Name), fmt.Sprintf("write for example %q", c.Name+" <= 100"))
		}
		return n, nil
	}
	mend := fmt.Sprintf("write a percentage, like %q", c.Name+" >= 99%")
	if !c.AtLeast {
		mend = fmt.Sprintf("write a percentage, like %q", c.Name+" <= 1%")
	}
	percent, ok := Number(limit, "%")
	switch {
	case !ok:
		return 0, one(fmt.Sprintf("has the limit %q for %s, which is no percentage", shorten(limit), c.Name), mend)
	case percent <= 0 || percent >= 100:
		return 0, one(fmt.Sprintf("has the limit %s for %s, which is not between 0%% and 100%%", limit, c.Name), mend)
	}
	return percent / 100, nil
}
