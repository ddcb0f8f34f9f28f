package load_test

import (
	"net"
	"testing"
	"time"

	"functiongraph-ingest/bench/load"
)

// TestOpenLoopKeepsItsRate: as many bodies are sent as the rate says, whatever the spacing, and all of them
// are accounted for.
func TestOpenLoopKeepsItsRate(t *testing.T) {
	addr := nullServer(t)
	for _, arrivals := range []load.Arrivals{load.Constant, load.Poisson} {
		t.Run(string(arrivals), func(t *testing.T) {
			r, err := load.Start(t.Context(), load.Options{
				Addr: addr, Conns: 8, Threads: 2, Profile: load.Profile{Events: 10}, Arrivals: arrivals, Rate: 100_000, MaxEvents: 20_000,
				Interval: 50 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			got := r.Wait()[0]
			if got.Events != 20_000 || got.Offered != 20_000 || got.Unsent != 0 {
				t.Errorf("%d events, %d offered, %d bodies unsent", got.Events, got.Offered, got.Unsent)
			}
			// 2,000 arrivals at 10,000 a second: never sooner than 0.2 s, but for the chance of Poisson's.
			if got.Elapsed < 150*time.Millisecond {
				t.Errorf("took %v", got.Elapsed)
			}
			var events int64
			for _, w := range r.Series() {
				events += w.Events
			}
			if events != got.Events {
				t.Errorf("%d events in the windows", events)
			}
			if n := int64(got.Late.Count()) + got.Waited; n != 2000 {
				t.Errorf("%d bodies were late or waited", n)
			}
		})
	}
}

// TestLatencyCountsFromTheIntendedTime: while the only connection waits for an answer, the time of the
// others passes.
func TestLatencyCountsFromTheIntendedTime(t *testing.T) {
	const bodies, stall = 20, 100 * time.Millisecond
	first := true
	addr := localServer(t, func() string {
		if first {
			first = false
			<-time.After(stall)
		}
		return ok
	})
	r, err := load.Start(t.Context(), load.Options{
		Addr: addr, Conns: 1, Profile: load.Profile{Events: 1}, Arrivals: load.Constant, Rate: 1000, MaxEvents: bodies,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := r.Wait()[0]
	// All 20 were due within 20 ms, so each waited for most of the stall, though each exchange but the first
	// took no time.
	if p := got.Latency.Quantile(0.1); p < stall-bodies*time.Millisecond {
		t.Errorf("a tenth took less than %v", p)
	}
	if got.Waited < bodies-2 {
		t.Errorf("%d bodies waited for the connection", got.Waited)
	}
}

// TestOpenLoopAgainstNobody ends.
func TestOpenLoopAgainstNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	r, err := load.Start(t.Context(), load.Options{
		Addr: addr, Conns: 2, Profile: load.Profile{Events: 1}, Arrivals: load.Constant, Rate: 100_000, MaxEvents: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := r.Stop()[0]
	if got.Events != 0 || got.NoReply != 0 {
		t.Errorf("%d events, %d without answer", got.Events, got.NoReply)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, o := range []load.Options{
		{},
		{Addr: "127.0.0.1:1"},
		{Addr: "127.0.0.1:1", Conns: 1, Arrivals: "sometimes", Rate: 1},
		{Addr: "127.0.0.1:1", Conns: 1, Arrivals: load.Poisson},
		{Addr: "127.0.0.1:1", Conns: 1, Arrivals: load.Poisson, Rate: 1, RetryAfter: true},
	} {
		o.Profile.Events = 1
		if _, err := load.Start(t.Context(), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
