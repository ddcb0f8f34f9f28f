package listen

import (
	"sync/atomic"
	"time"
)

// A header that does not end for slowGrace is ended with 408 while newcomers find no place (--max-conns).
//
// A body that hardly comes holds memory that others wait for. While that is so, one that brought less than
// [Config.MinBodyRate] for slowGrace is ended with 408. Nothing is measured but bytes and ticks, so the time in
// which a body waited for room, or the process was frozen, is not charged to its client.

// slowGrace is how long a body may be slower than the rate. Kestrel, which has the same rule, gives as much.
const slowGrace = 5 * time.Second

// meter counts the bytes of a body as the socket gives them.
type meter struct {
	on    bool         // the owner reads a body
	bytes atomic.Int64 // since its begin; -1: no body is being waited for

	// Under the registry's mutex: where the present window began.
	open bool
	tick uint64
	mark int64
}

// begin and end are around the read of a body. A body that lies in the read buffer costs no more.
func (m *meter) begin() { m.on = true }
func (m *meter) end() {
	m.on = false
	if m.bytes.Load() >= 0 {
		m.bytes.Store(-1)
	}
}

// wait is called before a read from the socket, and came after it.
func (m *meter) wait() {
	if m.on && m.bytes.Load() < 0 {
		m.bytes.Store(0)
	}
}

func (m *meter) came(n int) {
	if m.on && n > 0 {
		m.bytes.Store(m.bytes.Load() + int64(n))
	}
}

// forgive begins the measurement anew, after a wait that was ours.
func (c *conn) forgive() {
	c.srv.conns.mu.Lock()
	c.meter.open = false
	c.srv.conns.mu.Unlock()
}

// judgeLocked ends the body that is being read if it is too slow and others wait. word is the present state.
func (c *conn) judgeLocked(now, word uint64) {
	m, bytes := &c.meter, c.meter.bytes.Load() // -1: the header
	if phaseOf(word) != reading || c.srv.cfg.MinBodyRate <= 0 {
		m.open = false
		return
	}
	if !m.open || bytes < m.mark || bytes >= 0 && m.mark < 0 {
		m.open, m.tick, m.mark = true, now, bytes
		return
	}
	took := c.srv.limits.tick * time.Duration(now-m.tick)
	switch {
	case took < slowGrace:
	case bytes < 0:
		if c.srv.noPlaces.Load() {
			c.slow.Store(true)
			c.fireLocked(word)
		}
	case float64(bytes-m.mark) >= float64(c.srv.cfg.MinBodyRate)*took.Seconds():
		m.tick, m.mark = now, bytes
	case c.srv.crowded.Load():
		c.slow.Store(true)
		c.fireLocked(word)
	}
}

// arrived is what is there, at least, of a body of n announced bytes. What the kernel has costs a system call: it is
// asked only where more than the read buffer holds has to be there.
func (c *conn) arrived(n int) int64 {
	if n <= askKernel || !c.filled {
		return int64(c.head.behind)
	}
	return int64(c.head.behind + c.Queued())
}

// askKernel is the length from which on a body has to send more than the read buffer holds.
const askKernel = 64 << 10
