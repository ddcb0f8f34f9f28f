package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// refusePoison makes the broker refuse every batch of topic t that holds the word poison, after gate has
// let the answer go.
func refusePoison(c *kfake.Cluster, gate <-chan struct{}) {
	c.ControlKey(0, func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		r := req.(*kmsg.ProduceRequest)
		for _, tp := range r.Topics {
			for _, p := range tp.Partitions {
				if tp.Topic != "t" || !strings.Contains(string(p.Records), "poison") {
					continue
				}
				c.SleepControl(func() { <-gate })
				res := r.ResponseKind().(*kmsg.ProduceResponse)
				res.Version = r.Version
				res.Topics = []kmsg.ProduceResponseTopic{{Topic: tp.Topic, Partitions: []kmsg.ProduceResponseTopicPartition{
					{Partition: p.Partition, ErrorCode: kerr.InvalidRecord.Code},
				}}}
				return res, nil, true
			}
		}
		return nil, nil, false
	})
}

func forbidTopics(c *kfake.Cluster) {
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.TopicAuthorizationFailed, Count: -1})
}

// What is behind a refused record must be sent although no append and no other lane wakes the workers.
func TestLaneGoesOnAfterItsRefusedRecordIsBuried(t *testing.T) {
	c := cluster(t, 1)
	forbidTopics(c) // else the new dead-letter topic's lane would wake them
	gate := make(chan struct{})
	refusePoison(c, gate)
	s := start(t, c, nil)
	s.Append(patient(t), []sink.Record{{Key: []byte("k"), Value: []byte("poison"), Timestamp: 1}}, nil)
	waitFor(t, func() bool { return s.Metrics().Requests == 1 })
	s.Append(patient(t), []sink.Record{record("k", 1)}, nil)
	// The second worker must have gone to sleep, so that only a signal can wake it.
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.topics[0].lanes[0].broker.parked })
	close(gate)
	waitFor(t, func() bool { return s.Stats().Delivered == 1 })
}

// A split that found no memory is tried again by itself.
func TestSplitThatFoundNoMemoryIsTriedAgain(t *testing.T) {
	c := cluster(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "2000"}))
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Linger = 50 * time.Millisecond })
	waitFor(t, func() bool { return s.Ready() == nil })
	s.mu.Lock()
	s.topics[0].childBytes += 1 << 30
	s.mu.Unlock()
	appendAll(t, s, 100, 5, nil)
	waitFor(t, func() bool { return s.Metrics().Retries > 2 })
	s.mu.Lock()
	s.topics[0].childBytes -= 1 << 30
	s.mu.Unlock()
	waitFor(t, func() bool { return s.Stats().Delivered == 100 })
}

// The memory for a split must not be held by what is behind it in its own lane.
func TestSplitDoesNotWaitForTheOversizeRecordBehindIt(t *testing.T) {
	c := cluster(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "2000"}))
	setTopicConfig(t, c, "t.dlq", "max.message.bytes", "1000000")
	s := start(t, c, func(cfg *Config, _ *Deps) {
		cfg.BatchBytes, cfg.OversizeBytes, cfg.Linger = recordbatch.ChunkSize, 1, time.Hour
	})
	appendAll(t, s, 100, 5, nil)
	big := sink.Record{Key: []byte("k"), Value: []byte(strings.Repeat("z", 20_000)), Timestamp: 1}
	s.Append(patient(t), []sink.Record{big}, nil)
	if st := closeSink(t, s); st.Delivered != 100 || st.DeadLettered != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestCloseAgainAfterGivingUpReturns(t *testing.T) {
	c := cluster(t, 1)
	c.ControlKey(0, hold(t, c))
	s := start(t, c, nil)
	appendAll(t, s, 10, 1, nil)
	s.Close(ended())
	if err := s.Close(patient(t)); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// A batch behind one that is under way is flushed, too.
func TestFlushReachesWhatIsBehindABusyLane(t *testing.T) {
	c := cluster(t, 1)
	gate := make(chan struct{})
	var once atomic.Bool
	c.ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if once.CompareAndSwap(false, true) {
			c.SleepControl(func() { <-gate })
		}
		return nil, nil, false
	})
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Linger = time.Hour })
	waitFor(t, func() bool { return s.Ready() == nil })
	s.Append(patient(t), []sink.Record{record("k", 1)}, nil)
	s.Flush()
	waitFor(t, func() bool { return s.Metrics().Requests == 1 })
	s.Append(patient(t), []sink.Record{record("k", 2)}, nil)
	s.Flush()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.topics[0].lanes[0].broker.parked })
	close(gate)
	waitFor(t, func() bool { return s.Stats().Delivered == 2 })
}

// What was flushed before there was a leader goes out when there is one.
func TestFlushBeforeTheLeaderIsKnown(t *testing.T) {
	c := cluster(t, 1)
	f := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TopLevel: true, Err: kerr.CoordinatorLoadInProgress, Count: -1})
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Linger = time.Hour })
	s.Append(patient(t), []sink.Record{record("k", 1)}, nil)
	s.Flush()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.topics[0].lanes[0].broker.parked })
	f.Remove()
	waitFor(t, func() bool { return s.Stats().Delivered == 1 })
}

// One partition that waits for its replicas must not make the answer for all others come too late.
func TestBrokerGivesUpBeforeWeDo(t *testing.T) {
	c := cluster(t, 1)
	var asked atomic.Int32
	c.ControlKey(0, func(req kmsg.Request) (kmsg.Response, error, bool) {
		asked.Store(req.(*kmsg.ProduceRequest).TimeoutMillis)
		return nil, nil, false
	})
	s := start(t, c, nil)
	appendAll(t, s, 1, 1, nil)
	closeSink(t, s)
	if limit := s.cfg.RequestTimeout.Milliseconds(); int64(asked.Load()) > limit/2 || asked.Load() <= 0 {
		t.Errorf("the broker may take %d ms, we wait for %d ms", asked.Load(), limit)
	}
}

// The pool's memory that compression frees is room for those who wait.
func TestCompressionMakesRoom(t *testing.T) {
	c := cluster(t, 1)
	c.ControlKey(0, hold(t, c))
	s := start(t, c, func(cfg *Config, _ *Deps) {
		cfg.BatchBytes, cfg.BufferBytes, cfg.Codec = 4*recordbatch.ChunkSize, 8*recordbatch.ChunkSize, recordbatch.Snappy
		cfg.Linger, cfg.RequestTimeout = time.Hour, time.Hour
	})
	// All but the last record fit; it waits until the first batch is compressed.
	v := []byte(strings.Repeat("x", 15_000))
	for range 9 {
		if _, err := s.Append(patient(t), []sink.Record{{Key: []byte("k"), Value: v, Timestamp: 1}}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// When the buffers run short, to seal what cannot be sent makes no room.
func TestLaneWithoutLeaderIsNotTheOneThatMakesRoom(t *testing.T) {
	c := cluster(t, 2)
	s := start(t, c, func(cfg *Config, _ *Deps) {
		cfg.BatchBytes, cfg.BufferBytes, cfg.Linger = 8*recordbatch.ChunkSize, 16*recordbatch.ChunkSize, time.Hour
	})
	waitFor(t, func() bool { return s.Ready() == nil })
	s.mu.Lock()
	s.lead(s.topics[0].lanes[0], nil)
	s.mu.Unlock()
	var keys [2][]byte
	for i := byte('a'); keys[0] == nil || keys[1] == nil; i++ {
		keys[recordbatch.Partition([]byte{i}, 2)] = []byte{i}
	}
	put := func(p int) {
		t.Helper()
		r := sink.Record{Key: keys[p], Value: []byte(strings.Repeat("x", 16_000)), Timestamp: 1}
		if _, err := s.Append(patient(t), []sink.Record{r}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 13 { // one full batch and a chunk each for five more records
		put(0)
	}
	for range 30 {
		put(1)
	}
}

// Errors that a broken or half-configured cluster gives for ever must not become a stream of requests.
func TestRenewalsInARowPause(t *testing.T) {
	c := cluster(t, 1)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.OutOfOrderSequenceNumber, Count: -1})
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.RetryMin, cfg.RetryMax = time.Hour, time.Hour })
	appendAll(t, s, 1, 1, nil)
	waitFor(t, func() bool { return s.Metrics().Renewals == 2 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := time.Until(s.topics[0].lanes[0].retryAt); d < 20*time.Minute {
		t.Errorf("the second renewal in a row pauses %v", d)
	}
}

// Codes from before do not make one damaged transmission a refusal of the content.
func TestCorruptAfterOtherFailuresIsSentAgain(t *testing.T) {
	c := cluster(t, 1)
	c.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NetworkException, Count: 4},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.CorruptMessage, Count: 1},
	)
	s := start(t, c, nil)
	appendAll(t, s, 10, 1, nil)
	if st := closeSink(t, s); st.Delivered != 10 || st.DeadLettered != 0 {
		t.Errorf("stats %+v", st)
	}
	if n := s.Metrics().Splits; n != 0 {
		t.Errorf("%d splits", n)
	}
}

// A broker that calls everything corrupt for a while, dead letters too, keeps good events from it, and no more.
func TestABrokerThatIsIllForAWhile(t *testing.T) {
	t.Parallel()
	for _, settle := range []Settle{SettleOnKafka, SettleOnDisk} {
		t.Run(fmt.Sprint(settle), func(t *testing.T) {
			t.Parallel()
			c := cluster(t, 2)
			fault := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.CorruptMessage, Count: -1})
			s, _ := spooling(t, c, t.TempDir(), func(cfg *Config, _ *Deps) { cfg.Settle = settle })
			appendAll(t, s, 100, 7, nil)
			waitFor(t, func() bool { // each partition has met it more often than bytes are damaged on their way
				s.mu.Lock()
				defer s.mu.Unlock()
				return !slices.ContainsFunc(s.topics[0].lanes, func(l *lane) bool { return l.failures <= maxCorrupt })
			})
			fault.Remove()
			if st := closeSink(t, s); st.Delivered != 100 || st.DeadLettered != 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// A dead-letter topic that calls a letter corrupt, as old brokers do with one without a key where the topic is compacted, does
// not keep what is behind it for ever, while the cluster takes good events.
func TestADeadLetterThatIsCalledCorrupt(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1, kfake.SeedTopics(1, "t.dlq"))
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		poisoned := slices.ContainsFunc(req.Topics, func(p kmsg.ProduceRequestTopic) bool {
			return p.Topic == "t.dlq" && strings.Contains(string(p.Partitions[0].Records), "{poison")
		})
		return answerAll(req, func(topic string, _ int32) int16 {
			if topic == "t.dlq" {
				return kerr.CorruptMessage.Code
			}
			return kerr.NotEnoughReplicas.Code // what is in the same request is sent again
		}), nil, poisoned
	})
	s := start(t, c, func(cfg *Config, d *Deps) { cfg.Codec, d.stuckAfter = recordbatch.None, 50*time.Millisecond })
	for _, raw := range []string{"{poison", "{"} {
		if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: []byte(raw), Reason: "bad"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	waitFor(t, func() bool {
		appendRecords(t, s, nil, record("k", n))
		n++
		st := s.Stats()
		return st.DeadLettered == 1 && st.Dropped[droppedDeadRefused] == 1
	})
	closeSink(t, s)
}

func TestShrunkenTopicForgetsThatItGrew(t *testing.T) {
	c := cluster(t, 2)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Linger = time.Hour })
	waitFor(t, func() bool { return s.Ready() == nil })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster.applyLocked(s.topics[0], leaders{brokers: []int32{0, 0, 0, 0}})
	s.cluster.applyLocked(s.topics[0], leaders{brokers: []int32{0, 0}})
	if s.topics[0].grow != 0 {
		t.Errorf("two partitions again, and lanes for %d are still to come", s.topics[0].grow)
	}
}

var errDisk = errors.New("disk full")

// deadLetters gives n dead letters of about 1 KB to the sink.
func queuedDeadLetters(t *testing.T, s *Sink, n int, ack sink.Ack) {
	t.Helper()
	raw := slices.Repeat([]byte("b"), 1000)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range n {
		if err := s.DeadLetter(ctx, &sink.DeadLetter{Raw: raw, Reason: "bad_value"}, ack); err != nil {
			t.Fatalf("dead letter %d: %v", i, err)
		}
	}
}
