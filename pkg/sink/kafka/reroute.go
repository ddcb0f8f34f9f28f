package kafka

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// placer owns the frames whose partition is not known yet, or no more: it places them by the count of partitions of now.
// All fields are the spooler's own, except goesOn, which core.mu guards.
type placer struct {
	*core
	writer *frameWriter

	placing      map[unplacedQueue]*placing
	placingFails time.Time // since when placing has failed
	goesOn       bool      // not all is placed though nothing is held: the rest is carried
	retryAt      time.Time // when the rest is tried again; zero: now
}

// An unplaced queue has frames for a partition that the topic does not have: those without a partition, or of a topic that
// was made anew with fewer. Their records are placed by key, in new frames, before anything of the topic is sent.

// reroute places what must be placed, once the topics' partitions are known, and lets the lanes go. It returns
// when to try again. It is also called while the spool cannot be opened, so that events go on without it.
func (s *placer) reroute() (at time.Time) {
	s.mu.Lock()
	s.writer.reserved = false
	known := s.knownTopics()
	// Without partitions there is nothing to let go either; apply wakes us.
	if !s.disk.holding && !s.goesOn || len(known) == 0 {
		s.mu.Unlock()
		return at
	}
	switch now := time.Now(); {
	case !s.disk.holding && s.carries():
		s.mu.Unlock()
		return now.Add(spoolRetry) // it wakes us when it has arrived, but not when its lane gets stuck
	case len(s.disk.carried) == 0 && now.Before(s.retryAt):
		s.mu.Unlock()
		return s.retryAt // there was no room
	}
	if s.writer.reserved = true; s.workersWrite() { // what they write has its place before what is placed
		s.mu.Unlock()
		return time.Now().Add(quietPoll)
	}
	// What is placed is not sent before that is noted.
	s.disk.holding, s.disk.carried, s.retryAt = true, nil, time.Time{}
	for _, t := range s.all {
		if !s.shrinkOnDisk(t) {
			s.mu.Unlock()
			return time.Now().Add(quietPoll)
		}
	}
	for _, p := range s.placing {
		p.regroup()
	}
	for _, t := range s.all { // what has got frames meanwhile is placed from the disk
		for _, l := range t.gone {
			l.evictParts()
			l.evictQueue()
		}
		if t.unassigned != nil && len(t.lanes) > 0 {
			t.unassigned.evict()
		}
	}
	s.mu.Unlock()
	var full []*topic      // what is carried of them leaves no room for more
	var arriving []waiting // what was placed in memory
	pause := spoolRetry    // until the rest is tried again
	failed := false        // one of the queues
	for _, q := range s.unplaced(known) {
		t := s.topicNamed(q.Topic())
		if slices.Contains(full, t) {
			continue // it goes behind
		}
		if !s.placeGone(t, q.Partition(), &arriving) {
			_ = s.stow(t, q) // a disk that takes it makes room
			full = append(full, t)
			continue
		}
		err := s.stow(t, q)
		if err == nil {
			err = s.placeQueue(t, q)
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, errIndexFull):
			full, pause = append(full, t), quietPoll
			continue
		}
		failed = true
		switch {
		case errors.Is(err, errUnderWay) && s.moves(t), errors.Is(err, errNoneMoves) && s.isPatient(t, q, err):
			// The lanes are let go. Those that cannot move find out so when they can.
			full, pause = append(full, t), quietPoll
			continue
		case errors.Is(err, errUnderWay): // in lanes that cannot move: others go on
		case !s.isPatient(t, q, err):
		default:
			s.retryAt = time.Now().Add(spoolRetry)
			return s.retryAt // nothing is sent until then, so nothing else would wake us
		}
		switch err = s.carry(t, q, arriving); {
		case err == nil:
			return time.Now() // for the next one, when this one is none that others wait for
		case errors.Is(err, errNoRoomToCarry):
			full = append(full, t)
		case errors.Is(err, errUnderWay):
			full, pause = append(full, t), quietPoll
		default: // it cannot be read now: it is tried again, until it counts as damaged
			s.mu.Lock()
			if !t.dead {
				t.unassignedLane() // later events wait there
			}
			s.mu.Unlock()
			full = append(full, t)
		}
	}
	placed := slices.DeleteFunc(slices.Clone(known), func(t *topic) bool { return slices.Contains(full, t) })
	if s.spillAll(placed) {
		return time.Now()
	}
	s.mu.Lock()
	if len(s.knownTopics()) != len(known) || slices.ContainsFunc(s.all, func(t *topic) bool { return t.fewer.onDisk }) {
		s.mu.Unlock()
		return time.Now() // one more meanwhile, or one has fewer partitions: it has its turn first
	}
	s.disk.placing = s.halfPlaced()
	s.goesOn = !s.endPlacingLocked(placed, &arriving) || len(full) > 0
	if s.goesOn {
		s.disk.carried, s.retryAt = arriving, time.Now().Add(pause)
		at = s.retryAt
	} else {
		s.retryAt = time.Time{}
	}
	if !s.goesOn || !failed {
		s.placingFails = time.Time{}
	}
	s.writer.letGoLocked()
	if s.disk.sp == nil {
		for _, t := range known {
			s.placeUnassigned(t)
		}
	}
	s.madeRoom()
	s.checkDrained()
	s.mu.Unlock()
	s.writer.endFrames()
	return at
}

// isPatient reports whether placing on disk, which has failed, is tried again before frames are carried.
func (s *placer) isPatient(t *topic, q diskqueue.Queue, err error) bool {
	if s.placingFails.IsZero() {
		s.placingFails = time.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnLimited("unplaced", "frames of partitions that are no more cannot be placed on disk now", "topic", t.name, "partition", q.Partition(), "error", err)
	return time.Since(s.placingFails) < s.deps.placingPatience
}

// unplacedLocked are the topic's lanes that are placed, in the order in which their events came.
func (t *topic) unplacedLocked() []*lane {
	if t.unassigned == nil {
		return t.gone
	}
	return append(slices.Clip(t.gone), t.unassigned)
}

// spillAll leaves to the disk what the lanes that are placed have in memory, where that does not fit beside the buffers: it
// is placed there then. What waits in the topic's own lanes has to be there before that; of lanes that cannot move it is
// left to the disk first. spillAll reports whether something has gone there: all is looked at anew then.
func (s *placer) spillAll(known []*topic) bool {
	s.mu.Lock()
	work := s.writer.work[:0]
	var stowed []*lane
	for _, t := range append(known, &s.dead) {
		waited := t.unplacedLocked()
		if s.disk.sp == nil || s.disk.err != nil || t.dead && t.leaders == nil || t.fitsBeside(waited, len(t.lanes)) {
			continue // without leaders unplaced leaves the frames of dead letters where they are
		}
		if t.holdsBare() { // it may be all that is in the way
			waited = slices.DeleteFunc(slices.Clone(t.lanes), func(l *lane) bool { return !l.stuck() })
		}
		for _, l := range waited {
			l.seal()
			work = l.claim(work)
		}
		stowed = append(stowed, waited...)
	}
	s.mu.Unlock()
	if len(work) == 0 {
		return false
	}
	g, err := s.writer.write(work)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writer.work = work
	for _, l := range stowed {
		l.evict()
	}
	s.writer.submitLocked(g)
	return err == nil || g.last != 0 // a disk that ran full has taken the first of them
}

// holdsBare reports whether the topic has batches without a frame that wait in its lanes. Frames that are placed there
// now would go before them.
func (t *topic) holdsBare() bool {
	return slices.ContainsFunc(t.lanes, func(l *lane) bool { return l.open != nil || len(l.queue) > l.disk.framed })
}

// endPlacingLocked places what has no frame, of topics that are known, and adds it to carried. What waits for others goes
// on waiting. It reports whether that was all: what does not fit beside the buffers is placed when what was placed before
// is settled, because there is no disk that takes it.
func (s *placer) endPlacingLocked(known []*topic, carried *[]waiting) (all bool) {
	if s.disk.sp == nil {
		return true // placeUnassigned does it
	}
	all = true
	for _, t := range append(known, &s.dead) {
		for _, l := range t.unplacedLocked() {
			if !s.placeLane(l, carried) {
				all = false
				break // the topic's next lanes go behind it
			}
		}
	}
	return all
}

// placeGone places what lanes that are no more have in memory before what came later, the frames of a queue: those without
// a partition come after all lanes. A lane that was gone sooner has a higher partition; what is left of it comes after what
// was placed of it in lanes that are gone since. It adds to carried what was placed, and reports whether that was all.
func (s *placer) placeGone(t *topic, before int32, carried *[]waiting) (all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range slices.Clone(t.gone) {
		if uint32(l.partition) < uint32(before) && !s.placeLane(l, carried) {
			return false
		}
	}
	s.goesOn = s.goesOn || len(*carried) > 0
	return true
}

// placeLane places what a lane that is none of its topic any more has in memory, adds it to carried, and reports whether that
// was all: then the lane is gone.
func (s *core) placeLane(l *lane, carried *[]waiting) (all bool) {
	t := l.topic
	if l.checkDisk(); l.disk.any { // what is left waits for the next start, and the end does not for it
		l.disk.any = false
		s.disk.overflowing--
	}
	if all = s.placeMemory(l, len(t.lanes), carried); all {
		l.tellDamaged()
	}
	switch {
	case !all:
	case l == t.unassigned:
		t.unassigned = nil
	default:
		// It need not be the first: a topic of dead letters gets its partitions back while old ones are placed. The
		// callers go through gone, so it is not changed in place.
		t.gone = slices.DeleteFunc(slices.Clone(t.gone), func(o *lane) bool { return o == l })
	}
	return all
}

// knownTopics are the main topics whose partitions are known.
func (s *core) knownTopics() (known []*topic) {
	for _, t := range s.topics {
		if len(t.lanes) > 0 {
			known = append(known, t)
		}
	}
	return known
}

// unplaced are the queues whose frames must be placed, of these main topics and of the dead letters. Those without a
// partition are the last, because what is in them came later.
func (s *placer) unplaced(of []*topic) (queues []diskqueue.Queue) {
	if s.disk.sp == nil {
		return nil // what waits among the unassigned is in memory
	}
	for _, q := range s.disk.sp.Queues() {
		t := s.topicNamed(q.Topic())
		if t == nil {
			s.foreign(q)
			continue
		}
		s.mu.Lock()
		known := t.dead && t.leaders != nil || slices.Contains(of, t)
		unplaced := q.Partition() < 0 || int(q.Partition()) >= len(t.lanes)
		s.mu.Unlock()
		if pos, _ := s.placedUpTo(q); q.Tail() <= pos {
			continue
		}
		// The dead letters' partitions become known with the first one; a restart places those frames. Those of a topic that
		// is missing wait for it.
		if unplaced && known {
			queues = append(queues, q)
		}
	}
	slices.SortStableFunc(queues, func(a, b diskqueue.Queue) int { return cmp.Compare(uint32(a.Partition()), uint32(b.Partition())) })
	return queues
}

// topicNamed is the topic of that name; nil: this sink does not write to it.
func (s *core) topicNamed(name string) *topic {
	for _, t := range s.all {
		if t.name == name {
			return t
		}
	}
	return nil
}

// unplacedQueue names a queue whose frames must be placed.
type unplacedQueue struct {
	topic     string
	partition int32
}

func unplacedOf(q diskqueue.Queue) unplacedQueue { return unplacedQueue{q.Topic(), q.Partition()} }

// foreign tells about frames of a topic that this sink does not write to.
func (s *placer) foreign(q diskqueue.Queue) {
	_, _, events, _ := q.Head()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnLimited("foreign/"+q.Topic(), "the spool holds frames of a topic that no setting of this process names; they stay there: name it in --topic, --topic-platform, --topic-function or --topic-extension, or send them with ingest spool replay",
		"topic", q.Topic(), "partition", q.Partition(), "events in the first", events)
}

// workersWrite reports whether workers write frames of what they send.
func (s *placer) workersWrite() (writing bool) {
	for l := range s.lanes() {
		l.batches(func(b *batch) { writing = writing || b.writing })
	}
	return writing
}
