package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink"
)

func oneEvent(t *testing.T, s sink.Sink) {
	t.Helper()
	if _, err := s.Append(t.Context(), []sink.Record{{Value: []byte("{}")}}, nil); err != nil {
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A file that ends in the middle of a line is continued on the next one. The start writes nothing: the disk may be full.
func TestOutputIsContinuedOnANewLine(t *testing.T) {
	for before, want := range map[string]string{"": "{}\n", "1\n": "1\n{}\n", "1\n{\"a": "1\n{\"a\n{}\n"} {
		file := filepath.Join(t.TempDir(), "out")
		if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		s, err := newNDJSON(file, io.Discard, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != before {
			t.Errorf("%q became %q at the start, %v", before, now, err)
		}
		oneEvent(t, s)
		if now, err := os.ReadFile(file); err != nil || string(now) != want {
			t.Errorf("%q became %q, %v", before, now, err)
		}
		if torn := strings.Count(before, "{") > 0; strings.Contains(log.String(), "incomplete line") != torn {
			t.Errorf("%q: %s", before, log.String())
		}
	}
}

// Nothing is written before the incomplete line is ended, and that is tried again.
func TestAnIncompleteLineIsEndedFirst(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(); _ = w.Close() }()
	f := &continued{File: w, torn: true}
	if err := f.SetWriteDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := f.Write([]byte("{}\n")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d, %v", n, err)
		}
	}
	if err := f.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := f.Write([]byte("{}\n")); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	_ = w.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != "\n{}\n{}\n" {
		t.Errorf("%q, %v", text, err)
	}
}

// Stdout is not closed: others write to it.
func TestStdoutStaysOpen(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var buffer bytes.Buffer
	for _, stdout := range []io.Writer{f, &buffer} {
		s, err := newNDJSON("-", stdout, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		oneEvent(t, s)
		if _, err := stdout.Write([]byte("x")); err != nil {
			t.Error(err)
		}
	}
}
