package kafka

import (
	"slices"
	"strconv"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// Where events go whose partition cannot move while there is no room for them (--stuck-partition): what is appended, and
// what waits in memory of its own because it was placed there. See room and ADR 29.

// elsewhereLocked places a record whose lane l is stuck while there is no room: a record without a key in another
// partition of its topic, one with a key, or whose topic cannot move at all, in the dead-letter topic. nil: it must wait.
func (s *Sink) elsewhereLocked(l *lane, r *sink.Record, first *recordbatch.Encoded, size int, ack sink.Ack) *lane {
	if r.Key == nil {
		if to := s.otherLaneLocked(l); to != nil {
			if !s.room.put(to, r, first, size, ack, 1) {
				return nil
			}
			return to
		}
	}
	if s.cfg.StuckPartition == StuckBlock || r.Key == nil && !s.room.noneMoves(l.topic) {
		return nil
	}
	d := *r
	d.Headers = s.numbered(s.unavailableHeaders(slices.Clone(r.Headers), l, len(r.Value)), s.number())
	s.want.deadTopicSoon()
	switch {
	case !s.room.deadFull() && s.placeDeadLocked(&d, recordbatch.RecordSize(d.Key, d.Value, d.Headers), ack, 1):
		s.noteUnavailableLocked(l, r.Value)
		return l
	case !s.room.deadGone():
		return nil
	}
	s.warnUnavailableDropped(l)
	s.dropUntakenLocked(DroppedUnavailable, ack)
	return l
}

// unavailableHeaders adds those of a dead letter whose partition cannot move to the headers of its record.
func (s *Sink) unavailableHeaders(h []sink.Header, l *lane, size int) []sink.Header {
	h = s.letters.deadHeaders(h, l.topic, DroppedUnavailable, size)
	if l.partition == unassignedPartition {
		return h
	}
	return append(h, sink.Header{Key: headerPartition, Value: strconv.AppendInt(nil, int64(l.partition), 10)})
}

func (s *Sink) noteUnavailableLocked(l *lane, value []byte) {
	s.letters.noteDeadLocked(sink.DeadNote{Reason: DroppedUnavailable, Topic: l.topic.name, Partition: l.partition}, value)
	s.warnLimited("unavailable", "a partition cannot move and others can; its events go to the dead-letter topic (--stuck-partition)",
		"topic", l.topic.name, "partition", l.partition, "since", l.stuckSince.Format(time.RFC3339))
}

func (s *Sink) warnUnavailableDropped(l *lane) {
	s.warnLimited("unavailable/dropped", "events are dropped: their partition and the dead-letter topic cannot move (--stuck-partition)",
		"topic", l.topic.name, "partition", l.partition)
}

// otherLaneLocked is where keyless records go instead of l; nil: no partition can move. With KeylessInstance the
// instance's partition changes.
func (s *Sink) otherLaneLocked(l *lane) *lane {
	t := l.topic
	for i := 1; i < len(t.lanes); i++ {
		o := t.lanes[(int(l.partition)+i)%len(t.lanes)]
		if o.stuck() || !o.stuckSince.IsZero() {
			continue
		}
		if s.cfg.Keyless == KeylessInstance {
			s.log.Warn("the partition of this instance's events without a key cannot move; they go to another one from now on",
				"topic", t.name, "was", l.partition, "is", o.partition)
			t.instance = int(o.partition)
		} else {
			t.sticky = int(o.partition)
		}
		return o
	}
	return nil
}

// giveUpStuckLocked sends what waits beside the buffers in those of t's first n lanes that cannot move elsewhere: it leaves
// no room for what belongs to others. It returns the memory that these lanes keep, which is bounded: of each the batch in
// doubt and what came out of it.
func (s *Sink) giveUpStuckLocked(t *topic, n int) (kept int64) {
	if t.dead || s.closed || s.cfg.StuckPartition == StuckBlock || s.room.spoolHasRoom() {
		return 0
	}
	lanes, given := t.lanes[:min(n, len(t.lanes))], false
	for _, l := range lanes {
		if !s.room.cannotMove(l) {
			continue
		}
		l.evictQueue()
		waits, bare := false, l.queue[l.disk.framed:]
		l.queue = l.queue[:l.disk.framed]
		for _, b := range bare {
			switch {
			case b.private == 0 || b.events != b.rb.Count(): // a mark has no event
			case !b.writing && s.giveUpLocked(b, lanes):
				given = true
				continue
			default:
				waits = true
			}
			l.queue = append(l.queue, b)
		}
		clear(bare[len(l.queue)-l.disk.framed:])
		if !waits {
			kept += l.private
		}
	}
	if given {
		s.tasks.Go(s.spooler.writer.endFrames) // the caller may have nothing else to tell
	}
	return kept
}

// giveUpLocked sends the events of a batch that waits in a lane that cannot move to the dead-letter topic, those without a
// key to another one of lanes. false: it must wait.
func (s *Sink) giveUpLocked(b *batch, lanes []*lane) bool {
	switch {
	case !s.room.deadFull() && (b.pinned() == nil || s.room.mayWaitForFrame()): // with a frame it must have one of its own
		s.moveLocked(b, lanes)
	case s.room.deadGone():
		s.warnUnavailableDropped(b.lane)
		s.drop(DroppedUnavailable, b.events)
		b.lost = b.events
	default:
		return false
	}
	b.events = 0
	s.release(b.lane.topic, b)
	s.later(s.finish(b, 0, nil)) // its own part
	return true
}

// moveLocked makes dead letters of the events of b, and a batch of one of lanes that can move of those without a key.
func (s *Sink) moveLocked(b *batch, lanes []*lane) {
	moving := slices.IndexFunc(lanes, func(o *lane) bool { return !o.stuck() && o.stuckSince.IsZero() })
	var letters, keyless []sink.Record
	err := b.rb.Records(func(at int64, key, value []byte, h []sink.Header) bool {
		r := sink.Record{Timestamp: at, Key: key, Value: value, Headers: slices.Clone(h)}
		if key == nil && moving >= 0 {
			keyless = append(keyless, r)
			return true
		}
		r.Headers = s.unavailableHeaders(r.Headers, b.lane, len(value))
		letters = append(letters, r)
		s.noteUnavailableLocked(b.lane, value)
		return true
	})
	if err != nil {
		panic("kafka: a batch of our own cannot be read: " + err.Error())
	}
	for _, rb := range together(letters, s.cfg.BatchBytes) {
		to := s.dead.stickyLane()
		d := s.newBatch(to)
		d.rb, d.opened, d.events = rb, b.opened, rb.Count()
		d.takesPlaceOf(b)
		s.sender.bury(to, d)
	}
	for _, rb := range together(keyless, s.cfg.BatchBytes) {
		nb := s.newBatch(lanes[moving])
		nb.rb, nb.opened, nb.events, nb.parent, nb.untimed = rb, b.opened, rb.Count(), b, b.untimed
		b.unsettledParts++
		b.toFrame++
		nb.pin(b.pinned())
		s.enqueue(nb.lane, nb)
	}
}
