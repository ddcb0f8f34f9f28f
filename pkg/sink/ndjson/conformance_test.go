package ndjson

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"functiongraph-ingest/pkg/sink/sinktest"
)

// good are the lines of out that are no dead letters.
func good(out string) (values []string) {
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, `{"deadLetter"`) {
			values = append(values, strings.TrimSuffix(line, "\n"))
		}
	}
	return values
}

// flaky is a writer that takes nothing until it is repaired, and before that a byte now and then.
type flaky struct {
	mu    sync.Mutex
	out   bytes.Buffer
	fails bool
	calls int
	most  int // bytes that it takes while it fails; 0: any number
}

func (f *flaky) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls++; f.fails {
		n := f.calls % 2
		if f.most > 0 && f.out.Len() >= f.most {
			n = 0
		}
		f.out.Write(p[:n])
		return n, syscall.ENOSPC
	}
	return f.out.Write(p)
}

func (f *flaky) repair() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = false
}

func (f *flaky) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.String()
}

// A full disk: each write fails, some after a part of a line.
func TestConformanceOnAFullDisk(t *testing.T) {
	sinktest.Run(t, func(_ *testing.T, blocked bool) sinktest.Subject {
		f := &flaky{fails: blocked}
		return sinktest.Subject{Sink: New(f), Unblock: f.repair, Values: func() []string { return good(f.text()) }}
	})
}

// A pipe whose reader stops: the write does not return.
func TestConformanceOnAPipe(t *testing.T) {
	sinktest.Run(t, func(t *testing.T, blocked bool) sinktest.Subject {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var read bytes.Buffer
		end := make(chan struct{})
		start := sync.OnceFunc(func() {
			go func() {
				defer close(end)
				_, _ = read.ReadFrom(r)
				_ = r.Close()
			}()
		})
		if !blocked {
			start()
		}
		return sinktest.Subject{Sink: New(w), Unblock: start, Values: func() []string { <-end; return good(read.String()) }}
	})
}

func TestConformanceOnAFile(t *testing.T) {
	sinktest.Run(t, func(t *testing.T, _ bool) sinktest.Subject {
		path := filepath.Join(t.TempDir(), "out")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		return sinktest.Subject{Sink: New(f), Values: func() []string {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
			}
			return good(string(text))
		}}
	})
}
