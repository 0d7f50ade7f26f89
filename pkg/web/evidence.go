package web

import (
	"math"
	"strings"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/words"
)

// evidence is what speaks for and against the canary.
type evidence struct {
	Why     string // why there are no gauges; empty: there are
	Gauges  []gauge
	Metrics []metricRow
	More    string
}

// gauge shows odds on their way to where they suffice, on a scale of logarithms.
type gauge struct {
	Title, Tone string
	Words       string
	Percent     int // of the way
}

// metricRow is the evidence of one metric.
type metricRow struct {
	Name, Limit            string
	Canary, Stable, Bounds string
	Against, For           string
	Missing                string
}

func evidenceOf(v canary.View) evidence {
	x := v.Verdict
	switch {
	case x.Kind == "" && !v.Phase.Active() && v.Phase != canary.Waiting && v.Phase != canary.Blocked && v.Phase != canary.Watched:
		return evidence{Why: "No release is under way. What was judged of the last ones stands in the history."}
	case x.Kind == "" && v.Step > 1:
		return evidence{Why: "Nothing of this step was judged yet; the evidence of the steps before counts on."}
	case x.Kind == "":
		return evidence{Why: "Nothing was judged yet: evidence comes with the canary's first requests."}
	case x.RollbackAt == 0 && x.PromoteAt == 0:
		return evidence{Why: "This rollout is judged by thresholds: there is no evidence that grows, and the sentence above tells how the checks went."}
	}
	e := evidence{Gauges: []gauge{gaugeOf("Towards promotion", "good", x.For, x.PromoteAt), gaugeOf("Towards rollback", "bad", x.Against, x.RollbackAt)}}
	if x.More > 0 {
		e.More = "About " + plural(x.More, "more request", "more requests") + " to the canary would suffice for a promotion"
		if x.MoreTime > 0 {
			e.More += ", which take about " + canary.Span(math.Ceil(x.MoreTime.Seconds())*1e9).String()
		}
		e.More += "."
	}
	for _, m := range x.Metrics {
		e.Metrics = append(e.Metrics, metricRowOf(m))
	}
	return e
}

func gaugeOf(title, tone string, at, suffices canary.Odds) gauge {
	g := gauge{Title: title, Tone: tone, Words: odds(at) + "; " + odds(suffices) + " suffices"}
	if way := float64(at) / float64(suffices); way > 0 {
		g.Percent = int(100 * min(1, way))
	}
	return g
}

func metricRowOf(m canary.MetricView) metricRow {
	r := metricRow{
		Name: metricName(m.Name), Limit: words.Percent(m.Limit), Canary: share(m.Canary.Hits, m.Canary.N), Stable: share(m.Stable.Hits, m.Stable.N),
		Against: odds(m.Against), For: odds(m.For), Missing: m.Missing, Bounds: "–",
	}
	if strings.HasSuffix(m.Name, "-vs-stable") {
		r.Limit, r.For = words.Number(m.Limit)+"× stable", "–"
	}
	if m.Share.Known() {
		r.Bounds = words.Percent(m.Share[0]) + " to " + words.Percent(m.Share[1])
	}
	if !m.Judged {
		r.Against, r.For = "–", "–"
	}
	return r
}

// metricNames are the judge's names of metrics, as people say them.
var metricNames = map[string]string{
	"errors":                  "Failed requests",
	"latency":                 "Slow requests",
	"errors-vs-stable":        "Failed, against stable",
	"latency-vs-stable":       "Slow, against stable",
	"client-errors-vs-stable": "Client errors, against stable",
	"disconnects-vs-stable":   "Disconnects, against stable",
}

// metricName says the judge's name of a metric; those of operators stay as they are.
func metricName(name string) string {
	if said, ours := metricNames[name]; ours {
		return said
	}
	return name
}
