package kafka

import (
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// batch is one record batch on its way, with the acks that wait for it. All fields are guarded by core.mu,
// but rb belongs to the worker that carries the batch while its lane is busy. The goroutine that writes its
// frame, the spooler or that worker, reads rb while writing is set: then it does not change and is not released.
type batch struct {
	lane *lane
	life uint32 // how often the struct was used before
	observed
	rb     *recordbatch.Batch // nil: it is on disk only
	acks   []share
	size   int   // wire bytes since it was sealed, see wireBytes; 0: it is open, on disk, or read back
	events int   // what the ledger counts for it; 0 for a notice about an event that is counted elsewhere
	lowest int64 // how many events were admitted with the first of it; 0: it is not known, or a parent's

	opened   time.Time // first append; linger counts from here; zero: it is over (Flush)
	sent     time.Time // first send; zero: never sent, so it is certainly not in the log
	attempts int       // how often it was sent
	corrupt  int       // how often the broker called it corrupt
	// corruptSince is when it, or the one that it is a part of, was first called so.
	corruptSince time.Time
	sticky       bool  // it took a keyless record: the next one goes to another partition
	compressed   bool  // the bytes are final except for the stamp
	suspected    bool  // counted as a possible duplicate because the last process may have delivered it
	bytesFinal   bool  // compressed and stamped: the bytes that are sent
	private      int64 // bytes of its own memory outside of the pool; 0: pooled
	child        bool  // it came out of a split
	held         int64 // its part of topic.held

	stamp   stamp // meaningful while stamped
	stamped bool
	sends   int // under this stamp
	// maybeWritten: an answer was lost, or told of an error that Kafka raises after an append as well, so the batch may
	// be in the log under this stamp. It is false again when that copy was counted as a possible duplicate, because the
	// batch goes again in a way in which the broker does not recognise it.
	maybeWritten bool
	known        time.Time // the earliest time that the broker may take for when it learned the stamp, see entry.date
	collided     bool      // its first send was answered as a resend: it went again under another id
	untimed      bool      // its records carry no timestamps because the broker refused theirs

	pos               diskqueue.Pos // of its frame in the spool; 0: it has none
	writing           bool          // its frame is being written
	among             uint16        // see lane.among; as the frame says that is being written
	ackedWhileWriting bool          // it was acknowledged while writing; the spooler settles it
	loaded            bool          // rb was read from its frame, and goes when the request ends
	dropped           bool          // given up, not sent
	coveredBy         *batch        // it came out of this batch, which has a frame: that is enough for both
	pins              *batch        // whose frame stays until this one has its own, or is settled
	unconfirmed       bool          // the disk has failed to confirm its frame
	partDelivered     bool          // of the one that covers others: one of them is in the log

	// A batch that was split lives on as the parent of its children until all of them are settled.
	parent         *batch
	unsettledParts int // settlements it waits for
	// toFrame is how many of its children are neither durable nor acknowledged yet, of a batch whose children get frames of their
	// own; 0: a frame of its own stands for them, or it has none.
	toFrame int
	durable bool // its frame is, or all of its children are safe
	lost    int
	// hopeless are those of lost for which a resend would end the same.
	hopeless int
}

// lane is one partition's ordered queue of batches. At most one batch of a lane is in doubt: it was sent
// and has no answer yet. Until it is resolved exactly these bytes are sent again, and nothing passes it.
//
// In order: head, children, the frames that are on disk only, queue, open. Frames are a prefix of that: no batch is given
// one unless all before it have, so the order on disk is the lane's. What is in memory without one while frames are on
// disk (the spool was opened late, or had failed) goes without: see bareHead.
type lane struct {
	topic     *topic
	partition int32
	broker    *broker // the leader's; nil: no leader known

	open     *batch   // takes appends
	queue    []*batch // sealed, not yet sent
	children []*batch // of a batch that was split
	head     *batch   // stamped
	busy     bool     // a request carries head right now

	disk diskPart

	stamps stamps

	acked       time.Time // when a batch of it was last acknowledged
	ledSince    time.Time // when it got a leader; meaningful while it has one
	movingSince time.Time // its first acknowledgement since it failed last
	stuckSince  time.Time // when it began to fail; zero: it does not
	judged      time.Time // when stuckNow was found out
	stuckNow    bool
	refused     bool  // what failed last was the content of a batch: the lane waits for its dead letters alone
	private     int64 // bytes of its batches outside of the pool
	held        int64 // its part of topic.held

	failures  int
	retryAt   time.Time
	trouble   trouble // why the last request with its batch failed; kind 0: it did not
	troubleAt time.Time
}

// topic is one topic's lanes.
type topic struct {
	core       *core
	name       string
	dead       bool // it takes the dead letters
	lanes      []*lane
	gone       []*lane // of partitions that are no more, while their frames are placed
	unassigned *lane   // takes records for the spool while the partitions are not known; nil: none yet, or no more
	limit      int     // batch bytes; lowered when the broker refuses a batch as too large, see raiseLimit

	leaders    []int32 // last known, by partition; -1: none
	sticky     int     // lane for keyless records
	fewer      fewer   // partitions than lanes
	grow       int     // the topic has this many partitions now; 0: as many as lanes
	held       int64   // bytes of unsettled records; kept for the dead-letter topic only
	private    int64   // bytes of batches outside of the pool
	childBytes int64   // the part of private that came out of splits
	wanted     int64   // the largest record that an appender waits for room for in private; 0: none
	// wantedAt is since when, or since it was last tried to make that room.
	wantedAt time.Time

	drainsLast *lane // one that keeps the topic from growing; nil: none is known
	batches    int   // unsettled, open ones included

	fresh, used bool // records came since the last mark; since the sequence began

	err        error     // why it cannot be used now
	createErr  error     // why it could not be created
	unusable   bool      // err is not going to go away by itself
	refusals   int       // answers in a row that an operator must act
	lowered    time.Time // when limit was lowered, or raised again
	keeps      times     // which timestamps
	described  bool      // its settings were asked for
	unanswered int       // so often in vain

	// instance is the lane of keyless records with KeylessInstance, modulo the number of lanes: a hash of Config.Instance,
	// until that lane cannot move.
	instance int
}

// advanceSticky moves keyless records to the next partition that can move, else to the next that has a leader.
func (t *topic) advanceSticky() {
	n := len(t.lanes)
	led := -1
	for i := 1; i <= n; i++ {
		next := (t.sticky + i) % n
		if l := t.lanes[next]; !l.stuck() {
			t.sticky = next
			return
		} else if l.broker != nil && led < 0 {
			led = next
		}
	}
	if led >= 0 {
		t.sticky = led
	}
}

// stickyLane is where keyless records go now: not to a partition that fails if there is another one.
func (t *topic) stickyLane() *lane {
	if t.lanes[t.sticky].stuck() {
		t.advanceSticky()
	}
	return t.lanes[t.sticky]
}

// newBatch takes a batch struct from the free list. Its record batch is set by the caller.
func (s *core) newBatch(l *lane) *batch {
	if n := len(s.free); n > 0 {
		b := s.free[n-1]
		s.free = s.free[:n-1]
		b.unsettledParts, b.lane = 1, l
		return b
	}
	return &batch{unsettledParts: 1, lane: l}
}

func (s *core) freeBatch(b *batch) {
	clear(b.acks)
	*b = batch{acks: b.acks[:0], life: b.life + 1, observed: observed{}} // it begins anew
	if len(s.free) < 256 {
		s.free = append(s.free, b)
	}
}

// adopt counts a batch outside of the pool as one of the topic's, with bytes of memory.
func (t *topic) adopt(b *batch, bytes int64) {
	b.private = bytes
	t.private += b.private
	b.lane.private += b.private
	t.batches++
	if b.child {
		t.childBytes += b.private
	}
}

// adoptWhole is adopt for a batch that does not grow any more.
func (t *topic) adoptWhole(b *batch) {
	b.size = b.rb.Size()
	t.adopt(b, int64(b.rb.Chunks())*recordbatch.ChunkSize)
	if t.dead {
		b.held = b.private
		t.held += b.held
		b.lane.held += b.held
	}
}

// unload gives the memory of b's records back and takes b out of its topic's count.
func (s *core) release(t *topic, b *batch) {
	t.batches--
	t.held -= b.held
	t.private -= b.private
	b.lane.held -= b.held
	b.lane.private -= b.private
	if b.child {
		t.childBytes -= b.private
	}
	b.private, b.held, b.size = 0, 0, 0
	b.rb.Release()
	b.rb = nil
	s.madeRoom()
}

func (t *topic) addLanes(n int) {
	for len(t.lanes) < n {
		l := &lane{topic: t, partition: int32(len(t.lanes)), stamps: stamps{past: t.core.retired}}
		t.lanes = append(t.lanes, l)
		l.attach(t.core.disk.sp)
	}
}

// unassignedLane is the lane for records of a topic whose partitions are not known yet.
func (t *topic) unassignedLane() *lane {
	if t.unassigned == nil {
		t.unassigned = &lane{topic: t, partition: unassignedPartition}
		t.unassigned.attach(t.core.disk.sp)
		if len(t.lanes) == 0 && t.err != nil { // it is missing, which others need not be
			t.unassigned.fails(time.Now())
		}
	}
	return t.unassigned
}

// privateBatch is a batch of one record outside of the pool.
func (s *core) privateBatch(l *lane, r *sink.Record, first *recordbatch.Encoded, size int) *batch {
	b := s.newBatch(l)
	b.rb, b.opened = recordbatch.NewPrivateBatch(size), time.Now()
	if !b.rb.TryAppendEncoded(r, first) {
		panic("kafka: a private batch refused the record it was made for")
	}
	return b
}

// enqueue puts a sealed private batch at the end of a lane, behind what is open there.
func (s *core) enqueue(l *lane, b *batch) {
	l.seal()
	l.topic.adoptWhole(b)
	l.queue = append(l.queue, b)
	l.wantFrame()
	l.signal()
}

// movesTo puts a batch that has left its lane at the end of another one of its topic.
func (b *batch) movesTo(to *lane) {
	b.lane.held -= b.held
	b.lane.private -= b.private
	to.held += b.held
	to.private += b.private
	b.lane, b.bytesFinal, b.attempts, b.sent = to, false, 0, time.Time{} // it was never sent there
	if b.child {
		b.child = false
		to.topic.childBytes -= b.private
	}
	to.seal()
	to.queue = append(to.queue, b)
	to.wantFrame()
	to.signal()
}

// suspect counts one more copy of a batch that may come to be in the log.
func (s *core) suspect(b *batch) {
	b.maybeWritten = false // that copy is counted; the next one is another
	s.possibleDuplicates.Add(int64(b.events))
}

// compress compresses a batch once. The lock is free.
func (s *core) compress(b *batch, scratch *recordbatch.Scratch) {
	if b.compressed {
		return
	}
	b.compressed = true
	s.rawBytes.Add(int64(b.rb.Size()))
	// An encoder that fails leaves the batch as it was: it goes uncompressed.
	chunks, size := b.rb.Chunks(), b.rb.Size()
	_ = b.rb.Compress(recordbatch.Codec(s.codec.Load()), scratch)
	if b.rb.Size() == size {
		return
	}
	s.mu.Lock()
	if b.size != 0 {
		b.size = b.rb.Size()
	}
	if b.rb.Chunks() < chunks {
		s.madeRoom()
	}
	s.mu.Unlock()
}

// inTroubleNow notes what keeps the lane's batch from Kafka.
func (l *lane) inTroubleNow(t trouble) {
	if l.failures == 0 || l.trouble.kind == noTrouble {
		l.troubleAt = time.Now()
	}
	if !l.trouble.same(t) {
		l.topic.core.changes.ring()
	}
	l.trouble = t
}

// outOfTrouble notes that the lane's batch was acknowledged.
func (l *lane) outOfTrouble() {
	if l.trouble.kind != noTrouble {
		l.trouble = trouble{}
		l.topic.core.changes.ring()
	}
}

// fails notes that the lane could not send: since then, or since the batch was first sent that got no answer, but not while
// the process stood still.
func (l *lane) fails(since time.Time) {
	if !l.stuckSince.IsZero() {
		return
	}
	if l.stuckSince = since; since.Before(l.topic.core.thawedAt) {
		l.stuckSince = l.topic.core.thawedAt
	}
}

// moves notes that the broker acknowledged a batch of the lane. A short trouble does not interrupt its moving: a
// connection that ended, an answer that was lost.
func (l *lane) moves(now time.Time) {
	l.acked = now
	long := l.topic.core.deps.stuckAfter / 4
	if l.movingSince.IsZero() || !l.stuckSince.IsZero() && l.acked.Sub(l.stuckSince) > long {
		l.movingSince = l.acked
	}
	l.stuckSince, l.stuckNow, l.refused = time.Time{}, false, false
}

// refusalEnds notes that a batch has left whose content was refused: the lane waits for nothing of it any more.
func (l *lane) refusalEnds() {
	l.failures = 0
	if l.refused = false; !l.stuck() {
		l.stuckSince, l.stuckNow = time.Time{}, false
	}
}

// unassignedPartition has the frames of records that came before the topic's partitions were known.
const unassignedPartition = -1
