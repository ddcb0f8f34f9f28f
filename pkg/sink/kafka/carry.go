package kafka

import (
	"errors"
	"io"
)

// While the disk is full or fails, frames that must be placed cannot be placed on disk. Then they are carried: one frame
// at a time is read into memory, its records go to their partitions, and it is done when all of them are settled. New
// events wait in the lobby meanwhile, because later events must not overtake. A kill lets the frame come back, so its
// events count as possible duplicates.

// carried is the frame that is being carried.
type carried struct {
	batch *batch // stands for the frame; nil: there is none
	life  uint32
	lane  *lane // that has the frame
}

// under reports whether a frame is under way, or its end is being written. s.mu is held.
func (c *carried) under() bool {
	return c.batch != nil && (c.batch.life == c.life || c.lane.disk.closing)
}

// carry takes the oldest frame of a queue into memory, or the rest of the one that was placed in part, and lets the lanes
// go. An error: it cannot be read.
func (s *placer) carry(t *topic, q SpoolQueue) error {
	_, frail := s.frail[strayOf(q)]
	f, err := q.PeekAfter(s.frail[strayOf(q)], nil)
	if errors.Is(err, io.EOF) {
		wake(s.disk.kick) // it was damaged, and is counted
		return nil
	}
	if err == nil && s.placing.pos != f.Pos {
		err = s.beginPlacing(t, q.Partition(), &f)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.dead {
		t.inLobby() // later events wait there
	}
	l := t.unplaced(q.Partition())
	if l == nil {
		l = &lane{topic: t, partition: q.Partition(), disk: diskPart{q: q}}
	}
	b := s.placing.parent
	if b == nil {
		b = s.newBatch(l)
	}
	if frail { // it stays, as those before it
		s.leaveFrail(q, f.Pos, 0)
	} else {
		b.pos, l.disk.apart = f.Pos, b
	}
	rest := f.Events - s.placing.placed
	s.count.toDisk(-rest)
	s.possibleDuplicates.Add(int64(f.Events))
	for _, lot := range s.placing.lots {
		nb := s.newBatch(lot.lane)
		nb.rb, nb.ready, nb.parent, nb.root = lot.rb, lot.ready, b, b
		nb.events = min(rest, lot.rb.Count())
		rest -= nb.events
		b.parts++
		s.enqueue(lot.lane, nb)
	}
	s.placing, s.carries = placing{}, true
	s.disk.carried = carried{b, b.life, l}
	s.later(s.finish(b, 0, nil)) // its own part: the others remain
	s.writer.letGoLocked()
	return nil
}
