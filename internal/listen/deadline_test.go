package listen

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/pkg/rawconn"
)

// The timeouts here are short so that the tests are; none asserts how long anything takes.

func short(f func(*Config)) option {
	return withConfig(func(c *Config) { f(c); c.AdmitWait = 0 })
}

// TestSlowRequest: a request that does not come to its end in time is answered 408, and leaves nothing.
func TestSlowRequest(t *testing.T) {
	for name, send := range map[string]string{
		"header":        "POST / HTTP/1.1\r\nHost: x\r\n",
		"before body":   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
		"body":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[{",
		"chunk":         "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n[{",
		"between":       "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[{\r\n",
		"one character": "P",
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, short(func(c *Config) { c.ReadTimeout = 50 * time.Millisecond }))
			cl := r.dial()
			cl.send(send)
			if got := cl.reply(); got.status != 408 || !got.close {
				t.Errorf("%+v", got)
			}
			cl.closed()
			if st := r.srv.Stats(); fmt.Sprint(st.Refused) != "map[read_timeout:1]" || len(r.taken()) != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestIdleTimeout: a connection without a request is closed without a word.
func TestIdleTimeout(t *testing.T) {
	r := start(t, short(func(c *Config) { c.IdleTimeout = 50 * time.Millisecond }))
	fresh, used := r.dial(), r.dial()
	used.send(post("/", "[]"))
	if got := used.reply(); got.status != 200 {
		t.Fatal(got.status)
	}
	fresh.closed()
	used.closed()
	if st := r.srv.Stats(); st.Refused != nil {
		t.Errorf("%+v", st)
	}
}

// TestAckTimeout: the answer says that the outcome is not known; the Delivery is not used again, so
// that what is settled later does not answer for another body.
func TestAckTimeout(t *testing.T) {
	r := start(t, short(func(c *Config) { c.AckTimeout = 50 * time.Millisecond }), func(r *rig, _ *Config, _ *body.RoomConfig) {
		r.consume = func(b *body.Body) outcome { return outcome{events: 1, never: string(b.Data) == "never"} }
	})
	cl := r.dial()
	for i := range 6 {
		data, want := "[]", 200
		if i%2 == 0 {
			data, want = "never", 504
		}
		cl.send(post("/", data))
		got := cl.reply()
		if got.status != want || want == 504 && !strings.HasPrefix(got.body, "outcome unknown, delivery goes on") {
			t.Fatalf("%d: %+v", i, got)
		}
	}
	if st := r.srv.Stats(); st.AckTimeouts != 3 || st.BodiesAdmitted != 6 || st.Refused != nil {
		t.Errorf("%+v", st)
	}
}

// TestLateSettle: what is settled after its sender was answered 504 must not answer for the next body
// on the same connection.
func TestLateSettle(t *testing.T) {
	r := start(t, withOutcome(outcome{never: true}))
	settle := func(i int, dead int) {
		r.mu.Lock()
		d := r.open[i]
		r.open[i] = body.NewDelivery() // for the end of the test
		r.mu.Unlock()
		d.Events, d.DeadLettered = 1, dead
		d.Settle(0)
	}
	cl := r.dial()
	cl.send(post("/", "[1]"))
	until(t, "the first waits", func() bool { return r.srv.Stats().WaitingAcks == 1 && len(r.taken()) == 1 })
	r.pass(1000)
	if got := cl.reply(); got.status != 504 {
		t.Fatalf("%+v", got)
	}
	cl.send(post("/", "[2]"))
	until(t, "the second waits", func() bool { return r.srv.Stats().WaitingAcks == 1 && len(r.taken()) == 2 })
	if r.open[0] == r.open[1] {
		t.Fatal("the Delivery that was given up counts the parts of the next body")
	}
	settle(0, 0)
	settle(1, 7)
	if got := cl.reply(); got.status != 200 || !strings.Contains(got.body, `"deadLettered":7`) {
		t.Errorf("the second was answered %+v", got)
	}
}

// TestWaitAtGateIsNotCharged: the time a request waits for room is not taken from the time its
// client has to send it.
func TestWaitAtGateIsNotCharged(t *testing.T) {
	r := start(t, withGate(1, 1<<20), withConfig(func(c *Config) { c.AdmitWait = time.Hour }))
	release := r.occupy(1)
	cl := r.dial()
	cl.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n[")
	until(t, "it waits", func() bool { return r.room.Waiting() == 1 })
	r.pass(1000)
	release()
	until(t, "it is admitted", func() bool { return r.room.Waiting() == 0 })
	cl.send("1]")
	if got := cl.reply(); got.status != 200 {
		t.Errorf("%+v", got)
	}
}

// TestSlowReader: a client that never reads its answers is not kept for ever.
func TestSlowReader(t *testing.T) {
	r := start(t, short(func(c *Config) { c.ReadTimeout = 50 * time.Millisecond }), withOutcome(outcome{dead: 1}))
	cl := r.dial()
	_ = cl.SetReadBuffer(4 << 10)
	cl.send(post("/", "[]"))
	until(t, "it is connected", func() bool { return len(r.taken()) > 0 })
	r.srv.conns.each(func(c *conn) { _ = c.SetWriteBuffer(4 << 10) }) // else megabytes of answers fit
	all := []byte(strings.Repeat(post("/", "[]"), 100))
	go func() {
		for {
			if _, err := cl.Write(all); err != nil {
				return
			}
		}
	}()
	until(t, "the connection is closed", func() bool { return r.srv.Stats().OpenConns == 0 })
}

// TestFiredWhileTheOldDeadlineIsRevoked: a phase that the watcher, or Shutdown, ends while its connection still waits to
// clear the deadline of the phase before is ended. The connection stayed open for ever, and Shutdown waited for it.
func TestFiredWhileTheOldDeadlineIsRevoked(t *testing.T) {
	r := start(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	c := &conn{Conn: rawconn.New(nc.(rawconn.Stream)), srv: r.srv}
	c.enter(idle, 1)
	registry := &r.srv.conns
	registry.mu.Lock()
	c.fireLocked(c.state.Load())
	ended := make(chan error)
	go func() {
		c.enter(asleep, never)
		_, err := c.Conn.Read(c.one[:])
		ended <- err
	}()
	until(t, "it has the next phase", func() bool { return phaseOf(c.state.Load()) == asleep })
	c.closeIdle()
	registry.mu.Unlock()
	select {
	case err := <-ended:
		if !isTimeout(err) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for ever")
		_ = nc.Close()
		<-ended
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		cfg                    Config
		tick                   time.Duration
		read, total, ack, idle uint64 // total: until an idle connection is closed
	}{
		{Config{}, time.Second, never, never, never, dozeTicks},
		{Config{ReadTimeout: 30 * time.Second, IdleTimeout: 90 * time.Second, AckTimeout: 30 * time.Second}, time.Second, 31, 91, 31, dozeTicks},
		{Config{ReadTimeout: 80 * time.Millisecond, IdleTimeout: 85 * time.Millisecond}, 10 * time.Millisecond, 9, 10, never, dozeTicks},
		{Config{IdleTimeout: time.Microsecond}, time.Millisecond, never, 3, never, dozeTicks},
		{Config{AckTimeout: time.Microsecond}, time.Millisecond, never, never, 2, dozeTicks},
	} {
		got := newTicks(&c.cfg)
		want := ticks{tick: c.tick, read: c.read, ack: c.ack, idle: c.idle, asleep: c.total - c.idle}
		want.invocation = min(want.read, uint64(invocationTime/c.tick)+1)
		if c.total == never {
			want.asleep = never
		}
		// While all sleep, the idle timeout is at most a sixteenth late, and nobody waits for more than a minute.
		if want.slow = max(1, want.asleep/16); want.slow > 60 {
			want.slow = 60
		}
		if canSleep && got != want {
			t.Errorf("%+v: %+v, want %+v", c.cfg, got, want)
		}
	}
}
