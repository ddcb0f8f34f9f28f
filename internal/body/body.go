// Package body holds what travels from the listener to the decoder: the bytes of one delivery in a
// pooled buffer, and the count of parts whose outcome its sender waits for.
//
// Ownership: the handler that got a [Body] from the [Pool] owns it until it puts it into the ring;
// then the decoder that pops it owns it and puts it back into the pool when the last event has been
// appended. A [Delivery] belongs to the handler; the decoder and the sink may only call its Ack methods
// until they have settled every part they hold.
package body

import "sync/atomic"

// Body is one delivery's bytes. Data is a view into a pooled buffer: it must not be used after Put.
type Body struct {
	Data       []byte    // exactly the bytes of the request body
	ID         uint64    // unique within the process, in order of admission
	AdmittedAt int64     // wall clock, milliseconds since the Unix epoch
	NDJSON     bool      // one JSON text per line instead of one array or object
	Delivery   *Delivery // nil: nobody waits for the outcome (ack=accept)

	buf []byte // the whole buffer; cap is its size class
}

// Buffer is the whole pooled buffer, for the reader that fills it; len = cap = Charge.
func (b *Body) Buffer() []byte { return b.buf }

// Charge is what the body costs at the gate: the capacity of its buffer in bytes.
func (b *Body) Charge() int64 { return int64(len(b.buf)) }

// Delivery counts the parts of one body that are not settled yet. It implements sink.Ack. It starts
// with one part, held by the decoder, which sets Events and DeadLettered before it settles that part.
type Delivery struct {
	parts atomic.Int32
	lost  atomic.Int32
	done  chan struct{}

	Events       int // good events in the body; valid after Done
	DeadLettered int // bad regions in the body; valid after Done
}

// NewDelivery returns a Delivery with one part held.
func NewDelivery() *Delivery {
	d := &Delivery{done: make(chan struct{}, 1)}
	d.parts.Store(1)
	return d
}

// Reset makes a Delivery whose Done was received usable again. One that was given up on (a timeout)
// must never be reset: its parts are still out.
func (d *Delivery) Reset() {
	d.Events, d.DeadLettered = 0, 0
	d.lost.Store(0)
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
		d.done <- struct{}{} // room for one, and only one part is the last: never blocks
	}
}

// Done delivers one value when every part is settled.
func (d *Delivery) Done() <-chan struct{} { return d.done }

// Lost is the number of events that were dropped; valid after Done.
func (d *Delivery) Lost() int { return int(d.lost.Load()) }
