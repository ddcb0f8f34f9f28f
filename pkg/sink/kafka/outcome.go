package kafka

import (
	"cmp"
	"errors"
	"time"

	"github.com/segmentio/kafka-go/protocol/produce"

	"functiongraph-ingest/pkg/sink/kafka/internal/wire"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// resolve applies the answer, or the error in place of it, to every batch of the request. It came at now.
func (w *worker) resolve(res *produce.Response, err error, now time.Time) {
	s := w.s
	var lost trouble // in place of the answer
	if err != nil {
		lost = s.given.sendTrouble(err, w.b.id)
	}
	s.mu.Lock()
	w.b.bound.adapt(w.bytes, err, now)
	if err == nil {
		w.b.silentSince = time.Time{}
		w.b.throttle(wire.Throttle(res), now)
	} else {
		s.requestErrors[w.b.id]++
		if w.b.silentSince.IsZero() {
			w.b.silentSince = now
		}
	}
	if s.changes.quiet {
		s.changes.ring()
	}
	for i := range w.entries {
		e := &w.entries[i]
		e.lane.busy = false
		if err != nil {
			if !errors.Is(err, ErrOtherCluster) { // then it was not sent
				e.batch.maybeWritten = true
			}
			e.lane.inTroubleNow(lost)
			e.lane.fails(w.b.silentSince)
			s.failedLocked(e, classOfError(err), 0, err.Error())
			continue
		}
		p := findPartition(res, e.lane.topic.name, e.lane.partition)
		if p == nil {
			e.batch.maybeWritten = true
			s.failedLocked(e, classRetry, 0, "the answer does not name the partition")
			continue
		}
		c, known := classOf(p.ErrorCode, p.ErrorCode == errCorrupt && e.batch.isCorrupt(now))
		if !known {
			s.warnLimited("unknown code", "the broker answers with an error code that this version does not know; retrying", "code", p.ErrorCode)
		}
		if c == classOK && !e.batch.stamped {
			// Another cluster was noticed while the request was under way. It may have answered about a batch of its own.
			e.batch.maybeWritten = true
			s.failedLocked(e, classRetry, 0, "the cluster has changed since the batch was sent")
			continue
		}
		if c == classOK {
			e.lane.outOfTrouble()
			w.out = s.succeededLocked(e, p, now, w.out)
			continue
		}
		if !beforeAppend(p.ErrorCode) {
			e.batch.maybeWritten = true
		}
		if c != classSplit && c != classDeadLetter {
			e.lane.inTroubleNow(s.given.codeTrouble(e.lane.topic, p.ErrorCode, p.ErrorMessage))
		}
		e.named = p.RecordErrors
		s.failedLocked(e, c, p.ErrorCode, p.ErrorMessage)
	}
	for i := range w.entries {
		w.entries[i].lane.onIdle()
	}
	s.checkDrained()
	s.mu.Unlock()
	for i := range w.entries {
		if e := &w.entries[i]; e.mustSplit() {
			w.split(e)
		}
	}
	clear(w.entries)
	w.entries, w.bytes, w.loads = w.entries[:0], 0, 0
	tell(w.out)
	w.out = w.out[:0]
	s.writer.endSent()
}

// isCorrupt notes that the broker has called b corrupt, and reports whether its content is held to be the cause. Nothing else
// would take a dead letter: it is kept as long as the cluster takes no batch of a main topic either.
func (b *batch) isCorrupt(now time.Time) bool {
	if b.corrupt++; b.corruptSince.IsZero() {
		b.corruptSince = now
	}
	t := b.lane.topic
	return b.corrupt >= maxCorrupt && now.Sub(b.corruptSince) >= t.core.deps.stuckAfter && (!t.dead || t.core.ackedAt.After(b.corruptSince))
}

// observeLocked tells of a batch that is acknowledged now.
func (s *sender) observeLocked(b *batch, now time.Time) {
	o := s.deps.Observer
	if o == nil {
		return
	}
	first := b.opened
	if first.IsZero() {
		first = b.sent // it was flushed, or comes from the disk
	}
	age := now.Sub(first)
	if at := b.rb.FirstTimestamp(); at != recordbatch.NoTimestamp {
		age = max(age, time.Duration(now.UnixMilli()-at)*time.Millisecond)
	}
	o.Acked(b.rb.Size(), now.Sub(first), age)
}

func findPartition(res *produce.Response, topic string, partition int32) *produce.ResponsePartition {
	for i := range res.Topics {
		if t := &res.Topics[i]; t.Topic == topic {
			for j := range t.Partitions {
				if t.Partitions[j].Partition == partition {
					return &t.Partitions[j]
				}
			}
		}
	}
	return nil
}

// succeededLocked settles a batch that is in the log.
func (s *sender) succeededLocked(e *entry, p *produce.ResponsePartition, now time.Time, out []settled) []settled {
	l, b := e.lane, e.batch
	if l.topic.had(b, p) {
		if !b.collided && b.collides(p) {
			s.collisionLocked(e)
			if b.loaded {
				s.evict(b)
			}
			return out
		}
		s.duplicatesSuppressed.Add(int64(b.events))
	}
	if !l.topic.dead {
		s.ackedAt = now
		s.cluster.isReached()
		s.observeLocked(b, now)
	}
	if p.ErrorCode == 0 && p.LogAppendTime < 0 {
		l.topic.keeps = timesCreate
	} else if p.LogAppendTime >= 0 && b.sends == 1 && b.collided {
		l.topic.keeps = timesAppend // it has another id, so it is no resend
	}
	if l.topic.dead {
		s.count.deadLettered += int64(b.events)
	} else {
		s.count.delivered += int64(b.events)
	}
	s.count.inFlight -= int64(b.events)
	l.stamps.acked(b.stamp, b.rb.Count())
	if c := b.coveredBy; c != nil && c.lane == l {
		c.partDelivered = true
	}
	l.head, l.failures, l.retryAt = nil, 0, time.Time{}
	l.moves(now)
	l.topic.refusals = 0
	l.topic.raiseLimit(now)
	if b.loaded {
		s.replayedFrames.Add(1)
	}
	if s.losses.full.Events > 0 || s.losses.expired.Events > 0 {
		s.letters.reportLossesLocked(false)
	}
	if b.writing { // the spooler reads it, and settles it when it is done
		b.ackedWhileWriting, l.disk.closing = true, true
		return out
	}
	s.release(l.topic, b)
	return s.finish(b, 0, out)
}

// failedLocked decides what becomes of a batch that is not in the log, or of which that is not known. Split and
// dead-letter leave the lane busy: split goes on with them.
func (s *sender) failedLocked(e *entry, c class, code int16, msg string) {
	l, b := e.lane, e.batch
	if l.failures++; c != classRenew || l.failures > 1 { // else a new stamp is all it needs
		l.fails(cmp.Or(b.sent, time.Now())) // one that is refused here was not sent
	}
	pause := doubling(l.failures, s.cfg.RetryMin, s.cfg.RetryMax)
	if !b.bytesFinal {
		b.bytesFinal = true
	}
	if b.writing && c != classConfig {
		c = min(c, classRefresh) // it will be sent, and refused, again; now its bytes must stay as they are
	}
	l.refused = c == classSplit || c == classDeadLetter
	switch c {
	case classSplit, classDeadLetter:
		e.verdict, e.code, e.message = c, code, msg
		l.busy = true        // until split is done with it
		b.bytesFinal = false // and no other goroutine may begin to read it
		return
	case classRenew:
		s.renewals.Add(1)
		if code == errEpoch { // another producer has a newer epoch of this id
			l.stamps.forget(b.stamp.gen)
		}
		if b.maybeWritten { // now, for it may be another process that sends it again
			s.suspect(b)
		}
		l.abandonStamp(b)
		if l.failures == 1 {
			pause = 0 // more in a row are another trouble
		}
		s.warnLimited("renew", "the broker lost the producer's state; the batch is sent again under a new stamp",
			"topic", l.topic.name, "partition", l.partition, "error", codeName(code), "possibleDuplicates", s.possibleDuplicates.Load())
	case classConfig:
		pause = s.cfg.RetryMax
		if l.topic.refusals++; l.topic.dead {
			s.madeRoom() // dead letters that wait can be dropped now
		}
		if code == errDenied && s.cfg.PreferIdempotence {
			s.deniedLocked(l, b)
		}
	case classRefresh:
		s.want.refreshSoon()
	}
	l.busy = false
	if pause > 0 {
		l.retryAt = time.Now().Add(pause)
	}
	if b.loaded {
		s.evict(b)
	}
}

// deniedLocked sees to a batch that the broker may have refused for its producer id, where events may go without one: when
// the cluster gives no ids any more, b goes without. One that may be in the log keeps its stamp until then.
func (s *sender) deniedLocked(l *lane, b *batch) {
	switch {
	case !s.unsafe:
		s.wantProducer()
	case b.stamp.id >= 0 && !b.writing:
		l.abandonStamp(b)
	}
}

// collides reports whether the answer "I have this batch" is about other bytes than b's: b was sent for the first
// time under its stamp, or the batch in the log has another time. A broker answers a resend with the maximum
// timestamp of the batch that it has, as the append time (Kafka's UnifiedLog.append and
// ProducerAppendInfo.append).
func (b *batch) collides(p *produce.ResponsePartition) bool {
	if b.sends == 1 {
		return true
	}
	return p.ErrorCode == 0 && p.LogAppendTime != b.rb.MaxTimestamp()
}

// collisionLocked takes back the success of a batch that the broker has confused, or may have confused, with another
// producer's: a clone of this process, or a producer of another cluster that took this one's place. The batch is sent
// once more, under an id of its own; the other producer keeps the old one. The answer to that tells which timestamps
// the topic keeps, if it was not known.
func (s *sender) collisionLocked(e *entry) {
	l, b := e.lane, e.batch
	b.collided = true
	b.maybeWritten = true // if the topic keeps append times it is there
	l.stamps.forget(b.stamp.gen)
	l.abandonStamp(b)
	if l.topic.keeps == timesUnknown {
		s.warnLimited("collision?", "no broker has told whether the topic keeps the events' own timestamps, and an answer could be about another producer's batch; the batch is sent again under a new id",
			"topic", l.topic.name, "partition", l.partition, "producer", b.stamp.id)
		return
	}
	s.collisions.Add(1)
	s.warnLimited("collision", "the broker takes a batch for another one: another producer has this producer id, or the topic's message.timestamp.type was changed; the batch is sent again under a new id",
		"topic", l.topic.name, "partition", l.partition, "producer", b.stamp.id)
}
