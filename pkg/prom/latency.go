package prom

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"serin.dev/serin/pkg/judge"
)

// readLatency reads histograms, summed over the proxies: twenty buckets of
// every pod of a thousand rollouts are too many, and the requests' counters,
// which come from the same scrapes, tell when such a sum is no good.
func (v *view) readLatency(r Reporter, asks []Ask) error {
	v.sides[r].latency = map[track]map[string]values{}
	if len(asks) == 0 {
		return nil
	}
	m, err := v.ask(selector{latencyMetric, append(workloads.of(asks),
		equal(labelReporter, string(r)), differs(labelCode, "0|101"))}.counters(byBound))
	if err != nil {
		return err
	}
	into := v.sides[r].latency
	for _, s := range m.Series {
		t, bound := workloads.track(s.Labels), s.Labels.Get(labelBound)
		if into[t] == nil {
			into[t] = map[string]values{}
		}
		if into[t][bound] == nil {
			into[t][bound] = absent(v.grid.borders)
		}
		if err := into[t][bound].fill(s.Points, v.grid); err != nil {
			err = fmt.Errorf("histogram of %s: %w", t.workload, err)
			if !errors.Is(err, errOdd) {
				return err
			}
			v.odd[t] = err
		}
	}
	return nil
}

// histogram is the increments between two borders. Nil when the bounds or the
// counts don't fit together: then this block says nothing of latency.
func histogram(spelled map[string]values, b between) judge.Histogram {
	bounds := map[float64][]values{}
	for text, v := range spelled {
		le, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(le) {
			return nil
		}
		bounds[le] = append(bounds[le], v)
	}
	var h judge.Histogram
	for le, v := range bounds {
		n, there, ok := bucket(v, b)
		if !ok {
			return nil
		}
		if there {
			h = append(h, judge.Bucket{Le: le, Count: n})
		}
	}
	slices.SortFunc(h, func(a, b judge.Bucket) int { return cmp.Compare(a.Le, b.Le) })
	if len(h) == 0 || !math.IsInf(h[len(h)-1].Le, 1) {
		return nil
	}
	for j := 1; j < len(h); j++ {
		if h[j].Count < h[j-1].Count {
			return nil
		}
	}
	return h
}

// bucket is the increment of one bound, there if it is at the later border.
// Prometheus 3 spells 500.0 what Prometheus 2 spells 500: one counter under two
// names. After an upgrade in mid-step the old name stands still until it is
// forgotten, or ends at once, and the new one begins with all that was counted;
// behind one API there may also be servers of both versions, each with proxies
// of its own. Where both names are at both borders their increments add up, and
// where one took over from the other the difference is the increment. Any other
// coming or going is not ok: one can't tell what was counted under both names,
// and what is missing from a bound would look like slow requests.
func bucket(names []values, b between) (n int64, there, ok bool) {
	var before, after float64
	var both, came, went int
	for _, v := range names {
		switch was, is := v.has(b.from), v.has(b.to); {
		case was && is:
			both++
			before, after = before+v[b.from], after+v[b.to]
			if v[b.to] < v[b.from] {
				return 0, false, false
			}
		case is:
			came++
			after += v[b.to]
		case was:
			went++
			before += v[b.from]
		}
	}
	if both > 0 && came+went > 0 || went > 0 && came == 0 || after < before {
		return 0, false, false
	}
	return int64(math.Round(after - before)), both+came > 0, true
}
