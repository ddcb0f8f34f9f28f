package body

import "sync/atomic"

// givenUp is added to the count of parts when the waiter stops waiting. It is larger than any count
// of parts, so the last Settle no longer brings the count to 0 and cannot signal a second time.
const givenUp = 1 << 30

// Delivery counts the parts of one body that are not settled yet. It implements sink.Ack. It starts
// with one part, held by the decoder, which sets Events and DeadLettered before it settles that part.
//
// Done is signalled exactly once: by the Settle that ends the last part, or by the GiveUp that comes
// before it. Both are decided by one word.
type Delivery struct {
	parts atomic.Int32 // parts that are out; at least givenUp once given up
	lost  atomic.Int32
	// Of lost, those for which a resend would end the same: good events, and bad regions.
	hopelessEvents, hopelessDead atomic.Int32
	done                         chan struct{}

	Events       int  // good events in the body; valid after Done, unless given up
	DeadLettered int  // bad regions in the body; valid after Done, unless given up
	Truncated    bool // the body ended before its array did; valid after Done, unless given up
}

// NewDelivery returns a Delivery with one part held.
func NewDelivery() *Delivery {
	d := &Delivery{done: make(chan struct{}, 1)}
	d.parts.Store(1)
	return d
}

// Reset makes a Delivery whose Done was received usable again. One that was given up must never be
// reset: its parts are still out, and would settle parts of the next body.
func (d *Delivery) Reset() {
	d.Events, d.DeadLettered, d.Truncated = 0, 0, false
	d.lost.Store(0)
	d.hopelessEvents.Store(0)
	d.hopelessDead.Store(0)
	d.parts.Store(1)
}

// Hold adds a part.
func (d *Delivery) Hold() { d.parts.Add(1) }

// Settle ends a part; the last one signals Done.
func (d *Delivery) Settle(lost int) {
	if lost != 0 {
		d.lost.Add(int32(lost))
	}
	if d.parts.Add(-1) == 0 {
		d.done <- struct{}{} // room for one, and it is signalled once: never blocks
	}
}

// GiveUp ends the wait although parts are still out: it signals Done, and nothing else will. It is
// false, and does nothing, when Done has been signalled before. Parts may go on to be held and
// settled. It may be called from any goroutine while the waiter still waits.
func (d *Delivery) GiveUp() bool {
	for {
		n := d.parts.Load()
		if n <= 0 || n >= givenUp {
			return false
		}
		if d.parts.CompareAndSwap(n, n+givenUp) {
			d.done <- struct{}{}
			return true
		}
	}
}

// GivenUp reports whether the signal of Done came from GiveUp. Events, DeadLettered and Lost then
// mean nothing: others still write them.
func (d *Delivery) GivenUp() bool { return d.parts.Load() >= givenUp }

// Done delivers one value when every part is settled, or GiveUp was called.
func (d *Delivery) Done() <-chan struct{} { return d.done }

// Lost is the number of events that were dropped; valid after Done.
func (d *Delivery) Lost() int { return int(d.lost.Load()) }

// Hopeless implements sink.Hopeless.
func (d *Delivery) Hopeless(n int, deadLetters bool) {
	if deadLetters {
		d.hopelessDead.Add(int32(n))
	} else {
		d.hopelessEvents.Add(int32(n))
	}
}

// Dropped is how many good events and bad regions were dropped for which a resend would end the same; valid after
// Done. They are in Lost too.
func (d *Delivery) Dropped() (events, dead int) {
	return int(d.hopelessEvents.Load()), int(d.hopelessDead.Load())
}
