package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"functiongraph-ingest/pkg/sink"
)

func TestMain(m *testing.M) {
	// kfake's own loop may hang in its Close when an answer was held back at that moment.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*Cluster).run"))
}

// cluster is an embedded broker with one topic "t".
func cluster(t *testing.T, partitions int32, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(partitions, "t")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// start runs a sink on c with quick retries; edit may change the configuration.
func start(t *testing.T, c *kfake.Cluster, edit func(*Config, *Deps)) *Sink {
	t.Helper()
	cfg := Config{
		Brokers: c.ListenAddrs(), Topic: "t", Linger: time.Millisecond,
		RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond, RequestTimeout: 2 * time.Second,
	}
	deps := Deps{Logger: slog.New(slog.NewTextHandler(testLog{t}, nil))}
	if edit != nil {
		edit(&cfg, &deps)
	}
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(ended()) })
	return s
}

// testLog writes log lines to the test's output while it runs.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// patient bounds a test that hangs; nothing depends on how long it takes.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // for what takes a second on a machine of its own
	t.Cleanup(cancel)
	return ctx
}

// ackCount is a sink.Ack that counts.
type ackCount struct {
	mu         sync.Mutex
	held, done int
	lost       int
	hopeless   int // of lost
}

func (a *ackCount) Hopeless(n int, _ bool) { a.mu.Lock(); a.hopeless += n; a.mu.Unlock() }

func (a *ackCount) Hold() { a.mu.Lock(); a.held++; a.mu.Unlock() }
func (a *ackCount) Settle(lost int) {
	a.mu.Lock()
	a.done++
	a.lost += lost
	a.mu.Unlock()
}

func (a *ackCount) check(t *testing.T, lost int) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held != a.done || a.lost != lost {
		t.Errorf("ack: %d parts held, %d settled, %d lost; want all settled and %d lost", a.held, a.done, a.lost, lost)
	}
}

// begin is the time of a test's first events, of now: brokers take an old batch for one of a producer that they may forget.
var begin = time.Now().UnixMilli()

// record is the n-th record of a key.
func record(key string, n int) sink.Record {
	r := sink.Record{Value: fmt.Appendf(nil, `{"traceId":%q,"n":%d}`, key, n), Timestamp: begin + int64(n)}
	if key != "" {
		r.Key = []byte(key)
	}
	return r
}

// appendAll appends n records spread over keys and returns them as text, per key in order.
func appendAll(t *testing.T, s *Sink, n, keys int, ack sink.Ack) map[string][]string {
	t.Helper()
	want := map[string][]string{}
	ctx := patient(t)
	for i := range n {
		key := fmt.Sprintf("key-%03d", i%keys)
		r := record(key, i)
		want[key] = append(want[key], string(r.Value))
		if took, err := s.Append(ctx, []sink.Record{r}, ack); err != nil || took != 1 {
			t.Fatalf("append %d: took %d, %v", i, took, err)
		}
	}
	return want
}

// closeSink delivers everything.
func closeSink(t *testing.T, s *Sink) sink.Stats {
	t.Helper()
	waitFor(t, func() bool { // Close leaves to the spool what a Kafka that was never reached would take
		st := s.Stats()
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.cluster.view.reached || s.deps.OpenSpool == nil || st.InFlight+st.Spooled == 0
	})
	if err := s.Close(patient(t)); err != nil {
		t.Fatalf("close: %v", err)
	}
	st := s.Stats()
	if st.InFlight != 0 {
		t.Errorf("in flight %d after close", st.InFlight)
	}
	if n := s.pool.InUse(); n != 0 {
		t.Errorf("%d chunks not given back", n)
	}
	if m := s.Metrics(); m.PrivateBytes != 0 {
		t.Errorf("%d private bytes not given back", m.PrivateBytes)
	}
	return st
}

// consume reads exactly n records of a topic with another client.
func consume(t *testing.T, c *kfake.Cluster, topic string, n int) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx := patient(t)
	var out []*kgo.Record
	for len(out) < n {
		f := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("consumed %d of %d records of %s: %v", len(out), n, topic, err)
		}
		out = append(out, f.Records()...)
	}
	if len(out) != n {
		t.Fatalf("consumed %d records of %s, want %d", len(out), topic, n)
	}
	return out
}

// checkKeyed compares what was consumed with want: every record once, per key in order.
func checkKeyed(t *testing.T, recs []*kgo.Record, want map[string][]string) {
	t.Helper()
	got := map[string][]string{}
	for _, r := range recs {
		got[string(r.Key)] = append(got[string(r.Key)], string(r.Value))
	}
	for key, w := range want {
		g := got[key]
		if len(g) != len(w) {
			t.Errorf("key %s: %d records, want %d", key, len(g), len(w))
			continue
		}
		for i := range w {
			if g[i] != w[i] {
				t.Errorf("key %s: record %d is %s, want %s", key, i, g[i], w[i])
				break
			}
		}
	}
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
