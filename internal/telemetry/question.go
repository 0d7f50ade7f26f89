package telemetry

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// question is a query, understood: an aggregate, by some labels, of what a
// function makes of the selected series.
type question struct {
	aggregate string // sum or max
	by        []string
	function  string // of each series; empty for its value
	metric    string
	either    [][]matcher // one list has to match whole
	window    int64       // ms that the function looks back
	// Within the last back ms, on a grid of every ms, the last answer is taken.
	back, every int64
}

type matcher struct {
	label string
	ok    func(string) bool
}

// The few forms that pkg/prom sends. Whatever else it may send one day is an error,
// and so is noticed.
var (
	plainForm   = regexp.MustCompile(`^(sum|max) by \(([^)]*)\) \((?:(\w+)\()?(\w+)\{(.*)\}(?:\[(\d+)ms\])?(\)?)\)$`)
	subForm     = regexp.MustCompile(`(?s)^last_over_time\(\((.*)\n\)\[(\d+)ms:(\d+)ms\]\)$`)
	matcherForm = regexp.MustCompile(`^(\w+)(=~|!~|!=|=)("(?:[^"\\]|\\.)*")(?:, ?|$)`)
)

// understood are the queries that were read already, for all towns: thousands of
// short simulations ask the same.
var understood = struct {
	sync.Mutex
	known map[string]*question
}{known: map[string]*question{}}

// mostUnderstood bounds them.
const mostUnderstood = 4096

func understand(promql string) (*question, error) {
	understood.Lock()
	defer understood.Unlock()
	if q := understood.known[promql]; q != nil {
		return q, nil
	}
	q, err := read(promql)
	if err != nil {
		return nil, err
	}
	if len(understood.known) >= mostUnderstood {
		clear(understood.known)
	}
	understood.known[promql] = q
	return q, nil
}

func read(promql string) (*question, error) {
	sub := subForm.FindStringSubmatch(promql)
	if sub == nil {
		return readPlain(promql)
	}
	q, err := readPlain(sub[1])
	if err != nil {
		return nil, fmt.Errorf("%w, in %s", err, promql)
	}
	q.back, _ = strconv.ParseInt(sub[2], 10, 64)
	q.every, _ = strconv.ParseInt(sub[3], 10, 64)
	if q.back <= 0 || q.every <= 0 {
		return nil, fmt.Errorf("a query of unknown form: %s", promql)
	}
	return q, nil
}

func readPlain(promql string) (*question, error) {
	form := plainForm.FindStringSubmatch(promql)
	if form == nil {
		return nil, fmt.Errorf("a query of unknown form: %s", promql)
	}
	q := &question{aggregate: form[1], by: splitNames(form[2]), function: form[3], metric: form[4]}
	q.window, _ = strconv.ParseInt(form[6], 10, 64)
	ranged := q.function == "last_over_time" || q.function == "count_over_time"
	switch {
	case q.metric != requests && q.metric != duration,
		(q.function != "") != (form[7] != ""),
		ranged != (q.window > 0),
		!ranged && q.function != "" && q.function != "timestamp":
		return nil, fmt.Errorf("a query of unknown form: %s", promql)
	}
	for one := range strings.SplitSeq(form[5], "} or "+q.metric+"{") {
		all, err := readMatchers(one)
		if err != nil {
			return nil, fmt.Errorf("a query with unknown matchers: %s: %w", promql, err)
		}
		q.either = append(q.either, all)
	}
	return q, nil
}

func readMatchers(rest string) (all []matcher, err error) {
	for rest != "" {
		m := matcherForm.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("at %s", rest)
		}
		rest = rest[len(m[0]):]
		ok, err := matching(m[2], m[3])
		if err != nil {
			return nil, err
		}
		all = append(all, matcher{m[1], ok})
	}
	return all, nil
}

func splitNames(list string) []string {
	names := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	slices.Sort(names)
	return slices.Compact(names)
}

// matching is what a matcher's operator and quoted value select.
func matching(operator, quoted string) (func(string) bool, error) {
	value, err := strconv.Unquote(quoted)
	if err != nil {
		return nil, err
	}
	switch operator {
	case "=":
		return func(s string) bool { return s == value }, nil
	case "!=":
		return func(s string) bool { return s != value }, nil
	}
	pattern, err := regexp.Compile("^(?s:" + value + ")$")
	if err != nil {
		return nil, err
	}
	return func(s string) bool { return pattern.MatchString(s) == (operator == "=~") }, nil
}

// selects tells whether the question is about a series.
func (q *question) selects(s series) bool {
	if s.get("__name__") != q.metric {
		return false
	}
	return slices.ContainsFunc(q.either, func(all []matcher) bool {
		return !slices.ContainsFunc(all, func(m matcher) bool { return !m.ok(s.get(m.label)) })
	})
}
