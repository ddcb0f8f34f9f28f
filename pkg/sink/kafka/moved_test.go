package kafka

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
)

// deadPlaces lets partitions of the dead-letter topic take nothing.
func deadPlaces(c *kfake.Cluster, bad *[2]atomic.Bool) {
	onProduce(c, func(topic string, p *kmsg.ProduceRequestTopicPartition) bool {
		return topic == "t.dlq" && bad[p.Partition].Load()
	})
}

func badRecord(n int) sink.Record { return badKeyed("k", n) }

func badKeyed(key string, n int) sink.Record {
	r := record(key, n)
	r.Value = append(r.Value, " bad"...)
	return r
}

// A dead letter that goes to another partition was never sent there: its frame is not one in doubt, under the stamp that it
// had in the first one.
func TestTheFrameOfADeadLetterThatHasMoved(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1, kfake.SeedTopics(2, "t.dlq"))
	disk := newTestDisk(t)
	fillAtBad(c, disk)
	refuseBad(c, true)
	var bad [2]atomic.Bool
	bad[0].Store(true)
	bad[1].Store(true)
	deadPlaces(c, &bad)
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Settle, cfg.Linger, d.OpenSpool, d.stuckAfter = SettleOnDisk, 5*time.Millisecond, disk.Open, time.Hour
	})
	appendRecords(t, s, nil, badRecord(0))
	var from, to *lane
	waitFor(t, func() bool { // it was sent; the other one waits for something
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.dead.lanes) < 2 {
			return false
		}
		from, to = s.dead.lanes[0], s.dead.lanes[1]
		if from.failures == 0 {
			from, to = to, from
		}
		if from.failures > 0 {
			to.disk.closing, s.deps.stuckAfter = true, 100*time.Millisecond
		}
		return to.disk.closing
	})
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(to.queue) == 1 })
	disk.Limit(1 << 40)
	s.mu.Lock()
	s.spooler.writer.diskFailsLocked(nil)
	wake(s.disk.kick)
	s.mu.Unlock()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return to.queue[0].pos != 0 })
	if pos, stamp, ok := to.disk.q.Doubt(); ok {
		t.Errorf("frame %d is in doubt under %+v", pos, stamp)
	}
	bad[1].Store(false)
	bad[0].Store(false)
	s.mu.Lock()
	to.disk.closing = false
	to.signal()
	s.mu.Unlock()
	waitFor(t, func() bool { return s.Stats().DeadLettered == 1 })
}

// movedAway is a sink with two partitions for dead letters, of which the first has failed, so that a dead letter went to the
// other one. It takes all again, as the disk does; bad makes them refuse.
func movedAway(t *testing.T, stuckAfter time.Duration) (s *Sink, bad *[2]atomic.Bool) {
	c, disk := cluster(t, 1, kfake.SeedTopics(2, "t.dlq")), newTestDisk(t)
	fillAtBad(c, disk)
	refuseBad(c, true)
	bad = &[2]atomic.Bool{}
	deadPlaces(c, bad)
	s = start(t, c, func(cfg *Config, d *Deps) {
		cfg.Settle, cfg.Linger, d.OpenSpool, d.stuckAfter = SettleOnDisk, 5*time.Millisecond, disk.Open, stuckAfter
	})
	bad[0].Store(true)
	appendRecords(t, s, nil, badRecord(0), record("k", 1))
	waitFor(t, func() bool { st := s.Stats(); return st.DeadLettered == 1 && st.Delivered == 1 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead.lanes[0].failures == 0 {
		t.Fatal("it did not begin in the first partition")
	}
	bad[0].Store(false)
	disk.Limit(1 << 40)
	s.spooler.writer.diskFailsLocked(nil)
	return s, bad
}

// A partition of the dead-letter topic that took nothing some time ago is tried again before a dead letter is dropped.
func TestADeadLetterGoesBackToAPartitionThatHasRecovered(t *testing.T) {
	t.Parallel()
	s, bad := movedAway(t, 100*time.Millisecond)
	bad[1].Store(true)
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return time.Since(s.dead.lanes[0].retryAt) > 2*s.deps.stuckAfter && s.disk.err == nil
	})
	appendRecords(t, s, nil, badRecord(2), record("k", 3))
	waitFor(t, func() bool { st := s.Stats(); return st.Spooled+st.InFlight == 0 })
	if st := s.Stats(); st.DeadLettered != 2 || len(st.Dropped) != 0 {
		t.Errorf("%+v", st)
	}
}

// Where nothing is taken at all, a partition that has nothing to send does not tell that the cluster works: dead letters
// wait as everything does. So where its last batch was a record that became a dead letter.
func TestAnIdlePartitionDoesNotTellThatTheClusterWorks(t *testing.T) {
	t.Parallel()
	for _, refusal := range []bool{false, true} {
		t.Run(fmt.Sprint(refusal), func(t *testing.T) {
			t.Parallel()
			c := cluster(t, 2, kfake.SeedTopics(1, "t.dlq"))
			refuseBad(c, false)
			s := start(t, c, func(cfg *Config, d *Deps) { cfg.MetadataTTL, d.stuckAfter = 100*time.Millisecond, 100*time.Millisecond })
			keys := []string{keysOf(0, 2, 1)[0], keysOf(1, 2, 1)[0]}
			appendRecords(t, s, nil, record(keys[0], 0), record(keys[1], 0))
			waitFor(t, func() bool { return s.Stats().Delivered == 2 })
			dead := int64(1)
			if refusal {
				bad := record(keys[1], 1)
				bad.Value = append(bad.Value, " bad"...)
				appendRecords(t, s, nil, bad)
				waitFor(t, func() bool { return s.Stats().DeadLettered == 1 })
				dead++
			}
			fault := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
			appendRecords(t, s, nil, record(keys[0], 1))
			if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: []byte("{"), Reason: "bad"}, nil); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				long := func(l *lane) bool { return !l.stuckSince.IsZero() && time.Since(l.stuckSince) > 5*s.deps.stuckAfter }
				return long(s.topics[0].lanes[0]) && long(s.dead.lanes[0])
			})
			s.mu.Lock()
			if s.room.deadGone() {
				t.Error("the dead letters are given up though nothing can move")
			}
			s.mu.Unlock()
			fault.Remove()
			waitFor(t, func() bool { st := s.Stats(); return st.Delivered == 3 && st.DeadLettered == dead })
		})
	}
}

// A partition of the dead-letter topic that a dead letter was taken away from long ago does not count as failing since then:
// when the other one begins to fail, the topic is not gone at once.
func TestADeadPartitionThatWasLeft(t *testing.T) {
	t.Parallel()
	s, bad := movedAway(t, 500*time.Millisecond)
	bury := func() {
		if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: []byte("{"), Reason: "bad"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { // all is well for a while
		s.mu.Lock()
		defer s.mu.Unlock()
		return time.Since(s.dead.lanes[0].retryAt) > 2*s.deps.stuckAfter
	})
	bury()
	waitFor(t, func() bool { return s.Stats().InFlight+s.Stats().Spooled == 0 })
	bad[1].Store(true)
	s.mu.Lock()
	s.dead.sticky = 1
	s.mu.Unlock()
	bury()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.dead.lanes[1].failures > 0 })
	s.mu.Lock()
	if l := s.dead.lanes[1]; s.room.deadGone() && time.Since(l.stuckSince) < s.deps.stuckAfter {
		t.Errorf("the topic counts as gone %v after its last partition has failed; the other one takes what it gets, and was last asked %v ago",
			time.Since(l.stuckSince), time.Since(s.dead.lanes[0].retryAt))
	}
	s.mu.Unlock()
	bad[1].Store(false)
	waitFor(t, func() bool { return s.Stats().InFlight+s.Stats().Spooled == 0 })
}
