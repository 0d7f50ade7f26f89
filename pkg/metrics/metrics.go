// Package metrics shows the controller to Prometheus: rollouts as they are at
// the moment of the scrape, so that no series outlives its rollout, and counts
// of what the controller did.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"serin.dev/serin/pkg/canary"
)

// Metrics is a prometheus.Collector. Its methods are safe for concurrent use.
type Metrics struct {
	views func() []canary.View
	build Build
	descs map[string]*prometheus.Desc

	decisions  *prometheus.CounterVec
	writes     *prometheus.CounterVec
	answers    *prometheus.CounterVec
	queries    *prometheus.CounterVec
	reconciles prometheus.Histogram
}

// Build is what was built.
type Build struct{ Version, Revision, GoVersion string }

// The results by which counters are split.
const (
	resultOK       = "ok"
	resultConflict = "conflict"
	resultError    = "error"
)

// New makes metrics of what views tells at each scrape; views must be safe for
// concurrent use. The caller registers them.
func New(views func() []canary.View, build Build) *Metrics {
	m := &Metrics{views: views, build: build, descs: make(map[string]*prometheus.Desc)}
	for _, f := range families {
		m.descs[f.name] = prometheus.NewDesc(f.name, f.help, f.labels, nil)
	}
	counter := func(name string, results ...string) *prometheus.CounterVec {
		f := find(name)
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.name, Help: f.help}, f.labels)
		// A counter that begins at 0 shows its first increase.
		for _, r := range results {
			vec.WithLabelValues(r)
		}
		return vec
	}
	m.decisions = counter(decisionsName)
	m.writes = counter(writesName, resultOK, resultConflict, resultError)
	m.answers = counter(answersName, resultOK, resultError)
	m.queries = counter(queriesName, resultOK, resultError)
	m.reconciles = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: reconcilesName, Help: find(reconcilesName).help,
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	})
	return m
}

// Decided counts a decision that was told.
func (m *Metrics) Decided(reason canary.Reason) { m.decisions.WithLabelValues(string(reason)).Inc() }

// Wrote counts a write to the API server; err is what it answered.
func (m *Metrics) Wrote(err error) {
	result := outcome(err)
	if apierrors.IsConflict(err) {
		result = resultConflict
	}
	m.writes.WithLabelValues(result).Inc()
}

// Asked counts an answer about one rollout; err is why there was none.
func (m *Metrics) Asked(err error) { m.answers.WithLabelValues(outcome(err)).Inc() }

// Reconciled counts a pass over one Service.
func (m *Metrics) Reconciled(took time.Duration) { m.reconciles.Observe(took.Seconds()) }

// Queries is a transport that counts the queries sent to Prometheus over next.
func (m *Metrics) Queries(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		result := outcome(err)
		if err == nil && response.StatusCode >= http.StatusBadRequest {
			result = resultError
		}
		m.queries.WithLabelValues(result).Inc()
		return response, err
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func outcome(err error) string {
	if err != nil {
		return resultError
	}
	return resultOK
}

// Describe is prometheus.Collector's.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, f := range families {
		out <- m.descs[f.name]
	}
}

// Collect is prometheus.Collector's.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.decisions.Collect(out)
	m.writes.Collect(out)
	m.answers.Collect(out)
	m.queries.Collect(out)
	m.reconciles.Collect(out)
	m.send(out, buildName, 1, m.build.Version, m.build.Revision, m.build.GoVersion)

	type unit struct{ namespace, service string }
	shown := make(map[unit]bool)
	for _, v := range m.views() {
		// One series given twice would fail the whole scrape.
		if u := (unit{v.Namespace, v.Service}); !shown[u] {
			shown[u] = true
			m.view(out, v)
		}
	}
}

func (m *Metrics) view(out chan<- prometheus.Metric, v canary.View) {
	for _, f := range families {
		if f.read == nil {
			continue
		}
		for _, s := range f.read(v) {
			m.send(out, f.name, s.value, append([]string{v.Namespace, v.Service}, s.labels...)...)
		}
	}
}

func (m *Metrics) send(out chan<- prometheus.Metric, name string, value float64, labels ...string) {
	metric, err := prometheus.NewConstMetric(m.descs[name], prometheus.GaugeValue, value, labels...)
	if err != nil {
		metric = prometheus.NewInvalidMetric(m.descs[name], err)
	}
	out <- metric
}

// number is a count as a sample.
func number(n int64, labels ...string) sample { return sample{labels, float64(n)} }

// bounds are the samples of a percentile's two bounds, given in milliseconds;
// none where it is unknown.
func bounds(track string, p99 [2]float64) []sample {
	if p99 == [2]float64{} {
		return nil
	}
	return []sample{
		{[]string{track, "lower"}, p99[0] / 1000},
		{[]string{track, "upper"}, p99[1] / 1000},
	}
}

// seconds is a time as Prometheus writes it.
func seconds(t time.Time) float64 {
	return float64(t.UnixMilli()) / 1000
}

// Markdown is the table of metrics for the documentation.
func Markdown() string {
	text := "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n"
	for _, f := range families {
		labels := ""
		for i, l := range f.labels {
			if i > 0 {
				labels += ", "
			}
			labels += "`" + l + "`"
		}
		text += "| `" + f.name + "` | " + f.kind + " | " + labels + " | " + f.help + " |\n"
	}
	return text
}
