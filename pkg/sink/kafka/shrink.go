package kafka

import (
	"cmp"
	"errors"
	"slices"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// A topic that is deleted and made anew may have fewer partitions than before. What waits for those that are no more is
// placed by the new count: batches in memory by shrink, frames on disk by reroute. A broker that is behind may tell of
// fewer partitions as well, right after a topic has grown: see shrinkLooks.

// fewer is a count of partitions below that of the lanes, as the cluster tells it.
type fewer struct {
	partitions int  // 0: it tells of none
	looks      int  // in a row
	onDisk     bool // reroute removes the lanes, because frames must be placed, or more than fits beside the buffers
	placing    bool // a part of what the lanes have in memory is placed already; nothing is appended until the rest is
}

// shrink removes all lanes but the first n and places their batches; false: not now, not all of it now, or the spooler
// does it.
func (s *core) shrink(t *topic, n int) bool {
	gone := slices.Clone(t.lanes[n:])
	frames := false
	for _, l := range gone {
		frames = frames || l.hasFrames()
	}
	quiet := !slices.ContainsFunc(gone, func(l *lane) bool { return !l.quiet() })
	if frames || s.placesFrames() || quiet && s.disk.sp != nil && !t.fitsBeside(gone, n) {
		// What is carried may wait for a partition that is no more. It is placed as the rest is.
		t.fewer.onDisk, s.disk.holding, s.disk.carried = true, true, nil
		wake(s.disk.kick)
		return false
	}
	if !quiet {
		return false
	}
	if !t.fewer.placing {
		s.tellFewer(t, n)
	}
	for _, l := range gone {
		if !s.placeMemory(l, n, nil) {
			t.fewer.placing = true // the next look at the cluster goes on
			return false
		}
	}
	s.removeLanes(t, n)
	s.madeRoom()
	return true
}

// shrinkOnDisk leaves what partitions that are no more have frames of to the disk, and makes reroute find it.
// Nothing is sent meanwhile. false: a request or a write must end first. The spooler calls it.
func (s *placer) shrinkOnDisk(t *topic) bool {
	if !t.fewer.onDisk {
		return true
	}
	for l := range s.lanes() {
		if !l.quiet() {
			return false
		}
	}
	for _, l := range t.lanes {
		l.evictQueue() // frames that are placed go behind those that the lane has, and before what has none
	}
	n := t.fewer.partitions
	gone := slices.Clone(t.lanes[n:])
	if !t.fewer.placing {
		s.tellFewer(t, n)
	}
	s.removeLanes(t, n)
	t.gone = append(gone, t.gone...) // they may have what went before the memory of those that were gone already
	for _, l := range gone {
		s.evictHead(l)
	}
	if !t.dead {
		t.unassignedLane() // what comes now goes after it
	}
	return true
}

// evictHead leaves what goes before the frames on disk of a lane that is none of its topic's any more, the batch in doubt and
// the parts, to the disk as far as it has frames; what has none is placed at once, because the frames are placed behind it, or,
// where it comes behind one with a frame, stays to be placed after them. That goes beyond the bound for memory beside the
// buffers if it must: it is what was one batch.
func (s *placer) evictHead(l *lane) {
	t := l.topic
	if whole := l.disk.splitParent; whole != nil {
		s.partWithFrame(l, whole)
	}
	for (l.head != nil || len(l.children) > 0) && l.next().pos == 0 {
		b := l.take()
		l.head = nil
		s.placeBatch(b, len(t.lanes))
		s.goesOn = true // the frames wait until it has one, see stow
	}
	l.evictParts()
}

// partWithFrame gives the frame of a batch that was taken apart to another, which ends when each part has a frame of its own:
// then those that follow it in the queue can be placed. The batch waits until all of it is acknowledged. Where it was never sent
// the spool does not know its frame as one in doubt: a kill repeats what Kafka has of it, and no later process could tell.
func (s *core) partWithFrame(l *lane, whole *batch) {
	f := s.newBatch(l)
	f.pos, f.attempts, l.disk.splitParent = whole.pos, whole.attempts, f
	whole.pos = 0
	s.noteUnfinished(unplacedQueue{l.topic.name, l.partition}, f)
	whole.unsettledParts++ // until all have moved
	move := func(b *batch) {
		switch {
		case b.pins == whole:
			whole.unsettledParts--
		case b.coveredBy != whole:
			return
		}
		b.coveredBy = nil
		b.pin(f)
		if whole.attempts == 0 && b.pos == 0 {
			s.possibleDuplicates.Add(int64(b.events))
		}
	}
	for o := range s.lanes() {
		o.batches(move)
		for _, b := range o.disk.spilled { // one whose frame is not synced yet
			move(b)
		}
	}
	s.later(s.finish(whole, 0, s.finish(f, 0, nil)))
}

// evictParts leaves the batch in doubt and the parts to the disk, as far as they have frames. The others go behind those frames,
// and get theirs before what has waited behind them.
func (l *lane) evictParts() {
	s := l.topic.core
	if l.head != nil {
		l.children = append([]*batch{l.head}, l.children...)
		l.head = nil
	}
	for len(l.children) > 0 && l.children[0].pos != 0 {
		b := pop(&l.children)
		if b.rb != nil {
			s.evict(b)
		}
		l.extendDisk(max(l.disk.end, b.pos))
		if b.isKnown() {
			l.disk.spilled = append(l.disk.spilled, b)
		} else {
			s.freeBatch(b)
		}
	}
	slices.SortFunc(l.disk.spilled, func(a, b *batch) int { return cmp.Compare(a.pos, b.pos) })
	if len(l.children) == 0 {
		return
	}
	l.evictQueue()
	for _, b := range l.children {
		if b.child {
			b.child = false
			l.topic.childBytes -= b.private
		}
	}
	l.queue, l.children = append(l.children, l.queue...), nil
}

// tellFewer logs that what belongs to a topic that had more partitions is placed in n from now on.
func (s *core) tellFewer(t *topic, n int) {
	s.log.Warn("a topic was made anew with fewer partitions; events that waited for the others are placed by the new count",
		"topic", t.name, "was", len(t.lanes), "is", n)
}

// placesFrames reports whether the spooler places frames, or is about to. It places all of them by one count of partitions, which
// only the spooler may change meanwhile: a lane looks idle while the first frame is being written for it.
func (s *core) placesFrames() bool { return s.disk.holding && s.disk.sp != nil }

// removeLanes takes all lanes but the first n out of the topic. Their stamps go with them, so partitions that come back do
// not begin with an id that these may have used: the broker would take the first batch for one that it has.
func (s *core) removeLanes(t *topic, n int) {
	s.retired = max(s.retired, s.current.gen)
	for _, l := range t.lanes[n:] {
		s.lead(l, nil)
	}
	clear(t.lanes[n:])
	t.lanes = t.lanes[:n]
	t.fewer, t.grow, t.drainsLast = fewer{}, 0, nil
	if t.sticky >= n {
		t.sticky = 0
	}
}

// placeMemory moves what a lane has in memory to those of the topic's first n lanes where it belongs now, as far as the
// memory beside the buffers goes. It adds the batches that were moved to placed, if that is not nil, and reports whether that
// was all.
func (s *core) placeMemory(l *lane, n int, placed *[]waiting) (all bool) {
	l.seal()
	for b := l.next(); b != nil; b = l.next() {
		if !l.topic.hasBeside(b, n) {
			return false
		}
		l.take()
		l.head = nil
		l.abandonStamp(b)
		if placed != nil {
			*placed = append(*placed, waiting{b, b.life})
		}
		s.placeBatch(b, n)
	}
	return true
}

// placeBatch moves the records of a batch, which has left its lane, to those of the first n lanes where they belong now.
func (s *core) placeBatch(b *batch, n int) {
	t := b.lane.topic
	if b.maybeWritten { // in the log of a partition that may be gone
		s.suspect(b)
	}
	groups, err := s.regroup(t, n, b.rb.Records)
	if err != nil {
		panic("kafka: a batch of our own cannot be read: " + err.Error())
	}
	events := b.events
	for _, g := range groups {
		nb := s.newBatch(g.lane)
		nb.rb, nb.opened, nb.parent, nb.untimed = g.rb, b.opened, b, b.untimed
		nb.events = min(events, g.rb.Count())
		events -= nb.events
		b.unsettledParts++
		nb.pin(b.pins)
		s.enqueue(g.lane, nb)
	}
	b.events = 0
	b.toFrame = len(groups)
	s.release(t, b)
	s.later(s.finish(b, 0, b.unpin(nil))) // its own part, and what its children pin now
}

// placeUnassigned places what has waited in memory for topic t, in order, where no spooler does it: there is no spool, or it
// could not be opened. It is placed as far as there is memory beside the buffers, the next part when something of the
// topic has ended. What comes meanwhile waits behind it.
func (s *core) placeUnassigned(t *topic) {
	l := t.unassigned
	if l == nil || len(t.lanes) == 0 || s.disk.sp != nil || s.disk.holding {
		return
	}
	l.seal()
	n := len(t.lanes)
	for len(l.queue) > 0 {
		b := l.queue[0]
		if !t.hasBeside(b, n) {
			return
		}
		s.placeBatch(pop(&l.queue), n)
	}
	t.unassigned = nil
	s.madeRoom()
}

// fitsBeside reports whether all that these lanes of the topic have in memory fits beside the buffers when it is placed in
// the first n lanes.
func (t *topic) fitsBeside(lanes []*lane, n int) bool {
	need := t.besideBuffers(n)
	for _, l := range lanes {
		l.batches(func(b *batch) { need += b.needsBeside(n) })
	}
	return need <= t.core.cfg.OversizeBytes
}

// hasBeside reports whether b fits beside the buffers when it is placed in the first n lanes. One does at any time.
func (t *topic) hasBeside(b *batch, n int) bool {
	return t.makesRoomBeside(n, b.needsBeside(n))
}

// makesRoomBeside reports whether need bytes more fit beside the buffers in the first n lanes. If what waits there for
// partitions that cannot move is in the way, it goes elsewhere.
func (t *topic) makesRoomBeside(n int, need int64) bool {
	fits := func(kept int64) bool {
		used := t.besideBuffers(n) - kept
		return used <= 0 || used+need <= t.core.cfg.OversizeBytes
	}
	return fits(0) || fits(t.core.giveUpStuck(t, n))
}

// besideBuffers is how much memory outside of the buffers the first n lanes have.
func (t *topic) besideBuffers(n int) (bytes int64) {
	for _, l := range t.lanes[:min(n, len(t.lanes))] {
		bytes += l.private
	}
	return bytes
}

// needsBeside is how much memory the records of b take at most when they are placed in n lanes; 0: b is on disk only.
// Where they are compressed only the size of a whole batch is known.
func (b *batch) needsBeside(n int) int64 {
	if b.rb == nil {
		return 0
	}
	bytes := b.rb.Size()
	if b.rb.Codec() != recordbatch.None {
		bytes = max(bytes, b.lane.topic.core.cfg.BatchBytes)
	}
	return int64(bytes) + int64(min(n, b.rb.Count()))*(recordbatch.ChunkSize+recordbatch.Overhead)
}

// regroup sorts the records of a batch by those of the first n lanes of t where they belong, in order. An error: they cannot be
// read, or are more than a batch holds, as only a frame that we have not written can have.
func (s *core) regroup(t *topic, n int, records func(func(int64, []byte, []byte, []sink.Header) bool) error) ([]*laneGroup, error) {
	keyless := t.lanes[t.sticky%n]
	if s.cfg.Keyless == KeylessInstance && !t.dead {
		keyless = t.lanes[t.instance%n]
	}
	target := func(key []byte) *lane {
		if key == nil || t.dead {
			return keyless
		}
		return t.lanes[recordbatch.Partition(key, n)]
	}
	groups := map[*lane]*laneGroup{}
	var order []*laneGroup
	err := records(func(_ int64, key, value []byte, h []sink.Header) bool {
		l := target(key)
		if groups[l] == nil {
			groups[l] = &laneGroup{lane: l}
			order = append(order, groups[l])
		}
		groups[l].bytes += recordbatch.RecordSize(key, value, h)
		return true
	})
	if err != nil {
		return nil, err
	}
	for _, g := range order {
		g.rb = recordbatch.NewPrivateBatch(g.bytes)
	}
	fits := true
	err = records(func(ts int64, key, value []byte, h []sink.Header) bool {
		fits = groups[target(key)].rb.TryAppend(ts, key, value, h)
		return fits
	})
	if err == nil && !fits {
		err = errors.New("its records are more than one batch holds")
	}
	return order, err
}

// laneGroup holds the records of an unplaced batch that belong to one lane.
type laneGroup struct {
	lane       *lane
	rb         *recordbatch.Batch
	bytes      int
	compressed bool // its bytes are final
}

// unplaced is the lane whose frames lie in the queue of a partition that the topic does not have; nil: an earlier
// process's.
func (t *topic) unplaced(partition int32) *lane {
	for _, l := range t.gone {
		if l.partition == partition {
			return l
		}
	}
	if partition == unassignedPartition {
		return t.unassigned
	}
	return nil
}
