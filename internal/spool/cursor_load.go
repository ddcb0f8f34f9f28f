package spool

import (
	"bytes"
	"errors"
	"io"
)

// cursorFile is what can be read of a cursor file.
type cursorFile struct {
	header cursorHeader
	whole  bool // the header is undamaged
	slots  int
	lost   int // slots that have something in them, and no undamaged copy
}

// readCursors reads a cursor file and calls yield for every slot that has an undamaged copy.
func readCursors(r io.ReaderAt, size int64, yield func(topic []byte, id int32, c cursor)) (cursorFile, error) {
	var f cursorFile
	var buf [slotBytes]byte
	if err := readUpTo(r, buf[:cursorHeaderBytes], 0); err != nil {
		return f, err
	}
	f.whole = f.header.parse(buf[:cursorHeaderBytes])
	if f.whole && f.header.version != Version {
		return f, nil
	}
	f.slots = int((max(size-cursorHeaderBytes, 0) + slotBytes - 1) / slotBytes)
	for i := range f.slots {
		if err := readUpTo(r, buf[:], slotOffset(i, 0)); err != nil {
			return f, err
		}
		if topic, id, c, ok := parseSlot(buf[:]); ok {
			c.slot = i
			yield(topic, id, c)
		} else if len(bytes.Trim(buf[:], "\x00")) > 0 {
			f.lost++
		}
	}
	return f, nil
}

// readUpTo fills p from off; what is behind the end of the file is zero.
func readUpTo(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	clear(p[n:])
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// parseSlot chooses the newer one of a slot's undamaged copies.
func parseSlot(p []byte) (topic []byte, id int32, best cursor, ok bool) {
	damaged := false
	for i := range 2 {
		part := p[i*cursorCopyBytes : (i+1)*cursorCopyBytes]
		var c cursor
		t, n, good := c.parse(part)
		switch {
		case good && (!ok || c.seq > best.seq):
			topic, id, best, ok = t, n, c, true
		case !good && len(bytes.Trim(part, "\x00")) > 0:
			damaged = true
		}
	}
	best.damaged = damaged
	return topic, id, best, ok
}

// loadCursors reads the cursor file, or begins a new one, and says whether the last process left the
// closing mark.
func (s *Spool) loadCursors() (exists, clean bool) {
	c := &s.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fs, c.name = s.fs, s.path(cursorName)
	file, err := s.fs.Open(c.name, false)
	exists = err == nil || !isNotExist(err)
	if err == nil {
		clean, err = s.readCursorFile(file)
		if err == nil {
			c.file = file
		} else {
			_ = file.Close()
		}
	}
	if exists && err != nil {
		s.log.Warn("the cursors cannot be read and go to quarantine; frames that are done may be sent again", "error", err)
		s.quarantineFile(cursorName, 0)
	}
	if err := c.beginLocked(); err != nil {
		c.failed++
		s.log.Warn("the cursors cannot be written; trying again with the next one", "error", err)
	}
	return exists, clean
}

// readCursorFile fills in the queues' cursors. cursors.mu is held.
func (s *Spool) readCursorFile(file File) (clean bool, err error) {
	size, err := file.Size()
	if err != nil {
		return false, err
	}
	f, err := readCursors(file, size, func(topic []byte, id int32, c cursor) {
		q := s.Queue(string(topic), id)
		if q.cursor.slot == noSlot || c.seq > q.cursor.seq {
			q.cursor = c
			q.cursor.former = c.progress
		}
		s.nextSegment = max(s.nextSegment, c.done.Segment()+1, c.doubt.Segment()+1)
	})
	if err != nil {
		return false, err
	}
	if f.whole && f.header.version != Version {
		return false, &versionError{f.header.version}
	}
	s.cursors.slots = f.slots
	clean = f.whole && f.header.state == stateClosed
	// The page cache outlives a process, not a run of the machine.
	s.cursors.stale = !clean && !(f.whole && f.header.boot == s.cursors.boot)
	return clean, nil
}

// settleCursors compares the cursors with the frames that were found.
func (s *Spool) settleCursors() {
	c := &s.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range s.order {
		if e, ok := q.afterLocked(q.cursor.doubt - 1); q.cursor.doubt != 0 && (!ok || e.pos != q.cursor.doubt) {
			q.cursor.doubt, q.cursor.stamp = 0, Stamp{} // done, or in quarantine
		}
		if q.frames == 0 {
			q.cursor.suspect = 0
		}
		if q.frames == 0 || q.cursor.seq > 0 && !q.cursor.damaged && !c.stale {
			continue
		}
		c.lost++
		s.log.Warn("a cursor is lost, damaged or perhaps old; frames that are done may be sent again",
			"topic", q.topic, "partition", q.partition, "frames", q.frames, "events", q.events)
		q.cursor.suspect = q.newestLocked()
		_ = c.writeLocked(q) // counted; else the next Open finds it lost again
	}
	if s.stats.frames > 0 || c.file == nil || c.slots == 0 {
		return
	}
	// Nothing is left: begin anew, so that slots of partitions that are no more do not pile up. The removal of
	// the segments must be durable first, or a loss of power could bring back frames without a cursor.
	if s.fs.SyncDir(s.cfg.Dir) == nil && c.file.Truncate(cursorHeaderBytes) == nil {
		c.slots = 0
		for _, q := range s.order {
			q.cursor = cursor{slot: noSlot}
		}
	}
}
