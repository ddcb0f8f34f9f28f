package spool

// spareFile is the file of a segment that is done, kept for the next one: to overwrite pages that the
// page cache has costs a tenth of new ones, and fdatasync has no new blocks to note. What is in it from
// before means nothing under the new salt, and is behind the end mark.
type spareFile struct {
	name   string
	file   File
	length int64
}

// worthKeepingLocked reports whether the file of g, which is gone, is to become the spare one. One is
// enough: a segment that ends while all goes well is done before the next one ends.
func (s *Spool) worthKeepingLocked(g *segment) bool {
	// A sync that is under way does not mind.
	return s.spareWanted && !s.closed && g.refs == g.syncs && g.file != nil && !g.keep && !g.broken &&
		g.charged == g.length && g.length >= s.cfg.SegmentBytes/2 && g.length <= s.cfg.SegmentBytes+emptySegment
}

// keepSpare makes the file of g the spare one.
func (s *Spool) keepSpare(g *segment) {
	f := &spareFile{name: g.name + freeSuffix, file: g.reuse, length: g.length}
	if err := s.fs.Rename(s.path(g.name), s.path(f.name)); err != nil {
		_ = f.file.Close()
		s.removeFile(g.name)
		s.mu.Lock()
		s.spareWanted = true
		s.mu.Unlock()
		return
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.spareFile = f
		s.used += f.length
	}
	s.mu.Unlock()
	if closed {
		s.dropSpare(f)
	}
}

// takeSpare returns the spare file, nil when there is none; the caller closes or uses it.
func (s *Spool) takeSpare() *spareFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.spareFile
	if f != nil {
		s.spareFile, s.spareWanted = nil, true
		s.used -= f.length
	}
	return f
}

// dropSpare removes a spare file and reports whether there was one.
func (s *Spool) dropSpare(f *spareFile) bool {
	if f == nil {
		return false
	}
	_ = f.file.Close() // nothing is buffered here
	s.removeFile(f.name)
	return true
}
