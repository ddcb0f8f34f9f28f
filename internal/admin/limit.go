package admin

import (
	"net"
	"net/http"
	"sync"

	"functiongraph-ingest/internal/tlsconf"
)

// The admin address has no share of --memory-limit to grow in: its connections are counted in the constant part.
const (
	// maxConns is enough for a few scrapers, probes and a person.
	maxConns = 16
	// maxHeader is how much of a header net/http takes; it adds 4 KiB to it.
	maxHeader = 4 << 10
)

// conns bounds the connections: when there are maxConns, a newcomer takes the place of the one that has waited for
// a request for longest.
type conns struct {
	mu   sync.Mutex
	idle []net.Conn // without a request, the oldest first
	n    int
}

// Accept makes room before it hands a connection to net/http.
type limited struct {
	net.Listener
	conns *conns
	tls   *tlsconf.Server // nil: plaintext
}

func (l limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.conns.enter() {
			if l.tls != nil {
				return l.tls.Secure(c), nil // its first read begins the handshake, within the deadline for a header
			}
			return c, nil
		}
		_ = c.Close()
	}
}

// enter reports whether one more connection may be served.
func (c *conns) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n >= maxConns {
		if len(c.idle) == 0 {
			return false
		}
		oldest := c.idle[0]
		c.idle = c.idle[1:]
		cut(oldest) // net/http notices, and hear is called
	}
	c.n++
	return true
}

// hear is the server's ConnState.
func (c *conns) hear(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.idle {
		if other == conn {
			c.idle = append(c.idle[:i], c.idle[i+1:]...)
			break
		}
	}
	switch state {
	case http.StateNew, http.StateIdle:
		c.idle = append(c.idle, conn)
	case http.StateClosed, http.StateHijacked:
		c.n--
	}
}

// cut closes a connection without telling a client that may not read.
func cut(c net.Conn) {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	_ = c.Close()
}
