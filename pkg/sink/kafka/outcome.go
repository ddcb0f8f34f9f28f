package kafka

import (
	"time"

	"github.com/segmentio/kafka-go/protocol/produce"
)

// resolve applies the answer, or the error in place of it, to every batch of the request.
func (w *worker) resolve(res *produce.Response, err error) {
	s := w.s
	s.mu.Lock()
	for i := range w.entries {
		e := &w.entries[i]
		e.lane.busy = false
		if err != nil {
			e.batch.unknown = true
			s.failed(e, classOfError(err), 0, err.Error())
			continue
		}
		p := findPartition(res, e.lane.topic.name, e.lane.partition)
		if p == nil {
			s.failed(e, classRetry, 0, "the answer does not name the partition")
			continue
		}
		if p.ErrorCode == errCorrupt {
			e.batch.corrupt++
		}
		c, known := classOf(p.ErrorCode, e.batch.corrupt)
		if !known {
			s.alarm("unknown code", "the broker answers with an error code that this version does not know; retrying", "code", p.ErrorCode)
		}
		if c == classOK {
			w.out = s.succeeded(e, p, w.out)
			continue
		}
		s.failed(e, c, p.ErrorCode, p.ErrorMessage)
	}
	for i := range w.entries {
		w.entries[i].lane.freed()
	}
	s.checkDrained()
	s.mu.Unlock()
	for i := range w.entries {
		if e := &w.entries[i]; e.apart() {
			w.isolate(e)
		}
	}
	clear(w.entries)
	w.entries, w.bytes, w.loads = w.entries[:0], 0, 0
	tell(w.out)
	w.out = w.out[:0]
	s.endFrames()
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

// succeeded settles a batch that is in the log. s.mu is held.
func (s *Sink) succeeded(e *entry, p *produce.ResponsePartition, out []settled) []settled {
	l, b := e.lane, e.batch
	if b.attempts == 1 {
		l.topic.createTime = p.LogAppendTime < 0
	} else if p.ErrorCode == errDuplicate || l.topic.createTime && p.LogAppendTime >= 0 {
		s.duplicatesSuppressed.Add(int64(b.events))
	}
	if l.topic.dead {
		s.count.deadLettered += int64(b.events)
	} else {
		s.count.delivered += int64(b.events)
	}
	s.count.inFlight -= int64(b.events)
	l.seq = int32((uint32(l.seq) + uint32(b.rb.Count())) & 0x7fffffff) // sequences wrap to 0
	l.doubt, l.failures, l.retryAt = nil, 0, time.Time{}
	l.topic.refusals = 0
	if b.loaded {
		s.replayedFrames.Add(1)
	}
	if s.spooler.loss.Events > 0 {
		s.reportLoss(false)
	}
	if b.writing { // the spooler reads it, and settles it when it is done
		b.answered, l.disk.closing = true, true
		return out
	}
	s.unload(l.topic, b)
	return s.finish(b, 0, out)
}

// failed decides what becomes of a batch that is not in the log, or of which that is not known. Split and
// dead-letter leave the lane busy: isolate goes on with them. s.mu is held.
func (s *Sink) failed(e *entry, c class, code int16, msg string) {
	l, b := e.lane, e.batch
	l.failures++
	pause := s.backoff(l.failures)
	if !b.final {
		b.final = true
	}
	if b.writing && c != classConfig {
		c = min(c, classRefresh) // it will be sent, and refused, again; now its bytes must stay as they are
	}
	switch c {
	case classSplit, classDeadLetter:
		e.verdict, e.code, e.message = c, code, msg
		l.busy = true   // until isolate is done with it
		b.final = false // and nobody else may begin to read it
		return
	case classRenew:
		s.renewals.Add(1)
		if b.attempts > 1 {
			s.suspect(b) // the first copy may be in the log under the id that is lost
		}
		l.renew = true
		if l.failures == 1 {
			pause = 0 // a new id is all it needs; more in a row are another trouble
		}
		s.wantProducer(l.producer.gen)
		s.alarm("renew", "the broker lost the producer's state; the batch goes again under a new id",
			"topic", l.topic.name, "partition", l.partition, "error", codeName(code), "possibleDuplicates", s.possibleDuplicates.Load())
	case classConfig:
		pause = s.cfg.RetryMax
		if l.topic.refusals++; l.topic.dead {
			s.madeRoom() // dead letters that wait can be dropped now
		}
		s.alarm("config/"+l.topic.name, "the cluster refuses what is sent and someone must act; keeping it and trying on",
			"topic", l.topic.name, "error", codeName(code), "message", msg)
	case classRefresh, classRetry:
		if c == classRefresh {
			s.wantRefresh()
		}
		s.alarm("retry/"+l.topic.name, "sending again", "topic", l.topic.name, "partition", l.partition, "error", code, "message", msg)
	}
	l.busy = false
	if pause > 0 {
		l.retryAt = time.Now().Add(pause)
	}
	if b.loaded {
		s.dropMemory(b)
	}
}

// alarm logs at most once a minute for each key, so that a fault cannot become a stream. s.mu is held.
func (s *Sink) alarm(key, msg string, args ...any) {
	const every = time.Minute
	if now := time.Now(); now.Sub(s.alarms[key]) >= every {
		s.alarms[key] = now
		s.log.Warn(msg, args...)
	}
}
