package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// VersionError is why Open refuses a directory: a file in it has a format that this program does not read.
// Nothing was changed.
type VersionError struct {
	File    string
	Version uint32
	// Segments and Bytes are all segments of a foreign version; 0: only the cursors are.
	Segments int
	Bytes    int64
}

// Error says what to do.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has format version %d, this program reads version %d; %d such segments with %d bytes are left as they are: start a version of ingest that reads format version %d",
		e.File, e.Version, Version, e.Segments, e.Bytes, e.Version)
}

// recover reads the directory, and only then changes what must be changed: an error of it leaves the directory as
// it was. No other goroutine has the Spool yet, so nothing is locked except for helpers that want it.
func (s *Spool) recover() error {
	d, err := readDirectory(s.fs, s.cfg.Dir)
	if err != nil {
		return err
	}
	r := &recovery{Spool: s, sc: &scanner{skip: s.isDone, strict: true}}
	if err := r.read(&d); err != nil {
		r.close()
		return err
	}
	if err := r.settle(&d); err != nil {
		r.close()
		return err
	}
	return nil
}

// recovery is an Open under way.
type recovery struct {
	*Spool
	sc       *scanner
	cursors  loadedCursors
	segments []*segment
	foreign  VersionError
	changes  []func() // of segments, in order; made when everything was read
}

// read reads every file and changes none.
func (r *recovery) read(d *directory) (err error) {
	s := r.Spool
	if r.cursors, err = s.loadCursors(); err != nil {
		return fmt.Errorf("the cursors cannot be read: %w", err)
	}
	if r.cursors.farthest > maxNumber {
		d.displaceAll()
	}
	if v := r.cursors.file.header.version; r.cursors.file.whole && v != Version {
		r.foreign = VersionError{File: cursorName, Version: v}
	}
	s.nextSegment = r.cursors.farthest + 1
	if !d.numbers {
		s.forgetCursors()
		s.nextSegment = 1
	}
	for _, f := range d.segments {
		if f.number <= maxNumber { // a number that was there before says nothing
			s.nextSegment = max(s.nextSegment, f.number+1)
		}
	}
	s.placed = map[Pos][]Pos{}
	// In order of the numbers that they get: a queue's index has its frames in order of position.
	for _, displaced := range []bool{false, true} {
		for _, f := range d.segments {
			if f.displaced != displaced {
				continue
			}
			if displaced {
				f.number = s.nextSegment
				s.nextSegment++
			}
			if err := r.readSegment(f); err != nil {
				return err
			}
		}
	}
	if r.foreign.Version != 0 {
		return &r.foreign
	}
	return nil
}

// close lets go of what was read.
func (r *recovery) close() {
	for _, g := range r.segments {
		_ = g.file.Close()
	}
	if r.cursors.handle != nil {
		_ = r.cursors.handle.Close()
	}
}

// settle makes the changes that reading has called for.
func (r *recovery) settle(d *directory) error {
	s := r.Spool
	s.makeFolders()
	if err := s.loadQuarantine(); err != nil {
		return err
	}
	if err := s.loadAside(); err != nil {
		return err
	}
	for _, f := range d.strays {
		s.log.Warn("an entry of the spool directory is no segment and is left alone: move it away", "name", f.Name, "is", cmp.Or(f.Special, "a file with a name that no segment has"))
	}
	for _, f := range d.copies {
		s.log.Error("a second file of one spool segment goes to quarantine: its frames are in the first one", "segment", f.Name)
		s.quarantineFile(f.Name, f.Disk)
	}
	s.removeSpares()
	exists, clean := s.adoptCursors(&r.cursors)
	s.stats.unclean = (exists || len(d.segments) > 0) && !clean
	if s.noteSuspects(d.lowestDisplaced()) {
		r.renumber()
	}
	for _, change := range r.changes {
		change()
	}
	for _, g := range r.segments {
		if s.stats.unclean { // a process that was killed has left it to the page cache
			s.unsynced, s.newFiles = append(s.unsynced, g), true
		} else {
			g.synced = g.size
		}
		for _, done := range s.dropLocked(nil, g) {
			s.removeSegment(done)
		}
	}
	s.dropVoid()
	s.settleCursors()
	if err := s.WriteCursors(); err != nil {
		s.warnCursors(err)
	}
	s.stats.recoveredFrames, s.stats.recoveredEvents = int64(s.stats.frames), s.stats.events
	if s.stats.unclean || s.stats.frames > 0 {
		s.log.Info("spool recovered", "dir", s.cfg.Dir, "unclean", s.stats.unclean, "frames", s.stats.frames,
			"events", s.stats.events, "bytes", s.used, "torn", s.stats.torn, "quarantined", s.stats.quarantined)
	}
	return nil
}

// renumber gives the displaced segments their names. If a name cannot be given the file keeps its own, and the next
// Open renumbers it again. The header keeps the number of old, which says what the frames in it call the others.
func (r *recovery) renumber() {
	s, renamed := r.Spool, false
	for _, g := range r.segments {
		if !g.displaced {
			continue
		}
		name := segmentName(g.number, g.salt)
		if name == g.name {
			continue
		}
		err := s.fs.Rename(s.path(g.name), s.path(name))
		s.log.Error("a spool segment has a number that another one has, or one out of range, and gets a new one; its frames are sent, perhaps again",
			"segment", g.name, "now", name, "error", err)
		if err == nil {
			renamed, g.name = true, name
		}
	}
	if renamed {
		_ = s.fs.SyncDir(s.cfg.Dir) // after a loss of power the next Open would renumber them again
	}
}

// makeFolders moves away what stands where a folder of the spool belongs and is none.
func (s *Spool) makeFolders() {
	list, _ := s.fs.List(s.cfg.Dir) // it could be listed a moment ago
	for _, f := range list {
		if f.Name != quarantineName && f.Name != asideName || f.Special == "a directory" {
			continue
		}
		to := f.Name + ".moved"
		err := s.fs.Rename(s.path(f.Name), s.path(to))
		s.log.Error("an entry stands where a folder of the spool belongs and is moved away", "name", f.Name, "to", to, "error", err)
	}
}

// dropVoid takes out the frames that were to replace one that is still there: the process ended before all of
// them were written, or before that was written down. They were not sent.
func (s *Spool) dropVoid() {
	void := map[Pos]bool{}
	for _, q := range s.order {
		q.index.each(func(e *entry) bool {
			for _, pos := range s.placed[e.pos] {
				void[pos] = e.size > 0
			}
			return true
		})
	}
	s.placed = nil
	if len(void) == 0 {
		return
	}
	var done []*segment
	for _, q := range s.order {
		q.index.each(func(e *entry) bool {
			if void[e.pos] && e.size > 0 {
				s.blank(s.segments[e.pos.Segment()], e)
				done = q.forgetLocked(done, e)
			}
			return true
		})
	}
	for _, g := range s.segments {
		if g.blanked {
			_ = g.file.Sync() // else a loss of power could bring them back; the queue is suspect then
		}
	}
	for _, g := range done {
		s.removeSegment(g)
	}
	s.log.Info("frames of partitions that were not known are placed again: that was not finished", "frames", len(void))
}

// blank makes a frame that is void a gap. When what it was to replace is done one day, because it was placed
// again, nothing else would tell it from a frame that counts.
func (s *Spool) blank(g *segment, e *entry) {
	var head [frameHeaderBytes]byte
	off := e.pos.Offset()
	h := frameHeader{salt: g.salt, offset: uint32(off), batchLen: e.size - frameHeaderBytes, kind: kindGap}
	h.put(head[:])
	if err := g.file.WriteVec([][]byte{head[:]}, off); err != nil {
		s.log.Warn("a frame that is void cannot be taken out; its events may come twice", "segment", g.name, "offset", off, "error", err)
		return
	}
	g.blanked = true
	if n := gapInterior(off, off+int64(e.size)); n > 0 && g.file.PunchHole(holeStart(off), n) == nil {
		g.charged -= n
		s.used -= n
	}
}

// removeSpares removes files that waited for another segment: all that is in them is done.
func (s *Spool) removeSpares() {
	list, _ := s.fs.List(s.cfg.Dir) // it could be listed a moment ago, and the next Open tries again
	for _, f := range plain(list) {
		if name, ok := strings.CutSuffix(f.Name, freeSuffix); ok {
			if _, _, ok := parseSegmentName(name); ok {
				s.removeFile(f.Name)
			}
		}
	}
}

// isDone is the scan's question whether a frame needs no check.
func (s *Spool) isDone(h *frameHeader, topic []byte) bool {
	q := s.queues[partition{string(topic), h.partition}]
	return q != nil && diskqueue.PosOf(s.scanning.number, int64(h.offset)) <= q.cursor.done
}

// doneEverywhere reports whether the frame at pos is done, of whichever queue it was: all cursors are past it.
func (s *Spool) doneEverywhere(pos Pos) bool {
	for _, q := range s.order {
		if q.cursor.done < pos {
			return false
		}
	}
	return len(s.order) > 0
}
