package listen

import "sync/atomic"

// counters are added to by every handler, so the ones of a good request share a line.
type counters struct {
	_      [64]byte
	bodies atomic.Uint64 // ids given out; the bodies admitted and those that came too late to be pushed
	bytes  atomic.Int64
	late   atomic.Int64 // bodies that had an id and found the ring closed
	_      [40]byte

	refused     [reasons]atomic.Int64
	events      atomic.Int64 // invocation events
	empty       atomic.Int64
	ackTimeouts atomic.Int64
	lost        atomic.Int64 // answers that named dropped events
	lingering   atomic.Int64
	skipped     atomic.Int64 // bytes of refused bodies that the kernel dropped, see skip.go

	refusedBytes atomic.Int64 // announced by bodies that were answered 503
}

func (c *counters) refuse(r reason) { c.refused[r].Add(1) }

// Stats are counts since the start, except the last four, which are of now.
type Stats struct {
	BodiesAdmitted int64            // bodies pushed into the ring
	Bytes          int64            // their bytes
	Refused        map[string]int64 // requests and connections refused, by reason; nil when none
	RefusedBytes   int64            // announced by deliveries that were answered 503
	EmptyBodies    int64            // answered 200 without the ring
	Invocations    int64            // invocation events acknowledged
	AckTimeouts    int64            // answered 504 before the ack, by timeout or Abort
	PartlyDropped  int64            // answered 504, or 200 with a count, because events of the body were dropped
	Replaced       int64            // connections closed because a newcomer had no place

	OpenConns   int // connections served
	WaitingAcks int // of those, waiting for an ack
	Lingering   int // answered for the last time: what the client still sends is discarded
	TurnedAway  int // connections beyond MaxConns being answered or closed
}

// Stats reads the counters. It walks the open connections: for metrics, not for a hot loop.
func (s *Server) Stats() Stats {
	c := &s.count
	late := c.late.Load()
	st := Stats{
		BodiesAdmitted: int64(c.bodies.Load()) - late,
		Bytes:          c.bytes.Load(),
		RefusedBytes:   c.refusedBytes.Load(),
		EmptyBodies:    c.empty.Load(),
		Invocations:    c.events.Load(),
		AckTimeouts:    c.ackTimeouts.Load(),
		PartlyDropped:  c.lost.Load(),
		Lingering:      int(c.lingering.Load()),
		Replaced:       s.conns.replaced.Load(),
	}
	for r := range c.refused {
		if n := c.refused[r].Load(); n != 0 {
			if st.Refused == nil {
				st.Refused = make(map[string]int64)
			}
			st.Refused[reasonNames[r].word] = n
		}
	}
	s.conns.each(func(c *conn) {
		if phaseOf(c.state.Load()) == waiting {
			st.WaitingAcks++
		}
	})
	s.conns.mu.Lock()
	st.OpenConns, st.TurnedAway = s.conns.served, s.conns.extra
	s.conns.mu.Unlock()
	return st
}

// Requests counts deliveries and invocation events, refused ones too, without the cost of Stats.
func (s *Server) Requests() int64 {
	c := &s.count
	return int64(c.bodies.Load()) + c.events.Load() + c.empty.Load() + c.refused[reasonFull].Load() + c.refused[reasonShutdown].Load()
}
