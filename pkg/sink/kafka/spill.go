package kafka

import "time"

// patience is a channel that fires when an appender has waited for room for long enough, and nil when
// pressing would not help. stop ends it. s.mu is held.
func (s *Sink) patience() (fires <-chan time.Time, stop func()) {
	p := &s.spooler
	if p.sp == nil || p.pressed {
		return nil, func() {}
	}
	now := time.Now()
	if p.fullSince.IsZero() {
		p.fullSince = now
	}
	var d time.Duration
	switch {
	case s.cfg.Settle != SettleOnKafka && p.overflowing > 0: // only what Kafka takes makes room, or the disk
		d = patienceNobodyWaits - max(now.Sub(p.fullSince), now.Sub(p.movedAt))
	case s.cfg.Settle != SettleOnKafka:
		d = patienceNobodyWaits - now.Sub(p.fullSince)
	case p.overflowing > 0:
		d = patienceOverflowing - now.Sub(p.movedAt)
	default: // it does not begin anew when the appender was woken and there was no room
		d = patienceForKafka - min(now.Sub(p.fullSince), now.Sub(p.movedAt))
	}
	d = max(d, patienceOverflowing-now.Sub(p.vainAt), 0)
	// Room in the buffers, or that a send was tried again, is nothing to who waits for room beside them.
	for _, t := range []*topic{&s.main, &s.dead} {
		if t.wanted != 0 {
			d = min(d, max(d-now.Sub(t.wantedAt), 0))
		}
	}
	if p.err != nil { // what is known of the disk is good until then
		d = max(d, p.retryAt.Sub(now))
	}
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// press asks for room to be made on disk.
func (s *Sink) press() {
	s.mu.Lock()
	s.spooler.pressed = true
	s.mu.Unlock()
	wake(s.spooler.kick)
}

// enough reports whether there is no need to hurry: what appenders wait for fits, and half of the buffers is free,
// so that it takes a while until they are full again. s.mu is held.
func (s *Sink) enough() bool {
	for _, t := range []*topic{&s.main, &s.dead} {
		if t.wanted != 0 && !s.oversizeFits(t, t.wanted) {
			return false
		}
	}
	return s.pool.InUse() <= s.pool.Total()/2 && !s.deadFull()
}

// notFull forgets since when the buffers are full, if they are not. s.mu is held.
func (s *Sink) notFull() {
	if !s.spooler.fullSince.IsZero() && s.pool.InUse() < s.pool.Total()*3/4 {
		s.spooler.fullSince = time.Time{}
	}
}

// spill makes room in memory: first by giving up copies of what has a frame, then by writing the batches of
// one lane. It is called again while it is true.
func (s *Sink) spill() (again bool) {
	p := &s.spooler
	s.mu.Lock()
	if !p.pressed || p.sp == nil || p.err != nil && time.Now().Before(p.retryAt) {
		s.mu.Unlock()
		return false
	}
	before := s.enough()
	for l := range s.lanes() {
		l.shed()
	}
	p.madeWay = p.madeWay || !before && s.enough()
	if p.overflowing > 0 {
		p.spilledAt = time.Now()
	}
	l := s.spillFirst()
	if s.enough() || l == nil {
		p.pressed = false
		if p.madeWay {
			s.waitAnew()
		} else {
			s.pressedInVain()
		}
		p.madeWay = false
		s.madeRoom()
		s.mu.Unlock()
		return false
	}
	if l.unframed() == nil {
		l.seal()
	}
	work := l.claim(p.work[:0])
	s.mu.Unlock()
	g, err := s.write(work)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.work = work
	if len(work) == 0 {
		p.pressed = false // it cannot be written just now; who waits presses again
		s.pressedInVain()
	}
	p.madeWay = p.madeWay || err == nil && len(work) > 0
	l.shed()
	p.spilledAt = time.Now()
	s.submit(g)
	s.madeRoom()
	return err == nil && len(work) > 0
}

// pressedInVain sees to it that who presses again does so after a pause: nothing could be written, or nothing need be.
// s.mu is held.
func (s *Sink) pressedInVain() {
	s.spooler.vainAt = time.Now()
	s.waitAnew()
}

// waitAnew lets the patience of who waits for room begin anew. s.mu is held.
func (s *Sink) waitAnew() {
	p, now := &s.spooler, time.Now()
	s.main.wantedAt, s.dead.wantedAt = now, now
	if !p.fullSince.IsZero() {
		p.fullSince = now
	}
	if p.err != nil && !now.Before(p.retryAt) {
		p.retryAt = now.Add(spoolRetry)
	}
}

// spillFirst is the lane whose memory is needed the least: of those that cannot send what they have the one
// with the most, else of all. nil: there is none. s.mu is held.
func (s *Sink) spillFirst() *lane {
	var best *lane
	var most int
	bestStuck := false
	for l := range s.lanes() {
		n := l.spillable()
		if n == 0 {
			continue
		}
		stuck := l.stuck() || l.disk.any || l.topic.dead && s.deadFull()
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
		if l.open == nil || l.disk.framed < len(l.queue) || l.doubt != nil && l.doubt.pos == 0 && l.doubt.root == nil {
			return 0
		}
		return l.open.rb.Size()
	} else if b == l.doubt {
		bytes = b.rb.Size()
	}
	for _, b := range l.parts {
		bytes += b.rb.Size()
	}
	for _, b := range l.queue[l.disk.framed:] {
		bytes += b.rb.Size()
	}
	return bytes
}

// roomOnDisk: frames have ended, so there may be room on disk again. s.mu is held.
func (s *Sink) roomOnDisk() {
	p := &s.spooler
	if !isFull(p.err) {
		return
	}
	s.diskFails(nil)
	p.fullAt = time.Now() // the next write tells; without a try nothing would
	s.madeRoom()
	wake(p.kick)
}

// noteState logs when the spool begins or ceases to take what memory cannot hold, and returns when to look
// again. One line each time; an overflow ends only after a while, so that it cannot flap.
func (s *Sink) noteState() (at time.Time) {
	p := &s.spooler
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	state := SpoolIdle
	switch {
	case isFull(p.err), p.state == SpoolIsFull && p.overflowing > 0 && now.Sub(p.fullAt) < calmAfter:
		state = SpoolIsFull
	case p.err != nil:
		state = SpoolFailed
	case p.overflowing > 0:
		state = SpoolOverflow
	case p.state != SpoolIdle && now.Sub(p.spilledAt) < calmAfter:
		return p.spilledAt.Add(calmAfter)
	}
	if p.err != nil && (p.pressed || len(p.dirty) > 0) && now.Before(p.retryAt) {
		at = p.retryAt // an appender that waits presses by itself
	}
	if state == p.state {
		return at
	}
	args := []any{"was", p.state.String(), "spooled", s.count.spooled, "kafka", reason(s.kafkaTrouble())}
	p.state = state
	switch state {
	case SpoolIdle:
		s.log.Info("the spool is empty: everything fits into memory again", args...)
	case SpoolOverflow:
		if p.spilledAt.IsZero() && s.count.recovered > 0 {
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
