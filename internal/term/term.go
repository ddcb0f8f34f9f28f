// Package term is text for terminals: numbers, bars and colors, and foreign text made harmless.
package term

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Count is a number with commas between thousands.
func Count[T int | int64 | float64](v T) string {
	s := strconv.FormatInt(int64(float64(v)+0.5), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Size is a number of bytes in the unit that fits.
func Size(v float64) string {
	switch {
	case v >= 1<<20:
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	case v >= 1<<10:
		return fmt.Sprintf("%.1f KiB", v/(1<<10))
	}
	return fmt.Sprintf("%.0f B", v)
}

// Millis is a duration in milliseconds with three digits or so.
func Millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 10 {
		return fmt.Sprintf("%.2f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// Bar fills a share (0 to 1) of width cells, in eighths.
func Bar(share float64, width int) string {
	eighths := int(share*float64(width*8) + 0.5)
	full := min(eighths/8, width)
	s := strings.Repeat("█", full)
	if rest := eighths % 8; rest > 0 && full < width {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
		full++
	}
	return s + strings.Repeat("·", width-full)
}

// Spark draws values as a line of columns, the highest one full.
func Spark(values []float64) string {
	top := 1.0
	for _, v := range values {
		top = max(top, v)
	}
	columns := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, v := range values {
		b.WriteRune(columns[min(int(v/top*8), 7)])
	}
	return b.String()
}

// Printable makes bytes safe for a terminal: anything but plain ASCII becomes a dot, one cell wide.
func Printable(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r < 0x20 || r > 0x7e {
			r = '·'
		}
		s.WriteRune(r)
		b = b[n:]
	}
	return s.String()
}

// Shorten keeps both ends of s within width cells. s is printable.
func Shorten(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	head := (width - 1) / 2
	return string(r[:head]) + "…" + string(r[len(r)-(width-1-head):])
}

// Pad fills s with blanks to width cells.
func Pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// Colors paints text, or leaves it as it is.
type Colors struct{ On bool }

func (c Colors) paint(code, s string) string {
	if !c.On || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (c Colors) Bold(s string) string   { return c.paint("1", s) }
func (c Colors) Dim(s string) string    { return c.paint("2", s) }
func (c Colors) Red(s string) string    { return c.paint("31", s) }
func (c Colors) Green(s string) string  { return c.paint("32", s) }
func (c Colors) Yellow(s string) string { return c.paint("33", s) }
func (c Colors) Cyan(s string) string   { return c.paint("36", s) }
