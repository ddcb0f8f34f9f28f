package listen

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/internal/body"

	"golang.org/x/sys/unix"
)

// TestNewcomerReplacesTheLongestIdle: connections that are open and do nothing keep nobody out; one that carries a
// request is never closed for a newcomer, and in an extension none that ever carried one.
func TestNewcomerReplacesTheLongestIdle(t *testing.T) {
	for _, silent := range []bool{false, true} {
		for i, keep := range []bool{false, true, false, true} {
			r := start(t, withConfig(func(c *Config) {
				c.MaxConns, c.KeepUsed = 8, keep
				if i > 1 {
					c.IdleTimeout = 0
				}
			}))
			var old []*client
			for range 8 {
				cl := r.dial()
				if !silent {
					cl.send(post("/", "[]"))
					if got := cl.reply(); got.status != 200 {
						t.Fatalf("%+v", got)
					}
				}
				until(t, "it is open and rests", func() bool {
					return r.srv.Stats().OpenConns == len(old)+1 && r.inPhase(idle)+r.inPhase(asleep) == len(old)+1
				})
				old = append(old, cl)
				r.pass(1) // so that one is older than the next
			}
			newcomer := r.dial()
			newcomer.send(post("/", "[]"))
			got := newcomer.reply()
			if want := map[bool]int{true: 503, false: 200}[keep && !silent]; got.status != want {
				t.Errorf("silent %v, keep %v: %+v", silent, keep, got)
			}
			if got.status == 200 {
				old[0].closed()
				old[7].send(post("/", "[]"))
				if got := old[7].reply(); got.status != 200 {
					t.Errorf("the youngest: %+v", got)
				}
				if st := r.srv.Stats(); st.Replaced != 1 {
					t.Errorf("%+v", st)
				}
			}
		}
	}
}

// TestBusyConnectionsAreNotReplaced: newcomers get 503 while every connection has a request.
func TestBusyConnectionsAreNotReplaced(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.MaxConns = 4 }), withHold())
	for range 2 {
		r.dial().send(post("/", "[]")) // waits for its ack
		r.dial().send(postLine + "Content-Length: 2\r\n\r\n[")
	}
	until(t, "all are busy", func() bool { return r.inPhase(waiting) == 2 && r.inPhase(reading) == 2 })
	newcomer := r.dial()
	newcomer.send(post("/", "[]"))
	if got := newcomer.reply(); got.status != 503 || !strings.Contains(got.body, "--max-conns") {
		t.Errorf("%+v", got)
	}
}

// TestFloodOfConnections: a thousand that come and say nothing keep a client that comes later from nothing.
func TestFloodOfConnections(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.MaxConns = 16 }))
	for range 100 {
		r.dial()
	}
	until(t, "all have been accepted", func() bool {
		st := r.srv.Stats()
		return int64(st.OpenConns)+st.Replaced+st.Refused["too_many_connections"] >= 100
	})
	for range 20 {
		until(t, "those that were replaced are gone", func() bool { return r.srv.Stats().TurnedAway == 0 })
		cl := r.dial()
		cl.send(post("/", "[]"))
		if got := cl.reply(); got.status != 200 {
			t.Fatalf("%+v", got)
		}
		_ = cl.Close()
	}
	until(t, "no more than may be are open", func() bool { st := r.srv.Stats(); return st.OpenConns <= 16 && st.TurnedAway <= 2 })
}

// TestUnfinishedRequestsGiveUpTheirPlaces: a newcomer waits for nobody whose header, or handshake, does not end, nor for
// a body that hardly comes.
func TestUnfinishedRequestsGiveUpTheirPlaces(t *testing.T) {
	secure, config := secured(t, false)
	for _, c := range []struct {
		name, part string
		ticks      uint64 // until it may be replaced, beside those for which the others are opened
		status     int    // 0: its connection is closed
		tls        bool
	}{
		{name: "a method", part: "PO", status: 503},
		{name: "a line", part: "POST / HTTP/1.1\r\n", status: 503},
		{name: "fields", part: postLine + "A: b\r\nContent-Le", status: 503},
		{name: "a handshake", part: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", tls: true},
		{name: "a body", part: postLine + "Content-Length: 100\r\n\r\n[", ticks: 10, status: 408},
		{name: "no body", part: postLine + "Content-Length: 100\r\n\r\n", ticks: 10, status: 408},
		{name: "a chunk", part: postLine + chunkedTE + "\r\n5\r\n[", ticks: 10, status: 408},
		{name: "a trailer", part: postLine + chunkedTE + "\r\n2\r\n[]\r\n0\r\nA:", ticks: 10, status: 408},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := option(func(*rig, *Config, *body.RoomConfig) {})
			if c.tls {
				opt = secure
			}
			r := start(t, opt, withTestTicks(), withConfig(func(cfg *Config) {
				cfg.MaxConns, cfg.MinBodyRate, cfg.ReadTimeout = 4, 240, time.Hour
			}))
			var slow []*client
			for i := range 4 {
				cl := r.dial()
				cl.send(c.part)
				until(t, "all of it was read", func() bool {
					return r.inPhase(reading) == i+1 && (c.status == 408 || r.partial() == i+1) && r.unread() == 0
				})
				slow = append(slow, cl)
				r.pass(1) // so that it is older than the next
			}
			r.pass(c.ticks)
			r.pass(c.ticks)
			if n := r.inPhase(reading); n != 4 {
				t.Fatalf("%d are left though nobody has come", n)
			}
			if c.tls {
				if got := r.dialTLS(config).do(post("/", "[]")); got.status != 200 {
					t.Errorf("%+v", got)
				}
			} else {
				newcomer := r.dial()
				newcomer.send(post("/", "[]"))
				if got := newcomer.reply(); got.status != 200 {
					t.Errorf("%+v", got)
				}
			}
			if c.status == 0 {
				if _, err := io.ReadAll(slow[0]); isTimeout(err) {
					t.Error("the first is still open")
				}
			} else if got := slow[0].reply(); got.status != c.status || !got.close {
				t.Errorf("the first: %+v", got)
			}
			if n, st := r.inPhase(reading), r.srv.Stats(); n != 3 || st.Replaced != 1 {
				t.Errorf("%d are left, %+v", n, st)
			}
		})
	}
}

// newcomer posts on a new connection and returns the status.
func (r *rig) newcomer() int {
	r.t.Helper()
	cl := r.dial()
	cl.send(post("/", "[]"))
	return cl.reply().status
}

// begins sends a part of a header.
func (r *rig) begins(cl *client, part string) {
	r.t.Helper()
	n := r.partial()
	cl.send(part)
	until(r.t, "the rest of the header is waited for", func() bool { return r.partial() == n+1 && r.unread() == 0 })
}

// TestNewcomersLeaveEachOtherTime: while most places are busy, a handshake or a header that has just begun is not replaced,
// else newcomers would end each other and none were served. While more than half of the places are unfinished, a newcomer
// does not wait for them.
func TestNewcomersLeaveEachOtherTime(t *testing.T) {
	secure, config := secured(t, false)
	hello := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
	for _, part := range []string{"PO", postLine + "A: b\r\n", hello} {
		for busy, want := range map[int][]int{0: {200}, 1: {200}, 2: {503, 503, 200}, 3: {503, 503, 200}} {
			opts := []option{withTestTicks(), withConfig(func(c *Config) { c.MaxConns = 4 })}
			if part == hello {
				opts = append(opts, secure)
			}
			r := start(t, opts...)
			ask, dial := r.newcomer, func() net.Conn { return r.dial() }
			if part == hello {
				ask = func() int { return r.dialTLS(config).do(post("/", "[]")).status }
				dial = func() net.Conn { return r.dialTLS(config).nc }
			}
			for i := range busy {
				_, _ = io.WriteString(dial(), postLine+"Content-Length: 2\r\n\r\n[")
				until(t, "its body is waited for", func() bool { return r.inPhase(reading) == i+1 && r.partial() == 0 && r.unread() == 0 })
			}
			for range 4 - busy {
				r.begins(r.dial(), part)
			}
			for tick, want := range want {
				if got := ask(); got != want {
					t.Errorf("%q, %d are busy, tick %d: %d, want %d", part, busy, tick, got, want)
				}
				r.pass(1)
			}
			until(t, "all were told", func() bool { return r.srv.Stats().Replaced == 1 })
			if st := r.srv.Stats(); st.Refused["tls_handshake"] != 0 {
				t.Errorf("%q, %d are busy: %+v", part, busy, st)
			}
		}
	}
}

// TestHeaderInTwoPieces: how long a connection was quiet before does not matter to a header. Idle connections give
// their places first, then the header that began first.
func TestHeaderInTwoPieces(t *testing.T) {
	r := start(t, withTestTicks(), withConfig(func(c *Config) { c.MaxConns, c.IdleTimeout = 3, 0 }))
	var all []*client
	for range 3 {
		all = append(all, r.dial())
		all[len(all)-1].send(post("/", "[]"))
		if got := all[len(all)-1].reply(); got.status != 200 {
			t.Fatalf("%+v", got)
		}
		r.pass(10)
	}
	quiet, second, idler := all[0], all[1], all[2]
	resting := func(n int) {
		t.Helper()
		until(t, "the others are idle", func() bool { return r.inPhase(idle)+r.inPhase(asleep) == n })
	}
	resting(3)
	r.begins(second, "PO")
	r.pass(3)
	r.begins(quiet, "PO")
	r.pass(3)
	if got := r.newcomer(); got != 200 {
		t.Errorf("%d", got)
	}
	idler.closed()
	resting(1)
	r.begins(r.dial(), "PO") // in the place of the newcomer, which is idle
	if got := r.newcomer(); got != 200 {
		t.Errorf("%d", got)
	}
	if got := second.reply(); got.status != 503 {
		t.Errorf("the header that began first: %+v", got)
	}
	quiet.send(post("/", "[]")[2:])
	if got := quiet.reply(); got.status != 200 || got.close {
		t.Errorf("the header that began later: %+v", got)
	}
}

// TestUsedConnectionsAreKept: in an extension a connection that has carried a delivery is not replaced, however slow
// the next one is.
func TestUsedConnectionsAreKept(t *testing.T) {
	for _, part := range []string{"PO", postLine + "A: b\r\n", postLine + "Content-Length: 100\r\n\r\n["} {
		r := start(t, withTestTicks(), withConfig(func(c *Config) {
			c.MaxConns, c.MinBodyRate, c.ReadTimeout, c.KeepUsed = 1, 240, time.Hour, true
		}))
		cl := r.dial()
		cl.send(post("/", "[]"))
		if got := cl.reply(); got.status != 200 {
			t.Fatalf("%+v", got)
		}
		cl.send(part)
		until(t, "all of it was read", func() bool { return r.inPhase(reading) == 1 && r.unread() == 0 })
		r.pass(10)
		r.pass(10)
		if got := r.newcomer(); got != 503 {
			t.Errorf("%q: %d", part, got)
		}
		if n := r.inPhase(reading); n != 1 {
			t.Errorf("%q: it was replaced", part)
		}
	}
}

// TestReplacedWhileARequestBegins: a request that begins while its connection is chosen as an idle one is answered.
func TestReplacedWhileARequestBegins(t *testing.T) {
	r := start(t, withTestTicks())
	cl := r.dial()
	cl.send(post("/", "[]")[:len(post("/", "[]"))-1])
	until(t, "its body is waited for", func() bool { return r.inPhase(reading) == 1 && r.unread() == 0 })
	reg := &r.srv.conns
	reg.mu.Lock()
	reg.evictLocked(reg.first)
	reg.served-- // no newcomer takes its place
	reg.mu.Unlock()
	cl.send("]")
	if got := cl.reply(); got.status != 200 || !got.close {
		t.Errorf("%+v", got)
	}
}

// partial counts connections that wait for the rest of a header or a handshake, unread those that have not read all.
func (r *rig) partial() (n int) {
	r.srv.conns.each(func(c *conn) {
		if c.partial.Load() != 0 {
			n++
		}
	})
	return n
}

func (r *rig) unread() (n int) {
	r.srv.conns.each(func(c *conn) { n += c.Queued() })
	return n
}

// TestConnectionAge: a connection that is old ends with its answer, or without a word while it is idle.
func TestConnectionAge(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.MaxConnAge, c.IdleTimeout = 100*time.Second, time.Hour }))
	busy, quiet := r.dial(), r.dial()
	for _, cl := range []*client{busy, quiet} {
		cl.send(post("/", "[]"))
		if got := cl.reply(); got.status != 200 || got.close {
			t.Fatalf("%+v", got)
		}
	}
	r.pass(80)
	busy.send(post("/", "[]")[:20])
	until(t, "it is busy", func() bool { return r.inPhase(reading) == 1 })
	r.pass(40)
	quiet.closed()
	busy.send(post("/", "[]")[20:])
	if got := busy.reply(); got.status != 200 || !got.close {
		t.Errorf("%+v", got)
	}
	busy.closed()
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// TestComplaints: each cause has a line at once, and then at most one a minute.
func TestComplaints(t *testing.T) {
	var log lines
	s := New(Config{}, Deps{Room: body.NewRoom(body.RoomConfig{Items: 1, Bytes: 1 << 20, MaxBody: 1}), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 125 {
		for range 10 {
			s.count.refuse(reasonFull)
			s.count.refuse(reasonTooManyConns)
			s.count.refuse(reasonClientGone) // no cause of ours
		}
		s.tick()
		s.conns.now.Add(1)
	}
	for text, want := range map[string]int{"memory for bodies": 3, "--max-conns": 3, "count=10": 2, "count=600": 4, "WARN": 6} {
		if got := strings.Count(log.text.String(), text); got != want {
			t.Errorf("%q stands there %d times, want %d:\n%s", text, got, want, log.text.String())
		}
	}
}

// sendsNoMore reports whether a connection is to write to a socket that is full.
func (r *rig) sendsNoMore() (ok bool) {
	r.srv.conns.each(func(c *conn) {
		raw, err := c.SyscallConn()
		if err != nil || phaseOf(c.state.Load()) != writing {
			return
		}
		_ = raw.Control(func(fd uintptr) {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0)
			ok = ok || err == nil && n == 0
		})
	})
	return ok
}

// pourUnread sends requests over nc and reads no answer, and returns when the server cannot send any more.
func (r *rig) pourUnread(nc net.Conn) {
	r.t.Helper()
	go func() { // ends when the connection does
		for {
			if _, err := io.WriteString(nc, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1000)); err != nil {
				return
			}
		}
	}()
	same, last := 0, int64(0)
	until(r.t, "the answers are not taken", func() bool {
		n := r.srv.Stats().Refused["method"]
		if same++; n == 0 || n != last || !r.sendsNoMore() {
			same, last = 0, n
		}
		return same == 20_000
	})
}

// TestRefusedAndUnreadGiveUpTheirPlaces: a newcomer does not wait for the rest of a body that was refused, nor, after
// slowGrace, for a client that does not read its answers.
func TestRefusedAndUnreadGiveUpTheirPlaces(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin func(*rig, *client)
		in    phase
		ticks uint64
	}{
		{"the rest of a refused body", func(_ *rig, cl *client) {
			cl.send("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n1")
			cl.reply()
		}, dropping, unfinishedTicks},
		{"answers", func(r *rig, cl *client) {
			r.pourUnread(cl)
		}, writing, 11},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, withTestTicks(), withConfig(func(cfg *Config) { cfg.MaxConns, cfg.ReadTimeout = 1, time.Hour }))
			c.begin(r, r.dial())
			until(t, "it has the phase", func() bool { return r.inPhase(c.in) == 1 })
			ask := func() int {
				cl := r.dial()
				defer cl.Close()
				cl.send(post("/", "[]"))
				return cl.reply().status
			}
			if got := ask(); got != 503 {
				t.Errorf("at once: %d", got)
			}
			for try, got := 0, 503; got != 200; try++ { // the client may have taken some answers meanwhile
				until(t, "it is not turned away any more", func() bool { return r.srv.Stats().TurnedAway == 0 })
				r.pass(c.ticks)
				if got = ask(); got != 200 && try == 10 {
					t.Fatalf("after %d ticks: %d", c.ticks, got)
				}
			}
		})
	}
}
