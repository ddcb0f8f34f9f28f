package listen

import (
	"io"
	"strings"
	"testing"
	"time"
)

// TestEarlyRefusalReachesClient: a refusal is sent before the body has come, and must get through
// to a client that sends everything before it reads, and to one that reads all the time. Without the
// linger the kernel answers the unread body with a reset and the client never sees the answer.
func TestEarlyRefusalReachesClient(t *testing.T) {
	data := strings.Repeat("x", 4<<20)
	chunkedData := "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("400000\r\n"+data+"\r\n", 3) + "0\r\n\r\n"
	none := func(*rig) {}
	for _, c := range []struct {
		name, request string
		status        int
		prepare       func(*rig)
	}{
		{"full", post("/", data), 503, func(r *rig) { r.t.Cleanup(r.occupy(r.limit - 1<<20)) }},
		{"shutting down", post("/", data), 503, func(r *rig) { r.srv.Drain() }},
		{"encoding", post("/", data, "Content-Encoding: br"), 415, none},
		{"path", post("/nope", data), 404, none},
		{"too large", post("/", strings.Repeat(data, 3)), 413, none},
		{"too large, chunked", chunkedData, 413, none},
		{"chunked, no room to grow", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n400000\r\n" + data + "\r\n0\r\n\r\n", 503,
			func(r *rig) { r.t.Cleanup(r.occupy(r.limit - 1<<20)) }},
	} {
		for _, concurrently := range []bool{false, true} {
			name := c.name
			if concurrently {
				name += ", read concurrently"
			}
			t.Run(name, func(t *testing.T) {
				r := start(t, withConfig(func(c *Config) { c.AdmitWait = time.Millisecond }))
				c.prepare(r)
				cl := r.dial()
				sent := make(chan error, 1)
				send := func() { _, err := io.WriteString(cl, c.request); sent <- err }
				if concurrently {
					go send()
				} else {
					send()
				}
				got := cl.reply()
				if got.status != c.status || !got.close {
					t.Errorf("%d, close %v", got.status, got.close)
				}
				if err := <-sent; err != nil {
					t.Errorf("send: %v", err)
				}
				cl.closed() // the sending side is closed at once,
				if n := r.srv.Stats().Lingering; n != 1 {
					t.Errorf("%d lingers", n) // and the other when the client is done
				}
				_ = cl.Close()
				until(t, "the linger ends", func() bool { return r.srv.Stats().Lingering == 0 })
			})
		}
	}
}

// TestLingerIsBounded: who sends for ever is cut off.
func TestLingerIsBounded(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.MaxBodyBytes = 1 << 20 }))
	cl := r.dial()
	cl.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
	block := strings.Repeat("x", 64<<10)
	n := 0
	for ; n < 1<<30; n += len(block) {
		if _, err := io.WriteString(cl, block); err != nil {
			break
		}
	}
	if n >= 1<<30 {
		t.Error("the server took 1 GiB of a body that it refused")
	}
	until(t, "the connection is gone", func() bool { return r.srv.Stats().OpenConns == 0 })
}

// TestNoPlaceToBeTurnedAwayFrom: while others hold all places, those for the turned away too, a newcomer still gets its 503.
func TestNoPlaceToBeTurnedAwayFrom(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.MaxConns, c.KeepUsed = 1, true }))
	r.srv.lingerTime = time.Hour
	served := r.dial()
	served.send(post("/", "[]"))
	served.reply()
	for range leastTurnedAway {
		r.dial() // and says nothing
	}
	until(t, "all places are taken", func() bool { return r.srv.Stats().TurnedAway == leastTurnedAway })
	for range 100 {
		c := r.dial()
		c.send(post("/", "[]"))
		if got := c.reply(); got.status != 503 || !got.close || !strings.Contains(got.body, "--max-conns") {
			t.Fatalf("%+v", got)
		}
		_ = c.Close()
	}
	if st := r.srv.Stats(); st.Refused["too_many_connections"] != 100 {
		t.Errorf("%+v", st)
	}
}

// TestTooManyConnections: a connection beyond the limit gets its 503, after its request, or its 200 if it is an
// invocation event; and one that comes when there is room is served.
func TestTooManyConnections(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.MaxConns, c.KeepUsed = 2, true }))
	first, second := r.dial(), r.dial()
	for _, c := range []*client{first, second} {
		c.send(post("/", "[]"))
		if got := c.reply(); got.status != 200 {
			t.Fatal(got.status)
		}
	}
	for range 3 {
		c := r.dial()
		c.send(post("/", strings.Repeat("x", 1<<20)))
		got := c.reply()
		if got.status != 503 || got.header.Get("Retry-After") != "1" || !got.close || !strings.Contains(got.body, "--max-conns") {
			t.Fatalf("%+v", got)
		}
		c.closed()
		_ = c.Close()
	}
	for _, path := range []string{"/extension/invoke", "/extension/register"} {
		c := r.dial()
		c.send(post(path, `{"traceId":"1"}`))
		if got := c.reply(); got.status != 200 || !got.close {
			t.Fatalf("an invocation event beyond the limit: %+v", got)
		}
		c.closed()
		_ = c.Close()
	}
	_ = first.Close()
	until(t, "its place is free", func() bool { return r.srv.Stats().OpenConns == 1 })
	third := r.dial()
	third.send(post("/", "[]"))
	if got := third.reply(); got.status != 200 {
		t.Error(got.status)
	}
	if st := r.srv.Stats(); st.Refused["too_many_connections"] != 3 {
		t.Errorf("%+v", st)
	}
}
