package kafka

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRequestsShrinkAfterCuts: a broker that does not tell its limit ends connections instead; requests shrink until it
// takes them, and grow again later. One cut alone tells nothing, and where the limit is known cuts do not.
func TestRequestsShrinkAfterCuts(t *testing.T) {
	now := time.Now()
	r := requestBound{now: maxRequestBytes}
	cut := fmt.Errorf("broker: %w", io.EOF)
	for _, err := range []error{cut, nil, cut, nil, errors.New("timeout"), cut} {
		r.adapt(1<<20, err, now)
	}
	if r.now != maxRequestBytes {
		t.Errorf("%d bytes after single cuts", r.now)
	}
	for _, want := range []int{1 << 19, 1 << 18, 1 << 17, leastRequest} {
		for r.cuts = 0; r.now > want; {
			r.adapt(r.now, syscall.ECONNRESET, now)
		}
		if r.now != want {
			t.Errorf("%d bytes, want %d", r.now, want)
		}
	}
	for range 10 {
		r.adapt(r.now, cut, now)
	}
	if r.now != leastRequest {
		t.Errorf("%d bytes, want %d at least", r.now, leastRequest)
	}
	for range 10 {
		r.adapt(r.now, nil, now.Add(growAfter))
	}
	if r.now != 2*leastRequest {
		t.Errorf("%d bytes a minute later", r.now)
	}
	known := requestBound{told: 200_000, now: 200_000}
	for range 10 {
		known.adapt(200_000, cut, now)
	}
	if known.now != 200_000 || known.refusal(200_000) != "" || known.refusal(200_001) == "" {
		t.Errorf("%+v", known)
	}
}

// TestABrokerThatDoesNotAnswerIsAskedAgain: a broker that has answered none of the first questions for its settings is
// asked after each look at the cluster until it answers, and not after that.
func TestABrokerThatDoesNotAnswerIsAskedAgain(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1)
	var asked, silent, looks atomic.Int32
	silent.Store(moreQuestions + 2)
	c.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		looks.Add(1)
		return nil, nil, false
	})
	c.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		r := req.(*kmsg.DescribeConfigsRequest)
		if r.Resources[0].ResourceType != kmsg.ConfigResourceTypeBroker {
			return nil, nil, false
		}
		asked.Add(1)
		if silent.Add(-1) >= 0 {
			return nil, errors.New("cut"), true
		}
		res := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
		res.Version = r.Version
		value := "5000"
		res.Resources = []kmsg.DescribeConfigsResponseResource{{ResourceType: kmsg.ConfigResourceTypeBroker, Configs: []kmsg.DescribeConfigsResponseResourceConfig{
			{Name: settingExpiry, Value: &value},
		}}}
		return res, nil, true
	})
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.MetadataTTL = 20 * time.Millisecond })
	told := func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.expiry == 5*time.Second }
	waitFor(t, told)
	was, seen := asked.Load(), looks.Load()
	waitFor(t, func() bool { return looks.Load() > seen+1 })
	if n := asked.Load(); n != was {
		t.Errorf("asked %d times more after its answer", n-was)
	}
}

// TestWorkersOfBrokersThatLeftEnd: a broker that the cluster has no more costs nothing; when it comes back it has
// workers again.
func TestWorkersOfBrokersThatLeftEnd(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(6, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for p := range int32(6) { // else their leaders are chosen at random
		if err := c.MoveTopicPartition("t", p, p%3); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.MetadataTTL = 100 * time.Millisecond })
	appendAll(t, s, 300, 37, nil)
	waitFor(t, func() bool { return s.Stats().Delivered == 300 })
	brokers := func() (n int) { s.mu.Lock(); defer s.mu.Unlock(); return len(s.brokers) }
	if n := brokers(); n != 3 {
		t.Errorf("%d brokers have workers", n)
	}
	s.mu.Lock()
	gone := s.brokers[2]
	var ended []chan struct{}
	for _, w := range s.sender.workers {
		if w.b == gone {
			ended = append(ended, w.ended)
		}
	}
	s.mu.Unlock()
	if len(ended) != requestsPerBroker {
		t.Errorf("%d workers", len(ended))
	}
	for p := range int32(6) {
		if c.LeaderFor("t", p) == 2 {
			if err := c.MoveTopicPartition("t", p, int32(p)%2); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.RemoveNode(2); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return brokers() == 2 })
	for _, c := range ended {
		<-c
	}
	appendAll(t, s, 300, 37, nil)
	waitFor(t, func() bool { return s.Stats().Delivered == 600 })
	if _, _, err := c.AddNode(2, 0); err != nil {
		t.Fatal(err)
	}
	if err := c.MoveTopicPartition("t", 0, 2); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return brokers() == 3 })
	appendAll(t, s, 300, 37, nil)
	waitFor(t, func() bool { return s.Stats().Delivered == 900 })
	closeSink(t, s)
}

// The acks of a record that is refused before it is sent (socket.request.max.bytes) are told, though no request follows.
func TestRefusedUnsentIsTold(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1, kfake.SeedTopics(1, "t.dlq"))
	tells(c, map[string]string{settingRequestBytes: "100000"})
	s := start(t, c, func(_ *Config, d *Deps) { d.SetAside = func([]byte, [32]byte) error { return nil } })
	waitFor(t, func() bool { return s.Ready() == nil })
	noise := make([]byte, 75_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	var ack ackCount
	r := record("k", 1)
	r.Value = hex.AppendEncode(r.Value, noise)
	appendRecords(t, s, &ack, r)
	waitFor(t, ack.all)
}

// TestTheShortestMemoryOfAProducerCounts: batches go to all brokers, so the one that forgets producers first decides what
// counts as a possible duplicate, whichever tells last. What another cluster told does not count.
func TestTheShortestMemoryOfAProducerCounts(t *testing.T) {
	s, _, _ := bench(t)
	s.brokers, s.clusterID = map[int32]*broker{}, "c"
	told := func(id int32, ms, cluster string) {
		b := s.brokers[id]
		if b == nil {
			b = &broker{core: &s.core}
			s.brokers[id] = b
		}
		s.cluster.learnt(b, cluster, map[string]string{settingExpiry: ms})
	}
	for i, step := range []struct {
		broker  int32
		ms      string
		cluster string
		want    time.Duration
	}{
		{1, "172800000", "c", 48 * time.Hour},
		{2, "5000", "c", 5 * time.Second},
		{3, "7000", "c", 5 * time.Second},
		{3, "1", "of before", 5 * time.Second},
		{2, "9000", "c", 7 * time.Second},
		{3, "9223372036854775807", "c", 9 * time.Second},
		{3, "-1", "c", 9 * time.Second},
	} {
		if told(step.broker, step.ms, step.cluster); s.expiry != step.want {
			t.Errorf("step %d: %v, want %v", i, s.expiry, step.want)
		}
	}
	if s.brokers[4] = (&broker{core: &s.core}); s.leastExpiryLocked() != 9*time.Second {
		t.Error("a broker that has not told counts as one that forgets sooner")
	}
}
