package kafka

import (
	"context"
	"fmt"
	"testing"

	"functiongraph-ingest/pkg/sink"
)

// BenchmarkAppend is the path of an event into the open batch of its partition, 64 in one call.
func BenchmarkAppend(b *testing.B) {
	for _, keys := range []int{0, 1, 16} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			s, err := New(Config{Brokers: []string{"127.0.0.1:1"}, Topic: "t", Headers: HeadersStandard}, Deps{Hold: make(chan struct{})})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close(context.Background())
			s.mu.Lock()
			s.topics[0].addLanes(4)
			s.mu.Unlock()
			recs := make([]sink.Record, 64)
			for i := range recs {
				recs[i] = sink.Record{Value: make([]byte, 240), Timestamp: 1}
				if keys > 0 {
					recs[i].Key = fmt.Appendf(nil, "key-%d", i*keys/64)
				}
			}
			ctx := context.Background()
			b.ReportAllocs()
			b.SetBytes(64 * 240)
			n := 0
			for b.Loop() {
				if _, err := s.Append(ctx, recs, nil); err != nil {
					b.Fatal(err)
				}
				if n++; n%500 == 0 {
					discard(s)
				}
			}
			discard(s)
		})
	}
}

// discard takes out what was appended, as if it had been acknowledged.
func discard(s *Sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.lanes() {
		l.batches(func(b *batch) {
			s.count.inFlight -= int64(b.events)
			s.release(l.topic, b)
			s.freeBatch(b)
		})
		l.queue, l.open = nil, nil
	}
}
