package kafka

import (
	"slices"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

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

	deadTried time.Time // when a dead letter was last tried that neither the disk nor its topic may take
}

// put appends one record to lane l, whose open batch is not full. The headers of first stand in front of its own; size
// is the bytes of all, events what the ledger counts for it.
func (s *room) put(l *lane, r *sink.Record, first *recordbatch.Encoded, size int, ack sink.Ack, events int) bool {
	if size > s.cfg.BatchBytes-recordbatch.Overhead {
		return s.putOversize(l, r, first, size, ack, events)
	}
	if b := l.open; b == nil || !b.rb.TryAppendEncoded(r, first) {
		if b != nil {
			if !b.rb.Private() && !s.crowdedOut(l) {
				return false
			}
			l.sealAndSend()
		}
		if !s.openBatch(l, r, first, size) {
			return false
		}
	}
	b := l.open
	if l.topic.dead {
		b.held += int64(size)
		l.topic.held += int64(size)
		l.held += int64(size)
	} else {
		l.topic.fresh, l.topic.used = true, true
	}
	b.events += events
	b.sticky = b.sticky || r.Key == nil
	b.await(ack, events)
	return true
}

// openBatch begins l's open batch with a record of size bytes.
func (s *room) openBatch(l *lane, r *sink.Record, first *recordbatch.Encoded, size int) bool {
	b := s.newBatch(l)
	b.rb = s.pool.NewBatch(0)
	if !b.rb.TryAppendEncoded(r, first) {
		b.rb.Release()
		s.freeBatch(b)
		if !s.crowdedOut(l) {
			return false
		}
		if b = s.ownMemory(l, size); b == nil {
			return false
		}
		if !b.rb.TryAppendEncoded(r, first) {
			panic("kafka: a private batch refused the record it was made for")
		}
	} else {
		l.topic.batches++
	}
	b.opened, b.lowest = time.Now(), s.count.admitted+1
	l.open = b
	l.onOpen()
	l.wantFrame()
	return true
}

// putOversize gives a record that is larger than a batch a buffer of its own.
func (s *room) putOversize(l *lane, r *sink.Record, first *recordbatch.Encoded, size int, ack sink.Ack, events int) bool {
	// Each topic has its own bound: dead letters that no broker takes must not keep good events out.
	if !s.oversizeFits(l.topic, int64(size)) && !s.besideStuck(l, int64(size)) {
		if l.topic.wanted == 0 {
			l.topic.wantedAt = time.Now()
		}
		l.topic.wanted = max(l.topic.wanted, int64(size))
		return false
	}
	l.topic.wanted = 0 // other appenders that wait for it ask again
	if r.BodyID != 0 { // it may become a notice, which names its place; next to its size that costs nothing
		placed := *r
		placed.Headers = fromBody(slices.Clip(r.Headers), r.Offset, -1, r.BodyID)
		r, size = &placed, recordbatch.RecordSize(r.Key, r.Value, placed.Headers)+first.Size()
	}
	l.topic.fresh, l.topic.used = true, true
	b := s.privateBatch(l, r, first, size)
	b.lowest = s.count.admitted + 1
	b.events = events
	b.await(ack, events)
	s.enqueue(l, b)
	return true
}

// oversizeFits reports whether there is room for a batch of its own for a record.
func (s *room) oversizeFits(t *topic, size int64) bool {
	n := t.private - t.childBytes
	return n == 0 || n+size <= s.cfg.OversizeBytes
}

// deadFull reports whether dead letters hold their share of the buffers.
func (s *room) deadFull() bool {
	share := s.cfg.BufferBytes / deadLetterShare
	return s.dead.held > share && s.dead.held-s.dead.besideShare() > share
}

// mayWaitForFrame reports whether a dead letter that needs a frame may wait for it in its lane. When neither the disk nor the
// topic takes any, one in each stuckAfter is tried all the same: the topic may take them again.
func (s *room) mayWaitForFrame() bool {
	if s.disk.err == nil || s.diskIsSlow() || !s.deadGone() {
		return true
	}
	now := time.Now()
	if now.Sub(s.standstill.deadTried) < s.deps.stuckAfter {
		return false
	}
	s.standstill.deadTried = now
	return true
}

// examineAnew lets partitions for dead letters count as healthy again that failed a while ago and have nothing to send: a
// dead letter is tried there before it is dropped. Only a new one asks for that, else old ones would go round for ever.
func (s *room) examineAnew() {
	now := time.Now()
	for _, l := range s.dead.lanes {
		if l.broker != nil && l.idle() && now.Sub(l.retryAt) >= s.deps.stuckAfter {
			l.failures, l.stuckSince = 0, time.Time{}
		}
	}
}

// crowdedOut reports whether l, which can move or takes dead letters, has no memory because partitions that fail have
// taken it. Its batches then get memory of their own, within the bound for large records.
func (s *room) crowdedOut(l *lane) bool {
	return (l.stuckSince.IsZero() || l.topic.dead) && !s.spoolHasRoom() && s.stuckHaveHalf()
}

// stuckHaveHalf reports whether partitions that fail have half of the buffers or more.
func (s *room) stuckHaveHalf() bool {
	if now := time.Now(); now.Sub(s.standstill.judged) >= judgeEvery {
		s.standstill.judged, s.standstill.crowded = now, s.stuckChunks() >= s.pool.Total()/2
	}
	return s.standstill.crowded
}

// besideStuck reports whether a large record of l has memory although the bound is reached: all that is in use is with
// partitions that fail, and l can move.
func (s *room) besideStuck(l *lane, size int64) bool {
	t := l.topic
	n := t.private - t.childBytes - t.stuckPrivate()
	return l.stuckSince.IsZero() && t.stuckPrivate() > 0 && (n == 0 || n+size <= s.cfg.OversizeBytes)
}

// ownMemory is a batch for l outside of the buffers, with room for a record of size bytes at least; nil: the bound is
// reached.
func (s *room) ownMemory(l *lane, size int) *batch {
	t := l.topic
	bytes := max(size, min(s.cfg.BatchBytes, int(s.cfg.OversizeBytes/4)))
	n := t.private - t.childBytes
	if l.stuckSince.IsZero() {
		n -= t.stuckPrivate()
	}
	if n != 0 && n+int64(bytes) > s.cfg.OversizeBytes {
		return nil
	}
	b := s.newBatch(l)
	b.rb = recordbatch.NewPrivateBatch(bytes)
	t.adopt(b, int64(bytes))
	return b
}

// stuckChunks is how much of the buffers belongs to lanes that fail.
func (s *room) stuckChunks() (n int) {
	for l := range s.lanes() {
		if l.stuckSince.IsZero() {
			continue
		}
		add := func(b *batch) {
			if b != nil && b.private == 0 {
				n += (l.wireBytes(b) + recordbatch.ChunkSize - 1) / recordbatch.ChunkSize
			}
		}
		add(l.open)
		add(l.head)
		for _, b := range l.queue {
			add(b)
		}
	}
	return n
}

// spoolHasRoom reports whether what waits can go to disk.
func (s *room) spoolHasRoom() bool { return s.disk.sp != nil && s.disk.err == nil }

// stuckPrivate is how much of the topic's memory outside of the buffers belongs to lanes that fail.
func (t *topic) stuckPrivate() (n int64) {
	for _, l := range t.lanes {
		if !l.stuckSince.IsZero() {
			n += l.private
		}
	}
	return n
}

// splitFits reports whether there is room for what is made of a batch that was refused. Parts that wait in lanes that fail
// take none of it: they would keep every other lane's from being made.
func (t *topic) splitFits(need int64) bool {
	n := t.childBytes
	for _, l := range t.lanes {
		if !l.stuckSince.IsZero() {
			l.batches(func(b *batch) {
				if b.child {
					n -= b.private
				}
			})
		}
	}
	return n <= 0 || n+need <= t.core.cfg.OversizeBytes
}

// besideShare is how much memory of dead letters does not count against their share: what lanes that fail have, if there is one
// that does not, and of each lane the batch in doubt that goes before frames on disk, because it can have none.
func (t *topic) besideShare() (n int64) {
	healthy := slices.ContainsFunc(t.lanes, func(l *lane) bool { return !l.stuck() })
	for _, l := range t.lanes {
		switch b := l.head; {
		case healthy && l.stuck():
			n += l.held
		case b != nil && b.pos == 0 && l.disk.any:
			n += b.held
		}
	}
	return n
}
