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

// patience is a channel that fires when an appender has waited for room for long enough, and nil when
// pressing would not help. stop ends it. s.mu is held.
func (s *spiller) patience() (fires <-chan time.Time, stop func()) {
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
	// Room in the buffers, or that a send was tried again, is nothing to who waits for room beside them.
	for _, t := range []*topic{&s.main, &s.dead} {
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
	s.pressed = true
	s.mu.Unlock()
	wake(s.disk.kick)
}

// enough reports whether there is no need to hurry: what appenders wait for fits, and half of the buffers is free,
// so that it takes a while until they are full again. s.mu is held.
func (s *spiller) enough() bool {
	for _, t := range []*topic{&s.main, &s.dead} {
		if t.wanted != 0 && !s.room.oversizeFits(t, t.wanted) {
			return false
		}
	}
	return s.pool.InUse() <= s.pool.Total()/2 && !s.room.deadFull()
}

// notFull forgets since when the buffers are full, if they are not. s.mu is held.
func (s *core) notFull() {
	if !s.disk.fullSince.IsZero() && s.pool.InUse() < s.pool.Total()*3/4 {
		s.disk.fullSince = time.Time{}
	}
}

// spill makes room in memory: first by giving up copies of what has a frame, then by writing the batches of
// one lane. It is called again while it is true.
func (s *spiller) spill() (again bool) {
	s.mu.Lock()
	if !s.pressed || s.disk.sp == nil || s.disk.err != nil && time.Now().Before(s.writer.retryAt) {
		s.mu.Unlock()
		return false
	}
	before := s.enough()
	for l := range s.lanes() {
		l.shed()
	}
	s.madeWay = s.madeWay || !before && s.enough()
	if s.disk.overflowing > 0 {
		s.spilledAt = time.Now()
	}
	l := s.spillFirst()
	if s.enough() || l == nil {
		s.pressed = false
		if s.madeWay {
			s.waitAnew()
		} else {
			s.pressedInVain()
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
		s.pressed = false // it cannot be written just now; who waits presses again
		s.pressedInVain()
	}
	s.madeWay = s.madeWay || err == nil && len(work) > 0
	l.shed()
	s.spilledAt = time.Now()
	s.writer.submit(g)
	s.madeRoom()
	return err == nil && len(work) > 0
}

// pressedInVain sees to it that who presses again does so after a pause: nothing could be written, or nothing need be.
// s.mu is held.
func (s *spiller) pressedInVain() {
	s.vainAt = time.Now()
	s.waitAnew()
}

// waitAnew lets the patience of who waits for room begin anew. s.mu is held.
func (s *spiller) waitAnew() {
	now := time.Now()
	s.main.wantedAt, s.dead.wantedAt = now, now
	if !s.disk.fullSince.IsZero() {
		s.disk.fullSince = now
	}
	if s.disk.err != nil && !now.Before(s.writer.retryAt) {
		s.writer.retryAt = now.Add(spoolRetry)
	}
}

// spillFirst is the lane whose memory is needed the least: of those that cannot send what they have the one
// with the most, else of all. nil: there is none. s.mu is held.
func (s *spiller) spillFirst() *lane {
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

// spillable is how much memory the lane would give back. s.mu is held.
func (l *lane) spillable() (bytes int) {
	if l.disk.q == nil {
		return 0
	}
	if b := l.unframed(); b == nil {
		if l.open == nil || l.disk.framed < len(l.queue) || l.bareHead() != nil {
			return 0
		}
		return l.open.rb.Size()
	} else if b == l.doubt {
		bytes = b.rb.Size()
	}
	if !l.disk.any {
		for _, b := range l.parts {
			bytes += b.rb.Size()
		}
	}
	for _, b := range l.queue[l.disk.framed:] {
		bytes += b.rb.Size()
	}
	return bytes
}

// roomOnDisk: frames have ended, so there may be room on disk again. s.mu is held.
func (s *frameWriter) roomOnDisk() {
	if !isFull(s.disk.err) {
		return
	}
	s.diskFails(nil)
	s.fullAt = time.Now() // the next write tells; without a try nothing would
	s.madeRoom()
	wake(s.disk.kick)
}

// noteState logs when the spool begins or ceases to take what memory cannot hold, and returns when to look
// again. One line each time; an overflow ends only after a while, so that it cannot flap.
func (s *spooler) noteState() (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	state := SpoolIdle
	switch {
	case isFull(s.disk.err), s.state == SpoolIsFull && s.disk.overflowing > 0 && now.Sub(s.writer.fullAt) < calmAfter:
		state = SpoolIsFull
	case s.disk.err != nil:
		state = SpoolFailed
	case s.disk.overflowing > 0:
		state = SpoolOverflow
	case s.state != SpoolIdle && now.Sub(s.spiller.spilledAt) < calmAfter:
		return s.spiller.spilledAt.Add(calmAfter)
	}
	if s.disk.err != nil && (s.spiller.pressed || len(s.committer.dirty) > 0) && now.Before(s.writer.retryAt) {
		at = s.writer.retryAt // an appender that waits presses by itself
	}
	if state == s.state {
		return at
	}
	args := []any{"was", s.state.String(), "spooled", s.count.spooled, "kafka", reason(s.kafkaTrouble())}
	s.state = state
	switch state {
	case SpoolIdle:
		s.log.Info("the spool is empty: everything fits into memory again", args...)
	case SpoolOverflow:
		if s.spiller.spilledAt.IsZero() && s.count.recovered > 0 {
			s.log.Info("what an earlier process left in the spool is sent first", args...)
			break
		}
		s.log.Warn("Kafka is behind: what does not fit into memory goes to the spool", args...)
	}
	return at
}

func reason(err error) string {
	if err == nil {
		return "ready"
	}
	return err.Error()
}
