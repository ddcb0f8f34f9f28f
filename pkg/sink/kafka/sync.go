package kafka

import (
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// group is batches that were written together, and the acks that wait until they are durable.
type group struct {
	first, last diskqueue.Pos
	waits       []waiting
}

// waiting is a batch that a source waits for, unless its struct has another life by now: then Kafka's answer came
// first, and they have been told.
type waiting struct {
	b    *batch
	life uint32
}

// alive reports whether the batch has not ended. s.mu is held.
func (w waiting) alive() bool { return w.b != nil && w.b.life == w.life }

// durable collects the acks of a group that is durable; their batches have nothing left to tell. s.mu is held.
func (g *group) durable(out []settled) []settled {
	for _, w := range g.waits {
		if w.alive() {
			out = w.b.tellDurable(out)
		}
	}
	return out
}

func (g *group) add(pos diskqueue.Pos) {
	g.last = pos
	if g.first == 0 {
		g.first = pos
	}
}

// submitLocked hands a group to runSyncer.
func (s *frameWriter) submitLocked(g group) {
	if g.last != 0 && s.cfg.Settle == SettleOnDisk {
		s.groups = append(s.groups, g)
		s.syncing = true
		if !s.noSync {
			wake(s.syncKick)
		}
	}
}

// runSyncer makes what was committed durable, and tells the acks that wait for it.
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

// sync makes the groups that were written durable, tells the acks that wait for them, and reports whether there was one.
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
		took += s.confirm(&groups[i], &s.told)
	}
	s.mu.Lock()
	s.syncing, s.fastDisk = false, took < s.deps.fastSync
	s.mu.Unlock()
	return true
}

// confirm makes a group durable, and tells the acks that wait for it. When the disk does not confirm they wait for
// Kafka. It returns how long the disk took. told is memory for the acks; nil: new memory. The lock is free.
func (s *frameWriter) confirm(g *group, told *[]settled) (took time.Duration) {
	start := time.Now()
	err := s.syncOnDisk(func() error { return s.disk.sp.Sync(g.first, g.last) })
	took = time.Since(start)
	s.syncs.Add(1)
	if o := s.deps.Observer; o != nil {
		o.Synced(took)
	}
	var out []settled
	if told != nil {
		out = *told
	}
	s.mu.Lock()
	if err == nil {
		out = g.durable(out)
	} else {
		for _, w := range g.waits {
			if w.alive() {
				w.b.unconfirmed = true
			}
		}
		s.warnLimited("sync", "the disk did not confirm a write; its deliveries are answered when Kafka has the events", "error", err)
	}
	clear(g.waits)
	if len(s.lists) < 4 && cap(g.waits) <= 1024 {
		s.lists = append(s.lists, g.waits[:0])
	}
	s.mu.Unlock()
	tell(out)
	if told != nil && cap(out) <= 1024 {
		*told = out[:0]
	}
	return took
}

// workersCommitLocked reports whether workers write the frames of the batches they send: the disk answers at once, so this
// costs neither another goroutine's wake-up nor batches that are smaller than without a spool. The spooler then
// only sees to what no worker takes in time.
func (s *frameWriter) workersCommitLocked() bool { return s.fastDisk && s.framesFirstLocked() }

// framesFirstLocked reports whether a batch must have a frame before it is sent.
func (s *frameWriter) framesFirstLocked() bool {
	return s.cfg.Settle == SettleOnDisk && s.disk.sp != nil && s.disk.err == nil && !s.disk.hangs
}
