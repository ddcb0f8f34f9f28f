package kafka

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// What keeps a lane from going on until dead letters of a batch with a frame are safe, see lane.heldUp.

// A lane waits for the end of a batch that was split also where another part of the batch before comes next, which has a frame of
// its own. It counts as one that cannot move then: else its dead letters would wait for good where nothing takes them.
func TestALaneIsHeldUpBeforeAnotherPart(t *testing.T) {
	s, l, _ := benchOnDisk(t)
	whole, next := holds(t, l, 2), holds(t, l, 1)
	whole.pos, next.pos = 1, 2
	l.queue, l.children, l.disk.splitParent, s.disk.holding = nil, []*batch{next}, whole, false
	if s.sender.mayPassLocked(l) || !l.stuck() || l.stuckSince.IsZero() {
		t.Errorf("it may pass %v, is stuck %v since %v", s.sender.mayPassLocked(l), l.stuck(), l.stuckSince)
	}
	next.coveredBy = whole
	if !s.sender.mayPassLocked(l) || l.stuck() {
		t.Errorf("a part of it may pass %v, is stuck %v", s.sender.mayPassLocked(l), l.stuck())
	}
}

// A dead letter that waits for a frame is looked at again, also while it is being sent or written and the disk hangs: nothing
// else wakes the spooler then.
func TestADeadLetterThatWaitsIsLookedAtAgain(t *testing.T) {
	for name, edit := range map[string]func(l *lane, b *batch){
		"sent":    func(l *lane, b *batch) { l.head, l.queue, l.busy = b, nil, true },
		"written": func(_ *lane, b *batch) { b.writing = true },
		"waits":   func(*lane, *batch) {},
	} {
		t.Run(name, func(t *testing.T) {
			s, l, _ := benchOnDisk(t)
			whole := holds(t, l, 2)
			whole.pos = 1
			s.dead.core, s.dead.name = &s.core, "t.dlq"
			to := &lane{topic: &s.dead, broker: l.broker}
			s.dead.lanes = []*lane{to}
			b := holds(t, to, 1)
			b.pin(whole)
			s.disk.err, s.disk.hangs = errDiskHangs, true
			edit(to, b)
			if s.spooler.giveUpDead().IsZero() {
				t.Error("nothing looks at it again")
			}
		})
	}
}

// A dead letter is kept to be tried first, but not in a lane that sends nothing.
func TestADeadLetterInALaneThatIsHeldUpIsGivenUp(t *testing.T) {
	s, l, _ := benchOnDisk(t)
	s.disk.holding, s.disk.kick = false, make(chan struct{}, 1)
	s.dead.core, s.dead.dead, s.dead.name, s.dead.keeps, s.dead.unusable = &s.core, true, "t.dlq", timesCreate, true
	to := &lane{topic: &s.dead, broker: l.broker}
	s.dead.lanes = []*lane{to}
	apart := func(l *lane, pos diskqueue.Pos) *batch {
		b := holds(t, l, 1)
		b.rb.Release()
		b.rb, b.pos, l.queue, l.disk.splitParent = nil, pos, nil, b
		return b
	}
	whole := apart(l, 1)
	apart(to, 2)
	letter := holds(t, to, 1)
	letter.pin(whole)
	s.dead.batches, s.count.inFlight, s.disk.err = 1, 1, diskqueue.ErrFull
	if s.spooler.giveUpDead(); len(to.queue) > 0 {
		t.Errorf("it waits, and with it the partition of its record: held up %v", l.heldUp())
	}
}

// unconfirming is a spool that does not confirm frames while it is told so.
type unconfirming struct {
	diskqueue.Spool
	fails *atomic.Bool
	met   *atomic.Bool
}

func (u *unconfirming) Sync(first, last diskqueue.Pos) error {
	if !u.fails.Load() {
		return u.Spool.Sync(first, last)
	}
	u.met.Store(true)
	return errDisk
}

// The disk did not confirm the frame of a dead letter once, and its topic takes none: the partition of its record goes on.
func TestADeadLetterWhoseFrameIsNotConfirmed(t *testing.T) {
	t.Parallel()
	c := cluster(t, 2, kfake.SeedTopics(1, "t.dlq"))
	var fails, met atomic.Bool
	onProduce(c, func(topic string, p *kmsg.ProduceRequestTopicPartition) bool {
		if topic == "t" && badRecords(p.Records) != nil && !met.Load() {
			fails.Store(true)
		}
		return false
	})
	refuseBad(c, true)
	c.Fault(unusableDeadTopic[2].fault)
	disk := newTestDisk(t)
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Settle, cfg.Linger, d.stuckAfter = SettleOnDisk, 5*time.Millisecond, 100*time.Millisecond
		d.OpenSpool = func() (diskqueue.Spool, error) {
			sp, err := disk.Open()
			return &unconfirming{sp, &fails, &met}, err
		}
	})
	same, other := keysOf(0, 2, 1)[0], keysOf(1, 2, 1)[0]
	appendRecords(t, s, nil, badKeyed(same, 0))
	waitFor(t, met.Load)
	fails.Store(false)
	for n := int64(0); n < 3; n++ {
		appendRecords(t, s, nil, record(same, int(n)+1), record(other, int(n)+1))
		waitFor(t, func() bool { return s.Stats().Delivered == 2*(n+1) })
	}
	if st := s.Stats(); len(st.Dropped) > 0 || st.InFlight+st.Spooled != 1 {
		t.Errorf("the dead letter is not kept: %+v", st)
	}
}

// A dead letter with a frame is too large for its topic, and the disk is full when what is left of it would get a frame: the topic
// takes that, and what is behind it.
func TestANoticeDoesNotWaitForAFrame(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1, kfake.SeedTopics(1, "t.dlq"))
	disk := newTestDisk(t)
	held := make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		for _, topic := range req.Topics {
			if topic.Topic == "t.dlq" && len(topic.Partitions[0].Records) > 80<<10 {
				c.SleepControl(func() { <-held })
				disk.Limit(0)
				return answerAll(req, func(string, int32) int16 { return kerr.MessageTooLarge.Code }), nil, true
			}
		}
		return nil, nil, false
	})
	s := start(t, c, func(cfg *Config, d *Deps) {
		cfg.Settle, cfg.Linger, d.OpenSpool = SettleOnDisk, 5*time.Millisecond, disk.Open
	})
	letter := func(size int) {
		if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: bytes.Repeat([]byte("x"), size), Reason: "bad"}, &ackCount{}); err != nil {
			t.Fatal(err)
		}
	}
	letter(100 << 10)
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.dead.lanes[0].busy && s.dead.lanes[0].head.pos != 0
	})
	letter(10)
	close(held)
	waitFor(t, func() bool { return s.Stats().DeadLettered == 1 })
	waitFor(t, func() bool { st := s.Stats(); return st.InFlight+st.Spooled == 0 && st.Dropped[droppedTooLarge] == 1 })
}

// Batches in doubt that go before frames on disk can have none: they do not count against the share of dead letters, which would
// be full for good.
func TestTheBatchInDoubtIsBesideTheShareOfDeadLetters(t *testing.T) {
	s, l, _ := benchOnDisk(t)
	s.cfg.BufferBytes = deadLetterShare * recordbatch.ChunkSize
	s.dead.core = &s.core
	to := &lane{topic: &s.dead, broker: l.broker, failures: 1}
	s.dead.lanes = []*lane{to}
	to.head = holds(t, to, 1)
	to.head.held, to.held, s.dead.held, to.queue = 2*recordbatch.ChunkSize, 2*recordbatch.ChunkSize, 2*recordbatch.ChunkSize, nil
	if !s.spooler.spiller.room.deadFull() {
		t.Error("without frames on disk it may get a frame")
	}
	to.disk.any = true
	if s.spooler.spiller.room.deadFull() {
		t.Error("the share is full")
	}
}

// A lane knows that what failed last was content while the batch waits to be refused again: its broker works.
func TestARefusedBatchThatIsPutBackIsStillRefused(t *testing.T) {
	s, l, w := bench(t)
	holds(t, l, 1)
	w.sends(t, l)
	l.busy = true
	e := &entry{lane: l, batch: l.head}
	s.sender.failedLocked(e, classDeadLetter, errInvalidRecord, "")
	if s.sender.putBackLocked(e); !l.refused {
		t.Error("it counts as a broker that fails")
	}
	l.busy = true
	if s.sender.failedLocked(e, classRetry, 19, ""); l.refused {
		t.Error("another failure is none of content")
	}
}

// pinnedLetter is a dead letter in a lane of its own, for which the frame of a batch that came apart stays.
func pinnedLetter(t *testing.T, s *Sink, l *lane) (whole, letter *batch, to *lane) {
	t.Helper()
	s.disk.holding, s.disk.kick, s.cfg.Settle = false, make(chan struct{}, 1), SettleOnDisk
	s.dead.core, s.dead.dead, s.dead.name, s.dead.keeps, s.dead.unusable = &s.core, true, "t.dlq", timesCreate, true
	to = &lane{topic: &s.dead, broker: l.broker}
	s.dead.lanes = []*lane{to}
	whole = holds(t, l, 1)
	whole.rb.Release()
	whole.rb, whole.pos, l.queue, l.disk.splitParent = nil, 1, nil, whole
	letter = holds(t, to, 1)
	letter.pin(whole)
	whole.unsettledParts-- // its own
	s.dead.batches, s.count.inFlight, s.disk.overflowing = 1, 1, 1
	return whole, letter, to
}

// A frame that is written and not confirmed yet is not one that the disk failed to confirm.
func TestWhatIsNotConfirmedYetKeepsItsPin(t *testing.T) {
	s, l, _ := benchOnDisk(t)
	_, letter, _ := pinnedLetter(t, s, l)
	letter.pos = 2
	if s.spooler.unpinUnconfirmed(); letter.pins == nil {
		t.Error("it is unpinned before the disk was asked")
	}
	letter.unconfirmed = true
	if s.spooler.unpinUnconfirmed(); letter.pins != nil || l.disk.splitParent != nil {
		t.Error("its partition waits")
	}
}

// One that the disk does not answer about keeps its partition no longer than one that it failed to confirm.
func TestWhatADiskThatHangsDoesNotConfirm(t *testing.T) {
	s, l, _ := benchOnDisk(t)
	_, letter, _ := pinnedLetter(t, s, l)
	letter.pos, s.disk.hangs, s.disk.err = 2, true, errDiskHangs
	if s.spooler.unpinUnconfirmed(); letter.pins != nil || l.disk.splitParent != nil {
		t.Error("its partition waits")
	}
}

// What is left of a dead letter with a frame has none of its own: it would come behind those of the next ones, and end them.
func TestWhatIsLeftOfADeadLetterHasNoFrame(t *testing.T) {
	s, l, sp := benchOnDisk(t)
	s.cfg.Settle, s.disk.holding = SettleOnDisk, false
	s.dead.core, s.dead.dead, s.dead.name = &s.core, true, "t.dlq"
	s.deps.SetAside = func([]byte, [32]byte) error { return nil }
	to := &lane{topic: &s.dead, broker: l.broker, busy: true}
	to.attach(sp)
	s.dead.lanes, s.dead.batches, s.count.inFlight = []*lane{to}, 2, 2
	b := &batch{lane: to, unsettledParts: 1, events: 1, rb: recordbatch.NewPrivateBatch(2 * truncatedBytes), pos: 1}
	if !b.rb.TryAppend(0, nil, make([]byte, truncatedBytes+1), nil) {
		t.Fatal("it does not fit")
	}
	to.head = b
	next := holds(t, to, 1)
	next.pos, to.disk.framed = 2, 1
	w := s.sender.newWorker(l.broker)
	w.deadLetter(&entry{lane: to, batch: b, verdict: classSplit})
	notice := to.next()
	if notice == next || notice.unframed() || to.bareHead() != nil || to.heldUp() {
		t.Errorf("it gets a frame: %v; it is held up: %v", notice.unframed(), to.heldUp())
	}
	ended := s.finish(notice, 0, nil)
	if tell(ended); to.disk.splitParent != nil || len(s.disk.ended) != 1 || s.disk.ended[0].pos != 1 {
		t.Errorf("ended: %+v", s.disk.ended)
	}
}

// A dead letter with an unconfirmed frame is refused by its topic, and what is left of it waits.
func TestWhatIsLeftOfAnUnconfirmedDeadLetter(t *testing.T) {
	s, l, _ := benchOnDisk(t)
	_, letter, to := pinnedLetter(t, s, l)
	letter.pos, letter.unconfirmed = 2, true
	to.queue = nil
	notice := holds(t, to, 1)
	notice.takesPlaceOf(letter)
	letter.rb.Release()
	letter.rb = nil
	s.finish(letter, 0, nil)
	if s.spooler.unpinUnconfirmed(); l.disk.splitParent != nil {
		t.Error("the partition of its record waits")
	}
}

// A dead letter in doubt goes before frames on disk, so it can have none; the disk is well, and the topic takes none.
func TestADeadLetterBeforeFramesIsGivenUp(t *testing.T) {
	s, l, _ := benchOnDisk(t)
	_, letter, to := pinnedLetter(t, s, l)
	to.queue, to.head, to.disk.any = nil, letter, true
	letter.attempts, letter.bytesFinal = 1, true
	if s.spooler.giveUpDead(); to.head != nil || l.disk.splitParent != nil {
		t.Error("nothing ends its waiting")
	}
}

// The whole of a dead letter could not be set aside: its source hears so when the notice is safe.
func TestTheSourceOfADeadLetterThatIsCut(t *testing.T) {
	s, l, w := bench(t)
	s.dead.core, s.dead.dead, s.dead.name = &s.core, true, "t.dlq"
	to := &lane{topic: &s.dead, broker: l.broker, busy: true}
	s.dead.lanes, s.dead.batches, s.count.inFlight = []*lane{to}, 1, 1
	s.deps.SetAside = func([]byte, [32]byte) error { return errDisk }
	b := &batch{lane: to, unsettledParts: 1, events: 1, rb: recordbatch.NewPrivateBatch(2 * truncatedBytes)}
	if !b.rb.TryAppend(0, nil, make([]byte, truncatedBytes+1), nil) {
		t.Fatal("it does not fit")
	}
	to.head = b
	var ack ackCount
	b.await(&ack, 1)
	w.deadLetter(&entry{lane: to, batch: b, verdict: classSplit})
	if len(to.children) != 1 || to.next() != to.children[0] || to.stuck() {
		t.Fatalf("%d parts are left", len(to.children))
	}
	notice := to.children[0]
	if tell(w.out); ack.lost != 1 {
		t.Errorf("told of %d lost before its notice is safe, want 1", ack.lost)
	}
	if tell(s.finish(notice, 0, nil)); ack.done != ack.held {
		t.Errorf("%d told of %d", ack.done, ack.held)
	}
}
