package kafka

import (
	"slices"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// takeOut sends the records that the broker has named (KIP-467, from Kafka 2.4 on) to the dead letters at once, and
// the others again in one batch. It reports false, and has done nothing, where the broker has named none, or the
// batch has to go by halves for another reason.
func (w *worker) takeOut(e *entry) bool {
	s, l, b := w.s, e.lane, e.batch
	bad := e.namedRecords()
	if e.code != errInvalidRecord || l.topic.dead || len(bad) == 0 || b.events != b.rb.Count() || b.private == 0 && !s.mayReplace(l.topic) {
		return false
	}
	rest, letters, err := separate(b.rb, bad)
	if err != nil {
		return false // split says so in its other ways
	}
	for i := range letters {
		r := &letters[i]
		if len(r.Value) > maxDeadLetterBytes {
			return false // alone it is cut
		}
		r.Headers = append(s.letters.deadHeaders(r.Headers, l.topic, e.reason(), len(r.Value)), e.why(r.Offset))
	}
	dead := together(letters, s.cfg.BatchBytes)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.room.deadFull() && s.letters.deadMaySpillLocked():
		s.spooler.spiller.pressLocked()
		s.putBackLocked(e)
		return true
	case s.room.deadFull():
		return false // one at a time: each waits for room, or is dropped
	}
	s.splits.Add(1)
	l.head, l.busy = nil, false
	l.refusalEnds()
	l.abandonStamp(b)
	cover := b.coverChildren()
	b.events = 0
	if rest != nil {
		p := s.newBatch(l)
		p.rb, p.parent, p.child, p.opened, p.coveredBy, p.untimed = rest, b, true, b.opened, cover, b.untimed
		p.corruptSince = b.corruptSince
		p.events = rest.Count()
		b.unsettledParts++
		l.topic.adoptWhole(p)
		l.children = append([]*batch{p}, l.children...)
	}
	for i := range letters {
		s.letters.noteDeadLocked(sink.DeadNote{Reason: e.reason(), Topic: l.topic.name, Partition: l.partition, Error: codeText(e.code, e.message)}, letters[i].Value)
	}
	for _, rb := range dead {
		to := s.dead.stickyLane()
		d := s.newBatch(to)
		d.rb, d.opened, d.events = rb, time.Now(), rb.Count()
		d.takesPlaceOf(b)
		s.bury(to, d)
	}
	if rest != nil {
		w.out = b.childrenGetFrames(cover, l.children[:1], w.out)
	}
	s.release(l.topic, b)
	w.out = s.finish(b, 0, w.out) // its own part
	l.onIdle()
	return true
}

// mayReplace reports whether there is room for what a batch from the pool leaves: see replace.
func (s *sender) mayReplace(t *topic) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.splitFits(int64(s.cfg.BatchBytes))
}

// namedRecords are the indices that the broker has named, with its position in e.named; those that the batch does
// not have are left out.
func (e *entry) namedRecords() map[int]int {
	bad := make(map[int]int, min(len(e.named), e.batch.rb.Count()))
	for i, n := range e.named {
		index := int(n.BatchIndex)
		if _, known := bad[index]; !known && index >= 0 && index < e.batch.rb.Count() {
			bad[index] = i
		}
	}
	return bad
}

// why is the header with what the broker said, about the n-th record that it has named where it has.
func (e *entry) why(n int64) sink.Header {
	text := e.message
	if int(n) < len(e.named) && e.named[n].BatchIndexErrorMessage != "" {
		text = e.named[n].BatchIndexErrorMessage
	}
	return sink.Header{Key: headerError, Value: []byte(codeText(e.code, text))}
}

// together puts records into private batches of about so many bytes: a request takes one of a partition.
func together(records []sink.Record, most int) (batches []*recordbatch.Batch) {
	for len(records) > 0 {
		size, n := 0, 0
		for ; n < len(records); n++ {
			r := &records[n]
			next := recordbatch.RecordSize(r.Key, r.Value, r.Headers)
			if n > 0 && size+next > most {
				break
			}
			size += next
		}
		rb := recordbatch.NewPrivateBatch(size)
		for i := range records[:n] {
			r := &records[i]
			if !rb.TryAppend(r.Timestamp, r.Key, r.Value, r.Headers) {
				panic("kafka: a private batch refused the records it was made for")
			}
		}
		batches, records = append(batches, rb), records[n:]
	}
	return batches
}

// separate rebuilds the records of a batch without the bad ones, which it returns too, with their value in bad as the
// offset. rest is nil when none is left.
func separate(rb *recordbatch.Batch, bad map[int]int) (rest *recordbatch.Batch, letters []sink.Record, err error) {
	size, i := 0, 0
	if err := rb.Records(func(_ int64, key, value []byte, h []sink.Header) bool {
		if _, out := bad[i]; !out {
			size += recordbatch.RecordSize(key, value, h)
		}
		i++
		return true
	}); err != nil {
		return nil, nil, err
	}
	if size > 0 {
		rest = recordbatch.NewPrivateBatch(size)
	}
	i = 0
	err = rb.Records(func(ts int64, key, value []byte, h []sink.Header) bool {
		if n, out := bad[i]; out {
			letters = append(letters, sink.Record{Timestamp: ts, Key: key, Value: value, Headers: slices.Clone(h), Offset: int64(n)})
		} else if !rest.TryAppend(ts, key, value, h) {
			panic("kafka: a private batch refused the records it was made for")
		}
		i++
		return true
	})
	return rest, letters, err
}
