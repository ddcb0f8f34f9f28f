package cutproxy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/test/cutproxy"
	"functiongraph-ingest/test/kafkatest"
)

// An idempotent client of another make comes through cut answers without loss or doubles: the proxy
// and the real broker do what the tests of ingest rely on.
func TestCutAnswersOfRealKafka(t *testing.T) {
	fleet := cutproxy.NewFleet(1)
	t.Cleanup(func() { _ = fleet.Close() })
	c := kafkatest.Start(t, kafkatest.WithAdvertise(fleet.Advertise))
	c.Topic(t, "cut", 1, nil)
	fleet.Set(cutproxy.Faults{Cut: 0.2, CutKeys: []int16{cutproxy.KeyProduce}})

	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Advertised()), kgo.ProducerLinger(0),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	const n = 60
	for i := range n {
		r := &kgo.Record{Topic: "cut", Value: fmt.Appendf(nil, "%d", i)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	s := fleet.Proxy(0).Stats()
	t.Logf("%+v", s)
	if s.Cuts == 0 {
		t.Error("no answer was cut: the client went around the proxy")
	}
	got := kafkatest.Kcat(t, c.Bootstrap(), "cut")
	if len(got) != n {
		t.Fatalf("%d messages, want %d", len(got), n)
	}
	for i, m := range got {
		if string(m.Value) != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, m.Value)
		}
	}
}
