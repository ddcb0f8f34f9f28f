package kafka

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// oldBroker is Kafka 1.1; without producer ids it is like Huawei's LTS, which speaks a part of the protocol.
func oldBroker(producerIDs bool) kfake.Opt {
	v := kversion.V1_1_0()
	if !producerIDs {
		v.SetMaxKeyVersion(int16(kmsg.InitProducerID), -1)
	}
	return kfake.MaxVersions(v)
}

func TestNoProducerIDs(t *testing.T) {
	c := cluster(t, 3, oldBroker(false))
	strict := start(t, c, nil)
	waitFor(t, func() bool {
		err := strict.Ready()
		return err != nil && strings.Contains(err.Error(), "the brokers have no producer ids") && strings.Contains(err.Error(), "--idempotence=prefer")
	})
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.PreferIdempotence = true })
	want := appendAll(t, s, 300, 7, nil)
	if st := closeSink(t, s); st.Delivered != 300 || st.Idempotent {
		t.Errorf("stats %+v", st)
	}
	checkKeyed(t, consume(t, c, "t", 300), want)
}

// codecsSent notes which codecs the batches have that a cluster is sent.
func codecsSent(c *kfake.Cluster) func() map[recordbatch.Codec]bool {
	var mu sync.Mutex
	sent := map[recordbatch.Codec]bool{}
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			for _, p := range topic.Partitions {
				sent[recordbatch.Codec(p.Records[22]&7)] = true // the low byte of the attributes
			}
		}
		return nil, nil, false
	})
	return func() map[recordbatch.Codec]bool { mu.Lock(); defer mu.Unlock(); return sent }
}

// Brokers before 2.1 do not know zstd, and do not say so: what is in the spool already is compressed anew.
func TestZstdWithOldBrokers(t *testing.T) {
	t.Parallel()
	c := cluster(t, 3, oldBroker(true))
	sent := codecsSent(c)
	dir := t.TempDir()
	zstd := func(cfg *Config, _ *Deps) { cfg.Codec = recordbatch.Zstd }
	before, n := spooling(t, cluster(t, 3), dir, zstd) // a new one: the frames have partitions and are compressed
	waitFor(t, func() bool { return before.Ready() == nil })
	n.cut()
	want := appendAll(t, before, 5000, 7, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	_ = before.Close(ctx) // all goes to disk
	if st := before.Stats(); st.Spooled != 5000 {
		t.Fatalf("stats %+v", st)
	}
	s, _ := spooling(t, c, dir, zstd)
	for k, v := range appendAll(t, s, 300, 7, nil) {
		want[k] = append(want[k], v...)
	}
	waitFor(t, func() bool { return s.Stats().Delivered == 5300 })
	if st := closeSink(t, s); st.Spooled != 0 || len(st.Dropped) != 0 {
		t.Errorf("stats %+v", st)
	}
	checkKeyed(t, consume(t, c, "t", 5300), want)
	if got := sent(); got[recordbatch.Zstd] || !got[recordbatch.Snappy] {
		t.Errorf("sent with codecs %v", got)
	}
}

// Before CreateTopics 4 brokers have no default for partitions and replicas.
func TestTopicNumbers(t *testing.T) {
	for _, tt := range []struct {
		name                          string
		version                       int16
		brokers, partitions, replicas int // settings
		wantPartitions, wantReplicas  int
	}{
		{"new", createTopicDefaults, 3, -1, -1, -1, -1},
		{"new, set", createTopicDefaults, 3, 6, 2, 6, 2},
		{"old, one broker", 3, 1, -1, -1, 1, 1},
		{"old, nine brokers", 3, 9, -1, -1, 3, 3},
		{"old, no layout yet", 3, 0, -1, -1, 1, 1},
		{"old, set", 3, 9, 12, 2, 12, 2},
	} {
		s := &Sink{}
		s.join()
		s.cluster.able, s.cluster.size = abilities{createTopics: tt.version}, tt.brokers
		s.cfg.TopicPartitions, s.cfg.TopicReplication = tt.partitions, tt.replicas
		if p, r := s.cluster.topicNumbers(); p != tt.wantPartitions || r != tt.wantReplicas {
			t.Errorf("%s: %d partitions, %d replicas", tt.name, p, r)
		}
	}
}

// TestProducerIDsThatComeLater: the brokers have none, and then they do: they were upgraded, or what stood at the address
// was not they. Their cluster has the id that it had.
func TestProducerIDsThatComeLater(t *testing.T) {
	p := &signpost{clusters: [2]*kfake.Cluster{cluster(t, 3, oldBroker(false), kfake.ClusterID("c")), cluster(t, 3, kfake.ClusterID("c"))}}
	for _, prefer := range []bool{false, true} {
		p.move(0)
		s := start(t, p.clusters[0], func(cfg *Config, d *Deps) {
			cfg.Brokers, cfg.MetadataTTL, cfg.PreferIdempotence, d.Dial = []string{"kafka:9092"}, 20*time.Millisecond, prefer, p.dial
		})
		waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.cluster.asked && (s.unsafe || !prefer) })
		p.move(1)
		waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.current.gen > 0 && !s.unsafe })
		appendAll(t, s, 10, 3, nil)
		if st := closeSink(t, s); st.Delivered != 10 || !st.Idempotent {
			t.Errorf("stats %+v", st)
		}
	}
}

// TestAProducerIDBelowZeroIsNone: batches under it would not be recognised when they are sent twice, and go on under it.
func TestAProducerIDBelowZeroIsNone(t *testing.T) {
	for _, prefer := range []bool{false, true} {
		c := cluster(t, 1)
		var gives atomic.Bool
		c.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			res := r.ResponseKind().(*kmsg.InitProducerIDResponse)
			res.Version, res.ProducerID, res.ProducerEpoch = r.GetVersion(), -1, -1
			return res, nil, !gives.Load()
		})
		s := start(t, c, func(cfg *Config, _ *Deps) { cfg.PreferIdempotence, cfg.MetadataTTL = prefer, 20*time.Millisecond })
		appendAll(t, s, 10, 1, nil)
		if prefer {
			waitFor(t, func() bool { st := s.Stats(); return st.Delivered == 10 && !st.Idempotent })
		} else {
			waitFor(t, func() bool { return s.Delivery().Trouble.Kind == "producers_unknown" })
		}
		gives.Store(true)
		waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.current.gen > 0 && !s.unsafe })
		appendAll(t, s, 10, 1, nil)
		if st := closeSink(t, s); st.Delivered != 20 || !st.Idempotent || s.current.id < 0 {
			t.Errorf("producer %+v, stats %+v", s.current, st)
		}
	}
}
