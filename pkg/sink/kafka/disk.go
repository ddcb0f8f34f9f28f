package kafka

import "time"

// diskPart is what a lane has in the spool. All of it is guarded by core.mu.
type diskPart struct {
	q   SpoolQueue // nil: there is no spool, or it is not open yet
	any bool       // frames up to end are on disk only; they go before queue
	end uint64

	framed  int      // batches at the front of queue that have frames
	spilled []*batch // of those on disk only: the ones that a source waits for, in order

	dirty   bool   // in spooler.dirty
	behind  bool   // the spool may not have written down yet that the last frame is done
	closing bool   // the end of a frame is being written; nothing is sent until it is
	apart   *batch // with a frame, and taken apart: nothing but its parts is sent until all of it is settled

	// What the last process was sending when it ended.
	old      uint64
	oldStamp SpoolStamp
}

// inherited is the generation of another process's producer: it is used for the one batch that was in
// doubt and for nothing else.
const inherited = -1

// spoolStamp is b's stamp as the spool keeps it.
func (b *batch) spoolStamp() SpoolStamp {
	return SpoolStamp{ProducerID: b.stamp.id, Epoch: b.stamp.epoch, BaseSequence: b.stamp.seq, FirstSent: b.known.UnixMilli(), Cluster: b.stamp.cluster}
}

// attach gives the lane its queue, and takes over what the last process left in it. s.mu is held.
func (l *lane) attach(sp Spool) {
	d := &l.disk
	if d.q != nil || sp == nil {
		return
	}
	d.q = sp.Queue(l.topic.name, l.partition)
	tail := d.q.Tail()
	if tail == 0 {
		return
	}
	d.old, d.oldStamp, _ = d.q.Doubt()
	l.extendDisk(tail)
}

// extendDisk notes that the frames up to end are on disk only. s.mu is held.
func (l *lane) extendDisk(end uint64) {
	l.disk.end = end
	if !l.disk.any {
		l.disk.any = true
		l.topic.core.disk.overflowing++
	}
}

// checkDisk finds out whether there is a frame to send next. The acks of frames that were damaged are
// told. s.mu is held.
func (l *lane) checkDisk() {
	d := &l.disk
	if !d.any || l.doubt != nil || len(l.parts) > 0 {
		return
	}
	pos, _, _, ok := d.q.Head()
	ok = ok && pos <= d.end
	for len(d.spilled) > 0 && (!ok || d.spilled[0].pos < pos) {
		l.topic.core.lostFrame(pop(&d.spilled))
	}
	if !ok {
		d.any = false
		l.topic.core.disk.overflowing--
		l.topic.core.checkDrained()
	}
}

// lostFrame settles a batch whose frame the spool found damaged, and has counted. s.mu is held.
func (s *core) lostFrame(b *batch) {
	lost := b.events
	b.pos = 0 // it is out of the queue already
	s.later(s.finish(b, lost, nil))
}

// frameBytes is the size of the next frame on disk.
func (l *lane) frameBytes() int {
	_, n, _, _ := l.disk.q.Head()
	return int(n)
}

// takeFrame makes a batch of the oldest frame, still without its memory. s.mu is held.
func (l *lane) takeFrame() *batch {
	s, d := l.topic.core, &l.disk
	pos, _, events, _ := d.q.Head()
	var b *batch
	if len(d.spilled) > 0 && d.spilled[0].pos == pos {
		b = pop(&d.spilled)
	} else {
		b = s.newBatch(l)
		b.pos, b.events = pos, events
	}
	b.ready = true
	if pos == d.old && pos != 0 {
		// It goes again with its old stamp: the broker knows whether it has it. Another cluster would take the
		// stamp for that of a producer of its own.
		st := d.oldStamp
		b.attempts, b.maybeWritten, b.sent = 1, true, time.UnixMilli(st.FirstSent)
		b.known = b.sent
		if st.Cluster == "" || s.clusterID == "" || st.Cluster == s.clusterID {
			b.stamp = stamp{producer{st.ProducerID, st.Epoch, inherited, st.Cluster}, st.BaseSequence}
			b.stamped, b.sends = true, 1
		}
		d.old = 0
	}
	return b
}

// dropMemory leaves a batch that has a frame to the disk. s.mu is held.
func (s *core) dropMemory(b *batch) {
	s.unload(b.lane.topic, b)
	b.loaded = false
	s.count.toDisk(b.events)
}

// keepMemory is its opposite: b has memory again. s.mu is held.
func (s *core) keepMemory(b *batch) {
	b.loaded = true
	b.lane.topic.batches++
	s.count.toDisk(-b.events)
}

// shed leaves to the disk what the lane has a frame of and does not need in memory now. s.mu is held.
func (l *lane) shed() {
	s := l.topic.core
	// Not a half: its memory has a bound of its own, and would have to be asked for again to split it.
	if b := l.doubt; b != nil && !l.busy && b.pos != 0 && b.rb != nil && !b.writing && !b.half {
		s.dropMemory(b)
	}
	l.shedQueue()
}

// shedQueue is shed for the queue. What another batch's frame stands for stays in memory, among the parts: they go
// before the frames on disk. Only dead letters, which have no order to keep, may overtake frames by that. s.mu is held.
func (l *lane) shedQueue() {
	s, d := l.topic.core, &l.disk
	for d.framed > 0 && !l.queue[0].writing {
		if l.queue[0].pos == 0 {
			if d.any && !l.topic.dead {
				return
			}
			l.parts = append(l.parts, pop(&l.queue))
			d.framed--
			continue
		}
		b := pop(&l.queue)
		d.framed--
		s.dropMemory(b)
		l.extendDisk(b.pos)
		if len(b.acks) > 0 || b.parent != nil {
			l.rememberSpilled(b)
		} else {
			s.freeBatch(b)
		}
	}
}

// rememberSpilled keeps a batch that a source waits for. Those whose waiters have all gone are forgotten
// each time their number has doubled. s.mu is held.
func (l *lane) rememberSpilled(b *batch) {
	d := &l.disk
	if n := len(d.spilled); n == cap(d.spilled) && n >= 64 {
		kept := d.spilled[:0]
		for _, b := range d.spilled {
			if b.awaited() {
				kept = append(kept, b)
			} else {
				l.topic.core.freeBatch(b)
			}
		}
		clear(d.spilled[len(kept):])
		d.spilled = kept
	}
	d.spilled = append(d.spilled, b)
}

// awaited reports whether a source still waits for b or for what it is a part of. An ack may tell that its source
// has given up.
func (b *batch) awaited() bool {
	for ; b != nil; b = b.parent {
		for _, a := range b.acks {
			if g, ok := a.ack.(interface{ GivenUp() bool }); !ok || !g.GivenUp() {
				return true
			}
		}
	}
	return false
}

// frame is a frame whose batch is settled.
type frame struct {
	lane *lane
	pos  uint64
	sent bool // and acknowledged
}

// frameEnds notes that b, which has a frame, is settled. Its lane waits for endFrames. s.mu is held.
func (s *core) frameEnds(b *batch) {
	d := &b.lane.disk
	d.closing = true
	if d.apart == b {
		d.apart = nil
	}
	s.disk.ended = append(s.disk.ended, frame{b.lane, b.pos, b.attempts > 0 && !b.dropped})
	s.unfinished.Store(true)
}

// later has the acks told by the next endFrames. s.mu is held.
func (s *core) later(out []settled) {
	if len(out) > 0 {
		s.disk.out = append(s.disk.out, out...)
		s.unfinished.Store(true)
	}
}

// endFrames tells the spool that frames are done, before anything else of their lanes is sent: after a kill
// the next process knows the one batch in doubt by its stamp, and all before it must be known as done, which
// is written down together with that stamp. The caller of finish calls it when the lock is free.
func (s *frameWriter) endFrames() {
	var endedBuf [16]frame
	for s.unfinished.Load() {
		s.mu.Lock()
		s.unfinished.Store(false)
		ended, out := append(endedBuf[:0], s.disk.ended...), s.disk.out
		s.disk.ended, s.disk.out = s.disk.ended[:0], nil
		s.mu.Unlock()
		tell(out)
		if len(ended) == 0 {
			continue
		}
		for _, f := range ended {
			done := f.lane.disk.q.DoneSoon
			if !f.sent {
				done = f.lane.disk.q.Done
			}
			if err := done(f.pos); err != nil {
				s.mu.Lock()
				s.alarm("done", "progress in the spool cannot be written; a kill now would repeat batches", "error", err)
				s.mu.Unlock()
			}
		}
		s.mu.Lock()
		for _, f := range ended {
			f.lane.disk.behind = f.sent
			f.lane.disk.closing = false
			f.lane.freed()
			if s.disk.carried.lane == f.lane {
				wake(s.disk.kick) // for the next one
			}
		}
		if s.behindSince.IsZero() {
			s.behindSince = time.Now()
			wake(s.disk.kick)
		}
		s.ends++
		s.roomOnDisk()
		s.checkDrained()
		s.mu.Unlock()
	}
}
