package kafka

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

func isFull(err error) bool { return errors.Is(err, ErrSpoolFull) }

// diskFails notes why the spool takes nothing; nil: it does. s.mu is held.
func (s *frameWriter) diskFails(err error) {
	if (err == nil) != (s.disk.err == nil) || isFull(err) != isFull(s.disk.err) {
		s.changes.ring()
		s.disk.failedAt = time.Now()
	}
	s.disk.err = err
}

// lookAtDisk asks a disk that took nothing whether it does now. Writes tell as well, but perhaps there is nothing more to
// write, or Kafka takes it first: the trouble would stay for ever. It returns when to look again.
func (s *frameWriter) lookAtDisk() (at time.Time) {
	s.mu.Lock()
	if s.disk.err == nil || s.disk.hangs || s.closed {
		s.mu.Unlock()
		return time.Time{}
	}
	if at = s.triedAt.Add(diskLook); time.Now().Before(at) {
		s.mu.Unlock()
		return at
	}
	bytes := s.refused
	s.mu.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.onDisk(func() error { return s.disk.sp.Room(bytes) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wrote(err); err == nil {
		wake(s.disk.kick) // batches may wait for their frames
		return time.Time{}
	}
	return s.triedAt.Add(diskLook)
}

func (f SpoolFull) String() string { return [...]string{"block", "drop-oldest", "drop-newest"}[f] }

// ReasonLoss is the reason of a report about dropped events among the dead letters.
const ReasonLoss = "loss"

// loss is what was dropped because there was no room, and has not been reported yet.
type loss struct {
	Events int64 `json:"events"`
	Bytes  int64 `json:"bytes"`
	First  int64 `json:"first"` // when the first of them was dropped, ms since the Unix epoch
	Last   int64 `json:"last"`
}

// add counts dropped events. s.mu is held.
func (l *loss) add(events, bytes int) {
	now := time.Now().UnixMilli()
	if l.Events == 0 {
		l.First = now
	}
	l.Events, l.Bytes, l.Last = l.Events+int64(events), l.Bytes+int64(bytes), now
}

// mustDropNewest reports whether there is no room in memory or on disk, so that what comes is to be dropped. What is
// known of the disk has an age: after spoolRetry the spooler tries it again before anything more is dropped.
// s.mu is held.
func (s *spiller) mustDropNewest() bool {
	if s.cfg.SpoolFull != SpoolFullDropNewest || !isFull(s.disk.err) || s.closed {
		return false
	}
	if time.Since(s.writer.triedAt) < spoolRetry {
		return true
	}
	if !s.pressed {
		s.pressed = true
		wake(s.disk.kick)
	}
	return false
}

// dropOldest drops the oldest frame of all that is on disk only and not being sent; false: there is none.
// The lock is free.
func (s *frameWriter) dropOldest() bool {
	s.mu.Lock()
	var oldest *lane
	var at uint64
	for l := range s.lanes() {
		if pos, ok := l.idleFrame(); ok && (oldest == nil || pos < at) {
			oldest, at = l, pos
		}
	}
	if oldest == nil {
		s.mu.Unlock()
		return false
	}
	s.dropFrame(oldest, DroppedSpoolFull)
	s.mu.Unlock()
	s.endFrames()
	return true
}

// idleFrame is the lane's oldest frame if it is on disk only and not being sent. s.mu is held.
func (l *lane) idleFrame() (pos uint64, ok bool) {
	d := &l.disk
	if !d.any || l.busy || d.closing || d.apart != nil || slices.ContainsFunc(l.parts, func(b *batch) bool { return b.pos != 0 }) {
		return 0, false
	}
	if b := l.doubt; b != nil && (b.pos == 0 || b.rb != nil || b.writing) {
		return 0, false
	}
	pos, _, _, ok = d.q.Head()
	return pos, ok && pos <= d.end
}

// dropFrame drops the lane's oldest frame, which is on disk only. s.mu is held.
func (s *frameWriter) dropFrame(l *lane, reason string) {
	_, size, _, _ := l.disk.q.Head()
	b := l.doubt
	if b == nil {
		b = l.takeFrame()
	}
	l.doubt = nil
	b.dropped = true
	l.abandonStamp(b)
	s.count.toDisk(-b.events)
	if reason == DroppedExpired {
		s.noteExpired(l.topic.name, l.partition, b.events, size)
	} else {
		s.drop(reason, b.events)
		s.losses.full.add(b.events, int(size))
	}
	s.later(s.finish(b, b.events, nil))
}

// reportLosses sends what was dropped for want of room, and for its age, to the dead letters, one record each, now that
// Kafka takes batches again and a second has passed without another loss, or at the last moment. They are no events: the
// ledger does not count them. s.mu is held.
func (s *deadLetters) reportLosses(last bool) {
	s.reportLoss(&s.losses.full, DroppedSpoolFull, s.cfg.SpoolFull.String(), last)
	s.reportLoss(&s.losses.expired, DroppedExpired, "max-age", last)
}

func (s *deadLetters) reportLoss(ls *loss, reason, policy string, last bool) {
	if ls.Events == 0 || !last && time.Since(time.UnixMilli(ls.Last)) < time.Second || s.room.deadFull() {
		return
	}
	value, err := json.Marshal(struct {
		Reason string `json:"reason"`
		Policy string `json:"policy"`
		loss
	}{reason, policy, *ls})
	if err != nil {
		panic("kafka: " + err.Error()) // numbers and strings: cannot fail
	}
	r := sink.Record{Value: value, Timestamp: time.Now().UnixMilli(), Headers: s.deadHeaders(nil, ReasonLoss, len(value))}
	to := s.dead.stickyLane()
	b := s.privateBatch(to, &r, recordbatch.Encoded{}, recordbatch.RecordSize(r.Key, r.Value, r.Headers))
	to.seal()
	s.want.deadTopicSoon()
	s.enqueue(to, b)
	*ls = loss{}
}
