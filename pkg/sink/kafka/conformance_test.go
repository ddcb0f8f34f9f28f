package kafka

import (
	"testing"
	"time"

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
		s, err := New(Config{
			Brokers: c.ListenAddrs(), Topic: "t", BatchBytes: recordbatch.ChunkSize, BufferBytes: 8 * recordbatch.ChunkSize, Linger: time.Millisecond,
		}, Deps{Hold: hold})
		if err != nil {
			t.Fatal(err)
		}
		return sinktest.Subject{Sink: s, Unblock: func() { close(hold) }, Values: func() (values []string) {
			for _, r := range consume(t, c, "t", int(s.Stats().Delivered)) {
				values = append(values, string(r.Value))
			}
			return values
		}}
	})
}
