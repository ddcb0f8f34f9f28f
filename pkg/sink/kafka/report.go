package kafka

import (
	"strings"
	"time"

	"functiongraph-ingest/pkg/sink"
)

// reporter owns what is told of the sink's delivery: findings of the other owners go in, the state and log lines come
// out. It asks all of them, and none of them asks it.
//
// One goroutine feeds the state machine. It sleeps while all is well and nothing is under way, and wakes by the bell.
type reporter struct {
	*core
	cluster *kafkaCluster
	spooler *spooler
	letters *deadLetters
	sender  *sender

	machine              // guarded by core.mu, as the two below
	deadSpell, diskSpell spell
}

// report runs the state machine until the sink ends.
func (s *reporter) report() {
	defer s.changes.timer.Stop()
	var due time.Time
	for {
		byTimer := false
		select {
		case <-s.changes.kick:
		case <-s.changes.timer.C:
			byTimer = true
		case <-s.ctx.Done():
			return
		}
		s.changes.armed.Store(false)
		now := time.Now()
		if byTimer && !due.IsZero() && now.Sub(due) > frozen {
			// The process stood still. What looks like a long silence is not: the next look tells.
			due = now.Add(changeAfter)
		} else {
			due = s.step(now)
		}
		due = soonest(due, s.silentFrom(now))
		if !due.IsZero() {
			s.changes.armed.Store(true)
			s.changes.timer.Reset(time.Until(due))
		}
	}
}

// step feeds the machines and logs what they say. It returns when to look again; zero: when something changes.
func (s *reporter) step(now time.Time) (again time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.factsLocked(now)
	s.changes.quiet = f.quiet
	n, again := s.machine.step(now, &f)
	s.tell(n, "events do not reach Kafka", "events reach Kafka", s.effectLocked())
	d := s.deadFactsLocked(now)
	n, at := s.deadSpell.step(now, &d)
	again = soonest(again, at)
	s.tell(n, "dead letters do not reach their topic", "dead letters reach their topic",
		"good events go on; dead letters wait, and are dropped when their share of memory and disk is full")
	k := s.diskFactsLocked()
	n, at = s.diskSpell.step(now, &k)
	again = soonest(again, at)
	s.tell(n, "the spool cannot be used", "the spool can be used", s.effectWithoutDisk(k.trouble.kind))
	return again
}

// tell logs a note; nil: nothing.
func (s *reporter) tell(n *note, bad, good, effect string) {
	if n == nil {
		return
	}
	if n.over {
		s.log.Info(good+" again", "after", round(n.took), "waited", n.waiting, "was", n.trouble.word())
		return
	}
	if n.partial {
		bad = "some " + bad
	}
	args := []any{"reason", n.trouble.reason(), "effect", effect, "remedy", n.trouble.remedy(), "for", round(n.took), "waiting", n.waiting}
	if n.trouble.detail != "" {
		args = append(args, "error", n.trouble.detail)
	}
	if round(n.next) > 0 {
		args = append(args, "next", round(n.next))
	}
	s.log.Warn(bad, args...)
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// effectLocked is what it means that events do not reach Kafka.
func (s *reporter) effectLocked() string {
	spool := s.deps.OpenSpool != nil && s.disk.err == nil
	switch {
	case s.cfg.Settle == SettleOnKafka && spool:
		return "they wait in memory and in the spool; their deliveries are answered 504 after --ack-timeout"
	case s.cfg.Settle == SettleOnKafka:
		return "they wait in memory; their deliveries are answered 504 after --ack-timeout"
	case spool:
		return "they wait in memory and in the spool; when both are full --spool-full decides"
	}
	return "they wait in memory; when that is full deliveries are answered 503"
}

// effectWithoutDisk is what trouble of that kind with the spool means.
func (s *reporter) effectWithoutDisk(k kind) string {
	switch {
	case k == spoolFull && s.cfg.SpoolFull != SpoolFullBlock:
		return "events are dropped and counted as spool_full (--spool-full=" + s.cfg.SpoolFull.String() + ")"
	case s.cfg.Settle == SettleOnDisk:
		return "deliveries are answered when Kafka has them; those that memory cannot hold get 503"
	}
	return "deliveries that memory cannot hold get 503"
}

// silentFrom is when what is under way now becomes a silence, or appends that wait a block; zero: nothing can.
func (s *reporter) silentFrom(now time.Time) (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, since := range []time.Time{s.throttledSinceLocked(now), s.sender.oldestRequestLocked().since, s.cluster.view.asking} {
		if !since.IsZero() && now.Sub(since) < warnAfter {
			at = soonest(at, since.Add(warnAfter))
		}
	}
	return at
}

// tellReachedLocked logs that all topics can be used for the first time.
func (s *reporter) tellReachedLocked() {
	if !s.told { // else the line about the end of the trouble says it
		names, partitions := make([]string, len(s.topics)), 0
		for i, t := range s.topics {
			names[i] = t.name
			partitions += len(t.lanes)
		}
		s.log.Info("events reach Kafka", "topic", strings.Join(names, ","), "partitions", partitions, "idempotent", !s.unsafe)
	}
}

// lastWord tells why events are left when the sink ends, if that was not told yet: a process may live for less than
// warnAfter.
func (s *reporter) lastWord() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	f := s.factsLocked(now)
	if f.waiting += s.givenUp; f.trouble.kind != noTrouble && f.waiting > 0 && !s.told {
		effect := "they are left at the end of the process"
		if s.deps.OpenSpool == nil {
			effect = "they are dropped at the end of the process, because there is no spool (--spool-dir)"
		}
		s.tell(&note{trouble: f.trouble, took: now.Sub(f.since), waiting: f.waiting}, "events did not reach Kafka", "", effect)
	}
}

// Delivery implements sink.Sink.
func (s *Sink) Delivery() sink.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reporter.deliveryLocked(time.Now())
}

func (s *reporter) deliveryLocked(now time.Time) sink.Delivery {
	f, d, k := s.factsLocked(now), s.deadFactsLocked(now), s.diskFactsLocked()
	state, since := s.stateOf(now, &f), s.machine.since
	if state != s.state || since.IsZero() {
		since = now
	}
	return sink.Delivery{
		State: state, Since: since, Waiting: f.waiting, SpooledEvents: f.spooledEvents, SpooledBytes: f.spooledBytes,
		Trouble: f.seen(), DeadLetters: d.seen(), Spool: k.seen(),
	}
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

// seen is the lane as an operator sees it.
func (l *lane) seen() sink.Partition {
	p := sink.Partition{Topic: l.topic.name, Partition: l.partition, Leader: -1, Waiting: l.eventsInMemory()}
	if l.broker != nil {
		p.Leader = l.broker.id
	}
	if l.notable() == 0 {
		p.Trouble = l.trouble.seen()
		p.Trouble.Since, p.Trouble.Next = l.troubleAt, l.retryAt
	}
	if l.disk.q != nil && l.disk.any {
		_, _, p.Spooled = l.disk.q.Len()
	}
	return p
}

// eventsInMemory are those of the lane that wait in memory, the ones that are being sent included.
func (l *lane) eventsInMemory() (n int64) {
	count := func(b *batch) {
		if b != nil && b.inMemory() {
			n += int64(b.events)
		}
	}
	count(l.open)
	count(l.head)
	for _, b := range l.queue {
		count(b)
	}
	for _, b := range l.children {
		count(b)
	}
	return n
}
