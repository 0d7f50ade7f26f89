package metrics

import "k8s.io/client-go/util/workqueue"

// Queue measures the controller's queue.
func (m *Metrics) Queue() workqueue.MetricsProvider { return queue{m} }

// queue gives client-go what it asks for. What is not shown goes nowhere: how long
// passes take is measured in whole, and the rest follows from it.
type queue struct{ m *Metrics }

func (q queue) NewDepthMetric(string) workqueue.GaugeMetric          { return q.m.depth }
func (q queue) NewLatencyMetric(string) workqueue.HistogramMetric    { return q.m.waits }
func (queue) NewAddsMetric(string) workqueue.CounterMetric           { return nowhere{} }
func (queue) NewRetriesMetric(string) workqueue.CounterMetric        { return nowhere{} }
func (queue) NewWorkDurationMetric(string) workqueue.HistogramMetric { return nowhere{} }
func (queue) NewUnfinishedWorkSecondsMetric(string) workqueue.SettableGaugeMetric {
	return nowhere{}
}

func (queue) NewLongestRunningProcessorSecondsMetric(string) workqueue.SettableGaugeMetric {
	return nowhere{}
}

type nowhere struct{}

func (nowhere) Inc()            {}
func (nowhere) Set(float64)     {}
func (nowhere) Observe(float64) {}
