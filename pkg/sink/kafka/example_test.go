package kafka_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// body is an Ack that counts the records of one source that were lost.
type body struct{ lost atomic.Int64 }

func (*body) Hold()             {}
func (b *body) Settle(lost int) { b.lost.Add(int64(lost)) }

// A sink takes records as soon as it exists, also while no broker answers, and settles them when all in-sync replicas
// have them. Close delivers what it has taken, within the time of its context.
func Example() {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "telemetry")) // Kafka, for this example
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()

	s, err := kafka.New(kafka.Config{Brokers: cluster.ListenAddrs(), Topic: "telemetry", Codec: recordbatch.Snappy}, kafka.Deps{})
	if err != nil {
		fmt.Println(err) // a setting is wrong; nothing has been looked at
		return
	}
	ctx := context.Background()
	records := []sink.Record{
		{Key: []byte("a1"), Value: []byte(`{"traceId":"a1","logs":"hello"}`), Timestamp: time.Now().UnixMilli()},
		{Key: []byte("a1"), Value: []byte(`{"traceId":"a1","logs":"bye"}`), Timestamp: time.Now().UnixMilli()},
	}
	var b body
	n, err := s.Append(ctx, records, &b)
	if err != nil {
		fmt.Println(err) // the sink was closed, or ctx has ended: n were taken all the same
	}
	if err := s.Close(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println(n, "taken,", s.Stats().Delivered, "delivered,", b.lost.Load(), "lost")
	// Output: 2 taken, 2 delivered, 0 lost
}
