package kafka

import (
	"errors"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// spooler is the sink's side of the spool: one goroutine that writes frames, and one that waits for the
// disk to have them. All fields but the last ones are guarded by Sink.mu.
//
// It has two reasons to write. Commit (SettleOnDisk): every batch gets a frame before it is sent, and those
// who wait for it are told when the frame is durable; on a fast disk workers do that for what they send. Spill: an appender has found no room for longer than
// its patience; batches get frames and their memory goes, from the lanes that cannot send first.
type spooler struct {
	sp      Spool // nil: none, or not open yet
	holding bool  // nothing is sent: the spool is not open yet, or has frames that must be placed first

	err     error     // why the last frame could not be written; nil: it can be
	triedAt time.Time // when the write or the look that set err ended
	refused int64     // bytes of the batch that found no room
	retryAt time.Time // when the next one may be; later than spoolRetry after triedAt where there was nothing to write
	fullAt  time.Time // when it was last found full, and frames ended since
	ends    int       // how often frames ended

	dirty   []*lane // SettleOnDisk: have batches without a frame
	groups  []group // written, not yet durable
	syncing bool
	// fastDisk: the last fdatasync took less than fastSync. Workers then commit what they send by themselves.
	fastDisk bool
	lists    [][]waiting // to be used by the next groups
	noSync   bool        // what is written is as durable as it gets: Sync neither waits nor fails

	watchdog    watchdog
	hangs       bool // a call of the disk has not come back: nothing waits for it
	behindClose bool // Close has left it behind

	pressed     bool      // an appender has waited for room for too long
	madeWay     bool      // something was written or given up since
	fullSince   time.Time // when the buffers ran full; zero: they are not
	movedAt     time.Time // when a batch last ended. That one on disk was read and given back is no progress
	vainAt      time.Time // when an appender pressed last and no room could be made
	overflowing int       // lanes with frames that are on disk only
	spilledAt   time.Time
	state       SpoolState

	behindSince time.Time // DoneSoon has left something to be written down; zero: nothing

	ended []frame // to be written down by endFrames
	out   []settled
	loss  loss

	expired  loss
	expireAt time.Time // when ages are looked at next

	asleep bool // the spooler, until wakeAt or a kick
	rounds int  // how often it went to sleep
	wakeAt time.Time

	kick     chan struct{} // wakes the spooler
	syncKick chan struct{} // wakes the one who waits for the disk

	// writing is held by who writes frames, and guards what follows.
	writing slot
	scratch recordbatch.Scratch
	frames  []SpoolWrite
	wire    [][]byte // of the frames

	// The spooler's own.
	work  []*batch
	lanes []*lane

	placing      placing
	placingFails time.Time        // since when placing has failed
	carries      bool             // frames are placed from memory: the lobby stays, though nothing is held; guarded by Sink.mu
	carried      carried          // guarded by Sink.mu
	frail        map[stray]uint64 // frames up to there were placed, but the disk did not confirm it
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

const (
	busyPatience = 10 * time.Second // with a spool that another process has
	cursorDelay  = time.Second
	spoolRetry   = time.Second     // between attempts to open the spool, or to write to it after an error
	diskLook     = 2 * time.Second // after such an attempt, if none has followed, the disk itself is looked at
	// How long the buffers may be full until room is made on disk. Where clients wait for Kafka nothing must
	// have moved for the whole time: a disk that is written to at full load costs more than it helps.
	patienceNobodyWaits = 20 * time.Millisecond
	patienceForKafka    = 250 * time.Millisecond
	patienceOverflowing = 10 * time.Millisecond // with SettleOnKafka: once it has begun
	// fastSync: a disk that answers sooner is not worth another goroutine's wake-up.
	fastSync = 100 * time.Microsecond
	// calmAfter is how long nothing has gone to disk, and nothing is left there, until the overflow is said to
	// be over.
	calmAfter = 5 * time.Second
)

// wake wakes the receiver of a channel with room for one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// framesFirst says that a batch must have a frame before it is sent. s.mu is held.
func (s *Sink) framesFirst() bool {
	return s.cfg.Settle == SettleOnDisk && s.spooler.sp != nil && s.spooler.err == nil && !s.spooler.hangs
}

// wantFrame tells the spooler, if batches get frames before they are sent, that the lane has one without. s.mu is held.
func (l *lane) wantFrame() {
	if want := l.topic.sink.wantsFrame; want != nil {
		want(l)
	}
}

// frameWanted marks a lane that has a batch without a frame. s.mu is held.
func (s *Sink) frameWanted(l *lane) {
	p := &s.spooler
	s.markDirty(l)
	if p.syncing {
		return // the goroutine that waits for the disk wakes the spooler
	}
	if at, ok := s.frameAt(l); p.asleep && ok && !p.wakeAt.IsZero() && !at.Before(p.wakeAt) {
		return // it wakes in time by itself
	}
	wake(p.kick)
}

// runSpooler writes frames until the sink ends.
func (s *Sink) runSpooler() {
	if !s.awaitHold() || !s.openSpool() {
		return
	}
	s.tasks.Go(s.runSyncer)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for s.ctx.Err() == nil {
		at := s.placeStrays()
		at = soonest(at, s.commit())
		if s.spill() {
			s.endFrames()
			continue
		}
		if s.syncHere() {
			continue // others have waited for that
		}
		s.endFrames()
		at = soonest(at, s.noteState())
		at = soonest(at, s.writeCursors())
		at = soonest(at, s.expire())
		at = soonest(at, s.lookAtDisk())
		var expired <-chan time.Time
		if !at.IsZero() {
			timer.Reset(time.Until(at))
			expired = timer.C
		}
		s.sleeps(true, at)
		select {
		case <-s.spooler.kick:
		case <-expired:
		case <-s.ctx.Done():
		}
		s.sleeps(false, at)
		timer.Stop()
	}
}

// sleeps notes that the spooler sleeps, and when it wakes by itself.
func (s *Sink) sleeps(asleep bool, wakeAt time.Time) {
	s.mu.Lock()
	s.spooler.asleep, s.spooler.wakeAt = asleep, wakeAt
	if asleep {
		s.spooler.rounds++
	}
	s.mu.Unlock()
}

// writeCursors writes down what has ended, cursorDelay after the first of it: in a stream of batches nearly all
// of it is written with the next batch. It returns when to look again.
func (s *Sink) writeCursors() (at time.Time) {
	s.mu.Lock()
	since := s.spooler.behindSince
	due := !since.IsZero() && time.Since(since) >= cursorDelay
	if due {
		s.spooler.behindSince = time.Time{}
	}
	s.mu.Unlock()
	if since.IsZero() {
		return since
	}
	if !due {
		return since.Add(cursorDelay)
	}
	if err := s.spooler.sp.WriteCursors(); err != nil {
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
func (s *Sink) openSpool() bool {
	for s.ctx.Err() == nil {
		sp, err := s.deps.OpenSpool()
		s.mu.Lock()
		if err == nil {
			s.takeOver(sp)
			s.mu.Unlock()
			return true
		}
		s.diskFails(err)
		s.spooler.state = SpoolFailed
		s.spooler.retryAt = time.Now().Add(spoolRetry)
		goOn := !errors.Is(err, ErrSpoolBusy) || time.Since(s.started) > busyPatience
		s.mu.Unlock()
		// A process that has it may be about to end. When it stays, it may keep the spool.
		if goOn {
			s.placeStrays()
		}
		s.pause(spoolRetry)
	}
	return false
}

// takeOver gives an open spool to the lanes. s.mu is held.
func (s *Sink) takeOver(sp Spool) {
	p := &s.spooler
	p.sp = sp
	s.diskFails(nil)
	st := sp.Stats()
	p.noSync = st.NoSync
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
			s.wantDeadTopic() // also for partitions that are not known yet
		}
	}
	p.holding = true // until placeStrays has looked
	if s.owes() {
		s.stir() // the steward may rest: it did not know of what is in there
	}
	s.madeRoom()
	s.checkDrained() // for a Close meanwhile
}

// letGo lets lanes send. s.mu is held.
func (s *Sink) letGo() {
	s.spooler.holding = false
	for _, b := range s.brokers {
		b.signal()
	}
}

// lanes are all lanes; first those whose frames are placed anew, then the lobby.
func (s *Sink) lanes() func(yield func(*lane) bool) {
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
