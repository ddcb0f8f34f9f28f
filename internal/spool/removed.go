package spool

import (
	"errors"
	"fmt"
	"time"
)

// ErrRemoved: the folder at the spool's path, or a file in it, is not the one that is open: others have removed or replaced
// it. What is open can still be read, but no other process finds it.
var ErrRemoved = errors.New("spool: removed while in use")

const (
	// lookEvery is how often Append looks whether the folder and the files that it writes to are still there.
	lookEvery = time.Second
	// seekEvery is how often a round of syncs looks whether the path still leads there.
	seekEvery = 20 * time.Millisecond

	folderRemoved = "the spool folder %s was removed or replaced while in use; the events that it held are lost at the end of this process" +
		" unless Kafka takes them first or the folder is moved back; it is made anew when they are gone"
	fileRemoved = "the spool file %s was removed while in use; the events that it held are lost at the end of this process" +
		" unless Kafka takes them first"
)

// lost is an ErrRemoved.
func lost(what, path string) error { return fmt.Errorf("%w: "+what, ErrRemoved, path) }

// look sees whether the folder and its files are still there, before a frame goes into g (nil: a new segment begins), and
// makes anew what it can. ended: g is not the active segment any more. s.writing is held.
func (s *Spool) look(g *segment) (ended bool, err error) {
	now := s.now()
	if since := now.Sub(s.looked); s.dir == nil || g != nil && since >= 0 && since < lookEvery {
		return false, nil
	}
	s.looked = now
	if err = s.dir.removed(); err != nil {
		s.endActive()
		return g != nil, s.makeAnew(err)
	}
	if err = s.mendFiles(); err != nil || g == nil || s.dir.has(g.name, g.file) {
		return false, err
	}
	s.mu.Lock()
	live := g.live
	s.mu.Unlock()
	if live > 0 {
		s.log.Error("the spool goes on in another file", "error", lost(fileRemoved, s.path(g.name)))
	}
	s.endActive()
	return true, nil
}

// makeAnew makes a folder that was removed anew, if no frame is left in the open one: it would be without its cursor. Else it
// returns why. s.writing is held.
func (s *Spool) makeAnew(why error) error {
	s.mu.Lock()
	frames := s.stats.frames
	s.mu.Unlock()
	if frames > 0 {
		return why
	}
	s.removeEnded() // while its names are in the open folder
	s.dropSpare(s.takeSpare())
	lock, err := s.dir.reopen(s.log)
	if err != nil {
		return fmt.Errorf("%w; and it cannot be made anew: %w", why, err)
	}
	_ = s.lock.Close() // its file has no name any more
	s.lock = lock
	s.mu.Lock()
	clear(s.known)
	s.stats.quarantineBytes = 0
	s.mu.Unlock()
	s.aside.forget()
	s.log.Warn("the spool folder was removed or replaced while no event was in it; it was made anew", "spool-dir", s.cfg.Dir)
	return s.cursors.makeAnew(s.queuesNow())
}

// mendFiles makes the lock file and the cursor file anew if others have removed them. s.writing is held.
func (s *Spool) mendFiles() error {
	if !s.dir.has(lockName, s.lock) {
		lock, err := s.fs.Lock(s.path(lockName))
		if err != nil {
			return err // an earlier version, which locks nothing but the file, has the folder
		}
		_ = s.lock.Close() // its file has no name any more
		s.lock = lock
		s.log.Warn("the lock file of the spool was removed while in use; it was made again", "file", s.path(lockName))
	}
	c := &s.cursors
	c.mu.Lock()
	there := c.file == nil || s.dir.has(cursorName, c.file)
	c.mu.Unlock()
	if there {
		return nil
	}
	s.log.Warn("the cursor file of the spool was removed while in use; it was made again", "file", s.path(cursorName))
	return c.makeAnew(s.queuesNow())
}

// makeAnew writes all cursors to a new file.
func (c *cursors) makeAnew(queues []*Queue) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		_ = c.file.Close() // its file has no name any more
	}
	c.file, c.open, c.slots = nil, false, 0
	var begun []*Queue
	c.state.Lock()
	for _, q := range queues {
		if q.cursor.seq > 0 {
			q.cursor.slot, q.cursor.seq, q.cursor.former = noSlot, 0, progress{}
			q.cursor.behind = true // until it is written, so that a later call writes it if this one fails
			begun = append(begun, q)
		}
	}
	c.state.Unlock()
	return c.writeAllLocked(begun)
}

// forget forgets the files that were set aside.
func (a *aside) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.sizes)
	a.files.Store(0)
	a.bytes.Store(0)
}

// loseRemoved counts as lost, at the end, the events in files that no other process finds. s.writing is held.
func (s *Spool) loseRemoved() error {
	if s.dir == nil {
		return nil
	}
	err := s.dir.removed()
	if err == nil {
		err = s.mendFiles()
	}
	all := errors.Is(err, ErrRemoved)
	var left []*segment
	s.mu.Lock()
	for _, g := range s.segments {
		if g.live > 0 {
			g.refs++
			left = append(left, g)
		}
	}
	s.mu.Unlock()
	gone := map[uint32]bool{}
	for _, g := range left {
		if all || !s.dir.has(g.name, g.file) {
			gone[g.number] = true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range left {
		s.unref(g)
	}
	frames, events := int64(0), int64(0)
	for _, q := range s.order {
		q.index.each(func(e *entry) bool {
			if e.size > 0 && gone[e.pos.Segment()] {
				frames++
				events += int64(e.events)
			}
			return true
		})
	}
	if frames == 0 {
		return err
	}
	s.stats.lostFrames += frames
	s.stats.lostEvents += events
	if !all {
		err = errors.Join(err, fmt.Errorf("%w: segment files in %s", ErrRemoved, s.cfg.Dir))
	}
	s.log.Error("events in the spool are lost: its folder or its files were removed or replaced while in use", "events", events, "frames", frames, "error", err)
	return err
}
