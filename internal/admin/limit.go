package admin

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"functiongraph-ingest/internal/tlsconf"
)

// The admin address has no share of --memory-limit to grow in: its connections are counted in the constant part.
const (
	// maxConns is how many requests are answered at a time: enough for a few scrapers, probes and a person. Beside them
	// extraConns hear that there are so many.
	maxConns   = 16
	extraConns = 4
)

// conns bounds the connections: when all places are taken, a newcomer takes that of one that has its answer and lingers,
// or else of the one that has waited for a whole header, or the body behind it, for longest, or else of the one whose
// client has not read its answer for longest.
type conns struct {
	lingering sync.WaitGroup
	// How long one lingers, and while the server stops.
	lingerTime, lastLinger time.Duration
	bodyTime, unreadTime   time.Duration

	mu       sync.Mutex
	left     *sync.Cond // a connection has given its place back
	ending   []*conn    // that linger, the oldest first
	idle     []*conn    // without a whole request, the oldest first
	n        int
	busy     []*conn // with a request
	stopping bool
	stopped  bool // no linger begins any more
}

// limited makes room before it hands a connection to net/http.
type limited struct {
	net.Listener
	conns *conns
	tls   *tlsconf.Server // nil: plaintext
}

// Accept implements net.Listener.
func (l limited) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !l.conns.enter() {
			_ = raw.Close()
			continue
		}
		c := &conn{Conn: raw, conns: l.conns}
		if l.tls != nil {
			return &front{Conn: l.tls.Secure(c), raw: c}, nil // its first read begins the handshake, within the deadline for a header
		}
		return &front{Conn: c, raw: c}, nil
	}
}

// enter reports whether one more connection may be served. It waits until the one whose place it takes is gone, so that
// a flood of newcomers holds no more memory than the places do.
func (c *conns) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n >= maxConns+extraConns {
		switch {
		case len(c.ending) > 0:
			_ = c.ending[0].Conn.Close() // the linger notices
			c.ending = c.ending[1:]
		case len(c.idle) > 0:
			_ = c.idle[0].Conn.Close() // net/http notices
			c.idle = c.idle[1:]
		default:
			conn := c.unreadLocked()
			if conn == nil {
				return false
			}
			_ = conn.Conn.Close() // its write returns
			c.restLocked(conn)
		}
		for c.n >= maxConns+extraConns {
			c.left.Wait()
		}
	}
	c.n++
	return true
}

// unreadLocked is the connection whose client has not read for longest what is being written to it; nil: all read.
func (c *conns) unreadLocked() (longest *conn) {
	since := time.Now().Add(-c.unreadTime).UnixNano()
	for _, conn := range c.busy {
		if at := conn.writing.Load(); at != 0 && at <= since {
			longest, since = conn, at
		}
	}
	return longest
}

// hear is the server's ConnState.
func (c *conns) hear(conn net.Conn, state http.ConnState) {
	raw := base(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateNew || state == http.StateIdle {
		conn.(*front).await() //nolint:forcetypeassert // as base
		c.restLocked(raw)
		c.idle = append(without(c.idle, raw), raw)
	}
}

// begin is called when a connection has a request. It is false when too many have.
func (c *conns) begin(conn *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = without(c.idle, conn)
	if !slices.Contains(c.busy, conn) {
		c.busy = append(c.busy, conn)
	}
	return slices.Index(c.busy, conn) < maxConns
}

func (c *conns) restLocked(conn *conn) { c.busy = without(c.busy, conn) }

// connKey is the key of a request's front.
type connKey struct{}

// bound answers requests beyond maxConns with 503, except those of probes.
func (c *conns) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		front := r.Context().Value(connKey{}).(*front) //nolint:forcetypeassert // as base
		front.arrived()
		if err := c.whole(w, r); err != nil {
			answer(w, http.StatusBadRequest, plain, "the body did not come: "+err.Error())
			return
		}
		probe := r.URL.Path == "/healthz" || r.URL.Path == "/readyz"
		if c.begin(front.raw) || probe {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Connection", "close")
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusServiceUnavailable, plain, "too many requests: "+strconv.Itoa(maxConns)+" are answered at the same time")
	})
}

// lingers begins the linger of a connection, and reports whether it did.
func (c *conns) lingers(conn *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	c.restLocked(conn)
	c.idle = without(c.idle, conn)
	c.ending = append(c.ending, conn)
	c.lingering.Go(conn.linger)
	return true
}

// patience gives the linger of a connection its time.
func (c *conns) patience(conn *conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.lingerTime
	if c.stopping {
		d = c.lastLinger
	}
	return conn.Conn.SetReadDeadline(time.Now().Add(d))
}

// leave gives the place of a closed connection back.
func (c *conns) leave(conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restLocked(conn)
	c.idle, c.ending = without(c.idle, conn), without(c.ending, conn)
	c.n--
	c.left.Signal()
}

// stop shortens the lingers, those that begin later too.
func (c *conns) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	for _, conn := range c.ending {
		_ = conn.Conn.SetReadDeadline(time.Now().Add(c.lastLinger))
	}
}

// wait returns when no connection lingers, after stop and when net/http serves none.
func (c *conns) wait() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.lingering.Wait()
}

// without removes conn from a list.
func without(list []*conn, conn *conn) []*conn {
	if i := slices.Index(list, conn); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}
