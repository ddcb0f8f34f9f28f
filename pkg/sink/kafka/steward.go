package kafka

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

var errNoSetAside = errors.New("no spool directory")

// wants is what the rest of the sink asks of the steward. Guarded by core.mu, except kick and resting.
type wants struct {
	kick    chan struct{} // wakes the steward
	resting atomic.Bool   // the steward sleeps long because nothing waits: stir ends it

	refresh   bool // the cached leaders are wrong
	producer  bool // a new producer id
	deadTopic bool // there is a first dead letter

	deadAgain time.Time // when to try again to create its topic
}

func (s *wants) nudge() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *wants) refreshSoon() { s.refresh = true; s.nudge() }

// wantProducer asks for a newer producer id. s.mu is held.
func (s *core) wantProducer() {
	if !s.unsafe {
		s.want.producer = true
		s.want.nudge()
	}
}

// wantDeadTopic makes the steward look after the dead-letter topic from the first dead letter on.
func (s *wants) deadTopicSoon() {
	if !s.deadTopic {
		s.deadTopic = true
		s.nudge()
	}
}

// steward keeps leaders, topics and the producer id up to date. It is the only one who asks the cluster
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
		err := s.tend()
		if err == nil {
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
	reached  bool      // the topic could be used once
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
}

// look asks for the layout when it is old or suspect, at most every refreshEvery; false: the sink ends.
func (s *kafkaCluster) look() bool {
	v := &s.sight
	s.mu.Lock()
	suspect := s.want.refresh
	s.mu.Unlock()
	if !suspect && v.err == nil && time.Since(v.at) < s.cfg.MetadataTTL/2 && !v.at.IsZero() {
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

// tend does one round; an error says that something is still missing.
func (s *kafkaCluster) tend() error {
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
	s.unreachedSince = time.Time{}
	s.setCluster(now.clusterID)
	s.size = len(now.brokers)
	s.endBrokers(now.brokers)
	s.apply(&s.main, now.topics[s.main.name])
	if l := now.topics[s.dead.name]; l.err == nil || s.want.deadTopic {
		s.apply(&s.dead, l)
	}
	s.askAgain()
	mainErr, deadErr := s.main.err, s.dead.err
	makeDead := s.want.deadTopic && errors.Is(deadErr, kafkago.UnknownTopicOrPartition) && time.Now().After(s.want.deadAgain)
	needProducer := s.want.producer
	s.mu.Unlock()

	s.learnAbilities()
	errs := []error{mainErr}
	if errors.Is(mainErr, kafkago.UnknownTopicOrPartition) {
		if err := s.makeTopic(); err != nil {
			errs = []error{inTrouble(createRefused, s.main.name, err)}
		} else if s.cfg.CreateTopic {
			s.sight.soon = true
		}
	}
	if needProducer {
		errs = append(errs, s.newProducer())
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

// apply takes a topic's leaders over. s.mu is held.
func (s *kafkaCluster) apply(t *topic, l leaders) {
	t.err, t.grow = nil, 0
	if l.err != nil || len(l.brokers) == 0 {
		if l.err == nil {
			l.err = kafkago.UnknownTopicOrPartition
		}
		t.err = s.given.topicError(t, l.err)
		if classOfError(l.err) == classConfig {
			t.unusable = true
			s.madeRoom() // dead letters that wait can be dropped now
		}
		t.leaders, t.described = nil, false
		for _, ln := range t.lanes {
			s.lead(ln, nil)
		}
		s.missing(t)
		return
	}
	t.unusable = false
	switch n := len(l.brokers); {
	case len(t.lanes) == 0:
		t.addLanes(n)
		if s.disk.kick != nil {
			// What was appended before goes first: placeStrays sees to it.
			s.disk.holding = s.disk.holding || t.lobby != nil
			wake(s.disk.kick)
		}
	case n > len(t.lanes):
		t.fewer = fewer{}
		t.grow = n // taken into use by the next append
	case n < len(t.lanes):
		s.noteFewer(t, n)
	default:
		t.fewer = fewer{}
	}
	t.leaders = l.brokers
	s.assign(t)
	s.madeRoom()
	if !t.described {
		t.described = true
		s.tasks.Go(func() { s.learnTimestamps(t) })
	}
}

// setCluster compares the cluster's id with the one before. The stamps of another cluster mean nothing to this
// one, or another producer's batches. s.mu is held.
func (s *kafkaCluster) setCluster(id string) {
	was := s.clusterID
	if id == "" || id == was {
		return
	}
	s.asked = false
	if s.clusterID = id; was == "" {
		s.current.cluster = id
		return
	}
	for _, t := range []*topic{&s.main, &s.dead} {
		t.createTime, t.described, t.knowable, t.unanswered = false, false, false, 0
	}
	s.told = false
	for _, b := range s.brokers {
		b.bound.known = false // those of the other cluster are asked anew
	}
	for l := range s.lanes() {
		l.stamps.forget(s.current.gen)
		if b := l.doubt; b != nil {
			b.stamped = false
			s.countUnsure(b)
		}
	}
	s.wantProducer()
	s.log.Warn("another Kafka cluster answers at the same addresses; batches without an acknowledgement from the old one are sent to it and may be there already",
		"was", was, "is", id)
}

// missing asks for a look at the cluster soon, if anybody waits for what topic t has not. s.mu is held.
func (s *kafkaCluster) missing(t *topic) {
	if !t.dead || t.batches > 0 && !t.unusable {
		s.want.refresh = true
	}
}

// assign gives every lane to its leader. s.mu is held.
func (s *kafkaCluster) assign(t *topic) {
	missing := 0
	for _, ln := range t.lanes {
		var b *broker
		if int(ln.partition) < len(t.leaders) && t.leaders[ln.partition] >= 0 {
			b = s.broker(t.leaders[ln.partition])
		} else {
			s.missing(t)
			missing++
		}
		s.lead(ln, b)
	}
	if missing > 0 && t.err == nil {
		t.err = leaderlessError(t.name, missing, len(t.lanes))
	}
	if t.lanes[t.sticky].broker == nil {
		t.advanceSticky()
	}
}

// grow takes new partitions into use. s.mu is held.
func (s *kafkaCluster) grow(t *topic) {
	t.addLanes(t.grow)
	t.grow = 0
	s.assign(t)
}

// lead moves a lane to the broker that leads it now. s.mu is held.
func (s *core) lead(l *lane, b *broker) {
	if b == nil {
		l.fails(time.Now())
	} else if l.failures == 0 {
		l.stuckSince = time.Time{}
	}
	if l.broker == b {
		return
	}
	if old := l.broker; old != nil {
		for i := range old.lanes {
			if old.lanes[i] == l {
				old.lanes = append(old.lanes[:i], old.lanes[i+1:]...)
				break
			}
		}
	}
	l.broker = b
	if b != nil {
		b.lanes = append(b.lanes, l)
		l.retryAt = time.Time{}
		b.signal()
	}
}

// newProducer gets a producer id for the lanes that have none or lost theirs.
func (s *kafkaCluster) newProducer() error {
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
	s.want.producer = false
	if err != nil {
		s.unsafe = true
		s.alarm("unsafe", "the cluster refuses producer ids; going on without: events may arrive twice", "error", err)
	} else {
		s.current = producer{id: id, epoch: epoch, gen: s.current.gen + 1, cluster: s.clusterID}
	}
	for _, b := range s.brokers {
		b.signal()
	}
	return nil
}

// learnTimestamps asks whether the topic keeps the records' own timestamps. Where it may not be asked, the first
// answer to an append tells.
func (s *kafkaCluster) learnTimestamps(t *topic) {
	s.mu.Lock()
	cluster := s.clusterID
	s.mu.Unlock()
	kind, err := s.client.topicConfig(s.ctx, cluster, t.name, "message.timestamp.type")
	s.mu.Lock()
	defer s.mu.Unlock()
	if cluster != s.clusterID {
		return // the other cluster is asked too
	}
	t.createTime = t.createTime || kind == "CreateTime"
	if kind == "" { // the next look at the cluster asks again
		t.described = false
	}
	if t.knowable {
		return
	}
	if err != nil {
		if t.unanswered++; t.unanswered < unansweredQuestions {
			s.want.refreshSoon()
			return
		}
	}
	t.knowable = true
	for _, b := range s.brokers {
		b.signal()
	}
}

// makeDeadTopic creates the dead-letter topic. A refusal is a warning, never a reason not to be ready.
func (s *kafkaCluster) makeDeadTopic() {
	partitions, replicas := s.topicNumbers()
	err := s.client.createTopic(s.ctx, s.dead.name, partitions, replicas)
	if err != nil {
		s.client.createByAsking(s.ctx, s.dead.name) // seen in the next round, if it helps
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead.createErr = err
	s.changes.ring()
	var code kafkago.Error
	switch {
	case err == nil:
		s.dead.unusable = false
		s.sight.soon, s.want.refresh = true, true
	case errors.As(err, &code) && !code.Temporary():
		s.dead.unusable = true
		s.want.deadAgain = time.Now().Add(deadTopicEvery)
		s.madeRoom()
	default: // the cluster is in trouble: that passes
		s.want.deadAgain = time.Now().Add(refreshEvery)
	}
}

// pause sleeps for d; false: the sink ends.
func (s *core) pause(d time.Duration) bool {
	if d <= 0 {
		return s.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
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
