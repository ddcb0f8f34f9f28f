package kafka

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// steward keeps leaders, topics and the producer id up to date. No other goroutine asks the cluster
// about them. It sleeps for MetadataTTL when all is well, and rests when nothing is and nothing waits.
func (s *kafkaCluster) steward() {
	if !s.awaitHold() {
		return
	}
	failed := 0 // rounds in a row
	for s.ctx.Err() == nil {
		if !s.look() {
			return
		}
		err := s.refreshOnce()
		if s.sight.short = err != nil; err == nil {
			failed = 0
			s.sleepOrKick(s.untilNextLook())
			continue
		}
		failed++
		wait, rest := s.failedPause(failed, err)
		s.mu.Lock()
		s.view.nextLook = time.Now().Add(wait)
		s.mu.Unlock()
		if !rest {
			s.sleepOrKick(wait)
		} else if s.rest(wait) {
			failed = 0
		}
	}
}

// kafkaCluster owns what the sink knows of the Kafka cluster: its brokers, leaders, abilities and settings, and the producer id.
// One goroutine, the steward, asks for them. It knows the partitions and nothing above.
type kafkaCluster struct {
	*core
	client *client
	sight  sight
	clock  thawClock

	// Guarded by core.mu.
	view  findings
	able  abilities // of the brokers; all until they have told
	asked bool      // they have
	size  int       // brokers of the last metadata answer

	serve        func(*broker) // starts to send to a broker that is new
	firstReached func()        // hears that the topic can be used for the first time

	refreshes, thaws atomic.Int64
}

// findings are what the looks at the cluster have found.
type findings struct {
	reached  bool      // all main topics could be used once, at the same time
	found    trouble   // by the last look
	foundAt  time.Time // when the looks began to fail
	asking   time.Time // since when the look that is under way lasts; zero: none is
	nextLook time.Time
}

// begin makes the cluster one of which nothing is known yet.
func (s *kafkaCluster) begin(cl *client) {
	s.client, s.able = cl, all
	s.clock.epoch = time.Now()
}

// untilNextLook is how long the steward sleeps when all is well with the main topic. Dead letters that wait for an
// operator are sent soon after their topic was mended.
func (s *kafkaCluster) untilNextLook() time.Duration {
	most := s.cfg.MetadataTTL
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead.err != nil && s.dead.batches > 0 && most > deadTopicEvery {
		most = deadTopicEvery
		s.want.refresh = true
	}
	return jittered(most)
}

// sight is what the steward saw of the cluster. No other goroutine uses it.
type sight struct {
	layout layout    // of the last answer, kept while there is none
	err    error     // of the last look
	at     time.Time // of the last look
	soon   bool      // a topic was made: it will be seen in a moment
	short  bool      // something was missing in the last round: the layout may not be that of the cluster any more
}

// look asks for the layout when it is old or suspect, or the last round failed with it, at most every refreshEvery;
// false: the sink ends.
func (s *kafkaCluster) look() bool {
	v := &s.sight
	s.mu.Lock()
	suspect := s.want.refresh
	s.mu.Unlock()
	fresh := s.cfg.MetadataTTL / 2
	if v.short {
		fresh = min(fresh, refreshEvery)
	}
	if !suspect && v.err == nil && time.Since(v.at) < fresh && !v.at.IsZero() {
		s.looking()
		return true
	}
	every := refreshEvery
	if v.soon {
		every = unreadyPoll
	}
	if !s.pause(every - time.Since(v.at)) {
		return false
	}
	s.mu.Lock()
	s.want.refresh = false
	s.mu.Unlock()
	if suspect {
		s.refreshes.Add(1)
	}
	v.at, v.soon = time.Now(), false
	s.looking()
	l, err := s.client.metadata(s.ctx)
	if v.err = err; err == nil {
		v.layout = l
	}
	return true
}

// refreshOnce does one round; an error says that something is still missing.
func (s *kafkaCluster) refreshOnce() error {
	if err := s.sight.err; err != nil {
		s.looked(err)
		s.mu.Lock()
		if s.unreachedSince.IsZero() {
			s.unreachedSince = time.Now()
		}
		s.mu.Unlock()
		return err
	}
	now := s.sight.layout
	s.mu.Lock()
	if !s.unreachedSince.IsZero() || s.reachedSince.IsZero() {
		s.unreachedSince, s.reachedSince = time.Time{}, time.Now()
	}
	s.setClusterLocked(now.clusterID)
	s.size = len(now.brokers)
	s.endBrokersLocked(now.brokers)
	errs := make([]error, len(s.topics))
	for i, t := range s.topics {
		s.applyLocked(t, now.topics[t.name])
		errs[i] = t.err
	}
	if l := now.topics[s.dead.name]; l.err == nil || s.want.deadTopic {
		s.applyLocked(&s.dead, l)
	}
	s.askAgainLocked()
	deadErr := s.dead.err
	makeDead := s.want.deadTopic && errors.Is(deadErr, kafkago.UnknownTopicOrPartition) && time.Now().After(s.want.deadAgain)
	needProducer, again := s.want.producer, s.unsafe
	s.mu.Unlock()

	s.learnAbilities()
	for i, t := range s.topics {
		if !errors.Is(errs[i], kafkago.UnknownTopicOrPartition) {
			continue
		}
		if err := s.makeTopic(t.name); err != nil {
			errs[i] = inTrouble(createRefused, t.name, err)
		} else if s.cfg.CreateTopic {
			s.sight.soon = true
		}
	}
	if needProducer {
		errs = append(errs, s.newProducer())
	} else if again {
		_ = s.newProducer() // events go on without one
	}
	if makeDead {
		s.makeDeadTopic()
	}
	err := errors.Join(errs...)
	s.looked(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && (s.want.refresh || makeDead) {
		err = errUnsettled
	}
	return err
}

// errUnsettled makes the steward look again soon though the main topic is fine.
var errUnsettled = errors.New("something is missing still")

// newProducer gets a producer id for the lanes that have none or lost theirs. Where events go on without, each look at the
// cluster asks again: what was refused may be granted now.
func (s *kafkaCluster) newProducer() error {
	s.mu.Lock()
	asked := s.retirements
	s.mu.Unlock()
	id, epoch, err := s.askProducer()
	var code kafkago.Error
	none := errors.Is(err, errNoProducerIDs)
	refused := none || errors.As(err, &code) && classOfError(code) == classConfig
	if err != nil && !(refused && s.cfg.PreferIdempotence) {
		if none {
			err = inTrouble(producersUnknown, "", err)
		} else if refused {
			err = inTrouble(producerDenied, "", err)
		} else {
			err = s.given.producerError(err)
		}
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && asked != s.retirements {
		return errUnsettled // it was asked for before a renewal, and may be another one's too
	}
	s.want.producer = false
	if err != nil {
		if !s.unsafe {
			s.warnLimited("unsafe", "the cluster refuses producer ids; going on without: events may arrive twice", "error", err)
		}
		s.unsafe = true
	} else {
		if s.unsafe {
			s.log.Info("the cluster gives producer ids now: events that are sent twice are recognised")
		}
		s.unsafe = false
		s.current = producer{id: id, epoch: epoch, gen: s.current.gen + 1, cluster: s.clusterID}
		if s.rehearsal {
			s.rehearsal = false
			s.retireProducer()
		}
	}
	for _, b := range s.brokers {
		b.signal()
	}
	return nil
}

func (s *kafkaCluster) sleepOrKick(d time.Duration) {
	ctx, cancel := context.WithTimeout(s.ctx, d)
	defer cancel()
	s.clock.sleeping(d)
	defer s.clock.awake()
	select {
	case <-s.want.kick:
	case <-ctx.Done():
	}
}

// looking notes that a look at the cluster begins.
func (s *kafkaCluster) looking() {
	s.mu.Lock()
	s.view.asking = time.Now()
	s.mu.Unlock()
	s.changes.watch()
}

// looked notes what a look at the cluster has found; nil: all that is needed.
func (s *kafkaCluster) looked(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return // the look was cut short by the end
	}
	now, asked := time.Now(), s.view.asking
	s.view.asking = time.Time{}
	was, found := s.view.found, s.given.lookTrouble(err)
	s.view.found = found
	s.log.Debug("looked at the cluster", "error", err, "took", now.Sub(asked))
	if found.kind == noTrouble {
		s.isReached()
	}
	if was.same(found) && !s.changes.quiet {
		return
	}
	if was.kind == noTrouble {
		s.view.foundAt = asked
	}
	s.changes.ring()
}

// isReached notes that Kafka takes events: a look at the cluster has found no trouble, or a batch was acknowledged beside a
// partition that has some.
func (s *kafkaCluster) isReached() {
	if !s.view.reached {
		s.view.reached = true
		s.firstReached()
	}
}
