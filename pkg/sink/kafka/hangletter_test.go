package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// A refused record's dead letter waits for a disk that hangs and for a topic that takes nothing. The partition of the record
// goes on, also where only the flush hangs, and where other partitions have traffic.
func TestADeadLetterOnADiskThatHangsHoldsNothingUp(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		partitions int32
		dead       int // of unusableDeadTopic
		bare       bool
		all        bool // everything hangs once the dead letter has its frame, else fdatasync does
		traffic    bool // of another partition
	}{
		{"quiet, with a frame", 1, 2, false, false, false},
		{"quiet, without a frame", 1, 0, true, false, false},
		{"writes come back", 2, 2, false, false, true},
		{"writes come back, without a frame", 2, 0, true, false, true},
		{"all hangs", 2, 2, false, true, true},
	} {
		for _, fast := range []bool{false, true} {
			t.Run(tt.name+map[bool]string{false: ", slow disk", true: ", fast disk"}[fast], func(t *testing.T) {
				t.Parallel()
				dead := unusableDeadTopic[tt.dead]
				var opts []kfake.Opt
				if dead.seed {
					opts = append(opts, kfake.SeedTopics(1, "t.dlq"))
				}
				c := cluster(t, tt.partitions, opts...)
				disk := newTestDisk(t)
				var all atomic.Bool
				d := &deafSpool{free: make(chan struct{})}
				onProduce(c, func(topic string, p *kmsg.ProduceRequestTopicPartition) bool {
					if topic == "t" && badRecords(p.Records) != nil && !d.hangs.Load() {
						c.SleepControl(func() { // its own frame is confirmed
							for d.under.Load() > 0 {
								time.Sleep(time.Millisecond)
							}
						})
						d.hangs.Store(true)
					}
					return false
				})
				refuseBad(c, true)
				c.Fault(dead.fault)
				disk.fs.SetGate(func(op spooltest.Op, _ string) error {
					if all.Load() && op != spooltest.OpRead {
						<-d.free
					}
					return nil
				})
				s := start(t, c, func(cfg *Config, deps *Deps) {
					cfg.Settle, cfg.Linger, deps.stuckAfter, deps.fastSync = SettleOnDisk, 5*time.Millisecond, 100*time.Millisecond, speed(!fast)
					deps.OpenSpool = d.open(disk)
				})
				t.Cleanup(d.release)
				waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
				same, other := keysOf(0, int(tt.partitions), 1)[0], ""
				if tt.traffic {
					other = keysOf(1, int(tt.partitions), 1)[0]
					appendRecords(t, s, nil, record(other, 0))
					waitFor(t, func() bool { return s.Stats().Delivered == 1 })
				}
				d.hangs.Store(tt.bare) // in the frame of the record itself
				appendRecords(t, s, nil, badKeyed(same, 0))
				waitFor(t, func() bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					there := tt.bare && (s.dead.batches > 0 || len(s.count.dropped) > 0) // perhaps it is over already
					for _, l := range s.dead.lanes {
						l.batches(func(b *batch) { there = there || b.pos != 0 })
					}
					return there && d.under.Load() > 0
				})
				all.Store(tt.all)
				mark, n := time.Now(), 0
				appendRecords(t, s, nil, record(same, 1000))
				waitFor(t, func() bool {
					if n++; tt.traffic {
						appendRecords(t, s, nil, record(other, n))
						time.Sleep(10 * time.Millisecond)
					}
					s.mu.Lock()
					defer s.mu.Unlock()
					return s.topics[0].lanes[0].acked.After(mark)
				})
			})
		}
	}
}

// The broker refuses a record when it is known for a while that the disk hangs, and nothing else happens.
func TestARefusalThatComesWhileTheDiskHangs(t *testing.T) {
	t.Parallel()
	for _, dead := range unusableDeadTopic[:3] {
		t.Run(dead.name, func(t *testing.T) {
			t.Parallel()
			var opts []kfake.Opt
			if dead.seed {
				opts = append(opts, kfake.SeedTopics(1, "t.dlq"))
			}
			c := cluster(t, 1, opts...)
			d := &deafSpool{free: make(chan struct{})}
			s := start(t, c, func(cfg *Config, deps *Deps) {
				cfg.Settle, cfg.Linger, deps.stuckAfter, deps.fastSync = SettleOnDisk, 5*time.Millisecond, 100*time.Millisecond, speed(false)
				deps.OpenSpool = d.open(newTestDisk(t))
			})
			onProduce(c, func(topic string, p *kmsg.ProduceRequestTopicPartition) bool {
				if topic == "t" && badRecords(p.Records) != nil {
					c.SleepControl(func() { waitFor(t, func() bool { return hangs(s) }) })
				}
				return false
			})
			refuseBad(c, true)
			c.Fault(dead.fault)
			t.Cleanup(d.release)
			waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
			d.hangs.Store(true)
			key := keysOf(0, 1, 1)[0]
			appendRecords(t, s, nil, badKeyed(key, 0))
			waitFor(t, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.dead.batches > 0 || len(s.count.dropped) > 0
			})
			mark := time.Now()
			appendRecords(t, s, nil, record(key, 1))
			waitFor(t, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.topics[0].lanes[0].acked.After(mark)
			})
		})
	}
}

// Flushes hang while writes come back from memory: events go on to a healthy Kafka, and nothing gathers behind the flush.
func TestFlushesThatHangWhileWritesComeBack(t *testing.T) {
	t.Parallel()
	for _, fast := range []bool{false, true} {
		t.Run(map[bool]string{false: "slow disk", true: "fast disk"}[fast], func(t *testing.T) {
			t.Parallel()
			s, _, d := deaf(t, fast)
			d.hangs.Store(true)
			stop, writes := make(chan struct{}), sync.WaitGroup{}
			writes.Go(func() { // as the stamps of frames that are sent
				for {
					select {
					case <-stop:
						return
					case <-time.After(10 * time.Millisecond):
						_ = s.spooler.writer.onDisk(func() error { return nil })
					}
				}
			})
			defer writes.Wait()
			defer close(stop)
			var ack ackCount
			appendAll(t, s, 40, 37, &ack)
			waitFor(t, func() bool { return hangs(s) })
			s.mu.Lock()
			groups := len(s.spooler.writer.groups)
			s.mu.Unlock()
			for round := range 10 {
				appendAll(t, s, 40, 37, &ack)
				waitFor(t, func() bool { return s.Stats().Delivered == int64(100+40*(round+2)) && ack.all() })
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if n := len(s.spooler.writer.groups); n != groups || !s.disk.hangs {
				t.Errorf("%d groups wait, %d before; the disk hangs: %v", n, groups, s.disk.hangs)
			}
		})
	}
}

// hangs reports whether it is known that the disk hangs.
func hangs(s *Sink) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disk.hangs
}

// cutAndWaiting is a cluster whose dead-letter topic refuses large records and takes none of the others; waits tells when one
// of those has come.
func cutAndWaiting(t *testing.T) (c *kfake.Cluster, waits *atomic.Bool) {
	c, waits = cluster(t, 1, kfake.SeedTopics(1, "t.dlq")), &atomic.Bool{}
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		for _, topic := range req.Topics {
			if topic.Topic != "t.dlq" {
				continue
			}
			code := kerr.MessageTooLarge.Code
			if len(topic.Partitions[0].Records) <= 80<<10 {
				code = kerr.NotEnoughReplicas.Code
				waits.Store(true)
			}
			return answerAll(req, func(string, int32) int16 { return code }), nil, true
		}
		return nil, nil, false
	})
	return c, waits
}

func largeDeadLetter(t *testing.T, s *Sink, ack sink.Ack) {
	t.Helper()
	if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: bytes.Repeat([]byte("x"), 100<<10), Reason: "bad"}, ack); err != nil {
		t.Fatal(err)
	}
}

// What is left of a dead letter is what the next process finds, not the whole of it once more.
func TestANoticeThatWaitsAtTheEnd(t *testing.T) {
	t.Parallel()
	c, waits := cutAndWaiting(t)
	disk := newTestDisk(t)
	on := func(cfg *Config, d *Deps) {
		cfg.Settle, cfg.Linger, d.OpenSpool = SettleOnDisk, 5*time.Millisecond, disk.Open
	}
	s := start(t, c, on)
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	largeDeadLetter(t, s, nil)
	waitFor(t, waits.Load)
	s.Close(ended())
	first := s.Stats()
	next := start(t, c, on)
	waitFor(t, func() bool { return !next.held() })
	if second := next.Stats(); second.Recovered != first.Spooled || first.SetAside+first.Dropped[droppedTooLarge] != 1 {
		t.Errorf("the first process has left %d events on disk, the second one found %d: %+v", first.Spooled, second.Recovered, first)
	}
}

// Several dead letters share a frame, and one of them is cut. The next process finds what is left of each, and nothing else: the
// one that was set aside is not set aside a second time.
func TestANoticeThatWaitsAtTheEndBesideOthersOfItsFrame(t *testing.T) {
	t.Parallel()
	for _, settle := range []Settle{SettleOnDisk, SettleOnKafka} {
		for _, frames := range [][]string{{"LS"}, {"LL"}, {"LSL"}, {"LS", "S"}, {"L", "S"}} {
			t.Run(fmt.Sprint(frames, ", settle ", settle), func(t *testing.T) {
				t.Parallel()
				n := len(strings.Join(frames, ""))
				s, disk := cutAmongOthers(t, frames, settle, nil)
				before := s.Stats()
				s.Close(ended())
				first := s.Stats()
				if balance(t, first, 0); first.SetAside != 1 || first.PossibleDuplicates != before.PossibleDuplicates {
					t.Errorf("%+v, and before the end %+v", first, before)
				}
				sp, err := disk.Open()
				if err != nil {
					t.Fatal(err)
				}
				if pos, _, ok := sp.Queue("t.dlq", 0).Doubt(); ok && len(frames) > 1 {
					t.Errorf("frame %d is in doubt, behind one that was not sent", pos)
				}
				if err := sp.Close(); err != nil {
					t.Fatal(err)
				}

				c := cluster(t, 1, kfake.SeedTopics(1, "t.dlq"))
				next := start(t, c, func(cfg *Config, d *Deps) { cfg.Settle, d.OpenSpool = settle, disk.Open })
				seen := map[byte]bool{}
				for _, r := range consume(t, c, "t.dlq", n) {
					seen[r.Value[0]] = true
				}
				waitFor(t, func() bool { st := next.Stats(); return st.InFlight+st.Spooled == 0 })
				second := next.Stats()
				if second.Recovered != first.Spooled || second.DeadLettered != first.Spooled || second.SetAside != 0 {
					t.Errorf("the first process has left %d events on disk; the second one: %+v", first.Spooled, second)
				}
				if records := c.PartitionInfo("t.dlq", 0).HighWatermark; records != int64(n) || len(seen) != n {
					t.Errorf("%d records with %d of %d dead letters", records, len(seen), n)
				}
			})
		}
	}
}

// The disk does not take, or does not confirm, a frame of each part beside a notice that waits at the end: the next process finds
// the whole, with what was set aside, and that is counted.
func TestANoticeThatWaitsAtTheEndBesideOthersWithoutAFrame(t *testing.T) {
	t.Parallel()
	for _, takes := range []bool{true, false} {
		t.Run(map[bool]string{true: "not confirmed", false: "not taken"}[takes], func(t *testing.T) {
			t.Parallel()
			var fails atomic.Bool
			s, disk := cutAmongOthers(t, []string{"LSL"}, SettleOnDisk, func(sp diskqueue.Spool) diskqueue.Spool {
				if takes {
					return &unconfirming{sp, &fails, &atomic.Bool{}}
				}
				return &takesOne{sp, &fails}
			})
			fails.Store(true)
			s.Close(ended())
			first := s.Stats()
			balance(t, first, 0)
			next := start(t, cluster(t, 1), func(_ *Config, d *Deps) { d.OpenSpool = disk.Open })
			waitFor(t, func() bool { return next.Stats().Recovered > 0 })
			if found := next.Stats().Recovered; found != 3 || found > first.Spooled+first.PossibleDuplicates {
				t.Errorf("left %d, found %d, %d counted as possible duplicates", first.Spooled, found, first.PossibleDuplicates)
			}
		})
	}
}

// takesOne is a spool that takes the first of several frames and has no room for the next while it is told so.
type takesOne struct {
	diskqueue.Spool
	fails *atomic.Bool
}

func (d *takesOne) Append(w []diskqueue.Write) (int, error) {
	if !d.fails.Load() || len(w) == 1 {
		return d.Spool.Append(w)
	}
	n, err := d.Spool.Append(w[:1])
	if err == nil {
		err = diskqueue.ErrFull
	}
	return n, err
}

// cutAmongOthers is a sink that has found dead letters in its spool, those of a string in one frame: L is a large one, S a small
// one. The first of them was cut, and what is left of it was sent and waits.
func cutAmongOthers(t *testing.T, frames []string, settle Settle, around func(diskqueue.Spool) diskqueue.Spool) (*Sink, *testDisk) {
	t.Helper()
	c, waits := cutAndWaiting(t)
	n, disk := &line{}, newTestDisk(t)
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Settle, cfg.Linger, cfg.BatchBytes, d.Dial, d.OpenSpool = SettleOnDisk, time.Minute, 1<<20, n.dial, disk.Open
	})
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	n.cut()
	which := byte('a')
	for _, letters := range frames {
		var ack ackCount
		for _, letter := range letters {
			raw := bytes.Repeat([]byte{which}, map[rune]int{'L': 100 << 10, 'S': 1000}[letter])
			if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: raw, Reason: "bad"}, &ack); err != nil {
				t.Fatal(err)
			}
			which++
		}
		s.Flush()
		waitFor(t, ack.all)
	}
	s.Close(ended())
	s = start(t, c, func(cfg *Config, d *Deps) {
		cfg.Settle, d.OpenSpool = settle, disk.Open
		if around != nil {
			d.OpenSpool = func() (diskqueue.Spool, error) {
				sp, err := disk.Open()
				if err != nil {
					return nil, err
				}
				return around(sp), nil
			}
		}
	})
	waitFor(t, waits.Load)
	return s, disk
}

// The frame of a dead letter is durable after its topic has refused it: its source hears so, whether the topic takes the notice
// or not.
func TestTheSourceOfANoticeThatWaits(t *testing.T) {
	t.Parallel()
	c, waits := cutAndWaiting(t)
	d := &deafSpool{free: make(chan struct{})}
	d.hangs.Store(true)
	s := start(t, c, func(cfg *Config, deps *Deps) {
		cfg.Settle, cfg.Linger, deps.fastSync = SettleOnDisk, 5*time.Millisecond, speed(true)
		deps.OpenSpool = d.open(newTestDisk(t))
	})
	t.Cleanup(d.release)
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	var ack ackCount
	largeDeadLetter(t, s, &ack)
	waitFor(t, waits.Load)
	d.hangs.Store(false)
	d.release()
	waitFor(t, ack.all)
}

// appendHangs is a spool whose writes do not come back.
type appendHangs struct {
	diskqueue.Spool
	met  atomic.Bool
	free chan struct{}
}

func (d *appendHangs) Append(w []diskqueue.Write) (int, error) {
	d.met.Store(true)
	<-d.free
	return d.Spool.Append(w)
}

// Frames end while a full disk hangs: it is not full any more, and hangs all the same.
func TestRoomOnADiskThatHangs(t *testing.T) {
	s, _, _ := benchOnDisk(t)
	s.changes, s.disk.kick, s.roomMade = newBell(), make(chan struct{}, 1), make(chan struct{})
	s.disk.hangs, s.disk.err = true, diskqueue.ErrFull
	s.spooler.writer.roomOnDiskLocked()
	if !errors.Is(s.disk.err, errDiskHangs) || s.room.spoolHasRoom() {
		t.Errorf("it passes for one that can be written: %v", s.disk.err)
	}
}

// Placing is watched as every other call of the disk: that it hangs is told.
func TestPlacingOnADiskThatHangsIsTold(t *testing.T) {
	t.Parallel()
	n, d := &line{}, &deafSpool{free: make(chan struct{})}
	n.cut()
	s, _ := spooling(t, cluster(t, 1), "", func(cfg *Config, deps *Deps) {
		cfg.Settle, deps.Dial, deps.OpenSpool = SettleOnDisk, n.dial, d.open(newTestDisk(t))
	})
	t.Cleanup(d.release)
	var ack ackCount
	appendAll(t, s, 100, 37, &ack)
	waitFor(t, ack.all)
	d.hangs.Store(true)
	n.mend()
	waitFor(t, func() bool { return hangs(s) })
	d.hangs.Store(false)
	d.release()
	waitFor(t, func() bool { return s.Stats().Delivered == 100 })
	balance(t, closeSink(t, s), 100)
}

// While frames are placed nothing is sent. A disk that is known to hang is not asked then.
func TestNothingIsStowedOnADiskThatHangs(t *testing.T) {
	s, l, sp := benchOnDisk(t)
	s.disk.kick, s.changes = make(chan struct{}, 1), newBell()
	l.open, l.queue = holds(t, l, 1), nil
	s.topics[0].batches = 1
	d := &appendHangs{Spool: sp, free: make(chan struct{})}
	s.disk.sp, s.disk.hangs, s.disk.err = d, true, errDiskHangs
	all := &s.spooler.writer.watchdog.all
	all.calls, all.hangs = 1, true
	came := make(chan error, 1)
	var stows sync.WaitGroup
	stows.Go(func() { came <- s.spooler.placer.stow(l.topic, sp.Queue("t", unassignedPartition)) })
	waitFor(t, func() bool { return d.met.Load() || len(came) == 1 })
	if d.met.Load() {
		t.Error("it waits for the disk")
	}
	close(d.free)
	if stows.Wait(); !errors.Is(<-came, errDiskHangs) {
		t.Error("it does not say so")
	}
}

// A flush takes its time, and the disk has gone on before anything need be given up: the dead letter of a record that its client
// was told is safe is not dropped, though its topic takes none.
func TestASlowFlushDropsNoDeadLetter(t *testing.T) {
	t.Parallel()
	dead := unusableDeadTopic[0]
	c := cluster(t, 2)
	d := &deafSpool{free: make(chan struct{})}
	var s *Sink
	onProduce(c, func(topic string, p *kmsg.ProduceRequestTopicPartition) bool {
		if topic == "t" && badRecords(p.Records) != nil {
			c.SleepControl(func() { waitFor(t, func() bool { return hangs(s) }) })
		}
		return false
	})
	refuseBad(c, true)
	c.Fault(dead.fault)
	s = start(t, c, func(cfg *Config, deps *Deps) {
		cfg.Settle, cfg.Linger, deps.stuckAfter, deps.fastSync = SettleOnDisk, 5*time.Millisecond, time.Hour, speed(false)
		deps.OpenSpool = d.open(newTestDisk(t))
	})
	t.Cleanup(d.release)
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	key, other := keysOf(0, 2, 1)[0], keysOf(1, 2, 1)[0]
	var ack ackCount
	appendRecords(t, s, &ack, badKeyed(key, 0))
	waitFor(t, ack.all)
	d.hangs.Store(true)
	appendRecords(t, s, nil, record(other, 1))
	buried := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.dead.batches > 0 || len(s.count.dropped) > 0
	}
	waitFor(t, func() bool { return hangs(s) && buried() })
	for range 5 {
		wake(s.disk.kick)
		time.Sleep(10 * time.Millisecond)
	}
	if st := s.Metrics().SpoolState; st == SpoolFailed {
		t.Error("a slow disk counts as failed")
	}
	d.hangs.Store(false)
	d.release()
	waitFor(t, func() bool { return !hangs(s) })
	appendRecords(t, s, nil, record(key, 2))
	waitFor(t, func() bool { return s.Stats().Delivered == 2 }) // its partition goes on: the dead letter has its frame
	if st := s.Stats(); len(st.Dropped) > 0 {
		t.Errorf("%+v", st)
	}
}

// A disk that hangs for long is told as the state of the spool.
func TestTheStateOfADiskThatHangs(t *testing.T) {
	t.Parallel()
	d := &deafSpool{free: make(chan struct{})}
	s := start(t, cluster(t, 1), func(cfg *Config, deps *Deps) {
		cfg.Settle, deps.fastSync, deps.stuckAfter = SettleOnDisk, speed(false), 100*time.Millisecond
		deps.OpenSpool = d.open(newTestDisk(t))
	})
	t.Cleanup(d.release)
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	d.hangs.Store(true)
	appendRecords(t, s, nil, record("key", 0))
	waitFor(t, func() bool { return s.Metrics().SpoolState == SpoolFailed })
	d.hangs.Store(false)
	d.release()
	waitFor(t, func() bool { return s.Metrics().SpoolState == SpoolIdle })
}

// With --ack=kafka the sources of dead letters wait for Kafka. A frame that ends at the end of the process, because each part of it
// has one of its own, tells them nothing.
func TestTheSourcesOfANoticeThatWaitsAtTheEnd(t *testing.T) {
	t.Parallel()
	for _, letters := range []string{"S", "L", "LS", "LSL"} {
		t.Run(letters, func(t *testing.T) {
			t.Parallel()
			c, waits := cutAndWaiting(t)
			n, disk := &line{}, newTestDisk(t)
			s := start(t, c, func(cfg *Config, d *Deps) {
				cfg.Settle, cfg.Linger, cfg.BatchBytes, d.Dial, d.OpenSpool = SettleOnKafka, time.Minute, 1<<20, n.dial, disk.Open
			})
			waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
			n.cut()
			var ack ackCount
			for i, letter := range letters {
				raw := bytes.Repeat([]byte{byte('a' + i)}, map[rune]int{'L': 100 << 10, 'S': 1000}[letter])
				if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: raw, Reason: "bad"}, &ack); err != nil {
					t.Fatal(err)
				}
			}
			s.mu.Lock()
			l := s.dead.lanes[0]
			l.seal()
			work := l.claim(nil)
			s.mu.Unlock()
			if _, err := s.spooler.writer.write(work); err != nil {
				t.Fatal(err)
			}
			s.mu.Lock()
			l.evict()
			s.mu.Unlock()
			n.mend()
			s.Flush()
			waitFor(t, waits.Load)
			_ = s.Close(ended())
			if ack.all() {
				t.Errorf("they were told that Kafka has them: %+v", s.Stats())
			}
		})
	}
}
