package oracle

import (
	"context"
	"testing"

	"functiongraph-ingest/test/kafkatest"
)

// Read judges a topic as kcat reads it, from its beginning.
func (o *Oracle) Read(ctx context.Context, bootstrap, topic string) (*Report, error) {
	j := o.Judge()
	err := kafkatest.ConsumeEach(ctx, bootstrap, topic, func(m *kafkatest.Message) error {
		j.Message(m.Partition, m.Key, m.Value)
		return nil
	})
	return j.Report(), err
}

// MustRead is Read for tests: a reading that fails ends the test, faults fail it.
func (o *Oracle) MustRead(t testing.TB, bootstrap, topic string) *Report {
	t.Helper()
	r, err := o.Read(t.Context(), bootstrap, topic)
	if err != nil {
		kafkatest.Unavailable(t, err)
		t.Fatalf("read topic %q: %v", topic, err)
	}
	t.Log(r)
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	return r
}
