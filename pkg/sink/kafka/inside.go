package kafka

import "functiongraph-ingest/pkg/sink"

// Inside is what there is to see of the sink now, with at most so many partitions.
func (s *Sink) Inside(partitions int) sink.Inside {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reporter.insideLocked(partitions)
}

func (s *reporter) insideLocked(partitions int) sink.Inside {
	in := sink.Inside{Partitions: []sink.Partition{}, DeadLetters: s.letters.deadNotesLocked()}
	// Three passes instead of a sort: a topic may have thousands of partitions, and this holds the lock.
	for pass := range 3 {
		for l := range s.lanes() {
			if pass == 0 {
				in.AllPartitions++
			}
			if len(in.Partitions) < partitions && l.notable() == pass {
				in.Partitions = append(in.Partitions, l.seen())
			}
		}
	}
	return in
}

// notable is 0 for a lane in trouble, 1 for one that has something, else 2.
func (l *lane) notable() int {
	switch {
	case l.failures > 0 && l.trouble.kind != noTrouble:
		return 0
	case !l.idle():
		return 1
	}
	return 2
}

// seen is the lane as an operator sees it. s.mu is held.
func (l *lane) seen() sink.Partition {
	p := sink.Partition{Topic: l.topic.name, Partition: l.partition, Leader: -1}
	if l.broker != nil {
		p.Leader = l.broker.id
	}
	if l.notable() == 0 {
		p.Trouble = l.trouble.seen()
		p.Trouble.Since, p.Trouble.Next = l.troubleAt, l.retryAt
	}
	count := func(b *batch) {
		if b != nil && (b.rb != nil || b.parts > 0) {
			p.Waiting += int64(b.events)
		}
	}
	count(l.open)
	count(l.doubt)
	for _, b := range l.queue {
		count(b)
	}
	for _, b := range l.parts {
		count(b)
	}
	if l.disk.q != nil && l.disk.any {
		p.Spooled = l.disk.q.Bytes()
	}
	return p
}

// deadNotesLocked are the notes of the last dead letters, the newest first.
func (s *deadLetters) deadNotesLocked() []sink.DeadNote {
	notes := []sink.DeadNote{}
	for i := range min(s.next, lastDead) {
		notes = append(notes, s.last[(s.next-1-i)%lastDead])
	}
	return notes
}
