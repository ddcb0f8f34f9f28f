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
		return ndjson.New(struct{ io.Writer }{stdout}), nil // hides Close: stdout is not ours
	}
	// Events are in it: no other user may read. A named pipe must not hang in open, nor in a write at the end.
	f, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NONBLOCK, 0o600)
	switch {
	case errors.Is(err, syscall.ENXIO):
		return nil, fmt.Errorf("--output: %s is a named pipe that has no reader: start its reader first", output)
	case err != nil:
		return nil, fmt.Errorf("--output: %w", err)
	}
	if torn(output) {
		log.Warn("--output ends with an incomplete line, as a full disk or a kill leaves one; new lines begin behind it", "file", output)
		if _, err := f.WriteString("\n"); err != nil {
			return nil, errors.Join(fmt.Errorf("--output: %w", err), f.Close())
		}
	}
	return ndjson.New(f), nil
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
