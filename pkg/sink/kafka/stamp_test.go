package kafka

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/pkg/sink"
)

// A stamp that was sent is never given to other bytes, whatever happens in between.
func TestAStampIsGivenOnce(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var s stamps
		current := producer{id: 7, gen: 1}
		if seed%3 == 0 {
			current.epoch = math.MaxInt16 - int16(rng.IntN(4))
		}
		given := map[stamp]int{} // by the batch that got it
		next := map[producer]int32{}
		for batch := range 500 {
			for !s.ready(current) {
				current = producer{id: current.id + 1, gen: current.gen + 1}
			}
			st := s.give(current)
			if other, ok := given[st]; ok {
				t.Fatalf("seed %d: batch %d got the stamp %+v of batch %d", seed, batch, st, other)
			}
			if want := next[st.producer]; st.seq != want {
				t.Fatalf("seed %d: batch %d has sequence %d, the broker expects %d", seed, batch, st.seq, want)
			}
			n := 1 + rng.IntN(500)
			switch rng.IntN(8) {
			case 0: // its frame could not be read: it was not sent
				s.withdraw(st)
				continue
			case 1: // refused after an answer was lost, dropped, taken apart
				s.abandon(st)
			case 2: // the broker fences it
				s.forget(st.gen)
			case 3: // something that came from another process; not ours
				inherited := stamp{producer: producer{id: st.id, epoch: st.epoch}, seq: st.seq}
				s.acked(inherited, n)
				s.abandon(inherited)
				fallthrough
			default:
				s.acked(st, n)
				s.acked(st, n) // an answer that comes twice
				next[st.producer] = int32((int64(st.seq) + int64(n)) & math.MaxInt32)
			}
			given[st] = batch
		}
	}
}

// A broker that knows an epoch takes a higher one only with sequence 0, and refuses lower ones.
func TestEpochsOnlyGoUp(t *testing.T) {
	var s stamps
	last := s.give(producer{id: 1, gen: 1})
	for range 5 {
		s.acked(last, 3)
		st := s.give(producer{id: 1, gen: 1})
		s.abandon(st)
		if last = s.give(producer{id: 1, gen: 1}); last.epoch != st.epoch+1 || last.seq != 0 || last.id != 1 {
			t.Fatalf("%+v after %+v", last, st)
		}
	}
}

func TestAnIDEndsWithItsLastEpoch(t *testing.T) {
	var s stamps
	old := producer{id: 1, epoch: math.MaxInt16, gen: 1}
	s.abandon(s.give(old))
	if s.ready(old) {
		t.Fatal("an epoch beyond 32,767")
	}
	if st := s.give(producer{id: 2, gen: 2}); st.id != 2 || st.epoch != 0 || st.seq != 0 {
		t.Errorf("%+v", st)
	}
}

func TestSequencesWrap(t *testing.T) {
	var s stamps
	p := producer{id: 1, gen: 1}
	s.give(p)
	s.next.seq = math.MaxInt32 - 1
	s.acked(s.next, 3)
	if st := s.give(p); st.seq != 1 {
		t.Errorf("sequence %d behind %d and 3 records", st.seq, math.MaxInt32-1)
	}
}

// Two batches with stamps that are out would be a bug of the caller: the second one might be taken for the first.
func TestGivingTwoAtOnceIsCaught(t *testing.T) {
	defer func() {
		if r := fmt.Sprint(recover()); r != "kafka: a partition has two batches in doubt" {
			t.Error(r)
		}
	}()
	var s stamps
	s.give(producer{id: 1, gen: 1})
	s.give(producer{id: 1, gen: 1})
}

// The disk fails to write the stamp of a batch in doubt that was to get a frame; the next batch of the partition gets
// that place, and not that stamp: the broker would take it for the first one.
func TestAStampOfAFrameThatWasNotWritten(t *testing.T) {
	t.Parallel()
	c, disk := cluster(t, 1), newTestDisk(t)
	var noFrames, noCursors atomic.Bool
	var refusedCursors atomic.Int32
	disk.fs.SetGate(func(op spooltest.Op, name string) error {
		switch {
		case op != spooltest.OpWrite:
		case noFrames.Load() && strings.HasSuffix(name, ".seg"):
			return syscall.EIO
		case noCursors.Load() && strings.HasSuffix(name, "cursors"):
			refusedCursors.Add(1)
			return syscall.EIO
		}
		return nil
	})
	thief := &answerThief{}
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Settle, d.OpenSpool, d.Dial = SettleOnDisk, disk.Open, thief.dial
		cfg.RequestTimeout = time.Second
		d.fastSync = speed(true)
	})
	waitFor(t, func() bool { return s.Ready() == nil && !s.held() })
	appendRecords(t, s, nil, record("k", 0)) // the partition has a cursor, and an id
	waitFor(t, func() bool { return s.Stats().Delivered == 1 })
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.topics[0].lanes[0].disk.closing })

	// b goes without a frame, because the disk fails, and its answers are lost. Then the disk takes frames, but not b's stamp.
	at := func(text string) sink.Record {
		return sink.Record{Key: []byte("k"), Value: []byte(text), Timestamp: begin + 1}
	}
	l := s.topics[0].lanes[0]
	noFrames.Store(true)
	thief.armed.Store(1 << 20)
	appendRecords(t, s, nil, at("b"))
	waitFor(t, func() bool { return thief.stolen.Load() >= 1 })
	noCursors.Store(true)
	noFrames.Store(false)
	waitFor(t, func() bool { return refusedCursors.Load() > 0 })
	thief.armed.Store(0)
	waitFor(t, func() bool { return s.Stats().Delivered == 2 })
	noCursors.Store(false)
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.disk.err == nil })
	s.mu.Lock()
	l.retryAt = time.Now().Add(time.Hour) // the partition waits: its broker's workers are busy, or it has no leader
	s.mu.Unlock()
	var ack ackCount
	appendRecords(t, s, &ack, at("c"))
	waitFor(t, ack.all) // c is durable: its client has its answer
	s.Close(ended())

	next := start(t, c, func(cfg *Config, d *Deps) { cfg.Settle, d.OpenSpool = SettleOnDisk, disk.Open })
	waitFor(t, func() bool { st := next.Stats(); return st.InFlight+st.Spooled == 0 && st.Delivered == 1 })
	var got []string
	for _, r := range consume(t, c, "t", int(c.PartitionInfos("t")[0].HighWatermark)) {
		got = append(got, string(r.Value))
	}
	if !strings.Contains(strings.Join(got, " "), "c") || len(got) != 3 {
		t.Errorf("c was answered and counted as delivered, and the topic has %q", got)
	}
}
