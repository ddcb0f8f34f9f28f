package kafka

import "functiongraph-ingest/pkg/sink"

var _ sink.Renewer = (*Sink)(nil)

// Renew implements sink.Renewer. A copy of this process has its producer id, its sequence of numbers and its
// connections. The broker would take the copy's batches for resends of ours, and the other way round.
//
// A batch that was sent and is not answered keeps its stamp: the copy has the same one with the same bytes, so it is
// in the log once. The sequence of numbers ends with a mark, and another one begins.
func (s *Sink) Renew() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.retireProducer() // the next batch asks for another one
	s.renewSequence()
	s.mu.Unlock()
	s.cluster.client.CloseIdleConnections()
}

// retireProducer sees to it that no batch is given a stamp of the current id, nor of one that was asked for already.
// The batch in doubt keeps its stamp.
func (s *core) retireProducer() {
	s.retired = s.current.gen
	s.retirements++
	for l := range s.lanes() {
		l.stamps.retire(s.retired)
	}
}

// renewSequence ends the sequence of numbers and begins another one.
func (s *core) renewSequence() {
	s.lastMarks(markLane)
	lost, _ := s.lostSoFar()
	s.marks = marks{lost: lost, setAside: s.count.setAside}
	for _, t := range s.topics {
		t.fresh, t.used = false, false
	}
	s.numbers.begin(s.count.admitted)
}
