package kafka

import (
	"errors"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// errFrameExpired: the frame is older than Config.SpoolMaxAge.
var errFrameExpired = errors.New("the frame has expired")

// expirer owns the end of frames that are too old.
type expirer struct {
	*core
	writer   *frameWriter
	expireAt time.Time // when ages are looked at next
}

// expired reports whether a frame that was written then, ms since the Unix epoch, is too old. A clock that was set back
// makes frames younger; 0 is no time.
func (c *Config) expired(written int64) bool {
	return c.SpoolMaxAge > 0 && written > 0 && time.Since(time.UnixMilli(written)) > c.SpoolMaxAge
}

// expire drops frames that are too old and not being sent, while Kafka may be away, and returns when to look again. The
// worker that loads a frame looks as well (worker.load), so none is sent that was only on disk.
func (s *expirer) expire() (at time.Time) {
	if s.cfg.SpoolMaxAge <= 0 {
		return at
	}
	if now := time.Now(); now.Before(s.expireAt) {
		return s.expireAt
	}
	s.mu.Lock()
	var lanes []*lane
	for l := range s.lanes() {
		if l.disk.q != nil {
			lanes = append(lanes, l)
		}
	}
	s.mu.Unlock()
	for _, l := range lanes {
		s.expireQueue(l.disk.q, l)
	}
	for _, q := range s.disk.sp.Queues() {
		if s.topicNamed(q.Topic()) != nil {
			s.expireQueue(q, nil)
		}
	}
	s.expireAt = time.Now().Add(min(max(s.cfg.SpoolMaxAge/10, minExpirePause), maxExpirePause))
	return s.expireAt
}

// expireQueue drops frames of q that are too old; l is its lane, nil while none has taken it over, because Kafka was not
// reached yet. A frame without events goes behind the others, so that nothing waits for it, unless it is a periodic mark, of
// which later ones say the same: a loss stays reported.
func (s *expirer) expireQueue(q diskqueue.Queue, l *lane) {
	var moved diskqueue.Pos // the first
	for s.ctx.Err() == nil {
		if q.Tail() == 0 {
			return
		}
		var pos diskqueue.Pos
		var written int64
		if s.writer.readOrLeave(func() { pos, written = q.HeadWritten() }) != nil {
			return
		}
		_, bytes, events, ok := q.Head()
		if !ok || !s.cfg.expired(written) || moved != 0 && pos >= moved {
			return
		}
		kept := diskqueue.Pos(0)
		if events == 0 {
			if kept, ok = s.keep(q, l, pos); !ok {
				return
			}
			if moved == 0 {
				moved = kept
			}
		}
		if !s.drop(q, l, pos, events, bytes, kept != 0) {
			return
		}
	}
}

// keep writes the frame at pos once more, behind the others, if it must be kept. It returns where; 0: it need not be. false:
// the frame cannot be dropped now. Until drop is called nothing of the lane is sent.
func (s *expirer) keep(q diskqueue.Queue, l *lane, pos diskqueue.Pos) (to diskqueue.Pos, ok bool) {
	var f diskqueue.Frame
	var err error
	if s.writer.readOrLeave(func() { f, err = q.Read(pos, nil) }) != nil || err != nil {
		return 0, false // where it is damaged it has no events that would have to be counted
	}
	if periodicMark(f.Batch) {
		return 0, true
	}
	if !s.writer.writing.lockUnless(s.writer.watchdog.untilHangs()) {
		return 0, false
	}
	defer s.writer.writing.Unlock()
	s.mu.Lock()
	ok = s.idleLocked(q, l, pos) && (l == nil || l.disk.framed == 0)
	if ok && l != nil {
		l.disk.closing = true
	}
	s.mu.Unlock()
	if !ok {
		return 0, false
	}
	m := f.Meta
	m.WrittenAt, m.Replaces = 0, pos
	frame := [1]diskqueue.Write{{Queue: q, Meta: m, Batch: [][]byte{f.Batch}}}
	err = s.writer.onDisk(func() error { _, err := s.disk.sp.Append(frame[:]); return err })
	if l != nil {
		s.mu.Lock()
		if err == nil {
			l.extendDisk(frame[0].Pos)
		} else {
			l.disk.closing = false
			l.onIdle()
		}
		s.mu.Unlock()
	}
	return frame[0].Pos, err == nil
}

// periodicMark reports whether a batch is a mark and not the last one of its sequence.
func periodicMark(batch []byte) (periodic bool) {
	err := recordbatch.Decode(batch, recordbatch.MaxRecordsBytes, func(_ int64, _, _ []byte, headers []sink.Header) bool {
		for _, h := range headers {
			periodic = periodic || h.Key == HeaderMark && string(h.Value) == MarkPeriodic
		}
		return true
	})
	return err == nil && periodic
}

// idleLocked reports whether the frame at pos is the oldest of its queue, and is neither being sent nor being placed, and
// nothing of it is in memory.
func (s *expirer) idleLocked(q diskqueue.Queue, l *lane, pos diskqueue.Pos) bool {
	if l != nil {
		if s.disk.holding && l.partition != unassignedPartition {
			return false
		}
		l.evict() // its copy in memory
		idle, ok := l.idleFrame()
		return ok && idle == pos
	}
	// Nothing is sent or placed meanwhile: that begins in this goroutine.
	free := s.disk.holding && !s.disk.placing && pos > s.disk.frail[unplacedOf(q)] && !s.disk.unfinished[unplacedOf(q)].under()
	for l := range s.lanes() {
		free = free && (l.topic.name != q.Topic() || l.partition != q.Partition())
	}
	return free
}

// drop drops the frame at pos; kept: by keep, which has found that it may. false: it cannot be dropped now. The lock is free.
func (s *expirer) drop(q diskqueue.Queue, l *lane, pos diskqueue.Pos, events int, bytes int64, kept bool) bool {
	s.mu.Lock()
	if kept && l != nil {
		l.disk.closing = false
	}
	idle := s.idleLocked(q, l, pos)
	if idle && l != nil {
		s.writer.dropFrameLocked(l, DroppedExpired)
	}
	s.mu.Unlock()
	switch {
	case l != nil:
		s.writer.endFrames()
		return idle
	case !idle:
		return false
	}
	err := s.writer.onDisk(func() error { return q.Done(pos) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.warnLimited("done", "progress in the spool cannot be written; a kill now would repeat batches", "error", err)
	}
	s.count.toDisk(-events)
	s.writer.noteExpiredLocked(q.Topic(), q.Partition(), events, bytes)
	s.writer.roomOnDiskLocked()
	s.checkDrained()
	return true
}
