package kafka

import (
	"slices"
	"time"
)

// group is batches that were written together, and who waits for them to be durable.
type group struct {
	first, last uint64
	waits       []waiting
}

// waiting is a batch that a source waits for, unless its struct has another life by now: then Kafka's answer came
// first, and they have been told.
type waiting struct {
	b    *batch
	life uint32
}

// durable collects the acks of a group that is durable; their batches have nothing left to tell. s.mu is held.
func (g *group) durable(out []settled) []settled {
	for _, w := range g.waits {
		if w.b.life != w.life {
			continue
		}
		b := w.b
		for b.toFrame > 0 { // the frame is of a part
			if b.toFrame--; b.toFrame > 0 || b.parent == nil || b.parent.toFrame == 0 {
				break
			}
			b = b.parent
		}
		if b.toFrame > 0 {
			continue
		}
		for _, a := range b.acks {
			out = append(out, settled{ack: a.ack})
		}
		clear(b.acks)
		b.acks = b.acks[:0]
	}
	return out
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
		if t, ok := s.frameAt(l); ok {
			due = due || !t.After(now)
			at = soonest(at, t)
		}
	}
	if !due {
		if at.IsZero() && s.workersCommit() && p.forgetClean() { // they took it; there will be more
			at = now.Add(s.workersTime())
		}
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
			s.markDirty(l)
		}
	}
	s.submit(g)
	if err != nil {
		return p.retryAt
	}
	return time.Time{}
}

// workersCommit says that workers give the batches that they take their frames: the disk answers at once, so this
// costs neither another goroutine's wake-up nor batches that are smaller than without a spool. The spooler then
// only sees to what no worker takes in time. s.mu is held.
func (s *Sink) workersCommit() bool { return s.spooler.fastDisk && s.framesFirst() }

// workersTime is how long the spooler leaves a batch to the workers, with workersCommit.
func (s *Sink) workersTime() time.Duration { return max(2*s.cfg.Linger, 10*time.Millisecond) }

// frameAt is when the spooler gives the lane's oldest batch without a frame one; false: there is none that can have one
// now. s.mu is held.
func (s *Sink) frameAt(l *lane) (at time.Time, ok bool) {
	b := l.unframed()
	switch {
	case b == nil && l.open == nil:
		return at, false
	case b == nil:
		b = l.open
	case b.attempts > 0 || l.stuck() || !s.workersCommit():
		return at, true
	}
	return b.opened.Add(s.commitLinger(l)), true
}

// commitLinger is how long a batch may wait until the spooler gives it its frame. A lane sends one batch in each
// request, and a request costs more than a frame: while one is under way the next batch had better grow, as
// it does without a spool, and more so when there is a backlog or nothing can be sent.
func (s *Sink) commitLinger(l *lane) time.Duration {
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
	if s.workersCommit() {
		return max(grown, s.workersTime())
	}
	return grown
}

// forgetClean takes the lanes out of dirty that have nothing without a frame any more; false: there were none.
// s.mu is held.
func (p *spooler) forgetClean() bool {
	n := len(p.dirty)
	p.dirty = slices.DeleteFunc(p.dirty, func(l *lane) bool {
		l.disk.dirty = l.awaitsFrame()
		return !l.disk.dirty
	})
	return len(p.dirty) < n
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
		if !p.noSync {
			wake(p.syncKick)
		}
	}
}

// markDirty notes that the lane has a batch without a frame. s.mu is held.
func (s *Sink) markDirty(l *lane) {
	if !l.disk.dirty {
		l.disk.dirty = true
		s.spooler.dirty = append(s.spooler.dirty, l)
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

// syncHere is the syncer's work done by the spooler, where there is no disk that could hang. It is true when there was
// something.
func (s *Sink) syncHere() bool {
	s.mu.Lock()
	here := s.spooler.noSync
	s.mu.Unlock()
	return here && s.sync()
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
	var took time.Duration // of all: the first one's may cover the others
	for i := range groups {
		took += s.confirm(&groups[i])
	}
	s.mu.Lock()
	p.syncing, p.fastDisk = false, took < s.deps.fastSync
	s.mu.Unlock()
	return true
}

// confirm makes a group durable, which took so long, and tells who waits for it. When the disk does not confirm they
// hear from Kafka. The lock is free.
func (s *Sink) confirm(g *group) (took time.Duration) {
	p := &s.spooler
	start := time.Now()
	err := s.onDisk(func() error { return p.sp.Sync(g.first, g.last) })
	took = time.Since(start)
	s.syncs.Add(1)
	if o := s.deps.Observer; o != nil {
		o.Synced(took)
	}
	var buf [32]settled
	out := buf[:0]
	s.mu.Lock()
	if err == nil {
		out = g.durable(out)
	} else {
		s.alarm("sync", "the disk did not confirm what was written; its clients hear when Kafka has it", "error", err)
	}
	clear(g.waits)
	if len(p.lists) < 4 && cap(g.waits) <= 1024 {
		p.lists = append(p.lists, g.waits[:0])
	}
	s.mu.Unlock()
	tell(out)
	return took
}

// commit gives the batches of the request that have no frame one, with workersCommit. What the disk does not take goes
// without.
func (w *worker) commit() {
	s := w.s
	work := w.work[:0]
	s.mu.Lock()
	if s.workersCommit() {
		for i := range w.entries {
			e := &w.entries[i]
			// Not one that was sent before: the spooler sees to those.
			if b := e.batch; e.failed == nil && b.attempts == 1 && b.pos == 0 && b.root == nil && !e.lane.disk.any {
				b.writing = true
				work = append(work, b)
			}
		}
	}
	s.mu.Unlock()
	if w.work = work; len(work) == 0 {
		return
	}
	g, _ := s.write(work)
	s.mu.Lock()
	here := s.spooler.noSync
	if !here {
		s.submit(g) // a disk may hang, which is not to keep the batches from Kafka
	}
	s.mu.Unlock()
	if here && g.last != 0 {
		s.confirm(&g)
	}
}
