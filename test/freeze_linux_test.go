package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// The process stands still for longer than its deadlines while one client has sent half of its body and another
// one waits for Kafka's ack. Neither is charged for that time, and everything arrives once.
func TestFreezeIsNotChargedToDeadlines(t *testing.T) {
	const (
		deadline = 6 * time.Second
		frozen   = deadline + 2*time.Second
		topic    = "freeze-deadlines" // made during the freeze, so that nothing is acknowledged before
	)
	k := kafka(t)
	o := proc.Serve(proc.Build(t), k.Bootstrap(), topic, "--ack", "kafka", "--ack-timeout", deadline.String(), "--read-timeout", deadline.String())
	p := proc.StartUnready(t, o)

	held := func() float64 { return gauge(t, p, "ingest_gate_used_bytes") }
	until(t, func() bool { return held() == 0 }) // it listens
	half := openPost(t, p, `[{"n":1},{"n":2`, `}]`)
	until(t, func() bool { return held() > 0 })
	one := held()
	waiting := openPost(t, p, `[{"n":3}]`, "")
	until(t, func() bool { return held() > one })
	must(t, p.Freeze())
	k.Topic(t, topic, 1, nil)
	<-time.After(frozen) // there is nothing to wait for but the time
	must(t, p.Thaw())
	for name, c := range map[string]*openedPost{"half a body": half, "waiting for the ack": waiting} {
		if status, answer := c.finish(t); status != http.StatusOK {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	code, l := p.MustStop(t)
	if code != 0 || l.Delivered != 3 || l.PossibleDuplicates != 0 {
		t.Errorf("exit %d, ledger %+v", code, l)
	}
	if got := kafkatest.Kcat(t, k.Bootstrap(), topic); len(got) != 3 {
		t.Errorf("%d events arrived", len(got))
	}
}

// openedPost is a post whose client has more to send.
type openedPost struct {
	conn net.Conn
	rest string
}

func openPost(t *testing.T, p *proc.Process, first, rest string) *openedPost {
	t.Helper()
	conn, err := net.Dial("tcp", p.Listen)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: ingest\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(first)+len(rest), first)
	must(t, err)
	return &openedPost{conn: conn, rest: rest}
}

func (o *openedPost) finish(t *testing.T) (status int, answer string) {
	t.Helper()
	_, err := io.WriteString(o.conn, o.rest)
	must(t, err)
	res, err := http.ReadResponse(bufio.NewReader(o.conn), nil)
	must(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(t, err)
	return res.StatusCode, string(b)
}

// gauge reads one value of /metrics; -1: there is none, or nobody answers yet.
func gauge(t *testing.T, p *proc.Process, name string) (v float64) {
	t.Helper()
	_, text, err := p.Get("/metrics")
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			_, err := fmt.Sscan(value, &v)
			must(t, err)
			return v
		}
	}
	return -1
}
