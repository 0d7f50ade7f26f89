package prom

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// This file holds what is asked after a release: what still reaches a version that no
// route leads to any more, and whether the series of the version that users went back
// to go on.

// drain is how long no request may have reached a version until nobody is said to
// reach it any more; at least drainScrapes scrapes.
const (
	drain        = time.Minute
	drainScrapes = 3
)

// After is a version that is looked at after a release.
type After struct {
	Namespace string
	Workload  string        // its Deployment
	Serving   string        // the Deployment that users are on: that it is seen shows that there is data
	Interval  time.Duration // of scrapes, > 0
	Since     time.Time     // when the users left it; requests before are none of it
}

// ErrNoFresh tells that Prometheus has no fresh samples of the version that users
// are on, so that it can't be known what reaches the other.
var ErrNoFresh = errors.New("prometheus has no fresh sample of it")

// left is how long proxies are given to go by the last routes: what reaches a version
// within it is not residual.
const left = 5 * time.Second

// Left is what still reaches a version that users have left.
type Left struct {
	Rate float64 // requests per second, and messages of gRPC streams; >= 0
	// Drained tells that it was looked at for the whole of the drain time.
	Drained bool
}

// Residual is what reached a version in the last minute, or in the last three scrapes
// if these are longer, but not before the users left it. A stream that only stays open
// is not counted: Istio counts requests as they end. Too early after the users left
// nothing is known: Rate is 0 and Drained false. Errors are those of Prometheus, and
// ErrNoFresh.
func Residual(ctx context.Context, ask Query, a After, now time.Time) (Left, error) {
	window := max(drain, drainScrapes*a.Interval)
	over := min(window, now.Sub(a.Since.Add(left)))
	if over < drainScrapes*a.Interval {
		return Left{}, nil
	}
	fresh, err := instant(ctx, ask, "count(count_over_time("+destined(requestsMetric, a.Namespace, a.Serving)+within(over)+"))", now)
	if err != nil {
		return Left{}, err
	}
	if value(fresh) == 0 {
		return Left{}, fmt.Errorf("look at %s: %w", a.Serving, ErrNoFresh)
	}
	found := Left{Drained: over == window}
	var parts []string
	for _, counter := range []string{requestsMetric, "istio_request_messages_total", "istio_response_messages_total"} {
		// The same request is counted by the client's proxy and by the pod's: the one
		// that saw more is believed.
		parts = append(parts, "label_replace(max(sum by (reporter) (rate("+destined(counter, a.Namespace, a.Workload)+within(over)+`))), "counter", "`+counter+`", "", "")`)
	}
	rates, err := instant(ctx, ask, strings.Join(parts, " or "), now)
	for _, s := range rates.Series {
		found.Rate += last(s)
	}
	return found, err
}

// Continuity is what was found of a version's series over a rollback.
type Continuity struct {
	// Gone are metric names, and labels of istio_requests_total, that there were before
	// and are no more; sorted. Gap tells that the last three scrapes are not all there.
	Gone []string
	Gap  bool
	// Requests and Failed are counts since the rollback; Failed are 5xx, and the gRPC
	// statuses that are failures of the server.
	Requests, Failed float64
}

// Continues compares the series of a version at the end of a rollback with those from
// before it: Istio's and the application's own, where these are scraped with the labels
// namespace and pod. Errors are those of Prometheus.
func Continues(ctx context.Context, ask Query, a After, before, since, now time.Time) (Continuity, error) {
	var c Continuity
	own := selector{"", []string{equal("namespace", a.Namespace), matches(labelPod, regexp.QuoteMeta(a.Workload)+podSuffix)}}.String()
	for _, q := range []struct{ promql, label string }{
		{"count by (__name__) (" + destined("", a.Namespace, a.Workload) + ")", "__name__"},
		{"count by (__name__) (" + own + ")", "__name__"},
	} {
		gone, err := missing(ctx, ask, q.promql, q.label, before, now)
		if err != nil {
			return Continuity{}, err
		}
		c.Gone = append(c.Gone, gone...)
	}
	labels, err := missingLabels(ctx, ask, destined(requestsMetric, a.Namespace, a.Workload), before, now)
	if err != nil {
		return Continuity{}, err
	}
	c.Gone = append(c.Gone, labels...)
	slices.Sort(c.Gone)
	c.Gone = slices.Compact(c.Gone)
	if c.Gap, err = gap(ctx, ask, a, now); err != nil {
		return Continuity{}, err
	}
	window := max(now.Sub(since), drainScrapes*a.Interval)
	served := func(more ...string) string {
		return "increase(" + destined(requestsMetric, a.Namespace, a.Workload, append(more, equal(labelReporter, string(Destination)))...) + within(window) + ")"
	}
	if c.Requests, err = number(ctx, ask, "sum("+served()+")", now); err != nil {
		return Continuity{}, err
	}
	c.Failed, err = number(ctx, ask, "sum("+served(matches(labelCode, "5.."))+" or "+served(oneOf(labelGRPC, failingStatuses()))+")", now)
	return c, err
}

// gap tells that one of the last three scrapes of Istio's series is not there. The
// newest is given the time that a scrape takes.
func gap(ctx context.Context, ask Query, a After, now time.Time) (bool, error) {
	end := now.Add(-scrapeTime(a.Interval))
	start := end.Add(-(drainScrapes - 1) * a.Interval)
	m, err := ask(ctx, "count(count_over_time("+destined(requestsMetric, a.Namespace, a.Workload)+within(a.Interval*3/2)+"))", start, end, a.Interval)
	if err != nil {
		return false, err
	}
	return len(m.Series) != 1 || len(m.Series[0].Points) < drainScrapes, nil
}

// missing are the values of a label that a query had before and has no more.
func missing(ctx context.Context, ask Query, promql, label string, before, now time.Time) ([]string, error) {
	values := func(at time.Time) (map[string]bool, error) {
		m, err := instant(ctx, ask, promql, at)
		found := map[string]bool{}
		for _, s := range m.Series {
			found[s.Labels.Get(label)] = true
		}
		return found, err
	}
	return fewer(values, before, now)
}

// missingLabels are the names of labels that series had before and have no more.
func missingLabels(ctx context.Context, ask Query, selector string, before, now time.Time) ([]string, error) {
	names := func(at time.Time) (map[string]bool, error) {
		m, err := instant(ctx, ask, selector, at)
		found := map[string]bool{}
		for _, s := range m.Series {
			for _, l := range s.Labels {
				found["label "+l.Name] = true
			}
		}
		return found, err
	}
	return fewer(names, before, now)
}

func fewer(at func(time.Time) (map[string]bool, error), before, now time.Time) ([]string, error) {
	then, err := at(before)
	if err != nil {
		return nil, err
	}
	present, err := at(now)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(then, func(name string, _ bool) bool { return present[name] || name == "" })
	return slices.Sorted(maps.Keys(then)), nil
}

// destined selects what is sent to a workload.
func destined(metric, namespace, workload string, more ...string) string {
	return selector{metric, append([]string{equal(labelWorkload, workload), equal(labelNamespace, namespace)}, more...)}.String()
}

func within(d time.Duration) string { return "[" + duration(d) + "]" }

// instant is the value of a query at one time.
func instant(ctx context.Context, ask Query, promql string, at time.Time) (Matrix, error) {
	return ask(ctx, promql, at, at, time.Second)
}

func number(ctx context.Context, ask Query, promql string, at time.Time) (float64, error) {
	m, err := instant(ctx, ask, promql, at)
	return value(m), err
}

// value is that of the only series of an answer; 0 where there is none.
func value(m Matrix) float64 {
	if len(m.Series) == 0 {
		return 0
	}
	return last(m.Series[0])
}

func last(s Series) float64 {
	if len(s.Points) == 0 {
		return 0
	}
	return s.Points[len(s.Points)-1].Value
}
