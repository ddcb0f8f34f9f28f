package kafka

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
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

// hold makes every produce request wait until the test ends.
func hold(t *testing.T, c *kfake.Cluster) func(kmsg.Request) (kmsg.Response, error, bool) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	return func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		c.SleepControl(func() { <-release })
		return nil, errors.New("cut"), true
	}
}

func TestClassTable(t *testing.T) {
	for code, want := range map[int16]class{
		0: classOK, 46: classOK,
		3: classRefresh, 5: classRefresh, 6: classRefresh, 72: classRefresh, 74: classRefresh, 9: classRefresh, 75: classRefresh,
		7: classRetry, 13: classRetry, 14: classRetry, 15: classRetry, 19: classRetry, 20: classRetry, 56: classRetry, 89: classRetry,
		10: classSplit, 87: classDeadLetter, 32: classDeadLetter, 45: classRenew, 47: classRenew, 59: classRenew,
		17: classConfig, 29: classConfig, 31: classConfig, 35: classConfig, 43: classConfig, 58: classConfig, 76: classConfig,
	} {
		if c, known := classOf(code, 1); c != want || !known {
			t.Errorf("code %d: %v (known %v), want %v", code, c, known, want)
		}
	}
	if c, known := classOf(2, maxCorrupt-1); c != classRetry || !known {
		t.Errorf("corrupt for the first times: %v", c)
	}
	if c, _ := classOf(2, maxCorrupt); c != classDeadLetter {
		t.Errorf("corrupt for the third time: %v", c)
	}
	if c, known := classOf(9999, 1); c != classRetry || known {
		t.Errorf("unknown code: %v, known %v; want retry with an alarm", c, known)
	}
}

// Every retriable code, a few times each: nothing lost, doubled or out of order.
func TestRetriesEveryRetriableCode(t *testing.T) {
	for _, e := range []*kerr.Error{
		kerr.CorruptMessage, kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable, kerr.NotLeaderForPartition, kerr.RequestTimedOut,
		kerr.NetworkException, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.KafkaStorageError, kerr.UnknownServerError,
		kerr.TopicAuthorizationFailed, kerr.ThrottlingQuotaExceeded,
	} {
		t.Run(e.Message, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, 3)
			f := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: e, Count: 2})
			defer f.Remove()
			s := start(t, c, nil)
			var ack ackCount
			want := appendAll(t, s, 300, 20, &ack)
			st := closeSink(t, s)
			ack.check(t, 0)
			if st.Delivered != 300 || st.PossibleDuplicates != 0 {
				t.Errorf("stats %+v", st)
			}
			checkKeyed(t, consume(t, c, "t", 300), want)
		})
	}
}

// The broker appends and the answer is lost: the second copy is recognised.
func TestLostAnswersAreSuppressed(t *testing.T) {
	c := cluster(t, 3)
	var n atomic.Int32
	s := start(t, c, func(cfg *Config, d *Deps) {
		d.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &cutter{Conn: nc, n: &n}, err
		}
	})
	var ack ackCount
	want := map[string][]string{}
	for wave := range 40 { // many requests, so that many answers can be lost
		for i := range 100 {
			r := record(fmt.Sprintf("key-%03d", i%50), wave*100+i)
			want[string(r.Key)] = append(want[string(r.Key)], string(r.Value))
			s.Append(patient(t), []sink.Record{r}, &ack)
		}
		waitFor(t, func() bool { return s.Stats().Delivered >= int64(wave*100) })
	}
	st := closeSink(t, s)
	ack.check(t, 0)
	// The embedded broker does not give the append time of the first copy, so DuplicatesSuppressed is
	// tested against a real one, in test/.
	if s.Metrics().Retries == 0 || st.Delivered != 4000 || st.PossibleDuplicates != 0 {
		t.Errorf("stats %+v, %d retries: want resends and nothing in doubt", st, s.Metrics().Retries)
	}
	checkKeyed(t, consume(t, c, "t", 4000), want)
}

// cutter closes the connection in place of some answers. Small answers only: metadata passes.
type cutter struct {
	net.Conn
	n *atomic.Int32
}

func (c *cutter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && c.n.Add(1) > 12 && rand.IntN(5) == 0 {
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// A peer that takes requests and never answers must not hold a batch beyond RequestTimeout, and the
// buffer that was abandoned to it is sent again with the same bytes.
func TestSilentBrokerIsLeftAfterTheRequestTimeout(t *testing.T) {
	c := cluster(t, 1)
	var silent atomic.Bool
	silent.Store(true)
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.RequestTimeout = 300 * time.Millisecond
		d.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &mute{Conn: nc, on: &silent}, err
		}
	})
	silent.Store(false)
	waitFor(t, func() bool { return s.Ready() == nil })
	silent.Store(true)
	appendAll(t, s, 10, 1, nil)
	waitFor(t, func() bool { return s.Metrics().Retries >= 1 })
	silent.Store(false)
	if st := closeSink(t, s); st.Delivered != 10 || st.PossibleDuplicates != 0 {
		t.Errorf("stats %+v", st)
	}
	consume(t, c, "t", 10)
}

// mute swallows what is written while on.
type mute struct {
	net.Conn
	on *atomic.Bool
}

func (m *mute) Write(p []byte) (int, error) {
	if m.on.Load() {
		return len(p), nil
	}
	return m.Conn.Write(p)
}

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
	if string(d.Value) != string(big.Value) || header(d, headerReason) != "too_large" || header(d, headerSize) != "5000" {
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
		if !strings.HasPrefix(string(r.Value), "poison") || header(r, headerReason) != "refused" {
			t.Errorf("dead letter %q %v", r.Value, r.Headers)
		}
	}
}

func TestLostProducerStateIsRenewedAndCounted(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.InvalidProducerEpoch, kerr.UnknownProducerID} {
		t.Run(e.Message, func(t *testing.T) {
			c := cluster(t, 2)
			s := start(t, c, nil)
			first := appendAll(t, s, 100, 10, nil)
			waitFor(t, func() bool { return s.Stats().Delivered == 100 })
			f := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: e, Count: 1})
			defer f.Remove()
			var ack ackCount
			for i := range 10 {
				r := record("key-000", 1000+i)
				first["key-000"] = append(first["key-000"], string(r.Value))
				s.Append(patient(t), []sink.Record{r}, &ack)
			}
			st := closeSink(t, s)
			ack.check(t, 0)
			if st.Delivered != 110 || s.Metrics().Renewals == 0 {
				t.Errorf("stats %+v, %d renewals", st, s.Metrics().Renewals)
			}
			checkKeyed(t, consume(t, c, "t", 110), first)
		})
	}
}

func TestProducerIDRefused(t *testing.T) {
	refuse := func(c *kfake.Cluster) {
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TopLevel: true, Err: kerr.ClusterAuthorizationFailed, Count: -1})
	}
	t.Run("require", func(t *testing.T) {
		c := cluster(t, 1)
		refuse(c)
		s := start(t, c, nil)
		appendAll(t, s, 1, 1, nil)
		waitFor(t, func() bool { err := s.Ready(); return err != nil && strings.Contains(err.Error(), "idempotence") })
		if st := s.Stats(); st.Delivered != 0 {
			t.Errorf("delivered without a producer id: %+v", st)
		}
	})
	t.Run("prefer", func(t *testing.T) {
		c := cluster(t, 1)
		refuse(c)
		s := start(t, c, func(cfg *Config, _ *Deps) { cfg.PreferIdempotence = true })
		want := appendAll(t, s, 100, 10, nil)
		if st := closeSink(t, s); st.Delivered != 100 || st.Idempotent {
			t.Errorf("stats %+v", st)
		}
		checkKeyed(t, consume(t, c, "t", 100), want)
	})
}

// A producer that the broker may have forgotten is taken silently, so its resends are counted first.
func TestResendAfterProducerExpiryIsCounted(t *testing.T) {
	c := cluster(t, 1)
	f := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 1})
	defer f.Remove()
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.RetryMin, cfg.RetryMax = 30*time.Millisecond, 60*time.Millisecond })
	waitFor(t, func() bool { return s.Ready() == nil })
	s.mu.Lock()
	s.expiry = 10 * time.Millisecond
	s.mu.Unlock()
	appendAll(t, s, 5, 1, nil)
	if st := closeSink(t, s); st.PossibleDuplicates != 5 {
		t.Errorf("possible duplicates %d, want 5", st.PossibleDuplicates)
	}
}

func TestLeaderMovesUnderLoad(t *testing.T) {
	c := cluster(t, 6, kfake.NumBrokers(3))
	s := start(t, c, nil)
	stop := make(chan struct{})
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				c.MoveTopicPartition("t", int32(i%6), int32(rand.IntN(3)))
			}
		}
	}()
	var ack ackCount
	want := appendAll(t, s, 20000, 100, &ack)
	close(stop)
	<-moved
	st := closeSink(t, s)
	ack.check(t, 0)
	if st.Delivered != 20000 || st.PossibleDuplicates != 0 {
		t.Errorf("stats %+v", st)
	}
	checkKeyed(t, consume(t, c, "t", 20000), want)
}

func TestPartitionGrowthDrainsFirst(t *testing.T) {
	c := cluster(t, 2)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.MetadataTTL = 100 * time.Millisecond })
	appendAll(t, s, 200, 20, nil)
	cl, _ := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreatePartitions(patient(t), 3, "t"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.main.grow == 5 || len(s.main.lanes) == 5 })
	appendAll(t, s, 200, 20, nil)
	if st := closeSink(t, s); st.Delivered != 400 {
		t.Errorf("stats %+v", st)
	}
	seen := map[int32]bool{}
	for _, r := range consume(t, c, "t", 400) {
		seen[r.Partition] = true
	}
	if len(seen) != 5 {
		t.Errorf("records in %d partitions, want 5", len(seen))
	}
}

func TestDeadLetters(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, nil)
	var ack ackCount
	raw := []byte(`{"name":"x",}`)
	if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: raw, Reason: "bad_structure", Offset: 7, ErrorOffset: 19, BodyID: 42, Timestamp: 5}, &ack); err != nil {
		t.Fatal(err)
	}
	st := closeSink(t, s)
	ack.check(t, 0)
	if st.DeadLettered != 1 {
		t.Errorf("stats %+v", st)
	}
	r := consume(t, c, "t.dlq", 1)[0]
	for key, want := range map[string]string{headerReason: "bad_structure", headerOffset: "7", headerErrorOffset: "19", headerSize: "13", headerBodyID: "42"} {
		if got := header(r, key); got != want {
			t.Errorf("header %s = %q, want %q", key, got, want)
		}
	}
	if string(r.Value) != string(raw) {
		t.Errorf("value %q", r.Value)
	}
}

func TestHugeDeadLetterIsSetAsideAndANoticeSent(t *testing.T) {
	raw := []byte(strings.Repeat("no json ", 300_000))
	sum := sha256.Sum256(raw)
	for _, works := range []bool{true, false} {
		c := cluster(t, 1)
		var kept []byte
		s := start(t, c, func(_ *Config, d *Deps) {
			d.SetAside = func(raw []byte, got [32]byte) error {
				if !works {
					return errors.New("disk full")
				}
				if got != sum {
					t.Error("wrong checksum")
				}
				kept = append([]byte(nil), raw...)
				return nil
			}
		})
		var ack ackCount
		if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: raw, Reason: "not_object"}, &ack); err != nil {
			t.Fatal(err)
		}
		st := closeSink(t, s)
		if works {
			ack.check(t, 0)
			if st.SetAside != 1 || st.DeadLettered != 0 || len(st.Dropped) != 0 || string(kept) != string(raw) {
				t.Errorf("stats %+v", st)
			}
		} else {
			ack.check(t, 1)
			if st.SetAside != 0 || st.Dropped["too_large"] != 1 {
				t.Errorf("stats %+v", st)
			}
		}
		r := consume(t, c, "t.dlq", 1)[0]
		if len(r.Value) != truncatedBytes || header(r, headerTruncated) != "true" || header(r, headerSHA256) != hex.EncodeToString(sum[:]) {
			t.Errorf("notice: %d bytes, %v", len(r.Value), r.Headers)
		}
	}
}

// The dead-letter topic is missing and may not be created: good events go on, bad ones are held up to a
// share of the buffers and then dropped, counted.
func TestMissingDeadLetterTopicDoesNotStopGoodEvents(t *testing.T) {
	c := cluster(t, 1)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	s := start(t, c, func(cfg *Config, _ *Deps) {
		cfg.BatchBytes, cfg.BufferBytes = recordbatch.ChunkSize, 16*recordbatch.ChunkSize
	})
	var ack ackCount
	raw := []byte(strings.Repeat("b", 1000))
	for range 100 {
		if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: raw, Reason: "bad_value"}, &ack); err != nil {
			t.Fatal(err)
		}
	}
	want := appendAll(t, s, 1000, 10, nil)
	waitFor(t, func() bool { return s.Stats().Delivered == 1000 })
	if err := s.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	st := s.Stats()
	if st.Dropped["dead_letter_unavailable"] == 0 || st.Dropped["dead_letter_unavailable"]+st.InFlight != 100 {
		t.Errorf("stats %+v", st)
	}
	s.Close(ended())
	checkKeyed(t, consume(t, c, "t", 1000), want)
}
