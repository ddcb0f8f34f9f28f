package kafka

import (
	"context"
	"errors"
	"maps"
	"time"

	"functiongraph-ingest/pkg/sink"
)

// Close implements sink.Sink. With a spool, Kafka has its time until ctx ends or StowTime before its
// deadline; the rest of the time belongs to the disk. A later call waits for the first one
// and returns nil.
func (s *Sink) Close(ctx context.Context) error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.ended {
		return nil
	}
	s.ended = true
	return s.close(ctx)
}

func (s *Sink) close(ctx context.Context) error {
	kafka, cancel := s.kafkasTime(ctx)
	defer cancel()
	s.mu.Lock()
	if !s.closed {
		s.letters.reportLossesLocked(true)
		s.closed = true
		if s.disk.kick != nil {
			wake(s.disk.kick)
		}
		s.madeRoom()
		for _, b := range s.brokers {
			b.signal()
		}
		s.checkDrained()
	}
	s.mu.Unlock()
	err := s.awaitDrained(kafka)
	s.cancel()
	if s.deps.OpenSpool == nil {
		return errors.Join(err, s.end())
	}
	ended := make(chan error, 1)
	go func() { ended <- s.end() }()
	disk := time.NewTimer(s.disksTime(ctx))
	defer disk.Stop()
	select {
	case e := <-ended:
		return errors.Join(err, e)
	case <-disk.C:
		s.spooler.leaveBehind()
		s.log.Error("the disk does not answer, and the end does not wait for it: events in memory that are not on disk are lost")
		return errors.Join(err, errLeftBehind)
	}
}

// awaitDrained waits until nothing is unsettled, Kafka's time is over, or the spool takes everything because Kafka was
// never there.
func (s *Sink) awaitDrained(kafka context.Context) error {
	look := time.NewTicker(lookForHope)
	defer look.Stop()
	for !s.hopeless() {
		select {
		case <-s.drained:
			return nil
		case <-kafka.Done():
			return context.Cause(kafka)
		case <-look.C:
		}
	}
	select {
	case <-s.drained:
		return nil
	default:
		return errNeverReached
	}
}

// errNeverReached: Close did not wait for Kafka.
var errNeverReached = errors.New("no broker was ever reached: the remaining events are in the spool")

// hopeless reports whether waiting for Kafka is in vain: it was never reached, a look at it has failed, and everything
// fits on the disk. A broker that does answer, and refuses, has warnAfter to change its mind: clusters that start say many things.
func (s *Sink) hopeless() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster.view.reached || s.someUsable() || s.cluster.view.found.kind == noTrouble || s.disk.sp == nil || s.disk.err != nil {
		return false
	}
	return s.cluster.view.found.kind == unreachable || s.cluster.view.found.kind == unresolved || time.Since(s.cluster.view.foundAt) >= warnAfter
}

// disksTime is how long the end waits for the disk.
func (s *Sink) disksTime(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return leastAtTheEnd
	}
	return max(time.Until(deadline), s.cfg.StowTime)
}

// end waits for the goroutines and leaves what is left to the spool.
func (s *Sink) end() error {
	s.tasks.Wait()
	s.reporter.lastWord()
	s.mu.Lock()
	s.letters.tellDeadLocked()
	s.mu.Unlock()
	s.cluster.client.CloseIdleConnections()
	return s.leave()
}

// kafkasTime is ctx without what the disk needs at the end.
func (s *Sink) kafkasTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if s.deps.OpenSpool == nil || !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(deadline)
	return context.WithTimeout(ctx, left-min(s.cfg.StowTime, left/3))
}

// leave writes what is left to the spool and closes it, and drops what does not fit. No other goroutine uses the
// sink any more.
func (s *Sink) leave() error {
	s.mu.Lock()
	behind, sp := s.spooler.behindClose, s.disk.sp
	s.mu.Unlock()
	switch {
	case behind && sp != nil:
		return sp.Close() // the account is closed; another sink may want the directory
	case behind:
		return nil
	}
	s.lastMarkToDisk()
	cut := s.spooler.uncoverNotices()
	for range 2 { // what is dropped for the first is reported by the second
		s.reportLossesToDisk()
		s.spooler.spillAll()
	}
	s.spooler.writer.sync()
	s.abandon()
	s.spooler.writer.endFrames()
	s.countWhatIsThere(cut)
	if sp == nil {
		return nil
	}
	return sp.Close()
}

// lastMarkToDisk leaves the final marks to the disk, with what Kafka has not taken.
func (s *Sink) lastMarkToDisk() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disk.sp != nil {
		s.lastMarks(markLane)
	}
}

// reportLossesToDisk leaves the reports of what was dropped during the stop to the disk.
func (s *Sink) reportLossesToDisk() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disk.sp != nil {
		s.letters.reportLossesLocked(true)
	}
}

// abandon drops what is unsettled after the workers have gone.
func (s *Sink) abandon() {
	var out []settled
	s.mu.Lock()
	for l := range s.lanes() {
		l.disk.any = false // it stays there
		for {
			b := l.take()
			if b == nil {
				break
			}
			l.head = nil
			if b.rb == nil {
				continue // on disk
			}
			s.drop(sink.DroppedShutdown, b.events)
			n := b.events
			s.release(l.topic, b)
			out = s.finish(b, n, out)
		}
	}
	s.checkDrained() // for a later Close
	s.mu.Unlock()
	tell(out)
}

// errLeftBehind: Close returned while a call of the disk had not.
var errLeftBehind = errors.New("the disk does not answer: events in memory that are not on disk are dropped")

// leaveBehind accounts for what is in memory while a call of the disk hangs: what has a frame is on disk, perhaps not
// durable; what has none is lost with the process. Nothing is released, since that call may still read it.
func (s *spooler) leaveBehind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behindClose = true
	count := func(b *batch) {
		switch {
		case b == nil || !b.inMemory():
		case !b.unframed() || b.pinned() != nil:
			s.count.toDisk(b.events)
		default:
			s.drop(sink.DroppedShutdown, b.events)
		}
	}
	for l := range s.lanes() {
		count(l.head)
		count(l.open)
		for _, list := range [][]*batch{l.children, l.queue} {
			for _, b := range list {
				count(b)
			}
		}
	}
	s.dropDamaged()
	s.atEnd = s.count
	s.atEnd.dropped = maps.Clone(s.count.dropped)
}

// uncoverNotices has what is left of a dead letter that waits be what the next process finds, not the whole of it once more. What
// replaces a frame is void until that has ended. So each other part of the frame gets one of its own too, and the frame ends when
// all have one. It returns those frames.
func (s *spooler) uncoverNotices() (cut []frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.lanes() {
		var whole *batch
		l.batches(func(b *batch) {
			if b.pins != nil && b.pins == b.coveredBy {
				whole = b.pins
			}
		})
		if whole == nil {
			continue
		}
		cut = append(cut, frame{lane: l, pos: whole.pos})
		if s.cfg.Settle != SettleOnDisk { // it ends without Kafka
			for b := whole; b != nil; b = b.parent {
				b.acks = nil
			}
		}
		l.batches(func(b *batch) {
			if b.coveredBy != whole {
				return
			}
			b.coveredBy = nil
			if b.pins == nil { // a part of it: from now on its frame settles it
				parent := b.parent
				b.parent = nil
				b.pin(whole)
				s.later(s.finish(parent, 0, nil))
			}
		})
	}
	return cut
}

// countWhatIsThere counts the frames that were to end by uncoverNotices and are still there, because the disk did not take or did
// not confirm a frame of each part: the next process finds them whole, also what was set aside.
func (s *core) countWhatIsThere(cut []frame) {
	for _, f := range cut {
		if pos, _, events, ok := f.lane.disk.q.Head(); ok && pos == f.pos {
			s.possibleDuplicates.Add(int64(events))
		}
	}
}

// spillAll writes to the spool what is left in memory, after everybody else has gone.
func (s *spooler) spillAll() {
	if s.disk.sp == nil {
		return
	}
	for l := range s.lanes() {
		s.mu.Lock()
		l.busy, l.disk.dirty = false, false
		l.seal()
		l.doubtBehindFrames()
		l.disk.any = false // what goes before the frames on disk and has none gets one behind them: out of order at worst
		work := l.claim(nil)
		s.mu.Unlock()
		if l.disk.q != nil && len(work) > 0 {
			g, err := s.writer.write(work)
			if err != nil {
				s.log.Error("not everything fits into the spool", "topic", l.topic.name, "partition", l.partition, "error", err)
			}
			s.mu.Lock()
			s.writer.submitLocked(g)
			s.mu.Unlock()
		}
		s.mu.Lock()
		s.leaveToDisk(l)
		s.mu.Unlock()
	}
}

// doubtBehindFrames sees to a batch in doubt that gets its frame behind older ones, because they were found when it was sent
// already. The cursor has the stamp of one frame only: that of an older one stays there, and until this one is sent again a
// kill may put others in its place. So its events count as possible duplicates.
func (l *lane) doubtBehindFrames() {
	b := l.head
	if b == nil || !l.disk.any || !b.unframed() {
		return
	}
	if b.maybeWritten {
		l.topic.core.suspect(b)
	}
	if _, _, older := l.disk.q.Doubt(); older {
		b.bytesFinal = false // its frame is one that was not sent
	}
}

// leaveToDisk takes out of memory what a frame stands for.
func (s *core) leaveToDisk(l *lane) {
	left := func(b *batch) bool {
		covered := !b.unframed() || b.pinned() != nil
		if covered && b.rb != nil {
			s.evict(b)
		}
		return covered
	}
	if l.head != nil && left(l.head) {
		l.head = nil
	}
	for _, list := range []*[]*batch{&l.children, &l.queue} {
		rest := (*list)[:0]
		for _, b := range *list {
			if !left(b) {
				rest = append(rest, b)
			}
		}
		*list = rest
	}
	l.disk.framed = 0
}
