//go:build invariants

package kafka

import (
	"context"
	"testing"
)

// TestWrongStatesAreFound: each spoils one fact of a sink whose state is right.
func TestWrongStatesAreFound(t *testing.T) {
	for name, spoil := range map[string]func(s *Sink, l *lane){
		"":                                       func(*Sink, *lane) {},
		"a request without a batch":              func(_ *Sink, l *lane) { l.head, l.busy = nil, true },
		"a frame behind a batch without one":     func(_ *Sink, l *lane) { l.queue[1].pos = 7 },
		"frames out of order":                    func(_ *Sink, l *lane) { l.queue[0].pos, l.queue[1].pos = 9, 8 },
		"a frame out of order with the one sent": func(_ *Sink, l *lane) { l.head.pos, l.queue[0].pos = 9, 8 },
		"a second batch with a stamp":            func(_ *Sink, l *lane) { l.queue[0].stamped = true },
		"an open batch with a frame":             func(_ *Sink, l *lane) { l.open.pos = 20 },
		"bytes and frame are gone":               func(_ *Sink, l *lane) { l.queue[1].rb = nil },
		"written without bytes":                  func(_ *Sink, l *lane) { l.queue[0].rb, l.queue[0].writing = nil, true },
		"loaded without a frame":                 func(_ *Sink, l *lane) { l.head.loaded = true },
		"final, and not compressed":              func(_ *Sink, l *lane) { l.head.bytesFinal = true },
		"acknowledged, and still in the lane":    func(_ *Sink, l *lane) { l.head.ackedWhileWriting = true },
		"an event that the ledger lost":          func(s *Sink, _ *lane) { s.count.inFlight-- },
		"an event that no batch has":             func(s *Sink, _ *lane) { s.count.inFlight++ },
		"a lane on disk that is not counted":     func(_ *Sink, l *lane) { l.disk.any = true },
		"a batch that is not counted":            func(s *Sink, _ *lane) { s.topics[0].batches-- },
		"memory that is not counted":             func(_ *Sink, l *lane) { l.queue[0].private = 100 },
		"sent, and open again":                   func(_ *Sink, l *lane) { l.open, l.head = l.head, l.open },
		"a frame without a write":                func(_ *Sink, l *lane) { l.head.pos = 3 },
	} {
		s, l, _ := bench(t)
		s.ctx = context.Background()
		l.head = holds(t, l, 1)
		holds(t, l, 2)
		holds(t, l, 3)
		l.open = holds(t, l, 4)
		l.queue = l.queue[1:3]
		s.topics[0].batches, s.count.inFlight = 4, 10
		if err := s.check(); err != nil {
			t.Fatal(err)
		}
		spoil(s, l)
		if err := s.check(); (err != nil) != (name != "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestAStructThatIsUsedAgainBeginsAnew: the next batch in it has nothing to do with the one before.
func TestAStructThatIsUsedAgainBeginsAnew(t *testing.T) {
	s, l, _ := bench(t)
	s.ctx = context.Background()
	b := holds(t, l, 1)
	l.head, l.queue, s.topics[0].batches, s.count.inFlight = b, nil, 1, 1
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	rb := b.rb
	b.rb, l.head, s.topics[0].batches, s.count.inFlight = nil, nil, 0, 0
	s.freeBatch(b)
	b = s.newBatch(l)
	b.rb, l.open = rb, b
	s.topics[0].batches = 1
	if err := s.check(); err != nil {
		t.Error(err)
	}
}
