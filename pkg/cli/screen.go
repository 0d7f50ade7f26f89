package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/util/duration"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/explain"
	"serin.dev/serin/pkg/safetext"
)

// screen writes lines as the output can show them. Text that others wrote goes
// through text, all of it.
type screen struct {
	style explain.Style
	b     strings.Builder
}

// The colours, as a terminal knows them.
const (
	plainly = ""
	bold    = "1"
	dim     = "2"
	red     = "31"
	green   = "32"
	yellow  = "33"
	blue    = "34"
	cyan    = "36"
)

func (s *screen) paint(colour, text string) string {
	if !s.style.Colours || colour == plainly {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// text is what others wrote, safe to show.
func (s *screen) text(text string) string {
	if s.style.Plain {
		return safetext.ASCII(text)
	}
	return safetext.Line(text)
}

// glyph is a sign, or what stands for it in ASCII.
func (s *screen) glyph(sign, ascii string) string {
	if s.style.Plain {
		return ascii
	}
	return sign
}

func (s *screen) line(text string) { s.b.WriteString(strings.TrimRight(text, " ") + "\n") }

// wrapped writes a head and a text that goes on below its own beginning.
func (s *screen) wrapped(head, text string) {
	indent := wide(head)
	words := strings.Fields(s.text(text))
	line, used := head, indent
	for _, word := range words {
		switch n := wide(word); {
		case used == indent:
			line, used = line+word, used+n
		case used+1+n > s.style.Width:
			s.line(line)
			line, used = strings.Repeat(" ", indent)+word, indent+n
		default:
			line, used = line+" "+word, used+1+n
		}
	}
	s.line(line)
}

// wide is how many columns a text takes, without what steers the terminal.
func wide(text string) int {
	n := 0
	for {
		before, after, found := strings.Cut(text, "\x1b[")
		n += utf8.RuneCountInString(before)
		if !found {
			return n
		}
		_, text, _ = strings.Cut(after, "m")
	}
}

// table writes columns, two spaces apart, the last one as long as it is.
func (s *screen) table(rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], wide(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-wide(cell)+2))
			}
		}
		s.line(line.String())
	}
}

// bar is a share of a whole, 0 to 1, as a bar.
func (s *screen) bar(share float64, width int, colour string) string {
	full := min(width, max(0, int(share*float64(width)+0.5)))
	if share > 0 && full == 0 {
		full = 1 // what there is, is seen
	}
	return s.paint(colour, strings.Repeat(s.glyph("█", "#"), full)) + s.paint(dim, strings.Repeat(s.glyph("░", "."), width-full))
}

// phaseColour is how a phase is shown.
func phaseColour(p canary.Phase) string {
	switch p {
	case canary.Succeeded:
		return green
	case canary.RollingBack, canary.RolledBack, canary.Blocked:
		return red
	case canary.Paused, canary.Inconclusive, canary.Waiting:
		return yellow
	case canary.Idle:
		return dim
	}
	return cyan
}

// age is a duration as kubectl writes it: 5m, 3h.
func age(d time.Duration) string { return duration.HumanDuration(max(0, d)) }

// ago is how long ago something was; a dash where that is unknown.
func ago(now, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return age(now.Sub(at))
}

// shown is how often what is watched is drawn anew.
const shown = time.Second

// live draws again and again until draw says that there is no more to come. On a
// terminal each frame takes the place of the one before, and the cursor is
// restored whatever ends it; elsewhere draw gets the frame before and writes what
// is new.
func (t *tool) live(ctx context.Context, draw func(frame *screen) (done bool, err error), news func(frame *screen) error) error {
	style := styleOf(t.streams.Out, false, os.Getenv)
	file, is := t.streams.Out.(*os.File)
	terminal := is && term.IsTerminal(int(file.Fd()))
	if terminal {
		fmt.Fprint(t.streams.Out, hideCursor)
		defer fmt.Fprint(t.streams.Out, showCursor)
	}
	ticker := time.NewTicker(shown)
	defer ticker.Stop()
	height := 0
	for {
		frame := &screen{style: style}
		done, err := draw(frame)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if terminal {
			height = redraw(t.streams.Out, file, frame.b.String(), height)
		} else if err := news(frame); err != nil {
			return err
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

const (
	hideCursor = "\x1b[?25l\x1b[?7l" // and cut what is wider than the terminal: a line stays a line
	showCursor = "\x1b[?7h\x1b[?25h"
	clearBelow = "\x1b[J"
	clearRight = "\x1b[K"
)

// redraw writes a frame over the one before, which had so many lines, cut to what
// the terminal shows; it returns how many it has.
func redraw(out io.Writer, file *os.File, frame string, before int) int {
	lines := strings.Split(strings.TrimSuffix(frame, "\n"), "\n")
	if _, rows, err := term.GetSize(int(file.Fd())); err == nil && rows > 1 && len(lines) > rows-1 {
		lines = lines[:rows-1]
	}
	var b strings.Builder
	if before > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", before)
	}
	for _, line := range lines {
		b.WriteString("\r" + line + clearRight + "\n")
	}
	b.WriteString(clearBelow)
	fmt.Fprint(out, b.String())
	return len(lines)
}
