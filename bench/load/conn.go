//go:build linux

package load

import (
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

const (
	responseBuffer   = 4 << 10
	statusNoReply    = 0
	statusOK         = 200
	statusOverloaded = 503
)

var errTimeout = errors.New("no answer in time")

type state uint8

const (
	idle       state = iota // connected or not, and without a body
	connecting              // a body may wait for it
	exchanging              // a body is being sent or waits for its answer
	pausing                 // until the timer wakes it
	done                    // it will not send again
)

// conn is one connection and its one request.
type conn struct {
	loop       *loop
	id         int // within the run
	index      int // within the loop
	fd         int // -1 while there is none
	generation int32
	state      state
	payloads   []*Payload
	next       int // the next of payloads

	payload  *Payload // under way; nil: none
	intended time.Duration
	started  time.Duration
	freed    time.Duration
	pace     time.Duration // of the next body, with MaxRate
	out      []byte        // what is still to be written
	writeErr error

	readable bool // there may be something to read
	hungUp   bool // the server sends nothing more behind what there is to read
	in       []byte
	n        int // bytes in in
	answer   response
	answered bool
	left     int // bytes of the answer's body still to come
}

// free looks for the next body of a closed loop.
func (c *conn) free() {
	l := c.loop
	c.state, c.payload = idle, nil
	if rate := l.load.opts.MaxRate; rate > 0 {
		if at := c.paced(rate / float64(l.load.opts.Conns)); at > l.now {
			c.pause(at)
			return
		}
	}
	c.begin(l.now)
}

// begin takes a body whose time is at and sends it.
func (c *conn) begin(at time.Duration) {
	l := c.loop
	c.answered = false
	p := c.payloads[c.next%len(c.payloads)]
	if l.arrivals == nil && (l.load.ended.Load() || !l.load.take(p.Events())) {
		c.end()
		return
	}
	c.next++
	c.payload, c.intended = p, at
	if l.load.opts.Recorder != nil {
		l.load.opts.Recorder.Stamp(c.id, p)
	}
	c.send()
}

// end is the last thing that a connection of a closed loop does.
func (c *conn) end() {
	c.disconnect()
	c.state = done
	c.loop.busy--
}

// send sends the body, when there is a connection.
func (c *conn) send() {
	if c.state == connecting {
		return
	}
	if c.fd < 0 && !c.connect() {
		return
	}
	c.state, c.started = exchanging, c.loop.now
	c.out, c.writeErr = c.payload.Request, nil
	c.n, c.answered, c.left = 0, false, 0
	c.write()
}

// ready handles what epoll reports.
func (c *conn) ready(events uint32) {
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.hungUp = true
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.readable = true
	}
	switch c.state {
	case connecting:
		if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			c.connected()
		}
	case exchanging:
		if len(c.out) > 0 && events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			c.write()
		} else if c.readable {
			c.read()
		}
	default:
		if c.hungUp {
			c.disconnect() // while nothing was asked of it
		}
	}
}

func (c *conn) write() {
	for len(c.out) > 0 {
		n, err := writeSome(c.fd, c.out)
		if err == errAgain {
			break
		}
		if err != nil {
			c.writeErr, c.out = err, nil // an early refusal may be waiting
			c.readable = true
			break
		}
		c.out = c.out[n:]
	}
	if c.readable && c.state == exchanging {
		c.read()
	}
}

// read reads the answer, or what is there of it.
func (c *conn) read() {
	if len(c.out) > 0 && !c.loop.load.opts.ReadWhileWriting {
		return
	}
	if c.in == nil {
		c.in = make([]byte, responseBuffer)
	}
	for c.state == exchanging && !c.answered {
		n, err := readSome(c.fd, c.in[c.n:])
		switch {
		case err == errAgain:
			c.readable = false
			if c.writeErr != nil {
				c.fail(c.writeErr)
			}
			return
		case err == nil && n == 0:
			err = io.EOF
			fallthrough
		case err != nil:
			c.fail(err)
			return
		}
		short := n < len(c.in)-c.n
		if err := c.parse(n); err != nil {
			c.fail(err)
			return
		}
		if short && !c.answered {
			c.readable = false
			return
		}
	}
	if c.answered && (len(c.out) == 0 || c.answer.close) {
		c.complete()
	}
}

// parse looks at n more bytes. What does not fit of an answer's body is read and forgotten.
func (c *conn) parse(n int) error {
	if c.left > 0 {
		c.left -= n
		c.answered = c.left <= 0
		return nil
	}
	c.n += n
	r, ok, err := parseHead(c.in[:c.n])
	switch {
	case err != nil:
		return err
	case ok:
		c.answer, c.left = r, r.total-c.n
		c.answered = c.left <= 0
		c.n = 0
	case c.n == len(c.in):
		return errLongHead
	}
	return nil
}

// complete ends a request that was answered.
func (c *conn) complete() {
	c.out, c.readable = nil, false
	if c.answer.close || c.hungUp || c.writeErr != nil {
		c.disconnect()
	}
	l, status := c.loop, c.answer.status
	s, w := l.stat(), l.window()
	s.Status[status]++
	if status == statusOK {
		took := l.now - c.started
		if l.arrivals != nil {
			took = l.now - c.intended
		}
		events := int64(c.payload.Events())
		s.Events += events
		s.Bodies++
		s.Bytes += int64(len(c.payload.Body))
		s.Latency.Add(took)
		l.counts.events += events
		l.counts.bodies++
		if w != nil {
			w.Events += events
			w.Latency.Add(took)
		}
	} else {
		s.Refusal.Add(l.now - c.started)
		l.counts.refused++
		if w != nil {
			w.Refused++
		}
		if status == statusOverloaded && c.answer.retryAfter == 0 {
			s.MissingRetryAfter++
		}
	}
	if l.load.opts.Recorder != nil {
		l.load.opts.Recorder.Posted(c.id, c.payload, status)
	}
	if status == statusOverloaded && c.answer.retryAfter > 0 && l.load.opts.RetryAfter {
		c.pause(l.now + jittered(c.answer.retryAfter)) // with its payload
		return
	}
	c.release()
}

// fail ends a request that gets no answer.
func (c *conn) fail(err error) {
	c.disconnect()
	c.out, c.readable = nil, false
	l := c.loop
	s := l.stat()
	s.NoReply++
	s.LastError = err
	l.counts.refused++
	if w := l.window(); w != nil {
		w.NoReply++
	}
	if l.load.opts.Recorder != nil {
		l.load.opts.Recorder.Posted(c.id, c.payload, statusNoReply)
	}
	c.release()
}

// release makes the connection free for the next body.
func (c *conn) release() {
	l := c.loop
	if l.arrivals == nil {
		c.free()
		return
	}
	c.state, c.payload, c.freed = idle, nil, l.now
	l.busy--
	l.idle.push(c)
}

func (c *conn) pause(until time.Duration) {
	c.state = pausing
	c.loop.timers.add(until, c)
}

// wake is called when the pause is over.
func (c *conn) wake() {
	l := c.loop
	c.state = idle
	switch {
	case c.payload == nil && l.load.ended.Load():
		c.end()
	case c.payload == nil:
		c.begin(l.now)
	case l.load.ended.Load():
		c.payload = nil
		if l.arrivals == nil {
			c.end()
		} else {
			c.release()
		}
	default:
		if c.answered { // else it was not even sent: there was no connection
			l.stat().Retries++
			c.answered = false
		}
		c.send()
	}
}

// paced returns when the next body may go in a closed loop that is slowed down. Each connection sends its
// share; one that fell behind because an answer took long does not catch up by more than one body.
func (c *conn) paced(rate float64) time.Duration {
	l := c.loop
	step := time.Duration(float64(c.payloads[c.next%len(c.payloads)].Events()) / rate * float64(time.Second))
	if c.pace == 0 { // spread the connections over one step
		c.pace = l.now + step*time.Duration(c.id)/time.Duration(l.load.opts.Conns)
	} else if l.now-c.pace > step {
		c.pace = l.now
	}
	at := c.pace
	c.pace += step
	return at
}

// jittered spreads a wait over one to two times its length: clients that were refused together must not
// come back together.
func jittered(d time.Duration) time.Duration { return d + rand.N(d) }
