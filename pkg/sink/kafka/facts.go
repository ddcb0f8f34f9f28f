package kafka

import (
	"errors"
	"fmt"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// What the sink knows about its delivery at one instant. delivery.go makes states and lines of it.

// factsLocked are the facts about events.
func (s *reporter) factsLocked(now time.Time) facts {
	s.dropDamaged()
	f := facts{
		reached: s.cluster.view.reached, waiting: s.count.inFlight + s.count.spooled + s.untakenEvents,
		spooledEvents: s.count.spooled, overflow: s.disk.overflowing > 0, stalled: s.stalled,
	}
	if f.overflow {
		for l := range s.lanes() {
			if l.disk.q != nil && l.disk.any {
				_, _, bytes := l.disk.q.Len()
				f.spooledBytes += bytes
			}
		}
	}
	switch lane, bad, of := worst(s.topics...); {
	case s.cluster.view.found.kind != noTrouble:
		f.trouble, f.since, f.next = s.cluster.view.found, s.cluster.view.foundAt, s.cluster.view.nextLook
		f.partial = now.Sub(s.ackedAt) < warnAfter || s.unreachedSince.IsZero() && s.someUsable()
	case lane != nil:
		f.trouble, f.since, f.next = lane.trouble, lane.troubleAt, lane.retryAt
		f.partial = bad < of
	default:
		f.trouble, f.since = s.silenceLocked(now)
		f.quiet = f.trouble.kind != noTrouble
		f.partial = now.Sub(s.ackedAt) < warnAfter
	}
	return f
}

// throttledSinceLocked is since when brokers let batches wait; zero: none does now.
func (s *reporter) throttledSinceLocked(now time.Time) (since time.Time) {
	for _, b := range s.brokers {
		if now.Before(b.pausedUntil) {
			since = soonest(since, b.throttledSince)
		}
	}
	return since
}

// silenceLocked is the trouble of batches that wait because a broker wants a pause, or of a request or a look that got no
// answer, each for warnAfter.
func (s *reporter) silenceLocked(now time.Time) (t trouble, since time.Time) {
	if at := s.throttledSinceLocked(now); !at.IsZero() && now.Sub(at) >= warnAfter {
		return trouble{kind: throttled}, at
	}
	if u := s.sender.oldestRequestLocked(); !u.since.IsZero() && now.Sub(u.since) >= warnAfter {
		return trouble{kind: silent, subject: fmt.Sprintf("broker %d", u.broker)}, u.since
	}
	if at := s.cluster.view.asking; !at.IsZero() && now.Sub(at) >= warnAfter {
		return trouble{kind: unreachable, subject: fmt.Sprint(s.cfg.Brokers), detail: "no answer yet"}, at
	}
	return trouble{}, time.Time{}
}

// worst is the lane whose trouble is told: one that needs an operator before others, then the oldest. bad is how many
// of the topics' lanes have one.
func worst(topics ...*topic) (w *lane, bad, of int) {
	for _, t := range topics {
		of += len(t.lanes)
		for _, l := range t.lanes {
			if l.trouble.kind == noTrouble || l.failures == 0 || l.idle() {
				continue
			}
			bad++
			act := kinds[l.trouble.kind].act
			if w == nil || act && !kinds[w.trouble.kind].act || act == kinds[w.trouble.kind].act && l.troubleAt.Before(w.troubleAt) {
				w = l
			}
		}
	}
	return w, bad, of
}

// someUsable reports whether a main topic can be used, of several.
func (s *core) someUsable() bool {
	for _, t := range s.topics {
		if len(t.leaders) > 0 && t.err == nil && len(s.topics) > 1 {
			return true
		}
	}
	return false
}

// deadFactsLocked are the facts about dead letters.
func (s *reporter) deadFactsLocked(now time.Time) (f facts) {
	if !s.want.deadTopic {
		return f
	}
	for _, l := range s.dead.lanes {
		f.waiting += l.eventsInMemory()
	}
	if lane, _, _ := worst(&s.dead); lane != nil {
		f.trouble, f.since, f.next = lane.trouble, lane.troubleAt, lane.retryAt
		return f
	}
	var known *troubled
	// While nothing can be asked of the cluster that is what is told.
	if errors.As(s.dead.err, &known) && s.cluster.view.found.kind == noTrouble {
		f.trouble, f.since, f.next = known.trouble, now, s.want.deadAgain
		if s.dead.createErr != nil {
			f.trouble.detail = printable(s.dead.createErr.Error())
		}
	}
	return f
}

// diskFactsLocked are the facts about the spool.
func (s *reporter) diskFactsLocked() (f facts) {
	if s.disk.err == nil || s.deps.OpenSpool == nil {
		return f
	}
	f.waiting = s.count.inFlight + s.count.spooled
	f.trouble = trouble{kind: spoolWrites, detail: printable(s.disk.err.Error())}
	f.since, f.next = s.disk.failedAt, s.spooler.writer.retryAt
	switch {
	case isFull(s.disk.err):
		f.trouble.kind = spoolFull
	case errors.Is(s.disk.err, diskqueue.ErrBusy):
		f.trouble.kind = spoolBusy
	case s.disk.sp == nil:
		f.trouble.kind = spoolClosed
	}
	return f
}

// seen is the trouble in the facts, as others see it.
func (f *facts) seen() sink.Trouble {
	t := f.trouble.seen()
	if f.trouble.kind != noTrouble {
		t.Since, t.Next = f.since, f.next
	}
	return t
}

// kafkaLocked is nil while events reach Kafka, else the reason why not.
func (s *reporter) kafkaLocked() error {
	now := time.Now()
	f := s.factsLocked(now)
	switch {
	case f.trouble.kind != noTrouble && (s.cluster.view.found.kind != noTrouble || now.Sub(f.since) >= warnAfter):
		return f.trouble
	case !f.reached:
		return errors.New("no Kafka broker was reached yet")
	}
	return nil
}

// blockedLocked reports whether appends find no room for longer than a moment.
func (s *reporter) blockedLocked(now time.Time) bool {
	at := s.stalled
	return !at.IsZero() && now.Sub(at) >= blockedAfter
}
