package kafka

import (
	"sync/atomic"
	"testing"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// roomless is a spool on a disk that may refuse what is written, and counts what it takes.
type roomless struct {
	diskqueue.Spool
	refuses atomic.Bool
	with    error
	written atomic.Int64
}

func (r *roomless) Append(frames []diskqueue.Write) (int, error) {
	if r.refuses.Load() {
		return 0, r.with
	}
	r.written.Add(1)
	return r.Spool.Append(frames)
}

func (r *roomless) Room(bytes int64) error {
	if r.refuses.Load() {
		return r.with
	}
	return r.Spool.Room(bytes)
}

// Trouble with the disk ends by itself when the disk is well again, also when Kafka has taken everything and nothing more
// is written that would tell: the warning and the state stayed until the next event came.
func TestTroubleWithTheDiskEndsWithoutAWrite(t *testing.T) {
	t.Parallel()
	for kind, with := range map[string]error{"full": diskqueue.ErrFull, "failed": errDisk} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			log, disk := &logged{t: t}, &roomless{with: with}
			s, _ := spooling(t, cluster(t, 4), "", func(cfg *Config, deps *Deps) {
				log.to(deps)
				cfg.Settle = SettleOnDisk
				open := newTestDisk(t).Open
				deps.OpenSpool = func() (diskqueue.Spool, error) {
					sp, err := open()
					disk.Spool = sp
					return disk, err
				}
			})
			waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
			disk.refuses.Store(true)
			appended := 0
			waitFor(t, func() bool { // a worker may be faster than the disk is asked
				appendAll(t, s, 10, 3, nil)
				appended += 10
				return s.Delivery().Spool.Kind == kind
			})
			waitFor(t, func() bool {
				return s.Stats().Delivered == int64(appended) && log.lines("WARN", "the spool cannot be used") > 0
			})
			if d := s.Delivery(); d.Spool.Kind != kind {
				t.Errorf("%+v while the disk takes nothing", d)
			}
			written := disk.written.Load()
			disk.refuses.Store(false)
			waitFor(t, func() bool {
				return s.Delivery().Spool.Kind == "" && s.Metrics().SpoolError == nil && log.lines("INFO", "the spool can be used again", "was="+kind) == 1
			})
			if n := disk.written.Load() - written; n != 0 {
				t.Errorf("%d writes", n)
			}
		})
	}
}
