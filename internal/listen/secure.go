package listen

// A connection with TLS differs from a plain one in what this file has: reads and writes, the handshake before them,
// and the end. All that waits for a socket, looks at it or drops what is in it works on the socket below: what a
// lingering close drops need not be decrypted, and a connection goes to sleep only when package tls has nothing whole
// left to give. There is no interface between: a plain connection pays one comparison for each read and write.

// receive reads from the socket, or what TLS makes of it.
func (c *conn) receive(p []byte) (int, error) {
	if c.tls == nil {
		return c.Conn.Read(p)
	}
	n, err := c.tls.Read(p)
	if n > 0 {
		err = nil // that the client sends no more comes again, and is no fault of what it has sent
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if d := c.date; d != nil {
		c.date = nil
		return c.writeDated(p, d)
	}
	return c.send(p)
}

// send writes to the socket, through TLS where there is one.
func (c *conn) send(p []byte) (n int, err error) {
	if c.tls != nil {
		n, err = c.tls.Write(p)
	} else {
		n, err = c.Conn.Write(p)
	}
	c.wrote = err == nil // a client that has not read for so long is not waited for
	c.stuck = err != nil
	return n, err
}

// handshake makes the connection secure, once. The phase is the caller's.
func (c *conn) handshake() error {
	if c.tls == nil || c.tls.Secured() {
		return nil
	}
	err := c.tls.Handshake()
	if err != nil {
		if !c.away && c.fate.Load() != replaced { // else it is counted as one for which there was no place
			c.srv.count.refuse(reasonHandshake)
		}
		c.wrote, c.unread = true, true // an alert, or that this port talks TLS
	}
	return err
}

// ready is called when a request, or a handshake before it, has begun. It is false when the connection is to be
// closed.
func (c *conn) ready() bool {
	if c.tls == nil || c.tls.Secured() {
		return true
	}
	c.enter(reading, c.srv.limits.read)
	c.partial.Store(c.srv.conns.now.Load() + 1)
	err := c.handshake()
	c.partial.Store(0)
	if err != nil {
		return false
	}
	c.quiet()
	return true
}

// endWrite tells the client that no answer follows.
func (c *conn) endWrite() error {
	if c.tls != nil && c.tls.Secured() {
		if err := c.tls.CloseWrite(); err != nil {
			return err
		}
	}
	return c.Conn.CloseWrite()
}

// hangUp closes the connection. Behind a write that failed nothing can be said: perhaps a part of a record was sent, and
// package tls would wait 5 s more for a client that does not read.
func (c *conn) hangUp() error {
	if c.tls != nil && c.tls.Secured() && !c.stuck {
		return c.tls.Close() // says so to the client
	}
	return c.Conn.Close()
}

// receiver reads what comes without a request's counters.
type receiver struct{ c *conn }

// Read implements io.Reader.
func (r receiver) Read(p []byte) (int, error) { return r.c.receive(p) }
