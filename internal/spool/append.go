package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// reserve is what Append leaves of MaxBytes to frames that replace others.
func (c *Config) reserve() int64 { return min(c.MaxBytes/8, 2<<20) }

// The free space is asked for again when files have grown by so many bytes, or, where there is plenty, a part of it.
const (
	freeStep     = 1 << 20
	freePart     = 16
	mostFreeStep = 16 << 20
)

// writer is the state of the appending goroutine; Spool.writing guards it.
type writer struct {
	nextSegment uint32
	heads       []byte
	mark        [markBytes]byte
	vec         [][]byte
	allowance   int64     // bytes that files may grow by before the free space is asked for again
	looked      time.Time // when the folder and its files were last looked for
}

// maxTogether bounds what goes into one write: a short one is to be lost when it fails.
const maxTogether = 1 << 20

// Append writes frames to the ends of their queues, in order: into the page cache, so that they outlive the
// process; Sync makes them outlive the machine. As many as fit go in one write. No allocation for a few.
//
// n of them are there, in order. The error is about the next one: ErrFull, ErrWrite, ErrTooLarge, ErrClosed.
// After ErrWrite the segment gets no more frames; the spool goes on in another one when the disk works again.
// The part that was written is cut off; only if that fails as well, and the process ends, do those frames
// come back that were written whole.
func (s *Spool) Append(frames []Write) (n int, err error) {
	for i := range frames {
		sumUp(&frames[i])
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	for n < len(frames) && err == nil {
		group := frames[n : n+s.together(frames[n:])]
		if err = s.append(group); err == nil {
			n += len(group)
		}
	}
	return n, err
}

// Append is Spool.Append for one frame.
func (q *Queue) Append(m Meta, batch ...[]byte) (Pos, error) {
	w := [1]Write{{Queue: q, Meta: m, Batch: batch}}
	_, err := q.s.Append(w[:])
	return w[0].Pos, err
}

// sumUp computes the checksum, which needs no lock.
func sumUp(w *Write) {
	w.Pos = 0
	if w.Checksum != 0 {
		return
	}
	for _, p := range w.Batch {
		w.Checksum = updateChecksum(w.Checksum, p)
	}
}

// queueOf returns the queue that a frame is for; the caller got it from this spool.
func queueOf(w *Write) *Queue { return w.Queue.(*Queue) }

// sizes returns the bytes of a frame: of all of it, of what is before the batch, and of the batch.
func sizes(w *Write) (frame int64, head, batch int) {
	head = headBytes(w)
	for _, p := range w.Batch {
		batch += len(p)
	}
	return int64(head) + int64(batch), head, batch
}

func headBytes(w *Write) int {
	n := frameHeaderBytes + len(queueOf(w).topic)
	if w.Replaces != 0 {
		n += replacesBytes
	}
	return n
}

// together is how many of the frames certainly fit into the active segment, at least 1: what comes at a border of
// any kind is written by itself. s.writing is held.
func (s *Spool) together(frames []Write) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.active
	if g == nil || g.broken || s.latched != nil {
		return 1
	}
	used := s.used + s.aside.bytes.Load() + s.stats.quarantineBytes
	size := int64(0)
	for n < len(frames) {
		w := &frames[n]
		frame, _, _ := sizes(w)
		size += frame
		grown := max(g.size+size+markBytes-g.length, 0)
		if w.InDoubt || w.Replaces != 0 || size > maxTogether || g.size+size > s.cfg.SegmentBytes ||
			used+grown > s.cfg.MaxBytes-s.cfg.reserve() || s.stats.frames+n >= s.cfg.MaxFrames || s.allowance < grown {
			break
		}
		n++
	}
	return max(n, 1)
}

// append writes frames by one write; more than one only as together allows. s.writing is held.
func (s *Spool) append(frames []Write) error {
	size, reserve := int64(0), s.cfg.reserve()
	for i := range frames {
		frame, _, _ := sizes(&frames[i])
		size += frame
	}
	w := &frames[0]
	if size > maxFrameBytes || size+emptySegment > s.cfg.MaxBytes-reserve {
		return fmt.Errorf("%w: %d bytes; the spool's bound is %d (--spool-max)", ErrTooLarge, size, s.cfg.MaxBytes)
	}
	if w.Replaces != 0 {
		reserve = 0
	}
	g, err := s.writable(size, reserve)
	if err != nil {
		return err
	}
	for i := range frames {
		s.cursors.begin(queueOf(&frames[i]))
	}
	if w.InDoubt {
		if err := queueOf(w).Sending(diskqueue.PosOf(g.number, g.size), w.Stamp); err != nil {
			s.endTorn(g) // the cursor may name this place: no other frame gets it
			return s.latch(err)
		}
	}
	err = g.file.WriteVec(s.lay(frames, g), g.size)
	clear(s.vec) // they are the caller's
	if err != nil {
		if cut := s.endTorn(g); cut && isNoSpace(err) && s.removeEnded() { // else they may be there, and would be twice
			return s.append(frames) // ends: there is nothing to remove the next time
		}
		return s.latch(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range frames {
		s.writtenLocked(&frames[i], g)
	}
	s.allowance -= g.grownLocked(s, g.size+markBytes)
	if s.latched != nil {
		s.latched = nil
		if s.failedSyncs == 0 { // else the next sync tells
			s.log.Info("the spool can be written again", "segment", g.name)
		}
	}
	return nil
}

// lay puts frames one after the other, from the end of g on, with the end mark behind them.
func (s *Spool) lay(frames []Write, g *segment) [][]byte {
	const most = frameHeaderBytes + maxTopicBytes + replacesBytes
	if need := len(frames) * most; cap(s.heads) < need {
		s.heads = make([]byte, 0, need) // once and for all: the vector has views of it
	}
	s.vec, s.heads = s.vec[:0], s.heads[:0]
	at, now := g.size, s.now().UnixMilli()
	for i := range frames {
		w := &frames[i]
		q := queueOf(w)
		size, headLen, batchLen := sizes(w)
		if w.WrittenAt == 0 {
			w.WrittenAt = now
		}
		h := frameHeader{
			salt: g.salt, offset: uint32(at), batchLen: uint32(batchLen), batchCRC: w.Checksum, kind: kindFrame,
			topicLen: uint8(len(q.topic)), partition: q.partition, topicCRC: q.topicCRC, Meta: w.Meta,
		}
		head := s.heads[len(s.heads):][:headLen]
		tail := head[frameHeaderBytes:]
		if copy(tail, q.topic); w.Replaces != 0 {
			binary.LittleEndian.PutUint64(tail[len(q.topic):], uint64(w.Replaces))
			h.kind, h.topicCRC = kindPlaced, checksum(tail)
		}
		h.put(head)
		s.heads = s.heads[:len(s.heads)+len(head)]
		s.vec = append(append(s.vec, head), w.Batch...)
		at += size
	}
	putMark(s.mark[:], g.salt, at)
	s.vec = append(s.vec, s.mark[:])
	return s.vec
}

// writtenLocked takes a frame that is in the file into its queue.
func (s *Spool) writtenLocked(w *Write, g *segment) {
	size, _, _ := sizes(w)
	w.Pos = diskqueue.PosOf(g.number, g.size)
	queueOf(w).pushLocked(entry{pos: w.Pos, size: uint32(size), events: w.Events}, g, w.Partitions)
	g.size += size
	s.tail = w.Pos
	s.stats.appended++
}

// writable returns the segment for a frame of size bytes, if reserve bytes stay free. s.writing is held.
func (s *Spool) writable(size, reserve int64) (*segment, error) {
	p, err := s.place(size, reserve)
	if err != nil {
		return nil, err
	}
	if p.segment == nil && s.removeEnded() {
		return s.writable(size, reserve) // one of the files may be the spare one now
	}
	if p.used+p.need > s.cfg.MaxBytes-reserve {
		if !s.removeEnded() && !s.reclaim(size+emptySegment) {
			return nil, fmt.Errorf("%w: %d of %d bytes in use (--spool-max)", ErrFull, p.used, s.cfg.MaxBytes)
		}
		return s.writable(size, reserve) // ends: there is less to reclaim each time
	}
	if err := s.checkFree(p.need, reserve == 0); err != nil {
		// Others have filled the disk: blocks that were given back would go to them. But a dead segment's file can be used again.
		if !errors.Is(err, ErrFull) || !s.removeEnded() && !s.retireDead() {
			return nil, err
		}
		return s.writable(size, reserve) // ends: there is no active segment now
	}
	switch ended, err := s.look(p.segment); {
	case err != nil:
		return nil, s.latch(err)
	case ended:
		return s.writable(size, reserve) // ends: there is no active segment now
	case p.segment != nil:
		return p.segment, nil
	}
	spare := s.takeSpare() // first: then the file of the segment that ends can be the next spare one
	s.endActive()
	if spare == nil {
		spare = s.takeSpare()
	}
	g, err := s.newSegment(spare)
	if err != nil {
		return nil, s.latch(err)
	}
	return g, nil
}

// Room is nil if a batch of so many bytes could be written now, else why not, as Append would say. After a failed write it
// tries the disk: it begins the next segment.
func (s *Spool) Room(batch int64) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	_, err := s.writable(frameHeaderBytes+maxTopicBytes+batch, s.cfg.reserve())
	return err
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
	case s.stats.frames >= s.cfg.MaxFrames && reserve > 0, s.stats.frames >= s.cfg.mostFrames():
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

// checkFree asks the file system whether files may grow by need bytes, not before each write. What goes into blocks that a
// file has may always be written. What replaces other frames may use what is left to others: those frames go for it, so
// that it ends with less than it began with, and nothing of the partition is delivered before.
func (s *Spool) checkFree(need int64, replaces bool) error {
	if s.allowance >= need {
		return nil
	}
	free, err := s.fs.Free(s.cfg.Dir)
	if err != nil {
		return s.latch(err)
	}
	if replaces && free-need >= 0 && free-need < s.cfg.KeepFree {
		s.allowance = 0
		return nil
	}
	if free-need < s.cfg.KeepFree {
		s.allowance = 0
		return fmt.Errorf("%w: %d bytes free on the file system, %d of them are left to others (--spool-keep-free)", ErrFull, free, s.cfg.KeepFree)
	}
	surplus := free - s.cfg.KeepFree
	s.allowance = min(surplus, max(freeStep, need, min(surplus/freePart, mostFreeStep)))
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
		s.removeSegment(g)
	}
}

// endTorn ends a segment after a write that may have left a part of a frame behind. false: that part could not be cut off, and the
// next Open finds it as a torn tail. s.writing is held.
func (s *Spool) endTorn(g *segment) (cut bool) {
	if cut = g.file.Truncate(g.size) == nil; cut {
		s.mu.Lock()
		s.used -= g.charged - g.size
		g.length, g.charged = g.size, g.size
		s.mu.Unlock()
	}
	s.endActive()
	return cut
}

// latch notes that the disk failed. s.writing is held.
func (s *Spool) latch(err error) error {
	s.allowance = 0
	wrapped := fmt.Errorf("%w: %w", ErrWrite, err)
	if isNoSpace(err) { // others were faster than what was known to be free
		wrapped = fmt.Errorf("%w: %w", ErrFull, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latchLocked(wrapped)
	return wrapped
}

// isNoSpace reports whether the disk works and has no room.
func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// maxDoublings bounds the pause after syncs that failed one after the other: each costs a segment.
const maxDoublings = 6

func (s *Spool) latchLocked(err error) {
	s.stats.writeErrors++
	pause := RetryEvery << max(min(s.failedSyncs, maxDoublings)-1, 0)
	if s.latched == nil && s.failedSyncs <= 1 {
		s.log.Error("the spool cannot be written; it is tried again, after longer and longer pauses if the disk does not confirm", "error", err)
	}
	s.latched, s.retryAt = err, s.now().Add(pause)
}
