package kafka

import (
	"strconv"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// mustSplit reports whether the broker refused the batch whole and nothing of it is in the log.
func (e *entry) mustSplit() bool { return e.verdict != classOK }

// split divides a refused batch: into halves by record count, until a single record is refused,
// which goes to the dead letters. Records whose time is refused are sent again without it.
//
// A batch that may be in the log all the same (its first answer was lost, and the limit was lowered
// since) cannot be recognised in halves: it is counted as a possible duplicate.
func (w *worker) split(e *entry) {
	if e.batch.maybeWritten {
		w.s.mu.Lock()
		w.s.suspect(e.batch)
		w.s.mu.Unlock()
	}
	switch b := e.batch; {
	case e.code == errCompression:
		w.replace(e, 1, again)
	case e.code == errTimestamp && !b.untimed && (b.rb.Count() == 1 || b.sameTime()):
		w.replace(e, 2, untimed)
	case b.rb.Count() == 1:
		w.deadLetter(e)
	case w.takeOut(e):
	default:
		w.replace(e, 1, halves)
	}
}

// sameTime reports whether the records of b lie within a second. The broker then refuses the time of nearly
// all of them or of none. With times of the events' own the first one need not be the lowest.
func (b *batch) sameTime() bool {
	lowest := b.rb.FirstTimestamp()
	err := b.rb.Records(func(at int64, _, _ []byte, _ []sink.Header) bool {
		lowest = min(lowest, at)
		return true
	})
	return err == nil && b.rb.MaxTimestamp()-lowest <= 1000
}

// replace puts what rebuild makes of a batch's records in its place: halves, or the same without timestamps.
// Their memory is their own, growth times the batch's at most: a sender never waits for a buffer of the pool.
func (w *worker) replace(e *entry, growth int, rebuild func(*recordbatch.Batch) ([]*recordbatch.Batch, error)) {
	s, l, b := w.s, e.lane, e.batch
	t := l.topic
	// A batch from the pool needs new memory for its parts; a private one only passes its own on. The maximum
	// is what its records take uncompressed. Parts have a bound of their own and are the first of their
	// lanes: no split waits for what is behind it.
	need := int64(0)
	if b.private == 0 {
		need = int64(s.cfg.BatchBytes) * int64(growth)
	}
	s.mu.Lock()
	if need != 0 && !t.splitFits(need) {
		s.putBackLocked(e)
		s.mu.Unlock()
		return
	}
	t.private, t.childBytes = t.private+need, t.childBytes+need
	s.mu.Unlock()
	parts, err := rebuild(b.rb)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.private, t.childBytes = t.private-need, t.childBytes-need
	if err != nil {
		s.unreadableLocked(e, err)
		return
	}
	s.splits.Add(1)
	l.head, l.busy, l.failures = nil, false, 0
	l.abandonStamp(b)
	cover := b.coverChildren()
	if e.verdict == classSplit {
		// The topic's limit is below our batches: make the next ones smaller.
		t.limit, t.lowered = max(minSplitLimit, min(t.limit, b.rb.Size()/2)), time.Now()
	}
	queue := make([]*batch, 0, len(parts)+len(l.children))
	events := b.events
	for _, rb := range parts {
		p := s.newBatch(l)
		p.rb, p.parent, p.child, p.opened, p.coveredBy = rb, b, true, b.opened, cover
		p.corruptSince = b.corruptSince
		p.untimed = b.untimed || e.code == errTimestamp && len(parts) == 1
		p.events = min(events, rb.Count()) // all records of a batch count one, or it is a single notice
		events -= p.events
		t.adoptWhole(p)
		queue = append(queue, p)
	}
	b.unsettledParts = len(parts)
	b.events = 0
	w.out = b.childrenGetFrames(cover, queue, w.out)
	s.release(t, b)
	l.children = append(queue, l.children...)
	l.onIdle()
}

// coverChildren notes that b's children take its place, and returns the batch whose frame stands for them, if there
// is one: its lane waits until all of them are settled.
func (b *batch) coverChildren() (cover *batch) {
	if b.coveredBy != nil {
		return b.coveredBy
	}
	if b.pos == 0 {
		return nil
	}
	b.lane.disk.splitParent = b
	return b
}

// childrenGetFrames notes that b's children get frames of their own, unless cover's frame stands for them: the acks of b are
// told when all of them are safe, and a frame that stays for b's sake stays for theirs.
func (b *batch) childrenGetFrames(cover *batch, children []*batch, out []settled) []settled {
	if cover != nil {
		return out
	}
	b.toFrame = len(children)
	for _, p := range children {
		p.pin(b.pins)
	}
	return b.unpin(out)
}

// deadLetter sends the single record that the broker refused to the dead letters, in place of its batch. The
// record's source is settled when the dead letter is.
func (w *worker) deadLetter(e *entry) {
	s, l, b := w.s, e.lane, e.batch
	if !l.topic.dead && !w.mayDeadLetter(e) {
		return
	}
	// The batch is ours while its lane is busy: what follows is outside of the lock, it may set aside.
	r, err := single(b.rb)
	hopeless := l.topic.dead && (b.events == 0 || len(r.Value) <= truncatedBytes)
	if !l.topic.dead {
		r.Headers = append(s.letters.deadHeaders(r.Headers, l.topic, e.reason(), len(r.Value)), e.why(0))
	}
	truncated := err == nil && !hopeless && (l.topic.dead || len(r.Value) > maxDeadLetterBytes)
	var kept error
	if truncated {
		r.Value, r.Headers, kept = s.letters.truncate(r.Value, r.Headers)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.unreadableLocked(e, err)
		return
	}
	s.splits.Add(1)
	events, lost := b.events, 0
	switch {
	case hopeless: // even the dead-letter topic refuses it, and it cannot be made smaller
		s.warnLimited("dead letter refused", "a dead letter is dropped: its own topic refuses it", "error", codeName(e.code), "message", e.message)
		s.drop(droppedDeadRefused, events)
		b.hopeless += events
		w.removeLocked(e, events)
		return
	case truncated:
		lost = s.letters.settleWholeLocked(kept)
		b.hopeless += lost
		events = 0
	}
	to := l // what is left of a dead letter stays in front of its lane, which may wait for it
	if !l.topic.dead {
		to = s.dead.stickyLane()
		s.letters.noteDeadLocked(sink.DeadNote{Reason: e.reason(), Topic: l.topic.name, Partition: l.partition, Error: codeText(e.code, e.message)}, r.Value)
	}
	d := s.privateBatch(to, &r, nil, recordbatch.RecordSize(r.Key, r.Value, r.Headers))
	d.events = events
	if d.takesPlaceOf(b); to == l {
		d.goesFirst()
	} else {
		s.bury(to, d)
	}
	w.removeLocked(e, lost)
}

// goesFirst puts what is left of a dead letter in front of its lane. Where the frame of that is in the same lane it has none of its
// own: it would come behind those of the next ones, and end them with it.
func (d *batch) goesFirst() {
	l := d.lane
	if whole := d.pins; whole != nil && whole.lane == l {
		d.coveredBy = whole
	}
	d.child = true
	l.topic.adoptWhole(d)
	l.children = append([]*batch{d}, l.children...)
	l.wantFrame()
}

// bury puts a dead letter at the end of its lane. Where it replaces a frame it gets one, whatever Config.Settle says.
func (s *sender) bury(to *lane, d *batch) {
	s.want.deadTopicSoon()
	if d.pins != nil {
		s.room.examineAnew()
	}
	s.enqueue(to, d)
	if d.pins != nil {
		s.spooler.committer.frameWantedLocked(to)
		wake(s.disk.kick) // also while the disk hangs: then it can have none
	}
}

// mayDeadLetter reports whether the dead letters have room for one more; else the batch is sent again later, or
// dropped when nothing takes it.
func (w *worker) mayDeadLetter(e *entry) bool {
	s, b := w.s, e.batch
	s.mu.Lock()
	defer s.mu.Unlock()
	framed := !b.unframed() || b.pinned() != nil // a dead letter of it needs a frame
	switch {
	case !s.room.deadFull() && (!framed || s.room.mayWaitForFrame()):
		return true
	case s.letters.deadMaySpillLocked():
		s.spooler.spiller.pressLocked()
		s.putBackLocked(e)
	case s.room.deadGone() && !s.diskIsSlow():
		s.dropDead(b.events)
		w.removeLocked(e, b.events)
	default:
		s.putBackLocked(e)
	}
	return false
}

// removeLocked takes a refused batch out of its lane; lost of its events were dropped.
func (w *worker) removeLocked(e *entry, lost int) {
	s, l, b := w.s, e.lane, e.batch
	l.head, l.busy = nil, false
	l.refusalEnds()
	l.abandonStamp(b)
	b.events = 0
	s.release(l.topic, b)
	w.out = s.finish(b, lost, w.out)
	l.onIdle()
	s.checkDrained()
}

// reason is the dead letter's.
func (e *entry) reason() string {
	if e.verdict == classSplit {
		return reasonTooLarge
	}
	return reasonRefused
}

// unreadableLocked keeps a batch whose records cannot be read back.
func (s *sender) unreadableLocked(e *entry, err error) {
	s.warnLimited("isolate", "a batch that the broker refused cannot be read back; sending it again", "error", err)
	s.putBackLocked(e)
}

// putBackLocked leaves the batch in doubt; it will be sent, refused and taken apart again later.
func (s *sender) putBackLocked(e *entry) {
	refused := e.lane.refused
	s.failedLocked(e, classRetry, e.code, e.message)
	e.lane.refused = refused // the broker answers, whatever the batch waits for
	e.lane.onIdle()
}

// single reads the only record of a batch.
func single(rb *recordbatch.Batch) (r sink.Record, err error) {
	err = rb.Records(func(ts int64, key, value []byte, h []sink.Header) bool {
		r = sink.Record{Timestamp: ts, Key: key, Value: value, Headers: h}
		return true
	})
	return r, err
}

// untimed rebuilds the records of a batch in a private one, with the time of each in a header instead.
func untimed(rb *recordbatch.Batch) ([]*recordbatch.Batch, error) {
	size := 0
	var text []byte
	var headers []sink.Header
	timeless := func(ts int64, h []sink.Header) []sink.Header {
		text = strconv.AppendInt(text[:0], ts, 10)
		headers = append(append(headers[:0], h...), sink.Header{Key: headerTimestamp, Value: text})
		return headers
	}
	if err := rb.Records(func(ts int64, key, value []byte, h []sink.Header) bool {
		size += recordbatch.RecordSize(key, value, timeless(ts, h))
		return true
	}); err != nil {
		return nil, err
	}
	out := recordbatch.NewPrivateBatch(size)
	err := rb.Records(func(ts int64, key, value []byte, h []sink.Header) bool {
		if !out.TryAppend(recordbatch.NoTimestamp, key, value, timeless(ts, h)) {
			panic("kafka: a private batch refused the records it was made for")
		}
		return true
	})
	return []*recordbatch.Batch{out}, err
}

// again rebuilds the records of a batch in a private one.
func again(rb *recordbatch.Batch) ([]*recordbatch.Batch, error) { return cut(rb, rb.Count()) }

// halves rebuilds the records of a batch, which are two at least, in two private batches.
func halves(rb *recordbatch.Batch) ([]*recordbatch.Batch, error) {
	return cut(rb, (rb.Count()+1)/2, rb.Count())
}

// cut rebuilds the records of a batch in private ones, each up to the record that one of ends counts to.
func cut(rb *recordbatch.Batch, ends ...int) ([]*recordbatch.Batch, error) {
	sizes := make([]int, len(ends))
	i, part := 0, 0
	next := func() {
		for i++; part < len(ends)-1 && i >= ends[part]; part++ {
		}
	}
	if err := rb.Records(func(_ int64, key, value []byte, h []sink.Header) bool {
		sizes[part] += recordbatch.RecordSize(key, value, h)
		next()
		return true
	}); err != nil {
		return nil, err
	}
	parts := make([]*recordbatch.Batch, len(ends))
	for i := range parts {
		parts[i] = recordbatch.NewPrivateBatch(sizes[i])
	}
	i, part = 0, 0
	err := rb.Records(func(ts int64, key, value []byte, h []sink.Header) bool {
		if !parts[part].TryAppend(ts, key, value, h) {
			panic("kafka: a private batch refused the records it was made for")
		}
		next()
		return true
	})
	return parts, err
}
