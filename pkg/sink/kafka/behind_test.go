package kafka

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// refuseByContent answers requests with the code of the first batch for which there is one; other requests go through.
// The dead-letter topic refuses nothing for good.
func refuseByContent(c *kfake.Cluster, code func(records string) *kerr.Error) {
	c.ControlKey(0, func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		r := req.(*kmsg.ProduceRequest)
		for _, tp := range r.Topics {
			for _, p := range tp.Partitions {
				err := code(string(p.Records))
				if tp.Topic != "t" && err != kerr.NotEnoughReplicas || err == nil {
					continue
				}
				res := r.ResponseKind().(*kmsg.ProduceResponse)
				res.Version = r.Version
				res.Topics = []kmsg.ProduceResponseTopic{{Topic: tp.Topic, Partitions: []kmsg.ProduceResponseTopicPartition{
					{Partition: p.Partition, ErrorCode: err.Code},
				}}}
				return res, nil, true
			}
		}
		return nil, nil, false
	})
}

// fillTwice appends twice what memory holds.
func fillTwice(t *testing.T, s *Sink, key string, from int) (want []string) {
	t.Helper()
	pad := strings.Repeat("x", 1000)
	for i := range int(2 * s.cfg.BufferBytes / 1000) {
		r := record(key, from+i)
		r.Value = append(r.Value, pad...)
		want = append(want, string(r.Value))
		if took, err := s.Append(patient(t), []sink.Record{r}, nil); err != nil || took != 1 {
			t.Fatalf("append %d beside an empty disk: took %d, %v", i, took, err)
		}
	}
	return want
}

// TestRoomIsMadeBehindPartsThatWait: a batch was refused and taken apart, and its parts cannot be sent now. What is behind
// them goes to disk, and comes back behind them.
func TestRoomIsMadeBehindPartsThatWait(t *testing.T) {
	t.Parallel()
	for _, settle := range []Settle{SettleAtOnce, SettleOnDisk, SettleOnKafka} {
		t.Run(fmt.Sprint(settle), func(t *testing.T) {
			t.Parallel()
			c := cluster(t, 1)
			var unwell atomic.Bool
			unwell.Store(true)
			refuseByContent(c, func(records string) *kerr.Error {
				good, poison := strings.Contains(records, "good"), strings.Contains(records, "poison")
				switch {
				case poison && (good || !unwell.Load()):
					return kerr.InvalidRecord
				case unwell.Load():
					return kerr.NotEnoughReplicas
				}
				return nil
			})
			s, _ := spooling(t, c, t.TempDir(), func(cfg *Config, _ *Deps) { cfg.Settle = settle })
			r := []sink.Record{{Key: []byte("k"), Value: []byte("good"), Timestamp: 1}, {Key: []byte("k"), Value: []byte("poison"), Timestamp: 1}}
			if _, err := s.Append(patient(t), r, nil); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.topics[0].lanes) == 1 && len(s.topics[0].lanes[0].children) == 1
			})
			want := append([]string{"good"}, fillTwice(t, s, "k", 0)...)
			unwell.Store(false)
			waitFor(t, func() bool { return s.Stats().InFlight == 0 && s.Stats().Spooled == 0 })
			st := closeSink(t, s)
			balance(t, st, int64(len(want)+1))
			if st.Delivered != int64(len(want)) || st.DeadLettered != 1 {
				t.Errorf("%d appended: %+v", len(want)+1, st)
			}
			checkKeyed(t, consume(t, c, "t", len(want)), map[string][]string{"k": want})
		})
	}
}

// TestWhatGoesBeforeFramesGoesWithout: the spool is opened late and holds frames of an earlier process. A batch that was
// sent before goes before them and cannot have a frame, nor can its parts. What is behind the frames goes to disk all the
// same, and nothing is lost when the batch, or its part, ends.
func TestWhatGoesBeforeFramesGoesWithout(t *testing.T) {
	t.Parallel()
	for _, settle := range []Settle{SettleAtOnce, SettleOnDisk, SettleOnKafka} {
		for _, refused := range []bool{false, true} {
			t.Run(fmt.Sprint(settle, " ", refused), func(t *testing.T) {
				t.Parallel()
				c := cluster(t, 1)
				dir := t.TempDir()
				old, n := spooling(t, c, dir, func(cfg *Config, _ *Deps) { cfg.Settle = settle })
				waitFor(t, func() bool { return old.Ready() == nil })
				n.cut()
				late := fillTwice(t, old, "old", 0)
				_ = old.Close(ended())
				if st := old.Stats(); st.Spooled != int64(len(late)) {
					t.Fatalf("%+v", st)
				}

				const well, unwell, refuses = 0, 1, 2
				var state atomic.Int32
				state.Store(unwell)
				refuseByContent(c, func(records string) *kerr.Error {
					first := strings.Contains(records, "first") && strings.Contains(records, "second")
					switch state.Load() {
					case unwell:
						return kerr.NotEnoughReplicas
					case refuses:
						if first {
							return kerr.InvalidRecord
						}
						return kerr.NotEnoughReplicas
					}
					return nil
				})
				var there atomic.Bool
				s, _ := spooling(t, c, dir, func(cfg *Config, d *Deps) {
					cfg.Settle = settle
					open := d.OpenSpool
					d.OpenSpool = func() (diskqueue.Spool, error) {
						if !there.Load() {
							return nil, errDisk
						}
						return open()
					}
				})
				r := []sink.Record{{Key: []byte("k"), Value: []byte("first"), Timestamp: 1}, {Key: []byte("k"), Value: []byte("second"), Timestamp: 1}}
				if _, err := s.Append(patient(t), r, nil); err != nil {
					t.Fatal(err)
				}
				waitFor(t, func() bool { return s.Metrics().Retries > 0 })
				there.Store(true)
				waitFor(t, func() bool { return s.Stats().Recovered > 0 })
				if refused {
					state.Store(refuses)
					waitFor(t, func() bool { return s.Metrics().Splits > 0 })
				}
				want := append([]string{"first", "second"}, fillTwice(t, s, "k", 0)...)
				state.Store(well)
				waitFor(t, func() bool { return s.Stats().InFlight == 0 && s.Stats().Spooled == 0 })
				st := closeSink(t, s)
				balance(t, st, int64(len(want)))
				if st.Delivered != int64(len(want)+len(late)) {
					t.Errorf("%d appended, %d recovered: %+v", len(want), len(late), st)
				}
				checkKeyed(t, consume(t, c, "t", len(want)+len(late)), map[string][]string{"k": want, "old": late})
			})
		}
	}
}

// TestPartsHearFromTheDiskOrFromKafka: with --ack=disk a batch was sent without a frame, because the disk failed, and was
// taken apart. Its client hears when each of its parts is on disk or in Kafka, whichever is first.
func TestPartsHearFromTheDiskOrFromKafka(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		takes string // batches with this word alone reach Kafka while the disk fails
		last  bool   // the record that is refused is alone: it becomes a dead letter before the disk works
	}{
		"all on disk":          {"-", false},
		"one is in Kafka":      {"good", false},
		"one is a dead letter": {"good", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := cluster(t, 1)
			refuseByContent(k, func(records string) *kerr.Error {
				good, poison := strings.Contains(records, "good"), strings.Contains(records, "poison")
				switch {
				case strings.Contains(records, ReasonLoss) || strings.Contains(records, HeaderReason):
					return kerr.NotEnoughReplicas // a dead letter
				case poison && (good || c.last):
					return kerr.InvalidRecord
				case good && c.takes == "good":
					return nil
				}
				return kerr.NotEnoughReplicas
			})
			b := &switchSpool{}
			b.fail(errDisk)
			s, _ := spooling(t, k, t.TempDir(), func(cfg *Config, d *Deps) { cfg.Settle = SettleOnDisk; switched(b)(cfg, d) })
			var ack ackCount
			r := []sink.Record{{Key: []byte("k"), Value: []byte("good"), Timestamp: 1}, {Key: []byte("k"), Value: []byte("poison"), Timestamp: 1}}
			if _, err := s.Append(patient(t), r, &ack); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				dead := len(s.dead.lanes[0].queue) > 0 || s.dead.lanes[0].head != nil || s.dead.lanes[0].open != nil
				return s.sender.splits.Load() > 0 && (c.takes != "good" || s.count.delivered == 1) && dead == c.last
			})
			ack.mu.Lock()
			heard := ack.done == ack.held
			ack.mu.Unlock()
			if heard {
				t.Fatal("its client has heard before all of its events are safe")
			}
			b.fail(nil)
			waitFor(t, func() bool { ack.mu.Lock(); defer ack.mu.Unlock(); return ack.done == ack.held })
			ack.check(t, 0)
		})
	}
}
