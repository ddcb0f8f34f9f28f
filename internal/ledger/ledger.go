// Package ledger is the account of every event: what came in, and how each one ended.
//
// Each term is counted at its own place and none is derived from the others, so that
//
//	admitted + recovered = delivered + deadLettered + setAside + spooled + inFlight + sum(dropped)
//
// is a check and not a tautology. It holds at every instant, also under load and while Kafka is away.
package ledger

import (
	"encoding/json"
	"maps"
)

// Ledger is a snapshot of all counts since the start of the process. All values are counts of events
// except those in Bodies. It is a value: the receiver of a snapshot owns it, maps included.
type Ledger struct {
	Admitted     int64   `json:"admitted"`     // elements decoded, a bad region is one
	Recovered    int64   `json:"recovered"`    // found in the spool at the start
	Delivered    int64   `json:"delivered"`    // acknowledged by the main topic
	DeadLettered int64   `json:"deadLettered"` // acknowledged by the dead-letter topic
	SetAside     int64   `json:"setAside"`     // kept whole in a file because no topic can take them
	Spooled      int64   `json:"spooled"`      // on disk, to be delivered later
	InFlight     int64   `json:"inFlight"`     // in memory, not settled yet
	Dropped      Reasons `json:"dropped"`      // accepted and lost

	PossibleDuplicates   int64 `json:"possibleDuplicates"`   // may have been delivered twice
	DuplicatesSuppressed int64 `json:"duplicatesSuppressed"` // sent again, recognised by the destination
	Idempotent           bool  `json:"idempotent"`           // the destination recognises what is sent twice

	// OwnLines are events that hold nothing but log lines of this process, left out of the delivery. They
	// are no term of the sum: no client sent them, so they are neither admitted nor lost.
	OwnLines int64 `json:"ownLines"`

	Waiting Waiting `json:"waiting"`
	Bodies  Bodies  `json:"bodies"`
}

// Waiting is what was taken from clients and is not decoded to its end: how many events it holds is not known
// yet. Events of a body that is being decoded may be in the other terms already.
type Waiting struct {
	Bodies int64 `json:"bodies"`
	Bytes  int64 `json:"bytes"`
}

// Bodies are counts of deliveries (POST requests).
type Bodies struct {
	Admitted int64   `json:"admitted"`
	Refused  Reasons `json:"refused"` // shed before any event of the body was taken
	// RefusedBytes are those that deliveries answered 503 announced. Clients send them again; whether FunctionGraph
	// does is not documented, so in an extension they are probably lost.
	RefusedBytes int64 `json:"refusedBytes,omitempty"`
}

// Missing is the number of events that came in and are in none of the other terms: above 0 they were
// lost without being counted, below 0 some were counted twice.
func (l *Ledger) Missing() int64 {
	settled := l.Delivered + l.DeadLettered + l.SetAside + l.Dropped.Sum()
	return l.Admitted + l.Recovered - settled - l.Spooled - l.InFlight
}

// Balanced reports whether every event that came in is accounted for exactly once.
func (l *Ledger) Balanced() bool { return l.Missing() == 0 }

// String is the ledger as one line of JSON, without a newline.
func (l *Ledger) String() string {
	b, err := json.Marshal(l)
	if err != nil {
		panic("ledger: " + err.Error()) // numbers, booleans and string keys only: cannot fail
	}
	return string(b)
}

// Reasons counts by reason. The nil map is an empty one.
type Reasons map[string]int64

// Sum is the total over all reasons.
func (r Reasons) Sum() int64 {
	var n int64
	for _, v := range r {
		n += v
	}
	return n
}

// MarshalJSON writes an object, also for the nil map: readers need no case for null.
func (r Reasons) MarshalJSON() ([]byte, error) {
	if r == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(map[string]int64(r))
}

// Clone returns a copy that shares nothing with r.
func (r Reasons) Clone() Reasons { return maps.Clone(r) }
