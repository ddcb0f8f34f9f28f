package main

import (
	"io"
	"sync"
	"time"

	"functiongraph-ingest/internal/spoolctl"
)

// console is stderr for a command that logs while it shows progress: a log line never runs through the bar.
// It is safe for concurrent use.
type console struct {
	mu  sync.Mutex
	w   io.Writer
	bar *spoolctl.Progress
}

func newConsole(w io.Writer, text func(done, total int64) string) *console {
	return &console{w: w, bar: spoolctl.NewProgress(w, isTerminal(w), time.Now, text)}
}

// Write implements io.Writer.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bar.End()
	return c.w.Write(p)
}

// at shows progress.
func (c *console) at(done, total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bar.At(done, total)
}

// end wipes the bar away.
func (c *console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bar.End()
}
