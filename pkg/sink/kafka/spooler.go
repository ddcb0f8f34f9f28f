package kafka

import (
	"errors"
	"slices"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// spooler owns the sink's side of the spool: one goroutine that opens it and has its parts do what is due, and one that
// waits for the disk to have what was written. They know the partitions and nothing above. What the partitions know of
// the disk stands in core.disk.
//
// There are two reasons to write. Commit (SettleOnDisk): every batch gets a frame before it is sent, and its
// acks are told when the frame is durable; on a fast disk workers do that for what they send. Spill: an appender has found
// no room for longer than its patience; batches get frames and are evicted, starting with lanes that cannot send.
type spooler struct {
	*core
	writer    frameWriter // writes frames, makes them durable, and ends them; the others stand on it
	committer committer   // which batches get frames before they are sent
	spiller   spiller     // which ones when memory is short
	placer    placer      // where frames go whose partition is no more
	expirer   expirer     // which frames are too old

	kafkaTrouble func() error // why events do not reach Kafka; nil: they do

	state       SpoolState // guarded by core.mu, as the next
	behindClose bool       // Close has left it behind
}

// join gives each part what it stands on.
func (s *spooler) join(c *core, r *room) {
	s.core = c
	s.writer.core = c
	s.committer.core, s.committer.writer = c, &s.writer
	s.spiller.core, s.spiller.writer, s.spiller.room = c, &s.writer, r
	s.placer.core, s.placer.writer = c, &s.writer
	s.expirer.core, s.expirer.writer = c, &s.writer
}

// begin makes the sink wait for its spool. No other goroutine runs yet.
func (s *spooler) begin() {
	s.disk.holding, s.writer.writing = true, newSlot()
	s.disk.kick, s.writer.syncKick = make(chan struct{}, 1), make(chan struct{}, 1)
}

// SpoolState says what the spool is doing.
type SpoolState uint8

const (
	SpoolIdle     SpoolState = iota // everything fits into memory
	SpoolOverflow                   // batches are on disk only
	SpoolIsFull                     // and there is no more room
	SpoolFailed                     // the disk cannot be written
)

func (st SpoolState) String() string {
	return [...]string{"idle", "overflow", "full", "failed"}[st]
}

// bytesAreFinalLocked wakes the spooler if it may have waited for the bytes of batches that are about to be sent; unframed: one
// of them has no frame.
func (s *spooler) bytesAreFinalLocked(unframed bool) {
	if s.spiller.pressed || unframed && len(s.committer.dirty) > 0 {
		wake(s.disk.kick)
	}
}

// runSpooler writes frames until the sink ends.
func (s *spooler) runSpooler() {
	if !s.awaitHold() || !s.openSpool() {
		return
	}
	s.tasks.Go(s.writer.runSyncer)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for s.ctx.Err() == nil {
		at := s.placer.reroute()
		at = soonest(at, s.committer.commit())
		if s.spiller.spill() {
			s.writer.endFrames()
			continue
		}
		if s.writer.syncHere() {
			s.writer.endFrames()
			continue // others have waited for that
		}
		at = soonest(at, s.giveUpDead())
		at = soonest(at, s.unpinUnconfirmed())
		s.writer.endFrames()
		at = soonest(at, s.noteState())
		at = soonest(at, s.writer.writeCursors())
		at = soonest(at, s.expirer.expire())
		at = soonest(at, s.writer.lookAtDisk())
		var expired <-chan time.Time
		if !at.IsZero() {
			timer.Reset(time.Until(at))
			expired = timer.C
		}
		s.committer.sleeps(true, at)
		select {
		case <-s.disk.kick:
		case <-expired:
		case <-s.ctx.Done():
		}
		s.committer.sleeps(false, at)
		timer.Stop()
	}
}

// giveUpDead ends the waiting of dead letters that wait for a frame which they cannot have, because the disk takes nothing or
// frames are on disk that they go before, while their partition cannot move: each keeps another one from going on. They go to a
// partition of their topic that may take them, and are dropped when none does. It returns when to look again.
func (s *spooler) giveUpDead() (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disk.err == nil && s.dead.batches == 0 {
		return at
	}
	full := s.disk.err != nil
	if s.diskIsSlow() {
		full, at = false, time.Now().Add(spoolRetry)
	}
	for _, l := range s.dead.lanes {
		giveUp := func(b *batch) bool {
			if b.pins == nil || b.pins.lane.topic.dead || b.pos != 0 {
				return false // it waits for no frame
			}
			at = time.Now().Add(spoolRetry)
			if b.writing || b == l.head && l.busy {
				return false
			}
			gone, to := s.spiller.room.deadGone(), s.dead.stickyLane()
			if !gone && (l.stuckSince.IsZero() || !to.stuckSince.IsZero() || !s.spiller.room.deadStuck()) {
				return false
			}
			l.abandonStamp(b)
			if b.maybeWritten { // its client or another partition repeats it
				s.suspect(b)
			}
			if !gone {
				b.movesTo(to)
				s.committer.frameWantedLocked(to)
				return true
			}
			events := b.events
			s.dropDead(events)
			s.release(l.topic, b)
			s.later(s.finish(b, events, nil))
			return true
		}
		if b := l.head; b != nil && (full || l.disk.any) && giveUp(b) {
			l.head = nil
		}
		untried := full && l.head == nil && l.broker != nil && !l.heldUp() // the next one is sent first: the topic may take it now
		rest := func(q []*batch) []*batch {
			kept := 0
			if untried && len(q) > 0 {
				untried, kept, at = false, 1, time.Now().Add(spoolRetry)
			}
			return q[:kept+len(slices.DeleteFunc(q[kept:], giveUp))]
		}
		if full || l.disk.any {
			l.children = rest(l.children)
		}
		if full {
			l.queue = rest(l.queue)
		}
	}
	return at
}

// unpinUnconfirmed ends the waiting for dead letters whose frames are written, but which the disk failed to confirm or hangs, when
// their partition cannot move either: each keeps another partition from going on. From then on a loss of power may take such a
// frame. What is left of a dead letter keeps its own partition: it is sent. unpinUnconfirmed returns when to look again.
func (s *spooler) unpinUnconfirmed() (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead.batches == 0 && s.disk.overflowing == 0 {
		return at
	}
	look := func(b *batch) {
		for b != nil {
			next, whole := b.parent, b.pins
			if whole != nil && next == nil && whole.lane.topic.dead {
				next = whole // b is what is left of it
			}
			if whole != nil && (b.unconfirmed || s.disk.hangs && b.pos != 0) {
				at = time.Now().Add(spoolRetry)
				if room := s.spiller.room; whole.lane.topic.dead || room.deadGone() || room.isStuck(b.lane, time.Now()) {
					s.later(b.unpin(nil))
				}
			}
			b = next
		}
	}
	for _, l := range s.dead.lanes {
		l.batches(look)
		for _, b := range l.disk.spilled {
			look(b)
		}
	}
	return at
}

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// openSpool opens the spool and gives every lane its part; false: the sink ends. Until then lanes hold back;
// when it cannot be opened they go on without, and it is tried again.
func (s *spooler) openSpool() bool {
	for s.ctx.Err() == nil {
		sp, err := s.deps.OpenSpool()
		s.mu.Lock()
		if err == nil {
			s.takeOverLocked(sp)
			s.mu.Unlock()
			return true
		}
		s.writer.diskFailsLocked(err)
		s.state = SpoolFailed
		s.writer.retryAt = time.Now().Add(spoolRetry)
		goOn := s.closed || !errors.Is(err, diskqueue.ErrBusy) || time.Since(s.started) > busyPatience
		s.mu.Unlock()
		// A process that has it may be about to end. When it stays, or this one ends first, it may keep the spool.
		if goOn {
			s.placer.reroute()
		}
		s.pause(spoolRetry)
	}
	return false
}

// takeOverLocked gives an open spool to the lanes.
func (s *spooler) takeOverLocked(sp diskqueue.Spool) {
	s.disk.sp = sp
	s.writer.diskFailsLocked(nil)
	st := sp.Counts()
	s.writer.noSync = st.NoSync
	s.count.recovered = st.Recovered
	s.count.spooled += st.Recovered - st.Quarantined
	if st.Quarantined > 0 {
		s.count.dropped[DroppedDamaged] += st.Quarantined
	}
	if s.disk.holding { // nothing was sent yet
		for _, t := range s.topics {
			t.goOnAmong(sp)
		}
	}
	for l := range s.lanes() {
		l.attach(sp)
	}
	for _, q := range sp.Queues() {
		if q.Topic() == s.dead.name {
			s.want.deadTopicSoon() // also for partitions that are not known yet
		}
	}
	s.disk.holding = true // until reroute has looked
	if s.hasPending() {
		s.want.wakeIdle() // the steward may rest: it did not know of what is in there
	}
	s.madeRoom()
	s.checkDrained() // for a Close meanwhile
}

// noteState logs when the spool begins or ceases to take what memory cannot hold, and returns when to look
// again. One line each time; an overflow ends only after a while, so that it cannot flap.
func (s *spooler) noteState() (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.diskIsSlow() {
		return s.disk.hungAt.Add(s.deps.stuckAfter) // a slow disk does so now and then
	}
	now := time.Now()
	state := SpoolIdle
	switch {
	case isFull(s.disk.err), s.state == SpoolIsFull && s.disk.overflowing > 0 && now.Sub(s.writer.fullAt) < calmAfter:
		state = SpoolIsFull
	case s.disk.err != nil:
		state = SpoolFailed
	case s.disk.overflowing > 0:
		state = SpoolOverflow
	case s.state != SpoolIdle && now.Sub(s.spiller.spilledAt) < calmAfter:
		return s.spiller.spilledAt.Add(calmAfter)
	}
	if s.disk.err != nil && !s.disk.hangs && (s.spiller.pressed || len(s.committer.dirty) > 0) && now.Before(s.writer.retryAt) {
		at = s.writer.retryAt // an appender that waits presses by itself
	}
	if state == s.state {
		return at
	}
	args := []any{"was", s.state.String(), "spooled", s.count.spooled, "kafka", reason(s.kafkaTrouble())}
	s.state = state
	switch state {
	case SpoolIdle:
		s.log.Info("the spool is empty: everything fits into memory again", args...)
	case SpoolOverflow:
		if s.spiller.spilledAt.IsZero() && s.count.recovered > 0 {
			s.log.Info("events that an earlier process left in the spool are sent first", args...)
			break
		}
		s.log.Warn("Kafka is behind: events that do not fit into memory go to the spool", args...)
	}
	return at
}
