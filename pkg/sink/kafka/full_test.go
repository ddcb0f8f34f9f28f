package kafka

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

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

// A topic that changes its partitions takes no events for a moment. They wait for it and are not dropped as the newest: a
// full disk does not matter while memory is empty.
func TestAFullDiskDropsNothingBesideEmptyBuffers(t *testing.T) {
	t.Parallel()
	for _, change := range []string{"more partitions", "fewer partitions"} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			const events = 100
			c, disk := cluster(t, 2), &roomless{with: diskqueue.ErrFull}
			s, _ := spooling(t, c, t.TempDir(), func(cfg *Config, d *Deps) {
				cfg.SpoolFull, cfg.RequestTimeout = SpoolFullDropNewest, time.Minute
				if change == "fewer partitions" {
					cfg.MetadataTTL = time.Hour // the next look at the cluster would end what the test pretends
				}
				open := d.OpenSpool
				d.OpenSpool = func() (diskqueue.Spool, error) {
					sp, err := open()
					disk.Spool = sp
					return disk, err
				}
			})
			waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
			begun, goOn := make(chan struct{}), make(chan struct{})
			if change == "more partitions" {
				begins := sync.OnceFunc(func() { close(begun) })
				c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
					c.SleepControl(func() { begins(); <-goOn })
					return nil, nil, false
				})
				appendAll(t, s, 1, 1, nil)
				<-begun // the topic grows when this request has ended
				addPartitions(t, c, "t", 4)
				waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.topics[0].grow == 4 })
			} else {
				close(begun)
				appendAll(t, s, 1, 1, nil)
				waitFor(t, func() bool { return s.Stats().Delivered == 1 })
				s.mu.Lock()
				s.topics[0].fewer.placing = true
				s.mu.Unlock()
			}
			disk.refuses.Store(true)
			s.mu.Lock()
			s.spooler.writer.wroteLocked(diskqueue.ErrFull)
			s.mu.Unlock()
			done := make(chan struct{})
			go func() { defer close(done); appendAll(t, s, events, 3, nil) }()
			waitFor(t, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.waiting > 0 || s.count.dropped[DroppedSpoolFull] > 0
			})
			close(goOn)
			s.mu.Lock()
			s.topics[0].fewer.placing = false
			s.madeRoom()
			s.mu.Unlock()
			<-done
			if st := closeSink(t, s); st.Delivered != events+1 || len(st.Dropped) != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// Where others fill the disk, what --spool-full=drop-oldest drops is what new events need.
func TestDropOldestDropsNoMoreThanItMust(t *testing.T) {
	t.Parallel()
	disk := newTestDisk(t)
	s, n := spooling(t, cluster(t, 4), "", func(cfg *Config, d *Deps) {
		cfg.Settle, cfg.SpoolFull, d.OpenSpool = SettleOnDisk, SpoolFullDropOldest, disk.Open
	})
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	n.cut()
	var ack ackCount
	put := func(from, events int) {
		for i := range events {
			r := record(keysOf(i%4, 4, 1)[0], from+i)
			r.Value = append(r.Value, strings.Repeat("x", 1000)...)
			appendRecords(t, s, &ack, r)
		}
		waitFor(t, ack.all)
	}
	const before, since = 5000, 200
	put(0, before)
	used := int64(0)
	for _, name := range disk.fs.Names() {
		used += int64(len(disk.fs.Bytes(name)))
	}
	disk.Limit(used + 20<<10)
	put(before, since)
	if lost := s.Stats().Dropped[DroppedSpoolFull]; lost == 0 || lost > before/4 {
		t.Errorf("%d events were dropped to make room for %d", lost, since)
	}
}
