package kafka

import (
	"slices"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// A topic that is deleted and made anew may have fewer partitions than before. What waits for those that are no more is
// placed by the new count: batches in memory by shrink, frames on disk by placeStrays. A broker that is behind may tell of
// fewer partitions as well, right after a topic has grown: see shrinkLooks.

// fewer is a count of partitions below that of the lanes, as the cluster tells it.
type fewer struct {
	partitions int  // 0: it tells of none
	looks      int  // in a row
	onDisk     bool // placeStrays removes the lanes, because frames must be placed
}

// shrink removes all lanes but the first n and places their batches; false: not now, or the spooler does it.
func (s *core) shrink(t *topic, n int) bool {
	gone := slices.Clone(t.lanes[n:])
	frames := false
	for _, l := range gone {
		if l.disk.apart != nil {
			return false // parts of a frame are in the log: only a restart can tell the rest from them
		}
		frames = frames || l.hasFrames()
	}
	if frames {
		t.fewer.onDisk, s.disk.holding = true, true
		wake(s.disk.kick)
		return false
	}
	for _, l := range gone {
		if !l.quiet() {
			return false
		}
	}
	s.removeLanes(t, n)
	for _, l := range gone {
		s.placeMemory(l, false)
	}
	return true
}

// shrinkOnDisk leaves what partitions that are no more have frames of to the disk, and makes placeStrays find it.
// Nothing is sent meanwhile. false: a request or a write must end first. The spooler calls it.
func (s *core) shrinkOnDisk(t *topic) bool {
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
	n, had := t.fewer.partitions, len(t.lanes)
	gone := slices.Clone(t.lanes[n:])
	s.removeLanes(t, n)
	for _, l := range gone {
		l.evictHead()
	}
	t.gone = append(t.gone, gone...)
	if !t.dead {
		t.inLobby() // what comes now goes after it
	}
	s.tellFewer(t, had)
	return true
}

// evictHead leaves the lane's batch in doubt to the disk, if it has a frame; else it is placed before the frames. The
// lane is none of the topic's any more.
func (l *lane) evictHead() {
	s, b := l.topic.core, l.doubt
	if b == nil && len(l.parts) == 0 {
		return
	}
	if b == nil || b.pos == 0 {
		head := &lane{topic: l.topic, partition: l.partition, doubt: b, parts: l.parts}
		l.doubt, l.parts = nil, nil
		s.placeMemory(head, true)
		return
	}
	if b.rb != nil {
		s.evict(b)
	}
	l.doubt = nil
	l.extendDisk(max(l.disk.end, b.pos))
	if len(b.acks) > 0 || b.parent != nil {
		l.disk.spilled = slices.Insert(l.disk.spilled, 0, b)
	} else {
		s.freeBatch(b)
	}
}

// tellFewer logs that a topic that had more partitions has fewer now.
func (s *core) tellFewer(t *topic, had int) {
	s.log.Warn("a topic was made anew with fewer partitions; what waited for the others is placed by the new count",
		"topic", t.name, "was", had, "is", len(t.lanes))
}

// removeLanes takes all lanes but the first n out of the topic.
func (s *core) removeLanes(t *topic, n int) {
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

// placeMemory moves what a lane has in memory to the lanes where it belongs now. The lane is none of the topic's
// any more. Where first is true it goes before the frames of those lanes.
func (s *core) placeMemory(l *lane, first bool) {
	l.seal()
	var list []*batch
	l.batches(func(b *batch) { list = append(list, b) })
	l.doubt, l.parts, l.queue = nil, nil, nil
	for _, b := range list {
		if b.maybeWritten { // in the log of a partition that may be gone
			s.suspect(b)
		}
		groups, err := s.regroup(l.topic, b.rb.Records)
		if err != nil {
			panic("kafka: a batch of our own cannot be read: " + err.Error())
		}
		events := b.events
		for _, g := range groups {
			nb := s.newBatch(g.lane)
			nb.rb, nb.opened, nb.parent, nb.untimed, nb.root = g.rb, b.opened, b, b.untimed, b.root
			nb.events = min(events, g.rb.Count())
			events -= nb.events
			b.parts++
			if first {
				g.lane.topic.adoptWhole(nb)
				g.lane.parts = append(g.lane.parts, nb)
				g.lane.wantFrame()
			} else {
				s.enqueue(g.lane, nb)
			}
		}
		b.events = 0
		b.partsGetFrames(b.root, len(groups))
		s.unload(l.topic, b)
		s.later(s.finish(b, 0, nil))
	}
}

// placeLobby places what has waited in memory for topic t, in order, where no spooler does it: there is no spool, or it
// could not be opened. Its memory then is outside of the buffers, so it is placed piece by piece, the next one when
// something of the topic has ended. What comes meanwhile waits behind it.
func (s *core) placeLobby(t *topic) {
	l := t.lobby
	if l == nil || len(t.lanes) == 0 || s.disk.sp != nil || s.disk.holding {
		return
	}
	l.seal()
	for len(l.queue) > 0 {
		b := l.queue[0]
		if n := t.private - t.halves - l.private; n != 0 && n+int64(b.rb.Size()) > s.cfg.OversizeBytes {
			return
		}
		pop(&l.queue)
		s.placeMemory(&lane{topic: t, partition: l.partition, queue: []*batch{b}}, false)
	}
	t.lobby = nil
	s.madeRoom()
}

// regroup sorts the records of a batch by the lanes of t where they belong, in order.
func (s *core) regroup(t *topic, records func(func(int64, []byte, []byte, []sink.Header) bool) error) ([]*lot, error) {
	keyless := t.lanes[t.sticky]
	if s.cfg.Keyless == KeylessInstance && !t.dead {
		keyless = t.lanes[t.instance%len(t.lanes)]
	}
	target := func(key []byte) *lane {
		if key == nil || t.dead {
			return keyless
		}
		return t.lanes[recordbatch.Partition(key, len(t.lanes))]
	}
	lots := map[*lane]*lot{}
	var order []*lot
	err := records(func(_ int64, key, value []byte, h []sink.Header) bool {
		l := target(key)
		if lots[l] == nil {
			lots[l] = &lot{lane: l}
			order = append(order, lots[l])
		}
		lots[l].bytes += recordbatch.RecordSize(key, value, h)
		return true
	})
	if err != nil {
		return nil, err
	}
	for _, g := range order {
		g.rb = recordbatch.NewPrivateBatch(g.bytes)
	}
	err = records(func(ts int64, key, value []byte, h []sink.Header) bool {
		return lots[target(key)].rb.TryAppend(ts, key, value, h)
	})
	return order, err
}

// lot is the records of a stray batch that belong to one lane.
type lot struct {
	lane  *lane
	rb    *recordbatch.Batch
	bytes int
	ready bool // its bytes are final
}

// unplaced is the lane whose frames lie in the queue of a partition that the topic does not have; nil: an earlier
// process's.
func (t *topic) unplaced(partition int32) *lane {
	for _, l := range t.gone {
		if l.partition == partition {
			return l
		}
	}
	if partition == lobbyPartition {
		return t.lobby
	}
	return nil
}
