package kafka

import (
	"fmt"
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// What came before the partitions were known goes through memory, because the disk takes nothing, and most of it belongs to
// a partition that cannot move. It goes elsewhere when it has filled its memory, and all that belongs to others arrives.
func TestWhatIsPlacedInMemoryForAPartitionThatCannotMove(t *testing.T) {
	t.Parallel()
	const events = 400
	for _, disk := range []struct {
		name string
		open error // of the spool
	}{{"full disk", nil}, {"no disk", errDisk}} {
		for _, tt := range []struct {
			name  string
			dead  bool // the dead-letter topic cannot move either
			block bool
		}{{"dead letters", false, false}, {"no dead letters", true, false}, {"block", false, true}} {
			t.Run(disk.name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				c := ownBrokers(t, map[string]int32{"t": 2, "t.dlq": 1})
				makeTopic(t, c, "t2", 1)
				places := []place{{"t", 0}}
				if tt.dead {
					places = append(places, place{"t.dlq", 0})
				}
				stuck := stick(c, places...)
				n := &line{}
				n.cut()
				s := stuckSink(t, c, func(cfg *Config, d *Deps) {
					cfg.BufferBytes, cfg.MoreTopics, cfg.Settle = 64*recordbatch.ChunkSize, three[1:2], SettleOnKafka
					cfg.MetadataTTL, d.Dial, d.placingPatience = 50*time.Millisecond, n.dial, time.Nanosecond
					if tt.block {
						cfg.StuckPartition = StuckBlock
					}
					open := openTestSpool(t, t.TempDir(), 64<<20)
					d.OpenSpool = func() (diskqueue.Spool, error) {
						if disk.open != nil {
							return nil, disk.open
						}
						sp, err := open()
						return &takesNothing{sp, diskqueue.ErrFull}, err
					}
				})
				var first, since ackCount
				pump(t, s, events, [][]string{keysOf(0, 2, 5)}, &first)
				pump(t, s, 10, [][]string{keysOf(1, 2, 5)}, &first)
				n.mend()
				// What the other topic acknowledges shows that the cluster works.
				others := 0
				more := func() {
					r := sink.Record{Topic: 1, Value: []byte("moves"), Timestamp: 1}
					if _, err := s.Append(patient(t), []sink.Record{r}, &since); err != nil {
						t.Fatal(err)
					}
					others++
				}
				if tt.block {
					waitFor(t, func() bool { more(); return s.Stats().Delivered > 100 && s.Metrics().PrivateBytes > 0 })
					if st := s.Stats(); st.DeadLettered != 0 || len(st.Dropped) != 0 {
						t.Errorf("%+v", st)
					}
				} else {
					waitFor(t, func() bool {
						more()
						s.mu.Lock()
						defer s.mu.Unlock()
						return len(s.topics[0].lanes) > 0 && s.topics[0].unassigned == nil // all is placed
					})
					waitFor(t, func() bool { return s.Stats().Delivered >= int64(10+others) })
				}
				stuck.on.Store(false)
				waitFor(t, func() bool { st := s.Stats(); return st.InFlight+st.Spooled == 0 })
				st := closeSink(t, s)
				lost := st.Dropped[DroppedUnavailable]
				first.check(t, int(lost))
				since.check(t, 0)
				if got := st.Delivered + st.DeadLettered + lost; got != int64(events+10+others) || len(st.Dropped) > 1 {
					t.Errorf("%d of %d: %+v", got, events+10+others, st)
				}
				if (lost > 0) != tt.dead || tt.block != (lost+st.DeadLettered == 0) {
					t.Errorf("%+v", st)
				}
				for _, r := range consume(t, c, "t.dlq", int(st.DeadLettered)) {
					if header(r, HeaderReason) != "partition_unavailable" || header(r, HeaderTopic) != "t" || header(r, headerPartition) != "0" || len(r.Key) == 0 {
						t.Fatalf("dead letter with key %q and headers %v", r.Key, r.Headers)
					}
				}
			})
		}
	}
}

// TestFewerPartitionsBesideOneThatCannotMove: what waits in memory for a partition that is no more finds no room beside what
// was placed there for one that cannot move, and no write has told yet whether the disk has any. What belongs to others
// arrives, whether it has or not.
func TestFewerPartitionsBesideOneThatCannotMove(t *testing.T) {
	t.Parallel()
	key := func(of3, of2 int) []string {
		for _, k := range keysOf(of3, 3, 100) {
			if recordbatch.Partition([]byte(k), 2) == of2 {
				return []string{k}
			}
		}
		panic("no such key")
	}
	for _, settle := range []Settle{SettleAtOnce, SettleOnKafka} {
		for _, full := range []bool{false, true} {
			t.Run(fmt.Sprint(settle, " full ", full), func(t *testing.T) {
				t.Parallel()
				c := ownBrokers(t, map[string]int32{"t": 3, "t.dlq": 1})
				makeTopic(t, c, "t2", 1)
				stuck := stick(c, place{"t", 0}, place{"t", 2})
				n := &line{}
				n.cut()
				s := stuckSink(t, c, func(cfg *Config, d *Deps) {
					cfg.OversizeBytes, cfg.MoreTopics, cfg.Settle = 5*recordbatch.ChunkSize/2, three[1:2], settle
					cfg.MetadataTTL, d.Dial = 50*time.Millisecond, n.dial
					open := openTestSpool(t, t.TempDir(), 64<<20)
					d.OpenSpool = func() (diskqueue.Spool, error) {
						sp, err := open()
						if full && err == nil {
							sp = &takesNothing{sp, diskqueue.ErrFull}
						}
						return sp, err
					}
				})
				var ack ackCount
				pump(t, s, 1, [][]string{key(0, 0)}, &ack) // is placed in memory
				n.mend()
				waitForFailure(t, s, func() *lane {
					if s.topics[0].lanes == nil {
						return &lane{}
					}
					return s.topics[0].lanes[0]
				})
				pump(t, s, 1, [][]string{key(0, 0), key(2, 0)}, &ack)
				waitForFailure(t, s, func() *lane { return s.topics[0].lanes[2] })
				pump(t, s, 1, [][]string{key(2, 0), key(2, 1)}, &ack) // is behind a batch in doubt
				remake(t, c.ListenAddrs(), "t", 2)
				others := 0
				waitFor(t, func() bool {
					r := sink.Record{Topic: 1, Value: []byte("moves"), Timestamp: 1}
					if _, err := s.Append(patient(t), []sink.Record{r}, &ack); err != nil {
						t.Fatal(err)
					}
					others++
					s.mu.Lock()
					defer s.mu.Unlock()
					lanes := s.topics[0].lanes
					return len(lanes) == 2 && !lanes[1].acked.IsZero()
				})
				stuck.on.Store(false)
				waitFor(t, func() bool { st := s.Stats(); return st.InFlight+st.Spooled == 0 })
				st := closeSink(t, s)
				ack.check(t, 0)
				if st.Delivered+st.DeadLettered != int64(5+others) || len(st.Dropped) != 0 {
					t.Errorf("%d others: %+v", others, st)
				}
			})
		}
	}
}
