package main

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/procs"
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

// govern starts who sets GOMAXPROCS as the load needs it, until ctx ends; nil when the operator has set it. Its Stir
// must be called when bodies come.
func govern(ctx context.Context) *procs.Governor {
	if os.Getenv("GOMAXPROCS") != "" {
		return nil
	}
	g := procs.New(runtime.GOMAXPROCS(0))
	go g.Run(ctx)
	return g
}
