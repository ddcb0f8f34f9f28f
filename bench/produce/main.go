// Command produce measures what the Kafka sink alone costs: CPU of this process per million records of
// 300 bytes, keyed, acknowledged, against a real broker, side by side with kafka-go's own Writer and with
// franz-go. The rounds go through all of them in turn. With -benchfmt it prints what benchstat reads.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
	"functiongraph-ingest/test/kafkatest"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "produce:", err)
		os.Exit(1)
	}
}

// row is one contender. run puts n records into the topic and returns when all are acknowledged.
type row struct {
	name       string
	partitions int
	records    int
	run        func(brokers, topic string, n int) error

	perMillion float64 // best of the rounds, CPU-seconds
	rate       float64 // best of the rounds, records per second

	lastCost, lastRate float64 // of the last round
}

// warmUp records go first, unmeasured: a new topic with many partitions takes its leaders' time.
const warmUp = 50_000

// leastPart is what many partitions must reach of the throughput of few, with the same buffers.
const leastPart = 0.7

func run() error {
	records := flag.Int("records", 2_000_000, "records per run of the sink; the Writer gets a tenth")
	rounds := flag.Int("rounds", 3, "rounds; the best of each row is printed")
	few := flag.Int("partitions", 4, "partitions of the topic")
	benchfmt := flag.Bool("benchfmt", false, "print a line of Go's benchmark format per row and round instead of the table")
	many := flag.Int("many", 256, "partitions of the row that is compared with the first")
	flag.Parse()
	ctx := context.Background()
	k, err := kafkatest.StartCluster(ctx, kafkatest.Options{})
	if err != nil {
		return err
	}
	defer k.Close()
	through := func(codec recordbatch.Codec) func(string, string, int) error {
		return func(brokers, topic string, n int) error { return throughSink(ctx, brokers, topic, codec, n) }
	}
	rows := []*row{
		{name: "sink none", partitions: *few, records: *records, run: through(recordbatch.None)},
		{name: "sink none", partitions: *many, records: *records, run: through(recordbatch.None)},
		{name: "sink snappy", partitions: *few, records: *records, run: through(recordbatch.Snappy)},
		{name: "sink lz4", partitions: *few, records: *records, run: through(recordbatch.LZ4)},
		{name: "sink zstd", partitions: *few, records: *records, run: through(recordbatch.Zstd)},
		{name: "kafka-go Writer none", partitions: *few, records: *records / 10, run: func(brokers, topic string, n int) error {
			return throughWriter(ctx, brokers, topic, n)
		}},
		{name: "franz-go none", partitions: *few, records: *records, run: func(brokers, topic string, n int) error {
			return throughFranz(ctx, brokers, topic, n)
		}},
	}
	for round := range *rounds {
		for i, r := range rows {
			if err := r.measure(k, fmt.Sprintf("p-%d-%d", round, i)); err != nil {
				return fmt.Errorf("%s, %d partitions: %w", r.name, r.partitions, err)
			}
			if *benchfmt {
				name := strings.ReplaceAll(r.name, " ", "-")
				fmt.Printf("BenchmarkProduce/%s/partitions=%d 1 %.4f cpu-us/record %.0f records/s\n", name, r.partitions, r.lastCost, r.lastRate)
			}
		}
	}
	if *benchfmt {
		return nil
	}
	fmt.Printf("%-22s %10s %18s %12s\n", "300-byte records", "partitions", "CPU-s per million", "records/s")
	for _, r := range rows {
		fmt.Printf("%-22s %10d %18.3f %12.0f\n", r.name, r.partitions, r.perMillion, r.rate)
	}
	if part := rows[1].rate / rows[0].rate; part < leastPart {
		return fmt.Errorf("%d partitions reach %.0f %% of the throughput of %d", *many, 100*part, *few)
	}
	return nil
}

// measure runs one row once on a topic of its own, and checks at the broker that all of it is there.
func (r *row) measure(k *kafkatest.Cluster, topic string) error {
	if err := k.CreateTopic(topic, r.partitions, nil); err != nil {
		return err
	}
	if err := r.run(k.Bootstrap(), topic, warmUp); err != nil {
		return err
	}
	cpu, start := cpuTime(), time.Now()
	if err := r.run(k.Bootstrap(), topic, r.records); err != nil {
		return err
	}
	perMillion := (cpuTime() - cpu).Seconds() / float64(r.records) * 1e6
	if r.perMillion == 0 || perMillion < r.perMillion {
		r.perMillion = perMillion
	}
	r.lastCost, r.lastRate = perMillion, float64(r.records)/time.Since(start).Seconds()
	r.rate = max(r.rate, r.lastRate)
	if at, err := k.Count(topic); err != nil || at != int64(warmUp+r.records) {
		return fmt.Errorf("%d records at the broker, want %d (%v)", at, warmUp+r.records, err)
	}
	return k.DeleteTopic(topic)
}

// payloads are records of 300 bytes, half of each differing.
func payloads() []sink.Record {
	recs := make([]sink.Record, 4096)
	for i := range recs {
		key := fmt.Appendf(nil, "69be64a7-0233-11e8-82e4-%012d", i%997)
		v := fmt.Appendf(nil, `{"name":"function","startTime":"2023-02-01T00:03:50.%03dZ","traceId":"%s","logs":"[Function]`, i%1000, key)
		for x := uint64(i)*0x9e3779b97f4a7c15 + 1; len(v) < 298; x = x*6364136223846793005 + 1 {
			v = append(v, "abcdefghijklmnopqrstuvwxyz 012345"[x>>59])
		}
		recs[i] = sink.Record{Key: key, Value: append(v, '"', '}'), Timestamp: time.Now().UnixMilli()}
	}
	return recs
}

func throughSink(ctx context.Context, brokers, topic string, codec recordbatch.Codec, n int) error {
	s, err := kafka.New(kafka.Config{Brokers: []string{brokers}, Topic: topic, Codec: codec, Linger: 20 * time.Millisecond}, kafka.Deps{})
	if err != nil {
		return err
	}
	recs := payloads()
	for done := 0; done < n; {
		part := recs[done%len(recs):]
		part = part[:min(len(part), 64, n-done)]
		took, err := s.Append(ctx, part, nil)
		if err != nil {
			return err
		}
		done += took
	}
	if err := s.Close(ctx); err != nil {
		return err
	}
	if st := s.Stats(); st.Delivered != int64(n) {
		return fmt.Errorf("delivered %d of %d", st.Delivered, n)
	}
	return nil
}

func throughWriter(ctx context.Context, brokers, topic string, n int) error {
	w := &kafkago.Writer{
		Addr: kafkago.TCP(brokers), Topic: topic, Balancer: kafkago.Murmur2Balancer{}, RequiredAcks: kafkago.RequireAll,
		BatchSize: 1000, BatchBytes: 256 << 10, BatchTimeout: 5 * time.Millisecond,
	}
	defer w.Close()
	recs := payloads()
	msgs := make([]kafkago.Message, 1000)
	for done := 0; done < n; {
		m := msgs[:min(len(msgs), n-done)]
		for i := range m {
			r := &recs[(done+i)%len(recs)]
			m[i] = kafkago.Message{Key: r.Key, Value: r.Value}
		}
		err := w.WriteMessages(ctx, m...)
		for try := 0; errors.Is(err, kafkago.UnknownTopicOrPartition) && done == 0 && try < 50; try++ {
			time.Sleep(100 * time.Millisecond) // it does not wait for a topic that was just made
			err = w.WriteMessages(ctx, m...)
		}
		if err != nil {
			return err
		}
		done += len(m)
	}
	return nil
}

// throughFranz gives franz-go the same batches, the same linger and the same bound on what is in memory; like
// ours it is idempotent and waits for all replicas.
func throughFranz(ctx context.Context, brokers, topic string, n int) error {
	recs := payloads()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(256<<10), kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedBytes(16<<20), kgo.MaxBufferedRecords(1<<20))
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed atomic.Pointer[error]
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	for i := range n {
		r := &recs[i%len(recs)]
		cl.Produce(ctx, &kgo.Record{Key: r.Key, Value: r.Value}, done)
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// cpuTime is user and system time of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
