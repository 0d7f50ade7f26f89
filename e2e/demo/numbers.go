package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/load"
)

// windowWidth is how far back the live numbers look.
const windowWidth = 5 * time.Second

// window keeps the answers of the last seconds.
type window struct {
	mu      sync.Mutex
	start   time.Time
	answers []answer // in about the order they came
}

type answer struct {
	at time.Time
	load.Record
}

func newWindow() *window { return &window{start: time.Now()} }

func (w *window) add(r load.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = append(w.answers, answer{r.Start.Add(r.Latency), r})
}

// figures are what users saw of one version in the window.
type figures struct {
	rate   float64 // answers per second
	failed float64 // share, 0..1
	p99    time.Duration
}

// figures sums up the window that ends now, by version; "" is nobody.
func (w *window) figures(now time.Time) map[string]figures {
	w.mu.Lock()
	defer w.mu.Unlock()
	since := now.Add(-windowWidth)
	w.answers = slices.DeleteFunc(w.answers, func(a answer) bool { return a.at.Before(since) })
	records := make([]load.Record, len(w.answers))
	for i, a := range w.answers {
		records[i] = a.Record
	}
	seconds := max(min(now.Sub(w.start), windowWidth).Seconds(), 1)
	all := map[string]figures{}
	for version, c := range load.Summarize(records, time.Time{}, time.Time{}).ByVersion {
		all[version] = figures{rate: float64(c.Requests) / seconds, failed: c.ErrorRate(), p99: c.P99}
	}
	return all
}

// cast is who plays which part at the moment.
type cast struct {
	mu             sync.Mutex
	stable, canary version
}

// enter brings a version on, as the canary unless it is the first.
func (c *cast) enter(v version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stable.Version == "" {
		c.stable = v
		return
	}
	c.canary = v
}

// leave ends a canary's part, which becomes stable if it was promoted.
func (c *cast) leave(v version, promoted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if promoted {
		c.stable, c.canary = v, version{}
	}
}

func (c *cast) both() (stable, canary version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stable, c.canary
}

// alone takes the canary off, whose pods are gone.
func (c *cast) alone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.canary = version{}
}

// frame is what the live display shows.
type frame struct {
	rows    []row
	testers string // the version the header leads to; empty: no header route
	judge   string
}

// row is one version.
type row struct {
	version, part string
	canary        bool
	weight        int // intended, percent
	figures
}

// frame shows who is on stage, and where.
func (s *story) frame(ctx context.Context, j judge) frame {
	c := s.onStage()
	if c == nil {
		return frame{}
	}
	f := c.frame(time.Now())
	f.judge = j.sentence(ctx, c.shop.Namespace)
	return f
}

func (c *scene) frame(at time.Time) frame {
	state, now := c.watcher.State(), c.window.figures(at)
	stable, canary := c.cast.both()
	f := frame{rows: []row{c.row(stable, false, state, now)}}
	if canary.Version == "" {
		return f
	}
	f.rows = append(f.rows, c.row(canary, true, state, now))
	switch state.HeaderTo {
	case "":
	case c.subset(canary):
		f.testers = canary.Version
	default:
		f.testers = stable.Version
	}
	return f
}

func (c *scene) row(v version, canary bool, state shop.State, now map[string]figures) row {
	r := row{version: v.Version, canary: canary, figures: now[v.Version]}
	switch {
	case !c.inPlace && canary:
		r.part, r.weight = v.Slot+" canary", state.Shares[v.Slot]
	case !c.inPlace:
		r.part, r.weight = v.Slot+" stable", state.Shares[v.Slot]
	case canary:
		r.part, r.weight = "canary, "+podsOf(state.Beside.Canary.Ready), state.Shares[shop.CanarySubset]
	default:
		r.part, r.weight = "web, "+podsOf(state.Beside.Web.Ready), state.Shares[shop.StableSubset]+state.Shares[""]
	}
	return r
}

func podsOf(n int) string {
	if n == 1 {
		return "1 pod"
	}
	return fmt.Sprintf("%d pods", n)
}

// judge reads the controller's metrics.
type judge struct{ url string }

func newJudge(metricsURL string) judge { return judge{metricsURL + "/metrics"} }

// sentence is what the judge makes of the canary in a namespace at present;
// empty without a canary under judgement.
func (j judge) sentence(ctx context.Context, namespace string) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url, nil)
	if err != nil {
		return ""
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	var kind, requests, failed string
	against, good := odds{side: "bad"}, odds{side: "good"}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		series, value, _ := strings.Cut(lines.Text(), "} ")
		switch {
		case label(series, "namespace") != namespace:
		case strings.HasPrefix(series, "serin_rollout_verdict{"):
			kind = label(series, "kind")
		case strings.HasPrefix(series, "serin_rollout_requests{") && label(series, "track") == "canary":
			requests = value
		case strings.HasPrefix(series, "serin_rollout_errors{") && label(series, "track") == "canary":
			failed = value
		case label(series, "towards") == "rollback":
			against.read(series, value)
		case label(series, "towards") == "promotion":
			good.read(series, value)
		}
	}
	if kind == "" || lines.Err() != nil {
		return ""
	}
	text := fmt.Sprintf("%s: %s of %s failed", kind, failed, requests)
	if against.needed != "" && good.needed != "" {
		text += fmt.Sprintf("; odds: %s, %s", against, good)
	}
	return text
}

// odds are where the evidence stands, and where it suffices.
type odds struct{ side, now, needed string }

func (o *odds) read(series, value string) {
	switch {
	case strings.HasPrefix(series, "serin_rollout_evidence_together{"):
		o.now = toOne(value)
	case strings.HasPrefix(series, "serin_rollout_evidence_needed{"):
		o.needed = toOne(value)
	}
}

func (o odds) String() string { return fmt.Sprintf("%s %s of %s", o.side, o.now, o.needed) }

// toOne writes a common logarithm of odds as people do.
func toOne(logarithm string) string {
	l, err := strconv.ParseFloat(logarithm, 64)
	switch {
	case err != nil:
		return "?"
	case l >= 6:
		return "over 1000000:1"
	case l < 0:
		return "below 1:1"
	case l < 1:
		return fmt.Sprintf("%.1f:1", math.Pow(10, l))
	}
	return fmt.Sprintf("%.0f:1", math.Pow(10, l))
}

// label is the value of a label in a series of the text format.
func label(series, name string) string {
	_, after, _ := strings.Cut(series, name+`="`)
	value, _, _ := strings.Cut(after, `"`)
	return value
}

// versions lists who answered how often.
func versions(by map[string]int) string {
	var all []string
	for v, n := range by {
		if v == "" {
			v = "nobody"
		}
		all = append(all, fmt.Sprintf("%s (%d)", v, n))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
