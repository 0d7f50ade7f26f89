package web

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/words"
)

// The room of a chart, in units of its own: it is stretched to the page's width, and
// its lines are not.
const (
	chartWidth  = 480
	chartHeight = 100
)

// chart is one figure over the time of the release, of both versions.
type chart struct {
	Title, Note    string
	Top, Bottom    string // what its edges stand for
	From, To       moment
	Stable, Canary string // paths
	Band           bool   // the paths are areas between two bounds
	Limit          string // path; empty: none in force
	Raises         string // path: where the canary's share changed
	Label          string // the same in words
}

// reading is one value over time: low and high differ where only bounds are known.
// NaN is a gap.
type reading struct{ low, high []float64 }

// chartsOf draws what was measured; nil before there are two points.
func chartsOf(d canary.Detail, now time.Time) []chart {
	points := d.Points
	if len(points) < 2 {
		return nil
	}
	points = points[max(0, len(points)-canary.MaxPoints):]
	t := timeline{from: points[0].At.Add(-time.Duration(points[0].Width)), to: points[len(points)-1].At}
	for _, p := range points {
		t.at = append(t.at, p.At)
		t.width = append(t.width, time.Duration(p.Width))
	}
	limits := d.View.Limits
	all := []chart{
		linear(t, "Requests per second", points, rate, 0, words.Number),
		linear(t, "Failed requests", points, errorRate, limits.ErrorRate, words.Percent),
		latency(t, points, float64(time.Duration(limits.P99))/float64(time.Millisecond)),
	}
	for i := range all {
		all[i].From, all[i].To, all[i].Raises = when(t.from, now), when(t.to, now), raises(t, points)
	}
	return all
}

func rate(s canary.SampleView, width time.Duration) float64 {
	if width <= 0 {
		return math.NaN()
	}
	return float64(s.Requests) / width.Seconds()
}

func errorRate(s canary.SampleView, _ time.Duration) float64 {
	if s.Requests <= 0 {
		return math.NaN()
	}
	return float64(s.Errors) / float64(s.Requests)
}

// readings takes one value, or its bounds, of both tracks out of the points.
func readings(points []canary.Point, of func(canary.SampleView, time.Duration) (low, high float64)) (stable, tested reading) {
	for _, p := range points {
		stable.add(of(p.Stable, time.Duration(p.Width)))
		tested.add(of(p.Canary, time.Duration(p.Width)))
	}
	return stable, tested
}

func (r *reading) add(low, high float64) { r.low, r.high = append(r.low, low), append(r.high, high) }

// linear draws values from zero up to a little above the highest of them and the limit.
func linear(t timeline, title string, points []canary.Point, of func(canary.SampleView, time.Duration) float64, limit float64, say func(float64) string) chart {
	stable, tested := readings(points, func(s canary.SampleView, width time.Duration) (low, high float64) {
		v := of(s, width)
		return v, v
	})
	const headroom = 1.2
	top := headroom * max(limit, highest(stable.high), highest(tested.high))
	if top <= 0 {
		top = 1
	}
	y := func(v float64) float64 { return v / top }
	c := chart{Title: title, Top: say(top), Bottom: say(0), Stable: t.line(stable.high, y), Canary: t.line(tested.high, y)}
	told := func(r reading, i int) string { return say(r.high[i]) }
	c.Label = label(title, tested, stable, told)
	if limit > 0 {
		c.Limit, c.Note = level(y(limit)), "limit "+say(limit)
		c.Label += ", " + c.Note
	}
	return c
}

// latency draws the bounds of P99, in ms, on a scale of logarithms: a limit is often
// a hundred times what is usual.
func latency(t timeline, points []canary.Point, limit float64) chart {
	stable, tested := readings(points, func(s canary.SampleView, _ time.Duration) (low, high float64) {
		if !s.P99.Known() || math.IsNaN(s.P99[0]) || math.IsNaN(s.P99[1]) {
			return math.NaN(), math.NaN()
		}
		return s.P99[0], s.P99[1]
	})
	const headroom = 1.5
	top := headroom * max(limit, highest(stable.high), highest(tested.high), highest(stable.low), highest(tested.low), 1)
	bottom := min(lowest(stable), lowest(tested), top/10)
	y := func(v float64) float64 {
		if v <= bottom {
			return 0
		}
		return min(1, math.Log(v/bottom)/math.Log(top/bottom))
	}
	c := chart{
		Title: "P99 latency", Band: true, Top: words.Milliseconds(round(top)), Bottom: words.Milliseconds(round(bottom)), Note: "log scale",
		Stable: t.area(stable, y), Canary: t.area(tested, y),
	}
	c.Label = label(c.Title, tested, stable, func(r reading, i int) string { return quantile(canary.Bounds{r.low[i], r.high[i]}) })
	if limit > 0 {
		c.Limit, c.Note = level(y(limit)), "limit "+words.Milliseconds(limit)+", "+c.Note
		c.Label += ", limit " + words.Milliseconds(limit)
	}
	return c
}

// round leaves two digits.
func round(x float64) float64 {
	ten := math.Pow(10, math.Floor(math.Log10(x))-1)
	return math.Round(x/ten) * ten
}

// highest is the highest finite value, 0 without one.
func highest(values []float64) (most float64) {
	for _, v := range values {
		if !math.IsInf(v, 0) && v > most {
			most = v
		}
	}
	return most
}

// lowest is half the lowest known bound above zero, +Inf without one.
func lowest(r reading) float64 {
	least := math.Inf(1)
	for _, v := range slices.Concat(r.low, r.high) {
		if v > 0 {
			least = min(least, v)
		}
	}
	return least / 2
}

// label says where both ended.
func label(title string, tested, stable reading, say func(reading, int) string) string {
	return fmt.Sprintf("%s over time. Last: canary %s, stable %s", title, last(tested, say), last(stable, say))
}

func last(r reading, say func(reading, int) string) string {
	for i := len(r.high) - 1; i >= 0; i-- {
		if !math.IsNaN(r.high[i]) {
			return say(r, i)
		}
	}
	return "unknown"
}

// timeline is the axis that all charts of a release share.
type timeline struct {
	from, to time.Time
	at       []time.Time
	width    []time.Duration
}

func (t timeline) x(at time.Time) int {
	return int(math.Round(float64(at.Sub(t.from)) / float64(max(1, t.to.Sub(t.from))) * chartWidth))
}

// height is where a share of the chart's height is drawn: down is up in SVG.
func height(share float64) int {
	return int(math.Round((1 - max(0, min(1, share))) * chartHeight))
}

// runs calls draw for each stretch without a gap: of known values, and of points
// that follow each other.
func (t timeline) runs(values []float64, draw func(from, to int)) {
	start := -1
	for i := range len(values) + 1 {
		broken := i == len(values) || math.IsNaN(values[i]) || start >= 0 && t.at[i].Sub(t.at[i-1]) > t.width[i]*3/2
		if start >= 0 && broken {
			draw(start, i)
			start = -1
		}
		if start < 0 && i < len(values) && !math.IsNaN(values[i]) {
			start = i
		}
	}
}

// line is the path of values. What lies on a level line needs no point.
func (t timeline) line(values []float64, y func(float64) float64) string {
	var b strings.Builder
	t.runs(values, func(from, to int) {
		var pen pen
		for i := from; i < to; i++ {
			pen.to(t.x(t.at[i]), height(y(values[i])))
		}
		b.WriteString(pen.path(false))
	})
	return b.String()
}

// area is the path around both bounds.
func (t timeline) area(r reading, y func(float64) float64) string {
	var b strings.Builder
	t.runs(r.high, func(from, to int) {
		var pen pen
		for i := from; i < to; i++ {
			pen.to(t.x(t.at[i]), height(y(r.high[i])))
		}
		for i := to - 1; i >= from; i-- {
			pen.to(t.x(t.at[i]), height(y(r.low[i])))
		}
		b.WriteString(pen.path(true))
	})
	return b.String()
}

// level is the path of a line across the chart.
func level(share float64) string { return fmt.Sprintf("M0 %dH%d", height(share), chartWidth) }

// raises is the path of lines where the canary's share changed.
func raises(t timeline, points []canary.Point) string {
	var b strings.Builder
	for i := 1; i < len(points); i++ {
		if points[i].Weight != points[i-1].Weight {
			fmt.Fprintf(&b, "M%d 0V%d", t.x(points[i-1].At), chartHeight)
		}
	}
	return b.String()
}

// pen collects points.
type pen [][2]int

func (p *pen) to(x, y int) {
	n := len(*p)
	if n > 1 && (*p)[n-1][1] == y && (*p)[n-2][1] == y && between((*p)[n-2][0], (*p)[n-1][0], x) {
		(*p)[n-1][0] = x
		return
	}
	*p = append(*p, [2]int{x, y})
}

func between(a, b, c int) bool { return a <= b && b <= c || a >= b && b >= c }

func (p pen) path(closed bool) string {
	var b strings.Builder
	for i, at := range p {
		if i == 0 {
			b.WriteByte('M')
		} else {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.Itoa(at[0]))
		b.WriteByte(' ')
		b.WriteString(strconv.Itoa(at[1]))
	}
	switch {
	case closed:
		b.WriteByte('Z')
	case len(p) == 1:
		b.WriteString("h0") // a dot
	}
	return b.String()
}
