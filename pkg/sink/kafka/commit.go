package kafka

import (
	"math"
	"slices"
	"time"
)

// committer owns the frames of batches that get one before they are sent (SettleOnDisk). Guarded by core.mu.
type committer struct {
	*core
	writer *frameWriter

	dirty   []*lane // have batches without a frame
	claimed []*lane // the spooler's own

	asleep bool // the spooler, until wakeAt or a kick
	wakeAt time.Time
	rounds int // how often it went to sleep
}

// toldAtTheEnd is batch.toFrame of a batch with a part that was lost: how many events, only the end of the last part tells.
const toldAtTheEnd = math.MaxInt

// tellDurable collects the acks of b, which is durable, and of each batch of which the last part is safe by that.
func (b *batch) tellDurable(out []settled) []settled {
	for ; b != nil; b = b.parent {
		for _, a := range b.acks {
			out = append(out, settled{ack: a.ack})
		}
		clear(b.acks)
		b.acks, b.durable = b.acks[:0], true
		out = b.unpin(out)
		p := b.parent
		if p == nil || p.toFrame == 0 {
			return out
		}
		if p.toFrame--; p.toFrame > 0 {
			return out
		}
	}
	return out
}

// endsPart notes for b's parent that b ended before its frame was durable, if it had one; lost of its events were dropped.
func (b *batch) endsPart(lost int, out []settled) []settled {
	p := b.parent
	switch {
	case p == nil || p.toFrame == 0 || b.durable:
		return out
	case lost > 0:
		p.toFrame = toldAtTheEnd
		return out
	}
	if p.toFrame--; p.toFrame > 0 {
		return out
	}
	return p.tellDurable(out)
}

// commit gives frames to what waits for them, when the oldest of it has waited for Linger, and not while
// the disk still works on the group before: then the next one grows. It returns when to look again.
func (s *committer) commit() (at time.Time) {
	s.mu.Lock()
	if len(s.dirty) == 0 || s.writer.syncing || s.disk.hangs { // diskAnswers wakes the spooler
		s.mu.Unlock()
		return time.Time{}
	}
	now := time.Now()
	if s.disk.err != nil && now.Before(s.writer.retryAt) {
		s.mu.Unlock()
		return s.writer.retryAt
	}
	due := s.closed
	for _, l := range s.dirty {
		if t, ok := s.frameAtLocked(l); ok {
			due = due || !t.After(now)
			at = soonest(at, t)
		}
	}
	if !due {
		if at.IsZero() && s.writer.workersCommitLocked() && s.forgetCleanLocked() { // they took it; there will be more
			at = now.Add(s.workersTime())
		}
		s.mu.Unlock()
		return at
	}
	s.claimed, s.dirty = s.dirty, s.claimed[:0]
	work := s.writer.work[:0]
	for _, l := range s.claimed {
		l.disk.dirty = false
		l.seal()
		work = l.claim(work)
	}
	s.mu.Unlock()
	g, err := s.writer.write(work)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer.work = work
	for _, l := range s.claimed {
		if l.awaitsFrame() {
			s.markDirtyLocked(l)
		}
	}
	s.writer.submitLocked(g)
	if err != nil {
		return s.writer.retryAt
	}
	return time.Time{}
}

// workersTime is how long the spooler leaves a batch to the workers, with workersCommit.
func (s *committer) workersTime() time.Duration { return max(2*s.cfg.Linger, 10*time.Millisecond) }

// frameAtLocked is when the spooler gives the lane's oldest batch without a frame one; false: there is none that can have one
// now.
func (s *committer) frameAtLocked(l *lane) (at time.Time, ok bool) {
	b := l.unframed()
	switch {
	case b == nil && l.open == nil:
		return at, false
	case b == nil:
		b = l.open
	case b.attempts > 0 || l.stuck() || !s.writer.workersCommitLocked():
		return at, true
	}
	return b.opened.Add(s.commitLingerLocked(l)), true
}

// commitLingerLocked is how long a batch may wait until the spooler gives it its frame. A lane sends one batch in each
// request, and a request costs more than a frame: while one is under way the next batch had better grow, as
// it does without a spool, and more so when there is a backlog or nothing can be sent.
func (s *committer) commitLingerLocked(l *lane) time.Duration {
	const most = 20 * time.Millisecond
	linger := s.cfg.Linger
	if l.stuck() || l.disk.any {
		return max(linger, most)
	}
	n := 1 + len(l.queue)
	if l.busy {
		n++
	}
	grown := max(linger, min(linger*time.Duration(n*n), most))
	if s.writer.workersCommitLocked() {
		return max(grown, s.workersTime())
	}
	return grown
}

// forgetCleanLocked takes the lanes out of dirty that have nothing without a frame any more; false: there were none.
func (s *committer) forgetCleanLocked() bool {
	n := len(s.dirty)
	s.dirty = slices.DeleteFunc(s.dirty, func(l *lane) bool {
		l.disk.dirty = l.awaitsFrame()
		return !l.disk.dirty
	})
	return len(s.dirty) < n
}

// awaitsFrame reports whether the lane has something without a frame, or will have when it is sealed.
func (l *lane) awaitsFrame() bool {
	return l.open != nil || l.unframed() != nil || l.bareHead() != nil
}

// markDirtyLocked notes that the lane has a batch without a frame.
func (s *committer) markDirtyLocked(l *lane) {
	if !l.disk.dirty {
		l.disk.dirty = true
		s.dirty = append(s.dirty, l)
	}
}

// frameWantedLocked marks a lane that has a batch without a frame.
func (s *committer) frameWantedLocked(l *lane) {
	s.markDirtyLocked(l)
	if s.writer.syncing {
		return // the goroutine that waits for the disk wakes the spooler
	}
	if at, ok := s.frameAtLocked(l); s.asleep && ok && !s.wakeAt.IsZero() && !at.Before(s.wakeAt) {
		return // it wakes in time by itself
	}
	wake(s.disk.kick)
}

// sleeps notes that the spooler sleeps, and when it wakes by itself.
func (s *committer) sleeps(asleep bool, wakeAt time.Time) {
	s.mu.Lock()
	s.asleep, s.wakeAt = asleep, wakeAt
	if asleep {
		s.rounds++
	}
	s.mu.Unlock()
}
