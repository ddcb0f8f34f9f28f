package kafka

import (
	"maps"
	"slices"
	"time"

	"functiongraph-ingest/pkg/sink"
)

// What events become dead letters is told: the first ones of each reason at once, with what finds them in the body,
// and then one line a minute with counts. A broken client cannot make a stream of lines.

// firstDead is how many dead letters of one reason are told each by itself.
const firstDead = 3

// deadCount counts the dead letters of one reason. Sink.mu guards it.
type deadCount struct{ taken, told int64 }

// Reasons of dead letters that are good events. Those of bad regions are pkg/decode's.
const (
	reasonTooLarge = "too_large" // larger than the topic takes
	reasonRefused  = "refused"   // the broker refuses its content
)

// DeadReasons are the reasons that the sink gives itself.
func DeadReasons() []string { return []string{reasonTooLarge, reasonRefused, DroppedUnavailable} }

// Reasons for which the sink drops events.
const (
	droppedDeadUnavailable = "dead_letter_unavailable"
	droppedDeadRefused     = "dead_letter_refused"
	droppedTooLarge        = "too_large"
)

// DropReasons are all reasons for which the sink drops events.
func DropReasons() []string {
	return []string{sink.DroppedShutdown, DroppedSpoolFull, DroppedExpired, DroppedDamaged, droppedTooLarge, droppedDeadUnavailable, droppedDeadRefused, DroppedUnavailable}
}

// noteDead counts a dead letter and tells of it. where is what finds it. s.mu is held.
func (s *Sink) noteDead(reason string, where ...any) {
	c := s.deadCounts[reason]
	c.taken++
	if c.taken <= firstDead {
		c.told = c.taken
		s.log.Warn("an event is a dead letter", append([]any{"reason", reason, "topic", s.dead.name}, where...)...)
	}
	s.deadCounts[reason] = c
	if now := time.Now(); s.deadToldAt.IsZero() {
		s.deadToldAt = now
	} else if now.Sub(s.deadToldAt) >= time.Minute {
		s.deadToldAt = now
		s.tellDead()
	}
}

// tellDead tells how many dead letters there were since the last time. s.mu is held.
func (s *Sink) tellDead() {
	var args []any
	for _, reason := range slices.Sorted(maps.Keys(s.deadCounts)) {
		if c := s.deadCounts[reason]; c.taken > c.told {
			args = append(args, reason, c.taken-c.told)
			c.told = c.taken
			s.deadCounts[reason] = c
		}
	}
	if args != nil {
		s.log.Warn("more events are dead letters", append(args, "topic", s.dead.name)...)
	}
}
