// Package body holds what travels from the listener to the decoder: the bytes of one delivery in a
// pooled buffer, and the count of parts whose outcome its sender waits for.
//
// Ownership: the handler that got a [Body] from the [Room] owns it until it puts it into the ring;
// then the decoder that pops it owns it and gives it back to the room when the last event has been
// appended. A [Delivery] belongs to the handler; the decoder and the sink may only call its Ack methods
// until they have settled every part they hold.
package body

// Body is one delivery's bytes. Data is a view into a pooled buffer: it must not be used after Put.
type Body struct {
	Data       []byte    // exactly the bytes of the request body
	ID         uint64    // unique among all processes, one more than the body admitted before it
	AdmittedAt int64     // wall clock, milliseconds since the Unix epoch
	NDJSON     bool      // one JSON text per line instead of one array or object
	Delivery   *Delivery // nil: no client waits for the outcome (ack=accept)

	buf []byte // the whole buffer; cap is its size class

	long, growing bool // which gates of its Room it has passed
	itemless      bool // the body that is made of it has its item
}

// Buffer is the whole pooled buffer, for the reader that fills it; len = cap = Charge.
func (b *Body) Buffer() []byte { return b.buf }

// Charge is what the body costs at the gate: the capacity of its buffer in bytes.
func (b *Body) Charge() int64 { return int64(len(b.buf)) }
