package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"functiongraph-ingest/internal/admin"
	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/listen"
	"functiongraph-ingest/internal/metrics"
	"functiongraph-ingest/internal/pipeline"
	"functiongraph-ingest/internal/socket"
	"functiongraph-ingest/pkg/sink"
)

// serve runs the pipeline until ctx ends and prints the ledger as its last line; when hurry ends, the stop
// leaves at once what Kafka has not taken yet. The parts are started
// back to front: sink, pipeline, admin; and stopped the other way, but the admin address, which answers
// to the end.
func serve(ctx, hurry context.Context, cfg *config.Config, budget config.Budget, r *running, stdout, stderr io.Writer) int {
	log := r.log
	d, err := openSpool(ctx, cfg, budget, log)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		log.Info("stopped before it had started")
		return exitOK
	}
	if err != nil {
		log.Error("cannot start", "error", err)
		return exitFailed
	}
	out, seen, err := newSink(cfg, budget, log, stdout, nil, d)
	if err != nil {
		log.Error("cannot start", "error", err)
		d.close()
		return exitUsage
	}
	governed, release := context.WithCancel(ctx)
	defer release()
	door, err := newDoors(cfg, log)
	if err != nil {
		log.Error("cannot start", "error", err)
		closeWithin(out, time.Second)
		return exitUsage
	}
	deps := pipeline.Deps{
		Sink: out, Logger: log, Stir: govern(governed).Stir, TLS: door.listen.tls, Tokens: door.listen.tokens, Refresh: door.look,
	}
	watchMachine(&deps, seen, cfg.Instance)
	p, err := startPipeline(cfg, budget, deps)
	if err != nil {
		log.Error("cannot start", "error", err)
		closeWithin(out, time.Second)
		return exitFailed
	}
	adminAt, stopAdmin, err := startAdmin(r, p, seen, door)
	if err != nil {
		log.Error("cannot start", "error", err)
		atOnce, cancel := context.WithCancel(hurry)
		cancel()
		_ = p.Stop(atOnce)
		return exitFailed
	}
	log.Info("serving", "listen", p.Addr(), "admin", adminAt, "ack", cfg.Ack, "topic", strings.Join(cfg.Topics(), ","),
		"memory-limit", budget.Limit, "gate", budget.Gate, "buffers", budget.Buffers)

	code := exitOK
	r.doors = door.files
	if seen != nil {
		r.files, r.gone = seen.files, seen.gone
	}
	if err := r.wait(ctx, p); err != nil {
		log.Error("the listener ended", "error", err)
		code = exitFailed
	} else {
		log.Info("stopping", "within", cfg.ShutdownTimeout)
	}
	release() // all processors for the stop, whatever its reason
	if err := p.Stop(hurry); err != nil {
		log.Warn("stopped", "error", err)
	}
	l := p.Ledger()
	stopAdmin()
	last := stdout
	if cfg.Sink == config.SinkNDJSON && cfg.Output == "-" {
		last = stderr // stdout carries the events
	}
	fmt.Fprintln(last, l.String())
	if code == exitOK && l.Dropped.Sum() > 0 {
		code = exitDropped
	}
	return code
}

// openSpool opens the spool of --spool-dir; nil without one.
func openSpool(ctx context.Context, cfg *config.Config, budget config.Budget, log *slog.Logger) (*disk, error) {
	if !cfg.Spools() {
		return nil, nil
	}
	d := newDisk(cfg, budget, log)
	o := opening{dir: cfg.SpoolDir, log: log, sleep: sleep, open: func() error { _, err := d.open(); return err }}
	return d, o.run(ctx)
}

// startPipeline starts the pipeline on the first address of --listen that is free.
func startPipeline(cfg *config.Config, budget config.Budget, deps pipeline.Deps) (*pipeline.Pipeline, error) {
	var p *pipeline.Pipeline
	var err error
	for _, addr := range cfg.ListenAddresses() {
		p = pipeline.New(pipelineConfig(cfg, budget, addr, deps.Invocations != nil), deps)
		if err = p.Start(); err == nil {
			return p, nil
		}
	}
	return nil, cannotListen("listen", cfg.ListenAddresses(), err)
}

// pipelineConfig is the pipeline's part of the settings.
func pipelineConfig(cfg *config.Config, budget config.Budget, addr string, besideFunction bool) pipeline.Config {
	// What an extension does with its time after SIGTERM, of the 2s by default: it takes deliveries until none came for
	// 200ms, at most for 400ms; Kafka gets what there is until 1.1s, the spool until 1.8s; the rest is for the answers.
	late, quiet := cfg.DrainDelay, time.Duration(0)
	if besideFunction {
		late, quiet = cfg.ShutdownTimeout/5, cfg.ShutdownTimeout/10
	}
	return pipeline.Config{
		LateIntake: late, LateQuiet: quiet, LateWithin: besideFunction,
		Listen: listen.Config{
			Addr: addr, MaxBodyBytes: int64(budget.MaxBody), MaxConns: budget.MaxConns, MaxConnAge: cfg.MaxConnAge, KeepUsed: besideFunction, MaxHeaderBytes: int(cfg.MaxHeaderBytes),
			AdmitWait: cfg.AdmitWait, MinBodyRate: int64(cfg.MinBodyRate), AckTimeout: cfg.AckTimeout, ReadTimeout: cfg.ReadTimeout, IdleTimeout: cfg.IdleTimeout,
			SocketMode: cfg.SocketPerm(), CORSOrigins: cfg.CORSOrigin,
			WaitForAck: cfg.Ack != config.AckAccept, Events: !besideFunction, TelemetryPath: cfg.TelemetryPath,
		},
		GateBytes: int64(budget.Gate), RingItems: cfg.RingItems, Decoders: cfg.Decoders, Lenient: !cfg.Strict,
		Key: cfg.KeyField(), NoKey: cfg.Key == config.Off, EventTime: cfg.Timestamp == config.TimestampEvent,
		Topics:       pipeline.Topics{Platform: cfg.TopicIndex(cfg.TopicPlatform), Function: cfg.TopicIndex(cfg.TopicFunction), Extension: cfg.TopicIndex(cfg.TopicExtension)},
		ListenHealth: cfg.ListenHealth, ShutdownTimeout: cfg.ShutdownTimeout,
	}
}

// startAdmin serves the status page and what it reads until the function it returns is called; at is its address. seen
// is what the sink shows; nil: nothing of its own.
func startAdmin(r *running, p *pipeline.Pipeline, seen *sinkView, door *doors) (at string, stop func(), err error) {
	cfg, log := r.cfg, r.log
	if cfg.Admin == config.Off {
		return config.Off, func() {}, nil
	}
	m := metrics.New()
	registerBuild(m)
	dropReasons := []string{sink.DroppedShutdown, "write_error", droppedBadConfig} // of the sinks without a view
	if seen != nil {
		dropReasons = seen.dropReasons
	}
	p.Register(m, dropReasons)
	health := &admin.Health{Ready: p.Ready, Wake: p.Wake, Delivery: p.Delivery, Ledger: p.Ledger, Version: version(), Started: time.Now()}
	deps := admin.Deps{Health: health, Metrics: m.Write, Settings: r.settings, Log: log, Level: r.level, TLS: door.admin.tls, Tokens: door.admin.tokens, Refresh: door.look}
	if seen != nil {
		seen.register(m)
		health.Inside = seen.inside
	}
	a := admin.New(admin.Config{Addr: cfg.Admin, SocketMode: cfg.SocketPerm(), Pprof: cfg.Pprof, Hosts: cfg.AdminHost}, deps)
	if err := a.Listen(); err != nil {
		return "", nil, cannotListen("admin", []string{cfg.Admin}, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.Serve(); err != nil {
			log.Error("the admin address ended", "error", err)
		}
	}()
	return socket.Text(a.Addr()), func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = a.Shutdown(ctx)
		<-done
	}, nil
}

func closeWithin(s sink.Sink, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	_ = s.Close(ctx)
}
