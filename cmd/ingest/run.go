package main

import (
	"context"
	"io"
	"os/signal"
	"syscall"

	"functiongraph-ingest/internal/config"
)

// start checks the settings, prepares the process and serves until SIGTERM or SIGINT.
func start(cfg *config.Config, stdout, stderr io.Writer) int {
	if err := cfg.Validate(); err != nil {
		return complain(stderr, err)
	}
	budget, err := cfg.Budget()
	if err != nil {
		return complain(stderr, err)
	}
	log := newLog(stderr, cfg.LogLevel)
	for _, warning := range budget.Warnings {
		log.Warn(warning)
	}
	tune(log, budget, config.ReadHost())

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills
	return serve(ctx, cfg, budget, log, stdout, stderr)
}
