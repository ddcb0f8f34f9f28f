// Package sink is the seam between the pipeline and what takes its records.
//
// A [Sink] copies records into its own batches and settles them later: a record is settled when it
// is delivered, dead-lettered, set aside on disk or dropped for a counted reason; a sink with a disk
// queue may be told to settle it when it is durable there. Two sinks exist:
// pkg/sink/kafka publishes to Apache Kafka, pkg/sink/ndjson writes lines. Another one must pass the suite in
// pkg/sink/sinktest.
package sink

import (
	"context"
	"errors"
)

// ErrClosed is returned by Append and DeadLetter after Close has begun. Nothing was taken.
var ErrClosed = errors.New("sink: closed")

// ErrNoRoom is wrapped by Ready when appends wait for room, or will when the rest of it is used up.
var ErrNoRoom = errors.New("appends wait")

// DroppedShutdown is the reason of events that could not be delivered before the process had to end.
const DroppedShutdown = "shutdown"

// Header is one record header. Neither the key nor the value is retained by a sink.
type Header struct {
	Key   string
	Value []byte
}

// Record is what a sink writes. All its memory belongs to the caller; a sink copies what it needs
// before Append returns.
type Record struct {
	Key       []byte // nil: keyless, the sink chooses the partition
	Value     []byte
	Headers   []Header
	Timestamp int64 // milliseconds since the Unix epoch, wall clock at admission
	// Topic is the main topic of the record, an index into those of the sink's configuration; 0: the first, and the only one
	// of a sink that has no more.
	Topic int
	// Type is what the event is about: the canonical name of its kind, for example "platform.report"; "": not known.
	Type string

	BodyID uint64 // the body it came in, as in DeadLetter; 0: not known
	Offset int64  // where it starts in that body
}

// DeadLetter is a piece of a body that is not a good event. Its memory belongs to the caller.
type DeadLetter struct {
	Raw         []byte // the bad region, byte for byte
	Reason      string // one word of pkg/decode's Reason, for example "invalid_utf8"
	Offset      int64  // where the region starts in its body
	ErrorOffset int64  // the exact byte that is wrong, in its body; -1 when not known
	BodyID      uint64 // identifies the body, also among other processes
	Key         []byte // the traceId where it can be read; nil: it cannot
	Topic       int    // where it would have gone, as in Record
	Timestamp   int64  // as in Record
}

// Ack hears how the records of one source (one body) ended. A sink calls Hold once for every part
// (batch) that takes records of the source and Settle once when that part is settled; Hold always
// happens before the Append that caused it returns. Calls come from many goroutines and must not block.
type Ack interface {
	Hold()
	// Settle tells the end of one part. lost is the number of the source's records in it that were dropped, 0 when all
	// are delivered, dead-lettered or set aside. It is never too low, and too high only where a part was
	// taken apart and records of another source were dropped from it.
	Settle(lost int)
}

// Hopeless is an [Ack] that also hears which losses a resend cannot mend, because it would end the same.
type Hopeless interface {
	Ack
	// Hopeless is called before the Settle that counts the same n records as lost. deadLetters reports whether they
	// came through DeadLetter.
	Hopeless(n int, deadLetters bool)
}

// Sink takes records. All methods are safe for concurrent use.
type Sink interface {
	// Append copies recs, in order, and returns how many it took. It takes what there is room for, whatever ctx says,
	// and then blocks (back-pressure) until ctx ends; only then, or after Close, n < len(recs) and err says why.
	// Records with the same key that were appended one after the other are delivered in that order.
	// ack may be nil. Append does not retain recs.
	Append(ctx context.Context, recs []Record, ack Ack) (n int, err error)

	// DeadLetter takes one dead letter under the same rules as Append.
	DeadLetter(ctx context.Context, d *DeadLetter, ack Ack) error

	// Flush asks for everything appended so far to be written without waiting for more (no linger).
	// It does not block and promises nothing about when.
	Flush()

	// Close stops intake, flushes, and waits until everything is settled. What is not settled when
	// ctx ends, or nears its deadline, goes to disk where the sink has that, else it is dropped with reason
	// "shutdown". Close is idempotent.
	Close(ctx context.Context) error

	// Ready is nil when the source of a record that is appended now will hear that it is safe, as far as can be
	// told; else the reason why not, in words for an operator. An error that wraps ErrNoRoom says that appends
	// wait for room, or will. It only looks at what is known, as Delivery and Stats do: watching a sink does not wake it.
	Ready() error

	// Delivery says whether events reach the destination, and what is in the way.
	Delivery() Delivery

	// Stats are counts of events since the start, all of one instant: the terms add up at every moment.
	Stats() Stats
}

// Renewer is a [Sink] whose destination knows this process by something that no other one has.
type Renewer interface {
	// Renew gives that up and takes another, because a copy of this process may run: it was restored from a snapshot.
	// What the copy has as well may come twice, and nothing of either is taken for the other's. Cheap, does not wait for
	// the destination.
	Renew()
}

// Waker is a [Sink] that sleeps deeply while its destination is away and nothing waits for it.
type Waker interface {
	// Wake says that events will come soon, or may come when the destination is there: the sink looks for it now. Cheap,
	// does not block, and may be called at any time from many goroutines.
	Wake()
}

// Stats is a sink's part of the ledger. All values but the last three are counts of events, and
//
//	Admitted + Recovered = Delivered + DeadLettered + SetAside + Spooled + InFlight + sum(Dropped)
type Stats struct {
	Admitted     int64            // records and dead letters that Append and DeadLetter took, those dropped by them included
	Delivered    int64            // good events acknowledged by the destination
	DeadLettered int64            // events acknowledged by the dead-letter destination
	SetAside     int64            // events kept whole in a file because no topic can take them
	Recovered    int64            // found on disk at the start: taken by a process before this one
	Spooled      int64            // on disk only, to be delivered by this process or the next one
	InFlight     int64            // in memory and not yet settled
	Dropped      map[string]int64 // by reason; nil when none

	PossibleDuplicates   int64 // events that may have been delivered twice, and why is in the log
	DuplicatesSuppressed int64 // events sent again whose first copy the destination recognised
	Idempotent           bool  // the destination recognises what is sent twice
}
