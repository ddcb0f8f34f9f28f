package kafka

import (
	"errors"
	"io"
	"slices"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// errIndexFull: the frames that were placed have to be delivered before more are, because each has an entry in memory.
// errNoneMoves: and no partition that has some can move now, though others could. To place on would leave a frame in part,
// and that would keep all lanes from going on.
var (
	errIndexFull = errors.New("as many frames as memory has entries for")
	errNoneMoves = errors.New("as many frames as memory has entries for, and their partitions take none")
)

// mayPlace returns errIndexFull or errNoneMoves if the index of the spool has no room for what becomes of a frame, and will
// have when lanes have delivered the frames that they have, of whichever topic. While the cluster is away all wait for it.
func (s *placer) mayPlace(t *topic, f *diskqueue.Frame) error {
	if left := s.disk.sp.Counts().FramesLeft; left >= len(t.lanes) || left >= int(f.Records) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	have, others := false, false
	for _, of := range s.all {
		for _, l := range of.lanes {
			switch stuck := l.stuck(); {
			case l.disk.any && !stuck:
				return errIndexFull
			case l.disk.any:
				have = true
			case of == t && !stuck:
				others = true
			}
		}
	}
	switch {
	case !have:
		return nil // the bound itself tells
	case others && s.unreachedSince.IsZero():
		return errNoneMoves
	}
	return errIndexFull
}

// placeBytes is how much of an unplaced queue is placed until that is made durable and noted.
const placeBytes = 256 << 10

// placeQueue places all frames of an unplaced queue. A frame is done when what replaces it is as durable as it was: a
// kill before that makes what replaces it void, and it is placed again.
func (s *placer) placeQueue(t *topic, q diskqueue.Queue) error {
	doubt, _, _ := q.Doubt()
	suspect, _ := q.Suspect()
	var buf []byte
	unconfirmed, frail := s.disk.frail[unplacedOf(q)]
	last := unconfirmed // placed
	done := last        // and noted
	safe := last        // durable, as far as the disk confirms that
	var g group         // what was written since done
	bytes := 0
	events := 0 // that were placed since done
	settle := func() error {
		if last == done {
			return nil
		}
		// Later events of the same keys follow what replaces the frames, so the frames must not come back after a loss
		// of power, however little else is promised then.
		if g.last != 0 {
			err := s.writer.syncOnDisk(func() error { return s.disk.sp.Sync(g.first, g.last) })
			frail = frail || err != nil && s.cfg.Settle == SettleOnDisk
		}
		done = last
		if frail {
			s.mu.Lock()
			s.leaveFrail(q, last, events)
			s.mu.Unlock()
		}
		var err error
		if !frail {
			err = s.writer.syncOnDisk(func() error { return s.disk.sp.DoneDurably(q, last) })
		}
		s.mu.Lock()
		if err != nil {
			s.possibleDuplicates.Add(int64(events)) // a loss of power brings back all of them
			s.writer.behindSince = time.Now()       // that is tried again
		}
		g, bytes, events = group{}, 0, 0
		s.disk.placing = s.halfPlaced()
		s.mu.Unlock()
		return err
	}
	for {
		p := s.placingOf(q)
		if p.pos == 0 {
			f, pos, err := q.PeekAfter(last, buf)
			if errors.Is(err, io.EOF) {
				return settle()
			}
			if err == nil {
				buf = f.Batch[:0]
				err = s.mayPlace(t, &f)
			}
			if err == nil {
				err = s.beginPlacing(t, q, pos, &f)
			}
			if errors.Is(err, diskqueue.ErrDamaged) {
				continue
			}
			if err != nil {
				return errors.Join(err, settle())
			}
		}
		if p.pos > safe {
			// A loss of power that took this frame and left what replaces it would let that overtake the frames before.
			safe = q.Tail()
			_ = s.writer.syncOnDisk(func() error { return s.disk.sp.Sync(p.pos, safe) })
		}
		whole := *p
		if err := s.placeFrame(p, &g); err != nil {
			return errors.Join(err, settle())
		}
		s.mu.Lock()
		if whole.pos == doubt || whole.pos <= suspect {
			s.possibleDuplicates.Add(int64(whole.events)) // in the log of a partition that may be gone
		} else {
			events += whole.events
		}
		s.mu.Unlock()
		last = whole.pos
		if bytes += whole.size; bytes >= placeBytes {
			if err := settle(); err != nil {
				return err
			}
		}
	}
}

// leaveFrail notes that the frames of a queue up to pos are placed, and that the disk did not confirm it. They stay until the
// next start: a loss of power may take what replaces them. Without one their events come twice. s.mu is held.
func (s *placer) leaveFrail(q diskqueue.Queue, pos diskqueue.Pos, events int) {
	if s.disk.frail == nil {
		s.disk.frail = map[unplacedQueue]diskqueue.Pos{}
	}
	s.disk.frail[unplacedOf(q)] = pos
	s.possibleDuplicates.Add(int64(events))
}

// placing is a frame of which a part was placed, for when the disk failed in between. It is not read again: its records are
// here, also when the disk has damaged it since.
type placing struct {
	pos       diskqueue.Pos // 0: none
	size      int           // of its batch
	events    int
	writtenAt int64
	groups    []*laneGroup // the rest
	placed    int          // events
	among     uint16       // how many partitions
	parent    *batch       // waits for it; nil: nothing does
}

// placingOf is the frame of a queue of which a part was placed.
func (s *placer) placingOf(q diskqueue.Queue) *placing {
	p := s.placing[unplacedOf(q)]
	if p == nil {
		p = &placing{}
		if s.placing == nil {
			s.placing = map[unplacedQueue]*placing{}
		}
		s.placing[unplacedOf(q)] = p
	}
	return p
}

// halfPlaced reports whether there is such a frame.
func (s *placer) halfPlaced() bool {
	for _, p := range s.placing {
		if p.pos != 0 {
			return true
		}
	}
	return false
}

// regroup sorts the records of partitions that have gone meanwhile by the count of now. core.mu is held.
func (p *placing) regroup() {
	var groups []*laneGroup
	for _, g := range p.groups {
		t := g.lane.topic
		if slices.Contains(t.lanes, g.lane) {
			groups = append(groups, g)
			continue
		}
		anew, err := t.core.regroup(t, len(t.lanes), g.rb.Records)
		if err != nil {
			panic("kafka: a batch of our own cannot be read: " + err.Error())
		}
		g.rb.Release()
		groups = append(groups, anew...)
		p.among = uint16(len(t.lanes))
	}
	p.groups = groups
}

// placeFrame writes the records of a frame to the queues of the partitions where they belong. Its acks wait for
// the new frames, which become part of g. After an error the next call goes on where it was.
func (s *placer) placeFrame(p *placing, g *group) error {
	var scratch recordbatch.Scratch
	for ; len(p.groups) > 0; p.groups = p.groups[1:] {
		part := p.groups[0]
		if !part.compressed {
			part.compressed = true
			_ = part.rb.Compress(recordbatch.Codec(s.codec.Load()), &scratch) // else it goes uncompressed
			part.rb.SealUnstamped()
		}
		if err := s.frameFront(part.lane); err != nil {
			return err
		}
		events := min(p.events-p.placed, part.rb.Count())
		m := diskqueue.Meta{Events: int32(events), Records: int32(part.rb.Count()), FirstTimestamp: part.rb.FirstTimestamp(), WrittenAt: p.writtenAt, Replaces: p.pos, Partitions: p.among}
		frame := [1]diskqueue.Write{{Queue: part.lane.disk.q, Meta: m, Batch: part.rb.Parts(nil), Checksum: part.rb.WireChecksum()}}
		if !s.writer.writing.lockUnless(s.writer.watchdog.untilHangs()) {
			return errDiskHangs
		}
		err := s.writer.onDisk(func() (err error) { _, err = s.disk.sp.Append(frame[:]); return err })
		s.writer.writing.Unlock()
		if err != nil {
			return err
		}
		p.placed += events
		placed := frame[0].Pos
		g.add(placed)
		s.mu.Lock()
		part.rb.Release()
		part.lane.evictQueue() // what has a frame already goes before it
		part.lane.extendDisk(placed)
		if p.parent != nil {
			nb := s.newBatch(part.lane)
			nb.pos, nb.events, nb.parent = placed, events, p.parent
			p.parent.unsettledParts++
			part.lane.rememberSpilled(nb)
		}
		s.mu.Unlock()
	}
	if p.parent != nil {
		s.mu.Lock()
		s.later(s.finish(p.parent, 0, nil)) // its own part: the others remain
		s.mu.Unlock()
	}
	*p = placing{}
	return nil
}

// frameFront gives frames to the batch in doubt of a lane and to what came out of it, as far as the disk takes them, before
// frames are placed behind them: later they could have none, and would stay in memory until Kafka has them. An error: it took
// only the first of them. Were frames placed now, and the partition gone then, the others would come behind those.
func (s *placer) frameFront(l *lane) error {
	s.mu.Lock()
	work := l.claimFront(s.writer.work[:0])
	s.mu.Unlock()
	if len(work) == 0 {
		return nil
	}
	g, err := s.writer.write(work)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer.work = work
	s.writer.submitLocked(g)
	if bare := l.bareHead(); bare != nil && bare != l.next() {
		return err
	}
	return nil
}

// beginPlacing sorts the records of a frame; diskqueue.ErrDamaged: it has none that can be read, and is discarded.
func (s *placer) beginPlacing(t *topic, q diskqueue.Queue, pos diskqueue.Pos, f *diskqueue.Frame) error {
	s.mu.Lock()
	groups, err := s.regroup(t, len(t.lanes), func(yield func(int64, []byte, []byte, []sink.Header) bool) error {
		return recordbatch.Decode(f.Batch, recordbatch.MaxRecordsBytes, yield)
	})
	if err != nil {
		s.mu.Unlock()
		if !q.Discard(pos, err) {
			return err
		}
		s.mu.Lock()
		s.count.toDisk(-int(f.Events))
		s.drop(DroppedDamaged, int(f.Events))
		s.mu.Unlock()
		return diskqueue.ErrDamaged
	}
	defer s.mu.Unlock()
	p := s.placingOf(q)
	*p = placing{pos: pos, size: len(f.Batch), events: int(f.Events), writtenAt: f.WrittenAt, groups: groups, among: uint16(len(t.lanes))}
	s.disk.placing = true
	if l := t.unplaced(q.Partition()); l != nil {
		waits := &l.disk.spilled
		for len(*waits) > 0 && (*waits)[0].pos < pos {
			s.lostFrame(pop(waits)) // it was damaged
		}
		if len(*waits) > 0 && (*waits)[0].pos == pos {
			p.parent = pop(waits)
			p.parent.pos, p.parent.events = 0, 0
		}
	}
	return nil
}
