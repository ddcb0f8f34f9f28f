package load_test

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"functiongraph-ingest/bench/load"
)

// book writes down what a Recorder hears.
type book struct {
	mu      sync.Mutex
	stamped int
	posted  map[int]int
}

func (b *book) Stamp(_ int, p *load.Payload) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stamped++
	p.Mark(0, uint64(b.stamped), 0)
}

func (b *book) Posted(_ int, _ *load.Payload, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.posted[status]++
}

func run(t *testing.T, o load.Options) load.Result {
	t.Helper()
	r, err := load.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	results := r.Wait()
	return results[0]
}

func TestMaxEventsAndCounts(t *testing.T) {
	addr := localServer(t, func() string { return ok })
	b := &book{posted: map[int]int{}}
	got := run(t, load.Options{Addr: addr, Conns: 4, Profile: load.Profile{Events: 10, Marked: true}, MaxEvents: 1000, Recorder: b})
	if got.Events != 1000 || got.Bodies != 100 || got.Status[200] != 100 || got.Latency.Count() != 100 {
		t.Errorf("%d events, %d bodies, status %v, %d latencies", got.Events, got.Bodies, got.Status, got.Latency.Count())
	}
	if b.stamped != 100 || b.posted[200] != 100 {
		t.Errorf("the recorder heard of %d bodies and %v", b.stamped, b.posted)
	}
}

func TestRetryAfterSendsTheSameBodyAgain(t *testing.T) {
	var asked atomic.Int32
	addr := localServer(t, func() string {
		if asked.Add(1)%2 == 1 {
			return "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
		}
		return ok
	})
	b := &book{posted: map[int]int{}}
	got := run(t, load.Options{Addr: addr, Conns: 1, Profile: load.Profile{Events: 1, Marked: true}, MaxEvents: 20, RetryAfter: true, Recorder: b})
	if got.Retries != 20 || got.Status[503] != 20 || got.Status[200] != 20 || got.MissingRetryAfter != 0 {
		t.Errorf("%d retries, status %v", got.Retries, got.Status)
	}
	if b.stamped != 20 || b.posted[503] != 20 || b.posted[200] != 20 {
		t.Errorf("the recorder heard of %d bodies and %v", b.stamped, b.posted)
	}
}

func TestNoReplyIsCountedAndTheRunGoesOn(t *testing.T) {
	var asked atomic.Int32
	addr := localServer(t, func() string {
		if asked.Add(1)%5 == 0 {
			return ""
		}
		return ok
	})
	b := &book{posted: map[int]int{}}
	got := run(t, load.Options{Addr: addr, Conns: 1, Profile: load.Profile{Events: 1, Marked: true}, MaxEvents: 100, Recorder: b})
	if got.NoReply != 20 || got.Events != 80 || got.LastError == nil {
		t.Errorf("%d without answer, %d events, %v", got.NoReply, got.Events, got.LastError)
	}
	if b.posted[0] != 20 {
		t.Errorf("the recorder heard %v", b.posted)
	}
}

func TestAnEarlyRefusalIsSeenWhileWriting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// The refusal goes out after the first bytes; the rest is read and thrown away.
			_, _ = io.ReadFull(c, make([]byte, 100))
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			_ = c.(*net.TCPConn).CloseWrite()
			go func() {
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}()
		}
	}()
	got := run(t, load.Options{Addr: l.Addr().String(), Conns: 2, Profile: load.Profile{Events: 17_000}, MaxEvents: 85_000, ReadWhileWriting: true})
	if got.Status[413] != 5 || got.NoReply != 0 {
		t.Errorf("status %v, %d without answer: %v", got.Status, got.NoReply, got.LastError)
	}
}

func TestPhasesAndStop(t *testing.T) {
	phase := make(chan struct{}, 1000)
	addr := localServer(t, func() string {
		select {
		case phase <- struct{}{}:
		default:
		}
		return ok
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := load.Start(ctx, load.Options{Addr: addr, Conns: 2, Profile: load.Profile{Events: 3}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for len(phase) > 0 {
			<-phase // of the phase before
		}
		for range 10 {
			<-phase // with two connections eight of them at least are answered
		}
		r.Next()
	}
	results := r.Stop()
	if len(results) != 4 {
		t.Fatalf("%d phases, want 4", len(results))
	}
	for i, got := range results[:3] {
		if got.Events == 0 || got.Events%3 != 0 || got.Elapsed <= 0 {
			t.Errorf("phase %d: %d events in %v", i, got.Events, got.Elapsed)
		}
	}
}

func TestServerAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := load.Start(ctx, load.Options{Addr: addr, Conns: 1, Profile: load.Profile{Events: 1}})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if got := r.Wait()[0]; got.Events != 0 || got.NoReply != 0 {
		t.Errorf("%+v events, %d without answer", got.Events, got.NoReply)
	}
}
