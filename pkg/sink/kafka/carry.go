package kafka

import (
	"errors"
	"io"
	"slices"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// While the disk is full or fails, frames that must be placed cannot be placed on disk. Then they are carried: one frame
// at a time is read into memory, its records go to their partitions, and it is done when all of them are settled. New
// events wait among the unassigned meanwhile, because later events must not overtake. A kill lets the frame come back, so its
// events count as possible duplicates. What is in memory only is carried the same way, as many batches at a time as fit
// beside the buffers.

// carried is what is being carried: a frame, or batches that have none and were placed in memory.
type carried struct {
	batches []waiting // one that stands for the frame, or those that were placed
	lane    *lane     // that has the frame; nil: it is none
}

// under reports whether something is under way, or the frame's end is being written. s.mu is held.
func (c *carried) under() bool {
	return c.lane != nil && c.lane.disk.closing || slices.ContainsFunc(c.batches, func(w waiting) bool { return w.b.life == w.life })
}

// has reports whether b is among what is carried.
func (c *carried) has(b *batch) bool {
	return len(c.batches) > 0 && slices.Contains(c.batches, waiting{b, b.life})
}

// carry takes the oldest frame of a queue into memory, or the rest of the one that was placed in part, and lets the lanes
// go. An error: it cannot be read.
func (s *placer) carry(t *topic, q diskqueue.Queue) error {
	unconfirmed, frail := s.disk.frail[unplacedOf(q)]
	f, pos, err := q.PeekAfter(unconfirmed, nil)
	if errors.Is(err, io.EOF) {
		wake(s.disk.kick) // it was damaged, and is counted
		return nil
	}
	if err == nil && s.placing.pos != pos {
		err = s.beginPlacing(t, q.Partition(), pos, &f)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.knownTopics() {
		t.unassignedLane() // later events wait there
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
		s.leaveFrail(q, pos, 0)
	} else {
		b.pos, l.disk.splitParent = pos, b
	}
	rest := int(f.Events) - s.placing.placed
	s.count.toDisk(-rest)
	s.possibleDuplicates.Add(int64(f.Events))
	for _, part := range s.placing.groups {
		nb := s.newBatch(part.lane)
		nb.rb, nb.compressed, nb.parent, nb.coveredBy = part.rb, part.compressed, b, b
		nb.events = min(rest, part.rb.Count())
		rest -= nb.events
		b.unsettledParts++
		s.enqueue(part.lane, nb)
	}
	s.placing, s.disk.placing, s.carries = placing{}, false, true
	s.disk.carried = carried{[]waiting{{b, b.life}}, l}
	s.later(s.finish(b, 0, nil)) // its own part: the others remain
	s.writer.letGoLocked()
	return nil
}
