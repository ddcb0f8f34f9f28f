package kafka

import (
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// apart says that the broker refused the batch whole and nothing of it is in the log.
func (e *entry) apart() bool { return e.verdict != classOK }

// isolate takes a refused batch apart: into halves by record count, until a single record is refused,
// which goes to the dead letters. The halves take the batch's place in its lane and its sequence, since
// nothing was appended. Their memory is their own: a sender never waits for a buffer of the pool.
func (w *worker) isolate(e *entry) {
	s, l, b := w.s, e.lane, e.batch
	size := int64(b.rb.Size())
	s.mu.Lock()
	// A batch from the pool needs new memory for its halves; a private one only passes its own on.
	if b.private == 0 && s.private != 0 && s.private+2*size > 2*s.cfg.OversizeBytes {
		s.mu.Unlock()
		w.putBack(e)
		return
	}
	s.private += size
	s.mu.Unlock()
	parts, err := halves(b.rb)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.private -= size
	if err != nil {
		s.alarm("isolate", "a batch that the broker refused cannot be read back; sending it again", "error", err)
		s.putBackLocked(e)
		return
	}
	s.splits.Add(1)
	l.doubt, l.busy, l.failures = nil, false, 0
	if len(parts) == 1 {
		w.out = s.bury(e, parts[0], w.out)
		s.checkDrained()
		return
	}
	if e.verdict == classSplit {
		// The topic's limit is below our batches: make the next ones smaller.
		l.topic.limit = max(recordbatch.ChunkSize/4, min(l.topic.limit, b.rb.Size()/2))
	}
	queue := make([]*batch, 0, len(parts)+len(l.queue))
	events := b.events
	for _, rb := range parts {
		p := s.newBatch()
		p.rb, p.parent, p.private, p.opened = rb, b, int64(rb.Size()), b.opened
		p.events = min(events, rb.Count()) // all records of a batch count one, or it is a single notice
		events -= p.events
		s.private += p.private
		l.topic.batches++
		queue = append(queue, p)
	}
	b.parts = len(parts)
	b.events = 0
	s.unload(l.topic, b)
	l.queue = append(queue, l.queue...)
	l.signal()
}

func (w *worker) putBack(e *entry) {
	w.s.mu.Lock()
	w.s.putBackLocked(e)
	w.s.mu.Unlock()
}

// putBackLocked leaves the batch in doubt; it will be sent, refused and taken apart again later.
func (s *Sink) putBackLocked(e *entry) {
	s.failed(e, classRetry, e.code, e.message)
}

// halves rebuilds the records of a batch in two private batches, or in one when there is only one.
func halves(rb *recordbatch.Batch) ([]*recordbatch.Batch, error) {
	n := rb.Count()
	first := (n + 1) / 2
	if n == 1 {
		first = 1
	}
	sizes := [2]int{}
	i := 0
	if err := rb.Records(func(_ int64, key, value []byte, h []sink.Header) bool {
		half := 0
		if i >= first {
			half = 1
		}
		sizes[half] += recordbatch.RecordSize(key, value, h)
		i++
		return true
	}); err != nil {
		return nil, err
	}
	parts := []*recordbatch.Batch{recordbatch.NewPrivateBatch(sizes[0])}
	if n > 1 {
		parts = append(parts, recordbatch.NewPrivateBatch(sizes[1]))
	}
	i = 0
	err := rb.Records(func(ts int64, key, value []byte, h []sink.Header) bool {
		half := 0
		if i >= first {
			half = 1
		}
		if !parts[half].TryAppend(ts, key, value, h) {
			panic("kafka: a private batch refused the records it was made for")
		}
		i++
		return true
	})
	return parts, err
}
