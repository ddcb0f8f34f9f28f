package kafka

import (
	"errors"
	"io"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// replay is the memory for frames that are read back. A request holds them; nothing waits for it but the
// second frame of a request.
type replay struct{ pool *recordbatch.Pool }

// maxKeptFrame is the largest buffer for reading that a worker keeps.
const maxKeptFrame = 512 << 10

// fits reports whether a frame of n bytes goes in.
func (r *replay) fits(n int) bool {
	return n <= r.pool.Free()*recordbatch.ChunkSize
}

// batch makes a batch of a frame; outside of the pool if that is full.
func (r *replay) batch(wire []byte) (*recordbatch.Batch, error) {
	rb := r.pool.NewBatch(0)
	ok, err := rb.TryLoad(wire)
	if ok {
		return rb, nil
	}
	rb.Release()
	if err != nil {
		return nil, err
	}
	rb = recordbatch.NewPrivateBatch(len(wire))
	if _, err := rb.TryLoad(wire); err != nil {
		return nil, err
	}
	return rb, nil
}

// readFrames reads the frames of the request from the spool. What cannot be read leaves it before it is sent. false: the disk
// hangs, and runUnread has gone on; these batches are given back when it answers.
func (w *worker) readFrames() bool {
	if w.loads == 0 {
		return true
	}
	entries, buf := w.entries, w.buf
	w.buf = nil
	ok, err := w.s.writer.tryToRead(w.runUnread, func() {
		for i := range entries {
			if e := &entries[i]; e.load {
				e.failed = w.load(e, &buf)
			}
		}
	})
	if !ok {
		w.giveBack(entries)
		return false
	}
	w.buf = buf
	for i := range entries {
		if e := &entries[i]; err != nil && e.load { // such a call hangs already
			e.failed = err
		}
	}
	return true
}

// giveBack ends the part that a call which hung has in a request: nothing of it is sent.
func (w *worker) giveBack(entries []entry) {
	s := w.s
	s.mu.Lock()
	for i := range entries {
		e := &entries[i]
		if !e.load {
			continue
		}
		if e.failed == nil {
			e.batch.rb.Release()
			e.batch.rb, e.failed = nil, errDiskHangs
		}
		w.unreadLocked(e)
	}
	s.mu.Unlock()
	s.writer.endSent()
}

// load reads the frame of an entry's batch back.
func (w *worker) load(e *entry, buf *[]byte) error {
	b := e.batch
	q := e.lane.disk.q
	f, err := q.Read(b.pos, *buf)
	if errors.Is(err, io.EOF) {
		return diskqueue.ErrDamaged // the expirer has read it
	}
	if err != nil {
		return err
	}
	if *buf = f.Batch[:0]; cap(*buf) > maxKeptFrame {
		*buf = nil
	}
	if b.events > 0 && w.s.cfg.expired(f.WrittenAt) { // 0: a report of losses, which may be late
		return errFrameExpired
	}
	rb, err := w.s.replay.batch(f.Batch)
	if err != nil && q.Discard(b.pos, err) {
		return diskqueue.ErrDamaged
	}
	if err != nil {
		return err
	}
	b.rb = rb
	return nil
}

// noteSending writes down what a kill from here on must not undo: the stamps of batches, before they are sent
// for the first time or under another one; and, before a batch without a frame, that the frame before it is
// done. false: the disk hangs, and the worker's heir has gone on.
func (w *worker) noteSending() bool {
	notes, behind := w.notes[:0], w.behind[:0]
	for i := range w.entries {
		e := &w.entries[i]
		b := e.batch
		switch {
		case e.failed != nil || !e.stamp:
		case b.coveredBy != nil && b.coveredBy.lane == e.lane && !b.coveredBy.partDelivered:
			// The next process sends the whole frame. Under the stamp of its part the broker takes only one of both, whichever
			// comes first, also late. When a part is in the log, the stamp of now refuses the frame: then it is counted.
			notes = append(notes, diskqueue.Sent{Queue: e.lane.disk.q, Pos: b.coveredBy.pos, Stamp: b.spoolStamp()})
		case b.pos == 0:
			// What the broker knows of the last frame's stamp ends with a batch that the spool does not know.
			if e.behind {
				behind = append(behind, e.lane.disk.q)
			}
		default:
			notes = append(notes, diskqueue.Sent{Queue: e.lane.disk.q, Pos: b.pos, Stamp: b.spoolStamp()})
		}
	}
	w.notes, w.behind = notes, behind
	if len(notes) == 0 && len(behind) == 0 {
		return true
	}
	sp := w.s.disk.sp
	ok, err := w.s.writer.tryOnDisk(&w.heir, func() (err error) {
		for _, q := range behind {
			err = errors.Join(err, q.WriteCursor())
		}
		if len(notes) > 0 {
			err = errors.Join(err, sp.Sending(notes))
		}
		return err
	})
	if ok && err != nil {
		w.unnoted(err)
	}
	return ok
}

// unnoted counts what a kill from here on would double: the next process finds the frames as they were before.
func (w *worker) unnoted(err error) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range w.entries {
		e := &w.entries[i]
		switch d := &e.lane.disk; {
		case e.failed != nil || !e.stamp:
		case e.batch.pos != 0 || e.batch.coveredBy != nil:
			s.possibleDuplicates.Add(int64(e.batch.events))
		case e.behind:
			s.possibleDuplicates.Add(int64(d.lastEvents))
			d.behind, d.lastEvents = true, 0
		}
	}
	s.warnLimited("sending", "progress in the spool cannot be written; a kill now would repeat batches", "error", err)
}

// prepared notes that the bytes are final, and takes out of the request what could not be read.
func (w *worker) prepared() {
	s := w.s
	kept := w.entries[:0]
	unframed := false
	// Asked before the lock: the spool may be writing.
	for i := range w.entries {
		e := &w.entries[i]
		if e.load && e.failed == nil {
			upTo, ok := e.lane.disk.q.Suspect()
			e.suspect = ok && e.batch.pos <= upTo
		}
	}
	s.mu.Lock()
	for i := range w.entries {
		e := &w.entries[i]
		if e.failed != nil {
			w.unreadLocked(e)
			continue
		}
		if !e.batch.bytesFinal { // the spooler may be reading it
			e.batch.bytesFinal = true
		}
		if e.suspect && !e.batch.suspected {
			e.batch.suspected = true
			s.possibleDuplicates.Add(int64(e.batch.events))
		}
		unframed = unframed || e.batch.unframed()
		kept = append(kept, *e)
	}
	clear(w.entries[len(kept):])
	w.entries = kept
	if len(kept) == 0 {
		w.bytes, w.loads = 0, 0
	}
	s.spooler.bytesAreFinalLocked(unframed)
	s.mu.Unlock()
	s.writer.endSent()
}

// unsend undoes what add has noted of a batch that leaves the request before it is sent. s.mu is held.
func (e *entry) unsend() {
	l, b := e.lane, e.batch
	if b.attempts--; b.attempts == 0 {
		b.sent = time.Time{}
	}
	if b.sends--; b.sends == 0 { // its stamp was not sent
		b.stamped = false
		l.stamps.withdraw(b.stamp)
	}
	l.disk.behind = l.disk.behind || e.behind // it was not written down
}

// unreadLocked takes a batch whose frame could not be read out of the request: it is tried again, or lost.
func (w *worker) unreadLocked(e *entry) {
	s, l, b := w.s, e.lane, e.batch
	expired := errors.Is(e.failed, errFrameExpired)
	if !expired {
		s.warnLimited("replay", "a frame of the spool cannot be read", "topic", l.topic.name, "partition", l.partition, "error", e.failed)
	}
	b.loaded = false
	l.topic.batches--
	damaged := errors.Is(e.failed, diskqueue.ErrDamaged)
	if damaged {
		s.drop(DroppedDamaged, b.events)
	} else {
		s.count.toDisk(b.events)
	}
	e.unsend()
	l.busy = false
	l.retryAt = time.Now().Add(s.cfg.RetryMin)
	switch {
	case expired:
		l.retryAt = time.Time{}
		s.writer.dropFrameLocked(l, DroppedExpired)
	case damaged:
		l.head = nil
		l.abandonStamp(b)
		s.lostFrame(b)
	}
	l.onIdle()
	s.checkDrained()
}
