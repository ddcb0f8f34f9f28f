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

// maxAcceptWait is how long a newcomer waits for a connection that is about to leave.
const maxAcceptWait = 100 * time.Millisecond

// Serve accepts connections and serves each in its own goroutine, until Shutdown; then it returns
// nil. Listen must have succeeded.
func (s *Server) Serve() error {
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
	c := &conn{Conn: rawconn.New(nc), srv: s}
	if s.deps.TLS != nil {
		c.tls = s.deps.TLS.Secure(c.Conn)
	}
	c.meter.bytes.Store(-1)
	c.quietSince.Store(s.conns.now.Load())
	c.enter(asleep, s.limits.asleep)
	c.ages(s.cfg.MaxConnAge)
	if !s.place(c) {
		c.refuseAtOnce()
		return
	}
	go s.serve(c)
}

// place gives a connection a place, if only to be turned away from. Those that are replaced, or linger, need a moment of CPU
// to close: where they are too many a newcomer waits for one of them, and others in the kernel's queue meanwhile. Refusing
// them at once would make them come again, and take that CPU.
func (s *Server) place(c *conn) bool {
	for !s.conns.add(c, s.cfg.MaxConns, max(leastTurnedAway, s.cfg.MaxConns/turnedAwayShare)) {
		if !s.oneLeaves() {
			return false
		}
	}
	return true
}

// oneLeaves waits for a connection that is about to leave, and reports whether one has left.
func (s *Server) oneLeaves() bool {
	select {
	case <-s.conns.left:
		return true
	default:
	}
	if !s.conns.leaving() {
		return false
	}
	select {
	case <-s.conns.left:
		return true
	case <-time.After(maxAcceptWait):
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
