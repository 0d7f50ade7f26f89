package prom

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// track is one version: a workload of a namespace.
type track struct{ namespace, workload string }

// proxy is where counters live: they begin at 0 together when it starts.
type proxy struct{ job, instance, pod string }

func (p proxy) String() string {
	if p.pod != "" {
		return p.pod
	}
	return p.instance
}

// group is what a counter counts. Of an operator's counter others are all the
// labels that don't say where it lives.
type group struct{ code, grpc, flags, others string }

// values are a counter at each border; NaN where it is absent.
type values []float64

func (v values) has(i int) bool { return !math.IsNaN(v[i]) }

// family are the counters of one query, by version and proxy.
type family map[track]map[proxy]*counters

// counters are those of one proxy: a handful for most of them, so that a list takes
// a tenth of what a map does.
type counters struct {
	list  []counter
	index map[group]int // where there are more than a handful; nil otherwise
}

type counter struct {
	what   group
	values values
}

// handful is up to how many counters are searched one by one.
const handful = 16

// of are the values of one counter; nil when there is none.
func (c *counters) of(what group) values {
	switch {
	case c == nil:
		return nil
	case c.index != nil:
		if i, ok := c.index[what]; ok {
			return c.list[i].values
		}
		return nil
	}
	for _, one := range c.list {
		if one.what == what {
			return one.values
		}
	}
	return nil
}

// add adds a counter, which isn't there yet.
func (c *counters) add(what group, v values) {
	c.list = append(c.list, counter{what, v})
	switch n := len(c.list); {
	case c.index != nil:
		c.index[what] = n - 1
	case n > handful:
		c.index = make(map[group]int, 2*n)
		for i, one := range c.list {
			c.index[one.what] = i
		}
	}
}

// at tells that some counter is present at a border.
func (c *counters) at(i int) bool {
	return c != nil && slices.ContainsFunc(c.list, func(one counter) bool { return one.values.has(i) })
}

// read sorts an answer into a family. A version with values that can't be is
// told in odd, and nobody else suffers from it.
func (f family) read(m Matrix, g grid, of func(Labels) track, odd map[track]error) error {
	for _, s := range m.Series {
		t := of(s.Labels)
		what := group{code: s.Labels.Get(labelCode), grpc: s.Labels.Get(labelGRPC), flags: s.Labels.Get(labelFlags)}
		err := f.at(t, livesIn(s.Labels), what, g).fill(s.Points, g)
		if err == nil {
			continue
		}
		err = fmt.Errorf("series of %s: %w", t.workload, err)
		if !errors.Is(err, errOdd) {
			return err
		}
		odd[t] = err
	}
	return nil
}

func livesIn(l Labels) proxy { return proxy{l.Get(labelJob), l.Get(labelInstance), l.Get(labelPod)} }

// at is where a counter's values are kept.
func (f family) at(t track, p proxy, what group, g grid) values {
	if f[t] == nil {
		f[t] = map[proxy]*counters{}
	}
	c := f[t][p]
	if c == nil {
		c = &counters{}
		f[t][p] = c
	}
	v := c.of(what)
	if v == nil {
		v = absent(g.borders)
		c.add(what, v)
	}
	return v
}

func absent(n int) values {
	v := make(values, n)
	for i := range v {
		v[i] = math.NaN()
	}
	return v
}

// errOdd tells that a series has a value that can't be.
var errOdd = errors.New("it can't be used")

func (v values) fill(points []Point, g grid) error {
	for _, p := range points {
		i, err := g.index(p.At)
		switch {
		case err != nil:
			return err
		case v.has(i):
			return fmt.Errorf("two values at one time, so it was answered twice: %w", errOdd)
		case !countable(p.Value):
			return fmt.Errorf("the value %v, which no counter has: %w", p.Value, errOdd)
		}
		v[i] = p.Value
	}
	return nil
}

// countable tells that a counter may have the value; not a NaN.
func countable(v float64) bool { return v >= 0 && v <= 1<<53 }

// change is what happened to a version's counters between two borders.
type change struct {
	counts  map[group]int64
	present bool  // some proxy has counters at the later border
	was     bool  // some proxy had them before
	total   int64 // what the counters that are present at the later border hold
	// steady tells that no proxy went, came back or restarted, so that sums
	// over proxies are good too. One that is new is no harm: it begins at 0.
	steady  bool
	problem string // why the counters can't be used
}

// between are two borders of the grid, of which from is the earlier one.
type between struct{ from, to int }

// change compares two borders. carried knows what proxies that were absent at
// the earlier one had counted before; nil when none was absent.
func (f family) change(t track, b between, carried family) change {
	c := change{counts: map[group]int64{}, steady: true}
	var few [handful]step
	for p, counters := range f[t] {
		before, after := counters.at(b.from), counters.at(b.to)
		if before {
			c.was = true
		}
		if !after {
			c.steady = c.steady && !before
			continue
		}
		c.present = true
		steps := counters.steps(few[:0], b)
		if known := carried[t][p]; !before && known.at(b.from) {
			steps = counters.since(known, b)
			c.was, c.steady = true, false
		}
		restarted, fell := compare(steps)
		if fell != "" && !restarted {
			c.problem = first(c.problem, fmt.Sprintf("a counter of %s (%s) fell while others went on", p, fell))
		}
		c.steady = c.steady && !restarted
		for _, s := range steps {
			c.add(s, restarted)
		}
	}
	return c
}

// add counts what a counter grew by; all that it holds where its proxy restarted.
func (c *change) add(s step, restarted bool) {
	if math.IsNaN(s.after) {
		return
	}
	n := s.after
	if !restarted && !math.IsNaN(s.before) {
		n -= s.before
	}
	c.counts[s.what] += int64(math.Round(n))
	c.total += int64(math.Round(s.after))
}

// step is a counter at two borders; NaN where it is absent.
type step struct {
	what          group
	before, after float64
}

// steps appends the counters to those there are.
func (c *counters) steps(out []step, b between) []step {
	for _, one := range c.list {
		out = append(out, step{one.what, one.values[b.from], one.values[b.to]})
	}
	return out
}

// since are the steps of a proxy that came back, from what it had counted before.
func (c *counters) since(known *counters, b between) []step {
	out := c.steps(nil, b)
	for i, s := range out {
		if v := known.of(s.what); v != nil {
			out[i].before = v[b.from]
		}
	}
	for _, one := range known.list {
		if c.of(one.what) == nil {
			out = append(out, step{one.what, one.values[b.from], math.NaN()})
		}
	}
	return out
}

// first is the text that sorts first and isn't empty: of several the same is
// told each time, though maps have no order.
func first(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return min(a, b)
}

// compare tells whether the proxy restarted in between: then all its counters
// fell or went, and by more than half. A counter that falls otherwise, and is
// named, lost a series under its sum: what it counted since can't be known, and
// to count it anew would charge old errors to the canary.
func compare(steps []step) (restarted bool, fell string) {
	restarted = true
	var was, is float64
	for _, s := range steps {
		if math.IsNaN(s.before) {
			continue
		}
		there := !math.IsNaN(s.after)
		was += s.before
		if there {
			is += s.after
		}
		switch {
		case there && s.after < s.before:
			fell = first(fell, s.what.String())
		case there && s.before > 0:
			restarted = false
		}
	}
	return restarted && fell != "" && is < was/2, fell
}

func (g group) String() string {
	var parts []string
	for _, l := range []Label{{labelCode, g.code}, {labelGRPC, g.grpc}, {labelFlags, g.flags}} {
		if l.Value != "" {
			parts = append(parts, l.Name+"="+l.Value)
		}
	}
	if g.others != "" {
		parts = append(parts, g.others)
	}
	if len(parts) == 0 {
		return "without labels"
	}
	return strings.Join(parts, ", ")
}

// returning tells that some proxy of t is there at a border and wasn't at the
// one before: only carried counters tell whether it is new or was away.
func (f family) returning(t track) bool {
	for _, counters := range f[t] {
		for i := 1; i < len(counters.list[0].values); i++ {
			if counters.at(i) && !counters.at(i-1) {
				return true
			}
		}
	}
	return false
}

// presentAround tells that t has counters at one of the two borders.
func (f family) presentAround(t track, b between) bool {
	for _, counters := range f[t] {
		if counters.at(b.from) || counters.at(b.to) {
			return true
		}
	}
	return false
}

// sampled are the proxies of t that were scraped about the block that ends at
// border i, of a family of samples.
func (f family) sampled(t track, i int) []proxy {
	out := make([]proxy, 0, len(f[t]))
	for p, counters := range f[t] {
		if slices.ContainsFunc(counters.list, func(one counter) bool { return one.values.has(i) && one.values[i] > 0 }) {
			out = append(out, p)
		}
	}
	return out
}

// twice names a pod that two scrape jobs or targets report, so that everything
// it does counts double; empty if there is none.
func twice(proxies []proxy) string {
	slices.SortFunc(proxies, func(a, b proxy) int {
		return cmp.Or(cmp.Compare(a.pod, b.pod), cmp.Compare(a.job, b.job), cmp.Compare(a.instance, b.instance))
	})
	for i := 1; i < len(proxies); i++ {
		if a, b := proxies[i-1], proxies[i]; a.pod != "" && a.pod == b.pod {
			return fmt.Sprintf("pod %s is scraped twice, as job=%q instance=%q and as job=%q instance=%q: scrape it once",
				a.pod, a.job, a.instance, b.job, b.instance)
		}
	}
	return ""
}

// grpcFailures are the gRPC statuses that are the server's failure: UNKNOWN,
// DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
var grpcFailures = map[string]bool{"2": true, "4": true, "12": true, "13": true, "14": true, "15": true}

// failed tells that an answer of this group is an error by its code, its gRPC
// status, or what only the client's side saw.
func (g group) failed() bool {
	code, err := strconv.Atoi(g.code)
	return err == nil && code >= 500 || grpcFailures[g.grpc] || flagged.MatchString(g.flags)
}

func failingStatuses() []string { return slices.Collect(maps.Keys(grpcFailures)) }

func (g group) refused() bool { return len(g.code) == 3 && g.code[0] == '4' && !g.failed() }

// left tells that the client left before the answer. Where the client's own
// proxy gave up, that is a failure and told by its flags.
func (g group) left() bool { return g.code == "0" && !flagged.MatchString(g.flags) }
