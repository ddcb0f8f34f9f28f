//go:build unix

package main

import (
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"functiongraph-ingest/internal/logging"
)

// followVerbose has each SIGUSR1 change the log level to debug and, the next time, back, until end is called. Without
// it the signal ends the process.
func followVerbose(level *logging.Level, log *slog.Logger) (end func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	var task sync.WaitGroup
	task.Go(func() {
		for range c {
			_ = level.Change(log, "SIGUSR1", func() error { level.Toggle(); return nil })
		}
	})
	return func() {
		signal.Stop(c) // nothing is sent after this
		close(c)
		task.Wait()
	}
}
