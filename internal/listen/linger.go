package listen

import (
	"fmt"
	"io"
	"time"
)

// A server that closes a connection while the client still sends makes the kernel answer with a
// reset, and a reset makes the client's kernel throw away an answer that was not read yet. So a connection ends as
// RFC 9112 section 9.6 says: the sending side is closed, what the client still sends is discarded, and only then
// the connection is closed. Its place is the first that a newcomer takes.
const (
	// lingerTime bounds a linger together with lingerBodies.
	lingerTime = 2 * time.Second
	// lastLinger bounds it while the server stops.
	lastLinger = 100 * time.Millisecond
	// lingerBodies is how many times Config.MaxBodyBytes a linger discards: who sends too much mostly
	// sends somewhat too much, and must see the 413.
	lingerBodies = 4
	// patience is how long nothing of a refused request is read at first. A client that reads while it writes sees the
	// answer and stops by itself, with no more than the receive buffer sent; reading at once would only invite
	// the rest of its body. Who writes everything before reading is served after that.
	patience = 100 * time.Millisecond
	// scratchSize is how much one call discards. On Linux the scratch is never written to, so it
	// takes no memory; one serves all connections.
	scratchSize = 64 << 10
)

// An invocation event's request line begins like this on both documented paths, and acknowledged is the answer.
const (
	invocationStart = "POST /extension/"
	acknowledged    = "HTTP/1.1 200 OK\r\n%sConnection: close\r\nContent-Length: 0\r\n\r\n"
)

// end closes the connection, after a linger where the client may not have read all answers.
func (c *conn) end() {
	switch {
	case !c.wrote:
	case c.tls == nil && c.readFailure() == reasonClientGone: // it sends no more, and all that it sent was read
	case c.srv.stopping.Load() && c.quietFor(c.srv.lingerTime):
	default:
		c.lingering()
	}
	_ = c.hangUp()
}

// quietFor reports whether the last request ended longer than d ago.
func (c *conn) quietFor(d time.Duration) bool {
	p := phaseOf(c.state.Load())
	return (p == idle || p == asleep) && c.srv.conns.now.Load()-c.quietSince.Load() > uint64(d/c.srv.limits.tick)+1
}

// lingering says that no answer follows, and discards until the client closes or a bound is reached.
func (c *conn) lingering() {
	c.quietSince.Store(c.srv.conns.now.Load())
	c.enter(closing, never)
	c.srv.count.lingering.Add(1)
	defer c.srv.count.lingering.Add(-1)
	if c.endWrite() != nil { // closed by the other side
		return
	}
	if c.unread {
		if !c.lingerFor(patience) {
			return
		}
		c.hangup() // one that sends no more may still read: what it sent is discarded all the same
	}
	if !c.lingerFor(c.srv.lingerTime) {
		return
	}
	for left := lingerBodies * c.srv.cfg.MaxBodyBytes; left > 0; {
		n, err := c.drop(left)
		if err != nil {
			return
		}
		left -= n
	}
}

// lingerFor gives a linger its time. It is false when its place is needed, or the connection closed.
func (c *conn) lingerFor(d time.Duration) bool {
	err := c.SetReadDeadline(time.Now().Add(d))
	if c.srv.stopping.Load() && err == nil { // as closeIdle, which may have come before
		err = c.SetReadDeadline(time.Now().Add(min(d, c.srv.lastLinger)))
	}
	return err == nil && c.state.Load()&fired == 0
}

// turnAway answers a connection that is not served. It waits for the request: a client is not
// prepared for an answer that comes before it. An invocation event is acknowledged all the same: the
// platform waits for that, and the user's function with it. Its first bytes tell; nothing else is looked at.
func (c *conn) turnAway() {
	defer func() { _ = c.hangUp() }()
	var start [len(invocationStart)]byte
	if c.SetDeadline(time.Now().Add(c.srv.lingerTime)) != nil {
		return
	}
	n, err := 0, c.handshake()
	if err == nil {
		n, err = io.ReadFull(receiver{c}, start[:])
	}
	if n == 0 {
		c.srv.count.refuse(reasonTooManyConns)
		return
	}
	answer := fmt.Sprintf(acknowledged, c.srv.lineOf(time.Now()).field)
	if err != nil || c.srv.deps.OnInvoke == nil || string(start[:]) != invocationStart {
		c.srv.count.refuse(reasonTooManyConns)
		answer = c.srv.tooManyConns()
	} else {
		c.srv.count.events.Add(1)
	}
	c.unread = true
	c.enter(writing, c.srv.limits.read) // a stop does not end it any more
	if _, err := io.WriteString(c, answer); err == nil {
		c.lingering()
	}
}

// refuseAtOnce answers a connection for which there is not even a place to be turned away from. It never waits,
// because it is the goroutine that accepts which calls it: a request that is on its way still finds a reset, but the
// answer was there first.
func (c *conn) refuseAtOnce() {
	c.srv.count.refuse(reasonTooManyConns)
	if c.tls == nil {
		_, _ = io.WriteString(c.Conn, c.srv.tooManyConns()) // a new socket has room for it
		_ = c.CloseWrite()
		if n := c.Queued(); n > 0 {
			_, _ = c.drop(int64(n)) // what is unread would make the close a reset
		}
	}
	_ = c.Conn.Close()
}
