package kafka

import (
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// diskPart is what a lane has in the spool. All of it is guarded by core.mu.
type diskPart struct {
	q   diskqueue.Queue // nil: there is no spool, or it is not open yet
	any bool            // frames up to end are on disk only; they go before queue
	end diskqueue.Pos

	framed  int      // batches at the front of queue that have frames
	spilled []*batch // of those on disk only: the ones that a source waits for, in order

	dirty       bool   // in spooler.dirty
	behind      bool   // the spool may not have written down yet that the last frame is done
	lastEvents  int    // of that frame
	closing     bool   // the end of a frame is being written; nothing is sent until it is
	splitParent *batch // has a frame and was split: only its children are sent until all of it is settled

	// What the last process was sending when it ended.
	old      diskqueue.Pos
	oldStamp diskqueue.Stamp
}

// inherited is the generation of another process's producer: it is used for the one batch that was in
// doubt and for nothing else.
const inherited = -1

// spoolStamp is b's stamp as the spool keeps it.
func (b *batch) spoolStamp() diskqueue.Stamp {
	return diskqueue.Stamp{ProducerID: b.stamp.id, Epoch: b.stamp.epoch, BaseSequence: b.stamp.seq, FirstSent: b.known.UnixMilli(), Cluster: b.stamp.cluster}
}

// attach gives the lane its queue, and takes over what the last process left in it.
func (l *lane) attach(sp diskqueue.Spool) {
	d := &l.disk
	if d.q != nil || sp == nil {
		return
	}
	d.q = sp.Queue(l.topic.name, l.partition)
	tail := d.q.Tail()
	if tail == 0 {
		return
	}
	d.old, d.oldStamp, _ = d.q.Doubt()
	l.extendDisk(tail)
}

// extendDisk notes that the frames up to end are on disk only.
func (l *lane) extendDisk(end diskqueue.Pos) {
	l.disk.end = end
	if !l.disk.any {
		l.disk.any = true
		l.topic.core.disk.overflowing++
	}
}

// checkDisk finds out whether there is a frame to send next. The acks of frames that were damaged are
// told.
func (l *lane) checkDisk() {
	d := &l.disk
	if !d.any || l.head != nil || len(l.children) > 0 {
		return
	}
	pos, _, _, ok := d.q.Head()
	ok = ok && pos <= d.end
	for len(d.spilled) > 0 && (!ok || d.spilled[0].pos < pos) {
		l.topic.core.lostFrame(pop(&d.spilled))
	}
	if !ok {
		d.any = false
		l.topic.core.disk.overflowing--
		l.topic.core.checkDrained()
	}
}

// tellDamaged tells the acks of frames that were damaged behind the last one that is left, which may be carried. No other one
// comes here any more. Where the topic has the partition again, its new lane sends what is in the queue.
func (l *lane) tellDamaged() {
	d := &l.disk
	if len(d.spilled) == 0 || l.partition >= 0 && int(l.partition) < len(l.topic.lanes) {
		return
	}
	for tail := d.q.Tail(); len(d.spilled) > 0 && d.spilled[0].pos > tail; {
		l.topic.core.lostFrame(pop(&d.spilled))
	}
}

// frameBytes is the size of the next frame on disk.
func (l *lane) frameBytes() int {
	_, n, _, _ := l.disk.q.Head()
	return int(n)
}

// takeFrame makes a batch of the oldest frame, still without its memory.
func (l *lane) takeFrame() *batch {
	s, d := l.topic.core, &l.disk
	pos, _, events, _ := d.q.Head()
	var b *batch
	if len(d.spilled) > 0 && d.spilled[0].pos == pos {
		b = pop(&d.spilled)
	} else {
		b = s.newBatch(l)
		b.pos, b.events = pos, events
	}
	b.compressed = true
	if pos == d.old && pos != 0 {
		// It goes again with its old stamp: the broker knows whether it has it. Another cluster would take the
		// stamp for that of a producer of its own.
		st := d.oldStamp
		b.attempts, b.maybeWritten, b.sent = 1, true, time.UnixMilli(st.FirstSent)
		b.known = b.sent
		if st.Cluster == "" || s.clusterID == "" || st.Cluster == s.clusterID {
			b.stamp = stamp{producer{st.ProducerID, st.Epoch, inherited, st.Cluster}, st.BaseSequence}
			b.stamped, b.sends = true, 1
		}
		d.old = 0
	}
	return b
}

// dropDamaged counts as dropped what the spool has passed over as damaged since the last call. Until then it counts as on disk.
func (s *core) dropDamaged() {
	if s.disk.sp == nil {
		return
	}
	n := s.disk.sp.Counts().Lost - s.disk.damaged
	if s.closed {
		n = min(n, s.count.spooled) // a frame that was removed counts whole, and a part of it may have been delivered
	}
	if n == 0 {
		return
	}
	s.disk.damaged += n
	s.count.spooled -= n
	s.count.dropped[DroppedDamaged] += n
}

// evict leaves a batch that has a frame to the disk.
func (s *core) evict(b *batch) {
	s.release(b.lane.topic, b)
	b.loaded = false
	s.count.toDisk(b.events)
}

// keepMemory is its opposite: b has memory again.
func (s *core) keepMemory(b *batch) {
	b.loaded = true
	b.lane.topic.batches++
	s.count.toDisk(-b.events)
}

// evict leaves to the disk what the lane has a frame of and does not need in memory now.
func (l *lane) evict() {
	s := l.topic.core
	// Not a child of a split: its memory has a bound of its own, and would have to be asked for again to split it.
	if b := l.head; b != nil && !l.busy && b.pos != 0 && b.rb != nil && !b.writing && !b.child {
		s.evict(b)
	}
	l.evictQueue()
}

// evictQueue is evict for the queue.
func (l *lane) evictQueue() {
	s, d := l.topic.core, &l.disk
	for d.framed > 0 && !l.queue[0].writing {
		b := pop(&l.queue)
		d.framed--
		s.evict(b)
		l.extendDisk(b.pos)
		if b.isKnown() {
			l.rememberSpilled(b)
		} else {
			s.freeBatch(b)
		}
	}
}

// isKnown reports whether something else than the frame of b must hear of its end.
func (b *batch) isKnown() bool { return len(b.acks) > 0 || b.parent != nil || b.pins != nil }

// rememberSpilled keeps a batch that a source waits for. Those whose waiters have all gone are forgotten
// each time their number has doubled.
func (l *lane) rememberSpilled(b *batch) {
	d := &l.disk
	if n := len(d.spilled); n == cap(d.spilled) && n >= 64 {
		kept := d.spilled[:0]
		for _, b := range d.spilled {
			if b.pinned() != nil || b.awaited() {
				kept = append(kept, b)
			} else {
				l.topic.core.freeBatch(b)
			}
		}
		clear(d.spilled[len(kept):])
		d.spilled = kept
	}
	d.spilled = append(d.spilled, b)
}

// diskState is what the partitions know of the spool. The spooler keeps it, except kick; guarded by core.mu.
type diskState struct {
	sp      diskqueue.Spool // nil: none, or not open yet
	holding bool            // nothing is sent: the spool is not open yet, or has frames that must be placed first
	hangs   bool            // a call of the disk has not come back: nothing waits for it

	err      error     // why the last frame could not be written; nil: it can be
	failedAt time.Time // since when that is so
	hungAt   time.Time // since when a call hangs and no write succeeds; others may come back meanwhile

	overflowing int       // lanes with frames that are on disk only
	damaged     int64     // events in frames that the spool found damaged; they are counted as dropped
	fullSince   time.Time // when the buffers ran full; zero: they are not
	movedAt     time.Time // when a batch last ended. That one on disk was read and given back is no progress
	carried     []waiting // that are placed and not yet settled: each stands for a frame, or had none. See carry

	// placing: a frame is placed in part, or that it was placed is not noted yet. Nothing on disk is given up meanwhile, since
	// its events would be counted twice.
	placing bool
	frail   map[unplacedQueue]diskqueue.Pos // frames up to there were placed, but the disk did not confirm it; the placer's

	unfinished map[unplacedQueue]unfinishedFrame

	ended []frame   // to be written down by endFrames
	out   []settled // to be told by it

	kick chan struct{} // wakes the spooler; nil: there is no spool
}
