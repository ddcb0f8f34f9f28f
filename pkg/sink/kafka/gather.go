package kafka

import (
	"slices"
	"time"
)

// gather waits until there is something to send and takes it. The workers of a broker take turns: one
// gathers while the others are under way.
func (w *worker) gather() bool {
	b, s := w.b, w.s
	b.turn.Lock()
	defer b.turn.Unlock()
	for s.ctx.Err() == nil {
		now := time.Now()
		s.mu.Lock()
		if b.gone {
			s.workers = slices.DeleteFunc(s.workers, func(o *worker) bool { return o == w })
			s.mu.Unlock()
			return false
		}
		at := w.collectLocked(now)
		if len(w.entries) > 0 {
			w.cluster = s.clusterID
			s.mu.Unlock()
			return true
		}
		b.parked, b.wakeAt = true, at
		s.mu.Unlock()
		var expired <-chan time.Time
		if !at.IsZero() {
			w.timer.Reset(at.Sub(now))
			expired = w.timer.C
		}
		select {
		case <-b.wake:
		case <-expired:
		case <-s.ctx.Done():
		}
		w.timer.Stop()
		s.mu.Lock()
		b.parked = false
		s.mu.Unlock()
	}
	return false
}

// collectLocked fills the request with one batch of every lane that can send, if one of them must: a request costs the
// same for one partition as for all. Otherwise it returns when to look again.
func (w *worker) collectLocked(now time.Time) (wakeAt time.Time) {
	b := w.b
	earliest := func(t time.Time) {
		if wakeAt.IsZero() || t.Before(wakeAt) {
			wakeAt = t
		}
	}
	anyDue := false
	for _, l := range b.lanes {
		ok, at := w.s.sendableLocked(l, now)
		if ok {
			if ok, at = b.due(l, now); ok {
				anyDue = true
				break
			}
		}
		if !at.IsZero() {
			earliest(at)
		}
	}
	if !anyDue {
		return wakeAt
	}
	if now.Before(b.pausedUntil) {
		return b.pausedUntil
	}
	n := len(b.lanes)
	for i := range n {
		l := b.lanes[(b.next+i)%n]
		if ok, _ := w.s.sendableLocked(l, now); !ok {
			continue
		}
		if !w.addLocked(l, now) {
			b.next = (b.next + i) % n
			return time.Time{}
		}
	}
	return time.Time{}
}

// due says whether something of the lane must go now, and else when.
func (b *broker) due(l *lane, now time.Time) (bool, time.Time) {
	if l.mustGo() || b.core.closed {
		return true, time.Time{}
	}
	at := l.open.opened.Add(b.core.cfg.Linger)
	return !at.After(now), at
}

// sendableLocked reports whether the lane could send at now; if only a pause is in the way, when it is over.
func (s *sender) sendableLocked(l *lane, now time.Time) (ok bool, at time.Time) {
	l.checkDisk()
	if l.busy || l.idle() {
		return false, time.Time{}
	}
	if !l.mayStamp() {
		l.wantStamp()
		return false, time.Time{}
	}
	if !s.mayPassLocked(l) {
		return false, time.Time{}
	}
	if now.Before(l.retryAt) {
		return false, l.retryAt
	}
	return true, time.Time{}
}

// mayPassLocked reports whether the spool lets the lane's next batch go; else the spooler signals when it does.
func (s *sender) mayPassLocked(l *lane) bool {
	b := l.next()
	switch {
	case s.disk.holding || l.disk.closing:
		return false
	case l.heldUp():
		l.fails(time.Now())
		return false
	case b == nil:
		return true
	case b.writing:
		return false
	case b.unframed() && s.writer.framesFirstLocked():
		// One that was sent before its frame could be written goes on, and one that goes before frames cannot have one.
		return b.attempts > 0 || l.disk.any || s.writer.workersCommitLocked()
	}
	return true
}

// addLocked takes the lane's next batch into the request; false: the request is full.
func (w *worker) addLocked(l *lane, now time.Time) bool {
	s := w.s
	var size int
	switch b := l.next(); {
	case b == nil:
		size = l.frameBytes()
	case b.rb == nil:
		size = l.frameBytes() // the one in doubt is the oldest
	default:
		size = l.wireBytes(b)
	}
	if len(w.entries) > 0 && w.bytes+size > w.b.bound.now {
		return false
	}
	if next := l.next(); w.loads > 0 && (next == nil || next.rb == nil) && !s.replay.fits(size) {
		return false
	}
	b := l.take()
	w.bytes += size
	l.busy = true
	e := entry{lane: l, batch: b, dated: l.topic.keeps != timesAppend}
	if b.rb == nil {
		e.load = true
		w.loads++
		s.keepMemory(b)
	}
	if l.needsStamp(b) {
		b.stamp, b.stamped, b.sends, b.bytesFinal = noProducer, true, 0, false
		if !s.unsafe {
			b.stamp = l.stamps.give(s.current)
		}
		e.stamp, e.behind, l.disk.behind = true, l.disk.behind, false
	}
	if b.sent.IsZero() {
		b.sent = now
	} else {
		s.retries.Add(1)
	}
	// The broker does not recognise a batch that it may have when it comes under another stamp, or under none, or when
	// it has forgotten the producer by the time at which this request arrives: then it takes what an unknown one sends.
	forgotten := s.forgets(b, now)
	if b.maybeWritten && (b.sends == 0 || b.stamp.id < 0 || forgotten) {
		s.suspect(b)
	}
	if b.sends == 0 || forgotten {
		b.known = now
	}
	b.attempts++
	b.sends++
	w.entries = append(w.entries, e)
	return true
}
