package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"functiongraph-ingest/pkg/sink/ndjson"
)

// newNDJSON writes lines to a file, which is made or continued, to a named pipe, or to stdout.
func newNDJSON(output string, stdout io.Writer, log *slog.Logger) (*ndjson.Sink, error) {
	if output == "-" {
		// A reader that leaves would end the process by SIGPIPE, without a ledger.
		signal.Ignore(syscall.SIGPIPE)
		if f, ok := stdout.(*os.File); ok {
			return ndjson.New(kept{f}), nil
		}
		return ndjson.New(struct{ io.Writer }{stdout}), nil
	}
	// Events are in it: no other user may read. A named pipe must not hang in open, nor in a write at the end.
	f, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NONBLOCK, 0o600)
	switch {
	case errors.Is(err, syscall.ENXIO):
		return nil, fmt.Errorf("--output: %s is a named pipe that has no reader: start its reader first", output)
	case err != nil:
		return nil, fmt.Errorf("--output: %w", err)
	}
	if !torn(output) {
		return ndjson.New(f), nil
	}
	log.Warn("--output ends with an incomplete line, as a full disk or a kill leaves one; new lines begin behind it", "file", output)
	return ndjson.New(&continued{f, true}), nil
}

// kept is a file that is not closed: it is not ours.
type kept struct{ *os.File }

// Close implements io.Closer.
func (kept) Close() error { return nil }

// continued is a file whose last line is ended before anything else is written. The disk may still be full, so the first
// event does that, and not the start.
type continued struct {
	*os.File
	torn bool
}

// Write implements io.Writer.
func (c *continued) Write(p []byte) (int, error) {
	if c.torn {
		if _, err := c.WriteString("\n"); err != nil {
			return 0, err
		}
		c.torn = false
	}
	return c.File.Write(p)
}

// torn reports whether the last line of a file is not complete, as far as it can be read.
func torn(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] != '\n'
}
