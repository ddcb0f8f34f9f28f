package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/logging"
	"functiongraph-ingest/internal/sdnotify"
	"functiongraph-ingest/internal/spool"
)

// start checks the settings, prepares the process and serves until SIGTERM or SIGINT.
func start(cfg *config.Config, args []string, stdout, stderr io.Writer) int {
	level := logging.NewLevel(cfg.LogLevel)
	hangup := hangups()
	json := cfg.LogFormat == config.LogJSON || cfg.LogFormat == config.LogAuto && !isTerminal(stderr)
	log := logging.New(stderr, json, level)
	defer followVerbose(level, log)()
	budget, err := prepare(cfg, log)
	if err != nil {
		return complain(stderr, err)
	}
	ctx, hurry, end := signals()
	defer end()
	r := &running{cfg: cfg, parse: parseAgain(args), hangup: hangup, level: level, log: log, manager: sdnotify.New(os.LookupEnv)}
	return serve(ctx, hurry, cfg, budget, r, stdout, stderr)
}

// hangups tells of each SIGHUP, which no longer ends the process.
func hangups() <-chan os.Signal {
	c := make(chan os.Signal, 1) // one that waits stands for any number
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// prepare checks the settings and sets up the Go runtime. An error is about the settings.
func prepare(cfg *config.Config, log *slog.Logger) (config.Budget, error) {
	budget, err := plan(cfg)
	if err != nil {
		return config.Budget{}, err
	}
	for _, warning := range slices.Concat(cfg.Warnings(), budget.Warnings) {
		log.Warn(warning)
	}
	tune(log, budget, config.ReadHost())
	return budget, nil
}

// stopSignals end a process without a loss. SIGQUIT is one of them, because some managers and Ctrl-\ send it to end one;
// SIGABRT prints all goroutines, as Go does it, for a process that hangs.
func stopSignals() []os.Signal { return []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} }

// signals returns two contexts: the first of stopSignals ends the first one, a stop; the second one ends
// both, and the stop waits for nothing. A third one kills.
func signals() (stop, hurry context.Context, end func()) {
	first, endFirst := signal.NotifyContext(context.Background(), stopSignals()...)
	hurry, hurryUp := context.WithCancel(context.Background())
	context.AfterFunc(first, func() {
		second, endSecond := signal.NotifyContext(context.Background(), stopSignals()...)
		endFirst()
		context.AfterFunc(second, func() {
			endSecond()
			hurryUp()
		})
	})
	return first, hurry, endFirst
}

// plan finds everything that is wrong with the settings, what only the parts know included, and splits the memory.
// Nothing is started. All commands ask it, so that ingest check refuses exactly what ingest serve would.
func plan(cfg *config.Config) (config.Budget, error) {
	if err := cfg.Validate(); err != nil {
		return config.Budget{}, err
	}
	if err := cfg.SpoolIn(spool.InMemory(cfg.SpoolDir)); err != nil {
		return config.Budget{}, err
	}
	budget, err := cfg.Budget()
	if err != nil {
		return config.Budget{}, err
	}
	if cfg.Sink != config.SinkKafka {
		return budget, nil
	}
	k, err := kafkaConfig(cfg, budget)
	if err == nil {
		err = k.Validate()
	}
	if err != nil {
		return config.Budget{}, config.Problems(strings.Split(err.Error(), "\n"))
	}
	return budget, nil
}
