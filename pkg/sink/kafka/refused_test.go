package kafka

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// A batch is in the log, its answer is lost, and the resend is refused for its content: Kafka checks that before it
// looks for duplicates. Batches of the same size that come later must not be taken for the one that left.
func TestABatchBehindARefusedResendIsNotLost(t *testing.T) {
	t.Parallel()
	for _, code := range []*kerr.Error{kerr.MessageTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.CorruptMessage} {
		for _, records := range []int{1, 2, 5} {
			t.Run(fmt.Sprint(code.Message, " ", records), func(t *testing.T) {
				t.Parallel()
				refusedResend(t, code, records)
			})
		}
	}
}

func refusedResend(t *testing.T, code *kerr.Error, records int) {
	c := cluster(t, 1)
	var sent, refusing atomic.Int32
	c.ControlKey(0, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		if req.Topics[0].Topic == "t" && sent.Add(1) > 1 && refusing.Load() != 0 {
			return answerAll(req, func(string, int32) int16 { return code.Code }), nil, true
		}
		return nil, nil, false
	})
	thief := &answerThief{}
	thief.armed.Store(1)
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Linger, cfg.RequestTimeout, d.Dial = time.Hour, 8*time.Second, thief.dial // no other answer may take that long
		if code == kerr.CorruptMessage {
			d.stuckAfter = 50 * time.Millisecond
		}
	})
	var ack ackCount
	batch := func(n int) {
		recs := make([]sink.Record, records)
		for i := range recs {
			recs[i] = record("k", 100*n+i)
		}
		if _, err := s.Append(patient(t), recs, &ack); err != nil {
			t.Fatal(err)
		}
		s.Flush()
	}
	refusing.Store(1)
	batch(0)
	// All of the first batch leaves as dead letters, or as records without a time.
	waitFor(t, func() bool { return sent.Load() >= 2 && (s.Stats().InFlight == 0 || s.Metrics().Splits > 0) })
	if code != kerr.InvalidTimestamp {
		waitFor(t, func() bool { return s.Stats().InFlight == 0 })
	}
	refusing.Store(0)
	for n := 1; n <= 7; n++ {
		batch(n)
		waitFor(t, func() bool { return s.Stats().InFlight == 0 })
	}
	st := closeSink(t, s)
	ack.check(t, 0)
	if thief.stolen.Load() != 1 {
		t.Fatalf("%d answers were lost; the test needs one", thief.stolen.Load())
	}
	if st.Delivered+st.DeadLettered != int64(8*records) || st.PossibleDuplicates != int64(records) {
		t.Errorf("stats %+v, want %d events and %d possible duplicates", st, 8*records, records)
	}
	checkLater(t, c, records)
}

// checkLater checks that every batch behind the first is in the topic, once and in order.
func checkLater(t *testing.T, c *kfake.Cluster, records int) {
	t.Helper()
	total := 0
	for _, p := range c.PartitionInfos("t") {
		total += int(p.HighWatermark)
	}
	var got []string
	for _, r := range consume(t, c, "t", total) {
		var n int
		fmt.Sscanf(string(r.Value), `{"traceId":"k","n":%d}`, &n)
		if n >= 100 {
			got = append(got, string(r.Value))
		}
	}
	var want []string
	for n := 1; n <= 7; n++ {
		for i := range records {
			want = append(want, string(record("k", 100*n+i).Value))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the topic has\n%v\nand should have\n%v", got, want)
	}
}

// answerThief loses the answers to produce requests while it is armed, each with its connection.
type answerThief struct{ armed, stolen atomic.Int32 }

func (a *answerThief) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &thiefConn{Conn: nc, thief: a}, nil
}

type thiefConn struct {
	net.Conn
	thief *answerThief
	steal atomic.Bool
}

// Write looks for produce requests, which begin a write: size, then api key 0.
func (c *thiefConn) Write(p []byte) (int, error) {
	if len(p) > 8 && p[4] == 0 && p[5] == 0 && p[6] == 0 && c.thief.armed.Add(-1) >= 0 {
		c.steal.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *thiefConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && c.steal.Swap(false) {
		c.thief.stolen.Add(1)
		c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// A spool that could not be opened at first is opened when the sink has sent already. The stamp of the frame in
// doubt must not make the sink begin its own sequence again.
func TestAWaitingSpoolDoesNotBeginSequencesAgain(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1)
	disk := newTestDisk(t)

	// A first process dies with a batch in doubt in its spool.
	thief := &answerThief{}
	thief.armed.Store(1 << 30)
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Settle, cfg.RequestTimeout = SettleOnDisk, 300*time.Millisecond
		d.Dial, d.OpenSpool = thief.dial, disk.Open
	})
	s.Append(patient(t), []sink.Record{record("k", 0)}, nil)
	waitFor(t, func() bool { return thief.stolen.Load() > 0 })
	disk = disk.Kill()
	s.Close(ended())

	// The next one sends before it gets the spool.
	var open atomic.Bool
	s = start(t, c, func(cfg *Config, d *Deps) {
		cfg.Linger = time.Hour
		d.OpenSpool = func() (diskqueue.Spool, error) {
			if !open.Load() {
				return nil, fmt.Errorf("not mounted yet")
			}
			return disk.Open()
		}
	})
	var ack ackCount
	send := func(from, n int) {
		for i := from; i < from+n; i++ {
			s.Append(patient(t), []sink.Record{record("k", i)}, &ack)
			s.Flush()
			waitFor(t, func() bool { return s.Stats().InFlight == 0 })
		}
	}
	send(1, 6)
	open.Store(true)
	late := time.AfterFunc(5*time.Second, func() { t.Log(dump(s), s.Stats()) })
	defer late.Stop()
	waitFor(t, func() bool { st := s.Stats(); return st.Recovered == 1 && st.Spooled == 0 && st.InFlight == 0 })
	send(7, 6)
	st := closeSink(t, s)
	ack.check(t, 0)
	if st.Delivered != 13 || st.PossibleDuplicates != 0 {
		t.Errorf("stats %+v", st)
	}
	seen := map[string]int{}
	for _, r := range consume(t, c, "t", 13) {
		seen[string(r.Value)]++
	}
	for i := range 13 {
		if n := seen[string(record("k", i).Value)]; n != 1 {
			t.Errorf("event %d is in the topic %d times", i, n)
		}
	}
}

// Another producer has the same id: a restored snapshot, another cluster behind the same name. The broker takes a
// first send for a resend: it answers with the append time of what it has, or with 46. That must not pass for
// delivered.
func TestAFirstSendThatIsAnsweredAsAResendIsSentAgain(t *testing.T) {
	for _, code := range []int16{0, errDuplicate} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			c := cluster(t, 1)
			var n atomic.Int32
			c.ControlKey(0, func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				req := r.(*kmsg.ProduceRequest)
				if i := n.Add(1); i != 1 && i != 4 {
					return nil, nil, false
				}
				resp := answerAll(req, func(string, int32) int16 { return code })
				resp.Topics[0].Partitions[0].LogAppendTime = time.Now().UnixMilli()
				return resp, nil, true // and nothing is appended
			})
			s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Linger = time.Hour })
			waitFor(t, func() bool { return s.Ready() == nil })
			waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.topics[0].keeps == timesCreate })
			var ack ackCount
			for i := range 5 {
				s.Append(patient(t), []sink.Record{record("k", i)}, &ack)
				s.Flush()
				waitFor(t, func() bool { return s.Stats().InFlight == 0 })
			}
			st := closeSink(t, s)
			ack.check(t, 0)
			if st.Delivered != 5 || s.Metrics().Collisions != 2 || st.PossibleDuplicates != 2 {
				t.Errorf("stats %+v, %d collisions", st, s.Metrics().Collisions)
			}
			for i, r := range consume(t, c, "t", 5) {
				if want := record("k", i); string(r.Value) != string(want.Value) {
					t.Errorf("record %d is %s", i, r.Value)
				}
			}
		})
	}
}

// The cluster is made anew, or its name moves to another one. Producer ids begin again there, so a stamp of the old
// cluster may be that of another producer's batch.
func TestAnotherClusterGetsNoOldStamps(t *testing.T) {
	disk := newTestDisk(t)
	old := cluster(t, 1, kfake.ClusterID("old"))
	giveIDs(old, 1)
	thief := &answerThief{}
	thief.armed.Store(1 << 30)
	s := start(t, old, func(cfg *Config, d *Deps) {
		cfg.Settle, cfg.RequestTimeout = SettleOnDisk, 300*time.Millisecond
		d.Dial, d.OpenSpool = thief.dial, disk.Open
	})
	s.Append(patient(t), []sink.Record{record("k", 0)}, nil)
	waitFor(t, func() bool { return thief.stolen.Load() > 0 })
	disk = disk.Kill()
	s.Close(ended())

	c := cluster(t, 1, kfake.ClusterID("new"))
	giveIDs(c, 1, 2)
	other := start(t, c, nil)
	other.Append(patient(t), []sink.Record{record("other", 0)}, nil)
	closeSink(t, other)
	s = start(t, c, func(cfg *Config, d *Deps) { d.OpenSpool = disk.Open })
	waitFor(t, func() bool { st := s.Stats(); return st.Recovered == 1 && st.Spooled == 0 && st.InFlight == 0 })
	st := closeSink(t, s)
	if st.Delivered != 1 || st.PossibleDuplicates != 1 {
		t.Errorf("stats %+v", st)
	}
	got := consume(t, c, "t", 2)
	if string(got[1].Value) != string(record("k", 0).Value) {
		t.Errorf("the topic has %s", got[1].Value)
	}
}

// giveIDs makes a cluster give these producer ids first.
func giveIDs(c *kfake.Cluster, ids ...int64) {
	var n atomic.Int32
	c.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		i := int(n.Add(1)) - 1
		if i >= len(ids) {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ProducerID, resp.ProducerEpoch = ids[i], 0
		return resp, nil, true
	})
}

// The same while the process runs: its connections end, and another cluster answers.
func TestAClusterThatIsReplacedUnderARunningSink(t *testing.T) {
	t.Parallel()
	clusters := []*kfake.Cluster{cluster(t, 1, kfake.ClusterID("old")), cluster(t, 1, kfake.ClusterID("new"))}
	for _, c := range clusters {
		giveIDs(c, 1, 2)
	}
	var now atomic.Int32
	var mu sync.Mutex
	var conns []net.Conn
	s := start(t, clusters[0], func(cfg *Config, d *Deps) {
		cfg.Brokers, cfg.Linger, cfg.MetadataTTL = []string{"kafka:9092"}, time.Hour, 50*time.Millisecond
		d.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			nc, err := (&net.Dialer{}).DialContext(ctx, network, clusters[now.Load()].ListenAddrs()[0])
			if err == nil {
				mu.Lock()
				conns = append(conns, nc)
				mu.Unlock()
			}
			return nc, err
		}
	})
	var ack ackCount
	send := func(s *Sink, key string, n int) {
		s.Append(patient(t), []sink.Record{record(key, n)}, &ack)
		s.Flush()
		waitFor(t, func() bool { return s.Stats().InFlight == 0 })
	}
	for n := range 3 {
		send(s, "k", n)
	}
	other := start(t, clusters[1], func(cfg *Config, _ *Deps) { cfg.Linger = time.Hour })
	for n := range 6 {
		send(other, "other", n)
	}
	now.Store(1)
	mu.Lock()
	for _, nc := range conns {
		nc.Close()
	}
	mu.Unlock()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.clusterID == "new" })
	for n := 3; n < 6; n++ {
		send(s, "k", n)
	}
	if st := closeSink(t, s); st.Delivered != 6 || st.PossibleDuplicates != 0 {
		t.Errorf("stats %+v", st)
	}
	closeSink(t, other)
	ack.check(t, 0)
	seen := map[string]bool{}
	for _, r := range consume(t, clusters[1], "t", 9) {
		seen[string(r.Value)] = true
	}
	for n := 3; n < 6; n++ {
		if !seen[string(record("k", n).Value)] {
			t.Errorf("event %d is not in the new cluster", n)
		}
	}
}

// Whether a topic keeps its own timestamps is asked again until it is known: without it a collision passes for a
// delivery.
func TestTimestampTypeIsAskedForAgain(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1)
	var n atomic.Int32
	c.ControlKey(int16(kmsg.DescribeConfigs), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, fmt.Errorf("cut"), n.Add(1) <= 4
	})
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.MetadataTTL = 20 * time.Millisecond })
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.topics[0].keeps == timesCreate })
	if n.Load() < 5 {
		t.Errorf("%d questions, of which four had no answer", n.Load())
	}
}
