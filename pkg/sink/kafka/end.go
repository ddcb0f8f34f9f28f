package kafka

import (
	"slices"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// frame is a frame whose batch is settled.
type frame struct {
	lane   *lane
	pos    diskqueue.Pos
	events int
	sent   bool // and acknowledged
}

// frameEnds notes that b, which has a frame, is settled. Its lane waits for endFrames.
func (s *core) frameEnds(b *batch) {
	d := &b.lane.disk
	d.closing = true
	if d.splitParent == b {
		if d.splitParent = nil; !b.lane.stuck() {
			b.lane.stuckSince = time.Time{}
		}
	}
	s.disk.ended = append(s.disk.ended, frame{b.lane, b.pos, b.events, b.attempts > 0 && !b.dropped})
	s.unfinished.Store(true)
}

// endFrames tells the spool that frames are done, before anything else of their lanes is sent: after a kill
// the next process knows the one batch in doubt by its stamp, and all before it must be known as done, which
// is written down together with that stamp. The caller of finish calls it when the lock is free.
func (s *frameWriter) endFrames() {
	for s.unfinished.Load() {
		s.endSome(true)
	}
}

// endSent is endFrames for workers, which have requests to send: it does not wait for the disk. What has to, it leaves to the
// spooler.
func (s *frameWriter) endSent() {
	for s.unfinished.Load() {
		if s.endSome(false) {
			wake(s.disk.kick)
			return
		}
	}
}

// endSome ends the frames that have been settled and for which nothing is waited for, and then those of one lane more if it
// may wait. left: there are others.
func (s *frameWriter) endSome(wait bool) (left bool) {
	var soonBuf [16]frame
	s.mu.Lock()
	ended, out, hangs := s.disk.ended, s.disk.out, s.disk.hangs
	soon := append(soonBuf[:0], ended...)
	var late, rest []frame
	if unsent := func(f frame) bool { return !f.sent }; !hangs && slices.ContainsFunc(ended, unsent) {
		soon = soon[:0]
		for _, f := range ended {
			switch { // a lane with one is closed until all of its are over
			case !slices.ContainsFunc(ended, func(o frame) bool { return o.lane == f.lane && unsent(o) }):
				soon = append(soon, f)
			case wait && (len(late) == 0 || late[0].lane == f.lane):
				late = append(late, f)
			default:
				rest = append(rest, f)
			}
		}
	}
	s.disk.ended, s.disk.out = append(ended[:0], rest...), nil
	left = len(rest) > 0
	s.unfinished.Store(left)
	s.mu.Unlock()
	tell(out)
	for _, f := range soon {
		s.warnNotDone(f.lane.disk.q.DoneSoon(f.pos))
	}
	s.reopen(soon)
	for _, f := range late {
		s.warnNotDone(s.onDisk(func() error { return f.lane.disk.q.Done(f.pos) }))
	}
	s.reopen(late)
	return left
}

// reopen lets the lanes go on whose frames have ended.
func (s *frameWriter) reopen(ended []frame) {
	if len(ended) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range ended {
		f.lane.disk.behind, f.lane.disk.lastEvents = f.sent, f.events
		f.lane.disk.closing = false
		f.lane.onIdle()
		if f.lane.partition < 0 || int(f.lane.partition) >= len(f.lane.topic.lanes) {
			wake(s.disk.kick) // it was carried: for the next one
		}
	}
	if s.behindSince.IsZero() {
		s.behindSince = time.Now()
		wake(s.disk.kick)
	}
	s.ends++
	s.roomOnDiskLocked()
	s.checkDrained()
}

func (s *frameWriter) warnNotDone(err error) {
	if err != nil {
		s.mu.Lock()
		s.warnLimited("done", "progress in the spool cannot be written; a kill now would repeat batches", "error", err)
		s.mu.Unlock()
	}
}

// dropOldest drops the oldest frame of all that is on disk only and not being sent; false: there is none.
// The lock is free.
func (s *frameWriter) dropOldest() bool {
	s.mu.Lock()
	var oldest *lane
	var at diskqueue.Pos
	for l := range s.lanes() {
		if pos, ok := l.idleFrame(); ok && (oldest == nil || pos < at) {
			oldest, at = l, pos
		}
	}
	if oldest == nil {
		s.mu.Unlock()
		return false
	}
	s.dropFrameLocked(oldest, DroppedSpoolFull)
	s.mu.Unlock()
	s.endFrames()
	return true
}

// dropFrameLocked drops the lane's oldest frame, which is on disk only.
func (s *frameWriter) dropFrameLocked(l *lane, reason string) {
	_, size, _, _ := l.disk.q.Head()
	b := l.head
	if b == nil {
		b = l.takeFrame()
	}
	l.head = nil
	b.dropped = true
	l.abandonStamp(b)
	s.count.toDisk(-b.events)
	if reason == DroppedExpired {
		s.noteExpiredLocked(l.topic.name, l.partition, b.events, size)
	} else {
		s.drop(reason, b.events)
		s.losses.full.add(b.events, int(size))
	}
	s.later(s.finish(b, b.events, nil))
}

// noteExpiredLocked counts events that are dropped for their age.
func (s *frameWriter) noteExpiredLocked(topic string, partition int32, events int, bytes int64) {
	if events == 0 {
		return // a mark
	}
	s.drop(DroppedExpired, events)
	s.losses.expired.add(events, int(bytes))
	s.warnLimited("expired", "events are dropped that were in the spool for longer than --spool-max-age", "topic", topic, "partition", partition, "events", events)
}

// idleFrame is the lane's oldest frame if it is on disk only and may be given up: it is not being sent, not being placed, and
// was not placed.
func (l *lane) idleFrame() (pos diskqueue.Pos, ok bool) {
	d, disk := &l.disk, &l.topic.core.disk
	if disk.placing || !d.any || l.busy || d.closing || d.splitParent != nil || slices.ContainsFunc(l.children, func(b *batch) bool { return b.pos != 0 }) {
		return 0, false
	}
	if b := l.head; b != nil && (b.pos == 0 || b.rb != nil || b.writing) {
		return 0, false
	}
	pos, _, _, ok = d.q.Head()
	return pos, ok && pos <= d.end && pos > disk.frail[unplacedQueue{l.topic.name, l.partition}]
}

// roomOnDiskLocked: frames have ended, so there may be room on disk again.
func (s *frameWriter) roomOnDiskLocked() {
	if !isFull(s.disk.err) {
		return
	}
	if s.disk.hangs {
		s.diskFailsLocked(errDiskHangs) // there is room, but nothing is written
	} else {
		s.diskFailsLocked(nil)
	}
	s.fullAt = time.Now() // the next write tells; without a try nothing would
	s.madeRoom()
	wake(s.disk.kick)
}

// writeCursors has written down what has ended, cursorDelay after the first of it: in a stream of batches nearly all
// of it is written with the next batch. It does not wait for that, and returns when to look again.
func (s *frameWriter) writeCursors() (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.behindSince
	switch {
	case since.IsZero() || s.writingCursors:
		return at
	case time.Since(since) < cursorDelay:
		return since.Add(cursorDelay)
	}
	s.behindSince, s.writingCursors = time.Time{}, true
	s.tasks.Go(func() {
		err := s.onDisk(s.disk.sp.WriteCursors)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.writingCursors = false
		if err != nil {
			s.warnLimited("done", "progress in the spool cannot be written; a kill now would repeat batches", "error", err)
			s.behindSince = time.Now()
		}
		wake(s.disk.kick)
	})
	return at
}

// lostFrame settles a batch whose frame the spool found damaged, and has counted.
func (s *core) lostFrame(b *batch) {
	lost := b.events
	b.pos = 0 // it is out of the queue already
	s.later(s.finish(b, lost, nil))
}

// settleAnsweredLocked ends a batch whose answer came while it was written.
func (s *frameWriter) settleAnsweredLocked(b *batch) {
	l := b.lane
	l.disk.closing = false
	s.release(l.topic, b)
	s.later(s.finish(b, 0, nil))
	s.checkDrained()
}
