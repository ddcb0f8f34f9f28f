package admin

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A connection that is closed while its client still sends is reset, and the reset makes the client's kernel throw away
// an answer that was not read yet. So it ends as RFC 9112 section 9.6 says, and as those of the listener do: the
// sending side is closed, what the client still sends is discarded, and then the connection is closed. A newcomer
// takes the place of such a connection first.
const (
	lingerTime  = 2 * time.Second
	lastLinger  = 100 * time.Millisecond // while the server stops
	lingerBytes = 4 << 20
)

// conn ends in two steps. net/http takes it for closed after the first one.
type conn struct {
	net.Conn
	conns   *conns
	writing atomic.Int64 // when the write under way began, in nanoseconds since the Unix epoch; 0: there is none
	reading sync.Mutex   // held by Read, and by the linger when it has returned
	mu      sync.Mutex   // of what follows
	ended   bool         // for net/http
	closed  bool
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.isEnded() {
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p)
	if c.isEnded() { // no request that cannot be answered is begun with
		return 0, net.ErrClosed
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	c.writing.Store(time.Now().UnixNano())
	defer c.writing.Store(0)
	return c.Conn.Write(p)
}

func (c *conn) isEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// SetDeadline implements net.Conn. Behind Close the deadlines are those of the linger.
func (c *conn) SetDeadline(t time.Time) error { return c.unlessEnded(c.Conn.SetDeadline, t) }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.unlessEnded(c.Conn.SetReadDeadline, t) }

func (c *conn) unlessEnded(set func(time.Time) error, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return net.ErrClosed
	}
	return set(t)
}

// endWrite tells the client that no answer follows.
func (c *conn) endWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return net.ErrClosed
}

// Close implements net.Conn. It does not wait for the client.
func (c *conn) Close() error {
	c.mu.Lock()
	first := !c.ended
	c.ended = true
	if first {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // a Read that waits returns
	}
	c.mu.Unlock()
	if first && !c.conns.lingers(c) {
		return c.cut()
	}
	return nil
}

// linger discards what the client sends until it closes, or a bound is reached, or a newcomer takes the place.
func (c *conn) linger() {
	defer func() { _ = c.cut() }()
	if c.endWrite() != nil { // the client has closed
		return
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.conns.patience(c) == nil {
		_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
	}
}

// cut closes the connection at once, and gives its place back. It is idempotent.
func (c *conn) cut() error {
	c.mu.Lock()
	first := !c.closed
	c.ended, c.closed = true, true
	c.mu.Unlock()
	if !first {
		return nil
	}
	err := c.Conn.Close()
	c.conns.leave(c)
	return err
}
