package kafka

import (
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// brokerLocked returns the broker with that id and starts its workers when it is new.
func (s *kafkaCluster) brokerLocked(id int32) *broker {
	b := s.brokers[id]
	if b == nil {
		b = &broker{core: s.core, id: id, wake: make(chan struct{}, 1), turn: newSlot()}
		s.brokers[id] = b
		s.serve(b)
		b.bound.now, b.bound.asking = maxRequestBytes, true
		s.tasks.Go(func() { s.learnLimits(b) })
	}
	return b
}

// endBrokersLocked ends the workers of brokers that lead nothing of ours and that the cluster has no more.
func (s *kafkaCluster) endBrokersLocked(known map[int32]string) {
	for id, b := range s.brokers {
		if _, ok := known[id]; !ok && len(b.lanes) == 0 {
			delete(s.brokers, id)
			b.gone = true
			b.signal()
		}
	}
}

// applyLocked takes a topic's leaders over.
func (s *kafkaCluster) applyLocked(t *topic, l leaders) {
	defer s.placeUnassigned(t)
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
		if t.unassigned != nil {
			t.unassigned.fails(time.Now())
		}
		s.missingLocked(t)
		return
	}
	t.unusable = false
	if t.unassigned != nil {
		t.unassigned.stuckSince, t.unassigned.stuckNow = time.Time{}, false // what waits there waits to be placed
	}
	switch n := len(l.brokers); {
	case len(t.lanes) == 0:
		t.addLanes(n)
		t.goOnAmong(s.disk.sp)
		if s.disk.sp != nil || s.disk.holding {
			// What was appended before, also by an earlier process, goes first: reroute sees to it. What is carried
			// must not be held: reroute comes again when it has arrived.
			if !s.carries() {
				s.disk.holding, s.disk.carried = true, nil
			}
			if !t.dead {
				t.unassignedLane() // what comes meanwhile goes behind
			}
			wake(s.disk.kick)
		}
	case n > len(t.lanes):
		if t.fewer = (fewer{}); t.dead {
			t.addLanes(n) // dead letters have no order to keep, and there may be frames for these partitions
		} else {
			t.grow = n // taken into use by the next append
		}
	case n < len(t.lanes):
		s.noteFewerLocked(t, n)
	default:
		t.fewer = fewer{}
	}
	t.leaders = l.brokers
	s.assignLocked(t)
	s.madeRoom()
	if !t.described {
		t.described = true
		s.tasks.Go(func() { s.learnTimestamps(t) })
	}
}

// setClusterLocked compares the cluster's id with the one before. The stamps of another cluster mean nothing to this
// one, or another producer's batches.
func (s *kafkaCluster) setClusterLocked(id string) {
	was := s.clusterID
	if id == "" || id == was {
		return
	}
	s.asked = false
	if s.clusterID = id; was == "" {
		s.current.cluster = id
		return
	}
	for _, t := range s.all {
		t.keeps, t.described, t.unanswered = timesUnknown, false, 0
	}
	s.forgetLimitsLocked()
	s.retireProducer()
	for l := range s.lanes() {
		l.stamps.forget(s.current.gen)
		if b := l.head; b != nil {
			b.stamped = false
		}
	}
	s.wantProducer()
	s.log.Warn("another Kafka cluster answers at the same addresses; batches without an acknowledgement from the old one are sent to it and may be there already",
		"was", was, "is", id)
}

// missingLocked asks for a look at the cluster soon, if anybody waits for what topic t has not.
func (s *kafkaCluster) missingLocked(t *topic) {
	if !t.dead || t.batches > 0 && !t.unusable {
		s.want.refresh = true
	}
}

// assignLocked gives every lane to its leader.
func (s *kafkaCluster) assignLocked(t *topic) {
	missing := 0
	for _, ln := range t.lanes {
		var b *broker
		if int(ln.partition) < len(t.leaders) && t.leaders[ln.partition] >= 0 {
			b = s.brokerLocked(t.leaders[ln.partition])
		} else {
			s.missingLocked(t)
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

// growLocked takes new partitions into use.
func (s *kafkaCluster) growLocked(t *topic) {
	t.addLanes(t.grow)
	t.grow = 0
	s.assignLocked(t)
}

// noteFewerLocked counts looks at the cluster in which the topic has n partitions, which is less than there are lanes, and
// acts when there were enough.
func (s *kafkaCluster) noteFewerLocked(t *topic, n int) {
	if t.fewer.partitions != n {
		t.fewer = fewer{partitions: n}
	}
	t.fewer.looks++
	s.want.refresh = true
	if t.fewer.looks >= shrinkLooks && s.shrink(t, n) {
		return
	}
	t.err = inTrouble(topicRemade, t.name, fmt.Errorf("it has %d partitions now and had %d; events in the others wait for them", n, len(t.lanes)))
}
