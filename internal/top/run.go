package top

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"functiongraph-ingest/internal/term"
)

const (
	every = time.Second

	enter     = "\x1b[?1049h\x1b[?25l\x1b[?7l" // another screen, without a cursor; lines that are too long are cut
	leave     = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	home      = "\x1b[H"
	clearLine = "\x1b[K"
	clearRest = "\x1b[J"
)

// Screen is the terminal that is drawn on.
type Screen struct {
	Out    io.Writer
	Size   func() (width, height int) // asked before each frame
	Keys   <-chan byte                // what was typed; nil: nothing can be
	Colors term.Colors
}

// Once prints one frame, without a limit of its height. Rates need two looks, a second apart.
func Once(ctx context.Context, c *Client, s *Screen, address string) error {
	v := &view{address: address, colors: s.Colors}
	for i := range 2 {
		if i > 0 && !pause(ctx, nil) {
			return ctx.Err()
		}
		m, err := c.look(ctx)
		if err != nil {
			return err
		}
		v.add(m)
	}
	width, _ := s.Size()
	_, err := fmt.Fprintln(s.Out, strings.Join(v.frame(width, 1000), "\n"))
	return err
}

// Run draws a frame each second until ctx ends, or q or Ctrl-C is typed. An error means that the first look failed; later on
// the frame tells of it, and a process that was started again is shown as soon as it answers.
func Run(ctx context.Context, c *Client, s *Screen, address string) error {
	v := &view{address: address, colors: s.Colors}
	m, err := c.look(ctx)
	if err != nil {
		return err
	}
	v.add(m)
	if _, err := io.WriteString(s.Out, enter); err != nil {
		return err
	}
	defer func() { _, _ = io.WriteString(s.Out, leave) }()
	for {
		width, height := s.Size()
		lines := v.frame(width, height-1)
		for len(lines) < height-1 {
			lines = append(lines, "")
		}
		lines = append(lines, v.colors.Dim(" q ends it"))
		if _, err := io.WriteString(s.Out, home+strings.Join(lines, clearLine+"\r\n")+clearLine+clearRest); err != nil {
			return nil // the terminal is gone
		}
		if !pause(ctx, s.Keys) {
			return nil
		}
		if m, v.problem = c.look(ctx); v.problem == nil {
			v.add(m)
		}
	}
}

// pause waits for the next look; false: there is none.
func pause(ctx context.Context, keys <-chan byte) bool {
	const ctrlC, ctrlD = 3, 4
	tick := time.NewTimer(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			return true
		case k, ok := <-keys:
			if !ok {
				keys = nil // the input has ended, which does not end the show
			} else if k == 'q' || k == 'Q' || k == ctrlC || k == ctrlD {
				return false
			}
		}
	}
}
