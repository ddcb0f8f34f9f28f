package kafka

import "time"

// spiller owns the way out of memory that runs short: how long appenders wait, and which batches go to disk. Guarded by
// core.mu.
type spiller struct {
	*core
	writer *frameWriter
	room   *room

	pressed   bool      // an appender has waited for room for too long
	madeWay   bool      // something was written or given up since
	vainAt    time.Time // when an appender pressed last and no room could be made
	spilledAt time.Time
}

// patienceLocked is a channel that fires when an appender has waited for room for long enough, and nil when
// pressing would not help. stop ends it.
func (s *spiller) spillDelayLocked() (fires <-chan time.Time, stop func()) {
	if s.disk.sp == nil || s.pressed {
		return nil, func() {}
	}
	now := time.Now()
	if s.disk.fullSince.IsZero() {
		s.disk.fullSince = now
	}
	var d time.Duration
	switch {
	case s.cfg.Settle != SettleOnKafka && s.disk.overflowing > 0: // only what Kafka takes makes room, or the disk
		d = patienceNobodyWaits - max(now.Sub(s.disk.fullSince), now.Sub(s.disk.movedAt))
	case s.cfg.Settle != SettleOnKafka:
		d = patienceNobodyWaits - now.Sub(s.disk.fullSince)
	case s.disk.overflowing > 0:
		d = patienceOverflowing - now.Sub(s.disk.movedAt)
	default: // it does not begin anew when the appender was woken and there was no room
		d = patienceForKafka - min(now.Sub(s.disk.fullSince), now.Sub(s.disk.movedAt))
	}
	d = max(d, patienceOverflowing-now.Sub(s.vainAt), 0)
	// Room in the buffers, or that a send was tried again, does not help an appender that waits for room beside them.
	for _, t := range s.all {
		if t.wanted != 0 {
			d = min(d, max(d-now.Sub(t.wantedAt), 0))
		}
	}
	if s.disk.err != nil { // what is known of the disk is good until then
		d = max(d, s.writer.retryAt.Sub(now))
	}
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// press asks for room to be made on disk.
func (s *spiller) press() {
	s.mu.Lock()
	s.pressLocked()
	s.mu.Unlock()
}

func (s *spiller) pressLocked() {
	s.pressed = true
	wake(s.disk.kick)
}

// enoughLocked reports whether there is no need to hurry: what appenders wait for fits, and half of the buffers is free,
// so that it takes a while until they are full again.
func (s *spiller) enoughLocked() bool {
	for _, t := range s.all {
		if t.wanted != 0 && !s.room.oversizeFits(t, t.wanted) {
			return false
		}
	}
	return s.pool.InUse() <= s.pool.Total()/2 && !s.room.deadFull()
}

// spill makes room in memory: first by giving up copies of what has a frame, then by writing the batches of
// one lane. It is called again while it is true.
func (s *spiller) spill() (again bool) {
	s.mu.Lock()
	if !s.pressed || s.disk.sp == nil || s.disk.err != nil && time.Now().Before(s.writer.retryAt) {
		s.mu.Unlock()
		return false
	}
	before := s.enoughLocked()
	for l := range s.lanes() {
		l.evict()
	}
	s.madeWay = s.madeWay || !before && s.enoughLocked()
	if s.disk.overflowing > 0 {
		s.spilledAt = time.Now()
	}
	var l *lane
	if !s.disk.hangs {
		l = s.spillFirstLocked()
	}
	if s.enoughLocked() || l == nil {
		s.pressed = false
		if s.madeWay {
			s.waitAnewLocked()
		} else {
			s.pressedInVainLocked()
		}
		s.madeWay = false
		s.madeRoom()
		s.mu.Unlock()
		return false
	}
	if l.unframed() == nil {
		l.seal()
	}
	work := l.claim(s.writer.work[:0])
	s.mu.Unlock()
	g, err := s.writer.write(work)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer.work = work
	if len(work) == 0 {
		s.pressed = false // it cannot be written just now; the appender presses again
		s.pressedInVainLocked()
	}
	s.madeWay = s.madeWay || err == nil && len(work) > 0
	l.evict()
	s.spilledAt = time.Now()
	s.writer.submitLocked(g)
	s.madeRoom()
	return err == nil && len(work) > 0
}

// pressedInVainLocked makes appenders pause before they press again: nothing could be written, or nothing need be.
func (s *spiller) pressedInVainLocked() {
	s.vainAt = time.Now()
	s.waitAnewLocked()
}

// waitAnewLocked lets the patience of appenders that wait for room begin anew.
func (s *spiller) waitAnewLocked() {
	now := time.Now()
	for _, t := range s.all {
		t.wantedAt = now
	}
	if !s.disk.fullSince.IsZero() {
		s.disk.fullSince = now
	}
	if s.disk.err != nil && !now.Before(s.writer.retryAt) {
		s.writer.retryAt = now.Add(spoolRetry)
	}
}

// spillFirstLocked is the lane whose memory is needed the least: of those that cannot send what they have the one
// with the most, else of all. nil: there is none.
func (s *spiller) spillFirstLocked() *lane {
	var best *lane
	var most int
	bestStuck := false
	for l := range s.lanes() {
		n := l.spillable()
		if n == 0 {
			continue
		}
		stuck := l.stuck() || l.disk.any || l.topic.dead && s.room.deadFull()
		if best == nil || stuck && !bestStuck || stuck == bestStuck && n > most {
			best, most, bestStuck = l, n, stuck
		}
	}
	return best
}

func reason(err error) string {
	if err == nil {
		return "ready"
	}
	return err.Error()
}

// mustDropNewestLocked reports whether there is no room in memory or on disk, so that what comes is to be dropped. What is
// known of the disk has an age: after spoolRetry the spooler tries it again before anything more is dropped.
func (s *spiller) mustDropNewestLocked() bool {
	if s.cfg.SpoolFull != SpoolFullDropNewest || !isFull(s.disk.err) || s.closed {
		return false
	}
	if time.Since(s.writer.triedAt) < spoolRetry {
		return true
	}
	if !s.pressed {
		s.pressed = true
		wake(s.disk.kick)
	}
	return false
}
