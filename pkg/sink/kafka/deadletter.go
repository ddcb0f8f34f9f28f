package kafka

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// DeadLetter implements sink.Sink.
func (s *Sink) DeadLetter(ctx context.Context, d *sink.DeadLetter, ack sink.Ack) error {
	r := sink.Record{Key: d.Key, Value: d.Raw, Timestamp: d.Timestamp}
	r.Headers = s.letters.deadHeaders(fromBody(nil, d.Offset, d.ErrorOffset, d.BodyID), s.topics[d.Topic], d.Reason, len(d.Raw))
	events := 1
	var kept error
	truncated := len(d.Raw) > maxDeadLetterBytes
	if truncated {
		r.Value, r.Headers, kept = s.letters.truncate(d.Raw, r.Headers)
		events = 0
	}
	s.mu.Lock()
	if s.closed && !(truncated && kept == nil) {
		s.mu.Unlock()
		return sink.ErrClosed
	}
	s.want.wakeIdle()
	lost := 0
	if truncated {
		r.Headers = s.numbered(r.Headers, s.number())
		s.count.admit(1)
		lost = s.letters.settleWholeLocked(kept)
	}
	hopeless := lost
	n, err := s.takeDead(ctx, &r, ack, events)
	lost += n
	if err == nil || truncated {
		s.letters.noteDeadLocked(sink.DeadNote{Reason: d.Reason, Partition: -1, Body: d.BodyID, Offset: d.Offset, ErrorOffset: d.ErrorOffset}, d.Raw)
	}
	if truncated {
		err = nil // the event itself is settled; at worst the notice of it is missing
	}
	s.mu.Unlock()
	if lost > 0 && ack != nil {
		ack.Hold()
		o := settled{ack, lost, hopeless, true}
		o.tell()
	}
	return err
}

// deadHeaders adds the headers of every dead letter, which was to go to topic t, to those that it has.
func (s *deadLetters) deadHeaders(h []sink.Header, t *topic, reason string, size int) []sink.Header {
	h = append(h, sink.Header{Key: HeaderReason, Value: []byte(reason)},
		sink.Header{Key: headerSize, Value: strconv.AppendInt(nil, int64(size), 10)},
		sink.Header{Key: HeaderTopic, Value: []byte(t.name)})
	if s.deps.Origin == nil {
		return h
	}
	for _, from := range s.deps.Origin() {
		// A record that was spooled by another instance says itself where it comes from.
		if !slices.ContainsFunc(h, func(o sink.Header) bool { return o.Key == from.Key }) {
			h = append(h, from)
		}
	}
	return h
}

// takeDead puts a dead letter into its lane, or drops it when nothing can take it, and returns how many
// events were lost by that. Either way they are admitted; with an error they are not. s.mu is held, but not while it waits for room.
func (s *Sink) takeDead(ctx context.Context, r *sink.Record, ack sink.Ack, events int) (lost int, err error) {
	s.want.deadTopicSoon()
	s.room.examineAnew()
	own := len(r.Headers)
	for pressed := false; ; {
		if events > 0 { // the lock was free since the last number was looked at
			r.Headers = s.numbered(r.Headers[:own], s.number())
		}
		size := recordbatch.RecordSize(r.Key, r.Value, r.Headers)
		switch {
		case !s.room.deadFull():
			if s.placeDeadLocked(r, size, ack, events) {
				s.count.admit(events)
				s.stalled = time.Time{}
				return 0, nil
			}
			if s.room.deadGone() && s.room.stuckHaveHalf() && !s.room.spoolHasRoom() { // there will be no room
				s.count.admit(events)
				s.dropDead(events)
				return events, nil
			}
		case s.letters.deadMaySpillLocked():
			// They wait on disk. Once is enough: a press that finds nothing to write wakes this caller, and awaitRoom
			// presses again after a pause.
			if !pressed {
				pressed, s.spooler.spiller.pressed = true, true
				wake(s.disk.kick)
			}
		case s.room.deadGone():
			s.count.admit(events)
			s.dropDead(events)
			return events, nil
		}
		if s.spooler.spiller.mustDropNewestLocked() {
			s.count.admit(events)
			s.drop(DroppedSpoolFull, events)
			s.losses.full.add(events, size)
			return events, nil
		}
		if err := s.awaitRoom(ctx, int(events)); err != nil {
			return 0, err
		}
	}
}

// deadMaySpillLocked reports whether dead letters may wait on disk: those that wait for an operator have a
// share of it.
func (s *deadLetters) deadMaySpillLocked() bool {
	if s.disk.sp == nil || s.disk.err != nil {
		return false
	}
	if !s.room.deadGone() {
		return true
	}
	var bytes int64
	for _, l := range s.dead.lanes {
		_, _, onDisk := l.disk.q.Len()
		bytes += onDisk
	}
	return bytes < s.cfg.DeadSpoolBytes
}

// hopeless reports whether the topic takes nothing until an operator acts: it is missing and may not be created, or
// what is sent is refused. To wait for it would stop the good events as well.
func (t *topic) hopeless() bool { return t.unusable || t.refusals >= maxRefusals }

// dropDead counts dead letters as dropped that nothing can take.
func (s *core) dropDead(events int) {
	s.warnLimited("dead letters", "dead letters are dropped: their topic cannot be used", "topic", s.dead.name, "error", s.dead.err)
	s.drop(droppedDeadUnavailable, events)
}

// placeDeadLocked puts a record into the dead-letter topic's lane.
func (s *Sink) placeDeadLocked(r *sink.Record, size int, ack sink.Ack, events int) bool {
	if s.closed {
		return false
	}
	l := s.dead.stickyLane()
	if l.full(size) {
		l.sealAndSend()
		if l = s.dead.stickyLane(); l.full(size) {
			l.sealAndSend()
		}
	}
	return s.room.put(l, r, nil, size, ack, events)
}

// truncate makes a notice of an event that no topic can take: its beginning, and how to find the whole.
// The whole is set aside; kept is nil when that worked.
func (s *deadLetters) truncate(raw []byte, headers []sink.Header) (value []byte, h []sink.Header, kept error) {
	sum := sha256.Sum256(raw)
	kept = errNoSetAside
	if keep := s.setAsideFunc(); keep != nil {
		kept = keep(raw, sum)
	}
	return raw[:min(len(raw), truncatedBytes)], append(headers,
		sink.Header{Key: HeaderTruncated, Value: []byte("true")},
		sink.Header{Key: headerSHA256, Value: []byte(hex.EncodeToString(sum[:]))}), kept
}

func (s *deadLetters) setAsideFunc() func(raw []byte, sha256 [32]byte) error {
	if s.deps.SetAside != nil {
		return s.deps.SetAside
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disk.sp == nil {
		return nil
	}
	return s.disk.sp.SetAside
}

// settleWholeLocked counts an event in flight whose whole was set aside, or could not be.
func (s *deadLetters) settleWholeLocked(kept error) (lost int) {
	if kept == nil {
		s.count.setAside++
		s.count.inFlight--
		return 0
	}
	s.warnLimited("too large", "an event is larger than any topic takes and could not be set aside; dropped", "error", kept)
	s.drop(droppedTooLarge, 1)
	return 1
}
