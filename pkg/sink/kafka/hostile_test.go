package kafka

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
	"functiongraph-ingest/test/hostile"
)

// hostileConfig is that of a sink whose only address is b's.
func hostileConfig(b *hostile.Broker, m hostile.Mode) Config {
	cfg := Config{
		Brokers: []string{b.Addr}, Topic: "t", DeadLetterTopic: "t.dlq", RequestTimeout: 300 * time.Millisecond,
		RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond, Linger: time.Millisecond,
	}
	if m.SASL != "" {
		cfg.SASL = SASL{m.SASL, "user", "secret"}
	}
	return cfg
}

// askAll sends one request of each kind, in the order in which a sink does.
func askAll(ctx context.Context, cl *client) error {
	l, err := cl.metadata(ctx)
	if err != nil {
		return err
	}
	if _, _, err := cl.newProducer(ctx, ""); err != nil {
		return err
	}
	_, _ = cl.brokerSettings(ctx, Peer{Broker: 1}, settingRequestBytes, settingExpiry)
	if len(l.topics["t"].brokers) == 0 || l.topics["t"].brokers[0] < 0 {
		return errors.New("partition 0 has no leader")
	}
	b := recordbatch.NewPrivateBatch(100)
	b.TryAppend(1, nil, []byte("{}"), nil)
	r := &recordbatch.Reader{}
	r.Reset(b)
	ctx, cancel := context.WithTimeout(ctx, cl.timeout)
	defer cancel()
	_, err = cl.produce(ctx, Peer{Broker: l.topics["t"].brokers[0]}, &rawproduce.Request{Acks: -1, Topics: []rawproduce.RequestTopic{
		{Topic: "t", Partitions: []rawproduce.RequestPartition{{RecordSet: protocol.RawRecordSet{Reader: r}}}},
	}})
	return err
}

// askOnce is askAll with a client of its own, in bounded memory.
func askOnce(t *testing.T, cfg *Config) error {
	t.Helper()
	cl, err := newClient(cfg, &Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.CloseIdleConnections()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = askAll(patient(t), cl)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 40<<20 {
		t.Errorf("%d bytes of memory", n)
	}
	return err
}

// Whatever sits at the address: an error that says what it looks like, and bounded memory.
func TestNoBrokerAtTheAddress(t *testing.T) {
	for _, m := range hostile.All("t") {
		t.Run(m.Name, func(t *testing.T) {
			b := hostile.Listen(t, "127.0.0.1:0", "t", m)
			cfg := hostileConfig(b, m)
			cfg.setDefaults()
			says := func(err error) bool {
				if err == nil {
					return m.Works || m.Says == ""
				}
				return strings.Contains(err.Error(), m.Says) && !(m.Works && m.Says != "")
			}
			var err error
			for range 3 { // a busy machine may take longer for an answer
				if err = askOnce(t, &cfg); says(err) {
					break
				}
				cfg.RequestTimeout *= 10
			}
			if !says(err) {
				t.Errorf("%v, want %q", err, m.Says)
			}
			t.Log(err)
		})
	}
}

// A sink before the same listeners: nothing leaks, nothing spins, and Close keeps its time.
func TestSinkBeforeNoBroker(t *testing.T) {
	t.Parallel()
	for _, m := range hostile.All("t") {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			b := hostile.Listen(t, "127.0.0.1:0", "t", m)
			s, err := New(hostileConfig(b, m), Deps{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			appender := make(chan struct{})
			go func() { // it waits until the topic is known, in most modes for ever
				defer close(appender)
				for i := range 10 {
					_, _ = s.Append(ctx, []sink.Record{record("key", i)}, nil)
				}
			}()
			start := time.Now()
			waitFor(t, func() bool { return b.Requests() > 8 || time.Since(start) > time.Second/2 })
			_ = s.Close(ended())
			cancel()
			<-appender
			// A look each second, a resend each 10 ms at least, and what a connection takes.
			if n, most := b.Requests(), 40+10*int64(time.Since(start)/(10*time.Millisecond)); n > most {
				t.Errorf("%d requests in %v", n, time.Since(start))
			}
			waitFor(t, func() bool { return b.Open() == 0 })
		})
	}
}

// TestABrokerThatHangsInALongAnswer: it is asked first for a layout of a thousand partitions, and stops in the middle of it.
// The answer of another one is read within the same request.
func TestABrokerThatHangsInALongAnswer(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1000)
	cfg := Config{Brokers: []string{"hangs:1", c.ListenAddrs()[0]}, Topic: "t", RequestTimeout: 4 * time.Second}
	cfg.setDefaults()
	cl, err := newClient(&cfg, &Deps{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, c.ListenAddrs()[0])
		if err == nil && address == "hangs:1" {
			nc = &hangingConn{Conn: nc, left: 6 << 10}
		}
		return nc, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.CloseIdleConnections()
	cl.Transport.(*network).served = "hangs:1"
	if l, err := cl.metadata(patient(t)); err != nil || len(l.topics["t"].brokers) != 1000 {
		t.Errorf("%d partitions, %v", len(l.topics["t"].brokers), err)
	}
}

// hangingConn brings so many bytes and then nothing.
type hangingConn struct {
	net.Conn
	left int
}

func (c *hangingConn) Read(p []byte) (int, error) {
	for c.left == 0 {
		if n, err := c.Conn.Read(make([]byte, 1<<10)); n == 0 {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
