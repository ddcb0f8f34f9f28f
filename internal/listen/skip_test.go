package listen

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

// TestRefusedConnectionGoesOn: after a refusal the connection is where the next request begins, however much of
// the body had come with the header, and whatever comes right behind it.
func TestRefusedConnectionGoesOn(t *testing.T) {
	for _, size := range []int{1, 2, 3000, readBufferSize, 10_000, 64 << 10, 100_001, maxKeptRest} {
		body := strings.Repeat("x", size)
		for _, way := range []string{"whole", "pipelined", "answer first"} {
			t.Run(way, func(t *testing.T) {
				r := start(t, withConfig(func(c *Config) { c.AdmitWait = 0 }))
				release := r.occupy(r.limit)
				cl := r.dial()
				refused := post("/", body)
				from := strings.Index(refused, "\r\n\r\n") + 5 // one byte of the body
				kept := func() {
					t.Helper()
					if got := cl.reply(); got.status != 503 || got.close {
						t.Fatalf("%d bytes: %d, close %v", size, got.status, got.close)
					}
				}
				go func() { // a client that sends all before it reads must not hold up the test
					switch way {
					case "whole":
						_, _ = io.WriteString(cl, refused)
					case "pipelined":
						_, _ = io.WriteString(cl, refused+refused+refused)
					default:
						_, _ = io.WriteString(cl, refused[:from])
					}
				}()
				kept()
				switch way {
				case "pipelined":
					kept()
					kept()
				case "answer first":
					cl.send(refused[from:])
				}
				release()
				cl.send(post("/", `[{"a":1}]`))
				if got := cl.reply(); got.status != 200 {
					t.Errorf("%d bytes: the next request: %d", size, got.status)
				}
				if got := r.taken(); len(got) != 1 || got[0] != `[{"a":1}]` {
					t.Errorf("%d bytes: taken %q", size, got)
				}
				if st := r.srv.Stats(); st.OpenConns != 1 || st.BodiesAdmitted != 1 {
					t.Errorf("%d bytes: %+v", size, st)
				}
				if n := r.srv.count.skipped.Load(); n < int64(size-readBufferSize) || n > 3*int64(size) {
					t.Errorf("%d bytes: the kernel dropped %d", size, n)
				}
				if canSleep && bytes.IndexByte(r.srv.scratch, 'x') >= 0 {
					t.Errorf("%d bytes: a body that nobody wants was copied", size)
				}
			})
		}
	}
}

// TestRefusedAndLongCloses: beyond the bound, and where the end is not known, the connection ends.
func TestRefusedAndLongCloses(t *testing.T) {
	for name, request := range map[string]string{
		"long":    post("/", strings.Repeat("x", maxKeptRest+1)),
		"chunked": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
	} {
		r := start(t, withConfig(func(c *Config) { c.AdmitWait = 0 }))
		release := r.occupy(r.limit)
		cl := r.dial()
		cl.send(request)
		if got := cl.reply(); got.status != 503 || !got.close {
			t.Errorf("%s: %d, close %v", name, got.status, got.close)
		}
		_ = cl.Close()
		release()
	}
}

// TestSkipEnds: a client that does not send what it announced is not waited for, and one that goes away leaves nothing.
func TestSkipEnds(t *testing.T) {
	for _, way := range []string{"goes away", "is silent"} {
		r := start(t, withConfig(func(c *Config) { c.AdmitWait, c.ReadTimeout = 0, time.Hour }))
		r.srv.lingerTime = lingerTime
		release := r.occupy(r.limit)
		cl := r.dial()
		request := post("/", strings.Repeat("x", 100_000))
		cl.send(request[:50_000])
		if got := cl.reply(); got.status != 503 || got.close {
			t.Errorf("%s: %d, close %v", way, got.status, got.close)
		}
		if n := r.srv.Stats().OpenConns; n != 1 {
			t.Errorf("%s: %d connections", way, n)
		}
		if way == "goes away" {
			_ = cl.Close()
		} else {
			until(t, "the rest is waited for", func() bool { return r.inPhase(dropping) == 1 })
			r.pass(r.srv.limits.read + 1)
		}
		until(t, way, func() bool { return r.srv.Stats().OpenConns == 0 })
		release()
	}
}

// TestInvocationTooLongCloses: of such a body a part has been read, so skip does not know what is left of it.
func TestInvocationTooLongCloses(t *testing.T) {
	r := start(t)
	cl := r.dial()
	cl.send(post("/extension/invoke", strings.Repeat("x", maxInvocation+1)) + post("/", "[]"))
	if got := cl.reply(); got.status != 200 || !got.close {
		t.Errorf("%d, close %v", got.status, got.close)
	}
	cl.closed()
}

// TestLongestInvocationKeepsItsConnection: an event of exactly as many bytes as are read is whole.
func TestLongestInvocationKeepsItsConnection(t *testing.T) {
	r := start(t)
	event := "{" + strings.Repeat(" ", maxInvocation-2) + "}"
	for _, request := range []string{
		post("/extension/invoke", event), eventLine + chunkedTE + "\r\n" + chunksOf(event, 1000) + "0\r\nX: 1\r\n\r\n",
		post("/extension/register", event[1:]), post("/extension/invoke", event, "Expect: 100-continue"),
	} {
		cl := r.dial()
		cl.send(request + post("/", "[1]"))
		for range 2 {
			got := cl.reply()
			if got.status == 100 {
				got = cl.reply()
			}
			if got.status != 200 || got.close {
				t.Errorf("%.60q: %d, close %v", request, got.status, got.close)
			}
		}
		_ = cl.Close()
	}
}

// TestShutdownDoesNotWaitForTheSkip: who was refused has its answer; the rest of its body holds nobody up.
func TestShutdownDoesNotWaitForTheSkip(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.AdmitWait, c.ReadTimeout = 0, time.Hour }))
	cl := r.dial()
	request := post("/nowhere", strings.Repeat("x", 100_000))
	cl.send(request[:50_000])
	if got := cl.reply(); got.status != 404 || got.close {
		t.Fatalf("%d, close %v", got.status, got.close)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// TestAbortEndsReading: at the end of a stop nobody takes a body any more, so it is not waited for.
func TestAbortEndsReading(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.ReadTimeout = time.Hour }))
	cl := r.dial()
	cl.send(post("/", strings.Repeat("x", 100_000))[:50_000])
	until(t, "the body is read", func() bool { return r.inPhase(reading) == 1 })
	r.srv.Drain()
	r.srv.Abort()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
