package spool

import (
	"fmt"
	"slices"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// group is the callers of Sync that share one round of fdatasync.
type group struct{ done chan struct{} }

// Sync makes every frame with first <= position <= last durable; last is a position that Append
// returned before. It blocks. Calls share the work: while one round of fdatasync runs, the callers of
// the next one gather. ErrNotDurable is final for these frames: the kernel may have dropped the pages
// that it could not write, so a later success would prove nothing.
func (s *Spool) Sync(first, last Pos) error {
	s.mu.Lock()
	if s.durable >= last {
		defer s.mu.Unlock()
		return s.verdictLocked(first, last)
	}
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	g := s.forming
	if g == nil {
		g = &group{done: make(chan struct{})}
		s.forming = g
		before := s.syncing
		s.mu.Unlock()
		if before != nil {
			<-before.done
		}
		s.syncGroup(g)
	} else {
		s.mu.Unlock()
		<-g.done
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verdictLocked(first, last)
}

func (s *Spool) verdictLocked(first, last Pos) error {
	for _, f := range s.failed {
		if first <= f.last && last >= f.first {
			return fmt.Errorf("%w: frames %v to %v", ErrNotDurable, max(first, f.first), min(last, f.last))
		}
	}
	return nil
}

// syncTarget is one segment in a round, and how much of it the round covers.
type syncTarget struct {
	g    *segment
	file File // g may be done meanwhile, and its file another segment's
	size int64
	err  error

	removed error // its name is gone: no other process finds it
}

// syncGroup runs a round for g, whose members all appended before it began.
func (s *Spool) syncGroup(g *group) {
	s.mu.Lock()
	s.forming, s.syncing = nil, g
	tail, dir := s.tail, s.newFiles
	s.newFiles = false
	targets := make([]syncTarget, 0, len(s.unsynced))
	s.unsynced = slices.DeleteFunc(s.unsynced, func(u *segment) bool { return u.synced >= u.size && u != s.active })
	for _, u := range s.unsynced {
		if u.synced >= u.size {
			continue
		}
		u.refs++
		u.syncs++
		targets = append(targets, syncTarget{g: u, file: u.file, size: u.size})
	}
	s.mu.Unlock()

	for i := range targets {
		targets[i].err = targets[i].file.Sync()
	}
	s.seek(targets)
	var dirErr error
	if dir {
		dirErr = s.fs.SyncDir(s.cfg.Dir)
	}

	s.mu.Lock()
	for i := range targets {
		t := &targets[i]
		if dir && dirErr != nil && t.err == nil && t.g.synced == 0 && !t.g.gone {
			t.err = dirErr // the file may be without a name
		}
		if t.err == nil && !t.g.gone { // that is noted before its name goes
			t.err = t.removed
		}
		s.syncedLocked(t)
	}
	s.durable = max(s.durable, tail)
	s.stats.syncs++
	s.syncing = nil
	s.mu.Unlock()
	close(g.done)
}

// seek looks whether another process would find what is durable now: whether the files still have names each time, and whether
// the spool's path leads to them every seekEvery, for that costs a walk along it.
func (s *Spool) seek(targets []syncTarget) {
	if s.dir == nil || len(targets) == 0 {
		return
	}
	now := s.now()
	since := now.Sub(s.sought)
	walk := since < 0 || since >= seekEvery
	if walk {
		s.sought = now
	}
	for i := range targets {
		t := &targets[i]
		if !walk && s.dir.named(t.file) || s.dir.reaches(t.g.name, t.file) {
			continue
		}
		if t.removed = s.dir.removed(); t.removed == nil && !s.dir.has(t.g.name, t.file) {
			t.removed = lost(fileRemoved, s.path(t.g.name))
		}
	}
}

// syncedLocked takes one segment's result into account.
func (s *Spool) syncedLocked(t *syncTarget) {
	g := t.g
	g.syncs--
	defer s.unref(t.g)
	if t.err == nil {
		if s.failedSyncs > 0 {
			s.failedSyncs = 0
			s.log.Info("the disk confirms writes again", "segment", g.name)
		}
		if !g.gone {
			g.synced = t.size
		}
		return
	}
	if g.gone { // all its frames are done: none is needed
		if g = s.heirLocked(t); g == nil {
			return
		}
	}
	from := max(g.synced, segmentHeaderBytes)
	s.failed = append(s.failed, span{diskqueue.PosOf(g.number, from), diskqueue.PosOf(g.number, 1<<32-1)})
	g.broken = true // Append goes on elsewhere
	s.unsynced = slices.DeleteFunc(s.unsynced, func(u *segment) bool { return u == g })
	s.failedSyncs++
	s.latchLocked(fmt.Errorf("%w: %w", ErrWrite, t.err))
}

// heirLocked is the segment that has the file of one that is gone; nil: none. The kernel tells a failure only once,
// and what it could not write may be the heir's.
func (s *Spool) heirLocked(t *syncTarget) *segment {
	for _, g := range s.segments {
		if g.file == t.file {
			return g
		}
	}
	return nil
}
