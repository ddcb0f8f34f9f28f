package listen

import (
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"functiongraph-ingest/pkg/rawconn"
)

// turnedAwayShare: beside MaxConns, one part in turnedAwayShare of it may be turned away at a time: they get a 503
// instead of a reset, at about 5 KiB each. It lasts for one round trip where the client reads its answer. The
// settings count them (internal/config).
const (
	turnedAwayShare = 8
	leastTurnedAway = 8
)

// How long accepting pauses when the system has no more descriptors or memory.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// maxAcceptWait is how long a newcomer waits for a connection that is about to leave. Where one has to answer a request
// before, which may turn out to be long, others are looked for after firstAcceptWait, twice that, and so on.
const (
	maxAcceptWait   = 100 * time.Millisecond
	firstAcceptWait = time.Millisecond
)

// Serve accepts connections and serves each in its own goroutine, until Shutdown; then it returns
// nil. Listen must have succeeded.
func (s *Server) Serve() error {
	s.accepting <- struct{}{}
	defer func() { <-s.accepting }()
	pause := time.Duration(0)
	for {
		nc, err := s.ln.Accept()
		if err == nil {
			pause = 0
			s.take(nc.(rawconn.Stream)) //nolint:forcetypeassert // package socket listens for TCP and Unix streams only
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			if s.stopping.Load() {
				return nil
			}
			return err
		}
		// Out of descriptors or memory, or the peer is gone already: never a reason to end.
		if pause == 0 {
			s.deps.Logger.Warn("accepting connections fails, retrying", slog.Any("error", err))
		}
		pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done(): // draining: Accept tells when the listener is closed, and must not be asked without a pause
			time.Sleep(minAcceptPause)
		}
	}
}

// take starts to serve a connection, or turns it away.
func (s *Server) take(nc rawconn.Stream) {
	c := s.newConn(nc)
	if !s.place(c) {
		c.refuseAtOnce()
		return
	}
	go s.serve(c)
}

func (s *Server) newConn(nc rawconn.Stream) *conn {
	c := &conn{Conn: rawconn.New(nc), srv: s}
	if s.deps.TLS != nil {
		c.tls = s.deps.TLS.Secure(c.Conn)
	}
	c.meter.bytes.Store(-1)
	c.quietSince.Store(s.conns.now.Load())
	c.enter(asleep, s.limits.asleep)
	c.ages(s.cfg.MaxConnAge)
	return c
}

// place gives a connection a place, if only to be turned away from. Those that are replaced, or linger, need a moment of CPU
// to close: where they are too many a newcomer waits for one of them, and others in the kernel's queue meanwhile. Refusing
// them at once would make them come again, and take that CPU. It is the same where those that could be replaced have
// requests in their sockets.
func (s *Server) place(c *conn) bool {
	most := max(leastTurnedAway, s.cfg.MaxConns/turnedAwayShare)
	for wait := firstAcceptWait; ; {
		switch s.conns.add(c, s.cfg.MaxConns, most, wait < maxAcceptWait) {
		case taken:
			return true
		case noRoom:
			if !s.oneLeaves() {
				return false
			}
		case waitFor:
			if !s.leavesWithin(wait) {
				wait *= 2
			}
		}
	}
}

// oneLeaves waits for a connection that is about to leave, and reports whether one has left.
func (s *Server) oneLeaves() bool {
	select {
	case <-s.conns.left:
		return true
	default:
	}
	return s.conns.leaving() && s.leavesWithin(maxAcceptWait)
}

// leavesWithin reports whether a connection has left before d is over.
func (s *Server) leavesWithin(d time.Duration) bool {
	select {
	case <-s.conns.left:
		return true
	case <-time.After(d):
	case <-s.ctx.Done():
	}
	return false
}

// serve is a connection's goroutine.
func (s *Server) serve(c *conn) {
	defer s.conns.remove(c)
	if c.away {
		c.turnAway()
		return
	}
	for c.sleep() {
		if !c.ready() {
			break
		}
		// The error is about this connection alone, and what matters of it has been counted.
		_ = s.http.ServeConn(c)
		if !c.dozes() {
			break
		}
	}
	c.end()
}

// connState hears where fasthttp is with a connection.
func connState(nc net.Conn, state fasthttp.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	switch state {
	case fasthttp.StateActive:
		c.enter(reading, c.srv.limits.read)
	case fasthttp.StateIdle:
		if bad := c.head.next(); bad != nil {
			c.readErr = bad
		}
		c.quiet()
	}
}
