package kafka

import (
	"time"

	"functiongraph-ingest/pkg/sink"
)

// The state machine of delivery. It is fed with facts and a time, and returns the state and what is to be logged: no
// lock, no clock, no I/O. report.go feeds it.
//
//	            first answer              events come
//	 starting ──────────────▶ idle ◀──────────────────▶ delivering
//	    │                      ▲                            │
//	    │ nothing within       │ no trouble for calm        │ trouble, also silence
//	    ▼ warnAfter            │                            ▼
//	 retrying ◀────────────────┴───────────────────── retrying, or failed where an operator must act
//
// Beside that: spooling while events wait on disk only, blocked while an append finds no room for blockedAfter. The
// worst holds: blocked, failed, spooling, retrying, delivering, idle.

const (
	// warnAfter is how long trouble lasts until it is told for the first time, also when nothing answers at all.
	warnAfter = 2 * time.Second
	// changeAfter is how long another reason lasts until it is told, and how long there must be no trouble until it is
	// over.
	changeAfter = time.Second
	// warnEvery is the pause between lines about the same reason.
	warnEvery = time.Minute
	// blockedAfter is how long nothing may be taken until that is a state.
	blockedAfter = time.Second
)

// facts are what the sink knows at one instant.
type facts struct {
	reached bool    // the topic could be used once
	trouble trouble // what is in the way; kind 0: nothing
	since   time.Time
	next    time.Time // the next attempt
	quiet   bool      // it is that there is no answer
	partial bool      // other partitions go on

	waiting       int64 // events in memory and on disk, and those with which appenders wait
	spooledEvents int64
	spooledBytes  int64
	overflow      bool      // events wait on disk only
	stalled       time.Time // since when appends find no room; zero: they do
}

// note is a line to be logged.
type note struct {
	over    bool // the trouble is over; else it is told
	trouble trouble
	took    time.Duration // since its beginning
	waiting int64         // events that wait, or waited at most
	next    time.Duration // until the next attempt; 0: not known
	partial bool
}

// spell follows one kind of trouble from its beginning to its end and says when to tell of it. The zero value is
// ready.
type spell struct {
	began   time.Time // zero: all is well
	clear   time.Time // since when there is no trouble though the spell is not over; zero: there is
	current trouble
	changed time.Time // since when it is the current one
	told    bool      // of this spell
	last    trouble   // that was told
	toldAt  map[trouble]time.Time
	waited  int64
}

// step takes the facts of one instant. It returns what is to be told, and when to look again at the latest; zero:
// when the facts change.
func (s *spell) step(now time.Time, f *facts) (n *note, again time.Time) {
	if f.trouble.kind == noTrouble {
		return s.calm(now, f)
	}
	if s.began.IsZero() {
		s.began, s.changed, s.current = f.since, f.since, f.trouble
		if s.toldAt == nil {
			s.toldAt = map[trouble]time.Time{}
		}
	}
	if !s.current.same(f.trouble) {
		s.changed = now
	}
	s.current, s.clear = f.trouble, time.Time{}
	s.waited = max(s.waited, f.waiting)
	due := s.began.Add(warnAfter)
	if s.told {
		due = s.changed.Add(changeAfter)
	}
	if at := s.toldAt[f.trouble.key()].Add(warnEvery); due.Before(at) {
		due = at
	}
	if now.Before(due) {
		return nil, due
	}
	s.told, s.last = true, f.trouble
	s.forget(now)
	s.toldAt[f.trouble.key()] = now
	n = &note{trouble: f.trouble, took: now.Sub(s.began), waiting: f.waiting, partial: f.partial}
	if f.next.After(now) {
		n.next = f.next.Sub(now)
	}
	return n, now.Add(warnEvery)
}

// calm is step without trouble.
func (s *spell) calm(now time.Time, f *facts) (n *note, again time.Time) {
	if s.began.IsZero() {
		return nil, time.Time{}
	}
	s.waited = max(s.waited, f.waiting)
	if s.clear.IsZero() {
		s.clear = now
	}
	if over := s.clear.Add(changeAfter); now.Before(over) {
		return nil, over
	}
	if s.told {
		n = &note{over: true, trouble: s.last, took: s.clear.Sub(s.began), waiting: s.waited}
	}
	*s = spell{toldAt: s.toldAt}
	return n, time.Time{}
}

// forget bounds what is remembered: topics and brokers are few, but nothing says how few.
func (s *spell) forget(now time.Time) {
	for t, at := range s.toldAt {
		if now.Sub(at) >= warnEvery {
			delete(s.toldAt, t)
		}
	}
}

// lasting reports whether there is trouble that is older than a hiccup.
func (s *spell) lasting(now time.Time, f *facts) bool {
	began := s.began
	if began.IsZero() {
		began = f.since
	}
	return f.trouble.kind != noTrouble && (s.told || now.Sub(began) >= warnAfter)
}

// machine is the state of delivery.
type machine struct {
	spell
	state sink.State
	since time.Time
}

// step takes the facts of one instant.
func (m *machine) step(now time.Time, f *facts) (n *note, again time.Time) {
	n, again = m.spell.step(now, f)
	if state := m.stateOf(now, f); state != m.state || m.since.IsZero() {
		m.state, m.since = state, now
	}
	if !f.stalled.IsZero() {
		if at := f.stalled.Add(blockedAfter); at.After(now) {
			again = soonest(again, at)
		}
	}
	return n, again
}

// stateOf is the state that the facts make, the worst first. It changes nothing.
func (m *machine) stateOf(now time.Time, f *facts) sink.State {
	lasting := m.lasting(now, f)
	switch {
	case !f.stalled.IsZero() && now.Sub(f.stalled) >= blockedAfter:
		return sink.Blocked
	case lasting && kinds[f.trouble.kind].act:
		return sink.Failed
	case f.overflow:
		return sink.Spooling
	case lasting:
		return sink.Retrying
	case !f.reached:
		return sink.Starting
	case f.waiting > 0:
		return sink.Delivering
	}
	return sink.Idle
}
