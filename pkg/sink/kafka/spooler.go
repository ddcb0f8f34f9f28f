package kafka

import (
	"errors"
	"time"
)

// spooler owns the sink's side of the spool: one goroutine that opens it and has its parts do what is due, and one that
// waits for the disk to have what was written. They know the partitions and nothing above. What the partitions know of
// the disk stands in core.disk.
//
// There are two reasons to write. Commit (SettleOnDisk): every batch gets a frame before it is sent, and those
// who wait for it are told when the frame is durable; on a fast disk workers do that for what they send. Spill: an appender has found no room for longer than
// its patience; batches get frames and their memory goes, from the lanes that cannot send first.
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
	s.expirer.core, s.expirer.writer, s.expirer.placer = c, &s.writer, &s.placer
}

// diskState is what the partitions know of the spool. The spooler keeps it, except kick; guarded by core.mu.
type diskState struct {
	sp      Spool // nil: none, or not open yet
	holding bool  // nothing is sent: the spool is not open yet, or has frames that must be placed first
	hangs   bool  // a call of the disk has not come back: nothing waits for it

	err      error     // why the last frame could not be written; nil: it can be
	failedAt time.Time // since when that is so

	overflowing int       // lanes with frames that are on disk only
	fullSince   time.Time // when the buffers ran full; zero: they are not
	movedAt     time.Time // when a batch last ended. That one on disk was read and given back is no progress
	carried     carried

	ended []frame   // to be written down by endFrames
	out   []settled // to be told by it

	kick chan struct{} // wakes the spooler; nil: there is no spool
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

// wake wakes the receiver of a channel with room for one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// framesFirst says that a batch must have a frame before it is sent. s.mu is held.
func (s *frameWriter) framesFirst() bool {
	return s.cfg.Settle == SettleOnDisk && s.disk.sp != nil && s.disk.err == nil && !s.disk.hangs
}

// wantFrame tells the spooler, if batches get frames before they are sent, that the lane has one without. s.mu is held.
func (l *lane) wantFrame() {
	if want := l.topic.core.wantsFrame; want != nil {
		want(l)
	}
}

// frameWanted marks a lane that has a batch without a frame. s.mu is held.
func (s *committer) frameWanted(l *lane) {
	s.markDirty(l)
	if s.writer.syncing {
		return // the goroutine that waits for the disk wakes the spooler
	}
	if at, ok := s.frameAt(l); s.asleep && ok && !s.wakeAt.IsZero() && !at.Before(s.wakeAt) {
		return // it wakes in time by itself
	}
	wake(s.disk.kick)
}

// bytesAreFinal wakes the spooler if it may have waited for the bytes of batches that are about to be sent; unframed: one
// of them has no frame. s.mu is held.
func (s *spooler) bytesAreFinal(unframed bool) {
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
		at := s.placer.placeStrays()
		at = soonest(at, s.committer.commit())
		if s.spiller.spill() {
			s.writer.endFrames()
			continue
		}
		if s.writer.syncHere() {
			continue // others have waited for that
		}
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

// sleeps notes that the spooler sleeps, and when it wakes by itself.
func (s *committer) sleeps(asleep bool, wakeAt time.Time) {
	s.mu.Lock()
	s.asleep, s.wakeAt = asleep, wakeAt
	if asleep {
		s.rounds++
	}
	s.mu.Unlock()
}

// writeCursors writes down what has ended, cursorDelay after the first of it: in a stream of batches nearly all
// of it is written with the next batch. It returns when to look again.
func (s *frameWriter) writeCursors() (at time.Time) {
	s.mu.Lock()
	since := s.behindSince
	due := !since.IsZero() && time.Since(since) >= cursorDelay
	if due {
		s.behindSince = time.Time{}
	}
	s.mu.Unlock()
	if since.IsZero() {
		return since
	}
	if !due {
		return since.Add(cursorDelay)
	}
	if err := s.disk.sp.WriteCursors(); err != nil {
		s.mu.Lock()
		s.alarm("done", "progress in the spool cannot be written; a kill now would repeat batches", "error", err)
		s.mu.Unlock()
	}
	return time.Time{}
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
			s.takeOver(sp)
			s.mu.Unlock()
			return true
		}
		s.writer.diskFails(err)
		s.state = SpoolFailed
		s.writer.retryAt = time.Now().Add(spoolRetry)
		goOn := !errors.Is(err, ErrSpoolBusy) || time.Since(s.started) > busyPatience
		s.mu.Unlock()
		// A process that has it may be about to end. When it stays, it may keep the spool.
		if goOn {
			s.placer.placeStrays()
		}
		s.pause(spoolRetry)
	}
	return false
}

// takeOver gives an open spool to the lanes. s.mu is held.
func (s *spooler) takeOver(sp Spool) {
	s.disk.sp = sp
	s.writer.diskFails(nil)
	st := sp.Stats()
	s.writer.noSync = st.NoSync
	s.count.recovered = st.Recovered
	s.count.spooled += st.Recovered - st.Quarantined
	if st.Quarantined > 0 {
		s.count.dropped[DroppedDamaged] += st.Quarantined
	}
	for l := range s.lanes() {
		l.attach(sp)
	}
	for _, q := range sp.Queues() {
		if q.Topic() == s.dead.name {
			s.want.deadTopicSoon() // also for partitions that are not known yet
		}
	}
	s.disk.holding = true // until placeStrays has looked
	if s.owes() {
		s.want.stir() // the steward may rest: it did not know of what is in there
	}
	s.madeRoom()
	s.checkDrained() // for a Close meanwhile
}

// letGo lets lanes send. s.mu is held.
func (s *frameWriter) letGo() {
	s.disk.holding = false
	for _, b := range s.brokers {
		b.signal()
	}
}

// lanes are all lanes; first those whose frames are placed anew, then the lobby.
func (s *core) lanes() func(yield func(*lane) bool) {
	return func(yield func(*lane) bool) {
		for _, t := range []*topic{&s.main, &s.dead} {
			for _, l := range t.gone {
				if !yield(l) {
					return
				}
			}
			if t.lobby != nil && !yield(t.lobby) {
				return
			}
			for _, l := range t.lanes {
				if !yield(l) {
					return
				}
			}
		}
	}
}
