package ndjson

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"functiongraph-ingest/pkg/sink"
)

// Close implements sink.Sink. Its error says what the writer has not taken.
func (s *Sink) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.madeRoomLocked()
	s.mu.Unlock()
	s.ring()
	var err error
	select {
	case <-s.done:
	default:
		select {
		case <-s.done: // soon after gone, when the acks are told
		case <-ctx.Done():
			err = s.giveUp()
		}
	}
	return errors.Join(err, s.close())
}

// giveUp drops what is not written.
func (s *Sink) giveUp() error {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return nil
	}
	lost, failure := s.stats.InFlight, s.failure
	torn := s.written > 0 && s.written < len(s.writing.text) && s.writing.text[s.written-1] != '\n'
	settled := s.settleLocked(sink.DroppedShutdown, true)
	close(s.stop)
	s.mu.Unlock()
	settled.tell()
	if d, ok := s.out.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(time.Unix(1, 0)) // ends a write that hangs, where that is possible
	}
	if lost == 0 {
		return nil
	}
	err := fmt.Errorf("ndjson: the output has not taken %d events in time", lost)
	if torn {
		err = fmt.Errorf("%w; its last line is incomplete", err)
	}
	if failure != nil {
		err = fmt.Errorf("%w: %w", err, failure)
	}
	return err
}

// Ready implements sink.Sink.
func (s *Sink) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case isGone(s.failure):
		return fmt.Errorf("ndjson: the output is gone: %w", s.failure)
	case s.closed:
		return sink.ErrClosed
	case s.failure != nil:
		return fmt.Errorf("ndjson: the output cannot be written (%w): %w", s.failure, sink.ErrNoRoom)
	case s.standsStillLocked():
		return fmt.Errorf("ndjson: the output takes nothing: %w", sink.ErrNoRoom)
	}
	return nil
}

// standsStillLocked reports whether a write has not returned for longer than a moment.
func (s *Sink) standsStillLocked() bool {
	return !s.stalled.IsZero() && time.Since(s.stalled) >= stalledAfter
}

// Delivery implements sink.Sink.
func (s *Sink) Delivery() sink.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := sink.Delivery{State: sink.Idle, Waiting: s.stats.InFlight}
	switch {
	case isGone(s.failure):
		d.State, d.Since = sink.Failed, s.since
		d.Trouble = sink.Trouble{Kind: DroppedGone, Reason: "the reader of the output is gone", Remedy: "start both again", Error: s.failure.Error(), Since: s.since}
	case s.failure != nil:
		d.State, d.Since = sink.Retrying, s.since
		d.Trouble = sink.Trouble{Kind: "write_error", Reason: "the output cannot be written: events wait, then deliveries are refused",
			Remedy: "make room where --output is", Error: s.failure.Error(), Since: s.since}
	case s.standsStillLocked():
		d.State, d.Since = sink.Retrying, s.stalled
		if s.full {
			d.State = sink.Blocked
		}
		d.Trouble = sink.Trouble{Kind: "output_stalled", Reason: "the output takes nothing: events wait, then deliveries are refused",
			Remedy: "see why the reader of --output stands still, or its disk", Since: s.stalled}
	case d.Waiting > 0:
		d.State = sink.Delivering
	}
	return d
}

// Stats implements sink.Sink.
func (s *Sink) Stats() sink.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	if len(s.drops) > 0 {
		st.Dropped = maps.Clone(s.drops)
	}
	return st
}
