package kafka

import (
	"bytes"
	"testing"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// TestRoomIsCountedWhileABatchIsCompressed: who counts memory has the lock, who compresses has not. The race detector
// tells if one reads what the other writes.
func TestRoomIsCountedWhileABatchIsCompressed(t *testing.T) {
	s, l, w := bench(t)
	s.pool = recordbatch.NewPool(8 * recordbatch.ChunkSize)
	s.codec.Store(uint32(recordbatch.Snappy))
	l.topic.limit, l.stuckSince = 8*recordbatch.ChunkSize, time.Now()
	l.disk.q = noQueue{}
	s.cfg.BatchBytes, s.roomMade = 8*recordbatch.ChunkSize, make(chan struct{})
	r := sink.Record{Value: bytes.Repeat([]byte("text "), recordbatch.ChunkSize/2)}
	if !s.room.put(l, &r, nil, recordbatch.RecordSize(nil, r.Value, nil), nil, 1) {
		t.Fatal("no room for a record")
	}
	open := s.room.stuckChunks()
	l.seal()
	b := l.queue[0]
	if sealed := s.room.stuckChunks(); open != 3 || sealed != open {
		t.Errorf("%d chunks while it is open, %d when it is sealed, want 3", open, sealed)
	}
	compressed := make(chan struct{})
	go func() {
		defer close(compressed)
		s.compress(b, &recordbatch.Scratch{})
	}()
	look := func() (chunks, bytes int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.room.stuckChunks(), l.spillable()
	}
	for done := false; !done; {
		select {
		case <-compressed:
			done = true
		default:
		}
		look()
	}
	if chunks, bytes := look(); chunks != b.rb.Chunks() || bytes != b.rb.Size() || chunks >= open {
		t.Errorf("%d chunks, %d bytes counted, the batch has %d, %d", chunks, bytes, b.rb.Chunks(), b.rb.Size())
	}
	if !w.addLocked(l, time.Now()) || w.bytes != b.rb.Size() {
		t.Errorf("the request has %d bytes, the batch %d", w.bytes, b.rb.Size())
	}
}

// TestABatchThatWasOpenHasItsBytesInTheRequest: it is sealed by being taken. Without its bytes requests became larger than
// brokers take.
func TestABatchThatWasOpenHasItsBytesInTheRequest(t *testing.T) {
	s, l, w := bench(t)
	s.pool = recordbatch.NewPool(8 * recordbatch.ChunkSize)
	s.cfg.BatchBytes, l.topic.limit = 8*recordbatch.ChunkSize, 8*recordbatch.ChunkSize
	r := sink.Record{Value: bytes.Repeat([]byte("text "), 100)}
	if !s.room.put(l, &r, nil, recordbatch.RecordSize(nil, r.Value, nil), nil, 1) {
		t.Fatal("no room for a record")
	}
	if b := l.open; !w.addLocked(l, time.Now()) || l.head != b || w.bytes != b.rb.Size() || l.wireBytes(b) != w.bytes {
		t.Errorf("the request has %d bytes, the batch %d", w.bytes, b.rb.Size())
	}
}

// noQueue is the queue of a lane that has no frames.
type noQueue struct{ diskqueue.Queue }
