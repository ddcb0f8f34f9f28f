package listen

import (
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/internal/tlsconf"
	"functiongraph-ingest/pkg/rawconn"

	"github.com/valyala/fasthttp"
)

// phase is what a connection is doing, and so which deadline it has.
type phase uint64

const (
	idle     phase = iota // between requests
	reading               // a header or a body
	waiting               // for an ack
	writing               // an answer
	closing               // lingering, see linger.go
	asleep                // idle for long: nothing but the socket is held, see doze.go
	dropping              // what is left of a small refused body, after its answer, see skip.go
	queued                // for room, see read.go
)

// The state word: deadline in ticks, phase, and whether the deadline fired.
//
//	63 ... 4   3 2 1   0
//	deadline   phase   fired
const (
	fired         = 1
	phaseShift    = 1
	deadlineShift = 4
	never         = uint64(1)<<(64-deadlineShift) - 1
)

func phaseOf(word uint64) phase { return phase(word>>phaseShift) & 7 }

// past is a deadline that is over.
func past() time.Time { return time.Unix(1, 0) }

// conn is one connection. fasthttp reads and writes through it.
//
// Ownership: the goroutine that serves the connection owns all fields but the atomic ones. Others look at state
// and may fire it, always under the registry's mutex: the owner, when it finds that its old state was
// fired, takes that mutex once and so knows that the watcher is done with it. Under the mutex they may also ask what is
// queued in the socket, with the registry's look: that of Conn is the owner's.
type conn struct {
	*rawconn.Conn
	tls   *tlsconf.ServerConn // on top of Conn; nil: plaintext. See secure.go
	srv   *Server
	state atomic.Uint64

	quietSince atomic.Uint64 // the tick at which it opened, or its handshake or its last request ended

	delivery *body.Delivery // reused from request to request; nil before the first and after one was given up
	reserved int64          // bytes that admit reserved for the body; 0: none
	readErr  error          // the first error of Read, which fasthttp wraps beyond recognition
	unread   bool           // the last answer refuses a request of which a part is still to come
	wrote    bool           // something that the client may not have read yet
	stuck    bool           // the last write failed
	away     bool           // beyond MaxConns, to be turned away
	extra    bool           // under the registry's mutex: away, or replaced by another one
	fate     atomic.Uint32  // set under the registry's mutex
	passed   uint64         // under the registry's mutex: the last search that passed it over, see replaceLocked
	partial  atomic.Uint64  // while a header or a handshake is unfinished: one more than the tick at which it began; else 0
	kept     atomic.Bool    // never to be replaced, see Config.KeepUsed
	expires  uint64         // the tick from which on it takes no further request; 0: none
	skipping skipping       // a refused body, see skip.go
	filled   bool           // the last read filled its buffer: the client sends, and does not only announce
	slow     atomic.Bool    // the body was ended because it came too slowly
	meter    meter
	codings  encodings // of the body, set by admit
	ndjson   bool      // as codings
	head     head
	date     *dateLine // of an answer that is begun and not written; nil: none
	one      [1]byte   // to look whether a chunked body goes on

	prev, next *conn // in the registry, under its mutex
}

// The fates of a connection for whose place others come.
const (
	stays    uint32 = iota
	leaves          // it ends with its next answer: a newcomer waits for that
	replaced        // a newcomer has its place: it ends as soon as it has no request
)

// enter begins a phase with a deadline of n ticks (never: none). When the deadline of the phase
// before had fired, what that did is undone: it is over, in time or not.
func (c *conn) enter(p phase, n uint64) {
	d := never
	if n != never {
		d = c.srv.conns.now.Load() + n
	}
	old := c.state.Swap(d<<deadlineShift | uint64(p)<<phaseShift)
	if old&fired != 0 {
		c.revoke(phaseOf(old))
	}
}

// revoke waits until the watcher is done, and clears the deadlines it set, except those of the present phase.
func (c *conn) revoke(p phase) {
	c.srv.conns.mu.Lock()
	defer c.srv.conns.mu.Unlock()
	now := time.Time{}
	if w := c.state.Load(); w&fired != 0 && phaseOf(w) != waiting {
		now = past() // it was fired before this got the mutex
	}
	if p != waiting {
		_ = c.SetDeadline(now) // fails only on a closed connection
	}
}

// fireLocked ends the phase that word describes, unless it is over. Under the registry's mutex.
func (c *conn) fireLocked(word uint64) bool {
	if word&fired != 0 || !c.state.CompareAndSwap(word, word|fired) {
		return false
	}
	if phaseOf(word) == waiting {
		c.delivery.GiveUp()
		return true
	}
	// Both directions, whatever the phase: fasthttp may have to write the answers before it, to a
	// pipelining client that does not read, while it waits for a request.
	_ = c.SetDeadline(past())
	return true
}

// ages sets the tick at which the connection has lived for age, up to a tenth more or less, so that connections
// that were opened together do not end together.
func (c *conn) ages(age time.Duration) {
	if age > 0 {
		jittered := age - age/10 + rand.N(age/5+1)
		c.expires = c.srv.conns.now.Load() + uint64(jittered/c.srv.limits.tick) + 1
	}
}

// unfinishedTicks is how many ticks old an unfinished header or handshake is before its connection may be replaced, except
// while more than half of the places have one. Where the others are busy, newcomers would end each other without it.
const unfinishedTicks = 2

// behindIdle is added to the tick of a connection with a request: idle connections are replaced before it.
const behindIdle = never

// idleSinceLocked is the rank of a connection that may be replaced: the lowest goes first. It is 0 for a connection that
// lingers, else the tick since which it has had no request, or since which its request has not come. A connection whose
// deadline has fired counts too: it is about to sleep or to close.
func (c *conn) idleSinceLocked() (uint64, bool) {
	if c.extra {
		return 0, false
	}
	switch w := c.state.Load(); phaseOf(w) {
	case closing:
		return 0, true
	case idle, asleep:
		return c.quietSince.Load(), !c.kept.Load()
	case reading:
		begun := c.meter.tick // of the window in which little came
		if p := c.partial.Load(); p != 0 {
			begun = p - 1
		}
		return behindIdle + begun, c.hardlyComesLocked()
	case dropping, writing:
		begun, ok := c.restsSinceLocked(w)
		return behindIdle + begun, ok
	}
	return 0, false
}

// restsSinceLocked is the tick since which the rest of a refused body has not come, or the client has not read its
// answer, and whether the connection may be ended for a newcomer. Behind a refusal all that matters was sent; a client
// has slowGrace to read. word is a state with one of these two phases.
func (c *conn) restsSinceLocked(word uint64) (uint64, bool) {
	n := c.srv.limits.read
	grace := uint64(unfinishedTicks)
	if phaseOf(word) == writing {
		grace = uint64(slowGrace/c.srv.limits.tick) + 1
	}
	if n == never { // the phase has no deadline to tell when it began
		return c.quietSince.Load(), phaseOf(word) == dropping && !c.kept.Load()
	}
	begun := word>>deadlineShift - n
	return begun, !c.kept.Load() && c.srv.conns.now.Load() >= begun+grace
}

// hardlyComesLocked reports whether the request, or the handshake, that is being read may be ended for a newcomer.
func (c *conn) hardlyComesLocked() bool {
	p := c.partial.Load()
	return !c.kept.Load() && (c.stalledLocked() || p != 0 && c.srv.conns.now.Load() >= p-1+c.srv.conns.grace)
}

// expireLocked fires what is due at tick now, or too slow.
func (c *conn) expireLocked(now uint64) {
	w := c.state.Load()
	old := c.expires != 0 && now >= c.expires && (phaseOf(w) == idle || phaseOf(w) == asleep)
	if old || w>>deadlineShift <= now {
		c.fireLocked(w)
		return
	}
	c.judgeLocked(now, w)
}

// abort ends the wait for an ack, and a request that is still being read: it is not taken any more. Under the
// registry's mutex, as closeIdle and kill.
func (c *conn) abort() {
	switch w := c.state.Load(); phaseOf(w) {
	case waiting, reading:
		c.fireLocked(w)
	}
}

// hasComeLocked reports whether the connection is without a request only because its goroutine has had no CPU to see
// the one that is in its socket. That is a short state: the goroutine needs nothing else.
func (c *conn) hasComeLocked() bool {
	p := phaseOf(c.state.Load())
	return (p == idle || p == asleep) && c.srv.conns.look.Queued(c.Conn) > 0
}

// closeIdle ends a connection that no client waits on: between two requests, or behind the answer to a refused one. A
// request that is in the socket is answered, except where a newcomer has the place: who is replaced must not keep a
// second one. One that lingers has little time left.
func (c *conn) closeIdle() {
	switch w := c.state.Load(); phaseOf(w) {
	case idle, asleep, dropping:
		if c.fate.Load() == replaced || !c.hasComeLocked() {
			c.fireLocked(w)
		}
	case closing:
		if w&fired == 0 {
			_ = c.SetReadDeadline(time.Now().Add(c.srv.lastLinger))
		}
	}
}

// closeLate ends what closeIdle left alone and turned out to be less than a request, and what has begun since abort.
// Under the registry's mutex.
func (c *conn) closeLate() {
	if phaseOf(c.state.Load()) != closing { // a linger has its time already
		c.closeIdle()
	}
	if c.srv.aborted.Load() {
		c.abort()
	}
}

// kill closes the connection under whatever its owner does.
func (c *conn) kill() { _ = c.Conn.Close() }

// Read reads from the socket. Any error between two requests ends the connection, or begins its
// sleep, and not a request: no client is there to be answered.
func (c *conn) Read(p []byte) (n int, err error) {
	if c.skipping.left > 0 {
		n, err = c.readRest(p)
	} else {
		c.meter.wait()
		rest := c.head.inMiddle()
		if rest && c.partial.Load() == 0 {
			c.partial.Store(c.srv.conns.now.Load() + 1)
		}
		n, err = c.receive(p)
		c.meter.came(n)
		c.filled = n == len(p)
		// bufio reads past its buffer when that is empty and p is as large. A p of the same size may be either: past the
		// buffer no more than the body is read, so nothing of the next request is in it.
		buffered := len(p) <= c.srv.cfg.MaxHeaderBytes
		if n > 0 {
			begun := c.head.begun()
			bad := c.head.arrived(p[:n], buffered)
			for bad == nil && err == nil && n < len(p) && c.head.inTrailer() {
				var m int // fasthttp would read the trailer from its begin for each piece of it
				m, err = c.receive(p[n:])
				c.meter.came(m)
				bad = c.head.arrived(p[n:n+m], buffered)
				n += m
			}
			if bad != nil {
				n, err = c.hide(p, begun, bad)
			}
		}
		if rest && (err != nil || !c.head.inMiddle()) {
			c.partial.Store(0)
		}
	}
	if err != nil {
		c.readErr = err
		if phaseOf(c.state.Load()) == idle {
			err = io.EOF
		}
	}
	return n, err
}

// hide ends a request without fasthttp seeing what was read of it. Before a request has begun, and behind empty lines
// alone, an error would end the connection without an answer.
func (c *conn) hide(p []byte, begun bool, bad error) (int, error) {
	c.readErr = bad
	if !begun {
		return copy(p, unparsable), nil
	}
	return 0, bad
}

// framed tells head about the body of the request whose header was parsed, and reports whether both see the same.
func (c *conn) framed(ctx *fasthttp.RequestCtx) bool {
	if uncertain(&ctx.Request.Header) {
		c.readErr = errFraming
		return false
	}
	n := 0
	if ctx.Request.IsBodyStream() || ctx.Request.MayContinue() {
		n = ctx.Request.Header.ContentLength()
	}
	err := c.head.frame(n)
	if err != nil {
		c.readErr = err
	}
	return err == nil
}

// SetWriteDeadline does nothing: all deadlines are the watcher's. That fasthttp is asked for one makes it send each
// answer at once, see handle.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// Close is called by fasthttp when it is done with the connection, which ends or goes to sleep: see serve.
func (c *conn) Close() error {
	c.giveBack()
	return nil
}

// giveBack releases a reservation that no handler came for.
func (c *conn) giveBack() {
	if c.reserved != 0 {
		c.srv.deps.Room.Cancel(c.reserved)
		c.reserved = 0
		c.meter.end()
		c.srv.admission.leave()
	}
}
