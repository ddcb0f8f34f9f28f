package listen

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestDrain: after Drain new bodies are refused, on new connections and old ones; those being read
// and those waiting for their ack go on.
func TestDrain(t *testing.T) {
	r := start(t, withHold())
	waitingAck, readingBody, idleConn := r.dial(), r.dial(), r.dial()
	waitingAck.send(post("/", "[1]"))
	readingBody.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n[")
	until(t, "two reservations", func() bool { n, _ := r.room.InUse(); return n == 2 && r.srv.Stats().WaitingAcks == 1 })

	r.srv.Drain()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.srv.WaitAdmitted(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a body is being read, and WaitAdmitted says %v", err)
	}
	for _, c := range []*client{idleConn, r.dial()} {
		c.send(post("/", "[3]"))
		if got := c.reply(); got.status != 503 || !got.close || got.header.Get("Retry-After") != "1" {
			t.Errorf("%+v", got)
		}
		c.closed()
	}
	event := r.dial()
	event.send(post("/extension/invoke", "{}"))
	if got := event.reply(); got.status != 200 {
		t.Errorf("an invocation event while draining: %d", got.status)
	}

	readingBody.send("2]")
	if err := r.srv.WaitAdmitted(context.Background()); err != nil {
		t.Error(err)
	}
	for _, c := range []*client{waitingAck, readingBody} {
		r.hold <- struct{}{}
		if got := c.reply(); got.status != 200 || !got.close {
			t.Errorf("%+v", got)
		}
		c.closed()
	}
	if st := r.srv.Stats(); st.BodiesAdmitted != 2 || st.Refused["shutdown"] != 2 {
		t.Errorf("%+v", st)
	}
}

// TestDrainEndsWaitAtGate: who waits for room when the drain begins is refused at once.
func TestDrainEndsWaitAtGate(t *testing.T) {
	r := start(t, withGate(1, 1<<20), withConfig(func(c *Config) { c.AdmitWait = time.Hour }))
	defer r.occupy(1)()
	cl := r.dial()
	cl.send(post("/", "[]"))
	until(t, "it waits", func() bool { return r.room.Waiting() == 1 })
	r.srv.Drain()
	if got := cl.reply(); got.status != 503 {
		t.Errorf("%+v", got)
	}
	if err := r.srv.WaitAdmitted(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestRingClosed: a body that comes too late for the ring is refused and given back.
func TestRingClosed(t *testing.T) {
	r := start(t)
	r.ring.Close()
	cl := r.dial()
	cl.send(post("/", "[]"))
	if got := cl.reply(); got.status != 503 {
		t.Errorf("%+v", got)
	}
	if st := r.srv.Stats(); st.BodiesAdmitted != 0 || st.Bytes != 0 || st.Refused["shutdown"] != 1 {
		t.Errorf("%+v", st)
	}
}

// TestAbort: all that wait, and all that come to wait, are answered 504.
func TestAbort(t *testing.T) {
	r := start(t, withOutcome(outcome{events: 1, never: true}))
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = r.dial()
		clients[i].send(post("/", "[]"))
	}
	until(t, "all wait", func() bool { return r.srv.Stats().WaitingAcks == len(clients) })
	r.srv.Abort()
	for _, c := range clients {
		if got := c.reply(); got.status != 504 {
			t.Errorf("%+v", got)
		}
	}
	clients[0].send(post("/", "[]"))
	if got := clients[0].reply(); got.status != 504 {
		t.Errorf("after Abort: %+v", got)
	}
}

// TestShutdown closes idle connections, waits for answers that are out, and can be repeated.
func TestShutdown(t *testing.T) {
	r := start(t, withHold())
	idleConn, busy := r.dial(), r.dial()
	idleConn.send(post("/", ""))
	if got := idleConn.reply(); got.status != 200 {
		t.Fatal(got.status)
	}
	busy.send(post("/", "[]"))
	until(t, "it waits", func() bool { return r.srv.Stats().WaitingAcks == 1 })
	errs := make(chan error, 2)
	for range 2 {
		go func() { errs <- r.srv.Shutdown(context.Background()) }()
	}
	idleConn.closed()
	r.hold <- struct{}{}
	if got := busy.reply(); got.status != 200 || !got.close {
		t.Errorf("%+v", got)
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if err := r.srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestShutdownOutOfTime cuts off whatever still goes on.
func TestShutdownOutOfTime(t *testing.T) {
	r := start(t, withOutcome(outcome{never: true}))
	waitingAck, readingBody := r.dial(), r.dial()
	waitingAck.send(post("/", "[]"))
	readingBody.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n[")
	until(t, "both are there", func() bool { n, _ := r.room.InUse(); return n == 1 && r.srv.Stats().WaitingAcks == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if n, _ := r.room.InUse(); n != 0 {
		t.Errorf("%d reservations", n)
	}
}

// TestShutdownUnused: a server that never served, and one that never listened.
func TestShutdownUnused(t *testing.T) {
	r := start(t)
	s := New(r.srv.cfg, r.srv.deps)
	if err := s.Shutdown(context.Background()); err != nil || s.Addr() != "" {
		t.Error(err)
	}
	s = New(r.srv.cfg, r.srv.deps)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.Serve(); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

// TestPortInUse: Listen says so.
func TestPortInUse(t *testing.T) {
	r := start(t)
	cfg := r.srv.cfg
	cfg.Addr = r.addr
	if err := New(cfg, r.srv.deps).Listen(); err == nil {
		t.Error("two servers on one port")
	}
}

// TestStopEndsRequestsThatAreStillComing: who is still sending when a stop has no more time hears of the stop, not of a
// timeout, and may send its body again elsewhere.
func TestStopEndsRequestsThatAreStillComing(t *testing.T) {
	r := start(t)
	parts := map[string]string{
		"a request line": "POST / HT",
		"a header":       "POST / HTTP/1.1\r\nHost: x\r\nContent-Le",
		"a body":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n[",
		"no body yet":    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
		"a chunk":        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[",
		"a trailer":      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\nA: ",
		"a coded body":   "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 30\r\n\r\n\x1f\x8b\x08",
	}
	clients := map[string]*client{}
	for what, part := range parts {
		clients[what] = r.dial()
		clients[what].send(part)
	}
	until(t, "all are being read", func() bool {
		n := 0
		r.srv.conns.each(func(c *conn) {
			if phaseOf(c.state.Load()) == reading && c.Queued() == 0 {
				n++
			}
		})
		return n == len(parts)
	})
	r.srv.Drain()
	r.srv.Abort()
	for what, c := range clients {
		if got := c.reply(); got.status != 503 || !got.close || !strings.Contains(got.body, "shutting down") || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", what, got)
		}
	}
	if st := r.srv.Stats(); st.Refused["shutdown"] != int64(len(parts)) || st.Refused["read_timeout"] != 0 {
		t.Errorf("%v", st.Refused)
	}
}
