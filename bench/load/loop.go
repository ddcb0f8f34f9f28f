//go:build linux

package load

import (
	"math"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	reconnectPause = 20 * time.Millisecond // between failed attempts to connect
	// tick is the longest sleep: so late a loop sees that the run has ended.
	tick = 10 * time.Millisecond
	// sweepEvery is how often requests are looked at for having waited too long.
	sweepEvery = 100 * time.Millisecond
)

// loop drives its share of the connections from one goroutine. Nothing else touches what it owns while it
// runs, but public.
type loop struct {
	load     *Run
	id       int
	addr     unix.Sockaddr
	family   int
	poll     *poller
	conns    []*conn
	timers   timers
	arrivals *schedule // nil in a closed loop
	idle     fifo      // open loop: free connections, the longest idle first
	now      time.Duration
	swept    time.Duration
	busy     int // connections that have a body, and in a closed loop those that will have one
	stats    [maxPhases]*Result
	windows  []*Window

	public struct{ events, bodies, refused atomic.Int64 }
	counts struct{ events, bodies, refused int64 }
}

func newLoop(r *Run, id int, addr *net.TCPAddr) (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	l := &loop{load: r, id: id, poll: p, family: unix.AF_INET}
	if ip := addr.IP.To4(); ip != nil || addr.IP == nil {
		sa := &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte{127, 0, 0, 1}}
		if ip != nil {
			copy(sa.Addr[:], ip)
		}
		l.addr = sa
	} else {
		sa := &unix.SockaddrInet6{Port: addr.Port}
		copy(sa.Addr[:], addr.IP.To16())
		l.addr, l.family = sa, unix.AF_INET6
	}
	return l, nil
}

func (l *loop) add(id int, payloads []*Payload) {
	l.conns = append(l.conns, &conn{loop: l, id: id, index: len(l.conns), fd: -1, payloads: payloads, next: id})
}

func (l *loop) close() {
	for _, c := range l.conns {
		c.disconnect()
	}
	l.poll.close()
}

// run sends until the run has ended and every body that was begun is answered.
func (l *loop) run() {
	defer l.close()
	l.begin()
	for l.busy > 0 || l.arrivals != nil && !l.load.ended.Load() && !l.arrivals.over {
		events := l.poll.wait(l.nap())
		l.now = l.clock()
		for i := range events {
			c := l.conns[events[i].Fd]
			if events[i].Pad == c.generation {
				l.now = l.clock() // a batch of events takes too long for one reading
				c.ready(events[i].Events)
			}
		}
		l.wakeUp()
		if l.arrivals != nil {
			l.arrive()
		}
		if l.now-l.swept >= sweepEvery {
			l.sweep()
		}
		l.publish()
	}
	l.giveUpWaiting()
	l.publish()
}

func (l *loop) clock() time.Duration { return time.Since(l.load.start) }

func (l *loop) begin() {
	l.now = l.clock()
	l.idle.slots = make([]*conn, len(l.conns))
	if l.load.opts.Arrivals == Closed {
		l.busy = len(l.conns)
		for _, c := range l.conns {
			c.free()
		}
		return
	}
	for _, c := range l.conns { // connected before the first arrival: a connection is kept alive
		c.connect()
		l.idle.push(c)
	}
	l.arrivals = newSchedule(l.load, l.id, l.conns[0].payloads, l.clock())
}

// wakeUp goes on with the connections whose pause is over; at the end of the run with all.
func (l *loop) wakeUp() {
	until := l.now
	if l.load.ended.Load() {
		until = math.MaxInt64
	}
	for c := l.timers.due(until); c != nil; c = l.timers.due(until) {
		c.wake()
	}
}

// nap is how long the loop may sleep.
func (l *loop) nap() time.Duration {
	until := l.now + tick
	if at, ok := l.timers.first(); ok {
		until = min(until, at)
	}
	if l.arrivals != nil && !l.arrivals.over && !l.idle.empty() {
		until = min(until, l.arrivals.next)
	}
	return max(0, until-l.clock())
}

// arrive gives the bodies whose time has come to free connections, in the order of their times.
func (l *loop) arrive() {
	a := l.arrivals
	if l.load.ended.Load() {
		return
	}
	a.advance(l.now, func(events int) bool {
		if !l.load.take(events) {
			return false
		}
		l.stat().Offered += int64(events)
		return true
	})
	for !a.empty() && !l.idle.empty() {
		c, at := l.idle.pop(), a.pop()
		l.now = l.clock()
		if c.freed <= at {
			l.stat().Late.Add(l.now - at)
		} else {
			l.stat().Waited++
		}
		l.busy++
		c.begin(at)
	}
}

func (l *loop) giveUpWaiting() {
	if l.arrivals != nil {
		l.stat().Unsent += int64(l.arrivals.waiting())
	}
}

// sweep ends requests that nobody answered in time, and at the end of the run attempts to connect.
func (l *loop) sweep() {
	l.swept = l.now
	for _, c := range l.conns {
		switch {
		case c.state == exchanging && l.now-c.started > l.load.opts.Timeout:
			c.fail(errTimeout)
		case c.state == connecting && c.payload != nil && l.load.ended.Load():
			c.disconnect()
			c.wake()
		}
	}
}

// stat returns the figures of the current phase.
func (l *loop) stat() *Result {
	phase := l.load.phase.Load()
	if l.stats[phase] == nil {
		l.stats[phase] = &Result{Status: map[int]int64{}}
	}
	return l.stats[phase]
}

// window returns the current window, or nil where there are none.
func (l *loop) window() *Window {
	every := l.load.opts.Interval
	if every <= 0 {
		return nil
	}
	i := int(l.now / every)
	for len(l.windows) <= i {
		l.windows = append(l.windows, nil)
	}
	if l.windows[i] == nil {
		l.windows[i] = &Window{}
	}
	return l.windows[i]
}

func (l *loop) publish() {
	l.public.events.Store(l.counts.events)
	l.public.bodies.Store(l.counts.bodies)
	l.public.refused.Store(l.counts.refused)
}

// fifo is a queue of connections; slots has room for all of them.
type fifo struct {
	slots   []*conn
	from, n int
}

func (f *fifo) empty() bool { return f.n == 0 }

func (f *fifo) push(c *conn) {
	f.slots[(f.from+f.n)%len(f.slots)] = c
	f.n++
}

func (f *fifo) pop() *conn {
	c := f.slots[f.from]
	f.from = (f.from + 1) % len(f.slots)
	f.n--
	return c
}
