// Package plot draws line charts as SVG, for the pages of the benchmarks. An SVG stands by itself: no
// script, no font, no style sheet.
package plot

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Chart is one picture.
type Chart struct {
	Title   string
	Caption string // below: the load and the settings
	X, Y    Axis
	Series  []Series
	Spans   []Span // of X, shaded
}

// Axis describes one axis. The label should name the unit.
type Axis struct {
	Label string
	Log   bool
	// Min and Max fix the ends; where both are 0 the data decides, and a linear axis begins at 0. Values beyond Max are
	// drawn at its height.
	Min, Max float64
}

// Series is one line. Points whose Y is not a number, or not positive on a logarithmic axis, are gaps.
type Series struct {
	Name   string
	Points []Point
	Dashed bool
	Bare   bool // no dots: many points
}

// Point is a value.
type Point struct{ X, Y float64 }

// Span is a stretch of the X axis with a name.
type Span struct {
	From, To float64
	Name     string
}

const (
	width, height           = 640, 360
	left, right, top, below = 68, 16, 56, 46
	innerW, innerH          = width - left - right, height - top - below
	font                    = `font-family="system-ui,sans-serif" fill="#333"`
	captionLine             = 100 // characters
	captionHeight           = 15
)

// colours can be told apart by colour-blind people (Okabe and Ito).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666"}

// SVG returns the picture.
func (c *Chart) SVG() string {
	x := newScale(&c.X, c.values(func(p Point) float64 { return p.X }), left, left+innerW)
	y := newScale(&c.Y, c.values(func(p Point) float64 { return p.Y }), top+innerH, top)
	caption := wrap(c.Caption, captionLine)
	height := height + captionHeight*len(caption)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString(c.Title))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="20" font-size="15" font-weight="600" %s>%s</text>`+"\n", left, font, html.EscapeString(c.Title))
	c.spans(&b, x)
	c.grid(&b, x, y)
	for i, s := range c.Series {
		s.draw(&b, x, y, colours[i%len(colours)])
	}
	c.legend(&b)
	for i, line := range caption {
		fmt.Fprintf(&b, `<text x="8" y="%d" font-size="11" %s>%s</text>`+"\n", height-6-captionHeight*(len(caption)-1-i), font, html.EscapeString(line))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (c *Chart) values(of func(Point) float64) (v []float64) {
	for _, s := range c.Series {
		for _, p := range s.Points {
			v = append(v, of(p))
		}
	}
	return v
}

func (c *Chart) spans(b *strings.Builder, x *scale) {
	for _, s := range c.Spans {
		from, to := x.at(math.Max(s.From, x.min)), x.at(math.Min(s.To, x.max))
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#fbe3d6"/><text x="%.1f" y="%d" font-size="11" %s text-anchor="middle">%s</text>`+"\n",
			from, top, to-from, innerH, (from+to)/2, top+14, font, html.EscapeString(s.Name))
	}
}

func (c *Chart) grid(b *strings.Builder, x, y *scale) {
	for _, t := range y.ticks() {
		at := y.at(t)
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#e4e4e4"/><text x="%d" y="%.1f" font-size="11" %s text-anchor="end">%s</text>`+"\n",
			left, left+innerW, at, at, left-6, at+4, font, short(t))
	}
	for _, t := range x.ticks() {
		at := x.at(t)
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#f0f0f0"/><text x="%.1f" y="%d" font-size="11" %s text-anchor="middle">%s</text>`+"\n",
			at, at, top, top+innerH, at, top+innerH+16, font, short(t))
	}
	fmt.Fprintf(b, `<path d="M%d %dV%dH%d" fill="none" stroke="#888"/>`+"\n", left, top, top+innerH, left+innerW)
	fmt.Fprintf(b, `<text x="%d" y="%d" font-size="12" %s text-anchor="middle">%s</text>`+"\n", left+innerW/2, height-8, font, html.EscapeString(c.X.Label))
	fmt.Fprintf(b, `<text transform="translate(15 %d) rotate(-90)" font-size="12" %s text-anchor="middle">%s</text>`+"\n", top+innerH/2, font, html.EscapeString(c.Y.Label))
}

func (s *Series) draw(b *strings.Builder, x, y *scale, colour string) {
	var path strings.Builder
	var dots []string
	pen := byte('M')
	for _, p := range s.Points {
		if !x.shows(p.X) || !y.shows(p.Y) {
			pen = 'M'
			continue
		}
		px, py := x.at(p.X), y.at(min(p.Y, y.max))
		fmt.Fprintf(&path, "%c%.1f %.1f", pen, px, py)
		pen = 'L'
		if !s.Bare {
			dots = append(dots, fmt.Sprintf(`<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %s, %s</title></circle>`,
				px, py, colour, html.EscapeString(s.Name), short(p.X), short(p.Y)))
		}
	}
	dash := ""
	if s.Dashed {
		dash = ` stroke-dasharray="5 4"`
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="2" stroke-linejoin="round"%s/>%s`+"\n", path.String(), colour, dash, strings.Join(dots, ""))
}

// legend names the lines in one row above the picture.
func (c *Chart) legend(b *strings.Builder) {
	at := float64(left)
	for i, s := range c.Series {
		if s.Name == "" {
			continue
		}
		fmt.Fprintf(b, `<line x1="%.0f" x2="%.0f" y1="40" y2="40" stroke="%s" stroke-width="3"/><text x="%.0f" y="44" font-size="12" %s>%s</text>`+"\n",
			at, at+16, colours[i%len(colours)], at+21, font, html.EscapeString(s.Name))
		at += 36 + 6.8*float64(len([]rune(s.Name)))
	}
}

// wrap breaks a text into lines of at most n characters, where its words allow it.
func wrap(text string, n int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > n {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
