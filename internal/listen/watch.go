package listen

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"functiongraph-ingest/pkg/rawconn"
)

// maxTick bounds how late a deadline fires, minTick what a short one costs.
const (
	minTick = time.Millisecond
	maxTick = time.Second
)

// ticks are the timeouts of a Config in ticks.
type ticks struct {
	tick      time.Duration
	read, ack uint64
	// invocation is for an invocation event, once its header is there.
	invocation uint64
	idle       uint64 // until a connection without a request goes to sleep
	asleep     uint64 // from then until it is closed
	slow       uint64 // how many ticks the ticker takes at once while every connection is asleep
}

// newTicks chooses the tick: an eighth of the shortest timeout, from 1 ms to 1 s.
func newTicks(c *Config) ticks {
	t := ticks{tick: maxTick}
	for _, d := range []time.Duration{c.ReadTimeout, c.IdleTimeout, c.AckTimeout} {
		if d > 0 {
			t.tick = min(t.tick, max(d/8, minTick))
		}
	}
	in := func(d time.Duration) uint64 {
		if d <= 0 {
			return never
		}
		// Rounded up, and one more for the part of the current tick that is over: never early.
		return uint64((d+t.tick-1)/t.tick) + 1
	}
	t.read, t.idle, t.ack = in(c.ReadTimeout), in(c.IdleTimeout), in(c.AckTimeout)
	t.invocation = min(t.read, in(invocationTime))
	if t.asleep = never; canSleep {
		if t.idle != never {
			t.asleep = max(t.idle, dozeTicks+1) - dozeTicks
		}
		t.idle = dozeTicks
	}
	t.slow = max(1, min(t.asleep/16, mostSlow))
	return t
}

// mostSlow bounds the pause of the ticker while no connection has a deadline that matters.
const mostSlow = 60

// registry knows every open connection and is the clock of their deadlines: now counts the ticks
// that a ticker delivered. A ticker drops the ticks that were not received, so after a freeze, or when
// the process is starved of CPU, time has stood still for the deadlines too.
//
// The ticker, and the goroutine that receives from it, exist only while connections do: an unused
// listener never wakes up. While all of them are asleep, which have only the idle timeout to fear, it
// ticks slowly, and hurries again when one wakes.
type registry struct {
	now atomic.Uint64
	_   [56]byte // now is read by every request; the rest is written by every connection

	mu     sync.Mutex
	first  *conn
	served int // connections within MaxConns
	extra  int // beyond: being turned away, or replaced and not closed yet
	look   rawconn.Look
	search uint64 // for one that can be replaced
	// grace is how many ticks an unfinished header or handshake has at present, see unfinishedTicks.
	grace uint64
	// replaced counts connections that were closed for newcomers.
	replaced atomic.Int64
	tick     time.Duration
	slow     uint64
	onTick   func()
	// slowly is set before the watcher looks whether all are asleep, and read by a connection after it has
	// woken: so either the watcher sees it awake, or it sees that it must call.
	slowly atomic.Bool
	hurry  chan struct{}
	left   chan struct{}  // a connection has left, see oneLeaves
	stop   chan struct{}  // ends the watcher; nil when none runs
	gone   chan struct{}  // made by shut, closed when the last connection has left after it
	wg     sync.WaitGroup // one for each connection and for each watcher
}

func (r *registry) init(t *ticks, onTick func()) {
	r.tick, r.slow, r.onTick = t.tick, t.slow, onTick
	r.hurry, r.left = make(chan struct{}, 1), make(chan struct{}, 1)
}

// woke is called by a connection that has left its sleep.
func (r *registry) woke() {
	if r.slowly.Load() {
		select {
		case r.hurry <- struct{}{}:
		default: // another call came first
		}
	}
}

// What add says of a newcomer.
type found uint8

const (
	taken   found = iota // the caller serves the connection and then calls remove
	noRoom               // not even to be turned away, or shut was called
	waitFor              // a place is free as soon as another connection has had CPU
)

// add takes a connection in, as one of at most maxServed. When there are as many, it takes the place of another one,
// see replaceLocked; if none can be closed, it is one of at most maxExtra to be turned away, unless it has time and
// one ends soon. Those that still have to close count with the extra ones.
func (r *registry) add(c *conn, maxServed, maxExtra int, hasTime bool) found {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.served >= maxServed && 2*r.extra >= maxExtra {
		r.endLingerLocked() // so that there is room for the next one
	}
	switch {
	case r.gone != nil:
		return noRoom
	case r.served < maxServed:
		r.served++
	case r.extra >= maxExtra:
		return noRoom
	default:
		switch f := r.replaceLocked(); {
		case f == taken:
			// The other one is extra now.
		case f == waitFor && hasTime:
			return waitFor
		default:
			r.extra++
			c.extra, c.away = true, true
		}
	}
	c.next = r.first
	if r.first != nil {
		r.first.prev = c
	}
	r.first = c
	r.wg.Add(1)
	if r.stop == nil {
		r.stop = make(chan struct{})
		r.wg.Add(1)
		go r.watch(r.stop)
	}
	return taken
}

// mostAsked bounds what one search costs where many connections have something in their sockets: a look at all
// connections and a system call for each of these. Where so many have, a newcomer waits.
const mostAsked = 8

// replaceLocked closes the connection that idleSinceLocked ranks first. One with something in its socket is passed
// over: a close would reset a request without an answer. Where no other is found the first of these ends with its next
// answer, and its place is free then: so a client that pipelines without a pause does not keep its place, and a request
// that never ends keeps no place beyond the others.
func (r *registry) replaceLocked() found {
	r.judgeUnfinishedLocked()
	r.search++
	var first *conn
	for range mostAsked {
		c := r.longestLocked()
		if c == nil {
			break
		}
		if !c.hasComeLocked() {
			r.evictLocked(c)
			return taken
		}
		c.passed = r.search
		if first == nil {
			first = c
		}
	}
	if first == nil {
		return noRoom
	}
	r.doomLocked(first, leaves)
	return waitFor
}

// longestLocked is the connection that idleSinceLocked ranks first, without those that this search passed over.
func (r *registry) longestLocked() *conn {
	var longest *conn
	since := uint64(math.MaxUint64)
	for c := r.first; c != nil; c = c.next {
		at, ok := c.idleSinceLocked()
		if ok && at <= since && c.passed != r.search { // of several the one that is there for longest
			longest, since = c, at
		}
	}
	return longest
}

// doomLocked ends a connection for a newcomer, in the way that fate says, and counts it once.
func (r *registry) doomLocked(c *conn, fate uint32) {
	if c.fate.Swap(fate) == stays {
		r.replaced.Add(1)
	}
}

// judgeUnfinishedLocked sets grace: none while more than half of the places have an unfinished header or handshake.
func (r *registry) judgeUnfinishedLocked() {
	unfinished := 0
	for c := r.first; c != nil; c = c.next {
		if !c.extra && c.partial.Load() != 0 {
			unfinished++
		}
	}
	if r.grace = unfinishedTicks; 2*unfinished > r.served {
		r.grace = 0
	}
}

// evictLocked closes a connection for a newcomer.
func (r *registry) evictLocked(c *conn) {
	c.extra = true
	r.extra++
	w := c.state.Load()
	if phaseOf(w) == closing {
		c.fireLocked(w)
		return
	}
	c.slow.Store(c.stalledLocked())
	// It may be on its way from one phase without a request to the next: either it sees that it is replaced, or it is
	// found there. A request that has begun since it was chosen is its last, and is answered.
	r.doomLocked(c, replaced)
	switch {
	case phaseOf(w) == writing:
		if _, ok := c.restsSinceLocked(w); ok {
			c.fireLocked(w) // unless the answer has been read meanwhile
		}
	case phaseOf(w) != reading:
		c.closeIdle()
	case c.hardlyComesLocked():
		c.fireLocked(w)
	}
}

// endLingerLocked closes the connection beyond MaxConns that has lingered for longest.
func (r *registry) endLingerLocked() {
	var longest *conn
	for c := r.first; c != nil; c = c.next {
		if w := c.state.Load(); c.extra && phaseOf(w) == closing && w&fired == 0 && (longest == nil || c.quietSince.Load() <= longest.quietSince.Load()) {
			longest = c
		}
	}
	if longest != nil {
		longest.fireLocked(longest.state.Load())
	}
}

// leaving reports whether a connection beyond MaxConns was told to end, and needs nothing but CPU for that.
func (r *registry) leaving() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := r.first; c != nil; c = c.next {
		if c.extra && c.state.Load()&fired != 0 {
			return true
		}
	}
	return false
}

// remove forgets a connection that is closed. It is the last thing its goroutine does.
func (r *registry) remove(c *conn) {
	defer r.wg.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.extra {
		r.extra--
	} else {
		r.served--
	}
	if c.prev == nil {
		r.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	select {
	case r.left <- struct{}{}:
	default: // one left before, which is as good
	}
	if r.first == nil {
		close(r.stop)
		r.stop = nil
		if r.gone != nil {
			close(r.gone)
		}
	}
}

// shut takes no connection in any more. The channel is closed when none is left.
func (r *registry) shut() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone == nil {
		r.gone = make(chan struct{})
		if r.first == nil {
			close(r.gone)
		}
	}
	return r.gone
}

// each calls f for every connection, under the mutex.
func (r *registry) each(f func(*conn)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := r.first; c != nil; c = c.next {
		f(c)
	}
}

// watch ticks until stop.
func (r *registry) watch(stop <-chan struct{}) {
	defer r.wg.Done()
	t := time.NewTicker(r.tick)
	defer t.Stop()
	step := uint64(1) // ticks at once
	pace := func(n uint64) {
		if n != step {
			step = n
			t.Reset(r.tick * time.Duration(n))
		}
	}
	for {
		select {
		case <-stop:
			return
		case <-r.hurry: // the part of the slow tick that is over is not counted: never early
			r.slowly.Store(false)
			pace(1)
		case <-t.C:
			now := r.now.Add(step)
			r.slowly.Store(true)
			r.onTick()
			asleepAll := true
			r.each(func(c *conn) {
				c.expireLocked(now)
				asleepAll = asleepAll && phaseOf(c.state.Load()) == asleep
			})
			if asleepAll {
				pace(r.slow)
			} else {
				r.slowly.Store(false)
				pace(1)
			}
		}
	}
}
