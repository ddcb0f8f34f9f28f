package kafkatest_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/test/kafkatest"
)

// One cluster serves all subtests: a JVM's start is the dear part.
func TestCluster(t *testing.T) {
	c := kafkatest.Start(t)
	t.Run("kcat round-trips arbitrary bytes", func(t *testing.T) { roundTrip(t, c) })
	t.Run("kcat reads an empty topic", func(t *testing.T) {
		c.Topic(t, "empty", 3, nil)
		if got := kafkatest.Kcat(t, c.Bootstrap(), "empty"); len(got) != 0 {
			t.Errorf("%d messages, want 0", len(got))
		}
	})
	t.Run("kcat reads 200,000 messages", func(t *testing.T) { many(t, c, 200_000) })
	t.Run("topics grow", func(t *testing.T) {
		c.Topic(t, "growing", 2, map[string]string{"max.message.bytes": "2000000"})
		if err := c.AddPartitions("growing", 5); err != nil {
			t.Fatal(err)
		}
		if offsets, err := c.EndOffsets("growing"); err != nil || len(offsets) != 5 {
			t.Errorf("EndOffsets = %v, %v; want 5 partitions", offsets, err)
		}
		if err := c.CreateTopic("growing", 1, nil); err == nil {
			t.Error("a topic was created twice")
		}
	})
	t.Run("a killed broker comes back with its records", func(t *testing.T) { killAndReturn(t, c) })
	t.Run("a frozen broker goes on after thaw", func(t *testing.T) { freezeAndThaw(t, c) })
	t.Run("a stopped broker comes back", func(t *testing.T) {
		if err := c.Stop(0); err != nil {
			t.Fatal(err)
		}
		if err := c.Restart(0); err != nil {
			t.Fatal(err)
		}
	})
}

func client(t *testing.T, seeds string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(strings.Split(seeds, ",")...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func produce(t *testing.T, cl *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func roundTrip(t *testing.T, c *kafkatest.Cluster) {
	c.Topic(t, "bytes", 2, nil)
	cl := client(t, c.Bootstrap(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	random := make([]byte, 100_000)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(random)
	want := []*kgo.Record{
		{Key: nil, Value: []byte("keyless")},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("tombstone"), Value: nil},
		{Key: every, Value: every},
		{Key: []byte("\n\n\x00"), Value: []byte("\n1 2 3 4 5\n\x00\xff%s\\n")},
		{Key: []byte("k"), Value: random},
		{Key: []byte("h"), Value: []byte("v"), Headers: []kgo.RecordHeader{
			{Key: "ingest-reason", Value: []byte("invalid utf8 = bad\nnext line")}, {Key: "ingest-offset", Value: []byte("17")},
		}},
	}
	for i, r := range want {
		r.Topic, r.Partition, r.Timestamp = "bytes", 1, time.UnixMilli(1_700_000_000_000+int64(i))
	}
	produce(t, cl, want...)
	got := kafkatest.Kcat(t, c.Bootstrap(), "bytes")
	if len(got) != len(want) {
		t.Fatalf("%d messages, want %d", len(got), len(want))
	}
	for i, m := range got {
		w := want[i]
		if m.Partition != 1 || m.Offset != int64(i) || m.Timestamp != w.Timestamp.UnixMilli() {
			t.Errorf("message %d: partition %d offset %d timestamp %d", i, m.Partition, m.Offset, m.Timestamp)
		}
		if !bytes.Equal(m.Key, w.Key) || (m.Key == nil) != (w.Key == nil) {
			t.Errorf("message %d: key %q, want %q", i, m.Key, w.Key)
		}
		if !bytes.Equal(m.Value, w.Value) || (m.Value == nil) != (w.Value == nil) {
			t.Errorf("message %d: value differs (%d bytes, want %d)", i, len(m.Value), len(w.Value))
		}
		if len(m.Headers) != len(w.Headers) {
			t.Errorf("message %d: headers %q, want %d", i, m.Headers, len(w.Headers))
			continue
		}
		for j, h := range m.Headers {
			if h.Key != w.Headers[j].Key || h.Value != string(w.Headers[j].Value) {
				t.Errorf("message %d: header %q, want %q", i, h, w.Headers[j])
			}
		}
	}
}

func many(t *testing.T, c *kafkatest.Cluster, n int) {
	c.Topic(t, "many", 4, nil)
	cl := client(t, c.Bootstrap())
	pad := bytes.Repeat([]byte("x"), 230)
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: "many", Value: fmt.Appendf(nil, "%010d%s", i, pad)}
	}
	produce(t, cl, records...)
	start := time.Now()
	got := kafkatest.Kcat(t, c.Bootstrap(), "many")
	t.Logf("kcat: %d messages in %v", len(got), time.Since(start).Round(time.Millisecond))
	seen := make([]bool, n)
	for _, m := range got {
		var id int
		if _, err := fmt.Sscanf(string(m.Value[:10]), "%d", &id); err != nil || id >= n || seen[id] {
			t.Fatalf("unexpected value %.20q", m.Value)
		}
		seen[id] = true
	}
	if len(got) != n {
		t.Fatalf("%d messages, want %d", len(got), n)
	}
	if count, err := c.Count("many"); err != nil || count != int64(n) {
		t.Errorf("Count = %d, %v; want %d", count, err, n)
	}
}

func killAndReturn(t *testing.T, c *kafkatest.Cluster) {
	c.Topic(t, "survivor", 1, nil)
	produce(t, client(t, c.Bootstrap()), &kgo.Record{Topic: "survivor", Value: []byte("before")})
	pid := c.PID(0)
	if err := c.Kill(0); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(0); err != nil {
		t.Fatal(err)
	}
	if c.PID(0) == pid {
		t.Errorf("process %d is still there", pid)
	}
	produce(t, client(t, c.Bootstrap()), &kgo.Record{Topic: "survivor", Value: []byte("after")})
	got := kafkatest.Kcat(t, c.Bootstrap(), "survivor")
	if len(got) != 2 || string(got[0].Value) != "before" || string(got[1].Value) != "after" {
		t.Errorf("messages %+v, want before and after", got)
	}
}

func freezeAndThaw(t *testing.T, c *kafkatest.Cluster) {
	if err := c.Freeze(0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	cl := client(t, c.Bootstrap(), kgo.RequestTimeoutOverhead(300*time.Millisecond))
	if err := cl.Ping(ctx); err == nil {
		t.Error("a frozen broker answered")
	}
	if err := c.Thaw(0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.WaitReady(ctx, 0); err != nil {
		t.Error(err)
	}
}

func TestThreeBrokers(t *testing.T) {
	if testing.Short() {
		t.Skip("three JVMs")
	}
	c := kafkatest.Start(t, kafkatest.WithBrokers(3), kafkatest.WithHeap("256m"))
	c.Topic(t, "replicated", 6, map[string]string{"min.insync.replicas": "2"})
	leaders, err := c.Leaders("replicated")
	if err != nil {
		t.Fatal(err)
	}
	led := map[int]int{}
	for _, l := range leaders {
		led[l]++
	}
	if len(leaders) != 6 || len(led) < 2 { // on a busy machine one may just have lost its leaderships
		t.Errorf("leaders %v, want 6 partitions over the brokers", leaders)
	}
	produce(t, client(t, c.Bootstrap()), &kgo.Record{Topic: "replicated", Value: []byte("v")})
	if got := kafkatest.Kcat(t, c.Bootstrap(), "replicated"); len(got) != 1 {
		t.Errorf("%d messages, want 1", len(got))
	}
}
