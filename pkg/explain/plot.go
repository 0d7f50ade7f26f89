package explain

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/safetext"
	"serin.dev/serin/pkg/words"
)

// lane is one curve over the time of the release.
type lane struct {
	title, note string
	colour      colour
	value       func(Look) float64 // NaN: not known
	suffices    float64            // where the line is drawn
	most        float64            // the scale goes from 0 to here at most; 0: as far as the values
	label       func(value float64) string
	marks       []float64 // values that have a label of their own
}

const (
	laneRows   = 6
	labelWidth = 10
	// headroom is how far above the line that suffices a scale goes at least.
	headroom = 1.25
)

// lanes are the curves to be shown: the evidence or, where no evidence is
// gathered, what is compared with the limit.
func lanes(looks []Look) []lane {
	last := looks[len(looks)-1].Verdict
	if last.RollbackAt == 0 {
		return nil
	}
	against := lane{
		title: "Evidence to roll back", note: suffice(last.RollbackAt), colour: red,
		value:    known(func(v judge.Verdict) float64 { return v.Against }),
		suffices: last.RollbackAt, most: 2.5 * last.RollbackAt, label: oddsLabel, marks: decades,
	}
	towards := lane{
		title: "Evidence to promote", note: suffice(last.PromoteAt) + ", of the metric farthest from it", colour: green,
		value:    known(func(v judge.Verdict) float64 { return v.For }),
		suffices: last.PromoteAt, most: 2.5 * last.PromoteAt, label: oddsLabel, marks: decades,
	}
	return []lane{against, towards}
}

func failedLane(limit float64) lane {
	return lane{
		title: "Failed canary requests", note: "the limit is " + words.Percent(limit), colour: red,
		value: func(l Look) float64 {
			if absent(l) != "" || l.Block.Canary.Requests == 0 {
				return math.NaN()
			}
			return float64(l.Block.Canary.Errors) / float64(l.Block.Canary.Requests)
		},
		suffices: limit, label: words.Percent, marks: []float64{0},
	}
}

// decades are the odds that have a label: 1 to 1, 10 to 1, ...
var decades = []float64{0, math.Log(10), math.Log(100), math.Log(1e3), math.Log(1e4), math.Log(1e5), math.Log(1e6)}

func oddsLabel(ln float64) string { return words.Number(math.Exp(ln)) + ":1" }

func suffice(ln float64) string { return words.Odds(ln) + " suffices" }

func known(of func(judge.Verdict) float64) func(Look) float64 {
	return func(l Look) float64 {
		if absent(l) != "" {
			return math.NaN()
		}
		return of(l.Verdict)
	}
}

// draw writes a lane: its title, its rows, without the axis of time.
func (l lane) draw(w *writer, looks []Look, s stretch) {
	values := make([]float64, len(looks))
	highest := l.suffices * headroom
	for i, look := range looks {
		values[i] = l.value(look)
		if !math.IsNaN(values[i]) {
			highest = max(highest, values[i])
		}
	}
	if l.most > 0 {
		highest = min(highest, l.most)
	}
	c := newCanvas(w.glyphs, s.columns, laneRows)
	for i := range values {
		values[i] /= highest
	}
	c.curve(s, values)
	w.line(w.paint(bold, safetext.Line(l.title)) + w.paint(dim, safetext.Line("  "+l.note)))
	for r := range laneRows {
		label, line := l.at(r, highest)
		tick, background := w.glyphs.axis, ' '
		if label != "" {
			tick = w.glyphs.tick
		}
		if line {
			background = w.glyphs.suffices
		}
		w.line(w.paint(dim, fmt.Sprintf("%*s %c", labelWidth, label, tick)) + w.paintRow(l.colour, c.row(r, background), background))
	}
}

// at is the label of a row, and whether the line that suffices is drawn in it.
func (l lane) at(r int, highest float64) (label string, line bool) {
	if row(l.suffices, highest) == r {
		return l.label(l.suffices), true
	}
	for _, m := range l.marks {
		if m <= highest && row(m, highest) == r {
			return l.label(m), false
		}
	}
	return "", false
}

// row is in which row of a lane a value lies, 0 at the top.
func row(value, highest float64) int {
	dots := float64(laneRows*4 - 1)
	return (laneRows*4 - 1 - int(math.Round(value/highest*dots))) / 4
}

// axis writes the line of steps and the line of times below the lanes.
func axis(w *writer, looks []Look, s stretch) {
	floor := []rune(strings.Repeat(string(w.glyphs.floor), s.columns))
	times := []rune(strings.Repeat(" ", s.columns))
	free, clock := 0, 0
	for i, l := range looks {
		if i > 0 && sameStep(looks[i-1].Block, l.Block) {
			continue
		}
		from, _ := s.span(i, s.columns)
		if i > 0 {
			floor[from] = w.glyphs.border
		}
		name := " " + exposure(l.Block) + " "
		if from >= free && from+1+len(name) <= s.columns {
			copy(floor[from+1:], []rune(name))
			free = from + 1 + len(name)
		}
		at := w.clock(l.Block.Start)
		if from >= clock && from+len(at) <= s.columns {
			copy(times[from:], []rune(at))
			clock = from + len(at) + 1
		}
	}
	end := w.clock(looks[len(looks)-1].Block.End())
	if from := s.columns - len(end); from >= clock {
		copy(times[from:], []rune(end))
	}
	w.line(w.paint(dim, fmt.Sprintf("%*s %c%s", labelWidth, "", w.glyphs.corner, string(floor))))
	w.line(w.paint(dim, strings.TrimRight(fmt.Sprintf("%*s  %s", labelWidth, "", string(times)), " ")))
}

func sameStep(a, b judge.Block) bool {
	return a.Step == b.Step && a.Weight == b.Weight && a.Mirror == b.Mirror
}

// exposure is what the canary was sent in a block.
func exposure(b judge.Block) string {
	if b.Mirror > 0 {
		return fmt.Sprintf("copies of %d%%", b.Mirror)
	}
	return fmt.Sprintf("%d%%", b.Weight)
}

// bars writes one row of how much of something happened over the time; its
// label is the highest rate.
func bars(w *writer, unit string, paint colour, looks []Look, s stretch, of func(judge.Block) int64) {
	rates := s.rates(looks, of)
	highest := slices.Max(rates)
	var b strings.Builder
	for _, rate := range rates {
		if rate <= 0 {
			b.WriteRune(' ')
			continue
		}
		b.WriteRune(w.glyphs.bars[min(int(rate/highest*float64(len(w.glyphs.bars))), len(w.glyphs.bars)-1)])
	}
	w.line(w.paint(dim, fmt.Sprintf("%*s  ", labelWidth, words.Number(highest)+" "+unit)) + w.paint(paint, b.String()))
}

// rates are how much of something happened a second, in each column.
func (s stretch) rates(looks []Look, of func(judge.Block) int64) []float64 {
	sums, seconds := make([]float64, s.columns), make([]float64, s.columns)
	for i, l := range looks {
		if absent(l) != "" {
			continue
		}
		from, to := s.span(i, s.columns)
		for x := from; x < to; x++ {
			sums[x] += float64(of(l.Block)) / float64(to-from)
			seconds[x] += l.Block.Width.Seconds() / float64(to-from)
		}
	}
	for x := range sums {
		if seconds[x] > 0 {
			sums[x] /= seconds[x]
		}
	}
	return sums
}

// wide is how many columns a text takes.
func wide(text string) int { return utf8.RuneCountInString(text) }
