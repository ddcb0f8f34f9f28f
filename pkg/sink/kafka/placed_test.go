package kafka

import (
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// hookedSpool calls before and after around each write of a frame that replaces another.
type hookedSpool struct {
	diskqueue.Spool
	before, after func()
}

func (h *hookedSpool) Append(f []diskqueue.Write) (int, error) {
	if f[0].Replaces == 0 {
		return h.Spool.Append(f)
	}
	h.before()
	defer h.after()
	return h.Spool.Append(f)
}

// A worker that gives what it sends a frame has gathered before frames are placed. Its frame does not come behind them: they
// would end with it.
func TestAWorkerDoesNotWriteBehindWhatIsPlaced(t *testing.T) {
	for _, when := range []string{"before it writes", "while it writes", "after a frame was placed"} {
		t.Run(when, func(t *testing.T) {
			s, l, sp := benchOnDisk(t)
			h := &hookedSpool{Spool: sp, before: func() {}, after: func() {}}
			s.disk.sp, s.disk.holding = h, false
			s.cfg.Settle, s.spooler.writer.fastDisk = SettleOnDisk, true
			w := s.sender.newWorker(l.broker)
			first := holds(t, l, 1)
			s.topics[0].batches, s.count.inFlight = 1, 1
			if !w.addLocked(l, time.Now()) {
				t.Fatal("the request is full")
			}
			q := sp.Queue("t", unassignedPartition)
			other := holds(t, &lane{topic: l.topic, partition: unassignedPartition}, 1)
			other.rb.SealUnstamped()
			frame := []diskqueue.Write{{Queue: q, Meta: diskqueue.Meta{Events: 1, Records: 1}, Batch: other.rb.Parts(nil), Checksum: other.rb.WireChecksum()}}
			if _, err := sp.Append(frame); err != nil {
				t.Fatal(err)
			}
			s.count.spooled, s.giveUpStuck = 1, func(*topic, int) int64 { return 0 }
			s.dead.core = &s.core
			s.roomMade, s.cfg.OversizeBytes, l.topic.limit = make(chan struct{}), 1<<20, 1<<20
			done := make(chan struct{})
			commit := func() {
				go func() { w.commit(); close(done) }()
				waitFor(t, func() bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					select {
					case <-done:
						return true
					default:
						return first.writing
					}
				})
			}
			place := func() {
				s.disk.holding = true
				for range 1000 {
					if s.spooler.placer.reroute(); l.disk.any {
						return
					}
					time.Sleep(time.Millisecond)
				}
				t.Fatal("nothing is placed")
			}
			switch when {
			case "before it writes":
				h.before = commit
				place()
			case "after a frame was placed":
				h.after = commit
				place()
			default:
				s.spooler.writer.writing.Lock() // as if the disk took its time
				commit()
				for range 10 {
					s.disk.holding = true
					s.spooler.placer.reroute()
				}
				if l.disk.any {
					t.Error("it was placed meanwhile")
				}
				s.spooler.writer.writing.Unlock()
				<-done
				place()
			}
			<-done
			if first.pos > l.disk.end {
				t.Errorf("the frame of what is sent first, %v, is behind what was placed, up to %v", first.pos, l.disk.end)
			}
			s.mu.Lock()
			l.head, l.busy = nil, false
			s.release(l.topic, first)
			s.later(s.finish(first, 0, nil)) // Kafka has it
			s.mu.Unlock()
			s.spooler.writer.endFrames()
			s.mu.Lock()
			defer s.mu.Unlock()
			l.checkDisk()
			if _, events, _ := l.disk.q.Len(); events != 1 || !l.disk.any {
				t.Errorf("what was placed has ended with it: %d events are left, any %v", events, l.disk.any)
			}
		})
	}
}

// Lanes go on while what a worker writes is waited for, however long that takes, and no longer are they held for a pause that is
// meant for what found no room.
func TestPlacingWaitsForWorkersWithoutHolding(t *testing.T) {
	s, l, _ := benchOnDisk(t)
	s.disk.holding, s.cfg.Settle = false, SettleOnDisk
	s.dead.core, s.giveUpStuck = &s.core, func(*topic, int) int64 { return 0 }
	s.roomMade, s.cfg.OversizeBytes, l.topic.limit = make(chan struct{}), 1<<20, 1<<20
	b := holds(t, l, 1)
	l.head, l.queue, l.busy, b.writing = b, nil, true, true
	s.topics[0].batches, s.count.inFlight = 1, 1
	p := &s.spooler.placer
	p.goesOn, p.retryAt = true, time.Now().Add(time.Hour)     // as reroute leaves it with what is carried
	s.disk.carried = []waiting{{&batch{lane: l, life: 1}, 0}} // it has arrived
	for range 3 {
		if p.reroute(); s.disk.holding {
			t.Fatal("all lanes are held")
		}
	}
	b.writing = false
	if p.reroute(); s.disk.holding || p.goesOn || s.spooler.writer.reserved {
		t.Errorf("it does not go on: holding %v", s.disk.holding)
	}
}
