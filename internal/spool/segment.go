package spool

import (
	"errors"
	"io/fs"
	"slices"
	"time"
)

// maxFrameBytes bounds a frame, and with it a segment of one frame. Offsets are 32 bits wide.
const maxFrameBytes = 1 << 30

// segment is one segment file. All fields but the constant ones are guarded by Spool.mu.
type segment struct {
	number    uint32 // constant, as are name, salt, file and what follows
	name      string
	salt      uint64
	file      File
	created   int64 // ms since the Unix epoch; 0: not known
	displaced bool  // Open gave it another number
	strange   bool  // this Open or an earlier one did: positions in it may be those of other segments

	size    int64 // bytes up to the end mark
	length  int64 // of the file; more than size if the file had another segment in it before
	charged int64 // of them, what counts in Spool.used
	synced  int64 // bytes known to be durable
	live    int   // frames that are not done
	holds   int   // by DoneDurably, see Spool.held
	dead    int64 // bytes of frames that are done and were not given back
	refs    int   // reads and syncs under way
	syncs   int   // of them, syncs
	broken  bool  // a sync failed: what is not durable never is
	keep    bool  // has damaged bytes without a copy: goes to quarantine as a whole
	blanked bool  // Open made gaps of void frames in it
	reuse   File  // its file, which becomes the spare one; nil: it does not
	gone    bool  // no longer in Spool.segments; closed with the last ref
}

// unref ends a use of the segment's file. s.mu is held.
func (s *Spool) unref(g *segment) {
	g.refs--
	if g.gone {
		s.closeIfUnused(g)
	}
}

// closeIfUnused closes the file of a segment that is gone. s.mu is held.
func (s *Spool) closeIfUnused(g *segment) {
	if g.refs == 0 && g.file != nil {
		_ = g.file.Close() // nothing is buffered here
		g.file = nil
	}
}

// grownLocked notes that the file is at least length bytes long, and returns by how much it has grown.
func (g *segment) grownLocked(s *Spool, length int64) int64 {
	grown := max(length-g.length, 0)
	g.length += grown
	g.charged += grown
	s.used += grown
	return grown
}

// retireLocked ends the active segment; it is returned, to be buried, when all its frames are done.
func (s *Spool) retireLocked(g *segment) []*segment {
	if s.active == g {
		s.active = nil
	}
	return s.dropLocked(nil, g)
}

// dropLocked takes g out of the spool if it is not active and all its frames are done, and appends it to
// dst. The caller gives what it gets to removeSegment, without the lock.
func (s *Spool) dropLocked(dst []*segment, g *segment) []*segment {
	if g.live > 0 || g.holds > 0 || g.gone || g == s.active {
		return dst
	}
	g.gone = true
	delete(s.segments, g.number)
	s.unsynced = slices.DeleteFunc(s.unsynced, func(o *segment) bool { return o == g })
	if g.broken {
		s.failed = slices.DeleteFunc(s.failed, func(f span) bool { return f.first.Segment() == g.number })
	}
	s.used -= g.charged
	if errors.Is(s.latched, ErrFull) {
		s.retryAt = time.Time{} // there is room: the disk is asked at once
	}
	if s.worthKeepingLocked(g) {
		g.reuse, g.file, s.spareWanted = g.file, nil, false
	} else {
		s.closeIfUnused(g)
	}
	return append(dst, g)
}

// removeSegment removes the file of a segment that is gone, or puts it into quarantine if it has damaged bytes
// that could not be copied. If that fails, the next Open finds only frames that are done in it.
func (s *Spool) removeSegment(g *segment) {
	switch {
	case g.keep:
		s.quarantineFile(g.name, g.charged)
	case g.reuse != nil:
		s.keepSpare(g)
	default:
		s.removeFile(g.name)
	}
}

func (s *Spool) removeFile(name string) {
	if err := s.fs.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("a spool file that is done cannot be removed", "file", name, "error", err)
	}
}

// newSegment begins the next segment and makes it the active one. spare is its file; nil: a new one. s.writing is held.
func (s *Spool) newSegment(spare *spareFile) (*segment, error) {
	g := &segment{number: s.nextSegment, salt: newSalt()}
	g.name = segmentName(g.number, g.salt)
	s.nextSegment++
	if err := s.openSegment(g, spare); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.segments[g.number] = g
	s.active = g
	s.used += g.charged
	s.newFiles = true
	s.unsynced = append(s.unsynced, g)
	s.mu.Unlock()
	return g, nil
}

// openSegment gives g its file: the spare one under a new name, or a new one.
func (s *Spool) openSegment(g *segment, spare *spareFile) error {
	if spare == nil {
		file, err := s.fs.Create(s.path(g.name))
		if err != nil {
			return err
		}
		spare = &spareFile{name: g.name, file: file}
	}
	var head [emptySegment]byte
	h := segmentHeader{version: Version, number: g.number, salt: g.salt, created: s.now().UnixMilli()}
	h.put((*[segmentHeaderBytes]byte)(head[:]))
	putMark(head[segmentHeaderBytes:], g.salt, segmentHeaderBytes)
	err := spare.file.WriteVec([][]byte{head[:]}, 0)
	if err == nil && spare.name != g.name {
		// Only now: under this name the file must have nothing in it but what its salt says.
		err = s.fs.Rename(s.path(spare.name), s.path(g.name))
	}
	if err != nil {
		_ = spare.file.Close()
		_ = s.fs.Remove(s.path(spare.name)) // else the next Open does
		return err
	}
	g.file, g.size, g.length = spare.file, segmentHeaderBytes, max(spare.length, emptySegment)
	g.charged = g.length
	return nil
}
