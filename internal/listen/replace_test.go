package listen

import (
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/internal/body"
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
		ticks      uint64 // until it may be replaced
		status     int    // 0: its connection is closed
		keep, tls  bool   // keep: it has carried a delivery, and is never replaced between two
	}{
		{name: "a method", part: "PO", status: 503},
		{name: "a line", part: "POST / HTTP/1.1\r\n", status: 503},
		{name: "fields", part: postLine + "A: b\r\nContent-Le", status: 503},
		{name: "a handshake", part: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", tls: true},
		{name: "a body", part: postLine + "Content-Length: 100\r\n\r\n[", ticks: 10, status: 408},
		{name: "no body", part: postLine + "Content-Length: 100\r\n\r\n", ticks: 10, status: 408},
		{name: "a chunk", part: postLine + chunkedTE + "\r\n5\r\n[", ticks: 10, status: 408},
		{name: "a trailer", part: postLine + chunkedTE + "\r\n2\r\n[]\r\n0\r\nA:", ticks: 10, status: 408},
		{name: "a field behind a delivery", part: postLine + "A: b\r\n", ticks: 10, status: 408, keep: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := option(func(*rig, *Config, *body.RoomConfig) {})
			if c.tls {
				opt = secure
			}
			r := start(t, opt, withConfig(func(cfg *Config) {
				cfg.MaxConns, cfg.MinBodyRate, cfg.ReadTimeout, cfg.KeepUsed = 4, 240, time.Hour, c.keep
			}))
			var slow []*client
			for i := range 4 {
				cl := r.dial()
				if c.keep {
					cl.send(post("/", "[]"))
					cl.reply()
				}
				cl.send(c.part)
				until(t, "all of it was read", func() bool {
					return r.inPhase(reading) == i+1 && (c.ticks > 0 || r.partial() == i+1) && r.unread() == 0
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

// partial counts connections that wait for the rest of a header or a handshake, unread those that have not read all.
func (r *rig) partial() (n int) {
	r.srv.conns.each(func(c *conn) {
		if c.partial.Load() {
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
