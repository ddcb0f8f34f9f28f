package kafka

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

func TestTooLargeBatchesAreSplitUntilTheyFit(t *testing.T) {
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.Zstd} {
		c := cluster(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "2000"}))
		s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Linger, cfg.Codec = time.Hour, codec })
		var ack ackCount
		want := appendAll(t, s, 4000, 5, &ack)
		st := closeSink(t, s)
		ack.check(t, 0)
		if st.Delivered != 4000 || s.Metrics().Splits == 0 {
			t.Errorf("%v: stats %+v, %d splits", codec, st, s.Metrics().Splits)
		}
		checkKeyed(t, consume(t, c, "t", 4000), want)
	}
}

// Batches that a refusal has made small grow again, as far as the brokers are known to take them: the topic's setting may
// have been wrong for a moment, or one large record was in the batch.
func TestBatchesGrowAgainAfterARefusal(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, nil)
	topic := s.topics[0]
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: 1})
	if _, err := s.Append(patient(t), []sink.Record{record("a", 1), record("a", 2)}, nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.Stats().Delivered == 2 })
	limit := func() int { s.mu.Lock(); defer s.mu.Unlock(); return topic.limit }
	if limit() != minSplitLimit {
		t.Fatalf("%d bytes after a refusal", limit())
	}
	appended := 2
	growsTo := func(want int) {
		t.Helper()
		s.mu.Lock()
		topic.lowered = topic.lowered.Add(-growAfter) // it is so long ago
		s.mu.Unlock()
		for range 2 { // the second one finds that it has just grown
			appendAll(t, s, 1, 1, nil)
			appended++
			waitFor(t, func() bool { return s.Stats().Delivered == int64(appended) })
		}
		if limit() != want {
			t.Errorf("%d bytes, want %d", limit(), want)
		}
	}
	growsTo(2 * minSplitLimit)
	s.mu.Lock()
	for _, b := range s.brokers {
		b.bound.told = 3 * minSplitLimit
	}
	s.mu.Unlock()
	growsTo(3 * minSplitLimit)
	growsTo(3 * minSplitLimit)
	s.mu.Lock()
	for _, b := range s.brokers {
		b.bound.told = 0
	}
	topic.limit = s.cfg.BatchBytes - 1
	s.mu.Unlock()
	growsTo(s.cfg.BatchBytes)
	growsTo(s.cfg.BatchBytes)
}

func TestSingleTooLargeRecordGoesToTheDeadLetters(t *testing.T) {
	c := cluster(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "2000"}))
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Linger = time.Hour })
	setTopicConfig(t, c, "t.dlq", "max.message.bytes", "1000000")
	big := record("big", 1)
	big.Value = []byte(strings.Repeat("z", 5000))
	var ack ackCount
	ctx := patient(t)
	s.Append(ctx, []sink.Record{record("a", 1), big, record("a", 2)}, &ack)
	st := closeSink(t, s)
	ack.check(t, 0)
	if st.Delivered != 2 || st.DeadLettered != 1 {
		t.Errorf("stats %+v", st)
	}
	consume(t, c, "t", 2)
	d := consume(t, c, "t.dlq", 1)[0]
	if string(d.Value) != string(big.Value) || header(d, HeaderReason) != "too_large" || header(d, headerSize) != "5000" {
		t.Errorf("dead letter: %d bytes, headers %v", len(d.Value), d.Headers)
	}
}

func setTopicConfig(t *testing.T, c *kfake.Cluster, topic, name, value string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(patient(t), 1, 1, map[string]*string{name: &value}, topic); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedRecordsAreIsolated(t *testing.T) {
	c := cluster(t, 1)
	// The broker refuses every batch that holds the poison.
	c.ControlKey(0, func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		r := req.(*kmsg.ProduceRequest)
		for _, tp := range r.Topics {
			for _, p := range tp.Partitions {
				if tp.Topic == "t" && strings.Contains(string(p.Records), "poison") {
					res := r.ResponseKind().(*kmsg.ProduceResponse)
					res.Version = r.Version
					res.Topics = []kmsg.ProduceResponseTopic{{Topic: tp.Topic, Partitions: []kmsg.ProduceResponseTopicPartition{
						{Partition: p.Partition, ErrorCode: kerr.InvalidRecord.Code},
					}}}
					return res, nil, true
				}
			}
		}
		return nil, nil, false
	})
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Linger = time.Hour })
	ctx := patient(t)
	var ack ackCount
	for i := range 100 {
		r := record("k", i)
		if i == 37 || i == 90 {
			r.Value = fmt.Appendf(nil, "poison %d", i)
		}
		s.Append(ctx, []sink.Record{r}, &ack)
	}
	st := closeSink(t, s)
	ack.check(t, 0)
	if st.Delivered != 98 || st.DeadLettered != 2 {
		t.Errorf("stats %+v", st)
	}
	last := -1
	for _, r := range consume(t, c, "t", 98) {
		var n int
		fmt.Sscanf(string(r.Value), `{"traceId":"k","n":%d}`, &n)
		if n <= last {
			t.Fatalf("%d after %d", n, last)
		}
		last = n
	}
	for _, r := range consume(t, c, "t.dlq", 2) {
		if !strings.HasPrefix(string(r.Value), "poison") || header(r, HeaderReason) != "refused" {
			t.Errorf("dead letter %q %v", r.Value, r.Headers)
		}
	}
}

// Times of the events' own need not ascend: an old one behind a new one is not of the same time.
func TestRecordsOfTheSameTime(t *testing.T) {
	const hour = 3_600_000
	for _, c := range []struct {
		times []int64
		want  bool
	}{
		{[]int64{5 * hour}, true},
		{[]int64{5 * hour, 5*hour + 1000, 5 * hour}, true},
		{[]int64{5 * hour, 5*hour - 1000}, true},
		{[]int64{5 * hour, 4 * hour}, false},
		{[]int64{5 * hour, 4 * hour, 5 * hour}, false},
		{[]int64{4 * hour, 5 * hour}, false},
		{[]int64{5*hour - 900, 5 * hour, 5*hour - 1100}, false},
	} {
		b := &batch{rb: recordbatch.NewPrivateBatch(64 * len(c.times))}
		for _, at := range c.times {
			if !b.rb.TryAppend(at, nil, []byte("event"), nil) {
				t.Fatal("it does not fit")
			}
		}
		if got := b.sameTime(); got != c.want {
			t.Errorf("%v: %v", c.times, got)
		}
	}
}
