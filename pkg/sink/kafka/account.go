package kafka

import (
	"maps"

	"functiongraph-ingest/pkg/sink"
)

// account is the sink's part of the ledger. core.mu guards it, and each event moves from one term to another
// within one hold of that lock. So at every instant
//
//	admitted + recovered = delivered + deadLettered + setAside + spooled + inFlight + sum(dropped)
type account struct {
	admitted, recovered               int64
	delivered, deadLettered, setAside int64
	spooled, inFlight                 int64
	dropped                           map[string]int64 // by reason
}

// admit counts n events that the sink has taken into memory.
func (c *account) admit(n int) {
	c.admitted += int64(n)
	c.inFlight += int64(n)
}

// toDisk counts n events that leave memory for the disk; below 0 they are read back.
func (c *account) toDisk(n int) {
	c.inFlight -= int64(n)
	c.spooled += int64(n)
}

// drop counts n events that are in flight as lost. s.mu is held.
func (s *core) drop(reason string, n int) {
	if n > 0 {
		s.count.dropped[reason] += int64(n)
		s.count.inFlight -= int64(n)
	}
}

// Stats implements sink.Sink. All terms are of one instant.
func (s *Sink) Stats() sink.Stats {
	s.mu.Lock()
	c := s.count
	if s.spooler.behindClose { // a worker may still come back from the disk
		c = s.atEnd
	}
	c.dropped = maps.Clone(c.dropped)
	idempotent := !s.unsafe
	sp := s.disk.sp
	s.mu.Unlock()
	if sp != nil {
		// The spool finds these events damaged, and counts them itself: here they are still spooled.
		if lost := sp.Stats().Lost; lost > 0 {
			c.dropped[DroppedDamaged] += lost
			c.spooled -= lost
		}
	}
	return sink.Stats{
		Admitted: c.admitted, Recovered: c.recovered, Delivered: c.delivered, DeadLettered: c.deadLettered,
		SetAside: c.setAside, Spooled: c.spooled, InFlight: c.inFlight, Dropped: c.dropped,
		PossibleDuplicates: s.possibleDuplicates.Load(), DuplicatesSuppressed: s.duplicatesSuppressed.Load(),
		Idempotent: idempotent,
	}
}
