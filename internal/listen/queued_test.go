package listen

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/pkg/rawconn"
)

// seesQueued skips a test where nothing tells what a socket has.
func seesQueued(t *testing.T) {
	t.Helper()
	if !canSleep {
		t.Skip("not on this system")
	}
}

// TestRequestInTheSocketIsNotReset: a connection whose request has come, but whose goroutine has had no CPU to see it,
// is not replaced as an idle one.
func TestRequestInTheSocketIsNotReset(t *testing.T) {
	seesQueued(t)
	r := start(t, withTestTicks(), withConfig(func(c *Config) { c.MaxConns = 2 }))
	asked, serveAsked := r.held()
	r.pass(1) // so that it is older than the next
	quiet, serveQuiet := r.held()
	asked.send(post("/", "[]"))
	until(t, "it is in the socket", func() bool { return r.unread() > 0 })
	if got := r.newcomer(); got != 200 {
		t.Errorf("a newcomer: %d", got)
	}
	serveAsked()
	serveQuiet()
	if got, err := asked.read(); err != nil || got.status != 200 || got.close {
		t.Errorf("%+v, %v", got, err)
	}
	quiet.closed()
	if st := r.srv.Stats(); st.Replaced != 1 || st.Refused != nil {
		t.Errorf("%+v", st)
	}
}

// TestHalfARequestInTheSocket gives up its place as others do, once it was read.
func TestHalfARequestInTheSocket(t *testing.T) {
	seesQueued(t)
	r := start(t, withTestTicks(), withConfig(func(c *Config) { c.MaxConns = 1 }))
	half, serve := r.held()
	half.send("PO")
	until(t, "it is in the socket", func() bool { return r.unread() > 0 })
	if got := r.newcomer(); got != 503 {
		t.Errorf("while it may be a whole request: %d", got)
	}
	serve()
	until(t, "it was read", func() bool { return r.partial() == 1 && r.unread() == 0 })
	if got := r.newcomer(); got != 200 {
		t.Errorf("a newcomer: %d", got)
	}
	if got, err := half.read(); err != nil || got.status != 503 {
		t.Errorf("%+v, %v", got, err)
	}
	if st := r.srv.Stats(); st.Replaced != 1 {
		t.Errorf("%+v", st)
	}
}

// TestNewcomersWaitForRequestsInTheSockets: where all connections that rest have a request in their sockets, the oldest
// is to end with it and a newcomer waits for its place, not for ever. Only so many are asked.
func TestNewcomersWaitForRequestsInTheSockets(t *testing.T) {
	seesQueued(t)
	synctest.Test(t, func(t *testing.T) {
		const conns = 2 * mostAsked
		s := New(Config{MaxConns: conns}, Deps{Room: body.NewRoom(body.RoomConfig{Items: 1, Bytes: 1 << 20, MaxBody: 1})})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		var all []*conn
		came := make(chan bool, 1)
		comes := func(data string) {
			cl, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cl.Close() })
			nc, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(cl, data)
			c := s.newConn(nc.(rawconn.Stream))
			for c.Queued() < len(data) { //nolint:revive // it is on its way
			}
			all = append(all, c)
			go func() { came <- s.place(c) }()
			synctest.Wait()
		}
		for range conns {
			comes("x")
			<-came
		}
		comes("")
		s.conns.mu.Lock()
		asked, doomed := 0, 0
		for _, c := range all {
			if c.passed == s.conns.search {
				asked++
			}
			if c.fate.Load() == leaves {
				doomed++
			}
		}
		s.conns.mu.Unlock()
		if len(came) > 0 || asked != mostAsked || doomed != 1 || all[0].fate.Load() != leaves {
			t.Errorf("%d were asked, %d are to leave", asked, doomed)
		}
		s.conns.remove(all[0])
		if newcomer := all[conns]; !<-came || newcomer.away {
			t.Error("a newcomer was turned away though one left")
		}
		all = all[1 : conns+1]
		all[conns-1].fate.Store(stays)
		all[conns-1].enter(waiting, never)
		comes("")
		if !<-came || !all[conns].away { // the clock goes on while all wait
			t.Error("a newcomer has a place though none left")
		}
		for _, c := range all {
			s.conns.remove(c)
			_ = c.Conn.Close()
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestWholeRequestsInTheQueue: connections that have waited in the kernel's queue, each with a request, get an answer
// each, however many they are. How many of them wait long enough for a place is the machine's matter: at least as many
// as there are places.
func TestWholeRequestsInTheQueue(t *testing.T) {
	seesQueued(t)
	r := start(t, withQueue(), withConfig(func(c *Config) { c.MaxConns = 8 }))
	var all []*client
	for range 100 {
		cl := r.dial()
		cl.send(post("/", "[]", "Connection: close"))
		all = append(all, cl)
	}
	r.accept()
	answers := map[int]int64{}
	for _, cl := range all {
		got, _ := cl.read()
		answers[got.status]++
		_ = cl.Close()
	}
	if n := r.srv.Stats().Refused["too_many_connections"]; answers[0] != 0 || answers[503] != n || answers[200] < 8 {
		t.Errorf("answers: %v, %d are counted as refused", answers, n)
	}
}

// TestRequestInTheSocketIsTheLast: where no other connection can be replaced, one with requests in its socket ends with
// the first of them: a client that pipelines without a pause does not keep its place.
func TestRequestInTheSocketIsTheLast(t *testing.T) {
	seesQueued(t)
	r := start(t, withTestTicks(), withConfig(func(c *Config) { c.MaxConns = 1 }))
	old, serve := r.held()
	old.send(strings.Repeat(post("/", "[]"), 3))
	until(t, "they are in the socket", func() bool { return r.unread() > 0 })
	newcomer := r.dial()
	newcomer.send(post("/", "[]"))
	until(t, "it is to leave", func() (ok bool) {
		r.srv.conns.each(func(c *conn) { ok = ok || c.fate.Load() == leaves })
		return ok
	})
	serve()
	if got, err := old.read(); err != nil || got.status != 200 || !got.close {
		t.Errorf("%+v, %v", got, err)
	}
	old.closed()
	_ = old.Close()
	if got, err := newcomer.read(); err != nil || got.status != 200 && got.status != 503 { // it waits, not for long
		t.Errorf("%+v, %v", got, err)
	}
	until(t, "it rests", func() bool { st := r.srv.Stats(); return st.OpenConns == r.inPhase(idle)+r.inPhase(asleep) })
	if got := r.newcomer(); got != 200 {
		t.Errorf("the next one: %d", got)
	}
}

// TestStopAnswersRequestsInTheSockets: a stop answers a request that has come, ends half a one, and closes a connection
// that has none.
func TestStopAnswersRequestsInTheSockets(t *testing.T) {
	seesQueued(t)
	for _, sent := range []string{"", "PO", post("/", "[]"), post("/", "[]") + post("/", "[]")} {
		r := start(t)
		cl, serve := r.held()
		cl.send(sent)
		until(t, "it is in the socket", func() bool { return r.unread() == len(sent) })
		r.srv.Drain()
		r.srv.Abort()
		stopped := make(chan error)
		go func() { stopped <- r.srv.Shutdown(context.Background()) }()
		until(t, "it stops", r.srv.stopping.Load)
		serve()
		if sent != "" {
			if got, err := cl.read(); err != nil || got.status != 503 || !got.close {
				t.Errorf("%q: %+v, %v", sent, got, err)
			}
		}
		cl.closed()
		if err := <-stopped; err != nil {
			t.Errorf("%q: %v", sent, err)
		}
		if n := r.srv.Stats().Refused["shutdown"]; sent != "" && n != 1 {
			t.Errorf("%q: %d are counted", sent, n)
		}
	}
}

// TestStopAnswersWhoIsTurnedAway: a stop does not end a connection that is being turned away between its request and its
// answer.
func TestStopAnswersWhoIsTurnedAway(t *testing.T) {
	seesQueued(t)
	r := start(t, withTestTicks(), withHold(), withConfig(func(c *Config) { c.MaxConns = 1 }))
	r.dial().send(post("/", "[]"))
	until(t, "all places are busy", func() bool { return r.inPhase(waiting) == 1 })
	cl, serve := r.held()
	cl.send(post("/", "[]"))
	until(t, "its request is in the socket", func() bool { return r.unread() > 0 })
	r.srv.conns.each((*conn).closeIdle) // as Shutdown does
	r.srv.conns.each(func(c *conn) {
		if c.away && c.state.Load()&fired != 0 {
			t.Error("it was ended")
		}
	})
	serve()
	if got := cl.reply(); got.status != 503 {
		t.Errorf("%+v", got)
	}
}

// TestStopEmptiesTheQueue: requests of connections that no one has accepted when the stop begins are answered.
func TestStopEmptiesTheQueue(t *testing.T) {
	seesQueued(t)
	for _, conns := range []int{2048, 4} {
		r := start(t, withQueue(), withConfig(func(c *Config) { c.MaxConns = conns }))
		var all []*client
		for range 40 {
			cl := r.dial()
			cl.send(post("/", "[]"))
			all = append(all, cl)
		}
		r.srv.Drain()
		r.accept()
		go func() { _ = r.srv.Shutdown(context.Background()) }()
		answers := map[int]int{}
		for _, cl := range all {
			got, _ := cl.read()
			answers[got.status]++
			_ = cl.Close()
		}
		if answers[503] != len(all) {
			t.Errorf("%d places: %v", conns, answers)
		}
	}
}

// TestRequestAtTheEndOfTheIdleTime: a request that is in the socket when the idle timeout or the age of its connection
// ends it is answered, as one that its goroutine has seen.
func TestRequestAtTheEndOfTheIdleTime(t *testing.T) {
	seesQueued(t)
	secure, config := secured(t, false)
	for _, tls := range []bool{false, true} {
		for what, change := range map[string]func(*Config){
			"idle": func(c *Config) { c.IdleTimeout = time.Minute },
			"old":  func(c *Config) { c.IdleTimeout, c.MaxConnAge = 0, 50*time.Second },
		} {
			opts := []option{withTestTicks(), withConfig(change)}
			if tls {
				opts = append(opts, secure)
			}
			r := start(t, opts...)
			dial := func() (send func(string), answer func() reply, end func() error) {
				if tls {
					cl := r.dialTLS(config)
					return func(s string) { _, _ = io.WriteString(cl.nc, s) }, func() reply { return cl.do("") }, cl.nc.Close
				}
				cl := r.dial()
				return cl.send, cl.reply, cl.Close
			}
			for range 20 { // a goroutine may be quicker than the end
				send, answer, end := dial()
				send(post("/", "[]"))
				answer()
				until(t, "it is idle", func() bool { return r.inPhase(idle) == 1 })
				r.pass(dozeTicks + 1)
				until(t, "it sleeps", func() bool { return r.inPhase(asleep) == 1 })
				send(post("/", "[]"))
				r.pass(60)
				if got := answer(); got.status != 200 {
					t.Errorf("%s, TLS %v: %+v", what, tls, got)
				}
				_ = end()
				until(t, "it is gone", func() bool { return r.srv.Stats().OpenConns == 0 })
			}
		}
	}
	t.Run("before its goroutine had CPU", func(t *testing.T) {
		r := start(t, withTestTicks())
		cl, serve := r.held()
		cl.send(post("/", "[]"))
		until(t, "it is in the socket", func() bool { return r.unread() > 0 })
		r.pass(100)
		serve()
		if got, err := cl.read(); err != nil || got.status != 200 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
