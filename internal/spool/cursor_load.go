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

// maxSlotCount bounds what is read of a cursor file: more partitions than a cluster has.
const maxSlotCount = 1 << 17

// readCursors reads a cursor file and calls yield for every slot that has an undamaged copy.
func readCursors(r io.ReaderAt, size int64, yield func(topic []byte, id int32, c cursor)) (cursorFile, error) {
	var f cursorFile
	buf := make([]byte, maxSlots*slotBytes)
	if err := readUpTo(r, buf[:cursorHeaderBytes], 0); err != nil {
		return f, err
	}
	f.whole = f.header.parse(buf[:cursorHeaderBytes])
	if f.whole && f.header.version != Version {
		return f, nil
	}
	f.slots = int(min((max(size-cursorHeaderBytes, 0)+slotBytes-1)/slotBytes, maxSlotCount))
	for i := range f.slots {
		if i%maxSlots == 0 {
			if err := readUpTo(r, buf, slotOffset(i, 0)); err != nil {
				return f, err
			}
		}
		slot := buf[i%maxSlots*slotBytes:][:slotBytes]
		if topic, id, c, ok := parseSlot(slot); ok {
			c.slot = i
			yield(topic, id, c)
		} else if bytes.Count(slot, []byte{0}) != len(slot) {
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

// loadedCursors is a cursor file as Open found it.
type loadedCursors struct {
	handle   File // nil: there is none that can be used
	exists   bool
	damaged  error  // why it goes to quarantine; nil: it does not
	farthest uint32 // the greatest segment number in it
	file     cursorFile
}

// loadCursors reads the cursor file into the queues and changes nothing. An error is the disk's.
func (s *Spool) loadCursors() (c loadedCursors, err error) {
	s.cursors.fs, s.cursors.name = s.fs, s.path(cursorName)
	file, err := s.fs.Open(s.cursors.name, false)
	if isNotExist(err) {
		return c, nil
	}
	c.exists = true
	if errors.Is(err, errSpecial) {
		c.damaged = err
		return c, nil
	}
	if err != nil {
		return c, err
	}
	c.handle = file
	size, err := file.Size()
	if err != nil {
		return c, err
	}
	c.file, err = readCursors(file, size, func(topic []byte, id int32, cur cursor) {
		q := s.Queue(string(topic), id).(*Queue)
		if q.cursor.slot == noSlot || cur.seq > q.cursor.seq {
			q.cursor = cur
			q.cursor.former = cur.progress
		}
		c.farthest = max(c.farthest, cur.done.Segment(), cur.doubt.Segment())
	})
	return c, err
}

// forgetCursors drops what the cursors say about positions. The queues with frames are suspect then.
func (s *Spool) forgetCursors() {
	for _, q := range s.order {
		q.cursor.done, q.cursor.doubt, q.cursor.suspect, q.cursor.stamp = 0, 0, 0, Stamp{}
		q.cursor.damaged, q.cursor.behind = true, true
	}
}

// adoptCursors takes over the file that was read, or begins a new one, and says whether the last process left the
// closing mark.
func (s *Spool) adoptCursors(l *loadedCursors) (exists, clean bool) {
	c := &s.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.damaged != nil {
		s.log.Warn("the cursors are no plain file and go to quarantine; frames that are done may be sent again", "error", l.damaged)
		s.quarantineFile(cursorName, 0)
	}
	c.file, c.slots = l.handle, l.file.slots
	if c.file != nil {
		clean = l.file.whole && l.file.header.state == stateClosed
		// The page cache outlives a process, not a run of the machine.
		c.stale = !clean && !(l.file.whole && l.file.header.boot == c.boot)
	}
	if c.stale {
		c.open = true // it has no closing mark, and keeps that of the other run until noteSuspects has told
	} else if err := c.counted(c.beginLocked()); err != nil {
		s.warnCursors(err)
	}
	return l.exists, clean
}

// counted counts a failed write that writeSlotsLocked has not.
func (c *cursors) counted(err error) error {
	if err != nil {
		c.failed.Add(1)
	}
	return err
}

func (s *Spool) warnCursors(err error) {
	s.log.Warn("the cursors cannot be written; trying again with the next one", "error", err)
}

// noteSuspects compares the cursors with the frames that were found, and writes down which of those are suspect before
// anything is changed by which one knows: an Open that is killed must leave that to the next one. Cursors of queues with
// frames in segments that get another number are set back before lowest, the first position of these: as long as one
// has its old name, the cursor would take it for another. It is false when that could not be written.
func (s *Spool) noteSuspects(lowest Pos) bool {
	c := &s.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	var failed error
	for _, q := range s.order {
		if e, ok := q.afterLocked(q.cursor.doubt - 1); q.cursor.doubt != 0 && (!ok || e.pos != q.cursor.doubt) {
			q.cursor.doubt, q.cursor.stamp = 0, Stamp{} // done, or in quarantine
		}
		if q.frames == 0 {
			q.cursor.suspect = 0
		}
		if q.frames == 0 || q.cursor.seq > 0 && !q.cursor.damaged && !c.stale && !q.displaced {
			continue
		}
		c.lost.Add(1)
		s.log.Warn("a cursor is lost, damaged or perhaps old; frames that are done may be sent again",
			"topic", q.topic, "partition", q.partition, "frames", q.frames, "events", q.events)
		q.cursor.suspect = q.newestLocked()
		if q.displaced {
			q.cursor.done = min(q.cursor.done, lowest-1)
		}
		failed = errors.Join(failed, c.writeLocked(q))
	}
	switch {
	case failed == nil && c.stale:
		c.open = false
		failed = c.counted(c.beginLocked())
	case failed == nil && lowest > 0 && c.file != nil:
		failed = c.counted(c.file.Sync())
	}
	if failed != nil {
		s.warnCursors(failed)
	}
	return failed == nil
}

// settleCursors begins the cursor file anew when nothing is left, so that slots of partitions that are no more do not
// pile up.
func (s *Spool) settleCursors() {
	c := &s.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.stats.frames > 0 || c.file == nil || c.slots == 0 {
		return
	}
	// The removal of the segments must be durable first, or a loss of power could bring back frames without a cursor.
	if s.fs.SyncDir(s.cfg.Dir) == nil && c.file.Truncate(cursorHeaderBytes) == nil {
		c.slots = 0
		for _, q := range s.order {
			q.cursor = cursor{slot: noSlot}
		}
	}
}
