package prom

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
)

// dice draws what a hostile or broken Prometheus may answer from bytes; when they
// are used up it draws zeros.
type dice struct{ bytes []byte }

func (d *dice) below(n int) int {
	if len(d.bytes) == 0 {
		return 0
	}
	b := d.bytes[0]
	d.bytes = d.bytes[1:]
	return int(b) % n
}

func (d *dice) value() float64 {
	switch d.below(8) {
	case 0:
		return math.NaN()
	case 1:
		return math.Inf(1 - 2*d.below(2))
	case 2:
		return -float64(d.below(256))
	case 3:
		return math.Ldexp(1, 40+d.below(30))
	case 4:
		var bits [8]byte
		for i := range bits {
			bits[i] = byte(d.below(256))
		}
		return math.Float64frombits(binary.LittleEndian.Uint64(bits[:]))
	}
	return float64(d.below(256) * d.below(256))
}

func (d *dice) label(right string) string {
	switch d.below(6) {
	case 0:
		return ""
	case 1:
		return "\x00\xff" + right
	}
	return right
}

// matrix is an answer of a few series, mostly with the labels that are asked for.
func (d *dice) matrix(start, end time.Time, step time.Duration) Matrix {
	var m Matrix
	for range d.below(8) {
		var s Series
		for _, l := range []Label{
			{labelNamespace, "shop"}, {labelWorkload, []string{"web-v1", "web-v2", unknownWorkload}[d.below(3)]}, {labelJob, "istio"},
			{labelInstance, []string{"10.0.0.1:15020", "10.0.0.2:15020"}[d.below(2)]}, {labelPod, "web"}, {labelService, "web.shop.svc.cluster.local"},
			{labelCode, []string{"200", "500", "0", "x"}[d.below(4)]}, {labelGRPC, []string{"", "0", "14"}[d.below(3)]},
			{labelFlags, []string{"-", "UF", "URX,UF"}[d.below(3)]}, {labelBound, []string{"10", "1000", "+Inf", "NaN"}[d.below(4)]},
		} {
			s.Labels = append(s.Labels, Label{l.Name, d.label(l.Value)})
		}
		at := start
		for at.Before(end.Add(step)) {
			if d.below(9) > 0 {
				s.Points = append(s.Points, Point{At: at.UnixMilli(), Value: d.value()})
			}
			if d.below(60) == 59 {
				at = at.Add(time.Duration(d.below(256)-128) * time.Second) // a point that was not asked for
			}
			at = at.Add(step)
			if len(s.Points) > 200 {
				break
			}
		}
		m.Series = append(m.Series, s)
	}
	return m
}

// FuzzBlocks asks a Prometheus that answers anything: nothing panics, no count is
// negative or more than all, and blocks lie on their grid, one behind the other.
func FuzzBlocks(f *testing.F) {
	f.Add([]byte{}, int64(10_000))
	f.Add([]byte(strings.Repeat("\x07\x03\x05\x01\x02\x07\x09\xff\x10\x20", 60)), int64(10_000))
	f.Add([]byte(strings.Repeat("serin", 100)), int64(1_000))
	f.Fuzz(func(t *testing.T, data []byte, width int64) {
		d := &dice{data}
		a := theAsk()
		a.Width = time.Duration(width%600_000) * time.Millisecond
		a.Reporter = []Reporter{Auto, Destination, Source}[d.below(3)]
		a.Custom = []Custom{
			{Template{Name: "good", Good: `g{w="{{workload}}"}`, Total: `t{w="{{workload}}"}`}, judge.Custom{Name: "good", AtLeast: true, Bound: .9}},
			{Template{Name: "depth", Gauge: `d{w="{{workload}}"}`}, judge.Custom{Name: "depth", Gauge: true, Bound: 3}},
		}
		q := func(_ context.Context, _ string, start, end time.Time, step time.Duration) (Matrix, error) {
			if d.below(20) == 19 {
				return Matrix{}, errors.New("status 503")
			}
			return d.matrix(start, end, step), nil
		}
		now := epoch.Add(a.Width * 12)
		a.To = now
		for _, answer := range []Answer{
			Blocks(context.Background(), q, []Ask{a}, now)[a.Key], Open(context.Background(), q, []Ask{a}, now)[a.Key],
		} {
			for i, b := range answer.Blocks {
				check(t, b)
				if i > 0 && !b.Start.Equal(answer.Blocks[i-1].End()) {
					t.Fatalf("block %d begins at %s, the one before ends at %s", i, b.Start, answer.Blocks[i-1].End())
				}
			}
		}
		if i := Intervals(context.Background(), q, []Ask{a}, now)[a.Key]; i.Width < 0 {
			t.Fatalf("an interval of %s", i.Width)
		}
	})
}

func check(t *testing.T, b judge.Block) {
	t.Helper()
	for _, s := range []judge.Sample{b.Stable, b.Canary} {
		if s.Requests < 0 || s.Errors < 0 || s.ClientErrors < 0 || s.Disconnects < 0 || s.Errors > s.Requests || s.ClientErrors > s.Requests {
			t.Fatalf("counted %+v", s)
		}
		for i, bucket := range s.Latency {
			if bucket.Count < 0 || i > 0 && bucket.Count < s.Latency[i-1].Count {
				t.Fatalf("a histogram of %+v", s.Latency)
			}
		}
	}
	for _, p := range b.Custom {
		for _, tally := range []judge.Tally{p.Stable, p.Canary} {
			if tally.Hits < 0 || tally.Hits > tally.N {
				t.Fatalf("a tally of %+v", tally)
			}
		}
	}
}

// FuzzGarbage breaks what is known of a healthy canary at every border, each time
// by a value that no counter has: the judge never promotes on it. Unbroken it does.
func FuzzGarbage(f *testing.F) {
	f.Add([]byte("nothing"))
	f.Add([]byte{0, 1, 2, 3, 4, 250, 251})
	f.Fuzz(func(t *testing.T, data []byte) {
		if kind := judged(t, nil); kind != judge.Promote {
			t.Fatalf("a healthy canary is judged %s", kind)
		}
		if kind := judged(t, &dice{data}); kind == judge.Promote {
			t.Fatalf("promoted on garbage %x", data)
		}
	})
}

// judged is the verdict on two hundred blocks of a healthy canary; of it each
// counter is broken where there are dice.
func judged(t *testing.T, d *dice) judge.Kind {
	q := func(_ context.Context, promql string, start, end time.Time, step time.Duration) (Matrix, error) {
		m := healthy(promql, start, end, step)
		for i := range m.Series {
			if d == nil || m.Series[i].Labels.Get(labelWorkload) != "web-v2" {
				continue
			}
			for j := range m.Series[i].Points {
				m.Series[i].Points[j].Value = d.garbage()
			}
		}
		return m, nil
	}
	a := theAsk()
	now := epoch.Add(202 * a.Width)
	c := judge.Open(judge.Settings{Rules: judge.DefaultRules(), Limits: judge.Limits{ErrorRate: .01, P99: 2 * time.Second}, Steps: 1, Deadline: time.Hour})
	for _, b := range Blocks(context.Background(), q, []Ask{a}, now)[a.Key].Blocks {
		check(t, b)
		c.Fold(b)
	}
	return c.Verdict(now).Kind
}

// garbage is a value that no counter has.
func (d *dice) garbage() float64 {
	all := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, -math.MaxFloat64, math.MaxFloat64, 1 << 54}
	return all[d.below(len(all))]
}

// healthy is what is seen of two versions that fail nowhere: 40 requests a second
// on either side, all within 100 ms, scraped every 10 s.
func healthy(promql string, start, end time.Time, step time.Duration) Matrix {
	if strings.Contains(promql, `reporter="source"`) || strings.Contains(promql, `reporter=~"source"`) {
		return Matrix{}
	}
	var m Matrix
	bounds := []string{""}
	if strings.Contains(promql, latencyMetric) {
		bounds = []string{"100", "2000", "+Inf"}
	}
	for _, workload := range []string{"web-v1", "web-v2"} {
		for _, bound := range bounds {
			s := Series{Labels: Labels{
				{labelNamespace, "shop"}, {labelWorkload, workload}, {labelJob, "istio"}, {labelInstance, workload + ":15020"}, {labelPod, workload},
				{labelCode, "200"}, {labelGRPC, ""}, {labelBound, bound},
			}}
			for at := start; !at.After(end); at = at.Add(step) {
				value := 40 * at.Sub(epoch.Add(-time.Hour)).Seconds()
				switch {
				case strings.Contains(promql, "timestamp("):
					value = float64(at.UnixMilli())/1000 - 1
				case strings.Contains(promql, "count_over_time("):
					value = 1
				}
				s.Points = append(s.Points, Point{At: at.UnixMilli(), Value: value})
			}
			m.Series = append(m.Series, s)
		}
	}
	return m
}
