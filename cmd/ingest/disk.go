package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/lanespool"
	"functiongraph-ingest/internal/metrics"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/pkg/sink/kafka"
)

func settle(ack string) kafka.Settle {
	switch ack {
	case config.AckDisk:
		return kafka.SettleOnDisk
	case config.AckAccept:
		return kafka.SettleAtOnce
	}
	return kafka.SettleOnKafka
}

func spoolFull(policy string) kafka.SpoolFull {
	switch policy {
	case config.SpoolFullDropOldest:
		return kafka.SpoolFullDropOldest
	case config.SpoolFullDropNewest:
		return kafka.SpoolFullDropNewest
	}
	return kafka.SpoolFullBlock
}

// disk is the spool directory of --spool-dir. The sink opens it when the listener is up; a replay before.
type disk struct {
	cfg spool.Config
	// room is the least bound, in bytes: the largest event must find room. A replay needs more: it writes
	// frames anew whose partition was not known, also when they fill the directory.
	room int64
	log  *slog.Logger
	// mayMove: if the directory is somebody else's, one of a random name is used. It is the default of an extension,
	// which nobody has chosen.
	mayMove bool
	foreign atomic.Int64                    // segments of another version, for which it was not opened
	sp      atomic.Pointer[lanespool.Spool] // nil: not open yet
}

// frameIndexBytes is the memory that a frame on disk costs.
const frameIndexBytes = 16

func newDisk(cfg *config.Config, budget config.Budget, log *slog.Logger) *disk {
	return &disk{log: log, room: int64(config.LeastSpool(budget.MaxBody)), cfg: spool.Config{
		Dir: cfg.SpoolDir, MaxBytes: int64(cfg.SpoolMax), KeepFree: int64(cfg.SpoolKeep),
		MaxFrames: int(budget.Spool / 2 / frameIndexBytes),
	}}
}

// open implements kafka.Deps.OpenSpool. It hands over what is open already.
func (d *disk) open() (kafka.Spool, error) {
	if s := d.sp.Load(); s != nil {
		return s, nil
	}
	cfg := d.cfg
	volume, err := spool.MakeDir(cfg.Dir, d.log)
	if errors.Is(err, spool.ErrForeign) && d.mayMove {
		d.mayMove = false
		dir, tempErr := os.MkdirTemp(filepath.Dir(cfg.Dir), filepath.Base(cfg.Dir)+"-")
		if tempErr != nil {
			return nil, errors.Join(err, tempErr)
		}
		d.log.Warn("the default spool directory is somebody else's: another one is used, which a restart does not find", "spool-dir", dir, "error", err)
		cfg.Dir, d.cfg.Dir = dir, dir
		volume, err = spool.MakeDir(dir, d.log)
	}
	if err != nil {
		return nil, err
	}
	free := volume.Free
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = max(min(free/4, int64(config.GiB)), int64(config.MiB))
	}
	if cfg.KeepFree == 0 {
		cfg.KeepFree = free / 2
	}
	if cfg.MaxBytes < d.room {
		if d.cfg.MaxBytes != 0 {
			d.log.Warn("--spool-max is too small for the largest event and is raised", "set", config.Bytes(d.cfg.MaxBytes).String(), "to", config.Bytes(d.room).String())
		}
		cfg.MaxBytes = d.room
	}
	s, err := lanespool.Open(cfg, spool.Deps{Logger: d.log})
	var version *spool.VersionError
	if errors.As(err, &version) {
		d.foreign.Store(int64(version.Segments))
	}
	if err != nil {
		return nil, err
	}
	d.foreign.Store(0)
	d.sp.Store(s)
	return s, nil
}

// close lets an open spool go that no sink has taken; d may be nil.
func (d *disk) close() {
	if d != nil {
		if s := d.sp.Load(); s != nil {
			_ = s.Close() // nothing was written
		}
	}
}

// stats are zero until the spool is open.
func (d *disk) stats() spool.Stats {
	if s := d.sp.Load(); s != nil {
		return s.Spool.Stats()
	}
	return spool.Stats{}
}

// register adds the spool's figures, and the sink's about it.
func (d *disk) register(m *metrics.Metrics, s *kafka.Sink) {
	for name, f := range map[string]func(spool.Stats) int64{
		"ingest_spool_lost_events_total":        func(st spool.Stats) int64 { return st.LostEvents },
		"ingest_spool_quarantined_total":        func(st spool.Stats) int64 { return st.Quarantined },
		"ingest_spool_quarantined_events_total": func(st spool.Stats) int64 { return st.QuarantinedEvents },
		"ingest_spool_torn_tails_total":         func(st spool.Stats) int64 { return st.Torn },
		"ingest_spool_lost_cursors_total":       func(st spool.Stats) int64 { return st.LostCursors },
		"ingest_spool_cursor_errors_total":      func(st spool.Stats) int64 { return st.CursorErrors },
		"ingest_spool_write_errors_total":       func(st spool.Stats) int64 { return st.WriteErrors },
		"ingest_spool_recovered_frames_total":   func(st spool.Stats) int64 { return st.RecoveredFrames },
	} {
		m.Counter(name, func() int64 { return f(d.stats()) })
	}
	for name, f := range map[string]func(spool.Stats) int64{
		"ingest_spool_frames":           func(st spool.Stats) int64 { return int64(st.Frames) },
		"ingest_spool_bytes":            func(st spool.Stats) int64 { return st.Bytes },
		"ingest_spool_limit_bytes":      func(st spool.Stats) int64 { return st.MaxBytes },
		"ingest_spool_quarantine_bytes": func(st spool.Stats) int64 { return st.QuarantineBytes },
		"ingest_spool_set_aside_bytes":  func(st spool.Stats) int64 { return st.SetAsideBytes },
		"ingest_spool_unclean_start":    func(st spool.Stats) int64 { return oneIf(st.UncleanStart) },
	} {
		m.Gauge(name, func() float64 { return float64(f(d.stats())) })
	}
	m.Gauge("ingest_spool_foreign_segments", func() float64 { return float64(d.foreign.Load()) })
	m.Counter("ingest_spool_written_frames_total", func() int64 { return s.Metrics().SpilledFrames })
	m.Counter("ingest_spool_replayed_frames_total", func() int64 { return s.Metrics().ReplayedFrames })
	m.Counter("ingest_spool_syncs_total", func() int64 { return s.Metrics().Syncs })
	m.Counter("ingest_spool_sync_milliseconds_total", func() int64 { return int64(s.Metrics().SyncTime / time.Millisecond) })
	for _, state := range []kafka.SpoolState{kafka.SpoolIdle, kafka.SpoolOverflow, kafka.SpoolIsFull, kafka.SpoolFailed} {
		m.Gauge(`ingest_spool_state{state="`+state.String()+`"}`, func() float64 { return float64(oneIf(s.Metrics().SpoolState == state)) })
	}
}

func oneIf(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
