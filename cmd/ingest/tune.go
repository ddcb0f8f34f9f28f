package main

import (
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"

	"functiongraph-ingest/internal/config"
)

// tune sets up the Go runtime. Both variables of the runtime itself win when the operator has set them.
func tune(log *slog.Logger, budget config.Budget, host config.Host) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(budget.GoMemLimit))
	}
	// The runtime rounds a CPU quota up and never goes below 2. With at most one core a second thread
	// only adds switches: half the CPU per body was measured at a quarter of a core.
	if os.Getenv("GOMAXPROCS") == "" && host.CPUs > 0 && host.CPUs <= 1 {
		runtime.GOMAXPROCS(1)
	}
	log.Debug("runtime", "gomaxprocs", runtime.GOMAXPROCS(0), "gomemlimit", debug.SetMemoryLimit(-1))
}
