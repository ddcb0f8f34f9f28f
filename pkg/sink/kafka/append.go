package kafka

import (
	"bytes"
	"context"
	"slices"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// Append implements sink.Sink. Cheap per record when called with a few dozen of them at once: the lock
// is taken once.
func (s *Sink) Append(ctx context.Context, recs []sink.Record, ack sink.Ack) (int, error) {
	s.mu.Lock()
	defer func() {
		out := s.untaken
		s.untaken = nil
		s.mu.Unlock()
		tell(out)
	}()
	s.want.wakeIdle()
	s.originChanged()
	waited := false
	// The lane of the record before. Events of one invocation come together: an equal key needs no hash. It
	// goes to the same lane of its topic for certain, because the lock was held since then.
	var l *lane
	for i := range recs {
		r := &recs[i]
		if len(r.Key) == 0 || i > 0 && (r.Topic != recs[i-1].Topic || !bytes.Equal(r.Key, recs[i-1].Key)) {
			l = nil
		}
		for l = s.placeLocked(l, r, ack); l == nil; l = s.placeLocked(nil, r, ack) {
			if !s.mustChangeLanesLocked(s.topics[r.Topic]) && s.spooler.spiller.mustDropNewestLocked() {
				s.dropUntakenLocked(DroppedSpoolFull, ack)
				s.losses.full.add(1, len(r.Value))
				break
			}
			if err := s.awaitRoom(ctx, len(recs)-i); err != nil {
				return i, err
			}
			waited = true
		}
		s.count.admit(1)
		if waited {
			s.stalled, waited = time.Time{}, false
		}
	}
	s.markSoonLocked()
	return len(recs), nil
}

// dropUntakenLocked drops an event that is being appended. Its ack is told when the lock is free.
func (s *Sink) dropUntakenLocked(reason string, ack sink.Ack) {
	s.drop(reason, 1)
	if ack != nil {
		ack.Hold()
		s.untaken = append(s.untaken, settled{ack: ack, lost: 1})
	}
}

// awaitRoom gives the lock up until something was freed; events is how many wait. s.mu is held before and after.
func (s *Sink) awaitRoom(ctx context.Context, events int) error {
	if s.closed {
		return sink.ErrClosed
	}
	s.sealFullest()
	room := s.roomMade
	s.waiting++
	s.untakenEvents += int64(events)
	if s.stalled.IsZero() && s.knowsTopic() { // else it is Kafka that is missing, not room
		s.stalled = time.Now()
		s.changes.watch()
	}
	patience, stop := s.spooler.spiller.spillDelayLocked()
	s.mu.Unlock()
	look := time.NewTimer(s.deps.stuckAfter / 20) // no signal tells that a partition is stuck
	defer look.Stop()
	var err error
	select {
	case <-room:
	case <-patience:
		s.spooler.spiller.press() // the caller comes again
	case <-look.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	stop()
	s.mu.Lock()
	s.untakenEvents -= int64(events)
	if err != nil {
		s.givenUp += int64(events)
	}
	if s.waiting--; s.waiting == 0 && err != nil {
		s.stalled = time.Time{}
	}
	if s.closed {
		err = sink.ErrClosed
	}
	return err
}

// knowsTopic reports whether the partitions of a main topic are known.
func (s *core) knowsTopic() bool {
	return slices.ContainsFunc(s.topics, func(t *topic) bool { return len(t.lanes) > 0 })
}

// mayWaitUnassigned reports whether records wait in memory while the partitions of their topic are not known: with a spool,
// and where others must not wait for a topic that is missing.
func (s *core) mayWaitUnassigned() bool {
	return s.deps.OpenSpool != nil || len(s.topics) > 1 && s.knowsTopic()
}

// placeLocked puts one record into its lane's open batch and returns the lane, which the caller may know; nil: no
// room now.
func (s *Sink) placeLocked(l *lane, r *sink.Record, ack sink.Ack) *lane {
	if l == nil {
		if s.closed {
			return nil
		}
		if l = s.laneForLocked(s.topics[r.Topic], r.Key); l == nil {
			return nil
		}
	}
	first := s.encoded(r.Type)
	size := recordbatch.RecordSize(r.Key, r.Value, r.Headers) + first.Size()
	if l.full(size) {
		l.sealAndSend()
		l = s.laneForLocked(l.topic, r.Key) // keyless records have moved on
		if l.full(size) {
			l.sealAndSend()
		}
	}
	if s.room.put(l, r, first, size, ack, 1) {
		return l
	}
	if s.room.cannotMove(l) && !s.room.spoolHasRoom() {
		return s.elsewhereLocked(l, r, first, size, ack)
	}
	return nil
}

// laneForLocked picks the partition of topic t: as the Java client does for a key. nil: the partitions are not known, or
// change just now.
func (s *Sink) laneForLocked(t *topic, key []byte) *lane {
	if s.mustChangeLanesLocked(t) {
		return nil
	}
	switch n := len(t.lanes); {
	case n == 0 && s.mayWaitUnassigned(), t.unassigned != nil: // earlier records are still in it
		return t.unassignedLane()
	case n == 0:
		return nil
	case key != nil:
		return t.lanes[recordbatch.Partition(key, n)]
	case s.cfg.Keyless == KeylessInstance:
		return t.lanes[t.instance%n]
	default:
		return t.stickyLane()
	}
}

// mustChangeLanesLocked reports whether the topic takes nothing for a moment, however much room there is: its partitions
// have become more, and the lanes must drain before the first record goes by the new count; or they have become fewer,
// and not all that waited for the others is placed.
func (s *Sink) mustChangeLanesLocked(t *topic) bool {
	return t.grow != 0 && !s.tryGrowLocked(t) || t.fewer.placing
}

// tryGrowLocked takes the new partitions into use once nothing is unsettled any more; false: not yet, in a moment.
func (s *Sink) tryGrowLocked(t *topic) bool {
	if t.deferGrowth() {
		return true // records go on by the old count
	}
	if t.batches != 0 {
		return false
	}
	s.cluster.growLocked(t)
	return true
}
