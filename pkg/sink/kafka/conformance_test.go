package kafka

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
	"functiongraph-ingest/pkg/sink/sinktest"
)

// TestConformance: what is in the way is that the cluster may not be looked at yet.
func TestConformance(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, func(t *testing.T, blocked bool) sinktest.Subject {
		c := cluster(t, 3)
		hold := make(chan struct{})
		if !blocked {
			close(hold)
		}
		return conforming(t, c, hold, func() { close(hold) })
	})
}

// TestConformanceOnAClusterThatTakesNothing: it was reached, and has too few replicas.
func TestConformanceOnAClusterThatTakesNothing(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, func(t *testing.T, blocked bool) sinktest.Subject {
		c := cluster(t, 3)
		var takes atomic.Bool
		takes.Store(!blocked)
		c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			if takes.Load() {
				return nil, nil, false
			}
			return answerAll(r.(*kmsg.ProduceRequest), func(string, int32) int16 { return kerr.NotEnoughReplicas.Code }), nil, true
		})
		s := conforming(t, c, nil, func() { takes.Store(true) })
		waitFor(t, func() bool { return s.Sink.Ready() == nil })
		return s
	})
}

func conforming(t *testing.T, c *kfake.Cluster, hold <-chan struct{}, unblock func()) sinktest.Subject {
	s, err := New(Config{
		Brokers: c.ListenAddrs(), Topic: "t", BatchBytes: recordbatch.ChunkSize, BufferBytes: 8 * recordbatch.ChunkSize, Linger: time.Millisecond,
	}, Deps{Hold: hold})
	if err != nil {
		t.Fatal(err)
	}
	return sinktest.Subject{Sink: s, Unblock: unblock, Values: func() (values []string) {
		for _, r := range consume(t, c, "t", int(s.Stats().Delivered)) {
			values = append(values, string(r.Value))
		}
		return values
	}}
}
