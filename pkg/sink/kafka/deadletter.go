package kafka

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// Headers of a dead letter. Numbers are decimal, offsets are bytes from the start of the body.
const (
	headerReason      = "ingest-reason"
	headerOffset      = "ingest-offset"       // where the bad region starts
	headerErrorOffset = "ingest-error-offset" // the byte that is wrong
	headerSize        = "ingest-size"         // of the whole, in bytes
	headerBodyID      = "ingest-body-id"
	headerTruncated   = "ingest-truncated" // the value is only the beginning; the whole was set aside, or dropped
	headerSHA256      = "ingest-sha256"    // of the whole, hex; set with ingest-truncated
)

// DeadLetter implements sink.Sink.
func (s *Sink) DeadLetter(ctx context.Context, d *sink.DeadLetter, ack sink.Ack) error {
	num := func(v int64) []byte { return strconv.AppendInt(nil, v, 10) }
	r := sink.Record{Value: d.Raw, Timestamp: d.Timestamp, Headers: []sink.Header{
		{Key: headerReason, Value: []byte(d.Reason)},
		{Key: headerOffset, Value: num(d.Offset)},
		{Key: headerErrorOffset, Value: num(d.ErrorOffset)},
		{Key: headerSize, Value: num(int64(len(d.Raw)))},
		{Key: headerBodyID, Value: strconv.AppendUint(nil, d.BodyID, 10)},
	}}
	events := 1
	var kept error
	truncated := len(d.Raw) > maxDeadLetterBytes
	if truncated {
		r.Value, r.Headers, kept = s.truncate(d.Raw, r.Headers)
		events = 0
	}
	size := recordbatch.RecordSize(r.Key, r.Value, r.Headers)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return sink.ErrClosed
	}
	s.inFlight.Add(1)
	lost := 0
	if truncated {
		lost = s.settleWhole(kept)
	}
	s.wantDeadTopic()
	for {
		if s.dead.held > s.cfg.BufferBytes/deadLetterShare && s.dead.unusable {
			// Nobody can take it: the topic is missing and may not be created. Waiting would stop the
			// good events as well.
			s.alarm("dead letters", "dead letters are dropped: their topic cannot be used", "topic", s.dead.name, "error", s.dead.err)
			s.drop("dead_letter_unavailable", events)
			lost += events
			break
		}
		if s.dead.held <= s.cfg.BufferBytes/deadLetterShare && s.placeDead(&r, size, ack, events) {
			break
		}
		if err := s.awaitRoom(ctx); err != nil {
			if truncated {
				return nil // the event itself is settled; only the notice of it is missing
			}
			s.inFlight.Add(-1)
			return err
		}
	}
	if lost > 0 && ack != nil {
		ack.Hold()
		ack.Settle(lost)
	}
	return nil
}

// placeDead puts a record into the dead-letter topic's lane. s.mu is held.
func (s *Sink) placeDead(r *sink.Record, size int, ack sink.Ack, events int) bool {
	if s.closed {
		return false
	}
	if s.dead.grow != 0 {
		s.grow(&s.dead) // dead letters have no order to keep
	}
	l := s.dead.lanes[s.dead.sticky]
	if l.full(size) {
		l.sealAndSend()
		if l = s.dead.lanes[s.dead.sticky]; l.full(size) {
			l.sealAndSend()
		}
	}
	return s.put(l, r, size, ack, events)
}

// truncate makes a notice of an event that no topic can take: its beginning, and how to find the whole.
// The whole is set aside; kept is nil when that worked.
func (s *Sink) truncate(raw []byte, headers []sink.Header) (value []byte, h []sink.Header, kept error) {
	sum := sha256.Sum256(raw)
	kept = errNoSetAside
	if s.deps.SetAside != nil {
		kept = s.deps.SetAside(raw, sum)
	}
	return raw[:min(len(raw), truncatedBytes)], append(headers,
		sink.Header{Key: headerTruncated, Value: []byte("true")},
		sink.Header{Key: headerSHA256, Value: []byte(hex.EncodeToString(sum[:]))}), kept
}

// settleWhole counts an event in flight whose whole was set aside, or could not be. s.mu is held.
func (s *Sink) settleWhole(kept error) (lost int) {
	if kept == nil {
		s.setAside.Add(1)
		s.inFlight.Add(-1)
		return 0
	}
	s.alarm("too large", "an event is larger than any topic takes and could not be set aside; dropped", "error", kept)
	s.drop("too_large", 1)
	return 1
}

// bury sends the single record that the broker refused to the dead letters, in place of its batch. The
// record's source is settled when the dead letter is. s.mu is held.
func (s *Sink) bury(e *entry, rb *recordbatch.Batch, out []settled) []settled {
	l, b := e.lane, e.batch
	reason := "refused"
	if e.verdict == classSplit {
		reason = "too_large"
	}
	var r sink.Record
	_ = rb.Records(func(ts int64, key, value []byte, h []sink.Header) bool {
		r = sink.Record{Timestamp: ts, Key: key, Value: value, Headers: h}
		return false
	})
	events, lost := b.events, 0
	b.events = 0
	notice := func() {
		var kept error
		r.Value, r.Headers, kept = s.truncate(r.Value, r.Headers)
		lost += s.settleWhole(kept)
		events = 0
	}
	switch {
	case l.topic.dead && (events == 0 || len(r.Value) <= truncatedBytes):
		// Even the dead-letter topic refuses it, and it cannot be made smaller.
		s.alarm("dead letter refused", "a dead letter is dropped: its own topic refuses it", "error", codeName(e.code), "message", e.message)
		s.drop("dead_letter_refused", events)
		s.unload(l.topic, b)
		return s.finish(b, events, out)
	case l.topic.dead:
		notice()
	default:
		r.Headers = append(r.Headers,
			sink.Header{Key: headerReason, Value: []byte(reason)},
			sink.Header{Key: headerSize, Value: strconv.AppendInt(nil, int64(len(r.Value)), 10)})
		if len(r.Value) > maxDeadLetterBytes {
			notice()
		}
	}
	s.unload(l.topic, b)
	d := s.privateBatch(&r, recordbatch.RecordSize(r.Key, r.Value, r.Headers))
	d.events, d.parent = events, b
	b.parts, b.lost = 1, lost
	s.wantDeadTopic()
	s.enqueue(s.dead.lanes[s.dead.sticky], d)
	return out
}
