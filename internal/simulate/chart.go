package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// chart is a plot of lines, as SVG that follows the reader's light or dark mode.
type chart struct {
	title, about string // about says what is seen, for those who don't see it
	x, y         axis
	lines        []line
	marks        []mark
}

// axis is a scale; on a logarithmic one everything is above 0.
type axis struct {
	label    string
	from, to float64
	log      bool
	ticks    []tick
}

type tick struct {
	at   float64
	text string
}

// line goes through points in the order of x; a point that isn't a number breaks it.
type line struct {
	name   string // at its last point; empty if another line has it
	colour int    // 0..len(colours)-1
	dashed bool
	dots   bool
	points []point
}

type point struct{ x, y float64 }

// mark is a straight line across the plot, at an x or at a y.
type mark struct {
	at   float64
	text string
	x    bool
}

// colours are a pair for light and for dark mode each.
var colours = [...][2]string{
	{"#0969da", "#58a6ff"}, {"#bc4c00", "#f0883e"}, {"#1a7f37", "#3fb950"}, {"#8250df", "#bc8cff"}, {"#57606a", "#8b949e"},
}

// The plot's place on the picture.
const (
	chartWidth, chartHeight = 800.0, 400.0
	plotLeft, plotRight     = 76.0, 620.0
	plotTop, plotBottom     = 56.0, 340.0
	labelApart              = 15.0
)

// place is where a value stands between two edges, 0 to 1.
func (a axis) place(v float64) float64 {
	v = min(max(v, a.from), a.to)
	if a.log {
		return math.Log(v/a.from) / math.Log(a.to/a.from)
	}
	return (v - a.from) / (a.to - a.from)
}

func (c chart) at(p point) (x, y float64) {
	return plotLeft + c.x.place(p.x)*(plotRight-plotLeft), plotBottom - c.y.place(p.y)*(plotBottom-plotTop)
}

// svg is the chart as a file.
func (c chart) svg() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" role="img" aria-labelledby="title desc" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif" font-size="13">`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n", html.EscapeString(c.title), html.EscapeString(c.about))
	b.WriteString(chartStyle())
	fmt.Fprintf(&b, "<rect class=\"card\" x=\"1\" y=\"1\" width=\"%g\" height=\"%g\" rx=\"12\"/>\n", chartWidth-2, chartHeight-2)
	c.text(&b, "b", plotLeft, 30, "start", c.title)
	c.scales(&b)
	for _, m := range c.marks {
		c.mark(&b, m)
	}
	for _, l := range c.lines {
		c.line(&b, l)
	}
	c.names(&b)
	b.WriteString("</svg>\n")
	return b.String()
}

func chartStyle() string {
	var light, dark strings.Builder
	for i, pair := range colours {
		fmt.Fprintf(&light, ".l%d{stroke:%s}.f%d{fill:%s}\n", i, pair[0], i, pair[0])
		fmt.Fprintf(&dark, ".l%d{stroke:%s}.f%d{fill:%s}\n", i, pair[1], i, pair[1])
	}
	return "<style>\n.card{fill:#fff;stroke:#d0d7de}.grid{stroke:#d0d7de;stroke-width:1}text{fill:#1f2328}.dim{fill:#57606a}.b{font-weight:600;font-size:15px}" +
		".mark{stroke:#57606a;stroke-width:1.5;stroke-dasharray:2 4}.line{fill:none;stroke-width:2;stroke-linejoin:round}.dash{stroke-dasharray:7 5}\n" +
		light.String() +
		"@media (prefers-color-scheme:dark){.card{fill:#0d1117;stroke:#30363d}.grid{stroke:#30363d}text{fill:#e6edf3}.dim{fill:#9198a1}.mark{stroke:#8b949e}\n" +
		dark.String() + "}\n</style>\n"
}

func (c chart) text(b *strings.Builder, class string, x, y float64, anchor, text string) {
	fmt.Fprintf(b, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", class, x, y, anchor, html.EscapeString(text))
}

// scales draws both axes.
func (c chart) scales(b *strings.Builder) {
	for _, t := range c.y.ticks {
		_, y := c.at(point{c.x.from, t.at})
		fmt.Fprintf(b, "<path class=\"grid\" d=\"M%g %.1fH%g\"/>\n", plotLeft, y, plotRight)
		c.text(b, "dim", plotLeft-8, y+4, "end", t.text)
	}
	for _, t := range c.x.ticks {
		x, _ := c.at(point{t.at, c.y.from})
		fmt.Fprintf(b, "<path class=\"grid\" d=\"M%.1f %gv5\"/>\n", x, plotBottom)
		c.text(b, "dim", x, plotBottom+20, "middle", t.text)
	}
	c.text(b, "dim", (plotLeft+plotRight)/2, plotBottom+44, "middle", c.x.label)
	fmt.Fprintf(b, "<text class=\"dim\" transform=\"translate(18 %g) rotate(-90)\" text-anchor=\"middle\">%s</text>\n", (plotTop+plotBottom)/2, html.EscapeString(c.y.label))
}

func (c chart) mark(b *strings.Builder, m mark) {
	if m.x {
		x, _ := c.at(point{m.at, c.y.from})
		fmt.Fprintf(b, "<path class=\"mark\" d=\"M%.1f %gV%g\"/>\n", x, plotTop, plotBottom)
		c.text(b, "dim", x, plotTop-6, "middle", m.text)
		return
	}
	_, y := c.at(point{c.x.from, m.at})
	fmt.Fprintf(b, "<path class=\"mark\" d=\"M%g %.1fH%g\"/>\n", plotLeft, y, plotRight)
}

func (c chart) line(b *strings.Builder, l line) {
	var path, dots strings.Builder
	pen := "M"
	for _, p := range l.points {
		if math.IsNaN(p.y) {
			pen = "M"
			continue
		}
		x, y := c.at(p)
		fmt.Fprintf(&path, "%s%.1f %.1f", pen, x, y)
		pen = "L"
		if l.dots {
			fmt.Fprintf(&dots, "<circle class=\"f%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>\n", l.colour, x, y)
		}
	}
	class := fmt.Sprintf("line l%d", l.colour)
	if l.dashed {
		class += " dash"
	}
	fmt.Fprintf(b, "<path class=\"%s\" d=\"%s\"/>\n%s", class, path.String(), dots.String())
}

// names writes the names of lines beside their last points, and those of marks, none over another.
func (c chart) names(b *strings.Builder) {
	type name struct {
		y           float64
		class, text string
	}
	var names []name
	for _, m := range c.marks {
		if !m.x {
			_, y := c.at(point{c.x.from, m.at})
			names = append(names, name{y, "dim", m.text})
		}
	}
	for _, l := range c.lines {
		for i := len(l.points) - 1; i >= 0 && l.name != ""; i-- {
			if !math.IsNaN(l.points[i].y) {
				_, y := c.at(l.points[i])
				names = append(names, name{y, fmt.Sprintf("f%d", l.colour), l.name})
				break
			}
		}
	}
	for i := range names {
		for j := i; j > 0 && names[j].y < names[j-1].y; j-- {
			names[j], names[j-1] = names[j-1], names[j]
		}
	}
	// Each below the one before; but what would be below the plot goes up again.
	for i := 1; i < len(names); i++ {
		names[i].y = max(names[i].y, names[i-1].y+labelApart)
	}
	lowest := plotBottom
	for i := len(names) - 1; i >= 0; i-- {
		names[i].y = min(names[i].y, lowest)
		lowest = names[i].y - labelApart
		if names[i].text != "" {
			c.text(b, names[i].class, plotRight+8, names[i].y+4, "start", names[i].text)
		}
	}
}
