package explain

import (
	"math"
	"strings"
	"time"
)

// glyphs are what lines are drawn with.
type glyphs struct {
	axis, tick, corner, floor, border, suffices rune
	bars                                        []rune // from little to much
	arrow                                       string
	braille                                     bool // dots of two by four in a cell; else one a cell
}

var (
	pretty = glyphs{axis: '│', tick: '┤', corner: '└', floor: '─', border: '┬', suffices: '╌', arrow: " → ", bars: []rune("▁▂▃▄▅▆▇█"), braille: true}
	plain  = glyphs{axis: '|', tick: '+', corner: '+', floor: '-', border: '+', suffices: '.', arrow: " -> ", bars: []rune(".:-=+*#%")}
)

// stretch is the time that a plot shows, laid over columns. Time that no look
// covers is left out, so that a pause of hours takes no place.
type stretch struct {
	starts, ends []time.Time // of the looks, in the order of time
	offset       []time.Duration
	whole        time.Duration
	columns      int
}

func lay(looks []Look, columns int) stretch {
	s := stretch{columns: columns}
	for _, l := range looks {
		s.starts, s.ends = append(s.starts, l.Block.Start), append(s.ends, l.Block.End())
		s.offset = append(s.offset, s.whole)
		s.whole += l.Block.Width
	}
	return s
}

// span is from which column to which a look reaches, in columns of the given
// number; at least one column.
func (s stretch) span(i, columns int) (from, to int) {
	scale := float64(columns) / float64(s.whole)
	from = int(float64(s.offset[i]) * scale)
	to = int(math.Ceil(float64(s.offset[i]+s.ends[i].Sub(s.starts[i])) * scale))
	from = min(from, columns-1)
	return from, min(max(to, from+1), columns)
}

// canvas is a field of dots, drawn as characters.
type canvas struct {
	glyphs        glyphs
	columns, rows int // of characters
	dots          [][]bool
}

func newCanvas(g glyphs, columns, rows int) *canvas {
	c := &canvas{glyphs: g, columns: columns, rows: rows}
	c.dots = make([][]bool, rows*c.high())
	for y := range c.dots {
		c.dots[y] = make([]bool, columns*c.wide())
	}
	return c
}

// wide and high are how many dots a character has.
func (c *canvas) wide() int {
	if c.glyphs.braille {
		return 2
	}
	return 1
}

func (c *canvas) high() int {
	if c.glyphs.braille {
		return 4
	}
	return 1
}

// curve draws a staircase of values between 0 and 1; NaN leaves a gap. Values
// beyond are drawn at the border.
func (c *canvas) curve(s stretch, values []float64) {
	width, top := c.columns*c.wide(), len(c.dots)-1
	before := -1
	for i, v := range values {
		if math.IsNaN(v) {
			before = -1
			continue
		}
		y := top - int(math.Round(min(max(v, 0), 1)*float64(top)))
		from, to := s.span(i, width)
		if before >= 0 {
			for between := min(before, y); between <= max(before, y); between++ {
				c.dots[between][from] = true
			}
		}
		for x := from; x < to; x++ {
			c.dots[y][x] = true
		}
		before = y
	}
}

// row is one line of characters; where no dot is, background shows.
func (c *canvas) row(r int, background rune) string {
	var b strings.Builder
	for column := range c.columns {
		if glyph := c.cell(r, column); glyph != 0 {
			b.WriteRune(glyph)
		} else {
			b.WriteRune(background)
		}
	}
	return b.String()
}

// dotBits are the bits of a braille pattern, by row and column of its dots.
var dotBits = [4][2]rune{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

// cell is the character of a field of dots, 0 where there is none.
func (c *canvas) cell(r, column int) rune {
	if !c.glyphs.braille {
		if c.dots[r][column] {
			return '*'
		}
		return 0
	}
	var bits rune
	for y := range 4 {
		for x := range 2 {
			if c.dots[r*4+y][column*2+x] {
				bits |= dotBits[y][x]
			}
		}
	}
	if bits == 0 {
		return 0
	}
	return 0x2800 + bits
}
