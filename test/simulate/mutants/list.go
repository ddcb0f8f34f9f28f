package main

// mutant is a deliberate mistake: small edits, and the scenario in which the simulation must find it.
type mutant struct {
	name     string
	fault    string // of findings that it brings back; "": none
	scenario string
	edits    []edit
}

// edit replaces old by new in the one place of the package that has it. White space in old matches any white space, and
// $a to $z in it stand for names (of a receiver, for example), so that code can be moved and renamed. new may use them.
type edit struct {
	dir      string // of the package; "": pkg/sink/kafka
	old, new string
}

const spoolDir = "internal/spool"

func in(dir, old, new string) []edit { return []edit{{dir, old, new}} }

func sink(old, new string) []edit { return in("", old, new) }

// mutants each break one rule that the delivery core or the spool keeps.
var mutants = []mutant{
	// Stamps: a stamp that was sent is never given to other bytes.
	{"a stamp that was acknowledged is given again", "", "memory", sink(
		`t.next.seq = int32((uint32(t.next.seq) + uint32(n)) & math.MaxInt32)`, `_ = math.MaxInt32 + n`)},
	{"a stamp that was abandoned is given again", "core F2", "refused-resend", sink(
		`t.next.epoch++ t.next.seq = 0`, ``)},
	{"a resend gets a new stamp", "", "recognised", sink(
		`if l.needsStamp(b) { b.stamp, b.stamped`, `if b.stamped { l.stamps.withdraw(b.stamp); l.stamps.next.seq++ }; if l.needsStamp(b) || b.stamped { b.stamp, b.stamped`)},
	{"a partition begins again behind an inherited stamp", "core F1", "late-frames", sink(
		`func (t *stamps) acked(st stamp, n int) { if !t.gave(st) {`, `func (t *stamps) acked(st stamp, n int) { if !t.gave(st) { t.next = stamp{}`)},
	{"the stamps of another cluster are kept", "core F3", "other-cluster", append(sink(
		`if st.Cluster == "" || $s == "" || st.Cluster == $t {`, `if true {`), sink(
		`l.stamps.forget($s.current.gen) if b := l.head; b != nil {`, `if b := l.head; b != nil && false {`)...)},

	// Answers.
	{"an error of the disk is taken for success", "", "steady", sink(
		`switch code { case 0, errDuplicate:`, `if code == 56 { return classOK, true }; switch code { case 0, errDuplicate:`)},
	{"a code that can follow an append counts as one before it", "core F14", "late-codes", sink(
		`case errCorrupt, 10, 17,`, `case 6, 7, 20, 56, errCorrupt, 10, 17,`)},
	{"a lost answer counts as a refusal", "", "memory", sink(
		`if !errors.Is(err, ErrOtherCluster) { // then it was not sent e.batch.maybeWritten = true }`, `_ = errors.Is`)},
	{"a batch that is sent anew is not counted as a possible duplicate", "", "steady", append(sink(
		`l.stamps.forget(b.stamp.gen) } if b.maybeWritten {`, `l.stamps.forget(b.stamp.gen) }; if false {`), sink(
		`if b.maybeWritten && (b.sends == 0 || b.stamp.id < 0 || forgotten) {`, `if b.maybeWritten && (b.stamp.id < 0 || forgotten) {`)...)},
	{"a batch that is taken apart is not counted as a possible duplicate", "", "refused-resend", sink(
		`if e.batch.maybeWritten { $w.mu.Lock()`, `if false { $w.mu.Lock()`)},
	{"what the brokers have forgotten is not counted as a possible duplicate", "", "forgotten", sink(
		`forgotten := $s.forgets(b, now)`, `forgotten := false && $s.forgets(b, now)`)},
	{"a broker is thought to forget by its own clock", "", "refused-resend", sink(
		`dated: l.topic.keeps != timesAppend}`, `dated: false}`)},
	{"a first send that is answered as a resend is believed", "", "clones", sink(
		`if !b.collided && b.collides(p) {`, `if false && b.collides(p) {`)},
	{"a waiter is told twice", "", "steady", sink(
		`for _, a := range b.acks { out = append(out, settled{a.ack, min(`, `for _, a := range append(b.acks, b.acks...) { out = append(out, settled{a.ack, min(`)},
	{"a waiter is told when the first part is settled", "", "refused-resend", sink(
		`b.unsettledParts-- if b.unsettledParts > 0 {`, `b.unsettledParts--; if b.unsettledParts > 9 {`)},
	{"a call is not held", "", "steady", sink(
		`ack.Hold() b.acks = append(b.acks, share{`, `b.acks = append(b.acks, share{`)},
	{"delivered events stay in flight", "", "steady", sink(
		`$s.inFlight -= int64(b.events) l.stamps.acked`, `l.stamps.acked`)},

	// Order.
	{"the halves of a batch go behind what follows it", "", "refused-resend", sink(
		`l.children = append(queue, l.children...)`, `l.queue = append(l.queue, queue...)`)},
	{"a batch without an answer leaves its partition", "", "memory", sink(
		`l.busy = false if pause > 0 {`, `l.busy = false; if l.failures == 2 && b.pos == 0 && !b.writing && len(l.queue) > 0 { l.head = nil; l.queue = append(l.queue, b) }; if pause > 0 {`)},
	{"a topic grows while a partition has unsettled batches", "core F10", "growth", append(sink(
		`if t.batches != 0 { return false }`, ``), sink(
		`if l.disk.any { return true } $s := l.topic`, `$s := l.topic`)...)},
	{"a new process places by the count of now", "", "growth-kills", sink(
		`if among = max(among, used); among < n {`, `if among = max(among, used); among < 0 {`)},
	{"what has no frame overtakes the frames", "", "power", sink(
		`case l.disk.any: l.head = l.takeFrame() return l.head case len(l.queue) == 0: l.seal() }`,
		`case l.disk.any && len(l.queue) == 0: l.head = l.takeFrame(); return l.head; case len(l.queue) == 0: l.seal() }`)},
	{"new events overtake the unassigned ones", "", "full-disk", sink(
		`case n == 0 && $s.mayWaitUnassigned(), t.unassigned != nil:`, `case n == 0 && $s.mayWaitUnassigned():`)},

	// Topics.
	{"a record goes to the topic of the one before it with the same key", "", "topics", sink(
		`i > 0 && (r.Topic != recs[i-1].Topic || !bytes.Equal(`, `i > 0 && (!bytes.Equal(`)},
	{"frames that wait for their topic are placed in the first one", "", "topics-durable", sink(
		`err = s.placeQueue(t, q)`, `err = s.placeQueue(s.topics[0], q)`)},

	// Topics with fewer partitions.
	{"parts of a split batch stay with a partition that is no more", "", "split-fewer", append(sink(
		`} l.evictParts() }`, `} }`), sink(
		`l.evictParts() l.evictQueue()`, `l.evictQueue()`)...)},
	{"a frame is placed before what was taken apart of it, when its partition is no more", "", "split-fewer", append(sink(
		`$s.noteUnfinished(unplacedQueue{l.topic.name, l.partition}, f)`, ``), sink(`$s.goesOn = true // the frames`, `// the frames`)...)},
	{"what is carried for a partition that cannot move holds up all others", "", "carried", sink(
		`if l.stuck() { continue } l.batches(func(b *batch) { for`, `l.batches(func(b *batch) { for`)},
	{"a dead letter waits for a partition that does not take it", "", "split-fewer", sink(
		`if !$g && ($l.stuckSince.IsZero() || !$t.stuckSince.IsZero() || !$s.spiller.room.deadStuck()) {`, `if !$g {`)},
	{"what is placed may take more entries than the index has", "", "few-entries", sink(
		`case errors.Is(err, errIndexFull): full, pause`, `case false: full, pause`)},
	{"what replaces frames has no entries of its own", "", "few-entries", in(spoolDir,
		`return c.MaxFrames + c.MaxFrames/4`, `return c.MaxFrames`)},

	// Memory and room.
	{"memory of private batches is not given back", "", "big-events", sink(
		`t.private -= b.private b.lane.held`, `b.lane.held`)},
	{"large events never go to disk", "core F7", "big-events", sink(
		`if t.wanted != 0 && !$s.oversizeFits(t, t.wanted) {`, `if t.wanted < 0 {`)},
	{"what is known of the disk has no age", "core F8", "full-disk", append(sink(
		`if $p.sp == nil || $q.pressed { return nil, func() {} }`, `if $p.sp == nil || $q.pressed || isFull($p.err) { return nil, func() {} }`), sink(
		`if $p.err == nil || $q.hangs || $s.closed {`, `if $p.err == nil || $q.hangs || $s.closed || isFull($p.err) {`)...)},
	{"what a disk took before it ran full is not placed", "", "full-disk", sink(
		`return err == nil || g.last != 0`, `return err == nil`)},
	{"a frame that is placed in part is dropped", "", "drops", sink(
		`if disk.placing || !d.any ||`, `if !d.any ||`)},
	{"frames without a partition wait for the disk for ever", "core F9", "squeezed", sink(
		`return time.Since($p.placingFails) < $s.deps.placingPatience`, `return true`)},
	{"a dead letter that waits keeps the spooler awake", "core F13", "busy-loop", sink(
		`if !pressed { pressed, $s.pressed = true, true`, `if !pressed || true { pressed, $s.pressed = true, true`)},

	{"a dead letter holds up its partition until its topic takes it", "", "no-dead-topic", append(sink(
		`b.acks, b.durable = b.acks[:0], true out = b.unpin(out)`, `b.acks, b.durable = b.acks[:0], true`), sink(
		`if s.cfg.Settle != SettleOnDisk { s.later(b.unpin(nil))`, `if s.cfg.Settle != SettleOnDisk {`)...)},
	{"what waits in memory for a partition that cannot move stays there", "", "carried", sink(
		`return fits(0) || fits(t.core.giveUpStuck(t, n))`, `return fits(0)`)},

	// Disk.
	{"clients are told before the disk has the frame", "", "power", sink(
		`err := $s.syncOnDisk(func() error { return $p.sp.Sync(g.first, g.last) }) took = `, `var err error; took = `)},
	{"stamps of frames are not noted before they are sent", "", "durable", sink(
		`if len(notes) > 0 { err =`, `if len(notes) < 0 { err =`)},
	{"the end of a frame is not noted before batches without one", "", "behind", sink(
		`if e.behind { behind =`, `if false { behind =`)},
	{"a suspect frame is not counted as a possible duplicate", "", "power", sink(
		`if e.suspect && !e.batch.suspected {`, `if false && !e.batch.suspected {`)},
	{"frames that left memory are forgotten", "", "durable", sink(
		`$s.evict(b) l.extendDisk(b.pos)`, `$s.evict(b)`)},
	{"a torn frame is taken for a whole one", "", "power", append(in(spoolDir,
		`return crc == h.batchCRC`, `return true`), in(spoolDir,
		`if checksum(batch) != h.batchCRC {`, `if false {`)...)},
	{"the disk is not asked to keep a frame", "", "power", in(spoolDir,
		`targets[i].err = targets[i].file.Sync()`, `targets[i].err = nil`)},
	{"the name of a new file is not made durable", "", "power", in(spoolDir,
		`dirErr = $s.fs.SyncDir($c.cfg.Dir)`, ``)},
	{"the cursor moves when the frame is sent", "", "durable", in(spoolDir,
		`q.cursor.doubt, q.cursor.stamp = f.Pos, f.Stamp`, `q.cursor.done = f.Pos`)},
	{"the frame in doubt loses its stamp", "", "durable", in(spoolDir,
		`q.cursor.doubt, q.cursor.stamp = f.Pos, f.Stamp`, `q.cursor.doubt = f.Pos`)},
	{"a segment goes while a frame of it is not done", "", "durable", in(spoolDir,
		`g.live-- g.dead +=`, `g.live = 0; g.dead +=`)},
	{"half of what replaces a frame is sent with the frame", "", "durable", in(spoolDir,
		`s.dropVoid() s.settleCursors()`, `s.settleCursors()`)},
	{"old cursors are believed after a loss of power", "", "power", in(spoolDir,
		`c.stale = !clean && !(l.file.whole && l.file.header.boot == c.boot)`, ``)},

	// Damage: who reads a frame counts it, once.
	{"the frame behind a damaged one is taken for it", "", "damage", sink(
		`f, err := q.Read(b.pos, *buf)`, `f, _, err := q.PeekAfter(b.pos-1, *buf)`)},
	{"a damaged frame that was being read is not counted", "", "damage", sink(
		`if damaged { $s.drop(DroppedDamaged, b.events) } else {`, `if !damaged {`)},
	{"a frame that is half placed is read again", "", "squeezed", sink(
		`if p.pos == 0 { f, pos, err := q.PeekAfter(last, buf)`, `if true { f, pos, err := q.PeekAfter(last, buf)`)},
}
