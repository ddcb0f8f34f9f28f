package listen

import (
	"strings"
	"testing"
	"time"
)

const expectHead = "Host: x\r\nExpect: 100-continue\r\n"

// TestExpectContinue: the go-ahead comes before the body is sent, and the reservation is used once.
func TestExpectContinue(t *testing.T) {
	r := start(t)
	cl := r.dial()
	for _, framing := range []string{"Content-Length: 2\r\n", "Transfer-Encoding: chunked\r\n"} {
		cl.send("POST / HTTP/1.1\r\n" + expectHead + framing + "\r\n")
		if got := cl.reply(); got.status != 100 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		if items, _ := r.room.InUse(); items != 1 {
			t.Errorf("%d reservations after 100", items)
		}
		if framing[0] == 'C' {
			cl.send("[]")
		} else {
			cl.send("2\r\n[]\r\n0\r\n\r\n")
		}
		if got := cl.reply(); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	if n := len(r.taken()); n != 2 {
		t.Errorf("%d bodies", n)
	}
}

// TestExpectRefused: the refusal is the answer, complete with its header and text, and no 100 comes.
func TestExpectRefused(t *testing.T) {
	for _, c := range []struct {
		name, line, framing string
		status              int
		contains            string
	}{
		{"too large", "POST /", "Content-Length: 999999999\r\n", 413, "--max-body"},
		{"full", "POST /", "Content-Length: 2\r\n", 503, "--ring-items"},
		{"full, chunked", "POST /", "Transfer-Encoding: chunked\r\n", 503, "--ring-items"},
		{"no length", "POST /", "", 411, "Content-Length"},
		{"gzip", "POST /", "Content-Length: 2\r\nContent-Encoding: br\r\n", 415, "encoding"},
		{"path", "POST /nope", "Content-Length: 2\r\n", 404, "/v1/events"},
		{"method", "PUT /", "Content-Length: 2\r\n", 405, "POST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, withGate(1, 1<<20), withConfig(func(c *Config) { c.AdmitWait = time.Millisecond }))
			defer r.occupy(1)()
			cl := r.dial()
			cl.send(c.line + " HTTP/1.1\r\n" + expectHead + c.framing + "\r\n")
			got := cl.reply()
			if got.status != c.status || !strings.Contains(got.body, c.contains) || !got.close {
				t.Errorf("%d %q close %v", got.status, got.body, got.close)
			}
			if (c.status == 503) != (got.header.Get("Retry-After") == "1") {
				t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
			}
			if (c.status == 405) != (got.header.Get("Allow") == "POST") {
				t.Errorf("Allow %q", got.header.Get("Allow"))
			}
			cl.closed()
		})
	}
}

// TestExpectThenGone: a client that leaves after its 100 leaves no reservation behind.
func TestExpectThenGone(t *testing.T) {
	r := start(t)
	for _, framing := range []string{"Content-Length: 200\r\n", "Transfer-Encoding: chunked\r\n"} {
		for _, some := range []string{"", "1"} {
			cl := r.dial()
			cl.send("POST / HTTP/1.1\r\n" + expectHead + framing + "\r\n")
			if got := cl.reply(); got.status != 100 {
				t.Fatal(got.status)
			}
			cl.send(some)
			_ = cl.Close()
			until(t, "the reservation is given back", func() bool { n, _ := r.room.InUse(); return n == 0 })
		}
	}
	until(t, "all are counted", func() bool { return r.srv.Stats().Refused["client_gone"] == 4 })
	if n := len(r.taken()); n != 0 {
		t.Errorf("%d bodies", n)
	}
}

// TestExpectInvocation: an invocation event is never refused.
func TestExpectInvocation(t *testing.T) {
	r := start(t)
	cl := r.dial()
	cl.send("POST /extension/invoke HTTP/1.1\r\n" + expectHead + "Content-Length: 2\r\n\r\n")
	if got := cl.reply(); got.status != 100 {
		t.Fatal(got.status)
	}
	cl.send("{}")
	if got := cl.reply(); got.status != 200 || r.invocations.Load() != 1 {
		t.Errorf("%d, %d events", got.status, r.invocations.Load())
	}
}
