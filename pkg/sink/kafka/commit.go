package kafka

import "time"

// group is batches that were written together, and who waits for them to be durable.
type group struct {
	first, last uint64
	acks        []settled
}

func (g *group) add(pos uint64) {
	g.last = pos
	if g.first == 0 {
		g.first = pos
	}
}

// commit gives frames to what waits for them, when the oldest of it has waited for Linger, and not while
// the disk still works on the group before: then the next one grows. It returns when to look again.
func (s *Sink) commit() (at time.Time) {
	p := &s.spooler
	s.mu.Lock()
	if len(p.dirty) == 0 || p.syncing {
		s.mu.Unlock()
		return time.Time{}
	}
	now := time.Now()
	if p.err != nil && now.Before(p.retryAt) {
		s.mu.Unlock()
		return p.retryAt
	}
	due := s.closed
	for _, l := range p.dirty {
		if l.unframed() != nil {
			due = true
		} else if l.open != nil {
			t := l.open.opened.Add(l.commitLinger())
			due = due || !t.After(now)
			at = soonest(at, t)
		}
	}
	if !due {
		s.mu.Unlock()
		return at
	}
	p.lanes, p.dirty = p.dirty, p.lanes[:0]
	work := p.work[:0]
	for _, l := range p.lanes {
		l.disk.dirty = false
		l.seal()
		work = l.claim(work)
	}
	s.mu.Unlock()
	g, err := s.write(work)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.work = work
	for _, l := range p.lanes {
		if l.awaitsFrame() {
			l.markDirty()
		}
	}
	s.submit(g)
	if err != nil {
		return p.retryAt
	}
	return time.Time{}
}

// commitLinger is how long an open batch may grow before it gets its frame. A lane sends one batch in each
// request, and a request costs more than a frame: while one is under way the next batch had better grow, as
// it does without a spool, and more so when there is a backlog or nothing can be sent.
func (l *lane) commitLinger() time.Duration {
	const most = 20 * time.Millisecond
	linger := l.topic.sink.cfg.Linger
	if l.stuck() || l.disk.any {
		return max(linger, most)
	}
	n := 1 + len(l.queue)
	if l.busy {
		n++
	}
	return max(linger, min(linger*time.Duration(n*n), most))
}

// awaitsFrame says that the lane has something without a frame, or will have when it is sealed.
func (l *lane) awaitsFrame() bool {
	return l.open != nil || l.unframed() != nil || l.doubt != nil && l.doubt.pos == 0 && l.doubt.root == nil
}

// submit hands a group to the one who waits for the disk. s.mu is held.
func (s *Sink) submit(g group) {
	if p := &s.spooler; g.last != 0 && s.cfg.Settle == SettleOnDisk {
		p.groups = append(p.groups, g)
		p.syncing = true
		if !p.fastDisk {
			wake(p.syncKick)
		}
	}
}

func (l *lane) markDirty() {
	if !l.disk.dirty {
		l.disk.dirty = true
		p := &l.topic.sink.spooler
		p.dirty = append(p.dirty, l)
	}
}

// runSyncer makes what was committed durable, and tells who waits for it.
func (s *Sink) runSyncer() {
	p := &s.spooler
	for {
		select {
		case <-p.syncKick:
		case <-s.ctx.Done():
			return // Close makes the rest durable
		}
		if s.sync() {
			wake(p.kick)
		}
	}
}

// syncHere is the syncer's work done by the spooler, while the disk answers faster than a goroutine is woken:
// memory file systems, controllers with a battery. It is true when there was something.
func (s *Sink) syncHere() bool {
	s.mu.Lock()
	fast := s.spooler.fastDisk
	s.mu.Unlock()
	return fast && s.sync()
}

// sync makes the groups that were written durable and tells who waits for them. False: there was none.
func (s *Sink) sync() bool {
	p := &s.spooler
	s.mu.Lock()
	groups := p.groups
	p.groups = nil
	s.mu.Unlock()
	if len(groups) == 0 {
		return false
	}
	start := time.Now()
	for _, g := range groups {
		err := p.sp.Sync(g.first, g.last)
		s.syncs.Add(1)
		if err == nil {
			tell(g.acks)
			continue
		}
		s.mu.Lock()
		s.alarm("sync", "the disk did not confirm what was written; its clients get no 200 for that", "error", err)
		s.mu.Unlock()
	}
	took := time.Since(start)
	s.syncNanos.Add(int64(took))
	s.mu.Lock()
	p.syncing, p.fastDisk = false, took < fastSync
	for _, g := range groups {
		clear(g.acks) // told, or left to their own timeout when the disk did not confirm
		if len(p.acks) < 4 && cap(g.acks) <= 1024 {
			p.acks = append(p.acks, g.acks[:0])
		}
	}
	s.mu.Unlock()
	return true
}
