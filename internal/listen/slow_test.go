package listen

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// TestAnnouncedBodiesHoldNothing: what was announced and does not come takes no room from others, however it was
// announced. With room for what is announced a single one of these clients fills the gate.
func TestAnnouncedBodiesHoldNothing(t *testing.T) {
	const clients = 60
	for name, request := range map[string]string{
		"long":                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n[",
		"medium":              "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n[",
		"chunked":             "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n[",
		"long, 3,000 bytes":   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n" + strings.Repeat(" ", 3000),
		"expects to continue": "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4194304\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, withGate(1024, 6<<20), withConfig(func(c *Config) { c.AdmitWait = 0 }))
			for range clients {
				r.dial().send(request)
			}
			until(t, "all are being read", func() bool { n, _ := r.room.InUse(); return n == clients })
			if _, bytes := r.room.InUse(); bytes > clients*4<<10 {
				t.Errorf("%d bytes are reserved for %d clients", bytes, clients)
			}
			cl := r.dial()
			for i, size := range []int{14, 240, 5000, 60_000, 1 << 20, 4 << 20} {
				cl.send(post("/", strings.Repeat(" ", size)))
				if got := cl.reply(); got.status != 200 {
					t.Errorf("body %d: %d %s", i, got.status, got.body)
				}
			}
			if st := r.srv.Stats(); st.Refused != nil {
				t.Errorf("%+v", st)
			}
		})
	}
}

// slowly is a client whose body of 4 MiB has begun.
func (r *rig) slowly(head string) *client {
	r.t.Helper()
	cl := r.dial()
	cl.send(head)
	until(r.t, "the body is waited for", func() bool {
		waiting := false
		r.srv.conns.each(func(c *conn) { waiting = waiting || c.meter.bytes.Load() >= 0 })
		return waiting
	})
	return cl
}

// crowd fills the room and lets another delivery wait.
func (r *rig) crowd() (release func()) {
	r.t.Helper()
	_, used := r.room.InUse()
	release = r.occupy(r.limit - used)
	r.dial().send(post("/", "[0]"))
	until(r.t, "a delivery waits, and that is known", func() bool { return r.room.Waiting() == 1 && r.srv.crowded.Load() })
	return release
}

// TestSlowBodyIsEndedWhileOthersWait, and only then, and only if it is slow.
func TestSlowBodyIsEndedWhileOthersWait(t *testing.T) {
	for name, head := range map[string]string{
		"length":  "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n[",
		"short":   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[",
		"chunked": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n[",
		"expect":  "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4194304\r\n\r\n",
		"burst":   "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n" + strings.Repeat(" ", 200_000),
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, withGate(1024, 6<<20), withConfig(func(c *Config) { c.AdmitWait, c.ReadTimeout, c.MinBodyRate = time.Hour, time.Hour, 240 }))
			cl := r.slowly(head)
			r.pass(1)
			r.pass(100)
			if n := r.inPhase(reading); n != 1 {
				t.Fatal("it was ended though nobody waits")
			}
			_, used := r.room.InUse()
			defer r.occupy(r.limit - used)()
			r.dial().send(post("/", "[0]")) // waits; at the next tick the slow one is ended
			got := cl.reply()
			if got.status == 100 {
				got = cl.reply()
			}
			if got.status != 408 || !got.close || !strings.Contains(got.body, "--min-body-rate") {
				t.Errorf("%+v", got)
			}
			cl.closed()
			if st := r.srv.Stats(); fmt.Sprint(st.Refused) != "map[slow_body:1]" {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestNothingToComeIsNotMeasured: behind the 100 for an empty body the next header is not judged as a body.
func TestNothingToComeIsNotMeasured(t *testing.T) {
	r := start(t, withGate(1024, 6<<20), withConfig(func(c *Config) { c.AdmitWait, c.ReadTimeout, c.MinBodyRate = time.Hour, time.Hour, 240 }))
	cl := r.dial()
	cl.send("POST / HTTP/1.1\r\n" + expectHead + "Content-Length: 0\r\n\r\n")
	for _, want := range []int{100, 200} {
		if got := cl.reply(); got.status != want {
			t.Fatalf("%+v", got)
		}
	}
	cl.send("POST / HTTP/1.1\r\n")
	until(t, "a part of a header is there", func() bool { return r.inPhase(reading) == 1 && r.unread() == 0 })
	defer r.crowd()()
	r.pass(1)
	r.pass(100)
	r.srv.conns.each(func(c *conn) {
		if c.slow.Load() {
			t.Error("a header was ended as a slow body")
		}
	})
	cl.send("Host: x\r\nContent-Length: 0\r\n\r\n")
	if got := cl.reply(); got.status != 200 {
		t.Errorf("%+v", got)
	}
}

// TestBusyIsNotStalled: a connection that is found reading at every look, each time another request, is not slow.
func TestBusyIsNotStalled(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.MaxConns, c.ReadTimeout, c.MinBodyRate = 1, 0, 240 }))
	busy := r.dial()
	for range 20 {
		busy.send(postLine + "Content-Length: 2\r\n\r\n")
		until(t, "its header was read", func() bool { return r.inPhase(reading) == 1 && r.unread() == 0 })
		r.pass(1)
		busy.send("[]")
		if got := busy.reply(); got.status != 200 {
			t.Fatalf("%+v", got)
		}
	}
	busy.send(postLine + "Content-Length: 2\r\n\r\n")
	until(t, "its header was read", func() bool { return r.inPhase(reading) == 1 && r.unread() == 0 })
	newcomer := r.dial()
	newcomer.send(post("/", "[]"))
	if got := newcomer.reply(); got.status != 503 {
		t.Errorf("%+v", got)
	}
}

// TestSteadyBodyGoesOn: a slow body above the rate is not ended, whoever waits.
func TestSteadyBodyGoesOn(t *testing.T) {
	r := start(t, withGate(1024, 6<<20), withConfig(func(c *Config) { c.AdmitWait, c.ReadTimeout, c.MinBodyRate = time.Hour, time.Hour, 240 }))
	cl := r.slowly("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200001\r\n\r\n[")
	release := r.crowd()
	total := int64(0)
	for range 30 {
		cl.send(strings.Repeat(" ", 5000))
		total += 5000
		until(t, "it was read, or waits for room", func() bool {
			came := false
			r.srv.conns.each(func(c *conn) {
				if c.RemoteAddr().String() == cl.LocalAddr().String() {
					came = c.meter.bytes.Load() >= total || phaseOf(c.state.Load()) == queued
				}
			})
			return came
		})
		r.pass(10) // 10 s: 2,400 bytes
		if total == 25_000 {
			release() // it has waited long enough
			until(t, "nobody waits", func() bool { return r.room.Waiting() == 0 })
		}
	}
	cl.send(strings.Repeat(" ", 50_000))
	if got := cl.reply(); got.status != 200 {
		t.Errorf("%+v", got)
	}
}

// TestBodyWaitsForRoomInTheMiddle: a body that finds no room to grow is not refused: it goes on when there is some.
func TestBodyWaitsForRoomInTheMiddle(t *testing.T) {
	for name, head := range map[string]string{
		"length":  "Content-Length: 2000000\r\n\r\n",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n1e8480\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, withGate(1024, 6<<20), withConfig(func(c *Config) { c.AdmitWait = time.Hour }))
			first := r.dial()
			first.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n" + strings.Repeat(" ", 100_000))
			until(t, "the first has its 4 MiB", func() bool { _, n := r.room.InUse(); return n == 4<<20 })
			second := r.dial()
			second.send("POST / HTTP/1.1\r\nHost: x\r\n" + head)
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(second, strings.Repeat(" ", 2_000_000)+map[string]string{"chunked": "\r\n0\r\n\r\n"}[name])
				sent <- err
			}()
			until(t, "the second waits", func() bool { return r.inPhase(queued) == 1 })
			r.pass(1000) // which is not charged to it; the first is given up
			if got := first.reply(); got.status != 408 {
				t.Errorf("%+v", got)
			}
			if got := second.reply(); got.status != 200 {
				t.Errorf("%+v", got)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			_ = first.Close()
		})
	}
}

// TestStopEndsAWaitInTheMiddle: what waits for its growth is told at a stop, and nothing is left of it.
func TestStopEndsAWaitInTheMiddle(t *testing.T) {
	for _, how := range []string{"room closed", "abort"} {
		r := start(t, withGate(1024, 6<<20), withConfig(func(c *Config) { c.AdmitWait = time.Hour }))
		release := r.occupy(r.limit - 4<<10)
		cl := r.dial()
		cl.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n[")
		cl.send(strings.Repeat(" ", 19_999))
		until(t, "it waits", func() bool { return r.inPhase(queued) == 1 })
		r.srv.Drain()
		if how == "abort" {
			r.srv.Abort()
		} else {
			r.room.Close()
		}
		if got := cl.reply(); got.status != 503 || !strings.Contains(got.body, "shutting down") {
			t.Errorf("%s: %+v", how, got)
		}
		release()
	}
}
