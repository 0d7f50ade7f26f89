package explain

import (
	"fmt"
	"strings"
	"time"

	"serin.dev/serin/pkg/safetext"
)

// line writes a line. In plain style what is not ASCII is replaced: sentences
// are others', and names may hold anything.
func (w *writer) line(text string) {
	if w.err != nil {
		return
	}
	if w.ascii {
		text = strings.Map(func(r rune) rune {
			if r > 126 {
				return '?'
			}
			return r
		}, text)
	}
	_, w.err = fmt.Fprintln(w.out, strings.TrimRight(text, " "))
}

func (w *writer) title(text string) {
	w.line("")
	w.line(w.paint(bold, text))
}

// paint gives a text a colour, where colours are shown.
func (w *writer) paint(c colour, text string) string {
	if !w.colours || c == none || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// paintRow paints the drawn parts of a row, and dims the line behind them.
func (w *writer) paintRow(c colour, text string, background rune) string {
	if !w.colours {
		return text
	}
	var b strings.Builder
	for _, part := range runs(text, background) {
		if strings.HasPrefix(part, string(background)) {
			b.WriteString(w.paint(dim, part))
		} else {
			b.WriteString(w.paint(c, part))
		}
	}
	return b.String()
}

// runs cuts a text where it changes between the background and anything else.
func runs(text string, background rune) []string {
	var out []string
	begin, was := 0, false
	for i, r := range text {
		is := r == background
		if i > 0 && is != was {
			out, begin = append(out, text[begin:i]), i
		}
		was = is
	}
	return append(out, text[begin:])
}

// clock is a time of the day, with the day where the story is longer than one.
func (w *writer) clock(t time.Time) string {
	if w.dated {
		return t.In(w.zone).Format("Jan 02 15:04:05")
	}
	return t.In(w.zone).Format("15:04:05")
}

// wrapped writes a text behind a dim label, wrapped to the width.
func (w *writer) wrapped(label, text string) {
	w.hanging(w.paint(dim, label), wide(label), text)
}

// hanging writes a text behind a head of the given width, later lines as far in.
func (w *writer) hanging(head string, indent int, text string) { w.flow(head, indent, indent, text) }

// flow writes a text behind a head that takes first columns, later lines rest
// columns in.
func (w *writer) flow(head string, first, rest int, text string) {
	line, used := head, first
	for i, word := range strings.Fields(safetext.Text(text)) {
		if i > 0 && used+1+wide(word) > w.width && used > rest {
			w.line(line)
			line, used = strings.Repeat(" ", rest), rest
		} else if i > 0 {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+wide(word)
	}
	w.line(line)
}

// table writes rows in columns, the first row dim. Where they don't fit side by
// side it goes without the column named, and else makes each row a paragraph.
func (w *writer) table(rows [][]string, without int) {
	for _, row := range rows {
		for i := range row {
			row[i] = safetext.Line(row[i])
		}
	}
	widths := columns(rows)
	if total(widths) > w.width {
		widths[without] = 0
		if total(widths) > w.width {
			w.paragraphs(rows)
			return
		}
	}
	for r, row := range rows {
		line := ""
		for i, cell := range row {
			if widths[i] > 0 {
				line += "  " + cell + strings.Repeat(" ", widths[i]-wide(cell))
			}
		}
		if r == 0 {
			line = w.paint(dim, strings.TrimRight(line, " "))
		}
		w.line(line)
	}
}

// columns are how wide each column has to be.
func columns(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], wide(cell))
		}
	}
	return widths
}

// total is how wide columns are with the space before each.
func total(widths []int) int {
	sum := 0
	for _, width := range widths {
		if width > 0 {
			sum += width + 2
		}
	}
	return sum
}

// paragraphs writes each row as its first cell, and the others with their names.
func (w *writer) paragraphs(rows [][]string) {
	for _, row := range rows[1:] {
		var parts []string
		for i, cell := range row[1:] {
			if cell != "" {
				parts = append(parts, rows[0][i+1]+" "+cell)
			}
		}
		head := "  " + row[0] + ": "
		w.flow(head, wide(head), 4, strings.Join(parts, ", "))
	}
}
