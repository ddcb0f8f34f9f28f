package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/internal/logging"
	"functiongraph-ingest/internal/printable"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spoolctl"
	"functiongraph-ingest/internal/stop"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
)

// replayPoll is the interval at which a replay counts the frames that are left.
const replayPoll = 50 * time.Millisecond

// startReplay checks the settings and sends what is in the spool directory until it is empty, the timeout (0:
// none) is over, or SIGTERM, SIGINT or SIGHUP comes.
func startReplay(cfg *config.Config, timeout time.Duration, stdout, stderr io.Writer) int {
	out := newConsole(stderr, spoolctl.Events)
	level := logging.NewLevel(cfg.LogLevel)
	log := logging.New(out, cfg.LogFormat == config.LogJSON, level)
	defer followVerbose(level, log)()
	budget, err := prepare(cfg, log)
	if err != nil {
		return complain(stderr, err)
	}
	ctx, hurry, end := signals()
	defer end()
	if !signal.Ignored(syscall.SIGHUP) { // as nohup makes it
		var endHangup context.CancelFunc
		ctx, endHangup = signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal is closed
		defer endHangup()
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		timeout, cfg.ShutdownTimeout = stop.Replay(timeout, cfg.ShutdownTimeout)
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	return replay(ctx, hurry, cfg, budget, log, stdout, out)
}

// replay sends what is in the spool directory and prints the ledger as its last line. When ctx ends, Kafka
// has ShutdownTimeout for what it can still take, or until hurry ends; the rest stays in the directory.
func replay(ctx, hurry context.Context, cfg *config.Config, budget config.Budget, log *slog.Logger, stdout io.Writer, out *console) int {
	fail := func(err error) int {
		fmt.Fprintln(out, "ingest: "+printable.Text(err.Error()))
		return exitFailed
	}
	// Opening it would make it.
	if err := spoolctl.Check(cfg.SpoolDir); err != nil {
		return fail(err)
	}
	d := newDisk(cfg, budget, log)
	d.room = roomToReplay(cfg.SpoolDir)
	if _, err := d.open(); errors.Is(err, spool.ErrBusy) {
		return fail(fmt.Errorf("--spool-dir=%s: a process is using it, and sends its events", cfg.SpoolDir))
	} else if err != nil {
		return fail(explain(cfg.SpoolDir, err))
	}
	r := replaying{cfg: cfg, disk: d, out: out}
	if err := r.run(ctx, hurry, budget, log); err != nil {
		return fail(err)
	}
	code := r.report()
	fmt.Fprintln(stdout, r.ledger().String())
	return code
}

// roomToReplay is the bound within which every frame of a directory can be written once more.
func roomToReplay(dir string) int64 {
	room := int64(64 << 20) // segments that are done for the most part
	for _, d := range []string{dir, filepath.Join(dir, "quarantine"), filepath.Join(dir, "setaside")} {
		list, _ := spool.OS{}.List(d) // what cannot be listed cannot be opened
		for _, f := range list {
			room += 2 * f.Disk
		}
	}
	return room
}

// replaying is a replay that is under way.
type replaying struct {
	cfg   *config.Config
	disk  *disk
	out   *console
	stats sink.Stats // at the end
	why   string     // why something is left
}

// run sends until nothing is left that it may send. The spool is closed when it returns.
func (r *replaying) run(ctx, hurry context.Context, budget config.Budget, log *slog.Logger) (err error) {
	sp := r.disk.sp.Load()
	defer func() { err = errors.Join(err, sp.Close()) }() // the sink has, if it came to know it
	total, _ := r.left()
	if total.frames == 0 {
		// Without a sink: the answer shall not depend on Kafka.
		r.stats = untouched(sp.Stats())
		return nil
	}
	k, err := newDestination(r.cfg, budget, log)
	if err != nil {
		return err
	}
	s, err := k.sink(log, nil, r.disk, newOrigin("", nil), newObserved())
	if err != nil {
		return err
	}
	log.Info("replaying", "spool-dir", r.cfg.SpoolDir, "topic", strings.Join(r.cfg.Topics(), ","), "frames", total.frames, "events", total.events)
	if !r.wait(ctx, total) {
		log.Info("stopping", "within", r.cfg.ShutdownTimeout)
	}
	end, cancel := context.WithTimeout(hurry, r.cfg.ShutdownTimeout)
	defer cancel()
	if err := s.Close(end); err != nil {
		log.Warn("stopped", "error", err)
	}
	r.stats, r.why = s.Stats(), whyNot(s.Delivery())
	if r.stats.Recovered == 0 { // the end came before the sink has taken the spool
		r.stats = untouched(sp.Stats())
	}
	return nil
}

// untouched are the figures of a spool from which nothing was sent.
func untouched(st spool.Stats) sink.Stats {
	s := sink.Stats{Recovered: st.RecoveredEvents + st.QuarantinedEvents, Spooled: st.Events, Idempotent: true} // nothing can be doubled
	if st.QuarantinedEvents > 0 {
		s.Dropped = map[string]int64{kafka.DroppedDamaged: st.QuarantinedEvents}
	}
	return s
}

// whyNot is why events are left.
func whyNot(d sink.Delivery) string {
	switch {
	case d.Trouble.Kind != "" && d.Trouble.Error != "":
		return d.Trouble.Reason + " (" + d.Trouble.Error + "): " + d.Trouble.Remedy
	case d.Trouble.Kind != "":
		return d.Trouble.Reason + ": " + d.Trouble.Remedy
	}
	return "the time was over before Kafka had them: raise --timeout"
}

// wait shows progress until nothing of total is left; false: ctx has ended before.
func (r *replaying) wait(ctx context.Context, total load) bool {
	defer r.out.end()
	tick := time.NewTicker(replayPoll)
	defer tick.Stop()
	for {
		left, _ := r.left()
		if left.frames == 0 {
			return true
		}
		r.out.at(total.events-left.events, total.events)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// load is frames that are not done.
type load struct {
	frames int
	events int64
}

func (l *load) add(frames int, events int64) { l.frames += frames; l.events += events }

// left counts what is not done: of the topics that are sent to, and of others by name.
func (r *replaying) left() (own load, foreign map[string]load) {
	topics := r.cfg.Topics()
	for _, q := range r.disk.sp.Load().Queues() {
		frames, events, _ := q.Len()
		if t := q.Topic(); t == r.cfg.DeadLetterTopic || slices.Contains(topics, t) {
			own.add(frames, events)
		} else {
			if foreign == nil {
				foreign = map[string]load{}
			}
			l := foreign[t]
			l.add(frames, events)
			foreign[t] = l
		}
	}
	return own, foreign
}

// report says what is left, lost or damaged, and returns the exit code.
func (r *replaying) report() int {
	code := exitOK
	own, foreign := r.left()
	if own.frames > 0 {
		code = exitFailed
		fmt.Fprintf(r.out, "ingest: %d frames with %d events are left in %s: %s\n", own.frames, own.events, r.cfg.SpoolDir, printable.Text(r.why))
	}
	for _, topic := range sorted(foreign) {
		code = exitFailed
		l := foreign[topic]
		fmt.Fprintf(r.out, "ingest: %d frames with %d events of topic %s are left in %s: they go where --topic, --topic-platform, --topic-function, --topic-extension or --dead-letter-topic names it\n",
			l.frames, l.events, printable.Text(topic), r.cfg.SpoolDir)
	}
	dropped := ledger.Reasons(r.stats.Dropped)
	if n := dropped.Sum(); n > 0 {
		code = exitDropped
		var reasons []string
		for _, reason := range sorted(dropped) {
			reasons = append(reasons, fmt.Sprintf("%s %d", reason, dropped[reason]))
		}
		fmt.Fprintf(r.out, "ingest: %d events are lost: %s\n", n, strings.Join(reasons, ", "))
	}
	if n := r.disk.stats().Quarantined; n > 0 {
		code = exitDamaged
		fmt.Fprintf(r.out, "ingest: %d damaged regions were copied to %s/quarantine\n", n, r.cfg.SpoolDir)
	}
	return code
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func (r *replaying) ledger() *ledger.Ledger {
	st := &r.stats
	return &ledger.Ledger{
		Recovered: st.Recovered, Delivered: st.Delivered, DeadLettered: st.DeadLettered, SetAside: st.SetAside,
		Spooled: st.Spooled, InFlight: st.InFlight, Dropped: st.Dropped,
		PossibleDuplicates: st.PossibleDuplicates, DuplicatesSuppressed: st.DuplicatesSuppressed, Idempotent: st.Idempotent,
	}
}
