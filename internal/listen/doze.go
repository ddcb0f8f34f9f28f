package listen

// A connection that is served holds a read buffer, a write buffer, a request and a response of
// fasthttp, and a stack that has grown: about 10 KiB. One that has been idle for a while goes to
// sleep: fasthttp is told that the connection has ended, gives everything back to its pools, and the
// goroutine waits for the next byte with nothing but the socket in hand (BenchmarkConnMemory). A
// connection that is busy never pays for that.

// dozeTicks is how long a connection is idle before it sleeps. Waking up costs about a microsecond.
const dozeTicks = 2

// dozes reports whether the last read failed because the connection had been idle for long enough,
// and not because it is broken. The socket is untouched then.
func (c *conn) dozes() bool {
	return canSleep && c.readErr != nil && phaseOf(c.state.Load()) == idle && isTimeout(c.readErr)
}

// sleep waits for the next request without holding anything. It is false when the connection is to
// be closed: by the other side, by the idle timeout, its age, or Shutdown.
func (c *conn) sleep() bool {
	left := c.idleLeft()
	c.rest(asleep, left)
	c.readErr = nil
	c.head = head{} // fasthttp's buffer serves others
	if canSleep && (left == 0 || !c.readable()) && !c.asked() {
		return false
	}
	c.rest(idle, c.srv.limits.idle)
	c.srv.conns.woke()
	return true
}

// asked reports whether something is in the socket although the connection's time is over. A close would reset a request
// without an answer; only who is replaced must go.
func (c *conn) asked() bool { return c.fate.Load() != replaced && c.Queued() > 0 }

// quiet begins the time without a request.
func (c *conn) quiet() {
	c.quietSince.Store(c.srv.conns.now.Load())
	c.rest(idle, c.srv.limits.idle)
}

// idleLeft is for how many ticks more the connection may have no request. Bytes alone do not renew that: in TLS they may
// be those of a record that never ends.
func (c *conn) idleLeft() uint64 {
	limits := &c.srv.limits
	if limits.asleep == never {
		return never
	}
	whole, quiet := limits.idle+limits.asleep, c.srv.conns.now.Load()-c.quietSince.Load()
	return min(limits.asleep, whole-min(whole, quiet))
}

// rest enters a phase without a request, in which Shutdown may end the connection: either Shutdown
// finds it there, or the connection sees that the server is stopping. It is the same where a newcomer has its place.
func (c *conn) rest(p phase, n uint64) {
	c.enter(p, n)
	if c.srv.stopping.Load() || c.fate.Load() == replaced {
		c.srv.conns.mu.Lock()
		c.closeIdle()
		c.srv.conns.mu.Unlock()
	}
}
