package kafka

import (
	"sync/atomic"
	"time"
)

// An instance may be frozen between two invocations: its processes stop, for seconds or hours, while brokers
// and whatever lies between drop its connections without a word. The first request after the thaw would
// then run into RequestTimeout. So connections are renewed before it.
//
// Nothing tells a process that it was frozen, and looking at the clock every second to find out would cost
// more than the freezes. But the steward sleeps on a timer anyway, up to MetadataTTL:
//
//   - A timer that is more than frozen late was not served while it was due. The steward, or a worker
//     with something to send, finds that out at its first look after the thaw. A freeze that fits between two
//     rounds of the steward is not seen, and does not matter: no broker drops a connection that
//     was idle for less than MetadataTTL.
//   - While a whole machine sleeps, the monotonic clock stands still and no timer is late; but the
//     wall clock has gone on.
//
// Both may be wrong in the other direction, by a CPU that was starved or a clock that was set. Then
// connections that are still good are renewed, for a few milliseconds.
//
// A request that was under way is not helped: its time is over after the thaw, its batch is in doubt and
// goes again, over new connections, with the same stamp. If the broker had it, it says so.
const frozen = 2 * time.Second

// thawClock is what the steward leaves for others to compare the time with.
type thawClock struct {
	epoch time.Time // where the monotonic readings begin

	due  atomic.Int64 // since start, on the monotonic clock, when the steward's timer fires; 0: it is awake
	skew atomic.Int64 // wall clock minus monotonic clock, as of the last look
	stop atomic.Bool  // the process stood still, and that was not acted on yet
}

// sleeping notes that the steward's timer fires after d.
func (c *thawClock) sleeping(d time.Duration) {
	now := time.Now()
	c.skew.CompareAndSwap(0, c.skewOf(now))
	c.due.Store(int64(now.Sub(c.epoch) + d))
}

// awake is called when the steward wakes, for whatever reason.
func (c *thawClock) awake() {
	c.look(time.Now())
	c.due.Store(0)
}

// look notes whether the process stood still.
func (c *thawClock) look(now time.Time) {
	if due := c.due.Load(); due != 0 && int64(now.Sub(c.epoch))-due > int64(frozen) {
		c.stop.Store(true)
	}
	skew := c.skewOf(now)
	if old := c.skew.Swap(skew); old != 0 && skew-old > int64(frozen) {
		c.stop.Store(true)
	}
}

// skewOf is how far the wall clock is ahead of the monotonic one. It is never 0.
func (c *thawClock) skewOf(now time.Time) int64 { return now.UnixNano() - int64(now.Sub(c.epoch)) | 1 }

// thawed reports, once, that the process stood still since the last call.
func (c *thawClock) thawed(now time.Time) bool {
	c.look(now)
	return c.stop.Load() && c.stop.Swap(false)
}

// renewAfterThaw drops the idle connections before the first request after a freeze. What failed before it has all of the
// time that it is given once more: nothing could end while the process stood still.
func (s *kafkaCluster) renewAfterThaw(now time.Time) {
	if !s.clock.thawed(now) {
		return
	}
	s.thaws.Add(1)
	s.client.CloseIdleConnections()
	s.log.Debug("the process stood still; connections are made anew")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.thawedAt = now
	for l := range s.lanes() {
		if !l.stuckSince.IsZero() {
			l.stuckSince, l.stuckNow = now, false
		}
	}
}
