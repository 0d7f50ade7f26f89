// Package metrics shows the controller to Prometheus: rollouts as they are at
// the moment of the scrape, so that no series outlives its rollout, and counts
// of what the controller did.
package metrics

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
)

// Metrics is a prometheus.Collector, and what measures the controller's queue. Its
// methods are safe for concurrent use.
type Metrics struct {
	source Source
	build  Build
	descs  map[string]*prometheus.Desc

	decisions, transitions, served, writes, events, answers, queries, questions, messages, renewals *prometheus.CounterVec

	snaps, reconciles, waits prometheus.Histogram
	writeTimes               *prometheus.HistogramVec
	questionTimes            *prometheus.HistogramVec
	depth                    prometheus.Gauge
	answered                 atomic.Int64 // ms since 1970; 0: never
}

// Source is what each scrape reads. Its functions must be safe for concurrent use.
type Source struct {
	Views   func() []canary.View
	Leading func() bool // whether this replica works
	Ready   func() bool // whether the cluster was read in full
}

// Build is what was built.
type Build struct{ Version, Revision, GoVersion string }

// The results by which counters are split.
const (
	resultOK        = "ok"
	resultBad       = "bad"
	resultConflict  = "conflict"
	resultError     = "error"
	resultUnreached = "unreached"
)

// The bounds of histograms, in seconds. A canary should lose its users within one
// second, so that there the bounds are close below it.
var (
	passBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	// Questions may wait for people's programs, up to a minute or two.
	questionBounds = []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 180}
	snapBounds     = []float64{.01, .025, .05, .1, .2, .3, .4, .5, .75, 1, 1.5, 2, 5, 15, 60}
)

// New makes metrics of what source tells at each scrape. The caller registers them.
func New(source Source, build Build) *Metrics {
	m := &Metrics{source: source, build: build, descs: make(map[string]*prometheus.Desc)}
	for _, f := range families {
		m.descs[f.name] = prometheus.NewDesc(f.name, f.help, f.labels, nil)
	}
	// What rules ask for the increase of has to be there before.
	m.decisions = newCounter(decisionsName, string(canary.GitOpsReapplied), string(canary.GitOpsLeft), string(canary.RevertedByGitOps))
	m.transitions = newCounter(transitionsName)
	m.served = newCounter(servedName, resultOK, resultBad)
	m.writes = newCounter(writesName, resultOK, resultConflict, resultError)
	m.events = newCounter(eventsName, resultOK, resultError)
	m.answers = newCounter(answersName, resultOK, resultError)
	m.queries = newCounter(queriesName, resultOK, resultError)
	m.questions = newCounter(questionsName)
	m.messages = newCounter(messagesName)
	m.renewals = newCounter(renewalsName, resultOK, resultError)
	m.snaps = newHistogram(snapsName, snapBounds)
	m.reconciles = newHistogram(reconcilesName, passBounds)
	m.waits = newHistogram(waitsName, passBounds)
	f := find(writeTimesName)
	m.writeTimes = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.name, Help: f.help, Buckets: passBounds}, f.labels)
	f = find(questionTimesName)
	m.questionTimes = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.name, Help: f.help, Buckets: questionBounds}, f.labels)
	m.depth = prometheus.NewGauge(prometheus.GaugeOpts{Name: depthName, Help: find(depthName).help})
	return m
}

// newCounter makes a counter with one label, or with none of its series yet. One
// that begins at 0 shows its first increase.
func newCounter(name string, values ...string) *prometheus.CounterVec {
	f := find(name)
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.name, Help: f.help}, f.labels)
	for _, v := range values {
		vec.WithLabelValues(v)
	}
	return vec
}

func newHistogram(name string, bounds []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: find(name).help, Buckets: bounds})
}

// Decided counts a decision that was told.
func (m *Metrics) Decided(reason canary.Reason) { m.decisions.WithLabelValues(string(reason)).Inc() }

// Moved counts that a rollout came to another phase or step.
func (m *Metrics) Moved(from, to canary.Phase, reason canary.Reason) {
	m.transitions.WithLabelValues(string(from), string(to), string(reason)).Inc()
}

// Wrote counts a write to the API server; err is what it answered.
func (m *Metrics) Wrote(verb mode.Verb, kind string, took time.Duration, err error) {
	result := outcome(err)
	if apierrors.IsConflict(err) {
		result = resultConflict
	}
	m.writes.WithLabelValues(result).Inc()
	m.writeTimes.WithLabelValues(string(verb), kind, result).Observe(took.Seconds())
}

// Snapped counts that a canary lost all its users, and how long that took.
func (m *Metrics) Snapped(took time.Duration) { m.snaps.Observe(took.Seconds()) }

// Asked counts an answer about one rollout; err is why there was none.
func (m *Metrics) Asked(err error) {
	m.answers.WithLabelValues(outcome(err)).Inc()
	if err == nil {
		m.answered.Store(time.Now().UnixMilli())
	}
}

// Answered counts what somebody outside said to a question.
func (m *Metrics) Answered(q canary.Question, a canary.Answer, took time.Duration) {
	said := string(a.Said)
	if a.Unreached {
		said = resultUnreached
	}
	name := q.Name
	if q.Kind != canary.AskGate { // only gates have names that the operator chose, and that are few
		name = ""
	}
	m.questions.WithLabelValues(string(q.Kind), name, said).Inc()
	m.questionTimes.WithLabelValues(string(q.Kind)).Observe(took.Seconds())
}

// Served counts what canaries answered: requests, of which some were bad.
func (m *Metrics) Served(requests, bad int64) {
	m.served.WithLabelValues(resultOK).Add(float64(max(0, requests-bad)))
	m.served.WithLabelValues(resultBad).Add(float64(max(0, bad)))
}

// Told counts an Event; err is why it was not sent.
func (m *Metrics) Told(err error) { m.events.WithLabelValues(outcome(err)).Inc() }

// Notified counts what became of a message on one of the operator's channels.
func (m *Metrics) Notified(channel, result string) {
	m.messages.WithLabelValues(channel, result).Inc()
}

// Renewed counts an attempt to take or renew the lease.
func (m *Metrics) Renewed(err error) { m.renewals.WithLabelValues(outcome(err)).Inc() }

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
	for _, c := range []prometheus.Collector{
		m.decisions, m.transitions, m.served, m.writes, m.events, m.answers, m.queries, m.questions, m.messages, m.renewals,
		m.snaps, m.reconciles, m.waits, m.writeTimes, m.questionTimes, m.depth,
	} {
		c.Collect(out)
	}
	m.send(out, buildName, 1, m.build.Version, m.build.Revision, m.build.GoVersion)
	m.send(out, leadingName, truth(m.source.Leading()))
	m.send(out, syncedName, truth(m.source.Ready()))
	if at := m.answered.Load(); at > 0 {
		m.send(out, lastAnswerName, seconds(time.UnixMilli(at)))
	}

	type unit struct{ namespace, service string }
	shown := make(map[unit]bool)
	var all fleet
	for _, v := range m.source.Views() {
		// One series given twice would fail the whole scrape.
		if u := (unit{v.Namespace, v.Service}); !shown[u] {
			shown[u] = true
			m.view(out, v)
			all.add(v)
		}
	}
	all.send(m, out)
}

// fleet sums up what isn't told Service by Service.
type fleet struct {
	phases   map[canary.Phase]int
	findings map[finding]int
}

type finding struct {
	reason   canary.Reason
	blocking bool
}

func (f *fleet) add(v canary.View) {
	if f.phases == nil {
		f.phases, f.findings = map[canary.Phase]int{}, map[finding]int{}
	}
	f.phases[v.Phase]++
	here := map[finding]bool{}
	for _, x := range v.Findings {
		here[finding{x.Reason, x.Blocking}] = true
	}
	for x := range here {
		f.findings[x]++
	}
}

func (f *fleet) send(m *Metrics, out chan<- prometheus.Metric) {
	for _, p := range phases { // also those that none is in: a sum then is 0, not missing
		m.send(out, rolloutsName, float64(f.phases[p]), string(p))
	}
	for x, n := range f.findings {
		m.send(out, findingsName, float64(n), string(x.reason), strconv.FormatBool(x.blocking))
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

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
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

// Family is what is known of a metric: enough to check what is asked of it.
type Family struct {
	Name, Kind, Help string
	Labels           []string
}

// Families are all metrics of Serin's own, in the order of the documentation.
func Families() []Family {
	all := make([]Family, 0, len(families))
	for _, f := range families {
		all = append(all, Family{Name: f.name, Kind: f.kind, Help: f.help, Labels: f.labels})
	}
	return all
}

// units are said by the ends of the names, as Prometheus's conventions have it; what
// isn't measured but counted, or only is or is not, has none.
var units = []struct{ end, unit string }{
	{"_timestamp_seconds", "s since 1970"}, {"_seconds", "s"}, {"_percent", "%"}, {"_ratio", "0 to 1"}, {"_rate", "1/s"}, {"_per_second", "1/s"},
	{"_evidence", "log10 of odds"}, {"_evidence_together", "log10 of odds"}, {"_evidence_needed", "log10 of odds"},
}

func unit(name string) string {
	for _, u := range units {
		if strings.HasSuffix(name, u.end) {
			return u.unit
		}
	}
	return ""
}

// Markdown is the table of metrics for the documentation.
func Markdown() string {
	text := "| Metric | Type | Unit | Labels | Meaning |\n|---|---|---|---|---|\n"
	for _, f := range families {
		labels := ""
		for i, l := range f.labels {
			if i > 0 {
				labels += ", "
			}
			labels += "`" + l + "`"
		}
		text += "| `" + f.name + "` | " + f.kind + " | " + unit(f.name) + " | " + labels + " | " + f.help + " |\n"
	}
	return text
}
