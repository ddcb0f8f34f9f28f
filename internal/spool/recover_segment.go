package spool

import (
	"bytes"
	"errors"
	"fmt"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// readSegment takes one segment into the spool.
func (r *recovery) readSegment(f segmentFile) error {
	s := r.Spool
	file, err := s.fs.Open(s.path(f.Name), false)
	if isNotExist(err) || errors.Is(err, errSpecial) { // not what it was a moment ago
		return nil
	}
	if err != nil {
		return err
	}
	g := &segment{number: f.number, name: f.Name, salt: f.salt, file: file, displaced: f.displaced, strange: f.displaced}
	r.segments = append(r.segments, g)
	size, err := file.Size()
	if err != nil {
		return err
	}
	g.size, g.length, g.charged = min(size, maxSegmentBytes), size, size // nothing of ours is behind that
	if size > maxSegmentBytes {
		g.charged = f.Disk // made of holes, as far as we know
	}
	s.segments[g.number] = g
	s.used += g.charged
	s.scanning = g
	r.sc.start(file, g.size, g.salt)
	if r.readSegmentHeader(g) {
		r.scanSegment(g)
	}
	if err := r.sc.err; err != nil {
		return fmt.Errorf("%s cannot be read at offset %d: %w", g.name, r.sc.errOff, err)
	}
	return nil
}

// readSegmentHeader judges the start of a segment and reports whether frames may follow.
func (r *recovery) readSegmentHeader(g *segment) bool {
	s, sc := r.Spool, r.sc
	head, err := sc.at(0, segmentHeaderBytes)
	if err != nil {
		return false
	}
	var h segmentHeader
	parsed := h.parse(head)
	torn := g.size < segmentHeaderBytes && bytes.HasPrefix([]byte(segmentMagic), head[:min(len(head), len(segmentMagic))])
	switch {
	case parsed && h.version != Version:
		if r.foreign.Segments == 0 {
			r.foreign.File, r.foreign.Version = g.name, h.version
		}
		r.foreign.Segments++
		r.foreign.Bytes += g.charged
		return false
	case parsed && h.salt == g.salt:
		g.created, g.strange = h.created, g.strange || h.number != g.number
	case parsed && !sc.begun(), torn, sc.zeros(0):
		// Or the file of a former segment whose new header did not reach the disk: what it has in it is done.
		r.change(func() { s.countTorn(g, 0, g.size) })
		return false
	case g.size < segmentHeaderBytes:
		g.keep = true
		s.log.Warn("a spool segment is shorter than its header and goes to quarantine", "segment", g.name, "bytes", g.size)
		return false
	default: // the name has the salt
		r.change(func() { s.quarantineRegion(g, 0, segmentHeaderBytes, 0, errDamaged) })
	}
	sc.start(sc.r, sc.size, g.salt)
	return true
}

func (r *recovery) change(f func()) { r.changes = append(r.changes, f) }

// scanSegment takes the frames that are not done into their queues.
func (r *recovery) scanSegment(g *segment) {
	for {
		x, ok := r.sc.next()
		if !ok {
			return
		}
		r.region(g, &x)
	}
}

func (r *recovery) region(g *segment, x *region) {
	s := r.Spool
	off, length := x.off, x.length
	switch x.kind {
	case regionFrame:
		q := s.queues[partition{string(x.topic), x.header.partition}]
		if q == nil {
			q = s.queueLocked(string(x.topic), x.header.partition)
		}
		pos := diskqueue.PosOf(g.number, off)
		if pos <= q.cursor.done {
			g.dead += length
			return
		}
		q.pushLocked(entry{pos: pos, size: uint32(length), events: x.header.Events}, g, x.header.Partitions)
		q.displaced = q.displaced || g.displaced
		s.tail = pos
		if x.replaces != 0 && !g.strange {
			s.placed[x.replaces] = append(s.placed[x.replaces], pos)
		}
	case regionGap:
		given := min(max(gapInterior(off, off+length), 0), g.charged)
		g.charged -= given
		s.used -= given
	case regionCorrupt:
		events := x.header.Events
		if !x.known && events == 0 && (g.displaced || !s.doneEverywhere(diskqueue.PosOf(g.number, off))) {
			events = 1 // how many there were is not known: it shall not go unnoticed
		}
		r.change(func() { s.quarantineRegion(g, off, length, events, errDamaged) })
	case regionTorn:
		size := g.size
		g.size = off
		r.change(func() {
			s.countTorn(g, off, size)
			if err := g.file.Truncate(off); err != nil {
				s.log.Warn("a torn tail cannot be cut off", "segment", g.name, "error", err)
				return
			}
			s.cutLocked(g, off)
		})
	case regionEnd:
		// What was in the file before is behind the mark.
		g.size = off
		r.change(func() {
			if behind := off + markBytes; behind == g.length || g.file.Truncate(behind) == nil {
				s.cutLocked(g, behind)
			}
		})
	}
}

// cutLocked notes that a segment's file ends at length now.
func (s *Spool) cutLocked(g *segment, length int64) {
	cut := min(g.length-length, g.charged) // where it had holes: an estimate
	s.used -= cut
	g.charged -= cut
	g.length = length
}

func (s *Spool) countTorn(g *segment, off, size int64) {
	s.stats.torn++
	s.stats.tornBytes += size - off
	s.log.Warn("the end of a spool segment was not written whole and is cut off",
		"segment", g.name, "offset", off, "bytes", size-off)
}
