package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"serin.dev/serin/pkg/annotation"
)

// Metric is a metric that the operator defined: PromQL with placeholders, as it
// was written. A share of events has Total and either Good or Bad, all of them
// counters; a plain number has Gauge alone.
type Metric struct {
	Name, Description       string
	Good, Bad, Total, Gauge string
}

// Vocabulary is what Deployments' annotations build on. Without any channel, or any
// gate, it lets them name all: whoever was given no file, as kubectl, doesn't know which
// there are. The controller does, by ChannelNames and GateVocabulary.
func (c Config) Vocabulary() annotation.Vocabulary {
	v := annotation.Vocabulary{Defaults: c.Defaults}
	if len(c.Notify.Channels) > 0 {
		v.Channels = c.ChannelNames()
	}
	if len(c.Gates) > 0 {
		v.Gates = c.GateVocabulary()
	}
	v.Defaults.Notify = c.Notify.Default
	for _, m := range c.Metrics {
		v.Metrics = append(v.Metrics, annotation.Metric{Name: m.Name, Gauge: m.Gauge != "", Bad: m.Bad != ""})
	}
	return v
}

// templateFields are what may stand below a metric's name.
var templateFields = []string{"description", "good", "bad", "total", "gauge"}

// reserved are the names of what every release is judged by.
var reserved = []string{"errors", "latency", "client-errors", "disconnects"}

// applyMetrics reads the operator's metrics, sorted by name.
func applyMetrics(c *Config, section map[string]any) []error {
	var errs []error
	c.Metrics = nil
	for _, key := range slices.Sorted(maps.Keys(section)) {
		m, wrong := readMetric(key, section[key])
		for _, err := range wrong {
			errs = append(errs, fmt.Errorf("%s.%s%w", metricsPath, key, err))
		}
		c.Metrics = append(c.Metrics, m)
	}
	return errs
}

// readMetric reads one metric. Errors go on where its path ends.
func readMetric(key string, value any) (Metric, []error) {
	m := Metric{Name: key}
	var errs []error
	switch {
	case !label.MatchString(key):
		errs = append(errs, errors.New(": a metric can't have this name; write lower-case letters, digits and \"-\", at most 63, like checkout-success"))
	case slices.Contains(reserved, key) || strings.HasSuffix(key, "-vs-stable"):
		errs = append(errs, errors.New(": this name is taken by what every release is judged by; write another"))
	}
	fields, is := value.(map[string]any)
	if !is {
		return m, append(errs, fmt.Errorf(": %s is no mapping; write the fields below it, indented: %s", written(value), strings.Join(templateFields, ", ")))
	}
	before := len(errs)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		into := m.field(field)
		text, isText := fields[field].(string)
		text = strings.TrimSpace(text)
		switch {
		case into == nil:
			errs = append(errs, fmt.Errorf(".%s: there is no such field; %s", field, meant(field, templateFields, "known here are "+strings.Join(templateFields, ", "))))
		case !isText || text == "":
			errs = append(errs, fmt.Errorf(".%s: %s is no text; write a query, or take the field away", field, written(fields[field])))
		default:
			*into = text
		}
	}
	if len(errs) > before {
		return m, errs // what is wrong in a field explains what is missing
	}
	if err := m.shape(); err != nil {
		errs = append(errs, err)
	}
	return m, errs
}

func (m *Metric) field(name string) *string {
	switch name {
	case "description":
		return &m.Description
	case "good":
		return &m.Good
	case "bad":
		return &m.Bad
	case "total":
		return &m.Total
	case "gauge":
		return &m.Gauge
	}
	return nil
}

// shape demands a share of events or a plain number, and one of them.
func (m Metric) shape() error {
	share := m.Good != "" || m.Bad != "" || m.Total != ""
	switch {
	case m.Gauge != "" && share:
		return errors.New(": it is both a gauge and a share of counters; keep gauge alone, or take it away")
	case m.Gauge != "":
		return nil
	case m.Good != "" && m.Bad != "":
		return errors.New(": it has both good and bad; keep one, the other is what is left of total")
	case m.Good == "" && m.Bad == "":
		return errors.New(": it says neither what is good nor what is bad; add good or bad beside total, or gauge alone")
	case m.Total == "":
		return errors.New(": it has no total to take the share of; add total, the counter of all events")
	}
	return nil
}
