package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

func TestDeliversEachOnceInOrder(t *testing.T) {
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.Gzip, recordbatch.Snappy, recordbatch.LZ4, recordbatch.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			c := cluster(t, 4)
			s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Codec = codec })
			var ack ackCount
			want := appendAll(t, s, 5000, 37, &ack)
			st := closeSink(t, s)
			if st.Delivered != 5000 || st.PossibleDuplicates != 0 || !st.Idempotent {
				t.Errorf("stats %+v", st)
			}
			ack.check(t, 0)
			checkKeyed(t, consume(t, c, "t", 5000), want)
		})
	}
}

func TestKeysGoWhereTheJavaClientPutsThem(t *testing.T) {
	c := cluster(t, 7)
	s := start(t, c, nil)
	appendAll(t, s, 500, 100, nil)
	closeSink(t, s)
	p := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	for _, r := range consume(t, c, "t", 500) {
		if want := p.Partition(&kgo.Record{Key: r.Key}, 7); int(r.Partition) != want {
			t.Fatalf("key %s in partition %d, want %d", r.Key, r.Partition, want)
		}
	}
}

// Records with the key of the one before take a shorter way; a batch that is full in their midst, keyless
// records and empty keys between them must not lead them astray.
func TestRunsOfOneKeyGoWhereEachWouldGo(t *testing.T) {
	const n = 600
	c := cluster(t, 7)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.BatchBytes = recordbatch.ChunkSize })
	var recs []sink.Record
	for run := 0; len(recs) < n; run++ {
		key := fmt.Appendf(nil, "key-%d", run%11)
		switch run % 5 {
		case 2:
			key = nil
		case 3:
			key = []byte{}
		}
		for range 1 + run%9 {
			value := fmt.Appendf(make([]byte, 0, 2000), "%06d", len(recs))
			recs = append(recs, sink.Record{Key: bytes.Clone(key), Value: value[:cap(value)], Timestamp: 1})
		}
	}
	recs = recs[:n]
	for i := 0; i < n; i += 60 {
		if _, err := s.Append(patient(t), recs[i:i+60], nil); err != nil {
			t.Fatal(err)
		}
	}
	closeSink(t, s)
	p := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	last := map[int32]string{}
	for _, r := range consume(t, c, "t", n) {
		if r.Key != nil && int(r.Partition) != p.Partition(&kgo.Record{Key: r.Key}, 7) {
			t.Fatalf("key %q in partition %d", r.Key, r.Partition)
		}
		if at := string(r.Value[:6]); at <= last[r.Partition] {
			t.Fatalf("record %s behind %s in partition %d", at, last[r.Partition], r.Partition)
		} else {
			last[r.Partition] = at
		}
	}
}

func TestHeadersTimestampsAndNilKeys(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, nil)
	ctx := patient(t)
	s.Append(ctx, []sink.Record{
		{Value: []byte("a"), Timestamp: 1000, Headers: []sink.Header{{Key: "h", Value: []byte("v")}, {Key: "n"}}},
		{Key: []byte{}, Value: []byte("b"), Timestamp: 900},
	}, nil)
	closeSink(t, s)
	recs := consume(t, c, "t", 2)
	if recs[0].Key != nil || recs[0].Timestamp.UnixMilli() != 1000 || header(recs[0], "h") != "v" || len(recs[0].Headers) != 2 {
		t.Errorf("first record: %+v", recs[0])
	}
	if recs[1].Timestamp.UnixMilli() != 900 || string(recs[1].Value) != "b" {
		t.Errorf("second record: %+v", recs[1])
	}
}

func TestKeylessSpreadsOverPartitionsByBatch(t *testing.T) {
	c := cluster(t, 4)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.BatchBytes = recordbatch.ChunkSize; cfg.Linger = time.Hour })
	big := strings.Repeat("x", 4000)
	for range 64 {
		s.Append(patient(t), []sink.Record{{Value: []byte(big), Timestamp: 1}}, nil)
	}
	closeSink(t, s)
	count := map[int32]int{}
	for _, r := range consume(t, c, "t", 64) {
		count[r.Partition]++
	}
	if len(count) != 4 {
		t.Errorf("keyless records in %d of 4 partitions: %v", len(count), count)
	}
}

// Requests seal all lanes in turn; that must not carry the keyless records round to where they were.
func TestKeylessSpreadsBetweenKeyedRecords(t *testing.T) {
	c := cluster(t, 4)
	s := start(t, c, nil)
	for round := range 40 {
		recs := []sink.Record{record("", round)}
		for i := range 20 {
			recs = append(recs, record(fmt.Sprintf("key-%d", i), round))
		}
		if _, err := s.Append(patient(t), recs, nil); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return s.Stats().Delivered == int64((round+1)*len(recs)) })
	}
	closeSink(t, s)
	count := map[int32]int{}
	for _, r := range consume(t, c, "t", 40*21) {
		if r.Key == nil {
			count[r.Partition]++
		}
	}
	for p := range int32(4) {
		if count[p] < 5 {
			t.Errorf("40 keyless records, one per batch, over 4 partitions: %v", count)
			break
		}
	}
}

func TestKeylessInstanceKeepsOneOrder(t *testing.T) {
	c := cluster(t, 4)
	s := start(t, c, func(cfg *Config, _ *Deps) {
		cfg.Keyless, cfg.Instance, cfg.BatchBytes = KeylessInstance, "pool22-300-128", recordbatch.ChunkSize
	})
	for i := range 3000 {
		s.Append(patient(t), []sink.Record{record("", i)}, nil)
	}
	closeSink(t, s)
	recs := consume(t, c, "t", 3000)
	for i, r := range recs {
		if r.Partition != recs[0].Partition || string(r.Value) != string(record("", i).Value) {
			t.Fatalf("record %d: partition %d (want %d), value %s", i, r.Partition, recs[0].Partition, r.Value)
		}
	}
}

func TestManyPartitionsInFewBuffersDoNotStall(t *testing.T) {
	c := cluster(t, 256)
	// 40 chunks for 256 partitions: most of the time somebody must give way.
	s := start(t, c, func(cfg *Config, _ *Deps) {
		cfg.BatchBytes, cfg.BufferBytes, cfg.Linger = recordbatch.ChunkSize, 40*recordbatch.ChunkSize, time.Hour
	})
	var ack ackCount
	want := appendAll(t, s, 20000, 1000, &ack)
	closeSink(t, s)
	ack.check(t, 0)
	checkKeyed(t, consume(t, c, "t", 20000), want)
}

func TestOversizeRecordsGetTheirOwnBatch(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.BatchBytes = recordbatch.ChunkSize })
	big := strings.Repeat("y", 200_000)
	var ack ackCount
	for i := range 30 {
		v := fmt.Sprint(i)
		if i%3 == 0 {
			v += big
		}
		if _, err := s.Append(patient(t), []sink.Record{{Key: []byte("k"), Value: []byte(v), Timestamp: 1}}, &ack); err != nil {
			t.Fatal(err)
		}
	}
	closeSink(t, s)
	ack.check(t, 0)
	for i, r := range consume(t, c, "t", 30) {
		if !strings.HasPrefix(string(r.Value), fmt.Sprint(i)) {
			t.Fatalf("record %d out of order: %.20s", i, r.Value)
		}
	}
}

func TestWaitsForRoomAndGivesUpWithItsContext(t *testing.T) {
	c := cluster(t, 1)
	// Nothing is ever answered, so two batches fill the buffers.
	c.ControlKey(0, hold(t, c))
	s := start(t, c, func(cfg *Config, _ *Deps) {
		cfg.BatchBytes, cfg.BufferBytes = recordbatch.ChunkSize, 2*recordbatch.ChunkSize
	})
	waitFor(t, func() bool { return s.Ready() == nil }) // else it waits for the partitions, not for room
	ctx, cancel := context.WithCancel(patient(t))
	taken := make(chan int, 1)
	go func() {
		n := 0
		for {
			if _, err := s.Append(ctx, []sink.Record{record("k", n)}, nil); err != nil {
				taken <- n
				return
			}
			n++
		}
	}()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.waiting == 1 })
	cancel()
	n := <-taken
	if st := s.Stats(); st.InFlight != int64(n) {
		t.Errorf("in flight %d, appended %d", st.InFlight, n)
	}
	if _, err := s.Append(ended(), []sink.Record{record("k", 0)}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("append with an ended context and no room: %v", err)
	}
	if err := s.Close(ended()); !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
	if st := s.Stats(); st.Dropped[sink.DroppedShutdown] != int64(n) || st.InFlight != 0 {
		t.Errorf("after close: %+v, appended %d", st, n)
	}
	if _, err := s.Append(patient(t), []sink.Record{record("k", 0)}, nil); !errors.Is(err, sink.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}

func TestCloseTellsWhoWaitsThatItsEventsAreLost(t *testing.T) {
	c := cluster(t, 1)
	c.ControlKey(0, hold(t, c))
	s := start(t, c, nil)
	var ack ackCount
	appendAll(t, s, 10, 1, &ack)
	s.Close(ended())
	ack.check(t, 10)
}

func TestReadyNamesWhatIsMissing(t *testing.T) {
	c := cluster(t, 2)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Topic = "absent" })
	waitFor(t, func() bool { err := s.Ready(); return err != nil && strings.Contains(err.Error(), "absent") })
	ok := start(t, c, nil)
	waitFor(t, func() bool { return ok.Ready() == nil })
}

func TestCreatesItsTopicWhenAsked(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Topic, cfg.CreateTopic, cfg.TopicPartitions = "new", true, 3 })
	want := appendAll(t, s, 300, 30, nil)
	closeSink(t, s)
	checkKeyed(t, consume(t, c, "new", 300), want)
}

func TestFlushDoesNotWaitForLinger(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Linger = time.Hour })
	waitFor(t, func() bool { return s.Ready() == nil })
	appendAll(t, s, 1, 1, nil)
	s.Flush()
	waitFor(t, func() bool { return s.Stats().Delivered == 1 })
}

func TestSASL(t *testing.T) {
	for _, mech := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mech, func(t *testing.T) {
			c := cluster(t, 1, kfake.EnableSASL(), kfake.Superuser(mech, "user", "secret"))
			s := start(t, c, func(cfg *Config, _ *Deps) { cfg.SASL = SASL{mech, "user", "secret"} })
			appendAll(t, s, 10, 1, nil)
			if st := closeSink(t, s); st.Delivered != 10 {
				t.Errorf("stats %+v", st)
			}
			bad := start(t, c, func(cfg *Config, _ *Deps) { cfg.SASL = SASL{mech, "user", "wrong"} })
			waitFor(t, func() bool {
				err := bad.Ready()
				return err != nil && !strings.Contains(err.Error(), "connecting")
			})
			t.Log("wrong password:", bad.Ready())
		})
	}
}

// waitFor polls a condition that another goroutine will make true.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	ctx := patient(t)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the condition never came true")
		}
	}
}
