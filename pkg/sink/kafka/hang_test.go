package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// deafSpool has an fdatasync that fails, or hangs until it is released.
type deafSpool struct {
	diskqueue.Spool
	fails atomic.Bool
	hangs atomic.Bool
	under atomic.Int32 // calls of Sync under way
	free  chan struct{}
	once  sync.Once
}

func (d *deafSpool) release() { d.once.Do(func() { close(d.free) }) }

func (d *deafSpool) open(disk *testDisk) func() (diskqueue.Spool, error) {
	return func() (diskqueue.Spool, error) {
		sp, err := disk.Open()
		d.Spool = sp
		return d, err
	}
}

func (d *deafSpool) Sync(first, last diskqueue.Pos) error {
	d.under.Add(1)
	defer d.under.Add(-1)
	if d.fails.Load() {
		return errDisk
	}
	if d.hangs.Load() {
		<-d.free
	}
	return d.Spool.Sync(first, last)
}

func (d *deafSpool) Close() error {
	if d.hangs.Load() {
		<-d.free // it syncs
	}
	return d.Spool.Close()
}

// deaf starts a sink that answers when an event is on disk, on a deafSpool.
func deaf(t *testing.T, fast bool) (*Sink, *line, *deafSpool) {
	d := &deafSpool{free: make(chan struct{})}
	s, n := spooling(t, cluster(t, 4), "", func(cfg *Config, deps *Deps) {
		cfg.Settle, deps.fastSync = SettleOnDisk, speed(!fast)
		deps.OpenSpool = d.open(newTestDisk(t))
	})
	t.Cleanup(d.release) // before the cleanup of the sink
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	appendAll(t, s, 100, 37, nil)
	waitFor(t, func() bool { return s.Stats().Delivered == 100 })
	return s, n, d
}

func (a *ackCount) all() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held == a.done
}

// TestClientsHearFromKafkaWhenTheDiskDoesNot: a disk that never confirms, or does not answer, keeps neither the events
// from a healthy Kafka nor the clients from their answer.
func TestClientsHearFromKafkaWhenTheDiskDoesNot(t *testing.T) {
	t.Parallel()
	for _, fast := range []bool{false, true} {
		for _, hang := range []bool{false, true} {
			t.Run(map[bool]string{false: "slow", true: "fast"}[fast]+map[bool]string{false: " fails", true: " hangs"}[hang], func(t *testing.T) {
				t.Parallel()
				s, _, d := deaf(t, fast)
				d.fails.Store(!hang)
				d.hangs.Store(hang)
				var ack ackCount
				for round := range 5 { // also once it is known
					appendAll(t, s, 1000, 37, &ack)
					waitFor(t, func() bool { return s.Stats().Delivered == int64(100+1000*(round+1)) && ack.all() })
				}
				ack.check(t, 0)
				d.fails.Store(false)
				d.hangs.Store(false)
				d.release()
				appendAll(t, s, 1000, 37, &ack)
				waitFor(t, func() bool { return s.Stats().Delivered == 6100 && ack.all() })
				st := closeSink(t, s)
				balance(t, st, 6100)
				if st.PossibleDuplicates != 0 {
					t.Errorf("%+v", st)
				}
			})
		}
	}
}

// diskThatHangs is a disk of which operations on some files do not come back until they are released.
type diskThatHangs struct {
	*testDisk
	hangs, met atomic.Bool
	free       chan struct{}
	release    func()
}

func newDiskThatHangs(t *testing.T, disk *testDisk, op spooltest.Op, file string) *diskThatHangs {
	d := &diskThatHangs{testDisk: disk, free: make(chan struct{})}
	d.release = sync.OnceFunc(func() { d.hangs.Store(false); close(d.free) })
	disk.fs.SetGate(func(o spooltest.Op, name string) error {
		if o == op && strings.HasSuffix(name, file) && d.hangs.Load() {
			d.met.Store(true)
			<-d.free
		}
		return nil
	})
	t.Cleanup(d.release)
	return d
}

// Cursors that the disk does not write keep no event from a healthy Kafka, and no client from its answer. That a kill then
// would repeat batches is counted.
func TestCursorsThatHangDoNotHoldUpBatches(t *testing.T) {
	t.Parallel()
	for _, fast := range []bool{false, true} {
		t.Run(fmt.Sprint("fast ", fast), func(t *testing.T) {
			t.Parallel()
			var d *diskThatHangs
			s, _ := spooling(t, cluster(t, 4), "", func(cfg *Config, deps *Deps) {
				disk := newTestDisk(t)
				d = newDiskThatHangs(t, disk, spooltest.OpWrite, "cursors")
				cfg.Settle, deps.fastSync, deps.OpenSpool = SettleOnDisk, speed(!fast), disk.Open
			})
			t.Cleanup(d.release)
			waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
			var ack ackCount
			appendAll(t, s, 100, 37, &ack)
			waitFor(t, func() bool { return s.Stats().Delivered == 100 })
			d.hangs.Store(true)
			for round := range 3 {
				appendAll(t, s, 1000, 37, &ack)
				waitFor(t, func() bool { return s.Stats().Delivered == int64(100+1000*(round+1)) && ack.all() })
				if round == 0 && !d.met.Load() {
					t.Fatal("the disk was not asked")
				}
			}
			if s.Stats().PossibleDuplicates == 0 {
				t.Error("a kill would repeat batches, and nothing is counted")
			}
			d.release()
			appendAll(t, s, 1000, 37, &ack)
			waitFor(t, func() bool { return s.Stats().Delivered == 4100 && ack.all() })
			ack.check(t, 0)
			balance(t, closeSink(t, s), 4100)
		})
	}
}

// TestTheDiskTellsFirst: without Kafka clients hear when their events are durable, and only once when Kafka has them too.
func TestTheDiskTellsFirst(t *testing.T) {
	s, n, _ := deaf(t, false)
	n.cut()
	var ack ackCount
	appendAll(t, s, 5000, 37, &ack)
	waitFor(t, ack.all)
	n.mend()
	waitFor(t, func() bool { return s.Stats().Delivered == 5100 })
	ack.check(t, 0)
	balance(t, closeSink(t, s), 5100)
}

// TestCloseDoesNotWaitForAHangingDisk: the end keeps its time, and the account is whole.
func TestCloseDoesNotWaitForAHangingDisk(t *testing.T) {
	t.Parallel()
	s, n, d := deaf(t, false)
	n.cut()
	d.hangs.Store(true)
	appendAll(t, s, 300, 37, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Close(ctx) }()
	var err error
	waitFor(t, func() bool {
		select {
		case err = <-done:
			return true
		default:
			return false
		}
	})
	if !errors.Is(err, errLeftBehind) {
		t.Errorf("err = %v", err)
	}
	st := s.Stats()
	balance(t, st, 400)
	if st.InFlight != 0 {
		t.Errorf("%+v", st)
	}
	d.release()
	_ = s.Close(ended()) // what was left behind ends as well
	if again := s.Stats(); again.InFlight != 0 || again.Spooled != st.Spooled {
		t.Errorf("the account was %+v and is %+v", st, again)
	}
}

// TestASpoolThatOpensAfterTheEndIsClosed: a process that goes on without the sink does not keep the directory.
func TestASpoolThatOpensAfterTheEndIsClosed(t *testing.T) {
	t.Parallel()
	disk, called, opens, opened := newTestDisk(t), make(chan struct{}), make(chan struct{}), make(chan struct{})
	cfg := Config{Brokers: []string{"127.0.0.1:1"}, Topic: "t", DeadLetterTopic: "t.dlq", StowTime: time.Millisecond}
	s, err := New(cfg, Deps{OpenSpool: func() (diskqueue.Spool, error) {
		close(called)
		<-opens
		defer close(opened)
		return disk.Open()
	}})
	if err != nil {
		t.Fatal(err)
	}
	<-called
	if err := s.Close(ended()); !errors.Is(err, errLeftBehind) {
		t.Errorf("err = %v", err)
	}
	if sp, err := disk.Open(); err != nil || sp.Close() != nil {
		t.Fatal(err)
	}
	close(opens)
	<-opened
	waitFor(t, func() bool {
		sp, err := disk.Open()
		return err == nil && sp.Close() == nil
	})
}

// Frames that the disk does not read back keep only their own partitions: others go on.
func TestReadsThatHangDoNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	for _, settle := range []Settle{SettleAtOnce, SettleOnDisk} {
		t.Run(fmt.Sprint(settle), func(t *testing.T) {
			t.Parallel()
			c := cluster(t, 4)
			var d *diskThatHangs
			s, n := spooling(t, c, "", func(cfg *Config, deps *Deps) {
				disk := newTestDisk(t)
				d = newDiskThatHangs(t, disk, spooltest.OpRead, ".seg")
				cfg.Settle, deps.OpenSpool = settle, disk.Open
				cfg.BufferBytes = 32 * recordbatch.ChunkSize // what comes later finds room
			})
			t.Cleanup(d.release)
			waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
			var ack ackCount
			add := func(count int, partitions ...int) {
				for range count {
					for _, p := range partitions {
						appendRecords(t, s, &ack, sink.Record{Key: []byte(keysOf(p, 4, 1)[0]), Value: make([]byte, 500), Timestamp: time.Now().UnixMilli()})
					}
				}
			}
			const framed, others = 3000, 20
			for p := range 2 { // the broker has as many workers
				n.cut()
				add(framed/2, p)
				waitFor(t, func() bool { return s.Stats().Spooled > int64(p+1)*framed/4 && makesRoom(s) })
				d.hangs.Store(true)
				n.mend()
				waitFor(t, d.met.Load)
			}
			for round := range 3 {
				add(others, 2, 3)
				waitFor(t, func() bool { return s.Stats().Delivered >= int64(2*others*(round+1)) })
			}
			d.release()
			waitFor(t, func() bool { return s.Stats().Delivered == framed+6*others && ack.all() })
			st := closeSink(t, s)
			balance(t, st, framed+6*others)
			if ack.check(t, 0); st.PossibleDuplicates != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A disk that answers reads, from memory, and no writes hangs all the same: what is read for a partition that fails hides
// nothing.
func TestReadsDoNotHideADiskThatHangs(t *testing.T) {
	t.Parallel()
	c := cluster(t, 4)
	d := &deafSpool{free: make(chan struct{})}
	s, n := spooling(t, c, "", func(cfg *Config, deps *Deps) {
		cfg.Settle, deps.fastSync = SettleOnDisk, speed(true)
		cfg.BufferBytes = 32 * recordbatch.ChunkSize
		open := newTestDisk(t).Open
		deps.OpenSpool = func() (diskqueue.Spool, error) {
			sp, err := open()
			d.Spool = sp
			return d, err
		}
	})
	t.Cleanup(d.release)
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	var ack ackCount
	add := func(p int, size int) {
		appendRecords(t, s, &ack, sink.Record{Key: []byte(keysOf(p, 4, 1)[0]), Value: make([]byte, size), Timestamp: time.Now().UnixMilli()})
	}
	const framed, others = 3000, 20
	n.cut()
	for range framed {
		add(0, 500)
	}
	waitFor(t, func() bool { return s.Stats().Spooled > framed/2 })
	st := stick(c, place{"t", 0})
	n.mend()
	read := func() int64 { return s.Metrics().Retries }
	waitFor(t, func() bool { return read() > 10 }) // frames are read again and again
	d.hangs.Store(true)
	for round := range 3 {
		for range others {
			add(1, 100)
		}
		waitFor(t, func() bool { return s.Stats().Delivered >= int64(others*(round+1)) })
	}
	st.on.Store(false)
	d.release()
	waitFor(t, func() bool { return s.Stats().Delivered == framed+3*others && ack.all() })
	balance(t, closeSink(t, s), framed+3*others)
}

// As TestReadsThatHangDoNotHoldUpOthers, with --spool-max-age: the spooler looks at the ages of frames, and hangs there.
func TestReadsOfAgesThatHang(t *testing.T) {
	t.Parallel()
	c := cluster(t, 4)
	var d *diskThatHangs
	s, n := spooling(t, c, "", func(cfg *Config, deps *Deps) {
		disk := newTestDisk(t)
		d = newDiskThatHangs(t, disk, spooltest.OpRead, ".seg")
		cfg.Settle, deps.OpenSpool, deps.fastSync = SettleOnDisk, disk.Open, speed(true)
		cfg.SpoolMaxAge = 100 * time.Second
		cfg.BufferBytes = 32 * recordbatch.ChunkSize // what comes later finds room
	})
	t.Cleanup(d.release)
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	var ack ackCount
	add := func(count int, partitions ...int) {
		for range count {
			for _, p := range partitions {
				appendRecords(t, s, &ack, sink.Record{Key: []byte(keysOf(p, 4, 1)[0]), Value: make([]byte, 500), Timestamp: time.Now().UnixMilli()})
			}
		}
	}
	const framed, others = 1500, 20
	n.cut()
	add(framed, 0)
	waitFor(t, func() bool { return s.Stats().Spooled > framed/4 && makesRoom(s) })
	d.hangs.Store(true)
	waitFor(t, d.met.Load)
	n.mend()
	add(others, 2, 3)
	waitFor(t, func() bool { return s.Stats().Delivered >= 2*others })
	d.release()
	waitFor(t, func() bool { return s.Stats().Delivered == framed+2*others && ack.all() })
}

// makesRoom has half of the memory made free, and reports whether it is.
func makesRoom(s *Sink) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	spiller := &s.spooler.spiller
	if !spiller.enoughLocked() {
		spiller.pressLocked()
	}
	return !spiller.pressed
}

// Frames that the disk does not write keep no other partition from a healthy Kafka: neither the worker that waits until it may
// write, nor what is in no write.
func TestFramesThatHangDoNotHoldUpOtherPartitions(t *testing.T) {
	t.Parallel()
	var d *diskThatHangs
	s, _ := spooling(t, cluster(t, 4), "", func(cfg *Config, deps *Deps) {
		disk := newTestDisk(t)
		d = newDiskThatHangs(t, disk, spooltest.OpWrite, ".seg")
		cfg.Settle, deps.fastSync, deps.OpenSpool = SettleOnDisk, speed(false), disk.Open
	})
	t.Cleanup(d.release)
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	var ack ackCount
	add := func(p int) { appendRecords(t, s, &ack, record(keysOf(p, 4, 1)[0], p)) }
	for p := range 4 {
		add(p)
	}
	waitFor(t, func() bool { return s.Stats().Delivered == 4 && ack.all() })
	d.hangs.Store(true)
	add(0)
	waitFor(t, d.met.Load)
	add(1)
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.disk.hangs })
	add(2)
	add(3)
	waitFor(t, func() bool { return s.Stats().Delivered >= 6 })
	d.release()
	waitFor(t, func() bool { return s.Stats().Delivered == 8 && ack.all() })
}

// That the frame of one partition has expired, while the disk hangs, keeps no batch of another one from its request.
func TestAFrameThatExpiresOnADiskThatHangs(t *testing.T) {
	s, l, w := bench(t)
	s.changes = newBell()
	d := newDiskThatHangs(t, newTestDisk(t), spooltest.OpWrite, "cursors")
	sp, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	s.disk.sp, s.disk.kick, s.ctx, s.cfg.SpoolMaxAge = sp, make(chan struct{}, 1), t.Context(), time.Minute
	s.spooler.writer.writing, s.sender.scratches, s.sender.writer = newSlot(), newScratches(), &s.spooler.writer
	l.topic.addLanes(2)
	other := l.topic.lanes[1]
	other.broker = l.broker
	b := holds(t, l, 2)
	l.queue = nil
	b.rb.SealUnstamped()
	q := sp.Queue("t", 0)
	if _, err := sp.Append([]diskqueue.Write{{Queue: q, Meta: diskqueue.Meta{Events: 2, Records: 2, WrittenAt: time.Now().Add(-time.Hour).UnixMilli()}, Batch: b.rb.Parts(nil)}}); err != nil {
		t.Fatal(err)
	}
	l.disk.q = nil
	l.attach(sp)
	s.count.recovered, s.count.spooled = 2, 2
	holds(t, other, 1)
	w.b.bound.now = maxRequestBytes
	w.s.replay.pool = s.pool
	s.mu.Lock()
	b2 := l.takeFrame()
	l.head, l.busy = b2, true
	b2.attempts, b2.sends, b2.stamped, b2.stamp = 1, 1, true, l.stamps.give(s.current)
	s.keepMemory(b2)
	w.entries = append(w.entries, entry{lane: l, batch: b2, load: true, stamp: true})
	w.loads = 1
	w.addLocked(other, time.Now())
	s.mu.Unlock()
	d.hangs.Store(true)
	ready := make(chan struct{})
	go func() { // as worker.run up to the request
		defer close(ready)
		if w.readFrames() {
			w.prepare()
			if w.noteSending() {
				w.prepared()
			}
		}
	}()
	waitFor(t, func() bool {
		select {
		case <-ready:
			return true
		default:
			return false
		}
	})
	d.release()
}

// TestADiskThatIsSlow: a call that hangs does so for long when stuckAfter is over, though others come back meanwhile. When all have
// come back the next one counts from its own beginning.
func TestADiskThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := bench(t)
		s.changes, s.disk.kick, s.roomMade, s.deps.stuckAfter = newBell(), make(chan struct{}, 1), make(chan struct{}), stuckAfter
		w := &s.spooler.writer
		slow := func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !errors.Is(s.disk.err, errDiskHangs) {
				t.Errorf("it does not count as hanging: %v", s.disk.err)
			}
			return s.diskIsSlow()
		}
		for range 2 {
			free, ended := make(chan struct{}), make(chan struct{})
			go func() {
				_ = w.onDisk(func() error { <-free; return nil })
				close(ended)
			}()
			time.Sleep(hangsAfter + time.Millisecond)
			if !slow() {
				t.Error("it counts as hanging for long at once")
			}
			for range 2 * int(stuckAfter/hangsAfter) {
				_ = w.onDisk(func() error { return nil })
				time.Sleep(hangsAfter + time.Millisecond)
			}
			if slow() {
				t.Error("it counts as slow for ever")
			}
			close(free)
			<-ended
		}
	})
}
