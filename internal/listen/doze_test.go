package listen

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSleep: a connection falls asleep between requests, wakes up for the next, and is closed in its
// sleep by the client, by the idle timeout or by Shutdown.
func TestSleep(t *testing.T) {
	if !canSleep {
		t.Skip("not on this system")
	}
	r := start(t, withConfig(func(c *Config) { c.ReadTimeout = 8 * time.Second; c.AckTimeout = 8 * time.Millisecond }))
	a, b := r.dial(), r.dial()
	for i := range 5 {
		until(t, "both sleep", func() bool { return r.inPhase(asleep) == 2 })
		for _, c := range []*client{a, b} {
			c.send(post("/", fmt.Sprintf("[%d]", i)) + post("/nope", "x")) // pipelined
			if got := c.reply(); got.status != 200 && got.status != 504 {
				t.Fatalf("%+v", got)
			}
			if got := c.reply(); got.status != 404 {
				t.Fatalf("%+v", got)
			}
		}
	}
	if n := len(r.taken()); n != 10 {
		t.Errorf("%d bodies", n)
	}
	until(t, "both sleep", func() bool { return r.inPhase(asleep) == 2 })
	_ = a.Close()
	until(t, "one is gone", func() bool { return r.srv.Stats().OpenConns == 1 })
	if err := r.srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	b.closed()
	if st := r.srv.Stats(); len(st.Refused) != 1 || st.Refused["not_found"] != 10 {
		t.Errorf("%+v", st)
	}
}

// TestSleepWhileSending: requests that come at the moment at which a connection falls asleep are not
// lost, and neither are those that arrive in pieces.
func TestSleepWhileSending(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.IdleTimeout = 8 * time.Hour; c.ReadTimeout = 0; c.AckTimeout = 0 }))
	cl := r.dial()
	for i := range 2000 {
		// A tick of our own at any moment: the ticker's next is a second away.
		go r.pass(1)
		request := post("/", fmt.Sprintf("[%d]", i))
		cut := i % len(request)
		cl.send(request[:cut])
		cl.send(request[cut:])
		if got := cl.reply(); got.status != 200 {
			t.Fatalf("%d: %+v", i, got)
		}
	}
	if n := len(r.taken()); n != 2000 {
		t.Errorf("%d bodies", n)
	}
}

// While every connection sleeps the ticker does too; one that wakes has its deadlines on time again.
func TestTickerSlowsDownWhileAllSleep(t *testing.T) {
	if !canSleep {
		t.Skip("connections do not sleep on this system")
	}
	var r registry
	limits := newTicks(&Config{ReadTimeout: 30 * time.Second, IdleTimeout: 5 * time.Minute, AckTimeout: 30 * time.Second})
	if limits.slow < 8 {
		t.Fatalf("slow is %d ticks", limits.slow)
	}
	synctest.Test(t, func(t *testing.T) {
		var ticks atomic.Int64
		r.init(&limits, func() { ticks.Add(1) })
		c := &conn{srv: &Server{}}
		c.state.Store(never<<deadlineShift | uint64(asleep)<<phaseShift)
		r.add(c, 1, 0, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if most := 2 + 60/int64(limits.slow); ticks.Load() > most || r.now.Load() < 60-limits.slow {
			t.Errorf("%d ticks in a minute of sleep, at most %d expected; the clock says %d", ticks.Load(), most, r.now.Load())
		}
		c.state.Store(never<<deadlineShift | uint64(reading)<<phaseShift)
		r.woke()
		ticks.Store(0)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if ticks.Load() < 9 {
			t.Errorf("%d ticks in 10 s after it woke", ticks.Load())
		}
		r.remove(c)
		r.wg.Wait()
	})
}
