package kafka

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// TestClientsOfTheLobbyHearFromTheDisk: events that come before the partitions are known, and have no frame until they are
// placed, are told when all of their frames are durable, while Kafka acknowledges nothing.
func TestClientsOfTheLobbyHearFromTheDisk(t *testing.T) {
	for _, partitions := range []int32{1, 4} {
		c := cluster(t, partitions)
		c.ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			return nil, errors.New("cut"), true
		})
		n := &line{}
		n.cut()
		s, _ := spooling(t, c, t.TempDir(), func(cfg *Config, d *Deps) {
			cfg.Settle, cfg.Linger, d.Dial = SettleOnDisk, time.Hour, n.dial
		})
		var acks [20]ackCount
		for i := range acks {
			s.Append(patient(t), []sink.Record{record("a", i), record("b", i), record("c", i), record("d", i)}, &acks[i])
		}
		n.mend()
		waitFor(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.topics[0].lanes) > 0 && s.topics[0].unassigned == nil
		})
		s.Flush()
		waitFor(t, func() bool {
			for i := range acks {
				acks[i].mu.Lock()
				done := acks[i].held == acks[i].done
				acks[i].mu.Unlock()
				if !done {
					return false
				}
			}
			return true
		})
		if st := s.Stats(); st.Delivered != 0 {
			t.Errorf("%+v", st)
		}
		for i := range acks {
			acks[i].check(t, 0)
		}
		_ = s.Close(ended())
		if st := s.Stats(); st.Spooled != 80 {
			t.Errorf("%+v", st)
		}
	}
}

// TestPlacingKeepsItsMemory: what came before the partitions were known is placed within the memory beside the buffers,
// however many partitions and topics it goes to: through the disk, or step by step where that takes nothing.
func TestPlacingKeepsItsMemory(t *testing.T) {
	t.Parallel()
	const (
		partitions = 32
		rounds     = 1500 // of one event for each topic
		oversize   = 64 << 10
		batch      = 2 * recordbatch.ChunkSize
	)
	for _, tt := range []struct {
		name string
		fail error // of the disk
		open error // of the spool
	}{
		{"disk", nil, nil}, {"no disk", nil, errDisk}, {"broken disk", errDisk, nil}, {"full disk", diskqueue.ErrFull, nil},
	} {
		for _, settle := range []Settle{SettleAtOnce, SettleOnDisk, SettleOnKafka} {
			t.Run(fmt.Sprint(tt.name, " ", settle), func(t *testing.T) {
				t.Parallel()
				c := cluster(t, partitions, kfake.SeedTopics(partitions, "t2"))
				events := int64(2 * rounds)
				n := &line{}
				n.cut()
				s, _ := spooling(t, c, t.TempDir(), func(cfg *Config, d *Deps) {
					cfg.Settle, cfg.Linger, cfg.OversizeBytes, cfg.BatchBytes, cfg.BufferBytes = settle, time.Hour, oversize, batch, 4<<20
					cfg.MoreTopics, d.Dial = []string{"t2"}, n.dial
					open := d.OpenSpool
					d.OpenSpool = func() (diskqueue.Spool, error) {
						if tt.open != nil {
							return nil, tt.open
						}
						sp, err := open()
						if err == nil && tt.fail != nil {
							sp = &takesNothing{sp, tt.fail}
						}
						return sp, err
					}
				})
				var ack ackCount
				want := spreadOver(t, s, 0, rounds, 2, 997, &ack)
				n.mend()
				most := int64(0)
				waitFor(t, func() bool {
					s.Flush()
					most = max(most, s.Metrics().PrivateBytes)
					return s.Stats().Delivered == events
				})
				// One batch is placed in any case, before its own memory goes.
				if bound := int64(2 * (oversize + partitions*recordbatch.ChunkSize + 2*batch)); most > bound {
					t.Errorf("%d bytes beside the buffers, the bound is %d", most, bound)
				}
				if st := closeSink(t, s); st.Delivered != events || st.Spooled != 0 || st.PossibleDuplicates != 0 || len(st.Dropped) != 0 {
					t.Errorf("%+v", st)
				}
				ack.check(t, 0)
				checkKeyed(t, consume(t, c, "t", rounds), want[0])
				checkKeyed(t, consume(t, c, "t2", rounds), want[1])
			})
		}
	}
}

// takesNothing is a spool that cannot be written.
type takesNothing struct {
	diskqueue.Spool
	err error
}

func (s *takesNothing) Append([]diskqueue.Write) (int, error) { return 0, s.err }
func (s *takesNothing) Room(int64) error                      { return s.err }

// TestTheDiskFillsUpBeforePlacing: what came before the partitions were known does not fit beside the buffers, and the disk
// takes only a part of it. That part arrives before the rest, and nothing of it stays on disk until the next start.
func TestTheDiskFillsUpBeforePlacing(t *testing.T) {
	t.Parallel()
	const events = 1500
	for _, settle := range []Settle{SettleAtOnce, SettleOnDisk, SettleOnKafka} {
		for _, full := range []int{1, 1 << 30} { // so many writes fail
			t.Run(fmt.Sprint(settle, " ", full), func(t *testing.T) {
				t.Parallel()
				c := cluster(t, 8)
				n := &line{}
				n.cut()
				var filling *fillsUp
				s, _ := spooling(t, c, t.TempDir(), func(cfg *Config, d *Deps) {
					cfg.Settle, cfg.Linger, cfg.OversizeBytes, cfg.BatchBytes = settle, time.Hour, 32<<10, 2*recordbatch.ChunkSize
					cfg.BufferBytes, d.Dial, d.placingPatience = 4<<20, n.dial, time.Nanosecond
					open := d.OpenSpool
					d.OpenSpool = func() (diskqueue.Spool, error) {
						sp, err := open()
						filling = &fillsUp{Spool: sp, takes: 2, fails: full}
						return filling, err
					}
				})
				var ack ackCount
				want := spreadOver(t, s, 0, events, 1, 997, &ack)
				n.mend()
				waitFor(t, func() bool {
					s.Flush()
					return s.Stats().Delivered == events
				})
				if st := closeSink(t, s); st.Delivered != events || st.Spooled != 0 || len(st.Dropped) != 0 {
					t.Errorf("%+v", st)
				}
				if filling.fails == full {
					t.Error("the disk has not become full")
				}
				ack.check(t, 0)
				checkKeyed(t, consume(t, c, "t", events), want[0])
			})
		}
	}
}

// fillsUp is a spool that takes a few frames and is full then, for so many writes.
type fillsUp struct {
	diskqueue.Spool
	takes, fails int
}

func (s *fillsUp) Append(f []diskqueue.Write) (int, error) {
	if len(f) <= s.takes || s.fails == 0 {
		s.takes -= min(s.takes, len(f))
		return s.Spool.Append(f)
	}
	n, err := s.Spool.Append(f[:s.takes])
	if s.takes, s.fails = 0, s.fails-1; err == nil {
		err = diskqueue.ErrFull
	}
	return n, err
}

// TestFewerPartitionsWhileMemoryIsPlaced: a topic is made anew with fewer partitions while a part of what came before they
// were known is placed in memory, and the rest waits until that part has arrived. It is placed anew with the rest.
func TestFewerPartitionsWhileMemoryIsPlaced(t *testing.T) {
	t.Parallel()
	const events = 1500
	for _, partitions := range []int32{1, 3} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			t.Parallel()
			c := cluster(t, 8)
			var takes atomic.Bool
			c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				if takes.Load() {
					return nil, nil, false
				}
				return answerAll(r.(*kmsg.ProduceRequest), func(string, int32) int16 { return 7 }), nil, true // REQUEST_TIMED_OUT
			})
			n := &line{}
			n.cut()
			s, _ := spooling(t, c, t.TempDir(), func(cfg *Config, d *Deps) {
				cfg.Linger, cfg.OversizeBytes, cfg.BatchBytes, cfg.BufferBytes = time.Hour, 32<<10, 2*recordbatch.ChunkSize, 4<<20
				cfg.MetadataTTL, d.Dial = 100*time.Millisecond, n.dial
				open := d.OpenSpool
				d.OpenSpool = func() (diskqueue.Spool, error) {
					sp, err := open()
					return &takesNothing{sp, diskqueue.ErrFull}, err
				}
			})
			var ack ackCount
			want := spreadOver(t, s, 0, events, 1, 997, &ack)
			n.mend()
			waitFor(t, func() bool {
				s.Flush()
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.spooler.placer.goesOn
			})
			remake(t, c.ListenAddrs(), "t", partitions)
			takes.Store(true)
			waitFor(t, func() bool {
				s.Flush()
				return s.Stats().Delivered == events
			})
			if st := closeSink(t, s); st.Spooled != 0 || len(st.Dropped) != 0 {
				t.Errorf("%+v", st)
			}
			ack.check(t, 0)
			at, all := map[string]int{}, map[string]int{}
			for _, r := range consume(t, c, "t", events) {
				key := string(r.Key)
				in := fmt.Sprint(r.Partition, key) // a key may have moved before its first events were sent
				i := slices.Index(want[0][key], string(r.Value))
				if last, ok := at[in]; i < 0 || ok && i <= last {
					t.Errorf("key %s: record %d is in partition %d behind record %d", key, i, r.Partition, last)
				}
				at[in] = i
				all[key]++
			}
			for key, w := range want[0] {
				if all[key] != len(w) {
					t.Errorf("key %s: %d records, want %d", key, all[key], len(w))
				}
			}
		})
	}
}
