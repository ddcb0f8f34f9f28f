package kafka

import (
	"slices"
	"strconv"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// StuckPartition says what becomes of events whose partition cannot move while others can, when what waits for
// such partitions has taken its share of the memory and the spool has no room.
type StuckPartition uint8

const (
	// StuckDeadLetter sends keyed events to the dead-letter topic, with reason "partition_unavailable" and the
	// topic and partition in headers; the key stays. When that topic cannot move either they are
	// dropped. Other partitions go on.
	StuckDeadLetter StuckPartition = iota
	// StuckBlock lets Append wait. One partition then stops all.
	StuckBlock
)

// DroppedUnavailable is the reason of events whose partition could not move, and the dead-letter topic neither.
const DroppedUnavailable = "partition_unavailable"

// room owns the decision where a record finds memory: in the buffers, in memory of its own, or nowhere now, and what it
// means for the others that a partition cannot move. All of it needs core.mu.
type room struct {
	*core
	standstill standstill
}

// standstill is what the sink knows of partitions that cannot move, beside what each lane knows.
type standstill struct {
	judged  time.Time // when crowded was found out
	crowded bool      // lanes that fail have half of the buffers or more
}

// fails notes that the lane could not send: since then, or since the batch was first sent that got no answer.
// s.mu is held.
func (l *lane) fails(since time.Time) {
	if l.stuckSince.IsZero() {
		l.stuckSince = since
	}
}

// moves notes that the broker acknowledged a batch of the lane. A short trouble does not interrupt its moving: a
// connection that ended, an answer that was lost. s.mu is held.
func (l *lane) moves() {
	l.acked = time.Now()
	long := l.topic.core.deps.stuckAfter / 4
	if l.movingSince.IsZero() || !l.stuckSince.IsZero() && l.acked.Sub(l.stuckSince) > long {
		l.movingSince = l.acked
	}
	l.stuckSince, l.stuckNow = time.Time{}, false
}

// isStuck reports whether the lane has failed for longer than a leader takes to move, while another partition was
// moving for as long: the cluster works, and this partition does not. After a total outage all partitions
// have that time to come back. s.mu is held.
func (s *room) isStuck(l *lane, now time.Time) bool {
	grace := s.deps.stuckAfter
	if l.stuckSince.IsZero() || now.Sub(l.stuckSince) < grace {
		return false
	}
	if !s.unreachedSince.IsZero() && now.Sub(s.unreachedSince) > grace/2 {
		return false
	}
	for _, o := range s.main.lanes {
		if o.stuckSince.IsZero() && now.Sub(o.movingSince) >= grace && o.acked.Sub(l.stuckSince) > 0 {
			return true
		}
	}
	return false
}

// cannotMove is isStuck for the path of every event. s.mu is held.
func (s *room) cannotMove(l *lane) bool {
	if l.stuckSince.IsZero() {
		return false
	}
	if now := time.Now(); now.Sub(l.judged) >= judgeEvery {
		l.judged, l.stuckNow = now, s.isStuck(l, now)
	}
	return l.stuckNow
}

// crowdedOut reports whether l, which can move, has no memory because partitions that fail have taken it. Its batches
// then get memory of their own, within the bound for large records. s.mu is held.
func (s *room) crowdedOut(l *lane) bool {
	return l.stuckSince.IsZero() && !s.spoolHasRoom() && s.stuckHaveHalf()
}

// stuckHaveHalf reports whether partitions that fail have half of the buffers or more. s.mu is held.
func (s *room) stuckHaveHalf() bool {
	if now := time.Now(); now.Sub(s.standstill.judged) >= judgeEvery {
		s.standstill.judged, s.standstill.crowded = now, s.stuckChunks() >= s.pool.Total()/2
	}
	return s.standstill.crowded
}

// besideStuck reports whether a large record of l has memory although the bound is reached: all that is in use is with
// partitions that fail, and l can move. s.mu is held.
func (s *room) besideStuck(l *lane, size int64) bool {
	t := l.topic
	n := t.private - t.halves - t.stuckPrivate()
	return l.stuckSince.IsZero() && t.stuckPrivate() > 0 && (n == 0 || n+size <= s.cfg.OversizeBytes)
}

// ownMemory is a batch for l outside of the buffers, with room for a record of size bytes at least; nil: the bound is
// reached. s.mu is held.
func (s *room) ownMemory(l *lane, size int) *batch {
	t := l.topic
	bytes := max(size, min(s.cfg.BatchBytes, int(s.cfg.OversizeBytes/4)))
	if n := t.private - t.halves - t.stuckPrivate(); n != 0 && n+int64(bytes) > s.cfg.OversizeBytes {
		return nil
	}
	b := s.newBatch(l)
	b.rb = recordbatch.NewPrivateBatch(bytes)
	t.adopt(b, int64(bytes))
	return b
}

// spoolHasRoom reports whether what waits can go to disk. s.mu is held.
func (s *room) spoolHasRoom() bool { return s.disk.sp != nil && s.disk.err == nil }

// stuckChunks is how much of the buffers belongs to lanes that fail. s.mu is held.
func (s *room) stuckChunks() (n int) {
	add := func(b *batch) {
		if b != nil && b.rb != nil && b.private == 0 {
			n += b.rb.Chunks()
		}
	}
	for l := range s.lanes() {
		if l.stuckSince.IsZero() {
			continue
		}
		add(l.open)
		add(l.doubt)
		for _, b := range l.queue {
			add(b)
		}
	}
	return n
}

// stuckPrivate is how much of the topic's memory outside of the buffers belongs to lanes that fail. s.mu is held.
func (t *topic) stuckPrivate() (n int64) {
	for _, l := range t.lanes {
		if !l.stuckSince.IsZero() {
			n += l.private
		}
	}
	return n
}

// stuckHeld is how much of the dead letters' share belongs to lanes that fail, if there is one that does not. s.mu
// is held.
func (t *topic) stuckHeld() (n int64) {
	healthy := false
	for _, l := range t.lanes {
		if l.stuck() {
			n += l.held
		} else {
			healthy = true
		}
	}
	if !healthy {
		return 0
	}
	return n
}

// elsewhere places a record whose lane l is stuck while there is no room: a record without a key in another
// partition, one with a key in the dead-letter topic. nil: it must wait. s.mu is held.
func (s *Sink) elsewhere(l *lane, r *sink.Record, first recordbatch.Encoded, size int, ack sink.Ack) *lane {
	if r.Key == nil {
		to := s.otherLane(l)
		if to == nil || !s.room.put(to, r, first, size, ack, 1) {
			return nil
		}
		return to
	}
	if s.cfg.StuckPartition == StuckBlock {
		return nil
	}
	d := *r
	d.Headers = s.letters.deadHeaders(slices.Clone(r.Headers), DroppedUnavailable, len(r.Value))
	d.Headers = s.numbered(append(d.Headers, sink.Header{Key: headerPartition, Value: strconv.AppendInt(nil, int64(l.partition), 10)}), s.number())
	s.want.deadTopicSoon()
	switch {
	case !s.room.deadFull() && s.placeDead(&d, recordbatch.RecordSize(d.Key, d.Value, d.Headers), ack, 1):
		s.letters.noteDead(sink.DeadNote{Reason: DroppedUnavailable, Partition: l.partition}, r.Value)
		s.alarm("unavailable", "a partition cannot move and others can; its events go to the dead-letter topic (--stuck-partition)",
			"topic", l.topic.name, "partition", l.partition, "since", l.stuckSince.Format(time.RFC3339))
		return l
	case !s.room.deadGone():
		return nil
	}
	s.alarm("unavailable/dropped", "events are dropped: their partition and the dead-letter topic cannot move (--stuck-partition)",
		"topic", l.topic.name, "partition", l.partition)
	s.dropUntaken(DroppedUnavailable, ack)
	return l
}

// otherLane is where keyless records go instead of l; nil: no partition can move. With KeylessInstance the
// instance's partition changes. s.mu is held.
func (s *Sink) otherLane(l *lane) *lane {
	t := l.topic
	for i := 1; i < len(t.lanes); i++ {
		o := t.lanes[(int(l.partition)+i)%len(t.lanes)]
		if o.stuck() || !o.stuckSince.IsZero() {
			continue
		}
		if s.cfg.Keyless == KeylessInstance {
			s.log.Warn("the partition of this instance's events without a key cannot move; they go to another one from now on",
				"topic", t.name, "was", l.partition, "is", o.partition)
			s.instance = int(o.partition)
		} else {
			t.sticky = int(o.partition)
		}
		return o
	}
	return nil
}

// deadGone reports whether the dead-letter topic takes nothing while the main topic moves, or takes nothing until
// an operator acts. To wait for it would stop the good events as well. s.mu is held.
func (s *room) deadGone() bool {
	if s.dead.hopeless() {
		return true
	}
	now := time.Now()
	for _, l := range s.dead.lanes {
		if !s.isStuck(l, now) && !s.aloneStuck(l, now) {
			return false
		}
	}
	return true
}

// aloneStuck is isStuck for a dead-letter partition while no good event is under way: the sources may all wait for room
// for dead letters. The cluster answers, and nothing but dead letters has failed since good events were last
// acknowledged. s.mu is held.
func (s *room) aloneStuck(l *lane, now time.Time) bool {
	if l.stuckSince.IsZero() || now.Sub(l.stuckSince) < s.deps.stuckAfter || !s.unreachedSince.IsZero() {
		return false
	}
	acked := false
	for _, o := range s.main.lanes {
		if !o.idle() || !o.stuckSince.IsZero() {
			return false
		}
		acked = acked || !o.acked.IsZero()
	}
	return acked
}
