package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"functiongraph-ingest/test/hostile"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// TestNoKafkaAtTheAddress: whatever answers at the broker's address, the process lives within its memory limit and
// takes deliveries into its spool; when Kafka stands at the address they are delivered; and a stop keeps its time.
func TestNoKafkaAtTheAddress(t *testing.T) {
	t.Parallel()
	k := kafka(t)
	const limit = 64
	// All of hostile.All are tried on the sink in pkg/sink/kafka; here some of each kind on the whole program.
	modes := append(hostile.Greetings(), hostile.Frames(protocol.Metadata)...)
	for _, m := range hostile.All("unused") {
		switch m.Name {
		case "apiversions-huge-array", "initproducerid-wrong-id", "produce-huge-array", "produce-endless", "produce-negative-length",
			"layout-partition-minus-1", "layout-partition-100m", "scram-iterations-max", "scram-endless", "sasl-silent":
			modes = append(modes, m)
		}
	}
	if len(modes) < 30 {
		t.Errorf("%d kinds of listeners", len(modes))
	}
	for _, m := range modes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			topic := "hostile-" + m.Name
			k.Topic(t, topic, 1, nil)
			b := hostile.Listen(t, "127.0.0.1:0", topic, m)
			args := []string{"--ack", "accept", "--spool-dir", filepath.Join(t.TempDir(), "spool"), "--memory-limit", fmt.Sprintf("%dMiB", limit),
				"--shutdown-timeout", "5s", "--request-timeout", "1s"}
			if m.SASL != "" {
				args = append(args, "--sasl-mechanism", m.SASL, "--sasl-user", "user", "--sasl-password", "secret")
			}
			p := proc.StartUnready(t, proc.Serve(proc.Build(t), b.Addr, topic, args...))
			until(t, func() bool { code, _, err := p.Get("/healthz"); return err == nil && code == http.StatusOK })
			post := func(n int) {
				t.Helper()
				res, err := client.Post(p.URL("/"), "application/json", strings.NewReader(fmt.Sprintf(`[{"traceId":"k","n":%d}]`, n)))
				must(t, err)
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					t.Errorf("delivery %d is answered %d", n, res.StatusCode)
				}
			}
			for n := range 10 {
				post(n)
			}
			until(t, func() bool { return b.Requests() >= 1 })
			for n := range 10 {
				post(10 + n)
			}
			peak, err := p.PeakRSS()
			must(t, err)
			if peak > (limit+8)<<20 {
				t.Errorf("peak RSS %d MiB, limit %d", peak>>20, limit)
			}
			b.Close()
			if m.SASL == "" {
				forward(t, b.Addr, k.Bootstrap())
				p.WaitLedger(t, 2*time.Minute, "all events", func(g *proc.Ledger) bool { return g.Delivered == 20 && g.InFlight == 0 && g.Spooled == 0 })
			}
			code, books := p.MustStop(t)
			if code != 0 || books.DroppedTotal() != 0 || books.Admitted != 20 {
				t.Errorf("exit %d, ledger %+v", code, books)
			}
			if m.SASL == "" {
				if got := len(kafkatest.Kcat(t, k.Bootstrap(), topic)); got != 20 {
					t.Errorf("%d events in the topic", got)
				}
			}
		})
	}
}

// forward makes an address lead to another one until the test ends.
func forward(t *testing.T, from, to string) {
	t.Helper()
	l, err := net.Listen("tcp", from)
	must(t, err)
	var tasks sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	keep := func(c net.Conn) {
		mu.Lock()
		conns = append(conns, c)
		mu.Unlock()
	}
	tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			keep(c)
			s, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			keep(s)
			tasks.Go(func() { _, _ = io.Copy(s, c); s.Close() })
			tasks.Go(func() { _, _ = io.Copy(c, s); c.Close() })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		tasks.Wait()
	})
}
