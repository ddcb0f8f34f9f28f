package kafka

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What kafka-go would do by itself and must not; each of these was a trap once.

// Its own InitProducerId looks for a transaction coordinator first, which creates the internal topic
// __transaction_state on a cluster that has none.
func TestNoTransactionCoordinatorIsAskedFor(t *testing.T) {
	c := cluster(t, 1)
	asked := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Observe: true, Count: -1})
	s := start(t, c, nil)
	appendAll(t, s, 10, 1, nil)
	if st := closeSink(t, s); st.Delivered != 10 || !st.Idempotent {
		t.Errorf("stats %+v", st)
	}
	if n := asked.Hits(); n != 0 {
		t.Errorf("FindCoordinator was asked %d times", n)
	}
}

// Without MetadataTopics it asks for all topics of the cluster; with acks=0 it hears nothing of a loss.
func TestRequestsNameOnlyOurTopicsAndWantAllAcks(t *testing.T) {
	c := cluster(t, 1, kfake.SeedTopics(1, "somebody-elses"))
	var wrong atomic.Value
	c.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		switch r := req.(type) {
		case *kmsg.MetadataRequest:
			if r.Topics == nil {
				wrong.Store("metadata of all topics")
			}
			for _, topic := range r.Topics {
				if *topic.Topic != "t" && *topic.Topic != "t.dlq" {
					wrong.Store("metadata of " + *topic.Topic)
				}
			}
		case *kmsg.ProduceRequest:
			if r.Acks != -1 {
				wrong.Store("acks")
			}
		}
		return nil, nil, false
	})
	s := start(t, c, nil)
	appendAll(t, s, 10, 1, nil)
	closeSink(t, s)
	if w := wrong.Load(); w != nil {
		t.Error(w)
	}
}

// It dials a connection for every request that finds none idle, without a limit.
func TestConnectionsAreBounded(t *testing.T) {
	c := cluster(t, 16)
	var open, most atomic.Int32
	s := start(t, c, func(_ *Config, d *Deps) {
		d.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err == nil {
				for n := open.Add(1); n > most.Load(); {
					most.Store(n)
				}
				nc = &countedConn{Conn: nc, open: &open}
			}
			return nc, err
		}
	})
	appendAll(t, s, 20_000, 500, nil)
	closeSink(t, s)
	// Two requests under way, one for metadata, one for the steward's own questions.
	if n := most.Load(); n > requestsPerBroker+2 {
		t.Errorf("%d connections to one broker at the same time", n)
	}
}

type countedConn struct {
	net.Conn
	open   *atomic.Int32
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// Whatever is wrong with the connection, it says "topic not found" to a produce request.
func TestReadyTellsWhyNoBrokerAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c := cluster(t, 1)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.Brokers = []string{refused} })
	waitFor(t, func() bool {
		err := s.Ready()
		return err != nil && strings.Contains(err.Error(), "connection refused")
	})
	waitFor(t, func() bool { return strings.Contains(s.Ready().Error(), refused) })
}
