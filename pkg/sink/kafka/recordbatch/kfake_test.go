package recordbatch

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/pkg/sink"
)

// TestProduce sends batches of every codec to a broker by kafka-go, all partitions in one request, and
// reads them back with franz-go.
func TestProduce(t *testing.T) {
	const topic = "telemetry"
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(len(codecs)), topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	r := rand.New(rand.NewPCG(11, 12))
	p := NewPool(256 * ChunkSize)
	var s Scratch
	want := make([][]rec, len(codecs))
	readers := make([]Reader, len(codecs))
	request := rawproduce.RequestTopic{Topic: topic}
	for i, c := range codecs {
		b := p.NewBatch(16)
		for range 400 {
			x := randomRecord(r, 1000)
			if !x.appendTo(b) {
				t.Fatal("refused")
			}
			want[i] = append(want[i], x)
		}
		if err := b.Compress(c, &s); err != nil || b.Codec() != c {
			t.Fatal(b.Codec(), err)
		}
		b.Stamp(-1, -1, -1)
		readers[i].Reset(b)
		request.Partitions = append(request.Partitions, rawproduce.RequestPartition{
			Partition: int32(i), RecordSet: protocol.RawRecordSet{Reader: &readers[i]},
		})
	}
	transport := new(kafka.Transport)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(ctx, kafka.TCP(cluster.ListenAddrs()...),
		&rawproduce.Request{Acks: -1, Timeout: 5000, Topics: []rawproduce.RequestTopic{request}})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range resp.(*produce.Response).Topics[0].Partitions {
		if part.ErrorCode != 0 {
			t.Fatalf("partition %d (%v): %v", part.Partition, codecs[part.Partition], kafka.Error(part.ErrorCode))
		}
	}
	got := consume(ctx, t, cluster.ListenAddrs(), topic, 400*len(codecs))
	for i, c := range codecs {
		compare(t, c.String(), got[i], want[i])
	}
}

func consume(ctx context.Context, t *testing.T, addrs []string, topic string, n int) map[int][]rec {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	got := map[int][]rec{}
	for n > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			g := rec{ts: r.Timestamp.UnixMilli(), key: r.Key, value: r.Value}
			for _, h := range r.Headers {
				g.headers = append(g.headers, sink.Header{Key: h.Key, Value: slices.Clone(h.Value)})
			}
			got[int(r.Partition)] = append(got[int(r.Partition)], g)
			n--
		})
	}
	return got
}
