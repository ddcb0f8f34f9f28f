package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"functiongraph-ingest/internal/term"
)

// screen is where everything is shown: a terminal, on which frames are drawn over one another, or anything
// else, which gets lines.
type screen struct {
	w        io.Writer
	terminal bool
	colors   term.Colors
	drawn    int // lines of the frame that stands there
}

func newScreen(f *os.File, plain bool) *screen {
	info, err := f.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	return &screen{
		w: f, terminal: terminal && !plain,
		colors: term.Colors{On: terminal && os.Getenv("NO_COLOR") == ""},
	}
}

// say writes a line.
func (s *screen) say(line string) { _, _ = fmt.Fprintln(s.w, line) }

// print writes lines.
func (s *screen) print(lines []string) { s.say(strings.Join(lines, "\n")) }

const (
	noWrap    = "\x1b[?7l" // a terminal that is too narrow cuts lines instead of breaking them
	wrap      = "\x1b[?7h"
	clearLine = "\x1b[K"
)

// draw shows a frame in place of the one before. It is one write, so that nothing flickers.
func (s *screen) draw(frame []string) {
	var b strings.Builder
	b.WriteString(noWrap)
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	for _, line := range frame {
		b.WriteString(line + clearLine + "\n")
	}
	b.WriteString(wrap)
	s.drawn = len(frame)
	_, _ = io.WriteString(s.w, b.String())
}
