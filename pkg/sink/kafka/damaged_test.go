package kafka

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// Events that the disk has damaged are dropped, for everybody who asks: they do not wait any more.
func TestWhatTheDiskHasDamagedDoesNotWait(t *testing.T) {
	t.Parallel()
	const events = 5000
	c, disk := cluster(t, 2), newTestDisk(t)
	s, n := spooling(t, c, "", func(cfg *Config, d *Deps) {
		cfg.Headers, cfg.MarkInterval, d.OpenSpool = HeadersStandard, time.Hour, disk.Open
	})
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	n.cut()
	appendAll(t, s, events, 7, nil)
	waitFor(t, func() bool { return s.Stats().Spooled > events/2 })
	disk.Flip(20_000)
	n.mend()
	waitFor(t, func() bool { st := s.Stats(); return st.Delivered+st.Dropped[DroppedDamaged] == events })
	lost := s.Stats().Dropped[DroppedDamaged]
	if d := s.Delivery(); lost == 0 || d.Waiting != 0 || d.SpooledEvents != 0 {
		t.Errorf("of %d events %d are damaged, %d wait, %d on disk", events, lost, d.Waiting, d.SpooledEvents)
	}
	st := closeSink(t, s)
	balance(t, st, events)
	for _, r := range consume(t, c, "t", int(events-lost)+1) {
		m, ok := ParseMark(r.Value)
		if ok && (!m.Final || m.Open != 0 || m.Lost != lost) {
			t.Errorf("%+v, %d lost", m, lost)
		}
	}
}

// garblingSpool writes frames whose checksum is good and whose batch is none, every few of those that replace nothing.
type garblingSpool struct {
	diskqueue.Spool
	every, n int
}

func (g *garblingSpool) Append(frames []diskqueue.Write) (int, error) {
	for i := range frames {
		f := &frames[i]
		if g.n++; f.Replaces == 0 && g.n%g.every == 0 {
			f.Batch, f.Checksum = [][]byte{[]byte("no batch")}, 0
		}
	}
	return g.Spool.Append(frames)
}

// A frame that no version of this program can read, though the disk has kept it, is one that is damaged: it is counted, its
// source is told, and what is behind it goes on. So with frames that are read back and with those that are placed.
func TestAFrameWithoutABatch(t *testing.T) {
	t.Parallel()
	const events = 10_000
	for _, settle := range []Settle{SettleOnKafka, SettleAtOnce} {
		for _, name := range []string{"placed", "read back"} {
			t.Run(fmt.Sprint(name, " ", settle), func(t *testing.T) {
				t.Parallel()
				c, dir, acks := cluster(t, 2), t.TempDir(), &ackCount{}
				n := &line{}
				n.cut()
				s, _ := spooling(t, c, dir, func(cfg *Config, d *Deps) {
					cfg.Settle = settle
					open := d.OpenSpool
					d.OpenSpool = func() (diskqueue.Spool, error) {
						sp, err := open()
						return &garblingSpool{Spool: sp, every: 3}, err
					}
					d.Dial = n.dial
				})
				if name == "read back" { // else the partitions are not known yet
					n.mend()
					waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
				}
				n.cut()
				appendAll(t, s, events, 7, acks)
				waitFor(t, func() bool { return s.Stats().Spooled > events/4 })
				n.mend()
				waitFor(t, func() bool {
					st := s.Stats()
					return st.Delivered+st.Dropped[DroppedDamaged] == events && st.Spooled+st.InFlight == 0
				})
				st := closeSink(t, s)
				balance(t, st, events)
				lost := st.Dropped[DroppedDamaged]
				acks.mu.Lock()
				defer acks.mu.Unlock()
				if lost == 0 || acks.held != acks.done || settle == SettleOnKafka && int64(acks.lost) != lost {
					t.Errorf("%d events are damaged, their sources heard of %d, %d of %d acks are told", lost, acks.lost, acks.done, acks.held)
				}
			})
		}
	}
}

// Of the frames that wait for their partitions the first one is damaged. The others are placed and delivered, and who
// waits for them hears that.
func TestADamagedFrameAmongTheUnassigned(t *testing.T) {
	t.Parallel()
	c, disk := cluster(t, 2), newTestDisk(t)
	net := &line{}
	net.down.Store(true)
	s, _ := spooling(t, c, "", func(cfg *Config, d *Deps) {
		cfg.Settle, d.OpenSpool, d.Dial = SettleOnKafka, disk.Open, net.dial
	})
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.disk.sp != nil })
	const events = 1000
	var ack ackCount
	for range events {
		appendRecords(t, s, &ack, sink.Record{Key: []byte("k"), Value: make([]byte, 500), Timestamp: begin})
	}
	waitFor(t, func() bool { return s.Stats().Spooled > events/2 })
	if !disk.Flip(200) {
		t.Fatal("there is no frame")
	}
	net.mend()
	waitFor(t, func() bool { st := s.Stats(); return st.Spooled+st.InFlight == 0 })
	waitFor(t, ack.all)
	st := s.Stats()
	balance(t, st, events)
	if lost := st.Dropped[DroppedDamaged]; lost == 0 || lost > 100 || int64(ack.lost) != lost {
		t.Errorf("%d events were lost, and sources were told of %d: %+v", lost, ack.lost, st)
	}
}

// The last of the frames that wait for their partitions is damaged, while those before it are carried in memory and cannot move,
// because the disk is full and their partition fails. Who waits for it hears that it is lost, and the others that theirs arrive.
func TestTheLastUnassignedFrameIsDamagedWhileOthersAreCarried(t *testing.T) {
	t.Parallel()
	c, disk, net := ownBrokers(t, map[string]int32{"t": 2}), newTestDisk(t), &line{}
	stuck := stick(c, place{"t", 0})
	net.cut()
	s, _ := spooling(t, c, "", func(cfg *Config, d *Deps) {
		quickLooks(cfg, d)
		cfg.Settle, cfg.OversizeBytes = SettleOnKafka, 64*recordbatch.ChunkSize
		d.OpenSpool, d.Dial, d.placingPatience, d.stuckAfter = disk.Open, net.dial, time.Nanosecond, 100*time.Millisecond
	})
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.disk.sp != nil })
	const events = 1000
	var ack ackCount
	key := []byte(keysOf(0, 2, 1)[0])
	for range events {
		appendRecords(t, s, &ack, sink.Record{Key: key, Value: make([]byte, 500), Timestamp: begin})
	}
	waitFor(t, func() bool { return s.Stats().Spooled > events/2 })
	disk.Limit(0)
	s.mu.Lock()
	last := s.topics[0].unassigned.disk.q.Tail()
	s.mu.Unlock()
	for _, name := range disk.fs.Names() {
		if strings.Contains(name, fmt.Sprintf("/%08x-", last.Segment())) {
			disk.fs.Flip(name, last.Offset()+200)
		}
	}
	net.mend()
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.topics[0].unassigned == nil && len(s.topics[0].lanes) == 2
	})
	stuck.on.Store(false)
	waitFor(t, func() bool { st := s.Stats(); return st.Spooled+st.InFlight == 0 })
	waitFor(t, ack.all)
	st := closeSink(t, s)
	balance(t, st, events)
	if lost := st.Dropped[DroppedDamaged]; lost == 0 || lost > 100 || int64(ack.lost) != lost {
		t.Errorf("%d events were lost, and sources were told of %d: %+v", lost, ack.lost, st)
	}
}

// Records that do not fit into the batch that was made for them, as a frame may have that others wrote, are an error: nothing of
// them is left out without a word.
func TestRecordsThatDoNotFit(t *testing.T) {
	t.Parallel()
	s := start(t, cluster(t, 1), nil)
	waitFor(t, func() bool { return s.Ready() == nil })
	s.mu.Lock()
	defer s.mu.Unlock()
	size := 0
	_, err := s.regroup(s.topics[0], 1, func(yield func(int64, []byte, []byte, []sink.Header) bool) error {
		size += 2 * recordbatch.ChunkSize // more the second time
		yield(begin, []byte("k"), make([]byte, size), nil)
		return nil
	})
	if err == nil {
		t.Error("a record was left out, and there is no error")
	}
}
