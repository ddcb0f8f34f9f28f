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
	s.want.stir()
	s.originChanged()
	waited := false
	// The lane of the record before. Events of one invocation come together: an equal key needs no hash. It
	// goes to the same lane for certain, because the lock was held since then.
	var l *lane
	for i := range recs {
		r := &recs[i]
		if len(r.Key) == 0 || i > 0 && !bytes.Equal(r.Key, recs[i-1].Key) {
			l = nil
		}
		for l = s.place(l, r, ack); l == nil; l = s.place(nil, r, ack) {
			if s.spooler.spiller.mustDropNewest() {
				s.dropUntaken(DroppedSpoolFull, ack)
				s.losses.full.add(1, len(r.Value))
				break
			}
			if err := s.awaitRoom(ctx); err != nil {
				return i, err
			}
			waited = true
		}
		s.count.admit(1)
		if waited {
			s.stalled, waited = time.Time{}, false
		}
	}
	s.markSoon()
	return len(recs), nil
}

// dropUntaken drops an event that is being appended. Its ack is told when the lock is free. s.mu is held.
func (s *Sink) dropUntaken(reason string, ack sink.Ack) {
	s.drop(reason, 1)
	if ack != nil {
		ack.Hold()
		s.untaken = append(s.untaken, settled{ack: ack, lost: 1})
	}
}

// awaitRoom gives the lock up until something was freed. s.mu is held before and after.
func (s *Sink) awaitRoom(ctx context.Context) error {
	if s.closed {
		return sink.ErrClosed
	}
	s.relieve()
	room := s.roomMade
	s.waiting++
	if s.stalled.IsZero() && len(s.main.lanes) > 0 { // else it is Kafka that is missing, not room
		s.stalled = time.Now()
		s.changes.watch()
	}
	patience, stop := s.spooler.spiller.patience()
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
	if s.waiting--; s.waiting == 0 && err != nil {
		s.stalled = time.Time{}
	}
	if s.closed {
		err = sink.ErrClosed
	}
	return err
}

// madeRoom wakes the appenders that wait. s.mu is held.
func (s *core) madeRoom() {
	s.notFull()
	if s.waiting > 0 {
		close(s.roomMade)
		s.roomMade = make(chan struct{})
	}
}

// relieve makes room when the buffers run short: the fullest open batch that can be sent is sealed, so
// that it does not wait for its linger. When the topic grows, all of them are. s.mu is held.
func (s *core) relieve() {
	var fullest *lane
	for l := range s.lanes() {
		if l.open == nil {
			continue
		}
		if l.topic.grow != 0 {
			l.sealAndSend()
		} else if fullest == nil || l.relievesMore(fullest) {
			fullest = l
		}
	}
	if fullest != nil {
		fullest.sealAndSend()
	}
}

func (l *lane) relievesMore(than *lane) bool {
	if l.stuck() != than.stuck() {
		return than.stuck()
	}
	return l.open.rb.Size() > than.open.rb.Size()
}

// place puts one record into its lane's open batch and returns the lane, which the caller may know; nil: no
// room now. s.mu is held.
func (s *Sink) place(l *lane, r *sink.Record, ack sink.Ack) *lane {
	if l == nil {
		if s.closed {
			return nil
		}
		if l = s.laneFor(r.Key); l == nil {
			return nil
		}
	}
	first := s.encoded(r.Type)
	size := recordbatch.RecordSize(r.Key, r.Value, r.Headers) + len(first.Wire)
	if l.full(size) {
		l.sealAndSend()
		l = s.laneFor(r.Key) // keyless records have moved on
		if l.full(size) {
			l.sealAndSend()
		}
	}
	if s.room.put(l, r, first, size, ack, 1) {
		return l
	}
	if s.room.cannotMove(l) && !s.room.spoolHasRoom() {
		return s.elsewhere(l, r, first, size, ack)
	}
	return nil
}

// laneFor picks the partition: as the Java client does for a key. nil: the partitions are not known, or
// they have become more and the lanes must drain before the first record goes by the new count, which takes a moment.
func (s *Sink) laneFor(key []byte) *lane {
	t := &s.main
	if t.grow != 0 && !t.deferGrowth() && !s.tryGrow(t) {
		return nil
	}
	switch n := len(t.lanes); {
	case n == 0 && s.deps.OpenSpool != nil, t.lobby != nil: // those who came before are still in there
		return t.inLobby()
	case n == 0:
		return nil
	case key != nil:
		return t.lanes[recordbatch.Partition(key, n)]
	case s.cfg.Keyless == KeylessInstance:
		return t.lanes[s.instance%n]
	default:
		return t.stickyLane()
	}
}

// inLobby is the lane for records of a topic whose partitions are not known yet. s.mu is held.
func (t *topic) inLobby() *lane {
	if t.lobby == nil {
		t.lobby = &lane{topic: t, partition: lobbyPartition}
		t.lobby.attach(t.core.disk.sp)
	}
	return t.lobby
}

// deferGrowth reports whether records go on by the old count, because the lanes cannot drain soon: one has frames on
// disk, or something that it cannot send. Waiting for that would keep every key out. s.mu is held.
func (t *topic) deferGrowth() bool {
	if t.lobby != nil {
		return true
	}
	if l := t.drainsLast; l != nil && l.cannotDrain() {
		return true
	}
	t.drainsLast = nil
	for _, l := range t.lanes {
		if l.cannotDrain() {
			t.drainsLast = l // to be asked first: this is asked for each record
			return true
		}
	}
	return false
}

// cannotDrain reports whether the lane has something that it cannot send now. s.mu is held.
func (l *lane) cannotDrain() bool {
	if l.disk.any {
		return true
	}
	s := l.topic.core
	return !l.idle() && (l.stuck() || s.disk.holding || s.disk.hangs || !l.busy && !l.mayStamp() || !l.broker.throttledSince.IsZero())
}

// tryGrow takes the new partitions into use once nothing is unsettled any more.
func (s *Sink) tryGrow(t *topic) bool {
	if t.batches != 0 {
		return false
	}
	s.cluster.grow(t)
	return true
}

// put appends one record to lane l, whose open batch is not full. The headers of first stand in front of its own; size
// is the bytes of all, events what the ledger counts for it. s.mu is held.
func (s *room) put(l *lane, r *sink.Record, first recordbatch.Encoded, size int, ack sink.Ack, events int) bool {
	if size > s.cfg.BatchBytes-recordbatch.Overhead {
		return s.putOversize(l, r, first, size, ack, events)
	}
	if b := l.open; b == nil || !b.rb.TryAppendEncoded(r.Timestamp, r.Key, r.Value, first, r.Headers) {
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
	}
	b.events += events
	b.sticky = b.sticky || r.Key == nil
	b.await(ack, events)
	return true
}

// openBatch begins l's open batch with a record of size bytes. s.mu is held.
func (s *room) openBatch(l *lane, r *sink.Record, first recordbatch.Encoded, size int) bool {
	b := s.newBatch(l)
	b.rb = s.pool.NewBatch(0)
	if !b.rb.TryAppendEncoded(r.Timestamp, r.Key, r.Value, first, r.Headers) {
		b.rb.Release()
		s.freeBatch(b)
		if !s.crowdedOut(l) {
			return false
		}
		if b = s.ownMemory(l, size); b == nil {
			return false
		}
		if !b.rb.TryAppendEncoded(r.Timestamp, r.Key, r.Value, first, r.Headers) {
			panic("kafka: a private batch refused the record it was made for")
		}
	} else {
		l.topic.batches++
	}
	b.opened, b.lowest = time.Now(), s.count.admitted+1
	l.open = b
	l.begun()
	l.wantFrame()
	return true
}

// await notes that ack waits for events of b.
func (b *batch) await(ack sink.Ack, events int) {
	if ack == nil {
		return
	}
	n := len(b.acks)
	if n == 0 || b.acks[n-1].ack != ack {
		ack.Hold()
		b.acks = append(b.acks, share{ack, events})
		return
	}
	b.acks[n-1].events += events
}

// putOversize gives a record that is larger than a batch a buffer of its own. s.mu is held.
func (s *room) putOversize(l *lane, r *sink.Record, first recordbatch.Encoded, size int, ack sink.Ack, events int) bool {
	// Each topic has its own bound: dead letters that no broker takes must not keep good events out.
	if !s.oversizeFits(l.topic, int64(size)) && !s.besideStuck(l, int64(size)) {
		if l.topic.wanted == 0 {
			l.topic.wantedAt = time.Now()
		}
		l.topic.wanted = max(l.topic.wanted, int64(size))
		return false
	}
	l.topic.wanted = 0 // who else waits for it asks again
	if r.BodyID != 0 { // it may become a notice, which names its place; next to its size that costs nothing
		placed := *r
		placed.Headers = fromBody(slices.Clip(r.Headers), r.Offset, -1, r.BodyID)
		r, size = &placed, recordbatch.RecordSize(r.Key, r.Value, placed.Headers)+len(first.Wire)
	}
	b := s.privateBatch(l, r, first, size)
	b.lowest = s.count.admitted + 1
	b.events = events
	b.await(ack, events)
	l.seal() // what came before goes before
	s.enqueue(l, b)
	return true
}

// oversizeFits reports whether there is room for a batch of its own for a record. s.mu is held.
func (s *room) oversizeFits(t *topic, size int64) bool {
	n := t.private - t.halves
	return n == 0 || n+size <= s.cfg.OversizeBytes
}

// privateBatch is a batch of one record outside of the pool.
func (s *core) privateBatch(l *lane, r *sink.Record, first recordbatch.Encoded, size int) *batch {
	b := s.newBatch(l)
	b.rb, b.opened = recordbatch.NewPrivateBatch(size), time.Now()
	if !b.rb.TryAppendEncoded(r.Timestamp, r.Key, r.Value, first, r.Headers) {
		panic("kafka: a private batch refused the record it was made for")
	}
	return b
}

// enqueue puts a sealed private batch at the end of a lane. s.mu is held.
func (s *core) enqueue(l *lane, b *batch) {
	l.topic.adoptWhole(b)
	l.queue = append(l.queue, b)
	l.wantFrame()
	l.signal()
}
