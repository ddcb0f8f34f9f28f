// Package discard is the sink that takes everything, keeps nothing and says so: every event is dropped
// for one reason, and counted. It stands in for a sink that cannot be made, so that the process in
// front of it can go on answering.
package discard

import (
	"context"
	"fmt"
	"sync/atomic"

	"functiongraph-ingest/pkg/sink"
)

// Sink drops what it takes. It implements sink.Sink.
type Sink struct {
	reason string
	err    error
	n      atomic.Int64
	closed atomic.Bool
}

var _ sink.Sink = (*Sink)(nil)

// New returns a sink that drops for reason, a word of the ledger. err is what Ready says.
func New(reason string, err error) *Sink { return &Sink{reason: reason, err: err} }

// Append implements sink.Sink.
func (s *Sink) Append(_ context.Context, recs []sink.Record, ack sink.Ack) (int, error) {
	if s.closed.Load() {
		return 0, sink.ErrClosed
	}
	s.drop(len(recs), ack)
	return len(recs), nil
}

// DeadLetter implements sink.Sink.
func (s *Sink) DeadLetter(_ context.Context, _ *sink.DeadLetter, ack sink.Ack) error {
	if s.closed.Load() {
		return sink.ErrClosed
	}
	s.drop(1, ack)
	return nil
}

func (s *Sink) drop(n int, ack sink.Ack) {
	if n == 0 {
		return
	}
	s.n.Add(int64(n))
	if ack != nil {
		ack.Hold()
		ack.Settle(n)
	}
}

// Flush implements sink.Sink.
func (s *Sink) Flush() {}

// Close implements sink.Sink.
func (s *Sink) Close(context.Context) error {
	s.closed.Store(true)
	return nil
}

// Ready implements sink.Sink.
func (s *Sink) Ready() error { return s.err }

// Delivery implements sink.Sink.
func (s *Sink) Delivery() sink.Delivery {
	return sink.Delivery{State: sink.Failed, Trouble: sink.Trouble{
		Kind: s.reason, Reason: "every event is dropped and counted", Remedy: "correct the settings (ingest check)", Error: fmt.Sprint(s.err),
	}}
}

// Stats implements sink.Sink.
func (s *Sink) Stats() sink.Stats {
	n := s.n.Load()
	st := sink.Stats{Admitted: n}
	if n > 0 {
		st.Dropped = map[string]int64{s.reason: n}
	}
	return st
}
