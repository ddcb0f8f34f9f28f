package listen

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"functiongraph-ingest/internal/body"
)

// noDescriptors is a listener whose system has no more of them. It closes after spin calls, so that a loop without a
// pause ends.
type noDescriptors struct {
	net.Listener
	calls  atomic.Int64
	closed atomic.Bool
}

const spin = 100_000

func (l *noDescriptors) Accept() (net.Conn, error) {
	if l.calls.Add(1) >= spin || l.closed.Load() {
		return nil, net.ErrClosed
	}
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
}

func (l *noDescriptors) Close() error { l.closed.Store(true); return nil }

// TestAcceptDoesNotSpinWithoutDescriptors: while accepting fails it is tried again with pauses, and goes on; while the
// server drains too, when the pauses are short so that the end is noticed. The clock is the bubble's.
func TestAcceptDoesNotSpinWithoutDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{}, Deps{Room: body.NewRoom(body.RoomConfig{Items: 16, Bytes: 1 << 20, MaxBody: 1 << 10})})
		ln := &noDescriptors{}
		s.ln = ln
		served := make(chan error, 1)
		go func() { served <- s.Serve() }()
		const minute = time.Minute
		calls := func() int64 {
			was := ln.calls.Load()
			time.Sleep(minute)
			return ln.calls.Load() - was
		}
		if n := calls(); n < int64(minute/maxAcceptPause) || n > 2*int64(minute/maxAcceptPause) {
			t.Errorf("%d calls in a minute", n)
		}
		s.Drain()
		if n := calls(); n < int64(minute/maxAcceptPause) || n > int64(minute/minAcceptPause)+1 {
			t.Errorf("%d calls in a minute of draining", n)
		}
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// TestNewcomersWaitForThoseThatLeave: where all places are taken, and as many connections as may be are on their way out, a
// newcomer waits for one of them instead of being refused; not for long, and not where none leaves.
func TestNewcomersWaitForThoseThatLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{MaxConns: 2}, Deps{Room: body.NewRoom(body.RoomConfig{Items: 16, Bytes: 1 << 20, MaxBody: 1 << 10})})
		var all []*conn
		place := func() bool {
			c := &conn{srv: s}
			c.enter(waiting, never)
			if !s.place(c) {
				return false
			}
			all = append(all, c)
			return true
		}
		leave := func() {
			first := all[0]
			all = all[1:]
			s.conns.remove(first)
		}
		for range 2 + leastTurnedAway {
			if !place() {
				t.Fatal("no place")
			}
		}
		if begun := time.Now(); place() || time.Since(begun) > 0 {
			t.Error("a newcomer has waited though none leaves")
		}
		last := all[len(all)-1]
		last.state.Store(last.state.Load() | fired)
		came := make(chan bool)
		for range 3 {
			go func() { came <- place() }()
			synctest.Wait()
			leave()
			if !<-came {
				t.Error("a newcomer was refused though one left")
			}
		}
		if place() {
			t.Error("a newcomer has found a place")
		}
		for len(all) > 0 {
			leave()
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
