package listen

import (
	"io"
	"sync"
)

// What a refusal costs decides what is left for those who are served when many are refused. Closing the
// connection of a refused request is the dear way: a lingering close here, and a new connection, with its
// goroutine and its buffers, for the next attempt. So a refused body that is not too long is skipped, and the
// connection goes on.
//
// The answer is sent first. Then fasthttp reads what is left of the body in pieces of 8 KiB and forgets it;
// readRest makes these reads cheap: the kernel drops as much as there is in one call, without copying it, and
// the pieces are accounted for out of that. For this the connection must know how much of the body is still in
// the socket, and not in fasthttp's read buffer: skip empties that first.

// maxKeptRest is the longest body that is skipped: as much as fasthttp reads on after a handler (v1.78,
// maxUnreadStreamBodySize); beyond that it closes. Nothing of it is held in memory.
const maxKeptRest = 256 << 10

// skipping is what a connection has still to skip.
type skipping struct {
	left    int64 // bytes of the body that fasthttp has not read
	dropped int64 // of these, those that have left the socket
	probe   bool  // the socket is not to be read, see skip
}

// leftover takes what was in a connection's read buffer; it is not looked at. One serves all connections, because
// nothing waits while it is held; a pool of them would be refilled after every collection, which come often when
// memory is short, as it is when bodies are refused.
type leftover struct {
	mu  sync.Mutex
	buf []byte // as large as a read buffer
}

// skip prepares the connection for going on behind a body of n bytes that is not wanted. It is false when that
// does not pay or is not possible: a chunked body, whose end is not known, and a long one.
func (c *conn) skip(stream io.Reader, n int) bool {
	if n < 0 || n > maxKeptRest {
		return false
	}
	if stream == nil {
		return true
	}
	leftover := &c.srv.leftover
	leftover.mu.Lock()
	defer leftover.mu.Unlock()
	// Read returns nothing from now on, so the stream does so when the read buffer is empty.
	c.skipping = skipping{left: 1, probe: true}
	left := int64(n)
	for {
		m, err := stream.Read(leftover.buf)
		left -= int64(m)
		if err != nil || m == 0 {
			break
		}
	}
	c.skipping = skipping{left: left}
	return true
}

// readRest is Read while a body is skipped. p is not written to: what is read is forgotten.
func (c *conn) readRest(p []byte) (int, error) {
	r := &c.skipping
	if r.probe {
		return 0, nil
	}
	if r.dropped == 0 {
		if phaseOf(c.state.Load()) == writing { // the answer is out: Shutdown need not wait for the rest
			c.rest(dropping, c.srv.limits.read)
		}
		if c.tls != nil { // the kernel cannot tell how much of the body it has
			n, err := c.receive(p[:min(int64(len(p)), r.left)])
			r.left -= int64(n)
			return n, err
		}
		n, err := c.drop(r.left)
		if err != nil {
			return 0, err
		}
		r.dropped = n
		c.srv.count.skipped.Add(n)
	}
	n := min(int64(len(p)), r.dropped)
	r.dropped -= n
	r.left -= n
	return int(n), nil
}
