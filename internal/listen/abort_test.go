package listen

import (
	"strings"
	"testing"
)

// TestClientGone: a client that leaves within a body, politely or with a reset, leaves no reservation
// and no body behind, and is counted.
func TestClientGone(t *testing.T) {
	r := start(t)
	n := int64(0)
	for _, reset := range []bool{false, true} {
		for _, part := range []string{"", "[", strings.Repeat("x", 50_000)} {
			for _, head := range []string{"Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n186a0\r\n"} {
				cl := r.dial()
				cl.send("POST / HTTP/1.1\r\nHost: x\r\n" + head + part)
				if part != "" {
					until(t, "it is reserved", func() bool { items, _ := r.room.InUse(); return items == 1 })
				}
				if reset {
					_ = cl.SetLinger(0)
				}
				_ = cl.Close()
				n++
				until(t, "it is counted", func() bool { return r.srv.Stats().Refused["client_gone"] == n })
				until(t, "it is given back", func() bool { items, bytes := r.room.InUse(); return items == 0 && bytes == 0 })
			}
		}
	}
	until(t, "all are closed", func() bool { return r.srv.Stats().OpenConns == 0 })
	if len(r.taken()) != 0 {
		t.Error("half a body reached the ring")
	}
}

// TestHalfClosed: a client that closes its sending side after the request still gets its answer, and
// one that does so within the body is told what is wrong.
func TestHalfClosed(t *testing.T) {
	r := start(t)
	whole := r.dial()
	whole.send(post("/", "[]"))
	_ = whole.CloseWrite()
	if got := whole.reply(); got.status != 200 {
		t.Errorf("%+v", got)
	}
	whole.closed()
	part := r.dial()
	part.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
	_ = part.CloseWrite()
	if got := part.reply(); got.status != 400 || !strings.Contains(got.body, "incomplete") {
		t.Errorf("%+v", got)
	}
	part.closed()
}

// TestGoneWhileWaiting: a client that leaves while its body is on the way loses only its answer.
func TestGoneWhileWaiting(t *testing.T) {
	r := start(t, withHold())
	cl := r.dial()
	cl.send(post("/", "[]"))
	until(t, "it waits", func() bool { return r.srv.Stats().WaitingAcks == 1 })
	_ = cl.SetLinger(0)
	_ = cl.Close()
	r.hold <- struct{}{}
	until(t, "the connection is closed", func() bool { return r.srv.Stats().OpenConns == 0 })
	if n := len(r.taken()); n != 1 {
		t.Errorf("%d bodies", n)
	}
}
