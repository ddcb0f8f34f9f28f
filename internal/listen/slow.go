package listen

import (
	"sync/atomic"
	"time"
)

// A request that hardly comes holds a place, and perhaps memory, that others want: a header that has not ended for
// slowGrace, or a body that brought less than [Config.MinBodyRate] for so long. While others wait for memory such a body
// is ended with 408, and a connection that finds no place (--max-conns) takes that of such a request. Only bytes and ticks
// are measured, so the time in which a body waited for room, or the process was frozen, is not charged to its client.

// slowGrace is how long a body may be slower than the rate. Kestrel, which has the same rule, gives as much.
const slowGrace = 5 * time.Second

// meter counts the bytes of a body as the socket gives them.
type meter struct {
	on    bool         // the owner reads a body
	bytes atomic.Int64 // since its begin; -1: no body is being waited for

	// Under the registry's mutex: where the present window began.
	open    bool
	tick    uint64
	mark    int64
	since   uint64 // the connection's quietSince then: another request has another one
	stalled bool   // the request hardly comes
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

// expectBody begins to measure a body that was admitted and told to come: fasthttp reads its first byte before the handler.
func (c *conn) expectBody() {
	c.slow.Store(false)
	c.meter.begin()
	c.meter.wait()
}

// forgive begins the measurement anew, after a wait that was ours.
func (c *conn) forgive() {
	c.srv.conns.mu.Lock()
	c.meter.open, c.meter.stalled = false, false
	c.srv.conns.mu.Unlock()
}

// judgeLocked finds out whether the request that is being read hardly comes, and ends a body if it does and others wait
// for memory. word is the present state.
func (c *conn) judgeLocked(now, word uint64) {
	m, bytes := &c.meter, c.meter.bytes.Load() // -1: the header
	if phaseOf(word) != reading || c.srv.cfg.MinBodyRate <= 0 {
		m.open, m.stalled = false, false
		return
	}
	since := c.quietSince.Load()
	if !m.open || since != m.since || bytes < m.mark || bytes >= 0 && m.mark < 0 {
		m.open, m.tick, m.mark, m.since, m.stalled = true, now, bytes, since, false
		return
	}
	took := c.srv.limits.tick * time.Duration(now-m.tick)
	if took < slowGrace {
		return
	}
	m.stalled = bytes < 0 || float64(bytes-m.mark) < float64(c.srv.cfg.MinBodyRate)*took.Seconds()
	switch {
	case !m.stalled:
		m.tick, m.mark = now, bytes
	case bytes >= 0 && c.srv.crowded.Load():
		c.slow.Store(true)
		c.fireLocked(word)
	}
}

// stalledLocked reports whether the request that is being read hardly comes.
func (c *conn) stalledLocked() bool { return c.meter.stalled && c.meter.since == c.quietSince.Load() }

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
