package kafka

import (
	"errors"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
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
		s.expireQueue(l.disk.q, func(pos diskqueue.Pos) bool { return s.dropExpired(l, pos) })
	}
	for _, q := range s.disk.sp.Queues() {
		if s.topicNamed(q.Topic()) != nil {
			s.expireQueue(q, func(pos diskqueue.Pos) bool { return s.dropUnplaced(q, pos) })
		}
	}
	s.expireAt = time.Now().Add(min(max(s.cfg.SpoolMaxAge/10, minExpirePause), maxExpirePause))
	return s.expireAt
}

// expireQueue drops frames of q that are too old, by drop, which gets their positions and reports whether it could. A frame
// without events is a report of losses: it stays, and what is behind it waits for it.
func (s *expirer) expireQueue(q diskqueue.Queue, drop func(pos diskqueue.Pos) bool) {
	for s.ctx.Err() == nil {
		pos, written := q.HeadWritten()
		if _, _, events, ok := q.Head(); !ok || events == 0 || !s.cfg.expired(written) || !drop(pos) {
			return
		}
	}
}

// dropExpired drops the lane's oldest frame if it is the one at pos; false: it is not, it is being sent, or it is being
// placed. The lock is free.
func (s *expirer) dropExpired(l *lane, pos diskqueue.Pos) bool {
	s.mu.Lock()
	mayDrop := !s.disk.holding || l.partition == unassignedPartition
	if mayDrop {
		l.evict() // its copy in memory
		idle, ok := l.idleFrame()
		if mayDrop = ok && idle == pos; mayDrop {
			s.writer.dropFrameLocked(l, DroppedExpired)
		}
	}
	s.mu.Unlock()
	s.writer.endFrames()
	return mayDrop
}

// dropUnplaced drops the oldest frame of a queue that no lane has taken over, because Kafka was not reached yet. Nothing
// is sent or placed meanwhile: that begins in this goroutine. The lock is free.
func (s *expirer) dropUnplaced(q diskqueue.Queue, pos diskqueue.Pos) bool {
	head, bytes, events, ok := q.Head()
	s.mu.Lock()
	free := ok && head == pos && s.disk.holding && !s.disk.placing && pos > s.disk.frail[unplacedOf(q)]
	for l := range s.lanes() {
		free = free && (l.topic.name != q.Topic() || l.partition != q.Partition())
	}
	s.mu.Unlock()
	if !free {
		return false
	}
	err := q.Done(pos)
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
