package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// disk is the spool directory of --spool-dir. The sink opens it when the listener is up; a replay before.
type disk struct {
	cfg spool.Config
	// room is the least bound, in bytes: the largest event must find room. A replay needs more: it writes
	// frames anew whose partition was not known, also when they fill the directory.
	room int64
	log  *slog.Logger
	// mayMove: if the directory belongs to another user, one of a random name is used. It is the default of an extension,
	// which was not chosen.
	mayMove bool
	foreign atomic.Int64                // segments of another version, for which it was not opened
	sp      atomic.Pointer[spool.Spool] // nil: not open yet
}

// frameIndexBytes is the memory that a frame on disk costs.
const frameIndexBytes = 16

func newDisk(cfg *config.Config, budget config.Budget, log *slog.Logger) *disk {
	return &disk{log: log, room: int64(config.LeastSpool(budget.MaxBody)), cfg: spool.Config{
		Dir: cfg.SpoolDir, MaxBytes: int64(max(cfg.SpoolMax, budget.SpoolData)), KeepFree: int64(cfg.SpoolKeep),
		MaxFrames: int(budget.Spool / 2 / frameIndexBytes * 4 / 5), // see spool.Config
	}}
}

// open implements kafka.Deps.OpenSpool. It hands over the spool that is open already.
func (d *disk) open() (diskqueue.Spool, error) {
	if s := d.sp.Load(); s != nil {
		return s, nil
	}
	cfg := d.cfg
	volume, err := spool.MakeDir(cfg.Dir, d.log)
	if (errors.Is(err, spool.ErrForeign) || errors.Is(err, spool.ErrOccupied)) && d.mayMove {
		d.mayMove = false
		dir, tempErr := os.MkdirTemp(filepath.Dir(cfg.Dir), filepath.Base(cfg.Dir)+"-")
		if tempErr != nil {
			return nil, errors.Join(err, tempErr)
		}
		d.log.Warn("the default spool directory belongs to another user or program: another one is used, which a restart does not find", "spool-dir", dir, "error", err)
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
	s, err := spool.Open(cfg, spool.Deps{Logger: d.log})
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
		return s.Stats()
	}
	return spool.Stats{}
}
