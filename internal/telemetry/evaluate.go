package telemetry

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// lookback is for how long, in ms, a series has its last value.
const lookback = 5 * 60 * 1000

// binding is what a question is about in a town: the meters to read, and the
// groups of series that become one.
type binding struct {
	meters []*meter
	groups []group
}

// group is one series of the answer.
type group struct {
	metric  string // its labels as JSON
	members []member
}

type member struct {
	series
	at int // index of its meter
}

// bind looks up the series of a question. The town is locked.
func (t *Town) bind(q *question) *binding {
	if b := t.bound[q]; b != nil {
		return b
	}
	b := &binding{}
	groups := map[string]*group{}
	for _, p := range t.targets {
		for _, m := range p.meters {
			used := false
			for _, s := range m.allSeries() {
				if !q.selects(s) {
					continue
				}
				used = true
				metric := q.labels(s)
				if groups[metric] == nil {
					groups[metric] = &group{metric: metric}
				}
				groups[metric].members = append(groups[metric].members, member{s, len(b.meters)})
			}
			if used {
				b.meters = append(b.meters, m)
			}
		}
	}
	for _, g := range groups {
		b.groups = append(b.groups, *g)
	}
	slices.SortFunc(b.groups, func(x, y group) int { return cmp.Compare(x.metric, y.metric) })
	t.bound[q] = b
	return b
}

// labels are those of the answer's series into which s goes, as JSON.
func (q *question) labels(s series) string {
	out := []byte{'{'}
	for _, name := range q.by {
		if value := s.get(name); value != "" {
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = strconv.AppendQuote(out, name)
			out = append(out, ':')
			out = strconv.AppendQuote(out, value)
		}
	}
	return string(append(out, '}'))
}

// reading is what a function makes of a meter's series, at one time, for good and
// for bad answers.
type reading [2]struct {
	ok         bool
	fast, slow float64 // requests so far
	other      float64 // of functions that don't give the value
}

// read reads a meter at a time, as known at now.
func (q *question) read(t *Town, m *meter, at, now int64) (r reading) {
	switch q.function {
	case "", "timestamp":
		slot, ok := t.fresh(m.target, at, now)
		if !ok || slot <= at-lookback {
			return r
		}
		r.count(m, slot)
		for i := range r {
			r[i].other = float64(slot) / 1000
		}
	case "last_over_time":
		for from := at - q.window; !r[0].ok || !r[1].ok; {
			slot, ok := t.stored(m.target, from, at, now)
			if !ok {
				break
			}
			r.count(m, slot)
			at = m.segment(slot).life - 1
		}
	case "count_over_time":
		for from := at - q.window; ; {
			slot, ok := t.stored(m.target, from, at, now)
			if !ok {
				break
			}
			var one reading
			one.count(m, slot)
			for i := range r {
				if one[i].ok {
					r[i].ok, r[i].other = true, r[i].other+1
				}
			}
			at = slot - 1
		}
	}
	return r
}

// count takes a meter's counters into what isn't known yet. A counter is shown
// from the first request on.
func (r *reading) count(m *meter, slot int64) {
	n := m.counts(slot)
	for i, k := range [2]kind{goodFast, badFast} {
		fast, slow := n[k], n[k+1]
		if !r[i].ok && fast+slow > 0 {
			r[i].ok, r[i].fast, r[i].slow = true, fast, slow
		}
	}
}

// value is the answer of one group, from the readings of all meters.
func (q *question) value(g *group, readings []reading) float64 {
	out := math.NaN()
	for _, s := range g.members {
		of := &readings[s.at][0]
		if s.bad {
			of = &readings[s.at][1]
		}
		if !of.ok {
			continue
		}
		v := of.other
		if q.function == "" || q.function == "last_over_time" {
			v = s.value(of.fast, of.slow)
		}
		switch {
		case math.IsNaN(out):
			out = v
		case q.aggregate == "sum":
			out += v
		default:
			out = max(out, v)
		}
	}
	return out
}

// grid are the times that are asked about: start, start+step, ... up to end, in ms.
type grid struct{ start, end, step int64 }

func (g grid) points() int { return int((g.end-g.start)/g.step) + 1 }

// answer is a matrix: the values of each group on the grid, NaN where there are none.
func (t *Town) answer(q *question, b *binding, g grid, now int64) [][]float64 {
	if q.back > 0 {
		return t.lastAnswers(q, b, g, now)
	}
	n := g.points()
	out := make([][]float64, len(b.groups))
	all := make([]float64, n*len(b.groups))
	for i := range out {
		out[i], all = all[:n:n], all[n:]
	}
	readings := make([]reading, len(b.meters))
	for i := range n {
		at := g.start + int64(i)*g.step
		for j, m := range b.meters {
			if !t.without(m) {
				readings[j] = q.read(t, m, at, now)
			}
		}
		for j := range b.groups {
			out[j][i] = q.value(&b.groups[j], readings)
		}
	}
	return out
}

// without tells that a meter is missing from the answers: of a partial answer
// every second target is.
func (t *Town) without(m *meter) bool {
	return t.fault == Partial && slices.Index(t.targets, m.target)%2 == 1
}

// lastAnswers are, of the answers on a grid of every ms since the Unix epoch, the
// last ones within the time to look back.
func (t *Town) lastAnswers(q *question, b *binding, g grid, now int64) [][]float64 {
	inner := *q
	inner.back = 0
	first := (g.start - q.back) / q.every * q.every
	if first <= g.start-q.back {
		first += q.every
	}
	values := t.answer(&inner, b, grid{first, g.end, q.every}, now)
	out := make([][]float64, len(values))
	for i := range values {
		out[i] = make([]float64, g.points())
		for j := range out[i] {
			at := g.start + int64(j)*g.step
			out[i][j] = math.NaN()
			for k := (at - first) / q.every; k >= 0 && first+k*q.every > at-q.back; k-- {
				if v := values[i][k]; !math.IsNaN(v) {
					out[i][j] = v
					break
				}
			}
		}
	}
	return out
}
