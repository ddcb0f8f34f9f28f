package kafka

import (
	"errors"
	"io"
	"slices"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// While the disk is full or fails, frames that must be placed cannot be placed on disk. Then they are carried: one frame
// at a time is read into memory, its records go to their partitions, and it is done when all of them are settled or have
// frames of their own. New events of the topic wait among the unassigned meanwhile, because later events must not overtake.
// A kill lets the frame come back, so its events count as possible duplicates. What is in memory only is carried the same
// way, as many batches at a time as fit beside the buffers.

// carries reports whether something that is carried is under way. What waits in a lane that cannot send is passed over: it
// stays before what follows it there, and nothing else waits for it.
func (s *core) carries() (under bool) {
	if len(s.disk.carried) == 0 {
		return false
	}
	for l := range s.lanes() {
		if l.stuck() {
			continue
		}
		l.batches(func(b *batch) {
			for ; b != nil && !under; b = b.parent {
				under = s.isCarried(b)
			}
		})
	}
	return under
}

// isCarried reports whether b is what others are parts of that are carried.
func (s *core) isCarried(b *batch) bool {
	return len(s.disk.carried) > 0 && slices.Contains(s.disk.carried, waiting{b, b.life})
}

// unfinishedFrame is the last frame of an unplaced queue of which records are in memory: it was carried, or taken apart
// before its partition was gone.
type unfinishedFrame struct {
	whole waiting
	lane  *lane // that has it
}

// under reports whether the frame is not done.
func (f unfinishedFrame) under() bool { return f.whole.alive() || f.lane != nil && f.lane.disk.closing }

func (s *core) noteUnfinished(q unplacedQueue, whole *batch) {
	if s.disk.unfinished == nil {
		s.disk.unfinished = map[unplacedQueue]unfinishedFrame{}
	}
	s.disk.unfinished[q] = unfinishedFrame{waiting{whole, whole.life}, whole.lane}
}

// errUnderWay: what goes before frames that are to be placed has to arrive first.
var errUnderWay = errors.New("batches that go before are under way")

// errNoRoomToCarry: what is carried takes all the memory beside the buffers, and none of it may go elsewhere now.
var errNoRoomToCarry = errors.New("no memory to carry another frame in")

// carry takes the oldest frame of a queue that is not carried into memory, or the rest of the one that was placed in part,
// and lets the lanes go; with is what was placed in memory just before. An error: it cannot be read, or there is no room.
func (s *placer) carry(t *topic, q diskqueue.Queue, with []waiting) error {
	_, frail := s.disk.frail[unplacedOf(q)]
	from, ends := s.placedUpTo(q)
	if ends {
		return errUnderWay // it must not be carried again
	}
	p := s.placingOf(q)
	if p.pos == 0 {
		f, pos, err := q.PeekAfter(from, nil)
		if err == nil && !s.hasRoomFor(t, &f) {
			return errNoRoomToCarry
		}
		if err == nil {
			err = s.beginPlacing(t, q, pos, &f)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, diskqueue.ErrDamaged) {
			wake(s.disk.kick) // it was damaged, and is counted
			return nil
		}
		if err != nil {
			return err
		}
	}
	pos := p.pos
	behind := s.unplaced(s.topics)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range behind {
		if t := s.topicNamed(q.Topic()); !t.dead {
			t.unassignedLane() // later events wait there
		}
	}
	before := s.disk.unfinished[unplacedOf(q)]
	l := t.unplaced(q.Partition())
	if l == nil {
		l = before.lane
	}
	if l == nil {
		l = &lane{topic: t, partition: q.Partition(), disk: diskPart{q: q}}
	}
	b := p.parent
	if b == nil {
		b = s.newBatch(l)
	}
	var whole *batch // has the frame
	if frail {       // it stays, as those before it
		s.leaveFrail(q, pos, 0)
	} else {
		whole = s.newBatch(l)
		whole.pos, l.disk.splitParent = pos, whole
		if before.whole.alive() { // frames of a queue end in order
			before.whole.b.pin(whole)
		}
		s.noteUnfinished(unplacedOf(q), whole)
	}
	rest := p.events - p.placed
	s.count.toDisk(-rest)
	s.possibleDuplicates.Add(int64(p.events))
	for _, part := range p.groups {
		nb := s.newBatch(part.lane)
		nb.rb, nb.compressed, nb.parent = part.rb, part.compressed, b
		nb.events = min(rest, part.rb.Count())
		rest -= nb.events
		b.unsettledParts++
		nb.pin(whole)
		s.enqueue(part.lane, nb)
	}
	*p = placing{}
	s.disk.placing, s.goesOn = s.halfPlaced(), true
	s.disk.carried = append(with, waiting{b, b.life})
	for _, b := range []*batch{b, whole} {
		if b != nil {
			s.later(s.finish(b, 0, nil)) // its own part: the others remain
		}
	}
	s.writer.letGoLocked()
	return nil
}

// placedUpTo is up to where the frames of a queue were placed or are carried; ends: that the last of them is done is being
// written down.
func (s *placer) placedUpTo(q diskqueue.Queue) (pos diskqueue.Pos, ends bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pos = s.disk.frail[unplacedOf(q)]
	f := s.disk.unfinished[unplacedOf(q)]
	if f.whole.alive() {
		return max(pos, f.whole.b.pos), false
	}
	return pos, f.under()
}

// hasRoomFor reports whether the records of a frame fit beside the buffers.
func (s *placer) hasRoomFor(t *topic, f *diskqueue.Frame) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(t.lanes)
	need := int64(max(len(f.Batch), s.cfg.BatchBytes)) + int64(min(n, int(f.Records)))*(recordbatch.ChunkSize+recordbatch.Overhead)
	return t.makesRoomBeside(n, need)
}

// moves reports whether a lane of t has something to send, and can.
func (s *placer) moves(t *topic) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(t.lanes, func(l *lane) bool { return !l.idle() && !l.stuck() })
}

// stow gives frames to what waits in a topic's lanes where frames that are placed on disk now would go before it: what is
// carried, and what came before a queue without a partition. An error: the disk still takes nothing, or a request has some of it.
func (s *placer) stow(t *topic, q diskqueue.Queue) error {
	carries := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.disk.unfinished[unplacedOf(q)].under() || (s.goesOn || q.Partition() < 0) && !t.dead && t.holdsBare()
	}
	s.mu.Lock()
	hangs := s.disk.hangs
	s.mu.Unlock()
	if hangs {
		return errDiskHangs // nothing is sent while it would be waited for
	}
	if !carries() {
		return nil
	}
	s.mu.Lock()
	work := s.writer.work[:0]
	for _, l := range t.lanes {
		l.seal()
		work = l.claim(work)
	}
	s.mu.Unlock()
	g, err := s.writer.write(work)
	s.writer.work = work
	if g.last != 0 && s.cfg.Settle == SettleOnDisk {
		s.writer.confirm(&g, nil)
	}
	s.writer.endFrames()
	s.mu.Lock()
	for _, l := range t.lanes {
		if l.stuck() {
			l.evictQueue()
		}
	}
	s.mu.Unlock()
	if err == nil && carries() {
		err = errUnderWay
	}
	return err
}
