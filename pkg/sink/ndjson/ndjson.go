// Package ndjson is the sink that writes one line per event: to a file, or to a stream for another
// program to read. It is for trying things out and for tests of what stands in front of a sink.
//
// A good event is its own bytes, on one line: raw line breaks between its tokens become blanks, which
// changes nothing in its meaning. A dead letter is {"deadLetter":{"reason":…,"offset":…,"errorOffset":…,
// "bodyId":…,"raw":"<base64>"}}, because it may not be JSON. Keys, headers and timestamps are not written.
package ndjson

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"sync"

	"functiongraph-ingest/pkg/sink"
)

// bufferBytes is what is written at once when records come faster than the writer takes them.
const bufferBytes = 64 << 10

// Sink writes to one io.Writer. It implements sink.Sink. An event counts as delivered when the writer has
// taken its bytes; there is no sync to a disk.
type Sink struct {
	mu      sync.Mutex
	w       *bufio.Writer
	closer  io.Closer
	closed  bool
	failure error // the first write error; from then on everything is dropped

	delivered, dead, dropped int64
	line                     []byte // the one being made
}

var _ sink.Sink = (*Sink)(nil)

// New returns a sink that writes to w, and closes it at Close when it is an io.Closer.
func New(w io.Writer) *Sink {
	s := &Sink{w: bufio.NewWriterSize(w, bufferBytes)}
	s.closer, _ = w.(io.Closer)
	return s
}

// Append implements sink.Sink. It writes before it returns: pressure is the writer's own.
func (s *Sink) Append(_ context.Context, recs []sink.Record, ack sink.Ack) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, sink.ErrClosed
	}
	for i := range recs {
		s.line = appendLine(s.line[:0], recs[i].Value)
		s.write(s.line)
	}
	s.settle(ack, len(recs), 0)
	return len(recs), nil
}

// appendLine puts v on one line. A raw line break inside a string (lenient mode) becomes a blank too:
// it is no JSON either way.
func appendLine(dst, v []byte) []byte {
	for _, c := range v {
		if c == '\n' || c == '\r' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, '\n')
}

// DeadLetter implements sink.Sink.
func (s *Sink) DeadLetter(_ context.Context, d *sink.DeadLetter, ack sink.Ack) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return sink.ErrClosed
	}
	s.line = fmt.Appendf(s.line[:0], `{"deadLetter":{"reason":%q,"offset":%d,"errorOffset":%d,"bodyId":%d,"raw":"`,
		d.Reason, d.Offset, d.ErrorOffset, d.BodyID)
	s.line = base64.StdEncoding.AppendEncode(s.line, d.Raw)
	s.line = append(s.line, "\"}}\n"...)
	s.write(s.line)
	s.settle(ack, 0, 1)
	return nil
}

func (s *Sink) write(line []byte) {
	if s.failure == nil {
		_, s.failure = s.w.Write(line)
	}
}

// settle writes the buffer through, counts, and tells who waits. s.mu is held.
func (s *Sink) settle(ack sink.Ack, good, bad int) {
	if s.failure == nil {
		s.failure = s.w.Flush()
	}
	lost := 0
	if s.failure != nil {
		lost = good + bad
		s.dropped += int64(lost)
	} else {
		s.delivered += int64(good)
		s.dead += int64(bad)
	}
	if ack != nil {
		ack.Hold()
		ack.Settle(lost)
	}
}

// Flush implements sink.Sink. Nothing waits.
func (s *Sink) Flush() {}

// Close implements sink.Sink.
func (s *Sink) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.failure
	if s.closer != nil {
		err = errors.Join(err, s.closer.Close())
	}
	return err
}

// Ready implements sink.Sink.
func (s *Sink) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return sink.ErrClosed
	}
	return s.failure
}

// Delivery implements sink.Sink.
func (s *Sink) Delivery() sink.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		return sink.Delivery{State: sink.Idle}
	}
	return sink.Delivery{State: sink.Failed, Trouble: sink.Trouble{
		Kind: "write_error", Reason: "the output cannot be written: events are dropped", Remedy: "restart with another --output", Error: s.failure.Error(),
	}}
}

// Stats implements sink.Sink. What a write error took is dropped with reason "write_error".
func (s *Sink) Stats() sink.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := sink.Stats{Admitted: s.delivered + s.dead + s.dropped, Delivered: s.delivered, DeadLettered: s.dead}
	if s.dropped > 0 {
		st.Dropped = map[string]int64{"write_error": s.dropped}
	}
	return st
}
