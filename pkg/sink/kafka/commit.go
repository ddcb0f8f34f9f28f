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
		if w.b.life == w.life {
			out = w.b.tellDurable(out)
		}
	}
	return out
}

// toldAtTheEnd is batch.toFrame of a batch with a part that was lost: how many events, only the end of the last part tells.
const toldAtTheEnd = math.MaxInt

// tellDurable collects the acks of b, which is durable, and of each batch of which the last part is safe by that. s.mu is
// held.
func (b *batch) tellDurable(out []settled) []settled {
	for ; b != nil; b = b.parent {
		for _, a := range b.acks {
			out = append(out, settled{ack: a.ack})
		}
		clear(b.acks)
		b.acks, b.durable = b.acks[:0], true
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
// s.mu is held.
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

func (g *group) add(pos uint64) {
	g.last = pos
	if g.first == 0 {
		g.first = pos
	}
}

// commit gives frames to what waits for them, when the oldest of it has waited for Linger, and not while
// the disk still works on the group before: then the next one grows. It returns when to look again.
func (s *committer) commit() (at time.Time) {
	s.mu.Lock()
	if len(s.dirty) == 0 || s.writer.syncing {
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
		if t, ok := s.frameAt(l); ok {
			due = due || !t.After(now)
			at = soonest(at, t)
		}
	}
	if !due {
		if at.IsZero() && s.writer.workersCommit() && s.forgetClean() { // they took it; there will be more
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
			s.markDirty(l)
		}
	}
	s.writer.submit(g)
	if err != nil {
		return s.writer.retryAt
	}
	return time.Time{}
}

// workersCommit says that workers give the batches that they take their frames: the disk answers at once, so this
// costs neither another goroutine's wake-up nor batches that are smaller than without a spool. The spooler then
// only sees to what no worker takes in time. s.mu is held.
func (s *frameWriter) workersCommit() bool { return s.fastDisk && s.framesFirst() }

// workersTime is how long the spooler leaves a batch to the workers, with workersCommit.
func (s *committer) workersTime() time.Duration { return max(2*s.cfg.Linger, 10*time.Millisecond) }

// frameAt is when the spooler gives the lane's oldest batch without a frame one; false: there is none that can have one
// now. s.mu is held.
func (s *committer) frameAt(l *lane) (at time.Time, ok bool) {
	b := l.unframed()
	switch {
	case b == nil && l.open == nil:
		return at, false
	case b == nil:
		b = l.open
	case b.attempts > 0 || l.stuck() || !s.writer.workersCommit():
		return at, true
	}
	return b.opened.Add(s.commitLinger(l)), true
}

// commitLinger is how long a batch may wait until the spooler gives it its frame. A lane sends one batch in each
// request, and a request costs more than a frame: while one is under way the next batch had better grow, as
// it does without a spool, and more so when there is a backlog or nothing can be sent.
func (s *committer) commitLinger(l *lane) time.Duration {
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
	if s.writer.workersCommit() {
		return max(grown, s.workersTime())
	}
	return grown
}

// forgetClean takes the lanes out of dirty that have nothing without a frame any more; false: there were none.
// s.mu is held.
func (s *committer) forgetClean() bool {
	n := len(s.dirty)
	s.dirty = slices.DeleteFunc(s.dirty, func(l *lane) bool {
		l.disk.dirty = l.awaitsFrame()
		return !l.disk.dirty
	})
	return len(s.dirty) < n
}

// awaitsFrame says that the lane has something without a frame, or will have when it is sealed.
func (l *lane) awaitsFrame() bool {
	return l.open != nil || l.unframed() != nil || l.bareHead() != nil
}

// submit hands a group to the one who waits for the disk. s.mu is held.
func (s *frameWriter) submit(g group) {
	if g.last != 0 && s.cfg.Settle == SettleOnDisk {
		s.groups = append(s.groups, g)
		s.syncing = true
		if !s.noSync {
			wake(s.syncKick)
		}
	}
}

// markDirty notes that the lane has a batch without a frame. s.mu is held.
func (s *committer) markDirty(l *lane) {
	if !l.disk.dirty {
		l.disk.dirty = true
		s.dirty = append(s.dirty, l)
	}
}

// runSyncer makes what was committed durable, and tells who waits for it.
func (s *frameWriter) runSyncer() {
	for {
		select {
		case <-s.syncKick:
		case <-s.ctx.Done():
			return // Close makes the rest durable
		}
		if s.sync() {
			wake(s.disk.kick)
		}
	}
}

// syncHere is the syncer's work done by the spooler, where there is no disk that could hang. It is true when there was
// something.
func (s *frameWriter) syncHere() bool {
	s.mu.Lock()
	here := s.noSync
	s.mu.Unlock()
	return here && s.sync()
}

// sync makes the groups that were written durable and tells who waits for them. False: there was none.
func (s *frameWriter) sync() bool {
	s.mu.Lock()
	groups := s.groups
	s.groups = nil
	s.mu.Unlock()
	if len(groups) == 0 {
		return false
	}
	var took time.Duration // of all: the first one's may cover the others
	for i := range groups {
		took += s.confirm(&groups[i])
	}
	s.mu.Lock()
	s.syncing, s.fastDisk = false, took < s.deps.fastSync
	s.mu.Unlock()
	return true
}

// confirm makes a group durable, which took so long, and tells who waits for it. When the disk does not confirm they
// hear from Kafka. The lock is free.
func (s *frameWriter) confirm(g *group) (took time.Duration) {
	start := time.Now()
	err := s.onDisk(func() error { return s.disk.sp.Sync(g.first, g.last) })
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
	if len(s.lists) < 4 && cap(g.waits) <= 1024 {
		s.lists = append(s.lists, g.waits[:0])
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
	if s.writer.workersCommit() {
		for i := range w.entries {
			e := &w.entries[i]
			// Not one that was sent before: the spooler sees to those.
			if b := e.batch; e.failed == nil && b.attempts == 1 && b.unframed() && !e.lane.disk.any {
				b.writing = true
				work = append(work, b)
			}
		}
	}
	s.mu.Unlock()
	if w.work = work; len(work) == 0 {
		return
	}
	g, _ := s.writer.write(work)
	s.mu.Lock()
	here := s.writer.noSync
	if !here {
		s.writer.submit(g) // a disk may hang, which is not to keep the batches from Kafka
	}
	s.mu.Unlock()
	if here && g.last != 0 {
		s.writer.confirm(&g)
	}
}
