// Command produce measures what the Kafka sink alone costs: CPU of this process per million records of
// 300 bytes, keyed, acknowledged, against a real broker, side by side with kafka-go's own Writer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"syscall"
	"time"

	kafkago "github.com/segmentio/kafka-go"

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

func run() error {
	records := flag.Int("records", 2_000_000, "records per run of the sink; the Writer gets a tenth")
	rounds := flag.Int("rounds", 3, "rounds; the best of each row is printed")
	partitions := flag.Int("partitions", 4, "partitions of the topic")
	flag.Parse()
	ctx := context.Background()
	k, err := kafkatest.StartCluster(ctx, kafkatest.Options{})
	if err != nil {
		return err
	}
	defer k.Close()
	type row struct {
		name string
		run  func(topic string) (n int, err error)
	}
	var rows []row
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.Snappy, recordbatch.LZ4, recordbatch.Zstd} {
		rows = append(rows, row{"sink " + codec.String(), func(topic string) (int, error) {
			return *records, throughSink(ctx, k.Bootstrap(), topic, codec, *records)
		}})
	}
	rows = append(rows, row{"kafka-go Writer none", func(topic string) (int, error) {
		return *records / 10, throughWriter(ctx, k.Bootstrap(), topic, *records/10)
	}})
	best := make([]float64, len(rows))
	rate := make([]float64, len(rows))
	for round := range *rounds {
		for i, r := range rows {
			topic := fmt.Sprintf("p-%d-%d", round, i)
			if err := k.CreateTopic(topic, *partitions, nil); err != nil {
				return err
			}
			cpu, start := cpuTime(), time.Now()
			n, err := r.run(topic)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			perMillion := (cpuTime() - cpu).Seconds() / float64(n) * 1e6
			if best[i] == 0 || perMillion < best[i] {
				best[i] = perMillion
			}
			rate[i] = max(rate[i], float64(n)/time.Since(start).Seconds())
			if at, err := k.Count(topic); err != nil || at != int64(n) {
				return fmt.Errorf("%s: %d records at the broker, want %d (%v)", r.name, at, n, err)
			}
			if err := k.DeleteTopic(topic); err != nil {
				return err
			}
		}
	}
	fmt.Printf("%-22s %22s %14s\n", "300-byte records", "CPU-s per million", "records/s")
	for i, r := range rows {
		fmt.Printf("%-22s %22.3f %14.0f\n", r.name, best[i], rate[i])
	}
	return nil
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

// cpuTime is user and system time of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
