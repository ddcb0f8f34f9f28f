package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
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
		if c, known := classOf(code, false); c != want || !known {
			t.Errorf("code %d: %v (known %v), want %v", code, c, known, want)
		}
	}
	if c, known := classOf(errCorrupt, false); c != classRetry || !known {
		t.Errorf("corrupt for the first times: %v", c)
	}
	if c, _ := classOf(errCorrupt, true); c != classDeadLetter {
		t.Errorf("corrupt for good: %v", c)
	}
	if c, known := classOf(9999, false); c != classRetry || known {
		t.Errorf("unknown code: %v, known %v; want retry with an alarm", c, known)
	}
}

// Every retriable code, a few times each: nothing lost, doubled or out of order.
func TestRetriesEveryRetriableCode(t *testing.T) {
	t.Parallel()
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
		waitFor(t, func() bool { return s.Stats().Delivered == int64(wave*100+100) })
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
	if k := c.n.Add(1); err == nil && k > 12 && k%5 == 0 {
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// A peer that takes requests and never answers must not hold a batch beyond RequestTimeout, and the
// buffer that was abandoned to it is sent again with the same bytes.
func TestSilentBrokerIsLeftAfterTheRequestTimeout(t *testing.T) {
	t.Parallel()
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
	appendAll(t, s, 1, 1, nil)
	waitFor(t, func() bool { return s.Stats().Delivered == 1 }) // all that is asked before the first batch is answered
	silent.Store(true)
	appendAll(t, s, 10, 1, nil)
	waitFor(t, func() bool { return s.Metrics().Retries >= 1 })
	silent.Store(false)
	if st := closeSink(t, s); st.Delivered != 11 || st.PossibleDuplicates != 0 {
		t.Errorf("stats %+v", st)
	}
	consume(t, c, "t", 11)
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

func TestLeaderMovesUnderLoad(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	c := cluster(t, 2)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.MetadataTTL = 100 * time.Millisecond })
	appendAll(t, s, 200, 20, nil)
	cl, _ := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreatePartitions(patient(t), 3, "t"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.topics[0].grow == 5 || len(s.topics[0].lanes) == 5
	})
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
