package spool

import (
	"cmp"
	"slices"
)

// diskBlock is what file systems give back at the least.
const diskBlock = 4096

// gapInterior is how many bytes of a gap can be given back: the blocks behind its header.
func gapInterior(from, to int64) int64 {
	return to/diskBlock*diskBlock - holeStart(from)
}

func holeStart(from int64) int64 {
	return (from + frameHeaderBytes + diskBlock - 1) / diskBlock * diskBlock
}

// gap is a range of a segment without a frame that is not done.
type gap struct{ from, to int64 }

// reclaim makes room when the spool is full: segments are shared, so one partition without a leader keeps
// every segment alive in which it has a frame. The space of the frames between, which are done, is given
// back block by block. It is false when nothing was freed. s.writing is held.
func (s *Spool) reclaim(need int64) bool {
	if s.dropSpare(s.takeSpare()) {
		return true
	}
	if s.retireDead() {
		return true
	}
	s.mu.Lock()
	var candidates []*segment
	for _, g := range s.segments {
		if g != s.active && g.dead >= diskBlock && !g.keep && g.holds == 0 {
			candidates = append(candidates, g)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(candidates, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	freed := int64(0)
	for _, g := range candidates {
		if freed += s.giveBack(g); freed >= need {
			break
		}
	}
	return freed > 0
}

// giveBack punches the gaps of a segment that is not active and returns how many bytes that freed.
// A gap gets a header of its own first, so that a scan passes over it.
func (s *Spool) giveBack(g *segment) int64 {
	s.mu.Lock()
	if g.gone || g.holds > 0 {
		s.mu.Unlock()
		return 0
	}
	gaps := s.gapsLocked(g)
	g.dead = 0 // whatever comes of it, it is not tried again before more is done
	g.refs++
	s.mu.Unlock()

	given := int64(0)
	var head [frameHeaderBytes]byte
	for _, x := range gaps {
		n := gapInterior(x.from, x.to)
		if n <= 0 {
			continue
		}
		h := frameHeader{salt: g.salt, offset: uint32(x.from), batchLen: uint32(x.to - x.from - frameHeaderBytes), kind: kindGap}
		h.put(head[:])
		if g.file.WriteVec([][]byte{head[:]}, x.from) != nil || g.file.PunchHole(holeStart(x.from), n) != nil {
			break
		}
		given += n
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.unref(g)
	freed := g.charged - (g.length - given) // what was given back before is in given as well
	if g.gone || freed <= 0 {
		return 0
	}
	g.charged -= freed
	s.used -= freed
	s.stats.reclaimed += freed
	return freed
}

// gapsLocked returns the gaps of a segment: all of it but the frames that are not done.
func (s *Spool) gapsLocked(g *segment) []gap {
	var live []entry
	for _, q := range s.order {
		q.index.each(func(e *entry) bool {
			if e.pos.Segment() == g.number && e.size > 0 {
				live = append(live, *e)
			}
			return e.pos.Segment() <= g.number
		})
	}
	slices.SortFunc(live, func(a, b entry) int { return cmp.Compare(a.pos, b.pos) })
	var gaps []gap
	from := int64(segmentHeaderBytes)
	for _, e := range live {
		if off := e.pos.Offset(); off > from {
			gaps = append(gaps, gap{from, off})
		}
		from = e.pos.Offset() + int64(e.size)
	}
	if from < g.size {
		gaps = append(gaps, gap{from, g.size})
	}
	return gaps
}

// retireDead ends the active segment if all its frames are done; its file may become the spare one. s.writing is held.
func (s *Spool) retireDead() bool {
	s.mu.Lock()
	a := s.active
	if a == nil || a.live > 0 || a.size <= segmentHeaderBytes {
		s.mu.Unlock()
		return false
	}
	done := s.retireLocked(a)
	s.mu.Unlock()
	for _, g := range done {
		s.removeSegment(g)
	}
	return true
}
