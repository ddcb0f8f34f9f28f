package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// frailSpool fails when frames are placed, or made durable.
type frailSpool struct {
	diskqueue.Spool
	syncs atomic.Int32 // so many fail
	skip  atomic.Int32 // appends of placed frames until the first that fails
	fails atomic.Int32
	with  error
	safe  atomic.Int32 // how often cursors were made durable
	met   atomic.Bool  // a placed one has failed
	full  atomic.Int32 // so many appends of other frames find no room then
}

func (b *frailSpool) DoneDurably(q diskqueue.Queue, pos diskqueue.Pos) error {
	b.safe.Add(1)
	return b.Spool.DoneDurably(q, pos)
}

func (b *frailSpool) Sync(first, last diskqueue.Pos) error {
	if b.syncs.Add(-1) >= 0 {
		return errDisk
	}
	return b.Spool.Sync(first, last)
}

func (b *frailSpool) Append(f []diskqueue.Write) (int, error) {
	if f[0].Replaces != 0 && b.skip.Add(-1) < 0 && b.fails.Add(-1) >= 0 {
		b.met.Store(true)
		return 0, b.with
	}
	if f[0].Replaces == 0 && b.met.Load() && b.full.Add(-1) >= 0 {
		return 0, diskqueue.ErrFull
	}
	return b.Spool.Append(f)
}

// unassignedSpool leaves events of unknown partitions in a spool directory.
func unassignedSpool(t *testing.T, settle Settle, events int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s, _ := spooling(t, cluster(t, 4), dir, func(cfg *Config, d *Deps) {
		cfg.Settle = settle
		d.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
	})
	appendAll(t, s, events, 37, nil)
	waitFor(t, func() bool { // what ends before its spool is open has nowhere to put them
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.disk.sp != nil
	})
	_ = s.Close(ended())
	if st := s.Stats(); st.Spooled != int64(events) {
		t.Fatalf("%+v", st)
	}
	return dir
}

// TestPlacingGoesOn: a disk that is full or fails while frames are placed is tried again, where it was: nothing is
// lost, doubled or left, and the ledger is right.
func TestPlacingGoesOn(t *testing.T) {
	t.Parallel()
	const events = 3000
	for _, with := range []error{fmt.Errorf("%w: test", diskqueue.ErrFull), errDisk} {
		for _, skip := range []int32{0, 2, 5} {
			for _, settle := range []Settle{SettleAtOnce, SettleOnDisk} {
				t.Run(fmt.Sprint(with, " ", skip, " ", settle), func(t *testing.T) {
					t.Parallel()
					dir := unassignedSpool(t, settle, events)
					b := &frailSpool{with: with}
					s, _ := spooling(t, cluster(t, 4), dir, func(cfg *Config, d *Deps) {
						cfg.Settle = settle
						open := d.OpenSpool
						d.OpenSpool = func() (diskqueue.Spool, error) {
							sp, err := open()
							if err != nil {
								return nil, err
							}
							b.Spool = sp
							b.skip.Store(skip)
							b.fails.Store(2)
							return b, nil
						}
					})
					waitFor(t, func() bool { return s.Stats().Delivered >= events })
					if b.safe.Load() == 0 {
						t.Error("after a loss of power the frames would be placed once more, behind later events")
					}
					if st := closeSink(t, s); st.Delivered != events || st.Spooled != 0 || st.PossibleDuplicates != 0 {
						t.Errorf("%+v", st)
					}
				})
			}
		}
	}
}

// TestAFrameThatIsPlacedIsNotDropped: a full disk that drops its oldest events does not take a frame of which a part is
// placed already, nor those that were placed before it: their events would count as dropped and be delivered.
func TestAFrameThatIsPlacedIsNotDropped(t *testing.T) {
	t.Parallel()
	const events, more = 3000, 100
	for _, skip := range []int32{2, 6} {
		for _, syncs := range []int32{0, 2} { // that fail: of the frames, and of what replaces them
			t.Run(fmt.Sprint(skip, " ", syncs), func(t *testing.T) {
				t.Parallel()
				dir := unassignedSpool(t, SettleOnDisk, events)
				b, c := &frailSpool{with: diskqueue.ErrFull}, cluster(t, 4)
				s, _ := spooling(t, c, dir, func(cfg *Config, d *Deps) {
					cfg.Settle, cfg.SpoolFull = SettleOnDisk, SpoolFullDropOldest
					open := d.OpenSpool
					d.OpenSpool = func() (diskqueue.Spool, error) {
						sp, err := open()
						if err != nil {
							return nil, err
						}
						b.Spool = sp
						b.skip.Store(skip)
						b.fails.Store(1 << 30)
						b.full.Store(1)
						b.syncs.Store(syncs)
						return b, nil
					}
				})
				waitFor(t, b.met.Load)
				appendAll(t, s, more, 37, nil)
				waitFor(t, func() bool { return b.full.Load() < 1 }) // the new events have found no room
				b.fails.Store(0)
				waitFor(t, func() bool { return s.Stats().Spooled <= 0 })
				st := closeSink(t, s)
				balance(t, st, more)
				if st.Spooled != 0 || st.InFlight != 0 || len(consume(t, c, "t", int(st.Delivered))) != int(st.Delivered) {
					t.Errorf("%+v", st)
				}
				if syncs == 0 && (st.Delivered != events+more || len(st.Dropped) != 0) {
					t.Errorf("%+v", st)
				}
			})
		}
	}
}

// TestPlacingWithoutADisk: while the disk stays full or fails, frames are placed from memory, one after the other, and
// later events behind them. Nothing is left or lost; what a kill would double is counted.
func TestPlacingWithoutADisk(t *testing.T) {
	t.Parallel()
	const events, more = 3000, 200
	for _, with := range []error{fmt.Errorf("%w: test", diskqueue.ErrFull), errDisk} {
		for _, skip := range []int32{0, 2} {
			for _, settle := range []Settle{SettleAtOnce, SettleOnDisk} {
				t.Run(fmt.Sprint(with, " ", skip, " ", settle), func(t *testing.T) {
					t.Parallel()
					dir := unassignedSpool(t, settle, events)
					s, _ := spooling(t, cluster(t, 4), dir, func(cfg *Config, d *Deps) {
						cfg.Settle, d.placingPatience = settle, time.Nanosecond
						open := d.OpenSpool
						d.OpenSpool = func() (diskqueue.Spool, error) {
							sp, err := open()
							if err != nil {
								return nil, err
							}
							b := &frailSpool{Spool: sp, with: with}
							b.skip.Store(skip)
							b.fails.Store(1 << 30)
							return b, nil
						}
					})
					appendAll(t, s, more, 37, nil)
					waitFor(t, func() bool { return s.Stats().Delivered >= events+more })
					st := closeSink(t, s)
					if st.Delivered != events+more || st.Spooled != 0 || st.PossibleDuplicates == 0 || st.PossibleDuplicates > events+more {
						t.Errorf("%+v", st)
					}
				})
			}
		}
	}
}

// orderly counts frames that were not made durable before what replaces them was written.
type orderly struct {
	diskqueue.Spool
	first, last   diskqueue.Pos
	early, placed atomic.Int32
}

func (o *orderly) Sync(first, last diskqueue.Pos) error {
	o.first, o.last = first, last
	return o.Spool.Sync(first, last)
}

func (o *orderly) Append(f []diskqueue.Write) (int, error) {
	if pos := f[0].Replaces; pos != 0 {
		if o.placed.Add(1); pos < o.first || pos > o.last {
			o.early.Add(1)
		}
	}
	return o.Spool.Append(f)
}

// TestPlacedFramesAreDurableFirst: a loss of power never takes a frame and leaves what replaces it, which would be sent before
// the frames that came before it.
func TestPlacedFramesAreDurableFirst(t *testing.T) {
	t.Parallel()
	const events = 3000
	for _, settle := range []Settle{SettleAtOnce, SettleOnDisk} {
		dir := unassignedSpool(t, settle, events)
		o := &orderly{}
		s, _ := spooling(t, cluster(t, 4), dir, func(cfg *Config, d *Deps) {
			cfg.Settle = settle
			open := d.OpenSpool
			d.OpenSpool = func() (sp diskqueue.Spool, err error) {
				o.Spool, err = open()
				return o, err
			}
		})
		waitFor(t, func() bool { return s.Stats().Delivered >= events })
		closeSink(t, s)
		if o.placed.Load() == 0 || o.early.Load() > 0 {
			t.Errorf("%v: %d of %d frames were replaced before they were durable", settle, o.early.Load(), o.placed.Load())
		}
	}
}

// TestPlacedNotDurable: when the disk does not confirm what was placed, the frames stay for the case that the
// machine goes down; that they come twice otherwise is counted.
func TestPlacedNotDurable(t *testing.T) {
	const events = 3000
	dir := unassignedSpool(t, SettleOnDisk, events)
	c := cluster(t, 4)
	frail := true
	again := func() (delivered, possible int64) {
		s, _ := spooling(t, c, dir, func(cfg *Config, d *Deps) {
			cfg.Settle = SettleOnDisk
			open := d.OpenSpool
			d.OpenSpool = func() (diskqueue.Spool, error) {
				sp, err := open()
				if err != nil {
					return nil, err
				}
				b := &frailSpool{Spool: sp}
				if frail {
					b.syncs.Store(2) // of the frames, and of what replaces them
				}
				return b, nil
			}
		})
		waitFor(t, func() bool { return !s.held() && s.Ready() == nil })
		waitFor(t, func() bool {
			st := s.Stats()
			return st.Delivered >= events && (frail || st.Spooled == 0)
		})
		_ = s.Close(patient(t))
		st := s.Stats()
		return st.Delivered, st.PossibleDuplicates
	}
	first, possible := again()
	frail = false
	second, more := again()
	if twice := first + second - events; twice != possible+more || twice == 0 {
		t.Errorf("%d events twice, %d counted", twice, possible+more)
	}
}

// TestSpoolThatOpensLate: the steward does not rest when there is something in the spool.
func TestSpoolThatOpensLate(t *testing.T) {
	t.Parallel()
	dir := unassignedSpool(t, SettleOnKafka, 100)
	n := &line{}
	n.down.Store(true)
	release := make(chan struct{})
	s, _ := spooling(t, cluster(t, 4), dir, func(_ *Config, d *Deps) {
		d.Dial = n.dial
		open := d.OpenSpool
		d.OpenSpool = func() (diskqueue.Spool, error) {
			<-release
			return open()
		}
	})
	waitFor(t, s.want.resting.Load)
	close(release)
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.disk.sp == nil {
			return false
		}
		if s.want.resting.Load() {
			t.Error("it rests though there is something to deliver")
		}
		return true
	})
	n.mend()
	waitFor(t, func() bool { return s.Stats().Delivered == 100 })
	closeSink(t, s)
}

// A topic that is made while frames of another one are carried in memory, because the disk is full, stops nothing: all of
// both arrive, what waited on disk before what came since.
func TestATopicThatComesWhileAnotherIsCarried(t *testing.T) {
	t.Parallel()
	const before, since, keys = 300, 60, 37
	dir := t.TempDir()
	two := func(cfg *Config, d *Deps) {
		quickLooks(cfg, d)
		cfg.MoreTopics, d.placingPatience = three[1:2], time.Nanosecond
	}
	s, _ := spooling(t, cluster(t, 4), dir, func(cfg *Config, d *Deps) {
		two(cfg, d)
		d.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
	})
	want := spreadOver(t, s, 0, before, 2, keys, nil)
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.disk.sp != nil
	})
	_ = s.Close(ended())

	c := cluster(t, 4)
	var takes atomic.Bool
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if takes.Load() {
			return nil, nil, false
		}
		return answerAll(r.(*kmsg.ProduceRequest), func(string, int32) int16 { return 7 }), nil, true // REQUEST_TIMED_OUT
	})
	s, _ = spooling(t, c, dir, func(cfg *Config, d *Deps) {
		two(cfg, d)
		open := d.OpenSpool
		d.OpenSpool = func() (diskqueue.Spool, error) {
			sp, err := open()
			if err != nil {
				return nil, err
			}
			b := &frailSpool{Spool: sp, with: diskqueue.ErrFull}
			b.fails.Store(1 << 30)
			return b, nil
		}
	})
	under := func(ok func() bool) func() bool {
		return func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return ok()
		}
	}
	waitFor(t, under(func() bool { return s.count.inFlight > 0 }))
	makeTopic(t, c, "t2", 3)
	waitFor(t, under(func() bool { return len(s.topics[1].lanes) > 0 }))
	takes.Store(true)
	want = joined(want, spreadOver(t, s, before, since, 2, keys, nil))
	waitFor(t, func() bool { return s.Stats().Delivered == 2*(before+since) })
	if st := closeSink(t, s); st.Spooled != 0 || len(st.Dropped) != 0 {
		t.Errorf("%+v", st)
	}
	for i, name := range three[:2] {
		checkKeyed(t, consume(t, c, name, before+since), want[i])
	}
}

// What comes while frames of an earlier process cannot be placed on disk goes behind them when they are carried.
func TestWhatComesGoesBehindWhatIsCarried(t *testing.T) {
	t.Parallel()
	const before, since, keys = 300, 600, 37
	dir := unassignedSpool(t, SettleAtOnce, before)
	c := cluster(t, 4)
	s, _ := spooling(t, c, dir, func(cfg *Config, d *Deps) {
		cfg.BatchBytes = 2 * recordbatch.ChunkSize // some batches of each partition are full
		d.placingPatience = 100 * time.Millisecond // over at the second try
		open := d.OpenSpool
		d.OpenSpool = func() (diskqueue.Spool, error) {
			sp, err := open()
			if err != nil {
				return nil, err
			}
			b := &frailSpool{Spool: sp, with: diskqueue.ErrFull}
			b.fails.Store(1 << 30)
			return b, nil
		}
	})
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.topics[0].lanes) > 0
	})
	want := map[string][]string{}
	for i := range before + since {
		r := record(fmt.Sprintf("key-%03d", i%keys), i)
		if i >= before {
			r.Value = append(r.Value, strings.Repeat("x", 500)...)
		}
		want[string(r.Key)] = append(want[string(r.Key)], string(r.Value))
		if i < before {
			continue // unassignedSpool has left it
		}
		if n, err := s.Append(patient(t), []sink.Record{r}, nil); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	waitFor(t, func() bool { return s.Stats().Delivered == before+since })
	closeSink(t, s)
	checkKeyed(t, consume(t, c, "t", before+since), want)
}

// alwaysFull opens a spool that takes nothing.
func alwaysFull(open func() (diskqueue.Spool, error)) func() (diskqueue.Spool, error) {
	return func() (diskqueue.Spool, error) {
		sp, err := open()
		return &takesNothing{sp, diskqueue.ErrFull}, err
	}
}

// A part of a frame that was carried in memory is refused, and what is left of it has no leader. When the disk takes frames
// again that has one of its own, so that the frames behind are placed.
func TestARefusedPartOfACarriedFrame(t *testing.T) {
	t.Parallel()
	for _, named := range []bool{true, false} {
		const frames, partitions = 20, 3
		keys := []string{keysOf(0, partitions, 1)[0], keysOf(1, partitions, 1)[0], keysOf(2, partitions, 1)[0]}
		disk := newTestDisk(t)
		s := start(t, cluster(t, partitions), func(cfg *Config, d *Deps) {
			cfg.Settle, d.OpenSpool = SettleOnDisk, disk.Open
			d.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
		})
		for i := range frames {
			var ack ackCount
			records := []sink.Record{record(keys[0], i), record(keys[1], i), record(keys[1], i), record(keys[2], i)}
			if i == 0 {
				records[1].Value = append(records[1].Value, " bad"...)
			}
			appendRecords(t, s, &ack, records...)
			waitFor(t, func() bool { ack.mu.Lock(); defer ack.mu.Unlock(); return ack.done == ack.held })
		}
		_ = s.Close(ended())

		c := ownBrokers(t, map[string]int32{"t": partitions, "t.dlq": 1})
		var refused atomic.Bool
		c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			req := r.(*kmsg.ProduceRequest)
			of := req.Topics[0].Partitions[0]
			if req.Topics[0].Topic != "t" || of.Partition != 1 || badRecords(of.Records) != nil && !refused.Swap(true) {
				return nil, nil, false
			}
			return answerAll(req, func(string, int32) int16 { return kerr.NotLeaderForPartition.Code }), nil, true
		})
		refuseBad(c, named)
		disk.Limit(0)
		s = start(t, c, func(cfg *Config, d *Deps) {
			quickLooks(cfg, d)
			cfg.Settle, d.OpenSpool, d.placingPatience = SettleOnKafka, disk.Open, time.Nanosecond
		})
		waitFor(t, refused.Load)
		waitForFailure(t, s, func() *lane { return s.topics[0].lanes[1] })
		disk.Limit(1 << 40)
		waitFor(t, func() bool { return s.Stats().Delivered == 2*frames })
	}
}

// Frames are carried in memory, because the disk is full, and one partition cannot move: the others, and another topic,
// get what is theirs from all frames, and what comes since.
func TestWhatIsCarriedPassesAPartitionThatCannotMove(t *testing.T) {
	t.Parallel()
	const before, since, keys = 600, 60, 37
	dir := t.TempDir()
	two := func(cfg *Config, d *Deps) {
		quickLooks(cfg, d)
		cfg.MoreTopics, cfg.Settle, d.placingPatience = three[1:2], SettleOnDisk, time.Nanosecond
	}
	s, _ := spooling(t, cluster(t, 4), dir, func(cfg *Config, d *Deps) {
		two(cfg, d)
		d.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
	})
	var ack ackCount
	want := spreadOver(t, s, 0, before, 2, keys, &ack)
	waitFor(t, func() bool { ack.mu.Lock(); defer ack.mu.Unlock(); return ack.done == ack.held })
	_ = s.Close(ended())

	c := ownBrokers(t, map[string]int32{"t": 4})
	makeTopic(t, c, "t2", 3)
	stuck := stick(c, place{"t", 2})
	s, _ = spooling(t, c, dir, func(cfg *Config, d *Deps) {
		two(cfg, d)
		d.OpenSpool = alwaysFull(d.OpenSpool)
	})
	want = joined(want, spreadOver(t, s, before, since, 2, keys, nil))
	waits := 0
	for key, records := range want[0] {
		if recordbatch.Partition([]byte(key), 4) == 2 {
			waits += len(records)
		}
	}
	if waits == 0 {
		t.Fatal("no key belongs to the partition")
	}
	waitFor(t, func() bool { return s.Stats().Delivered == int64(2*(before+since)-waits) })
	stuck.on.Store(false)
	waitFor(t, func() bool { return s.Stats().Delivered == 2*(before+since) })
	if st := closeSink(t, s); st.Spooled != 0 || len(st.Dropped) != 0 {
		t.Errorf("%+v", st)
	}
	for i, name := range three[:2] {
		checkKeyed(t, consume(t, c, name, before+since), want[i])
	}
}

// A topic is made anew with fewer partitions while a frame is carried that has records for one that is gone.
func TestWhatIsCarriedForAPartitionThatIsGone(t *testing.T) {
	t.Parallel()
	const events, keys = 600, 37
	dir := t.TempDir()
	s, _ := spooling(t, cluster(t, 4), dir, func(cfg *Config, d *Deps) {
		cfg.Settle = SettleOnDisk
		d.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
	})
	var ack ackCount
	spreadOver(t, s, 0, events, 1, keys, &ack)
	waitFor(t, func() bool { ack.mu.Lock(); defer ack.mu.Unlock(); return ack.done == ack.held })
	_ = s.Close(ended())

	c := cluster(t, 4)
	var takes atomic.Bool
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if takes.Load() {
			return nil, nil, false
		}
		return answerAll(r.(*kmsg.ProduceRequest), func(string, int32) int16 { return 7 }), nil, true // REQUEST_TIMED_OUT
	})
	s, _ = spooling(t, c, dir, func(cfg *Config, d *Deps) {
		quickLooks(cfg, d)
		cfg.Settle, d.placingPatience = SettleOnDisk, time.Nanosecond
		d.OpenSpool = alwaysFull(d.OpenSpool)
	})
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.count.inFlight > 0 })
	remake(t, c.ListenAddrs(), "t", 2)
	takes.Store(true)
	waitFor(t, func() bool { return s.Stats().Delivered == events })
	if st := closeSink(t, s); st.Spooled != 0 || len(st.Dropped) != 0 {
		t.Errorf("%+v", st)
	}
}

// indexed sees the number of frames after each write, and each look at what there is room for.
type indexed struct {
	*spool.Spool
	most, looks atomic.Int64
}

func (s *indexed) Counts() diskqueue.Counts {
	s.looks.Add(1)
	return s.Spool.Counts()
}

func (s *indexed) Append(f []diskqueue.Write) (int, error) {
	n, err := s.Spool.Append(f)
	s.most.Store(max(s.most.Load(), int64(s.Stats().Frames)))
	return n, err
}

// A frame becomes as many as its records have partitions when it is placed. The memory for their index has a bound all the
// same: some are delivered before more are placed, in order, and what comes since waits behind them. Where no partition takes
// anything when the memory is full, or the cluster is away, nothing is placed in part and nothing is carried, which would
// count possible duplicates. It goes on as soon as one does.
func TestPlacingKeepsTheBoundOnFrames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"brokers that take everything", takeNothing, areAway} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			placesWithinBound(t, name)
		})
	}
}

const (
	takeNothing = "brokers that take nothing at first"
	areAway     = "brokers that take nothing and are away then"
)

func placesWithinBound(t *testing.T, brokers string) {
	const frames, each, since, partitions = 100, 32, 200, 8
	var keys []string
	for i := 0; len(keys) < each; i++ {
		key := fmt.Sprint("key ", i)
		if brokers == areAway && recordbatch.Partition([]byte(key), partitions) == 0 {
			continue // for this one frames could be carried
		}
		keys = append(keys, key)
	}
	fs := spooltest.New(1 << 40)
	var opened atomic.Pointer[indexed]
	open := func() (diskqueue.Spool, error) {
		s, err := spool.Open(spool.Config{Dir: "d", MaxBytes: 64 << 20, MaxFrames: frames}, spool.Deps{FS: fs, Boot: "b"})
		if err != nil {
			return nil, err
		}
		sp := &indexed{Spool: s}
		opened.Store(sp)
		return sp, nil
	}
	s, _ := spooling(t, cluster(t, partitions), "", func(cfg *Config, d *Deps) {
		cfg.Settle, d.OpenSpool = SettleOnDisk, open
		d.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
	})
	var ack ackCount
	want := map[string][]string{}
	for i := range frames {
		var records []sink.Record
		for j := range each {
			records = append(records, record(keys[j], i))
			want[keys[j]] = append(want[keys[j]], string(records[j].Value))
		}
		appendRecords(t, s, &ack, records...)
		waitFor(t, func() bool { ack.mu.Lock(); defer ack.mu.Unlock(); return ack.done == ack.held })
	}
	_ = s.Close(ended())
	first := opened.Load()
	before := first.Stats().Frames

	c := cluster(t, partitions)
	var places []place
	for p := range int32(partitions) {
		places = append(places, place{"t", p})
	}
	st := stick(c, places...)
	st.on.Store(brokers == takeNothing || brokers == areAway)
	n := &line{}
	s, _ = spooling(t, c, "", func(cfg *Config, d *Deps) {
		quickLooks(cfg, d)
		cfg.Settle, cfg.MetadataTTL, d.OpenSpool, d.Dial = SettleOnDisk, 50*time.Millisecond, open, n.dial
		d.placingPatience = time.Hour // nothing has to be carried
		if brokers == takeNothing {
			d.placingPatience = time.Nanosecond
		}
	})
	for i := range since {
		key := keys[i%each]
		r := record(key, frames+i)
		want[key] = append(want[key], string(r.Value))
		appendRecords(t, s, nil, r)
	}
	stays := func() { // the placer looks again and again
		before := opened.Load().looks.Load()
		waitFor(t, func() bool { return opened.Load().looks.Load() > before+5 })
	}
	patience := func(d time.Duration) { s.mu.Lock(); defer s.mu.Unlock(); s.deps.placingPatience = d }
	switch brokers {
	case takeNothing:
		waitFor(t, func() bool {
			sp := opened.Load()
			return sp != first && sp.Spool.Counts().FramesLeft < partitions
		})
		stays()
	case areAway:
		waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.warnedAt["unplaced"].IsZero() })
		n.cut()
		waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.unreachedSince.IsZero() })
		patience(time.Nanosecond)
		stays()
		patience(time.Hour)
		n.mend()
	}
	st.on.Store(false)
	waitFor(t, func() bool { return s.Stats().Delivered == frames*each+since })
	if end := closeSink(t, s); end.Spooled != 0 || len(end.Dropped) != 0 || end.PossibleDuplicates != 0 {
		t.Errorf("%+v", end)
	}
	if n := opened.Load().most.Load(); before < frames || n > frames*5/4 || n <= frames {
		t.Errorf("%d frames at first, %d at most, the bound is %d", before, n, frames*5/4)
	}
	checkKeyed(t, consume(t, c, "t", frames*each+since), want)
}

// The index is full of frames of one topic. Those of another wait until some are delivered: nothing stands still for them,
// and nothing is carried.
func TestPlacingWaitsForTheFramesOfOtherTopics(t *testing.T) {
	t.Parallel()
	const frames, each, partitions = 100, 32, 8
	fs := spooltest.New(1 << 40)
	open := func() (diskqueue.Spool, error) {
		return spool.Open(spool.Config{Dir: "d", MaxBytes: 64 << 20, MaxFrames: frames}, spool.Deps{FS: fs, Boot: "b"})
	}
	two := func(cfg *Config, d *Deps) {
		quickLooks(cfg, d)
		cfg.Settle, cfg.MoreTopics, d.OpenSpool = SettleOnDisk, []string{"t2"}, open
	}
	s, _ := spooling(t, cluster(t, partitions), "", func(cfg *Config, d *Deps) {
		two(cfg, d)
		d.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
	})
	var ack ackCount
	for i := range frames {
		var records []sink.Record
		for j := range each {
			r := record(fmt.Sprint("key ", j), i)
			if i >= frames*3/4 {
				r.Topic = 1
			}
			records = append(records, r)
		}
		appendRecords(t, s, &ack, records...)
		waitFor(t, func() bool { ack.mu.Lock(); defer ack.mu.Unlock(); return ack.done == ack.held })
	}
	_ = s.Close(ended())
	s = start(t, cluster(t, partitions, kfake.SeedTopics(partitions, "t2")), func(cfg *Config, d *Deps) {
		two(cfg, d)
		d.placingPatience = time.Hour // nothing has to be carried
	})
	waitFor(t, func() bool { return s.Stats().Delivered == frames*each })
	if end := closeSink(t, s); end.Spooled != 0 || len(end.Dropped) != 0 || end.PossibleDuplicates != 0 {
		t.Errorf("%+v", end)
	}
}

// The batch in doubt of a partition, and what came out of it, get frames before frames are placed behind them: later they could
// not, and would be in the way of large events until Kafka has them. What came behind them since gets none: it goes behind what is
// placed.
func TestWhatIsInDoubtGetsItsFrameBeforeOthersArePlaced(t *testing.T) {
	for _, parts := range []bool{false, true} {
		s, l, sp := benchOnDisk(t)
		first, second, later := holds(t, l, 1), holds(t, l, 1), holds(t, l, 1)
		s.topics[0].batches = 3
		first.bytesFinal = true
		if l.head, l.queue = first, []*batch{later}; parts {
			l.children = []*batch{second}
		} else {
			l.queue = []*batch{second, later}
		}

		q := sp.Queue("t", unassignedPartition)
		other := holds(t, &lane{topic: l.topic, partition: unassignedPartition}, 1)
		other.rb.SealUnstamped()
		frame := []diskqueue.Write{{Queue: q, Meta: diskqueue.Meta{Events: 1, Records: 1}, Batch: other.rb.Parts(nil), Checksum: other.rb.WireChecksum()}}
		if _, err := sp.Append(frame); err != nil {
			t.Fatal(err)
		}
		if err := s.spooler.placer.placeQueue(l.topic, q); err != nil {
			t.Fatal(err)
		}
		if first.pos == 0 || first.pos > l.disk.end || parts != (second.pos != 0) || later.pos != 0 || q.Tail() != 0 {
			t.Errorf("parts %v: frames at %v, %v, %v; placed up to %v, unplaced %v", parts, first.pos, second.pos, later.pos, l.disk.end, q.Tail())
		}
	}
}

// The spool has taken the first part of a batch and has no room for the second one, but for a frame that is to be placed behind
// them. The partition may be gone next time, and what has no frame then comes behind what has.
func TestNothingIsPlacedBehindAPartWithoutAFrame(t *testing.T) {
	sp, err := openTestSpool(t, t.TempDir(), 256<<10)()
	if err != nil {
		t.Fatal(err)
	}
	s, l, _ := benchOn(t, sp)
	framed, bare := holds(t, l, 1), holds(t, l, 1000)
	l.children, l.queue = l.queue, nil
	s.topics[0].batches = 2
	fill := func(q diskqueue.Queue, b *batch) (diskqueue.Pos, error) {
		b.rb.SealUnstamped()
		frame := []diskqueue.Write{{Queue: q, Meta: diskqueue.Meta{Events: 1, Records: 1}, Batch: b.rb.Parts(nil), Checksum: b.rb.WireChecksum()}}
		_, err := sp.Append(frame)
		return frame[0].Pos, err
	}
	q, other, elsewhere := sp.Queue("t", unassignedPartition), sp.Queue("other", 0), &lane{topic: l.topic}
	if _, err := fill(q, holds(t, elsewhere, 1)); err != nil {
		t.Fatal(err)
	}
	if framed.pos, err = fill(l.disk.q, framed); err != nil {
		t.Fatal(err)
	}
	var full diskqueue.Pos
	for err == nil {
		var pos diskqueue.Pos
		if pos, err = fill(other, holds(t, elsewhere, 100)); err == nil {
			full = pos
		}
	}

	err = s.spooler.placer.placeQueue(l.topic, q)
	if !isFull(err) || l.disk.any || bare.pos != 0 {
		t.Errorf("%v; behind frames on disk: %v; the part has one: %v", err, l.disk.any, bare.pos != 0)
	}
	if _, err := fill(other, holds(t, elsewhere, 1)); err != nil {
		t.Errorf("there was no room for what is small: %v", err)
	}
	if err := other.DoneSoon(full); err != nil {
		t.Fatal(err)
	}
	if err := s.spooler.placer.placeQueue(l.topic, q); err != nil || bare.pos == 0 || l.disk.end < bare.pos {
		t.Errorf("%v; the part has its frame at %d, placed up to %d", err, bare.pos, l.disk.end)
	}
}

// leaves puts one event into a queue of a spool, as an earlier process does.
func leaves(t *testing.T, disk *testDisk, topic string, partition int32) {
	t.Helper()
	sp, err := disk.Open()
	if err != nil {
		t.Fatal(err)
	}
	b := recordbatch.NewPrivateBatch(100)
	if !b.TryAppend(1, []byte("key"), []byte("event"), nil) {
		t.Fatal("it does not fit")
	}
	b.SealUnstamped()
	frame := []diskqueue.Write{{Queue: sp.Queue(topic, partition), Meta: diskqueue.Meta{Events: 1, Records: 1}, Batch: b.Parts(nil), Checksum: b.WireChecksum()}}
	if _, err := sp.Append(frame); err != nil {
		t.Fatal(err)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
}

// The disk fails to read an event that waits for its partition. It is read again, and what comes later goes behind it.
func TestAnEventThatCannotBeReadWhenItIsPlaced(t *testing.T) {
	t.Parallel()
	disk := newTestDisk(t)
	leaves(t, disk, "t", unassignedPartition)
	var opened atomic.Bool
	var failed atomic.Int32
	disk.fs.SetGate(func(op spooltest.Op, name string) error {
		if op == spooltest.OpRead && strings.HasSuffix(name, ".seg") && opened.Load() && failed.Add(1) <= 3 {
			return syscall.EIO
		}
		return nil
	})
	c := cluster(t, 1)
	s := start(t, c, func(_ *Config, d *Deps) {
		d.placingPatience = time.Nanosecond
		d.OpenSpool = func() (diskqueue.Spool, error) {
			sp, err := disk.Open()
			opened.Store(true)
			return sp, err
		}
	})
	waitFor(t, func() bool { return failed.Load() > 0 })
	appendRecords(t, s, nil, sink.Record{Key: []byte("key"), Value: []byte("later"), Timestamp: 2})
	waitFor(t, func() bool { return s.Stats().Delivered == 2 })
	got := consume(t, c, "t", 2)
	if string(got[0].Value) != "event" || failed.Load() <= 3 {
		t.Errorf("first %q; reads that failed: %d", got[0].Value, failed.Load())
	}
}
