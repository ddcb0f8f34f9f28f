package kafka

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// openTestSpool returns a function that opens a spool directory.
func openTestSpool(t *testing.T, dir string, maxBytes int64) func() (diskqueue.Spool, error) {
	return func() (diskqueue.Spool, error) {
		return openSpool(t, spool.Config{Dir: dir, MaxBytes: maxBytes}, spool.Deps{})
	}
}

func openSpool(t *testing.T, cfg spool.Config, deps spool.Deps) (diskqueue.Spool, error) {
	deps.Logger = slog.New(slog.NewTextHandler(testLog{t}, nil))
	s, err := spool.Open(cfg, deps)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// testDisk is a disk in memory with one spool.
type testDisk struct {
	t  *testing.T
	fs *spooltest.FS
}

func newTestDisk(t *testing.T) *testDisk { return &testDisk{t, spooltest.New(1 << 40)} }

func (d *testDisk) Open() (diskqueue.Spool, error) {
	return openSpool(d.t, spool.Config{Dir: "d", MaxBytes: 64 << 20, SegmentBytes: 64 << 10}, spool.Deps{FS: d.fs, Boot: "b"})
}

// Kill returns the disk as the next process finds it when this one is killed now.
func (d *testDisk) Kill() *testDisk { return &testDisk{d.t, d.fs.Kill()} }

// Limit sets how many bytes go onto the disk.
func (d *testDisk) Limit(bytes int64) { d.fs.SetBudget(bytes) }

// Flip damages a byte in a file of frames, chosen by n; false: there is none.
func (d *testDisk) Flip(n uint64) bool {
	var names []string
	total := uint64(0)
	for _, name := range d.fs.Names() {
		if strings.HasSuffix(name, ".seg") {
			names = append(names, name)
			total += uint64(len(d.fs.Bytes(name)))
		}
	}
	if total == 0 {
		return false
	}
	n %= total
	for _, name := range names {
		if size := uint64(len(d.fs.Bytes(name))); n < size {
			d.fs.Flip(name, int64(n))
			return true
		} else {
			n -= size
		}
	}
	return false
}

// TestWhatAKillWouldRepeatIsCounted: what is sent while the disk cannot write it down comes back after a kill, and brokers do
// not recognise it.
func TestWhatAKillWouldRepeatIsCounted(t *testing.T) {
	t.Parallel()
	const events, round, rounds = 100, 20, 8
	for _, bare := range []bool{false, true} { // the disk takes no frames either
		t.Run(fmt.Sprint("bare ", bare), func(t *testing.T) {
			t.Parallel()
			c, disk := cluster(t, 2), newTestDisk(t)
			process := func(disk *testDisk) *Sink {
				return start(t, c, func(cfg *Config, d *Deps) { cfg.Settle, d.OpenSpool = SettleOnDisk, disk.Open })
			}
			s := process(disk)
			waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
			appendAll(t, s, events, 7, nil)
			waitFor(t, func() bool { return s.Stats().Delivered == events })
			disk.fs.SetFault(func(op spooltest.Op, name string) error {
				if op == spooltest.OpWrite && (bare || strings.HasSuffix(name, "cursors")) {
					return errDisk
				}
				return nil
			})
			for i := range rounds {
				appendAll(t, s, round, 7, nil)
				waitFor(t, func() bool { return s.Stats().Delivered == int64(events+(i+1)*round) })
			}
			after, first := disk.Kill(), s.Stats()
			disk.fs.SetFault(nil)
			closeSink(t, s)

			s = process(after)
			waitFor(t, func() bool { return !s.held() && s.Stats().Spooled == 0 })
			second := closeSink(t, s)
			twice := int64(-events - rounds*round)
			for _, p := range c.PartitionInfos("t") {
				twice += p.HighWatermark
			}
			if possible := first.PossibleDuplicates + second.PossibleDuplicates; twice > possible || !bare && twice == 0 {
				t.Errorf("%d events twice, %d counted: %+v, %+v", twice, possible, first, second)
			}
		})
	}
}

// goneWaiter is a client that has given up.
type goneWaiter struct{}

func (goneWaiter) Hold()         {}
func (goneWaiter) Settle(int)    {}
func (goneWaiter) GivenUp() bool { return true }

// A batch that is only on disk is forgotten once nobody waits for it. A part whose parent pins a frame is not.
func TestAPartOfWhatPinsAFrameIsNotForgotten(t *testing.T) {
	t.Parallel()
	s, _ := spooling(t, cluster(t, 1), "", nil)
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.topics[0].lanes[0]
	onDisk := func() *batch {
		b := s.newBatch(l)
		b.await(goneWaiter{}, 1)
		return b
	}
	letter, part := s.newBatch(l), onDisk()
	letter.pin(s.newBatch(l)) // a dead letter that was taken apart: it has no frame
	part.parent = letter
	l.disk.spilled = append(make([]*batch, 0, 64), part)
	for len(l.disk.spilled) < 64 {
		l.disk.spilled = append(l.disk.spilled, onDisk())
	}
	l.rememberSpilled(onDisk())
	if !slices.Contains(l.disk.spilled, part) || len(l.disk.spilled) > 2 {
		t.Errorf("%d are left, the part is one of them: %v", len(l.disk.spilled), slices.Contains(l.disk.spilled, part))
	}
	l.disk.spilled = nil
}
