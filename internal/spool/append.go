package spool

import (
	"fmt"
	"time"
)

// Meta is what a frame tells of its batch. The spool only stores it.
type Meta struct {
	Events         int32 // for the ledger
	Records        int32
	FirstTimestamp int64 // ms since the Unix epoch
	WrittenAt      int64 // ms since the Unix epoch; set by Append when 0
	// Replaces: it takes the place of a frame that is done next, and may use the part of MaxBytes that is kept
	// for that. It is not stored.
	Replaces bool
}

// reserve is what Append leaves of MaxBytes to frames that replace others.
func (c *Config) reserve() int64 { return min(c.MaxBytes/8, 2<<20) }

// freeStep is how many bytes are written before the free space is asked for again.
const freeStep = 1 << 20

// writer is the state of whoever appends; Spool.writing guards it.
type writer struct {
	nextSegment uint32
	head        [frameHeaderBytes + maxTopicBytes]byte
	mark        [markBytes]byte
	vec         [][]byte
	allowance   int64     // bytes that may be written before the free space is asked for again
	retryAt     time.Time // when latched: not before this
}

// Append writes a frame to the end of the queue: into the page cache, so that it outlives the process;
// Spool.Sync makes it outlive the machine. The batch is batch's parts one after the other; they are
// not retained. No allocation.
//
// An error means that the frame is not in the queue: ErrFull, ErrWrite, ErrTooLarge, ErrClosed. After
// ErrWrite the segment gets no more frames; the spool goes on in another one when the disk works again.
// The part of the frame that was written is cut off; only if that fails as well, and the process ends, and
// the part happens to be all of it, does the frame come back.
func (q *Queue) Append(m Meta, batch ...[]byte) (Pos, error) { return q.append(m, nil, batch) }

// AppendInDoubt is Append for a batch that was sent already, under a stamp, and has no answer yet. The
// cursor names the frame before it is written, so that no kill finds the one without the other: a cursor
// that names a frame which is not there means nothing. No frame of the queue may stand before it.
func (q *Queue) AppendInDoubt(m Meta, st Stamp, batch ...[]byte) (Pos, error) {
	return q.append(m, &st, batch)
}

func (q *Queue) append(m Meta, inDoubt *Stamp, batch [][]byte) (Pos, error) {
	s := q.s
	n, crc := 0, uint32(0)
	for _, p := range batch {
		n += len(p)
	}
	size := frameHeaderBytes + int64(len(q.topic)) + int64(n)
	if size > maxFrameBytes || size+emptySegment > s.cfg.MaxBytes-s.cfg.reserve() {
		return 0, fmt.Errorf("%w: %d bytes; the spool's bound is %d (--spool-max)", ErrTooLarge, size, s.cfg.MaxBytes)
	}
	for _, p := range batch {
		crc = updateChecksum(crc, p)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	reserve := s.cfg.reserve()
	if m.Replaces {
		reserve = 0
	}
	g, err := s.writable(size, reserve)
	if err != nil {
		return 0, err
	}
	s.cursors.begin(q)
	if inDoubt != nil {
		if err := q.Sending(makePos(g.number, g.size), *inDoubt); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrWrite, err)
		}
	}
	if m.WrittenAt == 0 {
		m.WrittenAt = s.now().UnixMilli()
	}
	h := frameHeader{
		salt: g.salt, offset: uint32(g.size), batchLen: uint32(n), batchCRC: crc, kind: kindFrame,
		topicLen: uint8(len(q.topic)), partition: q.partition, topicCRC: q.topicCRC, Meta: m,
	}
	h.put(s.head[:])
	copy(s.head[frameHeaderBytes:], q.topic)
	s.vec = append(s.vec[:0], s.head[:frameHeaderBytes+len(q.topic)])
	s.vec = append(s.vec, batch...)
	putMark(s.mark[:], g.salt, g.size+size)
	s.vec = append(s.vec, s.mark[:])
	err = g.file.WriteVec(s.vec, g.size)
	clear(s.vec) // they are the caller's
	if err != nil {
		return 0, s.writeFailed(g, err)
	}
	return s.written(q, g, size, m.Events), nil
}

// written takes a frame that is in the file into the queue.
func (s *Spool) written(q *Queue, g *segment, size int64, events int32) Pos {
	s.allowance -= size
	s.mu.Lock()
	defer s.mu.Unlock()
	pos := makePos(g.number, g.size)
	q.pushLocked(entry{pos: pos, size: uint32(size), events: events}, g)
	g.size += size
	g.grownLocked(s, g.size+markBytes)
	s.tail = pos
	s.stats.appended++
	if s.latched != nil {
		s.latched = nil
		s.log.Info("the spool can be written again", "segment", g.name)
	}
	return pos
}

// writable returns the segment for a frame of size bytes, if reserve bytes stay free. s.writing is held.
func (s *Spool) writable(size, reserve int64) (*segment, error) {
	p, err := s.place(size, reserve)
	if err != nil {
		return nil, err
	}
	if p.used+p.need > s.cfg.MaxBytes-reserve {
		if !s.reclaim(size + emptySegment) {
			return nil, fmt.Errorf("%w: %d of %d bytes in use (--spool-max)", ErrFull, p.used, s.cfg.MaxBytes)
		}
		return s.writable(size, reserve) // ends: there is less to reclaim each time
	}
	if err := s.checkFree(size + emptySegment); err != nil {
		return nil, err
	}
	if p.segment != nil {
		return p.segment, nil
	}
	s.endActive()
	g, err := s.newSegment()
	if err != nil {
		return nil, s.latch(err)
	}
	return g, nil
}

// place is where a frame goes.
type place struct {
	segment *segment // nil: a new one
	need    int64    // how many bytes more the spool then takes
	used    int64    // how many it takes now
}

// place looks for room without making any.
func (s *Spool) place(size, reserve int64) (p place, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return p, ErrClosed
	case s.latched != nil && s.now().Before(s.retryAt):
		return p, s.latched
	case s.stats.frames >= s.cfg.MaxFrames && reserve > 0:
		return p, fmt.Errorf("%w: %d frames, which is the bound on their memory", ErrFull, s.stats.frames)
	}
	p.used = s.used + s.aside.bytes.Load() + s.stats.quarantineBytes
	g := s.active
	switch {
	case g != nil && !g.broken && (g.size == segmentHeaderBytes || g.size+size <= s.cfg.SegmentBytes):
		p.segment, p.need = g, g.size+size+markBytes-g.length
	case s.spareFile != nil:
		p.need = size + emptySegment - s.spareFile.length
	default:
		p.need = size + emptySegment
	}
	p.need = max(p.need, 0)
	return p, nil
}

// checkFree asks the file system for the free space, once per freeStep.
func (s *Spool) checkFree(need int64) error {
	if s.allowance >= need {
		return nil
	}
	free, err := s.fs.Free(s.cfg.Dir)
	if err != nil {
		return s.latch(err)
	}
	if free-need < s.cfg.KeepFree {
		s.allowance = 0
		return fmt.Errorf("%w: %d bytes free on the file system, %d of them are left to others (--spool-keep-free)", ErrFull, free, s.cfg.KeepFree)
	}
	s.allowance = min(free-s.cfg.KeepFree, max(freeStep, need))
	return nil
}

// endActive ends the active segment, if there is one. s.writing is held.
func (s *Spool) endActive() {
	s.mu.Lock()
	var done []*segment
	if s.active != nil {
		done = s.retireLocked(s.active)
	}
	s.mu.Unlock()
	for _, g := range done {
		s.bury(g)
	}
}

// writeFailed ends a segment after a write that may have left a part of a frame behind. s.writing is held.
func (s *Spool) writeFailed(g *segment, err error) error {
	if g.file.Truncate(g.size) == nil { // else it is a torn tail to the next Open
		s.mu.Lock()
		s.used -= g.charged - g.size
		g.length, g.charged = g.size, g.size
		s.mu.Unlock()
	}
	s.endActive()
	return s.latch(err)
}

// latch notes that the disk failed. s.writing is held.
func (s *Spool) latch(err error) error {
	s.retryAt = s.now().Add(RetryEvery)
	s.allowance = 0
	wrapped := fmt.Errorf("%w: %w", ErrWrite, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latchLocked(wrapped)
	return wrapped
}

func (s *Spool) latchLocked(err error) {
	s.stats.writeErrors++
	if s.latched == nil {
		s.log.Error("the spool cannot be written; trying again every second", "error", err)
	}
	s.latched = err
}
