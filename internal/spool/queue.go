package spool

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// Queue is one partition's frames, first in first out. Its methods are safe for concurrent use, but
// only one owner at a time makes sense of them: a partition's lane.
type Queue struct {
	s         *Spool
	topic     string
	partition int32
	topicCRC  uint32

	cursor cursor // guarded by Spool.cursors.mu

	// Guarded by Spool.mu.
	index  index
	frames int
	events int64
	bytes  int64
	unread Pos       // the frame that could not be read last time
	since  time.Time // for how long

	partitions uint16 // of the newest frame's Meta

	displaced bool // Open found frames of it in a segment of another number: the cursor does not know them
}

// GiveUpAfter is how long a frame is tried that the disk cannot read.
const GiveUpAfter = 10 * time.Second

var errDamaged = errors.New("spool: damaged frame")

// Queue returns the queue of a partition, which is the same one each time. The topic is at most 249
// bytes long, as Kafka has it; a longer one is cut.
func (s *Spool) Queue(topic string, id int32) diskqueue.Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queueLocked(topic, id)
}

func (s *Spool) queueLocked(topic string, id int32) *Queue {
	if len(topic) > maxTopicBytes {
		topic = topic[:maxTopicBytes]
	}
	q := s.queues[partition{topic, id}]
	if q == nil {
		topic = strings.Clone(topic) // it may be a view
		q = &Queue{s: s, topic: topic, partition: id, topicCRC: checksum([]byte(topic)), cursor: cursor{slot: noSlot}}
		s.queues[partition{topic, id}] = q
		s.order = append(s.order, q)
	}
	return q
}

// Queues returns the queues that have frames: after Open, all that were recovered.
func (s *Spool) Queues() []diskqueue.Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []diskqueue.Queue
	for _, q := range s.order {
		if q.frames > 0 {
			out = append(out, q)
		}
	}
	return out
}

// Topic and Partition say whose queue it is.
func (q *Queue) Topic() string { return q.topic }

// Partition is the partition's number.
func (q *Queue) Partition() int32 { return q.partition }

// Len counts the frames that are not done, their events, and their bytes on disk.
func (q *Queue) Len() (frames int, events, bytes int64) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	return q.frames, q.events, q.bytes
}

// Head is the oldest frame that is not done, its size on disk and its events; false: there is none. It
// reads nothing.
func (q *Queue) Head() (pos Pos, bytes int64, events int, ok bool) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	e, ok := q.afterLocked(0)
	return e.pos, int64(e.size), int(e.events), ok
}

// HeadWritten reads when the oldest frame that is not done was written, ms since the Unix epoch; 0: there is none, or
// its header cannot be read, of which PeekAfter tells.
func (q *Queue) HeadWritten() (pos Pos, at int64) {
	s := q.s
	s.mu.Lock()
	e, ok := q.afterLocked(0)
	if !ok || s.closed {
		s.mu.Unlock()
		return 0, 0
	}
	g := s.segments[e.pos.Segment()]
	g.refs++
	s.mu.Unlock()
	var buf [frameHeaderBytes]byte
	_, err := g.file.ReadAt(buf[:], e.pos.Offset())
	s.mu.Lock()
	s.unref(g)
	s.mu.Unlock()
	var h frameHeader
	if err != nil || !h.parse(buf[:], g.salt, e.pos.Offset()) {
		return e.pos, 0
	}
	return e.pos, h.WrittenAt
}

// Tail is the newest frame that is not done; 0: there is none.
func (q *Queue) Tail() Pos {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	return q.newestLocked()
}

// Partitions is how many partitions the topic had when the newest frame's records were placed; 0: not known.
func (q *Queue) Partitions() uint16 {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	return q.partitions
}

func (q *Queue) pushLocked(e entry, g *segment, partitions uint16) {
	s := q.s
	q.partitions = partitions
	s.pushEntry(&q.index, e)
	g.live++
	q.frames++
	q.events += int64(e.events)
	q.bytes += int64(e.size)
	s.stats.frames++
	s.stats.events += int64(e.events)
}

// forgetLocked takes a frame out of the counts; a segment that is done with it is appended to dst.
func (q *Queue) forgetLocked(dst []*segment, e *entry) []*segment {
	s := q.s
	g := s.segments[e.pos.Segment()]
	g.live--
	g.dead += int64(e.size)
	q.frames--
	q.events -= int64(e.events)
	q.bytes -= int64(e.size)
	s.stats.frames--
	s.stats.events -= int64(e.events)
	e.size = 0
	return s.dropLocked(dst, g)
}

// Peek reads the oldest frame that is not done; io.EOF when there is none.
func (q *Queue) Peek(buf []byte) (Frame, Pos, error) { return q.PeekAfter(0, buf) }

// PeekAfter reads the oldest frame that is not done and is behind pos; io.EOF when there is none. It is
// for reading ahead while the frame at pos is under way.
//
// Batch is in buf's memory if that is large enough, else in new memory: pass f.Batch[:0] the next time
// and nothing is allocated. A frame that is damaged is put into quarantine and the next one is returned;
// one that the disk cannot read is an error, and after GiveUpAfter as one that is damaged.
func (q *Queue) PeekAfter(pos Pos, buf []byte) (Frame, Pos, error) {
	return q.readNext(pos, math.MaxUint64, buf)
}

// Read reads the frame at pos as PeekAfter does. io.EOF: it is done. diskqueue.ErrDamaged: it is in quarantine, and its events
// are the caller's to count: Counts().Lost does not have them.
func (q *Queue) Read(pos Pos, buf []byte) (Frame, error) {
	f, _, err := q.readNext(pos-1, pos, buf)
	return f, err
}

// readNext reads the oldest frame behind after and up to last.
func (q *Queue) readNext(after, last Pos, buf []byte) (Frame, Pos, error) {
	s := q.s
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return Frame{}, 0, ErrClosed
		}
		e, ok := q.afterLocked(after)
		if !ok || e.pos > last {
			s.mu.Unlock()
			return Frame{}, 0, io.EOF
		}
		g := s.segments[e.pos.Segment()]
		g.refs++
		s.mu.Unlock()

		f, err := q.read(g, e, buf)

		s.mu.Lock()
		if err == nil {
			q.unread = 0
			s.unref(g)
			s.mu.Unlock()
			return f, e.pos, nil
		}
		giveUp, there := q.giveUpLocked(e, err)
		if !giveUp {
			s.unref(g)
		}
		s.mu.Unlock()
		switch {
		case giveUp && e.pos == last:
			q.discard(g, e, err, true)
			return Frame{}, 0, diskqueue.ErrDamaged
		case giveUp:
			q.discard(g, e, err, false)
		case there:
			return Frame{}, 0, fmt.Errorf("spool: frame %v cannot be read: %w", e.pos, err)
		}
	}
}

// Discard ends the frame at pos, whose checksum is good and whose batch its reader cannot make sense of, as one that Read finds
// damaged. false: it is done, or the spool is closed.
func (q *Queue) Discard(pos Pos, reason error) bool {
	s := q.s
	s.mu.Lock()
	e, ok := q.afterLocked(pos - 1)
	if s.closed || !ok || e.pos != pos {
		s.mu.Unlock()
		return false
	}
	g := s.segments[pos.Segment()]
	g.refs++
	s.mu.Unlock()
	q.discard(g, e, reason, true)
	return true
}

// afterLocked returns a copy of the first entry behind pos.
func (q *Queue) afterLocked(pos Pos) (found entry, ok bool) {
	if e := q.index.oldest(); e != nil && e.size > 0 && e.pos > pos {
		return *e, true // nearly always
	}
	for b := q.index.first; b != nil; b = b.next {
		for i := b.head; i < b.tail; i++ {
			if e := &b.entries[i]; e.size > 0 && e.pos > pos {
				return *e, true
			}
		}
	}
	return entry{}, false
}

// newestLocked is the position of the newest frame; 0 when there is none.
func (q *Queue) newestLocked() (pos Pos) {
	q.index.each(func(e *entry) bool {
		if e.size > 0 {
			pos = e.pos
		}
		return true
	})
	return pos
}

// read reads and checks one frame: the batch to the front of the memory, its header behind it.
func (q *Queue) read(g *segment, e entry, buf []byte) (Frame, error) {
	head := frameHeaderBytes + len(q.topic)
	n := int(e.size) - head
	if cap(buf) < int(e.size) {
		buf = make([]byte, e.size)
	}
	buf = buf[:e.size]
	if _, err := g.file.ReadAt(buf[n:], e.pos.Offset()); err != nil {
		return Frame{}, err
	}
	var h frameHeader
	if !h.parse(buf[n:], g.salt, e.pos.Offset()) || h.kind != kindFrame && h.kind != kindPlaced || h.size() != int64(e.size) ||
		h.partition != q.partition || string(buf[n+frameHeaderBytes:]) != q.topic {
		return Frame{}, errDamaged
	}
	batch := buf[:n-h.extra()]
	if _, err := g.file.ReadAt(batch, e.pos.Offset()+int64(head+h.extra())); err != nil {
		return Frame{}, err
	}
	if checksum(batch) != h.batchCRC {
		return Frame{}, errDamaged
	}
	return Frame{Topic: q.topic, Partition: q.partition, Meta: h.Meta, Batch: batch}, nil
}

// giveUpLocked decides about a frame that could not be read; there is false when it was done meanwhile,
// so that what was read means nothing.
func (q *Queue) giveUpLocked(e entry, err error) (giveUp, there bool) {
	if now, ok := q.afterLocked(e.pos - 1); !ok || now.pos != e.pos {
		return false, false
	}
	if errors.Is(err, errDamaged) || errors.Is(err, io.EOF) {
		return true, true
	}
	if q.unread != e.pos {
		q.unread, q.since = e.pos, q.s.now()
	}
	return q.s.now().Sub(q.since) >= GiveUpAfter, true
}

// Done says that the frames up to and including pos are done: acknowledged, or given up for a counted
// reason. It advances the cursor and removes segments that are done. Positions that are done already
// are no error. An error means that the cursor could not be written: the frames are done, but come
// back, and are counted as suspect, if the process ends before a later cursor is written.
func (q *Queue) Done(pos Pos) error {
	done, err := q.end(pos, false)
	if err != nil {
		return err
	}
	err = q.WriteCursor()
	for _, g := range done {
		q.s.removeSegment(g)
	}
	return err
}

// DoneSoon is Done for a frame that was sent under the stamp of the last Sending, without a call of the disk: the
// cursor is written with the next Sending of the queue, by WriteCursor, WriteCursors or Close, and segments that are
// done are removed by WriteCursors, Close, and whatever needs their room. Until then a kill makes the frame come
// back as the one in doubt, which the receiver recognises by its stamp, provided that nothing else was sent after it.
func (q *Queue) DoneSoon(pos Pos) error {
	s := q.s
	s.mu.Lock()
	defer s.mu.Unlock()
	done, err := q.endLocked(pos, false)
	s.ended = append(s.ended, done...)
	for _, g := range done {
		s.used += g.charged // until the file goes
	}
	return err
}

// DoneDurably is Queue.Done that makes the cursor outlive the machine before any segment goes in which these frames are: a loss of
// power in between would take some of them and bring back others, which may be older. After an error those segments stay
// until WriteCursors succeeds.
func (s *Spool) DoneDurably(q diskqueue.Queue, pos Pos) error {
	if _, err := q.(*Queue).end(pos, true); err != nil {
		return err
	}
	err := s.WriteCursors()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.held, func(h held) bool { return h.by == q }) {
		return nil // others' cursors are written later
	}
	return err
}

func (q *Queue) end(pos Pos, hold bool) ([]*segment, error) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	return q.endLocked(pos, hold)
}

// endLocked advances the cursor to pos, takes the frames up to there out of the queue, and returns the segments that are done. hold:
// the segments in which these frames are stay until WriteCursors has made the cursor durable. s.mu is held.
func (q *Queue) endLocked(pos Pos, hold bool) (done []*segment, err error) {
	s := q.s
	if s.closed {
		return nil, ErrClosed
	}
	s.cursors.done(q, pos) // first: what is held is let go when the cursors are durable
	for e := q.index.oldest(); e != nil && e.pos <= pos; e = q.index.oldest() {
		if e.size > 0 {
			if hold {
				q.holdLocked(s.segments[e.pos.Segment()])
			}
			done = q.forgetLocked(done, e)
		}
		s.popEntry(&q.index)
	}
	return done, nil
}

// held is a segment in which frames of a queue were that DoneDurably has ended.
type held struct {
	segment *segment
	by      *Queue
}

// holdLocked keeps g until letGo.
func (q *Queue) holdLocked(g *segment) {
	h := held{g, q}
	if n := len(q.s.held); n > 0 && q.s.held[n-1] == h {
		return
	}
	g.holds++
	q.s.held = append(q.s.held, h)
}

// takeHeld returns the segments that are held, for letGo.
func (s *Spool) takeHeld() (all []held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, s.held = s.held, nil
	return all
}

// letGo ends what takeHeld began, and returns the segments that are done. Those whose cursor was not written, or not synced, are
// held on.
func (s *Spool) letGo(all []held, synced bool) (done []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range all {
		if !synced || s.cursors.isBehind(h.by) {
			s.held = append(s.held, h)
			continue
		}
		h.segment.holds--
		done = s.dropLocked(done, h.segment)
	}
	return done
}

// removeEnded removes the segments that DoneSoon has left; false: there were none.
func (s *Spool) removeEnded() bool {
	s.mu.Lock()
	done := s.ended
	s.ended = nil
	for _, g := range done {
		s.used -= g.charged
	}
	if len(done) > 0 && errors.Is(s.latched, ErrFull) {
		s.retryAt = time.Time{} // the disk is asked at once
	}
	s.mu.Unlock()
	for _, g := range done {
		s.removeSegment(g)
	}
	return len(done) > 0
}
