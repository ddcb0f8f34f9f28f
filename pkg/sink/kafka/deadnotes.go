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

const (
	lastDead     = 16  // notes of dead letters that are kept for the status page
	contentBytes = 160 // of each, if their content is shown at all
)

// deadLetters owns what becomes of events that the topic does not take: their headers, what is told of them, and the
// reports of losses. It knows the partitions and nothing above.
type deadLetters struct {
	*core
	room *room
	// Guarded by core.mu.
	counts map[string]deadCount    // by reason
	toldAt time.Time               // when the counts were told last
	last   [lastDead]sink.DeadNote // a ring: the newest is before next
	next   int
}

// deadCount counts the dead letters of one reason. core.mu guards it.
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

// noteDeadLocked counts a dead letter, keeps the note of it and tells of it. raw is what was sent.
func (s *deadLetters) noteDeadLocked(n sink.DeadNote, raw []byte) {
	n.Time, n.Bytes = time.Now(), int64(len(raw))
	if s.cfg.ShowContent {
		n.Content = printable(string(raw[:min(len(raw), contentBytes)]))
	}
	c := s.counts[n.Reason]
	c.taken++
	if c.taken <= firstDead {
		c.told = c.taken
		s.log.Warn("an event is a dead letter", append([]any{"reason", n.Reason, "topic", s.dead.name}, whereOf(&n)...)...)
	}
	s.counts[n.Reason] = c
	s.last[s.next%lastDead] = n
	s.next++
	if s.toldAt.IsZero() {
		s.toldAt = n.Time
	} else if n.Time.Sub(s.toldAt) >= time.Minute {
		s.toldAt = n.Time
		s.tellDeadLocked()
	}
}

// whereOf is what finds a dead letter, for a log line.
func whereOf(n *sink.DeadNote) []any {
	if n.Topic == "" {
		return []any{"body", n.Body, "offset", n.Offset, "error-offset", n.ErrorOffset, "bytes", n.Bytes}
	}
	where := []any{"of-topic", n.Topic, "partition", n.Partition, "bytes", n.Bytes}
	if n.Error != "" {
		where = append(where, "error", n.Error)
	}
	return where
}

// tellDeadLocked tells how many dead letters there were since the last time.
func (s *deadLetters) tellDeadLocked() {
	var args []any
	for _, reason := range slices.Sorted(maps.Keys(s.counts)) {
		if c := s.counts[reason]; c.taken > c.told {
			args = append(args, reason, c.taken-c.told)
			c.told = c.taken
			s.counts[reason] = c
		}
	}
	if args != nil {
		s.log.Warn("more events are dead letters", append(args, "topic", s.dead.name)...)
	}
}

// deadNotesLocked are the notes of the last dead letters, the newest first.
func (s *deadLetters) deadNotesLocked() []sink.DeadNote {
	notes := []sink.DeadNote{}
	for i := range min(s.next, lastDead) {
		notes = append(notes, s.last[(s.next-1-i)%lastDead])
	}
	return notes
}
