package kafka

import "time"

// broker is one broker that leads some of our lanes.
type broker struct {
	core  *core
	id    int32
	lanes []*lane       // that it leads; guarded by core.mu like all below
	next  int           // lane to start the next collection at, so that a full request is fair
	wake  chan struct{} // "look again"
	turn  slot          // held by the worker that collects or waits for something to collect

	parked bool      // the worker whose turn it is sleeps
	wakeAt time.Time // when it wakes by itself; zero: only when signalled

	bound requestBound
	// silentSince is when the first of the requests in a row ended without an answer; zero: the last one had one. A
	// lane that begins to fail now could not have been served since then, so it need not prove that anew.
	silentSince time.Time
	gone        bool // the cluster has it no more; its workers end

	throttledSince time.Time // the first of the answers in a row that asked for a pause; zero: the last one did not
	pausedUntil    time.Time // the broker wants no produce request before
}

// throttle notes how long the broker wants to be left alone (a quota). Batches wait in their lanes meanwhile, where the
// spool finds them, and not in requests, whose time would run out. s.mu is held.
func (b *broker) throttle(d time.Duration, now time.Time) {
	if d <= 0 {
		b.throttledSince = time.Time{}
		return
	}
	b.core.throttled += d
	if until := now.Add(d); until.After(b.pausedUntil) {
		b.pausedUntil = until
	}
	if b.throttledSince.IsZero() {
		b.throttledSince = now
	}
	b.core.changes.watch()
}

// broker returns the broker with that id and starts its workers when it is new. s.mu is held.
func (s *kafkaCluster) broker(id int32) *broker {
	b := s.brokers[id]
	if b == nil {
		b = &broker{core: s.core, id: id, wake: make(chan struct{}, 1), turn: newSlot()}
		s.brokers[id] = b
		s.serve(b)
		b.bound.now, b.bound.asking = maxRequestBytes, true
		s.tasks.Go(func() { s.learnLimits(b) })
	}
	return b
}

// endBrokers ends the workers of brokers that lead nothing of ours and that the cluster has no more. s.mu is held.
func (s *kafkaCluster) endBrokers(known map[int32]string) {
	for id, b := range s.brokers {
		if _, ok := known[id]; !ok && len(b.lanes) == 0 {
			delete(s.brokers, id)
			b.gone = true
			b.signal()
		}
	}
}

// signal wakes the worker whose turn it is, if it sleeps. s.mu is held.
func (b *broker) signal() {
	if b.parked {
		b.parked = false
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// signal tells the leader's workers that the lane has a batch to send. s.mu is held.
func (l *lane) signal() {
	if l.broker != nil && !l.busy {
		l.broker.signal()
	}
}

// freed is called when a request has let go of the lane. s.mu is held.
func (l *lane) freed() {
	if l.mustGo() {
		l.signal()
	} else if l.open != nil {
		l.begun()
	}
	if l.open != nil || len(l.queue) > l.disk.framed {
		l.wantFrame() // it need not wait for what was in its way
	}
}

// begun tells them that a batch was opened: a worker must wake when its linger is over. s.mu is held.
func (l *lane) begun() {
	b := l.broker
	if b == nil || l.busy || !b.parked {
		return
	}
	if b.wakeAt.IsZero() || b.wakeAt.After(l.open.opened.Add(b.core.cfg.Linger)) {
		b.signal()
	}
}

// mustGo says that the lane has more than an open batch.
func (l *lane) mustGo() bool {
	return l.doubt != nil || len(l.queue) > 0 || len(l.parts) > 0 || l.disk.any
}

// sendable says whether the lane could send at now; if only a pause is in the way, when it is over.
func (s *sender) sendable(l *lane, now time.Time) (ok bool, at time.Time) {
	l.checkDisk()
	if l.busy || l.idle() || !l.mayStamp() || !s.mayPass(l) {
		return false, time.Time{}
	}
	if now.Before(l.retryAt) {
		return false, l.retryAt
	}
	return true, time.Time{}
}

// mayStamp reports whether what is asked of the cluster first is known (the topic's timestamp type, the broker's limit),
// and a stamp for the lane's next batch is there. Whoever asks signals when that changes. s.mu is held.
func (l *lane) mayStamp() bool {
	s := l.topic.core
	if !l.topic.knowable || l.broker != nil && !l.broker.bound.asked {
		return false
	}
	return s.unsafe || s.current.gen != 0 && (!l.needsStamp(l.next()) || l.stamps.ready(s.current))
}

// mayPass says whether the spool lets the lane's next batch go; else the spooler signals when it does.
func (s *sender) mayPass(l *lane) bool {
	b := l.next()
	switch {
	case s.disk.holding || l.disk.closing:
		return false
	case b == nil:
		return l.disk.apart == nil
	case b.writing, l.disk.apart != nil && b.root != l.disk.apart:
		return false
	case b.unframed() && s.writer.framesFirst():
		// One that was sent before its frame could be written goes on, and one that goes before frames cannot have one.
		return b.attempts > 0 || l.disk.any || s.writer.workersCommit()
	}
	return true
}

// due says whether something of the lane must go now, and else when.
func (b *broker) due(l *lane, now time.Time) (bool, time.Time) {
	if l.mustGo() || b.core.closed {
		return true, time.Time{}
	}
	at := l.open.opened.Add(b.core.cfg.Linger)
	return !at.After(now), at
}

// collect fills the request with one batch of every lane that can send, if one of them must: a request costs the
// same for one partition as for all. Otherwise it returns when to look again. s.mu is held.
func (w *worker) collect(now time.Time) (wakeAt time.Time) {
	b := w.b
	earliest := func(t time.Time) {
		if wakeAt.IsZero() || t.Before(wakeAt) {
			wakeAt = t
		}
	}
	anyDue := false
	for _, l := range b.lanes {
		ok, at := w.s.sendable(l, now)
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
		if ok, _ := w.s.sendable(l, now); !ok {
			continue
		}
		if !w.add(l) {
			b.next = (b.next + i) % n
			return time.Time{}
		}
	}
	return time.Time{}
}
