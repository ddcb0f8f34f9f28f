package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/invocation"
	"functiongraph-ingest/internal/listen"
	"functiongraph-ingest/internal/logging"
	"functiongraph-ingest/internal/ownlog"
	"functiongraph-ingest/internal/pipeline"
	"functiongraph-ingest/internal/platform"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/discard"
)

const (
	// droppedBadConfig is the ledger's word for what came while the settings were bad.
	droppedBadConfig = "bad_config"
	// bindPatience is how long a free port is waited for. Ten extensions may want ten ports, so none free
	// means that an earlier process has not let go yet.
	bindPatience = 5 * time.Second
	bindPause    = 50 * time.Millisecond
)

// extension is the life beside a function. The function must never fail because of it: whatever is wrong,
// it says so once, stays up, answers 200, counts what it drops, and exits with 0.
type extension struct {
	cfg    *config.Config
	budget config.Budget
	bad    error // the settings are bad: events are dropped
	own    *ownlog.Log
	log    *slog.Logger
	hold   chan struct{} // closed when Kafka may be dialled
}

// extend runs an extension until SIGTERM or SIGINT.
func extend(inv *config.Invocation, args []string, problem error, stdout, stderr io.Writer) int {
	r := &running{parse: parseAgain(args), hangup: hangups()}
	ctx, hurry, end := signals()
	defer end()
	var cfg *config.Config
	if inv != nil {
		cfg = inv.Config
	}
	runExtension(ctx, hurry, cfg, r, problem, os.Getenv("EXTENSION_API_ADDR"), stdout, stderr)
	return exitOK
}

// runExtension is extend without the process. cfg is nil when problem says that the command line or the
// environment cannot be read.
func runExtension(ctx, hurry context.Context, cfg *config.Config, r *running, problem error, api string, stdout, stderr io.Writer) {
	host := config.ReadHost()
	e := &extension{cfg: cfg, bad: problem, hold: make(chan struct{})}
	var warnings []string
	if e.bad == nil {
		e.budget, e.bad = plan(cfg)
		warnings = cfg.Warnings()
	}
	if e.bad != nil {
		e.fallBack(host)
	}
	json := e.cfg.LogFormat == config.LogJSON // auto: text, since lines come back as events and are read as such
	e.own = ownlog.New(stderr, json, e.cfg.OwnLogs, nil)
	r.level = logging.NewLevel(e.cfg.LogLevel)
	e.log = logging.New(e.own, json, r.level)
	r.cfg, r.log = e.cfg, e.log
	defer e.own.Close()
	defer followVerbose(r.level, e.log)()
	if e.bad != nil {
		e.log.Error("bad settings: the function runs on, its telemetry is dropped and counted",
			"problem", strings.ReplaceAll(e.bad.Error(), "\n", "; "))
	}
	for _, warning := range slices.Concat(warnings, e.budget.Warnings) {
		e.log.Warn(warning)
	}
	tune(e.log, e.budget, host)
	e.run(ctx, hurry, r, api, stdout)
}

// fallBack takes the defaults, with which the platform can be answered.
func (e *extension) fallBack(host config.Host) {
	good := e.cfg
	cfg, err := config.Fallback(host)
	if err != nil {
		panic("ingest: the defaults cannot be read: " + err.Error())
	}
	if good != nil && good.ExtensionName != "" {
		cfg.ExtensionName = good.ExtensionName // else the platform does not know us
	}
	e.cfg = cfg
	if e.budget, err = cfg.Budget(); err != nil {
		panic("ingest: the defaults have no budget: " + err.Error())
	}
}

// run is the order of the cold start: listen, register, subscribe; then everything that takes time.
func (e *extension) run(ctx, hurry context.Context, r *running, api string, stdout io.Writer) {
	if e.cfg.TelemetryPath == config.RandomPath {
		e.cfg.TelemetryPath = "/" + strings.ToLower(rand.Text())
	}
	out, seen := e.newSink(stdout)
	p, err := e.listen(ctx, out, seen)
	if err != nil {
		e.log.Error("no telemetry is taken and the extension is not registered: free a port of --listen and restart the instance", "error", err)
		closeWithin(out, time.Second)
		<-ctx.Done()
		return
	}
	f := e.join(ctx, api, p.Addr())
	if seen != nil && f.Name != "" {
		seen.origin.function(f.Name, f.Version)
	}
	close(e.hold)
	stopAdmin := func() {}
	door, err := newDoors(e.cfg, e.log)
	if err == nil {
		_, stopAdmin, err = startAdmin(r, p, seen, door)
		r.doors = door.files
	}
	if err != nil {
		e.log.Error("no admin address, everything else works: choose another --admin", "error", err)
		stopAdmin = func() {}
	}
	settle := time.AfterFunc(settleAfter, giveBack)
	defer settle.Stop()

	if seen != nil {
		r.files = seen.files
	}
	if err := r.wait(ctx, p); err != nil {
		e.log.Error("the listener ended; telemetry is no longer taken", "error", err)
		<-ctx.Done()
	}
	if err := p.Stop(hurry); err != nil {
		e.log.Warn("stopped", "error", err)
	}
	l := p.Ledger()
	if n := listen.Unavailable(l.Bodies.Refused); n > 0 {
		e.log.Warn("telemetry was refused with 503, and the platform is not known to send it again: raise --memory-limit, or give the function more memory",
			"requests", n, "announcedBytes", l.Bodies.RefusedBytes)
	}
	stopAdmin()
	fmt.Fprintln(stdout, l.String())
}

// newSink makes the sink, or the one that drops everything.
func (e *extension) newSink(stdout io.Writer) (sink.Sink, *sinkView) {
	if e.bad == nil {
		var d *disk
		if e.cfg.Spools() {
			d = newDisk(e.cfg, e.budget, e.log)
			d.mayMove = e.cfg.SpoolDir == config.DefaultSpool(config.ReadHost())
		}
		out, seen, err := newSink(e.cfg, e.budget, e.log, stdout, e.hold, d)
		if err == nil {
			return out, seen
		}
		e.bad = err
		e.log.Error("bad settings: the function runs on, its telemetry is dropped and counted", "problem", err)
	}
	return discard.New(droppedBadConfig, fmt.Errorf("bad settings: %w", e.bad)), nil
}

// listen binds the first free address and starts the pipeline.
func (e *extension) listen(ctx context.Context, out sink.Sink, seen *sinkView) (*pipeline.Pipeline, error) {
	deps := pipeline.Deps{Sink: out, Logger: e.log, Invocations: invocation.New(), Stir: govern(ctx).Stir}
	if seen != nil && e.cfg.Headers != config.HeadersNone {
		deps.Invoked = seen.origin.urn
		deps.Intervals = invocation.NewIntervals(functionTimeout(os.Getenv("RUNTIME_TIMEOUT")))
	}
	watchMachine(&deps, seen, e.cfg.Instance)
	if !e.cfg.OwnLogs {
		deps.OwnLog = e.own
	}
	ctx, cancel := context.WithTimeout(ctx, bindPatience)
	defer cancel()
	for {
		p, err := startPipeline(e.cfg, e.budget, deps)
		if err == nil {
			return p, nil
		}
		select {
		case <-time.After(bindPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// timeoutGrace is what an invocation may take beyond the function's timeout.
const timeoutGrace = 10 * time.Second

// functionTimeout is how long an invocation may take, by RUNTIME_TIMEOUT, which is in seconds; 0: not known.
func functionTimeout(text string) time.Duration {
	const platforms = 259_200
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= platforms {
		return time.Duration(n)*time.Second + timeoutGrace
	}
	return 0
}

// join registers and subscribes, and returns what the platform says about the function. Without a platform the extension is a listener, and delivers what comes.
func (e *extension) join(ctx context.Context, api, addr string) (f platform.Function) {
	if api == "" {
		e.log.Warn("EXTENSION_API_ADDR is not set: this is no FunctionGraph instance, so nothing is registered; "+
			"telemetry posted here is taken all the same", "listen", addr)
		return f
	}
	f, err := platform.Join(ctx, platform.Config{
		API: api, Name: e.cfg.ExtensionName, Address: addr, Path: e.cfg.TelemetryPath, Types: e.cfg.TelemetryTypes,
	}, platform.Deps{Logger: e.log})
	switch {
	case err == nil:
		e.log.Info("subscribed", "function", f.Name, "version", f.Version, "listen", addr, "types", strings.Join(e.cfg.TelemetryTypes, ","))
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		// SIGTERM came first: that is no fault.
	default:
		e.log.Error("no telemetry will come; the function runs on", "error", err)
	}
	return f
}
