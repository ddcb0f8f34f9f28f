package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// versionError is the reason why a file of another version goes to quarantine.
type versionError struct{ version uint32 }

func (e *versionError) Error() string {
	return fmt.Sprintf("format version %d; this program reads version %d", e.version, Version)
}

// segmentFile is a segment as its name tells.
type segmentFile struct {
	FileInfo
	number uint32
	salt   uint64
}

// segmentFiles lists the segments in dir by number.
func segmentFiles(fsys FS, dir string) ([]segmentFile, error) {
	list, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	var out []segmentFile
	for _, f := range list {
		if number, salt, ok := parseSegmentName(f.Name); ok {
			out = append(out, segmentFile{f, number, salt})
		}
	}
	slices.SortFunc(out, func(a, b segmentFile) int { return int(int64(a.number) - int64(b.number)) })
	return out, nil
}

// recover reads the directory. Nobody else has the Spool yet, so nothing is locked but for helpers that
// want it.
func (s *Spool) recover() error {
	files, err := segmentFiles(s.fs, s.cfg.Dir)
	if err != nil {
		return err
	}
	if err := s.loadQuarantine(); err != nil {
		return err
	}
	if err := s.loadAside(); err != nil {
		return err
	}
	s.removeSpares()
	s.nextSegment = 1
	exists, clean := s.loadCursors()
	s.stats.unclean = (exists || len(files) > 0) && !clean
	s.placed = map[Pos][]Pos{}
	sc := &scanner{skip: s.isDone}
	for _, f := range files {
		s.nextSegment = max(s.nextSegment, f.number+1)
		s.recoverSegment(sc, f)
	}
	s.dropVoid()
	s.settleCursors()
	s.stats.recoveredFrames, s.stats.recoveredEvents = int64(s.stats.frames), s.stats.events
	if s.stats.unclean || s.stats.frames > 0 {
		s.log.Info("spool recovered", "dir", s.cfg.Dir, "unclean", s.stats.unclean, "frames", s.stats.frames,
			"events", s.stats.events, "bytes", s.used, "torn", s.stats.torn, "quarantined", s.stats.quarantined)
	}
	return nil
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
		s.bury(g)
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
	for _, f := range list {
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
	return q != nil && uint32(q.cursor.done.Segment()) >= s.scanning && makePos(s.scanning, int64(h.offset)) <= q.cursor.done
}

// doneEverywhere says that whatever frame was at pos, it is done: all cursors are past it.
func (s *Spool) doneEverywhere(pos Pos) bool {
	for _, q := range s.order {
		if q.cursor.done < pos {
			return false
		}
	}
	return len(s.order) > 0
}

// recoverSegment takes one segment into the spool.
func (s *Spool) recoverSegment(sc *scanner, f segmentFile) {
	file, err := s.fs.Open(s.path(f.Name), false)
	if err != nil {
		s.log.Error("a spool segment cannot be opened and goes to quarantine", "segment", f.Name, "error", err)
		s.quarantineFile(f.Name, f.Size)
		return
	}
	size, err := file.Size()
	if err != nil {
		size = f.Size
	}
	g := &segment{number: f.number, name: f.Name, salt: f.salt, file: file, size: size, length: size, charged: size}
	s.segments[g.number] = g
	s.used += g.charged
	s.scanning = f.number
	sc.start(file, size, f.salt)
	verdict := s.readSegmentHeader(sc, g)
	if verdict == headerGood {
		s.scanSegment(sc, g)
	}
	g.keep = g.keep || verdict == headerForeign
	g.synced = g.size
	for _, d := range s.dropLocked(nil, g) {
		s.bury(d)
	}
}

type headerVerdict uint8

const (
	headerGood    headerVerdict = iota // or damaged, and the frames may be good
	headerForeign                      // not ours to read
	headerTorn                         // nothing was written behind it
)

// readSegmentHeader judges the start of a segment.
func (s *Spool) readSegmentHeader(sc *scanner, g *segment) headerVerdict {
	head, err := sc.at(0, segmentHeaderBytes)
	var h segmentHeader
	switch {
	case err == nil && h.parse(head) && h.version != Version:
		s.log.Warn("a spool segment of another version goes to quarantine", "segment", g.name, "error", &versionError{h.version})
		return headerForeign
	case err == nil && h.parse(head) && h.number == g.number && h.salt == g.salt:
	case err == nil && h.parse(head) && !sc.begun():
		// The file of a former segment whose new header did not reach the disk: what it has in it is done.
		s.countTorn(g, 0)
		return headerTorn
	case err == nil && (g.size < segmentHeaderBytes && bytes.HasPrefix([]byte(segmentMagic), head[:min(len(head), len(segmentMagic))]) || sc.zeros(0)):
		s.countTorn(g, 0)
		return headerTorn
	case g.size < segmentHeaderBytes:
		s.log.Warn("a spool segment is shorter than its header and goes to quarantine", "segment", g.name, "bytes", g.size)
		return headerForeign
	default: // the name has the salt
		s.quarantineRegion(g, 0, segmentHeaderBytes, 0, err)
	}
	sc.start(sc.r, sc.size, g.salt)
	return headerGood
}

// scanSegment takes the frames that are not done into their queues.
func (s *Spool) scanSegment(sc *scanner, g *segment) {
	for {
		r, ok := sc.next()
		if !ok {
			return
		}
		switch r.kind {
		case regionFrame:
			q := s.queues[partition{string(r.topic), r.header.partition}]
			if q == nil {
				q = s.queueLocked(string(r.topic), r.header.partition)
			}
			if pos := makePos(g.number, r.off); pos > q.cursor.done {
				q.pushLocked(entry{pos: pos, size: uint32(r.length), events: r.header.Events}, g)
				s.tail = pos
				if r.replaces != 0 {
					s.placed[r.replaces] = append(s.placed[r.replaces], pos)
				}
			} else {
				g.dead += r.length
			}
		case regionGap:
			given := max(gapInterior(r.off, r.off+r.length), 0)
			g.charged -= given
			s.used -= given
		case regionCorrupt:
			events := r.header.Events
			if !r.known && events == 0 && !s.doneEverywhere(makePos(g.number, r.off)) {
				events = 1 // nobody knows how many there were: it shall not go unnoticed
			}
			s.quarantineRegion(g, r.off, r.length, events, errDamaged)
		case regionTorn:
			s.countTorn(g, r.off)
			if err := g.file.Truncate(r.off); err != nil {
				s.log.Warn("a torn tail cannot be cut off", "segment", g.name, "error", err)
				return
			}
			s.cutLocked(g, r.off, r.off)
		case regionEnd:
			// What was in the file before is behind the mark.
			if behind := r.off + markBytes; behind == g.length || g.file.Truncate(behind) == nil {
				s.cutLocked(g, r.off, behind)
			} else {
				s.cutLocked(g, r.off, g.length)
			}
		}
	}
}

// cutLocked notes that a segment's frames end at size and its file at length.
func (s *Spool) cutLocked(g *segment, size, length int64) {
	g.size = size
	s.used -= g.length - length
	g.charged -= g.length - length
	g.length = length
}

func (s *Spool) countTorn(g *segment, off int64) {
	s.stats.torn++
	s.stats.tornBytes += g.size - off
	s.log.Warn("the end of a spool segment was not written whole and is cut off",
		"segment", g.name, "offset", off, "bytes", g.size-off)
}
