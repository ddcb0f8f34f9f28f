package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/logging"
	"functiongraph-ingest/internal/pipeline"
	"functiongraph-ingest/internal/reload"
	"functiongraph-ingest/internal/sdnotify"
)

// running is what a process does between its start and its stop: it reads settings and files again on SIGHUP, and
// tells systemd that it is alive.
type running struct {
	mu      sync.Mutex // for what take changes in cfg while others read it
	cfg     *config.Config
	parse   func() (*config.Config, error) // the settings as they would be read now
	hangup  <-chan os.Signal
	level   *logging.Level
	log     *slog.Logger
	manager *sdnotify.Conn  // nil: none
	untold  bool            // the manager did not take the last notice
	files   *reload.Files   // of the sink; nil: none
	doors   *reload.Files   // of the addresses; nil: none
	gone    <-chan struct{} // see sinkView
}

// parseAgain reads a command line once more, for a running process.
func parseAgain(args []string) func() (*config.Config, error) {
	return func() (*config.Config, error) {
		inv, err := config.Parse(args, config.ReadHost(), io.Discard)
		if err != nil {
			return nil, err
		}
		return inv.Config, nil
	}
}

// wait returns when ctx ends or the sink's destination has, or with an error when the listener does.
func (r *running) wait(ctx context.Context, p *pipeline.Pipeline) error {
	again := r.ready()
	defer func() { r.told(r.manager.Stopping()) }()
	var alive <-chan time.Time
	if every := r.manager.WatchdogEvery() / 2; every > 0 {
		tick := time.NewTicker(every)
		defer tick.Stop()
		alive = tick.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-p.Failed():
			return err
		case <-r.gone:
			r.log.Error("the reader of the output is gone: stopping; lines that it has not read are dropped and counted")
			return nil
		case <-r.hangup:
			r.told(r.manager.Reloading())
			r.reload()
			again = r.ready()
		case <-again:
			again = r.ready()
		case <-alive:
			_ = p.Ledger() // takes the locks of all parts: one that hangs is no sign of life
			r.told(r.manager.Watchdog())
		}
	}
}

// readyAgain is the pause before a manager that was not told that the service is ready is told once more: without
// that it would end the service.
const readyAgain = time.Second

// ready tells the service manager that the service is ready. It returns when to say so again; nil: it was told.
func (r *running) ready() <-chan time.Time {
	if r.told(r.manager.Ready()) {
		return nil
	}
	return time.After(readyAgain)
}

// told reports whether the service manager took a notice, and logs when that changes.
func (r *running) told(err error) bool {
	switch {
	case err != nil && !r.untold:
		r.log.Warn("the service manager does not read the state of this process, and may end it: let the manager that set NOTIFY_SOCKET read from it, or unset NOTIFY_SOCKET", "error", err)
	case err == nil && r.untold:
		r.log.Info("the service manager reads the state of this process again")
	}
	r.untold = err != nil
	return err == nil
}

// reload reads files and settings again. Those that cannot be used leave the old ones in effect.
func (r *running) reload() {
	changed, failed := r.files.Again()
	doorsChanged, doorsFailed := r.doors.Again()
	changed, failed = append(changed, doorsChanged...), append(failed, doorsFailed...)
	next, err := r.parse()
	if err != nil {
		r.log.Warn("the settings cannot be read again; the old ones stay in use: correct them and send SIGHUP again", "error", err)
	} else if again, restart, err := r.take(next); err != nil {
		r.log.Warn("the new settings are wrong; the old ones stay in use: correct them and send SIGHUP again", "error", err)
	} else {
		changed = append(changed, again...)
		if len(restart) > 0 {
			r.log.Warn("settings have changed that a running process cannot take over: restart it", "settings", restart)
		}
	}
	r.log.Info("read again on SIGHUP", "changed", changed, "failed", failed)
}

// settings are those in effect, as /settings answers them: a list of name, value and source, with secrets masked.
func (r *running) settings() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := json.Marshal(r.cfg.Shown())
	if err != nil {
		panic("ingest: " + err.Error()) // strings and booleans: cannot fail
	}
	return append(b, '\n')
}

// take applies settings that can change while the process runs, and names the others.
func (r *running) take(next *config.Config) (changed, restart []string, err error) {
	restart = r.cfg.NeedRestart(next)
	if len(restart) > 0 || next.LogLevel != r.cfg.LogLevel { // else a bad file was told of already
		if err := next.Validate(); err != nil {
			return nil, nil, err
		}
	}
	if next.LogLevel != r.cfg.LogLevel {
		r.mu.Lock()
		r.cfg.LogLevel = next.LogLevel
		r.mu.Unlock()
		_ = r.level.Set(next.LogLevel) // Validate has accepted it
		changed = append(changed, "--log-level")
	}
	return changed, restart, nil
}
