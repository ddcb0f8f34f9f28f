package kafkatest

import (
	"context"
	"errors"
	"testing"

	"functiongraph-ingest/internal/skiptest"
)

// Start starts a cluster for a test and closes it at the test's end. Where a tool is missing the test
// is skipped with one line, or fails where CI=true.
func Start(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	var o Options
	for _, opt := range opts {
		opt(&o)
	}
	c, err := StartCluster(context.Background(), o)
	if err != nil {
		Unavailable(t, err)
		t.Fatalf("start Kafka: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for i := range c.Brokers() {
				t.Logf("broker %d said last:\n%s", i, c.Log(i))
			}
		}
		if err := c.Close(); err != nil {
			t.Errorf("close Kafka: %v", err)
		}
	})
	return c
}

// Unavailable skips the test when err wraps [ErrUnavailable]; with CI=true it fails it instead, so
// that a missing tool cannot pass for a green run. It returns when err is something else.
func Unavailable(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, ErrUnavailable) {
		return
	}
	skiptest.Missing(t, "%v", err)
}

// Topic creates a topic or fails the test.
func (c *Cluster) Topic(t testing.TB, name string, partitions int, configs map[string]string) {
	t.Helper()
	if err := c.CreateTopic(name, partitions, configs); err != nil {
		t.Fatal(err)
	}
}

// Kcat reads all of a topic with kcat, or fails the test; see [Consume].
func Kcat(t testing.TB, bootstrap, topic string) []Message {
	t.Helper()
	messages, err := Consume(context.Background(), bootstrap, topic)
	if err != nil {
		Unavailable(t, err)
		t.Fatalf("read topic %q: %v", topic, err)
	}
	return messages
}
